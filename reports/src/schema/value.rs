//! Figures with their doubt, and what stands in their place when there is none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// An interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Lower end.
    pub low: f64,
    /// Upper end; `None` when the sample does not bound it.
    pub high: Option<f64>,
}
