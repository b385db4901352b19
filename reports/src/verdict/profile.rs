//! Thresholds as versioned data: what each use wants, and where it stops working.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::devices::DeviceLimits;
use crate::schema::Use;
use crate::units::Bitrate;

/// The profiles that ship with the program: name, version, text.
const SHIPPED: [(&str, u32, &str); 5] = [
    ("default", 1, include_str!("../../profiles/default-1.toml")),
    ("teams", 1, include_str!("../../profiles/teams-1.toml")),
    ("meet", 1, include_str!("../../profiles/meet-1.toml")),
    ("zoom", 1, include_str!("../../profiles/zoom-1.toml")),
    ("y1541", 1, include_str!("../../profiles/y1541-1.toml")),
];

/// Thresholds by use. A change of any number is a new version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// `default`, `teams`, …
    pub name: String,
    /// From 1.
    pub version: u32,
    /// One line for people.
    pub title: String,
    /// What each use wants. A use that is absent is not judged.
    pub uses: BTreeMap<Use, Limits>,
    /// What devices want. `None`: what `default/1` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<DeviceLimits>,
}

/// What one use wants. A figure that is absent is not judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The use's own rung, each way, at the IP layer: what is offered, and what must arrive within the loss limits.
    pub rate_bps: Bitrate,
    /// Where that figure comes from.
    pub rate_source: String,
    /// Lost on the network, 0..1, each direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_ratio: Option<Band>,
    /// Lost or too late for the adaptive playout buffer, 0..1, each direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_loss_ratio: Option<Band>,
    /// Median round-trip time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_p50_ms: Option<Band>,
    /// 95th percentile of packet delay variation (RFC 5481 PDV), each direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pdv_p95_ms: Option<Band>,
    /// Round-trip time p95 under the use's own load, less the idle median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_increase_ms: Option<Band>,
    /// Greatest share lost within any 200 ms, 0..1, each direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst_loss_200ms_ratio: Option<Band>,
    /// Reordered of those received (RFC 4737), 0..1, each direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reordered_ratio: Option<Band>,
}

/// Two thresholds of one figure, in the figure's own unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Up to here nothing is wrong.
    pub good: f64,
    /// Beyond here the use does not work. `None`: the figure degrades a use but never blocks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Where the figures come from.
    pub source: String,
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The text is not a profile.
    #[error("the profile cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// No such profile is shipped.
    #[error("there is no profile `{name}`; choose one of {known}, or give a file")]
    UnknownName {
        /// As asked for.
        name: String,
        /// The profiles there are.
        known: String,
    },
    /// A figure makes no sense.
    #[error("profile {profile}, {path}: {problem}")]
    Invalid {
        /// `name/version`.
        profile: String,
        /// Where in the file: `uses.audio.loss_ratio`.
        path: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
}

impl Default for Profile {
    fn default() -> Self {
        Self::named("default/1").expect("the shipped profiles are valid, a test reads each")
    }
}

impl Profile {
    /// The names of the profiles that ship with the program: `default/1`, `teams/1`, …
    pub fn names() -> impl Iterator<Item = String> {
        SHIPPED.iter().map(|(name, version, _)| format!("{name}/{version}"))
    }

