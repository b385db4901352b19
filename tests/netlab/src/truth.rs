//! What a link really did to each packet: what a measurement is held against.

use std::collections::BTreeMap;
use std::time::Duration;

use greenroom_reports::trace::{Direction, StreamId};
use serde::{Deserialize, Serialize};

use crate::link::DropReason;
use crate::packet::{FlowKey, PacketInfo};

/// What became of every packet, per direction, in the order in which they were offered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Truth {
    /// The scenario's name.
    pub scenario: String,
    /// The seed that gives the same link again.
    pub seed: u64,
    /// From the agent to the endpoint.
    pub up: Vec<PacketTruth>,
    /// From the endpoint to the agent.
    pub down: Vec<PacketTruth>,
    /// How late the link itself was; `None` in virtual time, where it cannot be.
    pub lateness: Option<Lateness>,
}

/// What became of one packet. Times count from the link's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketTruth {
    /// Addresses and ports.
    pub flow: FlowKey,
    /// The first four bytes of a UDP payload, where STAMP has its sequence number.
    pub seq: Option<u32>,
    /// Which stream of a Greenroom session it belongs to; `None` for anything else. In real time by the usual port.
    #[serde(default)]
    pub stream: Option<StreamId>,
    /// Size at the IP layer.
    pub bytes: u32,
    /// DSCP and ECN as offered.
    pub tos: u8,
    /// When the link got it.
    #[serde(with = "nanos", rename = "offered_ns")]
    pub offered: Duration,
    /// What became of it.
    pub fate: LinkFate,
    /// Copies that the receiver's own queue dropped after they came out. Known in virtual time only.
    #[serde(default)]
    pub host_dropped: u16,
}

/// What became of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkFate {
    /// It came out.
    Delivered {
        /// When the first copy did. In real time: when it really did, not when it should have.
        #[serde(with = "nanos", rename = "at_ns")]
        at: Duration,
        /// When the second copy did, where there is one.
        #[serde(with = "maybe_nanos", rename = "again_ns")]
        again: Option<Duration>,
        /// DSCP and ECN as it came out.
        tos: u8,
    },
    /// It did not.
    Dropped(DropReason),
    /// It was still under way when the link ended.
    UnderWay,
}

/// How late a real-time link handed packets over, against its own intention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lateness {
    /// Packets handed over.
    pub packets: u64,
    /// Half of them were at most this late.
    #[serde(with = "nanos", rename = "p50_ns")]
    pub p50: Duration,
    /// All but one in a hundred were at most this late.
    #[serde(with = "nanos", rename = "p99_ns")]
    pub p99: Duration,
    /// The latest.
    #[serde(with = "nanos", rename = "max_ns")]
    pub max: Duration,
}

impl Lateness {
    /// Sums up how late each packet was (nearest-rank percentiles); `None` without a packet.
    pub fn of(mut late: Vec<Duration>) -> Option<Self> {
        late.sort_unstable();
        let max = *late.last()?;
        let rank = |percent: usize| late[(late.len() * percent).div_ceil(100) - 1];
        Some(Self { packets: u64::try_from(late.len()).ok()?, p50: rank(50), p99: rank(99), max })
    }
}

/// How many packets of a choice ended how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TruthCounts {
    /// Packets that the link got.
    pub offered: u64,
    /// Packets of which at least one copy came out.
    pub delivered: u64,
    /// Packets that did not come out, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Second copies that came out.
    pub duplicated: u64,
    /// Packets whose first copy came out after that of one offered later (RFC 4737 type-P-reordered).
    pub reordered: u64,
    /// Packets still under way at the end.
    pub under_way: u64,
}

impl TruthCounts {
    /// Packets that did not come out.
    pub fn lost(&self) -> u64 {
        self.dropped.values().sum()
    }
}

impl Truth {
    /// One direction's packets.
    pub fn packets(&self, direction: Direction) -> &[PacketTruth] {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// Counts the chosen packets of one direction.
    ///
    /// Reordering is judged among the chosen only: choose one stream.
    pub fn counts(&self, direction: Direction, choose: impl Fn(&PacketTruth) -> bool) -> TruthCounts {
        count(self.packets(direction).iter().filter(|packet| choose(packet)))
    }

    /// The delays really given to the chosen packets of one direction (first copies), in the order offered.
    pub fn delays(&self, direction: Direction, choose: impl Fn(&PacketTruth) -> bool) -> Vec<Duration> {
        self.packets(direction)
            .iter()
            .filter(|packet| choose(packet))
            .filter_map(PacketTruth::delay)
            .collect()
    }
}

impl PacketTruth {
    /// A packet just offered, not yet out.
    pub fn offered(at: Duration, packet: &PacketInfo) -> Self {
        let PacketInfo { flow, tos, bytes, seq } = *packet;
        Self { flow, seq, stream: None, bytes, tos, offered: at, fate: LinkFate::UnderWay, host_dropped: 0 }
    }

