//! From findings to causes: what it is called, where it is, what speaks for it and what was ruled out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::filling::Filling;
use super::observed::Observed;
use super::uses::{Figure, Judged, near};
use crate::metrics::flow::{Counts, Flow};
use crate::schema::{Cause, FaultDirection, Place, State, Use};
use crate::trace::{Direction, StampSource};
use crate::units::Bitrate;
use crate::verdict::{TargetFailure, words};

/// A use with the rate it needs, and per direction whether lighter load got through and what queue the use's own filled.
pub(super) struct UseContext<'a> {
    pub(super) use_: Use,
    pub(super) rate: Bitrate,
    pub(super) lighter_is_fine: &'a BTreeMap<Direction, bool>,
    pub(super) filling: &'a BTreeMap<Direction, Filling>,
}

/// The cause that a finding past its thresholds is; `None` when it is not past them.
pub(super) fn of_finding(
    judged: &Judged,
    context: &UseContext<'_>,
    observed: &Observed<'_>,
) -> Option<Cause> {
    let state = judged.finding.judgement.state;
    if !matches!(state, State::Degraded | State::Blocked) {
        return None;
    }
    let direction = match judged.direction {
        Some(FaultDirection::Up) => Some(Direction::Up),
        Some(FaultDirection::Down) => Some(Direction::Down),
        _ => None,
    };
    let rate_fails = direction.is_some_and(|d| context.lighter_is_fine.get(&d).copied().unwrap_or(false));
    let seen = match (judged.figure, direction) {
        (Figure::RttIncrease, _) => load_direction(observed, context),
        _ => judged.direction,
    };
    let (code, place) = name(judged.figure, seen, rate_fails);
    let share = judged.finding.value;
    let mut params: BTreeMap<String, Value> = BTreeMap::new();
    for (key, value) in numbers(judged.figure, share, context) {
        params.insert(key.to_owned(), value);
    }
    // What fails for its rate is told as the rate that got through, not as the share that did not.
    let as_rate = code.starts_with("rate_");
    let told = |x: f64| if as_rate { context.rate.mbps() * 1e6 * (1.0 - x) } else { x };
    if let Some((low, high)) = judged.finding.interval {
        let (low, high) = if as_rate { (told(high), told(low)) } else { (low, high) };
        params.extend([("low".to_owned(), json!(low)), ("high".to_owned(), json!(high))]);
    }
    if as_rate && let Some(direction) = direction {
        // What lighter load shows to be the rate's doing, rather than loss or delay that everything suffers.
        let counts = flow_of(observed, context, direction).map(|flow| flow.counts);
        let overflows = counts.is_some_and(|counts| counts.lost > 0 && counts.lost * 100 >= counts.sent);
        let narrow = context.filling.contains_key(&direction) || (rate_fails && overflows);
        params.insert("narrow".to_owned(), json!(narrow));
    }
    let (measured, good) = (share.map(told), told(judged.band.good));
    let margin = measured.map(|measured| if as_rate { good / measured } else { measured / good });
    Some(Cause {
        state,
        place,
        direction: seen,
        uses: vec![context.use_],
        metric: Some(metric(if as_rate { Figure::Rate } else { judged.figure }, direction, context.use_)),
        measured,
        good: Some(good),
        limit: judged.band.limit.map(told),
        margin: margin.filter(|margin| margin.is_finite()),
        evidence: evidence(judged, direction, context, observed),
        ruled_out: ruled_out(place, direction, observed),
        ..worded(code, params)
    })
}

