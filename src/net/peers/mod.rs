//! Browsers that come by WebRTC: many sessions on one UDP socket, each with a data channel for control frames and one for datagrams, and
//! where they offer sound and picture, with these, which are sent back.
//!
//! This end is ICE-lite (RFC 8445 section 2.5): it answers checks and sends none. Sessions are told apart by the user name in a STUN
//! request, which holds what this end called itself for one of them; from an address that a session has proven, everything else is its.
//! Every session is driven by a task of its own, so that what one peer sends holds nobody else up and can break its own session alone.

mod echo;
mod peer;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use greenroom_reports::units::Micros;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use ring::rand::{SecureRandom, SystemRandom};
use str0m::bwe::Bitrate as Estimate;
use str0m::change::SdpOffer;
use str0m::channel::{ChannelConfig, Reliability};
use str0m::config::DtlsCert;
use str0m::format::CodecConfig;
use str0m::{Candidate, IceCreds, RtcConfig, RtcError};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::clock::Clock;
use super::udp::{OpenError, UdpOptions, bind, bound_address};
use super::webrtc::local_address;
use crate::proto::rtp::media::VIDEO_RATE;
use crate::proto::stun::Message;
use crate::proto::stun::long_term::USERNAME;

pub use echo::Echo;
pub use peer::{Peer, PeerError};

/// The longest offer that is read. A browser's, of data channels alone, has one kilobyte, with sound and picture some six.
pub const LONGEST_OFFER: usize = 16_384;
/// The stream of the channel for control frames, and of the one for datagrams: both ends know them (RFC 8832 section 4).
pub const CONTROL: u16 = 0;
/// See [`CONTROL`].
pub const PROBES: u16 = 1;

/// Datagrams that wait for a session; what comes beyond is dropped, as a full receive queue does.
const WAITING: usize = 128;
/// The longest datagram that is handed on: str0m takes none beyond.
const LONGEST_DATAGRAM: usize = 2_000;

/// A socket that WebRTC sessions come through.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

struct Inner {
    socket: UdpSocket,
    state: UdpSocketState,
    /// The addresses that peers are told, the best first. Not empty.
    candidates: Vec<SocketAddr>,
    certificate: DtlsCert,
    clock: Clock,
    table: Mutex<Table>,
}

/// Who gets what comes.
#[derive(Default)]
struct Table {
    by_name: HashMap<String, mpsc::Sender<Datagram>>,
    by_address: HashMap<SocketAddr, String>,
}

/// What came.
#[derive(Debug)]
struct Datagram {
    from: SocketAddr,
    /// The address of this computer that it was sent to, as far as the system tells.
    to: Option<IpAddr>,
    at: Micros,
    contents: Bytes,
}

/// Why there is no door.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The port cannot be had.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system gave no certificate.
    #[error("no certificate for WebRTC could be made")]
    NoCertificate,
    /// Nobody could be told where to come.
    #[error("this computer has no address that a WebRTC peer could be told")]
    NoAddress,
}

