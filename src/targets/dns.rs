//! A name, as name servers know it: each server that this computer asks, or the one named, by questions that are sent once each.
//!
//! Beside the records asked for, each is asked for names that cannot exist: one that makes up an address for them hides from
//! programs that a name is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{
    Details, Distribution, DnsAnswer, DnsDetails, DnsOutcome, NameServer, RoundTrip, Value,
};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::{Asked, ask, random, reached};
use super::find::addresses_unless;
use crate::address::{Part, Question, RecordType};
use crate::net::clock::Clock;
use crate::net::name_servers;
use crate::net::tcp;
use crate::net::udp::Interface;
use crate::plan::ProbePlan;
use crate::proto::dns::{Answer, Asking, Names, Outcome, read_answer, write_question};

/// Name servers that are asked at most.
const MOST_SERVERS: usize = 8;
/// Letters of a name that cannot exist: as many as stars in galaxies, many times over.
const INVENTED: usize = 20;

/// Asks name servers for the records of a name as planned, all servers side by side. Adds the bytes sent and received at the IP layer
/// to `spent`.
///
/// # Errors
///
/// The reason why none of them answered.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let Part::Question(question) = &plan.target.part else {
        return Err(TargetFailure::Local { detail: "no question was planned".to_owned() });
    };
    let servers = servers(question, plan.target.port, stop).await?;
    let name = plan.target.host.to_string();
    let asking = servers.iter().map(|server| one_server(*server, &name, question, plan, clock, stop));
    let told: Vec<Told> = join_all(asking).await;
    *spent += told.iter().map(|told| told.spent).sum::<DataSize>();
    let Some(first) = told.iter().find(|told| told.server.failure.is_none()) else {
        return Err(why_none(&told, question));
    };
    let reached = reached("udp", first.address, None);
    let stopped = told.iter().any(|told| told.stopped);
    let servers: Vec<NameServer> = told.into_iter().map(|told| told.server).collect();
    let differ_in = differences(&servers);
    let answering = servers.iter().filter(|server| server.failure.is_none()).count();
    let agree = match answering {
        0 | 1 => Value::not_tested("only one name server answered"),
        _ => Value::exact(differ_in.is_empty()),
    };
    let details = DnsDetails { name, servers, agree, differ_in };
    Ok(Found { reached, details: Details::Dns(details), trace: None, stopped })
}

/// What one server told.
struct Told {
    address: SocketAddr,
    server: NameServer,
    spent: DataSize,
    stopped: bool,
}

/// Whom to ask: the addresses of the one named, or those that this computer asks.
async fn servers(
    question: &Question,
    port: u16,
    stop: &CancellationToken,
) -> Result<Vec<SocketAddr>, TargetFailure> {
    let mut servers = match &question.server {
        Some(host) => addresses_unless(stop, host, port).await?,
        None => name_servers::of_this_computer(),
    };
    servers.truncate(MOST_SERVERS);
    if servers.is_empty() { Err(TargetFailure::NoNameServer) } else { Ok(servers) }
}

/// Why none of them answered: what the one named said, or that all are silent.
fn why_none(told: &[Told], question: &Question) -> TargetFailure {
    let failures: Vec<&TargetFailure> = told.iter().filter_map(|told| told.server.failure.as_ref()).collect();
    if let Some(TargetFailure::Interrupted) =
        failures.iter().find(|failure| matches!(failure, TargetFailure::Interrupted))
    {
        return TargetFailure::Interrupted;
    }
    let silent =
        |failure: &&TargetFailure| matches!(failure, TargetFailure::Silent | TargetFailure::PortClosed);
    if question.server.is_none() && failures.iter().all(silent) {
        let servers: Vec<String> = told.iter().map(|told| told.address.to_string()).collect();
        return TargetFailure::NameServersSilent { servers: servers.join(", ") };
    }
    failures.first().copied().cloned().unwrap_or(TargetFailure::NoNameServer)
}

