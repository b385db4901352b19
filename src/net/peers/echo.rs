//! Media of a WebRTC session that are sent back: sound and picture as they come, with numbers of their own, and the counts of both ways.
//!
//! Nothing is sent back before the session is admitted, nor beyond its rates. What is kept does not grow with what a peer sends.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use greenroom_reports::schema::{EchoThere, WhipMedia};
use greenroom_reports::units::Micros;
use str0m::media::{MediaKind, Mid, Pt};
use str0m::rtp::{RawPacket, RtpHeader, RtpWrite, SeqNo, Ssrc};
use str0m::{Event, Rtc};

use crate::net::clock::Clock;
use crate::net::rtcp::Feedback;
use crate::proto::control::Limits;
use crate::proto::rtp::media::{AUDIO_CLOCK, VIDEO_CLOCK};
use crate::proto::rtp::received::Received;
use crate::proto::window::{BitBucket, PacketBucket};

/// Bursts that rates allow: a key frame leaves at once.
const BURST: Micros = Micros::from_millis(500);

/// What is sent back of a session, for its driver and for who admits it.
#[derive(Clone)]
pub struct Echo(Arc<Mutex<State>>);

struct State {
    clock: Clock,
    /// What may be sent back. `None`: nothing yet.
    rates: Option<(BitBucket, PacketBucket)>,
    /// Of each kind one at most.
    tracks: Vec<Track>,
    feedback: Feedback,
}

struct Track {
    media: WhipMedia,
    mid: Mid,
    /// Under which number it comes: the first that did.
    from: Option<Ssrc>,
    received: Received,
    codec: Option<String>,
    repairs: u64,
    /// Packets that there is something to send back of: padding has nothing.
    planned: u64,
    next: SeqNo,
    /// Whether it is known what is sent back, so that reports of it are understood.
    is_expected: bool,
}

/// A datagram of RTP that came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came {
    pub(super) at: Micros,
    /// Octets at the IP layer.
    pub(super) bytes: u16,
}

impl Echo {
    pub(super) fn new(clock: Clock) -> Self {
        let feedback = Feedback::new(clock);
        Self(Arc::new(Mutex::new(State { clock, rates: None, tracks: Vec::new(), feedback })))
    }

    /// From now on as much is sent back as these rates allow.
    pub fn allow(&self, limits: Limits) {
        let bits = BitBucket::new(limits.max_bitrate_bps, BURST);
        self.state().rates = Some((bits, PacketBucket::new(limits.max_pps, BURST)));
    }

    /// What was counted so far. `None`: no sound or picture was agreed on.
    pub fn figures(&self) -> Option<EchoThere> {
        const WHO: &str = "the browser";
        let state = self.state();
        if state.tracks.is_empty() {
            return None;
        }
        let received = state.tracks.iter().filter_map(|track| {
            Some(track.received.figures(track.media, track.codec.as_deref()?, track.repairs))
        });
        let returned = state.feedback.streams.iter().map(|stream| {
            let track = state.tracks.iter().find(|track| track.media == stream.media);
            let planned = track.map_or(0, |track| track.planned);
            stream.figures(track.and_then(|track| track.codec.as_deref()), planned, WHO)
        });
        Some(EchoThere {
            received: received.collect(),
            returned: returned.collect(),
            transport_feedback: state.feedback.transport(WHO),
        })
    }

    /// Takes what happened, with the datagram that it happened by. Says whether there is something to send.
    pub(super) fn take(&self, rtc: &mut Rtc, event: &Event, came: Came) -> bool {
        let mut state = self.state();
        let now = state.clock.now();
        state.feedback.take(event, now);
        match event {
            Event::MediaAdded(added) => {
                state.add(added.mid, added.kind);
                false
            }
            Event::RawPacket(packet) => match &**packet {
                RawPacket::RtpRx(header, payload) => state.received(rtc, header, payload, came),
                _ => false,
            },
            Event::KeyframeRequest(asked) => {
                let mut api = rtc.direct_api();
                let stream = api.stream_rx_by_mid(asked.mid, None);
                stream.map(|stream| stream.request_keyframe(asked.kind)).is_some()
            }
            _ => false,
        }
    }

