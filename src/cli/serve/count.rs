//! How far a long piece of work is, where somebody watches.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line that counts.
#[derive(Debug)]
pub(super) struct Count(ProgressBar);

impl Count {
    /// Shows a line for so many of something, or nobody knows how many, if `watched`.
    pub(super) fn start(what: &str, of: Option<u64>, watched: bool) -> Self {
        let target =
            if watched { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(of, target);
        let template = match of {
            Some(_) => format!("{{spinner}} {{bar:20}} {{human_pos}} of {{human_len}} {what}, {{eta}} left"),
            None => format!("{{spinner}} {{human_pos}} {what}"),
        };
        bar.set_style(
            ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// So many.
    pub(super) fn at(&self, n: u64) {
        self.0.set_position(n);
    }

    /// So many of so many.
    pub(super) fn of(&self, n: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(n);
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}
