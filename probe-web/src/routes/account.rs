//! Coming in and going out: the first admin's link, signing in, one's own password.

use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::AppState;
use crate::auth::secret::{self, Secret};
use crate::auth::visitor::Visitor;
use crate::auth::{cookie, password};
use crate::clock::new_id;
use crate::ingest::read::is_plain;
use crate::pages::{self, Paged, Place, notice};
use crate::store::{AuditEntry, NewUser, Role, Session, StoreError, Tenant, User};

/// Most characters of a user's name.
const NAME: usize = 64;

/// The start: the reports, for who came in.
pub(crate) async fn home(_visitor: Visitor) -> Redirect {
    Redirect::to("/reports")
}

/// Where somebody wanted to go.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    pub(super) next: String,
    /// Not empty for who just signed out.
    #[serde(default)]
    out: String,
}

/// What somebody signs in with.
#[derive(Deserialize)]
pub(crate) struct Credentials {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// The form to sign in with.
pub(crate) async fn login_page(State(state): State<AppState>, Query(wanted): Query<Wanted>) -> Response {
    let told = (!wanted.out.is_empty()).then_some("You are signed out.");
    login_form(&state, &wanted.next, "", None, told)
}

/// Signs in.
pub(crate) async fn login(State(state): State<AppState>, Form(form): Form<Credentials>) -> Paged {
    let now = state.clock.now();
    let again = |status: StatusCode, words: &str| {
        (status, login_form(&state, &form.next, &form.name, Some(words), None)).into_response()
    };
    if !state.local_sign_in {
        return Ok(again(StatusCode::FORBIDDEN, "Nobody signs in with a password here."));
    }
    // What no user can be called is not remembered either.
    let possible = is_plain(&form.name, NAME);
    if possible && !state.throttle.may_try(&form.name, now) {
        return Ok(again(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many wrong passwords for this name. Wait a quarter of an hour, then try again.",
        ));
    }
    let found = if possible { state.store.user_by_name(&form.name).await? } else { None };
    let (user, hash) = found.map_or((None, None), |(user, hash)| (Some(user), Some(hash)));
    let right = password::verify(form.password.clone(), hash).await;
    match user.filter(|user| right && user.role.is_some()) {
        None => {
            if possible {
                state.throttle.failed(&form.name, now);
            }
            Ok(again(StatusCode::UNAUTHORIZED, "Name or password is wrong, or the account is shut out."))
        }
        Some(user) => {
            state.throttle.succeeded(&form.name);
            Ok(let_in(&state, &user, local(&form.next)).await?)
        }
    }
}

/// Signs out.
pub(crate) async fn logout(State(state): State<AppState>, headers: HeaderMap) -> Paged {
    if let Some(token) = cookie::get(&headers, state.config.secure) {
        state.store.end_session(&secret::hash(token)).await?;
    }
    Ok(([(header::SET_COOKIE, cookie::clear(state.config.secure))], Redirect::to("/login?out=1"))
        .into_response())
}

/// What the first admin is to be called.
#[derive(Deserialize)]
pub(crate) struct First {
    name: String,
    password: String,
}

/// The form behind the one-time link.
pub(crate) async fn first_page(State(state): State<AppState>, Path(token): Path<String>) -> Paged {
    if !state.store.bootstrap_is_good(&secret::hash(&token), state.clock.now()).await? {
        return Ok(spent());
    }
    Ok(first_form("", None))
}

/// Makes the first admin and lets them in.
pub(crate) async fn first(
    State(state): State<AppState>,
    Path(token): Path<String>,
    Form(form): Form<First>,
) -> Paged {
    let (token, now) = (secret::hash(&token), state.clock.now());
    if !state.local_sign_in {
        return Ok(spent());
    }
    // Before the password is hashed, which costs.
    if !state.store.bootstrap_is_good(&token, now).await? {
        return Ok(spent());
    }
    let admin = match new_user(&state, Tenant::FIRST, &form.name, form.password.clone(), Role::Admin).await {
        Ok(admin) => admin,
        Err(words) => {
            return Ok(
                (StatusCode::UNPROCESSABLE_ENTITY, first_form(&form.name, Some(&words))).into_response()
            );
        }
    };
    match state.store.use_bootstrap(&token, now, &admin).await {
        Ok(true) => Ok(let_in(&state, &admin.user, "/keys".to_owned()).await?),
        Ok(false) => Ok(spent()),
        Err(StoreError::Taken(_)) => {
            let form = first_form(&form.name, Some("That name is taken."));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, form).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// A new password, and the one before.
#[derive(Deserialize)]
pub(crate) struct Passwords {
    old: String,
    new: String,
}

/// One's own account.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor) -> Paged {
    let about = About::of(&state, &visitor).await?;
    Ok(account_page(&visitor, &about, None))
}

/// What stands on one's own page besides one's name.
struct About {
    by_provider: bool,
    tenant: String,
}

impl About {
    async fn of(state: &AppState, visitor: &Visitor) -> Result<Self, StoreError> {
        let by_provider = state.store.by_provider(visitor.tenant()).await?.contains(&visitor.user.id);
        let tenant =
            state.store.tenant_info(visitor.tenant()).await?.map(|info| info.name).unwrap_or_default();
        Ok(Self { by_provider, tenant })
    }
}

/// Changes one's own password, which ends all sessions but a new one.
pub(crate) async fn change_password(
    State(state): State<AppState>,
    visitor: Visitor,
    Form(form): Form<Passwords>,
) -> Paged {
    let name = &visitor.user.name;
    let about = About::of(&state, &visitor).await?;
    let refused = |status: StatusCode, words: &str| {
        (status, account_page(&visitor, &about, Some(words))).into_response()
    };
    if about.by_provider {
        return Ok(refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            "You have no password here: you sign in by a provider.",
        ));
    }
    if !state.throttle.may_try(name, state.clock.now()) {
        return Ok(refused(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many wrong passwords. Wait a quarter of an hour.",
        ));
    }
    let hash = state.store.user_by_name(name).await?.map(|(_, hash)| hash);
    if !password::verify(form.old, hash).await {
        state.throttle.failed(name, state.clock.now());
        return Ok(refused(StatusCode::UNPROCESSABLE_ENTITY, "The password until now is another one."));
    }
    match password::hash(form.new).await {
        Err(error) => Ok(refused(StatusCode::UNPROCESSABLE_ENTITY, &sentence(&error.to_string()))),
        Ok(hash) => {
            state.store.set_password(visitor.tenant(), visitor.user.id, &hash).await?;
            visitor.audit(&state, "password.change", name).await?;
            Ok(let_in(&state, &visitor.user, "/account".to_owned()).await?)
        }
    }
}

/// A user to be added, or why they cannot be.
pub(crate) async fn new_user(
    state: &AppState,
    tenant: Tenant,
    name: &str,
    password: String,
    role: Role,
) -> Result<NewUser, String> {
    let name = name.trim();
    if name.is_empty() || !is_plain(name, NAME) {
        return Err(format!("A name has 1 to {NAME} characters."));
    }
    let password_hash = password::hash(password).await.map_err(|error| sentence(&error.to_string()))?;
    let now = state.clock.now();
    let user = User { tenant, id: new_id(now), name: name.to_owned(), role: Some(role), created: now };
    Ok(NewUser { user, password_hash })
}

/// Begins a session and goes on.
pub(super) async fn let_in(state: &AppState, user: &User, next: String) -> Result<Response, StoreError> {
    let token = Secret::mint();
    let expires = state.later(cookie::LASTS);
    state
        .store
        .add_session(&Session { token: token.hash(), tenant: user.tenant, user: user.id, expires })
        .await?;
    let entry = AuditEntry {
        tenant: user.tenant,
        at: state.clock.now(),
        actor: user.name.clone(),
        action: "login".to_owned(),
        subject: String::new(),
    };
    state.store.audit(&entry).await?;
    let cookie: HeaderValue = cookie::set(&token, state.config.secure);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&next)).into_response())
}

