//! What people set up beside the reports: accounts, keys, links, agents, webhooks, alerts; and incidents. As rows of named tables, for moving them to another
//! store.

use async_trait::async_trait;
use serde_json::Map;

use super::{Result, Tenant};

/// What a column holds. In a [`SettingsRow`] bytes are base64, ids are text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Number,
    Flag,
    Text,
    Bytes,
    Id,
}

use Holds::{Bytes, Flag, Id, Number, Text};

/// A table whose rows are moved, with its columns but the tenant's.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingsTable {
    /// What it is called, in the store and in an export.
    pub name: &'static str,
    pub(crate) columns: &'static [(&'static str, Holds)],
    /// A row is of no use where what this column names is no row of that table.
    pub(crate) of: Option<(&'static str, &'static str)>,
    /// Its rows are numbered by the store.
    pub(crate) is_numbered: bool,
}

const fn table(name: &'static str, columns: &'static [(&'static str, Holds)]) -> SettingsTable {
    SettingsTable { name, columns, of: None, is_numbered: false }
}

/// All of them, each before those that are of it.
pub static SETTINGS: &[SettingsTable] = &[
    table(
        "account",
        &[("id", Id), ("name", Text), ("password", Text), ("role", Text), ("created_ms", Number)],
    ),
    SettingsTable {
        of: Some(("account", "account")),
        ..table("identity", &[("issuer", Text), ("subject", Text), ("account", Id)])
    },
    table(
        "api_key",
        &[
            ("id", Text),
            ("name", Text),
            ("good_for", Text),
            ("secret", Bytes),
            ("created_ms", Number),
            ("revoked_ms", Number),
        ],
    ),
    table(
        "check_link",
        &[
            ("id", Text),
            ("token", Bytes),
            ("ticket", Text),
            ("person", Text),
            ("target", Text),
            ("author", Text),
            ("created_ms", Number),
            ("expires_ms", Number),
            ("most", Number),
            ("used", Number),
            ("revoked_ms", Number),
        ],
    ),
    table(
        "share_link",
        &[
            ("id", Text),
            ("token", Bytes),
            ("report", Id),
            ("author", Text),
            ("created_ms", Number),
            ("expires_ms", Number),
            ("views", Number),
            ("viewed_ms", Number),
            ("revoked_ms", Number),
        ],
    ),
    table(
        "webhook",
        &[
            ("id", Text),
            ("name", Text),
            ("url", Text),
            ("secret", Bytes),
            ("personal", Flag),
            ("kind", Text),
            ("author", Text),
            ("created_ms", Number),
            ("paused_ms", Number),
        ],
    ),
    table("alert_rule", &[("id", Text), ("author", Text), ("created_ms", Number), ("rule", Text)]),
    table("silence", &[("id", Text), ("author", Text), ("created_ms", Number), ("silence", Text)]),
    table(
        "incident",
        &[
            ("id", Id),
            ("scope", Text),
            ("since_ms", Number),
            ("noticed_ms", Number),
            ("over_ms", Number),
            ("agents", Text),
            ("told", Text),
        ],
    ),
    SettingsTable {
        of: Some(("incident", "incident")),
        ..table("alert", &[("rule", Text), ("incident", Id), ("over_ms", Number), ("alert", Text)])
    },
    table(
        "enroll_token",
        &[
            ("id", Text),
            ("token", Bytes),
            ("name", Text),
            ("site", Text),
            ("approve", Flag),
            ("author", Text),
            ("created_ms", Number),
            ("expires_ms", Number),
            ("most", Number),
            ("used", Number),
            ("revoked_ms", Number),
        ],
    ),
    // What lets an agent in for a while stays behind: it signs another challenge.
    table(
        "agent",
        &[
            ("id", Id),
            ("name", Text),
            ("site", Text),
            ("state", Text),
            ("public_key", Bytes),
            ("version", Text),
            ("token", Text),
            ("enrolled_ms", Number),
            ("active_ms", Number),
            ("challenge_ms", Number),
            ("seen_ms", Number),
            ("config", Number),
            ("waiting", Number),
            ("dropped", Number),
            ("trouble", Text),
            ("wanted", Text),
            ("wanted_schedule", Text),
        ],
    ),
    SettingsTable {
        of: Some(("agent", "agent")),
        ..table(
            "agent_boot",
            &[
                ("agent", Id),
                ("boot", Text),
                ("first_ms", Number),
                ("last_ms", Number),
                ("last_seq", Number),
                ("received", Number),
            ],
        )
    },
    table("fleet_plan", &[("version", Number), ("changed_ms", Number), ("plan", Text)]),
    SettingsTable {
        is_numbered: true,
        ..table("audit", &[("at_ms", Number), ("actor", Text), ("action", Text), ("subject", Text)])
    },
];

/// Every other table, and why its rows are no settings.
#[cfg(test)]
pub(crate) const NO_SETTINGS: &[(&str, &str)] = &[
    ("tenant", "has a line of its own"),
    ("report", "moved as reports, with their notes and sums"),
    ("report_id", "moved as reports, with their notes and sums"),
    ("report_raw", "moved as reports, with their notes and sums"),
    ("note", "moved as reports, with their notes and sums"),
    ("rollup", "moved as reports, with their notes and sums"),
    ("tally", "moved as reports, with their notes and sums"),
    ("pending", "part of the sums, which are moved with reports"),
    ("bootstrap", "good for a quarter of an hour"),
    ("session", "people sign in again"),
    ("delivery", "what is told of is told where it came in"),
    ("baseline", "learned from what comes in"),
    ("detector", "learned from what comes in"),
    ("turn", "of the nodes that are there now"),
    ("grant_key", "signs what is good for minutes"),
    ("spent_grant", "signs what is good for minutes"),
    ("challenge_key", "signs what is good for minutes"),
    ("media_node", "of the nodes that are there now"),
    ("wipe", "of the store's own files"),
    ("import", "of the store's own past"),
    ("_sqlx_migrations", "of the store's own past"),
];

/// Columns of settings that stay behind: what lets an agent in for a while.
#[cfg(test)]
pub(crate) const LEFT_BEHIND: &[(&str, &str)] = &[("agent", "bearer"), ("agent", "bearer_ms")];

/// A row of a [`SettingsTable`] without its tenant.
pub type SettingsRow = Map<String, serde_json::Value>;

/// What came of taking rows in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SettingsTaken {
    /// Rows that are new here.
    pub new: u64,
    /// Rows that are here already or clash with what is here, which stays as it is.
    pub here: u64,
    /// Rows that are none of this version's.
    pub odd: u64,
}

/// What people set up, read and written as rows.
#[async_trait]
pub trait SettingsStore: Send + Sync {
    /// All rows of a tenant, in the same order from every store.
    async fn settings(&self, tenant: Tenant, table: &'static SettingsTable) -> Result<Vec<SettingsRow>>;

    /// Takes rows in, by one commit. What is here stays as it is. Numbered rows that are the same have to come together.
    async fn take_settings(
        &self,
        tenant: Tenant,
        table: &'static SettingsTable,
        rows: Vec<SettingsRow>,
    ) -> Result<SettingsTaken>;

    /// What the address of a tenant's check page holds.
    async fn tenant_code(&self, tenant: Tenant) -> Result<Option<String>>;

    /// Gives a tenant that has no such code one, unless another tenant has it.
    async fn give_code(&self, tenant: Tenant, code: &str) -> Result<()>;
}
