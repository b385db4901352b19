//! STUN (RFC 8489): Binding requests out, their answers in, each one transaction of its own.
//!
//! Only what measuring takes. Binding requests carry FINGERPRINT and no credentials (those of TURN do: [`long_term`]); answers are read with
//! XOR-MAPPED-ADDRESS (MAPPED-ADDRESS of servers that know only RFC 3489), SOFTWARE, ERROR-CODE and FINGERPRINT.

pub mod long_term;
pub mod prober;
#[cfg(test)]
mod vectors;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use flate2::Crc;
use ring::hmac;

/// The port of STUN over UDP (RFC 8489 section 8.1).
pub const PORT: u16 = 3478;

/// What tells STUN from anything else (section 5).
pub(super) const MAGIC_COOKIE: u32 = 0x2112_A442;
const HEADER: usize = 20;
/// XORed into FINGERPRINT (section 14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554E;

const MAPPED_ADDRESS: u16 = 0x0001;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const SOFTWARE: u16 = 0x8022;
const FINGERPRINT: u16 = 0x8028;

/// The method that every server knows (section 3).
pub const BINDING: u16 = 0x001;

/// Names a transaction: 96 bits that nobody can guess (section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// The class of a message (section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A question.
    Request,
    /// What wants no answer.
    Indication,
    /// It worked.
    Success,
    /// It did not.
    Error,
}

/// Why octets are not a STUN message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotStun {
    /// Shorter than a header, or its first bits are not those of STUN.
    #[error("it does not begin like STUN")]
    Header,
    /// Without the magic cookie: something else, or a server of RFC 3489.
    #[error("it has no magic cookie")]
    Cookie,
    /// Its length does not fit that of the datagram.
    #[error("its length is not that of the datagram")]
    Length,
    /// An attribute reaches beyond the end.
    #[error("an attribute reaches beyond its end")]
    Attribute,
}

/// A STUN message whose attributes all lie within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its class.
    pub class: Class,
    /// Its method; Binding is 1.
    pub method: u16,
    /// Its transaction.
    pub id: TransactionId,
    octets: &'a [u8],
}

/// What a check of a message against damage or forgery came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It fits.
    Fits,
    /// It does not.
    Differs,
    /// The message has none.
    Absent,
}

/// An attribute and where it begins in its message.
#[derive(Debug, Clone, Copy)]
struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
    at: usize,
}

impl<'a> Message<'a> {
    /// Reads a message that fills a datagram (section 5), and makes sure that all attributes lie within it (section 14).
    ///
    /// # Errors
    ///
    /// [`NotStun`] says what is wrong.
    pub fn parse(octets: &'a [u8]) -> Result<Self, NotStun> {
        let header = octets.first_chunk::<HEADER>().ok_or(NotStun::Header)?;
        let [k0, k1, l0, l1, c0, c1, c2, c3, id @ ..] = *header;
        let kind = u16::from_be_bytes([k0, k1]);
        if kind & 0xC000 != 0 {
            return Err(NotStun::Header);
        }
        if u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE {
            return Err(NotStun::Cookie);
        }
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if length % 4 != 0 || length + HEADER != octets.len() {
            return Err(NotStun::Length);
        }
        let message = Self { class: class_of(kind), method: method_of(kind), id: TransactionId(id), octets };
        match message.attributes().all(|attribute| attribute.is_some()) {
            true => Ok(message),
            false => Err(NotStun::Attribute),
        }
    }

    /// Whether it is an answer to a Binding request.
    pub fn is_binding_answer(&self) -> bool {
        self.method == BINDING && matches!(self.class, Class::Success | Class::Error)
    }

