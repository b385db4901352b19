//! The web half of publishing by WHIP (RFC 9725): an offer is posted, an answer and the address of the session come back, and the session is
//! ended by deleting that address.

use std::net::SocketAddr;

use bytes::Bytes;
use greenroom_reports::schema::Redirect;
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::TargetFailure;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, LINK, LOCATION, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::super::fetch::{Answer, Page, refusal as http_refusal};
use super::super::find::addresses_unless;
use super::super::redirect::{self, Next};
use super::super::repeat::connect;
use super::super::security::{is_proven, refusal};
use super::Signaling;
use crate::address::{Host, Token};
use crate::net::witness::{Agreed, handshake};

/// Octets of an answer that are read.
const MOST_BODY: usize = 64 * 1_024;
/// Characters of a header that are kept.
const LONGEST_HEADER: usize = 2_000;
/// Redirections that are followed.
const MOST_REDIRECTS: usize = 5;
/// Servers named for ICE that are kept.
const MOST_ICE_SERVERS: usize = 16;
/// What offers and answers are.
const SDP: &str = "application/sdp";
/// The versions of HTTP that are offered, the newer first.
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Where to ask, and whether that is encrypted.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) page: Page,
    pub(super) is_plain: bool,
}

/// A session that a server opened.
#[derive(Debug)]
pub(super) struct Opened {
    /// The answer to the offer.
    pub(super) sdp: String,
    /// The session's address; `None` when the server named none that can be used.
    pub(super) session: Option<Site>,
    /// Redirections on the way.
    pub(super) redirects: Vec<Redirect>,
    /// The servers that it names for ICE.
    pub(super) ice_servers: Vec<String>,
    /// What was agreed on with the site that was asked first.
    pub(super) agreed: Option<Agreed>,
    /// The address of the web server that answered.
    pub(super) address: SocketAddr,
    /// Times of the first connection, and from the offer to the answer.
    pub(super) connect: Micros,
    pub(super) handshake: Option<Micros>,
    pub(super) answer: Micros,
}

/// What was answered to a request.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    address: SocketAddr,
    agreed: Option<Agreed>,
    connect: Micros,
    handshake: Option<Micros>,
}

