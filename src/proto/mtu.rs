//! The largest packet that gets to a host in one piece, searched for with packets that nobody may cut up (RFC 8899; RFC 1191, RFC 8201).
//!
//! A size is confirmed by an answer. What a router says ("packet too big") is heeded: no more than it says is tried. A size of which
//! three probes come to nothing without a word is one that vanishes: where smaller ones get through, that is a black hole (RFC 2923).

use std::net::IpAddr;

use greenroom_reports::units::Micros;

use super::icmp::checksum;
use super::path::{Answer, Kind, Said};
use super::stamp::{
    ErrorEstimate, Mode, ReflectorPacket, SenderPacket, Timestamp, TimestampFormat, TlvWriter,
};

/// The size that is tried first (RFC 8899 section 5.1.2, BASE_PLPMTU), in octets of the IP packet.
pub const BASE: u16 = 1_200;
/// Tried where that does not get through: hardly more than headers.
const LEAST: u16 = 128;
/// Probes of a size before it counts as one that does not get through (RFC 8899 section 5.1.2, MAX_PROBES).
const TRIES: u8 = 3;
/// From probe to probe of one size.
const SPACING: Micros = Micros::from_millis(100);
/// The same where answers are errors, of which Linux sends one a second (icmp_ratelimit).
const ERROR_SPACING: Micros = Micros::from_secs(1);
/// So long an answer is waited for before any round trip is known, and at least.
const UNKNOWN_ROUND_TRIP: Micros = Micros::from_secs(1);
const LEAST_WAIT: Micros = Micros::from_millis(500);
const MOST_WAIT: Micros = Micros::from_secs(3);
/// Octets that name a probe: token, size, number.
const NAME: usize = 12;
/// Octets of the header of UDP and of an echo message.
const HEADER: u16 = 8;

/// How sizes are confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// By echo replies, or by the errors of a closed port.
    Host(Kind),
    /// By a STAMP reflector, which answers in the same size (RFC 8762 section 4.3).
    Reflector,
}

/// A probe to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizedProbe {
    /// Octets of its IP packet.
    pub size: u16,
    /// Its octets behind the IP header: an echo message, or behind the UDP header: a payload.
    pub octets: Vec<u8>,
}

/// What was said about a size that does not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooBig {
    /// The largest packet that goes on from there.
    pub mtu: u32,
    /// Who said so.
    pub from: IpAddr,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    size: u16,
    at: Micros,
}

/// Searches for the largest packet.
#[derive(Debug)]
pub struct Search {
    destination: IpAddr,
    by: By,
    token: [u8; 6],
    sent: Vec<Sent>,
    /// The largest size that was answered.
    carried: Option<u16>,
    /// No more than this can be: this computer's link, or what a router said.
    ceiling: u16,
    /// A size worth trying at once: that of the link, or what a router said.
    hint: Option<u16>,
    /// Sizes of which all probes came to nothing without a word.
    failed: Vec<u16>,
    /// The size that is being tried, how often it was, and when last.
    size: u16,
    tries: u8,
    last: Micros,
    round_trip: Option<Micros>,
    too_big: Option<TooBig>,
    finished: bool,
}

impl Search {
    /// Searches up to `link`, which is what this computer's own link carries. `token` is random: who cannot see the probes cannot answer
    /// them.
    pub fn new(destination: IpAddr, by: By, link: u16, token: [u8; 6]) -> Self {
        let ceiling = link.max(LEAST);
        Self {
            destination,
            by,
            token,
            sent: Vec::new(),
            carried: None,
            ceiling,
            hint: Some(ceiling),
            failed: Vec::new(),
            size: BASE.min(ceiling),
            tries: 0,
            last: Micros::ZERO,
            round_trip: None,
            too_big: None,
            finished: false,
        }
    }

    /// The largest packet that got there, in octets at the IP layer.
    pub const fn carried(&self) -> Option<u16> {
        self.carried
    }

    /// The largest size that may still get there: that of [`Search::carried`] when the search came to its end.
    pub fn at_most(&self) -> u16 {
        let failed = self.failed.iter().min().map_or(u16::MAX, |least| least - 1);
        failed.min(self.ceiling)
    }

    /// What a router said last.
    pub const fn too_big(&self) -> Option<TooBig> {
        self.too_big
    }

    /// The least size that vanished without a word, beyond those that got there.
    pub fn vanished(&self) -> Option<u16> {
        let least = self.failed.iter().copied().min()?;
        let beyond = self.carried.is_some_and(|carried| least > carried);
        (beyond && least <= self.ceiling).then_some(least)
    }

    /// Whether nothing more is to be found.
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Probes that were sent.
    pub const fn count(&self) -> usize {
        self.sent.len()
    }

