//! Figures sent to an OpenTelemetry collector, as `/metrics` tells them: OTLP over HTTP with protobuf (OTLP 1.x, `POST /v1/metrics`).

mod message;

use std::fmt;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use prost::Message as _;

use crate::app::AppState;
use crate::outbound::{Bounds, Outbound};
use crate::routes::metrics;
use crate::store::{StoreError, Tenant};

/// How often figures are sent, unless said otherwise.
pub const EVERY: Duration = Duration::from_secs(60);

/// How long the collector may take.
const TIME: Duration = Duration::from_secs(10);

/// Most octets that it may say.
const OCTETS: usize = 64 << 10;

/// Where figures are sent.
#[derive(Clone)]
pub struct OtlpConfig {
    /// The collector's address, such as `https://collector.example:4318/v1/metrics`.
    pub url: String,
    /// Headers that it asks for: a token, for example.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How often.
    pub every: Duration,
    /// Whether it may stand at a private address.
    pub allow_private: bool,
}

impl fmt::Debug for OtlpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpConfig").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Sends figures until stopped.
pub(crate) async fn run(state: AppState, outbound: Outbound, config: OtlpConfig) {
    // A failure is told once, not every minute.
    let mut failed = false;
    loop {
        let sent = tokio::select! {
            () = state.stop.cancelled() => return,
            sent = send(&state, &outbound, &config) => sent,
        };
        match sent {
            Ok(()) if failed => {
                tracing::info!("the collector takes figures again");
                failed = false;
            }
            Ok(()) => {}
            Err(why) => {
                if !failed {
                    tracing::warn!(why, "the collector did not take figures; it is tried again");
                }
                failed = true;
            }
        }
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(config.every) => {}
        }
    }
}

async fn send(state: &AppState, outbound: &Outbound, config: &OtlpConfig) -> Result<(), String> {
    let body = figures(state).await.map_err(|error| error.to_string())?.encode_to_vec();
    let mut headers = HeaderMap::from_iter(config.headers.iter().cloned());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    let bounds = Bounds { allow_private: config.allow_private, time: TIME, octets: OCTETS };
    let answer = outbound.ask(Method::POST, &config.url, headers, body, bounds).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("it answers {}", answer.status.as_u16()));
    }
    // It may take some figures and refuse others (a partial success).
    match message::Taken::decode(answer.body).ok().and_then(|taken| taken.partial_success) {
        Some(partial) if partial.rejected_data_points > 0 => Err(format!(
            "it refused {} figures: {}",
            partial.rejected_data_points,
            plain(&partial.error_message)
        )),
        _ => Ok(()),
    }
}

/// All that is told: each tenant's last hour, and this process.
async fn figures(state: &AppState) -> Result<message::Request, StoreError> {
    let (now, began) = (state.clock.now(), state.counters.began());
    let tenants = state.store.tenant_list().await?;
    let several = tenants.len() > 1;
    let mut resources = vec![message::resource(None, &metrics::process(state), began, now)];
    for info in tenants {
        let families = metrics::fleet(state, info.tenant).await?;
        let name = (several || info.tenant != Tenant::FIRST).then_some(info.name.as_str());
        resources.push(message::resource(name, &families, began, now));
    }
    Ok(message::Request { resource_metrics: resources })
}

fn plain(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(200).collect()
}
