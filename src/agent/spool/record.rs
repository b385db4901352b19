//! A record: `GRSP`, length and CRC-32 of what follows (little-endian), the report's id, when it was made, and its packed JSON. Records
//! begin at multiples of eight. The checksum is also over the place, so that bytes which a disk brings to another place are no record.

use crc32fast::Hasher;
use jiff::Timestamp;
use uuid::Uuid;

/// How a record begins. Room that was not written yet is zero.
const MAGIC: [u8; 4] = *b"GRSP";

/// Octets before the payload.
pub(super) const HEAD: u64 = 36;

/// Most octets of a record.
pub(super) const MOST: u64 = 4 << 20;

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: Uuid,
    pub(super) made: Timestamp,
}

impl Record {
    pub(super) fn encoded(&self, segment: u64, offset: u64, payload: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(24 + payload.len());
        body.extend_from_slice(self.id.as_bytes());
        body.extend_from_slice(&self.made.as_millisecond().to_le_bytes());
        body.extend_from_slice(payload);
        // Longer ones were refused before.
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        let checksum = checksum(segment, offset, &body).to_le_bytes();
        [MAGIC.as_slice(), &length, &checksum, &body].concat()
    }
}

/// What a segment holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Offset and length of each record.
    pub(super) records: Vec<(u64, u64, Record)>,
    /// Stretches that are no record and not empty.
    pub(super) damaged: u64,
}

/// Finds the records of a segment, also behind damage.
pub(super) fn scan(segment: u64, content: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let (mut at, mut in_damage) = (0_usize, false);
    while let Some(rest) = content.get(at..).filter(|rest| !rest.is_empty()) {
        let Some((record, payload)) = parse(segment, at as u64, rest) else {
            let word = rest.get(..8).unwrap_or(rest);
            let empty = word.iter().all(|byte| *byte == 0);
            if !empty && !in_damage {
                scan.damaged += 1;
            }
            in_damage = !empty || in_damage;
            at += 8;
            continue;
        };
        in_damage = false;
        let length = HEAD + payload.len() as u64;
        scan.records.push((at as u64, length, record));
        at = usize::try_from(aligned(at as u64 + length)).unwrap_or(usize::MAX);
    }
    scan
}

/// The payload of the record that these bytes are.
pub(super) fn payload(segment: u64, offset: u64, bytes: &[u8]) -> Option<&[u8]> {
    parse(segment, offset, bytes).map(|(_, payload)| payload)
}

fn parse(segment: u64, offset: u64, bytes: &[u8]) -> Option<(Record, &[u8])> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (expected, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let body = rest.get(..length)?;
    let (id, after) = body.split_first_chunk::<16>()?;
    let (made, payload) = after.split_first_chunk::<8>()?;
    if u32::from_le_bytes(*expected) != checksum(segment, offset, body) {
        return None;
    }
    let made = Timestamp::from_millisecond(i64::from_le_bytes(*made)).ok()?;
    Some((Record { id: Uuid::from_bytes(*id), made }, payload))
}

fn checksum(segment: u64, offset: u64, body: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// The next multiple of eight.
pub(super) const fn aligned(at: u64) -> u64 {
    at.next_multiple_of(8)
}
