//! The hops on the way to a host, found by datagrams that may only go so far (RFC 792, RFC 4443: time exceeded).
//!
//! All probes of a run have the same addresses and ports, so that routers that spread traffic by these send all of them the same way
//! (Augustin et al., "Avoiding traceroute anomalies with Paris traceroute", IMC 2006). What tells the answers apart is the probe's
//! payload, which the error quotes. Routers that quote no more than RFC 792 asks for (8 octets) leave it out: their answers count where
//! only one probe can be meant.

use std::net::IpAddr;

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::units::Micros;

/// The farthest hop that is looked for.
pub const MOST_HOPS: u8 = 30;
/// So many hops beyond the last one that answered are tried.
const BEYOND: u8 = 5;
/// Octets of a probe: token, hop limit and number.
pub const PROBE_OCTETS: usize = 16;
/// Addresses and labels that are kept of one hop. Whoever sends more is not believed.
const MOST_KEPT: usize = 8;

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The probe came so far and no farther: a router.
    Expired,
    /// Nobody listens on that port: the host itself, or a firewall in its name.
    PortUnreachable,
    /// It does not get there: the code of "destination unreachable".
    Unreachable(u8),
}

/// One entry of an MPLS label stack that a router quotes (RFC 4950, RFC 3032).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// The label: 20 bits.
    pub label: u32,
    /// Traffic class: 3 bits.
    pub class: u8,
    /// Time to live.
    pub ttl: u8,
}

/// An error that came back.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// When.
    pub at: Micros,
    /// From whom.
    pub from: IpAddr,
    /// What it says.
    pub said: Said,
    /// What it quotes of the probe's payload.
    pub quoted: &'a [u8],
    /// What it has to tell beside (RFC 4884), empty when nothing.
    pub extension: &'a [u8],
}

/// What became of one probe.
#[derive(Debug, Clone, Copy)]
struct Sent {
    ttl: u8,
    at: Micros,
    outcome: Exchange,
}

/// One hop.
#[derive(Debug, Clone, Default)]
pub struct Hop {
    /// Who answered there: more than one where the way is not always the same.
    pub addresses: Vec<IpAddr>,
    /// The label stack that was quoted last.
    pub labels: Vec<Label>,
    /// What was said there, other than that the probe came no farther.
    pub unreachable: Option<u8>,
    /// Whether the host itself answered there.
    pub is_destination: bool,
}

/// Finds the hops on the way to a host.
#[derive(Debug)]
pub struct Tracer {
    destination: IpAddr,
    token: [u8; 8],
    patience: Micros,
    sent: Vec<Sent>,
    hops: Vec<Hop>,
    next_ttl: u8,
    unattributed: u64,
}

impl Tracer {
    /// One that looks for the hops to `destination`; a probe is given up after `patience`. `token` is random: who cannot see the probes
    /// cannot answer them.
    pub fn new(destination: IpAddr, token: [u8; 8], patience: Micros) -> Self {
        let hops = vec![Hop::default(); usize::from(MOST_HOPS)];
        Self { destination, token, patience, sent: Vec::new(), hops, next_ttl: 1, unattributed: 0 }
    }

    /// The next probe: how far it may go, and its payload. It counts as sent at `now`.
    pub fn next(&mut self, now: Micros) -> (u8, [u8; PROBE_OCTETS]) {
        if self.next_ttl > self.horizon() {
            self.next_ttl = 1;
        }
        let ttl = self.next_ttl;
        self.next_ttl += 1;
        let number = u32::try_from(self.sent.len()).unwrap_or(u32::MAX);
        self.sent.push(Sent { ttl, at: now, outcome: Exchange::Awaited });
        let mut payload = [0; PROBE_OCTETS];
        payload[..8].copy_from_slice(&self.token);
        payload[8] = ttl;
        payload[12..].copy_from_slice(&number.to_be_bytes());
        (ttl, payload)
    }

    /// This computer refused to send the probe that was asked for last.
    pub fn not_sent(&mut self) {
        if let Some(last) = self.sent.last_mut() {
            last.outcome = Exchange::SendFailed;
        }
    }

    /// Takes an error that came back.
    pub fn take(&mut self, answer: &Answer<'_>) {
        let Some(index) = self.meant(answer) else {
            self.unattributed += 1;
            return;
        };
        let Some(sent) = self.sent.get_mut(index) else { return };
        let rtt = answer.at - sent.at;
        // A second answer to the same probe, or one that came before it.
        if sent.outcome != Exchange::Awaited || rtt < Micros::ZERO || rtt > self.patience {
            return;
        }
        sent.outcome = Exchange::Answered { at: answer.at, rtt };
        let destination = self.destination;
        let Some(hop) = self.hops.get_mut(usize::from(sent.ttl) - 1) else { return };
        if !hop.addresses.contains(&answer.from) && hop.addresses.len() < MOST_KEPT {
            hop.addresses.push(answer.from);
        }
        match answer.said {
            Said::Expired => {}
            Said::PortUnreachable => hop.is_destination = true,
            Said::Unreachable(code) => {
                hop.unreachable = Some(code);
                hop.is_destination |= answer.from == destination;
            }
        }
        let labels = labels(answer.extension);
        if !labels.is_empty() {
            hop.labels = labels;
        }
    }

