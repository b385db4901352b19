//! The hops on the way to a host, found by probes that may only go so far (RFC 792, RFC 4443: time exceeded).
//!
//! Probes are ICMP echo requests where this program may send them, since a host answers those as often as it is asked, and datagrams to
//! a closed port else. All that are measured have the same addresses, ports and checksum, so that routers which spread traffic by these
//! send all of them the same way (Augustin et al., "Avoiding traceroute anomalies with Paris traceroute", IMC 2006). Five other flows,
//! which differ in one port, look once whether there are other ways: of two equal ones they miss the other in 1 of 32 cases. With the
//! first probe they are as many as Linux answers at once.
//!
//! What tells the answers apart is the probe's payload, which the error quotes. Routers that quote no more than RFC 792 asks for
//! (8 octets) leave it out: their answers count where only one probe can be meant.

use std::net::IpAddr;

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::units::Micros;

use super::icmp::{Carrier, checksum};

/// The farthest hop that is looked for.
pub const MOST_HOPS: u8 = 30;
/// So many hops beyond the last one that answered are tried.
const BEYOND: u8 = 5;
/// A router is asked for an error at most so often: Linux sends one a second to each asker and six at once (icmp_ratelimit), which is
/// among the strictest.
const ROUTER_REST: Micros = Micros::from_secs(1);
/// Flows that only look for other ways.
pub const OTHER_FLOWS: u8 = 5;
/// Octets of a probe's own: token, hop limit, flow, compensation and number.
pub const PROBE_OCTETS: usize = 16;
/// Octets of an echo message before them.
const ECHO_HEADER: usize = 8;
/// Addresses and labels that are kept of one hop. Whoever sends more is not believed.
const MOST_KEPT: usize = 8;

/// What the measured probes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Datagrams to a port that nobody listens on.
    Datagrams,
    /// Echo requests by this kind of socket.
    Echo {
        /// Which socket sends them.
        carrier: Carrier,
        /// What names the run among others; a socket for echo alone has one of its own.
        identifier: u16,
    },
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The probe came so far and no farther: a router.
    Expired,
    /// Nobody listens on that port: the host itself, or a firewall in its name.
    PortUnreachable,
    /// The host answers an echo request.
    Reply,
    /// Something else came back: whatever listens there says.
    Data,
    /// It is too big to go on from there: the most that does, in octets.
    TooBig(u32),
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

/// What came back.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// When.
    pub at: Micros,
    /// From whom.
    pub from: IpAddr,
    /// What it says.
    pub said: Said,
    /// What it quotes of the probe behind the IP header's transport ports: a datagram's payload, or an echo message. Of a reply the
    /// message itself.
    pub quoted: &'a [u8],
    /// What it has to tell beside (RFC 4884), empty when nothing.
    pub extension: &'a [u8],
    /// Whether it came to the socket of echo requests.
    pub to_echo: bool,
}

/// A probe to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// How far it may go.
    pub ttl: u8,
    /// The flow: 0 is the one that is measured, the others are datagrams from ports of their own.
    pub flow: u8,
    /// Its octets behind the transport header: a datagram's payload, or a whole echo message.
    pub octets: Vec<u8>,
}

/// What became of one probe.
#[derive(Debug, Clone, Copy)]
struct Sent {
    ttl: u8,
    flow: u8,
    at: Micros,
    outcome: Exchange,
}

/// One hop.
#[derive(Debug, Clone, Default)]
pub struct Hop {
    /// Who answered there on the flow that is measured: more than one where the way is not always the same.
    pub addresses: Vec<IpAddr>,
    /// Who else answered there, on other flows.
    pub others: Vec<IpAddr>,
    /// The label stack that was quoted last.
    pub labels: Vec<Label>,
    /// What was said there, other than that the probe came no farther.
    pub unreachable: Option<u8>,
    /// The flow on which the host itself answered there.
    end_of: Option<u8>,
    asked: Option<Micros>,
    flows_asked: u8,
}

impl Hop {
    /// Whether the host itself answered there.
    pub const fn is_destination(&self) -> bool {
        self.end_of.is_some()
    }

    fn is_silent(&self) -> bool {
        self.addresses.is_empty() && self.others.is_empty()
    }
}

/// Finds the hops on the way to a host.
#[derive(Debug)]
pub struct Tracer {
    destination: IpAddr,
    kind: Kind,
    token: [u8; 6],
    patience: Micros,
    sent: Vec<Sent>,
    hops: Vec<Hop>,
    unattributed: u64,
    other: u64,
}

impl Tracer {
    /// One that looks for the hops to `destination`; a probe is given up after `patience`. `token` is random: who cannot see the probes
    /// cannot answer them.
    pub fn new(destination: IpAddr, kind: Kind, token: [u8; 6], patience: Micros) -> Self {
        let hops = vec![Hop::default(); usize::from(MOST_HOPS)];
        Self { destination, kind, token, patience, sent: Vec::new(), hops, unattributed: 0, other: 0 }
    }

