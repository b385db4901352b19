//! A whole check in virtual time: conducted as over sockets, judged by the same rules, ended for the same reasons.
//!
//! What stands for the real thing: one packet per control message ([`super::control`]) and no handshake before validation.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use greenroom::conduct::{self, Conductor, Cue};
use greenroom::plan::{Plan, PlannedPhase};
use greenroom::proto::machine::{Arrival, Departure, Machine, Transmit, TransmitKey};
use greenroom::proto::media::MediaPlan;
use greenroom::proto::reflector::Reflector;
use greenroom::proto::sender::{AudioPlan, Sender, SenderConfig, SenderState};
use greenroom::proto::stamp::TimestampFormat;
use greenroom_reports::assess::TargetMeta;
use greenroom_reports::schema::{Identity, Reached, Verdict};
use greenroom_reports::trace::{Direction, Half, Phase, StreamId, Trace};
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::TargetFailure;

use super::control::{self, Control};
use super::measure::{self, SSID};
use super::{End, Sim, host::Computer};
use crate::scenario::Scenario;
use crate::truth::Truth;

/// The endpoint sends its log so often.
const CHUNK: Micros = Micros::from_millis(100);
/// The rest of the log may take so long beyond the plan's wait for stragglers.
const LOG: Micros = Micros::from_millis(1_500);
/// How long the endpoint's address may take to be validated.
const VALIDATE: Micros = Micros::from_millis(1_500);
/// A stream down lasts at least this, however long the round trip.
const SHORTEST_STREAM: Micros = Micros::from_millis(100);
/// QUIC's first datagrams have at least 1,200 octets (RFC 9000 section 14.1), here with headers of IPv4 and UDP.
const LEAST_QUIC: u32 = 1_228;
/// No check takes longer.
const LIMIT: Duration = Duration::from_secs(120);
/// Names control packets in departures; no machine gives this key.
const CONTROL: TransmitKey = TransmitKey(u64::MAX);

/// A check that has ended.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What it found.
    pub verdict: Verdict,
    /// Why it ended.
    pub ending: Ending,
    /// When the verdict was first sure enough to stop, or all had been offered, since validation began.
    pub decided_after: Micros,
    /// When the verdict was out: of a run to its planned end, stragglers and the rest of the endpoint's log awaited.
    pub took: Micros,
    /// What is known of the endpoint beside the samples.
    pub meta: TargetMeta,
    /// Both ends' logs. `None`: the endpoint was not reached.
    pub trace: Option<Trace>,
    /// What the links did.
    pub truth: Truth,
}

/// Why a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All that was planned was sent.
    Planned,
    /// Every use asked for was decided before.
    Decided,
    /// The endpoint was not reached, or lost.
    Failed,
}

/// Runs a check over a scenario in virtual time. The same seed gives the same check.
pub fn check(scenario: &Scenario, seed: u64, plan: &Plan) -> Checked {
    let [zero_here, zero_there] = [&scenario.hosts.here, &scenario.hosts.there]
        .map(|host| Computer::new(host, seed, 0).local(Duration::ZERO));
    let addresses = [1, 2].map(|host| SocketAddr::from((Ipv4Addr::new(10, 203, 0, host), 7_444)));
    let round_trip = Direction::BOTH
        .map(|direction| Micros::from_duration(scenario.schedule(direction).at(Duration::ZERO).delay));
    let line = Line {
        round_trip: round_trip[0] + round_trip[1],
        up: Control::new(),
        down: Control::new(),
        agent: SocketAddr::new(addresses[0].ip(), 7_443),
        endpoint: SocketAddr::new(addresses[1].ip(), 7_443),
    };
    let mut endpoint = Endpoint {
        line: line.other_end(),
        reflector: measure::reflector(zero_there),
        next_chunk: None,
        finished: false,
    };
    let config = SenderConfig {
        reflector: addresses[1],
        ssid: SSID,
        key: measure::key(),
        anchor_here: measure::anchor(),
        anchor_there: measure::anchor().shifted(zero_there),
        timestamps_there: TimestampFormat::Ntp,
        clock: measure::clock(),
        validate_until: zero_here + VALIDATE,
        audio: AudioPlan { start_phase: measure::start_phase(seed), duration: plan.traffic_ends(), tos: 0 },
        straggler_wait: plan.drain,
    };
    let mut agent = Agent::new(plan, Sender::new(config, zero_here), line);
    agent.carries_quic = Direction::BOTH.iter().all(|direction| {
        scenario.schedule(*direction).at(Duration::ZERO).mtu_bytes.is_none_or(|mtu| mtu >= LEAST_QUIC)
    });
    let here = End { machine: &mut agent, address: addresses[0] };
    let there = End { machine: &mut endpoint, address: addresses[1] };
    let (truth, [end_here, _]) = Sim::new(scenario, seed, here, there).run(LIMIT, stream_of);
    agent.conclude(truth, zero_here, end_here)
}

