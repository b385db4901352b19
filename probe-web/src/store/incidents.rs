//! What got worse, and who is told of it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use greenroom_reports::schema::{Place, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Result, Tenant};
use crate::detect::{Figure, Scope};

/// What a run of an agent said, as far as change detection reads it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunFigures {
    /// Uses asked for that do not work, or with trouble.
    #[serde(default, rename = "u", skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<String>,
    /// Whether it went over Wi-Fi.
    #[serde(default, rename = "w", skip_serializing_if = "std::ops::Not::not")]
    pub wireless: bool,
    /// What each endpoint's figures are.
    #[serde(rename = "t")]
    pub targets: Vec<TargetFigures>,
}

/// What a run said of one endpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TargetFigures {
    /// Which.
    #[serde(rename = "e")]
    pub endpoint: String,
    /// Those that were measured, higher is worse.
    #[serde(rename = "f")]
    pub figures: BTreeMap<Figure, f64>,
}

/// A run of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its report.
    pub report: Uuid,
    /// Whose.
    pub agent: String,
    /// Where that stands.
    pub site: Option<String>,
    /// Who provides its connection.
    pub provider: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// Its verdict.
    pub overall: State,
    /// Where the fault is.
    pub place: Option<Place>,
    /// The leading cause's name.
    pub cause: Option<String>,
    /// What it said.
    pub figures: RunFigures,
}

/// What is usual, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredBaseline {
    /// Whose.
    pub agent: String,
    /// Against whom.
    pub endpoint: String,
    /// Which figure's.
    pub figure: Figure,
    /// When it was learned.
    pub learned: Timestamp,
    /// How many intervals lie between the agent's runs.
    pub every: u32,
    /// See [`crate::detect::Baseline::to_bytes`].
    pub bytes: Vec<u8>,
}

/// How far change detection has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Detector {
    /// The last interval that was taken in, in steps of five minutes since 1970.
    pub taken: i64,
    /// What it knows besides.
    pub knows: Knows,
}

/// What change detection knows beside its baselines.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Knows {
    /// How many incidents there have been.
    pub numbers: u64,
    /// How many figures of series are watched.
    #[serde(default)]
    pub watches: usize,
    /// How much more than one by one the members of a group rise and fall together.
    #[serde(default)]
    pub spreads: Vec<(Figure, Scope, f64)>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worse than usual; calls still work.
    Info,
    /// Calls have trouble.
    Warning,
    /// Calls do not work, or nothing is heard.
    Critical,
}

impl Severity {
    /// All, the mildest first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// What it means.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Info => "calls still work",
            Self::Warning => "calls have trouble",
            Self::Critical => "calls do not work",
        }
    }
}

/// What the reports of those that got worse say together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Runs of those that got worse, since it began.
    pub runs: u64,
    /// Of these, with trouble.
    pub degraded: u64,
    /// Of these, that would not work.
    pub blocked: u64,
    /// Of these, over Wi-Fi.
    #[serde(default)]
    pub wireless: u64,
    /// Where the reports placed the fault.
    pub places: BTreeMap<Place, u64>,
    /// Their leading causes.
    pub causes: BTreeMap<String, u64>,
    /// Uses with trouble.
    pub uses: BTreeMap<String, u64>,
}

/// One interval of an incident's course: medians over those that got worse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The interval's beginning, in seconds since 1970.
    pub at: i64,
    /// What was measured; none where nothing was.
    pub value: Option<f64>,
    /// What is usual then.
    pub usual: Option<f64>,
}

/// An agent of an incident, against one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Affected {
    /// Which agent. Personal.
    pub agent: String,
    /// Against whom.
    pub endpoint: String,
}

/// What got worse, for whom, since when, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Whose.
    pub tenant: Tenant,
    /// Which.
    pub id: Uuid,
    /// When it began, as far as can be told.
    pub since: Timestamp,
    /// When it was noticed.
    pub noticed: Timestamp,
    /// Since when all is as usual again.
    pub over: Option<Timestamp>,
    /// Who got worse. Personal, and cleared with the reports.
    pub affected: Vec<Affected>,
    /// All else.
    pub told: Told,
}

/// What an incident tells that is nobody's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Its number within the tenant, by which change detection knows it.
    pub number: u64,
    /// What those that got worse have in common.
    pub scope: Scope,
    /// What else they have in common.
    pub or: Vec<Scope>,
    /// What got worse, the first one noticed first.
    pub figures: Vec<Figure>,
    /// The incident that it turned out to be part of.
    pub part_of: Option<Uuid>,
    /// How often it came back soon after it was over.
    #[serde(default)]
    pub reopened: u64,
    /// How bad it is.
    pub severity: Severity,
    /// Where the fault is, of all reports together.
    pub place: Place,
    /// Why it is thought to be there: `reports`, `shape` (who is affected and who is not), `silence`.
    pub by: String,
    /// What the reports say.
    pub evidence: Evidence,
    /// How many agents got worse.
    pub agents: u64,
    /// How many agents the scope has.
    pub of: u64,
    /// Sites of those that got worse.
    pub sites: Vec<String>,
    /// Endpoints of those that got worse.
    pub endpoints: Vec<String>,
    /// The course of the first figure.
    pub course: Vec<Point>,
    /// Reports that show it, the latest last.
    pub reports: Vec<Uuid>,
}

