//! A TURN server: how long a relayed address takes over UDP, TCP and TLS, and how audio fares through the relay, all at the same time
//! so that the ways compare.

mod allocate;
mod audio;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use greenroom_reports::schema::{
    Details, Exact, Reached, RoundTrip, Security, TurnDetails, TurnTransport, Value,
};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio_util::sync::CancellationToken;

use self::allocate::{Unasked, Why, ask};
use self::audio::{Flow, relay};
use super::Found;
use super::find::addresses_unless;
use crate::address::{OtherKind, Part, Transport};
use crate::net::clock::Clock;
use crate::net::relay::Link;
use crate::net::tcp;
use crate::net::udp::Interface;
use crate::net::witness::{Agreed, handshake};
use crate::plan::ProbePlan;
use crate::proto::turn::{Allocation, Ask, Client, FIRST_CHANNEL, Refusal};

/// Permissions last 300 s (RFC 8656 section 9) and are not renewed here: the audio ends before.
const LONGEST: Micros = Micros::from_secs(240);
/// How long giving an address back may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// What a packet of audio takes at the IP layer: IPv6, UDP, channel, content.
const PACKET: u64 = 40 + 8 + 4 + 92;

/// Measures each transport that the URL allows with the first address that gives a relayed one over any of them.
///
/// # Errors
///
/// The reason why no transport gave an address: of the first of them, at the last address tried.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let addresses = addresses_unless(stop, &plan.target.host, plan.target.port).await?;
    let mut failure = TargetFailure::NoNetwork;
    for server in addresses {
        let asked = transports(plan);
        let mut ways = together(&asked, server.ip(), plan, clock, stop).await;
        if ways.iter().any(|way| way.allocate_ms.measured().is_some()) {
            for (way, alone) in ways.iter_mut().zip(asked.chunks(1)) {
                after_the_others(way, alone, server.ip(), plan, clock, stop).await;
            }
        }
        for trips in ways.iter().flat_map(|way| [&way.relayed, &way.relayed_back]).flatten() {
            *spent += DataSize::from_bytes((trips.sent + trips.answered).saturating_mul(PACKET));
        }
        if let Some(best) = ways.iter().find(|way| way.allocate_ms.measured().is_some()) {
            let reached = Reached {
                transport: best.transport.clone(),
                address: Some(server.to_string()),
                setup_ms: best.setup_ms.fact().copied(),
                instead_of_udp: None,
            };
            let details = Details::Turn(Box::new(TurnDetails { transports: ways }));
            return Ok(Found { reached, details, trace: None, stopped: stop.is_cancelled() });
        }
        if stop.is_cancelled() {
            return Err(TargetFailure::Interrupted);
        }
        failure = worst(&ways).unwrap_or(failure);
    }
    Err(failure)
}

/// What a server said is of more use than that a transport is silent.
fn worst(ways: &[TurnTransport]) -> Option<TargetFailure> {
    let mut failures = ways.iter().filter_map(|way| way.failure.clone());
    let said = failures.clone().find(|failure| {
        use TargetFailure::{RelayRefused, RelayUserRefused, RelayUserRequired};
        matches!(failure, RelayRefused { .. } | RelayUserRefused | RelayUserRequired)
    });
    said.or_else(|| failures.next())
}

/// The ways to it, each with its port.
///
/// A server that relays over TLS does so on a port of its own (5349), or on the one port that firewalls leave open, as the others: so who
/// names no transport finds out about all.
fn transports(plan: &ProbePlan) -> Vec<(&'static str, u16)> {
    let port = plan.target.port;
    let usual = OtherKind::Turn.default_port() == Some(port);
    let encrypted = OtherKind::Turns.default_port().filter(|_| usual).unwrap_or(port);
    match (plan.target.kind, &plan.target.part) {
        (OtherKind::Turns, _) => vec![("tls", port)],
        (_, Part::Relay(Some(Transport::Udp))) => vec![("udp", port)],
        (_, Part::Relay(Some(Transport::Tcp))) => vec![("tcp", port)],
        _ => vec![("udp", port), ("tcp", port), ("tls", encrypted)],
    }
}

