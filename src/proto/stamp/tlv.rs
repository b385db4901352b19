//! What may follow the fixed part: TLVs (RFC 8972 §4), standard ones and Greenroom's own.
//!
//! Each TLV has an octet of flags, an octet of type, and two of length, then its value. Greenroom's own use the
//! private-use range 252..=254 of RFC 8972 §5.1, so that a plain reflector copies them with the U flag set and is told from
//! one of ours.

use greenroom_reports::trace::{Media, StreamId};
use greenroom_reports::units::Bitrate;

use super::capacity::CapacityReport;
use super::octets;
use super::time::Timestamp;

/// Octets of flags, type and length.
pub const HEADER_LEN: usize = 4;

/// The type of a TLV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TlvKind(pub u8);

impl TlvKind {
    /// Extra Padding (RFC 8972 §4.1).
    pub const EXTRA_PADDING: Self = Self(1);
    /// Timestamp Information (RFC 8972 §4.3).
    pub const TIMESTAMP_INFO: Self = Self(3);
    /// Class of Service (RFC 8972 §4.4).
    pub const CLASS_OF_SERVICE: Self = Self(4);
    /// Follow-Up Telemetry (RFC 8972 §4.7).
    pub const FOLLOW_UP: Self = Self(7);
    /// HMAC (RFC 8972 §4.8).
    pub const HMAC: Self = Self(8);
    /// Greenroom: the ECN that the reply is to carry, which RFC 8972 §4.4 leaves open. Of the range for experiments (§5.1).
    pub const REPLY_ECN: Self = Self(251);
    /// Greenroom: address validation.
    pub const NONCE: Self = Self(252);
    /// Greenroom: a packet of a one-way stream. Never reflected.
    pub const MEDIA: Self = Self(253);
    /// Greenroom: what a receiver counted in the last intervals of a capacity stage. Never reflected.
    pub const CAPACITY: Self = Self(254);
}

/// The flags of a TLV (RFC 8972 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TlvFlags {
    /// U: nobody has understood it. Set by the sender, cleared by a reflector that does.
    pub unrecognized: bool,
    /// M: its length does not fit its type or the packet.
    pub malformed: bool,
    /// I: its integrity check failed.
    pub integrity: bool,
}

impl TlvFlags {
    /// What a sender sends.
    pub const FROM_SENDER: Self = Self { unrecognized: true, malformed: false, integrity: false };

    /// Reads the octet; the five reserved bits are ignored.
    pub const fn from_octet(octet: u8) -> Self {
        Self { unrecognized: octet & 0x80 != 0, malformed: octet & 0x40 != 0, integrity: octet & 0x20 != 0 }
    }

    /// The octet, reserved bits zero.
    pub const fn to_octet(self) -> u8 {
        (if self.unrecognized { 0x80 } else { 0 })
            | (if self.malformed { 0x40 } else { 0 })
            | (if self.integrity { 0x20 } else { 0 })
    }
}

/// A TLV as it lies in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawTlv<'a> {
    /// Its flags.
    pub flags: TlvFlags,
    /// Its type.
    pub kind: TlvKind,
    /// Its value.
    pub value: &'a [u8],
    /// Where its flags lie, from where [`Tlvs::new`] began.
    pub offset: usize,
}

/// A TLV that does not fit into its packet: nothing after `offset` can be read (RFC 8972: the M flag).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the TLV at octet {offset} reaches past the end of the packet")]
pub struct Malformed {
    /// Where it begins.
    pub offset: usize,
}

/// Walks the TLVs of a packet; ends after the first error.
#[derive(Debug, Clone)]
pub struct Tlvs<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Tlvs<'a> {
    /// Walks what follows the fixed part.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<RawTlv<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let offset = self.at;
        let read = || {
            let [flags, kind, high, low] = octets(self.bytes, offset)?;
            let from = offset + HEADER_LEN;
            let to = from + usize::from(u16::from_be_bytes([high, low]));
            let value = self.bytes.get(from..to)?;
            Some((RawTlv { flags: TlvFlags::from_octet(flags), kind: TlvKind(kind), value, offset }, to))
        };
        if let Some((tlv, next)) = read() {
            self.at = next;
            Some(Ok(tlv))
        } else {
            self.at = self.bytes.len();
            Some(Err(Malformed { offset }))
        }
    }
}

