//! The check page in real browsers, with fake devices, against `greenroom serve`. The cases stand in tests/browser/check_page.py, for
//! Chromium, and tests/browser/firefox_page.py; whether its verdict is right where devices and networks have faults,
//! tests/netlab/tests/situations.rs looks at. Those of a test share one server and one browser per set of devices: what starts them is most
//! of the time.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "a test is a server and a client, too")]

/// Signals by recipe, as those of greenroom-reports' own tests.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "made for the test: numbers are small"
)]
#[path = "../reports/tests/signals/recipe.rs"]
mod recipe;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::PublicKeyData as _;
use support::greenroom;
use tempfile::TempDir;

const CHROMIUM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/check_page.py");
const FIREFOX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/firefox_page.py");

/// `greenroom serve`, killed when dropped.
struct Serve {
    child: Child,
    base: String,
    folder: TempDir,
}

impl Serve {
    fn start(endpoint: &str, more: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let args = ["serve", "--listen", "127.0.0.1:0", "--endpoint", endpoint, "--quiet", "--data"];
        let mut child = greenroom(args)
            .arg(folder.path().join("data"))
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut base = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut base).expect("it tells where it is");
        Self { child, base: base.trim().to_owned(), folder }
    }

    /// What runs cases one after the other.
    fn command(&self, script: &str, cases: &str) -> Command {
        let mut command = python();
        command
            .args([script, cases])
            .env("GREENROOM_BASE", &self.base)
            .env("GREENROOM_FOLDER", self.folder.path())
            .env("GREENROOM_PID", self.child.id().to_string());
        command
    }

    /// Where pages measure, as the server tells them.
    fn media(&self) -> String {
        let at = self.base.trim_start_matches("http://");
        let mut stream = TcpStream::connect(at).expect("it listens");
        write!(stream, "GET /api/v1/session HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let url = answer.split("\"url\":\"").nth(1).and_then(|rest| rest.split('"').next());
        url.expect("an endpoint").trim_end_matches("/media").to_owned()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // One that a case has ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python() -> Command {
    let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/browser/bin/python");
    let python = std::env::var("GREENROOM_BROWSER_PYTHON").unwrap_or_else(|_| usual.to_owned());
    let mut command = Command::new(python);
    // Sounds and pictures are the same each time, and take seconds to be made.
    command.env("GREENROOM_MADE", made());
    command
}

fn made() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("media")
}

fn finish(mut command: Command, cases: &str) {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; `./dev test` installs it"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{cases}: {told}");
    println!("{told}");
}

/// Another site: `/` embeds the element, under a policy that allows what docs/CHECK-PAGE.md says and nothing else; `/frame` embeds the page.
struct Embedder {
    origin: String,
    base: Arc<OnceLock<(String, String)>>,
}

impl Embedder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let base: Arc<OnceLock<(String, String)>> = Arc::default();
        let known = Arc::clone(&base);
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (base, media) = known.get().cloned().unwrap_or_default();
                // Each by itself: browsers open connections that they do not use.
                std::thread::spawn(move || answer(stream, &base, &media));
            }
        });
        Self { origin: format!("http://localhost:{port}"), base }
    }
}

