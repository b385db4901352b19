use greenroom_reports::verdict::Profile;

/// Reads the input as a profile; what reads must come back the same from what it is written to.
pub(crate) fn drive(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(profile) = Profile::parse(text) else { return };
    let written = toml::to_string(&profile).expect("a profile is TOML");
    assert_eq!(Profile::parse(&written).ok(), Some(profile));
}
