//! Progress on a terminal: what is being done, and the numbers as they settle. Nothing where nobody watches.

use std::time::Duration;

use greenroom_reports::trace::PhaseKind;
use greenroom_reports::units::Micros;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::check::{Figures, Progress};

/// The live line.
#[derive(Debug, Clone)]
pub(super) struct Live {
    bar: ProgressBar,
    enough: Micros,
}

impl Live {
    /// Shows a line for a run that usually takes until `enough`, if `watched`.
    pub(super) fn start(enough: Micros, watched: bool) -> Self {
        let target =
            if watched { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let length = u64::try_from(enough.get()).unwrap_or(0);
        let bar = ProgressBar::with_draw_target(Some(length), target);
        let style = ProgressStyle::with_template("{spinner} {bar:20} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, enough }
    }

    /// Shows what is new.
    pub(super) fn tell(&self, progress: &Progress) {
        match progress {
            Progress::Reaching => self.bar.set_message("reaching the endpoint"),
            Progress::Reached => {
                tracing::info!("the endpoint answers; traffic starts");
                self.bar.set_message("reached");
            }
            Progress::Comparing => self.bar.set_message("comparing the endpoints"),
            Progress::Asking => self.bar.set_message("asking, and waiting for answers"),
            Progress::Figures(figures) => {
                self.bar.set_position(u64::try_from(figures.at.get()).unwrap_or(0));
                let hangs = if figures.at > self.enough { "the answer hangs, listening on · " } else { "" };
                self.bar.set_message(format!("{hangs}{}", line(figures)));
            }
            Progress::Finishing => self.bar.set_message("waiting for stragglers"),
        }
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// The figures in one line. What is not known yet is left out.
fn line(figures: &Figures) -> String {
    let doing = match figures.phase {
        PhaseKind::Idle => "audio alone",
        PhaseKind::Media => "audio and video",
        PhaseKind::Capacity => "capacity",
        PhaseKind::Settle => "audio alone again",
    };
    let mut parts = vec![doing.to_owned()];
    if let Some(rtt) = figures.rtt_p50_ms {
        parts.push(format!("round trip {rtt:.1} ms"));
    }
    for (way, loss) in [("up", figures.loss_up), ("down", figures.loss_down)] {
        if let Some(loss) = loss {
            parts.push(format!("lost {way} {:.1} %", loss * 100.0));
        }
    }
    parts.push(figures.bytes.to_string());
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use greenroom_reports::units::DataSize;

    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut figures = Figures {
            at: Micros::from_secs(1),
            phase: PhaseKind::Idle,
            rtt_p50_ms: None,
            loss_up: None,
            loss_down: None,
            bytes: DataSize::from_bytes(12_300),
        };
        assert_eq!(line(&figures), "audio alone · 12.3 kB");
        figures.rtt_p50_ms = Some(22.14);
        figures.loss_down = Some(0.034);
        assert_eq!(line(&figures), "audio alone · round trip 22.1 ms · lost down 3.4 % · 12.3 kB");
    }
}
