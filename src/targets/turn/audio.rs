//! Packets shaped as audio through a relay: each goes up to the server once and comes down once.

use std::time::Duration;

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::units::Micros;
use tokio_util::sync::CancellationToken;

use crate::net::clock::Clock;
use crate::net::relay::Link;
use crate::plan::ProbePlan;
use crate::proto::turn::{FIRST_CHANNEL, Piece, write_channel_data};

/// Opus at 32 kbit/s and 50 packets/s, with its RTP header: 80 + 12 octets.
const AUDIO: usize = 92;

/// What one end sent, and what came of it at the other.
pub(super) struct Flow {
    tag: [u8; 8],
    sent: Vec<Option<Micros>>,
    arrived: Vec<Option<Micros>>,
    failed: Vec<bool>,
    highest: Option<usize>,
    /// Packets behind a later one.
    pub(super) reordered: u64,
    /// Packets that came again.
    pub(super) duplicated: u64,
}

impl Flow {
    /// So many packets that nobody else's are taken for.
    pub(super) fn new(count: usize, tag: [u8; 8]) -> Self {
        Self {
            tag,
            sent: vec![None; count],
            arrived: vec![None; count],
            failed: vec![false; count],
            highest: None,
            reordered: 0,
            duplicated: 0,
        }
    }

    fn packet(&self, number: usize) -> Vec<u8> {
        let mut packet = self.tag.to_vec();
        packet.extend(u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
        packet.resize(AUDIO, 0);
        packet
    }

    /// Takes what came through the channel.
    fn take(&mut self, data: &[u8], now: Micros) {
        let Some((tag, rest)) = data.split_first_chunk::<8>() else { return };
        let Some((number, _)) = rest.split_first_chunk::<4>() else { return };
        let number = usize::try_from(u32::from_be_bytes(*number)).unwrap_or(usize::MAX);
        let was_sent = self.sent.get(number).is_some_and(Option::is_some);
        let Some(slot) = self.arrived.get_mut(number).filter(|_| was_sent && *tag == self.tag) else {
            return;
        };
        if slot.is_some() {
            self.duplicated += 1;
            return;
        }
        *slot = Some(now);
        if self.highest.is_some_and(|highest| number < highest) {
            self.reordered += 1;
        } else {
            self.highest = Some(number);
        }
    }

    fn is_whole(&self) -> bool {
        self.sent.iter().zip(&self.arrived).all(|(sent, arrived)| sent.is_none() || arrived.is_some())
    }

    /// What came of each packet. Those still under way when nothing was waited for are awaited.
    pub(super) fn exchanges(&self, now: Micros, patience: Micros) -> Vec<Exchange> {
        let one =
            |((sent, arrived), failed): ((&Option<Micros>, &Option<Micros>), &bool)| match (sent, arrived) {
                (Some(sent), Some(at)) => Exchange::Answered { at: *at, rtt: *at - *sent },
                (Some(sent), None) if now - *sent < patience => Exchange::Awaited,
                (Some(_), None) => Exchange::Lost,
                (None, _) if *failed => Exchange::SendFailed,
                (None, _) => Exchange::NotSent,
            };
        self.sent.iter().zip(&self.arrived).zip(&self.failed).map(one).collect()
    }
}

/// Sends from each link what the other is to receive; from a single one what it is to receive itself. Returns whether it was
/// stopped. A link that breaks ends it.
pub(super) async fn relay(
    links: (&mut Link, Option<&mut Link>),
    flows: &mut [Flow; 2],
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
) -> bool {
    let (a, mut b) = links;
    let [there, back] = flows;
    let count = there.sent.len();
    let start = clock.now();
    let due =
        |number: usize| start + plan.interval * i64::try_from(number).unwrap_or(i64::MAX / 1_000_000_000);
    let (mut next, mut ends) = (0, start + plan.patience);
    loop {
        if next >= count && there.is_whole() && (b.is_none() || back.is_whole()) {
            return false;
        }
        let wake = if next < count { due(next) } else { ends };
        tokio::select! {
            biased;
            () = stop.cancelled() => return true,
            piece = a.receive() => match piece {
                // From one to itself: what it sent comes back to it.
                Ok(Piece::Data(_, data)) if b.is_none() => there.take(&data, clock.now()),
                Ok(Piece::Data(_, data)) => back.take(&data, clock.now()),
                Ok(Piece::Stun(_)) => {}
                Err(_) if a.is_stream() => return false,
                Err(_) => {}
            },
            piece = receive(&mut b) => match piece {
                Ok(Piece::Data(_, data)) => there.take(&data, clock.now()),
                Ok(Piece::Stun(_)) => {}
                Err(true) => return false,
                Err(false) => {}
            },
            () = tokio::time::sleep_until(clock.instant(wake).into()) => {
                if next >= count {
                    return false;
                }
                if !send(a, there, next, clock).await {
                    return false;
                }
                if let Some(b) = &mut b && !send(b, back, next, clock).await {
                    return false;
                }
                next += 1;
                // Later than it was due, perhaps: the last packet has its whole time, too.
                ends = clock.now() + plan.patience;
            }
        }
    }
}

/// From the second link, if there is one. An error says whether it is the end of it.
async fn receive(link: &mut Option<&mut Link>) -> Result<Piece, bool> {
    match link {
        Some(link) => {
            let ends = link.is_stream();
            link.receive().await.map_err(|_| ends)
        }
        None => std::future::pending().await,
    }
}

/// A connection that takes nothing for so long stands still.
const STALLED: Duration = Duration::from_secs(1);

/// Returns whether the link is of further use: half a message on a stream spoils what follows.
async fn send(link: &mut Link, flow: &mut Flow, number: usize, clock: Clock) -> bool {
    let octets = write_channel_data(FIRST_CHANNEL, &flow.packet(number), link.is_stream());
    let now = clock.now();
    let sent = matches!(tokio::time::timeout(STALLED, link.send(&octets)).await, Ok(Ok(())));
    if let (true, Some(slot)) = (sent, flow.sent.get_mut(number)) {
        *slot = Some(now);
    } else if let Some(failed) = flow.failed.get_mut(number) {
        *failed = true;
    }
    sent || !link.is_stream()
}
