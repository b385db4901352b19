//! Requests of the server's own: to addresses that somebody set, and to nothing else.
//!
//! Whoever may name an address for the server to ask could otherwise reach through it what only the server reaches: a cloud's metadata, a
//! database, a printer. So a name is resolved once, every address that it has must be a public one unless private ones are allowed in
//! words, the connection goes to what was looked at, redirects are not followed, and time and octets are bounded.

mod range;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use range::is_public;

/// Most octets of an address that is asked.
const LONGEST_URL: usize = 2_048;

type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Finds the addresses of a host's port.
pub type Resolver = Arc<dyn Fn(String, u16) -> Found + Send + Sync>;

/// Asks other servers.
#[derive(Clone)]
pub struct Outbound {
    resolver: Resolver,
}

/// What this system trusts, read once.
static TLS: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(tls);

/// What an answer may cost, and where it may come from.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Whether private addresses may be asked; plain HTTP goes to such ones alone.
    pub allow_private: bool,
    /// From the first look-up to the last octet.
    pub time: Duration,
    /// Most octets of an answer's body.
    pub octets: usize,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status; also one that redirects, which is not followed.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why a server could not be asked. Each says so in words that an admin understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// It is no address that can be asked.
    #[error("{0}")]
    Address(&'static str),
    /// Its name has no address.
    #[error("the name {0} cannot be resolved")]
    Unresolved(String),
    /// It stands where the server does not go.
    #[error("{0} is a private address, and those are not allowed for this")]
    Private(std::net::IpAddr),
    /// It is asked in the clear over a network of others.
    #[error("plain HTTP goes to private addresses alone; use https://")]
    Plain,
    /// Nobody answers there.
    #[error("no connection: {0}")]
    Connect(String),
    /// It could not show that it is who it should be.
    #[error("TLS: {0}")]
    Tls(String),
    /// It broke off, or what it said is no HTTP.
    #[error("the answer broke off: {0}")]
    Http(String),
    /// It took too long.
    #[error("no whole answer within {0} s")]
    TooSlow(u64),
    /// It said too much.
    #[error("the answer has more than {0} octets")]
    TooLarge(usize),
}

impl Outbound {
    /// With this system's resolver and the authorities that it trusts (`SSL_CERT_FILE` names others).
    pub fn system() -> Self {
        let resolver: Resolver = Arc::new(|host, port| {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
        });
        Self { resolver }
    }

    /// With another resolver: a test's.
    pub fn resolving(resolver: Resolver) -> Self {
        Self { resolver }
    }

    /// Asks a server and reads its answer.
    ///
    /// # Errors
    /// When there is none; see [`OutboundError`].
    pub async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        bounds: Bounds,
    ) -> Result<Answer, OutboundError> {
        let work = self.exchange(method, url, headers, body, bounds);
        let too_slow = OutboundError::TooSlow(bounds.time.as_secs());
        tokio::time::timeout(bounds.time, work).await.unwrap_or(Err(too_slow))
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        bounds: Bounds,
    ) -> Result<Answer, OutboundError> {
        let to = Destination::read(url)?;
        let stream = self.connect(&to, bounds.allow_private).await?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = to.path.clone();
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, to.authority.clone());
        request
            .headers_mut()
            .insert(USER_AGENT, HeaderValue::from_static(concat!("greenroom/", env!("CARGO_PKG_VERSION"))));
        if !to.secure {
            return answer(stream, request, bounds.octets).await;
        }
        let tls = TLS.clone().ok_or(OutboundError::Address("this system has no TLS"))?;
        let name = ServerName::try_from(to.host.clone())
            .map_err(|_| OutboundError::Address("the host's name cannot be in a certificate"))?;
        let stream = TlsConnector::from(tls).connect(name, stream).await;
        let stream = stream.map_err(|error| OutboundError::Tls(error.to_string()))?;
        answer(stream, request, bounds.octets).await
    }

    /// Connects to an address of the host that may be asked.
    async fn connect(&self, to: &Destination, allow_private: bool) -> Result<TcpStream, OutboundError> {
        let found = (self.resolver)(to.host.clone(), to.port).await.unwrap_or_default();
        if found.is_empty() {
            return Err(OutboundError::Unresolved(to.host.clone()));
        }
        for address in &found {
            let public = is_public(address.ip());
            // One private address among others is one that whoever answers for the name put there.
            if !public && !allow_private {
                return Err(OutboundError::Private(address.ip()));
            }
            if public && !to.secure {
                return Err(OutboundError::Plain);
            }
        }
        let mut last = String::new();
        for address in found {
            match connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error.to_string(),
            }
        }
        Err(OutboundError::Connect(last))
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbound")
    }
}

/// Whether an address that somebody set can be asked at all, before anybody does.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(url: &str, allow_private: bool) -> Result<(), OutboundError> {
    let to = Destination::read(url)?;
    if !to.secure && !allow_private {
        return Err(OutboundError::Plain);
    }
    match to.host.parse() {
        Ok(ip) if !is_public(ip) && !allow_private => Err(OutboundError::Private(ip)),
        Ok(ip) if is_public(ip) && !to.secure => Err(OutboundError::Plain),
        _ => Ok(()),
    }
}

/// Where a request goes.
struct Destination {
    secure: bool,
    /// Without brackets.
    host: String,
    port: u16,
    /// As the header `Host` has it.
    authority: HeaderValue,
    path: Uri,
}

