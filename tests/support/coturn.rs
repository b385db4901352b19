//! coturn as it is, relaying for `alice` on the loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use greenroom::proto::stun::{TransactionId, write_binding_request};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a server shows, and proves to be its own.
pub(crate) type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The user that it relays for.
pub(crate) const USER: &str = "alice-of-the-relay";
/// And the password.
pub(crate) const PASSWORD: &str = "correct-horse-hunter2";

/// A coturn on one port for UDP, TCP and, with a certificate, TLS. Killed when dropped.
pub(crate) struct Coturn {
    child: Child,
    pub(crate) at: SocketAddr,
    folder: tempfile::TempDir,
}

impl Coturn {
    pub(crate) fn start(own: Option<&Own>, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (at, other) = (free_port(), free_port());
        let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let mut command = Command::new("turnserver");
        match own {
            Some(own) => {
                write_pem(own, Path::new(&file("cert.pem")), Path::new(&file("key.pem")));
                command.args(["--cert", &file("cert.pem"), "--pkey", &file("key.pem"), "--no-dtls"]);
            }
            None => {
                command.args(["--no-tls", "--no-dtls"]);
            }
        }
        command
            .args(["-n", "--no-cli", "--log-file", "stdout"])
            .args(["--lt-cred-mech", "--realm", "greenroom.test", "--user", &format!("{USER}:{PASSWORD}")])
            .args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1"])
            .args(["--listening-port", &at.port().to_string()])
            .args(["--tls-listening-port", &other.port().to_string()])
            .args(["--pidfile", &file("pid"), "--userdb", &file("db")])
            .args(options);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("turnserver is installed (./dev test does that)");
        let coturn = Self { child, at, folder };
        coturn.wait();
        coturn
    }

    /// Asks until it answers over UDP and takes connections: it says nowhere when it is ready.
    fn wait(&self) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
        let (mut request, mut answer) = (Vec::new(), [0; 1_500]);
        for attempt in 0..=255 {
            write_binding_request(TransactionId([attempt; 12]), &mut request);
            // Not connected: what is refused until it listens is a time-out here.
            let _ = socket.send_to(&request, self.at);
            if socket.recv(&mut answer).is_ok() && TcpStream::connect(self.at).is_ok() {
                return;
            }
        }
        panic!("coturn does not answer on {}", self.at);
    }

    /// A file with user name and password, as `--turn-user-file` has it.
    pub(crate) fn user_file(&self, password: &str) -> PathBuf {
        let file = self.folder.path().join("user");
        std::fs::write(&file, format!("{USER}\n{password}\n")).expect("written");
        file
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of the loopback that is free over UDP and TCP.
fn free_port() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let at = tcp.local_addr().expect("bound");
        if UdpSocket::bind(at).is_ok() {
            return at;
        }
    }
}

fn write_pem((chain, key): &Own, cert_file: &Path, key_file: &Path) {
    let pem = |label: &str, der: &[u8]| {
        let text = STANDARD.encode(der);
        let lines: Vec<&str> = (0..text.len().div_ceil(64))
            .filter_map(|line| text.get(line * 64..text.len().min(line * 64 + 64)))
            .collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    let chain: String = chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
    std::fs::write(cert_file, chain).expect("written");
    std::fs::write(key_file, pem("PRIVATE KEY", key.secret_der())).expect("written");
}
