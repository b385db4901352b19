//! A fleet that was made up: who is where, how good the network is at any moment, and what goes wrong when. Pure, and the same for the same seed.
//!
//! Every figure is a function of the seed, the agent and the moment, so that the truth is known of each report and two runs with one seed
//! are alike, however fast either of them is.

use greenroom_reports::fleet::{AgentConfig, Schedule};
use greenroom_reports::schema::{Mode, Use};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::{Builder, Uuid};

/// Places that sites are named for.
const PLACES: [&str; 20] = [
    "Lyon", "Oslo", "Porto", "Graz", "Turku", "Ghent", "Leeds", "Delft", "Bergen", "Parma", "Cork", "Basel",
    "Malmo", "Gdansk", "Brno", "Split", "Riga", "Tartu", "Izmir", "Seville",
];

/// Providers. None of them exists.
const ISPS: [&str; 8] = [
    "Alder Telecom",
    "Birch Net",
    "Cedar Fiber",
    "Dune Mobile",
    "Elm Cable",
    "Fjord Broadband",
    "Grove DSL",
    "Harbor Net",
];

/// Endpoints that are measured against, by half of the sites each.
const ENDPOINTS: [&str; 2] = ["greenroom://media-1.example", "greenroom://media-2.example"];

/// Share of agents on Wi-Fi.
const ON_WIFI: f64 = 0.6;

/// From run to run of the second schedule, in seconds.
const HOURLY_S: u32 = 3_600;

/// What a fleet is like.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetSpec {
    /// The same seed gives the same fleet.
    pub seed: u64,
    /// How many agents.
    pub agents: u32,
    /// From run to run of the first schedule, in seconds.
    pub every_s: u32,
    /// Whether a second schedule runs each hour.
    pub hourly: bool,
    /// The first moment of the time that is simulated.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

/// A fleet that was made up.
#[derive(Debug, Clone)]
pub struct Fleet {
    spec: FleetSpec,
    sites: u32,
    config: AgentConfig,
    incidents: Vec<Incident>,
}

/// An agent and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its place in the fleet.
    pub index: u32,
    /// What it is called.
    pub id: Uuid,
    /// Its start.
    pub boot: Uuid,
    /// Number of its site.
    pub site: u32,
    /// Number of its provider.
    pub isp: usize,
    /// Whether it is on Wi-Fi.
    pub wifi: bool,
    /// Round trip to the endpoint when nothing else goes on, in milliseconds.
    pub base_ms: f64,
    /// How much its clock is ahead of the truth, in milliseconds.
    pub clock_ms: i64,
}

/// What one run found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Median round trip in milliseconds.
    pub rtt_ms: f64,
    /// 95th percentile of the delay variation in milliseconds.
    pub pdv_ms: f64,
    /// Share of what was sent that was lost.
    pub loss_up: f64,
    /// Share of what was sent to the agent that was lost.
    pub loss_down: f64,
    /// Whose fault it is, where anything is wrong.
    pub fault: Fault,
}

/// Where a fault lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is wrong.
    None,
    /// The local network.
    Local,
    /// The way to the endpoint.
    Path,
    /// The endpoint itself.
    Service,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A provider loses a quarter of the packets.
    IspLoss,
    /// A provider takes a detour: 45 ms more.
    IspDetour,
    /// A site's Wi-Fi is bad: those on it lose packets and wait.
    SiteWifi,
    /// An endpoint answers late: 60 ms more.
    EndpointSlow,
    /// A site has no way to the server: its reports come when that is over.
    SiteOffline,
    /// One agent's round trip grew by two standard deviations.
    AgentShift,
    /// One agent's clock is ten minutes ahead, and nothing corrects it.
    ClockAhead,
}

/// What it happens to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All agents of a provider.
    Isp,
    /// All agents of a site.
    Site,
    /// All agents that measure against an endpoint.
    Endpoint,
    /// One agent.
    Agent,
}

/// Something that goes wrong for a while, and is known: a line of the truth file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// Name of the provider, site or endpoint, or the agent's id.
    pub who: String,
    /// What kind of thing that is.
    pub scope: Scope,
    /// When it begins.
    pub from: Timestamp,
    /// When it is over.
    pub until: Timestamp,
    /// What it is.
    pub what: What,
    /// How many agents it concerns.
    pub agents: u32,
    #[serde(skip)]
    number: u32,
}

impl Incident {
    fn is_on(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }

