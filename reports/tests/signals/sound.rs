use greenroom_reports::schema::Heard;
use greenroom_reports::signals::sound::{
    Circumstances, Format, Recording, active_level, interleave, sweep::Sweep, tone,
};
use serde_json::Value;

use super::recipe::{CLIP_RATE, clip, samples};

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("../../signals-vectors/sound.json")).expect("vectors are JSON")
}

fn figures(vector: &Value) -> Value {
    let (samples, channels) = samples(vector);
    let rate = u32::try_from(vector["rate"].as_u64().expect("a rate")).expect("a rate");
    let mut recording = Recording::new(Format::new(rate, channels).expect("a format"));
    recording.push(&samples);
    let told = |name: &str| vector["told"][name].as_bool();
    let told = Circumstances { permitted: told("permitted"), muted: told("muted") };
    serde_json::to_value(recording.analysis().figures(told, None)).expect("figures are JSON")
}

#[test]
fn every_vector_is_named_and_measured_right() {
    let mut wrong = Vec::new();
    for vector in vectors() {
        let figures = figures(&vector);
        let found = super::differences(&figures, &vector["expect"]);
        wrong.extend(found.into_iter().map(|line| format!("{}: {line}", vector["name"])));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_vectors_hold_every_silence_and_enough_speech() {
    let vectors = vectors();
    let names = [
        Heard::Speech,
        Heard::NoPermission,
        Heard::MutedInSoftware,
        Heard::MutedInHardware,
        Heard::Stuck,
        Heard::TooQuiet,
        Heard::NobodySpoke,
    ];
    for heard in names {
        let name = serde_json::to_value(heard).expect("a name");
        assert!(vectors.iter().any(|vector| vector["expect"]["heard"] == name), "{name}");
    }
    assert!(vectors.iter().filter(|vector| vector["source"] == "speech").count() >= 14);
}

/// The active speech level straight from the text of ITU-T P.56, method B, threshold by threshold over the whole clip.
#[test]
fn the_speech_level_is_that_of_a_second_implementation() {
    let clip = clip();
    let mean = clip.iter().sum::<f64>() / clip.len() as f64;
    let x: Vec<f64> = clip.iter().map(|x| x - mean).collect();
    let rate = f64::from(CLIP_RATE);
    let g = (-1.0 / (rate * 0.03)).exp();
    let (mut p, mut q) = (0.0, 0.0);
    let envelope: Vec<f64> = x
        .iter()
        .map(|x| {
            p = g * p + (1.0 - g) * x.abs();
            q = g * q + (1.0 - g) * p;
            q
        })
        .collect();
    let energy: f64 = x.iter().map(|x| x * x).sum();
    let hangover = (0.2 * rate) as usize;
    // Active level minus threshold, for a threshold; it falls as the threshold rises.
    let above = |db: f64| {
        let threshold = 10_f64.powf(db / 20.0);
        let (mut active, mut left) = (0_usize, 0_usize);
        for q in &envelope {
            if *q >= threshold {
                left = hangover + 1;
            }
            active += usize::from(left > 0);
            left = left.saturating_sub(1);
        }
        let level = 10.0 * (energy / active as f64).log10();
        (level, level - db)
    };
    // The norm interpolates between steps of 6 dB; here the threshold is found by halving, to a thousandth.
    let (mut low, mut high) = (-90.0, 0.0);
    while high - low > 1e-3 {
        let middle = (low + high) / 2.0;
        if above(middle).1 > 15.9 { low = middle } else { high = middle }
    }
    let (expected, _) = above(low);
    let samples: Vec<f32> = clip.iter().map(|x| *x as f32).collect();
    let found = active_level(&samples, CLIP_RATE).expect("speech");
    assert!((found.level_dbfs - expected).abs() < 0.3, "{found:?}, expected {expected}");
}

/// What a live check does: a sweep on each channel of the speaker, speech in the room, a delay of 60 ms, 25 dB below.
#[test]
fn a_sweep_is_found_while_somebody_speaks() {
    let sweep = Sweep::new(CLIP_RATE, 1.0).expect("a sweep");
    let delay = 960;
    let mut heard: Vec<f32> = clip()[..2 * CLIP_RATE as usize].iter().map(|x| (*x * 0.1) as f32).collect();
    for (at, x) in heard[delay..].iter_mut().zip(sweep.samples()) {
        *at += x * 0.056_234;
    }
    let (channel, found) = sweep.find_best(&interleave(&heard, 2, 1), 2).expect("long enough");
    assert_eq!((channel, found.heard()), (1, Some(true)), "{found:?}");
    assert!((found.delay_ms() - 60.0).abs() < 0.1 && (found.return_db + 25.0).abs() < 1.0, "{found:?}");
}

/// What a played tone must come back as (frequency within 5 ppm, level within 0.1 dB), with speech 40 dB below it.
#[test]
fn a_tone_is_measured_while_somebody_speaks() {
    let mut heard = tone::sine(CLIP_RATE, 997.0, -15.05, 3 * CLIP_RATE as usize);
    heard.iter_mut().zip(clip()).for_each(|(tone, speech)| *tone += (speech * 0.03) as f32);
    let found = tone::measure(&heard, CLIP_RATE).expect("a tone");
    assert!(((found.hz / 997.0 - 1.0) * 1e6).abs() < 5.0, "{found:?}");
    assert!((found.level_dbfs + 15.05).abs() < 0.1, "{found:?}");
}
