//! The command line: one file per command.

mod agent;
mod args;
mod call;
mod catalog;
mod devices;
mod diagnose;
mod exit;
mod history;
mod logging;
mod manual;
mod measure;
mod output;
mod progress;
mod report;
mod respond;
mod secrets;
#[cfg(feature = "web")]
mod serve;
mod settings;
mod signals;
mod simulate;
mod targets;
pub mod values;

mod check;

use std::ffi::OsString;
use std::io::{self, Write as _};

use clap::{CommandFactory as _, FromArgMatches as _};

pub use exit::Exit;

use args::{Cli, Command};
use exit::CliError;

/// Runs the command that `args` (the program's name first) ask for, and says what the process should end with.
///
/// Data goes to standard output; progress, logs and errors go to standard error.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let outcome = secrets::refuse_in(&args).and_then(|()| match parse(&args)? {
        Parsed::Command(cli) => dispatch(&cli),
        Parsed::Told(text) => output::to_stdout(&text).map(|()| Exit::Ready),
    });
    outcome.unwrap_or_else(|error| {
        // Nothing is left to tell when standard error is gone too.
        let _ = writeln!(io::stderr(), "greenroom: {error}");
        error.exit()
    })
}

enum Parsed {
    Command(Box<Cli>),
    /// Help or the version was asked for.
    Told(String),
}

fn parse(args: &[OsString]) -> Result<Parsed, CliError> {
    let parsed = Cli::command().try_get_matches_from(args).and_then(|m| Cli::from_arg_matches(&m));
    match parsed {
        Ok(cli) => Ok(Parsed::Command(Box::new(cli))),
        Err(error) if error.use_stderr() => {
            let text = error.render().to_string();
            let text = text.trim_end().trim_start_matches("error: ");
            Err(CliError::Usage(text.to_owned()))
        }
        Err(told) => Ok(Parsed::Told(told.render().to_string())),
    }
}

fn dispatch(cli: &Cli) -> Result<Exit, CliError> {
    logging::start(&cli.global);
    match &cli.command {
        Command::Check(args) => check::run(args, &cli.global),
        Command::Diagnose(args) => diagnose::run(args, &cli.global),
        Command::Measure(args) => measure::run(args, &cli.global),
        Command::Respond(args) => respond::run(args, &cli.global),
        #[cfg(feature = "web")]
        Command::Serve(args) => serve::run(args, &cli.global),
        Command::Simulate(args) => simulate::run(args, &cli.global),
        Command::Agent(command) => agent::run(command, &cli.global),
        Command::Devices(args) => devices::run(args, &cli.global),
        Command::Report(command) => report::run(command, &cli.global),
        Command::History(args) => history::run(args, &cli.global),
        Command::Completions { shell } => manual::completions(*shell),
        Command::Man { command } => manual::page(command.as_deref()),
    }
}

/// A runtime for the commands that use the network. Packets are paced by threads of their own, not by it; those of an endpoint's sessions that
/// come over streams are answered on it.
fn block_on<F: Future>(future: F) -> Result<F::Output, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::Internal(format!("cannot start the runtime: {error}")))?;
    let output = runtime.block_on(future);
    // A resolver thread may still be waiting for an answer that nobody wants any more.
    runtime.shutdown_background();
    Ok(output)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::args::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
