//! Computers and networks that lack something: each ends in a typed reason and what could be measured. Needs root, for
//! network namespaces, another user and a small disk; fails without.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::Respond;

/// One address of each family (documentation: RFC 5737, RFC 3849), here on the loopback device.
const V4: &str = "192.0.2.1";
const V6: &str = "2001:db8::1";
const NO_V6: &str = "sysctl -qw net.ipv6.conf.all.disable_ipv6=1; ip addr add 192.0.2.1/32 dev lo";
const NO_V4: &str = "ip -4 addr flush dev lo; ip -6 addr add 2001:db8::1/128 dev lo nodad";

/// How a shell script ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn report(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a script in a network and mount namespace of its own, the loopback device up. `$G` is the command.
fn isolated(script: &str) -> Ran {
    run(Command::new("unshare")
        .args(["--net", "--mount", "sh", "-ec"])
        .arg(format!("ip link set lo up; {script}")))
}

fn run(command: &mut Command) -> Ran {
    let output = command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/nonexistent")
        .env("GREENROOM_DEVICES", "none")
        .env("G", env!("CARGO_BIN_EXE_greenroom"))
        .stdin(Stdio::null())
        .output()
        .expect("util-linux and iproute2 are there");
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

#[test]
fn a_missing_family_or_network_is_named() {
    for (network, endpoint, code, place) in [
        (NO_V6, V6, "no_ipv6", "local_network"),
        (NO_V4, V4, "no_ipv4", "local_network"),
        ("true", V4, "no_network", "local_network"),
        ("true", "probe.example", "no_network", "local_network"),
    ] {
        let ran = isolated(&format!("{network}; exec $G check '{endpoint}' --json - --quiet"));
        let report = ran.report();
        assert_eq!(ran.code, Some(2), "{endpoint}: {ran:?}");
        assert_eq!(report["targets"][0]["failure"]["code"], code, "{endpoint}");
        assert_eq!(report["verdict"]["place"], place, "{endpoint}");
        assert_eq!(report["verdict"]["overall"], "blocked", "{endpoint}");
        assert_eq!(report["bytes_used"], 0, "{endpoint}");
    }
}

#[test]
fn a_name_with_both_families_is_measured_over_the_one_that_is_there() {
    for (network, listen, transport) in [(NO_V6, V4, "192.0.2.1:7443"), (NO_V4, V6, "[2001:db8::1]:7443")] {
        let ran = isolated(&format!(
            "{network}; hosts=$(mktemp); echo '{V4} both.test' >$hosts; echo '{V6} both.test' >>$hosts
             mount --bind $hosts /etc/hosts
             $G respond --listen '{listen}' --health off >/dev/null & respond=$!
             until ss -ulnH | grep -q :7444; do sleep 0.05; done
             status=0; $G measure both.test --duration 1s --json - --quiet || status=$?
             kill $respond; rm $hosts; exit $status"
        ));
        assert_eq!(ran.code, Some(0), "{listen}: {ran:?}");
        let target = &ran.report()["targets"][0];
        assert_eq!(target["state"]["address"], transport, "{}", target["state"]);
        for direction in ["up", "down"] {
            let counts = &target[direction];
            assert_eq!((&counts["planned"], &counts["lost"]), (&50.into(), &0.into()), "{listen}: {counts}");
        }
    }
}

/// What `check` says of an endpoint in the same network while this computer's firewall has these rules for what leaves.
/// The endpoint's answers leave this computer too: the rules hold for what goes to its ports.
fn behind_own_firewall(rules: &str) -> Ran {
    isolated(&format!(
        "$G respond --listen 127.0.0.1 --health off >/dev/null 2>&1 & respond=$!; trap 'kill $respond' EXIT
         until ss -ulnH | grep -q :7444; do sleep 0.05; done
         nft add table inet local
         nft add chain inet local out '{{ type filter hook output priority 0; }}'
         nft add rule inet local out '{rules}'
         $G check 127.0.0.1 --for audio --json -"
    ))
}

/// Whether nothing stands there but what the check is going to cost: no library's warnings.
fn nothing_but_the_plan(err: &str) -> bool {
    err.starts_with("Measuring against ") && err.lines().count() == 1
}

#[test]
fn this_computers_own_firewall_is_named_and_the_other_ways_are_tried() {
    for (rules, port, transport, works) in [
        ("udp dport { 7443, 7444 } drop", 7443, "websocket", "tls/7443"),
        ("udp dport { 7443, 7444 } reject", 7443, "websocket", "tls/7443"),
        ("udp dport 7444 drop", 7444, "quic-datagram", "quic/7443"),
        ("udp dport 7444 reject", 7444, "quic-datagram", "quic/7443"),
    ] {
        let ran = behind_own_firewall(rules);
        assert_eq!((ran.code, nothing_but_the_plan(&ran.err)), (Some(1), true), "{rules} {ran:?}");
        let report = ran.report();
        let reached = &report["targets"][0]["state"];
        assert_eq!(reached["transport"], transport, "{rules} {reached}");
        let blocked = serde_json::json!({ "code": "udp_blocked_here", "port": port, "works": works });
        assert_eq!(reached["instead_of_udp"], blocked, "{rules}");
        let verdict = &report["verdict"];
        assert_eq!((&verdict["overall"], &verdict["place"]), (&"degraded".into(), &"computer".into()));
        assert!(verdict["say"].as_str().is_some_and(|say| say.contains("firewall on this computer")));
        assert!(report["targets"][0]["up"]["on_time"].as_u64().is_some_and(|n| n >= 50), "{rules}");
    }
}

#[test]
fn a_firewall_here_that_lets_nothing_out_is_told_from_silence() {
    let ran = behind_own_firewall("meta l4proto { tcp, udp } drop");
    assert_eq!((ran.code, nothing_but_the_plan(&ran.err)), (Some(2), true), "{ran:?}");
    let report = ran.report();
    let failure = &report["targets"][0]["failure"];
    assert_eq!((&failure["code"], &failure["works"]), (&"udp_blocked_here".into(), &Value::Null));
    assert_eq!(report["verdict"]["place"], "computer");
}

/// The kernel takes stamps for everybody; nothing that only root may do is needed.
#[test]
fn whoever_is_not_root_gets_the_same_figures() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let binary = dir.path().join("greenroom");
    fs::copy(env!("CARGO_BIN_EXE_greenroom"), &binary).expect("room for the binary");
    for path in [dir.path(), &binary] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its own files");
    }
    let endpoint = Respond::on("127.0.0.1:0", &[]);
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--"];
    let measure = ["measure", endpoint.url(), "--duration", "2s", "--json", "-", "--quiet"];
    let ran = run(Command::new("setpriv").args(nobody).arg(&binary).args(measure));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let target = &ran.report()["targets"][0];
    assert_eq!(
        (&target["timestamps"]["here"], &target["timestamps"]["there"]),
        (&"kernel".into(), &"kernel".into())
    );
    assert_eq!(target["self_error"]["send_lateness_ms"]["n"], 100, "how late it sent is told");
    for direction in ["up", "down"] {
        let counts = &target[direction];
        assert_eq!((&counts["planned"], &counts["lost"]), (&100.into(), &0.into()), "{counts}");
    }
}

