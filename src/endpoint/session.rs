//! One client's session: admitted, opened on the reflector, its log sent ten times a second, closed.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use greenroom_reports::trace::encoding::ChunkEncoder;
use greenroom_reports::trace::{ClockInfo, Half, StreamId};
use greenroom_reports::units::Micros;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::{LOG_CAP, Stats, browser, bulk, load, random_bytes};
use crate::address::Token;
use crate::net::clock::Clock;
use crate::net::datagrams;
use crate::net::inline::Inline;
use crate::net::link::{Link, LinkError};
use crate::net::pacing::{Driver, Ended};
use crate::net::peers::Echo;
use crate::net::quic;
use crate::net::tunnel::TunnelEnd;
use crate::net::udp::StampSources;
use crate::net::ws::FrameSocket;
use crate::proto::admission::{Admission, Admitted, Refusal};
use crate::proto::capacity::SearchConfig;
use crate::proto::control::{
    self, Accept, CapacityResult, ControlError, EndpointInfo, Finished, Frame, Hello, Limits, Ping,
    ProbeCarrier, Refuse, RefuseCode, StartCapacity, StartStream, StopStream,
};
use crate::proto::media::MediaPlan;
use crate::proto::reflector::{OpenStamp, Reflector, ReflectorConfig, SessionConfig, SessionError};
use crate::proto::stamp::{SessionKey, TimestampFormat, WallAnchor};

/// How long a client may take to say hello.
const HELLO: Duration = Duration::from_secs(3);
/// How long the goodbye of a session that has reached its end may take.
const GRACE: Duration = Duration::from_secs(3);
/// How often the endpoint's half is sent.
const CHUNK_INTERVAL: Duration = Duration::from_millis(100);
/// How often a search is asked whether it has ended.
const SEARCH_INTERVAL: Duration = Duration::from_millis(20);
/// SSIDs tried before giving up: with 64 sessions of 65,535 the second is free.
const SSID_TRIES: usize = 32;

/// What all sessions of an endpoint share.
pub(super) struct Shared {
    driver: Driver<Reflector>,
    clock: Clock,
    admission: Mutex<Admission>,
    external_ip: Option<IpAddr>,
    stats: Arc<Stats>,
    ended: Notify,
}

/// How the sessions of one listener are measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transport {
    pub(super) stamp_port: u16,
    pub(super) stamps: StampSources,
}

impl Shared {
    pub(super) fn new(
        driver: Driver<Reflector>,
        clock: Clock,
        admission: Admission,
        external_ip: Option<IpAddr>,
        stats: Arc<Stats>,
    ) -> Self {
        Self { driver, clock, admission: Mutex::new(admission), external_ip, stats, ended: Notify::new() }
    }

    pub(super) fn drain(&self) {
        self.book().drain();
    }

    pub(super) fn open_sessions(&self) -> usize {
        self.book().open_sessions()
    }

    /// Whether most sessions are taken: then strangers prove their address first.
    pub(super) fn is_busy(&self) -> bool {
        self.open_sessions() > 16
    }

    /// Waits until some session has ended, for at most a moment.
    pub(super) async fn session_ended(&self) {
        let _ = tokio::time::timeout(Duration::from_millis(200), self.ended.notified()).await;
    }

    /// Copies the reflector's counters into the metrics.
    pub(super) async fn copy_counters(&self) {
        if let Ok(counters) = self.driver.call(|reflector, _| *reflector.counters()).await {
            self.stats.replies.set(counters.replies);
            let rejected = counters.unknown + counters.forged + counters.oversized + counters.replayed;
            self.stats.rejected.set(rejected + counters.expired + counters.unexpected);
            self.stats.throttled.set(counters.throttled + counters.overflowed);
        }
        let drops = self.driver.status().sockets.iter().filter_map(|socket| socket.queue_drops).sum();
        self.stats.queue_drops.set(drops);
        self.stats.sessions_open.set(self.open_sessions() as u64);
    }

    /// Whether whoever shows this token could be let in now; it stays good.
    pub(super) fn look(&self, token: Option<&Token>) -> Result<(), Refusal> {
        let looked = self.book().look(self.clock.now(), token);
        if let Err(refusal) = &looked {
            self.stats.count_refusal(refusal.code);
        }
        looked
    }

