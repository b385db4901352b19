//! Reports, roll-ups and notes in SQLite.

use std::collections::BTreeMap;
use std::io;

use async_trait::async_trait;
use greenroom_reports::metrics::sketch::Sketch;
use jiff::{SignedDuration, Timestamp};
use sqlx::{QueryBuilder, Row as _, Sqlite, Transaction};
use uuid::Uuid;

use super::raw::{Packed, Position, day_of};
use super::{SqliteStore, begin, broken, links, rows};
use crate::rollup::{KEPT, SumKey, Sums};
use crate::store::{
    Agreement, BucketKey, Counted, Cursor, Filter, Note, Outcome, Record, ReportStore, Result, RollupQuery,
    Rollups, StoreError, Summary, Tenant, name_of,
};

/// How long buckets of five minutes are kept; those of an hour and a day stay for [`KEPT`].
const FINE_KEPT: SignedDuration = SignedDuration::from_hours(35 * 24);

const HISTOGRAMS: &str = "SELECT bucket, site, endpoint, name, histogram FROM rollup";
const TALLIES: &str = "SELECT bucket, site, endpoint, name, n FROM tally";

#[async_trait]
impl ReportStore for SqliteStore {
    async fn ingest(&self, batch: Vec<Record>) -> Result<Vec<Outcome>> {
        // Packing costs time that nobody else should wait for: before the lock.
        let batch = blocking(move || pack(batch)).await??;
        let mut writer = self.writer().await;
        let mut tx = begin(&mut writer).await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        let (mut fresh, mut sums) = (Vec::new(), Sums::default());
        for (record, packed) in batch {
            let outcome = insert(&mut tx, &record).await?;
            outcomes.push(outcome);
            if outcome == Outcome::Accepted {
                if record.summary.counted == Counted::Yes {
                    sums.add(record.tenant, &record.adds);
                }
                fresh.push((record.tenant, record.summary.id, record.summary.received, packed));
            }
        }
        self.write_raw(&mut tx, fresh).await?;
        add_sums(&mut tx, sums).await?;
        tx.commit().await.map_err(broken)?;
        Ok(outcomes)
    }

    async fn summary(&self, tenant: Tenant, id: Uuid) -> Result<Option<Summary>> {
        let row = sqlx::query("SELECT * FROM report WHERE tenant = ? AND id = ?")
            .bind(tenant.0)
            .bind(&id.as_bytes()[..])
            .fetch_optional(&self.readers)
            .await
            .map_err(broken)?;
        row.as_ref().map(rows::summary).transpose()
    }

    async fn raw(&self, tenant: Tenant, id: Uuid) -> Result<Option<Vec<u8>>> {
        let row: Option<(Option<String>, Option<i64>, Option<i64>)> =
            sqlx::query_as("SELECT raw_day, raw_offset, raw_length FROM report WHERE tenant = ? AND id = ?")
                .bind(tenant.0)
                .bind(&id.as_bytes()[..])
                .fetch_optional(&self.readers)
                .await
                .map_err(broken)?;
        let Some((Some(day), Some(offset), Some(length))) = row else { return Ok(None) };
        let negative = |_| StoreError::Damaged(format!("report {id}: its position is negative"));
        let at = Position {
            day,
            offset: u64::try_from(offset).map_err(negative)?,
            length: u64::try_from(length).map_err(negative)?,
        };
        let files = self.files.clone();
        blocking(move || files.read(&at, tenant, id)).await?.map(Some)
    }

