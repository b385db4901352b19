//! Reaches the endpoint, offers the planned traffic, looks at what it shows so far, and ends in time.

use std::time::Duration;

use greenroom_reports::assess::{Assessment, TargetMeta};
use greenroom_reports::trace::{Direction, Half, PhaseKind, StreamId, Trace};
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;

use super::{Figures, Progress, Watch};
use crate::address::Host;
use crate::conduct::{self, Conductor, Cue};
use crate::endpoint;
use crate::net::clock::Clock;
use crate::plan::{EndpointUrl, Plan, PlannedPhase, PlannedSearch};
use crate::targets::greenroom::{self, Left, Session, Snapshot};

/// What a run brought to light.
#[derive(Debug)]
pub(super) struct Measured {
    /// The endpoint, unless there was none.
    pub(super) target: Option<TargetMeta>,
    /// The samples, where there are any.
    pub(super) trace: Option<Trace>,
    pub(super) ending: Ending,
    /// Bytes that capacity searches sent and received at this end, at the IP layer.
    pub(super) search_bytes: DataSize,
}

/// How traffic came to its end.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    /// All that was planned was sent.
    Planned,
    /// Every use asked for was decided before.
    Decided,
    /// Somebody stopped the run.
    Stopped,
    /// It could not go on, or not begin.
    Failed(TargetFailure),
}

/// So many genuine packets from elsewhere, and none from where they came before for so long: an address has changed.
const MOVED: (u64, Micros) = (10, Micros::from_millis(500));
/// The rest of the endpoint's log may take so long beyond the plan's wait for stragglers.
const LOG: Duration = Duration::from_millis(1_500);

/// Runs the plan against its endpoint.
pub(super) async fn measure(plan: &Plan, clock: Clock, watch: &Watch) -> Measured {
    match &plan.against.endpoint {
        Some(endpoint) => against(endpoint, false, plan, clock, watch).await,
        None => against_itself(plan, clock, watch).await,
    }
}

/// Runs the plan against an endpoint within this program.
async fn against_itself(plan: &Plan, clock: Clock, watch: &Watch) -> Measured {
    let started = async { endpoint::start(endpoint::Config::loopback()?).await }.await;
    let running = match started {
        Ok(running) => running,
        Err(error) => return not_even_here(error.to_string()),
    };
    let Some(listener) = running.listeners().first() else {
        return not_even_here("the endpoint within this program listens nowhere".to_owned());
    };
    let url = EndpointUrl {
        host: Host::Address(listener.control.ip()),
        port: listener.control.port(),
        pin: Some(running.fingerprint()),
    };
    let measured = against(&url, true, plan, clock, watch).await;
    running.shut_down(Duration::ZERO).await;
    measured
}

/// This computer could not even run an endpoint for itself.
fn not_even_here(detail: String) -> Measured {
    let failure = TargetFailure::Local { detail };
    let meta =
        TargetMeta { failure: Some(failure.clone()), ..unreached("greenroom://localhost".to_owned(), true) };
    Measured {
        target: Some(meta),
        trace: None,
        ending: Ending::Failed(failure),
        search_bytes: DataSize::default(),
    }
}

fn unreached(url: String, in_process: bool) -> TargetMeta {
    TargetMeta {
        url,
        kind: "greenroom".to_owned(),
        reached: None,
        identity: None,
        failure: None,
        details: None,
        in_process,
    }
}

async fn against(
    endpoint: &EndpointUrl,
    in_process: bool,
    plan: &Plan,
    clock: Clock,
    watch: &Watch,
) -> Measured {
    watch.tell(Progress::Reaching);
    let mut meta = unreached(endpoint.to_string(), in_process);
    let reached = tokio::select! {
        biased;
        () = watch.stop.cancelled() => Err(TargetFailure::Interrupted.into()),
        reached = greenroom::reach(plan, endpoint, clock) => reached,
    };
    let mut session = match reached {
        Ok(session) => session,
        Err(greenroom::Unreached { failure, identity }) => {
            let ending = match failure {
                TargetFailure::Interrupted => Ending::Stopped,
                _ => Ending::Failed(failure.clone()),
            };
            meta.failure = Some(failure);
            meta.identity = identity;
            return Measured { target: Some(meta), trace: None, ending, search_bytes: DataSize::default() };
        }
    };
    meta.reached = Some(session.reached.clone());
    meta.identity = Some(session.identity);
    watch.tell(Progress::Reached);

    let mut ending = offer(&mut session, plan, &meta, watch).await;
    watch.tell(Progress::Finishing);
    let down: Vec<StreamId> = plan
        .streams
        .iter()
        .filter(|stream| stream.spec.direction == Some(Direction::Down))
        .map(|stream| stream.id)
        .collect();
    // What is decided needs no stragglers: the packets of the last moment stay awaited.
    let at_once = ending != Ending::Planned;
    let Left { trace, failure, search_bytes } =
        session.end(at_once, &down, plan.drain.to_duration() + LOG).await;
    match (&ending, failure) {
        (Ending::Failed(failure), _) => meta.failure = Some(failure.clone()),
        // Neither whoever stops a run nor a verdict that stands waits for the rest of the log.
        (Ending::Stopped | Ending::Decided, _) | (_, None) => {}
        (_, Some(failure)) => {
            meta.failure = Some(failure.clone());
            ending = Ending::Failed(failure);
        }
    }
    Measured { target: Some(meta), trace: Some(trace), ending, search_bytes }
}

