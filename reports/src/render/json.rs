//! JSON: the report as it is stored and sent. Field order is that of [`crate::schema`].

use ciborium::Value;
use thiserror::Error;

use crate::schema::Report;

/// Why a report cannot be written as JSON.
#[derive(Debug, Error)]
pub enum JsonError {
    /// A figure is NaN or infinite. JSON knows neither; a figure that is not there has a reason instead.
    #[error("{path} is not a finite number; a figure that was not measured needs a reason in its place")]
    NotFinite {
        /// Where it stands: `targets.0.rtt_ms.p50`.
        path: String,
    },
    /// The report does not serialize.
    #[error("the report cannot be serialized: {0}")]
    Serialize(#[from] serde_json::Error),
    /// The report cannot be searched for figures that are not finite.
    #[error("the report cannot be serialized: {0}")]
    Search(#[from] ciborium::value::Error),
}

/// Writes a report on one line, for storage and transport.
///
/// # Errors
/// [`JsonError::NotFinite`] where a figure is NaN or infinite.
pub fn compact(report: &Report) -> Result<String, JsonError> {
    check_finite(report)?;
    Ok(serde_json::to_string(report)?)
}

/// Writes a report indented, for people; ends in a line feed.
///
/// # Errors
/// [`JsonError::NotFinite`] where a figure is NaN or infinite.
pub fn pretty(report: &Report) -> Result<String, JsonError> {
    check_finite(report)?;
    Ok(serde_json::to_string_pretty(report)? + "\n")
}

/// Refuses NaN and infinities, which serde_json would write as `null`.
fn check_finite(report: &Report) -> Result<(), JsonError> {
    match not_finite(&Value::serialized(report)?) {
        Some(path) => Err(JsonError::NotFinite { path: path.join(".") }),
        None => Ok(()),
    }
}

/// The path to the first number that is not finite.
fn not_finite(value: &Value) -> Option<Vec<String>> {
    let below = |name: String, value: &Value| {
        let mut path = not_finite(value)?;
        path.insert(0, name);
        Some(path)
    };
    match value {
        Value::Float(number) if !number.is_finite() => Some(Vec::new()),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| below(index.to_string(), item))
        }
        Value::Map(entries) => entries.iter().find_map(|(key, value)| {
            let name = key.as_text().map_or_else(|| format!("{key:?}"), str::to_owned);
            below(name, value)
        }),
        _ => None,
    }
}
