//! A half, or what was added to it, as columns.

use super::DecodeError;
use super::wire::{Order, Reader, Writer};
use crate::trace::{
    ClockInfo, ClockStep, Direction, Half, HostLoad, Media, QueueDrops, ReplyStamps, RxRecord, StampSource,
    StreamId, StreamLog, StreamSpec, TxOutcome, TxRecord,
};
use crate::units::{Bitrate, Micros};

/// How much of a half was written before: what follows is only what came after. All zero for a whole half.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Starts {
    pub(super) drops: usize,
    /// Per stream, in the order of the half's streams: transmit and receive records.
    pub(super) streams: Vec<(usize, usize)>,
}

pub(super) fn write_half(w: &mut Writer, half: &Half, starts: &Starts) {
    write_clock(w, &half.clock);
    w.signed(half.covered_until.get());
    w.byte(u8::from(half.complete) | u8::from(half.host_load.is_some()) << 1);
    if let Some(load) = &half.host_load {
        w.float(load.busy_ratio);
        w.float(load.steal_ratio);
        w.varint(load.cores.into());
    }
    w.count(starts.drops);
    write_drops(w, &half.queue_drops);
    w.count(half.streams.len());
    for (index, stream) in half.streams.iter().enumerate() {
        let (tx_start, rx_start) = starts.streams.get(index).copied().unwrap_or_default();
        write_stream_head(w, stream);
        w.count(tx_start);
        write_tx(w, &stream.tx);
        w.count(rx_start);
        write_rx(w, &stream.rx);
    }
}

pub(super) fn read_half(r: &mut Reader<'_>) -> Result<(Half, Starts), DecodeError> {
    let clock = read_clock(r)?;
    let covered_until = Micros::new(r.signed()?);
    let flags = r.byte()?;
    if flags & !0b11 != 0 {
        return Err(DecodeError::Unknown { what: "half flags", value: flags });
    }
    let host_load = (flags & 2 != 0).then(|| read_host_load(r)).transpose()?;
    let mut starts = Starts { drops: r.fit("a start")?, streams: Vec::new() };
    let queue_drops = read_drops(r)?;
    let count = r.count()?;
    let mut streams: Vec<StreamLog> = Vec::new();
    for _ in 0..count {
        let mut stream = read_stream_head(r)?;
        if streams.last().is_some_and(|last| last.id >= stream.id) {
            return Err(DecodeError::OutOfRange("the order of streams"));
        }
        let tx_start = r.fit("a start")?;
        stream.tx = read_tx(r)?;
        let rx_start = r.fit("a start")?;
        stream.rx = read_rx(r)?;
        starts.streams.push((tx_start, rx_start));
        streams.push(stream);
    }
    let complete = flags & 1 != 0;
    Ok((Half { clock, streams, queue_drops, covered_until, complete, host_load }, starts))
}

fn write_clock(w: &mut Writer, clock: &ClockInfo) {
    w.byte(source_code(clock.tx));
    w.byte(source_code(clock.rx));
    w.count(clock.steps.len());
    w.column(Order::Delta, clock.steps.iter().map(|step| step.at.get()));
    w.column(Order::Plain, clock.steps.iter().map(|step| step.by.get()));
}

fn read_clock(r: &mut Reader<'_>) -> Result<ClockInfo, DecodeError> {
    let tx = source_from(r.byte()?)?;
    let rx = source_from(r.byte()?)?;
    let count = r.count()?;
    let at = r.column(Order::Delta, count)?;
    let by = r.column(Order::Plain, count)?;
    let steps = at
        .into_iter()
        .zip(by)
        .map(|(at, by)| ClockStep { at: Micros::new(at), by: Micros::new(by) })
        .collect();
    Ok(ClockInfo { tx, rx, steps })
}

fn source_code(source: StampSource) -> u8 {
    match source {
        StampSource::Unknown => 0,
        StampSource::User => 1,
        StampSource::Kernel => 2,
        StampSource::Hardware => 3,
    }
}

fn source_from(code: u8) -> Result<StampSource, DecodeError> {
    match code {
        0 => Ok(StampSource::Unknown),
        1 => Ok(StampSource::User),
        2 => Ok(StampSource::Kernel),
        3 => Ok(StampSource::Hardware),
        value => Err(DecodeError::Unknown { what: "stamp source", value }),
    }
}

