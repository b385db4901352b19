//! `greenroom serve export` and `import`: reports moved from one store to another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueHint};
use greenroom_web::clock::Clock;
use greenroom_web::store::Store;
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::transfer::{self, Exported, Problems, Settings, TransferError};

use super::count::Count;
use super::{PlaceArgs, open_postgres, store_error, verify};
use crate::cli::args::Global;
use crate::cli::exit::{CliError, Exit};
use crate::cli::{block_on, output, settings};

pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  greenroom serve export reports.zst                 what this user's server keeps, once stopped
  greenroom serve export reports.zst --data BACKUP   a backup, while the server goes on
  greenroom serve export reports.zst --store postgres://greenroom@db.example/greenroom

In the file are all tenants, reports with their notes, sums, and what people set up: users, keys,
links, agents and what they run, webhooks, the audit log. Not in it: sessions, messages of webhooks.
Keep it as safe as the store: it holds what is personal in reports, hashes of passwords and keys,
and the secrets of webhooks.

Exit codes:
  0 all of it is in the file, 1 not all, and what is missing is named, 64 wrong usage,
  66 it is no store or cannot be read, 69 it is in use or cannot be reached,
  73 the file cannot be written, or is there already";

pub(super) const IMPORT_EXAMPLES: &str = "\
Examples:
  greenroom serve import reports.zst --data /srv/greenroom
  greenroom serve import reports.zst --store postgres://greenroom@db.example/greenroom

Reports that are there stay as they are and are not counted twice: an import may be broken off and
repeated, and the store may hold others. So does what people set up: who has a name here keeps it.
A file that is cut off is not begun with. Tenants are known by name.

Exit codes:
  0 all of it is there, 1 not all, and what is missing is named, 64 wrong usage,
  66 the file is no export or cannot be read, 69 the store is in use or cannot be reached,
  73 it cannot be written";

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// File to be written; one that is there stays as it is
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Leave out what people set up (users, keys, links, agents, webhooks, rules of alerts, the audit log) and incidents
    #[arg(long)]
    reports_only: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// File that `greenroom serve export` wrote
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn export(args: &ExportArgs, global: &Global) -> Result<Exit, CliError> {
    let unwritable = |error: io::Error| CliError::output(&args.file, error);
    if fs::symlink_metadata(&args.file).is_ok() {
        return Err(unwritable(io::Error::new(io::ErrorKind::AlreadyExists, "it is there already")));
    }
    let part = part_of(&args.file);
    let settings = if args.reports_only { Settings::LeftOut } else { Settings::Included };
    let (done, name) = block_on(async {
        let (store, name) = verify::open(&args.place).await?;
        let file = create_private(&part).map_err(unwritable)?;
        let count = Count::start("reports", None, output::somebody_watches(global));
        let written = write(&*store, settings, file, &|n| count.at(n)).await;
        count.end();
        let written = written.and_then(|done| Ok(fs::rename(&part, &args.file).map(|()| done)?));
        let done = written.map_err(|error| {
            // Half of it is of no use.
            let _ = fs::remove_file(&part);
            match error {
                TransferError::Write(error) => unwritable(error),
                TransferError::Store(error) => verify::unreadable(&name, &error),
                error => CliError::Unavailable(format!("{name}: {error}")),
            }
        })?;
        Ok::<_, CliError>((done, name))
    })??;
    let size = fs::metadata(&args.file).map_or(0, |meta| meta.len());
    let text = format!(
        "Store    {name}\nFile     {} ({size} bytes)\nReports  {}; of {} more the header alone\nSettings {}\n",
        args.file.display(),
        done.reports,
        done.headers_alone,
        if args.reports_only { "left out".to_owned() } else { format!("{} rows", done.settings) }
    );
    tell(&done.problems, &text)
}

/// Writes an export, down to the disk.
async fn write(
    store: &dyn Store,
    settings: Settings,
    file: File,
    count: &(dyn Fn(u64) + Sync),
) -> Result<Exported, TransferError> {
    let mut out = BufWriter::new(file);
    let done = transfer::export(store, settings, Clock::system().now(), &mut out, &mut |n| count(n)).await?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(done)
}

pub(super) fn import(args: &ImportArgs, global: &Global) -> Result<Exit, CliError> {
    let unreadable = |error: &dyn std::fmt::Display| CliError::input(&args.file, error);
    let open = || File::open(&args.file).map_err(|error| unreadable(&error));
    let reports = transfer::check_whole(open()?).map_err(|error| unreadable(&error))?;
    let file = open()?;
    let place = args.place.place(&settings::process_env)?;
    let data = if place.is_some() { None } else { Some(args.place.data()?) };
    let count = Count::start("reports", Some(reports), output::somebody_watches(global));
    let (done, name) = block_on(async {
        let (store, name): (Arc<dyn Store>, PathBuf) = match (&place, data) {
            (Some(place), _) => (open_postgres(place).await?, place.to_string().into()),
            (None, Some(data)) => {
                let store = SqliteStore::open(&data).await.map_err(|error| store_error(&data, error))?;
                (Arc::new(store), data)
            }
            (None, None) => return Err(CliError::Internal("there is no place to write to".to_owned())),
        };
        let told = &mut |n| count.at(n);
        let done = transfer::import(&*store, file, told).await.map_err(|error| match error {
            TransferError::Read(error) => unreadable(&error),
            TransferError::Store(error) if place.is_some() => {
                CliError::Unavailable(format!("{}: {error}; repeat the import", name.display()))
            }
            TransferError::Store(error) => store_error(&name, error),
            error => CliError::Internal(error.to_string()),
        })?;
        Ok((done, name))
    })??;
    count.end();
    let text = format!(
        "Store    {}\nReports  {} new; {} were there already\nSettings {} rows new; {} were there already\n",
        name.display(),
        done.new,
        done.here,
        done.settings_new,
        done.settings_here
    );
    tell(&done.problems, &text)
}

/// What went wrong, if anything did, and then the rest.
fn tell(problems: &Problems, rest: &str) -> Result<Exit, CliError> {
    let mut text = String::new();
    for problem in &problems.told {
        text += &format!("{problem}\n");
    }
    if problems.more > 0 {
        text += &format!("… and {} more\n", problems.more);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    output::to_stdout(&(text + rest))?;
    Ok(if problems.told.is_empty() { Exit::Ready } else { Exit::Degraded })
}

pub(super) fn part_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    file.with_file_name(name)
}

/// What is in it is for this user alone. One that is left of a run that was broken off is written over.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
