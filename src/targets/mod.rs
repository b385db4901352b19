//! The kinds of endpoint that can be measured, one file per kind.

mod asking;
pub mod capacity;
pub mod dns;
mod fetch;
mod find;
pub mod gateway;
pub mod greenroom;
pub mod https;
pub mod icmp;
pub mod ntp;
mod proxy;
pub mod quic;
mod redirect;
mod repeat;
mod security;
pub mod service;
pub mod stamp;
pub mod stun;
pub mod tcp;
pub mod tls;
pub mod wss;

use greenroom_reports::assess::TargetMeta;
use greenroom_reports::schema::{Details, Identity, Reached, Security};
use greenroom_reports::trace::Trace;
use greenroom_reports::units::DataSize;
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use crate::address::OtherKind;
use crate::net::clock::Clock;
use crate::plan::ProbePlan;

/// What a run against something that is no Greenroom endpoint brought to light.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What is known of it, and what went wrong.
    pub meta: TargetMeta,
    /// The samples, of kinds that have them.
    pub trace: Option<Trace>,
    /// Bytes sent and received at the IP layer.
    pub spent: DataSize,
}

/// Measures something that is no Greenroom endpoint, until `stop` is cancelled. Never fails: what went wrong is in what it returns.
pub async fn probe(plan: &ProbePlan, clock: Clock, stop: &CancellationToken) -> Measured {
    let mut spent = DataSize::default();
    let measured = match plan.target.kind {
        OtherKind::Stun => stun::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Stamp => stamp::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Dns => dns::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Tcp => tcp::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Tls => tls::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Https => https::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Ntp => ntp::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Wss => wss::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Icmp => icmp::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Service => service::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Quic => quic::measure(plan, clock, stop, &mut spent).await,
    };
    let blank = TargetMeta {
        url: plan.target.to_string(),
        kind: plan.target.kind.scheme().to_owned(),
        reached: None,
        identity: None,
        failure: None,
        details: None,
        in_process: false,
    };
    match measured {
        Ok(Found { reached, details, trace, stopped }) => Measured {
            meta: TargetMeta {
                reached: Some(reached),
                identity: details.security().map(identity),
                details: Some(details),
                failure: stopped.then_some(TargetFailure::Interrupted),
                ..blank
            },
            trace,
            spent,
        },
        Err(failure) => Measured { meta: TargetMeta { failure: Some(failure), ..blank }, trace: None, spent },
    }
}

/// Whether what was shown proves who is there: a certificate that holds, or the one expected.
fn identity(security: &Security) -> Identity {
    let holds = security.verified.fact() == Some(&true) && security.as_expected.fact() != Some(&false);
    if holds { Identity::Verified } else { Identity::Unverified }
}

/// What something told that is no Greenroom endpoint.
#[derive(Debug, Clone)]
pub struct Found {
    /// How it was reached.
    pub reached: Reached,
    /// What it told.
    pub details: Details,
    /// The samples, of kinds that have them.
    pub trace: Option<Trace>,
    /// Whether the run was stopped before its end.
    pub stopped: bool,
}
