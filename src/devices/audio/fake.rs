//! Sound devices that exist only in a test, in virtual time: a second of sound passes in microseconds, and the same seed hears the
//! same.
//!
//! ```
//! use greenroom::devices::audio::fake::{FakeAudio, FakeMicrophone, Hears};
//! use greenroom::devices::audio::{AudioSystem, BLOCK, Want};
//!
//! let system = FakeAudio::new(vec![FakeMicrophone::hearing(Hears::Sine { hz: 440.0, dbfs: -20.0 }).into()]);
//! let devices = system.devices()?;
//! let mut input = system.open_input(&devices[0], Want::default())?;
//! assert_eq!(input.next(BLOCK)?.samples.len(), 1_920);
//! # Ok::<(), greenroom::devices::DeviceError>(())
//! ```

mod room;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use greenroom_reports::units::Micros;

pub use room::Hears;
use room::{Emission, Generator};

use super::{
    AudioDevice, AudioInput, AudioOutput, AudioSystem, Block, Format, Inventory, Opened, Played, Role, Want,
};
use crate::devices::error::{DeviceError, Fault};

/// From a sample handed to a fake speaker to its sound.
pub const SPEAKER_LATENCY: Micros = Micros::from_millis(30);
const NANOS: f64 = 1e9;

/// A set of fake devices and the time that passes for them. Copies share both.
#[derive(Debug, Clone)]
pub struct FakeAudio {
    world: Arc<Mutex<World>>,
}

/// A fake device.
#[derive(Debug, Clone)]
pub enum FakeDevice {
    /// It captures.
    Microphone(FakeMicrophone),
    /// It plays.
    Speaker(FakeSpeaker),
}

/// What happens to a fake device, whatever its role.
#[derive(Debug, Clone, Default)]
pub struct Troubles {
    /// Opening it fails so.
    pub refuses: Option<Fault>,
    /// It is pulled out so long after it was opened.
    pub unplugged_after: Option<Micros>,
    /// The sound server dies so long after it was opened.
    pub server_dies_after: Option<Micros>,
    /// It can be opened and then does nothing.
    pub never_delivers: bool,
    /// It wakes up so long after it was opened.
    pub sleeps: Micros,
    /// Its clock is fast by so many millionths.
    pub drift_ppm: f64,
}

/// A microphone that hears what it is told.
#[derive(Debug, Clone)]
pub struct FakeMicrophone {
    /// How it is listed.
    pub device: AudioDevice,
    /// What it hears.
    pub hears: Hears,
    /// Every so often it loses so much, which is filled with zeros: (every, lost).
    pub dropouts: Option<(Micros, Micros)>,
    /// What else happens to it.
    pub troubles: Troubles,
}

/// A speaker that plays into the room where the microphones are that hear [`Hears::Speaker`].
#[derive(Debug, Clone)]
pub struct FakeSpeaker {
    /// How it is listed.
    pub device: AudioDevice,
    /// What happens to it.
    pub troubles: Troubles,
}

#[derive(Debug)]
struct World {
    now: Micros,
    devices: Vec<FakeDevice>,
    played: Vec<Emission>,
    server_is_down: bool,
    looks: u32,
}

