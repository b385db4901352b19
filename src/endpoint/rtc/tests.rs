//! An endpoint's WebRTC over real sockets on loopback. The other end is str0m, too, as it is driven for WHIP; a browser's is in
//! tests/check_page.rs.
#![expect(clippy::disallowed_methods, reason = "a stranger sends from a socket of its own")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use bytes::Bytes;
use futures_util::FutureExt as _;
use greenroom_reports::metrics::flow::{LossPolicy, flows};
use greenroom_reports::trace::encoding::HalfAssembler;
use greenroom_reports::trace::{ClockInfo, Direction, StreamId, Trace};
use greenroom_reports::units::{Bitrate, Micros};
use str0m::RtcConfig;
use str0m::change::SdpAnswer;
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use tokio::sync::mpsc;

use super::*;
use crate::endpoint::{self, Running};
use crate::net::pacing::{Driver, DriverOptions};
use crate::net::peers::{CONTROL, PROBES};
use crate::net::tunnel::{TunnelEnd, TunnelSocket, tunnel};
use crate::net::udp::DatagramSocket as _;
use crate::net::webrtc;
use crate::proto::admission::{Access, TokenSet};
use crate::proto::control::{self, ClientInfo, Finish, Frame, Hello, Limits, ProbeCarrier, RefuseCode};
use crate::proto::sender::{AudioPlan, Sender, SenderConfig};
use crate::proto::stamp::WallAnchor;

mod echo;

const PATIENCE: Duration = Duration::from_secs(20);
const WANTS: Limits = Limits {
    max_bitrate_bps: Bitrate::from_kbps(1_000),
    max_pps: 200,
    max_duration_us: Micros::from_secs(30),
};

async fn start() -> Running {
    let loopback = Config::loopback().expect("a certificate");
    let access = Access::Tokens(TokenSet::parse("opensesame\nanother"));
    endpoint::start(Config { web_rtc: true, access, ..loopback }).await.expect("starts")
}

fn token() -> Option<Token> {
    Token::new("opensesame")
}

/// A client with an offer.
struct Client {
    peer: webrtc::Peer,
    pending: Option<str0m::change::SdpPendingOffer>,
    offer: String,
    control: ChannelId,
    probes: ChannelId,
    clock: Clock,
}

impl Client {
    fn new(towards: SocketAddr) -> Self {
        let clock = Clock::start();
        let config = RtcConfig::new().clear_codecs();
        let mut peer = webrtc::Peer::open(config, &[towards], None, clock).expect("a socket");
        let mut changes = peer.rtc().sdp_api();
        let mut add = |stream, ordered, reliability| {
            let negotiated = Some(stream);
            let config = ChannelConfig { ordered, reliability, negotiated, ..ChannelConfig::default() };
            changes.add_channel_with_config(config)
        };
        let control = add(CONTROL, true, Reliability::Reliable);
        let probes = add(PROBES, false, Reliability::MaxRetransmits { retransmits: 0 });
        let (offer, pending) = changes.apply().expect("changes");
        Self { peer, pending: Some(pending), offer: offer.to_sdp_string(), control, probes, clock }
    }

    /// Takes the answer; a link over the session, and the socket of its datagrams.
    fn connect(mut self, answer: &Answer) -> (Link, TunnelSocket) {
        let sdp = SdpAnswer::from_sdp_string(&answer.sdp).expect("an answer");
        let pending = self.pending.take().expect("an offer");
        self.peer.rtc().sdp_api().accept_answer(pending, sdp).expect("fits the offer");
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let (near, far) = tunnel(at, at, self.clock).expect("descriptors");
        let (outgoing, to_send) = mpsc::channel(16);
        let (received, incoming) = mpsc::channel(16);
        tokio::spawn(self.carry(far, to_send, received));
        (Link::carried(outgoing, incoming), near)
    }

