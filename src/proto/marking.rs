//! What becomes of marks on packets (DSCP, RFC 2474; ECN, RFC 3168): packets of several marks in turns, and with which marks they and their
//! answers came.
//!
//! A reflector with class of service (RFC 8972 section 4.4) tells the mark that a packet came with and answers with the DSCP that it is asked
//! for, so that each way is seen on its own. With which ECN it answers nobody has laid down; Greenroom's own does what
//! [`TlvKind::REPLY_ECN`] asks for.

use std::net::SocketAddr;

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::MarkField;

use super::asking::{Asker, AskerConfig, Heard, Questions};
use super::icmp::Echo;
use super::machine::Arrival;
use super::stamp::{
    ClassOfService, ErrorEstimate, Mode, ReflectorPacket, SenderPacket, Timestamp, TimestampFormat, TlvKind,
    TlvWriter, Tlvs,
};
use greenroom_reports::units::Micros;

/// Marks that one packet has: the TOS or traffic-class octet on each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// On the way there.
    pub up: u8,
    /// What the answer is asked to have.
    pub down: u8,
}

impl Marks {
    /// None at all.
    pub const NONE: Self = Self { up: 0, down: 0 };
}

/// The marks of a kind that are looked at: of DSCP those of sound and picture (RFC 8837), of ECN all.
pub const fn looked_at(field: MarkField) -> &'static [u8] {
    match field {
        MarkField::Dscp => &[46, 34],
        MarkField::Ecn => &[2, 1, 3],
    }
}

/// The TOS octet with a mark of a kind and nothing else.
pub const fn tos(field: MarkField, value: u8) -> u8 {
    match field {
        MarkField::Dscp => value << 2,
        MarkField::Ecn => value & 3,
    }
}

/// All that packets of a run have in turns: nothing first, then each mark upward and, where that can be asked for, downward.
pub fn turns(field: MarkField, both: bool) -> Vec<Marks> {
    let mut turns = vec![Marks::NONE];
    for value in looked_at(field) {
        let mark = tos(field, *value);
        turns.push(Marks { up: mark, down: 0 });
        turns.extend(both.then_some(Marks { up: 0, down: mark }));
    }
    turns
}

/// What an answer says about marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// The TOS octet with which the packet came there.
    pub there: Option<u8>,
    /// Whether the answer left with the DSCP asked for.
    pub dscp: bool,
    /// Whether it left with the ECN asked for.
    pub ecn: bool,
}

/// Questions whose answers may say something about marks.
pub trait Reflected: Questions {
    /// Before a question is written: what its answer is to have.
    fn ask_for(&mut self, marks: Marks);

    /// What an answer says.
    fn told(&self, payload: &[u8]) -> Told;
}

impl Reflected for Echo {
    fn ask_for(&mut self, _: Marks) {}

    fn told(&self, _: &[u8]) -> Told {
        Told::default()
    }
}

/// Packets to a STAMP reflector, with class of service or, for those that only know RFC 8762, without.
#[derive(Debug)]
pub struct Stamp {
    count: u32,
    extended: bool,
    /// Nobody who has not seen a packet can answer it.
    token: [u8; 8],
    marks: Marks,
}

impl Stamp {
    /// So many packets of a run that `token` names.
    pub const fn new(count: u32, extended: bool, token: [u8; 8]) -> Self {
        Self { count, extended, token, marks: Marks::NONE }
    }
}

/// UDP payload of packets with extensions, as long as audio's.
const PAYLOAD: usize = 172;

impl Questions for Stamp {
    fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    fn write(&mut self, index: usize, payload: &mut Vec<u8>) {
        let packet = SenderPacket {
            seq: u32::try_from(index).unwrap_or(u32::MAX),
            // No time is of interest: what the reflector copies names the run.
            timestamp: Timestamp::from_be_bytes(self.token),
            error: ErrorEstimate::free_running(Micros::from_millis(1), TimestampFormat::Ntp),
            ssid: 0,
        };
        packet.write(Mode::Open, payload);
        if self.extended {
            let mut tlvs = TlvWriter::new(payload);
            tlvs.class_of_service(ClassOfService::request(self.marks.down >> 2));
            tlvs.raw(TlvKind::REPLY_ECN, &[self.marks.down & 3, 0, 0, 0]);
            tlvs.pad_to(PAYLOAD);
        }
    }

