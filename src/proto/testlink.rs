//! A link in virtual time between a sender and a reflector, which knows what it did to every packet.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;

use greenroom_reports::trace::{ClockInfo, Half, StampSource};
use greenroom_reports::units::{Bitrate, Micros};

use super::machine::{Arrival, Departure, DepartureEvent, Machine, Transmit, TransmitKey};
use super::media::SplitMix;
use super::reflector::{OpenStamp, Reflector, ReflectorConfig, SessionConfig};
use super::sender::{AudioPlan, Sender, SenderConfig};
use super::stamp::{SessionKey, TimestampFormat, WallAnchor};

pub(crate) const SSID: u16 = 0x0102;
pub(crate) const CLIENT: &str = "192.0.2.1:40000";
pub(crate) const ENDPOINT: &str = "198.51.100.1:7444";

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub(crate) fn key() -> SessionKey {
    SessionKey::new([0x5a; 32])
}

/// The endpoint's session begins so much later than its machine's clock.
pub(crate) const EPOCH: Micros = Micros::from_secs(1_000);

pub(crate) fn clock() -> ClockInfo {
    ClockInfo { tx: StampSource::Kernel, rx: StampSource::Kernel, steps: Vec::new() }
}

pub(crate) fn sender(audio: Micros) -> Sender {
    let config = SenderConfig {
        reflector: addr(ENDPOINT),
        ssid: SSID,
        key: key(),
        anchor_here: WallAnchor::from_unix_micros(1_795_000_000_000_000),
        anchor_there: WallAnchor::from_unix_micros(1_795_000_000_500_000).shifted(EPOCH),
        timestamps_there: TimestampFormat::Ntp,
        clock: clock(),
        validate_until: Micros::from_secs(2),
        audio: AudioPlan { start_phase: Micros::from_millis(3), duration: audio, tos: 46 << 2 },
        straggler_wait: Micros::from_secs(1),
    };
    Sender::new(config, Micros::ZERO)
}

pub(crate) fn reflector(open: OpenStamp) -> Reflector {
    Reflector::new(ReflectorConfig {
        anchor: WallAnchor::from_unix_micros(1_795_000_000_500_000),
        timestamps: TimestampFormat::Ntp,
        clock: clock(),
        secret: [9; 32],
        open,
        log_cap: 100_000,
    })
}

pub(crate) fn session(expires: Micros) -> SessionConfig {
    SessionConfig {
        ssid: SSID,
        key: key(),
        expires: EPOCH + expires,
        max_pps: 2_000,
        max_bitrate: Bitrate::from_kbps(8_000),
    }
}

/// What one direction of the link does to packets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) delay: Micros,
    /// Uniform, on top: reorders when above the spacing of packets.
    pub(crate) spread: Micros,
    pub(crate) lost_permille: u64,
    pub(crate) doubled_permille: u64,
    pub(crate) damaged_permille: u64,
    /// The slowest part: its rate, and how long a packet may wait before it.
    pub(crate) bottleneck: Option<(Bitrate, Micros)>,
}

impl Path {
    pub(crate) const CLEAN: Self = Self {
        delay: Micros::from_millis(10),
        spread: Micros::ZERO,
        lost_permille: 0,
        doubled_permille: 0,
        damaged_permille: 0,
        bottleneck: None,
    };
}

/// What became of the packets of one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    pub(crate) damaged: u64,
    pub(crate) doubled: u64,
    pub(crate) bytes: u64,
    /// Copies delivered whole, per transmit key.
    pub(crate) delivered: BTreeMap<TransmitKey, u32>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    at: Micros,
    order: u64,
    up: bool,
    payload: Vec<u8>,
}

/// Sender, link and reflector. The client's clock is the link's; the endpoint's is [`EPOCH`] ahead.
pub(crate) struct World {
    pub(crate) sender: Sender,
    pub(crate) reflector: Reflector,
    pub(crate) now: Micros,
    pub(crate) up: Path,
    pub(crate) down: Path,
    pub(crate) up_truth: Truth,
    pub(crate) down_truth: Truth,
    pub(crate) there: Half,
    /// Where the endpoint sees the client.
    pub(crate) client: SocketAddr,
    /// Media goes through the client's NAT only to where it is now.
    pub(crate) misdirected: u64,
    pub(crate) wire_up: Vec<Vec<u8>>,
    pub(crate) wire_down: Vec<Vec<u8>>,
    /// Whether `wire_up` and `wire_down` are kept.
    pub(crate) recording: bool,
    /// When the bottlenecks up and down are free again, in nanoseconds: rounded microseconds would slow a fast link by percents.
    free_at: [i64; 2],
    random: SplitMix,
    flying: BinaryHeap<Reverse<InFlight>>,
    order: u64,
    next_drain: Micros,
}

impl World {
    pub(crate) fn new(seed: u64, up: Path, down: Path, audio: Micros) -> Self {
        let mut reflector = reflector(OpenStamp::Off);
        reflector.open_session(EPOCH, &session(Micros::from_secs(60))).expect("free");
        Self {
            sender: sender(audio),
            reflector,
            now: Micros::ZERO,
            up,
            down,
            up_truth: Truth::default(),
            down_truth: Truth::default(),
            there: Half::default(),
            client: addr(CLIENT),
            misdirected: 0,
            wire_up: Vec::new(),
            wire_down: Vec::new(),
            recording: true,
            free_at: [0; 2],
            random: SplitMix(seed),
            flying: BinaryHeap::new(),
            order: 0,
            next_drain: Micros::from_millis(500),
        }
    }

