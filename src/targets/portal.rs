//! Whether a sign-in page answers in place of the internet: one web request in the clear, which only such a page would answer with a
//! page of its own.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use greenroom_reports::schema::{SignInPage, Value};
use greenroom_reports::units::DataSize;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::find::addresses_of;
use super::redirect;
use crate::address::{Host, PortalUrl};
use crate::net::tcp::{self, Meter, TcpFailure};
use crate::net::udp::Interface;

/// The longest that all of it takes. Sign-in pages are near, and where nothing answers a check is over within three seconds.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// Octets of a page that are read, for where it leads.
const MOST_BODY: usize = 16 * 1_024;

/// Asks `url` once; what was found, and about the octets that it took at the IP layer.
///
/// `is_host_of_endpoint`: nobody promised that it answers web requests at all, or with 204. What its own web server says is then told
/// from a sign-in page, where it can be.
pub(super) async fn look(
    url: &PortalUrl,
    is_host_of_endpoint: bool,
    interface: Option<&Interface>,
) -> (Value<SignInPage>, DataSize) {
    let meter = Meter::default();
    let asking = ask(url, interface, &meter);
    let answer = match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(NoAnswer::Silent),
    };
    let connections = match &answer {
        Err(NoAnswer::Name(_) | NoAnswer::Local(_)) => 0,
        _ => 1,
    };
    (judge(url, is_host_of_endpoint, answer), meter.about(connections))
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answered {
    status: u16,
    /// Where it leads: by its head, or by a page that leads on at once.
    leads_to: Option<String>,
}

/// Why nothing was.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NoAnswer {
    /// The name has no address here.
    Name(String),
    Refused,
    Silent,
    /// What answers speaks no HTTP, or breaks off.
    Odd,
    /// This computer could not even ask.
    Local(String),
}

