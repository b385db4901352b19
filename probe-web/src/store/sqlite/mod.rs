//! The default store: one SQLite file (WAL, `synchronous=FULL`) and a file of raw reports a day.
//!
//! One connection writes, so that no transaction ever waits for a lock that it cannot get; a few others read. Raw bytes are synced
//! before the commit that names them: whoever sees a header finds its report.

mod backend;
mod backup;
mod ingest;
mod many;
mod pending;
mod raw;
mod redact;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, Sqlite, Transaction};
use tokio::sync::{Mutex, MutexGuard};

pub use self::backup::{BackupError, Copied, backup};
use self::raw::DayFiles;
use super::sql::{Query, Value, bind_all, broken};
use super::{Result, StoreError};

/// Connections that read.
const READERS: u32 = 4;

/// Rows that a reader's thread finds before they are taken from it: a look at a fleet is for thousands, and each wait is a switch of
/// threads.
const ROWS_AHEAD: usize = 1_024;

/// Versions of the schema, in order. What was released is never changed; a change is a new one.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "begin", include_str!("migrations/1_begin.sql")),
    (2, "links", include_str!("migrations/2_links.sql")),
    (3, "key use", include_str!("migrations/3_key_use.sql")),
    (4, "import", include_str!("migrations/4_import.sql")),
    (10, "wipe", include_str!("migrations/10_wipe.sql")),
    (20, "identity", include_str!("migrations/20_identity.sql")),
    (21, "webhook", include_str!("migrations/21_webhook.sql")),
    (22, "grant", include_str!("migrations/22_grant.sql")),
    (23, "tenant", include_str!("migrations/23_tenant.sql")),
    (30, "agents", include_str!("migrations/30_agents.sql")),
    (40, "incidents", include_str!("migrations/40_incidents.sql")),
    (41, "pending", include_str!("migrations/41_pending.sql")),
];

/// Name of the database's file in the folder.
pub const DATABASE: &str = "greenroom.db";

/// Name of the folder of day files in the folder.
const RAW: &str = "raw";

/// A store in a folder.
pub struct SqliteStore {
    writer: Mutex<SqliteConnection>,
    options: SqliteConnectOptions,
    readers: SqlitePool,
    files: DayFiles,
    folder: PathBuf,
    /// How many rows wait to be added to the roll-ups; never fewer than there are.
    pending: AtomicUsize,
    /// Held while the store is open.
    _lock: File,
}

impl SqliteStore {
    /// Opens the store in a folder, or begins one; brings an older one up to date.
    ///
    /// # Errors
    /// When the folder cannot be written to, another process has it open, or a newer version wrote it.
    pub async fn open(folder: &Path) -> Result<Self> {
        let cannot = |what: &str, error: &dyn std::fmt::Display| {
            StoreError::Unavailable(format!("{}: {what}: {error}", folder.display()))
        };
        make_private(folder).map_err(|error| cannot("cannot make the folder", &error))?;
        let lock = take_lock(folder)?;
        let files =
            DayFiles::open(folder.join(RAW)).map_err(|error| cannot("cannot make its folder raw", &error))?;
        let options = SqliteConnectOptions::new()
            .filename(folder.join(DATABASE))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let mut writer = SqliteConnection::connect_with(&options)
            .await
            .map_err(|error| cannot("cannot open greenroom.db", &error))?;
        migrate(&mut writer, MIGRATIONS).await.map_err(|error| match error {
            MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => {
                StoreError::Newer(folder.display().to_string(), error.to_string())
            }
            error => cannot("cannot bring greenroom.db up to date", &error),
        })?;
        let pending =
            pending::count(&mut writer).await.map_err(|error| cannot("cannot read greenroom.db", &error))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(
                options.clone().read_only(true).create_if_missing(false).row_buffer_size(ROWS_AHEAD),
            )
            .await
            .map_err(|error| cannot("cannot open greenroom.db to read", &error))?;
        Ok(Self {
            writer: Mutex::new(writer),
            options,
            readers,
            files,
            folder: folder.to_owned(),
            pending: AtomicUsize::new(pending),
            _lock: lock,
        })
    }

