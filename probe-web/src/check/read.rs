//! What a page sends of a run, within bounds. Everything in it is a stranger's word.

use greenroom_reports::schema::DeviceKind;
use serde::{Deserialize, Serialize};

use super::application::{self, AssetRun};
use super::echo;
use super::extras::{EchoRun, MachineRun, PreviewRun, ScreenRun, SizeRun, check_sizes};
use super::load::{LoadRun, RungRun, Unloaded};
use super::relays::RelaysRun;
use super::sound::{self, ChannelRun};
use crate::problem::Problem;

/// Most records of a list: a run of a minute has some thousands.
pub(super) const MOST: usize = 20_000;
/// Most characters of a name.
const NAME: usize = 200;

/// A run as a page tells it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    /// The grant from the session.
    pub(super) run: String,
    pub(super) duration_ms: f64,
    pub(super) browser: Browser,
    pub(super) camera: Option<CameraRun>,
    pub(super) microphone: Option<MicrophoneRun>,
    pub(super) speaker: SpeakerRun,
    pub(super) network: NetworkRun,
    /// Whether the person left before the end.
    #[serde(default)]
    pub(super) partial: bool,
    /// The kinds of device that were to be tested.
    #[serde(default = "all_kinds")]
    pub(super) devices: Vec<DeviceKind>,
    #[serde(default)]
    pub(super) machine: Option<MachineRun>,
    #[serde(default)]
    pub(super) screen: Option<ScreenRun>,
    /// What became of the relays, where the direct way failed.
    #[serde(default)]
    pub(super) relays: Option<RelaysRun>,
    /// Sound and picture there and back.
    #[serde(default)]
    pub(super) echo: Option<echo::EchoRun>,
    /// The application's own files. Nothing where it named none.
    #[serde(default)]
    pub(super) assets: Option<Vec<AssetRun>>,
}

