//! Everything that is kept of reports, into a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use jiff::Timestamp;
use uuid::Uuid;

use super::format::{End, FORMAT, Head, Line, ReportLine, SettingLine, SumsLine, TenantLine};
use super::{Place, Problems, TransferError, stored_sums};
use crate::ingest::read;
use crate::rollup::{SumKey, Sums};
use crate::store::{Counted, Header, Resolution, SETTINGS, Store, StoreError, Summary, Tenant};
use crate::verify::{AT_ONCE, ATTEMPTS, day_at, is_kept_whole};

/// How hard to compress: what is left to gain is in base64 alone.
const LEVEL: i32 = 3;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exported {
    /// Reports with their JSON.
    pub reports: u64,
    /// Reports of which the header alone is kept.
    pub headers_alone: u64,
    /// Rows of what people set up.
    pub settings: u64,
    /// What could not be exported as it should be.
    pub problems: Problems,
}

type Days = (Timestamp, Timestamp);

/// Whether what people set up goes along: accounts, keys, links, agents and what they run, webhooks, the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settings {
    /// It does: the file then holds the hashes of passwords and keys, and webhooks' secrets.
    Included,
    /// It stays behind.
    LeftOut,
}

/// Writes all reports of a store, with notes and sums, into `file`, and what people set up where that is asked for. Says after each page
/// how many reports there are so far.
///
/// # Errors
/// When the store cannot be read or the file cannot be written: the file is then cut off, and is not read in.
pub async fn export<W: Write + Send>(
    store: &dyn Store,
    settings: Settings,
    now: Timestamp,
    file: W,
    told: &mut (dyn FnMut(u64) + Send),
) -> Result<Exported, TransferError> {
    let mut packed = zstd::Encoder::new(file, LEVEL)?;
    packed.include_checksum(true)?;
    let mut out = Export { store, now, file: packed, told, done: Exported::default() };
    let by = format!("greenroom {}", env!("CARGO_PKG_VERSION"));
    out.line(&Line::Export(Head { format: FORMAT.to_owned(), written: now, by }))?;
    for named in store.named_tenants().await? {
        let code = store.tenant_code(named.tenant).await?;
        out.line(&Line::Tenant(TenantLine { name: named.name, created: named.created, code }))?;
        if settings == Settings::Included {
            out.settings(named.tenant).await?;
        }
        let mut next = store.next_begin(named.tenant, Timestamp::MIN.as_second()).await?;
        while let Some(begin) = next {
            let (span, end) = day_at(begin);
            out.day(named.tenant, span).await?;
            next = store.next_begin(named.tenant, end).await?;
        }
    }
    let reports = out.done.reports + out.done.headers_alone;
    out.line(&Line::End(End { reports }))?;
    out.file.finish()?.flush()?;
    Ok(out.done)
}

struct Export<'a, W: Write> {
    store: &'a dyn Store,
    now: Timestamp,
    file: zstd::Encoder<'static, W>,
    told: &'a mut (dyn FnMut(u64) + Send),
    done: Exported,
}

/// What there is of a report besides its header.
enum Content {
    /// Its JSON, from which it follows what it adds to the roll-ups.
    Whole(String),
    /// Its JSON, which this version does not understand.
    Odd(String),
    /// Nothing.
    Nothing,
}

