//! The tests of `fleet.rs`, on PostgreSQL.

#[path = "fleet.rs"]
mod fleet;