fn stream_of(direction: Direction, payload: &[u8]) -> Option<StreamId> {
    if control::is_control(payload) { None } else { measure::stream_of(direction, payload) }
}

/// What the agent asks of the endpoint.
#[derive(Clone, Copy)]
enum Request {
    /// To send a stream that lasts so long.
    Start(MediaPlan, Micros),
    Stop(StreamId),
    /// To send the rest of its log.
    Finish,
}

/// Both control streams.
struct Line {
    round_trip: Micros,
    up: Control<Request>,
    down: Control<Half>,
    agent: SocketAddr,
    endpoint: SocketAddr,
}

impl Line {
    fn other_end(&self) -> Self {
        Self { up: self.up.other_end(), down: self.down.other_end(), ..*self }
    }

    /// A packet is taken for lost after so long: as QUIC does with a steady round trip (RFC 9002 section 6.2).
    fn patience(&self) -> Micros {
        self.round_trip + self.round_trip / 2 + Micros::from_millis(25)
    }
}

fn control_packet(to: SocketAddr, now: Micros) -> Transmit {
    Transmit { to, key: CONTROL, intended: now, tos: 0, stamp: false }
}

/// The agent: its sender, and what conducts the run over it.
struct Agent<'p> {
    plan: &'p Plan,
    sender: Sender,
    line: Line,
    meta: TargetMeta,
    conductor: Option<Conductor<'p>>,
    there: Half,
    wait: Option<Micros>,
    stage: Stage,
    decided_at: Option<Micros>,
    /// Whether a handshake would get through.
    carries_quic: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Offering,
    /// Stragglers are awaited, at most until then.
    Draining(Micros),
    /// The rest of the log is awaited, at most until then.
    Fetching(Micros),
    Done(Ending),
}

impl<'p> Agent<'p> {
    fn new(plan: &'p Plan, sender: Sender, line: Line) -> Self {
        let meta = TargetMeta {
            url: "greenroom://netlab".to_owned(),
            kind: "greenroom".to_owned(),
            reached: Some(Reached {
                transport: "udp".to_owned(),
                address: None,
                setup_ms: None,
                instead_of_udp: None,
            }),
            identity: Some(Identity::Verified),
            failure: None,
            details: None,
            in_process: false,
        };
        let (conductor, there) = (None, Half::default());
        let (wait, stage, decided_at) = (None, Stage::Offering, None);
        let carries_quic = true;
        Self { plan, sender, line, meta, conductor, there, wait, stage, decided_at, carries_quic }
    }

    /// Does what is due, as `greenroom::check` does.
    fn go_on(&mut self, now: Micros) {
        while let Some(chunk) = self.line.down.read() {
            self.there.append(chunk);
        }
        let patience = self.plan.drain + LOG;
        match self.stage {
            Stage::Offering => self.offer(now),
            Stage::Draining(until) if self.sender.is_finished() || now >= until => {
                self.line.up.send(now, self.line.patience(), Request::Finish);
                self.stage = Stage::Fetching(now + patience);
            }
            // A late end of the log is no dead endpoint: what it does not cover stays awaited.
            Stage::Fetching(until) if self.there.complete || now >= until => {
                self.stage = Stage::Done(Ending::Planned);
            }
            _ => {}
        }
    }

