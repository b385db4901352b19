//! Reports into PostgreSQL: one transaction a batch, a handful of statements whatever its size.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use greenroom_reports::metrics::sketch::Sketch;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::backend::{run, storable};
use super::partitions::day;
use super::pending::{self, Pending};
use super::{PostgresStore, within};
use crate::rollup::{SumKey, Sums};
use crate::store::sql::agents::count_run;
use crate::store::sql::links::take_use;
use crate::store::sql::reports::insert_note;
use crate::store::sql::{
    Backend as _, Entry, Numbered, Query, blocking, broken, figures_text, list_text, stored_sketch,
};
use crate::store::{Outcome, Resolution, Result, StoreError, Tenant, name_of};

/// How hard to compress: what is left to gain is in base64 alone.
const LEVEL: i32 = 1;

/// A report with its JSON as one zstd frame.
type Packed = (Entry, Option<Vec<u8>>);

impl PostgresStore {
    pub(super) async fn keep_all(&self, batch: Vec<Entry>, whole: Option<Sums>) -> Result<Vec<Outcome>> {
        let batch = blocking(move || pack_all(batch)).await??;
        within(async {
            let mut connection = self.pool.acquire().await.map_err(broken)?;
            let days: BTreeSet<_> = batch.iter().map(|(entry, _)| day(entry.summary.received)).collect();
            self.partitions.make(&mut connection, &days).await?;
            let number = self.next_number(Numbered::Note);
            let outcomes = keep(&mut connection, &self.pending, &batch, whole, number).await?;
            self.pending.add_up_much(&mut connection).await;
            Ok(outcomes)
        })
        .await
    }
}

async fn keep(
    connection: &mut PgConnection,
    waiting: &Pending,
    batch: &[Packed],
    whole: Option<Sums>,
    note_number: &str,
) -> Result<Vec<Outcome>> {
    use sqlx::Connection as _;
    let mut tx = connection.begin().await.map_err(broken)?;
    let mut fresh = insert_ids(&mut tx, batch).await?;
    let refused = use_links(&mut tx, batch, &fresh).await?;
    fresh.retain(|index| !refused.contains(index));
    let outcome = |index| match () {
        () if fresh.contains(&index) => Outcome::Accepted,
        () if refused.contains(&index) => Outcome::NotAllowed,
        () => Outcome::Duplicate,
    };
    let outcomes = (0..batch.len()).map(outcome).collect();
    if whole.is_some() && fresh.len() < batch.len() {
        tx.rollback().await.map_err(broken)?;
        return Ok(outcomes);
    }
    let kept: Vec<&Packed> = fresh.iter().filter_map(|index| batch.get(*index)).collect();
    count_runs(&mut tx, &kept).await?;
    insert_headers(&mut tx, &kept).await?;
    insert_raw(&mut tx, &kept).await?;
    let is_whole = whole.is_some();
    let mut sums = whole.unwrap_or_default();
    for (entry, _) in kept {
        match &entry.adds {
            Some(adds) if is_whole => sums.add(entry.tenant, adds),
            Some(adds) => sums.add_finest(entry.tenant, adds),
            None => {}
        }
        for note in &entry.notes {
            run(&mut tx, insert_note(note_number, entry.tenant, entry.summary.id, note)).await?;
        }
    }
    if is_whole {
        pending::alone(&mut tx).await?;
        add_sketches(&mut tx, sums.sketches).await?;
        add_tallies(&mut tx, sums.tallies).await?;
    } else {
        waiting.put_aside(&mut tx, sums).await?;
    }
    tx.commit().await.map_err(broken)?;
    Ok(outcomes)
}

