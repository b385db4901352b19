//! Report v1: the one format from browser to fleet.
//!
//! Fields carry their unit in their name. Every figure says whether it was `measured`, `failed` or `not_tested`; one that
//! was not measured has a reason and no value. A reader knows every field or refuses the report: a new field is a new
//! version of the schema.

mod details;
mod devices;
mod echo;
mod gateway;
mod machine;
mod marking;
mod mtu;
mod names;
mod nat;
mod path;
mod reachability;
mod read;
mod relay;
mod services;
mod surroundings;
mod target;
mod value;
mod verdict;
mod whip;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use details::*;
pub use devices::*;
pub use echo::*;
pub use gateway::*;
pub use machine::*;
pub use marking::*;
pub use mtu::*;
pub use names::*;
pub use nat::*;
pub use path::*;
pub use reachability::*;
pub use read::{ReadError, json_schema, read, upgrade};
pub use relay::*;
pub use services::*;
pub use surroundings::*;
pub use target::*;
pub use value::*;
pub use verdict::*;
pub use whip::*;

use crate::verdict::Profile;

/// The schema's name, as it stands in every report.
pub const SCHEMA: &str = "greenroom.report/1";

/// A finished (or cut-short) run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// `greenroom.report/1`.
    pub schema: String,
    /// UUIDv7, minted where the run was made.
    pub id: Uuid,
    /// What kind of run it was.
    pub kind: Kind,
    /// The report that this one follows (a post-call report names the pre-call one).
    pub parent: Option<Uuid>,
    /// Names the report to someone who may see it; opens nothing by itself. `K7Q4-M2XP`.
    pub code: String,
    /// Whether the run came to its planned end (an early stop because all was decided is a planned end).
    pub complete: bool,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub duration_ms: f64,
    /// Bytes sent and received at the IP layer.
    pub bytes_used: u64,
    /// Site, person, ticket and others, as given by whoever ran it.
    pub labels: BTreeMap<String, String>,
    /// The fleet agent that ran it.
    pub agent: AgentRef,
    /// The program that made it.
    pub tool: Tool,
    /// The machine and network it ran on.
    pub environment: Environment,
    /// The thresholds it was judged with, in full, so that it can be judged again.
    pub profile: Profile,
    /// What was asked for, and what was run.
    pub settings: Settings,
    /// Will it work, and if not, whose fault is it.
    pub verdict: Verdict,
    /// One entry per endpoint measured.
    pub targets: Vec<Target>,
    /// Microphones, speakers, cameras.
    pub devices: Devices,
    /// This computer while it ran.
    pub host: Host,
    /// The preflight of the application's join.
    pub join: BTreeMap<String, serde_json::Value>,
    /// Raw samples, of the first endpoint that has some.
    pub trace: Option<EncodedTrace>,
    /// Raw samples of the others that have some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_traces: Vec<FurtherTrace>,
    /// Mergeable histograms of the first endpoint that has samples, by metric name, each `hdr:us:1:60000000:2` in base64.
    pub sketches: BTreeMap<String, String>,
    /// What was taken out before it was given away; `None` of a whole report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
}

/// What was taken out of a report before it was given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Redaction {
    /// Whole addresses, names of devices and of the Wi-Fi ([`crate::redact::for_support`]).
    Support,
    /// That, and whoever it was ([`crate::redact::without_person`]).
    Person,
}

/// What kind of run a report is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Network and devices, with a verdict.
    Check,
    /// Network only, chosen traffic.
    Measure,
    /// Devices only.
    Devices,
    /// A scheduled run.
    Agent,
    /// The support run.
    Diagnose,
    /// A call watched while it ran.
    Monitor,
}

/// The fleet agent that ran it; all `None` for a person's run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentRef {
    /// The agent.
    pub id: Option<String>,
    /// Its start.
    pub boot: Option<String>,
    /// The run's number since then.
    pub seq: Option<u64>,
}

/// The program that made a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it ran.
    pub source: Source,
}

/// Where a report was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// On the command line.
    Cli,
    /// By a scheduled agent.
    Agent,
    /// In a browser.
    Browser,
}

/// The machine and network a run was made on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Operating system and version.
    pub os: Option<String>,
    /// Processor architecture.
    pub arch: Option<String>,
    /// Interface, addresses (truncated), connection kind.
    pub network: BTreeMap<String, serde_json::Value>,
    /// What stands between this computer and the internet. `None`: nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surroundings: Option<Surroundings>,
}

/// What was asked for, and what was run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// As the person put it.
    pub asked: BTreeMap<String, serde_json::Value>,
    /// As it was resolved.
    pub run: BTreeMap<String, serde_json::Value>,
    /// What the verdict needs to know beside the trace and the profile.
    pub judged: Judged,
}

/// What the verdict needs to know beside the trace and the profile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// The uses that count.
    pub uses: Vec<Use>,
    /// The kinds of devices asked for by name: one that is missing then counts.
    pub devices: Vec<DeviceKind>,
    /// How long the run could be, and with it when a packet is lost.
    pub mode: Mode,
    /// Whether the run had its full time, so that point estimates decide what intervals leave open.
    pub at_cap: bool,
}

/// How long a run may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// At most 6 s and 10 MB; stops early once all is decided.
    #[default]
    Quick,
    /// At most 30 s and 100 MB.
    Deep,
}

/// This computer while it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Delay between kernel and program.
    pub delay_ms: Value<Distribution>,
    /// Share of all cores that was busy with other things.
    pub cpu_busy_ratio: Value<Estimate>,
    /// Share of time that a hypervisor took away.
    pub cpu_steal_ratio: Value<Estimate>,
    /// What this computer is and what it can encode.
    pub machine: Machine,
}

/// Raw samples of an endpoint beside the first that has some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FurtherTrace {
    /// Which of the report's targets it is of, counted from 0.
    pub target: usize,
    /// The samples.
    pub trace: EncodedTrace,
}

/// Raw samples, packed (`trace::encoding` says how).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncodedTrace {
    /// Name and version of the packing.
    pub encoding: String,
    /// The agent's half, phases and capacity stages, base64.
    pub here: String,
    /// The endpoint's half, base64.
    pub there: Option<String>,
}
