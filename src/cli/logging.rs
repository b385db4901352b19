//! Logs, on standard error.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use super::args::Global;

/// Starts logging: warnings, or more with `-v`, or errors alone with `--quiet`.
pub(super) fn start(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, 0) => LevelFilter::WARN,
        (_, 1) => LevelFilter::INFO,
        (_, 2) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(super::output::stderr_is_colored())
        .with_target(level >= LevelFilter::DEBUG)
        .without_time();
    // Whoever calls the library has perhaps set one up already; theirs stays.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter(level))).try_init();
}

/// What is logged at `level`: of the libraries below nothing, unless more was asked for. What they warn of and fail at stands in
/// the verdict, in words.
fn filter(level: LevelFilter) -> Targets {
    let others = if level > LevelFilter::WARN { level } else { LevelFilter::OFF };
    // An agent is looked at through its log: it says what it does, unless it is to be quiet.
    let agent = if level == LevelFilter::WARN { LevelFilter::INFO } else { level };
    Targets::new().with_default(others).with_target("greenroom", level).with_target("greenroom::agent", agent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_library_speaks_only_when_more_was_asked_for() {
        let usual = filter(LevelFilter::WARN);
        assert!(usual.would_enable("greenroom::net::quic", &Level::WARN));
        assert!(!usual.would_enable("quinn_udp", &Level::WARN));
        assert!(!usual.would_enable("pulseaudio", &Level::ERROR));
        assert!(usual.would_enable("greenroom::cli", &Level::ERROR));
        assert!(filter(LevelFilter::INFO).would_enable("quinn_udp", &Level::WARN));
        assert!(!filter(LevelFilter::ERROR).would_enable("greenroom::net::quic", &Level::WARN));
    }
}
