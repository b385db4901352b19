//! The loop on the pacing thread.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, unbounded};
use greenroom_reports::units::Micros;
use tokio::sync::oneshot;

use super::wait::{Waker, sleep_precisely};
use super::{Command, Driver, DriverOptions, DriverStatus, End, Outcome, SocketStatus, StartError};
use crate::net::clock::Clock;
use crate::net::udp::{DatagramSocket, SendBatch, SocketEvent};
use crate::proto::machine::{Departure, DepartureEvent, Machine, Transmit};

/// Batches sent or taken in before the other direction has its turn.
const BATCHES_PER_TURN: usize = 4;

pub(super) fn start<M: Machine + Send + 'static>(
    machine: M,
    sockets: Vec<Box<dyn DatagramSocket>>,
    clock: Clock,
    options: &DriverOptions,
) -> Result<Driver<M>, StartError> {
    if sockets.is_empty() {
        return Err(StartError::NoSocket);
    }
    let (commands, orders) = unbounded();
    let (outcome, ended) = oneshot::channel();
    let waker = Waker::new()?;
    let seen = DriverStatus::of(&sockets);
    let status = Arc::new(Mutex::new(seen.clone()));
    let worker = Worker {
        machine,
        sockets,
        clock,
        commands: orders,
        waker: waker.clone(),
        published: Arc::clone(&status),
        status: seen,
        changed: false,
        drops: 0,
        spin: options.spin,
        last_due: clock.now(),
        batch: SendBatch::default(),
        payload: Vec::new(),
    };
    std::thread::Builder::new().name(options.name.to_owned()).spawn(move || {
        sleep_precisely();
        // Whoever wanted the outcome may have gone.
        let _ = outcome.send(worker.run());
    })?;
    Ok(Driver { commands, waker, status, outcome: Some(ended), clock })
}

struct Worker<M> {
    machine: M,
    sockets: Vec<Box<dyn DatagramSocket>>,
    clock: Clock,
    commands: Receiver<Command<M>>,
    waker: Waker,
    published: Arc<Mutex<DriverStatus>>,
    status: DriverStatus,
    changed: bool,
    drops: u64,
    spin: Micros,
    /// When the last deadline was met.
    last_due: Micros,
    batch: SendBatch,
    payload: Vec<u8>,
}

