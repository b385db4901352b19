//! The kinds of endpoint that can be measured, one file per kind.

mod asking;
pub mod capacity;
pub mod dns;
mod fetch;
mod find;
pub mod gateway;
pub mod greenroom;
mod http3;
pub mod https;
pub mod icmp;
pub mod marking;
pub mod mtu;
pub mod nat;
pub mod ntp;
pub mod path;
mod portal;
mod proxy;
pub mod quic;
mod redirect;
mod repeat;
mod security;
pub mod service;
pub mod stamp;
pub mod stun;
pub mod surroundings;
pub mod tcp;
pub mod tls;
pub mod turn;
pub mod whip;
pub mod wss;

use futures_util::{StreamExt as _, stream};
use greenroom_reports::assess::TargetMeta;
use greenroom_reports::schema::{Details, Identity, Reached, Security};
use greenroom_reports::trace::Trace;
use greenroom_reports::units::DataSize;
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use crate::address::{Host, OtherKind};
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
        OtherKind::Path => path::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Mtu => mtu::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Dscp | OtherKind::Ecn => marking::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Nat => nat::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Service => service::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Quic => quic::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Whip => whip::measure(plan, clock, stop, &mut spent).await,
        OtherKind::Turn | OtherKind::Turns => turn::measure(plan, clock, stop, &mut spent).await,
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

/// At most so many hosts are asked at the same time.
const SIDE_BY_SIDE: usize = 16;

/// Measures all of them, in the order given.
pub async fn all(plans: &[ProbePlan], clock: Clock, stop: &CancellationToken) -> Vec<Measured> {
    all_beside(async {}, plans, clock, stop).await.1
}

/// Measures all of them, in the order given: those that send no media while `first` runs, the others in turn when that has ended.
pub async fn all_beside<T>(
    first: impl Future<Output = T>,
    plans: &[ProbePlan],
    clock: Clock,
    stop: &CancellationToken,
) -> (T, Vec<Measured>) {
    let light: Vec<&ProbePlan> = plans.iter().filter(|plan| !plan.sends_media()).collect();
    let (first, light) = tokio::join!(first, side_by_side(&light, clock, stop));
    let mut light = light.into_iter();
    let mut measured = Vec::with_capacity(plans.len());
    for plan in plans {
        match plan.sends_media() {
            true => measured.push(probe(plan, clock, stop).await),
            false => measured.extend(light.next()),
        }
    }
    (first, measured)
}

/// Measures them at the same time, in the order given: those at one host after each other, since together they would ask it too often.
async fn side_by_side(plans: &[&ProbePlan], clock: Clock, stop: &CancellationToken) -> Vec<Measured> {
    let mut hosts: Vec<(&Host, Vec<usize>)> = Vec::new();
    for (at, plan) in plans.iter().enumerate() {
        match hosts.iter_mut().find(|(host, _)| **host == plan.target.host) {
            Some((_, those)) => those.push(at),
            None => hosts.push((&plan.target.host, vec![at])),
        }
    }
    let asked = hosts.into_iter().map(async |(_, those)| {
        let mut measured = Vec::with_capacity(those.len());
        for at in those {
            measured.push((at, probe(plans[at], clock, stop).await));
        }
        measured
    });
    let found: Vec<Vec<(usize, Measured)>> =
        stream::iter(asked).buffer_unordered(SIDE_BY_SIDE).collect().await;
    let mut found: Vec<(usize, Measured)> = found.into_iter().flatten().collect();
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, measured)| measured).collect()
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
