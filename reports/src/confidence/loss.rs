//! How sure a loss ratio is, although losses come in bursts and the run is watched while it goes on.
//!
//! The channel is Gilbert's: two states, good and bad, a chance `p_gb` to fall from good to bad with each packet and `p_bg` to
//! mend; a packet sent in the bad state is lost. Independent loss is the special case `p_gb + p_bg = 1`.
//!
//! # Why the verdict interval is what it is
//!
//! A verdict stops the run as soon as its interval decides, so an interval for a fixed number of packets would be looked
//! at dozens of times and miss far more often than it says; and in bursts of five, a thousand packets tell as much as a
//! hundred independent ones. Both are solved by one construction, a confidence sequence from a mixture martingale
//! (Robbins 1970; Howard, Ramdas et al. 2021), with the Markov chain's own likelihood `L` in it. Let
//!
//! `M_n = ∫ L_n(p_gb, p_bg) dπ(p_gb) dπ'(p_bg)`, with Beta weights: a ratio of Beta functions of four counts.
//!
//! Under the true channel `M_n / L_n(true)` is a nonnegative martingale that starts at 1, so by Ville's inequality it ever reaches
//! `1/α` with a chance of at most `α`. All channels that keep it below `1/α` form a set that holds the true one **at every packet of
//! at least 95 % of runs**, whatever the rule that stops the run. The interval is the range of
//! loss ratios `p = p_gb / (p_gb + p_bg)` in that set. Nothing is estimated and plugged in, so few losses (where nobody knows how
//! bursty they are) give a wide interval and not a wrong one, and one single burst never proves a bad link.
//!
//! Alternatives that were weighed: an exact interval at each look with α spent over the looks costs 30 looks' worth of width
//! on a clean link (about 1,700 packets to show 2 % instead of about 860); counts divided by an estimated design effect
//! miss when a run has one burst or none; a bootstrap cannot resample what it has not seen.
//!
//! One assumption is needed, since no loss at all says nothing about how long bursts would be: the mean burst is at most
//! [`MEAN_BURST_ASSUMED`] packets, until a longer run of losses was seen, then up to twice that run.

use statrs::distribution::{DiscreteCDF, Hypergeometric};
use statrs::function::beta::ln_beta;

use super::proportion::{clopper_pearson_real, wilson, wilson_real};
use super::{Interval, real};

/// Mean burst, in packets, that a link is allowed before it has shown longer ones.
pub const MEAN_BURST_ASSUMED: f64 = 5.0;

/// Longer mean bursts are no longer taken for a burst but for the link's loss: an outage must be able to decide.
const MEAN_BURST_MOST: f64 = 10.0;

/// What a sequence of packets tells about the channel: counts that add up over sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LossRuns {
    n: u64,
    lost: u64,
    /// Packets with a successor, by whether they arrived, and what became of the successor.
    good_then_any: u64,
    good_then_lost: u64,
    lost_then_any: u64,
    lost_then_good: u64,
    /// Longest run of losses, and the one that the sequence ends in.
    longest: u64,
    open_run: u64,
    last_lost: Option<bool>,
}

impl LossRuns {
    /// Takes the next packet, in order of sending.
    pub fn push(&mut self, lost: bool) {
        match self.last_lost {
            Some(true) => {
                self.lost_then_any += 1;
                self.lost_then_good += u64::from(!lost);
            }
            Some(false) => {
                self.good_then_any += 1;
                self.good_then_lost += u64::from(lost);
            }
            None => {}
        }
        self.n += 1;
        self.lost += u64::from(lost);
        self.open_run = if lost { self.open_run + 1 } else { 0 };
        self.longest = self.longest.max(self.open_run);
        self.last_lost = Some(lost);
    }

    /// Ends a sequence: the next packet does not follow the last one (another stream, or a gap of unknown packets).
    pub fn cut(&mut self) {
        self.last_lost = None;
        self.open_run = 0;
    }

