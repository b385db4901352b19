//! Raw reports in one file a day: appended and synced before the commit that names them, dropped as a whole.
//!
//! A record is a header of [`HEADER`] bytes (magic, length, CRC-32 of the payload, tenant, report id; integers big-endian) and the
//! report's JSON as one zstd frame. Bytes that no row names are left over from a crash or a failed commit and harm nobody.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::store::{StoreError, Tenant};

const MAGIC: &[u8; 4] = b"GRR1";

/// Bytes before each payload.
pub(super) const HEADER: usize = 4 + 4 + 4 + 8 + 16;

/// Most bytes of JSON that a record unpacks to: above what ingest lets in.
const MAX_UNPACKED: usize = 64 << 20;

/// How hard to compress: what is left to gain is in base64 alone.
const LEVEL: i32 = 1;

/// Where a record lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) day: String,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The folder of day files.
#[derive(Debug, Clone)]
pub(super) struct DayFiles {
    folder: PathBuf,
    /// Held by the one who appends: where its records lie follows from how long the file is.
    appending: Arc<Mutex<()>>,
}

impl DayFiles {
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, appending: Arc::default() })
    }

    /// Appends records to a day's file and syncs it; says where each lies. After an error nothing counts as written.
    pub(super) fn append(&self, day: &str, records: &[Packed]) -> io::Result<Vec<Position>> {
        let _appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(day);
        let new = !path.exists();
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        let begin = file.metadata()?.len();
        let mut at = begin;
        let mut bytes = Vec::new();
        let mut positions = Vec::with_capacity(records.len());
        for record in records {
            bytes.extend_from_slice(&record.0);
            let length = u64::try_from(record.0.len()).map_err(io::Error::other)?;
            positions.push(Position { day: day.to_owned(), offset: at, length });
            at += length;
        }
        let written = file.write_all(&bytes).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // What was written of it is of no use; a full disk is glad of the room.
            let _ = file.set_len(begin);
            return Err(error);
        }
        if new {
            // The file's name is durable once its folder is.
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(positions)
    }

    /// Reads a report's JSON.
    pub(super) fn read(&self, at: &Position, tenant: Tenant, id: Uuid) -> Result<Vec<u8>, StoreError> {
        let damaged = |what: &str| StoreError::Damaged(format!("report {id} in {}.grr: {what}", at.day));
        let length = usize::try_from(at.length).map_err(|_| damaged("too long"))?;
        let mut file = File::open(self.path(&at.day)).map_err(|error| damaged(&error.to_string()))?;
        file.seek(SeekFrom::Start(at.offset)).map_err(|error| damaged(&error.to_string()))?;
        let mut bytes = Vec::new();
        file.take(at.length).read_to_end(&mut bytes).map_err(|error| damaged(&error.to_string()))?;
        let (header, payload) = bytes.split_at_checked(HEADER).ok_or_else(|| damaged("cut off"))?;
        if bytes.len() != length || header != Packed::header(tenant, id, payload) {
            return Err(damaged("its bytes are not those that were written"));
        }
        zstd::bulk::decompress(payload, MAX_UNPACKED).map_err(|error| damaged(&error.to_string()))
    }

    /// Overwrites a record. Where its file is gone, it is gone too.
    pub(super) fn wipe(&self, at: &Position) -> io::Result<()> {
        let mut file = match OpenOptions::new().write(true).open(self.path(&at.day)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let end = file.metadata()?.len().min(at.offset.saturating_add(at.length));
        file.seek(SeekFrom::Start(at.offset))?;
        io::copy(&mut io::repeat(0).take(end.saturating_sub(at.offset)), &mut file)?;
        file.sync_data()
    }

    /// Deletes the files of days before this one.
    pub(super) fn drop_before(&self, day: &str) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_old = path.extension().is_some_and(|ext| ext == "grr")
                && path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem < day);
            if is_old {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn path(&self, day: &str) -> PathBuf {
        self.folder.join(Path::new(day).with_extension("grr"))
    }
}

/// A record as it is written.
pub(super) struct Packed(Vec<u8>);

/// Makes records of many reports: what it needs to compress is made once.
pub(super) struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        zstd::bulk::Compressor::new(LEVEL).map(Self)
    }

    pub(super) fn pack(&mut self, tenant: Tenant, id: Uuid, json: &[u8]) -> io::Result<Packed> {
        let payload = self.0.compress(json)?;
        let mut bytes = Packed::header(tenant, id, &payload);
        bytes.extend_from_slice(&payload);
        Ok(Packed(bytes))
    }
}

impl Packed {
    fn header(tenant: Tenant, id: Uuid, payload: &[u8]) -> Vec<u8> {
        let mut crc = flate2::Crc::new();
        crc.update(payload);
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        header.extend_from_slice(&crc.sum().to_be_bytes());
        header.extend_from_slice(&tenant.0.to_be_bytes());
        header.extend_from_slice(id.as_bytes());
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn what_is_appended_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let files = DayFiles::open(folder.path().join("raw")).unwrap();
        let packed =
            |n: u128, text: &str| Packer::new().unwrap().pack(Tenant(1), id(n), text.as_bytes()).unwrap();
        let first = files.append("2026-11-22", &[packed(1, "one"), packed(2, "two")]).unwrap();
        let second = files.append("2026-11-22", &[packed(3, "three")]).unwrap();
        assert_eq!(files.read(&first[1], Tenant(1), id(2)).unwrap(), b"two");
        assert_eq!(files.read(&second[0], Tenant(1), id(3)).unwrap(), b"three");
        assert!(files.read(&first[1], Tenant(2), id(2)).is_err(), "another tenant's");
        assert!(files.read(&first[0], Tenant(1), id(2)).is_err(), "another report's");
        let cut = Position { length: first[0].length - 1, ..first[0].clone() };
        assert!(files.read(&cut, Tenant(1), id(1)).is_err(), "cut off");
        let path = folder.path().join("raw/2026-11-22.grr");
        let mut bytes = fs::read(&path).unwrap();
        bytes[HEADER + 5] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(files.read(&first[0], Tenant(1), id(1)).is_err(), "damaged");
    }

    #[test]
    fn old_days_go_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let files = DayFiles::open(folder.path().to_owned()).unwrap();
        for day in ["2026-10-31", "2026-11-01", "2026-11-02"] {
            let packed = Packer::new().unwrap().pack(Tenant(1), id(1), b"x").unwrap();
            files.append(day, &[packed]).unwrap();
        }
        files.drop_before("2026-11-01").unwrap();
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["2026-11-01.grr", "2026-11-02.grr"]);
    }
}
