//! The fixed part of a STAMP packet (RFC 8762 §4.2 and §4.3, with the SSID of RFC 8972 §3).

use super::octets;
use super::time::{ErrorEstimate, Timestamp};

/// Whether a packet is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// 44 octets, nothing protects them.
    Open,
    /// 112 octets, the last 16 of which authenticate the first 96.
    Authenticated,
}

impl Mode {
    /// Length of the fixed part in octets: the same for sender and reflector.
    pub const fn base_len(self) -> usize {
        match self {
            Self::Open => 44,
            Self::Authenticated => 112,
        }
    }
}

/// Why a packet could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Shorter than its fixed part.
    #[error("the packet has {got} octets, a STAMP packet of this mode has at least {least}")]
    TooShort {
        /// Octets that came.
        got: usize,
        /// Octets that the mode asks for.
        least: usize,
    },
}

/// The fixed part of what a session-sender sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderPacket {
    /// The sender's number.
    pub seq: u32,
    /// T1: when it left, as known when it was written.
    pub timestamp: Timestamp,
    /// How far T1 may be off, and its format.
    pub error: ErrorEstimate,
    /// Session identifier (RFC 8972 §3); 0 where there is none.
    pub ssid: u16,
}

impl SenderPacket {
    /// Appends the fixed part; in authenticated mode the HMAC field stays zero until it is signed.
    pub fn write(&self, mode: Mode, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + mode.base_len(), 0);
        let base = &mut out[start..];
        let at = SenderOffsets::of(mode);
        put(base, 0, self.seq.to_be_bytes());
        put(base, at.timestamp, self.timestamp.to_be_bytes());
        put(base, at.timestamp + 8, self.error.to_be_bytes());
        put(base, at.timestamp + 10, self.ssid.to_be_bytes());
    }

    /// Reads the fixed part and returns what follows it.
    ///
    /// # Errors
    ///
    /// [`PacketError::TooShort`]. Octets that must be zero are ignored (RFC 8762 §4.2.1).
    pub fn parse(mode: Mode, bytes: &[u8]) -> Result<(Self, &[u8]), PacketError> {
        let at = SenderOffsets::of(mode);
        let read = || {
            let packet = Self {
                seq: u32::from_be_bytes(octets(bytes, 0)?),
                timestamp: Timestamp::from_be_bytes(octets(bytes, at.timestamp)?),
                error: ErrorEstimate::from_be_bytes(octets(bytes, at.timestamp + 8)?),
                ssid: u16::from_be_bytes(octets(bytes, at.timestamp + 10)?),
            };
            Some((packet, bytes.get(mode.base_len()..)?))
        };
        read().ok_or(PacketError::TooShort { got: bytes.len(), least: mode.base_len() })
    }
}

struct SenderOffsets {
    timestamp: usize,
}

impl SenderOffsets {
    const fn of(mode: Mode) -> Self {
        match mode {
            Mode::Open => Self { timestamp: 4 },
            Mode::Authenticated => Self { timestamp: 16 },
        }
    }
}

/// The fixed part of what a session-reflector answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReflectorPacket {
    /// The reflector's own number (stateful) or the sender's (stateless).
    pub seq: u32,
    /// T3: when it left, as known when it was written.
    pub timestamp: Timestamp,
    /// How far T2 and T3 may be off, and their format.
    pub error: ErrorEstimate,
    /// Session identifier, copied.
    pub ssid: u16,
    /// T2: when the packet answered arrived.
    pub received: Timestamp,
    /// Number of the packet answered.
    pub sender_seq: u32,
    /// T1 of the packet answered, copied.
    pub sender_timestamp: Timestamp,
    /// Error estimate of the packet answered, copied.
    pub sender_error: ErrorEstimate,
    /// TTL or hop limit with which the packet answered arrived; 0 where the system does not tell.
    pub sender_ttl: u8,
}

