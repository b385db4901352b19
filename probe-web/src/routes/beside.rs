//! A report beside others: what the same person had before, and what others at the same site had at that time.

use std::sync::Arc;

use axum::extract::{Path, State};
use greenroom_reports::compare::{Comparison, Trend, compare};
use greenroom_reports::render::{self, comparison};
use greenroom_reports::schema::State as Verdict;
use jiff::SignedDuration;
use maud::{Markup, html};

use super::report::{as_seen, summary};
use crate::app::AppState;
use crate::auth::visitor::Visitor;
use crate::pages::{self, Failed, Paged, Place, query, text, time, verdict};
use crate::store::{Cursor, Filter, StoreError, Summary};

/// Earlier runs that are compared.
const EARLIER: u32 = 5;

/// Others that are looked at, and of them those listed.
const OTHERS: u32 = 200;
const LISTED: usize = 10;

/// How far from a report's beginning others may have begun.
const AROUND: SignedDuration = SignedDuration::from_mins(30);

/// Changes told in a row of a list.
const TOLD: usize = 4;

/// What is shown below a report.
pub(super) async fn part(state: &AppState, visitor: &Visitor, this: &Summary) -> Result<Markup, Failed> {
    let earlier = match visitor.role.sees_personal() {
        true => earlier(state, visitor, this).await?,
        false => None,
    };
    let others = match &this.site {
        Some(site) => Some((site, others(state, visitor, this, site).await?)),
        None => None,
    };
    Ok(html! {
        @if let Some((whose, runs)) = &earlier { (earlier_part(this, whose, runs)) }
        @if let Some((site, found)) = &others { (others_part(this, site, found)) }
    })
}

/// An earlier run, and what changed since, where both can still be read.
type Run = (Summary, Option<Comparison>);

/// The runs before this one of the same person, or else agent, or else ticket.
async fn earlier(
    state: &AppState,
    visitor: &Visitor,
    this: &Summary,
) -> Result<Option<(&'static str, Vec<Run>)>, Failed> {
    let (whose, filter) = if this.person.is_some() {
        ("this person", Filter { person: this.person.clone(), ..Filter::default() })
    } else if this.agent.is_some() {
        ("this agent", Filter { agent: this.agent.clone(), ..Filter::default() })
    } else if this.ticket.is_some() {
        ("this ticket", Filter { ticket: this.ticket.clone(), ..Filter::default() })
    } else {
        return Ok(None);
    };
    let found = state.store.list(visitor.tenant(), &filter, Some(Cursor::behind(this)), EARLIER).await?;
    let mut runs = Vec::with_capacity(found.len());
    for other in found {
        let changed = compared(state, visitor, &other, this).await?;
        runs.push((other, changed));
    }
    Ok(Some((whose, runs)))
}

/// What changed from one report to another. `None` when one of them is gone or cannot be shown.
async fn compared(
    state: &AppState,
    visitor: &Visitor,
    before: &Summary,
    after: &Summary,
) -> Result<Option<Comparison>, Failed> {
    let (tenant, personal) = (visitor.tenant(), visitor.role.sees_personal());
    let Some(old) = state.store.raw(tenant, before.id).await? else { return Ok(None) };
    let Some(new) = state.store.raw(tenant, after.id).await? else { return Ok(None) };
    let _turn =
        Arc::clone(&state.reading).acquire_owned().await.map_err(|_| Failed::from(pages::stopping()))?;
    let (before, after) = (before.clone(), after.clone());
    let work = tokio::task::spawn_blocking(move || {
        Some(compare(&as_seen(&old, &before, personal)?, &as_seen(&new, &after, personal)?))
    });
    Ok(work.await.ok().flatten())
}

/// Reports of others at the same site at about the same time.
async fn others(
    state: &AppState,
    visitor: &Visitor,
    this: &Summary,
    site: &str,
) -> Result<Vec<Summary>, StoreError> {
    let filter = Filter {
        site: Some(site.to_owned()),
        from: this.started.checked_sub(AROUND).ok(),
        to: this.started.checked_add(AROUND).ok(),
        ..Filter::default()
    };
    let found = state.store.list(visitor.tenant(), &filter, None, OTHERS).await?;
    let own = |other: &Summary| {
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        other.id == this.id || same(&other.person, &this.person) || same(&other.agent, &this.agent)
    };
    Ok(found.into_iter().filter(|other| !own(other)).map(|other| visitor.sees(other)).collect())
}