    /// Adds what other sequences told, as if behind a [`cut`](Self::cut).
    ///
    /// For sequences of different times or paths. Streams that shared a path at the same time shared its bursts too: push their packets
    /// interleaved, in order of departure, so that one burst is not counted once per stream.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.lost += other.lost;
        self.good_then_any += other.good_then_any;
        self.good_then_lost += other.good_then_lost;
        self.lost_then_any += other.lost_then_any;
        self.lost_then_good += other.lost_then_good;
        self.longest = self.longest.max(other.longest);
        self.open_run = other.open_run;
        self.last_lost = other.last_lost;
    }

    /// Packets.
    pub const fn n(&self) -> u64 {
        self.n
    }

    /// Packets lost.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Longest run of losses.
    pub const fn longest(&self) -> u64 {
        self.longest
    }

    /// The channel that explains the sequence best; `None` unless both a loss and an arrival were followed by a packet.
    pub fn channel(&self) -> Option<Channel> {
        let both = self.good_then_any > 0 && self.lost_then_any > 0;
        both.then(|| Channel {
            p_gb: real(self.good_then_lost) / real(self.good_then_any),
            p_bg: real(self.lost_then_good) / real(self.lost_then_any),
        })
    }
}

impl FromIterator<bool> for LossRuns {
    /// Counts a sequence, `true` for each lost packet, in order of sending.
    fn from_iter<I: IntoIterator<Item = bool>>(lost: I) -> Self {
        lost.into_iter().fold(Self::default(), |mut runs, lost| {
            runs.push(lost);
            runs
        })
    }
}

/// A two-state Markov (Gilbert) channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Channel {
    /// Chance, per packet, to fall from good to bad.
    pub p_gb: f64,
    /// Chance, per packet, to mend.
    pub p_bg: f64,
}

impl Channel {
    /// Correlation of neighbouring packets' fates: 0 for independent loss.
    pub fn rho(&self) -> f64 {
        1.0 - self.p_gb - self.p_bg
    }

    /// Share of packets lost in the long run; `None` for a channel that never changes state.
    pub fn loss(&self) -> Option<f64> {
        let changes = self.p_gb + self.p_bg;
        (changes > 0.0).then(|| self.p_gb / changes)
    }

    /// Mean run of losses in packets; `None` for a channel that never mends.
    pub fn mean_burst(&self) -> Option<f64> {
        (self.p_bg > 0.0).then(|| 1.0 / self.p_bg)
    }

    /// Packets that tell as much as one independent packet would: `(1 + rho) / (1 - rho)`; `None` for a channel that never
    /// changes state.
    pub fn design_effect(&self) -> Option<f64> {
        let changes = self.p_gb + self.p_bg;
        (changes > 0.0).then(|| (2.0 - changes) / changes)
    }

    /// Mean burst over the mean expected under random loss of the same ratio: the E-model's BurstR (G.107), `1 / (p_gb + p_bg)`.
    /// `None` for a channel that never changes state.
    pub fn burst_ratio(&self) -> Option<f64> {
        let changes = self.p_gb + self.p_bg;
        (changes > 0.0).then(|| 1.0 / changes)
    }
}

/// Where the loss ratio lies, for display, were the losses independent: Wilson's interval.
pub fn displayed(lost: u64, n: u64) -> Interval {
    wilson(lost, n, super::LEVEL)
}

/// Where the loss ratio lies, for display beside a figure whose losses came in bursts: Wilson's interval on counts divided
/// by the design effect of the channel seen, at the end of a run.
///
/// As good as [`displayed`] for independent losses, and holds the truth about as often in bursts once a run had ten or so of
/// them; with fewer the correlation is hardly known, and bursts are taken for longer than seen.
pub fn displayed_bursty(runs: &LossRuns, level: f64) -> Interval {
    if runs.n == 0 {
        return Interval::UNKNOWN;
    }
    let n = real(runs.n) / cautious_design_effect(runs);
    let (low, high) = wilson_real(real(runs.lost) / real(runs.n) * n, n, level);
    Interval { low, high, n: runs.n }
}

/// Where the loss ratio lies, for a verdict: holds at every look of at least `level` of runs, also in bursts (see the
/// module). Nothing known, 0..=1, without packets.
pub fn verdict_interval(runs: &LossRuns, level: f64) -> Interval {
    if runs.n < 2 {
        return Interval { n: runs.n, ..Interval::UNKNOWN };
    }
    let region = Region::new(runs, level);
    let Some(inside) = region.likeliest() else {
        // Bursts so long that no channel of the assumed kind explains them: what is left is to count them as few.
        let n = real(runs.n) / cautious_design_effect(runs);
        let (low, high) = clopper_pearson_real(real(runs.lost) / real(runs.n) * n, n, level);
        return Interval { low, high, n: runs.n };
    };
    let low = if region.holds(SMALLEST) { 0.0 } else { region.edge(SMALLEST, inside) };
    let high = if region.holds(1.0 - SMALLEST) { 1.0 } else { region.edge(1.0 - SMALLEST, inside) };
    Interval { low, high, n: runs.n }
}

