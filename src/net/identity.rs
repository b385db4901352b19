//! Who this end is: a certificate and its key, from files in production, self-made for development.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::trust::provider;
use crate::address::Fingerprint;

/// A certificate chain and the key to its first certificate. Debug output shows the fingerprint alone.
pub struct ServerIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no PEM, or holds nothing of the kind.
    #[error("{} holds no {wanted} in PEM: {source}", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Certificate and key do not belong together, or the key is of an unknown kind.
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl Clone for ServerIdentity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl ServerIdentity {
    /// Reads a certificate chain and a key from PEM files.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, is no PEM, or holds nothing of the kind.
    pub fn from_files(certificates: &Path, key: &Path) -> Result<Self, IdentityError> {
        let bytes = read(certificates)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|source| pem_error(certificates, "certificate", source))?;
        if chain.is_empty() {
            return Err(pem_error(certificates, "certificate", pem::Error::NoItemsFound));
        }
        let key_bytes = read(key)?;
        let key = PrivateKeyDer::from_pem_slice(&key_bytes)
            .map_err(|source| pem_error(key, "private key", source))?;
        Ok(Self { chain, key })
    }

    /// Makes a certificate for these names and addresses. Whoever wants to trust it pins its fingerprint.
    ///
    /// # Errors
    ///
    /// When a name cannot stand in a certificate.
    pub fn self_made(names: impl Into<Vec<String>>) -> Result<Self, IdentityError> {
        let made = rcgen::generate_simple_self_signed(names)?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Ok(Self { chain: vec![made.cert.into()], key: key.into() })
    }

    /// Takes a chain and a key that the caller has.
    pub fn from_parts(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        Self { chain, key }
    }

    /// The fingerprint of the end-entity certificate; that of nothing for an empty chain, which no server can use.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.chain.first().map_or(&[], |certificate| certificate))
    }

    /// Certificate and key as a resolver hands them out.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Unusable`].
    pub(super) fn certified(&self) -> Result<CertifiedKey, IdentityError> {
        Ok(CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &provider())?)
    }

    /// A TLS server configuration that offers these protocols. TLS 1.3 only where `tls13_only` (QUIC knows no other).
    ///
    /// # Errors
    ///
    /// [`IdentityError::Unusable`] when certificate and key do not belong together.
    pub fn server_config(
        &self,
        alpn: &[&[u8]],
        tls13_only: bool,
    ) -> Result<Arc<ServerConfig>, IdentityError> {
        let versions: &[_] = if tls13_only { &[&rustls::version::TLS13] } else { rustls::ALL_VERSIONS };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        // Nothing is read before the handshake has shown where a client is: what answers early (`begun`) rests on it.
        config.max_early_data_size = 0;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerIdentity({})", self.fingerprint())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })
}

fn pem_error(path: &Path, wanted: &'static str, source: pem::Error) -> IdentityError {
    IdentityError::Pem { path: path.to_owned(), wanted, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_files_give_the_identity_they_were_made_from() {
        let made = rcgen::generate_simple_self_signed(vec!["probe.example".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let identity = ServerIdentity::from_files(&certificate, &key).unwrap();
        assert_eq!(identity.fingerprint(), Fingerprint::of(made.cert.der()));
        identity.server_config(&[b"greenroom/1"], true).unwrap();
        assert_eq!(format!("{identity:?}"), format!("ServerIdentity({})", identity.fingerprint()));

        let swapped = ServerIdentity::from_files(&key, &certificate).unwrap_err();
        assert!(matches!(swapped, IdentityError::Pem { wanted: "certificate", .. }), "{swapped}");
        let missing = ServerIdentity::from_files(&folder.path().join("none.pem"), &key).unwrap_err();
        assert!(matches!(missing, IdentityError::Read { .. }), "{missing}");
    }

    #[test]
    fn a_foreign_key_is_told() {
        let (one, other) = (self_made(), self_made());
        let mixed = ServerIdentity::from_parts(one.chain, other.key);
        assert!(matches!(mixed.server_config(&[], true), Err(IdentityError::Unusable(_))));
    }

    fn self_made() -> ServerIdentity {
        ServerIdentity::self_made(["localhost".to_owned()]).unwrap()
    }
}