    /// What the measured probes are.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The next probe, if one is due; it counts as sent at `now`.
    pub fn next(&mut self, now: Micros) -> Option<Probe> {
        let (ttl, flow) = self.due(now)?;
        let number = u32::try_from(self.sent.len()).unwrap_or(u32::MAX);
        self.sent.push(Sent { ttl, flow, at: now, outcome: Exchange::Awaited });
        if let Some(hop) = self.hops.get_mut(usize::from(ttl) - 1) {
            hop.asked = Some(now);
            hop.flows_asked = hop.flows_asked.max(flow);
        }
        Some(Probe { ttl, flow, octets: self.octets(ttl, flow, number) })
    }

    /// Whose turn it is: who was never asked, then other flows to who answered, then whoever was asked least lately and has rested, and
    /// the host itself in between where it answers echo requests.
    fn due(&self, now: Micros) -> Option<(u8, u8)> {
        let horizon = self.horizon();
        let hop = |ttl: u8| self.hops.get(usize::from(ttl) - 1);
        let fresh = (1..=horizon).find(|ttl| hop(*ttl).is_some_and(|hop| hop.asked.is_none()));
        if let Some(ttl) = fresh {
            return Some((ttl, 0));
        }
        // Who is silent to echo requests is tried with one datagram: that may be the host.
        let most = |hop: &Hop| match hop.is_silent() {
            true => u8::from(self.kind != Kind::Datagrams),
            false => OTHER_FLOWS,
        };
        let unlooked = (1..=horizon).filter(|ttl| hop(*ttl).is_some_and(|hop| hop.flows_asked < most(hop)));
        if let Some((flow, ttl)) = unlooked.filter_map(|ttl| Some((hop(ttl)?.flows_asked + 1, ttl))).min() {
            return Some((ttl, flow));
        }
        let main = self.measured_flow();
        let rested = (1..=horizon).filter_map(|ttl| Some((hop(ttl)?.asked?, ttl)));
        let (asked, ttl) = rested.min()?;
        if now - asked >= ROUTER_REST {
            return Some((ttl, main));
        }
        let end = self.end().filter(|_| main == 0 && self.kind != Kind::Datagrams)?;
        Some((end, main))
    }

    /// The flow whose probes are measured: echo requests, unless the host answers datagrams alone.
    fn measured_flow(&self) -> u8 {
        let ends = || self.hops.iter().filter_map(|hop| hop.end_of);
        u8::from(self.kind != Kind::Datagrams && ends().any(|flow| flow > 0) && !ends().any(|flow| flow == 0))
    }

    /// Whether echo requests were sent and the host answered datagrams alone.
    pub fn is_deaf_to_echo(&self) -> bool {
        self.measured_flow() != 0
    }

    fn octets(&self, ttl: u8, flow: u8, number: u32) -> Vec<u8> {
        let mut own = Vec::with_capacity(ECHO_HEADER + PROBE_OCTETS);
        let echo = match self.kind {
            Kind::Echo { identifier, .. } if flow == 0 => Some(identifier),
            _ => None,
        };
        if let Some(identifier) = echo {
            own.extend([self.request(), 0, 0, 0]);
            own.extend(identifier.to_be_bytes());
            let [.., high, low] = number.to_be_bytes();
            own.extend([high, low]);
        }
        let body = own.len();
        own.extend(self.token);
        own.extend([ttl, flow, 0, 0]);
        own.extend([0, 0]);
        own.extend(number.to_be_bytes());
        // So that the checksum is the same for all: routers spread echo requests by it.
        let sum = checksum(&own).to_be_bytes();
        own.get_mut(body + 8..body + 10).into_iter().for_each(|field| field.copy_from_slice(&sum));
        if echo.is_some() && self.destination.is_ipv4() {
            let sum = checksum(&own).to_be_bytes();
            own.get_mut(2..4).into_iter().for_each(|field| field.copy_from_slice(&sum));
        }
        own
    }

    const fn request(&self) -> u8 {
        if self.destination.is_ipv4() { 8 } else { 128 }
    }

    /// This computer refused to send the probe that was asked for last.
    pub fn not_sent(&mut self) {
        if let Some(last) = self.sent.last_mut() {
            last.outcome = Exchange::SendFailed;
        }
    }

