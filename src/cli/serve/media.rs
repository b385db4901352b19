//! The media endpoint beside the dashboard: for its check page, and for whom its operator gave a token.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueHint};
use greenroom_web::AppState;
use greenroom_web::check::{self, Fallback, Media};

use super::gate::given;
use crate::address::{SCHEME, TargetUrl, Token};
use crate::cli::exit::CliError;
use crate::cli::respond::{read_tokens, warn_if_shared};
use crate::cli::settings;
use crate::endpoint;
use crate::net::identity::ServerIdentity;
use crate::proto::admission::{Access, Capacity};
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

    /// Sessions at once that the media endpoint takes
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..), help_heading = "Where")]
    endpoint_sessions: u16,

    /// A relay that the check page tries where the direct way fails: turn:HOST[:PORT][?transport=udp|tcp] or turns:HOST[:PORT]. Can be
    /// given more than once, for each way and port by itself
    #[arg(long, value_name = "URL", value_parser = relay, help_heading = "Where")]
    turn: Vec<String>,

    /// File with the secret that the relays share with this server (coturn: static-auth-secret), from which pages are given user names
    /// for five minutes; also as GREENROOM_TURN_SECRET
    #[arg(long, value_name = "FILE", requires = "turn", value_hint = ValueHint::FilePath, help_heading = "Where")]
    turn_secret_file: Option<PathBuf>,
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

/// A relay as browsers are told of it.
fn relay(text: &str) -> Result<String, String> {
    match text.parse() {
        Ok(TargetUrl::Other(url)) if url.kind.is_relay() => Ok(url.to_string()),
        Ok(_) => Err("write turn:HOST[:PORT][?transport=udp|tcp] or turns:HOST[:PORT]".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl MediaArgs {
    /// Starts the endpoint, with the certificate of the dashboard where that has one; pages are let in by grants of the dashboard.
    pub(super) async fn start(
        &self,
        state: AppState,
        at: SocketAddr,
        identity: Option<&ServerIdentity>,
    ) -> Result<(AppState, Option<endpoint::Running>), CliError> {
        let turn = self.turn(&settings::process_env)?;
        let tokens = self.endpoint_token_file.as_deref().map(read_tokens).transpose()?;
        let tokens = tokens.unwrap_or_default();
        let config = |at| {
            let access = Access::Grants(GrantKey(state.grants.public_key()), tokens.clone());
            config(at, access, identity, self)
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
            turn,
        };
        Ok((state.with_media(media), Some(running)))
    }

    /// The relays of --turn, with the secret of --turn-secret-file or GREENROOM_TURN_SECRET. Nothing of it is repeated in a message.
    fn turn(&self, env: settings::Env<'_>) -> Result<Option<check::Turn>, CliError> {
        if self.turn.is_empty() {
            return Ok(None);
        }
        if self.turn.len() > check::Turn::MOST {
            return Err(CliError::Usage(format!("--turn can be given {} times at most", check::Turn::MOST)));
        }
        let secret = match &self.turn_secret_file {
            Some(path) => {
                warn_if_shared(path);
                let text = std::fs::read_to_string(path).map_err(|error| CliError::input(path, &error))?;
                let secret = text.trim().to_owned();
                if secret.is_empty() {
                    return Err(CliError::input(path, &"the file holds no secret"));
                }
                secret
            }
            None => given(None, env, "GREENROOM_TURN_SECRET")?.filter(|secret| !secret.is_empty()).ok_or_else(|| {
                CliError::Usage(
                    "--turn needs the secret that the relay shares with this server: --turn-secret-file, or GREENROOM_TURN_SECRET".to_owned(),
                )
            })?,
        };
        Ok(Some(check::Turn::new(self.turn.clone(), &secret)))
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
    args: &MediaArgs,
) -> Result<endpoint::Config, CliError> {
    let loopback = endpoint::Config::loopback()
        .map_err(|error| CliError::Internal(format!("no certificate for the media endpoint: {error}")))?;
    let identity = identity.cloned().unwrap_or(loopback.identity);
    Ok(endpoint::Config {
        listen: vec![at.ip()],
        port: at.port(),
        access,
        identity,
        external_ip: args.external_ip,
        web_rtc: true,
        capacity: Capacity { max_sessions: usize::from(args.endpoint_sessions), ..loopback.capacity },
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

    #[test]
    fn relays_are_told_as_browsers_read_them_and_need_a_secret() {
        for (text, told) in [
            ("turn:Relay.Example", "turn:relay.example"),
            ("turn:relay.example:443?transport=tcp", "turn:relay.example:443?transport=tcp"),
            ("turns:[2001:db8::1]:443", "turns:[2001:db8::1]:443"),
        ] {
            assert_eq!(relay(text).as_deref(), Ok(told));
        }
        for wrong in ["relay.example", "stun:relay.example", "turn:alice:hunter2@relay.example", "turn:"] {
            let refused = relay(wrong).expect_err(wrong);
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        let args = |turn: &[&str], file: Option<PathBuf>| MediaArgs {
            endpoint: None,
            endpoint_token_file: None,
            external_ip: None,
            endpoint_sessions: 64,
            turn: turn.iter().map(|url| (*url).to_owned()).collect(),
            turn_secret_file: file,
        };
        let nothing = |_: &str| None;
        let set = |name: &str| (name == "GREENROOM_TURN_SECRET").then(|| " hunter2\n".into());
        let one = &["turn:relay.example"][..];
        assert!(args(&[], None).turn(&set).expect("none is wanted").is_none());
        let refused = args(one, None).turn(&nothing).expect_err("no secret");
        assert!(refused.to_string().contains("GREENROOM_TURN_SECRET"), "{refused}");
        let turn = args(one, None).turn(&set).expect("a secret").expect("wanted");
        assert!(!format!("{turn:?}").contains("hunter2"), "{turn:?}");
        let many = vec!["turn:relay.example"; check::Turn::MOST + 1];
        let refused = args(&many, None).turn(&set).expect_err("more than a page tells of");
        assert!(refused.to_string().contains("--turn"), "{refused}");
        let empty = tempfile::NamedTempFile::new().expect("a file");
        assert!(args(one, Some(empty.path().to_owned())).turn(&set).is_err(), "the file is what counts");
    }
}
