//! What stands between this computer and the internet, as causes: a sign-in page explains why nothing was reached; VPNs and proxies are
//! worth knowing.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Assessment, Question, causes, ranking};
use crate::schema::{Cause, Place, SignInPage, State, Surroundings, Target, Use, UseVerdict};
use crate::verdict::{TargetFailure, words};

/// Takes in what stands between. `None`: nobody looked.
pub fn with_surroundings(
    mut assessment: Assessment,
    surroundings: Option<&Surroundings>,
    question: &Question<'_>,
) -> Assessment {
    let Some(Surroundings { tunnels, proxies, sign_in_page }) = surroundings else { return assessment };
    if let Some(page) = sign_in_page.measured().filter(|page| page.found) {
        sign_in(&mut assessment, page, question);
    }
    let tunnels = tunnels.fact().filter(|tunnels| !tunnels.is_empty());
    let notes = [
        tunnels.map(|tunnels| note("vpn_on_the_way", Place::LocalNetwork, tunnels)),
        proxies.fact().filter(|proxies| !proxies.is_empty()).map(|proxies| {
            let told: Vec<String> = proxies.iter().map(|it| format!("{}={}", it.set_by, it.proxy)).collect();
            note("proxy_set", Place::Computer, &told)
        }),
    ];
    assessment.verdict.causes.extend(notes.into_iter().flatten());
    assessment
}

fn note(code: &str, place: Place, names: &[String]) -> Cause {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let params = BTreeMap::from([("names".to_owned(), json!(words::series(&names, "and")))]);
    Cause { place, ..causes::worded(code, params) }
}

/// A sign-in page blocks the call where something was not reached, and is the reason why; else it is worth knowing.
fn sign_in(assessment: &mut Assessment, page: &SignInPage, question: &Question<'_>) {
    let evidence = vec![format!("{} was asked for, and {}", page.url, page.because)];
    let portal =
        Cause { place: Place::LocalNetwork, evidence, ..causes::worded("captive_portal", BTreeMap::new()) };
    let verdict = &mut assessment.verdict;
    if verdict.causes.iter().any(|cause| cause.code == portal.code) {
        return;
    }
    if question.asked.is_empty() || !assessment.targets.iter().any(is_kept_away) {
        verdict.causes.push(portal);
        return;
    }
    let uses: Vec<Use> =
        question.asked.iter().copied().filter(|use_| question.profile.uses.contains_key(use_)).collect();
    for use_ in &uses {
        let reason = Some("a sign-in page answers instead".to_owned());
        verdict.uses.insert(*use_, UseVerdict { state: State::Blocked, certain: true, asked: true, reason });
    }
    // What was not reached was not reached because of it.
    let (explained, others): (Vec<Cause>, Vec<Cause>) =
        std::mem::take(&mut verdict.causes).into_iter().partition(|cause| {
            assessment.targets.iter().filter(|it| is_kept_away(it)).any(|it| failed(it, cause))
        });
    let portal = Cause { state: State::Blocked, uses, ..portal };
    let evidence = portal.evidence.iter().cloned().chain(explained.into_iter().map(|cause| cause.say));
    let portal = Cause { evidence: evidence.collect(), ..portal };
    (verdict.overall, verdict.certain) = (State::Blocked, true);
    (verdict.place, verdict.direction) = (Some(portal.place), None);
    (verdict.say, verdict.fix) = (portal.say.clone(), portal.fix.clone());
    verdict.causes = [portal].into_iter().chain(others).collect();
    ranking::sort(&mut verdict.causes, question.asked);
}

fn failed(target: &Target, cause: &Cause) -> bool {
    target.failure.as_ref().is_some_and(|failure| failure.code() == cause.code)
}

/// Whether something on the way may have kept us from it, rather than its own refusal.
fn is_kept_away(target: &Target) -> bool {
    target.state.measured().is_none()
        && target.failure.as_ref().is_some_and(|failure| {
            let in_its_place = matches!(
                failure,
                TargetFailure::WrongProtocol { .. }
                    | TargetFailure::NotThisKind { .. }
                    | TargetFailure::TlsUnverified { .. }
                    | TargetFailure::Refused { .. }
                    // Where the system does not tell who says no, a router's looks like this computer's own.
                    | TargetFailure::Local { .. }
            );
            failure.state() == State::Blocked || in_its_place
        })
}
