//! The test of a speaker: whether it takes sound at its own pace. What comes out of it only a microphone or a person can tell.

use std::f64::consts::TAU;
use std::sync::Arc;

use greenroom_reports::schema::{Speaker, Value};
use greenroom_reports::signals::sound::{DriftMeter, drift_figure};
use greenroom_reports::units::Micros;

use super::listen::{SETTLING, fact, went_away};
use super::{AudioDevice, AudioOutput, AudioSystem, Format, Played, Want};
use crate::devices::error::{DeviceError, Fault};

/// What a speaker is given to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// Nothing that can be heard, for so long: tells a speaker that is busy, suspended or gone.
    Silence(Micros),
    /// Two notes on each channel, one channel after the other, and then nothing until [`CLOCKED`] is over.
    Chime,
}

/// How long the chime of one channel lasts, with the pause after it.
pub const CHIME: Micros = Micros::from_millis(900);
/// How far behind its own pace a speaker may fall before it counts as stalled.
const LATE: Micros = Micros::from_secs(3);
/// How often is looked how far it is: often enough to see when each block of 40 ms was taken.
const LOOK: Micros = Micros::from_millis(20);
/// How long a speaker plays at least where somebody waits for it: its clock needs more time than its notes.
pub const CLOCKED: Micros = Micros::from_secs(6);

/// Plays `sound` and reports. `tell` is told the number of the channel that sounds, as it begins.
pub fn test_speaker(
    system: &dyn AudioSystem,
    device: &AudioDevice,
    sound: Sound,
    tell: &mut dyn FnMut(u16),
) -> Speaker {
    let asked_at = system.now();
    let mut output = match system.open_output(device, Want::default()) {
        Ok(output) => output,
        Err(error) => return Speaker::failed(device.info(), error.failure()),
    };
    let opened = output.opened();
    let mut drift = DriftMeter::new(opened.format.rate_hz);
    let (played, failure) = play(system, device, output.as_mut(), sound, &mut drift, tell);
    output.stop();
    let failure = failure.or_else(|| went_away(system, device));
    let first_after = played.and_then(|played| played.handed).map(|handed| handed - asked_at);
    let underruns = played.map_or(0, |played| u64::from(played.underruns));
    Speaker {
        state: Value::Measured(device.stream(opened, first_after, system.now() - asked_at, underruns)),
        failure: failure.map(|error| error.failure()),
        muted: fact(device.muted, "the system's mixer does not tell"),
        volume_ratio: fact(device.volume_ratio, "the system's mixer does not tell"),
        clock_drift_ppm: drift_figure(drift.drift()),
        device: device.info(),
    }
}

fn play(
    system: &dyn AudioSystem,
    device: &AudioDevice,
    output: &mut dyn AudioOutput,
    sound: Sound,
    drift: &mut DriftMeter,
    tell: &mut dyn FnMut(u16),
) -> (Option<Played>, Option<DeviceError>) {
    let format = output.opened().format;
    let samples = sound.samples(format);
    let until = system.now() + format.time_of(samples.len()) + LATE;
    if let Err(error) = output.play(samples) {
        return (None, Some(error));
    }
    let mut seen = None;
    let mut told = None;
    let mut taken = None;
    loop {
        match output.wait(LOOK) {
            Ok(played) => {
                seen = Some(played);
                if let Some(point) = point_of_clock(played).filter(|point| taken != Some(*point)) {
                    taken = Some(point);
                    drift.push(point.0, point.1);
                }
                let channel = sound.channel_at(format, played.frames);
                if played.handed.is_some() && channel.is_some() && channel != told {
                    told = channel;
                    tell(channel.unwrap_or(0));
                }
                if played.over {
                    return (seen, None);
                }
            }
            Err(error) => return (seen, Some(error)),
        }
        if system.now() >= until {
            let stalled = Fault::Stalled { after: LATE };
            return (seen, Some(DeviceError::new(stalled, device.title())));
        }
    }
}

/// How many frames a speaker had taken until when, where that tells of its clock: not while a server fills its buffers with
/// the first ones, and not once there is nothing left to take.
fn point_of_clock(played: Played) -> Option<(u64, Micros)> {
    let settled = played.handed? + SETTLING;
    let at = played.at.filter(|at| *at >= settled && played.frames < played.of)?;
    Some((played.frames, at))
}

impl Sound {
    /// The samples, interleaved.
    pub fn samples(self, format: Format) -> Arc<[f32]> {
        match self {
            Self::Silence(time) => vec![0.0; format.samples_in(time)].into(),
            Self::Chime => chime(format),
        }
    }

    fn channel_at(self, format: Format, frame: u64) -> Option<u16> {
        let mono = Format { channels: 1, ..format };
        let each = u64::try_from(mono.samples_in(CHIME)).unwrap_or(u64::MAX).max(1);
        match self {
            Self::Silence(_) => None,
            Self::Chime => u16::try_from(frame / each).ok().filter(|channel| *channel < format.channels),
        }
    }
}

