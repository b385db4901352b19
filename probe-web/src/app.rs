//! The application: what its routes share, and all of them in one router.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::csrf::CsrfLayer;

use crate::api::{self, Listeners, News};
use crate::auth::secret::Secret;
use crate::auth::throttle::Throttle;
use crate::check::{self, Grants, Media};
use crate::clock::Clock;
use crate::ingest::recheck;
use crate::ingest::writer::Writer;
use crate::metrics::Counters;
use crate::pages;
use crate::problem::Problem;
use crate::routes;
use crate::store::{Store, StoreError};

/// How long the link that makes the first admin is good.
pub const BOOTSTRAP_LASTS: SignedDuration = SignedDuration::from_mins(15);

/// Reports read at once: each may take some ten times its size in memory while it is.
const READING: usize = 4;

/// How often what is personal is cleared.
const RETIRE_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// What a page may do: use this server's own style sheet and send forms to it. Live pages may run one script besides.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How others reach it, without a slash at the end: `https://greenroom.example`. Links begin so.
    pub base_url: String,
    /// Whether they reach it over HTTPS. Decides the cookie's name.
    pub secure: bool,
    /// Days until raw reports and what is personal are deleted.
    pub keep_days: u16,
}

/// What the routes share.
#[derive(Clone)]
pub struct AppState {
    /// Settings.
    pub config: Arc<Config>,
    /// What is kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
    /// The endpoint that the check page measures against.
    pub media: Option<Arc<Media>>,
    /// What lets a page measure, and hand in its result.
    pub grants: Arc<Grants>,
    pub(crate) writer: Writer,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) reading: Arc<Semaphore>,
    pub(crate) news: News,
    pub(crate) listeners: Listeners,
    pub(crate) stop: CancellationToken,
    tasks: TaskTracker,
}

impl AppState {
    /// Starts what goes on behind the routes: the writer, the second look at reports, the clearing of what is personal.
    pub fn start(config: Config, store: Arc<dyn Store>, clock: Clock) -> Self {
        let written = Arc::new(Notify::new());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let news = News::new();
        let writer = Writer::start(Arc::clone(&store), Arc::clone(&written), news.clone());
        tasks.spawn(recheck::run(Arc::clone(&store), written, stop.clone()));
        let state = Self {
            config: Arc::new(config),
            store,
            counters: Arc::new(Counters::new(clock.now())),
            clock,
            media: None,
            grants: Arc::new(Grants::start()),
            writer,
            throttle: Arc::default(),
            reading: Arc::new(Semaphore::new(READING)),
            news,
            listeners: Listeners::default(),
            stop,
            tasks,
        };
        state.tasks.spawn(retire_regularly(state.clone()));
        state
    }

    /// The same with an endpoint for the check page, which takes grants by the key of [`AppState::grants`].
    #[must_use]
    pub fn with_media(self, media: Media) -> Self {
        Self { media: Some(Arc::new(media)), ..self }
    }

    /// Ends what goes on behind the routes. What is acknowledged is durable already.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Where nobody can administrate yet, makes the one link that lets the first admin in, in place of the one before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn bootstrap(&self) -> Result<Option<String>, StoreError> {
        if self.store.has_admin().await? {
            return Ok(None);
        }
        let secret = Secret::mint();
        let expires = self.later(BOOTSTRAP_LASTS);
        self.store.set_bootstrap(&secret.hash(), expires).await?;
        Ok(Some(format!("{}/first/{}", self.config.base_url, secret.reveal())))
    }

    /// So long from now.
    pub(crate) fn later(&self, time: SignedDuration) -> Timestamp {
        self.clock.now().checked_add(time).unwrap_or(Timestamp::MAX)
    }
}

async fn retire_regularly(state: AppState) {
    loop {
        let now = state.clock.now();
        let kept = SignedDuration::from_hours(24 * i64::from(state.config.keep_days));
        if let Ok(before) = now.checked_sub(kept) {
            match state.store.retire(before, now).await {
                Ok(0) => {}
                Ok(cleared) => tracing::info!(cleared, "cleared what is personal in old reports"),
                Err(error) => tracing::error!(%error, "cannot clear what is personal in old reports"),
            }
        }
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(RETIRE_EVERY) => {}
        }
    }
}

/// Builds the web application.
pub fn app(state: AppState) -> Router {
    let for_browsers = Router::new()
        .route("/", get(routes::account::home))
        .route("/login", get(routes::account::login_page).post(routes::account::login))
        .route("/logout", post(routes::account::logout))
        .route("/first/{token}", get(routes::account::first_page).post(routes::account::first))
        .route("/account", get(routes::account::page).post(routes::account::change_password))
        .route("/reports", get(routes::reports::search))
        .route("/reports/{id}", get(routes::report::page))
        .route("/reports/{id}/compare/{other}", get(routes::beside::page))
        .route("/reports/{id}/json", get(routes::report::download))
        .route("/reports/{id}/notes", post(routes::report::add_note))
        .route("/reports/{id}/shares", post(routes::shares::add))
        .route("/shares/{id}/revoke", post(routes::shares::revoke))
        .route("/s/{token}", get(routes::shares::landing).post(routes::shares::show))
        .route("/fleet", get(routes::fleet::page))
        .route("/links", get(routes::links::page).post(routes::links::add))
        .route("/links/{id}/revoke", post(routes::links::revoke))
        .route("/c/{token}", get(routes::links::landing))
        .route("/users", get(routes::users::page).post(routes::users::add))
        .route("/users/{id}", post(routes::users::change))
        .route("/keys", get(routes::keys::page).post(routes::keys::add))
        .route("/keys/{id}/revoke", post(routes::keys::revoke))
        .route("/people", get(routes::people::page))
        .route("/people/export", post(routes::people::export))
        .route("/people/erase", post(routes::people::erase))
        .route("/audit", get(routes::audit::page))
        // A form of another site must not act here by somebody's session.
        .layer(CsrfLayer::new());
    Router::new()
        .merge(for_browsers)
        .merge(check::routes())
        .merge(api::routes())
        .route(pages::STYLE_PATH, get(pages::style))
        .route(pages::LIVE_PATH, get(pages::live))
        .fallback(pages::nowhere)
        .layer(middleware::from_fn_with_state(state.clone(), guard))
        .with_state(state)
}

/// Whether the process serves.
#[utoipa::path(
    get, path = "/healthz", tag = "process",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain"))
)]
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether reports can be read: for what starts and watches this process.
#[utoipa::path(
    get, path = "/readyz", tag = "process",
    responses(
        (status = 200, description = "They can", body = String, content_type = "text/plain"),
        (status = 503, description = "They cannot at this moment", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ready(State(state): State<AppState>) -> Response {
    match state.store.has_admin().await {
        Ok(_) => "ok\n".into_response(),
        Err(error) => Problem::from(error).into_response(),
    }
}

/// Headers that every answer has.
async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    state.counters.answer(response.status().as_u16());
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    // Nothing leaks to other sites. With `no-referrer` a browser would say `Origin: null` with a form, and over plain HTTP beyond
    // loopback, where it says nothing else of where a form is from, every one would be refused.
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("x-robots-tag"), "noindex, nofollow");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(header::CACHE_CONTROL, "no-store");
    if state.config.secure {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}
