//! What change detection would have learned from a month of a fleet that has just been made up.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use greenroom::simulate::model::{Fleet, FleetSpec};
use greenroom_web::detect::{Baseline, Figure, HOURS};
use greenroom_web::store::postgres::PostgresStore;
use greenroom_web::store::{IncidentStore as _, StoredBaseline, Tenant};
use jiff::{SignedDuration, Timestamp};

use super::SEED;
use crate::Fallible;

/// Runs of four weeks, one each five minutes.
const RUNS: i64 = 28 * 288;

/// Agents of which a month is made up; all others are like one of them. To make one up for each takes a quarter of an hour.
pub(super) const DIFFERENT: u32 = 40;

/// Agents at once.
const AT_ONCE: usize = 16;

/// Keeps what is usual for so many agents of the fleet.
pub(super) async fn keep(store: &PostgresStore, agents: u32, now: Timestamp) -> Fallible<()> {
    if agents == 0 {
        return Ok(());
    }
    let from = now.checked_sub(SignedDuration::from_hours(28 * 24))?;
    let fleet = Fleet::new(FleetSpec { seed: SEED, agents, every_s: 300, hourly: true, from, until: now });
    let learned: Vec<_> = (0..DIFFERENT.min(agents)).map(|index| learn(&fleet, index, from)).collect();
    let (fleet, learned) = (Arc::new(fleet), Arc::new(learned));
    let each = futures_util::stream::iter(0..agents).map(|index| {
        let (fleet, learned) = (Arc::clone(&fleet), Arc::clone(&learned));
        async move {
            let member = fleet.member(index);
            let alike = learned.get(usize::try_from(index % DIFFERENT)?).ok_or("an agent has no like")?;
            let agent = member.id.to_string();
            let all: Vec<StoredBaseline> = alike
                .iter()
                .map(|(figure, bytes)| StoredBaseline {
                    agent: agent.clone(),
                    endpoint: fleet.endpoint(&member).to_owned(),
                    figure: *figure,
                    learned: now,
                    every: 1,
                    bytes: bytes.clone(),
                })
                .collect();
            store.keep_baselines(Tenant::FIRST, &agent, &all).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        }
    });
    each.buffer_unordered(AT_ONCE).try_collect::<()>().await
}

/// What is usual for an agent after its month.
fn learn(fleet: &Fleet, index: u32, from: Timestamp) -> Vec<(Figure, Vec<u8>)> {
    let member = fleet.member(index);
    let runs: Vec<_> = (0..RUNS)
        .map(|run| (run, from + SignedDuration::from_mins(5 * run)))
        .map(|(run, at)| (hour_of_week(at), fleet.figures(&member, run, at)))
        .collect();
    let history = |figure: Figure| -> Vec<(usize, f64)> {
        let value = |found: &greenroom::simulate::model::Figures| match figure {
            Figure::RttP50 => found.rtt_ms,
            Figure::PdvUpP95 | Figure::PdvDownP95 => found.pdv_ms,
            Figure::LossUp => found.loss_up,
            Figure::LossDown => found.loss_down,
            Figure::Verdict | Figure::Silence => 0.0,
        };
        runs.iter().map(|(hour, found)| (*hour, value(found))).collect()
    };
    let one = |figure| Some((figure, Baseline::learn(figure, &history(figure))?.to_bytes()));
    Figure::ALL.into_iter().filter_map(one).collect()
}

/// Monday 00:00 UTC is 0; the first of January 1970 was a Thursday.
fn hour_of_week(at: Timestamp) -> usize {
    usize::try_from(at.as_second().div_euclid(3_600) + 3 * 24).unwrap_or(0) % HOURS
}
