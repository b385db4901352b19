//! `greenroom respond`: the endpoint that others check against.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::Bitrate;

use super::args::Global;
use super::exit::{CliError, Exit};
use super::signals::Signals;
use super::{block_on, output, values};
use crate::address::{DEFAULT_PORT, Host, SCHEME};
use crate::endpoint::{self, Config, Running, StartError};
use crate::net::identity::{IdentityError, ServerIdentity};
use crate::net::resolve;
use crate::proto::admission::{Access, Capacity, TokenSet};
use crate::proto::capacity::packets_for;
use crate::proto::control::Limits;
use crate::proto::reflector::OpenStamp;

/// How long open sessions may take to end once the endpoint is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct RespondArgs {
    /// Listen on this address: 0.0.0.0 for every IPv4 address of this computer, :: for every IPv6 one.
    /// Can be given more than once [default: loopback, for this computer alone]
    #[arg(long, value_name = "ADDR[:PORT]", help_heading = "Where")]
    listen: Vec<ListenAt>,

    /// The address that others know this computer by, when it stands behind NAT
    #[arg(long, value_name = "IP", help_heading = "Where")]
    external_ip: Option<IpAddr>,

    /// Serve health and metrics here, or `off`
    #[arg(long, value_name = "ADDR:PORT|off", default_value = "127.0.0.1:9443", help_heading = "Where")]
    health: Health,

    /// Let in only those who have a token of this file (one per line; - for standard input) [default: everybody]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Who")]
    token_file: Option<PathBuf>,

    /// Certificate chain in PEM [default: a self-made one, new at every start]
    #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath, help_heading = "Who")]
    cert: Option<PathBuf>,

    /// Private key of the certificate in PEM
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath, help_heading = "Who")]
    key: Option<PathBuf>,

    /// Also answer plain STAMP (RFC 8762) from anybody, for routers and other tools
    #[arg(long, value_name = "MODE", default_value = "off", help_heading = "Who")]
    plain_stamp: PlainStamp,

    /// Bit rate of all sessions together, each way
    #[arg(long, value_name = "RATE", default_value = "200M", value_parser = values::bitrate)]
    #[arg(help_heading = "How much")]
    max_bitrate: Bitrate,

    /// Bit rate of one session, each way: how far a capacity search can see
    #[arg(long, value_name = "RATE", default_value = "100M", value_parser = values::bitrate)]
    #[arg(help_heading = "How much")]
    max_session_bitrate: Bitrate,

    /// Packets per second of all sessions together, each way
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), help_heading = "How much")]
    max_pps: u32,

    /// Sessions at once
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..), help_heading = "How much")]
    max_sessions: u16,
}

/// An item of `--listen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ListenAt {
    ip: IpAddr,
    port: u16,
}

impl FromStr for ListenAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unbracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let at = unbracketed
            .parse()
            .map(|ip| SocketAddr::new(ip, DEFAULT_PORT))
            .or_else(|_| text.parse())
            .map_err(|_| {
                "write an IP address of this computer: 0.0.0.0, 192.0.2.1:7443 or [::]:7443".to_owned()
            })?;
        if at.port() == u16::MAX {
            return Err("the port must be below 65535: STAMP takes the next one".to_owned());
        }
        Ok(Self { ip: at.ip(), port: at.port() })
    }
}

/// `--health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Health(Option<SocketAddr>);

impl FromStr for Health {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|at| Self(Some(at)))
                .map_err(|_| "write an address with a port as 127.0.0.1:9443, or off".to_owned()),
        }
    }
}

/// `--plain-stamp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlainStamp {
    /// No
    Off,
    /// Yes, with the sender's own numbers
    Stateless,
    /// Yes, counting per sender, so that it knows the direction of a loss
    Stateful,
}

impl From<PlainStamp> for OpenStamp {
    fn from(plain: PlainStamp) -> Self {
        match plain {
            PlainStamp::Off => Self::Off,
            PlainStamp::Stateless => Self::Stateless,
            PlainStamp::Stateful => Self::Stateful,
        }
    }
}

pub(super) fn run(args: &RespondArgs, global: &Global) -> Result<Exit, CliError> {
    let access = args.access()?;
    let who = who_may(args, &access);
    let config = args.config(access)?;
    block_on(async {
        // Before anything listens: whoever stops it early is heard too.
        let mut signals = Signals::listen()
            .map_err(|error| CliError::Internal(format!("cannot listen for signals: {error}")))?;
        let running = endpoint::start(config).await.map_err(|error| args.start_error(error))?;
        let told = if global.quiet {
            urls(args, &running).join("\n") + "\n"
        } else {
            announcement(args, &running, &who)
        };
        output::to_stdout(&told)?;
        signals.next().await;
        stop(running, &mut signals, global).await;
        Ok(Exit::Ready)
    })?
}

