//! `greenroom serve person`: what is kept on somebody, handed out or erased.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, Subcommand, ValueHint};
use greenroom_web::clock::Clock;
use greenroom_web::person::{self, ExportError};
use greenroom_web::store::{AuditEntry, Store, Tenant};

use super::export::{create_private, part_of};
use super::{PlaceArgs, verify};
use crate::cli::exit::{CliError, Exit};
use crate::cli::{block_on, output};

pub(super) const EXAMPLES: &str = "\
Examples:
  greenroom serve person export \"Ada L.\" ada.json  everything that is kept on her
  greenroom serve person erase \"Ada L.\" --yes      nothing tells any more whose her reports were

People are found by the label person of their reports, or of their check links, exactly as it is.
What is erased: labels but the site, agent, addresses, names of devices, notes. Verdicts, figures,
tickets and sums stay. Admins can do the same on the page People while the server runs. Both stand
in the audit log.

Exit codes:
  0 it is done, 64 wrong usage, 66 it is no store or cannot be read,
  69 it is in use or cannot be reached, 73 the file cannot be written, or is there already";

#[derive(Debug, Args)]
pub(crate) struct PersonArgs {
    #[command(subcommand)]
    command: PersonCommand,
}

#[derive(Debug, Subcommand)]
enum PersonCommand {
    /// Write everything that is kept on somebody into one file
    #[command(after_help = EXAMPLES)]
    Export {
        #[command(flatten)]
        who: WhoArgs,
        /// File to be written; one that is there stays as it is
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Erase somebody from everything that is kept
    #[command(after_help = EXAMPLES)]
    Erase {
        #[command(flatten)]
        who: WhoArgs,
        /// It cannot be undone
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct WhoArgs {
    /// The person, exactly as the reports have it
    #[arg(value_name = "PERSON")]
    person: String,

    /// Of which tenant, by name
    #[arg(long, value_name = "NAME", default_value = "first")]
    tenant: String,

    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn run(args: &PersonArgs) -> Result<Exit, CliError> {
    let told = match &args.command {
        PersonCommand::Export { who, file } => block_on(export(who, file))??,
        PersonCommand::Erase { who, .. } => block_on(erase(who))??,
    };
    output::to_stdout(&told)?;
    Ok(Exit::Ready)
}

/// An opened store, what it is called, and the tenant.
async fn open(who: &WhoArgs) -> Result<(std::sync::Arc<dyn Store>, String, Tenant), CliError> {
    let (store, name) = verify::open(&who.place).await?;
    let tenants = store.named_tenants().await.map_err(|error| verify::unreadable(&name, &error))?;
    let tenant = tenants.iter().find(|named| named.name == who.tenant).ok_or_else(|| {
        let names: Vec<_> = tenants.iter().map(|named| named.name.as_str()).collect();
        CliError::Usage(format!("--tenant: there is none of that name; there are: {}", names.join(", ")))
    })?;
    Ok((store, name, tenant.tenant))
}

/// Writes down what is done.
async fn audit(
    store: &dyn Store,
    name: &str,
    tenant: Tenant,
    action: &str,
    subject: String,
) -> Result<(), CliError> {
    let actor = "command line".to_owned();
    let entry = AuditEntry { tenant, at: Clock::system().now(), actor, action: action.to_owned(), subject };
    store.audit(&entry).await.map_err(|error| verify::unreadable(name, &error))
}

async fn export(who: &WhoArgs, to: &PathBuf) -> Result<String, CliError> {
    let unwritable = |error: io::Error| CliError::output(to, error);
    if fs::symlink_metadata(to).is_ok() {
        return Err(unwritable(io::Error::new(io::ErrorKind::AlreadyExists, "it is there already")));
    }
    let (store, name, tenant) = open(who).await?;
    audit(&*store, &name, tenant, "person.export", who.person.clone()).await?;
    let part = part_of(to);
    let mut file = create_private(&part).map_err(unwritable)?;
    let (out, mut pieces) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(4);
    let written = async {
        while let Some(piece) = pieces.recv().await {
            file.write_all(&piece?)?;
        }
        file.sync_all()?;
        fs::rename(&part, to)
    };
    let handed = async {
        let handed = person::export(&*store, tenant, &who.person, Clock::system().now(), &out).await;
        if handed.is_err() {
            let _ = out.send(Err(io::ErrorKind::BrokenPipe.into())).await;
        }
        drop(out);
        handed
    };
    let (handed, written) = tokio::join!(handed, written);
    if handed.is_err() || written.is_err() {
        // Half of it is of no use.
        let _ = fs::remove_file(&part);
    }
    match handed {
        Err(ExportError::Store(error)) => return Err(verify::unreadable(&name, &error)),
        Err(ExportError::Json(error)) => return Err(CliError::Internal(error.to_string())),
        Err(ExportError::Gone) | Ok(_) => {}
    }
    written.map_err(unwritable)?;
    Ok(format!("Store    {name}\nFile     {}\nReports  {}\n", to.display(), handed.unwrap_or(0)))
}

async fn erase(who: &WhoArgs) -> Result<String, CliError> {
    let (store, name, tenant) = open(who).await?;
    audit(&*store, &name, tenant, "person.erase", "begun".to_owned()).await?;
    let done = person::erase(&*store, tenant, &who.person).await;
    let done = done.map_err(|error| verify::unreadable(&name, &error))?;
    let told = format!(
        "{} reports, {} check links, {} entries of the audit log",
        done.reports, done.besides.links, done.besides.entries
    );
    audit(&*store, &name, tenant, "person.erase", told.clone()).await?;
    Ok(format!("Store    {name}\nErased   {told}\n"))
}
