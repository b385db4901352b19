//! NATs and servers of every kind, and what a run tells of them.

use std::collections::BTreeMap;

use super::*;
use greenroom_reports::schema::NatBehavior::{
    self, AddressAndPortDependent, AddressDependent, Dependent, EndpointIndependent,
};

const SERVER: &str = "192.0.2.1:3478";
const OTHER: &str = "198.51.100.9:3479";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A NAT at 203.0.113.7 before 10.0.0.2.
#[derive(Clone, Copy)]
struct Nat {
    mapping: NatBehavior,
    filtering: NatBehavior,
    hairpins: bool,
    keeps_ports: bool,
    /// Seconds that a mapping lasts.
    lasts: i64,
}

const USUAL: Nat = Nat {
    mapping: EndpointIndependent,
    filtering: AddressAndPortDependent,
    hairpins: false,
    keeps_ports: true,
    lasts: 32,
};

/// What the server does.
#[derive(Clone, Copy, Default)]
struct Server {
    one_address: bool,
    ignores_change: bool,
    refuses_change: bool,
    other_is_dead: bool,
    ignores_response_port: bool,
}

struct Mapping {
    socket: Socket,
    public: SocketAddr,
    used: Micros,
    met: Vec<SocketAddr>,
}

struct World {
    nat: Option<Nat>,
    server: Server,
    mappings: BTreeMap<String, Mapping>,
    loses: usize,
    packets: usize,
}

fn port_of(socket: Socket) -> u16 {
    match socket {
        Socket::Mapping => 40_000,
        Socket::OtherAddress => 40_001,
        Socket::OtherPort => 40_002,
        Socket::Neighbor => 40_003,
        Socket::Asker => 40_004,
        Socket::Silent(number) => 40_005 + u16::try_from(number).unwrap(),
    }
}

impl World {
    /// What a packet of a socket looks like outside.
    fn outward(&mut self, socket: Socket, to: SocketAddr, now: Micros) -> SocketAddr {
        let local = SocketAddr::new([10, 0, 0, 2].into(), port_of(socket));
        let Some(nat) = self.nat else {
            self.mappings.entry(format!("{local}")).or_insert(Mapping {
                socket,
                public: local,
                used: now,
                met: Vec::new(),
            });
            return local;
        };
        let key = match nat.mapping {
            EndpointIndependent => format!("{local}"),
            AddressDependent | Dependent => format!("{local} {}", to.ip()),
            AddressAndPortDependent => format!("{local} {to}"),
        };
        let known = self.mappings.get(&key).is_some_and(|it| now - it.used < Micros::from_secs(nat.lasts));
        if !known {
            let count = u16::try_from(self.mappings.len()).unwrap();
            let port = if nat.keeps_ports { local.port() } else { 50_000 + count };
            let public = SocketAddr::new([203, 0, 113, 7].into(), port);
            self.mappings.insert(key.clone(), Mapping { socket, public, used: now, met: Vec::new() });
        }
        let mapping = self.mappings.get_mut(&key).unwrap();
        mapping.used = now;
        mapping.met.push(to);
        mapping.public
    }

    /// Whom a packet from outside gets to.
    fn inward(&self, from: SocketAddr, to: SocketAddr, now: Micros) -> Option<Socket> {
        let those = self.mappings.values().filter(|mapping| mapping.public == to);
        let Some(nat) = self.nat else { return those.map(|it| it.socket).next() };
        those
            .filter(|mapping| now - mapping.used < Micros::from_secs(nat.lasts))
            .find(|mapping| match nat.filtering {
                EndpointIndependent => true,
                AddressDependent | Dependent => mapping.met.iter().any(|met| met.ip() == from.ip()),
                AddressAndPortDependent => mapping.met.contains(&from),
            })
            .map(|mapping| mapping.socket)
    }

