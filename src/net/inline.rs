//! A machine without a thread: it runs where its datagrams come in, on the task of whatever carries them.
//!
//! What only answers needs no precise timer, and a thread for each of many sessions costs two wake-ups a packet. So an answer leaves on the
//! task that brought the question, stamped right before. What leaves unasked, such as media down, waits for a timer of the runtime, which
//! is up to 2 ms late: it is stamped as it leaves, and when it was to leave is told beside, as everywhere.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use greenroom_reports::units::Micros;
use tokio::sync::{Notify, mpsc};

use super::clock::Clock;
use super::pacing::Ended;
use super::tunnel::{self, Take, TunnelEnd};
use crate::proto::machine::{Arrival, Departure, Machine};

/// Datagrams that leave before others have their turn.
const PER_TURN: usize = 64;
/// The shortest wait: the runtime's timers know none that is shorter, and a time that is over already is no reason to go round and round.
const SHORTEST: Micros = Micros::from_millis(1);

/// A machine that whoever brings datagrams runs. Dropping it ends it.
pub struct Inline<M>(Arc<Inner<M>>);

struct Inner<M> {
    peer: SocketAddr,
    clock: Clock,
    state: Mutex<State<M>>,
    /// The machine is to be asked before the time that was waited for.
    sooner: Notify,
}

struct State<M> {
    machine: M,
    outgoing: mpsc::Sender<Bytes>,
    payload: Vec<u8>,
    /// When it is to be asked again, as far as whoever keeps the time knows.
    waits_for: Option<Micros>,
}

impl<M: Machine + Send + 'static> Inline<M> {
    /// Takes a machine, and gives the end for the stream that carries its datagrams, all of which are of `peer`. Its times are `clock`'s.
    pub fn new(machine: M, peer: SocketAddr, clock: Clock) -> (Self, TunnelEnd) {
        let (outgoing, sent) = mpsc::channel(tunnel::DEPTH);
        let state = Mutex::new(State { machine, outgoing, payload: Vec::new(), waits_for: None });
        let inner = Arc::new(Inner { peer, clock, state, sooner: Notify::new() });
        let taker: Arc<dyn Take> = Arc::clone(&inner) as _;
        let end = TunnelEnd::of(sent, Arc::downgrade(&taker));
        (Self(inner), end)
    }

    /// Runs `command`, between two datagrams, and returns what it returned. The machine is asked for datagrams right after.
    ///
    /// # Errors
    ///
    /// [`Ended`] when the machine has panicked.
    pub fn call<R>(&self, command: impl FnOnce(&mut M, Micros) -> R) -> Result<R, Ended> {
        let mut state = self.0.state()?;
        let answer = command(&mut state.machine, self.0.clock.now());
        self.0.turn(&mut state);
        Ok(answer)
    }

    /// Sends what is due in time, until the machine has panicked. Without it only answers leave.
    pub async fn keep_time(&self) -> Ended {
        loop {
            let due = {
                let Ok(mut state) = self.0.state() else { return Ended };
                state.waits_for = None;
                self.0.send_due(&mut state);
                state.waits_for = state.machine.next_deadline();
                state.waits_for
            };
            let Some(due) = due else {
                self.0.sooner.notified().await;
                continue;
            };
            let due = due.max(self.0.clock.now() + SHORTEST);
            tokio::select! {
                () = self.0.sooner.notified() => {}
                () = tokio::time::sleep_until(self.0.clock.instant(due).into()) => {}
            }
        }
    }
}

impl<M: Machine> Inner<M> {
    /// A machine that has panicked is not asked again.
    fn state(&self) -> Result<MutexGuard<'_, State<M>>, Ended> {
        self.state.lock().map_err(|_| Ended)
    }

    /// Sends what is due, and wakes whoever keeps the time where that is too late now.
    fn turn(&self, state: &mut State<M>) {
        self.send_due(state);
        let Some(due) = state.machine.next_deadline() else { return };
        if state.waits_for.is_none_or(|at| due < at) {
            state.waits_for = Some(due);
            self.sooner.notify_one();
        }
    }

    fn send_due(&self, state: &mut State<M>) {
        let State { machine, outgoing, payload, .. } = state;
        for _ in 0..PER_TURN {
            payload.clear();
            let Some(transmit) = machine.poll_transmit(self.clock.now(), payload) else { return };
            let event = tunnel::hand_over(outgoing, self.clock, payload);
            machine.handle_departure(&Departure { key: transmit.key, event });
        }
    }
}

