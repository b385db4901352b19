//! An authority of the lab's own that vouches for its servers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use time::{Duration, OffsetDateTime};

/// It issues certificates; a program trusts it that is shown its file.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// One that calls itself so.
    pub(super) fn new(name: &str) -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).map_err(io::Error::other)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// A server that shows a certificate for `name`, valid from and to so many days from now.
    pub(super) fn server(&self, name: &str, days: (i64, i64)) -> io::Result<Arc<ServerConfig>> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, name);
        let now = OffsetDateTime::now_utc();
        params.not_before = now + Duration::days(days.0);
        params.not_after = now + Duration::days(days.1);
        let own = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], key.into())
            .map_err(io::Error::other)?;
        Ok(Arc::new(config))
    }
}

/// Writes what a computer trusts that trusts these.
pub(super) fn trust(authorities: &[&Authority], folder: &Path) -> io::Result<PathBuf> {
    let file = folder.join("trusted.pem");
    let text: String = authorities.iter().map(|authority| authority.pem.as_str()).collect();
    std::fs::write(&file, text)?;
    Ok(file)
}
