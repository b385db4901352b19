//! A picture in the terminal. Pure: what the terminal can do and how large it is are arguments.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::pixels::Rgb;

/// How a picture is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Two pixels per character cell, in 24-bit colour: every terminal of the last decade.
    HalfBlocks,
    /// DEC's sixel graphics, in 216 colours.
    Sixel,
    /// The graphics protocol of kitty, which others speak too.
    Kitty,
}

/// The space for a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Character cells across.
    pub columns: u32,
    /// Character cells down.
    pub rows: u32,
    /// Pixels of a character cell, across and down.
    pub cell: (u32, u32),
}

/// Pixels of a character cell where the terminal does not say.
pub const CELL: (u32, u32) = (8, 16);
/// Larger sixel pictures take longer than a frame does.
const LARGEST_SIXEL: (u32, u32) = (640, 480);

/// Bytes of base64 per escape sequence that kitty takes.
const KITTY_CHUNK: usize = 4096;

/// Writes a picture as large as fits into `space`, its sides in proportion, the cursor on the line below it afterwards.
pub fn paint(picture: &Rgb, style: Style, space: Space) -> String {
    match style {
        Style::HalfBlocks => {
            let (columns, rows) = space.cells(space.fit(picture));
            half_blocks(&shrink(picture, columns, rows * 2))
        }
        Style::Sixel => {
            let (width, height) = space.pixels();
            let (width, height) = fit(picture, width.min(LARGEST_SIXEL.0), height.min(LARGEST_SIXEL.1));
            sixel(&shrink(picture, width, height))
        }
        Style::Kitty => {
            let (width, height) = space.fit(picture);
            let small = shrink(picture, width.min(picture.width), height.min(picture.height));
            kitty(&small, space.cells((width, height)))
        }
    }
}

impl Space {
    /// Its size in pixels.
    fn pixels(self) -> (u32, u32) {
        (self.columns * self.cell.0, self.rows * self.cell.1)
    }

    /// The largest size in pixels with the picture's proportions.
    fn fit(self, picture: &Rgb) -> (u32, u32) {
        let (width, height) = self.pixels();
        fit(picture, width, height)
    }

    /// The cells that so many pixels take, to the nearest one.
    fn cells(self, (width, height): (u32, u32)) -> (u32, u32) {
        let nearest = |pixels: u32, cell: u32| ((pixels + cell / 2) / cell.max(1)).max(1);
        (nearest(width, self.cell.0).min(self.columns), nearest(height, self.cell.1).min(self.rows))
    }
}

/// The largest size with the picture's proportions within `width` by `height`; at least one pixel.
fn fit(picture: &Rgb, width: u32, height: u32) -> (u32, u32) {
    let (across, down) = (u64::from(picture.width.max(1)), u64::from(picture.height.max(1)));
    let by_width = (u64::from(width), (u64::from(width) * down / across).max(1));
    let by_height = ((u64::from(height) * across / down).max(1), u64::from(height));
    let (width, height) = if by_width.1 <= u64::from(height) { by_width } else { by_height };
    let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).max(1);
    (small(width), small(height))
}

/// Scales by the mean of the pixels that fall into each new one (or the nearest, when enlarging).
fn shrink(picture: &Rgb, width: u32, height: u32) -> Rgb {
    let mut bytes = Vec::with_capacity((width * height * 3) as usize);
    let span = |index: u32, new: u32, old: u32| {
        let at = |index: u32| index as usize * old as usize / new.max(1) as usize;
        (at(index), at(index + 1).max(at(index) + 1))
    };
    for y in 0..height {
        let (top, bottom) = span(y, height, picture.height);
        for x in 0..width {
            let (left, right) = span(x, width, picture.width);
            bytes.extend(mean(picture, left..right, top..bottom));
        }
    }
    Rgb { width, height, bytes }
}

