//! `greenroom serve`.

mod alerts;
mod backup;
#[cfg(feature = "nats")]
mod bus;
mod count;
mod demo;
mod export;
mod gate;
mod media;
mod password;
mod person;
mod verify;

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};
use greenroom_web::check::EmbedOrigin;
use greenroom_web::clock::Clock;
use greenroom_web::store::postgres::{PostgresStore, PostgresUrl, has_password};
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::{Store, StoreError};
use greenroom_web::{AppState, Config};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::demo::{Demo, DemoFolder};
use super::args::Global;
use super::exit::{CliError, Exit};
use super::respond::warn_if_shared;
use super::signals::Signals;
use super::{block_on, output, settings};
use crate::net::identity::{IdentityError, ServerIdentity};
use crate::net::{http_server, tcp, tls};
use crate::system::give_back_soon;

/// How long open requests may take to end once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// File in the data folder that holds the link for the first admin.
const ADMIN_LINK: &str = "admin-link";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ServeArgs {
    #[command(subcommand)]
    command: Option<ServeCommand>,

    /// Listen on this address; beyond this computer only with --tls-cert, or with --plain-http behind a proxy
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080", help_heading = "Where")]
    listen: SocketAddr,

    /// How others reach it, for links: https://greenroom.example [default: the address it listens on]
    #[arg(long, value_name = "URL", value_parser = base_url, help_heading = "Where")]
    base_url: Option<String>,

    #[command(flatten)]
    media: media::MediaArgs,

    /// Let pages of this site use the check: https://app.example, once per site. Nobody else's may [default: none]
    #[arg(long, value_name = "ORIGIN", value_parser = EmbedOrigin::parse, help_heading = "Where")]
    embed_origin: Vec<EmbedOrigin>,

    #[command(flatten)]
    place: PlaceArgs,

    #[cfg(feature = "nats")]
    #[command(flatten)]
    bus: bus::BusArgs,

    /// Show what it is like: a month of 100 computers that do not exist, on this computer alone, gone when it ends
    #[arg(long, conflicts_with_all = ["data", "store", "store_file", "base_url", "tls_cert", "plain_http"], help_heading = "What is kept")]
    demo: bool,

    /// Days until reports and what is personal are deleted; sums stay
    #[arg(long, value_name = "COUNT", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=3650), help_heading = "What is kept")]
    keep_days: u16,

    /// Certificate chain in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    #[arg(help_heading = "TLS")]
    tls_cert: Option<PathBuf>,

    /// Private key of the certificate in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    #[arg(help_heading = "TLS")]
    tls_key: Option<PathBuf>,

    /// Serve others without TLS: passwords and reports can be read on the way, unless a proxy in front adds it
    #[arg(long, conflicts_with = "tls_cert", help_heading = "TLS")]
    plain_http: bool,

    #[command(flatten)]
    gate: gate::GateArgs,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  greenroom serve verify                                     what this user's server keeps, once it is stopped
  greenroom serve verify --data /srv/greenroom               another folder
  greenroom serve verify --store postgres://greenroom@db.example/greenroom

Each report is read and its header made again; sums are computed again where all of their reports are kept.
Nothing is repaired.

Exit codes:
  0 nothing is wrong, 1 something is and is named, 64 wrong usage, 66 it is no store or cannot be read,
  69 it is in use or cannot be reached";

/// What is done with a store other than serving it.
#[derive(Debug, Subcommand)]
enum ServeCommand {
    /// Look over what is kept: the database, every report, and the sums
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Copy the folder to another one, also while its server runs
    #[command(after_help = backup::EXAMPLES)]
    Backup(backup::BackupArgs),
    /// Write all reports into one file, for another store
    #[command(after_help = export::EXPORT_EXAMPLES)]
    Export(export::ExportArgs),
    /// Read reports from such a file
    #[command(after_help = export::IMPORT_EXAMPLES)]
    Import(export::ImportArgs),
    /// Hand out what is kept on somebody, or erase it
    #[command(after_help = person::EXAMPLES)]
    Person(person::PersonArgs),
    /// Set a new password for who forgot theirs and has no admin to ask
    #[command(after_help = password::EXAMPLES)]
    Password(password::PasswordArgs),
}

/// Where reports are kept.
#[derive(Debug, Args)]
struct PlaceArgs {
    /// Folder for everything that is kept [default: ~/.local/share/greenroom/serve]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "What is kept")]
    data: Option<PathBuf>,

    /// Keep reports in PostgreSQL (15 or later), which several nodes may share: postgres://USER@HOST/DATABASE. With a password: in
    /// GREENROOM_STORE, --store-file or PGPASSFILE [default: SQLite in the folder]
    #[arg(long, value_name = "URL", conflicts_with = "store_file", help_heading = "What is kept")]
    store: Option<String>,

    /// File with the URL of --store, which may have a password in it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "What is kept")]
    store_file: Option<PathBuf>,
}

/// Reads how others reach the server.
fn base_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let host = host.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_');
    if host.is_empty() || !host.chars().all(plain) {
        return Err("write https://HOST[:PORT], without a path".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

pub(super) fn run(args: &ServeArgs, global: &Global) -> Result<Exit, CliError> {
    match &args.command {
        Some(ServeCommand::Verify(args)) => return verify::run(args),
        Some(ServeCommand::Backup(args)) => return backup::run(args, global),
        Some(ServeCommand::Export(args)) => return export::export(args, global),
        Some(ServeCommand::Import(args)) => return export::import(args, global),
        Some(ServeCommand::Person(args)) => return person::run(args),
        Some(ServeCommand::Password(args)) => return password::run(args),
        None => {}
    }
    let identity = args.identity()?;
    let tls = identity.as_ref().map(|identity| args.acceptor(identity)).transpose()?;
    args.allow_address(tls.is_some())?;
    let demo_folder = args.demo_folder()?;
    let (data, place) = match &demo_folder {
        Some(folder) => (folder.path().to_owned(), None),
        None => (args.place.data()?, args.place.place(&settings::process_env)?),
    };
    let gate = args.gate.gate(&settings::process_env)?;
    give_back_soon();
    block_on(async {
        // Before anything listens: whoever stops it early is heard too.
        let mut signals = Signals::listen()
            .map_err(|error| CliError::Internal(format!("cannot listen for signals: {error}")))?;
        let listener = tcp::listen(args.listen).map_err(|error| args.listen_error(&error))?;
        let at = listener
            .local_addr()
            .map_err(|error| CliError::Internal(format!("the listener has no address: {error}")))?;
        let config = args.config(at, tls.is_some());
        let store = open_store(place.as_ref(), &data).await?;
        #[cfg(feature = "nats")]
        let nats = args.bus.connect(&settings::process_env).await?;
        let demo = args.fill_demo(&store, &data, global).await?;
        let state = AppState::start_with(config, store, Clock::system(), gate);
        #[cfg(feature = "nats")]
        let state = match &nats {
            Some(nats) => state.with_nats(nats),
            None => state,
        };
        let state = if demo.is_some() { state.as_demo() } else { state };
        let state = state.with_embedders(args.embed_origin.clone());
        let state = state.with_kept_grants().await.map_err(|error| store_error(&data, error))?;
        let (state, media) = args.media.start(state, at, identity.as_ref()).await?;
        state.meet_nodes().await.map_err(|error| store_error(&data, error))?;
        let link = state.bootstrap().await.map_err(|error| store_error(&data, error))?;
        keep_link(&data.join(ADMIN_LINK), link.as_deref())?;
        #[cfg(feature = "nats")]
        let bus = nats.map(|nats| nats.replicas());
        #[cfg(not(feature = "nats"))]
        let bus = None;
        let native = media.as_ref().and_then(|media| args.media.announcement(&state, media));
        let kept = Kept { place: place.as_ref(), data: &data, bus };
        output::to_stdout(&announcement(&state, &kept, link.as_deref(), native.as_deref(), global))?;
        let stop = CancellationToken::new();
        if let Some(demo) = demo {
            output::to_stdout(&told_of_demo(&demo, link.as_deref(), global))?;
            tokio::spawn(demo.go_on(state.clone(), stop.clone()));
        }
        let app = greenroom_web::app(state.clone());
        let serving = http_server::serve(listener, tls, app, stop.clone(), GRACE);
        let stopping = async {
            signals.next().await;
            stop.cancel();
            signals.next().await;
        };
        tokio::select! {
            () = async {
                serving.await;
                state.stop().await;
                if let Some(media) = media {
                    media.shut_down(GRACE).await;
                }
            } => {}
            // Whoever asks twice is in a hurry. What was acknowledged is durable.
            () = stopping => {}
        }
        Ok(Exit::Ready)
    })?
}

/// Opens the database that was named, else the folder.
async fn open_store(place: Option<&PostgresUrl>, data: &Path) -> Result<Arc<dyn Store>, CliError> {
    let Some(place) = place else {
        let store = SqliteStore::open(data).await.map_err(|error| store_error(data, error))?;
        return Ok(Arc::new(store));
    };
    // The folder holds the first admin's link all the same.
    make_private(data).map_err(|error| CliError::output(data, error))?;
    open_postgres(place).await
}

async fn open_postgres(place: &PostgresUrl) -> Result<Arc<dyn Store>, CliError> {
    if let Some(warning) = place.warning() {
        tracing::warn!("{warning}");
    }
    let store = PostgresStore::open(place).await.map_err(|error| match error {
        StoreError::Newer(..) | StoreError::Damaged(_) => {
            CliError::input(Path::new(&place.to_string()), &error)
        }
        error => CliError::Unavailable(error.to_string()),
    })?;
    Ok(Arc::new(store))
}

/// Makes a folder for this user alone.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

impl PlaceArgs {
    /// The database of --store, --store-file or GREENROOM_STORE. Its address is not repeated: it may hold a password.
    fn place(&self, env: settings::Env<'_>) -> Result<Option<PostgresUrl>, CliError> {
        if let Some(text) = &self.store {
            if has_password(text) {
                return Err(CliError::Usage(
                    "with a password in --store, everybody on this computer can read it: put the whole URL into the environment as \
                     GREENROOM_STORE or into a file for --store-file, or the password into a file that PGPASSFILE names"
                        .to_owned(),
                ));
            }
            let read = PostgresUrl::read(text);
            return read.map(Some).map_err(|problem| CliError::Usage(format!("--store: {problem}")));
        }
        if let Some(path) = &self.store_file {
            warn_if_shared(path);
            let text = fs::read_to_string(path).map_err(|error| CliError::input(path, &error))?;
            return PostgresUrl::read(text.trim())
                .map(Some)
                .map_err(|problem| CliError::input(path, &problem));
        }
        let Some(value) = env("GREENROOM_STORE").filter(|value| !value.is_empty()) else { return Ok(None) };
        let text = value
            .into_string()
            .map_err(|_| CliError::Usage("GREENROOM_STORE is not valid text (UTF-8)".to_owned()))?;
        let read = PostgresUrl::read(text.trim());
        read.map(Some).map_err(|problem| CliError::Usage(format!("GREENROOM_STORE: {problem}")))
    }

    fn data(&self) -> Result<PathBuf, CliError> {
        self.data.clone().or_else(|| settings::serve_dir(&settings::process_env)).ok_or_else(|| {
            CliError::Usage("say with --data where to keep reports: this user has no home".to_owned())
        })
    }
}

impl ServeArgs {
    /// The certificate and key that were given.
    fn identity(&self) -> Result<Option<ServerIdentity>, CliError> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        warn_if_shared(key);
        let identity = ServerIdentity::from_files(certificate, key);
        identity.map(Some).map_err(|error| self.identity_error(error))
    }

    fn acceptor(&self, identity: &ServerIdentity) -> Result<TlsAcceptor, CliError> {
        tls::acceptor(identity, &[b"http/1.1"]).map_err(|error| self.identity_error(error))
    }

    fn identity_error(&self, error: IdentityError) -> CliError {
        match error {
            IdentityError::Read { path, source } => CliError::input(&path, &source),
            IdentityError::Pem { path, wanted, source } => {
                CliError::Input { path, problem: format!("it holds no {wanted} in PEM ({source})") }
            }
            other => CliError::input(self.tls_cert.as_deref().unwrap_or(Path::new("")), &other),
        }
    }

    /// What others reach over a network is not served in the clear by accident.
    fn allow_address(&self, has_tls: bool) -> Result<(), CliError> {
        let ip = self.listen.ip();
        if !ip.is_loopback() && !has_tls && !self.plain_http {
            return Err(CliError::Usage(format!(
                "on {ip} others could read passwords and reports on the way: give --tls-cert and --tls-key, or --plain-http if \
                 a proxy in front of it adds TLS"
            )));
        }
        if ip.is_unspecified() && self.base_url.is_none() {
            return Err(CliError::Usage(format!(
                "say with --base-url how others reach it: {ip} is every address of this computer"
            )));
        }
        if has_tls && self.base_url.as_ref().is_some_and(|url| url.starts_with("http://")) {
            return Err(CliError::Usage("with --tls-cert, --base-url begins with https://".to_owned()));
        }
        Ok(())
    }

    /// The folder of a demonstration, where one is wanted. It never is one that holds something.
    fn demo_folder(&self) -> Result<Option<DemoFolder>, CliError> {
        if !self.demo {
            return Ok(None);
        }
        if !self.listen.ip().is_loopback() {
            return Err(CliError::Usage(
                "--demo is for this computer alone: leave --listen at 127.0.0.1".to_owned(),
            ));
        }
        #[cfg(feature = "nats")]
        if self.bus.is_given() {
            return Err(CliError::Usage("--demo has no --bus".to_owned()));
        }
        DemoFolder::make(&crate::net::clock::Clock::start()).map(Some)
    }

    async fn fill_demo(
        &self,
        store: &Arc<dyn Store>,
        data: &Path,
        global: &Global,
    ) -> Result<Option<Demo>, CliError> {
        if !self.demo {
            return Ok(None);
        }
        if !global.quiet {
            // Without standard error nobody reads it.
            let _ = writeln!(io::stderr(), "Making up a month of 100 computers; this takes about a minute.");
        }
        let filled = Demo::fill(store, Clock::system().now()).await;
        filled.map(Some).map_err(|error| store_error(data, error))
    }

    fn config(&self, at: SocketAddr, has_tls: bool) -> Config {
        let scheme = if has_tls { "https" } else { "http" };
        let base_url = self.base_url.clone().unwrap_or_else(|| format!("{scheme}://{at}"));
        Config { secure: base_url.starts_with("https://"), base_url, keep_days: self.keep_days }
    }

    fn listen_error(&self, error: &io::Error) -> CliError {
        let at = self.listen;
        CliError::Unavailable(match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("{at} is in use by another program; --listen ADDR:PORT takes another one")
            }
            io::ErrorKind::AddrNotAvailable => format!("{at} is no address of this computer"),
            _ => format!("cannot listen on {at}: {error}"),
        })
    }
}

