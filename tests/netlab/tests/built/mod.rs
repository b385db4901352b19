//! The program under test.

use std::path::PathBuf;

/// The program of the same build.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().expect("it runs");
    let program =
        test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps").join("greenroom");
    assert!(program.exists(), "{} is missing: cargo build -p greenroom --bin greenroom", program.display());
    program
}
