//! Enrollment tokens, agents, and what they are told.

use async_trait::async_trait;
use greenroom_reports::fleet::{AgentState, CheckIn, RunNow};
use jiff::Timestamp;
use uuid::Uuid;

use super::rows::{damaged, tenant};
use super::{Backend, Done, Query, Row, Step};
use crate::store::{
    Agent, AgentRun, AgentStore, Boot, EnrollToken, Enrollment, FleetPlan, Result, StoreError, Tenant,
    TokenHash, from_name, name_of,
};

#[async_trait]
impl<B: Backend> AgentStore for B {
    async fn add_enroll_token(&self, token: &EnrollToken) -> Result<()> {
        let query = Query::new(
            "INSERT INTO enroll_token (tenant, id, token, name, site, approve, author, created_ms, expires_ms, most, used)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)",
        )
        .bind(token.tenant)
        .bind(&token.id)
        .bind(&token.token)
        .bind(&token.name)
        .bind(&token.site)
        .bind(token.approve)
        .bind(&token.author)
        .bind(token.created)
        .bind(token.expires)
        .bind(token.most);
        self.execute(query).await.map(drop)
    }

    async fn enroll_token(&self, token: &TokenHash) -> Result<Option<EnrollToken>> {
        let found = self.find(Query::new("SELECT * FROM enroll_token WHERE token = $1").bind(token)).await?;
        found.first().map(enroll_token).transpose()
    }

    async fn enroll_tokens(&self, tenant: Tenant, limit: u32) -> Result<Vec<EnrollToken>> {
        let query =
            Query::new("SELECT * FROM enroll_token WHERE tenant = $1 ORDER BY created_ms DESC, id LIMIT $2");
        self.find(query.bind(tenant).bind(limit)).await?.iter().map(enroll_token).collect()
    }

    async fn revoke_enroll_token(&self, tenant: Tenant, id: &str, now: Timestamp) -> Result<bool> {
        let query = Query::new(
            "UPDATE enroll_token SET revoked_ms = $1 WHERE tenant = $2 AND id = $3 AND revoked_ms IS NULL",
        );
        Ok(self.execute(query.bind(now).bind(tenant).bind(id)).await? == 1)
    }

    async fn enroll(&self, agent: &Agent, now: Timestamp) -> Result<Enrollment> {
        if let Some(known) = of_key(self, agent.tenant, &agent.public_key).await? {
            return Ok(Enrollment::Known(Box::new(known)));
        }
        let taken = Query::new(
            "UPDATE enroll_token SET used = used + 1
             WHERE tenant = $1 AND id = $2 AND used < most AND revoked_ms IS NULL AND expires_ms > $3",
        )
        .bind(agent.tenant)
        .bind(&agent.token)
        .bind(now);
        let steps = vec![Step::needed(taken), Step::needed(insert_agent(agent))];
        match self.together(steps).await? {
            Done::All(_) => Ok(Enrollment::New),
            Done::WithoutEffect(0) => Ok(Enrollment::NotAllowed),
            // Two that enroll the same key at once.
            Done::WithoutEffect(_) => match of_key(self, agent.tenant, &agent.public_key).await? {
                Some(known) => Ok(Enrollment::Known(Box::new(known))),
                None => Err(StoreError::Taken("that agent's id")),
            },
        }
    }

    async fn agent(&self, id: Uuid) -> Result<Option<Agent>> {
        let found = self.find(Query::new("SELECT * FROM agent WHERE id = $1").bind(id)).await?;
        found.first().map(agent).transpose()
    }

    async fn agents(&self, tenant: Tenant, after: Option<Uuid>, limit: u32) -> Result<Vec<Agent>> {
        let query = Query::new("SELECT * FROM agent WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3");
        let query = query.bind(tenant).bind(after.unwrap_or(Uuid::nil())).bind(limit);
        self.find(query).await?.iter().map(agent).collect()
    }

    async fn count_agents(&self, tenant: Tenant) -> Result<Vec<(AgentState, u64)>> {
        let query = Query::new(
            "SELECT state, COUNT(*) AS n FROM agent WHERE tenant = $1 GROUP BY state ORDER BY state",
        );
        let found = self.find(query.bind(tenant)).await?;
        found.iter().map(|row| Ok((row.named("state")?, row.count("n")?))).collect()
    }

    async fn approve_agent(&self, tenant: Tenant, id: Uuid, now: Timestamp) -> Result<bool> {
        let query = Query::new(
            "UPDATE agent SET state = 'active', active_ms = $1 WHERE tenant = $2 AND id = $3 AND state = 'pending'",
        );
        Ok(self.execute(query.bind(now).bind(tenant).bind(id)).await? == 1)
    }

