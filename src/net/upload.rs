//! Sends a finished report to a server that keeps them: `POST /api/v1/reports`.

use std::fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::resolve::{self, Family, ResolveError};
use super::tls;
use super::trust::{Anchor, Trust};
use crate::address::{EndpointUrl, Fingerprint, Host, Token, UrlError};

/// How long one attempt may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits before further attempts where the server could not be reached or said that it cannot now.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Most bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;

/// Where reports are sent: `https://HOST[:PORT][#sha256=FINGERPRINT]`, or `http://` on this computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadUrl {
    host: Host,
    port: u16,
    /// `None`: plain HTTP.
    tls: Option<Pin>,
}

/// A certificate that is known, if it is.
type Pin = Option<Fingerprint>;

/// Why a text is no address to send reports to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadUrlError {
    /// Neither scheme.
    #[error("write https://HOST[:PORT] of a greenroom serve")]
    Scheme,
    /// Plain HTTP to another computer.
    #[error(
        "http:// would show the key to everybody on the way; it is for this computer alone. Use https://"
    )]
    Plain,
    /// A path.
    #[error("an address to send reports to has no path: https://HOST[:PORT]")]
    Path,
    /// Something else is wrong with it.
    #[error(transparent)]
    Url(UrlError),
}

impl FromStr for UploadUrl {
    type Err = UploadUrlError;

    fn from_str(text: &str) -> Result<Self, UploadUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UploadUrlError::Scheme)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(UploadUrlError::Scheme),
        };
        let (authority, fragment) = rest.split_once('#').map_or((rest, None), |(a, f)| (a, Some(f)));
        let authority = authority.trim_end_matches('/');
        let rest =
            fragment.map_or_else(|| authority.to_owned(), |fragment| format!("{authority}#{fragment}"));
        let url: EndpointUrl = rest.parse().map_err(|error| match error {
            UrlError::Path => UploadUrlError::Path,
            other => UploadUrlError::Url(other),
        })?;
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if has_port { url.port } else { if secure { 443 } else { 80 } };
        let here = match &url.host {
            Host::Address(ip) => ip.is_loopback(),
            Host::Name(name) => name == "localhost",
        };
        if !secure && !here {
            return Err(UploadUrlError::Plain);
        }
        Ok(Self { host: url.host, port, tls: secure.then_some(url.pin) })
    }
}

impl fmt::Display for UploadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl UploadUrl {
    fn authority(&self) -> String {
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let host = match &self.host {
            Host::Address(ip) if ip.is_ipv6() => format!("[{ip}]"),
            Host::Address(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

/// A link that support gave to one person: `https://HOST[:PORT]/c/gc_…[#sha256=FINGERPRINT]`. It lets a few reports in, onto a ticket,
/// and shows nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketLink {
    /// Where reports are sent.
    pub server: UploadUrl,
    /// What lets them in.
    pub token: Token,
}

/// How the secret of such a link begins.
const LINK_TOKEN: &str = "gc_";

/// Why a text is no such link. The message does not repeat it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketLinkError {
    /// It leads elsewhere.
    #[error("this is no link to send a report with; copy all of it: https://HOST/c/gc_…")]
    Stranger,
    /// Its server cannot be sent to.
    #[error(transparent)]
    Server(#[from] UploadUrlError),
}

impl FromStr for TicketLink {
    type Err = TicketLinkError;

    fn from_str(text: &str) -> Result<Self, TicketLinkError> {
        let (server, rest) = text.split_once("/c/").ok_or(TicketLinkError::Stranger)?;
        let (secret, fragment) = rest.split_once('#').map_or((rest, None), |(s, f)| (s, Some(f)));
        let is_secret = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let token = Some(secret)
            .filter(|secret| secret.strip_prefix(LINK_TOKEN).is_some_and(|rest| !rest.is_empty()))
            .filter(|secret| secret.chars().all(is_secret))
            .and_then(Token::new)
            .ok_or(TicketLinkError::Stranger)?;
        let server = fragment.map_or_else(|| server.to_owned(), |fragment| format!("{server}#{fragment}"));
        Ok(Self { server: server.parse()?, token })
    }
}

/// What the server says of a report that it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Kept {
    /// The code that it is found by.
    pub code: String,
    /// Its page.
    pub url: String,
}

/// Why a report is not kept there.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The name cannot be looked up.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The server cannot be reached, or broke off.
    #[error("{0}")]
    Connection(String),
    /// It takes too long.
    #[error("the server did not answer within {} s", DEADLINE.as_secs())]
    Slow,
    /// The server says no.
    #[error("the server answered {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it says of it.
        detail: String,
    },
    /// What answers is no `greenroom serve`.
    #[error("what answers there is no greenroom serve: {0}")]
    Stranger(String),
    /// The key cannot stand in a header.
    #[error("the key holds characters that no key has; is it the right file?")]
    Key,
    /// The report cannot be compressed.
    #[error("the report cannot be packed: {0}")]
    Pack(io::Error),
}