    /// Takes what came back.
    pub fn take(&mut self, answer: &Answer<'_>) {
        if answer.said == Said::Data {
            self.other += 1;
            return;
        }
        if self.is_foreign(answer) {
            return;
        }
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
        let (flow, destination) = (sent.flow, self.destination);
        let Some(hop) = self.hops.get_mut(usize::from(sent.ttl) - 1) else { return };
        let seen = if flow == 0 { &mut hop.addresses } else { &mut hop.others };
        if !seen.contains(&answer.from) && seen.len() < MOST_KEPT {
            seen.push(answer.from);
        }
        let is_end = match answer.said {
            Said::Expired | Said::Data | Said::TooBig(_) => false,
            Said::PortUnreachable | Said::Reply => true,
            Said::Unreachable(code) => {
                hop.unreachable = Some(code);
                answer.from == destination
            }
        };
        if is_end {
            hop.end_of = Some(hop.end_of.map_or(flow, |known| known.min(flow)));
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

    /// Datagrams that came back and are no errors: something listens on the port.
    pub const fn other(&self) -> u64 {
        self.other
    }

    /// Probes that were handed over.
    pub fn handed(&self) -> u64 {
        let handed = self.sent.iter().filter(|sent| sent.outcome != Exchange::SendFailed).count();
        u64::try_from(handed).unwrap_or(u64::MAX)
    }

    /// The hops as far as any is of interest, each with what became of the measured probes to it, in the order of sending.
    pub fn hops(&self) -> Vec<(u8, Hop, Vec<Exchange>)> {
        let shown = self.end().or(self.farthest()).unwrap_or(0);
        let main = self.measured_flow();
        let of = |ttl: u8| {
            let mut hop = self.hops.get(usize::from(ttl) - 1)?.clone();
            let own = self.sent.iter().filter(|sent| sent.ttl == ttl && sent.flow == main);
            // Where echo requests find nobody, what datagrams find is the way.
            if main != 0 && hop.addresses.is_empty() {
                hop.addresses = std::mem::take(&mut hop.others);
            }
            hop.others.retain(|other| !hop.addresses.contains(other));
            Some((ttl, hop, own.map(|sent| sent.outcome).collect()))
        };
        (1..=shown).filter_map(of).collect()
    }

    /// Whether it is about somebody else's echo request: a raw socket delivers those as well.
    fn is_foreign(&self, answer: &Answer<'_>) -> bool {
        let Kind::Echo { carrier: Carrier::Raw, identifier } = self.kind else { return false };
        let own = identifier.to_be_bytes();
        answer.to_echo && answer.quoted.get(4..6).is_some_and(|named| named != own)
    }

    /// Which probe an answer means.
    fn meant(&self, answer: &Answer<'_>) -> Option<usize> {
        let quoted = match answer.to_echo {
            false => answer.quoted,
            true => {
                let (header, rest) = answer.quoted.split_first_chunk::<ECHO_HEADER>()?;
                let [.., s0, s1] = *header;
                if rest.len() < PROBE_OCTETS {
                    return self.by_sequence([s0, s1]);
                }
                rest
            }
        };
        if let Some(own) = quoted.first_chunk::<PROBE_OCTETS>() {
            let [t0, t1, t2, t3, t4, t5, ttl, flow, _, _, _, _, n0, n1, n2, n3] = *own;
            let index = usize::try_from(u32::from_be_bytes([n0, n1, n2, n3])).ok()?;
            let sent = self.sent.get(index)?;
            let genuine = [t0, t1, t2, t3, t4, t5] == self.token && (ttl, flow) == (sent.ttl, sent.flow);
            return (genuine && self.is_echo(sent.flow) == answer.to_echo).then_some(index);
        }
        self.by_elimination(answer.from)
    }

    fn is_echo(&self, flow: u8) -> bool {
        flow == 0 && self.kind != Kind::Datagrams
    }

    /// By the sequence number of an echo request, which every router quotes.
    fn by_sequence(&self, sequence: [u8; 2]) -> Option<usize> {
        let low = |index: usize| u32::try_from(index).ok().map(u32::to_be_bytes);
        self.sent.iter().enumerate().find_map(|(index, sent)| {
            let [.., high, last] = low(index)?;
            let meant =
                [high, last] == sequence && sent.outcome == Exchange::Awaited && self.is_echo(sent.flow);
            meant.then_some(index)
        })
    }

    /// Quoted too little: it is the one datagram awaited, or the one awaited at the hop where this router is known to stand.
    fn by_elimination(&self, from: IpAddr) -> Option<usize> {
        let mut awaited = self
            .sent
            .iter()
            .enumerate()
            .filter(|(_, sent)| sent.outcome == Exchange::Awaited && !self.is_echo(sent.flow));
        let known = |ttl: u8| {
            let hop = self.hops.get(usize::from(ttl) - 1);
            hop.is_some_and(|hop| hop.addresses.contains(&from) || hop.others.contains(&from))
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
        (1..=MOST_HOPS).find(|ttl| self.hops.get(usize::from(*ttl) - 1).is_some_and(Hop::is_destination))
    }

    /// The farthest hop that answered.
    fn farthest(&self) -> Option<u8> {
        let answered = |ttl: &u8| self.hops.get(usize::from(*ttl) - 1).is_some_and(|hop| !hop.is_silent());
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
mod tests;
