//! A client by WebRTC: an offer to the page's server, then two data channels.
#![expect(clippy::disallowed_methods, reason = "a load generator has connections of its own")]

use greenroom::net::clock::Clock;
use greenroom::net::peers::{CONTROL, PROBES};
use greenroom::net::webrtc::Peer;
use greenroom::proto::control::{Accept, Decoder};
use greenroom_reports::units::Micros;
use str0m::change::SdpAnswer;
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::{Event, RtcConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Audio, Coming, Crowd, Done, accepted, hello};
use crate::Fallible;

pub(super) async fn run(shared: &Crowd, token: &str, phase: Micros, coming: Coming) -> Fallible<Done> {
    let mut client = Client::connect(shared, token).await?;
    let accept = client.admitted(token).await?;
    coming.arrive().await;
    let mut audio = Audio::begin(shared, &accept, phase);
    while !audio.is_over(shared) {
        while let Some(packet) = audio.due() {
            client.write(client.probes, packet)?;
            // Each change of a session is taken before the next.
            client.turn(Micros::ZERO, |reply| audio.take(reply)).await?;
        }
        let rest = (audio.next() - shared.clock.now()).max(Micros::ZERO);
        client.turn(rest, |packet| audio.take(packet)).await?;
    }
    Ok((audio.seen(), Box::new(client.peer)))
}

struct Client {
    peer: Peer,
    control: ChannelId,
    probes: ChannelId,
    clock: Clock,
    open: usize,
    decoder: Decoder,
    is_in: bool,
    events: Vec<(Micros, Event)>,
}

impl Client {
    async fn connect(shared: &Crowd, token: &str) -> Fallible<Self> {
        let clock = shared.clock;
        let mut peer = Peer::open(RtcConfig::new().clear_codecs(), &[shared.media], None, clock)?;
        let mut changes = peer.rtc().sdp_api();
        let mut add = |stream, ordered, reliability| {
            let negotiated = Some(stream);
            let config = ChannelConfig { ordered, reliability, negotiated, ..ChannelConfig::default() };
            changes.add_channel_with_config(config)
        };
        let control = add(CONTROL, true, Reliability::Reliable);
        let probes = add(PROBES, false, Reliability::MaxRetransmits { retransmits: 0 });
        let (offer, pending) = changes.apply().ok_or("nothing to offer")?;
        let answer = SdpAnswer::from_sdp_string(&post(shared, token, &offer.to_sdp_string()).await?)?;
        peer.rtc().sdp_api().accept_answer(pending, answer)?;
        Ok(Self {
            peer,
            control,
            probes,
            clock,
            open: 0,
            decoder: Decoder::new(),
            is_in: false,
            events: Vec::new(),
        })
    }

    async fn admitted(&mut self, token: &str) -> Fallible<Box<Accept>> {
        while self.open < 2 {
            self.turn(Micros::from_millis(20), |_| ()).await?;
        }
        self.write(self.control, &hello(token)?)?;
        loop {
            self.turn(Micros::from_millis(20), |_| ()).await?;
            if let Some(accept) = accepted(&mut self.decoder)? {
                self.is_in = true;
                return Ok(accept);
            }
        }
    }

    fn write(&mut self, channel: ChannelId, octets: &[u8]) -> Fallible<()> {
        let mut channel = self.peer.rtc().channel(channel).ok_or("a channel closed")?;
        match channel.write(true, octets)? {
            true => Ok(()),
            false => Err("a channel takes nothing any more".into()),
        }
    }

    /// Moves what is to be moved, for so long or until something came.
    async fn turn(&mut self, rest: Micros, mut packet: impl FnMut(&[u8])) -> Fallible<()> {
        let mut events = std::mem::take(&mut self.events);
        self.peer.turn(self.clock.now() + rest, &mut events).await?;
        if !self.peer.rtc().is_alive() {
            return Err("the session ended".into());
        }
        for (_, event) in events.drain(..) {
            match event {
                Event::ChannelOpen(..) => self.open += 1,
                Event::ChannelData(data) if data.id == self.probes => packet(&data.data),
                Event::ChannelData(data) if !self.is_in => self.decoder.push(&data.data),
                // The endpoint's log, of which nothing is made here.
                _ => {}
            }
        }
        self.events = events;
        Ok(())
    }
}

/// Posts the offer as a page does; the answer.
async fn post(shared: &Crowd, token: &str, offer: &str) -> Fallible<String> {
    let http = shared.http;
    let mut stream = TcpStream::connect(http).await?;
    let request = format!(
        "POST /check/rtc HTTP/1.1\r\nHost: {http}\r\nOrigin: http://{http}\r\nConnection: close\r\nContent-Type: application/sdp\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{offer}",
        offer.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.split_once("\r\n\r\n") {
        Some((head, sdp)) if head.starts_with("HTTP/1.1 201 ") => Ok(sdp.to_owned()),
        _ => Err(format!("the offer was not answered: {answer}").into()),
    }
}
