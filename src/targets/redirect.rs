//! Where a web service sends its visitors (RFC 9110 section 15.4).

use greenroom_reports::schema::Redirect;

use super::fetch::{Answer, Page};
use crate::address::Host;

/// Where a redirection leads.
pub(super) enum Next {
    /// To this page.
    Page(Page),
    /// To where it is not followed, and why.
    Nowhere(String),
}

/// The redirection that an answer is, as it may be shown, and where it leads from `page`. `None`: it is none.
pub(super) fn of(answer: &Answer, page: &Page) -> Option<(Redirect, Next)> {
    if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.location.as_deref()?.trim();
    let next = target(location, page);
    // A query may hold what only the visitor is to know.
    let shown = location.split(['?', '#']).next().unwrap_or_default();
    let shown =
        match shown.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
            Some((scheme, rest)) => format!("{scheme}://{rest}"),
            None => shown.to_owned(),
        };
    Some((Redirect { status: answer.status, to: shown }, next))
}

fn target(location: &str, page: &Page) -> Next {
    let location = location.split('#').next().unwrap_or_default();
    let nowhere = |why: &str| Next::Nowhere(why.to_owned());
    if !location.bytes().all(|octet| octet.is_ascii_graphic()) {
        return nowhere("where it leads cannot be read");
    }
    let lower = location.to_ascii_lowercase();
    let rest = match () {
        () if lower.starts_with("https://") => &location["https://".len()..],
        () if lower.starts_with("http://") => return nowhere("it leads to where nothing is encrypted"),
        () if location.starts_with("//") => &location[2..],
        () if location.starts_with('/') => {
            return Next::Page(Page { path: location.to_owned(), ..page.clone() });
        }
        () if lower.split('/').next().is_some_and(|first| first.contains(':')) => {
            return nowhere("it leads out of the web");
        }
        () => {
            let path = page.path.split('?').next().unwrap_or("/");
            let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
            return Next::Page(Page { path: format!("{folder}{location}"), ..page.clone() });
        }
    };
    let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    match Host::with_port(authority) {
        Some((host, port)) => Next::Page(Page { host, port: port.unwrap_or(443), path }),
        None => nowhere("where it leads cannot be read"),
    }
}

/// The host that a redirection leads to, if it is another site's: other last two labels, or an address in place of a name.
pub(super) fn elsewhere(to: &str, from: &Host) -> Option<String> {
    let (_, rest) = to.split_once("://")?;
    let authority = rest.split('/').next()?;
    let (host, _) = Host::with_port(authority)?;
    let same = match (&host, from) {
        (Host::Name(host), Host::Name(from)) => site(host) == site(from),
        (host, from) => host == from,
    };
    (!same).then(|| host.to_string())
}

/// The last two labels of a name.
fn site(name: &str) -> &str {
    let dots = name.rmatch_indices('.').nth(1);
    dots.map_or(name, |(at, _)| &name[at + 1..])
}

#[cfg(test)]
mod tests {
    use greenroom_reports::units::Micros;

    use super::*;

    fn page() -> Page {
        Page { host: Host::Name("www.probe.example".to_owned()), port: 8443, path: "/a/b?c".to_owned() }
    }

    fn answer(status: u16, location: &str) -> Answer {
        Answer {
            first_byte: Micros::ZERO,
            total: Micros::ZERO,
            status,
            version: "HTTP/1.1",
            location: Some(location.to_owned()),
            software: None,
            alternatives: None,
            body_bytes: 0,
            body_cut: false,
        }
    }

    #[test]
    fn redirections_are_followed_to_where_they_lead() {
        for (location, expected) in [
            ("https://Other.example", "other.example /"),
            ("HTTPS://other.example:444?q", "other.example:444 /?q"),
            ("//other.example/x", "other.example /x"),
            ("/x?y#z", "www.probe.example:8443 /x?y"),
            ("x", "www.probe.example:8443 /a/x"),
            ("https://[2001:db8::1]/", "[2001:db8::1] /"),
        ] {
            let Some((_, Next::Page(next))) = of(&answer(302, location), &page()) else {
                panic!("{location}")
            };
            assert_eq!(format!("{} {}", next.authority(), next.path), expected, "{location}");
        }
        for location in
            ["http://other.example", "mailto:a", "https://a..b/", "https://user@other.example/", "/a b"]
        {
            let led = of(&answer(302, location), &page());
            assert!(matches!(led, Some((_, Next::Nowhere(_)))), "{location}");
        }
        assert!(of(&answer(200, "/x"), &page()).is_none() && of(&answer(304, "/x"), &page()).is_none());
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        for location in ["https://other.example/x?token=hunter2", "https://hunter2@other.example/x#hunter2"] {
            let (shown, _) = of(&answer(301, location), &page()).unwrap();
            assert_eq!(shown.to, "https://other.example/x");
        }
    }

    #[test]
    fn another_site_is_told_from_the_same() {
        let from = page().host;
        assert_eq!(elsewhere("https://login.probe.example/", &from), None);
        assert_eq!(elsewhere("/x", &from), None);
        assert_eq!(
            elsewhere("http://portal.hotel.example:80/x", &from).as_deref(),
            Some("portal.hotel.example")
        );
        assert_eq!(elsewhere("http://192.0.2.1/", &from).as_deref(), Some("192.0.2.1"));
    }
}
