//! What stands between a computer and the internet: a sign-in page that answers for everybody, a VPN that carries all of it, proxies
//! that are set. In real network namespaces: computer, router and endpoint. Needs root, nftables, tun devices and Python.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "a test answers over sockets of its own")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{Respond, greenroom};

const ENDPOINT: &str = "10.9.2.2";
const PORTAL: &str = "http://login.hotel.example/welcome?from=you";

#[test]
fn a_sign_in_page_is_why_nothing_is_reached() {
    for (base, how) in [("spa", "drop"), ("spb", "reject with icmp admin-prohibited")] {
        let mut lab = Lab::new(base);
        lab.stand_in_the_way(how);
        let (report, code) = lab.check(&[]);
        let first = &report["verdict"]["causes"][0];
        assert_eq!(first["code"], "captive_portal", "{how}: {:#}", report["verdict"]);
        assert_eq!((&first["place"], &first["state"]), (&"local_network".into(), &"blocked".into()));
        assert!(mentions(&first["evidence"], "visitors are sent to login.hotel.example"), "{first:#}");
        assert_eq!(first["evidence"].as_array().map(Vec::len), Some(2), "and what it explains: {first:#}");
        assert_eq!((code, &report["verdict"]["overall"]), (2, &"blocked".into()), "{how}");
        let page = &report["environment"]["surroundings"]["sign_in_page"];
        assert_eq!((&page["state"], &page["found"]), (&"measured".into(), &true.into()), "{page:#}");
        assert!(!report.to_string().contains("from=you"), "a query may be secret");
    }
}

#[test]
fn nothing_stands_in_the_way_where_nobody_does() {
    let lab = Lab::new("spc");
    let (report, _) = lab.check(&[]);
    let found = &report["environment"]["surroundings"];
    assert_eq!(found["sign_in_page"]["found"], false, "{found:#}");
    assert_eq!(found["tunnels"]["value"], Value::Array(Vec::new()), "{found:#}");
    assert_eq!(found["proxies"]["value"], Value::Array(Vec::new()), "{found:#}");
    let (report, _) = lab.check(&["--portal-url", "off"]);
    let page = &report["environment"]["surroundings"]["sign_in_page"];
    assert_eq!((&page["state"], &page["reason"]), (&"not_tested".into(), &"it was switched off".into()));
}

#[test]
fn a_vpn_that_carries_everything_is_named() {
    let mut lab = Lab::new("spd");
    lab.through_a_vpn();
    let (report, _) = lab.check(&[]);
    assert_eq!(report["targets"][0]["state"]["state"], "measured", "{:#}", report["verdict"]);
    assert_eq!(report["environment"]["surroundings"]["tunnels"]["value"][0], "tun0");
    let note = cause(&report, "vpn_on_the_way");
    assert_eq!(note["say"], "Your traffic goes through a VPN or tunnel (tun0).");
    assert_eq!(note["state"], "ready", "it is worth knowing, and no fault");
    let text = serde_json::to_string(&report).expect("it was read");
    let report = greenroom_reports::schema::read(&text).expect("a report");
    let again = greenroom_reports::assess::recompute(&report).expect("it has its samples");
    assert_eq!(again, greenroom_reports::assess::Agreement::Agrees);
}

#[test]
fn a_proxy_is_told_without_who_asks() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.greenroom.zip");
    let endpoint = Respond::on("127.0.0.1:0", &[]);
    let proxies = [
        ("https_proxy", "http://lovelace7:hunter2@proxy.example:3128"),
        ("ALL_PROXY", "socks5://lovelace7:hunter2@192.0.2.9:1080"),
    ];
    let mut all = String::new();
    for more in
        [&["check", "--quick", "-vv"][..], &["check", "--quick", "--json", "-"], &["diagnose", "--file"]]
    {
        let mut command = greenroom(more);
        if more[0] == "diagnose" {
            command.arg(&file);
        }
        let done = command.arg(endpoint.url()).envs(proxies).output().expect("runs");
        let said =
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        assert!(said.contains("https_proxy=proxy.example:3128"), "{said}");
        all += &said;
    }
    assert!(all.contains("ALL_PROXY=socks5://192.0.2.9:1080"), "{all}");
    let packed = std::fs::read(&file).expect("it was written");
    let json = greenroom::bundle::report_json(&packed).expect("a support file");
    assert!(json.contains("socks5://192.0.2.0:1080"), "addresses are cut there, too");
    all += &json;
    for secret in ["hunter2", "lovelace7"] {
        assert!(!all.contains(secret), "{secret}");
    }
}

