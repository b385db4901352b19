//! Computer, two routers and host: four real network namespaces in a row, and one more to stand beside. Needs root.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

pub(crate) const HOST: &str = "10.8.3.2";
pub(crate) const HOPS: [&str; 3] = ["10.8.1.1", "10.8.2.2", HOST];
pub(crate) const HOST6: &str = "fd08:3::2";
pub(crate) const HOPS6: [&str; 3] = ["fd08:1::1", "fd08:2::2", HOST6];
/// Echo requests are for root's raw sockets alone.
pub(crate) const NO_ECHO: &str = "echo 1 0 > /proc/sys/net/ipv4/ping_group_range";

/// Four namespaces in a row. Gone when dropped.
pub(crate) struct Lab {
    base: String,
}

impl Lab {
    pub(crate) fn new(base: &str) -> Self {
        let lab = Self { base: format!("{base}{}", std::process::id()) };
        for end in ['c', 'r', 'q', 'p', 's'] {
            lab.ip(&["netns", "add", &lab.name(end)]);
            lab.sh(end, "ip link set lo up; echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad");
        }
        lab.sh('c', "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range");
        for (one, other, net) in [('c', 'r', 1), ('r', 'q', 2), ('q', 's', 3)] {
            lab.link(one, other, net);
        }
        for (end, v4, v6) in [
            ('c', "10.8.1.1", "fd08:1::1"),
            ('r', "10.8.2.2", "fd08:2::2"),
            ('q', "10.8.2.1", "fd08:2::1"),
            ('s', "10.8.3.1", "fd08:3::1"),
        ] {
            lab.sh(end, &format!("ip route add default via {v4}; ip -6 route add default via {v6}"));
        }
        for end in ['r', 'q'] {
            lab.sh(end, "echo 1 > /proc/sys/net/ipv4/ip_forward");
            lab.sh(end, "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        }
        lab
    }

    /// A link of two, with a net of this number.
    pub(crate) fn link(&self, one: char, other: char, net: u8) {
        // Towards the host a link is called by its net's number, from the other end 0 where that is the usual one.
        let usual = net <= 3;
        let near = if usual { format!("{one}1") } else { format!("{one}{net}") };
        let far = if usual { format!("{other}0") } else { format!("{other}{net}") };
        let (from, to) = (self.name(one), self.name(other));
        // One line tells ip which end belongs where.
        self.ip(&["link", "add", &near, "netns", &from, "type", "veth", "peer", "name", &far, "netns", &to]);
        // The computer is 2 on its net, as is whoever stands farther on the others.
        let (mine, theirs) = if one == 'c' { (2, 1) } else { (1, 2) };
        for (end, link, last) in [(one, &near, mine), (other, &far, theirs)] {
            self.sh(end, &format!("ip addr add 10.8.{net}.{last}/24 dev {link}"));
            self.sh(end, &format!("ip addr add fd08:{net}::{last}/64 dev {link} nodad"));
            self.sh(end, &format!("ip link set {link} up"));
        }
    }

    pub(crate) fn name(&self, end: char) -> String {
        format!("{}{end}", self.base)
    }

    fn ip(&self, words: &[&str]) {
        let done = Command::new("ip").args(words).output().expect("iproute2");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "ip {words:?} (namespaces need root): {said}");
    }

    pub(crate) fn sh(&self, end: char, line: &str) {
        self.ip(&["netns", "exec", &self.name(end), "sh", "-ec", line]);
    }

    /// What happens to packets as they come in.
    pub(crate) fn rules(&self, end: char, rule: &str) {
        let rules = format!(
            "table ip t {{\n chain c {{\n type filter hook prerouting priority 0;\n }}\n}}\nadd rule ip t c {rule}\n"
        );
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.name(end), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nftables");
        nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("taken");
        assert!(nft.wait().expect("ends").success());
    }

    /// Measures from the computer, without the right to raw sockets.
    pub(crate) fn measure(&self, url: &str, seconds: &str) -> Value {
        self.measured(&["setpriv", "--bounding-set", "-net_raw,-net_admin"], url, seconds)
    }

    pub(crate) fn measured(&self, through: &[&str], url: &str, seconds: &str) -> Value {
        let words = ["measure", url, "--duration", seconds, "--json", "-", "--quiet"];
        let done = self.within('c', through, &words).output().expect("runs");
        serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|error| panic!("no report ({error}): {}", String::from_utf8_lossy(&done.stderr)))
    }

    /// The program within one of the namespaces, started by `through`.
    pub(crate) fn within(&self, end: char, through: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(end)]).args(through);
        command.arg(env!("CARGO_BIN_EXE_greenroom")).args(words);
        command.env("HOME", "/nonexistent").env("GREENROOM_DEVICES", "none");
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for end in ['c', 'r', 'q', 'p', 's'] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(end)]).output();
        }
    }
}
