//! A run judged: from traces to targets, verdict and host figures.

mod causes;
mod combining;
mod devices;
mod evidence;
mod figures;
mod filling;
mod joining;
mod limits;
mod observed;
mod over_tcp;
mod placing;
mod ranking;
mod relays;
mod report;
mod reported;
mod self_errors;
mod services;
mod surroundings;
mod uses;
mod way;

use std::collections::{BTreeMap, BTreeSet};

pub use devices::{Equipment, uses_of, with_devices};
pub use report::{Agreement, Frame, RecomputeError, assemble, recompute, short_code};
pub use surroundings::with_surroundings;

use self::causes::UseContext;
use self::observed::Observed;
use self::self_errors::SelfErrors;
use self::uses::UseFindings;
use crate::schema::{
    Cause, Details, FaultDirection, GatewayDetails, Host, Identity, Mode, Reached, State, Target, Use,
    UseVerdict, Value, Verdict,
};
use crate::trace::{Direction, Trace};
use crate::units::Bitrate;
use crate::verdict::{Band, Judgement, Profile, TargetFailure, words};

/// What the verdict is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The thresholds.
    pub profile: &'a Profile,
    /// The uses that count.
    pub asked: &'a BTreeSet<Use>,
    /// How long the run could be, and with it when a packet is lost.
    pub mode: Mode,
    /// Whether nothing more is to come of the run, so that point estimates decide what intervals leave open.
    pub at_cap: bool,
}

/// What is known of one endpoint beside the trace.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetMeta {
    /// `greenroom://probe.example`, without secrets.
    pub url: String,
    /// `greenroom`, `stamp`, …
    pub kind: String,
    /// How it was reached. `None` when it was not.
    pub reached: Option<Reached>,
    /// Whether it proved who it is.
    pub identity: Option<Identity>,
    /// Why it could not be measured, or not to the end.
    pub failure: Option<TargetFailure>,
    /// What an endpoint of its kind has to tell beside what follows from samples.
    pub details: Option<Details>,
    /// Whether it runs in this program, on this computer: then nothing is said of the internet path.
    pub in_process: bool,
}

/// One endpoint and what was measured against it.
#[derive(Debug, Clone, Copy)]
pub struct Probed<'a> {
    /// What is known of it.
    pub meta: &'a TargetMeta,
    /// The samples, as encoded and decoded again. `None` when there are none.
    pub trace: Option<&'a Trace>,
}

/// A run judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// One entry per endpoint, in the order given.
    pub targets: Vec<Target>,
    /// Will it work, and if not, whose fault is it.
    pub verdict: Verdict,
    /// This computer while it ran.
    pub host: Host,
    /// Mergeable histograms by metric name.
    pub sketches: BTreeMap<String, String>,
    /// Whether a longer run would not change the verdict, so that it may stop: every use asked for is certain; or the verdict is
    /// blocked for certain, and of the others there is something to say.
    pub decided: bool,
    /// Whether the answer at the cap would come from intervals alone: of every use asked for, those for a single look tell ready from
    /// not ready.
    pub settled: bool,
}

