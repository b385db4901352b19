//! Partitions by the time at which reports were received: made ahead, dropped as a whole.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::store::sql::broken;
use crate::store::{Result, StoreError};

/// Key of the advisory lock under which tables are made and dropped: "greenprt".
const LOCK: i64 = 0x6772_6565_6e70_7274;

/// Days for which partitions are made ahead. They are looked after every six hours.
const AHEAD: i32 = 3;

/// A table in partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Parted {
    /// Headers, by month.
    Report,
    /// JSON, by day.
    Raw,
}

impl Parted {
    const fn table(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Raw => "report_raw",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Report => "report_m",
            Self::Raw => "report_raw_d",
        }
    }

    fn first(self, day: Date) -> Date {
        match self {
            Self::Report => day.first_of_month(),
            Self::Raw => day,
        }
    }

    fn length(self) -> Span {
        match self {
            Self::Report => Span::new().months(1),
            Self::Raw => Span::new().days(1),
        }
    }

    fn name(self, first: Date) -> String {
        match self {
            Self::Report => format!("{}{:04}{:02}", self.prefix(), first.year(), first.month()),
            Self::Raw => {
                format!("{}{:04}{:02}{:02}", self.prefix(), first.year(), first.month(), first.day())
            }
        }
    }

    /// The first day of a partition of this name.
    fn day(self, name: &str) -> Option<Date> {
        let digits = name.strip_prefix(self.prefix())?;
        let day = match self {
            Self::Report => format!("{digits}01"),
            Self::Raw => digits.to_owned(),
        };
        day.parse().ok()
    }
}

/// The day, in UTC, of a point in time.
pub(super) fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn ms(day: Date) -> Result<i64> {
    let begin = day.to_zoned(TimeZone::UTC);
    begin
        .map(|begin| begin.timestamp().as_millisecond())
        .map_err(|error| StoreError::Damaged(format!("the clock: {error}")))
}

fn later(day: Date, span: Span) -> Result<Date> {
    day.checked_add(span).map_err(|error| StoreError::Damaged(format!("the clock: {error}")))
}

/// What is known to be there.
#[derive(Default)]
pub(super) struct Partitions(Mutex<BTreeSet<(Parted, Date)>>);

impl Partitions {
    /// Makes sure that there are partitions for these days, and when some are not, also for those to come.
    pub(super) async fn make(&self, connection: &mut PgConnection, days: &BTreeSet<Date>) -> Result<()> {
        let mut wanted = BTreeSet::new();
        for day in days {
            for parted in [Parted::Report, Parted::Raw] {
                wanted.insert((parted, parted.first(*day)));
            }
        }
        let missing = |wanted: &BTreeSet<_>| -> BTreeSet<_> {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.difference(&known).copied().collect()
        };
        if missing(&wanted).is_empty() {
            return Ok(());
        }
        if let Some(last) = days.last() {
            for ahead in 1..=AHEAD {
                let day = later(*last, Span::new().days(ahead))?;
                wanted.extend([(Parted::Report, Parted::Report.first(day)), (Parted::Raw, day)]);
            }
        }
        let missing = missing(&wanted);
        let mut tx = connection.begin().await.map_err(broken)?;
        lock(&mut tx).await?;
        for (parted, first) in &missing {
            make(&mut tx, *parted, *first).await?;
        }
        tx.commit().await.map_err(broken)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(missing);
        Ok(())
    }

    /// Drops partitions that hold nothing of this day or later. Whoever reads one keeps it for now: it goes the next time.
    pub(super) async fn drop_before(
        &self,
        connection: &mut PgConnection,
        parted: Parted,
        day: Date,
    ) -> Result<()> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
             WHERE inhparent = to_regclass($1) ORDER BY relname",
        )
        .bind(parted.table())
        .fetch_all(&mut *connection)
        .await
        .map_err(broken)?;
        for name in names {
            let Some(first) = parted.day(&name) else { continue };
            if later(first, parted.length())? > day {
                continue;
            }
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(parted, first));
            let mut tx = connection.begin().await.map_err(broken)?;
            lock(&mut tx).await?;
            // While it waits for those who read, everybody else waits for it.
            execute(&mut tx, "SET LOCAL lock_timeout = '3s'".to_owned()).await?;
            execute(&mut tx, format!("DROP TABLE IF EXISTS {name}")).await?;
            tx.commit().await.map_err(broken)?;
        }
        Ok(())
    }
}

async fn lock(connection: &mut PgConnection) -> Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(connection)
        .await
        .map(drop)
        .map_err(broken)
}

/// Makes a partition that is not there. It is attached when it is whole: that lets others read and write meanwhile, which
/// `PARTITION OF` does not.
async fn make(connection: &mut PgConnection, parted: Parted, first: Date) -> Result<()> {
    let name = parted.name(first);
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(&name)
        .fetch_one(&mut *connection)
        .await
        .map_err(broken)?;
    if is_there {
        return Ok(());
    }
    let table = parted.table();
    let (from, to) = (ms(first)?, ms(later(first, parted.length())?)?);
    execute(connection, format!("CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")).await?;
    execute(
        connection,
        format!("ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"),
    )
    .await
}

/// Runs a statement about tables, which takes no values: names and numbers in it are this file's own.
async fn execute(connection: &mut PgConnection, text: String) -> Result<()> {
    sqlx::query(AssertSqlSafe(text)).execute(connection).await.map(drop).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_which_days_a_partition_holds() {
        let leap: Date = "2028-02-29".parse().expect("a day");
        assert_eq!(Parted::Raw.name(leap), "report_raw_d20280229");
        assert_eq!(Parted::Report.name(Parted::Report.first(leap)), "report_m202802");
        assert_eq!(Parted::Raw.day("report_raw_d20280229"), Some(leap));
        assert_eq!(Parted::Report.day("report_m202802"), Some("2028-02-01".parse().expect("a day")));
        for other in ["report_id", "report_raw", "report_m2028", "report_raw_d2028"] {
            assert_eq!((Parted::Raw.day(other), Parted::Report.day(other)), (None, None), "{other}");
        }
        assert_eq!(
            later(leap.first_of_month(), Parted::Report.length()).expect("a day").to_string(),
            "2028-03-01"
        );
    }
}
