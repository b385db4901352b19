//! What was measured on, and what else went on meanwhile.

use std::fs;
use std::time::Duration;

use greenroom::net::clock::Clock;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use crate::Fallible;

/// The machine and its state while a section was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Conditions {
    /// When the section was begun, in UTC.
    pub(crate) at: jiff::Timestamp,
    /// How long it took.
    pub(crate) took_s: f64,
    /// The processor's name.
    pub(crate) processor: String,
    /// How many of it.
    pub(crate) cores: usize,
    /// Whether it is a virtual machine.
    pub(crate) is_virtual: bool,
    /// The kernel's version.
    pub(crate) kernel: String,
    /// Runnable threads in the minute before.
    pub(crate) load_before: f64,
    /// Share of all processor time that went to programs not of this benchmark.
    pub(crate) others_ratio: f64,
    /// Share of all processor time that the hypervisor kept for itself.
    pub(crate) steal_ratio: f64,
}

/// Above this share of other programs, a section says more of them than of what it measured.
const VOID_ABOVE: f64 = 0.1;

impl Conditions {
    /// Whether so much else went on that the figures prove nothing and are to be taken again.
    pub(crate) fn is_void(&self) -> bool {
        self.others_ratio > VOID_ABOVE || self.steal_ratio > VOID_ABOVE
    }
}

/// Watches the machine from here on.
pub(crate) struct Watch {
    clock: Clock,
    ticks: Ticks,
    own: Duration,
    load_before: f64,
}

impl Watch {
    /// Begins.
    pub(crate) fn start() -> Fallible<Self> {
        let load = fs::read_to_string("/proc/loadavg")?;
        let load_before = load.split_whitespace().next().unwrap_or("").parse()?;
        Ok(Self { clock: Clock::start(), ticks: Ticks::read()?, own: own_time(true)?, load_before })
    }

    /// Sums up.
    pub(crate) fn end(self) -> Fallible<Conditions> {
        let spent = Ticks::read()?.since(&self.ticks);
        let own = own_time(true)?.saturating_sub(self.own).as_secs_f64() * 100.0;
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let processor = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Ok(Conditions {
            at: self.clock.started(),
            took_s: self.clock.now().as_secs(),
            processor: processor
                .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned()),
            cores: std::thread::available_parallelism()?.get(),
            is_virtual: processors
                .lines()
                .any(|line| line.starts_with("flags") && line.contains(" hypervisor")),
            kernel: kernel.split('-').next().unwrap_or_default().trim().to_owned(),
            load_before: self.load_before,
            others_ratio: ((spent.busy - own) / spent.all).clamp(0.0, 1.0),
            steal_ratio: spent.steal / spent.all,
        })
    }
}

/// Processor time of this process, with that of the programs it has run when `children` is asked for.
pub(crate) fn own_time(children: bool) -> Fallible<Duration> {
    let mut micros = 0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].into_iter().take(1 + usize::from(children))
    {
        let usage = getrusage(who)?;
        micros += usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    }
    Ok(Duration::from_micros(u64::try_from(micros)?))
}

/// Processor time of the whole machine in hundredths of a second, from `/proc/stat`.
struct Ticks {
    busy: f64,
    steal: f64,
    all: f64,
}

impl Ticks {
    fn read() -> Fallible<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().ok_or("/proc/stat is empty")?;
        let fields: Vec<f64> =
            line.split_whitespace().skip(1).take(8).map(str::parse).collect::<Result<_, _>>()?;
        let &[user, nice, system, idle, waiting, interrupts, soft, steal] = fields.as_slice() else {
            return Err("/proc/stat has too few columns".into());
        };
        let busy = user + nice + system + interrupts + soft;
        Ok(Self { busy, steal, all: busy + idle + waiting + steal })
    }

    fn since(&self, before: &Self) -> Self {
        let all = (self.all - before.all).max(1.0);
        Self { busy: self.busy - before.busy, steal: self.steal - before.steal, all }
    }
}
