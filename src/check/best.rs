//! Of several endpoints the one that serves a call best from here: each hears a little audio, all at the same time.

use futures_util::{StreamExt as _, stream};
use greenroom_reports::schema::{Target, Value};
use greenroom_reports::units::{DataSize, Micros};
use serde_json::{Value as Json, json};

use super::Watch;
use super::traffic::{self, bytes_of};
use crate::conduct;
use crate::net::clock::Clock;
use crate::plan::{Against, EndpointUrl, Plan, PlanError, Request, Traffic, plan};

/// Audio for so long: a hundred packets each way tell one region from another.
const LISTENED: Micros = Micros::from_secs(2);
/// So many are tried at the same time. Together their audio takes less than a call's video does.
const SIDE_BY_SIDE: usize = 8;

/// An endpoint that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Which.
    pub endpoint: EndpointUrl,
    /// What a listener would say (ITU-T G.107 R), the worse direction. `None`: it could not be measured.
    pub r: Option<f64>,
    /// Median round trip. `None`: nothing came back.
    pub rtt_p50_ms: Option<f64>,
    /// Share lost, the worse direction. `None`: not known.
    pub loss_ratio: Option<f64>,
    /// Why it could not be measured, in a sentence.
    pub failure: Option<String>,
    /// Bytes sent and received at the IP layer.
    pub spent: DataSize,
}

impl Candidate {
    /// As it stands in a report.
    pub(super) fn as_json(&self) -> Json {
        json!({
            "endpoint": self.endpoint.to_string(),
            "r": self.r,
            "rtt_p50_ms": self.rtt_p50_ms,
            "loss_ratio": self.loss_ratio,
            "failure": self.failure,
        })
    }

    /// Better ones come first: by what a listener would say, to the whole number since less is not heard, then by round trip.
    fn rank(&self) -> (bool, f64, f64) {
        let whole = self.r.map_or(0.0, f64::round);
        (self.failure.is_some() || self.rtt_p50_ms.is_none(), -whole, self.rtt_p50_ms.unwrap_or(f64::MAX))
    }
}

/// Tries all of them and returns them with the best first.
///
/// # Errors
///
/// As [`plan`], when the byte cap leaves no room for it.
pub(super) async fn first(
    like: &Plan,
    endpoints: &[EndpointUrl],
    clock: Clock,
    watch: &Watch,
) -> Result<Vec<Candidate>, PlanError> {
    let plans = endpoints.iter().map(|endpoint| {
        plan(&Request {
            against: Against { endpoint: Some(endpoint.clone()), ..like.against.clone() },
            traffic: Traffic::Chosen { media: Vec::new(), duration: LISTENED },
            profile: like.profile.clone(),
            max_bytes: Some(like.max_bytes),
        })
    });
    let plans: Vec<Plan> = plans.collect::<Result<_, _>>()?;
    let silent = Watch::unseen(watch.stop.clone());
    let tried = endpoints.iter().zip(&plans).map(async |(endpoint, plan)| {
        let measured = traffic::measure(plan, clock, &silent).await;
        let target = measured.target.as_ref().and_then(|meta| {
            conduct::judge(plan, meta, measured.trace.as_ref(), true).targets.into_iter().next()
        });
        let spent = measured.trace.as_ref().map_or(DataSize::default(), |trace| bytes_of(&trace.here));
        candidate(endpoint, target.as_ref(), spent)
    });
    let mut found: Vec<Candidate> = stream::iter(tried).buffered(SIDE_BY_SIDE).collect().await;
    found.sort_by(|a, b| {
        let (a, b) = (a.rank(), b.rank());
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2))
    });
    Ok(found)
}

fn candidate(endpoint: &EndpointUrl, target: Option<&Target>, spent: DataSize) -> Candidate {
    let failure = match target.map(|target| &target.state) {
        Some(Value::Measured(_)) => None,
        Some(Value::Failed { reason } | Value::NotTested { reason }) => Some(reason.clone()),
        None => Some("it was not tried".to_owned()),
    };
    let lost = target.into_iter().flat_map(|target| [&target.up, &target.down]);
    Candidate {
        endpoint: endpoint.clone(),
        r: target.and_then(|target| Some(target.quality.r.measured()?.value)),
        rtt_p50_ms: target.and_then(|target| Some(target.rtt_ms.measured()?.p50)),
        loss_ratio: lost.filter_map(|way| Some(way.loss_ratio.measured()?.value)).reduce(f64::max),
        failure,
        spent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(r: Option<f64>, rtt_p50_ms: Option<f64>) -> Candidate {
        let endpoint = "probe.example".parse().expect("an endpoint");
        let failure = rtt_p50_ms.is_none().then(|| "silent".to_owned());
        Candidate { endpoint, r, rtt_p50_ms, loss_ratio: None, failure, spent: DataSize::default() }
    }

    #[test]
    fn what_is_heard_counts_before_the_round_trip_and_silence_comes_last() {
        let better = |a: &Candidate, b: &Candidate| a.rank() < b.rank();
        let (near, far) = (of(Some(92.8), Some(20.0)), of(Some(93.2), Some(30.0)));
        assert!(better(&near, &far), "nobody hears four tenths of R");
        assert!(better(&far, &of(Some(70.0), Some(5.0))), "a short way that loses is no good");
        assert!(better(&of(None, Some(900.0)), &of(None, None)));
    }
}
