//! What a NAT does (RFC 4787), by a STUN server with two addresses and ports (RFC 5780).
//!
//! Several sockets of this computer take part, each known by its number here; whoever drives them hands in what came to which. The tests:
//!
//! | what | by |
//! |---|---|
//! | mapping (RFC 5780 section 4.3) | one socket asks all four pairs of the server's addresses and ports, and whether they see it alike |
//! | filtering (section 4.4) | two fresh sockets ask the server to answer from elsewhere (CHANGE-REQUEST) |
//! | hairpinning (section 4.5) | two sockets ask each other at their public addresses |
//! | lifetime (section 4.6) | fresh sockets stay silent, each for its own time; then another socket has the server answer to theirs (RESPONSE-PORT) |
//!
//! A question is repeated, so that one lost packet says nothing; no more than [`SPACING`] allows, whoever is asked.

mod found;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::units::{DataSize, Micros};

use super::stun::long_term::Writer;
use super::stun::{self, Checked, Class, Message, TransactionId};
use super::window::ip_bytes;

pub use found::{Life, Untold};

/// From packet to packet: 20 a second to a server that did not consent.
pub const SPACING: Micros = Micros::from_millis(50);
/// From one try of a question to the next: the first timeout of RFC 8489 section 6.2.1.
const RETRY: Micros = Micros::from_millis(500);
/// A question asked so often in vain is given up.
const TRIES: u32 = 4;
/// Mappings that are left alone for so many seconds, as far as there is time: what programs that keep them up send by, and what
/// RFC 4787 section 4.3 asks for (120 s).
const SILENCES: [u32; 12] = [5, 10, 15, 20, 25, 30, 45, 60, 90, 120, 180, 300];

const CHANGE_REQUEST: u16 = 0x0003;
const CHANGED_ADDRESS: u16 = 0x0005;
const RESPONSE_PORT: u16 = 0x0027;
const OTHER_ADDRESS: u16 = 0x802C;
const CHANGE_ADDRESS_BIT: u8 = 4;
const CHANGE_PORT_BIT: u8 = 2;

/// The longest SOFTWARE that is kept: 127 characters (RFC 8489 section 14.14).
const LONGEST_SOFTWARE: usize = 127;

/// What a run is told.
#[derive(Debug, Clone)]
pub struct NatConfig {
    /// Whom to ask.
    pub server: SocketAddr,
    /// Another server, to compare with where the first has no other address.
    pub second: Option<SocketAddr>,
    /// Where packets to the server leave from, by address and by the port of [`Socket::Mapping`]. `None`: the system does not tell.
    pub local: Option<SocketAddr>,
    /// When the first question leaves.
    pub start: Micros,
    /// How long mappings may be left alone to see how long they last. `None`: that is not looked at.
    pub lifetime: Option<Micros>,
    /// A number that nobody can guess, from which the transactions are made.
    pub secret: [u8; 16],
}

/// Who of this computer's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Socket {
    /// Asks everybody.
    Mapping,
    /// Asks for an answer from another address and port.
    OtherAddress,
    /// Asks for an answer from another port.
    OtherPort,
    /// Asks its neighbor.
    Neighbor,
    /// Asks after mappings of others.
    Asker,
    /// One that then stays silent, for the silence of this place in the list; the first for none at all.
    Silent(usize),
}

impl NatConfig {
    /// Silences that there is time for, in seconds.
    fn silences(&self) -> impl Iterator<Item = u32> + use<> {
        let most = self.lifetime;
        SILENCES.into_iter().filter(move |s| most.is_some_and(|most| Micros::from_secs((*s).into()) <= most))
    }

    /// The sockets that a run takes, each bound to a port of its own.
    pub fn sockets(&self) -> Vec<Socket> {
        let mut sockets = vec![Socket::Mapping, Socket::OtherAddress, Socket::OtherPort, Socket::Neighbor];
        if self.lifetime.is_some() {
            sockets.push(Socket::Asker);
            sockets.extend((0..=self.silences().count()).map(Socket::Silent));
        }
        sockets
    }
}

