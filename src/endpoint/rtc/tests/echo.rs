//! Sound and picture to an endpoint and back.

use greenroom_reports::schema::{EchoThere, Value, WhipMedia};
use str0m::Event;
use str0m::change::SdpPendingOffer;
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::rtp::{RtpWrite, SeqNo};

use super::*;
use crate::proto::control::Decoder;
use crate::proto::rtp::media::{AUDIO_BYTES, opus_silence, vp8_picture};

/// One that offers sound and picture, and drives itself.
struct Caller {
    peer: webrtc::Peer,
    pending: Option<SdpPendingOffer>,
    offer: String,
    control: ChannelId,
    mids: [Mid; 2],
    clock: Clock,
    open: usize,
    decoder: Decoder,
    frames: Vec<Frame>,
    /// Numbers of what came back, by media section.
    back: Vec<(Mid, u64)>,
}

impl Caller {
    fn new(towards: SocketAddr) -> Self {
        let clock = Clock::start();
        let config = RtcConfig::new().clear_codecs().enable_opus(true, false).enable_vp8(true);
        let config = config.set_rtp_mode(true).set_rtcp_report_interval_audio(Duration::from_millis(300));
        let mut peer = webrtc::Peer::open(config, &[towards], None, clock).expect("a socket");
        let mut changes = peer.rtc().sdp_api();
        let mut media = |kind| changes.add_media(kind, Direction::SendRecv, None, None, None);
        let mids = [media(MediaKind::Audio), media(MediaKind::Video)];
        let mut add = |stream, ordered, reliability| {
            let negotiated = Some(stream);
            let config = ChannelConfig { ordered, reliability, negotiated, ..ChannelConfig::default() };
            changes.add_channel_with_config(config)
        };
        let control = add(CONTROL, true, Reliability::Reliable);
        add(PROBES, false, Reliability::MaxRetransmits { retransmits: 0 });
        let (offer, pending) = changes.apply().expect("changes");
        let offer = offer.to_sdp_string();
        let (decoder, frames, back) = (Decoder::new(), Vec::new(), Vec::new());
        Self { peer, pending: Some(pending), offer, control, mids, clock, open: 0, decoder, frames, back }
    }

    /// Takes the answer and waits for the channels.
    async fn connect(&mut self, answer: &Answer) {
        let sdp = SdpAnswer::from_sdp_string(&answer.sdp).expect("an answer");
        let pending = self.pending.take().expect("an offer");
        self.peer.rtc().sdp_api().accept_answer(pending, sdp).expect("fits the offer");
        self.until(|caller| caller.open == 2).await;
    }

    async fn until(&mut self, mut is_so: impl FnMut(&Self) -> bool) {
        let latest = self.clock.now() + Micros::from_duration(PATIENCE);
        while !is_so(self) {
            assert!(self.clock.now() < latest, "not in time: {:?}, {} back", self.frames, self.back.len());
            self.turn(Micros::from_millis(5)).await;
        }
    }

    async fn turn(&mut self, lasts: Micros) {
        let until = self.clock.now() + lasts;
        while self.clock.now() < until {
            let mut events = Vec::new();
            self.peer.turn(until, &mut events).await.expect("goes on");
            for (_, event) in events {
                match event {
                    Event::ChannelOpen(..) => self.open += 1,
                    Event::ChannelData(data) if data.id == self.control => {
                        self.decoder.push(&data.data);
                        while let Some(raw) = self.decoder.next_frame().expect("frames") {
                            self.frames.push(Frame::parse(raw).expect("reads"));
                        }
                    }
                    Event::RtpPacket(packet) => {
                        let mut api = self.peer.rtc().direct_api();
                        let mid = api.stream_rx(&packet.header.ssrc).expect("known").mid();
                        self.back.push((mid, *packet.seq_no));
                    }
                    _ => {}
                }
            }
        }
    }

    async fn say(&mut self, frame: &Frame) {
        let mut octets = Vec::new();
        frame.write(&mut octets).expect("fits");
        let mut channel = self.peer.rtc().channel(self.control).expect("open");
        assert!(channel.write(true, &octets).expect("works"), "there is room");
        self.turn(Micros::from_millis(1)).await;
    }

