//! A Greenroom endpoint: control over QUIC, probes over UDP from the pacing thread; where only QUIC gets through, probes as its
//! datagrams; where UDP is blocked, both over a WebSocket on TLS. The machines are the same.
//!
//! [`reach`] ends with a [`Session`] whose address the endpoint has validated, or with the reason why there is none. It
//! takes at most [`REACH`] in all when nothing answers.

mod consent;
mod link;
mod reach;

use std::time::Duration;

use greenroom_reports::schema::{Identity, Reached};
use greenroom_reports::trace::{CapacitySearch, Direction, Half, PhaseKind, SearchEnd, StreamId, Trace};
use greenroom_reports::units::{Bitrate, DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;

use crate::net::clock::Clock;
use crate::net::pacing::{Driver, End, Outcome};
use crate::net::quic;
use crate::plan::{PlannedPhase, PlannedSearch, PlannedStream};
use crate::proto::control::{Frame, Limits, StartStream, StopStream};
use crate::proto::media::MediaPlan;
use crate::proto::sender::Sender;
use crate::system::CpuTicks;

pub use reach::{REACH, Unreached, reach};

use super::capacity;
use link::Link;

/// A session with an endpoint: its address is validated and audio flows.
pub struct Session {
    /// How it was reached.
    pub reached: Reached,
    /// Whether the endpoint proved who it is.
    pub identity: Identity,
    carrier: Carrier,
    link: Link,
    driver: Driver<Sender>,
    granted: Limits,
    /// The stream of the search up, once it has begun.
    searching: Option<StreamId>,
    cpu_before: Option<CpuTicks>,
}

/// What carries a session.
enum Carrier {
    /// Control goes over QUIC, probes over UDP.
    Quic(quinn::Connection),
    /// Both go over QUIC, probes as its datagrams.
    Datagrams(quinn::Connection),
    /// Both go over the WebSocket that the link has. The round trip is that of the consent.
    WebSocket { round_trip: Micros },
}

impl Carrier {
    fn round_trip(&self) -> Micros {
        match self {
            Self::Quic(connection) | Self::Datagrams(connection) => Micros::from_duration(connection.rtt()),
            Self::WebSocket { round_trip } => *round_trip,
        }
    }
}

/// Whether a session lives.
#[derive(Debug, Clone, Copy)]
pub struct Pulse {
    /// When an authenticated packet last arrived.
    pub last_heard: Option<Micros>,
    /// Authenticated packets that came from another address than the endpoint's: they do not count.
    pub moved: u64,
}

/// What has been measured so far.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Both halves and the phases.
    pub trace: Trace,
    /// Bytes at the IP layer that capacity searches have sent and received at this end.
    pub search_bytes: DataSize,
}

/// What a session leaves.
#[derive(Debug, Clone)]
pub struct Left {
    /// Both halves, the phases and the searches.
    pub trace: Trace,
    /// Why it is not all, where it is not.
    pub failure: Option<TargetFailure>,
    /// Bytes at the IP layer that capacity searches have sent and received at this end.
    pub search_bytes: DataSize,
}

impl Session {
    /// The run's clock.
    pub fn clock(&self) -> Clock {
        self.driver.clock()
    }

    /// When the first audio packet was due.
    pub async fn audio_start(&self) -> Option<Micros> {
        self.driver.call(|sender, _| sender.audio_start()).await.ok().flatten()
    }

    /// Notes a phase that begins at `at`. One for a capacity search is audio alone where there is nothing to search.
    pub fn begin_phase(&self, phase: PlannedPhase, at: Micros) {
        let idle = phase.kind == PhaseKind::Capacity && !self.may_search();
        let (kind, up, down) = match idle {
            true => (PhaseKind::Settle, Bitrate::default(), Bitrate::default()),
            false => (phase.kind, phase.offered_up, phase.offered_down),
        };
        // A thread that has ended says so in `snapshot` and `end`.
        let _ = self.driver.post(move |sender, _| sender.begin_phase(at, kind, up, down));
    }

