//! A computer that checks on a schedule and sends what it finds.
//!
//! | module | what |
//! |---|---|
//! | [`spool`] | finished reports on the disk until the server has them |
//! | `pace` | when to send what (pure); when a run is due is `greenroom_reports::fleet` |
//! | [`identity`] | the key that was made here, and where it enrolled |
//! | [`server`] | the server as an agent talks to it |
//! | [`run`] | one run: plan and report |
//! | `runner`, `sender` | the two halves of an agent, and `desk`, what they have in common |
//! | [`status`] | how it is doing, for `greenroom agent status` |
//! | [`doctor`] | what keeps it from its work |
//! | [`service`] | the unit for systemd |

mod desk;
pub mod doctor;
pub mod identity;
mod metered;
mod own_cost;
mod pace;
pub mod run;
mod runner;
mod sender;
pub mod server;
pub mod service;
pub mod spool;
pub mod status;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use greenroom_reports::fleet::AgentConfig;
use tokio_util::sync::CancellationToken;

use self::desk::Office;
use self::identity::{Enrolled, IdentityError, Key};
use self::own_cost::Cost;
use self::run::Local;
use self::runner::Runner;
use self::sender::Sender;
use self::server::{Keys, ServerError, Session};
use self::spool::{Folder, Limits, Spool};
use self::status::Status;
use crate::address::Token;
use crate::net::clock::Clock;
use crate::net::upload::UploadUrl;

/// Where an agent keeps what it has.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

impl Place {
    /// This folder; it is made, for this user alone, unless it is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// The same, where nothing is to be made.
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The private key.
    pub fn key(&self) -> PathBuf {
        self.0.join("key")
    }

    /// Where it enrolled.
    pub fn enrolled(&self) -> PathBuf {
        self.0.join("enrolled.json")
    }

    /// How it is doing.
    pub fn status(&self) -> PathBuf {
        self.0.join("status.json")
    }

    /// Its reports.
    pub fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    /// Takes the folder for this process alone, until what is given is dropped. `None`: another one has it.
    ///
    /// # Errors
    /// When the lock cannot be made.
    pub fn lock(&self) -> io::Result<Option<File>> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.0.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// This computer did not enroll.
    #[error("this computer is not enrolled: greenroom agent enroll --server URL --token-file FILE")]
    NotEnrolled,
    /// It did already.
    #[error("this computer is enrolled at {0} already; --again enrolls it anew, as another agent")]
    Enrolled(String),
    /// Another process runs it.
    #[error("an agent is running with {} already; stop it first", .0.display())]
    Running(PathBuf),
    /// The folder cannot be used.
    #[error("{}: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its key or its enrollment cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The server said no.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The server's address in the folder is none.
    #[error(
        "the server's address that is kept is none: {0}; enroll this computer again: greenroom agent enroll --again"
    )]
    Address(String),
}

/// Makes this computer an agent of a server; what the server says of it.
///
/// The key is on the disk before the server learns of it, so that an answer which is lost costs nothing: the same key is the same agent.
///
/// # Errors
/// When it is one already (unless `again`), or the server does not enroll it.
pub async fn enroll(
    place: &Place,
    (server, url): (&str, &UploadUrl),
    token: &Token,
    name: &str,
    again: bool,
) -> Result<greenroom_reports::fleet::Enrolled, AgentError> {
    let folder = |source| AgentError::Folder { folder: place.folder().to_owned(), source };
    let _lock =
        place.lock().map_err(folder)?.ok_or_else(|| AgentError::Running(place.folder().to_owned()))?;
    if let Some(known) = Enrolled::read(&place.enrolled()).ok().flatten().filter(|_| !again) {
        return Err(AgentError::Enrolled(known.server));
    }
    let is_enrolled = place.enrolled().exists();
    let key = match Key::read(&place.key()) {
        // One that never came through: the server may know it already.
        Ok(Some(key)) if !is_enrolled => key,
        _ => {
            let _ = fs::remove_file(place.enrolled());
            let _ = fs::remove_file(place.key().with_extension("next"));
            // Another server's versions mean something else.
            let _ = fs::remove_file(place.config());
            let key = Key::make()?;
            key.keep(&place.key())?;
            key
        }
    };
    let answer = server::enroll(url, token, &key, name).await?;
    Enrolled { server: server.to_owned(), agent: answer.agent }.keep(&place.enrolled())?;
    Ok(answer)
}

/// Runs the agent of a folder until it is stopped.
///
/// # Errors
/// When it cannot begin. Once it runs, whatever fails is tried again.
pub async fn run(place: &Place, local: Local, stop: CancellationToken) -> Result<(), AgentError> {
    let folder = |source| AgentError::Folder { folder: place.folder().to_owned(), source };
    let _lock =
        place.lock().map_err(folder)?.ok_or_else(|| AgentError::Running(place.folder().to_owned()))?;
    let enrolled = Enrolled::read(&place.enrolled())?.ok_or(AgentError::NotEnrolled)?;
    let keys = Keys::read(&place.key())?.ok_or(AgentError::NotEnrolled)?;
    let url: UploadUrl = enrolled
        .server
        .parse()
        .map_err(|error: crate::net::upload::UploadUrlError| AgentError::Address(error.to_string()))?;
    let spool = Folder::open(&place.spool()).and_then(|disk| Spool::open(disk, Limits::default()));
    let spool = spool.map_err(folder)?;
    let clock = Clock::start();
    let boot = clock.new_id();
    tracing::info!(agent = %enrolled.agent, server = %url, waiting = spool.len(), "the agent runs");
    let office = Arc::new(Office::new(spool, kept_config(&place.config())));
    let runner = Runner {
        office: Arc::clone(&office),
        agent: enrolled.agent,
        boot,
        local,
        clock,
        cost: Cost::now().map(|cost| (clock.now(), cost)),
    };
    let sender = Sender {
        office,
        session: Session::new(url, &enrolled, keys, clock),
        clock,
        config_file: place.config(),
        status_file: place.status(),
        key_file: place.key(),
        status: Status { pid: std::process::id(), boot, ..Status::default() },
    };
    tokio::join!(runner.work(stop.clone()), sender.work(stop));
    Ok(())
}

/// The configuration that the server told last; until it tells another one, an agent that starts without a network goes on with it.
fn kept_config(path: &Path) -> AgentConfig {
    let nothing = AgentConfig { version: -1, check_in_s: 60, ..AgentConfig::default() };
    let Ok(text) = fs::read_to_string(path) else { return nothing };
    match serde_json::from_str::<AgentConfig>(&text) {
        Ok(config) if config.faults().is_empty() => config,
        _ => nothing,
    }
}
