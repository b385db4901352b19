//! The fleet's figures, read from the store piece by piece: a month by hours has more histograms than should be in memory at once.

use std::sync::Arc;

use jiff::Timestamp;

use crate::fleet::Fleet;
use crate::store::{Result, RollupQuery, Store, StoreError, Tenant};

/// Buckets of each series that are read at once.
const PIECE: i64 = 16;

/// What the roll-ups of a tenant say together; those that begin before `start` (in seconds since 1970) are what was before.
///
/// # Errors
/// When the store fails, or a histogram in it is damaged.
pub(crate) async fn fleet(
    store: &Arc<dyn Store>,
    tenant: Tenant,
    query: &RollupQuery,
    start: i64,
) -> Result<Fleet> {
    store.settle().await?;
    let mut pieces = pieces(query).into_iter();
    let mut fleet = Fleet::default();
    let read = |piece: RollupQuery| async move { store.histograms(tenant, &piece, "rtt").await };
    let first = async {
        match pieces.next() {
            Some(piece) => read(piece).await.map(Some),
            None => Ok(None),
        }
    };
    let (totals, mut next) = tokio::try_join!(store.totals(tenant, query, start), first)?;
    fleet.add_totals(&totals);
    while let Some(trips) = next {
        // Thousands of histograms are merged here, beside the reading of the next ones.
        let merging = tokio::task::spawn_blocking(move || {
            let added = fleet.add_trips(&trips, start);
            added.map(|()| fleet)
        });
        next = match pieces.next() {
            Some(piece) => Some(read(piece).await?),
            None => None,
        };
        let merged = merging.await;
        let merged = merged.map_err(|error| StoreError::Unavailable(format!("a helper thread: {error}")))?;
        fleet = merged.map_err(|error| StoreError::Damaged(format!("a roll-up: {error}")))?;
    }
    fleet.sum_up();
    Ok(fleet)
}

/// A query in parts, one after the other in time.
fn pieces(query: &RollupQuery) -> Vec<RollupQuery> {
    let length = PIECE * query.resolution.seconds();
    let mut pieces = Vec::new();
    let mut from = query.from;
    while from < query.to {
        let end = Timestamp::from_second(from.as_second().saturating_add(length));
        let to = end.unwrap_or(Timestamp::MAX).min(query.to);
        pieces.push(RollupQuery { from, to, ..query.clone() });
        from = to;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::store::Resolution;
    use crate::testing::start;

    #[test]
    fn parts_follow_each_other_without_a_gap() {
        let to = start().checked_add(SignedDuration::from_hours(40)).unwrap();
        let resolution = Resolution::Hour;
        let query = RollupQuery { resolution, from: start(), to, site: Some("Lyon".into()), endpoint: None };
        let pieces = pieces(&query);
        assert_eq!(pieces.len(), 3);
        assert!(pieces.windows(2).all(|two| two[0].to == two[1].from));
        assert_eq!((pieces[0].from, pieces[2].to), (query.from, query.to));
        assert!(pieces.iter().all(|piece| piece.site.as_deref() == Some("Lyon")));
        let nothing = RollupQuery { to: query.from, ..query };
        assert!(super::pieces(&nothing).is_empty());
    }
}
