//! What can be measured, as people write it: a Greenroom endpoint, or `SCHEME:HOST[:PORT]` of something else.

use std::fmt;
use std::str::FromStr;

use super::part::{self, Part};
use super::url::{self, EndpointUrl, Host, SCHEME, UrlError};

/// Something that can be measured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TargetUrl {
    /// A Greenroom endpoint.
    Greenroom(EndpointUrl),
    /// Anything else.
    Other(OtherUrl),
}

/// Something that is no Greenroom endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OtherUrl {
    /// What it is.
    pub kind: OtherKind,
    /// Where it is.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// What is asked for there, of kinds that have such a part.
    pub part: Part,
}

/// What something is that is no Greenroom endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OtherKind {
    /// A STUN server over UDP.
    Stun,
    /// A STAMP or TWAMP Light reflector.
    Stamp,
    /// A name, as name servers know it.
    Dns,
    /// Anything that speaks TLS over TCP.
    Tls,
    /// A web service.
    Https,
    /// Anything that takes TCP connections.
    Tcp,
    /// A time server.
    Ntp,
    /// A WebSocket over TLS.
    Wss,
    /// Anything that speaks QUIC.
    Quic,
    /// A host that answers ICMP echo.
    Icmp,
    /// The hops on the way to a host.
    Path,
    /// The largest packet that gets to a host in one piece.
    Mtu,
    /// What becomes of the marks of DSCP on the way to a host and back.
    Dscp,
    /// The same of those of ECN.
    Ecn,
    /// What the NAT before a STUN server does.
    Nat,
    /// A WebRTC server that media are published to by WHIP.
    Whip,
    /// A TURN server over UDP and TCP.
    Turn,
    /// A TURN server over TLS.
    Turns,
    /// A service for calls, by the name of its entry in a catalog.
    Service,
}

impl OtherKind {
    /// All that can be measured.
    pub const ALL: [Self; 19] = [
        Self::Stun,
        Self::Stamp,
        Self::Dns,
        Self::Tls,
        Self::Https,
        Self::Tcp,
        Self::Ntp,
        Self::Wss,
        Self::Quic,
        Self::Icmp,
        Self::Path,
        Self::Mtu,
        Self::Dscp,
        Self::Ecn,
        Self::Nat,
        Self::Whip,
        Self::Turn,
        Self::Turns,
        Self::Service,
    ];

    /// Its name in URLs and reports.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Stun => "stun",
            Self::Stamp => "stamp",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Ntp => "ntp",
            Self::Wss => "wss",
            Self::Quic => "quic",
            Self::Icmp => "icmp",
            Self::Path => "path",
            Self::Mtu => "mtu",
            Self::Dscp => "dscp",
            Self::Ecn => "ecn",
            Self::Nat => "nat",
            Self::Whip => "whip",
            Self::Turn => "turn",
            Self::Turns => "turns",
            Self::Service => "service",
        }
    }

    /// The port where none is written. `None`: one must be written.
    pub const fn default_port(self) -> Option<u16> {
        match self {
            Self::Stun | Self::Turn | Self::Nat => Some(3478),
            Self::Turns => Some(5349),
            Self::Stamp => Some(862),
            Self::Dns => Some(53),
            Self::Tls | Self::Https | Self::Wss | Self::Quic | Self::Whip => Some(443),
            Self::Tcp => None,
            Self::Ntp => Some(123),
            // Echo knows no ports, and a service has those of its entry.
            Self::Icmp | Self::Path | Self::Mtu | Self::Service => Some(0),
            // Without a port what a host has is looked for.
            Self::Dscp | Self::Ecn => Some(0),
        }
    }

    /// How it is written, for who wrote something else.
    pub(super) const fn form(self) -> &'static str {
        match self {
            Self::Stun => "stun:HOST[:PORT]",
            Self::Stamp => "stamp:HOST[:PORT]",
            Self::Dns => "dns:NAME or dns://NAMESERVER[:PORT]/NAME[?type=A,AAAA,HTTPS]",
            Self::Tls => "tls:HOST[:PORT][#issuer=NAME]",
            Self::Https => "https://HOST[:PORT][/PATH][#issuer=NAME]",
            Self::Tcp => "tcp:HOST:PORT",
            Self::Ntp => "ntp:HOST[:PORT]",
            Self::Wss => "wss://HOST[:PORT][/PATH][#issuer=NAME]",
            Self::Quic => "quic:HOST[:PORT][#issuer=NAME]",
            Self::Icmp => "icmp:HOST",
            Self::Path => "path:HOST",
            Self::Mtu => "mtu:HOST or mtu:HOST:PORT of a STAMP reflector",
            Self::Dscp => "dscp:HOST or dscp:HOST:PORT of a STAMP reflector",
            Self::Ecn => "ecn:HOST or ecn:HOST:PORT of a STAMP reflector",
            Self::Nat => "nat:HOST[:PORT] of a STUN server, or of two: nat:HOST[:PORT],HOST[:PORT]",
            Self::Whip => "whip:https://HOST[:PORT]/PATH[#issuer=NAME]",
            Self::Turn => "turn:HOST[:PORT][?transport=udp|tcp]",
            Self::Turns => "turns:HOST[:PORT][?transport=tcp]",
            Self::Service => "service:NAME",
        }
    }

    /// Whether it shows a certificate, of which something may be expected.
    pub(super) const fn has_certificate(self) -> bool {
        matches!(self, Self::Tls | Self::Https | Self::Wss | Self::Quic | Self::Whip)
    }

    /// Whether it relays (RFC 7065).
    pub const fn is_relay(self) -> bool {
        matches!(self, Self::Turn | Self::Turns)
    }

    /// Whether its host is one to reach: no name that is only looked up, no entry of a catalog.
    pub const fn is_of_a_host(self) -> bool {
        !matches!(self, Self::Dns | Self::Service)
    }

    /// Whether its URL has a path.
    pub(super) const fn has_path(self) -> bool {
        matches!(self, Self::Https | Self::Wss | Self::Whip)
    }
}

