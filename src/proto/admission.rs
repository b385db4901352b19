//! Who may measure, how many at once, and how fast in all: an endpoint must not become a weapon.
//!
//! Every session declares the most that it will ask for; it is admitted only while the sums of bit and packet rates stay
//! below the endpoint's, and it ends when its time is up. Without a token everybody may come, and then each network (/24,
//! /48) has a share: of the sessions open at once, of the rates, and of new sessions per minute.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use greenroom_reports::units::{Bitrate, Micros};
use jiff::{SignedDuration, Timestamp};
use ring::digest;

use super::control::{Limits, RefuseCode, SearchWish};
use super::grant::{GrantError, GrantKey, UsedGrants};
use crate::address::Token;

/// What an endpoint gives in all and to one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Sessions open at once.
    pub max_sessions: usize,
    /// Sum of all sessions' bit rates, each way.
    pub max_bitrate: Bitrate,
    /// Sum of all sessions' packet rates, each way.
    pub max_pps: u32,
    /// What one session gets at most.
    pub per_session: Limits,
    /// A network's share in open mode, as one part in this many. 0 and 1: no bound.
    pub network_share: u32,
    /// New sessions per network and minute in open mode.
    pub network_sessions_per_minute: u32,
}

impl Default for Capacity {
    /// For a small server: 64 sessions, 200 Mbit/s and 100,000 packets/s in all, a quarter of it per network.
    fn default() -> Self {
        Self {
            max_sessions: 64,
            max_bitrate: Bitrate::from_kbps(200_000),
            max_pps: 100_000,
            per_session: Limits {
                max_bitrate_bps: Bitrate::from_kbps(100_000),
                max_pps: 20_000,
                max_duration_us: Micros::from_secs(120),
            },
            network_share: 4,
            network_sessions_per_minute: 30,
        }
    }
}

/// Who is let in.
#[derive(Debug, Clone)]
pub enum Access {
    /// Everybody, each network with its share.
    Open,
    /// Whoever shows one of these.
    Tokens(TokenSet),
    /// Whoever shows a run grant by the holder of this key, once, or one of these tokens.
    Grants(GrantKey, TokenSet),
}

/// Tokens that let a client in. Only their SHA-256 digests are kept.
#[derive(Debug, Clone, Default)]
pub struct TokenSet {
    digests: Vec<[u8; 32]>,
}

impl TokenSet {
    /// Takes one token per line; blank lines and lines that begin with `#` are passed over.
    pub fn parse(text: &str) -> Self {
        let digests = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(token_digest)
            .collect();
        Self { digests }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// Whether no token is known: then nobody gets in.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Whether `token` is one of them. Takes the same time whichever it is and wherever it differs.
    pub fn contains(&self, token: &Token) -> bool {
        let digest = token_digest(token.expose());
        let mut found = false;
        for known in &self.digests {
            let difference = known.iter().zip(&digest).fold(0_u8, |sum, (a, b)| sum | (a ^ b));
            found |= std::hint::black_box(difference) == 0;
        }
        found
    }
}

/// Names an admitted session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Admitted(u64);

/// Why a session is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{say}")]
pub struct Refusal {
    /// The code that goes to the client.
    pub code: RefuseCode,
    /// The same in words.
    pub say: String,
    /// When it may be worth asking again.
    pub retry_after: Option<Micros>,
}

/// The book of sessions.
#[derive(Debug)]
pub struct Admission {
    capacity: Capacity,
    access: Access,
    used: UsedGrants,
    /// Wall time at zero of the clock that [`Admission::admit`] is given: grants end by the wall.
    wall: Timestamp,
    draining: bool,
    next: u64,
    open: BTreeMap<Admitted, Session>,
    arrivals: HashMap<Network, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    network: Network,
    /// What it was admitted for: counts against its network's share.
    limits: Limits,
    /// What it was granted on top for a capacity search.
    search: Option<SearchWish>,
    expires: Micros,
}

impl Session {
    /// The most that it may send.
    fn most(&self) -> SearchWish {
        let Limits { max_bitrate_bps, max_pps, .. } = self.limits;
        self.search.unwrap_or(SearchWish { max_bitrate_bps, max_pps })
    }
}

/// New sessions of one network, as a bucket that fills with time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: f64,
    at: Micros,
}

