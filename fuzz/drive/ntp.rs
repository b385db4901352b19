use greenroom::proto::asking::{Heard, Questions as _};
use greenroom::proto::ntp::{Answer, NtpTime, Times, offset};
use greenroom_reports::units::Micros;

/// Reads the input as a time server's answer, and hands it in as one to a question with its number.
pub(crate) fn drive(data: &[u8]) {
    let Ok(answer) = Answer::parse(data) else { return };
    let _ = (answer.kiss_code(), answer.reference_name());
    for left in [Micros::ZERO, Micros::from_secs(1_795_978_800), Micros::from_secs(1 << 40)] {
        if let Some(found) = offset(&answer, left, left + Micros::from_millis(20)) {
            assert!(found.delay >= Micros::ZERO && found.delay <= Micros::from_millis(20));
        }
    }
    let other = NtpTime(!answer.origin.0);
    let mut times = Times::new(vec![other, answer.origin]);
    assert_eq!(times.read(data, 1), Heard::Stranger);
    assert_eq!(times.read(data, 2), Heard::Answer(1));
    times.note(1, data);
    assert_eq!(times.answers().flatten().count(), 1);
}
