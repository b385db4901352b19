use std::collections::BTreeSet;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use greenroom_reports::assess::{Probed, Question, TargetMeta, assess};
use greenroom_reports::schema::{EncodedTrace, Mode, Use};
use greenroom_reports::trace::Trace;
use greenroom_reports::trace::encoding::{ENCODING, decode, encode};
use greenroom_reports::verdict::Profile;

/// Reads the input as a trace: packed as it is, and as what comes out of the packing. What reads must come back the same
/// from what it is written to, and can be judged.
///
/// Its first octet says how it is judged, the two after it how long the first half is; the second half may be missing.
pub(crate) fn drive(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let _ = decode(&EncodedTrace { encoding: ENCODING.to_owned(), here: text, there: None });
    let _ = decode(&EncodedTrace { encoding: ENCODING.to_owned(), here: STANDARD.encode(data), there: None });
    let Some(([how, high, low], halves)) = data.split_first_chunk() else { return };
    let here = usize::from(u16::from_be_bytes([*high, *low]));
    let (here, there) = halves.split_at(here.min(halves.len()));
    let there = Some(there).filter(|half| !half.is_empty()).map(pack);
    let Ok(trace) = decode(&EncodedTrace { encoding: ENCODING.to_owned(), here: pack(here), there }) else {
        return;
    };
    let again = encode(&trace).expect("it came in a report");
    assert_eq!(decode(&again), Ok(trace.clone()));
    judge(&trace, *how);
}

fn pack(bytes: &[u8]) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(bytes).expect("writing to a Vec cannot fail");
    STANDARD.encode(gzip.finish().expect("writing to a Vec cannot fail"))
}

fn judge(trace: &Trace, how: u8) {
    let meta = TargetMeta {
        url: "greenroom://probe.example".to_owned(),
        kind: "greenroom".to_owned(),
        reached: None,
        identity: None,
        failure: None,
        details: None,
        in_process: false,
    };
    let question = Question {
        profile: &Profile::default(),
        asked: &BTreeSet::from(Use::ALL),
        mode: if how & 1 == 0 { Mode::Quick } else { Mode::Deep },
        at_cap: how & 2 == 0,
    };
    let assessment = assess(&[Probed { meta: &meta, trace: Some(trace) }], &question);
    for target in &assessment.targets {
        for direction in [&target.up, &target.down] {
            let counts = direction.counts;
            assert_eq!(counts.planned, counts.sent + counts.send_failed + counts.not_sent, "{counts:?}");
            if let Some(loss) = direction.loss_ratio.measured() {
                assert!((0.0..=1.0).contains(&loss.value), "{loss:?}");
            }
        }
    }
}
