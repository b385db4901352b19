//! A WebSocket over TLS: how long it takes to stand, the round trips of its pings, and whether it stands until the end.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{AddressTried, Details, RoundTrip, Value, WssDetails};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::{in_vain, reached};
use super::find::addresses_unless;
use super::repeat::{Connection, connect};
use super::security::{refusal, security};
use crate::address::{OtherUrl, Part};
use crate::net::clock::Clock;
use crate::net::tcp::{Meter, Metered};
use crate::net::udp::Interface;
use crate::net::witness::{Agreed, handshake};
use crate::plan::ProbePlan;

/// The longest message that is taken; what others send is not asked for.
const LONGEST_MESSAGE: usize = 64 * 1_024;
/// Characters of somebody's words that are kept.
const LONGEST_REASON: usize = 200;
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

type Socket = WebSocketStream<tokio_rustls::client::TlsStream<Metered<tokio::net::TcpStream>>>;

/// Opens a WebSocket at the first address that answers and pings over it as planned. Adds about the bytes sent and received at the IP
/// layer to `spent`.
///
/// # Errors
///
/// The reason why it did not stand: of its addresses that of the last one tried.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let addresses = addresses_unless(stop, &plan.target.host, plan.target.port).await?;
    let meter = Meter::default();
    let (mut failure, mut tried) = (TargetFailure::NoNetwork, Vec::new());
    for address in addresses {
        let opening = open(address, plan, clock, &meter);
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => Err(TargetFailure::Interrupted),
            opened = opening => opened,
        };
        match opened {
            Ok(opened) => {
                let found = pinged(address, opened, plan, clock, stop, tried).await;
                *spent += meter.about(1);
                return Ok(found);
            }
            Err(TargetFailure::Interrupted) => return Err(TargetFailure::Interrupted),
            Err(other) => {
                tried.push(in_vain(address, &other));
                failure = other;
            }
        }
    }
    *spent += meter.about(tried.len());
    Err(failure)
}

/// A WebSocket that stands, and what each step took.
struct Opened {
    socket: Socket,
    connection: Connection,
    handshake: Micros,
    upgrade: Micros,
    agreed: Agreed,
}

async fn open(
    address: SocketAddr,
    plan: &ProbePlan,
    clock: Clock,
    meter: &Meter,
) -> Result<Opened, TargetFailure> {
    let interface = plan.interface.as_deref().map(Interface::parse);
    let patience = plan.patience.to_duration();
    let (connection, connected) = connect(address, interface.as_ref(), patience, clock).await;
    let Some(connected) = connected else {
        return Err(connection.failure().unwrap_or(TargetFailure::Silent));
    };
    let shaking = clock.now();
    let stream = meter.on(connected.stream);
    let witnessed = handshake(stream, &plan.target.host.server_name(), &[b"http/1.1"], patience)
        .await
        .map_err(|failure| refusal(&failure))?;
    let shaken = clock.now();
    let upgrading = client_async_with_config(url(&plan.target), witnessed.stream, Some(config()));
    let mute = TargetFailure::Mute { protocol: "WebSocket".to_owned() };
    let upgraded = tokio::time::timeout(patience, upgrading).await.map_err(|_| mute)?;
    let (socket, _) = upgraded.map_err(|error| no_socket(&error))?;
    let (handshake, upgrade) = (shaken - shaking, clock.now() - shaken);
    Ok(Opened { socket, connection, handshake, upgrade, agreed: witnessed.agreed })
}

fn url(target: &OtherUrl) -> String {
    let path = match &target.part {
        Part::Service { path, .. } | Part::Plain { path } => path.as_str(),
        Part::None | Part::Beside { .. } | Part::Relay(_) | Part::Question(_) => "/",
    };
    match target.port {
        443 => format!("wss://{}{path}", target.host),
        port => format!("wss://{}:{port}{path}", target.host),
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(LONGEST_MESSAGE)).max_frame_size(Some(LONGEST_MESSAGE))
}

/// Why the other end did not switch protocols.
fn no_socket(error: &Error) -> TargetFailure {
    match error {
        Error::Http(answer) => TargetFailure::WrongProtocol {
            protocol: "WebSocket".to_owned(),
            detail: format!("it answers with status {} instead of 101", answer.status().as_u16()),
        },
        Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed => TargetFailure::Reset,
        other => TargetFailure::WrongProtocol { protocol: "WebSocket".to_owned(), detail: other.to_string() },
    }
}

/// What came of the pings.
struct Pings {
    exchanges: Vec<Exchange>,
    /// When each left; `None`: it did not.
    left: Vec<Option<Micros>>,
    messages: u64,
    /// How the other end ended it, if it did.
    closed_by: Option<String>,
    stopped: bool,
}