/// Judges a run: figures, findings, causes, verdict.
///
/// Cheap enough to be asked several times a second while a run goes on; give it the trace as encoded and decoded again, so
/// that whoever receives the report finds the same.
///
/// # Which time counts
///
/// A use is judged on the time in which the load offered was at most its own rung. A use with a stream of its own rung is
/// judged on that stream; before it has begun, lighter load that already fails blames the use and does not clear it. What was seen
/// under heavier load may clear a use, since what got through then gets through with less, and never blames it.
///
/// # When it is certain
///
/// While a run goes on, and for `certain`, intervals are used that hold at every look. At the cap, the state itself comes from
/// intervals for a single look, which are narrower.
pub fn assess(probed: &[Probed<'_>], question: &Question<'_>) -> Assessment {
    let mut judged: Vec<Judged<'_>> = probed.iter().map(|probed| Judged::of(probed, question)).collect();
    if !question.asked.is_empty() {
        combining::combine(&mut judged, question.asked);
    }
    let (verdict, Progress { decided, settled }) = verdict(&judged, question);
    let first = judged.iter().find_map(|judged| judged.observed.as_ref());
    let host = figures::host(first);
    let sketches = first.map(figures::sketches).unwrap_or_default();
    Assessment {
        targets: judged.into_iter().map(|judged| judged.target).collect(),
        verdict,
        host,
        decided,
        settled,
        sketches: sketches.into_iter().map(|(name, sketch)| (name, sketch.encode())).collect(),
    }
}

/// Why nothing of a call is judged by an endpoint that has only details.
const NO_MEDIA: &str = "it carries no media, which only Greenroom endpoints do";

/// The same of a relay.
const RELAYED: &str = "a relay only carries media on; what becomes of them a Greenroom endpoint tells";

/// One endpoint judged.
struct Judged<'a> {
    target: Target,
    observed: Option<Observed<'a>>,
    uses: BTreeMap<Use, (Judgement, Option<String>)>,
    causes: Vec<Cause>,
}

impl<'a> Judged<'a> {
    fn of(probed: &Probed<'a>, question: &Question<'_>) -> Self {
        let meta = probed.meta;
        let trace =
            probed.trace.filter(|trace| trace.here.streams.iter().any(|stream| !stream.tx.is_empty()));
        let mut judged = match trace {
            Some(trace) => Self::measured(meta, Observed::new(trace, question.mode), question),
            None => {
                let reason = match (&meta.failure, &meta.details) {
                    (Some(failure), _) => failure_sentence(failure, meta),
                    (None, Some(Details::Whip(_))) => reported::NOT_TOLD.to_owned(),
                    (None, Some(Details::Echo(_))) => reported::NOT_COUNTED.to_owned(),
                    (None, Some(Details::Turn(_))) => RELAYED.to_owned(),
                    (None, Some(_)) => NO_MEDIA.to_owned(),
                    (None, None) => "nothing was sent".to_owned(),
                };
                let mut target = figures::unmeasured(meta, &reason);
                reported::fill(&mut target);
                Self { target, observed: None, uses: BTreeMap::new(), causes: Vec::new() }
            }
        };
        if let Some(Reached { transport, instead_of_udp: Some(blocked), .. }) = &meta.reached {
            judged.detour(blocked, transport);
        }
        over_tcp::leave_out_what_is_hidden(&mut judged.target, meta.reached.as_ref());
        match (&meta.failure, &meta.details) {
            (Some(failure), _) => judged.fail(failure, question),
            (None, Some(details)) => judged.serve(details, question),
            (None, None) => {}
        }
        judged
    }

    fn measured(meta: &TargetMeta, observed: Observed<'a>, question: &Question<'_>) -> Self {
        let error = SelfErrors::of(&observed);
        let (mut uses, mut causes, mut unusable) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        let mut spoiled_uses = Vec::new();
        for (use_, limits) in &question.profile.uses {
            if !question.asked.contains(use_) && !offered(&observed, *use_, limits.rate_bps) {
                uses.insert(*use_, (None, Some("it was not asked for".to_owned())));
                continue;
            }
            let spoiled = |figure, direction, band: &Band| error.spoils(figure, direction, band, limits);
            let found = uses::judge(&observed, *use_, limits, question.at_cap, spoiled);
            let context = UseContext {
                use_: *use_,
                rate: limits.rate_bps,
                lighter_is_fine: &found.lighter_is_fine,
                filling: &found.filling,
            };
            let before = unusable.len();
            for judged in &found.judged {
                causes.extend(causes::of_finding(judged, &context, &observed));
                if judged.finding.judgement == Judgement::OPEN
                    && spoiled(judged.figure, direction_of(judged.direction), &judged.band)
                {
                    unusable.insert(causes::figure_name(judged.figure, judged.direction));
                }
            }
            if unusable.len() > before {
                spoiled_uses.push(*use_);
            }
            let (judgement, reason) = worst(&found, question.at_cap);
            uses.insert(*use_, (judgement, reason));
        }
        let unusable: Vec<String> = unusable.into_iter().collect();
        if !unusable.is_empty() {
            causes.push(causes::spoiled(&unusable, error.worst_ms(), &spoiled_uses));
        }
        let unexplained: u64 = observed.streams.iter().map(|stream| stream.flow.unexplained).sum();
        let implausible = observed.trips.implausible;
        let mut uses: BTreeMap<Use, (Judgement, Option<String>)> = uses
            .into_iter()
            .filter_map(|(use_, (judgement, reason))| Some((use_, (judgement?, reason))))
            .collect();
        if lies(implausible, unexplained, observed.trips.samples.len()) {
            causes.push(causes::lies(implausible, unexplained, &uses.keys().copied().collect::<Vec<_>>()));
            for (judgement, reason) in uses.values_mut() {
                *judgement = Judgement::OPEN;
                *reason = Some("the endpoint's answers contradict themselves".to_owned());
            }
        }
        causes.extend(causes::notes(&observed));
        let target = figures::target(meta, &observed, question.profile, unusable);
        Self { target, observed: Some(observed), uses, causes }
    }