fn earlier_part(this: &Summary, whose: &str, runs: &[Run]) -> Markup {
    html! {
        h2 id="earlier" { "Before, of " (whose) }
        @if runs.is_empty() { p class="quiet" { "No earlier report." } } @else {
            table class="list" {
                thead { tr { th { "Code" } th { "Begun (UTC)" } th { "Verdict then" } th { "What changed since" } } }
                tbody { @for (run, changed) in runs { tr {
                    (first_cells(run))
                    td class="say" data-name="What changed since" {
                        @match changed {
                            Some(changed) => { (told(changed)) a href=(compare_path(this, run)) { "Compare" } }
                            None => { span class="quiet" { "deleted when its time was over" } }
                        }
                    }
                } } }
            }
        }
    }
}

fn others_part(this: &Summary, site: &str, others: &[Summary]) -> Markup {
    html! {
        h2 id="others" { "Others at " (render::clean(site)) " at that time" }
        p { (them_or_us(this.overall, others)) }
        @if !others.is_empty() {
            table class="list" {
                thead { tr { th { "Code" } th { "Begun (UTC)" } th { "Verdict" } th { "Endpoint" } th { span class="hidden" { "Beside this one" } } } }
                tbody { @for other in others.iter().take(LISTED) { tr {
                    (first_cells(other))
                    td data-name="Endpoint" { (text(other.endpoint.as_deref())) }
                    td data-name="" { a href=(compare_path(this, other)) aria-label={ "Compare with " (other.code) } { "Compare" } }
                } } }
            }
            @if others.len() > LISTED { p { a href=(all_of_them(this, site)) { "All of them" } } }
        }
    }
}

fn first_cells(run: &Summary) -> Markup {
    html! {
        th scope="row" { a class="code" href={ "/reports/" (run.id) } { (run.code) } }
        td class="when" data-name="Begun (UTC)" { (time(run.started)) }
        td class="say" data-name="Verdict" { (verdict(run.overall, run.certain)) small { (render::clean(&run.say)) } }
    }
}

fn compare_path(this: &Summary, other: &Summary) -> String {
    format!("/reports/{}/compare/{}", this.id, other.id)
}

fn all_of_them(this: &Summary, site: &str) -> String {
    let at =
        |time: Result<jiff::Timestamp, jiff::Error>| time.map(|time| time.to_string()).unwrap_or_default();
    let (from, to) = (at(this.started.checked_sub(AROUND)), at(this.started.checked_add(AROUND)));
    query("/reports", &[("site", site), ("from", &from), ("to", &to)])
}

/// Whether others had trouble too, and where to look first therefore.
fn them_or_us(this: Verdict, others: &[Summary]) -> String {
    let judged =
        |other: &&Summary| matches!(other.overall, Verdict::Ready | Verdict::Degraded | Verdict::Blocked);
    let n = others.iter().filter(judged).count();
    let bad = others.iter().filter(judged).filter(|other| other.overall != Verdict::Ready).count();
    let here = matches!(this, Verdict::Degraded | Verdict::Blocked);
    match (n, bad) {
        (0, _) => "Nobody else there sent a report within half an hour that tells good from bad.".to_owned(),
        (1, 0) => "The one other report from there was good.".to_owned(),
        (1, _) => "The one other report from there had trouble too.".to_owned(),
        _ if !here => format!("{bad} of {n} others had trouble."),
        (_, 0) => {
            format!("All {n} others were good: look at this computer and its place in the network first.")
        }
        _ if 4 * bad <= n => format!(
            "{bad} of {n} others had trouble: look at this computer and its place in the network first."
        ),
        _ if 2 * bad > n => {
            format!("{bad} of {n} others had trouble too: look at the site and its line first.")
        }
        _ => format!("{bad} of {n} others had trouble too: it may be the site, it may be this computer."),
    }
}

/// The most of what changed, in few words.
fn told(changed: &Comparison) -> Markup {
    let firm: Vec<_> = changed.figures.iter().filter(|change| change.trend != Trend::WithinDoubt).collect();
    let nothing = firm.is_empty() && changed.causes_new.is_empty() && changed.causes_gone.is_empty();
    html! {
        ul class="changes" {
            @for caveat in &changed.caveats { li class="quiet" { "careful: " (caveat) } }
            @for cause in changed.causes_new.iter().take(TOLD) { li { "new: " (render::clean(&cause.say)) } }
            @for cause in changed.causes_gone.iter().take(TOLD) { li { "gone: " (render::clean(&cause.say)) } }
            @for change in firm.iter().take(TOLD) { @let ([name, before, after], trend) = comparison::row(change);
                li { (name) ": " (before) " → " (after) ", " (trend) }
            }
            @if nothing { li { "nothing beyond doubt" } }
        }
    }
}