impl<W: Write + Send> Export<'_, W> {
    fn line(&mut self, line: &Line) -> Result<(), TransferError> {
        serde_json::to_writer(&mut self.file, line).map_err(io::Error::from)?;
        Ok(self.file.write_all(b"\n")?)
    }

    async fn settings(&mut self, tenant: Tenant) -> Result<(), TransferError> {
        for table in SETTINGS {
            for row in self.store.settings(tenant, table).await? {
                self.line(&Line::Setting(SettingLine { table: table.name.to_owned(), row }))?;
                self.done.settings += 1;
            }
        }
        Ok(())
    }

    async fn report(
        &mut self,
        tenant: Tenant,
        header: &Header,
        raw: Option<String>,
    ) -> Result<(), TransferError> {
        match raw {
            Some(_) => self.done.reports += 1,
            None => self.done.headers_alone += 1,
        }
        let notes = self.store.notes(tenant, header.summary.id).await?;
        let line = ReportLine::new(header, raw, notes).map_err(io::Error::from)?;
        self.line(&Line::Report(Box::new(line)))
    }

    /// Writes the reports that began on a day.
    async fn day(&mut self, tenant: Tenant, days: Days) -> Result<(), TransferError> {
        // Those that stand by themselves: what they add follows from their JSON, or they add nothing.
        let (mut written, mut unreadable, mut others) = (BTreeSet::new(), BTreeSet::new(), false);
        let mut after = Uuid::nil();
        loop {
            let page = self.store.headers(tenant, days.0, days.1, after, AT_ONCE).await?;
            let Some(last) = page.last() else { break };
            after = last.summary.id;
            for header in &page {
                let summary = &header.summary;
                let content = self.content(tenant, header).await?;
                let raw = match (content, summary.counted) {
                    (Content::Whole(json), _) => Some(json),
                    (Content::Odd(json), Counted::ClockAhead | Counted::TooOld) => Some(json),
                    (Content::Nothing, Counted::ClockAhead | Counted::TooOld) => None,
                    (Content::Odd(_), Counted::Yes) => {
                        unreadable.insert(summary.id);
                        continue;
                    }
                    (Content::Nothing, Counted::Yes) => {
                        if header.has_raw {
                            unreadable.insert(summary.id);
                        }
                        others = true;
                        continue;
                    }
                };
                written.insert(summary.id);
                self.report(tenant, header, raw).await?;
            }
            (self.told)(self.done.reports + self.done.headers_alone);
        }
        if others || !unreadable.is_empty() {
            self.places(tenant, days, &written, &unreadable).await?;
        }
        Ok(())
    }

    /// What there is of a report. Damage is told and no error.
    async fn content(&mut self, tenant: Tenant, header: &Header) -> Result<Content, TransferError> {
        let summary = &header.summary;
        if !header.has_raw {
            return Ok(Content::Nothing);
        }
        let json = match self.store.raw(tenant, summary.id).await {
            Ok(Some(json)) => json,
            Ok(None) => {
                self.problem(summary, "its JSON is missing");
                return Ok(Content::Nothing);
            }
            Err(StoreError::Damaged(words)) => {
                self.problem(summary, &format!("its header alone is exported: {words}"));
                return Ok(Content::Nothing);
            }
            Err(error) => return Err(error.into()),
        };
        let is_understood = read::again(tenant, summary, &json).is_ok();
        let Ok(text) = String::from_utf8(json) else {
            self.problem(summary, "its header alone is exported: its JSON is no text");
            return Ok(Content::Nothing);
        };
        Ok(match is_understood {
            true => Content::Whole(text),
            false => Content::Odd(text),
        })
    }

    fn problem(&mut self, summary: &Summary, words: &str) {
        self.done.problems.add(format!("report {} ({}): {words}", summary.id, summary.code));
    }

    /// Writes the reports of a day that do not stand by themselves, by site and endpoint, with what the roll-ups hold of them: all,
    /// less what the others add.
    async fn places(
        &mut self,
        tenant: Tenant,
        days: Days,
        written: &BTreeSet<Uuid>,
        unreadable: &BTreeSet<Uuid>,
    ) -> Result<(), TransferError> {
        let busy = || TransferError::Busy(days.0.strftime("%Y-%m-%d").to_string());
        for attempt in 1..=ATTEMPTS {
            let mut sums = stored_sums(self.store, tenant, days).await?;
            let (open, own) = self.add_up(tenant, days, unreadable).await?;
            if stored_sums(self.store, tenant, days).await? != sums {
                if attempt < ATTEMPTS {
                    continue;
                }
                return Err(busy());
            }
            if open.values().flatten().any(|header| written.contains(&header.summary.id)) {
                // Their JSON was deleted since it was written.
                return Err(busy());
            }
            let now = self.now;
            let kept = |resolution: Resolution, bucket: i64| is_kept_whole(resolution, bucket, now);
            sums.sketches.retain(|(_, resolution, key, _), _| kept(*resolution, key.bucket));
            sums.tallies.retain(|(_, resolution, key, _), _| kept(*resolution, key.bucket));
            let (mut sums, mut own) = (by_place(sums), by_place(own));
            for (place, headers) in open {
                let of_all = sums.remove(&place).unwrap_or_default();
                let of_whole = own.remove(&place).unwrap_or_default();
                self.place(tenant, days, &place, headers, (of_all, &of_whole)).await?;
            }
            return Ok(());
        }
        Err(busy())
    }

    /// The reports of a day that do not stand by themselves, by site and endpoint, and what the others there add.
    async fn add_up(
        &self,
        tenant: Tenant,
        (from, to): Days,
        unreadable: &BTreeSet<Uuid>,
    ) -> Result<(BTreeMap<Place, Vec<Header>>, Sums), TransferError> {
        let mut open: BTreeMap<Place, Vec<Header>> = BTreeMap::new();
        let mut whole = Vec::new();
        let mut after = Uuid::nil();
        loop {
            let page = self.store.headers(tenant, from, to, after, AT_ONCE).await?;
            let Some(last) = page.last() else { break };
            after = last.summary.id;
            for header in page {
                let summary = &header.summary;
                if summary.counted != Counted::Yes {
                    continue;
                }
                if header.has_raw && !unreadable.contains(&summary.id) {
                    whole.push((place_of(summary), summary.id));
                } else {
                    open.entry(place_of(summary)).or_default().push(header);
                }
            }
        }
        let mut own = Sums::default();
        for (_, id) in whole.iter().filter(|(place, _)| open.contains_key(place)) {
            let summary = self.store.summary(tenant, *id).await?;
            let json = self.store.raw(tenant, *id).await?;
            // What is gone meanwhile is noticed by the sums, or the next time.
            if let (Some(summary), Some(json)) = (summary, json)
                && let Ok((adds, _)) = read::again(tenant, &summary, &json)
            {
                own.add(tenant, &adds);
            }
        }
        Ok((open, own))
    }

    async fn place(
        &mut self,
        tenant: Tenant,
        days: Days,
        place: &Place,
        headers: Vec<Header>,
        (mut sums, own): (Sums, &Sums),
    ) -> Result<(), TransferError> {
        if !sums.take_out(own) {
            self.done.problems.add(format!(
                "the sums of {} (site {:?}, endpoint {:?}) are less than what their reports add up to, and are left out with {} reports whose \
                 JSON is no longer kept: greenroom serve verify says more",
                days.0.strftime("%Y-%m-%d"),
                place.0,
                place.1,
                headers.len()
            ));
            return Ok(());
        }
        let count = u64::try_from(headers.len()).unwrap_or(u64::MAX);
        self.line(&Line::Sums(SumsLine::new(place, count, &sums)))?;
        for header in headers {
            // What is damaged was told.
            let raw = match header.has_raw {
                true => self.store.raw(tenant, header.summary.id).await.ok().flatten(),
                false => None,
            };
            let raw = raw.and_then(|json| String::from_utf8(json).ok());
            self.report(tenant, &header, raw).await?;
        }
        (self.told)(self.done.reports + self.done.headers_alone);
        Ok(())
    }
}

fn place_of(summary: &Summary) -> Place {
    (summary.site.clone().unwrap_or_default(), summary.endpoint.clone().unwrap_or_default())
}

/// Sums apart by site and endpoint.
fn by_place(sums: Sums) -> BTreeMap<Place, Sums> {
    let mut places: BTreeMap<Place, Sums> = BTreeMap::new();
    let place = |key: &SumKey| (key.2.site.clone(), key.2.endpoint.clone());
    for (key, sketch) in sums.sketches {
        places.entry(place(&key)).or_default().sketches.insert(key, sketch);
    }
    for (key, n) in sums.tallies {
        places.entry(place(&key)).or_default().tallies.insert(key, n);
    }
    places
}
