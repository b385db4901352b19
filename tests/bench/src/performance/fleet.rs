//! A fleet of 100,000 agents that do not exist against one node: on PostgreSQL, on PostgreSQL behind three NATS servers, and watched by a
//! node that knows what is usual for each of them.

#[allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "shared with tests, of which it uses a part"
)]
#[path = "../../../support/nats.rs"]
mod nats;

mod history;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use greenroom::net::clock::Clock;
use greenroom_reports::units::Micros;
use greenroom_web::auth::key;
use greenroom_web::detect::Figure;
use greenroom_web::store::postgres::{PostgresStore, PostgresUrl};
use greenroom_web::store::{AccountStore as _, IncidentStore as _, KeyUse, Tenant};
use serde_json::Value;

use self::nats::Servers;
use super::ingest::database::Database;
use super::ingest::http::{Connection, flood};
use super::ingest::made::Maker;
use crate::Fallible;
use crate::process::{self, free_tcp_port, output_of, pause};
use crate::record::{Goal, Section, percentile};

/// Agents, unless `GREENROOM_BENCH_AGENTS` says otherwise.
const AGENTS: f64 = 100_000.0;

/// Of the fleet that is made up.
const SEED: u64 = 1;

/// How long agents are watched: an interval of five minutes, what its reports may be late, and what comes before it begins.
const MINUTES_WATCHED: u32 = 12;

/// Reports of this program's own that are looked for under load.
const LOOKED_FOR: usize = 15;

/// How long a server is gone when it is started again.
const GONE: Duration = Duration::from_secs(8);

const KEPT: &str = "reports kept a second";
const NODE: &str = "node: share of the machine's two cores";
const MEMORY: &str = "node: resident memory at most";
const GENERATOR: &str = "generator: share of the two cores";
const OTHERS: &str = "database, NATS and all else: share of the two cores";
const ANSWER: &str = "from sending to 202, p99";
const VISIBLE: &str = "from sending until it is found, p95";
const HERD: &str = "most reports in one second after a restart, over those due";
const REPLAY: &str = "reports that count more than once when each is sent three times";

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    let agents = std::env::var("GREENROOM_BENCH_AGENTS").ok().and_then(|text| text.parse().ok());
    let agents: f64 = agents.unwrap_or(AGENTS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let database = Database::start()?;
    for with_nats in [false, true] {
        let servers = with_nats.then(|| Servers::start(3));
        let bus = servers.as_ref().map(Servers::url);
        let who = if with_nats { "PostgreSQL and three NATS servers" } else { "PostgreSQL" };
        let mut bench = Bench::begin(&runtime, &database, bus.as_deref())?;
        bench.load(section, &runtime, &format!("{who}, a report each 5 min"), agents, 1, &[])?;
        let backlog = ["--backlog-minutes", "2"];
        bench.load(section, &runtime, &format!("{who}, three times as many"), agents, 1, &backlog)?;
        if !with_nats {
            bench.restart(section, who, agents)?;
        }
    }
    with_history(section, &runtime, &database, agents)?;
    replay(section, &runtime, &database)?;
    section.group_by_what();
    section.note(&format!(
        "`greenroom simulate` with {agents} agents, each with a run every 5 minutes and another each hour ({:.0} reports/s), against one \
         `greenroom serve`; all agents watched: change detection knows what is usual for each of them, as after a month (of {} it is learned, \
         the others are alike), for {MINUTES_WATCHED} minutes, so that intervals of it are taken in meanwhile; three times as many: what the fleet made in the 2 minutes before comes beside it. Generator, node, PostgreSQL \
         (fsync on, shared_buffers 512 MB) and the NATS servers (three copies, `sync_interval: always`) share the machine's two cores. All \
         agents send with one key: a real agent's bearer costs the node one look-up by id in place of the key's, and each quarter of an hour a \
         challenge and a signature. Each report is some 24 kB of JSON, 6 kB packed. A minute each, but for that; found: this program's own \
         reports, by their code over the API. The restart: SIGTERM, {} s without a server, and the rest of a minute.",
        agents * (1.0 / 300.0 + 1.0 / 3_600.0),
        history::DIFFERENT,
        GONE.as_secs(),
    ));
    if cfg!(debug_assertions) {
        section.note("Measured with the development build (optimized by one level, its own code with checks): a release takes less.");
    }
    Ok(())
}

/// A database, a node on it, and keys for both ways.
struct Bench {
    folder: tempfile::TempDir,
    url: String,
    bus: Option<String>,
    send: String,
    read: String,
    port: u16,
    node: Node,
}

