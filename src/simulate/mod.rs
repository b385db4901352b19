//! A whole fleet in one process: what real agents would send, when they would send it, to a real server.
//!
//! [`model`] makes up who is where and what goes wrong, [`agenda`] says what is due when (by the planner that real agents have),
//! [`template`] writes the reports; all three are pure and follow from a seed. Here they meet clock and network.

pub mod agenda;
pub mod model;
pub mod template;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use greenroom_reports::metrics::percentile::Quantile;
use greenroom_reports::metrics::sketch::Sketch;
use greenroom_reports::units::Micros;
use hyper::StatusCode;
use hyper::header::{HeaderValue, InvalidHeaderValue};
use serde::Serialize;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_util::sync::CancellationToken;

use self::agenda::{Agenda, Send};
use self::model::{Dice, Fleet};
use self::template::Writer;
use crate::address::Token;
use crate::net::clock::Clock;
use crate::net::upload::{Link, Question, UploadError, UploadUrl};

/// How hard reports are packed: what a processor has to do for it, times thousands of agents, falls on this one.
const LEVEL: i32 = 1;

/// How long one report may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// How often it looks what is due.
const TICK: Duration = Duration::from_millis(10);

/// Most reports between two looks at the clock and at what failed.
const BURST: usize = 64;

/// How often it tells.
const TELL_EVERY: Micros = Micros::from_secs(10);

/// How long what was not kept is sent again after the end.
const LAST_TRIES: Micros = Micros::from_secs(120);

/// Where a fleet reports to, and how.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server.
    pub url: UploadUrl,
    /// What lets all of the fleet in.
    pub key: Token,
    /// Requests at once.
    pub connections: usize,
    /// How often each report is sent, though once would do.
    pub times: u32,
    /// How long before the beginning the fleet was cut off, in milliseconds: what it made then waits.
    pub backlog_ms: i64,
    /// How many of those are sent a second, beside the others.
    pub backlog_per_s: f64,
}

/// What became of what was sent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Told {
    /// How long it took, in seconds.
    pub took_s: f64,
    /// Reports that were made.
    pub made: u64,
    /// Answered 202 as new.
    pub accepted: u64,
    /// Answered 202 as there already.
    pub duplicate: u64,
    /// Answered 429 or 503: sent again later.
    pub put_off: u64,
    /// No answer: sent again later.
    pub unanswered: u64,
    /// Refused for good.
    pub refused: u64,
    /// Not kept when the time was over.
    pub left: u64,
    /// Most that were answered 202 in one second.
    pub most_in_a_second: u64,
    /// Bytes of the reports as they were sent.
    pub bytes: u64,
    /// From sending to 202, in milliseconds.
    pub to_202_p50_ms: Option<f64>,
    /// The same, 95th percentile.
    pub to_202_p95_ms: Option<f64>,
    /// The same, 99th percentile.
    pub to_202_p99_ms: Option<f64>,
    /// The longest by which a report left later than it should have, in milliseconds: beyond some ten, the server or this process is too slow.
    pub late_ms: i64,
    /// This process's own share of one processor.
    pub cpu_ratio: Option<f64>,
    /// Why the last report was refused or not answered.
    pub last_trouble: Option<String>,
}

/// Counts, and how long answers took.
#[derive(Debug, Default)]
struct Tally {
    told: Told,
    to_202: Sketch,
    /// Reports that are on their way.
    open: u64,
    /// The second, and how many were kept in it.
    second: (i64, u64),
}

