//! What the endpoint counts about itself, in Prometheus' text format.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::proto::control::RefuseCode;

/// Counters since the endpoint started. Shared by all its parts; relaxed, since each stands for itself.
#[derive(Debug, Default)]
pub struct Stats {
    /// Sessions admitted.
    pub sessions_admitted: Counter,
    /// Sessions refused: wrong or missing token.
    pub refused_token: Counter,
    /// Sessions refused: too many sessions, bits or packets at once.
    pub refused_busy: Counter,
    /// Sessions refused: this network's share is used up.
    pub refused_quota: Counter,
    /// Sessions refused: the peer speaks another version.
    pub refused_version: Counter,
    /// Sessions refused: the endpoint is shutting down.
    pub refused_draining: Counter,
    /// Sessions refused for another reason.
    pub refused_other: Counter,
    /// Sessions open now.
    pub sessions_open: Gauge,
    /// Replies sent from the STAMP port.
    pub replies: Gauge,
    /// Packets that belonged to no session, failed authentication or were replayed.
    pub rejected: Gauge,
    /// Packets not answered because their session or the endpoint was at its limit.
    pub throttled: Gauge,
    /// Datagrams that the STAMP port's receive queue dropped: this computer, not the network.
    pub queue_drops: Gauge,
    /// Bytes moved by bulk transfers.
    pub bulk_bytes: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that can shrink.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Stats {
    /// Counts a session that was refused.
    pub fn count_refusal(&self, code: RefuseCode) {
        match code {
            RefuseCode::TokenRequired | RefuseCode::WrongToken => self.refused_token.increment(),
            RefuseCode::Busy | RefuseCode::Rate => self.refused_busy.increment(),
            RefuseCode::Quota => self.refused_quota.increment(),
            RefuseCode::Version => self.refused_version.increment(),
            RefuseCode::Draining => self.refused_draining.increment(),
            RefuseCode::Expired | RefuseCode::BadRequest | RefuseCode::Other => {
                self.refused_other.increment();
            }
        }
    }

    /// Writes all counters in Prometheus' text format 0.0.4.
    pub fn to_prometheus(&self) -> String {
        let mut text = String::with_capacity(2_048);
        let mut family = |name: &str, kind: &str, help: &str, rows: &[(&str, u64)]| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP greenroom_{name} {help}\n# TYPE greenroom_{name} {kind}");
            for (labels, value) in rows {
                let _ = writeln!(text, "greenroom_{name}{labels} {value}");
            }
        };
        family(
            "sessions_admitted_total",
            "counter",
            "Sessions admitted.",
            &[("", self.sessions_admitted.get())],
        );
        family(
            "sessions_refused_total",
            "counter",
            "Sessions refused, by reason.",
            &[
                ("{reason=\"token\"}", self.refused_token.get()),
                ("{reason=\"busy\"}", self.refused_busy.get()),
                ("{reason=\"quota\"}", self.refused_quota.get()),
                ("{reason=\"version\"}", self.refused_version.get()),
                ("{reason=\"draining\"}", self.refused_draining.get()),
                ("{reason=\"other\"}", self.refused_other.get()),
            ],
        );
        family("sessions_open", "gauge", "Sessions open now.", &[("", self.sessions_open.get())]);
        family(
            "packets_total",
            "counter",
            "Packets on the STAMP port, by what became of them.",
            &[
                ("{outcome=\"answered\"}", self.replies.get()),
                ("{outcome=\"rejected\"}", self.rejected.get()),
                ("{outcome=\"throttled\"}", self.throttled.get()),
            ],
        );
        family(
            "queue_drops",
            "gauge",
            "Datagrams dropped by the STAMP port's own receive queue.",
            &[("", self.queue_drops.get())],
        );
        family(
            "bulk_bytes_total",
            "counter",
            "Bytes moved by bulk transfers.",
            &[("", self.bulk_bytes.get())],
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_written_once_with_help_and_type() {
        let stats = Stats::default();
        stats.refused_busy.add(3);
        stats.sessions_open.set(2);
        let text = stats.to_prometheus();
        assert!(text.contains("greenroom_sessions_refused_total{reason=\"busy\"} 3\n"));
        assert!(text.contains("greenroom_sessions_open 2\n"));
        assert_eq!(text.matches("# HELP").count(), text.matches("# TYPE").count());
        assert_eq!(text.matches("# HELP").count(), 6);
    }
}
