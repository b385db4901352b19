//! Plots as inline SVG, each with the table of what it draws.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::super::number;
use super::points::{self, Bin, Point};
use crate::schema::{PhaseReport, Target};
use crate::trace::PhaseKind;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 104.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;
/// Stretches of time drawn: about one for every two pixels.
const DRAWN: usize = 400;
/// Most stretches of time drawn as loss bars.
const BARS: usize = 100;
/// Shortest stretch drawn as a loss bar: a dozen packets of audio, so that a lone loss does not look like an outage.
const BAR_MS: f64 = 250.0;
/// Stretches of time listed in a table.
const LISTED: usize = 24;

/// The plots of a target that it has series for.
pub(super) fn all(target: &Target) -> Markup {
    let named = |name| points::named(target, name);
    let end = end_of(target);
    html! {
        @if let Some(rtt) = named("rtt") {
            (over_time("Round trip over time", "Time from here to the endpoint and back.", &[("rtt", "round trip", rtt)], target, end))
        }
        @let delays = present([("up", "sending (up)", named("delay_up")), ("down", "receiving (down)", named("delay_down"))]);
        @if !delays.is_empty() {
            (over_time("Delay variation over time", "One-way delay over the least of its direction, one line each way.", &delays, target, end))
            (distribution(&delays))
        }
        @let losses = present([("up", "sending (up)", named("loss_up")), ("down", "receiving (down)", named("loss_down"))]);
        @if !losses.is_empty() {
            (loss(&losses, target, end))
        }
    }
}

type Named = (&'static str, &'static str, Vec<Point>);

fn present<const N: usize>(series: [(&'static str, &'static str, Option<Vec<Point>>); N]) -> Vec<Named> {
    series.into_iter().filter_map(|(class, name, points)| Some((class, name, points?))).collect()
}

/// The end of the time axis in milliseconds.
fn end_of(target: &Target) -> f64 {
    let points = target.series.iter().flat_map(|series| series.at_ms.last().copied());
    let phases = target.phases.iter().map(|phase| phase.to_ms);
    points.chain(phases).filter(|at| at.is_finite()).fold(1.0, f64::max)
}

/// Lines over time, with the phases of load behind them.
fn over_time(title: &str, about: &str, lines: &[Named], target: &Target, end: f64) -> Markup {
    let greatest =
        lines.iter().filter_map(|(_, _, points)| points::sorted(points).last().copied()).fold(0.0, f64::max);
    let top = points::round_up(greatest);
    let scale = Scale { x_end: end, y_end: top };
    figure(
        title,
        about,
        lines,
        &html! {
            (phases(&target.phases, &scale))
            (y_axis(&scale, &[0.0, top / 2.0, top], number::ms))
            (time_axis(&scale))
            @for (class, _, points) in lines {
                path class=(class) d=(line(&points::bins(points, end, DRAWN), &scale)) {}
            }
        },
        &time_table(lines, end, number::ms),
    )
}

/// The share of packets that were delayed by no more than so much.
fn distribution(lines: &[Named]) -> Markup {
    let sorted: Vec<_> =
        lines.iter().map(|(class, name, points)| (*class, *name, points::sorted(points))).collect();
    let greatest = sorted.iter().filter_map(|(_, _, values)| values.last().copied()).fold(0.0, f64::max);
    let scale = Scale { x_end: points::round_up(greatest), y_end: 1.0 };
    let shares = [0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0];
    let table = html! {
        table {
            thead { tr { th scope="col" { "Share of packets" } @for (_, name, _) in &sorted { th scope="col" { (name) } } } }
            tbody { @for share in shares { tr {
                th scope="row" { (number::percent(share)) }
                @for (_, _, values) in &sorted { td { "≤ " (points::rank(values, share).map_or("none received".into(), number::ms)) } }
            } } }
        }
    };
    figure(
        "Delay variation, distribution",
        "Share of received packets delayed by no more than so much, counted exactly; lost packets are not in it. \
         The steeper and further left, the better.",
        lines,
        &html! {
            (y_axis(&scale, &[0.0, 0.5, 0.95, 1.0], number::percent))
            (x_axis(&scale, number::ms))
            @for (class, _, values) in &sorted {
                path class=(class) d=(cumulative(values, &scale)) {}
            }
        },
        &table,
    )
}

