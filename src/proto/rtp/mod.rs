//! Media over RTP (RFC 3550): what is sent to servers that are no Greenroom endpoints, what the other end's reports say, and what comes.

pub mod media;
pub mod received;
pub mod reports;
