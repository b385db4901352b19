//! The shell: sockets, clocks, threads, and the drivers of the state machines in [`crate::proto`].

pub mod bulk;
pub mod certificates;
pub mod clock;
pub mod datagrams;
#[cfg(target_os = "linux")]
pub mod hops;
pub mod http_server;
pub mod identity;
pub mod link;
pub mod name_servers;
pub mod pacing;
pub mod quic;
pub mod relay;
pub mod resolve;
pub mod route;
pub mod short_lived;
pub mod stamps;
pub mod tcp;
pub mod tls;
pub mod trust;
pub mod tunnel;
pub mod udp;
pub mod upload;
pub mod webrtc;
pub mod witness;
pub mod ws;
