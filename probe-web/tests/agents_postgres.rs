//! The tests of `agents.rs`, on PostgreSQL.

#[path = "agents.rs"]
mod agents;
