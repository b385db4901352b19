//! The media half of publishing by WHIP: from an offer to the last report about what was sent.

use std::net::SocketAddr;

use greenroom_reports::schema::{WhipCandidate, WhipMedia};
use greenroom_reports::units::{Bitrate, DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use str0m::bwe::Bitrate as Estimate;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::rtp::{ExtensionValues, RtpWrite, SeqNo};
use str0m::{Event, IceConnectionState, Rtc, RtcConfig};
use tokio_util::sync::CancellationToken;

use super::answer;
use crate::net::clock::Clock;
use crate::net::rtcp::Feedback;
use crate::net::udp::Interface;
use crate::net::webrtc::{Peer, PeerError};
use crate::proto::rtp::media::{self, AUDIO_BYTES, AUDIO_CLOCK, FRAMES_PER_SECOND, VIDEO_CLOCK, VIDEO_RATE};

/// The longest that finding a way for media takes, and then agreeing on keys.
const ICE_WITHIN: Micros = Micros::from_secs(10);
const KEYS_WITHIN: Micros = Micros::from_secs(10);
/// How long the last reports are awaited: receivers report about once a second (RFC 3550 section 6.2), and not at once.
const LAST_REPORTS: Micros = Micros::from_millis(2_500);
/// What sound takes of the estimated rate, with all headers.
const AUDIO_RATE: u64 = 60_000;

/// How long and how often to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    /// From one packet of sound to the next.
    pub(super) interval: Micros,
    /// Packets of sound.
    pub(super) count: u32,
}

impl Sending {
    fn duration(&self) -> Micros {
        self.interval * i64::from(self.count)
    }
}

/// An offer of media that waits for its answer.
pub(super) struct Offered {
    peer: Peer,
    pending: SdpPendingOffer,
    audio: Mid,
    video: Mid,
    clock: Clock,
}

/// What came of a session.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) feedback: Feedback,
    /// Since the answer: a pair of addresses that works; and the keys.
    pub(super) ice: Micros,
    pub(super) dtls: Micros,
    /// Codecs agreed on.
    pub(super) codecs: Vec<(WhipMedia, Option<String>)>,
    /// Packets of each that were to be sent.
    pub(super) planned: [u64; 2],
    /// How it ended before its time, if it did.
    pub(super) broke_off: Option<String>,
    /// Whether the run was stopped before its end.
    pub(super) stopped: bool,
    /// Octets sent and received at the IP layer.
    pub(super) spent: DataSize,
}

/// Offers sound and picture from the addresses that reach `server`, and those with a way out.
///
/// # Errors
///
/// When this computer cannot send.
pub(super) fn offer(
    server: SocketAddr,
    interface: Option<&Interface>,
    clock: Clock,
) -> Result<(Offered, String), TargetFailure> {
    // The addresses of documentation lead to where the default route does (RFC 5737, RFC 3849).
    let out = [([192, 0, 2, 1], 9).into(), ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9).into()];
    let towards = [&[server][..], &out].concat();
    let peer = Peer::open(config(), &towards, interface, clock);
    let mut peer = peer.map_err(|error| TargetFailure::Local { detail: error.to_string() })?;
    let mut changes = peer.rtc().sdp_api();
    let mut add =
        |kind| changes.add_media(kind, Direction::SendOnly, Some("greenroom".to_owned()), None, None);
    let (audio, video) = (add(MediaKind::Audio), add(MediaKind::Video));
    let (offer, pending) = changes
        .apply()
        .ok_or_else(|| TargetFailure::Local { detail: "no offer could be made".to_owned() })?;
    Ok((Offered { peer, pending, audio, video, clock }, offer.to_sdp_string()))
}

/// Opus and VP8, every packet told about, and the estimator of Google's congestion control begun at what is going to be sent.
fn config() -> RtcConfig {
    let rate = VIDEO_RATE.bps() + AUDIO_RATE;
    RtcConfig::new()
        .clear_codecs()
        .enable_opus(true, false)
        .enable_vp8(true)
        .set_rtp_mode(true)
        .enable_raw_packets(true)
        // Round trips follow from them, one each. Seldom both at once: of those that came in one packet Janus only notes one.
        .set_rtcp_report_interval_audio(std::time::Duration::from_millis(430))
        .set_rtcp_report_interval_video(std::time::Duration::from_millis(610))
        .set_stats_interval(Some(std::time::Duration::from_millis(250)))
        .enable_bwe(Some(Estimate::bps(rate)))
}

