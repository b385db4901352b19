//! A STAMP reflector that is no Greenroom endpoint (RFC 8762, unauthenticated; TWAMP Light reflectors answer too).
//!
//! The samples are a trace like that of an endpoint's audio, without the other end's half, so that all figures are computed from
//! it by the same code; which packets died on which way is known as far as the reflector numbers its replies.

use std::net::SocketAddr;
use std::time::Duration;

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{Details, Reached, RoundTrip, StampDetails, Value};
use greenroom_reports::trace::{ClockInfo, Half, Phase, PhaseKind, Trace, TxOutcome, TxRecord};
use greenroom_reports::units::{Bitrate, DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::find::{addresses_unless, is_closed, not_sent, refusal, socket_for};
use crate::net::clock::Clock;
use crate::net::pacing::{Driver, DriverOptions, End, Ended, Outcome};
use crate::plan::ProbePlan;
use crate::proto::plain::{PlainConfig, PlainSender};
use crate::proto::stamp::WallAnchor;

/// From the socket's opening to the first packet.
const HEAD_START: Micros = Micros::from_millis(5);
/// How often it is looked whether all has come back.
const LOOK: Duration = Duration::from_millis(100);
/// Audio-sized packets.
const PAYLOAD: usize = 172;
/// Names this session where extensions are spoken (RFC 8972 section 3).
const SSID: u16 = 0x6772;

/// Sends test packets to a reflector as planned: to the first of its addresses that answers, with the extensions of RFC 8972, or
/// without where nothing comes back with them. Adds the bytes sent and received at the IP layer to `spent`.
///
/// # Errors
///
/// The reason why nothing came back: of its addresses that of the last one tried.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let addresses = addresses_unless(stop, &plan.target.host, plan.target.port).await?;
    let mut failure = TargetFailure::NoNetwork;
    for reflector in addresses {
        for extensions in [true, false] {
            let session = Session { reflector, extensions, plan, clock };
            match session.run(stop, spent).await {
                Ok(found) => return Ok(found),
                Err(TargetFailure::Interrupted) => return Err(TargetFailure::Interrupted),
                Err(other) => failure = other,
            }
            // Only silence may come from not knowing the extensions.
            if failure != TargetFailure::Silent {
                break;
            }
        }
    }
    Err(failure)
}

/// A run against one address.
struct Session<'a> {
    reflector: SocketAddr,
    extensions: bool,
    plan: &'a ProbePlan,
    clock: Clock,
}

