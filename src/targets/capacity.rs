//! Capacity searches against a Greenroom endpoint, for whoever drives a session.
//!
//! Audio of the session must last as long as the search: it keeps load down alive. What the searches count is in
//! [`Sender::capacity_intervals`] and goes into the trace.

use std::time::Duration;

use greenroom_reports::trace::StreamId;
use greenroom_reports::units::{Bitrate, DataSize, Micros};

use crate::net::pacing::{Driver, Ended};
use crate::proto::capacity::{Outcome, SearchConfig};
use crate::proto::control::{Frame, Limits, StartCapacity};
use crate::proto::sender::Sender;

/// How often a search is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A search that stays within what the endpoint has granted: audio and other streams count as part of its rate.
pub fn within(granted: Limits, ceiling: Bitrate, budget: DataSize, duration: Micros) -> SearchConfig {
    SearchConfig {
        ceiling: ceiling.min(granted.max_bitrate_bps),
        max_pps: granted.max_pps,
        budget,
        deadline: duration,
        ..SearchConfig::default()
    }
}

/// Searches the rate up. `None`: it could not be started, or the session ended before it did.
///
/// # Errors
///
/// [`Ended`] when the measuring thread has ended.
pub async fn up(
    driver: &Driver<Sender>,
    stream: StreamId,
    config: SearchConfig,
) -> Result<Option<Outcome>, Ended> {
    let started = driver.call(move |sender, now| sender.start_capacity(now, stream, config)).await?;
    if let Err(error) = started {
        tracing::warn!("cannot start a capacity search: {error}");
        return Ok(None);
    }
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        let ask =
            move |sender: &mut Sender, _| (sender.capacity_outcome(stream), sender.is_searching(stream));
        let (outcome, searching) = driver.call(ask).await?;
        if !searching {
            return Ok(outcome);
        }
    }
}

/// What asks the endpoint to search the rate down; it answers with [`Frame::CapacityResult`], or [`Frame::Error`] that names
/// the stream.
pub fn request(stream: StreamId, config: &SearchConfig) -> Frame {
    Frame::StartCapacity(StartCapacity {
        stream,
        ceiling_bps: config.ceiling,
        budget_bytes: config.budget,
        duration_us: config.deadline,
    })
}
