//! The pacing thread: drives a [`Machine`] over sockets with absolute deadlines.
//!
//! Async timers are a millisecond off, so an operating-system thread does it: it sleeps until the machine's next deadline
//! or an arrival, whichever is first, with the timer slack taken away, and may spin for the last microseconds. Async code
//! talks to the machine through [`Driver::call`] and gets it back when it is done.
//!
//! A lost microsecond is reported, not hidden: each departure carries when it was intended (the machine knows), when it
//! was handed over, and when the kernel saw it leave.

#[cfg(test)]
mod tests;
mod thread;
mod wait;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;
use greenroom_reports::trace::ClockStep;
use greenroom_reports::units::Micros;
use tokio::sync::oneshot;

use super::clock::Clock;
use super::udp::{DatagramSocket, StampSources, Unreachable};
use crate::proto::machine::Machine;
use wait::Waker;

/// How the thread is to behave.
#[derive(Debug, Clone)]
pub struct DriverOptions {
    /// The thread's name, shown by the system's tools (15 bytes on Linux).
    pub name: &'static str,
    /// The longest spin before a deadline. The thread sleeps until then and spins for the rest, yet never for more than
    /// a hundredth of the time since its last deadline. [`Micros::ZERO`]: never spin.
    pub spin: Micros,
}

impl DriverOptions {
    /// For an agent that sends some ten packets per second: precise, below 2 % of a core.
    pub fn precise(name: &'static str) -> Self {
        Self { name, spin: Micros::new(150) }
    }

    /// For a reflector: it answers arrivals and need not spin.
    pub fn relaxed(name: &'static str) -> Self {
        Self { name, spin: Micros::ZERO }
    }
}

/// A running machine. Dropping it stops the thread.
pub struct Driver<M> {
    commands: Sender<Command<M>>,
    waker: Waker,
    status: Arc<Mutex<DriverStatus>>,
    outcome: Option<oneshot::Receiver<Outcome<M>>>,
    clock: Clock,
}

/// A machine after its thread has ended.
#[derive(Debug)]
pub struct Outcome<M> {
    /// The machine with all that it learned.
    pub machine: M,
    /// What the sockets had to tell.
    pub status: DriverStatus,
    /// Why it ended.
    pub end: End,
}

/// Why a driver's thread ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The machine was finished.
    Finished,
    /// [`Driver::stop`] was called or the handle dropped.
    Stopped,
    /// A socket is beyond use; what the system said.
    SocketFailed(String),
}

/// What the sockets of a driver had to tell so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverStatus {
    /// One per socket.
    pub sockets: Vec<SocketStatus>,
    /// Departure stamps that were asked for.
    pub stamps_asked: u64,
    /// Departure stamps that came (those of [`crate::proto::machine::DepartureEvent::Left`]).
    pub stamps_seen: u64,
    /// The last ICMP errors, at most [`DriverStatus::KEPT_ERRORS`]; the oldest first.
    pub unreachable: Vec<Unreachable>,
    /// ICMP errors in all.
    pub unreachable_count: u64,
}

impl DriverStatus {
    /// How many ICMP errors are kept.
    pub const KEPT_ERRORS: usize = 16;
}

/// What one socket had to tell so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketStatus {
    /// Where it is bound.
    pub local: SocketAddr,
    /// Who takes its stamps.
    pub stamps: StampSources,
    /// Datagrams dropped by its receive queue; `None` where the system does not tell.
    pub queue_drops: Option<u64>,
    /// Datagrams too long to be probes.
    pub oversized: u64,
    /// Steps of the wall clock.
    pub clock_steps: Vec<ClockStep>,
}

/// The thread has ended; its machine is in [`Driver::finished`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the measuring thread has ended")]
pub struct Ended;

/// Why a thread could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing to send from.
    #[error("a machine needs at least one socket")]
    NoSocket,
    /// The system refused a thread or a descriptor.
    #[error("cannot start the measuring thread: {0}")]
    System(#[from] io::Error),
}

type Command<M> = Box<dyn FnOnce(&mut M, Micros) + Send>;

impl<M: Machine + Send + 'static> Driver<M> {
    /// Starts a thread that drives `machine` over `sockets`: at most one per address family is used for sending (the first
    /// that fits), all are received from. The machine's times are `clock`'s, which must be the sockets' clock as well.
    ///
    /// # Errors
    ///
    /// When there is no socket, or the system refuses a thread.
    pub fn start(
        machine: M,
        sockets: Vec<Box<dyn DatagramSocket>>,
        clock: Clock,
        options: &DriverOptions,
    ) -> Result<Self, StartError> {
        thread::start(machine, sockets, clock, options)
    }

    /// Runs `command` on the thread, between two datagrams, and returns what it returned. The machine is asked for
    /// datagrams right after.
    ///
    /// # Errors
    ///
    /// [`Ended`] when the thread has ended before.
    pub async fn call<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut M, Micros) -> R + Send + 'static,
    ) -> Result<R, Ended> {
        let (answer, answered) = oneshot::channel();
        self.post(move |machine, now| {
            // Whoever asked may have gone.
            let _ = answer.send(command(machine, now));
        })?;
        answered.await.map_err(|_| Ended)
    }

    /// Runs `command` on the thread without waiting for it.
    ///
    /// # Errors
    ///
    /// [`Ended`] when the thread has ended before.
    pub fn post(&self, command: impl FnOnce(&mut M, Micros) + Send + 'static) -> Result<(), Ended> {
        self.commands.send(Box::new(command)).map_err(|_| Ended)?;
        self.waker.wake();
        Ok(())
    }

    /// What the sockets have told so far.
    pub fn status(&self) -> DriverStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The clock that the machine's times are on.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Waits until the machine is finished. Cancel-safe; after it returned, only [`Ended`] follows.
    ///
    /// # Errors
    ///
    /// [`Ended`] when the outcome was taken before, or the thread panicked.
    pub async fn finished(&mut self) -> Result<Outcome<M>, Ended> {
        let outcome = self.outcome.as_mut().ok_or(Ended)?.await;
        self.outcome = None;
        outcome.map_err(|_| Ended)
    }

    /// Stops the thread after what is due now was sent and what has arrived was taken in.
    ///
    /// # Errors
    ///
    /// [`Ended`] when the thread panicked.
    pub async fn stop(mut self) -> Result<Outcome<M>, Ended> {
        self.waker.stop();
        self.finished().await
    }
}

impl<M> Drop for Driver<M> {
    fn drop(&mut self) {
        self.waker.stop();
    }
}
