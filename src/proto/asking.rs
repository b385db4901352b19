//! Asks a server over UDP at a cadence of its own, each question once, whatever the protocol of its questions.
//!
//! What is not answered is not asked again: that would hide the loss which is to be measured. An unanswered question is given up
//! after [`AskerConfig::patience`].

use std::net::SocketAddr;

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::trace::{TxOutcome, TxRecord};
use greenroom_reports::units::{DataSize, Micros};

use super::machine::{Arrival, Departure, Machine, Transmit, TransmitKey};
use super::window::ip_bytes;

/// The questions of a protocol, and what its datagrams are.
pub trait Questions {
    /// How many questions there are.
    fn count(&self) -> usize;

    /// Writes a question into `payload`.
    fn write(&mut self, index: usize, payload: &mut Vec<u8>);

    /// What a datagram is that came from the server asked or from elsewhere. Only questions that have left can be answered: `asked` of them.
    fn read(&self, payload: &[u8], asked: usize) -> Heard;

    /// DSCP and ECN that a question leaves with (the TOS or traffic-class octet).
    fn tos(&self, _index: usize) -> u8 {
        0
    }

    /// How the answer came that [`Questions::note`] takes next.
    fn arrived(&mut self, _arrival: &Arrival) {}

    /// Takes the first answer to a question.
    fn note(&mut self, index: usize, payload: &[u8]);

    /// Whether a datagram from `from` is from the server asked.
    fn is_from(&self, server: SocketAddr, from: SocketAddr) -> bool {
        server == from
    }

    /// Size at the IP layer of a datagram with this payload to or from `server`.
    fn ip_bytes(&self, server: SocketAddr, payload: &[u8]) -> u16 {
        ip_bytes(server, payload.len())
    }

    /// Whether nothing more is to be asked: the server does not want to be asked.
    fn is_over(&self) -> bool {
        false
    }
}

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// An answer to this question.
    Answer(usize),
    /// Of the protocol, but to no question that was asked: late, doubled, or made up by somebody who guessed.
    Stranger,
    /// Nothing of the protocol.
    Garbage,
    /// Somebody else's: some sockets deliver what is meant for other programs.
    Foreign,
}

/// What an asker is told.
#[derive(Debug, Clone, Copy)]
pub struct AskerConfig {
    /// Whom to ask.
    pub server: SocketAddr,
    /// When the first question leaves.
    pub start: Micros,
    /// From question to question.
    pub interval: Micros,
    /// After so long a question is given up.
    pub patience: Micros,
    /// When nothing at all has been answered for so long after the start, the run ends.
    pub give_up: Micros,
}

/// What came that was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strange {
    /// What would be an answer, from another address than the one asked.
    pub elsewhere: u64,
    /// Where the last of them came from.
    pub elsewhere_from: Option<SocketAddr>,
    /// From the server and of the protocol, but to no question that was asked.
    pub strangers: u64,
    /// Answers beyond the first.
    pub copies: u64,
    /// From the server and nothing of the protocol.
    pub garbage: u64,
}

/// When a question left and its answer came, on this end's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The question's departure.
    pub left: Micros,
    /// The answer's arrival.
    pub came: Micros,
}

/// Asks one server. See the [module](self).
#[derive(Debug)]
pub struct Asker<Q> {
    config: AskerConfig,
    questions: Q,
    asked: Vec<TxRecord>,
    answered: Vec<Option<Micros>>,
    strange: Strange,
    received_bytes: DataSize,
    /// Until when this end has looked.
    now: Micros,
    finished: bool,
}

impl<Q: Questions> Asker<Q> {
    /// Waits for [`AskerConfig::start`].
    pub fn new(config: AskerConfig, questions: Q) -> Self {
        let count = questions.count();
        Self {
            config,
            questions,
            asked: Vec::with_capacity(count),
            answered: vec![None; count],
            strange: Strange::default(),
            received_bytes: DataSize::default(),
            now: Micros::ZERO,
            finished: count == 0,
        }
    }

    /// What came of each question planned.
    pub fn exchanges(&self) -> Vec<Exchange> {
        (0..self.answered.len()).map(|index| self.exchange(index)).collect()
    }