impl UploadError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Slow | Self::Resolve(_) => true,
            Self::Refused { status, .. } => {
                *status == StatusCode::SERVICE_UNAVAILABLE || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Stranger(_) | Self::Key | Self::Pack(_) => false,
        }
    }
}

/// Sends a report's JSON and waits until it is durable there. The same report may be sent again: it counts once.
///
/// # Errors
///
/// When three attempts failed, or one for a reason that will not pass.
pub async fn upload(url: &UploadUrl, key: &Token, json: &[u8]) -> Result<Kept, UploadError> {
    let body = Bytes::from(pack(json).map_err(UploadError::Pack)?);
    let mut bearer =
        HeaderValue::try_from(format!("Bearer {}", key.expose())).map_err(|_| UploadError::Key)?;
    bearer.set_sensitive(true);
    let question = Question {
        path: "/api/v1/reports",
        bearer: Some(bearer),
        packing: Some("gzip"),
        headers: Vec::new(),
        body,
    };
    let attempt = async || {
        let reply = ask(url, &question).await?;
        read_answer(reply.status, &reply.body)
    };
    for pause in PAUSES {
        match attempt().await {
            Err(error) if error.may_pass() => {
                tracing::debug!(%error, "sending the report again");
                tokio::time::sleep(pause).await;
            }
            ended => return ended,
        }
    }
    attempt().await
}

fn pack(json: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(json)?;
    encoder.finish()
}

/// What is sent to a server that keeps reports, and to where.
#[derive(Debug, Clone)]
pub struct Question {
    /// The path there.
    pub path: &'static str,
    /// What lets it in.
    pub bearer: Option<HeaderValue>,
    /// How the body is packed.
    pub packing: Option<&'static str>,
    /// Further headers.
    pub headers: Vec<(&'static str, HeaderValue)>,
    /// JSON.
    pub body: Bytes,
}

/// What the server says.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
    /// What it says, of 64 KiB at most.
    pub body: Bytes,
}

/// Asks once, over a connection of its own.
///
/// # Errors
/// When there is no answer within 20 s. An answer that says no is one.
pub async fn ask(url: &UploadUrl, question: &Question) -> Result<Reply, UploadError> {
    tokio::time::timeout(DEADLINE, ask_all(url, question)).await.unwrap_or(Err(UploadError::Slow))
}

async fn ask_all(url: &UploadUrl, question: &Question) -> Result<Reply, UploadError> {
    Link::open_all(url).await?.ask(question).await
}

/// A connection to a server, for one question after the other.
#[derive(Debug)]
pub struct Link {
    authority: String,
    sender: http1::SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// When there is no connection within 20 s.
    pub async fn open(url: &UploadUrl) -> Result<Self, UploadError> {
        tokio::time::timeout(DEADLINE, Self::open_all(url)).await.unwrap_or(Err(UploadError::Slow))
    }

    async fn open_all(url: &UploadUrl) -> Result<Self, UploadError> {
        let found = resolve::resolve(&url.host, url.port, Family::Any, DEADLINE).await?;
        let mut last = UploadError::Connection(format!("{url} has no address"));
        for to in found.ordered() {
            match Self::open_at(url, to).await {
                Err(error @ UploadError::Connection(_)) => last = error,
                ended => return ended,
            }
        }
        Err(last)
    }

    async fn open_at(url: &UploadUrl, to: SocketAddr) -> Result<Self, UploadError> {
        match &url.tls {
            Some(pin) => {
                let trust =
                    Trust { anchor: pin.map_or(Anchor::System, Anchor::Pin), allow_unverified: false };
                let name = match &url.host {
                    Host::Address(ip) => ip.to_string(),
                    Host::Name(name) => name.clone(),
                };
                let secured = tls::connect(to, &name, &trust, &[b"http/1.1"], DEADLINE).await;
                let secured = secured.map_err(|error| UploadError::Connection(error.to_string()))?;
                Self::on(url, secured.stream).await
            }
            None => {
                #[expect(clippy::disallowed_methods, reason = "the shell")]
                let stream = TcpStream::connect(to).await;
                let stream = stream.map_err(|error| UploadError::Connection(format!("{to}: {error}")))?;
                Self::on(url, stream).await
            }
        }
    }