fn all_kinds() -> Vec<DeviceKind> {
    DeviceKind::ALL.to_vec()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Browser {
    pub(super) system: String,
    pub(super) isolated: bool,
    /// Times that the page was in the background while something was measured.
    pub(super) hidden: u32,
}

/// Why a device did not open, in the page's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Failure {
    Denied,
    Dismissed,
    System,
    Insecure,
    Policy,
    InUse,
    NotFound,
    Overconstrained,
    Timeout,
    Ended,
    Unknown,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CameraRun {
    pub(super) label: String,
    pub(super) failure: Option<Failure>,
    #[serde(default)]
    pub(super) first_ms: Option<f64>,
    pub(super) ran_ms: f64,
    pub(super) given: Option<Given>,
    /// Frames that came by the browser's count, drawn or not.
    #[serde(default)]
    pub(super) came: Option<u32>,
    pub(super) frames: Vec<FrameRun>,
    /// Sizes that were asked of it one after the other.
    #[serde(default)]
    pub(super) sizes: Vec<SizeRun>,
    /// What drew the preview, where somebody chose.
    #[serde(default)]
    pub(super) preview: Option<PreviewRun>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) fps: Option<f64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrameRun {
    pub(super) at_ms: f64,
    pub(super) mean: f64,
    pub(super) spread: f64,
    pub(super) white: f64,
    pub(super) same: bool,
    /// Fine detail, of the frames that were looked at whole.
    #[serde(default)]
    pub(super) sharp: Option<f64>,
}

/// What came of a microphone. Pages that were loaded before this server was send figures that it does not read: they are left out.
#[derive(Debug, Deserialize)]
pub(super) struct MicrophoneRun {
    pub(super) label: String,
    pub(super) failure: Option<Failure>,
    #[serde(default)]
    pub(super) first_ms: Option<f64>,
    pub(super) ran_ms: f64,
    pub(super) rate_hz: Option<u32>,
    /// What the sound came to, a channel each. Nothing where none came.
    #[serde(default)]
    pub(super) channels: Option<Vec<ChannelRun>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpeakerRun {
    pub(super) label: String,
    pub(super) outcome: SpeakerOutcome,
    /// What the microphone heard of it, where it listened.
    #[serde(default)]
    pub(super) echo: Option<EchoRun>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SpeakerOutcome {
    Heard,
    Unheard,
    Skipped,
    Failed,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum NetworkRun {
    /// The server has no endpoint, or the browser no way to measure.
    NotTested { reason: Untested },
    /// No session came about.
    Failed { reason: NoSession, after_ms: f64 },
    /// Packets were sent.
    Measured(Box<Samples>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Untested {
    /// The server has no endpoint.
    None,
    /// The browser has no WebTransport.
    Unsupported,
    /// The person left before.
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NoSession {
    Unreachable,
    Refused,
    Broke,
}

/// What carried the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Way {
    /// Datagrams of QUIC.
    WebTransport,
    /// A data channel over UDP.
    WebRtc,
    /// TCP.
    WebSocket,
    /// A data channel through a relay (TURN), over UDP as far as that.
    #[serde(rename = "turn-udp")]
    TurnUdp,
    /// The same over TCP.
    #[serde(rename = "turn-tcp")]
    TurnTcp,
    /// The same over TLS.
    #[serde(rename = "turn-tls")]
    TurnTls,
}

impl Way {
    /// Its name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WebTransport => "webtransport",
            Self::WebRtc => "webrtc",
            Self::WebSocket => "websocket",
            Self::TurnUdp => "turn-udp",
            Self::TurnTcp => "turn-tcp",
            Self::TurnTls => "turn-tls",
        }
    }

    /// Over what it goes to a relay; `None` where it goes through none.
    pub(super) fn relayed_by(self) -> Option<&'static str> {
        self.name().strip_prefix("turn-")
    }
}

/// Why a better way was not taken: of the WebSocket and of relays any straight over UDP, of WebRTC the one by WebTransport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Instead {
    /// The browser has none.
    Unsupported,
    /// Nothing came back over UDP.
    Unreachable,
}

/// One run's samples, points in microseconds on the page's clock since it began.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Samples {
    pub(super) setup_ms: f64,
    /// What carried the packets. Pages of before told it by `instead` alone.
    #[serde(default)]
    pub(super) way: Option<Way>,
    /// Why they did not go over WebTransport, where they did not.
    #[serde(default)]
    pub(super) instead: Option<Instead>,
    /// Whether the page's own thread stamped them, for want of a data channel that a worker can have.
    #[serde(default)]
    pub(super) on_page: bool,
    pub(super) planned: u32,
    /// Intended, handed over (or nothing), octets.
    pub(super) sent: Vec<(i64, Option<i64>, u16)>,
    /// Reply's number, arrival, octets, number answered, received there, sent there.
    pub(super) received: Vec<(u32, i64, u16, u32, i64, i64)>,
    pub(super) covered_until_us: i64,
    pub(super) complete: bool,
    pub(super) corrupt: u32,
    /// Microseconds for which a packet waited for the browser to take it, at worst.
    pub(super) stalled_us: i64,
    /// The endpoint's half, in chunks as they came, base64.
    pub(super) there: Vec<String>,
    /// Video beside the audio.
    #[serde(default)]
    pub(super) rung: Option<RungRun>,
    /// As much as the connection carries.
    #[serde(default)]
    pub(super) load: Option<LoadRun>,
    /// Why it was not filled.
    #[serde(default)]
    pub(super) unloaded: Option<Unloaded>,
}

impl Samples {
    /// What carried the packets.
    pub(super) fn way(&self) -> Way {
        let told_by_instead = if self.instead.is_some() { Way::WebSocket } else { Way::WebTransport };
        self.way.unwrap_or(told_by_instead)
    }
}

pub(super) const DAY_MS: f64 = 86_400_000.0;

/// Looks at a name.
pub(super) fn name(pointer: &str, text: &str) -> Result<(), Problem> {
    match crate::ingest::read::is_plain(text, NAME) {
        true => Ok(()),
        false => {
            Err(Problem::field(pointer, "must be at most 200 characters, none of them control characters"))
        }
    }
}

/// Looks at a number.
pub(super) fn number(pointer: &str, value: f64, most: f64) -> Result<(), Problem> {
    match value.is_finite() && value.abs() <= most {
        true => Ok(()),
        false => Err(Problem::field(pointer, "is not within what a run can have")),
    }
}

/// Looks at a number that is not negative.
pub(super) fn amount(pointer: &str, value: f64, most: f64) -> Result<(), Problem> {
    number(pointer, value, most)?;
    match value >= 0.0 {
        true => Ok(()),
        false => Err(Problem::field(pointer, "must not be negative")),
    }
}

impl Run {
    /// Reads a run.
    ///
    /// # Errors
    /// 422, naming the field.
    pub(super) fn read(json: &[u8]) -> Result<Self, Problem> {
        let mut source = serde_json::Deserializer::from_slice(json);
        let run: Self = serde_path_to_error::deserialize(&mut source).map_err(|error| {
            let at = format!("/{}", error.path().to_string().replace('.', "/"));
            Problem::field(at, error.inner().to_string())
        })?;
        run.check()?;
        Ok(run)
    }

    /// The application's own files that were fetched.
    pub(super) fn assets(&self) -> &[AssetRun] {
        self.assets.as_deref().unwrap_or_default()
    }

    fn check(&self) -> Result<(), Problem> {
        let long = |pointer: &str| Problem::field(pointer, "has more entries than any run");
        number("/duration_ms", self.duration_ms, DAY_MS)?;
        name("/browser/system", &self.browser.system)?;
        name("/speaker/label", &self.speaker.label)?;
        self.speaker.echo.map_or(Ok(()), EchoRun::check)?;
        self.machine.as_ref().map_or(Ok(()), MachineRun::check)?;
        self.relays.as_ref().map_or(Ok(()), RelaysRun::check)?;
        self.echo.as_ref().map_or(Ok(()), echo::EchoRun::check)?;
        application::check(self.assets())?;
        if self.devices.len() > DeviceKind::ALL.len() {
            return Err(long("/devices"));
        }
        if let Some(camera) = &self.camera {
            name("/camera/label", &camera.label)?;
            number("/camera/ran_ms", camera.ran_ms, DAY_MS)?;
            number("/camera/first_ms", camera.first_ms.unwrap_or(0.0), DAY_MS)?;
            number("/camera/given/fps", camera.given.and_then(|given| given.fps).unwrap_or(0.0), 10_000.0)?;
            check_sizes(&camera.sizes)?;
            camera.preview.as_ref().map_or(Ok(()), PreviewRun::check)?;
            if camera.frames.len() > MOST {
                return Err(long("/camera/frames"));
            }
            for frame in &camera.frames {
                number("/camera/frames/at_ms", frame.at_ms, DAY_MS)?;
                for share in [frame.mean, frame.spread, frame.white] {
                    number("/camera/frames", share, 1.0)?;
                }
                number("/camera/frames/sharp", frame.sharp.unwrap_or(0.0), 1e6)?;
            }
        }
        if let Some(microphone) = &self.microphone {
            name("/microphone/label", &microphone.label)?;
            number("/microphone/ran_ms", microphone.ran_ms, DAY_MS)?;
            number("/microphone/first_ms", microphone.first_ms.unwrap_or(0.0), DAY_MS)?;
            sound::check(microphone.channels.as_deref().unwrap_or_default())?;
        }
        match &self.network {
            NetworkRun::NotTested { .. } => Ok(()),
            NetworkRun::Failed { after_ms, .. } => number("/network/after_ms", *after_ms, DAY_MS),
            NetworkRun::Measured(samples) => {
                number("/network/setup_ms", samples.setup_ms, DAY_MS)?;
                // The endpoint's clock began with the endpoint: thirty years are enough.
                const POINT: i64 = 1_000_000_000_000_000;
                let sent = samples.sent.iter().flat_map(|(intended, user, _)| [*intended, user.unwrap_or(0)]);
                let received =
                    samples.received.iter().flat_map(|(_, at, _, _, there, back)| [*at, *there, *back]);
                let others = [samples.covered_until_us, samples.stalled_us];
                if sent.chain(received).chain(others).any(|point| !(-POINT..=POINT).contains(&point)) {
                    return Err(Problem::field("/network", "has a point in time that no run has"));
                }
                samples.rung.as_ref().map_or(Ok(()), RungRun::check)?;
                samples.load.as_ref().map_or(Ok(()), LoadRun::check)?;
                let lists = [samples.sent.len(), samples.received.len(), samples.there.len()];
                match lists.into_iter().all(|len| len <= MOST) {
                    true => Ok(()),
                    false => Err(long("/network")),
                }
            }
        }
    }
}
