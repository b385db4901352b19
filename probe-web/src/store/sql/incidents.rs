//! Incidents, what they are found by, and who is told of them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::rows::damaged;
use super::{Backend, Done, Query, Row, Step, rows};
use crate::detect::Figure;
use crate::store::{
    Alert, Detector, Incident, IncidentStore, Kept, Result, Run, StoreError, StoredBaseline, Tenant, name_of,
};

const RUN: &str = "SELECT id, agent, site, provider, started_ms, overall, place, cause, figures FROM report";

#[async_trait]
impl<B: Backend> IncidentStore for B {
    async fn take_turn(&self, name: &str, holder: Uuid, now: Timestamp, until: Timestamp) -> Result<bool> {
        let query = Query::new(
            "INSERT INTO turn (name, holder, until_ms) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms
             WHERE turn.holder = excluded.holder OR turn.until_ms < $4",
        );
        Ok(self.execute(query.bind(name).bind(holder).bind(until).bind(now)).await? == 1)
    }

    async fn runs(
        &self,
        tenant: Tenant,
        from: Timestamp,
        to: Timestamp,
        after: Option<(Timestamp, Uuid)>,
        limit: u32,
    ) -> Result<Vec<Run>> {
        let mut query = Query::new(RUN);
        query.push(" WHERE tenant = ", tenant);
        query.push(" AND started_ms >= ", from);
        query.push(" AND started_ms < ", to);
        query.push_text(" AND agent IS NOT NULL AND figures IS NOT NULL AND counted = 'yes'");
        if let Some((started, report)) = after {
            query.push(" AND (started_ms, id) > (", started);
            query.push(", ", report);
            query.push_text(")");
        }
        query.push(" ORDER BY started_ms, id LIMIT ", limit);
        self.find(query).await?.iter().map(run).collect()
    }

    async fn runs_of(&self, tenant: Tenant, agent: &str, from: Timestamp, to: Timestamp) -> Result<Vec<Run>> {
        let mut query = Query::new(RUN);
        query.push(" WHERE tenant = ", tenant);
        query.push(" AND agent = ", agent);
        query.push(" AND started_ms >= ", from);
        query.push(" AND started_ms < ", to);
        query.push_text(" AND figures IS NOT NULL AND counted = 'yes' ORDER BY started_ms, id");
        self.find(query).await?.iter().map(run).collect()
    }

    async fn running_agents(&self, tenant: Tenant, from: Timestamp) -> Result<Vec<(String, Timestamp)>> {
        let query = Query::new(
            "SELECT agent, MIN(started_ms) AS first_ms FROM report
             WHERE tenant = $1 AND agent IS NOT NULL AND started_ms >= $2 AND figures IS NOT NULL GROUP BY agent",
        );
        let found = self.find(query.bind(tenant).bind(from)).await?;
        found.iter().map(|row| Ok((row.text("agent")?, row.time("first_ms")?))).collect()
    }

    async fn baselines(
        &self,
        tenant: Tenant,
        after: Option<(&str, &str, Figure)>,
        limit: u32,
    ) -> Result<Vec<StoredBaseline>> {
        let mut query = Query::new("SELECT * FROM baseline WHERE tenant = $1").bind(tenant);
        if let Some((agent, endpoint, figure)) = after {
            query.push(" AND (agent, endpoint, figure) > (", agent);
            query.push(", ", endpoint);
            query.push(", ", name_of(&figure));
            query.push_text(")");
        }
        query.push(" ORDER BY agent, endpoint, figure LIMIT ", limit);
        let baseline = |row: &Row| {
            Ok(StoredBaseline {
                agent: row.text("agent")?,
                endpoint: row.text("endpoint")?,
                figure: row.named("figure")?,
                learned: row.time("learned_ms")?,
                every: row.small("every")?,
                bytes: row.bytes("bytes")?,
            })
        };
        self.find(query).await?.iter().map(baseline).collect()
    }