    /// What came of one question.
    pub fn exchange(&self, index: usize) -> Exchange {
        let Some(asked) = self.asked.get(index) else { return Exchange::NotSent };
        if matches!(asked.outcome, TxOutcome::Failed(_)) {
            return Exchange::SendFailed;
        }
        let Some(departed) = asked.departed() else { return Exchange::NotSent };
        match self.answered.get(index).copied().flatten() {
            Some(at) => Exchange::Answered { at, rtt: at - departed },
            None if self.now - departed >= self.config.patience => Exchange::Lost,
            None => Exchange::Awaited,
        }
    }

    /// When a question left and its answer came, if it did.
    pub fn times(&self, index: usize) -> Option<Times> {
        let came = self.answered.get(index).copied().flatten()?;
        Some(Times { left: self.asked.get(index)?.departed()?, came })
    }

    /// The protocol with all that it learned.
    pub const fn questions(&self) -> &Q {
        &self.questions
    }

    /// What came that was no answer.
    pub const fn strange(&self) -> &Strange {
        &self.strange
    }

    /// Bytes sent and received at the IP layer.
    pub fn bytes(&self) -> DataSize {
        let left = self.asked.iter().filter(|asked| asked.departed().is_some());
        left.map(|asked| DataSize::from_bytes(asked.bytes.into())).sum::<DataSize>() + self.received_bytes
    }

    /// Whether anything was answered.
    pub fn is_answered(&self) -> bool {
        self.answered.iter().any(Option::is_some)
    }

    /// What this end's kernel said of the last question that it refused to send; `None` when it took all.
    pub fn refused(&self) -> Option<Option<i32>> {
        self.asked.iter().rev().find_map(|asked| match asked.outcome {
            TxOutcome::Failed(error) => Some(error),
            _ => None,
        })
    }

    fn due(&self, index: usize) -> Micros {
        self.config.start + self.config.interval * i64::try_from(index).unwrap_or(i64::MAX / 1_000_000_000)
    }

    /// When there is nothing more to wait for.
    fn end(&self) -> Micros {
        let last = self.due(self.answered.len().saturating_sub(1)) + self.config.patience;
        if self.is_answered() { last } else { last.min(self.config.start + self.config.give_up) }
    }

    fn all_is_answered(&self) -> bool {
        self.asked.len() == self.answered.len()
            && (0..self.asked.len())
                .all(|index| matches!(self.exchange(index), Exchange::Answered { .. } | Exchange::SendFailed))
    }
}

