//! Devices judged: which of them stand in the way of which use, and the verdict over network and devices together.
//!
//! Audio needs a microphone and a speaker, video a camera, and a computer that encodes fast enough. What was not tested
//! counts neither as good nor as bad, unless it was asked for by name. Of several devices of a kind, the system's default
//! counts, or the first one that was tried.

mod cameras;

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::joining::{Asked, NetworkPart, join};
use super::{Assessment, Question, causes};
use crate::schema::{
    Cause, DeviceFailure, DeviceInfo, DeviceKind, Devices, Estimate, Heard, Listing, LoopChannel, Machine,
    Microphone, Place, Speaker, State, Use, Value,
};
use crate::verdict::{DeviceFigure, DeviceLimits, Interval, Judgement, device_words, rank, words, worse};

/// What was found and measured of a computer's devices, and what was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Equipment<'a> {
    /// Microphones, speakers, cameras.
    pub devices: &'a Devices,
    /// The computer.
    pub machine: &'a Machine,
    /// The kinds asked for by name: one that is missing or not tested then counts.
    pub asked: &'a [DeviceKind],
}

/// The uses that need a kind of device.
pub fn uses_of(kind: DeviceKind) -> &'static [Use] {
    match kind {
        DeviceKind::Microphone | DeviceKind::Speaker => &[Use::Audio],
        DeviceKind::Camera => &[Use::Video360p, Use::Video720p, Use::Video1080p],
    }
}

/// Joins what the devices say into the verdict over the network, worst of both per use, and keeps the computer's figures.
pub fn with_devices(
    mut assessment: Assessment,
    equipment: Equipment<'_>,
    question: &Question<'_>,
) -> Assessment {
    let found = judge(equipment, question);
    let network = if assessment.targets.is_empty() { NetworkPart::NotWanted } else { NetworkPart::Wanted };
    let asked = Asked { uses: question.asked, kinds: equipment.asked, network };
    join(&mut assessment.verdict, found, &asked);
    assessment.host.machine = equipment.machine.clone();
    assessment
}

/// What the devices say.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Per kind that counts: how bad it is, and in a few words why.
    pub(super) kinds: BTreeMap<DeviceKind, (State, Option<String>)>,
    /// What the computer is fast enough for or too slow, and what the camera's pictures are too small for.
    pub(super) of_uses: BTreeMap<Use, State>,
    pub(super) causes: Vec<Cause>,
}

fn judge(equipment: Equipment<'_>, question: &Question<'_>) -> Findings {
    let Equipment { devices, machine, asked } = equipment;
    let limits = question.profile.device_limits();
    let mut judge = Judge { devices, limits: &limits, causes: Vec::new(), missing: Vec::new() };
    let mut findings = Findings::default();
    for kind in DeviceKind::ALL {
        let before = judge.causes.len();
        let tried = judge.kind(kind, asked.contains(&kind));
        let causes = &judge.causes[before..];
        let worst = causes.iter().map(|cause| cause.state).fold(State::Ready, worse);
        let found = match tried {
            Tried::Yes => Some((worst, None)),
            Tried::No(reason) if asked.contains(&kind) => {
                Some((worse(State::Inconclusive, worst), Some(format!("{}: {reason}", kind.name()))))
            }
            // What is wrong with it counts, however little could be tested.
            Tried::No(_) if rank(worst) > rank(State::Ready) => Some((worst, None)),
            Tried::No(_) => None,
        };
        findings.kinds.extend(found.map(|found| (kind, found)));
    }
    if let Some(cause) = judge.too_small(question.asked) {
        findings.of_uses.extend(cause.uses.iter().map(|use_| (*use_, cause.state)));
        judge.causes.push(cause);
    }
    for headroom in &machine.encode {
        let Some(estimate) = headroom.times_real_time.measured() else { continue };
        let numbers = |value: f64| vec![("use", json!(headroom.use_.short())), ("times", json!(value))];
        let place = ("encode_slow", &[headroom.use_][..], "host.machine.encode".to_owned());
        if let Some(cause) = judge.beyond(DeviceFigure::EncodeTimesRealTime, estimate, place, numbers) {
            let slow = findings.of_uses.entry(headroom.use_).or_insert(State::Ready);
            *slow = worse(*slow, cause.state);
            judge.causes.push(Cause { place: Place::Computer, ..cause });
        } else {
            findings.of_uses.entry(headroom.use_).or_insert(State::Ready);
        }
    }
    // Who names devices does not ask for the others.
    if asked.is_empty() {
        judge.note_missing();
    }
    findings.causes = judge.causes;
    findings
}

