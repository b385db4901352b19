//! The figures of a target as rows to show: one list for every renderer.

use super::details;
use super::number;
use super::words;
use crate::schema::{
    Capacity, Details, DirectionReport, Distribution, Estimate, Host, Reordering, SmoothedJitter,
    StreamReport, Target, Value, Verdict,
};

/// One row: a name and what was found.
pub(super) struct Row {
    /// What it is, in plain words.
    pub name: String,
    /// Its definition, for who wants to know exactly.
    pub exact: &'static str,
    /// What was found.
    pub found: Found,
    /// Whether it is only shown at full detail.
    pub full_only: bool,
}

/// What was found, once or per direction.
pub(super) enum Found {
    /// One figure for both directions together.
    Once(Cell),
    /// Up, then down.
    PerDirection(Cell, Cell),
    /// One beside the other, each under what it is of.
    PerWay(Vec<(String, Cell)>),
}

/// One figure as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// It was measured.
    Figure {
        /// The figure with its unit.
        value: String,
        /// Its 95 % interval.
        interval: Option<String>,
        /// Samples behind it.
        n: Option<u64>,
    },
    /// It was not: `not tested` or `failed`, and why.
    Missing {
        /// `not tested` or `failed`.
        state: &'static str,
        /// Why.
        reason: String,
    },
}

impl Cell {
    pub(super) fn bare(value: String) -> Self {
        Self::Figure { value, interval: None, n: None }
    }

    /// All of it on one line.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Figure { value, interval, n } => {
                let mut text = value.clone();
                if let Some(interval) = interval {
                    text += &format!(" ({interval})");
                }
                if let Some(n) = n {
                    text += &format!(" {}", samples(*n));
                }
                text
            }
            Self::Missing { state, reason } => format!("{}: {reason}", glued(state)),
        }
    }
}

/// How many samples stand behind a figure: `n 500`.
pub(super) fn samples(n: u64) -> String {
    format!("n{}{}", number::GLUE, number::count(n))
}

/// The rows of a target, in order of interest. What only uses that nobody asked for need is for full detail.
pub(super) fn target_rows(target: &Target, verdict: &Verdict) -> Vec<Row> {
    let own = target.details.as_ref().map(details::rows).unwrap_or_default();
    // What carried no media has none of the figures of media: a page of "not tested" helps nobody.
    // Where a server reports of media, its words are all there is, and stand among its own.
    let reported = target.details.as_ref().is_some_and(Details::is_reported);
    if !own.is_empty() && (target.up.counts.planned == 0 || reported) {
        return own;
    }
    let mut rows = network_rows(&target.up, &target.down);
    rows.splice(0..0, round_trip_rows(target));
    rows.extend(load_rows(target, verdict));
    rows.push(capacity_row(&target.up, &target.down));
    rows.extend(quality_rows(target));
    rows.extend(detail_rows(&target.up, &target.down));
    rows.extend(self_rows(target));
    rows.extend(own);
    rows
}

/// The rows about this computer.
pub(super) fn host_rows(host: &Host) -> Vec<Row> {
    vec![
        once("Delay inside this computer, p95", "kernel to program", p95(&host.delay_ms)),
        once("Processor busy with other things", "share of all cores", share(&host.cpu_busy_ratio)),
        once("Time taken by a hypervisor", "CPU steal", share(&host.cpu_steal_ratio)),
    ]
}

/// A media stream's name: `Video 720p, sending, 1.5 Mbit/s`.
pub(super) fn stream_name(stream: &StreamReport) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rung = number::rate(stream.rung_bps as f64);
    let way = words::direction(stream.direction.into());
    format!("{}, {way}, {rung}", words::use_name(stream.use_))
}

