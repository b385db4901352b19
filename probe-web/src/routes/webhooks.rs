//! Webhooks, for admins: where changed verdicts are told, and what came of it.

use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use crate::app::AppState;
use crate::auth::link::public_id;
use crate::auth::visitor::Visitor;
use crate::ingest::read::is_plain;
use crate::outbound::check_url;
use crate::pages::{self, Paged, Place, notice, shown_once, text, time};
use crate::store::{Delivery, DeliveryState, Role, Webhook, WebhookKind, WebhookSecret};
use crate::webhooks::{address, shown, trial};

/// Most characters of a webhook's name.
const NAME: usize = 64;

/// Most webhooks of a tenant: each costs a message for each change.
const MOST: usize = 20;

/// Messages that its page shows.
const SHOWN: u32 = 100;

/// All webhooks, and a form for one more.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor) -> Paged {
    visitor.must(Role::manages)?;
    show_all(&state, &visitor, &html! {}).await
}

/// A webhook to be made.
#[derive(Deserialize)]
pub(crate) struct Added {
    name: String,
    url: String,
    #[serde(default)]
    personal: String,
    #[serde(default)]
    kind: String,
}

/// Makes a webhook and shows its secret, once.
pub(crate) async fn add(State(state): State<AppState>, visitor: Visitor, Form(form): Form<Added>) -> Paged {
    visitor.must(Role::manages)?;
    let (name, url) = (form.name.trim(), form.url.trim());
    let kind = WebhookKind::from_name(&form.kind).unwrap_or(WebhookKind::Verdicts);
    let wrong = match () {
        () if name.is_empty() || !is_plain(name, NAME) => {
            Some(format!("A webhook's name has 1 to {NAME} characters."))
        }
        () if state.store.webhooks(visitor.tenant()).await?.len() >= MOST => Some(format!(
            "There are {MOST} webhooks already, which is as many as there may be. Remove one first."
        )),
        () if kind == WebhookKind::Mail && !state.sends_mail => Some(
            "This server has no mail server to send by. Whoever runs it names one: greenroom serve --smtp."
                .to_owned(),
        ),
        () if kind == WebhookKind::Mail => address(url)
            .err()
            .map(|error| format!("The address cannot be used: {error}; write mailto:ann@example.org.")),
        () => check_url(url, state.allow_private_webhooks)
            .err()
            .map(|error| format!("The address cannot be used: {error}.")),
    };
    if let Some(words) = wrong {
        let page = show_all(&state, &visitor, &notice(&words, true)).await?;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    }
    let webhook = Webhook {
        tenant: visitor.tenant(),
        id: public_id(),
        name: name.to_owned(),
        url: url.to_owned(),
        secret: WebhookSecret::mint(),
        personal: !form.personal.is_empty(),
        kind,
        author: visitor.user.name.clone(),
        created: state.clock.now(),
        paused: None,
    };
    state.store.add_webhook(&webhook).await?;
    visitor.audit(&state, "webhook.add", format!("{} ({name})", webhook.id)).await?;
    let told = match kind.is_signed() {
        true => secret_told("The secret of the new webhook.", &webhook.secret),
        false => notice("Made. Its page sends a trial.", false),
    };
    show_all(&state, &visitor, &told).await
}

/// One webhook and its latest messages.
pub(crate) async fn one(State(state): State<AppState>, visitor: Visitor, Path(id): Path<String>) -> Paged {
    visitor.must(Role::manages)?;
    show_one(&state, &visitor, &id, &html! {}).await
}

/// What is done with a webhook.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(rename = "do")]
    what: String,
}

/// Pauses a webhook, has it go on, tries it, gives it another secret, or removes it.
pub(crate) async fn change(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
    Form(form): Form<Wanted>,
) -> Paged {
    visitor.must(Role::manages)?;
    let (tenant, now) = (visitor.tenant(), state.clock.now());
    let Some(webhook) = state.store.webhook(tenant, &id).await? else { return Ok(pages::not_found()) };
    match form.what.as_str() {
        "pause" => drop(state.store.pause_webhook(tenant, &id, Some(now)).await?),
        "resume" => drop(state.store.pause_webhook(tenant, &id, None).await?),
        "try" => state.store.enqueue(&[trial(&webhook, &state.config.base_url, now)]).await?,
        "remove" => drop(state.store.remove_webhook(tenant, &id).await?),
        "secret" => {
            let secret = WebhookSecret::mint();
            state.store.set_webhook_secret(tenant, &id, &secret).await?;
            visitor.audit(&state, "webhook.secret", id.clone()).await?;
            let told = secret_told("The new secret; the one before is worthless now.", &secret);
            return show_one(&state, &visitor, &id, &told).await;
        }
        _ => return Ok(pages::not_found()),
    }
    visitor.audit(&state, &format!("webhook.{}", form.what), id.clone()).await?;
    state.wake_courier.notify_one();
    let next = if form.what == "remove" { "/webhooks".to_owned() } else { format!("/webhooks/{id}") };
    Ok(Redirect::to(&next).into_response())
}

/// Has a message sent again.
pub(crate) async fn again(
    State(state): State<AppState>,
    visitor: Visitor,
    Path((id, message)): Path<(String, Uuid)>,
) -> Paged {
    visitor.must(Role::manages)?;
    if !state.store.send_again(visitor.tenant(), &id, message, state.clock.now()).await? {
        return Ok(pages::not_found());
    }
    visitor.audit(&state, "webhook.again", format!("{id} {message}")).await?;
    state.wake_courier.notify_one();
    Ok(Redirect::to(&format!("/webhooks/{id}")).into_response())
}