/// The part of an address that a person is likely to hold whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 3]),
    V6([u16; 3]),
}

/// Networks whose new sessions are counted at once; beyond it full buckets are forgotten first.
const MAX_BUCKETS: usize = 65_536;

impl Admission {
    /// Opens an empty book.
    pub fn new(capacity: Capacity, access: Access) -> Self {
        Self {
            capacity,
            access,
            used: UsedGrants::default(),
            wall: Timestamp::UNIX_EPOCH,
            draining: false,
            next: 0,
            open: BTreeMap::new(),
            arrivals: HashMap::new(),
        }
    }

    /// Sets the wall time at zero of its clock, by which run grants end.
    #[must_use]
    pub fn with_wall(self, wall: Timestamp) -> Self {
        Self { wall, ..self }
    }

    /// Admits a session with at most what it wants and at most what one session gets.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that can be sent as it stands. It does not tell more about the endpoint than its code needs.
    pub fn admit(
        &mut self,
        now: Micros,
        from: IpAddr,
        token: Option<&Token>,
        wants: Limits,
    ) -> Result<(Admitted, Limits), Refusal> {
        self.look(now, token)?;
        self.use_up(now, token)?;
        let network = Network::of(from);
        let limits = self.granted(wants)?;
        self.check_room(limits)?;
        if matches!(self.access, Access::Open) {
            self.check_share(now, network, limits)?;
        }
        let id = Admitted(self.next);
        self.next += 1;
        let expires = now + limits.max_duration_us;
        self.open.insert(id, Session { network, limits, search: None, expires });
        Ok((id, limits))
    }

    /// Grants an admitted session more for a capacity search, as far as there is room, and tells what it may send then.
    ///
    /// It gets half of what is free at most, so that whoever comes next finds room, and in open mode a network has one
    /// such grant at a time. It does not count against the network's share.
    pub fn widen(&mut self, id: Admitted, wish: SearchWish) -> Option<Limits> {
        let session = *self.open.get(&id)?;
        let open = matches!(self.access, Access::Open);
        let taken = |other: &Session| other.network == session.network && other.search.is_some();
        if open && self.capacity.network_share > 1 && self.open.values().any(taken) {
            return Some(session.limits);
        }
        let (bitrate, pps) = self.load();
        let base = session.limits;
        let free_bitrate = self.capacity.max_bitrate.bps().saturating_sub(bitrate.bps());
        let free_pps = u64::from(self.capacity.max_pps).saturating_sub(pps);
        let most = self.capacity.per_session;
        let limits = Limits {
            max_bitrate_bps: wish
                .max_bitrate_bps
                .min(most.max_bitrate_bps)
                .min(base.max_bitrate_bps + Bitrate::from_bps(free_bitrate / 2))
                .max(base.max_bitrate_bps),
            max_pps: wish
                .max_pps
                .min(most.max_pps)
                .min(base.max_pps.saturating_add(u32::try_from(free_pps / 2).unwrap_or(u32::MAX)))
                .max(base.max_pps),
            ..base
        };
        let Limits { max_bitrate_bps, max_pps, .. } = limits;
        if let Some(session) = self.open.get_mut(&id).filter(|_| limits != base) {
            session.search = Some(SearchWish { max_bitrate_bps, max_pps });
        }
        Some(limits)
    }

    /// Ends a session. Unknown ones are passed over.
    pub fn release(&mut self, id: Admitted) {
        self.open.remove(&id);
    }

    /// Ends every session whose time is up and names them.
    pub fn expire(&mut self, now: Micros) -> Vec<Admitted> {
        let over: Vec<Admitted> =
            self.open.iter().filter(|(_, session)| session.expires <= now).map(|(id, _)| *id).collect();
        for id in &over {
            self.open.remove(id);
        }
        over
    }

    /// Admits nobody from now on. Open sessions go on to their end.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Sessions open now.
    pub fn open_sessions(&self) -> usize {
        self.open.len()
    }

