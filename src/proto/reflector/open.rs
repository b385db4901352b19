//! Unauthenticated STAMP from anybody, when it is switched on: for routers and other tools.
//!
//! It answers packet for packet, byte for byte: nothing is logged, and nothing is ever larger than what came. Nobody proves
//! an address here, so a forged one could have the replies: each address, and all together, are answered at a bounded rate.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

use greenroom_reports::units::Micros;

use super::answer::{Answers, answer};
use super::config::{OpenStamp, ReflectorConfig};
use crate::proto::machine::{Arrival, Transmit, TransmitKey};
use crate::proto::stamp::tlv::StampMethod;
use crate::proto::stamp::{
    ErrorEstimate, FollowUp, Mode, ReflectorPacket, SenderPacket, Timestamp, TimestampInfo,
};
use crate::proto::window::PacketBucket;

/// Senders whose numbers are remembered, and addresses whose rate is; the one not heard for longest makes room.
const MAX_SENDERS: usize = 1_024;
/// Packets per second that one address is answered: ten calls' worth of audio probes.
const ADDRESS_PPS: u32 = 500;
/// Packets per second that all addresses together are answered.
const TOTAL_PPS: u32 = 10_000;
/// What comes at once may be as much as the rate makes in this time.
const BURST: Micros = Micros::from_millis(100);

/// Numbers counted per sender, and how fast each address is answered.
#[derive(Debug)]
pub(super) struct OpenSessions {
    senders: HashMap<(SocketAddr, u16), Sender>,
    rates: HashMap<IpAddr, Rate>,
    total: PacketBucket,
}

/// How fast one address is answered.
#[derive(Debug)]
struct Rate {
    bucket: PacketBucket,
    heard: Micros,
}

impl Default for OpenSessions {
    fn default() -> Self {
        Self { senders: HashMap::new(), rates: HashMap::new(), total: PacketBucket::new(TOTAL_PPS, BURST) }
    }
}

#[derive(Debug)]
struct Sender {
    next: u32,
    heard: Micros,
}

impl OpenSessions {
    /// Whether a packet from this address is to be answered now: within its own rate, and all within theirs.
    pub(super) fn admits(&mut self, now: Micros, from: IpAddr) -> bool {
        let from = from.to_canonical();
        make_room(&mut self.rates, &from, |rate| rate.heard);
        let rate = self
            .rates
            .entry(from)
            .or_insert_with(|| Rate { bucket: PacketBucket::new(ADDRESS_PPS, BURST), heard: now });
        rate.heard = now;
        // An address over its own rate takes nothing from the others'.
        rate.bucket.take(now) && self.total.take(now)
    }

    /// Rewrites a request into its reply.
    pub(super) fn reply(
        &mut self,
        now: Micros,
        arrival: &Arrival,
        config: &ReflectorConfig,
        payload: &mut [u8],
    ) -> Option<Transmit> {
        let (request, _) = SenderPacket::parse(Mode::Open, payload).ok()?;
        let seq = match config.open {
            OpenStamp::Off => return None,
            OpenStamp::Stateless => request.seq,
            OpenStamp::Stateful => self.next_seq(now, (arrival.from, request.ssid)),
        };
        // Some senders only read the format they speak themselves.
        let format = request.error.format;
        let reply = ReflectorPacket {
            seq,
            timestamp: Timestamp::encode(now, config.anchor, format),
            error: ErrorEstimate::free_running(Micros::from_millis(1), format),
            ssid: request.ssid,
            received: Timestamp::encode(arrival.at, config.anchor, format),
            sender_seq: request.seq,
            sender_timestamp: request.timestamp,
            sender_error: request.error,
            sender_ttl: arrival.ttl.unwrap_or(0),
        };
        reply.overwrite(Mode::Open, payload).ok()?;
        let answers = Answers {
            tos: arrival.tos,
            follow_up: FollowUp::default(),
            info: TimestampInfo {
                sync_in: TimestampInfo::FREE_RUNNING,
                method_in: if arrival.kernel {
                    StampMethod::SoftwareLocal
                } else {
                    StampMethod::ControlPlane
                },
                sync_out: TimestampInfo::FREE_RUNNING,
                method_out: StampMethod::ControlPlane,
            },
            nonce: None,
            authenticated: false,
        };
        let tos = answer(&mut payload[Mode::Open.base_len()..], &answers);
        Some(Transmit { to: arrival.from, key: TransmitKey(0), intended: now, tos, stamp: false })
    }

    fn next_seq(&mut self, now: Micros, sender: (SocketAddr, u16)) -> u32 {
        make_room(&mut self.senders, &sender, |it| it.heard);
        let it = self.senders.entry(sender).or_insert(Sender { next: 0, heard: now });
        let seq = it.next;
        it.next = it.next.wrapping_add(1);
        it.heard = now;
        seq
    }
}

/// Forgets the entry not heard for longest when there is no room for a new one.
fn make_room<K: Copy + Eq + Hash, V>(known: &mut HashMap<K, V>, new: &K, heard: impl Fn(&V) -> Micros) {
    if known.len() >= MAX_SENDERS
        && !known.contains_key(new)
        && let Some(stalest) = known.iter().min_by_key(|(_, it)| heard(it)).map(|(key, _)| *key)
    {
        known.remove(&stalest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// Packets answered of those that come every `gap` for a second from addresses that `from` numbers.
    fn answered(gap: Micros, from: impl Fn(u32) -> u32) -> u32 {
        let mut open = OpenSessions::default();
        let (mut now, mut answered, mut number) = (Micros::ZERO, 0, 0);
        while now < Micros::from_secs(1) {
            let address = Ipv4Addr::from(0xc000_0200 + from(number));
            answered += u32::from(open.admits(now, address.into()));
            assert!(open.rates.len() <= MAX_SENDERS);
            (now, number) = (now + gap, number + 1);
        }
        answered
    }

    #[test]
    fn an_address_is_answered_at_its_rate_and_no_faster() {
        assert_eq!(answered(Micros::from_millis(20), |_| 0), 50, "a call's worth of audio");
        // A tenth of a second's burst, and then as fast as they fall due.
        assert_eq!(answered(Micros::new(100), |_| 0), ADDRESS_PPS + ADDRESS_PPS / 10 - 1);
    }

    #[test]
    fn all_addresses_together_are_answered_at_the_total_rate() {
        let total = answered(Micros::new(25), |number| number % 400);
        assert!(total.abs_diff(TOTAL_PPS + TOTAL_PPS / 10) <= 2, "{total}");
        // Forged addresses without end: each comes once, and the table does not grow.
        let forged = answered(Micros::new(25), |number| number);
        assert!(forged.abs_diff(TOTAL_PPS + TOTAL_PPS / 10) <= 2, "{forged}");
    }

    #[test]
    fn one_address_that_floods_leaves_the_others_theirs() {
        let mut open = OpenSessions::default();
        let (flood, calm) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut heard = 0;
        for step in 0..100_000_u32 {
            let now = Micros::new(i64::from(step) * 10);
            open.admits(now, flood);
            if step % 2_000 == 0 {
                heard += u32::from(open.admits(now, calm));
            }
        }
        assert_eq!(heard, 50);
    }
}
