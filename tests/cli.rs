//! The command as people and scripts meet it: wrong input, exit codes, where output goes, the help.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A home of its own, so that nobody's settings or history get into a test.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_greenroom"));
        command.args(args).env_clear().env("HOME", self.dir.path()).stdin(Stdio::null());
        // What is plugged into the machine that tests is of no interest here.
        command.env("GREENROOM_DEVICES", "none");
        command
    }

    fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(self.command(args).output().expect("the binary runs"))
    }
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it ended by itself"),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Asserts an error with this code: nothing on standard output, and these words on standard error.
    fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}", self.err);
        assert_eq!(self.out, "");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

#[test]
fn wrong_usage_is_64_and_says_what_to_do() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["chek"], &["chek", "check"]),
        (&["check", "--for", "4k"], &["4k", "720p"]),
        (&["check", "--quick", "--deep"], &["--quick", "--deep"]),
        (&["check", "--max-bytes", "lots"], &["10MB"]),
        (&["check", "--max-bytes", "100kB"], &["the cap is", "--max-bytes 2MB"]),
        (&["check", "gopher://example.com"], &["gopher: cannot be measured"]),
        (&["check", "host", "--pick-best"], &["two Greenroom endpoints"]),
        (&["measure", "host", "nonsense:host"], &["nonsense: cannot be measured"]),
        (&["check", "host:0"], &["1 to 65535"]),
        (&["check", "host#sha256=12"], &["64 hexadecimal digits"]),
        (&["check", "--profile", "skype"], &["skype", "teams/1"]),
        (&["measure"], &["name what to measure"]),
        (&["measure", "host", "--duration", "0s"], &["from 1 s to 600 s"]),
        (&["measure", "host", "--traffic", "video@1Gbit"], &["out of bounds", "50.0 Mbit/s"]),
        (&["measure", "host", "--traffic", "video@fast"], &["2Mbit"]),
        (&["measure", "host", "--traffic", "video@100Mbit"], &["100.0 Mbit/s"]),
        (&["report"], &["show"]),
        (&["report", "merge", "one.json"], &["2"]),
        (&["completions", "cobol"], &["bash"]),
        (&["man", "chek"], &["chek"]),
    ];
    let home = Home::new();
    for (args, words) in cases {
        home.run(*args).fails(64, words);
    }
    // Without a command there is help, and it is still wrong usage.
    let bare = home.run::<&str>([]);
    assert_eq!(bare.code, 64);
    assert!(bare.err.contains("Usage"), "{}", bare.err);
}