impl Bench {
    fn begin(runtime: &tokio::runtime::Runtime, database: &Database, bus: Option<&str>) -> Fallible<Self> {
        Self::begin_with(runtime, database, bus, 0)
    }

    /// With a store that knows what is usual for so many agents.
    fn begin_with(
        runtime: &tokio::runtime::Runtime,
        database: &Database,
        bus: Option<&str>,
        agents: u32,
    ) -> Fallible<Self> {
        let (folder, url) = (tempfile::tempdir()?, database.empty()?);
        let keys = runtime.block_on(async {
            let store = PostgresStore::open(&PostgresUrl::read(&url)?).await?;
            let mut keys = Vec::new();
            for good_for in [KeyUse::Send, KeyUse::ReadPersonal] {
                let (shown, kept) =
                    key::mint(Tenant::FIRST, "bench".into(), good_for, Clock::start().started());
                store.add_key(&kept).await?;
                keys.push(shown);
            }
            history::keep(&store, agents, Clock::start().started()).await?;
            store.close().await;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(keys)
        })?;
        let [send, read] = <[String; 2]>::try_from(keys).map_err(|_| "two keys were made")?;
        std::fs::write(folder.path().join("key"), &send)?;
        let port = free_tcp_port()?;
        let node = Node::start(folder.path(), &url, bus, port)?;
        Ok(Self { folder, url, bus: bus.map(str::to_owned), send, read, port, node })
    }