    /// The address that the request came from: XOR-MAPPED-ADDRESS (section 14.2), else MAPPED-ADDRESS (section 14.1).
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        let xored = self.attribute(XOR_MAPPED_ADDRESS).and_then(|found| address(found.value));
        match xored {
            Some(address) => Some(self.unmask(address)),
            None => self.attribute(MAPPED_ADDRESS).and_then(|found| address(found.value)),
        }
    }

    /// The error's number, 300 to 699 (section 14.8).
    pub fn error_code(&self) -> Option<u16> {
        let [_, _, class, number, ..] = *self.attribute(ERROR_CODE)?.value else { return None };
        let class = class & 7;
        ((3..=6).contains(&class) && number < 100).then(|| u16::from(class) * 100 + u16::from(number))
    }

    /// The octets of the first attribute of a kind, without padding.
    pub fn value(&self, kind: u16) -> Option<&'a [u8]> {
        self.attribute(kind).map(|found| found.value)
    }

    /// An address that is masked as XOR-MAPPED-ADDRESS is (section 14.2), of an attribute of this kind.
    pub fn xored_address(&self, kind: u16) -> Option<SocketAddr> {
        self.value(kind).and_then(address).map(|masked| self.unmask(masked))
    }

    /// An address that is not masked (section 14.1), of an attribute of this kind.
    pub fn plain_address(&self, kind: u16) -> Option<SocketAddr> {
        self.value(kind).and_then(address)
    }

    /// What the other end calls itself, where that is UTF-8 (section 14.14). Not to be shown uncleaned.
    pub fn software(&self) -> Option<&'a str> {
        std::str::from_utf8(self.attribute(SOFTWARE)?.value).ok()
    }

    /// Whether it arrived undamaged, as its FINGERPRINT tells (section 14.7).
    pub fn fingerprint(&self) -> Checked {
        let Some(found) = self.attribute(FINGERPRINT) else { return Checked::Absent };
        let Some(before) = self.octets.get(..found.at) else { return Checked::Differs };
        let fits = *found.value == (crc32(before) ^ FINGERPRINT_XOR).to_be_bytes()
            && found.at + 8 == self.octets.len();
        if fits { Checked::Fits } else { Checked::Differs }
    }

    /// Whether whoever knows `key` has made it, as its MESSAGE-INTEGRITY tells (section 14.5). For short-term credentials the key is
    /// the password.
    pub fn integrity(&self, key: &[u8]) -> Checked {
        let Some(found) = self.attribute(MESSAGE_INTEGRITY) else { return Checked::Absent };
        // The length counts up to this attribute's end, whatever follows it.
        let covered = u16::try_from(found.at + 24 - HEADER).ok().zip(self.octets.get(..found.at));
        let Some((length, before)) = covered else { return Checked::Differs };
        let mut signed = before.to_vec();
        if let Some(field) = signed.get_mut(2..4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
        match hmac::verify(&key, &signed, found.value) {
            Ok(()) => Checked::Fits,
            Err(_) => Checked::Differs,
        }
    }

    /// The first attribute of a kind; what stands behind MESSAGE-INTEGRITY does not count, except FINGERPRINT (section 14.5).
    fn attribute(&self, kind: u16) -> Option<Attribute<'a>> {
        let mut signed = false;
        for attribute in self.attributes().flatten() {
            if attribute.kind == kind && (!signed || kind == FINGERPRINT) {
                return Some(attribute);
            }
            signed |= attribute.kind == MESSAGE_INTEGRITY;
        }
        None
    }

    /// The attributes in order; `None` once, in place of the first that reaches beyond the end.
    fn attributes(&self) -> impl Iterator<Item = Option<Attribute<'a>>> + use<'a> {
        let octets = self.octets;
        let mut at = HEADER;
        std::iter::from_fn(move || {
            if at >= octets.len() {
                return None;
            }
            let found = read_attribute(octets, at);
            at = found.map_or(octets.len(), |found| at + 4 + found.value.len().next_multiple_of(4));
            Some(found)
        })
    }

    /// Takes the mask off an address: the magic cookie, and for IPv6 the transaction (section 14.2).
    fn unmask(&self, masked: SocketAddr) -> SocketAddr {
        mask(self.id, masked)
    }
}

/// Puts the mask on an address, or takes it off.
fn mask(id: TransactionId, masked: SocketAddr) -> SocketAddr {
    let [c0, c1, c2, c3] = MAGIC_COOKIE.to_be_bytes();
    let port = masked.port() ^ u16::from_be_bytes([c0, c1]);
    let ip: IpAddr = match masked.ip() {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip) ^ MAGIC_COOKIE).into(),
        IpAddr::V6(ip) => {
            let [i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11] = id.0;
            let mask = [c0, c1, c2, c3, i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11];
            Ipv6Addr::from(u128::from(ip) ^ u128::from_be_bytes(mask)).into()
        }
    };
    SocketAddr::new(ip, port)
}

/// Writes a Binding request with FINGERPRINT (section 7.1).
pub fn write_binding_request(id: TransactionId, payload: &mut Vec<u8>) {
    payload.clear();
    payload.extend(BINDING.to_be_bytes());
    // FINGERPRINT alone: 8 octets.
    payload.extend(8_u16.to_be_bytes());
    payload.extend(MAGIC_COOKIE.to_be_bytes());
    payload.extend(id.0);
    let fingerprint = crc32(payload) ^ FINGERPRINT_XOR;
    payload.extend(FINGERPRINT.to_be_bytes());
    payload.extend(4_u16.to_be_bytes());
    payload.extend(fingerprint.to_be_bytes());
}

fn read_attribute(octets: &[u8], at: usize) -> Option<Attribute<'_>> {
    let rest = octets.get(at..)?;
    let ([k0, k1, l0, l1], rest) = rest.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    // Padding counts: it lies within the message too.
    rest.get(..length.next_multiple_of(4))?;
    Some(Attribute { kind: u16::from_be_bytes([*k0, *k1]), value: rest.get(..length)?, at })
}

/// Reads (XOR-)MAPPED-ADDRESS: a zero, the family, the port, the address (section 14.1).
fn address(value: &[u8]) -> Option<SocketAddr> {
    let ([_, family, p0, p1], ip) = value.split_first_chunk::<4>()?;
    let ip: IpAddr = match family {
        1 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        2 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([*p0, *p1])))
}

/// The class's two bits lie at places 4 and 8 of the kind (section 5).
const fn class_of(kind: u16) -> Class {
    match (kind & 0x0100 != 0, kind & 0x0010 != 0) {
        (false, false) => Class::Request,
        (false, true) => Class::Indication,
        (true, false) => Class::Success,
        (true, true) => Class::Error,
    }
}

/// The method's twelve bits lie around them.
const fn method_of(kind: u16) -> u16 {
    (kind & 0x000F) | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2
}

fn crc32(octets: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(octets);
    crc.sum()
}
