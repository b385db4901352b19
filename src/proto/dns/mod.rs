//! DNS messages (RFC 1035, RFC 6891, RFC 9460): questions out, their answers in.
//!
//! The octets are read by `simple-dns`; here stands what an answer means. A name server's answer is somebody else's word: it is
//! bounded in every direction, and aliases that go in a circle end.

mod prober;

pub use prober::{Asking, Names};

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::{OPT, RData, SVCB, SVCParam};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, TYPE};

use crate::address::RecordType;

/// The longest answer that is asked for over UDP: no network breaks it up (RFC 9715 section 3).
pub const UDP_SIZE: u16 = 1_232;

const HEADER: usize = 12;
/// A root name, type and class; no record is shorter.
const SHORTEST_RECORD: usize = 5;
/// Aliases that are followed (resolvers follow eight to seventeen).
const MOST_ALIASES: usize = 16;
/// Records that are kept of one answer.
const MOST_RECORDS: usize = 64;

/// What a name server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What became of the question.
    pub outcome: Outcome,
    /// The records asked for, as people write them, sorted.
    pub records: BTreeSet<String>,
    /// The names that the one asked for is an alias of, in order.
    pub aliases: Vec<String>,
    /// How long the answer may be kept, in seconds: the least of its records.
    pub ttl_s: Option<u32>,
    /// Whether it is longer than the way it came by carries (TC).
    pub truncated: bool,
    /// Whether the name server says that it checked it (AD, RFC 4035 section 3.2.3).
    pub authentic: bool,
    /// Whether the name server asks others for its clients (RA).
    pub recursive: bool,
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// There are records.
    Records,
    /// The name is there, and has no records of this type.
    NoRecords,
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// The aliases go in a circle or on and on.
    AliasLoop,
    /// The name server failed (SERVFAIL).
    ServerFailure,
    /// The name server does not serve this computer (REFUSED).
    Refused,
    /// Another error.
    Other(u16),
}

/// Why octets are no answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAnswer {
    /// It is no DNS message.
    #[error("it is no DNS message")]
    Garbage,
    /// It is a question itself.
    #[error("it is a question")]
    NoResponse,
    /// It answers another question.
    #[error("it answers another question")]
    OtherQuestion,
}

/// Writes a question with the wish that the server ask others for it.
pub fn write_question(id: u16, name: &str, kind: RecordType, payload: &mut Vec<u8>) {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::AUTHENTIC_DATA);
    let question =
        Question::new(Name::new_unchecked(name), QTYPE::TYPE(type_of(kind)), CLASS::IN.into(), false);
    packet.questions.push(question);
    *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: UDP_SIZE, version: 0 });
    // A vector takes everything, and names were checked when they were read.
    let _ = packet.write_to(payload);
}

/// The identifier of a message.
pub fn id_of(payload: &[u8]) -> Option<u16> {
    let id = payload.get(..2).filter(|_| payload.len() >= HEADER)?;
    Some(u16::from_be_bytes(id.try_into().ok()?))
}

/// Whether this is a DNS message at all.
pub fn is_message(payload: &[u8]) -> bool {
    counts_fit(payload) && Packet::parse(payload).is_ok()
}

/// Reads an answer to the question for records of `kind` of `name`.
///
/// # Errors
///
/// When it is none.
pub fn read_answer(payload: &[u8], name: &str, kind: RecordType) -> Result<Answer, NotAnAnswer> {
    if !counts_fit(payload) {
        return Err(NotAnAnswer::Garbage);
    }
    let packet = Packet::parse(payload).map_err(|_| NotAnAnswer::Garbage)?;
    if !packet.has_flags(PacketFlag::RESPONSE) {
        return Err(NotAnAnswer::NoResponse);
    }
    let asked =
        |question: &Question<'_>| same(&question.qname, name) && question.qtype == QTYPE::TYPE(type_of(kind));
    // Servers that cannot read a question may leave it out of their refusal (RFC 1035 section 4.1.1: FORMERR).
    let left_out = packet.questions.is_empty() && packet.rcode() != RCODE::NoError;
    if !left_out && !matches!(packet.questions.as_slice(), [question] if asked(question)) {
        return Err(NotAnAnswer::OtherQuestion);
    }
    Ok(answer(&packet, name, kind))
}

/// Whether there can be as many records as the header says: nothing is set aside for what is not there.
fn counts_fit(payload: &[u8]) -> bool {
    let Some((header, rest)) = payload.split_at_checked(HEADER) else { return false };
    let counts =
        header.chunks_exact(2).skip(2).map(|count| usize::from(count[0]) << 8 | usize::from(count[1]));
    counts.sum::<usize>() <= rest.len() / SHORTEST_RECORD
}

