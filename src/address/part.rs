//! What a URL asks for beyond host and port: a path, what to expect of a certificate, or a question to name servers.

use std::fmt;

use super::target::{OtherKind, OtherUrl, TargetUrlError};
use super::url::{self, UrlError};
use super::{Fingerprint, Host};

/// What is asked for, of kinds that have such a part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// Nothing.
    None,
    /// Something that shows a certificate.
    Service {
        /// Its path, `/` where none was written. Without a query, which may hold a secret.
        path: String,
        /// What its certificate is expected to be.
        expected: Option<Expected>,
    },
    /// A web service of this computer without encryption.
    Plain {
        /// Its path, `/` where none was written.
        path: String,
    },
    /// A second host of the same kind, to compare with.
    Beside {
        /// It.
        host: super::Host,
        /// Its port.
        port: u16,
    },
    /// A relay, over one transport alone where one is named (RFC 7065).
    Relay(Option<Transport>),
    /// A question to name servers; the host is the name asked for.
    Question(Question),
}

/// What a relay is reached over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A connection; of `turns:` one with TLS.
    Tcp,
}

impl Transport {
    /// Its name in URLs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// What a certificate is expected to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expected {
    /// Vouched for by somebody whose name holds this.
    Issuer(String),
    /// This one.
    Certificate(Fingerprint),
}

/// A question to name servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// Whom to ask. `None`: whom this computer asks.
    pub server: Option<Host>,
    /// For what, each once. Never empty.
    pub types: Vec<RecordType>,
}

/// What a name server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordType {
    /// IPv4 addresses (RFC 1035).
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// How to reach a web service (RFC 9460).
    Https,
    /// How to reach another service (RFC 9460).
    Svcb,
}

impl RecordType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::A, Self::Aaaa, Self::Https, Self::Svcb];
    /// Those asked for where nothing else is said.
    pub const USUAL: [Self; 3] = [Self::A, Self::Aaaa, Self::Https];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Https => "HTTPS",
            Self::Svcb => "SVCB",
        }
    }
}

const SCHEME: &str = "dns:";
const QUERY: &str = "type=";

/// Whether the query of this text names the transport of a relay and holds nothing else: no secret.
pub(super) fn is_transport(text: &str) -> bool {
    let Some((before, query)) = text.split_once('?') else { return false };
    (begins_with(before, "turn:") || begins_with(before, "turns:")) && transport_of(query).is_some()
}

fn transport_of(query: &str) -> Option<Transport> {
    let (name, value) = query.split_once('=')?;
    let known = [Transport::Udp, Transport::Tcp];
    let found = known.into_iter().find(|transport| value.eq_ignore_ascii_case(transport.name()));
    found.filter(|_| name.eq_ignore_ascii_case("transport"))
}

/// Takes the transport off what stands behind the scheme. `turns:` over UDP would be DTLS, which is not spoken here.
pub(super) fn transport(kind: OtherKind, rest: &str) -> Result<(&str, Option<Transport>), TargetUrlError> {
    let Some((rest, query)) = rest.split_once('?').filter(|_| kind.is_relay()) else {
        return Ok((rest, None));
    };
    match transport_of(query) {
        Some(Transport::Udp) if kind == OtherKind::Turns => Err(TargetUrlError::Behind { form: kind.form() }),
        found => Ok((rest, found)),
    }
}

/// Whether the query of this text is one of a question to name servers and holds nothing but types: no secret.
pub(super) fn is_question(text: &str) -> bool {
    let Some((before, query)) = text.split_once('?') else { return false };
    begins_with(before, SCHEME) && (types(query).is_some() || unasked(query).is_some())
}

/// Reads what stands behind `dns:` (RFC 4501): `NAME[?type=…]` or `//NAMESERVER[:PORT]/NAME[?type=…]`.
pub(super) fn question(rest: &str) -> Result<OtherUrl, TargetUrlError> {
    let form = OtherKind::Dns.form();
    let (rest, types) = match rest.split_once('?') {
        Some((rest, query)) => match (types(query), unasked(query)) {
            (Some(types), _) => (rest, types),
            (None, Some(name)) => return Err(TargetUrlError::RecordType { name }),
            (None, None) => return Err(UrlError::Secret.into()),
        },
        None => (rest, RecordType::USUAL.to_vec()),
    };
    let (server, name) = match rest.strip_prefix("//") {
        // A name server and no name: `dns://192.0.2.53`.
        Some(authority) => match authority.split_once('/') {
            Some(("", name)) => (None, name),
            Some((server, name)) => (Some(url::split_port(server)?), name),
            None => return Err(TargetUrlError::NoName { what: String::new(), form }),
        },
        None => (None, rest),
    };
    if name.contains(['/', '#']) {
        return Err(TargetUrlError::Behind { form });
    }
    let host = match url::split_port(name) {
        Ok((host @ Host::Name(_), None)) => host,
        _ => return Err(TargetUrlError::NoName { what: name.to_owned(), form }),
    };
    let usual = OtherKind::Dns.default_port().unwrap_or_default();
    let port = server.as_ref().and_then(|(_, port)| *port).unwrap_or(usual);
    let server = server.map(|(host, _)| host);
    let part = Part::Question(Question { server, types });
    Ok(OtherUrl { kind: OtherKind::Dns, host, port, part })
}