fn read_host_load(r: &mut Reader<'_>) -> Result<HostLoad, DecodeError> {
    let load =
        HostLoad { busy_ratio: r.float()?, steal_ratio: r.float()?, cores: r.fit("a number of cores")? };
    let share = 0.0..=1.0;
    if share.contains(&load.busy_ratio) && share.contains(&load.steal_ratio) {
        Ok(load)
    } else {
        Err(DecodeError::OutOfRange("a share of load"))
    }
}

fn write_drops(w: &mut Writer, drops: &[QueueDrops]) {
    w.count(drops.len());
    for drop in drops {
        w.byte(u8::from(drop.shared));
    }
    w.column(Order::Delta, drops.iter().map(|drop| drop.at.get()));
    w.column(Order::Delta, drops.iter().map(|drop| drop.total.cast_signed()));
}

fn read_drops(r: &mut Reader<'_>) -> Result<Vec<QueueDrops>, DecodeError> {
    let count = r.count()?;
    let flags = r.take(count)?;
    let at = r.column(Order::Delta, count)?;
    let total = r.column(Order::Delta, count)?;
    let rows = flags.iter().zip(at).zip(total);
    rows.map(|((flags, at), total)| match flags {
        0 | 1 => Ok(QueueDrops { at: Micros::new(at), total: total.cast_unsigned(), shared: *flags == 1 }),
        value => Err(DecodeError::Unknown { what: "drop flags", value: *value }),
    })
    .collect()
}

fn write_stream_head(w: &mut Writer, stream: &StreamLog) {
    w.varint(stream.id.0.into());
    w.byte(match stream.spec.media {
        Media::Audio => 0,
        Media::Video => 1,
        Media::Screen => 2,
    });
    w.byte(direction_code(stream.spec.direction));
    w.varint(stream.spec.rate.bps());
    w.varint(stream.planned.into());
    w.varint(stream.corrupt.into());
}

fn read_stream_head(r: &mut Reader<'_>) -> Result<StreamLog, DecodeError> {
    let id = StreamId(r.fit("a stream id")?);
    let media = match r.byte()? {
        0 => Media::Audio,
        1 => Media::Video,
        2 => Media::Screen,
        value => return Err(DecodeError::Unknown { what: "media", value }),
    };
    let direction = direction_from(r.byte()?)?;
    let rate = Bitrate::from_bps(r.varint()?);
    let planned = r.fit("a number of packets")?;
    let corrupt = r.fit("a number of packets")?;
    Ok(StreamLog {
        id,
        spec: StreamSpec { media, direction, rate },
        planned,
        tx: Vec::new(),
        rx: Vec::new(),
        corrupt,
    })
}

pub(super) fn direction_code(direction: Option<Direction>) -> u8 {
    match direction {
        None => 0,
        Some(Direction::Up) => 1,
        Some(Direction::Down) => 2,
    }
}

pub(super) fn direction_from(code: u8) -> Result<Option<Direction>, DecodeError> {
    match code {
        0 => Ok(None),
        1 => Ok(Some(Direction::Up)),
        2 => Ok(Some(Direction::Down)),
        value => Err(DecodeError::Unknown { what: "direction", value }),
    }
}

const TX_USER: u8 = 1;
const TX_SCHED: u8 = 1 << 1;
const TX_KERNEL: u8 = 1 << 2;
const TX_REPLY: u8 = 1 << 3;
const TX_FAILED: u8 = 1 << 4;
const TX_DROPPED: u8 = 2 << 4;
const TX_NOT_SENT: u8 = 3 << 4;
const TX_OUTCOME: u8 = 3 << 4;
const TX_ERRNO: u8 = 1 << 6;

