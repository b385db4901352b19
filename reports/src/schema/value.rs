//! Figures with their doubt, and what stands in their place when there is none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::confidence::{LEVEL, quantile};
use crate::metrics::percentile::{Quantile, Sorted};

/// What was looked at, or why it was not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Value<T> {
    /// Looked at; here it is.
    Measured(T),
    /// Tried, and it failed.
    Failed {
        /// Why.
        reason: String,
    },
    /// Not tried.
    NotTested {
        /// Why not.
        reason: String,
    },
}

impl<T> Value<T> {
    /// Not tried, for this reason.
    pub fn not_tested(reason: impl Into<String>) -> Self {
        Self::NotTested { reason: reason.into() }
    }

    /// Tried and failed, for this reason.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into() }
    }

    /// The figure, if there is one.
    pub fn measured(&self) -> Option<&T> {
        match self {
            Self::Measured(value) => Some(value),
            Self::Failed { .. } | Self::NotTested { .. } => None,
        }
    }
}

impl<T> Value<Exact<T>> {
    /// A plain fact.
    pub fn exact(value: T) -> Self {
        Self::Measured(Exact { value })
    }

    /// The fact, if there is one.
    pub fn fact(&self) -> Option<&T> {
        self.measured().map(|exact| &exact.value)
    }
}

impl Value<Estimate> {
    /// A figure without an interval, from `n` samples.
    pub fn estimate(value: f64, n: u64) -> Self {
        Self::Measured(Estimate { value, low: None, high: None, n })
    }
}

/// What is no estimate: it was told, counted or named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exact<T> {
    /// The fact.
    pub value: T,
}

/// A figure with its doubt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// The point estimate.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: Option<f64>,
    /// Upper end of the 95 % interval.
    pub high: Option<f64>,
    /// Samples behind it.
    pub n: u64,
}

/// A distribution: exact percentiles of what was received (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// Samples.
    pub n: u64,
    /// Least.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile. `None` when n is too small to bound it (72).
    pub p95: Option<f64>,
    /// 99th percentile. `None` when n is too small to bound it (368).
    pub p99: Option<f64>,
    /// Greatest.
    pub max: f64,
    /// Distribution-free 95 % interval of the median.
    pub p50_bounds: Option<Bounds>,
    /// Distribution-free 95 % interval of the 95th percentile.
    pub p95_bounds: Option<Bounds>,
}

impl Distribution {
    /// Exact percentiles with their distribution-free intervals; those that so few samples do not bound are left out. `None`
    /// for an empty sample.
    pub fn of(sorted: &Sorted) -> Option<Self> {
        let at = |q| sorted.at(q).map(|value| tidy(value.as_ms()));
        let bounds = |q: Quantile| {
            let found = quantile::bounds(sorted.as_slice(), q.share(), LEVEL);
            Some(Bounds { low: tidy(found.low?.as_ms()), high: found.high.map(|high| tidy(high.as_ms())) })
        };
        let n = u64::try_from(sorted.len()).unwrap_or(u64::MAX);
        let enough = |q: Quantile| quantile::least_samples(q.share(), LEVEL).is_some_and(|least| n >= least);
        Some(Self {
            n,
            min: tidy(sorted.min()?.as_ms()),
            p50: at(Quantile::P50)?,
            p95: at(Quantile::P95).filter(|_| enough(Quantile::P95)),
            p99: at(Quantile::P99).filter(|_| enough(Quantile::P99)),
            max: tidy(sorted.max()?.as_ms()),
            p50_bounds: bounds(Quantile::P50),
            p95_bounds: bounds(Quantile::P95),
        })
    }
}

/// An interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Lower end.
    pub low: f64,
    /// Upper end; `None` when the sample does not bound it.
    pub high: Option<f64>,
}

/// Six digits behind the point: a millionth of a share, a nanosecond.
pub(crate) fn tidy(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
