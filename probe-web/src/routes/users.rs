//! Who may come in, for admins.

use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;
use serde::Deserialize;
use uuid::Uuid;

use super::account::{new_password, new_user, sentence};
use crate::app::AppState;
use crate::auth::password;
use crate::auth::visitor::Visitor;
use crate::pages::{self, Paged, Place, notice, text, time};
use crate::store::{Role, StoreError};

/// All users, and a form for one more.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor) -> Paged {
    visitor.must(Role::manages)?;
    show(&state, &visitor, None).await
}

/// A user to be added.
#[derive(Deserialize)]
pub(crate) struct Added {
    name: String,
    password: String,
    role: Role,
}

/// Adds a user.
pub(crate) async fn add(State(state): State<AppState>, visitor: Visitor, Form(form): Form<Added>) -> Paged {
    visitor.must(Role::manages)?;
    let new = match new_user(&state, visitor.tenant(), &form.name, form.password, form.role).await {
        Ok(new) => new,
        Err(words) => return refused(&state, &visitor, &words).await,
    };
    match state.store.add_user(&new).await {
        Err(StoreError::Taken(_)) => return refused(&state, &visitor, "That name is taken.").await,
        added => added?,
    }
    visitor.audit(&state, "user.add", format!("{} ({})", new.user.name, form.role.name())).await?;
    Ok(Redirect::to("/users").into_response())
}

/// What a user may do from now on; empty for nothing.
#[derive(Deserialize)]
pub(crate) struct Changed {
    role: String,
}

/// Changes what a user may do, which ends their sessions.
pub(crate) async fn change(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
    Form(form): Form<Changed>,
) -> Paged {
    visitor.must(Role::manages)?;
    // So that an admin is left.
    if id == visitor.user.id {
        return refused(&state, &visitor, "Another admin has to change your own role.").await;
    }
    let role = match form.role.as_str() {
        "" => None,
        name => match Role::from_name(name) {
            Some(role) => Some(role),
            None => return refused(&state, &visitor, "There is no such role.").await,
        },
    };
    if !state.store.set_role(visitor.tenant(), id, role).await? {
        return Ok(pages::not_found());
    }
    let named = role.map_or("shut out", Role::name);
    visitor.audit(&state, "user.role", format!("{id} ({named})")).await?;
    Ok(Redirect::to("/users").into_response())
}

/// A new password for somebody who forgot theirs.
#[derive(Deserialize)]
pub(crate) struct Forgotten {
    password: String,
}

/// Gives somebody a new password, which ends their sessions.
pub(crate) async fn set_password(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
    Form(form): Form<Forgotten>,
) -> Paged {
    visitor.must(Role::manages)?;
    if id == visitor.user.id {
        return refused(&state, &visitor, "Your own password is changed on the page of your account.").await;
    }
    let users = state.store.users(visitor.tenant()).await?;
    let Some(user) = users.iter().find(|user| user.id == id) else { return Ok(pages::not_found()) };
    if state.store.by_provider(visitor.tenant()).await?.contains(&id) {
        let words = "Who comes by the sign-in provider has no password here.";
        return refused(&state, &visitor, words).await;
    }
    let hash = match password::hash(form.password).await {
        Ok(hash) => hash,
        Err(error) => return refused(&state, &visitor, &sentence(&error.to_string())).await,
    };
    if !state.store.set_password(visitor.tenant(), id, &hash).await? {
        return Ok(pages::not_found());
    }
    visitor.audit(&state, "user.password", &user.name).await?;
    Ok(Redirect::to("/users").into_response())
}

async fn refused(state: &AppState, visitor: &Visitor, words: &str) -> Paged {
    let shown: Response = show(state, visitor, Some(words)).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, shown).into_response())
}

async fn show(state: &AppState, visitor: &Visitor, wrong: Option<&str>) -> Paged {
    let users = state.store.users(visitor.tenant()).await?;
    let by_provider = state.store.by_provider(visitor.tenant()).await?;
    let body = html! {
        h1 { "Users" }
        @if let Some(words) = wrong { (notice(words, true)) }
        table class="list" {
            thead { tr { th { "Name" } th { "Since" } th { "May" } } }
            tbody { @for user in &users { tr {
                th scope="row" {
                    (text(Some(&user.name)))
                    @if by_provider.contains(&user.id) { " " span class="quiet" { "(by the sign-in provider)" } }
                }
                td class="when" data-name="Since" { (time(user.created)) }
                td data-name="May" {
                    @if user.id == visitor.user.id { (visitor.role.words()) } @else {
                        form class="row" method="post" action={ "/users/" (user.id) } {
                            select name="role" aria-label={ "What " (user.name) " may do" } {
                                @for role in Role::ALL {
                                    option value=(role.name()) selected[user.role == Some(role)] { (role.words()) }
                                }
                                option value="" selected[user.role.is_none()] { "nothing: shut out" }
                            }
                            button { "Change" }
                        }
                        @if !by_provider.contains(&user.id) {
                            details {
                                summary { "New password" }
                                form class="column" method="post" action={ "/users/" (user.id) "/password" } {
                                    (new_password(&format!("New password of {}", user.name), "password"))
                                    p class="quiet" { "Their sessions end. Tell them by a way that you trust." }
                                    button { "Set" }
                                }
                            }
                        }
                    }
                }
            } } }
        }
        @if !by_provider.is_empty() {
            p class="quiet" { "Who comes by the sign-in provider gets the role that the provider's groups say, anew at each sign-in. Whom you shut out here stays out." }
        }
        h2 { "Add somebody" }
        form class="column" method="post" action="/users" {
            label { "Name" input name="name" maxlength="64" autocomplete="off" required; }
            label { "May" select name="role" {
                @for role in Role::ALL { option value=(role.name()) { (role.words()) } }
            } }
            (new_password("First password", "password"))
            p class="quiet" { "Tell them by a way that you trust. They change it on the page of their account." }
            button class="main" { "Add" }
        }
    };
    Ok(pages::page(visitor, Place::Users, "Users", &body))
}