fn answer(mut stream: TcpStream, base: &str, media: &str) {
    let mut line = String::new();
    let mut reader = BufReader::new(&stream);
    if reader.read_line(&mut line).is_err() {
        return;
    }
    // The head is read to its end: what is left unread would reset the connection.
    let mut rest = String::new();
    while reader.read_line(&mut rest).is_ok_and(|n| n > 2) {
        rest.clear();
    }
    let strict = format!(
        "default-src 'none'; script-src {base}; connect-src {base} {media} {}; worker-src blob:; media-src blob:; img-src data:; \
         frame-ancestors 'none'",
        base.replace("http://", "ws://")
    );
    let (policy, body) = match line.split(' ').nth(1) {
        Some("/sdk.js" | "/other.js") => return file(stream, "200 OK"),
        Some("/missing.js") => return file(stream, "404 Not Found"),
        Some("/slow.js") => {
            std::thread::sleep(std::time::Duration::from_secs(4));
            return file(stream, "200 OK");
        }
        Some("/files") => {
            let here = line_origin(&stream);
            let other = here.replace("localhost", "127.0.0.1");
            // Nobody listens there any more.
            let dead = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
            let dead = format!("http://localhost:{}", dead.port());
            let policy = strict.replace("connect-src", &format!("connect-src 'self' {other} {dead}"));
            (
                policy.replace("script-src", &format!("script-src {other} {dead}")),
                format!(
                    "<script type=\"module\" src=\"{base}/check/greenroom-check.js\"></script>\n<main><greenroom-check for=\"audio\" \
                     devices=\"speaker\" assets=\"/sdk.js /missing.js {other}/other.js {base}/check/stamp.js?key=secret /slow.js {dead}/dead.js \
                     http://192.0.2.9/banned.js\"></greenroom-check></main>"
                ),
            )
        }
        Some("/") => (
            strict,
            format!(
                "<script type=\"module\" src=\"{base}/check/greenroom-check.js\"></script>\n<main><greenroom-check for=\"360p\" gate>\
                 <span slot=\"title\">A check before our call</span></greenroom-check></main>"
            ),
        ),
        Some(path) if path.starts_with("/frame") => {
            let origin = line_origin(&stream);
            (
                format!("default-src 'none'; frame-src {base}; img-src data:"),
                format!(
                    "<main><h1>Ours</h1><iframe title=\"Check\" width=\"900\" height=\"800\" allow=\"camera; microphone\" \
                     src=\"{base}/check?for=audio&amp;devices=microphone&amp;hand-off={origin}\"></iframe></main>"
                ),
            )
        }
        _ => (String::new(), String::new()),
    };
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <link rel=\"icon\" href=\"data:,\"><title>Ours</title></head><body>{body}</body></html>"
    );
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nContent-Security-Policy: {policy}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    // Who has gone does not read it.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(page.as_bytes()));
}

