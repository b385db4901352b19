//! What agents run, against what, and when not: for admins. A schedule names nothing but targets of the list.

use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use greenroom_reports::fleet::{Schedule, Suppression};
use greenroom_reports::schema::{Mode, Use};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::AppState;
use crate::auth::visitor::Visitor;
use crate::pages::{self, Failed, Paged, Place, notice, text, time};
use crate::store::{FleetPlan, Role};

/// Most targets of the list.
const MOST_TARGETS: usize = 200;

/// Most characters of a target.
const MAX_TEXT: usize = 256;

/// Hours that a pause may last; 0: until it is taken away.
const HOURS: [i64; 6] = [1, 4, 12, 24, 72, 0];

/// Words for uses, as the command line has them.
const USES: [(&str, Use); 5] = [
    ("audio", Use::Audio),
    ("360p", Use::Video360p),
    ("720p", Use::Video720p),
    ("1080p", Use::Video1080p),
    ("screen", Use::Screen),
];

/// A schedule to be made, as the form has it.
#[derive(Deserialize, Default, Clone)]
pub(crate) struct Wanted {
    #[serde(default)]
    id: String,
    #[serde(default)]
    targets: String,
    #[serde(default)]
    uses: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    every: String,
    #[serde(default)]
    start: String,
    #[serde(default)]
    until: String,
    #[serde(default)]
    max_runs: String,
    #[serde(default)]
    in_call: String,
    #[serde(default)]
    metered: String,
}

/// The list of targets, one a line, and how often agents ask.
#[derive(Deserialize)]
pub(crate) struct Targets {
    #[serde(default)]
    targets: String,
    #[serde(default)]
    check_in: String,
}

/// A time without runs to be made.
#[derive(Deserialize)]
pub(crate) struct Pause {
    #[serde(default)]
    schedule: String,
    #[serde(default)]
    hours: String,
}

/// All of it.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor) -> Paged {
    visitor.must(Role::manages)?;
    show(&state, &visitor, &Wanted::default(), &html! {}).await
}

/// Adds a schedule, or changes the one of its name.
pub(crate) async fn add(State(state): State<AppState>, visitor: Visitor, Form(form): Form<Wanted>) -> Paged {
    visitor.must(Role::manages)?;
    let mut plan = state.store.fleet_plan(visitor.tenant()).await?;
    let schedule = match form.read(&plan) {
        Ok(schedule) => schedule,
        Err(words) => return refused(&state, &visitor, &form, &words).await,
    };
    let subject = schedule.id.clone();
    plan.schedules.retain(|other| other.id != schedule.id);
    plan.schedules.push(schedule);
    change(&state, &visitor, &form, plan, "schedule.set", subject).await
}

/// Removes a schedule.
pub(crate) async fn remove(State(state): State<AppState>, visitor: Visitor, Path(id): Path<String>) -> Paged {
    visitor.must(Role::manages)?;
    let mut plan = state.store.fleet_plan(visitor.tenant()).await?;
    let before = plan.schedules.len();
    plan.schedules.retain(|schedule| schedule.id != id);
    if plan.schedules.len() == before {
        return Ok(pages::not_found());
    }
    change(&state, &visitor, &Wanted::default(), plan, "schedule.remove", id).await
}

/// Sets the list of targets.
pub(crate) async fn targets(
    State(state): State<AppState>,
    visitor: Visitor,
    Form(form): Form<Targets>,
) -> Paged {
    visitor.must(Role::manages)?;
    let mut plan = state.store.fleet_plan(visitor.tenant()).await?;
    let mut targets: Vec<String> = form.targets.split_whitespace().map(str::to_owned).collect();
    targets.sort();
    targets.dedup();
    let none = Wanted::default();
    if targets.len() > MOST_TARGETS {
        return refused(&state, &visitor, &none, &format!("At most {MOST_TARGETS} targets.")).await;
    }
    if let Some(wrong) = targets.iter().find(|target| !is_target(target)) {
        let words = format!(
            "{wrong:?} is no target: write it as for greenroom check, with no user and no secret in it."
        );
        return refused(&state, &visitor, &none, &words).await;
    }
    if !form.check_in.trim().is_empty() {
        let Some(seconds) = form.check_in.trim().parse().ok().filter(|seconds| (5..=3_600).contains(seconds))
        else {
            return refused(&state, &visitor, &none, "Agents ask every 5 to 3600 seconds.").await;
        };
        plan.check_in_s = seconds;
    }
    let subject = format!("{} targets", targets.len());
    plan.targets = targets;
    change(&state, &visitor, &none, plan, "fleet.targets", subject).await
}

