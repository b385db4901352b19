//! Passwords: argon2id with OWASP's least parameters (19 MiB, 2 passes), two at a time.

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use crate::clock::random;

/// Least and most characters. The most is far above what people type and bounds what a stranger makes the server hash.
const LENGTH: std::ops::RangeInclusive<usize> = 12..=200;

/// Each takes 19 MiB and some tens of milliseconds of a core.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// A hash that no password has, so that an unknown name takes as long as a wrong password.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    let password: [u8; 32] = random();
    hash_now(&password).unwrap_or_default()
});

/// Why a password will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("a password has 12 to 200 characters; four words do well")]
    Length,
    /// It could not be hashed.
    #[error("the password could not be kept; try again")]
    Hash,
}

/// Hashes a new password.
///
/// # Errors
/// When its length will not do.
pub async fn hash(password: String) -> Result<String, PasswordError> {
    if !LENGTH.contains(&password.chars().count()) {
        return Err(PasswordError::Length);
    }
    let _turn = AT_ONCE.acquire().await.map_err(|_| PasswordError::Hash)?;
    let hashed = tokio::task::spawn_blocking(move || hash_now(password.as_bytes())).await;
    hashed.ok().flatten().ok_or(PasswordError::Hash)
}

/// Whether a password is the one that was hashed. Takes as long where there is no hash.
pub async fn verify(password: String, hash: Option<String>) -> bool {
    if password.chars().count() > *LENGTH.end() {
        return false;
    }
    let Ok(_turn) = AT_ONCE.acquire().await else { return false };
    let verified = tokio::task::spawn_blocking(move || {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.clone());
        let same = Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok();
        known && same
    });
    verified.await.unwrap_or(false)
}

fn hash_now(password: &[u8]) -> Option<String> {
    Argon2::default().hash_password_with_salt(password, &random::<16>()).ok().map(|hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_is_right() {
        let kept = hash("correct horse battery".into()).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(verify("correct horse battery".into(), Some(kept.clone())).await);
        assert!(!verify("correct horse battery ".into(), Some(kept.clone())).await);
        assert!(!verify(String::new(), Some(kept)).await);
        assert!(!verify("correct horse battery".into(), None).await);
        assert!(!verify("anything".into(), Some("no hash".into())).await);
    }

    #[tokio::test]
    async fn lengths_are_bounded() {
        assert_eq!(hash("short".into()).await, Err(PasswordError::Length));
        assert_eq!(hash("x".repeat(201)).await, Err(PasswordError::Length));
    }
}
