//! Sound and picture that went to the endpoint and back, as pages tell them.

use greenroom_reports::assess::{Agreement, recompute};
use greenroom_reports::render::terminal;
use greenroom_reports::schema::{Details, Use};
use greenroom_reports::trace::Direction;

use super::*;

/// 150 packets of sound, three lost on the way out and two on the way back, and a picture that all came through.
fn echo() -> Value {
    let none = |reason: &str| json!({ "state": "not_tested", "reason": reason });
    let estimate =
        |value: f64, n: u64| json!({ "state": "measured", "value": value, "low": 0.0, "high": 0.1, "n": n });
    let jitter = |n: u64| json!({ "state": "measured", "n": n, "last": 1.5, "p95": 2.0, "max": 2.5 });
    let stream = |media: &str, sent: u64, back: u64, picture: Value| {
        json!({ "media": media, "source": "synthetic", "sent_packets": sent, "sent_bytes": sent * 100, "resent_packets": 0,
            "received_packets": back, "received_bytes": back * 100, "lost": 0, "jitter_ms": 2.0, "rtt_ms": 40.5, "rtts": 3, "picture": picture })
    };
    let received = |media: &str, codec: &str, packets: u64, lost: u64| {
        json!({ "media": media, "codec": codec, "packets": packets, "bytes": packets * 100, "expected": packets + lost, "lost": lost,
            "duplicates": 1, "reordered": 2, "repairs": 0, "loss_ratio": estimate(0.02, packets + lost), "jitter_rfc3550_ms": jitter(packets) })
    };
    let returned = |media: &str, codec: &str, packets: u64| {
        json!({ "media": media, "codec": { "state": "measured", "value": codec }, "planned_packets": packets, "sent_packets": packets,
            "sent_bytes": packets * 100, "repairs": 0, "reports": 2, "expected": packets, "lost": 0, "loss_ratio": estimate(0.0, packets),
            "rtt_ms": { "state": "measured", "n": 2, "min": 40.0, "p50": 40.0, "p95": null, "p99": null, "max": 41.0, "p50_bounds": null, "p95_bounds": null },
            "jitter_rfc3550_ms": jitter(packets), "nacked_packets": 0, "plis": 1, "firs": 0 })
    };
    json!({ "state": "measured", "setup_ms": 80.0, "sent_for_ms": 3_000.0,
        "streams": [
            stream("audio", 150, 145, Value::Null),
            stream("video", 300, 300, json!({ "frames": 60, "width": 640, "height": 360, "limited_by": "bandwidth" })),
        ],
        "pair": { "local": "prflx", "remote": "host", "transport": "udp", "relay_transport": null, "rtt_ms": 40.1, "rtts": 2 },
        "available_outgoing_bps": 900_000,
        "there": {
            "received": [received("audio", "opus/48000", 147, 3), received("video", "VP8/90000", 300, 0)],
            "returned": [returned("audio", "opus/48000", 147), returned("video", "VP8/90000", 300)],
            "transport_feedback": none("the browser sends no transport-wide feedback"),
        },
    })
}

#[tokio::test]
async fn both_ends_counts_stand_in_the_places_of_the_common_figures() {
    let house = House::new(true).await;
    let (status, answer) = house
        .changed(|run| {
            run["network"] = second();
            run["echo"] = echo();
        })
        .await;
    assert_eq!(status, 201, "{answer}");
    let report = report(answer);
    let [probes, media] = report.targets.as_slice() else { panic!("{:?}", report.targets) };
    assert_eq!((probes.kind.as_str(), media.kind.as_str()), ("greenroom", "webrtc"));
    assert_eq!(media.url, "webrtc://192.0.2.1:7443");
    let (up, down) = (&media.up.counts, &media.down.counts);
    assert_eq!((up.planned, up.sent, up.on_time, up.lost), (150, 150, 147, 3));
    assert_eq!((up.duplicate, up.reordered), (1, 2));
    assert_eq!((down.planned, down.sent, down.on_time, down.lost), (147, 147, 145, 2));
    assert_eq!(media.up.loss_ratio.measured().unwrap().value, 0.02);
    assert_eq!(media.down.loss_ratio.measured().unwrap().value, 0.013_605);
    assert_eq!(media.rtt_ms.measured().unwrap().p50, 40.0);
    assert_eq!(media.up.jitter_rfc3550_ms.measured().unwrap().p95, 2.0);
    let ways: Vec<_> =
        media.streams.iter().map(|one| (one.use_, one.direction, one.figures.counts.lost)).collect();
    assert_eq!(ways, [(Use::Video360p, Direction::Up, 0), (Use::Video360p, Direction::Down, 0)]);
    let Some(Details::Echo(details)) = &media.details else { panic!("{:?}", media.details) };
    assert_eq!(details.here.len(), 2);
    assert!(report.bytes_used > 2 * 300 * 100, "{}", report.bytes_used);
    // Whoever computes it again finds the same; and the figures of media are no samples that are missing.
    assert_eq!(recompute(&report).unwrap(), Agreement::Agrees);
    let text = terminal::render(&report, terminal::Options::default());
    assert!(text.contains("147 of 150"), "{text}");
}