impl Session<'_> {
    async fn run(&self, stop: &CancellationToken, spent: &mut DataSize) -> Result<Found, TargetFailure> {
        let local = |detail: String| TargetFailure::Local { detail };
        let socket = socket_for(self.reflector, self.plan, self.clock)?;
        let stamps = socket.stamp_sources();
        let start = self.clock.now() + HEAD_START;
        let sender = PlainSender::new(PlainConfig {
            reflector: self.reflector,
            anchor: WallAnchor::from_unix_micros(self.clock.started().as_microsecond()),
            clock: ClockInfo { tx: stamps.tx, rx: stamps.rx, steps: Vec::new() },
            ssid: if self.extensions { SSID } else { 0 },
            extensions: self.extensions,
            payload: PAYLOAD,
            start,
            interval: self.plan.interval,
            count: self.plan.count,
            tos: 0,
            straggler_wait: self.plan.patience,
        });
        let driver = Driver::start(sender, vec![socket], self.clock, &DriverOptions::precise("stamp"));
        let driver = driver.map_err(|error| local(error.to_string()))?;
        let ended = self.drive(driver, start, stop).await;
        let (outcome, stopped) = ended.map_err(|Ended| local("the measuring thread broke off".to_owned()))?;
        *spent += bytes_of(outcome.machine.half());
        if !outcome.machine.is_answered() {
            return Err(if stopped { TargetFailure::Interrupted } else { why_not(&outcome) });
        }
        Ok(self.found(&outcome, start, stopped))
    }

    /// Waits until all has come back, stragglers have been awaited, nothing at all has come for too long, or `stop` is cancelled.
    async fn drive(
        &self,
        mut driver: Driver<PlainSender>,
        start: Micros,
        stop: &CancellationToken,
    ) -> Result<(Outcome<PlainSender>, bool), Ended> {
        let count = usize::try_from(self.plan.count).unwrap_or(usize::MAX);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                biased;
                outcome = driver.finished() => return Ok((outcome?, false)),
                () = stop.cancelled() => return Ok((driver.stop().await?, true)),
                _ = look.tick() => {}
            }
            let back = driver.call(|sender, _| received(sender.half())).await;
            // A machine that has finished meanwhile is taken at the next turn.
            let Ok(back) = back else { continue };
            let silent = self.clock.now() - start >= self.plan.give_up;
            let hopeless = back == 0 && (silent || is_closed(&driver.status()));
            if back >= count || hopeless {
                return Ok((driver.stop().await?, false));
            }
        }
    }

    fn found(&self, outcome: &Outcome<PlainSender>, start: Micros, stopped: bool) -> Found {
        let sender = &outcome.machine;
        let mut here = sender.half().clone();
        here.clock.steps =
            outcome.status.sockets.iter().flat_map(|socket| socket.clock_steps.clone()).collect();
        let details = StampDetails {
            round_trip: RoundTrip::of(&self.exchanges(&here), here.clock.rx),
            stateful: match sender.is_stateful() {
                true => Value::exact(true),
                false => Value::not_tested("only a loss on the way there would show it"),
            },
            extensions: Value::exact(self.extensions && received_dscp(&here).is_some()),
            received_dscp: match received_dscp(&here) {
                Some(dscp) => Value::exact(dscp),
                None => Value::failed("the reflector does not tell"),
            },
            ignored_packets: sender.ignored(),
        };
        let ends = here.covered_until.min(start + self.plan.interval * i64::from(self.plan.count));
        let phase = Phase {
            kind: PhaseKind::Idle,
            from: start,
            to: ends,
            offered_up: Bitrate::default(),
            offered_down: Bitrate::default(),
        };
        let trace =
            Trace { here, there: None, phases: vec![phase], capacity: Vec::new(), searches: Vec::new() };
        let reached = Reached {
            transport: "udp".to_owned(),
            address: Some(self.reflector.to_string()),
            setup_ms: None,
            instead_of_udp: None,
        };
        Found { reached, details: Details::Stamp(details), trace: Some(trace), stopped }
    }

    /// What came of each packet planned. The hold is the reflector's own word: one that makes the round trip negative is not believed.
    fn exchanges(&self, here: &Half) -> Vec<Exchange> {
        let count = usize::try_from(self.plan.count).unwrap_or(usize::MAX);
        let Some(log) = here.streams.first() else { return vec![Exchange::NotSent; count] };
        let mut exchanges: Vec<Exchange> = log
            .tx
            .iter()
            .map(|tx| match (tx.departed(), tx.outcome) {
                (_, TxOutcome::Failed(_)) => Exchange::SendFailed,
                (Some(left), _) if here.covered_until - left >= self.plan.patience => Exchange::Lost,
                (Some(_), _) => Exchange::Awaited,
                (None, _) => Exchange::NotSent,
            })
            .collect();
        for rx in &log.rx {
            let Some(reply) = rx.reply else { continue };
            let Ok(index) = usize::try_from(reply.of) else { continue };
            let Some((exchange, left)) =
                exchanges.get_mut(index).zip(log.tx.get(index).and_then(TxRecord::departed))
            else {
                continue;
            };
            if !matches!(exchange, Exchange::Answered { .. }) {
                let (whole, hold) = (rx.at - left, reply.sent - reply.received);
                let rtt = if hold >= Micros::ZERO && hold <= whole { whole - hold } else { whole };
                *exchange = Exchange::Answered { at: rx.at, rtt };
            }
        }
        exchanges.resize(count, Exchange::NotSent);
        exchanges
    }
}

fn received(here: &Half) -> usize {
    here.streams.iter().map(|stream| stream.rx.len()).sum()
}

/// DSCP of the first packet of which the reflector told it.
fn received_dscp(here: &Half) -> Option<u8> {
    here.streams.iter().flat_map(|stream| &stream.rx).find_map(|rx| rx.reply?.tos).map(|tos| tos >> 2)
}

/// Bytes sent and received at the IP layer.
fn bytes_of(here: &Half) -> DataSize {
    let streams = here.streams.iter();
    let sizes = streams.flat_map(|stream| {
        let left = stream.tx.iter().filter(|tx| tx.departed().is_some()).map(|tx| tx.bytes);
        left.chain(stream.rx.iter().map(|rx| rx.bytes))
    });
    sizes.map(|bytes| DataSize::from_bytes(bytes.into())).sum()
}

/// Why nothing came back.
fn why_not(outcome: &Outcome<PlainSender>) -> TargetFailure {
    let sender = &outcome.machine;
    if let End::SocketFailed(detail) = &outcome.end {
        return TargetFailure::Local { detail: detail.clone() };
    }
    if let Some(from) = sender.elsewhere() {
        return TargetFailure::AnswersFromElsewhere { from: from.to_string() };
    }
    if sender.ignored() > 0 {
        let detail = "what it sends back is no reflection of a STAMP test packet".to_owned();
        return TargetFailure::WrongProtocol { protocol: "STAMP".to_owned(), detail };
    }
    let refused =
        sender.half().streams.iter().flat_map(|stream| &stream.tx).find_map(|tx| match tx.outcome {
            TxOutcome::Failed(error) => Some(error),
            _ => None,
        });
    refusal(&outcome.status)
        .or_else(|| refused.map(|error| not_sent("a STAMP test packet", error)))
        .unwrap_or(TargetFailure::Silent)
}
