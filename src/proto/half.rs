//! Puts the endpoint's half of a trace together from the chunks that it sends.

use greenroom_reports::trace::{Half, StreamLog};

/// Adds a chunk to what came before it.
///
/// A chunk carries the records since the chunk before, and the counts (`planned`, `corrupt`) since the beginning.
pub fn append_chunk(half: &mut Half, chunk: Half) {
    for log in chunk.streams {
        match half.streams.binary_search_by_key(&log.id, |it| it.id) {
            Ok(at) => append_log(&mut half.streams[at], log),
            Err(at) => half.streams.insert(at, log),
        }
    }
    half.clock = chunk.clock;
    half.queue_drops.extend(chunk.queue_drops);
    half.covered_until = chunk.covered_until;
    half.complete = chunk.complete;
    half.host_load = chunk.host_load.or(half.host_load);
}

fn append_log(log: &mut StreamLog, chunk: StreamLog) {
    log.spec = chunk.spec;
    log.planned = chunk.planned;
    log.corrupt = chunk.corrupt;
    log.tx.extend(chunk.tx);
    log.rx.extend(chunk.rx);
}
