//! What reports add to the roll-ups, committed with them and added up later: before anybody reads roll-ups, and whenever much waits.
//!
//! A few hundred reports touch a thousand histograms, by site, name and resolution. To read, merge and write each of these with every
//! commit takes longer than all else that a commit does.

use std::sync::atomic::Ordering;

use sqlx::{Sqlite, SqliteConnection, Transaction};

use super::many::{placeholders, steps};
use super::{SqliteStore, backend, begin, ingest, run};
use crate::rollup::{SumKey, Sums};
use crate::store::sql::{Query, blocking, broken, rows as read, stored_sketch};
use crate::store::{Resolution, Result};

/// So many rows wait at most before they are added up.
const MOST: usize = 4_096;

/// Histograms that are rolled up at once.
const AT_ONCE: usize = 256;

impl SqliteStore {
    /// Adds up what waits, so that the roll-ups have all that was committed.
    pub(super) async fn settle_all(&self) -> Result<()> {
        if self.pending.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let mut writer = self.writer().await?;
        add_up(&mut writer).await?;
        self.pending.store(0, Ordering::Release);
        Ok(())
    }

    /// Adds up what waits, where it is much, by the connection that writes. What it is of is committed: where this fails, it waits on.
    pub(super) async fn add_up_much(&self, writer: &mut SqliteConnection) {
        if self.pending.load(Ordering::Acquire) < MOST {
            return;
        }
        match add_up(writer).await {
            Ok(()) => self.pending.store(0, Ordering::Release),
            Err(error) => tracing::warn!(%error, "roll-ups are not brought up to date now"),
        }
    }

    /// Has sums of five minutes wait.
    pub(super) async fn put_aside(&self, tx: &mut Transaction<'_, Sqlite>, sums: Sums) -> Result<()> {
        let sketches = sums.sketches.into_iter().map(|(key, sketch)| (key, sketch.to_bytes(), 0));
        let tallies = sums.tallies.into_iter().map(|(key, n)| (key, Vec::new(), n));
        let waiting: Vec<(SumKey, Vec<u8>, u64)> = sketches.chain(tallies).collect();
        // Before the commit: whoever sees that, sees this.
        self.pending.fetch_add(waiting.len(), Ordering::AcqRel);
        for some in steps(&waiting) {
            let mut query = Query::new(format!(
                "INSERT INTO pending (tenant, bucket, site, endpoint, name, histogram, n) VALUES {}",
                placeholders(some.len(), 7)
            ));
            for ((tenant, _, bucket, name), histogram, n) in some {
                query = query
                    .bind(*tenant)
                    .bind(bucket.bucket)
                    .bind(&bucket.site)
                    .bind(&bucket.endpoint)
                    .bind(name)
                    .bind(histogram.clone())
                    .bind(i64::try_from(*n).unwrap_or(i64::MAX));
            }
            run(tx, query).await?;
        }
        Ok(())
    }
}

/// How many rows wait.
pub(super) async fn count(connection: &mut SqliteConnection) -> sqlx::Result<usize> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM pending").fetch_one(connection).await?;
    Ok(usize::try_from(count).unwrap_or(0))
}

async fn add_up(writer: &mut SqliteConnection) -> Result<()> {
    let mut tx = begin(writer).await?;
    let waiting = backend::rows(&mut tx, Query::new("SELECT * FROM pending ORDER BY number")).await?;
    let sums = blocking(move || -> Result<Sums> {
        let mut sums = Sums::default();
        for row in &waiting {
            let (bucket, name) = read::bucket_key(row)?;
            let key = (read::tenant(row)?, Resolution::FiveMinutes, bucket, name);
            let histogram = row.bytes("histogram")?;
            if histogram.is_empty() {
                let sum = sums.tallies.entry(key).or_default();
                *sum = sum.saturating_add(row.count("n")?);
            } else {
                sums.sketches.entry(key).or_default().merge(&stored_sketch(&histogram)?);
            }
        }
        Ok(sums)
    })
    .await??;
    for part in sums.in_parts(AT_ONCE) {
        let sums = blocking(move || part.rolled_up()).await?;
        ingest::add_sketches(&mut tx, sums.sketches).await?;
        ingest::add_tallies(&mut tx, sums.tallies).await?;
    }
    run(&mut tx, Query::new("DELETE FROM pending")).await?;
    tx.commit().await.map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::read::record;
    use crate::store::{ReportStore as _, RollupQuery, Tenant};
    use crate::testing;

    #[tokio::test]
    async fn what_waits_is_there_after_a_new_start_and_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let received = testing::start().checked_add(jiff::SignedDuration::from_hours(24)).unwrap();
        let batch: Vec<_> = (0..20)
            .map(|n| {
                let report = testing::report(n);
                let raw = serde_json::to_vec(&report).unwrap();
                record(Tenant::FIRST, &report, raw, received).unwrap()
            })
            .collect();
        let mut expected = Sums::default();
        batch.iter().for_each(|record| expected.add(Tenant::FIRST, &record.adds));
        let store = SqliteStore::open(folder.path()).await.unwrap();
        for some in batch.chunks(7) {
            store.ingest(some.to_vec()).await.unwrap();
        }
        assert!(store.pending.load(Ordering::Acquire) > 0);
        store.close().await.unwrap();

        let store = SqliteStore::open(folder.path()).await.unwrap();
        assert!(store.pending.load(Ordering::Acquire) > 0, "it waits still");
        for _ in 0..2 {
            for resolution in Resolution::ALL {
                let query = RollupQuery {
                    resolution,
                    from: jiff::Timestamp::UNIX_EPOCH,
                    to: jiff::Timestamp::MAX,
                    site: None,
                    endpoint: None,
                };
                let found = store.rollups(Tenant::FIRST, &query).await.unwrap();
                let of = |(tenant, of, key, name): &SumKey| {
                    (*tenant == Tenant::FIRST && *of == resolution).then(|| (key.clone(), name.clone()))
                };
                let sketches = expected.sketches.iter();
                let sketches: std::collections::BTreeMap<_, _> =
                    sketches.filter_map(|(key, sum)| Some((of(key)?, sum.clone()))).collect();
                let tallies = expected.tallies.iter();
                let tallies: std::collections::BTreeMap<_, _> =
                    tallies.filter_map(|(key, n)| Some((of(key)?, *n))).collect();
                assert_eq!((found.sketches, found.tallies), (sketches, tallies));
            }
            store.ingest(batch.clone()).await.unwrap();
        }
        assert_eq!(store.pending.load(Ordering::Acquire), 0, "duplicates add nothing");
    }
}
