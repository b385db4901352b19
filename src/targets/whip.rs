//! A WebRTC server that takes media by WHIP (RFC 9725): sound and picture are published to it over the way that media of a call take, and
//! its own reports (RTCP) tell what became of them.

mod answer;
mod figures;
mod http;
mod session;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenroom_reports::schema::Details;
use greenroom_reports::units::DataSize;
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use self::http::{Opened, Site};
use self::session::{Published, Sending};
use super::Found;
use super::asking::reached;
use super::fetch::Page;
use super::find::addresses_unless;
use super::proxy::{self, Proxy};
use crate::address::{OtherUrl, Part, Token};
use crate::net::clock::Clock;
use crate::net::tcp::Meter;
use crate::net::udp::Interface;
use crate::plan::ProbePlan;

/// How long a server may take to answer an offer: some look for their own addresses first.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long the answer to an offer is awaited after the run was stopped, so that the session can be ended.
const GRACE: Duration = Duration::from_secs(2);
/// How long ending a session may take.
const GOODBYE: Duration = Duration::from_secs(3);

/// How to speak to the web server.
struct Signaling<'a> {
    target: &'a OtherUrl,
    token: Option<&'a Token>,
    interface: Option<Interface>,
    proxy: Option<Proxy>,
    patience: Duration,
    answer_within: Duration,
    clock: Clock,
    meter: Meter,
    connections: AtomicUsize,
}

/// Publishes sound and picture as planned and ends the session afterwards, also when it is stopped. Adds the bytes sent and received at the
/// IP layer to `spent`, those of signaling about.
///
/// # Errors
///
/// The reason why no media flowed.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let site = site_of(&plan.target);
    let proxy = match site.is_plain {
        true => None,
        false => proxy::of_environment(&site.page.host, &|name| std::env::var(name).ok())?,
    };
    let signaling = Signaling {
        target: &plan.target,
        token: plan.token.as_ref(),
        interface: plan.interface.as_deref().map(Interface::parse),
        proxy,
        patience: plan.patience.to_duration(),
        answer_within: ANSWER_WITHIN,
        clock,
        meter: Meter::default(),
        connections: AtomicUsize::new(0),
    };
    let published = publish(plan, &signaling, &site, stop, spent).await;
    *spent += signaling.meter.about(signaling.connections.load(Ordering::Relaxed));
    published
}

async fn publish(
    plan: &ProbePlan,
    signaling: &Signaling<'_>,
    site: &Site,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let server = addresses_unless(stop, &site.page.host, site.page.port).await;
    let server = match (server, &signaling.proxy) {
        (Ok(addresses), _) => addresses.first().copied(),
        // Behind a proxy the name may be known to it alone.
        (Err(TargetFailure::Interrupted), _) => return Err(TargetFailure::Interrupted),
        (Err(_), Some(_)) => None,
        (Err(failure), None) => return Err(failure),
    };
    let server = server.unwrap_or_else(|| ([192, 0, 2, 1], 9).into());
    let (offered, offer) = session::offer(server, signaling.interface.as_ref(), signaling.clock)?;
    let never = CancellationToken::new();
    let opened = tokio::select! {
        opened = signaling.post(site, &offer, &never) => opened?,
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => return Err(TargetFailure::Interrupted),
    };
    let sending = Sending { interval: plan.interval, count: plan.count };
    let (sdp, until) = (opened.sdp.clone(), stop.clone());
    let published = guarded(async move { offered.publish(&sdp, sending, &until).await }).await;
    let ended = match &opened.session {
        Some(session) => {
            let deleting = signaling.delete(session);
            Some(tokio::time::timeout(GOODBYE, deleting).await.unwrap_or(false))
        }
        None => None,
    };
    let published = published?;
    *spent += published.spent;
    Ok(found(&opened, &published, ended, signaling))
}

/// Runs the media half apart: the library that drives it was seen to panic at what a server may send, which must not end the program.
async fn guarded<T: Send + 'static>(
    publishing: impl Future<Output = Result<T, TargetFailure>> + Send + 'static,
) -> Result<T, TargetFailure> {
    let mut apart = tokio::task::JoinSet::new();
    apart.spawn(publishing);
    match apart.join_next().await {
        Some(Ok(published)) => published,
        _ => Err(TargetFailure::WrongProtocol {
            protocol: "WebRTC".to_owned(),
            detail: "what it sends could not be dealt with".to_owned(),
        }),
    }
}

fn site_of(target: &OtherUrl) -> Site {
    let (path, is_plain) = match &target.part {
        Part::Service { path, .. } => (path.clone(), false),
        Part::Plain { path } => (path.clone(), true),
        Part::None | Part::Beside { .. } | Part::Relay(_) | Part::Question(_) => ("/".to_owned(), false),
    };
    Site { page: Page { host: target.host.clone(), port: target.port, path }, is_plain }
}

fn found(opened: &Opened, published: &Published, ended: Option<bool>, signaling: &Signaling<'_>) -> Found {
    let details = figures::details(opened, published, ended, signaling.target, signaling.clock);
    let setup = details.steps.total_ms.fact().copied();
    let address = published.feedback.pair.as_ref().map_or(opened.address, |pair| pair.remote.addr);
    Found {
        reached: reached("udp", address, setup),
        details: Details::Whip(Box::new(details)),
        trace: None,
        stopped: published.stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_the_library_is_a_failure_of_the_target() {
        let failure = guarded::<()>(async { panic!("by what a server sent") }).await.unwrap_err();
        assert!(matches!(failure, TargetFailure::WrongProtocol { .. }), "{failure:?}");
        assert_eq!(guarded(async { Ok(1) }).await, Ok(1));
    }
}
