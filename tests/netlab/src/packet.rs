//! What a link looks at in a packet: never its meaning, only what real equipment goes by.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A transport protocol, as far as links tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// ICMP and ICMPv6.
    Icmp,
    /// Anything else, and fragments whose transport header is elsewhere.
    Other,
}

/// Addresses and ports of a packet, as its sender wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowKey {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Sender's address.
    pub from: IpAddr,
    /// Sender's port; 0 where the protocol has none.
    pub from_port: u16,
    /// Receiver's address.
    pub to: IpAddr,
    /// Receiver's port; 0 where the protocol has none.
    pub to_port: u16,
}

/// What a link looks at in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketInfo {
    /// Addresses and ports.
    pub flow: FlowKey,
    /// DSCP and ECN (the TOS or traffic-class octet).
    pub tos: u8,
    /// Size at the IP layer, header included.
    pub bytes: u32,
    /// The first four bytes of a UDP payload, big endian: where STAMP has its sequence number.
    pub seq: Option<u32>,
}

impl PacketInfo {
    /// Reads an IPv4 or IPv6 packet; `None` when it is neither or its header is cut short.
    ///
    /// Extension headers of IPv6 are not followed: such packets are [`Protocol::Other`].
    pub fn parse(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_v4(packet),
            6 => Self::parse_v6(packet),
            _ => None,
        }
    }

    fn parse_v4(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<20>()?;
        let from: [u8; 4] = header[12..16].try_into().ok()?;
        let to: [u8; 4] = header[16..20].try_into().ok()?;
        let later_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
        let transport = packet.get(usize::from(header[0] & 0x0f) * 4..)?;
        let protocol = if later_fragment { Protocol::Other } else { protocol_of(header[9]) };
        Self::with_transport(packet, protocol, from.into(), to.into(), header[1], transport)
    }

    fn parse_v6(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<40>()?;
        let from: [u8; 16] = header[8..24].try_into().ok()?;
        let to: [u8; 16] = header[24..40].try_into().ok()?;
        let tos = (header[0] << 4) | (header[1] >> 4);
        Self::with_transport(packet, protocol_of(header[6]), from.into(), to.into(), tos, &packet[40..])
    }

    fn with_transport(
        packet: &[u8],
        protocol: Protocol,
        from: IpAddr,
        to: IpAddr,
        tos: u8,
        transport: &[u8],
    ) -> Option<Self> {
        let has_ports = matches!(protocol, Protocol::Udp | Protocol::Tcp);
        let ports = transport.first_chunk::<4>().filter(|_| has_ports);
        let (from_port, to_port) =
            ports.map_or((0, 0), |p| (u16::from_be_bytes([p[0], p[1]]), u16::from_be_bytes([p[2], p[3]])));
        let seq = (protocol == Protocol::Udp)
            .then(|| transport.get(8..)?.first_chunk::<4>().copied().map(u32::from_be_bytes))
            .flatten();
        Some(Self {
            flow: FlowKey { protocol, from, from_port, to, to_port },
            tos,
            bytes: u32::try_from(packet.len()).ok()?,
            seq,
        })
    }
}

/// The payload of a UDP packet; `None` of anything else, and of what is cut short.
///
/// Extension headers of IPv6 are not followed, as in [`PacketInfo::parse`].
pub fn udp_payload(packet: &[u8]) -> Option<&[u8]> {
    let (protocol, header) = match packet.first()? >> 4 {
        4 => (packet.get(9)?, usize::from(packet[0] & 0x0f) * 4),
        6 => (packet.get(6)?, 40),
        _ => return None,
    };
    packet.get(header + 8..).filter(|_| protocol_of(*protocol) == Protocol::Udp)
}

