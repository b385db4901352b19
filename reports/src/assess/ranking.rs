//! Causes put together: those of one code joined, symptoms folded into what explains them, both directions told as one,
//! the worst first.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::causes::worded;
use crate::schema::{Cause, FaultDirection, Place, State, Use};
use crate::verdict::rank;

/// Joins causes of one code, folds symptoms into their causes, and sorts them: those of a use asked for first, then by
/// state, then by how far past the limit (or past good, where there is none). Notes come last.
pub(super) fn ranked(causes: Vec<Cause>, asked: &BTreeSet<Use>) -> Vec<Cause> {
    let bears = |cause: &Cause| cause.uses.iter().any(|use_| asked.contains(use_));
    let (counting, others): (Vec<_>, Vec<_>) = causes.into_iter().partition(bears);
    let mut joined = Vec::new();
    join(&mut joined, counting);
    join(&mut joined, others);
    // Again, since what is told of both ways may explain what is only seen in both together.
    let mut ranked = folded(both_ways(folded(joined, asked)), asked);
    sort(&mut ranked, asked);
    ranked
}

/// The causes of a use asked for first, then by state, then by how far past the limit.
pub(super) fn sort(causes: &mut [Cause], asked: &BTreeSet<Use>) {
    let key =
        |cause: &Cause| (!cause.uses.iter().any(|use_| asked.contains(use_)), Reverse(rank(cause.state)));
    causes.sort_by(|a, b| key(a).cmp(&key(b)).then(excess(b).total_cmp(&excess(a))));
}

/// Adds causes, each to the one already there of its code, place and symptom, if there is one: the worse of two stands for
/// both. A rate that lighter load proves too great is not joined with one that is only seen to fail.
fn join(joined: &mut Vec<Cause>, causes: Vec<Cause>) {
    let lead = joined.len();
    for cause in causes {
        let key = |cause: &Cause| (cause.code.clone(), cause.place, Symptom::of(cause));
        let known = joined.iter().position(|known| key(known) == key(&cause));
        let Some(known) = known else {
            joined.push(cause);
            continue;
        };
        let uses = union(&joined[known].uses, &cause.uses);
        // What a use asked for has measured is not replaced by what another one has.
        if known >= lead && worse(&cause, &joined[known]) {
            joined[known] = cause;
        }
        joined[known].uses = uses;
    }
}

/// Folds each cause into the first one that explains it, as evidence.
fn folded(mut causes: Vec<Cause>, asked: &BTreeSet<Use>) -> Vec<Cause> {
    let counts = |cause: &Cause| cause.uses.iter().any(|use_| asked.contains(use_));
    causes.sort_by_key(|cause| (!counts(cause), Reverse(rank(cause.state)), Symptom::of(cause)));
    let waits = causes.iter().filter(|cause| Symptom::of(cause) == Symptom::Bufferbloat);
    let queue_ms = waits.filter_map(|cause| cause.measured).reduce(f64::max);
    let mut kept: Vec<Cause> = Vec::new();
    for cause in causes {
        let explained = |known: &Cause| explains(known, &cause) || queue_explains(known, &cause, queue_ms);
        match kept.iter_mut().find(|known| explained(known)) {
            Some(known) => {
                known.uses = union(&known.uses, &cause.uses);
                known.evidence.extend(as_evidence(&cause));
            }
            None => kept.push(cause),
        }
    }
    kept
}

/// What kind of trouble a cause is. Among equally bad ones of a direction the first of these is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Symptom {
    /// Too little gets through, some of it lost, while lighter load got through well.
    Narrow,
    Loss,
    Bufferbloat,
    /// A computer dropped what had reached it.
    HostDrops,
    LateLoss,
    Pdv,
    /// Too little gets through in time, for whatever reason.
    Slow,
    BurstLoss,
    Rtt,
    Other,
}

impl Symptom {
    pub(super) fn of(cause: &Cause) -> Self {
        let base = cause.code.strip_suffix("_up").or_else(|| cause.code.strip_suffix("_down"));
        match base.unwrap_or(&cause.code) {
            "loss" => Self::Loss,
            "rate" if cause.params.get("narrow").is_some_and(|narrow| *narrow == true) => Self::Narrow,
            "rate" => Self::Slow,
            "bufferbloat" => Self::Bufferbloat,
            "late_loss" => Self::LateLoss,
            "pdv" => Self::Pdv,
            "burst_loss" => Self::BurstLoss,
            "rtt_high" => Self::Rtt,
            "host_drops_here" | "host_drops_there" => Self::HostDrops,
            _ => Self::Other,
        }
    }