/// Why an offer comes to nothing.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// It is too long, or no session description.
    #[error("this is no offer (RFC 3264) of at most {LONGEST_OFFER} octets")]
    Unreadable,
    /// It offers something else, or more, than it may.
    #[error(
        "offer one media section of data channels (m=application), and of sound and of picture one each at most"
    )]
    WrongMedia,
    /// What it says does not go together.
    #[error("this offer cannot be answered: {0}")]
    Unfit(#[from] RtcError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl Door {
    /// Binds a socket and makes a certificate. Peers are told `external`, where the address behind a NAT is given, and the addresses that the
    /// socket is bound to. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`DoorError`] for each thing that is missing.
    pub fn open(options: &UdpOptions, external: Option<IpAddr>, clock: Clock) -> Result<Self, DoorError> {
        let socket = bind(options)?;
        let local = bound_address(&socket, options)?;
        let failed = |source| OpenError::Bind { local, source };
        let state = UdpSocketState::new((&socket).into()).map_err(failed)?;
        let socket = UdpSocket::from_std(socket.into()).map_err(failed)?;
        let crypto = str0m::crypto::from_feature_flags();
        let certificate = crypto.dtls_provider.generate_certificate().ok_or(DoorError::NoCertificate)?;
        let mut candidates: Vec<SocketAddr> = Vec::new();
        for ip in external.into_iter().chain(addresses(local.ip())) {
            let address = SocketAddr::new(ip, local.port());
            if Candidate::host(address, "udp").is_ok() && !candidates.contains(&address) {
                candidates.push(address);
            }
        }
        if candidates.is_empty() {
            return Err(DoorError::NoAddress);
        }
        let table = Mutex::default();
        Ok(Self(Arc::new(Inner { socket, state, candidates, certificate, clock, table })))
    }

    /// The addresses that peers are told, the best first.
    pub fn candidates(&self) -> &[SocketAddr] {
        &self.0.candidates
    }

    /// Answers an offer of data channels, and of one sound and one picture at most, which are sent back: what to tell the peer, and the
    /// session that it will come to. It is the library's work, and a stranger's text: call it where a panic does no harm.
    ///
    /// # Errors
    ///
    /// [`OfferError`]; there is no session then.
    pub fn answer(&self, offer: &str) -> Result<(String, Peer), OfferError> {
        if offer.len() > LONGEST_OFFER {
            return Err(OfferError::Unreadable);
        }
        let media = Media::of(offer).ok_or(OfferError::WrongMedia)?;
        let offer = SdpOffer::from_sdp_string(offer).map_err(|_| OfferError::Unreadable)?;
        let name = random_hex::<8>()?;
        let credentials = IceCreds { ufrag: name.clone(), pass: random_hex::<16>()? };
        let clock = self.0.clock;
        let mut rtc = media
            .config()
            .set_ice_lite(true)
            .set_local_ice_credentials(credentials)
            .set_dtls_cert(self.0.certificate.clone())
            .build(clock.instant(clock.now()));
        for address in &self.0.candidates {
            if let Ok(candidate) = Candidate::host(*address, "udp") {
                rtc.add_local_candidate(candidate);
            }
        }
        let answer = rtc.sdp_api().accept_offer(offer)?;
        let mut open = |label: &str, stream, ordered, reliability| {
            let label = label.to_owned();
            let negotiated = Some(stream);
            let config =
                ChannelConfig { label, ordered, reliability, negotiated, ..ChannelConfig::default() };
            rtc.direct_api().create_data_channel(config)
        };
        let control = open("control", CONTROL, true, Reliability::Reliable);
        let probes = open("probes", PROBES, false, Reliability::MaxRetransmits { retransmits: 0 });
        let (sender, inbox) = mpsc::channel(WAITING);
        self.table().by_name.insert(name.clone(), sender);
        let peer = Peer::new(self.clone(), name, rtc, inbox, control, probes);
        Ok((answer.to_sdp_string(), peer))
    }

    /// Hands on what comes, until the socket breaks.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub async fn receive(&self) -> io::Result<()> {
        let Inner { socket, state, clock, .. } = &*self.0;
        let mut buffer = vec![0; BATCH_SIZE * usize::from(u16::MAX)];
        loop {
            socket.readable().await?;
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut parts = buffer.chunks_mut(usize::from(u16::MAX));
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
            let received =
                socket.try_io(Interest::READABLE, || state.recv(socket.into(), &mut slices, &mut metas));
            let received = match received {
                Ok(received) => received,
                // Nothing after all; or the answer to something sent before: nobody listens there.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::ConnectionRefused
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let at = clock.now();
            for (meta, slice) in metas.iter().zip(&slices).take(received) {
                let whole = slice.get(..meta.len).unwrap_or_default();
                for contents in whole.chunks(meta.stride.max(1)) {
                    self.deliver(meta, at, contents);
                }
            }
        }
    }

    /// Hands one datagram to the session whose it is. What is nobody's, or too much, is dropped.
    fn deliver(&self, meta: &RecvMeta, at: Micros, contents: &[u8]) {
        if contents.len() > LONGEST_DATAGRAM {
            return;
        }
        let table = self.table();
        let session = match asked_for(contents) {
            Some(name) => table.by_name.get(name),
            None => table.by_address.get(&meta.addr).and_then(|name| table.by_name.get(name)),
        };
        let Some(session) = session else { return };
        let contents = Bytes::copy_from_slice(contents);
        let to = meta.dst_ip.map(|ip| ip.to_canonical());
        // A full queue drops what comes: it is the session's own.
        let _ = session.try_send(Datagram { from: meta.addr, to, at, contents });
    }

    /// Whatever comes from this address is the session's from now on.
    fn proven(&self, address: SocketAddr, name: &str) {
        self.table().by_address.insert(address, name.to_owned());
    }

    /// Forgets a session.
    fn forget(&self, name: &str, addresses: impl Iterator<Item = SocketAddr>) {
        let mut table = self.table();
        table.by_name.remove(name);
        for address in addresses {
            // It may be another session's by now.
            if table.by_address.get(&address).is_some_and(|of| of == name) {
                table.by_address.remove(&address);
            }
        }
    }

    /// The candidate that something which came to `to` came to: behind a NAT that is another address.
    fn candidate(&self, to: Option<IpAddr>, from: SocketAddr) -> SocketAddr {
        let candidates = &self.0.candidates;
        let asked = candidates.iter().find(|candidate| Some(candidate.ip()) == to);
        let family = || candidates.iter().find(|candidate| candidate.is_ipv4() == from.is_ipv4());
        let first = || candidates.first();
        asked.or_else(family).or_else(first).copied().unwrap_or(from)
    }

    /// Sends a datagram, from the address that the peer knows. One that cannot leave is lost, as any may be.
    async fn send(&self, contents: &[u8], destination: SocketAddr, src_ip: Option<IpAddr>) {
        let Inner { socket, state, .. } = &*self.0;
        let transmit = Transmit { destination, ecn: None, contents, segment_size: None, src_ip };
        loop {
            let sent = socket.try_io(Interest::WRITABLE, || state.try_send(socket.into(), &transmit));
            match sent {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if socket.writable().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%destination, %error, "a datagram of WebRTC could not be sent");
                    return;
                }
            }
        }
    }

    fn clock(&self) -> Clock {
        self.0.clock
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an offer has besides data channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    /// Nothing.
    Data,
    /// Sound, picture, or both.
    Echo,
}

