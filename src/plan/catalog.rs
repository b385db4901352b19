//! Which hosts, ports and protocols a service for calls needs, as its vendor publishes them: data, each file with its source.
//!
//! The files that come with the program are in the folder `catalog`; a user's own are read by the same rules and come first.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer, de};

use crate::address::Host;

/// The files that come with the program.
const SHIPPED: [&str; 8] = [
    include_str!("../../catalog/chime.toml"),
    include_str!("../../catalog/livekit.toml"),
    include_str!("../../catalog/meet.toml"),
    include_str!("../../catalog/slack.toml"),
    include_str!("../../catalog/teams.toml"),
    include_str!("../../catalog/twilio.toml"),
    include_str!("../../catalog/webex.toml"),
    include_str!("../../catalog/zoom.toml"),
];

/// Of a range of ports with more than so many, only the first is asked: a service opens all of them or none.
const MOST_OF_A_RANGE: usize = 10;

/// What a service needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// As it is asked for: `service:NAME`. Lower case.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// As its vendor writes it.
    pub title: String,
    /// Where the vendor publishes it.
    #[serde(deserialize_with = "web_address")]
    pub source: String,
    /// When that was read, as YYYY-MM-DD.
    #[serde(deserialize_with = "date")]
    pub date: String,
    /// What is to be known of the entry, such as which of it is not from the source.
    pub note: Option<String>,
    /// Whether it comes with the program: its hosts are the public's, and no company's own issuer vouches for them.
    #[serde(skip)]
    pub is_public: bool,
    /// Its parts.
    #[serde(rename = "part", deserialize_with = "some")]
    pub parts: Vec<Part>,
}

/// A part of a service that works or does not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// What it is: `media over UDP`.
    pub name: String,
    /// What happens without it, as the end of a sentence.
    pub without: String,
    /// Whether no call comes about without it.
    #[serde(default)]
    pub essential: bool,
    /// How many of its ways it needs.
    #[serde(default)]
    pub needs: Needs,
    /// The ways.
    #[serde(rename = "way", deserialize_with = "some")]
    pub ways: Vec<Way>,
}

/// How many of its ways a part needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// Each of them.
    #[default]
    All,
    /// One of them.
    Any,
}

/// Hosts, ports and a protocol.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// The host. What begins with `*.` stands for many and cannot be asked, as can none at all.
    #[serde(default)]
    pub host: Place,
    /// The ports: `443`, `8801-8810`.
    pub ports: Ports,
    /// The protocol.
    pub protocol: Protocol,
    /// The ranges of addresses that the vendor publishes.
    #[serde(default)]
    pub ranges: Vec<Range>,
}

/// A host, or what stands for many.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum Place {
    /// One that can be asked.
    Host(Host),
    /// Any of these: `*.example.com`.
    Pattern(String),
    /// The vendor names none.
    #[default]
    Unnamed,
}

/// How a way is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TLS over TCP.
    Tls,
    /// TCP, and something that is not asked for.
    Tcp,
    /// UDP, and who is there answers STUN to everybody (RFC 8489).
    Stun,
    /// UDP, and who is there need not answer strangers.
    Udp,
}

/// Ports from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Ports {
    first: u16,
    last: u16,
}

/// Addresses that share their first bits (RFC 4632).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Range {
    address: IpAddr,
    bits: u8,
}

impl Service {
    /// Reads one file.
    ///
    /// # Errors
    ///
    /// With the place in the text where it is wrong.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Those that come with the program, by name.
    ///
    /// # Errors
    ///
    /// None that a test has not found.
    pub fn shipped() -> Result<Vec<Self>, toml::de::Error> {
        let public = |service| Self { is_public: true, ..service };
        SHIPPED.into_iter().map(|text| Self::parse(text).map(public)).collect()
    }

    /// What is asked: each part and way with one port.
    pub fn asked(&self) -> impl Iterator<Item = (&Part, &Way, u16)> {
        self.parts.iter().flat_map(|part| {
            part.ways.iter().flat_map(move |way| way.ports.asked().map(move |port| (part, way, port)))
        })
    }
}

impl Ports {
    /// Those that are asked: all of a few, the first of many.
    pub fn asked(self) -> impl Iterator<Item = u16> {
        let all = self.first..=self.last;
        let few = if all.len() > MOST_OF_A_RANGE { 1 } else { all.len() };
        all.take(few)
    }
}