    async fn list(
        &self,
        tenant: Tenant,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<Summary>> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM report WHERE tenant = ");
        query.push_bind(tenant.0);
        let texts = [
            (" AND code = ", &filter.code),
            (" AND ticket = ", &filter.ticket),
            (" AND person = ", &filter.person),
            (" AND agent = ", &filter.agent),
        ];
        for (clause, value) in texts {
            if let Some(value) = value {
                query.push(clause).push_bind(value);
            }
        }
        for (column, value) in [("site", &filter.site), ("endpoint", &filter.endpoint)] {
            match value.as_deref() {
                Some("") => query.push(format_args!(" AND {column} IS NULL")),
                Some(value) => query.push(format_args!(" AND {column} = ")).push_bind(value),
                None => &mut query,
            };
        }
        if let Some(overall) = filter.overall {
            query.push(" AND overall = ").push_bind(name_of(&overall));
        }
        if let Some(from) = filter.from {
            query.push(" AND started_ms >= ").push_bind(from.as_millisecond());
        }
        if let Some(to) = filter.to {
            query.push(" AND started_ms < ").push_bind(to.as_millisecond());
        }
        if let Some(after) = after {
            query.push(" AND (started_ms, id) < (").push_bind(after.started_ms);
            query.push(", ").push_bind(after.id.as_bytes().to_vec()).push(")");
        }
        query.push(" ORDER BY started_ms DESC, id DESC LIMIT ").push_bind(i64::from(limit));
        let found = query.build().fetch_all(&self.readers).await.map_err(broken)?;
        found.iter().map(rows::summary).collect()
    }

    async fn unchecked(&self, limit: u32) -> Result<Vec<(Tenant, Uuid)>> {
        let found = sqlx::query(
            "SELECT tenant, id FROM report WHERE agreement = 'pending' ORDER BY received_ms LIMIT ?",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(broken)?;
        found.iter().map(|row| Ok((rows::tenant(row)?, rows::id(row, "id")?))).collect()
    }

    async fn set_agreement(
        &self,
        tenant: Tenant,
        id: Uuid,
        agreement: Agreement,
        differs: &[String],
    ) -> Result<()> {
        let mut writer = self.writer().await;
        sqlx::query("UPDATE report SET agreement = ?, differs = ? WHERE tenant = ? AND id = ?")
            .bind(name_of(&agreement))
            .bind(list_text(differs))
            .bind(tenant.0)
            .bind(&id.as_bytes()[..])
            .execute(&mut *writer)
            .await
            .map_err(broken)?;
        Ok(())
    }

    async fn rollups(&self, tenant: Tenant, query: &RollupQuery) -> Result<Rollups> {
        let mut found = Rollups { tallies: self.tallies(tenant, query).await?, ..Rollups::default() };
        for row in self.buckets(HISTOGRAMS, tenant, query, None).await? {
            let bytes: &[u8] = row.try_get("histogram").map_err(broken)?;
            found.sketches.insert(bucket_key(&row)?, stored_sketch(bytes)?);
        }
        Ok(found)
    }

    async fn tallies(
        &self,
        tenant: Tenant,
        query: &RollupQuery,
    ) -> Result<BTreeMap<(BucketKey, String), u64>> {
        let mut found = BTreeMap::new();
        for row in self.buckets(TALLIES, tenant, query, None).await? {
            let n: i64 = row.try_get("n").map_err(broken)?;
            found.insert(bucket_key(&row)?, u64::try_from(n).unwrap_or(0));
        }
        Ok(found)
    }

    async fn histograms(
        &self,
        tenant: Tenant,
        query: &RollupQuery,
        name: &str,
    ) -> Result<Vec<(BucketKey, Vec<u8>)>> {
        let found = self.buckets(HISTOGRAMS, tenant, query, Some(name)).await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Ok((bucket_key(row)?.0, row.try_get("histogram").map_err(broken)?))
        };
        found.iter().map(read).collect()
    }

    async fn add_note(&self, tenant: Tenant, report: Uuid, note: &Note) -> Result<()> {
        let mut writer = self.writer().await;
        sqlx::query(
            "INSERT INTO note (tenant, report, number, at_ms, author, words)
             SELECT ?1, ?2, 1 + COALESCE(MAX(number), 0), ?3, ?4, ?5 FROM note WHERE tenant = ?1 AND report = ?2",
        )
        .bind(tenant.0)
        .bind(&report.as_bytes()[..])
        .bind(note.at.as_millisecond())
        .bind(&note.by)
        .bind(&note.text)
        .execute(&mut *writer)
        .await
        .map_err(broken)?;
        Ok(())
    }