impl Signaling<'_> {
    /// Posts an offer, and goes where it is sent on to.
    ///
    /// # Errors
    ///
    /// The reason why no session was opened.
    pub(super) async fn post(
        &self,
        site: &Site,
        offer: &str,
        stop: &CancellationToken,
    ) -> Result<Opened, TargetFailure> {
        let mut site = site.clone();
        let mut redirects = Vec::new();
        let mut first: Option<(Option<Agreed>, Micros, Option<Micros>)> = None;
        let begun = self.clock.now();
        loop {
            let away = is_away(&site.page, &self.target.host);
            let reply = self.ask(Method::POST, &site, Some(offer), !away, stop).await?;
            let (agreed, connect, handshake) =
                first.get_or_insert_with(|| (reply.agreed.clone(), reply.connect, reply.handshake)).clone();
            if let Some((passed, next)) = redirected(&reply, &site)? {
                redirects.push(passed);
                if redirects.len() > MOST_REDIRECTS {
                    return Err(unusable("it sends the offer on and on"));
                }
                site = next;
                continue;
            }
            self.taken(&reply, away)?;
            let setup = connect + handshake.unwrap_or_default();
            return Ok(Opened {
                // Whatever it is: the session that it opened has to be ended.
                sdp: String::from_utf8_lossy(&reply.body).into_owned(),
                session: session(&reply.headers, &site),
                redirects,
                ice_servers: ice_servers(&reply.headers),
                agreed,
                address: reply.address,
                connect,
                handshake,
                answer: self.clock.now() - begun - setup,
            });
        }
    }

    /// Ends a session; says whether the server took it.
    pub(super) async fn delete(&self, session: &Site) -> bool {
        let stop = CancellationToken::new();
        let away = is_away(&session.page, &self.target.host);
        let reply = self.ask(Method::DELETE, session, None, !away, &stop).await;
        reply.is_ok_and(|reply| (200..300).contains(&reply.status))
    }

    /// Whether a session was opened.
    fn taken(&self, reply: &Reply, away: bool) -> Result<(), TargetFailure> {
        let status = reply.status;
        let refused = |advice: &str| TargetFailure::PublishRefused { status, advice: advice.to_owned() };
        Err(match status {
            200..=299 => return Ok(()),
            401 | 403 if self.token.is_some() && away => TargetFailure::TokenWithheld,
            401 | 403 if self.token.is_some() => TargetFailure::BearerRefused { status },
            401 | 403 => TargetFailure::BearerRequired { status },
            404 | 410 => refused("Check the path: there is nothing to publish to."),
            405 | 501 => refused("Check the path: what is there takes no WHIP offers (POST)."),
            406 | 415 => refused(
                "Check the path: what is there takes no session descriptions, so it is no WHIP endpoint.",
            ),
            400 | 422 => refused(
                "Ask whoever runs the server whether it takes Opus and VP8; it did not like the offer.",
            ),
            409 => refused("Somebody publishes there already: end that, or use another path."),
            429 | 503 => refused(&match retry_after(&reply.headers) {
                Some(seconds) => format!("It is full or wants a pause: try again in {seconds} s."),
                None => "It is full or wants a pause: try again in a minute.".to_owned(),
            }),
            500.. => refused("Show this to whoever runs the server: it has trouble of its own."),
            _ => refused("Check the path, or ask whoever runs the server."),
        })
    }

    /// Asks once, at the first of the site's addresses that takes a connection.
    async fn ask(
        &self,
        method: Method,
        site: &Site,
        body: Option<&str>,
        with_token: bool,
        stop: &CancellationToken,
    ) -> Result<Reply, TargetFailure> {
        let proxy = self.proxy.as_ref().filter(|_| !site.is_plain);
        let (host, port) = proxy.map_or((&site.page.host, site.page.port), |proxy| (&proxy.host, proxy.port));
        let mut failure = TargetFailure::NoNetwork;
        for address in addresses_unless(stop, host, port).await? {
            let asking = self.at(address, &method, site, body, with_token);
            let reply = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(TargetFailure::Interrupted),
                reply = asking => reply,
            };
            match reply {
                Err(Tried::InVain(why)) => failure = why,
                Err(Tried::Answered(why)) => return Err(why),
                Ok(reply) => return Ok(reply),
            }
        }
        Err(failure)
    }

    async fn at(
        &self,
        address: SocketAddr,
        method: &Method,
        site: &Site,
        body: Option<&str>,
        with_token: bool,
    ) -> Result<Reply, Tried> {
        let (connection, connected) =
            connect(address, self.interface.as_ref(), self.patience, self.clock).await;
        let Some(connected) = connected else {
            return Err(Tried::InVain(connection.failure().unwrap_or(TargetFailure::Silent)));
        };
        self.connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut stream = self.meter.on(connected.stream);
        let connect = connection.took();
        let mute = || Tried::Answered(TargetFailure::Mute { protocol: "HTTP".to_owned() });
        let token = self.token.filter(|_| with_token);
        if site.is_plain {
            let request = request(method, site, body, token, false)?;
            let asking = exchange(stream, request, false);
            let (status, headers, body) =
                tokio::time::timeout(self.answer_within, asking).await.map_err(|_| mute())??;
            return Ok(Reply { status, headers, body, address, agreed: None, connect, handshake: None });
        }
        let begun = self.clock.now();
        if let Some(proxy) = &self.proxy {
            let authority = format!("{}:{}", site.page.host, site.page.port);
            let tunnel = proxy.tunnel(&mut stream, &authority);
            tokio::time::timeout(self.patience, tunnel).await.map_err(|_| mute())??;
        }
        let witnessed = handshake(stream, &site.page.host.server_name(), ALPN, self.patience)
            .await
            .map_err(|failure| Tried::InVain(refusal(&failure)))?;
        let shaken = self.clock.now() - begun;
        let agreed = witnessed.agreed;
        if token.is_some() && !is_proven(&agreed, &site.page.host, self.target, self.clock) {
            return Err(Tried::Answered(TargetFailure::TokenWithheld));
        }
        let is_h2 = agreed.alpn.as_deref() == Some("h2");
        let request = request(method, site, body, token, is_h2)?;
        let asking = exchange(witnessed.stream, request, is_h2);
        let (status, headers, body) =
            tokio::time::timeout(self.answer_within, asking).await.map_err(|_| mute())??;
        Ok(Reply { status, headers, body, address, agreed: Some(agreed), connect, handshake: Some(shaken) })
    }
}