    /// Starts to search the capacity of one direction. How it ended is in the trace.
    pub async fn start_search(&mut self, search: PlannedSearch, direction: Direction) {
        if !self.may_search() {
            return;
        }
        let config = capacity::within(self.granted, search.ceiling, search.budget, search.lasting);
        match direction {
            Direction::Up => {
                self.searching = Some(search.up);
                let _ = self.driver.post(move |sender, now| {
                    if let Err(error) = sender.start_capacity(now, search.up, config) {
                        tracing::warn!("cannot search the capacity up: {error}");
                    }
                });
            }
            Direction::Down => self.link.tell(&capacity::request(search.down, &config)).await,
        }
    }

    /// Whether capacity can be searched: TCP decides by itself how fast it goes, and QUIC how its datagrams queue.
    const fn may_search(&self) -> bool {
        matches!(self.carrier, Carrier::Quic(_))
    }

    /// Starts a stream that is to run from `from` until `until`.
    ///
    /// A stream down is asked for now and begins when the request has arrived.
    pub async fn start_stream(&mut self, stream: &PlannedStream, from: Micros, until: Micros, seed: u64) {
        let (id, rate, media) = (stream.id, stream.spec.rate, stream.spec.media);
        match stream.spec.direction {
            Some(Direction::Up) => {
                let plan = MediaPlan { stream: id, media, rate, from, until, seed };
                let _ = self.driver.post(move |sender, now| {
                    if let Err(error) = sender.start_stream(now, plan) {
                        tracing::warn!("cannot start a stream: {error}");
                    }
                });
            }
            Some(Direction::Down) => {
                // It begins half a round trip later there; what it sends last is to be here before the phase ends.
                let round_trip = self.carrier.round_trip();
                let duration_us = (until - from - round_trip).max(SHORTEST_STREAM);
                let request = StartStream { stream: id, media, rate_bps: rate, duration_us, seed };
                self.link.tell(&Frame::StartStream(request)).await;
            }
            None => {}
        }
    }

    /// Takes in what the endpoint has to say until it has nothing more to say. Cancel-safe.
    pub async fn listen(&mut self) {
        self.link.listen().await;
    }

    /// Why the endpoint has nothing more to say, where that is no good end.
    pub fn failure(&self) -> Option<&TargetFailure> {
        self.link.failure.as_ref()
    }

    /// Whether it lives. `None`: the measuring thread has ended.
    pub async fn pulse(&self) -> Option<Pulse> {
        let pulse = |sender: &mut Sender, _| Pulse {
            last_heard: sender.last_heard(),
            moved: sender.counters().moved,
        };
        self.driver.call(pulse).await.ok()
    }

