//! Asks a STUN server at a cadence of its own: each question is a transaction of its own and is sent once.
//!
//! RFC 8489 section 6.2.1 repeats what is not answered; that would hide the loss which is to be measured. An unanswered question
//! is given up after [`ProberConfig::patience`].

use std::collections::HashMap;
use std::net::SocketAddr;

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::trace::{TxOutcome, TxRecord};
use greenroom_reports::units::{DataSize, Micros};

use super::super::machine::{Arrival, Departure, Machine, Transmit, TransmitKey};
use super::super::window::ip_bytes;
use super::{Checked, Class, Message, TransactionId, write_binding_request};

/// What a prober is told.
#[derive(Debug, Clone)]
pub struct ProberConfig {
    /// Whom to ask.
    pub server: SocketAddr,
    /// One transaction per question, none of which anybody can guess.
    pub ids: Vec<TransactionId>,
    /// When the first question leaves.
    pub start: Micros,
    /// From question to question.
    pub interval: Micros,
    /// After so long a question is given up.
    pub patience: Micros,
    /// When nothing at all has been answered for so long after the start, the run ends.
    pub give_up: Micros,
}

/// A prober of one STUN server. See the [module](self).
#[derive(Debug)]
pub struct Prober {
    config: ProberConfig,
    by_id: HashMap<TransactionId, usize>,
    asked: Vec<TxRecord>,
    answered: Vec<Option<Micros>>,
    seen: Seen,
    received_bytes: DataSize,
    /// Until when this end has looked.
    now: Micros,
    finished: bool,
}

/// What a server's answers told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// This end as the server saw it first.
    pub mapped: Option<SocketAddr>,
    /// Whether it saw another address later.
    pub mapped_changed: bool,
    /// What it calls itself.
    pub software: Option<String>,
    /// Answers that were errors.
    pub errors: u64,
    /// The last error's number.
    pub last_error: Option<u16>,
    /// Genuine answers from another address than the one asked.
    pub elsewhere: u64,
    /// Where the last of them came from.
    pub elsewhere_from: Option<SocketAddr>,
    /// Answers that were damaged on the way.
    pub damaged: u64,
    /// Answers beyond the first.
    pub copies: u64,
    /// Datagrams from the server that were no answers.
    pub garbage: u64,
    /// Datagrams that the receive queue has dropped.
    pub drops: u64,
}

/// The longest SOFTWARE that is kept: 127 characters (RFC 8489 section 14.14).
const LONGEST_SOFTWARE: usize = 127;

impl Prober {
    /// Waits for [`ProberConfig::start`].
    pub fn new(config: ProberConfig) -> Self {
        let by_id = config.ids.iter().enumerate().map(|(index, id)| (*id, index)).collect();
        Self {
            by_id,
            asked: Vec::with_capacity(config.ids.len()),
            answered: vec![None; config.ids.len()],
            seen: Seen::default(),
            received_bytes: DataSize::default(),
            now: Micros::ZERO,
            finished: config.ids.is_empty(),
            config,
        }
    }

    /// What came of each question planned.
    pub fn exchanges(&self) -> Vec<Exchange> {
        (0..self.config.ids.len()).map(|index| self.exchange(index)).collect()
    }