    /// Whether whoever shows this token could be let in now. It stays good: nothing is used up by asking.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] that [`Admission::admit`] would give.
    pub fn look(&mut self, now: Micros, token: Option<&Token>) -> Result<(), Refusal> {
        self.expire(now);
        if self.draining {
            let say = "this endpoint is about to stop. Use another one, or try again in a minute.";
            return Err(refusal(RefuseCode::Draining, say, Some(Micros::from_secs(60))));
        }
        match (&self.access, token) {
            (Access::Open, _) => Ok(()),
            (Access::Tokens(known) | Access::Grants(_, known), Some(token)) if known.contains(token) => {
                Ok(())
            }
            (Access::Tokens(_), Some(_)) => {
                Err(refusal(RefuseCode::WrongToken, "this endpoint does not know the token.", None))
            }
            (Access::Grants(key, _), Some(token)) => {
                let checked = self.wall(now).and_then(|wall| self.used.check(key, token, wall));
                checked.map_err(|error| refusal(RefuseCode::WrongToken, &error.to_string(), None))
            }
            (Access::Tokens(_) | Access::Grants(..), None) => {
                Err(refusal(RefuseCode::TokenRequired, "this endpoint asks for a token.", None))
            }
        }
    }

    /// Takes a grant, which is good once. Whether it is good was looked at.
    fn use_up(&mut self, now: Micros, token: Option<&Token>) -> Result<(), Refusal> {
        let wall = self.wall(now);
        match (&self.access, token) {
            (Access::Grants(key, known), Some(token)) if !known.contains(token) => {
                let taken = wall.and_then(|wall| self.used.take(key, token, wall));
                taken.map_err(|error| refusal(RefuseCode::WrongToken, &error.to_string(), None))
            }
            _ => Ok(()),
        }
    }

    /// The wall time at a point of the clock.
    fn wall(&self, now: Micros) -> Result<Timestamp, GrantError> {
        self.wall.checked_add(SignedDuration::from_micros(now.get())).map_err(|_| GrantError::Expired)
    }

    fn granted(&self, wants: Limits) -> Result<Limits, Refusal> {
        if wants.max_pps == 0 || wants.max_bitrate_bps.bps() == 0 || wants.max_duration_us <= Micros::ZERO {
            return Err(refusal(RefuseCode::BadRequest, "a session asks for a rate and a duration.", None));
        }
        let most = self.capacity.per_session;
        Ok(Limits {
            max_bitrate_bps: wants.max_bitrate_bps.min(most.max_bitrate_bps),
            max_pps: wants.max_pps.min(most.max_pps),
            max_duration_us: wants.max_duration_us.min(most.max_duration_us),
        })
    }

    fn check_room(&self, limits: Limits) -> Result<(), Refusal> {
        if self.open.len() >= self.capacity.max_sessions {
            return Err(refusal(RefuseCode::Busy, "all sessions are taken.", self.next_end()));
        }
        let (bitrate, pps) = self.load();
        if bitrate + limits.max_bitrate_bps > self.capacity.max_bitrate
            || pps + u64::from(limits.max_pps) > u64::from(self.capacity.max_pps)
        {
            return Err(refusal(
                RefuseCode::Rate,
                "others use the endpoint's rate at the moment.",
                self.next_end(),
            ));
        }
        Ok(())
    }

    fn check_share(&mut self, now: Micros, network: Network, limits: Limits) -> Result<(), Refusal> {
        let share = u64::from(self.capacity.network_share.max(1));
        let of_network = self.open.values().filter(|session| session.network == network).count();
        let max_sessions = (self.capacity.max_sessions as u64).div_ceil(share);
        let of_it = || self.open.values().filter(|session| session.network == network);
        let bitrate: Bitrate = of_it().map(|session| session.limits.max_bitrate_bps).sum();
        let pps: u64 = of_it().map(|session| u64::from(session.limits.max_pps)).sum();
        let too_many = of_network as u64 >= max_sessions
            || (bitrate + limits.max_bitrate_bps).bps() > self.capacity.max_bitrate.bps().div_ceil(share)
            || pps + u64::from(limits.max_pps) > u64::from(self.capacity.max_pps).div_ceil(share);
        // A single session of an otherwise idle network is let in even when one session's limit is above the share.
        if too_many && of_network > 0 {
            return Err(refusal(RefuseCode::Quota, "your network's share is in use.", self.next_end()));
        }
        self.take_from_bucket(now, network)
    }

