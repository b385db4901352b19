use greenroom_reports::assess::recompute;
use greenroom_reports::compare::compare;
use greenroom_reports::merge::merge;
use greenroom_reports::render::comparison;
use greenroom_reports::render::terminal::{self, Detail, Options};
use greenroom_reports::render::{html, json};
use greenroom_reports::schema::read;

/// Reads the input as a report that anybody may have written: what reads can be written, shown, compared, merged and
/// computed again, and nothing in it reaches a terminal as a control character.
pub(crate) fn drive(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(report) = read(text) else { return };
    let written = json::compact(&report).expect("JSON holds no number that is not finite");
    assert_eq!(read(&written).as_ref().ok(), Some(&report));
    for (width, detail, ascii) in [(0, Detail::Full, true), (80, Detail::Normal, false)] {
        let shown = terminal::render(&report, Options { width, color: false, ascii, detail });
        let control = shown.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "{shown:?}");
        assert!(!ascii || shown.is_ascii(), "{shown:?}");
    }
    assert!(!html::render(&report).is_empty());
    let same = compare(&report, &report);
    assert!(same.uses.is_empty() && !comparison::render(&same).is_empty());
    let _ = merge([&report, &report]);
    let _ = recompute(&report);
}
