//! What is kept stays kept: the server and its database killed while reports come in, copied meanwhile, moved to another store.
//!
//! What was acknowledged is there, and counted once. Each kill comes after a number of answers and a while that a seed says, in the middle of whatever is going on then; the seed is printed.
#![cfg(all(unix, feature = "web"))]
#![expect(clippy::disallowed_methods, reason = "a test sends over sockets and threads of its own")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "../probe-web/src/testing.rs"]
mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

use greenroom_reports::schema::Report;
use greenroom_web::auth::{key, password};
use greenroom_web::clock::{Clock, new_id};
use greenroom_web::store::postgres::{PostgresStore, PostgresUrl};
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::{KeyUse, NewUser, Role, Store, Tenant, User};
use greenroom_web::verify::verify;
use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use support::greenroom;

/// How many send at once.
const SENDERS: usize = 3;

/// Where the server keeps reports.
enum Place<'a> {
    Folder(&'a Path),
    Database(&'a str, &'a Path),
}

impl Place<'_> {
    async fn open(&self) -> Box<dyn Store> {
        match self {
            Self::Folder(folder) => Box::new(SqliteStore::open(folder).await.expect("it opens")),
            Self::Database(url, _) => {
                let url = PostgresUrl::read(url).expect("an address");
                Box::new(PostgresStore::open(&url).await.expect("it opens"))
            }
        }
    }

    /// A key to send reports with.
    async fn key(&self) -> String {
        let store = self.open().await;
        let (shown, kept) = key::mint(Tenant::FIRST, "laptops".into(), KeyUse::Send, Clock::system().now());
        store.add_key(&kept).await.expect("it is kept");
        shown
    }
}

/// A running server. Killed when dropped.
struct Serve {
    child: Child,
    at: SocketAddr,
}

