//! `greenroom serve verify`: a store looked over.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use greenroom_web::clock::Clock;
use greenroom_web::store::sqlite::{DATABASE, SqliteStore};
use greenroom_web::store::{Store, StoreError};
use greenroom_web::verify::{Findings, verify};

use super::{PlaceArgs, open_postgres};
use crate::cli::exit::{CliError, Exit};
use crate::cli::{block_on, output, settings};

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn run(args: &VerifyArgs) -> Result<Exit, CliError> {
    block_on(async {
        let (store, name) = open(&args.place).await?;
        let found =
            verify(&*store, Clock::system().now()).await.map_err(|error| unreadable(&name, &error))?;
        output::to_stdout(&words(&name, &found))?;
        Ok(if found.is_sound() { Exit::Ready } else { Exit::Degraded })
    })?
}

/// Opens a store that is there, and says what it is called.
pub(super) async fn open(place: &PlaceArgs) -> Result<(Arc<dyn Store>, String), CliError> {
    if let Some(place) = place.place(&settings::process_env)? {
        return Ok((open_postgres(&place).await?, place.to_string()));
    }
    let data = place.data()?;
    Ok((open_folder(&data).await?, data.display().to_string()))
}

/// Opens a folder that holds a store: an empty one is not made to be found sound.
async fn open_folder(data: &Path) -> Result<Arc<dyn Store>, CliError> {
    let name = data.display().to_string();
    let file = data.join(DATABASE);
    if !file.is_file() {
        let problem = "there is no such file: --data names a folder that greenroom serve keeps reports in";
        return Err(CliError::input(&file, &problem));
    }
    let store = SqliteStore::open(data).await.map_err(|error| match error {
        StoreError::InUse(_) => {
            CliError::Unavailable(format!("{name} is in use by a running greenroom serve: stop it first"))
        }
        error => unreadable(&name, &error),
    })?;
    Ok(Arc::new(store))
}

pub(super) fn unreadable(name: &str, error: &StoreError) -> CliError {
    CliError::input(Path::new(name), error)
}

fn words(name: &str, found: &Findings) -> String {
    let mut text = String::new();
    for problem in &found.problems {
        text += &format!("{problem}\n");
    }
    if found.more > 0 {
        text += &format!("… and {} more\n", found.more);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text += &format!("Store     {name}\n");
    text +=
        &format!("Reports   {} read; of {} the header alone is kept\n", found.reports, found.headers_alone);
    text += &format!(
        "Roll-ups  {} computed again from their reports; {} could not be: not all of their reports are kept and readable\n",
        found.buckets, found.buckets_open
    );
    if found.busy_days > 0 {
        text += &format!(
            "          of {} days they were not compared: reports came in meanwhile\n",
            found.busy_days
        );
    }
    let wrong = u64::try_from(found.problems.len()).unwrap_or(u64::MAX).saturating_add(found.more);
    text += &match wrong {
        0 => "Verdict   nothing is wrong\n".to_owned(),
        1 => "Verdict   one thing is wrong; it is named above\n".to_owned(),
        n => format!("Verdict   {n} things are wrong; they are named above\n"),
    };
    text
}
