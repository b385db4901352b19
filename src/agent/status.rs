//! How an agent is doing, in a file that `greenroom agent status` reads: there is no socket to ask.

use std::fs;
use std::io;
use std::path::Path;

use greenroom_reports::fleet::Skipped;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::desk::{Desk, Standing};
use crate::net::clock::Clock;

/// How an agent is doing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Status {
    /// The process.
    pub pid: u32,
    /// Its start, as reports name it.
    pub boot: Uuid,
    /// When it began.
    pub began: Option<Timestamp>,
    /// `active`, `pending`, `revoked`; or `unknown` before the server was reached.
    pub standing: String,
    /// The version of its configuration, and the schedules in it.
    pub config: i64,
    /// Names of its schedules.
    pub schedules: Vec<String>,
    /// Runs made since it began.
    pub runs: u64,
    /// Runs not made since it began.
    pub skipped: Skipped,
    /// When the last run began.
    pub last_run: Option<Timestamp>,
    /// When a report was last acknowledged.
    pub last_sent: Option<Timestamp>,
    /// Reports that wait.
    pub waiting: u64,
    /// What they take on the disk.
    pub spool_bytes: u64,
    /// Reports that were lost: too old, too many, or damaged on the disk.
    pub lost: u64,
    /// How far the computer's clock is behind the server's.
    pub clock_behind_ms: Option<i64>,
    /// Why nothing could be sent the last time.
    pub last_error: Option<String>,
    /// What keeps it from running.
    pub trouble: Option<String>,
}

impl Status {
    /// The same of another moment.
    pub(super) fn of(&self, desk: &Desk, clock: &Clock) -> Self {
        let standing = match desk.standing {
            Standing::Unknown => "unknown",
            Standing::Active => "active",
            Standing::Pending => "pending",
            Standing::Revoked => "revoked",
        };
        Self {
            pid: self.pid,
            boot: self.boot,
            began: Some(clock.started()),
            standing: standing.to_owned(),
            config: desk.config.version,
            schedules: desk.config.schedules.iter().map(|schedule| schedule.id.clone()).collect(),
            runs: desk.seq,
            skipped: desk.all_skipped,
            last_run: desk.last_run,
            last_sent: desk.last_sent,
            waiting: (desk.spool.len() + desk.held.len()) as u64,
            spool_bytes: desk.spool.bytes(),
            lost: desk.spool.lost(),
            // To the second: it is never twice the same to the millisecond, and each change is written.
            clock_behind_ms: desk.behind_ms.map(|ms| ms / 1_000 * 1_000),
            last_error: desk.last_error.clone(),
            trouble: desk.trouble.clone(),
        }
    }

    /// Puts it in the file's place, whole or not at all.
    pub(super) fn keep(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension("new");
        fs::write(&beside, serde_json::to_vec_pretty(self).unwrap_or_default())?;
        fs::rename(&beside, path)
    }

    /// Reads it. `None`: no agent ran here yet.
    ///
    /// # Errors
    /// When the file cannot be read or is no status.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
