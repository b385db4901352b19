//! What those who got worse have in common.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::watch::Series;

/// How much one series can speak for or against a group: one that is very bad does not make its neighbors so.
const MOST: f64 = 4.0;

/// Price of a group over a single agent, so that chance neighbors are not one.
const PRICE: f64 = 3.0;

/// What series can have in common, from the narrowest to the widest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
pub enum Scope {
    /// One agent.
    Agent(String),
    /// A site's agents towards one endpoint.
    SiteToEndpoint(String, String),
    /// A site's agents.
    Site(String),
    /// A provider's customers towards one endpoint.
    ProviderToEndpoint(String, String),
    /// A provider's customers.
    Provider(String),
    /// Whoever goes to one endpoint.
    Endpoint(String),
    /// Everybody.
    Everybody,
}

impl Scope {
    /// The names of all kinds, from the narrowest to the widest.
    pub const KINDS: [&'static str; 7] =
        ["agent", "site_to_endpoint", "site", "provider_to_endpoint", "provider", "endpoint", "everybody"];

    /// The name of its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::SiteToEndpoint(..) => "site_to_endpoint",
            Self::Site(_) => "site",
            Self::ProviderToEndpoint(..) => "provider_to_endpoint",
            Self::Provider(_) => "provider",
            Self::Endpoint(_) => "endpoint",
            Self::Everybody => "everybody",
        }
    }

    /// The site, where it is one's.
    pub fn site(&self) -> Option<&str> {
        match self {
            Self::SiteToEndpoint(site, _) | Self::Site(site) => Some(site),
            _ => None,
        }
    }

    /// The provider, where it is one's.
    pub fn provider(&self) -> Option<&str> {
        match self {
            Self::ProviderToEndpoint(provider, _) | Self::Provider(provider) => Some(provider),
            _ => None,
        }
    }

    /// The endpoint, where it is one's.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::SiteToEndpoint(_, endpoint)
            | Self::ProviderToEndpoint(_, endpoint)
            | Self::Endpoint(endpoint) => Some(endpoint),
            _ => None,
        }
    }

    /// All that a series belongs to.
    pub fn all_of(series: &Series) -> Vec<Self> {
        let endpoint = || series.endpoint.to_string();
        let mut all = vec![Self::Agent(series.agent.to_string())];
        if let Some(site) = &series.site {
            all.push(Self::SiteToEndpoint(site.to_string(), endpoint()));
            all.push(Self::Site(site.to_string()));
        }
        if let Some(provider) = &series.provider {
            all.push(Self::ProviderToEndpoint(provider.to_string(), endpoint()));
            all.push(Self::Provider(provider.to_string()));
        }
        all.extend([Self::Endpoint(endpoint()), Self::Everybody]);
        all
    }
}

/// What the scores of one series since a point in time say: the logarithm of how much likelier a shift of two standard deviations
/// explains them than none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// For a shift where positive.
    pub weight: f64,
}

impl Evidence {
    /// Of these scores.
    pub fn of(scores: &[f32]) -> Self {
        const SHIFT: f64 = 2.0 * super::Cusum::ALLOWANCE;
        Self { weight: scores.iter().map(|score| SHIFT * f64::from(*score) - SHIFT * SHIFT / 2.0).sum() }
    }

    fn limited(self) -> f64 {
        self.weight.clamp(-MOST, MOST)
    }

    /// Whether the series has got worse, as far as it alone tells.
    pub fn is_worse(self) -> bool {
        self.weight > 0.0
    }
}

/// A group that explains who got worse.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// What they have in common.
    pub scope: Scope,
    /// Others that fit as well: the same series, or nearly.
    pub or: Vec<Scope>,
    /// Its series, by their place in what was given.
    pub members: Vec<usize>,
}