    fn book(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, from: IpAddr, hello: &Hello) -> Result<(Permit<'_>, Limits), Refusal> {
        if !hello.versions.contains(&control::VERSION) {
            self.stats.refused_version.increment();
            let say = format!("this endpoint speaks version {} of the control protocol.", control::VERSION);
            return Err(Refusal { code: RefuseCode::Version, say, retry_after: None });
        }
        let admitted = self.book().admit(self.clock.now(), from, hello.token.as_ref(), hello.wants);
        match admitted {
            Ok((id, limits)) => {
                self.stats.sessions_admitted.increment();
                let wider = hello.search.and_then(|wish| self.book().widen(id, wish));
                Ok((Permit { id, shared: self }, wider.unwrap_or(limits)))
            }
            Err(refusal) => {
                self.stats.count_refusal(refusal.code);
                Err(refusal)
            }
        }
    }
}

/// Holds a place in the book of sessions.
struct Permit<'a> {
    id: Admitted,
    shared: &'a Shared,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.shared.book().release(self.id);
        self.shared.ended.notify_one();
    }
}

/// Why a session ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Thread(#[from] Ended),
    #[error("the client said nothing")]
    Silent,
    #[error("the client began with something else than hello")]
    NoHello,
    #[error("the client took nothing any more")]
    Stuck,
    #[error("no free SSID")]
    NoSsid,
    #[error(transparent)]
    Start(#[from] super::StartError),
}

/// Serves one QUIC connection: its first bidirectional stream is control, further ones are bulk.
pub(super) async fn serve_quic(incoming: quinn::Incoming, shared: &Shared, transport: Transport) {
    let peer = incoming.remote_address();
    let served = async {
        let begun = begun(incoming).await.map_err(|error| LinkError::Broken(error.to_string()))?;
        let connection = match begun {
            Begun::Early(connection, whole) => return browser::serve(connection, whole, shared).await,
            Begun::Whole(connection) => connection,
        };
        let opened = tokio::time::timeout(HELLO, connection.accept_bi()).await.map_err(|_| Broken::Silent)?;
        let (send, receive) = opened.map_err(|error| LinkError::Broken(error.to_string()))?;
        let mut link = Link::quic(send, receive);
        let hello = read_hello(&mut link).await?;
        if hello.probes == ProbeCarrier::QuicDatagrams {
            let (reflector, far) = reflector(peer, shared)?;
            return tokio::select! {
                served = serve_alone(&mut link, hello, &reflector, peer, shared, Beside::Nothing) => served,
                () = datagrams::carry(&connection, far) => Ok(()),
            };
        }
        let (_permit, limits) = match shared.admit(peer.ip(), &hello) {
            Ok(admitted) => admitted,
            Err(refusal) => return refuse(&mut link, refusal).await,
        };
        let reflector = Reached::Thread(&shared.driver);
        let session = Session { reflector, known: None, clock: shared.clock, limits, transport, echo: None };
        tokio::select! {
            served = session.serve(&mut link, shared.external_ip) => served,
            () = bulk::serve(&connection, limits, &shared.stats) => Ok(()),
        }
    };
    end(peer, served.await);
}

/// A connection that has begun.
enum Begun {
    /// A browser's, which can be written to; its handshake is over once the other one comes.
    Early(quinn::Connection, quinn::ZeroRttAccepted),
    /// Anybody else's, after its handshake.
    Whole(quinn::Connection),
}

/// A connection as soon as it can be written to. A browser asks for its session once it has the endpoint's settings of HTTP/3: they leave
/// with the first answer, before the handshake has come to its end (RFC 9001 §5.7), which saves a round trip. They are no secret, and
/// nobody's certificate is asked for. What comes is read no earlier for that.
async fn begun(incoming: quinn::Incoming) -> Result<Begun, quinn::ConnectionError> {
    let mut connecting = incoming.accept()?;
    let data = connecting.handshake_data().await?.downcast::<quinn::crypto::rustls::HandshakeData>().ok();
    if data.and_then(|data| data.protocol).as_deref() != Some(quic::H3) {
        return connecting.await.map(Begun::Whole);
    }
    match connecting.into_0rtt() {
        Ok((connection, whole)) => Ok(Begun::Early(connection, whole)),
        // Of a server's own connections it is always one.
        Err(connecting) => connecting.await.map(Begun::Whole),
    }
}

/// Serves one WebSocket, with a reflector of its own.
pub(super) async fn serve_web_socket<S>(socket: FrameSocket<S>, peer: SocketAddr, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = async {
        let (reflector, far) = reflector(peer, shared)?;
        let mut link = Link::web_socket(socket, far);
        let hello = read_hello(&mut link).await?;
        serve_alone(&mut link, hello, &reflector, peer, shared, Beside::Nothing).await
    };
    end(peer, served.await);
}