    async fn admitted(&mut self, wants: Limits) {
        let Frame::Hello(hello) = hello(token()) else { unreachable!() };
        self.say(&Frame::Hello(Hello { wants, ..hello })).await;
        self.until(|caller| caller.frames.iter().any(|frame| matches!(frame, Frame::Accept(_)))).await;
    }

    async fn send(&mut self, which: usize, number: u64, payload: Vec<u8>, lasts: Micros) {
        let (codec, ticks) = [(Codec::Opus, 960), (Codec::Vp8, 3_000)][which];
        let pt = self.pt(codec);
        let time = u32::try_from(number * ticks).expect("short");
        let wallclock = self.clock.instant(self.clock.now());
        let mut api = self.peer.rtc().direct_api();
        let stream = api.stream_tx_by_mid(self.mids[which], None).expect("sends");
        stream.write_rtp(RtpWrite::new(pt, SeqNo::from(number), time, wallclock, payload));
        self.turn(lasts).await;
    }

    async fn sound(&mut self, number: u64) {
        self.send(0, number, opus_silence(AUDIO_BYTES), Micros::from_millis(10)).await;
    }

    fn pt(&mut self, codec: Codec) -> Pt {
        let config = self.peer.rtc().codec_config();
        config.params().iter().find(|params| params.spec().codec == codec).expect("agreed on").pt()
    }

    /// Ends it; what the endpoint counted.
    async fn finish(&mut self) -> EchoThere {
        self.say(&Frame::Finish(Finish {})).await;
        self.until(|caller| caller.frames.iter().any(|frame| matches!(frame, Frame::Finished(_)))).await;
        let told = self.frames.iter().find_map(|frame| match frame {
            Frame::Echoed(told) => Some((**told).clone()),
            _ => None,
        });
        told.expect("counts come before the end")
    }

    fn numbers_back(&self, which: usize) -> Vec<u64> {
        let of = |(mid, number): &(Mid, u64)| (*mid == self.mids[which]).then_some(*number);
        self.back.iter().filter_map(of).collect()
    }
}

async fn call(running: &Running) -> Caller {
    let web_rtc = running.web_rtc().expect("asked for");
    let mut caller = Caller::new(web_rtc.candidates()[0]);
    let answer = web_rtc.answer(caller.offer.clone(), token()).await.expect("answered");
    caller.connect(&answer).await;
    caller
}