    fn read(&self, payload: &[u8], asked: usize) -> Heard {
        let Ok((reply, _)) = ReflectorPacket::parse(Mode::Open, payload) else { return Heard::Garbage };
        let index = usize::try_from(reply.sender_seq).unwrap_or(usize::MAX);
        let ours = reply.sender_timestamp == Timestamp::from_be_bytes(self.token);
        if ours && index < asked { Heard::Answer(index) } else { Heard::Stranger }
    }

    fn note(&mut self, _: usize, _: &[u8]) {}
}

impl Reflected for Stamp {
    fn ask_for(&mut self, marks: Marks) {
        self.marks = marks;
    }

    fn told(&self, payload: &[u8]) -> Told {
        let mut told = Told::default();
        let Ok((_, tlvs)) = ReflectorPacket::parse(Mode::Open, payload) else { return told };
        if !self.extended {
            return told;
        }
        let understood = Tlvs::new(tlvs)
            .map_while(Result::ok)
            .filter(|tlv| !tlv.flags.unrecognized && !tlv.flags.malformed && !tlv.flags.integrity);
        for tlv in understood {
            match tlv.kind {
                TlvKind::CLASS_OF_SERVICE => {
                    let found = ClassOfService::parse(tlv.value);
                    told.there = found.map(ClassOfService::received_tos);
                    told.dscp = found.is_some_and(|found| found.reverse_path == 0);
                }
                TlvKind::REPLY_ECN => told.ecn = true,
                _ => {}
            }
        }
        told
    }
}

/// What came back of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Back {
    /// What the answer said.
    pub told: Told,
    /// The TOS octet that it came with, where this system tells.
    pub came: Option<u8>,
}

/// Questions that have marks in turns.
#[derive(Debug)]
pub struct Marked<Q> {
    questions: Q,
    turns: Vec<Marks>,
    back: Vec<Option<Back>>,
    /// The mark of the answer that is being taken.
    came: Option<u8>,
}

impl<Q: Reflected> Marked<Q> {
    /// These questions with these marks in turns. `turns` without any: none are marked.
    pub fn new(questions: Q, turns: Vec<Marks>) -> Self {
        let count = questions.count();
        Self { questions, turns, back: vec![None; count], came: None }
    }

    fn marks(&self, index: usize) -> Marks {
        let turn = index.checked_rem(self.turns.len());
        turn.and_then(|turn| self.turns.get(turn)).copied().unwrap_or(Marks::NONE)
    }
}

impl<Q: Reflected> Questions for Marked<Q> {
    fn count(&self) -> usize {
        self.questions.count()
    }

    fn write(&mut self, index: usize, payload: &mut Vec<u8>) {
        self.questions.ask_for(self.marks(index));
        self.questions.write(index, payload);
    }

    fn read(&self, payload: &[u8], asked: usize) -> Heard {
        self.questions.read(payload, asked)
    }

    fn note(&mut self, index: usize, payload: &[u8]) {
        let back = Back { told: self.questions.told(payload), came: self.came };
        if let Some(place) = self.back.get_mut(index) {
            *place = Some(back);
        }
    }

    fn is_from(&self, server: SocketAddr, from: SocketAddr) -> bool {
        self.questions.is_from(server, from)
    }

    fn ip_bytes(&self, server: SocketAddr, payload: &[u8]) -> u16 {
        self.questions.ip_bytes(server, payload)
    }

    fn tos(&self, index: usize) -> u8 {
        self.marks(index).up
    }

    fn arrived(&mut self, arrival: &Arrival) {
        self.came = arrival.tos;
    }
}

/// Asks one host with marks in turns.
pub type Prober<Q> = Asker<Marked<Q>>;

/// What asks one host.
pub fn prober<Q: Reflected>(config: AskerConfig, questions: Q, turns: Vec<Marks>) -> Prober<Q> {
    Asker::new(config, Marked::new(questions, turns))
}

/// What came of the packets that had these marks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turn {
    /// Each packet's fate, in order.
    pub exchanges: Vec<Exchange>,
    /// What came back.
    pub back: Vec<Back>,
}

impl<Q: Reflected> Prober<Q> {
    /// What came of the packets that had these marks.
    pub fn turn(&self, marks: Marks) -> Turn {
        let questions = self.questions();
        let those = (0..questions.count()).filter(|index| questions.marks(*index) == marks);
        let mut turn = Turn::default();
        for index in those {
            turn.exchanges.push(self.exchange(index));
            turn.back.extend(questions.back.get(index).copied().flatten());
        }
        turn
    }