    /// When the first copy came out.
    pub fn delivered(&self) -> Option<Duration> {
        match self.fate {
            LinkFate::Delivered { at, .. } => Some(at),
            LinkFate::Dropped(_) | LinkFate::UnderWay => None,
        }
    }

    /// The delay really given to the first copy.
    pub fn delay(&self) -> Option<Duration> {
        self.delivered().map(|at| at.saturating_sub(self.offered))
    }

    /// Whether its UDP or TCP port at either end is this one.
    pub fn has_port(&self, port: u16) -> bool {
        self.flow.from_port == port || self.flow.to_port == port
    }
}

fn count<'a>(packets: impl Iterator<Item = &'a PacketTruth>) -> TruthCounts {
    let mut counts = TruthCounts::default();
    let mut arrivals = Vec::new();
    for (index, packet) in packets.enumerate() {
        counts.offered += 1;
        match packet.fate {
            LinkFate::Delivered { at, again, .. } => {
                counts.delivered += 1;
                counts.duplicated += u64::from(again.is_some());
                arrivals.push((at, index));
            }
            LinkFate::Dropped(reason) => *counts.dropped.entry(reason).or_default() += 1,
            LinkFate::UnderWay => counts.under_way += 1,
        }
    }
    arrivals.sort_unstable();
    let mut next_expected = 0;
    for (_, index) in arrivals {
        if index < next_expected {
            counts.reordered += 1;
        } else {
            next_expected = index + 1;
        }
    }
    counts
}

mod nanos {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}

mod maybe_nanos {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's `with` hands over a reference to the field")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::nanos::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Protocol;

    fn packet(offered_ms: u64, fate: LinkFate) -> PacketTruth {
        let any = std::net::Ipv4Addr::LOCALHOST.into();
        let flow = FlowKey { protocol: Protocol::Udp, from: any, from_port: 1, to: any, to_port: 2 };
        let offered = Duration::from_millis(offered_ms);
        PacketTruth { flow, seq: None, stream: None, bytes: 200, tos: 0, offered, fate, host_dropped: 0 }
    }

    fn out(at_ms: u64) -> LinkFate {
        LinkFate::Delivered { at: Duration::from_millis(at_ms), again: None, tos: 0 }
    }

    /// Offered 0 1 2 3 4 5; comes out 0 3 1 5, then 4 twice; 2 is lost. Late against a later one: 1 and 4.
    #[test]
    fn counts_follow_from_the_order_of_arrival() {
        let twice = LinkFate::Delivered {
            at: Duration::from_millis(200),
            again: Some(Duration::from_millis(201)),
            tos: 0,
        };
        let up = vec![
            packet(0, out(50)),
            packet(20, out(110)),
            packet(40, LinkFate::Dropped(DropReason::RandomLoss)),
            packet(60, out(100)),
            packet(80, twice),
            packet(100, out(150)),
            packet(120, LinkFate::UnderWay),
        ];
        let truth = Truth { up, ..Truth::default() };
        let counts = truth.counts(Direction::Up, |_| true);
        assert_eq!((counts.offered, counts.delivered, counts.lost(), counts.under_way), (7, 5, 1, 1));
        assert_eq!((counts.duplicated, counts.reordered), (1, 2));
        let delays: Vec<_> = truth.delays(Direction::Up, |_| true).iter().map(Duration::as_millis).collect();
        assert_eq!(delays, [50, 90, 40, 120, 50]);
    }

    #[test]
    fn json_keeps_everything() {
        let up = vec![packet(0, out(50)), packet(20, LinkFate::Dropped(DropReason::Cut))];
        let truth = Truth { up, lateness: Some(Lateness::default()), ..Truth::default() };
        let text = serde_json::to_string(&truth).expect("serializes");
        assert!(text.contains("\"offered_ns\":20000000") && text.contains("\"dropped\":\"cut\""), "{text}");
        assert_eq!(serde_json::from_str::<Truth>(&text).expect("reads back"), truth);
    }

    #[test]
    fn lateness_is_by_nearest_rank() {
        let late = (1..=200).rev().map(Duration::from_micros).collect();
        let lateness = Lateness::of(late).expect("has packets");
        let micros = [lateness.p50, lateness.p99, lateness.max].map(|time| time.as_micros());
        assert_eq!(micros, [100, 198, 200]);
        assert_eq!(Lateness::of(Vec::new()), None);
    }
}