    /// Closes it, so that the last of the write-ahead log is in the file.
    pub async fn close(self) -> Result<()> {
        self.readers.close().await;
        self.writer.into_inner().close().await.map_err(broken)
    }

    /// The connection that writes.
    async fn writer(&self) -> Result<MutexGuard<'_, SqliteConnection>> {
        let mut writer = self.writer.lock().await;
        if writer.is_in_transaction() {
            // One that was given up is rolled back behind its back: wait for that.
            writer.ping().await.map_err(broken)?;
        }
        if writer.is_in_transaction() {
            // On a full or failing disk SQLite rolls back by itself, which this connection never learns.
            *writer = SqliteConnection::connect_with(&self.options).await.map_err(broken)?;
        }
        Ok(writer)
    }
}

/// Begins a transaction that writes. It has the lock from its start: one that got it half way could fail there.
async fn begin(connection: &mut SqliteConnection) -> Result<Transaction<'_, Sqlite>> {
    connection.begin_with("BEGIN IMMEDIATE").await.map_err(broken)
}

async fn migrate(
    connection: &mut SqliteConnection,
    migrations: &[(i64, &'static str, &'static str)],
) -> std::result::Result<(), MigrateError> {
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(migrations.iter().map(migration).collect())
        .run_direct(None, connection, false)
        .await
}

/// Runs a statement; how many rows it changed.
async fn run(connection: &mut SqliteConnection, query: Query) -> Result<u64> {
    let done = bind_all!(sqlx::query(AssertSqlSafe(query.text.into_owned())), query.values, |text| text)
        .execute(connection)
        .await
        .map_err(broken)?;
    Ok(done.rows_affected())
}

/// What it holds is for its owner alone.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn take_lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let unavailable = |error: &dyn std::fmt::Display| {
        StoreError::Unavailable(format!("cannot open {}: {error}", path.display()))
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| unavailable(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(folder.display().to_string())),
        Err(TryLockError::Error(error)) => Err(unavailable(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AccountStore as _, Filter, KeyUse, LinkStore as _, ReportStore as _, Tenant};

    #[tokio::test]
    async fn two_processes_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = SqliteStore::open(folder.path()).await.unwrap();
        assert!(matches!(SqliteStore::open(folder.path()).await, Err(StoreError::InUse(_))));
        first.close().await.unwrap();
        SqliteStore::open(folder.path()).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_of_a_later_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        let later = [MIGRATIONS, &[(9_999, "later", "CREATE TABLE later (x INTEGER)")]].concat();
        migrate(&mut store.writer().await.unwrap(), &later).await.unwrap();
        store.close().await.unwrap();
        let Err(StoreError::Newer(..)) = SqliteStore::open(folder.path()).await else { panic!("opened it") };
    }

    #[tokio::test]
    async fn a_file_of_the_first_version_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("greenroom.db");
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut old = SqliteConnection::connect_with(&options).await.unwrap();
        migrate(&mut old, &MIGRATIONS[..1]).await.unwrap();
        for statement in [
            "INSERT INTO api_key (tenant, id, name, secret, created_ms) VALUES (1, 'k1', 'laptops', zeroblob(32), 5)",
            "INSERT INTO report (tenant, id, code, kind, source, started_ms, received_ms, duration_ms, overall, certain, say, agreement,
               differs, counted)
             VALUES (1, zeroblob(16), 'AAAA-AAAA', 'check', 'cli', 5, 6, 7, 'ready', 1, 'Ready.', 'agrees', '[]', 'yes')",
        ] {
            sqlx::query(statement).execute(&mut old).await.unwrap();
        }
        old.close().await.unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        assert_eq!(store.key("k1").await.unwrap().unwrap().good_for, KeyUse::Send);
        let found = store.list(Tenant::FIRST, &Filter::default(), None, 9).await.unwrap();
        assert_eq!((found[0].code.as_str(), found[0].link.as_deref()), ("AAAA-AAAA", None));
        assert!(store.check_links(Tenant::FIRST, 9).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn it_is_durable_by_its_settings() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        let mut writer = store.writer().await.unwrap();
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *writer).await.unwrap();
        let synchronous: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *writer).await.unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
    }
}