    /// What comes back of a packet, to whom.
    fn send(&mut self, out: &Outgoing, now: Micros) -> Option<(Socket, SocketAddr, Vec<u8>)> {
        self.packets += 1;
        let from = self.outward(out.socket, out.to, now);
        if self.loses > 0 && self.packets.is_multiple_of(self.loses) {
            return None;
        }
        if self.nat.is_some() && out.to.ip() == from.ip() {
            let to = self.nat.is_some_and(|nat| nat.hairpins).then(|| self.inward(from, out.to, now))??;
            return Some((to, from, out.octets.clone()));
        }
        let (answer, own, to) = self.answered(&out.octets, from, out.to)?;
        Some((self.inward(own, to, now)?, own, answer))
    }

    fn answered(
        &self,
        request: &[u8],
        from: SocketAddr,
        asked: SocketAddr,
    ) -> Option<(Vec<u8>, SocketAddr, SocketAddr)> {
        let message = Message::parse(request).expect("a request");
        assert_eq!((message.class, message.fingerprint()), (Class::Request, Checked::Fits));
        let (first, other) = (at(SERVER), at(OTHER));
        if self.server.one_address && asked != first || self.server.other_is_dead && asked.ip() == other.ip()
        {
            return None;
        }
        let change = message.value(CHANGE_REQUEST).and_then(|value| value.last().copied()).unwrap_or(0);
        let swapped = |yes: bool, mine: bool| if yes ^ mine { other } else { first };
        let mut own = SocketAddr::new(
            swapped(change & CHANGE_ADDRESS_BIT != 0, asked.ip() == other.ip()).ip(),
            swapped(change & CHANGE_PORT_BIT != 0, asked.port() == other.port()).port(),
        );
        if change != 0 && self.server.refuses_change {
            return Some((error(message.id), asked, from));
        }
        if change != 0 && self.server.other_is_dead && own.ip() == other.ip() {
            return None;
        }
        if self.server.ignores_change {
            own = asked;
        }
        let port = message.value(RESPONSE_PORT).filter(|_| !self.server.ignores_response_port);
        let to =
            port.map_or(from, |value| SocketAddr::new(from.ip(), u16::from_be_bytes([value[0], value[1]])));
        let told = (!self.server.one_address).then_some(other);
        Some((success(message.id, from, told), own, to))
    }
}

fn attribute(octets: &mut Vec<u8>, kind: u16, address: SocketAddr) {
    let IpAddr::V4(ip) = address.ip() else { panic!("IPv4") };
    octets.extend(kind.to_be_bytes());
    octets.extend([0, 8, 0, 1]);
    octets.extend(address.port().to_be_bytes());
    octets.extend(ip.octets());
}

fn message(kind: u16, id: TransactionId, attributes: &[u8]) -> Vec<u8> {
    let mut octets = kind.to_be_bytes().to_vec();
    octets.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
    octets.extend(stun::MAGIC_COOKIE.to_be_bytes());
    octets.extend(id.0);
    octets.extend(attributes);
    octets
}

fn success(id: TransactionId, mapped: SocketAddr, other: Option<SocketAddr>) -> Vec<u8> {
    let mut attributes = Vec::new();
    attribute(&mut attributes, 0x0001, mapped);
    if let Some(other) = other {
        attribute(&mut attributes, OTHER_ADDRESS, other);
    }
    message(0x0101, id, &attributes)
}

fn error(id: TransactionId) -> Vec<u8> {
    message(0x0111, id, &[0, 9, 0, 4, 0, 0, 4, 20])
}

fn config(lifetime: Option<Micros>) -> NatConfig {
    NatConfig {
        server: at(SERVER),
        second: None,
        local: Some(at("10.0.0.2:40000")),
        start: Micros::ZERO,
        lifetime,
        secret: [3; 16],
    }
}

fn discovered(nat: Option<Nat>, server: Server, config: NatConfig) -> Discovery {
    run(World { nat, server, mappings: BTreeMap::new(), loses: 0, packets: 0 }, config)
}

