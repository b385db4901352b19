//! The dashboard and the pre-session check page, as one [`axum::Router`].

pub mod clock;
pub mod ingest;
pub mod problem;
pub mod rollup;
pub mod store;
#[cfg(test)]
mod testing;

use axum::Router;

/// Builds the web application.
///
/// It has no routes of its own yet: the binary merges the endpoint's health routes into it.
pub fn app() -> Router {
    Router::new()
}
