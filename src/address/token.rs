//! The secret that an operator hands out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A secret that lets a client in. Never shown by `Debug`; zero-length tokens do not exist.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Wraps a token; `None` when it is empty.
    pub fn new(secret: impl Into<String>) -> Option<Self> {
        let secret = secret.into();
        (!secret.is_empty()).then_some(Self(secret))
    }

    /// The secret itself, for the one comparison that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_shown_and_never_empty() {
        assert_eq!(Token::new(""), None);
        let token = Token::new("opensesame").unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert_eq!(token.expose(), "opensesame");
    }
}