    fn offer(&mut self, now: Micros) {
        if self.sender.state() == SenderState::Unreachable || !self.carries_quic {
            self.fail(TargetFailure::UdpBlocked { works: Some("tls/7443".to_owned()) }, now);
            return;
        }
        let Some(start) = self.sender.audio_start() else { return };
        let mut conductor = self.conductor.take().unwrap_or_else(|| Conductor::new(self.plan, start));
        loop {
            match conductor.cue(now) {
                Cue::Begin(phase) => self.begin(now, phase, conductor.zero()),
                Cue::Look if conductor.is_dead(now, self.sender.last_heard()) => {
                    self.fail(TargetFailure::Died, now);
                    break;
                }
                Cue::Look => {
                    let assessment = conduct::judge(self.plan, &self.meta, Some(&self.snapshot(now)), false);
                    if conduct::may_stop(self.plan, &assessment) {
                        self.end(now, Ending::Decided);
                        break;
                    }
                    conductor.take_in(now, &assessment);
                }
                Cue::Wait(until) => {
                    self.wait = Some(until.max(now + Micros::from_millis(1)));
                    break;
                }
                Cue::Over => {
                    self.end(now, Ending::Planned);
                    break;
                }
            }
        }
        self.conductor = Some(conductor);
    }

    fn begin(&mut self, now: Micros, phase: PlannedPhase, zero: Micros) {
        self.sender.begin_phase(zero + phase.from, phase.kind, phase.offered_up, phase.offered_down);
        for stream in conduct::streams_of(self.plan, phase) {
            let (from, until) = (zero + stream.from, zero + stream.to);
            let media = MediaPlan {
                stream: stream.id,
                media: stream.spec.media,
                rate: stream.spec.rate,
                from,
                until,
                seed: u64::from(stream.id.0),
            };
            if stream.spec.direction == Some(Direction::Up) {
                self.sender.start_stream(now, media).expect("running, few streams, each a number of its own");
            } else {
                let lasting = (until - from - self.line.round_trip).max(SHORTEST_STREAM);
                self.line.up.send(now, self.line.patience(), Request::Start(media, lasting));
            }
        }
    }

    fn snapshot(&self, now: Micros) -> Trace {
        let mut phases = self.sender.phases().to_vec();
        if let Some(last) = phases.last_mut() {
            last.to = last.to.min(now);
        }
        self.trace(self.sender.half().clone(), phases)
    }

    fn trace(&self, here: Half, phases: Vec<Phase>) -> Trace {
        let there = (!self.there.streams.is_empty()).then(|| self.there.clone());
        Trace { here, there, phases, ..Trace::default() }
    }

    fn fail(&mut self, failure: TargetFailure, now: Micros) {
        self.meta.failure = Some(failure);
        self.end(now, Ending::Failed);
    }

    fn end(&mut self, now: Micros, ending: Ending) {
        self.wait = None;
        self.decided_at = Some(now);
        if ending != Ending::Planned {
            self.sender.abort(now);
            self.stage = Stage::Done(ending);
            return;
        }
        for stream in self.plan.streams.iter().filter(|it| it.spec.direction == Some(Direction::Down)) {
            self.line.up.send(now, self.line.patience(), Request::Stop(stream.id));
        }
        self.sender.finish(now);
        self.stage = Stage::Draining(now + self.plan.drain + LOG);
    }

