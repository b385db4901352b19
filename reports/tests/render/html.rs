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

#[test]
fn what_is_missing_says_why() {
    let page = render(&samples::blocked());
    assert!(page.contains("failed: no answer over UDP within 3\u{a0}s"));
    assert!(page.contains("not\u{a0}tested: no packet came back"));
    assert!(!page.contains("<svg"), "nothing was measured, nothing is drawn");
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