/// What a session carries besides probes, as far as it is admitted.
pub(super) enum Beside<'a> {
    /// Nothing.
    Nothing,
    /// Bulk transfers of a page, over streams of its WebTransport session.
    Page(&'a web_transport_quinn::Session),
    /// Sound and picture of a page, which go back.
    Media(&'a Echo),
}

/// A reflector for one session whose probes come over something else than UDP, and the end for what carries them.
pub(super) fn reflector(peer: SocketAddr, shared: &Shared) -> Result<(Inline<Reflector>, TunnelEnd), Broken> {
    let stamps = StampSources::USER;
    let reflector = Reflector::new(ReflectorConfig {
        anchor: WallAnchor::from_unix_micros(shared.clock.started().as_microsecond()),
        timestamps: TimestampFormat::Ntp,
        clock: ClockInfo { tx: stamps.tx, rx: stamps.rx, steps: Vec::new() },
        secret: random_bytes()?,
        open: OpenStamp::Off,
        log_cap: LOG_CAP,
    });
    Ok(Inline::new(reflector, peer, shared.clock))
}

/// Serves a session that has a reflector of its own ([`reflector`]).
pub(super) async fn serve_alone(
    link: &mut Link,
    hello: Hello,
    reflector: &Inline<Reflector>,
    peer: SocketAddr,
    shared: &Shared,
    beside: Beside<'_>,
) -> Result<(), Broken> {
    let (page, echo) = match beside {
        Beside::Nothing => (None, None),
        Beside::Page(page) => (Some(page), None),
        Beside::Media(echo) => (None, Some(echo)),
    };
    // The control of TCP and of QUIC decides how fast it goes: there is no capacity to search but by the streams of a page.
    let hello = Hello { search: hello.search.filter(|_| page.is_some()), ..hello };
    let (_permit, limits) = match shared.admit(peer.ip(), &hello) {
        Ok(admitted) => admitted,
        Err(refusal) => return refuse(link, refusal).await,
    };
    if let Some(echo) = echo {
        echo.allow(limits);
    }
    let transport = Transport { stamp_port: peer.port(), stamps: StampSources::USER };
    let reached = Reached::Here(reflector);
    let known = Some(peer);
    let session = Session { reflector: reached, known, clock: shared.clock, limits, transport, echo };
    let transfers = async {
        match page {
            Some(page) => load::serve(page, limits, &shared.stats).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        served = session.serve(link, None) => served,
        () = transfers => Ok(()),
        ended = reflector.keep_time() => Err(ended.into()),
    }
}

fn end(peer: SocketAddr, outcome: Result<(), Broken>) {
    match outcome {
        Ok(()) => tracing::debug!(%peer, "session ended"),
        Err(error) => tracing::debug!(%peer, %error, "session broke"),
    }
}

pub(super) async fn read_hello(link: &mut Link) -> Result<Hello, Broken> {
    match tokio::time::timeout(HELLO, link.receive()).await {
        Ok(Ok(Some(Frame::Hello(hello)))) => Ok(hello),
        Ok(Ok(_)) => Err(Broken::NoHello),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Broken::Silent),
    }
}

async fn refuse(link: &mut Link, refusal: Refusal) -> Result<(), Broken> {
    let refuse = Refuse { code: refusal.code, say: refusal.say, retry_after_us: refusal.retry_after };
    link.send(&Frame::Refuse(refuse)).await?;
    link.finish().await;
    Ok(())
}

/// How a session's reflector is reached.
#[derive(Clone, Copy)]
enum Reached<'a> {
    /// It is everybody's, on the pacing thread.
    Thread(&'a Driver<Reflector>),
    /// It is the session's own.
    Here(&'a Inline<Reflector>),
}

impl Reached<'_> {
    async fn call<R: Send + 'static>(
        self,
        command: impl FnOnce(&mut Reflector, Micros) -> R + Send + 'static,
    ) -> Result<R, Ended> {
        match self {
            Self::Thread(driver) => driver.call(command).await,
            Self::Here(reflector) => reflector.call(command),
        }
    }

    fn post(self, command: impl FnOnce(&mut Reflector, Micros) + Send + 'static) -> Result<(), Ended> {
        match self {
            Self::Thread(driver) => driver.post(command),
            Self::Here(reflector) => reflector.call(command),
        }
    }
}

