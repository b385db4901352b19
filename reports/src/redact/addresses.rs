//! Addresses in texts, cut to the network they are in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A text with every IP address in it cut to its /24 (IPv4) or its /48 (IPv6), written as the network's first address, and every
/// hardware address hidden.
///
/// Loopback, unspecified, multicast and link-local ones of IPv4 tell nothing of anybody and stay. An address has to stand by itself:
/// `v1.2.3.4` and the middle of a longer number are none. `None` where nothing had to be changed.
pub(super) fn cut(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut changed = false;
    let mut rest = text;
    let mut before = None;
    while let Some(next) = rest.chars().next() {
        let found = if may_begin(before, next) { shown(rest) } else { None };
        let (length, words) = found.unwrap_or((next.len_utf8(), None));
        let (taken, left) = rest.split_at(length);
        changed |= words.is_some();
        out.push_str(words.as_deref().unwrap_or(taken));
        before = taken.chars().next_back();
        rest = left;
    }
    changed.then_some(out)
}

fn may_begin(before: Option<char>, next: char) -> bool {
    let apart = before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '.' && c != '_');
    apart && (next.is_ascii_hexdigit() || next == ':')
}

/// The address that a text begins with: its length, and what to write instead where it tells something.
fn shown(text: &str) -> Option<(usize, Option<String>)> {
    let end = text.find(|c: char| !c.is_ascii_hexdigit() && c != '.' && c != ':').unwrap_or(text.len());
    let stands_alone = text[end..].chars().next().is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
    let run = &text[..end];
    if stands_alone && is_hardware_address(run) {
        return Some((end, Some(super::HIDDEN.to_owned())));
    }
    // A fingerprint of a certificate, say: no address has so many parts.
    if run.split(':').count() > 9 {
        return Some((end, None));
    }
    // The longest one: `192.0.2.1:80` has a port behind it, `192.0.2.1.` ends a sentence.
    let ends = run.char_indices().filter(|(_, c)| matches!(c, '.' | ':')).map(|(at, _)| at);
    let whole = stands_alone.then_some(end);
    let mut ends: Vec<usize> = ends.chain(run.ends_with("::").then_some(end)).chain(whole).collect();
    ends.sort_unstable();
    let (length, address) =
        ends.into_iter().rev().find_map(|at| run[..at].parse::<IpAddr>().ok().map(|found| (at, found)))?;
    let network = network(address);
    Some((length, (network != address).then(|| network.to_string())))
}

fn is_hardware_address(run: &str) -> bool {
    run.len() == 17 && run.split(':').count() == 6 && run.split(':').all(|part| part.len() == 2)
}

/// The first address of the network that an address is in.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) if says_nothing(v4) => address,
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => match network(v4.into()) {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
                v6 => v6,
            },
            None if v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() => address,
            None => {
                let [a, b, c, ..] = v6.segments();
                Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
            }
        },
    }
}

fn says_nothing(v4: Ipv4Addr) -> bool {
    v4.is_loopback() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(text: &str) -> String {
        cut(text).unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn addresses_are_cut_wherever_they_stand() {
        for (before, expected) in [
            ("203.0.113.77", "203.0.113.0"),
            ("203.0.113.77:3478", "203.0.113.0:3478"),
            ("quic:203.0.113.77", "quic:203.0.113.0"),
            ("https://[2001:db8:7:8::9]:443/x", "https://[2001:db8:7::]:443/x"),
            ("icmp:2001:db8:7:8::9", "icmp:2001:db8:7::"),
            ("from 10.1.2.3, then 10.1.9.4.", "from 10.1.2.0, then 10.1.9.0."),
            ("::ffff:203.0.113.77", "::ffff:203.0.113.0"),
            ("fe80::1234:5678%eth0", "fe80::%eth0"),
            ("2001:db8::", "2001:db8::"),
            ("192.168.1.5/24", "192.168.1.0/24"),
            ("card 00:1b:63:84:45:e6 up", "card (hidden) up"),
        ] {
            assert_eq!(after(before), expected, "{before}");
        }
    }

    #[test]
    fn what_is_no_address_stays() {
        for text in [
            "127.0.0.1:7443",
            "::1",
            "0.0.0.0",
            "at 14:03:11",
            "v1.2.3.4",
            "1.2.3",
            "dead beef: cafe",
            "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55",
            "RFC 8762 §4.2.1",
            "Grüße: 12:30",
            "",
        ] {
            assert_eq!(cut(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_address_of_a_host_is_left(address: IpAddr, before in "[ (\\[:/=]?", behind in "[ ),/\\]%]?") {
            let text = format!("x{before}{address}{behind}");
            prop_assume!(!before.is_empty());
            let cut = after(&text);
            prop_assert_eq!(after(&cut), cut.clone(), "cutting twice is cutting once");
            if network(address) != address {
                prop_assert!(!cut.contains(&address.to_string()), "{} in {}", address, cut);
            }
        }
    }
}
