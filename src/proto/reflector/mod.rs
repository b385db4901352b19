//! The endpoint's side: answers STAMP packets, sends media down, and logs both for the client's report.
//!
//! One [`Reflector`] serves all sessions of a socket. The shell opens a session ([`Reflector::open_session`]) when the
//! control protocol has admitted it, drains its log every 100 ms ([`Reflector::drain_log`]), and closes it.
//!
//! # What it never does
//!
//! - answer what does not verify with a session's key (unless open STAMP is switched on);
//! - send to an address more than it has just received from it, before that address has echoed a nonce;
//! - send media or capacity load down when the client has not been heard for 500 ms (replays do not count);
//! - allocate for a packet on the way through, once its buffers have grown to the size of the bursts it sees;
//! - log more than [`ReflectorConfig::log_cap`] records of a session between two drains: what is beyond is counted.
//!
//! # Addresses
//!
//! The nonce for an address is an HMAC over it with a secret that never leaves the process: no state is kept for an
//! address that has not echoed it. While the client's address changes (a NAT rebinding), its packets are still answered, each
//! by one no larger, that carries the challenge; media down waits for the echo.

mod answer;
mod config;
mod open;
mod session;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use greenroom_reports::trace::{Half, StreamId};
use greenroom_reports::units::Micros;
use ring::hmac;

pub use config::{OpenStamp, ReflectorConfig, ReflectorCounters, SessionConfig, SessionError, SessionStatus};

use self::open::OpenSessions;
use self::session::Session;
use super::capacity::{Outcome, SearchConfig};
use super::machine::{Arrival, Departure, Machine, Transmit, TransmitKey};
use super::media::MediaPlan;
use super::stamp::{Mode, octets};

/// Longest datagram looked at.
const MAX_DATAGRAM: usize = 1_500;
/// Replies that may wait for the driver; what comes on top is dropped and counted.
const MAX_PENDING: usize = 4_096;
/// Where an authenticated packet carries its SSID.
const SSID_AT: usize = 26;

/// The endpoint's side of all sessions of a socket. See the [module](self).
#[derive(Debug)]
pub struct Reflector {
    config: ReflectorConfig,
    nonce_key: hmac::Key,
    sessions: HashMap<u16, Box<Session>>,
    /// Sessions with media down or a capacity stage.
    streaming: Vec<u16>,
    open: OpenSessions,
    pending: VecDeque<Pending>,
    spare: Vec<Vec<u8>>,
    queue_drops: u64,
    counters: ReflectorCounters,
}

/// A request that waits to be turned into its reply, as late as possible: T3 is taken then.
#[derive(Debug)]
struct Pending {
    /// `None`: open STAMP.
    ssid: Option<u16>,
    arrival: Arrival,
    request: Vec<u8>,
    validated: bool,
    nonce: [u8; 16],
    /// A validation probe: answered, but neither logged nor counted.
    probe: bool,
}

impl Reflector {
    /// Begins without sessions.
    pub fn new(config: ReflectorConfig) -> Self {
        Self {
            nonce_key: hmac::Key::new(hmac::HMAC_SHA256, &config.secret),
            config,
            sessions: HashMap::new(),
            streaming: Vec::new(),
            open: OpenSessions::default(),
            pending: VecDeque::new(),
            spare: Vec::new(),
            queue_drops: 0,
            counters: ReflectorCounters::default(),
        }
    }

    /// Opens a session; its clock begins at `now`.
    ///
    /// # Errors
    ///
    /// [`SessionError::SsidTaken`], also for SSID 0, which plain STAMP uses.
    pub fn open_session(&mut self, now: Micros, config: &SessionConfig) -> Result<(), SessionError> {
        let ssid = config.ssid;
        if ssid == 0 || self.sessions.contains_key(&ssid) {
            return Err(SessionError::SsidTaken(ssid));
        }
        let session = Session::new(now, config, &self.config, self.queue_drops);
        self.sessions.insert(ssid, Box::new(session));
        Ok(())
    }

