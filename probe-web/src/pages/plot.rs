//! Plots over time as inline SVG. Each stands for a table, which a caller gives: what a pointer can do in a plot, a keyboard can do there.

use std::fmt::Write as _;

use maud::{Markup, html};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 34.0;

/// Most marks of the time axis.
const MARKS: usize = 7;

/// A stretch of time in a plot.
pub(crate) struct Slot {
    /// What it is called on the axis.
    pub(crate) name: String,
    /// What it is called in full.
    pub(crate) title: String,
    /// Where what is behind it is found.
    pub(crate) href: String,
}

/// A line, by its style's class: a value for each slot that has one.
pub(crate) struct Line {
    pub(crate) class: &'static str,
    pub(crate) name: &'static str,
    pub(crate) values: Vec<Option<f64>>,
}

/// Lines over time. `unit` writes a value; what is above `top` is drawn at the upper edge.
pub(crate) fn lines(
    title: &str,
    about: &str,
    slots: &[Slot],
    lines: &[Line],
    unit: fn(f64) -> String,
    least: f64,
    table: &Markup,
) -> Markup {
    let top = round_up(lines.iter().flat_map(|line| &line.values).flatten().copied().fold(least, f64::max));
    let scale = Scale { slots: slots.len(), top };
    let drawn = html! {
        (scale.y_axis(unit))
        (scale.x_axis(slots))
        @for line in lines {
            path class={ "line " (line.class) } d=(path(&line.values, &scale)) {}
            @for (index, value) in lone(&line.values) {
                circle class={ "dot " (line.class) } cx=(px(scale.x(index))) cy=(px(scale.y(value))) r="2.5" {}
            }
        }
        (scale.links(slots))
    };
    let key: Vec<_> = lines.iter().map(|line| (line.class, line.name)).collect();
    figure(title, about, &key, &drawn, table)
}

/// Bars over time, each made of parts that stand on each other: for each part its class, its name and its heights.
pub(crate) fn bars(
    title: &str,
    about: &str,
    slots: &[Slot],
    parts: &[(&'static str, &'static str, Vec<u64>)],
    table: &Markup,
) -> Markup {
    let height = |index: usize| parts.iter().map(|(_, _, n)| n.get(index).copied().unwrap_or(0)).sum::<u64>();
    let tallest = (0..slots.len()).map(height).max().unwrap_or(0);
    let top = round_up(real(tallest).max(4.0));
    let scale = Scale { slots: slots.len(), top };
    let width = (scale.step() * 0.8).max(1.0);
    let drawn = html! {
        (scale.y_axis(|value| greenroom_reports::render::count(whole(value))))
        (scale.x_axis(slots))
        @for index in 0..slots.len() {
            @for (class, low, high) in stacked(parts, index) {
                rect class={ "bar " (class) } x=(px(scale.x(index) - width / 2.0)) y=(px(scale.y(high)))
                    width=(px(width)) height=(px(scale.y(low) - scale.y(high))) {}
            }
        }
        (scale.links(slots))
    };
    let key: Vec<_> = parts.iter().map(|(class, name, _)| (*class, *name)).collect();
    figure(title, about, &key, &drawn, table)
}

/// A small bar of shares, without axes: for a cell that says the numbers too.
pub(crate) fn shares(parts: &[(&'static str, u64)]) -> Markup {
    let all = real(parts.iter().map(|(_, n)| n).sum());
    let mut at = 0.0;
    let mut drawn = Vec::with_capacity(parts.len());
    for (class, n) in parts.iter().filter(|(_, n)| *n > 0) {
        let width = 100.0 * real(*n) / all;
        drawn.push((*class, at, width));
        at += width;
    }
    html! {
        svg class="shares" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            @for (class, at, width) in drawn { rect class={ "bar " (class) } x=(px(at)) y="0" width=(px(width)) height="8" {} }
        }
    }
}

fn figure(
    title: &str,
    about: &str,
    key: &[(&'static str, &'static str)],
    drawn: &Markup,
    table: &Markup,
) -> Markup {
    html! {
        figure class="plot" {
            figcaption { b { (title) } (about) }
            p class="key" { @for (class, name) in key { span { i class=(class) aria-hidden="true" { "■ " } (name) } } }
            div class="scroll" tabindex="0" role="group" aria-label=(title) {
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } aria-hidden="true" focusable="false" { (drawn) }
            }
            details { summary { "As a table" } div class="scroll" tabindex="0" role="region" aria-label={ (title) ", as a table" } { (table) } }
        }
    }
}

struct Scale {
    slots: usize,
    top: f64,
}

impl Scale {
    fn step(&self) -> f64 {
        (WIDTH - LEFT - RIGHT) / real(u64::try_from(self.slots.max(1)).unwrap_or(1))
    }

