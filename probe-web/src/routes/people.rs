//! Everything that is kept on somebody, for admins: handed out, or erased.

use axum::body::Body;
use axum::extract::{Form, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use maud::{Markup, html};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::app::AppState;
use crate::auth::visitor::Visitor;
use crate::ingest::read::is_plain;
use crate::pages::{self, Paged, Place, notice};
use crate::person;
use crate::store::Role;

/// Most characters of a person's label.
const NAME: usize = 256;

/// Forms for both.
pub(crate) async fn page(visitor: Visitor) -> Paged {
    visitor.must(Role::manages)?;
    Ok(show(&visitor, "", &html! {}))
}

/// Whose.
#[derive(Deserialize)]
pub(crate) struct Asked {
    person: String,
}

/// Hands out everything as one file.
pub(crate) async fn export(
    State(state): State<AppState>,
    visitor: Visitor,
    Form(asked): Form<Asked>,
) -> Paged {
    visitor.must(Role::manages)?;
    let Some(name) = name(&asked.person) else { return Ok(refused(&visitor, &asked.person)) };
    visitor.audit(&state, "person.export", name.clone()).await?;
    let (out, pieces) = mpsc::channel(4);
    let (tenant, now) = (visitor.tenant(), state.clock.now());
    tokio::spawn(async move {
        if let Err(error) = person::export(&*state.store, tenant, &name, now, &out).await {
            tracing::error!(%error, "what is kept on somebody was not handed out to its end");
            // Who waits for it learns that it is not whole.
            let _ = out.send(Err(std::io::Error::other("it was broken off"))).await;
        }
    });
    let body = stream::unfold(pieces, |mut pieces| async { Some((pieces.recv().await?, pieces)) });
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"person.json\""),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// Whose, said twice.
#[derive(Deserialize)]
pub(crate) struct Erased {
    person: String,
    again: String,
}

/// Erases somebody from everything that is kept.
pub(crate) async fn erase(
    State(state): State<AppState>,
    visitor: Visitor,
    Form(asked): Form<Erased>,
) -> Paged {
    visitor.must(Role::manages)?;
    let Some(name) = name(&asked.person) else { return Ok(refused(&visitor, &asked.person)) };
    if asked.again.trim() != name {
        let words = "Nothing was erased: the two names are not the same.";
        return Ok(
            (StatusCode::UNPROCESSABLE_ENTITY, show(&visitor, &name, &notice(words, true))).into_response()
        );
    }
    // Who asked for it is written down before it is done; whose it was is not written down again.
    visitor.audit(&state, "person.erase", "begun").await?;
    let done = person::erase(&*state.store, visitor.tenant(), &name).await?;
    let told = format!(
        "{} reports, {} check links, {} entries of this log",
        done.reports, done.besides.links, done.besides.entries
    );
    visitor.audit(&state, "person.erase", told.clone()).await?;
    Ok(show(&visitor, "", &notice(&format!("Erased: {told}. Figures, verdicts and sums stay."), false)))
}

fn name(text: &str) -> Option<String> {
    let name = text.trim();
    (!name.is_empty() && is_plain(name, NAME)).then(|| name.to_owned())
}

fn refused(visitor: &Visitor, given: &str) -> Response {
    let words = format!("A person's name has 1 to {NAME} characters, as the reports have it.");
    (StatusCode::UNPROCESSABLE_ENTITY, show(visitor, given, &notice(&words, true))).into_response()
}

fn show(visitor: &Visitor, given: &str, told: &Markup) -> Response {
    let field = |label: &str, name: &str, value: &str| {
        html! { label { (label) input name=(name) value=(value) maxlength=(NAME) autocomplete="off" required; } }
    };
    let body = html! {
        h1 { "People" }
        p { "For somebody who asks what is kept on them, or wants it erased. Reports are found by their label " code { "person" } ", or that of their check link, exactly as it is." }
        (told)
        h2 { "Hand out" }
        p { "One file with every report of the person, its notes, their check links, and when somebody looked for them." }
        form class="row" method="post" action="/people/export" {
            (field("Person", "person", given))
            button { "Download" }
        }
        h2 { "Erase" }
        p {
            "From the person's reports goes whatever tells who and where they are: labels but the site, agent, addresses, names of devices, and all notes. "
            "Verdicts, figures, tickets and the fleet's sums stay. It cannot be undone. Copies of the store, exports, and files that were downloaded stay as they are."
        }
        form class="column" method="post" action="/people/erase" {
            (field("Person", "person", given))
            (field("The same once more", "again", ""))
            button { "Erase" }
        }
    };
    pages::page(visitor, Place::People, "People", &body)
}