/// Nothing is known of it yet.
fn blank(transport: &str, server: SocketAddr) -> TurnTransport {
    let unknown = || Value::not_tested("it did not come to that");
    TurnTransport {
        transport: transport.to_owned(),
        address: server.to_string(),
        setup_ms: Value::not_tested("it did not come to that"),
        challenge_ms: Value::not_tested("it did not come to that"),
        allocate_ms: Value::not_tested("it did not come to that"),
        relayed_address: unknown(),
        reflexive_address: unknown(),
        lifetime_s: Value::not_tested("it did not come to that"),
        relayed_by: unknown(),
        relayed: None,
        relayed_back: None,
        reordered: 0,
        duplicated: 0,
        security: None,
        failure: None,
    }
}

/// Measures these ways to a server, step by step together: connections are made and keys agreed on before the first request leaves, and
/// all addresses are there before the first packet of audio. So no way's figures hold the work of another's handshake. What went wrong is in
/// what it returns.
async fn together(
    ways: &[(&'static str, u16)],
    server: IpAddr,
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
) -> Vec<TurnTransport> {
    let opened = ways.iter().map(|(transport, port)| {
        let told = blank(transport, SocketAddr::new(server, *port));
        open_both(told, SocketAddr::new(server, *port), plan, clock, stop)
    });
    let opened = join_all(opened).await;
    let allocated = opened.into_iter().map(|(told, links)| allocated(told, links, plan, clock, stop));
    let allocated = join_all(allocated).await;
    join_all(allocated.into_iter().map(|(told, ends)| relayed(told, ends, plan, clock, stop))).await
}

/// Measures a way anew that found no address left for this user, now that the others gave theirs back. A server may take a moment to count that.
async fn after_the_others(
    way: &mut TurnTransport,
    alone: &[(&'static str, u16)],
    server: IpAddr,
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
) {
    let mut wait = Duration::from_millis(100);
    while is_quota(way) && wait < plan.patience.to_duration() {
        if unless(stop, tokio::time::sleep(wait)).await.is_err() {
            return;
        }
        wait *= 2;
        for again in together(alone, server, plan, clock, stop).await {
            *way = again;
        }
    }
}

/// The links of both ends. The second is only there where it could be opened, too.
struct Links(Link, Option<Link>);

/// One end: a link with its allocation.
struct End {
    link: Link,
    client: Client,
    allocation: Allocation,
}

/// A step's outcome, or none with the reason told.
fn settled<T>(mut told: TurnTransport, outcome: Result<T, TargetFailure>) -> (TurnTransport, Option<T>) {
    let outcome = outcome.map_err(|failure| told.failure = Some(failure)).ok();
    (told, outcome)
}

async fn open_both(
    mut told: TurnTransport,
    server: SocketAddr,
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
) -> (TurnTransport, Option<Links>) {
    let begun = clock.now();
    let first = match unless(stop, open(&told.transport, server, plan, clock)).await.flatten() {
        Ok((link, security)) => {
            told.security = security;
            told.setup_ms = match link.is_stream() {
                true => exact_ms(clock.now() - begun),
                false => Value::not_tested("UDP needs no connection"),
            };
            link
        }
        Err(failure) => return settled(told, Err(failure)),
    };
    let second = unless(stop, open(&told.transport, server, plan, clock)).await.flatten();
    (told, Some(Links(first, second.ok().map(|(link, _)| link))))
}

async fn allocated(
    mut told: TurnTransport,
    links: Option<Links>,
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
) -> (TurnTransport, Option<(End, Option<Link>)>) {
    let Some(Links(first, second)) = links else { return (told, None) };
    let end = unless(stop, allocate(&mut told, first, plan, clock)).await.flatten();
    settled(told, end.map(|end| (end, second)))
}

async fn relayed(
    mut told: TurnTransport,
    ends: Option<(End, Option<Link>)>,
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
) -> TurnTransport {
    let Some((mut a, second)) = ends else { return told };
    let second = async {
        let mut link = second?;
        let mut client = Client::new(plan.turn.clone());
        let asked = ask(&mut link, &mut client, Ask::Allocate, clock, plan.patience.to_duration()).await;
        let allocation = asked.ok()?.allocation?;
        Some(End { link, client, allocation })
    };
    // A user may have one address alone: it is its own peer then.
    let mut b = unless(stop, second).await.ok().flatten();
    told.relayed_by = Value::exact(if b.is_some() { "pair" } else { "self" }.to_owned());
    let outcome = audio(&mut told, &mut a, b.as_mut(), plan, clock, stop).await;
    for end in [Some(&mut a), b.as_mut()].into_iter().flatten() {
        // The server forgets it by itself if this is lost.
        let _ = ask(&mut end.link, &mut end.client, Ask::Refresh(0), clock, GOODBYE).await;
    }
    settled(told, outcome).0
}

/// The first allocation, whose times are told.
async fn allocate(
    way: &mut TurnTransport,
    mut link: Link,
    plan: &ProbePlan,
    clock: Clock,
) -> Result<End, TargetFailure> {
    let mut client = Client::new(plan.turn.clone());
    let asked = ask(&mut link, &mut client, Ask::Allocate, clock, plan.patience.to_duration()).await;
    let first = match &asked {
        Ok(asked) => asked.first,
        Err(Unasked { first, .. }) => *first,
    };
    way.challenge_ms = first.map_or_else(|| Value::failed("its first answer did not come at once"), exact_ms);
    let asked = asked.map_err(|unasked| reason(unasked.why))?;
    let allocation = asked.allocation.ok_or_else(|| reason(Why::Refused(Refusal::Malformed)))?;
    way.allocate_ms = exact_ms(asked.took);
    way.relayed_address = Value::exact(allocation.relayed.to_string());
    way.reflexive_address = match allocation.mapped {
        Some(mapped) => Value::exact(mapped.to_string()),
        None => Value::failed("the server did not say"),
    };
    way.lifetime_s = Value::exact(u64::try_from(allocation.lifetime.get() / 1_000_000).unwrap_or(0));
    Ok(End { link, client, allocation })
}

/// Sends audio from one end to the other and back.
async fn audio(
    way: &mut TurnTransport,
    a: &mut End,
    mut b: Option<&mut End>,
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
) -> Result<(), TargetFailure> {
    let own = a.allocation.relayed;
    let peer = b.as_ref().map_or(own, |b| b.allocation.relayed);
    unless(stop, bind(a, peer, plan, clock)).await??;
    if let Some(b) = &mut b {
        unless(stop, bind(b, own, plan, clock)).await??;
    }
    let count = i64::from(plan.count).min(LONGEST.get() / plan.interval.get().max(1));
    let count = usize::try_from(count).unwrap_or(0);
    let mut flows = [Flow::new(count, tag()?), Flow::new(count, tag()?)];
    let pair = b.is_some();
    let links = (&mut a.link, b.map(|b| &mut b.link));
    relay(links, &mut flows, plan, clock, stop).await;
    let now = clock.now();
    let [there, back] = &flows;
    let trips = |flow: &Flow| RoundTrip::of(&flow.exchanges(now, plan.patience), StampSource::User);
    way.relayed = Some(trips(there));
    way.relayed_back = pair.then(|| trips(back));
    way.reordered = there.reordered + back.reordered;
    way.duplicated = there.duplicated + back.duplicated;
    let nothing = |trips: &RoundTrip| trips.lost > 0 && trips.answered == 0;
    if way.relayed.as_ref().is_some_and(nothing) && way.relayed_back.as_ref().is_none_or(nothing) {
        return Err(TargetFailure::RelayForwardsNothing);
    }
    Ok(())
}

async fn bind(end: &mut End, peer: SocketAddr, plan: &ProbePlan, clock: Clock) -> Result<(), TargetFailure> {
    let what = Ask::ChannelBind(FIRST_CHANNEL, peer);
    let asked = ask(&mut end.link, &mut end.client, what, clock, plan.patience.to_duration()).await;
    asked.map(|_| ()).map_err(|unasked| match unasked.why {
        Why::Refused(Refusal::Forbidden) => refused(
            "it gives addresses and forbids to relay between its own (403), so audio through it cannot be measured; \
             coturn allows it unless denied-peer-ip covers its own address, and on a loopback address only with \
             allow-loopback-peers",
        ),
        other => reason(other),
    })
}

/// Opens a way to the server.
async fn open(
    transport: &str,
    server: SocketAddr,
    plan: &ProbePlan,
    clock: Clock,
) -> Result<(Link, Option<Security>), TargetFailure> {
    let interface = plan.interface.as_deref().map(Interface::parse);
    let patience = plan.patience.to_duration();
    if transport == "udp" {
        let link = Link::udp(interface.as_ref(), server);
        let link = link.map_err(|error| TargetFailure::Local { detail: error.to_string() })?;
        return Ok((link, None));
    }
    let connected = tcp::connect(interface.as_ref(), server, patience).await;
    let stream = connected.map_err(|failure| super::repeat::refusal(&failure))?.stream;
    if transport != "tls" {
        return Ok((Link::stream(stream), None));
    }
    let shaken = handshake(stream, &plan.target.host.server_name(), &[], patience).await;
    let shaken = shaken.map_err(|failure| super::security::refusal(&failure))?;
    let agreed: [&Agreed; 1] = [&shaken.agreed];
    let security = super::security::security(agreed.into_iter(), &plan.target, clock);
    // A certificate that does not hold is a finding: what is sent now would be seen by everybody on the way over UDP.
    Ok((Link::stream(shaken.stream), Some(security)))
}

async fn unless<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Result<T, TargetFailure> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(TargetFailure::Interrupted),
        done = work => Ok(done),
    }
}

fn tag() -> Result<[u8; 8], TargetFailure> {
    let mut tag = [0; 8];
    let random = SystemRandom::new().fill(&mut tag);
    random.map_err(|_| TargetFailure::Local { detail: "the system gave no random numbers".to_owned() })?;
    Ok(tag)
}

fn exact_ms(took: Micros) -> Value<Exact<f64>> {
    Value::exact(took.as_ms())
}

fn refused(detail: &str) -> TargetFailure {
    TargetFailure::Refused { detail: detail.to_owned() }
}

/// The reason for a person, with what to do.
fn reason(why: Why) -> TargetFailure {
    let refusal = match why {
        Why::Other(failure) => return failure,
        Why::Refused(refusal) => refusal,
    };
    let advice = match refusal {
        Refusal::NoCredentials => return TargetFailure::RelayUserRequired,
        Refusal::WrongCredentials => return TargetFailure::RelayUserRefused,
        Refusal::Forbidden => return refused(&refusal.to_string()),
        Refusal::Quota => {
            "End other calls of this user, or ask whoever runs the relay to allow more.".to_owned()
        }
        Refusal::Full => "Ask whoever runs the relay for more relay ports.".to_owned(),
        Refusal::Elsewhere(Some(other)) => format!("Measure turn:{other} instead."),
        _ => "Ask whoever runs the relay why.".to_owned(),
    };
    TargetFailure::RelayRefused { detail: refusal.to_string(), advice }
}

/// The user has as many addresses as it may.
fn is_quota(way: &TurnTransport) -> bool {
    way.failure.as_ref() == Some(&reason(Why::Refused(Refusal::Quota)))
}
