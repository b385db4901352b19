//! Scenarios: networks and computers as data, with what a fair verdict on them is.
//!
//! A scenario is a TOML file under `tests/netlab/scenarios`. The same file drives the link in real time and in virtual time.
//! Unknown keys, impossible shares and changes out of order are refused.

mod file;

use std::path::{Path, PathBuf};
use std::time::Duration;

use greenroom_reports::schema::{FaultDirection, Place, State, Use};
use greenroom_reports::trace::Direction;

pub use file::{Expectation, Problem};

use crate::link::{Jitter, Link, Schedule};

/// A network, the computers at its ends, and the verdict that is fair on them.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name: the file's, without the ending.
    pub name: String,
    /// What it stands for.
    pub why: String,
    /// Where its numbers come from.
    pub source: String,
    /// How long it takes to show what it is about.
    pub duration: Duration,
    /// From the agent to the endpoint.
    pub up: Schedule,
    /// From the endpoint to the agent.
    pub down: Schedule,
    /// The computers at both ends.
    pub hosts: Hosts,
    /// The verdict that is fair.
    pub expect: Expectation,
}

/// The computers at both ends.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// Busy loops that the real-time lab runs beside the measurement.
    pub busy_loops: u32,
    /// The agent's computer, in virtual time.
    pub here: Host,
    /// The endpoint's computer, in virtual time.
    pub there: Host,
}

/// A computer in virtual time. The default has no faults.
#[derive(Debug, Clone)]
pub struct Host {
    /// How long after the kernel the program gets a packet or wakes for a deadline.
    pub wake: Jitter,
    /// Datagrams that the receive queue holds; what comes beyond is dropped.
    pub receive_queue: usize,
    /// Share of sends that the kernel refuses (ENOBUFS).
    pub refused_ratio: f64,
    /// By how much its clock is ahead at the start.
    pub clock_ahead: Duration,
    /// By how many parts per million its clock runs fast.
    pub skew_ppm: f64,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            wake: Jitter::None,
            receive_queue: usize::MAX,
            refused_ratio: 0.0,
            clock_ahead: Duration::ZERO,
            skew_ppm: 0.0,
        }
    }
}

impl Scenario {
    /// Reads a scenario. Its name is given apart: a file does not know its own.
    pub fn parse(name: &str, text: &str) -> Result<Self, Problem> {
        file::parse(name, text)
    }

    /// Reads a scenario from a file.
    pub fn load(path: &Path) -> Result<Self, Problem> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Problem::Unreadable { path: path.to_owned(), source })?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Self::parse(&name, &text)
    }

    /// Reads a scenario that comes with the lab, by its name.
    pub fn named(name: &str) -> Result<Self, Problem> {
        Self::load(&directory().join(name).with_extension("toml"))
    }

    /// Reads all scenarios that come with the lab, in order of name.
    pub fn all() -> Result<Vec<Self>, Problem> {
        let unreadable = |source| Problem::Unreadable { path: directory(), source };
        let mut paths = std::fs::read_dir(directory())
            .map_err(unreadable)?
            .map(|entry| entry.map(|entry| entry.path()).map_err(unreadable))
            .collect::<Result<Vec<_>, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }

    /// One direction's schedule.
    pub fn schedule(&self, direction: Direction) -> &Schedule {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// One direction's link.
    pub fn link(&self, direction: Direction, seed: u64) -> Link {
        let number = match direction {
            Direction::Up => 0,
            Direction::Down => 1,
        };
        Link::new(self.schedule(direction).clone(), seed, number)
    }
}

/// Where the scenarios that come with the lab are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

impl Expectation {
    /// The states that are acceptable for a use; empty when the scenario says nothing about it.
    pub fn states(&self, of: Use) -> &[State] {
        match of {
            Use::Audio => &self.audio,
            Use::Video360p => &self.video_360p,
            Use::Video720p => &self.video_720p,
            Use::Video1080p => &self.video_1080p,
            Use::Screen => &self.screen,
        }
    }

    /// The places that are acceptable; empty when nothing is wrong.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The directions that are acceptable; empty when it does not matter.
    pub fn directions(&self) -> &[FaultDirection] {
        &self.directions
    }
}

#[cfg(test)]
mod tests;
