use base64::Engine as _;
use greenroom_reports::render::html::render;
use greenroom_reports::schema::{Report, Series};
use sha2::{Digest as _, Sha256};

use super::samples;

/// What lies between the first `open` and the `close` after it.
fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let (_, rest) = text.split_once(open).unwrap_or_else(|| panic!("no {open}"));
    rest.split_once(close).unwrap_or_else(|| panic!("no {close} after {open}")).0
}

#[test]
fn policy_allows_the_style_sheet_and_nothing_else() {
    let page = render(&samples::bufferbloat());
    let style = between(&page, "<style>", "</style>");
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(style));
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\"");
    assert_eq!(
        policy,
        format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
    );
}

#[test]
fn nothing_is_loaded_run_or_linked() {
    let page = render(&samples::bufferbloat());
    for word in [
        "<script", "<link", "<img", "<iframe", "<object", "<a ", "@import", "url(", " src=", " href=",
        " style=", "http:",
    ] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn hostile_text_stays_text() {
    let page = render(&samples::hostile());
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(!page.contains("onload=\""));
    assert!(page.chars().all(|c| !c.is_control() || c == '\n'));
    assert!(!page.contains('\u{202e}'));
}

#[test]
fn every_plot_has_a_name_and_its_table() {
    let page = render(&samples::bufferbloat());
    let figures: Vec<_> = page.split("<figure>").skip(1).collect();
    assert_eq!(figures.len(), 4, "round trip, delay variation, its distribution, loss");
    for figure in figures {
        let figure = figure.split_once("</figure>").expect("closed").0;
        assert!(figure.contains("role=\"img\" aria-label=\""));
        assert!(between(figure, "<details>", "</details>").contains("<table>"));
    }
}

/// A check that ended early has few points, far apart on its short axis: they are a line all the same.
#[test]
fn a_short_run_is_drawn_as_a_line() {
    let mut report = samples::bufferbloat();
    for series in &mut report.targets[0].series {
        series.at_ms.truncate(20);
        series.values.truncate(20);
    }
    let page = render(&report);
    let path = between(&page, "<path class=\"rtt\" d=\"", "\"");
    let count = |command| path.matches(command).count();
    assert!(count('L') >= 15 && count('M') <= 2, "{path}");
}

#[test]
fn what_is_missing_says_why() {
    let page = render(&samples::blocked());
    assert!(page.contains("failed: no answer over UDP within 3\u{a0}s"));
    assert!(page.contains("not\u{a0}tested: no packet came back"));
    assert!(!page.contains("<svg"), "nothing was measured, nothing is drawn");
}

#[test]
fn devices_have_their_figures_and_what_is_missing_its_reason() {
    let page = render(&samples::devices());
    let devices = between(&page, "<h2>Devices</h2>", "</table>");
    assert!(devices.contains("Microphone Headset") && devices.contains("Webcam"));
    assert!(devices.contains("channel 2: not heard"), "{devices}");
    assert!(devices.contains("failed: it is in use by obs (4711)"), "{devices}");
    assert!(devices.contains("not tested (it ran too short to tell)"), "{devices}");
    assert!(page.contains("openh264 2.6"));
}

#[test]
fn size_stays_bounded_however_long_the_run() {
    let mut report: Report = samples::bufferbloat();
    let packets = 180_000_u32;
    for series in &mut report.targets[0].series {
        *series = Series {
            at_ms: (0..packets).map(|i| f64::from(i) * 20.0).collect(),
            values: (0..packets).map(|i| (i % 3 > 0).then(|| f64::from(i * 7_919 % 1_000))).collect(),
            ..series.clone()
        };
    }
    let size = render(&report).len();
    assert!(size < 200_000, "{size} bytes for an hour at 50 packets per second");
}

/// Relative luminance of `#rrggbb` (WCAG 2.2).
fn luminance(color: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).expect("a hex color")) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

fn contrast(a: &str, b: &str) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn colors_can_be_told_apart_from_what_they_stand_on() {
    assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9, "by definition");
    assert!((contrast("#777777", "#ffffff") - 4.48).abs() < 0.005, "a known pair");
    let page = render(&samples::bufferbloat());
    let style = between(&page, "<style>", "</style>");
    let palettes: Vec<&str> = style.split(":root {").skip(1).map(|rest| between(rest, "", "}")).collect();
    assert_eq!(palettes.len(), 2, "light and dark");
    for palette in palettes {
        let color = |name: &str| between(palette, &format!("--{name}: "), ";");
        for ground in ["page", "panel"] {
            for text in
                ["ink", "quiet", "ready", "degraded", "blocked", "unsure", "none", "up", "down", "rtt"]
            {
                let found = contrast(color(text), color(ground));
                assert!(found >= 4.5, "{text} on {ground}: {found:.2} in {palette}");
            }
        }
        // Lines and bars are drawn over the shade of a phase too (WCAG 1.4.11).
        for drawn in ["up", "down", "rtt"] {
            let found = contrast(color(drawn), color("shade"));
            assert!(found >= 3.0, "{drawn} on shade: {found:.2} in {palette}");
        }
    }
}

#[test]
fn notes_and_uncertainty_are_shown_as_such() {
    let mut report = samples::loss_15();
    report.verdict.certain = false;
    let page = render(&report);
    assert!(page.contains("Likely blocked") && page.contains("Not certain:"));
    assert!(page.contains("<h2>Also noticed</h2>"));
    assert!(page.contains("Not asked for: 360p, 1080p, screen"));
    assert!(!page.contains("95 % sure") && page.contains("95\u{a0}% interval: "));
}

#[test]
fn odd_series_draw_no_nonsense() {
    let mut report = samples::bufferbloat();
    for (index, series) in report.targets[0].series.iter_mut().enumerate() {
        match index {
            0 => series.values.iter_mut().for_each(|value| *value = Some(0.0)),
            1 => series.values = vec![Some(f64::NAN), Some(f64::INFINITY)],
            2 => series.at_ms = vec![f64::NAN],
            _ => series.values.clear(),
        }
    }
    let page = render(&report);
    let drawn: String =
        page.split("<svg").skip(1).map(|part| part.split_once("</svg>").expect("closed").0).collect();
    assert!(!drawn.contains("NaN") && !drawn.contains("inf"));
}
