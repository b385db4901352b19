//! The control stream of a session, and the endpoint's log that comes over it.

use greenroom_reports::trace::encoding::HalfAssembler;
use greenroom_reports::verdict::TargetFailure;

use crate::net::link::{self, LinkError};
use crate::proto::control::{CapacityResult, Finish, Frame};

/// The control stream of a session.
pub(super) struct Link {
    carrier: link::Link,
    /// The endpoint's log as far as it came.
    pub(super) there: HalfAssembler,
    /// Why nothing more will come, unless the log is whole.
    pub(super) failure: Option<TargetFailure>,
    /// The endpoint's log is whole.
    pub(super) finished: bool,
    /// How the search down ended, once it has.
    pub(super) searched: Option<CapacityResult>,
}

impl Link {
    pub(super) fn new(carrier: link::Link) -> Self {
        Self { carrier, there: HalfAssembler::new(), failure: None, finished: false, searched: None }
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.finished || self.failure.is_some()
    }

    /// Sends a frame. A stream that is broken is noted.
    pub(super) async fn tell(&mut self, frame: &Frame) {
        if self.carrier.send(frame).await.is_err() && !self.finished {
            self.fail(TargetFailure::Died);
        }
    }

    /// The next frame. `None`: nothing more will come, and why is noted. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        if self.is_over() {
            return None;
        }
        match self.carrier.receive().await {
            Ok(Some(frame)) => return Some(frame),
            Ok(None) | Err(LinkError::Broken(_)) => self.fail(TargetFailure::Died),
            Err(error @ (LinkError::Frame(_) | LinkError::Message(_))) => {
                self.fail(TargetFailure::NotThisKind { detail: error.to_string() });
            }
        }
        None
    }

    /// Takes in the endpoint's log until it is whole or nothing more will come. Cancel-safe.
    pub(super) async fn listen(&mut self) {
        while let Some(frame) = self.next().await {
            match frame {
                Frame::HalfTrace(chunk) => {
                    if let Err(error) = self.there.push(&chunk) {
                        self.fail(TargetFailure::NotThisKind { detail: error.to_string() });
                    }
                }
                Frame::Finished(finished) => {
                    if finished.dropped_records > 0 {
                        tracing::warn!("the endpoint's log is short of {} records", finished.dropped_records);
                    }
                    // A NAT gave this end another address, or another network took over: before and after differ.
                    if finished.address_changes > 0 {
                        self.fail(TargetFailure::AddressChanged);
                    }
                    self.finished = true;
                }
                Frame::CapacityResult(result) => self.searched = Some(result),
                Frame::Refuse(refuse) => {
                    self.fail(TargetFailure::Refused { detail: refuse.say });
                }
                Frame::Error(error) if error.stream.is_none() => {
                    self.fail(TargetFailure::Refused { detail: error.say });
                }
                Frame::Error(error) => tracing::warn!("the endpoint says of a stream: {}", error.say),
                // Pings are the endpoint's to answer; the rest is of a later version.
                _ => {}
            }
        }
    }

    /// Says that everything is sent, and takes in the rest of the log.
    pub(super) async fn finish(&mut self) {
        if !self.is_over() {
            self.tell(&Frame::Finish(Finish {})).await;
            self.listen().await;
        }
    }

    /// Says goodbye.
    pub(super) async fn close(&mut self) {
        self.carrier.finish().await;
    }

    fn fail(&mut self, why: TargetFailure) {
        self.failure.get_or_insert(why);
    }
}
