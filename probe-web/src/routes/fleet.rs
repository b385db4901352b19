//! What all reports say together, by site and endpoint, over time and by hour.

use axum::extract::{Query, State};
use greenroom_reports::metrics::percentile::Quantile;
use greenroom_reports::render::{self, count, ms, percent};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use super::reports::WITHOUT;
use crate::app::AppState;
use crate::auth::visitor::Visitor;
use crate::fleet::{Figures, Fleet, Mover, Series};
use crate::gathering;
use crate::pages::plot::{self, Line, Slot};
use crate::pages::{self, Failed, Live, Paged, Place, query};
use crate::store::{Resolution, RollupQuery, StoreError};

/// Rows of the table at most, and of what got worse.
const ROWS: usize = 200;
const MOVERS: usize = 5;

/// Percentiles that are told, with the classes of their lines.
const PERCENTILES: [(&str, &str, Quantile); 3] =
    [("p99", "p99", Quantile::P99), ("p95", "p95", Quantile::P95), ("p50", "median", Quantile::P50)];

/// How far back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Range {
    Hour,
    #[default]
    Day,
    Week,
    Month,
}

impl Range {
    const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    const fn name(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Hour => "1 hour",
            Self::Day => "24 hours",
            Self::Week => "7 days",
            Self::Month => "30 days",
        }
    }

    const fn seconds(self) -> i64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
            Self::Month => 30 * 86_400,
        }
    }

    /// The buckets that it is told in.
    const fn resolution(self) -> Resolution {
        match self {
            Self::Hour => Resolution::FiveMinutes,
            Self::Day | Self::Week => Resolution::Hour,
            Self::Month => Resolution::Day,
        }
    }

    /// How a bucket is called on an axis.
    const fn format(self) -> &'static str {
        match self {
            Self::Hour | Self::Day => "%H:%M",
            Self::Week | Self::Month => "%b %-d",
        }
    }

    /// Where it begins and ends, in seconds since 1970: whole buckets, the last one with now in it.
    fn bounds(self, now: Timestamp) -> (i64, i64) {
        let end = self.resolution().bucket(now) + self.resolution().seconds();
        (end - self.seconds(), end)
    }
}

/// What is to be shown.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Asked {
    range: String,
    site: String,
    endpoint: String,
}

/// What is shown.
struct View<'a> {
    range: Range,
    start: i64,
    end: i64,
    asked: &'a Asked,
}