/// Lets open sessions end, or not, when somebody is in a hurry.
async fn stop(running: Running, signals: &mut Signals, global: &Global) {
    let open = running.open_sessions();
    if open > 0 && !global.quiet {
        let sessions = if open == 1 { "1 session".to_owned() } else { format!("{open} sessions") };
        // Without standard error nobody reads it.
        let _ = writeln!(
            io::stderr(),
            "Stopping: {sessions} may end within {} s. Once more stops at once.",
            GRACE.as_secs()
        );
    }
    tokio::select! {
        () = running.shut_down(GRACE) => {}
        () = signals.next() => {}
    }
}

impl RespondArgs {
    fn config(&self, access: Access) -> Result<Config, CliError> {
        let port = self.listen.first().map_or(DEFAULT_PORT, |first| first.port);
        if let Some(other) = self.listen.iter().find(|at| at.port != port) {
            return Err(CliError::Usage(format!(
                "every --listen takes the same port, but {port} and {} were given; start a second endpoint for another port",
                other.port
            )));
        }
        let mut listen: Vec<IpAddr> = Vec::new();
        for at in &self.listen {
            if !listen.contains(&at.ip) {
                listen.push(at.ip);
            }
        }
        if listen.is_empty() {
            listen = endpoint::available_loopback();
        }
        Ok(Config {
            identity: self.identity(&listen)?,
            listen,
            port,
            external_ip: self.external_ip,
            web_rtc: false,
            access,
            capacity: self.capacity(),
            open_stamp: self.plain_stamp.into(),
            health: self.health.0,
            user_stamps: false,
        })
    }

    fn capacity(&self) -> Capacity {
        let default = Capacity::default();
        Capacity {
            max_sessions: usize::from(self.max_sessions),
            max_bitrate: self.max_bitrate,
            max_pps: self.max_pps,
            per_session: Limits {
                max_bitrate_bps: self.max_session_bitrate.min(self.max_bitrate),
                max_pps: default
                    .per_session
                    .max_pps
                    .max(packets_for(self.max_session_bitrate))
                    .min(self.max_pps),
                ..default.per_session
            },
            ..default
        }
    }

    fn access(&self) -> Result<Access, CliError> {
        let Some(path) = &self.token_file else { return Ok(Access::Open) };
        Ok(Access::Tokens(read_tokens(path)?))
    }

    fn identity(&self, listen: &[IpAddr]) -> Result<ServerIdentity, CliError> {
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            warn_if_shared(key);
            return ServerIdentity::from_files(certificate, key).map_err(|error| self.identity_error(error));
        }
        let addresses = listen.iter().chain(&self.external_ip).filter(|ip| !ip.is_unspecified());
        let names: BTreeSet<String> =
            addresses.map(IpAddr::to_string).chain(["localhost".to_owned()]).collect();
        ServerIdentity::self_made(names.into_iter().collect::<Vec<_>>())
            .map_err(|error| self.identity_error(error))
    }

    fn identity_error(&self, error: IdentityError) -> CliError {
        match error {
            IdentityError::Read { path, source } => CliError::input(&path, &source),
            IdentityError::Pem { path, wanted, source } => {
                CliError::Input { path, problem: format!("it holds no {wanted} in PEM ({source})") }
            }
            IdentityError::Unusable(source) => CliError::Input {
                path: self.cert.clone().unwrap_or_default(),
                problem: format!("certificate and key cannot be used together ({source})"),
            },
            IdentityError::Make(source) => CliError::Internal(format!("cannot make a certificate: {source}")),
        }
    }

    fn start_error(&self, error: StartError) -> CliError {
        match error {
            StartError::Identity(error) => self.identity_error(error),
            StartError::Udp(_) => CliError::Unavailable(format!(
                "{error} --listen ADDR:PORT does so; STAMP takes the port after it."
            )),
            other => CliError::Unavailable(other.to_string()),
        }
    }
}

/// Warns when others on this computer can read a file that holds secrets.
#[cfg(unix)]
pub(super) fn warn_if_shared(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    // What cannot be read is reported where it is read.
    if fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o077 != 0) {
        tracing::warn!("others on this computer can read {0}; chmod 600 {0} keeps it to you", path.display());
    }
}

#[cfg(not(unix))]
pub(super) fn warn_if_shared(_: &Path) {}

/// The addresses that others give to `greenroom check`, pinned to the certificate, best first.
fn urls(args: &RespondArgs, running: &Running) -> Vec<String> {
    let port = running.listeners().first().map_or(DEFAULT_PORT, |first| first.control.port());
    let mut hosts: Vec<(IpAddr, u16)> = Vec::new();
    if let Some(ip) = args.external_ip {
        hosts.push((ip, port));
    } else {
        for listener in running.listeners() {
            let ip = match listener.control.ip() {
                any if any.is_unspecified() => resolve::own_address(any.is_ipv4()),
                ip => Some(ip),
            };
            hosts.extend(ip.map(|ip| (ip, listener.control.port())).filter(|host| !hosts.contains(host)));
        }
    }
    // Nobody else gets to a loopback address, and who sits here needs but one.
    let first_reachable = hosts.iter().position(|(ip, _)| !ip.is_loopback());
    match first_reachable {
        Some(_) => hosts.retain(|(ip, _)| !ip.is_loopback()),
        None => hosts.truncate(1),
    }
    let url = |host: &dyn std::fmt::Display, port: u16| {
        format!("{SCHEME}://{host}:{port}#sha256={}", running.fingerprint())
    };
    if hosts.is_empty() {
        return vec![url(&"HOST", port)];
    }
    hosts.into_iter().map(|(ip, port)| url(&Host::Address(ip), port)).collect()
}

