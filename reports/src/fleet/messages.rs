//! What agents and server say to each other, as JSON. Keys and signatures are base64url without padding (RFC 4648 section 5).

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::config::AgentConfig;

/// What a server knows of an agent's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// It waits for somebody who lets it in.
    Pending,
    /// It reports.
    Active,
    /// It is shut out.
    Revoked,
}

/// An agent wants to be one of the fleet; the enrollment token stands in `Authorization`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Enroll {
    /// Its Ed25519 key's public half.
    pub public_key: String,
    /// What the computer is called.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// Of [`super::enrollment`], by that key.
    pub signature: String,
}

/// It is one, or will be when somebody approves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enrolled {
    /// What it is called from now on.
    pub agent: Uuid,
    /// Whether it has to wait.
    pub state: AgentState,
    /// The server's time.
    pub server_time: Timestamp,
}

/// An agent asks for a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeAsked {
    /// Which.
    pub agent: Uuid,
}

/// What it has to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Challenge {
    /// Good once, for a minute.
    pub challenge: String,
    /// The server's time.
    pub server_time: Timestamp,
}

/// The challenge, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BearerAsked {
    /// Who.
    pub agent: Uuid,
    /// As it was given.
    pub challenge: String,
    /// Of [`super::token_request`].
    pub signature: String,
}

/// What lets it in for a while.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bearer {
    /// For `Authorization: Bearer`.
    pub bearer: String,
    /// For so many seconds from now: no clock has to be right.
    pub lasts_s: u32,
    /// The server's time.
    pub server_time: Timestamp,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("lasts_s", &self.lasts_s).finish_non_exhaustive()
    }
}

/// A new key in place of the old one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The new key's public half.
    pub public_key: String,
    /// Of [`super::new_key`], by the old key.
    pub old_signature: String,
    /// The same, by the new one.
    pub new_signature: String,
}

/// An agent that has nothing to send tells of itself, and asks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckIn {
    /// Which version of its configuration it has.
    pub config: i64,
    /// The program's version.
    pub version: String,
    /// Reports that wait to be sent.
    pub waiting: u64,
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
    /// Reports that it had to let go since it began: too old, too many, or damaged on its disk.
    pub dropped: u64,
    /// Runs that it was asked for and has made.
    pub ran: Option<Uuid>,
    /// What keeps it from running, in words.
    pub trouble: Option<String>,
}

/// What an agent is told with the answer to whatever it sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// The server's time.
    pub server_time: Timestamp,
    /// Its configuration, where it has another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<AgentConfig>,
    /// A run to be made now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_now: Option<RunNow>,
}

/// A run that somebody wants now. It is told until the agent has made it; one id is one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunNow {
    /// Which.
    pub id: Uuid,
    /// As of this schedule; `None`: of the first.
    pub schedule: Option<String>,
}

/// Name of the header in which an agent tells the version of its configuration with a report.
pub const CONFIG_HEADER: &str = "greenroom-config";

/// Name of the header in which an agent tells the run that it was asked for and has made.
pub const RAN_HEADER: &str = "greenroom-ran";

/// What a report says of the agent's run: `settings.run.agent`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunFacts {
    /// Of which schedule.
    pub schedule: String,
    /// The version of the configuration.
    pub config: i64,
    /// When it was due; `None` for one that somebody asked for.
    #[serde(default)]
    pub due: Option<Timestamp>,
    /// How much later it began.
    #[serde(default)]
    pub late_ms: Option<i64>,
    /// The run that somebody asked for.
    #[serde(default)]
    pub run_now: Option<Uuid>,
    /// Runs since the report before that were due and not made, by reason.
    #[serde(default)]
    pub skipped: Skipped,
    /// How much the computer's clock was behind the server's when the run was made; `started` is corrected by it. `None`: not known.
    #[serde(default)]
    pub clock_behind_ms: Option<i64>,
    /// What the agent itself takes.
    #[serde(default)]
    pub own: OwnCost,
}

/// Runs that were not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Skipped {
    /// A call was active: a microphone or a camera was in use.
    pub call: u64,
    /// The link is paid for by volume.
    pub metered: u64,
    /// The computer slept, or the agent was busy.
    pub missed: u64,
    /// It could not be run: a target that this version does not know.
    pub refused: u64,
}

impl Skipped {
    /// Those that were left out on purpose, and so are not missing.
    pub const fn on_purpose(&self) -> u64 {
        self.call.saturating_add(self.metered)
    }
}

/// What the agent itself takes of the computer. What the system does not tell is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct OwnCost {
    /// Share of one core since the report before.
    pub cpu_ratio: Option<f64>,
    /// Memory.
    pub rss_bytes: Option<u64>,
    /// Reports that wait to be sent.
    pub spool_reports: u64,
    /// What they take on the disk.
    pub spool_bytes: u64,
}