impl<M: Machine> Worker<M> {
    fn run(mut self) -> Outcome<M> {
        let end = loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(end)) => break end,
                Err(error) => break End::SocketFailed(error.to_string()),
            }
        };
        // What the queue dropped after the last datagram that got through.
        self.look_at_sockets();
        self.publish();
        Outcome { machine: self.machine, status: self.status, end }
    }

    /// One round: what is due first, then everything else, then sleep.
    fn turn(&mut self) -> io::Result<Option<End>> {
        self.send_due();
        // Looked at before the last round of taking in, so that nothing that had arrived by then is left behind.
        let stopped = self.waker.is_stopped();
        self.run_commands();
        let more = self.take_in()?;
        self.send_due();
        if self.changed {
            self.publish();
        }
        if self.machine.is_finished() {
            // The stamps of what was just sent, where they are there already.
            self.take_in()?;
            return Ok(Some(End::Finished));
        }
        if stopped && !more {
            return Ok(Some(End::Stopped));
        }
        if !more {
            self.wait()?;
        }
        Ok(None)
    }

    fn run_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            command(&mut self.machine, self.clock.now());
        }
    }

    /// Sends what is due, in batches of one socket.
    fn send_due(&mut self) {
        let mut target = None;
        for _ in 0..BATCHES_PER_TURN * SendBatch::CAPACITY {
            let now = self.clock.now();
            self.payload.clear();
            let Some(transmit) = self.machine.poll_transmit(now, &mut self.payload) else {
                break;
            };
            let Some(socket) = self.socket_for(&transmit) else {
                self.refuse(&transmit);
                continue;
            };
            if target != Some(socket) || self.batch.is_full() {
                self.flush(target);
                target = Some(socket);
            }
            self.batch.push(transmit, &self.payload);
        }
        self.flush(target);
    }

    fn socket_for(&self, transmit: &Transmit) -> Option<usize> {
        self.sockets.iter().position(|socket| socket.local_addr().is_ipv4() == transmit.to.is_ipv4())
    }

    /// No socket of the family: the machine hears what a kernel would say.
    fn refuse(&mut self, transmit: &Transmit) {
        #[cfg(unix)]
        let number = Some(libc::EAFNOSUPPORT);
        #[cfg(not(unix))]
        let number = None;
        self.machine
            .handle_departure(&Departure { key: transmit.key, event: DepartureEvent::Failed(number) });
    }

    fn flush(&mut self, target: Option<usize>) {
        if let Some(socket) = target.filter(|_| !self.batch.is_empty()) {
            let asked = self.batch.iter().filter(|(transmit, _)| transmit.stamp).count();
            self.status.stamps_asked += asked as u64;
            self.changed |= asked > 0;
            let machine = &mut self.machine;
            self.sockets[socket].send(&self.batch, &mut |departure| machine.handle_departure(&departure));
        }
        self.batch.clear();
    }

    /// Hands what has come in to the machine. Returns whether there may be more.
    fn take_in(&mut self) -> io::Result<bool> {
        let mut more = false;
        for socket in &mut self.sockets {
            let (machine, status, changed) = (&mut self.machine, &mut self.status, &mut self.changed);
            socket.read_errors(&mut |event| {
                *changed = true;
                match event {
                    SocketEvent::Departure(departure) => {
                        status.stamps_seen += u64::from(matches!(departure.event, DepartureEvent::Left(_)));
                        machine.handle_departure(&departure);
                    }
                    SocketEvent::Unreachable(unreachable) => {
                        if status.unreachable.len() == DriverStatus::KEPT_ERRORS {
                            status.unreachable.remove(0);
                        }
                        status.unreachable.push(unreachable);
                        status.unreachable_count += 1;
                    }
                }
            });
            let received = socket
                .receive(&mut |now, arrival, payload| machine.handle_datagram(now, arrival, payload))?;
            more |= received > 0;
        }
        if more {
            self.look_at_sockets();
        }
        Ok(more)
    }

    fn look_at_sockets(&mut self) {
        let mut total = 0;
        for (socket, status) in self.sockets.iter_mut().zip(&mut self.status.sockets) {
            let drops = socket.queue_drops();
            if status.queue_drops != drops || status.oversized != socket.oversized() {
                status.queue_drops = drops;
                status.oversized = socket.oversized();
                self.changed = true;
            }
            if status.stamps != socket.stamp_sources() {
                status.stamps = socket.stamp_sources();
                self.changed = true;
            }
            if status.clock_steps.len() != socket.clock_steps().len() {
                status.clock_steps = socket.clock_steps().to_vec();
                self.changed = true;
            }
            total += drops.unwrap_or(0);
        }
        if total != self.drops {
            self.drops = total;
            self.machine.handle_drops(self.clock.now(), total);
        }
    }

    fn publish(&mut self) {
        self.changed = false;
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.status);
    }

    /// Sleeps until the deadline, an arrival or a command; spins for the last microseconds before a deadline.
    fn wait(&mut self) -> io::Result<()> {
        let Some(deadline) = self.machine.next_deadline() else {
            return self.waker.wait(&mut self.sockets, None);
        };
        let guard = self.guard(deadline);
        let spare = deadline - self.clock.now();
        if spare > guard {
            self.waker.wait(&mut self.sockets, Some((spare - guard).to_duration()))?;
        }
        if self.clock.now() + guard < deadline {
            // Something arrived before the deadline.
            return Ok(());
        }
        while self.clock.now() < deadline {
            std::hint::spin_loop();
        }
        self.last_due = deadline;
        Ok(())
    }

    /// How long to spin before `deadline`.
    fn guard(&self, deadline: Micros) -> Micros {
        let share = (deadline - self.last_due).get() / 100;
        Micros::new(self.spin.get().min(share).max(0))
    }
}

impl DriverStatus {
    fn of(sockets: &[Box<dyn DatagramSocket>]) -> Self {
        let sockets = sockets
            .iter()
            .map(|socket| SocketStatus {
                local: socket.local_addr(),
                stamps: socket.stamp_sources(),
                queue_drops: None,
                oversized: 0,
                clock_steps: Vec::new(),
            })
            .collect();
        Self { sockets, stamps_asked: 0, stamps_seen: 0, unreachable: Vec::new(), unreachable_count: 0 }
    }
}