    /// Whether two symptoms may be the same trouble seen at two endpoints.
    pub(super) fn is_like(self, other: Self) -> bool {
        let kind = |symptom| match symptom {
            Self::Loss | Self::BurstLoss => 0,
            Self::Narrow | Self::Slow | Self::Bufferbloat => 1,
            Self::LateLoss | Self::Pdv => 2,
            Self::Rtt => 3,
            Self::HostDrops | Self::Other => 4,
        };
        kind(self) == kind(other)
    }
}

/// Whether `symptom` says nothing that `cause` does not explain: the same packets in the same direction, no worse a state.
fn explains(cause: &Cause, symptom: &Cause) -> bool {
    use Symptom::{Bufferbloat, BurstLoss, HostDrops, LateLoss, Loss, Narrow, Pdv, Slow};
    let same_way = cause.direction == symptom.direction || cause.direction == Some(FaultDirection::Both);
    // What a computer dropped is missing where the path is judged, too.
    let same_place = cause.place == Place::Path || Symptom::of(cause) == HostDrops;
    let on_the_path = same_place && symptom.place == Place::Path;
    if !(same_way && on_the_path && rank(cause.state) >= rank(symptom.state)) {
        return false;
    }
    match (Symptom::of(cause), Symptom::of(symptom)) {
        (Loss, Slow | BurstLoss) => true,
        // A heavier use loses what does not fit either; audio is never too much.
        (Narrow, Loss) => !symptom.uses.contains(&Use::Audio),
        // What came too late on top of what was lost would be good by itself, or the other way round.
        (Loss, LateLoss) => near(symptom, cause),
        (LateLoss, Loss) => near(cause, symptom),
        // What is missing at playout counts as too late, wherever it went.
        (HostDrops, LateLoss) => near(symptom, cause),
        // A queue fills where too much is sent; what waits in it is late.
        (Narrow, Bufferbloat | LateLoss | Pdv | BurstLoss | Slow) => true,
        (Bufferbloat, LateLoss | Pdv | Narrow | Slow | BurstLoss) => true,
        (LateLoss, Pdv | Slow | BurstLoss | Bufferbloat | Narrow) => true,
        (Pdv, Slow | LateLoss | Bufferbloat) => true,
        _ => false,
    }
}

/// Whether a round trip is only long because of what waits in a queue under load.
fn queue_explains(cause: &Cause, symptom: &Cause, queue_ms: Option<f64>) -> bool {
    use Symptom::{Bufferbloat, LateLoss, Narrow, Slow};
    let (Some(queue), Some(rtt), Some(good)) = (queue_ms, symptom.measured, symptom.good) else {
        return false;
    };
    Symptom::of(symptom) == Symptom::Rtt
        && matches!(Symptom::of(cause), Narrow | Bufferbloat | LateLoss | Slow)
        && rank(cause.state) >= rank(symptom.state)
        && rtt - queue <= good
}

/// Whether the share lost or late exceeds the share lost by no more than what is good of it.
fn near(late: &Cause, lost: &Cause) -> bool {
    let good = late.good.unwrap_or(0.0);
    late.measured.zip(lost.measured).is_some_and(|(late, lost)| late - lost <= good)
}

/// A folded cause as a line of evidence.
fn as_evidence(cause: &Cause) -> Option<String> {
    let number = |name: &str| Some(crate::verdict::words::plain(cause.params.get(name)?));
    // A share that rounds to nothing speaks for nothing.
    let percent = || number("percent").filter(|share| share != "0");
    Some(match Symptom::of(cause) {
        Symptom::Loss => format!("{} % was lost", percent()?),
        Symptom::Narrow => {
            format!("{} of the {} Mbit/s offered got through", number("carried_mbps")?, number("mbps")?)
        }
        Symptom::Slow => {
            format!("{} of the {} Mbit/s offered arrived in time", number("carried_mbps")?, number("mbps")?)
        }
        Symptom::Bufferbloat => format!("under load answers took {} ms longer", number("ms")?),
        Symptom::LateLoss => format!("{} % was lost or came too late to be played", percent()?),
        Symptom::Pdv => format!("delay varied by {} ms (p95)", number("ms")?),
        Symptom::BurstLoss => format!("{} % was lost within a fifth of a second", percent()?),
        Symptom::Rtt => format!("answers took {} ms, most of it in a queue", number("ms")?),
        Symptom::HostDrops | Symptom::Other => return None,
    })
}

