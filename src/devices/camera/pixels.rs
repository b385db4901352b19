//! From the bytes of a camera to brightness and colour. Pure; bytes of a driver never index unchecked.

use greenroom_reports::signals::picture::{Luma, jpeg};
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use thiserror::Error;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Mode, Opened, PixelFormat};

/// A picture in colour, row by row, three bytes per pixel: red, green, blue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// `3 × width × height` bytes.
    pub bytes: Vec<u8>,
}

/// Why a frame is no picture.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    /// Fewer bytes than the size and format need.
    #[error("cut short: {have} of {need} bytes")]
    Short {
        /// Bytes there are.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// It is no whole JPEG.
    #[error(transparent)]
    Jpeg(#[from] jpeg::Damage),
    /// A format that is not read here.
    #[error("pictures in {0} are not read")]
    Format(PixelFormat),
}

/// Lets `look` see the brightness of a frame: of JPEG in full range, else in video range.
///
/// # Errors
/// [`Damage`]: the frame is not whole. In JPEG every fault counts that a strict decoder sees.
pub fn brightness<R>(opened: &Opened, bytes: &[u8], look: impl FnOnce(&Luma<'_>) -> R) -> Result<R, Damage> {
    let (width, height) = (size(opened.mode.width), size(opened.mode.height));
    if opened.mode.pixels.is_jpeg() {
        return Ok(look(&jpeg::check(bytes, (width, height))?.luma()));
    }
    let Source { shape, pixels, .. } = Source::new(opened, bytes)?;
    let mixed;
    let luma = match pixels {
        PixelFormat::YUYV => Luma::yuyv(bytes, width, height, shape.stride),
        PixelFormat::UYVY => bytes.get(1..).and_then(|bytes| Luma::yuyv(bytes, width, height, shape.stride)),
        PixelFormat::RGB3 | PixelFormat::BGR3 => {
            let rgb = rgb(opened, bytes)?;
            mixed = rgb.bytes.chunks_exact(3).map(|rgb| mix(rgb[0], rgb[1], rgb[2])).collect::<Vec<u8>>();
            Luma::plane(&mixed, width, height, width)
        }
        _ => Luma::plane(bytes, width, height, shape.stride),
    };
    luma.as_ref().map(look).ok_or(Damage::Short { have: bytes.len(), need: shape.stride * height })
}

/// The colours of a frame (BT.601 of limited range, as webcams send it).
///
/// # Errors
/// [`Damage`], as with [`brightness`].
pub fn rgb(opened: &Opened, bytes: &[u8]) -> Result<Rgb, Damage> {
    sampled(opened, bytes, opened.mode.width, opened.mode.height)
}

/// The colours of every so many pixels of a frame, so that the picture is no larger than `width` by `height`. Takes the time of
/// the smaller picture, except for JPEG.
///
/// # Errors
/// [`Damage`], as with [`brightness`].
pub fn sampled(opened: &Opened, bytes: &[u8], width: u32, height: u32) -> Result<Rgb, Damage> {
    let decoded;
    let source = if opened.mode.pixels.is_jpeg() {
        decoded = decode_jpeg(opened, bytes)?;
        let mode = Mode { pixels: PixelFormat::RGB3, ..opened.mode };
        Source::new(&Opened { mode, stride: 0 }, &decoded)?
    } else {
        Source::new(opened, bytes)?
    };
    let Shape { width: across, height: down, .. } = source.shape;
    let step = across.div_ceil(size(width.max(1))).max(down.div_ceil(size(height.max(1)))).max(1);
    let (columns, rows) = (across.div_ceil(step), down.div_ceil(step));
    let mut picture = Vec::with_capacity(columns * rows * 3);
    for y in (0..down).step_by(step) {
        for x in (0..across).step_by(step) {
            picture.extend(source.color(x, y));
        }
    }
    let count = |pixels: usize| u32::try_from(pixels).expect("no more than the frame has");
    Ok(Rgb { width: count(columns), height: count(rows), bytes: picture })
}

/// How good the JPEGs are that are written here, of 100.
const QUALITY: u8 = 85;

/// A picture as a JPEG file. `None`: it is empty or larger than JPEG can be.
pub fn encode(picture: &Rgb) -> Option<Vec<u8>> {
    encode_as(picture.width, picture.height, &picture.bytes, ExtendedColorType::Rgb8)
}

/// Brightness alone, one byte per pixel, as a JPEG file. `None`: as with [`encode`].
pub fn encode_grey(width: u32, height: u32, bytes: &[u8]) -> Option<Vec<u8>> {
    encode_as(width, height, bytes, ExtendedColorType::L8)
}

fn encode_as(width: u32, height: u32, bytes: &[u8], colors: ExtendedColorType) -> Option<Vec<u8>> {
    let mut file = Vec::new();
    // The encoder panics on a picture whose bytes are not those of its size.
    let size = u64::from(width) * u64::from(height) * u64::from(colors.bits_per_pixel()) / 8;
    if size != bytes.len() as u64 {
        return None;
    }
    JpegEncoder::new_with_quality(&mut file, QUALITY).encode(bytes, width, height, colors).ok()?;
    Some(file)
}

/// A whole frame, to be read pixel by pixel.
struct Source<'a> {
    bytes: &'a [u8],
    shape: Shape,
    pixels: PixelFormat,
}

impl<'a> Source<'a> {
    /// Makes sure that all of the frame is there.
    fn new(opened: &Opened, bytes: &'a [u8]) -> Result<Self, Damage> {
        let shape = shape(opened);
        let pixels = opened.mode.pixels;
        let last_row = match pixels {
            PixelFormat::YUYV | PixelFormat::UYVY => shape.width * 2,
            PixelFormat::RGB3 | PixelFormat::BGR3 => shape.width * 3,
            PixelFormat::GREY => shape.width,
            PixelFormat::NV12 | PixelFormat::YU12 => {
                require(bytes, shape.with_chroma())?;
                shape.width
            }
            other => return Err(Damage::Format(other)),
        };
        require(bytes, shape.height.saturating_sub(1) * shape.stride + last_row)?;
        Ok(Self { bytes, shape, pixels })
    }

    /// The colour of a pixel.
    fn color(&self, x: usize, y: usize) -> [u8; 3] {
        let row = y * self.shape.stride;
        // A row of odd width ends in half a pair, whose second chroma is missing: no colour.
        let at = |index: usize| self.bytes.get(index).copied().unwrap_or(128);
        let pair = row + x / 2 * 4;
        let chroma = self.shape.stride * self.shape.height;
        match self.pixels {
            PixelFormat::YUYV => convert(at(row + x * 2), at(pair + 1), at(pair + 3)),
            PixelFormat::UYVY => convert(at(row + x * 2 + 1), at(pair), at(pair + 2)),
            PixelFormat::NV12 => {
                let pair = chroma + y / 2 * self.shape.stride + x / 2 * 2;
                convert(at(row + x), at(pair), at(pair + 1))
            }
            PixelFormat::YU12 => {
                let half = self.shape.stride / 2;
                let u = chroma + y / 2 * half + x / 2;
                convert(at(row + x), at(u), at(u + half * self.shape.height.div_ceil(2)))
            }
            PixelFormat::RGB3 => [at(row + x * 3), at(row + x * 3 + 1), at(row + x * 3 + 2)],
            PixelFormat::BGR3 => [at(row + x * 3 + 2), at(row + x * 3 + 1), at(row + x * 3)],
            _ => convert(at(row + x), 128, 128),
        }
    }
}

struct Shape {
    width: usize,
    height: usize,
    stride: usize,
}

impl Shape {
    /// Bytes of a 4:2:0 picture with its planes of chroma.
    fn with_chroma(&self) -> usize {
        self.stride * self.height + self.stride * self.height.div_ceil(2)
    }
}

fn size(value: u32) -> usize {
    usize::try_from(value).expect("a size of pictures fits")
}

/// Width and height of a picture as counts of bytes; a stride that some drivers leave at 0 is that of packed rows.
fn shape(opened: &Opened) -> Shape {
    let (width, height) = (size(opened.mode.width), size(opened.mode.height));
    let packed = match opened.mode.pixels {
        PixelFormat::YUYV | PixelFormat::UYVY => width * 2,
        PixelFormat::RGB3 | PixelFormat::BGR3 => width * 3,
        _ => width,
    };
    Shape { width, height, stride: size(opened.stride).max(packed) }
}

fn require(bytes: &[u8], need: usize) -> Result<(), Damage> {
    if bytes.len() < need { Err(Damage::Short { have: bytes.len(), need }) } else { Ok(()) }
}

/// BT.601 (ITU-R BT.601-7 section 2.5.3, inverted), limited range, in 1/256.
fn convert(y: u8, u: u8, v: u8) -> [u8; 3] {
    let (y, u, v) = (298 * (i32::from(y) - 16), i32::from(u) - 128, i32::from(v) - 128);
    [y + 409 * v, y - 100 * u - 208 * v, y + 516 * u].map(|part| clamp((part + 128) >> 8))
}

/// Limited-range luma of a full-range colour: BT.601 in 1/256.
fn mix(r: u8, g: u8, b: u8) -> u8 {
    clamp(((66 * i32::from(r) + 129 * i32::from(g) + 25 * i32::from(b) + 128) >> 8) + 16)
}

fn clamp(value: i32) -> u8 {
    u8::try_from(value.clamp(0, 255)).expect("clamped to a byte")
}

/// The colours of a JPEG that is whole.
fn decode_jpeg(opened: &Opened, bytes: &[u8]) -> Result<Vec<u8>, Damage> {
    let whole = jpeg::whole(bytes, (size(opened.mode.width), size(opened.mode.height)))?;
    let broken = |error: zune_jpeg::errors::DecodeErrors| jpeg::Damage::Content(format!("{error:?}"));
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(size(opened.mode.width))
        .set_max_height(size(opened.mode.height))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    Ok(JpegDecoder::new_with_options(ZCursor::new(whole), options).decode().map_err(broken)?)
}

#[cfg(test)]
mod tests;
