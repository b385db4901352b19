//! A whole store looked over: every report that is kept can be read and has the header that follows from it, and roll-ups hold
//! what their reports add up to.

use std::collections::{BTreeMap, BTreeSet};

use greenroom_reports::metrics::sketch::Sketch;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::ingest::read;
use crate::rollup::{Contribution, KEPT, Sums};
use crate::store::{
    BucketKey, Counted, FINE_KEPT, Header, Resolution, Result, RollupQuery, Store, StoreError, Summary,
    Tenant,
};

/// Headers looked up at a time.
pub(crate) const AT_ONCE: u32 = 500;

/// How often a day is looked at whose sums change meanwhile.
pub(crate) const ATTEMPTS: u32 = 3;

/// Most findings that are told in words; the others are counted.
const TOLD: usize = 100;

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Reports whose JSON was read.
    pub reports: u64,
    /// Reports of which the header alone is kept.
    pub headers_alone: u64,
    /// Roll-up buckets that were computed again from their reports.
    pub buckets: u64,
    /// Buckets that were not, since not all of their reports are kept, or can be read.
    pub buckets_open: u64,
    /// Days whose sums changed each time they were looked at: their buckets were not compared.
    pub busy_days: u64,
    /// What is wrong, in words: the first of it.
    pub problems: Vec<String>,
    /// How much more is wrong.
    pub more: u64,
}

impl Findings {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, words: String) {
        if self.problems.len() < TOLD {
            self.problems.push(words);
        } else {
            self.more += 1;
        }
    }
}

/// A bucket of one resolution.
type Slot = (Resolution, BucketKey);

/// What a bucket holds, by name.
#[derive(Debug, Clone, PartialEq, Default)]
struct Content {
    sketches: BTreeMap<String, Sketch>,
    tallies: BTreeMap<String, u64>,
}

/// What the reports of a day say.
#[derive(Default)]
struct Day {
    reports: u64,
    headers_alone: u64,
    problems: Vec<String>,
    sums: Sums,
    /// Buckets of which not every report could be read.
    open: BTreeSet<Slot>,
}

/// Looks a store over. Reads everything once; other nodes of the same database may go on meanwhile.
///
/// # Errors
/// When the store cannot be read at all. Damage is no error but a finding.
pub async fn verify(store: &dyn Store, now: Timestamp) -> Result<Findings> {
    let mut found = Findings::default();
    for line in store.integrity().await? {
        found.problem(format!("the database's file: {line}"));
    }
    for tenant in store.tenants().await? {
        let mut next = store.next_begin(tenant, Timestamp::MIN.as_second()).await?;
        while let Some(begin) = next {
            let (span, end) = day_at(begin);
            look_at_day(store, tenant, span, now, &mut found).await?;
            next = store.next_begin(tenant, end).await?;
        }
    }
    Ok(found)
}

/// The day, in UTC, that holds a point in time in seconds since 1970, and the second at which it ends.
pub(crate) fn day_at(second: i64) -> ((Timestamp, Timestamp), i64) {
    let day = second.div_euclid(Resolution::Day.seconds()) * Resolution::Day.seconds();
    let end = day.saturating_add(Resolution::Day.seconds());
    ((time(day), time(end)), end)
}

/// The nearest point in time that there is.
fn time(second: i64) -> Timestamp {
    let nearest = if second < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(second).unwrap_or(nearest)
}

/// Whoever keeps a report adds to its sums by the same commit: where these are the same before and after, the reports read in between
/// are those that they are of.
async fn look_at_day(
    store: &dyn Store,
    tenant: Tenant,
    span: (Timestamp, Timestamp),
    now: Timestamp,
    found: &mut Findings,
) -> Result<()> {
    for attempt in 1..=ATTEMPTS {
        let before = stored(store, tenant, span).await?;
        let day = read_day(store, tenant, span).await?;
        let settled = stored(store, tenant, span).await? == before;
        if !settled && attempt < ATTEMPTS {
            continue;
        }
        found.reports += day.reports;
        found.headers_alone += day.headers_alone;
        for words in &day.problems {
            found.problem(words.clone());
        }
        if settled {
            compare(before, day, now, found);
        } else {
            found.busy_days += 1;
        }
        break;
    }
    Ok(())
}

/// The roll-ups of a day as they are stored.
async fn stored(
    store: &dyn Store,
    tenant: Tenant,
    (from, to): (Timestamp, Timestamp),
) -> Result<BTreeMap<Slot, Content>> {
    let mut slots: BTreeMap<Slot, Content> = BTreeMap::new();
    for resolution in Resolution::ALL {
        let query = RollupQuery { resolution, from, to, site: None, endpoint: None };
        let found = store.rollups(tenant, &query).await?;
        for ((key, name), sketch) in found.sketches {
            slots.entry((resolution, key)).or_default().sketches.insert(name, sketch);
        }
        for ((key, name), n) in found.tallies {
            slots.entry((resolution, key)).or_default().tallies.insert(name, n);
        }
    }
    Ok(slots)
}

/// Reads the reports of a day and adds them up.
async fn read_day(store: &dyn Store, tenant: Tenant, (from, to): (Timestamp, Timestamp)) -> Result<Day> {
    let mut day = Day::default();
    let mut after = Uuid::nil();
    loop {
        let headers = store.headers(tenant, from, to, after, AT_ONCE).await?;
        let Some(last) = headers.last() else { return Ok(day) };
        after = last.summary.id;
        for header in headers {
            add_report(store, tenant, &header, &mut day).await?;
        }
    }
}