/// Why a text names nothing that can be measured. All are usage errors (exit code 64). None repeats what could be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetUrlError {
    /// A part is wrong, or it is a wrong address of an endpoint.
    #[error(transparent)]
    Part(#[from] UrlError),
    /// Nothing of this scheme can be measured.
    #[error("{scheme}: cannot be measured; write {}", forms())]
    Scheme {
        /// As given.
        scheme: String,
    },
    /// There is a path or a part behind `#`, which it does not have.
    #[error("write {form}, and nothing behind it")]
    Behind {
        /// How it is written.
        form: &'static str,
    },
    /// No port where one must be.
    #[error("which port? Write {form}")]
    NoPort {
        /// How it is written.
        form: &'static str,
    },
    /// The part behind `#` names neither an issuer nor a certificate.
    #[error("behind # only issuer=NAME may stand, or sha256= and 64 hexadecimal digits")]
    Expected,
    /// A path with characters that it cannot have.
    #[error("a path has no spaces and no control characters; write them as % and two hexadecimal digits")]
    Path,
    /// A name server is asked for a name, and an address is none.
    #[error("{what:?} is no name to ask for; write {form}")]
    NoName {
        /// As given.
        what: String,
        /// How it is written.
        form: &'static str,
    },
    /// Media over an unencrypted connection to another computer.
    #[error(
        "media and tokens only go over https: write {form}. Without encryption only this computer itself can be measured"
    )]
    Plain {
        /// How it is written.
        form: &'static str,
    },
    /// A record type that is not asked for.
    #[error(
        "{name} records are not asked for: a call does not need them. Write ?type= and of A, AAAA, HTTPS and SVCB those wanted"
    )]
    RecordType {
        /// Its name: one of a list, never what was given.
        name: &'static str,
    },
    /// A name with letters beyond ASCII.
    #[error("{host:?} has letters beyond a to z: write the name as DNS has it, which begins with xn--")]
    Idn {
        /// As given.
        host: String,
    },
}

/// How everything is written that can be measured.
fn forms() -> String {
    let others: Vec<&str> = OtherKind::ALL.into_iter().map(OtherKind::form).collect();
    format!("HOST[:PORT] or greenroom://HOST for a Greenroom endpoint, or {}", others.join(", "))
}

impl FromStr for TargetUrl {
    type Err = TargetUrlError;

    fn from_str(text: &str) -> Result<Self, TargetUrlError> {
        // Looked for first and everywhere, so that no other message repeats a secret. Of a name's types a query may speak, and
        // of nothing else.
        let query = text.split_once('?').filter(|_| !part::is_question(text) && !part::is_transport(text));
        if text.contains('@') || query.is_some() {
            return Err(UrlError::Secret.into());
        }
        match split_scheme(text) {
            Some((scheme, rest)) => other(scheme, rest),
            None => Ok(Self::Greenroom(text.parse()?)),
        }
    }
}

impl TargetUrl {
    /// The endpoint, if it is one.
    pub const fn endpoint(&self) -> Option<&EndpointUrl> {
        match self {
            Self::Greenroom(endpoint) => Some(endpoint),
            Self::Other(_) => None,
        }
    }
}