/// A rule as it is kept: what it says is JSON of [`crate::incidents::Rule`].
#[derive(Debug, Clone, PartialEq)]
pub struct Kept<T> {
    /// Whose.
    pub tenant: Tenant,
    /// What pages and the audit log call it.
    pub id: String,
    /// Who made it.
    pub author: String,
    /// When.
    pub created: Timestamp,
    /// What it says.
    pub says: T,
}

/// What was told of an incident by a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Whose.
    pub tenant: Tenant,
    /// By which rule.
    pub rule: String,
    /// Of which incident.
    pub incident: Uuid,
    /// When it was told that it is over, or that there is nothing more to tell.
    pub over: Option<Timestamp>,
    /// What was told, by receiver: how often, of what is to be told again and again.
    pub sent: BTreeMap<String, u64>,
    /// When it was told first.
    pub fired: Timestamp,
}

/// Incidents, what they are found by, and who is told of them.
#[async_trait]
pub trait IncidentStore: Send + Sync {
    /// Takes the turn for what one node does for all, or keeps it. False where it is another one's until later than now.
    async fn take_turn(&self, name: &str, holder: Uuid, now: Timestamp, until: Timestamp) -> Result<bool>;

    /// Runs of agents that began at or after `from` and before `to`, by their begin and report, some of them from behind one.
    async fn runs(
        &self,
        tenant: Tenant,
        from: Timestamp,
        to: Timestamp,
        after: Option<(Timestamp, Uuid)>,
        limit: u32,
    ) -> Result<Vec<Run>>;

    /// Those of one agent.
    async fn runs_of(&self, tenant: Tenant, agent: &str, from: Timestamp, to: Timestamp) -> Result<Vec<Run>>;

    /// Agents with runs that began at or after a point in time, and when the first of these did.
    async fn running_agents(&self, tenant: Tenant, from: Timestamp) -> Result<Vec<(String, Timestamp)>>;

    /// Some of what is usual for a tenant's agents, by agent, endpoint and figure's name, from behind one: of a large fleet it is more than
    /// should be in memory at once.
    async fn baselines(
        &self,
        tenant: Tenant,
        after: Option<(&str, &str, Figure)>,
        limit: u32,
    ) -> Result<Vec<StoredBaseline>>;

    /// Puts what is usual for an agent in place of what was.
    async fn keep_baselines(&self, tenant: Tenant, agent: &str, all: &[StoredBaseline]) -> Result<()>;

    /// How far change detection has come; `None` where it has not begun.
    async fn detector(&self, tenant: Tenant) -> Result<Option<Detector>>;

    /// Goes on from an interval (`None`: begins) to another one and keeps incidents as they are then, all or nothing. False where somebody
    /// else went on from there.
    async fn advance(
        &self,
        tenant: Tenant,
        from: Option<i64>,
        to: &Detector,
        incidents: &[Incident],
    ) -> Result<bool>;

    /// Incidents, the latest noticed first: those noticed before a point in time, or those that are not over.
    async fn incidents(
        &self,
        tenant: Tenant,
        open: bool,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<Incident>>;

    /// One of them.
    async fn incident(&self, tenant: Tenant, id: Uuid) -> Result<Option<Incident>>;

    /// Rules, by their begin.
    async fn alert_rules(&self, tenant: Tenant) -> Result<Vec<Kept<serde_json::Value>>>;

    /// Keeps a rule, in place of the one of its id.
    async fn put_alert_rule(&self, rule: &Kept<serde_json::Value>) -> Result<()>;

    /// Deletes a rule, and what was told by it. False where the tenant has none of that id.
    async fn remove_alert_rule(&self, tenant: Tenant, id: &str) -> Result<bool>;

    /// Silences and maintenance windows, by their begin.
    async fn silences(&self, tenant: Tenant) -> Result<Vec<Kept<serde_json::Value>>>;

    /// Keeps a silence.
    async fn put_silence(&self, silence: &Kept<serde_json::Value>) -> Result<()>;

    /// Deletes a silence. False where the tenant has none of that id.
    async fn remove_silence(&self, tenant: Tenant, id: &str) -> Result<bool>;

    /// What was told of incidents, where more may follow.
    async fn alerts(&self, tenant: Tenant) -> Result<Vec<Alert>>;

    /// What was told of one incident.
    async fn alerts_of(&self, tenant: Tenant, incident: Uuid) -> Result<Vec<Alert>>;

    /// Keeps what was told.
    async fn put_alert(&self, alert: &Alert) -> Result<()>;
}
