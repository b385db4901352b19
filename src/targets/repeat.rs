//! Attempts at a connection, again and again at a cadence of their own, each on its own: one that hangs does not keep the next back.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{AddressTried, Connects, RoundTrip, Value};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::TargetFailure;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::asking::in_vain;
use crate::net::clock::Clock;
use crate::net::tcp::{self, KernelView, TcpConnected, TcpFailure};
use crate::net::udp::Interface;
use crate::plan::ProbePlan;

/// When so many attempts failed and none came through, there is no use in more: at the last address, and while there are others.
const HOPELESS: usize = 3;
const HOPELESS_BEFORE_OTHERS: usize = 1;

/// What came of an attempt.
pub(super) trait Attempt: Send + 'static {
    /// Why it failed; `None` when it came through.
    fn failure(&self) -> Option<TargetFailure>;
}

/// The attempts at one address, in the order in which they were begun.
pub(super) struct Attempts<T> {
    /// The address.
    pub(super) address: SocketAddr,
    /// One per attempt planned. `None`: not begun, or not ended when the run was.
    pub(super) all: Vec<Option<T>>,
    /// How many were begun.
    pub(super) begun: usize,
    /// Whether the run was stopped before its end.
    pub(super) stopped: bool,
    /// The addresses tried in vain before.
    pub(super) tried: Vec<AddressTried>,
}

impl<T> Attempts<T> {
    /// Those that ended.
    pub(super) fn ended(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.all.iter().flatten()
    }

    /// What came of each attempt planned, by what is known of those that ended.
    pub(super) fn exchanges(&self, of: impl Fn(&T) -> Exchange) -> Vec<Exchange> {
        let one = |(index, attempt): (usize, &Option<T>)| match attempt {
            Some(attempt) => of(attempt),
            None if index < self.begun => Exchange::Awaited,
            None => Exchange::NotSent,
        };
        self.all.iter().enumerate().map(one).collect()
    }
}

/// Tries the addresses in order, until one lets an attempt through.
///
/// # Errors
///
/// Why the last of them did not.
pub(super) async fn first_that_answers<T, F>(
    addresses: Vec<SocketAddr>,
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<Attempts<T>, TargetFailure>
where
    T: Attempt,
    F: Future<Output = T> + Send + 'static,
{
    let mut tried = Vec::new();
    let mut failure = TargetFailure::NoNetwork;
    let last = addresses.len().saturating_sub(1);
    for (index, address) in addresses.into_iter().enumerate() {
        let enough = if index < last { HOPELESS_BEFORE_OTHERS } else { HOPELESS };
        let attempts = again_and_again(address, enough, (plan, clock), stop, &attempt).await;
        if attempts.ended().any(|attempt| attempt.failure().is_none()) {
            return Ok(Attempts { tried, ..attempts });
        }
        if attempts.stopped {
            return Err(TargetFailure::Interrupted);
        }
        if let Some(last) = attempts.ended().next_back().and_then(Attempt::failure) {
            failure = last;
        }
        tried.push(in_vain(address, &failure));
    }
    Err(failure)
}

async fn again_and_again<T, F>(
    address: SocketAddr,
    enough: usize,
    (plan, clock): (&ProbePlan, Clock),
    stop: &CancellationToken,
    attempt: &impl Fn(SocketAddr) -> F,
) -> Attempts<T>
where
    T: Attempt,
    F: Future<Output = T> + Send + 'static,
{
    let count = usize::try_from(plan.count).unwrap_or(usize::MAX);
    let start = clock.now();
    let due = |index: usize| start + plan.interval * i64::try_from(index).unwrap_or(i64::MAX / 1_000_000_000);
    let mut all: Vec<Option<T>> = Vec::new();
    all.resize_with(count, || None);
    let mut running: JoinSet<(usize, T)> = JoinSet::new();
    let (mut begun, mut stopped) = (0, false);
    while begun < count || !running.is_empty() {
        if is_hopeless(&all, enough, clock.now() - start >= plan.give_up) {
            break;
        }
        let next = clock.instant(due(begun));
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                stopped = true;
                break;
            }
            Some(ended) = running.join_next() => {
                // A task that panicked has no result: its attempt stays open.
                if let Some((index, result)) = ended.ok() && let Some(slot) = all.get_mut(index) {
                    *slot = Some(result);
                }
            }
            () = tokio::time::sleep_until(next.into()), if begun < count => {
                let (index, attempt) = (begun, attempt(address));
                running.spawn(async move { (index, attempt.await) });
                begun += 1;
            }
        }
    }
    Attempts { address, all, begun, stopped, tried: Vec::new() }
}

/// Whether none came through of `enough`, or of those that ended in a time that is long enough.
fn is_hopeless<T: Attempt>(all: &[Option<T>], enough: usize, long_enough: bool) -> bool {
    let failures: Vec<Option<TargetFailure>> = all.iter().flatten().map(Attempt::failure).collect();
    let none_came = !failures.is_empty() && failures.iter().all(Option::is_some);
    none_came && (long_enough || failures.len() >= enough)
}

/// A TCP connection that was made or not.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// When it was begun and when it stood.
    pub(super) begun: Micros,
    pub(super) ended: Micros,
    /// What the kernel said of it, or why there is none.
    pub(super) result: Result<Option<KernelView>, TcpFailure>,
}

impl Connection {
    /// How long it took, as the program saw it.
    pub(super) fn took(&self) -> Micros {
        self.ended - self.begun
    }

    /// Why it failed.
    pub(super) fn failure(&self) -> Option<TargetFailure> {
        self.result.as_ref().err().map(refusal)
    }
}

impl Attempt for Connection {
    fn failure(&self) -> Option<TargetFailure> {
        Self::failure(self)
    }
}

