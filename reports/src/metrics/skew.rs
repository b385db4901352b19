//! Drift of one clock against the other, from the delays themselves.

use super::delay::{Delay, delays};
use super::flow::Flow;
use crate::units::Micros;

/// Shorter runs keep their raw delays: 100 ppm over 10 s are 1 ms.
pub const MIN_SPAN: Micros = Micros::from_secs(10);

/// A steeper slope is not a clock's (METRICS section 3.1; crystals stay within 100 ppm).
const MAX_PPM: f64 = 200.0;

/// How far the two directions' slopes may miss being each other's opposite, in ppm. At 10 s it is 0.1 ms over the run,
/// the error that the hull itself has on such a run.
const MAX_MISMATCH_PPM: f64 = 10.0;

/// A clock's drift as one direction sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Skew {
    /// How much faster delays seem to grow than they do, in millionths.
    pub ppm: f64,
    /// The point on the sender's clock at which nothing is taken away.
    pub from: Micros,
}

impl Skew {
    /// The delay with the drift since [`Skew::from`] taken out.
    pub fn removed(&self, delay: Micros, departed: Micros) -> Micros {
        let drift_ms = (departed - self.from).as_ms() * self.ppm / 1e6;
        Micros::from_ms_f64(drift_ms).map_or(delay, |drift| delay - drift)
    }
}

/// What two directions together say about the clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drift {
    /// The slopes are each other's opposite: the clocks drift, and this much is to be taken out of each direction.
    Resolved {
        /// For the upward flow.
        up: Skew,
        /// For the downward flow: the opposite.
        down: Skew,
    },
    /// The slopes are no clock's: a queue filled or emptied all along. Raw delays stand.
    Unresolved {
        /// Slope seen upward, in ppm.
        up_ppm: f64,
        /// Slope seen downward, in ppm.
        down_ppm: f64,
    },
    /// Too few packets, too short a run, or only one direction.
    NotEnough,
}

impl Drift {
    /// How much faster the endpoint's clock runs than the agent's, in ppm.
    pub fn ppm(&self) -> Option<f64> {
        match self {
            Self::Resolved { up, .. } => Some(up.ppm),
            Self::Unresolved { .. } | Self::NotEnough => None,
        }
    }

    /// What to take out of a flow of this direction.
    pub fn of(&self, direction: crate::trace::Direction) -> Option<Skew> {
        match (self, direction) {
            (Self::Resolved { up, .. }, crate::trace::Direction::Up) => Some(*up),
            (Self::Resolved { down, .. }, crate::trace::Direction::Down) => Some(*down),
            (Self::Unresolved { .. } | Self::NotEnough, _) => None,
        }
    }
}

/// Estimates the drift between two clocks from both directions of one stream.
///
/// Each direction gives the slope under its delays ([`hull_slope`]). A drifting clock makes one rise as the other falls;
/// a filling queue does not. So half their difference is believed only if they nearly cancel (METRICS section 3.1).
pub fn drift(up: &Flow, down: &Flow) -> Drift {
    let (up, down) = (delays(up, None), delays(down, None));
    let (Some(from_up), Some(from_down)) = (long_enough(&up), long_enough(&down)) else {
        return Drift::NotEnough;
    };
    let (Some(up_ppm), Some(down_ppm)) = (slope_ppm(&up, from_up), slope_ppm(&down, from_down)) else {
        return Drift::NotEnough;
    };
    let ppm = (up_ppm - down_ppm) / 2.0;
    if (up_ppm + down_ppm).abs() <= MAX_MISMATCH_PPM && up_ppm.abs().max(down_ppm.abs()) < MAX_PPM {
        Drift::Resolved { up: Skew { ppm, from: from_up }, down: Skew { ppm: -ppm, from: from_down } }
    } else {
        Drift::Unresolved { up_ppm, down_ppm }
    }
}

/// The first departure, if the run is long enough for its drift to matter.
fn long_enough(delays: &[Delay]) -> Option<Micros> {
    let first = delays.iter().map(|delay| delay.departed).min()?;
    let last = delays.iter().map(|delay| delay.departed).max()?;
    (last - first >= MIN_SPAN).then_some(first)
}

fn slope_ppm(delays: &[Delay], from: Micros) -> Option<f64> {
    let base = delays.first()?.delay;
    let points: Vec<(f64, f64)> =
        delays.iter().map(|delay| ((delay.departed - from).as_ms(), (delay.delay - base).as_ms())).collect();
    hull_slope(points).map(|slope| slope * 1e6)
}

/// The slope of the line under all points that is nearest to them: the edge of their lower convex hull at the middle of
/// their span (Zhang, Liu and Xia, INFOCOM 2002, area objective; monotone chain). The two coordinates share one unit.
///
/// `None` when all points share one abscissa or a coordinate is not finite.
pub fn hull_slope(mut points: Vec<(f64, f64)>) -> Option<f64> {
    if points.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
        return None;
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    points.dedup_by(|later, earlier| later.0 <= earlier.0);
    let mut hull: Vec<(f64, f64)> = Vec::new();
    for point in points {
        while let [.., a, b] = hull[..] {
            let turns_left = (b.0 - a.0) * (point.1 - a.1) - (b.1 - a.1) * (point.0 - a.0) > 0.0;
            if turns_left {
                break;
            }
            hull.pop();
        }
        hull.push(point);
    }
    let middle = f64::midpoint(hull.first()?.0, hull.last()?.0);
    let edge = hull.windows(2).find(|edge| edge[1].0 >= middle)?;
    Some((edge[1].1 - edge[0].1) / (edge[1].0 - edge[0].0))
}