/// Asks one server.
async fn one_server(
    address: SocketAddr,
    name: &str,
    question: &Question,
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
) -> Told {
    let mut spent = DataSize::default();
    let asked = match questions(name, &question.types, plan.count) {
        Ok(names) => ask(address, names, "DNS", (plan, clock), stop, &mut spent).await,
        Err(failure) => Err(failure),
    };
    let (server, stopped) = match asked {
        Ok(asked) => {
            let mut server = told(address, name, &asked);
            for kind in &question.types {
                let Some(answer) = server.answers.get_mut(kind.name()).filter(|answer| answer.truncated)
                else {
                    continue;
                };
                over_tcp(address, name, *kind, plan, clock, answer).await;
            }
            (server, asked.stopped)
        }
        Err(failure) => (untold(address, plan, failure), false),
    };
    Told { address, server, spent, stopped }
}

/// The questions to one server: each record type in turn, and after the first and second round a name that cannot exist.
fn questions(name: &str, types: &[RecordType], count: u32) -> Result<Names, TargetFailure> {
    let round = types.len().max(1);
    let invented_at = [round, 2 * round + 1];
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut asking: Vec<Asking> = Vec::with_capacity(count);
    let mut turns = types.iter().copied().cycle();
    for index in 0..count {
        let id = u16::from_be_bytes(random::<2>()?);
        let (name, kind) = match invented_at.contains(&index) {
            true => (invented()?, RecordType::A),
            false => (name.to_owned(), turns.next().unwrap_or(RecordType::A)),
        };
        asking.push(Asking { id, name, kind });
    }
    Ok(Names::new(asking))
}

/// A name that cannot exist, in a domain that everybody's name servers know.
fn invented() -> Result<String, TargetFailure> {
    let letters = random::<INVENTED>()?.map(|octet| char::from(b'a' + octet % 26));
    Ok(letters.iter().collect::<String>() + ".com")
}

/// A server that told nothing.
fn untold(address: SocketAddr, plan: &ProbePlan, failure: TargetFailure) -> NameServer {
    let lost = match failure {
        TargetFailure::Silent | TargetFailure::PortClosed => Exchange::Lost,
        _ => Exchange::NotSent,
    };
    let count = usize::try_from(plan.count).unwrap_or(usize::MAX);
    NameServer {
        address: address.to_string(),
        round_trip: RoundTrip::of(&vec![lost; count], StampSource::Unknown),
        answers: BTreeMap::new(),
        invents_names: Value::failed("it did not answer"),
        says_it_validates: Value::failed("it did not answer"),
        answers_from_elsewhere: 0,
        stray_answers: 0,
        failure: Some(failure),
    }
}

/// What a server told of everything that it was asked.
fn told(address: SocketAddr, name: &str, asked: &Asked<Names>) -> NameServer {
    let asker = &asked.asker;
    let mut by_kind: BTreeMap<&'static str, Vec<(Exchange, Option<&Answer>)>> = BTreeMap::new();
    let mut invented: Vec<Option<&Answer>> = Vec::new();
    for (index, (asking, answer)) in asker.questions().all().enumerate() {
        match asking.name == name {
            true => by_kind.entry(asking.kind.name()).or_default().push((asker.exchange(index), answer)),
            false => invented.push(answer),
        }
    }
    let genuine = || by_kind.values().flatten().filter_map(|(_, answer)| *answer);
    let strange = asker.strange();
    NameServer {
        address: address.to_string(),
        failure: None,
        round_trip: RoundTrip::of(&asker.exchanges(), asked.stamped_by),
        invents_names: invents(&invented),
        says_it_validates: match genuine().next() {
            Some(_) => Value::exact(genuine().any(|answer| answer.authentic)),
            None => Value::failed("no answer told"),
        },
        answers_from_elsewhere: strange.elsewhere,
        stray_answers: strange.strangers + strange.garbage,
        answers: by_kind.iter().map(|(kind, asked)| ((*kind).to_owned(), of_kind(asked))).collect(),
    }
}