/// What a question is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Primary,
    /// The other address, the usual port.
    OtherAddress,
    /// The other address and port.
    OtherBoth,
    /// The usual address, the other port.
    OtherPort,
    Second,
    ChangeBoth,
    ChangePort,
    /// The neighbor's own address.
    Neighbor,
    /// From the first socket to the neighbor's public address, and back.
    ToNeighbor,
    FromNeighbor,
    /// A mapping to be left alone.
    Kept(usize),
    /// The address of who asks after them.
    Asker,
    /// After that mapping.
    After(usize),
}

/// A question and what became of it.
#[derive(Debug)]
struct Question {
    of: Of,
    socket: Socket,
    to: SocketAddr,
    id: TransactionId,
    octets: Vec<u8>,
    /// Not before.
    from: Micros,
    tries: u32,
    first: Micros,
    last: Micros,
    answer: Option<Answer>,
}

/// The first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    from: SocketAddr,
    at: Micros,
    mapped: Option<SocketAddr>,
    error: Option<u16>,
}

/// A packet to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// From which socket.
    pub socket: Socket,
    /// Where to.
    pub to: SocketAddr,
    /// Its octets.
    pub octets: Vec<u8>,
}

/// A run. See the [module](self).
#[derive(Debug)]
pub struct Discovery {
    config: NatConfig,
    questions: Vec<Question>,
    other: Option<SocketAddr>,
    software: Option<String>,
    elsewhere: u64,
    elsewhere_from: Option<SocketAddr>,
    strays: u64,
    garbage: u64,
    /// What the neighbors heard of each other.
    hairpinned: bool,
    last: Option<Micros>,
    now: Micros,
    octets: DataSize,
    numbered: u64,
    finished: bool,
}

impl Discovery {
    /// Waits for [`NatConfig::start`].
    pub fn new(config: NatConfig) -> Self {
        let mut own = Self {
            questions: Vec::new(),
            other: None,
            software: None,
            elsewhere: 0,
            elsewhere_from: None,
            strays: 0,
            garbage: 0,
            hairpinned: false,
            last: None,
            now: config.start,
            octets: DataSize::default(),
            numbered: 0,
            finished: false,
            config,
        };
        own.ask(Of::Primary, Socket::Mapping, own.config.server, own.config.start);
        if let Some(second) = own.config.second {
            own.ask(Of::Second, Socket::Mapping, second, own.config.start);
        }
        own
    }

    /// Whether there is nothing left to do.
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether the server answered at all.
    pub fn is_answered(&self) -> bool {
        self.answer(Of::Primary).is_some()
    }

    /// Bytes sent and received at the IP layer.
    pub const fn bytes(&self) -> DataSize {
        self.octets
    }

    /// What the server calls itself.
    pub fn software(&self) -> Option<&str> {
        self.software.as_deref()
    }

    /// Its other address.
    pub const fn other_address(&self) -> Option<SocketAddr> {
        self.other
    }

    /// Answers from other addresses than those asked, and where the last came from.
    pub const fn elsewhere(&self) -> (u64, Option<SocketAddr>) {
        (self.elsewhere, self.elsewhere_from)
    }

    /// STUN that answers no question of this run, and what is no STUN.
    pub const fn strays(&self) -> (u64, u64) {
        (self.strays, self.garbage)
    }

