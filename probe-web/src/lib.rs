//! The dashboard: reports kept, found and shown, as one [`axum::Router`].
//!
//! [`ingest`] lets reports in, [`store`] keeps them, [`pages`] and the routes show them to whom [`auth`] lets in. What a report says
//! and how it looks comes from `greenroom-reports` alone.

pub mod api;
pub mod app;
pub mod auth;
pub mod bus;
pub mod check;
pub mod clock;
pub mod completeness;
pub mod detect;
pub mod fleet;
mod gathering;
pub mod incidents;
pub mod ingest;
pub mod limits;
pub mod metrics;
#[cfg(feature = "oidc")]
pub mod oidc;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod outbound;
mod pages;
pub mod person;
pub mod problem;
pub mod rollup;
mod routes;
pub mod store;
#[cfg(test)]
mod testing;
pub mod transfer;
pub mod verify;
pub mod webhooks;

pub use app::{AppState, Config, Gate, app};
