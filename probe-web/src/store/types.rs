//! What a store keeps and finds.

use std::collections::BTreeMap;
use std::fmt;

use greenroom_reports::metrics::sketch::Sketch;
use greenroom_reports::schema::{FaultDirection, Kind, Place, Source, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{AgentRun, CheckLink, RunFigures};
use crate::rollup::Contribution;

/// Whose data it is. The first part of every key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Tenant(pub i64);

impl Tenant {
    /// The tenant that every store begins with.
    pub const FIRST: Self = Self(1);
}

/// A report on its way into the store.
#[derive(Debug, Clone)]
pub struct Record {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its header.
    pub summary: Summary,
    /// What it adds to the roll-ups.
    pub adds: Contribution,
    /// The JSON as it was sent.
    pub raw: Vec<u8>,
    /// Which of an agent's reports it is, where an agent sent it.
    pub run: Option<AgentRun>,
    /// What change detection reads of it, where an agent made it.
    pub figures: Option<RunFigures>,
    /// Who provides its connection.
    pub provider: Option<String>,
}

impl Record {
    /// A report that came by a check link is of the link's ticket and person, whatever its own labels say.
    #[must_use]
    pub fn through(mut self, link: &CheckLink) -> Self {
        self.summary.link = Some(link.id.clone());
        self.summary.ticket = Some(link.ticket.clone());
        self.summary.person = link.person.clone();
        self
    }
}

/// What became of a report that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept.
    Accepted,
    /// It was there already.
    Duplicate,
    /// It came by a check link that is used up or no longer good, and is not kept.
    NotAllowed,
}

/// A report that is moved here from another store, with what belongs to it.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its header as it stood there.
    pub summary: Summary,
    /// The JSON as it was sent; `None` where it was deleted.
    pub raw: Option<Vec<u8>>,
    /// What it adds to the roll-ups by itself; `None` where it adds nothing, or its share comes in a sum of several.
    pub adds: Option<Contribution>,
    /// What change detection reads of it, where an agent made it.
    pub figures: Option<RunFigures>,
    /// Who provides its connection.
    pub provider: Option<String>,
    /// Its notes, oldest first.
    pub notes: Vec<Note>,
}

/// A report's header: what lists show and look-ups search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The report.
    pub id: Uuid,
    /// The code that is said on the phone.
    pub code: String,
    /// What kind of run it was.
    pub kind: Kind,
    /// Where it was made.
    pub source: Source,
    /// When it began, by the sender's clock.
    pub started: Timestamp,
    /// When it was received.
    pub received: Timestamp,
    /// How long it took.
    pub duration_ms: f64,
    /// The verdict.
    pub overall: State,
    /// Whether intervals decided it.
    pub certain: bool,
    /// Where the fault is.
    pub place: Option<Place>,
    /// Which way it is seen.
    pub direction: Option<FaultDirection>,
    /// The leading cause's stable name.
    pub cause: Option<String>,
    /// The verdict in a sentence.
    pub say: String,
    /// Label `site`.
    pub site: Option<String>,
    /// Label `person`. Personal.
    pub person: Option<String>,
    /// Label `ticket`.
    pub ticket: Option<String>,
    /// The fleet agent. Personal.
    pub agent: Option<String>,
    /// The endpoint that its samples are of.
    pub endpoint: Option<String>,
    /// Whether its figures follow from its samples.
    pub agreement: Agreement,
    /// Where they do not: JSON pointers, the first few.
    pub differs: Vec<String>,
    /// Whether the roll-ups count it, and if not why.
    pub counted: Counted,
    /// Through which check link it came; `None` for a key.
    pub link: Option<String>,
}

impl Summary {
    /// The header without what is personal.
    #[must_use]
    pub fn redacted(self) -> Self {
        Self { person: None, agent: None, ..self }
    }
}

/// Whether a report's figures follow from its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// Not computed again yet.
    Pending,
    /// They do.
    Agrees,
    /// They do not.
    Differs,
    /// It carries no samples, or more endpoints than samples.
    NoSamples,
    /// Its samples cannot be read.
    Unreadable,
}

/// Whether the roll-ups count a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// They do.
    Yes,
    /// Its clock was more than five minutes ahead.
    ClockAhead,
    /// It is older than roll-ups are kept.
    TooOld,
}