    fn concerns(&self, member: &Member) -> bool {
        match self.scope {
            Scope::Isp => u32::try_from(member.isp).is_ok_and(|isp| isp == self.number),
            Scope::Site => member.site == self.number && (self.what != What::SiteWifi || member.wifi),
            Scope::Endpoint => u32::try_from(endpoint_of(member.site)).is_ok_and(|one| one == self.number),
            Scope::Agent => member.index == self.number,
        }
    }
}

/// Which endpoint a site measures against.
fn endpoint_of(site: u32) -> usize {
    usize::from(site % 2 == 1)
}

impl Fleet {
    /// Makes up a fleet and what goes wrong with it.
    pub fn new(spec: FleetSpec) -> Self {
        let sites = (spec.agents / 100).clamp(5, 500).min(spec.agents.max(1));
        let schedule = |id: &str, every_s, mode| Schedule {
            id: id.to_owned(),
            targets: ENDPOINTS.iter().map(|url| (*url).to_owned()).collect(),
            uses: vec![Use::Audio, Use::Video720p],
            mode,
            every_s,
            start: None,
            until: None,
            max_runs: None,
            in_call: false,
            metered: false,
        };
        let mut schedules = vec![schedule("calls", spec.every_s, Mode::Quick)];
        if spec.hourly {
            schedules.push(schedule("hourly", HOURLY_S, Mode::Quick));
        }
        let config = AgentConfig { version: 1, check_in_s: 300, schedules, ..AgentConfig::default() };
        let mut fleet = Self { spec, sites, config, incidents: Vec::new() };
        fleet.incidents = fleet.make_incidents();
        fleet
    }

    /// What it is like.
    pub fn spec(&self) -> &FleetSpec {
        &self.spec
    }

    /// What its agents are told to run: the planner of real agents decides when.
    pub fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// What a schedule is called.
    pub fn schedule_name(&self, number: usize) -> &str {
        self.config.schedules.get(number).map_or("", |schedule| schedule.id.as_str())
    }

    /// What goes wrong, by time.
    pub fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    /// An agent of it.
    pub fn member(&self, index: u32) -> Member {
        let mut dice = Dice::new(self.spec.seed, [1, u64::from(index), 0]);
        let site = index % self.sites;
        let mut of_site = Dice::new(self.spec.seed, [2, u64::from(site), 0]);
        let site_ms = 8.0 + 50.0 * of_site.share() * of_site.share();
        // Most agents of a site have its provider; the others are at home with one of their own.
        let site_isp = of_site.below(ISPS.len());
        let isp = if dice.share() < 0.8 { site_isp } else { dice.below(ISPS.len()) };
        let skewed = dice.share() < 0.005;
        let clock_ms = if skewed { i64::try_from(dice.below(3_600)).unwrap_or(0) - 1_800 } else { 0 };
        Member {
            index,
            id: Builder::from_random_bytes(dice.bytes()).into_uuid(),
            boot: Builder::from_random_bytes(dice.bytes()).into_uuid(),
            site,
            isp,
            wifi: dice.share() < ON_WIFI,
            base_ms: site_ms + 12.0 * dice.share(),
            clock_ms,
        }
    }

    /// What a site is called.
    pub fn site_name(&self, site: u32) -> String {
        let place = PLACES.get(usize::try_from(site).unwrap_or(0) % PLACES.len()).copied().unwrap_or("Lyon");
        match site / 20 {
            0 => place.to_owned(),
            round => format!("{place} {}", round + 1),
        }
    }

