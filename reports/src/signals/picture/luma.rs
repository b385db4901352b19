//! One frame.

use crate::signals::limits;
use crate::signals::sound::float;

/// Width to which frames are brought down before detail is looked for: large sensors are smooth from pixel to pixel, so
/// that without it a sharp 1080p picture would look more blurred than a sharp 360p one.
const DETAIL_WIDTH: usize = 640;

/// The brightness of a frame: rows of bytes, viewed without copying.
#[derive(Debug, Clone, Copy)]
pub struct Luma<'a> {
    data: &'a [u8],
    width: usize,
    height: usize,
    stride: usize,
    step: usize,
}

impl<'a> Luma<'a> {
    /// A plane with one byte per pixel (Y8, or the first plane of NV12 and I420). `stride` is the distance of rows in bytes.
    /// `None` for an empty frame, rows longer than their distance, or less data than that takes.
    pub fn plane(data: &'a [u8], width: usize, height: usize, stride: usize) -> Option<Self> {
        Self::spaced(data, width, height, stride, 1)
    }

    /// A packed YUYV frame: every other byte is brightness. Otherwise as [`Luma::plane`].
    pub fn yuyv(data: &'a [u8], width: usize, height: usize, stride: usize) -> Option<Self> {
        Self::spaced(data, width, height, stride, 2)
    }

    fn spaced(data: &'a [u8], width: usize, height: usize, stride: usize, step: usize) -> Option<Self> {
        let row = width.checked_sub(1)?.checked_mul(step)?.checked_add(1)?;
        let needed = height.checked_sub(1)?.checked_mul(stride)?.checked_add(row)?;
        (row <= stride && needed <= data.len()).then_some(Self { data, width, height, stride, step })
    }

    /// Pixels across.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels down.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The rows, from the top.
    pub fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = u8> + 'a> + 'a {
        let Self { data, width, height, stride, step } = *self;
        let row = (width - 1) * step + 1;
        (0..height).map(move |y| data[y * stride..y * stride + row].iter().step_by(step).copied())
    }
}

/// Which bytes stand for black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Range {
    /// 16 and 235 (YUV of cameras).
    Video,
    /// 0 and 255 (JPEG).
    Full,
}

impl Range {
    /// A byte's brightness as a share of white; beyond black and white it is cut off.
    fn share(self, byte: u8) -> f64 {
        match self {
            Self::Video => ((f64::from(byte) - 16.0) / 219.0).clamp(0.0, 1.0),
            Self::Full => f64::from(byte) / 255.0,
        }
    }
}

/// What one frame looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameStats {
    /// Mean brightness, of white.
    pub mean: f64,
    /// Standard deviation of brightness, of white.
    pub spread: f64,
    /// Share of the pixels that are white beyond detail.
    pub overexposed: f64,
    /// Variance of the Laplacian over the variance of brightness, at 640 pixels across or less and with the noise of single
    /// pixels smoothed away. `None` when the frame has one brightness only, or less than five pixels to a side.
    pub sharpness: Option<f64>,
}

impl FrameStats {
    /// Looks at a frame.
    pub fn of(luma: &Luma<'_>, range: Range) -> Self {
        let mut histogram = [0_usize; 256];
        for row in luma.rows() {
            row.for_each(|byte| histogram[usize::from(byte)] += 1);
        }
        let n = float(luma.width * luma.height);
        let by_share =
            || histogram.iter().zip(0_u8..=255).map(|(count, byte)| (float(*count), range.share(byte)));
        let mean = by_share().map(|(count, share)| count * share).sum::<f64>() / n;
        let variance = by_share().map(|(count, share)| count * (share - mean).powi(2)).sum::<f64>() / n;
        let white = limits().picture.white_ratio.value;
        let white = by_share().filter(|(_, share)| *share >= white).map(|(count, _)| count).sum::<f64>();
        Self { mean, spread: variance.sqrt(), overexposed: white / n, sharpness: sharpness(luma) }
    }
}

/// Variance of the Laplacian (4 neighbors) over the variance of brightness, of the frame brought down by whole factors and
/// smoothed: without that, a sensor's noise looks like fine detail, and a blurred picture in a dim room like a sharp one.
fn sharpness(luma: &Luma<'_>) -> Option<f64> {
    let by = luma.width.div_ceil(DETAIL_WIDTH);
    let (width, height) = (luma.width / by, luma.height / by);
    if width < 5 || height < 5 {
        return None;
    }
    let small = smoothed(&smaller(luma, by, width, height), width, height);
    let (width, height) = (width - 2, height - 2);
    let at = |x: usize, y: usize| small[y * width + x];
    let mut laplacian = Moments::default();
    let mut brightness = Moments::default();
    for y in 1..height - 1 {
        for x in 1..width - 1 {
            let center = at(x, y);
            laplacian.push(at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * center);
            brightness.push(center);
        }
    }
    (brightness.variance() > 0.0).then(|| laplacian.variance() / brightness.variance())
}

