use proptest::prelude::*;

use super::*;

/// The brightness of a frame, pixel by pixel.
fn luma(opened: &Opened, bytes: &[u8]) -> Result<Vec<u8>, Damage> {
    brightness(opened, bytes, |luma| luma.rows().flatten().collect())
}

fn opened(pixels: PixelFormat, width: u32, height: u32, stride: u32) -> Opened {
    Opened { mode: Mode { pixels, width, height, interval: None }, stride }
}

/// Two rows of four pixels, brightness 10, 20, … 80, no colour, in every format; rows padded to `stride` with 255.
fn grey_ramp(pixels: PixelFormat) -> (Opened, Vec<u8>) {
    let ramp = [[10_u8, 20, 30, 40], [50, 60, 70, 80]];
    let rows = |row: &[u8; 4]| -> Vec<u8> {
        let mut bytes: Vec<u8> = match pixels {
            PixelFormat::YUYV => row.iter().flat_map(|&y| [y, 128]).collect(),
            PixelFormat::UYVY => row.iter().flat_map(|&y| [128, y]).collect(),
            _ => row.to_vec(),
        };
        bytes.extend([255, 255]);
        bytes
    };
    let mut bytes: Vec<u8> = ramp.iter().flat_map(rows).collect();
    let stride = u32::try_from(bytes.len() / 2).expect("small");
    match pixels {
        PixelFormat::NV12 => bytes.extend([128; 6]),
        PixelFormat::YU12 => bytes.extend([128; 6]),
        _ => {}
    }
    (opened(pixels, 4, 2, stride), bytes)
}

#[test]
fn brightness_is_the_same_in_every_layout_and_padding_is_left_out() {
    for pixels in
        [PixelFormat::YUYV, PixelFormat::UYVY, PixelFormat::GREY, PixelFormat::NV12, PixelFormat::YU12]
    {
        let (opened, bytes) = grey_ramp(pixels);
        let luma = luma(&opened, &bytes).unwrap_or_else(|damage| panic!("{pixels}: {damage}"));
        assert_eq!(luma, [10, 20, 30, 40, 50, 60, 70, 80], "{pixels}");
        let rgb = rgb(&opened, &bytes).unwrap_or_else(|damage| panic!("{pixels}: {damage}"));
        // (298 × (80 − 16) + 128) / 256 = 75.
        assert_eq!(rgb.bytes[21..], [75, 75, 75], "{pixels}");
        assert_eq!(rgb.bytes.len(), 24);
    }
}

#[test]
fn colours_come_out_right() {
    // BT.601 limited range: red is (81, 90, 240), blue (41, 240, 110), green (145, 54, 34), white (235, 128, 128).
    let cases = [
        ([81, 90, 240], [255, 0, 0]),
        ([41, 240, 110], [0, 0, 255]),
        ([145, 54, 34], [0, 255, 0]),
        ([235, 128, 128], [255, 255, 255]),
        ([16, 128, 128], [0, 0, 0]),
    ];
    for ([y, u, v], expected) in cases {
        let near = |got: &[u8]| got.iter().zip(expected).all(|(&got, expected)| got.abs_diff(expected) <= 2);
        let packed = rgb(&opened(PixelFormat::YUYV, 2, 1, 4), &[y, u, y, v]).expect("whole");
        assert!(near(&packed.bytes[..3]) && near(&packed.bytes[3..]), "{:?} for {expected:?}", packed.bytes);
        let packed = rgb(&opened(PixelFormat::UYVY, 2, 1, 4), &[u, y, v, y]).expect("whole");
        assert!(near(&packed.bytes[..3]), "{:?} for {expected:?}", packed.bytes);
        let planes = rgb(&opened(PixelFormat::NV12, 2, 2, 2), &[y, y, y, y, u, v]).expect("whole");
        assert!(near(&planes.bytes[9..]), "{:?} for {expected:?}", planes.bytes);
        let planes = rgb(&opened(PixelFormat::YU12, 2, 2, 2), &[y, y, y, y, u, v]).expect("whole");
        assert!(near(&planes.bytes[9..]), "{:?} for {expected:?}", planes.bytes);
        // And back: the brightness of the colour is what it was sent as.
        let [r, g, b] = expected;
        let back = luma(&opened(PixelFormat::BGR3, 1, 1, 3), &[b, g, r]).expect("whole");
        assert!(back[0].abs_diff(y) <= 1, "{back:?} for {y}");
    }
}

