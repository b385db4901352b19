//! What kind of interface one is, as the kernel's files under `/sys/class/net` tell.

use std::fs;
use std::path::Path;

use greenroom_reports::schema::LinkKind;

use super::Link;

/// ARPHRD numbers of `linux/if_arp.h`.
const ETHERNET: u32 = 1;
const POINT_TO_POINT: u32 = 512;
const TUNNELS: [u32; 5] = [768, 769, 776, 778, 823];
const LOOPBACK: u32 = 772;
const NO_HEADER: u32 = 65_534;

/// Reads what `interfaces` (`/sys/class/net`) has of one.
pub(super) fn read(interfaces: &Path, name: &str) -> Option<Link> {
    // A name is one part of a path.
    if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
        return None;
    }
    let folder = interfaces.join(name);
    let number = |file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u32>().ok();
    let kind = kind(&folder, name, number("type")?);
    // A wireless or virtual one has a number there that means nothing; -1 means that it is not known.
    let speed_mbps = number("speed").filter(|_| kind == LinkKind::Wired);
    Some(Link { kind, mtu: number("mtu"), speed_mbps })
}

fn kind(folder: &Path, name: &str, hardware: u32) -> LinkKind {
    let has = |file: &str| folder.join(file).exists();
    let device = fs::read_to_string(folder.join("uevent")).unwrap_or_default();
    let device = device.lines().find_map(|line| line.strip_prefix("DEVTYPE="));
    match device {
        _ if hardware == LOOPBACK => LinkKind::Loopback,
        _ if has("wireless") || has("phy80211") => LinkKind::Wireless,
        Some("wlan") => LinkKind::Wireless,
        Some("wwan") => LinkKind::Cellular,
        Some("wireguard") => LinkKind::Tunnel,
        _ if has("tun_flags") || hardware == NO_HEADER || TUNNELS.contains(&hardware) => LinkKind::Tunnel,
        // A modem that is dialed has no name of its own kind; a VPN of that kind neither.
        _ if hardware == POINT_TO_POINT && name.starts_with("ppp") => LinkKind::Tunnel,
        // What has no device behind it is made up by software: bridges, pairs of containers.
        _ if hardware == ETHERNET && has("device") => LinkKind::Wired,
        _ if hardware == ETHERNET => LinkKind::Virtual,
        _ => LinkKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interface as the kernel shows it.
    fn link(files: &[(&str, &str)]) -> Option<Link> {
        let folder = tempfile::tempdir().unwrap();
        let interface = folder.path().join("if0");
        fs::create_dir(&interface).unwrap();
        for (name, text) in files {
            fs::write(interface.join(name), text).unwrap();
        }
        read(folder.path(), "if0")
    }

    #[test]
    fn kinds_are_told_apart() {
        let kind = |files: &[(&str, &str)]| link(files).map(|link| link.kind);
        let ethernet = ("type", "1\n");
        assert_eq!(kind(&[ethernet, ("device", "")]), Some(LinkKind::Wired));
        assert_eq!(kind(&[ethernet]), Some(LinkKind::Virtual));
        assert_eq!(kind(&[ethernet, ("device", ""), ("phy80211", "")]), Some(LinkKind::Wireless));
        assert_eq!(kind(&[ethernet, ("uevent", "DEVTYPE=wlan\n")]), Some(LinkKind::Wireless));
        assert_eq!(kind(&[ethernet, ("uevent", "INTERFACE=x\nDEVTYPE=wwan\n")]), Some(LinkKind::Cellular));
        assert_eq!(kind(&[("type", "65534"), ("uevent", "DEVTYPE=wireguard")]), Some(LinkKind::Tunnel));
        assert_eq!(kind(&[("type", "65534"), ("tun_flags", "0x1001")]), Some(LinkKind::Tunnel));
        assert_eq!(kind(&[("type", "772")]), Some(LinkKind::Loopback));
        assert_eq!(kind(&[("type", "4711")]), Some(LinkKind::Unknown));
    }

    #[test]
    fn a_speed_is_told_of_cables_alone() {
        let wired = link(&[("type", "1"), ("device", ""), ("speed", "1000\n"), ("mtu", "1500\n")]).unwrap();
        assert_eq!((wired.speed_mbps, wired.mtu), (Some(1_000), Some(1_500)));
        let unknown = link(&[("type", "1"), ("device", ""), ("speed", "-1\n")]).unwrap();
        assert_eq!((unknown.speed_mbps, unknown.mtu), (None, None));
        assert_eq!(link(&[("type", "1"), ("speed", "10000")]).unwrap().speed_mbps, None);
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        for name in ["", "..", "../lo", "no-such-interface"] {
            assert_eq!(read(Path::new("/sys/class/net"), name), None, "{name}");
        }
    }
}
