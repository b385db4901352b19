//! The check page in the labeled situations of tests/browser/situations.toml, once: those of devices, permissions and what breaks. Those of
//! networks are for a quiet computer; `greenroom-bench situations` has all of them, several times. Needs root, TUN and the browser's driver;
//! fails without. Runs alone: see `.config/nextest.toml`.
#![cfg(target_os = "linux")]

use std::path::PathBuf;

use greenroom_netlab::page::Programs;
use greenroom_netlab::page::situations::{Mark, Part, Ran, Set, run};

const SEED: u64 = 20_261_130;
/// One in so many may be spoiled by other work of this computer, which the page then has to say.
const VOID_IN: usize = 4;

/// The program of the same build.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("it runs");
    let program =
        test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps").join("greenroom");
    assert!(program.exists(), "{} is missing: cargo build -p greenroom --bin greenroom", program.display());
    program
}

fn are_right(part: Part) {
    let set = Set::load().expect("it makes sense");
    let programs = Programs::with(program());
    let tell = |ran: &Ran<'_>| {
        let mark = match &ran.mark {
            Mark::Right => "right".to_owned(),
            Mark::Wrong(why) => format!("WRONG ({})", why.join("; ")),
            Mark::Void(why) => format!("void ({why})"),
        };
        println!(
            "{}: {mark}\n  expected {}\n  found    {}",
            ran.situation.name, ran.situation.label, ran.found
        );
    };
    let ran =
        run(&set, |situation| situation.part == part, SEED, &programs, tell).expect("all of them can be run");
    let count = |is: fn(&Mark) -> bool| ran.iter().filter(|ran| is(&ran.mark)).count();
    let (right, void) = (count(|mark| *mark == Mark::Right), count(|mark| matches!(mark, Mark::Void(_))));
    println!("{part:?}, seed {SEED}: {right} of {} right, {void} void", ran.len());
    assert_eq!(right + void, ran.len(), "see above");
    assert!(void * VOID_IN <= ran.len(), "this computer is too busy for a check");
}

#[test]
fn devices_and_permissions() {
    are_right(Part::Devices);
}

#[test]
#[ignore = "whether a network is judged right is a matter of real time: `./dev bench situations`, on a quiet computer"]
fn networks() {
    are_right(Part::Network);
}

#[test]
fn what_breaks_in_the_middle() {
    are_right(Part::Ends);
}

#[test]
#[ignore = "whether a network is judged right is a matter of real time: `./dev bench situations`, on a quiet computer"]
fn two_faults_at_once() {
    are_right(Part::Both);
}