    fn take_from_bucket(&mut self, now: Micros, network: Network) -> Result<(), Refusal> {
        let per_minute = f64::from(self.capacity.network_sessions_per_minute);
        if per_minute <= 0.0 {
            return Ok(());
        }
        let refilled = |bucket: &Bucket| {
            (bucket.level + (now - bucket.at).as_secs().max(0.0) / 60.0 * per_minute).min(per_minute)
        };
        if self.arrivals.len() >= MAX_BUCKETS {
            self.arrivals.retain(|_, bucket| refilled(bucket) < per_minute);
        }
        if self.arrivals.len() >= MAX_BUCKETS && !self.arrivals.contains_key(&network) {
            return Err(refusal(RefuseCode::Busy, "too many networks at once.", Some(Micros::from_secs(60))));
        }
        let bucket = self.arrivals.entry(network).or_insert(Bucket { level: per_minute, at: now });
        let level = refilled(bucket);
        *bucket = Bucket { level, at: now };
        if level < 1.0 {
            let wait = Micros::from_ms_f64((1.0 - level) * 60_000.0 / per_minute);
            return Err(refusal(RefuseCode::Quota, "your network has started too many sessions.", wait));
        }
        bucket.level = level - 1.0;
        Ok(())
    }

    /// The sums of bit and packet rates that all sessions together may send.
    fn load(&self) -> (Bitrate, u64) {
        let most = || self.open.values().map(Session::most);
        (most().map(|most| most.max_bitrate_bps).sum(), most().map(|most| u64::from(most.max_pps)).sum())
    }

    /// A guess at when there is room again. A session mostly ends long before it expires.
    fn next_end(&self) -> Option<Micros> {
        Some(Micros::from_secs(5))
    }
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, c, _] = address.octets();
        Self::V4([a, b, c])
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let [a, b, c, ..] = address.segments();
        Self::V6([a, b, c])
    }
}

fn token_digest(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    bytes
}