/// Loss over time: upward above the axis, downward below it.
fn loss(lines: &[Named], target: &Target, end: f64) -> Markup {
    let bars = points::stretches(end, BAR_MS, BARS);
    let binned: Vec<_> =
        lines.iter().map(|(class, _, points)| (*class, points::bins(points, end, bars))).collect();
    let greatest =
        binned.iter().flat_map(|(_, bins)| bins).filter_map(|bin| Some(bin.range?.1)).fold(0.0, f64::max);
    // Never so fine that a few lost packets fill the plot.
    let top = points::round_up(greatest).clamp(0.1, 1.0);
    let scale = Scale { x_end: end, y_end: 1.0 };
    let middle = scale.y(0.5);
    figure(
        "Loss over time",
        &format!(
            "Share of packets lost in each {}: sending above the line, receiving below it.",
            number::ms(end / count(bars))
        ),
        lines,
        &html! {
            (phases(&target.phases, &scale))
            line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(middle)) y2=(px(middle)) {}
            @for (place, text) in [(1.0, number::percent(top)), (0.5, number::percent(0.0)), (0.0, number::percent(top))] {
                text x=(LEFT - 8.0) y=(px(scale.y(place) + 4.0)) text-anchor="end" { (text) }
            }
            (time_axis(&scale))
            @for (class, bins) in &binned {
                @for bin in bins { @if let Some((_, mean, _)) = bin.range.filter(|range| range.1 > 0.0) {
                    @let height = (scale.y(0.5) - scale.y(1.0)) * (mean / top).min(1.0);
                    rect class=(class) x=(px(scale.x(bin.at))) width=(px((scale.x(end) - scale.x(0.0)) / count(bars) - 1.0))
                        y=(px(if *class == "up" { middle - height } else { middle })) height=(px(height)) {
                        title { (number::percent(mean)) " lost at " (seconds(bin.at)) }
                    }
                } }
            }
        },
        &time_table(lines, end, number::percent),
    )
}

/// A titled plot with its key and the table behind it.
fn figure(title: &str, about: &str, lines: &[Named], drawing: &Markup, table: &Markup) -> Markup {
    html! {
        figure {
            figcaption {
                b { (title) } (about)
                @if lines.len() > 1 {
                    div class="key" { @for (class, name, _) in lines {
                        span { i class=(class) aria-hidden="true" { (if *class == "down" { "╌╌" } else { "──" }) } " " (name) }
                    } }
                }
            }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(format!("{title}. {about} The table below holds the numbers.")) {
                title { (title) }
                (drawing)
            }
            details { summary { "Numbers: " (title) } (table) }
        }
    }
}