/// Where a loss ratio lies, seen from a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The whole interval is above it.
    Beyond,
    /// The whole interval is at most as high.
    Within,
    /// The interval holds it.
    Open,
}

impl Side {
    fn of(interval: Interval, threshold: f64) -> Self {
        match interval {
            Interval { low, .. } if low > threshold => Self::Beyond,
            Interval { high, .. } if high <= threshold => Self::Within,
            _ => Self::Open,
        }
    }
}

/// On which side of a threshold the [`verdict_interval`] lies: the same answer, without looking for the interval's ends.
pub fn verdict_side(runs: &LossRuns, level: f64, threshold: f64) -> Side {
    if runs.n < 2 || !(SMALLEST..=1.0 - SMALLEST).contains(&threshold) {
        return Side::of(verdict_interval(runs, level), threshold);
    }
    let region = Region::new(runs, level);
    match region.peak() {
        // The profile falls on both sides of its peak.
        Some((loss, value)) if value > region.floor => match () {
            () if region.holds(threshold) => Side::Open,
            () if loss > threshold => Side::Beyond,
            () => Side::Within,
        },
        _ => Side::of(verdict_interval(runs, level), threshold),
    }
}

/// On which side of a threshold a loss ratio lies, looked at once, at the end of a run: by an interval like
/// [`displayed_bursty`], but exact at its lower end, where a handful of bursts must not prove a bad link.
pub fn final_side(runs: &LossRuns, level: f64, threshold: f64) -> Side {
    if runs.n == 0 {
        return Side::Open;
    }
    let n = real(runs.n) / cautious_design_effect(runs);
    let lost = real(runs.lost) / real(runs.n) * n;
    let (low, _) = clopper_pearson_real(lost, n, level);
    let (_, high) = wilson_real(lost, n, level);
    Side::of(Interval { low, high, n: runs.n }, threshold)
}

/// Whether some packets do no better than `all`, which are they and more: unless, of all that were lost, so few would fall on
/// them in less than one of twenty cases, were the losses spread at random (Fisher's exact test, one-sided, on counts divided by
/// the design effect).
pub fn no_better(some: &LossRuns, all: &LossRuns) -> bool {
    let effect = cautious_design_effect(all);
    let count = |packets: u64| as_count((real(packets) / effect).round());
    let by_chance = Hypergeometric::new(count(all.n), count(all.lost), count(some.n));
    by_chance.is_ok_and(|by_chance| by_chance.cdf(count(some.lost)) > 0.05)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no more than the count that it is a part of"
)]
fn as_count(whole: f64) -> u64 {
    whole as u64
}

/// Design effect from a sequence's counts, never below 1. Once two losses followed each other, bursts are taken for a little
/// longer than seen, as if two more of their mean length had not ended: with few of them the counts alone fall short more often than
/// they overshoot. Where no loss, or no arrival, was ever followed by another, nothing speaks for bursts.
fn cautious_design_effect(runs: &LossRuns) -> f64 {
    if runs.lost_then_any == runs.lost_then_good || runs.good_then_any == runs.good_then_lost {
        return 1.0;
    }
    let (mends, steps) = (real(runs.lost_then_good.max(1)), real(runs.lost_then_any));
    let p_bg = mends / (steps + UNENDED * steps / mends);
    let p_gb = real(runs.good_then_lost) / real(runs.good_then_any.max(1));
    Channel { p_gb, p_bg }.design_effect().unwrap_or(1.0).max(1.0)
}

/// See [`cautious_design_effect`]; the simulations in `coverage` chose it.
const UNENDED: f64 = 2.0;

/// Loss ratios nearer to 0 or 1 than this are not told apart from them.
const SMALLEST: f64 = 1e-6;

/// Weights of the mixture: Beta(a, b) for `p_gb`, most of it near zero, so that a clean link pays little for the
/// mixture; uniform for `p_bg`. They decide how narrow the interval is, never whether it holds.
const FALL: (f64, f64) = (0.1, 5.0);
const MEND: (f64, f64) = (1.0, 1.0);

/// The channels that a sequence does not rule out.
struct Region {
    good_stays: f64,
    falls: f64,
    bad_stays: f64,
    mends: f64,
    least_p_bg: f64,
    /// Log-likelihood above which a channel is inside.
    floor: f64,
}