impl<Q: Questions> Machine for Asker<Q> {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        self.now = self.now.max(now);
        let heard = self.questions.read(payload, self.asked.len());
        if heard == Heard::Foreign {
            return;
        }
        self.received_bytes += DataSize::from_bytes(self.questions.ip_bytes(arrival.from, payload).into());
        let from_server = self.questions.is_from(self.config.server, arrival.from);
        match heard {
            Heard::Foreign => {}
            Heard::Garbage => self.strange.garbage += u64::from(from_server),
            Heard::Stranger => self.strange.strangers += u64::from(from_server),
            Heard::Answer(_) if !from_server => {
                self.strange.elsewhere += 1;
                self.strange.elsewhere_from = Some(arrival.from);
            }
            Heard::Answer(index) => {
                let asked = index < self.asked.len();
                match self.answered.get_mut(index).filter(|_| asked) {
                    Some(answered @ None) => {
                        *answered = Some(arrival.at);
                        self.questions.arrived(arrival);
                        self.questions.note(index, payload);
                    }
                    Some(Some(_)) => self.strange.copies += 1,
                    None => self.strange.strangers += 1,
                }
            }
        }
    }

    fn handle_departure(&mut self, departure: &Departure) {
        let asked = usize::try_from(departure.key.0).ok().and_then(|index| self.asked.get_mut(index));
        if let Some(record) = asked {
            departure.event.note(record, Micros::ZERO);
        }
    }

    fn handle_drops(&mut self, _now: Micros, _total: u64) {}

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        self.now = self.now.max(now);
        self.finished |= now >= self.end() || self.all_is_answered() || self.questions.is_over();
        let index = self.asked.len();
        let intended = self.due(index);
        if self.finished || index >= self.answered.len() || intended > now {
            return None;
        }
        payload.clear();
        self.questions.write(index, payload);
        let to = self.config.server;
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let tos = self.questions.tos(index);
        let bytes = self.questions.ip_bytes(to, payload);
        self.asked.push(TxRecord::planned(number, intended, bytes));
        Some(Transmit { to, key: TransmitKey(u64::from(number)), intended, tos, stamp: true })
    }

    fn next_deadline(&self) -> Option<Micros> {
        if self.finished {
            return None;
        }
        let next = self.asked.len();
        Some(if next < self.answered.len() { self.due(next).min(self.end()) } else { self.end() })
    }

    fn is_finished(&self) -> bool {
        self.finished
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::DepartureEvent;
    use super::*;

    /// Questions of one octet, their number, answered by the same; 0xff ends it.
    struct Numbers {
        count: u8,
        noted: Vec<usize>,
        over: bool,
    }

    impl Questions for Numbers {
        fn count(&self) -> usize {
            usize::from(self.count)
        }

        fn write(&mut self, index: usize, payload: &mut Vec<u8>) {
            payload.push(u8::try_from(index).unwrap());
        }

        fn read(&self, payload: &[u8], asked: usize) -> Heard {
            match payload {
                [number] if usize::from(*number) < asked => Heard::Answer(usize::from(*number)),
                [_] => Heard::Stranger,
                _ => Heard::Garbage,
            }
        }

        fn note(&mut self, index: usize, _payload: &[u8]) {
            self.over |= index == 1;
            self.noted.push(index);
        }

        fn is_over(&self) -> bool {
            self.over
        }
    }

    const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 53);

    const fn ms(ms: i64) -> Micros {
        Micros::from_millis(ms)
    }

    fn asker(count: u8) -> Asker<Numbers> {
        let config = AskerConfig {
            server: SERVER.into(),
            start: ms(5),
            interval: ms(50),
            patience: ms(1_000),
            give_up: ms(3_000),
        };
        Asker::new(config, Numbers { count, noted: Vec::new(), over: false })
    }

    fn ask(asker: &mut Asker<Numbers>, at: Micros) -> bool {
        let mut payload = vec![9];
        let Some(transmit) = asker.poll_transmit(at, &mut payload) else { return false };
        assert_eq!(payload.len(), 1, "what was in it is gone");
        asker.handle_departure(&Departure { key: transmit.key, event: DepartureEvent::Handed(at) });
        true
    }

    fn hear(asker: &mut Asker<Numbers>, at: Micros, from: ([u8; 4], u16), payload: &[u8]) {
        let arrival = Arrival { from: from.into(), at, kernel: true, tos: None, ttl: None };
        asker.handle_datagram(at, &arrival, payload);
    }

    #[test]
    fn each_question_is_asked_once_and_what_is_no_answer_is_told_apart() {
        let mut asker = asker(3);
        assert!(!ask(&mut asker, ms(4)), "too early");
        assert!(ask(&mut asker, ms(5)) && !ask(&mut asker, ms(5)));
        hear(&mut asker, ms(9), ([192, 0, 2, 2], 53), &[0]);
        hear(&mut asker, ms(10), SERVER, &[0]);
        hear(&mut asker, ms(11), SERVER, &[0]);
        hear(&mut asker, ms(12), SERVER, &[2]);
        hear(&mut asker, ms(13), SERVER, b"no");
        assert!(ask(&mut asker, ms(55)) && ask(&mut asker, ms(105)));
        assert_eq!(asker.next_deadline(), Some(ms(1_105)));
        assert!(!ask(&mut asker, ms(1_105)) && asker.is_finished());
        let rtt = ms(5);
        assert_eq!(
            asker.exchanges(),
            [Exchange::Answered { at: ms(10), rtt }, Exchange::Lost, Exchange::Lost]
        );
        assert_eq!(asker.times(0), Some(Times { left: ms(5), came: ms(10) }));
        let elsewhere_from = Some(([192, 0, 2, 2], 53).into());
        let expected = Strange { elsewhere: 1, elsewhere_from, strangers: 1, copies: 1, garbage: 1 };
        assert_eq!(*asker.strange(), expected);
        assert_eq!(asker.questions().noted, [0]);
    }

    #[test]
    fn whoever_does_not_want_to_be_asked_is_asked_no_more() {
        let mut asker = asker(5);
        assert!(ask(&mut asker, ms(5)) && ask(&mut asker, ms(55)));
        hear(&mut asker, ms(60), SERVER, &[1]);
        assert!(!ask(&mut asker, ms(105)) && asker.is_finished());
        assert_eq!(asker.exchanges()[2..], [Exchange::NotSent; 3]);
    }

    #[test]
    fn the_silent_are_given_up() {
        let mut asker = asker(100);
        let mut at = ms(5);
        while ask(&mut asker, at) {
            at += ms(50);
        }
        assert!(asker.is_finished() && at == ms(3_005), "{at:?}");
    }
}