    /// Their octets at the IP layer.
    pub fn octets_sent(&self) -> u64 {
        self.sent.iter().map(|sent| u64::from(sent.size)).sum()
    }

    /// The octets of headers between an IP packet and what a probe writes.
    const fn overhead(&self) -> u16 {
        let ip = if self.destination.is_ipv4() { 20 } else { 40 };
        if self.is_echo() { ip } else { ip + HEADER }
    }

    const fn is_echo(&self) -> bool {
        matches!(self.by, By::Host(Kind::Echo { .. }))
    }

    const fn spacing(&self) -> Micros {
        match self.by {
            By::Host(Kind::Datagrams) => ERROR_SPACING,
            _ => SPACING,
        }
    }

    fn wait(&self) -> Micros {
        let known = self.round_trip.map(|trip| (trip * 3).clamp(LEAST_WAIT, MOST_WAIT));
        known.unwrap_or(UNKNOWN_ROUND_TRIP)
    }

    /// The next probe, if one is due; it counts as sent at `now`.
    pub fn next(&mut self, now: Micros) -> Option<SizedProbe> {
        if self.tries >= TRIES && now - self.last >= self.wait() {
            self.silent();
        }
        let due = self.tries == 0 || (self.tries < TRIES && now - self.last >= self.spacing());
        if self.finished || !due {
            return None;
        }
        let number = u32::try_from(self.sent.len()).unwrap_or(u32::MAX);
        self.sent.push(Sent { size: self.size, at: now });
        self.tries += 1;
        self.last = now;
        Some(SizedProbe { size: self.size, octets: self.octets(number) })
    }

    /// This computer does not send a packet of the size that was asked for last: its own link is smaller than it says.
    pub fn refused_here(&mut self) {
        self.ceiling = self.ceiling.min(self.size.saturating_sub(1));
        self.hint = None;
        self.choose();
    }

    /// Takes what came back.
    pub fn take(&mut self, answer: &Answer<'_>) {
        match answer.said {
            Said::TooBig(mtu) => self.told(mtu, answer),
            Said::Reply | Said::Data | Said::PortUnreachable => self.confirm(answer),
            Said::Expired | Said::Unreachable(_) => {}
        }
    }

    fn confirm(&mut self, answer: &Answer<'_>) {
        let Some(sent) = self.meant(answer) else { return };
        if answer.from != self.destination || answer.at < sent.at {
            return;
        }
        self.round_trip = Some(answer.at - sent.at);
        if self.carried.is_none_or(|carried| sent.size > carried) {
            self.carried = Some(sent.size);
            // What was held for vanished got there after all.
            self.failed.retain(|failed| *failed > sent.size);
            self.finished = false;
            self.choose();
        }
    }

    /// A router says how much goes on from it: anything between what got there and what was tried can be true (RFC 8899 section 4.6.2).
    fn told(&mut self, mtu: u32, answer: &Answer<'_>) {
        // Which probe is meant matters little: the kernel only hands over what is about this socket.
        let carried = self.carried.unwrap_or(0);
        let Some(mtu) = u16::try_from(mtu).ok().filter(|mtu| *mtu >= LEAST.max(carried)) else { return };
        if mtu < self.ceiling && self.sent.iter().any(|sent| sent.size > mtu) {
            self.too_big = Some(TooBig { mtu: u32::from(mtu), from: answer.from });
            (self.ceiling, self.hint) = (mtu, Some(mtu));
            self.choose();
        }
    }

    /// All tries of a size came to nothing.
    fn silent(&mut self) {
        self.failed.push(self.size);
        self.choose();
    }

    /// What to try next: the base, then the most that may be, then the middle of what is open.
    fn choose(&mut self) {
        self.tries = 0;
        let most = self.at_most();
        let hint = self.hint.filter(|hint| *hint == most && !self.sent.iter().any(|sent| sent.size == most));
        let next = match (self.carried, hint) {
            (Some(carried), _) if most <= carried => None,
            (Some(_), Some(hint)) => Some(hint),
            (Some(carried), None) => Some(carried + (most - carried).div_ceil(2)),
            // Less than the base, by a router's word; else hardly more than headers.
            (None, Some(hint)) if hint < BASE => Some(hint),
            (None, _) => (self.size > LEAST).then_some(LEAST),
        };
        self.finished = next.is_none();
        self.size = next.unwrap_or(self.size);
    }

