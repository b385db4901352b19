//! What was found beside samples, as tables for spreadsheets and scripts: hops, and ports.

use std::fmt::Write as _;

use serde::Serialize;

use crate::schema::{HopFound, PathDetails, ServiceDetails, Value};

/// The hops on the way, one row each, as CSV (RFC 4180, with `\n`). A cell is empty where nothing was measured.
pub fn path(path: &PathDetails) -> String {
    let mut out =
        "ttl,addresses,other_flows,is_destination,answered,lost,loss_ratio,rtt_min_ms,rtt_p50_ms,rtt_max_ms,\
                   rate_limited,loss_begins,delay_begins,unreachable_code,mpls_labels\n"
            .to_owned();
    for hop in &path.hops {
        let _ = writeln!(out, "{}", row(path, hop));
    }
    out
}

fn row(path: &PathDetails, hop: &HopFound) -> String {
    let trips = &hop.round_trip;
    let rtt = trips.rtt_ms.measured();
    let at = |found: &Value<crate::schema::Exact<u8>>| found.fact() == Some(&hop.ttl);
    let labels: Vec<String> = hop.mpls_labels.iter().map(|label| label.label.to_string()).collect();
    [
        hop.ttl.to_string(),
        quoted(&hop.addresses.join(" ")),
        quoted(&hop.other_flows.join(" ")),
        hop.is_destination.to_string(),
        trips.answered.to_string(),
        trips.lost.to_string(),
        cell(trips.loss_ratio.measured().map(|loss| loss.value)),
        cell(rtt.map(|rtt| rtt.min)),
        cell(rtt.map(|rtt| rtt.p50)),
        cell(rtt.map(|rtt| rtt.max)),
        hop.rate_limited.to_string(),
        at(&path.loss_begins_at_ttl).to_string(),
        at(&path.delay_begins_at_ttl).to_string(),
        cell(hop.unreachable_code),
        quoted(&labels.join(" ")),
    ]
    .join(",")
}

/// Every host, port and protocol that a service needs, one row each, as CSV (RFC 4180, with `\n`).
pub fn ports(service: &ServiceDetails) -> String {
    let mut out = "part,host,port,protocol,outcome,address,rtt_ms,detail\n".to_owned();
    for way in &service.ways {
        let cells = [
            quoted(&way.part),
            quoted(&way.host),
            quoted(&way.port),
            name(&way.protocol),
            name(&way.outcome),
            quoted(way.address.as_deref().unwrap_or_default()),
            cell(way.rtt_ms.fact()),
            quoted(way.detail.as_deref().unwrap_or_default()),
        ];
        let _ = writeln!(out, "{}", cells.join(","));
    }
    out
}

fn cell<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// As it stands in the report.
fn name<T: Serialize>(value: &T) -> String {
    let name = serde_json::to_value(value).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Text as a cell: quoted where it must be. What a spreadsheet would compute is told apart from text by a quote before it.
fn quoted(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text };
    match text.contains(['"', ',']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::round_trip::Exchange;
    use crate::schema::{PathProbes, RoundTrip, ServicePart, ServiceWay, WayOutcome, WayProtocol};
    use crate::trace::StampSource;
    use crate::units::Micros;

    #[test]
    fn each_hop_has_a_row_and_silence_is_an_empty_cell() {
        let trip = |answered: bool| {
            let one = |i: i64| match answered {
                true => Exchange::Answered { at: Micros::from_millis(i), rtt: Micros::from_millis(7) },
                false => Exchange::Lost,
            };
            RoundTrip::of(&(0..10).map(one).collect::<Vec<_>>(), StampSource::User)
        };
        let hop = |ttl: u8, answered: bool| HopFound {
            ttl,
            addresses: if answered { vec![format!("192.0.2.{ttl}")] } else { Vec::new() },
            other_flows: Vec::new(),
            round_trip: trip(answered),
            is_destination: ttl == 2,
            unreachable_code: None,
            mpls_labels: Vec::new(),
            rate_limited: false,
        };
        let found = PathDetails::of(PathProbes::EchoRequests, vec![hop(1, false), hop(2, true)]);
        let table = path(&found);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(lines[1].starts_with("1,,,false,0,10,") && lines[1].contains(",,,,"), "{table}");
        assert!(lines[2].starts_with("2,192.0.2.2,,true,10,0,0,7,7,7,false,"), "{table}");
        let columns = |line: &str| line.split(',').count();
        assert!(lines.iter().all(|line| columns(line) == columns(lines[0])), "{table}");
    }

    #[test]
    fn each_way_has_a_row_and_no_cell_is_a_formula() {
        let way = ServiceWay {
            part: "media, over UDP".to_owned(),
            host: "=cmd()\n".to_owned(),
            port: "3478".to_owned(),
            protocol: WayProtocol::Stun,
            address: None,
            outcome: WayOutcome::Filtered,
            detail: Some("it said \"no\"".to_owned()),
            rtt_ms: Value::not_tested("nothing came back"),
        };
        let service = ServiceDetails {
            title: "T".to_owned(),
            source: "S".to_owned(),
            read_on: "2026-11-28".to_owned(),
            note: None,
            parts: Vec::<ServicePart>::new(),
            ways: vec![way],
        };
        let expected = "\"media, over UDP\",'=cmd(),3478,stun,filtered,,,\"it said \"\"no\"\"\"";
        assert_eq!(ports(&service).lines().nth(1), Some(expected));
    }
}
