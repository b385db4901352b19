//! An export read into a store.

use std::io::Read;

use super::format::{Line, Lines, ReportLine, SettingLine, SumsLine, TenantLine, Unreadable};
use super::{Problems, TransferError};
use crate::ingest::read;
use crate::rollup::Sums;
use crate::store::{Counted, Moved, Outcome, SETTINGS, Store, StoreError, Tenant};

/// Reports of one commit.
const BATCH: usize = 200;

/// What was read in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// Reports that are new here.
    pub new: u64,
    /// Reports that were here already, and stay as they are.
    pub here: u64,
    /// Of what people set up, rows that are new here.
    pub settings_new: u64,
    /// Rows of it that were here already, or clash with what is here, which stays as it is.
    pub settings_here: u64,
    /// What could not be taken in.
    pub problems: Problems,
}

/// Reads a file to its end; how many reports are in it. What is not whole is better not begun with.
///
/// # Errors
/// When it is no export, damaged or cut off.
pub fn check_whole<R: Read>(file: R) -> Result<u64, Unreadable> {
    Lines::open(file)?.reports_to_the_end()
}

/// Reads a file of [`super::export`] into a store, which may hold reports already: those whose id is there stay as they are. May be broken
/// off and repeated. Says after each commit how many reports were looked at.
///
/// # Errors
/// When the file cannot be read or the store fails. What was taken in until then stays, and is not taken in again.
pub async fn import<R: Read + Send>(
    store: &dyn Store,
    file: R,
    told: &mut (dyn FnMut(u64) + Send),
) -> Result<Imported, TransferError> {
    let mut lines = Lines::open(file)?;
    let mut import = Import {
        store,
        told,
        tenant: None,
        waiting: Vec::new(),
        settings: Vec::new(),
        done: Imported::default(),
    };
    while let Some(line) = lines.next()? {
        match line {
            Line::Tenant(tenant) => import.tenant(tenant).await?,
            Line::Setting(line) => import.setting(line).await?,
            Line::Report(report) => import.report(&report).await?,
            Line::Sums(sums) => {
                let mut reports = Vec::new();
                for _ in 0..sums.reports {
                    match lines.next()? {
                        Some(Line::Report(report)) => reports.push(report),
                        _ => return Err(odd("sums are not followed by their reports").into()),
                    }
                }
                import.place(&sums, &reports).await?;
            }
            Line::End(_) => {
                import.commit().await?;
                return Ok(import.done);
            }
            Line::Export(_) => return Err(odd("it begins a second time").into()),
        }
    }
    Err(Unreadable::CutOff.into())
}

fn odd(words: &str) -> Unreadable {
    Unreadable::Content(words.to_owned())
}

struct Import<'a> {
    store: &'a dyn Store,
    told: &'a mut (dyn FnMut(u64) + Send),
    tenant: Option<Tenant>,
    waiting: Vec<Moved>,
    /// Rows of one table that wait for their commit.
    settings: Vec<SettingLine>,
    done: Imported,
}

