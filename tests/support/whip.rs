//! WHIP servers for whole-program tests: by other implementations (aiortc, Janus), one by str0m in the test itself, web servers that answer
//! whatever they are told, and a relay for media that loses some.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use str0m::change::SdpOffer;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Output, Rtc, RtcConfig};

use super::target::tcp_server;

/// A WHIP server by another implementation. Ends when dropped.
pub(crate) struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn aiortc() -> Self {
        Self::start("whip_aiortc.py")
    }

    pub(crate) fn janus() -> Self {
        Self::start("whip_janus.py")
    }

    /// Starts one; `./dev test` installs what it needs.
    fn start(script: &str) -> Self {
        let script = format!("{}/tests/support/{script}", env!("CARGO_MANIFEST_DIR"));
        // The system's own, which has the packages of the system.
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("UTF-8");
        let port = line.trim().parse().expect("a port: are python3-aiortc, python3-aiohttp and janus there?");
        Self { child, stdin, stdout, port }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("whip:http://127.0.0.1:{}{path}", self.port)
    }

    /// What it received in the session that ended next.
    pub(crate) fn ended(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("UTF-8");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its standard input ends, and with it the server and what it started itself.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// A request with its body.
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn is(&self, method: &str) -> bool {
        self.head.starts_with(&format!("{method} "))
    }

    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

/// Reads a whole request of HTTP/1.1.
pub(crate) fn read_request(stream: &mut impl Read) -> Option<Request> {
    let mut octets = Vec::new();
    let end = loop {
        if let Some(end) = octets.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        read_some(stream, &mut octets)?;
    };
    let head = String::from_utf8_lossy(&octets[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    while octets.len() < end + length.unwrap_or(0) {
        read_some(stream, &mut octets)?;
    }
    Some(Request { head, body: String::from_utf8_lossy(&octets[end..]).into_owned() })
}

fn read_some(stream: &mut impl Read, octets: &mut Vec<u8>) -> Option<()> {
    let mut part = [0; 4_096];
    let len = stream.read(&mut part).ok().filter(|len| *len > 0)?;
    octets.extend_from_slice(&part[..len]);
    Some(())
}

/// A web server of the loopback without encryption; requests are kept.
pub(crate) struct Web {
    pub(crate) at: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub(crate) fn start(says: impl Fn(&Request) -> String + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let at = tcp_server(move |mut stream| {
            let Some(request) = read_request(&mut stream) else { return };
            log.lock().expect("no panic").push(request.head.clone());
            // Whoever measures may go at any time.
            let _ = stream.write_all(says(&request).as_bytes());
        });
        Self { at, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("whip:http://{}{path}", self.at)
    }

    /// Method and path of each request, in order.
    pub(crate) fn seen(&self) -> Vec<String> {
        let seen = self.seen.lock().expect("no panic");
        seen.iter().map(|head| head.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
    }
}

/// An answer with a status and nothing else.
pub(crate) fn status(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n")
}

/// The answer that opens a session.
pub(crate) fn created(sdp: &str) -> String {
    format!(
        "HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\nLocation: /session/1\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

/// A str0m server's answer to an offer; `change` sees the answer before it is sent. Its media half runs on a thread of its own for as long as
/// the test does.
pub(crate) fn str0m_answer(offer: &str, change: impl FnOnce(String) -> String) -> String {
    let (rtc, socket, local, answer) = answered(offer);
    std::thread::spawn(move || serve(rtc, &socket, local, None));
    change(answer)
}

/// The same of one that ends the session after so many packets of media.
pub(crate) fn brief_answer(offer: &str, packets: u64) -> String {
    let (rtc, socket, local, answer) = answered(offer);
    std::thread::spawn(move || serve(rtc, &socket, local, Some(packets)));
    answer
}

/// The same of one that never sends anything.
pub(crate) fn mute_answer(offer: &str) -> String {
    answered(offer).3
}

fn answered(offer: &str) -> (Rtc, UdpSocket, SocketAddr, String) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let local = socket.local_addr().expect("bound");
    // Runs are short: reports come as often as a browser sends them, or more.
    let config = RtcConfig::new().set_rtcp_report_interval_audio(Duration::from_millis(400));
    let mut rtc = config.set_rtcp_report_interval_video(Duration::from_millis(400)).build(Instant::now());
    rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
    let offer = SdpOffer::from_sdp_string(offer).expect("an offer");
    let answer = rtc.sdp_api().accept_offer(offer).expect("accepted");
    (rtc, socket, local, answer.to_sdp_string())
}

fn serve(mut rtc: Rtc, socket: &UdpSocket, local: SocketAddr, most: Option<u64>) {
    let (mut buffer, mut received) = ([0; 2_000], 0);
    while rtc.is_alive() {
        let wake = match rtc.poll_output() {
            Ok(Output::Timeout(wake)) => wake,
            Ok(Output::Transmit(transmit)) => {
                let _ = socket.send_to(&transmit.contents, transmit.destination);
                continue;
            }
            Ok(Output::Event(_)) => continue,
            Err(_) => return,
        };
        let wait = wake.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(wait)).expect("a timeout");
        let came = socket.recv_from(&mut buffer);
        let now = Instant::now();
        let done = match came
            .as_ref()
            .ok()
            .and_then(|(len, from)| Receive::new(Protocol::Udp, *from, local, &buffer[..*len]).ok())
        {
            Some(receive) => rtc.handle_input(Input::Receive(now, receive)),
            None => rtc.handle_input(Input::Timeout(now)),
        };
        if done.is_err() {
            return;
        }
        let came = came.ok().and_then(|(len, _)| media_of(&buffer[..len]));
        received += u64::from(came.is_some());
        if Some(received) == most && came.is_some() && rtc.close().is_err() {
            return;
        }
    }
}

/// A relay of media that loses some packets of RTP on their way to the server, and remembers how many of which stream.
pub(crate) struct Relay {
    pub(crate) at: SocketAddr,
    dropped: Arc<Mutex<BTreeMap<u8, u64>>>,
}

impl Relay {
    /// Relays to `server`; of each stream packets are lost by chance with probability `share`, but for the first ones and those of a second that
    /// the receiver has to begin by.
    pub(crate) fn start(server: SocketAddr, share: f64, seed: u64) -> Self {
        Self::started(server, Way { share, seed, delay: Duration::ZERO, reports: true })
    }

    /// Relays everything to `server`, and of what comes from there no word about media (RTCP).
    pub(crate) fn without_reports(server: SocketAddr) -> Self {
        Self::started(server, Way { share: 0.0, seed: 0, delay: Duration::ZERO, reports: false })
    }

    /// Relays to `server`, each way taking `delay`.
    pub(crate) fn far(server: SocketAddr, delay: Duration) -> Self {
        Self::started(server, Way { share: 0.0, seed: 0, delay, reports: true })
    }

    fn started(server: SocketAddr, way: Way) -> Self {
        let Way { share, seed, delay, reports } = way;
        let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let far = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
        let at = near.local_addr().expect("bound");
        let dropped = Arc::new(Mutex::new(BTreeMap::new()));
        let client = Arc::new(Mutex::new(None));
        let there = delay_line(far.try_clone().expect("cloned"), delay);
        let back = delay_line(near.try_clone().expect("cloned"), delay);
        let near_too = near.try_clone().expect("cloned");
        let (client_too, log) = (Arc::clone(&client), Arc::clone(&dropped));
        std::thread::spawn(move || {
            let (mut buffer, mut state, mut passed) = ([0; 2_048], seed, BTreeMap::new());
            while let Ok((len, from)) = near_too.recv_from(&mut buffer) {
                *client_too.lock().expect("no panic") = Some(from);
                if let Some(stream) = media_of(&buffer[..len]) {
                    let count: &mut u64 = passed.entry(stream).or_default();
                    *count += 1;
                    if *count > 20 && next(&mut state) < share {
                        *log.lock().expect("no panic").entry(stream).or_default() += 1;
                        continue;
                    }
                }
                let _ = there.send((Instant::now(), server, buffer[..len].to_vec()));
            }
        });
        std::thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while let Ok((len, _)) = far.recv_from(&mut buffer) {
                let client = *client.lock().expect("no panic");
                let is_report = (128..192).contains(&buffer[0]) && media_of(&buffer[..len]).is_none();
                if let Some(client) = client.filter(|_| reports || !is_report) {
                    let _ = back.send((Instant::now(), client, buffer[..len].to_vec()));
                }
            }
        });
        Self { at, dropped }
    }

    /// Packets lost so far, by payload type.
    pub(crate) fn dropped(&self) -> BTreeMap<u8, u64> {
        self.dropped.lock().expect("no panic").clone()
    }
}

/// What happens on the way.
#[derive(Clone, Copy)]
struct Way {
    share: f64,
    seed: u64,
    delay: Duration,
    reports: bool,
}

/// Sends what it is given from `socket`, each datagram `delay` after it came.
fn delay_line(socket: UdpSocket, delay: Duration) -> Sender<(Instant, SocketAddr, Vec<u8>)> {
    let (sender, receiver) = channel::<(Instant, SocketAddr, Vec<u8>)>();
    std::thread::spawn(move || {
        for (came, to, octets) in receiver {
            // To a point in time, which is the delay that is to be measured.
            std::thread::sleep((came + delay).saturating_duration_since(Instant::now()));
            let _ = socket.send_to(&octets, to);
        }
    });
    sender
}

/// The payload type of a packet of RTP; of RTCP none (RFC 5761 section 4).
fn media_of(packet: &[u8]) -> Option<u8> {
    let [first, second, ..] = packet else { return None };
    let is_rtp = (128..192).contains(first) && !(192..=223).contains(second);
    is_rtp.then_some(second & 0x7f)
}

/// From 0 to 1 (splitmix64).
fn next(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Posts an offer on to a server and returns its answer's head and body.
pub(crate) fn forward(to: SocketAddr, request: &Request) -> (String, String) {
    let mut stream = TcpStream::connect(to).expect("it listens");
    let head = request.head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("{head}{}", request.body).as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}
