//! Whether a JPEG from a camera is whole.
//!
//! Decoders of pictures are made to show something at any price: fed with damaged frames, mozjpeg reported none, and strict
//! ones fill up what is missing. Here a frame is whole when it begins and ends as a JPEG does, has the size that the camera was
//! opened with, every block of it is there, and a strict decoder finds nothing to complain about. Data that were replaced by
//! others of the same number of blocks are not seen.

mod coded;
mod tables;

use std::borrow::Cow;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Luma;

/// What begins a JPEG.
const START: [u8; 2] = [0xff, 0xd8];
/// What ends it.
const END: [u8; 2] = [0xff, 0xd9];

/// The brightness of a decoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gray {
    data: Vec<u8>,
    width: usize,
    height: usize,
}

impl Gray {
    /// A view of it; full [range](super::Range::Full).
    pub fn luma(&self) -> Luma<'_> {
        Luma::plane(&self.data, self.width, self.height, self.width)
            .expect("a decoded frame has all its pixels")
    }
}

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// No bytes at all.
    #[error("the frame is empty")]
    Empty,
    /// It does not begin as a JPEG does.
    #[error("the frame does not begin as a JPEG does")]
    NoStart,
    /// It does not end as a JPEG does: it was cut off.
    #[error("the frame is cut off")]
    NoEnd,
    /// Its data end before its picture does.
    #[error("a part of the frame is missing")]
    Incomplete,
    /// It has another size than the camera was opened with.
    #[error("the frame is {width}×{height}")]
    Size {
        /// Its pixels across.
        width: usize,
        /// Its pixels down.
        height: usize,
    },
    /// The decoder found its content damaged.
    #[error("the frame's content is damaged: {0}")]
    Content(String),
}

/// Gives a frame as decoders want it, when it is whole: without padding behind its end, and with Huffman tables, which webcams
/// leave out of every frame as AVI files do. Takes time and memory in proportion to the frame's bytes, whatever they say.
///
/// # Errors
/// [`Damage`] says what is wrong with it.
pub fn whole(frame: &[u8], size: (usize, usize)) -> Result<Cow<'_, [u8]>, Damage> {
    let frame = &frame[..frame.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)];
    if frame.is_empty() {
        return Err(Damage::Empty);
    }
    let Some(rest) = frame.strip_prefix(&START) else { return Err(Damage::NoStart) };
    if !frame.ends_with(&END) || frame.len() < 4 {
        return Err(Damage::NoEnd);
    }
    let frame = match has_tables(rest) {
        true => Cow::Borrowed(frame),
        false => Cow::Owned([&START, tables::USUAL.as_slice(), rest].concat()),
    };
    coded::walk(&frame, size)?;
    Ok(frame)
}

/// Checks a frame, and gives its brightness when it is [whole].
///
/// # Errors
/// [`Damage`] says what is wrong with it.
pub fn check(frame: &[u8], size: (usize, usize)) -> Result<Gray, Damage> {
    let whole = whole(frame, size)?;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(size.0)
        .set_max_height(size.1)
        .jpeg_set_out_colorspace(ColorSpace::Luma);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(whole), options);
    let content = |error: zune_jpeg::errors::DecodeErrors| Damage::Content(format!("{error:?}"));
    decoder.decode_headers().map_err(content)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    if (width, height) != size {
        return Err(Damage::Size { width, height });
    }
    let data = decoder.decode().map_err(content)?;
    if width == 0 || height == 0 || data.len() != width * height {
        return Err(Damage::Content("it decodes to another size than it says".to_owned()));
    }
    Ok(Gray { data, width, height })
}

/// Whether a segment with Huffman tables stands before the picture's data.
fn has_tables(mut segments: &[u8]) -> bool {
    while let [0xff, kind, high, low, ..] = *segments {
        match kind {
            0xc4 => return true,
            // The data begin: no tables came.
            0xda => return false,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([high, low])) + 2;
        let Some(rest) = segments.get(length..) else { return false };
        segments = rest;
    }
    false
}