/// What a media stream is shown by: name, definition, figure.
pub(super) fn stream_cells(stream: &StreamReport) -> [(&'static str, Cell); 4] {
    [
        ("received", rate(&stream.received_bps)),
        ("lost", share(&stream.figures.loss_ratio)),
        ("lost or late", share(&stream.figures.late_loss_ratio.adaptive)),
        ("delay variation p95", p95(&stream.figures.pdv_ms)),
    ]
}

fn round_trip_rows(target: &Target) -> Vec<Row> {
    vec![
        once("Round trip, median", "RTT without the reflector's hold (RFC 8762), p50", p50(&target.rtt_ms)),
        once("Round trip, p95", "the same, p95", p95(&target.rtt_ms)),
        once("Round trip, p99", "the same, p99", p99(&target.rtt_ms)).full(),
        once("Round trip, min and max", "the same, minimum and maximum", extremes(&target.rtt_ms)).full(),
    ]
}

fn network_rows(up: &DirectionReport, down: &DirectionReport) -> Vec<Row> {
    let both = |name, exact, cell: fn(&DirectionReport) -> Cell| row(name, exact, cell(up), cell(down));
    vec![
        both("Lost on the network", "loss_ratio (RFC 7680)", |d| share(&d.loss_ratio)),
        both("Dropped by a computer", "host_loss_ratio: socket queues, not the network", |d| {
            share(&d.host_loss_ratio)
        }),
        both("Lost or too late to play", "late_loss_ratio, replayed adaptive playout buffer", |d| {
            share(&d.late_loss_ratio.adaptive)
        }),
        both("Delay variation, p95", "PDV (RFC 5481), skew removed, p95", |d| p95(&d.pdv_ms)),
        both("Delay variation, p99", "the same, p99", |d| p99(&d.pdv_ms)),
    ]
}

/// Always in the full table; in the short one where it was searched for.
fn capacity_row(up: &DirectionReport, down: &DirectionReport) -> Row {
    let searched = [up, down].iter().any(|d| !matches!(d.capacity_bps, Value::NotTested { .. }));
    let exact = "IP-layer bits/s with loss and delay in bounds (RFC 9097)";
    let found = row("Capacity", exact, capacity(&up.capacity_bps), capacity(&down.capacity_bps));
    Row { full_only: !searched, ..found }
}

fn load_rows(target: &Target, verdict: &Verdict) -> Vec<Row> {
    let asked = |use_| verdict.uses.get(use_).is_some_and(|found| found.asked);
    let any_asked = verdict.uses.keys().any(asked);
    let increases = &target.loaded.rtt_increase_ms;
    let mut rows: Vec<Row> = increases
        .iter()
        .map(|(use_, increase)| {
            let name = format!("Delay added by {}", lower_first(words::use_name(*use_)));
            let row =
                once(name, "RTT p95 under load up to its own rung, less the idle median", time(increase));
            // Where nothing was asked for, what was measured is shown.
            let shown = if any_asked { asked(use_) } else { increase.measured().is_some() };
            if shown { row } else { row.full() }
        })
        .collect();
    if rows.is_empty() {
        let reason = Cell::Missing { state: NOT_TESTED, reason: "no load was offered".into() };
        rows.push(once("Delay added by load", "RTT p95 under load, less the idle median", reason));
    }
    let [up, down] = [&target.loaded.saturated_up_ms, &target.loaded.saturated_down_ms];
    let searched = [up, down].iter().any(|value| !matches!(value, Value::NotTested { .. }));
    let exact = "RTT p95 during the capacity search, less the idle median (RFC 6349 buffer delay)";
    let full = row("Delay added by a full link", exact, time(up), time(down));
    rows.push(Row { full_only: !searched, ..full });
    rows
}

fn quality_rows(target: &Target) -> Vec<Row> {
    let quality = &target.quality;
    let [model, codec, source] =
        [&quality.model, &quality.codec, &quality.codec_source].map(|text| words::clean(text));
    let assumed = Cell::bare(format!("{codec} ({source})"));
    vec![
        once(format!("Speech MOS ({model})"), "E-model, the worse direction", plain(&quality.mos, 2)),
        once("Speech rating R", "E-model transmission rating", plain(&quality.r, 0)).full(),
        once("Speech codec assumed", "and the source of its impairment factors", assumed).full(),
    ]
}

fn detail_rows(up: &DirectionReport, down: &DirectionReport) -> Vec<Row> {
    let both =
        |name, exact, cell: fn(&DirectionReport) -> Cell| row(name, exact, cell(up), cell(down)).full();
    vec![
        both("Lost or late, 40 ms buffer", "fixed playout buffer", |d| share(&d.late_loss_ratio.fixed_40ms)),
        both("Lost or late, 60 ms buffer", "fixed playout buffer", |d| share(&d.late_loss_ratio.fixed_60ms)),
        both("Lost or late, 100 ms buffer", "fixed playout buffer", |d| {
            share(&d.late_loss_ratio.fixed_100ms)
        }),
        both("Lost or late, 200 ms buffer", "fixed playout buffer", |d| {
            share(&d.late_loss_ratio.fixed_200ms)
        }),
        both("Delay of the adaptive buffer", "mean", |d| time(&d.late_loss_ratio.adaptive_delay_ms)),
        both("Greatest loss within 200 ms", "burst_loss_200ms_ratio", |d| share(&d.burst_loss_200ms_ratio)),
        both("Loss bursts", "RFC 3611, Gmin 16: number, density, mean length", bursts),
        both("Packet-to-packet delay change", "IPDV (RFC 3393), mean absolute", |d| {
            time(&d.ipdv_mean_abs_ms)
        }),
        both("Smoothed jitter, p95", "jitter_rfc3550 (RFC 3550 A.8), running value", |d| {
            smoothed(&d.jitter_rfc3550_ms)
        }),
        both("Out of order", "RFC 4737, of first copies received", |d| reordering(&d.reordering)),
        both("Arrived twice", "duplicate_ratio (RFC 5560)", |d| share(&d.duplicate_ratio)),
        both("Delay inside the receiver, p95", "kernel to program", |d| p95(&d.host_delay_ms)),
        both("Delay in the sender's queue, p95", "TX_SCHED to TX_SOFTWARE", |d| p95(&d.local_queue_ms)),
        both("Packets", "sent of planned", |d| {
            let counts = &d.counts;
            let value = format!("{} of {}", number::count(counts.sent), number::count(counts.planned));
            Cell::bare(glued(&value))
        }),
    ]
}

fn self_rows(target: &Target) -> Vec<Row> {
    let own = &target.self_error;
    vec![
        once(
            "Departures later than meant, p99",
            "actual less intended departure",
            p99(&own.send_lateness_ms),
        )
        .full(),
        once("Departures over 1 ms late", "late_sends", Cell::bare(number::count(own.late_sends))).full(),
        once("Reflector's hold, p95", "T3 − T2", p95(&target.reflector_hold_ms)).full(),
        once("Clock drift", "skew between the two clocks", skew(&target.skew_ppm)).full(),
    ]
}

const NOT_TESTED: &str = "not tested";

impl Row {
    pub(super) fn full(self) -> Self {
        Self { full_only: true, ..self }
    }
}

pub(super) fn row(name: impl Into<String>, exact: &'static str, up: Cell, down: Cell) -> Row {
    Row { name: name.into(), exact, found: Found::PerDirection(up, down), full_only: false }
}

pub(super) fn once(name: impl Into<String>, exact: &'static str, cell: Cell) -> Row {
    Row { name: name.into(), exact, found: Found::Once(cell), full_only: false }
}

/// Shows a value that was measured, or why it was not.
pub(super) fn cell<T>(value: &Value<T>, show: impl FnOnce(&T) -> Cell) -> Cell {
    match value {
        Value::Measured(found) => show(found),
        Value::Failed { reason } => Cell::Missing { state: "failed", reason: words::prose(reason) },
        Value::NotTested { reason } => Cell::Missing { state: NOT_TESTED, reason: words::prose(reason) },
    }
}

fn estimate(
    value: &Value<Estimate>,
    show: impl FnOnce(f64) -> String,
    interval: impl FnOnce(Option<f64>, Option<f64>) -> Option<String>,
) -> Cell {
    cell(value, |found| Cell::Figure {
        value: show(found.value),
        interval: interval(found.low, found.high),
        n: Some(found.n),
    })
}

pub(super) fn share(value: &Value<Estimate>) -> Cell {
    estimate(value, number::percent, number::percent_interval)
}

pub(super) fn time(value: &Value<Estimate>) -> Cell {
    estimate(value, number::ms, number::ms_interval)
}

fn rate(value: &Value<Estimate>) -> Cell {
    estimate(value, number::rate, number::rate_interval)
}

fn capacity(value: &Value<Capacity>) -> Cell {
    cell(value, |found| {
        let rate = number::rate(found.value);
        let value = if found.at_least { format!("at least {rate}") } else { rate };
        Cell::Figure { value: glued(&value), interval: None, n: Some(found.n) }
    })
}

fn plain(value: &Value<Estimate>, decimals: usize) -> Cell {
    estimate(value, |v| number::plain(v, decimals), |low, high| number::plain_interval(low, high, decimals))
}

fn skew(value: &Value<Estimate>) -> Cell {
    cell(value, |found| Cell::Figure {
        value: format!("{}{}ppm", number::plain(found.value, 1), number::GLUE),
        interval: number::plain_interval(found.low, found.high, 1),
        n: Some(found.n),
    })
}

pub(super) fn p50(value: &Value<Distribution>) -> Cell {
    cell(value, |found| Cell::Figure {
        value: number::ms(found.p50),
        interval: found.p50_bounds.and_then(|b| number::ms_interval(Some(b.low), b.high)),
        n: Some(found.n),
    })
}

pub(super) fn p95(value: &Value<Distribution>) -> Cell {
    cell(value, |found| match found.p95 {
        Some(p95) => Cell::Figure {
            value: number::ms(p95),
            interval: found.p95_bounds.and_then(|b| number::ms_interval(Some(b.low), b.high)),
            n: Some(found.n),
        },
        None => too_few(found.n, 72),
    })
}

pub(super) fn p99(value: &Value<Distribution>) -> Cell {
    cell(value, |found| match found.p99 {
        Some(p99) => Cell::Figure { value: number::ms(p99), interval: None, n: Some(found.n) },
        None => too_few(found.n, 368),
    })
}

pub(super) fn extremes(value: &Value<Distribution>) -> Cell {
    cell(value, |found| {
        let value = format!("{} to {}", number::ms(found.min), number::ms(found.max));
        Cell::Figure { value: glued(&value), interval: None, n: Some(found.n) }
    })
}

/// A percentile that the sample is too small to bound.
fn too_few(n: u64, needed: u64) -> Cell {
    let reason = format!("{} samples, {} needed", number::count(n), number::count(needed));
    Cell::Missing { state: "unknown", reason }
}

pub(super) fn smoothed(value: &Value<SmoothedJitter>) -> Cell {
    cell(value, |found| Cell::Figure { value: number::ms(found.p95), interval: None, n: Some(found.n) })
}

fn reordering(value: &Value<Reordering>) -> Cell {
    cell(value, |found| Cell::bare(number::percent(found.ratio)))
}

fn bursts(direction: &DirectionReport) -> Cell {
    cell(&direction.burst, |found| match found.bursts {
        0 => Cell::bare("none".into()),
        bursts => Cell::bare(format!(
            "{}, {} lost, {}",
            number::count(bursts),
            number::percent(found.burst_density_ratio),
            number::ms(found.burst_duration_ms)
        )),
    })
}

/// Makes a phrase unbreakable.
pub(super) fn glued(text: &str) -> String {
    text.replace(' ', &number::GLUE.to_string())
}

/// `Video 720p` within a sentence: `video 720p`.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
