//! Finished reports on the disk until the server has them.
//!
//! A folder of segments to which records are only ever appended. A report is finished when [`Spool::append`] returns: then it is synced,
//! and nothing but a server's 2xx ([`Spool::sent`]), its age or the spool's limits lets it go. Segments are made with all their room, so
//! that a disk that others fill does not keep a run that has begun from being written down.
//!
//! What was sent is not written down: a segment goes when all of it was sent. So after a crash some reports are sent again, which the
//! server knows by their ids; in return there is no second file whose damage could let an unsent report go. A segment is never appended
//! to after a start or after a write that failed: what is behind a torn record would not be found again.

mod disk;
#[cfg(test)]
mod faulty_tests;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

pub use disk::{Disk, Folder};
use record::{HEAD, MOST, Record};

/// How much a spool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes on the disk; the oldest reports go first.
    pub bytes: u64,
    /// Bytes of a segment.
    pub segment: u64,
    /// Room that is to be there before a run begins.
    pub reserve: u64,
    /// Oldest report that is kept.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 20, segment: 1 << 20, reserve: 256 << 10, age: Duration::from_secs(7 * 86_400) }
    }
}

/// Where a report stands. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    segment: u64,
    offset: u64,
}

/// A report that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The report's id.
    pub id: Uuid,
    /// When it was made, by this computer's clock.
    pub made: Timestamp,
    length: u64,
}

/// A segment on the disk.
#[derive(Debug, Clone, Copy, Default)]
struct Segment {
    /// Bytes on the disk.
    bytes: u64,
    /// Reports in it that wait.
    waiting: usize,
}

/// The segment that is appended to.
struct Active<F> {
    number: u64,
    file: F,
    used: u64,
    room: u64,
}

/// Finished reports on a disk.
pub struct Spool<D: Disk> {
    disk: D,
    limits: Limits,
    segments: BTreeMap<u64, Segment>,
    waiting: BTreeMap<Key, Waiting>,
    active: Option<Active<D::File>>,
    next: u64,
    dropped: u64,
    damaged: u64,
}

impl<D: Disk> Spool<D> {
    /// Opens a spool and finds what waits in it.
    ///
    /// # Errors
    /// When the folder or a segment cannot be read.
    pub fn open(disk: D, limits: Limits) -> io::Result<Self> {
        let mut spool = Self {
            limits,
            segments: BTreeMap::new(),
            waiting: BTreeMap::new(),
            active: None,
            next: 1,
            dropped: 0,
            damaged: 0,
            disk,
        };
        let mut numbers: Vec<u64> = spool.disk.list()?.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        for number in numbers {
            spool.next = spool.next.max(number.saturating_add(1));
            spool.read_in(number)?;
        }
        Ok(spool)
    }

    fn read_in(&mut self, number: u64) -> io::Result<()> {
        let (bytes, content) = self.disk.whole(&name_of(number), 2 * self.limits.segment + MOST)?;
        let scan = record::scan(number, &content);
        self.damaged += scan.damaged;
        self.segments.insert(number, Segment { bytes, waiting: scan.records.len() });
        for (offset, length, found) in scan.records {
            let waiting = Waiting { id: found.id, made: found.made, length };
            self.waiting.insert(Key { segment: number, offset }, waiting);
        }
        self.retire(number);
        Ok(())
    }