impl ReflectorPacket {
    /// Overwrites the fixed part of a request of the same mode; everything after it stays.
    ///
    /// # Errors
    ///
    /// [`PacketError::TooShort`] when there is no room: nothing is written then.
    pub fn overwrite(&self, mode: Mode, packet: &mut [u8]) -> Result<(), PacketError> {
        let got = packet.len();
        let least = mode.base_len();
        let base = packet.get_mut(..least).ok_or(PacketError::TooShort { got, least })?;
        let at = ReflectorOffsets::of(mode);
        base.fill(0);
        put(base, 0, self.seq.to_be_bytes());
        put(base, at.timestamp, self.timestamp.to_be_bytes());
        put(base, at.timestamp + 8, self.error.to_be_bytes());
        put(base, at.timestamp + 10, self.ssid.to_be_bytes());
        put(base, at.received, self.received.to_be_bytes());
        put(base, at.sender_seq, self.sender_seq.to_be_bytes());
        put(base, at.sender_timestamp, self.sender_timestamp.to_be_bytes());
        put(base, at.sender_timestamp + 8, self.sender_error.to_be_bytes());
        put(base, at.sender_ttl, [self.sender_ttl]);
        Ok(())
    }

    /// Reads the fixed part and returns what follows it.
    ///
    /// # Errors
    ///
    /// [`PacketError::TooShort`].
    pub fn parse(mode: Mode, bytes: &[u8]) -> Result<(Self, &[u8]), PacketError> {
        let at = ReflectorOffsets::of(mode);
        let read = || {
            let [sender_ttl] = octets(bytes, at.sender_ttl)?;
            let packet = Self {
                seq: u32::from_be_bytes(octets(bytes, 0)?),
                timestamp: Timestamp::from_be_bytes(octets(bytes, at.timestamp)?),
                error: ErrorEstimate::from_be_bytes(octets(bytes, at.timestamp + 8)?),
                ssid: u16::from_be_bytes(octets(bytes, at.timestamp + 10)?),
                received: Timestamp::from_be_bytes(octets(bytes, at.received)?),
                sender_seq: u32::from_be_bytes(octets(bytes, at.sender_seq)?),
                sender_timestamp: Timestamp::from_be_bytes(octets(bytes, at.sender_timestamp)?),
                sender_error: ErrorEstimate::from_be_bytes(octets(bytes, at.sender_timestamp + 8)?),
                sender_ttl,
            };
            Some((packet, bytes.get(mode.base_len()..)?))
        };
        read().ok_or(PacketError::TooShort { got: bytes.len(), least: mode.base_len() })
    }
}

struct ReflectorOffsets {
    timestamp: usize,
    received: usize,
    sender_seq: usize,
    sender_timestamp: usize,
    sender_ttl: usize,
}

impl ReflectorOffsets {
    const fn of(mode: Mode) -> Self {
        match mode {
            Mode::Open => {
                Self { timestamp: 4, received: 16, sender_seq: 24, sender_timestamp: 28, sender_ttl: 40 }
            }
            Mode::Authenticated => {
                Self { timestamp: 16, received: 32, sender_seq: 48, sender_timestamp: 64, sender_ttl: 80 }
            }
        }
    }
}

