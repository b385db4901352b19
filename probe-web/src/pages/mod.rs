//! Pages: the frame around each, and what they have in common. Handlers stand in [`crate::routes`].

pub(crate) mod notes;
pub(crate) mod plot;

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use greenroom_reports::render::{self, html as report_html};
use greenroom_reports::schema::State as Verdict;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, html};

use crate::auth::visitor::Visitor;
use crate::problem::Problem;
use crate::store::StoreError;

/// Where the style sheet is. Its content changes with the version, and so does its query.
pub(crate) const STYLE_PATH: &str = "/assets/greenroom.css";

/// The reports' style and this application's own.
static STYLE: LazyLock<String> =
    LazyLock::new(|| format!("{}\n{}", report_html::STYLE, include_str!("../assets/app.css")));

/// Follows what comes in.
const LIVE: &str = include_str!("../assets/live.js");

/// Where that is.
pub(crate) const LIVE_PATH: &str = "/assets/live.js";

static STYLE_URL: LazyLock<String> = LazyLock::new(|| versioned(STYLE_PATH, &STYLE));
static LIVE_URL: LazyLock<String> = LazyLock::new(|| versioned(LIVE_PATH, LIVE));

/// An address with what its content is in it: a browser may keep it for good.
fn versioned(path: &str, content: &str) -> String {
    let hash = crate::auth::secret::hash(content).0;
    format!("{path}?{}", hash[..6].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// `GET` of the style sheet.
pub(crate) async fn style() -> Response {
    asset("text/css; charset=utf-8", &STYLE)
}

/// `GET` of the script of live pages.
pub(crate) async fn live() -> Response {
    asset("text/javascript; charset=utf-8", LIVE)
}

fn asset(kind: &'static str, content: &'static str) -> Response {
    let headers =
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, content).into_response()
}

/// What a page of somebody who came in is called, and where in the menu it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Reports,
    Fleet,
    Incidents,
    Alerts,
    Agents,
    Schedules,
    Links,
    Users,
    Keys,
    People,
    Webhooks,
    Tenants,
    Audit,
    Account,
}

/// A place, what it is called, where it is, and who may go there.
type MenuItem = (Place, &'static str, &'static str, fn(&Visitor) -> bool);

impl Place {
    const MENU: [MenuItem; 13] = [
        (Self::Reports, "Reports", "/reports", |_| true),
        (Self::Fleet, "Fleet", "/fleet", |_| true),
        (Self::Incidents, "Incidents", "/incidents", |_| true),
        (Self::Agents, "Agents", "/agents", |visitor| visitor.role.sees_personal()),
        (Self::Schedules, "Schedules", "/schedules", |visitor| visitor.role.manages()),
        (Self::Links, "Check links", "/links", |visitor| visitor.role.sees_personal()),
        (Self::Users, "Users", "/users", |visitor| visitor.role.manages()),
        (Self::Keys, "Keys", "/keys", |visitor| visitor.role.manages()),
        (Self::People, "People", "/people", |visitor| visitor.role.manages()),
        (Self::Alerts, "Alerts", "/alerts", |visitor| visitor.role.manages()),
        (Self::Webhooks, "Webhooks", "/webhooks", |visitor| visitor.role.manages()),
        (Self::Tenants, "Tenants", "/tenants", Visitor::makes_tenants),
        (Self::Audit, "Audit", "/audit", |visitor| visitor.role.manages()),
    ];
}

/// A page of somebody who came in.
pub(crate) fn page(visitor: &Visitor, place: Place, title: &str, body: &Markup) -> Response {
    frame(title, &menu(visitor, place), body, &html! {})
}

fn menu(visitor: &Visitor, place: Place) -> Markup {
    html! {
        nav aria-label="Main" {
            span class="brand" { "Greenroom" }
            @for (at, name, path, _) in Place::MENU.iter().filter(|(.., may)| may(visitor)) {
                a href=(path) aria-current=[(*at == place).then_some("page")] { (name) }
            }
            span class="who" {
                a href="/account" aria-current=[(place == Place::Account).then_some("page")] { (render::clean(&visitor.user.name)) }
                form method="post" action="/logout" { button class="plain" { "Sign out" } }
            }
        }
    }
}

