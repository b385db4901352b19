//! Tenants, for admins of the first one: whose data are kept apart from everybody else's.

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::account::{new_password, new_user};
use crate::app::AppState;
use crate::auth::link::public_id;
use crate::auth::visitor::{Visitor, forbidden};
use crate::ingest::read::is_plain;
use crate::pages::{self, Paged, Place, notice, text, time};
use crate::store::{Role, StoreError, Tenant};

/// Most characters of a tenant's name.
const NAME: usize = 64;

/// All tenants, and a form for one more.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor) -> Paged {
    if !visitor.makes_tenants() {
        return Ok(forbidden());
    }
    show(&state, &visitor, None).await
}

/// A tenant to be made, and its first admin.
#[derive(Deserialize)]
pub(crate) struct Added {
    tenant: String,
    name: String,
    password: String,
}

/// Makes a tenant.
pub(crate) async fn add(State(state): State<AppState>, visitor: Visitor, Form(form): Form<Added>) -> Paged {
    if !visitor.makes_tenants() {
        return Ok(forbidden());
    }
    let name = form.tenant.trim();
    if name.is_empty() || !is_plain(name, NAME) {
        return refused(&state, &visitor, &format!("A tenant's name has 1 to {NAME} characters.")).await;
    }
    // Its own tenant's number follows from the store.
    let admin = match new_user(&state, Tenant::FIRST, &form.name, form.password, Role::Admin).await {
        Ok(admin) => admin,
        Err(words) => return refused(&state, &visitor, &words).await,
    };
    let made = match state.store.make_tenant(name, &public_id(), &admin, state.clock.now()).await {
        Err(StoreError::Taken(what)) => {
            let words = if what == "that name" {
                "The admin's name is taken: names are unique over all tenants."
            } else {
                "There is a tenant of that name."
            };
            return refused(&state, &visitor, words).await;
        }
        made => made?,
    };
    visitor.audit(&state, "tenant.add", format!("{} ({name})", made.0)).await?;
    Ok(Redirect::to("/tenants").into_response())
}

async fn refused(state: &AppState, visitor: &Visitor, words: &str) -> Paged {
    let shown: Response = show(state, visitor, Some(words)).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, shown).into_response())
}

async fn show(state: &AppState, visitor: &Visitor, wrong: Option<&str>) -> Paged {
    let tenants = state.store.tenant_list().await?;
    let check_page = |code: &Option<String>| match code {
        Some(code) => format!("{}/check?tenant={code}", state.config.base_url),
        None => format!("{}/check", state.config.base_url),
    };
    let body = html! {
        h1 { "Tenants" }
        p { "Each tenant has its own people, keys, links, webhooks and reports, and sees nothing of the others. You see how many people a tenant has, and nothing of its reports." }
        @if let Some(words) = wrong { (notice(words, true)) }
        table class="list" {
            thead { tr { th { "Name" } th { "Number" } th { "Check page" } th { "Since" } th class="number" { "People" } } }
            tbody { @for info in &tenants { tr {
                th scope="row" { (text(Some(&info.name))) }
                td data-name="Number" { (info.tenant.0) }
                td data-name="Check page" class="address" {
                    @if info.tenant == Tenant::FIRST || info.code.is_some() {
                        @let place = check_page(&info.code);
                        a href=(place) { (place) }
                    } @else { "–" }
                }
                td class="when" data-name="Since" { @if info.tenant == Tenant::FIRST { "the beginning" } @else { (time(info.created)) } }
                td class="number" data-name="People" { (info.people) }
            } } }
        }
        h2 { "A new tenant" }
        form class="column" method="post" action="/tenants" {
            label { "Name" input name="tenant" maxlength=(NAME) placeholder="Example Ltd" autocomplete="off" required; }
            label { "Name of its first admin" input name="name" maxlength="64" autocomplete="off" required; }
            (new_password("Their first password", "password"))
            p class="quiet" { "Tell them by a way that you trust. They change it on the page of their account, and add their own people." }
            button class="main" { "Make" }
        }
    };
    Ok(pages::page(visitor, Place::Tenants, "Tenants", &body))
}
