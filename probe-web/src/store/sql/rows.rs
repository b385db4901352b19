//! Rows read back into what they stand for.

use jiff::Timestamp;
use serde::Deserialize;
use sqlx::Row as _;
use uuid::Uuid;

use super::{Row, broken};
use crate::store::{
    ApiKey, AuditEntry, BucketKey, CheckLink, Delivery, Note, Result, Role, SeriesTotal, ShareLink,
    StoreError, Summary, Tenant, TokenHash, User, Webhook, WebhookSecret, from_name,
};

/// A column of a row, as this type.
macro_rules! column {
    ($name:ident, $type:ty) => {
        pub(crate) fn $name(&self, column: &str) -> Result<$type> {
            match self {
                Self::Sqlite(row) => row.try_get(column),
                Self::Postgres(row) => row.try_get(column),
            }
            .map_err(broken)
        }
    };
}

impl Row {
    column!(int, i64);
    column!(int_or_none, Option<i64>);
    column!(real, f64);
    column!(flag, bool);
    column!(text, String);
    column!(text_or_none, Option<String>);
    column!(bytes, Vec<u8>);
    column!(id, Uuid);

    /// A number that is never negative.
    pub(crate) fn count(&self, column: &str) -> Result<u64> {
        u64::try_from(self.int(column)?).map_err(|_| damaged(column))
    }

    pub(super) fn small(&self, column: &str) -> Result<u32> {
        u32::try_from(self.int(column)?).map_err(|_| damaged(column))
    }

    pub(super) fn named<T: for<'de> Deserialize<'de>>(&self, column: &str) -> Result<T> {
        from_name(&self.text(column)?).ok_or_else(|| damaged(column))
    }

    pub(super) fn named_or_none<T: for<'de> Deserialize<'de>>(&self, column: &str) -> Result<Option<T>> {
        let name = self.text_or_none(column)?;
        name.map(|name| from_name(&name).ok_or_else(|| damaged(column))).transpose()
    }

    pub(crate) fn time(&self, column: &str) -> Result<Timestamp> {
        Timestamp::from_millisecond(self.int(column)?).map_err(|_| damaged(column))
    }

    pub(super) fn time_or_none(&self, column: &str) -> Result<Option<Timestamp>> {
        let ms = self.int_or_none(column)?;
        ms.map(|ms| Timestamp::from_millisecond(ms).map_err(|_| damaged(column))).transpose()
    }

    pub(super) fn hash(&self, column: &str) -> Result<TokenHash> {
        self.bytes(column)?.try_into().map(TokenHash).map_err(|_| damaged(column))
    }
}

pub(super) fn damaged(column: &str) -> StoreError {
    StoreError::Damaged(format!("column {column} holds what no version writes"))
}

pub(crate) fn tenant(row: &Row) -> Result<Tenant> {
    row.int("tenant").map(Tenant)
}

pub(crate) fn summary(row: &Row) -> Result<Summary> {
    Ok(Summary {
        id: row.id("id")?,
        code: row.text("code")?,
        kind: row.named("kind")?,
        source: row.named("source")?,
        started: row.time("started_ms")?,
        received: row.time("received_ms")?,
        duration_ms: row.real("duration_ms")?,
        overall: row.named("overall")?,
        certain: row.flag("certain")?,
        place: row.named_or_none("place")?,
        direction: row.named_or_none("direction")?,
        cause: row.text_or_none("cause")?,
        say: row.text("say")?,
        site: row.text_or_none("site")?,
        person: row.text_or_none("person")?,
        ticket: row.text_or_none("ticket")?,
        agent: row.text_or_none("agent")?,
        endpoint: row.text_or_none("endpoint")?,
        agreement: row.named("agreement")?,
        differs: serde_json::from_str(&row.text("differs")?).map_err(|_| damaged("differs"))?,
        counted: row.named("counted")?,
        link: row.text_or_none("link")?,
    })
}

