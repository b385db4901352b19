//! Reports, and what people set up, moved from one store to another, of any kind, by a file: [`export`] writes it, [`import`] reads it in.
//!
//! What a report that is whole adds to the roll-ups follows from its JSON, and is added where its id is new. Of a report whose JSON was
//! deleted the header alone is left, and its share is in the roll-ups with that of others: all such reports of a day, a site and an
//! endpoint stand together with what the roll-ups of that day hold beyond the whole ones, and are taken in by one commit, all or none.
//! So it does not matter how often an export is read in, where that was broken off, or what was there before.

mod export;
mod format;
mod import;

use std::io;

use crate::rollup::Sums;
use crate::store::{BucketKey, Resolution, Result, RollupQuery, Store, StoreError, Tenant};

pub use export::{Exported, Settings, export};
pub use format::{FORMAT, Lines, Unreadable};
pub use import::{Imported, check_whole, import};

/// Most findings that are told in words; the others are counted.
const TOLD: usize = 100;

/// What could not be moved as it should be, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    /// The first of it.
    pub told: Vec<String>,
    /// How much more there is.
    pub more: u64,
}

impl Problems {
    fn add(&mut self, words: String) {
        if self.told.len() < TOLD {
            self.told.push(words);
        } else {
            self.more += 1;
        }
    }
}

/// Why reports were not moved, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be written.
    #[error("{0}")]
    Write(#[from] io::Error),
    /// The file could not be read, or is no export.
    #[error(transparent)]
    Read(#[from] Unreadable),
    /// What was to be written changed each time that it was looked at.
    #[error("reports of {0} came in or were cleared meanwhile: start again")]
    Busy(String),
}

/// Site and endpoint of reports, as roll-ups name them: empty for those without.
type Place = (String, String);

/// Everything that the roll-ups of a stretch of time hold.
async fn stored_sums(
    store: &dyn Store,
    tenant: Tenant,
    (from, to): (jiff::Timestamp, jiff::Timestamp),
) -> Result<Sums> {
    let mut sums = Sums::default();
    for resolution in Resolution::ALL {
        let query = RollupQuery { resolution, from, to, site: None, endpoint: None };
        let found = store.rollups(tenant, &query).await?;
        let key = |(bucket, name): (BucketKey, String)| (tenant, resolution, bucket, name);
        sums.sketches.extend(found.sketches.into_iter().map(|(at, sketch)| (key(at), sketch)));
        sums.tallies.extend(found.tallies.into_iter().map(|(at, n)| (key(at), n)));
    }
    Ok(sums)
}
