//! Traces as compact bytes: columns of differences, variable-length integers, gzip, base64.
//!
//! Two forms share one layout. A finished trace goes into a report as [`EncodedTrace`]. A half that is still growing
//! travels in chunks ([`ChunkEncoder`], [`HalfAssembler`]). Both are exact: what comes out equals what went in.
//!
//! # Layout
//!
//! Integers are LEB128, signed ones zigzag coded before. A column holds one field of all records: each value less its
//! prediction (zero, the value before, or the line through the two before; `half.rs` says which), all sums modulo 2^64. One
//! byte of flags per record says which of its optional fields are present. `here` is the half, the phases, the capacity
//! stages and how the searches ended; `there` is the half alone. Each is compressed with gzip, which browsers read and write by themselves.

mod chunk;
mod half;
#[cfg(test)]
mod tests;
mod wire;

use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

pub use chunk::{ChunkEncoder, HalfAssembler};

use self::half::{Starts, direction_code, direction_from, read_half, write_half};
use self::wire::{Order, Reader, Writer};
use super::{CapacityInterval, CapacitySearch, Half, Phase, PhaseKind, SearchEnd, Trace};
use crate::schema::EncodedTrace;
use crate::units::{Bitrate, Micros};

/// Name and version of the packing, as it stands in a report.
pub const ENCODING: &str = "columns-gzip/1";

/// Records (packets sent, packets received, drop readings, streams, phases, intervals) that one half may hold. A deep run
/// has about a hundred thousand.
pub const MAX_RECORDS: usize = 1 << 18;

/// Bytes that one half may have once unpacked.
pub const MAX_UNPACKED: usize = 8 << 20;

/// Why a trace cannot be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Nobody could unpack it again.
    #[error(
        "the trace is too large to be kept ({records} records, {bytes} bytes unpacked); keep its sketches instead"
    )]
    TooLarge {
        /// Records in the half.
        records: usize,
        /// Its bytes before compression.
        bytes: usize,
    },
}

/// Why packed bytes are not a trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A packing that this version does not know.
    #[error("the trace is packed as {0:?}, which this version does not know; use a newer greenroom")]
    Encoding(String),
    /// The text is not base64.
    #[error("the trace is damaged: not base64 ({0})")]
    Base64(String),
    /// The bytes are not gzip.
    #[error("the trace is damaged: not gzip ({0})")]
    Gzip(String),
    /// It would unpack to more than [`MAX_UNPACKED`].
    #[error("the trace is refused: more than {MAX_UNPACKED} bytes unpacked")]
    TooLarge,
    /// It claims more than [`MAX_RECORDS`].
    #[error("the trace is refused: more than {MAX_RECORDS} records")]
    TooManyRecords,
    /// It ends too early.
    #[error("the trace is damaged: it ends too early")]
    Truncated,
    /// Bytes are left over.
    #[error("the trace is damaged: {0} bytes are left over")]
    Trailing(usize),
    /// A code that has no meaning.
    #[error("the trace is damaged: unknown {what} {value}")]
    Unknown {
        /// What the code stands for.
        what: &'static str,
        /// The code.
        value: u8,
    },
    /// A value that its field cannot hold.
    #[error("the trace is damaged: {0} is out of range")]
    OutOfRange(&'static str),
    /// A chunk does not follow the one before.
    #[error(
        "a piece of the trace is missing: expected the one from record {expected}, found the one from {found}"
    )]
    Gap {
        /// Records already there.
        expected: usize,
        /// Where the chunk starts.
        found: usize,
    },
}

/// Packs a trace for a report.
///
/// # Errors
/// When a half is larger than [`decode`] would accept.
pub fn encode(trace: &Trace) -> Result<EncodedTrace, EncodeError> {
    let mut here = Writer::default();
    write_half(&mut here, &trace.here, &Starts::default());
    write_phases(&mut here, &trace.phases);
    write_capacity(&mut here, &trace.capacity);
    write_searches(&mut here, &trace.searches);
    let records =
        record_count(&trace.here) + trace.phases.len() + trace.capacity.len() + trace.searches.len();
    let here = pack(&here.bytes, records)?;
    let there = trace.there.as_ref().map(|half| {
        let mut there = Writer::default();
        write_half(&mut there, half, &Starts::default());
        pack(&there.bytes, record_count(half))
    });
    Ok(EncodedTrace { encoding: ENCODING.to_owned(), here, there: there.transpose()? })
}

