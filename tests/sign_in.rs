//! Signing in by a certified provider (oidc-provider for Node.js) in a real browser, against `greenroom serve`, and the pages of the admin
//! that are about others: webhooks and tenants. What the browser does stands in tests/browser/sign_in.py.
#![cfg(all(target_os = "linux", feature = "oidc"))]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use support::greenroom;

/// A process, killed when dropped, and what it says.
struct Running {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, said }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.said.read_line(&mut line).expect("UTF-8"), 0, "it ended early");
        line.trim().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tool(variable: &str, usual: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| format!("{}/{usual}", env!("CARGO_MANIFEST_DIR")))
}

#[test]
fn who_is_known_to_a_provider_comes_in_and_the_pages_of_the_admin_look_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut provider = Running::start(
        Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/oidc_provider.mjs"))
            .env("GREENROOM_OIDC_PROVIDER", tool("GREENROOM_OIDC_PROVIDER", "target/tools/oidc")),
    );
    let issuer = provider.line();
    let secret = folder.path().join("secret");
    fs::write(&secret, "a secret & more\n").expect("writable");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("set");
    let data = folder.path().join("data");
    let mut server = Running::start(
        greenroom(["serve", "--quiet", "--listen", "127.0.0.1:0", "--endpoint", "off", "--data"])
            .arg(&data)
            .args(["--oidc-issuer", &issuer, "--oidc-client-id", "greenroom", "--oidc-name", "Example ID"])
            .args(["--oidc-role", "helpdesk=support", "--allow-private", "oidc", "--oidc-secret-file"])
            .arg(&secret),
    );
    let base = server.line();
    writeln!(provider.child.stdin.as_mut().expect("piped"), "{base}").expect("it reads");
    assert_eq!(provider.line(), "ready");
    let shots = std::env::var("GREENROOM_SHOTS").map_or_else(|_| folder.path().to_owned(), Into::into);
    let browser = Command::new(tool("GREENROOM_BROWSER_PYTHON", "target/tools/browser/bin/python"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/sign_in.py"))
        .arg(&base)
        .arg(data.join("admin-link"))
        .arg(shots)
        .output()
        .expect("python runs; ./dev test installs what it needs");
    assert!(browser.status.success(), "{}", String::from_utf8_lossy(&browser.stderr));
}
