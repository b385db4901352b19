//! Some of the tests of `gate`, on PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "house/mod.rs"]
mod house;
#[path = "../src/testing.rs"]
mod testing;

#[path = "gate/tenants.rs"]
mod tenants;
#[path = "gate/webhooks.rs"]
mod webhooks;
