//! What Linux tells of a machine: text files below `/proc` and `/sys`, and a few of the desktop's own.
//!
//! Everything is read below a root, so that tests make up machines out of files.

mod desktop;
mod gpu;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use greenroom_reports::schema::{
    Estimate, Exact, Granted, Graphics, HardwareCodec, Memory, Power, Processor, ScreenCapture, Value,
};

use super::{Heat, Host};
use crate::system::CpuTicks;

pub use desktop::Session;

/// A machine that runs Linux.
#[derive(Debug, Clone)]
pub struct Linux {
    root: PathBuf,
    session: Session,
}

impl Linux {
    /// This one.
    pub fn here() -> Self {
        Self::at("/", Session::here())
    }

    /// One whose files lie below `root`.
    pub fn at(root: impl Into<PathBuf>, session: Session) -> Self {
        Self { root: root.into(), session }
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// The first word of a file.
    fn word(&self, path: &str) -> Option<String> {
        self.text(path)?.split_whitespace().next().map(str::to_owned)
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.word(path)?.parse().ok()
    }

    /// What a folder holds, as paths below the root, in order.
    fn list(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy())).collect();
        names.sort();
        names
    }

    /// The folders of the processors: `sys/devices/system/cpu/cpu0`, …
    fn cpus(&self) -> Vec<String> {
        let all = self.list("sys/devices/system/cpu");
        all.into_iter().filter(|path| numbered(path, "cpu").is_some()).collect()
    }

    /// Cores by their places; `None` where the system does not tell where a thread runs.
    fn cores(&self) -> Option<u32> {
        let places: Option<BTreeSet<(u64, u64)>> = self
            .cpus()
            .iter()
            .filter(|cpu| self.number(&format!("{cpu}/online")) != Some(0))
            .map(|cpu| {
                let of = |name: &str| self.number(&format!("{cpu}/topology/{name}"));
                Some((of("physical_package_id")?, of("core_id")?))
            })
            .collect();
        places.filter(|places| !places.is_empty()).and_then(|places| u32::try_from(places.len()).ok())
    }

    /// How often heat slowed a core or a package down, all added up.
    fn throttle_events(&self) -> Option<u64> {
        let cpus = self.cpus();
        let count = |name: &str| {
            let counts = cpus.iter().filter_map(|cpu| self.number(&format!("{cpu}/thermal_throttle/{name}")));
            counts.reduce(u64::saturating_add)
        };
        let counts = [count("core_throttle_count"), count("package_throttle_count")];
        counts.into_iter().flatten().reduce(u64::saturating_add)
    }

    /// Whether one of the kernel's means of cooling the processor by slowing it down is on.
    fn held_back(&self) -> Option<bool> {
        let devices = self.list("sys/class/thermal");
        let states = devices.iter().filter_map(|device| {
            let kind = self.text(&format!("{device}/type"))?;
            let kind = kind.trim();
            let slows = kind == "Processor" || kind.starts_with("cpufreq") || kind.starts_with("cpu-");
            (slows && device.contains("cooling_device"))
                .then(|| self.number(&format!("{device}/cur_state")))?
        });
        states.map(|state| state > 0).reduce(|one, other| one || other)
    }

    /// The hottest zone that is the processor's.
    fn temperature_c(&self) -> Option<f64> {
        let zones = self.list("sys/class/thermal");
        let degrees = zones.iter().filter_map(|zone| {
            let kind = self.text(&format!("{zone}/type"))?.trim().to_ascii_lowercase();
            let processor = ["x86_pkg_temp", "cpu", "soc", "package", "acpitz"];
            let ours = processor.iter().any(|name| kind.contains(name));
            let milli: i32 = self.word(&format!("{zone}/temp"))?.parse().ok()?;
            // A sensor that is asleep says 0 or something absurd.
            (ours && (1_000..150_000).contains(&milli)).then(|| f64::from(milli) / 1_000.0)
        });
        degrees.reduce(f64::max)
    }

    fn frequency_ratio(&self) -> Option<f64> {
        let ratio = |cpu: &String| {
            let of = |name: &str| {
                let khz = self.number(&format!("{cpu}/cpufreq/{name}"))?;
                u32::try_from(khz).ok().filter(|khz| *khz > 0).map(f64::from)
            };
            Some(of("scaling_cur_freq")? / of("cpuinfo_max_freq")?)
        };
        self.cpus().iter().filter_map(ratio).reduce(f64::max).map(|ratio| ratio.min(1.0))
    }

    /// Whether the machine saves power at the cost of speed.
    fn saver(&self) -> Option<bool> {
        let profile = self.word("sys/firmware/acpi/platform_profile").map(|it| it == "low-power");
        let of = |name: &str| self.word(&format!("sys/devices/system/cpu/cpu0/cpufreq/{name}"));
        let preference = of("energy_performance_preference").map(|it| it == "power");
        // With the drivers that have a preference, the governor `powersave` is the usual one and says nothing.
        let governor = match preference {
            Some(_) => None,
            None => of("scaling_governor").map(|it| it == "powersave"),
        };
        let told = [profile, preference, governor];
        told.iter().any(Option::is_some).then(|| told.contains(&Some(true)))
    }
}