/// A file that browsers may keep for a minute.
fn file(mut stream: TcpStream, status: &str) {
    let body = [b' '; 20_000];
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/javascript\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // Who has gone does not read it.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

fn line_origin(stream: &TcpStream) -> String {
    format!("http://localhost:{}", stream.local_addr().expect("connected").port())
}

fn cases(endpoint: &str, cases: &str) {
    finish(Serve::start(endpoint, &[]).command(CHROMIUM, cases), cases);
}

const HERE: &str = "127.0.0.1:0";
/// Where the connection is of no interest, its six seconds are left out.
const NOWHERE: &str = "off";

#[test]
fn a_good_run_and_who_comes_back() {
    cases(HERE, "good,busy");
}

#[test]
fn runs_again_and_without_their_server() {
    cases(HERE, "again,script_missing,server_gone");
}

#[test]
fn permissions() {
    cases(NOWHERE, "denied_both,blocked_before,unheard,without_endpoint,stopped_at_its_beginning");
}

#[test]
fn languages_and_screens() {
    cases(NOWHERE, "words_are_whole,languages,screens");
}

#[test]
fn who_hears_themselves() {
    cases(NOWHERE, "hears_themselves,hears_nothing,hears_in_all_languages");
}

#[test]
fn drawing_and_what_draws() {
    cases(NOWHERE, "drawn_by_what_was_chosen,drawing_is_measured");
}

#[test]
fn who_leaves_and_who_comes_by_a_check_link() {
    cases(NOWHERE, "left_and_linked");
}

#[test]
fn on_another_site() {
    let embedder = Embedder::start();
    let serve = Serve::start(HERE, &["--embed-origin".to_owned(), embedder.origin.clone()]);
    embedder.base.set((serve.base.clone(), serve.media())).expect("once");
    let cases = "embedded,not_named,application_files";
    let mut command = serve.command(CHROMIUM, cases);
    command.env("GREENROOM_EMBEDDER", &embedder.origin);
    finish(command, cases);
}

#[test]
fn a_running_call_without_trouble_and_with_that_of_devices() {
    cases(NOWHERE, "clean_call,silent_call,loud_call,replaced_tracks");
}

#[test]
fn a_running_call_whose_page_is_busy_or_hidden() {
    cases(NOWHERE, "busy_page,hidden_call");
}

#[test]
fn by_webrtc_where_the_browser_has_no_webtransport() {
    cases(HERE, "over_webrtc");
}

#[test]
fn by_tcp_where_udp_is_dropped() {
    where_dropped("udp dport 7443-7445 drop", "over_tcp");
}

#[test]
fn by_webrtc_where_quic_is_dropped() {
    where_dropped("udp dport 7443 drop", "webrtc_where_quic_is_dropped,webrtc_refused");
}

/// Of the packets that are as large as probes every tenth, on the way up alone. What SCTP sent again would be no loss.
#[test]
fn losses_over_webrtc_are_told_as_they_were() {
    let rules = "udp dport 7443 drop; add rule inet t c udp dport 7445 meta length > 250 numgen inc mod 10 9 counter drop";
    where_dropped(rules, "webrtc_with_losses");
}

/// What the relay of these tests shares with its server.
const SECRET: &str = "north-by-northwest";

#[test]
fn through_a_relay_over_udp_where_the_endpoint_is_out_of_reach() {
    where_relayed(NOT_STRAIGHT, SECRET, "relayed_over_udp");
}

#[test]
fn through_a_relay_over_tcp_where_udp_is_dropped() {
    where_relayed(
        &format!(
            "{NOT_STRAIGHT}; add rule inet t c udp dport 3478 drop; add rule inet t c tcp dport 5349 drop"
        ),
        SECRET,
        "relayed_over_tcp",
    );
}

#[test]
fn through_a_relay_over_tls_where_only_its_port_is_open() {
    let rules = format!("{NOT_STRAIGHT}; add rule inet t c meta l4proto {{ tcp, udp }} th dport 3478 drop");
    where_relayed(&rules, SECRET, "relayed_over_tls");
}

#[test]
fn a_relay_that_refuses_what_it_is_shown_is_not_blocked() {
    where_relayed(NOT_STRAIGHT, "south", "relay_refuses");
}

/// Of what goes to the endpoint only that of the relay, which has ports of its own, gets there.
const NOT_STRAIGHT: &str = "udp dport 7443-7445 udp sport != 61100-61200 drop";

#[test]
fn sound_and_picture_come_back() {
    cases(HERE, "media_there_and_back,own_media_there_and_back");
}

/// Of the packets of sound (payload type 111) every tenth on the way up and every twentieth on the way down, of the picture's (96) every
/// fifteenth up.
#[test]
fn losses_of_media_are_told_as_they_were() {
    let rules = "udp dport 7445 @th,72,8 & 0x7f == 111 numgen inc mod 10 9 counter drop; \
                 add rule inet t c udp sport 7445 @th,72,8 & 0x7f == 111 numgen inc mod 20 19 counter drop; \
                 add rule inet t c udp dport 7445 @th,72,8 & 0x7f == 96 numgen inc mod 15 14 counter drop";
    where_dropped(rules, "media_with_losses");
}

#[test]
fn a_trial_call_that_does_not_come_about_is_told_and_judged_by_nobody() {
    where_dropped("udp dport 7445 drop", "media_unreachable");
}

/// Beside server and browser there is coturn, as it is; the server shares this secret with it, or thinks so.
fn where_relayed(rules: &str, secret: &str, case: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let shown = rcgen::generate_simple_self_signed(vec!["192.0.2.1".to_owned()]).expect("a certificate");
    std::fs::write(folder.path().join("cert.pem"), shown.cert.pem()).expect("written");
    std::fs::write(folder.path().join("key.pem"), shown.signing_key.serialize_pem()).expect("written");
    let config = format!(
        "listening-ip=192.0.2.1\nlistening-port=3478\ntls-listening-port=5349\ncert={0}/cert.pem\npkey={0}/key.pem\n\
         relay-ip=192.0.2.1\nmin-port=61100\nmax-port=61200\nno-dtls\nno-cli\n\
         use-auth-secret\nstatic-auth-secret={SECRET}\nrealm=greenroom.test\nlog-file=stdout\nverbose\nuserdb={0}/db\npidfile={0}/pid\n",
        folder.path().display()
    );
    std::fs::write(folder.path().join("turnserver.conf"), config).expect("written");
    std::fs::write(folder.path().join("secret"), secret).expect("written");
    // It says nowhere when it is ready: 192.0.2.1:3478 takes connections then.
    let before = "turnserver -c \"$GREENROOM_FOLDER/turnserver.conf\" > \"$GREENROOM_FOLDER/relay\" 2>&1 & \
                  RELAY=$!; while ! grep -q ' 010200C0:0D96 00000000:0000 0A' /proc/net/tcp; do kill -0 $RELAY; sleep 0.05; done";
    let relays = "--turn turn:192.0.2.1 --turn turn:192.0.2.1?transport=tcp --turn turns:192.0.2.1 --turn-secret-file $GREENROOM_FOLDER/secret";
    let serve = format!("-vv --endpoint 192.0.2.1:7443 {relays}");
    let mut command = within(&folder, rules, before, &serve, CHROMIUM, case);
    // Nobody signed its certificate: the browser is told by its key to take it.
    let key = ring::digest::digest(&ring::digest::SHA256, &shown.signing_key.subject_public_key_info());
    command.env("GREENROOM_RELAY_KEY", STANDARD.encode(key));
    finish(command, case);
}

/// Server and browser in a network of their own, in which these packets are dropped.
fn where_dropped(rules: &str, case: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    finish(within(&folder, rules, "RELAY=", "--quiet --endpoint 127.0.0.1:7443", CHROMIUM, case), case);
}

/// What runs a case in a network of its own, in which these packets are dropped.
fn within(folder: &TempDir, rules: &str, before: &str, serve: &str, script: &str, case: &str) -> Command {
    // Browsers send media from no loopback address of their own: there is another one.
    let inside = format!(
        "set -e; ip link set lo up; ip link add d0 type veth peer name d1; ip addr add 192.0.2.1/24 dev d0; ip link set d0 up; ip link set d1 up; ip route add default dev d0; \
         nft \"add table inet t; add chain inet t c {{ type filter hook input priority 0; }}; add rule inet t c $RULES\"; {before}; \
         env -i HOME=/nonexistent \"$BINARY\" serve --listen 127.0.0.1:8080 {serve} --data \"$GREENROOM_FOLDER/data\" > \"$GREENROOM_FOLDER/said\" 2> \"$GREENROOM_FOLDER/log\" & \
         SERVE=$!; trap 'kill $SERVE $RELAY' EXIT; while ! [ -s \"$GREENROOM_FOLDER/said\" ]; do kill -0 $SERVE; sleep 0.05; done; \"$@\""
    );
    let python = python();
    let mut command = Command::new("unshare");
    command.args(["--net", "--", "sh", "-c", &inside, "sh"]).arg(python.get_program()).args([script, case]);
    command
        .env("RULES", rules)
        .env("BINARY", env!("CARGO_BIN_EXE_greenroom"))
        .env("GREENROOM_MADE", made())
        .env("GREENROOM_BASE", "http://127.0.0.1:8080")
        .env("GREENROOM_FOLDER", folder.path());
    command
}

#[test]
fn a_speaker_that_the_microphone_hears() {
    let serve = Serve::start(NOWHERE, &[]);
    let sound = Sound::start("spk");
    let case = "heard_by_the_microphone";
    let mut command = serve.command(CHROMIUM, case);
    command.env("PULSE_SERVER", &sound.server);
    finish(command, case);
}

#[test]
fn microphones_with_faults_by_a_real_path_of_sound() {
    let serve = Serve::start(NOWHERE, &[]);
    let sound = Sound::start("voice");
    let cases = "microphones_of_pulseaudio,unplugged_from_pulseaudio";
    let mut command = serve.command(CHROMIUM, cases);
    command.env("PULSE_SERVER", &sound.server);
    finish(command, cases);
}

/// What is heard and seen is named as greenroom-reports names it, by the vectors that are its own.
#[test]
fn the_pages_detectors_pass_the_vectors() {
    let serve = Serve::start(NOWHERE, &[]);
    let folder = serve.folder.path().join("vectors");
    std::fs::create_dir(&folder).expect("a folder");
    let vectors: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../reports/signals-vectors/sound.json"))
            .expect("vectors are JSON");
    for (n, vector) in vectors.iter().enumerate() {
        let (samples, channels) = recipe::samples(vector);
        let octets: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(folder.join(format!("{n}-{channels}.f32")), octets).expect("written");
    }
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/reports/signals-vectors");
    let cases = "sounds_by_the_vectors,pictures_by_the_vectors";
    let mut command = serve.command(CHROMIUM, cases);
    command.env("GREENROOM_VECTORS", own);
    finish(command, cases);
}

#[test]
fn firefox_a_good_run_by_webtransport() {
    firefox_with_sound("good");
}

#[test]
#[ignore = "half a minute without any trouble is for a quiet computer: `cargo nextest run --run-ignored all firefox_a_running_call`"]
fn firefox_a_running_call_without_trouble() {
    firefox_with_sound("clean_call");
}

fn firefox_with_sound(case: &str) {
    let sound = Sound::start("voice");
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = firefox_within(&folder, NOTHING, case);
    command.env("PULSE_SERVER", &sound.server);
    finish(command, case);
}

#[test]
fn firefox_microphones_with_faults() {
    let serve = Serve::start(NOWHERE, &[]);
    let sound = Sound::start("voice");
    let mut command = serve.command(FIREFOX, "microphones");
    command.env("PULSE_SERVER", &sound.server);
    finish(command, "microphones");
}

#[test]
fn firefox_without_permission_and_without_devices() {
    let cases = "denied,missing,without_output,languages";
    finish(Serve::start(NOWHERE, &[]).command(FIREFOX, cases), cases);
}

/// Of what is as large as probes, and DTLS, every tenth on the way up alone. Media of the trial call begins with other octets.
#[test]
fn firefox_by_webrtc_where_it_has_no_webtransport() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = "udp dport 7445 meta length > 250 @th,64,8 < 64 numgen inc mod 10 9 counter drop";
    finish(firefox_within(&folder, rules, "webrtc_with_losses"), "webrtc_with_losses");
}

