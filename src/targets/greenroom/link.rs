//! The control stream of a session, and the endpoint's log that comes over it.

use greenroom_reports::trace::encoding::HalfAssembler;
use greenroom_reports::verdict::TargetFailure;
use quinn::{RecvStream, SendStream};

use crate::proto::control::{Decoder, Finish, Frame};

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// The control stream of a session.
#[derive(Debug)]
pub(super) struct Link {
    send: SendStream,
    recv: RecvStream,
    decoder: Decoder,
    /// The endpoint's log as far as it came.
    pub(super) there: HalfAssembler,
    /// Why nothing more will come, unless the log is whole.
    pub(super) failure: Option<TargetFailure>,
    /// The endpoint's log is whole.
    pub(super) finished: bool,
}

impl Link {
    pub(super) fn new(send: SendStream, recv: RecvStream) -> Self {
        Self {
            send,
            recv,
            decoder: Decoder::new(),
            there: HalfAssembler::new(),
            failure: None,
            finished: false,
        }
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.finished || self.failure.is_some()
    }

    /// Sends a frame. A stream that is broken is noted.
    pub(super) async fn tell(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        let written = match frame.write(&mut bytes) {
            Ok(()) => self.send.write_all(&bytes).await.is_ok(),
            Err(_) => false,
        };
        if !written && !self.finished {
            self.failure.get_or_insert(TargetFailure::Died);
        }
    }

    /// The next frame. `None`: nothing more will come, and why is noted. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            if self.is_over() {
                return None;
            }
            match self.decoder.next_frame().map(|raw| raw.map(Frame::parse)) {
                Ok(Some(Ok(frame))) => return Some(frame),
                Ok(None) => {}
                Ok(Some(Err(error))) => self.fail(TargetFailure::NotThisKind { detail: error.to_string() }),
                Err(error) => self.fail(TargetFailure::NotThisKind { detail: error.to_string() }),
            }
            if self.failure.is_some() {
                return None;
            }
            match self.recv.read_chunk(READ, true).await {
                Ok(Some(chunk)) => self.decoder.push(&chunk.bytes),
                Ok(None) | Err(_) => self.fail(TargetFailure::Died),
            }
        }
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
                    self.finished = true;
                }
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

    fn fail(&mut self, why: TargetFailure) {
        self.failure.get_or_insert(why);
    }
}
