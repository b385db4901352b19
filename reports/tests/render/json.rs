use greenroom_reports::render::json::{JsonError, compact, pretty};
use greenroom_reports::schema::{Report, Value};

use super::samples;

#[test]
fn pretty_form_is_stable() {
    insta::with_settings!({ snapshot_path => "golden", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("report.json", pretty(&samples::blocked()).expect("finite"));
    });
}

#[test]
fn what_is_written_reads_back_the_same() {
    for report in [samples::bufferbloat(), samples::ready(), samples::blocked(), samples::hostile()] {
        for text in [pretty(&report).expect("finite"), compact(&report).expect("finite")] {
            let back: Report = serde_json::from_str(&text).expect("the schema's own form");
            assert_eq!(compact(&back).expect("finite"), compact(&report).expect("finite"));
        }
    }
}

#[test]
fn compact_form_is_one_line() {
    assert!(!compact(&samples::bufferbloat()).expect("finite").contains('\n'));
}

#[test]
fn what_is_not_a_number_is_refused_by_its_path() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut report = samples::ready();
        let Value::Measured(rtt) = &mut report.targets[0].rtt_ms else {
            panic!("the sample has a round trip")
        };
        rtt.p95 = Some(bad);
        for result in [pretty(&report), compact(&report)] {
            let Err(JsonError::NotFinite { path }) = result else { panic!("{bad} was written") };
            assert_eq!(path, "targets.0.rtt_ms.p95");
        }
    }
}

#[test]
fn a_bad_number_in_a_flattened_part_is_found() {
    let mut report = samples::ready();
    report.targets[0].series[0].values[3] = Some(f64::NAN);
    assert!(
        matches!(pretty(&report), Err(JsonError::NotFinite { path }) if path == "targets.0.series.0.values.3")
    );
    let mut report = samples::ready();
    let Value::Measured(loss) = &mut report.targets[0].streams[0].figures.loss_ratio else {
        panic!("measured")
    };
    loss.high = Some(f64::INFINITY);
    assert!(
        matches!(pretty(&report), Err(JsonError::NotFinite { path }) if path == "targets.0.streams.0.loss_ratio.high")
    );
}
