//! A virtual machine: built, booted, listened to.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than any boot with its scenarios takes, also on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(200);

/// What a guest is made of.
pub(crate) struct Guest {
    /// Its script in `tests/vm/guest`; the modules it needs are named in there.
    pub(crate) script: &'static str,
    /// Programs that it calls, beside `greenroom` and busybox.
    pub(crate) programs: Vec<PathBuf>,
    /// Further arguments for QEMU.
    pub(crate) hardware: Vec<String>,
}

/// What a guest said, by scenario.
pub(crate) struct Said(BTreeMap<String, Scenario>);

/// One scenario's output.
#[derive(Debug, Default, Clone)]
pub(crate) struct Scenario {
    /// Standard output.
    pub(crate) text: String,
    /// Exit code.
    pub(crate) code: Option<i32>,
}

impl Guest {
    /// Boots it and waits until it has switched itself off. `on_line` sees every line as it comes.
    #[expect(clippy::disallowed_methods, reason = "a deadline in real time")]
    pub(crate) fn run(&self, mut on_line: impl FnMut(&str)) -> Said {
        let place = place();
        let kernel = kernel(&place);
        let archive = place.join(format!("{}.cpio", self.script));
        let console = place.join(format!("{}.console", self.script));
        self.pack(&kernel, &archive);
        let began = Instant::now();
        let mut machine = self.boot(&kernel, &archive, &console);
        let lines = listen(&mut machine.0, began, &mut on_line);
        let said = Said::of(&lines);
        assert!(
            lines.last().is_some_and(|line| line == "=== end"),
            "the guest did not reach its end in {:?}.\nIt said:\n{}\nThe kernel said:\n{}",
            began.elapsed(),
            lines.join("\n"),
            tail(&console)
        );
        said
    }

    fn pack(&self, kernel: &Path, archive: &Path) {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm");
        let mut packing = Command::new(here.join("initramfs.sh"));
        packing.arg(kernel).arg(archive).arg(here.join("guest").join(self.script));
        packing.arg(env!("CARGO_BIN_EXE_greenroom")).args(&self.programs);
        succeed(&mut packing);
    }

    fn boot(&self, kernel: &Path, archive: &Path, console: &Path) -> Running {
        let version = fs::read_to_string(kernel.join("version")).expect("kernel.sh leaves its version");
        let image = kernel.join("tree/boot").join(format!("vmlinuz-{}", version.trim()));
        let mut qemu = Command::new("qemu-system-x86_64");
        // Emulated: hosts of CI offer no nested virtualization that boots a stock kernel.
        qemu.args(["-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "768"]);
        qemu.args(["-nodefaults", "-no-reboot", "-nographic"]);
        qemu.args(["-serial", &format!("file:{}", console.display()), "-serial", "stdio"]);
        qemu.arg("-kernel").arg(image).arg("-initrd").arg(archive);
        qemu.args(["-append", "console=ttyS0 panic=-1 mitigations=off random.trust_cpu=on tsc=reliable"]);
        qemu.args(&self.hardware);
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        Running(
            qemu.spawn()
                .unwrap_or_else(|error| panic!("qemu-system-x86_64: {error}; ./dev test installs it")),
        )
    }
}

/// A machine that is switched off with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have switched itself off already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Said {
    /// A scenario's output. Panics when the guest never came to it.
    pub(crate) fn scenario(&self, name: &str) -> &Scenario {
        self.0.get(name).unwrap_or_else(|| panic!("no scenario `{name}`; there are {:?}", self.0.keys()))
    }

    /// `=== NAME` begins a scenario, `--- CODE` ends it; `>>> REQUEST` was for the host.
    fn of(lines: &[String]) -> Self {
        let mut scenarios: BTreeMap<String, Scenario> = BTreeMap::new();
        let mut current = String::new();
        for line in lines {
            if let Some(name) = line.strip_prefix("=== ") {
                name.clone_into(&mut current);
                scenarios.insert(current.clone(), Scenario::default());
            } else if line.starts_with(">>> ") {
            } else if let Some(scenario) = scenarios.get_mut(&current) {
                match line.strip_prefix("--- ") {
                    Some(code) => scenario.code = code.parse().ok(),
                    None => {
                        scenario.text.push_str(line);
                        scenario.text.push('\n');
                    }
                }
            }
        }
        Self(scenarios)
    }
}

impl Scenario {
    /// The report that it printed.
    pub(crate) fn report(&self) -> serde_json::Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("no JSON ({error}), but:\n{}", self.text))
    }
}

/// Every line until the machine switches off, or until the deadline.
fn listen(machine: &mut Child, began: Instant, on_line: &mut impl FnMut(&str)) -> Vec<String> {
    let stdout = machine.stdout.take().expect("its output is a pipe");
    let (sender, receiver) = mpsc::channel();
    #[expect(clippy::disallowed_methods, reason = "reads beside the deadline")]
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut lines = Vec::new();
    while let Ok(line) = receiver.recv_timeout(DEADLINE.saturating_sub(began.elapsed())) {
        let line = line.trim_end_matches('\r').to_owned();
        on_line(&line);
        lines.push(line);
    }
    lines
}

/// The folder with the kernel; fetched and built by the first test that needs it, kept with the build.
fn kernel(place: &Path) -> PathBuf {
    let folder = place.join("kernel");
    let lock = File::create(place.join("lock")).expect("the target directory can be written");
    lock.lock().expect("a file of our own can be locked");
    succeed(Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/kernel.sh")).arg(&folder));
    folder
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn tail(file: &Path) -> String {
    let text = fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Where everything of these tests is kept, with the build.
pub(crate) fn place() -> PathBuf {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("vm");
    fs::create_dir_all(&place).expect("the target directory can be written");
    place
}

/// Where a command lies.
pub(crate) fn command(name: &str) -> PathBuf {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {name}")]).output().expect("there is a shell");
    let path = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    assert!(Path::new(&path).exists(), "no {name} on this machine; ./dev test installs it");
    PathBuf::from(path)
}

/// A number of a report.
#[track_caller]
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Fails when a number of a report is farther than `within` from what is expected.
#[track_caller]
pub(crate) fn near(value: &Value, expected: f64, within: f64) {
    let got = number(value);
    assert!((got - expected).abs() <= within, "{got} is not within {within} of {expected}");
}

/// Every scenario of a boot is looked at, also behind one that failed.
#[derive(Default)]
pub(crate) struct Faults(Vec<String>);

impl Faults {
    /// Looks at one scenario.
    pub(crate) fn check(&mut self, scenario: &str, body: impl FnOnce()) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err() {
            self.0.push(scenario.to_owned());
        }
    }

    /// Fails when one of them did.
    pub(crate) fn report(self) {
        assert!(self.0.is_empty(), "failed (see above): {}", self.0.join("; "));
    }
}
