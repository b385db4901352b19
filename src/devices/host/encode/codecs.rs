//! The encoders, and how long they take.

use greenroom_reports::schema::{EncodeHeadroom, Estimate, Use, Value};
use greenroom_reports::units::Micros;
use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, RateControlMode, UsageType,
};

use super::picture::{self, Picture};
use super::{Limit, voice as sound};

/// Video is measured at this rate.
const FRAMES_PER_SEC: f32 = 30.0;
/// Frames of speech: a second.
const VOICE_FRAMES: usize = 50;
/// The first frames are key frames or warm caches: they are encoded and not counted.
const UNCOUNTED: usize = 2;
/// More frames than this tell nothing new.
const MOST: usize = 90;
/// What one frame stands for: 20 ms of speech.
const VOICE_FRAME: Micros = Micros::from_millis(20);
/// Frames of a measurement from which an interval can be told.
const FEWEST: usize = 5;

/// What is encoded for a use.
#[derive(Debug, Clone, Copy)]
struct Size {
    use_: Use,
    width: usize,
    height: usize,
    kbps: u32,
    /// How long to encode.
    budget: Micros,
}

const SIZES: [Size; 3] = [
    Size { use_: Use::Video360p, width: 640, height: 360, kbps: 500, budget: Micros::from_millis(150) },
    Size { use_: Use::Video720p, width: 1_280, height: 720, kbps: 1_250, budget: Micros::from_millis(200) },
    Size {
        use_: Use::Video1080p,
        width: 1_920,
        height: 1_080,
        kbps: 2_500,
        budget: Micros::from_millis(250),
    },
];

/// Measures how many times real time this machine encodes speech and video, until the limit is reached.
pub(super) fn headroom(limit: &Limit) -> Vec<EncodeHeadroom> {
    let speech = EncodeHeadroom {
        use_: Use::Audio,
        codec: "opus".to_owned(),
        encoder: opus::version().to_owned(),
        times_real_time: voice(limit),
    };
    let video = SIZES.map(|size| EncodeHeadroom {
        use_: size.use_,
        codec: "h264".to_owned(),
        encoder: "openh264".to_owned(),
        times_real_time: video(limit, size),
    });
    [speech].into_iter().chain(video).collect()
}

/// Encodes a second of speech at 32 kbit/s as one channel of 48 kHz, with the settings of a call.
fn voice(limit: &Limit) -> Value<Estimate> {
    let samples = sound::speech(sound::FRAME * VOICE_FRAMES);
    match time_voice(limit, &samples) {
        Ok(took) if took.len() < FEWEST => limit.too_few(took.len()),
        Ok(took) => times_real_time(VOICE_FRAME, &took),
        Err(error) => Value::failed(format!("libopus: {error}")),
    }
}

fn time_voice(limit: &Limit, samples: &[i16]) -> Result<Vec<Micros>, opus::Error> {
    let mut encoder = opus::Encoder::new(sound::RATE, opus::Channels::Mono, opus::Application::Voip)?;
    encoder.set_bitrate(opus::Bitrate::Bits(32_000))?;
    encoder.set_inband_fec(true)?;
    encoder.set_packet_loss_perc(5)?;
    let mut packet = [0; 1_500];
    let mut took = Vec::with_capacity(VOICE_FRAMES);
    for frame in samples.chunks_exact(sound::FRAME) {
        if limit.is_reached() {
            break;
        }
        let from = limit.now();
        encoder.encode(frame, &mut packet)?;
        took.push(limit.now() - from);
    }
    Ok(took)
}

/// Encodes moving pictures of a size.
fn video(limit: &Limit, size: Size) -> Value<Estimate> {
    if limit.is_reached() {
        return limit.too_few(0);
    }
    let pictures = picture::sequence(size.width, size.height);
    match time_video(limit, size, &pictures) {
        Ok(took) if took.len() < FEWEST => limit.too_few(took.len()),
        Ok(took) => times_real_time(Micros::new(1_000_000 / 30), &took),
        Err(error) => Value::failed(format!("openh264: {error}")),
    }
}