    /// The middle of a slot.
    fn x(&self, index: usize) -> f64 {
        LEFT + self.step() * (real(u64::try_from(index).unwrap_or(0)) + 0.5)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value / self.top).clamp(0.0, 1.0);
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share)
    }

    fn y_axis(&self, unit: fn(f64) -> String) -> Markup {
        html! {
            @for value in [0.0, self.top / 2.0, self.top] {
                line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(self.y(value))) y2=(px(self.y(value))) {}
                text x=(LEFT - 8.0) y=(px(self.y(value) + 4.0)) text-anchor="end" { (unit(value)) }
            }
        }
    }

    fn x_axis(&self, slots: &[Slot]) -> Markup {
        let every = slots.len().div_ceil(MARKS).max(1);
        html! {
            @for (index, slot) in slots.iter().enumerate().filter(|(index, _)| (index + every / 2).is_multiple_of(every)) {
                text x=(px(self.x(index))) y=(px(HEIGHT - BOTTOM + 20.0)) text-anchor="middle" { (slot.name) }
            }
        }
    }

    /// What a pointer finds: each slot over its whole height leads to what is behind it.
    fn links(&self, slots: &[Slot]) -> Markup {
        html! {
            @for (index, slot) in slots.iter().enumerate() {
                a href=(slot.href) tabindex="-1" {
                    title { (slot.title) }
                    rect class="hit" x=(px(self.x(index) - self.step() / 2.0)) y=(px(TOP)) width=(px(self.step())) height=(px(HEIGHT - TOP - BOTTOM)) {}
                }
            }
        }
    }
}

/// The parts of a bar with the heights that they reach from and to, lowest first.
fn stacked<'a>(
    parts: &'a [(&'static str, &'static str, Vec<u64>)],
    index: usize,
) -> impl Iterator<Item = (&'static str, f64, f64)> + 'a {
    parts
        .iter()
        .scan(0_u64, move |sum, (class, _, values)| {
            let low = *sum;
            *sum += values.get(index).copied().unwrap_or(0);
            Some((*class, real(low), real(*sum)))
        })
        .filter(|(_, low, high)| high > low)
}

/// A line broken where there is no value.
fn path(values: &[Option<f64>], scale: &Scale) -> String {
    let mut path = String::new();
    let mut goes_on = false;
    for (index, value) in values.iter().enumerate() {
        if let Some(value) = value {
            let letter = if goes_on { 'L' } else { 'M' };
            // Writing to a String cannot fail.
            let _ = write!(path, "{letter}{} {}", px(scale.x(index)), px(scale.y(*value)));
        }
        goes_on = value.is_some();
    }
    path
}

/// Values without a neighbor, which no line shows.
fn lone(values: &[Option<f64>]) -> impl Iterator<Item = (usize, f64)> + '_ {
    let there = |index: usize| values.get(index).is_some_and(Option::is_some);
    values.iter().enumerate().filter_map(move |(index, value)| {
        let alone = !(index.checked_sub(1).is_some_and(there) || there(index + 1));
        value.filter(|_| alone).map(|value| (index, value))
    })
}

/// The next of 1, 2, 4, 5, 8 times a power of ten: each has a plain half.
fn round_up(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0]
        .map(|step| step * power)
        .into_iter()
        .find(|top| *top >= value * 0.999_999)
        .unwrap_or(10.0 * power)
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// Counts of reports are far below 2^52.
fn real(n: u64) -> f64 {
    let [high, low] =
        [n >> 32, n & 0xffff_ffff].map(|half| f64::from(u32::try_from(half).unwrap_or(u32::MAX)));
    high * 4_294_967_296.0 + low
}

/// A mark of a counted axis.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0..=2^52 and rounded")]
fn whole(value: f64) -> u64 {
    value.clamp(0.0, 4.5e15).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stops_where_nothing_is_known() {
        let scale = Scale { slots: 5, top: 1.0 };
        let values = [Some(0.0), Some(1.0), None, Some(2.0), None];
        let drawn = path(&values, &scale);
        assert_eq!(drawn.matches('M').count(), 2, "{drawn}");
        assert_eq!(drawn.matches('L').count(), 1, "{drawn}");
        assert_eq!(lone(&values).collect::<Vec<_>>(), [(3, 2.0)]);
        assert!((scale.y(2.0) - TOP).abs() < 1e-9, "what is too high stays inside");
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, top) in
            [(0.0, 1.0), (0.03, 0.04), (9.0, 10.0), (10.0, 10.0), (43.0, 50.0), (810.0, 1_000.0)]
        {
            assert!((round_up(value) - top).abs() < 1e-9, "{value}");
        }
        assert!((round_up(f64::NAN) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn parts_stand_on_each_other() {
        let parts = [("ready", "good", vec![3, 0]), ("blocked", "bad", vec![2, 1])];
        assert_eq!(stacked(&parts, 0).collect::<Vec<_>>(), [("ready", 0.0, 3.0), ("blocked", 3.0, 5.0)]);
        assert_eq!(stacked(&parts, 1).collect::<Vec<_>>(), [("blocked", 0.0, 1.0)]);
    }
}
