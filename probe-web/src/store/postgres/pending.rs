//! What reports add to the roll-ups, committed with them and added up later: before anybody reads roll-ups, and whenever much waits. See
//! `sqlite/pending.rs`. Here it also keeps nodes that get reports of the same site at once from waiting for each other.

use std::sync::atomic::{AtomicUsize, Ordering};

use greenroom_reports::metrics::sketch::Sketch;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::ingest::{self, Keys};
use super::{PostgresStore, within};
use crate::rollup::Sums;
use crate::store::sql::{blocking, broken, stored_sketch};
use crate::store::{BucketKey, Resolution, Result, StoreError, Tenant};

/// So many sums of this node wait at most before they are added up.
const MOST: usize = 4_096;

/// Histograms that are rolled up at once.
const AT_ONCE: usize = 256;

/// Key of the advisory lock of the node that adds up: "greensum".
const ADDING_UP: i64 = 0x6772_6565_6e73_756d;

/// Sums that this node put aside since it added up last.
#[derive(Debug, Default)]
pub(super) struct Pending(AtomicUsize);

impl Pending {
    /// Has sums of five minutes wait.
    pub(super) async fn put_aside(&self, connection: &mut PgConnection, sums: Sums) -> Result<()> {
        let count = sums.sketches.len() + sums.tallies.len();
        if count == 0 {
            return Ok(());
        }
        let keys: Keys = sums.sketches.keys().chain(sums.tallies.keys()).collect();
        let histograms = sums.sketches.values().map(Sketch::to_bytes);
        let histograms = histograms.chain(sums.tallies.keys().map(|_| Vec::new()));
        let counts = sums.sketches.keys().map(|_| 0);
        let counts = counts.chain(sums.tallies.values().map(|n| i64::try_from(*n).unwrap_or(i64::MAX)));
        sqlx::query(
            "INSERT INTO pending (tenants, buckets, sites, endpoints, names, histograms, counts)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(keys.tenants)
        .bind(keys.buckets)
        .bind(keys.sites)
        .bind(keys.endpoints)
        .bind(keys.names)
        .bind(histograms.collect::<Vec<_>>())
        .bind(counts.collect::<Vec<_>>())
        .execute(connection)
        .await
        .map_err(broken)?;
        self.0.fetch_add(count, Ordering::AcqRel);
        Ok(())
    }

    /// Adds up what waits, where it is much and nobody else does. What it is of is committed: where this fails, it waits on.
    pub(super) async fn add_up_much(&self, connection: &mut PgConnection) {
        if self.0.load(Ordering::Acquire) < MOST {
            return;
        }
        self.0.store(0, Ordering::Release);
        if let Err(error) = add_up(connection, Turn::IfFree).await {
            tracing::warn!(%error, "roll-ups are not brought up to date now");
        }
    }
}

impl PostgresStore {
    /// Adds up what waits, so that the roll-ups have all that was committed.
    pub(super) async fn settle_all(&self) -> Result<()> {
        within(async {
            let mut connection = self.pool.acquire().await.map_err(broken)?;
            let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pending)")
                .fetch_one(&mut *connection)
                .await
                .map_err(broken)?;
            if any { add_up(&mut connection, Turn::Wait).await } else { Ok(()) }
        })
        .await
    }
}

/// Who adds up where somebody else is at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// This one, afterwards.
    Wait,
    /// The other one alone.
    IfFree,
}

async fn add_up(connection: &mut PgConnection, turn: Turn) -> Result<()> {
    let mut tx = connection.begin().await.map_err(broken)?;
    let locked = match turn {
        Turn::Wait => "SELECT pg_advisory_xact_lock($1) IS NOT NULL",
        Turn::IfFree => "SELECT pg_try_advisory_xact_lock($1)",
    };
    let is_ours: bool =
        sqlx::query_scalar(locked).bind(ADDING_UP).fetch_one(&mut *tx).await.map_err(broken)?;
    if !is_ours {
        return tx.rollback().await.map_err(broken);
    }
    let waiting = sqlx::query(
        "DELETE FROM pending RETURNING tenants, buckets, sites, endpoints, names, histograms, counts",
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(broken)?;
    let sums = blocking(move || -> Result<Sums> {
        let mut sums = Sums::default();
        for row in &waiting {
            add(&mut sums, row)?;
        }
        Ok(sums)
    })
    .await??;
    for part in sums.in_parts(AT_ONCE) {
        let sums = blocking(move || part.rolled_up()).await?;
        ingest::add_sketches(&mut tx, sums.sketches).await?;
        ingest::add_tallies(&mut tx, sums.tallies).await?;
    }
    tx.commit().await.map_err(broken)
}

/// Waits until nobody else adds to the roll-ups, up to the end of this transaction: who adds in several steps locks them in no order.
pub(super) async fn alone(connection: &mut PgConnection) -> Result<()> {
    let locked = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(ADDING_UP);
    locked.execute(connection).await.map(drop).map_err(broken)
}

/// Adds what one commit put aside.
fn add(sums: &mut Sums, row: &PgRow) -> Result<()> {
    let tenants: Vec<i64> = row.try_get("tenants").map_err(broken)?;
    let buckets: Vec<i64> = row.try_get("buckets").map_err(broken)?;
    let sites: Vec<String> = row.try_get("sites").map_err(broken)?;
    let endpoints: Vec<String> = row.try_get("endpoints").map_err(broken)?;
    let names: Vec<String> = row.try_get("names").map_err(broken)?;
    let histograms: Vec<Vec<u8>> = row.try_get("histograms").map_err(broken)?;
    let counts: Vec<i64> = row.try_get("counts").map_err(broken)?;
    let keys = buckets.into_iter().zip(sites).zip(endpoints);
    let keys = keys.map(|((bucket, site), endpoint)| BucketKey { bucket, site, endpoint });
    let values = histograms.into_iter().zip(counts);
    for (((tenant, key), name), (histogram, n)) in tenants.into_iter().zip(keys).zip(names).zip(values) {
        let key = (Tenant(tenant), Resolution::FiveMinutes, key, name);
        if histogram.is_empty() {
            let n = u64::try_from(n).map_err(|_| StoreError::Damaged("a count is negative".to_owned()))?;
            let sum = sums.tallies.entry(key).or_default();
            *sum = sum.saturating_add(n);
        } else {
            sums.sketches.entry(key).or_default().merge(&stored_sketch(&histogram)?);
        }
    }
    Ok(())
}