    fn octets(&self, number: u32) -> Vec<u8> {
        let length = usize::from(self.size.saturating_sub(self.overhead()));
        let mut octets = Vec::with_capacity(length);
        match self.by {
            By::Host(kind) => {
                if let Kind::Echo { identifier, .. } = kind {
                    octets.extend([if self.destination.is_ipv4() { 8 } else { 128 }, 0, 0, 0]);
                    octets.extend(identifier.to_be_bytes());
                    let [.., high, low] = number.to_be_bytes();
                    octets.extend([high, low]);
                }
                octets.extend(self.token);
                octets.extend(self.size.to_be_bytes());
                octets.extend(number.to_be_bytes());
                octets.resize(length, 0);
                if self.is_echo() && self.destination.is_ipv4() {
                    let sum = checksum(&octets).to_be_bytes();
                    octets.get_mut(2..4).into_iter().for_each(|field| field.copy_from_slice(&sum));
                }
            }
            By::Reflector => {
                let packet = SenderPacket {
                    seq: number,
                    timestamp: self.stamp(),
                    error: ErrorEstimate::free_running(Micros::from_millis(1), TimestampFormat::Ntp),
                    ssid: 0,
                };
                packet.write(Mode::Open, &mut octets);
                TlvWriter::new(&mut octets).pad_to(length);
            }
        }
        octets
    }

    /// No time is of interest: what the reflector copies names the run.
    const fn stamp(&self) -> Timestamp {
        let [t0, t1, t2, t3, t4, t5] = self.token;
        Timestamp::from_be_bytes([t0, t1, t2, t3, t4, t5, 0, 0])
    }

    /// Which probe an answer means.
    fn meant(&self, answer: &Answer<'_>) -> Option<Sent> {
        let whole =
            |sent: Sent| usize::from(sent.size.saturating_sub(self.overhead())) == answer.quoted.len();
        match (self.by, answer.said) {
            (By::Reflector, Said::Data) => {
                let (reply, _) = ReflectorPacket::parse(Mode::Open, answer.quoted).ok()?;
                let sent = self.numbered(reply.sender_seq)?;
                (reply.sender_timestamp == self.stamp() && whole(sent)).then_some(sent)
            }
            (By::Host(Kind::Echo { .. }), Said::Reply) => {
                let named = answer.quoted.get(usize::from(HEADER)..)?;
                self.named(named).filter(|sent| whole(*sent))
            }
            // An error quotes as much as it likes.
            (By::Host(Kind::Datagrams), Said::PortUnreachable) => match answer.quoted.len() {
                0..NAME => self.sent.last().copied().filter(|_| self.tries > 0),
                _ => self.named(answer.quoted),
            },
            _ => None,
        }
    }

    fn named(&self, octets: &[u8]) -> Option<Sent> {
        let [t0, t1, t2, t3, t4, t5, s0, s1, n0, n1, n2, n3] = *octets.first_chunk::<NAME>()?;
        let sent = self.numbered(u32::from_be_bytes([n0, n1, n2, n3]))?;
        let genuine = [t0, t1, t2, t3, t4, t5] == self.token && [s0, s1] == sent.size.to_be_bytes();
        genuine.then_some(sent)
    }