/// Inserts the ids that are not there yet, in their order; which reports of the batch are new, each id once.
async fn insert_ids(connection: &mut PgConnection, batch: &[Packed]) -> Result<BTreeSet<usize>> {
    let mut first: BTreeMap<(Tenant, Uuid), usize> = BTreeMap::new();
    for (index, (entry, _)) in batch.iter().enumerate() {
        first.entry((entry.tenant, entry.summary.id)).or_insert(index);
    }
    let entries = || first.values().filter_map(|index| batch.get(*index)).map(|(entry, _)| entry);
    let told = sqlx::query(
        "INSERT INTO report_id (tenant, id, received_ms) SELECT * FROM UNNEST($1::int8[], $2::uuid[], $3::int8[])
         ON CONFLICT DO NOTHING RETURNING tenant, id",
    )
    .bind(entries().map(|entry| entry.tenant.0).collect::<Vec<_>>())
    .bind(entries().map(|entry| entry.summary.id).collect::<Vec<_>>())
    .bind(entries().map(|entry| entry.summary.received.as_millisecond()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(broken)?;
    let mut fresh = BTreeSet::new();
    for row in told {
        let key = (Tenant(row.try_get("tenant").map_err(broken)?), row.try_get("id").map_err(broken)?);
        fresh.extend(first.get(&key));
    }
    Ok(fresh)
}

/// Uses up check links, link by link; which reports came by one that is not good any more, and are not kept. Whoever sends one again
/// whose answer was lost is told that it is there, also by a link that is used up.
async fn use_links(
    connection: &mut PgConnection,
    batch: &[Packed],
    fresh: &BTreeSet<usize>,
) -> Result<BTreeSet<usize>> {
    let mut using: Vec<(Tenant, &str, usize)> = Vec::new();
    for index in fresh {
        let Some((entry, _)) = batch.get(*index) else { continue };
        if let Some(link) = entry.summary.link.as_deref().filter(|_| entry.uses_link) {
            using.push((entry.tenant, link, *index));
        }
    }
    using.sort_unstable();
    let mut refused = BTreeSet::new();
    for (tenant, link, index) in using {
        let Some((entry, _)) = batch.get(index) else { continue };
        if run(connection, take_use(tenant, link, entry.summary.received)).await? == 0 {
            let query = Query::new("DELETE FROM report_id WHERE tenant = $1 AND id = $2");
            run(connection, query.bind(tenant).bind(entry.summary.id)).await?;
            refused.insert(index);
        }
    }
    Ok(refused)
}

/// Counts the reports of agents, agent by agent.
async fn count_runs(connection: &mut PgConnection, kept: &[&Packed]) -> Result<()> {
    let mut runs: Vec<_> = kept
        .iter()
        .filter_map(|(entry, _)| Some((entry.tenant, entry.run.as_ref()?, entry.summary.received)))
        .collect();
    runs.sort_unstable();
    for (tenant, of_agent, received) in runs {
        run(connection, count_run(tenant, of_agent, received)).await?;
    }
    Ok(())
}

async fn insert_headers(connection: &mut PgConnection, kept: &[&Packed]) -> Result<()> {
    if kept.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        (|$entry:ident| $value:expr) => {
            kept.iter()
                .map(|(entry, _)| {
                    let $entry = entry;
                    $value
                })
                .collect::<Vec<_>>()
        };
    }
    let text = |text: &str| storable(text.to_owned());
    let maybe = |text: &Option<String>| text.clone().map(storable);
    sqlx::query(
        "INSERT INTO report (tenant, id, code, kind, source, started_ms, received_ms, duration_ms, overall, certain,
           place, direction, cause, say, site, person, ticket, agent, endpoint, agreement, differs, counted, link, provider,
           figures, has_raw)
         SELECT * FROM UNNEST($1::int8[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::int8[], $7::int8[], $8::float8[],
           $9::text[], $10::bool[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
           $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[], $26::bool[])",
    )
    .bind(column!(|entry| entry.tenant.0))
    .bind(column!(|entry| entry.summary.id))
    .bind(column!(|entry| text(&entry.summary.code)))
    .bind(column!(|entry| name_of(&entry.summary.kind)))
    .bind(column!(|entry| name_of(&entry.summary.source)))
    .bind(column!(|entry| entry.summary.started.as_millisecond()))
    .bind(column!(|entry| entry.summary.received.as_millisecond()))
    .bind(column!(|entry| entry.summary.duration_ms))
    .bind(column!(|entry| name_of(&entry.summary.overall)))
    .bind(column!(|entry| entry.summary.certain))
    .bind(column!(|entry| entry.summary.place.as_ref().map(name_of)))
    .bind(column!(|entry| entry.summary.direction.as_ref().map(name_of)))
    .bind(column!(|entry| maybe(&entry.summary.cause)))
    .bind(column!(|entry| text(&entry.summary.say)))
    .bind(column!(|entry| maybe(&entry.summary.site)))
    .bind(column!(|entry| maybe(&entry.summary.person)))
    .bind(column!(|entry| maybe(&entry.summary.ticket)))
    .bind(column!(|entry| maybe(&entry.summary.agent)))
    .bind(column!(|entry| maybe(&entry.summary.endpoint)))
    .bind(column!(|entry| name_of(&entry.summary.agreement)))
    .bind(column!(|entry| list_text(&entry.summary.differs)))
    .bind(column!(|entry| name_of(&entry.summary.counted)))
    .bind(column!(|entry| maybe(&entry.summary.link)))
    .bind(column!(|entry| maybe(&entry.provider)))
    .bind(column!(|entry| maybe(&figures_text(entry.figures.as_ref()))))
    .bind(column!(|entry| entry.raw.is_some()))
    .execute(connection)
    .await
    .map(drop)
    .map_err(broken)
}

async fn insert_raw(connection: &mut PgConnection, kept: &[&Packed]) -> Result<()> {
    let with_raw = || kept.iter().filter_map(|(entry, packed)| Some((entry, packed.as_deref()?)));
    if with_raw().next().is_none() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO report_raw (tenant, id, received_ms, zstd)
         SELECT * FROM UNNEST($1::int8[], $2::uuid[], $3::int8[], $4::bytea[])",
    )
    .bind(with_raw().map(|(entry, _)| entry.tenant.0).collect::<Vec<_>>())
    .bind(with_raw().map(|(entry, _)| entry.summary.id).collect::<Vec<_>>())
    .bind(with_raw().map(|(entry, _)| entry.summary.received.as_millisecond()).collect::<Vec<_>>())
    .bind(with_raw().map(|(_, packed)| packed).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map(drop)
    .map_err(broken)
}

/// The parts of keys, column by column.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) tenants: Vec<i64>,
    pub(super) resolutions: Vec<i64>,
    pub(super) buckets: Vec<i64>,
    pub(super) sites: Vec<String>,
    pub(super) endpoints: Vec<String>,
    pub(super) names: Vec<String>,
}

impl<'a> FromIterator<&'a SumKey> for Keys {
    fn from_iter<I: IntoIterator<Item = &'a SumKey>>(keys: I) -> Self {
        let mut columns = Self::default();
        for (tenant, resolution, bucket, name) in keys {
            columns.tenants.push(tenant.0);
            columns.resolutions.push(resolution.seconds());
            columns.buckets.push(bucket.bucket);
            columns.sites.push(storable(bucket.site.clone()));
            columns.endpoints.push(storable(bucket.endpoint.clone()));
            columns.names.push(storable(name.clone()));
        }
        columns
    }
}

