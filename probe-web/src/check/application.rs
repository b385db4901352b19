//! The application's own files, which the page fetched for it: whether each came, and how long it took.

use std::collections::BTreeMap;

use greenroom_reports::assess::TargetMeta;
use greenroom_reports::schema::{Details, PartState, Place, Reached, ServiceDetails, ServicePart};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::read::{DAY_MS, amount, name};
use crate::problem::Problem;

/// Most files of a list.
const MOST: usize = 32;

/// One file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AssetRun {
    /// Its address, without what stands behind `?`.
    pub(super) url: String,
    pub(super) outcome: AssetOutcome,
    /// HTTP status. Nothing where the browser does not let the page know.
    pub(super) status: Option<u16>,
    pub(super) took_ms: Option<f64>,
    /// As it is unpacked.
    pub(super) octets: Option<u64>,
    /// Whether the browser had it already.
    pub(super) cached: Option<bool>,
    /// As browsers name it: `h2`, `h3`, `http/1.1`.
    pub(super) protocol: Option<String>,
}

/// What came of a file, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AssetOutcome {
    Loaded,
    /// Nobody waited for it.
    Unfinished,
    /// The page's own policy does not let it be fetched.
    Policy,
    /// It was not there within the time for all.
    Timeout,
    /// Its server does not hand it out.
    Refused,
    /// The browser does not say why.
    Failed,
}

pub(super) fn check(assets: &[AssetRun]) -> Result<(), Problem> {
    if assets.len() > MOST {
        return Err(Problem::field("/assets", "has more entries than any run"));
    }
    assets.iter().try_for_each(|asset| {
        name("/assets/url", &asset.url)?;
        name("/assets/protocol", asset.protocol.as_deref().unwrap_or_default())?;
        amount("/assets/took_ms", asset.took_ms.unwrap_or(0.0), DAY_MS)
    })
}

/// The application as a service whose parts are its files. `None` where it named none, or none was fetched.
pub(super) fn target(assets: &[AssetRun], received: Timestamp) -> Option<TargetMeta> {
    assets.iter().find(|asset| asset.outcome != AssetOutcome::Unfinished)?;
    // Of those that differ behind `?` alone the worst is told.
    let mut worst: BTreeMap<&str, &AssetRun> = BTreeMap::new();
    for asset in assets {
        let told = worst.entry(&asset.url).or_insert(asset);
        if asset.outcome > told.outcome {
            *told = asset;
        }
    }
    let answered =
        assets.iter().find(|asset| matches!(asset.outcome, AssetOutcome::Loaded | AssetOutcome::Refused));
    let parts = worst.into_values().map(part).collect();
    let details = ServiceDetails {
        title: ServiceDetails::APPLICATION.to_owned(),
        source: "named by the application".to_owned(),
        read_on: received.strftime("%Y-%m-%d").to_string(),
        note: None,
        parts,
        ways: Vec::new(),
    };
    Some(TargetMeta {
        url: "service:application".to_owned(),
        kind: "service".to_owned(),
        reached: answered.map(|asset| Reached {
            transport: asset.url.split(':').next().unwrap_or_default().to_owned(),
            address: None,
            setup_ms: None,
            instead_of_udp: None,
        }),
        identity: None,
        failure: None,
        details: Some(Details::Service(Box::new(details))),
        in_process: false,
    })
}

fn part(asset: &AssetRun) -> ServicePart {
    let fails = |why: String, place| (PartState::Fails, place, Some(why));
    let (state, place, why) = match asset.outcome {
        AssetOutcome::Loaded => (PartState::Works, Place::Unknown, None),
        AssetOutcome::Refused => {
            let status = asset.status.map_or_else(|| "an error".to_owned(), |status| status.to_string());
            fails(format!("its server answered {status}"), Place::Join)
        }
        AssetOutcome::Failed => {
            fails("the browser could not load it, and does not say why".to_owned(), Place::Unknown)
        }
        AssetOutcome::Policy | AssetOutcome::Timeout | AssetOutcome::Unfinished => {
            (PartState::Unknown, Place::Unknown, None)
        }
    };
    ServicePart {
        name: asset.url.split_once("://").map_or(asset.url.as_str(), |(_, rest)| rest).to_owned(),
        state,
        place,
        why,
        without: "the application may not start".to_owned(),
        essential: false,
    }
}

/// What is told of the files under the run's settings.
pub(super) fn told(assets: &[AssetRun]) -> Option<(String, Json)> {
    (!assets.is_empty()).then(|| ("application_files".to_owned(), json!(assets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(outcome: AssetOutcome, status: Option<u16>) -> AssetRun {
        AssetRun {
            url: "https://cdn.example/app/sdk.js".to_owned(),
            outcome,
            status,
            took_ms: Some(120.0),
            octets: None,
            cached: None,
            protocol: None,
        }
    }

    fn parts(assets: &[AssetRun]) -> Vec<ServicePart> {
        match target(assets, Timestamp::UNIX_EPOCH).and_then(|meta| meta.details) {
            Some(Details::Service(service)) => service.parts,
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_the_applications_doing_and_one_that_did_not_come_nobodys() {
        let [refused] = &parts(&[asset(AssetOutcome::Refused, Some(404))])[..] else { panic!("one part") };
        assert_eq!((refused.state, refused.place), (PartState::Fails, Place::Join));
        assert_eq!(refused.why.as_deref(), Some("its server answered 404"));
        assert_eq!(refused.name, "cdn.example/app/sdk.js");
        let [failed] = &parts(&[asset(AssetOutcome::Failed, None)])[..] else { panic!("one part") };
        assert_eq!((failed.state, failed.place), (PartState::Fails, Place::Unknown));
    }

    #[test]
    fn what_was_not_fetched_to_the_end_speaks_against_nobody() {
        for outcome in [AssetOutcome::Policy, AssetOutcome::Timeout] {
            assert_eq!(parts(&[asset(outcome, None)])[0].state, PartState::Unknown, "{outcome:?}");
        }
        assert!(target(&[asset(AssetOutcome::Unfinished, None)], Timestamp::UNIX_EPOCH).is_none());
        assert!(target(&[], Timestamp::UNIX_EPOCH).is_none());
    }

    #[test]
    fn of_two_that_look_alike_the_worse_is_told() {
        let both = [asset(AssetOutcome::Loaded, Some(200)), asset(AssetOutcome::Failed, None)];
        let [one] = &parts(&both)[..] else { panic!("one part") };
        assert_eq!(one.state, PartState::Fails);
        let reached = |assets: &[AssetRun]| target(assets, Timestamp::UNIX_EPOCH).unwrap().reached;
        assert_eq!(reached(&both).map(|it| it.transport).as_deref(), Some("https"));
        assert!(reached(&both[1..]).is_none(), "nobody answered");
    }

    #[test]
    fn no_more_files_than_a_list_has_and_no_time_that_is_none() {
        assert!(check(&vec![asset(AssetOutcome::Loaded, Some(200)); MOST]).is_ok());
        assert!(check(&vec![asset(AssetOutcome::Loaded, Some(200)); MOST + 1]).is_err());
        for took_ms in [f64::NAN, -1.0] {
            let asset = AssetRun { took_ms: Some(took_ms), ..asset(AssetOutcome::Loaded, None) };
            assert!(check(&[asset]).is_err(), "{took_ms}");
        }
    }
}