/// `type=A,AAAA`: each once, in the order given.
fn types(query: &str) -> Option<Vec<RecordType>> {
    if !begins_with(query, QUERY) {
        return None;
    }
    let mut types = Vec::new();
    for name in query.get(QUERY.len()..)?.split(',') {
        let known = RecordType::ALL.into_iter().find(|known| name.eq_ignore_ascii_case(known.name()))?;
        if !types.contains(&known) {
            types.push(known);
        }
    }
    Some(types)
}

/// The port of a web service without encryption.
pub(super) const HTTP_PORT: u16 = 80;

/// Takes `https://` or `http://` off what stands behind `whip:`, and says whether it is the latter.
pub(super) fn web(rest: &str) -> Result<(&str, bool), TargetUrlError> {
    match rest.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Ok((rest, false)),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Ok((rest, true)),
        Some(_) => Err(TargetUrlError::Plain { form: OtherKind::Whip.form() }),
        None => Ok((rest, false)),
    }
}

/// A web service without encryption: of this computer alone, and without a certificate of which something could be expected.
pub(super) fn plain(host: &Host, path: &str, is_expected: bool) -> Result<Part, TargetUrlError> {
    let form = OtherKind::Whip.form();
    let is_here = match host {
        Host::Address(address) => address.is_loopback(),
        Host::Name(name) => name == "localhost",
    };
    match (is_here, is_expected) {
        (false, _) => Err(TargetUrlError::Plain { form }),
        (true, true) => Err(TargetUrlError::Behind { form }),
        (true, false) => Ok(Part::Plain { path: self::path(path)? }),
    }
}

/// Other record types that people ask for (IANA, "Resource Record (RR) TYPEs"). Only these are ever repeated in a message: whatever else
/// stands there could be a secret.
const UNASKED: [&str; 23] = [
    "ANY", "CAA", "CDNSKEY", "CDS", "CNAME", "DNAME", "DNSKEY", "DS", "HINFO", "LOC", "MX", "NAPTR", "NS",
    "NSEC", "NSEC3", "PTR", "RRSIG", "SOA", "SPF", "SRV", "SSHFP", "TLSA", "TXT",
];

/// The first record type of a list of record types that is not asked for. `None`: not all of them are record types.
fn unasked(query: &str) -> Option<&'static str> {
    if !begins_with(query, QUERY) {
        return None;
    }
    let known = |name: &str| RecordType::ALL.iter().any(|known| name.eq_ignore_ascii_case(known.name()));
    let mut first = None;
    for name in query.get(QUERY.len()..)?.split(',').filter(|name| !known(name)) {
        let name = UNASKED.into_iter().find(|other| name.eq_ignore_ascii_case(other))?;
        first = first.or(Some(name));
    }
    first
}

/// Reads what stands behind `#`.
pub(super) fn expected(fragment: &str) -> Result<Expected, TargetUrlError> {
    let issuer = fragment.strip_prefix("issuer=").and_then(decoded);
    let issuer = issuer.filter(|name| !name.trim().is_empty()).map(Expected::Issuer);
    let pin = fragment.strip_prefix("sha256=").and_then(|pin| pin.parse().ok());
    issuer.or(pin.map(Expected::Certificate)).ok_or(TargetUrlError::Expected)
}

/// A path as it goes over the wire.
pub(super) fn path(path: &str) -> Result<String, TargetUrlError> {
    let visible = path.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && decoded(path).is_some() { Ok(path.to_owned()) } else { Err(TargetUrlError::Path) }
}

/// Takes `%20` and the like out.
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        if *first == b'%' {
            let digits = std::str::from_utf8(more.get(..2)?).ok()?;
            octets.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
            rest = more.get(2..)?;
        } else {
            octets.push(*first);
        }
    }
    // A path may hold any octets; only what is no text at all is told by its replacement.
    Some(String::from_utf8_lossy(&octets).into_owned())
}

fn begins_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start))
}

impl Question {
    /// Writes it as it stands in a report.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, name: &Host, port: u16) -> fmt::Result {
        f.write_str(SCHEME)?;
        if let Some(server) = &self.server {
            write!(f, "//{server}")?;
            if OtherKind::Dns.default_port() != Some(port) {
                write!(f, ":{port}")?;
            }
            f.write_str("/")?;
        }
        write!(f, "{name}")?;
        if self.types != RecordType::USUAL {
            let names: Vec<&str> = self.types.iter().map(|kind| kind.name()).collect();
            write!(f, "?{QUERY}{}", names.join(","))?;
        }
        Ok(())
    }
}
