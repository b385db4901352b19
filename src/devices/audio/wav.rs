//! A recording as a WAV file, and back.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use thiserror::Error;

use super::listen::Ear;
use super::{Block, Format, Opened};

/// A recording could not be written or read.
#[derive(Debug, Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct WavError {
    doing: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system or the format said.
    pub source: hound::Error,
}

/// Records what a microphone delivers, in 32-bit float.
///
/// A disk that is full ends the recording and not the listening; [`Recorder::finish`] tells.
pub struct Recorder {
    path: PathBuf,
    state: State,
}

enum State {
    Waiting,
    Writing(WavWriter<BufWriter<File>>),
    Failed(hound::Error),
}

impl Recorder {
    /// Will record into this file, which is made when the microphone is open.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), state: State::Waiting }
    }

    /// Writes what is left. `Ok(false)`: nothing was ever recorded, and no file was made.
    ///
    /// # Errors
    ///
    /// Whatever kept it from being written, at whichever point; what could be written stays in the file.
    pub fn finish(self) -> Result<bool, WavError> {
        let failed = |source| WavError { doing: "write", path: self.path, source };
        match self.state {
            State::Waiting => Ok(false),
            State::Writing(writer) => writer.finalize().map(|()| true).map_err(failed),
            State::Failed(error) => Err(failed(error)),
        }
    }
}

impl Ear for Recorder {
    fn opened(&mut self, opened: Opened) {
        let spec = WavSpec {
            channels: opened.format.channels,
            sample_rate: opened.format.rate_hz,
            bits_per_sample: 32,
            sample_format: SampleFormat::Float,
        };
        self.state = WavWriter::create(&self.path, spec).map_or_else(State::Failed, State::Writing);
    }

    fn hear(&mut self, block: &Block) -> ControlFlow<()> {
        if let State::Writing(writer) = &mut self.state {
            let written = block.samples.iter().try_for_each(|sample| writer.write_sample(*sample));
            if let Err(error) = written {
                self.state = State::Failed(error);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Reads a recording of [`Recorder`] back.
///
/// # Errors
///
/// It is not there, or is no such recording.
pub fn read(path: &Path) -> Result<(Format, Vec<f32>), WavError> {
    let failed = |source| WavError { doing: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(|error| failed(error.into()))?;
    let reader = WavReader::new(BufReader::new(file)).map_err(failed)?;
    let spec = reader.spec();
    if spec.sample_format != SampleFormat::Float {
        return Err(failed(hound::Error::Unsupported));
    }
    let format = Format { rate_hz: spec.sample_rate, channels: spec.channels };
    let samples: Result<Vec<f32>, _> = reader.into_samples::<f32>().collect();
    Ok((format, samples.map_err(failed)?))
}

#[cfg(test)]
mod tests {
    use greenroom_reports::units::Micros;

    use super::*;

    fn opened() -> Opened {
        Opened { format: Format { rate_hz: 48_000, channels: 2 }, form: "f32", block_frames: 4 }
    }

    fn block(samples: &[f32]) -> Block {
        Block {
            arrived: Micros::default(),
            captured: Micros::default(),
            samples: samples.to_vec(),
            overruns: 0,
        }
    }

    #[test]
    fn what_was_recorded_is_read_back_to_the_bit() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("mic.wav");
        let mut recorder = Recorder::new(&path);
        recorder.opened(opened());
        assert!(recorder.hear(&block(&[0.1, -0.2, 1.0, -1.0])).is_continue());
        assert!(recorder.hear(&block(&[1e-7, 0.0])).is_continue());
        assert!(recorder.finish().expect("writable"));
        let (format, samples) = read(&path).expect("readable");
        assert_eq!(format, opened().format);
        assert_eq!(samples, [0.1, -0.2, 1.0, -1.0, 1e-7, 0.0]);
    }

    #[test]
    fn without_a_microphone_no_file_is_made() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("mic.wav");
        assert!(!Recorder::new(&path).finish().expect("nothing to write"));
        assert!(!path.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_ends_the_recording_and_not_the_listening() {
        let mut recorder = Recorder::new(Path::new("/dev/full"));
        recorder.opened(opened());
        for _ in 0..10 {
            assert!(recorder.hear(&block(&[0.5; 4_096])).is_continue());
        }
        let error = recorder.finish().expect_err("the disk is full");
        assert!(error.to_string().starts_with("cannot write /dev/full: "), "{error}");
    }

    #[test]
    fn a_file_that_is_no_recording_is_said_so() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("mic.wav");
        assert!(read(&path).is_err(), "there is none");
        std::fs::write(&path, b"RIFF, but not really").expect("writable");
        assert!(read(&path).is_err());
    }
}
