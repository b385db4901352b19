//! Who somebody is to a TURN server.

use std::fmt;

/// A user name and its password. Neither is shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    /// Both as the server has them. `None`: one of them is empty, or the name is longer than 508 octets (RFC 8489 section 14.3).
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Option<Self> {
        let (username, password) = (username.into(), password.into());
        let fits = !username.is_empty() && username.len() <= 508 && !password.is_empty();
        fits.then_some(Self { username, password })
    }

    /// The name, for the request that carries it.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password, for the one hash that needs it.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}