    /// Gives up what has waited too long.
    pub fn give_up(&mut self, now: Micros) {
        let patience = self.patience;
        for sent in self.sent.iter_mut().filter(|sent| sent.outcome == Exchange::Awaited) {
            if now - sent.at >= patience {
                sent.outcome = Exchange::Lost;
            }
        }
    }

    /// Whether anything is still waited for.
    pub fn is_waiting(&self) -> bool {
        self.sent.iter().any(|sent| sent.outcome == Exchange::Awaited)
    }

    /// Answers of which nobody can say which probe they mean.
    pub const fn unattributed(&self) -> u64 {
        self.unattributed
    }

    /// Probes that were handed over.
    pub fn handed(&self) -> u64 {
        let handed = self.sent.iter().filter(|sent| sent.outcome != Exchange::SendFailed).count();
        u64::try_from(handed).unwrap_or(u64::MAX)
    }

    /// The hops as far as any is of interest, each with what became of the probes to it, in the order of sending.
    pub fn hops(&self) -> Vec<(u8, &Hop, Vec<Exchange>)> {
        let shown = self.end().or(self.farthest()).unwrap_or(0);
        let of = |ttl: u8| {
            let hop = self.hops.get(usize::from(ttl) - 1)?;
            let all = self.sent.iter().filter(|sent| sent.ttl == ttl).map(|sent| sent.outcome).collect();
            Some((ttl, hop, all))
        };
        (1..=shown).filter_map(of).collect()
    }

    /// Which probe an answer means.
    fn meant(&self, answer: &Answer<'_>) -> Option<usize> {
        if answer.quoted.len() >= PROBE_OCTETS {
            let (token, rest) = answer.quoted.split_at_checked(8)?;
            let number = u32::from_be_bytes(rest.get(4..8)?.try_into().ok()?);
            let index = usize::try_from(number).ok()?;
            let sent = self.sent.get(index)?;
            return (token == self.token && rest.first() == Some(&sent.ttl)).then_some(index);
        }
        // Quoted too little: it is the one probe awaited, or the one awaited at the hop where this router is known to stand.
        let mut awaited = self.sent.iter().enumerate().filter(|(_, sent)| sent.outcome == Exchange::Awaited);
        let known = |ttl: u8| {
            self.hops.get(usize::from(ttl) - 1).is_some_and(|hop| hop.addresses.contains(&answer.from))
        };
        let there: Vec<usize> = awaited.clone().filter(|(_, sent)| known(sent.ttl)).map(|(i, _)| i).collect();
        match (there.as_slice(), awaited.next(), awaited.next()) {
            ([one], _, _) => Some(*one),
            ([], Some((index, _)), None) => Some(index),
            _ => None,
        }
    }

    /// The hop at which the way ends: the host itself.
    fn end(&self) -> Option<u8> {
        (1..=MOST_HOPS).find(|ttl| self.hops.get(usize::from(*ttl) - 1).is_some_and(|hop| hop.is_destination))
    }

    /// The farthest hop that answered.
    fn farthest(&self) -> Option<u8> {
        let answered =
            |ttl: &u8| self.hops.get(usize::from(*ttl) - 1).is_some_and(|hop| !hop.addresses.is_empty());
        (1..=MOST_HOPS).rev().find(answered)
    }

    /// The farthest hop worth asking.
    fn horizon(&self) -> u8 {
        let farthest = self.farthest().unwrap_or(0).saturating_add(BEYOND).min(MOST_HOPS);
        self.end().unwrap_or(farthest)
    }
}