pub(crate) fn bucket_key(row: &Row) -> Result<(BucketKey, String)> {
    Ok((bucket(row)?, row.text("name")?))
}

pub(crate) fn bucket(row: &Row) -> Result<BucketKey> {
    Ok(BucketKey { bucket: row.int("bucket")?, site: row.text("site")?, endpoint: row.text("endpoint")? })
}

pub(super) fn series_total(row: &Row) -> Result<SeriesTotal> {
    Ok(SeriesTotal {
        site: row.text("site")?,
        endpoint: row.text("endpoint")?,
        since: row.flag("since")?,
        name: row.text("name")?,
        n: row.count("n")?,
    })
}

pub(super) fn note(row: &Row) -> Result<Note> {
    Ok(Note { at: row.time("at_ms")?, by: row.text("author")?, text: row.text("words")? })
}

pub(super) fn user(row: &Row) -> Result<User> {
    let role = row.text_or_none("role")?;
    Ok(User {
        tenant: tenant(row)?,
        id: row.id("id")?,
        name: row.text("name")?,
        role: role.map(|name| Role::from_name(&name).ok_or_else(|| damaged("role"))).transpose()?,
        created: row.time("created_ms")?,
    })
}

pub(super) fn key(row: &Row) -> Result<ApiKey> {
    Ok(ApiKey {
        tenant: tenant(row)?,
        id: row.text("id")?,
        name: row.text("name")?,
        good_for: row.named("good_for")?,
        secret: row.hash("secret")?,
        created: row.time("created_ms")?,
        revoked: row.time_or_none("revoked_ms")?,
    })
}

pub(super) fn check_link(row: &Row) -> Result<CheckLink> {
    Ok(CheckLink {
        tenant: tenant(row)?,
        id: row.text("id")?,
        token: row.hash("token")?,
        ticket: row.text("ticket")?,
        person: row.text_or_none("person")?,
        target: row.text_or_none("target")?,
        author: row.text("author")?,
        created: row.time("created_ms")?,
        expires: row.time("expires_ms")?,
        most: row.small("most")?,
        used: row.small("used")?,
        revoked: row.time_or_none("revoked_ms")?,
    })
}

pub(super) fn share_link(row: &Row) -> Result<ShareLink> {
    Ok(ShareLink {
        tenant: tenant(row)?,
        id: row.text("id")?,
        token: row.hash("token")?,
        report: row.id("report")?,
        author: row.text("author")?,
        created: row.time("created_ms")?,
        expires: row.time("expires_ms")?,
        views: row.small("views")?,
        viewed: row.time_or_none("viewed_ms")?,
        revoked: row.time_or_none("revoked_ms")?,
    })
}

pub(super) fn webhook(row: &Row) -> Result<Webhook> {
    Ok(Webhook {
        tenant: tenant(row)?,
        id: row.text("id")?,
        name: row.text("name")?,
        url: row.text("url")?,
        secret: WebhookSecret(row.bytes("secret")?),
        personal: row.flag("personal")?,
        kind: row.named("kind")?,
        author: row.text("author")?,
        created: row.time("created_ms")?,
        paused: row.time_or_none("paused_ms")?,
    })
}

pub(super) fn delivery(row: &Row) -> Result<Delivery> {
    Ok(Delivery {
        tenant: tenant(row)?,
        id: row.id("id")?,
        webhook: row.text("webhook")?,
        report: Some(row.id("report")?).filter(|id| !id.is_nil()),
        what: row.text("what")?,
        body: row.text("body")?,
        state: row.named("state")?,
        created: row.time("created_ms")?,
        due: row.time("due_ms")?,
        tries: row.small("tries")?,
        answer: row.text_or_none("answer")?,
        done: row.time_or_none("done_ms")?,
    })
}

pub(super) fn audit(row: &Row) -> Result<AuditEntry> {
    Ok(AuditEntry {
        tenant: tenant(row)?,
        at: row.time("at_ms")?,
        actor: row.text("actor")?,
        action: row.text("action")?,
        subject: row.text("subject")?,
    })
}
