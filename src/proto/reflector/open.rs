//! Unauthenticated STAMP from anybody, when it is switched on: for routers and other tools.
//!
//! It answers packet for packet, byte for byte: nothing is logged, and nothing is ever larger than what came.

use std::collections::HashMap;
use std::net::SocketAddr;

use greenroom_reports::units::Micros;

use super::answer::{Answers, answer};
use super::config::{OpenStamp, ReflectorConfig};
use crate::proto::machine::{Arrival, Transmit, TransmitKey};
use crate::proto::stamp::tlv::StampMethod;
use crate::proto::stamp::{
    ErrorEstimate, FollowUp, Mode, ReflectorPacket, SenderPacket, Timestamp, TimestampInfo,
};

/// Senders whose numbers are remembered; the one not heard for longest makes room.
const MAX_SENDERS: usize = 1_024;

/// Numbers counted per sender.
#[derive(Debug, Default)]
pub(super) struct OpenSessions {
    senders: HashMap<(SocketAddr, u16), Sender>,
}

#[derive(Debug)]
struct Sender {
    next: u32,
    heard: Micros,
}

impl OpenSessions {
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
        let dscp = answer(&mut payload[Mode::Open.base_len()..], &answers);
        Some(Transmit { to: arrival.from, key: TransmitKey(0), intended: now, tos: dscp << 2, stamp: false })
    }

    fn next_seq(&mut self, now: Micros, sender: (SocketAddr, u16)) -> u32 {
        if self.senders.len() >= MAX_SENDERS
            && !self.senders.contains_key(&sender)
            && let Some(stalest) = self.senders.iter().min_by_key(|(_, it)| it.heard).map(|(key, _)| *key)
        {
            self.senders.remove(&stalest);
        }
        let it = self.senders.entry(sender).or_insert(Sender { next: 0, heard: now });
        let seq = it.next;
        it.next = it.next.wrapping_add(1);
        it.heard = now;
        seq
    }
}
