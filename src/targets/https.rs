//! A web service: what each step of a request takes, what it answers, where it sends its visitors, and everything about its certificate.

use std::net::SocketAddr;

use greenroom_reports::schema::{
    Certificate, CertificateFault, Details, Distribution, Exact, HttpsDetails, Redirect, Value,
};
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::reached;
use super::fetch::{Answer, Fetched, Fetching, Page};
use super::find::addresses_unless;
use super::http3;
use super::proxy::{self, Proxy};
use super::redirect::{self, Next};
use super::repeat::{Attempts, connects, first_that_answers};
use super::security::security;
use crate::address::{OtherUrl, Part};
use crate::net::clock::Clock;
use crate::net::tcp::Meter;
use crate::net::udp::Interface;
use crate::plan::ProbePlan;

/// Redirections that are followed.
const MOST_REDIRECTS: usize = 5;

/// Asks a web service as planned, each time over a connection of its own: at the first address that answers, or through the proxy that
/// the environment names. Adds about the bytes sent and received at the IP layer to `spent`.
///
/// # Errors
///
/// The reason why nothing was answered: of its addresses that of the last one tried.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let page = page_of(&plan.target);
    let proxy = proxy::of_environment(&page.host, &|name| std::env::var(name).ok())?;
    let (host, port) = proxy.as_ref().map_or((&page.host, page.port), |proxy| (&proxy.host, proxy.port));
    let addresses = addresses_unless(stop, host, port).await?;
    let fetching = Fetching {
        interface: plan.interface.as_deref().map(Interface::parse),
        patience: plan.patience.to_duration(),
        clock,
        meter: Meter::default(),
        proxy,
    };
    let attempts = first_that_answers(addresses, plan, clock, stop, |address| {
        let (fetching, page) = (fetching.clone(), page.clone());
        async move { fetching.once(address, page).await }
    })
    .await;
    *spent += fetching.meter.about(attempts.as_ref().map_or(1, |attempts| attempts.begun));
    let attempts = attempts.map_err(|failure| behind(fetching.proxy.as_ref(), failure))?;
    let mut details = details(&attempts, &fetching, &plan.target);
    let first = attempts.ended().filter_map(|fetched| fetched.answer.as_ref()).next_back();
    if let Some(first) = first.filter(|_| !attempts.stopped) {
        let walking = follow(&fetching, &page, attempts.address, first, stop);
        (details.redirects, details.redirect_stopped) = walking.await;
        *spent += Meter::default().about(details.redirects.len());
    }
    if let Some(first) = first.filter(|_| !attempts.stopped) {
        details.http3 = http3::try_offer(&fetching, &page, attempts.address, first, (stop, spent)).await;
    }
    details.captive_portal_hint = captive_portal(&details, &page);
    Ok(Found {
        reached: reached("tls", attempts.address, None),
        stopped: attempts.stopped,
        details: Details::Https(Box::new(details)),
        trace: None,
    })
}

/// The reason behind a proxy: what does not answer there is the proxy itself.
fn behind(proxy: Option<&Proxy>, failure: TargetFailure) -> TargetFailure {
    let detail = match failure {
        TargetFailure::PortClosed => "nothing listens there",
        TargetFailure::Silent => "nothing comes back from it",
        other => return other,
    };
    match proxy {
        Some(proxy) => TargetFailure::Proxy { proxy: proxy.to_string(), detail: detail.to_owned() },
        None => failure,
    }
}

fn page_of(target: &OtherUrl) -> Page {
    let path = match &target.part {
        Part::Service { path, .. } | Part::Plain { path } => path.clone(),
        Part::None | Part::Beside { .. } | Part::Relay(_) | Part::Question(_) => "/".to_owned(),
    };
    Page { host: target.host.clone(), port: target.port, path }
}

