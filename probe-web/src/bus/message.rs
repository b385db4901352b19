//! A report on its way through a stream: its header and what it adds as JSON, then its own JSON as one zstd frame.
//!
//! What was read and found good is not read again at the other end. Whoever may write into the stream may write anything into the store: it is
//! for this server's nodes alone.

use std::collections::BTreeMap;
use std::io::Read as _;

use greenroom_reports::metrics::sketch::{Sketch, SketchError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ingest::body::MAX_JSON;
use crate::rollup::Contribution;
use crate::store::{AgentRun, Record, RunFigures, Summary, Tenant};

/// The first bytes: what it is, and its version.
const MARK: &[u8; 4] = b"GRR1";

/// How hard a report is packed.
const LEVEL: i32 = 1;

/// Why bytes are no report.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// They begin otherwise.
    #[error("it is of another version, or none of ours")]
    Version,
    /// They end early.
    #[error("it is cut off")]
    CutOff,
    /// The header cannot be read.
    #[error("its header is damaged: {0}")]
    Head(#[from] serde_json::Error),
    /// A histogram cannot be read.
    #[error("{0}")]
    Sketch(#[from] SketchError),
    /// The report cannot be unpacked.
    #[error("its report is damaged: {0}")]
    Body(#[from] std::io::Error),
}

#[derive(Serialize, Deserialize)]
struct Head {
    tenant: i64,
    summary: Summary,
    at: Timestamp,
    site: String,
    endpoint: String,
    sketches: BTreeMap<String, String>,
    tallies: BTreeMap<String, u64>,
    run: Option<RunHead>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    figures: Option<RunFigures>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct RunHead {
    agent: Uuid,
    boot: String,
    seq: u64,
}

/// Writes a report.
///
/// # Errors
/// When it cannot be packed.
pub fn encode(record: &Record) -> Result<Vec<u8>, MessageError> {
    let adds = &record.adds;
    let head = Head {
        tenant: record.tenant.0,
        summary: record.summary.clone(),
        at: adds.at,
        site: adds.site.clone(),
        endpoint: adds.endpoint.clone(),
        sketches: adds.sketches.iter().map(|(name, sketch)| (name.clone(), sketch.encode())).collect(),
        tallies: adds.tallies.clone(),
        run: record.run.as_ref().map(|run| RunHead {
            agent: run.agent,
            boot: run.boot.clone(),
            seq: run.seq,
        }),
        figures: record.figures.clone(),
        provider: record.provider.clone(),
    };
    let head = serde_json::to_vec(&head)?;
    let length = u32::try_from(head.len()).map_err(|_| MessageError::CutOff)?;
    let body = zstd::bulk::compress(&record.raw, LEVEL)?;
    Ok([MARK.as_slice(), &length.to_be_bytes(), &head, &body].concat())
}

/// Reads a report.
///
/// # Errors
/// When it is none, or damaged.
pub fn decode(bytes: &[u8]) -> Result<Record, MessageError> {
    let rest = bytes.strip_prefix(MARK.as_slice()).ok_or(MessageError::Version)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(MessageError::CutOff)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| MessageError::CutOff)?;
    let (head, body) = rest.split_at_checked(length).ok_or(MessageError::CutOff)?;
    let head: Head = serde_json::from_slice(head)?;
    let mut raw = Vec::new();
    let most = u64::try_from(MAX_JSON + 1).unwrap_or(u64::MAX);
    zstd::stream::read::Decoder::with_buffer(body)?.take(most).read_to_end(&mut raw)?;
    if raw.len() > MAX_JSON {
        return Err(MessageError::CutOff);
    }
    let mut sketches = BTreeMap::new();
    for (name, text) in head.sketches {
        sketches.insert(name, Sketch::decode(&text)?);
    }
    let adds = Contribution {
        at: head.at,
        site: head.site,
        endpoint: head.endpoint,
        sketches,
        tallies: head.tallies,
    };
    let run = head.run.map(|run| AgentRun { agent: run.agent, boot: run.boot, seq: run.seq });
    let (figures, provider) = (head.figures, head.provider);
    Ok(Record { tenant: Tenant(head.tenant), summary: head.summary, adds, raw, run, figures, provider })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::read;
    use crate::testing;

    fn record() -> Record {
        let report = testing::report(5);
        let raw = serde_json::to_vec(&report).unwrap();
        let mut record = read::record(Tenant::FIRST, &report, raw, testing::start()).unwrap();
        record.run = Some(AgentRun { agent: Uuid::from_u128(7), boot: "b".into(), seq: 3 });
        record.figures = Some(crate::incidents::figures(&report));
        record.provider = Some("AS64500".into());
        record
    }

    #[test]
    fn what_was_written_is_read() {
        let record = record();
        let found = decode(&encode(&record).unwrap()).unwrap();
        assert_eq!(
            (found.tenant, &found.summary, &found.adds),
            (record.tenant, &record.summary, &record.adds)
        );
        assert_eq!((found.raw, found.run), (record.raw, record.run));
        assert_eq!((found.figures, found.provider), (record.figures, record.provider));
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_refused() {
        let whole = encode(&record()).unwrap();
        for length in [0, 3, 4, 7, 8, 100, whole.len() - 1] {
            assert!(decode(&whole[..length]).is_err(), "{length}");
        }
        assert!(matches!(decode(b"GRR2\0\0\0\0"), Err(MessageError::Version)));
        let mut huge = b"GRR1".to_vec();
        huge.extend([0xff; 8]);
        assert!(matches!(decode(&huge), Err(MessageError::CutOff)));
        let mut bomb = whole[..8].to_vec();
        let head = usize::try_from(u32::from_be_bytes([whole[4], whole[5], whole[6], whole[7]])).unwrap();
        bomb.extend(&whole[8..8 + head]);
        bomb.extend(zstd::bulk::compress(&vec![b' '; 64 << 20], 3).unwrap());
        assert!(decode(&bomb).is_err());
    }
}