impl Media {
    /// `None`: not one section of data channels, or more than one of sound or of picture, or something else.
    fn of(offer: &str) -> Option<Self> {
        let sections: Vec<&str> = offer.lines().filter(|line| line.starts_with("m=")).collect();
        let count = |kind: &str| sections.iter().filter(|line| line.starts_with(kind)).count();
        let (data, audio, video) = (count("m=application "), count("m=audio "), count("m=video "));
        let fits = data == 1 && audio <= 1 && video <= 1 && sections.len() == data + audio + video;
        fits.then_some(if sections.len() == 1 { Self::Data } else { Self::Echo })
    }

    /// Data channels need nothing; of media, every packet is told about, and reported of often: a run is short. Nothing is asked for again:
    /// what is lost is to be counted, not made good (browsers send a little of a picture again all the same).
    fn config(self) -> RtcConfig {
        let config = RtcConfig::new().clear_codecs();
        match self {
            Self::Data => config,
            Self::Echo => {
                let mut config = config.enable_opus(true, false).enable_vp8(true).enable_h264(true);
                let codecs = config.codec_config();
                let mut params = codecs.params().to_vec();
                params.iter_mut().for_each(|params| params.set_fb_nack(false));
                *codecs = CodecConfig::new_from_payload_params(params);
                config
                    .set_rtp_mode(true)
                    .enable_raw_packets(true)
                    .set_rtcp_report_interval_audio(Duration::from_millis(430))
                    .set_rtcp_report_interval_video(Duration::from_millis(610))
                    .enable_bwe(Some(Estimate::bps(VIDEO_RATE.bps())))
            }
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("candidates", &self.0.candidates).finish_non_exhaustive()
    }
}

/// What this end is called in a STUN request: the first half of its user name (RFC 8445 section 7.2.2).
fn asked_for(contents: &[u8]) -> Option<&str> {
    let name = Message::parse(contents).ok()?.value(USERNAME)?;
    std::str::from_utf8(name).ok()?.split(':').next()
}

/// Where a socket bound to `ip` is reached: where that is every address, those that the default routes leave from, and loopback.
fn addresses(ip: IpAddr) -> Vec<IpAddr> {
    if !ip.is_unspecified() {
        return vec![ip];
    }
    // The addresses of documentation lead to where the default route does (RFC 5737, RFC 3849).
    let (out, loopback): (SocketAddr, IpAddr) = if ip.is_ipv4() {
        (([192, 0, 2, 1], 9).into(), [127, 0, 0, 1].into())
    } else {
        (([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9).into(), [0, 0, 0, 0, 0, 0, 0, 1].into())
    };
    local_address(out, None).into_iter().chain([loopback]).collect()
}

fn random_hex<const N: usize>() -> Result<String, OfferError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| OfferError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