    /// Takes an address for validated without asking: what carries the session's packets (QUIC, TLS, DTLS) has shown whose it is. Unknown
    /// sessions are ignored.
    pub fn vouch(&mut self, ssid: u16, address: SocketAddr) {
        if let Some(session) = self.sessions.get_mut(&ssid) {
            session.vouch(address);
        }
    }

    /// Closes a session and forgets it. Drain its log first.
    pub fn close_session(&mut self, ssid: u16) {
        self.sessions.remove(&ssid);
        self.streaming.retain(|it| *it != ssid);
    }

    /// Starts media down, as soon as the client's address is validated. `plan` is on the machine's clock.
    ///
    /// # Errors
    ///
    /// [`SessionError`]: nothing is started then.
    pub fn start_stream(&mut self, now: Micros, ssid: u16, plan: MediaPlan) -> Result<(), SessionError> {
        let session = self.sessions.get_mut(&ssid).ok_or(SessionError::Unknown(ssid))?;
        session.start_stream(now, plan)?;
        self.wake_for(ssid);
        Ok(())
    }

    /// Begins to search the rate down, within what the session was granted: rate, packet rate and time are cut to it.
    ///
    /// # Errors
    ///
    /// [`SessionError`]: nothing is started then.
    pub fn start_capacity(
        &mut self,
        now: Micros,
        ssid: u16,
        stream: StreamId,
        config: SearchConfig,
    ) -> Result<(), SessionError> {
        let session = self.sessions.get_mut(&ssid).ok_or(SessionError::Unknown(ssid))?;
        session.start_capacity(now, stream, config)?;
        self.wake_for(ssid);
        Ok(())
    }

    /// How a search down ended, once it has.
    pub fn capacity_outcome(&self, ssid: u16, stream: StreamId) -> Option<Outcome> {
        self.sessions.get(&ssid)?.capacity_outcome(stream)
    }

    /// Stops media down, or a search, which then has no outcome. Unknown sessions and streams are ignored.
    pub fn stop_stream(&mut self, ssid: u16, stream: StreamId) {
        if let Some(session) = self.sessions.get_mut(&ssid) {
            session.stop_stream(stream);
        }
    }

    /// Takes what a session has logged since the last call.
    ///
    /// Departures whose kernel stamp may still come (100 ms) are kept for the next call, unless this is the `last`.
    pub fn drain_log(&mut self, now: Micros, ssid: u16, last: bool) -> Option<Half> {
        Some(self.sessions.get_mut(&ssid)?.drain(now, last))
    }

    /// How a session stands.
    pub fn session(&self, ssid: u16) -> Option<SessionStatus> {
        Some(self.sessions.get(&ssid)?.status())
    }

    /// What came and was not answered, over all sessions.
    pub const fn counters(&self) -> &ReflectorCounters {
        &self.counters
    }

    /// The nonce that proves that whoever sends it receives at `to`.
    fn nonce(&self, ssid: u16, to: SocketAddr) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.nonce_key);
        context.update(&ssid.to_be_bytes());
        match to {
            SocketAddr::V4(v4) => context.update(&v4.ip().octets()),
            SocketAddr::V6(v6) => context.update(&v6.ip().octets()),
        }
        context.update(&to.port().to_be_bytes());
        octets(context.sign().as_ref(), 0).expect("SHA-256 has 32 octets")
    }

    fn queue(&mut self, pending: Pending) {
        if self.pending.len() >= MAX_PENDING {
            self.counters.overflowed += 1;
            self.recycle(pending.request);
        } else {
            self.pending.push_back(pending);
        }
    }

    fn buffer(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(MAX_DATAGRAM));
        buffer.clear();
        buffer.extend_from_slice(payload);
        buffer
    }

    fn recycle(&mut self, buffer: Vec<u8>) {
        self.spare.push(buffer);
    }

    fn session_datagram(&mut self, now: Micros, ssid: u16, arrival: &Arrival, payload: &[u8]) {
        let nonce = self.nonce(ssid, arrival.from);
        let Some(session) = self.sessions.get_mut(&ssid) else {
            self.counters.unknown += 1;
            return;
        };
        if let Some(accepted) = session.receive(now, arrival, payload, nonce, &mut self.counters) {
            let request = self.buffer(payload);
            self.queue(Pending {
                ssid: Some(ssid),
                arrival: *arrival,
                request,
                validated: accepted.validated,
                nonce,
                probe: accepted.probe,
            });
        } else if session.has_stage() {
            self.wake_for(ssid);
        }
    }

    /// Sees to it that a session is asked for packets that answer nothing.
    fn wake_for(&mut self, ssid: u16) {
        if !self.streaming.contains(&ssid) {
            self.streaming.push(ssid);
        }
    }

    fn poll_media(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        let sessions = &mut self.sessions;
        self.streaming
            .retain(|ssid| sessions.get_mut(ssid).is_some_and(|session| session.keep_streaming(now)));
        let (_, ssid) = self
            .streaming
            .iter()
            .filter_map(|ssid| Some((self.sessions.get(ssid)?.next_media()?, *ssid)))
            .filter(|(at, _)| *at <= now)
            .min()?;
        self.sessions.get_mut(&ssid)?.send_media(now, payload)
    }
}

