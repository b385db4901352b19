//! A copy of a folder that may be in use meanwhile.
//!
//! The database is copied by `VACUUM INTO`, which is one reading transaction: everything up to a commit. The bytes of all reports that
//! it names were synced before that commit, so the day files are copied as far as the copied database names them. Nobody deletes or
//! overwrites anything in them meanwhile: whoever does that holds [`Hold`], too.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};

use super::{DATABASE, RAW, make_private};

/// File in the data folder that is locked while day files are copied, or while something in them is deleted.
const HOLD: &str = "raw.lock";

/// The right to delete from the day files, or to rely on nothing being deleted from them. Until dropped.
pub(super) struct Hold(#[expect(dead_code, reason = "locked while it is there")] Option<File>);

impl Hold {
    /// Takes it, if nobody else has it.
    pub(super) fn take(folder: &Path) -> io::Result<Option<Self>> {
        let Some(file) = open_hold(folder)? else { return Ok(Some(Self(None))) };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(Some(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for it.
    fn wait(folder: &Path) -> io::Result<Self> {
        let file = open_hold(folder)?;
        if let Some(file) = &file {
            file.lock()?;
        }
        Ok(Self(file))
    }
}

/// The file to be locked; `None` on a disk that nobody can write to.
fn open_hold(folder: &Path) -> io::Result<Option<File>> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(HOLD));
    match opened {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(None),
        opened => opened.map(Some),
    }
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Reports in the database.
    pub reports: u64,
    /// Day files.
    pub days: u64,
    /// Bytes of all.
    pub bytes: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// What is to be copied cannot be read.
    #[error("{0}")]
    Source(String),
    /// The copy cannot be written.
    #[error(transparent)]
    Target(#[from] io::Error),
}

impl BackupError {
    fn source(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::Source(format!("{what}: {error}"))
    }
}

/// Copies a folder, whether or not a server has it open, into one that is made for it; what is there stays as it is. All of it is on disk
/// when this returns, and before that nothing has the name `to`. Says how many bytes are copied, and of how many.
///
/// # Errors
/// When one cannot be read or the other one cannot be written, or is there.
pub async fn backup(
    folder: &Path,
    to: &Path,
    told: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Copied, BackupError> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there already").into());
    }
    let part = part_of(to);
    if fs::symlink_metadata(&part).is_ok() {
        let words = format!("{} is left of a backup that was broken off: delete it first", part.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, words).into());
    }
    let _hold = Hold::wait(folder).map_err(|error| BackupError::source(HOLD, &error))?;
    let copied = match fill(folder, &part, told).await {
        Ok(copied) => copied,
        Err(error) => {
            // Half of a copy is of no use.
            let _ = fs::remove_dir_all(&part);
            return Err(error);
        }
    };
    fs::rename(&part, to)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()?;
    Ok(copied)
}

fn part_of(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    to.with_file_name(name)
}

async fn fill(
    folder: &Path,
    part: &Path,
    told: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Copied, BackupError> {
    make_private(part)?;
    let raw = part.join(RAW);
    fs::create_dir(&raw)?;
    let database = part.join(DATABASE);
    copy_database(&folder.join(DATABASE), &database).await?;
    let (reports, days) = days_of(&database).await?;
    let mut copied = Copied { reports, ..Copied::default() };
    copied.bytes = fs::metadata(&database)?.len();
    let all = days.iter().map(|(_, length)| length).sum::<u64>() + copied.bytes;
    for (day, length) in &days {
        told(copied.bytes, all);
        let name = format!("{day}.grr");
        copy_day(&folder.join(RAW).join(&name), &raw.join(&name), *length)?;
        copied.days += 1;
        copied.bytes += length;
    }
    told(copied.bytes, all);
    for path in [&database, &raw, part] {
        File::open(path)?.sync_all()?;
    }
    Ok(copied)
}

async fn copy_database(from: &Path, to: &Path) -> Result<(), BackupError> {
    let cannot = |error: sqlx::Error| BackupError::source(DATABASE, &error);
    let target = to.to_str().ok_or_else(|| io::Error::other("its name is no text (UTF-8)"))?;
    let options = SqliteConnectOptions::new().filename(from).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(cannot)?;
    let copied = sqlx::query("VACUUM INTO $1").bind(target).execute(&mut connection).await;
    copied.map_err(|error| match error.as_database_error().and_then(DatabaseError::code).as_deref() {
        // SQLITE_FULL, SQLITE_CANTOPEN, SQLITE_IOERR_WRITE: the copy's.
        Some("13" | "14" | "778") => io::Error::other(error).into(),
        _ => cannot(error),
    })?;
    connection.close().await.map_err(cannot)
}

/// How many reports a copied database has, and how far it names each day's file.
async fn days_of(database: &Path) -> Result<(u64, Vec<(String, u64)>), BackupError> {
    let cannot = |error: sqlx::Error| BackupError::source("the copy of the database", &error);
    let options = SqliteConnectOptions::new().filename(database).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(cannot)?;
    let reports: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM report").fetch_one(&mut connection).await.map_err(cannot)?;
    let rows = sqlx::query(
        "SELECT raw_day, MAX(raw_offset + raw_length) AS length FROM report WHERE raw_day IS NOT NULL
         GROUP BY raw_day ORDER BY raw_day",
    )
    .fetch_all(&mut connection)
    .await
    .map_err(cannot)?;
    let day = |row: &sqlx::sqlite::SqliteRow| {
        let length: i64 = row.try_get("length").map_err(cannot)?;
        let length = u64::try_from(length).map_err(|error| BackupError::source(DATABASE, &error))?;
        Ok((row.try_get("raw_day").map_err(cannot)?, length))
    };
    let days: Result<Vec<_>, BackupError> = rows.iter().map(day).collect();
    connection.close().await.map_err(cannot)?;
    Ok((u64::try_from(reports).unwrap_or(0), days?))
}

fn copy_day(from: &Path, to: &Path, length: u64) -> Result<(), BackupError> {
    let cannot = |error: &dyn std::fmt::Display| BackupError::source(&from.display().to_string(), error);
    let file = File::open(from).map_err(|error| cannot(&error))?;
    let mut copy = OpenOptions::new().write(true).create_new(true).open(to)?;
    if io::copy(&mut file.take(length), &mut copy)? < length {
        return Err(cannot(&"it is shorter than the database says"));
    }
    Ok(copy.sync_all()?)
}
