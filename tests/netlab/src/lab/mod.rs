//! The link in real time: two network namespaces, joined by a thread that passes packets from one TUN device to the other.
//!
//! Needs root and `/dev/net/tun`, and says so in its error when it has neither.

mod namespace;
pub mod one_way;
mod relay;
pub(crate) mod system;

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use greenroom_reports::trace::Direction;

pub(crate) use namespace::DEVICE;
pub use namespace::{Namespace, Side};

use crate::link::Link;
use crate::scenario::Scenario;
use crate::truth::Truth;
use relay::Relay;
use system::Waker;

/// A run whose link was later than this in more than one packet of a hundred proves nothing.
pub const VOID_ABOVE: Duration = Duration::from_micros(200);

/// Two network namespaces joined by an emulated link. Dropping it takes everything down.
pub struct Lab {
    here: Side,
    there: Side,
    relay: Option<JoinHandle<io::Result<Truth>>>,
    others: Sender<[Link; 2]>,
    stop: Arc<Waker>,
    loops: BusyLoops,
    _awake: Option<File>,
}

/// Why a lab cannot be had, or what it measured cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces and TUN devices are for root.
    #[error("the lab needs root: run it with sudo")]
    NotPrivileged,
    /// The kernel has no TUN devices.
    #[error("the lab needs /dev/net/tun: load the kernel module tun ({0})")]
    NoTun(io::Error),
    /// A step of the set-up failed.
    #[error("cannot {step}: {source}")]
    Setup {
        /// Which.
        step: String,
        /// Why.
        source: io::Error,
    },
    /// The thread that passes packets failed.
    #[error("the link broke down: {0}")]
    Broken(io::Error),
    /// The link did not keep to its own times, so nothing can be held against it.
    #[error("void run: the link itself was {} µs late (p99; at most {} µs)", p99.as_micros(), VOID_ABOVE.as_micros())]
    Late {
        /// How late the latest packet in a hundred was.
        p99: Duration,
        /// What happened all the same.
        truth: Box<Truth>,
    },
    /// A device dropped packets before the link saw them, so that the truth has holes.
    #[error("void run: {dropped} packets were dropped before they reached the link; send slower")]
    Overrun {
        /// How many.
        dropped: u64,
        /// What happened all the same.
        truth: Box<Truth>,
    },
}

impl Lab {
    /// Sets up both ends and starts the link. The scenario's times count from now.
    pub fn start(scenario: &Scenario, seed: u64) -> Result<Self, LabError> {
        namespace::check_privileges()?;
        namespace::remove_stale();
        let (here, here_tun) = Side::create("here", 1)?;
        let (there, there_tun) = Side::create("there", 2)?;
        let setup = |step: &str| {
            let step = step.to_owned();
            move |source| LabError::Setup { step, source }
        };
        let stop = Arc::new(Waker::new().map_err(setup("make an event descriptor"))?);
        let links = Direction::BOTH.map(|direction| scenario.link(direction, seed));
        let truth = Truth { scenario: scenario.name.clone(), seed, ..Truth::default() };
        let (others, changes) = mpsc::channel();
        let relay = Relay::new([here_tun, there_tun], links, changes, Arc::clone(&stop), truth);
        let relay = relay.spawn().map_err(setup("start the link's thread at SCHED_FIFO"))?;
        let loops = BusyLoops::start(scenario.hosts.busy_loops).map_err(setup("start a busy loop"))?;
        let awake = system::keep_processors_awake();
        Ok(Self { here, there, relay: Some(relay), others, stop, loops, _awake: awake })
    }

    /// Puts another link in place of the one there is: what is offered from now on meets the new one. Its own times still count from the
    /// start of the lab, so that it should not change by itself.
    pub fn change(&self, scenario: &Scenario, seed: u64) {
        // A thread that has ended has its reason, which `finish` tells.
        let _ = self.others.send(Direction::BOTH.map(|direction| scenario.link(direction, seed)));
    }

    /// The agent's end: what it sends goes `up`.
    pub fn here(&self) -> &Side {
        &self.here
    }

    /// The endpoint's end: what it sends goes `down`.
    pub fn there(&self) -> &Side {
        &self.there
    }

    /// Ends the link and tells what it did. What is still under way stays so.
    pub fn finish(mut self) -> Result<Truth, LabError> {
        self.loops.stop();
        let dropped = self.here.device_drops() + self.there.device_drops();
        let truth = self.stop_relay().map_err(LabError::Broken)?;
        let p99 = truth.lateness.map_or(Duration::ZERO, |lateness| lateness.p99);
        if dropped > 0 {
            return Err(LabError::Overrun { dropped, truth: Box::new(truth) });
        }
        if p99 > VOID_ABOVE {
            return Err(LabError::Late { p99, truth: Box::new(truth) });
        }
        Ok(truth)
    }

    fn stop_relay(&mut self) -> io::Result<Truth> {
        self.stop.wake();
        let Some(relay) = self.relay.take() else {
            return Err(io::Error::other("the link was stopped before"));
        };
        relay.join().unwrap_or_else(|_| Err(io::Error::other("the link's thread panicked")))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.loops.stop();
        if self.relay.is_some() {
            // The truth is lost with the lab: nobody asked for it.
            let _ = self.stop_relay();
        }
    }
}

/// Threads that burn a processor, as a busy computer does.
struct BusyLoops {
    run: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl BusyLoops {
    fn start(count: u32) -> io::Result<Self> {
        let run = Arc::new(AtomicBool::new(true));
        let mut loops = Self { run: Arc::clone(&run), threads: Vec::new() };
        for _ in 0..count {
            let run = Arc::clone(&run);
            let spin = move || {
                while run.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            };
            loops.threads.push(std::thread::Builder::new().name("busy-loop".into()).spawn(spin)?);
        }
        Ok(loops)
    }

    fn stop(&mut self) {
        self.run.store(false, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A busy loop has nothing in it that could panic, and nothing to tell.
            let _ = thread.join();
        }
    }
}