#[test]
fn who_says_no_on_the_way_is_told() {
    let lab = Lab::new("spe");
    let told = |lab: &Lab, to: &str, code: &str, place: &str, by: &str| {
        let (report, exit) = lab.check_at(to, &[]);
        let first = &report["verdict"]["causes"][0];
        assert_eq!((&first["code"], &first["place"]), (&code.into(), &place.into()), "{to}: {first:#}");
        assert_eq!(&first["params"]["by"], &serde_json::json!(by), "{first:#}");
        assert!(first["say"].as_str().is_some_and(|say| say.contains(by)), "{first:#}");
        assert_eq!((exit, &report["verdict"]["overall"]), (2, &"blocked".into()));
    };
    ip(&["-n", &lab.name('r'), "route", "add", "unreachable", "10.9.3.0/24"]);
    told(&lab, "10.9.3.7", "no_way", "path", "10.9.1.1");
    ip(&["-n", &lab.name('r'), "-6", "route", "add", "unreachable", "fd00:9:3::/64"]);
    told(&lab, "[fd00:9:3::7]", "no_way", "path", "fd00:9:1::1");

    lab.rules("meta l4proto udp reject with icmpx host-unreachable");
    told(&lab, "10.9.2.9", "no_way", "path", "10.9.1.1");
    lab.rules("reject with icmpx admin-prohibited");
    told(&lab, "10.9.2.9", "firewall_on_the_way", "relay", "10.9.1.1");
    told(&lab, "[fd00:9:2::9]", "firewall_on_the_way", "relay", "fd00:9:1::1");
}

#[test]
fn a_firewall_that_refuses_udp_alone_is_gone_around() {
    let lab = Lab::new("spf");
    lab.rules("meta l4proto udp reject with icmpx admin-prohibited");
    let (report, exit) = lab.check(&[]);
    let first = &report["verdict"]["causes"][0];
    assert_eq!((&first["code"], &first["place"]), (&"udp_blocked".into(), &"relay".into()), "{first:#}");
    assert_eq!(
        report["targets"][0]["state"]["transport"], "websocket",
        "{:#}",
        report["targets"][0]["state"]
    );
    assert_eq!((exit, &report["verdict"]["overall"]), (1, &"degraded".into()));
}

#[test]
fn a_router_that_is_not_there_is_no_fault_of_the_computer() {
    let lab = Lab::new("spg");
    let quickly = "echo 100 > /proc/sys/net/ipv4/neigh/c0/retrans_time_ms";
    ip(&["netns", "exec", &lab.name('c'), "sh", "-c", quickly]);
    let (report, exit) = lab.check_at("10.9.1.77", &[]);
    let first = &report["verdict"]["causes"][0];
    assert_eq!(
        (&first["code"], &first["place"]),
        (&"next_hop_silent".into(), &"local_network".into()),
        "{first:#}"
    );
    assert_eq!(exit, 2);
}

#[test]
fn another_page_may_be_asked_and_what_is_wrong_with_it_is_told() {
    let endpoint = Respond::on("127.0.0.1:0", &[]);
    let ask = |answer: &'static str| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let mut head = [0; 1_000];
            let read = stream.read(&mut head).expect("a request");
            stream.write_all(answer.as_bytes()).expect("taken");
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        let url = format!("http://{at}/hello");
        let done =
            greenroom(["check", "--quick", "--json", "-", "--portal-url", &url, endpoint.url()]).output();
        let head = answering.join().expect("it answers");
        assert!(head.starts_with("GET /hello HTTP/1.1\r\n"), "{head}");
        serde_json::from_slice::<Value>(&done.expect("runs").stdout).expect("a report")
    };
    let report = ask("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(report["environment"]["surroundings"]["sign_in_page"]["found"], false);
    let report = ask("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let note = cause(&report, "captive_portal");
    assert_eq!(note["state"], "ready", "the endpoint was reached all the same: {note:#}");
    let report = ask("SSH-2.0-OpenSSH\r\n");
    assert_eq!(report["environment"]["surroundings"]["sign_in_page"]["state"], "failed");
}

fn cause<'a>(report: &'a Value, code: &str) -> &'a Value {
    let causes = report["verdict"]["causes"].as_array().expect("causes");
    causes.iter().find(|cause| cause["code"] == code).unwrap_or_else(|| panic!("no {code}: {causes:#?}"))
}

fn mentions(lines: &Value, what: &str) -> bool {
    let lines = lines.as_array().into_iter().flatten();
    lines.filter_map(Value::as_str).any(|line| line.contains(what))
}

/// Three namespaces in a row: computer, router, endpoint. Gone when dropped.
struct Lab {
    base: String,
    endpoint: Option<Respond>,
    helpers: Vec<Child>,
}

