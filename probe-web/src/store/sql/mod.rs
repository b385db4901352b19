//! What the SQL stores have in common: statements that both databases understand, and everything that is made of them.
//!
//! A [`Backend`] runs statements; accounts, links and look-ups are written once on top of it. What a backend does in its own way is
//! what is hot or touches more than rows: letting reports in, finding their bytes, letting old ones go.

mod accounts;
pub(crate) mod agents;
mod grants;
mod identities;
mod incidents;
pub(crate) mod links;
pub(crate) mod person;
pub(crate) mod reports;
pub(crate) mod rows;
mod settings;
mod tenants;
mod upkeep;
mod webhooks;

use std::borrow::Cow;
use std::fmt::Write as _;

use async_trait::async_trait;
use greenroom_reports::metrics::sketch::Sketch;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    AgentRun, Counted, Moved, Note, Outcome, Record, Redacted, Result, RunFigures, StoreError, Summary,
    Tenant,
};
use crate::rollup::{Contribution, Sums};

/// How long buckets of five minutes are kept; those of an hour and a day stay for [`crate::rollup::KEPT`].
pub(crate) const FINE_KEPT: SignedDuration = SignedDuration::from_hours(35 * 24);

/// A value on its way into a statement, or out of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Int(Option<i64>),
    Real(f64),
    Bool(bool),
    Text(Option<String>),
    Bytes(Vec<u8>),
    Id(Uuid),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(Some(value.clone()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone())
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<Uuid> for Value {
    fn from(value: Uuid) -> Self {
        Self::Id(value)
    }
}

impl From<Tenant> for Value {
    fn from(value: Tenant) -> Self {
        value.0.into()
    }
}

impl From<&super::TokenHash> for Value {
    fn from(value: &super::TokenHash) -> Self {
        Self::Bytes(value.0.to_vec())
    }
}

/// Points in time are kept in milliseconds since 1970.
impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        value.as_millisecond().into()
    }
}

/// A statement with its values, which stand in it as `$1`, `$2`, …: both databases read them so.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) text: Cow<'static, str>,
    pub(crate) values: Vec<Value>,
}

impl Query {
    /// A statement in which the values of [`Query::bind`] stand by number.
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }

    /// The next value.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// More of the statement, which ends where a value follows.
    pub(crate) fn push(&mut self, text: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        let number = self.values.len();
        // Writing to a string cannot fail.
        let _ = write!(self.text.to_mut(), "{text}${number}");
    }

    /// More of the statement without a value.
    pub(crate) fn push_text(&mut self, text: &str) {
        self.text.to_mut().push_str(text);
    }
}

/// A statement of several that are done together.
pub(crate) struct Step {
    pub(crate) query: Query,
    /// Whether all is given up where it changes no row.
    pub(crate) needed: bool,
}

impl Step {
    /// One that may change nothing.
    pub(crate) fn any(query: Query) -> Self {
        Self { query, needed: false }
    }

    /// One without which the others are not done.
    pub(crate) fn needed(query: Query) -> Self {
        Self { query, needed: true }
    }
}

/// What became of several steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// All were done; so many rows did each change.
    All(Vec<u64>),
    /// None was done, since this one changed no row.
    WithoutEffect(usize),
}

/// A row of either database.
pub(crate) enum Row {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(sqlx::postgres::PgRow),
}

/// Tables whose rows are numbered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbered {
    Audit,
    Note,
}

/// A report on its way into a database: new, or moved from another store.
pub(crate) struct Entry {
    pub(crate) tenant: Tenant,
    pub(crate) summary: Summary,
    /// The JSON as it was sent; `None` where it was deleted.
    pub(crate) raw: Option<Vec<u8>>,
    /// What it adds to the roll-ups; `None` where it adds nothing, or did so before it was moved.
    pub(crate) adds: Option<Contribution>,
    /// Whether it uses up its check link.
    pub(crate) uses_link: bool,
    /// Which of an agent's reports it is.
    pub(crate) run: Option<AgentRun>,
    /// What change detection reads of it, where an agent made it.
    pub(crate) figures: Option<RunFigures>,
    /// Who provides its connection.
    pub(crate) provider: Option<String>,
    /// Notes that it comes with.
    pub(crate) notes: Vec<Note>,
}