    fn simulate(&self, agents: f64, minutes: u32, more: &[&str]) -> Fallible<Child> {
        let child = Command::new(process::greenroom()?)
            .args(["-q", "simulate", "--minutes", &minutes.to_string(), "--seed", &SEED.to_string()])
            .args(["--connections", "64", "--to"])
            .arg(format!("http://127.0.0.1:{}", self.port))
            .args(["--agents", &format!("{agents:.0}"), "--key-file"])
            .arg(self.folder.path().join("key"))
            .args(["--json", "-"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(child)
    }

    /// Minutes of the fleet.
    fn load(
        &mut self,
        section: &mut Section,
        runtime: &tokio::runtime::Runtime,
        who: &str,
        agents: f64,
        minutes: u32,
        more: &[&str],
    ) -> Fallible<()> {
        let clock = Clock::start();
        let (spent, machine) = (process::spent_ms(self.node.0.id())?, busy_s()?);
        let generator = self.simulate(agents, minutes, more)?;
        pause(Duration::from_secs(10));
        let mut found = self.looked_for(runtime)?;
        let told = ended(generator)?;
        let took = clock.now().as_secs();
        let share = |spent: f64| 100.0 * spent / took / 2.0;
        let node = share((process::spent_ms(self.node.0.id())? - spent) / 1_000.0);
        let own = 100.0 * figure(&told, "cpu_ratio")? * figure(&told, "took_s")? / took / 2.0;
        let all = share(busy_s()? - machine);
        let kept = figure(&told, "accepted")? / figure(&told, "took_s")?;
        if figure(&told, "left")? + figure(&told, "refused")? > 0.0 {
            return Err(format!("{who}: not all were kept: {told}").into());
        }
        section.add(KEPT, who, "reports/s", kept);
        section.add(NODE, who, "%", node).goal(Goal::AtMost(50.0));
        let memory = process::memory_kb(self.node.0.id(), "VmHWM:")? * 1_024.0 / 1e6;
        section.add(MEMORY, who, "MB", memory).goal(Goal::AtMost(512.0));
        section.add(GENERATOR, who, "%", own);
        section.add(OTHERS, who, "%", all - node - own);
        section.add(ANSWER, who, "ms", figure(&told, "to_202_p99_ms")?);
        let visible = percentile(&mut found, 95).ok_or("nothing was looked for")?;
        section.add(VISIBLE, who, "ms", visible / 1_000.0).goal(Goal::AtMost(2_000.0));
        Ok(())
    }

    /// How long after it was begun to be sent a report is found.
    fn looked_for(&self, runtime: &tokio::runtime::Runtime) -> Fallible<Vec<Micros>> {
        let (clock, mut maker) = (Clock::start(), Maker::new()?);
        let mut connection = Connection::open(self.port)?;
        let mut took = Vec::new();
        for _ in 0..LOOKED_FOR {
            let (code, body) = maker.packed(20)?;
            let begun = clock.now();
            runtime.block_on(flood(self.port, &self.send, vec![(code.clone(), body)], 1))?;
            loop {
                let (status, answer) = connection.get(&format!("/api/v1/reports?code={code}"), &self.read)?;
                if status == 200 && answer.contains(code.as_str()) {
                    break;
                }
                if clock.now() - begun > Micros::from_secs(30) {
                    return Err(format!("{code} is not found: {status} {answer}").into());
                }
                pause(Duration::from_millis(5));
            }
            took.push(clock.now() - begun);
            pause(Duration::from_secs(1));
        }
        Ok(took)
    }

    /// A node that is stopped and started again while the fleet reports.
    fn restart(&mut self, section: &mut Section, who: &str, agents: f64) -> Fallible<()> {
        let generator = self.simulate(agents, 1, &[])?;
        pause(Duration::from_secs(15));
        output_of(Command::new("kill").arg("-TERM").arg(self.node.0.id().to_string()))?;
        self.node.0.wait()?;
        pause(GONE);
        self.node = Node::start(self.folder.path(), &self.url, self.bus.as_deref(), self.port)?;
        let told = ended(generator)?;
        if figure(&told, "left")? + figure(&told, "refused")? > 0.0 {
            return Err(format!("not all were kept: {told}").into());
        }
        let due = agents * (1.0 / 300.0 + 1.0 / 3_600.0);
        let most = figure(&told, "most_in_a_second")? / due;
        section.add(HERD, who, "×", most).goal(Goal::AtMost(4.0));
        Ok(())
    }
}

/// A fleet of which all is known that change detection learns from a month, for as long as it takes that an interval of it is over.
fn with_history(
    section: &mut Section,
    runtime: &tokio::runtime::Runtime,
    database: &Database,
    agents: f64,
) -> Fallible<()> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of agents")]
    let known = agents as u32;
    let mut bench = Bench::begin_with(runtime, database, None, known)?;
    bench.load(section, runtime, "PostgreSQL, all agents watched", agents, MINUTES_WATCHED, &[])?;
    let watches = runtime.block_on(async {
        let store = PostgresStore::open(&PostgresUrl::read(&bench.url)?).await?;
        let detector = store.detector(Tenant::FIRST).await?;
        store.close().await;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(detector.map_or(0, |it| it.knows.watches))
    })?;
    if watches < usize::try_from(known)? * Figure::ALL.len() {
        return Err(format!("{watches} figures are watched of {known} agents").into());
    }
    Ok(())
}

/// Each report sent three times, and the sums computed again from all that is kept.
fn replay(section: &mut Section, runtime: &tokio::runtime::Runtime, database: &Database) -> Fallible<()> {
    let bench = Bench::begin(runtime, database, None)?;
    let told = ended(bench.simulate(6_000.0, 1, &["--times", "3"])?)?;
    let (accepted, duplicate) = (figure(&told, "accepted")?, figure(&told, "duplicate")?);
    if (duplicate - 2.0 * accepted).abs() > 0.5 {
        return Err(format!("each was to be kept once and found twice: {told}").into());
    }
    let verified =
        output_of(Command::new(process::greenroom()?).args(["serve", "verify", "--store", &bench.url]))?;
    let twice = if verified.contains("nothing is wrong") { 0.0 } else { 1.0 };
    section.add(REPLAY, "PostgreSQL", "", twice).goal(Goal::AtMost(0.0));
    Ok(())
}

/// A running node. Killed when dropped.
struct Node(Child);

impl Node {
    fn start(folder: &Path, store: &str, bus: Option<&str>, port: u16) -> Fallible<Self> {
        let mut command = Command::new(process::greenroom()?);
        command
            .args([
                "-q",
                "serve",
                "--endpoint",
                "off",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--store",
                store,
                "--data",
            ])
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(bus) = bus {
            command.args(["--bus", bus]);
        }
        let mut node = Self(command.spawn()?);
        let clock = Clock::start();
        while clock.now() < Micros::from_secs(30) {
            if let Ok(mut connection) = Connection::open(port)
                && connection.get("/healthz", "").is_ok_and(|(status, _)| status == 200)
            {
                return Ok(node);
            }
            if let Some(status) = node.0.try_wait()? {
                return Err(format!("greenroom serve ended at once: {status}").into());
            }
            pause(Duration::from_millis(5));
        }
        Err("greenroom serve does not answer".into())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a generator told at its end.
fn ended(generator: Child) -> Fallible<Value> {
    let ended = generator.wait_with_output()?;
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    serde_json::from_str(&text).map_err(|error| format!("greenroom simulate told {text:?}: {error}").into())
}

fn figure(told: &Value, name: &str) -> Fallible<f64> {
    told[name].as_f64().ok_or_else(|| format!("greenroom simulate did not tell {name}").into())
}

/// Processor time of the whole machine, in seconds.
fn busy_s() -> Fallible<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let fields: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    let at = |place: usize| fields.get(place).copied().unwrap_or(0.0);
    Ok((at(0) + at(1) + at(2) + at(5) + at(6)) / 100.0)
}
