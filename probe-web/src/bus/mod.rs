//! What stands between a report that came in and the store: nothing, or a log that several servers keep.
//!
//! In process ([`InProcess`]) a report is durable when the store has it. Over NATS JetStream (`nats`) it is durable when the stream has it:
//! nodes take it from there to the store, and while the store is away it waits. Either way the store's key of ids is the authority on what is
//! there already: whatever is handed over or delivered twice counts once.

pub mod known;
pub mod message;
#[cfg(feature = "nats")]
pub mod nats;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::ingest::writer::{WriteError, Writer};
use crate::store::{Outcome, Record, Store};

/// How often a store that is away is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Takes reports.
#[async_trait]
pub trait Bus: Send + Sync + std::fmt::Debug {
    /// Takes a report. When it returns without an error, the report is durable.
    ///
    /// # Errors
    /// When it is not.
    async fn hand_over(&self, record: Record) -> Result<Outcome, WriteError>;

    /// Whether reports are taken while the store is away.
    fn buffers(&self) -> bool;

    /// Whether it can take a report now, as far as it knows.
    fn is_there(&self) -> bool;

    /// How many reports it has that the store does not have yet. `None`: it keeps none, or does not say.
    async fn waiting(&self) -> Option<u64> {
        None
    }
}

/// Straight into the store.
#[derive(Debug, Clone)]
pub struct InProcess(pub Writer);

#[async_trait]
impl Bus for InProcess {
    async fn hand_over(&self, record: Record) -> Result<Outcome, WriteError> {
        self.0.write(record).await
    }

    fn buffers(&self) -> bool {
        false
    }

    fn is_there(&self) -> bool {
        true
    }
}

/// Whether the store is away: set by whoever finds it so, until it answers again.
#[derive(Debug, Clone, Default)]
pub struct Away(Arc<AtomicBool>);

impl Away {
    /// It did not answer.
    pub fn set(&self) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!("the store is away; reports wait in the stream until it is back");
        }
    }

    /// Whether it is.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Looks for a store that is away, until stopped.
    pub(crate) async fn watch(self, store: Arc<dyn Store>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if self.is_set() && store.has_admin().await.is_ok() {
                self.0.store(false, Ordering::Relaxed);
                tracing::info!("the store is back");
            }
        }
    }
}