impl From<Record> for Entry {
    fn from(record: Record) -> Self {
        let adds = (record.summary.counted == Counted::Yes).then_some(record.adds);
        let Record { tenant, summary, raw, run, figures, provider, .. } = record;
        Self {
            tenant,
            summary,
            raw: Some(raw),
            adds,
            uses_link: true,
            run,
            figures,
            provider,
            notes: Vec::new(),
        }
    }
}

impl From<Moved> for Entry {
    fn from(moved: Moved) -> Self {
        let Moved { tenant, summary, raw, adds, figures, provider, notes } = moved;
        Self { tenant, summary, raw, adds, uses_link: false, run: None, figures, provider, notes }
    }
}

/// A database.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// The rows that a statement finds.
    async fn find(&self, query: Query) -> Result<Vec<Row>>;

    /// Runs a statement that changes something; the rows that it tells of.
    async fn change(&self, query: Query) -> Result<Vec<Row>>;

    /// Runs a statement that changes something; how many rows it changed.
    async fn execute(&self, query: Query) -> Result<u64>;

    /// Runs statements as one.
    async fn together(&self, steps: Vec<Step>) -> Result<Done>;

    /// An expression for the number of the next row of a table, whose first values are the tenant (`$1`) and for notes the report
    /// (`$2`).
    fn next_number(&self, table: Numbered) -> &'static str;

    /// Keeps reports: see [`super::ReportStore::ingest`], and for `whole`, the sums of all of them, [`super::Upkeep::take_in`].
    async fn keep(&self, batch: Vec<Entry>, whole: Option<Sums>) -> Result<Vec<Outcome>>;

    /// The JSON of a report, if it is kept.
    async fn raw_json(&self, tenant: Tenant, id: Uuid) -> Result<Option<Vec<u8>>>;

    /// A condition on a report's row: its JSON is kept.
    fn has_raw(&self) -> &'static str;

    /// A statement that checks the database's file and tells its findings, or `ok`, in a column `integrity_check`.
    fn integrity_check(&self) -> Option<&'static str>;

    /// Brings the roll-ups up to date with what was committed, where they are not: before they are read.
    async fn add_up_pending(&self) -> Result<()> {
        Ok(())
    }

    /// Puts what is left of reports in their place: see [`super::PersonStore::put_redacted`].
    async fn redact(&self, tenant: Tenant, reports: Vec<Redacted>) -> Result<()>;

    /// Lets old reports go: see [`super::ReportStore::retire`].
    async fn let_go(&self, before: Timestamp, now: Timestamp) -> Result<u64>;
}

/// Binds the values of a [`Query`] to a query of sqlx.
macro_rules! bind_all {
    ($query:expr, $values:expr, $text:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Real(value) => query.bind(value),
                Value::Bool(value) => query.bind(value),
                Value::Text(value) => query.bind(value.map($text)),
                Value::Bytes(value) => query.bind(value),
                Value::Id(value) => query.bind(value),
            };
        }
        query
    }};
}
pub(crate) use bind_all;

/// A database that cannot do its work now, or holds what it should not.
pub(crate) fn broken(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Damaged(error.to_string()),
        error => StoreError::Unavailable(error.to_string()),
    }
}

/// A histogram as it is stored.
pub(crate) fn stored_sketch(bytes: &[u8]) -> Result<Sketch> {
    Sketch::from_bytes(bytes).map_err(|error| StoreError::Damaged(format!("a roll-up: {error}")))
}

/// What change detection reads of a report, as it is stored.
pub(crate) fn figures_text(figures: Option<&RunFigures>) -> Option<String> {
    figures.and_then(|figures| serde_json::to_string(figures).ok())
}

pub(crate) fn list_text(items: &[String]) -> String {
    serde_json::Value::from(items).to_string()
}

/// Midnight (UTC) before a point in time, and its day: `2026-11-22`. What is deleted goes by whole days.
pub(crate) fn midnight(at: Timestamp) -> Result<(Timestamp, String)> {
    let day = super::day_of(at);
    let begin = format!("{day}T00:00:00Z").parse();
    begin
        .map(|begin| (begin, day))
        .map_err(|error: jiff::Error| StoreError::Damaged(format!("the clock: {error}")))
}

/// Runs what would hold a worker up.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StoreError::Unavailable(format!("a helper thread: {error}")))
}