    /// The next packet that is due; it counts as sent at `now`.
    pub fn next(&mut self, now: Micros) -> Option<Outgoing> {
        self.now = self.now.max(now);
        self.go_on();
        if self.last.is_some_and(|last| now - last < SPACING) {
            return None;
        }
        let due = self.questions.iter_mut().find(|question| {
            let again = question.tries == 0 || now - question.last >= RETRY;
            question.answer.is_none() && question.tries < TRIES && again && question.from <= now
        })?;
        if due.tries == 0 {
            due.first = now;
        }
        due.tries += 1;
        due.last = now;
        self.last = Some(now);
        self.octets += DataSize::from_bytes(ip_bytes(due.to, due.octets.len()).into());
        Some(Outgoing { socket: due.socket, to: due.to, octets: due.octets.clone() })
    }

    /// When [`Discovery::next`] is to be asked again at the latest.
    pub fn next_deadline(&self) -> Micros {
        let spaced = self.last.map_or(self.config.start, |last| last + SPACING);
        let open = self.questions.iter().filter(|question| question.answer.is_none());
        let due = open.filter_map(|question| match question.tries {
            0 => Some(question.from),
            TRIES.. => (!self.is_settled(question)).then_some(question.last + RETRY),
            _ => Some(question.last + RETRY),
        });
        due.min().map_or(spaced, |due| due.max(spaced))
    }

    /// Takes what came to one of the sockets.
    pub fn take(&mut self, now: Micros, socket: Socket, from: SocketAddr, payload: &[u8]) {
        self.now = self.now.max(now);
        self.octets += DataSize::from_bytes(ip_bytes(from, payload.len()).into());
        let Ok(message) = Message::parse(payload) else {
            self.garbage += 1;
            return;
        };
        if message.class == Class::Request {
            let whole = message.fingerprint() == Checked::Fits;
            let heard = self.neighbors(message.id).is_some_and(|asker| asker != socket);
            self.hairpinned |= whole && heard;
            self.strays += u64::from(!heard);
            return;
        }
        let position = self.questions.iter().position(|question| question.id == message.id);
        let fits = message.is_binding_answer() && message.fingerprint() != Checked::Differs;
        let Some(position) = position.filter(|_| fits) else {
            self.strays += 1;
            return;
        };
        self.answered(position, now, socket, from, &message);
    }

    /// Who of the neighbors asked this.
    fn neighbors(&self, id: TransactionId) -> Option<Socket> {
        let those = |of| matches!(of, Of::ToNeighbor | Of::FromNeighbor);
        self.questions.iter().find(|question| question.id == id && those(question.of)).map(|it| it.socket)
    }

    fn answered(
        &mut self,
        position: usize,
        now: Micros,
        socket: Socket,
        from: SocketAddr,
        message: &Message<'_>,
    ) {
        let Some(question) = self.questions.get_mut(position).filter(|question| question.tries > 0) else {
            return;
        };
        // The server is asked to answer from elsewhere, or to another socket; where it does not, that tells as much.
        let (anywhere, to) = match question.of {
            Of::ChangeBoth | Of::ChangePort => (true, question.socket),
            Of::After(number) => (false, Socket::Silent(number)),
            _ => (false, question.socket),
        };
        // One that answers whom it was to answer in the place of does not know how to.
        let ignored = matches!(question.of, Of::After(_)) && socket == question.socket;
        let is_error = message.class == Class::Error || ignored;
        if (from != question.to && !anywhere) || (socket != to && !is_error) {
            self.elsewhere += 1;
            self.elsewhere_from = Some(from);
            return;
        }
        if question.answer.is_none() {
            let mapped = (!is_error).then(|| message.mapped_address()).flatten();
            let error = is_error.then(|| message.error_code().unwrap_or(0));
            question.answer = Some(Answer { from, at: now, mapped, error });
        }
        if question.of == Of::Primary {
            self.introduced(message);
        }
    }

    /// What the server says of itself.
    fn introduced(&mut self, message: &Message<'_>) {
        let cut = |name: &str| name.chars().take(LONGEST_SOFTWARE).collect();
        self.software = self.software.take().or_else(|| message.software().map(cut));
        let told = message.plain_address(OTHER_ADDRESS).or_else(|| message.plain_address(CHANGED_ADDRESS));
        let server = self.config.server;
        // Both have to differ, or nothing could be told by it; and nobody is sent to where no server can be.
        let other = told.filter(|other| {
            other.ip() != server.ip()
                && other.port() != server.port()
                && may_be_asked(server.ip(), other.ip())
        });
        self.other = self.other.or(other.filter(|other| other.port() != 0));
    }

