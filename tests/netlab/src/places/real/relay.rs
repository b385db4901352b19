//! A relay with too much to do: coturn, behind which some of what it relays is lost.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::RealError;
use crate::lab::Namespace;

const USER: &str = "lab";
const PASSWORD: &str = "of-the-lab";
/// Ports that it relays by.
const PORTS: (u16, u16) = (49_152, 49_999);
/// Questions until it is given up: it says nowhere when it is ready.
const TRIES: u8 = 100;

/// A running relay. Killed when dropped.
pub(super) struct Relay {
    child: Child,
}

impl Relay {
    /// Starts one at an address, and waits until it answers. Of what it sends on from relayed address to relayed address it loses a share.
    pub(super) fn start(namespace: &Namespace, at: Ipv4Addr, loses: f64) -> Result<Self, RealError> {
        let failed = |source| RealError::Step { step: "run turnserver".to_owned(), source };
        let (first, last) = PORTS;
        let percent = (loses * 100.0).round();
        namespace.filter(&format!(
            "table ip relay {{ chain in {{ type filter hook input priority 0; \
             udp sport {first}-{last} udp dport {first}-{last} numgen random mod 100 < {percent} drop; }}; }}"
        ))?;
        let address = at.to_string();
        let mut command = namespace.command("turnserver");
        command
            .args([
                "-n",
                "--no-cli",
                "--no-tls",
                "--no-dtls",
                "--log-file",
                "stdout",
                "--pidfile",
                "/dev/null",
            ])
            .args(["--lt-cred-mech", "--realm", "lab", "--user", &format!("{USER}:{PASSWORD}")])
            .args(["--listening-ip", &address, "--relay-ip", &address, "--listening-port", "3478"])
            .args([
                "--min-port",
                &first.to_string(),
                "--max-port",
                &last.to_string(),
                "--userdb",
                "/nowhere",
            ]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let relay = Self { child: child.map_err(failed)? };
        let asked = namespace.within(|| answers((at, 3_478).into()));
        asked.map_err(failed)?;
        Ok(relay)
    }

    /// What the program has to know to be let in.
    pub(super) fn environment() -> [(String, String); 2] {
        [("GREENROOM_TURN_USERNAME", USER), ("GREENROOM_TURN_PASSWORD", PASSWORD)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until it answers.
#[expect(clippy::disallowed_methods, reason = "a lab asks through sockets of its own")]
fn answers(at: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    for number in 0..TRIES {
        let mut question = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        question.extend([number; 12]);
        // Not connected: what is refused until it listens is a time-out here.
        let _ = socket.send_to(&question, at);
        if socket.recv(&mut [0; 1_500]).is_ok() {
            return Ok(());
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("it does not answer at {at}")))
}
