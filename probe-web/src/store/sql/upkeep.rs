//! A database looked over as a whole.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::rows::damaged;
use super::{Backend, Entry, Query, Row, rows};
use crate::rollup::Sums;
use crate::store::{Header, Moved, NamedTenant, Outcome, Resolution, Result, Tenant, Upkeep};

#[async_trait]
impl<B: Backend> Upkeep for B {
    async fn integrity(&self) -> Result<Vec<String>> {
        let Some(check) = self.integrity_check() else { return Ok(Vec::new()) };
        let told = self.find(Query::new(check)).await?;
        let lines: Result<Vec<String>> = told.iter().map(|row| row.text("integrity_check")).collect();
        Ok(lines?.into_iter().filter(|line| line != "ok").collect())
    }

    async fn tenants(&self) -> Result<Vec<Tenant>> {
        let found = self.find(Query::new("SELECT id FROM tenant ORDER BY id")).await?;
        found.iter().map(|row| row.int("id").map(Tenant)).collect()
    }

    async fn next_begin(&self, tenant: Tenant, from_s: i64) -> Result<Option<i64>> {
        let report =
            Query::new("SELECT MIN(started_ms) AS begins FROM report WHERE tenant = $1 AND started_ms >= $2");
        let report = self.find(report.bind(tenant).bind(from_s.saturating_mul(1_000))).await?;
        self.add_up_pending().await?;
        let tally = Query::new(
            "SELECT MIN(bucket) AS begins FROM tally WHERE tenant = $1 AND resolution = $2 AND bucket >= $3",
        );
        let day = Resolution::Day.seconds();
        let tally = self.find(tally.bind(tenant).bind(day).bind(from_s)).await?;
        let begins = |found: &[Row]| found.first().map(|row| row.int_or_none("begins")).transpose();
        let report = begins(&report)?.flatten().map(|ms| ms.div_euclid(1_000));
        Ok([report, begins(&tally)?.flatten()].into_iter().flatten().min())
    }

    async fn headers(
        &self,
        tenant: Tenant,
        from: Timestamp,
        to: Timestamp,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Header>> {
        let query = Query::new(format!(
            "SELECT report.*, {} AS is_held FROM report
             WHERE tenant = $1 AND started_ms >= $2 AND started_ms < $3 AND id > $4 ORDER BY id LIMIT $5",
            self.has_raw()
        ));
        let found = self.find(query.bind(tenant).bind(from).bind(to).bind(after).bind(limit)).await?;
        let header = |row: &Row| {
            let figures = row.text_or_none("figures")?;
            Ok(Header {
                summary: rows::summary(row)?,
                has_raw: row.flag("is_held")?,
                figures: figures
                    .map(|text| serde_json::from_str(&text))
                    .transpose()
                    .map_err(|_| damaged("figures"))?,
                provider: row.text_or_none("provider")?,
            })
        };
        found.iter().map(header).collect()
    }

    async fn named_tenants(&self) -> Result<Vec<NamedTenant>> {
        let found = self.find(Query::new("SELECT id, name, created_ms FROM tenant ORDER BY id")).await?;
        let named = |row: &Row| {
            let tenant = row.int("id").map(Tenant)?;
            Ok(NamedTenant { tenant, name: row.text("name")?, created: row.time("created_ms")? })
        };
        found.iter().map(named).collect()
    }

    async fn take_in(&self, batch: Vec<Moved>, sums: Option<Sums>) -> Result<Vec<Outcome>> {
        self.keep(batch.into_iter().map(Entry::from).collect(), sums).await
    }
}