async fn pinged(
    address: SocketAddr,
    opened: Opened,
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    tried: Vec<AddressTried>,
) -> Found {
    let Opened { mut socket, connection, handshake, upgrade, agreed } = opened;
    let began = clock.now();
    let pings = ping(&mut socket, plan, clock, stop).await;
    let stood = clock.now() - began;
    if pings.closed_by.is_none() {
        // The other end may not answer it.
        let _ = tokio::time::timeout(GOODBYE, socket.close(None)).await;
    }
    let details = WssDetails {
        round_trip: RoundTrip::of(&pings.exchanges, StampSource::User),
        connect_ms: Value::exact(connection.took().as_ms()),
        handshake_ms: Value::exact(handshake.as_ms()),
        upgrade_ms: Value::exact(upgrade.as_ms()),
        stood_ms: Value::exact(stood.as_ms()),
        survived: Value::exact(pings.closed_by.is_none()),
        closed_by: match pings.closed_by {
            Some(how) => Value::exact(how),
            None => Value::not_tested("this end closed it"),
        },
        messages: pings.messages,
        tried,
        security: security(std::iter::once(&agreed), &plan.target, clock),
    };
    Found {
        reached: reached("websocket", address, Some((upgrade + handshake + connection.took()).as_ms())),
        details: Details::Wss(details),
        trace: None,
        stopped: pings.stopped,
    }
}

/// Pings until all are answered or given up, the other end closes, or `stop` is cancelled.
async fn ping(socket: &mut Socket, plan: &ProbePlan, clock: Clock, stop: &CancellationToken) -> Pings {
    let count = usize::try_from(plan.count).unwrap_or(usize::MAX);
    let mut pings = Pings {
        exchanges: vec![Exchange::NotSent; count],
        left: Vec::with_capacity(count),
        messages: 0,
        closed_by: None,
        stopped: false,
    };
    let start = clock.now();
    let due = |index: usize| start + plan.interval * i64::try_from(index).unwrap_or(i64::MAX / 1_000_000_000);
    // One interval more, so that the last ping too shows whether the connection stands for as long as was asked for.
    let asked_until = due(count);
    while pings.closed_by.is_none() {
        let now = clock.now();
        let next = pings.left.len();
        let waits = pings.exchanges.contains(&Exchange::Awaited);
        let last_call = pings.left.last().copied().flatten().unwrap_or(start) + plan.patience;
        if next >= count && now >= asked_until && (!waits || now >= last_call) {
            break;
        }
        let wake = match () {
            () if next < count => due(next),
            () if now < asked_until => asked_until,
            () => last_call,
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                pings.stopped = true;
                break;
            }
            message = socket.next() => pings.take(message, clock.now()),
            () = tokio::time::sleep_until(clock.instant(wake).into()) => {
                if next < count {
                    pings.send(socket, next, clock).await;
                }
            }
        }
    }
    let now = clock.now();
    pings.give_up(now, plan.patience);
    pings
}

impl Pings {
    async fn send<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<S>,
        index: usize,
        clock: Clock,
    ) {
        let number = u64::try_from(index).unwrap_or(u64::MAX).to_be_bytes();
        let left = clock.now();
        let sent = socket.send(Message::Ping(Bytes::copy_from_slice(&number))).await;
        self.left.push(sent.is_ok().then_some(left));
        if let Some(exchange) = self.exchanges.get_mut(index) {
            *exchange = if sent.is_ok() { Exchange::Awaited } else { Exchange::SendFailed };
        }
        if let Err(error) = sent {
            self.closed_by = Some(how_it_broke(&error));
        }
    }

    fn take(&mut self, message: Option<Result<Message, Error>>, at: Micros) {
        match message {
            Some(Ok(Message::Pong(number))) => self.answered(&number, at),
            Some(Ok(Message::Close(frame))) => {
                self.closed_by = Some(frame.map_or_else(
                    || "it closed and gave no reason".to_owned(),
                    |frame| {
                        let reason: String = frame.reason.chars().take(LONGEST_REASON).collect();
                        format!("it closed with {} {reason}", u16::from(frame.code)).trim_end().to_owned()
                    },
                ));
            }
            Some(Ok(Message::Text(_) | Message::Binary(_))) => self.messages += 1,
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => {}
            Some(Err(error)) => self.closed_by = Some(how_it_broke(&error)),
            None => self.closed_by = Some("the connection was broken off".to_owned()),
        }
    }

    /// A pong; those that answer no ping of this run say nothing (RFC 6455 section 5.5.3 allows them).
    fn answered(&mut self, number: &[u8], at: Micros) {
        let number = number.try_into().map(u64::from_be_bytes).ok().and_then(|n| usize::try_from(n).ok());
        let Some(index) = number else { return };
        let Some(left) = self.left.get(index).copied().flatten() else { return };
        if let Some(exchange @ Exchange::Awaited) = self.exchanges.get_mut(index) {
            *exchange = Exchange::Answered { at, rtt: at - left };
        }
    }

    /// What has been waited for long enough is lost, as is everything on a connection that has ended.
    fn give_up(&mut self, now: Micros, patience: Micros) {
        let ended = self.closed_by.is_some();
        for (exchange, left) in self.exchanges.iter_mut().zip(&self.left) {
            let waited = left.is_some_and(|left| now - left >= patience);
            if *exchange == Exchange::Awaited && (ended || waited) {
                *exchange = Exchange::Lost;
            }
        }
    }
}

fn how_it_broke(error: &Error) -> String {
    match error {
        Error::Io(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            "the connection was broken off".to_owned()
        }
        other => other.to_string().chars().take(LONGEST_REASON).collect(),
    }
}