macro_rules! bind_keys {
    ($query:expr, $keys:expr) => {{
        let keys = $keys;
        $query
            .bind(keys.tenants)
            .bind(keys.resolutions)
            .bind(keys.buckets)
            .bind(keys.sites)
            .bind(keys.endpoints)
            .bind(keys.names)
    }};
}

/// Adds to the stored histograms. Those that are new are inserted; the others are locked in the order of their keys, merged and
/// written. Where one was deleted in between, it is new after all.
pub(super) async fn add_sketches(
    connection: &mut PgConnection,
    mut sums: BTreeMap<SumKey, Sketch>,
) -> Result<()> {
    while !sums.is_empty() {
        for key in insert_sketches(connection, &sums).await? {
            sums.remove(&key);
        }
        if sums.is_empty() {
            break;
        }
        let mut merged = BTreeMap::new();
        for (key, stored) in lock_sketches(connection, &sums).await? {
            if let Some(mut sketch) = sums.remove(&key) {
                sketch.merge(&stored);
                merged.insert(key, sketch);
            }
        }
        update_sketches(connection, &merged).await?;
    }
    Ok(())
}

async fn insert_sketches(
    connection: &mut PgConnection,
    sums: &BTreeMap<SumKey, Sketch>,
) -> Result<Vec<SumKey>> {
    let query = sqlx::query(
        "INSERT INTO rollup (tenant, resolution, bucket, site, endpoint, name, histogram)
         SELECT * FROM UNNEST($1::int8[], $2::int8[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::bytea[])
         ON CONFLICT DO NOTHING RETURNING tenant, resolution, bucket, site, endpoint, name",
    );
    let told = bind_keys!(query, sums.keys().collect::<Keys>())
        .bind(sums.values().map(Sketch::to_bytes).collect::<Vec<_>>())
        .fetch_all(connection)
        .await
        .map_err(broken)?;
    told.iter().map(sum_key).collect()
}

async fn lock_sketches(
    connection: &mut PgConnection,
    sums: &BTreeMap<SumKey, Sketch>,
) -> Result<Vec<(SumKey, Sketch)>> {
    let query = sqlx::query(
        "SELECT tenant, resolution, bucket, site, endpoint, name, histogram FROM rollup
         JOIN UNNEST($1::int8[], $2::int8[], $3::int8[], $4::text[], $5::text[], $6::text[])
           AS wanted (tenant, resolution, bucket, site, endpoint, name)
         USING (tenant, resolution, bucket, site, endpoint, name)
         ORDER BY tenant, resolution, bucket, site, endpoint, name FOR UPDATE OF rollup",
    );
    let found =
        bind_keys!(query, sums.keys().collect::<Keys>()).fetch_all(connection).await.map_err(broken)?;
    let read = |row: &sqlx::postgres::PgRow| {
        let bytes: &[u8] = row.try_get("histogram").map_err(broken)?;
        Ok((sum_key(row)?, stored_sketch(bytes)?))
    };
    found.iter().map(read).collect()
}

async fn update_sketches(connection: &mut PgConnection, sums: &BTreeMap<SumKey, Sketch>) -> Result<()> {
    let query = sqlx::query(
        "UPDATE rollup SET histogram = merged.histogram
         FROM UNNEST($1::int8[], $2::int8[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::bytea[])
           AS merged (tenant, resolution, bucket, site, endpoint, name, histogram)
         WHERE rollup.tenant = merged.tenant AND rollup.resolution = merged.resolution AND rollup.bucket = merged.bucket
           AND rollup.site = merged.site AND rollup.endpoint = merged.endpoint AND rollup.name = merged.name",
    );
    bind_keys!(query, sums.keys().collect::<Keys>())
        .bind(sums.values().map(Sketch::to_bytes).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(drop)
        .map_err(broken)
}

pub(super) async fn add_tallies(connection: &mut PgConnection, sums: BTreeMap<SumKey, u64>) -> Result<()> {
    if sums.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(
        "INSERT INTO tally (tenant, resolution, bucket, site, endpoint, name, n)
         SELECT * FROM UNNEST($1::int8[], $2::int8[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::int8[])
         ON CONFLICT (tenant, resolution, bucket, site, endpoint, name) DO UPDATE SET n = tally.n + excluded.n",
    );
    bind_keys!(query, sums.keys().collect::<Keys>())
        .bind(sums.values().map(|n| i64::try_from(*n).unwrap_or(i64::MAX)).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(drop)
        .map_err(broken)
}

fn sum_key(row: &sqlx::postgres::PgRow) -> Result<SumKey> {
    let seconds: i64 = row.try_get("resolution").map_err(broken)?;
    let resolution = Resolution::ALL.into_iter().find(|resolution| resolution.seconds() == seconds);
    let resolution = resolution
        .ok_or_else(|| StoreError::Damaged("a roll-up has a length that no version writes".to_owned()))?;
    let bucket = crate::store::BucketKey {
        bucket: row.try_get("bucket").map_err(broken)?,
        site: row.try_get("site").map_err(broken)?,
        endpoint: row.try_get("endpoint").map_err(broken)?,
    };
    let tenant = Tenant(row.try_get("tenant").map_err(broken)?);
    Ok((tenant, resolution, bucket, row.try_get("name").map_err(broken)?))
}

/// A report's JSON as one zstd frame.
pub(super) fn pack(json: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(json, LEVEL)
}

fn pack_all(batch: Vec<Entry>) -> Result<Vec<Packed>> {
    let packed = || -> io::Result<Vec<Packed>> {
        let mut packer = zstd::bulk::Compressor::new(LEVEL)?;
        let pack = |entry: Entry| {
            let packed = entry.raw.as_deref().map(|json| packer.compress(json)).transpose()?;
            Ok((entry, packed))
        };
        batch.into_iter().map(pack).collect()
    };
    packed().map_err(|error| StoreError::Unavailable(format!("cannot compress a report: {error}")))
}
