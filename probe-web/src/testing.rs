//! Reports for this crate's tests.

use std::collections::BTreeMap;

use greenroom_reports::assess::short_code;
use greenroom_reports::metrics::sketch::Sketch;
use greenroom_reports::schema::{Report, read};
use greenroom_reports::units::Micros;
use jiff::{SignedDuration, Timestamp};
use uuid::{Builder, Uuid};

/// A golden report.
pub(crate) const GOLDEN: &str = include_str!("../../reports/tests/golden/measured.json");

/// The time that tests begin at.
pub(crate) fn start() -> Timestamp {
    "2026-11-22T14:00:00Z".parse().expect("a time")
}

/// The UUIDv7 of the nth report.
pub(crate) fn id(n: u64) -> Uuid {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    Builder::from_unix_timestamp_millis(1_763_820_000_000, &random).into_uuid()
}

/// A report that differs from others by its id, begun n minutes after [`start`], with n + 1 round trips of n ms.
pub(crate) fn report(n: u64) -> Report {
    let mut report = read(GOLDEN).expect("a golden report");
    report.id = id(n);
    report.code = short_code(report.id);
    let n = i64::try_from(n).expect("a small number");
    report.started = start().checked_add(SignedDuration::from_mins(n)).expect("a time");
    let rtt: Sketch = (0..=n).map(|_| Micros::from_millis(n)).collect();
    report.sketches = BTreeMap::from([("rtt".to_owned(), rtt.encode())]);
    report
}