/// What is told once everything listens.
fn announcement(args: &RespondArgs, running: &Running, who: &str) -> String {
    let mut text = String::from("This computer answers checks. Run one against it:\n\n");
    for url in urls(args, running) {
        line(&mut text, &format!("  greenroom check {url}"));
    }
    text.push('\n');
    for (index, listener) in running.listeners().iter().enumerate() {
        let (control, stamp) = (listener.control, listener.stamp);
        let host = Host::Address(control.ip());
        let label = if index == 0 { "Listens on" } else { "" };
        line(
            &mut text,
            &format!(
                "{label:<11} {host}, UDP {} and {}, TCP {}",
                control.port(),
                stamp.port(),
                control.port()
            ),
        );
    }
    let mut say = |label: &str, what: &str| line(&mut text, &format!("{label:<11} {what}"));
    if running.listeners().iter().all(|listener| listener.control.ip().is_loopback()) {
        say("Reached by", "this computer alone. To let others in: greenroom respond --listen 0.0.0.0");
    }
    say("Open to", who);
    if args.plain_stamp != PlainStamp::Off {
        say("Plain STAMP", "answered to anybody, one reply per packet and never a longer one");
    }
    say(
        "Certificate",
        match args.cert {
            Some(_) => {
                "yours. The name in it will do in place of the address and #sha256=…, if a CA signed it"
            }
            None => "made for this start; #sha256=… changes with the next. Keep one with --cert and --key",
        },
    );
    let stamps = running.stamps();
    say("Stamps by", &stampers(stamps.rx, stamps.tx));
    match running.health() {
        Some(at) => say("Health", &format!("http://{at}/healthz, metrics on http://{at}/metrics")),
        None => say("Health", "not served"),
    }
    text.push_str("\nCtrl-C stops it.\n");
    text
}

fn line(text: &mut String, words: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{words}");
}

/// The tokens of a file, one a line.
pub(super) fn read_tokens(path: &Path) -> Result<TokenSet, CliError> {
    let text = if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        warn_if_shared(path);
        fs::read_to_string(path)
    };
    let tokens = TokenSet::parse(&text.map_err(|error| CliError::input(path, &error))?);
    if tokens.is_empty() {
        return Err(CliError::input(
            path,
            &"it holds no token, so nobody could measure. Write one token per line, or leave the file out",
        ));
    }
    Ok(tokens)
}

fn who_may(args: &RespondArgs, access: &Access) -> String {
    let capacity = args.capacity();
    let most = format!(
        "{} sessions, {} and {} packets/s each way in all",
        capacity.max_sessions, capacity.max_bitrate, capacity.max_pps
    );
    match access {
        Access::Tokens(tokens) => {
            let count = tokens.len();
            let tokens = if count == 1 { "the token" } else { "one of the tokens" };
            format!("whoever has {tokens} in the token file; {most}")
        }
        Access::Grants(..) => format!("whoever has a run grant; {most}"),
        Access::Open => format!(
            "everybody who reaches it; {most}, of which one network (/24 or /48)\n{:<11} gets a quarter and {} new sessions a minute. To restrict it: --token-file FILE",
            "", capacity.network_sessions_per_minute
        ),
    }
}

fn stampers(rx: StampSource, tx: StampSource) -> String {
    let name = |source| match source {
        StampSource::Hardware => "the network card",
        StampSource::Kernel => "the kernel",
        StampSource::User | StampSource::Unknown => "this program, whose own delays are in them",
    };
    if rx == tx {
        format!("{}, both ways", name(rx))
    } else {
        format!("{} on arrival, {} on departure", name(rx), name(tx))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        let at = |ip: &str, port| Ok(ListenAt { ip: ip.parse().expect("an address"), port });
        for (text, expected) in [
            ("0.0.0.0", at("0.0.0.0", 7443)),
            ("192.0.2.1:8000", at("192.0.2.1", 8000)),
            ("::", at("::", 7443)),
            ("[::]", at("::", 7443)),
            ("[2001:db8::1]:0", at("2001:db8::1", 0)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for text in ["", "localhost", "7443", ":7443", "192.0.2.1:65535", "192.0.2.1:x", "[::]:65535"] {
            assert!(text.parse::<ListenAt>().is_err(), "{text}");
        }
    }

    #[test]
    fn places_for_health() {
        assert_eq!("off".parse(), Ok(Health(None)));
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 9443));
        assert_eq!("127.0.0.1:9443".parse(), Ok(Health(Some(at))));
        assert!("9443".parse::<Health>().is_err());
    }
}