/// A session that was admitted.
struct Session<'a> {
    reflector: Reached<'a>,
    /// Where its packets come from, if what carries them has shown it: then nobody has to ask.
    known: Option<SocketAddr>,
    clock: Clock,
    limits: Limits,
    transport: Transport,
    /// Sound and picture that are sent back, where they can be.
    echo: Option<&'a Echo>,
}

impl Session<'_> {
    async fn serve(&self, link: &mut Link, external_ip: Option<IpAddr>) -> Result<(), Broken> {
        let key = SessionKey::new(random_bytes()?);
        let ssid = self.open(&key).await?;
        // A client that takes nothing any more could hold a send, and with it the session, beyond its end.
        let longest = self.limits.max_duration_us.to_duration() + GRACE;
        let run = self.run(link, ssid, key, external_ip);
        let served = tokio::time::timeout(longest, run).await.unwrap_or(Err(Broken::Stuck));
        // A thread that has ended has no sessions.
        let _ = self.reflector.post(move |reflector, _| reflector.close_session(ssid));
        served
    }

    /// Opens a session under a random SSID that is free.
    async fn open(&self, key: &SessionKey) -> Result<u16, Broken> {
        for _ in 0..SSID_TRIES {
            let ssid = u16::from_be_bytes(random_bytes()?);
            let config = SessionConfig {
                ssid,
                key: key.clone(),
                expires: self.clock.now() + self.limits.max_duration_us,
                max_pps: self.limits.max_pps,
                max_bitrate: self.limits.max_bitrate_bps,
            };
            let known = self.known;
            let open = move |reflector: &mut Reflector, now| {
                let opened = reflector.open_session(now, &config);
                if let (Ok(()), Some(address)) = (opened, known) {
                    reflector.vouch(ssid, address);
                }
                opened
            };
            if self.reflector.call(open).await?.is_ok() {
                return Ok(ssid);
            }
        }
        Err(Broken::NoSsid)
    }

    async fn run(
        &self,
        link: &mut Link,
        ssid: u16,
        key: SessionKey,
        external_ip: Option<IpAddr>,
    ) -> Result<(), Broken> {
        let status = self.reflector.call(move |reflector, _| reflector.session(ssid)).await?;
        let Some(status) = status else { return Err(Broken::NoSsid) };
        let accept = Accept {
            version: control::VERSION,
            session: format!("{ssid:04x}"),
            ssid,
            key,
            stamp_addr: external_ip,
            stamp_port: self.transport.stamp_port,
            validated: status.validated.is_some(),
            limits: self.limits,
            anchor_unix_us: status.anchor,
            timestamps: TimestampFormat::Ntp,
            stamps: control::StampSources { tx: self.transport.stamps.tx, rx: self.transport.stamps.rx },
            endpoint: EndpointInfo { name: "greenroom".into(), version: env!("CARGO_PKG_VERSION").into() },
        };
        link.send(&Frame::Accept(Box::new(accept))).await?;
        let mut log = Log { ssid, encoder: ChunkEncoder::new() };
        let mut tick = tokio::time::interval(CHUNK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut search = None;
        let mut look = tokio::time::interval(SEARCH_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let expires = tokio::time::sleep(self.limits.max_duration_us.to_duration());
        tokio::pin!(expires);
        loop {
            tokio::select! {
                () = &mut expires => return self.expire(link, &mut log).await,
                _ = tick.tick() => log.send(self.reflector, link, false).await?,
                _ = look.tick(), if search.is_some() => search = self.result(link, ssid, search).await?,
                frame = link.receive() => match frame? {
                    None => return Ok(()),
                    Some(Frame::Finish(_)) => return self.finish(link, &mut log).await,
                    Some(Frame::StartCapacity(start)) => {
                        if self.start_capacity(link, ssid, start).await? {
                            search = Some(start.stream);
                        }
                    }
                    Some(frame) => self.handle(link, ssid, frame).await?,
                },
            }
        }
    }

    async fn handle(&self, link: &mut Link, ssid: u16, frame: Frame) -> Result<(), Broken> {
        match frame {
            Frame::StartStream(start) => self.start_stream(link, ssid, start).await,
            Frame::StopStream(StopStream { stream }) => {
                self.reflector.post(move |reflector, _| reflector.stop_stream(ssid, stream))?;
                Ok(())
            }
            Frame::Ping(Ping { id, reply: false }) => {
                Ok(link.send(&Frame::Ping(Ping { id, reply: true })).await?)
            }
            // Frames of a later version, and answers to questions that were not asked.
            _ => Ok(()),
        }
    }

    async fn start_stream(&self, link: &mut Link, ssid: u16, start: StartStream) -> Result<(), Broken> {
        let most = self.limits.max_duration_us;
        let started = self
            .reflector
            .call(move |reflector, now| {
                let plan = MediaPlan {
                    stream: start.stream,
                    media: start.media,
                    rate: start.rate_bps,
                    from: now,
                    until: now + start.duration_us.min(most).max(Micros::ZERO),
                    seed: start.seed,
                };
                reflector.start_stream(now, ssid, plan)
            })
            .await?;
        match started {
            Ok(()) => Ok(()),
            Err(error) => self.refuse_stream(link, start.stream, error).await,
        }
    }

    /// Begins a search down; whether it has begun.
    async fn start_capacity(&self, link: &mut Link, ssid: u16, start: StartCapacity) -> Result<bool, Broken> {
        let config = SearchConfig {
            ceiling: start.ceiling_bps,
            budget: start.budget_bytes,
            deadline: start.duration_us.max(Micros::ZERO),
            ..SearchConfig::default()
        };
        let begin =
            move |reflector: &mut Reflector, now| reflector.start_capacity(now, ssid, start.stream, config);
        match self.reflector.call(begin).await? {
            Ok(()) => Ok(true),
            Err(error) => self.refuse_stream(link, start.stream, error).await.map(|()| false),
        }
    }

    /// Tells the client how its search ended, once it has. Returns the search that is still under way.
    async fn result(
        &self,
        link: &mut Link,
        ssid: u16,
        search: Option<StreamId>,
    ) -> Result<Option<StreamId>, Broken> {
        let Some(stream) = search else { return Ok(None) };
        let ask = move |reflector: &mut Reflector, _| reflector.capacity_outcome(ssid, stream);
        let Some(outcome) = self.reflector.call(ask).await? else { return Ok(search) };
        let result = CapacityResult {
            stream,
            capacity_bps: outcome.capacity,
            at_least: outcome.at_least,
            end: outcome.end,
        };
        link.send(&Frame::CapacityResult(result)).await?;
        Ok(None)
    }

    async fn refuse_stream(
        &self,
        link: &mut Link,
        stream: StreamId,
        error: SessionError,
    ) -> Result<(), Broken> {
        let code = match error {
            SessionError::Rate => RefuseCode::Rate,
            SessionError::Unknown(_) => RefuseCode::Expired,
            _ => RefuseCode::BadRequest,
        };
        let refusal = ControlError { code, say: error.to_string(), stream: Some(stream) };
        Ok(link.send(&Frame::Error(refusal)).await?)
    }

    /// Sends the rest of the log and says that it was all.
    async fn finish(&self, link: &mut Link, log: &mut Log) -> Result<(), Broken> {
        if let Some(figures) = self.echo.and_then(Echo::figures) {
            link.send(&Frame::Echoed(Box::new(figures))).await?;
        }
        log.send(self.reflector, link, true).await?;
        let ssid = log.ssid;
        let status = self.reflector.call(move |reflector, _| reflector.session(ssid)).await?;
        let finished = status.map_or_else(Finished::default, |status| Finished {
            dropped_records: status.dropped_records,
            address_changes: status.address_changes,
        });
        link.send(&Frame::Finished(finished)).await?;
        link.finish().await;
        Ok(())
    }

    async fn expire(&self, link: &mut Link, log: &mut Log) -> Result<(), Broken> {
        log.send(self.reflector, link, true).await?;
        let say = "the session has reached its end.".to_owned();
        link.send(&Frame::Error(ControlError { code: RefuseCode::Expired, say, stream: None })).await?;
        link.finish().await;
        Ok(())
    }
}

/// The endpoint's half of a run on its way to the client.
struct Log {
    ssid: u16,
    encoder: ChunkEncoder,
}

impl Log {
    async fn send(&mut self, reflector: Reached<'_>, link: &mut Link, last: bool) -> Result<(), Broken> {
        let ssid = self.ssid;
        let added: Option<Half> =
            reflector.call(move |reflector, now| reflector.drain_log(now, ssid, last)).await?;
        let Some(added) = added else { return Ok(()) };
        let chunk = self.encoder.encode(&added);
        Ok(link.send(&Frame::HalfTrace(chunk)).await?)
    }
}
