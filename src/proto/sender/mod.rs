//! The client's side of a session: validates its address, sends the audio stream and media up, logs what comes down.
//!
//! ```text
//! new ──▶ Validating ──▶ Running ──finish──▶ Draining ──▶ Finished
//!             └── no answer in time ──▶ Finished (Unreachable)
//! ```
//!
//! The [`Sender`] is a [`Machine`]: its driver hands in datagrams and departures and asks for transmissions. What to send
//! beyond the audio stream is commanded from outside ([`Sender::start_stream`], [`Sender::stop_stream`]), so that whoever
//! judges the run decides when to climb. What has been measured can be read at any time through [`Sender::half`].
//!
//! # Trust
//!
//! Only datagrams from the reflector's own address that verify with the session's `down` key are looked at. Everything else
//! is counted in [`SenderCounters`] and ignored.

mod capacity;
mod config;
mod receive;
mod transmit;

use greenroom_reports::trace::{Direction, Half, Media, Phase, PhaseKind, StreamId, StreamLog, StreamSpec};
use greenroom_reports::units::{Bitrate, Micros};

pub use config::{AudioPlan, SenderConfig, SenderCounters, SenderError, SenderState};

#[cfg(doc)]
use super::machine::Machine;
use super::media::{MediaPacer, MediaPlan};
use super::stamp::MacKey;
use super::window::{CopyWindow, ip_bytes};

/// UDP payload of an audio packet: what an encrypted Opus packet at 64 kbit/s has, and just what STAMP with Class of
/// Service, Follow-Up Telemetry, the nonce, and their HMAC needs.
pub const AUDIO_PAYLOAD: usize = 112 + 8 + 20 + 24 + 20;
/// Time from audio packet to audio packet.
pub const AUDIO_INTERVAL: Micros = Micros::from_millis(20);
/// Validation probes carry numbers from here on, so that they are never taken for audio.
const FIRST_PROBE: u32 = 1 << 31;
/// Time between validation probes.
const PROBE_INTERVAL: Micros = Micros::from_millis(100);
/// Least time from a probe to the echo of a challenge: an endpoint that only ever challenges cannot make this end spin.
const ECHO_INTERVAL: Micros = Micros::from_millis(5);
/// A packet later than this does not leave any more: the computer slept or the driver was stuck.
const MAX_LATENESS: Micros = Micros::from_millis(250);
/// Streams that a session may have, both directions together.
const MAX_STREAMS: usize = 32;
/// Marks the keys of validation probes.
const PROBE_KEY: u64 = 1 << 63;

/// The client's side of a session. See the [module](self).
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    up: MacKey,
    down: MacKey,
    state: SenderState,
    nonce: Option<[u8; 16]>,
    validated: bool,
    probes: u32,
    next_probe: Micros,
    last_probe: Micros,
    audio_start: Option<Micros>,
    /// Per stream of `half.streams`, at the same index.
    lanes: Vec<Lane>,
    capacity: capacity::Stages,
    half: Half,
    phases: Vec<Phase>,
    counters: SenderCounters,
    last_heard: Option<Micros>,
    drain_until: Option<Micros>,
}

/// What a stream needs beside its log.
#[derive(Debug)]
struct Lane {
    /// `None` for audio and for streams down.
    pacer: Option<MediaPacer>,
    copies: CopyWindow,
}

impl Lane {
    fn receiving() -> Self {
        Self { pacer: None, copies: CopyWindow::new() }
    }
}

impl Sender {
    /// Begins to validate this end's address at `now`.
    pub fn new(config: SenderConfig, now: Micros) -> Self {
        let audio_bytes = u64::from(ip_bytes(config.reflector, AUDIO_PAYLOAD));
        let spec = StreamSpec {
            media: Media::Audio,
            direction: None,
            rate: Bitrate::from_bps(audio_bytes * 8 * 50),
        };
        let audio = StreamLog {
            id: StreamId::AUDIO,
            spec,
            planned: config.audio.packets(),
            tx: Vec::new(),
            rx: Vec::new(),
            corrupt: 0,
        };
        Self {
            up: config.key.up(),
            down: config.key.down(),
            state: SenderState::Validating,
            nonce: None,
            validated: false,
            probes: 0,
            next_probe: now,
            last_probe: now - PROBE_INTERVAL,
            audio_start: None,
            lanes: vec![Lane::receiving()],
            capacity: capacity::Stages::default(),
            half: Half {
                clock: config.clock.clone(),
                streams: vec![audio],
                covered_until: now,
                ..Half::default()
            },
            phases: Vec::new(),
            counters: SenderCounters::default(),
            last_heard: None,
            drain_until: None,
            config,
        }
    }

    /// Where the session stands.
    pub const fn state(&self) -> SenderState {
        self.state
    }

    /// What this end has logged so far.
    pub const fn half(&self) -> &Half {
        &self.half
    }

    /// What was going on when. The last phase ends at [`Micros::MAX`] while it lasts.
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// What came and was not counted.
    pub const fn counters(&self) -> &SenderCounters {
        &self.counters
    }

    /// When an authenticated datagram last arrived from the reflector.
    pub const fn last_heard(&self) -> Option<Micros> {
        self.last_heard
    }

    /// Whether the reflector knows that this address is the client's: streams down flow only then.
    pub const fn is_validated(&self) -> bool {
        self.validated
    }

    /// When the first audio packet is or was due; `None` while validating.
    pub const fn audio_start(&self) -> Option<Micros> {
        self.audio_start
    }

