//! The tools that measure a link, and which of its packets were theirs.

use greenroom_netlab::lab::Lab;
use greenroom_netlab::truth::{PacketTruth, Truth};
use greenroom_reports::schema::{self, Distribution, Value};
use greenroom_reports::trace::StreamId;

use super::figures::{Figures, Samples};
use crate::Fallible;
use crate::process::{self, Server};

/// How long each run sends.
pub(super) const SECONDS: u32 = 6;

const STAMP: u16 = 7_444;
const IRTT: u16 = 2_112;
/// Bytes of irtt's packets as asked for; its others, with which it opens and closes, are shorter.
const IRTT_BYTES: u32 = 172;
const IP_UDP: u32 = 28;

/// A tool's own figures.
pub(super) struct Told {
    pub(super) figures: Figures,
    /// Delay between kernel and program at the agent, p50 and p95 in milliseconds, where the tool tells it apart.
    pub(super) host_delay: Option<[f64; 2]>,
}

/// A tool: what it is called, what it says of a link, and what the link did to its packets.
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) measure: fn(&Lab) -> Fallible<Told>,
    pub(super) truth: fn(&Truth) -> Fallible<Figures>,
}

/// In the order of their turns.
pub(super) const TOOLS: [Tool; 2] = [
    Tool { name: "greenroom", measure: greenroom, truth: greenroom_truth },
    Tool { name: "irtt", measure: irtt, truth: irtt_truth },
];

fn greenroom(lab: &Lab) -> Fallible<Told> {
    let program = process::greenroom()?;
    let at = lab.there().ipv4().to_string();
    let mut respond = lab.there().command(&program);
    let _endpoint = Server::start(respond.args(["respond", "--listen", &at, "--health", "off"]), STAMP)?;
    let mut measure = lab.here().command(&program);
    let duration = format!("{SECONDS}s");
    measure.args([
        "measure",
        &at,
        "--duration",
        &duration,
        "--json",
        "-",
        "--quiet",
        "--config",
        "/dev/null",
    ]);
    let report = schema::read(&process::output_of(&mut measure)?)?;
    let target = report.targets.first().ok_or("the report names no endpoint")?;
    let pdv = |value| both("PDV", value);
    let ipdv = |value: &Value<schema::Estimate>| {
        value.measured().map(|estimate| estimate.value).ok_or_else(|| format!("no IPDV: {value:?}"))
    };
    let figures = Figures {
        rtt: both("round trip", &target.rtt_ms)?,
        pdv: [pdv(&target.up.pdv_ms)?, pdv(&target.down.pdv_ms)?],
        ipdv: [ipdv(&target.up.ipdv_mean_abs_ms)?, ipdv(&target.down.ipdv_mean_abs_ms)?],
    };
    Ok(Told { figures, host_delay: Some(both("host delay", &target.self_error.host_delay_ms)?) })
}

fn both(what: &str, value: &Value<Distribution>) -> Fallible<[f64; 2]> {
    let figures = value.measured().and_then(|measured| Some([measured.p50, measured.p95?]));
    Ok(figures.ok_or_else(|| format!("no {what}: {value:?}"))?)
}

/// Audio alone, without the probes by which the address was validated.
fn greenroom_truth(truth: &Truth) -> Fallible<Figures> {
    pair(truth, |packet| packet.stream == Some(StreamId::AUDIO))
}

fn irtt(lab: &Lab) -> Fallible<Told> {
    let at = format!("{}:{IRTT}", lab.there().ipv4());
    // By itself it drops what comes less than 10 ms after the packet before, as a link that varies may deliver it.
    let _server = Server::start(lab.there().command("irtt").args(["server", "-b", &at, "-i", "0"]), IRTT)?;
    let (duration, length) = (format!("{SECONDS}s"), IRTT_BYTES.to_string());
    let mut client = lab.here().command("irtt");
    client.args(["client", "-i", "20ms", "-d", &duration, "-l", &length, "-Q", "-o", "-", &at]);
    let said: serde_json::Value = serde_json::from_str(&process::output_of(&mut client)?)?;
    let trips = said["round_trips"].as_array().ok_or("irtt printed no round trips")?;
    let mut samples = Samples::default();
    for trip in trips {
        let ms = |field: &str| trip["delay"][field].as_f64().map(|nanos| nanos / 1e6);
        let (Some(rtt), Some(up), Some(down)) = (ms("rtt"), ms("send"), ms("receive")) else {
            return Err("irtt lost packets on a link that loses none".into());
        };
        samples.rtt.push(rtt);
        samples.delay[0].push(up);
        samples.delay[1].push(down);
    }
    Ok(Told { figures: samples.figures()?, host_delay: None })
}

fn irtt_truth(truth: &Truth) -> Fallible<Figures> {
    pair(truth, |packet| packet.has_port(IRTT) && packet.bytes == IRTT_BYTES + IP_UDP)
}

fn pair(truth: &Truth, own: impl Fn(&PacketTruth) -> bool) -> Fallible<Figures> {
    let [up, down] = [&truth.up, &truth.down].map(|way| way.iter().filter(|it| own(it)).collect::<Vec<_>>());
    if up.len() != down.len() {
        let counts = format!("{} packets up and {} answers down", up.len(), down.len());
        return Err(format!("{counts}: they cannot be paired").into());
    }
    Samples::of_truth(truth, &up, &down)?.figures()
}
