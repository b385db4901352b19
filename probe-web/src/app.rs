//! The application: what its routes share, and all of them in one router.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::csrf::CsrfLayer;
use uuid::Uuid;

use crate::api::{self, Listeners, News};
use crate::auth::secret::Secret;
use crate::auth::throttle::Throttle;
use crate::bus::known::Known;
use crate::bus::{Away, Bus, InProcess};
use crate::check::nodes::{self, OtherMedia};
use crate::check::{self, EmbedOrigin, Grants, Media};
use crate::clock::Clock;
use crate::incidents::{self, Providers};
use crate::ingest::recheck;
use crate::ingest::writer::Writer;
use crate::limits::{self, Buckets, Limits, Network, Rate, Rates};
use crate::metrics::Counters;
#[cfg(feature = "oidc")]
use crate::oidc::Oidc;
use crate::outbound::Outbound;
use crate::pages;
use crate::problem::Problem;
use crate::routes;
use crate::store::{Store, StoreError};
use crate::webhooks::{Changes, Courier, Mailer};

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

/// How it meets others: whom it lets in by whom, what it asks, and how often it may be asked.
#[derive(Debug)]
pub struct Gate {
    /// Asks other servers.
    pub outbound: Outbound,
    /// Whether webhooks may go to private addresses.
    pub allow_private_webhooks: bool,
    /// Whether people may sign in with a password of this server's own.
    pub local_sign_in: bool,
    /// Sends mail, where a server for that is known.
    pub mail: Option<Mailer>,
    /// Who provides which addresses.
    pub providers: Providers,
    /// Proxies whose word on where a request is from is taken, besides those on this computer.
    pub trusted_proxies: Vec<Network>,
    /// How many requests may come.
    pub rates: Rates,
    /// The provider that people sign in by.
    #[cfg(feature = "oidc")]
    pub oidc: Option<Oidc>,
    /// Where figures are sent.
    #[cfg(feature = "otlp")]
    pub otlp: Option<crate::otlp::OtlpConfig>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            outbound: Outbound::system(),
            allow_private_webhooks: false,
            local_sign_in: true,
            mail: None,
            providers: Providers::default(),
            trusted_proxies: Vec::new(),
            rates: Rates::default(),
            #[cfg(feature = "oidc")]
            oidc: None,
            #[cfg(feature = "otlp")]
            otlp: None,
        }
    }
}

/// Agents whose asking is remembered.
const AGENTS_KNOWN: usize = 200_000;

/// How often this process lets agents ask. Who has not shown a bearer yet shares one allowance: an address says nothing of who it is.
#[derive(Debug)]
pub(crate) struct AgentLimits {
    pub(crate) enrollments: Buckets<()>,
    pub(crate) challenges: Buckets<()>,
    pub(crate) of_agents: Buckets<Uuid>,
}

impl Default for AgentLimits {
    fn default() -> Self {
        Self {
            enrollments: Buckets::new(Rate { burst: 100.0, per_second: 10.0 }, 1),
            challenges: Buckets::new(Rate { burst: 2_000.0, per_second: 1_000.0 }, 1),
            of_agents: Buckets::new(Rate { burst: 60.0, per_second: 2.0 }, AGENTS_KNOWN),
        }
    }
}

/// What the routes share. A clone is the same one: each request takes several.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What is in an [`AppState`].
#[derive(Clone)]
pub struct Shared {
    /// Settings.
    pub config: Arc<Config>,
    /// What is kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
    /// The endpoint that the check page measures against.
    pub media: Option<Arc<Media>>,
    /// The sites whose pages may use the check.
    pub embedders: Arc<[EmbedOrigin]>,
    /// What lets a page measure, and hand in its result.
    pub grants: Arc<Grants>,
    pub(crate) other_media: OtherMedia,
    pub(crate) writer: Writer,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) away: Away,
    pub(crate) known: Arc<Known>,
    pub(crate) is_demo: bool,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) agent_limits: Arc<AgentLimits>,
    pub(crate) challenge_key: Arc<OnceCell<[u8; 32]>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) reading: Arc<Semaphore>,
    pub(crate) news: News,
    pub(crate) listeners: Listeners,
    pub(crate) limits: Arc<Limits>,
    pub(crate) trusted_proxies: Arc<[Network]>,
    pub(crate) allow_private_webhooks: bool,
    pub(crate) wake_courier: Arc<Notify>,
    pub(crate) sends_mail: bool,
    pub(crate) providers: Arc<Providers>,
    pub(crate) local_sign_in: bool,
    #[cfg(feature = "oidc")]
    pub(crate) oidc: Option<Arc<Oidc>>,
    pub(crate) stop: CancellationToken,
    tasks: TaskTracker,
}

