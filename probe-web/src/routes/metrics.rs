//! `GET /metrics` for Prometheus, with a key that an admin made for that.
//!
//! A key is asked for on every address. A proxy on this computer also comes from loopback, so that where a request comes from says
//! nothing of who asks.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use jiff::SignedDuration;

use crate::api::refusals::NoStore;
use crate::app::AppState;
use crate::auth::key;
use crate::completeness::{completeness_of, families};
use crate::detect::Scope;
use crate::gathering;
use crate::metrics::{Family, Kind, Number, of_fleet, of_process, resident, text};
use crate::problem::Problem;
use crate::store::{KeyUse, Resolution, RollupQuery, StoreError, Tenant};

/// How far back roll-ups are told.
const BACK: SignedDuration = SignedDuration::from_hours(1);

/// The last hour of the key's tenant, and for the first tenant this process, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "process", security(("metrics_key" = [])),
    responses(
        (status = 200, description = "Prometheus' text format 0.0.4", body = String, content_type = "text/plain"),
        (status = 401, description = "No good key", body = Problem, content_type = "application/problem+json"),
        NoStore,
    )
)]
pub(crate) async fn page(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, Problem> {
    let key = key::of_program(&*state.store, &headers, &[KeyUse::Metrics]).await?;
    let mut families = fleet(&state, key.tenant).await?;
    // What the whole process does is for who runs it.
    if key.tenant == Tenant::FIRST {
        families.extend(process(&state));
        families.extend(bus(&state).await);
    }
    let told = text(&families);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], told).into_response())
}

/// The last hour of a tenant.
pub(crate) async fn fleet(state: &AppState, tenant: Tenant) -> Result<Vec<Family>, StoreError> {
    let to = state.later(SignedDuration::from_secs(1));
    let from = to.checked_sub(BACK).unwrap_or(to);
    let query = RollupQuery { resolution: Resolution::FiveMinutes, from, to, site: None, endpoint: None };
    let mut told = of_fleet(&gathering::fleet(&state.store, tenant, &query, from.as_second()).await?);
    told.push(open_incidents(state, tenant).await?);
    told.extend(families(&completeness_of(&*state.store, tenant, state.clock.now()).await?));
    Ok(told)
}

/// Incidents that are open, by what those that got worse have in common.
async fn open_incidents(state: &AppState, tenant: Tenant) -> Result<Family, StoreError> {
    let mut open = Family::new("greenroom_incidents_open", Kind::Gauge, "Incidents that are open, by scope.");
    let found = state.store.incidents(tenant, true, None, 10_000).await?;
    for kind in Scope::KINDS {
        let count = found.iter().filter(|incident| incident.told.scope.kind() == kind).count();
        open.add(vec![("scope", kind.to_owned())], Number::Whole(u64::try_from(count).unwrap_or(u64::MAX)));
    }
    Ok(open)
}

/// What waits in the stream, where there is one.
async fn bus(state: &AppState) -> Option<Family> {
    let waiting = state.bus.waiting().await?;
    let mut family = Family::new(
        "greenroom_bus_waiting_reports",
        Kind::Gauge,
        "Reports in the stream that the store does not have yet.",
    );
    family.add(Vec::new(), Number::Whole(waiting));
    Some(family)
}

/// What this process did.
pub(crate) fn process(state: &AppState) -> Vec<Family> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    of_process(&state.counters, resident(&status))
}
