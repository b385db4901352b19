//! One open stream. A keeper thread opens it, holds it and closes it, so that nobody waits for a driver longer than agreed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use cpal::traits::{DeviceTrait as _, HostTrait as _, StreamTrait as _};
use cpal::{Data, ErrorKind, InputCallbackInfo, OutputCallbackInfo};
use greenroom_reports::units::Micros;

use super::bounded::{OPENING, quietly};
use super::{NativeAudio, convert, fault};
use crate::devices::LONGEST_WAIT;
use crate::devices::audio::{
    AudioDevice, AudioInput, AudioOutput, Block, Format, Opened, Played, Role, Want,
};
use crate::devices::clock::Clock;
use crate::devices::error::{DeviceError, Fault};

/// Blocks that wait to be read before new ones are thrown away: more than any test lets lie.
const MOST_BLOCKS: usize = 1_000;
/// A driver that asks for no sound this long has stalled. A server that wakes up takes two seconds, and may then ask for as much at once.
const NO_CALL: Micros = Micros::from_secs(3);

/// A microphone that captures.
pub(super) struct Capture {
    system: NativeAudio,
    device: AudioDevice,
    opened: Opened,
    heard: Arc<Heard>,
    last: Micros,
    keeper: Keeper,
}

/// What the driver's thread hands to the reader.
#[derive(Debug, Default)]
struct Heard {
    state: Mutex<HeardState>,
    news: Condvar,
    overruns: AtomicU32,
}

#[derive(Debug, Default)]
struct HeardState {
    blocks: VecDeque<Block>,
    failed: Option<cpal::Error>,
}

impl Capture {
    pub(super) fn open(system: &NativeAudio, device: &AudioDevice, want: Want) -> Result<Self, DeviceError> {
        let heard = Arc::new(Heard::default());
        let (clock, shared) = (system.clock, Arc::clone(&heard));
        let (keeper, opened) = Keeper::open(system, device, move |device| {
            let (offered, own) = (device.supported_input_configs()?, device.default_input_config()?);
            let (config, form, opened) = chosen(offered, &own, want)?;
            let (on_data, on_error) = (Arc::clone(&shared), shared);
            let stream = device.build_input_stream_raw(
                config,
                form,
                move |data: &Data, info: &InputCallbackInfo| on_data.take(data, info, clock),
                move |error| on_error.fail(error),
                Some(OPENING.to_duration()),
            )?;
            Ok((stream, opened))
        })?;
        let last = system.clock.now();
        Ok(Self { system: system.clone(), device: device.clone(), opened, heard, last, keeper })
    }
}

impl AudioInput for Capture {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn next(&mut self, wait: Micros) -> Result<Block, DeviceError> {
        let until_there = |state: &mut HeardState| state.blocks.is_empty() && state.failed.is_none();
        let (mut state, _) = self
            .heard
            .news
            .wait_timeout_while(lock(&self.heard.state), bounded_wait(wait), until_there)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = state.blocks.pop_front() {
            self.last = block.arrived;
            return Ok(block);
        }
        if let Some(error) = &state.failed {
            return Err(fault::while_streaming(&self.device, error));
        }
        drop(state);
        let now = self.system.clock.now();
        Err(self
            .keeper
            .failed(&self.device)
            .unwrap_or_else(|| self.system.diagnose(&self.device, now - self.last)))
    }

    fn stop(&mut self) {
        self.keeper.stop();
    }
}