fn answer(packet: &Packet<'_>, name: &str, kind: RecordType) -> Answer {
    let followed = follow(&packet.answers, name);
    let end = followed.as_ref().map_or(name, |aliases| aliases.last().map_or(name, String::as_str));
    let own = packet.answers.iter().filter(|record| same(&record.name, end));
    let found: Vec<(&ResourceRecord<'_>, String)> =
        own.filter_map(|record| Some((record, text_of(&record.rdata, kind)?))).take(MOST_RECORDS).collect();
    let outcome = match packet.rcode() {
        RCODE::NoError if followed.is_none() => Outcome::AliasLoop,
        RCODE::NoError if found.is_empty() => Outcome::NoRecords,
        RCODE::NoError => Outcome::Records,
        RCODE::NameError => Outcome::NoSuchName,
        RCODE::ServerFailure => Outcome::ServerFailure,
        RCODE::Refused => Outcome::Refused,
        other => Outcome::Other(other as u16),
    };
    Answer {
        outcome,
        ttl_s: found.iter().map(|(record, _)| record.ttl).min(),
        records: found.into_iter().map(|(_, text)| text).collect(),
        aliases: followed.unwrap_or_default(),
        truncated: packet.has_flags(PacketFlag::TRUNCATION),
        authentic: packet.has_flags(PacketFlag::AUTHENTIC_DATA),
        recursive: packet.has_flags(PacketFlag::RECURSION_AVAILABLE),
    }
}

/// The names that `name` is an alias of, in order. `None` when they go in a circle or on and on.
fn follow(answers: &[ResourceRecord<'_>], name: &str) -> Option<Vec<String>> {
    let mut aliases: Vec<String> = Vec::new();
    loop {
        let now = aliases.last().map_or(name, String::as_str);
        let next = answers.iter().find_map(|record| match &record.rdata {
            RData::CNAME(target) if same(&record.name, now) => Some(plain(&target.0)),
            _ => None,
        });
        let Some(next) = next else { return Some(aliases) };
        let seen = next.eq_ignore_ascii_case(name) || aliases.contains(&next);
        if seen || aliases.len() >= MOST_ALIASES {
            return None;
        }
        aliases.push(next);
    }
}

const fn type_of(kind: RecordType) -> TYPE {
    match kind {
        RecordType::A => TYPE::A,
        RecordType::Aaaa => TYPE::AAAA,
        RecordType::Https => TYPE::HTTPS,
        RecordType::Svcb => TYPE::SVCB,
    }
}

/// Names are the same whatever the case of their letters (RFC 4343).
fn same(name: &Name<'_>, other: &str) -> bool {
    name.to_string().eq_ignore_ascii_case(other)
}

fn plain(name: &Name<'_>) -> String {
    name.to_string().to_ascii_lowercase()
}

/// A record of this type as people write it.
fn text_of(data: &RData<'_>, kind: RecordType) -> Option<String> {
    match (kind, data) {
        (RecordType::A, RData::A(a)) => Some(Ipv4Addr::from(a.address).to_string()),
        (RecordType::Aaaa, RData::AAAA(aaaa)) => Some(Ipv6Addr::from(aaaa.address).to_string()),
        (RecordType::Https, RData::HTTPS(https)) => Some(binding(&https.0)),
        (RecordType::Svcb, RData::SVCB(svcb)) => Some(binding(svcb)),
        _ => None,
    }
}

/// A service binding as people write it (RFC 9460 section 2.1): `1 . alpn=h2,h3`.
fn binding(svcb: &SVCB<'_>) -> String {
    let target = plain(&svcb.target);
    let mut text = format!("{} {}", svcb.priority, if target.is_empty() { "." } else { &target });
    let list = |items: Vec<String>| items.join(",");
    for param in svcb.iter_params() {
        text += &match param {
            SVCParam::Alpn(names) => {
                format!(" alpn={}", list(names.iter().map(ToString::to_string).collect()))
            }
            SVCParam::NoDefaultAlpn => " no-default-alpn".to_owned(),
            SVCParam::Port(port) => format!(" port={port}"),
            SVCParam::Ipv4Hint(hints) => {
                format!(
                    " ipv4hint={}",
                    list(hints.iter().map(|ip| Ipv4Addr::from(*ip).to_string()).collect())
                )
            }
            SVCParam::Ipv6Hint(hints) => {
                format!(
                    " ipv6hint={}",
                    list(hints.iter().map(|ip| Ipv6Addr::from(*ip).to_string()).collect())
                )
            }
            SVCParam::Ech(_) => " ech".to_owned(),
            SVCParam::Mandatory(keys) => {
                format!(" mandatory={}", list(keys.iter().map(|key| format!("key{key}")).collect()))
            }
            SVCParam::InvalidKey => String::new(),
            SVCParam::Unknown(key, _) => format!(" key{key}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use simple_dns::rdata::{A, CNAME, HTTPS};

    use super::*;

    const NAME: &str = "probe.example";

    fn reply(kind: RecordType, records: &[(&'static str, RData<'static>)]) -> Packet<'static> {
        let mut packet = Packet::new_reply(7);
        let question =
            Question::new(Name::new_unchecked(NAME), QTYPE::TYPE(type_of(kind)), CLASS::IN.into(), false);
        packet.questions.push(question);
        for (ttl, (name, data)) in (60..).zip(records) {
            let name = Name::new_unchecked(name);
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, ttl, data.clone()));
        }
        packet
    }

    fn read(packet: &Packet<'_>, kind: RecordType) -> Result<Answer, NotAnAnswer> {
        read_answer(&packet.build_bytes_vec_compressed().unwrap(), NAME, kind)
    }

    fn address(last: u32) -> RData<'static> {
        RData::A(A { address: 0xc000_0200 + last })
    }

    fn alias(of: &'static str) -> RData<'static> {
        RData::CNAME(CNAME(Name::new_unchecked(of)))
    }

    /// RFC 1035 section 4.1: header, one question, and the OPT record of RFC 6891 section 6.1.2.
    #[test]
    fn a_question_is_written_octet_by_octet() {
        let mut payload = Vec::new();
        write_question(0xbeef, "a.example", RecordType::Https, &mut payload);
        let expected = [
            &[0xbe, 0xef, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1][..],
            b"\x01a\x07example\x00",
            &[0, 65, 0, 1, 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(payload, expected.concat());
        assert_eq!(id_of(&payload), Some(0xbeef));
        assert_eq!(read_answer(&payload, "a.example", RecordType::Https), Err(NotAnAnswer::NoResponse));
    }

    #[test]
    fn records_are_found_behind_aliases() {
        let packet = reply(
            RecordType::A,
            &[
                ("Probe.example", alias("edge.example")),
                ("EDGE.example", alias("last.example")),
                ("last.example", address(9)),
                ("last.example", address(8)),
                ("other.example", address(7)),
            ],
        );
        let answer = read(&packet, RecordType::A).unwrap();
        assert_eq!(answer.outcome, Outcome::Records);
        assert_eq!(answer.records, BTreeSet::from(["192.0.2.8".to_owned(), "192.0.2.9".to_owned()]));
        assert_eq!(answer.aliases, ["edge.example", "last.example"]);
        assert_eq!(answer.ttl_s, Some(62));
    }

    #[test]
    fn aliases_in_a_circle_end() {
        let circle = [("probe.example", alias("edge.example")), ("edge.example", alias("probe.example"))];
        let itself = [("probe.example", alias("probe.example"))];
        for records in [&circle[..], &itself] {
            let answer = read(&reply(RecordType::A, records), RecordType::A).unwrap();
            assert_eq!((answer.outcome, answer.records.len()), (Outcome::AliasLoop, 0));
        }
    }

    #[test]
    fn how_a_name_server_refuses_is_told() {
        for (rcode, outcome) in [
            (RCODE::NoError, Outcome::NoRecords),
            (RCODE::NameError, Outcome::NoSuchName),
            (RCODE::ServerFailure, Outcome::ServerFailure),
            (RCODE::Refused, Outcome::Refused),
            (RCODE::NotImplemented, Outcome::Other(4)),
        ] {
            let mut packet = reply(RecordType::A, &[]);
            *packet.rcode_mut() = rcode;
            assert_eq!(read(&packet, RecordType::A).unwrap().outcome, outcome);
        }
        let mut packet = reply(RecordType::A, &[]);
        packet.questions.clear();
        assert_eq!(read(&packet, RecordType::A), Err(NotAnAnswer::OtherQuestion));
        *packet.rcode_mut() = RCODE::FormatError;
        assert_eq!(read(&packet, RecordType::A).unwrap().outcome, Outcome::Other(1));
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let packet = reply(RecordType::A, &[("probe.example", address(1))]);
        assert_eq!(read(&packet, RecordType::Aaaa), Err(NotAnAnswer::OtherQuestion));
        let octets = packet.build_bytes_vec().unwrap();
        assert_eq!(read_answer(&octets, "other.example", RecordType::A), Err(NotAnAnswer::OtherQuestion));
    }

    #[test]
    fn a_service_binding_reads_as_people_write_it() {
        let mut svcb = SVCB::new(1, Name::new_unchecked(""));
        svcb.set_alpn(&["h2".try_into().unwrap(), "h3".try_into().unwrap()]);
        svcb.set_ipv4hint(&[0xc000_0201]);
        let packet = reply(RecordType::Https, &[("probe.example", RData::HTTPS(HTTPS(svcb)))]);
        let answer = read(&packet, RecordType::Https).unwrap();
        let texts: Vec<_> = answer.records.into_iter().collect();
        assert_eq!(texts, ["1 . alpn=h2,h3 ipv4hint=192.0.2.1"]);
    }

    #[test]
    fn a_header_that_promises_more_than_there_is_costs_nothing() {
        let mut octets = vec![0; 12];
        octets[2] = 0x80;
        octets[6..8].copy_from_slice(&[0xff, 0xff]);
        octets.extend([0; 100]);
        assert_eq!(read_answer(&octets, NAME, RecordType::A), Err(NotAnAnswer::Garbage));
    }
}
