//! A STUN server: round trips and loss by Binding requests that are sent once each, and this computer's address as seen from there.

use std::net::SocketAddr;
use std::time::Duration;

use greenroom_reports::schema::{Details, Reached, RoundTrip, StunDetails, Value};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio_util::sync::CancellationToken;

use super::Found;
use super::find::{addresses_unless, is_closed, not_sent, refusal, socket_for};
use crate::net::clock::Clock;
use crate::net::pacing::{Driver, DriverOptions, End, Outcome};
use crate::plan::ProbePlan;
use crate::proto::stun::TransactionId;
use crate::proto::stun::prober::{Prober, ProberConfig, Seen};

/// Asks a STUN server as planned: the first of its addresses that answers. Adds the bytes sent and received at the IP layer to
/// `spent`.
///
/// # Errors
///
/// The reason why nothing was answered: of its addresses that of the last one tried.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let addresses = addresses_unless(stop, &plan.target.host, plan.target.port).await?;
    let mut failure = TargetFailure::NoNetwork;
    for server in addresses {
        match ask(server, plan, clock, stop, spent).await {
            Ok(found) => return Ok(found),
            Err(TargetFailure::Interrupted) => return Err(TargetFailure::Interrupted),
            Err(other) => failure = other,
        }
    }
    Err(failure)
}

/// From the socket's opening to the first question.
const HEAD_START: Micros = Micros::from_millis(5);

/// How often it is looked whether there is anything to wait for.
const LOOK: Duration = Duration::from_millis(100);

/// Asks one address.
pub(super) async fn ask(
    server: SocketAddr,
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let local = |detail: String| TargetFailure::Local { detail };
    let socket = socket_for(server, plan, clock)?;
    let prober = Prober::new(ProberConfig {
        server,
        ids: transactions(plan.count).ok_or_else(|| local("the system gave no random numbers".to_owned()))?,
        start: clock.now() + HEAD_START,
        interval: plan.interval,
        patience: plan.patience,
        give_up: plan.give_up,
    });
    let driver = Driver::start(prober, vec![socket], clock, &DriverOptions::precise("stun"));
    let mut driver = driver.map_err(|error| local(error.to_string()))?;
    let broke_off = || local("the measuring thread broke off".to_owned());
    let mut look = tokio::time::interval(LOOK);
    let (outcome, stopped) = loop {
        tokio::select! {
            biased;
            outcome = driver.finished() => break (outcome.map_err(|_| broke_off())?, false),
            () = stop.cancelled() => break (driver.stop().await.map_err(|_| broke_off())?, true),
            _ = look.tick() => {}
        }
        // A machine that has finished meanwhile is taken at the next turn.
        let answered = driver.call(|prober, _| prober.is_answered()).await.unwrap_or(true);
        if !answered && is_closed(&driver.status()) {
            break (driver.stop().await.map_err(|_| broke_off())?, false);
        }
    };
    *spent += outcome.machine.bytes();
    if !outcome.machine.is_answered() {
        return Err(if stopped { TargetFailure::Interrupted } else { why_not(&outcome) });
    }
    let stamped_by = outcome.status.sockets.first().map(|socket| socket.stamps.rx).unwrap_or_default();
    Ok(found(&outcome.machine, server, stamped_by, stopped))
}

fn transactions(count: u32) -> Option<Vec<TransactionId>> {
    let random = SystemRandom::new();
    let one = |_| {
        let mut id = [0; 12];
        random.fill(&mut id).ok().map(|()| TransactionId(id))
    };
    (0..count).map(one).collect()
}

fn found(prober: &Prober, server: SocketAddr, stamped_by: StampSource, stopped: bool) -> Found {
    let seen = prober.seen();
    let details = StunDetails {
        round_trip: RoundTrip::of(&prober.exchanges(), stamped_by),
        reflexive_address: match seen.mapped {
            Some(mapped) => Value::exact(mapped.to_string()),
            None => Value::failed("no answer told it"),
        },
        reflexive_address_changed: match seen.mapped {
            Some(_) => Value::exact(seen.mapped_changed),
            None => Value::failed("no answer told the address"),
        },
        software: match &seen.software {
            Some(name) => Value::exact(name.clone()),
            None => Value::failed("the server did not say"),
        },
        error_answers: seen.errors,
        answers_from_elsewhere: seen.elsewhere,
        damaged_answers: seen.damaged,
    };
    let reached = Reached {
        transport: "udp".to_owned(),
        address: Some(server.to_string()),
        setup_ms: None,
        instead_of_udp: None,
    };
    Found { reached, details: Details::Stun(details), trace: None, stopped }
}

/// Why nothing was answered.
fn why_not(outcome: &Outcome<Prober>) -> TargetFailure {
    let (prober, status) = (&outcome.machine, &outcome.status);
    let seen: &Seen = prober.seen();
    if let End::SocketFailed(detail) = &outcome.end {
        return TargetFailure::Local { detail: detail.clone() };
    }
    if let Some(from) = seen.elsewhere_from {
        return TargetFailure::AnswersFromElsewhere { from: from.to_string() };
    }
    if seen.garbage > 0 || seen.damaged > 0 {
        let detail = match seen.garbage {
            0 => "every answer was damaged: its FINGERPRINT did not fit",
            _ => "what it sends back is no answer to a Binding request",
        };
        return TargetFailure::WrongProtocol { protocol: "STUN".to_owned(), detail: detail.to_owned() };
    }
    match (refusal(status), prober.refused()) {
        (Some(failure), _) => failure,
        (None, Some(error)) => not_sent("a Binding request", error),
        (None, None) => TargetFailure::Silent,
    }
}