/// The fleet.
pub(crate) async fn page(
    State(state): State<AppState>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Paged {
    let range = Range::ALL.into_iter().find(|range| range.name() == asked.range).unwrap_or_default();
    let (start, end) = range.bounds(state.clock.now());
    let view = View { range, start, end, asked: &asked };
    let found = view.load(&state, &visitor).await?;
    let (hours, hours_start) = view.hours(&state, &visitor).await?;
    let body = html! {
        h1 { "Fleet" }
        (super::incidents::lines(&state, &visitor).await?)
        (view.form())
        @if found.all.reports() == 0 {
            p class="empty" { "No report in this time" @if view.is_narrow() { ", of this site and endpoint" } ". A longer time may have some." }
        } @else {
            (view.sums(&found))
            (view.movers(&found.movers()))
            (view.table(&found))
            (view.plots(&found))
        }
        (view.heat(&hours, hours_start))
    };
    Ok(pages::live_page(&visitor, Place::Fleet, "Fleet", &body, Live::AtOnce))
}

impl View<'_> {
    /// This stretch of time and as long a one before it, merged.
    async fn load(&self, state: &AppState, visitor: &Visitor) -> Result<Fleet, Failed> {
        let asked = self.rollups(self.range.resolution(), self.start - self.range.seconds(), self.end)?;
        Ok(gathering::fleet(&state.store, visitor.tenant(), &asked, self.start).await?)
    }

    /// What reports said by the hour that they began in, of a week at least, and where that begins.
    async fn hours(&self, state: &AppState, visitor: &Visitor) -> Result<(Fleet, i64), StoreError> {
        let day = Resolution::Day.seconds();
        let end = self.end.div_euclid(day) * day + if self.end.rem_euclid(day) == 0 { 0 } else { day };
        let start = end - self.range.seconds().max(Range::Week.seconds());
        let asked = self.rollups(Resolution::Hour, start, end)?;
        // The roll-ups are up to date since `load`.
        let mut hours = Fleet::default();
        hours.add_totals(&state.store.totals(visitor.tenant(), &asked, start).await?);
        Ok((hours, start))
    }

    fn rollups(&self, resolution: Resolution, from: i64, to: i64) -> Result<RollupQuery, StoreError> {
        let time = |seconds| {
            Timestamp::from_second(seconds)
                .map_err(|error| StoreError::Damaged(format!("the clock: {error}")))
        };
        let name = |text: &str| match text {
            "" => None,
            WITHOUT => Some(String::new()),
            name => Some(name.to_owned()),
        };
        let (site, endpoint) = (name(self.asked.site.trim()), name(self.asked.endpoint.trim()));
        Ok(RollupQuery { resolution, from: time(from)?, to: time(to)?, site, endpoint })
    }

    fn is_narrow(&self) -> bool {
        !self.asked.site.trim().is_empty() || !self.asked.endpoint.trim().is_empty()
    }

    /// This page, of another time or another part of the fleet.
    fn path(&self, range: Range, site: &str, endpoint: &str) -> String {
        query("/fleet", &[("range", range.name()), ("site", site), ("endpoint", endpoint)])
    }

    /// The reports behind a bucket.
    fn reports(&self, from: i64, to: i64, series: Option<&Series>) -> String {
        let time = |seconds| Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default();
        let (site, endpoint) = match series {
            Some(series) => (shown(&series.site), shown(&series.endpoint)),
            None => (self.asked.site.trim(), self.asked.endpoint.trim()),
        };
        query("/reports", &[("from", &time(from)), ("to", &time(to)), ("site", site), ("endpoint", endpoint)])
    }

    fn form(&self) -> Markup {
        let (site, endpoint) = (self.asked.site.trim(), self.asked.endpoint.trim());
        html! {
            p class="ranges" role="group" aria-label="Time" {
                @for range in Range::ALL {
                    a href=(self.path(range, site, endpoint)) aria-current=[(range == self.range).then_some("true")] { (range.words()) }
                }
            }
            @if self.is_narrow() {
                p class="notice" {
                    "Only " @if !site.is_empty() { "site " b { (render::clean(site)) } " " } @if !endpoint.is_empty() { "endpoint " b { (render::clean(endpoint)) } " " }
                    "· " a href=(self.path(self.range, "", "")) { "the whole fleet" }
                }
            }
        }
    }

    fn sums(&self, fleet: &Fleet) -> Markup {
        let (now, before) = (&fleet.all, &fleet.all_before);
        let tile = |name: &str, now: Option<String>, before: Option<String>| {
            html! { div {
                dt { (name) }
                dd { (now.unwrap_or_else(|| "–".to_owned())) small { "before: " (before.unwrap_or_else(|| "–".to_owned())) } }
            } }
        };
        let trip = |figures: &Figures, quantile| figures.trip(quantile).map(ms);
        html! {
            dl class="tiles" {
                (tile("Reports", Some(count(now.reports())), Some(count(before.reports()))))
                (tile("With trouble", now.bad_share().map(percent), before.bad_share().map(percent)))
                (tile("Round trip, median", trip(now, Quantile::P50), trip(before, Quantile::P50)))
                (tile("Round trip, p95", trip(now, Quantile::P95), trip(before, Quantile::P95)))
                (tile("Round trip, p99", trip(now, Quantile::P99), trip(before, Quantile::P99)))
                (tile("Lost, sending", now.lost_up().map(percent), before.lost_up().map(percent)))
                (tile("Lost, receiving", now.lost_down().map(percent), before.lost_down().map(percent)))
            }
            p class="quiet" {
                "Percentiles are of all round trips together, to 1 %. With trouble: of the reports that tell good from bad. Before: the "
                (self.range.words()) " before these."
            }
        }
    }

    fn movers(&self, movers: &[Mover<'_>]) -> Markup {
        html! {
            h2 { "What got worse" }
            @if movers.is_empty() {
                p { "Nothing, beyond doubt, against the " (self.range.words()) " before." }
            } @else {
                ul class="movers" { @for mover in movers.iter().take(MOVERS) { li {
                    a href=(self.path(self.range, shown(&mover.series.site), shown(&mover.series.endpoint))) { (name(mover.series)) } ": "
                    @if mover.more_trouble {
                        b class="state blocked" { (share(mover.now)) " with trouble" } ", " (share(mover.before)) " before"
                    }
                    @if mover.more_trouble && mover.longer { "; " }
                    @if mover.longer {
                        "round trip p95 " b class="state blocked" { (p95(mover.now)) } ", " (p95(mover.before)) " before"
                    }
                } } }
                @if movers.len() > MOVERS { p class="quiet" { "And " (movers.len() - MOVERS) " more." } }
            }
        }
    }

    fn table(&self, fleet: &Fleet) -> Markup {
        let mut rows: Vec<_> = fleet.series.iter().filter(|(_, (now, _))| now.reports() > 0).collect();
        rows.sort_by_key(|(series, (now, _))| (std::cmp::Reverse(now.reports()), (*series).clone()));
        html! {
            h2 { "By site and endpoint" }
            table class="list fleet" {
                thead { tr {
                    th scope="col" { "Site and endpoint" } th scope="col" class="number" { "Reports" } th scope="col" { "Verdicts" }
                    th scope="col" class="number" { "Median" } th scope="col" class="number" { "p95" } th scope="col" class="number" { "p99" }
                    th scope="col" class="number" { "Lost, sending" } th scope="col" class="number" { "Lost, receiving" }
                } }
                tbody { @for (series, (now, _)) in rows.iter().take(ROWS) { tr {
                    th scope="row" {
                        a href=(self.path(self.range, shown(&series.site), shown(&series.endpoint))) { (site_name(&series.site)) }
                        small { (endpoint_name(&series.endpoint)) }
                    }
                    td class="number" data-name="Reports" { a href=(self.reports(self.start, self.end, Some(series))) { (count(now.reports())) } }
                    td data-name="Verdicts" { div { (plot::shares(&parts(now))) small { (verdict_words(now)) } } }
                    @for (label, quantile) in [("Median", Quantile::P50), ("p95", Quantile::P95), ("p99", Quantile::P99)] {
                        td class="number" data-name={ "Round trip, " (label) } { (or_dash(now.trip(quantile).map(ms))) }
                    }
                    td class="number" data-name="Lost, sending" { (or_dash(now.lost_up().map(percent))) }
                    td class="number" data-name="Lost, receiving" { (or_dash(now.lost_down().map(percent))) }
                } } }
            }
            @if rows.len() > ROWS { p class="quiet" { "The " (ROWS) " with the most reports, of " (rows.len()) "." } }
        }
    }

    fn plots(&self, fleet: &Fleet) -> Markup {
        let step = self.range.resolution().seconds();
        let empty = Figures::default();
        let buckets: Vec<i64> = (0..self.range.seconds() / step).map(|n| self.start + n * step).collect();
        let figures: Vec<&Figures> =
            buckets.iter().map(|bucket| fleet.over_time.get(bucket).unwrap_or(&empty)).collect();
        let slots: Vec<Slot> =
            buckets.iter().zip(&figures).map(|(bucket, figures)| self.slot(*bucket, figures)).collect();
        let line = |class, name, value: &dyn Fn(&Figures) -> Option<f64>| Line {
            class,
            name,
            values: figures.iter().map(|figures| value(figures)).collect(),
        };
        let trips =
            PERCENTILES.map(|(class, name, quantile)| line(class, name, &|figures| figures.trip(quantile)));
        let losses =
            [line("up", "sending", &Figures::lost_up), line("down", "receiving", &Figures::lost_down)];
        let bar = |class, name, n: &dyn Fn(&Figures) -> u64| {
            (class, name, figures.iter().map(|figures| n(figures)).collect::<Vec<_>>())
        };
        let verdicts = [
            bar("ready", "good", &|figures| figures.of("ready")),
            bar("degraded", "with trouble", &|figures| figures.of("degraded")),
            bar("blocked", "blocked", &|figures| figures.of("blocked")),
            bar("none", "cannot tell", &Figures::unsure),
        ];
        let table = self.bucket_table(&buckets, &figures);
        html! {
            h2 { "Over time" }
            (plot::bars("Reports", " How many, and what they said. A click on a time shows the reports behind it.", &slots, &verdicts, &table))
            (plot::lines("Round trip", " Percentiles of all round trips of that time together.", &slots, &trips, ms, 1.0, &table))
            // Never so fine that a few lost packets fill the plot.
            (plot::lines("Loss", " Share of packets lost each way.", &slots, &losses, percent, 0.02, &table))
        }
    }

    fn slot(&self, bucket: i64, figures: &Figures) -> Slot {
        let end = bucket + self.range.resolution().seconds();
        let trip = figures.trip(Quantile::P95).map_or_else(String::new, |p95| format!(", p95 {}", ms(p95)));
        Slot {
            name: utc(bucket, self.range.format()),
            title: format!(
                "{} UTC: {} reports, {} with trouble{trip}",
                utc(bucket, "%b %-d %H:%M"),
                figures.reports(),
                figures.bad()
            ),
            href: self.reports(bucket, end, None),
        }
    }

    /// What the plots draw, for every time that has reports.
    fn bucket_table(&self, buckets: &[i64], figures: &[&Figures]) -> Markup {
        let step = self.range.resolution().seconds();
        html! {
            table {
                thead { tr {
                    th scope="col" { "Begun (UTC)" } th scope="col" class="number" { "Reports" } th scope="col" class="number" { "Good" }
                    th scope="col" class="number" { "Trouble" } th scope="col" class="number" { "Blocked" } th scope="col" class="number" { "Unsure" }
                    th scope="col" class="number" { "Median" } th scope="col" class="number" { "p95" } th scope="col" class="number" { "p99" }
                    th scope="col" class="number" { "Lost up" } th scope="col" class="number" { "Lost down" }
                } }
                tbody { @for (bucket, found) in buckets.iter().zip(figures).filter(|(_, found)| found.reports() > 0) { tr {
                    th scope="row" class="when" { a href=(self.reports(*bucket, bucket + step, None)) { (utc(*bucket, "%Y-%m-%d %H:%M")) } }
                    @for n in [found.reports(), found.of("ready"), found.of("degraded"), found.of("blocked"), found.unsure()] {
                        td class="number" { (count(n)) }
                    }
                    @for quantile in [Quantile::P50, Quantile::P95, Quantile::P99] { td class="number" { (or_dash(found.trip(quantile).map(ms))) } }
                    @for lost in [found.lost_up(), found.lost_down()] { td class="number" { (or_dash(lost.map(percent))) } }
                } } }
            }
        }
    }

    fn heat(&self, hours: &Fleet, start: i64) -> Markup {
        let (day, hour) = (Resolution::Day.seconds(), Resolution::Hour.seconds());
        let days = (self.range.seconds().max(Range::Week.seconds())) / day;
        html! {
            h2 id="hours" { "By hour" }
            p { "Reports with trouble of those that tell, by day and hour (UTC). The darker, the greater the share; –: none that tells." }
            div class="scroll" tabindex="0" role="region" aria-labelledby="hours" {
                table class="heat" {
                    thead { tr { th scope="col" { "Day" } @for n in 0..24 { th scope="col" { (format!("{n:02}")) } } } }
                    tbody { @for n in (0..days).rev() { @let morning = start + n * day; tr {
                        th scope="row" { (utc(morning, "%a %b %-d")) }
                        @for at in (0..24).map(|n| morning + n * hour) {
                            @match hours.over_time.get(&at).filter(|found| found.reports() > 0) {
                                None => { td {} }
                                Some(found) => {
                                    td class=(heat_class(found)) { a href=(self.reports(at, at + hour, None)) { @if found.judged() == 0 { "–" } @else { (found.bad()) "/" (found.judged()) } } }
                                }
                            }
                        }
                    } } }
                }
            }
        }
    }
}

/// How a site or an endpoint is written in a link: none has its word.
fn shown(name: &str) -> &str {
    if name.is_empty() { WITHOUT } else { name }
}

fn site_name(site: &str) -> Markup {
    if site.is_empty() {
        html! { "no site" }
    } else {
        html! { (render::clean(site)) }
    }
}

fn endpoint_name(endpoint: &str) -> Markup {
    if endpoint.is_empty() {
        html! { "no endpoint" }
    } else {
        html! { (render::clean(endpoint)) }
    }
}

fn name(series: &Series) -> Markup {
    html! { (site_name(&series.site)) ", " (endpoint_name(&series.endpoint)) }
}

fn parts(figures: &Figures) -> [(&'static str, u64); 4] {
    [
        ("ready", figures.of("ready")),
        ("degraded", figures.of("degraded")),
        ("blocked", figures.of("blocked")),
        ("none", figures.unsure()),
    ]
}

fn verdict_words(figures: &Figures) -> String {
    let words = ["good", "with trouble", "blocked", "cannot tell"];
    let told = parts(figures).into_iter().zip(words).filter(|((_, n), _)| *n > 0);
    told.map(|((_, n), word)| format!("{} {word}", count(n))).collect::<Vec<_>>().join(", ")
}

fn share(figures: &Figures) -> String {
    figures.bad_share().map_or_else(|| "–".to_owned(), percent)
}

fn p95(figures: &Figures) -> String {
    figures.trip(Quantile::P95).map_or_else(|| "–".to_owned(), ms)
}

fn or_dash(value: Option<String>) -> Markup {
    match value {
        Some(value) => html! { (value) },
        None => html! { span class="quiet" { "–" } },
    }
}

fn heat_class(figures: &Figures) -> &'static str {
    match figures.bad_share() {
        None => "h-none",
        Some(share) if share <= 0.0 => "h0",
        Some(share) if share <= 0.1 => "h1",
        Some(share) if share <= 0.25 => "h2",
        Some(share) if share <= 0.5 => "h3",
        Some(_) => "h4",
    }
}

fn utc(seconds: i64, format: &str) -> String {
    Timestamp::from_second(seconds)
        .map(|time| time.to_zoned(TimeZone::UTC).strftime(format).to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_of_whole_buckets_and_now_is_in_the_last() {
        let now: Timestamp = "2026-11-22T14:03:11Z".parse().unwrap();
        for range in Range::ALL {
            let (start, end) = range.bounds(now);
            assert_eq!(end - start, range.seconds());
            assert!(start < now.as_second() && now.as_second() < end);
            assert_eq!(start.rem_euclid(range.resolution().seconds()), 0);
        }
        assert_eq!(utc(Range::Month.bounds(now).1, "%Y-%m-%d"), "2026-11-23");
    }

    #[test]
    fn no_share_is_not_a_good_share() {
        let mut figures = Figures::default();
        assert_eq!(heat_class(&figures), "h-none");
        figures.add("verdict:inconclusive", 3);
        assert_eq!(heat_class(&figures), "h-none");
        figures.add("verdict:ready", 9);
        assert_eq!(heat_class(&figures), "h0");
        figures.add("verdict:blocked", 1);
        assert_eq!(heat_class(&figures), "h1");
    }
}
