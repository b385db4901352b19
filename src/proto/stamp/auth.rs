//! Authentication: HMAC-SHA-256 truncated to 128 bits (RFC 8762 §4.4, RFC 8972 §4.8).
//!
//! A session has one [`SessionKey`], handed over on the control stream. Each direction signs with a key of its own, derived
//! from it: a packet bounced back to its sender does not verify, so nobody on the path can pass a request off as a reply.

use std::fmt;

use ring::hmac;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::octets;
use super::packet::Mode;
use super::tlv::{HEADER_LEN, TlvKind, Tlvs};

/// Octets of a truncated HMAC.
pub const TAG_LEN: usize = 16;
/// Octets of the fixed part that its HMAC covers.
const COVERED: usize = 96;

/// The secret of a session: 32 octets from the endpoint's random source. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// Wraps 32 random octets.
    pub const fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The key that signs what the client sends.
    pub fn up(&self) -> MacKey {
        self.derive(b"greenroom/1 stamp up")
    }

    /// The key that signs what the endpoint sends.
    pub fn down(&self) -> MacKey {
        self.derive(b"greenroom/1 stamp down")
    }

    fn derive(&self, label: &[u8]) -> MacKey {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        MacKey::new(hmac::sign(&secret, label).as_ref())
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// A session key that is not 64 hexadecimal digits. The text is not repeated: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session key has 64 hexadecimal digits")]
pub struct BadSessionKey;

impl TryFrom<String> for SessionKey {
    type Error = BadSessionKey;

    fn try_from(text: String) -> Result<Self, BadSessionKey> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(BadSessionKey);
        }
        let mut key = [0; 32];
        for (octet, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| {
                let value = char::from(pair[at]).to_digit(16).ok_or(BadSessionKey)?;
                u8::try_from(value).map_err(|_| BadSessionKey)
            };
            *octet = digit(0)? << 4 | digit(1)?;
        }
        Ok(Self(key))
    }
}

impl From<SessionKey> for String {
    fn from(key: SessionKey) -> Self {
        key.0.iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

/// A key that signs and verifies packets of one direction. Never shown by `Debug`.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

impl MacKey {
    /// Takes key octets as they are: for other STAMP tools. Greenroom's own sessions use [`SessionKey::up`] and
    /// [`SessionKey::down`].
    pub fn new(octets: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, octets))
    }

    /// Signs an authenticated packet in place: first the HMAC TLV (if it has one), then the fixed part.
    ///
    /// A packet without room for the fixed part is left as it is.
    pub fn sign(&self, packet: &mut [u8]) {
        if let Some((covered, tag_at)) = hmac_tlv(packet) {
            let tag = self.tlv_tag(packet, covered);
            packet[tag_at..tag_at + TAG_LEN].copy_from_slice(&tag);
        }
        if packet.len() >= Mode::Authenticated.base_len() {
            let tag = self.tag(&[&packet[..COVERED]]);
            packet[COVERED..COVERED + TAG_LEN].copy_from_slice(&tag);
        }
    }

    /// Whether an authenticated packet is what the holder of the key signed: its fixed part and, where anything but padding
    /// follows, its TLVs (RFC 8972 §4.8 asks for the HMAC TLV then).
    ///
    /// Padding is not covered. Compares in constant time.
    pub fn verify(&self, packet: &[u8]) -> Verified {
        let Some(tag) = octets::<TAG_LEN>(packet, COVERED) else {
            return Verified::Forged;
        };
        if !bool::from(self.tag(&[&packet[..COVERED]]).ct_eq(&tag)) {
            return Verified::Forged;
        }
        match hmac_tlv(packet) {
            Some((covered, tag_at)) => {
                let right = octets::<TAG_LEN>(packet, tag_at)
                    .is_some_and(|tag| bool::from(self.tlv_tag(packet, covered).ct_eq(&tag)));
                if right { Verified::Whole } else { Verified::BaseOnly }
            }
            None if only_padding(packet) => Verified::Whole,
            None => Verified::BaseOnly,
        }
    }