    /// What the answers told.
    pub const fn seen(&self) -> &Seen {
        &self.seen
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

    fn exchange(&self, index: usize) -> Exchange {
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

    fn due(&self, index: usize) -> Micros {
        self.config.start + self.config.interval * i64::try_from(index).unwrap_or(i64::MAX / 1_000_000_000)
    }

    /// When there is nothing more to wait for.
    fn end(&self) -> Micros {
        let last = self.due(self.config.ids.len().saturating_sub(1)) + self.config.patience;
        if self.is_answered() { last } else { last.min(self.config.start + self.config.give_up) }
    }

    fn all_is_answered(&self) -> bool {
        self.asked.len() == self.config.ids.len()
            && (0..self.asked.len())
                .all(|index| matches!(self.exchange(index), Exchange::Answered { .. } | Exchange::SendFailed))
    }

    fn note(&mut self, message: &Message<'_>, index: usize, at: Micros) {
        let Some(answered) = self.answered.get_mut(index) else { return };
        if answered.is_some() {
            self.seen.copies += 1;
            return;
        }
        *answered = Some(at);
        if message.class == Class::Error {
            self.seen.errors += 1;
            self.seen.last_error = message.error_code();
        }
        if let Some(mapped) = message.mapped_address() {
            let first = *self.seen.mapped.get_or_insert(mapped);
            self.seen.mapped_changed |= first != mapped;
        }
        if self.seen.software.is_none() {
            self.seen.software = message.software().map(|name| name.chars().take(LONGEST_SOFTWARE).collect());
        }
    }
}

impl Machine for Prober {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        self.now = self.now.max(now);
        self.received_bytes += DataSize::from_bytes(ip_bytes(arrival.from, payload.len()).into());
        let from_server = arrival.from == self.config.server;
        let Ok(message) = Message::parse(payload) else {
            self.seen.garbage += u64::from(from_server);
            return;
        };
        let asked = self.by_id.get(&message.id).copied().filter(|index| *index < self.asked.len());
        match asked.filter(|_| message.is_binding_answer()) {
            None => self.seen.garbage += u64::from(from_server),
            Some(_) if message.fingerprint() == Checked::Differs => self.seen.damaged += 1,
            Some(_) if !from_server => {
                self.seen.elsewhere += 1;
                self.seen.elsewhere_from = Some(arrival.from);
            }
            Some(index) => self.note(&message, index, arrival.at),
        }
    }

    fn handle_departure(&mut self, departure: &Departure) {
        let asked = usize::try_from(departure.key.0).ok().and_then(|index| self.asked.get_mut(index));
        if let Some(record) = asked {
            departure.event.note(record, Micros::ZERO);
        }
    }

    fn handle_drops(&mut self, _now: Micros, total: u64) {
        self.seen.drops = total;
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        self.now = self.now.max(now);
        self.finished |= now >= self.end() || self.all_is_answered();
        let index = self.asked.len();
        let intended = self.due(index);
        let id = *self.config.ids.get(index).filter(|_| intended <= now && !self.finished)?;
        write_binding_request(id, payload);
        let to = self.config.server;
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        self.asked.push(TxRecord::planned(number, intended, ip_bytes(to, payload.len())));
        Some(Transmit { to, key: TransmitKey(u64::from(number)), intended, tos: 0, stamp: true })
    }

    fn next_deadline(&self) -> Option<Micros> {
        if self.finished {
            return None;
        }
        let next = self.asked.len();
        Some(if next < self.config.ids.len() { self.due(next).min(self.end()) } else { self.end() })
    }

    fn is_finished(&self) -> bool {
        self.finished
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::machine::DepartureEvent;
    use super::*;

    const SERVER: &str = "192.0.2.1:3478";
    const OTHER: &str = "192.0.2.2:3478";

    fn ms(ms: i64) -> Micros {
        Micros::from_millis(ms)
    }

    fn prober(count: u8) -> Prober {
        Prober::new(ProberConfig {
            server: SERVER.parse().unwrap(),
            ids: (0..count).map(|i| TransactionId([i; 12])).collect(),
            start: ms(5),
            interval: ms(50),
            patience: ms(1_000),
            give_up: ms(3_000),
        })
    }

    /// A success whose XOR-MAPPED-ADDRESS is 198.51.100.1 and this port.
    fn answer(id: TransactionId, port: u16) -> Vec<u8> {
        let mut message = vec![1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42];
        message.extend(id.0);
        message.extend([0, 0x20, 0, 8, 0, 1]);
        message.extend((port ^ 0x2112).to_be_bytes());
        message.extend((0xc633_6401_u32 ^ 0x2112_a442).to_be_bytes());
        message
    }

    fn arrival(from: &str, at: Micros) -> Arrival {
        Arrival { from: from.parse().unwrap(), at, kernel: true, tos: None, ttl: None }
    }

    /// Drives it to its end; `reply` says what comes back of question `i`, from where and how much later.
    fn run(
        prober: &mut Prober,
        mut reply: impl FnMut(u64, TransactionId) -> Vec<(&'static str, i64, Vec<u8>)>,
    ) -> Micros {
        let mut coming: Vec<(Micros, &'static str, Vec<u8>)> = Vec::new();
        let mut payload = Vec::new();
        let mut now = Micros::ZERO;
        while let Some(deadline) = prober.next_deadline() {
            coming.sort_by_key(|(at, ..)| *at);
            if coming.first().is_some_and(|(at, ..)| *at <= deadline) {
                let (at, from, octets) = coming.remove(0);
                now = now.max(at);
                prober.handle_datagram(now, &arrival(from, at), &octets);
            } else {
                now = deadline;
            }
            while let Some(sent) = prober.poll_transmit(now, &mut payload) {
                prober.handle_departure(&Departure { key: sent.key, event: DepartureEvent::Handed(now) });
                let id = Message::parse(&payload).unwrap().id;
                coming.extend(
                    reply(sent.key.0, id)
                        .into_iter()
                        .map(|(from, ms, octets)| (now + Micros::from_millis(ms), from, octets)),
                );
            }
        }
        now
    }

    #[test]
    fn each_question_is_asked_once_and_loss_is_seen() {
        let mut prober = prober(10);
        run(&mut prober, |i, id| if i == 3 { vec![] } else { vec![(SERVER, 20, answer(id, 4_000))] });
        let found = prober.exchanges();
        assert_eq!(
            found.iter().filter(|it| matches!(it, Exchange::Answered { rtt, .. } if *rtt == ms(20))).count(),
            9
        );
        assert_eq!(found[3], Exchange::Lost);
        assert_eq!(prober.seen().mapped, Some("198.51.100.1:4000".parse().unwrap()));
        assert!(!prober.seen().mapped_changed);
    }

    #[test]
    fn a_run_ends_with_the_last_answer() {
        let mut prober = prober(4);
        let ended = run(&mut prober, |_, id| vec![(SERVER, 20, answer(id, 1))]);
        assert_eq!(ended, ms(5 + 150 + 20));
    }

    #[test]
    fn silence_is_given_up_and_asks_no_further() {
        let mut prober = prober(200);
        assert_eq!(run(&mut prober, |_, _| vec![]), ms(3_005));
        assert!(!prober.is_answered());
        let found = prober.exchanges();
        let count = |what| found.iter().filter(|it| **it == what).count();
        // 3 s at 20 a second; those of the last second are still awaited.
        assert_eq!(count(Exchange::Lost) + count(Exchange::Awaited), 60);
        assert_eq!(count(Exchange::NotSent), 140);
    }

    #[test]
    fn what_does_not_count_as_an_answer_is_told() {
        let mut prober = prober(1);
        run(&mut prober, |_, id| {
            let mut damaged = Vec::new();
            write_binding_request(id, &mut damaged);
            damaged[0] = 1;
            vec![
                (OTHER, 1, answer(id, 1)),
                (SERVER, 2, b"garbage".to_vec()),
                (SERVER, 3, answer(TransactionId([9; 12]), 1)),
                (SERVER, 4, damaged),
            ]
        });
        let seen = prober.seen();
        assert!(!prober.is_answered());
        assert_eq!((seen.elsewhere, seen.elsewhere_from), (1, Some(OTHER.parse().unwrap())));
        assert_eq!((seen.garbage, seen.damaged), (2, 1));
    }

    #[test]
    fn copies_and_changed_mappings_are_told() {
        let mut prober = prober(3);
        run(&mut prober, |i, id| {
            let port = if i < 2 { 1_000 } else { 2_000 };
            vec![(SERVER, 5, answer(id, port)), (SERVER, 6, answer(id, port))]
        });
        // The copy of the last answer comes after the end.
        assert_eq!(prober.seen().copies, 2);
        assert!(prober.seen().mapped_changed);
        assert!(
            prober.exchanges().iter().all(|it| matches!(it, Exchange::Answered { rtt, .. } if *rtt == ms(5)))
        );
    }

    #[test]
    fn what_the_kernel_refuses_is_no_loss() {
        let mut prober = prober(1);
        let mut payload = Vec::new();
        let sent = prober.poll_transmit(ms(5), &mut payload).unwrap();
        prober.handle_departure(&Departure { key: sent.key, event: DepartureEvent::Failed(Some(101)) });
        assert_eq!(prober.exchanges(), [Exchange::SendFailed]);
        assert_eq!(prober.refused(), Some(Some(101)));
        assert!(prober.poll_transmit(ms(6), &mut payload).is_none() && prober.is_finished());
    }
}