    async fn keep_baselines(&self, tenant: Tenant, agent: &str, all: &[StoredBaseline]) -> Result<()> {
        let gone =
            Query::new("DELETE FROM baseline WHERE tenant = $1 AND agent = $2").bind(tenant).bind(agent);
        let insert = |one: &StoredBaseline| {
            Query::new(
                "INSERT INTO baseline (tenant, agent, endpoint, figure, learned_ms, every, bytes)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(tenant)
            .bind(agent)
            .bind(&one.endpoint)
            .bind(name_of(&one.figure))
            .bind(one.learned)
            .bind(one.every)
            .bind(one.bytes.clone())
        };
        let steps = std::iter::once(gone).chain(all.iter().map(insert)).map(Step::any).collect();
        self.together(steps).await.map(drop)
    }

    async fn detector(&self, tenant: Tenant) -> Result<Option<Detector>> {
        let query = Query::new("SELECT taken, knows FROM detector WHERE tenant = $1").bind(tenant);
        let detector = |row: &Row| Ok(Detector { taken: row.int("taken")?, knows: json(row, "knows")? });
        self.find(query).await?.first().map(detector).transpose()
    }

    async fn advance(
        &self,
        tenant: Tenant,
        from: Option<i64>,
        to: &Detector,
        incidents: &[Incident],
    ) -> Result<bool> {
        let knows = text(&to.knows)?;
        let first = match from {
            None => Query::new(
                "INSERT INTO detector (tenant, taken, knows) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            ),
            Some(_) => {
                Query::new("UPDATE detector SET taken = $2, knows = $3 WHERE tenant = $1 AND taken = $4")
            }
        };
        let first = first.bind(tenant).bind(to.taken).bind(knows);
        let first = match from {
            None => first,
            Some(from) => first.bind(from),
        };
        let mut steps = vec![Step::needed(first)];
        for incident in incidents {
            steps.push(Step::any(put_incident(incident)?));
        }
        Ok(matches!(self.together(steps).await?, Done::All(_)))
    }

    async fn incidents(
        &self,
        tenant: Tenant,
        open: bool,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<Incident>> {
        let mut query = Query::new("SELECT * FROM incident");
        query.push(" WHERE tenant = ", tenant);
        if open {
            query.push_text(" AND over_ms IS NULL");
        }
        if let Some(before) = before {
            query.push(" AND noticed_ms < ", before);
        }
        query.push(" ORDER BY noticed_ms DESC, id DESC LIMIT ", limit);
        self.find(query).await?.iter().map(incident).collect()
    }

    async fn incident(&self, tenant: Tenant, id: Uuid) -> Result<Option<Incident>> {
        let query = Query::new("SELECT * FROM incident WHERE tenant = $1 AND id = $2").bind(tenant).bind(id);
        self.find(query).await?.first().map(incident).transpose()
    }

    async fn alert_rules(&self, tenant: Tenant) -> Result<Vec<Kept<serde_json::Value>>> {
        let query = Query::new("SELECT * FROM alert_rule WHERE tenant = $1 ORDER BY created_ms, id");
        self.find(query.bind(tenant)).await?.iter().map(|row| kept(row, "rule")).collect()
    }

    async fn put_alert_rule(&self, rule: &Kept<serde_json::Value>) -> Result<()> {
        let query = Query::new(
            "INSERT INTO alert_rule (tenant, id, author, created_ms, rule) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant, id) DO UPDATE SET rule = excluded.rule",
        );
        self.execute(bind_kept(query, rule)).await.map(drop)
    }

    async fn remove_alert_rule(&self, tenant: Tenant, id: &str) -> Result<bool> {
        let of = |text: &'static str| Query::new(text).bind(tenant).bind(id);
        let steps = vec![
            Step::needed(of("DELETE FROM alert_rule WHERE tenant = $1 AND id = $2")),
            Step::any(of("DELETE FROM alert WHERE tenant = $1 AND rule = $2")),
        ];
        Ok(matches!(self.together(steps).await?, Done::All(_)))
    }

    async fn silences(&self, tenant: Tenant) -> Result<Vec<Kept<serde_json::Value>>> {
        let query = Query::new("SELECT * FROM silence WHERE tenant = $1 ORDER BY created_ms, id");
        self.find(query.bind(tenant)).await?.iter().map(|row| kept(row, "silence")).collect()
    }

    async fn put_silence(&self, silence: &Kept<serde_json::Value>) -> Result<()> {
        let query = Query::new(
            "INSERT INTO silence (tenant, id, author, created_ms, silence) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant, id) DO UPDATE SET silence = excluded.silence",
        );
        self.execute(bind_kept(query, silence)).await.map(drop)
    }

    async fn remove_silence(&self, tenant: Tenant, id: &str) -> Result<bool> {
        let query = Query::new("DELETE FROM silence WHERE tenant = $1 AND id = $2").bind(tenant).bind(id);
        Ok(self.execute(query).await? == 1)
    }

    async fn alerts(&self, tenant: Tenant) -> Result<Vec<Alert>> {
        let query = Query::new("SELECT * FROM alert WHERE tenant = $1 AND over_ms IS NULL").bind(tenant);
        self.find(query).await?.iter().map(alert).collect()
    }

    async fn alerts_of(&self, tenant: Tenant, incident: Uuid) -> Result<Vec<Alert>> {
        let query = Query::new("SELECT * FROM alert WHERE tenant = $1 AND incident = $2");
        self.find(query.bind(tenant).bind(incident)).await?.iter().map(alert).collect()
    }

    async fn put_alert(&self, alert: &Alert) -> Result<()> {
        let told = Sent { sent: alert.sent.clone(), fired: alert.fired };
        let query = Query::new(
            "INSERT INTO alert (tenant, rule, incident, over_ms, alert) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant, rule, incident) DO UPDATE SET over_ms = excluded.over_ms, alert = excluded.alert",
        )
        .bind(alert.tenant)
        .bind(&alert.rule)
        .bind(alert.incident)
        .bind(alert.over.map(Timestamp::as_millisecond))
        .bind(text(&told)?);
        self.execute(query).await.map(drop)
    }
}

/// What of an alert is kept as JSON.
#[derive(Serialize, Deserialize)]
struct Sent {
    sent: BTreeMap<String, u64>,
    fired: Timestamp,
}

fn put_incident(incident: &Incident) -> Result<Query> {
    let query = Query::new(
        "INSERT INTO incident (tenant, id, scope, since_ms, noticed_ms, over_ms, agents, told)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (tenant, id) DO UPDATE SET scope = excluded.scope, since_ms = excluded.since_ms,
           over_ms = excluded.over_ms, agents = excluded.agents, told = excluded.told",
    );
    Ok(query
        .bind(incident.tenant)
        .bind(incident.id)
        .bind(incident.told.scope.kind())
        .bind(incident.since)
        .bind(incident.noticed)
        .bind(incident.over.map(Timestamp::as_millisecond))
        .bind(text(&incident.affected)?)
        .bind(text(&incident.told)?))
}

fn run(row: &Row) -> Result<Run> {
    Ok(Run {
        report: row.id("id")?,
        agent: row.text("agent")?,
        site: row.text_or_none("site")?,
        provider: row.text_or_none("provider")?,
        started: row.time("started_ms")?,
        overall: row.named("overall")?,
        place: row.named_or_none("place")?,
        cause: row.text_or_none("cause")?,
        figures: json(row, "figures")?,
    })
}

fn incident(row: &Row) -> Result<Incident> {
    Ok(Incident {
        tenant: rows::tenant(row)?,
        id: row.id("id")?,
        since: row.time("since_ms")?,
        noticed: row.time("noticed_ms")?,
        over: row.time_or_none("over_ms")?,
        affected: json(row, "agents")?,
        told: json(row, "told")?,
    })
}

fn alert(row: &Row) -> Result<Alert> {
    let Sent { sent, fired } = json(row, "alert")?;
    Ok(Alert {
        tenant: rows::tenant(row)?,
        rule: row.text("rule")?,
        incident: row.id("incident")?,
        over: row.time_or_none("over_ms")?,
        sent,
        fired,
    })
}

fn kept(row: &Row, column: &str) -> Result<Kept<serde_json::Value>> {
    Ok(Kept {
        tenant: rows::tenant(row)?,
        id: row.text("id")?,
        author: row.text("author")?,
        created: row.time("created_ms")?,
        says: json(row, column)?,
    })
}

fn bind_kept(query: Query, kept: &Kept<serde_json::Value>) -> Query {
    query.bind(kept.tenant).bind(&kept.id).bind(&kept.author).bind(kept.created).bind(kept.says.to_string())
}

fn json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    serde_json::from_str(&row.text(column)?).map_err(|_| damaged(column))
}

fn text<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Damaged(format!("cannot be kept: {error}")))
}

/// What goes with time: who an incident was of, incidents of one agent, what is usual for agents that are gone, and what was told.
pub(crate) fn forget(midnight: Timestamp) -> Vec<Query> {
    [
        "DELETE FROM incident WHERE scope = 'agent' AND over_ms < $1",
        "UPDATE incident SET agents = '[]' WHERE over_ms < $1 AND agents <> '[]'",
        "DELETE FROM baseline WHERE learned_ms < $1",
        "DELETE FROM alert WHERE over_ms < $1",
    ]
    .into_iter()
    .map(|text| Query::new(text).bind(midnight))
    .collect()
}
