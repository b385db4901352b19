//! What a chain of certificates says and whether it holds: everything that is wrong with it, not only the first thing.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use greenroom_reports::schema::{Certificate, CertificateFault, Interception, Value};
use jiff::Timestamp;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use super::trust::{provider, system_roots};
use crate::address::Fingerprint;

/// Names of a certificate that are kept.
const MOST_NAMES: usize = 5;
/// Characters of somebody's name that are kept.
const LONGEST_NAME: usize = 200;
/// Certificates of a chain that are looked at: no public one has half as many.
const LONGEST_CHAIN: usize = 10;

/// What a chain came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The certificates, the other end's own first.
    pub chain: Vec<Certificate>,
    /// Everything that is wrong with it; empty when it holds.
    pub faults: Vec<CertificateFault>,
    /// What suggests that somebody on the way opens what is encrypted.
    pub interception: Value<Interception>,
    /// Whole days until the other end's own certificate ends, rounded down.
    pub days_left: Option<i64>,
}

/// Programs and devices that open encrypted connections, and what their issuers are called. From their makers' manuals on how to
/// install these as roots, 2026-11.
const PRODUCTS: &[(&str, &[&str])] = &[
    ("AdGuard", &["AdGuard Personal CA"]),
    ("Avast or AVG", &["avast! Web/Mail Shield", "Avast Web/Mail Shield", "AVG Web/Mail Shield"]),
    ("Barracuda", &["Barracuda"]),
    ("Bitdefender", &["Bitdefender Personal CA", "Bitdefender CA SSL"]),
    ("Blue Coat or Symantec ProxySG", &["Blue Coat", "ProxySG"]),
    ("Burp", &["PortSwigger"]),
    ("Charles", &["Charles Proxy"]),
    ("Check Point", &["Check Point"]),
    ("Cisco Umbrella or Secure Access", &["Cisco Umbrella", "Cisco Secure Access"]),
    ("Cloudflare Gateway", &["Gateway CA - Cloudflare"]),
    ("ESET", &["ESET SSL Filter CA"]),
    ("Fiddler", &["DO_NOT_TRUST_FiddlerRoot", "Fiddler Root"]),
    ("Forcepoint or Websense", &["Forcepoint", "Websense"]),
    ("Fortinet FortiGate", &["Fortinet", "FortiGate", "FGT"]),
    ("GoGuardian", &["GoGuardian"]),
    ("iboss", &["iboss"]),
    ("Kaspersky", &["Kaspersky Anti-Virus Personal Root", "Kaspersky Web Anti-Virus"]),
    ("Lightspeed", &["Lightspeed"]),
    ("Menlo Security", &["Menlo Security"]),
    ("mitmproxy", &["mitmproxy"]),
    ("Netskope", &["goskope", "Netskope"]),
    ("Norton", &["Norton Web/Mail Shield"]),
    ("Palo Alto Networks", &["Palo Alto"]),
    ("Securly", &["Securly"]),
    ("Skyhigh or McAfee Web Gateway", &["Skyhigh", "McAfee Web Gateway"]),
    ("Smoothwall", &["Smoothwall"]),
    ("SonicWall", &["SonicWall", "SonicWALL"]),
    ("Sophos", &["Sophos SSL CA", "Sophos"]),
    ("Squid", &["Squid"]),
    ("Trend Micro", &["Trend Micro"]),
    ("Untangle", &["Untangle"]),
    ("WatchGuard", &["WatchGuard"]),
    ("Zscaler", &["Zscaler"]),
];