#[test]
fn a_secret_on_the_command_line_is_64_and_is_not_repeated() {
    let home = Home::new();
    for arg in
        ["greenroom://hunter2@host", "https://me:hunter2@host", "host?token=hunter2", "me:hunter2@host"]
    {
        let ran = home.run(["check", arg]);
        ran.fails(64, &["--token-file"]);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
}

#[test]
fn missing_input_is_66() {
    let home = Home::new();
    let missing = home.path("missing");
    let missing = missing.to_str().expect("UTF-8");
    home.run(["--config", missing, "check"]).fails(66, &["missing"]);
    home.run(["check", "--token-file", missing]).fails(66, &["missing"]);
    home.run(["check", "--profile", "./missing.toml"]).fails(66, &["missing.toml"]);
    home.run(["report", "show", missing]).fails(66, &["missing"]);
}

#[test]
fn input_that_is_no_report_is_66() {
    let home = Home::new();
    let file = home.path("report.json");
    for content in ["", "{}", "[1, 2", "\u{0}\u{1}", "{\"schema\": \"greenroom.report/9\"}"] {
        fs::write(&file, content).expect("writable");
        home.run([OsStr::new("report"), "show".as_ref(), file.as_ref()]).fails(66, &["report.json"]);
    }
    fs::write(&file, b"\xff\xfe").expect("writable");
    home.run([OsStr::new("report"), "show".as_ref(), file.as_ref()]).fails(66, &["report.json"]);
}

#[test]
fn a_wrong_config_file_is_64_with_line_and_column() {
    let home = Home::new();
    let dir = home.path(".config/greenroom");
    fs::create_dir_all(&dir).expect("writable");
    fs::write(dir.join("config.toml"), "endpoint = 'probe.example'\nfro = ['audio']\n").expect("writable");
    home.run(["check"]).fails(64, &["config.toml:2:1", "fro"]);
    let ran = Ran::of(
        home.command(["check"])
            .env("GREENROOM_CONFIG", "/dev/null")
            .env("GREENROOM_FOR", "4k")
            .output()
            .expect("the binary runs"),
    );
    ran.fails(64, &["GREENROOM_FOR", "4k"]);
}

#[test]
fn where_a_report_cannot_be_written_nothing_is_measured() {
    let home = Home::new();
    let nowhere = home.path("no/such/dir/report.json");
    home.run([OsStr::new("check"), "--json".as_ref(), nowhere.as_ref()]).fails(73, &["report.json"]);
}

#[test]
fn help_and_version_go_to_standard_output() {
    let home = Home::new();
    for args in [&["--help"][..], &["-h"], &["--version"], &["help", "check"], &["check", "--help"]] {
        let ran = home.run(args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        assert!(!ran.out.is_empty());
    }
    assert_eq!(home.run(["--version"]).out, concat!("greenroom ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn help_is_what_a_person_can_use() {
    let home = Home::new();
    let commands =
        ["", "check", "diagnose", "measure", "respond", "serve", "report", "history", "completions", "man"];
    let of_serve = ["serve verify", "serve backup", "serve export", "serve import", "serve person"];
    for command in commands.into_iter().chain(of_serve) {
        let ran = home.run(command.split(' ').filter(|c| !c.is_empty()).chain(["--help"]));
        let name = if command.is_empty() { "root".to_owned() } else { command.replace(' ', "_") };
        insta::assert_snapshot!(format!("help_{name}"), ran.out);
        assert!(ran.out.contains("Examples:"), "{command} has no examples");
        let widest = ran.out.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(120), "{command}: {widest:?}");
    }
}

#[test]
fn completions_and_manual_name_every_command() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = home.run(["completions", shell]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        for command in ["check", "measure", "report", "history"] {
            assert!(ran.out.contains(command), "{shell}: {command}");
        }
    }
    let page = home.run(["man"]);
    assert!(page.out.starts_with(".ie") || page.out.contains(".TH greenroom 1"), "{}", page.out);
    for command in ["check", "measure", "report", "history"] {
        assert!(page.out.contains(command), "{command}");
        assert!(home.run(["man", command]).out.contains(&format!(".TH greenroom-{command} 1")), "{command}");
    }
    assert_eq!(home.run(["man", "report show"]).code, 0);
}

#[test]
fn history_is_empty_at_first_and_stays_in_its_home() {
    let home = Home::new();
    let ran = home.run(["history"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "No past results.\n"), "{}", ran.err);
    assert_eq!(home.run(["history", "--json"]).out, "");
    assert_eq!(home.run(["history", "--clear"]).code, 0);
    let off =
        Ran::of(home.command(["history"]).env("GREENROOM_HISTORY", "off").output().expect("the binary runs"));
    assert!(off.out.contains("history is off"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_73_and_a_closed_one_is_no_error() {
    let home = Home::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let status = home.command(["man"]).stdout(full).stderr(Stdio::null()).status().expect("the binary runs");
    assert_eq!(status.code(), Some(73));

    let mut child = home.command(["man"]).stdout(Stdio::piped()).spawn().expect("the binary runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn nothing_is_written_to_the_home_by_asking_for_help() {
    let home = Home::new();
    home.run(["--help"]);
    home.run(["completions", "bash"]);
    assert_eq!(fs::read_dir(Path::new(home.dir.path())).expect("readable").count(), 0);
}

#[cfg(unix)]
#[test]
fn an_interrupt_is_130_with_the_partial_report_written() {
    use std::io::BufRead as _;

    let home = Home::new();
    let file = home.path("report.json");
    let mut command = home.command(["check", "--deep", "-v", "--json"]);
    let mut child =
        command.arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut told = std::io::BufReader::new(child.stderr.take().expect("piped")).lines();
    let started = told.by_ref().map_while(Result::ok).any(|line| line.contains("traffic starts"));
    assert!(started, "it ended before traffic started");
    let id = i32::try_from(child.id()).expect("process ids are small");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGINT)
        .expect("it still runs");
    let rest: Vec<String> = told.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{rest:?}");
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(&file).expect("the report was written")).expect("it is whole");
    assert_eq!(report["complete"], false);
    assert_eq!(report["targets"][0]["kind"], "greenroom");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_73_and_the_text_is_still_printed() {
    let home = Home::new();
    let ran = home.run(["check", "nobody.invalid", "--json", "/dev/full"]);
    assert_eq!(ran.code, 73, "{}", ran.err);
    assert!(ran.err.contains("/dev/full"), "{}", ran.err);
    assert!(ran.out.contains("nobody.invalid"), "{}", ran.out);
}

#[test]
fn an_unknown_host_is_blocked_and_told_in_words() {
    let home = Home::new();
    let ran = home.run(["check", "nobody.invalid"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.out.contains("nobody.invalid was not found"), "{}", ran.out);
    assert!(ran.err.contains("limit 10.0 MB"), "the cost is stated before: {}", ran.err);
    let json = home.run(["check", "nobody.invalid", "--json", "-", "--quiet"]);
    assert_eq!((json.code, json.err.as_str()), (2, ""));
    let report: serde_json::Value = serde_json::from_str(&json.out).expect("nothing but the report");
    assert_eq!(report["schema"], "greenroom.report/1");
    assert_eq!(home.run(["measure", "nobody.invalid"]).code, 69);
    assert!(home.run(["history"]).out.contains("No past results"), "nothing was measured");
}

#[test]
fn golden_reports_are_shown_validated_compared_and_merged() {
    let home = Home::new();
    let golden = |name: &str| format!("{}/reports/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let (measured, unreached) = (golden("measured"), golden("unreached"));
    let page = home.path("report.html");
    let page = page.to_str().expect("UTF-8");

    assert_eq!(home.run(["report", "show", &measured, "--html", page]).code, 0);
    assert!(fs::read_to_string(page).expect("it was written").contains("<svg"));
    let same = home.run(["report", "compare", &measured, &measured]);
    assert!(same.out.contains("before and after") && !same.out.contains("worse"), "{}", same.out);
    let other = home.run(["report", "compare", &measured, &unreached]);
    assert!(other.out.contains(", then "), "{}", other.out);
    // The golden report's distributions are made up.
    home.run(["report", "merge", &measured, &unreached]).fails(66, &["measured.json"]);

    // A figure that does not follow from the samples is found; so is a file that is no report.
    let own = home.path("own.json");
    let own = own.to_str().expect("UTF-8");
    assert_eq!(home.run(["check", "--for", "audio", "--json", own]).code, 3);
    assert_eq!(home.run(["report", "validate", own]).code, 0);
    let merged = home.run(["report", "merge", own, &unreached]);
    assert!(merged.out.starts_with("2 reports: "), "{} {}", merged.out, merged.err);
    assert!(merged.out.contains("round trip: p50"), "{}", merged.out);
    assert!(merged.out.contains("in 1 report: Your network blocks UDP"), "{}", merged.out);
    assert!(!merged.out.contains("udp_blocked"), "words, not codes: {}", merged.out);
    let text = fs::read_to_string(own).expect("it was written");
    let mut report: serde_json::Value = serde_json::from_str(&text).expect("a report");
    report["targets"][0]["up"]["lost"] = 7.into();
    fs::write(own, report.to_string()).expect("writable");
    let forged = home.run(["report", "validate", own]);
    assert_eq!(forged.code, 66);
    assert!(forged.out.contains("/targets/0/up/lost"), "{}", forged.out);
}

#[test]
fn devices_alone_looks_at_all_of_them_and_at_the_computer() {
    let home = Home::new();
    let ran = home.run(["devices", "--no-encode", "--json", "-"]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).expect("nothing but the report");
    assert_eq!(report["kind"], "devices");
    assert_eq!(report["host"]["machine"]["processor"]["state"], "measured", "{report}");
    for listing in ["sound", "pictures"] {
        assert_ne!(report["devices"][listing]["state"]["state"], "not_tested", "{listing} was looked for");
    }
    let is_bare = ["microphones", "speakers", "cameras"]
        .iter()
        .all(|kind| report["devices"][kind].as_array().is_some_and(Vec::is_empty));
    if is_bare {
        assert_eq!((&report["verdict"]["overall"], ran.code), (&"not_tested".into(), 3), "nobody named one");
    }
    home.run(["devices", "--no-encode", "host"]).fails(64, &["--no-encode"]);
}

#[test]
fn this_computer_is_described_in_words_and_as_a_report() {
    let home = Home::new();
    let words = home.run(["devices", "host", "--no-encode"]);
    assert_eq!(words.code, 0, "{}", words.err);
    for about in ["Processor ", "Busy ", "Memory ", "Screen sharing ", "Clock "] {
        assert!(words.out.lines().any(|line| line.starts_with(about)), "{about}: {}", words.out);
    }
    let told = home.run(["devices", "host", "--no-encode", "--json", "-"]);
    let report = greenroom_reports::schema::read(&told.out).expect("a report of this version");
    assert_eq!(report.kind, greenroom_reports::schema::Kind::Devices);
    assert!(report.host.machine.processor.measured().is_some_and(|it| it.threads > 0), "{}", told.out);
    assert!(report.host.machine.encode.is_empty(), "it was left out");
    assert!(report.complete && report.targets.is_empty());
}
