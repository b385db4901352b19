//! What an agent costs the computer that it is on, and how it gets rid of a week that its server was away.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use greenroom::agent::spool::{Folder, Limits, Spool};
use greenroom::net::clock::Clock;
use greenroom_reports::fleet::Schedule;
use greenroom_reports::schema::{Kind, Mode, Source, Use};
use greenroom_reports::units::Micros;
use greenroom_web::auth::agent::{NewEnrollToken, mint_enroll};
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::{AgentStore as _, Filter, FleetPlan, ReportStore as _, Summary, Tenant};
use jiff::SignedDuration;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::ingest::Serve;
use super::ingest::made::Maker;
use crate::Fallible;
use crate::process::{self, output_of, pause};
use crate::record::{Goal, Section, percentile};

/// Reports that are written down in a round.
const APPENDS: usize = 500;
const ROUNDS: usize = 5;

/// A week of a report each five minutes.
const WEEK: u64 = 7 * 288;

/// How long an agent with a week behind it is watched, and one without; and how long one that has nothing to do.
const WATCHED: Duration = Duration::from_secs(100);
const IDLE: Duration = Duration::from_secs(80);

/// From run to run, in seconds: the least that a schedule may have.
const EVERY_S: u32 = 10;

/// After how many seconds an agent with nothing to send asks. From it follows how fast what is old is sent.
const CHECK_IN_S: u32 = 60;

