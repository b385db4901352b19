//! A check while the computer's clock is set.

use super::machine::{Guest, number};

#[test]
fn a_clock_that_is_set_meanwhile_is_told_and_spoils_nothing() {
    let said = Guest { script: "clock.sh", programs: Vec::new(), hardware: Vec::new() }.run(|_| ());
    let report = said.scenario("stepped").report();
    let causes = report["verdict"]["causes"].as_array().expect("causes");
    let stepped = causes.iter().find(|cause| cause["code"] == "clock_stepped").expect("it is told");
    assert_eq!(stepped["place"], "computer", "{stepped:#}");
    // Set by five minutes at a time; `date` sets whole seconds.
    let ms = number(&stepped["params"]["ms"]);
    assert!((298_000.0..=302_000.0).contains(&ms), "{stepped:#}");
    // A step in a time that was not taken out would be five minutes long.
    let target = &report["targets"][0];
    for figure in [&report["duration_ms"], &target["rtt_ms"]["max"], &target["up"]["pdv_ms"]["max"]] {
        assert!(number(figure) < 200_000.0, "{figure} ms");
    }
}
