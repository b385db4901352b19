//! `greenroom serve` as whoever runs one meets it: the first admin, a key, reports that come in and are found, and the file of a
//! support run.
#![cfg(all(unix, feature = "web"))]
#![expect(clippy::disallowed_methods, reason = "a test asks for pages over sockets of its own")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Respond, greenroom};

/// A running server with its data. Killed when dropped.
struct Serve {
    child: Child,
    at: SocketAddr,
    data: PathBuf,
}

impl Serve {
    fn on(data: &Path) -> Self {
        Self::with(data, |command| command)
    }

    /// With more on its command line or in its environment.
    fn with(data: &Path, more: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = greenroom(["serve", "--listen", "127.0.0.1:0", "--data"]);
        let mut child = more(command.arg(data)).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut told = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        while !told.contains("Data ") {
            assert_ne!(stdout.read_line(&mut told).expect("UTF-8"), 0, "it ended early: {told}");
        }
        let url = told.split_whitespace().find_map(|word| word.strip_prefix("http://")).expect("an address");
        Self { child, at: url.parse().expect("an address"), data: data.to_owned() }
    }

    fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Asks for a page, and gives the whole answer.
    fn ask(&self, method: &str, path: &str, cookie: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.at).expect("it listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\nOrigin: http://{at}\r\nCookie: {cookie}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}",
            at = self.at,
            length = body.len()
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// Becomes the first admin; the cookie of the session.
    fn first_admin(&self) -> String {
        let link = fs::read_to_string(self.data.join("admin-link")).expect("the link is there");
        let path = link.trim().strip_prefix(&self.url()).expect("a link to this server").to_owned();
        let answer = self.ask("POST", &path, "", "name=ada&password=correct+horse+battery");
        let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a session");
        cookie.split(';').next().expect("a value").to_owned()
    }

    /// A key for sending reports, in a file.
    fn key_file(&self, cookie: &str, folder: &Path) -> PathBuf {
        let file = folder.join("key");
        fs::write(&file, self.key(cookie, "send")).expect("writable");
        file
    }

    fn key(&self, cookie: &str, good_for: &str) -> String {
        let page = self.ask("POST", "/keys", cookie, &format!("name=laptops&good_for={good_for}"));
        let from = page.find("gr_").expect("the key is shown");
        let key: String = page[from..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
            .collect();
        assert!(key.len() > 30, "{key}");
        key
    }

    fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("it runs");
        assert_eq!(self.child.wait().expect("a child").code(), Some(0));
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The code that the sender is told.
fn code_told(output: &Output) -> String {
    let err = text(&output.stderr);
    let line = err.lines().find(|line| line.contains("Sent to")).unwrap_or_else(|| panic!("not sent: {err}"));
    line.split_whitespace()
        .find(|word| word.len() == 9 && word.as_bytes()[4] == b'-')
        .expect("a code")
        .to_owned()
}

#[test]
fn a_report_is_sent_kept_and_found_also_after_a_new_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = Respond::on("127.0.0.1:0", &[]);
    let server = Serve::on(&folder.path().join("data"));
    let mode = fs::metadata(&server.data).expect("there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "the data are for this user alone");
    assert!(server.ask("GET", "/reports", "", "").starts_with("HTTP/1.1 303"), "strangers see nothing");
    let cookie = server.first_admin();
    assert!(
        !server.data.join("admin-link").exists() || !server.ask("GET", "/first/x", "", "").contains("200 OK")
    );
    let key = server.key_file(&cookie, folder.path());
    let sent = greenroom([
        "check",
        endpoint.url(),
        "--label",
        "ticket=T-77",
        "--label",
        "person=Ada L.",
        "--no-history",
    ])
    .args(["--upload", &server.url(), "--key-file"])
    .arg(&key)
    .output()
    .expect("the binary runs");
    let code = code_told(&sent);
    let verdict = text(&sent.stdout);
    let page = server.ask("GET", &format!("/reports?q={code}"), &cookie, "");
    assert!(page.contains(&code) || page.starts_with("HTTP/1.1 303"), "{page}");
    server.stop();

    let again = Serve::on(&folder.path().join("data"));
    assert!(!again.data.join("admin-link").exists(), "there is an admin");
    let found = again.ask("GET", &format!("/reports?q={code}"), &cookie, "");
    let path = found.lines().find_map(|line| line.strip_prefix("location: ")).map_or_else(
        || {
            let from = found.find("/reports/").expect("a link to the report");
            found[from..].split('"').next().expect("a path").to_owned()
        },
        str::to_owned,
    );
    let page = again.ask("GET", path.trim_start_matches(&again.url()), &cookie, "");
    for words in [code.as_str(), "T-77", "Ada L."] {
        assert!(page.contains(words), "`{words}` is not on the page");
    }
    let say = verdict.lines().map(str::trim).find(|line| !line.is_empty()).expect("a verdict");
    assert!(!say.is_empty() && page.contains("Audio"), "{say}");
}

#[test]
fn a_wrong_key_ends_with_73_and_the_verdict_is_told_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Serve::on(&folder.path().join("data"));
    let key = folder.path().join("key");
    fs::write(&key, "gr_000000000000_hunter2hunter2").expect("writable");
    let sent = greenroom(["check", "--no-history", "--upload", &server.url(), "--key-file"])
        .arg(&key)
        .output()
        .expect("the binary runs");
    assert_eq!(sent.status.code(), Some(73), "{}", text(&sent.stderr));
    assert!(!sent.stdout.is_empty());
    assert!(!(text(&sent.stdout) + &text(&sent.stderr)).contains("hunter2"));
}

#[test]
fn a_support_run_is_one_file_without_what_is_personal() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = Respond::on("127.0.0.1:0", &[]);
    let server = Serve::on(&folder.path().join("data"));
    let cookie = server.first_admin();
    let key = server.key_file(&cookie, folder.path());
    let file = folder.path().join("run.greenroom.zip");
    let ran = greenroom([
        "diagnose",
        endpoint.url(),
        "--label",
        "ticket=T-78",
        "--upload",
        &server.url(),
        "--key-file",
    ])
    .arg(&key)
    .args(["--pcap", "--file"])
    .arg(&file)
    .output()
    .expect("the binary runs");
    let code = code_told(&ran);
    let secret = fs::read_to_string(&key).expect("readable");
    let packed = fs::read(&file).expect("it was written");
    assert!(packed.starts_with(b"PK"));
    let json = greenroom::bundle::report_json(&packed).expect("a support file");
    assert!(
        json.contains(&code) && json.contains("\"diagnose\"") && json.contains("\"redaction\": \"support\"")
    );
    assert!(!json.contains(secret.trim()));
    let archive = zip::ZipArchive::new(std::io::Cursor::new(&packed)).expect("an archive");
    assert!(
        archive.index_for_name("packets.csv").is_some() && archive.index_for_name("packets.pcapng").is_some()
    );

    let shown = greenroom(["report", "show"]).arg(&file).output().expect("the binary runs");
    assert_eq!(shown.status.code(), Some(0));
    assert!(
        text(&shown.stdout).contains("whole addresses and device names hidden"),
        "{}",
        text(&shown.stdout)
    );
    let valid = greenroom(["report", "validate"]).arg(&file).output().expect("the binary runs");
    assert_eq!(valid.status.code(), Some(0), "{}{}", text(&valid.stdout), text(&valid.stderr));
    let found = server.ask("GET", &format!("/reports?q={code}"), &cookie, "");
    assert!(found.contains("/reports/"), "{found}");
}

#[test]
fn an_older_report_is_redacted_and_stays_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let golden = include_str!("../reports/tests/golden/stun.json");
    let report = folder.path().join("call.json");
    fs::write(&report, golden).expect("writable");
    let ran = greenroom(["diagnose", "--redact"])
        .arg(&report)
        .current_dir(folder.path())
        .output()
        .expect("the binary runs");
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    assert_eq!(fs::read_to_string(&report).expect("readable"), golden);
    let written = fs::read_dir(folder.path())
        .expect("a folder")
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().ends_with(greenroom::bundle::SUFFIX))
        .expect("the file has the report's code in its name");
    let json =
        greenroom::bundle::report_json(&fs::read(written.path()).expect("readable")).expect("a report");
    assert!(golden.contains("192.0.2.7:3478") && !json.contains("192.0.2.7"));
    assert!(json.contains("192.0.2.0:3478"));
}

