//! The tables of a support file: packets, hops and ports, each of one target.
//!
//! A number in a name counts the targets that have such a table, in the order of the report: `path.csv` is of the first target with hops,
//! `path-2.csv` of the second. A further set of samples of the same target has a number of its own behind that: `packets-1-2.csv`.

use std::collections::BTreeMap;

use greenroom_reports::render::{csv, csv_details, pcap};
use greenroom_reports::schema::{Details, EncodedTrace, Report};
use greenroom_reports::trace::{Trace, encoding};

/// A table, or a capture.
pub(super) struct Table {
    pub(super) name: String,
    /// What it holds, and of what.
    about: String,
    pub(super) bytes: Vec<u8>,
}

impl Table {
    /// A line for people.
    pub(super) fn line(&self) -> String {
        format!("{:<14} {}\n", self.name, self.about)
    }
}

/// All tables of a report, with captures where they are wanted. Samples that are damaged have none, and keep their number.
pub(super) fn of(report: &Report, with_captures: bool) -> Vec<Table> {
    let captures = if with_captures { captures(report) } else { Vec::new() };
    packets(report).into_iter().chain(captures).chain(hops(report)).chain(ports(report)).collect()
}

/// Samples of a target, with what their files are called.
struct Samples {
    stem: String,
    target: usize,
    trace: Trace,
}

fn samples(report: &Report) -> Vec<Samples> {
    let mut of_target: BTreeMap<usize, Vec<&EncodedTrace>> = BTreeMap::new();
    for further in &report.further_traces {
        of_target.entry(further.target).or_default().push(&further.trace);
    }
    if let Some(first) = &report.trace {
        of_target.entry(first_target(report)).or_default().insert(0, first);
    }
    let mut samples = Vec::new();
    for (number, (target, traces)) in (1_usize..).zip(of_target) {
        for (set, trace) in (1_usize..).zip(traces) {
            let Ok(trace) = encoding::decode(trace) else { continue };
            let stem = match (number, set) {
                (1, 1) => "packets".to_owned(),
                (_, 1) => format!("packets-{number}"),
                _ => format!("packets-{number}-{set}"),
            };
            samples.push(Samples { stem, target, trace });
        }
    }
    samples
}

fn packets(report: &Report) -> Vec<Table> {
    let table = |Samples { stem, target, trace }: Samples| Table {
        name: format!("{stem}.csv"),
        about: format!("when each packet was sent and received, in microseconds{}", url(report, target)),
        bytes: csv::packets(&trace).into_bytes(),
    };
    samples(report).into_iter().map(table).collect()
}

/// The packets of samples that travelled over UDP, made into captures.
fn captures(report: &Report) -> Vec<Table> {
    let capture = |Samples { stem, target, trace }: Samples| {
        let reached = report.targets.get(target)?.state.measured()?;
        let other = reached.address.as_ref().filter(|_| reached.transport == "udp")?.parse().ok()?;
        Some(Table {
            name: format!("{stem}.pcapng"),
            about: format!(
                "the same packets for Wireshark and tcpdump, made from their records{}",
                url(report, target)
            ),
            bytes: pcap::packets(&trace, report.started, other),
        })
    };
    samples(report).into_iter().filter_map(capture).collect()
}

/// The target that the report's first samples are of: the first that has figures from samples and no samples of its own beside.
fn first_target(report: &Report) -> usize {
    let named = |at: usize| report.further_traces.iter().any(|further| further.target == at);
    let measured = report.targets.iter().enumerate().find(|(at, target)| {
        !named(*at)
            && (target.up.counts.planned > 0 || target.down.counts.planned > 0 || !target.streams.is_empty())
    });
    measured.map_or(0, |(at, _)| at)
}

fn hops(report: &Report) -> Vec<Table> {
    let found = report.targets.iter().enumerate().filter_map(|(at, target)| match &target.details {
        Some(Details::Path(path)) => Some((at, csv_details::path(path))),
        _ => None,
    });
    let tables = found.enumerate().map(|(number, (at, text))| Table {
        name: numbered("path", number),
        about: format!("the hops on the way{}", url(report, at)),
        bytes: text.into_bytes(),
    });
    tables.collect()
}

fn ports(report: &Report) -> Vec<Table> {
    let found = report.targets.iter().enumerate().filter_map(|(at, target)| match &target.details {
        Some(Details::Service(service)) => Some((at, csv_details::ports(service))),
        _ => None,
    });
    let tables = found.enumerate().map(|(number, (at, text))| Table {
        name: numbered("ports", number),
        about: format!("which hosts and ports are open{}", url(report, at)),
        bytes: text.into_bytes(),
    });
    tables.collect()
}

fn numbered(name: &str, number: usize) -> String {
    if number == 0 { format!("{name}.csv") } else { format!("{name}-{}.csv", number + 1) }
}

fn url(report: &Report, at: usize) -> String {
    let target = report.targets.get(at).map(|target| target.url.chars().filter(|c| !c.is_control()));
    target.map_or_else(String::new, |url| format!(" ({})", url.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::{FurtherTrace, Report, read};

    use super::*;

    fn measured() -> Report {
        read(include_str!("../../reports/tests/data/loss_15.json")).unwrap()
    }

    fn names(report: &Report) -> Vec<String> {
        of(report, false).into_iter().map(|table| table.name).collect()
    }

    /// A report with two endpoints and a router between, with these further samples.
    fn with(further: &[usize]) -> Report {
        let mut report = measured();
        let router =
            greenroom_reports::schema::Target { kind: "gateway".to_owned(), ..report.targets[0].clone() };
        report.targets = vec![report.targets[0].clone(), router, report.targets[0].clone()];
        let trace = report.trace.clone().unwrap();
        report.further_traces =
            further.iter().map(|target| FurtherTrace { target: *target, trace: trace.clone() }).collect();
        report
    }

    #[test]
    fn numbers_count_targets_and_not_sets_of_samples() {
        assert_eq!(names(&measured()), ["packets.csv"]);
        assert_eq!(names(&with(&[2])), ["packets.csv", "packets-2.csv"]);
        assert_eq!(
            names(&with(&[1, 2])),
            ["packets.csv", "packets-2.csv", "packets-3.csv"],
            "each of its own"
        );
        assert_eq!(
            names(&with(&[2, 2])),
            ["packets.csv", "packets-2.csv", "packets-2-2.csv"],
            "twice of one"
        );
        let mut damaged = with(&[1, 2]);
        damaged.further_traces[0].trace.here.truncate(40);
        assert_eq!(names(&damaged), ["packets.csv", "packets-3.csv"], "what is damaged keeps its number");
    }

    #[test]
    fn a_capture_holds_the_address_of_the_report_and_only_what_travelled_over_udp() {
        let report = measured();
        let captures =
            |report: &Report| captures(report).into_iter().map(|it| (it.name, it.bytes)).collect::<Vec<_>>();
        let [(name, bytes)] = &captures(&report)[..] else { panic!("one") };
        assert_eq!(name, "packets.pcapng");
        let address: std::net::SocketAddr =
            report.targets[0].state.measured().unwrap().address.as_ref().unwrap().parse().unwrap();
        let std::net::IpAddr::V4(ip) = address.ip() else { panic!("IPv4") };
        assert!(bytes.windows(4).any(|four| four == ip.octets()));
        let mut tunneled = report.clone();
        if let greenroom_reports::schema::Value::Measured(reached) = &mut tunneled.targets[0].state {
            reached.transport = "websocket".to_owned();
        }
        assert!(captures(&tunneled).is_empty());
    }
}
