//! The thread that is the link: reads packets from one end's device and writes them to the other's when they are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

use greenroom::address::DEFAULT_PORT;
use greenroom_reports::trace::Direction;

use super::system::{self, Waker};
use crate::link::{Link, Outcome};
use crate::packet::{PacketInfo, set_tos, udp_payload};
use crate::sim::stream_of;
use crate::truth::{Lateness, LinkFate, PacketTruth, Truth};

/// A timer wakes a sleeping processor this much too late at worst, so the rest is spun.
const SPIN: Duration = Duration::from_micros(250);
/// No more than this share of time is spun, in percent: above 95 the kernel takes the processor away for a while.
const SPIN_SHARE: u32 = 60;
/// Where a Greenroom endpoint answers probes and takes media.
const PROBES: u16 = DEFAULT_PORT + 1;
/// Packets read from one device before anything else is looked at.
const BATCH: usize = 32;

/// The thread that is the link.
pub(super) struct Relay {
    /// The agent's device and the endpoint's.
    devices: [File; 2],
    /// From the agent and from the endpoint.
    links: [Link; 2],
    /// Links that take their place.
    changes: Receiver<[Link; 2]>,
    /// What became of the packets from the agent and from the endpoint.
    logs: [Vec<PacketTruth>; 2],
    due: BinaryHeap<Reverse<Due>>,
    late: Vec<Duration>,
    origin: Duration,
    serial: u64,
    spun: Spun,
    stop: Arc<Waker>,
    truth: Truth,
}

/// A packet on its way. Ordered by time, then by when it was queued.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Duration,
    serial: u64,
    /// Which device it came from.
    from: usize,
    /// Its place in the log.
    index: usize,
    /// Whether it is the second copy.
    again: bool,
    tos: u8,
    packet: Vec<u8>,
}

impl Relay {
    pub(super) fn new(
        devices: [File; 2],
        links: [Link; 2],
        changes: Receiver<[Link; 2]>,
        stop: Arc<Waker>,
        truth: Truth,
    ) -> Self {
        // Room for a minute of video both ways, so that the thread seldom has to ask for memory.
        let logs = [Vec::with_capacity(1 << 16), Vec::with_capacity(1 << 16)];
        Self {
            devices,
            links,
            changes,
            logs,
            due: BinaryHeap::with_capacity(1 << 12),
            late: Vec::with_capacity(1 << 17),
            origin: Duration::ZERO,
            serial: 0,
            spun: Spun::default(),
            stop,
            truth,
        }
    }

    /// Starts the thread and waits until it has its priority.
    pub(super) fn spawn(mut self) -> io::Result<JoinHandle<io::Result<Truth>>> {
        let (report, ready) = mpsc::channel();
        let thread = std::thread::Builder::new().name("netlab-link".into()).spawn(move || {
            let prepared = system::become_real_time();
            let go = prepared.is_ok();
            // Whoever started the thread waits for this; when it is gone there is nobody to tell.
            let _ = report.send(prepared);
            if !go {
                return Ok(self.into_truth());
            }
            self.origin = system::now();
            self.run()?;
            Ok(self.into_truth())
        })?;
        ready.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))?;
        Ok(thread)
    }

    fn run(&mut self) -> io::Result<()> {
        let mut buffer = vec![0_u8; 65_536];
        let descriptors = [self.devices[0].as_raw_fd(), self.devices[1].as_raw_fd(), self.stop.as_raw_fd()];
        loop {
            self.deliver_due()?;
            if let Ok(links) = self.changes.try_recv() {
                self.links = links;
            }
            let taken = self.take(0, &mut buffer)? + self.take(1, &mut buffer)?;
            let now = self.now();
            let wait = self.due.peek().map(|next| next.0.at.saturating_sub(now));
            if taken > 0 || wait == Some(Duration::ZERO) {
                self.spun.pause(now);
                continue;
            }
            if wait.is_some_and(|wait| wait <= SPIN) && self.spun.may(now) {
                std::hint::spin_loop();
                continue;
            }
            self.spun.pause(now);
            let sleep = wait.map(|wait| if wait > SPIN { wait - SPIN } else { wait });
            if system::wait(descriptors, sleep)?.last {
                return Ok(());
            }
        }
    }

    fn now(&self) -> Duration {
        system::now().saturating_sub(self.origin)
    }

    /// Reads what one device has and puts it on its way; says how many packets there were.
    fn take(&mut self, from: usize, buffer: &mut [u8]) -> io::Result<usize> {
        for taken in 0..BATCH {
            let length = match self.devices[from].read(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(taken),
                Err(error) => return Err(error),
            };
            let now = self.now();
            let packet = &buffer[..length];
            if let Some(info) = PacketInfo::parse(packet) {
                self.offer(from, now, &info, packet);
            }
            // A packet that is due at once must not wait for the rest of a burst.
            self.deliver_due()?;
        }
        Ok(BATCH)
    }

    fn offer(&mut self, from: usize, now: Duration, info: &PacketInfo, packet: &[u8]) {
        let index = self.logs[from].len();
        let mut truth = PacketTruth::offered(now, info);
        if truth.has_port(PROBES) {
            truth.stream = udp_payload(packet).and_then(|payload| stream_of(Direction::BOTH[from], payload));
        }
        match self.links[from].offer(now, info) {
            Outcome::Dropped(reason) => truth.fate = LinkFate::Dropped(reason),
            Outcome::Delivered { at, again, tos, .. } => {
                for (at, again) in std::iter::once((at, false)).chain(again.map(|at| (at, true))) {
                    self.serial += 1;
                    let packet = packet.to_vec();
                    self.due.push(Reverse(Due { at, serial: self.serial, from, index, again, tos, packet }));
                }
            }
        }
        self.logs[from].push(truth);
    }

    fn deliver_due(&mut self) -> io::Result<()> {
        while self.due.peek().is_some_and(|next| next.0.at <= self.now()) {
            let Some(Reverse(mut due)) = self.due.pop() else { return Ok(()) };
            let truth = &mut self.logs[due.from][due.index];
            if truth.tos != due.tos {
                set_tos(&mut due.packet, due.tos);
            }
            let at = system::now().saturating_sub(self.origin);
            self.devices[1 - due.from].write_all(&due.packet)?;
            self.late.push(at.saturating_sub(due.at));
            match &mut truth.fate {
                LinkFate::Delivered { again, .. } if due.again => *again = Some(at),
                fate => *fate = LinkFate::Delivered { at, again: None, tos: due.tos },
            }
        }
        Ok(())
    }

    fn into_truth(self) -> Truth {
        let [up, down] = self.logs;
        Truth { up, down, lateness: Lateness::of(self.late), ..self.truth }
    }
}

/// Keeps count of the time spun in each second.
#[derive(Default)]
struct Spun {
    second: u64,
    time: Duration,
    since: Option<Duration>,
}

impl Spun {
    /// Whether there is time left to spin; if so, it is being spun from `now` on.
    fn may(&mut self, now: Duration) -> bool {
        self.count(now);
        self.since = Some(now);
        self.time < Duration::from_secs(1) * SPIN_SHARE / 100
    }

    /// No longer spinning at `now`.
    fn pause(&mut self, now: Duration) {
        self.count(now);
        self.since = None;
    }

    fn count(&mut self, now: Duration) {
        if now.as_secs() != self.second {
            *self = Self { second: now.as_secs(), time: Duration::ZERO, since: self.since.map(|_| now) };
        }
        if let Some(since) = self.since {
            self.time += now.saturating_sub(since);
        }
    }
}