fn secret_told(what: &str, secret: &WebhookSecret) -> Markup {
    html! {
        (shown_once(what, &shown(secret)))
        p { "The receiver checks with it that a message is from here, by the rules of " em { "Standard Webhooks" } ", for which there are libraries." }
    }
}

async fn show_all(state: &AppState, visitor: &Visitor, told: &Markup) -> Paged {
    let webhooks = state.store.webhooks(visitor.tenant()).await?;
    let body = html! {
        h1 { "Webhooks" }
        p { "A webhook tells a program of yours when a verdict changed: when a report of an agent, a person or a site came out otherwise than the one before it, against the same endpoint; or of alerts, as the rules on the page " a href="/alerts" { "Alerts" } " say." }
        (told)
        @if webhooks.is_empty() {
            p class="empty" { "No webhook yet. Make one below, and your program is told of changed verdicts or of alerts." }
        } @else {
            table class="list" {
                thead { tr { th { "Name" } th { "Address" } th { "Tells" } th { "Since" } th { "State" } } }
                tbody { @for webhook in &webhooks { tr {
                    th scope="row" { a href={ "/webhooks/" (webhook.id) } { (text(Some(&webhook.name))) } }
                    td data-name="Address" class="address" { (text(Some(&webhook.url))) }
                    td data-name="Tells" { (tells(webhook)) }
                    td class="when" data-name="Since" { (time(webhook.created)) }
                    td data-name="State" { (standing(webhook)) }
                } } }
            }
        }
        h2 { "A new webhook" }
        form class="column" method="post" action="/webhooks" {
            label { "Name" input name="name" maxlength=(NAME) placeholder="on-call in Lyon" autocomplete="off" required; }
            label { "Address" input type="url" name="url" maxlength="2048" placeholder="https://hooks.example/greenroom" autocomplete="off" required; }
            label { "What it is told" select name="kind" { @for kind in WebhookKind::ALL { option value=(kind.name()) { (kind.words()) } } } }
            p class="quiet" { "For Alertmanager the address ends in " code { "/api/v2/alerts" } "; for mail it is " code { "mailto:ann@example.org" } "." }
            label class="check" { input type="checkbox" name="personal" value="yes"; "With the person, the agent and the verdict's words" }
            button class="main" { "Make" }
        }
    };
    Ok(pages::page(visitor, Place::Webhooks, "Webhooks", &body))
}

async fn show_one(state: &AppState, visitor: &Visitor, id: &str, told: &Markup) -> Paged {
    let Some(webhook) = state.store.webhook(visitor.tenant(), id).await? else {
        return Ok(pages::not_found());
    };
    let messages = state.store.deliveries(visitor.tenant(), id, SHOWN).await?;
    let act = |what: &str, words: &str| html! { button name="do" value=(what) { (words) } };
    let body = html! {
        h1 { (text(Some(&webhook.name))) }
        (told)
        dl class="about" {
            div { dt { "Address" } dd class="address" { (text(Some(&webhook.url))) } }
            div { dt { "Tells" } dd { (tells(&webhook)) } }
            div { dt { "Made by" } dd { (text(Some(&webhook.author))) ", " (time(webhook.created)) } }
            div { dt { "State" } dd { (standing(&webhook)) } }
        }
        form class="row" method="post" action={ "/webhooks/" (webhook.id) } {
            (act("try", "Send a trial"))
            @match webhook.paused { Some(_) => (act("resume", "Go on")), None => (act("pause", "Pause")) }
            @if webhook.kind.is_signed() { (act("secret", "New secret")) }
            (act("remove", "Remove"))
        }
        h2 { "Messages" }
        p class="quiet" { "Sent until the receiver answers with 2xx: at once, and where it does not, nine times more within about three days. One that comes twice has the same " code { "webhook-id" } "." }
        @if messages.is_empty() {
            p class="empty" { "No message yet. One is made when a verdict changes; a trial shows whether the receiver takes one." }
        } @else {
            table class="list" {
                thead { tr { th { "When (UTC)" } th { "What" } th { "State" } th { "Last answer" } th { "Times sent" } th { "" } } }
                tbody { @for message in &messages { (row(&webhook, message)) } }
            }
        }
        p { a href="/webhooks" { "All webhooks" } }
    };
    Ok(pages::page(visitor, Place::Webhooks, "Webhook", &body))
}

fn row(webhook: &Webhook, message: &Delivery) -> Markup {
    html! {
        tr {
            th scope="row" class="when" { (time(message.created)) }
            td data-name="What" {
                @match message.report {
                    Some(report) => a href={ "/reports/" (report) } { (message.what) },
                    None => (message.what),
                }
            }
            td data-name="State" {
                @match message.state {
                    DeliveryState::Delivered => "delivered",
                    DeliveryState::GivenUp => "given up",
                    DeliveryState::Waiting if webhook.paused.is_some() => "waits: paused",
                    DeliveryState::Waiting if message.tries == 0 => "about to be sent",
                    DeliveryState::Waiting => { "again at " (time(message.due)) }
                }
            }
            td data-name="Last answer" { (text(message.answer.as_deref())) }
            td data-name="Times sent" { (message.tries) }
            td {
                @if message.state != DeliveryState::Waiting {
                    form method="post" action={ "/webhooks/" (webhook.id) "/messages/" (message.id) } {
                        button aria-label={ "Send " (message.what) " again" } { "Send again" }
                    }
                }
            }
        }
    }
}

fn tells(webhook: &Webhook) -> String {
    let personal = if webhook.personal { "with personal data" } else { "without personal data" };
    format!("{}; {personal}", webhook.kind.words())
}

fn standing(webhook: &Webhook) -> Markup {
    html! { @match webhook.paused { Some(at) => { "paused " (time(at)) }, None => "in use" } }
}
