//! Reports into a store, over HTTP, and out again.

pub(super) mod database;
pub(super) mod http;
pub(super) mod made;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use greenroom::net::clock::Clock;
use greenroom_reports::units::Micros;
use greenroom_web::auth::key;
use greenroom_web::store::postgres::{PostgresStore, PostgresUrl};
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::{AccountStore as _, KeyUse, Outcome, Record, Store, Tenant};
use tokio::runtime::Runtime;

use self::database::Database;
use self::http::{Connection, flood, hold};
use self::made::Maker;
use crate::Fallible;
use crate::machine::own_time;
use crate::process::{self, free_tcp_port, pause};
use crate::record::{Goal, Section, percentile};

const ROUNDS: usize = 3;

/// Reports of a round, straight into a store.
const REPORTS: usize = 6_000;
/// Reports made before the clock runs: read, each takes some 60 kB.
const AT_ONCE: usize = 2_000;
/// Reports of a batch, as the server makes them.
const BATCH: usize = 200;
/// Batches at once, as the server has them.
const WRITERS: usize = 2;

/// Reports of a round over HTTP, and connections that send them.
const SENT: usize = 6_000;
const CONNECTIONS: usize = 64;

/// Look-ups of a round.
const LOOK_UPS: usize = 300;
/// Looks at the whole fleet of a round, by days and by hours.
const LOOKS: [(&str, usize); 2] = [("1d", 50), ("1h", 5)];
/// Pages that listen and hear nothing.
const LISTENERS: usize = 1_000;

const STORE: &str = "reports/s into the store";
const HTTP: &str = "reports/s from HTTP to a durable 202";
const SERVER: &str = "processor time of the server per report";
const GENERATOR: &str = "processor time of the generator per report";
const LOOK_UP: &str = "look-up by code over the API, p95";
const FLEET: &str = "percentiles of 30 days of 100,000 agents, p95";
const MEMORY: &str = "greatest memory of the server meanwhile";
const LISTENER: &str = "memory of an idle listener";
const START: &str = "from start to the first answer";

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let database = Database::start()?;
    let mut maker = Maker::new()?;
    for _ in 0..ROUNDS {
        for sites in [20, 500] {
            let folder = tempfile::tempdir()?;
            let store: Arc<dyn Store> = Arc::new(runtime.block_on(SqliteStore::open(folder.path()))?);
            let rate = into_store(&runtime, &store, &mut maker, sites)?;
            told(section, "SQLite", sites, rate);
            drop(store);
            let url = PostgresUrl::read(&database.empty()?)?;
            let store: Arc<dyn Store> = Arc::new(runtime.block_on(PostgresStore::open(&url))?);
            let rate = into_store(&runtime, &store, &mut maker, sites)?;
            told(section, "PostgreSQL", sites, rate);
        }
        over_http(section, &runtime, &mut maker)?;
    }
    section.group_by_what();
    let size = maker.size();
    section.note(&format!(
        "Reports of {size} bytes of JSON: a real check's without its samples, with histograms of 1,500 round trips and 3,000 delays, each \
         report its own; {REPORTS} a round, begun within five minutes at 20 sites (or 500) and one endpoint, in batches of {BATCH}, {WRITERS} \
         at once, synced. Reading JSON and the histograms is not part of the store's figure and is of the HTTP's: {SENT} reports packed with \
         zstd before, over {CONNECTIONS} connections, with generator and database on the same processors. PostgreSQL with fsync, \
         shared_buffers 512 MB, max_wal_size 4 GB, wal_compression lz4. The roll-ups of 100,000 agents were made for the purpose: 100 sites, \
         hours and days of 30 days, of a report each five minutes. Idle listeners: {LISTENERS} of /api/v1/events, the growth of the \
         server's resident memory.",
    ));
    Ok(())
}