/// The group that explains best why `alarmed` (one of `series`) got worse: the one whose members speak for a shift together most,
/// where each that did not get worse speaks against it.
pub fn explain(series: &[(&Series, Evidence)], alarmed: usize) -> Option<Explained> {
    let scopes = Scope::all_of(series.get(alarmed)?.0);
    let mut groups: BTreeMap<&Scope, Vec<usize>> = scopes.iter().map(|scope| (scope, Vec::new())).collect();
    for (index, (one, _)) in series.iter().enumerate() {
        for scope in Scope::all_of(one) {
            if let Some(members) = groups.get_mut(&scope) {
                members.push(index);
            }
        }
    }
    let gain = |scope: &Scope, members: &[usize]| {
        let sum: f64 =
            members.iter().filter_map(|index| series.get(*index)).map(|(_, it)| it.limited()).sum();
        sum - if matches!(scope, Scope::Agent(_)) { 0.0 } else { PRICE }
    };
    // Of equals the narrowest: it comes first.
    let mut ranked: Vec<(f64, &Scope, &Vec<usize>)> =
        groups.iter().map(|(scope, members)| (gain(scope, members), *scope, members)).collect();
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(other.1)));
    let (_, scope, members) = *ranked.first()?;
    let or = ranked.iter().skip(1).filter(|(_, _, others)| *others == members);
    let or = or.map(|(_, scope, _)| (*scope).clone()).collect();
    Some(Explained { scope: scope.clone(), or, members: members.clone() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn series(agent: &str, site: &str, provider: &str, endpoint: &str) -> Series {
        Series {
            agent: agent.into(),
            site: Some(site.into()),
            provider: Some(provider.into()),
            endpoint: endpoint.into(),
        }
    }

    /// Twelve agents at three sites of two providers, each against two endpoints; those that `is_worse` says are.
    fn explained(is_worse: impl Fn(&Series) -> bool) -> Explained {
        let mut all = Vec::new();
        for number in 0..12 {
            let site = ["north", "south", "west"][number % 3];
            let provider = if number < 6 { "copper" } else { "fiber" };
            for endpoint in ["eu", "us"] {
                all.push(series(&format!("a{number}"), site, provider, endpoint));
            }
        }
        let told: Vec<(&Series, Evidence)> = all
            .iter()
            .map(|it| (it, Evidence::of(if is_worse(it) { &[2.5, 1.5, 2.0] } else { &[0.4, -0.6, 0.2] })))
            .collect();
        let alarmed = all.iter().position(&is_worse).expect("one of them");
        explain(&told, alarmed).expect("it is one of them")
    }

    #[test]
    fn whoever_got_worse_is_explained_by_what_they_have_in_common() {
        let own = String::from;
        let is = |one: &Option<Arc<str>>, other: &str| one.as_deref() == Some(other);
        type Case<'a> = (&'a dyn Fn(&Series) -> bool, Scope);
        let cases: [Case<'_>; 7] = [
            (&|it| &*it.agent == "a4", Scope::Agent(own("a4"))),
            (&|it| is(&it.site, "south"), Scope::Site(own("south"))),
            (&|it| is(&it.provider, "fiber"), Scope::Provider(own("fiber"))),
            (&|it| &*it.endpoint == "us", Scope::Endpoint(own("us"))),
            (
                &|it| is(&it.provider, "copper") && &*it.endpoint == "eu",
                Scope::ProviderToEndpoint(own("copper"), own("eu")),
            ),
            (
                &|it| is(&it.site, "west") && &*it.endpoint == "us",
                Scope::SiteToEndpoint(own("west"), own("us")),
            ),
            (&|_| true, Scope::Everybody),
        ];
        for (is_worse, scope) in cases {
            let found = explained(is_worse);
            assert_eq!((&found.scope, &found.or), (&scope, &Vec::new()));
        }
    }

    #[test]
    fn most_of_a_site_is_the_site_and_a_single_one_of_it_is_not() {
        let south = |it: &Series| it.site.as_deref() == Some("south");
        let most = explained(|it| south(it) && &*it.agent != "a4");
        assert_eq!(most.scope, Scope::Site("south".to_owned()));
        assert_eq!(most.members.len(), 8, "the one that is well belongs to it, too");
    }

    #[test]
    fn what_cannot_be_told_apart_is_said() {
        let one = [series("a", "north", "copper", "eu"), series("b", "north", "copper", "eu")];
        let told: Vec<(&Series, Evidence)> =
            one.iter().map(|it| (it, Evidence::of(&[3.0, 3.0, 3.0]))).collect();
        let found = explain(&told, 0).expect("explained");
        assert_eq!(found.scope, Scope::SiteToEndpoint("north".to_owned(), "eu".to_owned()));
        assert_eq!(found.or.len(), 5, "{:?}", found.or);
    }
}
