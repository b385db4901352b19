//! Other programs: servers that end with their handle, clients whose output is read, and processors to run on.

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use greenroom::net::clock::Clock;
use greenroom::net::udp::{self, UdpOptions};
use greenroom_reports::units::Micros;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::Fallible;

/// The processor of whoever answers.
pub(crate) const ANSWERING: usize = 0;
/// The processor of whoever asks.
pub(crate) const ASKING: usize = 1;

/// How long a server may take to listen.
const START: Micros = Micros::from_secs(5);

/// A program that runs until its handle is dropped.
pub(crate) struct Server(Child);

impl Server {
    /// Starts it and waits until it listens on a UDP port of IPv4 (it must not be used by anything else).
    pub(crate) fn start(command: &mut Command, port: u16) -> Fallible<Self> {
        Self::start_on(command, port, "udp")
    }

    /// The same for a TCP port of either family.
    pub(crate) fn start_tcp(command: &mut Command, port: u16) -> Fallible<Self> {
        Self::start_on(command, port, "tcp6")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    fn start_on(command: &mut Command, port: u16, table: &str) -> Fallible<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = Self(child.map_err(|error| format!("cannot start {name}: {error}"))?);
        // As the program itself sees it: it may live in a network namespace of its own.
        let table = format!("/proc/{}/net/{table}", server.pid());
        let wanted = format!(":{port:04X} ");
        let clock = Clock::start();
        while clock.now() < START {
            if std::fs::read_to_string(&table).is_ok_and(|table| table.contains(&wanted)) {
                return Ok(server);
            }
            if let Some(status) = server.0.try_wait()? {
                return Err(format!("{name} ended at once: {status}").into());
            }
            pause(Duration::from_millis(2));
        }
        Err(format!("{name} does not listen on port {port}").into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end, at most a minute long, and returns what it wrote to standard output.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Fallible<String> {
    output_of(Command::new("timeout").args(["60", program]).args(arguments))
}

/// The same of a command that has been put together before.
pub(crate) fn output_of(command: &mut Command) -> Fallible<String> {
    let run = command.stdin(Stdio::null()).output();
    let run = run.map_err(|error| format!("cannot start {command:?}: {error}"))?;
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr);
        return Err(format!("{command:?}: {} {said}", run.status).into());
    }
    Ok(String::from_utf8_lossy(&run.stdout).into_owned())
}

/// The output of a program, read as JSON.
pub(crate) fn json(program: &str, arguments: &[&str]) -> Fallible<serde_json::Value> {
    let text = output(program, arguments)?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{program} wrote no JSON: {error}"))?)
}

/// A port of loopback that is free now for TCP: another than UDP's, which connections that end may hold.
#[expect(clippy::disallowed_methods, reason = "the port is for another program")]
pub(crate) fn free_tcp_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A port of loopback that is free now for UDP.
pub(crate) fn free_port() -> Fallible<u16> {
    Ok(udp::open(&UdpOptions::new("127.0.0.1:0".parse()?), Clock::start())?.local_addr().port())
}

/// Runs something on a thread that stays on one processor; threads and programs that it starts stay there too.
pub(crate) fn on_core<T: Send>(core: usize, work: impl FnOnce() -> Fallible<T> + Send) -> Fallible<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut set = CpuSet::new();
            set.set(core % std::thread::available_parallelism()?.get())?;
            sched_setaffinity(Pid::from_raw(0), &set)?;
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Processor time of a process so far, in milliseconds.
pub(crate) fn spent_ms(process: u32) -> Fallible<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |at: usize| -> Fallible<f64> { Ok(fields.get(at).ok_or("/proc/PID/stat is short")?.parse()?) };
    // A tick is a hundredth of a second on Linux.
    Ok((ticks(11)? + ticks(12)?) * 10.0)
}

/// Resident memory of a process in KB of 1,024 bytes: of now (`VmRSS:`), or the most that it was (`VmHWM:`).
pub(crate) fn memory_kb(process: u32, which: &str) -> Fallible<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(which)).ok_or("no such line")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
}

/// Waits for a foreign program that tells nobody when it is ready.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The release build of `greenroom` beside this program.
pub(crate) fn greenroom() -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("greenroom"))
}

/// `stamp-suite`: where `./dev bench` has put it, else wherever it is found.
pub(crate) fn stamp_suite() -> String {
    std::env::var("STAMP_SUITE").unwrap_or_else(|_| "stamp-suite".to_owned())
}
