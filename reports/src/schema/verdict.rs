//! The verdict: states, places, causes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::trace::{Direction, Media};

/// A use of a call that the verdict speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Speech.
    Audio,
    /// 640×360.
    #[serde(rename = "video_360p")]
    Video360p,
    /// 1280×720.
    #[serde(rename = "video_720p")]
    Video720p,
    /// 1920×1080.
    #[serde(rename = "video_1080p")]
    Video1080p,
    /// A shared screen.
    Screen,
}

impl Use {
    /// All, least rate first.
    pub const ALL: [Self; 5] =
        [Self::Audio, Self::Video360p, Self::Screen, Self::Video720p, Self::Video1080p];

    /// Its name in JSON: `audio`, `video_360p`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video360p => "video_360p",
            Self::Video720p => "video_720p",
            Self::Video1080p => "video_1080p",
            Self::Screen => "screen",
        }
    }

    /// Its short name, as a person types it: `audio`, `360p`, …
    pub fn short(self) -> &'static str {
        self.name().trim_start_matches("video_")
    }

    /// Whose traffic it sends.
    pub const fn media(self) -> Media {
        match self {
            Self::Audio => Media::Audio,
            Self::Video360p | Self::Video720p | Self::Video1080p => Media::Video,
            Self::Screen => Media::Screen,
        }
    }
}

impl std::str::FromStr for Use {
    type Err = UnknownUse;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|use_| text == use_.name() || text == use_.short())
            .ok_or_else(|| UnknownUse { text: text.to_owned() })
    }
}

/// A name that no use has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a use; choose from audio, 360p, 720p, 1080p, screen")]
pub struct UnknownUse {
    /// As given.
    pub text: String,
}

/// Will it work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It will.
    Ready,
    /// It will, with trouble.
    Degraded,
    /// It will not.
    Blocked,
    /// A permission is missing.
    PermissionDenied,
    /// The measurement cannot tell.
    Inconclusive,
    /// It was not looked at: never counts as good, nor as bad.
    NotTested,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// This computer: its processor, memory, queues.
    Computer,
    /// A microphone, speaker or camera.
    Device,
    /// Wi-Fi, cable, router.
    LocalNetwork,
    /// What lies between the router and the endpoint.
    Path,
    /// A relay, proxy or firewall.
    Relay,
    /// The endpoint or service itself.
    Service,
    /// The application's own way in.
    Join,
    /// The evidence does not say.
    Unknown,
}

/// Which way the fault is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultDirection {
    /// From the agent.
    Up,
    /// To the agent.
    Down,
    /// Both ways.
    Both,
}

impl From<Direction> for FaultDirection {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Up => Self::Up,
            Direction::Down => Self::Down,
        }
    }
}

/// Will it work, and if not, whose fault is it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The worst of the uses asked for.
    pub overall: State,
    /// Whether the intervals decided it, not the point estimates at the cap.
    pub certain: bool,
    /// Where the leading cause is.
    pub place: Option<Place>,
    /// Which way the leading cause is seen.
    pub direction: Option<FaultDirection>,
    /// One sentence for the person.
    pub say: String,
    /// One thing to do; `None` when there is nothing to do.
    pub fix: Option<String>,
    /// Each use looked at.
    pub uses: BTreeMap<Use, UseVerdict>,
    /// Why, worst first.
    pub causes: Vec<Cause>,
}

/// The verdict on one use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UseVerdict {
    /// The worst of its metrics.
    pub state: State,
    /// Whether the intervals decided it.
    pub certain: bool,
    /// Whether it was asked for (only then it counts in the overall verdict).
    pub asked: bool,
    /// Why it was not tested or is inconclusive.
    pub reason: Option<String>,
}

/// One reason for a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// Stable name, the key for translations: `loss_up`, `udp_blocked`, `host_delay`, …
    pub code: String,
    /// Numbers for the sentence.
    pub params: BTreeMap<String, serde_json::Value>,
    /// How bad it is by itself.
    pub state: State,
    /// Where it is.
    pub place: Place,
    /// Which way it is seen.
    pub direction: Option<FaultDirection>,
    /// The uses that it hurts.
    pub uses: Vec<Use>,
    /// The endpoint that it was seen at, where several were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Path of the figure that decided it: `up.loss_ratio`.
    pub metric: Option<String>,
    /// That figure.
    pub measured: Option<f64>,
    /// The profile's good value.
    pub good: Option<f64>,
    /// The profile's limit.
    pub limit: Option<f64>,
    /// How far past the good value, as a multiple of it (`measured / good`).
    pub margin: Option<f64>,
    /// One sentence for the person.
    pub say: String,
    /// One thing to do.
    pub fix: Option<String>,
    /// What speaks for it, for support.
    pub evidence: Vec<String>,
    /// What was looked at and is not the cause.
    pub ruled_out: Vec<String>,
}
