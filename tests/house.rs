//! The house rules that a compiler does not hold: which part may know which, what the pure part may not touch, and under
//! which licenses the dependencies come. ARCHITECTURE.md draws the arrows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Direct arrows between the root package's modules. A module may also use whatever lies below what it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["simulate", "bundle", "check", "endpoint", "agent", "devices", "history"]),
    ("agent", &["check", "net"]),
    ("check", &["conduct", "plan", "targets", "devices", "endpoint"]),
    ("targets", &["net", "plan"]),
    ("endpoint", &["net"]),
    ("net", &["proto", "system"]),
    ("history", &["net"]),
    ("simulate", &["net"]),
    ("conduct", &["plan"]),
    ("plan", &["address"]),
    ("proto", &["address"]),
    ("devices", &["system"]),
    ("address", &[]),
    ("bundle", &[]),
    ("system", &[]),
];

/// Words that no line of the pure part may hold: clocks, sockets, threads, files, output, async.
const IMPURE: &[&str] = &[
    "Instant",
    "SystemTime",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "tokio",
    "async fn",
    ".await",
    "println!",
    "eprintln!",
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "Timestamp::now",
    "rand::rng",
    "thread_rng",
];

/// Licenses that a program under MIT OR Apache-2.0 can be shipped with.
const LICENSES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
];