/// Class of Service (RFC 8972 §4.4): what DSCP the reply is to carry, and what DSCP and ECN the request arrived with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassOfService {
    /// DSCP1: what the reply is to carry, 0..=63.
    pub wanted_dscp: u8,
    /// DSCP2: what the request arrived with, 0..=63. Filled in by the reflector.
    pub received_dscp: u8,
    /// ECN: what the request arrived with, 0..=3. Filled in by the reflector.
    pub received_ecn: u8,
    /// RP: the reverse path's policy, 0 when the reply carries what was wanted, 1 when it could not.
    pub reverse_path: u8,
}

impl ClassOfService {
    /// Octets of its value.
    pub const LEN: usize = 4;

    /// What a sender asks for.
    pub const fn request(wanted_dscp: u8) -> Self {
        Self { wanted_dscp: wanted_dscp & 0x3f, received_dscp: 0, received_ecn: 0, reverse_path: 0 }
    }

    /// The TOS or traffic-class octet with which the request arrived.
    pub const fn received_tos(self) -> u8 {
        self.received_dscp << 2 | self.received_ecn
    }

    /// Reads a value; `None` when its length is wrong.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [a, b, _, _] = value.try_into().ok()?;
        Some(Self {
            wanted_dscp: a >> 2,
            received_dscp: (a & 3) << 4 | b >> 4,
            received_ecn: b >> 2 & 3,
            reverse_path: b & 3,
        })
    }

    /// The value's octets.
    pub const fn to_octets(self) -> [u8; Self::LEN] {
        [
            (self.wanted_dscp & 0x3f) << 2 | (self.received_dscp >> 4 & 3),
            (self.received_dscp & 0xf) << 4 | (self.received_ecn & 3) << 2 | (self.reverse_path & 3),
            0,
            0,
        ]
    }
}

/// Who took a time stamp, in the words of RFC 8972 §4.3 (tables 6 and 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum StampMethod {
    /// Nobody said, or a number that the RFC does not know.
    #[default]
    Unknown = 0,
    /// Hardware assist.
    Hardware = 1,
    /// Software local to the data plane: the kernel.
    SoftwareLocal = 2,
    /// The control plane: a program.
    ControlPlane = 3,
}

impl StampMethod {
    /// Reads the octet.
    pub const fn from_octet(octet: u8) -> Self {
        match octet {
            1 => Self::Hardware,
            2 => Self::SoftwareLocal,
            3 => Self::ControlPlane,
            _ => Self::Unknown,
        }
    }
}

/// Follow-Up Telemetry (RFC 8972 §4.7): when an earlier reply truly left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FollowUp {
    /// The reflector's number of that reply.
    pub seq: u32,
    /// When it left. Zero when there is none yet.
    pub timestamp: Timestamp,
    /// Who says so.
    pub method: StampMethod,
}

impl FollowUp {
    /// Octets of its value.
    pub const LEN: usize = 16;

    /// Reads a value; `None` when its length is wrong.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [method] = (value.len() == Self::LEN).then(|| octets(value, 12))??;
        Some(Self {
            seq: u32::from_be_bytes(octets(value, 0)?),
            timestamp: Timestamp::from_be_bytes(octets(value, 4)?),
            method: StampMethod::from_octet(method),
        })
    }

    /// The value's octets.
    pub fn to_octets(self) -> [u8; Self::LEN] {
        let mut value = [0; Self::LEN];
        value[..4].copy_from_slice(&self.seq.to_be_bytes());
        value[4..12].copy_from_slice(&self.timestamp.to_be_bytes());
        value[12] = self.method as u8;
        value
    }
}