/// The MPLS label stack in an extension structure (RFC 4884 section 7, RFC 4950): empty when there is none or it is damaged.
fn labels(extension: &[u8]) -> Vec<Label> {
    let Some((header, mut rest)) = extension.split_at_checked(4) else { return Vec::new() };
    // Version 2 in the upper half of the first octet.
    if header.first().is_none_or(|first| first >> 4 != 2) {
        return Vec::new();
    }
    while let Some((&[high, low, class, kind], _)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(object) = rest.get(4..length) else { return Vec::new() };
        if (class, kind) == (1, 1) {
            let entries = object.as_chunks::<4>().0;
            return entries.iter().take(MOST_KEPT).map(|entry| label(*entry)).collect();
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Vec::new()
}

fn label(entry: [u8; 4]) -> Label {
    let [_, _, third, ttl] = entry;
    Label { label: u32::from_be_bytes(entry) >> 12, class: (third >> 1) & 7, ttl }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    const TOKEN: [u8; 8] = [7; 8];

    fn router(ttl: u8) -> IpAddr {
        Ipv4Addr::new(198, 51, 100, ttl).into()
    }

    fn tracer() -> Tracer {
        Tracer::new(HOST, TOKEN, Micros::from_secs(3))
    }

    fn answer(at: i64, from: IpAddr, said: Said, quoted: &[u8]) -> Answer<'_> {
        Answer { at: Micros::from_millis(at), from, said, quoted, extension: &[] }
    }

    #[test]
    fn each_hop_has_its_turn_until_the_host_answers() {
        let mut tracer = tracer();
        let mut order = Vec::new();
        for turn in 0..9 {
            let (ttl, payload) = tracer.next(Micros::from_millis(50 * turn));
            order.push(ttl);
            let said = if ttl == 3 { Said::PortUnreachable } else { Said::Expired };
            let from = if ttl == 3 { HOST } else { router(ttl) };
            tracer.take(&answer(50 * turn + 10, from, said, &payload));
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
        let hops = tracer.hops();
        assert_eq!(hops.len(), 3);
        assert!(hops[2].1.is_destination && hops.iter().all(|(_, _, all)| all.len() == 3));
        assert_eq!(hops[1].1.addresses, [router(2)]);
    }

    #[test]
    fn nothing_is_looked_for_far_beyond_what_answers() {
        let mut tracer = tracer();
        let farthest = (0..100).map(|turn| tracer.next(Micros::from_millis(50 * turn)).0).max();
        assert_eq!(farthest, Some(BEYOND));
        assert!(tracer.hops().is_empty());
    }

    #[test]
    fn who_quotes_too_little_counts_where_one_probe_can_be_meant() {
        let mut tracer = tracer();
        tracer.next(Micros::ZERO);
        tracer.take(&answer(5, router(1), Said::Expired, &[]));
        assert_eq!(tracer.hops()[0].1.addresses, [router(1)]);
        // Two are awaited and this router is new: nobody knows.
        tracer.next(Micros::from_millis(50));
        tracer.next(Micros::from_millis(100));
        tracer.take(&answer(110, router(2), Said::Expired, &[]));
        assert_eq!((tracer.unattributed(), tracer.hops().len()), (1, 1));
    }

    #[test]
    fn forged_and_repeated_answers_change_nothing() {
        let mut tracer = tracer();
        let (_, payload) = tracer.next(Micros::ZERO);
        let mut forged = payload;
        forged[0] ^= 1;
        tracer.take(&answer(1, router(9), Said::PortUnreachable, &forged));
        let mut far = payload;
        far[12] = 0xff;
        tracer.take(&answer(1, router(9), Said::PortUnreachable, &far));
        let mut other = payload;
        other[8] = 200;
        tracer.take(&answer(1, router(9), Said::PortUnreachable, &other));
        assert!(tracer.hops().is_empty());
        tracer.take(&answer(5, router(1), Said::Expired, &payload));
        tracer.take(&answer(9, router(8), Said::PortUnreachable, &payload));
        let hops = tracer.hops();
        assert_eq!((hops[0].1.addresses.len(), hops[0].1.is_destination), (1, false));
        assert_eq!(tracer.unattributed(), 3);
    }

    #[test]
    fn what_waits_too_long_is_lost() {
        let mut tracer = tracer();
        let (_, payload) = tracer.next(Micros::ZERO);
        tracer.give_up(Micros::from_millis(2_999));
        assert!(tracer.is_waiting());
        tracer.give_up(Micros::from_secs(3));
        assert!(!tracer.is_waiting());
        tracer.take(&answer(3_100, router(1), Said::Expired, &payload));
        assert!(tracer.hops().is_empty());
    }

    #[test]
    fn label_stacks_are_read_and_damaged_ones_are_not() {
        let extension = [0x20, 0, 0, 0, 0, 12, 1, 1, 0x00, 0x01, 0x0a, 0x01, 0x00, 0x02, 0x0b, 0xff];
        let read = labels(&extension);
        assert_eq!(read, [Label { label: 16, class: 5, ttl: 1 }, Label { label: 32, class: 5, ttl: 255 }]);
        for length in 0..extension.len() {
            assert!(labels(&extension[..length]).is_empty(), "{length}");
        }
        // Lengths of nothing and of more than there is end it.
        assert!(labels(&[0x20, 0, 0, 0, 0, 0, 2, 1]).is_empty());
        assert!(labels(&[0x20, 0, 0, 0, 0xff, 0xff, 1, 1]).is_empty());
        assert!(labels(&[0x10, 0, 0, 0, 0, 8, 1, 1, 0, 1, 10, 1]).is_empty());
    }
}