/// Not every browser tells what limits its pictures: then nothing is said of it.
#[tokio::test]
async fn a_limit_that_is_not_told_is_none() {
    let house = House::new(true).await;
    for (told, words) in
        [(json!("bandwidth"), true), (json!("other"), true), (json!("none"), false), (Value::Null, false)]
    {
        let (status, answer) = house
            .changed(|run| {
                run["network"] = second();
                run["echo"] = echo();
                set(run, "/echo/streams/1/picture/limited_by", told.clone());
            })
            .await;
        assert_eq!(status, 201, "{answer}");
        let report = report(answer);
        let Some(Details::Echo(details)) = &report.targets[1].details else { panic!("{:?}", report.targets) };
        assert_eq!(json!(details.here[1].picture.unwrap().limited_by), told);
        let options = terminal::Options { detail: terminal::Detail::Full, ..terminal::Options::default() };
        assert_eq!(terminal::render(&report, options).contains("360, limited"), words, "{told}");
    }
}

#[tokio::test]
async fn without_media_the_report_says_why() {
    let house = House::new(true).await;
    for (told, reason) in [
        (json!({ "state": "failed", "reason": "unreachable" }), Some("unreachable")),
        (json!({ "state": "not_tested", "reason": "unsupported" }), Some("unsupported")),
        (Value::Null, None),
    ] {
        let (status, answer) = house.changed(|run| run["echo"] = told.clone()).await;
        assert_eq!(status, 201, "{answer}");
        assert_eq!(answer["targets"], json!([]), "{told}");
        assert_eq!(
            answer["settings"]["run"].get("media_not_tested").and_then(Value::as_str),
            reason,
            "{told}"
        );
    }
}

#[tokio::test]
async fn what_no_media_have_is_refused() {
    let house = House::new(true).await;
    for (pointer, value) in [
        ("/setup_ms", json!(1e300)),
        ("/sent_for_ms", json!(-1)),
        ("/streams/0/sent_packets", json!(-1)),
        ("/streams/0/sent_packets", json!(u64::MAX)),
        ("/streams/0/media", json!("smell")),
        ("/streams/1/media", json!("audio")),
        ("/streams/1/picture/limited_by", json!("mood")),
        ("/streams/0/rtt_ms", json!(1e200)),
        ("/pair/local", json!("x".repeat(201))),
        ("/pair/transport", json!("u\u{0}dp")),
        ("/available_outgoing_bps", json!(u64::MAX)),
        ("/there", json!(null)),
        ("/there/received/0/lost", json!(u64::MAX)),
        ("/there/received/0/codec", json!("c".repeat(201))),
        ("/there/received/0/loss_ratio/value", json!(7)),
        ("/there/received/0/loss_ratio/value", json!(-0.5)),
        ("/there/returned/0/jitter_rfc3550_ms/p95", json!(-1)),
        ("/there/returned/1/media", json!("audio")),
        ("/there/returned/0/rtt_ms/p50", json!(1e200)),
        ("/there/returned/0/codec", json!({ "state": "failed", "reason": "r".repeat(201) })),
        ("/there/transport_feedback", json!({ "state": "measured", "packets": 1 })),
        ("/there/more", json!(1)),
    ] {
        let (status, answer) = house
            .changed(|run| {
                run["echo"] = echo();
                set(run, &format!("/echo{pointer}"), value);
            })
            .await;
        assert_eq!(status, 422, "{pointer} {answer}");
        let named = answer["errors"][0]["pointer"].as_str().unwrap_or_default();
        assert!(named.starts_with("/echo"), "{pointer}: {named}");
    }
    // Counts that contradict each other are within bounds, and break nothing.
    let (status, answer) = house
        .changed(|run| {
            run["echo"] = echo();
            set(run, "/echo/there/received/0/packets", json!(1_000));
            set(run, "/echo/there/received/0/expected", json!(3));
            set(run, "/echo/streams/0/received_packets", json!(999_999));
            set(run, "/echo/sent_for_ms", json!(0));
        })
        .await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(answer["targets"][0]["up"]["lost"], 0);
}

#[tokio::test]
async fn a_grant_for_media_is_handed_out_where_they_can_go() {
    let nowhere = House::new(true).await.session().await;
    assert_eq!(nowhere["media"]["echo_grant"], Value::Null);
    let answer = |_| {
        let unanswered = Err(Unanswered::Busy("full".to_owned()));
        Box::pin(async move { unanswered }) as futures_util::future::BoxFuture<'static, _>
    };
    let there = House::start(true, Some(WebRtc::new(answer, |_| {})), None).await.session().await;
    let (one, other) = (there["media"]["grant"].as_str(), there["media"]["echo_grant"].as_str());
    assert!(one.is_some() && other.is_some() && one != other, "each session uses one up: {there}");
}
