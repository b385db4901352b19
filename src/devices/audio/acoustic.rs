//! Speaker and microphone together: what the one plays, does the other hear it?
//!
//! Each channel of the speaker plays an exponential sweep in turn, and the sweep is looked for in what the microphone captured
//! meanwhile. Capturing starts first and is waited for: a sound server that wakes up takes two seconds, in which a sweep
//! would be lost.

use std::sync::Arc;

use greenroom_reports::schema::{AcousticLoop, LoopPair, Value};
use greenroom_reports::signals::sound::sweep::Sweep;
use greenroom_reports::signals::sound::{SILENCE_DBFS, dbfs};
use greenroom_reports::units::Micros;

use super::listen::{FIRST_BLOCK, NEXT_BLOCK, went_away};
use super::{AudioDevice, AudioInput, AudioOutput, AudioSystem, Block, Format, Opened, Played, Role, Want};
use crate::devices::error::{DeviceError, Fault};

/// How long each sweep is.
pub const SWEEP_S: f64 = 1.0;
/// What comes back later than this is not heard: Bluetooth both ways takes half a second.
pub const LATEST: Micros = Micros::from_millis(800);
/// Speakers have more channels than people have ears: so many are tried.
const MOST_CHANNELS: u16 = 8;

/// Plays on `speaker`, listens on `microphone`, and reports. `places` are theirs in the report's lists; `tell` is told the
/// number of the channel that sounds, as it begins.
pub fn test_loop(
    system: &dyn AudioSystem,
    speaker: &AudioDevice,
    microphone: &AudioDevice,
    places: LoopPair,
    tell: &mut dyn FnMut(u16),
) -> Looped {
    let at_fault = |error: &DeviceError| {
        if error.device == microphone.title() { Role::Microphone } else { Role::Speaker }
    };
    match run(system, speaker, microphone, tell) {
        Ok(captured) => {
            Looped { heard: judge(&captured, places), at_fault: captured.failure.as_ref().map(at_fault) }
        }
        Err(error) => {
            let failure = error.failure();
            let heard = AcousticLoop {
                state: Value::failed(failure.reason()),
                failure: Some(failure),
                channels: Vec::new(),
            };
            Looped { heard, at_fault: Some(at_fault(&error)) }
        }
    }
}

/// What came of a loop.
#[derive(Debug, Clone)]
pub struct Looped {
    /// Its part of the report.
    pub heard: AcousticLoop,
    /// Which of the two failed, if one did.
    pub at_fault: Option<Role>,
}

/// A loop that was played and captured.
struct Captured {
    input: Opened,
    output: Opened,
    samples: Vec<f32>,
    /// When the first of the samples came, had every one come at once.
    begins: Micros,
    /// When the sound was handed to the speaker.
    handed: Micros,
    failure: Option<DeviceError>,
}

fn run(
    system: &dyn AudioSystem,
    speaker: &AudioDevice,
    microphone: &AudioDevice,
    tell: &mut dyn FnMut(u16),
) -> Result<Captured, DeviceError> {
    let mut input = system.open_input(microphone, Want::default())?;
    let first = input.next(FIRST_BLOCK);
    let first = first.inspect_err(|_| input.stop())?;
    let mut output = system.open_output(speaker, Want::default()).inspect_err(|_| input.stop())?;
    let captured = capture(system, input.as_mut(), output.as_mut(), speaker, first, tell);
    input.stop();
    output.stop();
    let mut captured = captured?;
    captured.failure = went_away(system, speaker).or_else(|| went_away(system, microphone));
    Ok(captured)
}

fn capture(
    system: &dyn AudioSystem,
    input: &mut dyn AudioInput,
    output: &mut dyn AudioOutput,
    speaker: &AudioDevice,
    first: Block,
    tell: &mut dyn FnMut(u16),
) -> Result<Captured, DeviceError> {
    let (from, to) = (input.opened(), output.opened());
    let sound = sweeps(to.format).ok_or_else(|| {
        let asked = format!("a sweep at {} Hz", to.format.rate_hz);
        DeviceError::new(Fault::Unsupported { asked }, speaker.title())
    })?;
    let mut origin = Origin::new(from.format);
    origin.take(&first);
    let mut samples = first.samples;
    let lasts = to.format.time_of(sound.len());
    output.play(sound)?;
    let (mut handed, mut told) = (None, None);
    // A speaker may take three seconds to wake up.
    let latest = system.now() + lasts + LATEST + FIRST_BLOCK;
    loop {
        let block = input.next(NEXT_BLOCK)?;
        origin.take(&block);
        samples.extend_from_slice(&block.samples);
        let played: Played = output.wait(Micros::default())?;
        handed = handed.or(played.handed);
        let channel = channel_at(to.format, played.frames);
        if handed.is_some() && channel.is_some() && channel != told {
            told = channel;
            tell(channel.unwrap_or(0));
        }
        match handed {
            Some(handed) if system.now() >= handed + lasts + LATEST => {
                return Ok(Captured {
                    input: from,
                    output: to,
                    samples,
                    begins: origin.begins(),
                    handed,
                    failure: None,
                });
            }
            None if system.now() >= latest => {
                return Err(DeviceError::new(Fault::Stalled { after: FIRST_BLOCK }, speaker.title()));
            }
            _ => {}
        }
    }
}