impl Heard {
    /// Runs on the driver's thread.
    fn take(&self, data: &Data, info: &InputCallbackInfo, clock: Clock) {
        let arrived = clock.now();
        let stamp = info.timestamp();
        let age = stamp.callback.duration_since(stamp.capture);
        let samples = convert::to_float(data);
        let mut state = lock(&self.state);
        if state.blocks.len() >= MOST_BLOCKS {
            drop(state);
            self.overruns.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let overruns = self.overruns.swap(0, Ordering::Relaxed);
        let captured = arrived - Micros::from_duration(age);
        state.blocks.push_back(Block { arrived, captured, samples, overruns });
        drop(state);
        self.news.notify_one();
    }

    /// Runs on the driver's thread, and with some drivers thousands of times a second.
    fn fail(&self, error: cpal::Error) {
        if error.kind() == ErrorKind::Xrun {
            self.overruns.fetch_add(1, Ordering::Relaxed);
        } else if fault::ends_the_stream(error.kind()) {
            lock(&self.state).failed.get_or_insert(error);
            self.news.notify_one();
        }
    }
}

/// A speaker that is open, and silent until it is given a sound.
pub(super) struct Playback {
    system: NativeAudio,
    device: AudioDevice,
    opened: Opened,
    playing: Arc<Playing>,
    keeper: Keeper,
}

#[derive(Debug, Default)]
struct Playing {
    state: Mutex<PlayingState>,
    news: Condvar,
    underruns: AtomicU32,
}

#[derive(Debug, Default)]
struct PlayingState {
    sound: Option<Arc<[f32]>>,
    /// Samples handed over.
    position: usize,
    /// When its latest samples were handed over.
    at: Option<Micros>,
    /// When its first sample was handed over.
    handed: Option<Micros>,
    /// When that sample is due at the speaker.
    started: Option<Micros>,
    /// When its last sample is, once it was handed over.
    ends: Option<Micros>,
    last_call: Option<Micros>,
    failed: Option<cpal::Error>,
}

impl Playback {
    pub(super) fn open(system: &NativeAudio, device: &AudioDevice, want: Want) -> Result<Self, DeviceError> {
        let playing = Arc::new(Playing::default());
        let (clock, shared) = (system.clock, Arc::clone(&playing));
        let (keeper, opened) = Keeper::open(system, device, move |device| {
            let (offered, own) = (device.supported_output_configs()?, device.default_output_config()?);
            let (config, form, opened) = chosen(offered, &own, want)?;
            let (on_data, on_error) = (Arc::clone(&shared), shared);
            let stream = device.build_output_stream_raw(
                config,
                form,
                move |data: &mut Data, info: &OutputCallbackInfo| {
                    on_data.fill(data, info, clock, opened.format);
                },
                move |error| on_error.fail(error),
                Some(OPENING.to_duration()),
            )?;
            Ok((stream, opened))
        })?;
        lock(&playing.state).last_call = Some(system.clock.now());
        Ok(Self { system: system.clone(), device: device.clone(), opened, playing, keeper })
    }
}

impl AudioOutput for Playback {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn play(&mut self, sound: Arc<[f32]>) -> Result<(), DeviceError> {
        let mut state = lock(&self.playing.state);
        if let Some(error) = &state.failed {
            return Err(fault::while_streaming(&self.device, error));
        }
        let last_call = state.last_call;
        *state = PlayingState { sound: Some(sound), last_call, ..PlayingState::default() };
        Ok(())
    }

    fn wait(&mut self, wait: Micros) -> Result<Played, DeviceError> {
        let clock = self.system.clock;
        let until = clock.now() + Micros::from_duration(bounded_wait(wait));
        let mut state = lock(&self.playing.state);
        loop {
            let now = clock.now();
            if let Some(error) = &state.failed {
                return Err(fault::while_streaming(&self.device, error));
            }
            let silent = now - state.last_call.unwrap_or(now);
            if silent > NO_CALL {
                drop(state);
                let known = self.keeper.failed(&self.device);
                return Err(known.unwrap_or_else(|| self.system.diagnose(&self.device, silent)));
            }
            let over = state.ends.is_some_and(|ends| ends <= now);
            if over || now >= until {
                return Ok(self.played(&state, over));
            }
            let next = state.ends.map_or(until, |ends| ends.min(until)).min(now + NO_CALL);
            let pause = (next - now).to_duration();
            (state, _) = self.playing.news.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn stop(&mut self) {
        self.keeper.stop();
    }
}

impl Playback {
    fn played(&self, state: &PlayingState, over: bool) -> Played {
        let channels = usize::from(self.opened.format.channels.max(1));
        let frames = |samples: usize| u64::try_from(samples / channels).unwrap_or(u64::MAX);
        Played {
            frames: frames(state.position),
            at: state.at,
            of: state.sound.as_ref().map_or(0, |sound| frames(sound.len())),
            handed: state.handed,
            started: state.started,
            over,
            underruns: self.playing.underruns.load(Ordering::Relaxed),
        }
    }
}

impl Playing {
    /// Runs on the driver's thread.
    fn fill(&self, data: &mut Data, info: &OutputCallbackInfo, clock: Clock, format: Format) {
        let now = clock.now();
        let stamp = info.timestamp();
        let due = now + Micros::from_duration(stamp.playback.duration_since(stamp.callback));
        let mut state = lock(&self.state);
        state.last_call = Some(now);
        let from = state.position;
        let rest: &[f32] = state.sound.as_deref().map_or(&[], |sound| &sound[from.min(sound.len())..]);
        let mut samples = rest.iter().copied();
        convert::from_float(data, || samples.next().unwrap_or(0.0));
        let taken = rest.len() - samples.len();
        let is_last = !rest.is_empty() && taken == rest.len();
        state.position += taken;
        if taken > 0 {
            state.at = Some(now);
            state.handed.get_or_insert(now);
            state.started.get_or_insert(due);
        }
        if is_last {
            state.ends = Some(due + format.time_of(taken));
        }
        drop(state);
        if is_last {
            self.news.notify_one();
        }
    }

    /// Runs on the driver's thread, and with some drivers thousands of times a second.
    fn fail(&self, error: cpal::Error) {
        if error.kind() == ErrorKind::Xrun {
            self.underruns.fetch_add(1, Ordering::Relaxed);
        } else if fault::ends_the_stream(error.kind()) {
            lock(&self.state).failed.get_or_insert(error);
            self.news.notify_one();
        }
    }
}

/// The thread that opened a stream, holds it, and closes it when told to.
struct Keeper {
    stop: Option<mpsc::Sender<()>>,
    starting: Arc<Starting>,
}

/// How starting the stream went. It goes on after opening has returned: a suspended device starts with its first sample.
#[derive(Debug, Default)]
struct Starting {
    failed: Mutex<Option<cpal::Error>>,
    over: AtomicBool,
}

impl Keeper {
    /// Opens a stream with `open` on a thread of its own, starts it there, and waits until it is open.
    fn open(
        system: &NativeAudio,
        device: &AudioDevice,
        open: impl FnOnce(&cpal::Device) -> Result<(cpal::Stream, Opened), cpal::Error> + Send + 'static,
    ) -> Result<(Self, Opened), DeviceError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let starting = Arc::new(Starting::default());
        let (hosts, wanted, shared) = (system.hosts.clone(), device.clone(), Arc::clone(&starting));
        let keep = move || {
            quietly();
            let stream = match hosts.device(&wanted).and_then(|device| open(&device)) {
                Ok((stream, opened)) => {
                    // The opener has given up when nobody takes it.
                    if tell.send(Ok(opened)).is_err() {
                        return;
                    }
                    stream
                }
                Err(error) => {
                    let _ = tell.send(Err(error));
                    return;
                }
            };
            if let Err(error) = stream.play() {
                *lock(&shared.failed) = Some(error);
            }
            shared.over.store(true, Ordering::Release);
            // Ends when the opener says so, or is gone.
            let _ = stopped.recv();
        };
        thread::Builder::new()
            .name(format!("{} stream", device.role.word()))
            .spawn(keep)
            .map_err(|error| DeviceError::new(Fault::Unknown, device.title()).with_detail(error))?;
        match told.recv_timeout(OPENING.to_duration()) {
            Ok(Ok(opened)) => Ok((Self { stop: Some(stop), starting }, opened)),
            Ok(Err(error)) => Err(fault::on_opening(device, &error)),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(system.diagnose(device, OPENING)),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(DeviceError::new(Fault::Unknown, device.title())
                    .with_detail("the driver's library crashed"))
            }
        }
    }