/// Tells two directions with the same trouble, as far as their intervals tell, as one cause.
fn both_ways(causes: Vec<Cause>) -> Vec<Cause> {
    let mut told: Vec<Cause> = Vec::new();
    for cause in causes {
        let Some(other) = told.iter().position(|other| same_both_ways(other, &cause)) else {
            told.push(cause);
            continue;
        };
        let other = told.remove(other);
        let (worse, lesser) = if worse(&cause, &other) { (cause, other) } else { (other, cause) };
        told.push(merged(worse, &lesser));
    }
    told
}

fn same_both_ways(a: &Cause, b: &Cause) -> bool {
    use FaultDirection::{Down, Up};
    let opposite = matches!((a.direction, b.direction), (Some(Up), Some(Down)) | (Some(Down), Some(Up)));
    let code = |cause: &Cause| Symptom::of(cause);
    opposite
        && a.place == b.place
        && a.state == b.state
        && !matches!(code(a), Symptom::Other | Symptom::Rtt)
        && code(a) == code(b)
        && overlap(a, b)
}

fn overlap(a: &Cause, b: &Cause) -> bool {
    let ends =
        |cause: &Cause| Some((cause.params.get("low")?.as_f64()?, cause.params.get("high")?.as_f64()?));
    matches!((ends(a), ends(b)), (Some(a), Some(b)) if a.0 <= b.1 && b.0 <= a.1)
}

/// One cause for both directions, with the numbers of the worse one.
fn merged(worse: Cause, lesser: &Cause) -> Cause {
    let code = worse.code.trim_end_matches("_up").trim_end_matches("_down").to_owned();
    let evidence = [&worse, lesser].into_iter().flat_map(|cause| {
        let way = if cause.direction == Some(FaultDirection::Up) { "sending" } else { "receiving" };
        cause.evidence.iter().map(move |line| format!("{way}: {line}"))
    });
    let mut ruled_out = worse.ruled_out.clone();
    ruled_out.extend(lesser.ruled_out.iter().filter(|line| !worse.ruled_out.contains(line)).cloned());
    let words = worded(&code, worse.params.clone());
    Cause {
        code,
        say: words.say,
        fix: words.fix,
        direction: Some(FaultDirection::Both),
        uses: union(&worse.uses, &lesser.uses),
        evidence: evidence.collect(),
        ruled_out,
        ..worse
    }
}

fn worse(a: &Cause, b: &Cause) -> bool {
    rank(a.state).cmp(&rank(b.state)).then(excess(a).total_cmp(&excess(b))).is_gt()
}

/// How far past its limit, or past good where there is none. A reason without figures (no connection) leads; a note comes last.
fn excess(cause: &Cause) -> f64 {
    if cause.state == State::Ready {
        return 0.0;
    }
    let (Some(measured), Some(bound)) = (cause.measured, cause.limit.or(cause.good)) else {
        return f64::INFINITY;
    };
    // Of a rate, more is better.
    let rate = cause.metric.as_deref().is_some_and(|path| path.ends_with("_bps"));
    if rate { bound / measured } else { measured / bound }
}

fn union(a: &[Use], b: &[Use]) -> Vec<Use> {
    a.iter().chain(b).copied().collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    /// One that blocks audio on the way down, for a share of packets of which 2 % is good.
    fn blocking(code: &str, place: Place, share: f64) -> Cause {
        Cause {
            state: State::Blocked,
            place,
            direction: Some(FaultDirection::Down),
            uses: vec![Use::Audio],
            measured: Some(share),
            good: Some(0.02),
            limit: Some(0.1),
            ..worded(code, BTreeMap::from([("percent".to_owned(), json!(share * 100.0))]))
        }
    }

    #[test]
    fn what_a_computer_dropped_is_not_told_again_as_the_paths() {
        let told = |dropped: f64, late: f64| {
            let causes = vec![
                blocking("late_loss_down", Place::Path, late),
                blocking("host_drops_here", Place::Computer, dropped),
            ];
            let ranked = ranked(causes, &BTreeSet::from([Use::Audio]));
            ranked.into_iter().map(|cause| cause.place).collect::<Vec<_>>()
        };
        assert_eq!(told(0.46, 0.46), [Place::Computer], "nothing else is missing");
        assert_eq!(told(0.46, 0.47), [Place::Computer], "what else is missing is good by itself");
        assert_eq!(told(0.2, 0.46), [Place::Path, Place::Computer], "most of it is missing otherwise");
    }

    #[test]
    fn a_share_of_nothing_is_no_evidence() {
        let line = |percent: f64| {
            as_evidence(&worded("late_loss_up", BTreeMap::from([("percent".to_owned(), json!(percent))])))
        };
        assert_eq!(line(0.0), None);
        assert_eq!(line(2.3), Some("2.3 % was lost or came too late to be played".to_owned()));
    }
}
