//! Report v1 as others see it: the checked-in schema, the golden reports, and the way in for older and broken ones.

use greenroom_reports::schema::{ReadError, Report, SCHEMA, json_schema, read, upgrade};
use serde_json::{Value, json};

const CHECKED_IN: &str = include_str!("../schema/report-1.schema.json");
const GOLDENS: [(&str, &str); 4] = [
    ("measured", include_str!("golden/measured.json")),
    ("unreached", include_str!("golden/unreached.json")),
    ("stun", include_str!("golden/stun.json")),
    ("stamp", include_str!("golden/stamp.json")),
];

fn goldens() -> impl Iterator<Item = (&'static str, Value)> {
    GOLDENS.into_iter().map(|(name, text)| (name, serde_json::from_str(text).expect("goldens are JSON")))
}

#[test]
fn the_checked_in_schema_is_the_generated_one() {
    let checked_in: Value = serde_json::from_str(CHECKED_IN).unwrap();
    // Both are thousands of lines: to print them helps nobody.
    assert!(
        checked_in == json_schema(),
        "regenerate: cargo run -p greenroom-reports --example report_schema > reports/schema/report-1.schema.json"
    );
}

#[test]
fn goldens_follow_the_schema() {
    let validator = jsonschema::validator_for(&serde_json::from_str(CHECKED_IN).unwrap()).unwrap();
    for (name, golden) in goldens() {
        let errors: Vec<_> =
            validator.iter_errors(&golden).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{name}:\n{}", errors.join("\n"));
    }
}

/// What is written again equals what was read: no field is dropped, renamed, added or defaulted.
#[test]
fn goldens_are_complete() {
    for ((name, text), (_, golden)) in GOLDENS.iter().zip(goldens()) {
        let report = read(text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(serde_json::to_value(&report).unwrap(), golden, "{name}");
        assert_eq!(upgrade(golden).unwrap(), report, "{name}");
    }
}

/// Every object of every golden gets an unknown key in turn; reader and schema both refuse it.
#[test]
fn unknown_keys_are_refused_everywhere() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    for (name, golden) in goldens() {
        let places = objects(&golden);
        assert!(places.len() > 40, "{name} has {} objects", places.len());
        for place in places {
            let mut bad = golden.clone();
            bad.pointer_mut(&place).unwrap()["surprise"] = json!(1);
            assert!(upgrade(bad.clone()).is_err(), "{name}{place}: read although it has an unknown key");
            assert!(!validator.is_valid(&bad), "{name}{place}: valid although it has an unknown key");
        }
    }
}

/// Every key of every golden is taken away in turn: what is left is refused, or read as if the key had been `null` where
/// there may be nothing. So no value is ever made up.
#[test]
fn a_missing_key_is_refused_or_nothing() {
    for (name, golden) in goldens() {
        let mut refused = 0;
        for place in objects(&golden) {
            for key in golden.pointer(&place).unwrap().as_object().unwrap().keys() {
                let (mut without, mut with_null) = (golden.clone(), golden.clone());
                without.pointer_mut(&place).unwrap().as_object_mut().unwrap().remove(key);
                with_null.pointer_mut(&place).unwrap()[key] = Value::Null;
                let read = upgrade(without).ok();
                assert_eq!(read, upgrade(with_null).ok(), "{name}{place}/{key}");
                refused += usize::from(read.is_none());
            }
        }
        assert!(refused > 200, "{name}: {refused}");
    }
}

#[test]
fn other_versions_and_other_things_say_what_to_do() {
    let with = |schema: &str| upgrade(json!({ "schema": schema })).unwrap_err().to_string();
    assert!(with("greenroom.report/2").contains("update greenroom"));
    assert!(with("greenroom.report/0").contains("convert it with an older greenroom"));
    assert!(with("greenroom.report/one").contains("not a Greenroom report"));
    assert!(with("lighthouse/1").contains("not a Greenroom report"));
    assert!(matches!(upgrade(json!([])), Err(ReadError::NotAReport)));
    assert!(with(SCHEMA).contains("missing field"));

    let cut = &GOLDENS[0].1[..200];
    assert!(read(cut).unwrap_err().to_string().contains("is the file complete?"));
    let wrong = GOLDENS[0].1.replace("\"certain\": true", "\"certain\": \"yes\"");
    assert!(read(&wrong).unwrap_err().to_string().contains("line "), "the place in the file is named");
}

#[test]
fn a_value_that_is_not_measured_has_a_reason_and_no_figure() {
    let at = |place: &str, value: Value| {
        let mut golden: Value = serde_json::from_str(GOLDENS[0].1).unwrap();
        *golden.pointer_mut(place).unwrap() = value;
        upgrade(golden)
    };
    let place = "/targets/0/up/loss_ratio";
    assert!(at(place, json!({ "state": "failed", "reason": "cut short" })).is_ok());
    assert!(at(place, json!({ "state": "failed", "reason": "cut short", "value": 0.0 })).is_err());
    assert!(at(place, json!({ "state": "failed" })).is_err());
    assert!(at(place, json!({ "state": "measured", "n": 3 })).is_err());
    assert!(at(place, Value::Null).is_err());
    let report: Report = at(place, json!({ "state": "not_tested", "reason": "off" })).unwrap();
    assert_eq!(report.targets[0].up.loss_ratio.measured(), None);
}

/// JSON pointers of all objects that have fixed keys (maps with free keys left out).
fn objects(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if !FREE.iter().any(|free| at.ends_with(free)) {
                    found.push(at.to_owned());
                }
                for (key, inner) in map {
                    walk(inner, &format!("{at}/{key}"), found);
                }
            }
            Value::Array(items) => {
                for (i, inner) in items.iter().enumerate() {
                    walk(inner, &format!("{at}/{i}"), found);
                }
            }
            _ => {}
        }
    }
    const FREE: [&str; 9] = [
        "/labels",
        "/network",
        "/asked",
        "/run",
        "/params",
        "/join",
        "/sketches",
        "/verdict/uses",
        "/profile/uses",
    ];
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found.retain(|at| !at.ends_with("/rtt_increase_ms"));
    found
}