    /// A datagram came that was not let through.
    pub(super) fn note_copy(&self, ssrc: Ssrc, sequence: u16) {
        let mut state = self.state();
        if let Some(track) = state.tracks.iter_mut().find(|track| track.from == Some(ssrc)) {
            track.received.note_copy(sequence);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, mid: Mid, kind: MediaKind) {
        let (media, clock) = match kind {
            MediaKind::Audio => (WhipMedia::Audio, AUDIO_CLOCK),
            MediaKind::Video => (WhipMedia::Video, VIDEO_CLOCK),
        };
        if self.tracks.iter().all(|track| track.media != media) {
            self.tracks.push(Track {
                media,
                mid,
                from: None,
                received: Received::new(clock),
                codec: None,
                repairs: 0,
                planned: 0,
                next: SeqNo::default(),
                is_expected: false,
            });
        }
    }

    /// Counts a packet, and sends it back where that is allowed.
    fn received(&mut self, rtc: &mut Rtc, header: &RtpHeader, payload: &[u8], came: Came) -> bool {
        // Under this one browsers send padding by which they look for a rate.
        if *header.ssrc == 0 {
            return false;
        }
        let Some((codec, media, pt)) = agreed(rtc, header.payload_type) else { return false };
        let Some(track) = self.tracks.iter_mut().find(|track| track.media == media) else { return false };
        if pt != header.payload_type {
            track.repairs += 1;
            return false;
        }
        if *track.from.get_or_insert(header.ssrc) != header.ssrc {
            return false;
        }
        track.codec.get_or_insert(codec);
        let first = track.received.note(header.sequence_number, header.timestamp, payload.len(), came.at);
        if !first || payload.is_empty() {
            return false;
        }
        track.planned += 1;
        let Some((bits, packets)) = &mut self.rates else { return false };
        let now = self.clock.now();
        if !packets.take(now) || !bits.take(now, came.bytes) {
            return false;
        }
        let mut api = rtc.direct_api();
        if !track.is_expected {
            let Some(stream) = api.stream_tx_by_mid(track.mid, None) else { return false };
            track.is_expected = true;
            // What waited here would be this end's delay, not the way's.
            stream.set_unpaced(true);
            let (ssrc, rtx) = (stream.ssrc(), stream.rtx());
            if let Some(stream) = api.stream_rx(&header.ssrc) {
                stream.suppress_nack(true);
            }
            let clock = if media == WhipMedia::Audio { AUDIO_CLOCK } else { VIDEO_CLOCK };
            self.feedback.expect(media, ssrc, rtx, clock);
        }
        let Some(stream) = api.stream_tx_by_mid(track.mid, None) else { return false };
        let sequence = track.next;
        track.next = (*sequence + 1).into();
        let wallclock = self.clock.instant(came.at);
        stream.write_rtp(
            RtpWrite::new(pt, sequence, header.timestamp, wallclock, payload).marker(header.marker),
        );
        true
    }
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Echo(..)")
    }
}

/// What a payload type stands for: codec, kind, and the payload type of its own stream, which that of its repair stream leads to.
fn agreed(rtc: &Rtc, pt: Pt) -> Option<(String, WhipMedia, Pt)> {
    let mut known = rtc.codec_config().params().iter();
    let found = known.find(|params| params.pt() == pt || params.resend() == Some(pt))?;
    let codec = found.spec().codec;
    let (media, clock) = match codec.is_audio() {
        true => (WhipMedia::Audio, AUDIO_CLOCK),
        false => (WhipMedia::Video, VIDEO_CLOCK),
    };
    Some((format!("{codec}/{clock}"), media, found.pt()))
}
