//! What can be measured, as people write it: a Greenroom endpoint, or `SCHEME:HOST[:PORT]` of something else.

use std::fmt;
use std::str::FromStr;

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
}

/// What something is that is no Greenroom endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OtherKind {
    /// A STUN server over UDP.
    Stun,
    /// A STAMP or TWAMP Light reflector.
    Stamp,
}

impl OtherKind {
    /// All that can be measured.
    pub const ALL: [Self; 2] = [Self::Stun, Self::Stamp];

    /// Its name in URLs and reports.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Stun => "stun",
            Self::Stamp => "stamp",
        }
    }

    /// The port where none is written. `None`: one must be written.
    pub const fn default_port(self) -> Option<u16> {
        match self {
            Self::Stun => Some(3478),
            Self::Stamp => Some(862),
        }
    }

    /// How it is written, for who wrote something else.
    const fn form(self) -> &'static str {
        match self {
            Self::Stun => "stun:HOST[:PORT]",
            Self::Stamp => "stamp:HOST[:PORT]",
        }
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
        // Looked for first and everywhere, so that no other message repeats a secret.
        if text.contains('@') || text.contains('?') {
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
    let authority = rest.strip_prefix("//").unwrap_or(rest);
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains(['/', '#']) {
        return Err(TargetUrlError::Behind { form: kind.form() });
    }
    if !authority.is_ascii() {
        return Err(TargetUrlError::Idn { host: authority.to_owned() });
    }
    let (host, port) = url::split_port(authority)?;
    let port = port.or(kind.default_port()).ok_or(UrlError::Port(String::new()))?;
    Ok(TargetUrl::Other(OtherUrl { kind, host, port }))
}

impl From<EndpointUrl> for TargetUrl {
    fn from(endpoint: EndpointUrl) -> Self {
        Self::Greenroom(endpoint)
    }
}

/// As it stands in a report, without the default port.
impl fmt::Display for OtherUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.scheme(), self.host)?;
        if self.kind.default_port() != Some(self.port) {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
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
    use super::*;

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
        ] {
            let url = parse(text).unwrap();
            assert!(matches!(url, TargetUrl::Other(_)), "{text}");
            assert_eq!(url.to_string(), shown, "{text}");
            assert_eq!(parse(shown).unwrap(), url, "what is shown can be read again");
        }
        for text in ["probe.example", "stun:7443", "stun", "[::1]:7443", "::1", "fe80::1", "greenroom://a:1"]
        {
            assert!(matches!(parse(text), Ok(TargetUrl::Greenroom(_))), "{text}");
        }
    }

    #[test]
    fn a_secret_is_refused_and_never_repeated() {
        for text in ["stun:hunter2@probe.example", "stun:probe.example?key=hunter2", "gopher:hunter2@x"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, UrlError::Secret.into(), "{text}");
            assert!(!error.to_string().contains("hunter2"));
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
        for text in
            ["stun:", "stun://", "stun:a..b", "stun:probe.example:0", "stun:[::1", "stun:probe.example:x"]
        {
            assert!(matches!(parse(text), Err(TargetUrlError::Part(_))), "{text}");
        }
    }
}
