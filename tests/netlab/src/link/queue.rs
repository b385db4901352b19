//! The bottleneck: a first-in-first-out queue with tail drop, at a rate that may change while packets wait.

use std::time::Duration;

use greenroom_reports::units::Bitrate;

use super::conditions::{Bottleneck, CrossTraffic, Schedule};

/// Cross traffic is a fluid; it is poured in steps of this length.
const STEP: Duration = Duration::from_millis(1);
/// Segment size of the cross traffic that probes for capacity.
const SEGMENT_BYTES: f64 = 1_460.0;

/// The bottleneck's queue.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    /// Bytes that wait, the packet being sent included.
    backlog: f64,
    /// Up to when `backlog` is worked out.
    at: Duration,
    aimd: Aimd,
}

/// Window of the cross traffic that probes for capacity.
#[derive(Debug, Clone, Default)]
struct Aimd {
    window: f64,
    /// Whether the queue has been full: before, the window doubles per round trip (slow start).
    settled: bool,
    /// No second halving before this: one loss event per round trip.
    calm_until: Duration,
}

impl Queue {
    /// Queues a packet and says when its last bit is through; `None` when there is no room for it.
    pub(super) fn pass(&mut self, schedule: &Schedule, now: Duration, bytes: u32) -> Option<Duration> {
        self.advance(schedule, now);
        let Some(bottleneck) = schedule.at(now).bottleneck else { return Some(now) };
        let filled = self.backlog + f64::from(bytes);
        // A thousandth of a byte absorbs the rounding of the fluid.
        if self.backlog > 0.001 && filled > limit(&bottleneck) + 0.001 {
            return None;
        }
        self.backlog = filled;
        Some(drained_at(schedule, now, filled))
    }

    /// Works out the backlog at `now`.
    fn advance(&mut self, schedule: &Schedule, now: Duration) {
        while self.at < now {
            let (conditions, until) = schedule.segment(self.at);
            let segment_end = until.map_or(now, |until| until.min(now));
            let Some(bottleneck) = conditions.bottleneck else {
                self.backlog = 0.0;
                self.at = segment_end;
                continue;
            };
            let cross = conditions.cross;
            let to = if cross == CrossTraffic::None { segment_end } else { segment_end.min(self.at + STEP) };
            let poured = self.cross_bytes(&cross, &bottleneck, to);
            let served = bytes_per_second(bottleneck.rate) * (to - self.at).as_secs_f64();
            let wanted = (self.backlog + poured - served).max(0.0);
            // Cross traffic fills the queue at most; what already waits when a slower rate shrinks the limit stays.
            self.backlog = wanted.min(limit(&bottleneck).max((self.backlog - served).max(0.0)));
            if wanted > self.backlog {
                self.halve(&cross, to);
            }
            self.at = to;
        }
    }

    /// Bytes that cross traffic brings between `self.at` and `to`.
    fn cross_bytes(&mut self, cross: &CrossTraffic, bottleneck: &Bottleneck, to: Duration) -> f64 {
        let seconds = (to - self.at).as_secs_f64();
        match *cross {
            CrossTraffic::None => 0.0,
            CrossTraffic::Constant { rate } => bytes_per_second(rate) * seconds,
            CrossTraffic::OnOff { rate, on, off } => {
                let phase = self.at.as_secs_f64() % (on + off).as_secs_f64();
                if phase < on.as_secs_f64() { bytes_per_second(rate) * seconds } else { 0.0 }
            }
            CrossTraffic::Aimd { flows, rtt } => {
                let rtt = rtt.as_secs_f64() + self.backlog / bytes_per_second(bottleneck.rate);
                let flows = f64::from(flows);
                self.aimd.window = self.aimd.window.max(SEGMENT_BYTES * flows);
                let poured = self.aimd.window * seconds / rtt;
                self.aimd.window +=
                    if self.aimd.settled { SEGMENT_BYTES * flows * seconds / rtt } else { poured };
                poured
            }
        }
    }

    fn halve(&mut self, cross: &CrossTraffic, now: Duration) {
        if let CrossTraffic::Aimd { rtt, .. } = *cross
            && now >= self.aimd.calm_until
        {
            self.aimd.window /= 2.0;
            self.aimd.settled = true;
            self.aimd.calm_until = now + rtt;
        }
    }
}

/// When `bytes` that wait at `now` are through, at the rates that the schedule has in store.
fn drained_at(schedule: &Schedule, now: Duration, bytes: f64) -> Duration {
    let (mut at, mut left) = (now, bytes);
    loop {
        let (conditions, until) = schedule.segment(at);
        let Some(bottleneck) = conditions.bottleneck else { return at };
        let rate = bytes_per_second(bottleneck.rate);
        let through = at + Duration::from_secs_f64(left / rate);
        match until {
            Some(until) if through > until => {
                left -= rate * (until - at).as_secs_f64();
                at = until;
            }
            _ => return through,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates stay far below 2^53 bits per second")]
fn bytes_per_second(rate: Bitrate) -> f64 {
    rate.bps() as f64 / 8.0
}

#[expect(clippy::cast_precision_loss, reason = "queues stay far below 2^53 bytes")]
fn limit(bottleneck: &Bottleneck) -> f64 {
    bottleneck.limit().bytes() as f64
}