/// Each pixel with its neighbors, weighted 1 2 1 across and down, less the outermost pixels. Independent noise of the pixels
/// then adds 0.41 times its variance to that of the Laplacian, not 20 times.
fn smoothed(frame: &[f64], width: usize, height: usize) -> Vec<f64> {
    let across: Vec<f64> = frame
        .chunks_exact(width)
        .flat_map(|row| row.windows(3).map(|three| three[0] + 2.0 * three[1] + three[2]))
        .collect();
    let width = width - 2;
    let at = |x: usize, y: usize| across[y * width + x];
    (1..height - 1)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| (at(x, y - 1) + 2.0 * at(x, y) + at(x, y + 1)) / 16.0)
        .collect()
}

/// The frame with each block of `by` × `by` pixels made one.
fn smaller(luma: &Luma<'_>, by: usize, width: usize, height: usize) -> Vec<f64> {
    let mut sums = vec![0_u32; width * height];
    for (y, row) in luma.rows().enumerate().take(height * by) {
        let into = &mut sums[y / by * width..][..width];
        for (x, byte) in row.enumerate().take(width * by) {
            into[x / by] += u32::from(byte);
        }
    }
    let pixels = float(by * by);
    sums.into_iter().map(|sum| f64::from(sum) / pixels).collect()
}

/// Mean and variance.
#[derive(Default)]
struct Moments {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn push(&mut self, x: f64) {
        self.n += 1.0;
        self.sum += x;
        self.squares += x * x;
    }

    fn variance(&self) -> f64 {
        (self.squares / self.n - (self.sum / self.n).powi(2)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_do_not_fit_are_none() {
        let data = [0; 100];
        assert!(Luma::plane(&data, 10, 10, 10).is_some());
        assert!(Luma::plane(&data, 10, 11, 10).is_none(), "too little data");
        assert!(Luma::plane(&data, 11, 9, 10).is_none(), "rows overlap");
        assert!(Luma::plane(&data, 0, 10, 10).is_none() && Luma::plane(&data, 10, 0, 10).is_none());
        assert!(Luma::yuyv(&data, 5, 10, 10).is_some() && Luma::yuyv(&data, 6, 9, 10).is_none());
        assert!(Luma::plane(&data, usize::MAX, usize::MAX, usize::MAX).is_none());
        assert!(Luma::plane(&data[..95], 5, 10, 10).is_some(), "the last row needs no padding");
    }

    /// Half black, half white: mean and spread are one half, half of it overexposed.
    #[test]
    fn mean_spread_and_white_by_hand() {
        let data = [16, 16, 235, 235, 16, 16, 235, 235];
        let stats = FrameStats::of(&Luma::plane(&data, 4, 2, 4).expect("fits"), Range::Video);
        assert_eq!((stats.mean, stats.spread, stats.overexposed), (0.5, 0.5, 0.5));
        assert_eq!(stats.sharpness, None, "two rows have no inside");
        let yuyv = [0, 128, 255, 128, 0, 128, 255, 128];
        let stats = FrameStats::of(&Luma::yuyv(&yuyv, 2, 2, 4).expect("fits"), Range::Full);
        assert_eq!((stats.mean, stats.spread), (0.5, 0.5));
    }

    /// Vertical stripes of two pixels, 0 and 200, smoothed to 50 and 150: inside, the Laplacian is ±100 (variance 10 000) and
    /// brightness ±50 (2 500).
    #[test]
    fn sharpness_by_hand() {
        let data: Vec<u8> = (0..120).map(|n| if n % 12 % 4 < 2 { 0 } else { 200 }).collect();
        let stats = FrameStats::of(&Luma::plane(&data, 12, 10, 12).expect("fits"), Range::Full);
        assert!(stats.sharpness.is_some_and(|sharpness| (sharpness - 4.0).abs() < 1e-9), "{stats:?}");
        let flat = FrameStats::of(&Luma::plane(&[77; 100], 10, 10, 10).expect("fits"), Range::Full);
        assert_eq!(flat.sharpness, None);
    }
}