impl Offered {
    /// Takes the server's answer, finds a way, sends, and waits for the last reports.
    ///
    /// # Errors
    ///
    /// The reason why no media flowed.
    pub(super) async fn publish(
        mut self,
        sdp: &str,
        sending: Sending,
        stop: &CancellationToken,
    ) -> Result<Published, TargetFailure> {
        let candidates = answer::candidates(sdp);
        answer::usable(sdp, &candidates)?;
        let unusable = |detail: String| TargetFailure::UnusableAnswer { detail };
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|error| unusable(error.to_string()))?;
        let rtc = self.peer.rtc();
        rtc.sdp_api().accept_answer(self.pending, answer).map_err(|error| unusable(error.to_string()))?;
        let (audio, video) = (agreed(rtc, self.audio), agreed(rtc, self.video));
        if audio.is_none() && video.is_none() {
            return Err(unusable("it takes neither Opus nor VP8".to_owned()));
        }
        rtc.bwe().set_desired_bitrate(Estimate::bps(VIDEO_RATE.bps() + AUDIO_RATE));
        let answered = self.clock.now();
        let mut run = Run {
            feedback: Feedback::new(self.clock),
            peer: self.peer,
            clock: self.clock,
            events: Vec::new(),
            ice: None,
            keys: None,
            lost: None,
        };
        let (ice, keys) = match run.connect(answered, &candidates, stop).await {
            Ok(times) => times,
            Err(failure) => {
                run.peer.close().await;
                return Err(failure);
            }
        };
        let tracks = [
            audio.map(|codec| Track::new(WhipMedia::Audio, self.audio, codec, &mut run)),
            video.map(|codec| Track::new(WhipMedia::Video, self.video, codec, &mut run)),
        ];
        let mut schedule = Schedule::new(sending, self.clock.now(), tracks);
        let stopped = run.send(&mut schedule, stop).await;
        if !stopped && run.lost.is_none() {
            run.last_reports(stop).await;
        }
        run.peer.close().await;
        Ok(Published {
            ice: ice - answered,
            dtls: keys - ice,
            codecs: [(WhipMedia::Audio, audio), (WhipMedia::Video, video)]
                .map(|(media, codec)| (media, codec.map(|codec| codec.name())))
                .to_vec(),
            planned: schedule.planned(),
            broke_off: run.lost,
            stopped,
            spent: run.peer.spent(),
            feedback: run.feedback,
        })
    }
}

/// A codec that both ends have.
#[derive(Debug, Clone, Copy)]
struct Agreed {
    pt: Pt,
    codec: Codec,
    clock: u32,
}

impl Agreed {
    fn name(&self) -> String {
        format!("{}/{}", self.codec, self.clock)
    }
}

/// The codec agreed on for a media section, unless it was refused.
fn agreed(rtc: &Rtc, mid: Mid) -> Option<Agreed> {
    let media = rtc.media(mid)?;
    if media.disabled() || media.stopped() || !media.direction().is_sending() {
        return None;
    }
    let is_audio = media.kind() == MediaKind::Audio;
    let wanted = if is_audio { Codec::Opus } else { Codec::Vp8 };
    let mut own = rtc.codec_config().params().iter();
    let params =
        own.find(|params| params.spec().codec == wanted && media.remote_pts().contains(&params.pt()))?;
    let clock = if is_audio { AUDIO_CLOCK } else { VIDEO_CLOCK };
    Some(Agreed { pt: params.pt(), codec: params.spec().codec, clock })
}

/// A session with an answer.
struct Run {
    peer: Peer,
    feedback: Feedback,
    clock: Clock,
    events: Vec<(Micros, Event)>,
    ice: Option<Micros>,
    keys: Option<Micros>,
    lost: Option<String>,
}