/// Unpacks a trace from a report that anybody may have written.
///
/// # Errors
/// When it is damaged, unknown or larger than the limits; memory stays bounded by them.
pub fn decode(encoded: &EncodedTrace) -> Result<Trace, DecodeError> {
    if encoded.encoding != ENCODING {
        return Err(DecodeError::Encoding(encoded.encoding.chars().take(64).collect()));
    }
    let bytes = unpack(&encoded.here)?;
    let mut reader = Reader::new(&bytes, MAX_RECORDS);
    let here = read_whole_half(&mut reader)?;
    let phases = read_phases(&mut reader)?;
    let capacity = read_capacity(&mut reader)?;
    // A trace of an agent that knows of no searches ends here.
    let searches = if reader.is_at_end() { Vec::new() } else { read_searches(&mut reader)? };
    reader.finish()?;
    let there = encoded.there.as_deref().map(|text| {
        let bytes = unpack(text)?;
        let mut reader = Reader::new(&bytes, MAX_RECORDS);
        let half = read_whole_half(&mut reader)?;
        reader.finish().map(|()| half)
    });
    Ok(Trace { here, there: there.transpose()?, phases, capacity, searches })
}

fn record_count(half: &Half) -> usize {
    let streams = half.streams.iter().map(|log| 1 + log.tx.len() + log.rx.len());
    half.clock.steps.len() + half.queue_drops.len() + streams.sum::<usize>()
}

fn pack(bytes: &[u8], records: usize) -> Result<String, EncodeError> {
    if bytes.len() > MAX_UNPACKED || records > MAX_RECORDS {
        return Err(EncodeError::TooLarge { records, bytes: bytes.len() });
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).expect("writing to a Vec cannot fail");
    Ok(STANDARD.encode(gzip.finish().expect("writing to a Vec cannot fail")))
}

fn unpack(text: &str) -> Result<Vec<u8>, DecodeError> {
    // Gzip never grows data by more than a few bytes per block, so a longer text cannot be an honest one.
    if text.len() > 2 * MAX_UNPACKED {
        return Err(DecodeError::TooLarge);
    }
    let packed = STANDARD.decode(text).map_err(|error| DecodeError::Base64(error.to_string()))?;
    let limit = u64::try_from(MAX_UNPACKED).expect("a usize has at most 64 bits");
    let mut bytes = Vec::new();
    let read = GzDecoder::new(packed.as_slice()).take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| DecodeError::Gzip(error.to_string()))?;
    if bytes.len() > MAX_UNPACKED { Err(DecodeError::TooLarge) } else { Ok(bytes) }
}

fn read_whole_half(reader: &mut Reader<'_>) -> Result<Half, DecodeError> {
    let (half, starts) = read_half(reader)?;
    let from_the_start = starts.drops == 0 && starts.streams.iter().all(|start| *start == (0, 0));
    if from_the_start { Ok(half) } else { Err(DecodeError::Gap { expected: 0, found: starts.drops.max(1) }) }
}

fn write_phases(w: &mut Writer, phases: &[Phase]) {
    w.count(phases.len());
    for phase in phases {
        w.byte(match phase.kind {
            PhaseKind::Idle => 0,
            PhaseKind::Media => 1,
            PhaseKind::Capacity => 2,
            PhaseKind::Settle => 3,
        });
        w.signed(phase.from.get());
        w.signed(phase.to.get());
        w.varint(phase.offered_up.bps());
        w.varint(phase.offered_down.bps());
    }
}

fn read_phases(r: &mut Reader<'_>) -> Result<Vec<Phase>, DecodeError> {
    let count = r.count()?;
    (0..count)
        .map(|_| {
            let kind = match r.byte()? {
                0 => PhaseKind::Idle,
                1 => PhaseKind::Media,
                2 => PhaseKind::Capacity,
                3 => PhaseKind::Settle,
                value => return Err(DecodeError::Unknown { what: "phase", value }),
            };
            Ok(Phase {
                kind,
                from: Micros::new(r.signed()?),
                to: Micros::new(r.signed()?),
                offered_up: Bitrate::from_bps(r.varint()?),
                offered_down: Bitrate::from_bps(r.varint()?),
            })
        })
        .collect()
}

