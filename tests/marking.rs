//! What becomes of marks on packets, through four real network namespaces of which a router takes marks off, changes them or drops packets
//! that have them. Needs root, for the namespaces.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/hops.rs"]
mod hops;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use hops::{HOST, HOST6, Lab};
use serde_json::Value;
use support::Respond;

/// What the first router does with packets that come in at this side: `r0` is the computer's.
fn rule(lab: &Lab, side: &str, family: &str, rule: &str) {
    let table = format!("table {family} t {{ chain c {{ type filter hook prerouting priority 0; }}; }}");
    lab.sh('r', &format!("nft '{table}'; nft 'add rule {family} t c iif \"{side}\" {rule}'"));
}

fn endpoint(lab: &Lab, host: &str) -> Respond {
    let respond = ["respond", "--listen", host, "--health", "off", "--plain-stamp", "stateless"];
    Respond::start(lab.within('s', &[], &respond))
}

fn measure(lab: &Lab, kind: &str, endpoint: &Respond) -> Value {
    lab.measure(&format!("{kind}:{}", endpoint.stamp()), "2")
}

fn details(report: &Value) -> &Value {
    &report["targets"][0]["details"]
}

/// Name, and what becomes of it upward and downward.
fn fates(report: &Value) -> Vec<(&str, &str, &str)> {
    let marks = details(report)["marks"].as_array().unwrap_or_else(|| panic!("{report:#}"));
    let fate = |way: &'static str| {
        move |mark: &'_ Value| mark[way]["fate"]["value"].as_str().map(str::to_owned).unwrap_or_default()
    };
    let (up, down) = (fate("up"), fate("down"));
    marks
        .iter()
        .map(|mark| {
            let known = |text: String| {
                ["kept", "bleached", "remarked", "dropped"].into_iter().find(|it| *it == text).unwrap_or("?")
            };
            (mark["name"].as_str().expect("a name"), known(up(mark)), known(down(mark)))
        })
        .collect()
}

const BOTH: [(&str, &str); 2] = [(HOST, "ip"), (HOST6, "ip6")];

#[test]
fn a_clean_way_keeps_all_marks() {
    let lab = Lab::new("mka");
    for (host, _) in BOTH {
        let endpoint = endpoint(&lab, host);
        let report = measure(&lab, "dscp", &endpoint);
        assert_eq!(
            fates(&report),
            [("EF", "kept", "kept"), ("AF41", "kept", "kept")],
            "{:#}",
            details(&report)
        );
        assert_eq!(details(&report)["by"], "class_of_service");
        let report = measure(&lab, "ecn", &endpoint);
        let all = [("ECT(0)", "kept", "kept"), ("ECT(1)", "kept", "kept"), ("CE", "kept", "kept")];
        assert_eq!(fates(&report), all, "{:#}", details(&report));
    }
}

#[test]
fn a_mark_that_is_taken_off_shows_on_its_way() {
    for (host, family) in BOTH {
        let lab = Lab::new("mkb");
        rule(&lab, "r0", family, &format!("{family} dscp ef {family} dscp set cs0"));
        rule(&lab, "r1", family, &format!("{family} dscp af41 {family} dscp set cs1"));
        let report = measure(&lab, "dscp", &endpoint(&lab, host));
        let expected = [("EF", "bleached", "kept"), ("AF41", "kept", "remarked")];
        assert_eq!(fates(&report), expected, "{:#}", details(&report));
    }
}

#[test]
fn ecn_that_is_taken_off_or_set_shows_on_its_way() {
    for (host, family) in BOTH {
        let lab = Lab::new("mkc");
        rule(&lab, "r0", family, &format!("{family} ecn set not-ect"));
        rule(&lab, "r1", family, &format!("{family} ecn ect0 {family} ecn set ce"));
        let report = measure(&lab, "ecn", &endpoint(&lab, host));
        let expected =
            [("ECT(0)", "bleached", "remarked"), ("ECT(1)", "bleached", "kept"), ("CE", "bleached", "kept")];
        assert_eq!(fates(&report), expected, "{:#}", details(&report));
    }
}

#[test]
fn marked_packets_that_vanish_degrade_a_check_on_their_way() {
    for (side, direction, expected) in [
        ("r0", "up", [("EF", "dropped", "kept"), ("AF41", "kept", "kept")]),
        ("r1", "down", [("EF", "kept", "dropped"), ("AF41", "kept", "kept")]),
    ] {
        for (host, family) in BOTH {
            let lab = Lab::new("mkd");
            rule(&lab, side, family, &format!("{family} dscp ef drop"));
            let endpoint = endpoint(&lab, host);
            let url = format!("dscp:{}", endpoint.stamp());
            let check = ["check", &url, "--devices", "none", "--no-history", "--json", "-", "--quiet"];
            let done = lab.within('c', &[], &check).output().expect("runs");
            let report: Value = serde_json::from_slice(&done.stdout).expect("a report");
            assert_eq!(fates(&report), expected, "{:#}", details(&report));
            let cause = &report["verdict"]["causes"][0];
            let told = [&cause["code"], &cause["state"], &cause["place"], &cause["direction"]];
            assert_eq!(told, ["marked_packets_dropped", "degraded", "path", direction], "{cause:#}");
        }
    }
}

#[test]
fn a_host_without_a_reflector_shows_what_echo_requests_show() {
    let lab = Lab::new("mke");
    let report = lab.measure(&format!("dscp:{HOST}"), "3");
    assert_eq!(fates(&report), [("EF", "kept", "kept"), ("AF41", "kept", "kept")], "{:#}", details(&report));
    assert_eq!(details(&report)["by"], "echo_requests");
    // Taken off there or back: nobody tells which.
    rule(&lab, "r0", "ip", "ip dscp ef ip dscp set cs0");
    let report = lab.measure(&format!("dscp:{HOST}"), "3");
    assert_eq!(fates(&report), [("EF", "?", "?"), ("AF41", "kept", "kept")], "{:#}", details(&report));
    let why = details(&report)["marks"][0]["up"]["fate"]["reason"].as_str().expect("a reason");
    assert!(why.contains("does not tell"), "{why}");
}

#[test]
fn nobody_who_answers_is_no_fault() {
    let lab = Lab::new("mkf");
    lab.rules('s', "ip protocol { udp, icmp } drop");
    let check = ["check", "dscp:10.8.3.2", "--devices", "none", "--no-history", "--json", "-", "--quiet"];
    let done = lab.within('c', &[], &check).output().expect("runs");
    let report: Value = serde_json::from_slice(&done.stdout).expect("a report");
    let causes = report["verdict"]["causes"].as_array().expect("causes");
    assert_eq!(causes[0]["code"], "no_reflector", "{causes:#?}");
    assert_ne!(report["verdict"]["overall"], "blocked");
}