fn time_video(limit: &Limit, size: Size, pictures: &[Picture]) -> Result<Vec<Micros>, openh264::Error> {
    let config = EncoderConfig::new()
        .usage_type(UsageType::CameraVideoRealTime)
        .rate_control_mode(RateControlMode::Bitrate)
        .bitrate(BitRate::from_bps(size.kbps * 1_000))
        .max_frame_rate(FrameRate::from_hz(FRAMES_PER_SEC))
        .complexity(Complexity::Low)
        // As calls do, to keep to their rate; the encoder complains on standard error without.
        .skip_frames(true)
        .num_threads(1);
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config)?;
    let mut took = Vec::new();
    let mut spent = Micros::ZERO;
    for (number, picture) in picture::to_and_fro(pictures).take(MOST).enumerate() {
        let enough = spent >= size.budget && took.len() >= FEWEST;
        if enough || limit.is_reached() {
            break;
        }
        let from = limit.now();
        let skipped = encoder.encode(picture)?.frame_type() == FrameType::Skip;
        let time = limit.now() - from;
        // A frame that is left out to keep to the rate took no encoding.
        if number >= UNCOUNTED && !skipped {
            took.push(time);
            spent += time;
        }
    }
    Ok(took)
}

impl openh264::formats::YUVSource for Picture {
    fn dimensions(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.width, self.width / 2, self.width / 2)
    }

    fn y(&self) -> &[u8] {
        &self.y
    }

    fn u(&self) -> &[u8] {
        &self.u
    }

    fn v(&self) -> &[u8] {
        &self.v
    }
}

/// From what each frame stands for and the time that each took, at least [`FEWEST`]: how many times real time, with the
/// interval of the mean.
///
/// Frames that are alike take times that scatter little; the interval (1.96 standard errors) tells how steady the machine
/// was, not what another picture would have cost.
fn times_real_time(frame: Micros, took: &[Micros]) -> Value<Estimate> {
    let n = u32::try_from(took.len()).unwrap_or(u32::MAX);
    let ms = |it: &Micros| it.as_ms();
    let mean = took.iter().map(ms).sum::<f64>() / f64::from(n);
    let variance = took.iter().map(|it| (ms(it) - mean).powi(2)).sum::<f64>() / f64::from(n - 1);
    let error = 1.96 * (variance / f64::from(n)).sqrt();
    if mean <= 0.0 {
        return Value::failed("the clock is too coarse to time an encoder");
    }
    let times = |took: f64| frame.as_ms() / took;
    Value::Measured(Estimate {
        value: times(mean),
        low: Some(times(mean + error)),
        high: (mean > error).then(|| times(mean - error)),
        n: u64::from(n),
    })
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn times_real_time_are_those_of_the_mean() {
        // By hand: mean 4 ms, variance 2.5 ms², standard error 0.7071 ms, half an interval 1.3859 ms.
        let took: Vec<_> = [2, 3, 4, 5, 6].map(Micros::from_millis).into();
        let Value::Measured(found) = times_real_time(Micros::from_millis(20), &took) else {
            panic!("five frames are enough")
        };
        assert_eq!((found.value, found.n), (5.0, 5));
        let bounds = [found.low, found.high].map(|it| it.expect("told"));
        for (bound, expected) in bounds.into_iter().zip([20.0 / 5.385_9, 20.0 / 2.614_1]) {
            assert!((bound - expected).abs() < 0.001, "{bound} {expected}");
        }
        assert!(times_real_time(Micros::from_millis(20), &[Micros::ZERO; 9]).measured().is_none());
    }

    #[test]
    fn this_machine_encodes_larger_pictures_more_slowly() {
        // More time than a call would give: a machine that does something else is to be slow here, not to fail.
        let found = headroom(&Limit::new(Micros::from_secs(240), CancellationToken::new()));
        let uses: Vec<_> = found.iter().map(|it| it.use_).collect();
        assert_eq!(uses, [Use::Audio, Use::Video360p, Use::Video720p, Use::Video1080p]);
        assert!(found[0].encoder.starts_with("libopus"), "{found:?}");
        let times: Vec<f64> =
            found.iter().filter_map(|it| it.times_real_time.measured()).map(|it| it.value).collect();
        assert_eq!(times.len(), 4, "{found:?}");
        // Nine times the pixels.
        assert!(times[1] > times[3] && times[3] > 0.0, "{found:?}");
    }

    #[test]
    fn without_time_it_says_so_at_once() {
        for it in headroom(&Limit::new(Micros::ZERO, CancellationToken::new())) {
            assert!(matches!(it.times_real_time, Value::Failed { .. }), "{it:?}");
        }
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_tested() {
        let enough = CancellationToken::new();
        enough.cancel();
        for it in headroom(&Limit::new(Micros::from_secs(240), enough)) {
            assert!(matches!(it.times_real_time, Value::NotTested { .. }), "{it:?}");
        }
    }
}
