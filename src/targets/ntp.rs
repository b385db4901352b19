//! A time server: how far this computer's clock is from its, with how sure that is, and what it says of itself. A few questions, seldom.

use std::net::SocketAddr;

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{AddressTried, Details, Estimate, Exact, NtpDetails, RoundTrip, Value};
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::{Asked, ask, in_vain, random, reached};
use super::find::addresses_unless;
use crate::net::clock::Clock;
use crate::plan::ProbePlan;
use crate::proto::ntp::{Answer, NtpTime, Offset, Times, offset, short_ms};

/// Asks a time server as planned: the first of its addresses that answers. Adds the bytes sent and received at the IP layer to `spent`.
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
    let (mut failure, mut tried) = (TargetFailure::NoNetwork, Vec::new());
    for server in addresses {
        let numbers: Result<Vec<NtpTime>, TargetFailure> = (0..plan.count)
            .map(|_| random::<8>().map(|octets| NtpTime(u64::from_be_bytes(octets))))
            .collect();
        match ask(server, Times::new(numbers?), "NTP", (plan, clock), stop, spent).await {
            Ok(asked) => return Ok(found(server, &asked, clock, tried)),
            Err(TargetFailure::Interrupted) => return Err(TargetFailure::Interrupted),
            Err(other) => {
                tried.push(in_vain(server, &other));
                failure = other;
            }
        }
    }
    Err(failure)
}

fn found(server: SocketAddr, asked: &Asked<Times>, clock: Clock, tried: Vec<AddressTried>) -> Found {
    let asker = &asked.asker;
    // From the run's clock to this computer's clock since 1970, as it goes now.
    let reading = clock.read_both();
    let wall = Micros::from_nanos(reading.real - reading.monotonic);
    let offsets: Vec<Option<Offset>> = asker
        .questions()
        .answers()
        .enumerate()
        .map(|(index, answer)| {
            let times = asker.times(index)?;
            offset(answer?, times.left + wall, times.came + wall)
        })
        .collect();
    let exchanges: Vec<Exchange> = asker
        .exchanges()
        .into_iter()
        .zip(&offsets)
        .map(|(exchange, offset)| match (exchange, offset) {
            (Exchange::Answered { at, .. }, Some(offset)) => Exchange::Answered { at, rtt: offset.delay },
            (other, _) => other,
        })
        .collect();
    let last = asker.questions().answers().flatten().filter(|answer| answer.stratum > 0).last();
    let kiss = asker.questions().answers().flatten().find(|answer| answer.stratum == 0);
    let strange = asker.strange();
    let details = NtpDetails {
        round_trip: RoundTrip::of(&exchanges, asked.stamped_by),
        offset_ms: offset_ms(&offsets, kiss.is_some()),
        stratum: told(last, |answer| answer.stratum),
        unsynchronized: told(last, |answer| answer.leap == 3 || answer.stratum > 15),
        leap: told(last, |answer| leap(answer.leap).to_owned()),
        reference: told(last, Answer::reference_name),
        root_delay_ms: told(last, |answer| short_ms(answer.root_delay)),
        root_dispersion_ms: told(last, |answer| short_ms(answer.root_dispersion)),
        kiss_code: kiss.map(|answer| answer.kiss_code().unwrap_or_else(|| "no reason".to_owned())),
        answers_from_elsewhere: strange.elsewhere,
        stray_answers: strange.strangers + strange.garbage,
        tried,
    };
    Found {
        reached: reached("udp", server, None),
        details: Details::Ntp(details),
        trace: None,
        stopped: asked.stopped,
    }
}

fn told<T>(answer: Option<&Answer>, what: impl FnOnce(&Answer) -> T) -> Value<Exact<T>> {
    answer.map_or_else(|| Value::failed("it did not say"), |answer| Value::exact(what(answer)))
}

/// The offset of the answer that came fastest: half of its delay bounds how wrong it can be.
fn offset_ms(offsets: &[Option<Offset>], kissed: bool) -> Value<Estimate> {
    let all = || offsets.iter().flatten();
    let Some(best) = all().min_by_key(|offset| offset.delay) else {
        return Value::failed(match kissed {
            true => "the server does not want to be asked",
            false => "no answer had a time that can be used",
        });
    };
    let half = best.delay.as_ms() / 2.0;
    let tidy = |ms: f64| (ms * 1e3).round() / 1e3;
    let value = best.offset.as_ms();
    Value::Measured(Estimate {
        value: tidy(value),
        low: Some(tidy(value - half)),
        high: Some(tidy(value + half)),
        n: u64::try_from(all().count()).unwrap_or(u64::MAX),
    })
}

const fn leap(indicator: u8) -> &'static str {
    match indicator {
        0 => "none",
        1 => "insert",
        2 => "delete",
        _ => "unknown",
    }
}