#[test]
fn every_other_pixel_makes_half_the_picture() {
    let (opened, bytes) = grey_ramp(PixelFormat::YUYV);
    let half = sampled(&opened, &bytes, 2, 1).expect("whole");
    // Brightness 10 and 30: (298 × (30 − 16) + 128) / 256 = 16.
    assert_eq!((half.width, half.height, half.bytes), (2, 1, vec![0, 0, 0, 16, 16, 16]));
    let larger = sampled(&opened, &bytes, 400, 400).expect("whole");
    assert_eq!((larger.width, larger.height), (4, 2), "nothing is made up");
}

#[test]
fn a_frame_cut_short_is_no_picture() {
    for pixels in
        [PixelFormat::YUYV, PixelFormat::UYVY, PixelFormat::GREY, PixelFormat::NV12, PixelFormat::YU12]
    {
        let (opened, bytes) = grey_ramp(pixels);
        // Padding behind the last row of packed formats may be missing; anything else may not.
        let short = &bytes[..bytes.len() - 3];
        assert!(matches!(luma(&opened, short), Err(Damage::Short { .. })), "{pixels}");
        assert!(matches!(rgb(&opened, &[]), Err(Damage::Short { have: 0, .. })), "{pixels}");
    }
    let unknown = opened(PixelFormat(*b"H264"), 2, 2, 2);
    assert_eq!(luma(&unknown, &[0; 100]), Err(Damage::Format(PixelFormat(*b"H264"))));
}

/// A picture with something in it everywhere, as a JPEG.
fn jpeg_file() -> (Opened, Vec<u8>, Rgb) {
    let (width, height) = (160, 120);
    let byte = |value: u32| u8::try_from(value % 256).expect("a byte");
    let bytes =
        (0..width * height).flat_map(|i: u32| [byte(i % 160), byte(i / 160 * 2), byte(i * 7)]).collect();
    let picture = Rgb { width, height, bytes };
    let file = encode(&picture).expect("a small picture");
    (opened(PixelFormat::MJPG, width, height, 0), file, picture)
}

#[test]
fn a_whole_jpeg_is_read_also_with_zeros_behind_it() {
    let (opened, mut file, picture) = jpeg_file();
    let read = rgb(&opened, &file).expect("it is whole");
    let error: usize = read.bytes.iter().zip(&picture.bytes).map(|(a, b)| usize::from(a.abs_diff(*b))).sum();
    assert!(error < 12 * picture.bytes.len(), "mean error {}", error / picture.bytes.len());
    file.extend([0; 300]);
    assert_eq!(luma(&opened, &file).map(|luma| luma.len()), Ok(160 * 120));
}

#[test]
fn every_way_of_tearing_a_jpeg_is_found() {
    let (opened, file, _) = jpeg_file();
    let half = &file[..file.len() / 2];
    let zeros = [half, &vec![0; file.len() / 2]].concat();
    for torn in [half, &file[2..], &file[..file.len() - 40], &[], &zeros] {
        assert!(matches!(luma(&opened, torn), Err(Damage::Jpeg(_))), "{:?}", luma(&opened, torn));
        assert!(rgb(&opened, torn).is_err());
    }
    let other = Opened { mode: Mode { width: 320, ..opened.mode }, ..opened };
    assert!(luma(&other, &file).is_err() && rgb(&other, &file).is_err(), "it has another size");
}

proptest! {
    #[test]
    fn no_bytes_of_any_driver_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        width in 0..40_u32, height in 0..40_u32, stride in 0..100_u32,
        format in 0..PixelFormat::READABLE.len(),
    ) {
        let opened = opened(PixelFormat::READABLE[format], width, height, stride);
        if let Ok(luma) = luma(&opened, &bytes) {
            prop_assert_eq!(luma.len(), (width * height) as usize);
        }
        if let Ok(rgb) = rgb(&opened, &bytes) {
            prop_assert_eq!(rgb.bytes.len(), (width * height * 3) as usize);
        }
    }

    #[test]
    fn no_damage_to_a_jpeg_panics(at in 0..4000_usize, value: u8, cut in 0..4000_usize) {
        let (opened, mut file, _) = jpeg_file();
        let length = file.len();
        file[at % length] = value;
        file.truncate(length - cut % 40);
        let _ = luma(&opened, &file);
        let _ = rgb(&opened, &file);
    }
}