impl Import<'_> {
    /// Tenants are known by name; one that is not here is made.
    async fn tenant(&mut self, line: TenantLine) -> Result<(), StoreError> {
        self.commit().await?;
        let known = self.store.named_tenants().await?.into_iter().find(|known| known.name == line.name);
        let tenant = match known {
            Some(known) => known.tenant,
            None => self.store.add_tenant(&line.name, line.created).await?,
        };
        if let Some(code) = &line.code {
            self.store.give_code(tenant, code).await?;
        }
        self.tenant = Some(tenant);
        Ok(())
    }

    async fn setting(&mut self, line: SettingLine) -> Result<(), StoreError> {
        let is_of_another = self.settings.first().is_some_and(|first| first.table != line.table);
        let is_another = self.settings.last().is_none_or(|last| last.row != line.row);
        if is_of_another || (is_another && self.settings.len() >= BATCH) {
            self.commit_settings().await?;
        }
        self.settings.push(line);
        Ok(())
    }

    async fn commit_settings(&mut self) -> Result<(), StoreError> {
        let (Some(tenant), Some(first)) = (self.tenant, self.settings.first()) else { return Ok(()) };
        let name = first.table.clone();
        let rows: Vec<_> = std::mem::take(&mut self.settings).into_iter().map(|line| line.row).collect();
        let Some(table) = SETTINGS.iter().find(|table| table.name == name) else {
            let words =
                format!("{} rows of {name:?}, which this version does not know, are left out", rows.len());
            self.done.problems.add(words);
            return Ok(());
        };
        let taken = self.store.take_settings(tenant, table, rows).await?;
        self.done.settings_new += taken.new;
        self.done.settings_here += taken.here;
        if taken.odd > 0 {
            let words = format!("{} rows of {name:?} are not of this version, and are left out", taken.odd);
            self.done.problems.add(words);
        }
        Ok(())
    }

    /// A report that stands by itself.
    async fn report(&mut self, line: &ReportLine) -> Result<(), TransferError> {
        let mut moved = self.moved(line)?;
        if moved.summary.counted == Counted::Yes {
            let again = moved.raw.as_deref().map(|json| read::again(moved.tenant, &moved.summary, json));
            let (id, code) = (moved.summary.id, &moved.summary.code);
            match again {
                Some(Ok((adds, _))) => moved.adds = Some(adds),
                Some(Err(problem)) => {
                    let words = format!("report {id} ({code}) is not let in: {}", problem.detail());
                    self.done.problems.add(words);
                    return Ok(());
                }
                None => return Err(odd(&format!("of report {id} nothing says what it adds to sums")).into()),
            }
        }
        self.waiting.push(moved);
        if self.waiting.len() >= BATCH {
            self.commit().await?;
        }
        Ok(())
    }

    /// Reports whose share of the sums is known of all together.
    async fn place(&mut self, line: &SumsLine, reports: &[Box<ReportLine>]) -> Result<(), TransferError> {
        self.commit().await?;
        let tenant = self.tenant.ok_or_else(|| odd("sums are of no tenant"))?;
        let sums: Sums = line.sums(tenant).ok_or_else(|| odd("sums cannot be read"))?;
        let batch: Vec<Moved> = reports.iter().map(|line| self.moved(line)).collect::<Result<_, _>>()?;
        let first = batch.first().map(|moved| moved.summary.started);
        let outcomes = self.store.take_in(batch, Some(sums)).await?;
        let here = outcomes.iter().filter(|outcome| **outcome != Outcome::Accepted).count();
        if here == 0 {
            self.done.new += count(outcomes.len());
        } else {
            self.done.here += count(here);
            if here < outcomes.len() {
                self.done.problems.add(format!(
                    "of {} reports of {} (site {:?}, endpoint {:?}) whose JSON is no longer kept, {here} are here already: the others' \
                     share of the sums cannot be told from theirs, so they are left out",
                    outcomes.len(),
                    first.map(|first| first.strftime("%Y-%m-%d").to_string()).unwrap_or_default(),
                    line.site,
                    line.endpoint
                ));
            }
        }
        (self.told)(self.done.new + self.done.here);
        Ok(())
    }

    fn moved(&self, line: &ReportLine) -> Result<Moved, Unreadable> {
        let summary = line.summary().ok_or_else(|| odd("a header cannot be read"))?;
        let tenant = self.tenant.ok_or_else(|| odd("a report is of no tenant"))?;
        let raw = line.raw.as_ref().map(|text| text.as_bytes().to_vec());
        let (figures, provider, notes) = (line.figures.clone(), line.provider.clone(), line.notes.clone());
        Ok(Moved { tenant, summary, raw, adds: None, figures, provider, notes })
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.commit_settings().await?;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let outcomes = self.store.take_in(std::mem::take(&mut self.waiting), None).await?;
        let new = outcomes.iter().filter(|outcome| **outcome == Outcome::Accepted).count();
        self.done.new += count(new);
        self.done.here += count(outcomes.len() - new);
        (self.told)(self.done.new + self.done.here);
        Ok(())
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