/// Stops runs from now on, for a while.
pub(crate) async fn pause(State(state): State<AppState>, visitor: Visitor, Form(form): Form<Pause>) -> Paged {
    visitor.must(Role::manages)?;
    let mut plan = state.store.fleet_plan(visitor.tenant()).await?;
    let none = Wanted::default();
    let Some(hours) = form.hours.parse().ok().filter(|hours| HOURS.contains(hours)) else {
        return refused(&state, &visitor, &none, "Choose how long the pause lasts.").await;
    };
    let schedule = (!form.schedule.is_empty()).then_some(form.schedule);
    if schedule.as_ref().is_some_and(|id| plan.schedules.iter().all(|schedule| schedule.id != *id)) {
        return refused(&state, &visitor, &none, "There is no such schedule.").await;
    }
    let now = state.clock.now();
    plan.suppressions.retain(|pause| pause.until.is_none_or(|until| until > now));
    let until = (hours > 0).then(|| state.later(SignedDuration::from_hours(hours)));
    let subject = schedule.clone().unwrap_or_else(|| "all".to_owned());
    plan.suppressions.push(Suppression { from: now, until, schedule });
    change(&state, &visitor, &none, plan, "fleet.pause", subject).await
}

/// Ends a pause.
pub(crate) async fn resume(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(index): Path<usize>,
) -> Paged {
    visitor.must(Role::manages)?;
    let mut plan = state.store.fleet_plan(visitor.tenant()).await?;
    if index >= plan.suppressions.len() {
        return Ok(pages::not_found());
    }
    plan.suppressions.remove(index);
    change(&state, &visitor, &Wanted::default(), plan, "fleet.resume", index.to_string()).await
}

/// Keeps a plan, if it has no faults and nobody else changed it meanwhile.
async fn change(
    state: &AppState,
    visitor: &Visitor,
    form: &Wanted,
    plan: FleetPlan,
    action: &str,
    subject: String,
) -> Paged {
    if let Some(fault) = plan.told(None).faults().first() {
        return refused(state, visitor, form, &format!("{fault}.")).await;
    }
    if !state.store.set_fleet_plan(visitor.tenant(), &plan, state.clock.now()).await? {
        return refused(
            state,
            visitor,
            form,
            "Somebody else changed this at the same moment. Look, and try again.",
        )
        .await;
    }
    visitor.audit(state, action, subject).await?;
    Ok(Redirect::to("/schedules").into_response())
}

async fn refused(
    state: &AppState,
    visitor: &Visitor,
    form: &Wanted,
    words: &str,
) -> Result<Response, Failed> {
    let page = show(state, visitor, form, &notice(words, true)).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// A target as the command line takes it, without what would be a secret.
fn is_target(text: &str) -> bool {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest).split(['/', '?', '#']).next();
    text.len() <= MAX_TEXT
        && text.chars().all(|c| c.is_ascii_graphic())
        && !text.starts_with('-')
        && !authority.unwrap_or_default().contains('@')
}

