//! The fleet: enrollment tokens, agents and what they are told to do, and which of their reports arrived.

use async_trait::async_trait;
use greenroom_reports::fleet::{AgentConfig, AgentState, CheckIn, RunNow, Schedule, Suppression};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Result, Standing, Tenant, TokenHash};

/// What lets some computers become agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollToken {
    /// Whose.
    pub tenant: Tenant,
    /// What pages and the audit log call it; no secret.
    pub id: String,
    /// Hash of the token.
    pub token: TokenHash,
    /// What it is for: `laptops in Lyon`.
    pub name: String,
    /// The site that its agents' reports are of.
    pub site: Option<String>,
    /// Whether somebody has to let each agent in.
    pub approve: bool,
    /// Who made it.
    pub author: String,
    /// When.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// Most agents.
    pub most: u32,
    /// Agents so far.
    pub used: u32,
    /// Since when it is no longer good.
    pub revoked: Option<Timestamp>,
}

impl EnrollToken {
    /// What it is good for now.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match Standing::of(self.revoked, self.expires, now) {
            Standing::Good if self.used >= self.most => Standing::UsedUp,
            standing => standing,
        }
    }
}

/// A computer that reports on a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Whose.
    pub tenant: Tenant,
    /// Which.
    pub id: Uuid,
    /// What the computer is called. Personal.
    pub name: String,
    /// The site that its reports are of.
    pub site: Option<String>,
    /// Whether it may report.
    pub state: AgentState,
    /// Its Ed25519 key's public half.
    pub public_key: [u8; 32],
    /// The program's version, as it last said.
    pub version: String,
    /// The token that it came by.
    pub token: String,
    /// Since when it is there.
    pub enrolled: Timestamp,
    /// Since when it may report.
    pub active: Option<Timestamp>,
    /// Hash of what lets it in now, and until when.
    pub bearer: Option<(TokenHash, Timestamp)>,
    /// When it was last heard of, apart from reports.
    pub seen: Option<Timestamp>,
    /// The version of the configuration that it last said it had.
    pub config: i64,
    /// Reports that wait at it, as it last said.
    pub waiting: u64,
    /// Reports that it had to let go, as it last said.
    pub dropped: u64,
    /// What keeps it from running, as it last said.
    pub trouble: Option<String>,
    /// A run that somebody wants of it now.
    pub wanted: Option<RunNow>,
}

/// Which of its start's reports a report of an agent is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentRun {
    /// The agent.
    pub agent: Uuid,
    /// Its start.
    pub boot: String,
    /// The report's number since then, from 1.
    pub seq: u64,
}

/// What arrived of one start of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The agent.
    pub agent: Uuid,
    /// Its start.
    pub boot: String,
    /// When the first of its reports was received.
    pub first: Timestamp,
    /// When the latest was.
    pub last: Timestamp,
    /// The greatest number.
    pub last_seq: u64,
    /// How many were received.
    pub received: u64,
}

impl Boot {
    /// How many were made and are not here: lost, or still waiting at the agent.
    pub const fn missing(&self) -> u64 {
        self.last_seq.saturating_sub(self.received)
    }
}

/// What became of an enrollment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrollment {
    /// There is a new agent.
    New,
    /// The key's agent was there already: the answer to the first time was lost.
    Known(Box<Agent>),
    /// The token is not good any more.
    NotAllowed,
}

/// What a fleet is told to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetPlan {
    /// Counts up with every change; 0 before the first.
    #[serde(skip)]
    pub version: i64,
    /// When it was changed.
    #[serde(skip)]
    pub changed: Option<Timestamp>,
    /// How often an agent with nothing to send asks, in seconds.
    pub check_in_s: u32,
    /// The targets that schedules may name, and nothing else.
    pub targets: Vec<String>,
    /// What agents run.
    pub schedules: Vec<Schedule>,
    /// When they do not.
    pub suppressions: Vec<Suppression>,
}

impl Default for FleetPlan {
    fn default() -> Self {
        Self {
            version: 0,
            changed: None,
            check_in_s: 300,
            targets: Vec::new(),
            schedules: Vec::new(),
            suppressions: Vec::new(),
        }
    }
}

