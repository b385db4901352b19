//! Which site got worse, since when, why: change detection over the reports of agents, and who is told of it.
//!
//! One node at a time does it for all ([`crate::store::IncidentStore::take_turn`]). Interval after interval of five minutes, once its
//! reports had time to arrive, what agents measured goes through [`crate::detect`]; how far that has come is kept with the incidents by
//! one commit that succeeds for one node only, so that a crash, or two nodes that both think that it is their turn, make no incident
//! twice. All else is rebuilt from the store.

mod alerts;
mod asn;
mod cause;
mod evidence;
mod fleet;
mod keeper;
mod message;
mod rules;

use std::collections::BTreeMap;

use greenroom_reports::schema::{Details, LinkKind, Report, State, Target, Value};

pub use asn::{AsnError, Providers};
pub use cause::{cause_words, figure_words, headline, place_words, scope_words, shown};
pub(crate) use keeper::run;
pub use keeper::{INTERVAL, Keeper};
pub(crate) use message::trial;
pub use rules::{Match, Rule, Silence, Window, Wrong};

use crate::detect::Figure;
use crate::rollup;
use crate::store::{RunFigures, TargetFigures, name_of};

/// What change detection reads of an agent's report.
pub fn figures(report: &Report) -> RunFigures {
    let measured = rollup::endpoint(report);
    let targets = report.targets.iter().map(|target| {
        let endpoint = target.url.split('#').next().unwrap_or_default().to_owned();
        let is_main = measured.as_ref() == Some(&endpoint);
        TargetFigures { figures: figures_of(target, report.verdict.overall, is_main), endpoint }
    });
    let trouble = report.verdict.uses.iter().filter(|(_, verdict)| {
        verdict.asked && matches!(verdict.state, State::Degraded | State::Blocked | State::PermissionDenied)
    });
    let wireless = report.targets.iter().any(|target| match &target.details {
        Some(Details::Gateway(found)) => found.link.wifi.is_some() || found.link.kind == LinkKind::Wireless,
        _ => false,
    });
    RunFigures { trouble: trouble.map(|(of, _)| name_of(of)).collect(), wireless, targets: targets.collect() }
}

fn figures_of(target: &Target, overall: State, is_main: bool) -> BTreeMap<Figure, f64> {
    let mut found = BTreeMap::new();
    let mut put = |figure: Figure, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            found.insert(figure, value);
        }
    };
    put(Figure::RttP50, target.rtt_ms.measured().map(|rtt| rtt.p50));
    for (way, pdv, loss) in
        [(&target.up, Figure::PdvUpP95, Figure::LossUp), (&target.down, Figure::PdvDownP95, Figure::LossDown)]
    {
        put(pdv, way.pdv_ms.measured().and_then(|found| found.p95));
        put(loss, way.loss_ratio.measured().map(|found| found.value));
    }
    let verdict = match (&target.state, overall) {
        (Value::Failed { .. }, _) => Some(1.0),
        // The verdict is on the endpoint that calls would use.
        (_, State::Blocked | State::PermissionDenied) if is_main => Some(1.0),
        (_, State::Degraded) if is_main => Some(0.5),
        (_, State::Ready) if is_main => Some(0.0),
        (Value::Measured(_), _) if !is_main => Some(0.0),
        _ => None,
    };
    put(Figure::Verdict, verdict);
    found
}
