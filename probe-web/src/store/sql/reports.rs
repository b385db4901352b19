//! Reports found and marked, roll-ups read, notes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Backend, Entry, FINE_KEPT, Numbered, Query, Row, list_text, rows, stored_sketch};
use crate::rollup::KEPT;
use crate::store::{
    Agreement, BucketKey, Cursor, Filter, Note, Outcome, Record, ReportStore, Result, RollupQuery, Rollups,
    Summary, Tenant, Totals, name_of,
};

/// Both databases add integers up to wider ones, or refuse; what is stored is far from that.
const OF_SERIES: &str =
    "SELECT site, endpoint, name, bucket >= $1 AS since, CAST(SUM(n) AS BIGINT) AS n FROM tally";
const OF_BUCKETS: &str = "SELECT bucket, name, CAST(SUM(n) AS BIGINT) AS n FROM tally";
const HISTOGRAMS: &str = "SELECT bucket, site, endpoint, name, histogram FROM rollup";
const TALLIES: &str = "SELECT bucket, site, endpoint, name, n FROM tally";

#[async_trait]
impl<B: Backend> ReportStore for B {
    async fn ingest(&self, batch: Vec<Record>) -> Result<Vec<Outcome>> {
        self.keep(batch.into_iter().map(Entry::from).collect(), None).await
    }

    async fn summary(&self, tenant: Tenant, id: Uuid) -> Result<Option<Summary>> {
        let query = Query::new("SELECT * FROM report WHERE tenant = $1 AND id = $2");
        let found = self.find(query.bind(tenant).bind(id)).await?;
        found.first().map(rows::summary).transpose()
    }

    async fn raw(&self, tenant: Tenant, id: Uuid) -> Result<Option<Vec<u8>>> {
        self.raw_json(tenant, id).await
    }

