//! What the agent's two halves, the one that runs and the one that sends, have in common.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use greenroom_reports::fleet::{AgentConfig, RunNow, Skipped, Told};
use jiff::Timestamp;
use tokio::sync::Notify;
use uuid::Uuid;

use super::spool::{Folder, Key, Spool};
use crate::system;

/// Reports that are held in memory while the disk does not take them.
pub(super) const MOST_HELD: usize = 8;

/// A report that the disk did not take.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) id: Uuid,
    pub(super) made: Timestamp,
    pub(super) packed: Vec<u8>,
}

/// Whether this agent may report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Standing {
    /// Nobody said yet.
    #[default]
    Unknown,
    Active,
    Pending,
    Revoked,
}

/// All that both halves look at.
pub(super) struct Desk {
    pub(super) spool: Spool<Folder>,
    /// What the disk did not take.
    pub(super) held: VecDeque<Held>,
    /// The report of the run that just ended, until it was sent or sending it failed.
    pub(super) fresh: Option<Key>,
    /// What the server refused: it stays until it is too old, and is not sent again before the next start.
    pub(super) refused: HashSet<Key>,
    pub(super) config: AgentConfig,
    pub(super) wanted: Option<RunNow>,
    /// The last run that was asked for and made.
    pub(super) ran: Option<Uuid>,
    pub(super) skipped: Skipped,
    /// What keeps it from running.
    pub(super) trouble: Option<String>,
    pub(super) standing: Standing,
    /// How far this computer's clock is behind the server's.
    pub(super) behind_ms: Option<i64>,
    pub(super) seq: u64,
    pub(super) last_run: Option<Timestamp>,
    pub(super) last_sent: Option<Timestamp>,
    pub(super) last_error: Option<String>,
    /// Runs that were made, and what was skipped, since the start.
    pub(super) all_skipped: Skipped,
}

/// The desk, and who is woken when something lies on it.
pub(super) struct Office {
    desk: Mutex<Desk>,
    pub(super) to_send: Notify,
    pub(super) to_run: Notify,
    /// Whether a run measures at this moment.
    measures: AtomicBool,
}

impl Office {
    pub(super) fn new(spool: Spool<Folder>, config: AgentConfig) -> Self {
        let desk = Desk {
            spool,
            held: VecDeque::new(),
            fresh: None,
            refused: HashSet::new(),
            config,
            wanted: None,
            ran: None,
            skipped: Skipped::default(),
            trouble: None,
            standing: Standing::default(),
            behind_ms: None,
            seq: 0,
            last_run: None,
            last_sent: None,
            last_error: None,
            all_skipped: Skipped::default(),
        };
        Self {
            desk: Mutex::new(desk),
            to_send: Notify::new(),
            to_run: Notify::new(),
            measures: AtomicBool::new(false),
        }
    }

    /// Says whether a run measures from now on.
    pub(super) fn set_measures(&self, measures: bool) {
        self.measures.store(measures, Ordering::Relaxed);
    }

    /// Gives back the memory that the program's own code takes: nobody should have to make room for what only sleeps. Not while a run
    /// measures, whose packets would leave late.
    pub(super) fn rest(&self) {
        if !self.measures.load(Ordering::Relaxed) {
            system::release_code();
        }
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// Takes what the server said; the configuration, if it is a new one to be kept.
    pub(super) fn hear(&mut self, told: Told) -> Option<AgentConfig> {
        self.standing = Standing::Active;
        // The same run is told until the server knows that it was made.
        self.wanted = told.run_now.filter(|run| self.ran != Some(run.id));
        let config = told.config?;
        if let Some(fault) = config.faults().first() {
            self.trouble = Some(format!("the server's configuration is not obeyed: {fault}"));
            // Known, so that it is not told again with every answer.
            self.config = AgentConfig {
                version: config.version,
                check_in_s: self.config.check_in_s.max(60),
                ..AgentConfig::default()
            };
            return None;
        }
        self.trouble = None;
        self.config = config.clone();
        Some(config)
    }

    /// Writes a finished report down; where the disk does not take it, it is held in memory and tried again.
    pub(super) fn keep(&mut self, report: Held) {
        match self.spool.append(report.id, report.made, &report.packed) {
            Ok(key) => {
                self.fresh = Some(key);
                if self.held.is_empty() && self.trouble.as_deref() == Some(NO_ROOM) {
                    self.trouble = None;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a report cannot be written down; it is held in memory");
                self.trouble = Some(NO_ROOM.to_owned());
                self.held.push_back(report);
            }
        }
    }

    /// Gives what is held to the disk again.
    pub(super) fn keep_held(&mut self) {
        while let Some(report) = self.held.pop_front() {
            let before = self.held.len();
            self.keep(report);
            if self.held.len() > before {
                // Put back at the end: to where it was.
                self.held.rotate_right(1);
                return;
            }
        }
    }

    /// The oldest report that is to be sent, or the newest.
    pub(super) fn next(&self, newest: bool) -> Option<(Key, Uuid)> {
        let mut waiting =
            self.spool.waiting().filter(|(key, _)| !self.refused.contains(key)).map(|(key, it)| (key, it.id));
        if newest { waiting.next_back() } else { waiting.next() }
    }
}

/// What is told while the disk takes nothing.
pub(super) const NO_ROOM: &str = "there is no room on the disk for reports, or it fails";
