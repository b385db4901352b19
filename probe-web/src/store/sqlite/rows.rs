//! Rows read back into what they stand for.

use jiff::Timestamp;
use serde::Deserialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::broken;
use crate::store::{
    ApiKey, AuditEntry, CheckLink, Note, Result, Role, ShareLink, StoreError, Summary, Tenant, TokenHash,
    User, from_name,
};

fn get<'r, T>(row: &'r SqliteRow, column: &str) -> Result<T>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).map_err(broken)
}

fn damaged(column: &str) -> StoreError {
    StoreError::Damaged(format!("column {column} holds what no version writes"))
}

fn named<T: for<'de> Deserialize<'de>>(row: &SqliteRow, column: &str) -> Result<T> {
    let name: &str = get(row, column)?;
    from_name(name).ok_or_else(|| damaged(column))
}

fn named_or_none<T: for<'de> Deserialize<'de>>(row: &SqliteRow, column: &str) -> Result<Option<T>> {
    let name: Option<&str> = get(row, column)?;
    name.map(|name| from_name(name).ok_or_else(|| damaged(column))).transpose()
}

fn time(row: &SqliteRow, column: &str) -> Result<Timestamp> {
    Timestamp::from_millisecond(get(row, column)?).map_err(|_| damaged(column))
}

fn time_or_none(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>> {
    let ms: Option<i64> = get(row, column)?;
    ms.map(|ms| Timestamp::from_millisecond(ms).map_err(|_| damaged(column))).transpose()
}

pub(super) fn id(row: &SqliteRow, column: &str) -> Result<Uuid> {
    Uuid::from_slice(get(row, column)?).map_err(|_| damaged(column))
}

fn hash(row: &SqliteRow, column: &str) -> Result<TokenHash> {
    let bytes: &[u8] = get(row, column)?;
    bytes.try_into().map(TokenHash).map_err(|_| damaged(column))
}

pub(super) fn tenant(row: &SqliteRow) -> Result<Tenant> {
    get(row, "tenant").map(Tenant)
}

pub(super) fn summary(row: &SqliteRow) -> Result<Summary> {
    let differs: &str = get(row, "differs")?;
    Ok(Summary {
        id: id(row, "id")?,
        code: get(row, "code")?,
        kind: named(row, "kind")?,
        source: named(row, "source")?,
        started: time(row, "started_ms")?,
        received: time(row, "received_ms")?,
        duration_ms: get(row, "duration_ms")?,
        overall: named(row, "overall")?,
        certain: get(row, "certain")?,
        place: named_or_none(row, "place")?,
        direction: named_or_none(row, "direction")?,
        cause: get(row, "cause")?,
        say: get(row, "say")?,
        site: get(row, "site")?,
        person: get(row, "person")?,
        ticket: get(row, "ticket")?,
        agent: get(row, "agent")?,
        endpoint: get(row, "endpoint")?,
        agreement: named(row, "agreement")?,
        differs: serde_json::from_str(differs).map_err(|_| damaged("differs"))?,
        counted: named(row, "counted")?,
        link: get(row, "link")?,
    })
}

pub(super) fn note(row: &SqliteRow) -> Result<Note> {
    Ok(Note { at: time(row, "at_ms")?, by: get(row, "author")?, text: get(row, "words")? })
}

pub(super) fn user(row: &SqliteRow) -> Result<User> {
    let role: Option<&str> = get(row, "role")?;
    Ok(User {
        tenant: tenant(row)?,
        id: id(row, "id")?,
        name: get(row, "name")?,
        role: role.map(|name| Role::from_name(name).ok_or_else(|| damaged("role"))).transpose()?,
        created: time(row, "created_ms")?,
    })
}

pub(super) fn key(row: &SqliteRow) -> Result<ApiKey> {
    Ok(ApiKey {
        tenant: tenant(row)?,
        id: get(row, "id")?,
        name: get(row, "name")?,
        good_for: named(row, "good_for")?,
        secret: hash(row, "secret")?,
        created: time(row, "created_ms")?,
        revoked: time_or_none(row, "revoked_ms")?,
    })
}

pub(super) fn check_link(row: &SqliteRow) -> Result<CheckLink> {
    Ok(CheckLink {
        tenant: tenant(row)?,
        id: get(row, "id")?,
        token: hash(row, "token")?,
        ticket: get(row, "ticket")?,
        person: get(row, "person")?,
        target: get(row, "target")?,
        author: get(row, "author")?,
        created: time(row, "created_ms")?,
        expires: time(row, "expires_ms")?,
        most: get(row, "most")?,
        used: get(row, "used")?,
        revoked: time_or_none(row, "revoked_ms")?,
    })
}

pub(super) fn share_link(row: &SqliteRow) -> Result<ShareLink> {
    Ok(ShareLink {
        tenant: tenant(row)?,
        id: get(row, "id")?,
        token: hash(row, "token")?,
        report: id(row, "report")?,
        author: get(row, "author")?,
        created: time(row, "created_ms")?,
        expires: time(row, "expires_ms")?,
        views: get(row, "views")?,
        viewed: time_or_none(row, "viewed_ms")?,
        revoked: time_or_none(row, "revoked_ms")?,
    })
}

pub(super) fn audit(row: &SqliteRow) -> Result<AuditEntry> {
    Ok(AuditEntry {
        tenant: tenant(row)?,
        at: time(row, "at_ms")?,
        actor: get(row, "actor")?,
        action: get(row, "action")?,
        subject: get(row, "subject")?,
    })
}
