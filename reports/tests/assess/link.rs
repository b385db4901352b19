//! A link written down as a function: what each packet meets, and the trace that both ends would have kept.

use greenroom_reports::trace::{
    ClockInfo, Direction, Half, Media, Phase, PhaseKind, ReplyStamps, RxRecord, StampSource, StreamId,
    StreamLog, StreamSpec, Trace, TxOutcome, TxRecord,
};
use greenroom_reports::units::{Bitrate, Micros};

/// What a packet meets: one-way delay, or nothing when it is lost.
pub(crate) type Fate = Option<Micros>;

/// Asked for every packet: direction, stream, number, departure.
pub(crate) type Link<'a> = &'a dyn Fn(Direction, Media, u32, Micros) -> Fate;

/// The endpoint's clock runs this far ahead.
const OFFSET: Micros = Micros::from_secs(77);

/// A rung: its rate and how long it is offered, after the ones before it.
#[derive(Clone, Copy)]
pub(crate) struct Rung {
    pub(crate) media: Media,
    pub(crate) rate: Bitrate,
    pub(crate) lasts: Micros,
}

/// Audio alone for `idle`, then each rung both ways, audio throughout at 70 packets/s.
pub(crate) fn trace(idle: Micros, rungs: &[Rung], link: Link<'_>) -> Trace {
    let total = rungs.iter().fold(idle, |sum, rung| sum + rung.lasts);
    let mut here = half();
    let mut there = half();
    let (audio_here, audio_there) = audio(total, link);
    here.streams.push(audio_here);
    there.streams.push(audio_there);
    let mut phases = vec![phase(PhaseKind::Idle, Micros::ZERO, idle, Bitrate::default())];
    let mut from = idle;
    for (i, rung) in (0_u16..).zip(rungs) {
        phases.push(phase(PhaseKind::Media, from, from + rung.lasts, rung.rate));
        for (direction, id) in [(Direction::Up, 2 * i + 1), (Direction::Down, 2 * i + 2)] {
            let (tx, rx) = one_way(StreamId(id), rung, direction, from, link);
            let (sender, receiver) =
                if direction == Direction::Up { (&mut here, &mut there) } else { (&mut there, &mut here) };
            sender.streams.push(tx);
            receiver.streams.push(rx);
        }
        from += rung.lasts;
    }
    for half in [&mut here, &mut there] {
        half.covered_until = total + Micros::from_secs(5);
        half.complete = true;
    }
    there.covered_until += OFFSET;
    Trace { here, there: Some(there), phases, ..Trace::default() }
}

fn half() -> Half {
    let clock = ClockInfo { tx: StampSource::Kernel, rx: StampSource::Kernel, steps: Vec::new() };
    Half { clock, ..Half::default() }
}

fn phase(kind: PhaseKind, from: Micros, to: Micros, offered: Bitrate) -> Phase {
    Phase { kind, from, to, offered_up: offered, offered_down: offered }
}

fn audio(total: Micros, link: Link<'_>) -> (StreamLog, StreamLog) {
    let spec = StreamSpec { media: Media::Audio, direction: None, rate: Bitrate::from_kbps(100) };
    let gap = 1_000_000 / 70;
    let count = u32::try_from(total.get() / gap).expect("runs are short");
    let mut here = log(StreamId::AUDIO, &spec, count);
    let mut there = log(StreamId::AUDIO, &spec, 0);
    let mut arrivals = Vec::new();
    for seq in 0..count {
        let at = Micros::new(i64::from(seq) * gap);
        here.tx.push(sent(seq, at, 176, None));
        if let Some(delay) = link(Direction::Up, Media::Audio, seq, at) {
            arrivals.push((at + delay, seq));
        }
    }
    arrivals.sort();
    let mut back = Vec::new();
    for (reply, (at, of)) in (0_u32..).zip(arrivals) {
        there.rx.push(received(of, at + OFFSET, 176, None));
        let leaves = at + Micros::new(30);
        there.tx.push(sent(reply, leaves + OFFSET, 176, Some(of)));
        let stamps = ReplyStamps {
            of,
            received: at + OFFSET,
            sent: leaves + OFFSET,
            follow_up: None,
            ttl: None,
            tos: None,
        };
        if let Some(delay) = link(Direction::Down, Media::Audio, reply, leaves) {
            back.push((leaves + delay, reply, stamps));
        }
    }
    there.planned = u32::try_from(there.tx.len()).expect("runs are short");
    back.sort_by_key(|(at, ..)| *at);
    here.rx = back.into_iter().map(|(at, reply, stamps)| received(reply, at, 176, Some(stamps))).collect();
    (here, there)
}

fn one_way(
    id: StreamId,
    rung: &Rung,
    direction: Direction,
    from: Micros,
    link: Link<'_>,
) -> (StreamLog, StreamLog) {
    let spec = StreamSpec { media: rung.media, direction: Some(direction), rate: rung.rate };
    let (bytes, offset_tx, offset_rx) = match direction {
        Direction::Up => (600_u16, Micros::ZERO, OFFSET),
        Direction::Down => (600_u16, OFFSET, Micros::ZERO),
    };
    let gap = i64::from(bytes) * 8_000_000 / i64::try_from(rung.rate.bps()).expect("rungs are slow");
    let count = u32::try_from(rung.lasts.get() / gap).expect("runs are short");
    let (mut tx, mut rx) = (log(id, &spec, count), log(id, &spec, 0));
    let mut arrivals = Vec::new();
    for seq in 0..count {
        let at = from + Micros::new(i64::from(seq) * gap);
        tx.tx.push(sent(seq, at + offset_tx, bytes, None));
        if let Some(delay) = link(direction, rung.media, seq, at) {
            arrivals.push((at + delay, seq));
        }
    }
    arrivals.sort();
    rx.rx = arrivals.into_iter().map(|(at, seq)| received(seq, at + offset_rx, bytes, None)).collect();
    (tx, rx)
}

fn log(id: StreamId, spec: &StreamSpec, planned: u32) -> StreamLog {
    StreamLog { id, spec: spec.clone(), planned, tx: Vec::new(), rx: Vec::new(), corrupt: 0 }
}

fn sent(seq: u32, at: Micros, bytes: u16, reply_to: Option<u32>) -> TxRecord {
    TxRecord {
        seq,
        intended: at,
        user: Some(at),
        sched: Some(at),
        kernel: Some(at),
        bytes,
        reply_to,
        outcome: TxOutcome::Sent,
    }
}

fn received(seq: u32, at: Micros, bytes: u16, reply: Option<ReplyStamps>) -> RxRecord {
    RxRecord { seq, at, user: Some(at + Micros::new(20)), bytes, tos: None, ttl: None, reply }
}
