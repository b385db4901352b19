//! The tests of `links.rs`, on PostgreSQL.

#[path = "links.rs"]
mod links;