impl Run {
    /// Finds a way and agrees on keys; says when each was done.
    async fn connect(
        &mut self,
        begun: Micros,
        candidates: &[WhipCandidate],
        stop: &CancellationToken,
    ) -> Result<(Micros, Micros), TargetFailure> {
        let unreachable = || TargetFailure::MediaUnreachable { addresses: answer::addresses(candidates) };
        loop {
            let until = self.ice.map_or(begun + ICE_WITHIN, |ice| ice + KEYS_WITHIN);
            let turned = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(TargetFailure::Interrupted),
                turned = self.turn(until) => turned,
            };
            if let (Some(ice), Some(keys)) = (self.ice, self.keys) {
                return Ok((ice, keys));
            }
            let now = self.clock.now();
            let late = now >= until;
            match (turned, self.ice) {
                (Ok(()), None) if late || self.lost.is_some() => {
                    let refused = self.peer.refused().map(std::io::Error::kind);
                    return Err(match refused {
                        Some(std::io::ErrorKind::PermissionDenied) => blocked_here(candidates),
                        _ => unreachable(),
                    });
                }
                (Ok(()), Some(_)) if late => {
                    return Err(TargetFailure::MediaKeys {
                        detail: "no handshake (DTLS) came to its end".to_owned(),
                    });
                }
                (Ok(()), Some(_)) if self.lost.is_some() => {
                    return Err(TargetFailure::MediaKeys {
                        detail: "the server broke off the handshake (DTLS)".to_owned(),
                    });
                }
                (Ok(()), _) => {}
                (Err(PeerError::Session(error)), Some(_)) => {
                    return Err(TargetFailure::MediaKeys { detail: error.to_string() });
                }
                (Err(error), _) => return Err(TargetFailure::Local { detail: error.to_string() }),
            }
        }
    }

    /// Sends as scheduled; says whether it was stopped.
    async fn send(&mut self, schedule: &mut Schedule, stop: &CancellationToken) -> bool {
        while self.lost.is_none() {
            let now = self.clock.now();
            let wake = match schedule.next(now, self.estimate()) {
                Next::Packet(packet) => {
                    self.write(packet);
                    now
                }
                Next::At(wake) => wake,
                Next::Done => return false,
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return true,
                turned = self.turn(wake) => self.note(turned),
            }
        }
        false
    }

    /// Waits until reports have spoken of everything, or for no longer than receivers take.
    async fn last_reports(&mut self, stop: &CancellationToken) {
        let until = self.clock.now() + LAST_REPORTS;
        while self.lost.is_none() && self.clock.now() < until && !self.feedback.is_complete() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                turned = self.turn(until) => self.note(turned),
            }
        }
    }

    async fn turn(&mut self, until: Micros) -> Result<(), PeerError> {
        let turned = self.peer.turn(until, &mut self.events).await;
        for (now, event) in std::mem::take(&mut self.events) {
            match event {
                Event::IceConnectionStateChange(
                    IceConnectionState::Connected | IceConnectionState::Completed,
                ) => {
                    self.ice.get_or_insert(now);
                }
                Event::IceConnectionStateChange(IceConnectionState::Disconnected) if self.ice.is_some() => {
                    self.lost.get_or_insert_with(|| "nothing came back any more (ICE)".to_owned());
                }
                Event::Connected => {
                    self.keys.get_or_insert(now);
                }
                Event::Closed => {
                    self.lost.get_or_insert_with(|| "the server ended it (DTLS)".to_owned());
                }
                other => self.feedback.take(&other, now),
            }
        }
        if !self.peer.rtc().is_alive() {
            self.lost.get_or_insert_with(|| "the session ended".to_owned());
        }
        turned
    }

    fn note(&mut self, turned: Result<(), PeerError>) {
        if let Err(error) = turned {
            self.lost.get_or_insert_with(|| error.to_string());
        }
    }

    fn estimate(&self) -> Option<Bitrate> {
        self.feedback.estimate()
    }

    fn write(&mut self, packet: Packet) {
        let wallclock = self.clock.instant(self.clock.now());
        let mut api = self.peer.rtc().direct_api();
        // The stream stands for as long as its media section does.
        if let Some(stream) = api.stream_tx_by_mid(packet.mid, None) {
            let write = RtpWrite::new(packet.pt, packet.sequence, packet.time, wallclock, packet.payload)
                .marker(packet.marker)
                .ext_vals(ExtensionValues::default())
                .nackable(packet.nackable);
            stream.write_rtp(write);
        }
    }
}

fn blocked_here(candidates: &[WhipCandidate]) -> TargetFailure {
    let ports = candidates.iter().filter(|candidate| candidate.transport == "udp");
    let port = ports.filter_map(|candidate| candidate.address.rsplit_once(':')?.1.parse().ok()).next();
    TargetFailure::UdpBlockedHere { port: port.unwrap_or_default(), works: None }
}

/// A stream of media to be sent.
struct Track {
    media: WhipMedia,
    mid: Mid,
    pt: Pt,
    next: SeqNo,
    written: u64,
}

impl Track {
    fn new(media: WhipMedia, mid: Mid, codec: Agreed, run: &mut Run) -> Self {
        let mut api = run.peer.rtc().direct_api();
        if let Some(stream) = api.stream_tx_by_mid(mid, None) {
            run.feedback.expect(media, stream.ssrc(), stream.rtx(), codec.clock);
        }
        Self { media, mid, pt: codec.pt, next: SeqNo::default(), written: 0 }
    }

    fn packet(&mut self, time: u32, marker: bool, payload: Vec<u8>) -> Packet {
        let sequence = self.next;
        self.next = (*sequence + 1).into();
        self.written += 1;
        let nackable = self.media == WhipMedia::Video;
        Packet { mid: self.mid, pt: self.pt, sequence, time, marker, nackable, payload }
    }
}

/// A packet to be written.
struct Packet {
    mid: Mid,
    pt: Pt,
    sequence: SeqNo,
    time: u32,
    marker: bool,
    nackable: bool,
    payload: Vec<u8>,
}