    async fn notes(&self, tenant: Tenant, report: Uuid) -> Result<Vec<Note>> {
        let found = sqlx::query("SELECT * FROM note WHERE tenant = ? AND report = ? ORDER BY number")
            .bind(tenant.0)
            .bind(&report.as_bytes()[..])
            .fetch_all(&self.readers)
            .await
            .map_err(broken)?;
        found.iter().map(rows::note).collect()
    }

    async fn retire(&self, before: Timestamp, now: Timestamp) -> Result<u64> {
        // Whole days, so that a file goes when all that names it has gone.
        let day = day_of(before);
        let midnight: Timestamp = format!("{day}T00:00:00Z")
            .parse()
            .map_err(|error| StoreError::Damaged(format!("the clock: {error}")))?;
        let ago = |time: SignedDuration| now.checked_sub(time).unwrap_or(Timestamp::MIN);
        let mut writer = self.writer().await;
        let mut tx = begin(&mut writer).await?;
        sqlx::query(
            "DELETE FROM note WHERE (tenant, report) IN
             (SELECT tenant, id FROM report WHERE raw_day IS NOT NULL AND received_ms < ?)",
        )
        .bind(midnight.as_millisecond())
        .execute(&mut *tx)
        .await
        .map_err(broken)?;
        let cleared = sqlx::query(
            "UPDATE report SET raw_day = NULL, raw_offset = NULL, raw_length = NULL, person = NULL, agent = NULL,
             agreement = CASE agreement WHEN 'pending' THEN 'no_samples' ELSE agreement END
             WHERE raw_day IS NOT NULL AND received_ms < ?",
        )
        .bind(midnight.as_millisecond())
        .execute(&mut *tx)
        .await
        .map_err(broken)?
        .rows_affected();
        for (statement, limit) in [
            ("UPDATE audit SET subject = '' WHERE at_ms < ? AND subject <> ''", midnight.as_millisecond()),
            ("DELETE FROM session WHERE expires_ms < ?", now.as_millisecond()),
            ("DELETE FROM check_link WHERE expires_ms < ?", midnight.as_millisecond()),
            ("DELETE FROM share_link WHERE expires_ms < ?", midnight.as_millisecond()),
            ("DELETE FROM report WHERE raw_day IS NULL AND received_ms < ?", ago(KEPT).as_millisecond()),
            ("DELETE FROM rollup WHERE resolution = 300 AND bucket < ?", ago(FINE_KEPT).as_second()),
            ("DELETE FROM tally WHERE resolution = 300 AND bucket < ?", ago(FINE_KEPT).as_second()),
            ("DELETE FROM rollup WHERE bucket < ?", ago(KEPT).as_second() - 86_400),
            ("DELETE FROM tally WHERE bucket < ?", ago(KEPT).as_second() - 86_400),
        ] {
            sqlx::query(statement).bind(limit).execute(&mut *tx).await.map_err(broken)?;
        }
        tx.commit().await.map_err(broken)?;
        // A crash between the two leaves files that the next time finds.
        let files = self.files.clone();
        let dropped = blocking(move || files.drop_before(&day)).await?;
        dropped.map_err(|error| StoreError::Unavailable(format!("cannot delete an old day: {error}")))?;
        Ok(cleared)
    }
}