    async fn carry(
        mut self,
        tunnel: TunnelEnd,
        mut to_send: mpsc::Receiver<Bytes>,
        received: mpsc::Sender<Result<Bytes, String>>,
    ) {
        let (mut outlet, inlet) = tunnel.split();
        let mut open = 0;
        let mut events = Vec::new();
        loop {
            let until = self.clock.now() + Micros::from_millis(2);
            if self.peer.turn(until, &mut events).await.is_err() || !self.peer.rtc().is_alive() {
                return;
            }
            for (_, event) in events.drain(..) {
                match event {
                    str0m::Event::ChannelOpen(..) => open += 1,
                    str0m::Event::ChannelData(data) if data.id == self.probes => {
                        inlet.deliver(data.data.into());
                    }
                    str0m::Event::ChannelData(data) => {
                        let Ok(()) = received.send(Ok(data.data.into())).await else { return };
                    }
                    _ => {}
                }
            }
            if open < 2 {
                continue;
            }
            let (id, message) = if let Ok(frame) = to_send.try_recv() {
                (self.control, frame)
            } else if let Some(Some(datagram)) = outlet.next().now_or_never() {
                (self.probes, datagram)
            } else {
                continue;
            };
            let mut channel = self.peer.rtc().channel(id).expect("open");
            assert!(channel.write(true, &message).expect("works"), "there is room");
        }
    }
}

fn hello(token: Option<Token>) -> Frame {
    Frame::Hello(Hello {
        versions: vec![control::VERSION],
        token,
        client: ClientInfo { name: "test".into(), version: "0".into() },
        wants: WANTS,
        search: None,
        probes: ProbeCarrier::QuicDatagrams,
    })
}

