//! Media over RTP (RFC 3550), for publishing to servers that are no Greenroom endpoints: what is sent, and what their reports say.

pub mod media;
pub mod reports;