/// Splits `SCHEME:REST` off, where the scheme is not that of an endpoint.
///
/// `probe.example:7443` has a port, not a scheme: what stands behind the colon are digits. A scheme begins with a letter and has no
/// dots here; an IPv6 address has more than one colon.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let known = OtherKind::ALL.iter().any(|kind| scheme.eq_ignore_ascii_case(kind.scheme()));
    let foreign = rest.starts_with("//") && !scheme.eq_ignore_ascii_case(SCHEME);
    let is_port = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    let named = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !rest.starts_with("//")
        && !is_port
        && !rest.is_empty()
        && text.parse::<std::net::Ipv6Addr>().is_err();
    ((known && !is_port) || foreign || named).then_some((scheme, rest))
}

fn other(scheme: &str, rest: &str) -> Result<TargetUrl, TargetUrlError> {
    let known = OtherKind::ALL.into_iter().find(|kind| scheme.eq_ignore_ascii_case(kind.scheme()));
    let kind = known.ok_or_else(|| TargetUrlError::Scheme { scheme: scheme.to_owned() })?;
    if !rest.is_ascii() {
        let host = rest.trim_start_matches('/').split(['/', '#']).next().unwrap_or(rest);
        return Err(TargetUrlError::Idn { host: host.to_owned() });
    }
    if kind == OtherKind::Dns {
        return part::question(rest).map(TargetUrl::Other);
    }
    let (rest, is_plain) = match kind {
        OtherKind::Whip => part::web(rest)?,
        _ => (rest, false),
    };
    let (rest, expected) = match rest.split_once('#') {
        Some((rest, fragment)) if kind.has_certificate() => (rest, Some(part::expected(fragment)?)),
        Some(_) => return Err(TargetUrlError::Behind { form: kind.form() }),
        None => (rest, None),
    };
    let (rest, transport) = part::transport(kind, rest)?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    if !kind.has_path() && path != "/" {
        return Err(TargetUrlError::Behind { form: kind.form() });
    }
    let (authority, second) = match authority.split_once(',') {
        Some((first, second)) if kind == OtherKind::Nat => (first, Some(url::split_port(second)?)),
        _ => (authority, None),
    };
    let (host, port) = url::split_port(authority)?;
    if matches!(kind, OtherKind::Icmp | OtherKind::Path | OtherKind::Service) && port.is_some() {
        return Err(TargetUrlError::Behind { form: kind.form() });
    }
    let usual = if is_plain { Some(part::HTTP_PORT) } else { kind.default_port() };
    let port = port.or(usual).ok_or(TargetUrlError::NoPort { form: kind.form() })?;
    let part = match kind.has_certificate() {
        true if is_plain => part::plain(&host, path, expected.is_some())?,
        true => Part::Service { path: part::path(path)?, expected },
        false if kind.is_relay() => Part::Relay(transport),
        false => match (second, kind.default_port()) {
            (Some((host, port)), Some(usual)) => Part::Beside { host, port: port.unwrap_or(usual) },
            _ => Part::None,
        },
    };
    Ok(TargetUrl::Other(OtherUrl { kind, host, port, part }))
}

impl From<EndpointUrl> for TargetUrl {
    fn from(endpoint: EndpointUrl) -> Self {
        Self::Greenroom(endpoint)
    }
}

/// As it stands in a report, without the default port.
impl fmt::Display for OtherUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Part::Question(question) = &self.part {
            return question.write(f, &self.host, self.port);
        }
        let (behind, usual) = match (self.kind, &self.part) {
            (_, Part::Plain { .. }) => ("http://", Some(part::HTTP_PORT)),
            (OtherKind::Whip, _) => ("https://", self.kind.default_port()),
            (kind, _) => (if kind.has_path() { "//" } else { "" }, kind.default_port()),
        };
        write!(f, "{}:{behind}{}", self.kind.scheme(), self.host)?;
        if usual != Some(self.port) {
            write!(f, ":{}", self.port)?;
        }
        match &self.part {
            Part::Service { path, .. } | Part::Plain { path } if path != "/" => f.write_str(path),
            Part::Relay(Some(transport)) => write!(f, "?transport={}", transport.name()),
            Part::Beside { host, port } if usual == Some(*port) => write!(f, ",{host}"),
            Part::Beside { host, port } => write!(f, ",{host}:{port}"),
            _ => Ok(()),
        }
    }
}

