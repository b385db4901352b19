//! A run of questions over UDP, for every kind whose protocol is one of questions and answers.

use std::net::SocketAddr;
use std::time::Duration;

use greenroom_reports::schema::{AddressTried, Reached};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio_util::sync::CancellationToken;

use super::find::{is_closed, not_sent, refusal, socket_for};
use crate::net::clock::Clock;
use crate::net::pacing::{Driver, DriverOptions, End, Ended, Outcome};
use crate::net::udp::DatagramSocket;
use crate::plan::ProbePlan;
use crate::proto::asking::{Asker, AskerConfig, Questions};

/// From the socket's opening to the first question.
const HEAD_START: Micros = Micros::from_millis(5);
/// How often it is looked whether there is anything to wait for.
const LOOK: Duration = Duration::from_millis(100);

/// What came of a run of questions.
pub(super) struct Asked<Q> {
    /// The questions with their answers.
    pub(super) asker: Asker<Q>,
    /// Who took the times.
    pub(super) stamped_by: StampSource,
    /// Whether the run was stopped before its end.
    pub(super) stopped: bool,
}

/// Asks one address; `protocol` is what it is asked in. Adds the bytes sent and received at the IP layer to `spent`.
///
/// # Errors
///
/// The reason why nothing was answered.
pub(super) async fn ask<Q: Questions + Send + 'static>(
    server: SocketAddr,
    questions: Q,
    protocol: &'static str,
    (plan, clock): (&ProbePlan, Clock),
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Asked<Q>, TargetFailure> {
    let asker = Asker::new(config(server, plan, clock), questions);
    let socket = socket_for(server, plan, clock)?;
    judged(run(asker, socket, clock, stop).await?, protocol, spent)
}

/// How a plan has one address asked, from now on.
pub(super) fn config(server: SocketAddr, plan: &ProbePlan, clock: Clock) -> AskerConfig {
    AskerConfig {
        server,
        start: clock.now() + HEAD_START,
        interval: plan.interval,
        patience: plan.patience,
        give_up: plan.give_up,
    }
}

/// Asks until all is answered or given up, the host has said that nobody listens, or `stop` is cancelled: which is told beside.
///
/// # Errors
///
/// When this computer cannot.
pub(super) async fn run<Q: Questions + Send + 'static>(
    asker: Asker<Q>,
    socket: Box<dyn DatagramSocket>,
    clock: Clock,
    stop: &CancellationToken,
) -> Result<(Outcome<Asker<Q>>, bool), TargetFailure> {
    let driver = Driver::start(asker, vec![socket], clock, &DriverOptions::precise("questions"));
    let driver = driver.map_err(|error| TargetFailure::Local { detail: error.to_string() })?;
    drive(driver, stop)
        .await
        .map_err(|Ended| TargetFailure::Local { detail: "the measuring thread broke off".to_owned() })
}

/// What a run came to, with the reason where nothing was answered.
pub(super) fn judged<Q: Questions>(
    (outcome, stopped): (Outcome<Asker<Q>>, bool),
    protocol: &'static str,
    spent: &mut DataSize,
) -> Result<Asked<Q>, TargetFailure> {
    *spent += outcome.machine.bytes();
    if !outcome.machine.is_answered() {
        return Err(if stopped { TargetFailure::Interrupted } else { why_not(&outcome, protocol) });
    }
    let stamped_by = stamped_by(&outcome);
    Ok(Asked { asker: outcome.machine, stamped_by, stopped })
}

async fn drive<Q: Questions + Send + 'static>(
    mut driver: Driver<Asker<Q>>,
    stop: &CancellationToken,
) -> Result<(Outcome<Asker<Q>>, bool), Ended> {
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            biased;
            outcome = driver.finished() => return Ok((outcome?, false)),
            () = stop.cancelled() => return Ok((driver.stop().await?, true)),
            _ = look.tick() => {}
        }
        // A machine that has finished meanwhile is taken at the next turn.
        let answered = driver.call(|asker, _| asker.is_answered()).await.unwrap_or(true);
        if !answered && is_closed(&driver.status()) {
            return Ok((driver.stop().await?, false));
        }
    }
}

/// Who took the times of a run.
pub(super) fn stamped_by<M>(outcome: &Outcome<M>) -> StampSource {
    outcome.status.sockets.first().map(|socket| socket.stamps.rx).unwrap_or_default()
}

/// Why nothing was answered.
fn why_not<Q: Questions>(outcome: &Outcome<Asker<Q>>, protocol: &'static str) -> TargetFailure {
    let (asker, strange) = (&outcome.machine, outcome.machine.strange());
    if let End::SocketFailed(detail) = &outcome.end {
        return TargetFailure::Local { detail: detail.clone() };
    }
    if let Some(from) = strange.elsewhere_from {
        return TargetFailure::AnswersFromElsewhere { from: from.to_string() };
    }
    if strange.garbage > 0 || strange.strangers > 0 {
        let detail = match strange.garbage {
            0 => "what it sends back answers none of the questions".to_owned(),
            _ => format!("what it sends back is no {protocol}"),
        };
        return TargetFailure::WrongProtocol { protocol: protocol.to_owned(), detail };
    }
    match (refusal(&outcome.status), asker.refused()) {
        (Some(failure), _) => failure,
        (None, Some(error)) => not_sent("a question", error),
        (None, None) => TargetFailure::Silent,
    }
}

/// How it was reached.
pub(super) fn reached(transport: &str, address: SocketAddr, setup_ms: Option<f64>) -> Reached {
    Reached {
        transport: transport.to_owned(),
        // Echo knows no ports.
        address: Some(if address.port() == 0 { address.ip().to_string() } else { address.to_string() }),
        setup_ms,
        instead_of_udp: None,
    }
}

/// An address that was tried in vain.
pub(super) fn in_vain(address: SocketAddr, failure: &TargetFailure) -> AddressTried {
    AddressTried { address: address.to_string(), failure: failure.clone() }
}

/// Octets that nobody can guess.
pub(super) fn random<const N: usize>() -> Result<[u8; N], TargetFailure> {
    let mut octets = [0; N];
    SystemRandom::new()
        .fill(&mut octets)
        .map_err(|_| TargetFailure::Local { detail: "the system gave no random numbers".to_owned() })?;
    Ok(octets)
}