    /// Whether it has figures that did not come from media.
    fn was_asked_well(&self) -> bool {
        self.target.details.is_some() && self.target.state.measured().is_some()
    }

    /// Takes in that the probes took another way than media do at their best.
    fn detour(&mut self, blocked: &TargetFailure, transport: &str) {
        for (judgement, _) in self.uses.values_mut() {
            *judgement = judgement.worsened_by(Judgement::DEGRADED);
        }
        let uses: Vec<Use> = self.uses.keys().copied().collect();
        self.causes.push(causes::of_detour(blocked, transport, host_of(&self.target.url), &uses));
    }

    /// Takes in what an endpoint told that the call needs and that carries no media.
    fn serve(&mut self, details: &Details, question: &Question<'_>) {
        let uses: Vec<Use> = question.asked.iter().copied().collect();
        let causes = services::causes(details, host_of(&self.target.url), &uses, question.profile);
        for cause in causes.iter().filter(|_| !uses.is_empty()) {
            let worsened = match cause.state {
                State::Degraded => Judgement::DEGRADED,
                State::Blocked => Judgement::BLOCKED,
                State::Inconclusive => Judgement::OPEN,
                _ => continue,
            };
            for use_ in &uses {
                let (judgement, reason) = self.uses.entry(*use_).or_insert((Judgement::READY, None));
                *judgement = judgement.worsened_by(worsened);
                *reason = Some(format!("it needs {}", host_of(&self.target.url)));
            }
        }
        // Nothing is asked of a measurement but its figures.
        if !uses.is_empty() {
            self.causes.extend(causes);
        }
    }

    /// Takes in that the endpoint was not measured, or not to the end.
    fn fail(&mut self, failure: &TargetFailure, question: &Question<'_>) {
        let measured = self.observed.is_some();
        let state = failure.state();
        // What only looks at the way is nothing that a call needs: this computer may not, or nobody on the way answers.
        let looks = matches!(self.target.kind.as_str(), "path" | "mtu" | "dscp" | "ecn");
        if looks && matches!(failure, TargetFailure::Local { .. }) && !question.asked.is_empty() {
            return;
        }
        // Many hosts answer no echo requests, by choice.
        let echoes = looks || self.target.kind == "icmp";
        let reflects = matches!(self.target.kind.as_str(), "dscp" | "ecn");
        let nobody = *failure == TargetFailure::Silent || (reflects && *failure == TargetFailure::PortClosed);
        if echoes && nobody && !question.asked.is_empty() {
            let host = BTreeMap::from([("host".to_owned(), serde_json::json!(host_of(&self.target.url)))]);
            self.causes.push(causes::worded(if reflects { "no_reflector" } else { "no_echo" }, host));
            return;
        }
        let uses: Vec<Use> =
            question.asked.iter().copied().filter(|use_| question.profile.uses.contains_key(use_)).collect();
        for use_ in &uses {
            let (judgement, reason) = self.uses.entry(*use_).or_insert((Judgement::READY, None));
            let failed = if state == State::Blocked { Judgement::BLOCKED } else { Judgement::OPEN };
            *judgement = judgement.worsened_by(failed);
            *reason = Some(words::short(failure.code()).to_owned());
        }
        let state = if measured { State::Inconclusive } else { state };
        let cause = causes::of_failure(failure, host_of(&self.target.url), &uses, state);
        self.causes.push(cause);
    }
}