/// What to look for. What is `None` is not looked at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Exactly this code, `K7Q4-M2XP`.
    pub code: Option<String>,
    /// Exactly this ticket.
    pub ticket: Option<String>,
    /// Exactly this person.
    pub person: Option<String>,
    /// Exactly this fleet agent.
    pub agent: Option<String>,
    /// Exactly this site; empty for those without one.
    pub site: Option<String>,
    /// Exactly this endpoint; empty for those without one.
    pub endpoint: Option<String>,
    /// This verdict.
    pub overall: Option<State>,
    /// Begun at or after.
    pub from: Option<Timestamp>,
    /// Begun before.
    pub to: Option<Timestamp>,
}

/// Behind which report a list goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// When that report began, in milliseconds since 1970.
    pub started_ms: i64,
    /// That report.
    pub id: Uuid,
}

impl Cursor {
    /// Behind this report.
    pub fn behind(summary: &Summary) -> Self {
        Self { started_ms: summary.started.as_millisecond(), id: summary.id }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.started_ms, self.id.simple())
    }
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ms, id) = text.split_once('.').ok_or(())?;
        let started_ms = ms.parse().map_err(|_| ())?;
        Ok(Self { started_ms, id: Uuid::try_parse(id).map_err(|_| ())? })
    }
}

/// How long the buckets of a roll-up are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// Five minutes.
    FiveMinutes,
    /// An hour.
    Hour,
    /// A day, in UTC.
    Day,
}

impl Resolution {
    /// All of them. Each report is added to a bucket of each, so that none is computed from another.
    pub const ALL: [Self; 3] = [Self::FiveMinutes, Self::Hour, Self::Day];

    /// Length of a bucket.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::FiveMinutes => 300,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    /// The beginning of the bucket that holds a point in time, in seconds since 1970.
    pub fn bucket(self, at: Timestamp) -> i64 {
        self.bucket_of(at.as_second())
    }

    /// The same of a point in time in seconds since 1970.
    pub fn bucket_of(self, at: i64) -> i64 {
        at.div_euclid(self.seconds()) * self.seconds()
    }
}

/// Which roll-ups.
#[derive(Debug, Clone, PartialEq)]
pub struct RollupQuery {
    /// Of which buckets.
    pub resolution: Resolution,
    /// Buckets that begin at or after.
    pub from: Timestamp,
    /// Buckets that begin before.
    pub to: Timestamp,
    /// Of one site; empty for reports without one.
    pub site: Option<String>,
    /// Of one endpoint; empty for reports without one.
    pub endpoint: Option<String>,
}

/// What a bucket is of. Empty names stand for reports without a site, or without an endpoint: the parts of a key are never null.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketKey {
    /// Its beginning, in seconds since 1970.
    pub bucket: i64,
    /// The site.
    pub site: String,
    /// The endpoint.
    pub endpoint: String,
}

/// Roll-ups found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rollups {
    /// Merged histograms by name: `rtt`, `pdv_up`, `pdv_down`.
    pub sketches: BTreeMap<(BucketKey, String), Sketch>,
    /// Sums by name: `verdict:ready`, `up:sent`, `up:lost`, …
    pub tallies: BTreeMap<(BucketKey, String), u64>,
}

/// Sums of a stretch of time, added up by the store itself: a month of a large fleet has hundreds of thousands of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Totals {
    /// Of each site and endpoint, of buckets before a point in time and of those since.
    pub of_series: Vec<SeriesTotal>,
    /// Of each bucket since then, over all sites and endpoints: where it begins (in seconds since 1970), the name of the sum, the sum.
    pub of_buckets: Vec<(i64, String, u64)>,
}

/// What a sum of a site and an endpoint comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesTotal {
    /// The site; empty for reports without one.
    pub site: String,
    /// The endpoint; empty for reports without one.
    pub endpoint: String,
    /// Whether of the buckets since the point in time, and not of those before.
    pub since: bool,
    /// The name of the sum, as in [`Rollups::tallies`].
    pub name: String,
    /// The sum.
    pub n: u64,
}

/// A remark on a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub by: String,
    /// What.
    pub text: String,
}

/// SHA-256 of a secret. The secret itself is never stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees reports without what is personal.
    SupportNoPii,
    /// Sees reports, and looks people up.
    Support,
    /// Sees and manages everything.
    Admin,
}

