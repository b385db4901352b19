//! The dashboard: reports kept, found and shown, as one [`axum::Router`].
//!
//! [`ingest`] lets reports in, [`store`] keeps them, [`pages`] and the routes show them to whom [`auth`] lets in. What a report says
//! and how it looks comes from `greenroom-reports` alone.

pub mod api;
pub mod app;
pub mod auth;
pub mod check;
pub mod clock;
pub mod fleet;
pub mod ingest;
pub mod metrics;
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

pub use app::{AppState, Config, app};
