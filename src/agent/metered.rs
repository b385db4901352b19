//! Whether this computer's way out is paid for by volume.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long the system may take to say.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the way out is paid for by volume, as far as the system tells: a mobile modem is, else NetworkManager says. `None`: nobody
/// tells.
pub(super) async fn is_metered() -> Option<bool> {
    let routes = fs::read_to_string("/proc/net/route").ok()?;
    let interface = default_interface(&routes)?;
    let kind = fs::read_to_string(format!("/sys/class/net/{interface}/uevent")).unwrap_or_default();
    if is_modem(&kind) {
        return Some(true);
    }
    let asked = Command::new("busctl")
        .args([
            "--timeout=2",
            "get-property",
            "org.freedesktop.NetworkManager",
            "/org/freedesktop/NetworkManager",
        ])
        .args(["org.freedesktop.NetworkManager", "Metered"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let told = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    said_by_network_manager(&String::from_utf8_lossy(&told.stdout))
}

/// The interface of the default route with the least metric, of the text of `/proc/net/route`.
fn default_interface(routes: &str) -> Option<&str> {
    let parsed = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, _, flags, _, _, metric, mask, ..] = fields[..] else { return None };
        let is_up = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        (destination == "00000000" && mask == "00000000" && is_up)
            .then(|| (metric.parse::<u32>().unwrap_or(u32::MAX), interface))
    });
    // A name is one folder's name below /sys: nothing else.
    parsed.min().map(|(_, interface)| interface).filter(|name| !name.contains('/') && !name.starts_with('.'))
}

fn is_modem(uevent: &str) -> bool {
    uevent.lines().any(|line| line.trim() == "DEVTYPE=wwan")
}

/// `NMMetered` of NetworkManager's D-Bus API: 1 yes, 2 no, 3 guessed yes, 4 guessed no, 0 unknown.
fn said_by_network_manager(text: &str) -> Option<bool> {
    match text.trim().strip_prefix("u ")?.parse().ok()? {
        1 | 3 => Some(true),
        2 | 4 => Some(false),
        _ => None::<bool>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_is_the_default_route_with_the_least_metric() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                      wwan0\t00000000\t0101A8C0\t0003\t0\t0\t700\t00000000\t0\t0\t0\n\
                      eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                      eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(default_interface(routes), Some("eth0"));
        assert_eq!(default_interface("Iface\n"), None);
        assert!(is_modem("INTERFACE=wwan0\nDEVTYPE=wwan\n"));
        assert!(!is_modem("INTERFACE=wlan0\nDEVTYPE=wlan\n"));
    }

    #[test]
    fn what_network_manager_says_is_understood() {
        for (text, told) in [
            ("u 1\n", Some(true)),
            ("u 2\n", Some(false)),
            ("u 3", Some(true)),
            ("u 4", Some(false)),
            ("u 0", None),
            ("", None),
            ("s x", None),
        ] {
            assert_eq!(said_by_network_manager(text), told, "{text}");
        }
    }
}