async fn add_report(store: &dyn Store, tenant: Tenant, header: &Header, day: &mut Day) -> Result<()> {
    let summary = &header.summary;
    let mut adds = None;
    if header.has_raw {
        day.reports += 1;
        match read_again(store, tenant, summary).await? {
            Ok((contribution, differs)) => {
                adds = Some(contribution);
                if !differs.is_empty() {
                    let fields = differs.join(", ");
                    day.problems.push(format!(
                        "report {} ({}): its header does not follow from it: {fields}",
                        summary.id, summary.code
                    ));
                }
            }
            Err(words) => day.problems.push(words),
        }
    } else {
        day.headers_alone += 1;
    }
    if summary.counted != Counted::Yes {
        return Ok(());
    }
    match adds {
        Some(adds) => day.sums.add(tenant, &adds),
        None => day.open.extend(slots_of(summary)),
    }
    Ok(())
}

/// Reads a report and makes its header again: what it adds to the roll-ups, and in which fields its header is another one; else
/// in words why that cannot be done.
async fn read_again(
    store: &dyn Store,
    tenant: Tenant,
    kept: &Summary,
) -> Result<std::result::Result<(Contribution, Vec<String>), String>> {
    let named = |words: &str| Ok(Err(format!("report {} ({}): {words}", kept.id, kept.code)));
    let json = match store.raw(tenant, kept.id).await {
        Ok(Some(json)) => json,
        Ok(None) => return named("its JSON is missing"),
        Err(StoreError::Damaged(words)) => return Ok(Err(format!("{words} (code {})", kept.code))),
        Err(error) => return Err(error),
    };
    match read::again(tenant, kept, &json) {
        Ok((adds, made)) => Ok(Ok((adds, differing(kept, &made)))),
        Err(problem) => named(&format!("it is no report that is let in: {}", problem.detail())),
    }
}

/// Names of the fields in which a header differs from the one that follows from its report.
fn differing(kept: &Summary, made: &Summary) -> Vec<String> {
    let mut made = made.clone();
    // These are found later.
    made.agreement = kept.agreement;
    made.differs.clone_from(&kept.differs);
    // These are the check link's, where it came by one.
    if kept.link.is_some() {
        made.link.clone_from(&kept.link);
        made.ticket.clone_from(&kept.ticket);
        made.person.clone_from(&kept.person);
    }
    let fields = |summary: &Summary| match serde_json::to_value(summary) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let made = fields(&made);
    let differs = |(name, value): &(String, serde_json::Value)| made.get(name) != Some(value);
    fields(kept).into_iter().filter(differs).map(|(name, _)| name).collect()
}

/// The buckets that a report is counted in, by its header.
fn slots_of(summary: &Summary) -> [Slot; 3] {
    Resolution::ALL.map(|resolution| {
        let key = BucketKey {
            bucket: resolution.bucket(summary.started),
            site: summary.site.clone().unwrap_or_default(),
            endpoint: summary.endpoint.clone().unwrap_or_default(),
        };
        (resolution, key)
    })
}

fn compare(mut stored: BTreeMap<Slot, Content>, day: Day, now: Timestamp, found: &mut Findings) {
    let mut computed: BTreeMap<Slot, Content> = BTreeMap::new();
    for ((_, resolution, key, name), sketch) in day.sums.sketches {
        computed.entry((resolution, key)).or_default().sketches.insert(name, sketch);
    }
    for ((_, resolution, key, name), n) in day.sums.tallies {
        computed.entry((resolution, key)).or_default().tallies.insert(name, n);
    }
    let slots: BTreeSet<Slot> = stored.keys().chain(computed.keys()).chain(&day.open).cloned().collect();
    for slot in slots {
        let (is, should) = (stored.remove(&slot), computed.remove(&slot));
        if day.open.contains(&slot) || !is_kept_whole(slot.0, slot.1.bucket, now) {
            found.buckets_open += 1;
            continue;
        }
        found.buckets += 1;
        let words = match (is, should) {
            (is, should) if is == should => continue,
            (Some(_), None) => "it is of no report",
            (None, _) => "it is missing",
            (Some(_), Some(_)) => "it is not what its reports add up to",
        };
        found.problem(format!("{}: {words}", title(&slot)));
    }
}

/// Whether neither a bucket nor the header of a report in it can have been deleted for its age.
pub(crate) fn is_kept_whole(resolution: Resolution, bucket: i64, now: Timestamp) -> bool {
    let kept = match resolution {
        Resolution::FiveMinutes => FINE_KEPT,
        // A header goes by the time at which it was received: a day aside for clocks.
        Resolution::Hour | Resolution::Day => KEPT - SignedDuration::from_hours(24),
    };
    bucket >= now.checked_sub(kept).unwrap_or(Timestamp::MIN).as_second()
}

fn title((resolution, key): &Slot) -> String {
    let length = match resolution {
        Resolution::FiveMinutes => "five minutes",
        Resolution::Hour => "hour",
        Resolution::Day => "day",
    };
    let name = |text: &str| if text.is_empty() { "none".to_owned() } else { format!("{text:?}") };
    format!(
        "the roll-up of the {length} from {} (site {}, endpoint {})",
        time(key.bucket),
        name(&key.site),
        name(&key.endpoint)
    )
}
