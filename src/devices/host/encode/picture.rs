//! Moving pictures like those of a call: somebody before a wall, seen by a camera that is not perfect.
//!
//! The wall is still and textured. Before it a disc whose radius is a third of the picture's height, with fine stripes for hair and
//! clothes, sways to and fro by a hundredth of the picture's width per frame, as a person who talks does. Every pixel has the noise of a camera in
//! a lit room, up to two levels of 255 either way, new in each frame. Neither is easier than a call's picture (a flat or
//! frozen one costs an encoder a fraction) nor harder (pure noise costs it several times as much).

/// A picture in YUV 4:2:0, planes without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels across, even.
    pub width: usize,
    /// Pixels down, even.
    pub height: usize,
    /// Brightness, one octet per pixel.
    pub y: Vec<u8>,
    /// Blue against brightness, one per four pixels.
    pub u: Vec<u8>,
    /// Red against brightness, likewise.
    pub v: Vec<u8>,
}

/// Pictures of a sequence; it is played to and fro.
const PICTURES: usize = 8;

/// The pictures of a sequence, the same ones at every call.
pub fn sequence(width: usize, height: usize) -> Vec<Picture> {
    (0..PICTURES).map(|number| draw(width, height, number)).collect()
}

/// Plays a sequence forward and backward without end, so that it never jumps.
pub fn to_and_fro<T>(sequence: &[T]) -> impl Iterator<Item = &T> {
    let inner = sequence.len().saturating_sub(1).max(1);
    sequence.iter().chain(sequence[1..inner].iter().rev()).cycle()
}

fn draw(width: usize, height: usize, number: usize) -> Picture {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1));
    let disc = Disc { x: width * (46 + number) / 100, y: height / 2, radius: height / 3 };
    let mut y = Vec::with_capacity(width * height);
    for row in 0..height {
        for column in 0..width {
            let still =
                if disc.holds(column, row) { disc.stripes(column, row) } else { wall(column, row, height) };
            y.push(still + noise.next());
        }
    }
    let (across, down) = (width / 2, height / 2);
    let chroma = |of_disc: u8, of_wall: u8| {
        let color = |at: usize| match disc.holds(2 * (at % across), 2 * (at / across)) {
            true => of_disc,
            false => of_wall,
        };
        (0..across * down).map(color).collect()
    };
    Picture { width, height, y, u: chroma(110, 128), v: chroma(150, 124) }
}

/// Brighter towards the top, with the grain of wallpaper two pixels wide.
fn wall(column: usize, row: usize, height: usize) -> u8 {
    let light = 150 - 60 * row / height;
    let grain = (column / 2 * 31 + row / 2 * 17) % 13;
    octet(light + grain)
}

/// What moves.
struct Disc {
    x: usize,
    y: usize,
    radius: usize,
}

impl Disc {
    fn holds(&self, column: usize, row: usize) -> bool {
        let (across, down) = (column.abs_diff(self.x), row.abs_diff(self.y));
        across * across + down * down < self.radius * self.radius
    }

    /// Its stripes move with it.
    fn stripes(&self, column: usize, row: usize) -> u8 {
        let (across, down) = (column + self.radius - self.x, row + self.radius - self.y);
        octet(130 + (across / 3 + down / 5) % 9 * 6)
    }
}

/// Two levels either way, all five alike often; 2 is added so that it is never negative.
struct Noise(u64);

impl Noise {
    /// Xorshift (Marsaglia 2003), which is enough for grain.
    const fn next(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32).to_le_bytes()[0] % 5
    }
}

/// A level that is known to lie below 256.
fn octet(level: usize) -> u8 {
    u8::try_from(level).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (320, 180);

    /// Mean of the absolute differences in brightness.
    fn difference(one: &Picture, other: &Picture) -> f64 {
        let sum: u32 = one.y.iter().zip(&other.y).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        f64::from(sum) / f64::from(u32::try_from(one.y.len()).unwrap())
    }

    #[test]
    fn planes_have_the_sizes_of_420() {
        for picture in sequence(SIZE.0, SIZE.1) {
            assert_eq!((picture.y.len(), picture.u.len(), picture.v.len()), (57_600, 14_400, 14_400));
        }
    }

    #[test]
    fn it_moves_and_has_grain_everywhere() {
        let pictures = sequence(SIZE.0, SIZE.1);
        // Two of five levels of noise lie 1.6 apart on average (by hand: 40 / 25); what moves adds to that.
        let next = difference(&pictures[0], &pictures[1]);
        let far = difference(&pictures[0], &pictures[7]);
        assert!((2.0..12.0).contains(&next), "{next}");
        assert!(far > next, "{far} {next}");
        let corner = |picture: &Picture| picture.y[..20].to_vec();
        assert_ne!(corner(&pictures[0]), corner(&pictures[1]), "even the wall is never the same");
    }

    #[test]
    fn a_sequence_is_played_without_jumps() {
        let played: Vec<_> = to_and_fro(&[1, 2, 3, 4]).take(13).copied().collect();
        assert_eq!(played, [1, 2, 3, 4, 3, 2, 1, 2, 3, 4, 3, 2, 1]);
    }
}