fn write_capacity(w: &mut Writer, intervals: &[CapacityInterval]) {
    w.count(intervals.len());
    for interval in intervals {
        w.byte(direction_code(Some(interval.direction)) | u8::from(interval.delay_range.is_some()) << 7);
    }
    w.column(Order::Line, intervals.iter().map(|i| i.at.get()));
    w.column(Order::Delta, intervals.iter().map(|i| i.lasted.get()));
    w.column(Order::Delta, intervals.iter().map(|i| i.offered.bps().cast_signed()));
    w.column(Order::Delta, intervals.iter().map(|i| i.received_bytes.cast_signed()));
    w.column(Order::Delta, intervals.iter().map(|i| i.received_packets.into()));
    w.column(Order::Plain, intervals.iter().map(|i| i.lost_packets.into()));
    w.column(Order::Plain, intervals.iter().map(|i| i.disordered_packets.into()));
    w.column(Order::Delta, intervals.iter().filter_map(|i| Some(i.delay_range?.0.get())));
    w.column(Order::Delta, intervals.iter().filter_map(|i| Some(i.delay_range?.1.get())));
}

fn read_capacity(r: &mut Reader<'_>) -> Result<Vec<CapacityInterval>, DecodeError> {
    const PACKETS: &str = "a number of packets";
    let count = r.count()?;
    let flags = r.take(count)?;
    let at = r.column(Order::Line, count)?;
    let lasted = r.column(Order::Delta, count)?;
    let offered = r.column(Order::Delta, count)?;
    let received_bytes = r.column(Order::Delta, count)?;
    let received_packets = r.column_of(Order::Delta, count, PACKETS)?;
    let lost_packets = r.column_of(Order::Plain, count, PACKETS)?;
    let disordered_packets = r.column_of(Order::Plain, count, PACKETS)?;
    let ranges = flags.iter().filter(|f| **f & 0x80 != 0).count();
    let mut least = r.column(Order::Delta, ranges)?.into_iter().map(Micros::new);
    let mut greatest = r.column(Order::Delta, ranges)?.into_iter().map(Micros::new);
    flags
        .iter()
        .enumerate()
        .map(|(index, flags)| {
            let direction = direction_from(flags & 0x7f)?;
            let delay_range = if flags & 0x80 == 0 { None } else { least.next().zip(greatest.next()) };
            Ok(CapacityInterval {
                direction: direction.ok_or(DecodeError::Unknown { what: "direction", value: *flags })?,
                at: Micros::new(at[index]),
                lasted: Micros::new(lasted[index]),
                offered: Bitrate::from_bps(offered[index].cast_unsigned()),
                received_bytes: received_bytes[index].cast_unsigned(),
                received_packets: received_packets[index],
                lost_packets: lost_packets[index],
                disordered_packets: disordered_packets[index],
                delay_range,
            })
        })
        .collect()
}

fn write_searches(w: &mut Writer, searches: &[CapacitySearch]) {
    w.count(searches.len());
    for search in searches {
        w.byte(direction_code(Some(search.direction)));
        w.byte(match search.end {
            SearchEnd::Converged => 0,
            SearchEnd::Ceiling => 1,
            SearchEnd::Budget => 2,
            SearchEnd::Deadline => 3,
            SearchEnd::Silent => 4,
        });
    }
}

fn read_searches(r: &mut Reader<'_>) -> Result<Vec<CapacitySearch>, DecodeError> {
    let count = r.count()?;
    (0..count)
        .map(|_| {
            let code = r.byte()?;
            let direction = direction_from(code)?;
            let end = match r.byte()? {
                0 => SearchEnd::Converged,
                1 => SearchEnd::Ceiling,
                2 => SearchEnd::Budget,
                3 => SearchEnd::Deadline,
                4 => SearchEnd::Silent,
                value => return Err(DecodeError::Unknown { what: "end of a search", value }),
            };
            let unknown = DecodeError::Unknown { what: "direction", value: code };
            Ok(CapacitySearch { direction: direction.ok_or(unknown)?, end })
        })
        .collect()
}
