//! Where results go: standard output, files, and whether a person is looking.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use greenroom_reports::render::{html, json, terminal};
use greenroom_reports::schema::Report;

use super::args::{Global, OutputArgs};
use super::exit::CliError;

/// Whether to write color to standard output.
pub(super) fn stdout_is_colored() -> bool {
    color_allowed() && io::stdout().is_terminal()
}

/// Whether to write color to standard error.
pub(super) fn stderr_is_colored() -> bool {
    color_allowed() && io::stderr().is_terminal()
}

/// Whether somebody watches standard error: then progress is shown.
pub(super) fn somebody_watches(global: &Global) -> bool {
    !global.quiet && io::stderr().is_terminal()
}

/// <https://no-color.org>: set and not empty.
fn color_allowed() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Writes text to standard output. A reader that has gone (`| head`) is no error.
pub(super) fn to_stdout(text: &str) -> Result<(), CliError> {
    bytes_to_stdout(text.as_bytes())
}

/// Writes bytes to standard output. A reader that has gone (`| head`) is no error.
pub(super) fn bytes_to_stdout(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(CliError::Output { to: "standard output".to_owned(), source }),
        Ok(()) => Ok(()),
    }
}

impl OutputArgs {
    /// Finds out before a run whether its report can be written, so that nobody waits for nothing.
    pub(super) fn check_writable(&self) -> Result<(), CliError> {
        self.json
            .iter()
            .chain(&self.html)
            .filter(|path| !is_stdout(path))
            .try_for_each(|path| check_writable(path))
    }

    /// Whether standard output is taken by something for programs.
    pub(super) fn takes_stdout(&self) -> bool {
        self.json.iter().chain(&self.html).any(|path| is_stdout(path))
    }

    /// Writes a report everywhere it was asked for. What can be written is, also when something else cannot.
    ///
    /// `notes` follow the text for people.
    pub(super) fn write(&self, report: &Report, notes: &str, global: &Global) -> Result<(), CliError> {
        self.write_with(report, || terminal::render(report, terminal_options(global)) + notes)
    }

    /// As [`Self::write`], with another text for people.
    pub(super) fn write_with(&self, report: &Report, text: impl FnOnce() -> String) -> Result<(), CliError> {
        let json = self.json.as_deref().map(|path| (path, to_json(report)));
        let html = self.html.as_deref().map(|path| (path, Ok(html::render(report))));
        let mut first_error = None;
        if !self.takes_stdout() {
            first_error = to_stdout(&text()).err();
        }
        for (path, text) in [json, html].into_iter().flatten() {
            let written = text.and_then(|text: String| match is_stdout(path) {
                true => to_stdout(&text),
                false => write_file(path, text.as_bytes()).map_err(|error| CliError::output(path, error)),
            });
            first_error = first_error.or(written.err());
        }
        first_error.map_or(Ok(()), Err)
    }
}

/// Finds out whether a file can be written, and leaves no trace of that.
pub(super) fn check_writable(path: &Path) -> Result<(), CliError> {
    let existed = path.exists();
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| CliError::output(path, error))?;
    if !existed {
        // The run may take a while or be killed: no empty file should lie there meanwhile.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// How text for people is laid out on this terminal.
pub(super) fn terminal_options(global: &Global) -> terminal::Options {
    terminal::Options {
        width: terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0)),
        color: stdout_is_colored(),
        ascii: !locale_is_utf8(),
        detail: match (global.quiet, global.verbose) {
            (true, _) => terminal::Detail::Brief,
            (_, 0) => terminal::Detail::Normal,
            _ => terminal::Detail::Full,
        },
    }
}

fn to_json(report: &Report) -> Result<String, CliError> {
    json::pretty(report).map_err(|error| CliError::Internal(error.to_string()))
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// POSIX: the first that is set and not empty decides.
fn locale_is_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| env::var_os(name).filter(|value| !value.is_empty()));
    locale.is_some_and(|value| {
        let value = value.to_string_lossy().to_ascii_lowercase();
        value.ends_with("utf-8") || value.ends_with("utf8")
    })
}

/// Writes a file in one step: on a full disk the old one stays, never half of the new one.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A device, a pipe or a link is written to, not replaced.
    if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return File::create(path)?.write_all(bytes);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&part, path)).inspect_err(|_| {
        let _ = fs::remove_file(&part);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("report.json");
        fs::write(&path, "something longer than the new text").expect("writable");
        write_file(&path, b"new").expect("writable");
        assert_eq!(fs::read(&path).expect("readable"), b"new");
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error() {
        let error = write_file(Path::new("/dev/full"), b"report").expect_err("the disk is full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
