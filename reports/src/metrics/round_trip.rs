//! Figures of questions and answers: of whoever only answers there is the round trip, and no direction apart.
//!
//! Loss is that of the question or of its answer; delay variation is that of both ways together. Neither can be placed on one of
//! them, and no figure here pretends to.

use super::delay::{self, JitterRfc3550, Mean};
use super::loss::Share;
use super::percentile::Sorted;
use crate::confidence::loss::LossRuns;
use crate::units::Micros;

/// One question and what came of it. Questions stand in the order in which they were to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Its turn never came.
    NotSent,
    /// This computer refused to send it.
    SendFailed,
    /// Neither answered nor given up when the run ended.
    Awaited,
    /// Never answered.
    Lost,
    /// Answered.
    Answered {
        /// When the answer arrived, on this end's clock.
        at: Micros,
        /// From the question's departure to the answer's arrival, without what the other end says that it held it.
        rtt: Micros,
    },
}

/// How many questions ended how: `planned = sent + send_failed + not_sent`, `sent = answered + lost + awaited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExchangeCounts {
    /// Questions that the run was to ask.
    pub planned: u64,
    /// Those that left.
    pub sent: u64,
    /// Those answered.
    pub answered: u64,
    /// Those given up.
    pub lost: u64,
    /// Those neither answered nor given up at the end.
    pub awaited: u64,
    /// Those that this computer refused to send.
    pub send_failed: u64,
    /// Those whose turn never came.
    pub not_sent: u64,
}

/// Figures of questions and answers.
#[derive(Debug, Clone)]
pub struct RoundTrips {
    /// How many ended how.
    pub counts: ExchangeCounts,
    /// What was lost and what was not, in order of asking: for the interval of the loss. What is awaited says nothing.
    pub losses: LossRuns,
    /// Round-trip times.
    pub rtt: Sorted,
    /// Round-trip times over the least of them (RFC 5481 PDV, of both ways together).
    pub pdv: Sorted,
    /// Mean absolute difference of the round trips of neighbors, both answered (RFC 3393 IPDV, of both ways together).
    pub ipdv_mean_abs: Option<Mean>,
    /// Smoothed jitter over the round trips in order of arrival (RFC 3550 A.8). `None` of fewer than two.
    pub jitter_rfc3550: Option<JitterRfc3550>,
}

impl RoundTrips {
    /// Computes all figures from the questions in order.
    pub fn of(exchanges: &[Exchange]) -> Self {
        let mut answers: Vec<(Micros, Micros)> = exchanges.iter().filter_map(Exchange::answer).collect();
        let rtt: Sorted = answers.iter().map(|(_, rtt)| *rtt).collect();
        let floor = rtt.min().unwrap_or(Micros::ZERO);
        let steps: Vec<Micros> = exchanges
            .windows(2)
            .filter_map(|pair| Some((pair[1].answer()?.1 - pair[0].answer()?.1).abs()))
            .collect();
        answers.sort_by_key(|(at, _)| *at);
        let transits: Vec<Micros> = answers.iter().map(|(_, rtt)| *rtt).collect();
        Self {
            counts: counts(exchanges),
            losses: exchanges.iter().filter_map(Exchange::is_lost).collect(),
            pdv: rtt.as_slice().iter().map(|rtt| *rtt - floor).collect(),
            rtt,
            ipdv_mean_abs: delay::mean(&steps),
            jitter_rfc3550: delay::jitter_of(&transits),
        }
    }

    /// Lost, of what was sent and is no longer awaited.
    pub fn loss(&self) -> Share {
        Share { part: self.counts.lost, whole: self.counts.lost + self.counts.answered }
    }
}

impl Exchange {
    fn answer(&self) -> Option<(Micros, Micros)> {
        match self {
            Self::Answered { at, rtt } => Some((*at, *rtt)),
            _ => None,
        }
    }

    /// Whether it is lost; `None` where that is not known or was not tried.
    fn is_lost(&self) -> Option<bool> {
        match self {
            Self::Answered { .. } => Some(false),
            Self::Lost => Some(true),
            Self::NotSent | Self::SendFailed | Self::Awaited => None,
        }
    }
}

fn counts(exchanges: &[Exchange]) -> ExchangeCounts {
    let mut counts = ExchangeCounts::default();
    for exchange in exchanges {
        counts.planned += 1;
        match exchange {
            Exchange::NotSent => counts.not_sent += 1,
            Exchange::SendFailed => counts.send_failed += 1,
            Exchange::Awaited => counts.awaited += 1,
            Exchange::Lost => counts.lost += 1,
            Exchange::Answered { .. } => counts.answered += 1,
        }
    }
    counts.sent = counts.answered + counts.lost + counts.awaited;
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: i64) -> Micros {
        Micros::from_millis(ms)
    }

    fn answered(at: i64, rtt: i64) -> Exchange {
        Exchange::Answered { at: ms(at), rtt: ms(rtt) }
    }

    /// Worked by hand: round trips of 10, 30, (lost), 20, 10 ms; the neighbors that both came differ by 20 and 10 ms.
    #[test]
    fn a_run_by_hand() {
        let run = [
            answered(10, 10),
            answered(50, 30),
            Exchange::Lost,
            answered(80, 20),
            answered(90, 10),
            Exchange::Awaited,
            Exchange::SendFailed,
            Exchange::NotSent,
        ];
        let found = RoundTrips::of(&run);
        let expected = ExchangeCounts {
            planned: 8,
            sent: 6,
            answered: 4,
            lost: 1,
            awaited: 1,
            send_failed: 1,
            not_sent: 1,
        };
        assert_eq!(found.counts, expected);
        assert_eq!(found.loss(), Share { part: 1, whole: 5 });
        assert_eq!(found.rtt.as_slice(), [ms(10), ms(10), ms(20), ms(30)]);
        assert_eq!(found.pdv.as_slice(), [ms(0), ms(0), ms(10), ms(20)]);
        assert_eq!(found.ipdv_mean_abs, Some(Mean { ms: 15.0, n: 2 }));
        // J: 20/16 = 1.25; + (10 - 1.25)/16 = 1.796875; + (10 - 1.796875)/16 = 2.3095703125.
        let jitter = found.jitter_rfc3550.unwrap();
        assert_eq!((jitter.n, jitter.last_ms), (4, 2.309_570_312_5));
        assert_eq!((found.losses.n(), found.losses.lost()), (5, 1));
    }

    /// Jitter goes by order of arrival, as RFC 3550 says; neighbors of IPDV by order of asking.
    #[test]
    fn answers_that_overtake_each_other() {
        let found = RoundTrips::of(&[answered(100, 100), answered(40, 20), answered(60, 20)]);
        // In order of arrival 20, 20, 100: J = 0, then 80/16.
        assert_eq!(found.jitter_rfc3550.unwrap().last_ms, 5.0);
        assert_eq!(found.ipdv_mean_abs, Some(Mean { ms: 40.0, n: 2 }));
    }

    #[test]
    fn nothing_that_came_has_no_figures() {
        for run in [&[][..], &[Exchange::Lost, Exchange::Lost]] {
            let found = RoundTrips::of(run);
            assert!(found.rtt.is_empty() && found.pdv.is_empty());
            assert_eq!((found.ipdv_mean_abs, found.jitter_rfc3550), (None, None));
        }
        assert_eq!(RoundTrips::of(&[]).loss().ratio(), None);
    }
}
