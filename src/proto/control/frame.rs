//! Frames: `u32` length of what follows, `u8` type, payload. Big endian.

/// Greatest length that a frame may state: type and payload. Chunks of a half trace are cut to fit.
pub const MAX_FRAME_LEN: usize = 256 * 1024;

/// Octets of a frame's length.
const LEN_OCTETS: usize = 4;

/// A frame as it lies in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFrame<'a> {
    /// Its type.
    pub kind: u8,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Why a byte stream is not a stream of frames. Nothing after it can be read: close the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame without a type.
    #[error("a frame of length zero: the peer does not speak this protocol")]
    Empty,
    /// A frame longer than allowed.
    #[error("a frame of {len} octets; at most {MAX_FRAME_LEN} are allowed")]
    TooLong {
        /// The length that it states.
        len: u32,
    },
}

/// Appends a frame.
///
/// # Errors
///
/// [`FrameError::TooLong`]: nothing is written then.
pub(super) fn write(kind: u8, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    let len = u32::try_from(payload.len() + 1).unwrap_or(u32::MAX);
    if payload.len() + 1 > MAX_FRAME_LEN {
        return Err(FrameError::TooLong { len });
    }
    out.extend(len.to_be_bytes());
    out.push(kind);
    out.extend_from_slice(payload);
    Ok(())
}

/// Cuts a byte stream into frames, however it is split on the way.
///
/// Holds at most one incomplete frame beside what was handed in last. A length is checked before anything is kept for it.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Octets at the front of `buffer` that have been handed out.
    taken: usize,
    broken: Option<FrameError>,
}

impl Decoder {
    /// Begins at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next octets of the stream. After an error they are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` when more octets are needed.
    ///
    /// # Errors
    ///
    /// [`FrameError`], and the same again on every later call.
    pub fn next_frame(&mut self) -> Result<Option<RawFrame<'_>>, FrameError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let rest = &self.buffer[self.taken..];
        let Some(len) = super::super::stamp::octets::<LEN_OCTETS>(rest, 0).map(u32::from_be_bytes) else {
            return Ok(None);
        };
        let whole = match usize::try_from(len) {
            Ok(0) => return self.fail(FrameError::Empty),
            Ok(whole) if whole <= MAX_FRAME_LEN => whole,
            _ => return self.fail(FrameError::TooLong { len }),
        };
        if rest.len() < LEN_OCTETS + whole {
            return Ok(None);
        }
        let from = self.taken + LEN_OCTETS;
        self.taken = from + whole;
        Ok(Some(RawFrame { kind: self.buffer[from], payload: &self.buffer[from + 1..self.taken] }))
    }

    /// Octets that were taken and not read yet.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.taken
    }

    /// Whether the stream may end here: no frame is cut in two.
    pub fn is_at_boundary(&self) -> bool {
        self.broken.is_none() && self.taken == self.buffer.len()
    }

    fn fail(&mut self, error: FrameError) -> Result<Option<RawFrame<'_>>, FrameError> {
        self.broken = Some(error);
        self.buffer = Vec::new();
        self.taken = 0;
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_lies_as_documented() {
        let mut wire = Vec::new();
        assert_eq!(write(7, b"ab", &mut wire), Ok(()));
        assert_eq!(wire, [0, 0, 0, 3, 7, b'a', b'b']);
    }

    #[test]
    fn lengths_are_bounded_both_ways() {
        let mut out = Vec::new();
        assert!(write(1, &vec![0; MAX_FRAME_LEN], &mut out).is_err());
        assert!(out.is_empty());
        assert_eq!(write(1, &vec![0; MAX_FRAME_LEN - 1], &mut out), Ok(()));

        let mut decoder = Decoder::new();
        decoder.push(&[0xff; 4]);
        let error = FrameError::TooLong { len: u32::MAX };
        assert_eq!(decoder.next_frame(), Err(error));
        decoder.push(&[0, 0, 0, 1, 1]);
        assert_eq!(decoder.next_frame(), Err(error));

        let mut decoder = Decoder::new();
        decoder.push(&[0; 4]);
        assert_eq!(decoder.next_frame(), Err(FrameError::Empty));
    }

    proptest! {
        #[test]
        fn splitting_the_stream_changes_nothing(
            frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
            cuts in prop::collection::vec(1usize..30, 1..20),
        ) {
            let mut wire = Vec::new();
            for (kind, payload) in &frames {
                write(*kind, payload, &mut wire).expect("short");
            }
            let mut decoder = Decoder::new();
            let mut got = Vec::new();
            let mut rest = wire.as_slice();
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                decoder.push(now);
                while let Some(frame) = decoder.next_frame().expect("well formed") {
                    got.push((frame.kind, frame.payload.to_vec()));
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(got, frames);
            prop_assert!(decoder.is_at_boundary());
        }
    }
}
