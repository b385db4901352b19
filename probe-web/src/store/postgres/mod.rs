//! The store that several nodes share: PostgreSQL 15 or later.
//!
//! Reports are kept in partitions by the time at which they were received: headers by month, their JSON by day, so that retention
//! drops tables and deletes few rows. Two nodes that get the same report meet at its id: the second one waits for the first one's
//! commit and finds it there. Histograms are merged under their rows' locks. All locks are taken in one order (ids, links, agents,
//! histograms, sums; each by key), so that nodes wait for each other and never crosswise.

mod backend;
mod ingest;
mod options;
mod partitions;
mod pending;

use std::future::Future;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection as _, SqlSafeStr as _};

use self::partitions::Partitions;
use self::pending::Pending;
use super::sql::broken;
use super::{Result, StoreError};

pub use options::{PostgresUrl, has_password};

/// Connections of one node.
const CONNECTIONS: u32 = 8;

/// How long to wait for the database. A report whose answer does not come by then was perhaps kept; whoever sends it again is told.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// The oldest version that this is tested with.
const OLDEST: i32 = 150_000;

/// Versions of the schema, in order. What was released is never changed; a change is a new one.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "begin", include_str!("migrations/1_begin.sql")),
    (20, "identity", include_str!("migrations/20_identity.sql")),
    (21, "webhook", include_str!("migrations/21_webhook.sql")),
    (22, "grant", include_str!("migrations/22_grant.sql")),
    (23, "tenant", include_str!("migrations/23_tenant.sql")),
    (30, "agents", include_str!("migrations/30_agents.sql")),
    (40, "incidents", include_str!("migrations/40_incidents.sql")),
    (41, "pending", include_str!("migrations/41_pending.sql")),
];

/// A store in a database.
pub struct PostgresStore {
    pool: PgPool,
    partitions: Partitions,
    pending: Pending,
}

impl PostgresStore {
    /// Opens the store in a database, or begins one; brings an older one up to date. Nodes that start at once wait for each other.
    ///
    /// # Errors
    /// When the database cannot be reached, is too old, or a newer version of this program wrote it.
    pub async fn open(url: &PostgresUrl) -> Result<Self> {
        let cannot = |error: &dyn std::fmt::Display| StoreError::Unavailable(format!("{url}: {error}"));
        let mut connection = within(async { PgConnection::connect_with(&url.options).await.map_err(broken) })
            .await
            .map_err(|error| cannot(&error))?;
        let version: String = sqlx::query_scalar("SHOW server_version_num")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| cannot(&error))?;
        if version.parse::<i32>().unwrap_or(0) < OLDEST {
            return Err(cannot(&"it is older than PostgreSQL 15"));
        }
        migrate(&mut connection, MIGRATIONS).await.map_err(|error| match error {
            MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => {
                StoreError::Newer(url.to_string(), error.to_string())
            }
            error => cannot(&error),
        })?;
        // What the server says to a farewell is of no interest.
        let _ = connection.close().await;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT)
            .after_connect(|connection, _| Box::pin(async move { set_up(connection).await }))
            .connect_with(url.options.clone())
            .await
            .map_err(|error| cannot(&error))?;
        Ok(Self { pool, partitions: Partitions::default(), pending: Pending::default() })
    }

    /// Closes its connections.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

/// A commit is acknowledged when it is on disk, also where the server's own setting says otherwise. And a transaction whose end will never
/// come, because the way to here broke without a word, does not hold its locks for as long as the server takes to notice.
async fn set_up(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "SELECT CASE current_setting('synchronous_commit')
                WHEN 'off' THEN set_config('synchronous_commit', 'on', false) ELSE '' END,
                CASE current_setting('idle_in_transaction_session_timeout')
                WHEN '0' THEN set_config('idle_in_transaction_session_timeout', '30s', false) ELSE '' END",
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Brings the schema up to date, under an advisory lock.
async fn migrate(
    connection: &mut PgConnection,
    migrations: &[(i64, &'static str, &'static str)],
) -> std::result::Result<(), MigrateError> {
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(migrations.iter().map(migration).collect())
        .run_direct(None, connection, false)
        .await
}

/// Does not wait for ever for a database that went away without a word.
async fn within<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
        Err(StoreError::Unavailable(format!("the database did not answer within {} s", PATIENCE.as_secs())))
    })
}
