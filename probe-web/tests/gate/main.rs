//! How the server meets others: a provider that people sign in by, webhooks, a collector of figures, other nodes, tenants, limits.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../house/mod.rs"]
mod house;
#[path = "../../src/testing.rs"]
mod testing;

mod limits;
mod nodes;
#[cfg(feature = "oidc")]
mod oidc;
#[cfg(feature = "otlp")]
mod otlp;
mod store;
mod tenants;
mod webhooks;