    /// Ends the phase that lasts and begins another.
    pub fn begin_phase(&mut self, now: Micros, kind: PhaseKind, offered_up: Bitrate, offered_down: Bitrate) {
        self.end_phase(now);
        self.phases.push(Phase { kind, from: now, to: Micros::MAX, offered_up, offered_down });
    }

    /// Starts a media stream up. Its first frame is due at `plan.from`, or now if that has passed.
    ///
    /// # Errors
    ///
    /// [`SenderError`]: nothing is started then.
    pub fn start_stream(&mut self, now: Micros, plan: MediaPlan) -> Result<(), SenderError> {
        if self.state != SenderState::Running {
            return Err(SenderError::NotRunning);
        }
        if self.position(plan.stream).is_ok() {
            return Err(SenderError::StreamExists(plan.stream));
        }
        if self.lanes.len() >= MAX_STREAMS {
            return Err(SenderError::TooManyStreams);
        }
        let plan = MediaPlan { from: plan.from.max(now), ..plan };
        let pacer = MediaPacer::new(plan);
        let planned = pacer.clone().count();
        let at = self.insert_log(
            plan.stream,
            StreamSpec { media: plan.media, direction: Some(Direction::Up), rate: plan.rate },
        );
        self.half.streams[at].planned = planned;
        self.lanes[at].pacer = Some(pacer);
        Ok(())
    }

    /// Stops a media stream up: what it was still to send is no longer planned. Unknown streams are ignored.
    pub fn stop_stream(&mut self, stream: StreamId) {
        if let Ok(at) = self.position(stream)
            && let Some(pacer) = &mut self.lanes[at].pacer
        {
            pacer.stop();
            let log = &mut self.half.streams[at];
            log.planned = u32::try_from(log.tx.len()).unwrap_or(u32::MAX);
        }
    }

    /// Sends nothing more, as planned, and waits for stragglers until `now + straggler_wait`.
    pub fn finish(&mut self, now: Micros) {
        if !matches!(self.state, SenderState::Running | SenderState::Validating) {
            return;
        }
        self.drop_stages();
        let streams: Vec<_> = self.half.streams.iter().map(|log| log.id).collect();
        for stream in streams {
            self.stop_stream(stream);
        }
        let audio = &mut self.half.streams[0];
        audio.planned = u32::try_from(audio.tx.len()).unwrap_or(u32::MAX);
        self.half.complete = self.state == SenderState::Running;
        self.drain(now);
    }

    /// Breaks off: sends nothing more and waits for nothing. What was planned stays planned.
    pub fn abort(&mut self, now: Micros) {
        self.end_phase(now);
        self.half.covered_until = now;
        self.state = SenderState::Finished;
    }

    /// Gives up the log, the phases and the counters.
    pub fn into_parts(self) -> (Half, Vec<Phase>, SenderCounters) {
        (self.half, self.phases, self.counters)
    }

    fn drain(&mut self, now: Micros) {
        self.end_phase(now);
        self.drain_until = Some(now + self.config.straggler_wait);
        self.state = SenderState::Draining;
    }

    fn end_phase(&mut self, now: Micros) {
        if let Some(last) = self.phases.last_mut()
            && last.to == Micros::MAX
        {
            last.to = now;
        }
    }

    fn position(&self, stream: StreamId) -> Result<usize, usize> {
        self.half.streams.binary_search_by_key(&stream, |log| log.id)
    }

    /// Adds a log in the order of ids, with its lane.
    fn insert_log(&mut self, id: StreamId, spec: StreamSpec) -> usize {
        let at = self.position(id).unwrap_or_else(|at| at);
        let log = StreamLog { id, spec, planned: 0, tx: Vec::new(), rx: Vec::new(), corrupt: 0 };
        self.half.streams.insert(at, log);
        self.lanes.insert(at, Lane::receiving());
        at
    }

    /// Moves on to what time alone brings about.
    fn advance(&mut self, now: Micros) {
        self.half.covered_until = self.half.covered_until.max(now);
        match self.state {
            SenderState::Validating if now >= self.config.validate_until => {
                self.state = SenderState::Unreachable;
            }
            SenderState::Running if self.audio_done() && self.media_done() && self.capacity.is_idle() => {
                self.half.complete = true;
                self.drain(now);
            }
            SenderState::Draining if self.drain_until.is_some_and(|until| now >= until) => {
                self.state = SenderState::Finished;
            }
            _ => {}
        }
    }

    fn audio_done(&self) -> bool {
        self.next_audio().is_none()
    }

    fn media_done(&self) -> bool {
        self.lanes.iter().filter_map(|lane| lane.pacer.as_ref()).all(|pacer| pacer.next_at().is_none())
    }

    /// When the next audio packet is due.
    fn next_audio(&self) -> Option<Micros> {
        let sent = self.half.streams[0].tx.len();
        let due = self.audio_start? + AUDIO_INTERVAL * i64::try_from(sent).ok()?;
        (i64::try_from(sent).ok()? < i64::from(self.half.streams[0].planned)).then_some(due)
    }

    /// The lane whose packet is due first, and when.
    fn next_packet(&self) -> Option<(Micros, usize)> {
        let audio = self.next_audio().map(|at| (at, 0));
        let media = self
            .lanes
            .iter()
            .enumerate()
            .filter_map(|(lane, it)| Some((it.pacer.as_ref()?.next_at()?, lane)));
        audio.into_iter().chain(media).min()
    }
}