/// What a live page may do besides: run this server's own script, which follows what comes in.
const LIVE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; connect-src 'self'; \
                           form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What a live page does when reports come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Live {
    /// Shows them at once, unless somebody is reading.
    AtOnce,
    /// Offers to show them.
    Asks,
}

/// A page of somebody who came in that follows what comes in meanwhile.
pub(crate) fn live_page(visitor: &Visitor, place: Place, title: &str, body: &Markup, live: Live) -> Response {
    let shows = if live == Live::AtOnce { "at once" } else { "when asked" };
    let below = html! {
        p id="live" role="status" data-shows=(shows) {}
        script type="module" src=(*LIVE_URL) {}
    };
    let mut response = frame(title, &menu(visitor, place), body, &below);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(LIVE_POLICY));
    response
}

/// A page of somebody who did not.
pub(crate) fn bare(title: &str, body: &Markup) -> Response {
    frame(title, &html! { nav { span class="brand" { "Greenroom" } } }, body, &html! {})
}

fn frame(title: &str, menu: &Markup, body: &Markup, below: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Greenroom" }
                link rel="stylesheet" href=(*STYLE_URL);
                link rel="icon" href="data:,";
            }
            body {
                a class="skip" href="#main" { "Skip to content" }
                (menu)
                main id="main" { (body) }
                (below)
            }
        }
    };
    Html(page.into_string()).into_response()
}

/// A page that says what went wrong, and what to do.
pub(crate) fn error_page(status: StatusCode, title: &str, words: &str) -> Response {
    let body = html! {
        h1 { (title) }
        p { (words) }
        p { a href="/" { "To the start" } }
    };
    (status, bare(title, &body)).into_response()
}

/// Nothing is there, or nothing for whoever asks.
pub(crate) fn not_found() -> Response {
    error_page(
        StatusCode::NOT_FOUND,
        "Nothing here",
        "There is nothing at this address, or it was deleted, or it belongs to somebody else.",
    )
}

/// Any other address.
pub(crate) async fn nowhere(headers: HeaderMap) -> Response {
    let wants_page = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if wants_page {
        not_found()
    } else {
        Problem::not_found("there is nothing at this address").into_response()
    }
}

/// The store failed.
pub(crate) fn store_failed(error: &StoreError) -> Response {
    tracing::error!(%error, "the store failed");
    let mut response = error_page(
        StatusCode::SERVICE_UNAVAILABLE,
        "Not available now",
        "What is stored cannot be read or written at the moment. The server's log says why. Try again in a minute.",
    );
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
    response
}

/// The process is about to end.
pub(crate) fn stopping() -> Response {
    error_page(
        StatusCode::SERVICE_UNAVAILABLE,
        "Stopping",
        "The server is about to stop. Try again in a minute.",
    )
}

/// A handler's failure, as a page.
pub(crate) struct Failed(Response);

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self(store_failed(&error))
    }
}

impl From<Response> for Failed {
    fn from(response: Response) -> Self {
        Self(response)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        self.0
    }
}

/// What a handler of a page gives.
pub(crate) type Paged = Result<Response, Failed>;

/// A path with a query.
pub(crate) fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A verdict's mark and word.
pub(crate) fn verdict(state: Verdict, certain: bool) -> Markup {
    html! {
        span class={ "state " (report_html::class(state)) } {
            span aria-hidden="true" { (render::mark(state)) " " } (render::verdict(state, certain))
        }
    }
}

/// A point in time, to the minute, in UTC.
pub(crate) fn time(at: Timestamp) -> Markup {
    let text = at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string();
    html! { time datetime=(at.to_string()) { (text) } }
}

/// Text that somebody else wrote, or a dash.
pub(crate) fn text(text: Option<&str>) -> Markup {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => html! { (render::clean(text)) },
        None => html! { span class="quiet" { "–" } },
    }
}

/// Something that was done, or could not be.
pub(crate) fn notice(words: &str, bad: bool) -> Markup {
    html! { p class={ "notice" @if bad { " bad" } } role=(if bad { "alert" } else { "status" }) { (words) } }
}

/// A secret that is shown once.
pub(crate) fn shown_once(what: &str, secret: &str) -> Markup {
    html! {
        div class="notice" role="status" {
            p { (what) " It is shown this once: copy it now." }
            p { code class="secret" { (secret) } }
        }
    }
}