#[tokio::test(flavor = "multi_thread")]
async fn media_come_back_and_both_ways_are_counted() {
    let running = start().await;
    let mut caller = call(&running).await;
    // Nothing comes back to whom nobody let in; it counts all the same.
    for number in 0..10 {
        caller.sound(number).await;
    }
    assert_eq!(caller.back, []);
    caller.admitted(WANTS).await;
    assert_eq!(caller.back, []);
    // Of the next 90, nine are missing, two change places, and one comes twice.
    let mut numbers: Vec<u64> = (10..100).filter(|number| number % 10 != 5).collect();
    numbers.swap(20, 21);
    numbers.insert(40, numbers[39]);
    for number in &numbers {
        caller.sound(*number).await;
    }
    let mut pictures = 0;
    for picture in 0..10 {
        for payload in vp8_picture(picture, 2_500) {
            caller.send(1, pictures, payload, Micros::from_millis(3)).await;
            pictures += 1;
        }
    }
    // Reports come about twice a second.
    caller.turn(Micros::from_millis(1_300)).await;
    let there = caller.finish().await;

    let [audio, video] = [WhipMedia::Audio, WhipMedia::Video]
        .map(|media| there.received.iter().find(|stream| stream.media == media).expect("came"));
    assert_eq!((audio.codec.as_str(), video.codec.as_str()), ("opus/48000", "VP8/90000"));
    assert_eq!((audio.packets, audio.expected, audio.lost), (91, 100, 9), "{audio:?}");
    assert_eq!((audio.duplicates, audio.reordered, audio.repairs), (1, 1, 0), "{audio:?}");
    assert_eq!((video.packets, video.lost), (pictures, 0), "{video:?}");
    let loss = audio.loss_ratio.measured().expect("counted");
    assert_eq!((loss.value, loss.n), (0.09, 100));
    assert!(audio.jitter_rfc3550_ms.measured().is_some_and(|jitter| jitter.n == 91));

    let [sound, picture] = [WhipMedia::Audio, WhipMedia::Video]
        .map(|media| there.returned.iter().find(|stream| stream.media == media).expect("sent back"));
    assert_eq!((sound.planned_packets, sound.sent_packets, sound.lost), (91, 81, 0), "{sound:?}");
    assert_eq!((picture.planned_packets, picture.sent_packets), (pictures, pictures), "{picture:?}");
    // Under numbers without gaps: what is missing on the way out is not missed on the way back.
    let begins = caller.numbers_back(0)[0];
    assert_eq!(caller.numbers_back(0), (begins..begins + 81).collect::<Vec<_>>());
    assert_eq!(caller.numbers_back(1).len() as u64, pictures);
    assert!(sound.reports > 0 && sound.expected == 81, "{sound:?}");
    assert!(sound.rtt_ms.measured().is_some_and(|rtt| rtt.p50 < 1_000.0), "{sound:?}");
    let Value::Measured(told) = &there.transport_feedback else { panic!("{:?}", there.transport_feedback) };
    // This caller offers a repair stream, by which padding is sent up to the end: nothing tells of the last of it any more.
    let (media, repairs) = (81 + pictures, sound.repairs + picture.repairs);
    assert!((media..=media + repairs).contains(&told.packets) && told.lost == 0, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_comes_back_than_was_admitted() {
    let running = start().await;
    let mut caller = call(&running).await;
    caller.admitted(Limits { max_pps: 2, ..WANTS }).await;
    let begun = caller.clock.now();
    for number in 0..50 {
        caller.sound(number).await;
    }
    let lasted = (caller.clock.now() - begun).as_secs();
    let there = caller.finish().await;
    let (came, back) = (&there.received[0], &there.returned[0]);
    assert_eq!((came.packets, back.planned_packets), (50, 50));
    #[expect(clippy::cast_precision_loss, reason = "a count of packets")]
    let sent = |packets: u64| packets as f64;
    // The burst is one packet.
    assert!(
        back.sent_packets >= 1 && sent(back.sent_packets) <= 2.0 + 2.0 * lasted,
        "{back:?} in {lasted} s"
    );
    assert_eq!(caller.back.len() as u64, back.sent_packets);
    // No picture was sent: nothing is said of one.
    assert_eq!((there.received.len(), there.returned.len()), (1, 1));

    let mut caller = call(&running).await;
    let bits = Bitrate::from_kbps(8);
    caller.admitted(Limits { max_bitrate_bps: bits, ..WANTS }).await;
    let begun = caller.clock.now();
    for number in 0..50 {
        caller.sound(number).await;
    }
    let lasted = (caller.clock.now() - begun).as_secs();
    let there = caller.finish().await;
    // Half a second's worth at once; the payload alone is less than what counts.
    let most = 8_000.0 * (lasted + 0.5) / (8.0 * sent(u64::try_from(AUDIO_BYTES).expect("few")));
    let packets = there.returned[0].sent_packets;
    assert!(packets >= 1 && sent(packets) <= most, "{packets} in {lasted} s, at most {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_media_tells_nothing_of_any() {
    let running = start().await;
    let web_rtc = running.web_rtc().expect("asked for").clone();
    let client = Client::new(web_rtc.candidates()[0]);
    let answer = web_rtc.answer(client.offer.clone(), token()).await.expect("answered");
    let (mut link, _socket) = client.connect(&answer);
    link.send(&hello(token())).await.expect("sent");
    link.send(&Frame::Finish(Finish {})).await.expect("sent");
    loop {
        match tokio::time::timeout(PATIENCE, link.receive()).await.expect("in time").expect("holds") {
            Some(Frame::Accept(_) | Frame::HalfTrace(_)) => {}
            Some(Frame::Finished(_)) => return,
            other => panic!("{other:?}"),
        }
    }
}