impl SqliteStore {
    /// Appends the reports' bytes to their days' files, and says in their headers where.
    async fn write_raw(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        fresh: Vec<(Tenant, Uuid, Timestamp, Packed)>,
    ) -> Result<()> {
        let mut days: BTreeMap<String, DayOf> = BTreeMap::new();
        for (tenant, id, received, packed) in fresh {
            let (names, packs) = days.entry(day_of(received)).or_default();
            names.push((tenant, id));
            packs.push(packed);
        }
        for (day, (names, packs)) in days {
            let files = self.files.clone();
            let written = blocking(move || files.append(&day, &packs)).await?;
            let positions = written
                .map_err(|error| StoreError::Unavailable(format!("cannot write raw reports: {error}")))?;
            for ((tenant, id), at) in names.into_iter().zip(positions) {
                sqlx::query(
                    "UPDATE report SET raw_day = ?, raw_offset = ?, raw_length = ? WHERE tenant = ? AND id = ?",
                )
                .bind(&at.day)
                .bind(at.offset.cast_signed())
                .bind(at.length.cast_signed())
                .bind(tenant.0)
                .bind(&id.as_bytes()[..])
                .execute(&mut **tx)
                .await
                .map_err(broken)?;
            }
        }
        Ok(())
    }

    async fn buckets(
        &self,
        select: &'static str,
        tenant: Tenant,
        asked: &RollupQuery,
        name: Option<&str>,
    ) -> Result<Vec<sqlx::sqlite::SqliteRow>> {
        let mut query = QueryBuilder::<Sqlite>::new(select);
        query.push(" WHERE tenant = ").push_bind(tenant.0);
        query.push(" AND resolution = ").push_bind(asked.resolution.seconds());
        query.push(" AND bucket >= ").push_bind(asked.from.as_second());
        query.push(" AND bucket < ").push_bind(asked.to.as_second());
        let texts = [
            (" AND site = ", asked.site.as_deref()),
            (" AND endpoint = ", asked.endpoint.as_deref()),
            (" AND name = ", name),
        ];
        for (clause, value) in texts {
            if let Some(value) = value {
                query.push(clause).push_bind(value);
            }
        }
        query.build().fetch_all(&self.readers).await.map_err(broken)
    }
}

/// The reports of one day: whose they are, and their bytes.
type DayOf = (Vec<(Tenant, Uuid)>, Vec<Packed>);

/// Inserts a header, if its id is new and, where it came by a link, that link is good. Whoever sends one again whose answer was lost
/// hears that it is there, also when it was the link's last.
async fn insert(tx: &mut Transaction<'_, Sqlite>, record: &Record) -> Result<Outcome> {
    if !insert_header(tx, record).await? {
        return Ok(Outcome::Duplicate);
    }
    let found = &record.summary;
    let Some(link) = &found.link else { return Ok(Outcome::Accepted) };
    if links::take_use(tx, record.tenant, link, found.received).await? {
        return Ok(Outcome::Accepted);
    }
    sqlx::query("DELETE FROM report WHERE tenant = ? AND id = ?")
        .bind(record.tenant.0)
        .bind(&found.id.as_bytes()[..])
        .execute(&mut **tx)
        .await
        .map_err(broken)?;
    Ok(Outcome::NotAllowed)
}

/// Inserts a header without its position; false when the id is there already.
async fn insert_header(tx: &mut Transaction<'_, Sqlite>, record: &Record) -> Result<bool> {
    let found = &record.summary;
    let done = sqlx::query(
        "INSERT INTO report (tenant, id, code, kind, source, started_ms, received_ms, duration_ms, overall, certain,
           place, direction, cause, say, site, person, ticket, agent, endpoint, agreement, differs, counted, link)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(record.tenant.0)
    .bind(found.id.as_bytes().to_vec())
    .bind(&found.code)
    .bind(name_of(&found.kind))
    .bind(name_of(&found.source))
    .bind(found.started.as_millisecond())
    .bind(found.received.as_millisecond())
    .bind(found.duration_ms)
    .bind(name_of(&found.overall))
    .bind(found.certain)
    .bind(found.place.as_ref().map(name_of))
    .bind(found.direction.as_ref().map(name_of))
    .bind(&found.cause)
    .bind(&found.say)
    .bind(&found.site)
    .bind(&found.person)
    .bind(&found.ticket)
    .bind(&found.agent)
    .bind(&found.endpoint)
    .bind(name_of(&found.agreement))
    .bind(list_text(&found.differs))
    .bind(name_of(&found.counted))
    .bind(&found.link)
    .execute(&mut **tx)
    .await
    .map_err(broken)?;
    Ok(done.rows_affected() == 1)
}