#[test]
fn a_link_that_is_none_is_refused_before_anything_is_measured_and_not_repeated() {
    for link in ["https://greenroom.example/c/gr_hunter2", "http://greenroom.example/c/gc_hunter2", "hunter2"]
    {
        for command in ["check", "diagnose"] {
            let ran =
                greenroom([command, "host.invalid", "--ticket", link]).output().expect("the binary runs");
            assert_eq!(ran.status.code(), Some(64), "{command} {link}");
            let said = text(&ran.stdout) + &text(&ran.stderr);
            assert!(said.contains("--ticket") && !said.contains("hunter2"), "{said}");
        }
    }
}

/// The whole program on a database elsewhere: TLS with its certificate, a password from a file, and nothing of it told.
#[test]
fn a_database_with_tls_and_a_password_keeps_reports_and_the_password_is_never_told() {
    let folder = tempfile::tempdir().expect("a folder");
    // An address of this computer that no other test has: 127.… made of the number of this process.
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let at = Ipv4Addr::new(127, a.max(1), b, c.max(2));
    let made = rcgen::generate_simple_self_signed([at.to_string()]).expect("a certificate");
    let (certificate, other) = (folder.path().join("ca.pem"), folder.path().join("other.pem"));
    fs::write(&certificate, made.cert.pem()).expect("writable");
    let stranger = rcgen::generate_simple_self_signed([at.to_string()]).expect("a certificate");
    fs::write(&other, stranger.cert.pem()).expect("writable");
    let cluster = postgres::Cluster::start_with_tls(&made.cert.pem(), &made.signing_key.serialize_pem(), at);
    let local = cluster.url("postgres");
    cluster.ask(&local, "CREATE ROLE keeper LOGIN PASSWORD 'hunter2 with spaces'");
    cluster.ask(&local, "CREATE DATABASE kept OWNER keeper");
    let passwords = folder.path().join("pgpass");
    fs::write(&passwords, format!("{at}:5432:kept:keeper:hunter2 with spaces\n")).expect("writable");
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).expect("set");
    let url = |certificate: &Path| {
        format!("postgres://keeper@{at}/kept?sslmode=verify-full&sslrootcert={}", certificate.display())
    };
    let log = folder.path().join("log");
    let start = || {
        let log = fs::File::options().create(true).append(true).open(&log).expect("a log");
        Serve::with(&folder.path().join("data"), |command| {
            command.args(["-vvv", "--store", &url(&certificate)]).env("PGPASSFILE", &passwords).stderr(log)
        })
    };
    let server = start();
    let seen = fs::read(format!("/proc/{}/cmdline", server.child.id())).expect("Linux");
    assert!(!text(&seen).contains("hunter2"));
    let cookie = server.first_admin();
    let key = server.key_file(&cookie, folder.path());
    let sent = greenroom([
        "check",
        "--no-history",
        "--label",
        "ticket=T-79",
        "--upload",
        &server.url(),
        "--key-file",
    ])
    .arg(&key)
    .output()
    .expect("the binary runs");
    let code = code_told(&sent);
    let found = server.ask("GET", &format!("/reports?q={code}"), &cookie, "");
    assert!(found.contains("/reports/"), "{found}");
    assert_eq!(cluster.ask(&cluster.url("kept"), "SELECT ticket FROM report"), "T-79");
    let encrypted = cluster.ask(
        &local,
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'keeper'",
    );
    assert_eq!(encrypted, "t");
    server.stop();
    let again = start();
    assert!(
        again.ask("GET", &format!("/reports?q={code}"), &cookie, "").contains("/reports/"),
        "the session holds, too"
    );
    again.stop();
    let told = fs::read_to_string(&log).expect("a log");
    assert!(!told.is_empty() && !told.contains("hunter2"), "{told}");

    fs::write(&passwords, format!("{at}:5432:kept:keeper:hunter3\n")).expect("writable");
    for (name, certificate) in [("a wrong password", &certificate), ("another authority", &other)] {
        let refused = greenroom([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--endpoint",
            "off",
            "--store",
            &url(certificate),
            "--data",
        ])
        .arg(folder.path().join("data"))
        .env("PGPASSFILE", &passwords)
        .output()
        .expect("the binary runs");
        let said = text(&refused.stdout) + &text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(69), "{name}: {said}");
        assert!(!said.contains("hunter"), "{name}: {said}");
    }
    let in_argv = greenroom(["serve", "--store", &format!("postgres://keeper:hunter2@{at}/kept")])
        .output()
        .expect("the binary runs");
    let said = text(&in_argv.stdout) + &text(&in_argv.stderr);
    assert_eq!(in_argv.status.code(), Some(64), "{said}");
    assert!(said.contains("--store-file") && !said.contains("hunter2"), "{said}");
}