/// Writes transmit records as columns: flags; number; intended; then, for those that have them, handed over less
/// intended, queued less handed over, departed less queued (each less the last one known); size; number answered; error.
fn write_tx(w: &mut Writer, records: &[TxRecord]) {
    w.count(records.len());
    for record in records {
        w.byte(tx_flags(record));
    }
    w.column(Order::Line, records.iter().map(|t| t.seq.into()));
    w.column(Order::Line, records.iter().map(|t| t.intended.get()));
    let user = records.iter().filter_map(|t| Some(less(t.user?, t.intended)));
    w.column(Order::Plain, user);
    let sched = records.iter().filter_map(|t| Some(less(t.sched?, t.user.unwrap_or(t.intended))));
    w.column(Order::Plain, sched);
    let kernel =
        records.iter().filter_map(|t| Some(less(t.kernel?, t.sched.or(t.user).unwrap_or(t.intended))));
    w.column(Order::Plain, kernel);
    w.column(Order::Delta, records.iter().map(|t| t.bytes.into()));
    w.column(Order::Line, records.iter().filter_map(|t| t.reply_to.map(i64::from)));
    let errno = records.iter().filter_map(|t| match t.outcome {
        TxOutcome::Failed(errno) => errno.map(i64::from),
        TxOutcome::Sent | TxOutcome::DroppedLocally | TxOutcome::NotSent => None,
    });
    w.column(Order::Plain, errno);
}

fn tx_flags(record: &TxRecord) -> u8 {
    let present = [
        (TX_USER, record.user.is_some()),
        (TX_SCHED, record.sched.is_some()),
        (TX_KERNEL, record.kernel.is_some()),
        (TX_REPLY, record.reply_to.is_some()),
        (TX_ERRNO, matches!(record.outcome, TxOutcome::Failed(Some(_)))),
    ];
    let outcome = match record.outcome {
        TxOutcome::Sent => 0,
        TxOutcome::Failed(_) => TX_FAILED,
        TxOutcome::DroppedLocally => TX_DROPPED,
        TxOutcome::NotSent => TX_NOT_SENT,
    };
    outcome | bits(&present)
}

fn read_tx(r: &mut Reader<'_>) -> Result<Vec<TxRecord>, DecodeError> {
    let count = r.count()?;
    let flags = r.take(count)?;
    let bad = |f: &&u8| **f & 0x80 != 0 || (**f & TX_ERRNO != 0 && **f & TX_OUTCOME != TX_FAILED);
    if let Some(value) = flags.iter().find(bad) {
        return Err(DecodeError::Unknown { what: "transmit flags", value: *value });
    }
    let seq: Vec<u32> = r.column_of(Order::Line, count, "a packet number")?;
    let intended = r.column(Order::Line, count)?;
    let mut user = r.column(Order::Plain, having(flags, TX_USER))?.into_iter();
    let mut sched = r.column(Order::Plain, having(flags, TX_SCHED))?.into_iter();
    let mut kernel = r.column(Order::Plain, having(flags, TX_KERNEL))?.into_iter();
    let bytes: Vec<u16> = r.column_of(Order::Delta, count, "a packet size")?;
    let mut reply_to = r.column_of(Order::Line, having(flags, TX_REPLY), "a packet number")?.into_iter();
    let mut errno = r.column_of(Order::Plain, having(flags, TX_ERRNO), "an error number")?.into_iter();
    let mut records = Vec::with_capacity(count);
    for (index, flags) in flags.iter().enumerate() {
        let intended = Micros::new(intended[index]);
        let user = next(&mut user, *flags, TX_USER).map(|d| more(intended, d));
        let sched = next(&mut sched, *flags, TX_SCHED).map(|d| more(user.unwrap_or(intended), d));
        let kernel =
            next(&mut kernel, *flags, TX_KERNEL).map(|d| more(sched.or(user).unwrap_or(intended), d));
        let outcome = match flags & TX_OUTCOME {
            TX_FAILED => TxOutcome::Failed(next(&mut errno, *flags, TX_ERRNO)),
            TX_DROPPED => TxOutcome::DroppedLocally,
            TX_NOT_SENT => TxOutcome::NotSent,
            _ => TxOutcome::Sent,
        };
        let reply_to = next(&mut reply_to, *flags, TX_REPLY);
        records.push(TxRecord {
            seq: seq[index],
            intended,
            user,
            sched,
            kernel,
            bytes: bytes[index],
            reply_to,
            outcome,
        });
    }
    Ok(records)
}