/// Whether a use's own rung was offered.
fn offered(observed: &Observed<'_>, use_: Use, rate: Bitrate) -> bool {
    use_ == Use::Audio
        || observed
            .streams
            .iter()
            .any(|s| s.flow.media == use_.media() && s.flow.rate == rate && !s.marks.is_empty())
}

/// The worst of a use's figures, and what is open or missing.
fn worst(found: &UseFindings, at_cap: bool) -> (Option<Judgement>, Option<String>) {
    let judged = found.judged.iter().map(|judged| judged.finding.judgement).reduce(Judgement::worsened_by);
    let open: BTreeSet<String> = found
        .judged
        .iter()
        .filter(|judged| judged.finding.judgement.state == State::Inconclusive)
        .map(|judged| causes::figure_name(judged.figure, None))
        .collect();
    let undecided = judged.is_none_or(|judged| judged.state == State::Inconclusive);
    let reason = match (open.len(), found.missing.is_empty()) {
        _ if !undecided => None,
        (0, true) => None,
        (0, false) => Some("not every figure could be measured".to_owned()),
        (1 | 2, _) => {
            let names: Vec<_> = open.into_iter().collect();
            Some(format!("too few samples to judge {}", names.join(" and ")))
        }
        _ => Some("too few samples to tell".to_owned()),
    };
    // While the run goes on, what is missing may still come; at its end, what was never measured is not judged.
    let judged = match judged {
        Some(judged) if !found.missing.is_empty() && !at_cap => Some(judged.worsened_by(Judgement::OPEN)),
        None if !at_cap => Some(Judgement::OPEN),
        judged => judged,
    };
    (judged, reason)
}

/// How far a verdict has come: see [`Assessment`].
struct Progress {
    decided: bool,
    settled: bool,
}