impl Serve {
    fn on(place: &Place<'_>) -> Self {
        let mut command = greenroom(["serve", "--listen", "127.0.0.1:0", "--endpoint", "off", "--data"]);
        match place {
            Place::Folder(folder) => command.arg(folder),
            Place::Database(url, folder) => command.arg(folder).env("GREENROOM_STORE", url),
        };
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
        let mut told = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        while !told.contains("Data ") {
            assert_ne!(stdout.read_line(&mut told).expect("UTF-8"), 0, "it ended early: {told}");
        }
        let url = told.split_whitespace().find_map(|word| word.strip_prefix("http://")).expect("an address");
        Self { at: url.parse().expect("an address"), child }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")), signal).expect("it runs");
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer to a report.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// Sends over one connection as long as that lasts.
struct Sender<'a> {
    at: SocketAddr,
    key: &'a str,
    stream: Option<BufReader<TcpStream>>,
}

impl Sender<'_> {
    fn send(&mut self, json: &[u8]) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(TcpStream::connect(self.at)?),
        };
        let head = format!(
            "POST /api/v1/reports HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.at,
            self.key,
            json.len()
        );
        stream.get_mut().write_all(&[head.as_bytes(), json].concat())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.and_then(|text| text.parse().ok()).unwrap_or(0)];
        stream.read_exact(&mut body)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        self.stream = Some(stream);
        Ok(Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// Numbered reports: which were sent, and which were acknowledged.
struct Reports {
    begin: Timestamp,
    made: Mutex<BTreeMap<u64, Vec<u8>>>,
    acknowledged: Mutex<BTreeSet<u64>>,
    /// Told of each answer.
    answered: Condvar,
    /// How many were refused.
    refused: Mutex<u64>,
}

impl Reports {
    fn new() -> Self {
        let begin = Clock::system().now().checked_sub(SignedDuration::from_hours(2)).expect("a time");
        Self {
            begin,
            made: Mutex::default(),
            acknowledged: Mutex::default(),
            answered: Condvar::new(),
            refused: Mutex::default(),
        }
    }

    fn made(&self, n: u64) -> Report {
        let mut report = testing::report(n % 50);
        report.id = testing::id(n);
        report.code = greenroom_reports::assess::short_code(report.id);
        let after = SignedDuration::from_secs(i64::try_from(n).expect("small"));
        report.started = self.begin.checked_add(after).expect("a time");
        report.labels.insert("site".into(), ["Lyon", "Oslo"][usize::from(n.is_multiple_of(2))].into());
        report
    }

    /// The next one to send: one that was not acknowledged and that nobody else is sending, or a new one.
    fn next(&self, sending: &Mutex<BTreeSet<u64>>) -> (u64, Vec<u8>) {
        let mut sending = sending.lock().expect("no panic");
        let mut made = self.made.lock().expect("no panic");
        let acknowledged = self.acknowledged.lock().expect("no panic");
        let open = made.keys().find(|n| !acknowledged.contains(n) && !sending.contains(n)).copied();
        let n = open.unwrap_or(u64::try_from(made.len()).expect("small"));
        sending.insert(n);
        let json = made.entry(n).or_insert_with(|| serde_json::to_vec(&self.made(n)).expect("JSON"));
        (n, json.clone())
    }

    /// Sends until the connection breaks, or nobody wants any more. What was acknowledged before has to be there.
    fn keep_sending(&self, sender: &mut Sender<'_>, sending: &Mutex<BTreeSet<u64>>, enough: &AtomicBool) {
        while !enough.load(Ordering::Relaxed) {
            let (n, json) = self.next(sending);
            loop {
                let Ok(answer) = sender.send(&json) else { return };
                if answer.status == 202 {
                    break;
                }
                assert_eq!(answer.status, 503, "{}", answer.body);
                assert!(answer.head.contains("\r\nretry-after: "), "{}", answer.head);
                *self.refused.lock().expect("no panic") += 1;
                self.answered.notify_all();
            }
            self.acknowledged.lock().expect("no panic").insert(n);
            self.answered.notify_all();
            sending.lock().expect("no panic").remove(&n);
            if n % 7 == 0 {
                let Ok(again) = sender.send(&json) else { return };
                if again.status == 202 {
                    assert!(again.body.contains("\"duplicate\""), "report {n} was lost: {}", again.body);
                }
            }
        }
    }

    /// Waits until so many more are acknowledged.
    fn wait_for(&self, more: usize) {
        let begin = self.acknowledged.lock().expect("no panic");
        let wanted = begin.len() + more;
        drop(self.answered.wait_while(begin, |acknowledged| acknowledged.len() < wanted));
    }

    /// Waits until one more is refused.
    fn wait_for_refusal(&self, before: u64) {
        let refused = self.refused.lock().expect("no panic");
        drop(self.answered.wait_while(refused, |refused| *refused <= before));
    }

    /// Looks whether a store holds every report that was acknowledged as it was sent, and whether all of it is sound.
    async fn check(&self, store: &dyn Store) {
        let made = self.made.lock().expect("no panic").clone();
        let acknowledged = self.acknowledged.lock().expect("no panic").clone();
        for n in &acknowledged {
            let json = store.raw(Tenant::FIRST, testing::id(*n)).await.expect("it can be read");
            assert_eq!(json.as_ref(), made.get(n), "report {n} was acknowledged");
        }
        let found = verify(store, Clock::system().now()).await.expect("it can be read");
        assert!(found.is_sound(), "{found:?}");
        assert!(found.buckets > 0 && found.buckets_open == 0, "{found:?}");
        let kept = usize::try_from(found.reports).expect("small");
        assert!((acknowledged.len()..=made.len()).contains(&kept), "{kept} of {}", made.len());
    }
}

fn seeded() -> StdRng {
    let seed = std::env::var("GREENROOM_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("GREENROOM_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Lets some send while `meanwhile` goes on; they end when it ends or the server does.
fn under_load(reports: &Reports, at: SocketAddr, key: &str, meanwhile: impl FnOnce()) {
    let (sending, enough) = (Mutex::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            let mut sender = Sender { at, key, stream: None };
            let (sending, enough) = (&sending, &enough);
            scope.spawn(move || reports.keep_sending(&mut sender, sending, enough));
        }
        meanwhile();
        enough.store(true, Ordering::Relaxed);
    });
}

/// Kills the server again and again while reports come in.
fn killed_again_and_again(place: &Place<'_>, kills: u32) {
    let (mut random, runtime, reports) = (seeded(), runtime(), Reports::new());
    let key = runtime.block_on(place.key());
    for _ in 0..kills {
        let server = Serve::on(place);
        let answers = random.random_range(1..40);
        let turns = random.random_range(0..2_000_000_u32);
        under_load(&reports, server.at, &key, || {
            reports.wait_for(answers);
            (0..turns).for_each(|_| std::hint::spin_loop());
            server.signal(Signal::SIGKILL);
        });
        drop(server);
        runtime.block_on(async { reports.check(&*place.open().await).await });
    }
    // It starts once more, takes what was not acknowledged, and ends in order.
    let mut server = Serve::on(place);
    let left =
        reports.made.lock().expect("no panic").len() - reports.acknowledged.lock().expect("no panic").len();
    under_load(&reports, server.at, &key, || reports.wait_for(left + 1));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.child.wait().expect("a child").code(), Some(0));
    runtime.block_on(async { reports.check(&*place.open().await).await });
}