    /// Why the stream did not start, if that is why nothing comes.
    fn failed(&self, device: &AudioDevice) -> Option<DeviceError> {
        if !self.starting.over.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.starting.failed).as_ref().map(|error| fault::while_streaming(device, error))
    }

    fn stop(&mut self) {
        self.stop = None;
    }
}

/// The libraries' connections to the system's sound. Kept: not all of them end their threads when they are dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts {
    kept: Arc<Mutex<Vec<Arc<KeptHost>>>>,
}

struct KeptHost(cpal::Host);

impl std::fmt::Debug for KeptHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KeptHost").field(&self.0.id()).finish()
    }
}

impl Hosts {
    /// The library's own handle of `device`.
    fn device(&self, device: &AudioDevice) -> Result<cpal::Device, cpal::Error> {
        let id: cpal::DeviceId = device.id.parse()?;
        let kept = lock(&self.kept).iter().find(|kept| kept.0.id() == id.host()).map(Arc::clone);
        if let Some(found) = kept.and_then(|kept| find(&kept.0, &id, device.role)) {
            return Ok(found);
        }
        // None was kept, or its server was restarted since.
        let host = Arc::new(KeptHost(cpal::host_from_id(id.host())?));
        let mut hosts = lock(&self.kept);
        hosts.retain(|other| other.0.id() != id.host());
        hosts.push(Arc::clone(&host));
        drop(hosts);
        find(&host.0, &id, device.role).ok_or_else(|| cpal::Error::new(ErrorKind::DeviceNotAvailable))
    }
}

fn find(host: &cpal::Host, id: &cpal::DeviceId, role: Role) -> Option<cpal::Device> {
    #[cfg(target_os = "linux")]
    if id.host() == cpal::HostId::Alsa {
        // One name plays and captures, and asking which would open it.
        return host.device_by_id(id);
    }
    // A sound server may have a microphone and a speaker of one name.
    host.devices().ok()?.find(|device| {
        let has_role = match role {
            Role::Microphone => device.supports_input(),
            Role::Speaker => device.supports_output(),
        };
        has_role && device.id().ok().as_ref() == Some(id)
    })
}

/// What a device is opened as, of what it offers.
fn chosen(
    offered: impl Iterator<Item = cpal::SupportedStreamConfigRange>,
    own: &cpal::SupportedStreamConfig,
    want: Want,
) -> Result<(cpal::StreamConfig, cpal::SampleFormat, Opened), cpal::Error> {
    let (config, form) = convert::choose(&offered.collect::<Vec<_>>(), own, want)
        .map_err(|asked| cpal::Error::with_message(ErrorKind::UnsupportedConfig, asked.to_string()))?;
    let opened = Opened {
        format: Format { rate_hz: config.sample_rate, channels: config.channels },
        form: convert::name(form),
        block_frames: match config.buffer_size {
            cpal::BufferSize::Fixed(frames) => frames,
            cpal::BufferSize::Default => 0,
        },
    };
    Ok((config, form, opened))
}

fn bounded_wait(wait: Micros) -> Duration {
    wait.min(LONGEST_WAIT).to_duration()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
