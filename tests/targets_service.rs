//! Services measured by the program by a catalog of the test's own: each outcome from a local server that brings it about.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "tests open sockets")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/target.rs"]
mod target;

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;

use support::greenroom;
use target::{Authority, Measured, closed_port, measured, server_config, tcp_server, tls_server};

const HEAD: &str =
    "name = \"test\"\ntitle = \"Test\"\nsource = \"https://test.example\"\ndate = \"2026-11-28\"\n";

/// A part with one way.
fn part(name: &str, host: &str, port: u16, protocol: &str) -> String {
    format!(
        "[[part]]\nname = \"{name}\"\nwithout = \"nothing works\"\n[[part.way]]\nhost = \"{host}\"\n\
         ports = \"{port}\"\nprotocol = \"{protocol}\"\n"
    )
}

fn measure(catalog: &Path, trusted: &Authority) -> Measured {
    let mut command = greenroom(["measure", "service:test", "--json", "-"]);
    measured(command.arg("--catalog").arg(catalog).env("SSL_CERT_FILE", trusted.file()))
}

#[test]
fn each_way_has_its_outcome_and_each_part_whose_fault_it_is() {
    let (own, other) = (Authority::new("Test CA"), Authority::new("Zscaler Root CA"));
    let tls = |authority: &Authority| {
        tls_server(server_config(authority.certificate(&["127.0.0.1"], |_| {}), &[]), |_| String::new())
            .port()
    };
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let table = [
        ("fine", part("fine", "127.0.0.1", tls(&own), "tls"), "open", "works", "unknown"),
        ("opened", part("opened", "127.0.0.1", tls(&other), "tls"), "intercepted", "fails", "relay"),
        ("tcp", part("tcp", "127.0.0.1", tcp_server(drop).port(), "tcp"), "open", "works", "unknown"),
        ("closed", part("closed", "127.0.0.1", closed_port().port(), "tcp"), "refused", "fails", "unknown"),
        ("quiet", part("quiet", "127.0.0.1", port, "udp"), "no_answer_known", "unknown", "unknown"),
        ("stun", part("stun", "127.0.0.1", port, "stun"), "filtered", "fails", "relay"),
        ("lost", part("lost", "nowhere.invalid", 443, "tls"), "unresolved", "fails", "local_network"),
        ("many", part("many", "*.test.example", 443, "tls"), "not_asked", "unknown", "unknown"),
    ];
    let folder = tempfile::tempdir().expect("a temporary directory");
    let text: String = table.iter().map(|(_, text, ..)| text.as_str()).collect();
    std::fs::write(folder.path().join("test.toml"), format!("{HEAD}{text}")).expect("writable");
    let found = measure(folder.path(), &own);
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    let details = found.details();
    for (index, (name, _, outcome, state, place)) in table.iter().enumerate() {
        let (way, part) = (&details["ways"][index], &details["parts"][index]);
        assert_eq!((&way["part"], &way["outcome"]), (&(*name).into(), &(*outcome).into()), "{way:#}");
        assert_eq!((&part["state"], &part["place"]), (&(*state).into(), &(*place).into()), "{part:#}");
    }
    let shown = found.shown();
    assert!(shown.contains("will not work"), "{shown}");
}

#[test]
fn what_is_wrong_in_a_file_and_what_is_not_known_are_told() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("wrong.toml");
    let text = format!("{HEAD}{}", part("media", "test.example", 443, "sctp"));
    std::fs::write(&file, text).expect("writable");
    let said = |job: &str, name: &str, catalog: Option<&Path>| {
        let mut command = greenroom([job, name]);
        command.env("HOME", "/nonexistent");
        if let Some(catalog) = catalog {
            command.arg("--catalog").arg(catalog);
        }
        let output = command.output().expect("the binary runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for job in ["measure", "check", "diagnose"] {
        let (code, text) = said(job, "service:test", Some(folder.path()));
        assert_eq!(code, Some(64), "{job}: {text}");
        assert!(text.contains("wrong.toml:11:"), "{job}: {text}");
        let (code, text) = said(job, "service:nobody", None);
        assert_eq!(code, Some(64), "{job}: {text}");
        assert!(text.contains("meet") && text.contains("zoom"), "{job}: {text}");
        let (code, text) = said(job, "tcp:127.0.0.1:1", Some(folder.path()));
        assert_eq!(code, Some(64), "{job}: {text}");
        assert!(text.contains("--catalog is for service:NAME alone"), "{job}: {text}");
    }
}

#[test]
fn a_check_is_blocked_by_what_no_call_comes_about_without() {
    let closed = closed_port();
    for (essential, code, state) in [(false, 1, "degraded"), (true, 2, "blocked")] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let folder = home.path().join("greenroom/services");
        std::fs::create_dir_all(&folder).expect("writable");
        let part = part("signaling", "127.0.0.1", closed.port(), "tcp").replacen(
            "[[part.way]]",
            &format!("essential = {essential}\n[[part.way]]"),
            1,
        );
        std::fs::write(folder.join("test.toml"), format!("{HEAD}{part}")).expect("writable");
        let output = greenroom(["check", "service:test", "--no-history", "--devices", "none", "--json", "-"])
            .env("XDG_CONFIG_HOME", home.path())
            .output()
            .expect("the binary runs");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
        assert_eq!(output.status.code(), Some(code), "{:#}", report["verdict"]);
        let cause = &report["verdict"]["causes"][0];
        assert_eq!(
            (&cause["code"], &cause["state"]),
            (&"service_part_fails".into(), &state.into()),
            "{cause:#}"
        );
    }
}