fn details(attempts: &Attempts<Fetched>, fetching: &Fetching, target: &OtherUrl) -> HttpsDetails {
    let all = || attempts.ended();
    let times = |of: &dyn Fn(&Fetched) -> Option<Micros>, missing: &str| {
        Distribution::of(&all().filter_map(of).collect())
            .map_or_else(|| Value::failed(missing), Value::Measured)
    };
    let answers = || all().filter_map(|fetched| fetched.answer.as_ref());
    let last = answers().next_back();
    let failed = all().filter(|fetched| fetched.failure.is_some()).count();
    let agreed = all().filter_map(|fetched| fetched.shaken.as_ref().map(|(agreed, _)| agreed));
    let unanswered = "no request was answered";
    HttpsDetails {
        lookup_ms: match all().any(|fetched| fetched.lookup.is_some()) {
            true => times(&|fetched| fetched.lookup, "no lookup was answered"),
            false => Value::not_tested("there was no name to look up here"),
        },
        handshake_ms: times(&|fetched| Some(fetched.shaken.as_ref()?.1), "no handshake came to its end"),
        first_byte_ms: times(&|fetched| Some(fetched.answer.as_ref()?.first_byte), unanswered),
        total_ms: times(&|fetched| Some(fetched.answer.as_ref()?.total), unanswered),
        requests_failed: u64::try_from(failed).unwrap_or(u64::MAX),
        last_failure: all().filter_map(|fetched| fetched.failure.clone()).next_back(),
        status: told(last, |answer| Some(answer.status), unanswered),
        version: told(last, |answer| Some(answer.version.to_owned()), unanswered),
        offers_http3: told(last, |answer| Some(http3::offer(answer).is_some()), unanswered),
        http3: Value::not_tested("the run ended before"),
        software: told(last, |answer| answer.software.clone(), "it does not say"),
        body_bytes: last.map_or(0, |answer| answer.body_bytes),
        body_cut: last.is_some_and(|answer| answer.body_cut),
        redirects: Vec::new(),
        redirect_stopped: None,
        proxy: match &fetching.proxy {
            Some(proxy) => Value::exact(proxy.to_string()),
            None => Value::not_tested("the environment names none for this host"),
        },
        captive_portal_hint: Value::not_tested("nothing suggests one"),
        security: security(agreed, target, fetching.clock),
        connect: connects(attempts, |fetched| &fetched.connection),
    }
}

fn told<T>(
    answer: Option<&Answer>,
    what: impl FnOnce(&Answer) -> Option<T>,
    missing: &str,
) -> Value<Exact<T>> {
    answer.and_then(what).map_or_else(|| Value::failed(missing), Value::exact)
}

/// Goes where visitors are sent, over encrypted ways only, and says where it ended before its goal.
async fn follow(
    fetching: &Fetching,
    page: &Page,
    address: SocketAddr,
    first: &Answer,
    stop: &CancellationToken,
) -> (Vec<Redirect>, Option<String>) {
    let mut passed = Vec::new();
    let (mut page, mut answer) = (page.clone(), first.clone());
    loop {
        let Some((redirect, next)) = redirect::of(&answer, &page) else { return (passed, None) };
        passed.push(redirect);
        if passed.len() > MOST_REDIRECTS {
            return (passed, Some("it goes on and on".to_owned()));
        }
        page = match next {
            Next::Page(next) => next,
            Next::Nowhere(why) => return (passed, Some(why)),
        };
        // Through a proxy everything goes to the proxy.
        let addresses = match &fetching.proxy {
            Some(_) => Ok(vec![address]),
            None => addresses_unless(stop, &page.host, page.port).await,
        };
        let Ok(addresses) = addresses else {
            return (passed, Some("the name it leads to was not found".to_owned()));
        };
        match first_answer(fetching, addresses, &page, stop).await {
            Some(next) => answer = next,
            None => return (passed, Some("nothing answers where it leads to".to_owned())),
        }
    }
}

/// The answer of the first address that gives one; `None` when none does or the run is stopped.
async fn first_answer(
    fetching: &Fetching,
    addresses: Vec<SocketAddr>,
    page: &Page,
    stop: &CancellationToken,
) -> Option<Answer> {
    for address in addresses {
        let fetched = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            fetched = fetching.once(address, page.clone()) => fetched,
        };
        if fetched.answer.is_some() {
            return fetched.answer;
        }
    }
    None
}

/// What suggests that something on the way answers in the service's place.
fn captive_portal(details: &HttpsDetails, page: &Page) -> Value<Exact<String>> {
    if details.status.fact() == Some(&511) {
        return Value::exact("the network says so itself (511)".to_owned());
    }
    if let Some(to) = details.redirects.first().and_then(|first| redirect::elsewhere(&first.to, &page.host)) {
        return Value::exact(format!("visitors are sent to {to}"));
    }
    let wrong_name =
        details.security.faults.iter().any(|fault| matches!(fault, CertificateFault::WrongName { .. }));
    match details.security.chain.first().filter(|_| wrong_name) {
        Some(Certificate { subject, .. }) => Value::exact(format!("the certificate is that of {subject}")),
        None => Value::not_tested("nothing suggests one"),
    }
}
