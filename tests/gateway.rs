//! The first router beside a check: three real network namespaces, computer, router and endpoint, and losses on either side of the
//! router. Needs root, for namespaces and for echo requests.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::Respond;

const COMPUTER: &str = "10.9.1.2";
const ROUTER: &str = "10.9.1.1";
const BEYOND: &str = "10.9.2.1";
const ENDPOINT: &str = "10.9.2.2";

#[test]
fn loss_before_the_router_is_the_local_networks() {
    let lab = Lab::new("gwa");
    lab.lose("prerouting");
    let report = lab.check();
    let cause = &report["verdict"]["causes"][0];
    assert_eq!((&cause["code"], &cause["place"]), (&"loss_up".into(), &"local_network".into()), "{cause:#}");
    assert!(mentions(&cause["evidence"], "your router answered"), "{cause:#}");
}

#[test]
fn loss_beyond_the_router_is_the_paths() {
    let lab = Lab::new("gwb");
    lab.lose("forward");
    let report = lab.check();
    let cause = &report["verdict"]["causes"][0];
    assert_eq!((&cause["code"], &cause["place"]), (&"loss_up".into(), &"path".into()), "{cause:#}");
    // A check that soon knows enough may ask the router too seldom to rule it out.
    let told = [&cause["ruled_out"], &cause["evidence"]];
    assert!(told.iter().any(|lines| mentions(lines, "your router answered")), "{cause:#}");
}

#[test]
fn a_clean_check_tells_of_the_router_and_can_be_computed_again() {
    let lab = Lab::new("gwc");
    let report = lab.check();
    assert_ne!(report["verdict"]["overall"], "blocked");
    let router = router_of(&report);
    assert_eq!(router["details"]["address"]["value"], ROUTER);
    assert_eq!(router["details"]["link"]["kind"], "virtual", "a pair of a namespace");
    let found = &router["details"]["round_trip"];
    assert_eq!((&found["lost"], &found["stamped_by"]), (&0.into(), &"kernel".into()), "{found:#}");
    assert!(found["answered"].as_u64() > Some(50), "{found:#}");
    let text = serde_json::to_string(&report).expect("it was read");
    let report = greenroom_reports::schema::read(&text).expect("a report");
    let again = greenroom_reports::assess::recompute(&report).expect("it has its samples");
    assert_eq!(again, greenroom_reports::assess::Agreement::Agrees);
}

#[test]
fn a_router_that_answers_nobody_is_no_fault() {
    let lab = Lab::new("gwd");
    lab.set('r', "icmp_echo_ignore_all", "1");
    let report = lab.check();
    let router = router_of(&report);
    assert_eq!(router["state"]["reason"], "it answers no echo requests", "{router:#}");
    assert!(router["failure"].is_null());
    assert_ne!(report["verdict"]["overall"], "blocked");
}

#[test]
fn a_host_is_asked_by_echo_and_who_may_not_is_told_what_would_allow_it() {
    let lab = Lab::new("gwe");
    let arguments = ["measure", &format!("icmp:{ENDPOINT}"), "--duration", "2"];
    let answered = |report: &Value| report["targets"][0]["details"]["round_trip"]["answered"].clone();
    assert_eq!(answered(&report_of(lab.within('c', &[], &arguments))), 40, "by a raw socket");
    // Without the right to raw sockets there are those for echo alone, where the system opens them.
    let unprivileged = ["setpriv", "--bounding-set", "-net_raw"];
    let refused = report_of(lab.within('c', &unprivileged, &arguments));
    let failure = &refused["targets"][0]["failure"];
    assert_eq!(failure["code"], "local", "{failure:#}");
    assert!(failure["detail"].as_str().is_some_and(|said| said.contains("ping_group_range")), "{failure:#}");
    lab.set('c', "ping_group_range", "0 2147483647");
    assert_eq!(answered(&report_of(lab.within('c', &unprivileged, &arguments))), 40, "by one for echo");
}

/// The one router in a report.
fn router_of(report: &Value) -> &Value {
    let targets = report["targets"].as_array().expect("targets");
    targets.iter().find(|target| target["kind"] == "gateway").expect("the router")
}