/// The next request that comes whole: who was killed may have left one behind that is cut off.
fn whole_request(listener: &TcpListener) -> (TcpStream, String, String) {
    loop {
        let (mut stream, _) = listener.accept().expect("a message");
        if let Some((head, body)) = request(&mut stream) {
            return (stream, head, body);
        }
    }
}

/// Reads a request up to its end; its headers and its body.
fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((head, text(&body)))
}

/// A report of Ada's with this verdict, by its number.
fn report_of(n: u8, verdict: &str) -> String {
    let mut report: serde_json::Value =
        serde_json::from_str(include_str!("../reports/tests/golden/measured.json")).expect("JSON");
    let now = jiff::Timestamp::now();
    let id = uuid::Builder::from_unix_timestamp_millis(
        u64::try_from(now.as_millisecond()).expect("after 1970"),
        &[n; 10],
    )
    .into_uuid();
    report["id"] = id.to_string().into();
    report["code"] = greenroom_reports::assess::short_code(id).into();
    let started = now.checked_sub(jiff::SignedDuration::from_secs(100 - i64::from(n))).expect("a time");
    report["started"] = started.to_string().into();
    // The golden file has a placeholder there.
    report["sketches"] = serde_json::json!({});
    report["labels"]["person"] = "Ada".into();
    report["verdict"]["overall"] = verdict.into();
    report.to_string()
}

