//! Wi-Fi by the kernel's own interface: what a report says of the access point that it was made through.

use serde_json::Value;

use super::machine::{Faults, Guest, Scenario, command};

#[test]
fn what_the_kernel_knows_of_its_wifi() {
    let programs = ["hostapd", "iw"].map(command).to_vec();
    let said = Guest { script: "wifi.sh", programs, hardware: Vec::new() }.run(|_| ());
    let mut faults = Faults::default();

    faults.check("connected", || {
        let report = said.scenario("connected").report();
        let link = &gateway(&report)["link"];
        assert_eq!(link["kind"], "wireless", "{link}");
        let wifi = &link["wifi"];
        assert_eq!(wifi["ssid"], "Chez Ada");
        // What iw, which others wrote, says of the same connection.
        let told = said.scenario("link");
        assert_eq!(figure(wifi, "frequency_mhz"), number_behind(told, "freq:"), "{}", told.text);
        assert_eq!(figure(wifi, "signal_dbm"), number_behind(told, "signal:"), "{}", told.text);
        assert!(figure(wifi, "tx_rate_mbps") > 0.0 && figure(wifi, "width_mhz") >= 20.0, "{wifi}");
    });
    faults.report();
}

fn gateway(report: &Value) -> &Value {
    let targets = report["targets"].as_array().expect("targets");
    let found = targets.iter().find(|target| target["kind"] == "gateway").expect("the router stands there");
    &found["details"]
}

fn figure(wifi: &Value, name: &str) -> f64 {
    wifi[name]["value"].as_f64().unwrap_or_else(|| panic!("no {name}: {wifi}"))
}

/// The first number behind a word.
fn number_behind(said: &Scenario, word: &str) -> f64 {
    let behind = said.text.split(word).nth(1).unwrap_or_else(|| panic!("no {word} in {}", said.text));
    behind.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