    fn numbered(&self, number: u32) -> Option<Sent> {
        self.sent.get(usize::try_from(number).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::icmp::Carrier;
    use super::*;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
    const ECHO: By = By::Host(Kind::Echo { carrier: Carrier::Ping, identifier: 1 });

    /// What becomes of packets: up to `mtu` they are answered, larger ones are told of or vanish. Every `lost`th vanishes anyway.
    fn searched(link: u16, mtu: u16, tells: bool, lost: usize) -> Search {
        let mut search = Search::new(HOST, ECHO, link, [7; 6]);
        for tick in 0..2_000 {
            let now = Micros::from_millis(50 * tick);
            let Some(probe) = search.next(now) else { continue };
            assert_eq!(probe.octets.len() + 20, usize::from(probe.size));
            assert!(probe.size <= link, "{}", probe.size);
            let at = now + Micros::from_millis(20);
            let answer = Answer {
                at,
                from: HOST,
                said: Said::Reply,
                quoted: &probe.octets,
                extension: &[],
                to_echo: true,
            };
            if lost > 0 && search.count().is_multiple_of(lost) {
                continue;
            }
            if probe.size <= mtu {
                search.take(&answer);
            } else if tells {
                let said = Said::TooBig(mtu.into());
                search.take(&Answer { from: ROUTER, said, quoted: &probe.octets[..8], ..answer });
            }
        }
        search
    }

    #[test]
    fn a_link_that_carries_all_is_found_by_two_probes() {
        for link in [1_500, 9_000, 1_280, 1_200, 600] {
            let search = searched(link, link, true, 0);
            assert_eq!((search.carried(), search.at_most(), search.vanished()), (Some(link), link, None));
            assert!(search.is_finished() && search.count() <= 2, "{}", search.count());
        }
    }

    #[test]
    fn what_a_router_says_is_heeded_and_confirmed() {
        let search = searched(1_500, 1_400, true, 0);
        assert_eq!((search.carried(), search.vanished()), (Some(1_400), None));
        assert_eq!(search.too_big(), Some(TooBig { mtu: 1_400, from: ROUTER }));
        assert_eq!(search.count(), 3, "base, the link's and what was said");
        let search = searched(1_500, 900, true, 0);
        assert_eq!((search.carried(), search.vanished()), (Some(900), None), "less than the base");
    }

    #[test]
    fn a_black_hole_is_measured_to_the_octet() {
        for mtu in [1_499, 1_492, 1_400, 1_201, 1_200, 1_199, 700, 128] {
            let search = searched(1_500, mtu, false, 0);
            assert!(search.is_finished());
            assert_eq!((search.carried(), search.vanished()), (Some(mtu), Some(mtu + 1)), "{mtu}");
        }
    }

    #[test]
    fn a_lost_packet_is_no_black_hole() {
        for lost in [2, 3, 5] {
            let search = searched(1_500, 1_500, false, lost);
            assert_eq!((search.carried(), search.vanished()), (Some(1_500), None), "{lost}");
        }
    }

    #[test]
    fn silence_ends_it() {
        let search = searched(1_500, 100, false, 0);
        assert!(search.is_finished() && search.carried().is_none() && search.vanished().is_none());
        assert_eq!(search.count(), 6);
    }

    #[test]
    fn what_nobody_could_have_said_is_not_heeded() {
        let mut search = Search::new(HOST, ECHO, 1_500, [7; 6]);
        let probe = search.next(Micros::ZERO).expect("the first");
        let answer = Answer {
            at: Micros::from_millis(1),
            from: ROUTER,
            said: Said::TooBig(1_300),
            quoted: &[],
            extension: &[],
            to_echo: true,
        };
        for mtu in [0, 67, 1_200, 1_300, 70_000] {
            search.take(&Answer { said: Said::TooBig(mtu), ..answer });
        }
        assert_eq!(search.at_most(), 1_500);
        // A reply from elsewhere, a shortened one and one to another run confirm nothing.
        let mut forged = probe.octets.clone();
        forged[8] ^= 1;
        for (from, quoted) in [(ROUTER, &probe.octets[..]), (HOST, &probe.octets[..100]), (HOST, &forged[..])]
        {
            search.take(&Answer { from, said: Said::Reply, quoted, ..answer });
        }
        assert_eq!(search.carried(), None);
        search.take(&Answer { from: HOST, said: Said::Reply, quoted: &probe.octets, ..answer });
        assert_eq!(search.carried(), Some(1_200));
    }

    #[test]
    fn a_link_smaller_than_it_says_is_not_exceeded() {
        let mut search = Search::new(HOST, ECHO, 1_500, [7; 6]);
        for tick in 0..200 {
            let now = Micros::from_millis(50 * tick);
            let Some(probe) = search.next(now) else { continue };
            if probe.size > 1_420 {
                search.refused_here();
                continue;
            }
            let quoted = &probe.octets[..];
            search.take(&Answer {
                at: now,
                from: HOST,
                said: Said::Reply,
                quoted,
                extension: &[],
                to_echo: true,
            });
        }
        assert_eq!((search.carried(), search.vanished()), (Some(1_420), None));
    }

    #[test]
    fn a_reflector_confirms_by_what_it_copies() {
        let mut search = Search::new(HOST, By::Reflector, 1_500, [7; 6]);
        let probe = search.next(Micros::ZERO).expect("the first");
        assert_eq!(probe.octets.len(), 1_172);
        let (asked, _) = SenderPacket::parse(Mode::Open, &probe.octets).expect("a packet");
        let reply = |sender_timestamp| {
            let mut octets = probe.octets.clone();
            let packet = ReflectorPacket {
                seq: 0,
                timestamp: asked.timestamp,
                error: asked.error,
                ssid: 0,
                received: asked.timestamp,
                sender_seq: asked.seq,
                sender_timestamp,
                sender_error: asked.error,
                sender_ttl: 0,
            };
            packet.overwrite(Mode::Open, &mut octets).expect("there is room");
            octets
        };
        let taken = |search: &mut Search, quoted: &[u8]| {
            let at = Micros::from_millis(5);
            search.take(&Answer { at, from: HOST, said: Said::Data, quoted, extension: &[], to_echo: false });
            search.carried()
        };
        assert_eq!(taken(&mut search, &reply(Timestamp::from_be_bytes([1; 8]))), None);
        assert_eq!(taken(&mut search, &reply(asked.timestamp)), Some(1_200));
    }
}