    fn conclude(mut self, truth: Truth, zero: Micros, end: Micros) -> Checked {
        let Stage::Done(ending) = self.stage else { panic!("a check that never ends: seed {}", truth.seed) };
        let reached = self.sender.audio_start().is_some();
        if !reached {
            self.meta.reached = None;
        }
        let phases = self.sender.phases().to_vec();
        let trace = reached.then(|| self.trace(self.sender.half().clone(), phases));
        let at_cap = ending != Ending::Failed;
        let verdict = conduct::judge(self.plan, &self.meta, trace.as_ref(), at_cap).verdict;
        let decided_after = self.decided_at.unwrap_or(end) - zero;
        Checked { verdict, ending, decided_after, took: end - zero, meta: self.meta, trace, truth }
    }
}

impl Machine for Agent<'_> {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        if !self.line.down.receive(payload) {
            self.sender.handle_datagram(now, arrival, payload);
        }
    }

    fn handle_departure(&mut self, departure: &Departure) {
        if departure.key != CONTROL {
            self.sender.handle_departure(departure);
        }
    }

    fn handle_drops(&mut self, now: Micros, total: u64) {
        self.sender.handle_drops(now, total);
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        self.go_on(now);
        if self.line.up.poll(now, payload) {
            return Some(control_packet(self.line.endpoint, now));
        }
        let before = self.sender.state();
        let transmit = self.sender.poll_transmit(now, payload);
        if self.sender.state() != before {
            self.go_on(now);
        }
        transmit
    }

    fn next_deadline(&self) -> Option<Micros> {
        let stage = match self.stage {
            Stage::Offering => self.wait,
            Stage::Draining(until) | Stage::Fetching(until) => Some(until),
            Stage::Done(_) => None,
        };
        let sender = self.sender.next_deadline();
        sender.into_iter().chain(self.line.up.due()).chain(stage).min()
    }

    fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Done(_))
    }
}

/// The endpoint: its reflector, and what answers requests and sends the log.
struct Endpoint {
    line: Line,
    reflector: Reflector,
    next_chunk: Option<Micros>,
    /// Whether the rest of the log is sent.
    finished: bool,
}

impl Endpoint {
    fn go_on(&mut self, now: Micros) {
        while let Some(request) = self.line.up.read() {
            match request {
                Request::Start(media, lasting) => {
                    let media = MediaPlan { from: now, until: now + lasting, ..media };
                    // Refused only before validation, and nothing is asked for before.
                    self.reflector.start_stream(now, SSID, media).expect("validated, few streams");
                }
                Request::Stop(stream) => self.reflector.stop_stream(SSID, stream),
                Request::Finish => {
                    self.send_log(now, true);
                    self.finished = true;
                }
            }
        }
        let validated = self.reflector.session(SSID).is_some_and(|session| session.validated.is_some());
        match self.next_chunk {
            _ if self.finished => self.next_chunk = None,
            None if validated => self.next_chunk = Some(now + CHUNK),
            Some(due) if due <= now => {
                self.send_log(now, false);
                self.next_chunk = Some(due + CHUNK);
            }
            _ => {}
        }
    }

    fn send_log(&mut self, now: Micros, last: bool) {
        if let Some(chunk) = self.reflector.drain_log(now, SSID, last) {
            self.line.down.send(now, self.line.patience(), chunk);
        }
    }
}

impl Machine for Endpoint {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        if !self.line.up.receive(payload) {
            self.reflector.handle_datagram(now, arrival, payload);
        }
    }

    fn handle_departure(&mut self, departure: &Departure) {
        if departure.key != CONTROL {
            self.reflector.handle_departure(departure);
        }
    }

    fn handle_drops(&mut self, now: Micros, total: u64) {
        self.reflector.handle_drops(now, total);
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        self.go_on(now);
        if self.line.down.poll(now, payload) {
            return Some(control_packet(self.line.agent, now));
        }
        self.reflector.poll_transmit(now, payload)
    }

    fn next_deadline(&self) -> Option<Micros> {
        let reflector = self.reflector.next_deadline();
        reflector.into_iter().chain(self.line.down.due()).chain(self.next_chunk).min()
    }

    fn is_finished(&self) -> bool {
        false
    }
}
