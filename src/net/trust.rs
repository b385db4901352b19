//! Who the other end is: certificates checked, pinned, or accepted and marked as unverified.
//!
//! A measurement may run against an endpoint with a self-made certificate; the report then says `unverified`, and no token
//! is sent there. Proof that the other end holds the certificate's key is always asked for.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::address::Fingerprint;

/// Whom to believe.
#[derive(Debug, Clone)]
pub struct Trust {
    /// By what the certificate is judged.
    pub anchor: Anchor,
    /// Whether a certificate that no root vouches for is accepted and marked. A pin that does not match never is.
    pub allow_unverified: bool,
}

/// By what a certificate is judged.
#[derive(Debug, Clone)]
pub enum Anchor {
    /// The roots that this system trusts.
    System,
    /// These roots.
    Roots(Arc<RootCertStore>),
    /// One certificate, known by its fingerprint.
    Pin(Fingerprint),
}

impl Trust {
    /// For measuring: pinned when there is a pin, else the system's roots, unverified ends accepted and marked.
    pub fn measuring(pin: Option<Fingerprint>) -> Self {
        Self { anchor: pin.map_or(Anchor::System, Anchor::Pin), allow_unverified: true }
    }

    /// For anything that carries a secret: the system's roots or nothing.
    pub fn strict() -> Self {
        Self { anchor: Anchor::System, allow_unverified: false }
    }
}

/// Who the other end has shown to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A root vouches for its name.
    Verified(Fingerprint),
    /// It has the pinned certificate.
    Pinned(Fingerprint),
    /// Nobody vouches for it.
    Unverified {
        /// Its certificate.
        fingerprint: Fingerprint,
        /// Why the roots do not vouch for it.
        reason: String,
    },
}

impl Identity {
    /// Whether a token may be sent there.
    pub fn is_verified(&self) -> bool {
        !matches!(self, Self::Unverified { .. })
    }

    /// The fingerprint of its certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Verified(fingerprint) | Self::Pinned(fingerprint) => *fingerprint,
            Self::Unverified { fingerprint, .. } => *fingerprint,
        }
    }
}

/// Why a certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not the pinned one.
    #[error(
        "the endpoint has another certificate than the pinned one: {found}. If it was renewed, pin the new one."
    )]
    Pin {
        /// The fingerprint that it has.
        found: Fingerprint,
    },
    /// No root vouches for it and nothing less is allowed.
    #[error("the endpoint's certificate cannot be trusted: {reason}")]
    Untrusted {
        /// What is wrong with it.
        reason: String,
    },
}

/// Where the verdict on the other end's certificate will be found after the handshake.
#[derive(Debug, Clone, Default)]
pub(super) struct Finding(Arc<Mutex<Option<Result<Identity, Refusal>>>>);

impl Finding {
    pub(super) fn take(&self) -> Option<Result<Identity, Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, finding: Result<Identity, Refusal>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(finding);
    }
}

/// A TLS client configuration for one connection, and where its finding will be.
///
/// TLS 1.3 only where `tls13_only` (QUIC knows no other).
pub(super) fn client_config(trust: &Trust, alpn: &[&[u8]], tls13_only: bool) -> (ClientConfig, Finding) {
    let versions: &[_] = if tls13_only { &[&rustls::version::TLS13] } else { rustls::ALL_VERSIONS };
    let finding = Finding::default();
    let verifier = Verifier { trust: trust.clone(), finding: finding.clone() };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("ring has cipher suites for every version of TLS")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    (config, finding)
}

/// The one provider of cryptography in this program.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

/// The roots that this system trusts; read once. What cannot be read is left out: certificates then show as unverified.
pub(super) fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "a root certificate cannot be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    }))
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    finding: Finding,
}

impl Verifier {
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<Identity, Refusal> {
        let found = Fingerprint::of(certificate);
        let roots = match &self.trust.anchor {
            Anchor::Pin(pin) if *pin == found => return Ok(Identity::Pinned(found)),
            Anchor::Pin(_) => return Err(Refusal::Pin { found }),
            Anchor::System => system_roots(),
            Anchor::Roots(roots) => Arc::clone(roots),
        };
        let checked = WebPkiServerVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| error.to_string())
            .and_then(|verifier| {
                verifier
                    .verify_server_cert(certificate, intermediates, name, ocsp, now)
                    .map_err(|error| error.to_string())
            });
        match checked {
            Ok(_) => Ok(Identity::Verified(found)),
            Err(reason) if self.trust.allow_unverified => {
                Ok(Identity::Unverified { fingerprint: found, reason })
            }
            Err(reason) => Err(Refusal::Untrusted { reason }),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let finding = self.judge(certificate, intermediates, name, ocsp, now);
        let accepted = finding.is_ok();
        self.finding.set(finding);
        if accepted {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
