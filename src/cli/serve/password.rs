//! `greenroom serve password`: a new password for somebody, when no admin can set it.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use greenroom_web::auth::password;
use greenroom_web::clock::Clock;
use greenroom_web::store::{AuditEntry, StoreError};

use super::{PlaceArgs, verify};
use crate::cli::exit::{CliError, Exit};
use crate::cli::{block_on, output};

pub(super) const EXAMPLES: &str = "\
Examples:
  greenroom serve password ann --password-file FILE  the file holds the new one
  greenroom serve password ann --password-file -     read it from standard input

For an admin who forgot it and has no other admin to ask: others get theirs on the page Users. Sessions
end, and it stands in the audit log.

Exit codes:
  0 it is done, 64 wrong usage, 66 there is no such user, or it is no store or cannot be read,
  69 it is in use or cannot be reached";

/// Most bytes that are read of a password's file.
const MOST: u64 = 4_096;

#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// Who, as they sign in
    #[arg(value_name = "NAME")]
    name: String,

    /// File with the new password (12 characters at least), or - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    password_file: PathBuf,

    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn run(args: &PasswordArgs) -> Result<Exit, CliError> {
    let new = read(&args.password_file).map_err(|error| CliError::input(&args.password_file, &error))?;
    let told = block_on(set(args, new))??;
    output::to_stdout(&told)?;
    Ok(Exit::Ready)
}

/// The first line, without its end.
fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        io::stdin().take(MOST).read_to_string(&mut text)?;
    } else {
        fs::File::open(file)?.take(MOST).read_to_string(&mut text)?;
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

async fn set(args: &PasswordArgs, new: String) -> Result<String, CliError> {
    let (store, name) = verify::open(&args.place).await?;
    let unreadable = |error: StoreError| verify::unreadable(&name, &error);
    let hash =
        password::hash(new).await.map_err(|error| CliError::Usage(format!("--password-file: {error}")))?;
    let found = store.user_by_name(&args.name).await.map_err(unreadable)?;
    let nobody = || CliError::input(Path::new(&name), &format!("nobody signs in as {:?}", args.name));
    let (user, _) = found.ok_or_else(nobody)?;
    if store.by_provider(user.tenant).await.map_err(unreadable)?.contains(&user.id) {
        let words = format!("{:?} comes by the sign-in provider and has no password here", args.name);
        return Err(CliError::Usage(words));
    }
    if !store.set_password(user.tenant, user.id, &hash).await.map_err(unreadable)? {
        return Err(nobody());
    }
    let entry = AuditEntry {
        tenant: user.tenant,
        at: Clock::system().now(),
        actor: "command line".to_owned(),
        action: "user.password".to_owned(),
        subject: user.name.clone(),
    };
    store.audit(&entry).await.map_err(unreadable)?;
    let may = user.role.map_or("; they are shut out all the same", |_| "");
    Ok(format!("Store     {name}\nPassword  set for {}{may}\n", args.name))
}