const RX_USER: u8 = 1;
const RX_TOS: u8 = 1 << 1;
const RX_TTL: u8 = 1 << 2;
const RX_REPLY: u8 = 1 << 3;
const RX_FOLLOW_UP: u8 = 1 << 4;
const RX_REPLY_TTL: u8 = 1 << 5;
const RX_REPLY_TOS: u8 = 1 << 6;
const RX_REPLY_PARTS: u8 = RX_FOLLOW_UP | RX_REPLY_TTL | RX_REPLY_TOS;

/// Writes receive records as columns: flags; number; arrival; then, for those that have them, taken by the program less
/// arrival; size; TOS; TTL; and of replies the number answered less the own number, T2 less arrival, T3 less T2, the
/// follow-up's number less the own number, the follow-up's departure less T3 of the reply before, TTL, TOS.
fn write_rx(w: &mut Writer, records: &[RxRecord]) {
    w.count(records.len());
    for record in records {
        w.byte(rx_flags(record));
    }
    w.column(Order::Line, records.iter().map(|x| x.seq.into()));
    w.column(Order::Line, records.iter().map(|x| x.at.get()));
    w.column(Order::Plain, records.iter().filter_map(|x| Some(less(x.user?, x.at))));
    w.column(Order::Delta, records.iter().map(|x| x.bytes.into()));
    w.column(Order::Delta, records.iter().filter_map(|x| x.tos.map(i64::from)));
    w.column(Order::Delta, records.iter().filter_map(|x| x.ttl.map(i64::from)));
    let replies = || records.iter().filter_map(|x| Some((x, x.reply?)));
    w.column(Order::Delta, replies().map(|(x, reply)| i64::from(reply.of) - i64::from(x.seq)));
    w.column(Order::Delta, replies().map(|(x, reply)| less(reply.received, x.at)));
    w.column(Order::Plain, replies().map(|(_, reply)| less(reply.sent, reply.received)));
    let numbers = replies().filter_map(|(x, reply)| Some(i64::from(reply.follow_up?.0) - i64::from(x.seq)));
    w.column(Order::Delta, numbers);
    let mut before = Micros::ZERO;
    let departures = replies().filter_map(|(_, reply)| {
        let base = std::mem::replace(&mut before, reply.sent);
        Some(less(reply.follow_up?.1, base))
    });
    w.column(Order::Plain, departures.collect::<Vec<_>>());
    w.column(Order::Delta, replies().filter_map(|(_, reply)| reply.ttl.map(i64::from)));
    w.column(Order::Delta, replies().filter_map(|(_, reply)| reply.tos.map(i64::from)));
}

fn rx_flags(record: &RxRecord) -> u8 {
    let reply = record.reply.as_ref();
    bits(&[
        (RX_USER, record.user.is_some()),
        (RX_TOS, record.tos.is_some()),
        (RX_TTL, record.ttl.is_some()),
        (RX_REPLY, reply.is_some()),
        (RX_FOLLOW_UP, reply.is_some_and(|reply| reply.follow_up.is_some())),
        (RX_REPLY_TTL, reply.is_some_and(|reply| reply.ttl.is_some())),
        (RX_REPLY_TOS, reply.is_some_and(|reply| reply.tos.is_some())),
    ])
}

fn read_rx(r: &mut Reader<'_>) -> Result<Vec<RxRecord>, DecodeError> {
    let count = r.count()?;
    let flags = r.take(count)?;
    let bad = |f: &&u8| **f & 0x80 != 0 || (**f & RX_REPLY == 0 && **f & RX_REPLY_PARTS != 0);
    if let Some(value) = flags.iter().find(bad) {
        return Err(DecodeError::Unknown { what: "receive flags", value: *value });
    }
    let seq: Vec<u32> = r.column_of(Order::Line, count, "a packet number")?;
    let at = r.column(Order::Line, count)?;
    let mut user = r.column(Order::Plain, having(flags, RX_USER))?.into_iter();
    let bytes: Vec<u16> = r.column_of(Order::Delta, count, "a packet size")?;
    let mut tos = r.column_of(Order::Delta, having(flags, RX_TOS), "a TOS octet")?.into_iter();
    let mut ttl = r.column_of(Order::Delta, having(flags, RX_TTL), "a TTL")?.into_iter();
    let mut replies = ReplyColumns::read(r, flags)?;
    let mut records = Vec::with_capacity(count);
    for (index, flags) in flags.iter().enumerate() {
        let at = Micros::new(at[index]);
        records.push(RxRecord {
            seq: seq[index],
            at,
            user: next(&mut user, *flags, RX_USER).map(|d| more(at, d)),
            bytes: bytes[index],
            tos: next(&mut tos, *flags, RX_TOS),
            ttl: next(&mut ttl, *flags, RX_TTL),
            reply: (flags & RX_REPLY != 0).then(|| replies.next(*flags, seq[index], at)).transpose()?,
        });
    }
    Ok(records)
}

