//! Raw samples as a table for spreadsheets and scripts: one row for each packet sent and each received.

use std::fmt::Write as _;

use crate::trace::{Direction, Half, Media, StreamLog, Trace, TxOutcome};
use crate::units::Micros;

const HEADER: &str =
    "end,stream,media,direction,event,seq,intended_us,user_us,kernel_us,bytes,tos,ttl,outcome\n";

/// Every packet of a run as CSV (RFC 4180, with `\n`), sent and received ones in rows of their own.
///
/// Times are microseconds since the run began, by the clock of the end they were taken at (`here` or `there`). A cell is empty where
/// nothing was recorded: a stamp that the kernel did not give, the TOS of a packet that was sent.
pub fn packets(trace: &Trace) -> String {
    let mut out = HEADER.to_owned();
    half(&mut out, "here", &trace.here);
    if let Some(there) = &trace.there {
        half(&mut out, "there", there);
    }
    out
}

fn half(out: &mut String, end: &str, half: &Half) {
    for stream in &half.streams {
        let lead = lead(end, stream);
        for sent in &stream.tx {
            let _ = writeln!(
                out,
                "{lead},sent,{},{},{},{},{},,,{}",
                sent.seq,
                sent.intended.get(),
                cell(sent.user),
                cell(sent.kernel),
                sent.bytes,
                outcome(sent.outcome)
            );
        }
        for received in &stream.rx {
            let [tos, ttl] = [received.tos, received.ttl].map(|byte| byte.map(|byte| byte.to_string()));
            let _ = writeln!(
                out,
                "{lead},received,{},,{},{},{},{},{},",
                received.seq,
                cell(received.user),
                received.at.get(),
                received.bytes,
                tos.unwrap_or_default(),
                ttl.unwrap_or_default()
            );
        }
    }
}

fn lead(end: &str, stream: &StreamLog) -> String {
    let media = match stream.spec.media {
        Media::Audio => "audio",
        Media::Video => "video",
        Media::Screen => "screen",
    };
    let direction = match stream.spec.direction {
        Some(Direction::Up) => "up",
        Some(Direction::Down) => "down",
        None => "both",
    };
    format!("{end},{},{media},{direction}", stream.id.0)
}

fn cell(at: Option<Micros>) -> String {
    at.map(|at| at.get().to_string()).unwrap_or_default()
}

fn outcome(outcome: TxOutcome) -> String {
    match outcome {
        TxOutcome::Sent => "sent".to_owned(),
        TxOutcome::Failed(Some(number)) => format!("failed ({number})"),
        TxOutcome::Failed(None) => "failed".to_owned(),
        TxOutcome::DroppedLocally => "dropped_locally".to_owned(),
        TxOutcome::NotSent => "not_sent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::read;
    use crate::trace::encoding;

    #[test]
    fn each_packet_has_a_row_with_all_columns() {
        let report = read(include_str!("../../tests/data/loss_15.json")).unwrap();
        let trace = encoding::decode(&report.trace.unwrap()).unwrap();
        let table = packets(&trace);
        let records = |half: &Half| half.streams.iter().map(|s| s.tx.len() + s.rx.len()).sum::<usize>();
        let expected = records(&trace.here) + trace.there.as_ref().map_or(0, records);
        assert!(expected > 100);
        assert_eq!(table.lines().count(), 1 + expected);
        let columns = |line: &str| line.split(',').count();
        assert!(table.lines().all(|line| columns(line) == columns(HEADER)), "{table}");
        let first = trace.here.streams[0].tx[0];
        let row = table.lines().nth(1).unwrap();
        assert!(row.starts_with("here,0,audio,both,sent,0,"), "{row}");
        assert_eq!(row.split(',').nth(8).unwrap(), cell(first.kernel));
    }
}