impl FakeAudio {
    /// These devices, at time 0.
    pub fn new(devices: Vec<FakeDevice>) -> Self {
        let world =
            World { now: Micros::default(), devices, played: Vec::new(), server_is_down: false, looks: 0 };
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Plugs a device in.
    pub fn plug_in(&self, device: FakeDevice) {
        self.lock().devices.push(device);
    }

    /// Pulls the device with this id out.
    pub fn unplug(&self, id: &str) {
        self.lock().devices.retain(|device| device.listed().id != id);
    }

    /// Makes the device with this id the default of its role.
    pub fn make_default(&self, id: &str) {
        let mut world = self.lock();
        let role = world.devices.iter().find(|device| device.listed().id == id).map(|d| d.listed().role);
        for device in world.devices.iter_mut().map(FakeDevice::listed_mut) {
            if Some(device.role) == role {
                device.is_default = device.id == id;
            }
        }
    }

    /// Kills the sound server, or starts it again.
    pub fn set_server_down(&self, down: bool) {
        self.lock().server_is_down = down;
    }

    /// How often somebody has asked what there is.
    pub fn looks(&self) -> u32 {
        self.lock().looks
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, device: &AudioDevice) -> Result<FakeDevice, DeviceError> {
        let world = self.lock();
        if world.server_is_down {
            return Err(server_down(&device.title()));
        }
        let found = world.devices.iter().find(|other| other.listed().id == device.id).cloned();
        let found = found.ok_or_else(|| DeviceError::new(Fault::NotFound, device.title()))?;
        match &found.troubles().refuses {
            Some(fault) => Err(DeviceError::new(fault.clone(), device.title())),
            None => Ok(found),
        }
    }
}

impl AudioSystem for FakeAudio {
    fn inventory(&self) -> Result<Inventory, DeviceError> {
        let mut world = self.lock();
        world.looks += 1;
        if world.server_is_down {
            return Err(server_down("the sound devices"));
        }
        let devices = world.devices.iter().map(|device| device.listed().clone()).collect();
        Ok(Inventory { devices, left_out: 0 })
    }

    fn open_input(&self, device: &AudioDevice, want: Want) -> Result<Box<dyn AudioInput>, DeviceError> {
        let FakeDevice::Microphone(microphone) = self.find(device)? else {
            let asked = Fault::Unsupported { asked: "to capture".to_owned() };
            return Err(DeviceError::new(asked, device.title()));
        };
        let opened = opened(device, want);
        let at = self.lock().now;
        let generator = Generator::new(microphone.hears.clone(), opened.format);
        Ok(Box::new(FakeInput {
            system: self.clone(),
            microphone,
            opened,
            generator,
            at,
            last: at,
            frames: 0,
            is_stopped: false,
        }))
    }

    fn open_output(&self, device: &AudioDevice, want: Want) -> Result<Box<dyn AudioOutput>, DeviceError> {
        let FakeDevice::Speaker(speaker) = self.find(device)? else {
            let asked = Fault::Unsupported { asked: "to play".to_owned() };
            return Err(DeviceError::new(asked, device.title()));
        };
        let at = self.lock().now;
        let opened = opened(device, want);
        Ok(Box::new(FakeOutput { system: self.clone(), speaker, opened, at, emission: None }))
    }

    fn now(&self) -> Micros {
        self.lock().now
    }
}

impl FakeMicrophone {
    /// A microphone of 48 kHz with one channel, and the default.
    pub fn hearing(hears: Hears) -> Self {
        let device = listed("fake:microphone", "Fake microphone", Role::Microphone, 1);
        Self { device, hears, dropouts: None, troubles: Troubles::default() }
    }

    /// The same, in trouble.
    #[must_use]
    pub fn with(mut self, troubles: Troubles) -> Self {
        self.troubles = troubles;
        self
    }
}

impl FakeSpeaker {
    /// A speaker of 48 kHz with two channels, and the default.
    pub fn stereo() -> Self {
        let device = listed("fake:speaker", "Fake speaker", Role::Speaker, 2);
        Self { device, troubles: Troubles::default() }
    }

    /// The same, in trouble.
    #[must_use]
    pub fn with(mut self, troubles: Troubles) -> Self {
        self.troubles = troubles;
        self
    }
}

impl FakeDevice {
    fn listed(&self) -> &AudioDevice {
        match self {
            Self::Microphone(microphone) => &microphone.device,
            Self::Speaker(speaker) => &speaker.device,
        }
    }

