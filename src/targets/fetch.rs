//! One web request, step by step: what each step took, and what was answered.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::TargetFailure;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{ALT_SVC, HOST, HeaderName, LOCATION, SERVER, USER_AGENT};
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::proxy::Proxy;
use super::repeat::{Attempt, Connection, connect};
use super::security;
use crate::address::Host;
use crate::net::clock::Clock;
use crate::net::resolve::{self, Family};
use crate::net::tcp::Meter;
use crate::net::udp::Interface;
use crate::net::witness::{Agreed, handshake};

/// Octets of an answer's body that are read.
pub(super) const MOST_BODY: u64 = 64 * 1_024;
/// Characters of a header that are kept.
const LONGEST_HEADER: usize = 2_000;
/// The versions of HTTP that are offered, the newer first.
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Where to ask for what.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// The host.
    pub(super) host: Host,
    /// The port.
    pub(super) port: u16,
    /// The path, with the query where a redirection has one.
    pub(super) path: String,
}

impl Page {
    /// Host and port as a request names them.
    pub(super) fn authority(&self) -> String {
        match self.port {
            443 => self.host.to_string(),
            port => format!("{}:{port}", self.host),
        }
    }
}

/// How to ask.
#[derive(Debug, Clone)]
pub(super) struct Fetching {
    pub(super) interface: Option<Interface>,
    pub(super) patience: Duration,
    pub(super) clock: Clock,
    pub(super) meter: Meter,
    pub(super) proxy: Option<Proxy>,
}

/// What came of a request.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    /// Looking up the name. `None`: there was none to look up.
    pub(super) lookup: Option<Micros>,
    pub(super) connection: Connection,
    /// What was agreed on, and how long the handshake took. `None`: it did not come to that.
    pub(super) shaken: Option<(Agreed, Micros)>,
    /// What was answered. `None`: it did not come to that.
    pub(super) answer: Option<Answer>,
    /// Why there is no answer.
    pub(super) failure: Option<TargetFailure>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// From the request to its head.
    pub(super) first_byte: Micros,
    /// From the very beginning to its end.
    pub(super) total: Micros,
    pub(super) status: u16,
    pub(super) version: &'static str,
    pub(super) location: Option<String>,
    pub(super) software: Option<String>,
    pub(super) alternatives: Option<String>,
    pub(super) body_bytes: u64,
    pub(super) body_cut: bool,
}

impl Attempt for Fetched {
    fn failure(&self) -> Option<TargetFailure> {
        self.connection.failure().or_else(|| self.failure.clone())
    }
}

impl Fetching {
    /// Asks once for a page at an address, or at the proxy's.
    pub(super) async fn once(&self, address: SocketAddr, page: Page) -> Fetched {
        let begun = self.clock.now();
        let lookup = self.look_up(&page).await;
        let (connection, connected) =
            connect(address, self.interface.as_ref(), self.patience, self.clock).await;
        let mut fetched = Fetched { lookup, connection, shaken: None, answer: None, failure: None };
        let Some(connected) = connected else { return fetched };
        let stream = self.meter.on(connected.stream);
        fetched.failure = self.over(stream, &page, begun, &mut fetched).await.err();
        fetched
    }

    /// How long looking up the name takes: answered from a cache where there is one, as for other programs.
    pub(super) async fn look_up(&self, page: &Page) -> Option<Micros> {
        if self.proxy.is_some() || matches!(page.host, Host::Address(_)) {
            return None;
        }
        let begun = self.clock.now();
        let found = resolve::resolve(&page.host, page.port, Family::Any, self.patience).await;
        found.ok().map(|_| self.clock.now() - begun)
    }