/// Looks for each channel's sweep where it must be.
fn judge(captured: &Captured, places: LoopPair) -> AcousticLoop {
    let (from, to) = (captured.input.format, captured.output.format);
    let silent = dbfs(mean_square(&captured.samples)) <= SILENCE_DBFS;
    let failure = captured.failure.as_ref().map(DeviceError::failure);
    let Some(sweep) = Sweep::new(from.rate_hz, SWEEP_S).filter(|_| !silent) else {
        // Nothing is said of the speaker by a microphone that hears nothing at all.
        let reason = "the microphone delivers digital silence: it is muted, or not permitted";
        return AcousticLoop { failure, ..AcousticLoop::not_tested(reason) };
    };
    let slot = slot(to);
    let mut channels = Vec::new();
    for channel in 0..to.channels.min(MOST_CHANNELS) {
        let played_at = captured.handed + slot * i64::from(channel);
        let window = window(captured, played_at);
        let Some((heard_on, found)) = sweep.find_best(&captured.samples[window.clone()], from.channels)
        else {
            continue;
        };
        let mut figures = found.figures(channel, heard_on);
        if let Value::Measured(delay) = &mut figures.delay_ms {
            // From the window's begin to that of the sweep's being handed over.
            let begins = captured.begins + from.time_of(window.start);
            let shift = (begins - played_at).as_ms();
            delay.value += shift;
            delay.low = delay.low.map(|low| low + shift);
            delay.high = delay.high.map(|high| high + shift);
        }
        channels.push(figures);
    }
    AcousticLoop { state: Value::Measured(places), failure, channels }
}

/// The samples in which a sweep handed over at `played_at` is heard, if it is heard at all.
fn window(captured: &Captured, played_at: Micros) -> std::ops::Range<usize> {
    let format = captured.input.format;
    let whole = usize::from(format.channels.max(1));
    let at = |time: Micros| {
        let samples = format.samples_in(time - captured.begins);
        (samples / whole * whole).min(captured.samples.len() / whole * whole)
    };
    at(played_at)..at(played_at + slot(captured.output.format))
}

/// From one channel's sweep to the next one's.
fn slot(format: Format) -> Micros {
    let mono = Format { channels: 1, ..format };
    mono.time_of(slot_frames(format))
}

fn slot_frames(format: Format) -> usize {
    let mono = Format { channels: 1, ..format };
    let sweep = Micros::from_ms_f64(SWEEP_S * 1_000.0).unwrap_or_default();
    mono.samples_in(sweep + LATEST)
}

fn channel_at(format: Format, frame: u64) -> Option<u16> {
    let each = u64::try_from(slot_frames(format)).unwrap_or(u64::MAX).max(1);
    u16::try_from(frame / each).ok().filter(|channel| *channel < format.channels.min(MOST_CHANNELS))
}

/// One sweep per channel, one after the other. `None`: the rate is no sound device's.
fn sweeps(format: Format) -> Option<Arc<[f32]>> {
    let sweep = Sweep::new(format.rate_hz, SWEEP_S)?;
    let each = slot_frames(format);
    let channels = usize::from(format.channels);
    let tried = usize::from(format.channels.min(MOST_CHANNELS));
    let mut samples = vec![0.0; each * tried * channels];
    for channel in 0..tried {
        for (i, sample) in sweep.samples().iter().enumerate().take(each) {
            samples[(channel * each + i) * channels + channel] = *sample;
        }
    }
    Some(samples.into())
}

/// When a stream's first sample came, from all its blocks: the driver's thread may be late, never early, so that the earliest
/// is nearest to the truth.
struct Origin {
    format: Format,
    samples: usize,
    begins: Option<Micros>,
}

impl Origin {
    fn new(format: Format) -> Self {
        Self { format, samples: 0, begins: None }
    }

    fn take(&mut self, block: &Block) {
        self.samples += block.samples.len();
        let begins = block.arrived - self.format.time_of(self.samples);
        self.begins = Some(self.begins.map_or(begins, |earliest| earliest.min(begins)));
    }

