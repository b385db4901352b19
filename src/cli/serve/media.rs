//! The media endpoint beside the dashboard: for its check page, and for whom its operator gave a token.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueHint};
use greenroom_web::AppState;
use greenroom_web::check::{self, Fallback, Media};

use crate::address::{SCHEME, Token};
use crate::cli::exit::CliError;
use crate::cli::respond::read_tokens;
use crate::endpoint;
use crate::net::identity::ServerIdentity;
use crate::proto::admission::Access;
use crate::proto::control::RefuseCode;
use crate::proto::grant::GrantKey;

/// The UDP port of the media endpoint, unless it is taken.
const PORT: u16 = 7_443;

#[derive(Debug, Args)]
pub(super) struct MediaArgs {
    /// Where the media endpoint for the check page listens, or `off` [default: the address of --listen on port 7443, or any free one]
    #[arg(long, value_name = "ADDR:PORT", value_parser = media_at, help_heading = "Where")]
    endpoint: Option<MediaAt>,

    /// Let agents and `greenroom check` measure against the media endpoint, too, who have a token of this file, one a line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Where")]
    endpoint_token_file: Option<PathBuf>,

    /// The address that browsers reach the media endpoint at, where it stands behind a NAT
    #[arg(long, value_name = "IP", help_heading = "Where")]
    external_ip: Option<IpAddr>,
}

/// Where the media endpoint for the check page listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MediaAt {
    Off,
    At(SocketAddr),
}

fn media_at(text: &str) -> Result<MediaAt, String> {
    if text == "off" {
        return Ok(MediaAt::Off);
    }
    text.parse().map(MediaAt::At).map_err(|_| "write ADDRESS:PORT, such as 192.0.2.1:7443, or off".to_owned())
}

impl MediaArgs {
    /// Starts the endpoint, with the certificate of the dashboard where that has one; pages are let in by grants of the dashboard.
    pub(super) async fn start(
        &self,
        state: AppState,
        at: SocketAddr,
        identity: Option<&ServerIdentity>,
    ) -> Result<(AppState, Option<endpoint::Running>), CliError> {
        let tokens = self.endpoint_token_file.as_deref().map(read_tokens).transpose()?;
        let tokens = tokens.unwrap_or_default();
        let config = |at| {
            let access = Access::Grants(GrantKey(state.grants.public_key()), tokens.clone());
            config(at, access, identity, self.external_ip)
        };
        let running = match self.endpoint {
            Some(MediaAt::Off) => return Ok((state, None)),
            Some(MediaAt::At(media)) => endpoint::start(config(media)?).await,
            // One that somebody asked for on this port, such as `greenroom respond`, has it first.
            None => match endpoint::start(config(SocketAddr::new(at.ip(), PORT))?).await {
                Err(_) => endpoint::start(config(SocketAddr::new(at.ip(), 0))?).await,
                started => started,
            },
        };
        let running = running.map_err(|error| CliError::Unavailable(format!("media endpoint: {error}")))?;
        let Some(listener) = running.listeners().first() else { return Ok((state, None)) };
        let host = self.host(listener.control, &state);
        let shown = Arc::clone(running.for_browsers());
        let sockets = running.web_sockets();
        let media = Media {
            url: format!("https://{host}{}", endpoint::BROWSER_PATH),
            certificate: Arc::new(move || *shown.hash().bytes()),
            fallback: Some(Fallback::new(move |stream, peer| sockets.take(stream, peer))),
            web_rtc: running.web_rtc().cloned().map(web_rtc),
        };
        Ok((state.with_media(media), Some(running)))
    }

    /// How agents and `greenroom check` name it, where tokens let them in.
    pub(super) fn announcement(&self, state: &AppState, running: &endpoint::Running) -> Option<String> {
        let file = self.endpoint_token_file.as_ref()?;
        let host = self.host(running.listeners().first()?.control, state);
        Some(format!(
            "Endpoint    {SCHEME}://{host}#sha256={}\n            for whoever has a token of {}\n",
            running.fingerprint(),
            file.display()
        ))
    }

    /// How others reach what listens there.
    fn host(&self, listening: SocketAddr, state: &AppState) -> String {
        match self.external_ip {
            Some(ip) => SocketAddr::new(ip, listening.port()).to_string(),
            None => reached_at(listening, &state.config.base_url),
        }
    }
}

/// The endpoint's WebRTC as the page's server has it.
fn web_rtc(endpoint: endpoint::WebRtc) -> check::WebRtc {
    let sessions = endpoint.clone();
    let answer = move |check::Offer { sdp, grant }| {
        let endpoint = endpoint.clone();
        let answered = async move {
            let answer = endpoint.answer(sdp, Token::new(grant)).await.map_err(unanswered)?;
            Ok(check::Answer { sdp: answer.sdp, id: answer.id })
        };
        Box::pin(answered) as futures_util::future::BoxFuture<'static, _>
    };
    let end = move |id: &str| {
        sessions.end(id);
    };
    check::WebRtc::new(answer, end)
}

fn unanswered(error: endpoint::Unanswered) -> check::Unanswered {
    let say = error.to_string();
    match error {
        endpoint::Unanswered::Refused(refusal) => match refusal.code {
            RefuseCode::TokenRequired | RefuseCode::WrongToken => check::Unanswered::Grant(say),
            _ => check::Unanswered::Busy(say),
        },
        endpoint::Unanswered::Again => check::Unanswered::Grant(say),
        endpoint::Unanswered::Full => check::Unanswered::Busy(say),
        endpoint::Unanswered::Offer(_) | endpoint::Unanswered::Broke => check::Unanswered::Offer(say),
    }
}

fn config(
    at: SocketAddr,
    access: Access,
    identity: Option<&ServerIdentity>,
    external_ip: Option<IpAddr>,
) -> Result<endpoint::Config, CliError> {
    let loopback = endpoint::Config::loopback()
        .map_err(|error| CliError::Internal(format!("no certificate for the media endpoint: {error}")))?;
    let identity = identity.cloned().unwrap_or(loopback.identity);
    Ok(endpoint::Config {
        listen: vec![at.ip()],
        port: at.port(),
        access,
        identity,
        external_ip,
        web_rtc: true,
        ..loopback
    })
}

/// How a page reaches what listens there: where that is every address, by the name of the dashboard.
fn reached_at(listening: SocketAddr, base_url: &str) -> String {
    if !listening.ip().is_unspecified() {
        return listening.to_string();
    }
    let host = base_url.split("://").nth(1).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    format!("{name}:{}", listening.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_an_address_that_they_can_reach() {
        let told = |listening: &str, base: &str| reached_at(listening.parse().expect("an address"), base);
        assert_eq!(told("192.0.2.1:7443", "https://x.example"), "192.0.2.1:7443");
        assert_eq!(told("[2001:db8::1]:7443", "https://x.example"), "[2001:db8::1]:7443");
        assert_eq!(told("0.0.0.0:7443", "https://x.example"), "x.example:7443");
        assert_eq!(told("0.0.0.0:7443", "https://x.example:8443"), "x.example:7443");
        assert_eq!(told("[::]:7443", "https://[2001:db8::1]:8443"), "[2001:db8::1]:7443");
        assert_eq!(media_at("off"), Ok(MediaAt::Off));
        assert!(media_at("7443").is_err());
    }
}
