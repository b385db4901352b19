//! Reports sent to a server that may be killed: which were acknowledged, and whether these are there.
#![expect(clippy::disallowed_methods, reason = "a test sends over sockets of its own")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

use greenroom_reports::schema::Report;
use greenroom_web::auth::key;
use greenroom_web::clock::Clock;
use greenroom_web::store::postgres::{PostgresStore, PostgresUrl};
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::{KeyUse, Store, Tenant};
use greenroom_web::verify::verify;
use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::support::greenroom;
use crate::testing;

/// How many send at once.
const SENDERS: usize = 3;

/// Where the server keeps reports.
pub(crate) enum Place<'a> {
    Folder(&'a Path),
    Database(&'a str, &'a Path),
}

impl Place<'_> {
    pub(crate) async fn open(&self) -> Box<dyn Store> {
        match self {
            Self::Folder(folder) => Box::new(SqliteStore::open(folder).await.expect("it opens")),
            Self::Database(url, _) => {
                let url = PostgresUrl::read(url).expect("an address");
                Box::new(PostgresStore::open(&url).await.expect("it opens"))
            }
        }
    }

    /// A key to send reports with.
    pub(crate) async fn key(&self) -> String {
        let store = self.open().await;
        let (shown, kept) = key::mint(Tenant::FIRST, "laptops".into(), KeyUse::Send, Clock::system().now());
        store.add_key(&kept).await.expect("it is kept");
        shown
    }
}

/// A running server. Killed when dropped.
pub(crate) struct Serve {
    pub(crate) child: Child,
    pub(crate) at: SocketAddr,
}

impl Serve {
    pub(crate) fn on(place: &Place<'_>) -> Self {
        Self::with(place, &[])
    }

    /// With further arguments.
    pub(crate) fn with(place: &Place<'_>, more: &[&str]) -> Self {
        let mut command = greenroom(["serve", "--listen", "127.0.0.1:0", "--endpoint", "off"]);
        command.args(more).arg("--data");
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

    pub(crate) fn signal(&self, signal: Signal) {
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
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends over one connection as long as that lasts.
pub(crate) struct Sender<'a> {
    pub(crate) at: SocketAddr,
    pub(crate) key: &'a str,
    pub(crate) stream: Option<BufReader<TcpStream>>,
}

impl Sender<'_> {
    pub(crate) fn send(&mut self, json: &[u8]) -> io::Result<Answer> {
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
pub(crate) struct Reports {
    pub(crate) begin: Timestamp,
    pub(crate) made: Mutex<BTreeMap<u64, Vec<u8>>>,
    pub(crate) acknowledged: Mutex<BTreeSet<u64>>,
    /// Told of each answer.
    pub(crate) answered: Condvar,
    /// Whether one that is sent again has to be called a duplicate at once.
    pub(crate) knows_again: bool,
    /// How many were refused.
    pub(crate) refused: Mutex<u64>,
}

impl Reports {
    pub(crate) fn new() -> Self {
        let begin = Clock::system().now().checked_sub(SignedDuration::from_hours(2)).expect("a time");
        Self {
            begin,
            made: Mutex::default(),
            acknowledged: Mutex::default(),
            answered: Condvar::new(),
            knows_again: true,
            refused: Mutex::default(),
        }
    }

    pub(crate) fn made(&self, n: u64) -> Report {
        let mut report = testing::report(n % 50);
        report.id = testing::id(n);
        report.code = greenroom_reports::assess::short_code(report.id);
        let after = SignedDuration::from_secs(i64::try_from(n).expect("small"));
        report.started = self.begin.checked_add(after).expect("a time");
        report.labels.insert("site".into(), ["Lyon", "Oslo"][usize::from(n.is_multiple_of(2))].into());
        report
    }

    /// The next one to send: one that was not acknowledged and that nobody else is sending, or a new one.
    pub(crate) fn next(&self, sending: &Mutex<BTreeSet<u64>>) -> (u64, Vec<u8>) {
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
    pub(crate) fn keep_sending(
        &self,
        sender: &mut Sender<'_>,
        sending: &Mutex<BTreeSet<u64>>,
        enough: &AtomicBool,
    ) {
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
                if again.status == 202 && self.knows_again {
                    assert!(again.body.contains("\"duplicate\""), "report {n} was lost: {}", again.body);
                }
            }
        }
    }

    /// Waits until so many more are acknowledged.
    pub(crate) fn wait_for(&self, more: usize) {
        let begin = self.acknowledged.lock().expect("no panic");
        let wanted = begin.len() + more;
        drop(self.answered.wait_while(begin, |acknowledged| acknowledged.len() < wanted));
    }

    /// Waits until one more is refused.
    pub(crate) fn wait_for_refusal(&self, before: u64) {
        let refused = self.refused.lock().expect("no panic");
        drop(self.answered.wait_while(refused, |refused| *refused <= before));
    }

    /// Waits until a store holds every report that was acknowledged.
    pub(crate) async fn wait_until_kept(&self, store: &dyn Store) {
        let acknowledged = self.acknowledged.lock().expect("no panic").clone();
        for n in acknowledged {
            while store.summary(Tenant::FIRST, testing::id(n)).await.expect("it can be read").is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }

    /// Looks whether a store holds every report that was acknowledged as it was sent, and whether all of it is sound.
    pub(crate) async fn check(&self, store: &dyn Store) {
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

pub(crate) fn seeded() -> StdRng {
    let seed = std::env::var("GREENROOM_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("GREENROOM_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Lets some send while `meanwhile` goes on; they end when it ends or the server does.
pub(crate) fn under_load(reports: &Reports, at: SocketAddr, key: &str, meanwhile: impl FnOnce()) {
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
