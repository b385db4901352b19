//! Which way packets to an address take: the router, the interface, and what kind of interface that is.

#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod wifi;

use std::net::IpAddr;

use greenroom_reports::schema::LinkKind;

/// The way to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The first router. `None`: the address is on this computer's own network.
    pub gateway: Option<IpAddr>,
    /// The interface's name.
    pub interface: String,
    /// The interface's number.
    pub index: u32,
    /// The address that packets leave from.
    pub source: Option<IpAddr>,
}

/// What is known of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it is.
    pub kind: LinkKind,
    /// Its longest packet, in octets.
    pub mtu: Option<u32>,
    /// What a wired one is connected at, in Mbit/s.
    pub speed_mbps: Option<u32>,
}

/// A connection to a Wi-Fi. What the system does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wifi {
    /// Its name, where that is text.
    pub ssid: Option<String>,
    /// Center of its primary channel.
    pub frequency_mhz: Option<u32>,
    /// Width of its channel.
    pub width_mhz: Option<u32>,
    /// How strong it is heard here.
    pub signal_dbm: Option<i8>,
    /// The rate that packets were last sent at.
    pub tx_rate_kbps: Option<u32>,
    /// The rate that packets were last received at.
    pub rx_rate_kbps: Option<u32>,
    /// Packets sent since it was joined.
    pub tx_packets: Option<u32>,
    /// Times that a packet had to be sent again.
    pub tx_retries: Option<u32>,
    /// Packets that were given up.
    pub tx_failed: Option<u32>,
}

/// Why the way is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// There is none.
    #[error("there is no route to {0}")]
    NoRoute(IpAddr),
    /// The system does not say, or not in words that this program knows.
    #[error("this system did not tell its route: {0}")]
    Untold(String),
    /// Not on this system.
    #[error("routes are only read on Linux")]
    NotHere,
}

/// Asks the system which way packets to `destination` take, through the interface named where one is.
///
/// # Errors
///
/// [`RouteError`].
pub fn to(destination: IpAddr, interface: Option<&str>) -> Result<Route, RouteError> {
    #[cfg(target_os = "linux")]
    return linux::route(destination, interface);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (destination, interface);
        Err(RouteError::NotHere)
    }
}

/// What the system tells of an interface. `None`: there is none of that name, or the system does not tell.
pub fn link(interface: &str) -> Option<Link> {
    #[cfg(target_os = "linux")]
    return link::read(std::path::Path::new("/sys/class/net"), interface);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = interface;
        None
    }
}

/// The Wi-Fi that the interface with this number is connected to. `None`: it is no Wi-Fi, or the system does not tell.
pub fn wifi(index: u32) -> Option<Wifi> {
    #[cfg(target_os = "linux")]
    return wifi::read(index);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = index;
        None
    }
}