#[test]
fn a_server_on_sqlite_may_be_killed_at_any_time() {
    let folder = tempfile::tempdir().expect("a folder");
    killed_again_and_again(&Place::Folder(&folder.path().join("data")), 8);
}

#[test]
fn a_server_on_postgres_may_be_killed_at_any_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = postgres::shared();
    let url = cluster.database();
    killed_again_and_again(&Place::Database(&url, folder.path()), 6);
}

#[test]
fn the_database_may_be_killed_at_any_time_and_the_server_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = postgres::Cluster::start();
    let url = cluster.database();
    let place = Place::Database(&url, folder.path());
    let (mut random, runtime, reports) = (seeded(), runtime(), Reports::new());
    let key = runtime.block_on(place.key());
    let server = Serve::on(&place);
    under_load(&reports, server.at, &key, || {
        for round in 0..4 {
            reports.wait_for(random.random_range(1..40));
            (0..random.random_range(0..2_000_000_u32)).for_each(|_| std::hint::spin_loop());
            let refused = *reports.refused.lock().expect("no panic");
            if round % 2 == 0 {
                cluster.crash();
                reports.wait_for_refusal(refused);
                cluster.begin();
            } else {
                // The database ends all connections, and goes through its log before it takes others.
                let asked = "SELECT pid FROM pg_stat_activity WHERE application_name = 'greenroom' LIMIT 1";
                let pid = cluster.ask(&url, asked);
                let killed = Command::new("kill").args(["-KILL", &pid]).status().expect("kill runs");
                assert!(killed.success(), "a connection of the server: {pid}");
            }
        }
        reports.wait_for(10);
    });
    drop(server);
    runtime.block_on(async { reports.check(&*place.open().await).await });
}

/// Runs a command that has to end with this code; what it says.
fn run(code: i32, args: &[&str], paths: &[&Path]) -> String {
    let ran = greenroom(args).args(paths).output().expect("the binary runs");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(ran.status.code(), Some(code), "{args:?}: {out}{err}");
    assert!(!err.contains("panicked"), "{err}");
    if code > 3 { err.into_owned() } else { out.into_owned() }
}

