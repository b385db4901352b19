//! Whose fault it is, in real time: some situations with namespaces, servers that really do what is wrong, and the program itself. `greenroom-bench
//! places` makes all of them real, three times each. Needs root and TUN; fails without. Runs alone: see `.config/nextest.toml`.
#![cfg(target_os = "linux")]

mod built;

use greenroom_netlab::places::{all, real};

use built::program;

const SEED: u64 = 20_261_129;

/// Makes a situation real and holds what is blamed against its label.
fn is_blamed_rightly(name: &str) {
    let situations = all().expect("they are valid");
    let situation =
        situations.iter().find(|situation| situation.name == name).expect("it comes with the lab");
    let seen = real::check(situation, SEED, &program()).expect("it can be made real");
    let verdict = &seen.report.verdict;
    println!("{} in {:.1} s, seed {SEED}: {}", seen.command, seen.took.as_secs_f64(), verdict.say);
    assert!(situation.allows(seen.blamed()), "{:?} is blamed: {verdict:#?}", seen.blamed());
}

#[test]
fn a_providers_loss_is_the_paths() {
    is_blamed_rightly("provider_loses_20_percent");
}

#[test]
fn a_radios_loss_is_the_local_networks() {
    is_blamed_rightly("wifi_loses_15_percent");
}

#[test]
fn a_sign_in_page_is_the_local_networks() {
    is_blamed_rightly("captive_portal");
}

#[test]
fn blocked_udp_is_the_relays() {
    is_blamed_rightly("only_port_443_open");
}

#[test]
fn opened_encryption_is_the_relays() {
    is_blamed_rightly("tls_intercepted");
}

#[test]
fn a_certificate_that_has_ended_only_for_a_wrong_clock_is_the_computers() {
    is_blamed_rightly("clock_wrong_so_that_certificates_seem_expired");
}

#[test]
fn a_service_that_fails_is_the_services() {
    is_blamed_rightly("service_fails");
}

#[test]
fn a_name_server_that_makes_names_up_is_the_local_networks() {
    is_blamed_rightly("name_server_lies");
}
