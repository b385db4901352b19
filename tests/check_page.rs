//! The check page in a real browser, with fake devices that have one fault each, against `greenroom serve`. The cases stand in
//! tests/browser/check_page.py.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use support::greenroom;

/// `greenroom serve`, killed when dropped.
struct Serve {
    child: Child,
    base: String,
}

impl Serve {
    fn start(data: &std::path::Path, endpoint: &str) -> Self {
        let data = data.to_str().expect("UTF-8");
        let args = ["serve", "--listen", "127.0.0.1:0", "--endpoint", endpoint, "--data", data, "--quiet"];
        let mut child = greenroom(args).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut base = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut base).expect("it tells where it is");
        Self { child, base: base.trim().to_owned() }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // One that a case has ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn in_a_browser(case: &str, endpoint: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(&folder.path().join("data"), endpoint);
    let python = std::env::var("GREENROOM_BROWSER_PYTHON").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/browser/bin/python").to_owned()
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/check_page.py");
    let output = Command::new(&python)
        .args([script, case, &serve.base])
        .arg(folder.path())
        .arg(serve.child.id().to_string())
        .output()
        .unwrap_or_else(|error| panic!("{python}: {error}; `./dev test` installs it"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {told}");
}

macro_rules! cases {
    ($($name:ident)*) => { $(#[test] fn $name() { in_a_browser(stringify!($name), "127.0.0.1:0"); })* };
}

cases! {
    good again silent quiet clipped black frozen covered dark bright denied_both denied_camera dismissed missing taken_back unheard
    hidden server_gone
}

#[test]
fn without_endpoint() {
    in_a_browser("without_endpoint", "off");
}
