//! Keys that computers send reports with, for admins.

use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect};
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::AppState;
use crate::auth::key;
use crate::auth::visitor::Visitor;
use crate::ingest::read::is_plain;
use crate::pages::{self, Paged, Place, notice, shown_once, text, time};
use crate::store::{KeyUse, Role, from_name, name_of};

/// Most characters of a key's name.
const NAME: usize = 64;

/// All keys, and a form for one more.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor) -> Paged {
    visitor.must(Role::manages)?;
    show(&state, &visitor, &html! {}).await
}

/// A key to be made.
#[derive(Deserialize)]
pub(crate) struct Added {
    name: String,
    #[serde(default)]
    good_for: String,
}

/// Makes a key and shows it, once.
pub(crate) async fn add(State(state): State<AppState>, visitor: Visitor, Form(form): Form<Added>) -> Paged {
    visitor.must(Role::manages)?;
    let name = form.name.trim();
    if name.is_empty() || !is_plain(name, NAME) {
        let words = format!("A key's name has 1 to {NAME} characters.");
        let page = show(&state, &visitor, &notice(&words, true)).await?;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    }
    let good_for = from_name(&form.good_for).unwrap_or(KeyUse::Send);
    let (shown, kept) = key::mint(visitor.tenant(), name.to_owned(), good_for, state.clock.now());
    state.store.add_key(&kept).await?;
    visitor.audit(&state, "key.add", format!("{} ({name})", kept.id)).await?;
    let told = html! {
        (shown_once("The new key.", &shown))
        @match good_for {
            KeyUse::Send => {
                p { "Put it into a file that only its user can read, and name the file:" }
                pre { "greenroom check HOST --upload " (state.config.base_url) " --key-file FILE" }
            }
            KeyUse::Metrics => {
                p { "Put it into a file that only Prometheus can read, and name the file in its configuration:" }
                pre { "authorization: { credentials_file: FILE }" }
            }
            KeyUse::Read | KeyUse::ReadPersonal => {
                p { "Put it into a file that only its user can read. It is sent with each request:" }
                pre { "curl -H \"Authorization: Bearer $(cat FILE)\" " (state.config.base_url) "/api/v1/reports?limit=5" }
            }
        }
    };
    show(&state, &visitor, &told).await
}

/// Makes a key worthless.
pub(crate) async fn revoke(State(state): State<AppState>, visitor: Visitor, Path(id): Path<String>) -> Paged {
    visitor.must(Role::manages)?;
    if !state.store.revoke_key(visitor.tenant(), &id, state.clock.now()).await? {
        return Ok(pages::not_found());
    }
    visitor.audit(&state, "key.revoke", id).await?;
    Ok(Redirect::to("/keys").into_response())
}

async fn show(state: &AppState, visitor: &Visitor, told: &Markup) -> Paged {
    let keys = state.store.keys(visitor.tenant()).await?;
    let body = html! {
        h1 { "Keys" }
        p { "A key lets computers send their reports here, lets Prometheus read " code { "/metrics" } ", or lets programs read reports through the " a href="/api/v1/openapi.json" { "API" } ": one of these, and nothing else." }
        (told)
        @if keys.is_empty() {
            p class="empty" { "No key yet. Make one below, and computers can send their reports." }
        } @else {
            table class="list" {
                thead { tr { th { "Name" } th { "Good to" } th { "Begins with" } th { "Since" } th { "State" } } }
                tbody { @for key in &keys { tr {
                    th scope="row" { (text(Some(&key.name))) }
                    td data-name="Good to" { (key.good_for.words()) }
                    td data-name="Begins with" { code { "gr_" (key.id) } }
                    td class="when" data-name="Since" { (time(key.created)) }
                    td data-name="State" {
                        @match key.revoked {
                            Some(at) => { "revoked " (time(at)) }
                            None => {
                                form method="post" action={ "/keys/" (key.id) "/revoke" } {
                                    button aria-label={ "Revoke " (key.name) } { "Revoke" }
                                }
                            }
                        }
                    }
                } } }
            }
        }
        form class="row" method="post" action="/keys" {
            label { "Name of a new key" input name="name" maxlength=(NAME) placeholder="laptops in Lyon" autocomplete="off" required; }
            label { "Good to" select name="good_for" {
                @for good_for in KeyUse::ALL { option value=(name_of(&good_for)) { (good_for.words()) } }
            } }
            button class="main" { "Make" }
        }
    };
    Ok(pages::page(visitor, Place::Keys, "Keys", &body))
}