#[test]
fn firefox_by_tcp_where_udp_is_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    finish(firefox_within(&folder, "udp dport 7443-7445 drop", "over_tcp"), "over_tcp");
}

/// To a port that nobody listens on.
const NOTHING: &str = "udp dport 9 drop";

/// Firefox sends media to no loopback address: the endpoint has another one.
fn firefox_within(folder: &TempDir, rules: &str, case: &str) -> Command {
    within(folder, rules, "RELAY=", "--quiet --endpoint 192.0.2.1:7443", FIREFOX, case)
}

/// A sound server of its own, with two speakers, `spk` and `voice`; one of them is wired to its microphone, `mic`.
struct Sound {
    pulse: Child,
    server: String,
    _folder: TempDir,
}

impl Sound {
    fn start(heard: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("socket");
        let server = format!("unix:{}", socket.display());
        let mut pulse = Command::new("pulseaudio");
        pulse.args([
            "-n",
            "--daemonize=no",
            "--exit-idle-time=-1",
            "--disable-shm=yes",
            "--realtime=no",
            "--high-priority=no",
        ]);
        pulse
            .arg("-L")
            .arg(format!("module-native-protocol-unix auth-anonymous=1 socket={}", socket.display()));
        pulse.args(["-L", "module-null-sink sink_name=spk rate=48000"]);
        pulse.args(["-L", "module-null-sink sink_name=voice rate=48000"]);
        let microphone = format!(
            "module-remap-source master={heard}.monitor source_name=mic source_properties=device.description=mic"
        );
        pulse.arg("-L").arg(microphone);
        pulse.env("HOME", folder.path()).env("XDG_RUNTIME_DIR", folder.path()).stderr(Stdio::null());
        let pulse = pulse.spawn().expect("pulseaudio is installed: ./dev test does it");
        let mut sound = Self { pulse, server, _folder: folder };
        while !socket.exists() {
            assert!(sound.pulse.try_wait().expect("a child").is_none(), "pulseaudio ended");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        for default in [["set-default-source", "mic"], ["set-default-sink", "spk"]] {
            let set = Command::new("pactl").args(default).env("PULSE_SERVER", &sound.server).status();
            assert!(set.expect("pactl is installed: ./dev test does it").success());
        }
        sound
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        let _ = self.pulse.kill();
        let _ = self.pulse.wait();
    }
}