impl<M: Machine + Send> Take for Inner<M> {
    fn take(&self, datagram: &[u8]) {
        let at = self.clock.now();
        let arrival = Arrival { from: self.peer, at, kernel: false, tos: None, ttl: None };
        let Ok(mut state) = self.state() else { return };
        state.machine.handle_datagram(self.clock.now(), &arrival, datagram);
        self.turn(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::machine::{DepartureEvent, Transmit, TransmitKey};

    /// Sends back what comes, and something else at a time.
    #[derive(Default)]
    struct Echo {
        waiting: Vec<Vec<u8>>,
        alarm: Option<Micros>,
        departed: Vec<DepartureEvent>,
    }

    impl Machine for Echo {
        fn handle_datagram(&mut self, _: Micros, _: &Arrival, payload: &[u8]) {
            self.waiting.push(payload.to_vec());
        }

        fn handle_departure(&mut self, departure: &Departure) {
            self.departed.push(departure.event);
        }

        fn handle_drops(&mut self, _: Micros, _: u64) {}

        fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
            let bytes = match self.waiting.pop() {
                Some(bytes) => bytes,
                None => self.alarm.take_if(|at| *at <= now).map(|_| b"alarm".to_vec())?,
            };
            payload.extend_from_slice(&bytes);
            Some(Transmit { to: address(), key: TransmitKey(0), intended: now, tos: 0, stamp: false })
        }

        fn next_deadline(&self) -> Option<Micros> {
            self.alarm
        }

        fn is_finished(&self) -> bool {
            false
        }
    }

    fn address() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 9))
    }

    #[tokio::test]
    async fn an_answer_leaves_with_the_question() {
        let (echo, end) = Inline::new(Echo::default(), address(), Clock::start());
        let (mut outlet, inlet) = end.split();
        inlet.deliver(Bytes::from_static(b"one"));
        assert_eq!(outlet.try_next().as_deref(), Some(&b"one"[..]));
        assert_eq!(outlet.try_next(), None);
        let departed = echo.call(|echo, _| echo.departed.clone()).expect("runs");
        assert!(matches!(departed[..], [DepartureEvent::Handed(_)]), "{departed:?}");
    }

    #[tokio::test]
    async fn what_is_due_leaves_unasked_also_when_that_is_sooner_than_was_waited_for() {
        let clock = Clock::start();
        let (echo, end) = Inline::new(Echo::default(), address(), clock);
        let (mut outlet, _inlet) = end.split();
        echo.call(|echo, now| echo.alarm = Some(now + Micros::from_secs(3_600))).expect("runs");
        let asked = async {
            tokio::task::yield_now().await;
            echo.call(|echo, now| echo.alarm = Some(now + Micros::from_millis(5))).expect("runs");
            (outlet.next().await, clock.now())
        };
        let due = clock.now() + Micros::from_millis(5);
        let (sent, at) = tokio::select! {
            sent = asked => sent,
            ended = echo.keep_time() => panic!("{ended}"),
        };
        assert_eq!(sent.as_deref(), Some(&b"alarm"[..]));
        assert!(at >= due, "never before its time");
    }

    #[tokio::test]
    async fn what_nobody_takes_away_is_refused() {
        let (echo, end) = Inline::new(Echo::default(), address(), Clock::start());
        let (_outlet, inlet) = end.split();
        for _ in 0..=tunnel::DEPTH {
            inlet.deliver(Bytes::from_static(b"x"));
        }
        let last = echo.call(|echo, _| echo.departed.last().copied()).expect("runs");
        assert_eq!(last, Some(DepartureEvent::Failed(Some(libc::ENOBUFS))));
    }

    #[tokio::test]
    async fn without_its_machine_an_end_is_over() {
        let (echo, end) = Inline::new(Echo::default(), address(), Clock::start());
        let (mut outlet, inlet) = end.split();
        drop(echo);
        inlet.deliver(Bytes::from_static(b"to nobody"));
        assert_eq!(outlet.next().await, None);
    }
    #[tokio::test]
    async fn a_machine_that_panics_has_ended() {
        let (echo, end) = Inline::new(Echo::default(), address(), Clock::start());
        let (_outlet, inlet) = end.split();
        let panics = || echo.call(|_, _| panic!("on purpose"));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
        assert!(panicked.is_err());
        inlet.deliver(Bytes::from_static(b"to nobody"));
        assert_eq!(echo.call(|_, _| ()), Err(Ended));
        assert_eq!(echo.keep_time().await, Ended);
    }
}
