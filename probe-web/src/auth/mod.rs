//! Who may do what: secrets, passwords, sessions, keys, links.

pub mod agent;
pub mod cookie;
pub mod key;
pub mod link;
pub mod password;
pub mod secret;
pub mod throttle;
pub mod visitor;
