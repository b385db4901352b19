//! A run's packets as a capture file (pcapng), for tools that read those: written from what was recorded of each packet, not captured.
//!
//! A capture on the wire takes privileges, and would hold whatever else is in the packets. What is recorded of each probe is what a
//! capture would tell of it: when it left or came, by the kernel's clock where that stamped it, how long it was, its number, and of
//! arrivals the TTL and the TOS octet. Headers are made from that. Nothing of the content is in the file but the number of the packet,
//! so that no secret can be. The other end's address is the one in the report (cut, where the report is redacted); this computer's is not
//! recorded, and an address for documentation stands in its place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use jiff::Timestamp;

use crate::trace::{Direction, Half, Media, StampSource, StreamLog, Trace, TxOutcome};
use crate::units::Micros;

/// Packets in one file at most; later ones are left out, and the file says so.
pub const MOST_PACKETS: usize = 200_000;

/// Stands for this computer (RFC 5737, RFC 3849).
const HERE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const HERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Stands for this computer's port.
const PORT: u16 = 50_000;
/// Stands for a TTL that was not recorded: that of packets sent, and of arrivals where the system does not tell.
const TTL: u8 = 64;

/// Headers and the number: what is kept of a packet.
const SHOWN: u32 = 40 + 8 + 4;
const UDP_HEADER: u16 = 8;
/// LINKTYPE_RAW: an IPv4 or IPv6 header comes first.
const LINK_TYPE: u16 = 101;

/// A packet as this end had it.
struct Packet<'a> {
    at: Micros,
    is_sent: bool,
    stream: &'a StreamLog,
    seq: u32,
    bytes: u16,
    tos: u8,
    ttl: u8,
}

/// Every packet that this end sent or received, in the order of time, as pcapng. The same trace gives the same bytes.
///
/// `started` is the run's zero, `other` the address that answered.
pub fn packets(trace: &Trace, started: Timestamp, other: SocketAddr) -> Vec<u8> {
    let mut all: Vec<Packet<'_>> = trace.here.streams.iter().flat_map(of_stream).collect();
    all.sort_by_key(|packet| packet.at);
    let left_out = all.len().saturating_sub(MOST_PACKETS);
    all.truncate(MOST_PACKETS);
    let mut out = Vec::new();
    section(&mut out, &about(&trace.here, left_out));
    interface(&mut out);
    for packet in &all {
        write(&mut out, packet, started, other);
    }
    out
}

fn about(here: &Half, left_out: usize) -> String {
    let stamps = |kernel: bool| if kernel { "the kernel" } else { "the program" };
    let kernel = |source| source != StampSource::User;
    let mut text = format!(
        "Made by greenroom from what it recorded of its own probes; not captured. Departures were stamped by {}, arrivals by {}. \
         IP and UDP headers are made up but for length, address of the other end, and TTL and TOS of arrivals where they are told; \
         {HERE_V4} or {HERE_V6}, port {PORT}, stands for this computer. Of the content only the packet's number is kept; checksums of \
         UDP are left out. Packets that were lost on the way here are not in it.",
        stamps(kernel(here.clock.tx)),
        stamps(kernel(here.clock.rx))
    );
    if left_out > 0 {
        text += &format!(" The last {left_out} packets are left out.");
    }
    text
}

fn of_stream(stream: &StreamLog) -> impl Iterator<Item = Packet<'_>> {
    let sent = stream.tx.iter().filter(|tx| tx.outcome == TxOutcome::Sent).filter_map(move |tx| {
        let at = tx.kernel.or(tx.user)?;
        Some(Packet { at, is_sent: true, stream, seq: tx.seq, bytes: tx.bytes, tos: 0, ttl: TTL })
    });
    let received = stream.rx.iter().map(move |rx| Packet {
        at: rx.at,
        is_sent: false,
        stream,
        seq: rx.seq,
        bytes: rx.bytes,
        tos: rx.tos.unwrap_or(0),
        ttl: rx.ttl.unwrap_or(TTL),
    });
    sent.chain(received)
}

/// Section Header Block (draft-ietf-opsawg-pcapng section 4.1).
fn section(out: &mut Vec<u8>, comment: &str) {
    let mut body = Vec::new();
    body.extend(0x1a2b_3c4d_u32.to_le_bytes());
    body.extend([1, 0, 0, 0]);
    // The section's length is not told.
    body.extend((-1_i64).to_le_bytes());
    option(&mut body, 1, comment.as_bytes());
    option(&mut body, 4, concat!("greenroom ", env!("CARGO_PKG_VERSION")).as_bytes());
    option(&mut body, 0, b"");
    block(out, 0x0a0d_0d0a, &body);
}

/// Interface Description Block (section 4.2): times are in microseconds.
fn interface(out: &mut Vec<u8>) {
    let mut body = Vec::new();
    body.extend(LINK_TYPE.to_le_bytes());
    body.extend([0, 0]);
    body.extend(SHOWN.to_le_bytes());
    option(&mut body, 2, b"greenroom");
    option(&mut body, 9, &[6]);
    option(&mut body, 0, b"");
    block(out, 1, &body);
}

/// Enhanced Packet Block (section 4.3).
fn write(out: &mut Vec<u8>, packet: &Packet<'_>, started: Timestamp, other: SocketAddr) {
    let content = content(packet, other);
    let at = started.as_microsecond().saturating_add(packet.at.get());
    let [a, b, c, d, e, f, g, h] = u64::try_from(at).unwrap_or(0).to_le_bytes();
    let length = u32::try_from(content.len()).unwrap_or(0);
    let mut body = Vec::with_capacity(96);
    body.extend(0_u32.to_le_bytes());
    body.extend([e, f, g, h, a, b, c, d]);
    body.extend(length.to_le_bytes());
    body.extend(u32::from(packet.bytes).max(length).to_le_bytes());
    body.extend(&content);
    pad(&mut body);
    let media = match packet.stream.spec.media {
        Media::Audio => "audio",
        Media::Video => "video",
        Media::Screen => "screen",
    };
    let way = match packet.stream.spec.direction {
        None if packet.is_sent => "there and back, up",
        None => "there and back, down",
        Some(Direction::Up) => "up",
        Some(Direction::Down) => "down",
    };
    option(&mut body, 1, format!("{media} {way}, packet {}", packet.seq).as_bytes());
    option(&mut body, 0, b"");
    block(out, 6, &body);
}