/// Adds to the stored sums. Histograms are read, merged and written again, each once per batch.
async fn add_sums(tx: &mut Transaction<'_, Sqlite>, sums: Sums) -> Result<()> {
    for (key, mut sketch) in sums.sketches {
        let (tenant, resolution, bucket, name) = &key;
        let stored: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT histogram FROM rollup
             WHERE tenant = ? AND resolution = ? AND bucket = ? AND site = ? AND endpoint = ? AND name = ?",
        )
        .bind(tenant.0)
        .bind(resolution.seconds())
        .bind(bucket.bucket)
        .bind(&bucket.site)
        .bind(&bucket.endpoint)
        .bind(name)
        .fetch_optional(&mut **tx)
        .await
        .map_err(broken)?;
        if let Some(bytes) = stored {
            sketch.merge(&stored_sketch(&bytes)?);
        }
        put_sketch(tx, &key, &sketch).await?;
    }
    for ((tenant, resolution, bucket, name), n) in sums.tallies {
        sqlx::query(
            "INSERT INTO tally (tenant, resolution, bucket, site, endpoint, name, n) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (tenant, resolution, bucket, site, endpoint, name) DO UPDATE SET n = n + excluded.n",
        )
        .bind(tenant.0)
        .bind(resolution.seconds())
        .bind(bucket.bucket)
        .bind(&bucket.site)
        .bind(&bucket.endpoint)
        .bind(&name)
        .bind(i64::try_from(n).unwrap_or(i64::MAX))
        .execute(&mut **tx)
        .await
        .map_err(broken)?;
    }
    Ok(())
}

async fn put_sketch(tx: &mut Transaction<'_, Sqlite>, key: &SumKey, sketch: &Sketch) -> Result<()> {
    let (tenant, resolution, bucket, name) = key;
    sqlx::query(
        "INSERT INTO rollup (tenant, resolution, bucket, site, endpoint, name, histogram)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (tenant, resolution, bucket, site, endpoint, name)
         DO UPDATE SET histogram = excluded.histogram",
    )
    .bind(tenant.0)
    .bind(resolution.seconds())
    .bind(bucket.bucket)
    .bind(&bucket.site)
    .bind(&bucket.endpoint)
    .bind(name)
    .bind(sketch.to_bytes())
    .execute(&mut **tx)
    .await
    .map_err(broken)?;
    Ok(())
}

fn pack(batch: Vec<Record>) -> Result<Vec<(Record, Packed)>> {
    let pack = |record: Record| -> io::Result<_> {
        let packed = Packed::new(record.tenant, record.summary.id, &record.raw)?;
        Ok((record, packed))
    };
    let packed: io::Result<Vec<_>> = batch.into_iter().map(pack).collect();
    packed.map_err(|error| StoreError::Unavailable(format!("cannot compress a report: {error}")))
}

fn bucket_key(row: &sqlx::sqlite::SqliteRow) -> Result<(BucketKey, String)> {
    let key = BucketKey {
        bucket: row.try_get("bucket").map_err(broken)?,
        site: row.try_get("site").map_err(broken)?,
        endpoint: row.try_get("endpoint").map_err(broken)?,
    };
    Ok((key, row.try_get("name").map_err(broken)?))
}

fn stored_sketch(bytes: &[u8]) -> Result<Sketch> {
    Sketch::from_bytes(bytes).map_err(|error| StoreError::Damaged(format!("a roll-up: {error}")))
}

fn list_text(items: &[String]) -> String {
    serde_json::Value::from(items).to_string()
}

/// Runs what would hold a worker up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StoreError::Unavailable(format!("a helper thread: {error}")))
}
