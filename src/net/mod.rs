//! The shell: sockets, clocks, threads, and the drivers of the state machines in [`crate::proto`].

pub mod clock;
pub mod pacing;
pub mod stamps;
pub mod udp;