async fn ask(url: &PortalUrl, interface: Option<&Interface>, meter: &Meter) -> Result<Answered, NoAnswer> {
    let addresses = addresses_of(&url.host, url.port).await;
    let addresses = addresses.map_err(|failure| NoAnswer::Name(failure.code().to_owned()))?;
    let mut last = NoAnswer::Silent;
    for address in addresses {
        match at(address, url, interface, meter).await {
            Ok(answered) => return Ok(answered),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

async fn at(
    address: SocketAddr,
    url: &PortalUrl,
    interface: Option<&Interface>,
    meter: &Meter,
) -> Result<Answered, NoAnswer> {
    let connected = tcp::connect(interface, address, PATIENCE).await.map_err(|failure| match failure {
        TcpFailure::Refused | TcpFailure::Prohibited(_) => NoAnswer::Refused,
        TcpFailure::Silent | TcpFailure::Unreachable(_) => NoAnswer::Silent,
        TcpFailure::Reset => NoAnswer::Odd,
        TcpFailure::Local(detail) => NoAnswer::Local(detail),
    })?;
    let odd = |_| NoAnswer::Odd;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(meter.on(connected.stream))).await.map_err(odd)?;
    // The connection ends with the request: the task that carries it is stopped when this one is done.
    let mut carrier = tokio::task::JoinSet::new();
    carrier.spawn(async move { connection.await.is_ok() });
    let request = Request::get(&url.path)
        .header(HOST, url.authority())
        .header(USER_AGENT, concat!("greenroom/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| NoAnswer::Local(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(odd)?;
    let status = response.status().as_u16();
    let location = location(&response);
    let page = Limited::new(response.into_body(), MOST_BODY).collect().await;
    let leads_to = location.or_else(|| {
        let page = page.ok()?.to_bytes();
        refreshed(&String::from_utf8_lossy(&page))
    });
    Ok(Answered { status, leads_to })
}

fn location<B>(response: &Response<B>) -> Option<String> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    Some(location.to_str().ok()?.trim().to_owned())
}

/// Where a page leads that leads on at once: `<meta http-equiv="refresh" content="0; url=…">`.
fn refreshed(page: &str) -> Option<String> {
    let lower = page.to_ascii_lowercase();
    let tag = lower.find("http-equiv=\"refresh\"").or_else(|| lower.find("http-equiv='refresh'"))?;
    let begin = tag + lower[tag..].find("url=")? + "url=".len();
    let rest = page.get(begin..)?.trim_start_matches(['"', '\'']);
    let end = rest.find(['"', '\'', '>', ' ']).unwrap_or(rest.len());
    Some(rest[..end].to_owned()).filter(|url| !url.is_empty())
}

/// The site that visitors are sent to, where that is another one.
fn elsewhere(answered: &Answered, host: &Host) -> Option<String> {
    redirect::elsewhere(answered.leads_to.as_deref()?, host)
}

fn judge(
    url: &PortalUrl,
    is_host_of_endpoint: bool,
    answer: Result<Answered, NoAnswer>,
) -> Value<SignInPage> {
    let told = |found: bool, because: &str| {
        Value::Measured(SignInPage { url: url.to_string(), found, because: because.to_owned() })
    };
    let answered = match answer {
        Ok(answered) => answered,
        Err(NoAnswer::Name(code)) => {
            return Value::not_tested(format!("{} could not be looked up ({code})", url.host));
        }
        Err(NoAnswer::Local(detail)) => return Value::not_tested(format!("it could not be asked: {detail}")),
        // A sign-in page answers whatever is asked for.
        Err(NoAnswer::Refused | NoAnswer::Silent) if is_host_of_endpoint => {
            return told(false, "nothing answers web requests there, nor in its place");
        }
        Err(NoAnswer::Refused) => return Value::failed(format!("nothing listens at {}", url.authority())),
        Err(NoAnswer::Silent) => return Value::failed(format!("{} did not answer", url.authority())),
        Err(NoAnswer::Odd) => {
            return Value::failed(format!("what answers at {} is no web server", url.authority()));
        }
    };
    match (answered.status, elsewhere(&answered, &url.host)) {
        (511, _) => told(true, "the network says so itself (511)"),
        (_, Some(site)) => told(true, &format!("visitors are sent to {site}")),
        (204, None) => told(false, "the answer is empty, as it should be (204)"),
        (status @ 200..=299, None) if is_host_of_endpoint => Value::failed(format!(
            "a page answers web requests to {} ({status}), which may be its own or a sign-in page",
            url.host
        )),
        (status @ 200..=299, None) => told(true, &format!("a page answers where none should ({status})")),
        (status, None) if is_host_of_endpoint => {
            told(false, &format!("its own web server answers ({status})"))
        }
        (status, None) => Value::failed(format!("{} answers {status} in place of 204", url.authority())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(status: u16, leads_to: Option<&str>, own: bool) -> Option<bool> {
        let url = PortalUrl::of_host(Host::Name("probe.example".to_owned()));
        let answered = Answered { status, leads_to: leads_to.map(str::to_owned) };
        judge(&url, own, Ok(answered)).measured().map(|page| page.found)
    }

    #[test]
    fn a_sign_in_page_is_told_from_the_hosts_own_web_server() {
        let portal = Some("http://login.hotel.example/?url=x");
        for own in [true, false] {
            assert_eq!(found(204, None, own), Some(false));
            assert_eq!(found(302, portal, own), Some(true));
            assert_eq!(found(200, portal, own), Some(true), "a page that leads on");
            assert_eq!(found(307, Some("http://192.0.2.1/"), own), Some(true));
            assert_eq!(found(511, None, own), Some(true));
        }
        assert_eq!(
            found(301, Some("https://probe.example/"), true),
            Some(false),
            "to its own encrypted side"
        );
        assert_eq!(found(404, None, true), Some(false));
        assert_eq!(found(200, None, true), None, "it may be either");
        assert_eq!(found(200, None, false), Some(true), "it was promised to be empty");
        assert_eq!(found(404, None, false), None);
    }

    #[test]
    fn silence_is_an_answer_only_where_nobody_promised_one() {
        let url = PortalUrl::of_host(Host::Name("probe.example".to_owned()));
        for silence in [NoAnswer::Refused, NoAnswer::Silent] {
            let own = judge(&url, true, Err(silence.clone()));
            assert_eq!(own.measured().map(|page| page.found), Some(false));
            assert!(matches!(judge(&url, false, Err(silence)), Value::Failed { .. }));
        }
        assert!(matches!(judge(&url, true, Err(NoAnswer::Odd)), Value::Failed { .. }));
        let unknown = judge(&url, true, Err(NoAnswer::Name("unknown_host".to_owned())));
        assert!(matches!(unknown, Value::NotTested { .. }));
    }

    #[test]
    fn a_page_may_lead_on_by_itself() {
        let page = "<HTML><META HTTP-EQUIV=\"refresh\" CONTENT=\"0; URL='http://login.example/a?b'\"></HTML>";
        assert_eq!(refreshed(page).as_deref(), Some("http://login.example/a?b"));
        let plain = "<meta http-equiv='refresh' content='1;url=/x'>";
        assert_eq!(refreshed(plain).as_deref(), Some("/x"));
        for none in [
            "",
            "<meta http-equiv=\"refresh\" content=\"5\">",
            "url=/x",
            "\u{130}http-equiv=\"refresh\" url=",
        ] {
            assert_eq!(refreshed(none), None, "{none}");
        }
    }
}
