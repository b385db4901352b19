//! The media endpoints of other nodes: a page that one node served may be told by another one to measure against that one's.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::SignedDuration;

use crate::app::AppState;
use crate::store::StoreError;

/// How often a node says that it is there, and hears of others.
const SAYS: Duration = Duration::from_secs(20);

/// How long others take its word.
const HOLDS: SignedDuration = SignedDuration::from_mins(2);

/// What other nodes' pages measure against.
#[derive(Debug, Clone, Default)]
pub(crate) struct OtherMedia(Arc<RwLock<Vec<String>>>);

impl OtherMedia {
    /// Those that were there a moment ago.
    pub(crate) fn now(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Says that this node is there, and hears of others.
pub(crate) async fn meet(state: &AppState) -> Result<(), StoreError> {
    let now = state.clock.now();
    if let Some(media) = &state.media {
        state.store.note_media(&media.url, now).await?;
    }
    let others = state.store.media_urls(now.checked_sub(HOLDS).unwrap_or(now)).await?;
    *state.other_media.0.write().unwrap_or_else(PoisonError::into_inner) = others;
    Ok(())
}

/// Goes on with it until stopped.
pub(crate) async fn keep_meeting(state: AppState) {
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(SAYS) => {}
        }
        if let Err(error) = meet(&state).await {
            tracing::warn!(%error, "other nodes cannot be heard of now");
        }
    }
}
