//! What name servers, time servers and STUN servers answer, as octets.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, SystemTime};

use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

/// The magic cookie of STUN (RFC 8489 section 5).
const COOKIE: u32 = 0x2112_a442;
/// From 1900, where NTP counts from, to 1970.
const NTP_ERA: i128 = 2_208_988_800;

/// The addresses of names.
pub(super) type Zone = BTreeMap<String, (Ipv4Addr, Option<Ipv6Addr>)>;

/// A name server's answer to a question. Names that are not in the zone do not exist, or have `invented` for their address.
pub(super) fn of_name_server(question: &[u8], zone: &Zone, invented: Option<Ipv4Addr>) -> Option<Vec<u8>> {
    let asked = Packet::parse(question).ok()?;
    let first = asked.questions.first()?;
    let QTYPE::TYPE(kind) = first.qtype else { return None };
    let mut packet = Packet::new_reply(asked.id());
    packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
    packet.questions.push(first.clone().into_owned());
    let name = first.qname.to_string();
    let known = zone.get(&name.to_ascii_lowercase()).copied();
    let Some((v4, v6)) = known.or(invented.map(|address| (address, None))) else {
        *packet.rcode_mut() = RCODE::NameError;
        return packet.build_bytes_vec().ok();
    };
    let data = match kind {
        TYPE::A => Some(RData::A(A { address: u32::from(v4) })),
        TYPE::AAAA => v6.map(|v6| RData::AAAA(AAAA { address: u128::from(v6) })),
        _ => None,
    };
    let owner = Name::new(&name).ok()?.into_owned();
    packet.answers.extend(data.map(|data| ResourceRecord::new(owner, CLASS::IN, 300, data)));
    packet.build_bytes_vec().ok()
}

/// A time server's answer (RFC 5905), whose clock is ahead of this computer's by so many seconds.
#[expect(clippy::disallowed_methods, reason = "a time server tells the time")]
pub(super) fn of_time_server(question: &[u8], ahead_s: f64) -> Option<Vec<u8>> {
    let origin = question.get(40..48)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let ahead = i128::try_from(Duration::from_secs_f64(ahead_s.abs()).as_nanos()).ok()?;
    let nanos = i128::try_from(now.as_nanos()).ok()? + if ahead_s < 0.0 { -ahead } else { ahead };
    let seconds = u32::try_from(nanos / 1_000_000_000 + NTP_ERA).ok()?;
    let fraction = u32::try_from((nanos % 1_000_000_000) * (1 << 32) / 1_000_000_000).ok()?;
    // Server, version 4, no leap; stratum 1, polled every 64 s, precise to a microsecond.
    let mut octets = vec![0x24, 1, 6, 0xec];
    octets.extend([0, 0, 0, 0, 0, 0, 0, 16]);
    octets.extend(b"GPS\0");
    octets.extend([0; 8]);
    octets.extend(origin);
    for _ in 0..2 {
        octets.extend(seconds.to_be_bytes());
        octets.extend(fraction.to_be_bytes());
    }
    Some(octets)
}

/// A STUN server's answer to a Binding request: where it came from (RFC 8489 section 14.2).
pub(super) fn of_stun_server(question: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let SocketAddr::V4(from) = from else { return None };
    let (kind, id) = (question.get(..2)?, question.get(4..20)?);
    if kind != [0, 1] || id[..4] != COOKIE.to_be_bytes() {
        return None;
    }
    let mut octets = vec![1, 1, 0, 12];
    octets.extend(id);
    octets.extend([0, 0x20, 0, 8]);
    octets.extend(mapped(from));
    Some(octets)
}

/// The same of a server that also answers elsewhere, and says where (RFC 5780 section 7.4).
pub(super) fn of_nat_server(question: &[u8], from: SocketAddr, other: SocketAddrV4) -> Option<Vec<u8>> {
    let mut octets = of_stun_server(question, from)?;
    octets[3] += 12;
    octets.extend([0x80, 0x2c, 0, 8, 0, 1]);
    octets.extend(other.port().to_be_bytes());
    octets.extend(other.ip().octets());
    Some(octets)
}

fn mapped(from: SocketAddrV4) -> [u8; 8] {
    let cookie = COOKIE.to_be_bytes();
    let port = from.port() ^ u16::from_be_bytes([cookie[0], cookie[1]]);
    let address = (u32::from(*from.ip()) ^ COOKIE).to_be_bytes();
    let [high, low] = port.to_be_bytes();
    let [a, b, c, d] = address;
    [0, 1, high, low, a, b, c, d]
}

/// A web page of a thousand octets.
pub(super) fn page(status: u16) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} As asked\r\ncontent-type: text/plain\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), &[b'x'; 1_000]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stun_answer_is_the_one_of_rfc_5769() {
        // RFC 5769 section 2.2: 192.0.2.1 port 32853 as XOR-MAPPED-ADDRESS.
        let from = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 32_853);
        assert_eq!(mapped(from), [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        assert_eq!(of_stun_server(&[0; 20], from.into()), None);
        assert_eq!(of_stun_server(&[0, 1], from.into()), None);
    }

    #[test]
    fn names_are_known_unknown_or_made_up() {
        let zone = Zone::from([("a.example".to_owned(), (Ipv4Addr::LOCALHOST, None))]);
        let ask = |name: &str, invented| {
            let mut query = Packet::new_query(7);
            let name = Name::new(name).unwrap().into_owned();
            let class = simple_dns::QCLASS::CLASS(CLASS::IN);
            query.questions.push(simple_dns::Question::new(name, QTYPE::TYPE(TYPE::A), class, false));
            let octets = of_name_server(&query.build_bytes_vec().unwrap(), &zone, invented).unwrap();
            let answer = Packet::parse(&octets).unwrap();
            (answer.rcode(), answer.answers.len())
        };
        assert_eq!(ask("A.example", None), (RCODE::NoError, 1));
        assert_eq!(ask("b.example", None), (RCODE::NameError, 0));
        assert_eq!(ask("b.example", Some(Ipv4Addr::LOCALHOST)), (RCODE::NoError, 1));
    }
}
