//! One question to a TURN server at a time, sent again over UDP until it is answered.

use std::io;
use std::time::Duration;

use greenroom_reports::units::Micros;
use greenroom_reports::verdict::TargetFailure;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::net::clock::Clock;
use crate::net::relay::Link;
use crate::net::tcp::TcpFailure;
use crate::proto::stun::{Message, TransactionId};
use crate::proto::turn::{Allocation, Answer, Ask, Client, Piece, Refusal};

/// RTO of RFC 8489 section 6.2.1; it doubles.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);

/// What a question came to.
pub(super) struct Asked {
    /// What an Allocate request brought.
    pub(super) allocation: Option<Allocation>,
    /// From the first request to its answer. `None`: it was sent more than once, so nobody knows which was answered.
    pub(super) first: Option<Micros>,
    /// From the first request to the last answer.
    pub(super) took: Micros,
}

/// A question that failed: why, and the first round trip if there was one.
pub(super) struct Unasked {
    pub(super) why: Why,
    pub(super) first: Option<Micros>,
}

/// Why it failed.
pub(super) enum Why {
    /// The server said no.
    Refused(Refusal),
    /// Something else.
    Other(TargetFailure),
}

/// Asks, as often as the server wants it put anew.
pub(super) async fn ask(
    link: &mut Link,
    client: &mut Client,
    what: Ask,
    clock: Clock,
    patience: Duration,
) -> Result<Asked, Unasked> {
    let begun = clock.now();
    let mut first = None;
    // The client ends what a server keeps putting off.
    for round in 0.. {
        let (answer, took) =
            once(link, client, what, clock, patience).await.map_err(|why| Unasked { why, first })?;
        if round == 0 {
            first = took;
        }
        match answer {
            Answer::Done(allocation) => return Ok(Asked { allocation, first, took: clock.now() - begun }),
            Answer::Refused(refusal) => return Err(Unasked { why: Why::Refused(refusal), first }),
            Answer::AskAgain => {}
        }
    }
    Err(Unasked { why: Why::Refused(Refusal::Malformed), first })
}

/// One transaction, and how long it took unless it was sent again.
async fn once(
    link: &mut Link,
    client: &mut Client,
    what: Ask,
    clock: Clock,
    patience: Duration,
) -> Result<(Answer, Option<Micros>), Why> {
    let mut id = TransactionId([0; 12]);
    let random = SystemRandom::new().fill(&mut id.0);
    random.map_err(|_| local("the system gave no random numbers"))?;
    let request = client.request(what, id);
    let begun = clock.now();
    let end = tokio::time::Instant::from_std(clock.instant(begun)) + patience;
    let (mut wait, mut sent, mut garbage) = (FIRST_PATIENCE, 0, false);
    loop {
        tokio::time::timeout_at(end, link.send(&request))
            .await
            .map_err(|_| Why::Other(TargetFailure::Silent))?
            .map_err(|error| Why::Other(broken(&error)))?;
        sent += 1;
        let again = if link.is_stream() {
            end
        } else {
            end.min(tokio::time::Instant::from_std(clock.instant(clock.now())) + wait)
        };
        while let Ok(received) = tokio::time::timeout_at(again, link.receive()).await {
            let Piece::Stun(octets) = received.map_err(|error| Why::Other(broken(&error)))? else { continue };
            let answer = Message::parse(&octets).map(|message| client.answer(what, id, &message));
            match answer {
                Ok(Some(answer)) => return Ok((answer, (sent == 1).then(|| clock.now() - begun))),
                Ok(None) => {}
                Err(_) => garbage = true,
            }
        }
        if again >= end {
            return Err(Why::Other(if garbage { garbled() } else { silent(link) }));
        }
        wait *= 2;
    }
}

fn local(detail: &str) -> Why {
    Why::Other(TargetFailure::Local { detail: detail.to_owned() })
}

fn garbled() -> TargetFailure {
    TargetFailure::WrongProtocol {
        protocol: "TURN".to_owned(),
        detail: "what it sends back is no STUN message".to_owned(),
    }
}

fn silent(link: &Link) -> TargetFailure {
    match link.is_stream() {
        true => TargetFailure::Mute { protocol: "TURN".to_owned() },
        false => TargetFailure::Silent,
    }
}

/// What an error of a link that stood means.
pub(super) fn broken(error: &io::Error) -> TargetFailure {
    match error.kind() {
        io::ErrorKind::InvalidData => garbled(),
        _ => crate::targets::repeat::refusal(&TcpFailure::of(error)),
    }
}
