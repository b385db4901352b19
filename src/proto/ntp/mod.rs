//! NTP packets of a client and the server's answers (RFC 5905), and what to ask a time server.
//!
//! Questions carry nothing of this computer: no clock, no state, and for their time a number that nobody can guess, which the answer
//! has to repeat (RFC 5905 section 7.3, draft-ietf-ntp-data-minimization).

use greenroom_reports::units::Micros;

use super::asking::{Heard, Questions};

/// A packet without extensions and authentication.
pub const SIZE: usize = 48;

/// Seconds from 1900 to 1970 (RFC 5905 figure 4).
const UNIX_EPOCH: i64 = 2_208_988_800;
/// Seconds of an era: timestamps begin again every 136 years.
const ERA: i64 = 1 << 32;
const VERSION: u8 = 4;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;

/// A point in time as NTP writes it: seconds since 1900 in 32.32 bits. Zero: unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Microseconds since 1970, in the era nearest to `near` (RFC 5905 section 6). `None` when it is unknown.
    pub fn unix(self, near: Micros) -> Option<Micros> {
        if self.0 == 0 {
            return None;
        }
        let seconds = i64::try_from(self.0 >> 32).ok()? - UNIX_EPOCH;
        let fraction = i64::try_from(((self.0 & 0xffff_ffff) * 1_000_000) >> 32).ok()?;
        let away = near.get().div_euclid(1_000_000) - seconds;
        let eras = (away + ERA / 2).div_euclid(ERA);
        let seconds = seconds.checked_add(eras.checked_mul(ERA)?)?;
        Some(Micros::new(seconds.checked_mul(1_000_000)?.checked_add(fraction)?))
    }
}

/// A server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Leap indicator: 0 none, 1 a second more, 2 one less, 3 not in step.
    pub leap: u8,
    /// How many servers stand between it and a clock. 0: it does not serve, and says why.
    pub stratum: u8,
    /// Round trip to the root, in 16.16 seconds.
    pub root_delay: u32,
    /// By how much it may be wrong, in 16.16 seconds.
    pub root_dispersion: u32,
    /// Where it has the time from, or why it does not serve.
    pub reference: [u8; 4],
    /// The question's number, repeated.
    pub origin: NtpTime,
    /// When the question arrived.
    pub receive: NtpTime,
    /// When the answer left.
    pub transmit: NtpTime,
}

/// Why octets are no answer of a time server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNtp {
    /// Too short.
    #[error("it is shorter than a packet of NTP")]
    Short,
    /// Of another version, or no answer of a server.
    #[error("it is no answer of an NTP server")]
    Mode,
}

impl Answer {
    /// Reads a server's answer; extensions behind it are left alone.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn parse(payload: &[u8]) -> Result<Self, NotNtp> {
        let octets: &[u8; SIZE] = payload.first_chunk().ok_or(NotNtp::Short)?;
        let (version, mode) = (octets[0] >> 3 & 7, octets[0] & 7);
        // Servers of version 3 answer in their own.
        if mode != SERVER || !(3..=VERSION).contains(&version) {
            return Err(NotNtp::Mode);
        }
        let word = |at: usize| [octets[at], octets[at + 1], octets[at + 2], octets[at + 3]];
        let time = |at: usize| {
            NtpTime(
                u64::from(u32::from_be_bytes(word(at))) << 32 | u64::from(u32::from_be_bytes(word(at + 4))),
            )
        };
        Ok(Self {
            leap: octets[0] >> 6,
            stratum: octets[1],
            root_delay: u32::from_be_bytes(word(4)),
            root_dispersion: u32::from_be_bytes(word(8)),
            reference: word(12),
            origin: time(24),
            receive: time(32),
            transmit: time(40),
        })
    }

    /// Why it does not serve (RFC 5905 section 7.4): `RATE`, `DENY`, `RSTR`, …
    pub fn kiss_code(&self) -> Option<String> {
        let letters = self.reference.iter().all(u8::is_ascii_uppercase);
        (self.stratum == 0 && letters).then(|| String::from_utf8_lossy(&self.reference).into_owned())
    }

    /// Whether there is a time in it that may be used.
    pub fn is_usable(&self) -> bool {
        (1..=15).contains(&self.stratum) && self.leap != 3 && self.receive.0 != 0 && self.transmit.0 != 0
    }

    /// Where it has the time from: a kind of clock by its four letters, or the number that names another server.
    pub fn reference_name(&self) -> String {
        let text: String =
            self.reference.iter().take_while(|octet| **octet != 0).map(|o| char::from(*o)).collect();
        let readable = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic());
        if self.stratum <= 1 && readable {
            return text;
        }
        let [a, b, c, d] = self.reference;
        format!("{a}.{b}.{c}.{d}")
    }
}

