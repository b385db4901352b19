//! The file of a support run: one archive with a report, as programs and people read it, and its raw samples.
//!
//! Made of a report's bytes and read as bytes: which file that is, is the caller's business.

mod tables;

use std::io::{self, Cursor, Read as _, Write as _};

use greenroom_reports::render::{html, json, terminal};
use greenroom_reports::schema::{Redaction, Report};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

/// How a support file's name ends.
pub const SUFFIX: &str = ".greenroom.zip";

/// The report within the archive.
const REPORT: &str = "report.json";

/// Greatest report that is read out of an archive: far above what any run writes, far below what would hurt.
const MAX_REPORT_BYTES: u64 = 64 << 20;

/// Why a support file cannot be made or read. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The report is no JSON.
    #[error("the report cannot be written as JSON: {0}")]
    Json(#[from] json::JsonError),
    /// The archive is damaged, or cannot be made.
    #[error("it is no {SUFFIX} file, or a damaged one ({0})")]
    Archive(#[from] ZipError),
    /// An archive of something else.
    #[error("it is an archive without a {REPORT}: not one that greenroom diagnose made")]
    Stranger,
    /// It unpacks to more than any report.
    #[error("its {REPORT} is larger than 64 MiB, which no report is")]
    Large,
    /// The report cannot be unpacked.
    #[error("its {REPORT} cannot be unpacked: {0}")]
    Unpack(#[from] io::Error),
}

/// Whether bytes begin like an archive.
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// Packs a report with what is made of it, also its packets as captures where they are wanted ([`greenroom_reports::render::pcap`]). The same report gives the same bytes. Samples that are damaged have no table beside the
/// report, which holds them as they are.
///
/// # Errors
///
/// [`BundleError`] when the report cannot be written.
pub fn pack(report: &Report, with_captures: bool) -> Result<Vec<u8>, BundleError> {
    let tables = tables::of(report, with_captures);
    let mut files = vec![
        ("READ-ME.txt".to_owned(), read_me(report, &tables).into_bytes()),
        (REPORT.to_owned(), json::pretty(report)?.into_bytes()),
        ("report.html".to_owned(), html::render(report).into_bytes()),
        ("report.txt".to_owned(), terminal::render(report, as_text()).into_bytes()),
    ];
    files.extend(tables.into_iter().map(|table| (table.name, table.bytes)));
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(begun(report));
    for (name, bytes) in &files {
        archive.start_file(name.as_str(), options)?;
        archive.write_all(bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// When the run began, as an archive can say it: from 1980 on, in UTC.
fn begun(report: &Report) -> DateTime {
    let at = report.started.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let unsigned = |part: i8| u8::try_from(part).unwrap_or_default();
    let year = u16::try_from(at.year()).unwrap_or_default();
    let [month, day, hour, minute, second] =
        [at.month(), at.day(), at.hour(), at.minute(), at.second()].map(unsigned);
    DateTime::from_date_and_time(year, month, day, hour, minute, second).unwrap_or_default()
}

fn as_text() -> terminal::Options {
    terminal::Options { detail: terminal::Detail::Full, ..terminal::Options::default() }
}

fn read_me(report: &Report, tables: &[tables::Table]) -> String {
    let hidden = match report.redaction {
        None => "Nothing is hidden: it holds whole addresses and the names of devices, as you agreed.\n"
            .to_owned(),
        Some(Redaction::Support) => "\
Hidden: addresses are cut to their network (the last part of 203.0.113.7 is 0), devices are named by
a number, and the name of the Wi-Fi and your home folder are taken out. Host names that were measured,
labels that were given (site, person, ticket) and all figures are in it.
"
        .to_owned(),
        Some(Redaction::Person) => "Hidden: everything personal.\n".to_owned(),
    };
    format!(
        "\
A support run of Greenroom, {code}.

report.html    the report for people: open it in a browser
report.txt     the same as text
report.json    the same for programs; `greenroom report show` opens this archive, too
{tables}
{hidden}Sound and pictures are never in it, nor passwords or tokens.
",
        code = report.code,
        tables = tables.iter().map(tables::Table::line).collect::<String>()
    )
}

/// Takes the report out of an archive, as JSON.
///
/// # Errors
///
/// [`BundleError`] when it is no archive, holds no report, or one that unpacks to more than any report has.
pub fn report_json(bytes: &[u8]) -> Result<String, BundleError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    let file = match archive.by_name(REPORT) {
        Err(ZipError::FileNotFound) => return Err(BundleError::Stranger),
        found => found?,
    };
    let mut text = String::new();
    // What the archive says of its size is its own word; what comes out counts.
    let read = file.take(MAX_REPORT_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_REPORT_BYTES) {
        Ok(text)
    } else {
        Err(BundleError::Large)
    }
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::read;

    use super::*;

    const MEASURED: &str = include_str!("../../reports/tests/data/loss_15.json");

    fn names(bytes: &[u8]) -> Vec<String> {
        ZipArchive::new(Cursor::new(bytes))
            .unwrap()
            .file_names()
            .map(|name| name.unwrap().into_owned())
            .collect()
    }

    #[test]
    fn a_report_comes_out_as_it_went_in() {
        let report = read(MEASURED).unwrap();
        let packed = pack(&report, false).unwrap();
        assert!(is_archive(&packed));
        assert_eq!(read(&report_json(&packed).unwrap()).unwrap(), report);
        assert_eq!(
            names(&packed),
            ["READ-ME.txt", "report.json", "report.html", "report.txt", "packets.csv"]
        );
        assert_eq!(pack(&report, false).unwrap(), packed, "the same report gives the same bytes");
    }

    #[test]
    fn what_is_no_support_file_is_refused() {
        assert!(matches!(report_json(b"PK\x03\x04 and nothing"), Err(BundleError::Archive(_))));
        assert!(matches!(report_json(b""), Err(BundleError::Archive(_))));
        let packed = pack(&read(MEASURED).unwrap(), true).unwrap();
        for length in (0..packed.len()).step_by(997) {
            assert!(report_json(&packed[..length]).is_err(), "cut to {length}");
        }
        let other = archive_of("holiday.txt", b"sun");
        assert!(matches!(report_json(&other), Err(BundleError::Stranger)));
    }

    #[test]
    fn samples_that_are_damaged_stay_in_the_report_alone() {
        let mut report = read(MEASURED).unwrap();
        report.trace.as_mut().unwrap().here.truncate(40);
        let packed = pack(&report, false).unwrap();
        assert_eq!(names(&packed), ["READ-ME.txt", "report.json", "report.html", "report.txt"]);
        assert_eq!(read(&report_json(&packed).unwrap()).unwrap(), report);
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = archive_of(REPORT, &vec![b' '; usize::try_from(MAX_REPORT_BYTES).unwrap() + 1]);
        assert!(bomb.len() < 1 << 20);
        assert!(matches!(report_json(&bomb), Err(BundleError::Large)));
    }

    fn archive_of(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
        archive.finish().unwrap().into_inner()
    }
}
