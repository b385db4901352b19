//! One run: plan, endpoint, traffic, verdict, report.

mod best;
pub mod devices;
mod other;
mod report;
mod several;
mod traffic;

pub use best::Candidate;
pub use devices::Beside;
pub use other::probe_all;
pub use several::Also;

use std::fmt;
use std::sync::Arc;

use greenroom_reports::schema::{Devices, EncodeHeadroom, Machine, Report};
use greenroom_reports::trace::PhaseKind;
use greenroom_reports::units::{DataSize, Micros};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::devices::host::{self as machine, encode};
use crate::net::clock::Clock;
use crate::plan::Plan;
use crate::system::release_code;

/// Runs a plan and reports. Never fails: what went wrong stands in the report.
///
/// Must be called within a tokio runtime with time and I/O enabled.
pub async fn check(plan: Plan) -> Report {
    check_watched(plan, Watch::default()).await
}

/// Like [`check`], telling its progress, and ending early when told to; the report then holds what was measured.
pub async fn check_watched(plan: Plan, watch: Watch) -> Report {
    check_beside(plan, watch, Beside::nothing()).await
}

/// Like [`check_watched`], testing devices beside the network.
pub async fn check_beside(plan: Plan, watch: Watch, beside: Beside) -> Report {
    check_all(plan, &Also::default(), watch, beside).await
}

/// Like [`check_beside`], with other endpoints in the same report: all that are named must work.
pub async fn check_all(plan: Plan, also: &Also, watch: Watch, beside: Beside) -> Report {
    let clock = Clock::start();
    // A driver that is slow to answer delays nobody.
    let looking = tokio::task::spawn_blocking(|| machine::Watch::start(machine::here()));
    let by_name = beside.by_name.iter().copied().collect();
    let stop = watch.stop.clone();
    let encodes_beside = beside.encodes && encode::can_run_beside();
    let encodes_afterwards = beside.encodes && !encodes_beside;
    // Ends with the rest of the check, whatever is still missing: nobody waits for it.
    let all_else_ended = watch.stop.child_token();
    let encoding = encodes_beside.then(|| encode_until(encode::LONGEST, &all_else_ended));
    let testing = tokio::task::spawn_blocking(move || beside.test(&stop));
    let chosen = several::choose(plan, also, clock, &watch).await;
    let several::Chosen { plan, also, candidates } = &chosen;
    let measured = several::measure(plan, also, clock, &watch).await;
    let seen = looking.await.ok().map(machine::Watch::end);
    let devices = testing.await.unwrap_or_else(|error| {
        tracing::error!("the test of the devices ended by a bug: {error}");
        Devices::not_tested("the test ended by a bug")
    });
    all_else_ended.cancel();
    let encoding = match encoding {
        None if encodes_afterwards => Some(encode_until(ENCODED_WITHIN, &watch.stop)),
        encoding => encoding,
    };
    let times = match encoding {
        Some(encoding) => encoding.await.unwrap_or_default(),
        None => Vec::new(),
    };
    let seen =
        seen.map(|seen| machine::Watched { machine: Machine { encode: times, ..seen.machine }, ..seen });
    // What measured does not judge.
    release_code();
    report::of((plan, candidates), clock, &measured, seen, devices, by_name)
}

/// How long encoding may take on a computer whose only core must not encode while packets are sent.
const ENCODED_WITHIN: Micros = Micros::from_secs(1);

/// Measures how fast this computer encodes, for so long or until `enough` is cancelled.
fn encode_until(longest: Micros, enough: &CancellationToken) -> JoinHandle<Vec<EncodeHeadroom>> {
    let limit = encode::Limit::new(longest, enough.clone());
    tokio::task::spawn_blocking(move || encode::headroom(&limit))
}

/// Who watches a run and may end it.
#[derive(Clone)]
pub struct Watch {
    /// Ends the run early.
    pub stop: CancellationToken,
    tell: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

impl Watch {
    /// Tells progress to `tell`, which must not block.
    pub fn new(stop: CancellationToken, tell: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self { stop, tell: Some(Arc::new(tell)) }
    }

    /// Only ends the run. What nobody wants to see is not computed.
    pub const fn unseen(stop: CancellationToken) -> Self {
        Self { stop, tell: None }
    }

    fn tell(&self, progress: Progress) {
        if let Some(tell) = &self.tell {
            tell(progress);
        }
    }

    /// Whether somebody wants to see figures while they settle.
    const fn is_seen(&self) -> bool {
        self.tell.is_some()
    }
}

impl Default for Watch {
    /// Nobody watches and nobody ends it.
    fn default() -> Self {
        Self::unseen(CancellationToken::new())
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("stop", &self.stop).finish_non_exhaustive()
    }
}

/// What a run is doing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Progress {
    /// Looking the endpoint up and setting up the session.
    Reaching,
    /// The session stands.
    Reached,
    /// Several endpoints are tried, for the best of them.
    Comparing,
    /// Something that is no Greenroom endpoint is asked.
    Asking,
    /// Traffic runs; these are the figures so far.
    Figures(Figures),
    /// Traffic has ended; stragglers and the endpoint's log are awaited.
    Finishing,
}

/// Figures of a run so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Time since traffic started.
    pub at: Micros,
    /// What is being offered.
    pub phase: PhaseKind,
    /// Median round-trip time. `None`: nothing has come back yet.
    pub rtt_p50_ms: Option<f64>,
    /// Share of audio lost upward. `None`: not known yet.
    pub loss_up: Option<f64>,
    /// Share of audio lost downward. `None`: not known yet.
    pub loss_down: Option<f64>,
    /// Bytes sent and received at the IP layer.
    pub bytes: DataSize,
}
