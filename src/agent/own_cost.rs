//! What the agent itself takes of the computer, so that it can be told.

use std::fs;

use greenroom_reports::units::Micros;

/// Ticks of `/proc/self/stat` are a hundredth of a second on every Linux that there is (proc(5), `sysconf(_SC_CLK_TCK)`).
const TICK: Micros = Micros::from_millis(10);

/// Time on processors, and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// Time on processors since the process began.
    pub(super) cpu: Micros,
    /// Resident memory.
    pub(super) rss_bytes: u64,
}

impl Cost {
    /// Of this process now. `None` where the system does not tell.
    pub(super) fn now() -> Option<Self> {
        Self::parse(
            &fs::read_to_string("/proc/self/stat").ok()?,
            &fs::read_to_string("/proc/self/status").ok()?,
        )
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The name in parentheses may hold anything, also parentheses.
        let rest = stat.rsplit_once(')')?.1;
        let mut fields = rest.split_whitespace().skip(11);
        let (user, system): (i64, i64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = rss.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(Self { cpu: TICK * user.checked_add(system)?, rss_bytes: kib.checked_mul(1_024)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_linux_writes_it() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1000 200";
        let cost = Cost::parse(stat, "Name:\tx\nVmRSS:\t    2048 kB\n").unwrap();
        assert_eq!(cost, Cost { cpu: Micros::from_secs(3), rss_bytes: 2_048 * 1_024 });
        assert_eq!(Cost::parse("", ""), None);
        #[cfg(target_os = "linux")]
        assert!(Cost::now().is_some_and(|cost| cost.rss_bytes > 0));
    }
}