/// Whether a server makes addresses up for names that cannot exist.
fn invents(answers: &[Option<&Answer>]) -> Value<greenroom_reports::schema::Exact<bool>> {
    if answers.is_empty() {
        return Value::not_tested("the run was too short to ask");
    }
    let outcomes: Vec<Outcome> = answers.iter().flatten().map(|answer| answer.outcome).collect();
    match () {
        () if outcomes.contains(&Outcome::Records) => Value::exact(true),
        () if outcomes.contains(&Outcome::NoSuchName) => Value::exact(false),
        () => Value::failed("it said neither yes nor no to a name that cannot exist"),
    }
}

/// What a server told of one record type, asked one or more times.
fn of_kind(asked: &[(Exchange, Option<&Answer>)]) -> DnsAnswer {
    let mut outcomes: BTreeMap<DnsOutcome, u64> = BTreeMap::new();
    for (exchange, answer) in asked {
        let outcome = match (exchange, answer) {
            (_, Some(answer)) => outcome_of(answer.outcome),
            (Exchange::Lost, None) => DnsOutcome::NoAnswer,
            _ => continue,
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    let answers = || asked.iter().filter_map(|(_, answer)| *answer);
    let records: BTreeSet<&String> = answers().flat_map(|answer| &answer.records).collect();
    let times: Vec<Micros> = asked
        .iter()
        .filter_map(|(exchange, _)| match exchange {
            Exchange::Answered { rtt, .. } => Some(*rtt),
            _ => None,
        })
        .collect();
    let unanswered = "it was not answered";
    DnsAnswer {
        outcome: answers().next_back().map_or(DnsOutcome::NoAnswer, |answer| outcome_of(answer.outcome)),
        outcomes,
        records: records.into_iter().cloned().collect(),
        aliases: answers().next_back().map(|answer| answer.aliases.clone()).unwrap_or_default(),
        ttl_s: match answers().filter_map(|answer| answer.ttl_s).min() {
            Some(ttl) => Value::exact(ttl),
            None => Value::failed("there were no records"),
        },
        first_ms: times
            .first()
            .map_or_else(|| Value::failed(unanswered), |first| Value::exact(first.as_ms())),
        time_ms: Distribution::of(&times.into_iter().collect())
            .map_or_else(|| Value::failed(unanswered), Value::Measured),
        truncated: answers().any(|answer| answer.truncated),
        over_tcp_ms: Value::not_tested("UDP carried the answer"),
    }
}

const fn outcome_of(outcome: Outcome) -> DnsOutcome {
    match outcome {
        Outcome::Records => DnsOutcome::Records,
        Outcome::NoRecords => DnsOutcome::NoRecords,
        Outcome::NoSuchName => DnsOutcome::NoSuchName,
        Outcome::AliasLoop => DnsOutcome::AliasLoop,
        Outcome::ServerFailure => DnsOutcome::ServerFailure,
        Outcome::Refused => DnsOutcome::Refused,
        Outcome::Other(_) => DnsOutcome::OtherError,
    }
}

/// Asks over TCP for what was too long for UDP (RFC 7766), and takes what comes for the answer.
async fn over_tcp(
    address: SocketAddr,
    name: &str,
    kind: RecordType,
    plan: &ProbePlan,
    clock: Clock,
    answer: &mut DnsAnswer,
) {
    let begun = clock.now();
    let patience: Duration = plan.patience.to_duration();
    let interface = plan.interface.as_deref().map(Interface::parse);
    let asking = ask_over_tcp(address, name, kind, interface.as_ref(), patience);
    answer.over_tcp_ms = match tokio::time::timeout(patience, asking).await {
        Ok(Ok(whole)) => {
            answer.outcome = outcome_of(whole.outcome);
            answer.records = whole.records.into_iter().collect();
            answer.aliases = whole.aliases;
            Value::exact((clock.now() - begun).as_ms())
        }
        Ok(Err(reason)) => Value::failed(reason),
        Err(_) => Value::failed("nothing came back over TCP"),
    };
}

async fn ask_over_tcp(
    address: SocketAddr,
    name: &str,
    kind: RecordType,
    interface: Option<&Interface>,
    patience: Duration,
) -> Result<Answer, String> {
    let mut stream =
        tcp::connect(interface, address, patience).await.map_err(|error| error.to_string())?.stream;
    let id = random::<2>().map(u16::from_be_bytes).map_err(|_| "no random numbers".to_owned())?;
    let mut question = Vec::new();
    write_question(id, name, kind, &mut question);
    let len = u16::try_from(question.len()).map_err(|_| "the name is too long".to_owned())?;
    let said = |error: std::io::Error| error.to_string();
    stream.write_all(&[&len.to_be_bytes()[..], &question].concat()).await.map_err(said)?;
    let mut octets = vec![0; usize::from(stream.read_u16().await.map_err(said)?)];
    stream.read_exact(&mut octets).await.map_err(said)?;
    let ours = crate::proto::dns::id_of(&octets) == Some(id);
    match read_answer(&octets, name, kind) {
        Ok(answer) if ours => Ok(answer),
        Ok(_) => Err("it answers another question over TCP".to_owned()),
        Err(error) => Err(format!("over TCP {error}")),
    }
}

/// The record types in which servers that answered have nothing in common.
fn differences(servers: &[NameServer]) -> Vec<String> {
    let mut differ = BTreeSet::new();
    for (index, one) in servers.iter().enumerate() {
        for other in &servers[index + 1..] {
            for (kind, answer) in &one.answers {
                if other.answers.get(kind).is_some_and(|theirs| is_different(answer, theirs)) {
                    differ.insert(kind.clone());
                }
            }
        }
    }
    differ.into_iter().collect()
}

/// Whether two answers cannot both be right. One that failed or did not come says nothing.
fn is_different(one: &DnsAnswer, other: &DnsAnswer) -> bool {
    let tells = |answer: &DnsAnswer| {
        matches!(answer.outcome, DnsOutcome::Records | DnsOutcome::NoRecords | DnsOutcome::NoSuchName)
    };
    let common = one.records.iter().any(|record| other.records.contains(record));
    let both_empty = one.records.is_empty() && other.records.is_empty();
    tells(one) && tells(other) && !common && !(both_empty && one.outcome == other.outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_turn_and_names_that_cannot_exist_come_between() {
        let names = questions("probe.example", &RecordType::USUAL, 9).unwrap();
        let asked: Vec<(bool, &str)> =
            names.all().map(|(asking, _)| (asking.name == "probe.example", asking.kind.name())).collect();
        let expected = [
            (true, "A"),
            (true, "AAAA"),
            (true, "HTTPS"),
            (false, "A"),
            (true, "A"),
            (true, "AAAA"),
            (true, "HTTPS"),
            (false, "A"),
            (true, "A"),
        ];
        assert_eq!(asked, expected);
        let invented: Vec<&str> = names
            .all()
            .map(|(asking, _)| asking.name.as_str())
            .filter(|name| *name != "probe.example")
            .collect();
        assert_ne!(invented[0], invented[1]);
        assert!(invented.iter().all(|name| name.len() == 24 && name.ends_with(".com")));
    }

    fn answer(outcome: DnsOutcome, records: &[&str]) -> DnsAnswer {
        let records = records.iter().map(|record| (*record).to_owned()).collect();
        DnsAnswer { outcome, records, ..of_kind(&[]) }
    }

    #[test]
    fn servers_differ_where_both_cannot_be_right() {
        let some = answer(DnsOutcome::Records, &["192.0.2.1", "192.0.2.2"]);
        let more = answer(DnsOutcome::Records, &["192.0.2.2", "192.0.2.3"]);
        let other = answer(DnsOutcome::Records, &["192.0.2.9"]);
        let none = answer(DnsOutcome::NoRecords, &[]);
        let no_name = answer(DnsOutcome::NoSuchName, &[]);
        let failed = answer(DnsOutcome::ServerFailure, &[]);
        assert!(!is_different(&some, &more), "one record in common: one of many");
        for (one, two) in [(&some, &other), (&some, &none), (&some, &no_name), (&none, &no_name)] {
            assert!(is_different(one, two) && is_different(two, one));
        }
        assert!(!is_different(&none, &none.clone()) && !is_different(&some, &failed));
    }
}