#[test]
fn a_full_disk_is_73_with_the_text_printed_and_no_half_written_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = dir.path().to_str().expect("UTF-8");
    // Room for a directory, and not for a report.
    let ran = isolated(&format!(
        "mount -t tmpfs -o size=4k tmpfs '{at}'; status=0
         $G check --for audio --json '{at}/report.json' || status=$?
         ls -A '{at}' >&2; exit $status"
    ));
    assert_eq!(ran.code, Some(73), "{ran:?}");
    assert!(ran.out.contains("Round trip, median"), "{ran:?}");
    assert!(ran.err.contains("No space left on device"), "{ran:?}");
    assert!(!ran.err.lines().any(|line| line == "report.json"), "{ran:?}");
    assert!(!Path::new(&format!("{at}/report.json")).exists());
}

/// Past results are a convenience: a disk without room for them costs a warning, not the verdict.
#[test]
fn a_full_disk_for_past_results_is_a_warning() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = dir.path().to_str().expect("UTF-8");
    let endpoint = Respond::on("127.0.0.1:0", &[]);
    let url = endpoint.url();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec"]).arg(format!(
        "mount -t tmpfs -o size=4k tmpfs '{at}'; head -c 4096 /dev/zero >'{at}/full'
         XDG_STATE_HOME='{at}' exec $G check '{url}' --for audio"
    ));
    let ran = run(&mut command);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("READY"), "{ran:?}");
    assert!(ran.err.contains("cannot keep this result") && ran.err.contains("No space left"), "{ran:?}");
}