impl Host for Linux {
    fn processor(&self) -> Value<Processor> {
        let info = self.text("proc/cpuinfo").unwrap_or_default();
        let field = |wanted: &str| {
            info.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                (name.trim() == wanted).then(|| value.trim().to_owned()).filter(|value| !value.is_empty())
            })
        };
        let threads = info.lines().filter(|line| line.starts_with("processor")).count();
        let Some(threads) = u32::try_from(threads).ok().filter(|threads| *threads > 0) else {
            return Value::not_tested("the system does not list its processors (/proc/cpuinfo)");
        };
        let board = || Some(self.text("proc/device-tree/model")?.trim_end_matches('\0').to_owned());
        Value::Measured(Processor {
            model: field("model name").or_else(|| field("Model")).or_else(board),
            cores: self.cores(),
            threads,
            // Only x86 tells: a flag that every hypervisor sets.
            virtual_machine: field("flags").map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        })
    }

    fn load_per_core(&self) -> Value<Estimate> {
        let load = self.word("proc/loadavg").and_then(|load| load.parse::<f64>().ok());
        let threads = self.ticks().map(|ticks| f64::from(ticks.cores()));
        match load.zip(threads) {
            Some((load, threads)) if threads > 0.0 => Value::estimate(load / threads, 1),
            _ => Value::not_tested("the system does not tell its load (/proc/loadavg)"),
        }
    }

    fn ticks(&self) -> Option<CpuTicks> {
        CpuTicks::parse(&self.text("proc/stat")?)
    }

    fn memory(&self) -> Value<Memory> {
        let info = self.text("proc/meminfo").unwrap_or_default();
        let bytes = |wanted: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix(':'))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            kib.checked_mul(1_024)
        };
        match bytes("MemTotal").zip(bytes("MemAvailable")) {
            Some((total_bytes, available_bytes)) => Value::Measured(Memory {
                total_bytes,
                available_bytes,
                pressure_ratio: self.text("proc/pressure/memory").and_then(|text| pressure(&text)),
            }),
            None => Value::not_tested("the system does not tell its memory (/proc/meminfo)"),
        }
    }

    fn heat(&self) -> Heat {
        Heat {
            events: self.throttle_events(),
            held_back: self.held_back(),
            temperature_c: self.temperature_c(),
            frequency_ratio: self.frequency_ratio(),
        }
    }

    fn power(&self) -> Value<Power> {
        if !self.root.join("sys/class/power_supply").is_dir() {
            return Value::not_tested("the system does not tell where its power comes from");
        }
        let supplies = self.list("sys/class/power_supply");
        let of = |supply: &String, name: &str| self.text(&format!("{supply}/{name}"));
        let is =
            |supply: &String, name: &str, value: &str| of(supply, name).is_some_and(|it| it.trim() == value);
        // Batteries of mice and headsets are of scope `Device`.
        let batteries: Vec<&String> = supplies
            .iter()
            .filter(|supply| is(supply, "type", "Battery") && !is(supply, "scope", "Device"))
            .collect();
        let charge = batteries.iter().find_map(|battery| {
            let percent: u32 = of(battery, "capacity")?.trim().parse().ok()?;
            Some(f64::from(percent.min(100)) / 100.0)
        });
        Value::Measured(Power {
            on_battery: batteries.iter().any(|battery| is(battery, "status", "Discharging")),
            charge_ratio: charge,
            saver: self.saver(),
        })
    }

    fn graphics(&self) -> Value<Exact<Vec<Graphics>>> {
        Value::exact(gpu::list(self))
    }

    fn hardware_codecs(&self) -> Value<Exact<Vec<HardwareCodec>>> {
        gpu::codecs(self)
    }

    fn screen_capture(&self) -> Value<ScreenCapture> {
        Value::Measured(desktop::screen_capture(&self.root, &self.session))
    }

    fn permissions(&self) -> Value<Exact<Vec<Granted>>> {
        Value::exact(desktop::permissions(&self.root, &self.session))
    }

    fn clock_offset_ms(&self) -> Value<Estimate> {
        kernel_clock()
    }
}

/// The number behind `name` at the end of a path: 3 of `…/cpu3`.
fn numbered(path: &str, name: &str) -> Option<u32> {
    Path::new(path).file_name()?.to_str()?.strip_prefix(name)?.parse().ok()
}

/// The share of the last ten seconds in which some program waited (`Documentation/accounting/psi.rst` of the kernel).
fn pressure(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent: f64 = some.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

/// What the kernel's clock discipline knows: whoever synchronizes the clock tells it how far off the clock can be.
fn kernel_clock() -> Value<Estimate> {
    // SAFETY: timex is plain data, for which all zeros is valid; modes 0 only reads.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid for the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    #[expect(clippy::cast_precision_loss, reason = "offsets are far below 2^53 units")]
    let (offset, bound_us) = (timex.offset as f64, timex.maxerror as f64);
    clock_offset(state, timex.status, offset, bound_us)
}

/// Reads an answer of adjtimex(2): `offset` is what is still to be added to the clock, in µs or ns by its status.
fn clock_offset(state: i32, status: i32, offset: f64, bound_us: f64) -> Value<Estimate> {
    if state < 0 {
        return Value::not_tested("the system does not tell how its clock is kept");
    }
    if state == libc::TIME_ERROR || status & libc::STA_UNSYNC != 0 {
        return Value::not_tested(
            "nothing synchronizes this computer's clock, so that its offset is not known",
        );
    }
    let offset_us = if status & libc::STA_NANO != 0 { offset / 1_000.0 } else { offset };
    let value = -offset_us / 1_000.0;
    let bound = bound_us / 1_000.0;
    Value::Measured(Estimate { value, low: Some(value - bound), high: Some(value + bound), n: 1 })
}

#[cfg(test)]
mod tests;
