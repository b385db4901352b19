//! Somebody taken out of reports: what is left of them is appended to their days' files, and what was there before is overwritten.
//!
//! Which bytes are to be overwritten is committed together with where the new ones are, so that nothing of it is forgotten when the
//! process ends in between.

use std::collections::BTreeMap;
use std::io;

use uuid::Uuid;

use super::backend::{position, rows};
use super::backup::Hold;
use super::raw::{Packer, Position};
use super::{SqliteStore, begin, run};
use crate::store::sql::person::CLEARED;
use crate::store::sql::{Query, blocking, broken};
use crate::store::{Redacted, Result, StoreError, Tenant};

fn unwritable(error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("cannot write raw reports: {error}"))
}

impl SqliteStore {
    pub(super) async fn redact_all(&self, tenant: Tenant, reports: Vec<Redacted>) -> Result<()> {
        self.replace(tenant, reports).await?;
        self.wipe().await?;
        // What was deleted from the database's pages stands in its log until that is emptied.
        let mut writer = self.writer().await?;
        rows(&mut writer, Query::new("PRAGMA wal_checkpoint(TRUNCATE)")).await?;
        rows(&mut writer, Query::new("PRAGMA secure_delete = OFF")).await.map(drop)
    }

    /// Appends what is left, points to it, and writes down what is to be overwritten: one commit.
    async fn replace(&self, tenant: Tenant, reports: Vec<Redacted>) -> Result<()> {
        let mut writer = self.writer().await?;
        // What is deleted from pages is overwritten with zeros.
        rows(&mut writer, Query::new("PRAGMA secure_delete = ON")).await?;
        let mut tx = begin(&mut writer).await?;
        let mut days: BTreeMap<String, Vec<(Uuid, Vec<u8>)>> = BTreeMap::new();
        for Redacted { id, say, raw } in reports {
            let at = Query::new(
                "SELECT raw_day, raw_offset, raw_length FROM report WHERE tenant = $1 AND id = $2",
            );
            let found = rows(&mut tx, at.bind(tenant).bind(id)).await?;
            let old = found.first().map(|row| position(row, id)).transpose()?.flatten();
            let text = format!(
                "UPDATE report SET {CLEARED}, say = $3, raw_day = NULL, raw_offset = NULL, raw_length = NULL
                 WHERE tenant = $1 AND id = $2"
            );
            run(&mut tx, Query::new(text).bind(tenant).bind(id).bind(say)).await?;
            // Messages may name whose report they tell of.
            for of_it in ["note", "delivery"] {
                let gone = Query::new(format!("DELETE FROM {of_it} WHERE tenant = $1 AND report = $2"));
                run(&mut tx, gone.bind(tenant).bind(id)).await?;
            }
            let Some(old) = old else { continue };
            let wipe = Query::new(
                "INSERT INTO wipe (raw_day, raw_offset, raw_length) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            );
            let wipe = wipe.bind(&old.day).bind(old.offset.cast_signed()).bind(old.length.cast_signed());
            run(&mut tx, wipe).await?;
            if let Some(json) = raw {
                days.entry(old.day).or_default().push((id, json));
            }
        }
        for (day, left) in days {
            let files = self.files.clone();
            let (ids, jsons): (Vec<_>, Vec<_>) = left.into_iter().unzip();
            let names = ids.clone();
            let written = blocking(move || {
                let mut packer = Packer::new()?;
                let packed: io::Result<Vec<_>> =
                    names.iter().zip(&jsons).map(|(id, json)| packer.pack(tenant, *id, json)).collect();
                files.append(&day, &packed?)
            })
            .await?;
            let positions = written.map_err(|error| unwritable(&error))?;
            for (id, at) in ids.into_iter().zip(positions) {
                run(&mut tx, place(tenant, id, at)).await?;
            }
        }
        tx.commit().await.map_err(broken)
    }

    /// Overwrites what is to be overwritten. While the files are being copied, that waits for the next time.
    pub(super) async fn wipe(&self) -> Result<()> {
        let mut writer = self.writer().await?;
        let query = Query::new("SELECT raw_day, raw_offset, raw_length FROM wipe");
        let found = rows(&mut writer, query).await?;
        let old: Result<Vec<_>> = found.iter().map(|row| position(row, Uuid::nil())).collect();
        let old: Vec<Position> = old?.into_iter().flatten().collect();
        if old.is_empty() {
            return Ok(());
        }
        let (files, folder) = (self.files.clone(), self.folder.clone());
        let wiped = blocking(move || -> io::Result<bool> {
            let Some(_hold) = Hold::take(&folder)? else { return Ok(false) };
            old.iter().try_for_each(|at| files.wipe(at))?;
            Ok(true)
        });
        if wiped.await?.map_err(|error| unwritable(&error))? {
            run(&mut writer, Query::new("DELETE FROM wipe")).await?;
        }
        Ok(())
    }
}

/// Says where a report's bytes are.
fn place(tenant: Tenant, id: Uuid, at: Position) -> Query {
    let text =
        "UPDATE report SET raw_day = $1, raw_offset = $2, raw_length = $3 WHERE tenant = $4 AND id = $5";
    let query = Query::new(text).bind(at.day).bind(at.offset.cast_signed()).bind(at.length.cast_signed());
    query.bind(tenant).bind(id)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use crate::ingest::read::record;
    use crate::store::{Note, PersonStore as _, ReportStore as _, Upkeep as _};
    use crate::{person, testing, verify};

    use super::*;

    const NAME: &str = "Ada Lovelace";

    async fn kept(store: &SqliteStore) {
        let batch = (0..4).map(|n| {
            let mut report = testing::report(n);
            let whose = if n < 2 { NAME } else { "Grace Hopper" };
            report.labels.insert("person".into(), whose.into());
            let json = serde_json::to_vec(&report).unwrap();
            record(Tenant::FIRST, &report, json, report.started).unwrap()
        });
        store.ingest(batch.collect()).await.unwrap();
        let note = Note { at: testing::start(), by: "ann".into(), text: format!("{NAME} called") };
        store.add_note(Tenant::FIRST, testing::id(0), &note).await.unwrap();
    }

    /// What lies in every file of a folder.
    fn bytes(folder: &Path) -> Vec<u8> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            all.extend(if path.is_dir() { bytes(&path) } else { fs::read(path).unwrap() });
        }
        all
    }

    fn holds(folder: &Path, wanted: &[u8]) -> bool {
        bytes(folder).windows(wanted.len()).any(|window| window == wanted)
    }

    #[tokio::test]
    async fn what_is_erased_is_in_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        kept(&store).await;
        let day = fs::read_dir(folder.path().join("raw")).unwrap().next().unwrap().unwrap().path();
        let before = fs::read(&day).unwrap();
        // Packed, both begin so; further back stands whose it is.
        let first = before[100..200].to_vec();
        assert!(holds(folder.path(), NAME.as_bytes()) && holds(folder.path(), &first));
        let done = person::erase(&store, Tenant::FIRST, NAME).await.unwrap();
        assert_eq!(done.reports, 2);
        assert!(!holds(folder.path(), NAME.as_bytes()), "neither in the database nor in its log");
        let after = fs::read(&day).unwrap();
        assert!(after[..200].iter().all(|byte| *byte == 0), "overwritten");
        assert!(holds(folder.path(), b"Grace Hopper"));
        assert!(store.raw(Tenant::FIRST, testing::id(0)).await.unwrap().is_some());
        let found = verify::verify(&store, testing::start()).await.unwrap();
        assert!(found.is_sound() && found.reports == 4, "{found:?}");
        assert!(store.integrity().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_a_backup_is_copying_is_overwritten_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        kept(&store).await;
        let day = fs::read_dir(folder.path().join("raw")).unwrap().next().unwrap().unwrap().path();
        let before = fs::read(&day).unwrap();
        let copying = Hold::take(folder.path()).unwrap().unwrap();
        assert!(Hold::take(folder.path()).unwrap().is_none());
        let left = Redacted { id: testing::id(0), say: String::new(), raw: None };
        store.put_redacted(Tenant::FIRST, vec![left]).await.unwrap();
        assert_eq!(fs::read(&day).unwrap(), before);
        drop(copying);
        store.close().await.unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        let start = testing::start();
        store.retire(start, start).await.unwrap();
        assert!(fs::read(&day).unwrap()[..200].iter().all(|byte| *byte == 0));
        assert_eq!(store.raw(Tenant::FIRST, testing::id(0)).await.unwrap(), None);
        assert!(store.raw(Tenant::FIRST, testing::id(1)).await.unwrap().is_some());
    }
}