/// Whether a device was taken away while it was tried: what it gave until then, be it zeros, is no measure of it.
const fn went_away(failure: &DeviceFailure) -> bool {
    matches!(failure, DeviceFailure::Disconnected { .. })
}

/// Whether a kind of device was tried, or why not.
enum Tried {
    Yes,
    No(String),
}

/// Collects causes.
struct Judge<'a> {
    devices: &'a Devices,
    limits: &'a DeviceLimits,
    causes: Vec<Cause>,
    /// What is not there and nobody asked for by name.
    missing: Vec<DeviceKind>,
}

impl Judge<'_> {
    fn kind(&mut self, kind: DeviceKind, asked: bool) -> Tried {
        let devices = self.devices;
        match kind {
            DeviceKind::Microphone => {
                match chosen(&devices.microphones, |d| (&d.device, tried(&d.state, d.failure.as_ref()))) {
                    Some((at, microphone)) => self.microphone(at, microphone),
                    None => self.absent(kind, asked, devices.microphones.len(), &devices.sound),
                }
            }
            DeviceKind::Speaker => {
                match chosen(&devices.speakers, |d| (&d.device, tried(&d.state, d.failure.as_ref()))) {
                    Some((at, speaker)) => self.speaker(at, speaker),
                    None => self.absent(kind, asked, devices.speakers.len(), &devices.sound),
                }
            }
            DeviceKind::Camera => {
                match chosen(&devices.cameras, |d| (&d.device, tried(&d.state, d.failure.as_ref()))) {
                    Some((at, camera)) => self.camera(at, camera),
                    None => self.absent(kind, asked, devices.cameras.len(), &devices.pictures),
                }
            }
        }
    }

    /// Nothing of a kind was tried: for want of it, or because nobody looked.
    fn absent(&mut self, kind: DeviceKind, asked: bool, found: usize, listing: &Listing) -> Tried {
        if let Some(failure) = listing.failure.as_ref().filter(|_| asked) {
            self.failed(kind, failure, None);
            return Tried::Yes;
        }
        match &listing.state {
            Value::Measured(_) if found > 0 => self.by_the_loop(kind, asked),
            Value::Measured(_) if asked => {
                self.failed(kind, &DeviceFailure::NotFound { wanted: None }, None);
                Tried::Yes
            }
            Value::Measured(_) => {
                self.missing.push(kind);
                Tried::No("there is none".to_owned())
            }
            Value::Failed { reason } | Value::NotTested { reason } => Tried::No(reason.clone()),
        }
    }

    /// What is not there and nobody asked for: worth knowing, and nobody's verdict.
    fn note_missing(&mut self) {
        let names: Vec<&str> = self.missing.iter().map(|kind| kind.name()).collect();
        if names.is_empty() {
            return;
        }
        let device = words::series(&names, "or");
        let note = self.worded("device_not_found", BTreeMap::from([("device".to_owned(), json!(device))]));
        self.causes.push(Cause { state: State::Ready, place: Place::Device, ..note });
    }

    /// A device that was found and not tried by itself: what the loop of speaker and microphone says of it.
    fn by_the_loop(&mut self, kind: DeviceKind, asked: bool) -> Tried {
        let acoustic = &self.devices.acoustic_loop;
        match (kind, &acoustic.state) {
            (DeviceKind::Microphone, Value::Measured(_)) => Tried::Yes,
            (DeviceKind::Speaker, Value::Measured(_)) => {
                self.heard(&acoustic.channels);
                Tried::Yes
            }
            (
                DeviceKind::Microphone | DeviceKind::Speaker,
                Value::NotTested { reason } | Value::Failed { reason },
            ) if asked => Tried::No(reason.clone()),
            _ => Tried::No("it was not tried".to_owned()),
        }
    }

    fn failed(&mut self, kind: DeviceKind, failure: &DeviceFailure, info: Option<&DeviceInfo>) {
        let mut params = kind_params(kind);
        match failure {
            DeviceFailure::Busy { by } => {
                let by = by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default();
                params.insert("by".to_owned(), json!(by));
            }
            DeviceFailure::Permission { detail, .. } => {
                let usual = if kind == DeviceKind::Camera { "video" } else { "audio" };
                params.insert("group".to_owned(), json!(detail.as_deref().unwrap_or(usual)));
            }
            DeviceFailure::Suspended { wake } => {
                let default = if kind == DeviceKind::Microphone {
                    "source @DEFAULT_SOURCE@"
                } else {
                    "sink @DEFAULT_SINK@"
                };
                let usual = || format!("pactl suspend-{default} 0");
                params.insert("wake".to_owned(), json!(wake.clone().unwrap_or_else(usual)));
            }
            DeviceFailure::SoundServerDown { server } => {
                params.insert("server".to_owned(), json!(server));
            }
            _ => {}
        }
        let name = info.and_then(|info| info.name.as_ref()).map(|name| format!("{}: {name}", kind.name()));
        let mut cause = self.cause(&format!("device_{}", failure.code()), kind, params);
        cause.state = failure.state();
        cause.place = failure.place();
        cause.evidence = name.into_iter().chain(std::iter::once(failure.reason())).collect();
        self.causes.push(cause);
    }

    fn microphone(&mut self, at: usize, microphone: &Microphone) -> Tried {
        let kind = DeviceKind::Microphone;
        if let Some(failure) = &microphone.failure {
            self.failed(kind, failure, Some(&microphone.device));
            if went_away(failure) {
                return Tried::Yes;
            }
        }
        let sound = &microphone.sound;
        let heard = sound.heard.fact().copied();
        let silence = match heard {
            Some(Heard::NoPermission) => {
                Some(("mic_no_permission", State::PermissionDenied, Place::Computer))
            }
            Some(Heard::MutedInSoftware) => Some(("mic_muted_in_software", State::Blocked, Place::Computer)),
            Some(Heard::MutedInHardware) => Some(("mic_muted_in_hardware", State::Blocked, Place::Device)),
            Some(Heard::Stuck) => Some(("mic_stuck", State::Blocked, Place::Device)),
            Some(Heard::NobodySpoke) => Some(("mic_nobody_spoke", State::Ready, Place::Device)),
            Some(Heard::Speech | Heard::TooQuiet) | None => None,
        };
        if let Some((code, state, place)) = silence {
            let mut cause = self.cause(code, kind, BTreeMap::new());
            (cause.state, cause.place) = (state, place);
            cause.metric = Some(format!("devices.microphones.{at}.sound.heard"));
            if heard == Some(Heard::NobodySpoke) {
                cause.uses = Vec::new();
            }
            self.causes.push(cause);
        }
        // Of a silence, no figure says more than its name.
        if matches!(heard, Some(Heard::Speech | Heard::TooQuiet | Heard::NobodySpoke)) {
            self.sound(at, microphone);
        }
        match (heard, &microphone.failure) {
            (None, None) => Tried::No("nothing was recorded".to_owned()),
            (Some(Heard::NobodySpoke), None) => Tried::No("nobody spoke".to_owned()),
            _ => Tried::Yes,
        }
    }

    fn sound(&mut self, at: usize, microphone: &Microphone) {
        use DeviceFigure as Figure;
        let sound = &microphone.sound;
        let path = |name: &str| format!("devices.microphones.{at}.sound.{name}");
        let percent = |value: f64| vec![("percent", json!(value * 100.0))];
        let level = |value: f64| vec![("level", json!(value.round()))];
        let of = |value: Option<f64>| value.map(exactly);
        let clipping = sound.clipping.measured();
        let dropouts = sound.dropouts.measured();
        let hum = sound.hum.measured();
        let mains = hum.and_then(|hum| hum.mains_hz);
        let judged: [Judged<'_>; 10] = [
            (
                Figure::SpeechLevelDbfs,
                sound.speech_level_dbfs.measured().copied(),
                "mic_too_quiet",
                path("speech_level_dbfs"),
                &level,
            ),
            (Figure::SnrDb, sound.snr_db.measured().copied(), "mic_snr_low", path("snr_db"), &|value| {
                vec![("db", json!(value.round()))]
            }),
            (
                Figure::NoiseFloorDbfs,
                sound.noise_floor_dbfs.measured().copied(),
                "mic_noisy",
                path("noise_floor_dbfs"),
                &level,
            ),
            (
                Figure::DcOffsetRatio,
                sound.dc_offset_ratio.measured().copied(),
                "mic_dc_offset",
                path("dc_offset_ratio"),
                &|value| percent(value.abs()),
            ),
            (
                Figure::ClippedRatio,
                of(clipping.map(|c| c.ratio)),
                "mic_clipping",
                path("clipping.ratio"),
                &percent,
            ),
            (
                Figure::ClipRunsPerS,
                of(clipping.map(|c| c.runs_per_s)),
                "mic_clipping",
                path("clipping.runs_per_s"),
                &|_| Vec::new(),
            ),
            (
                Figure::HumDbfs,
                of(hum.and_then(|h| h.level_dbfs)),
                "mic_hum",
                path("hum.level_dbfs"),
                &|value| vec![("level", json!(value.round())), ("mains", json!(mains))],
            ),
            (
                Figure::BandwidthHz,
                sound.bandwidth_hz.measured().copied(),
                "mic_narrow_band",
                path("bandwidth_hz"),
                &|value| vec![("khz", json!(value / 1e3))],
            ),
            (
                Figure::DropoutRatio,
                of(dropouts.map(|d| d.ratio)),
                "mic_dropouts",
                path("dropouts.ratio"),
                &percent,
            ),
            (
                Figure::ClockDriftPpm,
                sound.clock_drift_ppm.measured().copied(),
                "clock_drift",
                path("clock_drift_ppm"),
                &|value| vec![("ppm", json!(value.round())), ("device", json!("microphone"))],
            ),
        ];
        self.all_beyond(judged, DeviceKind::Microphone);
        if dropouts.is_some_and(|dropouts| dropouts.damaged > 0) {
            let mut cause = self.cause("mic_damaged", DeviceKind::Microphone, BTreeMap::new());
            cause.state = State::Degraded;
            self.causes.push(cause);
        }
        let channels = sound.channels.fact();
        let any = |of: &dyn Fn(&crate::schema::ChannelFigures) -> bool| {
            channels.is_some_and(|all| all.iter().any(of))
        };
        if any(&|channel| channel.inverted) {
            let mut cause = self.cause("mic_inverted", DeviceKind::Microphone, BTreeMap::new());
            cause.state = State::Degraded;
            self.causes.push(cause);
        }
        if any(&|channel| channel.dead) {
            let mut note = self.cause("mic_dead_channel", DeviceKind::Microphone, BTreeMap::new());
            note.uses = Vec::new();
            self.causes.push(note);
        }
    }

    fn speaker(&mut self, at: usize, speaker: &Speaker) -> Tried {
        let kind = DeviceKind::Speaker;
        if let Some(failure) = &speaker.failure {
            self.failed(kind, failure, Some(&speaker.device));
        }
        let off = match (speaker.muted.fact(), speaker.volume_ratio.fact()) {
            (Some(true), _) => Some("speaker_muted"),
            (_, Some(volume)) if *volume <= 0.0 => Some("speaker_volume_zero"),
            _ => None,
        };
        if let Some(code) = off {
            let mut cause = self.cause(code, kind, BTreeMap::new());
            (cause.state, cause.place) = (State::Blocked, Place::Computer);
            self.causes.push(cause);
        }
        let drift = speaker.clock_drift_ppm.measured().copied();
        let ppm = |value: f64| vec![("ppm", json!(value.round())), ("device", json!("speaker"))];
        let path = format!("devices.speakers.{at}.clock_drift_ppm");
        self.all_beyond([(DeviceFigure::ClockDriftPpm, drift, "clock_drift", path, &ppm)], kind);
        let acoustic = &self.devices.acoustic_loop;
        let of_this = acoustic.state.measured().is_some_and(|pair| usize::try_from(pair.speaker) == Ok(at));
        if of_this && off.is_none() {
            self.heard(&acoustic.channels);
        }
        Tried::Yes
    }

    /// What the microphone heard of the speaker.
    fn heard(&mut self, channels: &[LoopChannel]) {
        use DeviceFigure as Figure;
        let kind = DeviceKind::Speaker;
        let silent = channels.iter().filter(|channel| channel.heard.fact() == Some(&false)).count();
        let code = match silent {
            0 => None,
            all if all == channels.len() => Some(("speaker_silent", State::Blocked)),
            _ => Some(("speaker_channel_silent", State::Degraded)),
        };
        if let Some((code, state)) = code {
            let mut cause = self.cause(code, kind, BTreeMap::new());
            cause.state = state;
            cause.metric = Some("devices.acoustic_loop.channels.heard".to_owned());
            cause.evidence =
                vec![format!("{silent} of {} channels were not heard by the microphone", channels.len())];
            self.causes.push(cause);
        }
        for (index, channel) in channels.iter().enumerate() {
            let path = |name: &str| format!("devices.acoustic_loop.channels.{index}.{name}");
            let judged: [Judged<'_>; 3] = [
                (
                    Figure::LoopDelayMs,
                    channel.delay_ms.measured().copied(),
                    "speaker_delay",
                    path("delay_ms"),
                    &|value| vec![("ms", json!(value.round()))],
                ),
                (
                    Figure::LoopReturnDb,
                    channel.return_db.measured().copied(),
                    "speaker_echo",
                    path("return_db"),
                    &|_| Vec::new(),
                ),
                (
                    Figure::LoopDistortionRatio,
                    channel.distortion_ratio.measured().copied(),
                    "speaker_distorted",
                    path("distortion_ratio"),
                    &|value| vec![("percent", json!(value * 100.0))],
                ),
            ];
            self.all_beyond(judged, kind);
        }
    }

    /// A cause for each figure that is beyond its good value; of those with one code the worse.
    fn all_beyond<const N: usize>(&mut self, judged: [Judged<'_>; N], kind: DeviceKind) {
        for (figure, estimate, code, path, numbers) in judged {
            let found = estimate.and_then(|e| self.beyond(figure, &e, (code, uses_of(kind), path), numbers));
            let Some(cause) = found else { continue };
            match self.causes.iter_mut().find(|known| known.code == cause.code) {
                Some(known) if rank(cause.state) > rank(known.state) => *known = cause,
                Some(_) => {}
                None => self.causes.push(cause),
            }
        }
    }

    /// The cause that a figure is; `None` when it is good, or has no limit.
    fn beyond(
        &self,
        figure: DeviceFigure,
        estimate: &Estimate,
        (code, uses, path): (&str, &[Use], String),
        numbers: impl Fn(f64) -> Vec<(&'static str, Json)>,
    ) -> Option<Cause> {
        let edge = self.limits.get(&figure)?;
        let (low, high) = (estimate.low.unwrap_or(estimate.value), estimate.high.unwrap_or(estimate.value));
        let interval = match (figure.more_is_better(), figure.of_size()) {
            // As if less were better, so that one rule judges both.
            (true, _) => Interval { low: -high, value: -estimate.value, high: -low },
            (false, true) => {
                let nearest = if low <= 0.0 && high >= 0.0 { 0.0 } else { low.abs().min(high.abs()) };
                Interval { low: nearest, value: estimate.value.abs(), high: low.abs().max(high.abs()) }
            }
            (false, false) => Interval { low, value: estimate.value, high },
        };
        let sign = if figure.more_is_better() { -1.0 } else { 1.0 };
        let judgement = Judgement::of(interval, sign * edge.good, edge.limit.map(|limit| sign * limit), true);
        // Doubt that reaches over the good value blames no device.
        if interval.low <= sign * edge.good || !matches!(judgement.state, State::Degraded | State::Blocked) {
            return None;
        }
        let params = numbers(estimate.value).into_iter().map(|(name, value)| (name.to_owned(), value));
        Some(Cause {
            state: judgement.state,
            place: Place::Device,
            uses: uses.to_vec(),
            metric: Some(path),
            measured: Some(estimate.value),
            good: Some(edge.good),
            limit: edge.limit,
            ..self.worded(code, params.collect())
        })
    }

    /// A cause of a kind of device that is nobody's verdict yet.
    fn cause(&self, code: &str, kind: DeviceKind, params: BTreeMap<String, Json>) -> Cause {
        Cause { place: Place::Device, uses: uses_of(kind).to_vec(), ..self.worded(code, params) }
    }

    fn worded(&self, code: &str, params: BTreeMap<String, Json>) -> Cause {
        let sentences =
            device_words::english(code, self.devices.system).unwrap_or_else(|| words::english(code));
        let say = words::fill(sentences.say, &params);
        let fix = sentences.fix.map(|fix| words::fill(fix, &params));
        Cause { say, fix, ..causes::worded(code, params) }
    }
}

/// A figure, what was measured of it, the code of its cause, where it stands in the report, and the numbers of its sentence.
type Judged<'a> =
    (DeviceFigure, Option<Estimate>, &'static str, String, &'a dyn Fn(f64) -> Vec<(&'static str, Json)>);

/// A figure without doubt.
fn exactly(value: f64) -> Estimate {
    Estimate { value, low: None, high: None, n: 1 }
}

fn kind_params(kind: DeviceKind) -> BTreeMap<String, Json> {
    BTreeMap::from([("device".to_owned(), json!(kind.name()))])
}

fn tried<T>(state: &Value<T>, failure: Option<&DeviceFailure>) -> bool {
    failure.is_some() || !matches!(state, Value::NotTested { .. })
}

/// The device that counts: of those tried the default one, or else the first.
fn chosen<T>(devices: &[T], of: impl Fn(&T) -> (&DeviceInfo, bool)) -> Option<(usize, &T)> {
    let tried = || devices.iter().enumerate().filter(|(_, device)| of(device).1);
    tried().find(|(_, device)| of(device).0.default).or_else(|| tried().next())
}

#[cfg(test)]
mod tests;