/// Names a packet of a session. No session has SSID 0: keys below 2^48 name what nobody asks about again (replies to
/// validation probes and to open STAMP).
fn transmit_key(ssid: u16, stream: StreamId, seq: u32) -> TransmitKey {
    TransmitKey(u64::from(ssid) << 48 | u64::from(stream.0) << 32 | u64::from(seq))
}

impl Machine for Reflector {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        if payload.len() > MAX_DATAGRAM {
            self.counters.oversized += 1;
            return;
        }
        let ssid = octets(payload, SSID_AT).map(u16::from_be_bytes);
        match ssid {
            Some(ssid)
                if payload.len() >= Mode::Authenticated.base_len() && self.sessions.contains_key(&ssid) =>
            {
                self.session_datagram(now, ssid, arrival, payload);
            }
            _ if self.config.open != OpenStamp::Off && payload.len() >= Mode::Open.base_len() => {
                if !self.open.admits(now, arrival.from.ip()) {
                    self.counters.throttled += 1;
                    return;
                }
                let request = self.buffer(payload);
                let (validated, nonce) = (false, [0; 16]);
                self.queue(Pending {
                    ssid: None,
                    arrival: *arrival,
                    request,
                    validated,
                    nonce,
                    probe: false,
                });
            }
            _ => self.counters.unknown += 1,
        }
    }

    fn handle_departure(&mut self, departure: &Departure) {
        let ssid = u16::try_from(departure.key.0 >> 48).unwrap_or(0);
        if let Some(session) = self.sessions.get_mut(&ssid) {
            session.departed(departure);
        }
    }

    fn handle_drops(&mut self, now: Micros, total: u64) {
        if total != self.queue_drops {
            self.queue_drops = total;
            for session in self.sessions.values_mut() {
                session.queue_drops(now, total);
            }
        }
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        payload.clear();
        while let Some(pending) = self.pending.pop_front() {
            payload.clear();
            payload.extend_from_slice(&pending.request);
            let transmit = match pending.ssid {
                Some(ssid) => {
                    self.sessions.get_mut(&ssid).and_then(|session| session.reply(now, &pending, payload))
                }
                None => self.open.reply(now, &pending.arrival, &self.config, payload),
            };
            self.recycle(pending.request);
            if let Some(mut transmit) = transmit {
                if transmit.key == TransmitKey(0) {
                    transmit.key = TransmitKey(self.counters.replies);
                }
                self.counters.replies += 1;
                return Some(transmit);
            }
        }
        payload.clear();
        self.poll_media(now, payload)
    }

    fn next_deadline(&self) -> Option<Micros> {
        if self.pending.is_empty() {
            self.streaming.iter().filter_map(|ssid| self.sessions.get(ssid)?.next_media()).min()
        } else {
            self.pending.front().map(|pending| pending.arrival.at)
        }
    }

    fn is_finished(&self) -> bool {
        false
    }
}
