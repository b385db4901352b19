//! Reports into SQLite: one transaction a batch, after the raw bytes are synced, and a handful of statements for many rows each.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use super::many::{placeholders, steps};
use super::raw::{Packed, Packer, Position};
use super::{SqliteStore, begin, run};
use crate::rollup::{SumKey, Sums};
use crate::store::sql::agents::count_run;
use crate::store::sql::links::take_use;
use crate::store::sql::reports::insert_note;
use crate::store::sql::{
    Backend as _, Entry, Numbered, Query, blocking, broken, figures_text, list_text, rows as read,
    stored_sketch,
};
use crate::store::{Outcome, Resolution, Result, StoreError, Tenant, day_of, name_of};

use greenroom_reports::metrics::sketch::Sketch;

/// A report, and its JSON packed.
type Ready = (Entry, Option<Packed>);

/// A report's bytes: whose they are, which, and when they were received.
type Bytes = (Tenant, Uuid, Timestamp, Packed);

/// The reports of one day: whose they are, and their bytes.
type DayOf = (Vec<(Tenant, Uuid)>, Vec<Packed>);

impl SqliteStore {
    pub(super) async fn keep_all(&self, batch: Vec<Entry>, whole: Option<Sums>) -> Result<Vec<Outcome>> {
        // Packing costs time that nobody else should wait for: before the lock.
        let batch = blocking(move || pack(batch)).await??;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer).await?;
        let outcomes = outcomes(&mut tx, &batch).await?;
        if whole.is_some() && outcomes.iter().any(|outcome| *outcome != Outcome::Accepted) {
            tx.rollback().await.map_err(broken)?;
            return Ok(outcomes);
        }
        let fresh = batch.into_iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Accepted);
        let is_whole = whole.is_some();
        let (fresh, sums, packed) = blocking({
            let fresh: Vec<Ready> = fresh.map(|(ready, _)| ready).collect();
            move || add_up(fresh, whole)
        })
        .await?;
        let positions = self.write_raw(packed).await?;
        insert_headers(&mut tx, &fresh, &positions).await?;
        for entry in &fresh {
            if let Some(of_agent) = &entry.run {
                run(&mut tx, count_run(entry.tenant, of_agent, entry.summary.received)).await?;
            }
            for note in &entry.notes {
                let number = self.next_number(Numbered::Note);
                run(&mut tx, insert_note(number, entry.tenant, entry.summary.id, note)).await?;
            }
        }
        if is_whole {
            add_sketches(&mut tx, sums.sketches).await?;
            add_tallies(&mut tx, sums.tallies).await?;
        } else {
            self.put_aside(&mut tx, sums).await?;
        }
        tx.commit().await.map_err(broken)?;
        self.add_up_much(&mut writer).await;
        Ok(outcomes)
    }

    /// Appends reports' bytes to their days' files; where each lies.
    async fn write_raw(&self, packed: Vec<Bytes>) -> Result<Positions> {
        let mut days: BTreeMap<String, DayOf> = BTreeMap::new();
        for (tenant, id, received, packed) in packed {
            let (names, packs) = days.entry(day_of(received)).or_default();
            names.push((tenant, id));
            packs.push(packed);
        }
        let mut positions = Positions::new();
        for (day, (names, packs)) in days {
            let files = self.files.clone();
            let written = blocking(move || files.append(&day, &packs)).await?;
            let lie = written
                .map_err(|error| StoreError::Unavailable(format!("cannot write raw reports: {error}")))?;
            positions.extend(names.into_iter().zip(lie));
        }
        Ok(positions)
    }
}

type Positions = BTreeMap<(Tenant, Uuid), Position>;

/// Reports apart from their bytes, and what they add: to given sums, or to those of five minutes.
fn add_up(fresh: Vec<Ready>, whole: Option<Sums>) -> (Vec<Entry>, Sums, Vec<Bytes>) {
    let is_whole = whole.is_some();
    let mut sums = whole.unwrap_or_default();
    let (mut entries, mut packs) = (Vec::with_capacity(fresh.len()), Vec::with_capacity(fresh.len()));
    for (mut entry, packed) in fresh {
        if let Some(adds) = entry.adds.take() {
            match is_whole {
                true => sums.add(entry.tenant, &adds),
                false => sums.add_finest(entry.tenant, &adds),
            }
        }
        if let Some(packed) = packed {
            packs.push((entry.tenant, entry.summary.id, entry.summary.received, packed));
        }
        entries.push(entry);
    }
    (entries, sums, packs)
}

/// What becomes of each report. This connection is the only one that writes: what is not there now will not be before its commit.
async fn outcomes(tx: &mut Transaction<'_, Sqlite>, batch: &[Ready]) -> Result<Vec<Outcome>> {
    let mut known = known(tx, batch).await?;
    let mut outcomes = Vec::with_capacity(batch.len());
    for (entry, _) in batch {
        let found = &entry.summary;
        if known.contains(&(entry.tenant, found.id)) {
            // Whoever sends one again whose answer was lost is told that it is there, also by a link that is used up.
            outcomes.push(Outcome::Duplicate);
            continue;
        }
        if let Some(link) = found.link.as_ref().filter(|_| entry.uses_link)
            && run(tx, take_use(entry.tenant, link, found.received)).await? == 0
        {
            outcomes.push(Outcome::NotAllowed);
            continue;
        }
        known.insert((entry.tenant, found.id));
        outcomes.push(Outcome::Accepted);
    }
    Ok(outcomes)
}

