//! A PostgreSQL server for tests: made in a folder that goes with it, on a socket of its own, as a user without rights.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

/// Who runs it where tests run as root, for whom it does not start.
const USER: &str = "nobody";

/// A running server. Stopped, and all that it held deleted, when dropped.
pub(crate) struct Cluster {
    child: Mutex<Option<Child>>,
    programs: PathBuf,
    folder: TempDir,
    /// Settings besides the usual ones.
    settings: Vec<String>,
}

thread_local! {
    /// Keeps the server until the thread of a test ends, whatever the test itself keeps.
    static HELD: RefCell<Option<Arc<Cluster>>> = const { RefCell::new(None) };
}

/// The server that the tests of this process share. The last that lets go of it stops it.
pub(crate) fn shared() -> Arc<Cluster> {
    static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = shared.upgrade().unwrap_or_else(|| {
        let cluster = Arc::new(Cluster::start());
        *shared = Arc::downgrade(&cluster);
        cluster
    });
    HELD.with(|held| *held.borrow_mut() = Some(Arc::clone(&cluster)));
    cluster
}

impl Cluster {
    /// Makes and starts one.
    pub(crate) fn start() -> Self {
        let cluster = Self::made(Vec::new());
        cluster.begin();
        cluster
    }

    /// Makes and starts one that listens on an address of this computer with TLS, and asks for a password there (SCRAM). The certificate and
    /// its key are in PEM.
    pub(crate) fn start_with_tls(certificate: &str, key: &str, at: std::net::Ipv4Addr) -> Self {
        let settings = ["ssl=on", "ssl_cert_file=server.crt", "ssl_key_file=server.key"];
        let settings = settings.into_iter().map(str::to_owned).chain([format!("listen_addresses={at}")]);
        let cluster = Self::made(settings.collect());
        let rules = "local all all trust\nhostssl all all 127.0.0.0/8 scram-sha-256\n";
        for (name, text) in [("server.crt", certificate), ("server.key", key), ("pg_hba.conf", rules)] {
            let path = cluster.data().join(name);
            fs::write(&path, text).expect("writable");
            succeed(Command::new("chmod").arg("600").arg(&path));
            if is_root() {
                succeed(Command::new("chown").arg(USER).arg(&path));
            }
        }
        cluster.begin();
        cluster
    }

    /// Makes and starts one whose data are on another disk.
    pub(crate) fn start_on(disk: &Path) -> Self {
        let cluster = Self::made_in(disk, Vec::new());
        cluster.begin();
        cluster
    }

    fn made(settings: Vec<String>) -> Self {
        Self::made_in(&std::env::temp_dir(), settings)
    }

    fn made_in(place: &Path, settings: Vec<String>) -> Self {
        let programs = programs();
        let folder = tempfile::Builder::new().prefix("greenroom-pg-").tempdir_in(place).expect("a folder");
        if is_root() {
            succeed(Command::new("chown").arg(USER).arg(folder.path()));
        }
        let cluster = Self { child: Mutex::new(None), programs, folder, settings };
        let made = cluster
            .command("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"])
            .args(["--no-instructions", "--pgdata"])
            .arg(cluster.data())
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        cluster
    }

    /// Starts the server, and waits until it answers.
    pub(crate) fn begin(&self) {
        let log = self.folder.path().join("log");
        let out = || File::options().create(true).append(true).open(&log).expect("a log");
        let mut child = self
            .command("postgres")
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.folder.path())
            // What is tested is what the program does. That a server keeps what it synced is for the server's own tests.
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=32MB"])
            .args(["-c", "max_connections=60"])
            .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
            .stdin(Stdio::null())
            .stdout(out())
            .stderr(out())
            .spawn()
            .expect("postgres runs");
        // The server writes `ready` into this file once it takes connections.
        let status = self.data().join("postmaster.pid");
        loop {
            let told = fs::read_to_string(&status).unwrap_or_default();
            let is_ours = told.lines().next().is_some_and(|pid| pid.trim() == child.id().to_string());
            if is_ours && told.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                break;
            }
            if let Some(ended) = child.try_wait().expect("a child") {
                panic!("postgres ended ({ended}): {}", fs::read_to_string(&log).unwrap_or_default());
            }
            std::thread::yield_now();
        }
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    }

    /// Stops the server; connections break off. What was committed is there when it begins again.
    pub(crate) fn end(&self) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = child else { return };
        // SIGINT: a fast shutdown.
        succeed(Command::new("kill").arg("-INT").arg(child.id().to_string()));
        child.wait().expect("a child");
    }

    /// Ends the server at once, as a crash does: nothing is written any more, and it goes through its log when it begins again.
    pub(crate) fn crash(&self) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = child else { return };
        succeed(Command::new("kill").arg("-QUIT").arg(child.id().to_string()));
        child.wait().expect("a child");
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.as_mut().is_some_and(|child| child.try_wait().expect("a child").is_some())
    }

    /// Makes a database with nothing in it; its address.
    pub(crate) fn database(&self) -> String {
        static MADE: Mutex<u32> = Mutex::new(0);
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        *made += 1;
        let name = format!("test_{made}");
        succeed(self.command("createdb").args(["-U", "postgres", "-h"]).arg(self.folder.path()).arg(&name));
        self.url(&name)
    }

    /// The address of a database.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("postgres:///{name}?user=postgres&host={}", self.folder.path().display())
    }

    /// The socket that it listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    /// Runs a statement in a database, and gives what it tells.
    pub(crate) fn ask(&self, url: &str, statement: &str) -> String {
        let asked = self.command("psql").args(["-X", "-A", "-t", "-d", url, "-c", statement]).output();
        let asked = asked.expect("psql runs");
        assert!(asked.status.success(), "{statement}: {}", String::from_utf8_lossy(&asked.stderr));
        String::from_utf8(asked.stdout).expect("UTF-8").trim().to_owned()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of its programs, as the user that runs it.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        if !is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid", USER, "--regid", "nogroup", "--clear-groups"]).arg(program);
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = child else { return };
        // SIGQUIT: nothing is written, and no process of it stays behind.
        let _ = Command::new("kill").arg("-QUIT").arg(child.id().to_string()).status();
        let _ = child.wait();
    }
}

/// The name of a database, from its address.
pub(crate) fn name(url: &str) -> &str {
    url.trim_start_matches("postgres:///").split('?').next().unwrap_or_default()
}

/// Where the newest server's programs are: Debian keeps them apart by version.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs.join("initdb").exists().then_some((version, programs))
        })
        .max();
    match newest {
        Some((version, programs)) if version >= 15 => programs,
        _ if Path::new("/usr/local/pgsql/bin/initdb").exists() => "/usr/local/pgsql/bin".into(),
        _ => panic!("PostgreSQL 15 or later is needed: apt install postgresql (./dev test does)"),
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

fn succeed(command: &mut Command) {
    let done = command.output().expect("it runs");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
