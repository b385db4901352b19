//! What people set up, as rows.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{Backend, Done, Numbered, Query, Row, Step, Value};
use crate::store::settings::{Holds, SettingsRow, SettingsStore, SettingsTable, SettingsTaken};
use crate::store::{Result, Tenant};

/// Placeholders of a row begin behind the tenant's.
const FIRST: usize = 2;

#[async_trait]
impl<B: Backend> SettingsStore for B {
    async fn settings(&self, tenant: Tenant, table: &'static SettingsTable) -> Result<Vec<SettingsRow>> {
        let order = if table.is_numbered { " ORDER BY number" } else { "" };
        let text = format!("SELECT {} FROM {} WHERE tenant = $1{order}", names(table), table.name);
        let found = self.find(Query::new(text).bind(tenant)).await?;
        let mut rows = found.iter().map(|row| read(table, row)).collect::<Result<Vec<_>>>()?;
        if !table.is_numbered {
            // Databases have their own ways to put text in order.
            rows.sort_by_cached_key(|row| Json::Object(row.clone()).to_string());
        }
        Ok(rows)
    }

    async fn take_settings(
        &self,
        tenant: Tenant,
        table: &'static SettingsTable,
        rows: Vec<SettingsRow>,
    ) -> Result<SettingsTaken> {
        let text = insertion(table, self.next_number(Numbered::Audit));
        let all = rows.len();
        let mut steps = Vec::with_capacity(all);
        for (index, row) in rows.iter().enumerate() {
            let Some(values) = values(table, row) else { continue };
            let mut query = Query::new(text.clone()).bind(tenant);
            query.values.extend(values);
            if table.is_numbered {
                let ordinal = rows.iter().take(index + 1).filter(|other| *other == row).count();
                query = query.bind(i64::try_from(ordinal).unwrap_or(i64::MAX));
            }
            steps.push(Step::any(query));
        }
        let odd = count(all - steps.len());
        let Done::All(changed) = self.together(steps).await? else { return Ok(SettingsTaken::default()) };
        let new = changed.iter().sum();
        Ok(SettingsTaken { new, here: count(changed.len()).saturating_sub(new), odd })
    }

    async fn tenant_code(&self, tenant: Tenant) -> Result<Option<String>> {
        let found = self.find(Query::new("SELECT code FROM tenant WHERE id = $1").bind(tenant)).await?;
        found.first().map_or(Ok(None), |row| row.text_or_none("code"))
    }

    async fn give_code(&self, tenant: Tenant, code: &str) -> Result<()> {
        let query = Query::new(
            "UPDATE tenant SET code = $2 WHERE id = $1 AND code IS NULL
             AND NOT EXISTS (SELECT 1 FROM tenant WHERE code = $2)",
        );
        self.execute(query.bind(tenant).bind(code)).await.map(drop)
    }
}

fn names(table: &SettingsTable) -> String {
    table.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// A statement that takes a row in unless it is here.
fn insertion(table: &SettingsTable, next_number: &str) -> String {
    let (name, columns) = (table.name, names(table));
    let placeholder = |index: usize| format!("${}", FIRST + index);
    let given = (0..table.columns.len()).map(placeholder).collect::<Vec<_>>().join(", ");
    let (number, its_number) = match table.is_numbered {
        true => ("number, ", format!("{next_number}, ")),
        false => ("", String::new()),
    };
    let condition = match table.of {
        Some((of, column)) => {
            let index = table.columns.iter().position(|(name, _)| *name == column).unwrap_or_default();
            format!("EXISTS (SELECT 1 FROM {of} WHERE tenant = $1 AND id = {})", placeholder(index))
        }
        // Its number tells nothing: the second row that says the same is here where two are.
        None if table.is_numbered => {
            let same = table.columns.iter().enumerate();
            let same: Vec<_> =
                same.map(|(index, (name, _))| format!("{name} = {}", placeholder(index))).collect();
            let ordinal = placeholder(table.columns.len());
            format!("(SELECT COUNT(*) FROM {name} WHERE tenant = $1 AND {}) < {ordinal}", same.join(" AND "))
        }
        None => "TRUE".to_owned(),
    };
    format!(
        "INSERT INTO {name} (tenant, {number}{columns}) SELECT $1, {its_number}{given} WHERE {condition} ON CONFLICT DO NOTHING"
    )
}

fn read(table: &SettingsTable, row: &Row) -> Result<SettingsRow> {
    let mut read = SettingsRow::new();
    for (name, holds) in table.columns {
        let value = match holds {
            Holds::Number => row.int_or_none(name)?.into(),
            Holds::Flag => row.flag(name)?.into(),
            Holds::Text => row.text_or_none(name)?.into(),
            Holds::Bytes => BASE64.encode(row.bytes(name)?).into(),
            Holds::Id => row.id(name)?.to_string().into(),
        };
        read.insert((*name).to_owned(), value);
    }
    Ok(read)
}

/// A row's values in the order of the columns; `None` where it is no row of this version.
fn values(table: &SettingsTable, row: &SettingsRow) -> Option<Vec<Value>> {
    if row.len() != table.columns.len() {
        return None;
    }
    table.columns.iter().map(|(name, holds)| value(*holds, row.get(*name)?)).collect()
}

fn value(holds: Holds, json: &Json) -> Option<Value> {
    Some(match (holds, json) {
        (Holds::Number, Json::Null) => Value::Int(None),
        (Holds::Number, json) => Value::Int(Some(json.as_i64()?)),
        (Holds::Flag, json) => Value::Bool(json.as_bool()?),
        (Holds::Text, Json::Null) => Value::Text(None),
        (Holds::Text, json) => Value::Text(Some(json.as_str()?.to_owned())),
        (Holds::Bytes, json) => Value::Bytes(BASE64.decode(json.as_str()?).ok()?),
        (Holds::Id, json) => Value::Id(Uuid::parse_str(json.as_str()?).ok()?),
    })
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::store::settings::{LEFT_BEHIND, NO_SETTINGS, SETTINGS};
    use crate::store::sqlite::SqliteStore;

    #[tokio::test]
    async fn every_table_and_column_is_moved_or_stays_for_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        let found = store
            .find(Query::new(
                "SELECT tables.name AS name, columns.name AS column_name
                 FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns
                 WHERE tables.type = 'table'",
            ))
            .await
            .unwrap();
        let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in found {
            tables.entry(row.text("name").unwrap()).or_default().insert(row.text("column_name").unwrap());
        }
        assert!(tables.len() > 20, "{tables:?}");
        for (name, columns) in tables {
            if NO_SETTINGS.iter().any(|(other, _)| *other == name) {
                continue;
            }
            let table = SETTINGS.iter().find(|table| table.name == name);
            let table = table.unwrap_or_else(|| panic!("nothing says whether table {name} is moved"));
            let mut known: BTreeSet<String> =
                table.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
            known.insert("tenant".to_owned());
            if table.is_numbered {
                known.insert("number".to_owned());
            }
            known.extend(
                LEFT_BEHIND.iter().filter(|(of, _)| *of == name).map(|(_, column)| (*column).to_owned()),
            );
            assert_eq!(known, columns, "{name}");
        }
    }
}
