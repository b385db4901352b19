//! Logs, on standard error.

use std::io;

use tracing::level_filters::LevelFilter;

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
    // Whoever calls the library has perhaps set one up already; theirs stays.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(super::output::stderr_is_colored())
        .with_target(level >= LevelFilter::DEBUG)
        .without_time()
        .try_init();
}