    async fn over<S>(
        &self,
        mut stream: S,
        page: &Page,
        begun: Micros,
        fetched: &mut Fetched,
    ) -> Result<(), TargetFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connected = self.clock.now();
        let mute = |protocol: &str| TargetFailure::Mute { protocol: protocol.to_owned() };
        if let Some(proxy) = &self.proxy {
            let authority = format!("{}:{}", page.host, page.port);
            let tunnel = proxy.tunnel(&mut stream, &authority);
            tokio::time::timeout(self.patience, tunnel).await.map_err(|_| mute("HTTP"))??;
        }
        let witnessed = handshake(stream, &page.host.server_name(), ALPN, self.patience)
            .await
            .map_err(|failure| security::refusal(&failure))?;
        let is_h2 = witnessed.agreed.alpn.as_deref() == Some("h2");
        fetched.shaken = Some((witnessed.agreed, self.clock.now() - connected));
        let asking = self.ask(witnessed.stream, is_h2, page, begun);
        let answer = tokio::time::timeout(self.patience, asking).await.map_err(|_| mute("HTTP"))?;
        fetched.answer = Some(answer?);
        Ok(())
    }

    async fn ask<S>(
        &self,
        stream: S,
        is_h2: bool,
        page: &Page,
        begun: Micros,
    ) -> Result<Answer, TargetFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        let asked;
        // The connection ends with the request: the task that carries it is stopped when this one is done.
        let mut carrier = tokio::task::JoinSet::new();
        let response = if is_h2 {
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), io).await.map_err(|error| refusal(&error))?;
            carrier.spawn(async move { connection.await.is_ok() });
            asked = self.clock.now();
            sender.send_request(request(page, true)?).await
        } else {
            let (mut sender, connection) = http1::handshake(io).await.map_err(|error| refusal(&error))?;
            carrier.spawn(async move { connection.await.is_ok() });
            asked = self.clock.now();
            sender.send_request(request(page, false)?).await
        };
        let response = response.map_err(|error| refusal(&error))?;
        let first_byte = self.clock.now() - asked;
        let mut answer = head(&response, first_byte);
        read_body(response.into_body(), &mut answer).await?;
        answer.total = self.clock.now() - begun;
        Ok(answer)
    }
}

fn request(page: &Page, absolute: bool) -> Result<Request<Empty<Bytes>>, TargetFailure> {
    let authority = page.authority();
    // HTTP/2 takes host and scheme from the URI; HTTP/1.1 names the host apart.
    let uri = if absolute { format!("https://{authority}{}", page.path) } else { page.path.clone() };
    let agent = concat!("greenroom/", env!("CARGO_PKG_VERSION"));
    let mut request = Request::get(uri).header(USER_AGENT, agent).header("accept", "*/*");
    if !absolute {
        request = request.header(HOST, authority);
    }
    request
        .body(Empty::new())
        .map_err(|error| TargetFailure::Local { detail: format!("the request cannot be written: {error}") })
}

fn head(response: &Response<Incoming>, first_byte: Micros) -> Answer {
    let header = |name: HeaderName| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).chars().take(LONGEST_HEADER).collect::<String>())
    };
    Answer {
        first_byte,
        total: first_byte,
        status: response.status().as_u16(),
        version: match response.version() {
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        location: header(LOCATION),
        software: header(SERVER),
        alternatives: header(ALT_SVC),
        body_bytes: 0,
        body_cut: false,
    }
}

async fn read_body(mut body: Incoming, answer: &mut Answer) -> Result<(), TargetFailure> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| refusal(&error))?;
        let octets = frame.data_ref().map_or(0, Bytes::len);
        answer.body_bytes += u64::try_from(octets).unwrap_or(u64::MAX);
        if answer.body_bytes >= MOST_BODY {
            answer.body_cut = true;
            break;
        }
    }
    Ok(())
}

/// Why there was no answer.
pub(super) fn refusal(error: &hyper::Error) -> TargetFailure {
    let detail = error.to_string();
    match () {
        () if error.is_parse() => TargetFailure::WrongProtocol { protocol: "HTTP".to_owned(), detail },
        () if error.is_timeout() => TargetFailure::Mute { protocol: "HTTP".to_owned() },
        () => TargetFailure::Reset,
    }
}