fn store_error(data: &Path, error: StoreError) -> CliError {
    match error {
        StoreError::InUse(_) => CliError::Unavailable(error.to_string()),
        StoreError::Newer(..) | StoreError::Damaged(_) => CliError::input(data, &error),
        StoreError::Unavailable(_) | StoreError::Taken(_) => CliError::output(data, io::Error::other(error)),
    }
}

/// Writes the link for the first admin into a file for this user alone; without one, an old file goes.
fn keep_link(path: &Path, link: Option<&str>) -> Result<(), CliError> {
    // Not written over: its permissions would stay what they are.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(CliError::output(path, error)),
        _ => {}
    }
    let Some(link) = link else { return Ok(()) };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| writeln!(file, "{link}"));
    written.map_err(|error| CliError::output(path, error))
}

/// What a demonstration has, and the way in: there is nothing to be kept from a log.
fn told_of_demo(demo: &Demo, link: Option<&str>, global: &Global) -> String {
    if global.quiet {
        return String::new();
    }
    let mut text =
        format!("\nMade up     {} reports of a month; what went wrong in it (UTC):\n", demo.reports);
    for line in demo.incidents() {
        text += &format!("            {line}\n");
    }
    if let Some(link) = link {
        text += &format!(
            "Come in by  {link}\n            choose a name and a password there; all of it is gone when this ends\n"
        );
    }
    text
}

