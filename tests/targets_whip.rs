//! Media published by the program by WHIP: to another implementation, over a way that loses some, and to such that do everything wrong.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "tests open sockets")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/target.rs"]
mod target;
#[path = "support/whip.rs"]
mod whip;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::greenroom;
use target::{Authority, Measured, closed_port, measured, self_signed, server_config, tcp_server};
use whip::{
    Relay, Server, Web, brief_answer, created, forward, mute_answer, read_request, status, str0m_answer,
};

fn for_seconds(url: &str, seconds: u32) -> Command {
    greenroom(["measure", url, "--duration", &format!("{seconds}s"), "--json", "-"])
}

fn publish(url: &str) -> Measured {
    measured(&mut for_seconds(url, 1))
}

fn stream<'a>(found: &'a Measured, media: &str) -> &'a Value {
    let streams = found.details()["streams"].as_array().expect("streams");
    streams.iter().find(|stream| stream["media"] == media).expect("such a stream")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// The reason of a failure: the evidence of the first cause, and what to do.
fn said(found: &Measured) -> String {
    let cause = &found.report["verdict"]["causes"][0];
    format!("{} {} {}", cause["say"], cause["fix"], cause["evidence"])
}

#[test]
fn another_implementation_takes_the_media_and_reports_of_them() {
    let mut server = Server::aiortc();
    let found = measured(&mut for_seconds(&server.url("/whip"), 5));
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    let received = server.ended();
    for (media, codec) in [("audio", "opus/48000"), ("video", "VP8/90000")] {
        let stream = stream(&found, media);
        assert_eq!(stream["codec"]["value"], codec, "{stream}");
        assert_eq!(stream["loss_ratio"]["state"], "measured", "{stream}");
        assert_eq!(stream["rtt_ms"]["state"], "measured", "{stream}");
        assert!(stream["rtt_ms"]["p50"].as_f64().is_some_and(|ms| (0.0..500.0).contains(&ms)), "{stream}");
        assert_eq!(stream["jitter_rfc3550_ms"]["state"], "measured", "{stream}");
    }
    assert_eq!(stream(&found, "audio")["sent_packets"], 250);
    // By the server's own count; that of the picture is the count of its repair stream.
    assert_eq!(received["audio"]["received"], 250, "{received}");
    let details = found.details();
    assert_eq!(details["pair"]["local"]["transport"], "udp", "{details}");
    for step in ["connect_ms", "answer_ms", "ice_ms", "dtls_ms", "first_feedback_ms", "total_ms"] {
        assert_eq!(details["steps"][step]["state"], "measured", "{step}: {details}");
    }
    // aiortc has no transport-wide feedback, and says what it allows in the older way.
    assert_eq!(details["transport_feedback"]["state"], "not_tested");
    assert_eq!((&details["ended"]["value"], &details["broke_off"]), (&true.into(), &Value::Null));
    assert_eq!(details["ice_servers"], serde_json::json!(["stun:stun.example:3478"]));
    // What has a place among the common figures stands there too.
    let target = found.target();
    assert_eq!(target["rtt_ms"], stream(&found, "audio")["rtt_ms"]);
    assert_eq!(target["up"]["loss_ratio"], stream(&found, "audio")["loss_ratio"]);
    assert_eq!(target["streams"][0]["use"], "video_360p");
    let counts = &target["up"];
    let sum: u64 = ["on_time", "lost", "awaited"].iter().map(|count| number(&counts[count])).sum();
    assert_eq!(number(&counts["sent"]), sum, "{counts}");
    let shown = found.shown();
    for words in ["Audio: round trip, median", "Video lost", "The way that media took", "Offer to answer"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

/// aiortc behind a relay that loses some: its answer names the relay in place of its own addresses.
fn behind(server: SocketAddr, share: f64) -> (Web, std::sync::Arc<std::sync::Mutex<Option<Relay>>>) {
    let relay = std::sync::Arc::new(std::sync::Mutex::new(None));
    let kept = std::sync::Arc::clone(&relay);
    let web = Web::start(move |request| {
        let (head, body) = forward(server, request);
        let mut relayed = String::new();
        for line in body.lines() {
            match line.strip_prefix("a=candidate:").map(|rest| rest.split(' ').collect::<Vec<_>>()) {
                Some(words) => {
                    let Ok(own) = format!("{}:{}", words[4], words[5]).parse::<SocketAddr>() else {
                        continue;
                    };
                    let mut relay = kept.lock().expect("no panic");
                    let relay = relay.get_or_insert_with(|| Relay::start(own, share, 7));
                    relayed +=
                        &format!("a=candidate:1 1 udp 2130706431 127.0.0.1 {} typ host\r\n", relay.at.port());
                }
                None => relayed += &format!("{line}\r\n"),
            }
        }
        let head: String = head
            .lines()
            .filter(|line| !line.to_ascii_lowercase().starts_with("content-length"))
            .map(|line| format!("{line}\r\n"))
            .collect();
        format!("{head}Content-Length: {}\r\n\r\n{relayed}", relayed.len())
    });
    (web, relay)
}

#[test]
fn what_is_lost_on_the_way_is_told_as_the_server_counts_it() {
    let mut server = Server::aiortc();
    let (web, relay) = behind((Ipv4Addr::LOCALHOST, server.port).into(), 0.1);
    let found = measured(&mut for_seconds(&web.url("/whip"), 8));
    assert_eq!(found.failure(), "", "{found:?}");
    let received = server.ended();
    let dropped = relay.lock().expect("no panic").as_ref().expect("it relayed").dropped();
    println!("dropped by payload type: {dropped:?}; the server: {received}");
    let audio = stream(&found, "audio");
    let truly: u64 = 250 + 150 - number(&received["audio"]["received"]);
    assert!(dropped.values().any(|count| *count == truly), "{dropped:?} {received}");
    assert!(truly > 15, "about 10 % of 400: {truly}");
    // Of those that the last report spoke of; it may have come before the end.
    let (told, expected) = (number(&audio["lost"]), number(&audio["expected"]));
    assert!(told <= truly && told + (400 - expected) >= truly, "{audio} {truly}");
    let interval = &audio["loss_ratio"];
    let (low, high) = (interval["low"].as_f64().expect("low"), interval["high"].as_f64().expect("high"));
    let share = truly as f64 / 400.0;
    assert!(low <= share && share <= high, "{interval} {share}");
    // The picture's losses are asked for again.
    let video = stream(&found, "video");
    assert!(number(&video["nacked_packets"]) > 0 && number(&video["repairs"]) > 0, "{video}");
    assert!(number(&video["lost"]) > 0, "{video}");
}

#[test]
fn a_server_with_transport_wide_feedback_tells_the_rate() {
    let mut server = Server::janus();
    let found = measured(&mut for_seconds(&server.url("/whip"), 5));
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    server.ended();
    for media in ["audio", "video"] {
        let stream = stream(&found, media);
        for figure in ["loss_ratio", "rtt_ms", "jitter_rfc3550_ms"] {
            assert_eq!(stream[figure]["state"], "measured", "{figure}: {stream}");
        }
    }
    let transport = &found.details()["transport_feedback"];
    assert_eq!(transport["estimate_bps"]["state"], "measured", "{transport}");
    // Janus has it for the picture: of nearly all its packets.
    let video = number(&stream(&found, "video")["sent_packets"]);
    assert!(number(&transport["packets"]) > video / 2, "{transport} of {video}");
    assert!(found.shown().contains("Rate that the way carries"));
}

#[test]
fn transport_wide_feedback_tells_of_every_packet() {
    let web = Web::start(|request| match request.is("POST") {
        true => created(&str0m_answer(&request.body, |sdp| sdp)),
        false => status("200 OK", ""),
    });
    let found = measured(&mut for_seconds(&web.url("/whip"), 3));
    assert_eq!(found.failure(), "", "{found:?}");
    let details = found.details();
    let transport = &details["transport_feedback"];
    assert_eq!(transport["state"], "measured", "{details}");
    let sent: u64 =
        ["audio", "video"].iter().map(|media| number(&stream(&found, media)["sent_packets"])).sum();
    assert!(number(&transport["packets"]) > sent / 2, "{transport} of {sent}");
    assert_eq!(transport["estimate_bps"]["state"], "measured", "{transport}");
    assert_eq!(number(&stream(&found, "audio")["sent_packets"]), 150);
    assert_eq!(web.seen(), ["POST /whip", "DELETE /session/1"]);
    assert!(found.shown().contains("Rate that the way carries"));
}

/// A str0m server whose answer names a relay in its place.
fn relayed(offer: &str, relay: impl FnOnce(SocketAddr) -> Relay) -> String {
    // It does not learn of a way past the relay.
    let offer: String = offer
        .lines()
        .filter(|line| !line.starts_with("a=candidate:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    str0m_answer(&offer, |sdp| {
        let candidate = sdp.lines().find_map(|line| line.strip_prefix("a=candidate:")).expect("a candidate");
        let words: Vec<&str> = candidate.split(' ').collect();
        let own = format!("{}:{}", words[4], words[5]).parse().expect("an address");
        sdp.replace(&format!(" {} ", words[5]), &format!(" {} ", relay(own).at.port()))
    })
}

#[test]
fn the_round_trip_is_that_of_the_way() {
    let delay = Duration::from_millis(60);
    let web = Web::start(move |request| match request.is("POST") {
        true => created(&relayed(&request.body, |own| Relay::far(own, delay))),
        false => status("200 OK", ""),
    });
    let found = measured(&mut for_seconds(&web.url("/"), 3));
    assert_eq!(found.failure(), "", "{found:?}");
    let details = found.details();
    let round_trips =
        [&stream(&found, "audio")["rtt_ms"], &stream(&found, "video")["rtt_ms"], &details["pair_rtt_ms"]];
    for rtt in round_trips {
        let (least, median) =
            (rtt["min"].as_f64().expect("measured"), rtt["p50"].as_f64().expect("measured"));
        // Never less than the way takes, and not much more than a busy machine adds.
        assert!((119.0..1_000.0).contains(&least) && median < 1_000.0, "{rtt}");
    }
}

#[test]
fn a_server_that_says_nothing_of_the_media_is_told() {
    let web = Web::start(|request| match request.is("POST") {
        true => created(&relayed(&request.body, Relay::without_reports)),
        false => status("200 OK", ""),
    });
    let found = publish(&web.url("/"));
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    let audio = stream(&found, "audio");
    assert_eq!((number(&audio["sent_packets"]), number(&audio["reports"])), (50, 0), "{audio}");
    for figure in ["loss_ratio", "rtt_ms", "jitter_rfc3550_ms"] {
        assert_eq!(audio[figure]["state"], "failed", "{audio}");
        assert!(
            audio[figure]["reason"].as_str().is_some_and(|why| why.contains("no receiver report")),
            "{audio}"
        );
    }
    let details = found.details();
    assert_eq!(details["steps"]["first_feedback_ms"]["state"], "failed");
    assert_eq!(details["transport_feedback"]["state"], "not_tested");
    // The way itself is measured all the same.
    assert_eq!(details["pair_rtt_ms"]["state"], "measured", "{details}");
}

#[test]
fn a_server_that_takes_the_sound_alone_is_measured_by_the_sound() {
    let web = Web::start(|request| match request.is("POST") {
        true => created(&str0m_answer(&request.body, |sdp| sdp.replace("m=video 9", "m=video 0"))),
        false => status("200 OK", ""),
    });
    let found = publish(&web.url("/"));
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    assert_eq!(stream(&found, "video")["codec"]["state"], "failed");
    assert_eq!(number(&stream(&found, "audio")["sent_packets"]), 50);
    assert_eq!(found.target()["up"]["loss_ratio"]["state"], "measured");
    found.shown();
}

#[test]
fn a_session_that_the_server_ends_is_told_with_what_was_measured() {
    let web = Web::start(|request| match request.is("POST") {
        true => created(&brief_answer(&request.body, 200)),
        false => status("200 OK", ""),
    });
    let found = measured(&mut for_seconds(&web.url("/"), 60));
    let details = found.details();
    assert!(
        details["broke_off"].as_str().is_some_and(|how| how.contains("the server ended it")),
        "{found:?}"
    );
    let sent = number(&stream(&found, "audio")["sent_packets"]);
    assert!((1..3_000).contains(&sent), "{sent}");
    assert!(found.shown().contains("It ended before its time"));
    assert_eq!(web.seen().len(), 2);
}

#[test]
fn a_token_opens_the_server_and_is_shown_nowhere() {
    let mut server = Server::aiortc();
    let url = server.url("/closed");
    let closed = publish(&url);
    assert_eq!((closed.code, closed.failure()), (Some(69), "bearer_required"), "{closed:?}");
    assert!(said(&closed).contains("--whip-token-file"), "{}", said(&closed));
    let wrong = measured(for_seconds(&url, 1).env("GREENROOM_WHIP_TOKEN", "hunter2"));
    assert_eq!(wrong.failure(), "bearer_refused");
    assert!(!format!("{wrong:?}").contains("hunter2"));

    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("token");
    std::fs::write(&file, "opensesame\n").expect("writable");
    let open = measured(for_seconds(&url, 1).arg("--whip-token-file").arg(&file).arg("-vvv"));
    assert_eq!(open.failure(), "", "{open:?}");
    assert!(!format!("{open:?}").contains("opensesame"));
    server.ended();
    // For others it is a mistake.
    let output =
        greenroom(["measure", "stun:127.0.0.1", "--whip-token-file", "x"]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn a_session_is_ended_also_when_the_run_is_interrupted() {
    let web = Web::start(|request| match request.is("POST") {
        true => created(&str0m_answer(&request.body, |sdp| sdp)),
        false => status("200 OK", ""),
    });
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("r.json");
    let mut child = greenroom(["measure", &web.url("/whip"), "--duration", "60s", "--json"])
        .arg(&file)
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the binary runs");
    while web.seen().is_empty() {
        assert!(child.try_wait().expect("a child").is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), Signal::SIGINT).expect("signalled");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(web.seen(), ["POST /whip", "DELETE /session/1"]);
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(&file).expect("a report")).expect("JSON");
    assert_eq!(report["targets"][0]["failure"]["code"], "interrupted");
}

#[test]
fn each_refusal_has_its_reason_and_what_to_do() {
    for (answer, code, words) in [
        ("403 Forbidden", "bearer_required", "GREENROOM_WHIP_TOKEN"),
        ("404 Not Found", "publish_refused", "Check the path"),
        ("405 Method Not Allowed", "publish_refused", "POST"),
        ("415 Unsupported Media Type", "publish_refused", "no WHIP endpoint"),
        ("409 Conflict", "publish_refused", "publishes there already"),
        ("500 Internal Server Error", "publish_refused", "trouble of its own"),
        ("302 Found", "publish_refused", "302"),
        ("307 Temporary Redirect", "unusable_answer", "where to"),
    ] {
        let web = Web::start(move |_| status(answer, ""));
        let found = publish(&web.url("/"));
        assert_eq!((found.code, found.failure()), (Some(69), code), "{answer}: {found:?}");
        assert!(said(&found).contains(words), "{answer}: {}", said(&found));
        assert_eq!(web.seen(), ["POST /"], "nothing was opened, so nothing is ended");
    }
    for busy in ["429 Too Many Requests", "503 Service Unavailable"] {
        let found = publish(&Web::start(move |_| status(busy, "Retry-After: 30\r\n")).url("/"));
        assert_eq!(found.failure(), "publish_refused", "{found:?}");
        assert!(said(&found).contains("try again in 30 s"), "{}", said(&found));
    }
}

#[test]
fn answers_that_lead_nowhere_say_why_and_are_ended() {
    fn web(sdp: impl Fn(&str) -> String + Send + Sync + 'static) -> Web {
        Web::start(move |request| match request.is("POST") {
            true => created(&sdp(&request.body)),
            false => status("200 OK", ""),
        })
    }
    let lines = |sdp: String, keep: fn(&str) -> bool| -> String {
        sdp.lines().filter(|line| keep(line)).map(|line| format!("{line}\r\n")).collect()
    };
    type Answer = Box<dyn Fn(&str) -> String + Send + Sync>;
    let answers: [(&str, Answer); 7] = [
        ("no session description", Box::new(|_| "<html>hello</html>".to_owned())),
        ("no session description", Box::new(|_| String::new())),
        ("no media", Box::new(|_| "v=0\r\n".to_owned())),
        (
            "no address",
            Box::new(move |offer| {
                str0m_answer(offer, |sdp| lines(sdp, |line| !line.starts_with("a=candidate")))
            }),
        ),
        ("over TCP alone", Box::new(|offer| str0m_answer(offer, |sdp| sdp.replace(" udp ", " tcp ")))),
        (
            "fingerprint",
            Box::new(move |offer| {
                str0m_answer(offer, |sdp| lines(sdp, |line| !line.starts_with("a=fingerprint")))
            }),
        ),
        (
            "refuses both",
            Box::new(|offer| {
                str0m_answer(offer, |sdp| {
                    sdp.replace("m=audio 9", "m=audio 0").replace("m=video 9", "m=video 0")
                })
            }),
        ),
    ];
    for (words, answer) in answers {
        let web = web(answer);
        let found = publish(&web.url("/"));
        assert_eq!((found.code, found.failure()), (Some(69), "unusable_answer"), "{words}: {found:?}");
        assert!(said(&found).contains(words), "{words}: {}", said(&found));
        assert_eq!(web.seen(), ["POST /", "DELETE /session/1"], "{words}");
    }
}

#[test]
fn media_that_do_not_get_through_are_told_from_keys_that_do_not_fit() {
    let web = Web::start(|request| match request.is("POST") {
        true => created(&mute_answer(&request.body)),
        false => status("200 OK", ""),
    });
    let found = publish(&web.url("/"));
    assert_eq!(found.failure(), "media_unreachable", "{found:?}");
    assert!(said(&found).contains("127.0.0.1:"), "{}", said(&found));
    assert_eq!(web.seen().len(), 2);

    let web = Web::start(|request| match request.is("POST") {
        true => created(&str0m_answer(&request.body, |sdp| {
            // Another certificate than the one that will be shown.
            let other = |line: &str| match line.strip_prefix("a=fingerprint:sha-256 ") {
                Some(own) => {
                    format!("a=fingerprint:sha-256 {}\r\n", own.replace(|c: char| c.is_ascii_digit(), "0"))
                }
                None => format!("{line}\r\n"),
            };
            sdp.lines().map(other).collect()
        })),
        false => status("200 OK", ""),
    });
    let found = publish(&web.url("/"));
    assert_eq!(found.failure(), "media_keys", "{found:?}");
    assert_eq!(web.seen().len(), 2);
}

#[test]
fn whoever_speaks_no_http_is_told() {
    assert_eq!(publish(&format!("whip:http://{}/", closed_port())).failure(), "port_closed");
    let garbage = tcp_server(|mut stream| {
        read_request(&mut stream);
        let _ = std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.9\r\n");
    });
    assert_eq!(publish(&format!("whip:http://{garbage}/")).failure(), "wrong_protocol");
    let no_tls = tcp_server(|mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 4_096]);
        let _ = std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.9\r\n");
    });
    assert_eq!(publish(&format!("whip:https://{no_tls}/")).failure(), "wrong_protocol");
    let silent = tcp_server(|mut stream| {
        read_request(&mut stream);
        // Takes the request and says nothing until whoever asks goes.
        read_request(&mut stream);
    });
    assert_eq!(publish(&format!("whip:http://{silent}/")).failure(), "mute");
    let closing = tcp_server(|mut stream| drop(read_request(&mut stream)));
    assert_eq!(publish(&format!("whip:http://{closing}/")).failure(), "reset");
}

