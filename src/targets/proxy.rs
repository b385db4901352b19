//! The proxy that web requests of this computer go through, by the environment as other programs read it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use greenroom_reports::verdict::TargetFailure;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::address::Host;

/// The longest head of a proxy's answer.
const LONGEST_HEAD: usize = 8 * 1_024;
/// The port of a proxy where none is written.
const USUAL_PORT: u16 = 80;

/// A proxy that takes CONNECT (RFC 9110 section 9.3.6).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Its host.
    pub(super) host: Host,
    /// Its port.
    pub(super) port: u16,
    /// What proves who asks, if anything. Never shown.
    credentials: Option<String>,
}

/// As it may be shown: without who asks.
impl std::fmt::Display for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The same: what proves who asks must not reach a log.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// The proxy for `host`, if one is set and the host is no exception. `env` reads a variable.
///
/// # Errors
///
/// When one is set that cannot be used.
pub(super) fn of_environment(
    host: &Host,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, TargetFailure> {
    let set = |names: [&str; 2]| names.into_iter().find_map(env).filter(|value| !value.trim().is_empty());
    let Some(text) = set(["https_proxy", "HTTPS_PROXY"]).or_else(|| set(["all_proxy", "ALL_PROXY"])) else {
        return Ok(None);
    };
    let exceptions = set(["no_proxy", "NO_PROXY"]).unwrap_or_default();
    if exceptions.split(',').any(|exception| is_exception(exception.trim(), host)) {
        return Ok(None);
    }
    parse(text.trim()).map(Some)
}

/// Whether a word of NO_PROXY means this host: `*`, the host itself, or a domain that it lies in.
fn is_exception(exception: &str, host: &Host) -> bool {
    let exception = exception.trim_start_matches('.').to_ascii_lowercase();
    let own = host.server_name();
    match host {
        _ if exception.is_empty() => false,
        _ if exception == "*" || exception == own => true,
        Host::Name(name) => name.strip_suffix(&exception).is_some_and(|rest| rest.ends_with('.')),
        Host::Address(_) => false,
    }
}

fn parse(text: &str) -> Result<Proxy, TargetFailure> {
    // What is given may hold a password: no message repeats it.
    let wrong =
        |detail: &str| TargetFailure::Proxy { proxy: "HTTPS_PROXY".to_owned(), detail: detail.to_owned() };
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some(_) => return Err(wrong("only proxies that begin with http:// can be used")),
        None => text,
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let (credentials, authority) = match authority.rsplit_once('@') {
        Some((credentials, authority)) => (Some(credentials.to_owned()), authority),
        None => (None, authority),
    };
    let (host, port) =
        Host::with_port(authority).ok_or_else(|| wrong("it is neither a host name nor an IP address"))?;
    Ok(Proxy { host, port: port.unwrap_or(USUAL_PORT), credentials })
}

impl Proxy {
    /// Asks for a way to `authority` (`HOST:PORT`) over a connection to the proxy.
    ///
    /// # Errors
    ///
    /// When the proxy does not make one.
    pub(super) async fn tunnel<S>(&self, stream: &mut S, authority: &str) -> Result<(), TargetFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let failed = |detail: String| TargetFailure::Proxy { proxy: self.to_string(), detail };
        let said = |error: std::io::Error| failed(error.to_string());
        let proof = self
            .credentials
            .as_ref()
            .map(|credentials| format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(credentials)));
        let proof = proof.unwrap_or_default();
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{proof}\r\n");
        stream.write_all(request.as_bytes()).await.map_err(said)?;
        let mut head = Vec::new();
        // What follows the head belongs to the other end: octet by octet, so that none of it is read.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= LONGEST_HEAD {
                return Err(failed("its answer does not end".to_owned()));
            }
            head.push(stream.read_u8().await.map_err(said)?);
        }
        match status(&head) {
            Some(200..=299) => Ok(()),
            Some(407) => {
                Err(failed("it asks who you are (407): put NAME:PASSWORD@ into HTTPS_PROXY".to_owned()))
            }
            Some(status) => Err(failed(format!("it answers {status}"))),
            None => Err(failed("what answers there is no proxy".to_owned())),
        }
    }
}

/// The status of an answer's first line (RFC 9112 section 4).
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|octet| *octet == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.")?;
    line.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Host {
        Host::Name(name.to_owned())
    }

    fn with(set: &[(&str, &str)], host: &Host) -> Result<Option<Proxy>, TargetFailure> {
        let env =
            |wanted: &str| set.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
        of_environment(host, &env)
    }

    #[test]
    fn the_environment_names_a_proxy_and_its_exceptions() {
        let host = name("probe.example");
        let shown = |set: &[(&str, &str)]| with(set, &host).unwrap().map(|proxy| proxy.to_string());
        assert_eq!(shown(&[]), None);
        assert_eq!(shown(&[("HTTPS_PROXY", "")]), None);
        assert_eq!(shown(&[("HTTPS_PROXY", "http://192.0.2.1:3128/")]).as_deref(), Some("192.0.2.1:3128"));
        assert_eq!(shown(&[("https_proxy", "proxy.example")]).as_deref(), Some("proxy.example:80"));
        assert_eq!(shown(&[("ALL_PROXY", "[2001:db8::1]:8")]).as_deref(), Some("[2001:db8::1]:8"));
        for exception in ["*", "probe.example", ".example", "example", "other, Example"] {
            let set = [("HTTPS_PROXY", "proxy.example"), ("NO_PROXY", exception)];
            assert_eq!(shown(&set), None, "{exception}");
        }
        for exception in ["", "be.example", "other.example", "probe"] {
            let set = [("HTTPS_PROXY", "proxy.example"), ("NO_PROXY", exception)];
            assert!(shown(&set).is_some(), "{exception}");
        }
    }

    #[test]
    fn a_password_is_used_and_never_shown() {
        let set = [("HTTPS_PROXY", "http://user:hunter2@proxy.example:3128")];
        let proxy = with(&set, &name("probe.example")).unwrap().unwrap();
        assert_eq!(proxy.credentials.as_deref(), Some("user:hunter2"));
        assert!(!format!("{proxy} {proxy:?}").contains("hunter2"));
        for wrong in ["socks5://user:hunter2@proxy.example", "http://user:hunter2@a..b"] {
            let failure = with(&[("HTTPS_PROXY", wrong)], &name("probe.example")).unwrap_err();
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
        }
    }

    #[test]
    fn the_status_is_read_from_the_first_line() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\nA: b\r\n\r\n"), Some(407));
        assert_eq!(status(b"SSH-2.0-OpenSSH\r\n\r\n"), None);
    }
}