impl Wanted {
    /// What is asked for, or what is wrong with it.
    fn read(&self, plan: &FleetPlan) -> Result<Schedule, String> {
        let targets: Vec<String> = self.targets.split_whitespace().map(str::to_owned).collect();
        if let Some(stranger) = targets.iter().find(|target| !plan.targets.contains(target)) {
            return Err(format!(
                "{stranger} is not among the targets that agents may measure. Add it to the list first."
            ));
        }
        let words = self.uses.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
        let uses: Result<Vec<Use>, String> = words
            .map(|word| {
                let known = USES.iter().find(|(name, _)| *name == word);
                known.map(|(_, known)| *known).ok_or_else(|| {
                    format!("{word:?} is no use: audio, 360p, 720p, 1080p, screen, with commas.")
                })
            })
            .collect();
        let number = |text: &str, what: &str| {
            text.trim().parse::<u32>().map_err(|_| format!("{what} is a whole number."))
        };
        let moment = |text: &str, what: &str| -> Result<Option<Timestamp>, String> {
            let text = text.trim();
            if text.is_empty() {
                return Ok(None);
            }
            // What a browser's field gives: 2026-11-22T14:00, here in UTC.
            let whole = if text.len() == 16 { format!("{text}:00Z") } else { text.to_owned() };
            whole.parse().map(Some).map_err(|_| format!("{what} is a time such as 2026-11-22T14:00, in UTC."))
        };
        let max_runs = match self.max_runs.trim() {
            "" => None,
            text => Some(number(text, "The number of runs")?),
        };
        Ok(Schedule {
            id: self.id.trim().to_owned(),
            targets,
            uses: uses?,
            mode: if self.mode == "deep" { Mode::Deep } else { Mode::Quick },
            every_s: number(&self.every, "How often, in seconds,")?,
            start: moment(&self.start, "The start")?,
            until: moment(&self.until, "The end")?,
            max_runs,
            in_call: self.in_call == "yes",
            metered: self.metered == "yes",
        })
    }
}

async fn show(
    state: &AppState,
    visitor: &Visitor,
    wanted: &Wanted,
    told: &Markup,
) -> Result<Response, Failed> {
    let plan = state.store.fleet_plan(visitor.tenant()).await?;
    let body = html! {
        h1 { "Schedules" }
        p { "What agents run. Each agent has its own place in the interval, so that they do not all come at once. A change reaches an agent with the answer to what it sends next." }
        (told)
        (schedules(&plan))
        (new_schedule(&plan, wanted))
        h2 { "Pauses" }
        (pauses(&plan, state.clock.now()))
        h2 { "Targets that agents may measure" }
        p { "Schedules name targets of this list and nothing else, so that nobody turns a fleet against a stranger. Taking one off the list stops its measurements." }
        form class="stack" method="post" action="/schedules/targets" {
            label { "One a line, as " code { "greenroom check" } " takes them" textarea name="targets" rows="6" { (plan.targets.join("\n")) } }
            label { "An agent with nothing to send asks every so many seconds" input type="number" name="check_in" value=(plan.check_in_s) min="5" max="3600"; }
            button class="main" { "Keep" }
        }
    };
    Ok(pages::page(visitor, Place::Schedules, "Schedules", &body))
}

fn schedules(plan: &FleetPlan) -> Markup {
    html! {
        @if plan.schedules.is_empty() {
            p class="empty" { "No schedule yet: agents wait. Put targets on the list below, then make one." }
        } @else {
            table class="list" {
                thead { tr { th { "Name" } th { "Targets" } th { "Judged for" } th { "Every" } th { "When" } th { "Also" } th { "" } } }
                tbody { @for schedule in &plan.schedules { tr {
                    th scope="row" { (schedule.id) }
                    td data-name="Targets" { (text(Some(&schedule.targets.join(" ")))) }
                    td data-name="Judged for" { (names(&schedule.uses)) @if schedule.mode == Mode::Deep { ", deep" } }
                    td data-name="Every" { (schedule.every_s) "\u{a0}s" }
                    td data-name="When" {
                        @if let Some(start) = schedule.start { "from " (time(start)) " " }
                        @if let Some(until) = schedule.until { "until " (time(until)) " " }
                        @if let Some(most) = schedule.max_runs { (most) " runs" }
                        @if schedule.start.is_none() && schedule.until.is_none() { "always" }
                    }
                    td data-name="Also" {
                        @match (schedule.in_call, schedule.metered) {
                            (true, true) => "during calls, on metered links",
                            (true, false) => "during calls",
                            (false, true) => "on metered links",
                            (false, false) => (text(None)),
                        }
                    }
                    td { form method="post" action={ "/schedules/" (schedule.id) "/remove" } {
                        button aria-label={ "Remove " (schedule.id) } { "Remove" }
                    } }
                } } }
            }
        }
    }
}