/// Offers the planned traffic until it is sent, decided, stopped or beyond hope.
async fn offer(session: &mut Session, plan: &Plan, meta: &TargetMeta, watch: &Watch) -> Ending {
    let clock = session.clock();
    let Some(start) = session.audio_start().await else {
        return Ending::Failed(TargetFailure::Local { detail: "the measuring thread broke off".to_owned() });
    };
    let mut conductor = Conductor::new(plan, start);
    let mut listening = true;
    loop {
        let now = clock.now();
        let until = match conductor.cue(now) {
            Cue::Begin(phase) => {
                begin(session, plan, phase, conductor.zero()).await;
                continue;
            }
            Cue::Look => {
                let broken = || TargetFailure::Local { detail: "the measuring thread broke off".to_owned() };
                let Some(pulse) = session.pulse().await else {
                    return Ending::Failed(broken());
                };
                if conductor.is_dead(now, pulse.last_heard) {
                    return Ending::Failed(TargetFailure::Died);
                }
                let silent = pulse.last_heard.is_none_or(|heard| now - heard > MOVED.1);
                if silent && pulse.moved >= MOVED.0 {
                    return Ending::Failed(TargetFailure::AddressChanged);
                }
                // A copy of all samples, judged: only where it is seen or may end the run.
                if !plan.stop_early && !watch.is_seen() {
                    continue;
                }
                let Some(snapshot) = session.snapshot().await else {
                    return Ending::Failed(broken());
                };
                let assessment = look(&snapshot, plan, meta, watch, (now - start, conductor.phase()));
                if conduct::may_stop(plan, &assessment) {
                    return Ending::Decided;
                }
                conductor.take_in(now, &assessment);
                continue;
            }
            Cue::Wait(until) => until,
            Cue::Over => return Ending::Planned,
        };
        let sleep = (until - now).max(Micros::from_millis(1)).to_duration();
        tokio::select! {
            biased;
            () = watch.stop.cancelled() => return Ending::Stopped,
            () = session.listen(), if listening => {
                listening = false;
                if let Some(failure) = session.failure() {
                    return Ending::Failed(failure.clone());
                }
            }
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// Begins a phase and the streams that begin with it. The plan's times count from `zero`.
async fn begin(session: &mut Session, plan: &Plan, phase: PlannedPhase, zero: Micros) {
    session.begin_phase(phase, zero + phase.from);
    for stream in conduct::streams_of(plan, phase) {
        session.start_stream(stream, zero + stream.from, zero + stream.to, u64::from(stream.id.0)).await;
    }
    if let Some(search) = plan.search.filter(|_| phase.kind == PhaseKind::Capacity) {
        session.start_search(search, PlannedSearch::direction(&phase)).await;
    }
}

/// Looks at what there is so far, and tells it.
fn look(
    snapshot: &Snapshot,
    plan: &Plan,
    meta: &TargetMeta,
    watch: &Watch,
    (at, phase): (Micros, PhaseKind),
) -> Assessment {
    let assessment = conduct::judge(plan, meta, Some(&snapshot.trace), false);
    let target = assessment.targets.first();
    watch.tell(Progress::Figures(Figures {
        at,
        phase,
        rtt_p50_ms: target.and_then(|t| t.rtt_ms.measured()).map(|rtt| rtt.p50),
        loss_up: target.and_then(|t| t.up.loss_ratio.measured()).map(|loss| loss.value),
        loss_down: target.and_then(|t| t.down.loss_ratio.measured()).map(|loss| loss.value),
        bytes: bytes_of(&snapshot.trace.here) + snapshot.search_bytes,
    }));
    assessment
}

/// Bytes that this end sent and received at the IP layer.
pub(super) fn bytes_of(half: &Half) -> DataSize {
    half.streams
        .iter()
        .flat_map(|stream| {
            let sent = stream.tx.iter().filter(|tx| tx.user.is_some()).map(|tx| tx.bytes);
            sent.chain(stream.rx.iter().map(|rx| rx.bytes))
        })
        .map(|bytes| DataSize::from_bytes(bytes.into()))
        .sum()
}