/// Shades the time under load and says how much.
fn phases(phases: &[PhaseReport], scale: &Scale) -> Markup {
    let finite = |phase: &&PhaseReport| phase.from_ms.is_finite() && phase.to_ms > phase.from_ms;
    html! {
        @for phase in phases.iter().filter(finite).take(50) {
            @let (from, to) = (scale.x(phase.from_ms), scale.x(phase.to_ms));
            @if matches!(phase.kind, PhaseKind::Media | PhaseKind::Capacity) {
                rect class="phase" x=(px(from)) y=(px(TOP)) width=(px((to - from - 1.0).max(0.0))) height=(px(HEIGHT - TOP - BOTTOM)) {
                    title { (load_of(phase)) }
                }
            }
            @if to - from > 130.0 {
                text x=(px((from + to) / 2.0)) y="20" text-anchor="middle" { (load_of(phase)) }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn load_of(phase: &PhaseReport) -> String {
    match phase.kind {
        PhaseKind::Idle | PhaseKind::Settle => "audio only".into(),
        PhaseKind::Capacity => "capacity search".into(),
        PhaseKind::Media => {
            format!("+ {}", number::rate(phase.offered_up_bps.max(phase.offered_down_bps) as f64))
        }
    }
}

/// From values to pixels.
struct Scale {
    x_end: f64,
    y_end: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        LEFT + (value / self.x_end).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value / self.y_end).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }
}

fn y_axis(scale: &Scale, ticks: &[f64], show: fn(f64) -> String) -> Markup {
    html! {
        @for tick in ticks {
            @let y = scale.y(*tick);
            line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(y)) y2=(px(y)) {}
            // Labels that would touch the one above are left out; the line stays.
            @if *tick >= scale.y_end || scale.y(*tick) - scale.y(scale.y_end) > 20.0 {
                text x=(LEFT - 8.0) y=(px(y + 4.0)) text-anchor="end" { (show(*tick)) }
            }
        }
    }
}

fn x_axis(scale: &Scale, show: fn(f64) -> String) -> Markup {
    html! {
        @for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
            @let value = part * scale.x_end;
            text x=(px(scale.x(value))) y=(HEIGHT - 12.0) text-anchor=(anchor(part)) { (show(value)) }
        }
    }
}

fn time_axis(scale: &Scale) -> Markup {
    x_axis(scale, seconds)
}

fn anchor(part: f64) -> &'static str {
    if part >= 1.0 { "end" } else { "middle" }
}

fn seconds(ms: f64) -> String {
    format!("{}{}s", number::plain(ms / 1_000.0, 1), number::GLUE)
}

/// A line through each stretch's least and greatest value, broken where there was nothing for longer than [`SILENCE_MS`].
fn line(bins: &[Bin], scale: &Scale) -> String {
    let mut path = String::new();
    let (mut last, mut skipped) = (f64::NEG_INFINITY, false);
    for bin in bins {
        let Some((least, _, greatest)) = bin.range else {
            skipped = true;
            continue;
        };
        let command = if path.is_empty() || (skipped && bin.at - last > SILENCE_MS) { 'M' } else { 'L' };
        (last, skipped) = (bin.at, false);
        let x = px(scale.x(bin.at));
        write!(path, "{command}{x} {}", px(scale.y(least))).expect("a String takes any text");
        if greatest > least {
            write!(path, "L{x} {}", px(scale.y(greatest))).expect("a String takes any text");
        }
    }
    path
}

/// Packets come every 20 ms and the points of a series every 100: only a longer silence is told as one.
const SILENCE_MS: f64 = 250.0;

/// The steps of a cumulative distribution, at most 200 of them.
fn cumulative(sorted: &[f64], scale: &Scale) -> String {
    let mut path = format!("M{} {}", px(scale.x(0.0)), px(scale.y(0.0)));
    for step in 1..=200_u32 {
        let share = f64::from(step) / 200.0;
        if let Some(value) = points::rank(sorted, share) {
            write!(path, "L{} {}", px(scale.x(value)), px(scale.y(share))).expect("a String takes any text");
        }
    }
    path
}

/// Least, mean and greatest per stretch of time.
fn time_table(lines: &[Named], end: f64, show: fn(f64) -> String) -> Markup {
    let columns: Vec<_> = lines.iter().map(|(_, _, points)| points::bins(points, end, LISTED)).collect();
    html! {
        table {
            thead { tr { th scope="col" { "From" } @for (_, name, _) in lines { th scope="col" { (name) ": least, mean, greatest" } } } }
            tbody { @for index in 0..LISTED { tr {
                th scope="row" { (seconds(columns.first().map_or(0.0, |bins| bins[index].at))) }
                @for bins in &columns { td {
                    @match bins[index].range {
                        Some((least, mean, greatest)) => { (show(least)) ", " (show(mean)) ", " (show(greatest)) }
                        None => "nothing received",
                    }
                } }
            } } }
        }
    }
}

/// Pixels with one decimal.
fn px(value: f64) -> String {
    format!("{value:.1}")
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn count(n: usize) -> f64 {
    n as f64
}
