//! What the endpoint counts about itself, in Prometheus' text format.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Sessions open now.
    pub sessions_open: Gauge,
    /// Probe packets received on the STAMP port.
    pub packets_received: Counter,
    /// Probe packets sent from the STAMP port.
    pub packets_sent: Counter,
    /// Packets that belonged to no session or failed authentication.
    pub packets_rejected: Counter,
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
        family("sessions_admitted_total", "counter", "Sessions admitted.", &[("", self.sessions_admitted.get())]);
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
            ],
        );
        family("sessions_open", "gauge", "Sessions open now.", &[("", self.sessions_open.get())]);
        family(
            "packets_total",
            "counter",
            "Probe packets on the STAMP port.",
            &[
                ("{way=\"received\"}", self.packets_received.get()),
                ("{way=\"sent\"}", self.packets_sent.get()),
                ("{way=\"rejected\"}", self.packets_rejected.get()),
            ],
        );
        family(
            "queue_drops",
            "gauge",
            "Datagrams dropped by the STAMP port's own receive queue.",
            &[("", self.queue_drops.get())],
        );
        family("bulk_bytes_total", "counter", "Bytes moved by bulk transfers.", &[("", self.bulk_bytes.get())]);
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