/// The verdict over all endpoints, per use and overall the worst.
fn verdict(judged: &[Judged<'_>], question: &Question<'_>) -> (Verdict, Progress) {
    let in_process = !judged.is_empty() && judged.iter().all(|judged| judged.target.in_process);
    let mut uses: BTreeMap<Use, UseVerdict> = BTreeMap::new();
    let mut overall: Option<Judgement> = None;
    let (mut certain, mut answered, mut settled) = (true, true, true);
    for use_ in Use::ALL {
        let asked = question.asked.contains(&use_);
        let found = judged.iter().filter_map(|judged| judged.uses.get(&use_));
        let worst = found.clone().map(|(judgement, _)| *judgement).reduce(Judgement::worsened_by);
        let Some(worst) = worst.filter(|_| !in_process) else {
            if asked || question.profile.uses.contains_key(&use_) {
                let reason = Some(why_not_tested(use_, asked, judged, in_process, question.profile));
                uses.insert(use_, UseVerdict { state: State::NotTested, certain: false, asked, reason });
            }
            continue;
        };
        let leading = found.clone().find(|(judgement, _)| judgement.state == worst.state);
        let reason = leading.and_then(|(_, reason)| reason.clone());
        uses.insert(use_, UseVerdict { state: worst.state, certain: worst.certain(), asked, reason });
        if asked {
            overall = Some(overall.map_or(worst, |overall| overall.worsened_by(worst)));
            certain &= worst.certain();
            answered &= worst.answers();
            settled &= worst.settled();
        }
    }
    let causes = causes_of_all(judged, question.asked);
    let state = overall.map_or(State::NotTested, |overall| overall.state);
    let lead = leading(&causes, state, question.asked);
    let measured = judged.iter().any(|judged| judged.observed.is_some() || judged.was_asked_well());
    // Where nothing was asked to be judged, what stood in the way of measuring is all there is to say.
    let lead = lead.or_else(|| causes.iter().find(|_| question.asked.is_empty() && !measured));
    let decided = overall.is_some_and(|overall| certain || (overall.certainly_blocked() && answered));
    let verdict = Verdict {
        overall: state,
        certain: overall.is_some_and(Judgement::certain),
        place: lead.map(|cause| cause.place),
        direction: lead.and_then(|cause| cause.direction),
        say: lead.map_or_else(
            || without_cause(state, question.asked, in_process, measured),
            |cause| cause.say.clone(),
        ),
        fix: match (lead, state) {
            (Some(cause), _) => cause.fix.clone(),
            (None, State::Inconclusive) => {
                Some("Run a deep check, which takes longer and can tell.".to_owned())
            }
            (None, State::NotTested) if measured && question.asked.is_empty() => None,
            (None, State::NotTested) => Some("Name an endpoint to check against.".to_owned()),
            (None, _) => None,
        },
        uses,
        causes,
    };
    (verdict, Progress { decided, settled })
}

/// The causes of all endpoints, each placed by what is known of its own way, the worst first.
fn causes_of_all(judged: &[Judged<'_>], asked: &BTreeSet<Use>) -> Vec<Cause> {
    let several = judged.iter().filter(|judged| router(judged).is_none()).count() > 1;
    let (mut traced, mut all) = (Vec::new(), Vec::new());
    for (at, it) in judged.iter().enumerate() {
        let mut causes = ranking::ranked(it.causes.clone(), asked);
        let measured = it.observed.is_some();
        placing::place(&mut causes, Some(&it.target).filter(|_| measured), gateway(judged, at));
        for cause in causes.iter_mut().filter(|_| several) {
            cause.target = Some(it.target.url.clone());
        }
        if measured { traced.push((it.target.url.clone(), causes)) } else { all.extend(causes) }
    }
    if traced.len() > 1 {
        combining::compare(&mut traced);
    }
    let mut causes: Vec<Cause> = traced.into_iter().flat_map(|(_, causes)| causes).chain(all).collect();
    ranking::sort(&mut causes, asked);
    causes
}

/// What the first router told on the way to the endpoint at this place: the next one in the list, before any other endpoint's.
fn gateway<'a>(judged: &'a [Judged<'_>], at: usize) -> Option<&'a GatewayDetails> {
    let behind = judged.iter().skip(at + 1).take_while(|it| it.observed.is_none());
    behind.into_iter().find_map(router)
}

fn router<'a>(judged: &'a Judged<'_>) -> Option<&'a GatewayDetails> {
    match &judged.target.details {
        Some(Details::Gateway(gateway)) => Some(gateway),
        _ => None,
    }
}

/// The worst cause that bears on a use asked for and is as bad as the verdict. A note leads nothing: who is ready is told so.
fn leading<'a>(causes: &'a [Cause], overall: State, asked: &BTreeSet<Use>) -> Option<&'a Cause> {
    let bears = |cause: &&Cause| cause.uses.iter().any(|use_| asked.contains(use_));
    causes.iter().filter(bears).find(|cause| cause.state == overall && overall != State::Ready)
}

/// What to say when no single cause leads.
fn without_cause(state: State, asked: &BTreeSet<Use>, in_process: bool, measured: bool) -> String {
    let names = asked.iter().map(|use_| use_.short()).collect::<Vec<_>>().join(", ");
    match state {
        State::Ready => format!("Your connection is ready for {names}."),
        State::NotTested if in_process => {
            "This computer was tested against itself; this says nothing about the internet path.".to_owned()
        }
        State::NotTested if measured && asked.is_empty() => {
            "The network was measured; nothing was asked to be judged.".to_owned()
        }
        State::NotTested if measured => {
            "What was named answers. Whether a call works, only an endpoint that carries media can tell."
                .to_owned()
        }
        State::NotTested => "The network was not tested.".to_owned(),
        State::Inconclusive => "The check was too short to tell.".to_owned(),
        State::Degraded | State::Blocked | State::PermissionDenied => {
            "Something stands in the way.".to_owned()
        }
    }
}

fn why_not_tested(
    use_: Use,
    asked: bool,
    judged: &[Judged<'_>],
    in_process: bool,
    profile: &Profile,
) -> String {
    match () {
        () if !profile.uses.contains_key(&use_) => {
            format!("profile {}/{} does not judge it", profile.name, profile.version)
        }
        () if in_process => "the endpoint was this computer itself".to_owned(),
        () if judged.iter().all(|judged| judged.observed.is_none() && judged.was_asked_well())
            && !judged.is_empty() =>
        {
            NO_MEDIA.to_owned()
        }
        () if judged.is_empty() => "there was no endpoint".to_owned(),
        () if !asked => "it was not asked for".to_owned(),
        () => "the run ended before it was measured".to_owned(),
    }
}

fn direction_of(direction: Option<FaultDirection>) -> Option<Direction> {
    match direction? {
        FaultDirection::Up => Some(Direction::Up),
        FaultDirection::Down => Some(Direction::Down),
        FaultDirection::Both => None,
    }
}

/// Whether more of what the endpoint says is impossible than damage on the way explains: more than 1 %, and at least 3.
fn lies(implausible: u64, unexplained: u64, plausible: usize) -> bool {
    let bad = implausible.saturating_add(unexplained);
    bad >= 3 && bad.saturating_mul(100) > u64::try_from(plausible).unwrap_or(u64::MAX)
}

/// Whether and how the endpoint was reached, as the report tells it.
fn reached(meta: &TargetMeta) -> Value<Reached> {
    match (&meta.reached, &meta.failure) {
        (Some(reached), _) => Value::Measured(reached.clone()),
        (None, Some(failure)) => Value::failed(failure_sentence(failure, meta)),
        (None, None) => Value::not_tested(match &meta.details {
            Some(Details::Gateway(gateway)) => untold(gateway),
            Some(Details::Service(_)) => "nothing of it answered",
            _ => "it was not tried",
        }),
    }
}

/// Why nothing is known of the router. That it answers nobody is no failure: many do not.
fn untold(gateway: &GatewayDetails) -> &str {
    match (&gateway.unasked, &gateway.address) {
        (Some(why), _) => why,
        (None, Value::Measured(_)) => "it answers no echo requests",
        (None, Value::NotTested { reason } | Value::Failed { reason }) => reason,
    }
}

fn failure_sentence(failure: &TargetFailure, meta: &TargetMeta) -> String {
    causes::of_failure(failure, host_of(&meta.url), &[], State::Inconclusive).say
}

/// The host in a URL like `greenroom://probe.example:7443#…` or `stun:probe.example`, for a sentence; the whole text when it is none.
fn host_of(url: &str) -> &str {
    let is_scheme = |text: &str| text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    // `stun:probe.example` has no slashes.
    let rest = match url.split_once("://").or_else(|| url.split_once(':').filter(|(name, _)| is_scheme(name)))
    {
        Some((_, rest)) => rest,
        None => url,
    };
    rest.split(['/', '#', '?']).next().filter(|host| !host.is_empty()).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_leads_no_verdict() {
        let asked = BTreeSet::from([Use::Audio]);
        let cause = |state| {
            let worded = causes::worded("certificate_private", BTreeMap::new());
            vec![Cause { state, uses: vec![Use::Audio], ..worded }]
        };
        assert_eq!(leading(&cause(State::Ready), State::Ready, &asked), None);
        assert!(leading(&cause(State::Degraded), State::Degraded, &asked).is_some());
    }
}
