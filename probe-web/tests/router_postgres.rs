//! The tests of `router.rs`, on PostgreSQL.

#[path = "router.rs"]
mod router;
