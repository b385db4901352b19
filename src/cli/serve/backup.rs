//! `greenroom serve backup`: a copy of the folder while the server goes on.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use greenroom_web::store::sqlite::{BackupError, DATABASE, backup};

use super::PlaceArgs;
use super::count::Count;
use crate::cli::args::Global;
use crate::cli::exit::{CliError, Exit};
use crate::cli::{block_on, output, settings};

pub(super) const EXAMPLES: &str = "\
Examples:
  greenroom serve backup /backup/2026-11-29          what this user's server keeps, while it runs
  greenroom serve verify --data /backup/2026-11-29   look the copy over
  greenroom serve --data /backup/2026-11-29          go on with it

The folder is made; it then holds everything up to one commit, users, keys and links too.
PostgreSQL has tools of its own:
  pg_dump --format=custom --file=greenroom.dump 'postgres://greenroom@db.example/greenroom'

Exit codes:
  0 all of it is copied and on disk, 64 wrong usage, 66 it is no store or cannot be read,
  73 the copy cannot be written, or is there already";

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Folder to be made
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    to: PathBuf,

    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn run(args: &BackupArgs, global: &Global) -> Result<Exit, CliError> {
    if let Some(place) = args.place.place(&settings::process_env)? {
        return Err(CliError::Usage(format!(
            "{place} is copied by its own tools: pg_dump --format=custom --file=greenroom.dump DATABASE (and pg_restore)"
        )));
    }
    let data = args.place.data()?;
    let database = data.join(DATABASE);
    if !database.is_file() {
        let problem = "there is no such file: --data names a folder that greenroom serve keeps reports in";
        return Err(CliError::input(&database, &problem));
    }
    let count = Count::start("bytes", None, output::somebody_watches(global));
    let copied = block_on(backup(&data, &args.to, &mut |n, all| count.of(n, all)))?;
    count.end();
    let copied = copied.map_err(|error| match error {
        BackupError::Source(problem) => CliError::input(&data, &problem),
        BackupError::Target(error) => CliError::output(&args.to, error),
    })?;
    output::to_stdout(&format!(
        "Store    {}\nCopy     {} ({} bytes, {} days)\nReports  {}\n",
        data.display(),
        args.to.display(),
        copied.bytes,
        copied.days,
        copied.reports
    ))?;
    Ok(Exit::Ready)
}