/// Why it could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The key cannot stand in a header.
    #[error("the key holds characters that no key has; is it the right file?")]
    Key(#[from] InvalidHeaderValue),
    /// A report could not be packed.
    #[error("a report cannot be packed: {0}")]
    Pack(#[from] io::Error),
}

/// A report on its way.
struct Parcel {
    send: Send,
    body: Bytes,
}

/// What was not kept, and how long the server wants to be left alone.
type Failed = (Send, Duration);

/// Reports as the fleet would until its time is over, or until stopped. `tell` gets what became of it so far, every ten seconds.
///
/// # Errors
/// When it cannot begin. What a server answers is counted.
pub async fn run(
    fleet: &Fleet,
    target: &Target,
    clock: &Clock,
    stop: &CancellationToken,
    tell: &mut (dyn FnMut(&Told) + std::marker::Send),
) -> Result<Told, SimulateError> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", target.key.expose()))?;
    bearer.set_sensitive(true);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let (parcels, waiting) = mpsc::channel::<Parcel>(4 * target.connections);
    let (failed, mut failures) = mpsc::unbounded_channel::<Failed>();
    let waiting = Arc::new(AsyncMutex::new(waiting));
    for _ in 0..target.connections {
        let sender = Sender {
            target: target.clone(),
            bearer: bearer.clone(),
            clock: *clock,
            tally: Arc::clone(&tally),
            failed: failed.clone(),
        };
        tokio::spawn(sender.run(Arc::clone(&waiting)));
    }
    drop(failed);
    let mut agenda = Agenda::new(fleet, target.backlog_ms, target.backlog_per_s);
    let mut writer = Writer::new();
    let mut packer = zstd::bulk::Compressor::new(LEVEL)?;
    let mut chance = Dice::new(fleet.spec().seed, [9, 0, 0]);
    let (begun, cpu) = (clock.now(), cpu_time());
    let mut told_at = begun;
    let mut ended = None;
    loop {
        let now_ms = clock.wall().as_millisecond();
        while let Ok((send, retry_after)) = failures.try_recv() {
            let retry_after = i64::try_from(retry_after.as_millis()).unwrap_or(i64::MAX);
            agenda.again(send, retry_after, now_ms, chance.share());
        }
        let mut burst = 0;
        while burst < BURST
            && let Some(send) = agenda.next(fleet, now_ms)
        {
            burst += 1;
            let json = writer.write(fleet, &send.run);
            let body = Bytes::from(packer.compress(&json)?);
            note(&tally, &send, &body, now_ms);
            if parcels.send(Parcel { send, body }).await.is_err() || stop.is_cancelled() {
                break;
            }
        }
        let now = clock.now();
        if now - told_at >= TELL_EVERY {
            told_at = now;
            tell(&told(&tally, &agenda, now - begun, cpu));
        }
        let is_over = clock.wall() >= fleet.spec().until;
        if is_over {
            ended.get_or_insert(now);
        }
        // What is on its way says that it failed before it says that it is not any more.
        let is_sent = agenda.waiting() == 0 && open(&tally) == 0 && failures.is_empty();
        let is_late = ended.is_some_and(|ended| now - ended > LAST_TRIES);
        if stop.is_cancelled() || (is_over && is_sent) || is_late {
            break;
        }
        // Where more is due than was sent, it goes on at once.
        if burst < BURST {
            tokio::time::sleep(TICK).await;
        }
    }
    drop(parcels);
    // What is on its way is answered, or counts as left.
    let rest = async {
        let mut left = Vec::new();
        while let Some(one) = failures.recv().await {
            left.push(one);
        }
        left
    };
    let left = tokio::time::timeout(DEADLINE, rest).await.unwrap_or_default();
    for (send, retry_after) in left {
        let retry_after = i64::try_from(retry_after.as_millis()).unwrap_or(i64::MAX);
        agenda.again(send, retry_after, 0, 0.0);
    }
    Ok(told(&tally, &agenda, clock.now() - begun, cpu))
}

fn open(tally: &Mutex<Tally>) -> u64 {
    tally.lock().unwrap_or_else(PoisonError::into_inner).open
}

fn note(tally: &Mutex<Tally>, send: &Send, body: &Bytes, now_ms: i64) {
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    if send.tries == 0 {
        tally.told.made += 1;
    }
    tally.open += 1;
    tally.told.bytes += u64::try_from(body.len()).unwrap_or(0);
    if send.tries == 0 {
        tally.told.late_ms = tally.told.late_ms.max(now_ms - send.sent_ms);
    }
}