/// Why there is no answer.
enum Tried {
    /// Another address may have one.
    InVain(TargetFailure),
    /// This is the service's own.
    Answered(TargetFailure),
}

impl From<TargetFailure> for Tried {
    fn from(failure: TargetFailure) -> Self {
        Self::Answered(failure)
    }
}

/// Whether a page is another site's than the one that was named: the token is not for wherever that one sends us.
fn is_away(page: &Page, named: &Host) -> bool {
    redirect::elsewhere(&format!("https://{}/", page.authority()), named).is_some()
}

/// An answer's status, headers and body.
type Answered = (u16, HeaderMap, Vec<u8>);

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>, is_h2: bool) -> Result<Answered, TargetFailure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    // The connection ends with the request: the task that carries it is stopped when this one is done.
    let mut carrier = tokio::task::JoinSet::new();
    let failed = |error: hyper::Error| http_refusal(&error);
    let response = if is_h2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(failed)?;
        carrier.spawn(async move { connection.await.is_ok() });
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = http1::handshake(io).await.map_err(failed)?;
        carrier.spawn(async move { connection.await.is_ok() });
        sender.send_request(request).await
    };
    read(response.map_err(failed)?).await
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Answered, TargetFailure> {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| http_refusal(&error))?;
        body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if body.len() > MOST_BODY {
            break;
        }
    }
    Ok((head.status.as_u16(), head.headers, body))
}

fn request(
    method: &Method,
    site: &Site,
    body: Option<&str>,
    token: Option<&Token>,
    is_h2: bool,
) -> Result<Request<Full<Bytes>>, TargetFailure> {
    let local = |detail: String| TargetFailure::Local { detail };
    let (page, usual) = (&site.page, if site.is_plain { 80 } else { 443 });
    let authority =
        if page.port == usual { page.host.to_string() } else { format!("{}:{}", page.host, page.port) };
    // HTTP/2 takes host and scheme from the URI; HTTP/1.1 names the host apart.
    let uri = if is_h2 { format!("https://{authority}{}", page.path) } else { page.path.clone() };
    let agent = concat!("greenroom/", env!("CARGO_PKG_VERSION"));
    let mut request =
        Request::builder().method(method).uri(uri).header(USER_AGENT, agent).header(ACCEPT, SDP);
    if !is_h2 {
        request = request.header(HOST, authority);
    }
    if body.is_some() {
        request = request.header(CONTENT_TYPE, SDP);
    }
    if let Some(token) = token {
        let mut value = hyper::header::HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| local("the token has characters that cannot be sent".to_owned()))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let body = Full::new(Bytes::from(body.unwrap_or_default().to_owned()));
    request.body(body).map_err(|error| local(format!("the request cannot be written: {error}")))
}

/// The redirection that a reply is, and where it leads. Only those that keep a POST a POST (RFC 9725 section 4.5).
fn redirected(reply: &Reply, site: &Site) -> Result<Option<(Redirect, Site)>, TargetFailure> {
    if !matches!(reply.status, 307 | 308) {
        return Ok(None);
    }
    match follow(&reply.headers, site, reply.status) {
        Some((redirect, Next::Page(page))) => {
            Ok(Some((redirect, Site { page, is_plain: site.is_plain && is_relative(&reply.headers) })))
        }
        Some((_, Next::Nowhere(why))) => Err(unusable(&format!("it sends the offer on, but {why}"))),
        None => Err(unusable("it sends the offer on, and does not say where to")),
    }
}

/// The address of the session, where it names one that can be used.
fn session(headers: &HeaderMap, site: &Site) -> Option<Site> {
    let location = text(headers, &LOCATION)?;
    let own = format!("http://{}:{}/", site.page.host, site.page.port);
    // Without encryption only this very server is spoken to.
    if site.is_plain
        && let Some(path) = location.strip_prefix(&own)
    {
        return Some(Site { page: Page { path: format!("/{path}"), ..site.page.clone() }, is_plain: true });
    }
    match follow(headers, site, 307)? {
        (_, Next::Page(page)) => Some(Site { page, is_plain: site.is_plain && is_relative(headers) }),
        (_, Next::Nowhere(_)) => None,
    }
}