/// Where to go on, if it is an address of this server's own: what a browser would read as another host is not.
pub(super) fn local(next: &str) -> String {
    let own = next.starts_with('/')
        && !next.starts_with("//")
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if own { next.to_owned() } else { "/".to_owned() }
}

/// Words of an error as a sentence.
pub(super) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect::<String>() + ".")
}

fn spent() -> Response {
    pages::error_page(
        StatusCode::GONE,
        "This link is spent",
        "It was used, replaced by a later one, or is older than a quarter of an hour. As long as there is no admin, greenroom serve \
         prints a new one at every start.",
    )
}

fn login_form(state: &AppState, next: &str, name: &str, wrong: Option<&str>, told: Option<&str>) -> Response {
    let body = html! {
        h1 { "Sign in" }
        @if let Some(words) = wrong { (notice(words, true)) }
        @if let Some(words) = told { (notice(words, false)) }
        (provider_button(state, next, told.is_some()))
        @if state.local_sign_in {
            form class="column" method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                label { "Name" input name="name" value=(name) autocomplete="username" required autofocus[wrong.is_none()]; }
                label { "Password" input type="password" name="password" autocomplete="current-password" required; }
                button class="main" { "Sign in" }
            }
        }
    };
    pages::bare("Sign in", &body)
}