/// Judges a chain that was shown under this name, at this time, by the roots that this system trusts.
pub fn judge(chain: &[CertificateDer<'_>], name: &str, now: Timestamp) -> Judged {
    let chain = &chain[..chain.len().min(LONGEST_CHAIN)];
    let parsed: Vec<Option<X509Certificate<'_>>> =
        chain.iter().map(|der| parse_x509_certificate(der).ok().map(|(_, parsed)| parsed)).collect();
    let shown: Vec<Certificate> =
        chain.iter().zip(&parsed).map(|(der, parsed)| certificate(der, parsed.as_ref())).collect();
    let faults = faults(chain, parsed.first().and_then(Option::as_ref), name, now);
    let interception = interception(chain, &shown, faults.is_empty(), now);
    let ends = shown.first().and_then(|own| own.not_after);
    let days_left = ends.map(|ends| (ends.as_second() - now.as_second()).div_euclid(86_400));
    Judged { chain: shown, faults, interception, days_left }
}

/// Whether somebody of this name vouches for the chain.
pub fn is_issued_by(chain: &[Certificate], issuer: &str) -> bool {
    let wanted = issuer.to_lowercase();
    chain.iter().any(|certificate| certificate.issuer.to_lowercase().contains(&wanted))
}

fn faults(
    chain: &[CertificateDer<'_>],
    own: Option<&X509Certificate<'_>>,
    name: &str,
    now: Timestamp,
) -> Vec<CertificateFault> {
    let other = |detail: String| CertificateFault::Other { detail };
    let Some((first, intermediates)) = chain.split_first() else {
        return vec![other("no certificate was shown".to_owned())];
    };
    let Some(own) = own else { return vec![other("it cannot be read".to_owned())] };
    let mut faults = Vec::new();
    let (begins, ends) = (point(own.validity().not_before), point(own.validity().not_after));
    match (begins, ends) {
        (_, Some(not_after)) if now > not_after => faults.push(CertificateFault::Expired { not_after }),
        (Some(not_before), _) if now < not_before => {
            faults.push(CertificateFault::NotYetValid { not_before });
        }
        _ => {}
    }
    let parsed = match ParsedCertificate::try_from(first) {
        Ok(parsed) => parsed,
        Err(error) => {
            faults.push(other(error.to_string()));
            return faults;
        }
    };
    let fits =
        ServerName::try_from(name.to_owned()).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok());
    if !fits {
        faults.push(CertificateFault::WrongName { names: names(own).into_iter().take(MOST_NAMES).collect() });
    }
    // Its own dates are told already: whether somebody vouches for it is asked for a time when it held.
    let at = now.clamp(begins.unwrap_or(now), ends.unwrap_or(now).max(begins.unwrap_or(now)));
    if let Err(error) = trusted(&parsed, &system_roots(), intermediates, at) {
        faults.push(distrust(&error, own));
    }
    faults
}

/// Why nobody vouches for it.
fn distrust(error: &rustls::Error, own: &X509Certificate<'_>) -> CertificateFault {
    let self_made = own.subject().as_raw() == own.issuer().as_raw();
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Revoked) => CertificateFault::Revoked,
        // One that vouches for itself cannot be used as an end's own where it also is an authority.
        rustls::Error::InvalidCertificate(_) if self_made => CertificateFault::SelfSigned,
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => CertificateFault::UnknownIssuer,
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => CertificateFault::Other { detail: "a certificate that vouches for it has ended".to_owned() },
        other => CertificateFault::Other { detail: other.to_string() },
    }
}

fn trusted(
    own: &ParsedCertificate<'_>,
    roots: &RootCertStore,
    intermediates: &[CertificateDer<'_>],
    at: Timestamp,
) -> Result<(), rustls::Error> {
    let since = Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(
        own,
        roots,
        intermediates,
        UnixTime::since_unix_epoch(since),
        algorithms,
    )
}

fn interception(
    chain: &[CertificateDer<'_>],
    shown: &[Certificate],
    holds: bool,
    now: Timestamp,
) -> Value<Interception> {
    for certificate in shown {
        if let Some(product) = product(&certificate.issuer) {
            let issuer = certificate.issuer.clone();
            return Value::Measured(Interception::KnownProduct { product: product.to_owned(), issuer });
        }
    }
    let Some((own, intermediates)) = chain.split_first().filter(|_| holds) else {
        return Value::not_tested("nobody that this computer trusts vouches for it, so nothing more tells");
    };
    let public = ParsedCertificate::try_from(own)
        .is_ok_and(|own| trusted(&own, &public_roots(), intermediates, now).is_ok());
    let last = shown.last().map(|last| last.issuer.clone());
    Value::Measured(match last.filter(|_| !public) {
        Some(issuer) => Interception::PrivateIssuer { issuer },
        None => Interception::None,
    })
}

/// The product whose issuer is called so.
fn product(issuer: &str) -> Option<&'static str> {
    let issuer = issuer.to_lowercase();
    let is_named = |part: &&str| holds_word(&issuer, &part.to_lowercase());
    PRODUCTS.iter().find(|(_, parts)| parts.iter().any(is_named)).map(|(product, _)| *product)
}

/// Whether `text` holds `word` and no longer word that begins so.
fn holds_word(text: &str, word: &str) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
    text.match_indices(word).any(|(at, _)| {
        !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + word.len()..].chars().next())
    })
}

/// The roots that browsers ship: those of Mozilla's list.
fn public_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    Arc::clone(ROOTS.get_or_init(read))
}

fn certificate(der: &CertificateDer<'_>, parsed: Option<&X509Certificate<'_>>) -> Certificate {
    let unreadable = || "unreadable".to_owned();
    Certificate {
        subject: parsed.map_or_else(unreadable, |own| person(own.subject())),
        issuer: parsed.map_or_else(unreadable, |own| person(own.issuer())),
        not_before: parsed.and_then(|own| point(own.validity().not_before)),
        not_after: parsed.and_then(|own| point(own.validity().not_after)),
        names: parsed.map_or(0, |own| u64::try_from(names(own).len()).unwrap_or(u64::MAX)),
        key: parsed.map_or_else(unreadable, |own| key(own.public_key())),
        sha256: Fingerprint::of(der).to_string(),
    }
}

/// `CN=…, O=…` as the certificate has it, cut where it is too long.
fn person(name: &X509Name<'_>) -> String {
    let text: String = name.to_string().chars().take(LONGEST_NAME).collect();
    if text.is_empty() { "nobody".to_owned() } else { text }
}

fn point(time: ASN1Time) -> Option<Timestamp> {
    Timestamp::from_second(time.timestamp()).ok()
}

