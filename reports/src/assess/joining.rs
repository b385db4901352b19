//! What devices say joined into the verdict over a network: per use the worst of both.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::devices::{Findings, uses_of};
use crate::schema::{Cause, DeviceKind, State, Use, UseVerdict, Verdict};
use crate::verdict::{rank, words, worse};

/// Whether a report is about a network too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NetworkPart {
    /// It was to be tested: a use is not ready before it was.
    Wanted,
    /// Only devices were to be tested.
    NotWanted,
}

/// What a report is to answer.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) uses: &'a BTreeSet<Use>,
    /// Devices asked for by name.
    pub(super) kinds: &'a [DeviceKind],
    pub(super) network: NetworkPart,
}

/// Joins findings into a verdict.
pub(super) fn join(verdict: &mut Verdict, findings: Findings, asked: &Asked<'_>) {
    let Findings { kinds, of_uses, causes } = findings;
    if kinds.is_empty() && of_uses.is_empty() && causes.is_empty() {
        return;
    }
    let network_tested = verdict.uses.values().any(|found| found.state != State::NotTested);
    let of_kinds = kinds.iter().flat_map(|(kind, (state, reason))| {
        uses_of(*kind).iter().map(move |use_| (*use_, *state, reason.clone()))
    });
    // A fast computer alone makes no call: without the devices, it says nothing of a use.
    let equipped = |use_: Use| kinds.keys().any(|kind| uses_of(*kind).contains(&use_));
    let by_use = of_uses
        .iter()
        .filter(|(use_, state)| **state != State::Ready || equipped(**use_))
        .map(|(use_, state)| (*use_, *state, None));
    for (use_, state, reason) in of_kinds.chain(by_use).collect::<Vec<_>>() {
        apply(verdict, use_, (state, reason), asked);
    }
    // A device asked for by name counts, also where none of the uses asked for needs it.
    let unneeded = |kind: &&DeviceKind| !uses_of(**kind).iter().any(|use_| asked.uses.contains(use_));
    let unneeded: Vec<DeviceKind> = asked.kinds.iter().filter(unneeded).copied().collect();
    let mut bearing = asked.uses.clone();
    bearing.extend(unneeded.iter().flat_map(|kind| uses_of(*kind)));
    rank_causes(verdict, causes, &bearing);
    let counted = || verdict.uses.values().filter(|found| found.asked);
    let of_unneeded = unneeded.iter().filter_map(|kind| kinds.get(kind).map(|(state, _)| *state));
    let overall = counted().map(|found| found.state).chain(of_unneeded).fold(State::NotTested, worse);
    let all_certain = counted().all(|found| found.state != overall);
    verdict.certain =
        all_certain || counted().filter(|found| found.state == overall).any(|found| found.certain);
    let changed = overall != verdict.overall;
    verdict.overall = overall;
    match super::leading(&verdict.causes, overall, &bearing).cloned() {
        Some(cause) => {
            (verdict.place, verdict.direction) = (Some(cause.place), cause.direction);
            (verdict.say, verdict.fix) = (cause.say, cause.fix);
        }
        None if overall == State::Ready => {
            (verdict.place, verdict.direction, verdict.fix) = (None, None, None);
            verdict.say = all_is_well(verdict, &kinds, network_tested);
        }
        None if changed => {
            let reason =
                counted().find(|found| found.state == overall).and_then(|found| found.reason.clone());
            (verdict.place, verdict.direction, verdict.fix) = (None, None, None);
            let open = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
            verdict.say = format!("What was asked for could not all be tested{open}.");
        }
        None if asked.network == NetworkPart::NotWanted => {
            "No device could be tested.".clone_into(&mut verdict.say);
        }
        None => {}
    }
}

/// Devices first among equals: what stands on the desk is mended sooner than a network.
fn rank_causes(verdict: &mut Verdict, mut causes: Vec<Cause>, bearing: &BTreeSet<Use>) {
    causes.append(&mut verdict.causes);
    let bears = |cause: &Cause| cause.uses.iter().any(|use_| bearing.contains(use_));
    causes.sort_by_key(|cause| (!bears(cause), Reverse(rank(cause.state))));
    verdict.causes = causes;
}

/// The worse of what network and device make of a use.
fn apply(verdict: &mut Verdict, use_: Use, (state, reason): (State, Option<String>), asked: &Asked<'_>) {
    let is_asked = asked.uses.contains(&use_);
    let untested = || UseVerdict { state: State::NotTested, certain: false, asked: is_asked, reason: None };
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
    if network_untested && asked.network == NetworkPart::Wanted && state == State::Ready {
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
    verdict: &Verdict,
    kinds: &BTreeMap<DeviceKind, (State, Option<String>)>,
    network: bool,
) -> String {
    let connection = network.then_some("connection");
    let things: Vec<&str> = connection.into_iter().chain(kinds.keys().map(|kind| kind.name())).collect();
    let ready = verdict.uses.iter().filter(|(_, found)| found.asked && found.state == State::Ready);
    let uses = ready.map(|(use_, _)| use_.short()).collect::<Vec<_>>().join(", ");
    let things = if things.is_empty() { vec!["computer"] } else { things };
    let verb = if things.len() == 1 { "is" } else { "are" };
    let things = words::series(&things, "and");
    let network = if network { "" } else { " The network was not tested." };
    // Of a camera alone no use follows.
    let uses = if uses.is_empty() { uses } else { format!(" for {uses}") };
    format!("Your {things} {verb} ready{uses}.{network}")
}
