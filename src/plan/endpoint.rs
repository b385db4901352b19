//! How an endpoint is named, and what lets this program in.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// The port block's first port: QUIC over UDP and the TLS fallback over TCP.
pub const DEFAULT_PORT: u16 = 7443;

/// Names a Greenroom endpoint: `greenroom://HOST[:PORT][#sha256=HEX]`.
///
/// The scheme may be left out. The fragment pins the endpoint's certificate: an endpoint with a self-made certificate
/// counts as verified only then. A URL never carries a secret; one that does is refused unread.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    host: String,
    port: u16,
    pin: Option<Fingerprint>,
}

impl EndpointUrl {
    /// Names an endpoint by address, pinned to its certificate.
    pub fn pinned(address: std::net::SocketAddr, pin: Fingerprint) -> Self {
        Self { host: address.ip().to_string(), port: address.port(), pin: Some(pin) }
    }

    /// The host's name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port of QUIC and of the TLS fallback.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The certificate that the endpoint must show.
    pub const fn pin(&self) -> Option<&Fingerprint> {
        self.pin.as_ref()
    }
}

impl FromStr for EndpointUrl {
    type Err = EndpointUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => ("greenroom", text),
        };
        if rest.contains(['@', '?']) {
            return Err(EndpointUrlError::Secret);
        }
        if !scheme.eq_ignore_ascii_case("greenroom") {
            return Err(EndpointUrlError::Scheme);
        }
        let (authority, fragment) = match rest.split_once('#') {
            Some((authority, fragment)) => (authority, Some(fragment)),
            None => (rest, None),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = split_authority(authority)?;
        let pin = fragment.map(parse_pin).transpose()?;
        Ok(Self { host, port, pin })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "greenroom://[{}]", self.host)?;
        } else {
            write!(f, "greenroom://{}", self.host)?;
        }
        if self.port != DEFAULT_PORT {
            write!(f, ":{}", self.port)?;
        }
        match &self.pin {
            Some(pin) => write!(f, "#sha256={pin}"),
            None => Ok(()),
        }
    }
}

/// The SHA-256 of an endpoint's certificate (DER). It names a certificate and is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl FromStr for Fingerprint {
    type Err = EndpointUrlError;

    /// Reads 64 hexadecimal digits; colons between them are allowed.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or(EndpointUrlError::Pin))
            .collect::<Result<_, _>>()?;
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Ok(high << 4 | low),
                _ => Err(EndpointUrlError::Pin),
            })
            .collect::<Result<_, _>>()?;
        bytes.try_into().map(Self).map_err(|_| EndpointUrlError::Pin)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why an endpoint's name was refused. Never repeats the name: it might hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EndpointUrlError {
    /// It has a user name or a query.
    #[error(
        "an endpoint's URL must not carry a user name, password or token: it would show in the process list. \
         Put the token in a file and name it with --token-file, or set GREENROOM_TOKEN"
    )]
    Secret,
    /// It is another kind of URL.
    #[error("an endpoint is named greenroom://HOST or HOST, with :PORT if it is not 7443")]
    Scheme,
    /// The host is missing or has characters that no host name has.
    #[error(
        "the host name is missing or has characters that no host name has; write HOST, HOST:PORT or [IPv6]:PORT"
    )]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// The fragment is no fingerprint.
    #[error("after # only sha256= and the 64 hexadecimal digits of the certificate's fingerprint may stand")]
    Pin,
}

/// A token. It never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a token, without the white space around it. `None` when nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The token itself: for the wire, to a verified endpoint, and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn split_authority(authority: &str) -> Result<(String, u16), EndpointUrlError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(EndpointUrlError::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| EndpointUrlError::Host)?;
        let port = match port {
            "" => DEFAULT_PORT,
            port => parse_port(port.strip_prefix(':').ok_or(EndpointUrlError::Port)?)?,
        };
        return Ok((address.to_string(), port));
    }
    // A bare IPv6 address has several colons and no port.
    if let Ok(address @ IpAddr::V6(_)) = authority.parse() {
        return Ok((address.to_string(), DEFAULT_PORT));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, parse_port(port)?),
        None => (authority, DEFAULT_PORT),
    };
    if !is_host(host) {
        return Err(EndpointUrlError::Host);
    }
    Ok((host.to_ascii_lowercase(), port))
}

fn parse_port(text: &str) -> Result<u16, EndpointUrlError> {
    text.parse().ok().filter(|port| *port != 0).ok_or(EndpointUrlError::Port)
}

/// Whether it can be a host name (RFC 1123 labels, underscores tolerated) or an IPv4 address.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 253 && host.split('.').all(label)
}

fn parse_pin(fragment: &str) -> Result<Fingerprint, EndpointUrlError> {
    fragment.strip_prefix("sha256=").ok_or(EndpointUrlError::Pin)?.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_back() {
        let pin = "ab".repeat(32);
        for (text, host, port, shown) in [
            ("probe.example", "probe.example", 7443, "greenroom://probe.example".to_owned()),
            ("Probe.Example:9000", "probe.example", 9000, "greenroom://probe.example:9000".to_owned()),
            ("greenroom://probe.example/", "probe.example", 7443, "greenroom://probe.example".to_owned()),
            ("192.0.2.1:1", "192.0.2.1", 1, "greenroom://192.0.2.1:1".to_owned()),
            ("2001:db8::1", "2001:db8::1", 7443, "greenroom://[2001:db8::1]".to_owned()),
            ("[2001:db8::1]:80", "2001:db8::1", 80, "greenroom://[2001:db8::1]:80".to_owned()),
            (&format!("greenroom://h#sha256={pin}"), "h", 7443, format!("greenroom://h#sha256={pin}")),
        ] {
            let url: EndpointUrl = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((url.host(), url.port(), url.to_string()), (host, port, shown));
            assert_eq!(url.to_string().parse::<EndpointUrl>(), Ok(url));
        }
    }

    #[test]
    fn what_is_not_a_name_is_refused_with_its_reason() {
        use EndpointUrlError::{Host, Pin, Port, Scheme, Secret};
        for (text, why) in [
            ("", Host),
            ("greenroom://", Host),
            ("host name", Host),
            ("-a.example", Host),
            ("a..b", Host),
            ("[::1", Host),
            ("host:0", Port),
            ("host:65536", Port),
            ("host:", Port),
            ("[::1]80", Port),
            ("https://host", Scheme),
            ("https://user:pw@host", Secret),
            ("greenroom://token@host", Secret),
            ("host?token=x", Secret),
            ("host#token=x", Pin),
            ("host#sha256=abc", Pin),
            (&format!("host#sha256={}", "ab".repeat(33)), Pin),
            ("host#sha256=é", Pin),
        ] {
            assert_eq!(text.parse::<EndpointUrl>(), Err(why), "{text}");
        }
    }

    #[test]
    fn a_refusal_never_repeats_what_was_given() {
        let error = "greenroom://user:hunter2@host".parse::<EndpointUrl>().expect_err("it holds a secret");
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new(" hunter2\n").expect("not empty");
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(Secret::new(" \n"), None);
    }
}