#[test]
fn modules_know_only_what_lies_below_them() {
    let allowed = transitive(ARROWS);
    let mut faults = Vec::new();
    for file in rust_files(&root().join("src")) {
        let module = module_of(&file);
        if module == "lib" {
            continue;
        }
        let Some(below) = allowed.get(module.as_str()) else {
            faults.push(format!("{}: module `{module}` has no arrows in tests/house.rs", file.display()));
            continue;
        };
        for (number, line) in code_lines(&file) {
            for used in used_modules(&line) {
                let known = allowed.contains_key(used.as_str());
                if known && used != module && !below.contains(used.as_str()) {
                    faults.push(format!("{}:{number}: `{module}` must not use `{used}`", file.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_pure_part_touches_nothing() {
    let mut faults = Vec::new();
    for folder in ["reports/src", "src/proto"] {
        for file in rust_files(&root().join(folder)) {
            for (number, line) in code_lines(&file) {
                for word in IMPURE.iter().filter(|word| contains_word(&line, word)) {
                    faults.push(format!("{}:{number}: `{word}` in the pure part", file.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn crates_depend_as_drawn() {
    let metadata = metadata();
    let ours = workspace_dependencies(&metadata);
    let expected = BTreeMap::from([
        ("greenroom", BTreeSet::from(["greenroom-reports", "greenroom-web"])),
        ("greenroom-reports", BTreeSet::new()),
        ("greenroom-web", BTreeSet::from(["greenroom-reports"])),
        ("greenroom-netlab", BTreeSet::from(["greenroom", "greenroom-reports"])),
        (
            "greenroom-bench",
            BTreeSet::from(["greenroom", "greenroom-netlab", "greenroom-reports", "greenroom-web"]),
        ),
    ]);
    let seen: BTreeMap<&str, BTreeSet<&str>> =
        ours.iter().map(|(name, deps)| (name.as_str(), deps.iter().map(String::as_str).collect())).collect();
    assert_eq!(seen, expected);
}

#[test]
fn every_dependency_may_be_shipped() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().expect("cargo metadata lists packages") {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(license) = package["license"].as_str() else {
            faults.push(format!("{name}: no license stated"));
            continue;
        };
        match spdx::Expression::parse_mode(license, spdx::ParseMode::LAX) {
            Ok(expression) if expression.evaluate(|req| LICENSES.contains(&req.to_string().as_str())) => {}
            Ok(_) => faults.push(format!("{name}: {license} is not among the licenses allowed")),
            Err(error) => faults.push(format!("{name}: {license}: {error}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn source_files_stay_readable() {
    let mut long = Vec::new();
    for folder in ["src", "reports/src", "probe-web/src", "tests/netlab/src"] {
        for file in rust_files(&root().join(folder)) {
            let lines = read(&file).lines().count();
            if lines > 700 {
                long.push(format!("{}: {lines} lines", file.display()));
            }
        }
    }
    assert!(long.is_empty(), "split these by concern:\n{}", long.join("\n"));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Every `.rs` file below `folder`, of which there is one at least.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let files = all_rust_files(folder);
    assert!(!files.is_empty(), "{} holds no source", folder.display());
    files
}

fn all_rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("a folder can be listed to its end").path();
        if path.is_dir() {
            files.extend(all_rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The top-level module that a file under `src` belongs to.
fn module_of(file: &Path) -> String {
    let relative = file.strip_prefix(root().join("src")).expect("the file lies below src");
    let first = relative.components().next().expect("a file has a name");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// Lines that are code, with their numbers: comments and the file's test module (kept last) are left out.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let is_test_file = file.file_name().is_some_and(|name| name.to_string_lossy().contains("test"));
    if is_test_file
        || file.components().any(|part| part.as_os_str() == "tests") && file.starts_with(root().join("src"))
    {
        return Vec::new();
    }
    read(file)
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.to_owned()))
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .collect()
}

/// The names after `crate::` or, in the binary, `greenroom::`.
fn used_modules(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for prefix in ["crate::", "greenroom::"] {
        for (at, _) in line.match_indices(prefix) {
            let rest = &line[at + prefix.len()..];
            let listed = rest.strip_prefix('{').and_then(|list| list.split_once('}')).map(|(inner, _)| inner);
            let parts: Vec<&str> = listed.map_or_else(|| vec![rest], |inner| inner.split(',').collect());
            for part in parts {
                let name: String =
                    part.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                names.push(name);
            }
        }
    }
    names
}

/// Whether `line` holds `word` not as a part of a longer name.
fn contains_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let glued_before = word.starts_with(is_name) && line[..at].chars().next_back().is_some_and(is_name);
        let glued_after =
            word.ends_with(is_name) && line[at + word.len()..].chars().next().is_some_and(is_name);
        !glued_before && !glued_after
    })
}

/// Closes a set of direct arrows over reachability.
fn transitive<'a>(arrows: &[(&'a str, &[&'a str])]) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut closed: BTreeMap<&str, BTreeSet<&str>> =
        arrows.iter().map(|(from, to)| (*from, to.iter().copied().collect())).collect();
    loop {
        let before: usize = closed.values().map(BTreeSet::len).sum();
        let snapshot = closed.clone();
        for below in closed.values_mut() {
            let further: Vec<&str> =
                below.iter().filter_map(|name| snapshot.get(name)).flatten().copied().collect();
            below.extend(further);
        }
        if closed.values().map(BTreeSet::len).sum::<usize>() == before {
            return closed;
        }
    }
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// For each workspace member, the members that it depends on outside of its tests.
fn workspace_dependencies(metadata: &serde_json::Value) -> BTreeMap<String, BTreeSet<String>> {
    let members: BTreeSet<&str> = metadata["workspace_members"]
        .as_array()
        .expect("cargo metadata lists members")
        .iter()
        .filter_map(serde_json::Value::as_str)
        .collect();
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    let ours: Vec<&serde_json::Value> = packages
        .iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| members.contains(id)))
        .collect();
    let names: BTreeSet<&str> = ours.iter().filter_map(|package| package["name"].as_str()).collect();
    ours.iter()
        .map(|package| {
            let depends = package["dependencies"]
                .as_array()
                .expect("a package lists its dependencies")
                .iter()
                .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
                .filter_map(|dependency| dependency["name"].as_str())
                .filter(|name| names.contains(name))
                .map(str::to_owned)
                .collect();
            (package["name"].as_str().unwrap_or_default().to_owned(), depends)
        })
        .collect()
}

#[test]
fn the_rules_themselves_find_what_they_look_for() {
    assert!(contains_word("let t = Instant::now();", "Instant"));
    assert!(!contains_word("let instantly = MyInstantly;", "Instant"));
    assert!(contains_word("x.await?", ".await"));
    assert_eq!(used_modules("use crate::{net, proto::stamp};"), ["net", "proto"]);
    assert_eq!(used_modules("fn f(x: crate::net::udp::Socket)"), ["net"]);
    let allowed = transitive(ARROWS);
    assert!(allowed["check"].contains("proto"), "check reaches proto through targets and net");
    assert!(!allowed["net"].contains("check"), "arrows point down only");
    assert!(allowed["cli"].contains("devices") && allowed["check"].contains("devices"));
    assert!(!allowed["net"].contains("devices"), "devices and net do not know each other");
    assert!(!allowed["devices"].contains("net"), "devices and net do not know each other");
    assert!(
        !allowed["plan"].contains("net") && !allowed["plan"].contains("proto"),
        "a plan is settings and time"
    );
}
