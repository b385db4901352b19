//! SQLite on a disk that is full, and on one that is read-only for a while. Needs root, for a small disk of its own.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "../../tests/support/disk.rs"]
mod disk;
#[path = "house/mod.rs"]
mod house;
#[path = "../src/testing.rs"]
mod testing;

use std::process::Command;
use std::sync::Arc;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use disk::{Disk, mount};
use greenroom_reports::schema::Report;
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::{ReportStore as _, Tenant};
use greenroom_web::verify::verify;
use house::{House, report};
use tempfile::TempDir;

/// A disk in a file, with a file system that notices when it is damaged.
struct Image {
    file: tempfile::NamedTempFile,
    folder: TempDir,
}

impl Image {
    fn empty() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(32 << 20).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(file.path()).output().unwrap();
        assert!(made.status.success(), "mkfs.ext4: {}", String::from_utf8_lossy(&made.stderr));
        Self::of(file)
    }

    fn of(file: tempfile::NamedTempFile) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = file.path().to_str().unwrap();
        mount(&["-o", "loop,errors=remount-ro", name], folder.path());
        Self { file, folder }
    }

    /// From now on nothing can be written to it, as after a fault that the system found.
    fn fail(&self) {
        mount(&["-o", "remount,abort"], self.folder.path());
    }

    /// What is on it now.
    fn copy(&self) -> Self {
        let copy = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(self.file.path(), copy.path()).unwrap();
        Self::of(copy)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

/// Sends numbered reports until one is refused, which must be in the way that says when to come again; those that were kept.
async fn until_refused(house: &House, key: &str, from: u64) -> Vec<Report> {
    let mut kept = Vec::new();
    for n in from..from + 5_000 {
        let sent = report(n, &format!("{n:0>200}"));
        let answer = house.send(key, &sent).await;
        if answer.status == 202 {
            kept.push(sent);
            continue;
        }
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json");
        assert!(answer.headers.contains_key(RETRY_AFTER));
        assert!(!answer.json()["detail"].as_str().unwrap().is_empty());
        return kept;
    }
    panic!("the disk never got full");
}

#[tokio::test]
async fn on_a_full_disk_reports_are_refused_until_there_is_room() {
    let disk = Disk::of("3m");
    let store = Arc::new(SqliteStore::open(&disk.path().join("data")).await.unwrap());
    let house = House::on(store.clone(), Arc::new(()));
    let key = house.key(Tenant::FIRST).await;
    let mut kept = until_refused(&house, &key, 0).await;
    assert!(!kept.is_empty());
    disk.remount("size=64m");
    let refused = report(kept.len() as u64, "Ada");
    assert_eq!(house.send(&key, &refused).await.status, 202, "there is room again");
    kept.push(refused);
    for sent in &kept {
        let json = store.raw(Tenant::FIRST, sent.id).await.unwrap().expect("what was acknowledged is there");
        assert_eq!(serde_json::from_slice::<Report>(&json).unwrap().id, sent.id);
    }
    house.state.stop().await;
}

#[tokio::test]
async fn on_a_disk_that_went_read_only_reports_are_refused_and_what_was_acknowledged_is_on_it() {
    let disk = Image::empty();
    let store = Arc::new(SqliteStore::open(&disk.folder.path().join("data")).await.unwrap());
    let house = House::on(store.clone(), Arc::new(()));
    let key = house.key(Tenant::FIRST).await;
    let sent: Vec<Report> = (0..20).map(|n| report(n, "Ada")).collect();
    for sent in &sent {
        assert_eq!(house.send(&key, sent).await.status, 202);
    }
    disk.fail();
    assert!(until_refused(&house, &key, 20).await.is_empty());
    assert_eq!(house.get("/readyz", "").await.status, 200, "what is there can be read");
    let again = house.send(&key, &sent[3]).await;
    assert_eq!((again.status, again.json()["status"].as_str()), (202, Some("duplicate")), "it is there");
    house.state.stop().await;
    let after = disk.copy();
    let store = SqliteStore::open(&after.folder.path().join("data")).await.unwrap();
    for sent in &sent {
        let json = store.raw(Tenant::FIRST, sent.id).await.unwrap().expect("what was acknowledged is there");
        assert_eq!(serde_json::from_slice::<Report>(&json).unwrap().id, sent.id);
    }
    assert!(verify(&store, house::now()).await.unwrap().is_sound());
    store.close().await.unwrap();
}