    fn listed_mut(&mut self) -> &mut AudioDevice {
        match self {
            Self::Microphone(microphone) => &mut microphone.device,
            Self::Speaker(speaker) => &mut speaker.device,
        }
    }

    fn troubles(&self) -> &Troubles {
        match self {
            Self::Microphone(microphone) => &microphone.troubles,
            Self::Speaker(speaker) => &speaker.troubles,
        }
    }
}

impl From<FakeMicrophone> for FakeDevice {
    fn from(microphone: FakeMicrophone) -> Self {
        Self::Microphone(microphone)
    }
}

impl From<FakeSpeaker> for FakeDevice {
    fn from(speaker: FakeSpeaker) -> Self {
        Self::Speaker(speaker)
    }
}

struct FakeInput {
    system: FakeAudio,
    microphone: FakeMicrophone,
    opened: Opened,
    generator: Generator,
    at: Micros,
    last: Micros,
    frames: u64,
    is_stopped: bool,
}

impl AudioInput for FakeInput {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn next(&mut self, wait: Micros) -> Result<Block, DeviceError> {
        let title = self.microphone.device.title();
        let system = self.system.clone();
        let mut world = system.lock();
        let until = world.now + wait;
        let troubles = &self.microphone.troubles;
        let frames = u64::from(self.opened.block_frames);
        let due = self.due(self.frames + frames);
        let ends = end_of(troubles, self.at, &title);
        if let Some((at, error)) = ends.filter(|(at, _)| *at <= due.min(until)) {
            world.now = world.now.max(at);
            return Err(error);
        }
        if troubles.never_delivers || self.is_stopped || due > until {
            world.now = until;
            return Err(self.microphone.device.went_quiet(until - self.last));
        }
        world.now = world.now.max(due);
        let captured = self.due(self.frames);
        let mut samples = Vec::new();
        for frame in self.frames..self.frames + frames {
            let at = self.due_nanos(frame);
            self.generator.frame(at, &world.played, &mut samples);
            if self.is_lost(frame) {
                let channels = usize::from(self.opened.format.channels);
                let from = samples.len() - channels;
                samples[from..].fill(0.0);
            }
        }
        self.frames += frames;
        self.last = world.now;
        Ok(Block { arrived: world.now, captured, samples, overruns: 0 })
    }

    fn stop(&mut self) {
        self.is_stopped = true;
    }
}

impl FakeInput {
    /// When the frame with this number has been captured.
    #[expect(clippy::cast_possible_truncation, reason = "a test's nanoseconds")]
    fn due(&self, frame: u64) -> Micros {
        Micros::from_nanos(self.due_nanos(frame) as i64)
    }

    #[expect(clippy::cast_precision_loss, reason = "a test's few samples")]
    fn due_nanos(&self, frame: u64) -> f64 {
        let troubles = &self.microphone.troubles;
        let rate = f64::from(self.opened.format.rate_hz) * (1.0 + troubles.drift_ppm * 1e-6);
        ((self.at + troubles.sleeps).get() as f64) * 1e3 + frame as f64 / rate * NANOS
    }

    fn is_lost(&self, frame: u64) -> bool {
        let Some((every, lost)) = self.microphone.dropouts else { return false };
        let frames = |time| {
            let mono = Format { channels: 1, ..self.opened.format };
            u64::try_from(mono.samples_in(time)).unwrap_or(u64::MAX).max(1)
        };
        let within = frame % frames(every);
        within >= frames(every).saturating_sub(frames(lost))
    }
}

struct FakeOutput {
    system: FakeAudio,
    speaker: FakeSpeaker,
    opened: Opened,
    at: Micros,
    emission: Option<Emission>,
}

impl AudioOutput for FakeOutput {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn play(&mut self, sound: Arc<[f32]>) -> Result<(), DeviceError> {
        let mut world = self.system.lock();
        let awake = (self.at + self.speaker.troubles.sleeps).max(world.now);
        let starts = awake + SPEAKER_LATENCY;
        let format = self.opened.format;
        let rate_hz = f64::from(format.rate_hz) * (1.0 + self.speaker.troubles.drift_ppm * 1e-6);
        let lasting = format.time_of(sound.len()).as_ms() * f64::from(format.rate_hz) / rate_hz;
        let ends = starts + Micros::from_ms_f64(lasting).unwrap_or_default();
        let emission = Emission { starts, ends, format, rate_hz, sound };
        if !self.speaker.troubles.never_delivers {
            world.played.push(emission.clone());
        }
        self.emission = Some(emission);
        Ok(())
    }

