//! Who this agent is: its Ed25519 key, made here and never sent, and where it enrolled.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A private key. Debug output does not show it.
pub struct Key {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why there is no key, or no enrollment.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} is damaged; enroll this computer again: greenroom agent enroll --again", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// Others may read the key.
    #[error("{} can be read by others on this computer, so it is no secret any more; enroll this computer again: greenroom agent enroll --again", path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// The system has no random source.
    #[error("this system gives no random numbers, so no key can be made")]
    NoRandom,
}

impl Key {
    /// Makes a key.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn make() -> Result<Self, IdentityError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| IdentityError::NoRandom)?;
        Self::of(seed).ok_or(IdentityError::NoRandom)
    }

    fn of(seed: [u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        Some(Self { seed, pair })
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        bytes
    }

    /// The public half in base64url.
    pub fn public_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.public())
    }

    /// A signature in base64url.
    pub fn sign(&self, message: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.sign(message).as_ref())
    }

    /// Reads a key that [`Self::keep`] kept. `None`: there is none.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or others may read it.
    pub fn read(path: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(text) = read(path)? else { return Ok(None) };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(path).map_err(|source| file(path, source))?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(IdentityError::Open { path: path.to_owned() });
            }
        }
        let seed = URL_SAFE_NO_PAD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        seed.and_then(Self::of).map(Some).ok_or_else(|| IdentityError::Damaged { path: path.to_owned() })
    }

    /// Keeps it in a file for this user alone. When it returns, it is on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, path: &Path) -> Result<(), IdentityError> {
        replace(path, &URL_SAFE_NO_PAD.encode(self.seed))
    }
}

/// Where this computer enrolled, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The server's address, with its fingerprint where one was given.
    pub server: String,
    /// What this agent is called there.
    pub agent: Uuid,
}

impl Enrolled {
    /// Reads what [`Self::keep`] kept. `None`: this computer did not enroll.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn read(path: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(text) = read(path)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|_| IdentityError::Damaged { path: path.to_owned() })
    }

    /// Keeps it. When it returns, it is on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, path: &Path) -> Result<(), IdentityError> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        replace(path, &text)
    }
}

fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(IdentityError::Damaged { path: path.to_owned() })
        }
        Err(source) => Err(file(path, source)),
    }
}

fn file(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::File { path: path.to_owned(), source }
}

/// Puts a text in a file's place, whole or not at all, for this user alone. When it returns, it is on the disk.
///
/// # Errors
/// When it cannot be written; the file is then as it was.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), IdentityError> {
    let write = || {
        let beside = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&beside)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        #[cfg(unix)]
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|source| file(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_for_this_user_alone_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(Key::read(&path).unwrap().is_none());
        let key = Key::make().unwrap();
        key.keep(&path).unwrap();
        assert_eq!(Key::read(&path).unwrap().unwrap().public(), key.public());
        assert_ne!(Key::make().unwrap().public(), key.public());
        assert!(!format!("{key:?}").contains(&fs::read_to_string(&path).unwrap()[..8]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(Key::read(&path), Err(IdentityError::Open { .. })));
        }
    }

    #[test]
    fn what_is_damaged_is_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        replace(&path, "not a key").unwrap();
        assert!(matches!(Key::read(&path), Err(IdentityError::Damaged { .. })));
        assert!(matches!(Enrolled::read(&path), Err(IdentityError::Damaged { .. })));
        let enrolled = Enrolled { server: "https://x.example".into(), agent: Uuid::from_u128(1) };
        enrolled.keep(&path).unwrap();
        assert_eq!(Enrolled::read(&path).unwrap(), Some(enrolled));
    }
}