/// Rewrites the TOS or traffic-class octet of an IP packet, with its checksum; leaves anything else alone.
pub fn set_tos(packet: &mut [u8], tos: u8) {
    match packet.first().map(|first| first >> 4) {
        Some(4) if packet.len() >= 20 => {
            let old = packet[1];
            packet[1] = tos;
            let sum = u16::from_be_bytes([packet[10], packet[11]]);
            // RFC 1624, equation 3: HC' = ~(~HC + ~m + m').
            let folded = u32::from(!sum) + u32::from(!u16::from(old)) + u32::from(tos);
            let folded = (folded & 0xffff) + (folded >> 16);
            let folded = (folded & 0xffff) + (folded >> 16);
            let sum = !u16::try_from(folded & 0xffff).expect("masked to 16 bits");
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Some(6) if packet.len() >= 40 => {
            packet[0] = (packet[0] & 0xf0) | (tos >> 4);
            packet[1] = (packet[1] & 0x0f) | (tos << 4);
        }
        _ => {}
    }
}

fn protocol_of(number: u8) -> Protocol {
    match number {
        1 | 58 => Protocol::Icmp,
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => Protocol::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IPv4, UDP 1000 -> 7444, TOS 0xb8, payload 00 00 00 2a; header checksum worked out by a separate summation.
    fn v4() -> Vec<u8> {
        let mut packet = vec![
            0x45, 0xb8, 0, 32, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 203, 0, 1, 10, 203, 0, 2, //
            0x03, 0xe8, 0x1d, 0x14, 0, 12, 0, 0, 0, 0, 0, 42,
        ];
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// RFC 1071, the plain way.
    fn checksum(header: &[u8]) -> u16 {
        let mut sum: u32 =
            header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).expect("folded")
    }

    #[test]
    fn reads_ipv4_udp() {
        let info = PacketInfo::parse(&v4()).expect("a whole packet");
        assert_eq!((info.flow.from_port, info.flow.to_port), (1000, 7444));
        assert_eq!(info.flow.from.to_string(), "10.203.0.1");
        assert_eq!((info.flow.protocol, info.tos, info.bytes, info.seq), (Protocol::Udp, 0xb8, 32, Some(42)));
    }

    #[test]
    fn reads_ipv6_udp() {
        let mut packet = vec![0x6b, 0x80, 0, 0, 0, 12, 17, 64];
        packet.extend([0xfd; 16]);
        packet.extend([0xfe; 16]);
        packet.extend([0x03, 0xe8, 0x1d, 0x14, 0, 12, 0, 0, 0, 0, 0, 42]);
        let info = PacketInfo::parse(&packet).expect("a whole packet");
        assert_eq!((info.flow.to_port, info.tos, info.seq), (7444, 0xb8, Some(42)));
        set_tos(&mut packet, 0x03);
        assert_eq!(PacketInfo::parse(&packet).map(|info| info.tos), Some(0x03));
    }

    #[test]
    fn the_payload_of_udp_begins_after_both_headers() {
        assert_eq!(udp_payload(&v4()), Some(&[0, 0, 0, 42][..]));
        let mut tcp = v4();
        tcp[9] = 6;
        assert_eq!(udp_payload(&tcp), None);
        assert_eq!(udp_payload(&v4()[..24]), None);
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let mut packet = v4();
        packet[7] = 1;
        let info = PacketInfo::parse(&packet).expect("a whole packet");
        assert_eq!((info.flow.protocol, info.flow.to_port, info.seq), (Protocol::Other, 0, None));
    }

    #[test]
    fn rewriting_the_tos_octet_keeps_the_checksum_right() {
        for tos in 0..=255 {
            let mut packet = v4();
            set_tos(&mut packet, tos);
            assert_eq!(PacketInfo::parse(&packet).map(|info| info.tos), Some(tos));
            assert_eq!(checksum(&packet[..20]), 0, "a header sums to zero with its checksum, tos {tos}");
        }
    }

    #[test]
    fn cut_packets_are_refused_or_lack_their_transport() {
        let packet = v4();
        for length in 0..packet.len() {
            let info = PacketInfo::parse(&packet[..length]);
            assert_eq!(info.is_some(), length >= 20, "length {length}");
            assert_eq!(info.and_then(|info| info.seq), None);
        }
    }
}