    /// What a provider is called.
    pub fn isp_name(&self, isp: usize) -> &'static str {
        ISPS.get(isp % ISPS.len()).copied().unwrap_or("Alder Telecom")
    }

    /// The endpoint that an agent measures against.
    pub fn endpoint(&self, member: &Member) -> &'static str {
        ENDPOINTS.get(endpoint_of(member.site)).copied().unwrap_or("greenroom://media-1.example")
    }

    /// What an agent's run at this moment finds. `run` tells runs apart: their place in the schedule.
    pub fn figures(&self, member: &Member, run: i64, at: Timestamp) -> Figures {
        let mut dice = Dice::new(self.spec.seed, [3, u64::from(member.index), run.cast_unsigned()]);
        let busy = busy(at);
        let wobble = 1.0 + 0.05 * dice.bell();
        let wait = if member.wifi { 4.0 } else { 0.8 };
        let mut found = Figures {
            rtt_ms: member.base_ms * wobble * (1.0 + 0.15 * busy),
            pdv_ms: wait * (1.0 + 1.5 * busy) * (0.6 + 0.8 * dice.share()),
            loss_up: 0.0,
            loss_down: 0.0,
            fault: Fault::None,
        };
        // Now and then a few packets are lost; once in two hundred runs something is wrong by itself.
        if dice.share() < 0.08 {
            found.loss_down = 0.006 * dice.share();
        }
        if dice.share() < 0.004 {
            found.pdv_ms += 90.0 + 120.0 * dice.share();
            found.fault = Fault::Local;
        }
        for incident in self.incidents.iter().filter(|one| one.is_on(at) && one.concerns(member)) {
            incident.what.change(&mut found, member, &mut dice);
        }
        found
    }

    /// Since when an agent cannot send that cannot at this moment, and until when.
    pub fn offline(&self, member: &Member, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let off = |one: &&Incident| one.what == What::SiteOffline && one.is_on(at) && one.concerns(member);
        self.incidents.iter().find(off).map(|one| (one.from, one.until))
    }

    /// How much the time that an agent writes is ahead of the truth, in milliseconds.
    pub fn clock_ahead_ms(&self, member: &Member, at: Timestamp) -> i64 {
        let ahead = |one: &&Incident| one.what == What::ClockAhead && one.is_on(at) && one.concerns(member);
        if self.incidents.iter().any(|one| ahead(&one)) { 600_000 } else { member.clock_ms }
    }

    /// Whether a call keeps an agent from its run.
    pub fn in_call(&self, member: &Member, run: i64, at: Timestamp) -> bool {
        let mut dice = Dice::new(self.spec.seed, [4, u64::from(member.index), run.cast_unsigned()]);
        dice.share() < 0.03 * busy(at)
    }

    /// One of each kind, spread over the time: most of those that many agents share are near the end, where somebody looks first.
    fn make_incidents(&self) -> Vec<Incident> {
        let whole = self.spec.until.duration_since(self.spec.from);
        let hours = |n: i64| SignedDuration::from_hours(n);
        // Where in the whole it begins, and how long it is at most.
        let plan = [
            (0.15_f64, hours(6), What::SiteOffline),
            (0.80, hours(30), What::SiteWifi),
            (0.90, hours(5), What::EndpointSlow),
            (0.50, hours(4), What::IspDetour),
            (0.60, hours(24 * 60), What::AgentShift),
            (0.70, hours(12), What::ClockAhead),
            (0.98, hours(3), What::IspLoss),
        ];
        let least = SignedDuration::from_secs(4 * i64::from(self.spec.every_s));
        let mut made = Vec::new();
        for (number, (share, longest, what)) in (0_u64..).zip(plan) {
            let mut dice = Dice::new(self.spec.seed, [5, number, 0]);
            let share = if whole < hours(24) { share.min(0.8) } else { share };
            let begin = self.spec.from.saturating_add(times(whole, share)).unwrap_or(self.spec.from);
            let lasts = longest.min(times(whole, 0.2).max(least));
            let lasts = if what == What::AgentShift { longest } else { lasts };
            let until = begin.saturating_add(lasts).unwrap_or(begin).min(self.spec.until);
            let incident = self.incident(what, begin, until, &mut dice);
            if until > begin {
                made.push(incident);
            }
        }
        made
    }

    fn incident(&self, what: What, from: Timestamp, until: Timestamp, dice: &mut Dice) -> Incident {
        let scope = match what {
            What::IspLoss | What::IspDetour => Scope::Isp,
            What::SiteWifi | What::SiteOffline => Scope::Site,
            What::EndpointSlow => Scope::Endpoint,
            What::AgentShift | What::ClockAhead => Scope::Agent,
        };
        let agents = usize::try_from(self.spec.agents).unwrap_or(1).max(1);
        let one = self.member(u32::try_from(dice.below(agents)).unwrap_or(0));
        let (number, who) = match scope {
            Scope::Isp => (u32::try_from(one.isp).unwrap_or(0), self.isp_name(one.isp).to_owned()),
            Scope::Site => (one.site, self.site_name(one.site)),
            Scope::Endpoint => {
                (u32::try_from(endpoint_of(one.site)).unwrap_or(0), self.endpoint(&one).to_owned())
            }
            Scope::Agent => (one.index, one.id.to_string()),
        };
        let mut made = Incident { who, scope, from, until, what, agents: 0, number };
        let concerned = (0..self.spec.agents).filter(|index| made.concerns(&self.member(*index))).count();
        made.agents = u32::try_from(concerned).unwrap_or(u32::MAX);
        made
    }
}

