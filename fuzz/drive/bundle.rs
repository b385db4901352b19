use greenroom::bundle;

/// Reads the input as the file of a support run: what comes out of it is bounded, and is read as a report.
pub(crate) fn drive(data: &[u8]) {
    let _ = bundle::is_archive(data);
    if let Ok(text) = bundle::report_json(data) {
        assert!(text.len() <= 64 << 20);
        let _ = greenroom_reports::schema::read(&text);
    }
}
