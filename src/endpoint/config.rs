//! What an endpoint is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::identity::{IdentityError, ServerIdentity};
use crate::net::resolve;
use crate::proto::admission::{Access, Capacity};
use crate::proto::reflector::OpenStamp;

/// What an endpoint is told.
#[derive(Debug)]
pub struct Config {
    /// Addresses to listen on. An IPv6 address carries IPv6 alone.
    pub listen: Vec<IpAddr>,
    /// The base of the block of ports. 0: any free ones.
    pub port: u16,
    /// The address that clients see when this one stands behind a NAT.
    pub external_ip: Option<IpAddr>,
    /// Who it is.
    pub identity: ServerIdentity,
    /// Who is let in.
    pub access: Access,
    /// How many, how fast, how long.
    pub capacity: Capacity,
    /// Whether unauthenticated STAMP from anybody is answered.
    pub open_stamp: OpenStamp,
    /// Where health and metrics are served. `None`: nowhere.
    pub health: Option<SocketAddr>,
    /// Whether browsers may come by WebRTC, on the first of the addresses: for whoever speaks HTTP for it.
    pub web_rtc: bool,
    /// Leaves the stamps to the program: for tests and comparisons.
    pub user_stamps: bool,
}

impl Config {
    /// On loopback with a certificate made for it, open to this machine, on any free ports, without health.
    ///
    /// # Errors
    ///
    /// When no certificate can be made.
    pub fn loopback() -> Result<Self, IdentityError> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        Ok(Self {
            listen: vec![Ipv4Addr::LOCALHOST.into()],
            port: 0,
            external_ip: None,
            identity: ServerIdentity::self_made(names)?,
            access: Access::Open,
            capacity: Capacity::default(),
            open_stamp: OpenStamp::Off,
            health: None,
            web_rtc: false,
            user_stamps: false,
        })
    }

    /// Whether a token is asked for and none is known.
    pub(super) fn lets_nobody_in(&self) -> bool {
        matches!(&self.access, Access::Tokens(tokens) if tokens.is_empty())
    }
}

/// The loopback addresses, where an endpoint listens unless asked for more.
pub const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Those of [`LOOPBACK`] that this computer has: there may be no IPv6, or no IPv4.
pub fn available_loopback() -> Vec<IpAddr> {
    let found: Vec<IpAddr> = LOOPBACK.into_iter().filter(|ip| resolve::has_address(*ip)).collect();
    // With neither, listening fails with the system's own reason.
    if found.is_empty() { LOOPBACK.to_vec() } else { found }
}
