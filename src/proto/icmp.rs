//! ICMP echo (RFC 792, RFC 4443 section 4): questions that every host is to answer (RFC 1122 section 3.2.2.6), and routers do so at
//! their leisure.

use std::net::SocketAddr;

use super::asking::{Asker, AskerConfig, Heard, Questions};

/// Asks one host.
pub type Prober = Asker<Echo>;

/// Octets of an echo message before its data.
const HEADER: usize = 8;
/// Octets of data: as many as `ping` sends.
const DATA: usize = 56;
/// Octets of a header of IPv4 without options, and of IPv6.
const IP_HEADERS: [u16; 2] = [20, 40];

/// Which socket carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// One for echo alone, which anybody may open where the system allows it: the system fills in the identifier, and delivers nothing
    /// but answers to it.
    Ping,
    /// A raw one, for the privileged: it delivers all of the machine's ICMP, on IPv4 with the IP header.
    Raw,
}

/// Asks a host, whose port does not matter: `count` times.
pub fn prober(config: AskerConfig, count: u32, carrier: Carrier, secret: Secret) -> Prober {
    Asker::new(config, Echo::new(config.server.is_ipv4(), count, carrier, secret))
}

/// What names a run and keeps others from answering in the host's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secret {
    /// Names this run among others of this machine.
    pub identifier: u16,
    /// Nobody who has not seen a request can answer it.
    pub token: [u8; 16],
}

/// Echo requests.
#[derive(Debug)]
pub struct Echo {
    v4: bool,
    count: u32,
    carrier: Carrier,
    secret: Secret,
}

impl Echo {
    /// So many of them to a host of this family.
    pub const fn new(v4: bool, count: u32, carrier: Carrier, secret: Secret) -> Self {
        Self { v4, count, carrier, secret }
    }

    /// The data of question `index`: the token, the whole number, and the token again until it is as long as usual.
    fn data(&self, index: u32) -> Vec<u8> {
        let token = self.secret.token;
        let head = token.into_iter().chain(index.to_be_bytes());
        head.chain(token.into_iter().cycle()).take(DATA).collect()
    }

    const fn request(&self) -> u8 {
        if self.v4 { 8 } else { 128 }
    }

    const fn reply(&self) -> u8 {
        if self.v4 { 0 } else { 129 }
    }

    fn message<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        if self.carrier == Carrier::Raw && self.v4 { without_ip_header(payload) } else { Some(payload) }
    }
}

impl Questions for Echo {
    fn count(&self) -> usize {
        self.count as usize
    }

    fn write(&mut self, index: usize, payload: &mut Vec<u8>) {
        let index = number(index);
        payload.extend([self.request(), 0, 0, 0]);
        payload.extend(self.secret.identifier.to_be_bytes());
        payload.extend(low(index).to_be_bytes());
        payload.extend(self.data(index));
        // The system computes that of IPv6, which covers addresses (RFC 4443 section 2.3).
        if self.v4 {
            let sum = checksum(payload).to_be_bytes();
            payload.get_mut(2..4).into_iter().for_each(|field| field.copy_from_slice(&sum));
        }
    }

    fn read(&self, payload: &[u8], asked: usize) -> Heard {
        let message = self.message(payload).and_then(|message| message.split_first_chunk::<HEADER>());
        let Some(([kind, code, _, _, i0, i1, s0, s1], data)) = message else { return Heard::Foreign };
        let ours = self.carrier == Carrier::Ping || u16::from_be_bytes([*i0, *i1]) == self.secret.identifier;
        if *kind != self.reply() || *code != 0 || !ours {
            return Heard::Foreign;
        }
        let index = data.get(self.secret.token.len()..).and_then(|rest| rest.first_chunk::<4>());
        let Some(index) = index.map(|index| u32::from_be_bytes(*index)) else { return Heard::Garbage };
        let genuine = u16::from_be_bytes([*s0, *s1]) == low(index) && data == self.data(index).as_slice();
        match genuine {
            true if index < number(asked) => Heard::Answer(index as usize),
            true => Heard::Stranger,
            false => Heard::Garbage,
        }
    }

    fn note(&mut self, _index: usize, _payload: &[u8]) {}

    fn is_from(&self, server: SocketAddr, from: SocketAddr) -> bool {
        server.ip() == from.ip()
    }

