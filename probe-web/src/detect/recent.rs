//! The last scores of a series, in few bytes: of 100,000 agents there are half a million of these.

use super::Unusual;
use super::watched::IN_A_ROW;

/// Scores kept of each series: as far back as an incident may have begun when it is noticed.
const KEPT: usize = 16;

/// Steps of a score, in standard deviations: far finer than what one is worth, up to 32.
const STEP: f32 = 1.0 / 1_024.0;

/// Steps of how far out a value lies, which may be farther.
const OUT_STEP: f32 = 1.0 / 64.0;

/// What came of an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct One {
    pub(super) interval: u64,
    pub(super) score: f32,
}

/// The same as it is kept.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    /// Intervals since the one before: 227 days at most, which is as good as never.
    gap: u16,
    score: i16,
}

/// The last scores.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    kept: [Kept; KEPT],
    /// The interval of the newest.
    last: u32,
    /// How far out the newest lie, the newest first: no more are compared with each other.
    outs: [i16; IN_A_ROW],
    count: u8,
    next: u8,
}

impl Recent {
    /// Takes one in; the oldest goes.
    pub(super) fn add(&mut self, interval: u64, found: Unusual) {
        let interval = u32::try_from(interval).unwrap_or(u32::MAX);
        let gap = u16::try_from(interval.saturating_sub(self.last)).unwrap_or(u16::MAX);
        if let Some(place) = self.kept.get_mut(usize::from(self.next)) {
            *place = Kept { gap, score: steps(found.score, STEP) };
        }
        self.last = interval;
        self.outs.rotate_right(1);
        self.outs[0] = steps(found.out, OUT_STEP);
        self.next = if usize::from(self.next) + 1 == KEPT { 0 } else { self.next + 1 };
        if usize::from(self.count) < KEPT {
            self.count += 1;
        }
    }

    /// All of them.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = One> {
        let (newer, older) = self.kept.split_at(usize::from(self.next));
        let kept = newer.iter().rev().chain(older.iter().rev()).take(usize::from(self.count));
        kept.scan(self.last, |interval, one| {
            let at = *interval;
            *interval = at.saturating_sub(one.gap.into());
            Some(One { interval: at.into(), score: f32::from(one.score) * STEP })
        })
    }

    /// How far out the last [`IN_A_ROW`] lie, in standard deviations of the middle, the newest first.
    pub(super) fn outs(&self) -> impl Iterator<Item = f32> {
        self.outs.iter().take(usize::from(self.count)).map(|out| f32::from(*out) * OUT_STEP)
    }
}

fn steps(value: f64, step: f32) -> i16 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast from a float saturates, and so far out all is the same"
    )]
    let steps = (value / f64::from(step)).round() as i16;
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_kept_newest_first() {
        let mut recent = Recent::default();
        assert_eq!(recent.newest_first().count(), 0);
        let mut at = 100;
        let mut expected: Vec<One> = Vec::new();
        for n in 1..=40_u16 {
            at += u64::from(n % 5) * u64::from(n);
            recent.add(at, Unusual { score: f64::from(n) / 16.0, out: -f64::from(n) });
            expected.insert(0, One { interval: at, score: f32::from(n) / 16.0 });
            expected.truncate(KEPT);
            assert_eq!(recent.newest_first().collect::<Vec<_>>(), expected);
            let outs: Vec<f32> = (1..=n).rev().take(IN_A_ROW).map(|n| -f32::from(n)).collect();
            assert_eq!(recent.outs().collect::<Vec<_>>(), outs);
        }
        recent.add(at + 1, Unusual { score: 1e9, out: f64::NAN });
        assert!(recent.newest_first().next().is_some_and(|one| one.score > 31.0));
        assert_eq!(recent.outs().next(), Some(0.0));
        assert!(size_of::<Recent>() <= 76);
    }
}
