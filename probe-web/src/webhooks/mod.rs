//! Telling other programs when a verdict changed: at least once, signed (Standard Webhooks), from messages that are kept until they are
//! taken.
//!
//! A report whose verdict is another one than that of the report before it in its series (the same agent, else person, else nobody in
//! particular; site and endpoint) becomes a message for each webhook of its tenant. Messages are made in the course of the second look at
//! reports ([`crate::ingest::recheck`]), which every report gets, also after a crash; a message's id follows from webhook and report, so
//! that looking twice makes none twice.

mod changes;
mod courier;
mod mail;
mod sign;

pub(crate) use changes::{Changes, trial};
pub(crate) use courier::Courier;
pub(crate) use mail::address;
pub use mail::{MailError, Mailer};
pub use sign::{shown, sign};
