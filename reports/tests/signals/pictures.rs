use greenroom_reports::signals::picture::{Luma, Range, Watch, jpeg};
use serde_json::Value;

use super::recipe::Noise;

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("../../signals-vectors/pictures.json")).expect("vectors are JSON")
}

/// The frames of a vector.
fn frames(vector: &Value) -> impl Iterator<Item = Vec<u8>> {
    let get = |name: &str| vector[name].as_f64().unwrap_or_else(|| panic!("no `{name}`"));
    let (width, height) = (get("width") as usize, get("height") as usize);
    let (level, contrast, noise) = (get("level"), get("contrast"), get("noise"));
    let mut scene = match vector["scene"].as_str() {
        Some("flat") => vec![level; width * height],
        Some("tiles") => {
            let across = width.div_ceil(20);
            let mut random = Noise(1);
            let tiles: Vec<f64> =
                (0..across * height.div_ceil(20)).map(|_| level + contrast * random.next()).collect();
            (0..width * height).map(|n| tiles[n / width / 20 * across + n % width / 20]).collect()
        }
        other => panic!("scene {other:?}"),
    };
    for _ in 0..get("blur") as usize {
        scene = blurred(&scene, width, height);
    }
    let video = vector["range"] == "video";
    let mut random = Noise(2);
    (0..get("frames") as usize).map(move |_| {
        let byte = |share: f64| if video { 16.0 + 219.0 * share } else { 255.0 * share };
        scene.iter().map(|x| byte((x + noise * random.next()).clamp(0.0, 1.0)).round() as u8).collect()
    })
}

fn blurred(scene: &[f64], width: usize, height: usize) -> Vec<f64> {
    let at = |x: usize, y: usize| scene[y.clamp(1, height) * width - width + x.clamp(1, width) - 1];
    let around = |x: usize, y: usize| {
        (0..3).flat_map(|dy| (0..3).map(move |dx| (dx, dy))).map(|(dx, dy)| at(x + dx, y + dy)).sum::<f64>()
            / 9.0
    };
    (0..width * height).map(|n| around(n % width, n / width)).collect()
}