/// Copies `value` to `at`; both are constants of this module and lie within the base that the caller has sized.
fn put<const N: usize>(base: &mut [u8], at: usize, value: [u8; N]) {
    base[at..at + N].copy_from_slice(&value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::stamp::TimestampFormat;

    const ERROR: ErrorEstimate =
        ErrorEstimate { synchronized: true, format: TimestampFormat::Ptp, scale: 5, multiplier: 7 };

    fn stamp(fill: u8) -> Timestamp {
        Timestamp::from_be_bytes([fill; 8])
    }

    #[test]
    fn open_sender_lies_as_rfc_8972_figure_1_draws_it() {
        let packet = SenderPacket { seq: 0x0102_0304, timestamp: stamp(0x11), error: ERROR, ssid: 0xabcd };
        let mut wire = Vec::new();
        packet.write(Mode::Open, &mut wire);
        let mut drawn = vec![1, 2, 3, 4];
        drawn.extend([0x11; 8]);
        drawn.extend([0xc5, 7, 0xab, 0xcd]);
        drawn.extend([0; 28]);
        assert_eq!(wire, drawn);
        assert_eq!(SenderPacket::parse(Mode::Open, &wire), Ok((packet, &[][..])));
    }

    #[test]
    fn authenticated_sender_lies_as_rfc_8972_figure_3_draws_it() {
        let packet = SenderPacket { seq: 0x0102_0304, timestamp: stamp(0x11), error: ERROR, ssid: 0xabcd };
        let mut wire = Vec::new();
        packet.write(Mode::Authenticated, &mut wire);
        let mut drawn = vec![1, 2, 3, 4];
        drawn.extend([0; 12]);
        drawn.extend([0x11; 8]);
        drawn.extend([0xc5, 7, 0xab, 0xcd]);
        drawn.extend([0; 68]);
        drawn.extend([0; 16]);
        assert_eq!(wire, drawn);
        assert_eq!(SenderPacket::parse(Mode::Authenticated, &wire), Ok((packet, &[][..])));
    }

    fn reply() -> ReflectorPacket {
        ReflectorPacket {
            seq: 9,
            timestamp: stamp(0x33),
            error: ERROR,
            ssid: 0xabcd,
            received: stamp(0x22),
            sender_seq: 0x0102_0304,
            sender_timestamp: stamp(0x11),
            sender_error: ErrorEstimate { synchronized: false, multiplier: 9, ..ERROR },
            sender_ttl: 61,
        }
    }

    #[test]
    fn open_reflector_lies_as_rfc_8972_figure_2_draws_it() {
        let mut wire = vec![0xff; 46];
        assert_eq!(reply().overwrite(Mode::Open, &mut wire), Ok(()));
        let mut drawn = vec![0, 0, 0, 9];
        drawn.extend([0x33; 8]);
        drawn.extend([0xc5, 7, 0xab, 0xcd]);
        drawn.extend([0x22; 8]);
        drawn.extend([1, 2, 3, 4]);
        drawn.extend([0x11; 8]);
        drawn.extend([0x45, 9, 0, 0, 61, 0, 0, 0]);
        drawn.extend([0xff; 2]);
        assert_eq!(wire, drawn);
        assert_eq!(ReflectorPacket::parse(Mode::Open, &wire), Ok((reply(), &[0xff, 0xff][..])));
    }

    #[test]
    fn authenticated_reflector_lies_as_rfc_8972_figure_4_draws_it() {
        let mut wire = vec![0xff; 112];
        assert_eq!(reply().overwrite(Mode::Authenticated, &mut wire), Ok(()));
        let mut drawn = vec![0, 0, 0, 9];
        drawn.extend([0; 12]);
        drawn.extend([0x33; 8]);
        drawn.extend([0xc5, 7, 0xab, 0xcd, 0, 0, 0, 0]);
        drawn.extend([0x22; 8]);
        drawn.extend([0; 8]);
        drawn.extend([1, 2, 3, 4]);
        drawn.extend([0; 12]);
        drawn.extend([0x11; 8]);
        drawn.extend([0x45, 9, 0, 0, 0, 0, 0, 0, 61]);
        drawn.extend([0; 15 + 16]);
        assert_eq!(wire, drawn);
        assert_eq!(ReflectorPacket::parse(Mode::Authenticated, &wire), Ok((reply(), &[][..])));
    }

    #[test]
    fn short_packets_are_refused_whole() {
        for mode in [Mode::Open, Mode::Authenticated] {
            let mut short = vec![0xee; mode.base_len() - 1];
            let error = PacketError::TooShort { got: short.len(), least: mode.base_len() };
            assert_eq!(SenderPacket::parse(mode, &short), Err(error));
            assert_eq!(ReflectorPacket::parse(mode, &short), Err(error));
            assert_eq!(reply().overwrite(mode, &mut short), Err(error));
            assert!(short.iter().all(|b| *b == 0xee));
        }
    }
}
