//! Searches the rate that a direction carries, in under three seconds and without flooding it for longer than it must.
//!
//! RFC 9097's type B climbs by fixed steps: it needs seconds to reach a fast link and overruns a slow one by a multiple.
//! This search uses what a bottleneck tells by itself: while its queue is not empty it lets through exactly its own rate.
//!
//! 1. **Ramp**: the offered rate grows by three quarters with every report until the receiver sees much less than was offered
//!    together with delay or loss, or delay above the upper threshold.
//! 2. **Drain**: the rate falls to a fraction of what was received, until the queue is empty again.
//! 3. **Hold**: a second just above the estimate. The queue builds up slowly enough to stay below the upper threshold, and the
//!    rate received is the capacity. It moves by small steps when the estimate was off. A ceiling that is reached is held as well.
//!
//! | part | what it is |
//! |---|---|
//! | [`Search`] | decides the rate, by the receiver's reports |
//! | `Load` | the sender's side of a stage: paces packets at that rate |
//! | `Meter` | the receiver's side: counts what arrives in intervals of 50 ms and reports them |
//!
//! Everything else that the session sends the same way (audio) counts as part of the offered and of the received rate, as it
//! takes its share of the link.
//!
//! The result is RFC 9097's maximum IP-layer capacity: the greatest rate received over a window that meets the bounds on
//! loss and delay, of which the hold is the one that matters. Reordering and duplication are not counted as congestion (RFC
//! 9097's `seqErr` lumps them with loss; networks that reorder are not slower for it).

mod load;
mod meter;
#[cfg(test)]
mod stage_tests;
#[cfg(test)]
mod tests;
mod wire;

use greenroom_reports::trace::CapacityInterval;
pub use greenroom_reports::trace::SearchEnd as End;
use greenroom_reports::units::{Bitrate, DataSize, Micros};

use super::media::{MAX_PACKET, MIN_PACKET};

pub(crate) use load::Load;
pub(crate) use meter::{Counted, Meter};
pub(crate) use wire::{write_load, write_report};

/// Length of the receiver's intervals.
pub const INTERVAL: Micros = Micros::from_millis(50);
/// The longest search that an endpoint runs, whatever was asked for.
pub const LONGEST: Micros = Micros::from_secs(10);

/// Packets per second that a search up to `rate` may need: full ones, a tenth more for what is sent beside, and the small
/// ones of slow links.
pub fn packets_for(rate: Bitrate) -> u32 {
    let full = rate.bps() / (8 * u64::from(MAX_PACKET));
    u32::try_from(full + full / 10 + 1_000).unwrap_or(u32::MAX)
}

/// Bounds and pace of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchConfig {
    /// Where the ramp begins.
    pub initial: Bitrate,
    /// The highest rate offered. Reaching it ends the ramp: the link then carries *at least* that.
    pub ceiling: Bitrate,
    /// Packets per second at most: packets grow, and the ceiling falls, so that it holds.
    pub max_pps: u32,
    /// Bytes that may be spent in all, IP headers included.
    pub budget: DataSize,
    /// Delay variation below which a queue counts as empty (RFC 9097's lower threshold).
    pub delay_low: Micros,
    /// Delay variation above which a queue counts as full enough (RFC 9097's upper threshold).
    pub delay_high: Micros,
    /// Loss beyond which a report counts as congested, in packets per thousand.
    pub loss_permille: u32,
    /// How long the window of the hold lasts: RFC 9097's dt, over which the report's figure is taken as well.
    pub hold: Micros,
    /// The search ends so long after its start whatever it has.
    pub deadline: Micros,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            initial: Bitrate::from_kbps(250),
            ceiling: Bitrate::from_kbps(1_000_000),
            max_pps: 200_000,
            budget: DataSize::from_bytes(40_000_000),
            delay_low: Micros::from_millis(30),
            delay_high: Micros::from_millis(90),
            loss_permille: 20,
            hold: Micros::from_secs(1),
            deadline: Micros::from_secs(5),
        }
    }
}

/// What the receiver counted in one interval of about 50 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feedback {
    /// When the interval ended, on the receiver's clock.
    pub at: Micros,
    /// How long it was.
    pub lasted: Micros,
    /// The offered rate that the packets received carried with them; the last one's if there were several.
    pub offered: Bitrate,
    /// Bytes received at the IP layer.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u32,
    /// Packets found missing by sequence.
    pub lost_packets: u32,
    /// Greatest one-way delay over the least of the search so far. `None` when nothing was received.
    pub delay_over_least: Option<Micros>,
}

