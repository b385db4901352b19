//! Statements in SQLite, raw reports found in their files, and old ones let go.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};
use uuid::Uuid;

use super::backup::Hold;
use super::raw::Position;
use super::{SqliteStore, begin, run};
use crate::rollup::{KEPT, Sums};
use crate::store::sql::reports::forget;
use crate::store::sql::{
    Backend, Done, Entry, Numbered, Query, Row, Step, Value, bind_all, blocking, broken, midnight,
};
use crate::store::{Outcome, Redacted, Result, StoreError, Tenant};

#[async_trait]
impl Backend for SqliteStore {
    async fn find(&self, query: Query) -> Result<Vec<Row>> {
        let mut reader = self.readers.acquire().await.map_err(broken)?;
        rows(&mut reader, query).await
    }

    async fn change(&self, query: Query) -> Result<Vec<Row>> {
        rows(&mut *self.writer().await?, query).await
    }

    async fn execute(&self, query: Query) -> Result<u64> {
        run(&mut *self.writer().await?, query).await
    }

    async fn together(&self, steps: Vec<Step>) -> Result<Done> {
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer).await?;
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
    }

    fn next_number(&self, table: Numbered) -> &'static str {
        match table {
            Numbered::Audit => "(SELECT 1 + COALESCE(MAX(number), 0) FROM audit WHERE tenant = $1)",
            Numbered::Note => {
                "(SELECT 1 + COALESCE(MAX(number), 0) FROM note WHERE tenant = $1 AND report = $2)"
            }
        }
    }

    async fn keep(&self, batch: Vec<Entry>, whole: Option<Sums>) -> Result<Vec<Outcome>> {
        self.keep_all(batch, whole).await
    }

    async fn raw_json(&self, tenant: Tenant, id: Uuid) -> Result<Option<Vec<u8>>> {
        let query =
            Query::new("SELECT raw_day, raw_offset, raw_length FROM report WHERE tenant = $1 AND id = $2");
        let found = self.find(query.bind(tenant).bind(id)).await?;
        let Some(at) = found.first().map(|row| position(row, id)).transpose()?.flatten() else {
            return Ok(None);
        };
        let files = self.files.clone();
        blocking(move || files.read(&at, tenant, id)).await?.map(Some)
    }

    fn has_raw(&self) -> &'static str {
        "raw_day IS NOT NULL"
    }

    fn integrity_check(&self) -> Option<&'static str> {
        Some("PRAGMA integrity_check")
    }

    async fn add_up_pending(&self) -> Result<()> {
        self.settle_all().await
    }

    async fn redact(&self, tenant: Tenant, reports: Vec<Redacted>) -> Result<()> {
        self.redact_all(tenant, reports).await
    }

    async fn let_go(&self, before: Timestamp, now: Timestamp) -> Result<u64> {
        // Whole days, so that a file goes when all that names it has gone.
        self.settle_all().await?;
        let (midnight, day) = midnight(before)?;
        let headers = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        let no_raw = "raw_day = NULL, raw_offset = NULL, raw_length = NULL";
        let mut statements = forget(midnight, now, "raw_day IS NOT NULL", no_raw);
        statements
            .push(Query::new("DELETE FROM report WHERE raw_day IS NULL AND received_ms < $1").bind(headers));
        let done = self.together(statements.into_iter().map(Step::any).collect()).await?;
        self.wipe().await?;
        // A crash between the two leaves files that the next time finds, as it does those that are being copied now.
        let (files, folder) = (self.files.clone(), self.folder.clone());
        let dropped = blocking(move || match Hold::take(&folder)? {
            Some(_hold) => files.drop_before(&day),
            None => Ok(()),
        })
        .await?;
        dropped.map_err(|error| StoreError::Unavailable(format!("cannot delete an old day: {error}")))?;
        let Done::All(changed) = done else { return Ok(0) };
        Ok(changed.get(1).copied().unwrap_or(0))
    }
}

/// Where a report's bytes lie; `None` where they were deleted.
pub(super) fn position(row: &Row, id: Uuid) -> Result<Option<Position>> {
    let Some(day) = row.text_or_none("raw_day")? else { return Ok(None) };
    let number = |column| -> Result<u64> {
        let negative = || StoreError::Damaged(format!("report {id}: its position is none"));
        u64::try_from(row.int_or_none(column)?.ok_or_else(negative)?).map_err(|_| negative())
    };
    Ok(Some(Position { day, offset: number("raw_offset")?, length: number("raw_length")? }))
}

pub(super) async fn rows(connection: &mut SqliteConnection, query: Query) -> Result<Vec<Row>> {
    let found = bind_all!(sqlx::query(AssertSqlSafe(query.text.into_owned())), query.values, |text| text)
        .fetch_all(connection)
        .await
        .map_err(broken)?;
    Ok(found.into_iter().map(Row::Sqlite).collect())
}