    /// Writes a report down. When it returns, it is on the disk to stay.
    ///
    /// # Errors
    /// When there is no room or the disk fails; the report may be given again. It may all the same be found after a new start.
    pub fn append(&mut self, id: Uuid, made: Timestamp, payload: &[u8]) -> io::Result<Key> {
        let needed = HEAD + payload.len() as u64;
        if needed > MOST {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the report is larger than any report is",
            ));
        }
        let record = Record { id, made };
        match self.write(record, payload, needed) {
            Ok(key) => Ok(key),
            // A segment that failed is not trusted any more; another one may be at a place that works.
            Err(first) => self.write(record, payload, needed).map_err(|_| first),
        }
    }

    fn write(&mut self, record: Record, payload: &[u8], needed: u64) -> io::Result<Key> {
        self.ensure_room(needed)?;
        let Some(mut active) = self.active.take() else {
            return Err(io::Error::other("the spool has no segment"));
        };
        let key = Key { segment: active.number, offset: active.used };
        let bytes = record.encoded(key.segment, key.offset, payload);
        let written = self.disk.write_at(&mut active.file, key.offset, &bytes);
        if let Err(error) = written.and_then(|()| self.disk.sync(&mut active.file)) {
            // What the disk has of this segment is not known any more: nothing is appended to it again.
            self.retire(key.segment);
            return Err(error);
        }
        active.used = record::aligned(key.offset + bytes.len() as u64);
        self.active = Some(active);
        let waiting = Waiting { id: record.id, made: record.made, length: bytes.len() as u64 };
        self.waiting.insert(key, waiting);
        if let Some(segment) = self.segments.get_mut(&key.segment) {
            segment.waiting += 1;
        }
        Ok(key)
    }

    /// Sees to it that the next report can be written down, before the run that makes it begins.
    ///
    /// # Errors
    /// When there is no room, or the disk fails.
    pub fn reserve(&mut self) -> io::Result<()> {
        self.ensure_room(self.limits.reserve)
    }

    fn ensure_room(&mut self, needed: u64) -> io::Result<()> {
        if self.active.as_ref().is_some_and(|active| active.used.saturating_add(needed) <= active.room) {
            return Ok(());
        }
        let room = self.limits.segment.max(record::aligned(needed));
        while self.bytes().saturating_add(room) > self.limits.bytes && self.drop_oldest() {}
        let number = self.next;
        self.next = self.next.saturating_add(1);
        let file = match self.disk.create(&name_of(number), room) {
            Ok(file) => file,
            Err(error) => {
                // Half a segment is of no use, and takes room.
                let _ = self.disk.remove(&name_of(number));
                return Err(error);
            }
        };
        self.segments.insert(number, Segment { bytes: room, waiting: 0 });
        // Until its name is on the disk, what stands in it could vanish with it.
        if let Err(error) = self.disk.sync_folder() {
            self.retire(number);
            return Err(error);
        }
        // What is left of the one before is kept until then: it may do for a smaller report on a disk that is full.
        let before = self.active.replace(Active { number, file, used: 0, room });
        if let Some(before) = before {
            self.retire(before.number);
        }
        Ok(())
    }

    /// The report was acknowledged: it may go.
    pub fn sent(&mut self, key: Key) {
        if self.waiting.remove(&key).is_some() {
            self.count_down(key.segment);
        }
    }

    fn count_down(&mut self, number: u64) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.waiting = segment.waiting.saturating_sub(1);
        }
        self.retire(number);
    }

    /// Removes a segment in which nothing waits, unless it is appended to and has room to go on with.
    fn retire(&mut self, number: u64) {
        if self.segments.get(&number).is_none_or(|segment| segment.waiting > 0) {
            return;
        }
        let quarter = self.limits.segment / 4;
        if let Some(active) = self.active.as_ref().filter(|active| active.number == number) {
            if active.used < quarter {
                return;
            }
            self.active = None;
        }
        // One that cannot be removed now is found, and its reports are sent again, at the next start.
        match self.disk.remove(&name_of(number)) {
            Ok(()) => drop(self.segments.remove(&number)),
            Err(error) => tracing::warn!(%error, "cannot remove a segment of the spool"),
        }
    }

    /// Lets the oldest segment go that is not appended to; whether there was one.
    fn drop_oldest(&mut self) -> bool {
        let active = self.active.as_ref().map(|active| active.number);
        let Some(number) = self.segments.keys().copied().find(|number| Some(*number) != active) else {
            return false;
        };
        if self.disk.remove(&name_of(number)).is_err() {
            return false;
        }
        self.segments.remove(&number);
        let range = Key { segment: number, offset: 0 }..Key { segment: number.saturating_add(1), offset: 0 };
        let gone: Vec<Key> = self.waiting.range(range).map(|(key, _)| *key).collect();
        self.dropped += gone.len() as u64;
        for key in gone {
            self.waiting.remove(&key);
        }
        true
    }

    /// Lets go what is older than is kept. `now` must be a time that can be trusted, such as the server's.
    pub fn expire(&mut self, now: Timestamp) {
        let age = SignedDuration::try_from(self.limits.age).unwrap_or(SignedDuration::MAX);
        let Ok(oldest) = now.checked_sub(age) else { return };
        let old: Vec<Key> =
            self.waiting.iter().filter(|(_, waiting)| waiting.made < oldest).map(|(key, _)| *key).collect();
        self.dropped += old.len() as u64;
        old.into_iter().for_each(|key| self.sent(key));
    }

    /// Reads a report back. `None` when it is damaged: then it is counted, and gone.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub fn read(&mut self, key: Key) -> io::Result<Option<Vec<u8>>> {
        let Some(waiting) = self.waiting.get(&key).copied() else { return Ok(None) };
        let bytes = self.disk.read(&name_of(key.segment), key.offset, waiting.length)?;
        let payload = record::payload(key.segment, key.offset, &bytes).map(<[u8]>::to_vec);
        if payload.is_none() {
            self.damaged += 1;
            self.sent(key);
        }
        Ok(payload)
    }

    /// What waits, oldest first.
    pub fn waiting(&self) -> impl DoubleEndedIterator<Item = (Key, Waiting)> + '_ {
        self.waiting.iter().map(|(key, waiting)| (*key, *waiting))
    }

    /// How many reports wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// Reports let go since it was opened without having been sent: too old, too many, or damaged.
    pub fn lost(&self) -> u64 {
        self.dropped + self.damaged
    }

    /// Stretches of bytes that are no records, seen since it was opened.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }
}

fn name_of(number: u64) -> String {
    format!("{number:016x}.spool")
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".spool").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}