    fn begins(&self) -> Micros {
        self.begins.unwrap_or_default()
    }
}

fn mean_square(samples: &[f32]) -> f64 {
    let sum: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts of samples stay far below 2^53")]
    let count = samples.len().max(1) as f64;
    sum / count
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::DeviceFailure;

    use super::super::fake::{FakeAudio, FakeMicrophone, FakeSpeaker, Hears, SPEAKER_LATENCY, Troubles};
    use super::*;

    const PLACES: LoopPair = LoopPair { speaker: 0, microphone: 0 };

    fn looped(microphone: FakeMicrophone, speaker: FakeSpeaker) -> (Looped, Vec<u16>) {
        let system = FakeAudio::new(vec![microphone.into(), speaker.into()]);
        let devices = system.devices().expect("the server runs");
        let mut told = Vec::new();
        let tested = test_loop(&system, &devices[1], &devices[0], PLACES, &mut |channel| told.push(channel));
        (tested, told)
    }

    fn tested(microphone: FakeMicrophone, speaker: FakeSpeaker) -> (AcousticLoop, Vec<u16>) {
        let (looped, told) = looped(microphone, speaker);
        (looped.heard, told)
    }

    fn hearing(delay: Micros, gain_db: f64) -> FakeMicrophone {
        FakeMicrophone::hearing(Hears::Speaker { delay, gain_db, room_dbfs: -60.0 })
    }

    #[test]
    fn each_channel_is_heard_with_its_delay_and_level() {
        let delay = Micros::from_millis(120);
        let (tested, told) = tested(hearing(delay, -20.0), FakeSpeaker::stereo());
        assert_eq!(tested.failure, None);
        assert_eq!(told, [0, 1]);
        assert_eq!(tested.channels.len(), 2);
        for channel in &tested.channels {
            assert_eq!(channel.heard.fact(), Some(&true), "{channel:?}");
            let measured = channel.delay_ms.measured().expect("it was heard").value;
            // The fake converts between samples along a line, which is worth less than a tenth of one.
            let expected = (delay + SPEAKER_LATENCY).as_ms();
            assert!((measured - expected).abs() < 0.1, "{measured} ms, not {expected}");
            let level = channel.return_db.measured().expect("it was heard").value;
            assert!((level + 20.0).abs() < 1.0, "{level} dB");
        }
    }

    #[test]
    fn a_speaker_that_is_not_heard_is_told_from_a_microphone_that_hears_nothing() {
        let room = FakeMicrophone::hearing(Hears::Room { dbfs: -60.0 });
        let (unheard, _) = tested(room, FakeSpeaker::stereo());
        assert!(unheard.channels.iter().all(|channel| channel.heard.fact() == Some(&false)), "{unheard:?}");
        assert_eq!(unheard.channels.len(), 2);

        let deaf = FakeMicrophone::hearing(Hears::DigitalSilence);
        let (untested, _) = tested(deaf, FakeSpeaker::stereo());
        assert!(matches!(untested.state, Value::NotTested { .. }), "{untested:?}");
        assert!(untested.channels.is_empty());
    }

    #[test]
    fn whatever_happens_meanwhile_is_a_typed_failure_in_time() {
        let speaker = |troubles| FakeSpeaker::stereo().with(troubles);
        let unplugged = Troubles { unplugged_after: Some(Micros::from_secs(1)), ..Troubles::default() };
        let crashed = Troubles { server_dies_after: Some(Micros::from_secs(1)), ..Troubles::default() };
        let stalled = Troubles { never_delivers: true, ..Troubles::default() };
        let here = || hearing(Micros::from_millis(10), -10.0);
        let cases = [
            (here(), speaker(unplugged.clone()), "disconnected", Some(Role::Speaker)),
            (here().with(unplugged), speaker(Troubles::default()), "disconnected", Some(Role::Microphone)),
            (here().with(crashed), speaker(Troubles::default()), "sound_server_down", None),
            (here().with(stalled.clone()), speaker(Troubles::default()), "stalled", Some(Role::Microphone)),
            (here(), speaker(stalled), "stalled", Some(Role::Speaker)),
        ];
        for (microphone, speaker, code, at_fault) in cases {
            let (looped, _) = looped(microphone, speaker);
            assert!(at_fault.is_none() || looped.at_fault == at_fault, "{code}: {looped:?}");
            let tested = looped.heard;
            assert_eq!(tested.failure.as_ref().map(DeviceFailure::code), Some(code), "{tested:?}");
            assert!(matches!(tested.state, Value::Failed { .. }));
        }
    }
}