fn mentions(lines: &Value, what: &str) -> bool {
    lines
        .as_array()
        .is_some_and(|lines| lines.iter().any(|line| line.as_str().is_some_and(|line| line.contains(what))))
}

/// Three namespaces in a row, and an endpoint in the last. Gone when dropped.
struct Lab {
    base: String,
    endpoint: Option<Respond>,
}

impl Lab {
    fn new(base: &str) -> Self {
        let mut lab = Self { base: format!("{base}{}", std::process::id()), endpoint: None };
        let [c, r, s] = ['c', 'r', 's'].map(|end| lab.name(end));
        for name in [&c, &r, &s] {
            lab.ip(&["netns", "add", name]);
            lab.ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        for (one, link, other, peer) in [(&c, "c0", &r, "r0"), (&r, "r1", &s, "s0")] {
            lab.ip(&[
                "link", "add", link, "netns", one, "type", "veth", "peer", "name", peer, "netns", other,
            ]);
        }
        for (name, link, address) in
            [(&c, "c0", COMPUTER), (&r, "r0", ROUTER), (&r, "r1", BEYOND), (&s, "s0", ENDPOINT)]
        {
            lab.ip(&["-n", name, "addr", "add", &format!("{address}/24"), "dev", link]);
            lab.ip(&["-n", name, "link", "set", link, "up"]);
        }
        lab.ip(&["-n", &c, "route", "add", "default", "via", ROUTER]);
        lab.ip(&["-n", &s, "route", "add", "default", "via", BEYOND]);
        lab.set('r', "ip_forward", "1");
        let respond = ["respond", "--listen", ENDPOINT, "--health", "off"];
        lab.endpoint = Some(Respond::start(lab.within('s', &[], &respond)));
        lab
    }

    fn name(&self, end: char) -> String {
        format!("{}{end}", self.base)
    }

    /// Runs `ip` with these words.
    fn ip(&self, words: &[&str]) {
        let done = Command::new("ip").args(words).output().expect("iproute2");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "ip {words:?} (namespaces need root): {said}");
    }

    /// Sets one of the kernel's switches for IPv4 within a namespace.
    fn set(&self, end: char, switch: &str, value: &str) {
        let line = format!("echo {value} > /proc/sys/net/ipv4/{switch}");
        self.ip(&["netns", "exec", &self.name(end), "sh", "-c", &line]);
    }

    /// The program within one of the namespaces, started by `starter`.
    fn within(&self, end: char, starter: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(end)]).args(starter);
        command.arg(env!("CARGO_BIN_EXE_greenroom")).args(arguments);
        command.env_remove("GREENROOM_TOKEN").env("HOME", "/nonexistent").env("GREENROOM_DEVICES", "none");
        command
    }

    /// Loses every seventh echo request and a seventh of the datagrams that the computer sends: before the router has it, or as it passes
    /// it on. Requests are counted: a short check asks the router too seldom to rely on chance. Datagrams are lost by chance: counted, sound
    /// and picture can fall into step, and one of them loses next to nothing.
    fn lose(&self, hook: &str) {
        let rules = format!(
            "table ip t {{\n chain c {{\n type filter hook {hook} priority 0;\n \
             iif \"r0\" ip protocol icmp numgen inc mod 7 0 drop\n \
             iif \"r0\" ip protocol udp numgen random mod 7 0 drop\n }}\n}}\n"
        );
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.name('r'), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nftables");
        nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("taken");
        assert!(nft.wait().expect("ends").success());
    }

    fn check(&self) -> Value {
        report_of(self.within('c', &[], &["check", ENDPOINT, "--quick"]))
    }
}

/// Runs a command to its end and reads its report.
fn report_of(mut command: Command) -> Value {
    let done = command.args(["--json", "-", "--quiet"]).output().expect("runs");
    serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("no report ({error}): {}", String::from_utf8_lossy(&done.stderr)))
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.endpoint.take());
        for end in ['c', 'r', 's'] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(end)]).output();
        }
    }
}
