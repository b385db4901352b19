//! Channel data (RFC 8656 section 12), and where messages begin and end in a stream.

use super::FIRST_CHANNEL;
use crate::proto::stun::MAGIC_COOKIE;

/// The longest piece that a stream may hold: the longest STUN message and channel data both fit.
const LONGEST: usize = 20 + 0xFFFF + 3;

/// Why octets are neither STUN nor channel data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what it sends is neither STUN nor channel data")]
pub struct NotTurn;

/// One piece of a stream, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A STUN message.
    Stun(Vec<u8>),
    /// Data of a channel.
    Data(u16, Vec<u8>),
}

/// Reads a datagram of channel data: its channel and what it carries. Padding behind it is allowed. `None`: it is none.
pub fn channel_data(octets: &[u8]) -> Option<(u16, &[u8])> {
    let ([c0, c1, l0, l1], rest) = octets.split_first_chunk::<4>()?;
    let channel = u16::from_be_bytes([*c0, *c1]);
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    if !(0x4000..=0x4FFF).contains(&channel) || rest.len() > length.next_multiple_of(4) {
        return None;
    }
    Some((channel, rest.get(..length)?))
}

/// Writes channel data; over a stream `padded` to a multiple of four octets (section 12.5). Data beyond 65535 octets is cut off.
pub fn write_channel_data(channel: u16, data: &[u8], padded: bool) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let data = data.get(..usize::from(length)).unwrap_or(data);
    let mut octets = Vec::with_capacity(data.len() + 8);
    octets.extend(channel.to_be_bytes());
    octets.extend(length.to_be_bytes());
    octets.extend(data);
    if padded {
        octets.resize(octets.len().next_multiple_of(4), 0);
    }
    octets
}

/// Cuts a stream into its pieces. Of channels only [`FIRST_CHANNEL`] is known: `HTTP` would be one, too.
#[derive(Debug, Default)]
pub struct Deframer(Vec<u8>);

impl Deframer {
    /// Takes what has arrived.
    pub fn push(&mut self, octets: &[u8]) {
        self.0.extend(octets);
    }

    /// The next piece; `None` until it is whole.
    ///
    /// # Errors
    ///
    /// [`NotTurn`]: whatever follows cannot be read any more.
    pub fn pop(&mut self) -> Result<Option<Piece>, NotTurn> {
        let Some([b0, b1, l0, l1]) = self.0.first_chunk::<4>() else { return Ok(None) };
        let (kind, length) = (u16::from_be_bytes([*b0, *b1]), usize::from(u16::from_be_bytes([*l0, *l1])));
        let mut cookie = self.0.iter().skip(4).zip(MAGIC_COOKIE.to_be_bytes());
        let (stun, whole) = match kind {
            0..0x4000 if length % 4 == 0 && cookie.all(|(a, b)| *a == b) => (true, 20 + length),
            FIRST_CHANNEL => (false, (4 + length).next_multiple_of(4)),
            _ => return Err(NotTurn),
        };
        if whole > LONGEST {
            return Err(NotTurn);
        }
        if self.0.len() < whole {
            return Ok(None);
        }
        let piece: Vec<u8> = self.0.drain(..whole).collect();
        if stun {
            return Ok(Some(Piece::Stun(piece)));
        }
        let data = piece.get(4..4 + length).ok_or(NotTurn)?.to_vec();
        Ok(Some(Piece::Data(kind, data)))
    }
}