/// Two reports side by side.
pub(crate) async fn page(
    State(state): State<AppState>,
    visitor: Visitor,
    Path((this, other)): Path<(String, String)>,
) -> Paged {
    let (Some(this), Some(other)) =
        (summary(&state, &visitor, &this).await?, summary(&state, &visitor, &other).await?)
    else {
        return Ok(pages::not_found());
    };
    visitor.audit(&state, "report.compare", format!("{} {}", this.id, other.id)).await?;
    let (before, after) = if this.started < other.started { (&this, &other) } else { (&other, &this) };
    let changed = compared(&state, &visitor, before, after).await?;
    let body = html! {
        h1 { (before.code) " and " (after.code) }
        table class="list" {
            thead { tr { th { "Code" } th { "Begun (UTC)" } th { "Verdict" } th { "Site" } th { "Endpoint" } } }
            tbody { @for one in [before, after] { tr {
                (first_cells(one))
                td data-name="Site" { (text(one.site.as_deref())) }
                td data-name="Endpoint" { (text(one.endpoint.as_deref())) }
            } } }
        }
        @match &changed {
            Some(changed) => (whole(changed)),
            None => { p class="empty" { "One of them was deleted when its time was over, or cannot be shown to your role." } }
        }
    };
    Ok(pages::page(&visitor, Place::Reports, "Compare", &body))
}

fn whole(changed: &Comparison) -> Markup {
    html! {
        @for caveat in &changed.caveats { (pages::notice(&format!("Careful: {caveat}."), true)) }
        @for (title, causes) in [("New causes", &changed.causes_new), ("Gone causes", &changed.causes_gone)] {
            @if !causes.is_empty() {
                h2 { (title) }
                ul { @for cause in causes { li { (render::clean(&cause.say)) } } }
            }
        }
        h2 { "Figures" }
        @if changed.figures.is_empty() { p class="empty" { "There is no figure that both of them measured." } } @else {
            table class="list" {
                thead { tr { th { "Figure" } th class="number" { "Before" } th class="number" { "After" } th { "Which is" } } }
                tbody { @for change in &changed.figures { @let ([name, before, after], trend) = comparison::row(change); tr {
                    th scope="row" { (name) }
                    td class="number" data-name="Before" { (before) }
                    td class="number" data-name="After" { (after) }
                    td data-name="Which is" { span class=(trend_class(change.trend)) { (trend) } }
                } } }
            }
        }
    }
}

fn trend_class(trend: Trend) -> &'static str {
    match trend {
        Trend::Better => "state ready",
        Trend::Worse => "state blocked",
        Trend::WithinDoubt => "quiet",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::read::record;
    use crate::store::Tenant;
    use crate::testing;

    fn others(verdicts: &[Verdict]) -> Vec<Summary> {
        let made = |overall: &Verdict| {
            let mut report = testing::report(1);
            report.verdict.overall = *overall;
            record(Tenant::FIRST, &report, Vec::new(), testing::start()).unwrap().summary
        };
        verdicts.iter().map(made).collect()
    }

    #[test]
    fn where_to_look_follows_from_what_others_had() {
        use Verdict::{Blocked, Degraded, Inconclusive, Ready};
        let table: [(Verdict, &[Verdict], &str); 7] = [
            (Blocked, &[], "Nobody else"),
            (Blocked, &[Inconclusive], "Nobody else"),
            (Degraded, &[Ready, Ready, Ready], "All 3 others were good: look at this computer"),
            (Degraded, &[Ready, Ready, Ready, Blocked], "1 of 4 others had trouble: look at this computer"),
            (Degraded, &[Degraded, Blocked, Ready], "2 of 3 others had trouble too: look at the site"),
            (Degraded, &[Degraded, Blocked, Ready, Ready], "2 of 4 others had trouble too: it may be"),
            (Ready, &[Degraded, Blocked], "2 of 2 others had trouble."),
        ];
        for (this, verdicts, words) in table {
            let said = them_or_us(this, &others(verdicts));
            assert!(said.starts_with(words), "{said}");
        }
    }
}
