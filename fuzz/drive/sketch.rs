use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use greenroom_reports::metrics::percentile::Quantile;
use greenroom_reports::metrics::sketch::Sketch;
use greenroom_reports::units::Micros;

/// Reads the input as a histogram, in base64 and before it. What reads must come back the same from what it is written to,
/// and can be merged and asked.
pub(crate) fn drive(data: &[u8]) {
    let _ = Sketch::decode(&String::from_utf8_lossy(data));
    let Ok(sketch) = Sketch::decode(&STANDARD.encode(data)) else { return };
    assert_eq!(Sketch::decode(&sketch.encode()).as_ref(), Ok(&sketch));
    let mut twice = sketch.clone();
    twice.merge(&sketch);
    twice.record(Micros::from_millis(20));
    let at = |quantile| twice.at(quantile).expect("something is in it");
    assert!(at(Quantile::P50) <= at(Quantile::P95) && at(Quantile::P95) <= at(Quantile::P99));
}