    /// Whether any answer told the mark with which its packet came.
    pub fn tells(&self) -> bool {
        self.questions().back.iter().flatten().any(|back| back.told.there.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::{Departure, DepartureEvent, Machine as _};
    use super::super::reflector::OpenStamp;
    use super::super::testlink::{CLIENT, ENDPOINT, addr, reflector};
    use super::*;

    const EF: u8 = 46 << 2;

    fn config() -> AskerConfig {
        AskerConfig {
            server: addr(ENDPOINT),
            start: Micros::ZERO,
            interval: Micros::from_millis(20),
            patience: Micros::from_millis(500),
            give_up: Micros::from_secs(1),
        }
    }

    /// Runs against a reflector of Greenroom's over a link that does this to marks; `None` loses the packet.
    fn run(
        field: MarkField,
        extended: bool,
        up: fn(u8) -> Option<u8>,
        down: fn(u8) -> Option<u8>,
    ) -> Prober<Stamp> {
        let mut prober = prober(config(), Stamp::new(70, extended, [7; 8]), turns(field, true));
        let mut target = reflector(OpenStamp::Stateless);
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        while let Some(now) = prober.next_deadline() {
            let Some(sent) = prober.poll_transmit(now, &mut request) else { continue };
            prober.handle_departure(&Departure { key: sent.key, event: DepartureEvent::Handed(now) });
            let Some(tos) = up(sent.tos) else { continue };
            let mut arrival =
                Arrival { from: addr(CLIENT), at: now, kernel: true, tos: Some(tos), ttl: Some(60) };
            target.handle_datagram(now, &arrival, &request);
            let answer = target.poll_transmit(now, &mut reply).expect("an answer");
            assert!(reply.len() <= request.len());
            arrival = Arrival { from: addr(ENDPOINT), tos: down(answer.tos), ..arrival };
            if arrival.tos.is_some() {
                prober.handle_datagram(now, &arrival, &reply);
            }
        }
        prober
    }

    fn there(turn: &Turn) -> Vec<u8> {
        let mut all: Vec<u8> = turn.back.iter().filter_map(|back| back.told.there).collect();
        all.dedup();
        all
    }

    fn came(turn: &Turn) -> Vec<u8> {
        let mut all: Vec<u8> = turn.back.iter().filter_map(|back| back.came).collect();
        all.dedup();
        all
    }

    #[test]
    fn a_clean_way_keeps_marks_each_way() {
        for field in [MarkField::Dscp, MarkField::Ecn] {
            let prober = run(field, true, Some, Some);
            for value in looked_at(field) {
                let mark = tos(field, *value);
                let up = prober.turn(Marks { up: mark, down: 0 });
                assert_eq!((there(&up), came(&up)), (vec![mark], vec![0]), "{value}");
                let down = prober.turn(Marks { up: 0, down: mark });
                assert_eq!((there(&down), came(&down)), (vec![0], vec![mark]), "{value}");
                assert!(down.back.iter().all(|back| back.told.dscp && back.told.ecn));
            }
            assert!(prober.tells());
        }
    }

    #[test]
    fn each_way_shows_on_its_own() {
        let bleached = |tos: u8| Some(tos & 3);
        let prober = run(MarkField::Dscp, true, bleached, Some);
        assert_eq!(there(&prober.turn(Marks { up: EF, down: 0 })), [0]);
        assert_eq!(came(&prober.turn(Marks { up: 0, down: EF })), [EF]);
        let dropped = |tos: u8| (tos != EF).then_some(tos);
        let prober = run(MarkField::Dscp, true, Some, dropped);
        assert!(prober.turn(Marks { up: 0, down: EF }).back.is_empty());
        assert_eq!(prober.turn(Marks { up: EF, down: 0 }).back.len(), 14);
        assert!(prober.turn(Marks { up: 0, down: EF }).exchanges.iter().all(|it| *it == Exchange::Lost));
    }

    #[test]
    fn a_reflector_that_knows_no_extensions_tells_nothing() {
        let prober = run(MarkField::Dscp, false, Some, Some);
        assert!(!prober.tells());
        let turn = prober.turn(Marks { up: EF, down: 0 });
        assert_eq!((turn.back.len(), there(&turn)), (14, Vec::new()));
    }

    #[test]
    fn what_nobody_was_asked_is_no_answer() {
        let mut stamp = Stamp::new(3, true, [7; 8]);
        let mut payload = Vec::new();
        stamp.write(1, &mut payload);
        assert_eq!(payload.len(), PAYLOAD);
        assert_eq!(stamp.read(&payload, 3), Heard::Stranger, "its own packet");
        for length in 0..44 {
            assert_eq!(stamp.read(&payload[..length], 3), Heard::Garbage, "{length}");
        }
    }
}