/// Which of these reports are there already.
async fn known(tx: &mut Transaction<'_, Sqlite>, batch: &[Ready]) -> Result<BTreeSet<(Tenant, Uuid)>> {
    let mut known = BTreeSet::new();
    for some in steps(batch) {
        let mut query = Query::new(format!(
            "SELECT tenant, id FROM report WHERE (tenant, id) IN (VALUES {})",
            placeholders(some.len(), 2)
        ));
        for (entry, _) in some {
            query = query.bind(entry.tenant).bind(entry.summary.id);
        }
        for row in super::backend::rows(tx, query).await? {
            known.insert((read::tenant(&row)?, row.id("id")?));
        }
    }
    Ok(known)
}

async fn insert_headers(
    tx: &mut Transaction<'_, Sqlite>,
    fresh: &[Entry],
    positions: &Positions,
) -> Result<()> {
    for some in steps(fresh) {
        let mut query = Query::new(format!(
            "INSERT INTO report (tenant, id, code, kind, source, started_ms, received_ms, duration_ms, overall, certain,
               place, direction, cause, say, site, person, ticket, agent, endpoint, agreement, differs, counted, link,
               provider, figures, raw_day, raw_offset, raw_length)
             VALUES {}",
            placeholders(some.len(), 28)
        ));
        for entry in some {
            let at = positions.get(&(entry.tenant, entry.summary.id));
            query = bind_header(query, entry)
                .bind(at.map(|at| at.day.as_str()))
                .bind(at.map(|at| at.offset.cast_signed()))
                .bind(at.map(|at| at.length.cast_signed()));
        }
        run(tx, query).await?;
    }
    Ok(())
}

fn bind_header(query: Query, entry: &Entry) -> Query {
    let found = &entry.summary;
    query
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
        .bind(&found.link)
        .bind(&entry.provider)
        .bind(figures_text(entry.figures.as_ref()))
}

/// The key of a sum, as it stands in both tables.
fn bind_key(query: Query, (tenant, resolution, bucket, name): &SumKey) -> Query {
    query
        .bind(*tenant)
        .bind(resolution.seconds())
        .bind(bucket.bucket)
        .bind(&bucket.site)
        .bind(&bucket.endpoint)
        .bind(name)
}

/// Adds to the stored histograms: they are read, merged and written again, each once per batch.
pub(super) async fn add_sketches(
    tx: &mut Transaction<'_, Sqlite>,
    mut sums: BTreeMap<SumKey, Sketch>,
) -> Result<()> {
    let keys: Vec<SumKey> = sums.keys().cloned().collect();
    for some in steps(&keys) {
        let mut query = Query::new(format!(
            "SELECT tenant, resolution, bucket, site, endpoint, name, histogram FROM rollup
             WHERE (tenant, resolution, bucket, site, endpoint, name) IN (VALUES {})",
            placeholders(some.len(), 6)
        ));
        for key in some {
            query = bind_key(query, key);
        }
        for row in super::backend::rows(tx, query).await? {
            let (bucket, name) = read::bucket_key(&row)?;
            let seconds = row.int("resolution")?;
            let resolution = Resolution::ALL.into_iter().find(|length| length.seconds() == seconds);
            let Some(resolution) = resolution else { continue };
            let stored = stored_sketch(&row.bytes("histogram")?)?;
            if let Some(sum) = sums.get_mut(&(read::tenant(&row)?, resolution, bucket, name)) {
                sum.merge(&stored);
            }
        }
    }
    let sums: Vec<_> = sums.into_iter().collect();
    for some in steps(&sums) {
        let mut query = Query::new(format!(
            "INSERT INTO rollup (tenant, resolution, bucket, site, endpoint, name, histogram) VALUES {}
             ON CONFLICT (tenant, resolution, bucket, site, endpoint, name)
             DO UPDATE SET histogram = excluded.histogram",
            placeholders(some.len(), 7)
        ));
        for (key, sketch) in some {
            query = bind_key(query, key).bind(sketch.to_bytes());
        }
        run(tx, query).await?;
    }
    Ok(())
}

pub(super) async fn add_tallies(tx: &mut Transaction<'_, Sqlite>, sums: BTreeMap<SumKey, u64>) -> Result<()> {
    let sums: Vec<_> = sums.into_iter().collect();
    for some in steps(&sums) {
        let mut query = Query::new(format!(
            "INSERT INTO tally (tenant, resolution, bucket, site, endpoint, name, n) VALUES {}
             ON CONFLICT (tenant, resolution, bucket, site, endpoint, name) DO UPDATE SET n = n + excluded.n",
            placeholders(some.len(), 7)
        ));
        for (key, n) in some {
            query = bind_key(query, key).bind(i64::try_from(*n).unwrap_or(i64::MAX));
        }
        run(tx, query).await?;
    }
    Ok(())
}

fn pack(batch: Vec<Entry>) -> Result<Vec<Ready>> {
    let packed = || -> io::Result<Vec<Ready>> {
        let mut packer = Packer::new()?;
        let pack = |mut entry: Entry| {
            let json = entry.raw.take();
            let packed = json.map(|json| packer.pack(entry.tenant, entry.summary.id, &json)).transpose()?;
            Ok((entry, packed))
        };
        batch.into_iter().map(pack).collect()
    };
    packed().map_err(|error| StoreError::Unavailable(format!("cannot compress a report: {error}")))
}