/// The way to the sign-in provider, where there is one, and for who just signed out here the way to sign out there.
#[cfg(feature = "oidc")]
fn provider_button(state: &AppState, next: &str, is_out: bool) -> Markup {
    let Some(oidc) = &state.oidc else { return html! {} };
    html! {
        p { a class="button main" href=(pages::query("/login/oidc", &[("next", next)])) { "Sign in with " (oidc.name()) } }
        @if is_out { p { a href="/login/oidc/out" { "Sign out of " (oidc.name()) ", too" } } }
        @if state.local_sign_in { p class="quiet" { "Or with a password of this server:" } }
    }
}

#[cfg(not(feature = "oidc"))]
fn provider_button(_: &AppState, _: &str, _: bool) -> Markup {
    html! {}
}

fn first_form(name: &str, wrong: Option<&str>) -> Response {
    let body = html! {
        h1 { "The first admin" }
        p { "Choose how you sign in from now on. The link that brought you here is good once." }
        @if let Some(words) = wrong { (notice(words, true)) }
        form class="column" method="post" {
            label { "Name" input name="name" value=(name) autocomplete="username" maxlength=(NAME) required autofocus; }
            (new_password("Password", "password"))
            button class="main" { "Create and sign in" }
        }
    };
    pages::bare("The first admin", &body)
}

fn account_page(visitor: &Visitor, about: &About, wrong: Option<&str>) -> Response {
    let body = html! {
        h1 { "Your account" }
        p { (greenroom_reports::render::clean(&visitor.user.name)) ", " (visitor.role.words()) }
        @if visitor.tenant() != Tenant::FIRST { p { "Tenant: " (greenroom_reports::render::clean(&about.tenant)) } }
        @if let Some(words) = wrong { (notice(words, true)) }
        @if about.by_provider {
            p { "You sign in by a provider, which also says what you may do here." }
        } @else {
            h2 { "Change your password" }
            p class="quiet" { "Your sessions in other browsers end." }
            form class="column" method="post" {
                label { "Password until now" input type="password" name="old" autocomplete="current-password" required; }
                (new_password("New password", "new"))
                button class="main" { "Change" }
            }
        }
    };
    pages::page(visitor, Place::Account, "Your account", &body)
}

/// A field for a new password.
pub(crate) fn new_password(label: &str, name: &str) -> Markup {
    html! {
        label { (label) " (12 characters at least; four words do well)"
            input type="password" name=(name) autocomplete="new-password" minlength="12" maxlength="200" required;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_one_stays_on_this_server() {
        assert_eq!(local("/reports?q=a%20b"), "/reports?q=a%20b");
        for elsewhere in
            ["", "https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "/x\r\ny"]
        {
            assert_eq!(local(elsewhere), "/", "{elsewhere:?}");
        }
    }
}