impl std::fmt::Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl TryFrom<String> for Ports {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!("{text:?} is neither a port nor a range of ports, such as \"8801-8810\"")),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither a host nor *. and a host; the port stands in ports");
        let host = |text: &str| match Host::with_port(text) {
            Some((host, None)) => Ok(host),
            _ => Err(wrong()),
        };
        match text.strip_prefix("*.") {
            Some(rest) => host(rest).map(|_| Self::Pattern(text.clone())),
            None => host(&text).map(Self::Host),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(host) => host.fmt(f),
            Self::Pattern(pattern) => f.write_str(pattern),
            Self::Unnamed => f.write_str("any host"),
        }
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no range of addresses, such as \"192.0.2.0/24\"");
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?;
        Ok(Self { address, bits })
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Range {
    /// Whether an address is one of these.
    pub fn contains(&self, other: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
            IpAddr::V6(v6) => u128::from(v6),
        };
        let differ = bits(self.address) ^ bits(other);
        let same_family = self.address.is_ipv4() == other.is_ipv4();
        same_family && differ.leading_zeros() >= u32::from(self.bits)
    }
}

/// A part's end: at least one of whatever it is.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let all = Vec::deserialize(from)?;
    if all.is_empty() { Err(de::Error::custom("at least one is needed")) } else { Ok(all) }
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    let fits = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && matches!(Host::with_port(&name), Some((Host::Name(_), None)));
    if fits { Ok(name) } else { Err(de::Error::custom("a name has letters a to z, digits and hyphens")) }
}

fn web_address<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.starts_with("https://") {
        Ok(text)
    } else {
        Err(de::Error::custom("a source begins with https://"))
    }
}

fn date<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match text.parse::<jiff::civil::Date>() {
        Ok(_) => Ok(text),
        Err(_) => Err(de::Error::custom("a date is written \"YYYY-MM-DD\"")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ENTRY: &str = "name = \"one\"\ntitle = \"One\"\nsource = \"https://one.example\"\ndate = \"2026-11-28\"\n\
        [[part]]\nname = \"media\"\nwithout = \"there is no sound\"\n\
        [[part.way]]\nhost = \"one.example\"\nports = \"3478-3481\"\nprotocol = \"udp\"\nranges = [\"192.0.2.0/24\"]\n";

    #[test]
    fn what_comes_with_the_program_is_well_formed() {
        let all = Service::shipped().expect("every file can be read");
        let names: BTreeSet<&str> = all.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names.len(), all.len(), "each name once");
        for service in &all {
            assert!(
                service.date.as_str() >= "2026-11-28",
                "{}: a file says when its source was read",
                service.name
            );
            assert!(service.asked().count() <= 40, "{}: a run stays short", service.name);
            let asked = service.asked().filter(|(_, way, _)| matches!(way.host, Place::Host(_))).count();
            assert!(asked > 0 || service.note.is_some(), "{}: why can nothing be asked?", service.name);
        }
    }

    #[test]
    fn an_entry_is_read_and_what_is_wrong_has_its_place() {
        let service = Service::parse(ENTRY).expect("well formed");
        assert_eq!(service.asked().map(|(_, _, port)| port).collect::<Vec<_>>(), [3478, 3479, 3480, 3481]);
        for (right, wrong) in [
            ("3478-3481", "3481-3478"),
            ("3478-3481", "0"),
            ("\"one.example\"", "\"one.example:443\""),
            ("\"one.example\"", "\"*.\""),
            ("192.0.2.0/24", "192.0.2.0/33"),
            ("2026-11-28", "2026-13-01"),
            ("\"one\"", "\"One Two\""),
            ("udp", "sctp"),
            ("without", "wihtout"),
            ("https://one", "one"),
        ] {
            let text = ENTRY.replacen(right, wrong, 1);
            let error = Service::parse(&text).expect_err(wrong);
            assert!(error.span().is_some(), "{wrong}: {error}");
        }
    }

    #[test]
    fn of_many_ports_the_first_is_asked() {
        let ports = |text: &str| Ports::try_from(text.to_owned()).expect(text).asked().collect::<Vec<_>>();
        assert_eq!(ports("50000-60000"), [50_000]);
        assert_eq!(ports("1-65535"), [1]);
        assert_eq!(ports("8801-8810").len(), 10);
    }

    #[test]
    fn ranges_hold_their_addresses() {
        for (range, inside, outside) in [
            ("52.112.0.0/14", "52.115.255.255", "52.116.0.0"),
            ("2603:1063::/38", "2603:1063:3ff::1", "2603:1063:400::1"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("192.0.2.1/32", "192.0.2.1", "192.0.2.2"),
        ] {
            let range = Range::try_from(range.to_owned()).expect(range);
            assert!(range.contains(inside.parse().expect("an address")), "{inside}");
            assert!(!range.contains(outside.parse().expect("an address")), "{outside}");
        }
    }
}