/// As it stands in a report.
impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greenroom(endpoint) => endpoint.fmt(f),
            Self::Other(other) => other.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::part::Expected;
    use super::*;
    use crate::address::Fingerprint;

    fn parse(text: &str) -> Result<TargetUrl, TargetUrlError> {
        text.parse()
    }

    #[test]
    fn others_are_told_from_endpoints() {
        for (text, shown) in [
            ("stun:probe.example", "stun:probe.example"),
            ("STUN:Probe.Example.:3478", "stun:probe.example"),
            ("stun://probe.example:19302/", "stun:probe.example:19302"),
            ("stun:192.0.2.1:5", "stun:192.0.2.1:5"),
            ("stamp:192.0.2.1:862", "stamp:192.0.2.1"),
            ("stun:[2001:db8::1]:5", "stun:[2001:db8::1]:5"),
            ("stun:2001:db8::1", "stun:[2001:db8::1]"),
            ("tcp:probe.example:22", "tcp:probe.example:22"),
            ("tcp://[::1]:22", "tcp:[::1]:22"),
            ("tls:probe.example", "tls:probe.example"),
            ("tls://probe.example:8443/", "tls:probe.example:8443"),
            ("https://Probe.Example", "https://probe.example"),
            ("https:probe.example:8443/a/b%20c", "https://probe.example:8443/a/b%20c"),
            ("wss://[::1]/chat", "wss://[::1]/chat"),
            ("ntp:192.0.2.1", "ntp:192.0.2.1"),
            ("quic:probe.example:7443", "quic:probe.example:7443"),
            ("whip:https://Probe.Example/live/a", "whip:https://probe.example/live/a"),
            ("WHIP://probe.example:8443/a#issuer=b", "whip:https://probe.example:8443/a"),
            ("whip:probe.example/a", "whip:https://probe.example/a"),
            ("whip:http://127.0.0.1:8080/a", "whip:http://127.0.0.1:8080/a"),
            ("whip:http://localhost", "whip:http://localhost"),
            ("service:Zoom", "service:zoom"),
            ("path:[::1]", "path:[::1]"),
            ("mtu:Probe.Example", "mtu:probe.example"),
            ("mtu:192.0.2.1:862", "mtu:192.0.2.1:862"),
            ("dscp:Probe.Example", "dscp:probe.example"),
            ("ecn:[::1]:7444", "ecn:[::1]:7444"),
            ("nat:Probe.Example:3478", "nat:probe.example"),
            ("nat:192.0.2.1:5,[2001:db8::1]:3478", "nat:192.0.2.1:5,[2001:db8::1]"),
            ("nat:a.example,B.example:9", "nat:a.example,b.example:9"),
            ("dns:probe.example", "dns:probe.example"),
            ("dns:_sip._udp.Probe.Example.", "dns:_sip._udp.probe.example"),
            ("dns:///probe.example", "dns:probe.example"),
            ("dns://192.0.2.53/probe.example", "dns://192.0.2.53/probe.example"),
            ("dns://[2001:db8::53]:5353/probe.example", "dns://[2001:db8::53]:5353/probe.example"),
            ("dns:probe.example?type=aaaa", "dns:probe.example?type=AAAA"),
            ("turn:probe.example", "turn:probe.example"),
            ("turn:probe.example:3478?transport=UDP", "turn:probe.example?transport=udp"),
            ("turns:[::1]:443?transport=tcp", "turns:[::1]:443?transport=tcp"),
            ("dns:probe.example?TYPE=A,HTTPS,A", "dns:probe.example?type=A,HTTPS"),
        ] {
            let url = parse(text).unwrap();
            assert!(matches!(url, TargetUrl::Other(_)), "{text}");
            assert_eq!(url.to_string(), shown, "{text}");
            if !text.contains('#') {
                assert_eq!(parse(shown).unwrap(), url, "what is shown can be read again");
            }
        }
        for text in [
            "probe.example",
            "tls:7443",
            "dns:53",
            "stun:7443",
            "stun",
            "[::1]:7443",
            "::1",
            "fe80::1",
            "greenroom://a:1",
        ] {
            assert!(matches!(parse(text), Ok(TargetUrl::Greenroom(_))), "{text}");
        }
    }

    #[test]
    fn a_secret_is_refused_and_never_repeated() {
        for text in [
            "stun:hunter2@probe.example",
            "stun:probe.example?key=hunter2",
            "gopher:hunter2@x",
            "https://probe.example/?key=hunter2",
            "https://user:hunter2@probe.example/",
            "wss://probe.example/#issuer=hunter2@",
            "dns:hunter2@192.0.2.1",
            "dns:probe.example?key=hunter2",
            "dns:probe.example?type=A&key=hunter2",
            "dns:probe.example?type=A?hunter2",
            "dns:probe.example?type=hunter2",
            "turn:hunter2@probe.example",
            "turn:probe.example?transport=hunter2",
            "turn:probe.example?transport=udp&key=hunter2",
            "stun:probe.example?transport=udp&hunter2",
            "dns:probe.example?type=MX,hunter2",
            "stun:probe.example?type=MX",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, UrlError::Secret.into(), "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_record_type_that_is_not_asked_for_is_named() {
        for (text, name) in [("MX", "MX"), ("a,txt", "TXT"), ("srv,mx", "SRV")] {
            let error = parse(&format!("dns:probe.example?type={text}")).unwrap_err();
            assert_eq!(error, TargetUrlError::RecordType { name });
            assert!(error.to_string().contains("A, AAAA, HTTPS and SVCB"), "{error}");
        }
    }

    #[test]
    fn of_a_certificate_something_may_be_expected() {
        let part = |text: &str| match parse(text) {
            Ok(TargetUrl::Other(OtherUrl { part: Part::Service { path, expected }, .. })) => (path, expected),
            other => panic!("{text}: {other:?}"),
        };
        let issuer = Some(Expected::Issuer("Some CA".to_owned()));
        assert_eq!(part("tls:probe.example#issuer=Some%20CA"), ("/".to_owned(), issuer.clone()));
        assert_eq!(part("https://probe.example/a#issuer=Some CA"), ("/a".to_owned(), issuer));
        let pin = Fingerprint::of(b"abc");
        let pinned = part(&format!("quic:probe.example#sha256={pin}"));
        assert_eq!(pinned, ("/".to_owned(), Some(Expected::Certificate(pin))));
        for text in ["tls:a#", "tls:a#issuer=", "tls:a#issuer=%zz", "tls:a#sha256=00", "tls:a#other=x"] {
            assert_eq!(parse(text), Err(TargetUrlError::Expected), "{text}");
        }
        for text in ["https://a/b c", "https://a/%zz", "https://a/\u{7f}"] {
            assert_eq!(parse(text), Err(TargetUrlError::Path), "{text}");
        }
    }

    #[test]
    fn media_only_leave_this_computer_encrypted() {
        for text in ["whip:http://probe.example/a", "whip:http://192.0.2.1/a", "whip:HTTP://[2001:db8::1]/a"]
        {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, TargetUrlError::Plain { .. }), "{text}: {error}");
        }
        assert!(matches!(parse("whip:ftp://probe.example/a"), Err(TargetUrlError::Plain { .. })));
        for text in ["whip:http://[::1]/a", "whip:http://127.1.2.3/a"] {
            assert!(parse(text).is_ok(), "{text}");
        }
        assert!(matches!(parse("whip:http://[::1]/a#issuer=x"), Err(TargetUrlError::Behind { .. })));
        for text in ["whip:https://user:hunter2@a/b", "whip:https://a/b?token=hunter2"] {
            assert_eq!(parse(text), Err(UrlError::Secret.into()));
        }
    }

    #[test]
    fn what_cannot_be_measured_says_what_can() {
        for text in ["gopher:probe.example", "gopher://probe.example"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, TargetUrlError::Scheme { scheme: "gopher".to_owned() });
            assert!(error.to_string().contains("stun:HOST[:PORT]"), "{error}");
        }
        assert!(matches!(parse("stun:probe.example/path"), Err(TargetUrlError::Behind { .. })));
        assert!(matches!(parse("stun:probe.example#x"), Err(TargetUrlError::Behind { .. })));
        assert!(matches!(parse("stun:bücher.example"), Err(TargetUrlError::Idn { .. })));
        let idn = parse("https://bücher.example/path").unwrap_err();
        assert_eq!(idn, TargetUrlError::Idn { host: "bücher.example".to_owned() });
        for text in ["tcp:probe.example", "tcp://[::1]"] {
            assert!(matches!(parse(text), Err(TargetUrlError::NoPort { .. })), "{text}");
        }
        for text in ["tls:probe.example/path", "ntp:probe.example#issuer=x", "tcp:a:1#x"] {
            assert!(matches!(parse(text), Err(TargetUrlError::Behind { .. })), "{text}");
        }
        for text in [
            "stun:",
            "stun://",
            "nat:a,",
            "nat:a,b,c",
            "stun:a,b",
            "stun:a..b",
            "stun:probe.example:0",
            "stun:[::1",
            "stun:probe.example:x",
        ] {
            assert!(matches!(parse(text), Err(TargetUrlError::Part(_))), "{text}");
        }
    }
}