fn run(mut world: World, config: NatConfig) -> Discovery {
    let mut run = Discovery::new(config);
    let (mut now, mut last) = (Micros::ZERO, None);
    loop {
        while let Some(out) = run.next(now) {
            assert!(last.is_none_or(|last| now - last >= SPACING), "20 a second");
            last = Some(now);
            if let Some((socket, from, octets)) = world.send(&out, now) {
                run.take(now + Micros::from_millis(9), socket, from, &octets);
            }
        }
        if run.is_finished() {
            return run;
        }
        let next = run.next_deadline();
        assert!(now < Micros::from_secs(400), "it comes to an end");
        now = next.max(now + Micros::from_millis(1));
    }
}

const KINDS: [NatBehavior; 3] = [EndpointIndependent, AddressDependent, AddressAndPortDependent];

#[test]
fn every_mapping_and_filtering_is_told() {
    for mapping in KINDS {
        for filtering in KINDS {
            for loses in [0, 3, 7] {
                let nat = Some(Nat { mapping, filtering, keeps_ports: false, ..USUAL });
                let server = Server::default();
                let found =
                    run(World { nat, server, mappings: BTreeMap::new(), loses, packets: 0 }, config(None));
                assert_eq!(found.mapping(), Ok(mapping), "{loses}");
                assert_eq!(found.filtering(), Ok(filtering), "{mapping:?} {loses}");
                assert_eq!((found.is_nat(), found.port_preserved()), (Some(true), Ok(false)));
                assert_eq!(found.lifetime(), Err(Untold::NoTime));
                assert_eq!(found.seen().count(), 4);
                assert_eq!(found.strays(), (0, 0));
            }
        }
    }
}

#[test]
fn a_nat_that_changes_nothing_is_none() {
    let found = discovered(None, Server::default(), config(Some(Micros::from_secs(20))));
    assert_eq!((found.is_nat(), found.mapping()), (Some(false), Err(Untold::NoNat)));
    assert_eq!(found.filtering(), Ok(EndpointIndependent));
    assert_eq!((found.hairpinning(), found.lifetime()), (Err(Untold::NoNat), Err(Untold::NoNat)));
    let unknown = discovered(Some(USUAL), Server::default(), NatConfig { local: None, ..config(None) });
    assert_eq!((unknown.is_nat(), unknown.port_preserved()), (None, Err(Untold::LocalUnknown)));
    assert_eq!(unknown.mapping(), Ok(EndpointIndependent));
}

#[test]
fn hairpinning_shows_where_there_is_any() {
    for hairpins in [false, true] {
        let found = discovered(Some(Nat { hairpins, ..USUAL }), Server::default(), config(None));
        assert_eq!((found.hairpinning(), found.port_preserved()), (Ok(hairpins), Ok(true)));
    }
}

#[test]
fn lifetimes_are_found_between_two_silences() {
    for (lasts, expected) in [
        (3, Life { at_least: 0, less_than: Some(5) }),
        (32, Life { at_least: 30, less_than: Some(45) }),
        (500, Life { at_least: 60, less_than: None }),
    ] {
        let nat = Some(Nat { lasts, ..USUAL });
        let found = discovered(nat, Server::default(), config(Some(Micros::from_secs(60))));
        assert_eq!(found.lifetime(), Ok(expected), "{lasts}");
    }
    let server = Server { ignores_response_port: true, ..Server::default() };
    let found = discovered(Some(USUAL), server, config(Some(Micros::from_secs(60))));
    assert_eq!(found.lifetime(), Err(Untold::NoResponsePort));
    assert_eq!(found.elsewhere(), (0, None));
    assert_eq!(Discovery::longest_silence(Micros::from_secs(10)), None);
    assert_eq!(Discovery::longest_silence(Micros::from_secs(20)), Some(Micros::from_secs(17)));
}