    /// Runs until `until`, or until the sender has finished.
    pub(crate) fn run(&mut self, until: Micros) {
        let mut payload = Vec::new();
        let mut idle_steps = 0;
        while self.now <= until && !self.sender.is_finished() {
            while let Some(transmit) = self.sender.poll_transmit(self.now, &mut payload) {
                idle_steps = 0;
                if self.recording {
                    self.wire_up.push(payload.clone());
                }
                self.depart(true, &transmit, &payload);
            }
            while let Some(transmit) = self.reflector.poll_transmit(self.now + EPOCH, &mut payload) {
                idle_steps = 0;
                if self.recording {
                    self.wire_down.push(payload.clone());
                }
                if transmit.to == self.client {
                    self.depart(false, &transmit, &payload);
                } else {
                    self.misdirected += 1;
                }
            }
            if self.sender.is_finished() {
                return;
            }
            let next = [
                self.sender.next_deadline(),
                self.reflector.next_deadline().map(|at| at - EPOCH),
                self.flying.peek().map(|Reverse(it)| it.at),
                Some(self.next_drain),
            ];
            let next = next.into_iter().flatten().min().expect("the drain is always due").max(self.now);
            idle_steps = if next == self.now { idle_steps + 1 } else { 0 };
            assert!(idle_steps < 100, "a machine asks to be woken at {next} over and over");
            self.now = next;
            if self.now >= self.next_drain {
                self.drain(false);
                self.next_drain = self.now + Micros::from_millis(500);
            }
            self.deliver();
        }
    }

    /// The endpoint's log, whole.
    pub(crate) fn drain(&mut self, last: bool) {
        let chunk = self.reflector.drain_log(self.now + EPOCH, SSID, last).expect("the session is open");
        self.there.append(chunk);
    }

    fn depart(&mut self, up: bool, transmit: &Transmit, payload: &[u8]) {
        let base = if up { Micros::ZERO } else { EPOCH };
        for event in
            [DepartureEvent::Handed(self.now + base), DepartureEvent::Left(self.now + base + Micros::new(2))]
        {
            let departure = Departure { key: transmit.key, event };
            if up {
                self.sender.handle_departure(&departure);
            } else {
                self.reflector.handle_departure(&departure);
            }
        }
        let path = if up { self.up } else { self.down };
        let truth = if up { &mut self.up_truth } else { &mut self.down_truth };
        truth.sent += 1;
        truth.bytes += payload.len() as u64;
        let mut copies = 1;
        let through = pass(path, &mut self.free_at[usize::from(up)], self.now, payload.len());
        let lost = self.random.below(1_000) < path.lost_permille;
        let Some(through) = through.filter(|_| !lost) else {
            truth.lost += 1;
            return;
        };
        let damaged = self.random.below(1_000) < path.damaged_permille;
        if self.random.below(1_000) < path.doubled_permille {
            truth.doubled += 1;
            copies = 2;
        }
        if damaged {
            truth.damaged += copies;
        } else {
            *truth.delivered.entry(transmit.key).or_default() += u32::try_from(copies).expect("1 or 2");
        }
        for _ in 0..copies {
            let mut payload = payload.to_vec();
            if damaged {
                payload[40] ^= 0x10;
            }
            let spread =
                i64::try_from(self.random.below(path.spread.get().unsigned_abs() + 1)).expect("small");
            let at = through + path.delay + Micros::new(spread);
            self.order += 1;
            self.flying.push(Reverse(InFlight { at, order: self.order, up, payload }));
        }
    }

    fn deliver(&mut self) {
        while self.flying.peek().is_some_and(|Reverse(it)| it.at <= self.now) {
            let Some(Reverse(it)) = self.flying.pop() else {
                return;
            };
            let base = if it.up { EPOCH } else { Micros::ZERO };
            let arrival = Arrival {
                from: if it.up { self.client } else { addr(ENDPOINT) },
                at: it.at + base,
                kernel: true,
                tos: Some(46 << 2),
                ttl: Some(57),
            };
            if it.up {
                self.reflector.handle_datagram(self.now + base, &arrival, &it.payload);
            } else {
                self.sender.handle_datagram(self.now, &arrival, &it.payload);
            }
        }
    }
}

/// When a datagram has left the bottleneck; `None` when its queue is full. Headers are IPv4's.
fn pass(path: Path, free_at: &mut i64, now: Micros, payload: usize) -> Option<Micros> {
    let Some((rate, queue)) = path.bottleneck else { return Some(now) };
    let begin = (*free_at).max(now.get() * 1_000);
    if Micros::from_nanos(begin) - now > queue {
        return None;
    }
    let bits = i64::try_from(payload + 28).expect("small") * 8;
    *free_at = begin + bits * 1_000_000 / i64::try_from(rate.bps() / 1_000).expect("below 2^63");
    Some(Micros::from_nanos(*free_at))
}
