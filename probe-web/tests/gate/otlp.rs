//! Figures sent to a collector, read by the definitions of the OpenTelemetry project (in Python; `./dev test` installs them).

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, header};
use axum::routing::post;
use greenroom_web::Gate;
use greenroom_web::otlp::OtlpConfig;
use greenroom_web::store::*;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::sync::mpsc;

use super::house::{House, PASSWORD, now, report};

const READ: &str = "
import sys
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
request = ExportMetricsServiceRequest()
request.ParseFromString(sys.stdin.buffer.read())
print(MessageToJson(request, preserving_proto_field_name=True))
";

fn read(body: &[u8]) -> Value {
    let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/otlp/bin/python");
    let python = std::env::var("GREENROOM_OTLP_PYTHON").unwrap_or_else(|_| usual.to_owned());
    let mut child = Command::new(&python)
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{python}: {error}; ./dev test installs it"));
    child.stdin.take().unwrap().write_all(body).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success());
    serde_json::from_slice(&done.stdout).unwrap()
}

type Got = (HeaderMap, Bytes);

/// A collector: its address, and what it gets.
async fn collector() -> (String, mpsc::UnboundedReceiver<Got>) {
    #[expect(clippy::disallowed_methods, reason = "a test is a server, too")]
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/v1/metrics", listener.local_addr().unwrap());
    let (sender, got) = mpsc::unbounded_channel();
    let take = |State(sender): State<mpsc::UnboundedSender<Got>>, headers: HeaderMap, body: Bytes| async move {
        // Nobody has to listen any more.
        let _ = sender.send((headers, body));
    };
    let app = Router::new().route("/v1/metrics", post(take)).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, got)
}

/// Names, labels and values, as Prometheus would write them.
fn figures(resource: &Value) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for metric in resource["scope_metrics"][0]["metrics"].as_array().unwrap() {
        let name = metric["name"].as_str().unwrap();
        let data = if metric["sum"].is_object() { &metric["sum"] } else { &metric["gauge"] };
        for point in data["data_points"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let labels: Vec<String> = point["attributes"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default()
                .iter()
                .map(|pair| {
                    format!(
                        "{}=\"{}\"",
                        pair["key"].as_str().unwrap(),
                        pair["value"]["string_value"].as_str().unwrap()
                    )
                })
                .collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let value = match (&point["as_int"], &point["as_double"]) {
                (Value::String(whole), _) => whole.clone(),
                (_, real) => format!("{}", real.as_f64().unwrap()),
            };
            lines.insert(format!("{name}{labels} {value}"));
        }
    }
    lines
}

#[tokio::test]
async fn a_collector_gets_what_prometheus_reads_and_no_agent() {
    let (url, mut got) = collector().await;
    let headers = vec![(header::AUTHORIZATION, HeaderValue::from_static("Bearer hunter2"))];
    let every = Duration::from_millis(300);
    let config = OtlpConfig { url, headers, every, allow_private: true };
    assert!(!format!("{config:?}").contains("hunter2"));
    let house = House::behind(Gate { otlp: Some(config), ..Gate::default() }).await;
    let ann = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let made =
        house.form("/tenants", &ann, &[("tenant", "Acme"), ("name", "zed"), ("password", PASSWORD)]).await;
    assert_eq!(made.status, 303);
    let key = house.key(Tenant::FIRST).await;
    for n in 1..4 {
        let mut report = report(n, "Ada");
        report.started = now().checked_sub(SignedDuration::from_mins(i64::try_from(n).unwrap())).unwrap();
        report.labels.insert("site".into(), "Lyon".into());
        report.agent.id = Some("laptop-7".into());
        assert_eq!(house.send(&key, &report).await.status, 202);
    }
    let metrics = house.key_for(Tenant::FIRST, KeyUse::Metrics).await;
    let ask = Request::get("/metrics").header(header::AUTHORIZATION, format!("Bearer {metrics}"));
    let told = house.ask(ask.body(Body::empty()).unwrap()).await.text;
    let of_fleet = |line: &&str| line.starts_with("greenroom_r") || line.starts_with("greenroom_loss");
    let expected: BTreeSet<String> = told.lines().filter(of_fleet).map(str::to_owned).collect();
    assert!(expected.len() > 8, "{told}");
    // One that was sent after the reports came in; others may be on their way.
    let request = loop {
        let (headers, body) =
            tokio::time::timeout(Duration::from_secs(120), got.recv()).await.unwrap().unwrap();
        assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
        assert_eq!(headers[header::AUTHORIZATION], "Bearer hunter2");
        let request = read(&body);
        if request.to_string().contains("Lyon") && request["resource_metrics"].as_array().unwrap().len() == 3
        {
            break request;
        }
    };
    let resources = request["resource_metrics"].as_array().unwrap();
    let first = figures(&resources[1]);
    assert!(expected.is_subset(&first), "{expected:#?} {first:#?}");
    assert!(
        resources[1].to_string().contains("greenroom.tenant") && resources[2].to_string().contains("Acme")
    );
    assert!(!resources[2].to_string().contains("Lyon"), "another tenant's");
    let sums = resources[0]["scope_metrics"][0]["metrics"][0]["sum"].clone();
    assert_eq!(
        (&sums["is_monotonic"], &sums["aggregation_temporality"]),
        (&true.into(), &"AGGREGATION_TEMPORALITY_CUMULATIVE".into())
    );
    let began: i64 = sums["data_points"][0]["start_time_unix_nano"].as_str().unwrap().parse().unwrap();
    assert_eq!(began, i64::try_from(now().as_nanosecond()).unwrap());
    assert!(!request.to_string().contains("laptop-7") && !request.to_string().contains("Ada"), "{request}");
}