impl AppState {
    /// Starts what goes on behind the routes, with nobody outside to ask.
    pub fn start(config: Config, store: Arc<dyn Store>, clock: Clock) -> Self {
        Self::start_with(config, store, clock, Gate::default())
    }

    /// Starts what goes on behind the routes: the writer, the second look at reports, the clearing of what is personal, webhooks.
    pub fn start_with(config: Config, store: Arc<dyn Store>, clock: Clock, gate: Gate) -> Self {
        let written = Arc::new(Notify::new());
        let wake_courier = Arc::new(Notify::new());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let news = News::new();
        let writer = Writer::start(Arc::clone(&store), Arc::clone(&written), news.clone());
        let changes = Changes {
            base_url: config.base_url.clone(),
            clock: clock.clone(),
            wake: Arc::clone(&wake_courier),
        };
        tasks.spawn(recheck::run(Arc::clone(&store), changes, written, stop.clone()));
        let courier = Courier {
            store: Arc::clone(&store),
            outbound: gate.outbound.clone(),
            clock: clock.clone(),
            allow_private: gate.allow_private_webhooks,
            wake: Arc::clone(&wake_courier),
            mail: gate.mail.clone(),
        };
        tasks.spawn(courier.run(stop.clone()));
        let state = Self(Arc::new(Shared {
            config: Arc::new(config),
            store,
            counters: Arc::new(Counters::new(clock.now())),
            clock,
            media: None,
            embedders: Arc::new([]),
            grants: Arc::new(Grants::start()),
            other_media: OtherMedia::default(),
            bus: Arc::new(InProcess(writer.clone())),
            away: Away::default(),
            known: Arc::default(),
            is_demo: false,
            writer,
            throttle: Arc::default(),
            agent_limits: Arc::default(),
            challenge_key: Arc::default(),
            reading: Arc::new(Semaphore::new(READING)),
            news,
            listeners: Listeners::default(),
            limits: Arc::new(Limits::new(gate.rates)),
            trusted_proxies: gate.trusted_proxies.into(),
            allow_private_webhooks: gate.allow_private_webhooks,
            wake_courier,
            sends_mail: gate.mail.is_some(),
            providers: Arc::new(gate.providers),
            local_sign_in: gate.local_sign_in,
            #[cfg(feature = "oidc")]
            oidc: gate.oidc.map(Arc::new),
            stop,
            tasks,
        }));
        state.tasks.spawn(retire_regularly(state.clone()));
        state.tasks.spawn(incidents::run(state.clone(), state.stop.clone()));
        #[cfg(feature = "otlp")]
        if let Some(otlp) = gate.otlp {
            state.tasks.spawn(crate::otlp::run(state.clone(), gate.outbound, otlp));
        }
        state
    }