/// Timestamp Information (RFC 8972 §4.3): what clock the reflector used for T2 (in) and T3 (out), and who stamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimestampInfo {
    /// Synchronization source of T2: 1 NTP, 2 PTP, 3 SSU/BITS, 4 GNSS, 5 local free-running.
    pub sync_in: u8,
    /// Who took T2.
    pub method_in: StampMethod,
    /// Synchronization source of T3.
    pub sync_out: u8,
    /// Who took T3.
    pub method_out: StampMethod,
}

impl TimestampInfo {
    /// Octets of its value.
    pub const LEN: usize = 4;
    /// Synchronization source: a free-running local clock.
    pub const FREE_RUNNING: u8 = 5;

    /// Reads a value; `None` when its length is wrong.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [sync_in, method_in, sync_out, method_out] = value.try_into().ok()?;
        Some(Self {
            sync_in,
            method_in: StampMethod::from_octet(method_in),
            sync_out,
            method_out: StampMethod::from_octet(method_out),
        })
    }

    /// The value's octets.
    pub const fn to_octets(self) -> [u8; Self::LEN] {
        [self.sync_in, self.method_in as u8, self.sync_out, self.method_out as u8]
    }
}

/// What a packet with a [`NonceTlv`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum NonceKind {
    /// Validation only: neither logged nor counted.
    Probe = 1,
    /// A packet of the audio stream that carries the nonce along.
    InStream = 2,
    /// The reply: this address is not validated yet; echo the nonce.
    Challenge = 3,
    /// The reply: this address is validated.
    Validated = 4,
}

impl NonceKind {
    const fn from_octet(octet: u8) -> Option<Self> {
        Some(match octet {
            1 => Self::Probe,
            2 => Self::InStream,
            3 => Self::Challenge,
            4 => Self::Validated,
            _ => return None,
        })
    }
}

/// Greenroom's address validation: the client echoes what the endpoint sent to its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NonceTlv {
    /// What it is for.
    pub kind: NonceKind,
    /// The nonce; zero while the client has none.
    pub nonce: [u8; 16],
}

impl NonceTlv {
    /// Octets of its value.
    pub const LEN: usize = 20;

    /// Reads a value; `None` when its length or kind is unknown.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [kind] = (value.len() == Self::LEN).then(|| octets(value, 0))??;
        Some(Self { kind: NonceKind::from_octet(kind)?, nonce: octets(value, 4)? })
    }

    /// The value's octets.
    pub fn to_octets(self) -> [u8; Self::LEN] {
        let mut value = [0; Self::LEN];
        value[0] = self.kind as u8;
        value[4..].copy_from_slice(&self.nonce);
        value
    }
}

/// What kind of traffic a one-way stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Logged packet by packet.
    Stream(Media),
    /// A capacity stage: counted, not logged.
    Capacity,
}

impl MediaKind {
    const fn to_octet(self) -> u8 {
        match self {
            Self::Stream(Media::Audio) => 0,
            Self::Stream(Media::Video) => 1,
            Self::Stream(Media::Screen) => 2,
            Self::Capacity => 3,
        }
    }

    const fn from_octet(octet: u8) -> Option<Self> {
        Some(match octet {
            0 => Self::Stream(Media::Audio),
            1 => Self::Stream(Media::Video),
            2 => Self::Stream(Media::Screen),
            3 => Self::Capacity,
            _ => return None,
        })
    }
}

/// A packet of a one-way stream. It says what the stream is, so that a receiver needs no announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaTlv {
    /// The stream. Never [`StreamId::AUDIO`], which is reflected.
    pub stream: StreamId,
    /// What it carries.
    pub kind: MediaKind,
    /// Whether the packet belongs to a key frame.
    pub key_frame: bool,
    /// The frame's number, from 0.
    pub frame: u32,
    /// Nominal rate at the IP layer, in whole kbit/s on the wire.
    pub rate: Bitrate,
}

impl MediaTlv {
    /// Octets of its value.
    pub const LEN: usize = 12;