impl Region {
    fn new(runs: &LossRuns, level: f64) -> Self {
        let falls = real(runs.good_then_lost);
        let mends = real(runs.lost_then_good);
        let good_stays = real(runs.good_then_any) - falls;
        let bad_stays = real(runs.lost_then_any) - mends;
        let mixed = ln_beta(FALL.0 + falls, FALL.1 + good_stays) - ln_beta(FALL.0, FALL.1)
            + ln_beta(MEND.0 + mends, MEND.1 + bad_stays)
            - ln_beta(MEND.0, MEND.1);
        let most = (2.0 * real(runs.longest)).clamp(MEAN_BURST_ASSUMED, MEAN_BURST_MOST);
        Self {
            good_stays,
            falls,
            bad_stays,
            mends,
            least_p_bg: 1.0 / most,
            floor: mixed + (1.0 - level).ln(),
        }
    }

    /// The loss ratio of the likeliest channel and its log-likelihood; `None` when the counts leave it open.
    fn peak(&self) -> Option<(f64, f64)> {
        let share = |of: f64, whole: f64| (whole > 0.0).then(|| of / whole);
        let p_gb = share(self.falls, self.falls + self.good_stays)?;
        // Without a loss any burst explains it; the longest allows the most loss, which is none all the same.
        let p_bg = share(self.mends, self.mends + self.bad_stays).unwrap_or(1.0).max(self.least_p_bg);
        Some((p_gb / (p_gb + p_bg), self.log_likelihood(p_gb, p_bg)))
    }

    /// Whether some channel with this loss ratio is inside.
    fn holds(&self, loss: f64) -> bool {
        self.profile(loss) > self.floor
    }

    /// The greatest log-likelihood of a channel with this loss ratio: concave in `p_bg`, so a ternary search finds it.
    fn profile(&self, loss: f64) -> f64 {
        let odds = loss / (1.0 - loss);
        let most = (1.0 / odds).min(1.0);
        let least = self.least_p_bg.min(most);
        greatest(least, most, |p_bg| self.log_likelihood((p_bg * odds).min(1.0), p_bg)).1
    }

    fn log_likelihood(&self, p_gb: f64, p_bg: f64) -> f64 {
        weighted_ln(self.falls, p_gb)
            + weighted_ln(self.good_stays, 1.0 - p_gb)
            + weighted_ln(self.mends, p_bg)
            + weighted_ln(self.bad_stays, 1.0 - p_bg)
    }

    /// The loss ratio of the likeliest channel, if it is inside. The set of channels with a likelihood above a bound is convex, and so
    /// is each side of a loss ratio: the profile rises to one peak and falls.
    fn likeliest(&self) -> Option<f64> {
        let logit = |x: f64| (x / (1.0 - x)).ln();
        let share = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (at, value) = greatest(logit(SMALLEST), logit(1.0 - SMALLEST), |x| self.profile(share(x)));
        (value > self.floor).then(|| share(at))
    }

    /// The region's edge between a loss ratio `outside` and one `inside`, on the safe side by less than a millionth.
    fn edge(&self, mut outside: f64, mut inside: f64) -> f64 {
        while (outside - inside).abs() > SMALLEST {
            let middle = f64::midpoint(outside, inside);
            if self.holds(middle) {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        outside
    }
}

/// `count × ln p`, where nothing counted weighs nothing.
fn weighted_ln(count: f64, p: f64) -> f64 {
    if count > 0.0 { count * p.ln() } else { 0.0 }
}

/// Where in `low..=high` a function with one peak is greatest, and how great (golden-section search).
fn greatest(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> (f64, f64) {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let ends = [(low, f(low)), (high, f(high))];
    let (mut left, mut right) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
    let (mut at_left, mut at_right) = (f(left), f(right));
    while high - low > 1e-5 {
        if at_left < at_right {
            (low, left, at_left) = (left, right, at_right);
            right = low + GOLDEN * (high - low);
            at_right = f(right);
        } else {
            (high, right, at_right) = (right, left, at_left);
            left = high - GOLDEN * (high - low);
            at_left = f(left);
        }
    }
    let inner = if at_left > at_right { (left, at_left) } else { (right, at_right) };
    ends.into_iter().fold(inner, |best, end| if end.1 > best.1 { end } else { best })
}

#[cfg(test)]
mod coverage_tests;
#[cfg(test)]
mod tests;
