//! Reports into SQLite: one transaction a batch, after the raw bytes are synced.

use std::collections::BTreeMap;
use std::io;

use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use super::raw::Packed;
use super::{SqliteStore, begin, run};
use crate::rollup::{SumKey, Sums};
use crate::store::sql::agents::count_run;
use crate::store::sql::links::take_use;
use crate::store::sql::{Entry, Query, blocking, broken, list_text, stored_sketch};
use crate::store::{Outcome, Result, StoreError, Tenant, day_of, name_of};

use greenroom_reports::metrics::sketch::Sketch;

/// The reports of one day: whose they are, and their bytes.
type DayOf = (Vec<(Tenant, Uuid)>, Vec<Packed>);

impl SqliteStore {
    pub(super) async fn keep_all(&self, batch: Vec<Entry>) -> Result<Vec<Outcome>> {
        // Packing costs time that nobody else should wait for: before the lock.
        let batch = blocking(move || pack(batch)).await??;
        let mut writer = self.writer().await;
        let mut tx = begin(&mut writer).await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        let (mut fresh, mut sums) = (Vec::new(), Sums::default());
        for (entry, packed) in batch {
            let outcome = insert(&mut tx, &entry).await?;
            outcomes.push(outcome);
            if outcome == Outcome::Accepted {
                if let Some(adds) = &entry.adds {
                    sums.add(entry.tenant, adds);
                }
                if let Some(of_agent) = &entry.run {
                    run(&mut tx, count_run(entry.tenant, of_agent, entry.summary.received)).await?;
                }
                if let Some(packed) = packed {
                    fresh.push((entry.tenant, entry.summary.id, entry.summary.received, packed));
                }
            }
        }
        self.write_raw(&mut tx, fresh).await?;
        add_sums(&mut tx, sums).await?;
        tx.commit().await.map_err(broken)?;
        Ok(outcomes)
    }

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
                let query = Query::new(
                    "UPDATE report SET raw_day = $1, raw_offset = $2, raw_length = $3 WHERE tenant = $4 AND id = $5",
                )
                .bind(at.day)
                .bind(at.offset.cast_signed())
                .bind(at.length.cast_signed())
                .bind(tenant)
                .bind(id);
                run(tx, query).await?;
            }
        }
        Ok(())
    }
}

/// Inserts a header, if its id is new and, where it came by a link, that link is good. Whoever sends one again whose answer was lost
/// is told that it is there, also by a link that is used up.
async fn insert(tx: &mut Transaction<'_, Sqlite>, entry: &Entry) -> Result<Outcome> {
    let found = &entry.summary;
    if !insert_header(tx, entry).await? {
        return Ok(Outcome::Duplicate);
    }
    let Some(link) = found.link.as_ref().filter(|_| entry.uses_link) else { return Ok(Outcome::Accepted) };
    if run(tx, take_use(entry.tenant, link, found.received)).await? == 1 {
        return Ok(Outcome::Accepted);
    }
    let query = Query::new("DELETE FROM report WHERE tenant = $1 AND id = $2");
    run(tx, query.bind(entry.tenant).bind(found.id)).await?;
    Ok(Outcome::NotAllowed)
}

/// Inserts a header without its position; false when the id is there already.
async fn insert_header(tx: &mut Transaction<'_, Sqlite>, entry: &Entry) -> Result<bool> {
    let found = &entry.summary;
    let query = Query::new(
        "INSERT INTO report (tenant, id, code, kind, source, started_ms, received_ms, duration_ms, overall, certain,
           place, direction, cause, say, site, person, ticket, agent, endpoint, agreement, differs, counted, link)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
         ON CONFLICT DO NOTHING",
    )
    .bind(entry.tenant)
    .bind(found.id)
    .bind(&found.code)
    .bind(name_of(&found.kind))
    .bind(name_of(&found.source))
    .bind(found.started)
    .bind(found.received)
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
    .bind(&found.link);
    Ok(run(tx, query).await? == 1)
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
        let query = Query::new(
            "INSERT INTO tally (tenant, resolution, bucket, site, endpoint, name, n) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (tenant, resolution, bucket, site, endpoint, name) DO UPDATE SET n = n + excluded.n",
        )
        .bind(tenant)
        .bind(resolution.seconds())
        .bind(bucket.bucket)
        .bind(bucket.site)
        .bind(bucket.endpoint)
        .bind(name)
        .bind(i64::try_from(n).unwrap_or(i64::MAX));
        run(tx, query).await?;
    }
    Ok(())
}

async fn put_sketch(tx: &mut Transaction<'_, Sqlite>, key: &SumKey, sketch: &Sketch) -> Result<()> {
    let (tenant, resolution, bucket, name) = key;
    let query = Query::new(
        "INSERT INTO rollup (tenant, resolution, bucket, site, endpoint, name, histogram)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant, resolution, bucket, site, endpoint, name)
         DO UPDATE SET histogram = excluded.histogram",
    )
    .bind(*tenant)
    .bind(resolution.seconds())
    .bind(bucket.bucket)
    .bind(&bucket.site)
    .bind(&bucket.endpoint)
    .bind(name)
    .bind(sketch.to_bytes());
    run(tx, query).await.map(drop)
}

fn pack(batch: Vec<Entry>) -> Result<Vec<(Entry, Option<Packed>)>> {
    let pack = |entry: Entry| -> io::Result<_> {
        let packed = entry.raw.as_ref().map(|json| Packed::new(entry.tenant, entry.summary.id, json));
        let packed = packed.transpose()?;
        Ok((entry, packed))
    };
    let packed: io::Result<Vec<_>> = batch.into_iter().map(pack).collect();
    packed.map_err(|error| StoreError::Unavailable(format!("cannot compress a report: {error}")))
}
