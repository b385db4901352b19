//! Check links: support makes one, a customer's checks land on its ticket.

use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::AppState;
use crate::auth::link::{self, NewCheckLink};
use crate::auth::visitor::Visitor;
use crate::ingest::read::is_plain;
use crate::pages::{self, Paged, Place, notice, query, shown_once, text, time};
use crate::store::{CheckLink, Role, Standing};

/// Links of a page.
const AT_ONCE: u32 = 100;

/// Most characters of a ticket, a person and what is to be checked.
const MAX_TEXT: usize = 256;

/// Days that a link may be good for, and which of them is proposed.
pub(super) const DAYS: [i64; 5] = [1, 3, 7, 14, 30];
pub(super) const USUAL_DAYS: i64 = 7;

/// Most checks of a link, and how many are proposed.
const MOST: u32 = 100;
const USUAL_MOST: &str = "5";

/// A link to be made, as the form has it.
#[derive(Deserialize, Default)]
pub(crate) struct Wanted {
    #[serde(default)]
    ticket: String,
    #[serde(default)]
    person: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    days: String,
    #[serde(default)]
    most: String,
}

/// All links, and a form for one more. A report's page fills ticket and person in.
pub(crate) async fn page(
    State(state): State<AppState>,
    visitor: Visitor,
    Query(wanted): Query<Wanted>,
) -> Paged {
    visitor.must(Role::sees_personal)?;
    show(&state, &visitor, &wanted, &html! {}).await
}

