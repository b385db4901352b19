//! The error queue: departure stamps and ICMP errors.

use std::net::SocketAddr;

use greenroom_reports::units::Micros;
use socket2::Socket;

use super::address::{decode, offender};
use super::receive::{BATCH, Entry, software_stamp};
use super::send::Sender;
use crate::net::clock::Clock;
use crate::net::stamps::StampClock;
use crate::net::udp::{SocketEvent, Unreachable, UnreachableKind};
use crate::proto::machine::{Departure, DepartureEvent};

/// `ee_info` of a stamp as the datagram left for the device.
const LEFT: u32 = 0;
/// `ee_info` of a stamp as the datagram entered the local queue.
const QUEUED: u32 = 1;

/// Reads the error queue until it is empty, at most a few batches at once.
pub(super) fn read(
    socket: &Socket,
    ipv4: bool,
    clock: &mut StampClock<Clock>,
    sender: &mut Sender,
    report: &mut dyn FnMut(SocketEvent),
) {
    let mut found = std::mem::take(&mut sender.found);
    for _ in 0..4 {
        found.clear();
        let received = sender.errors.receive(
            socket,
            &mut [],
            libc::MSG_ERRQUEUE,
            |_| {},
            |entry| found.extend(Found::of(&entry, ipv4)),
        );
        // An error here is one that waited on the socket; having been returned it is gone, and its report is queued.
        let count = received.unwrap_or(0);
        if count > 0 {
            let now = clock.refresh();
            for found in &found {
                if let Some(event) = found.event(now, clock, sender) {
                    report(event);
                }
            }
        }
        if count < BATCH {
            break;
        }
    }
    sender.found = found;
}

/// An entry of the error queue, before its stamp is converted.
pub(super) enum Found {
    Stamp { number: u32, kind: u32, stamp: i64 },
    Error { to: SocketAddr, from: Option<std::net::IpAddr>, kind: UnreachableKind },
}

impl Found {
    fn of(entry: &Entry<'_>, ipv4: bool) -> Option<Self> {
        let wanted = if ipv4 {
            (libc::IPPROTO_IP, libc::IP_RECVERR)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        };
        let mut stamp = None;
        let mut error = None;
        for message in entry.messages() {
            if (message.level, message.kind) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) {
                stamp = message.value().and_then(software_stamp);
            } else if (message.level, message.kind) == wanted {
                error = message.value::<libc::sock_extended_err>().map(|error| (error, offender(&message)));
            }
        }
        let (error, from) = error?;
        if error.ee_origin == libc::SO_EE_ORIGIN_TIMESTAMPING {
            return Some(Self::Stamp { number: error.ee_data, kind: error.ee_info, stamp: stamp? });
        }
        let from = from.filter(|_| error.ee_origin != libc::SO_EE_ORIGIN_LOCAL);
        Some(Self::Error { to: decode(entry.name)?, from, kind: kind_of(&error) })
    }

    fn event(&self, now: Micros, clock: &StampClock<Clock>, sender: &mut Sender) -> Option<SocketEvent> {
        match *self {
            Self::Stamp { number, kind, stamp } => {
                let key = sender.key_of(number)?;
                let at = clock.monotonic(stamp)?;
                let event = match kind {
                    LEFT => DepartureEvent::Left(at),
                    QUEUED => DepartureEvent::Queued(at),
                    _ => return None,
                };
                sender.stamped += 1;
                Some(SocketEvent::Departure(Departure { key, event }))
            }
            Self::Error { to, from, kind } => {
                Some(SocketEvent::Unreachable(Unreachable { at: now, to, from, kind }))
            }
        }
    }
}

/// What an error report says, by the type and code of its ICMP message.
fn kind_of(error: &libc::sock_extended_err) -> UnreachableKind {
    match (error.ee_origin, error.ee_type, error.ee_code) {
        (libc::SO_EE_ORIGIN_ICMP, 3, 0) | (libc::SO_EE_ORIGIN_ICMP6, 1, 0) => UnreachableKind::Network,
        (libc::SO_EE_ORIGIN_ICMP, 3, 1) | (libc::SO_EE_ORIGIN_ICMP6, 1, 3) => UnreachableKind::Host,
        (libc::SO_EE_ORIGIN_ICMP, 3, 3) | (libc::SO_EE_ORIGIN_ICMP6, 1, 4) => UnreachableKind::Port,
        (libc::SO_EE_ORIGIN_ICMP, 3, 4) | (libc::SO_EE_ORIGIN_ICMP6, 2, _) => {
            UnreachableKind::TooBig(error.ee_info)
        }
        (libc::SO_EE_ORIGIN_ICMP, 3, 9 | 10 | 13) | (libc::SO_EE_ORIGIN_ICMP6, 1, 1) => {
            UnreachableKind::Prohibited
        }
        (libc::SO_EE_ORIGIN_ICMP, 11, _) | (libc::SO_EE_ORIGIN_ICMP6, 3, _) => UnreachableKind::HopLimit,
        (libc::SO_EE_ORIGIN_LOCAL, ..) if error.ee_errno == libc::EMSGSIZE.unsigned_abs() => {
            UnreachableKind::TooBig(error.ee_info)
        }
        _ => UnreachableKind::Other(error.ee_errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(origin: u8, kind: u8, code: u8, info: u32) -> libc::sock_extended_err {
        libc::sock_extended_err {
            ee_errno: libc::EMSGSIZE.unsigned_abs(),
            ee_origin: origin,
            ee_type: kind,
            ee_code: code,
            ee_pad: 0,
            ee_info: info,
            ee_data: 0,
        }
    }

    #[test]
    fn icmp_types_and_codes_have_their_meaning() {
        // RFC 792 and RFC 1812 for IPv4 (origin 2), RFC 4443 for IPv6 (origin 3), local (origin 1).
        let table = [
            (2, 3, 0, UnreachableKind::Network),
            (2, 3, 1, UnreachableKind::Host),
            (2, 3, 3, UnreachableKind::Port),
            (2, 3, 4, UnreachableKind::TooBig(1_400)),
            (2, 3, 13, UnreachableKind::Prohibited),
            (2, 11, 0, UnreachableKind::HopLimit),
            (3, 1, 0, UnreachableKind::Network),
            (3, 1, 1, UnreachableKind::Prohibited),
            (3, 1, 3, UnreachableKind::Host),
            (3, 1, 4, UnreachableKind::Port),
            (3, 2, 0, UnreachableKind::TooBig(1_400)),
            (3, 3, 0, UnreachableKind::HopLimit),
            (1, 0, 0, UnreachableKind::TooBig(1_400)),
            (2, 12, 0, UnreachableKind::Other(90)),
        ];
        for (origin, kind, code, meaning) in table {
            assert_eq!(kind_of(&error(origin, kind, code, 1_400)), meaning, "{origin} {kind} {code}");
        }
    }
}