    fn ask(&mut self, of: Of, socket: Socket, to: SocketAddr, from: Micros) {
        self.ask_with(of, socket, to, from, |_| {});
    }

    fn ask_with(
        &mut self,
        of: Of,
        socket: Socket,
        to: SocketAddr,
        from: Micros,
        with: impl FnOnce(&mut Writer),
    ) {
        let id = self.transaction();
        let mut writer = Writer::request(stun::BINDING, id);
        with(&mut writer);
        let octets = writer.finish();
        let question =
            Question { of, socket, to, id, octets, from, tries: 0, first: from, last: from, answer: None };
        self.questions.push(question);
    }

    /// A transaction that nobody can guess: a keyed hash of its number.
    fn transaction(&mut self) -> TransactionId {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.config.secret);
        let tag = ring::hmac::sign(&key, &self.numbered.to_be_bytes());
        self.numbered += 1;
        let mut id = [0; 12];
        id.iter_mut().zip(tag.as_ref()).for_each(|(own, octet)| *own = *octet);
        TransactionId(id)
    }

    fn question(&self, of: Of) -> Option<&Question> {
        self.questions.iter().find(|question| question.of == of)
    }

    fn answer(&self, of: Of) -> Option<Answer> {
        self.question(of)?.answer
    }

    fn mapped(&self, of: Of) -> Option<SocketAddr> {
        self.answer(of)?.mapped
    }

    /// Whether it is answered or given up.
    fn is_settled(&self, question: &Question) -> bool {
        let over = question.tries >= TRIES && self.now - question.last >= RETRY;
        question.answer.is_some() || over
    }

    /// Adds what the answers so far allow to be asked, and sees whether that was all.
    fn go_on(&mut self) {
        if self.is_answered() && self.question(Of::Neighbor).is_none() {
            self.ask_all();
        }
        // A server that lies must not have this program send to where no NAT can be.
        let server = self.config.server.ip();
        let sendable = |mapped: &SocketAddr| mapped.port() != 0 && may_be_asked(server, mapped.ip());
        let (own, neighbor) =
            (self.mapped(Of::Primary).filter(sendable), self.mapped(Of::Neighbor).filter(sendable));
        if let (Some(own), Some(neighbor), Some(true)) = (own, neighbor, self.is_nat())
            && self.question(Of::ToNeighbor).is_none()
        {
            self.ask(Of::ToNeighbor, Socket::Mapping, neighbor, self.now);
            self.ask(Of::FromNeighbor, Socket::Neighbor, own, self.now);
        }
        self.look_after();
        let heard = self.hairpinned;
        let done = |question: &Question| {
            let hairpin = matches!(question.of, Of::ToNeighbor | Of::FromNeighbor);
            self.is_settled(question) || (hairpin && heard)
        };
        self.finished = self.questions.iter().all(done);
    }

    /// Everything that takes no more than the server's first answer.
    fn ask_all(&mut self) {
        let (server, now) = (self.config.server, self.now);
        self.ask(Of::Neighbor, Socket::Neighbor, server, now);
        if let Some(other) = self.other {
            let changed = |bits: u8| move |writer: &mut Writer| writer.add(CHANGE_REQUEST, &[0, 0, 0, bits]);
            self.ask_with(
                Of::ChangeBoth,
                Socket::OtherAddress,
                server,
                now,
                changed(CHANGE_ADDRESS_BIT | CHANGE_PORT_BIT),
            );
            self.ask_with(Of::ChangePort, Socket::OtherPort, server, now, changed(CHANGE_PORT_BIT));
            let at = |ip, port| SocketAddr::new(ip, port);
            self.ask(Of::OtherAddress, Socket::Mapping, at(other.ip(), server.port()), now);
            self.ask(Of::OtherBoth, Socket::Mapping, other, now);
            self.ask(Of::OtherPort, Socket::Mapping, at(server.ip(), other.port()), now);
        }
        if self.config.lifetime.is_some() && self.is_nat() == Some(true) {
            self.ask(Of::Asker, Socket::Asker, server, now);
            for number in 0..=self.config.silences().count() {
                self.ask(Of::Kept(number), Socket::Silent(number), server, now);
            }
        }
    }

    /// Asks after each mapping once its silence is over; the first, after none, shows whether the server can.
    fn look_after(&mut self) {
        let Some(asker) = self.mapped(Of::Asker) else { return };
        let silences: Vec<u32> = std::iter::once(0).chain(self.config.silences()).collect();
        for (number, silence) in silences.into_iter().enumerate() {
            let Some(kept) = self.answer(Of::Kept(number)) else { continue };
            let reachable = number == 0 || self.mapped_was_reached(0);
            if self.question(Of::After(number)).is_some() || !reachable {
                continue;
            }
            // The server answers to the address that the question comes from.
            if let Some(mapped) = kept.mapped.filter(|mapped| mapped.ip() == asker.ip()) {
                let [high, low] = mapped.port().to_be_bytes();
                let from = kept.at + Micros::from_secs(silence.into());
                self.ask_with(Of::After(number), Socket::Asker, self.config.server, from, |writer| {
                    writer.add(RESPONSE_PORT, &[high, low, 0, 0]);
                });
            }
        }
    }

    fn mapped_was_reached(&self, number: usize) -> bool {
        self.answer(Of::After(number)).is_some_and(|answer| answer.error.is_none())
    }

    /// Whether what the server sees is not what leaves here. `None`: nobody knows.
    pub fn is_nat(&self) -> Option<bool> {
        Some(self.mapped(Of::Primary)? != self.config.local?)
    }

    /// What came of the questions that are to be answered whatever the NAT does.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let plain = |of| {
            !matches!(of, Of::ChangeBoth | Of::ChangePort | Of::ToNeighbor | Of::FromNeighbor | Of::After(_))
        };
        let one = |question: &Question| match question.answer {
            Some(answer) if question.tries == 1 => {
                Exchange::Answered { at: answer.at, rtt: answer.at - question.first }
            }
            // Of several tries nobody knows which one was answered (Karn): the last one at the earliest.
            Some(answer) => Exchange::Answered { at: answer.at, rtt: answer.at - question.last },
            None if question.tries == 0 => Exchange::NotSent,
            None if self.is_settled(question) => Exchange::Lost,
            None => Exchange::Awaited,
        };
        self.questions.iter().filter(|question| plain(question.of)).map(one).collect()
    }
}

/// Whether a server at `server` may send this program on to `other`: one host of a network, of the same reach as its own.
fn may_be_asked(server: IpAddr, other: IpAddr) -> bool {
    match (server, other) {
        (IpAddr::V4(server), IpAddr::V4(other)) => {
            let odd = other.is_unspecified() || other.is_multicast() || other.is_broadcast();
            let near = other.is_private() || other.is_link_local();
            let server_near = server.is_private() || server.is_link_local();
            !odd && other.is_loopback() == server.is_loopback()
                && (!near || server_near || server.is_loopback())
        }
        (IpAddr::V6(server), IpAddr::V6(other)) => {
            let odd = other.is_unspecified() || other.is_multicast();
            let near = other.is_unique_local() || other.is_unicast_link_local();
            let server_near = server.is_unique_local() || server.is_unicast_link_local();
            !odd && other.is_loopback() == server.is_loopback() && (!near || server_near)
        }
        _ => false,
    }
}