#[test]
fn certificates_are_findings_and_a_token_only_goes_to_who_proved_themselves() {
    let authority = Authority::new("Test CA");
    let offers = |certificate| {
        let config = server_config(certificate, &[b"http/1.1"]);
        tcp_server(move |mut tcp| {
            let mut connection = rustls::ServerConnection::new(config.clone()).expect("a configuration");
            let mut tls = rustls::Stream::new(&mut connection, &mut tcp);
            let Some(request) = read_request(&mut tls) else { return };
            let answer = match request.is("POST") {
                true if request.path() == "/moved" => {
                    status("307 Temporary Redirect", "Location: /whip?room=hunter2\r\n")
                }
                true => created(&str0m_answer(&request.body, |sdp| sdp)),
                false => status("200 OK", ""),
            };
            let _ = std::io::Write::write_all(&mut tls, answer.as_bytes());
            connection.send_close_notify();
            let _ = connection.complete_io(&mut tcp);
        })
    };
    let good = offers(authority.certificate(&["127.0.0.1"], |_| {}));
    let trusting = |url: &str| {
        let mut command = for_seconds(url, 1);
        command.env("SSL_CERT_FILE", authority.file());
        command
    };
    let found =
        measured(trusting(&format!("whip:https://{good}/moved")).env("GREENROOM_WHIP_TOKEN", "opensesame"));
    assert_eq!((found.failure(), found.faults().len()), ("", 0), "{found:?}");
    assert_eq!(found.target()["identity"], "verified");
    let details = found.details();
    assert_eq!(details["redirects"], serde_json::json!([{ "status": 307, "to": "/whip" }]));
    assert_eq!(details["ended"]["value"], true);
    assert!(found.shown().contains("Certificate trusted here"));

    let bad = offers(self_signed(&["127.0.0.1"]));
    let found = measured(&mut trusting(&format!("whip:https://{bad}/whip")));
    assert_eq!((found.failure(), found.faults()), ("", vec!["self_signed"]), "{found:?}");
    let found =
        measured(trusting(&format!("whip:https://{bad}/whip")).env("GREENROOM_WHIP_TOKEN", "opensesame"));
    assert_eq!(found.failure(), "token_withheld", "{found:?}");
}