fn told(section: &mut Section, store: &str, sites: usize, rate: f64) {
    let row = section.add(STORE, &format!("{store}, {sites} sites"), "reports/s", rate);
    if sites == 20 {
        row.goal(Goal::AtLeast(5_000.0));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
fn per_second(n: usize, took: Micros) -> f64 {
    n as f64 / took.as_secs()
}

/// Reports a second straight into a store.
fn into_store(runtime: &Runtime, store: &Arc<dyn Store>, maker: &mut Maker, sites: usize) -> Fallible<f64> {
    let clock = Clock::start();
    let mut took = Micros::from_secs(0);
    let mut done = 0;
    while done < REPORTS {
        let records = (0..AT_ONCE).map(|_| maker.record(sites)).collect::<Fallible<Vec<_>>>()?;
        let before = clock.now();
        runtime.block_on(ingest(store, records))?;
        took += clock.now() - before;
        done += AT_ONCE;
    }
    Ok(per_second(done, took))
}

async fn ingest(store: &Arc<dyn Store>, mut records: Vec<Record>) -> Fallible<()> {
    let mut writing = tokio::task::JoinSet::new();
    while !records.is_empty() {
        let batch = records.split_off(records.len().saturating_sub(BATCH));
        if writing.len() == WRITERS {
            check(writing.join_next().await)?;
        }
        let store = Arc::clone(store);
        writing.spawn(async move { store.ingest(batch).await });
    }
    while !writing.is_empty() {
        check(writing.join_next().await)?;
    }
    Ok(())
}

type Written = Result<greenroom_web::store::Result<Vec<Outcome>>, tokio::task::JoinError>;

fn check(written: Option<Written>) -> Fallible<()> {
    let outcomes = written.ok_or("nothing was written")???;
    let all = outcomes.iter().all(|outcome| *outcome == Outcome::Accepted);
    if all { Ok(()) } else { Err("a report was there before".into()) }
}

/// A running server.
pub(super) struct Serve {
    child: Child,
    port: u16,
    took: Micros,
}

impl Serve {
    pub(super) fn start(data: &Path) -> Fallible<Self> {
        let port = free_tcp_port()?;
        let clock = Clock::start();
        let child = Command::new(process::greenroom()?)
            .args(["serve", "--endpoint", "off", "--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self { child, port, took: Micros::from_secs(0) };
        while clock.now() < Micros::from_secs(10) {
            if let Ok(mut connection) = Connection::open(port)
                && connection.get("/healthz", "").is_ok_and(|(status, _)| status == 200)
            {
                server.took = clock.now();
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("greenroom serve ended at once: {status}").into());
            }
            pause(std::time::Duration::from_millis(1));
        }
        Err("greenroom serve does not answer".into())
    }

    /// The port of loopback that it listens on.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Processor time so far, in milliseconds.
    fn spent_ms(&self) -> Fallible<f64> {
        process::spent_ms(self.child.id())
    }

    fn memory_kb(&self, which: &str) -> Fallible<f64> {
        process::memory_kb(self.child.id(), which)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn over_http(section: &mut Section, runtime: &Runtime, maker: &mut Maker) -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    let (send, read) = runtime.block_on(async {
        let store = SqliteStore::open(folder.path()).await?;
        let mut keys = Vec::new();
        for good_for in [KeyUse::Send, KeyUse::ReadPersonal] {
            let (shown, kept) = key::mint(Tenant::FIRST, "bench".into(), good_for, maker.now());
            store.add_key(&kept).await?;
            keys.push(shown);
        }
        store.close().await?;
        match <[String; 2]>::try_from(keys) {
            Ok([send, read]) => Ok((send, read)),
            Err(_) => Err("two keys were made"),
        }
        .map_err(Box::<dyn std::error::Error + Send + Sync>::from)
    })?;
    let server = Serve::start(folder.path())?;
    section.add(START, "greenroom serve", "ms", server.took.as_ms()).goal(Goal::AtMost(300.0));
    let bodies = (0..SENT).map(|_| maker.packed(20)).collect::<Fallible<Vec<_>>>()?;
    let codes: Vec<String> = bodies.iter().map(|(code, _)| code.clone()).collect();
    let (spent, own) = (server.spent_ms()?, own_time(false)?);
    let clock = Clock::start();
    runtime.block_on(flood(server.port, &send, bodies, CONNECTIONS))?;
    let took = clock.now();
    #[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
    let each = SENT as f64;
    section
        .add(HTTP, "greenroom serve, SQLite", "reports/s", per_second(SENT, took))
        .goal(Goal::AtLeast(1_000.0));
    let of_server = (server.spent_ms()? - spent) / each;
    section.add(SERVER, "greenroom serve, SQLite", "ms", of_server).goal(Goal::AtMost(0.5));
    let of_generator = own_time(false)?.saturating_sub(own).as_secs_f64() * 1_000.0 / each;
    section.add(GENERATOR, "this program", "ms", of_generator);

    let mut connection = Connection::open(server.port)?;
    let mut took = Vec::new();
    for code in codes.iter().step_by((SENT / LOOK_UPS).max(1)) {
        let before = clock.now();
        let (status, body) = connection.get(&format!("/api/v1/reports?code={code}"), &read)?;
        took.push(clock.now() - before);
        if status != 200 || !body.contains(code.as_str()) {
            return Err(format!("{code} was not found: {status} {body}").into());
        }
    }
    let p95 = percentile(&mut took, 95).ok_or("nothing was looked up")?;
    section.add(LOOK_UP, "greenroom serve, SQLite", "ms", p95 / 1_000.0).goal(Goal::AtMost(20.0));
    drop(connection);
    idle(section, &server, &read)?;
    drop(server);

    runtime.block_on(async {
        let store = SqliteStore::open(folder.path()).await?;
        maker.fleet(&store).await?;
        store.close().await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    let server = Serve::start(folder.path())?;
    for (step, looks) in LOOKS {
        let p95 = p95_of_looks(&server, &read, maker, step, looks)?;
        let who = format!("greenroom serve, SQLite, buckets of {step}");
        let row = section.add(FLEET, &who, "ms", p95 / 1_000.0);
        if step == "1d" {
            row.goal(Goal::AtMost(50.0));
        }
        section.add(MEMORY, &who, "MB", server.memory_kb("VmHWM:")? / 1_024.0);
    }
    Ok(())
}

/// Memory that a listener costs who hears nothing.
fn idle(section: &mut Section, server: &Serve, key: &str) -> Fallible<()> {
    let before = server.memory_kb("VmRSS:")?;
    let listeners = (0..LISTENERS).map(|_| hold(server.port, key)).collect::<Fallible<Vec<_>>>()?;
    let after = server.memory_kb("VmRSS:")?;
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let each = (after - before) / listeners.len() as f64;
    section.add(LISTENER, "greenroom serve", "KB", each).goal(Goal::AtMost(16.0));
    Ok(())
}

fn p95_of_looks(server: &Serve, key: &str, maker: &Maker, step: &str, looks: usize) -> Fallible<f64> {
    let mut connection = Connection::open(server.port)?;
    let (from, to) = maker.thirty_days();
    let path = format!("/api/v1/fleet?from={from}&to={to}&step={step}");
    let clock = Clock::start();
    let mut took = Vec::new();
    for _ in 0..looks {
        let before = clock.now();
        let (status, body) = connection.get(&path, key)?;
        took.push(clock.now() - before);
        if status != 200 || !body.contains("p99") {
            return Err(format!("{path}: {status} {body}").into());
        }
    }
    percentile(&mut took, 95).ok_or_else(|| "nothing was asked".into())
}
