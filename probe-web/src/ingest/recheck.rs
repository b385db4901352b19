//! Whether a report's figures follow from its samples: computed after it was acknowledged, and again after a restart where that
//! was cut short, since what is still to be done stands in the store.

use std::sync::Arc;
use std::time::Duration;

use greenroom_reports::assess::{self, RecomputeError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::read;
use crate::store::{Agreement, Result, Store, Tenant};
use crate::webhooks::Changes;

/// Reports looked up at a time.
const AT_ONCE: u32 = 16;

/// How many places that differ are kept.
const PLACES: usize = 20;

/// How long to wait when the store fails, and at most between looks.
const PAUSE: Duration = Duration::from_secs(10);

/// Looks at every report that was not looked at, whenever some were written, until stopped.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    changes: Changes,
    written: Arc<Notify>,
    stop: CancellationToken,
) {
    loop {
        let more = tokio::select! {
            () = stop.cancelled() => return,
            more = some(&*store, &changes) => more,
        };
        match more {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "reports cannot be computed again now"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = written.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Looks at some; whether there were any.
async fn some(store: &dyn Store, changes: &Changes) -> Result<bool> {
    let waiting = store.unchecked(AT_ONCE).await?;
    let webhooks = if waiting.is_empty() { Vec::new() } else { store.webhooks_in_use().await? };
    for (tenant, id) in &waiting {
        // Before it is marked as looked at: after a crash in between it is looked at again.
        changes.look(store, &webhooks, *tenant, *id).await?;
        let (agreement, differs) = look(store, *tenant, *id).await?;
        if agreement == Agreement::Differs {
            tracing::info!(%id, ?differs, "a report's figures do not follow from its samples");
        }
        store.set_agreement(*tenant, *id, agreement, &differs).await?;
    }
    Ok(!waiting.is_empty())
}

async fn look(store: &dyn Store, tenant: Tenant, id: Uuid) -> Result<(Agreement, Vec<String>)> {
    let json = match store.raw(tenant, id).await {
        Ok(Some(json)) => json,
        Ok(None) => return Ok((Agreement::NoSamples, Vec::new())),
        Err(crate::store::StoreError::Damaged(problem)) => {
            tracing::error!(%id, problem, "a stored report is damaged");
            return Ok((Agreement::Unreadable, Vec::new()));
        }
        Err(error) => return Err(error),
    };
    // A report that makes the analysis panic is one that cannot be read.
    let found = tokio::task::spawn_blocking(move || judge(&json)).await;
    Ok(found.unwrap_or((Agreement::Unreadable, Vec::new())))
}

/// Computes a report's figures again and compares.
pub fn judge(json: &[u8]) -> (Agreement, Vec<String>) {
    let Ok(report) = read::report(json) else { return (Agreement::Unreadable, Vec::new()) };
    match assess::recompute(&report) {
        Ok(assess::Agreement::Agrees) => (Agreement::Agrees, Vec::new()),
        Ok(assess::Agreement::Differs(mut places)) => {
            places.truncate(PLACES);
            (Agreement::Differs, places)
        }
        Err(RecomputeError::NoTrace | RecomputeError::NoTarget | RecomputeError::Targets { .. }) => {
            (Agreement::NoSamples, Vec::new())
        }
        Err(RecomputeError::Trace(_) | RecomputeError::Profile(_)) => (Agreement::Unreadable, Vec::new()),
    }
}
