//! The figures that are compared, and their true values.

use std::time::Duration;

use greenroom_netlab::truth::{PacketTruth, Truth};
use greenroom_reports::metrics::percentile::{Quantile, nearest_rank};

use crate::Fallible;

/// Delays of one run, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    /// Round trip without the hold at the far end: p50 and p95.
    pub(super) rtt: [f64; 2],
    /// Delay over the least of its direction (RFC 5481 PDV), up and down: p50 and p95.
    pub(super) pdv: [[f64; 2]; 2],
    /// Mean absolute difference of consecutive delays (RFC 3393 IPDV), up and down.
    pub(super) ipdv: [f64; 2],
}

/// Delays of single packets in the order in which they were sent, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Round trips.
    pub(super) rtt: Vec<f64>,
    /// One way, up and down, each on whatever clock: only differences count.
    pub(super) delay: [Vec<f64>; 2],
}

impl Samples {
    /// What the link did to the packets up and to the answers down, which leave in the order in which the requests arrive.
    pub(super) fn of_truth(truth: &Truth, up: &[&PacketTruth], down: &[&PacketTruth]) -> Fallible<Self> {
        let whole = |packets: &[&PacketTruth]| {
            packets
                .iter()
                .map(|packet| Some((packet.delivered()?, packet.delay()?)))
                .collect::<Option<Vec<_>>>()
        };
        let (Some(mut arrived), Some(back)) = (whole(up), whole(down)) else {
            return Err(format!("{} lost packets, and is not to lose any", truth.scenario).into());
        };
        let delay = [&arrived, &back].map(|packets| packets.iter().map(|(_, delay)| ms(*delay)).collect());
        arrived.sort_by_key(|(at, _)| *at);
        let rtt = arrived.iter().zip(&back).map(|((_, there), (_, back))| ms(*there + *back)).collect();
        Ok(Self { rtt, delay })
    }

    /// Sums up, by nearest rank.
    pub(super) fn figures(self) -> Fallible<Figures> {
        let [up, down] = self.delay;
        Ok(Figures {
            rtt: percentiles(self.rtt)?,
            ipdv: [ipdv(&up), ipdv(&down)],
            pdv: [percentiles(over_least(up))?, percentiles(over_least(down))?],
        })
    }
}

fn percentiles(mut values: Vec<f64>) -> Fallible<[f64; 2]> {
    values.sort_by(f64::total_cmp);
    let at = |quantile| nearest_rank(&values, quantile);
    Ok(at(Quantile::P50).zip(at(Quantile::P95)).ok_or("nothing came through")?.into())
}

fn over_least(mut delays: Vec<f64>) -> Vec<f64> {
    let least = delays.iter().copied().fold(f64::INFINITY, f64::min);
    delays.iter_mut().for_each(|delay| *delay -= least);
    delays
}

fn ipdv(delays: &[f64]) -> f64 {
    let steps: Vec<f64> = delays.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let count = steps.len().max(1) as f64;
    steps.iter().sum::<f64>() / count
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delays up 10 12 11, down 5 5 8. Round trips 15 17 19; over the least 0 2 1 and 0 0 3; steps 2 1 and 0 3.
    #[test]
    fn figures_follow_from_single_delays() {
        let samples =
            Samples { rtt: vec![15.0, 17.0, 19.0], delay: [vec![10.0, 12.0, 11.0], vec![5.0, 5.0, 8.0]] };
        let figures = samples.figures().expect("has packets");
        assert_eq!(figures.rtt, [17.0, 19.0]);
        assert_eq!(figures.pdv, [[1.0, 2.0], [0.0, 3.0]]);
        assert_eq!(figures.ipdv, [1.5, 1.5]);
        assert!(Samples::default().figures().is_err());
    }
}