impl FleetPlan {
    /// What agents of a site are told. A target that is not on the list is not told, also where a schedule names it.
    pub fn told(&self, site: Option<&str>) -> AgentConfig {
        let mut schedules = self.schedules.clone();
        for schedule in &mut schedules {
            schedule.targets.retain(|target| self.targets.contains(target));
        }
        schedules.retain(|schedule| !schedule.targets.is_empty());
        AgentConfig {
            version: self.version,
            site: site.map(str::to_owned),
            check_in_s: self.check_in_s,
            schedules,
            suppressions: self.suppressions.clone(),
        }
    }
}

/// Agents and what they are told. An agent is found by its id, whosever it is, to let it in; all else is asked for by tenant.
#[async_trait]
pub trait AgentStore: Send + Sync {
    /// Adds an enrollment token.
    async fn add_enroll_token(&self, token: &EnrollToken) -> Result<()>;

    /// The enrollment token of a hash, also one that is no longer good.
    async fn enroll_token(&self, token: &TokenHash) -> Result<Option<EnrollToken>>;

    /// The latest enrollment tokens of a tenant, newest first.
    async fn enroll_tokens(&self, tenant: Tenant, limit: u32) -> Result<Vec<EnrollToken>>;

    /// Revokes an enrollment token; its agents stay. False when the tenant has none of that id in use.
    async fn revoke_enroll_token(&self, tenant: Tenant, id: &str, now: Timestamp) -> Result<bool>;

    /// Adds an agent and takes one of its token's uses, both or neither.
    async fn enroll(&self, agent: &Agent, now: Timestamp) -> Result<Enrollment>;

    /// An agent by its id.
    async fn agent(&self, id: Uuid) -> Result<Option<Agent>>;

    /// Agents of a tenant by id, from behind one on.
    async fn agents(&self, tenant: Tenant, after: Option<Uuid>, limit: u32) -> Result<Vec<Agent>>;

    /// How many agents of a tenant there are in each state.
    async fn count_agents(&self, tenant: Tenant) -> Result<Vec<(AgentState, u64)>>;

    /// Lets an agent in that waits. False when none waits under that id.
    async fn approve_agent(&self, tenant: Tenant, id: Uuid, now: Timestamp) -> Result<bool>;

    /// Shuts an agent out, at once. False when the tenant has none of that id that is not.
    async fn revoke_agent(&self, tenant: Tenant, id: Uuid) -> Result<bool>;

    /// Gives an active agent a bearer for a challenge of this time, in place of the one before. False when it is not active, or when this
    /// or a later challenge was answered before: each is good once.
    async fn give_bearer(
        &self,
        id: Uuid,
        challenge: Timestamp,
        bearer: &TokenHash,
        expires: Timestamp,
    ) -> Result<bool>;

    /// Changes an agent's key, if it is still the old one.
    async fn change_agent_key(&self, id: Uuid, old: &[u8; 32], new: &[u8; 32]) -> Result<bool>;

    /// Notes what an agent says of itself.
    async fn note_check_in(&self, id: Uuid, told: &CheckIn, now: Timestamp) -> Result<()>;

    /// Notes which configuration an agent says it has.
    async fn note_config(&self, id: Uuid, config: i64) -> Result<()>;

    /// Wants a run of an active agent, in place of one that it has not made yet.
    async fn want_run(&self, tenant: Tenant, id: Uuid, run: &RunNow) -> Result<bool>;

    /// The agent has made that run.
    async fn ran(&self, id: Uuid, run: Uuid) -> Result<()>;

    /// What arrived of an agent's starts, the latest first.
    async fn boots(&self, tenant: Tenant, agent: Uuid, limit: u32) -> Result<Vec<Boot>>;

    /// All starts of a tenant's agents of which something arrived since then.
    async fn boots_since(&self, tenant: Tenant, since: Timestamp) -> Result<Vec<Boot>>;

    /// What the fleet is told.
    async fn fleet_plan(&self, tenant: Tenant) -> Result<FleetPlan>;

    /// The version of that alone.
    async fn fleet_version(&self, tenant: Tenant) -> Result<i64>;

    /// Changes what the fleet is told, if it is still what this version was. The new version is greater by one.
    async fn set_fleet_plan(&self, tenant: Tenant, plan: &FleetPlan, now: Timestamp) -> Result<bool>;

    /// What challenges are made with: the same for all nodes, made at the first time.
    async fn challenge_key(&self, proposed: &[u8; 32]) -> Result<[u8; 32]>;
}