impl Role {
    /// All, least first.
    pub const ALL: [Self; 3] = [Self::SupportNoPii, Self::Support, Self::Admin];

    /// Its name: `support_no_pii`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::SupportNoPii => "support_no_pii",
            Self::Support => "support",
            Self::Admin => "admin",
        }
    }

    /// What it may do, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::SupportNoPii => "support without personal data",
            Self::Support => "support",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether what is personal may be seen.
    pub const fn sees_personal(self) -> bool {
        matches!(self, Self::Support | Self::Admin)
    }

    /// Whether users and keys may be managed.
    pub const fn manages(self) -> bool {
        matches!(self, Self::Admin)
    }
}

/// Somebody who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Whose data they see.
    pub tenant: Tenant,
    /// Who.
    pub id: Uuid,
    /// What they type.
    pub name: String,
    /// What they may do; `None`: nothing any more.
    pub role: Option<Role>,
    /// Since when.
    pub created: Timestamp,
}

/// A user to be added.
#[derive(Clone)]
pub struct NewUser {
    /// Who.
    pub user: User,
    /// The password's argon2id hash in PHC form.
    pub password_hash: String,
}

/// A browser that somebody came in with.
#[derive(Debug, Clone)]
pub struct Session {
    /// Hash of what the cookie holds.
    pub token: TokenHash,
    /// Of which tenant.
    pub tenant: Tenant,
    /// Whose.
    pub user: Uuid,
    /// When it ends.
    pub expires: Timestamp,
}

/// What a key is good for: one thing, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// To send reports.
    Send,
    /// To read `/metrics`.
    Metrics,
    /// To find and read reports and figures, without what is personal.
    Read,
    /// The same with what is personal.
    ReadPersonal,
}

impl KeyUse {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Send, Self::Metrics, Self::Read, Self::ReadPersonal];

    /// What it is good for, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Send => "send reports",
            Self::Metrics => "read metrics",
            Self::Read => "read reports without personal data",
            Self::ReadPersonal => "read whole reports",
        }
    }
}

/// A key of a tenant, for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Whose.
    pub tenant: Tenant,
    /// The part of it that is no secret.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it is good for.
    pub good_for: KeyUse,
    /// Hash of the part that is.
    pub secret: TokenHash,
    /// Since when.
    pub created: Timestamp,
    /// Since when it is no longer good.
    pub revoked: Option<Timestamp>,
}

/// Who did what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Of which tenant.
    pub tenant: Tenant,
    /// When.
    pub at: Timestamp,
    /// Who: a user's name.
    pub actor: String,
    /// What: `report.view`, `report.search`, `login`, …
    pub action: String,
    /// To what: an id, or what was searched for.
    pub subject: String,
}

/// The name that a value of an enumeration has in JSON.
pub(crate) fn name_of<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        // Only enumerations without fields come here.
        _ => String::new(),
    }
}

/// The value of an enumeration that has this name in JSON.
pub(crate) fn from_name<T: for<'de> Deserialize<'de>>(name: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for state in [State::Ready, State::PermissionDenied, State::NotTested] {
            assert_eq!(from_name::<State>(&name_of(&state)), Some(state));
        }
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
            assert_eq!(name_of(&role), role.name());
        }
        assert_eq!(from_name::<State>("great"), None);
    }

    #[test]
    fn cursors_come_back_and_nothing_else_is_one() {
        let cursor = Cursor { started_ms: -5, id: Uuid::from_u128(7) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "5", "x.00000000000000000000000000000007", "5.7", "5.ZZ"] {
            assert_eq!(text.parse::<Cursor>(), Err(()), "{text}");
        }
    }

    #[test]
    fn buckets_begin_where_clocks_say_so() {
        let at: Timestamp = "2026-11-22T14:03:11Z".parse().unwrap();
        let begin =
            |resolution: Resolution| Timestamp::from_second(resolution.bucket(at)).unwrap().to_string();
        assert_eq!(begin(Resolution::FiveMinutes), "2026-11-22T14:00:00Z");
        assert_eq!(begin(Resolution::Hour), "2026-11-22T14:00:00Z");
        assert_eq!(begin(Resolution::Day), "2026-11-22T00:00:00Z");
        let before_1970: Timestamp = "1969-12-31T23:59:59Z".parse().unwrap();
        assert_eq!(Resolution::Day.bucket(before_1970), -86_400);
    }
}