/// IP header, UDP header and the packet's number.
fn content(packet: &Packet<'_>, other: SocketAddr) -> Vec<u8> {
    let mut content = match other.ip() {
        IpAddr::V4(other) => ipv4(packet, other),
        IpAddr::V6(other) => ipv6(packet, other),
    };
    let header = u16::try_from(content.len()).unwrap_or(0);
    let ports = if packet.is_sent { [PORT, other.port()] } else { [other.port(), PORT] };
    ports.iter().for_each(|port| content.extend(port.to_be_bytes()));
    content.extend(packet.bytes.saturating_sub(header).max(UDP_HEADER).to_be_bytes());
    content.extend([0, 0]);
    content.extend(packet.seq.to_be_bytes());
    content
}

/// RFC 791 section 3.1.
fn ipv4(packet: &Packet<'_>, other: Ipv4Addr) -> Vec<u8> {
    let (from, to) = if packet.is_sent { (HERE_V4, other) } else { (other, HERE_V4) };
    let mut header = vec![0x45, packet.tos];
    header.extend(packet.bytes.to_be_bytes());
    // Not to be fragmented, as probes are.
    header.extend([0, 0, 0x40, 0, packet.ttl, 17, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// RFC 8200 section 3.
fn ipv6(packet: &Packet<'_>, other: Ipv6Addr) -> Vec<u8> {
    let (from, to) = if packet.is_sent { (HERE_V6, other) } else { (other, HERE_V6) };
    let mut header = vec![0x60 | packet.tos >> 4, packet.tos << 4, 0, 0];
    header.extend(packet.bytes.saturating_sub(40).max(UDP_HEADER).to_be_bytes());
    header.extend([17, packet.ttl]);
    header.extend(from.octets());
    header.extend(to.octets());
    header
}

/// The internet checksum (RFC 1071) of a header whose own field is 0.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    out.extend(code.to_le_bytes());
    out.extend(u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
    out.extend(value);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    while !out.len().is_multiple_of(4) {
        out.push(0);
    }
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = u32::try_from(body.len() + 12).unwrap_or(0).to_le_bytes();
    out.extend(kind.to_le_bytes());
    out.extend(length);
    out.extend(body);
    out.extend(length);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::read;
    use crate::trace::encoding;

    /// Reads what such a file holds: of each packet the time, the original length and what is kept.
    fn read_back(file: &[u8]) -> Vec<(u64, u32, Vec<u8>)> {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let size = |at: usize| usize::try_from(word(at)).unwrap();
        let (mut at, mut found) = (0, Vec::new());
        while at < file.len() {
            let length = size(at + 4);
            assert_eq!((length % 4, word(at + length - 4)), (0, word(at + 4)), "both ends tell the length");
            if word(at) == 6 {
                let time = u64::from(word(at + 12)) << 32 | u64::from(word(at + 16));
                let kept = size(at + 20);
                found.push((time, word(at + 24), file[at + 28..at + 28 + kept].to_vec()));
            }
            at += length;
        }
        found
    }

    fn trace() -> (Timestamp, Trace) {
        let report = read(include_str!("../../tests/data/loss_15.json")).unwrap();
        (report.started, encoding::decode(&report.trace.unwrap()).unwrap())
    }

    #[test]
    fn every_packet_that_left_or_came_is_in_it_in_order() {
        let (started, trace) = trace();
        let file = packets(&trace, started, "203.0.113.7:7444".parse().unwrap());
        let found = read_back(&file);
        let sent = |log: &StreamLog| {
            log.tx
                .iter()
                .filter(|tx| tx.outcome == TxOutcome::Sent && (tx.kernel.or(tx.user)).is_some())
                .count()
        };
        let expected: usize = trace.here.streams.iter().map(|log| sent(log) + log.rx.len()).sum();
        assert_eq!(found.len(), expected);
        assert!(found.is_sorted_by_key(|(time, ..)| *time));
        let (time, length, kept) = &found[0];
        let first = trace.here.streams[0].tx[0];
        let at = started.as_microsecond() + first.kernel.or(first.user).unwrap().get();
        assert_eq!((*time, *length), (u64::try_from(at).unwrap(), u32::from(first.bytes)));
        assert_eq!(checksum(&kept[..20]), 0, "the header's checksum holds");
        assert_eq!(kept[12..20], [192, 0, 2, 1, 203, 0, 113, 7]);
        assert_eq!(u16::from_be_bytes([kept[22], kept[23]]), 7_444);
        assert_eq!(u16::from_be_bytes([kept[24], kept[25]]), first.bytes - 20);
        assert!(
            found.iter().all(|(_, length, kept)| kept.len() == 32 && *length >= 32),
            "headers and number alone"
        );
    }

    #[test]
    fn of_ipv6_too_and_the_file_says_what_it_is() {
        let (started, trace) = trace();
        let file = packets(&trace, started, "[2001:db8:1::7]:7444".parse().unwrap());
        let found = read_back(&file);
        assert!(found.iter().all(|(_, _, kept)| kept.len() == 52 && kept[0] >> 4 == 6));
        assert!(file.windows(12).any(|text| text == b"not captured"));
    }
}
