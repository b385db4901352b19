//! The live level of a microphone: a bar on a terminal, nothing where nobody watches.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use greenroom_reports::signals::sound::{Level, Meter, SILENCE_DBFS};
use greenroom_reports::units::Micros;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::devices::audio::listen::Ear;
use crate::devices::audio::{Block, Opened};

/// The quietest level that shows.
const FLOOR_DBFS: f64 = -60.0;
const WIDTH: usize = 30;

/// Shows what a microphone hears, and ends the listening when told to.
pub(super) struct LiveMeter {
    bar: ProgressBar,
    meter: Meter,
    color: bool,
    ascii: bool,
    lasting: Micros,
    begins: Option<Micros>,
    stop: Arc<AtomicBool>,
}

impl LiveMeter {
    /// Shows a bar if `watched`; `stop` ends the listening.
    pub(super) fn new(
        watched: bool,
        color: bool,
        ascii: bool,
        lasting: Micros,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let target =
            if watched { ProgressDrawTarget::stderr_with_hz(20) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(
            ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self { bar, meter: Meter::default(), color, ascii, lasting, begins: None, stop }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Ear for LiveMeter {
    fn opened(&mut self, _opened: Opened) {
        self.bar.set_message("waiting for the first sound");
    }

    fn hear(&mut self, block: &Block) -> ControlFlow<()> {
        let begins = *self.begins.get_or_insert(block.arrived);
        self.meter.push(&block.samples);
        if let Some(level) = self.meter.take() {
            let left = (self.lasting - (block.arrived - begins)).as_secs().max(0.0);
            self.bar.set_message(line(&level, left, self.color, self.ascii));
            self.bar.tick();
        }
        if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// One look: `▕██████            ▏ -31 dBFS, 3 s left`. Green is a good level for speech, yellow soft, red too loud.
fn line(level: &Level, left_s: f64, color: bool, ascii: bool) -> String {
    let filled = filled(level.rms_dbfs);
    let (full, empty, from, to) = if ascii { ('#', ' ', '[', ']') } else { ('█', ' ', '▕', '▏') };
    let bar: String = (0..WIDTH).map(|at| if at < filled { full } else { empty }).collect();
    let bar = match (color, level.full_scale, level.rms_dbfs) {
        (false, ..) => bar,
        (true, true, _) => paint(&bar, anstyle::AnsiColor::Red),
        (true, false, rms) if rms >= -40.0 => paint(&bar, anstyle::AnsiColor::Green),
        (true, false, _) => paint(&bar, anstyle::AnsiColor::Yellow),
    };
    let loud = if level.full_scale { ", TOO LOUD" } else { "" };
    // The floor stands for zeros, which have no level.
    let told = if level.rms_dbfs <= SILENCE_DBFS {
        "no sound at all".to_owned()
    } else {
        format!("{:.0} dBFS{loud}", level.rms_dbfs)
    };
    format!("{from}{bar}{to} {told}, {left_s:.0} s left")
}

fn paint(text: &str, color: anstyle::AnsiColor) -> String {
    let style = anstyle::Style::new().fg_color(Some(color.into()));
    format!("{style}{text}{style:#}")
}

/// How much of the bar a level fills.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bar's width")]
#[expect(clippy::cast_precision_loss, reason = "a width of thirty")]
fn filled(dbfs: f64) -> usize {
    let share = ((dbfs - FLOOR_DBFS) / -FLOOR_DBFS).clamp(0.0, 1.0);
    (share * WIDTH as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_with_the_level_and_never_overflows() {
        assert_eq!(filled(-150.0), 0);
        assert_eq!(filled(-60.0), 0);
        assert_eq!(filled(-30.0), 15);
        assert_eq!(filled(0.0), 30);
        assert_eq!(filled(10.0), 30);
        assert_eq!(filled(f64::NAN), 0);
    }

    #[test]
    fn without_color_and_unicode_it_is_plain() {
        let level = Level { peak_dbfs: -12.0, rms_dbfs: -30.0, full_scale: false };
        assert_eq!(line(&level, 2.6, false, true), "[###############               ] -30 dBFS, 3 s left");
        let nothing = Level { peak_dbfs: -150.0, rms_dbfs: -150.0, full_scale: false };
        assert!(line(&nothing, 2.6, false, true).ends_with("] no sound at all, 3 s left"));
        let loud = Level { peak_dbfs: 0.0, rms_dbfs: -6.0, full_scale: true };
        assert!(line(&loud, 2.6, false, true).ends_with("-6 dBFS, TOO LOUD, 3 s left"));
        assert!(line(&loud, 2.6, true, false).contains("\u{1b}[31m"));
    }
}
