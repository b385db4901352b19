//! Sans-IO: codecs and state machines. Time, bytes and randomness come in as arguments.
//!
//! Nothing in here opens a socket, reads a clock, or makes up randomness. A shell (a socket thread, a QUIC stream, or a
//! simulated link in a test) hands in what arrived and what time it is, and takes out what is to be sent.
//!
//! | module | what it is |
//! |---|---|
//! | [`admission`] | who may measure, how many at once, how fast in all |
//! | [`asking`] | asks a server over UDP, each question once |
//! | [`capacity`] | the search for the rate that a direction carries |
//! | [`machine`] | the contract between a state machine and its driver |
//! | [`control`] | what client and endpoint say to each other on a reliable stream |
//! | [`dns`] | DNS messages (RFC 1035, RFC 9460), and what to ask a name server |
//! | [`ntp`] | NTP packets (RFC 5905), and what to ask a time server |
//! | [`sender`] | the client's side of a session |
//! | [`reflector`] | the endpoint's side of all sessions of a socket |
//! | [`plain`] | a sender of unauthenticated STAMP, for routers and other tools |
//! | [`marking`] | packets of several marks (DSCP, ECN) in turns, and what becomes of the marks |
//! | [`media`] | what a one-way stream sends and when |
//! | [`rtp`] | media over RTP (RFC 3550) for WebRTC servers, and what their reports say |
//! | [`stamp`] | STAMP packets (RFC 8762, RFC 8972) and Greenroom's private TLVs |
//! | [`grant`] | what lets a browser's run in: signed, for a time |
//! | [`mtu`] | the largest packet that a path carries |
//! | [`path`] | the hops of a path, by packets that end on the way |
//! | [`icmp`] | ICMP echo (RFC 792, RFC 4443) as questions |
//! | [`nat`] | what a NAT does, by a STUN server with two addresses (RFC 5780) |
//! | [`stun`] | STUN messages (RFC 8489), and a prober that asks each question once |
//! | [`turn`] | TURN requests, their answers and channel data (RFC 8656) |

pub mod admission;
pub mod asking;
pub mod capacity;
pub mod control;
pub mod dns;
pub mod grant;
pub mod icmp;
pub mod machine;
pub mod marking;
pub mod media;
pub mod mtu;
pub mod nat;
pub mod ntp;
pub mod path;
pub mod plain;
pub mod reflector;
pub mod rtp;
pub mod sender;
pub mod stamp;
pub mod stun;
#[cfg(test)]
mod testlink;
#[cfg(test)]
mod tests;
pub mod turn;
pub(crate) mod window;