impl What {
    /// What it is, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::IspLoss => "a provider loses a quarter of the packets",
            Self::IspDetour => "a provider takes a detour of 45 ms",
            Self::SiteWifi => "bad Wi-Fi at a site",
            Self::EndpointSlow => "an endpoint answers 60 ms later",
            Self::SiteOffline => "a site is cut off; its reports come later",
            Self::AgentShift => "one agent's round trip grew by a tenth",
            Self::ClockAhead => "one agent's clock is ten minutes ahead",
        }
    }

    fn change(self, found: &mut Figures, member: &Member, dice: &mut Dice) {
        match self {
            Self::IspLoss => {
                found.loss_down = 0.15 + 0.2 * dice.share();
                found.loss_up = 0.1 + 0.1 * dice.share();
                found.fault = Fault::Path;
            }
            Self::IspDetour => {
                found.rtt_ms += 45.0;
                found.fault = Fault::Path;
            }
            Self::SiteWifi => {
                found.pdv_ms = found.pdv_ms * 4.0 + 90.0 * dice.share();
                found.loss_up = 0.02 + 0.04 * dice.share();
                found.fault = Fault::Local;
            }
            Self::EndpointSlow => {
                found.rtt_ms += 60.0;
                found.pdv_ms += 20.0;
                found.fault = Fault::Service;
            }
            Self::AgentShift => found.rtt_ms += 0.1 * member.base_ms,
            Self::SiteOffline | Self::ClockAhead => {}
        }
    }
}

/// How much goes on in the networks of people who work: from 0 at night to 1 in the afternoon, less at weekends.
fn busy(at: Timestamp) -> f64 {
    let local = at.to_zoned(TimeZone::UTC);
    let hour = f64::from(local.hour()) + f64::from(local.minute()) / 60.0;
    let day = 0.5 + 0.5 * ((hour - 14.0) / 24.0 * std::f64::consts::TAU).cos();
    let weekend = matches!(local.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday);
    if weekend { 0.4 * day } else { day }
}

/// A share of a stretch of time.
fn times(whole: SignedDuration, share: f64) -> SignedDuration {
    SignedDuration::try_from_secs_f64(whole.as_secs_f64() * share).unwrap_or(whole)
}

/// Chance that comes out the same each time: SplitMix64 over what it is for.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Chance for a purpose.
    pub fn new(seed: u64, purpose: [u64; 3]) -> Self {
        let mut dice = Self(seed);
        for part in purpose {
            dice.0 = dice.bits() ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        dice
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal, of variance one: twelve even ones.
    pub fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }

    /// A number below this one, which is not zero.
    pub fn below(&mut self, most: usize) -> usize {
        let most = u64::try_from(most.max(1)).unwrap_or(1);
        usize::try_from(self.bits() % most).unwrap_or(0)
    }

    fn bytes(&mut self) -> [u8; 16] {
        let (high, low) = (self.bits().to_be_bytes(), self.bits().to_be_bytes());
        std::array::from_fn(|at| if at < 8 { high[at] } else { low[at - 8] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(agents: u32) -> Fleet {
        let from: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let until = from.checked_add(SignedDuration::from_hours(24 * 28)).unwrap();
        Fleet::new(FleetSpec { seed: 7, agents, every_s: 300, hourly: true, from, until })
    }

    #[test]
    fn the_same_seed_gives_the_same_fleet() {
        let (one, two) = (fleet(500), fleet(500));
        assert_eq!(one.incidents(), two.incidents());
        let at = one.spec().from;
        for index in [0, 7, 499] {
            let member = one.member(index);
            assert_eq!(member, two.member(index));
            assert_eq!(one.figures(&member, 3, at), two.figures(&member, 3, at));
            assert_ne!(one.figures(&member, 3, at), two.figures(&member, 4, at));
        }
        let other = Fleet::new(FleetSpec { seed: 8, ..one.spec().clone() });
        assert_ne!(one.member(7).id, other.member(7).id);
    }

    #[test]
    fn the_truth_is_what_the_figures_show() {
        let fleet = fleet(500);
        assert_eq!(fleet.incidents().len(), 7);
        for incident in fleet.incidents() {
            assert!(incident.agents > 0 && incident.agents < 500, "{incident:?}");
            assert!(fleet.spec().from < incident.from && incident.until <= fleet.spec().until);
        }
        let outage = fleet.incidents().iter().find(|one| one.what == What::IspLoss).unwrap();
        for index in 0..500 {
            let member = fleet.member(index);
            let found = fleet.figures(&member, 1, outage.from);
            assert_eq!(found.loss_down > 0.1, fleet.isp_name(member.isp) == outage.who, "{member:?}");
        }
    }

    #[test]
    fn a_truth_line_has_what_a_reader_needs() {
        let line = serde_json::to_value(&fleet(100).incidents()[0]).unwrap();
        let names: Vec<_> = line.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["agents", "from", "scope", "until", "what", "who"]);
    }
}
