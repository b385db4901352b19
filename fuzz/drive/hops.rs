use std::net::IpAddr;

use greenroom::proto::asking::AskerConfig;
use greenroom::proto::icmp::{self, Carrier, Secret};
use greenroom::proto::machine::{Arrival, Machine as _};
use greenroom::proto::mtu::{By, Search};
use greenroom::proto::path::{Answer, Kind, MOST_HOPS, Said, Tracer};
use greenroom_reports::units::Micros;

const HERE: [u8; 4] = [192, 0, 2, 1];
const LINK: u16 = 1_500;

/// Answers the probes that look for hops, for the largest packet and for an echo with what the input makes of them.
///
/// Octet 0: how they are sent. Then per answer: what is said, from whom, how much of the probe is quoted, how much of an extension
/// follows; then octets that change what is quoted, so that zeros quote the probe itself.
pub(crate) fn drive(data: &[u8]) {
    let Some((how, answers)) = data.split_first() else { return };
    let kind = match how % 3 {
        0 => Kind::Datagrams,
        1 => Kind::Echo { carrier: Carrier::Ping, identifier: 7 },
        _ => Kind::Echo { carrier: Carrier::Raw, identifier: 7 },
    };
    let destination: IpAddr =
        if how & 0x80 == 0 { HERE.into() } else { "2001:db8::1".parse().expect("an address") };
    path(destination, kind, answers);
    let by = if how & 0x40 == 0 { By::Host(kind) } else { By::Reflector };
    mtu(destination, by, answers);
    echo(*how, answers);
}

fn path(destination: IpAddr, kind: Kind, mut answers: &[u8]) {
    let mut tracer = Tracer::new(destination, kind, *b"tokens", Micros::from_secs(1));
    let mut now = Micros::ZERO;
    for _ in 0..64 {
        now += Micros::from_millis(200);
        let Some(probe) = tracer.next(now) else { continue };
        let mut quoted = probe.octets.clone();
        let Some(said) = Spoken::of(&mut answers, &mut quoted, destination) else { break };
        tracer.take(&said.answer(now, &quoted));
    }
    tracer.give_up(now);
    let hops = tracer.hops();
    assert!(hops.iter().all(|(ttl, hop, _)| {
        (1..=MOST_HOPS).contains(ttl)
            && hop.addresses.len() <= 8
            && hop.others.len() <= 8
            && hop.labels.len() <= 8
    }));
}

fn mtu(destination: IpAddr, by: By, mut answers: &[u8]) {
    let mut search = Search::new(destination, by, LINK, *b"tokens");
    let mut now = Micros::ZERO;
    for _ in 0..64 {
        now += Micros::from_millis(500);
        let Some(probe) = search.next(now) else { continue };
        assert!(probe.size <= LINK, "no larger than the link");
        let mut quoted = probe.octets.clone();
        let Some(said) = Spoken::of(&mut answers, &mut quoted, destination) else { break };
        search.take(&said.answer(now, &quoted));
    }
    assert!(search.carried().is_none_or(|carried| carried <= LINK));
}

fn echo(how: u8, answers: &[u8]) {
    let carrier = if how.is_multiple_of(2) { Carrier::Raw } else { Carrier::Ping };
    let server = (HERE, 0).into();
    let config = AskerConfig {
        server,
        start: Micros::ZERO,
        interval: Micros::from_millis(50),
        patience: Micros::from_secs(1),
        give_up: Micros::from_secs(1),
    };
    let secret = Secret { identifier: 7, token: *b"0123456789abcdef" };
    let mut prober = icmp::prober(config, 3, carrier, secret);
    let mut payload = Vec::new();
    assert!(prober.poll_transmit(Micros::ZERO, &mut payload).is_some());
    change(&mut payload, answers);
    let at = Micros::from_millis(1);
    let arrival = Arrival { from: server, at, kernel: true, tos: None, ttl: None };
    prober.handle_datagram(at, &arrival, answers);
    prober.handle_datagram(at, &arrival, &payload);
    assert_eq!(prober.exchanges().len(), 3);
}

/// What an answer says, as the input has it.
struct Spoken<'a> {
    said: Said,
    from: IpAddr,
    extension: &'a [u8],
    to_echo: bool,
}

impl<'a> Spoken<'a> {
    /// Takes an answer off the input, and changes what it quotes.
    fn of(answers: &mut &'a [u8], quoted: &mut Vec<u8>, destination: IpAddr) -> Option<Self> {
        let ([what, from, kept, extension], rest) = answers.split_first_chunk::<4>()?;
        let (extension, rest) = rest.split_at(usize::from(*extension).min(rest.len()));
        let kept = usize::from(*kept);
        if kept < quoted.len() && kept != 0 {
            quoted.truncate(kept);
        }
        let (changes, rest) = rest.split_at(usize::from(what >> 4).min(rest.len()));
        change(quoted, changes);
        *answers = rest;
        let number = u32::from(*from) << 6;
        Some(Self {
            said: match what % 7 {
                0 => Said::Expired,
                1 => Said::PortUnreachable,
                2 => Said::Reply,
                3 => Said::Data,
                4 => Said::TooBig(number),
                5 => Said::Unreachable(*from),
                _ => Said::TooBig(u32::MAX),
            },
            from: if *from == 0 { destination } else { IpAddr::from([192, 0, 2, *from]) },
            extension,
            to_echo: what & 8 == 0,
        })
    }

    fn answer<'q>(&self, at: Micros, quoted: &'q [u8]) -> Answer<'q>
    where
        'a: 'q,
    {
        Answer {
            at,
            from: self.from,
            said: self.said,
            quoted,
            extension: self.extension,
            to_echo: self.to_echo,
        }
    }
}

/// Changes octets where the input has others than zeros.
fn change(octets: &mut [u8], by: &[u8]) {
    octets.iter_mut().zip(by).for_each(|(octet, by)| *octet ^= by);
}