/// The cause that an endpoint which could not be measured is.
pub(super) fn of_failure(failure: &TargetFailure, host: &str, uses: &[Use], state: State) -> Cause {
    let mut params = BTreeMap::from([("host".to_owned(), json!(host))]);
    if let Ok(Value::Object(details)) = serde_json::to_value(failure) {
        params.extend(details.into_iter().filter(|(key, value)| key != "code" && !value.is_null()));
    }
    let evidence = match failure {
        TargetFailure::UdpBlocked { works: Some(works) } => {
            vec![format!("{works} got through while nothing came back over UDP")]
        }
        TargetFailure::UdpPortBlocked { port, works } => {
            vec![format!("{works} got through while nothing came back from UDP port {port}")]
        }
        TargetFailure::UdpBlockedHere { port, works } => {
            let refused = format!("the system refused to send to UDP port {port}");
            let through = works.as_ref().map(|works| format!("{works} got through"));
            [refused].into_iter().chain(through).collect()
        }
        TargetFailure::AddressChanged => {
            vec!["answers were genuine, but came from another address than before".to_owned()]
        }
        TargetFailure::UnknownHost { detail }
        | TargetFailure::NotThisKind { detail }
        | TargetFailure::WrongProtocol { detail, .. }
        | TargetFailure::TlsUnverified { detail }
        | TargetFailure::TlsRefused { detail }
        | TargetFailure::Proxy { detail, .. }
        | TargetFailure::UnusableAnswer { detail }
        | TargetFailure::MediaKeys { detail }
        | TargetFailure::Refused { detail }
        | TargetFailure::Disturbed { detail }
        | TargetFailure::Local { detail } => vec![detail.clone()],
        TargetFailure::Died => {
            vec!["nothing tells apart whether the endpoint stopped or the way to it broke".to_owned()]
        }
        _ => Vec::new(),
    };
    Cause { state, place: failure.place(), uses: uses.to_vec(), evidence, ..worded(failure.code(), params) }
}

/// The cause that a detour is: UDP did not get through, and the probes took another way.
pub(super) fn of_detour(blocked: &TargetFailure, transport: &str, host: &str, uses: &[Use]) -> Cause {
    let mut cause = of_failure(blocked, host, uses, State::Degraded);
    let instead = match transport {
        "quic-datagram" => "QUIC datagrams instead, which leave at the pace of QUIC's own control".to_owned(),
        "turn-udp" => "a relay over UDP (TURN) instead".to_owned(),
        "turn-tcp" | "turn-tls" => {
            "a relay (TURN) instead, on the way to which what is lost is sent again and shows as delay"
                .to_owned()
        }
        other => format!("the {other} instead, where what is lost is sent again and shows as delay"),
    };
    cause.evidence.push(format!("all figures are those of {instead}"));
    cause
}

/// Things worth knowing that are nobody's verdict.
pub(super) fn notes(observed: &Observed<'_>) -> Vec<Cause> {
    let mut notes = Vec::new();
    let here = &observed.trace.here;
    if observed.streams.iter().any(|s| !by_kernel(s.flow.tx_source) || !by_kernel(s.flow.rx_source)) {
        let which = |half: Option<&crate::trace::Half>| match half {
            Some(half) if by_kernel(half.clock.tx) && by_kernel(half.clock.rx) => "by the system",
            Some(_) => "by the program",
            None => "not told",
        };
        let evidence = vec![format!(
            "times here: {}; at the endpoint: {}",
            which(Some(here)),
            which(observed.trace.there.as_ref())
        )];
        notes.push(Cause {
            place: Place::Computer,
            evidence,
            ..worded("no_kernel_timestamps", BTreeMap::new())
        });
    }
    let halves = [(Place::Computer, Some(here)), (Place::Service, observed.trace.there.as_ref())];
    for (place, half) in halves.into_iter().filter_map(|(place, half)| Some((place, half?))) {
        let steps = &half.clock.steps;
        if let Some(greatest) = steps.iter().max_by_key(|step| step.by.abs()) {
            let params = BTreeMap::from([
                ("ms".to_owned(), json!(greatest.by.as_ms())),
                ("steps".to_owned(), json!(steps.len())),
            ]);
            notes.push(Cause { place, ..worded("clock_stepped", params) });
        }
    }
    let late = observed.streams.iter().filter(|s| s.flow.direction == Direction::Up).map(|s| &s.flow);
    let (late, sent) = late.fold((0, 0), |(late, sent), flow| {
        (late + crate::metrics::host::late_sends(flow), sent + flow.counts.sent)
    });
    let left_late = (late * 20 > sent).then(|| format!("{late} of {sent} packets left late"));
    let unaffected = observed
        .streams
        .iter()
        .all(|s| by_kernel(s.flow.tx_source) && by_kernel(s.flow.rx_source))
        .then(|| "the figures are not affected: the system itself took the times".to_owned());
    let evidence: Vec<String> = left_late.iter().cloned().chain(unaffected).collect();
    let busy = here.host_load.filter(|load| load.busy_ratio > BUSY || load.steal_ratio > STOLEN);
    // A busy processor is why packets leave late: one note says both.
    if let Some(load) = busy {
        let percent = |ratio: f64| json!((ratio * 100.0).round());
        let (code, name, value) = match load.busy_ratio > BUSY {
            true => ("cpu_busy", "percent", percent(load.busy_ratio)),
            false => ("cpu_stolen", "stolen_percent", percent(load.steal_ratio)),
        };
        let params = BTreeMap::from([(name.to_owned(), value)]);
        notes.push(Cause { place: Place::Computer, evidence, ..worded(code, params) });
    } else if left_late.is_some() {
        let params = BTreeMap::from([("late".to_owned(), json!(late)), ("sent".to_owned(), json!(sent))]);
        let evidence = evidence.into_iter().skip(1).collect();
        notes.push(Cause {
            place: Place::Computer,
            direction: Some(FaultDirection::Up),
            evidence,
            ..worded("send_late", params)
        });
    }
    notes
}

