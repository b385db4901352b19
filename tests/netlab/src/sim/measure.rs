//! A whole measurement in virtual time: Greenroom's sender and reflector over a scenario's links.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use greenroom::proto::machine::{Arrival, Departure, Machine, Transmit};
use greenroom::proto::media::MediaPlan;
use greenroom::proto::reflector::{OpenStamp, Reflector, ReflectorConfig, SessionConfig};
use greenroom::proto::sender::{AudioPlan, Sender, SenderConfig, SenderState};
use greenroom::proto::stamp::{
    MediaTlv, Mode, ReflectorPacket, SenderPacket, SessionKey, TimestampFormat, TlvKind, Tlvs, WallAnchor,
};
use greenroom_reports::trace::{ClockInfo, Direction, Half, Media, PhaseKind, StampSource, StreamId, Trace};
use greenroom_reports::units::{Bitrate, Micros};

use super::{End, Sim, host::Computer};
use crate::scenario::Scenario;
use crate::truth::Truth;

pub(super) const SSID: u16 = 0x4752;
/// Expedited forwarding, not ECN capable.
const AUDIO_TOS: u8 = 46 << 2;
/// How long a deep run waits for stragglers: longer than its Tmax, so that each packet's fate is certain.
const STRAGGLER_WAIT: Micros = Micros::from_millis(3_500);
/// Runs that have not ended by then never will.
const LIMIT: Duration = Duration::from_secs(3_600);
/// Validation probes carry numbers from here on.
const FIRST_PROBE: u32 = 1 << 31;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long audio lasts.
    pub audio: Micros,
    /// Media beside it.
    pub loads: Vec<Load>,
}

/// A one-way media stream. Times count from the start of the run.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Which way.
    pub direction: Direction,
    /// What it imitates.
    pub media: Media,
    /// Nominal rate.
    pub rate: Bitrate,
    /// When it begins.
    pub from: Micros,
    /// When it ends.
    pub until: Micros,
}

/// What a measurement saw, and what there was to see.
#[derive(Debug, Clone)]
pub struct Run {
    /// Both ends' logs.
    pub trace: Trace,
    /// What the links did.
    pub truth: Truth,
    /// Where the sender stood at the end.
    pub state: SenderState,
}

/// Runs a plan over a scenario in virtual time. The same seed gives the same run.
pub fn simulate(scenario: &Scenario, seed: u64, plan: &Plan) -> Run {
    let [zero_here, zero_there] = [&scenario.hosts.here, &scenario.hosts.there]
        .map(|host| Computer::new(host, seed, 0).local(Duration::ZERO));
    let addresses = [1, 2].map(|host| SocketAddr::from((Ipv4Addr::new(10, 203, 0, host), 7_444)));
    let streams = plan.streams(seed);
    let mut agent = Agent::new(sender(plan, addresses[1], seed, zero_here, zero_there), &streams, zero_here);
    let mut endpoint =
        Endpoint { reflector: reflector(zero_there), waiting: down_streams(&streams, zero_there) };
    let here = End { machine: &mut agent, address: addresses[0] };
    let there = End { machine: &mut endpoint, address: addresses[1] };
    let (mut truth, [end_here, end_there]) = Sim::new(scenario, seed, here, there).run(LIMIT, stream_of);
    truth.seed = seed;
    if !agent.sender.is_finished() {
        agent.sender.abort(end_here);
    }
    let state = agent.sender.state();
    let (here, phases, _) = agent.sender.into_parts();
    let mut there = Half::default();
    if let Some(log) = endpoint.reflector.drain_log(end_there, SSID, true) {
        there.append(log);
    }
    Run { trace: Trace { here, there: Some(there), phases, ..Trace::default() }, truth, state }
}

/// Which stream a datagram of a session belongs to; `None` for validation, which is not measured.
pub fn stream_of(direction: Direction, payload: &[u8]) -> Option<StreamId> {
    let (number, tlvs) = match direction {
        Direction::Up => SenderPacket::parse(Mode::Authenticated, payload).map(|(it, tlvs)| (it.seq, tlvs)),
        Direction::Down => {
            ReflectorPacket::parse(Mode::Authenticated, payload).map(|(it, tlvs)| (it.sender_seq, tlvs))
        }
    }
    .ok()?;
    let media = Tlvs::new(tlvs).map_while(Result::ok).find(|tlv| tlv.kind == TlvKind::MEDIA);
    match media {
        Some(tlv) => MediaTlv::parse(tlv.value).map(|media| media.stream),
        None => (number < FIRST_PROBE).then_some(StreamId::AUDIO),
    }
}

impl Plan {
    /// Audio alone.
    pub fn audio(audio: Micros) -> Self {
        Self { audio, loads: Vec::new() }
    }

    /// Numbers the streams from 1 on, in the order of the plan.
    fn streams(&self, seed: u64) -> Vec<(Direction, MediaPlan)> {
        let number = |(stream, load): (u16, &Load)| {
            let Load { direction, media, rate, from, until } = *load;
            let seed = seed.wrapping_add(u64::from(stream));
            (direction, MediaPlan { stream: StreamId(stream), media, rate, from, until, seed })
        };
        (1..).zip(&self.loads).map(number).collect()
    }
}

pub(super) fn anchor() -> WallAnchor {
    WallAnchor::from_unix_micros(1_795_000_000_000_000)
}

pub(super) fn clock() -> ClockInfo {
    ClockInfo { tx: StampSource::Kernel, rx: StampSource::Kernel, steps: Vec::new() }
}

pub(super) fn key() -> SessionKey {
    SessionKey::new([7; 32])
}

/// Below 20 ms, as drivers draw it.
pub(super) fn start_phase(seed: u64) -> Micros {
    Micros::new(i64::try_from(seed % 20_000).expect("below 20 ms"))
}

