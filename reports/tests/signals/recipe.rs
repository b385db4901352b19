//! Signals by recipe, as `reports/signals-vectors/README.md` describes them.

use std::f64::consts::TAU;

use realfft::RealFftPlanner;
use serde_json::Value;

/// The clip's own rate.
pub(crate) const CLIP_RATE: u32 = 16_000;

/// The samples of the checked-in clip.
pub(crate) fn clip() -> Vec<f64> {
    let bytes = include_bytes!("../data/speech/austen.wav");
    assert_eq!(&bytes[36..40], b"data", "a plain header of 44 bytes");
    assert_eq!(u32::from_le_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]), CLIP_RATE);
    let sample = |pair: &[u8]| f64::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0;
    bytes[44..].chunks_exact(2).map(sample).collect()
}

/// Uniform noise between −1 and 1.
pub(crate) struct Noise(pub(crate) u32);

impl Noise {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.0 >> 8) / f64::from(1_u32 << 23) - 1.0
    }
}

/// The interleaved samples of a vector and their channels.
pub(crate) fn samples(vector: &Value) -> (Vec<f32>, u16) {
    let rate = number(vector, "rate").expect("a rate");
    let mut signal = match vector["source"].as_str() {
        Some("speech") => at_rate(&clip(), rate as usize / CLIP_RATE as usize),
        Some("zeros") => vec![0.0; (number(vector, "seconds").expect("seconds") * rate) as usize],
        other => panic!("source {other:?}"),
    };
    let mut channels = vec![1.0];
    for step in vector["steps"].as_array().expect("steps") {
        match step["channels"].as_array() {
            Some(gains) => channels = gains.iter().map(|gain| gain.as_f64().expect("a gain")).collect(),
            None => apply(step, &mut signal, rate),
        }
    }
    let interleaved = signal.iter().flat_map(|x| channels.iter().map(move |gain| (x * gain) as f32));
    (interleaved.collect(), channels.len() as u16)
}

fn number(of: &Value, name: &str) -> Option<f64> {
    of.get(name).map(|value| value.as_f64().unwrap_or_else(|| panic!("`{name}` is no number")))
}

fn apply(step: &Value, signal: &mut Vec<f64>, rate: f64) {
    let get = |name: &str| number(step, name);
    let need = |name: &str| get(name).unwrap_or_else(|| panic!("{step} has no `{name}`"));
    let from = (get("from_s").unwrap_or(0.0) * rate) as usize;
    let frames = |ms: f64| (ms / 1e3 * rate).round() as usize;
    let amplitude = |db: f64| 10_f64.powf(db / 20.0);
    if let Some(db) = get("gain_db") {
        signal.iter_mut().for_each(|x| *x *= amplitude(db));
    } else if let Some(offset) = get("offset") {
        signal.iter_mut().for_each(|x| *x += offset);
    } else if let Some(db) = get("noise_dbfs") {
        let mut noise = Noise(need("seed") as u32);
        signal[from..].iter_mut().for_each(|x| *x += noise.next() * 3_f64.sqrt() * amplitude(db));
    } else if let Some(hz) = get("tone_hz") {
        let peak = 2_f64.sqrt() * amplitude(need("dbfs"));
        for (n, x) in signal.iter_mut().enumerate().skip(from) {
            *x += peak * (TAU * hz * n as f64 / rate).sin();
        }
    } else if let Some(most) = get("clip") {
        signal.iter_mut().for_each(|x| *x = x.clamp(-most, most));
    } else if let Some(hz) = get("lowpass_hz") {
        lowpass(signal, hz / rate);
    } else if let Some(ms) = get("gap_ms") {
        for at in points(need("every_s") * rate, signal.len(), frames(ms)) {
            signal[at..at + frames(ms)].fill(0.0);
        }
    } else if let Some(ms) = get("repeat_ms") {
        for at in points(need("every_s") * rate, signal.len(), frames(ms)) {
            signal.copy_within(at - frames(ms)..at, at);
        }
    } else if let Some(ms) = get("loop_ms") {
        let piece = signal[from..from + frames(ms)].to_vec();
        let rest = signal.len() - from;
        signal.splice(from.., piece.into_iter().cycle().take(rest));
    } else if let Some(ms) = get("clicks_ms") {
        let mut noise = Noise(need("seed") as u32);
        for at in points(need("every_s") * rate, signal.len(), frames(ms)) {
            for x in &mut signal[at..at + frames(ms)] {
                *x += noise.next() * 3_f64.sqrt() * amplitude(need("dbfs"));
            }
        }
    } else if let Some(hz) = get("thump_hz") {
        let (decay, peak) = (frames(need("decay_ms")), 2_f64.sqrt() * amplitude(need("dbfs")));
        for at in points(need("every_s") * rate, signal.len(), 6 * decay) {
            for (n, x) in signal[at..at + 6 * decay].iter_mut().enumerate() {
                let n = n as f64;
                *x += peak * (-n / decay as f64).exp() * (TAU * hz * n / rate).sin();
            }
        }
    } else if let Some(every) = get("damage_every_s") {
        points(every * rate, signal.len(), 1).for_each(|at| signal[at] = f64::NAN);
    } else if let Some(bits) = get("bits") {
        let steps = 2_f64.powf(bits - 1.0);
        signal.iter_mut().for_each(|x| *x = (*x * steps).round() / steps);
    } else {
        panic!("no such step: {step}");
    }
}

/// Every so many frames, as long as more than `room` follows.
fn points(every: f64, length: usize, room: usize) -> impl Iterator<Item = usize> {
    (1..).map(move |k| (f64::from(k) * every).round() as usize).take_while(move |at| at + room < length)
}

/// Brings a signal to a multiple of its rate by padding its spectrum.
fn at_rate(signal: &[f64], times: usize) -> Vec<f64> {
    let mut spectrum = spectrum(signal);
    spectrum.resize(signal.len() * times / 2 + 1, realfft::num_complex::Complex::default());
    back(spectrum, signal.len() * times, signal.len())
}

/// Takes out everything above a share of the rate.
fn lowpass(signal: &mut Vec<f64>, share: f64) {
    let mut spectrum = spectrum(signal);
    let from = (share * signal.len() as f64) as usize + 1;
    spectrum[from..].fill(realfft::num_complex::Complex::default());
    *signal = back(spectrum, signal.len(), signal.len());
}

fn spectrum(signal: &[f64]) -> Vec<realfft::num_complex::Complex<f64>> {
    let transform = RealFftPlanner::<f64>::new().plan_fft_forward(signal.len());
    let mut output = transform.make_output_vec();
    transform.process(&mut signal.to_vec(), &mut output).expect("lengths fit");
    output
}

fn back(mut spectrum: Vec<realfft::num_complex::Complex<f64>>, length: usize, scale: usize) -> Vec<f64> {
    let transform = RealFftPlanner::<f64>::new().plan_fft_inverse(length);
    let mut output = transform.make_output_vec();
    let last = spectrum.len() - 1;
    (spectrum[0].im, spectrum[last].im) = (0.0, 0.0);
    transform.process(&mut spectrum, &mut output).expect("lengths fit");
    output.iter().map(|x| x / scale as f64).collect()
}