/// The endpoint's times contradict what was seen here.
pub(super) fn lies(implausible: u64, unexplained: u64, uses: &[Use]) -> Cause {
    let evidence = [
        (implausible, "replies carry times that cannot be true"),
        (unexplained, "packets answer to nothing that was sent"),
    ];
    Cause {
        state: State::Inconclusive,
        place: Place::Service,
        uses: uses.to_vec(),
        evidence: evidence.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect(),
        ..worded("endpoint_lies", BTreeMap::new())
    }
}

/// A figure that the measurement's own error makes useless.
pub(super) fn spoiled(figures: &[String], error_ms: f64, uses: &[Use]) -> Cause {
    Cause {
        state: State::Inconclusive,
        place: Place::Computer,
        uses: uses.to_vec(),
        measured: Some(error_ms),
        evidence: figures.iter().map(|figure| format!("{figure} is not usable")).collect(),
        ..worded("measurement_spoiled", BTreeMap::from([("ms".to_owned(), json!(error_ms))]))
    }
}

/// A cause with the words of its code; everything else is for the caller to fill in.
pub(super) fn worded(code: &str, params: BTreeMap<String, Value>) -> Cause {
    let sentences = words::english(code);
    Cause {
        code: code.to_owned(),
        say: words::fill(sentences.say, &params),
        fix: sentences.fix.map(|fix| words::fill(fix, &params)),
        params,
        state: State::Ready,
        place: Place::Unknown,
        direction: None,
        uses: Vec::new(),
        target: None,
        metric: None,
        measured: None,
        good: None,
        limit: None,
        margin: None,
        evidence: Vec::new(),
        ruled_out: Vec::new(),
    }
}

/// Cores busier than this make programs late.
const BUSY: f64 = 0.9;
/// Time taken away by a hypervisor beyond this makes programs late.
const STOLEN: f64 = 0.05;

/// Code and place of a figure past its thresholds.
fn name(figure: Figure, direction: Option<FaultDirection>, rate_fails: bool) -> (&'static str, Place) {
    let up = direction == Some(FaultDirection::Up);
    let by = |up_code, down_code| if up { up_code } else { down_code };
    match figure {
        Figure::Loss | Figure::Rate if rate_fails => (by("rate_up", "rate_down"), Place::Path),
        Figure::Loss => (by("loss_up", "loss_down"), Place::Path),
        Figure::Rate => (by("rate_up", "rate_down"), Place::Path),
        Figure::LateLoss => (by("late_loss_up", "late_loss_down"), Place::Path),
        Figure::BurstLoss => (by("burst_loss_up", "burst_loss_down"), Place::Path),
        Figure::Rtt => ("rtt_high", Place::Path),
        Figure::Pdv => (by("pdv_up", "pdv_down"), Place::Path),
        Figure::RttIncrease => match direction {
            Some(FaultDirection::Up) => ("bufferbloat_up", Place::Path),
            Some(FaultDirection::Down) => ("bufferbloat_down", Place::Path),
            _ => ("bufferbloat", Place::Path),
        },
        Figure::Reordered => (by("reordered_up", "reordered_down"), Place::Path),
        // The receiving computer drops and delays; the sending one queues.
        Figure::HostLoss if up => ("host_drops_there", Place::Service),
        Figure::HostLoss => ("host_drops_here", Place::Computer),
        Figure::HostDelay if up => ("host_delay_there", Place::Service),
        Figure::HostDelay => ("host_delay_here", Place::Computer),
        Figure::LocalQueue if up => ("local_queue", Place::Computer),
        Figure::LocalQueue => ("local_queue_there", Place::Service),
    }
}