/// A fourth upward, E5 and A5, at a level that startles nobody.
fn chime(format: Format) -> Arc<[f32]> {
    const NOTES_HZ: [f64; 2] = [659.255, 880.0];
    const NOTE: Micros = Micros::from_millis(350);
    let mono = Format { channels: 1, ..format };
    let (each, note) = (mono.samples_in(CHIME), mono.samples_in(NOTE));
    let channels = usize::from(format.channels);
    let lasting = (each * channels).max(mono.samples_in(CLOCKED));
    let mut samples = vec![0.0; lasting * channels];
    for channel in 0..channels {
        for (number, hz) in NOTES_HZ.iter().enumerate() {
            for i in 0..note {
                let frame = channel * each + number * note + i;
                samples[frame * channels + channel] = note_sample(*hz, i, note, format.rate_hz);
            }
        }
    }
    samples.into()
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a test sound of a second")]
fn note_sample(hz: f64, i: usize, of: usize, rate_hz: u32) -> f32 {
    let swell = (TAU / 2.0 * i as f64 / of as f64).sin().powi(2);
    (0.125 * swell * (TAU * hz * i as f64 / f64::from(rate_hz)).sin()) as f32
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::DeviceFailure;

    use super::super::fake::{FakeAudio, FakeSpeaker, Troubles};
    use super::*;

    fn tested(troubles: Troubles, sound: Sound) -> (Speaker, Vec<u16>, Micros) {
        let system = FakeAudio::new(vec![FakeSpeaker::stereo().with(troubles).into()]);
        let device = system.devices().expect("the server runs").remove(0);
        let mut told = Vec::new();
        let speaker = test_speaker(&system, &device, sound, &mut |channel| told.push(channel));
        let took = system.now();
        (speaker, told, took)
    }

    #[test]
    fn a_chime_sounds_on_one_channel_after_the_other_and_is_told() {
        let (speaker, told, _) = tested(Troubles::default(), Sound::Chime);
        assert_eq!(speaker.failure, None);
        assert_eq!(told, [0, 1]);
        let stream = speaker.state.measured().expect("it was opened");
        assert_eq!((stream.rate_hz, stream.channels, stream.backend.as_str()), (48_000, 2, "fake"));
        assert!(stream.ran_ms >= 1_800.0, "{stream:?}");

        let stereo = Format { rate_hz: 48_000, channels: 2 };
        let samples = Sound::Chime.samples(stereo);
        let loud = |channel: usize, from: usize, to: usize| {
            samples[from * 2..to * 2].iter().skip(channel).step_by(2).any(|sample| sample.abs() > 0.1)
        };
        let each = 48 * 900;
        assert!(loud(0, 0, each) && !loud(1, 0, each));
        assert!(loud(1, each, 2 * each) && !loud(0, each, 2 * each));
        let peak = samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!(peak <= 0.125);
    }

    #[test]
    fn a_clock_that_is_off_is_told_while_the_notes_are_played_and_for_a_while_after() {
        for ppm in [-900.0, 0.0, 700.0] {
            let (speaker, ..) = tested(Troubles { drift_ppm: ppm, ..Troubles::default() }, Sound::Chime);
            let ran = speaker.state.measured().expect("it was opened").ran_ms;
            assert!((6_000.0..6_200.0).contains(&ran), "{ran} ms");
            let drift = *speaker.clock_drift_ppm.measured().expect("6 s are enough");
            // Counts are whole frames: 21 microseconds, of 6 s.
            assert!((drift.value - ppm).abs() < 10.0 && drift.n > 100, "{ppm}: {drift:?}");
        }
        let short = tested(Troubles::default(), Sound::Silence(Micros::from_millis(500))).0;
        assert_eq!(short.clock_drift_ppm, Value::not_tested("it ran too short to tell"));
    }

    #[test]
    fn one_that_the_system_suspended_is_told_from_one_that_hangs() {
        let mut speaker =
            FakeSpeaker::stereo().with(Troubles { never_delivers: true, ..Troubles::default() });
        speaker.device.suspended = Some(true);
        let system = FakeAudio::new(vec![speaker.into()]);
        let device = system.devices().expect("the server runs").remove(0);
        let silence = Sound::Silence(Micros::from_millis(500));
        let failure = test_speaker(&system, &device, silence, &mut |_| ()).failure;
        assert_eq!(failure, Some(DeviceFailure::Suspended { wake: None }), "no sound server, no command");
    }

    #[test]
    fn whatever_keeps_a_speaker_from_playing_is_a_typed_failure_in_time() {
        let silence = Sound::Silence(Micros::from_millis(500));
        let after = |millis| Some(Micros::from_millis(millis));
        let busy = Troubles { refuses: Some(Fault::Busy { by: None }), ..Troubles::default() };
        let hangs = Troubles { never_delivers: true, ..Troubles::default() };
        let unplugged = Troubles { unplugged_after: after(300), ..Troubles::default() };
        let crashed = Troubles { server_dies_after: after(300), ..Troubles::default() };
        let asleep = Troubles { sleeps: Micros::from_secs(2), ..Troubles::default() };
        let code = |troubles| {
            let (speaker, _, took) = tested(troubles, silence);
            assert!(took <= Micros::from_secs(5), "{took}");
            speaker.failure.as_ref().map(DeviceFailure::code)
        };
        assert_eq!(code(busy), Some("busy"));
        assert_eq!(code(hangs), Some("stalled"));
        assert_eq!(code(unplugged), Some("disconnected"));
        assert_eq!(code(crashed), Some("sound_server_down"));
        assert_eq!(code(asleep), None, "a speaker may take two seconds to wake up");
    }
}
