//! Many senders, one commit: reports that come while a commit is under way share the next one.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

use crate::api::News;
use crate::problem::Problem;
use crate::store::{Outcome, Record, Store, StoreError};

/// Most reports of one commit.
const BATCH: usize = 200;

/// Most reports that wait; who comes then is told to come again.
const WAITING: usize = 1_000;

type Waiting = (Record, oneshot::Sender<Result<Outcome, String>>);

/// Hands reports to the one task that writes.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: mpsc::Sender<Waiting>,
}

/// Why a report was not kept.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Too many wait.
    #[error("too many reports are waiting")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The message bus did.
    #[error("the message bus does not take reports: {0}")]
    Bus(String),
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Busy => {
                Self::too_often("too many reports are waiting to be written; send it again later")
            }
            WriteError::Store(error) => error.into(),
            WriteError::Bus(problem) => {
                tracing::error!(problem, "the message bus failed");
                Self::unavailable("the message bus does not take reports at this moment; send it again later")
            }
        }
    }
}

impl Writer {
    /// Starts the task that writes. It ends when all writers are dropped and what they handed over is written. `written` is
    /// notified after each commit, and `news` tells of what is new.
    pub fn start(store: Arc<dyn Store>, written: Arc<Notify>, news: News) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(write_all(store, waiting, written, news));
        Self { queue }
    }

    /// Keeps a report. When it returns, the report is durable. A report whose sender goes away while it waits is kept all the same.
    ///
    /// # Errors
    /// When it was not kept.
    pub async fn write(&self, record: Record) -> Result<Outcome, WriteError> {
        let (done, outcome) = oneshot::channel();
        self.queue.try_send((record, done)).map_err(|_| WriteError::Busy)?;
        match outcome.await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(problem)) => Err(StoreError::Unavailable(problem).into()),
            Err(_) => Err(StoreError::Unavailable("the writer ended".to_owned()).into()),
        }
    }
}

async fn write_all(
    store: Arc<dyn Store>,
    mut waiting: mpsc::Receiver<Waiting>,
    written: Arc<Notify>,
    news: News,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let (records, senders): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let headers: Vec<_> = match news.is_heard() {
            true => records.iter().map(|record| (record.tenant, record.summary.clone())).collect(),
            false => Vec::new(),
        };
        match store.ingest(records).await {
            Ok(outcomes) => {
                for ((tenant, summary), outcome) in headers.into_iter().zip(&outcomes) {
                    if *outcome == Outcome::Accepted {
                        news.tell(tenant, summary);
                    }
                }
                for (sender, outcome) in senders.into_iter().zip(outcomes) {
                    // Who went away does not want to know.
                    let _ = sender.send(Ok(outcome));
                }
                written.notify_one();
            }
            Err(error) => {
                for sender in senders {
                    let _ = sender.send(Err(error.to_string()));
                }
            }
        }
    }
}