/// Connects once.
pub(super) async fn connect(
    address: SocketAddr,
    interface: Option<&Interface>,
    patience: Duration,
    clock: Clock,
) -> (Connection, Option<TcpConnected>) {
    let begun = clock.now();
    let connected = tcp::connect(interface, address, patience).await;
    let ended = clock.now();
    match connected {
        Ok(connected) => (Connection { begun, ended, result: Ok(connected.kernel) }, Some(connected)),
        Err(failure) => (Connection { begun, ended, result: Err(failure) }, None),
    }
}

/// The reason for a person.
pub(super) fn refusal(failure: &TcpFailure) -> TargetFailure {
    match failure {
        TcpFailure::Refused => TargetFailure::PortClosed,
        TcpFailure::Reset => TargetFailure::Reset,
        TcpFailure::Silent | TcpFailure::Unreachable(_) => TargetFailure::Silent,
        TcpFailure::Prohibited(detail) => {
            TargetFailure::Refused { detail: format!("a firewall says no: {detail}") }
        }
        TcpFailure::Local(detail) => TargetFailure::Local { detail: detail.clone() },
    }
}

/// The figures of the connections that attempts went over.
pub(super) fn connects<T>(attempts: &Attempts<T>, of: impl Fn(&T) -> &Connection) -> Connects {
    let made: Vec<&Connection> = attempts.ended().map(&of).collect();
    let count = |is: fn(&TcpFailure) -> bool| {
        let failed = made.iter().filter(|made| made.result.as_ref().err().is_some_and(is)).count();
        u64::try_from(failed).unwrap_or(u64::MAX)
    };
    let views: Vec<Option<KernelView>> = made.iter().filter_map(|made| made.result.clone().ok()).collect();
    // One clock for all: the kernel's where it tells of every connection.
    let by_kernel = !views.is_empty() && views.iter().all(Option::is_some);
    let exchanges = attempts.exchanges(|attempt| exchange(of(attempt), by_kernel));
    let stamped_by = if by_kernel { StampSource::Kernel } else { StampSource::User };
    let late = views.iter().flatten().filter(|view| view.sent_again > 0).count();
    Connects {
        round_trip: RoundTrip::of(&exchanges, stamped_by),
        refused: count(|failure| matches!(failure, TcpFailure::Refused)),
        reset: count(|failure| matches!(failure, TcpFailure::Reset)),
        silent: count(|failure| matches!(failure, TcpFailure::Silent)),
        failed_otherwise: count(|failure| {
            matches!(failure, TcpFailure::Unreachable(_) | TcpFailure::Prohibited(_) | TcpFailure::Local(_))
        }),
        stood_late: match by_kernel {
            true => Value::exact(u64::try_from(late).unwrap_or(u64::MAX)),
            false => Value::not_tested("the system does not tell"),
        },
        tried: attempts.tried.clone(),
    }
}

fn exchange(made: &Connection, by_kernel: bool) -> Exchange {
    match &made.result {
        Err(TcpFailure::Local(_)) => Exchange::SendFailed,
        Err(_) => Exchange::Lost,
        // What was lost and sent again is a loss and no round trip.
        Ok(Some(view)) if view.sent_again > 0 => Exchange::Lost,
        Ok(Some(view)) if by_kernel => Exchange::Answered { at: made.ended, rtt: view.rtt },
        Ok(_) => Exchange::Answered { at: made.ended, rtt: made.took() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(result: Result<Option<KernelView>, TcpFailure>) -> Connection {
        Connection { begun: Micros::ZERO, ended: Micros::from_millis(9), result }
    }

    fn view(sent_again: u32) -> Option<KernelView> {
        Some(KernelView { rtt: Micros::from_millis(7), sent_again })
    }

    fn figures(all: Vec<Option<Connection>>) -> Connects {
        let begun = all.len();
        let address = ([192, 0, 2, 1], 1).into();
        connects(&Attempts { address, all, begun, stopped: false, tried: Vec::new() }, |made| made)
    }

    #[test]
    fn a_repeated_syn_is_a_loss_and_no_round_trip() {
        let found = figures(vec![
            Some(made(Ok(view(0)))),
            Some(made(Ok(view(1)))),
            Some(made(Err(TcpFailure::Refused))),
            Some(made(Err(TcpFailure::Silent))),
            None,
        ]);
        let trips = &found.round_trip;
        assert_eq!((trips.answered, trips.lost, trips.awaited), (1, 3, 1));
        assert_eq!((trips.stamped_by, trips.rtt_ms.measured().unwrap().max), (StampSource::Kernel, 7.0));
        assert_eq!((found.refused, found.silent, found.reset), (1, 1, 0));
        assert_eq!(found.stood_late, Value::exact(1));
    }

    #[test]
    fn one_clock_for_all() {
        let found = figures(vec![Some(made(Ok(view(0)))), Some(made(Ok(None)))]);
        assert_eq!(found.round_trip.stamped_by, StampSource::User);
        assert_eq!(found.round_trip.rtt_ms.measured().unwrap().min, 9.0);
        assert!(found.stood_late.measured().is_none());
    }

    #[test]
    fn only_those_of_whom_none_came_through_are_hopeless() {
        let (refused, fine) = (|| Some(made(Err(TcpFailure::Refused))), || Some(made(Ok(None))));
        assert!(is_hopeless(&[refused(), refused(), refused(), None], 3, false));
        assert!(is_hopeless(&[refused(), None], 1, false));
        assert!(!is_hopeless(&[refused(), refused(), None], 3, false));
        assert!(is_hopeless(&[refused(), None], 3, true));
        assert!(!is_hopeless(&[refused(), refused(), refused(), fine()], 3, true));
        assert!(!is_hopeless::<Connection>(&[None, None], 3, true));
    }
}