/// The names and addresses that it is for.
fn names(own: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = own.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.chars().take(LONGEST_NAME).collect()),
        GeneralName::IPAddress(octets) => address(octets).map(|address| address.to_string()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(octets).ok().map(IpAddr::from))
}

fn key(key: &SubjectPublicKeyInfo<'_>) -> String {
    // Curves by their object identifiers (RFC 5480 section 2.1.1.1).
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match (key.parsed(), curve.map(|curve| curve.to_id_string()).as_deref()) {
        (Ok(PublicKey::RSA(rsa)), _) => format!("RSA {}", rsa.key_size()),
        (_, Some("1.2.840.10045.3.1.7")) => "EC P-256".to_owned(),
        (_, Some("1.3.132.0.34")) => "EC P-384".to_owned(),
        (_, Some("1.3.132.0.35")) => "EC P-521".to_owned(),
        (Ok(PublicKey::EC(_)), _) => "EC".to_owned(),
        _ => match key.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "Ed25519".to_owned(),
            other => other.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    const NAME: &str = "probe.example";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Valid for the year 2026.
    fn params(names: &[&str], common: &str) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 12, 31);
        params
    }

    /// A chain: its own certificate by an authority of this name.
    fn by_authority(names: &[&str], authority: &str) -> Vec<CertificateDer<'static>> {
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut ca = params(&[], authority);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = ca.self_signed(&ca_key).unwrap();
        let own = params(names, NAME).signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        vec![own.der().clone(), root.der().clone()]
    }

    fn self_made() -> Vec<CertificateDer<'static>> {
        let key = KeyPair::generate().unwrap();
        vec![params(&[NAME], NAME).self_signed(&key).unwrap().der().clone()]
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let chain = by_authority(&["other.example", "192.0.2.1"], "Some CA");
        let names = vec!["other.example".to_owned(), "192.0.2.1".to_owned()];
        let judged = judge(&chain, NAME, at("2027-01-02T00:00:00Z"));
        let not_after = at("2026-12-31T00:00:00Z");
        let wrong = CertificateFault::WrongName { names };
        let expected = [CertificateFault::Expired { not_after }, wrong, CertificateFault::UnknownIssuer];
        assert_eq!(judged.faults, expected);
        assert_eq!(judged.days_left, Some(-2));
        let [own, ca] = &judged.chain[..] else { panic!("{judged:?}") };
        assert_eq!((own.subject.as_str(), own.issuer.as_str()), ("CN=probe.example", "CN=Some CA"));
        assert_eq!((own.names, own.key.as_str(), ca.issuer.as_str()), (2, "EC P-256", "CN=Some CA"));
        assert!(matches!(judged.interception, Value::NotTested { .. }));
    }

    #[test]
    fn one_that_has_not_begun_and_vouches_for_itself() {
        let judged = judge(&self_made(), NAME, at("2025-12-31T00:00:00Z"));
        let not_before = at("2026-01-01T00:00:00Z");
        assert_eq!(
            judged.faults,
            [CertificateFault::NotYetValid { not_before }, CertificateFault::SelfSigned]
        );
        assert_eq!(judged.days_left, Some(365));
    }

    #[test]
    fn addresses_are_names_too() {
        let chain = by_authority(&["192.0.2.1", "2001:db8::1"], "Some CA");
        for name in ["192.0.2.1", "2001:db8::1"] {
            assert_eq!(
                judge(&chain, name, at("2026-06-01T00:00:00Z")).faults,
                [CertificateFault::UnknownIssuer]
            );
        }
    }

    #[test]
    fn what_opens_connections_is_known_by_its_name() {
        let judged =
            judge(&by_authority(&[NAME], "Zscaler Intermediate Root CA"), NAME, at("2026-06-01T00:00:00Z"));
        let Value::Measured(Interception::KnownProduct { product, issuer }) = judged.interception else {
            panic!("{judged:?}")
        };
        assert_eq!((product.as_str(), issuer.as_str()), ("Zscaler", "CN=Zscaler Intermediate Root CA"));
        assert_eq!(product_of("CN=FGT60F1234567, O=Fortinet"), Some("Fortinet FortiGate"));
        assert_eq!(product_of("CN=Squidward Bank, O=Imprint"), None);
        assert_eq!(product_of("CN=E7, O=Let's Encrypt, C=US"), None);
    }

    fn product_of(issuer: &str) -> Option<&'static str> {
        product(issuer)
    }

    #[test]
    fn an_expected_issuer_is_found_whatever_its_case() {
        let judged = judge(&by_authority(&[NAME], "Some CA"), NAME, at("2026-06-01T00:00:00Z"));
        assert!(is_issued_by(&judged.chain, "some ca") && !is_issued_by(&judged.chain, "Other"));
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        for chain in [vec![], vec![CertificateDer::from(vec![1, 2, 3])]] {
            let judged = judge(&chain, NAME, at("2026-06-01T00:00:00Z"));
            assert!(matches!(judged.faults[..], [CertificateFault::Other { .. }]), "{judged:?}");
        }
    }

    #[test]
    fn the_public_roots_are_there() {
        assert!(public_roots().len() > 50);
    }
}