/// Where reports are kept.
struct Kept<'a> {
    place: Option<&'a PostgresUrl>,
    data: &'a Path,
    /// On how many servers of the bus, where there is one.
    bus: Option<usize>,
}

/// Says where it is and how to come in. The link is a secret: it is shown to a person, not to a log.
fn announcement(
    state: &AppState,
    kept: &Kept<'_>,
    link: Option<&str>,
    native: Option<&str>,
    global: &Global,
) -> String {
    let Kept { place, data, bus } = kept;
    let config = &state.config;
    if global.quiet {
        return format!("{}\n", config.base_url);
    }
    let mut text = format!("Dashboard   {}\n", config.base_url);
    text += &format!("Check page  {}/check\n", config.base_url);
    text += &match &state.media {
        Some(media) => {
            format!("            measures against {} (UDP)\n", media.url.trim_end_matches("/media"))
        }
        None => "            looks at devices only: there is no media endpoint\n".to_owned(),
    };
    text += native.unwrap_or_default();
    let place = place.map_or_else(|| data.display().to_string(), ToString::to_string);
    text += &format!("Data        {place}; reports are kept for {} days\n", config.keep_days);
    if let Some(copies) = bus {
        let copies = if *copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") };
        text += &format!("Bus         NATS JetStream, {copies} of each report until it is in the database\n");
    }
    if let Some(link) = link.filter(|_| !state.is_demo()) {
        let file = data.join(ADMIN_LINK);
        text += &match io::stdout().is_terminal() {
            true => format!(
                "First admin {link}\n            good once, for 15 minutes; also in {}\n",
                file.display()
            ),
            false => {
                format!("First admin: the link stands in {}: good once, for 15 minutes\n", file.display())
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn args(line: &str) -> ServeArgs {
        Line::try_parse_from(["serve"].into_iter().chain(line.split_whitespace())).expect("valid").args
    }

    #[test]
    fn beyond_this_computer_it_takes_tls_or_words() {
        for line in ["", "--listen [::1]:8080", "--listen 192.0.2.1:80 --plain-http"] {
            assert!(args(line).allow_address(false).is_ok(), "{line}");
        }
        let refused = args("--listen 192.0.2.1:80").allow_address(false).expect_err("in the clear");
        assert!(refused.to_string().contains("--plain-http"), "{refused}");
        assert!(args("--listen 192.0.2.1:443").allow_address(true).is_ok());
        assert!(args("--listen 0.0.0.0:443").allow_address(true).is_err(), "what would links begin with?");
        assert!(args("--listen 0.0.0.0:443 --base-url https://x.example").allow_address(true).is_ok());
        assert!(args("--base-url http://x.example").allow_address(true).is_err());
    }

    #[test]
    fn a_password_is_taken_from_where_others_do_not_see_it() {
        let nothing = |_: &str| None;
        let refused =
            args("--store postgres://u:hunter2@db.example/g").place.place(&nothing).expect_err("in argv");
        assert!(refused.to_string().contains("GREENROOM_STORE"), "{refused}");
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
        let by_env = |_: &str| Some("postgres://u:hunter2@db.example/g".into());
        let place = args("").place.place(&by_env).expect("readable").expect("named");
        assert_eq!(place.to_string(), "PostgreSQL at db.example:5432/g");
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "postgres://u:hunter2@db.example/g\n").expect("written");
        let line = format!("--store-file {}", file.path().display());
        assert!(args(&line).place.place(&nothing).expect("readable").is_some());
        fs::write(file.path(), "mysql://u:hunter2@db.example/g").expect("written");
        let refused = args(&line).place.place(&nothing).expect_err("another database").to_string();
        assert!(refused.contains("postgres://") && !refused.contains("hunter2"), "{refused}");
        assert!(args("").place.place(&nothing).expect("nothing").is_none());
    }

    #[test]
    fn links_begin_with_what_is_given_or_where_it_listens() {
        let at = "127.0.0.1:8080".parse().expect("an address");
        let here = args("").config(at, false);
        assert_eq!((here.base_url.as_str(), here.secure), ("http://127.0.0.1:8080", false));
        let behind_a_proxy = args("--base-url https://x.example/").config(at, false);
        assert_eq!((behind_a_proxy.base_url.as_str(), behind_a_proxy.secure), ("https://x.example", true));
        for wrong in ["x.example", "https://x.example/app", "https://u@x.example", "https://"] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_link_is_for_this_user_alone_and_goes_when_it_is_spent() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(ADMIN_LINK);
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        keep_link(&path, Some("http://x/first/y")).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("read"), "http://x/first/y\n");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        keep_link(&path, None).expect("removed");
        assert!(!path.exists());
    }
}