/// Octets that are no packet of anybody: each first octet, long and short ones, and STUN under the right name without the right key.
fn shout(at: SocketAddr, name: &str) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    for first in 0..=u8::MAX {
        for length in [1, 13, 20, 64, 1_400, 3_000] {
            let mut octets = vec![0x5A; length];
            octets[0] = first;
            socket.send_to(&octets, at).expect("sent");
        }
    }
    let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    stun.extend([7; 12]);
    let user = format!("{name}:abcd");
    stun.extend([0, 6]);
    stun.extend(u16::try_from(user.len()).expect("short").to_be_bytes());
    stun.extend(user.as_bytes());
    stun.resize(stun.len().next_multiple_of(4), 0);
    stun.extend([0, 8, 0, 20]);
    stun.extend([9; 20]);
    let length = u16::try_from(stun.len() - 20).expect("short").to_be_bytes();
    stun[2..4].copy_from_slice(&length);
    for _ in 0..50 {
        socket.send_to(&stun, at).expect("sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_over_data_channels_gives_both_halves_of_the_truth() {
    let running = start().await;
    let web_rtc = running.web_rtc().expect("asked for").clone();
    let at = web_rtc.candidates()[0];
    assert!(at.ip().is_loopback() && at.port() != 0, "{at}");
    let client = Client::new(at);
    let answer = web_rtc.answer(client.offer.clone(), token()).await.expect("answered");
    assert!(
        answer.sdp.contains("a=ice-lite") && answer.sdp.contains(&at.port().to_string()),
        "{}",
        answer.sdp
    );
    let name = answer.sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).expect("a name");
    shout(at, name);
    assert!(matches!(web_rtc.answer(client.offer.clone(), token()).await, Err(Unanswered::Again)));

    let clock = client.clock;
    let (mut link, socket) = client.connect(&answer);
    link.send(&hello(token())).await.expect("sent");
    let accept = match tokio::time::timeout(PATIENCE, link.receive()).await.expect("in time").expect("holds")
    {
        Some(Frame::Accept(accept)) => accept,
        other => panic!("not accepted: {other:?}"),
    };
    assert_eq!((running.open_sessions(), web_rtc.sessions()), (1, 1));
    let stamps = socket.stamp_sources();
    let sender = Sender::new(
        SenderConfig {
            reflector: SocketAddr::from((Ipv4Addr::LOCALHOST, 9)),
            ssid: accept.ssid,
            key: accept.key.clone(),
            anchor_here: WallAnchor::from_unix_micros(clock.started().as_microsecond()),
            anchor_there: accept.anchor_unix_us,
            timestamps_there: accept.timestamps,
            clock: ClockInfo { tx: stamps.tx, rx: stamps.rx, steps: Vec::new() },
            validate_until: clock.now() + Micros::from_secs(2),
            audio: AudioPlan { start_phase: Micros::ZERO, duration: Micros::from_secs(1), tos: 0 },
            straggler_wait: Micros::from_millis(300),
        },
        clock.now(),
    );
    let options = DriverOptions::precise("test");
    let mut driver = Driver::start(sender, vec![Box::new(socket)], clock, &options).expect("a thread");
    let outcome = driver.finished().await.expect("ends");
    link.send(&Frame::Finish(Finish {})).await.expect("sent");
    let mut half = HalfAssembler::new();
    loop {
        match tokio::time::timeout(PATIENCE, link.receive()).await.expect("in time").expect("holds") {
            Some(Frame::HalfTrace(chunk)) => half.push(&chunk).expect("a chunk that fits"),
            Some(Frame::Finished(_)) => break,
            other => panic!("not the end: {other:?}"),
        }
    }
    let trace =
        Trace { here: outcome.machine.half().clone(), there: Some(half.into_half()), ..Trace::default() };
    for flow in flows(&trace, LossPolicy::Quick).iter().filter(|flow| flow.stream == StreamId::AUDIO) {
        let counts = &flow.counts;
        assert_eq!(
            (counts.sent, counts.on_time, counts.lost),
            (50, 50, 0),
            "{:?}: {counts:?}",
            flow.direction
        );
    }
    assert_eq!(Direction::BOTH.len(), flows(&trace, LossPolicy::Quick).len());
    drop(link);
    let over = async {
        while web_rtc.sessions() > 0 || running.open_sessions() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.expect("its place is free again");
}

#[tokio::test]
async fn offers_of_something_else_are_not_answered_and_nobody_whom_the_endpoint_does_not_know() {
    let running = start().await;
    let web_rtc = running.web_rtc().expect("asked for").clone();
    let offer = Client::new(web_rtc.candidates()[0]).offer;
    for (shown, code) in [(None, RefuseCode::TokenRequired), (Token::new("guess"), RefuseCode::WrongToken)] {
        match web_rtc.answer(offer.clone(), shown).await {
            Err(Unanswered::Refused(refusal)) => assert_eq!(refusal.code, code),
            other => panic!("let in: {other:?}"),
        }
    }
    let line = |kind: &str| format!("m={kind} 9 UDP/TLS/RTP/SAVPF 111\r\n");
    let more = ["audio", "video", "text"].map(|kind| format!("{offer}{}{}", line(kind), line(kind)));
    let cut: Vec<String> =
        (1..offer.len()).step_by(37).filter_map(|end| offer.get(..end)).map(str::to_owned).collect();
    let no_keys = offer.lines().filter(|line| !line.starts_with("a=fingerprint"));
    let no_keys: String = no_keys.map(|line| format!("{line}\r\n")).collect();
    let wrong =
        ["", "v=0", "m=application", "<html>", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"];
    let long = "x".repeat(100_000);
    for offer in wrong.into_iter().map(str::to_owned).chain(more).chain([no_keys, long]) {
        let answered = web_rtc.answer(offer.clone(), token()).await;
        assert!(matches!(answered, Err(Unanswered::Offer(_))), "{offer}: {answered:?}");
    }
    // A part of an offer may be one by itself: whatever comes of it ends here.
    for offer in cut {
        if let Ok(answer) = web_rtc.answer(offer, token()).await {
            end(&web_rtc, &answer.id).await;
        }
    }
    assert_eq!(web_rtc.sessions(), 0, "nothing holds a place that came to nothing");
    let answer = web_rtc.answer(offer.clone(), token()).await.expect("still answers");
    assert!(!web_rtc.end("nobody"));
    end(&web_rtc, &answer.id).await;
    let answer = web_rtc.answer(offer, token()).await.expect("the place is free again");
    assert_eq!(answer.id.len(), 32);
}

async fn end(web_rtc: &WebRtc, id: &str) {
    assert!(web_rtc.end(id));
    let over = async {
        while web_rtc.sessions() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.expect("ends");
}
