//! What several endpoints tell together: one that answers clears what lies on the way to all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::causes::{of_failure, worded};
use super::ranking::Symptom;
use super::{Judged, host_of};
use crate::schema::{AddressTried, Cause, Details, Estimate, Place, State, Use};
use crate::verdict::TargetFailure;

/// Up to this share of what the relay loses, the way to it is not where it is lost.
const HALF: f64 = 0.5;

/// What a page that wants people to sign in first makes of other endpoints: nothing comes back, or the page's own server answers.
const HIDDEN_BY_A_PORTAL: [&str; 11] = [
    "endpoint_unreachable",
    "firewall_on_the_way",
    "no_way",
    "udp_blocked",
    "wrong_protocol",
    "connection_mute",
    "connection_reset",
    "tls_unverified",
    "tls_refused",
    "certificate_wrong_name",
    "certificate_untrusted",
];

/// Takes in, for each endpoint, what the others told.
pub(super) fn combine(judged: &mut [Judged<'_>], asked: &BTreeSet<Use>) {
    clock(judged);
    udp(judged, asked);
    portal(judged);
    clear_the_way(judged);
    relay(judged);
    ipv6(judged);
}

/// What fails for its time fails for this computer's clock, where that is known to be wrong.
fn clock(judged: &mut [Judged<'_>]) {
    let wrong = judged.iter().flat_map(|judged| &judged.causes).find(|cause| cause.code == "clock_wrong");
    let Some(Cause { say, fix, .. }) = wrong.cloned() else { return };
    for cause in judged.iter_mut().flat_map(|judged| &mut judged.causes) {
        if matches!(cause.code.as_str(), "certificate_expired" | "certificate_not_yet_valid") {
            cause.place = Place::Computer;
            cause.evidence.push(say.clone());
            cause.fix.clone_from(&fix);
        }
    }
}

/// Whether an endpoint of a kind is reached over UDP. Name and time servers are left out: networks let those through that block all else.
fn over_udp(judged: &Judged<'_>) -> Option<bool> {
    let transport = judged.target.state.measured().map(|reached| reached.transport.as_str());
    match (judged.target.kind.as_str(), transport) {
        ("stun" | "stamp" | "quic", _) | ("greenroom" | "whip" | "webrtc", Some("udp")) => Some(true),
        ("tcp" | "tls" | "https" | "wss", _) | ("greenroom", Some(_)) => Some(false),
        _ => None,
    }
}

fn answers(judged: &Judged<'_>) -> bool {
    judged.observed.is_some() || judged.was_asked_well()
}

/// Nothing came back over UDP from anybody, while TCP got through. One silent host may be down: it takes two, or one that answers over TCP.
/// An endpoint that was reached over TCP because nothing came back over UDP is one of them.
fn udp(judged: &mut [Judged<'_>], asked: &BTreeSet<Use>) {
    let answered = |udp: bool| {
        let mut those = judged.iter().filter(|it| answers(it) && over_udp(it) == Some(udp));
        those.next().map(|it| it.target.url.clone())
    };
    let (None, Some(works)) = (answered(true), answered(false)) else { return };
    let hosts = |those: &dyn Fn(&Judged<'_>) -> bool| -> BTreeSet<String> {
        judged.iter().filter(|it| those(it)).map(|it| name_of(&it.target.url).to_owned()).collect()
    };
    let silent = hosts(&|it| is_silent_over_udp(it) || went_around_udp(it));
    let over_tcp = hosts(&|it| answers(it) && over_udp(it) == Some(false));
    if silent.len() < 2 && silent.is_disjoint(&over_tcp) {
        return;
    }
    let failure = TargetFailure::UdpBlocked { works: Some(works) };
    let uses: Vec<Use> = asked.iter().copied().collect();
    for it in judged.iter_mut() {
        if is_silent_over_udp(it) {
            it.causes.retain(|cause| cause.code != TargetFailure::Silent.code());
            let host = host_of(&it.target.url);
            it.causes.push(of_failure(&failure, host, &uses, State::Blocked));
        }
    }
}

fn is_silent_over_udp(judged: &Judged<'_>) -> bool {
    judged.target.failure == Some(TargetFailure::Silent) && over_udp(judged) == Some(true)
}

fn went_around_udp(judged: &Judged<'_>) -> bool {
    let reached = judged.target.state.measured();
    matches!(
        reached.and_then(|reached| reached.instead_of_udp.as_ref()),
        Some(TargetFailure::UdpBlocked { .. })
    )
}

/// A URL's host without its port.
fn name_of(url: &str) -> &str {
    let host = host_of(url);
    match host.rsplit_once(':') {
        // An IPv6 address stands in brackets, and has colons of its own.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Who has to sign in first reaches nobody before: what stays silent then, or is answered by somebody else, is told with that page.
fn portal(judged: &mut [Judged<'_>]) {
    let is_page = |cause: &Cause| cause.code == "captive_portal";
    if !judged.iter().flat_map(|it| &it.causes).any(is_page) {
        return;
    }
    let mut hidden = Vec::new();
    for it in judged.iter_mut() {
        it.causes.retain(|cause| {
            let explained =
                cause.state == State::Blocked && HIDDEN_BY_A_PORTAL.contains(&cause.code.as_str());
            hidden.extend(explained.then(|| cause.say.clone()));
            !explained
        });
    }
    if let Some(page) = judged.iter_mut().flat_map(|it| &mut it.causes).find(|cause| is_page(cause)) {
        page.evidence.extend(hidden);
    }
}

/// Whoever answered in the same run clears this computer's connection of what another endpoint does not do.
fn clear_the_way(judged: &mut [Judged<'_>]) {
    let answered: Vec<(usize, String)> = judged
        .iter()
        .enumerate()
        .filter(|(_, it)| answers(it) && over_udp(it).is_some() && !it.target.in_process)
        .map(|(at, it)| (at, it.target.url.clone()))
        .collect();
    for (at, it) in judged.iter_mut().enumerate() {
        let Some(failure) = it.target.failure.clone() else { continue };
        let Some((_, other)) = answered.iter().find(|(other, _)| *other != at) else { continue };
        let is_open = matches!(
            failure,
            TargetFailure::Silent | TargetFailure::Reset | TargetFailure::Mute { .. } | TargetFailure::Died
        );
        for cause in it.causes.iter_mut().filter(|cause| is_open && cause.code == failure.code()) {
            cause.ruled_out.push(format!("your own connection: {other} answered in the same run"));
            if failure == TargetFailure::Silent {
                cause.evidence.push(
                    "nothing tells apart whether it is down or a firewall drops everything to it".to_owned(),
                );
            }
        }
    }
}

/// A relay that answers questions and loses what it carries on is at fault itself: what lies on the way to it loses both alike.
fn relay(judged: &mut [Judged<'_>]) {
    let asked: Vec<(String, String, Estimate, u64)> = judged
        .iter()
        .filter_map(|it| {
            let Some(Details::Stun(stun)) = &it.target.details else { return None };
            let lost = *stun.round_trip.loss_ratio.measured()?;
            Some((name_of(&it.target.url).to_owned(), it.target.url.clone(), lost, stun.round_trip.answered))
        })
        .collect();
    for it in judged.iter_mut() {
        let name = name_of(&it.target.url).to_owned();
        let Some((_, url, lost, answered)) = asked.iter().find(|(of, ..)| *of == name) else { continue };
        for cause in it.causes.iter_mut().filter(|cause| cause.code == "relay_loses") {
            let Some(relayed) = cause.measured else { continue };
            if lost.high.is_some_and(|high| high <= HALF * relayed) {
                cause.place = Place::Relay;
                cause.ruled_out.push(format!(
                    "the way to it: {answered} of {} questions to {url} were answered in the same run",
                    lost.n
                ));
                cause.fix = Some(
                    "Use another relay, or ask whoever runs this one: it may have too much to do.".to_owned(),
                );
            }
        }
    }
}

/// IPv6 was tried and nothing came back, and nobody was reached over it.
fn ipv6(judged: &mut [Judged<'_>]) {
    let is_v6 = |address: &str| address.parse::<SocketAddr>().is_ok_and(|address| address.is_ipv6());
    let reached = judged.iter().filter_map(|it| it.target.state.measured()?.address.as_deref());
    if reached.into_iter().any(is_v6) {
        return;
    }
    let silent = |tried: &&AddressTried| tried.failure == TargetFailure::Silent && is_v6(&tried.address);
    for it in judged.iter_mut() {
        let tried = it.target.details.as_ref().map_or(&[][..], |details| details.tried());
        let Some(tried) = tried.iter().find(silent) else { continue };
        let evidence = vec![
            format!("nothing came back from {}", tried.address),
            format!("{} answered over IPv4", host_of(&it.target.url)),
        ];
        let note = worded("ipv6_broken", BTreeMap::new());
        it.causes.push(Cause { place: Place::LocalNetwork, evidence, ..note });
        return;
    }
}

/// Says of trouble on the way to one endpoint whether the others, measured in the same run, have it too.
///
/// `of` are the causes of each endpoint that has samples.
pub(super) fn compare(of: &mut [(String, Vec<Cause>)]) {
    let seen: Vec<(String, Vec<Symptom>)> = of
        .iter()
        .map(|(url, causes)| {
            let found = causes.iter().filter(|cause| cause.state != State::Ready);
            (url.clone(), found.map(Symptom::of).collect())
        })
        .collect();
    for (at, (_, causes)) in of.iter_mut().enumerate() {
        for cause in causes.iter_mut().filter(|cause| cause.place == Place::Path) {
            let symptom = Symptom::of(cause);
            if symptom == Symptom::Other {
                continue;
            }
            let others = seen.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, seen)| seen);
            let (with, without): (Vec<_>, Vec<_>) =
                others.partition(|(_, found)| found.iter().any(|known| known.is_like(symptom)));
            if with.is_empty()
                && let Some((fine, _)) = without.first()
            {
                cause.ruled_out.push(format!("what lies on the way to all: {fine} has nothing of it"));
                cause.fix = Some(format!("Use {fine}, the way to which was fine in the same run."));
            }
            for (alike, _) in with {
                cause.evidence.push(format!("much the same was seen on the way to {alike}"));
            }
        }
    }
}
