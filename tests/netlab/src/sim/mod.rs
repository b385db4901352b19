//! Two state machines, two links and two computers in virtual time: thousands of runs in seconds, each with its truth.
//!
//! True time counts from the start and is what links go by. Each machine sees its own computer's clock only.

mod check;
mod control;
mod host;
mod measure;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use greenroom::proto::machine::{Arrival, Departure, DepartureEvent, Machine};
use greenroom_reports::trace::{Direction, StreamId};
use greenroom_reports::units::Micros;

pub use check::{Checked, Ending, check};
pub use measure::{Load, Plan, Run, simulate, stream_of};

use crate::link::{Link, Outcome};
use crate::packet::{FlowKey, PacketInfo, Protocol};
use crate::scenario::Scenario;
use crate::truth::{LinkFate, PacketTruth, Truth};
use host::Computer;

/// ENOBUFS on Linux: the kernel has no room for what is to be sent.
const NO_BUFFERS: i32 = 105;
/// A machine that asks so often to be woken at once, and then does nothing, is stuck.
const MAX_IDLE_WAKES: u32 = 1_000;

/// One end's machine and where it lives.
pub struct End<'m> {
    /// The machine.
    pub machine: &'m mut dyn Machine,
    /// Its address.
    pub address: SocketAddr,
}

/// Two machines joined by a scenario's links, on a scenario's computers.
pub struct Sim<'m> {
    ends: [Node<'m>; 2],
    links: [Link; 2],
    events: BinaryHeap<Reverse<Event>>,
    serial: u64,
    now: Duration,
    truth: Truth,
    classify: Classify,
}

/// Says which stream a datagram belongs to.
pub type Classify = fn(Direction, &[u8]) -> Option<StreamId>;

struct Node<'m> {
    end: End<'m>,
    computer: Computer,
    /// Datagrams that wait in the receive queue.
    queue: Vec<Queued>,
    /// Datagrams that the receive queue dropped, and how many of those the machine was told.
    dropped: u64,
    told: u64,
    /// When the program is to run next.
    wake_at: Option<Duration>,
    /// Since when it has had a reason to: from then on it waits for the processor, and more reasons change nothing.
    runnable_from: Duration,
    idle_wakes: u32,
}

struct Queued {
    arrival: Arrival,
    payload: Vec<u8>,
}

/// A datagram that comes out of a link. Ordered by time, then by when it was offered.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Duration,
    serial: u64,
    /// Which end it comes from.
    from: usize,
    /// Its place in that direction's truth.
    index: usize,
    again: bool,
    tos: u8,
    payload: Vec<u8>,
}

impl<'m> Sim<'m> {
    /// Joins two machines: what `here` sends goes up.
    pub fn new(scenario: &Scenario, seed: u64, here: End<'m>, there: End<'m>) -> Self {
        let node = |end, host, number| Node {
            end,
            computer: Computer::new(host, seed, number),
            queue: Vec::new(),
            dropped: 0,
            told: 0,
            wake_at: Some(Duration::ZERO),
            runnable_from: Duration::ZERO,
            idle_wakes: 0,
        };
        Self {
            ends: [node(here, &scenario.hosts.here, 2), node(there, &scenario.hosts.there, 3)],
            links: Direction::BOTH.map(|direction| scenario.link(direction, seed)),
            events: BinaryHeap::new(),
            serial: 0,
            now: Duration::ZERO,
            truth: Truth { scenario: scenario.name.clone(), seed, ..Truth::default() },
            classify: |_, _| None,
        }
    }

    /// Runs until the agent's machine has finished, or nothing happens any more, or until `limit`.
    ///
    /// Tells the truth, with each packet's stream as `classify` says, and what both clocks show at the end.
    pub fn run(mut self, limit: Duration, classify: Classify) -> (Truth, [Micros; 2]) {
        self.classify = classify;
        while !self.ends[0].end.machine.is_finished() {
            let Some(next) = self.next_event().filter(|next| *next <= limit) else { break };
            self.now = next;
            self.deliver_due();
            for end in 0..2 {
                if self.ends[end].wake_at.is_some_and(|at| at <= next) {
                    self.wake(end);
                }
            }
        }
        let clocks = [0, 1].map(|end: usize| self.ends[end].computer.local(self.now));
        (self.truth, clocks)
    }

    fn next_event(&self) -> Option<Duration> {
        let arrival = self.events.peek().map(|event| event.0.at);
        self.ends.iter().filter_map(|node| node.wake_at).chain(arrival).min()
    }