#[test]
fn a_server_that_cannot_help_is_not_taken_at_its_silence() {
    let told = |server| {
        let found = discovered(Some(USUAL), server, config(None));
        (found.mapping(), found.filtering())
    };
    let (none, other) = (Err(Untold::NoOtherAddress), Server::default());
    assert_eq!(told(Server { one_address: true, ..other }), (none, none));
    let eim = Ok(EndpointIndependent);
    assert_eq!(told(Server { ignores_change: true, ..other }), (eim, Err(Untold::ChangeIgnored)));
    assert_eq!(told(Server { refuses_change: true, ..other }), (eim, Err(Untold::ChangeRefused)));
    let silent = Err(Untold::OtherAddressSilent);
    assert_eq!(told(Server { other_is_dead: true, ..other }), (silent, silent));
}

#[test]
fn two_servers_of_one_address_compare() {
    for (mapping, expected) in [
        (EndpointIndependent, EndpointIndependent),
        (AddressDependent, Dependent),
        (AddressAndPortDependent, Dependent),
    ] {
        // The world's other address stands for another server that names none of its own.
        let nat = Some(Nat { mapping, keeps_ports: false, ..USUAL });
        let second = Some(at("198.51.100.9:3478"));
        let mut found = Discovery::new(NatConfig { second, ..config(None) });
        let mut world =
            World { nat, server: Server::default(), mappings: BTreeMap::new(), loses: 0, packets: 0 };
        let mut now = Micros::ZERO;
        while !found.is_finished() {
            while let Some(out) = found.next(now) {
                let from = world.outward(out.socket, out.to, now);
                let id = Message::parse(&out.octets).unwrap().id;
                found.take(now, out.socket, out.to, &success(id, from, None));
            }
            now += Micros::from_millis(10);
        }
        assert_eq!(found.mapping(), Ok(expected));
        assert_eq!(found.filtering(), Err(Untold::NoOtherAddress));
    }
}

#[test]
fn what_answers_nothing_is_counted_and_not_believed() {
    let mut run = Discovery::new(config(None));
    let out = run.next(Micros::ZERO).expect("the first");
    let id = Message::parse(&out.octets).unwrap().id;
    let own = at("203.0.113.7:40000");
    let mut take =
        |from: &str, octets: &[u8]| run.take(Micros::from_millis(1), Socket::Mapping, at(from), octets);
    take(OTHER, &success(id, own, None));
    take(SERVER, &success(TransactionId([9; 12]), own, None));
    take(SERVER, b"no");
    take(SERVER, &out.octets);
    assert!(!run.is_answered());
    assert_eq!((run.elsewhere(), run.strays()), ((1, Some(at(OTHER))), (2, 1)));
    // Silence ends it.
    let mut now = Micros::ZERO;
    while !run.is_finished() {
        now += Micros::from_millis(10);
        assert!(run.next(now).is_none_or(|again| again.octets == out.octets));
    }
    assert!(now <= Micros::from_secs(3));
    assert_eq!(run.exchanges(), [Exchange::Lost]);
}

#[test]
fn nobody_is_sent_where_no_server_can_be() {
    for (other, followed) in [
        (OTHER, true),
        ("192.0.2.1:3479", false),
        ("198.51.100.9:3478", false),
        ("10.0.0.1:3479", false),
        ("169.254.1.1:3479", false),
        ("127.0.0.1:3479", false),
        ("224.0.0.1:3479", false),
        ("255.255.255.255:3479", false),
        ("0.0.0.0:3479", false),
        ("198.51.100.9:0", false),
    ] {
        let mut run = Discovery::new(config(None));
        let out = run.next(Micros::ZERO).expect("the first");
        let id = Message::parse(&out.octets).unwrap().id;
        let answer = success(id, at("203.0.113.7:1"), Some(at(other)));
        run.take(Micros::ZERO, Socket::Mapping, at(SERVER), &answer);
        assert_eq!(run.other_address().is_some(), followed, "{other}");
    }
    assert!(may_be_asked([127, 0, 0, 1].into(), [127, 0, 0, 2].into()));
    assert!(may_be_asked([10, 0, 0, 1].into(), [10, 0, 0, 2].into()));
}