    async fn on<S>(url: &UploadUrl, stream: S) -> Result<Self, UploadError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let begun = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            begun.map_err(|error| UploadError::Connection(format!("{url} broke off: {error}")))?;
        Ok(Self { authority: url.authority(), sender, connection: tokio::spawn(connection) })
    }

    /// Asks. After an error the connection is of no use any more; an answer that says no is none.
    ///
    /// # Errors
    /// When the connection breaks off. How long it takes is up to whoever asks.
    pub async fn ask(&mut self, question: &Question) -> Result<Reply, UploadError> {
        let at = &self.authority;
        let broken = |error: hyper::Error| UploadError::Connection(format!("{at} broke off: {error}"));
        self.sender.ready().await.map_err(broken)?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(question.path)
            .header(HOST, at)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("greenroom/", env!("CARGO_PKG_VERSION")));
        if let Some(bearer) = &question.bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        if let Some(packing) = question.packing {
            request = request.header(CONTENT_ENCODING, packing);
        }
        for (name, value) in &question.headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(question.body.clone()))
            .map_err(|error| UploadError::Connection(error.to_string()))?;
        let answer = self.sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        // RFC 9110 section 10.2.3: seconds, or a date, which nobody here sends.
        let retry_after =
            answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body =
            bytes.map_err(|error| UploadError::Connection(format!("{at} broke off: {error}")))?.to_bytes();
        Ok(Reply { status, retry_after: retry_after.map(Duration::from_secs), body })
    }
}

fn read_answer(status: StatusCode, bytes: &[u8]) -> Result<Kept, UploadError> {
    /// The part of a problem (RFC 9457) that is for people.
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    if status == StatusCode::ACCEPTED {
        return serde_json::from_slice(bytes).map_err(|error| UploadError::Stranger(error.to_string()));
    }
    match serde_json::from_slice::<Problem>(bytes) {
        Ok(problem) => Err(UploadError::Refused { status, detail: plain(&problem.detail) }),
        Err(_) => Err(UploadError::Stranger(format!("it answered {status}"))),
    }
}

/// What a terminal would obey is left out.
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_told() {
        let pin = "#sha256=".to_owned() + &"0f".repeat(32);
        for (text, told) in [
            ("https://greenroom.example", "https://greenroom.example"),
            ("HTTPS://greenroom.example:443/", "https://greenroom.example"),
            ("https://greenroom.example:7443", "https://greenroom.example:7443"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://localhost", "http://localhost"),
            (&format!("https://x.example{pin}"), "https://x.example"),
        ] {
            assert_eq!(text.parse::<UploadUrl>().unwrap().to_string(), told, "{text}");
        }
    }

    #[test]
    fn keys_do_not_go_in_the_clear_and_addresses_hold_none() {
        let error = |text: &str| text.parse::<UploadUrl>().unwrap_err();
        assert_eq!(error("http://greenroom.example"), UploadUrlError::Plain);
        assert_eq!(error("greenroom.example"), UploadUrlError::Scheme);
        assert_eq!(error("ftp://greenroom.example"), UploadUrlError::Scheme);
        assert_eq!(error("https://greenroom.example/app"), UploadUrlError::Path);
        assert_eq!(error("https://key@greenroom.example"), UploadUrlError::Url(UrlError::Secret));
    }

    #[test]
    fn links_of_support_are_read_and_never_repeated() {
        let link: TicketLink = "https://greenroom.example:8443/c/gc_a-B_9".parse().unwrap();
        assert_eq!(link.server.to_string(), "https://greenroom.example:8443");
        assert_eq!(link.token.expose(), "gc_a-B_9");
        assert!(!format!("{link:?}").contains("gc_a"));
        let pinned = format!("https://x.example/c/gc_1#sha256={}", "0f".repeat(32));
        assert_eq!(pinned.parse::<TicketLink>().unwrap().token.expose(), "gc_1");
        for text in [
            "https://greenroom.example/c/",
            "https://greenroom.example/c/gc_",
            "https://greenroom.example/c/gr_hunter2",
            "https://greenroom.example/c/gc_hunter2/more",
            "https://greenroom.example/s/gc_hunter2",
            "gc_hunter2",
            "http://greenroom.example/c/gc_hunter2",
            "",
        ] {
            let error = text.parse::<TicketLink>().unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_answered_is_told_in_words() {
        let kept =
            read_answer(StatusCode::ACCEPTED, br#"{"code":"K7Q4-M2XP","url":"https://x/reports/1","id":1}"#);
        assert_eq!(kept.unwrap().code, "K7Q4-M2XP");
        let said = |status: u16, body: &[u8]| {
            let error = read_answer(StatusCode::from_u16(status).unwrap(), body).unwrap_err();
            (error.may_pass(), error.to_string())
        };
        let (passes, words) = said(401, br#"{"detail":"this key is not good\u001b[2J"}"#);
        assert_eq!(
            (passes, words.as_str()),
            (false, "the server answered 401 Unauthorized: this key is not good[2J")
        );
        assert!(said(503, br#"{"detail":"later"}"#).0);
        assert!(said(200, b"<html>").1.starts_with("what answers there is no greenroom serve"));
        assert!(said(202, b"{}").1.starts_with("what answers there is no greenroom serve"));
    }
}