    /// The same with the key for run grants that the store keeps: what one node grants, another one takes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn with_kept_grants(self) -> Result<Self, StoreError> {
        let grants = Grants::kept(&*self.store, self.clock.now()).await?;
        Ok(self.with(|shared| shared.grants = Arc::new(grants)))
    }

    /// The same with reports that go through a stream, and wait there while the store is away.
    #[cfg(feature = "nats")]
    #[must_use]
    pub fn with_nats(self, nats: &crate::bus::nats::Nats) -> Self {
        let node = crate::bus::nats::Node {
            writer: self.writer.clone(),
            news: self.news.clone(),
            away: self.away.clone(),
            stop: self.stop.clone(),
        };
        let bus = nats.start(node, &self.tasks);
        self.tasks.spawn(self.away.clone().watch(Arc::clone(&self.store), self.stop.clone()));
        self.with(|shared| shared.bus = bus)
    }

    /// The same but for this change. What was started before goes on with the old one.
    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Whether its data are made up.
    pub fn is_demo(&self) -> bool {
        self.is_demo
    }

    /// Keeps a report that was made in this process.
    ///
    /// # Errors
    /// When it is not kept.
    pub async fn keep(
        &self,
        record: crate::store::Record,
    ) -> Result<crate::store::Outcome, crate::ingest::writer::WriteError> {
        self.bus.hand_over(record).await
    }

    /// The same whose pages say that their data are made up.
    #[must_use]
    pub fn as_demo(self) -> Self {
        self.with(|shared| shared.is_demo = true)
    }

    /// The same with an endpoint for the check page, which takes grants by the key of [`AppState::grants`].
    #[must_use]
    pub fn with_media(self, media: Media) -> Self {
        self.with(|shared| shared.media = Some(Arc::new(media)))
    }

    /// The same for pages of other sites, too. Without any, nobody else's page may use the check.
    #[must_use]
    pub fn with_embedders(self, embedders: Vec<EmbedOrigin>) -> Self {
        self.with(|shared| shared.embedders = embedders.into())
    }

    /// Has this node hear of others on the same store, and them of it: after [`AppState::with_media`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn meet_nodes(&self) -> Result<(), StoreError> {
        nodes::meet(self).await?;
        self.tasks.spawn(nodes::keep_meeting(self.clone()));
        Ok(())
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
        // Where passwords are not taken, the provider makes admins.
        if !self.local_sign_in || self.store.has_admin().await? {
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
        .route("/incidents", get(routes::incidents::page))
        .route("/incidents/{id}", get(routes::incidents::one))
        .route("/alerts", get(routes::alerts::page).post(routes::alerts::add))
        .route("/alerts/{id}", post(routes::alerts::change))
        .route("/alerts/silences", post(routes::alerts::silence))
        .route("/alerts/silences/{id}/end", post(routes::alerts::end_silence))
        .route("/links", get(routes::links::page).post(routes::links::add))
        .route("/links/{id}/revoke", post(routes::links::revoke))
        .route("/c/{token}", get(routes::links::landing))
        .route("/webhooks", get(routes::webhooks::page).post(routes::webhooks::add))
        .route("/webhooks/{id}", get(routes::webhooks::one).post(routes::webhooks::change))
        .route("/webhooks/{id}/messages/{message}", post(routes::webhooks::again))
        .route("/tenants", get(routes::tenants::page).post(routes::tenants::add))
        .route("/users", get(routes::users::page).post(routes::users::add))
        .route("/users/{id}", post(routes::users::change))
        .route("/users/{id}/password", post(routes::users::set_password))
        .route("/keys", get(routes::keys::page).post(routes::keys::add))
        .route("/keys/{id}/revoke", post(routes::keys::revoke))
        .route("/people", get(routes::people::page))
        .route("/people/export", post(routes::people::export))
        .route("/people/erase", post(routes::people::erase))
        .route("/agents", get(routes::agents::page))
        .route("/agents/tokens", post(routes::agents::add_token))
        .route("/agents/tokens/{id}/revoke", post(routes::agents::revoke_token))
        .route("/agents/{id}", get(routes::agent::page).post(routes::agent::act))
        .route("/schedules", get(routes::schedules::page).post(routes::schedules::add))
        .route("/schedules/{id}/remove", post(routes::schedules::remove))
        .route("/schedules/targets", post(routes::schedules::targets))
        .route("/schedules/pauses", post(routes::schedules::pause))
        .route("/schedules/pauses/{index}/remove", post(routes::schedules::resume))
        .route("/audit", get(routes::audit::page));
    #[cfg(feature = "oidc")]
    let for_browsers = for_browsers
        .route("/login/oidc", get(routes::oidc::begin))
        .route(routes::oidc::CALLBACK, get(routes::oidc::callback))
        .route("/login/oidc/out", get(routes::oidc::sign_out));
    let for_browsers = for_browsers
        // A form of another site must not act here by somebody's session.
        .layer(CsrfLayer::new());
    Router::new()
        .merge(for_browsers)
        .merge(check::routes())
        .merge(api::routes())
        .route(pages::STYLE_PATH, get(pages::style))
        .route(pages::LIVE_PATH, get(pages::live))
        .fallback(pages::nowhere)
        .layer(middleware::from_fn_with_state(state.clone(), check::cors))
        .layer(middleware::from_fn_with_state(state.clone(), limits::guard))
        .layer(middleware::from_fn_with_state(state.clone(), pages::notes::above))
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
        // Whoever sends has to be let through to where reports wait.
        Err(_) if state.bus.buffers() && state.bus.is_there() => {
            "ok: reports wait in the stream; the store is away\n".into_response()
        }
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
