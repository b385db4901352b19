//! TLS handshakes with whoever is there, whatever certificate is shown: it is kept, to be judged afterwards.
//!
//! That the other end holds the certificate's key is asked for all the same. Nothing secret may go over such a connection.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::trust::provider;

/// What a handshake brought.
#[derive(Debug)]
pub struct Witnessed<S> {
    /// The connection.
    pub stream: TlsStream<S>,
    /// What was agreed on.
    pub agreed: Agreed,
}

/// What two ends agreed on, and the certificates shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agreed {
    /// `TLS 1.3`.
    pub version: Option<String>,
    /// The cipher suite.
    pub cipher: Option<String>,
    /// The application protocol.
    pub alpn: Option<String>,
    /// The certificates, the other end's own first.
    pub chain: Vec<CertificateDer<'static>>,
}

/// Why a handshake did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFailure {
    /// What comes back is no TLS.
    #[error("what it sends back is no TLS")]
    NotTls,
    /// None of the application protocols offered is spoken.
    #[error("it speaks none of the protocols offered")]
    NoProtocol,
    /// The other end, or this one, does not go on.
    #[error("{0}")]
    Refused(String),
    /// It was broken off.
    #[error("the connection was broken off")]
    Reset,
    /// Nothing came in time.
    #[error("nothing came back")]
    Silent,
    /// The name cannot stand in a handshake.
    #[error("{0} is not a valid host name")]
    Name(String),
}

/// Where the certificates will be found after the handshake.
#[derive(Debug, Clone, Default)]
pub struct Shown(Arc<Mutex<Vec<CertificateDer<'static>>>>);

impl Shown {
    /// The certificates, the other end's own first; empty before they came.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A configuration that takes every certificate, and where they will be. Sessions are not resumed: every handshake is a whole one.
pub fn client_config(alpn: &[&[u8]], tls13_only: bool) -> (ClientConfig, Shown) {
    let versions: &[_] = if tls13_only { &[&rustls::version::TLS13] } else { rustls::ALL_VERSIONS };
    let shown = Shown::default();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("ring has cipher suites for every version of TLS")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Witness(shown.clone())))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    (config, shown)
}

/// Shakes hands on a connection within `patience`.
///
/// # Errors
///
/// A [`HandshakeFailure`] for each way to fail.
pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    name: &str,
    alpn: &[&[u8]],
    patience: Duration,
) -> Result<Witnessed<S>, HandshakeFailure> {
    let server_name =
        ServerName::try_from(name.to_owned()).map_err(|_| HandshakeFailure::Name(name.to_owned()))?;
    let (config, shown) = client_config(alpn, false);
    let connecting = TlsConnector::from(Arc::new(config)).connect(server_name, stream);
    let stream = tokio::time::timeout(patience, connecting)
        .await
        .map_err(|_| HandshakeFailure::Silent)?
        .map_err(|error| reason(&error))?;
    let agreed = agreed(stream.get_ref().1, shown.chain());
    Ok(Witnessed { stream, agreed })
}

fn agreed(connection: &ClientConnection, chain: Vec<CertificateDer<'static>>) -> Agreed {
    Agreed {
        version: connection.protocol_version().map(version_name),
        cipher: connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str().map(str::to_owned)),
        alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        chain,
    }
}

fn version_name(version: ProtocolVersion) -> String {
    match version {
        ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
        other => format!("{other:?}"),
    }
}

fn reason(error: &io::Error) -> HandshakeFailure {
    use rustls::{AlertDescription, Error};

    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        // Whatever it is that answers, it is no TLS.
        Some(Error::InvalidMessage(_)) => HandshakeFailure::NotTls,
        Some(
            Error::AlertReceived(AlertDescription::NoApplicationProtocol) | Error::NoApplicationProtocol,
        ) => HandshakeFailure::NoProtocol,
        Some(other) => HandshakeFailure::Refused(other.to_string()),
        None => match super::tcp::TcpFailure::of(error) {
            super::tcp::TcpFailure::Reset => HandshakeFailure::Reset,
            super::tcp::TcpFailure::Silent => HandshakeFailure::Silent,
            _ => HandshakeFailure::Refused(error.to_string()),
        },
    }
}

#[derive(Debug)]
struct Witness(Shown);

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = [certificate].into_iter().chain(intermediates);
        let chain = chain.map(|certificate| certificate.clone().into_owned()).collect();
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        Ok(ServerCertVerified::assertion())
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
