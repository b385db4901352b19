//! One request over HTTP/3 (RFC 9114), where a web service offers that: whether UDP gets through to it shows in nothing else that a
//! browser does.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Buf as _;
use greenroom_reports::schema::{Http3, Value};
use greenroom_reports::units::{DataSize, Micros};
use hyper::Request;
use hyper::header::USER_AGENT;
use tokio_util::sync::CancellationToken;

use super::fetch::{Answer, Fetching, MOST_BODY, Page};
use super::find::addresses_of;
use super::quic::ALPN;
use crate::address::Host;
use crate::net::quic::{ConnectError, Held, hold};

/// The longest that a handshake, and then the answer, may take: a browser would have gone on over TCP long before.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where HTTP/3 is offered (RFC 7838 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    /// At another host than the one asked.
    host: Option<Host>,
    port: u16,
}

/// The first offer of HTTP/3 among an answer's alternatives: `h3=":443"; ma=86400`.
pub(super) fn offer(answer: &Answer) -> Option<Offer> {
    let alternatives = answer.alternatives.as_deref()?.split(',');
    let authorities =
        alternatives.filter_map(|one| one.trim_start().strip_prefix("h3=\"")?.split('"').next());
    authorities.into_iter().find_map(|authority| match authority.strip_prefix(':') {
        Some(port) => Some(Offer { host: None, port: port.parse().ok().filter(|port| *port != 0)? }),
        None => {
            let (host, port) = Host::with_port(authority)?;
            Some(Offer { host: Some(host), port: port? })
        }
    })
}

/// Asks once for the page over HTTP/3, where `answer`, which came from `address`, offers that.
pub(super) async fn try_offer(
    fetching: &Fetching,
    page: &Page,
    address: SocketAddr,
    answer: &Answer,
    (stop, spent): (&CancellationToken, &mut DataSize),
) -> Value<Http3> {
    let Some(offer) = offer(answer) else { return Value::not_tested("the service does not offer it") };
    if fetching.proxy.is_some() {
        return Value::not_tested("web requests go through a proxy, which carries no UDP");
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => Value::not_tested("the run was stopped before"),
        asked = ask(fetching, page, address, &offer, spent) => match asked {
            Ok(http3) => Value::Measured(http3),
            Err(why) => Value::failed(why),
        },
    }
}

async fn ask(
    fetching: &Fetching,
    page: &Page,
    address: SocketAddr,
    offer: &Offer,
    spent: &mut DataSize,
) -> Result<Http3, String> {
    let clock = fetching.clock;
    let begun = clock.now();
    let lookup = fetching.look_up(page).await;
    let to = match &offer.host {
        None => SocketAddr::new(address.ip(), offer.port),
        Some(host) => {
            let found = addresses_of(host, offer.port).await.ok().and_then(|found| found.first().copied());
            found.ok_or_else(|| format!("it is offered at {host}, which has no address"))?
        }
    };
    // Whoever speaks for a service proves to be that service (RFC 7838 section 2.1).
    let name = page.host.server_name();
    let held = hold(fetching.interface.as_ref(), to, &name, ALPN, PATIENCE, clock)
        .await
        .map_err(|error| refusal(&error, to))?;
    let asking = tokio::time::timeout(PATIENCE, answered(fetching, page, &held));
    let answered =
        asking.await.unwrap_or_else(|_| Err("the handshake came to its end, and no answer came".to_owned()));
    let ended = clock.now();
    *spent += held.seen().spent;
    let handshake = held.handshake;
    held.end().await;
    let (first_byte, status) = answered?;
    Ok(Http3 {
        address: to.to_string(),
        lookup_ms: match lookup {
            Some(took) => Value::exact(took.as_ms()),
            None => Value::not_tested("there was no name to look up"),
        },
        handshake_ms: handshake.as_ms(),
        first_byte_ms: first_byte.as_ms(),
        total_ms: (ended - begun).as_ms(),
        status,
    })
}

/// When the head of the answer came, and its status. The body is read as far as that of others.
async fn answered(fetching: &Fetching, page: &Page, held: &Held) -> Result<(Micros, u16), String> {
    let said = |error: &dyn std::fmt::Display| format!("it speaks QUIC, and HTTP/3 over it fails: {error}");
    let quic = h3_quinn::Connection::new(held.connection.clone());
    let (mut driver, mut sender) = h3::client::new(quic).await.map_err(|error| said(&error))?;
    let request = Request::get(format!("https://{}{}", page.authority(), page.path))
        .header(USER_AGENT, concat!("greenroom/", env!("CARGO_PKG_VERSION")))
        .header("accept", "*/*")
        .body(())
        .map_err(|error| said(&error))?;
    let asking = async {
        let asked = fetching.clock.now();
        let mut stream = sender.send_request(request).await.map_err(|error| said(&error))?;
        stream.finish().await.map_err(|error| said(&error))?;
        let response = stream.recv_response().await.map_err(|error| said(&error))?;
        let first_byte = fetching.clock.now() - asked;
        let mut read = 0;
        while let Some(octets) = stream.recv_data().await.map_err(|error| said(&error))? {
            read += u64::try_from(octets.remaining()).unwrap_or(u64::MAX);
            if read >= MOST_BODY {
                break;
            }
        }
        Ok((first_byte, response.status().as_u16()))
    };
    // The connection's own streams have to be read meanwhile.
    tokio::select! {
        answered = asking => answered,
        error = poll_fn(|context| driver.poll_close(context)) => Err(said(&error)),
    }
}

/// Why there is no connection, for a person.
fn refusal(error: &ConnectError, to: SocketAddr) -> String {
    let port = to.port();
    match error {
        ConnectError::Silent { .. } => {
            format!(
                "HTTP/3 is offered, and nothing comes back over UDP from port {port}: UDP is blocked on the way"
            )
        }
        ConnectError::Refused { .. } => {
            format!("HTTP/3 is offered, and nothing listens at UDP port {port}, or a firewall says so")
        }
        ConnectError::Forbidden { .. } => {
            format!("HTTP/3 is offered, and this computer's firewall forbids UDP to port {port}")
        }
        other => format!("HTTP/3 is offered, and the handshake fails: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(alternatives: &str) -> Option<(Option<String>, u16)> {
        let answer = Answer {
            first_byte: Micros::ZERO,
            total: Micros::ZERO,
            status: 200,
            version: "HTTP/2",
            location: None,
            software: None,
            alternatives: Some(alternatives.to_owned()),
            body_bytes: 0,
            body_cut: false,
        };
        offer(&answer).map(|offer| (offer.host.map(|host| host.to_string()), offer.port))
    }

    #[test]
    fn offers_of_http3_are_told_from_others() {
        assert_eq!(offered("h3=\":443\"; ma=86400"), Some((None, 443)));
        assert_eq!(
            offered("h2=\":444\", h3=\"alt.example:8443\""),
            Some((Some("alt.example".to_owned()), 8443))
        );
        for none in
            ["", "clear", "h2=\":443\"", "h3-29=\":443\"", "h3=\":0\"", "h3=\"a..b:443\"", "h3=:443", "h3=\""]
        {
            assert_eq!(offered(none), None, "{none}");
        }
    }
}
