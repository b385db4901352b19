//! Statements in PostgreSQL, raw reports found, and old ones let go.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::ingest::pack;
use super::partitions::{Parted, day};
use super::{PostgresStore, within};
use crate::rollup::{KEPT, Sums};
use crate::store::sql::person::CLEARED;
use crate::store::sql::reports::forget;
use crate::store::sql::{
    Backend, Done, Entry, Numbered, Query, Row, Step, Value, bind_all, blocking, broken, midnight,
};
use crate::store::{Outcome, Redacted, Result, StoreError, Tenant};

/// Key of the advisory lock of the node that lets old reports go: "greenold".
const RETIRING: i64 = 0x6772_6565_6e6f_6c64;

/// Most bytes of JSON that a stored report unpacks to: above what ingest lets in.
const MAX_UNPACKED: usize = 64 << 20;

#[async_trait]
impl Backend for PostgresStore {
    async fn find(&self, query: Query) -> Result<Vec<Row>> {
        within(async { rows(&mut *self.pool.acquire().await.map_err(broken)?, query).await }).await
    }

    async fn change(&self, query: Query) -> Result<Vec<Row>> {
        self.find(query).await
    }

    async fn execute(&self, query: Query) -> Result<u64> {
        within(async { run(&mut *self.pool.acquire().await.map_err(broken)?, query).await }).await
    }

    async fn together(&self, steps: Vec<Step>) -> Result<Done> {
        within(async {
            let mut tx = self.pool.begin().await.map_err(broken)?;
            let mut changed = Vec::with_capacity(steps.len());
            for (index, step) in steps.into_iter().enumerate() {
                let n = run(&mut tx, step.query).await?;
                if step.needed && n == 0 {
                    tx.rollback().await.map_err(broken)?;
                    return Ok(Done::WithoutEffect(index));
                }
                changed.push(n);
            }
            tx.commit().await.map_err(broken)?;
            Ok(Done::All(changed))
        })
        .await
    }

    fn next_number(&self, table: Numbered) -> &'static str {
        match table {
            Numbered::Audit => "nextval('audit_number')",
            Numbered::Note => "nextval('note_number')",
        }
    }

    async fn keep(&self, batch: Vec<Entry>, whole: Option<Sums>) -> Result<Vec<Outcome>> {
        self.keep_all(batch, whole).await
    }

    async fn raw_json(&self, tenant: Tenant, id: Uuid) -> Result<Option<Vec<u8>>> {
        // The time says in which partition it is.
        let query = Query::new(
            "SELECT zstd FROM report_raw WHERE tenant = $1 AND id = $2
             AND received_ms = (SELECT received_ms FROM report_id WHERE tenant = $1 AND id = $2)",
        );
        let found = self.find(query.bind(tenant).bind(id)).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let packed = row.bytes("zstd")?;
        let unpacked = blocking(move || zstd::bulk::decompress(&packed, MAX_UNPACKED)).await?;
        unpacked.map(Some).map_err(|error| StoreError::Damaged(format!("report {id}: {error}")))
    }

    fn has_raw(&self) -> &'static str {
        "has_raw"
    }

    /// The server has its own: `pg_amcheck`, and checksums of its pages.
    fn integrity_check(&self) -> Option<&'static str> {
        None
    }

    async fn redact(&self, tenant: Tenant, reports: Vec<Redacted>) -> Result<()> {
        let mut steps = Vec::new();
        for Redacted { id, say, raw } in reports {
            let at = "tenant = $1 AND id = $2
                      AND received_ms = (SELECT received_ms FROM report_id WHERE tenant = $1 AND id = $2)";
            let here = |text: String| Query::new(text).bind(tenant).bind(id);
            steps.push(match raw {
                Some(json) => {
                    let packed = blocking(move || pack(&json)).await?;
                    let packed = packed
                        .map_err(|error| StoreError::Unavailable(format!("cannot compress: {error}")))?;
                    here(format!("UPDATE report_raw SET zstd = $3 WHERE {at}")).bind(packed)
                }
                None => here(format!("DELETE FROM report_raw WHERE {at}")),
            });
            let has_raw = "has_raw = EXISTS (SELECT 1 FROM report_raw WHERE tenant = $1 AND id = $2)";
            steps
                .push(here(format!("UPDATE report SET {CLEARED}, {has_raw}, say = $3 WHERE {at}")).bind(say));
            steps.push(here("DELETE FROM note WHERE tenant = $1 AND report = $2".to_owned()));
            // Messages may name whose report they tell of.
            steps.push(here("DELETE FROM delivery WHERE tenant = $1 AND report = $2".to_owned()));
        }
        self.together(steps.into_iter().map(Step::any).collect()).await.map(drop)
    }

    async fn add_up_pending(&self) -> Result<()> {
        self.settle_all().await
    }

    async fn let_go(&self, before: Timestamp, now: Timestamp) -> Result<u64> {
        self.settle_all().await?;
        let (midnight, _) = midnight(before)?;
        let mut connection = self.pool.acquire().await.map_err(broken)?;
        // Headers go by whole months, and their ids with them.
        let month = day(now.checked_sub(KEPT).unwrap_or(Timestamp::MIN)).first_of_month();
        let Some(cleared) = clear(&mut connection, midnight, now).await? else { return Ok(0) };
        self.partitions.make(&mut connection, &BTreeSet::from([day(now)])).await?;
        self.partitions.drop_before(&mut connection, Parted::Raw, day(midnight)).await?;
        self.partitions.drop_before(&mut connection, Parted::Report, month).await?;
        let begin = format!("{month}T00:00:00Z")
            .parse::<Timestamp>()
            .map_err(|error| StoreError::Damaged(format!("the clock: {error}")))?;
        run(&mut connection, Query::new("DELETE FROM report_id WHERE received_ms < $1").bind(begin)).await?;
        Ok(cleared)
    }
}

/// Deletes what is old row by row; of how many reports. `None` where another node is at it.
async fn clear(connection: &mut PgConnection, midnight: Timestamp, now: Timestamp) -> Result<Option<u64>> {
    use sqlx::Connection as _;
    let mut tx = connection.begin().await.map_err(broken)?;
    let is_ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
        .bind(RETIRING)
        .fetch_one(&mut *tx)
        .await
        .map_err(broken)?;
    if !is_ours {
        return Ok(None);
    }
    let mut cleared = 0;
    for (index, query) in forget(midnight, now, "has_raw", "has_raw = FALSE").into_iter().enumerate() {
        let n = run(&mut tx, query).await?;
        if index == 1 {
            cleared = n;
        }
    }
    tx.commit().await.map_err(broken)?;
    Ok(Some(cleared))
}

/// Runs a statement; how many rows it changed.
pub(super) async fn run(connection: &mut PgConnection, query: Query) -> Result<u64> {
    let done = bind_all!(sqlx::query(AssertSqlSafe(query.text.into_owned())), query.values, storable)
        .execute(connection)
        .await
        .map_err(broken)?;
    Ok(done.rows_affected())
}

pub(super) async fn rows(connection: &mut PgConnection, query: Query) -> Result<Vec<Row>> {
    let found = bind_all!(sqlx::query(AssertSqlSafe(query.text.into_owned())), query.values, storable)
        .fetch_all(connection)
        .await
        .map_err(broken)?;
    Ok(found.into_iter().map(Row::Postgres).collect())
}

/// Text as PostgreSQL takes it: without the character 0, which would fail a whole batch.
pub(super) fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}