/// Everything that an export holds, without the line that says when it was written.
fn lines_of(file: &Path) -> Vec<String> {
    let packed = std::fs::read(file).expect("it was written");
    let text = zstd::decode_all(&packed[..]).expect("zstd");
    String::from_utf8(text).expect("text").lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn a_copy_made_under_load_is_sound_starts_and_moves_to_another_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let data = path("data");
    let place = Place::Folder(&data);
    let (runtime, reports) = (runtime(), Reports::new());
    let key = runtime.block_on(place.key());
    let server = Serve::on(&place);
    under_load(&reports, server.at, &key, || {
        reports.wait_for(40);
        let said = run(0, &["serve", "backup", "--data"], &[&data, &path("copy")]);
        assert!(said.contains("Copy") && said.contains("Reports"), "{said}");
        reports.wait_for(10);
    });
    // The server is in nobody's way, and what is there is not written over.
    run(69, &["serve", "export", "--data"], &[&data, &path("x")]);
    run(73, &["serve", "backup", "--data"], &[&data, &path("copy")]);
    drop(server);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(path("copy")).expect("there").permissions(),
    );
    assert_eq!(mode & 0o077, 0, "for this user alone");
    assert!(run(0, &["serve", "verify", "--data"], &[&path("copy")]).contains("nothing is wrong"));

    // From the copy to PostgreSQL and back.
    run(0, &["serve", "export", "--data"], &[&path("copy"), &path("one")]);
    let cluster = postgres::shared();
    let url = cluster.database();
    let said = run(0, &["serve", "import", "--store", &url], &[&path("one")]);
    assert!(said.contains("0 were there already"), "{said}");
    assert!(run(0, &["serve", "import", "--store", &url], &[&path("one")]).contains("0 new"));
    run(0, &["serve", "export", "--store", &url], &[&path("two")]);
    run(0, &["serve", "import", "--data"], &[&path("back"), &path("two")]);
    run(0, &["serve", "export", "--data"], &[&path("back"), &path("three")]);
    let lines = lines_of(&path("one"));
    assert!(lines.len() >= 42, "{}", lines.len());
    assert_eq!(lines_of(&path("two")), lines);
    assert_eq!(lines_of(&path("three")), lines);
    assert!(run(64, &["serve", "backup", "--store", &url], &[&path("x")]).contains("pg_dump"));

    // Wrong input is said, and leaves nothing behind.
    run(73, &["serve", "export", "--data"], &[&path("copy"), &path("one")]);
    run(66, &["serve", "export", "--data"], &[&path("nothing"), &path("x")]);
    run(66, &["serve", "backup", "--data"], &[&path("nothing"), &path("x")]);
    let whole = std::fs::read(path("one")).expect("it was written");
    std::fs::write(path("cut"), &whole[..whole.len() / 2]).expect("writable");
    run(66, &["serve", "import", "--data"], &[&path("none"), &path("cut")]);
    run(66, &["serve", "import", "--data"], &[&path("none"), &path("no such file")]);
    for left in ["x", "x.part", "nothing", "none", "copy.part", "one.part"] {
        assert!(!path(left).exists(), "{left}");
    }

    // The copy is a store like any other: a server goes on with it.
    let copy = path("copy");
    let again = Serve::on(&Place::Folder(&copy));
    under_load(&reports, again.at, &key, || reports.wait_for(3));
}

#[test]
fn an_admin_who_forgot_the_password_gets_a_new_one_on_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (data, new, flag) = (path("data"), path("new"), Path::new("--password-file"));
    let runtime = runtime();
    let place = Place::Folder(&data);
    let now = Clock::system().now();
    let user = User {
        tenant: Tenant::FIRST,
        id: new_id(now),
        name: "ann".into(),
        role: Some(Role::Admin),
        created: now,
    };
    runtime.block_on(async {
        let password_hash = password::hash("the old password".into()).await.expect("hashed");
        place.open().await.add_user(&NewUser { user, password_hash }).await.expect("kept");
    });
    let set = |code, name| run(code, &["serve", "password", name, "--data"], &[&data, flag, &new]);
    std::fs::write(&new, "short\n").expect("writable");
    assert!(set(64, "ann").contains("12 to 200 characters"));
    std::fs::write(&new, "another long password\n").expect("writable");
    assert!(set(66, "bob").contains("nobody signs in as"));
    let said = set(0, "ann");
    assert!(said.contains("set for ann") && !said.contains("another long"), "{said}");
    let (is_old, is_new, log) = runtime.block_on(async {
        let store = place.open().await;
        let (_, hash) = store.user_by_name("ann").await.expect("read").expect("there");
        let is_old = password::verify("the old password".into(), Some(hash.clone())).await;
        let is_new = password::verify("another long password".into(), Some(hash)).await;
        (is_old, is_new, store.audit_log(Tenant::FIRST, None, 10).await.expect("read"))
    });
    assert!(!is_old && is_new);
    assert_eq!((log[0].action.as_str(), log[0].actor.as_str()), ("user.password", "command line"));
}