/// Makes a link and shows it, once.
pub(crate) async fn add(State(state): State<AppState>, visitor: Visitor, Form(form): Form<Wanted>) -> Paged {
    visitor.must(Role::sees_personal)?;
    let now = state.clock.now();
    let new = match form.read(&visitor.user.name, |days| state.later(days)) {
        Ok(new) => new,
        Err(words) => {
            let page = show(&state, &visitor, &form, &notice(&words, true)).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let (token, kept) = link::mint_check(visitor.tenant(), new, now);
    state.store.add_check_link(&kept).await?;
    visitor.audit(&state, "link.add", format!("{} ({})", kept.id, kept.ticket)).await?;
    let told = html! {
        (shown_once(&format!("The link for {}. Send it to whoever has the trouble.", kept.ticket), &address(&state, &token)))
    };
    show(&state, &visitor, &Wanted::default(), &told).await
}

/// Makes a link worthless.
pub(crate) async fn revoke(State(state): State<AppState>, visitor: Visitor, Path(id): Path<String>) -> Paged {
    visitor.must(Role::sees_personal)?;
    if !state.store.revoke_check_link(visitor.tenant(), &id, state.clock.now()).await? {
        return Ok(pages::not_found());
    }
    visitor.audit(&state, "link.revoke", id).await?;
    Ok(Redirect::to("/links").into_response())
}

/// What the customer sees: what to do, and nothing of the ticket. Programs that look at links in messages use nothing up.
pub(crate) async fn landing(State(state): State<AppState>, Path(token): Path<String>) -> Paged {
    let found = match link::hash(&token, link::CHECK) {
        Some(hash) => state.store.check_link(&hash).await?,
        None => None,
    };
    let standing = found.as_ref().map(|link| link.standing(state.clock.now()));
    Ok(match found.filter(|_| standing == Some(Standing::Good)) {
        Some(link) => instructions(&link, &token, &address(&state, &token)),
        None => not_good(standing),
    })
}

fn address(state: &AppState, token: &str) -> String {
    format!("{}/c/{token}", state.config.base_url)
}

impl Wanted {
    /// What is asked for, or what is wrong with it.
    fn read(
        &self,
        author: &str,
        later: impl Fn(SignedDuration) -> Timestamp,
    ) -> Result<NewCheckLink, String> {
        let (ticket, person, target) = (self.ticket.trim(), self.person.trim(), self.target.trim());
        if ticket.is_empty() || !is_plain(ticket, MAX_TEXT) {
            return Err(format!("A ticket has 1 to {MAX_TEXT} characters."));
        }
        if !is_plain(person, MAX_TEXT) {
            return Err(format!("A person's name has at most {MAX_TEXT} characters."));
        }
        if !is_target(target) {
            return Err("What to check is written as for greenroom check: probe.example, stun:stun.example."
                .to_owned());
        }
        let days = self.days.parse().ok().filter(|days| DAYS.contains(days));
        let days = days.ok_or("Choose how long the link is good.")?;
        let most = self.most.trim().parse().ok().filter(|most| (1..=MOST).contains(most));
        let most = most.ok_or_else(|| format!("A link lets in 1 to {MOST} checks."))?;
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(NewCheckLink {
            ticket: ticket.to_owned(),
            person: given(person),
            target: given(target),
            author: author.to_owned(),
            expires: later(SignedDuration::from_hours(24 * days)),
            most,
        })
    }
}

/// Whether a text may stand in a command that a customer copies into a shell: nothing that one obeys, and no option.
fn is_target(text: &str) -> bool {
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/' | '#' | '=' | '[' | ']' | '%')
    };
    text.len() <= MAX_TEXT && text.chars().all(plain) && !text.starts_with(['-', '#'])
}

fn instructions(link: &CheckLink, token: &str, address: &str) -> Response {
    let body = html! {
        h1 { "Check your connection" }
        p { "Whoever sent you this link wants to know why your calls are not good. A check takes half a minute and sends them what it found." }
        p { "Open this page on the device that has the trouble, in the place and network where it has it." }
        p { a class="button" href={ "/check#" (token) } { "Check in this browser" } }
        p class="quiet" { "It looks at your camera, microphone, speaker and connection, says what it sends before it begins, and needs nothing installed." }
        h2 { "Or look deeper, with greenroom installed" }
        ol class="steps" {
            li {
                p { "Open a terminal on the computer that has the trouble, in the place and network where it has it." }
            }
            @if let Some(target) = &link.target {
                li {
                    p { "Run this, which looks at the computer, its devices and the way to where your calls go:" }
                    pre tabindex="0" { "greenroom diagnose " (target) " --ticket " (address) }
                }
            } @else {
                li {
                    p { "Run this, with the name that you were told in place of HOST:" }
                    pre tabindex="0" { "greenroom diagnose HOST --ticket " (address) }
                }
                li {
                    p { "If you were told no name, run this, which looks at the computer and its devices:" }
                    pre tabindex="0" { "greenroom diagnose --ticket " (address) }
                }
            }
        }
        p { "No greenroom on that computer? Ask whoever sent you this link where to get it." }
        h2 { "What is sent then" }
        p {
            "Times and losses of test packets, which microphones, speakers and cameras there are and whether they work, how fast the computer is, \
             its system and its network. The names of your devices and whole addresses are hidden. No sound and no picture, nothing that you typed, \
             no file, and nothing of other programs. What is sent is also saved on your computer, so that you can look at it."
        }
        p { "Only those who support you see it. It is deleted after a time that they set; ask them to have it deleted at once." }
        p class="quiet" { "This link is good until " (time(link.expires)) " (UTC), for " (checks(link.most.saturating_sub(link.used))) "." }
    };
    let mut page = pages::bare("Check your connection", &body);
    page.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    page
}

fn not_good(standing: Option<Standing>) -> Response {
    let (status, why) = match standing {
        Some(Standing::UsedUp) => (StatusCode::GONE, "This link let in as many checks as it may."),
        Some(Standing::Expired) => (StatusCode::GONE, "The time of this link is over."),
        Some(Standing::Revoked) => (StatusCode::GONE, "Whoever sent this link took it back."),
        Some(Standing::Good) | None => {
            (StatusCode::NOT_FOUND, "This is not a link that was made here. Was all of it copied?")
        }
    };
    let body = html! {
        h1 { "This link does not work" }
        p { (why) }
        p { "Ask whoever sent it for a new one." }
    };
    (status, pages::bare("This link does not work", &body)).into_response()
}

fn checks(n: u32) -> String {
    if n == 1 { "one more check".to_owned() } else { format!("{n} more checks") }
}

/// What a link is good for, in a word.
pub(super) fn standing(standing: Standing) -> Markup {
    let (class, word) = match standing {
        Standing::Good => ("ready", "good"),
        Standing::UsedUp => ("none", "used up"),
        Standing::Expired => ("none", "expired"),
        Standing::Revoked => ("none", "revoked"),
    };
    html! { span class={ "state " (class) } { (word) } }
}

/// How long a link is to be good.
pub(super) fn days_field(chosen: &str) -> Markup {
    html! {
        label { "Good for" select name="days" {
            @for days in DAYS {
                option value=(days) selected[if chosen.is_empty() { days == USUAL_DAYS } else { chosen == days.to_string() }] {
                    (days) @if days == 1 { " day" } @else { " days" }
                }
            }
        } }
    }
}

async fn show(state: &AppState, visitor: &Visitor, wanted: &Wanted, told: &Markup) -> Paged {
    let links = state.store.check_links(visitor.tenant(), AT_ONCE).await?;
    let now = state.clock.now();
    let most = if wanted.most.is_empty() { USUAL_MOST } else { &wanted.most };
    let body = html! {
        h1 { "Check links" }
        p { "Somebody calls with trouble: send them a link. What they check with it lands on their ticket, without a key and without an account." }
        (told)
        form class="row" method="post" action="/links" {
            label { "Ticket" input name="ticket" value=(wanted.ticket) maxlength=(MAX_TEXT) autocomplete="off" required; }
            label { "Person (may be empty)" input name="person" value=(wanted.person) maxlength=(MAX_TEXT) autocomplete="off"; }
            label { "Endpoint to check (may be empty)" input name="target" value=(wanted.target) maxlength=(MAX_TEXT) autocomplete="off" placeholder="probe.example"; }
            (days_field(&wanted.days))
            label { "Checks" input type="number" name="most" value=(most) min="1" max=(MOST) required; }
            button class="main" { "Make a link" }
        }
        @if links.is_empty() {
            p class="empty" { "No link yet." }
        } @else {
            table class="list" {
                thead { tr { th { "Ticket" } th { "Person" } th { "Made by" } th { "Made (UTC)" } th { "Good until (UTC)" } th { "Checks" } th { "State" } } }
                tbody { @for link in &links { (row(link, now)) } }
            }
        }
    };
    Ok(pages::page(visitor, Place::Links, "Check links", &body))
}

fn row(link: &CheckLink, now: Timestamp) -> Markup {
    let good = link.standing(now);
    html! { tr {
        th scope="row" { a href=(query("/reports", &[("q", &link.ticket)])) { (text(Some(&link.ticket))) } }
        td data-name="Person" { (text(link.person.as_deref())) }
        td data-name="Made by" { (text(Some(&link.author))) }
        td class="when" data-name="Made (UTC)" { (time(link.created)) }
        td class="when" data-name="Good until (UTC)" { (time(link.expires)) }
        td data-name="Checks" { (link.used) " of " (link.most) }
        td data-name="State" {
            @if good == Standing::Good {
                form class="row" method="post" action={ "/links/" (link.id) "/revoke" } {
                    (standing(good)) button aria-label={ "Revoke the link for " (link.ticket) " of " (link.created) } { "Revoke" }
                }
            } @else { (standing(good)) }
        }
    } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_or_named() {
        let good =
            || Wanted { ticket: " T-1 ".into(), days: "7".into(), most: "5".into(), ..Wanted::default() };
        let read = |wanted: Wanted| wanted.read("ann", |_| Timestamp::UNIX_EPOCH);
        let new = read(good()).unwrap();
        assert_eq!((new.ticket.as_str(), new.person, new.most), ("T-1", None, 5));
        for wrong in [
            Wanted { ticket: " ".into(), ..good() },
            Wanted { ticket: "x".repeat(257), ..good() },
            Wanted { person: "a\u{7}".into(), ..good() },
            Wanted { days: "31".into(), ..good() },
            Wanted { most: "0".into(), ..good() },
            Wanted { most: "101".into(), ..good() },
            Wanted { target: "x; rm -rf ~".into(), ..good() },
        ] {
            assert!(read(wrong).is_err());
        }
    }

    #[test]
    fn a_target_is_nothing_that_a_shell_obeys() {
        for good in
            ["", "probe.example", "greenroom://[2001:db8::1]:7000#sha256=ab", "stun:stun.example:3478"]
        {
            assert!(is_target(good), "{good}");
        }
        for bad in ["$(id)", "`id`", "a b", "--upload", "a&b", "a|b", "#x", "a\"b", "a'b", "a>b", "a~b", "é"]
        {
            assert!(!is_target(bad), "{bad}");
        }
    }
}