impl From<&CapacityInterval> for Feedback {
    fn from(interval: &CapacityInterval) -> Self {
        Self {
            at: interval.at + interval.lasted,
            lasted: interval.lasted,
            offered: interval.offered,
            received_bytes: interval.received_bytes,
            received_packets: interval.received_packets,
            lost_packets: interval.lost_packets,
            delay_over_least: interval.delay_range.map(|(_, most)| most),
        }
    }
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The greatest rate received over a window that met the bounds.
    pub capacity: Bitrate,
    /// Whether the link may carry more: the ceiling, the budget or the deadline ended the search, not the link.
    pub at_least: bool,
    /// When the search was done.
    pub finished: Micros,
    /// What ended it.
    pub end: End,
}

/// Silence of the receiver that ends a search (RFC 9097 §8.1: one second).
const FEEDBACK_TIMEOUT: Micros = Micros::from_secs(1);
/// How far the hold goes above the estimate: 5 % fill 50 ms of queue in a second, and 10 ms of it by the first look, which is more than a
/// queue that counts as none.
const HOLD_ABOVE_PERCENT: u64 = 105;
/// Where the hold goes on, of what it has received, when it turns out to have been too low, and too high.
const RAISE_PERCENT: u64 = 106;
const LOWER_PERCENT: u64 = 97;
/// The same where the link loses packets anyhow, which may have looked like congestion of the ramp, far below its rate.
const RAISE_LOSSY_PERCENT: u64 = 110;
/// So many times the loss that counts in the hold shows in a report of the ramp that a link has no room: reports there have few packets,
/// and what has no room next to a rate that grows so fast is much.
const RAMP_LOSS: u64 = 10;
/// Received below this share of what was offered counts as congestion. A report of the ramp mixes a rate with the one
/// before it, four sevenths of it.
const CARRIED_PERCENT: u64 = 55;
/// What the rate grows to with every report of the ramp.
const RAMP_PERCENT: u64 = 175;
/// What the rate falls to, of the estimate, while the queue drains.
const DRAIN_PERCENT: u64 = 10;
/// Reports under congestion that make the estimate.
const CONGESTED_REPORTS: u32 = 2;

/// A search by the sender of the load. Drive it with the receiver's reports; ask it for the rate.
#[derive(Debug)]
pub struct Search {
    config: SearchConfig,
    stage: Stage,
    rate: Bitrate,
    started: Micros,
    last_feedback: Micros,
    spent: DataSize,
    estimate: Option<Bitrate>,
    best: Option<Bitrate>,
    window: Window,
    /// The rate of the hold at which loss was seen first.
    lossy_at: Option<Bitrate>,
    /// What was lost as well at a lower rate, in packets per thousand: it is not this load by which it is lost.
    lost_anyhow: Option<u64>,
    outcome: Option<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ramp,
    Congested {
        reports: u32,
        bytes: u64,
        time: Micros,
    },
    Drain {
        since: Micros,
    },
    /// The first report at a rate has packets of the one before, too.
    Hold {
        is_mixed: bool,
    },
}

/// Bytes received over the hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Window {
    bytes: u64,
    packets: u64,
    lost: u64,
    time: Micros,
}

impl Window {
    /// Packets lost, per thousand. 0 where there was none.
    fn lost_permille(&self) -> u64 {
        (self.lost * 1_000).checked_div(self.packets + self.lost).unwrap_or(0)
    }
}

impl Search {
    /// Begins a search.
    pub fn new(config: SearchConfig, now: Micros) -> Self {
        let most = u64::from(config.max_pps) * u64::from(MAX_PACKET) * 8;
        let config = SearchConfig { ceiling: whole(config.ceiling.min(Bitrate::from_bps(most))), ..config };
        Self {
            config,
            stage: Stage::Ramp,
            rate: whole(config.initial).min(config.ceiling),
            started: now,
            last_feedback: now,
            spent: DataSize::default(),
            estimate: None,
            best: None,
            window: Window::default(),
            lossy_at: None,
            lost_anyhow: None,
            outcome: None,
        }
    }

    /// The rate to send at now, at the IP layer.
    pub fn rate(&self) -> Bitrate {
        if self.outcome.is_some() { Bitrate::default() } else { self.rate }
    }

    /// Size of packets at this rate, at the IP layer: small enough at low rates that 50 ms hold several.
    pub fn packet_bytes(&self) -> u16 {
        let fine = match self.rate.bps() {
            0..700_000 => MIN_PACKET,
            700_000..2_000_000 => 300,
            2_000_000..8_000_000 => 600,
            _ => MAX_PACKET,
        };
        let per_packet = self.rate.bps().div_ceil(8 * u64::from(self.config.max_pps.max(1)));
        fine.max(u16::try_from(per_packet).unwrap_or(MAX_PACKET)).min(MAX_PACKET)
    }