fn post(server: &Serve, key: &str, report: &str) -> String {
    let mut stream = TcpStream::connect(server.at).expect("it listens");
    let head = format!(
        "POST /api/v1/reports HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{report}",
        server.at,
        report.len()
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// The server is killed right after it acknowledged the report that changed a verdict, and while its message is on the way: the message
/// comes all the same, perhaps twice, and then with one id.
#[test]
fn a_killed_server_still_tells_of_a_changed_verdict() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let hook = format!(
        "http%3A%2F%2F{}%2Fhook",
        receiver.local_addr().expect("bound").to_string().replace(':', "%3A")
    );
    let start = || {
        Serve::with(&folder.path().join("data"), |command| {
            command.args(["--allow-private", "webhooks", "--endpoint", "off"])
        })
    };
    let mut server = start();
    let cookie = server.first_admin();
    let key = server.key(&cookie, "send");
    let made = server.ask("POST", "/webhooks", &cookie, &format!("name=ops&url={hook}"));
    assert!(made.contains("whsec_"), "{made}");
    assert!(post(&server, &key, &report_of(1, "ready")).starts_with("HTTP/1.1 202"));
    assert!(post(&server, &key, &report_of(2, "blocked")).starts_with("HTTP/1.1 202"));
    server.child.kill().expect("it runs");
    server.child.wait().expect("a child");

    let mut server = start();
    // It takes the message, and is killed before it hears so.
    let (stream, head, body) = whole_request(&receiver);
    let id = |head: &str| {
        head.lines().find_map(|line| line.strip_prefix("webhook-id: ")).expect("an id").to_owned()
    };
    let first = id(&head);
    assert!(body.contains("verdict.changed") && body.contains("blocked"), "{body}");
    server.child.kill().expect("it runs");
    server.child.wait().expect("a child");
    drop(stream);

    let server = start();
    let (mut stream, head, again) = whole_request(&receiver);
    assert_eq!((id(&head), again), (first, body), "whoever gets it twice knows it by its id");
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").expect("it reads");
    drop(stream);
    let page = server.ask("GET", "/webhooks", &cookie, "");
    let path =
        page.split("href=\"/webhooks/").nth(1).and_then(|rest| rest.split('"').next()).expect("its page");
    while !server.ask("GET", &format!("/webhooks/{path}"), &cookie, "").contains("delivered") {}
    server.stop();
}

/// schemathesis makes requests from the OpenAPI document, right ones and wrong ones, and looks whether each answer is one that the document
/// describes. `./dev test` installs it. Its seed is printed with what it finds.
#[test]
fn every_answer_is_one_that_the_openapi_document_describes() {
    let schemathesis =
        std::env::var_os("GREENROOM_SCHEMATHESIS").expect("GREENROOM_SCHEMATHESIS: run ./dev test");
    let folder = tempfile::tempdir().expect("a folder");
    let server = Serve::on(&folder.path().join("data"));
    let cookie = server.first_admin();
    let document = format!("{}/api/v1/openapi.json", server.url());
    let (all, some) = (["examples,coverage,fuzzing", "60"], ["fuzzing", "20"]);
    for (operations, good_for, [phases, most]) in [
        ("^GET /api/v1/(reports|fleet)", "read_personal", all),
        // Going through the schema of a whole report in order takes minutes.
        ("^POST /api/v1/reports", "send", some),
        ("/api/v1/agents", "read_personal", all),
        ("session|runs|z$", "send", all),
        ("/metrics", "metrics", all),
    ] {
        let mut run = std::process::Command::new(&schemathesis);
        run.args(["run", &document, "--max-examples", most, "--phases", phases, "--no-color"])
            .args(["--suppress-health-check", "all"])
            // Some of what has to be so no schema can say: that one time is before another, that a report's figures fit.
            .args(["--exclude-checks", "positive_data_acceptance"])
            .args(["--include-name-regex", operations])
            .arg("--header")
            .arg(format!("Authorization: Bearer {}", server.key(&cookie, good_for)))
            .current_dir(folder.path());
        let output = run.output().expect("schemathesis runs");
        assert!(output.status.success(), "{operations}: {}{}", text(&output.stdout), text(&output.stderr));
    }
    server.stop();
}

/// What went wrong in the month that is made up, of what lies in the week that is looked over at a start, is found.
#[test]
fn a_demonstration_shows_incidents_and_its_pages_look_right() {
    let mut child = greenroom(["serve", "--demo", "--listen", "127.0.0.1:0", "--endpoint", "off"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut told = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    while !told.contains("choose a name") {
        assert_ne!(stdout.read_line(&mut told).expect("UTF-8"), 0, "it ended early: {told}");
    }
    let url = told.split_whitespace().find_map(|word| word.strip_prefix("http://")).expect("an address");
    let link = told.split_once("Come in by").expect("a way in").1.split_whitespace().next().expect("a link");
    let at = url.split('/').next().expect("an address").parse().expect("an address");
    let serve = Serve { child, at, data: PathBuf::new() };
    let path = link.strip_prefix(&serve.url()).expect("a link to this server").to_owned();
    let answer = serve.ask("POST", &path, "", "name=ada&password=correct+horse+battery");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a session");
    let cookie = cookie.split(';').next().expect("a value").to_owned();
    // The runner's time limit ends what never comes.
    let made_up = ["a provider loses", "an endpoint answers"];
    assert!(made_up.iter().all(|what| told.contains(what)), "{told}");
    loop {
        let page = serve.ask("GET", "/incidents", &cookie, "");
        if page.matches("href=\"/incidents/").count() >= made_up.len() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let shots = std::env::var("GREENROOM_SHOTS").map_or_else(|_| folder.path().to_owned(), Into::into);
    let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/browser/bin/python");
    let looked = Command::new(std::env::var("GREENROOM_BROWSER_PYTHON").unwrap_or_else(|_| usual.to_owned()))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/dashboard.py"))
        .args([&serve.url(), &cookie])
        .arg(shots)
        .output()
        .expect("python runs; ./dev test installs what it needs");
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
}