    async fn list(
        &self,
        tenant: Tenant,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<Summary>> {
        let mut query = Query::new("SELECT * FROM report");
        query.push(" WHERE tenant = ", tenant);
        let texts = [
            (" AND code = ", &filter.code),
            (" AND ticket = ", &filter.ticket),
            (" AND person = ", &filter.person),
            (" AND agent = ", &filter.agent),
        ];
        for (clause, value) in texts {
            if let Some(value) = value {
                query.push(clause, value);
            }
        }
        for (column, value) in [("site", &filter.site), ("endpoint", &filter.endpoint)] {
            match value.as_deref() {
                Some("") => query.push_text(&format!(" AND {column} IS NULL")),
                Some(value) => query.push(&format!(" AND {column} = "), value),
                None => {}
            }
        }
        if let Some(overall) = filter.overall {
            query.push(" AND overall = ", name_of(&overall));
        }
        if let Some(from) = filter.from {
            query.push(" AND started_ms >= ", from);
        }
        if let Some(to) = filter.to {
            query.push(" AND started_ms < ", to);
        }
        if let Some(after) = after {
            query.push(" AND (started_ms, id) < (", after.started_ms);
            query.push(", ", after.id);
            query.push_text(")");
        }
        query.push(" ORDER BY started_ms DESC, id DESC LIMIT ", limit);
        self.find(query).await?.iter().map(rows::summary).collect()
    }

    async fn unchecked(&self, limit: u32) -> Result<Vec<(Tenant, Uuid)>> {
        let query = Query::new(
            "SELECT tenant, id FROM report WHERE agreement = 'pending' ORDER BY received_ms LIMIT $1",
        );
        let found = self.find(query.bind(limit)).await?;
        found.iter().map(|row| Ok((rows::tenant(row)?, row.id("id")?))).collect()
    }

    async fn set_agreement(
        &self,
        tenant: Tenant,
        id: Uuid,
        agreement: Agreement,
        differs: &[String],
    ) -> Result<()> {
        let query =
            Query::new("UPDATE report SET agreement = $1, differs = $2 WHERE tenant = $3 AND id = $4")
                .bind(name_of(&agreement))
                .bind(list_text(differs))
                .bind(tenant)
                .bind(id);
        self.execute(query).await.map(drop)
    }

    async fn settle(&self) -> Result<()> {
        self.add_up_pending().await
    }

    async fn rollups(&self, tenant: Tenant, query: &RollupQuery) -> Result<Rollups> {
        self.settle().await?;
        let mut found = Rollups { tallies: self.tallies(tenant, query).await?, ..Rollups::default() };
        for row in self.find(buckets(HISTOGRAMS, tenant, query, None)).await? {
            found.sketches.insert(rows::bucket_key(&row)?, stored_sketch(&row.bytes("histogram")?)?);
        }
        Ok(found)
    }

    async fn tallies(
        &self,
        tenant: Tenant,
        query: &RollupQuery,
    ) -> Result<BTreeMap<(BucketKey, String), u64>> {
        let found = self.find(buckets(TALLIES, tenant, query, None)).await?;
        found.iter().map(|row| Ok((rows::bucket_key(row)?, row.count("n")?))).collect()
    }

    async fn totals(&self, tenant: Tenant, query: &RollupQuery, start: i64) -> Result<Totals> {
        let mut of_series = Query::new(OF_SERIES).bind(start);
        within(&mut of_series, tenant, query, None);
        of_series.push_text(" GROUP BY site, endpoint, name, since");
        let mut of_buckets = buckets(OF_BUCKETS, tenant, query, None);
        of_buckets.push(" AND bucket >= ", start);
        of_buckets.push_text(" GROUP BY bucket, name");
        let (of_series, of_buckets) = tokio::try_join!(self.find(of_series), self.find(of_buckets))?;
        Ok(Totals {
            of_series: of_series.iter().map(rows::series_total).collect::<Result<_>>()?,
            of_buckets: (of_buckets.iter())
                .map(|row| Ok((row.int("bucket")?, row.text("name")?, row.count("n")?)))
                .collect::<Result<_>>()?,
        })
    }

    async fn histograms(
        &self,
        tenant: Tenant,
        query: &RollupQuery,
        name: &str,
    ) -> Result<Vec<(BucketKey, Vec<u8>)>> {
        let found = self.find(buckets(HISTOGRAMS, tenant, query, Some(name))).await?;
        let read = |row: &Row| Ok((rows::bucket(row)?, row.bytes("histogram")?));
        found.iter().map(read).collect()
    }

    async fn add_note(&self, tenant: Tenant, report: Uuid, note: &Note) -> Result<()> {
        let number = self.next_number(Numbered::Note);
        self.execute(insert_note(number, tenant, report, note)).await.map(drop)
    }

    async fn notes(&self, tenant: Tenant, report: Uuid) -> Result<Vec<Note>> {
        let query = Query::new("SELECT * FROM note WHERE tenant = $1 AND report = $2 ORDER BY number");
        self.find(query.bind(tenant).bind(report)).await?.iter().map(rows::note).collect()
    }

    async fn retire(&self, before: Timestamp, now: Timestamp) -> Result<u64> {
        self.let_go(before, now).await
    }
}

/// Adds a note, whose number is an expression.
pub(crate) fn insert_note(number: &str, tenant: Tenant, report: Uuid, note: &Note) -> Query {
    let text = format!(
        "INSERT INTO note (tenant, report, number, at_ms, author, words) VALUES ($1, $2, {number}, $3, $4, $5)"
    );
    Query::new(text).bind(tenant).bind(report).bind(note.at).bind(&note.by).bind(&note.text)
}

/// The buckets of a stretch of time, of one site, endpoint and name where these are asked for.
pub(crate) fn buckets(
    select: &'static str,
    tenant: Tenant,
    asked: &RollupQuery,
    name: Option<&str>,
) -> Query {
    let mut query = Query::new(select);
    within(&mut query, tenant, asked, name);
    query
}

/// Asks for the buckets of a stretch of time alone.
fn within(query: &mut Query, tenant: Tenant, asked: &RollupQuery, name: Option<&str>) {
    query.push(" WHERE tenant = ", tenant);
    query.push(" AND resolution = ", asked.resolution.seconds());
    query.push(" AND bucket >= ", asked.from.as_second());
    query.push(" AND bucket < ", asked.to.as_second());
    let texts = [
        (" AND site = ", asked.site.as_deref()),
        (" AND endpoint = ", asked.endpoint.as_deref()),
        (" AND name = ", name),
    ];
    for (clause, value) in texts {
        if let Some(value) = value {
            query.push(clause, value);
        }
    }
}

/// What goes with time in every database: notes and names of reports received before `midnight`, sessions and links that ended, sums
/// beyond their time. The second tells of how many reports.
pub(crate) fn forget(midnight: Timestamp, now: Timestamp, has_raw: &str, no_raw: &str) -> Vec<Query> {
    let ago = |time: SignedDuration| now.checked_sub(time).unwrap_or(Timestamp::MIN);
    let mut statements = vec![
        Query::new(format!(
            "DELETE FROM note WHERE (tenant, report) IN
             (SELECT tenant, id FROM report WHERE {has_raw} AND received_ms < $1)"
        ))
        .bind(midnight),
        Query::new(format!(
            "UPDATE report SET {no_raw}, person = NULL, agent = NULL,
             agreement = CASE agreement WHEN 'pending' THEN 'no_samples' ELSE agreement END
             WHERE {has_raw} AND received_ms < $1"
        ))
        .bind(midnight),
    ];
    statements.extend([
        Query::new("UPDATE audit SET subject = '' WHERE at_ms < $1 AND subject <> ''").bind(midnight),
        Query::new("DELETE FROM session WHERE expires_ms < $1").bind(now),
        Query::new("DELETE FROM check_link WHERE expires_ms < $1").bind(midnight),
        Query::new("DELETE FROM share_link WHERE expires_ms < $1").bind(midnight),
        Query::new("DELETE FROM enroll_token WHERE expires_ms < $1").bind(midnight),
        Query::new("DELETE FROM agent_boot WHERE last_ms < $1").bind(midnight),
        // Messages may name persons; no longer than the reports that they tell of.
        Query::new("DELETE FROM delivery WHERE created_ms < $1").bind(midnight),
        Query::new("DELETE FROM spent_grant WHERE until_ms < $1").bind(now),
        Query::new("DELETE FROM media_node WHERE seen_ms < $1").bind(midnight),
    ]);
    statements.extend(super::incidents::forget(midnight));
    for table in ["rollup", "tally"] {
        statements.extend([
            Query::new(format!("DELETE FROM {table} WHERE resolution = 300 AND bucket < $1"))
                .bind(ago(FINE_KEPT).as_second()),
            Query::new(format!("DELETE FROM {table} WHERE bucket < $1")).bind(ago(KEPT).as_second() - 86_400),
        ]);
    }
    statements
}