    /// Finds a shipped profile by name: `default/1`, or `default` for its newest version.
    ///
    /// # Errors
    /// [`ProfileError::UnknownName`] lists the names there are.
    pub fn named(name: &str) -> Result<Self, ProfileError> {
        let found = SHIPPED
            .iter()
            .filter(|(base, version, _)| name == *base || name == format!("{base}/{version}"))
            .max_by_key(|(_, version, _)| *version);
        match found {
            Some((_, _, text)) => Self::parse(text),
            None => Err(ProfileError::UnknownName {
                name: name.to_owned(),
                known: Self::names().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Reads and checks a profile from the text of a file.
    ///
    /// # Errors
    /// [`ProfileError::Syntax`] with line and column; [`ProfileError::Invalid`] with the figure's path and what to do.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let profile: Self = toml::from_str(text)?;
        profile.validate()?;
        Ok(profile)
    }

    /// Checks that every figure makes sense. [`Profile::parse`] does so; a profile that came in a report is checked here.
    ///
    /// # Errors
    /// [`ProfileError::Invalid`] names the first figure that does not.
    pub fn validate(&self) -> Result<(), ProfileError> {
        let invalid = |path: String, problem: String| ProfileError::Invalid {
            profile: format!("{}/{}", self.name, self.version),
            path,
            problem,
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err(invalid("name".into(), "use lower-case letters, digits, - and _".into()));
        }
        if self.version == 0 {
            return Err(invalid("version".into(), "count versions from 1".into()));
        }
        if self.uses.is_empty() {
            return Err(invalid("uses".into(), "nothing to judge: add a [uses.audio] table".into()));
        }
        for (use_, limits) in &self.uses {
            let at = format!("uses.{}", use_.name());
            if limits.rate_bps.bps() == 0 {
                return Err(invalid(
                    format!("{at}.rate_bps"),
                    "give the rate in bits per second, above 0".into(),
                ));
            }
            for (metric, band) in limits.bands() {
                if let Some(problem) = band.problem(metric.ends_with("_ratio")) {
                    return Err(invalid(format!("{at}.{metric}"), problem));
                }
            }
        }
        for (figure, edge) in self.devices.iter().flatten() {
            if let Some(problem) = edge.problem(*figure) {
                return Err(invalid(format!("devices.{figure:?}"), problem));
            }
        }
        Ok(())
    }

    /// The limits of devices: its own, else those of `default/1`.
    pub fn device_limits(&self) -> DeviceLimits {
        let default = || Self::default().devices.unwrap_or_default();
        self.devices.clone().unwrap_or_else(default)
    }
}

impl Limits {
    /// The figures that are judged, by name.
    pub fn bands(&self) -> impl Iterator<Item = (&'static str, &Band)> {
        [
            ("loss_ratio", &self.loss_ratio),
            ("late_loss_ratio", &self.late_loss_ratio),
            ("rtt_p50_ms", &self.rtt_p50_ms),
            ("pdv_p95_ms", &self.pdv_p95_ms),
            ("rtt_increase_ms", &self.rtt_increase_ms),
            ("burst_loss_200ms_ratio", &self.burst_loss_200ms_ratio),
            ("reordered_ratio", &self.reordered_ratio),
        ]
        .into_iter()
        .filter_map(|(name, band)| Some((name, band.as_ref()?)))
    }
}

impl Band {
    /// What is wrong with it and what to do; `None` when it is sound.
    fn problem(&self, is_ratio: bool) -> Option<String> {
        let Self { good, limit, source } = self;
        let top = limit.unwrap_or(*good);
        if !good.is_finite() || *good <= 0.0 {
            return Some(format!("good is {good}; give a number above 0"));
        }
        if !top.is_finite() || top < *good {
            return Some(format!("limit is {top}, good is {good}; limit must be at least good"));
        }
        if is_ratio && top > 1.0 {
            return Some(format!("{top} is more than everything; a ratio is 0 to 1 (2 % is 0.02)"));
        }
        if source.trim().is_empty() {
            return Some("say in `source` where the figures come from".into());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A use, its rate, and good and limit of loss, late loss, rtt p50, pdv p95, rtt increase.
    type Row = (Use, u64, [(f64, f64); 5]);

    /// The table of the design document, written down again by hand.
    const DEFAULT: [Row; 5] = [
        (Use::Audio, 100_000, [(0.02, 0.10), (0.02, 0.10), (250.0, 500.0), (60.0, 200.0), (100.0, 300.0)]),
        (
            Use::Video360p,
            600_000,
            [(0.02, 0.08), (0.03, 0.12), (300.0, 800.0), (80.0, 250.0), (150.0, 400.0)],
        ),
        (
            Use::Video720p,
            1_500_000,
            [(0.015, 0.05), (0.02, 0.10), (300.0, 800.0), (80.0, 250.0), (150.0, 400.0)],
        ),
        (
            Use::Video1080p,
            3_000_000,
            [(0.01, 0.04), (0.02, 0.08), (300.0, 800.0), (60.0, 200.0), (150.0, 400.0)],
        ),
        (Use::Screen, 600_000, [(0.02, 0.08), (0.03, 0.12), (400.0, 1000.0), (100.0, 300.0), (200.0, 500.0)]),
    ];

    #[test]
    fn default_is_the_table() {
        let profile = Profile::default();
        assert_eq!(profile.uses.len(), DEFAULT.len());
        for (use_, rate, bands) in DEFAULT {
            let limits = &profile.uses[&use_];
            assert_eq!(limits.rate_bps, Bitrate::from_bps(rate), "{use_:?}");
            let found: Vec<_> = limits.bands().map(|(_, band)| (band.good, band.limit)).collect();
            let expected: Vec<_> = bands.iter().map(|(good, limit)| (*good, Some(*limit))).collect();
            assert_eq!(found, expected, "{use_:?}");
        }
    }

    #[test]
    fn every_shipped_profile_reads_and_names_its_sources() {
        let names: Vec<_> = Profile::names().collect();
        assert_eq!(names, ["default/1", "teams/1", "meet/1", "zoom/1", "y1541/1"]);
        for name in names {
            let profile = Profile::named(&name).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(format!("{}/{}", profile.name, profile.version), name);
            assert_eq!(
                Profile::named(&profile.name).unwrap(),
                profile,
                "the newest version is found by name alone"
            );
        }
    }

    #[test]
    fn limits_borrowed_from_default_are_those_of_default() {
        let default = Profile::default();
        for name in Profile::names().filter(|name| name != "default/1") {
            for (use_, limits) in Profile::named(&name).unwrap().uses {
                let own: BTreeMap<_, _> = default.uses[&use_].bands().collect();
                for (metric, band) in
                    limits.bands().filter(|(_, band)| band.source.ends_with("limit: default/1"))
                {
                    assert_eq!(band.limit, own[metric].limit, "{name} {use_:?} {metric}");
                }
            }
        }
    }

    #[test]
    fn what_a_vendor_does_not_name_is_absent() {
        let meet = Profile::named("meet").unwrap();
        assert_eq!(meet.uses[&Use::Audio].pdv_p95_ms, None);
        assert!(!meet.uses.contains_key(&Use::Video1080p));
        let teams = Profile::named("teams").unwrap();
        assert_eq!(teams.uses[&Use::Audio].late_loss_ratio, None);
        assert_eq!(
            teams.uses[&Use::Audio].burst_loss_200ms_ratio.as_ref().map(|b| (b.good, b.limit)),
            Some((0.1, None))
        );
    }

    #[test]
    fn errors_say_what_to_do() {
        let with = |line: &str| {
            format!(
                "name = \"mine\"\nversion = 1\ntitle = \"\"\n[uses.audio]\nrate_bps = 1\nrate_source = \"me\"\n{line}\n"
            )
        };
        let error = |line: &str| Profile::parse(&with(line)).unwrap_err().to_string();
        assert_eq!(
            error("loss_ratio = { good = 0.2, limit = 0.1, source = \"me\" }"),
            "profile mine/1, uses.audio.loss_ratio: limit is 0.1, good is 0.2; limit must be at least good"
        );
        assert_eq!(
            error("loss_ratio = { good = 2.0, limit = 5.0, source = \"me\" }"),
            "profile mine/1, uses.audio.loss_ratio: 5 is more than everything; a ratio is 0 to 1 (2 % is 0.02)"
        );
        assert!(error("rtt_p50_ms = { good = -1.0, source = \"me\" }").contains("give a number above 0"));
        assert!(error("rtt_p50_ms = { good = nan, source = \"me\" }").contains("give a number above 0"));
        assert!(error("rtt_p50_ms = { good = 1.0, limit = inf, source = \"me\" }").contains("at least good"));
        assert!(error("rtt_p50_ms = { good = 1.0, source = \" \" }").contains("where the figures come from"));
        assert!(error("jitter = { good = 1.0, source = \"me\" }").contains("unknown field `jitter`"));
        assert!(
            Profile::parse(&with("[uses.hologram]"))
                .unwrap_err()
                .to_string()
                .contains("unknown variant `hologram`")
        );
        assert_eq!(
            Profile::named("skype").unwrap_err().to_string(),
            "there is no profile `skype`; choose one of default/1, teams/1, meet/1, zoom/1, y1541/1, or give a file"
        );
    }

    #[test]
    fn a_profile_without_figures_judges_nothing_but_is_one() {
        let text = "name = \"mine\"\nversion = 3\ntitle = \"\"\n[uses.audio]\nrate_bps = 100\nrate_source = \"me\"\n";
        let profile = Profile::parse(text).unwrap();
        assert_eq!(profile.uses[&Use::Audio].bands().count(), 0);
        assert!(Profile::parse(&text.replace("version = 3", "version = 0")).is_err());
        assert!(Profile::parse(&text.replace("rate_bps = 100", "rate_bps = 0")).is_err());
        assert!(Profile::parse(&text.replace("\"mine\"", "\"My Own\"")).is_err());
    }
}