    fn tlv_tag(&self, packet: &[u8], covered_to: usize) -> [u8; TAG_LEN] {
        let base = Mode::Authenticated.base_len();
        self.tag(&[&packet[..4], &packet[base..covered_to]])
    }

    fn tag(&self, parts: &[&[u8]]) -> [u8; TAG_LEN] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        octets(context.sign().as_ref(), 0).expect("SHA-256 has 32 octets")
    }
}

/// What a packet's tags vouch for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Fixed part and TLVs (or there are none).
    Whole,
    /// The fixed part; the TLVs are altered or unsigned (RFC 8972: the I flag).
    BaseOnly,
    /// Nothing.
    Forged,
}

/// Where the first HMAC TLV begins (what it covers ends there) and where its tag lies.
fn hmac_tlv(packet: &[u8]) -> Option<(usize, usize)> {
    let base = Mode::Authenticated.base_len();
    Tlvs::new(packet.get(base..)?).map_while(Result::ok).find_map(|tlv| {
        (tlv.kind == TlvKind::HMAC && tlv.value.len() == TAG_LEN)
            .then(|| (base + tlv.offset, base + tlv.offset + HEADER_LEN))
    })
}

fn only_padding(packet: &[u8]) -> bool {
    packet.get(Mode::Authenticated.base_len()..).is_some_and(|rest| {
        Tlvs::new(rest).all(|tlv| tlv.is_ok_and(|tlv| tlv.kind == TlvKind::EXTRA_PADDING))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::stamp::{ClassOfService, TlvWriter};

    /// RFC 4231 test case 2, truncated: HMAC-SHA-256 with key "Jefe".
    #[test]
    fn tag_is_truncated_hmac_sha_256() {
        let tag = MacKey::new(b"Jefe").tag(&[b"what do ya want ", b"for nothing?"]);
        assert_eq!(
            tag,
            [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7]
        );
    }

    fn signed(key: &MacKey) -> Vec<u8> {
        let mut packet = vec![7; 96];
        packet.extend([0; 16]);
        let mut tlvs = TlvWriter::new(&mut packet);
        tlvs.class_of_service(ClassOfService::request(46));
        tlvs.hmac();
        tlvs.pad_to(172);
        key.sign(&mut packet);
        packet
    }

    #[test]
    fn every_covered_octet_counts() {
        let key = SessionKey::new([3; 32]).up();
        let packet = signed(&key);
        assert_eq!(key.verify(&packet), Verified::Whole);
        for at in 0..packet.len() {
            let mut bad = packet.clone();
            bad[at] ^= 1;
            let expected = match at {
                0..112 => Verified::Forged,
                // Class of Service, 8 octets, then the HMAC TLV, 20, whose own flags are not covered.
                112..=119 | 121..=139 => Verified::BaseOnly,
                // Padding.
                _ => Verified::Whole,
            };
            assert_eq!(key.verify(&bad), expected, "octet {at}");
        }
        assert_eq!(key.verify(&packet[..111]), Verified::Forged);
    }

    #[test]
    fn directions_do_not_verify_each_other() {
        let key = SessionKey::new([3; 32]);
        assert_eq!(key.down().verify(&signed(&key.up())), Verified::Forged);
    }

    #[test]
    fn unsigned_tlvs_are_told_from_signed_ones() {
        let key = MacKey::new(b"k");
        let mut packet = vec![0; 112];
        TlvWriter::new(&mut packet).class_of_service(ClassOfService::request(0));
        key.sign(&mut packet);
        assert_eq!(key.verify(&packet), Verified::BaseOnly);
    }

    #[test]
    fn secrets_do_not_print() {
        let key = SessionKey::new([0xab; 32]);
        assert_eq!(format!("{key:?} {:?}", key.up()), "SessionKey(..) MacKey(..)");
        let text = String::from(key.clone());
        assert_eq!(SessionKey::try_from(text), Ok(key));
        assert_eq!(SessionKey::try_from("zz".repeat(32)), Err(BadSessionKey));
        assert_eq!(SessionKey::try_from("é".repeat(32)), Err(BadSessionKey));
    }
}
