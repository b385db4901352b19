//! What devices say joined into the verdict over a network: per use the worst of both.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::devices::{Findings, uses_of};
use crate::schema::{Cause, DeviceKind, State, Use, UseVerdict, Verdict};
use crate::verdict::{rank, worse};

/// Whether a report is about a network too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NetworkPart {
    /// It was to be tested: a use is not ready before it was.
    Wanted,
    /// Only devices were to be tested.
    NotWanted,
}

/// Joins findings into a verdict.
pub(super) fn join(verdict: &mut Verdict, findings: Findings, asked: &BTreeSet<Use>, network: NetworkPart) {
    let Findings { kinds, slow, causes } = findings;
    if kinds.is_empty() && slow.is_empty() && causes.is_empty() {
        return;
    }
    let network_tested = verdict.uses.values().any(|found| found.state != State::NotTested);
    let of_kinds = kinds.iter().flat_map(|(kind, (state, reason))| {
        uses_of(*kind).iter().map(move |use_| (*use_, *state, reason.clone()))
    });
    let of_machine = slow.iter().map(|(use_, state)| (*use_, *state, None));
    for (use_, state, reason) in of_kinds.chain(of_machine).collect::<Vec<_>>() {
        apply(verdict, use_, (state, reason), asked.contains(&use_), network);
    }
    // Devices first among equals: what stands on the desk is mended sooner than a network.
    let mut all: Vec<Cause> = causes;
    all.append(&mut verdict.causes);
    let bears = |cause: &Cause| cause.uses.iter().any(|use_| asked.contains(use_));
    all.sort_by_key(|cause| (!bears(cause), Reverse(rank(cause.state))));
    verdict.causes = all;
    let counted = || verdict.uses.values().filter(|found| found.asked);
    let overall = counted().map(|found| found.state).fold(State::NotTested, worse);
    verdict.certain = counted().filter(|found| found.state == overall).any(|found| found.certain);
    let lead = super::leading(&verdict.causes, overall, asked).cloned();
    let changed = overall != verdict.overall;
    verdict.overall = overall;
    match lead {
        Some(cause) => {
            (verdict.place, verdict.direction) = (Some(cause.place), cause.direction);
            (verdict.say, verdict.fix) = (cause.say, cause.fix);
        }
        None if overall == State::Ready => {
            (verdict.place, verdict.direction, verdict.fix) = (None, None, None);
            verdict.say = all_is_well(&kinds, network_tested, asked);
        }
        None if changed => {
            let reason =
                counted().find(|found| found.state == overall).and_then(|found| found.reason.clone());
            (verdict.place, verdict.direction, verdict.fix) = (None, None, None);
            let open = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
            verdict.say = format!("What was asked for could not all be tested{open}.");
        }
        None => {}
    }
}

/// The worse of what network and device make of a use.
fn apply(
    verdict: &mut Verdict,
    use_: Use,
    (state, reason): (State, Option<String>),
    asked: bool,
    network: NetworkPart,
) {
    let untested = || UseVerdict { state: State::NotTested, certain: false, asked, reason: None };
    let found = verdict.uses.entry(use_).or_insert_with(untested);
    // What nobody asked for and nobody looked at stays so.
    if !found.asked && found.state == State::NotTested {
        return;
    }
    if rank(state) <= rank(found.state) {
        return;
    }
    let network_untested = found.state == State::NotTested;
    // Good devices say nothing about a network that was to be tested and was not.
    if network_untested && network == NetworkPart::Wanted && state == State::Ready {
        return;
    }
    found.state = state;
    found.certain = state != State::Inconclusive;
    found.reason = match reason {
        Some(reason) => Some(reason),
        None if network_untested => Some("the network was not tested".to_owned()),
        None => None,
    };
}

/// What to say when nothing stands in the way.
fn all_is_well(
    kinds: &BTreeMap<DeviceKind, (State, Option<String>)>,
    network: bool,
    asked: &BTreeSet<Use>,
) -> String {
    let connection = network.then_some("connection");
    let things: Vec<&str> = connection.into_iter().chain(kinds.keys().map(|kind| kind.name())).collect();
    let uses = asked.iter().map(|use_| use_.short()).collect::<Vec<_>>().join(", ");
    let (things, verb) = match things.split_last() {
        Some((last, [])) => ((*last).to_owned(), "is"),
        Some((last, others)) => (format!("{} and {last}", others.join(", ")), "are"),
        None => ("computer".to_owned(), "is"),
    };
    let network = if network { "" } else { " The network was not tested." };
    format!("Your {things} {verb} ready for {uses}.{network}")
}
