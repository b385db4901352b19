#![no_main]

#[path = "../drive.rs"]
#[allow(dead_code, reason = "shared by all targets and the corpus test")]
mod drive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::machines(data));
