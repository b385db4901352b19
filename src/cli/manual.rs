//! `greenroom completions` and `greenroom man`, both made from the command line's definition.

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::args::Cli;
use super::exit::{CliError, Exit};
use super::output;

pub(super) fn completions(shell: Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "greenroom", &mut script);
    output::bytes_to_stdout(&script)?;
    Ok(Exit::Ready)
}

/// Prints the manual page of the program, or of one command (`report` and `report show` alike).
pub(super) fn page(command: Option<&str>) -> Result<Exit, CliError> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let wanted = match command {
        None => root,
        Some(name) => find(&root, name)
            .ok_or_else(|| CliError::Usage(format!("there is no command `{name}`; see greenroom --help")))?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(wanted)
        .render(&mut page)
        .map_err(|error| CliError::Internal(format!("the manual cannot be rendered: {error}")))?;
    output::bytes_to_stdout(&page)?;
    Ok(Exit::Ready)
}

/// Finds a command by its path, as in `report show` or `report-show`.
fn find(root: &Command, path: &str) -> Option<Command> {
    path.split([' ', '-']).try_fold(root, |command, part| command.find_subcommand(part)).cloned()
}
