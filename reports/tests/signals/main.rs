//! The analysers of sound and pictures against the normative vectors in `reports/signals-vectors`, built from real recorded
//! speech, against a second implementation, and against anything at all.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "recipes have small numbers, and samples are rounded on purpose"
)]

mod anything;
mod pictures;
mod recipe;
mod sound;

use serde_json::Value;

/// Holds a report's figures against what a vector expects of them, and tells every difference.
fn differences(figures: &Value, expect: &Value) -> Vec<String> {
    let expect = expect.as_object().expect("`expect` is an object");
    assert!(!expect.is_empty(), "a vector that expects nothing");
    let check = |(path, wanted): (&String, &Value)| {
        let found = at(figures, path);
        let fits = match (wanted, &found) {
            (Value::Array(range), Some(found)) => {
                let bound = |i: usize| range[i].as_f64().expect("a bound is a number");
                found.as_f64().is_some_and(|x| (bound(0)..=bound(1)).contains(&x))
            }
            (Value::Null, found) => found.as_ref().is_none_or(Value::is_null),
            (Value::Number(wanted), Some(found)) => found.as_f64() == wanted.as_f64(),
            (wanted, found) => found.as_ref() == Some(wanted),
        };
        (!fits).then(|| format!("{path}: expected {wanted}, found {found:?}"))
    };
    expect.iter().filter_map(check).collect()
}

/// The figure at a path: its value, if it is measured. A field beyond the figure's name is one of the figure's own.
fn at(figures: &Value, path: &str) -> Option<Value> {
    let mut found = figures;
    for part in path.split('.') {
        found = match part.parse::<usize>() {
            Ok(index) => found.get(index)?,
            Err(_) => found.get(part).unwrap_or_else(|| panic_unless_missing(found, part)),
        };
    }
    match found.get("state").and_then(Value::as_str) {
        Some("measured") => found.get("value").cloned(),
        Some(_) => None,
        None => Some(found.clone()),
    }
}

/// A field may be missing only from a figure that is not measured; else the vector misspells it.
fn panic_unless_missing<'a>(within: &Value, part: &str) -> &'a Value {
    assert!(within.get("state").is_some_and(|state| state != "measured"), "no `{part}` in {within}");
    &Value::Null
}