fn sender(plan: &Plan, reflector: SocketAddr, seed: u64, zero_here: Micros, zero_there: Micros) -> Sender {
    let config = SenderConfig {
        reflector,
        ssid: SSID,
        key: key(),
        anchor_here: anchor(),
        anchor_there: anchor().shifted(zero_there),
        timestamps_there: TimestampFormat::Ntp,
        clock: clock(),
        validate_until: zero_here + Micros::from_secs(3),
        audio: AudioPlan { start_phase: start_phase(seed), duration: plan.audio, tos: AUDIO_TOS },
        straggler_wait: STRAGGLER_WAIT,
    };
    Sender::new(config, zero_here)
}

pub(super) fn reflector(zero: Micros) -> Reflector {
    let mut reflector = Reflector::new(ReflectorConfig {
        anchor: anchor(),
        timestamps: TimestampFormat::Ntp,
        clock: clock(),
        secret: [9; 32],
        open: OpenStamp::Off,
        log_cap: 1 << 20,
    });
    let session = SessionConfig {
        ssid: SSID,
        key: key(),
        expires: zero + Micros::from_secs(3_600),
        max_pps: 100_000,
        max_bitrate: Bitrate::from_kbps(1_000_000),
    };
    reflector.open_session(zero, &session).expect("a new reflector has no session");
    reflector
}

/// Media down, on the endpoint's clock.
fn down_streams(streams: &[(Direction, MediaPlan)], zero: Micros) -> Vec<MediaPlan> {
    let down = streams.iter().filter(|(direction, _)| *direction == Direction::Down);
    down.map(|(_, plan)| MediaPlan { from: zero + plan.from, until: zero + plan.until, ..*plan }).collect()
}

/// The sender, with what a driver does to it: media and phases in their time.
struct Agent {
    sender: Sender,
    /// Media up that has not begun, on the agent's clock.
    waiting: Vec<MediaPlan>,
    /// All media, on the agent's clock.
    all: Vec<(Direction, MediaPlan)>,
    /// Points at which the load changes and which have not come.
    changes: BTreeSet<Micros>,
    begun: bool,
}

impl Agent {
    fn new(sender: Sender, streams: &[(Direction, MediaPlan)], zero: Micros) -> Self {
        let at_home = |(direction, plan): &(Direction, MediaPlan)| {
            (*direction, MediaPlan { from: zero + plan.from, until: zero + plan.until, ..*plan })
        };
        let all: Vec<_> = streams.iter().map(at_home).collect();
        let up = all.iter().filter(|(direction, _)| *direction == Direction::Up);
        let waiting = up.map(|(_, plan)| *plan).collect();
        let changes = all.iter().flat_map(|(_, plan)| [plan.from, plan.until]).collect();
        Self { sender, waiting, all, changes, begun: false }
    }

    fn do_what_is_due(&mut self, now: Micros) {
        if self.sender.state() != SenderState::Running {
            return;
        }
        let due: Vec<_> = self.waiting.extract_if(.., |plan| plan.from <= now).collect();
        for plan in due {
            // Refused only while not running, beyond 32 streams or for a number used twice: none of which is so.
            self.sender.start_stream(now, plan).expect("running, few streams, each with a number of its own");
        }
        let later = self.changes.split_off(&(now + Micros::new(1)));
        let changed = !std::mem::replace(&mut self.changes, later).is_empty();
        if changed || !self.begun {
            self.begun = true;
            let offered = |direction| self.offered(direction, now);
            let (up, down) = (offered(Direction::Up), offered(Direction::Down));
            let kind = if up.bps() + down.bps() == 0 { PhaseKind::Idle } else { PhaseKind::Media };
            self.sender.begin_phase(now, kind, up, down);
        }
    }

    fn offered(&self, direction: Direction, now: Micros) -> Bitrate {
        let now_on =
            |(of, plan): &&(Direction, MediaPlan)| *of == direction && (plan.from..plan.until).contains(&now);
        self.all.iter().filter(now_on).map(|(_, plan)| plan.rate).sum()
    }
}

impl Machine for Agent {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        self.sender.handle_datagram(now, arrival, payload);
    }

    fn handle_departure(&mut self, departure: &Departure) {
        self.sender.handle_departure(departure);
    }

    fn handle_drops(&mut self, now: Micros, total: u64) {
        self.sender.handle_drops(now, total);
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        self.do_what_is_due(now);
        self.sender.poll_transmit(now, payload)
    }

    fn next_deadline(&self) -> Option<Micros> {
        let running = self.sender.state() == SenderState::Running;
        let change = self.changes.first().copied().filter(|_| running);
        self.sender.next_deadline().into_iter().chain(change).min()
    }

    fn is_finished(&self) -> bool {
        self.sender.is_finished()
    }
}

/// The reflector, with what its driver does to it: media down once the agent's address is validated. Never finishes by itself.
struct Endpoint {
    reflector: Reflector,
    waiting: Vec<MediaPlan>,
}

impl Machine for Endpoint {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        self.reflector.handle_datagram(now, arrival, payload);
    }

    fn handle_departure(&mut self, departure: &Departure) {
        self.reflector.handle_departure(departure);
    }

    fn handle_drops(&mut self, now: Micros, total: u64) {
        self.reflector.handle_drops(now, total);
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        if self.reflector.session(SSID).is_some_and(|session| session.validated.is_some()) {
            for plan in self.waiting.drain(..) {
                let started = self.reflector.start_stream(now, SSID, plan);
                started.expect("validated, few streams, each with a number of its own");
            }
        }
        self.reflector.poll_transmit(now, payload)
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.reflector.next_deadline()
    }

    fn is_finished(&self) -> bool {
        false
    }
}