const APPEND: &str = "writing a report down to stay";
const APPEND_LATE: &str = "the same, p99";
const FROM_END: &str = "from the end of a run until the server keeps its report, p95";
const RUNS: &str = "runs reported meanwhile, of those due";
const OLD: &str = "old reports sent in a minute";
const MEMORY: &str = "resident memory of an agent between runs";
const PROCESSOR: &str = "processor time of an agent between runs";

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    for round in 0..ROUNDS {
        let place = folder.path().join(round.to_string());
        for (who, mut took) in [
            ("the agent's spool", appended(&place.join("spool"))?),
            ("a file each: written, synced, renamed", as_files(&place.join("files"))?),
            ("bytes into a file that is there, synced", as_bytes(&place.join("bytes"))?),
        ] {
            let is_ours = who == "the agent's spool";
            let p50 = percentile(&mut took, 50).ok_or("nothing was written")?;
            let p99 = percentile(&mut took, 99).ok_or("nothing was written")?;
            let row = section.add(APPEND, who, "ms", p50 / 1_000.0);
            if is_ours {
                row.goal(Goal::AtMost(1.0));
            }
            section.add(APPEND_LATE, who, "ms", p99 / 1_000.0);
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    for (who, waiting) in [("nothing waits", 0), ("a week's 2,016 reports wait", WEEK)] {
        Fleet::begin(&runtime, true)?.work(section, &runtime, who, waiting)?;
    }
    Fleet::begin(&runtime, false)?.rest(section)?;
    section.group_by_what();
    section.note(&format!(
        "Written down: {APPENDS} reports of {} bytes a round, on the disk that temporary files are on, one after the other; the spool writes and \
         syncs each before it answers. The agent with a week behind it runs a check each {EVERY_S} s beside, and is watched for {} s; it is told \
         to ask each {CHECK_IN_S} s when it has nothing to send, so that an old report follows the one before after a second: after five with the \
         300 s that are the default, whatever the server has to do, so that a week is sent in less than three hours and a fleet that comes back \
         does not come at once. Between runs: an agent without a schedule, {} s after its start.",
        payload()?.len(),
        WATCHED.as_secs(),
        IDLE.as_secs(),
    ));
    Ok(())
}

/// What an agent writes down of a usual run: a report without its samples, packed.
fn payload() -> Fallible<Vec<u8>> {
    Ok(Maker::new()?.packed(1)?.1)
}

/// How long each of some reports takes to be written into a spool.
fn appended(folder: &Path) -> Fallible<Vec<Micros>> {
    let mut spool = Spool::open(Folder::open(folder)?, Limits::default())?;
    let (payload, mut maker, clock) = (payload()?, Maker::new()?, Clock::start());
    let mut took = Vec::new();
    for _ in 0..APPENDS {
        let report = maker.report(1)?;
        let before = clock.now();
        spool.append(report.id, report.started, &payload)?;
        took.push(clock.now() - before);
    }
    Ok(took)
}

/// The same, a file for each.
fn as_files(folder: &Path) -> Fallible<Vec<Micros>> {
    fs::create_dir_all(folder)?;
    let (payload, clock) = (payload()?, Clock::start());
    let mut took = Vec::new();
    for number in 0..APPENDS {
        let before = clock.now();
        let (begun, whole) = (folder.join("begun"), folder.join(number.to_string()));
        let mut file = File::create(&begun)?;
        file.write_all(&payload)?;
        file.sync_all()?;
        fs::rename(&begun, &whole)?;
        File::open(folder)?.sync_all()?;
        took.push(clock.now() - before);
    }
    Ok(took)
}

/// What the disk itself takes.
fn as_bytes(folder: &Path) -> Fallible<Vec<Micros>> {
    fs::create_dir_all(folder)?;
    let (payload, clock) = (payload()?, Clock::start());
    let mut file = File::create(folder.join("all"))?;
    file.write_all(&vec![0; payload.len() * APPENDS])?;
    file.sync_all()?;
    let mut file = File::options().write(true).open(folder.join("all"))?;
    let mut took = Vec::new();
    for _ in 0..APPENDS {
        let before = clock.now();
        file.write_all(&payload)?;
        file.sync_data()?;
        took.push(clock.now() - before);
    }
    Ok(took)
}

/// A server, and a computer that is enrolled.
struct Fleet {
    folder: tempfile::TempDir,
    server: Serve,
    agent: String,
}

impl Fleet {
    fn begin(runtime: &Runtime, has_schedule: bool) -> Fallible<Self> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        let now = Clock::start().started();
        let token = runtime.block_on(async {
            let store = SqliteStore::open(&data).await?;
            let new = NewEnrollToken {
                name: "bench".into(),
                site: None,
                approve: false,
                author: "bench".into(),
                expires: now.checked_add(SignedDuration::from_hours(1))?,
                most: 1,
            };
            let (token, kept) = mint_enroll(Tenant::FIRST, new, now);
            store.add_enroll_token(&kept).await?;
            store.set_fleet_plan(Tenant::FIRST, &plan(has_schedule)?, now).await?;
            store.close().await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(token)
        })?;
        let server = Serve::start(&data)?;
        let (state, file) = (folder.path().join("agent"), folder.path().join("token"));
        fs::write(&file, token)?;
        output_of(
            Command::new(process::greenroom()?)
                .args([
                    "agent",
                    "enroll",
                    "--server",
                    &format!("http://127.0.0.1:{}", server.port()),
                    "--token-file",
                ])
                .arg(&file)
                .arg("--state")
                .arg(&state),
        )?;
        let enrolled: Value = serde_json::from_str(&fs::read_to_string(state.join("enrolled.json"))?)?;
        let agent = enrolled["agent"].as_str().ok_or("enrolled.json names no agent")?.to_owned();
        Ok(Self { folder, server, agent })
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    /// Lets it run its schedule with so many reports of before in its spool.
    fn work(self, section: &mut Section, runtime: &Runtime, who: &str, waiting: u64) -> Fallible<()> {
        self.fill(waiting)?;
        let begun = Clock::start().started();
        let agent = Running::start(&self.state())?;
        pause(WATCHED);
        drop(agent);
        let Self { folder, server, agent } = self;
        drop(server);
        let kept = runtime.block_on(kept(&folder.path().join("data"), &agent))?;
        let (old, fresh): (Vec<_>, Vec<_>) = kept.into_iter().partition(|found| found.started < begun);
        let mut took = fresh.iter().map(from_end).collect::<Fallible<Vec<_>>>()?;
        let p95 = percentile(&mut took, 95).ok_or("the agent reported no run")?;
        section.add(FROM_END, who, "ms", p95 / 1_000.0);
        #[expect(clippy::cast_precision_loss, reason = "some dozens")]
        let (runs, old) = (fresh.len() as f64, old.len() as f64);
        section.add(RUNS, who, "%", 100.0 * runs / (WATCHED.as_secs_f64() / f64::from(EVERY_S)));
        if waiting > 0 {
            section.add(OLD, who, "reports", old / WATCHED.as_secs_f64() * 60.0);
        }
        Ok(())
    }

    /// Puts reports of the week before into the spool.
    fn fill(&self, waiting: u64) -> Fallible<()> {
        let mut maker = Maker::new()?;
        let mut spool = Spool::open(Folder::open(&self.state().join("spool"))?, Limits::default())?;
        let base = maker.now();
        for number in 0..waiting {
            let ago = i64::try_from(waiting - number)? * 299;
            let made = base.checked_sub(SignedDuration::from_secs(ago))?;
            let mut report = maker.report(1)?;
            report.kind = Kind::Agent;
            report.tool.source = Source::Agent;
            report.started = made;
            report.labels.clear();
            report.agent.id = Some(self.agent.clone());
            report.agent.boot = Some("before".to_owned());
            report.agent.seq = Some(number + 1);
            let packed = zstd::bulk::compress(&serde_json::to_vec(&report)?, 3)?;
            spool.append(report.id, made, &packed)?;
        }
        Ok(())
    }

    /// Lets it do nothing.
    fn rest(self, section: &mut Section) -> Fallible<()> {
        let agent = Running::start(&self.state())?;
        pause(IDLE / 4);
        let before = agent.spent_ms()?;
        pause(IDLE);
        let share = (agent.spent_ms()? - before) / IDLE.as_secs_f64() / 10.0;
        section.add(MEMORY, "greenroom agent", "MB", agent.resident_mb()?).goal(Goal::AtMost(10.0));
        section.add(PROCESSOR, "greenroom agent", "% of a core", share).goal(Goal::AtMost(0.1));
        Ok(())
    }
}

/// What agents do, and whether there is anything to do.
fn plan(has_schedule: bool) -> Fallible<FleetPlan> {
    let target = format!("tcp:{}", somebody_who_listens()?);
    let schedule = Schedule {
        id: "bench".into(),
        targets: vec![target.clone()],
        uses: vec![Use::Audio],
        mode: Mode::Quick,
        every_s: EVERY_S,
        start: None,
        until: None,
        max_runs: None,
        in_call: true,
        metered: true,
    };
    Ok(FleetPlan {
        check_in_s: CHECK_IN_S,
        targets: vec![target],
        schedules: if has_schedule { vec![schedule] } else { Vec::new() },
        ..FleetPlan::default()
    })
}

/// A target that takes connections, for as long as this program runs.
#[expect(clippy::disallowed_methods, reason = "a target needs a socket of its own")]
fn somebody_who_listens() -> Fallible<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    std::thread::spawn(move || listener.incoming().for_each(drop));
    Ok(at)
}

