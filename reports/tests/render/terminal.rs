use greenroom_reports::render::terminal::{Detail, Options, render};
use greenroom_reports::schema::{Report, State};
use greenroom_reports::verdict::TargetFailure;
use unicode_width::UnicodeWidthStr;

use super::samples;

fn all() -> [Report; 6] {
    [
        samples::bufferbloat(),
        samples::ready(),
        samples::blocked(),
        samples::hostile(),
        samples::loss_15(),
        samples::devices(),
    ]
}

fn golden(name: &str, report: &Report, options: Options) {
    insta::with_settings!({ snapshot_path => "golden", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, render(report, options));
    });
}

#[test]
fn looks_as_agreed() {
    let options = Options::default();
    golden("bufferbloat_80", &samples::bufferbloat(), options);
    golden("bufferbloat_40", &samples::bufferbloat(), Options { width: 40, ..options });
    golden(
        "bufferbloat_full_100",
        &samples::bufferbloat(),
        Options { width: 100, detail: Detail::Full, ..options },
    );
    golden("ready_80", &samples::ready(), options);
    golden("loss_15_80", &samples::loss_15(), options);
    golden("narrow_upload_80", &samples::narrow_upload(), options);
    golden("devices_80", &samples::devices(), options);
    golden("devices_full_100", &samples::devices(), Options { width: 100, detail: Detail::Full, ..options });
    golden("blocked_80", &samples::blocked(), options);
    golden("blocked_80_ascii", &samples::blocked(), Options { ascii: true, ..options });
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for report in all() {
        for width in 40..=200 {
            for detail in [Detail::Brief, Detail::Normal, Detail::Full] {
                for ascii in [false, true] {
                    let text = render(&report, Options { width, color: false, ascii, detail });
                    for line in text.lines() {
                        assert!(line.width() <= width, "{} columns of {width}: {line}", line.width());
                    }
                }
            }
        }
    }
}

#[test]
fn a_number_is_never_torn_from_its_unit() {
    let units = ["ms", "%", "s", "Mbit/s", "kbit/s", "ppm", "MB", "kB", "dB", "dBFS", "Hz", "kHz"];
    for report in [samples::bufferbloat(), samples::ready(), samples::devices()] {
        for width in 40..=120 {
            let text = render(&report, Options { width, detail: Detail::Full, ..Options::default() });
            for line in text.lines() {
                let first = line.split_whitespace().next().unwrap_or("");
                assert!(!units.contains(&first), "at {width} columns a line begins with a unit: {line}");
            }
        }
    }
}

#[test]
fn color_comes_only_when_asked_for_and_changes_no_word() {
    for report in all() {
        let plain = render(&report, Options::default());
        let colored = render(&report, Options { color: true, ..Options::default() });
        assert!(!plain.contains('\u{1b}'));
        assert!(colored.contains('\u{1b}'));
        let stripped: String = without_styles(&colored);
        assert_eq!(stripped, plain);
    }
}

/// Takes out `ESC [ … m`.
fn without_styles(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[test]
fn hostile_text_cannot_command_the_terminal() {
    for color in [false, true] {
        let text = render(&samples::hostile(), Options { color, detail: Detail::Full, ..Options::default() });
        let left = without_styles(&text);
        let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!left.contains(obeyed), "{left:?}");
    }
}

#[test]
fn ascii_is_ascii() {
    for report in all() {
        let text = render(&report, Options { ascii: true, detail: Detail::Full, ..Options::default() });
        assert!(text.is_ascii());
    }
}

#[test]
fn each_state_has_its_own_word_and_mark_without_color() {
    let states = [
        (State::Ready, "✓ READY"),
        (State::Degraded, "▲ DEGRADED"),
        (State::Blocked, "✗ BLOCKED"),
        (State::PermissionDenied, "⊘ PERMISSION DENIED"),
        (State::Inconclusive, "? INCONCLUSIVE"),
        (State::NotTested, "– NOT TESTED"),
    ];
    for (state, shown) in states {
        let mut report = samples::ready();
        report.verdict.overall = state;
        let text = render(&report, Options { detail: Detail::Brief, ..Options::default() });
        assert!(text.lines().any(|line| line.trim() == shown), "{text}");
    }
}

#[test]
fn what_is_not_certain_is_likely_and_what_was_not_tested_is_neither() {
    let brief = Options { detail: Detail::Brief, ..Options::default() };
    let mut report = samples::ready();
    report.verdict.certain = false;
    let text = render(&report, brief);
    assert!(text.contains("✓ LIKELY READY") && text.contains("Not certain: 5.3 s"), "{text}");
    for state in [State::NotTested, State::Inconclusive, State::PermissionDenied] {
        report.verdict.overall = state;
        let text = render(&report, brief);
        assert!(!text.contains("LIKELY") && !text.contains("Not certain"), "{text}");
    }
}

#[test]
fn uses_that_nobody_asked_for_take_one_line() {
    let text = render(&samples::loss_15(), Options::default());
    assert_eq!(text.matches("ot asked for").count(), 1, "{text}");
    assert!(text.contains("Not asked for: 360p, 1080p, screen"), "{text}");
}

#[test]
fn a_run_that_broke_off_says_so_and_one_that_never_began_does_not() {
    let mut report = samples::bufferbloat();
    report.complete = false;
    report.targets[0].failure = Some(TargetFailure::Died);
    let text = render(&report, Options::default());
    assert!(text.contains("The check ended early."), "{text}");
    assert!(text.contains("Broken off: the endpoint stopped answering."), "{text}");
    let text = render(&samples::blocked(), Options::default());
    assert!(!text.contains("ended early") && !text.contains("Broken off"), "{text}");
}

#[test]
fn the_picture_in_the_readme_is_current() {
    let now = samples::picture();
    let kept = include_str!("../../../docs/verdict.svg");
    assert_eq!(
        kept, now,
        "write it again: cargo run -p greenroom-reports --example render_sample -- picture"
    );
}

#[test]
fn what_is_missing_says_why() {
    let text =
        render(&samples::blocked(), Options { detail: Detail::Full, width: 200, ..Options::default() });
    assert!(text.contains("failed: no answer over UDP within 3 s"));
    assert!(text.contains("not tested: no packet came back"));
    assert!(text.contains("failed: /proc/stat cannot be read"));
    let text =
        render(&samples::bufferbloat(), Options { detail: Detail::Full, width: 200, ..Options::default() });
    assert!(text.contains("not tested: only a deep check searches for it"));
    assert!(text.contains("unknown: 265 samples, 368 needed"));
}
