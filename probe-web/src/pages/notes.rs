//! What stands above every page for a while: that its data are made up, that the store is away.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;
use maud::{Markup, html};

use crate::app::AppState;

/// Where a page's own content begins.
const MAIN: &str = "<main id=\"main\">";

/// Puts what there is to say above a page.
pub(crate) async fn above(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let away = state.bus.buffers() && state.away.is_set();
    let is_page =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !is_page || !(state.is_demo || away) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Pages are made in memory, and end.
    let Ok(body) = body.collect().await else { return Response::from_parts(parts, Body::empty()) };
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let note = html! {
        @if state.is_demo { (demo()) }
        @if away { (store_is_away()) }
    };
    parts.headers.remove(CONTENT_LENGTH);
    let text = text.replacen(MAIN, &format!("{MAIN}{}", note.into_string()), 1);
    Response::from_parts(parts, Body::from(text))
}

fn demo() -> Markup {
    html! {
        p class="notice" {
            strong { "Made-up data." }
            " This is a demonstration: no agent, site, provider or person on these pages exists, and all of it is gone when the server ends."
        }
    }
}

fn store_is_away() -> Markup {
    html! {
        p class="notice bad" role="alert" {
            "The database does not answer. Reports are still taken and wait; they show here once it is back. Until then nothing else can be done here."
        }
    }
}
