//! Any bits at all: an answer, no panic, nothing that is no number; and blocks of any size make no difference.

use greenroom_reports::schema::SoundFigures;
use greenroom_reports::signals::picture::{FrameStats, Luma, Range, Timeline, Watch, jpeg};
use greenroom_reports::signals::sound::{Circumstances, Format, Meter, Recording, sweep::Sweep, tone};
use greenroom_reports::units::Micros;
use proptest::prelude::*;

/// Samples of any bits, with stretches of the same, of zeros and of sound among them.
fn samples() -> impl Strategy<Value = Vec<f32>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 1..200),
        (any::<u32>().prop_map(f32::from_bits), 1..2_000_usize).prop_map(|(x, n)| vec![x; n]),
        (1..3_000_usize).prop_map(|n| vec![0.0; n]),
        (any::<u32>(), 1..5_000_usize).prop_map(|(seed, n)| {
            let mut noise = super::recipe::Noise(seed);
            (0..n).map(|_| noise.next() as f32).collect()
        }),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn recorded(format: Format, blocks: &[&[f32]]) -> Recording {
    let mut recording = Recording::new(format);
    blocks.iter().for_each(|block| recording.push(block));
    recording
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_samples_have_figures_that_are_numbers(samples in samples(), rate in 4_000..96_000_u32, channels in 1..5_u16) {
        let format = Format::new(rate, channels).expect("a format");
        let figures = recorded(format, &[&samples]).analysis().figures(Circumstances::default(), None);
        // JSON has no infinity and no NaN: what cannot be written cannot be read again.
        let text = serde_json::to_string(&figures).expect("JSON");
        let again: SoundFigures = serde_json::from_str(&text).expect("figures again");
        prop_assert_eq!(serde_json::to_string(&again).expect("JSON"), text);
    }

    #[test]
    fn blocks_change_nothing(samples in samples(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20), channels in 1..4_u16) {
        let format = Format::new(16_000, channels).expect("a format");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(samples.len() + 1)).collect();
        cuts.sort_unstable();
        let edges: Vec<usize> = std::iter::once(0).chain(cuts).chain(std::iter::once(samples.len())).collect();
        let blocks: Vec<&[f32]> = edges.windows(2).map(|edge| &samples[edge[0]..edge[1]]).collect();
        prop_assert_eq!(recorded(format, &blocks).analysis(), recorded(format, &[&samples]).analysis());
        let (mut whole, mut cut) = (Meter::default(), Meter::default());
        whole.push(&samples);
        blocks.iter().for_each(|block| cut.push(block));
        prop_assert_eq!(whole.take(), cut.take());
    }

    #[test]
    fn any_samples_may_be_searched_for_tones_and_sweeps(samples in samples()) {
        if let Some(tone) = tone::measure(&samples, 8_000) {
            prop_assert!(tone.hz.is_finite() && tone.level_dbfs.is_finite() && tone.thd_n_db.is_finite(), "{:?}", tone);
        }
        let sweep = Sweep::new(8_000, 0.2).expect("a sweep");
        if let Some(found) = sweep.find(&samples) {
            let figures = serde_json::to_string(&found.figures(0, 0)).expect("JSON");
            prop_assert!(serde_json::from_str::<greenroom_reports::schema::LoopChannel>(&figures).is_ok(), "{}", figures);
        }
    }

    #[test]
    fn any_bytes_are_a_frame_or_none(bytes in prop::collection::vec(any::<u8>(), 0..2_000), width in 0..70_usize, height in 0..70_usize, stride in 0..150_usize) {
        for luma in [Luma::plane(&bytes, width, height, stride), Luma::yuyv(&bytes, width, height, stride)].into_iter().flatten() {
            let stats = FrameStats::of(&luma, Range::Video);
            prop_assert!((0.0..=1.0).contains(&stats.mean) && stats.spread <= 0.5 && stats.sharpness.is_none_or(f64::is_finite));
            let mut watch = Watch::new(Range::Full);
            watch.push(&luma);
            prop_assert!(watch.seen().is_some());
        }
        let _ = jpeg::check(&bytes, (width, height));
        let framed = [&[0xff, 0xd8], bytes.as_slice(), &[0xff, 0xd9]].concat();
        let _ = jpeg::check(&framed, (width, height));
    }

    #[test]
    fn any_times_make_figures(times in prop::collection::vec((any::<i64>(), any::<Option<u32>>(), any::<Option<bool>>()), 0..50), started in any::<i64>(), until in any::<i64>()) {
        let mut timeline = Timeline::new(Micros::new(started), Some(30.0));
        times.iter().for_each(|(at, number, damaged)| timeline.push(Micros::new(*at), *number, *damaged));
        let text = serde_json::to_string(&timeline.figures(Micros::new(until))).expect("JSON");
        prop_assert!(serde_json::from_str::<greenroom_reports::schema::FrameFigures>(&text).is_ok(), "{}", text);
    }
}

#[test]
fn thirty_two_channels_at_192_khz() {
    let format = Format::new(192_000, 32).expect("a format");
    let mut noise = super::recipe::Noise(3);
    let samples: Vec<f32> = (0..32 * 96_000).map(|_| noise.next() as f32 * 0.1).collect();
    let analysis = recorded(format, &[&samples]).analysis();
    assert_eq!(analysis.channels.len(), 32);
    assert!(analysis.channels.iter().all(|channel| channel.samples == 96_000));
    assert!(analysis.channels.iter().all(|channel| (channel.rms_dbfs + 24.77).abs() < 0.05));
    let few = recorded(Format::new(8_000, u16::MAX).expect("a format"), &[&[0.5; 100_000]]).analysis();
    assert_eq!(few.channels.len(), 64);
}
