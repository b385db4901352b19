//! A run judged: from traces to targets, verdict and host figures.

use std::collections::{BTreeMap, BTreeSet};

use crate::schema::{Host, Identity, Mode, Reached, Target, Use, Verdict};
use crate::trace::Trace;
use crate::verdict::{Profile, TargetFailure};

/// What the verdict is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The thresholds.
    pub profile: &'a Profile,
    /// The uses that count.
    pub asked: &'a BTreeSet<Use>,
    /// How long the run could be, and with it when a packet is lost.
    pub mode: Mode,
    /// Whether the run had its full time, so that point estimates decide what intervals leave open.
    pub at_cap: bool,
}

/// What is known of one endpoint beside the trace.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetMeta {
    /// `greenroom://probe.example`, without secrets.
    pub url: String,
    /// `greenroom`, `stamp`, …
    pub kind: String,
    /// How it was reached. `None` when it was not.
    pub reached: Option<Reached>,
    /// Whether it proved who it is.
    pub identity: Option<Identity>,
    /// Why it could not be measured, or not to the end.
    pub failure: Option<TargetFailure>,
    /// Whether it runs in this program, on this computer: then nothing is said of the internet path.
    pub in_process: bool,
}

/// One endpoint and what was measured against it.
#[derive(Debug, Clone, Copy)]
pub struct Probed<'a> {
    /// What is known of it.
    pub meta: &'a TargetMeta,
    /// The samples, as encoded and decoded again. `None` when there are none.
    pub trace: Option<&'a Trace>,
}

/// A run judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// One entry per endpoint, in the order given.
    pub targets: Vec<Target>,
    /// Will it work, and if not, whose fault is it.
    pub verdict: Verdict,
    /// This computer while it ran.
    pub host: Host,
    /// Mergeable histograms by metric name.
    pub sketches: BTreeMap<String, String>,
}