    /// Puts what has arrived into the receive queues.
    fn deliver_due(&mut self) {
        while self.events.peek().is_some_and(|event| event.0.at <= self.now) {
            let Some(Reverse(event)) = self.events.pop() else { return };
            let log = if event.from == 0 { &mut self.truth.up } else { &mut self.truth.down };
            let truth = &mut log[event.index];
            match &mut truth.fate {
                LinkFate::Delivered { again, .. } if event.again => *again = Some(event.at),
                fate => *fate = LinkFate::Delivered { at: event.at, again: None, tos: event.tos },
            }
            let from = self.ends[event.from].end.address;
            if !self.ends[1 - event.from].receive(from, event) {
                truth.host_dropped += 1;
            }
        }
    }

    /// Lets a machine take what has arrived and send what is due.
    fn wake(&mut self, end: usize) {
        let now = self.now;
        let node = &mut self.ends[end];
        let local = node.computer.local(now);
        let mut busy = !node.queue.is_empty();
        for Queued { arrival, payload } in std::mem::take(&mut node.queue) {
            node.end.machine.handle_datagram(local, &arrival, &payload);
        }
        if node.told != node.dropped {
            node.told = node.dropped;
            node.end.machine.handle_drops(local, node.dropped);
        }
        let mut payload = Vec::new();
        while let Some(transmit) = self.ends[end].end.machine.poll_transmit(local, &mut payload) {
            busy = true;
            let refused = self.ends[end].computer.refuses_send();
            let mut depart =
                |event| self.ends[end].end.machine.handle_departure(&Departure { key: transmit.key, event });
            if refused {
                depart(DepartureEvent::Failed(Some(NO_BUFFERS)));
                continue;
            }
            depart(DepartureEvent::Handed(local));
            if transmit.stamp {
                depart(DepartureEvent::Left(local));
            }
            self.offer(end, transmit.to, transmit.tos, &payload);
        }
        self.ends[end].plan_wake(now, busy);
    }

    fn offer(&mut self, from: usize, to: SocketAddr, tos: u8, payload: &[u8]) {
        let sender = self.ends[from].end.address;
        let headers = if to.is_ipv4() { 28 } else { 48 };
        let info = PacketInfo {
            flow: FlowKey {
                protocol: Protocol::Udp,
                from: sender.ip(),
                from_port: sender.port(),
                to: to.ip(),
                to_port: to.port(),
            },
            tos,
            bytes: u32::try_from(payload.len() + headers).unwrap_or(u32::MAX),
            seq: payload.first_chunk::<4>().copied().map(u32::from_be_bytes),
        };
        let mut truth = PacketTruth::offered(self.now, &info);
        truth.stream = (self.classify)(Direction::BOTH[from], payload);
        let log = if from == 0 { &mut self.truth.up } else { &mut self.truth.down };
        let index = log.len();
        match self.links[from].offer(self.now, &info) {
            Outcome::Dropped(reason) => truth.fate = LinkFate::Dropped(reason),
            Outcome::Delivered { at, again, tos, .. } => {
                for (at, again) in std::iter::once((at, false)).chain(again.map(|at| (at, true))) {
                    self.serial += 1;
                    let payload = payload.to_vec();
                    self.events.push(Reverse(Event {
                        at,
                        serial: self.serial,
                        from,
                        index,
                        again,
                        tos,
                        payload,
                    }));
                }
            }
        }
        log.push(truth);
    }
}

impl Node<'_> {
    /// Queues a datagram and sees that the program will take it; `false`: the queue was full.
    fn receive(&mut self, from: SocketAddr, event: Event) -> bool {
        if self.queue.len() >= self.computer.receive_queue() {
            self.dropped += 1;
            return false;
        }
        let arrival = Arrival {
            from,
            at: self.computer.local(event.at),
            kernel: true,
            tos: Some(event.tos),
            ttl: Some(64),
        };
        self.queue.push(Queued { arrival, payload: event.payload });
        if self.wake_at.is_none() || self.runnable_from > event.at {
            self.runnable_from = event.at;
            self.wake_at = Some(event.at + self.computer.wake_delay());
        }
        true
    }

    /// Says when the machine is to be asked again.
    fn plan_wake(&mut self, now: Duration, busy: bool) {
        self.wake_at = None;
        if self.end.machine.is_finished() {
            return;
        }
        let Some(deadline) = self.end.machine.next_deadline() else { return };
        let due = self.computer.true_time(deadline);
        self.idle_wakes = if busy || due > now { 0 } else { self.idle_wakes + 1 };
        assert!(self.idle_wakes < MAX_IDLE_WAKES, "a machine asks to be woken at {deadline} over and over");
        self.runnable_from = due.max(now);
        self.wake_at = Some(self.runnable_from + self.computer.wake_delay());
    }
}