fn mean(picture: &Rgb, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> [u8; 3] {
    let (mut sum, mut n) = ([0_u32; 3], 0_u32);
    for row in rows {
        let start = (row * picture.width as usize + columns.start) * 3;
        let pixels = picture.bytes.get(start..start + columns.len() * 3).unwrap_or_default();
        for pixel in pixels.chunks_exact(3) {
            sum.iter_mut().zip(pixel).for_each(|(sum, &part)| *sum += u32::from(part));
            n += 1;
        }
    }
    sum.map(|sum| u8::try_from(sum / n.max(1)).unwrap_or(u8::MAX))
}

/// The upper half of each cell in the foreground colour, the lower in the background; colours only where they change.
fn half_blocks(picture: &Rgb) -> String {
    let row_bytes = picture.width as usize * 3;
    let mut text = String::with_capacity(picture.bytes.len() * 8);
    for pair in picture.bytes.chunks_exact((row_bytes * 2).max(1)) {
        let (upper, lower) = pair.split_at(row_bytes);
        let mut last = None;
        for (fore, back) in upper.chunks_exact(3).zip(lower.chunks_exact(3)) {
            if last != Some((fore, back)) {
                let (f, b) = (fore, back);
                write!(text, "\x1b[38;2;{};{};{};48;2;{};{};{}m", f[0], f[1], f[2], b[0], b[1], b[2])
                    .expect("a string takes what it is given");
                last = Some((fore, back));
            }
            text.push('▀');
        }
        text.push_str("\x1b[0m\r\n");
    }
    text
}

/// Sixel (DEC STD 070 chapter 9): bands of six rows, one pass per colour in a band, runs counted.
fn sixel(picture: &Rgb) -> String {
    let width = picture.width as usize;
    let indexed: Vec<u8> =
        picture.bytes.chunks_exact(3).map(|p| cube(p[0]) * 36 + cube(p[1]) * 6 + cube(p[2])).collect();
    let mut text = String::from("\x1bPq");
    for color in 0..216_u32 {
        let percent = |part: u32| part * 20;
        write!(text, "#{color};2;{};{};{}", percent(color / 36), percent(color / 6 % 6), percent(color % 6))
            .expect("a string takes what it is given");
    }
    for band in indexed.chunks(width.max(1) * 6) {
        let mut used: Vec<u8> = band.to_vec();
        used.sort_unstable();
        used.dedup();
        for color in used {
            write!(text, "#{color}").expect("a string takes what it is given");
            run_lengths(&mut text, (0..width).map(|column| column_bits(band, width, column, color)));
            text.push('$');
        }
        text.push('-');
    }
    text.push_str("\x1b\\\r\n");
    text
}

/// A colour part as one of six levels.
fn cube(part: u8) -> u8 {
    u8::try_from((u16::from(part) * 5 + 127) / 255).expect("at most 5")
}

/// The six pixels of a column that have this colour, topmost in the lowest bit.
fn column_bits(band: &[u8], width: usize, column: usize, color: u8) -> u8 {
    (0..6).filter(|row| band.get(row * width + column) == Some(&color)).fold(0, |bits, row| bits | 1 << row)
}

fn run_lengths(text: &mut String, columns: impl Iterator<Item = u8>) {
    let mut columns = columns.peekable();
    while let Some(bits) = columns.next() {
        let mut run = 1;
        while columns.next_if_eq(&bits).is_some() {
            run += 1;
        }
        let sign = char::from(b'?' + bits);
        if run > 3 {
            write!(text, "!{run}{sign}").expect("a string takes what it is given");
        } else {
            text.extend(std::iter::repeat_n(sign, run));
        }
    }
}

/// Kitty's protocol: raw colours in base64, in pieces; always the same picture number, so that frames replace each other.
fn kitty(picture: &Rgb, (columns, rows): (u32, u32)) -> String {
    let encoded = STANDARD.encode(&picture.bytes);
    let (width, height) = (picture.width, picture.height);
    let mut control = format!("a=T,q=2,f=24,i=1,p=1,s={width},v={height},c={columns},r={rows}");
    let mut text = String::with_capacity(encoded.len() + encoded.len() / 64);
    let mut pieces = encoded.as_bytes().chunks(KITTY_CHUNK).peekable();
    while let Some(piece) = pieces.next() {
        let more = u8::from(pieces.peek().is_some());
        let piece = std::str::from_utf8(piece).expect("base64 is ASCII");
        let separator = if control.is_empty() { "" } else { "," };
        write!(text, "\x1b_G{control}{separator}m={more};{piece}\x1b\\")
            .expect("a string takes what it is given");
        control.clear();
    }
    text.push_str("\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: [u8; 3] = [255, 0, 0];
    const BLUE: [u8; 3] = [0, 0, 255];

    fn picture(width: u32, rows: &[[u8; 3]]) -> Rgb {
        let bytes = rows.iter().flat_map(|color| color.repeat(width as usize)).collect();
        Rgb { width, height: u32::try_from(rows.len()).expect("few rows"), bytes }
    }

    #[test]
    fn two_rows_of_pixels_are_one_row_of_half_blocks() {
        let text =
            paint(&picture(2, &[RED, BLUE]), Style::HalfBlocks, Space { columns: 2, rows: 1, cell: CELL });
        assert_eq!(text, "\x1b[38;2;255;0;0;48;2;0;0;255m▀▀\x1b[0m\r\n");
    }

    #[test]
    fn pictures_keep_their_proportions() {
        let wide = picture(320, &[RED; 180]);
        assert_eq!(fit(&wide, 80, 48), (80, 45));
        assert_eq!(fit(&wide, 800, 48), (85, 48));
        assert_eq!(fit(&wide, 1, 1), (1, 1));
        assert_eq!(fit(&Rgb { width: 0, height: 0, bytes: Vec::new() }, 80, 48), (48, 48));
    }

    #[test]
    fn whatever_the_cells_a_picture_is_as_wide_for_its_height_as_it_was() {
        let wide = picture(1_600, &[RED; 900]);
        for cell in [CELL, (7, 15), (10, 10), (12, 30)] {
            let space = Space { columns: 100, rows: 40, cell };
            let kitty = paint(&wide, Style::Kitty, space);
            let number = |key: &str| -> f64 {
                let from = kitty.find(&format!(",{key}=")).expect("it is told") + key.len() + 2;
                let digits: String = kitty[from..].chars().take_while(char::is_ascii_digit).collect();
                digits.parse().expect("a number")
            };
            let shown = number("c") * f64::from(cell.0) / (number("r") * f64::from(cell.1));
            // Rounded to whole cells: half of one of some twenty rows.
            assert!((shown / (16.0 / 9.0) - 1.0).abs() < 0.03, "{cell:?}: {shown}");
        }
        // The largest there is: 640x360, six rows to a band.
        let sixel = paint(&wide, Style::Sixel, Space { columns: 200, rows: 80, cell: CELL });
        assert!(sixel.contains("#180!640~") && sixel.matches('-').count() == 60);
    }

    #[test]
    fn shrinking_takes_the_mean() {
        let two = Rgb { width: 2, height: 1, bytes: vec![0, 10, 20, 100, 30, 40] };
        assert_eq!(shrink(&two, 1, 1).bytes, [50, 20, 30]);
        assert_eq!(shrink(&two, 4, 1).bytes, [0, 10, 20, 0, 10, 20, 100, 30, 40, 100, 30, 40]);
    }

    #[test]
    fn sixels_read_back_as_the_picture() {
        // Six red rows over two blue ones, seven across.
        let rows = [RED, RED, RED, RED, RED, RED, BLUE, BLUE];
        let text = sixel(&picture(7, &rows));
        let bands = text
            .strip_prefix("\x1bPq")
            .and_then(|text| text.strip_suffix("\x1b\\\r\n"))
            .expect("one sixel picture");
        let bands =
            &bands[bands.find("#215;2;100;100;100").expect("216 colours") + "#215;2;100;100;100".len()..];
        // All six bits are '~' (63 + 63), the two upper ones 'B' (63 + 3).
        assert_eq!(bands, "#180!7~$-#5!7B$-");
    }

    #[test]
    fn kitty_gets_all_bytes_in_pieces() {
        let big = picture(100, &[RED; 50]);
        let text = kitty(&big, (40, 10));
        let pieces: Vec<&str> = text.trim_end().split("\x1b\\").filter(|piece| !piece.is_empty()).collect();
        assert!(pieces[0].starts_with("\x1b_Ga=T,q=2,f=24,i=1,p=1,s=100,v=50,c=40,r=10,m=1;"));
        assert!(pieces.last().expect("pieces").starts_with("\x1b_Gm=0;"));
        let encoded: String =
            pieces.iter().filter_map(|piece| piece.split_once(';')).map(|(_, data)| data).collect();
        assert_eq!(STANDARD.decode(encoded).expect("base64"), big.bytes);
        assert!(pieces.iter().all(|piece| piece.len() <= KITTY_CHUNK + 80));
    }
}