#[test]
fn every_vector_is_named_and_measured_right() {
    let mut wrong = Vec::new();
    for vector in vectors() {
        let (width, height) = (
            vector["width"].as_u64().expect("width") as usize,
            vector["height"].as_u64().expect("height") as usize,
        );
        let mut watch = Watch::new(if vector["range"] == "video" { Range::Video } else { Range::Full });
        for frame in frames(&vector) {
            watch.push(&Luma::plane(&frame, width, height, width).expect("fits"));
        }
        let figures = serde_json::to_value(watch.figures()).expect("figures are JSON");
        let found = super::differences(&figures, &vector["expect"]);
        wrong.extend(found.into_iter().map(|line| format!("{}: {line}", vector["name"])));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Brightness is seen where it lies: packed with color, and in rows with padding whose content is nobody's business.
#[test]
fn padding_and_color_change_nothing() {
    let plane: Vec<u8> = (0..64 * 48).map(|n| (n * 7 % 251) as u8).collect();
    let padded = |filler: u8| -> Vec<u8> {
        plane
            .chunks(64)
            .flat_map(|row| row.iter().flat_map(move |y| [*y, filler]).chain([filler; 10]))
            .collect()
    };
    let mut frozen = Watch::new(Range::Full);
    for k in 0..20 {
        frozen.push(&Luma::yuyv(&padded(k), 64, 48, 138).expect("fits"));
    }
    let mut same = Watch::new(Range::Full);
    (0..20).for_each(|_| {
        same.push(&Luma::plane(&plane, 64, 48, 64).expect("fits"));
    });
    assert_eq!(frozen.figures(), same.figures());
    assert_eq!(frozen.figures().identical_run.fact(), Some(&20));
}

/// A JPEG by another hand: 64 × 48, gradient, written by libjpeg through Pillow.
const WHOLE: &[u8] = include_bytes!("../data/gradient.jpg");

#[test]
fn a_whole_jpeg_gives_its_brightness() {
    let gray = jpeg::check(WHOLE, (64, 48)).expect("it is whole");
    let rows: Vec<Vec<u8>> = gray.luma().rows().map(Iterator::collect).collect();
    assert_eq!((rows.len(), rows[0].len()), (48, 64));
    // Brightness is 3 x + y, to within what quality 90 loses.
    for (x, y) in [(0, 0), (63, 0), (0, 47), (31, 23), (63, 47)] {
        let expected = 3 * x + y;
        assert!(rows[y][x].abs_diff(expected as u8) <= 6, "{x} {y}: {}", rows[y][x]);
    }
    let padded = [WHOLE, &[0; 100]].concat();
    assert_eq!(jpeg::check(&padded, (64, 48)), Ok(gray), "zeros behind the end are padding");
}

#[test]
fn a_jpeg_without_tables_has_the_usual_ones() {
    // Standard tables, as libjpeg writes them when it does not optimize: taking them out must change nothing.
    let mut bare = WHOLE[..2].to_vec();
    let mut at = 2;
    while WHOLE[at + 1] != 0xda {
        let length = usize::from(u16::from_be_bytes([WHOLE[at + 2], WHOLE[at + 3]])) + 2;
        if WHOLE[at + 1] != 0xc4 {
            bare.extend(&WHOLE[at..at + length]);
        }
        at += length;
    }
    bare.extend(&WHOLE[at..]);
    assert!(bare.len() < WHOLE.len() - 200, "tables were taken out");
    assert_eq!(jpeg::check(&bare, (64, 48)), jpeg::check(WHOLE, (64, 48)));
}

/// Where the coded data of [`WHOLE`] begin.
fn start_of_data() -> usize {
    let scan = WHOLE.windows(2).position(|pair| pair == [0xff, 0xda]).expect("it has a scan");
    scan + 2 + usize::from(u16::from_be_bytes([WHOLE[scan + 2], WHOLE[scan + 3]]))
}

#[test]
fn damage_is_found() {
    use jpeg::Damage;
    let check = |frame: &[u8]| jpeg::check(frame, (64, 48));
    assert_eq!(check(&[]), Err(Damage::Empty));
    assert_eq!(check(&[0; 500]), Err(Damage::Empty));
    assert_eq!(check(&WHOLE[1..]), Err(Damage::NoStart));
    assert_eq!(check(b"GIF89a"), Err(Damage::NoStart));
    for cut in [3, WHOLE.len() / 4, WHOLE.len() / 2, WHOLE.len() - 2] {
        assert!(matches!(check(&WHOLE[..cut]), Err(Damage::NoEnd | Damage::NoStart)), "{cut}");
    }
    assert!(check(&[0xff, 0xd8, 0xff, 0xd9]).is_err());
    let data = start_of_data();
    for cut in [data, data + 20, (data + WHOLE.len()) / 2, WHOLE.len() - 10] {
        let ended = [&WHOLE[..cut], &[0xff, 0xd9]].concat();
        assert_eq!(check(&ended), Err(Damage::Incomplete), "cut at {cut} and ended");
    }
    for lost in [20, 60, 150] {
        let holed = [&WHOLE[..data + 50], &WHOLE[data + 50 + lost..]].concat();
        assert!(matches!(check(&holed), Err(Damage::Incomplete | Damage::Content(_))), "{lost} bytes lost");
    }
    let spare = [&WHOLE[..WHOLE.len() - 2], &[7, 7, 0xff, 0xd9]].concat();
    assert!(check(&spare).is_ok(), "webcams leave some bytes before the end");
    let twice = [&WHOLE[..WHOLE.len() - 2], &WHOLE[data..]].concat();
    assert!(matches!(check(&twice), Err(Damage::Content(_))), "too many data");
    assert!(
        jpeg::check(WHOLE, (48, 64)).is_err()
            && jpeg::check(WHOLE, (640, 480)) == Err(Damage::Size { width: 64, height: 48 })
    );
}

/// In color, 4:2:0, 85 × 51 (no whole number of blocks), a restart every two units; the same progressive. Both by libjpeg
/// through Pillow.
const RESTARTS: &[u8] = include_bytes!("../data/restarts.jpg");
const PROGRESSIVE: &[u8] = include_bytes!("../data/progressive.jpg");

#[test]
fn color_restarts_and_other_kinds_of_jpeg_are_whole() {
    for frame in [RESTARTS, PROGRESSIVE] {
        let gray = jpeg::check(frame, (85, 51)).expect("it is whole");
        assert_eq!((gray.luma().width(), gray.luma().height()), (85, 51));
    }
}

#[test]
fn a_lost_restart_is_damage() {
    use jpeg::Damage;
    let marker = |number: u8| {
        RESTARTS.windows(2).position(|pair| pair == [0xff, 0xd0 + number]).expect("it has all eight")
    };
    // What stands between two markers was lost with one of them.
    let holed = [&RESTARTS[..marker(1)], &RESTARTS[marker(2)..]].concat();
    assert!(matches!(jpeg::check(&holed, (85, 51)), Err(Damage::Content(_))));
    let ended = [&RESTARTS[..marker(6)], &[0xff, 0xd9]].concat();
    assert_eq!(jpeg::check(&ended, (85, 51)), Err(Damage::Incomplete));
}

/// Whatever byte is broken, there is an answer and no panic.
#[test]
fn no_broken_byte_panics() {
    for (whole, size) in [(WHOLE, (64, 48)), (RESTARTS, (85, 51)), (PROGRESSIVE, (85, 51))] {
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut frame = whole.to_vec();
                frame[at] ^= flip;
                let _ = jpeg::check(&frame, size);
            }
        }
    }
}
