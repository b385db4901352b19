//! Runs every fuzz target's corpus, and seeded mutations of it, as an ordinary test.
//!
//! Fuzzing itself needs a nightly compiler (`./dev fuzz`). Inputs that it finds are added to `fuzz/corpus/TARGET`.

#[path = "../fuzz/drive/bundle.rs"]
mod bundle;
#[path = "../fuzz/drive/chunks.rs"]
mod chunks;
#[path = "../fuzz/drive/control.rs"]
mod control;
#[path = "../fuzz/drive/dns.rs"]
mod dns;
#[path = "../fuzz/drive/grant.rs"]
mod grant;
#[path = "../fuzz/drive/hops.rs"]
mod hops;
#[path = "../fuzz/drive/machines.rs"]
mod machines;
#[path = "../fuzz/drive/marking.rs"]
mod marking;
#[path = "../fuzz/drive/nat.rs"]
mod nat;
#[path = "../fuzz/drive/ntp.rs"]
mod ntp;
#[path = "../fuzz/drive/profile.rs"]
mod profile;
#[path = "../fuzz/drive/report.rs"]
mod report;
#[path = "../fuzz/drive/sketch.rs"]
mod sketch;
#[path = "../fuzz/drive/stamp.rs"]
mod stamp;
#[path = "../fuzz/drive/stun.rs"]
mod stun;
#[path = "../fuzz/drive/trace.rs"]
mod trace;
#[path = "../fuzz/drive/words.rs"]
mod words;

use std::fs;
use std::path::Path;

/// Mutations per target.
const MUTATIONS: u64 = 5_000;

/// The files of a folder, in the order of names.
fn files(folder: &str) -> Vec<Vec<u8>> {
    files_that(folder, |_| true)
}

/// Those of a folder whose path `counts`.
fn files_that(folder: &str, counts: impl Fn(&Path) -> bool) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| counts(path))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| fs::read(file).expect("a readable file")).collect()
}

/// SplitMix64, so that a seed gives the same mutation on every platform.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(bound.max(1)).expect("64 bits")).expect("below bound")
    }

    fn octet(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("below 256")
    }

    /// Changes, cuts, doubles or inserts a few octets.
    fn mutate(&mut self, input: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(input.len());
            match self.below(5) {
                0 if !input.is_empty() => input[at] = self.octet(),
                1 if !input.is_empty() => input[at] ^= 1 << self.below(8),
                2 => input.truncate(at),
                3 => input.insert(at, self.octet()),
                _ => {
                    let tail = input[at..].to_vec();
                    input.extend(tail);
                }
            }
        }
    }
}

fn run(target: &str, drive: fn(&[u8])) {
    run_with(target, &files(&format!("fuzz/corpus/{target}")), drive);
}

fn run_with(target: &str, corpus: &[Vec<u8>], drive: fn(&[u8])) {
    for input in corpus {
        drive(input);
    }
    for seed in 0..MUTATIONS {
        let mut random = Random(seed);
        let mut input = corpus[random.below(corpus.len())].clone();
        random.mutate(&mut input);
        let outcome = std::panic::catch_unwind(|| drive(&input));
        assert!(outcome.is_ok(), "target {target}, seed {seed}: {input:02x?}");
    }
}

#[test]
fn stamp_corpus() {
    run("stamp", stamp::drive);
}

#[test]
fn stun_corpus() {
    run("stun", stun::drive);
}

#[test]
fn dns_corpus() {
    run("dns", dns::drive);
}

#[test]
fn ntp_corpus() {
    run("ntp", ntp::drive);
}

#[test]
fn marking_corpus() {
    run("marking", marking::drive);
}

#[test]
fn nat_corpus() {
    run("nat", nat::drive);
}

#[test]
fn control_corpus() {
    run("control", control::drive);
}

#[test]
fn machines_corpus() {
    run("machines", machines::drive);
}

#[test]
fn trace_corpus() {
    run("trace", trace::drive);
}

#[test]
fn chunks_corpus() {
    run("chunks", chunks::drive);
}

#[test]
fn sketch_corpus() {
    run("sketch", sketch::drive);
}

#[test]
fn report_corpus() {
    // Whole reports are those of the other tests: copies would go stale with the next field.
    let is_report = |path: &Path| path.extension().is_some_and(|ending| ending == "json");
    let whole =
        ["reports/tests/golden", "reports/tests/data"].map(|folder| files_that(folder, is_report)).concat();
    for text in &whole {
        let text = std::str::from_utf8(text).expect("JSON");
        greenroom_reports::schema::read(text)
            .expect("a report of this version, which reaches all that reads one");
    }
    run_with("report", &[files("fuzz/corpus/report"), whole].concat(), report::drive);
}

#[test]
fn profile_corpus() {
    run("profile", profile::drive);
}

#[test]
fn words_corpus() {
    run("words", words::drive);
}

#[test]
fn bundle_corpus() {
    run("bundle", bundle::drive);
}

#[test]
fn grant_corpus() {
    run("grant", grant::drive);
}

#[test]
fn hops_corpus() {
    run("hops", hops::drive);
}
