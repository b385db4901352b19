//! The tests of `person.rs`, on PostgreSQL.

#[path = "person.rs"]
mod person;