/// What is due when: sound at its interval, and each picture's packets spread over the picture's time.
struct Schedule {
    start: Micros,
    sending: Sending,
    audio: Option<(Track, u32)>,
    video: Option<(Track, u32)>,
    /// The packets of the picture that is being sent, with when each is due; the last one first.
    picture: Vec<(Micros, u32, bool, Vec<u8>)>,
}

/// What is to be done.
enum Next {
    Packet(Packet),
    At(Micros),
    Done,
}

impl Schedule {
    fn new(sending: Sending, start: Micros, [audio, video]: [Option<Track>; 2]) -> Self {
        let begun = |track: Option<Track>| track.map(|track| (track, 0));
        Self { start, sending, audio: begun(audio), video: begun(video), picture: Vec::new() }
    }

    fn next(&mut self, now: Micros, estimate: Option<Bitrate>) -> Next {
        let ends = self.start + self.sending.duration();
        let audio_due = self.audio.as_ref().and_then(|(_, sent)| {
            (*sent < self.sending.count).then(|| self.start + self.sending.interval * i64::from(*sent))
        });
        if let (Some(due), Some((track, sent))) = (audio_due, &mut self.audio)
            && due <= now
        {
            let time = sent.wrapping_mul(ticks(self.sending.interval, AUDIO_CLOCK));
            *sent += 1;
            return Next::Packet(track.packet(time, false, media::opus_silence(AUDIO_BYTES)));
        }
        self.begin_picture(now, ends, estimate);
        if let (Some((due, ..)), Some((track, _))) = (self.picture.last(), &mut self.video)
            && *due <= now
            && let Some((_, time, marker, payload)) = self.picture.pop()
        {
            return Next::Packet(track.packet(time, marker, payload));
        }
        let picture_due = self.picture.last().map(|(due, ..)| *due).or_else(|| self.picture_at(ends));
        match (audio_due, picture_due) {
            (None, None) if now >= ends => Next::Done,
            (None, None) => Next::At(ends),
            (a, b) => Next::At(a.into_iter().chain(b).min().unwrap_or(ends)),
        }
    }

    /// When the next picture begins, if there is one.
    fn picture_at(&self, ends: Micros) -> Option<Micros> {
        let (_, sent) = self.video.as_ref()?;
        let due = self.start + Micros::from_secs(i64::from(*sent)) / FRAMES_PER_SECOND;
        (due < ends).then_some(due)
    }

    /// Cuts the next picture into packets once it is due and the last one has left. It is smaller where the estimated rate is less than
    /// planned, as an encoder would make it.
    fn begin_picture(&mut self, now: Micros, ends: Micros, estimate: Option<Bitrate>) {
        let Some(due) = self.picture_at(ends).filter(|due| *due <= now && self.picture.is_empty()) else {
            return;
        };
        let Some((_, sent)) = &mut self.video else { return };
        let left = estimate.map_or(VIDEO_RATE.bps(), |rate| rate.bps().saturating_sub(AUDIO_RATE) * 9 / 10);
        let bytes = media::picture_bytes(Bitrate::from_bps(left.min(VIDEO_RATE.bps())));
        let payloads = media::vp8_picture(*sent, bytes);
        let count = i64::try_from(payloads.len()).unwrap_or(1).max(1);
        let step = Micros::from_secs(1) / FRAMES_PER_SECOND / count;
        let time = sent.wrapping_mul(VIDEO_CLOCK / 30);
        *sent += 1;
        let dues = (0..count).map(|index| due + step * index);
        let last = payloads.len().saturating_sub(1);
        let packets = dues.zip(payloads).enumerate();
        self.picture = packets.map(|(index, (due, payload))| (due, time, index == last, payload)).collect();
        self.picture.reverse();
    }

    /// Packets of sound and picture that were to be sent: of the picture those that were cut, and the pictures that were not begun at the usual
    /// size.
    fn planned(&self) -> [u64; 2] {
        let audio = self.audio.as_ref().map_or(0, |_| u64::from(self.sending.count));
        let Some((track, sent)) = &self.video else { return [audio, 0] };
        let pictures = self.sending.duration().get() * FRAMES_PER_SECOND / 1_000_000;
        let missing = u64::try_from(pictures).unwrap_or(0).saturating_sub(u64::from(*sent));
        let usual = media::vp8_picture(0, media::picture_bytes(VIDEO_RATE)).len();
        let waiting = u64::try_from(self.picture.len()).unwrap_or(u64::MAX);
        [audio, track.written + waiting + missing * u64::try_from(usual).unwrap_or(u64::MAX)]
    }
}

/// A time in ticks of a media clock.
fn ticks(time: Micros, clock: u32) -> u32 {
    u32::try_from(time.get() * i64::from(clock) / 1_000_000).unwrap_or(u32::MAX)
}
