//! Why something got worse, from who is affected and who is not, and from where the reports placed the fault. In words, too.

use greenroom_reports::render;
use greenroom_reports::schema::Place;
use jiff::tz::TimeZone;

use crate::detect::{Figure, Scope};
use crate::store::{Incident, Severity, Told};

/// The least share of reports with a fault that has to place it alike.
const MOST: f64 = 0.5;

/// The scope that people would name, of those that fit alike: where a site knows one endpoint alone, the site.
pub(crate) fn named(scope: &Scope, or: &[Scope]) -> (Scope, Vec<Scope>) {
    let plain = match scope {
        Scope::SiteToEndpoint(site, _) => Scope::Site(site.clone()),
        Scope::ProviderToEndpoint(provider, _) => Scope::Provider(provider.clone()),
        other => other.clone(),
    };
    if plain == *scope || !or.contains(&plain) {
        return (scope.clone(), or.to_vec());
    }
    let others = or.iter().filter(|other| **other != plain).cloned();
    (plain.clone(), std::iter::once(scope.clone()).chain(others).collect())
}

/// Where the fault is, and by what that is known.
pub(crate) fn place(told: &Told) -> (Place, &'static str) {
    let (scope, figures, evidence) = (&told.scope, &told.figures, &told.evidence);
    if figures.first() == Some(&Figure::Silence) {
        return (Place::Unknown, "silence");
    }
    let all: u64 = evidence.places.values().sum();
    let reported = evidence
        .places
        .iter()
        .max_by_key(|(_, count)| **count)
        .filter(|(place, count)| **place != Place::Unknown && share(**count, all) > MOST)
        .map(|(place, _)| *place);
    match (scope, reported) {
        // Whoever goes to it, from wherever, is affected, and those who go elsewhere are not: each for itself takes it for its path.
        (Scope::Endpoint(_), None | Some(Place::Path | Place::Relay | Place::Service)) => {
            (Place::Service, "shape")
        }
        (_, Some(place)) => (place, "reports"),
        // With one endpoint alone, a site's own network and the path to there look alike.
        (Scope::Site(_), None) if told.or.iter().any(|or| matches!(or, Scope::SiteToEndpoint(..))) => {
            (Place::Unknown, "shape")
        }
        (Scope::Site(_), None) => (Place::LocalNetwork, "shape"),
        (Scope::SiteToEndpoint(..) | Scope::Provider(_) | Scope::ProviderToEndpoint(..), None) => {
            (Place::Path, "shape")
        }
        (Scope::Agent(_) | Scope::Everybody, None) => (Place::Unknown, "shape"),
    }
}

/// How bad it is. A single computer that is silent may just be switched off.
pub(crate) fn severity(told: &Told) -> Severity {
    let evidence = &told.evidence;
    let is_silent = told.figures.first() == Some(&Figure::Silence);
    let (blocked, trouble) =
        (share(evidence.blocked, evidence.runs), share(evidence.blocked + evidence.degraded, evidence.runs));
    match () {
        () if is_silent && matches!(told.scope, Scope::Agent(_)) => Severity::Info,
        () if is_silent || blocked >= 0.5 => Severity::Critical,
        () if trouble >= 0.3 => Severity::Warning,
        () => Severity::Info,
    }
}

/// Counts of runs are far below 2^32.
fn share(count: u64, of: u64) -> f64 {
    let real = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    if of == 0 { 0.0 } else { real(count) / real(of) }
}

/// Who is meant: `Site Berlin`. An agent is named as the caller may see it.
pub fn scope_words(scope: &Scope, agent: Option<&str>) -> String {
    match scope {
        Scope::Agent(_) => agent.map_or_else(|| "One computer".to_owned(), |name| format!("Computer {name}")),
        Scope::SiteToEndpoint(site, endpoint) => format!("Site {site} to {endpoint}"),
        Scope::Site(site) => format!("Site {site}"),
        Scope::ProviderToEndpoint(provider, endpoint) => format!("All of {provider} to {endpoint}"),
        Scope::Provider(provider) => format!("All of {provider}"),
        Scope::Endpoint(endpoint) => format!("Endpoint {endpoint}"),
        Scope::Everybody => "Everybody".to_owned(),
    }
}

/// A figure's name, for people.
pub const fn figure_words(figure: Figure) -> &'static str {
    match figure {
        Figure::RttP50 => "round trip",
        Figure::PdvUpP95 => "delay variation up",
        Figure::PdvDownP95 => "delay variation down",
        Figure::LossUp => "loss up",
        Figure::LossDown => "loss down",
        Figure::Verdict => "verdicts",
        Figure::Silence => "silence",
    }
}

/// A figure's value with its unit.
pub fn shown(figure: Figure, value: f64) -> String {
    match figure {
        Figure::RttP50 | Figure::PdvUpP95 | Figure::PdvDownP95 => render::ms(value),
        Figure::LossUp | Figure::LossDown | Figure::Verdict | Figure::Silence => render::percent(value),
    }
}

/// Where the fault is, in words that follow `Likely`.
pub const fn place_words(place: Place) -> &'static str {
    match place {
        Place::Computer => "the computers themselves",
        Place::Device => "their microphones, speakers or cameras",
        Place::LocalNetwork => "the local network",
        Place::Path => "the path over the internet",
        Place::Relay => "a relay, proxy or firewall",
        Place::Service => "the endpoint itself",
        Place::Join => "the application's own way in",
        Place::Unknown => "a place that the reports do not tell",
    }
}

