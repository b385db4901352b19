//! Where a sign-in page is looked for: `http://HOST[:PORT][/PATH]`.

use std::fmt;
use std::str::FromStr;

use super::Host;

/// The port of a web request in the clear.
const HTTP: u16 = 80;

/// Where a sign-in page is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Portal {
    /// At the host of the endpoint itself, whom alone the user named: nobody else is told that somebody is here.
    #[default]
    Endpoint,
    /// At this address, which answers 204 (RFC 9110 section 15.3.5) to everybody whom nobody stands in the way of.
    At(PortalUrl),
    /// Nowhere.
    Off,
}

/// A web address in the clear, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortalUrl {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// The path, with its slash.
    pub path: String,
}

/// Why a text is none. It does not repeat the text, which may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "write http://HOST/PATH of a page that answers 204, without name, password or query, or off. It must not be https: a sign-in \
     page cannot answer there"
)]
pub struct NoPortalUrl;

impl PortalUrl {
    /// Where `host` would answer web requests in the clear.
    pub fn of_host(host: Host) -> Self {
        Self { host, port: HTTP, path: "/generate_204".to_owned() }
    }

    /// Host and port as a request names them.
    pub fn authority(&self) -> String {
        match self.port {
            HTTP => self.host.to_string(),
            port => format!("{}:{port}", self.host),
        }
    }
}

impl FromStr for Portal {
    type Err = NoPortalUrl;

    fn from_str(text: &str) -> Result<Self, NoPortalUrl> {
        match text {
            "off" => Ok(Self::Off),
            url => url.parse().map(Self::At),
        }
    }
}

impl FromStr for PortalUrl {
    type Err = NoPortalUrl;

    fn from_str(text: &str) -> Result<Self, NoPortalUrl> {
        let rest = text.strip_prefix("http://").ok_or(NoPortalUrl)?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        if !path.bytes().all(|octet| octet.is_ascii_graphic()) || text.contains(['?', '#', '@']) {
            return Err(NoPortalUrl);
        }
        let (host, port) = Host::with_port(authority).ok_or(NoPortalUrl)?;
        Ok(Self { host, port: port.unwrap_or(HTTP), path: path.to_owned() })
    }
}

impl fmt::Display for PortalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_address_in_the_clear_or_nowhere() {
        let shown = |text: &str| match text.parse() {
            Ok(Portal::At(url)) => url.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(shown("http://probe.example"), "http://probe.example/");
        assert_eq!(shown("http://[2001:db8::1]:8080/x/y"), "http://[2001:db8::1]:8080/x/y");
        assert_eq!(shown("off"), "Ok(Off)");
        for wrong in [
            "https://probe.example/",
            "probe.example",
            "http://",
            "http://a..b/",
            "http://me:hunter2@host/",
            "http://host/?hunter2",
        ] {
            let error = wrong.parse::<Portal>().unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
