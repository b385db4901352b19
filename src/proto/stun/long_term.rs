//! Long-term credentials (RFC 8489 section 9.2): user name and password, of which a server sees the name and a proof.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use ring::hmac;

use super::{
    FINGERPRINT, FINGERPRINT_XOR, HEADER, MAGIC_COOKIE, MESSAGE_INTEGRITY, TransactionId, crc32, mask,
};
use crate::address::Credentials;

/// USERNAME (section 14.3).
pub const USERNAME: u16 = 0x0006;
/// REALM (section 14.9).
pub const REALM: u16 = 0x0014;
/// NONCE (section 14.10).
pub const NONCE: u16 = 0x0015;

/// Those that a secret shared with the server gives until `expires`, in seconds since 1970 (the TURN REST API draft,
/// draft-uberti-behave-turn-rest-00 section 2.2). `None`: the secret is empty.
pub fn time_limited(secret: &str, expires: i64) -> Option<Credentials> {
    let username = expires.to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let password = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    if secret.is_empty() { None } else { Credentials::new(username, password) }
}

/// What signs messages: as good as the password, and not shown either.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl Key {
    /// Of these credentials in this realm: MD5 of name, realm and password (section 9.2.2).
    pub fn of(credentials: &Credentials, realm: &[u8]) -> Self {
        let mut hash = Md5::new();
        hash.update(credentials.username().as_bytes());
        hash.update(b":");
        hash.update(realm);
        hash.update(b":");
        hash.update(credentials.password().as_bytes());
        Self(hash.finalize().into())
    }

    /// The octets, for [`super::Message::integrity`].
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Puts a message together, attribute by attribute.
#[derive(Debug)]
pub struct Writer {
    octets: Vec<u8>,
    id: TransactionId,
}

impl Writer {
    /// A request of a method (section 5).
    pub fn request(method: u16, id: TransactionId) -> Self {
        // The class's bits lie among those of the method; of a request both are 0.
        let kind = (method & 0x000F) | (method & 0x0070) << 1 | (method & 0x0F80) << 2;
        let mut octets = Vec::with_capacity(256);
        octets.extend(kind.to_be_bytes());
        octets.extend([0, 0]);
        octets.extend(MAGIC_COOKIE.to_be_bytes());
        octets.extend(id.0);
        Self { octets, id }
    }

    /// Adds an attribute with its padding (section 14). One that is longer than an attribute can be is cut off.
    pub fn add(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
        let value = value.get(..usize::from(len)).unwrap_or(value);
        self.octets.extend(kind.to_be_bytes());
        self.octets.extend(len.to_be_bytes());
        self.octets.extend(value);
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
    }

    /// Adds an address, masked (section 14.2).
    pub fn add_xored_address(&mut self, kind: u16, address: SocketAddr) {
        let masked = mask(self.id, address);
        let mut value = vec![0, if masked.is_ipv4() { 1 } else { 2 }];
        value.extend(masked.port().to_be_bytes());
        match masked.ip() {
            IpAddr::V4(ip) => value.extend(ip.octets()),
            IpAddr::V6(ip) => value.extend(ip.octets()),
        }
        self.add(kind, &value);
    }

    /// Adds MESSAGE-INTEGRITY by this key (section 14.5).
    pub fn sign(&mut self, key: &Key) {
        self.set_length(24);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key.0);
        let tag = hmac::sign(&key, &self.octets);
        self.add(MESSAGE_INTEGRITY, tag.as_ref());
    }

    /// The message, ended by FINGERPRINT (section 14.7).
    pub fn finish(mut self) -> Vec<u8> {
        self.set_length(8);
        let fingerprint = crc32(&self.octets) ^ FINGERPRINT_XOR;
        self.add(FINGERPRINT, &fingerprint.to_be_bytes());
        self.octets
    }

    /// The message as it stands, for tests of vectors without FINGERPRINT.
    #[cfg(test)]
    fn bare(mut self) -> Vec<u8> {
        self.set_length(0);
        self.octets
    }

    /// The length with `more` octets to come.
    fn set_length(&mut self, more: usize) {
        let length = u16::try_from(self.octets.len() + more - HEADER).unwrap_or(u16::MAX);
        if let Some(field) = self.octets.get_mut(2..4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Checked, Class, Message};
    use super::*;

    /// RFC 5769 section 2.4: its name, nonce and realm, the password after SASLprep.
    const ID: [u8; 12] = [0x78, 0xad, 0x34, 0x33, 0xc6, 0xad, 0x72, 0xc0, 0x29, 0xda, 0x41, 0x2e];
    const NAME: &str = "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}";
    const SENT_NONCE: &str = "f//499k954d6OL34oL9FSTvy64sA";
    const TAG: [u8; 20] = [
        0xf6, 0x70, 0x24, 0x65, 0x6d, 0xd6, 0x4a, 0x3e, 0x02, 0xb8, 0xe0, 0x71, 0x2e, 0x85, 0xc9, 0xa2, 0x8c,
        0xa8, 0x96, 0x66,
    ];

    #[test]
    fn the_vector_of_rfc_5769_comes_out_to_the_octet() {
        let credentials = Credentials::new(NAME, "TheMatrIX").unwrap();
        let key = Key::of(&credentials, b"example.org");
        let mut writer = Writer::request(1, TransactionId(ID));
        writer.add(USERNAME, NAME.as_bytes());
        writer.add(NONCE, SENT_NONCE.as_bytes());
        writer.add(REALM, b"example.org");
        writer.sign(&key);
        let octets = writer.bare();
        assert_eq!(octets[octets.len() - 20..], TAG);
        assert_eq!(octets[..4], [0, 1, 0, 0x60]);
        let message = Message::parse(&octets).unwrap();
        assert_eq!(message.integrity(key.expose()), Checked::Fits);
        assert_eq!(message.integrity(b"another"), Checked::Differs);
    }

    #[test]
    fn a_written_request_is_read_again() {
        for text in ["192.0.2.1:5", "[2001:db8::1]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut writer = Writer::request(0x009, TransactionId([9; 12]));
            writer.add_xored_address(0x0012, address);
            let octets = writer.finish();
            let message = Message::parse(&octets).unwrap();
            assert_eq!((message.class, message.method), (Class::Request, 0x009));
            assert_eq!(message.xored_address(0x0012), Some(address));
            assert_eq!(message.fingerprint(), Checked::Fits);
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials::new("alice", "hunter2").unwrap();
        let shown = format!("{credentials:?} {:?}", Key::of(&credentials, b"realm"));
        assert_eq!(shown, "Credentials(..) Key(..)");
        assert_eq!(Credentials::new("", "x"), None);
        assert_eq!(Credentials::new("x", ""), None);
        assert_eq!(time_limited("", 5), None);
    }
}