    /// Reads a value; `None` when its length or kind is unknown, or it claims the audio stream.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [high, low, kind, flags] = (value.len() == Self::LEN).then(|| octets(value, 0))??;
        let stream = StreamId(u16::from_be_bytes([high, low]));
        (stream != StreamId::AUDIO).then_some(Self {
            stream,
            kind: MediaKind::from_octet(kind)?,
            key_frame: flags & 1 != 0,
            frame: u32::from_be_bytes(octets(value, 4)?),
            rate: Bitrate::from_kbps(u64::from(u32::from_be_bytes(octets(value, 8)?))),
        })
    }

    /// The value's octets. A rate beyond 4 Tbit/s saturates.
    pub fn to_octets(self) -> [u8; Self::LEN] {
        let mut value = [0; Self::LEN];
        value[..2].copy_from_slice(&self.stream.0.to_be_bytes());
        value[2] = self.kind.to_octet();
        value[3] = u8::from(self.key_frame);
        value[4..8].copy_from_slice(&self.frame.to_be_bytes());
        let kbps = u32::try_from(self.rate.bps() / 1_000).unwrap_or(u32::MAX);
        value[8..].copy_from_slice(&kbps.to_be_bytes());
        value
    }
}

/// Appends TLVs to a packet, flags as a sender sets them.
#[derive(Debug)]
pub struct TlvWriter<'a>(&'a mut Vec<u8>);

impl<'a> TlvWriter<'a> {
    /// Appends to `packet`.
    pub const fn new(packet: &'a mut Vec<u8>) -> Self {
        Self(packet)
    }

    /// Appends a TLV as it is. A value longer than a TLV can hold is cut off.
    pub fn raw(&mut self, kind: TlvKind, value: &[u8]) {
        let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.0.extend([TlvFlags::FROM_SENDER.to_octet(), kind.0]);
        self.0.extend(len.to_be_bytes());
        self.0.extend(&value[..usize::from(len)]);
    }

    /// Appends Class of Service.
    pub fn class_of_service(&mut self, value: ClassOfService) {
        self.raw(TlvKind::CLASS_OF_SERVICE, &value.to_octets());
    }

    /// Appends an empty Follow-Up Telemetry, for the reflector to fill in.
    pub fn follow_up(&mut self) {
        self.raw(TlvKind::FOLLOW_UP, &[0; FollowUp::LEN]);
    }

    /// Appends an empty Timestamp Information, for the reflector to fill in.
    pub fn timestamp_info(&mut self) {
        self.raw(TlvKind::TIMESTAMP_INFO, &[0; TimestampInfo::LEN]);
    }

    /// Appends address validation.
    pub fn nonce(&mut self, value: NonceTlv) {
        self.raw(TlvKind::NONCE, &value.to_octets());
    }

    /// Appends the mark of a one-way stream.
    pub fn media(&mut self, value: MediaTlv) {
        self.raw(TlvKind::MEDIA, &value.to_octets());
    }

    /// Appends the report of a capacity stage.
    pub fn capacity(&mut self, value: &CapacityReport) {
        let (octets, len) = value.to_octets();
        self.raw(TlvKind::CAPACITY, &octets[..len]);
    }

    /// Appends an empty HMAC TLV, for [`super::MacKey::sign`] to fill in. Only padding may follow (RFC 8972 §4.8).
    pub fn hmac(&mut self) {
        self.raw(TlvKind::HMAC, &[0; super::auth::TAG_LEN]);
    }

