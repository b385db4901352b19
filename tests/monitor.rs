//! What watches a running call in a browser: its detectors and its report, by Node.js alone. The same in a browser: tests/check_page.rs.

use std::process::Command;

use greenroom_reports::schema::{Kind, Source, State, read};

#[test]
fn detectors_in_recorded_order_and_a_report_that_every_reader_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("call.json");
    let output = Command::new("node")
        .args(["--test", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/monitor.test.mjs")])
        .env("GREENROOM_CALL_REPORT", &path)
        .output()
        .expect("node is installed: ./dev test does it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let json = std::fs::read_to_string(&path).expect("one of the tests writes it");
    let report = read(&json).expect("a report as every other is");
    assert_eq!((report.kind, report.tool.source), (Kind::Monitor, Source::Browser));
    assert_eq!(report.code, greenroom_reports::assess::short_code(report.id));
    assert_eq!((report.id.get_version_num(), report.parent.is_some()), (7, true));
    assert_eq!(report.verdict.overall, State::Degraded);
    let counts = &report.targets.first().expect("a call").down.counts;
    assert_eq!(counts.sent, counts.on_time + counts.late + counts.lost + counts.awaited);
}
