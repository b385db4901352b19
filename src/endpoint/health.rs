//! Health and metrics, on a listener of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{StartError, Stats};
use crate::net::tcp;

/// `GET /healthz` and `GET /metrics` (Prometheus).
pub fn http(stats: Arc<Stats>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .with_state(stats)
}

/// Serves [`http`] on `address` until stopped and tells where.
pub(super) fn listen(
    address: SocketAddr,
    stats: Arc<Stats>,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> Result<SocketAddr, StartError> {
    let failed = |source| StartError::Health { address, source };
    let listener = tcp::listen(address).map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    tasks.spawn(async move {
        let serving = axum::serve(listener, http(stats)).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = serving.await {
            tracing::error!(%error, "health and metrics are no longer served");
        }
    });
    Ok(at)
}

async fn metrics(State(stats): State<Arc<Stats>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], stats.to_prometheus())
}
