//! The file of an export: one zstd frame of lines, each a JSON object with one field that says what it is.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read};

use greenroom_reports::metrics::sketch::Sketch;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::rollup::Sums;
use crate::store::{BucketKey, Header, Note, Resolution, RunFigures, SettingsRow, Summary, Tenant};

/// The name of the format, as it stands in the first line.
pub const FORMAT: &str = "greenroom.export/1";

/// Longest line: a report unpacks to 64 MiB at most, and text may double in JSON.
const MAX_LINE: u64 = 160 << 20;

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// The first one.
    Export(Head),
    /// Whose all that follows is, up to the next one.
    Tenant(TenantLine),
    /// A row of what people set up.
    Setting(SettingLine),
    /// A report.
    Report(Box<ReportLine>),
    /// What roll-ups hold of reports that follow, so many as it says: their JSON is no longer kept, or cannot be read.
    Sums(SumsLine),
    /// The last one. A file without it was cut off.
    End(End),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// [`FORMAT`].
    pub(super) format: String,
    pub(super) written: Timestamp,
    /// The version of the program that wrote it.
    pub(super) by: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TenantLine {
    pub(super) name: String,
    pub(super) created: Timestamp,
    /// What the address of its check page holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SettingLine {
    pub(super) table: String,
    pub(super) row: SettingsRow,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReportLine {
    header: serde_json::Value,
    /// As text: JSON readers differ in the last digit of a number.
    duration_ms: String,
    /// The JSON as it was sent, as text; not there where it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) raw: Option<String>,
    /// What change detection reads of it, where an agent made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) figures: Option<RunFigures>,
    /// Who provides its connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) provider: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<Note>,
}

impl ReportLine {
    pub(super) fn new(header: &Header, raw: Option<String>, notes: Vec<Note>) -> serde_json::Result<Self> {
        let Header { summary, figures, provider, .. } = header.clone();
        let mut header = serde_json::to_value(&summary)?;
        if let Some(fields) = header.as_object_mut() {
            fields.remove("duration_ms");
        }
        Ok(Self { header, duration_ms: summary.duration_ms.to_string(), raw, figures, provider, notes })
    }

    /// The header; `None` where it is none.
    pub(super) fn summary(&self) -> Option<Summary> {
        let mut header = self.header.clone();
        let duration: f64 = self.duration_ms.parse().ok()?;
        header.as_object_mut()?.insert("duration_ms".to_owned(), duration.into());
        serde_json::from_value(header).ok()
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SumsLine {
    pub(super) site: String,
    pub(super) endpoint: String,
    /// How many lines of reports that follow these sums are of.
    pub(super) reports: u64,
    pub(super) buckets: Vec<BucketLine>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BucketLine {
    length_s: i64,
    /// In seconds since 1970.
    begin_s: i64,
    /// HdrHistogram V2 in base64.
    histograms: BTreeMap<String, String>,
    counts: BTreeMap<String, u64>,
}

impl SumsLine {
    /// A line of sums that are all of one site and endpoint.
    pub(super) fn new(place: &super::Place, reports: u64, sums: &Sums) -> Self {
        let mut buckets: BTreeMap<(Resolution, i64), BucketLine> = BTreeMap::new();
        for (_, resolution, key, _) in sums.sketches.keys().chain(sums.tallies.keys()) {
            buckets.entry((*resolution, key.bucket)).or_insert_with(|| BucketLine {
                length_s: resolution.seconds(),
                begin_s: key.bucket,
                histograms: BTreeMap::new(),
                counts: BTreeMap::new(),
            });
        }
        for ((_, resolution, key, name), sketch) in &sums.sketches {
            if let Some(bucket) = buckets.get_mut(&(*resolution, key.bucket)) {
                bucket.histograms.insert(name.clone(), sketch.encode());
            }
        }
        for ((_, resolution, key, name), n) in &sums.tallies {
            if let Some(bucket) = buckets.get_mut(&(*resolution, key.bucket)) {
                bucket.counts.insert(name.clone(), *n);
            }
        }
        let (site, endpoint) = place.clone();
        Self { site, endpoint, reports, buckets: buckets.into_values().collect() }
    }

    /// The sums, of this tenant; `None` where they cannot be read.
    pub(super) fn sums(&self, tenant: Tenant) -> Option<Sums> {
        let mut sums = Sums::default();
        for bucket in &self.buckets {
            let resolution =
                Resolution::ALL.into_iter().find(|length| length.seconds() == bucket.length_s)?;
            let key = BucketKey {
                bucket: bucket.begin_s,
                site: self.site.clone(),
                endpoint: self.endpoint.clone(),
            };
            for (name, text) in &bucket.histograms {
                let sketch = Sketch::decode(text).ok()?;
                sums.sketches.insert((tenant, resolution, key.clone(), name.clone()), sketch);
            }
            for (name, n) in &bucket.counts {
                sums.tallies.insert((tenant, resolution, key.clone(), name.clone()), *n);
            }
        }
        Some(sums)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) reports: u64,
}

/// Why a file is no export that can be read in.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The system says no, or it is no zstd.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A line is not what it should be.
    #[error("line {0} is not one of an export: {1}")]
    Line(u64, String),
    /// What it says does not go together.
    #[error("it is no export: {0}")]
    Content(String),
    /// It is of another version, or something else.
    #[error("it is no export of this version ({FORMAT}) but {0:?}")]
    Format(String),
    /// Its end is missing.
    #[error("it is cut off: export it again")]
    CutOff,
}

/// The lines of a file, one after the other.
pub struct Lines<R: Read> {
    text: BufReader<zstd::Decoder<'static, BufReader<R>>>,
    number: u64,
    line: Vec<u8>,
}

impl<R: Read> Lines<R> {
    /// Begins to read a file.
    ///
    /// # Errors
    /// When it is no export.
    pub fn open(file: R) -> Result<Self, Unreadable> {
        let mut lines = Self { text: BufReader::new(zstd::Decoder::new(file)?), number: 0, line: Vec::new() };
        match lines.next() {
            Ok(Some(Line::Export(head))) if head.format == FORMAT => Ok(lines),
            Ok(Some(Line::Export(head))) => Err(Unreadable::Format(head.format)),
            // It is not even packed.
            Err(Unreadable::Io(error)) => Err(Unreadable::Content(error.to_string())),
            Err(error) => Err(error),
            Ok(_) => Err(Unreadable::Line(1, "it does not say what it is of".to_owned())),
        }
    }

    /// The next line; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Line>, Unreadable> {
        if !self.read()? {
            return Ok(None);
        }
        let line = serde_json::from_slice(&self.line);
        line.map(Some).map_err(|error| Unreadable::Line(self.number, error.to_string()))
    }

    /// Reads to the end without a look at what is in between; how many reports there are.
    pub(super) fn reports_to_the_end(mut self) -> Result<u64, Unreadable> {
        let mut last = Vec::new();
        while self.read()? {
            std::mem::swap(&mut last, &mut self.line);
        }
        match serde_json::from_slice(&last) {
            Ok(Line::End(end)) => Ok(end.reports),
            _ => Err(Unreadable::CutOff),
        }
    }

    fn read(&mut self) -> Result<bool, Unreadable> {
        self.line.clear();
        self.number += 1;
        let read = self.text.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line);
        match read {
            Ok(0) => Ok(false),
            Ok(_) if self.line.ends_with(b"\n") => Ok(true),
            // The frame ends within a line, or the file within the frame.
            Ok(_) => Err(Unreadable::CutOff),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Unreadable::CutOff),
            Err(error) => Err(error.into()),
        }
    }
}