    /// Appends zero padding until the packet has `len` octets; nothing when fewer than a TLV header are missing.
    pub fn pad_to(&mut self, len: usize) {
        let Some(missing) = len.checked_sub(self.0.len() + HEADER_LEN) else {
            return;
        };
        let missing = u16::try_from(missing).unwrap_or(u16::MAX);
        self.0.extend([TlvFlags::FROM_SENDER.to_octet(), TlvKind::EXTRA_PADDING.0]);
        self.0.extend(missing.to_be_bytes());
        self.0.resize(self.0.len() + usize::from(missing), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn class_of_service_lies_as_rfc_8972_figure_10_draws_it() {
        // |  DSCP1 46 = 101110 | DSCP2 34 = 100010 | ECN 01 | RP 00 | reserved
        let value = ClassOfService { wanted_dscp: 46, received_dscp: 34, received_ecn: 1, reverse_path: 0 };
        assert_eq!(value.to_octets(), [0b1011_1010, 0b0010_0100, 0, 0]);
        assert_eq!(ClassOfService::parse(&value.to_octets()), Some(value));
        assert_eq!(value.received_tos(), 0b1000_1001);
    }

    #[test]
    fn follow_up_lies_as_rfc_8972_figure_13_draws_it() {
        let value = FollowUp {
            seq: 0x0102_0304,
            timestamp: Timestamp::from_be_bytes([9; 8]),
            method: StampMethod::SoftwareLocal,
        };
        assert_eq!(value.to_octets(), [1, 2, 3, 4, 9, 9, 9, 9, 9, 9, 9, 9, 2, 0, 0, 0]);
        assert_eq!(FollowUp::parse(&value.to_octets()), Some(value));
        assert_eq!(FollowUp::parse(&[0; 15]), None);
        assert_eq!(FollowUp::parse(&[0; 17]), None);
    }

    #[test]
    fn own_tlvs_survive_the_wire() {
        let nonce = NonceTlv { kind: NonceKind::Challenge, nonce: [7; 16] };
        assert_eq!(NonceTlv::parse(&nonce.to_octets()), Some(nonce));
        let media = MediaTlv {
            stream: StreamId(3),
            kind: MediaKind::Stream(Media::Screen),
            key_frame: true,
            frame: 70_000,
            rate: Bitrate::from_kbps(1_500),
        };
        assert_eq!(MediaTlv::parse(&media.to_octets()), Some(media));
        assert_eq!(MediaTlv::parse(&MediaTlv { stream: StreamId::AUDIO, ..media }.to_octets()), None);
        let info = TimestampInfo {
            sync_in: TimestampInfo::FREE_RUNNING,
            method_in: StampMethod::SoftwareLocal,
            sync_out: TimestampInfo::FREE_RUNNING,
            method_out: StampMethod::ControlPlane,
        };
        assert_eq!(TimestampInfo::parse(&info.to_octets()), Some(info));
    }

    #[test]
    fn walking_stops_at_what_does_not_fit() {
        let bytes = [0x80, 4, 0, 4, 1, 2, 3, 4, 0xe0, 9, 0, 3, 1, 2];
        let mut tlvs = Tlvs::new(&bytes);
        let first = tlvs.next().and_then(Result::ok).map(|t| (t.flags, t.kind, t.value, t.offset));
        assert_eq!(first, Some((TlvFlags::FROM_SENDER, TlvKind::CLASS_OF_SERVICE, &[1u8, 2, 3, 4][..], 0)));
        assert_eq!(tlvs.next(), Some(Err(Malformed { offset: 8 })));
        assert_eq!(tlvs.next(), None);
    }

    #[test]
    fn padding_fills_exactly_or_not_at_all() {
        for (len, want) in [(172, 172), (120, 120), (116, 116), (115, 112), (112, 112), (50, 112)] {
            let mut packet = vec![0; 112];
            TlvWriter::new(&mut packet).pad_to(len);
            assert_eq!(packet.len(), want);
            assert!(Tlvs::new(&packet[112..]).all(|tlv| tlv.is_ok()));
        }
    }

    proptest! {
        #[test]
        fn walking_any_octets_ends_and_covers_them_once(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut covered = 0;
            for tlv in Tlvs::new(&bytes) {
                match tlv {
                    Ok(tlv) => {
                        prop_assert_eq!(tlv.offset, covered);
                        covered += HEADER_LEN + tlv.value.len();
                    }
                    Err(bad) => {
                        prop_assert_eq!(bad.offset, covered);
                        covered = bytes.len();
                    }
                }
            }
            prop_assert_eq!(covered, bytes.len());
        }
    }
}