/// The columns of replies, taken one reply at a time.
struct ReplyColumns {
    of: std::vec::IntoIter<i64>,
    received: std::vec::IntoIter<i64>,
    sent: std::vec::IntoIter<i64>,
    follow_up_of: std::vec::IntoIter<i64>,
    follow_up_at: std::vec::IntoIter<i64>,
    ttl: std::vec::IntoIter<u8>,
    tos: std::vec::IntoIter<u8>,
    sent_before: Micros,
}

impl ReplyColumns {
    fn read(r: &mut Reader<'_>, flags: &[u8]) -> Result<Self, DecodeError> {
        let (replies, follow_ups) = (having(flags, RX_REPLY), having(flags, RX_FOLLOW_UP));
        Ok(Self {
            of: r.column(Order::Delta, replies)?.into_iter(),
            received: r.column(Order::Delta, replies)?.into_iter(),
            sent: r.column(Order::Plain, replies)?.into_iter(),
            follow_up_of: r.column(Order::Delta, follow_ups)?.into_iter(),
            follow_up_at: r.column(Order::Plain, follow_ups)?.into_iter(),
            ttl: r.column_of(Order::Delta, having(flags, RX_REPLY_TTL), "a TTL")?.into_iter(),
            tos: r.column_of(Order::Delta, having(flags, RX_REPLY_TOS), "a TOS octet")?.into_iter(),
            sent_before: Micros::ZERO,
        })
    }

    fn next(&mut self, flags: u8, seq: u32, at: Micros) -> Result<ReplyStamps, DecodeError> {
        let number = |off: i64| {
            let number = i64::from(seq).checked_add(off).and_then(|n| u32::try_from(n).ok());
            number.ok_or(DecodeError::OutOfRange("a packet number"))
        };
        let of = number(self.of.next().ok_or(DecodeError::Truncated)?)?;
        let received = more(at, self.received.next().ok_or(DecodeError::Truncated)?);
        let sent = more(received, self.sent.next().ok_or(DecodeError::Truncated)?);
        let before = std::mem::replace(&mut self.sent_before, sent);
        let follow_up_of = next(&mut self.follow_up_of, flags, RX_FOLLOW_UP).map(number).transpose()?;
        let follow_up_at = next(&mut self.follow_up_at, flags, RX_FOLLOW_UP).map(|d| more(before, d));
        Ok(ReplyStamps {
            of,
            received,
            sent,
            follow_up: follow_up_of.zip(follow_up_at),
            ttl: next(&mut self.ttl, flags, RX_REPLY_TTL),
            tos: next(&mut self.tos, flags, RX_REPLY_TOS),
        })
    }
}

fn bits(present: &[(u8, bool)]) -> u8 {
    present.iter().filter(|(_, is)| *is).fold(0, |all, (bit, _)| all | bit)
}

fn having(flags: &[u8], bit: u8) -> usize {
    flags.iter().filter(|f| **f & bit != 0).count()
}

fn next<T>(column: &mut impl Iterator<Item = T>, flags: u8, bit: u8) -> Option<T> {
    if flags & bit == 0 { None } else { column.next() }
}

/// Difference that wraps, so that [`more`] undoes it for every pair of points.
fn less(point: Micros, base: Micros) -> i64 {
    point.get().wrapping_sub(base.get())
}

fn more(base: Micros, difference: i64) -> Micros {
    Micros::new(base.get().wrapping_add(difference))
}
