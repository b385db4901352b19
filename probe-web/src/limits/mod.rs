//! How many requests one key, or one address without a key, may make.
//!
//! An address is where a connection comes from. Where that is a proxy that the operator trusts, it is the right-most hop of
//! `X-Forwarded-For` that is not trusted: what stands left of it anybody may have written.

mod bucket;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderName, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::app::AppState;
use crate::auth::secret;
use crate::pages;
use crate::problem::Problem;

pub(crate) use bucket::{Buckets, Rate};

/// Keys and addresses that are remembered.
const KNOWN: usize = 50_000;

const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Hops of a proxy's header that are looked at.
const HOPS: usize = 32;

/// How many requests may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// By one key or check link, a second.
    pub key: u32,
    /// By one address (IPv4) or network of 64 bits (IPv6) without a key, a second.
    pub address: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { key: 5_000, address: 100 }
    }
}

/// Addresses whose word on where a request is from is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether an address is in it.
    pub fn holds(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl std::str::FromStr for Network {
    type Err = &'static str;

    /// Reads `192.0.2.1`, `192.0.2.0/24` or `2001:db8::/32`.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let wrong = "write an address or a network: 192.0.2.1, 192.0.2.0/24, 2001:db8::/32";
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong)?;
        if bits > most { Err(wrong) } else { Ok(Self { address, bits }) }
    }
}

/// Who a request is from, as far as a proxy that is trusted tells. This computer is always trusted: what stands on it is the operator's.
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |ip: IpAddr| ip.to_canonical().is_loopback() || trusted.iter().any(|net| net.holds(ip));
    let mut client = peer.to_canonical();
    let lines: Vec<&str> = headers.get_all(FORWARDED).iter().filter_map(|line| line.to_str().ok()).collect();
    let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).take(HOPS);
    while is_trusted(client) {
        let Some(hop) = hops.next().and_then(|hop| address_of(hop.trim())) else { break };
        client = hop;
    }
    client
}

/// An address that may have a port.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    let ip = bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|at| at.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

/// What is counted together: an IPv4 address, or the network that one IPv6 customer has.
fn counted(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

/// What every key and address has left.
#[derive(Debug)]
pub struct Limits {
    keys: Buckets<[u8; 32]>,
    addresses: Buckets<IpAddr>,
    /// Passwords and codes of one address: 20, then one in three seconds.
    sign_ins: Buckets<IpAddr>,
}

impl Limits {
    /// With nothing used.
    pub fn new(rates: Rates) -> Self {
        let of = |a_second: u32, seconds: f64| {
            let per_second = f64::from(a_second);
            Rate { per_second, burst: per_second * seconds }
        };
        Self {
            keys: Buckets::new(of(rates.key, 2.0), KNOWN),
            addresses: Buckets::new(of(rates.address, 10.0), KNOWN),
            sign_ins: Buckets::new(Rate { per_second: 1.0 / 3.0, burst: 20.0 }, KNOWN),
        }
    }
}

/// Lets a request on, if its key or address may make one more.
pub(crate) async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let now = state.clock.now();
    let path = request.uri().path();
    // What watches the process, and files that cost nothing.
    if matches!(path, "/healthz" | "/readyz") || path.starts_with("/assets/") || path.starts_with("/check/") {
        return next.run(request).await;
    }
    let for_programs = path.starts_with("/api/") || path == "/metrics";
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(at)| at.ip());
    let from = peer.map(|peer| counted(client(peer, request.headers(), &state.trusted_proxies)));
    let key = request.headers().get(AUTHORIZATION).map(key_of);
    let tries_to_sign_in = matches!(path, "/login/oidc/callback")
        || (request.method() == Method::POST && (path == "/login" || path.starts_with("/first/")));
    let limits = &state.limits;
    let mut may = match (&key, from) {
        (Some(key), from) => {
            let by_address = from.map_or(Ok(()), |from| limits.addresses.take(from, 0.0, now));
            by_address.and_then(|()| limits.keys.take(*key, 1.0, now))
        }
        (None, Some(from)) => limits.addresses.take(from, 1.0, now),
        (None, None) => Ok(()),
    };
    if let (Ok(()), Some(from), true) = (may, from, tries_to_sign_in) {
        may = limits.sign_ins.take(from, 1.0, now);
    }
    if let Err(seconds) = may {
        return too_often(for_programs, seconds);
    }
    let response = next.run(request).await;
    if let (Some(from), StatusCode::UNAUTHORIZED) = (from, response.status()) {
        // Whoever tries keys out is counted as one who has none.
        let _ = limits.addresses.take(from, 1.0, now);
    }
    response
}

/// What of a header tells keys apart: of a program's key the part that is no secret, so that wrong secrets count as the key's; of
/// anything else all.
fn key_of(header: &HeaderValue) -> [u8; 32] {
    let text = header.to_str().unwrap_or_default();
    let name = match text.find("gr_") {
        Some(at) => text[at..].splitn(3, '_').take(2).collect::<Vec<_>>().join("_"),
        None => text.to_owned(),
    };
    secret::hash(&name).0
}

fn too_often(for_programs: bool, seconds: u64) -> Response {
    let mut response = if for_programs {
        Problem::too_often(
            "more requests than one key or address may make; Retry-After says when to come again",
        )
        .into_response()
    } else {
        pages::error_page(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many requests",
            "More came from your address than one may make. Wait a moment, then try again.",
        )
    };
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let headers = lines.iter().map(|line| (FORWARDED, HeaderValue::from_str(line).unwrap())).collect();
        let trusted: Vec<Network> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn the_hop_that_counts_is_the_right_most_that_is_not_trusted() {
        assert_eq!(from("192.0.2.1", &["198.51.100.7"], &[]), "192.0.2.1", "no proxy of ours");
        assert_eq!(from("127.0.0.1", &["198.51.100.7"], &[]), "198.51.100.7", "one on this computer");
        assert_eq!(
            from("::1", &["6.6.6.6, 198.51.100.7"], &[]),
            "198.51.100.7",
            "what a client wrote itself is not believed"
        );
        assert_eq!(from("10.0.0.1", &["6.6.6.6, 198.51.100.7, 10.0.0.2"], &["10.0.0.0/8"]), "198.51.100.7");
        assert_eq!(
            from("10.0.0.1", &["6.6.6.6", "198.51.100.7"], &["10.0.0.1"]),
            "198.51.100.7",
            "two lines"
        );
        assert_eq!(from("10.0.0.1", &["6.6.6.6, unknown"], &["10.0.0.1"]), "10.0.0.1", "unreadable");
        assert_eq!(from("10.0.0.1", &[], &["10.0.0.1"]), "10.0.0.1", "nothing told");
        assert_eq!(from("::ffff:10.0.0.1", &["[2001:db8::7]:4711"], &["10.0.0.1"]), "2001:db8::7");
        assert_eq!(from("127.0.0.1", &["198.51.100.7:80"], &[]), "198.51.100.7");
        for wrong in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_told_apart_by_their_public_part() {
        let of = |text: &str| key_of(&HeaderValue::from_str(text).unwrap());
        assert_eq!(of("Bearer gr_abc_secret"), of("Bearer gr_abc_other"));
        assert_ne!(of("Bearer gr_abc_secret"), of("Bearer gr_abd_secret"));
        assert_ne!(of("Bearer gc_abc"), of("Bearer gc_abd"));
        assert_eq!(counted("2001:db8::1".parse().unwrap()), counted("2001:db8::ffff".parse().unwrap()));
    }
}