/// Where in the report the figure stands.
fn metric(figure: Figure, direction: Option<Direction>, use_: Use) -> String {
    let way = match direction {
        Some(Direction::Up) => "up",
        Some(Direction::Down) => "down",
        None => "",
    };
    let flow = if use_ == Use::Audio { way.to_owned() } else { format!("streams.{}.{way}", use_.name()) };
    match figure {
        Figure::Loss => format!("{flow}.loss_ratio"),
        Figure::Rate => format!("{flow}.in_time_bps"),
        Figure::LateLoss => format!("{flow}.late_loss_ratio.adaptive"),
        Figure::BurstLoss => format!("{flow}.burst_loss_200ms_ratio"),
        Figure::Rtt => "rtt_ms.p50".to_owned(),
        Figure::Pdv => format!("{flow}.pdv_ms.p95"),
        Figure::RttIncrease => format!("loaded.rtt_increase_ms.{}", use_.name()),
        Figure::Reordered => format!("{flow}.reordering.ratio"),
        Figure::HostLoss => format!("{flow}.host_loss_ratio"),
        Figure::HostDelay => format!("{way}.host_delay_ms.p95"),
        Figure::LocalQueue => format!("{way}.local_queue_ms.p95"),
    }
}

/// The numbers for the sentence.
fn numbers(figure: Figure, measured: Option<f64>, context: &UseContext<'_>) -> Vec<(&'static str, Value)> {
    let Some(measured) = measured else { return Vec::new() };
    let mbps = context.rate.mbps();
    match figure {
        Figure::Loss | Figure::Rate => {
            vec![
                ("percent", json!(measured * 100.0)),
                ("mbps", json!(mbps)),
                ("carried_mbps", json!(told_below(mbps * (1.0 - measured), mbps))),
            ]
        }
        Figure::LateLoss | Figure::BurstLoss | Figure::Reordered | Figure::HostLoss => {
            vec![("percent", json!(measured * 100.0))]
        }
        Figure::Rtt | Figure::Pdv | Figure::RttIncrease | Figure::HostDelay | Figure::LocalQueue => {
            vec![("ms", json!(measured))]
        }
    }
}

/// Rounded down where a sentence that rounds would tell a little less than what is needed as all of it.
fn told_below(carried: f64, needed: f64) -> f64 {
    let alike = words::plain(&json!(carried)) == words::plain(&json!(needed));
    let digit = if carried < 1.0 { 100.0 } else { 10.0 };
    if alike && carried < needed { ((carried * digit).ceil() - 1.0) / digit } else { carried }
}

/// Which way the delay rose under load: the one whose delay variation did, by more than half of the whole.
fn load_direction(observed: &Observed<'_>, context: &UseContext<'_>) -> Option<FaultDirection> {
    let risen = |direction| {
        let audio = observed.audio(direction)?;
        let loaded = observed.time_up_to(context.rate);
        let quiet = observed.time_up_to(Bitrate::default());
        let p95 = |keep: &dyn Fn(crate::units::Micros) -> bool| {
            let values = audio.marks.iter().filter(|mark| keep(mark.at)).filter_map(|mark| mark.pdv);
            values
                .collect::<crate::metrics::percentile::Sorted>()
                .at(crate::metrics::percentile::Quantile::P95)
        };
        Some(
            (p95(&|at| loaded.holds(at) && !quiet.holds(at))? - p95(&|at| quiet.holds(at))?).as_ms().max(0.0),
        )
    };
    match (risen(Direction::Up), risen(Direction::Down)) {
        (Some(up), Some(down)) if up > 2.0 * down => Some(FaultDirection::Up),
        (Some(up), Some(down)) if down > 2.0 * up => Some(FaultDirection::Down),
        (Some(_), Some(_)) => Some(FaultDirection::Both),
        _ => None,
    }
}