/// What the server kept of an agent.
async fn kept(data: &Path, agent: &str) -> Fallible<Vec<Summary>> {
    let store = SqliteStore::open(data).await?;
    let filter = Filter { agent: Some(agent.to_owned()), ..Filter::default() };
    let found = store.list(Tenant::FIRST, &filter, None, 5_000).await?;
    store.close().await?;
    Ok(found)
}

/// From the end of a run until its report was received.
fn from_end(found: &Summary) -> Fallible<Micros> {
    #[expect(clippy::cast_possible_truncation, reason = "some seconds in milliseconds")]
    let took = SignedDuration::from_millis(found.duration_ms as i64);
    let waited = found.received.duration_since(found.started) - took;
    Ok(Micros::new(i64::try_from(waited.as_micros())?))
}

/// A running agent. Killed when dropped.
struct Running(Child);

impl Running {
    fn start(state: &Path) -> Fallible<Self> {
        let child = Command::new(process::greenroom()?)
            .args(["-q", "agent", "run", "--state"])
            .arg(state)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    fn spent_ms(&self) -> Fallible<f64> {
        process::spent_ms(self.0.id())
    }

    fn resident_mb(&self) -> Fallible<f64> {
        Ok(process::memory_kb(self.0.id(), "VmRSS:")? * 1_024.0 / 1e6)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