    fn ip_bytes(&self, _server: SocketAddr, payload: &[u8]) -> u16 {
        let [v4, v6] = IP_HEADERS;
        let message = self.message(payload).unwrap_or(payload);
        let header = if self.v4 { v4 } else { v6 };
        u16::try_from(message.len()).unwrap_or(u16::MAX).saturating_add(header)
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The sequence number of question `index`: its low 16 bits.
fn low(index: u32) -> u16 {
    let [.., high, low] = index.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// What stands behind an IPv4 header with its options (RFC 791 section 3.1).
fn without_ip_header(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let length = usize::from(first & 0x0F) * 4;
    (first >> 4 == 4 && length >= 20).then(|| packet.get(length..)).flatten()
}

/// The ones' complement of the ones' complement sum (RFC 1071) of a message whose checksum field is zero.
pub(super) fn checksum(message: &[u8]) -> u16 {
    let sum: u32 = message
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    let folded = (folded & 0xFFFF) + (folded >> 16);
    // Folded twice, it has 16 bits.
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = Secret { identifier: 0x1234, token: *b"0123456789abcdef" };

    fn echo(v4: bool, carrier: Carrier) -> Echo {
        Echo { v4, count: 70_001, carrier, secret: SECRET }
    }

    fn question(echo: &mut Echo, index: usize) -> Vec<u8> {
        let mut payload = Vec::new();
        echo.write(index, &mut payload);
        payload
    }

    /// A request as its host answers it.
    fn answer(echo: &mut Echo, index: usize) -> Vec<u8> {
        let mut reply = question(echo, index);
        reply[0] = echo.reply();
        reply
    }

    /// RFC 1071 section 3: the octets 00 01 f2 03 f4 f5 f6 f7 sum up to ddf2.
    #[test]
    fn the_checksum_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        // With an odd octet, as if a zero followed.
        assert_eq!(checksum(&[0x01]), !0x0100);
        assert_eq!(checksum(&[]), 0xFFFF);
    }

    #[test]
    fn a_message_as_a_whole_sums_up_to_nothing() {
        let mut echo = echo(true, Carrier::Raw);
        for index in [0, 1, 70_000] {
            assert_eq!(checksum(&question(&mut echo, index)), 0);
        }
    }

    #[test]
    fn answers_are_told_from_everything_else() {
        let mut echo = echo(true, Carrier::Ping);
        let reply = answer(&mut echo, 70_000);
        assert_eq!(echo.read(&reply, 70_001), Heard::Answer(70_000));
        assert_eq!(echo.read(&reply, 70_000), Heard::Stranger, "not asked yet");
        let mut damaged = reply.clone();
        damaged[60] ^= 1;
        assert_eq!(echo.read(&damaged, 70_001), Heard::Garbage);
        let own = question(&mut echo, 0);
        assert_eq!(echo.read(&own, 1), Heard::Foreign, "its own request");
        for length in 0..reply.len() {
            assert!(!matches!(echo.read(&reply[..length], 70_001), Heard::Answer(_)), "{length}");
        }
    }

    #[test]
    fn a_raw_socket_brings_a_header_on_ipv4_and_what_is_others() {
        let mut v4 = echo(true, Carrier::Raw);
        let reply = answer(&mut v4, 3);
        let with_header =
            |first: u8, length: usize| [vec![first], vec![0; length - 1], reply.clone()].concat();
        assert_eq!(v4.read(&with_header(0x45, 20), 4), Heard::Answer(3));
        assert_eq!(v4.read(&with_header(0x46, 24), 4), Heard::Answer(3), "with options");
        let server = ([192, 0, 2, 1], 0).into();
        assert_eq!(v4.ip_bytes(server, &with_header(0x45, 20)), 84, "as on the wire");
        for (first, length) in [(0x44, 16), (0x65, 20), (0x4F, 20)] {
            assert_eq!(v4.read(&with_header(first, length), 4), Heard::Foreign);
        }
        let other = Echo { secret: Secret { identifier: 0x1235, ..SECRET }, ..echo(true, Carrier::Raw) };
        assert_eq!(other.read(&with_header(0x45, 20), 4), Heard::Foreign);
        let mut v6 = echo(false, Carrier::Raw);
        let reply = answer(&mut v6, 3);
        assert_eq!(v6.read(&reply, 4), Heard::Answer(3));
    }
}