impl Destination {
    fn read(url: &str) -> Result<Self, OutboundError> {
        let wrong = OutboundError::Address;
        if url.len() > LONGEST_URL {
            return Err(wrong("the address is too long"));
        }
        let uri: Uri = url.parse().map_err(|_| wrong("write https://HOST/PATH"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("write https://HOST/PATH")),
        };
        let authority = uri.authority().ok_or(wrong("write https://HOST/PATH"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a name or password in the address is not sent; leave it out"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("write https://HOST/PATH"));
        }
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let header = HeaderValue::from_str(authority.as_str())
            .map_err(|_| wrong("the host's name is not readable"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = path.parse().map_err(|_| wrong("the path is not readable"))?;
        Ok(Self { secure, host, port, authority: header, path })
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place from which this crate connects to others")]
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

async fn answer<S>(stream: S, request: Request<Full<Bytes>>, octets: usize) -> Result<Answer, OutboundError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broke = |error: hyper::Error| OutboundError::Http(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    // It ends when the sender and the answer's body are dropped.
    let driver = tokio::spawn(connection);
    let _ended = AbortOnDrop(driver);
    let response = sender.send_request(request).await.map_err(broke)?;
    let (parts, mut incoming) = response.into_parts();
    let told = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|told| told > octets) {
        return Err(OutboundError::TooLarge(octets));
    }
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(broke)?.into_data() else { continue };
        if body.len().saturating_add(data.len()) > octets {
            return Err(OutboundError::TooLarge(octets));
        }
        body.extend_from_slice(&data);
    }
    Ok(Answer { status: parts.status, headers: parts.headers, body: body.freeze() })
}

/// Ends the connection also where whoever asked gave up.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn tls() -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    // What cannot be read is left out; without any, every certificate is refused, which the error says.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(allow_private: bool) -> Bounds {
        Bounds { allow_private, time: Duration::from_secs(20), octets: 1_000 }
    }

    /// Names resolve to these, and how often somebody asked is counted.
    fn resolving(to: Vec<SocketAddr>) -> (Outbound, Arc<std::sync::atomic::AtomicUsize>) {
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let resolver: Resolver = Arc::new(move |_, _| {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let to = to.clone();
            Box::pin(async move { Ok(to) })
        });
        (Outbound::resolving(resolver), asked)
    }

    async fn get(outbound: &Outbound, url: &str, bounds: Bounds) -> Result<Answer, OutboundError> {
        outbound.ask(Method::GET, url, HeaderMap::new(), Vec::new(), bounds).await
    }

    /// Answers each connection with this.
    async fn answering(with: Vec<u8>) -> SocketAddr {
        #[expect(clippy::disallowed_methods, reason = "a test is a server, too")]
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let with = with.clone();
                tokio::spawn(async move {
                    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(&with).await;
                });
            }
        });
        at
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_whatever_else_it_has() {
        let private = "169.254.169.254:443".parse().unwrap();
        for to in [vec![private], vec!["93.184.215.14:443".parse().unwrap(), private]] {
            let (outbound, asked) = resolving(to);
            let refused = get(&outbound, "https://hooks.example/x", bounds(false)).await.unwrap_err();
            assert_eq!(refused, OutboundError::Private(private.ip()));
            assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1, "resolved once");
        }
        let (outbound, _) = resolving(vec!["[::ffff:10.0.0.1]:443".parse().unwrap()]);
        let refused = get(&outbound, "https://hooks.example/x", bounds(false)).await.unwrap_err();
        assert!(matches!(refused, OutboundError::Private(_)), "{refused}");
        // 2130706433 and 0x7f.1 are 127.0.0.1 to a resolver.
        for url in [
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://localhost/",
        ] {
            let refused = get(&Outbound::system(), url, bounds(false)).await.unwrap_err();
            assert!(
                matches!(refused, OutboundError::Private(_) | OutboundError::Unresolved(_)),
                "{url}: {refused}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_allowed_is_asked_and_a_redirect_is_an_answer() {
        let at = answering(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 2\r\n\r\nhi".to_vec(),
        )
        .await;
        let (outbound, asked) = resolving(vec![at]);
        let got = get(&outbound, "http://inside.example/x?y", bounds(true)).await.unwrap();
        assert_eq!((got.status.as_u16(), &got.body[..]), (302, &b"hi"[..]));
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn who_says_too_much_or_nothing_is_cut_off() {
        let told = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec()).await;
        let endless = [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            b"400\r\n".to_vec(),
            vec![b'x'; 1024],
        ]
        .concat();
        let endless = answering(endless).await;
        for at in [told, endless] {
            let (outbound, _) = resolving(vec![at]);
            let refused = get(&outbound, "http://inside.example/", bounds(true)).await.unwrap_err();
            assert_eq!(refused, OutboundError::TooLarge(1_000));
        }
        let silent = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec()).await;
        let (outbound, _) = resolving(vec![silent]);
        let short = Bounds { time: Duration::from_millis(300), ..bounds(true) };
        let refused = get(&outbound, "http://inside.example/", short).await.unwrap_err();
        assert!(matches!(refused, OutboundError::TooSlow(0) | OutboundError::Http(_)), "{refused}");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_before_it_is() {
        for wrong in [
            "",
            "hooks.example",
            "ftp://hooks.example/",
            "https://",
            "https://u:p@hooks.example/",
            "http://hooks.example/",
            "https://10.0.0.1/",
            "https://[fd00::1]/",
        ] {
            assert!(check_url(wrong, false).is_err(), "{wrong}");
        }
        assert_eq!(check_url("https://hooks.example:8443/a?b", false), Ok(()));
        assert_eq!(check_url("http://10.0.0.1:8080/", true), Ok(()));
        assert_eq!(check_url("http://93.184.215.14/", true), Err(OutboundError::Plain));
        assert!(check_url(&format!("https://hooks.example/{}", "x".repeat(3_000)), false).is_err());
    }
}
