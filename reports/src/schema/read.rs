//! The way in: reading reports of any version that is still accepted, and the schema as others check against it.

use serde_json::Value;

use super::{Report, SCHEMA};

/// Why a text is not a report that this version can read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or cut off.
    #[error("this is not JSON: {0}; is the file complete?")]
    Json(#[source] serde_json::Error),
    /// JSON, but no report.
    #[error(
        "this is JSON but not a Greenroom report: it has no `schema` that begins with \"greenroom.report/\""
    )]
    NotAReport,
    /// Newer than this program.
    #[error("this report is of version {found} and this program reads up to 1: update greenroom")]
    Newer {
        /// The report's version.
        found: u64,
    },
    /// Older than the oldest version that is still read.
    #[error("this report is of version {found}, which is no longer read: convert it with an older greenroom")]
    Older {
        /// The report's version.
        found: u64,
    },
    /// A report of a known version that breaks its schema.
    #[error("this report does not follow its schema ({SCHEMA}): {0}")]
    Invalid(#[source] serde_json::Error),
}

/// The version that this program writes.
const CURRENT: u64 = 1;
/// The oldest version that it reads: the one before, once there is one.
const OLDEST: u64 = 1;

/// Reads a report from JSON text, of this version of the schema or the one before.
///
/// # Errors
/// [`ReadError`] says what the text is instead and what to do.
pub fn read(text: &str) -> Result<Report, ReadError> {
    // A report of the current version is read straight from the text, so that an error names line and column.
    let value: Value = serde_json::from_str(text).map_err(ReadError::Json)?;
    if version(&value)? == CURRENT {
        return serde_json::from_str(text).map_err(ReadError::Invalid);
    }
    upgrade(value)
}

/// Reads a report from parsed JSON, step by step from its own version of the schema to the current one.
///
/// # Errors
/// [`ReadError`] says what the value is instead and what to do.
pub fn upgrade(value: Value) -> Result<Report, ReadError> {
    // Each older version that is still read gets a step here, from its JSON to the next version's.
    match version(&value)? {
        found if found > CURRENT => Err(ReadError::Newer { found }),
        found if found < OLDEST => Err(ReadError::Older { found }),
        _ => serde_json::from_value(value).map_err(ReadError::Invalid),
    }
}

/// The JSON Schema of the current version, generated from the types. `reports/schema` holds it as a file.
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(Report).to_value();
    schema["$id"] = "urn:greenroom:report:1".into();
    schema["properties"]["schema"]["const"] = SCHEMA.into();
    // serde cannot say so of a structure that flattens another; what it flattens refuses unknown keys when it is read.
    schema["$defs"]["StreamReport"]["additionalProperties"] = false.into();
    schema
}

fn version(value: &Value) -> Result<u64, ReadError> {
    value
        .get("schema")
        .and_then(Value::as_str)
        .and_then(|name| name.strip_prefix("greenroom.report/"))
        .and_then(|version| version.parse().ok())
        .ok_or(ReadError::NotAReport)
}