    /// Takes `bytes` at the IP layer from the budget for a packet that is about to be sent. `false`: the search is over.
    pub fn spend(&mut self, now: Micros, bytes: u16) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        let spent = self.spent + DataSize::from_bytes(u64::from(bytes));
        if spent > self.config.budget {
            self.finish(now, End::Budget);
            return false;
        }
        self.spent = spent;
        true
    }

    /// Ends the search from outside; one that has ended stays as it is.
    pub fn stop(&mut self, now: Micros, end: End) {
        if self.outcome.is_none() {
            self.finish(now, end);
        }
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Takes note of the time: silence and the deadline end a search.
    pub fn handle_timeout(&mut self, now: Micros) {
        if self.outcome.is_some() {
            return;
        }
        if now - self.last_feedback >= FEEDBACK_TIMEOUT {
            self.finish(now, End::Silent);
        } else if now - self.started >= self.config.deadline {
            self.finish(now, End::Deadline);
        }
    }

    /// Takes a report of the receiver.
    pub fn handle_feedback(&mut self, now: Micros, feedback: &Feedback) {
        self.handle_timeout(now);
        if self.outcome.is_some() {
            return;
        }
        self.last_feedback = now;
        match self.stage {
            Stage::Ramp => self.ramp(feedback),
            Stage::Congested { reports, bytes, time } => self.congested(now, reports, bytes, time, feedback),
            Stage::Drain { since } => self.drain(now, since, feedback),
            Stage::Hold { is_mixed } => self.hold(now, is_mixed, feedback),
        }
    }

    fn ramp(&mut self, feedback: &Feedback) {
        if self.is_congested(feedback) {
            self.stage = Stage::Congested { reports: 0, bytes: 0, time: Micros::ZERO };
            return;
        }
        self.raise_best(Bitrate::of(DataSize::from_bytes(feedback.received_bytes), feedback.lasted));
        if self.rate < self.config.ceiling {
            self.set_rate(percent(self.rate, RAMP_PERCENT));
            return;
        }
        let carried = Bitrate::of(DataSize::from_bytes(feedback.received_bytes), feedback.lasted);
        if feedback.offered == self.rate && carried >= Some(percent(self.rate, 95)) {
            self.begin_hold(false);
        }
    }

    /// While the queue is not empty, what arrives is what the link carries: two reports of it make the estimate.
    fn congested(&mut self, now: Micros, reports: u32, bytes: u64, time: Micros, feedback: &Feedback) {
        let reports = reports + 1;
        let bytes = bytes + feedback.received_bytes;
        let time = time + feedback.lasted;
        self.stage = Stage::Congested { reports, bytes, time };
        if reports < CONGESTED_REPORTS {
            return;
        }
        let received = Bitrate::of(DataSize::from_bytes(bytes), time).unwrap_or(self.config.initial);
        let estimate = received.max(Bitrate::from_bps(self.config.initial.bps() / 4));
        self.estimate = Some(estimate);
        self.set_rate(percent(estimate, DRAIN_PERCENT));
        self.stage = Stage::Drain { since: now };
    }

    fn drain(&mut self, now: Micros, since: Micros, feedback: &Feedback) {
        let empty = feedback.delay_over_least.is_some_and(|delay| delay < self.config.delay_low / 2);
        let patience = self.config.hold;
        if !empty && now - since < patience {
            return;
        }
        let Some(estimate) = self.estimate else { return };
        self.set_rate(percent(estimate, HOLD_ABOVE_PERCENT));
        self.begin_hold(true);
    }

    fn begin_hold(&mut self, is_mixed: bool) {
        self.window = Window::default();
        self.stage = Stage::Hold { is_mixed };
    }

    fn hold(&mut self, now: Micros, is_mixed: bool, feedback: &Feedback) {
        if feedback.offered != self.rate {
            return;
        }
        if is_mixed {
            self.stage = Stage::Hold { is_mixed: false };
            return;
        }
        self.count(feedback);
        if self.window.time >= self.config.hold {
            let carried = Bitrate::of(DataSize::from_bytes(self.window.bytes), self.window.time);
            self.raise_best(carried);
            // Without a queue or loss it is not the link that holds back, even if a busy sender offered a little less.
            let queued = feedback.delay_over_least.is_none_or(|delay| delay >= self.config.delay_low);
            let lossy = self.window_is_lossy() && self.lost_anyhow.is_none();
            let free = self.rate == self.config.ceiling && !queued && !lossy;
            self.finish(now, if free { End::Ceiling } else { End::Converged });
            return;
        }
        if self.window.time < self.config.hold / 5 {
            return;
        }
        let delay = feedback.delay_over_least.unwrap_or(self.config.delay_high);
        let is_lossy = self.window_is_lossy() && self.lost_anyhow.is_none();
        let may_rise = delay < self.config.delay_low / 4 && self.rate < self.config.ceiling;
        if delay > self.config.delay_high {
            // Far above the link: what is received now is the better estimate.
            self.restart_hold(LOWER_PERCENT, feedback);
        } else if is_lossy {
            self.look_into_loss(feedback);
        } else if may_rise && self.lossy_at.is_none() {
            // No queue at all: the estimate was low.
            self.restart_hold(RAISE_PERCENT, feedback);
        } else if may_rise && self.loses_as_ever() {
            // Neither a queue nor more lost than at a lower rate: loss made the estimate low.
            self.restart_hold(RAISE_LOSSY_PERCENT, feedback);
        }
    }

    /// A link that has no room for all of it loses less at a lower rate; one that loses packets anyhow does not.
    fn look_into_loss(&mut self, feedback: &Feedback) {
        match self.lossy_at {
            None => {
                self.lossy_at = Some(self.rate);
                self.restart_hold(LOWER_PERCENT, feedback);
            }
            Some(rate) => {
                self.lost_anyhow = Some(self.window.lost_permille());
                self.set_rate(rate);
                self.begin_hold(true);
            }
        }
    }

    /// Whether no more is lost than anyhow, by three tenths and half a percent: few packets tell no better.
    fn loses_as_ever(&self) -> bool {
        self.lost_anyhow.is_some_and(|anyhow| self.window.lost_permille() <= anyhow + anyhow * 3 / 10 + 5)
    }

    /// Moves the rate to `share` percent of what is being received, and the window with it.
    fn restart_hold(&mut self, share: u64, feedback: &Feedback) {
        let received = Bitrate::of(DataSize::from_bytes(self.window.bytes), self.window.time)
            .or_else(|| Bitrate::of(DataSize::from_bytes(feedback.received_bytes), feedback.lasted));
        let Some(received) = received else { return };
        if share > 100 {
            self.raise_best(Some(received));
        }
        self.set_rate(percent(received, share));
        self.begin_hold(true);
    }

    fn count(&mut self, feedback: &Feedback) {
        self.window.bytes += feedback.received_bytes;
        self.window.packets += u64::from(feedback.received_packets);
        self.window.lost += u64::from(feedback.lost_packets);
        self.window.time += feedback.lasted;
    }

    fn window_is_lossy(&self) -> bool {
        self.window.lost > 2 && self.window.lost_permille() > u64::from(self.config.loss_permille)
    }

    fn is_congested(&self, feedback: &Feedback) -> bool {
        let carried = Bitrate::of(DataSize::from_bytes(feedback.received_bytes), feedback.lasted);
        let short = carried.is_none_or(|carried| carried < percent(feedback.offered, CARRIED_PERCENT));
        let late = feedback.delay_over_least.is_some_and(|delay| delay > self.config.delay_low);
        let seen = u64::from(feedback.received_packets) + u64::from(feedback.lost_packets);
        let lossy = u64::from(feedback.lost_packets) * 1_000
            > seen * RAMP_LOSS * u64::from(self.config.loss_permille)
            && feedback.lost_packets > 2;
        let full = feedback.delay_over_least.is_some_and(|delay| delay > self.config.delay_high);
        full || (short && (late || lossy))
    }

    fn raise_best(&mut self, received: Option<Bitrate>) {
        self.best = self.best.max(received);
    }

    fn set_rate(&mut self, rate: Bitrate) {
        self.rate = whole(rate).min(self.config.ceiling);
    }

    fn finish(&mut self, now: Micros, end: End) {
        if matches!(self.stage, Stage::Hold { .. }) && self.window.time >= self.config.hold / 4 {
            self.raise_best(Bitrate::of(DataSize::from_bytes(self.window.bytes), self.window.time));
        }
        let capacity = if matches!(end, End::Converged | End::Ceiling) {
            // The hold alone: a ramp report can exceed the link by what a queue let through in one go.
            Bitrate::of(DataSize::from_bytes(self.window.bytes), self.window.time)
        } else {
            self.best.or(self.estimate)
        };
        self.outcome = Some(Outcome {
            capacity: capacity.unwrap_or_default(),
            at_least: end != End::Converged,
            finished: now,
            end,
        });
    }
}

fn percent(rate: Bitrate, percent: u64) -> Bitrate {
    Bitrate::from_bps(rate.bps().saturating_mul(percent) / 100)
}

/// In whole kbit/s, as packets tell it, and never none at all.
fn whole(rate: Bitrate) -> Bitrate {
    Bitrate::from_kbps((rate.bps() / 1_000).max(1))
}