/// Milliseconds of a length of time in 16.16 seconds.
pub fn short_ms(length: u32) -> f64 {
    f64::from(length) * 1_000.0 / 65_536.0
}

/// Writes a question that is known by this number.
pub fn write_question(number: NtpTime, payload: &mut Vec<u8>) {
    let start = payload.len();
    payload.resize(start + SIZE - 8, 0);
    if let Some(first) = payload.get_mut(start) {
        *first = VERSION << 3 | CLIENT;
    }
    payload.extend(number.0.to_be_bytes());
}

/// How far this clock is behind the server's, and how sure that is (RFC 5905 section 8). `left` and `came` are on this computer's
/// clock since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// The server's time less this computer's.
    pub offset: Micros,
    /// The round trip without the server's hold: the offset is sure within half of it.
    pub delay: Micros,
}

/// Computes the offset. `None` where the answer has no usable time, or the server says that it held the question for longer than it
/// was away.
pub fn offset(answer: &Answer, left: Micros, came: Micros) -> Option<Offset> {
    if !answer.is_usable() {
        return None;
    }
    let (received, sent) = (answer.receive.unix(came)?, answer.transmit.unix(came)?);
    let hold = sent - received;
    let delay = (came - left) - hold;
    if hold < Micros::ZERO || delay < Micros::ZERO {
        return None;
    }
    let twice = (received - left) + (sent - came);
    Some(Offset { offset: Micros::new(twice.get() / 2), delay })
}

/// The questions to one time server, and what it answered. It is asked no more once it says that it does not want to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    numbers: Vec<NtpTime>,
    answers: Vec<Option<Answer>>,
    over: bool,
}

impl Times {
    /// One number per question, none of which anybody can guess.
    pub fn new(numbers: Vec<NtpTime>) -> Self {
        Self { answers: vec![None; numbers.len()], numbers, over: false }
    }

    /// The answers in the order of the questions.
    pub fn answers(&self) -> impl Iterator<Item = Option<&Answer>> {
        self.answers.iter().map(Option::as_ref)
    }
}

impl Questions for Times {
    fn count(&self) -> usize {
        self.numbers.len()
    }

    fn write(&mut self, index: usize, payload: &mut Vec<u8>) {
        if let Some(number) = self.numbers.get(index) {
            write_question(*number, payload);
        }
    }

    fn read(&self, payload: &[u8], asked: usize) -> Heard {
        let Ok(answer) = Answer::parse(payload) else { return Heard::Garbage };
        let of = self.numbers.iter().take(asked).position(|number| *number == answer.origin);
        of.map_or(Heard::Stranger, Heard::Answer)
    }

    fn note(&mut self, index: usize, payload: &[u8]) {
        let Some((slot, answer)) = self.answers.get_mut(index).zip(Answer::parse(payload).ok()) else {
            return;
        };
        // Whatever else a kiss says, there is no time in it (section 7.4).
        self.over |= answer.stratum == 0;
        *slot = Some(answer);
    }

