//! Whether a JPEG from a camera is whole.
//!
//! Decoders of pictures are made to show something at any price: fed with damaged frames, mozjpeg reported none. Here a frame
//! is whole when it begins and ends as a JPEG does, has the size that the camera was opened with, and a strict decoder
//! finds nothing to complain about. What is lost from the middle of the data and leaves something that decodes is not seen.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Luma;

/// What begins a JPEG.
const START: [u8; 2] = [0xff, 0xd8];
/// What ends it.
const END: [u8; 2] = [0xff, 0xd9];
/// A segment that says "the usual Huffman tables": webcams leave them out of every frame, as AVI files do.
const USUAL_TABLES: [u8; 10] = [0xff, 0xe0, 0x00, 0x08, b'A', b'V', b'I', b'1', 0, 0];

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

/// Checks a frame, and gives its brightness when it is whole. Zeros behind its end are padding.
///
/// # Errors
/// [`Damage`] says what is wrong with it.
pub fn check(frame: &[u8], size: (usize, usize)) -> Result<Gray, Damage> {
    let frame = &frame[..frame.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)];
    if frame.is_empty() {
        return Err(Damage::Empty);
    }
    let Some(rest) = frame.strip_prefix(&START) else { return Err(Damage::NoStart) };
    if !frame.ends_with(&END) || frame.len() < 4 {
        return Err(Damage::NoEnd);
    }
    let tables: &[u8] = if has_tables(rest) { &[] } else { &USUAL_TABLES };
    let bytes = [&START, tables, rest].concat();
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(size.0)
        .set_max_height(size.1)
        .jpeg_set_out_colorspace(ColorSpace::Luma);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
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
