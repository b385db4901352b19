//! What this machine was doing meanwhile: CPU from /proc/stat, UDP counters from /proc/net/snmp, the system's name.
//!
//! The UDP counters are machine-wide and only a cross-check; a socket's own drops are exact.

use greenroom_reports::trace::HostLoad;

mod footprint;

pub use footprint::{give_back_soon, release_code};

/// Ticks of all cores together since the machine started (proc(5), /proc/stat).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTicks {
    busy: u64,
    idle: u64,
    steal: u64,
    cores: u16,
}

impl CpuTicks {
    /// Reads them; `None` where there is no /proc/stat.
    pub fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// Reads them out of the text of /proc/stat.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let total = lines.next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = total.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        // user nice system idle iowait irq softirq steal; guest time is in user and nice already.
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
        let cores = lines.take_while(|line| line.starts_with("cpu")).count();
        Some(Self {
            busy: user + nice + system + irq + softirq,
            idle: idle + iowait,
            steal,
            cores: u16::try_from(cores).ok()?,
        })
    }

    /// How many cores there are, as the system counts them.
    pub const fn cores(&self) -> u16 {
        self.cores
    }

    /// The load since `earlier`; `None` when no tick passed.
    #[expect(clippy::cast_precision_loss, reason = "ticks of a run stay far below 2^53")]
    pub fn since(&self, earlier: &Self) -> Option<HostLoad> {
        let busy = self.busy.saturating_sub(earlier.busy);
        let steal = self.steal.saturating_sub(earlier.steal);
        let total = busy + steal + self.idle.saturating_sub(earlier.idle);
        (total > 0).then(|| HostLoad {
            busy_ratio: busy as f64 / total as f64,
            steal_ratio: steal as f64 / total as f64,
            cores: self.cores,
        })
    }
}

/// UDP counters of the whole machine since it started, IPv4 (RFC 4113 and Linux's own).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UdpCounters {
    /// Datagrams that could not be delivered, full buffers included.
    pub in_errors: u64,
    /// Datagrams dropped because a receive buffer was full.
    pub receive_buffer_errors: u64,
    /// Datagrams not sent because a buffer was full.
    pub send_buffer_errors: u64,
}

impl UdpCounters {
    /// Reads them; `None` where there is no /proc/net/snmp.
    pub fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/net/snmp").ok()?)
    }

    /// Reads them out of the text of /proc/net/snmp: a line of names, then a line of values.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let (names, values) = (lines.next()?, lines.next()?);
        let value = |wanted: &str| {
            let place = names.split_whitespace().position(|name| name == wanted)?;
            values.split_whitespace().nth(place)?.parse().ok()
        };
        Some(Self {
            in_errors: value("InErrors")?,
            receive_buffer_errors: value("RcvbufErrors")?,
            send_buffer_errors: value("SndbufErrors")?,
        })
    }
}

/// The system's name for people: the distribution's own where it tells, else the kind of system.
pub fn os_name() -> String {
    std::fs::read_to_string("/etc/os-release")
        .ok()
        .and_then(|text| pretty_name(&text))
        .unwrap_or_else(|| std::env::consts::OS.to_owned())
}

fn pretty_name(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let name = value.trim().trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str =
        "cpu  100 0 50 800 40 0 10 0 0 0\ncpu0 1 0 0 0 0 0 0 0\ncpu1 1 0 0 0 0 0 0 0\nintr 5\n";
    const AFTER: &str =
        "cpu  150 10 70 860 40 0 10 60 0 0\ncpu0 1 0 0 0 0 0 0 0\ncpu1 1 0 0 0 0 0 0 0\nintr 9\n";

    #[test]
    fn load_is_the_share_of_ticks_between_two_readings() {
        let (before, after) = (CpuTicks::parse(BEFORE).unwrap(), CpuTicks::parse(AFTER).unwrap());
        // By hand: busy 50 + 10 + 20 = 80, stolen 60, idle 60; 200 in all.
        let load = after.since(&before).unwrap();
        assert_eq!(load, HostLoad { busy_ratio: 0.4, steal_ratio: 0.3, cores: 2 });
        assert_eq!(after.since(&after), None);
    }

    #[test]
    fn counters_are_found_by_name() {
        let text = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n\
                    Udp: 900 3 17 800 16 2\nUdpLite: InDatagrams\nUdpLite: 0\n";
        let expected = UdpCounters { in_errors: 17, receive_buffer_errors: 16, send_buffer_errors: 2 };
        assert_eq!(UdpCounters::parse(text), Some(expected));
    }

    #[test]
    fn other_texts_tell_nothing() {
        for text in ["", "cpu", "cpu 1 2", "cpu  a b c d e f g h", "Udp: InErrors", "Udp: A\nUdp: 1"] {
            assert_eq!(CpuTicks::parse(text), None);
            assert_eq!(UdpCounters::parse(text), None);
        }
    }

    #[test]
    fn the_distribution_is_named() {
        let text = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n";
        assert_eq!(pretty_name(text).as_deref(), Some("Debian GNU/Linux 13 (trixie)"));
        assert_eq!(pretty_name("PRETTY_NAME=\"\"\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_tells() {
        assert!(CpuTicks::read().is_some_and(|ticks| ticks.cores > 0));
        assert!(UdpCounters::read().is_some());
    }
}