fn follow(headers: &HeaderMap, site: &Site, status: u16) -> Option<(Redirect, Next)> {
    let answer = Answer {
        first_byte: Micros::ZERO,
        total: Micros::ZERO,
        status,
        version: "",
        location: text(headers, &LOCATION),
        software: None,
        alternatives: None,
        body_bytes: 0,
        body_cut: false,
    };
    redirect::of(&answer, &site.page)
}

/// Whether the address that is named lies on the same server.
fn is_relative(headers: &HeaderMap) -> bool {
    text(headers, &LOCATION).is_some_and(|location| !location.contains("//"))
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).chars().take(LONGEST_HEADER).collect())
}

/// `<stun:stun.example>; rel="ice-server"`: the address alone, for the rest may hold credentials (RFC 9725 section 4.6).
fn ice_servers(headers: &HeaderMap) -> Vec<String> {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let servers = links.flat_map(|links| links.split('<').skip(1)).filter_map(|link| {
        let (address, rest) = link.split_once('>')?;
        let known = ["stun:", "stuns:", "turn:", "turns:"].iter().any(|scheme| address.starts_with(scheme));
        let is_one = rest.replace('"', "").to_ascii_lowercase().contains("rel=ice-server");
        (known && is_one && !address.contains('@')).then(|| address.chars().take(LONGEST_HEADER).collect())
    });
    servers.take(MOST_ICE_SERVERS).collect()
}

fn retry_after(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

fn unusable(detail: &str) -> TargetFailure {
    TargetFailure::UnusableAnswer { detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(is_plain: bool) -> Site {
        let host = Host::Name("sfu.example".to_owned());
        Site { page: Page { host, port: 8443, path: "/whip/room".to_owned() }, is_plain }
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_session_has_an_address_of_its_own() {
        let of = |location: &str, is_plain| {
            let found = session(&headers(&[(LOCATION, location)]), &site(is_plain))?;
            Some(format!("{}{} {}", found.page.authority(), found.page.path, found.is_plain))
        };
        assert_eq!(of("/session/1", false).as_deref(), Some("sfu.example:8443/session/1 false"));
        assert_eq!(of("1", false).as_deref(), Some("sfu.example:8443/whip/1 false"));
        assert_eq!(of("https://other.example/1?a=b", false).as_deref(), Some("other.example/1?a=b false"));
        assert_eq!(of("/session/1", true).as_deref(), Some("sfu.example:8443/session/1 true"));
        assert_eq!(of("http://sfu.example:8443/1", true).as_deref(), Some("sfu.example:8443/1 true"));
        assert_eq!(of("http://sfu.example:8443/1", false), None);
        assert_eq!(of("http://other.example/1", true), None);
        assert!(session(&HeaderMap::new(), &site(false)).is_none());
    }

    #[test]
    fn relays_are_told_without_what_opens_them() {
        let named = headers(&[
            (LINK, "<stun:stun.example:3478>; rel=\"ice-server\", <https://a.example>; rel=next"),
            (
                LINK,
                "<turn:turn.example?transport=udp>; rel=ice-server; username=\"u\"; credential=\"hunter2\"",
            ),
            (LINK, "<turn:hunter2@turn.example>; rel=ice-server"),
            (LINK, "<javascript:hunter2>; rel=ice-server"),
        ]);
        assert_eq!(ice_servers(&named), ["stun:stun.example:3478", "turn:turn.example?transport=udp"]);
    }

    #[test]
    fn a_token_never_shows() {
        let token = Token::new("hunter2").unwrap();
        let request = request(&Method::POST, &site(false), Some("v=0"), Some(&token), true).unwrap();
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer hunter2");
        assert!(!format!("{request:?}").contains("hunter2"));
        let odd = Token::new("hunter2\n").unwrap();
        let failure = super::request(&Method::POST, &site(false), None, Some(&odd), true).unwrap_err();
        assert!(!format!("{failure:?}").contains("hunter2"));
    }
}