    /// Copies what has been measured so far. `None`: the measuring thread has ended.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let there = known(self.link.there.half().clone());
        self.driver
            .call(move |sender, now| {
                let mut phases = sender.phases().to_vec();
                if let Some(last) = phases.last_mut() {
                    last.to = last.to.min(now);
                }
                let here = sender.half().clone();
                Snapshot {
                    trace: Trace {
                        here,
                        there,
                        phases,
                        capacity: sender.capacity_intervals().to_vec(),
                        searches: Vec::new(),
                    },
                    search_bytes: sender.capacity_bytes(),
                }
            })
            .await
            .ok()
    }

    /// Ends the run: nothing more is sent, stragglers are awaited unless `at_once`, and the rest of the endpoint's log is
    /// fetched. Each of the two takes at most `patience`, and the log no more than a few round trips where the run ends
    /// `at_once`: then what came before is all that the answer needs. What came until then is handed out with the reason why
    /// it is not all.
    pub async fn end(mut self, at_once: bool, down: &[StreamId], patience: Duration) -> Left {
        let searched_up = self.searched_up().await;
        for stream in down {
            self.link.tell(&Frame::StopStream(StopStream { stream: *stream })).await;
        }
        let _ = self.driver.post(move |sender, now| match at_once {
            true => sender.abort(now),
            false => sender.finish(now),
        });
        let alive_since = self.clock().now() - ALIVE;
        let drained = tokio::time::timeout(patience, self.driver.finished()).await;
        let patience_for_log =
            if at_once { patience.min(self.round_trips(LAST_ROUND_TRIPS)) } else { patience };
        let fetched = tokio::time::timeout(patience_for_log, self.link.finish()).await;
        match &self.carrier {
            Carrier::Quic(connection) | Carrier::Datagrams(connection) => quic::close(connection),
            Carrier::WebSocket { .. } => self.link.close().await,
        }
        let outcome = match drained {
            Ok(outcome) => outcome.ok(),
            Err(_) => self.driver.stop().await.ok(),
        };
        let last_heard = outcome.as_ref().and_then(|outcome| outcome.machine.last_heard());
        // A queue of seconds delays the end of the log beyond all patience: what it does not cover stays awaited.
        if fetched.is_err() && last_heard.is_none_or(|heard| heard < alive_since) {
            self.link.failure.get_or_insert(TargetFailure::Died);
        }
        let mut left = trace_of(outcome, self.link.there.into_half(), self.cpu_before);
        let searched_down = self.link.searched.map(|result| result.end);
        left.trace.searches = [(Direction::Up, searched_up), (Direction::Down, searched_down)]
            .into_iter()
            .filter_map(|(direction, end)| Some(CapacitySearch { direction, end: end? }))
            .collect();
        left.failure = left.failure.or(self.link.failure);
        left
    }

    /// The time of so many round trips, and a little for both programs.
    fn round_trips(&self, count: u32) -> Duration {
        self.carrier.round_trip().to_duration() * count + Duration::from_millis(20)
    }

    /// How the search up ended, if it did.
    async fn searched_up(&self) -> Option<SearchEnd> {
        let stream = self.searching?;
        let ask = move |sender: &mut Sender, _| sender.capacity_outcome(stream);
        self.driver.call(ask).await.ok().flatten().map(|outcome| outcome.end)
    }
}

/// An endpoint that was heard so shortly before the end has not died, even when the rest of its log does not come.
const ALIVE: Micros = Micros::from_secs(1);
/// One round trip fetches the rest of the log; a second one where its acknowledgement shows that something was lost.
const LAST_ROUND_TRIPS: u32 = 2;
/// A stream down lasts at least this, however long the round trip.
const SHORTEST_STREAM: Micros = Micros::from_millis(100);

/// Puts both halves together, and says what went wrong at this end.
fn trace_of(outcome: Option<Outcome<Sender>>, there: Half, cpu_before: Option<CpuTicks>) -> Left {
    let Some(mut outcome) = outcome else {
        let detail = "the measuring thread broke off".to_owned();
        let failure = Some(TargetFailure::Local { detail });
        return Left { trace: Trace::default(), failure, search_bytes: DataSize::default() };
    };
    let failure = match outcome.end {
        End::SocketFailed(detail) => Some(TargetFailure::Local { detail }),
        End::Finished | End::Stopped => None,
    };
    let search_bytes = outcome.machine.capacity_bytes();
    let capacity = outcome.machine.take_capacity_intervals();
    let (mut here, phases, _) = outcome.machine.into_parts();
    here.clock.steps = outcome.status.sockets.into_iter().flat_map(|socket| socket.clock_steps).collect();
    here.host_load = cpu_before.and_then(|before| CpuTicks::read().and_then(|now| now.since(&before)));
    let trace = Trace { here, there: known(there), phases, capacity, searches: Vec::new() };
    Left { trace, failure, search_bytes }
}

/// The endpoint's half, unless nothing of it ever came.
fn known(there: Half) -> Option<Half> {
    (!there.streams.is_empty()).then_some(there)
}
