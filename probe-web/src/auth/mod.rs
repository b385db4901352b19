//! Who may do what: secrets, passwords, sessions, keys.

pub mod cookie;
pub mod key;
pub mod password;
pub mod secret;
pub mod throttle;
pub mod visitor;
