//! A half sent piece by piece while the run goes on.

use super::half::{Starts, read_half, write_half};
use super::wire::{Reader, Writer};
use super::{DecodeError, MAX_RECORDS};
use crate::trace::Half;

/// First byte of every chunk: the version of the packing.
const CHUNK_VERSION: u8 = 1;

/// Packs a growing half as chunks, each with what was added since the one before.
///
/// The half only ever grows at the ends of its lists. Chunks travel in order over a reliable stream; they are not
/// compressed, so that the receiver's memory is bounded by the bytes it was sent.
#[derive(Debug, Clone, Default)]
pub struct ChunkEncoder {
    drops: usize,
    /// Per stream id: transmit and receive records already in chunks.
    streams: std::collections::BTreeMap<u16, (usize, usize)>,
}

impl ChunkEncoder {
    /// Starts before the first record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Packs `added`, which holds the records since the last call and the counts since the beginning: the log is emptied as
    /// it is sent.
    pub fn encode(&mut self, added: &Half) -> Vec<u8> {
        let mut starts = Starts { drops: self.drops, streams: Vec::with_capacity(added.streams.len()) };
        for stream in &added.streams {
            let done = self.streams.entry(stream.id.0).or_default();
            starts.streams.push(*done);
            *done = (done.0 + stream.tx.len(), done.1 + stream.rx.len());
        }
        self.drops += added.queue_drops.len();
        pack(added, &starts)
    }
}

fn pack(delta: &Half, starts: &Starts) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.byte(CHUNK_VERSION);
    write_half(&mut writer, delta, starts);
    writer.bytes
}

/// Puts a half together again from its chunks.
#[derive(Debug, Clone, Default)]
pub struct HalfAssembler {
    half: Half,
    records: usize,
}

impl HalfAssembler {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a chunk.
    ///
    /// # Errors
    /// When the chunk is damaged, does not follow what came before, contradicts it, or the half grows beyond
    /// [`MAX_RECORDS`]. What was assembled before stays as it was.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(chunk, MAX_RECORDS - self.records);
        match reader.byte()? {
            CHUNK_VERSION => {}
            value => return Err(DecodeError::Unknown { what: "chunk version", value }),
        }
        let (delta, starts) = read_half(&mut reader)?;
        reader.finish()?;
        self.check(&delta, &starts)?;
        self.append(delta);
        Ok(())
    }

    /// The half as far as it came.
    pub fn half(&self) -> &Half {
        &self.half
    }

    /// Hands out the half as far as it came.
    pub fn into_half(self) -> Half {
        self.half
    }

    fn check(&self, delta: &Half, starts: &Starts) -> Result<(), DecodeError> {
        follows(self.half.queue_drops.len(), starts.drops)?;
        for (stream, start) in delta.streams.iter().zip(&starts.streams) {
            let known = self.half.streams.binary_search_by_key(&stream.id, |log| log.id);
            let log = known.ok().and_then(|index| self.half.streams.get(index));
            if log.is_some_and(|log| log.spec != stream.spec) {
                return Err(DecodeError::OutOfRange("a stream's description, which changed"));
            }
            follows(log.map_or(0, |log| log.tx.len()), start.0)?;
            follows(log.map_or(0, |log| log.rx.len()), start.1)?;
        }
        Ok(())
    }

    fn append(&mut self, delta: Half) {
        self.half.append(delta);
        let records = self.half.streams.iter().map(|log| 1 + log.tx.len() + log.rx.len());
        self.records = self.half.queue_drops.len() + records.sum::<usize>();
    }
}

fn follows(have: usize, start: usize) -> Result<(), DecodeError> {
    if have == start { Ok(()) } else { Err(DecodeError::Gap { expected: have, found: start }) }
}
