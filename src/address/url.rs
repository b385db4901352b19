//! Endpoint addresses as people write them: `greenroom://HOST[:PORT][#sha256=…]`, or just `HOST[:PORT]`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::Fingerprint;

/// The scheme of an endpoint.
pub const SCHEME: &str = "greenroom";
/// The port of an endpoint, UDP and TCP.
pub const DEFAULT_PORT: u16 = 7443;

/// Where an endpoint is and, when pinned, which certificate it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    /// The host.
    pub host: Host,
    /// The port, [`DEFAULT_PORT`] when none was written.
    pub port: u16,
    /// The pinned certificate.
    pub pin: Option<Fingerprint>,
}

/// A name or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// To be resolved. Lower case, without a trailing dot.
    Name(String),
    /// As it is.
    Address(IpAddr),
}

/// Why a text is no endpoint address. All are usage errors (exit code 64). None repeats what could be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It carries a user, a password or a query.
    #[error(
        "an address must not carry a secret: it would show in the process list and in logs. \
         Put the token in a file (--token-file), the environment, or standard input."
    )]
    Secret,
    /// Another scheme.
    #[error("{0}:// is not an endpoint; write greenroom://HOST or just HOST")]
    Scheme(String),
    /// Nothing, or something that is neither a name nor an address.
    #[error("{0:?} is neither a host name nor an IP address")]
    Host(String),
    /// Not a port.
    #[error("{0:?} is not a port; ports go from 1 to 65535")]
    Port(String),
    /// A path.
    #[error("an endpoint has no path; write greenroom://HOST[:PORT]")]
    Path,
    /// The part behind `#` is not `sha256=` and 64 hexadecimal digits.
    #[error("behind # only sha256= and 64 hexadecimal digits may stand")]
    Pin,
}

impl FromStr for EndpointUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        // Looked for first and everywhere, so that no other message repeats a secret.
        if text.contains('@') || text.contains('?') {
            return Err(UrlError::Secret);
        }
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (text, None),
        };
        let pin = fragment
            .map(|fragment| {
                fragment.strip_prefix("sha256=").and_then(|pin| pin.parse().ok()).ok_or(UrlError::Pin)
            })
            .transpose()?;
        let authority = match rest.split_once("://") {
            Some((scheme, authority)) if scheme.eq_ignore_ascii_case(SCHEME) => authority,
            Some((scheme, _)) => return Err(UrlError::Scheme(scheme.to_owned())),
            None => rest,
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains('/') {
            return Err(UrlError::Path);
        }
        let (host, port) = split_port(authority)?;
        Ok(Self { host, port: port.unwrap_or(DEFAULT_PORT), pin })
    }
}

/// Splits `HOST[:PORT]`, where an IPv6 address stands in brackets or has no port.
pub(super) fn split_port(authority: &str) -> Result<(Host, Option<u16>), UrlError> {
    let no_host = || UrlError::Host(authority.to_owned());
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or_else(no_host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| no_host())?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if rest.is_empty() => None,
            None => return Err(no_host()),
        };
        return Ok((Host::Address(address.into()), port));
    }
    if let Ok(address) = authority.parse::<IpAddr>() {
        return Ok((Host::Address(address), None));
    }
    match authority.split_once(':') {
        Some((host, port)) => Ok((parse_host(host)?, Some(parse_port(port)?))),
        None => Ok((parse_host(authority)?, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or_else(|| UrlError::Port(text.to_owned()))
}

/// A host name: labels of letters, digits, hyphens and underscores (RFC 1123 section 2.1; underscores are in use).
fn parse_host(text: &str) -> Result<Host, UrlError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Host::Address(address));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last label of digits is a mistyped IPv4 address.
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if name.len() > 253 || numeric || !name.split('.').all(label) {
        return Err(UrlError::Host(text.to_owned()));
    }
    Ok(Host::Name(name.to_ascii_lowercase()))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl Host {
    /// Reads `HOST[:PORT]`, where an IPv6 address stands in brackets or has no port. `None` when it is neither a name nor an address.
    pub fn with_port(authority: &str) -> Option<(Self, Option<u16>)> {
        split_port(authority).ok()
    }

    /// The name for a TLS handshake: without brackets.
    pub fn server_name(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Address(address) => address.to_string(),
        }
    }
}

/// As it stands in a report: with the scheme, without the default port and without the pin.
impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://{}", self.host)?;
        if self.port != DEFAULT_PORT {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<EndpointUrl, UrlError> {
        text.parse()
    }

    fn url(host: Host, port: u16) -> EndpointUrl {
        EndpointUrl { host, port, pin: None }
    }

    #[test]
    fn names_and_addresses_with_and_without_a_port() {
        let name = Host::Name("probe.example".to_owned());
        let v4 = Host::Address([192, 0, 2, 7].into());
        let v6 = Host::Address("2001:db8::7".parse().unwrap());
        let table = [
            ("probe.example", url(name.clone(), 7443)),
            ("Probe.Example.", url(name.clone(), 7443)),
            ("greenroom://probe.example", url(name.clone(), 7443)),
            ("GREENROOM://probe.example/", url(name.clone(), 7443)),
            ("greenroom://probe.example:8000", url(name, 8000)),
            ("192.0.2.7", url(v4.clone(), 7443)),
            ("192.0.2.7:65535", url(v4, 65_535)),
            ("2001:db8::7", url(v6.clone(), 7443)),
            ("[2001:db8::7]", url(v6.clone(), 7443)),
            ("greenroom://[2001:db8::7]:1", url(v6, 1)),
            ("localhost", url(Host::Name("localhost".to_owned()), 7443)),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_pin_is_kept_and_not_shown() {
        let digest = Fingerprint::of(b"abc");
        let pinned = parse(&format!("greenroom://probe.example#sha256={digest}")).unwrap();
        assert_eq!(pinned.pin, Some(digest));
        assert_eq!(pinned.to_string(), "greenroom://probe.example");
        for wrong in ["#", "#sha256=", "#sha256=00", "#md5=00"] {
            assert_eq!(parse(&format!("probe.example{wrong}")), Err(UrlError::Pin), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_refused_and_never_repeated() {
        for text in [
            "greenroom://user:hunter2@probe.example",
            "hunter2@probe.example",
            "greenroom://probe.example?token=hunter2",
            "https://hunter2@probe.example:x",
            "probe.example#hunter2@",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, UrlError::Secret, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_endpoint_says_why() {
        let host = |text: &str| UrlError::Host(text.to_owned());
        let port = |text: &str| UrlError::Port(text.to_owned());
        let table = [
            ("", host("")),
            ("greenroom://", host("")),
            ("two words", host("two words")),
            ("-dash.example", host("-dash.example")),
            ("a..b", host("a..b")),
            ("256.1.1.1", host("256.1.1.1")),
            ("[::1", host("[::1")),
            ("[::1]7443", host("[::1]7443")),
            ("probe.example:0", port("0")),
            ("probe.example:65536", port("65536")),
            ("probe.example:+1", port("+1")),
            ("probe.example:", port("")),
            ("https://probe.example", UrlError::Scheme("https".to_owned())),
            ("probe.example/path", UrlError::Path),
        ];
        for (text, error) in table {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in ["greenroom://probe.example", "greenroom://[2001:db8::7]:8000", "greenroom://192.0.2.7"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }
}
