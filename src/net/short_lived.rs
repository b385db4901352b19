//! The certificate that browsers accept by its hash: WebTransport's `serverCertificateHashes` takes self-made ECDSA certificates that
//! are good for 14 days at most (W3C WebTransport §6.9). It is made anew well before it ends.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::identity::{IdentityError, ServerIdentity};
use super::trust::provider;
use crate::address::Fingerprint;

/// From its first day to its last one: a day before now, since clocks differ, and 13 in all, which is less than the 14 that are allowed.
const DAYS: i64 = 13;
/// After so long the next one is made. Whoever was given the hash of the one before has more than a day left to use it.
const RENEW_AFTER: SignedDuration = SignedDuration::from_hours(24 * 10);

/// Shows browsers a short-lived certificate and everybody else the identity, on one port.
#[derive(Debug)]
pub struct ForBrowsers {
    identity: Arc<CertifiedKey>,
    current: RwLock<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    key: Arc<CertifiedKey>,
    hash: Fingerprint,
    made: Timestamp,
}

impl ForBrowsers {
    /// Makes a certificate for the time from now on.
    ///
    /// # Errors
    /// When none can be made, or the identity cannot be used.
    pub fn start(identity: &ServerIdentity, now: Timestamp) -> Result<Arc<Self>, IdentityError> {
        let identity = Arc::new(identity.certified()?);
        Ok(Arc::new(Self { identity, current: RwLock::new(make(now)?) }))
    }

    /// The SHA-256 of the certificate that browsers are shown.
    pub fn hash(&self) -> Fingerprint {
        self.current.read().unwrap_or_else(PoisonError::into_inner).hash
    }

    /// Makes the next one where its time has come; whether it has.
    ///
    /// # Errors
    /// When none can be made; the one before stays.
    pub fn renew(&self, now: Timestamp) -> Result<bool, IdentityError> {
        let made = self.current.read().unwrap_or_else(PoisonError::into_inner).made;
        // Also where the wall clock was set back: the certificate would not be good yet.
        let is_good = made <= now && now.duration_since(made) < RENEW_AFTER;
        if is_good {
            return Ok(false);
        }
        let next = make(now)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(true)
    }

    /// A TLS 1.3 server configuration that offers these protocols.
    ///
    /// # Errors
    /// [`IdentityError::Unusable`].
    pub fn server_config(self: &Arc<Self>, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, IdentityError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        // Nothing is read before the handshake has shown where a client is: what answers early (`begun`) rests on it.
        config.max_early_data_size = 0;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for ForBrowsers {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let browser = hello.alpn().is_some_and(|mut names| names.any(|name| name == super::quic::H3));
        Some(match browser {
            true => Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).key),
            false => Arc::clone(&self.identity),
        })
    }
}

fn make(now: Timestamp) -> Result<Current, IdentityError> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = rcgen::CertificateParams::new(vec!["greenroom.invalid".to_owned()])?;
    let first = Zoned::new(now, TimeZone::UTC).date().saturating_sub(jiff::Span::new().days(1));
    let last = first.saturating_add(jiff::Span::new().days(DAYS));
    (params.not_before, params.not_after) = (midnight(first), midnight(last));
    let certificate = CertificateDer::from(params.self_signed(&key)?);
    let hash = Fingerprint::of(&certificate);
    let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let identity = ServerIdentity::from_parts(vec![certificate], secret);
    Ok(Current { key: Arc::new(identity.certified()?), hash, made: now })
}

fn midnight(day: jiff::civil::Date) -> time::OffsetDateTime {
    let month = u8::try_from(day.month()).unwrap_or(1);
    rcgen::date_time_ymd(i32::from(day.year()), month, u8::try_from(day.day()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn identity() -> ServerIdentity {
        ServerIdentity::self_made(["localhost".to_owned()]).unwrap()
    }

    #[test]
    fn browsers_would_accept_it_at_every_hour() {
        for now in
            ["2026-11-29T00:00:00Z", "2026-11-29T23:59:59Z", "2028-02-29T12:00:00Z", "2026-12-31T23:00:00Z"]
        {
            let now = at(now);
            let made = make(now).unwrap();
            let (_, read) = X509Certificate::from_der(&made.key.cert[0]).unwrap();
            let (from, to) = (read.validity().not_before.timestamp(), read.validity().not_after.timestamp());
            assert!(to - from <= 14 * 86_400, "{now}");
            assert!(from <= now.as_second() - 3_600, "{now}: whose clock is an hour behind");
            let last_use = now.checked_add(RENEW_AFTER).unwrap().as_second() + 86_400;
            assert!(to >= last_use, "{now}: it is used for ten days, and its hash a day longer");
            assert_eq!(read.signature_algorithm.algorithm.to_id_string(), "1.2.840.10045.4.3.2");
        }
    }

    #[test]
    fn it_is_renewed_in_time_and_after_a_clock_that_was_ahead() {
        let now = at("2026-11-29T10:00:00Z");
        let shown = ForBrowsers::start(&identity(), now).unwrap();
        let first = shown.hash();
        assert!(!shown.renew(now.checked_add(SignedDuration::from_hours(239)).unwrap()).unwrap());
        assert_eq!(shown.hash(), first);
        assert!(shown.renew(now.checked_add(SignedDuration::from_hours(240)).unwrap()).unwrap());
        let second = shown.hash();
        assert_ne!(second, first);
        assert!(shown.renew(now).unwrap());
        assert_ne!(shown.hash(), second);
    }
}