    async fn revoke_agent(&self, tenant: Tenant, id: Uuid) -> Result<bool> {
        let query = Query::new(
            "UPDATE agent SET state = 'revoked', bearer = NULL, bearer_ms = NULL, wanted = NULL
             WHERE tenant = $1 AND id = $2 AND state <> 'revoked'",
        );
        Ok(self.execute(query.bind(tenant).bind(id)).await? == 1)
    }

    async fn give_bearer(
        &self,
        id: Uuid,
        challenge: Timestamp,
        bearer: &TokenHash,
        expires: Timestamp,
    ) -> Result<bool> {
        let query = Query::new(
            "UPDATE agent SET bearer = $1, bearer_ms = $2, challenge_ms = $3
             WHERE id = $4 AND state = 'active' AND challenge_ms < $3",
        );
        Ok(self.execute(query.bind(bearer).bind(expires).bind(challenge).bind(id)).await? == 1)
    }

    async fn change_agent_key(&self, id: Uuid, old: &[u8; 32], new: &[u8; 32]) -> Result<bool> {
        let query = Query::new(
            "UPDATE agent SET public_key = $1 WHERE id = $2 AND public_key = $3 AND state = 'active'",
        );
        Ok(self.execute(query.bind(new.to_vec()).bind(id).bind(old.to_vec())).await? == 1)
    }

    async fn note_check_in(&self, id: Uuid, told: &CheckIn, now: Timestamp) -> Result<()> {
        let query = Query::new(
            "UPDATE agent SET seen_ms = $1, config = $2, version = $3, waiting = $4, dropped = $5, trouble = $6 WHERE id = $7",
        )
        .bind(now)
        .bind(told.config)
        .bind(&told.version)
        .bind(stored(told.waiting))
        .bind(stored(told.dropped))
        .bind(&told.trouble)
        .bind(id);
        self.execute(query).await.map(drop)
    }

    async fn note_config(&self, id: Uuid, config: i64) -> Result<()> {
        self.execute(Query::new("UPDATE agent SET config = $1 WHERE id = $2").bind(config).bind(id))
            .await
            .map(drop)
    }

    async fn want_run(&self, tenant: Tenant, id: Uuid, run: &RunNow) -> Result<bool> {
        let query = Query::new(
            "UPDATE agent SET wanted = $1, wanted_schedule = $2 WHERE tenant = $3 AND id = $4 AND state = 'active'",
        );
        let query = query.bind(run.id.to_string()).bind(&run.schedule).bind(tenant).bind(id);
        Ok(self.execute(query).await? == 1)
    }

    async fn ran(&self, id: Uuid, run: Uuid) -> Result<()> {
        let query = Query::new(
            "UPDATE agent SET wanted = NULL, wanted_schedule = NULL WHERE id = $1 AND wanted = $2",
        );
        self.execute(query.bind(id).bind(run.to_string())).await.map(drop)
    }

    async fn boots(&self, tenant: Tenant, agent: Uuid, limit: u32) -> Result<Vec<Boot>> {
        let query = Query::new(
            "SELECT * FROM agent_boot WHERE tenant = $1 AND agent = $2 ORDER BY last_ms DESC, boot LIMIT $3",
        );
        self.find(query.bind(tenant).bind(agent).bind(limit)).await?.iter().map(boot).collect()
    }

    async fn boots_since(&self, tenant: Tenant, since: Timestamp) -> Result<Vec<Boot>> {
        let query = Query::new(
            "SELECT * FROM agent_boot WHERE tenant = $1 AND last_ms >= $2 ORDER BY agent, last_ms",
        );
        self.find(query.bind(tenant).bind(since)).await?.iter().map(boot).collect()
    }

    async fn fleet_plan(&self, tenant: Tenant) -> Result<FleetPlan> {
        let found = self.find(Query::new("SELECT * FROM fleet_plan WHERE tenant = $1").bind(tenant)).await?;
        let Some(row) = found.first() else { return Ok(FleetPlan::default()) };
        let plan: FleetPlan = serde_json::from_str(&row.text("plan")?).map_err(|_| damaged("plan"))?;
        Ok(FleetPlan { version: row.int("version")?, changed: Some(row.time("changed_ms")?), ..plan })
    }

    async fn fleet_version(&self, tenant: Tenant) -> Result<i64> {
        let query = Query::new("SELECT version FROM fleet_plan WHERE tenant = $1").bind(tenant);
        self.find(query).await?.first().map_or(Ok(0), |row| row.int("version"))
    }

    async fn set_fleet_plan(&self, tenant: Tenant, plan: &FleetPlan, now: Timestamp) -> Result<bool> {
        let text = serde_json::to_string(plan).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let query = match plan.version {
            0 => Query::new(
                "INSERT INTO fleet_plan (tenant, version, changed_ms, plan) VALUES ($1, 1 + $2, $3, $4)
                 ON CONFLICT (tenant) DO NOTHING",
            ),
            _ => Query::new(
                "UPDATE fleet_plan SET version = 1 + $2, changed_ms = $3, plan = $4 WHERE tenant = $1 AND version = $2",
            ),
        };
        Ok(self.execute(query.bind(tenant).bind(plan.version).bind(now).bind(text)).await? == 1)
    }

