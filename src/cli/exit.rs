//! Exit codes, and the errors that end a command with one.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use thiserror::Error;

/// What a command ends with. 0 to 3 are verdicts, the rest is `sysexits.h`'s and the shell's convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Ready, or the command did its work.
    Ready = 0,
    /// It will work, with trouble.
    Degraded = 1,
    /// It will not work, or a permission is missing.
    Blocked = 2,
    /// The measurement cannot tell.
    Inconclusive = 3,
    /// The command line or the settings are wrong.
    Usage = 64,
    /// A file to be read is missing, unreadable or not what it should be.
    NoInput = 66,
    /// The endpoint could not be measured at all, for a reason that says nothing about the call.
    Unavailable = 69,
    /// A bug.
    Internal = 70,
    /// A result could not be written.
    CannotWrite = 73,
    /// Somebody pressed Ctrl-C; what was measured until then is in the report.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do its work. The message says what to do.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// The command line or the settings are wrong.
    #[error("{0}")]
    Usage(String),
    /// A file could not be read, or is not what it should be.
    #[error("cannot read {}: {problem}", path.display())]
    Input {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Something that is needed cannot be had now.
    #[error("{0}")]
    Unavailable(String),
    /// A result could not be written.
    #[error("cannot write {to}: {source}")]
    Output {
        /// File name, or "standard output".
        to: String,
        /// What the system said.
        source: io::Error,
    },
    /// A report could not be sent.
    #[error("the report was not sent to {to}: {problem}")]
    Upload {
        /// Where to.
        to: String,
        /// Why not.
        problem: String,
    },
    /// A bug.
    #[error("internal error: {0}; please report this")]
    Internal(String),
}

impl CliError {
    /// A file that could not be read.
    pub(crate) fn input(path: &Path, problem: &dyn std::fmt::Display) -> Self {
        Self::Input { path: path.to_owned(), problem: problem.to_string() }
    }

    /// A file that could not be written.
    pub(crate) fn output(path: &Path, source: io::Error) -> Self {
        Self::Output { to: path.display().to_string(), source }
    }

    /// The code that it ends the program with.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Input { .. } => Exit::NoInput,
            Self::Unavailable(_) => Exit::Unavailable,
            Self::Output { .. } | Self::Upload { .. } => Exit::CannotWrite,
            Self::Internal(_) => Exit::Internal,
        }
    }
}