fn refusal(code: RefuseCode, say: &str, retry_after: Option<Micros>) -> Refusal {
    Refusal { code, say: say.to_owned(), retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTS: Limits = Limits {
        max_bitrate_bps: Bitrate::from_kbps(10_000),
        max_pps: 1_000,
        max_duration_us: Micros::from_secs(30),
    };

    fn small() -> Capacity {
        Capacity {
            max_sessions: 4,
            max_bitrate: Bitrate::from_kbps(100_000),
            max_pps: 100_000,
            network_share: 2,
            network_sessions_per_minute: 3,
            ..Capacity::default()
        }
    }

    fn code(result: Result<(Admitted, Limits), Refusal>) -> RefuseCode {
        result.expect_err("to be refused").code
    }

    fn address(last_two: [u8; 2]) -> IpAddr {
        IpAddr::from([198, 51, last_two[0], last_two[1]])
    }

    #[test]
    fn a_network_gets_its_share_and_no_more() {
        let mut book = Admission::new(small(), Access::Open);
        let now = Micros::ZERO;
        book.admit(now, address([1, 1]), None, WANTS).expect("first of its network");
        book.admit(now, address([1, 2]), None, WANTS).expect("second of its network");
        assert_eq!(code(book.admit(now, address([1, 3]), None, WANTS)), RefuseCode::Quota);
        book.admit(now, address([2, 1]), None, WANTS).expect("another network");
        let mapped: IpAddr = "::ffff:198.51.1.9".parse().expect("an address");
        assert_eq!(code(book.admit(now, mapped, None, WANTS)), RefuseCode::Quota, "mapped IPv4 is IPv4");
    }

    #[test]
    fn new_sessions_per_minute_are_bounded_and_come_back() {
        let mut book = Admission::new(small(), Access::Open);
        for _ in 0..3 {
            let (id, _) = book.admit(Micros::ZERO, address([1, 1]), None, WANTS).expect("within the bucket");
            book.release(id);
        }
        let refused = book.admit(Micros::ZERO, address([1, 1]), None, WANTS).expect_err("bucket is empty");
        assert_eq!((refused.code, refused.retry_after), (RefuseCode::Quota, Some(Micros::from_secs(20))));
        book.admit(Micros::from_secs(20), address([1, 1]), None, WANTS).expect("one has come back");
    }

    #[test]
    fn sums_of_rates_are_bounded() {
        let capacity = Capacity { max_bitrate: Bitrate::from_kbps(25_000), network_share: 1, ..small() };
        let mut book = Admission::new(capacity, Access::Open);
        let (first, _) = book.admit(Micros::ZERO, address([1, 1]), None, WANTS).expect("fits");
        book.admit(Micros::ZERO, address([2, 1]), None, WANTS).expect("fits");
        assert_eq!(code(book.admit(Micros::ZERO, address([3, 1]), None, WANTS)), RefuseCode::Rate);
        book.release(first);
        book.admit(Micros::ZERO, address([3, 1]), None, WANTS).expect("there is room again");
    }

    #[test]
    fn sessions_expire_and_make_room() {
        let mut book = Admission::new(Capacity { max_sessions: 1, ..small() }, Access::Open);
        let (id, limits) = book.admit(Micros::ZERO, address([1, 1]), None, WANTS).expect("fits");
        assert_eq!(limits.max_duration_us, Micros::from_secs(30));
        assert_eq!(code(book.admit(Micros::from_secs(29), address([2, 1]), None, WANTS)), RefuseCode::Busy);
        assert_eq!(book.expire(Micros::from_secs(30)), [id]);
        book.admit(Micros::from_secs(30), address([2, 1]), None, WANTS).expect("room");
    }

    #[test]
    fn only_known_tokens_open_a_closed_endpoint() {
        let access = Access::Tokens(TokenSet::parse("# ours\n\n  alpha \nbeta\n"));
        let mut book = Admission::new(small(), access.clone());
        assert_eq!(code(book.admit(Micros::ZERO, address([1, 1]), None, WANTS)), RefuseCode::TokenRequired);
        let wrong = Token::new("alph");
        assert_eq!(
            code(book.admit(Micros::ZERO, address([1, 1]), wrong.as_ref(), WANTS)),
            RefuseCode::WrongToken
        );
        let right = Token::new("beta");
        book.admit(Micros::ZERO, address([1, 1]), right.as_ref(), WANTS).expect("known");
        assert!(!format!("{access:?}").contains("alpha"));
        assert!(TokenSet::parse("# nothing\n").is_empty());
    }

    #[test]
    fn nothing_for_nothing_and_nobody_while_draining() {
        let mut book = Admission::new(small(), Access::Open);
        let nothing = Limits { max_pps: 0, ..WANTS };
        assert_eq!(code(book.admit(Micros::ZERO, address([1, 1]), None, nothing)), RefuseCode::BadRequest);
        book.drain();
        assert_eq!(code(book.admit(Micros::ZERO, address([1, 1]), None, WANTS)), RefuseCode::Draining);
    }

    #[test]
    fn a_search_gets_half_of_what_is_free_and_one_per_network() {
        let mut book = Admission::new(Capacity::default(), Access::Open);
        let wish = SearchWish { max_bitrate_bps: Bitrate::from_kbps(1_000_000), max_pps: 120_000 };
        let mut admit = |from: &str| {
            let from = from.parse().expect("an address");
            let (id, base) = book.admit(Micros::ZERO, from, None, WANTS).expect("there is room");
            let limits = book.widen(id, wish).expect("it is open");
            assert_eq!(limits.max_duration_us, base.max_duration_us);
            (limits.max_bitrate_bps.bps() / 1_000, limits.max_pps)
        };
        // Of 200 Mbit/s 10 are its own: half of 190 on top, but no more than one session gets.
        assert_eq!(admit("192.0.2.1"), (100_000, 20_000));
        assert_eq!(admit("192.0.2.2"), (10_000, 1_000), "the same network again: without");
        // 200 less 100, 10 and its own 10 leaves 80.
        assert_eq!(admit("198.51.100.1"), (50_000, 20_000));
        assert_eq!(admit("203.0.113.1"), (10_000 + 15_000, 20_000));
        let (id, _) = book
            .admit(Micros::ZERO, "203.0.113.2".parse().expect("an address"), None, WANTS)
            .expect("searches leave room for others");
        book.release(id);
        assert_eq!(book.widen(id, wish), None, "it is gone");
    }
}