fn told(tally: &Mutex<Tally>, agenda: &Agenda, took: Micros, cpu: Option<Duration>) -> Told {
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let at = |quantile| tally.to_202.at(quantile).map(|it: Micros| it.as_ms());
    let spent = cpu_time().zip(cpu).map(|(now, then)| now.saturating_sub(then).as_secs_f64());
    let last = tally.second.1;
    Told {
        took_s: took.as_secs(),
        left: u64::try_from(agenda.waiting()).unwrap_or(u64::MAX),
        to_202_p50_ms: at(Quantile::P50),
        to_202_p95_ms: at(Quantile::P95),
        to_202_p99_ms: at(Quantile::P99),
        most_in_a_second: tally.told.most_in_a_second.max(last),
        cpu_ratio: spent.map(|spent| spent / took.as_secs().max(0.001)),
        ..tally.told.clone()
    }
}

/// One connection that sends.
struct Sender {
    target: Target,
    bearer: HeaderValue,
    clock: Clock,
    tally: Arc<Mutex<Tally>>,
    failed: mpsc::UnboundedSender<Failed>,
}

impl Sender {
    async fn run(self, waiting: Arc<AsyncMutex<mpsc::Receiver<Parcel>>>) {
        let mut link = None;
        loop {
            let next = waiting.lock().await.recv().await;
            let Some(parcel) = next else { return };
            for _ in 0..self.target.times {
                let begun = self.clock.now();
                let asked = tokio::time::timeout(DEADLINE, self.ask(&mut link, parcel.body.clone())).await;
                let asked = asked.unwrap_or(Err(UploadError::Slow));
                if let Err(error) = &asked {
                    tracing::debug!(%error, "no answer");
                    link = None;
                }
                let took = self.clock.now() - begun;
                if let Some(retry_after) = self.count(asked, took) {
                    // Where nobody counts any more, nothing is to be sent again.
                    let _ = self.failed.send((parcel.send.clone(), retry_after));
                    break;
                }
            }
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.open = tally.open.saturating_sub(1);
        }
    }

    async fn ask(
        &self,
        link: &mut Option<Link>,
        body: Bytes,
    ) -> Result<(StatusCode, Duration, Bytes), UploadError> {
        let question = Question {
            path: "/api/v1/reports",
            bearer: Some(self.bearer.clone()),
            packing: Some("zstd"),
            headers: Vec::new(),
            body,
        };
        // A server closes a connection that nobody uses; that it did is seen when it is used.
        let before = match link {
            Some(open) => open.ask(&question).await.ok(),
            None => None,
        };
        let reply = match before {
            Some(reply) => reply,
            None => link.insert(Link::open(&self.target.url).await?).ask(&question).await?,
        };
        Ok((reply.status, reply.retry_after.unwrap_or_default(), reply.body))
    }

    /// Counts an answer; how long to wait where it is to be sent again.
    fn count(
        &self,
        asked: Result<(StatusCode, Duration, Bytes), UploadError>,
        took: Micros,
    ) -> Option<Duration> {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        match asked {
            Ok((StatusCode::ACCEPTED, _, body)) => {
                let is_duplicate = body.windows(11).any(|part| part == b"\"duplicate\"");
                match is_duplicate {
                    true => tally.told.duplicate += 1,
                    false => tally.told.accepted += 1,
                }
                tally.to_202.record(took);
                let second = self.clock.wall().as_second();
                if tally.second.0 != second {
                    tally.told.most_in_a_second = tally.told.most_in_a_second.max(tally.second.1);
                    tally.second = (second, 0);
                }
                tally.second.1 += 1;
                None
            }
            Ok((StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, retry_after, _)) => {
                tally.told.put_off += 1;
                Some(retry_after)
            }
            Ok((status, _, body)) => {
                tally.told.refused += 1;
                let words = String::from_utf8_lossy(&body).into_owned();
                tally.told.last_trouble = Some(crate::net::upload::plain(&format!("{status}: {words}")));
                None
            }
            Err(error) => {
                tally.told.unanswered += 1;
                tally.told.last_trouble = Some(error.to_string());
                Some(Duration::ZERO)
            }
        }
    }
}

/// Processor time of this process so far; `None` where the system does not tell.
#[cfg(unix)]
fn cpu_time() -> Option<Duration> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(u64::try_from(time.tv_sec()).unwrap_or(0), 0)
            + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or(0))
    };
    Some(of(usage.user_time()) + of(usage.system_time()))
}

#[cfg(not(unix))]
fn cpu_time() -> Option<Duration> {
    None
}