/// What speaks for a cause, for support.
fn evidence(
    judged: &Judged,
    direction: Option<Direction>,
    context: &UseContext<'_>,
    observed: &Observed<'_>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let flow = direction.and_then(|d| flow_of(observed, context, d));
    if let Some(counts) = flow.map(|flow| flow.counts) {
        lines.push(format!("{}: {}", stream_name(context.use_), fates(&counts)));
    }
    let load = match judged.finding.pooled {
        false => "none under more load than the use itself makes",
        true => "more load than the use itself makes made no difference",
    };
    lines.push(format!("{} samples, {load}", judged.finding.n));
    if !judged.finding.judgement.certain() {
        lines.push("a longer run would tell more surely".to_owned());
    }
    if matches!(judged.figure, Figure::Loss | Figure::Rate)
        && direction.is_some_and(|d| context.lighter_is_fine.get(&d).copied().unwrap_or(false))
    {
        lines.push("lighter load got through the same way".to_owned());
    }
    let filling = direction.and_then(|d| context.filling.get(&d)).filter(|_| judged.figure == Figure::Rate);
    if let Some(filling) = filling {
        lines.push(format!("a queue grew by {:.0} ms while it was sent", filling.grown.as_ms()));
    }
    lines
}

/// What was looked at in the two computers and is not the cause of something on the path.
fn ruled_out(place: Place, direction: Option<Direction>, observed: &Observed<'_>) -> Vec<String> {
    let (Place::Path, Some(direction)) = (place, direction) else { return Vec::new() };
    let Some(flow) = observed.audio(direction).map(|s| &s.flow) else { return Vec::new() };
    let (sender, receiver) = match direction {
        Direction::Up => ("this computer", "the endpoint"),
        Direction::Down => ("the endpoint", "this computer"),
    };
    let mut lines = Vec::new();
    if flow.counts.send_failed == 0 {
        lines.push(format!("{sender} refused no packet"));
    }
    if flow.counts.host_dropped == 0 && by_kernel(flow.rx_source) {
        lines.push(format!("{receiver} dropped none that reached it"));
    }
    if by_kernel(flow.tx_source) && by_kernel(flow.rx_source) {
        lines.push(
            "times were taken by the system at both ends, so that a busy program adds nothing to them"
                .to_owned(),
        );
    }
    lines
}

/// The use's own stream: of its media and, for media with more than one rung, of its rate.
fn flow_of<'a>(
    observed: &'a Observed<'_>,
    context: &UseContext<'_>,
    direction: Direction,
) -> Option<&'a Flow> {
    let found = if context.use_ == Use::Audio {
        observed.audio(direction)
    } else {
        observed
            .media(direction)
            .find(|s| s.flow.media == context.use_.media() && near(s.flow.rate, context.rate))
    };
    found.map(|s| &s.flow)
}

/// How details call a use's stream.
fn stream_name(use_: Use) -> String {
    match use_ {
        Use::Audio => "audio".to_owned(),
        Use::Screen => "shared screen".to_owned(),
        _ => format!("{} video", use_.short()),
    }
}

/// What became of a stream's packets; what did not happen is not told.
fn fates(counts: &Counts) -> String {
    let bad = [
        (counts.lost, "lost"),
        (counts.late, "too late"),
        (counts.corrupt, "damaged"),
        (counts.host_dropped, "dropped by a computer"),
    ];
    let told: Vec<_> =
        bad.iter().filter(|(n, what)| *n > 0 || *what == "lost").map(|(n, w)| format!("{n} {w}")).collect();
    format!("{} packets sent, {}", counts.sent, told.join(", "))
}

/// Whether stamps come from below the program.
pub(super) fn by_kernel(source: StampSource) -> bool {
    matches!(source, StampSource::Kernel | StampSource::Hardware)
}

/// A figure's name for people who read details: `loss up`.
pub(super) fn figure_name(figure: Figure, direction: Option<FaultDirection>) -> String {
    let name = match figure {
        Figure::Loss => "loss",
        Figure::Rate => "rate",
        Figure::LateLoss => "late loss",
        Figure::BurstLoss => "burst loss",
        Figure::Rtt => "round trip",
        Figure::Pdv => "delay variation",
        Figure::RttIncrease => "delay under load",
        Figure::Reordered => "reordering",
        Figure::HostLoss => "drops by a computer",
        Figure::HostDelay => "delay within a computer",
        Figure::LocalQueue => "local queue",
    };
    match direction {
        Some(FaultDirection::Up) => format!("{name} up"),
        Some(FaultDirection::Down) => format!("{name} down"),
        Some(FaultDirection::Both) | None => name.to_owned(),
    }
}
