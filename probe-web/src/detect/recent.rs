//! The last scores of a series, in few bytes: of 100,000 agents there are half a million of these.

use super::Unusual;

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
    pub(super) out: f32,
}

/// The same as it is kept.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    interval: u32,
    score: i16,
    out: i16,
}

/// The last scores.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    kept: [Kept; KEPT],
    count: u8,
    next: u8,
}

impl Recent {
    /// Takes one in; the oldest goes.
    pub(super) fn add(&mut self, interval: u64, found: Unusual) {
        let one = Kept {
            interval: u32::try_from(interval).unwrap_or(u32::MAX),
            score: steps(found.score, STEP),
            out: steps(found.out, OUT_STEP),
        };
        if let Some(place) = self.kept.get_mut(usize::from(self.next)) {
            *place = one;
        }
        self.next = if usize::from(self.next) + 1 == KEPT { 0 } else { self.next + 1 };
        if usize::from(self.count) < KEPT {
            self.count += 1;
        }
    }

    /// All of them.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = One> {
        let (newer, older) = self.kept.split_at(usize::from(self.next));
        let kept = newer.iter().rev().chain(older.iter().rev()).take(usize::from(self.count));
        kept.map(|one| One {
            interval: one.interval.into(),
            score: f32::from(one.score) * STEP,
            out: f32::from(one.out) * OUT_STEP,
        })
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
        for n in 1..=40_u32 {
            recent.add(u64::from(n), Unusual { score: f64::from(n) / 16.0, out: -f64::from(n) });
            let told: Vec<One> = recent.newest_first().collect();
            let expected = (1..=n).rev().take(KEPT);
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let expected =
                expected.map(|n| One { interval: n.into(), score: n as f32 / 16.0, out: -(n as f32) });
            assert_eq!(told, expected.collect::<Vec<_>>());
        }
        recent.add(41, Unusual { score: 1e9, out: f64::NAN });
        assert!(recent.newest_first().next().is_some_and(|one| one.score > 31.0 && one.out == 0.0));
        assert!(size_of::<Recent>() <= 136);
    }
}
