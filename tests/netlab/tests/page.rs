//! The check page in Chromium over emulated links, against what these did and what the program tells of them. `greenroom-bench page` has all
//! eight links. Needs root, TUN and the browser's driver; fails without. Runs alone: see `.config/nextest.toml`.
#![cfg(target_os = "linux")]

mod built;

use greenroom_netlab::page::{Comparison, Programs, Setting, check};
use greenroom_reports::schema::{State, Use};

use built::program;

const SEED: u64 = 20_261_129;

fn tells_the_truth(name: &str) {
    let setting = Setting::named(name).expect("it comes with the lab");
    let seen = check(&setting, SEED, &Programs::with(program())).expect("both can be run");
    let found =
        Comparison::of(&setting, &seen).unwrap_or_else(|| panic!("measured: {:#?}", seen.page.verdict));
    println!("{name}, seed {SEED}: {found:#?}");
    let wrong = found.wrong();
    assert!(wrong.is_empty(), "{wrong:?}: {:#?}", seen.page.verdict);
    let (after, early) = seen.early.expect("a first verdict, while the connection was filled");
    println!("first verdict after {:.1} s", after.as_secs_f64());
    // The verdict speaks of what was asked for, the first one as well as the last.
    for report in [&early, &seen.page] {
        let video = &report.verdict.uses[&Use::Video720p];
        assert!(video.state != State::NotTested, "{:#?}", report.verdict);
        assert_eq!(report.id, seen.page.id);
    }
}

#[test]
fn of_a_lossy_link() {
    tells_the_truth("lossy");
}

#[test]
fn of_a_link_with_a_long_queue() {
    tells_the_truth("bloated");
}