    async fn challenge_key(&self, proposed: &[u8; 32]) -> Result<[u8; 32]> {
        let made =
            Query::new("INSERT INTO challenge_key (one, bytes) VALUES (1, $1) ON CONFLICT (one) DO NOTHING");
        self.execute(made.bind(proposed.to_vec())).await?;
        let found = self.find(Query::new("SELECT bytes FROM challenge_key WHERE one = 1")).await?;
        let row = found.first().ok_or_else(|| damaged("bytes"))?;
        row.bytes("bytes")?.try_into().map_err(|_| damaged("bytes"))
    }
}

async fn of_key<B: Backend>(store: &B, tenant: Tenant, key: &[u8; 32]) -> Result<Option<Agent>> {
    let query = Query::new("SELECT * FROM agent WHERE tenant = $1 AND public_key = $2");
    let found = store.find(query.bind(tenant).bind(key.to_vec())).await?;
    found.first().map(agent).transpose()
}

fn insert_agent(agent: &Agent) -> Query {
    Query::new(
        "INSERT INTO agent (tenant, id, name, site, state, public_key, version, token, enrolled_ms, active_ms, challenge_ms,
           config, waiting, dropped)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
    )
    .bind(agent.tenant)
    .bind(agent.id)
    .bind(&agent.name)
    .bind(&agent.site)
    .bind(name_of(&agent.state))
    .bind(agent.public_key.to_vec())
    .bind(&agent.version)
    .bind(&agent.token)
    .bind(agent.enrolled)
    .bind(agent.active.map_or(super::Value::Int(None), Into::into))
}

/// Counts a report of an agent's start that is kept now. In the transaction that keeps it: what is sent again counts once.
pub(crate) fn count_run(tenant: Tenant, run: &AgentRun, received: Timestamp) -> Query {
    Query::new(
        "INSERT INTO agent_boot (tenant, agent, boot, first_ms, last_ms, last_seq, received) VALUES ($1, $2, $3, $4, $4, $5, 1)
         ON CONFLICT (tenant, agent, boot) DO UPDATE SET received = agent_boot.received + 1,
           last_ms = CASE WHEN excluded.last_ms > agent_boot.last_ms THEN excluded.last_ms ELSE agent_boot.last_ms END,
           last_seq = CASE WHEN excluded.last_seq > agent_boot.last_seq THEN excluded.last_seq ELSE agent_boot.last_seq END",
    )
    .bind(tenant)
    .bind(run.agent)
    .bind(&run.boot)
    .bind(received)
    .bind(stored(run.seq))
}

/// Counts are far below what an integer of a database holds.
fn stored(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn enroll_token(row: &Row) -> Result<EnrollToken> {
    Ok(EnrollToken {
        tenant: tenant(row)?,
        id: row.text("id")?,
        token: row.hash("token")?,
        name: row.text("name")?,
        site: row.text_or_none("site")?,
        approve: row.flag("approve")?,
        author: row.text("author")?,
        created: row.time("created_ms")?,
        expires: row.time("expires_ms")?,
        most: row.small("most")?,
        used: row.small("used")?,
        revoked: row.time_or_none("revoked_ms")?,
    })
}

fn agent(row: &Row) -> Result<Agent> {
    let bearer = match row.time_or_none("bearer_ms")? {
        Some(expires) => Some((row.hash("bearer")?, expires)),
        None => None,
    };
    let wanted = match row.text_or_none("wanted")? {
        Some(id) => {
            let id = Uuid::try_parse(&id).map_err(|_| damaged("wanted"))?;
            Some(RunNow { id, schedule: row.text_or_none("wanted_schedule")? })
        }
        None => None,
    };
    Ok(Agent {
        tenant: tenant(row)?,
        id: row.id("id")?,
        name: row.text("name")?,
        site: row.text_or_none("site")?,
        state: from_name(&row.text("state")?).ok_or_else(|| damaged("state"))?,
        public_key: row.bytes("public_key")?.try_into().map_err(|_| damaged("public_key"))?,
        version: row.text("version")?,
        token: row.text("token")?,
        enrolled: row.time("enrolled_ms")?,
        active: row.time_or_none("active_ms")?,
        bearer,
        seen: row.time_or_none("seen_ms")?,
        config: row.int("config")?,
        waiting: row.count("waiting")?,
        dropped: row.count("dropped")?,
        trouble: row.text_or_none("trouble")?,
        wanted,
    })
}

fn boot(row: &Row) -> Result<Boot> {
    Ok(Boot {
        agent: row.id("agent")?,
        boot: row.text("boot")?,
        first: row.time("first_ms")?,
        last: row.time("last_ms")?,
        last_seq: row.count("last_seq")?,
        received: row.count("received")?,
    })
}
