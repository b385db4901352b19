//! What name servers and time servers tell.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AddressTried, Distribution, Estimate, Exact, RoundTrip, Value};
use crate::verdict::TargetFailure;

/// What name servers told of a name (RFC 1035).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsDetails {
    /// The name asked for.
    pub name: String,
    /// The name servers asked, in the order in which this computer asks them.
    pub servers: Vec<NameServer>,
    /// Whether all that answered gave the same. `not_tested` of one alone.
    pub agree: Value<Exact<bool>>,
    /// The record types in which they differ: not one record in common, or records against none.
    pub differ_in: Vec<String>,
}

/// One name server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameServer {
    /// Its address with its port.
    pub address: String,
    /// Why it could not be asked.
    pub failure: Option<TargetFailure>,
    /// Questions over UDP, each sent once, whatever their answers said.
    pub round_trip: RoundTrip,
    /// What it answered, by record type.
    pub answers: BTreeMap<String, DnsAnswer>,
    /// Whether it made up an address for a name that cannot exist.
    pub invents_names: Value<Exact<bool>>,
    /// Whether it says that it checked what it answers (AD, RFC 4035).
    pub says_it_validates: Value<Exact<bool>>,
    /// Answers from another address than the one asked; they do not count as answers.
    pub answers_from_elsewhere: u64,
    /// Datagrams of its that answered nothing that was asked: made up by somebody, late, or not DNS.
    pub stray_answers: u64,
}

/// What a name server answered of one record type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsAnswer {
    /// What became of the last question that was answered.
    pub outcome: DnsOutcome,
    /// How often which came.
    pub outcomes: BTreeMap<DnsOutcome, u64>,
    /// All records that came, sorted.
    pub records: Vec<String>,
    /// The names that the one asked for is an alias of.
    pub aliases: Vec<String>,
    /// How long the answer may be kept: the least that was told.
    pub ttl_s: Value<Exact<u32>>,
    /// The first answer's time: the server may have had to ask others.
    pub first_ms: Value<Exact<f64>>,
    /// The times of all answers.
    pub time_ms: Value<Distribution>,
    /// Whether the answer was too long for UDP.
    pub truncated: bool,
    /// How long it took over TCP, connecting included; `not_tested` where UDP carried it.
    pub over_tcp_ms: Value<Exact<f64>>,
}

/// What became of a question to a name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DnsOutcome {
    /// There are records.
    Records,
    /// The name is there, and has no records of this type.
    NoRecords,
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// Its aliases go in a circle.
    AliasLoop,
    /// The name server failed (SERVFAIL).
    ServerFailure,
    /// The name server does not serve this computer (REFUSED).
    Refused,
    /// Another error.
    OtherError,
    /// Nothing came back.
    NoAnswer,
}

/// What a time server told (RFC 5905).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NtpDetails {
    /// Questions and answers, the server's hold taken out.
    pub round_trip: RoundTrip,
    /// How far this computer's clock is from the server's: positive when it is behind. The interval is sure: half of the round trip each
    /// way around the answer that came fastest.
    pub offset_ms: Value<Estimate>,
    /// How many servers stand between it and a clock: 1 has its own.
    pub stratum: Value<Exact<u8>>,
    /// Whether it says that it is not in step itself (leap indicator 3).
    pub unsynchronized: Value<Exact<bool>>,
    /// The leap second that it announces: `none`, `insert`, `delete`.
    pub leap: Value<Exact<String>>,
    /// Where it has the time from: a kind of clock (`GPS`), or another server's address.
    pub reference: Value<Exact<String>>,
    /// The round trip from it to the clock at the root.
    pub root_delay_ms: Value<Exact<f64>>,
    /// By how much it may be wrong.
    pub root_dispersion_ms: Value<Exact<f64>>,
    /// Why it does not want to be asked (kiss code: `RATE`, `DENY`, `RSTR`); nothing more was asked then.
    pub kiss_code: Option<String>,
    /// Answers from another address than the one asked; they do not count as answers.
    pub answers_from_elsewhere: u64,
    /// Datagrams of its that answered nothing that was asked.
    pub stray_answers: u64,
    /// The addresses tried in vain before.
    pub tried: Vec<AddressTried>,
}