    fn is_over(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28 19:00:00 UTC in both.
    const UNIX: i64 = 1_795_978_800;

    fn ntp(unix_micros: i64) -> NtpTime {
        let seconds = u64::try_from(unix_micros.div_euclid(1_000_000) + UNIX_EPOCH).unwrap();
        let micros = u64::try_from(unix_micros.rem_euclid(1_000_000)).unwrap();
        NtpTime(((seconds & 0xffff_ffff) << 32) | (micros << 32).div_ceil(1_000_000))
    }

    fn answer() -> Answer {
        Answer {
            leap: 0,
            stratum: 1,
            root_delay: 0,
            root_dispersion: 0x8000,
            reference: *b"GPS\0",
            origin: NtpTime(7),
            receive: ntp(UNIX * 1_000_000 + 60_000),
            transmit: ntp(UNIX * 1_000_000 + 61_000),
        }
    }

    fn octets(answer: &Answer, version: u8, mode: u8) -> Vec<u8> {
        let mut octets = vec![answer.leap << 6 | version << 3 | mode, answer.stratum, 6, 0xe9];
        octets.extend(answer.root_delay.to_be_bytes());
        octets.extend(answer.root_dispersion.to_be_bytes());
        octets.extend(answer.reference);
        octets.extend([0; 8]);
        for time in [answer.origin, answer.receive, answer.transmit] {
            octets.extend(time.0.to_be_bytes());
        }
        octets
    }

    #[test]
    fn a_question_says_nothing_of_this_computer() {
        let mut payload = Vec::new();
        write_question(NtpTime(0x0102_0304_0506_0708), &mut payload);
        assert_eq!(payload.len(), SIZE);
        assert_eq!((payload[0], &payload[40..]), (0x23, &[1, 2, 3, 4, 5, 6, 7, 8][..]));
        assert!(payload[1..40].iter().all(|octet| *octet == 0));
    }

    #[test]
    fn answers_are_read_and_others_are_not() {
        let answer = answer();
        assert_eq!(Answer::parse(&octets(&answer, 4, 4)), Ok(answer));
        assert_eq!(Answer::parse(&octets(&answer, 3, 4)), Ok(answer));
        assert_eq!(Answer::parse(&octets(&answer, 4, 3)), Err(NotNtp::Mode));
        assert_eq!(Answer::parse(&octets(&answer, 2, 4)), Err(NotNtp::Mode));
        assert_eq!(Answer::parse(&octets(&answer, 4, 4)[..47]), Err(NotNtp::Short));
        assert_eq!((answer.reference_name().as_str(), short_ms(answer.root_dispersion)), ("GPS", 500.0));
        let second = Answer { stratum: 2, reference: [192, 0, 2, 1], ..answer };
        assert_eq!(second.reference_name(), "192.0.2.1");
    }

    /// RFC 5905 section 8: theta = ((T2 - T1) + (T3 - T4)) / 2, delta = (T4 - T1) - (T3 - T2). Left at 0, received at 60, sent at
    /// 61 and back at 21 ms: theta = (60 + 40) / 2 = 50, delta = 21 - 1 = 20.
    #[test]
    fn the_offset_is_that_of_the_standard() {
        let ms = |ms: i64| Micros::new(UNIX * 1_000_000 + ms * 1_000);
        let found = offset(&answer(), ms(0), ms(21)).unwrap();
        assert_eq!(found, Offset { offset: Micros::from_millis(50), delay: Micros::from_millis(20) });
        let unusable = [
            Answer { stratum: 0, ..answer() },
            Answer { stratum: 16, ..answer() },
            Answer { leap: 3, ..answer() },
            Answer { transmit: NtpTime(0), ..answer() },
            Answer { transmit: ntp(UNIX * 1_000_000 + 59_000), ..answer() },
            Answer { transmit: ntp(UNIX * 1_000_000 + 99_000), ..answer() },
        ];
        for answer in unusable {
            assert_eq!(offset(&answer, ms(0), ms(21)), None, "{answer:?}");
        }
    }

    /// The era after 2036-02-07 06:28:16 UTC counts from zero again.
    #[test]
    fn times_are_taken_from_the_nearest_era() {
        let turn = Micros::new(2_085_978_496_000_000);
        assert_eq!(NtpTime(1 << 32).unix(turn), Some(turn + Micros::from_secs(1)));
        assert_eq!(NtpTime(0xffff_ffff << 32).unix(turn), Some(turn - Micros::from_secs(1)));
        assert_eq!(NtpTime(0).unix(turn), None);
        assert_eq!(NtpTime(u64::MAX).unix(Micros::ZERO).map(|at| at > Micros::ZERO), Some(true));
    }

    #[test]
    fn a_kiss_ends_the_asking() {
        let mut times = Times::new(vec![NtpTime(6), NtpTime(7)]);
        let kiss = Answer { stratum: 0, reference: *b"RATE", ..answer() };
        let wire = octets(&kiss, 4, 4);
        assert_eq!(times.read(&wire, 1), Heard::Stranger, "what was not asked is not answered");
        assert_eq!(times.read(&wire, 2), Heard::Answer(1));
        assert_eq!(times.read(b"HTTP/1.1 400 Bad Request", 2), Heard::Garbage);
        times.note(1, &wire);
        assert!(times.is_over() && kiss.kiss_code().as_deref() == Some("RATE"));
        assert_eq!(answer().kiss_code(), None);
    }
}
