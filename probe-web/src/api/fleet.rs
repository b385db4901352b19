//! What many reports say together.

use axum::Json;
use axum::extract::State;
use greenroom_reports::metrics::percentile::Quantile;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

use super::params::Params;
use super::reader::Reader;
use super::refusals::{NoReader, NoStore};
use crate::app::AppState;
use crate::fleet::{Figures, Fleet};
use crate::gathering;
use crate::problem::Problem;
use crate::store::{Resolution, RollupQuery};

/// Most buckets of an answer: a month of hours, a week of five minutes with some to spare.
const MOST_BUCKETS: i64 = 2_100;

/// How long the buckets are.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
enum Step {
    /// Five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// An hour.
    #[serde(rename = "1h")]
    Hour,
    /// A day, in UTC.
    #[serde(rename = "1d")]
    Day,
}

impl Step {
    const fn resolution(self) -> Resolution {
        match self {
            Self::FiveMinutes => Resolution::FiveMinutes,
            Self::Hour => Resolution::Hour,
            Self::Day => Resolution::Day,
        }
    }
}

/// Of what.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// From the bucket that holds this (RFC 3339).
    from: Timestamp,
    /// To the bucket that holds this, and with it (RFC 3339).
    to: Timestamp,
    /// How long the buckets are.
    #[param(inline)]
    step: Step,
    /// Of this site alone; empty for reports without one.
    site: Option<String>,
    /// Of this endpoint alone; empty for reports without one.
    endpoint: Option<String>,
}

/// What reports say together. What cannot be told from them is not there.
#[derive(Debug, Serialize, ToSchema)]
struct Sums {
    /// Reports.
    reports: u64,
    /// Reports by verdict.
    verdicts: BTreeMap<String, u64>,
    /// Share with trouble of those that tell good from bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble_ratio: Option<f64>,
    /// Round trips that the percentiles are of.
    rtt_samples: u64,
    /// Percentiles of all round trips together, in milliseconds, to 1 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ms: Option<Percentiles>,
    /// Share of packets lost on the way to endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_up_ratio: Option<f64>,
    /// Share of packets lost on the way from endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_down_ratio: Option<f64>,
}

/// Percentiles.
#[derive(Debug, Serialize, ToSchema)]
struct Percentiles {
    p50: f64,
    p95: f64,
    p99: f64,
}

impl From<&Figures> for Sums {
    fn from(figures: &Figures) -> Self {
        let at = |quantile| figures.trip(quantile);
        let percentiles = match (at(Quantile::P50), at(Quantile::P95), at(Quantile::P99)) {
            (Some(p50), Some(p95), Some(p99)) => Some(Percentiles { p50, p95, p99 }),
            _ => None,
        };
        Self {
            reports: figures.reports(),
            verdicts: figures.verdicts.clone(),
            trouble_ratio: figures.bad_share(),
            rtt_samples: figures.trips(),
            rtt_ms: percentiles,
            lost_up_ratio: figures.lost_up(),
            lost_down_ratio: figures.lost_down(),
        }
    }
}

/// What reports of one site to one endpoint say.
#[derive(Debug, Serialize, ToSchema)]
struct OfSeries {
    /// The site; empty for reports without one.
    site: String,
    /// The endpoint; empty for reports without one.
    endpoint: String,
    #[serde(flatten)]
    sums: Sums,
}

/// What reports of one stretch of time say.
#[derive(Debug, Serialize, ToSchema)]
struct OfBucket {
    /// When it begins.
    begins: Timestamp,
    #[serde(flatten)]
    sums: Sums,
}

/// Figures of a fleet.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Told {
    /// Where the first bucket begins.
    from: Timestamp,
    /// Where the last one ends.
    to: Timestamp,
    /// All together.
    all: Sums,
    /// By site and endpoint.
    series: Vec<OfSeries>,
    /// Over time; buckets without a report are not there.
    over_time: Vec<OfBucket>,
}

/// What many reports say together.
///
/// Percentiles come from merged histograms, never from a mean of percentiles.
#[utoipa::path(
    get, path = "/api/v1/fleet", tag = "fleet", params(Asked),
    security(("read_key" = []), ("session" = [])),
    responses(
        (status = 200, description = "The figures", body = Told, headers(("ETag" = String, description = "Of exactly this answer"))),
        (status = 304, description = "As `If-None-Match` has it"),
        (status = 400, description = "The query cannot be read, or asks for too much", body = Problem, content_type = "application/problem+json"),
        NoReader, NoStore,
    )
)]
pub(super) async fn figures(
    State(state): State<AppState>,
    reader: Reader,
    Params(asked): Params<Asked>,
) -> Result<Json<Told>, Problem> {
    let resolution = asked.step.resolution();
    let start = resolution.bucket(asked.from);
    let end = resolution.bucket(asked.to) + resolution.seconds();
    if end <= start {
        return Err(Problem::bad_request("to is before from"));
    }
    if (end - start) / resolution.seconds() > MOST_BUCKETS {
        return Err(Problem::bad_request(format!(
            "this is more than {MOST_BUCKETS} steps; ask for longer ones, or for less time"
        )));
    }
    let time = |seconds| Timestamp::from_second(seconds).map_err(|_| Problem::bad_request("no such time"));
    let (from, to) = (time(start)?, time(end)?);
    let query = RollupQuery { resolution, from, to, site: asked.site, endpoint: asked.endpoint };
    let fleet = gathering::fleet(&state.store, reader.tenant, &query, start).await?;
    Ok(Json(told(&fleet, from, to)))
}

fn told(fleet: &Fleet, from: Timestamp, to: Timestamp) -> Told {
    let series = fleet.series.iter().map(|(series, (now, _))| OfSeries {
        site: series.site.clone(),
        endpoint: series.endpoint.clone(),
        sums: now.into(),
    });
    let over_time = fleet.over_time.iter().filter_map(|(bucket, figures)| {
        Some(OfBucket { begins: Timestamp::from_second(*bucket).ok()?, sums: figures.into() })
    });
    Told { from, to, all: (&fleet.all).into(), series: series.collect(), over_time: over_time.collect() }
}