impl Lab {
    fn new(base: &str) -> Self {
        let mut lab =
            Self { base: format!("{base}{}", std::process::id()), endpoint: None, helpers: Vec::new() };
        let [c, r, s] = ['c', 'r', 's'].map(|end| lab.name(end));
        for name in [&c, &r, &s] {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        for (one, link, other, peer) in [(&c, "c0", &r, "r0"), (&r, "r1", &s, "s0")] {
            ip(&["link", "add", link, "netns", one, "type", "veth", "peer", "name", peer, "netns", other]);
        }
        for (name, link, address, v6) in [
            (&c, "c0", "10.9.1.2/24", "fd00:9:1::2/64"),
            (&r, "r0", "10.9.1.1/24", "fd00:9:1::1/64"),
            (&r, "r1", "10.9.2.1/24", "fd00:9:2::1/64"),
            (&s, "s0", "10.9.2.2/24", "fd00:9:2::2/64"),
        ] {
            ip(&["-n", name, "addr", "add", address, "dev", link]);
            ip(&["-n", name, "addr", "add", v6, "dev", link, "nodad"]);
            ip(&["-n", name, "link", "set", link, "up"]);
        }
        ip(&["-n", &c, "route", "add", "default", "via", "10.9.1.1"]);
        ip(&["-n", &c, "-6", "route", "add", "default", "via", "fd00:9:1::1"]);
        ip(&["-n", &s, "route", "add", "default", "via", "10.9.2.1"]);
        let forward =
            "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";
        ip(&["netns", "exec", &r, "sh", "-c", forward]);
        let respond = ["respond", "--listen", ENDPOINT, "--health", "off"];
        lab.endpoint = Some(Respond::start(lab.within('s', &respond)));
        lab
    }

    fn name(&self, end: char) -> String {
        format!("{}{end}", self.base)
    }

    fn within(&self, end: char, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(end), env!("CARGO_BIN_EXE_greenroom")]).args(arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/nonexistent").env("GREENROOM_DEVICES", "none");
        command
    }

    fn check(&self, more: &[&str]) -> (Value, i32) {
        self.check_at(ENDPOINT, more)
    }

    fn check_at(&self, to: &str, more: &[&str]) -> (Value, i32) {
        let mut command = self.within('c', &["check", to, "--quick", "--json", "-", "--quiet"]);
        let done = command.args(more).output().expect("runs");
        let report = serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|error| panic!("no report ({error}): {}", String::from_utf8_lossy(&done.stderr)));
        (report, done.status.code().expect("it ended by itself"))
    }

    /// The router passes nothing on and answers web requests itself, whomever they are for.
    fn stand_in_the_way(&mut self, how: &str) {
        let rules = format!(
            "table ip t {{\n chain f {{\n type filter hook forward priority 0;\n {how}\n }}\n \
             chain n {{\n type nat hook prerouting priority -100;\n iif \"r0\" tcp dport 80 redirect to :8080\n }}\n}}\n"
        );
        self.nft(&rules);
        let mut portal = Command::new("ip");
        portal.args(["netns", "exec", &self.name('r'), "python3"]);
        portal.args([
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/portal.py"),
            "10.9.1.1",
            "8080",
            PORTAL,
        ]);
        self.help(portal);
    }

    /// What the router does with what it is to pass on.
    fn rules(&self, what: &str) {
        let table = "table inet t";
        self.nft(&format!(
            "{table}\ndelete {table}\n{table} {{\n chain f {{\n type filter hook forward priority 0;\n {what}\n }}\n}}\n"
        ));
    }

    fn nft(&self, rules: &str) {
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.name('r'), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nftables");
        nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("taken");
        assert!(nft.wait().expect("ends").success());
    }

    /// All that the computer sends goes through a VPN whose other end is the router.
    fn through_a_vpn(&mut self) {
        let [c, r] = ['c', 'r'].map(|end| self.name(end));
        let mut vpn = Command::new("python3");
        vpn.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/vpn.py")).args([&c, "tun0", &r, "tun1"]);
        self.help(vpn);
        for (name, link, address) in [(&c, "tun0", "10.8.0.2/24"), (&r, "tun1", "10.8.0.1/24")] {
            ip(&["-n", name, "addr", "add", address, "dev", link]);
            ip(&["-n", name, "link", "set", link, "up"]);
        }
        ip(&["-n", &c, "route", "replace", "default", "dev", "tun0"]);
    }

    /// Starts something that runs as long as the lab, and waits until it is ready.
    fn help(&mut self, mut command: Command) {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let told = BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line);
        self.helpers.push(child);
        assert!(told.is_ok() && line == "ready\n", "{command:?} is not ready: {line}");
    }
}

/// Runs `ip` with these words.
fn ip(words: &[&str]) {
    let done = Command::new("ip").args(words).output().expect("iproute2");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {words:?} (namespaces need root): {said}");
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.endpoint.take());
        for helper in &mut self.helpers {
            let _ = helper.kill();
            let _ = helper.wait();
        }
        for end in ['c', 'r', 's'] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(end)]).output();
        }
    }
}