/// What got worse, since when: `Site Berlin got worse since 2026-11-22 09:40 UTC: round trip 82 ms, usually 21 ms.`
pub fn headline(incident: &Incident, agent: Option<&str>) -> String {
    let told = &incident.told;
    let who = scope_words(&told.scope, agent);
    let since = incident.since.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string();
    let first = told.figures.first().copied();
    if first == Some(Figure::Silence) {
        return format!("{who}: no reports since {since} UTC ({}).", of(told));
    }
    let last = told.course.iter().rev().find(|point| point.value.is_some());
    let values = last.and_then(|point| Some((first?, point.value?, point.usual)));
    let what = match values {
        Some((Figure::Verdict, ..)) | None => String::new(),
        Some((figure, value, Some(usual))) => {
            format!(": {} {}, usually {}", figure_words(figure), shown(figure, value), shown(figure, usual))
        }
        Some((figure, value, None)) => format!(": {} {}", figure_words(figure), shown(figure, value)),
    };
    let verb = if incident.over.is_some() { "was worse from" } else { "got worse since" };
    format!("{who} {verb} {since} UTC{what} ({}).", of(told))
}

fn of(told: &Told) -> String {
    let computers = if told.of == 1 { "computer" } else { "computers" };
    format!("{} of {} {computers}", told.agents, told.of)
}

/// Why: where the fault is, and what says so.
pub fn cause_words(told: &Told) -> String {
    let wireless =
        told.place == Place::LocalNetwork && share(told.evidence.wireless, told.evidence.runs) > MOST;
    let place = if wireless { "the local network (Wi-Fi)" } else { place_words(told.place) };
    match told.by.as_str() {
        "silence" => {
            "Nothing is heard: the computers are off, cut off, or cannot reach this server.".to_owned()
        }
        "reports" => format!("Likely {place}: most reports of those that got worse place the fault there."),
        _ if told.place == Place::Unknown => "The reports do not agree on where the fault is.".to_owned(),
        _ => format!(
            "Likely {place}: that is what those that got worse have in common, and others are as usual."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Evidence;

    fn places(of: &[(Place, u64)]) -> Evidence {
        Evidence { runs: 20, degraded: 12, places: of.iter().copied().collect(), ..Evidence::default() }
    }

    #[test]
    fn reports_place_the_fault_where_they_agree_and_the_shape_does_where_they_do_not() {
        let site = Scope::Site("Berlin".into());
        let provider = Scope::ProviderToEndpoint("Fiber".into(), "e".into());
        let endpoint = Scope::Endpoint("e".into());
        let rtt = [Figure::RttP50];
        let cases = [
            (&site, places(&[(Place::LocalNetwork, 9), (Place::Path, 2)]), (Place::LocalNetwork, "reports")),
            (&site, places(&[(Place::Path, 9)]), (Place::Path, "reports")),
            (&site, places(&[]), (Place::LocalNetwork, "shape")),
            (&provider, places(&[(Place::Path, 4), (Place::Computer, 4)]), (Place::Path, "shape")),
            (&endpoint, places(&[(Place::Path, 9)]), (Place::Service, "shape")),
            (&endpoint, places(&[(Place::Computer, 9)]), (Place::Computer, "reports")),
            (&Scope::Everybody, places(&[]), (Place::Unknown, "shape")),
        ];
        for (scope, evidence, expected) in cases {
            let found = place(&told(scope, &[], &rtt, &evidence));
            assert_eq!(found, expected, "{scope:?} {evidence:?}");
        }
        let none = places(&[]);
        assert_eq!(place(&told(&site, &[], &[Figure::Silence], &none)), (Place::Unknown, "silence"));
        let or = [Scope::SiteToEndpoint("Berlin".into(), "e".into())];
        assert_eq!(place(&told(&site, &or, &rtt, &none)), (Place::Unknown, "shape"));
    }

    #[test]
    fn of_what_fits_alike_the_plain_one_is_named() {
        let own = |name: &str| name.to_owned();
        let (site, pair) = (Scope::Site(own("s")), Scope::SiteToEndpoint(own("s"), own("e")));
        assert_eq!(named(&pair, std::slice::from_ref(&site)), (site, vec![pair.clone()]));
        assert_eq!(named(&pair, &[]), (pair, Vec::new()));
    }

    fn told(scope: &Scope, or: &[Scope], figures: &[Figure], evidence: &Evidence) -> Told {
        Told {
            number: 1,
            scope: scope.clone(),
            or: or.to_vec(),
            figures: figures.to_vec(),
            part_of: None,
            reopened: 0,
            severity: Severity::Info,
            place: Place::Unknown,
            by: "shape".into(),
            evidence: evidence.clone(),
            agents: 1,
            of: 1,
            sites: Vec::new(),
            endpoints: Vec::new(),
            course: Vec::new(),
            reports: Vec::new(),
        }
    }

    #[test]
    fn it_is_as_bad_as_the_verdicts_say() {
        let of = |runs, degraded, blocked| Evidence { runs, degraded, blocked, ..Evidence::default() };
        let site = Scope::Site("Berlin".into());
        let severity = |scope: &Scope, figure, evidence| severity(&told(scope, &[], &[figure], &evidence));
        assert_eq!(severity(&site, Figure::RttP50, of(10, 2, 0)), Severity::Info);
        assert_eq!(severity(&site, Figure::RttP50, of(10, 2, 1)), Severity::Warning);
        assert_eq!(severity(&site, Figure::RttP50, of(10, 2, 5)), Severity::Critical);
        assert_eq!(severity(&site, Figure::Silence, of(0, 0, 0)), Severity::Critical);
        assert_eq!(severity(&Scope::Agent("a".into()), Figure::Silence, of(0, 0, 0)), Severity::Info);
    }
}