    fn wait(&mut self, wait: Micros) -> Result<Played, DeviceError> {
        let title = self.speaker.device.title();
        let mut world = self.system.lock();
        let over = self.emission.as_ref().map(|emission| emission.ends);
        let until = over.map_or(world.now + wait, |over| over.min(world.now + wait)).max(world.now);
        if let Some((at, error)) = end_of(&self.speaker.troubles, self.at, &title)
            && at <= until
        {
            world.now = world.now.max(at);
            return Err(error);
        }
        if self.speaker.troubles.never_delivers {
            world.now += wait;
            return Err(self.speaker.device.went_quiet(wait));
        }
        world.now = until;
        let now = world.now;
        let frames = |samples: usize| {
            u64::try_from(samples / usize::from(self.opened.format.channels.max(1))).unwrap_or(u64::MAX)
        };
        let Some(emission) = &self.emission else {
            return Ok(Played {
                frames: 0,
                at: None,
                of: 0,
                handed: None,
                started: None,
                over: false,
                underruns: 0,
            });
        };
        let handed = emission.starts - SPEAKER_LATENCY;
        let of = frames(emission.sound.len());
        Ok(Played {
            frames: emission.frames_after(now - handed).min(of),
            at: (now >= handed).then_some(now),
            of,
            handed: (now >= handed).then_some(handed),
            started: (now >= handed).then_some(emission.starts),
            over: now >= emission.ends,
            underruns: 0,
        })
    }

    fn stop(&mut self) {
        // What was not yet heard is not heard any more.
        let now = self.system.now();
        if let Some(emission) = &self.emission {
            let starts = emission.starts;
            self.system.lock().played.retain(|other| other.starts != starts || other.starts <= now);
        }
    }
}

fn listed(id: &str, name: &str, role: Role, channels: u16) -> AudioDevice {
    AudioDevice {
        id: id.to_owned(),
        name: name.to_owned(),
        role,
        is_default: true,
        is_monitor: false,
        attached: None,
        format: Some(Format { rate_hz: 48_000, channels }),
        muted: Some(false),
        volume_ratio: Some(1.0),
        suspended: Some(false),
    }
}

fn opened(device: &AudioDevice, want: Want) -> Opened {
    let own = device.format.unwrap_or(Format { rate_hz: 48_000, channels: 1 });
    let format = Format {
        rate_hz: want.rate_hz.unwrap_or(own.rate_hz),
        channels: want.channels.unwrap_or(own.channels),
    };
    let mono = Format { channels: 1, ..format };
    let block_frames = u32::try_from(mono.samples_in(want.block)).unwrap_or(u32::MAX);
    Opened { format, form: "f32", block_frames }
}

fn server_down(device: &str) -> DeviceError {
    DeviceError::new(Fault::ServerDown { server: "the fake server".to_owned() }, device)
}

/// When a device opened `at` goes away, and what is said then.
fn end_of(troubles: &Troubles, at: Micros, title: &str) -> Option<(Micros, DeviceError)> {
    let unplugged =
        troubles.unplugged_after.map(|after| (at + after, DeviceError::new(Fault::Disconnected, title)));
    let died = troubles.server_dies_after.map(|after| (at + after, server_down(title)));
    unplugged.into_iter().chain(died).min_by_key(|(at, _)| *at)
}
