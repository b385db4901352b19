//! NATS servers for tests: JetStream in a folder that goes with them, one alone or three that know each other.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

/// Running servers. Stopped, and all that they held deleted, when dropped.
pub(crate) struct Servers {
    folder: TempDir,
    ports: Vec<u16>,
    running: Mutex<Vec<Option<Child>>>,
}

impl Servers {
    /// Starts so many.
    pub(crate) fn start(count: usize) -> Self {
        Self::start_on(count, |_| None)
    }

    /// Starts so many, of which some have their data on other disks.
    pub(crate) fn start_on(count: usize, disk: impl Fn(usize) -> Option<PathBuf>) -> Self {
        let folder = tempfile::Builder::new().prefix("greenroom-nats-").tempdir().expect("a folder");
        // Held until all are known, so that no two are the same.
        let held: Vec<TcpListener> =
            (0..2 * count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports: Vec<u16> =
            held.iter().map(|listener| listener.local_addr().expect("an address").port()).collect();
        drop(held);
        let (ports, routes) = ports.split_at(count);
        let known: Vec<String> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        for (index, (port, route)) in ports.iter().zip(routes).enumerate() {
            let data = disk(index).unwrap_or_else(|| folder.path().join(format!("data-{index}")));
            let mut config = format!(
                "server_name: n{index}\nlisten: \"127.0.0.1:{port}\"\n\
                 jetstream {{ store_dir: \"{}\", sync_interval: always }}\n",
                data.display()
            );
            if count > 1 {
                config += &format!(
                    "cluster {{ name: test, listen: \"127.0.0.1:{route}\", routes: [{}] }}\n",
                    known.join(", ")
                );
            }
            fs::write(folder.path().join(format!("{index}.conf")), config).expect("writable");
        }
        let running = Mutex::new((0..count).map(|_| None).collect());
        let servers = Self { folder, ports: ports.to_vec(), running };
        (0..count).for_each(|index| servers.begin(index));
        servers
    }

    /// Starts one, and waits until it listens.
    pub(crate) fn begin(&self, index: usize) {
        let log = self.folder.path().join(format!("{index}.log"));
        let out = || File::options().create(true).append(true).open(&log).expect("a log");
        let mut child = Command::new(program())
            .arg("-c")
            .arg(self.folder.path().join(format!("{index}.conf")))
            .stdin(Stdio::null())
            .stdout(out())
            .stderr(out())
            .spawn()
            .expect("nats-server runs");
        while TcpStream::connect(("127.0.0.1", self.ports[index])).is_err() {
            if let Some(ended) = child.try_wait().expect("a child") {
                panic!("nats-server ended ({ended}): {}", fs::read_to_string(&log).unwrap_or_default());
            }
            std::thread::yield_now();
        }
        self.running.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(child);
    }

    /// Ends one at once, as a crash does.
    pub(crate) fn kill(&self, index: usize) {
        let child = self.running.lock().unwrap_or_else(PoisonError::into_inner)[index].take();
        if let Some(mut child) = child {
            child.kill().expect("it runs");
            child.wait().expect("a child");
        }
    }

    /// Lets one fall silent: its connections stay, and nothing comes from it.
    pub(crate) fn silence(&self, index: usize) {
        self.signal(index, "-STOP");
    }

    /// Lets one go on that was silent.
    pub(crate) fn wake(&self, index: usize) {
        self.signal(index, "-CONT");
    }

    fn signal(&self, index: usize, signal: &str) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let id = running[index].as_ref().expect("it runs").id();
        let sent = Command::new("kill").args([signal, &id.to_string()]).status().expect("kill runs");
        assert!(sent.success(), "kill {signal} {id}");
    }

    /// What `--bus` is given.
    pub(crate) fn url(&self) -> String {
        let urls: Vec<String> = self.ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        urls.join(",")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for index in 0..self.ports.len() {
            self.kill(index);
        }
    }
}

fn program() -> PathBuf {
    let named = std::env::var_os("GREENROOM_NATS_SERVER").map(PathBuf::from);
    let found = named.unwrap_or_else(|| PathBuf::from("target/tools/nats/bin/nats-server"));
    assert!(found.exists(), "nats-server is needed: ./dev test installs it ({})", found.display());
    found
}
