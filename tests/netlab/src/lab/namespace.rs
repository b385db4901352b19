//! Network namespaces: those at the ends of the link with a TUN device in them, and others beside.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use super::{LabError, system};

/// The device's name inside a namespace.
pub(crate) const DEVICE: &str = "link0";
/// Where iproute2 keeps named namespaces.
const NAMESPACES: &str = "/run/netns";
/// What the names of all labs' namespaces begin with; the process id follows.
const PREFIX: &str = "netlab-";

/// A network namespace of the lab. Dropping it removes it.
pub struct Namespace {
    name: String,
    file: File,
}

/// One end of the link.
pub struct Side {
    namespace: Namespace,
    ipv4: Ipv4Addr,
    ipv6: Ipv6Addr,
}

impl Deref for Side {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Namespace {
    /// Makes one, with its loopback up; `end` is a word for people who look at what the lab left.
    pub fn create(end: &str) -> Result<Self, LabError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}-{end}", std::process::id());
        ip(&["netns", "add", &name])?;
        let opened = File::open(format!("{NAMESPACES}/{name}"));
        let file = opened.map_err(|source| {
            delete(&name);
            LabError::Setup { step: format!("open network namespace {name}"), source }
        })?;
        let namespace = Self { name, file };
        namespace.ip("link set dev lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with these words in it.
    pub fn ip(&self, words: &str) -> Result<(), LabError> {
        let words: Vec<&str> = ["-n", &self.name].into_iter().chain(words.split_whitespace()).collect();
        ip(&words)
    }

    /// Lays a cable from `device` here to `peer` there (a pair of virtual Ethernet devices), and sets both up.
    pub fn connect(&self, device: &str, other: &Self, peer: &str) -> Result<(), LabError> {
        self.ip(&format!("link add {device} type veth peer name {peer} netns {}", other.name))?;
        self.ip(&format!("link set dev {device} up"))?;
        other.ip(&format!("link set dev {peer} up"))
    }

    /// Sets one of the kernel's switches under `/proc/sys/net`.
    pub fn set(&self, switch: &str, value: &str) -> Result<(), LabError> {
        let write = || std::fs::write(format!("/proc/sys/net/{switch}"), value);
        self.within(write)
            .map_err(|source| LabError::Setup { step: format!("set {switch} to {value}"), source })
    }

    /// Adds rules of the packet filter, as `nft -f` takes them.
    pub fn filter(&self, rules: &str) -> Result<(), LabError> {
        let failed = |source| LabError::Setup { step: format!("run nft with {rules}"), source };
        let mut nft = self.command("nft");
        nft.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut nft = nft.spawn().map_err(failed)?;
        if let Some(mut input) = nft.stdin.take() {
            input.write_all(rules.as_bytes()).map_err(failed)?;
        }
        let done = nft.wait_with_output().map_err(failed)?;
        if done.status.success() {
            return Ok(());
        }
        Err(failed(io::Error::other(String::from_utf8_lossy(&done.stderr).trim().to_owned())))
    }

    /// A command that will run in it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        match self.file.try_clone() {
            Ok(namespace) => {
                let enter = move || setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
                // SAFETY: between fork and exec only setns is called, which is safe there.
                unsafe { command.pre_exec(enter) };
            }
            Err(error) => {
                let code = error.raw_os_error().unwrap_or(libc::EMFILE);
                // SAFETY: the closure only makes an error number. Better no command than one at the wrong end.
                unsafe { command.pre_exec(move || Err(io::Error::from_raw_os_error(code))) };
            }
        }
        command
    }

    /// Moves the calling thread to it, for good. Sockets made before stay where they were.
    ///
    /// With an async runtime, call it in every worker as it starts.
    pub fn enter(&self) -> io::Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
    }

    /// Runs something in it, on a thread of its own.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

impl Side {
    /// Makes a namespace and its device; `host` is the last number of its addresses.
    pub(super) fn create(end: &str, host: u8) -> Result<(Self, File), LabError> {
        let side = Self {
            namespace: Namespace::create(end)?,
            ipv4: Ipv4Addr::new(10, 203, 0, host),
            ipv6: Ipv6Addr::new(0xfd00, 0x203, 0, 0, 0, 0, 0, host.into()),
        };
        let tun = side.within(|| system::open_tun(DEVICE)).map_err(LabError::NoTun)?;
        side.configure()?;
        Ok((side, tun))
    }

    /// Its IPv4 address.
    pub fn ipv4(&self) -> Ipv4Addr {
        self.ipv4
    }

    /// Its IPv6 address.
    pub fn ipv6(&self) -> Ipv6Addr {
        self.ipv6
    }

    /// Packets that this end's device dropped before the link could read them.
    pub(super) fn device_drops(&self) -> u64 {
        let read = self.within(|| std::fs::read_to_string("/proc/thread-self/net/dev"));
        read.ok().and_then(|table| tx_dropped(&table, DEVICE)).unwrap_or(0)
    }

    fn configure(&self) -> Result<(), LabError> {
        self.within(quiet_ipv6)
            .map_err(|source| LabError::Setup { step: "switch off IPv6 autoconfiguration".into(), source })?;
        // The link reads packets at once: the device's own queue only has to hold a burst.
        self.ip(&format!("link set dev {DEVICE} mtu 1500 txqueuelen 10000 up"))?;
        self.ip(&format!("address add {}/24 dev {DEVICE}", self.ipv4))?;
        self.ip(&format!("address add {}/64 dev {DEVICE} nodad", self.ipv6))
    }
}

/// Says what is missing before anything is made.
pub(super) fn check_privileges() -> Result<(), LabError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LabError::NotPrivileged);
    }
    std::fs::metadata("/dev/net/tun").map(drop).map_err(LabError::NoTun)
}

/// Removes namespaces of labs that were killed.
pub(super) fn remove_stale() {
    let Ok(entries) = std::fs::read_dir(NAMESPACES) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
            delete(&name);
        }
    }
}

/// Nobody waits for the outcome: what is left over is removed by the next lab.
fn delete(name: &str) {
    let _ = ip(&["netns", "delete", name]);
}

/// Keeps the kernel's own packets (router solicitations, multicast reports) off the link.
fn quiet_ipv6() -> io::Result<()> {
    let base = format!("/proc/sys/net/ipv6/conf/{DEVICE}");
    if !std::path::Path::new(&base).exists() {
        return Ok(());
    }
    for (key, value) in
        [("router_solicitations", "0"), ("autoconf", "0"), ("accept_ra", "0"), ("addr_gen_mode", "1")]
    {
        std::fs::write(format!("{base}/{key}"), value)?;
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<(), LabError> {
    let step = || format!("run ip {}", arguments.join(" "));
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|source| LabError::Setup { step: step(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(LabError::Setup { step: step(), source: io::Error::other(said) })
}

/// The twelfth figure of a device's line in `/proc/net/dev`.
fn tx_dropped(table: &str, device: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'))?;
    line.split_whitespace().nth(11)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_packets_are_read_from_the_right_column() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo:       1       2    3    4    5     6          7         8        9      10   11   12   13    14      15         16\n\
            link0: 1 2 3 4 5 6 7 8 9 10 11 77 13 14 15 16\n";
        assert_eq!(tx_dropped(table, "link0"), Some(77));
        assert_eq!(tx_dropped(table, "lo"), Some(12));
        assert_eq!(tx_dropped(table, "eth0"), None);
    }
}