fn names(uses: &[Use]) -> String {
    let name = |wanted: &Use| USES.iter().find(|(_, known)| known == wanted).map_or("", |(name, _)| name);
    uses.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn new_schedule(plan: &FleetPlan, wanted: &Wanted) -> Markup {
    let or = |text: &str, usual: &str| if text.is_empty() { usual.to_owned() } else { text.to_owned() };
    let targets = or(&wanted.targets, plan.targets.first().map_or("", String::as_str));
    html! {
        form class="row" method="post" action="/schedules" {
            label { "Name" input name="id" value=(wanted.id) maxlength="64" pattern="[a-z0-9_\\-]+" placeholder="calls" autocomplete="off" required; }
            label { "Targets, of the list below" input name="targets" value=(targets) maxlength="2000" autocomplete="off" required; }
            label { "Judged for" input name="uses" value=(or(&wanted.uses, "audio,720p")) autocomplete="off" required; }
            label { "How" select name="mode" {
                option value="quick" { "quick" }
                option value="deep" selected[wanted.mode == "deep"] { "deep" }
            } }
            label { "Every so many seconds" input type="number" name="every" value=(or(&wanted.every, "300")) min="10" max="604800" required; }
            label { "From (UTC, may be empty)" input type="datetime-local" name="start" value=(wanted.start); }
            label { "Until (UTC, may be empty)" input type="datetime-local" name="until" value=(wanted.until); }
            label { "Runs (may be empty)" input type="number" name="max_runs" value=(wanted.max_runs) min="1"; }
            (yes_no("in_call", "Also while a call is active", &wanted.in_call))
            (yes_no("metered", "Also on metered links", &wanted.metered))
            button class="main" disabled[plan.targets.is_empty()] { "Make or change" }
        }
    }
}

fn yes_no(name: &str, words: &str, chosen: &str) -> Markup {
    html! { label { (words) select name=(name) {
        option value="no" { "no" }
        option value="yes" selected[chosen == "yes"] { "yes" }
    } } }
}

fn pauses(plan: &FleetPlan, now: Timestamp) -> Markup {
    html! {
        @for (index, pause) in plan.suppressions.iter().enumerate() {
            @if pause.until.is_none_or(|until| until > now) {
                form class="row" method="post" action={ "/schedules/pauses/" (index) "/remove" } {
                    p {
                        @match &pause.schedule { Some(id) => { "Schedule " (id) }, None => "All schedules" }
                        " paused since " (time(pause.from)) " (UTC)"
                        @if let Some(until) = pause.until { " until " (time(until)) }
                    }
                    button { "End this pause" }
                }
            }
        }
        form class="row" method="post" action="/schedules/pauses" {
            label { "Pause" select name="schedule" {
                option value="" { "all schedules" }
                @for schedule in &plan.schedules { option value=(schedule.id) { (schedule.id) } }
            } }
            label { "For" select name="hours" {
                @for hours in HOURS { option value=(hours) {
                    @if hours == 0 { "until it is ended" } @else { (hours) @if hours == 1 { " hour" } @else { " hours" } }
                } }
            } }
            button { "Pause" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_names_targets_of_the_list_alone() {
        let plan = FleetPlan { targets: vec!["greenroom://probe.example".into()], ..FleetPlan::default() };
        let good = Wanted {
            id: "calls".into(),
            targets: "greenroom://probe.example".into(),
            uses: "audio, 720p".into(),
            every: "300".into(),
            start: "2026-11-22T14:00".into(),
            ..Wanted::default()
        };
        let read = good.read(&plan).unwrap();
        assert_eq!(read.uses, [Use::Audio, Use::Video720p]);
        assert_eq!(read.start, "2026-11-22T14:00:00Z".parse().ok());
        for wrong in [
            Wanted { targets: "greenroom://victim.example".into(), ..good.clone() },
            Wanted { uses: "8k".into(), ..good.clone() },
            Wanted { every: "often".into(), ..good.clone() },
            Wanted { until: "soon".into(), ..good.clone() },
        ] {
            assert!(wrong.read(&plan).is_err());
        }
    }

    #[test]
    fn a_target_holds_no_secret_and_is_no_option() {
        for good in ["probe.example", "greenroom://[2001:db8::1]:7443#sha256=ab", "https://x.example/a@b"] {
            assert!(is_target(good), "{good}");
        }
        for bad in ["https://user:pw@x.example/", "greenroom://t@x.example", "--upload", "é"] {
            assert!(!is_target(bad), "{bad}");
        }
    }
}
