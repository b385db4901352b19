//! Verdicts on links whose truth is written down: state, place, direction and cause are what was put in.

mod link;

use std::collections::BTreeSet;

use greenroom_reports::assess::{
    Agreement, Assessment, Frame, Probed, Question, TargetMeta, assemble, assess, recompute,
};
use greenroom_reports::schema::{
    AgentRef, Capacity, Devices, Environment, Estimate, FaultDirection, Judged, Kind, Mode, Place, Reached,
    Report, Settings, Source, State, Tool, Use, Value, read,
};
use greenroom_reports::trace::{
    CapacityInterval, CapacitySearch, Direction, HostLoad, Media, Phase, PhaseKind, SearchEnd, StampSource,
    Trace, encoding,
};
use greenroom_reports::units::{Bitrate, Micros};
use greenroom_reports::verdict::{Profile, TargetFailure, words};
use link::{Link, Rung};

const BASE: Micros = Micros::from_millis(20);

fn asked(uses: &[Use]) -> BTreeSet<Use> {
    uses.iter().copied().collect()
}

fn meta() -> TargetMeta {
    TargetMeta {
        url: "greenroom://probe.example:7443".into(),
        kind: "greenroom".into(),
        reached: Some(Reached {
            transport: "udp".into(),
            address: None,
            setup_ms: Some(40.0),
            instead_of_udp: None,
        }),
        identity: None,
        failure: None,
        details: None,
        in_process: false,
    }
}

fn judge(trace: Option<&Trace>, meta: &TargetMeta, uses: &[Use], at_cap: bool) -> Assessment {
    let (profile, asked) = (Profile::default(), asked(uses));
    let question = Question { profile: &profile, asked: &asked, mode: Mode::Quick, at_cap };
    assess(&[Probed { meta, trace }], &question)
}

/// A deep-ish run: 6 s of audio alone, then 5 s of 720p and 5 s of 1080p.
fn long(link: Link<'_>) -> Trace {
    link::trace(Micros::from_secs(6), &[rung(1_500, 5_000), rung(3_000, 5_000)], link)
}

/// What a quick check sends for its default uses.
fn quick(link: Link<'_>) -> Trace {
    link::trace(Micros::from_secs(2), &[rung(1_500, 2_000)], link)
}

fn rung(kbps: u64, ms: i64) -> Rung {
    Rung { media: Media::Video, rate: Bitrate::from_kbps(kbps), lasts: Micros::from_millis(ms) }
}

/// A fate by number, spread evenly but not in step with anything: a splitmix hash against a share in percent.
fn lost(percent: u64, salt: u64, seq: u32) -> bool {
    let mut z = (u64::from(seq) + 1)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(salt.wrapping_mul(0xD1B5_4A32_D192_ED03));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) % 100) < percent
}

fn clean(_: Direction, _: Media, _: u32, _: Micros) -> Option<Micros> {
    Some(BASE)
}

#[test]
fn a_clean_link_is_ready() {
    let trace = quick(&clean);
    let found = judge(Some(&trace), &meta(), &[Use::Audio, Use::Video720p], true);
    assert_eq!(found.verdict.overall, State::Ready, "{:#?}", found.verdict);
    assert!(
        found.verdict.causes.iter().all(|cause| cause.state == State::Ready),
        "{:#?}",
        found.verdict.causes
    );
    assert_eq!(found.verdict.say, "Your connection is ready for audio, 720p.");
    let target = &found.targets[0];
    assert_eq!(target.rtt_ms.measured().unwrap().p50, 40.0);
    assert_eq!((target.up.counts.sent, target.up.counts.on_time, target.up.counts.lost), (280, 280, 0));
    assert_eq!(target.streams.len(), 2);

    let long = judge(Some(&long(&clean)), &meta(), &[Use::Audio, Use::Video720p], false);
    assert_eq!(long.verdict.overall, State::Ready);
    assert!(long.verdict.certain && long.decided, "{:#?}", long.verdict);
}

/// Audio for 16 s; from 5 s on a search up, from 9 s on one down, each of which fills its direction: 30 % is lost there
/// and the rest comes 250 ms late.
fn searched(ends: &[(Direction, SearchEnd)]) -> Trace {
    let within = |direction, at: Micros| match direction {
        // None is still on its way when the search down begins.
        Direction::Up => (5_000..8_700).contains(&(at.get() / 1_000)),
        Direction::Down => (9_000..13_000).contains(&(at.get() / 1_000)),
    };
    let mut trace =
        link::trace(Micros::from_secs(16), &[], &|direction, _, seq, at| match within(direction, at) {
            true if lost(30, 7, seq) => None,
            true => Some(BASE + Micros::from_millis(250)),
            false => Some(BASE),
        });
    let ceiling = Bitrate::from_kbps(1_000_000);
    let phase = |kind, from, to, up, down| Phase {
        kind,
        from: Micros::from_secs(from),
        to: Micros::from_secs(to),
        offered_up: up,
        offered_down: down,
    };
    let none = Bitrate::default();
    trace.phases = vec![
        phase(PhaseKind::Idle, 0, 5, none, none),
        phase(PhaseKind::Capacity, 5, 9, ceiling, none),
        phase(PhaseKind::Capacity, 9, 13, none, ceiling),
        phase(PhaseKind::Settle, 13, 16, none, none),
    ];
    trace.searches =
        ends.iter().map(|(direction, end)| CapacitySearch { direction: *direction, end: *end }).collect();
    trace
}

/// So many intervals of 50 ms in which 10 Mbit/s came.
fn ten_megabits(direction: Direction, intervals: i64) -> impl Iterator<Item = CapacityInterval> {
    (0..intervals).map(move |i| CapacityInterval {
        direction,
        at: Micros::from_millis(50 * i),
        lasted: Micros::from_millis(50),
        offered: Bitrate::from_kbps(10_300),
        received_bytes: 62_500,
        received_packets: 53,
        lost_packets: 0,
        disordered_packets: 0,
        delay_range: Some((Micros::ZERO, Micros::from_millis(30))),
    })
}

#[test]
fn what_a_capacity_search_does_to_audio_blames_no_use_and_stands_in_no_other_figure() {
    let trace = searched(&[]);
    let found = judge(Some(&trace), &meta(), &[Use::Audio], true);
    assert_eq!(found.verdict.overall, State::Ready, "{:#?}", found.verdict);
    let target = &found.targets[0];
    for direction in [&target.up, &target.down] {
        assert_eq!(direction.loss_ratio.measured().unwrap().value, 0.0);
        assert_eq!(direction.late_loss_ratio.adaptive.measured().unwrap().value, 0.0);
        assert_eq!(direction.pdv_ms.measured().unwrap().max, 0.0);
        assert!(direction.counts.lost > 50, "counts are of the whole run: {:?}", direction.counts);
    }
    assert_eq!(target.rtt_ms.measured().unwrap().max, 40.0);
    let added = |value: &Value<Estimate>| value.measured().unwrap().value;
    assert_eq!(added(&target.loaded.rtt_increase_ms[&Use::Audio]), 0.0);
    assert_eq!(added(&target.loaded.saturated_up_ms), 250.0);
    assert_eq!(added(&target.loaded.saturated_down_ms), 250.0);
    let delays = target.series.iter().find(|series| series.name == "rtt").unwrap();
    let seen = delays.values.iter().flatten().copied().fold(0.0, f64::max);
    assert_eq!(seen, 290.0, "plots show it");
}

#[test]
fn a_capacity_that_the_path_did_not_limit_is_told_as_at_least() {
    let mut trace = searched(&[(Direction::Up, SearchEnd::Converged), (Direction::Down, SearchEnd::Budget)]);
    trace.capacity = ten_megabits(Direction::Up, 30).chain(ten_megabits(Direction::Down, 12)).collect();
    let figure = |trace: &Trace| {
        let found = judge(Some(trace), &meta(), &[Use::Audio], true);
        let target = &found.targets[0];
        (target.up.capacity_bps.clone(), target.down.capacity_bps.clone())
    };
    let told = |value: &Value<Capacity>| {
        let found = *value.measured().unwrap();
        (found.value, found.at_least, found.ended, found.window_ms, found.n)
    };
    let (up, down) = figure(&trace);
    assert_eq!(told(&up), (10e6, false, Some(SearchEnd::Converged), 1_000.0, 20));
    assert_eq!(told(&down), (10e6, true, Some(SearchEnd::Budget), 250.0, 5), "0.6 s are no second");

    // Broken off: nobody says how it would have ended.
    trace.searches.clear();
    assert_eq!(told(&figure(&trace).0), (10e6, true, None, 1_000.0, 20));
    // One that converged has held a rate for a second, or it has not.
    trace.searches = vec![CapacitySearch { direction: Direction::Down, end: SearchEnd::Converged }];
    assert!(matches!(figure(&trace).1, Value::Failed { .. }));
    trace.capacity.clear();
    assert!(matches!(figure(&trace).0, Value::NotTested { .. }));
}

#[test]
fn a_search_may_lose_what_its_path_loses_anyhow() {
    let of_search = searched(&[(Direction::Up, SearchEnd::Converged)]);
    let with_losses = |audio_lost_percent| {
        let link = move |_: Direction, _: Media, seq: u32, _: Micros| {
            (!lost(audio_lost_percent, 9, seq)).then_some(BASE)
        };
        let mut trace = link::trace(Micros::from_secs(16), &[], &link);
        trace.phases.clone_from(&of_search.phases);
        trace.searches.clone_from(&of_search.searches);
        // 4 % of the search's packets are lost.
        let lossy = |interval| CapacityInterval { lost_packets: 2, received_packets: 48, ..interval };
        trace.capacity = ten_megabits(Direction::Up, 30).map(lossy).collect();
        judge(Some(&trace), &meta(), &[Use::Audio], true).targets[0].up.capacity_bps.clone()
    };
    assert!(matches!(with_losses(0), Value::Failed { .. }));
    assert_eq!(with_losses(4).measured().unwrap().value, 10e6);
}

#[test]
fn nothing_is_decided_at_the_start() {
    let trace = link::trace(Micros::from_millis(400), &[], &clean);
    let found = judge(Some(&trace), &meta(), &[Use::Audio, Use::Video720p], false);
    assert_eq!(found.verdict.overall, State::Inconclusive);
    assert!(!found.decided);
}

#[test]
fn loss_upward_is_placed_upward_on_the_path() {
    let link = |d: Direction, m: Media, seq: u32, _: Micros| {
        let salt = if m == Media::Audio { 1 } else { 2 };
        (d == Direction::Down || !lost(15, salt, seq)).then_some(BASE)
    };
    let found = judge(Some(&quick(&link)), &meta(), &[Use::Audio, Use::Video720p], true).verdict;
    assert_eq!((found.overall, found.certain), (State::Blocked, true), "{found:#?}");
    assert_eq!((found.place, found.direction), (Some(Place::Path), Some(FaultDirection::Up)));
    let lead = &found.causes[0];
    assert_eq!(lead.code, "loss_up", "{:#?}", found.causes);
    assert!(lead.measured.is_some_and(|share| (0.10..0.20).contains(&share)), "{lead:#?}");
    assert!(
        found.causes.iter().all(|cause| cause.direction != Some(FaultDirection::Down)),
        "{:#?}",
        found.causes
    );
    assert!(!lead.say.contains('{') && lead.say.contains('%'), "{}", lead.say);
}

/// A link of 1 Mbit/s each way with a queue of 200 ms, worked out packet by packet, for both kinds of stream at once.
#[test]
fn a_rung_that_does_not_fit_blames_itself_and_nobody_lighter() {
    let narrow = |_: Direction, m: Media, seq: u32, at: Micros| {
        // From 6 s on 1.5 times, from 11 s on three times as much as fits: a full queue and every third or two of three lost.
        let keeps = match at.get() {
            t if t < 6_000_000 => true,
            t if t < 11_000_000 => !seq.is_multiple_of(3),
            _ => seq.is_multiple_of(3),
        };
        let queue = if at < Micros::from_secs(6) { Micros::ZERO } else { Micros::from_millis(180) };
        (keeps || m == Media::Audio).then_some(BASE + queue)
    };
    let trace = long(&narrow);
    let found = judge(Some(&trace), &meta(), &[Use::Audio, Use::Video720p, Use::Video1080p], true).verdict;
    assert_eq!(found.uses[&Use::Audio].state, State::Ready, "{found:#?}");
    assert_eq!(found.uses[&Use::Video720p].state, State::Blocked);
    assert_eq!(found.uses[&Use::Video1080p].state, State::Blocked);
    let codes: Vec<_> =
        found.causes.iter().filter(|c| c.state == State::Blocked).map(|c| c.code.as_str()).collect();
    assert_eq!(codes, ["rate"], "both ways the same: {:#?}", found.causes);
    let rate = &found.causes[0];
    assert_eq!(rate.direction, Some(FaultDirection::Both));
    // A third of 1.5 Mbit/s, or two thirds of 3, were lost; of either it is 1 Mbit/s that got through.
    assert!(rate.measured.is_some_and(|bps| (0.9e6..1.1e6).contains(&bps)), "{rate:#?}");
    assert!(rate.good > rate.limit && rate.limit > rate.measured, "{rate:#?}");
    assert!(rate.metric.as_deref().is_some_and(|path| path.ends_with("_bps")), "{rate:#?}");
    assert!(found.causes.iter().all(|cause| !cause.uses.contains(&Use::Audio)), "{:#?}", found.causes);
    let only_audio = judge(Some(&trace), &meta(), &[Use::Audio], true).verdict;
    assert_eq!(only_audio.overall, State::Ready, "{only_audio:#?}");
}

#[test]
fn loss_both_ways_is_one_cause_with_its_symptoms_as_evidence() {
    let link = |d: Direction, m: Media, seq: u32, _: Micros| {
        let salt = match (d, m == Media::Audio) {
            (Direction::Up, true) => 1,
            (Direction::Up, false) => 2,
            (Direction::Down, true) => 3,
            (Direction::Down, false) => 4,
        };
        (!lost(15, salt, seq)).then_some(BASE)
    };
    let found = judge(Some(&quick(&link)), &meta(), &[Use::Audio, Use::Video720p], true).verdict;
    assert_eq!((found.overall, found.direction), (State::Blocked, Some(FaultDirection::Both)), "{found:#?}");
    let codes: Vec<_> = found.causes.iter().map(|cause| cause.code.as_str()).collect();
    assert_eq!(codes, ["loss"], "neither the rate nor late loss says more: {:#?}", found.causes);
    let lead = &found.causes[0];
    assert!(lead.say.starts_with("About 1") && lead.say.contains("both"), "{}", lead.say);
    for told in ["sending: ", "receiving: ", "Mbit/s offered arrived in time", "too late to be played"] {
        assert!(lead.evidence.iter().any(|line| line.contains(told)), "{told}: {:#?}", lead.evidence);
    }
}

#[test]
fn loss_that_differs_between_directions_stays_two_causes() {
    let link = |d: Direction, m: Media, seq: u32, _: Micros| {
        let (percent, salt) = if d == Direction::Up { (30, 5) } else { (10, 6) };
        (!lost(percent, salt + u64::from(m == Media::Audio), seq)).then_some(BASE)
    };
    let found = judge(Some(&quick(&link)), &meta(), &[Use::Video720p], true).verdict;
    let codes: Vec<_> = found.causes.iter().map(|cause| cause.code.as_str()).collect();
    assert_eq!(codes, ["loss_up", "loss_down"], "{:#?}", found.causes);
}

#[test]
fn a_busy_computer_is_one_note_that_says_what_it_spoils() {
    let mut trace = quick(&clean);
    trace.here.host_load = Some(HostLoad { busy_ratio: 0.998, steal_ratio: 0.0, cores: 2 });
    for record in trace.here.streams.iter_mut().flat_map(|stream| &mut stream.tx) {
        record.intended -= Micros::from_millis(3);
    }
    let found = judge(Some(&trace), &meta(), &[Use::Audio], true).verdict;
    assert_eq!(found.overall, State::Ready, "{found:#?}");
    let [note] = found.causes.as_slice() else { panic!("one note: {:#?}", found.causes) };
    assert_eq!((note.code.as_str(), note.state), ("cpu_busy", State::Ready));
    assert!(note.say.contains("100 %"), "{}", note.say);
    assert!(note.evidence.iter().any(|line| line.ends_with("packets left late")), "{note:#?}");
    assert!(note.evidence.iter().any(|line| line.contains("not affected")), "{note:#?}");
}

#[test]
fn delay_under_load_is_bufferbloat_in_its_direction() {
    let bloated = |d: Direction, _: Media, _: u32, at: Micros| {
        let queue = if d == Direction::Up && at > Micros::from_secs(6) { 600 } else { 0 };
        Some(BASE + Micros::from_millis(queue))
    };
    let found = judge(Some(&long(&bloated)), &meta(), &[Use::Audio, Use::Video720p], true).verdict;
    assert_eq!(found.uses[&Use::Audio].state, State::Ready, "{found:#?}");
    assert_eq!(found.uses[&Use::Video720p].state, State::Blocked);
    let bloat =
        found.causes.iter().find(|cause| cause.code == "bufferbloat_up").expect("the cause that was put in");
    assert_eq!(bloat.measured, Some(600.0));
    assert!(
        found.causes.iter().all(|cause| cause.direction != Some(FaultDirection::Down)),
        "{:#?}",
        found.causes
    );
}

#[test]
fn a_long_way_is_high_rtt() {
    let far = |_: Direction, _: Media, _: u32, _: Micros| Some(Micros::from_millis(200));
    let found = judge(Some(&quick(&far)), &meta(), &[Use::Audio], true).verdict;
    assert_eq!((found.overall, found.causes[0].code.as_str()), (State::Degraded, "rtt_high"), "{found:#?}");
    assert_eq!(found.causes[0].measured, Some(400.0));
    assert_eq!(found.causes[0].margin, Some(1.6));
}

#[test]
fn a_busy_computer_is_the_computer() {
    let mut trace = quick(&clean);
    for stream in &mut trace.here.streams {
        for (i, record) in stream.rx.iter_mut().enumerate() {
            record.user = Some(record.at + Micros::from_millis(if i % 4 == 0 { 400 } else { 1 }));
        }
    }
    let found = judge(Some(&trace), &meta(), &[Use::Audio], true);
    assert_eq!(found.verdict.place, Some(Place::Computer), "{:#?}", found.verdict);
    assert_eq!(found.verdict.causes[0].code, "host_delay_here");
    assert_eq!(found.targets[0].down.pdv_ms.measured().unwrap().max, 0.0, "the network had none");
}

#[test]
fn without_kernel_stamps_a_late_program_spoils_delays_but_not_loss() {
    let late = |d: Direction, _: Media, seq: u32, _: Micros| {
        Some(
            BASE + if d == Direction::Up && seq.is_multiple_of(5) {
                Micros::from_millis(300)
            } else {
                Micros::ZERO
            },
        )
    };
    let mut trace = long(&late);
    let by_kernel = judge(Some(&trace), &meta(), &[Use::Audio], true).verdict;
    assert!(by_kernel.causes.iter().any(|cause| cause.code == "pdv_up"), "{by_kernel:#?}");
    trace.here.clock.tx = StampSource::User;
    trace.here.clock.rx = StampSource::User;
    for record in trace.here.streams.iter_mut().flat_map(|stream| &mut stream.tx) {
        record.kernel = None;
        record.intended -= Micros::from_millis(50);
    }
    let found = judge(Some(&trace), &meta(), &[Use::Audio], true);
    assert!(
        found.verdict.causes.iter().any(|cause| cause.code == "measurement_spoiled"),
        "{:#?}",
        found.verdict
    );
    assert!(found.verdict.causes.iter().any(|cause| cause.code == "no_kernel_timestamps"));
    let of_delay = ["pdv_up", "late_loss_up"];
    assert!(found.verdict.causes.iter().all(|cause| !of_delay.contains(&cause.code.as_str())));
    // One packet in five is late upward: p95 of the delay upward and of the round trip, not its median.
    assert_eq!(
        found.targets[0].self_error.unusable,
        ["delay under load", "delay variation up", "late loss up"]
    );
}

#[test]
fn an_endpoint_that_lies_about_its_times_decides_nothing() {
    let mut trace = quick(&clean);
    for record in &mut trace.here.streams[0].rx {
        let reply = record.reply.as_mut().expect("audio comes back as replies");
        reply.sent = reply.received + Micros::from_secs(9);
    }
    trace.there = None;
    let found = judge(Some(&trace), &meta(), &[Use::Audio], true).verdict;
    assert_eq!(found.overall, State::Inconclusive, "{found:#?}");
    assert_eq!(found.causes[0].code, "endpoint_lies");
}

#[test]
fn every_failure_has_words_and_a_state() {
    let text = || "detail".to_owned();
    let failures = [
        TargetFailure::UnknownHost { detail: text() },
        TargetFailure::PortClosed,
        TargetFailure::Silent,
        TargetFailure::UdpBlocked { works: Some("tls/443".into()) },
        TargetFailure::UdpPortBlocked { port: 7444, works: "quic/7443".into() },
        TargetFailure::UdpBlockedHere { port: 7443, works: None },
        TargetFailure::FirewallOnTheWay { by: "192.0.2.1".into() },
        TargetFailure::NoWay { by: "192.0.2.1".into() },
        TargetFailure::NextHopSilent,
        TargetFailure::TokenRequired,
        TargetFailure::WrongToken,
        TargetFailure::TokenWithheld,
        TargetFailure::ProtocolVersion { theirs: Some("9".into()), ours: "1".into() },
        TargetFailure::NotThisKind { detail: text() },
        TargetFailure::WrongProtocol { protocol: "STUN".into(), detail: text() },
        TargetFailure::BearerRequired { status: 401 },
        TargetFailure::BearerRefused { status: 403 },
        TargetFailure::PublishRefused { status: 404, advice: text() },
        TargetFailure::UnusableAnswer { detail: text() },
        TargetFailure::MediaUnreachable { addresses: "192.0.2.2:8000".into() },
        TargetFailure::MediaKeys { detail: text() },
        TargetFailure::AnswersFromElsewhere { from: "192.0.2.2:3478".into() },
        TargetFailure::TlsUnverified { detail: text() },
        TargetFailure::Reset,
        TargetFailure::Mute { protocol: text() },
        TargetFailure::TlsRefused { detail: text() },
        TargetFailure::Proxy { proxy: text(), detail: text() },
        TargetFailure::NoNameServer,
        TargetFailure::NameServersSilent { servers: "192.0.2.53:53".into() },
        TargetFailure::Quota { retry_after_s: Some(30) },
        TargetFailure::Refused { detail: text() },
        TargetFailure::Died,
        TargetFailure::AddressChanged,
        TargetFailure::NoIpv4,
        TargetFailure::NoIpv6,
        TargetFailure::NoNetwork,
        TargetFailure::Interrupted,
        TargetFailure::Local { detail: text() },
    ];
    let known: BTreeSet<_> = words::codes().collect();
    for failure in failures {
        assert!(known.contains(failure.code()), "{} has no words", failure.code());
        let meta = TargetMeta { reached: None, failure: Some(failure.clone()), ..meta() };
        let found = judge(None, &meta, &[Use::Audio], true);
        assert_eq!(found.verdict.overall, failure.state(), "{failure:?}");
        let lead = &found.verdict.causes[0];
        assert_eq!((lead.code.as_str(), lead.place), (failure.code(), failure.place()));
        assert!(!lead.say.contains('{') && !lead.fix.as_deref().unwrap_or("").contains('{'), "{lead:?}");
        assert_eq!(found.verdict.say, lead.say);
        assert_eq!(found.targets[0].failure.as_ref(), Some(&failure));
    }
}

#[test]
fn an_endpoint_that_dies_leaves_what_was_measured() {
    let trace = quick(&clean);
    let meta = TargetMeta { failure: Some(TargetFailure::Died), ..meta() };
    let found = judge(Some(&trace), &meta, &[Use::Audio], true);
    assert_eq!(found.verdict.overall, State::Inconclusive);
    assert_eq!(found.verdict.causes[0].code, "endpoint_died");
    assert!(found.targets[0].rtt_ms.measured().is_some());
}

#[test]
fn figures_of_a_detour_are_degraded_at_best_and_say_why() {
    let blocked = TargetFailure::UdpBlocked { works: Some("tls/7443".into()) };
    let reached = Reached {
        transport: "websocket".into(),
        address: None,
        setup_ms: None,
        instead_of_udp: Some(blocked.clone()),
    };
    let meta = TargetMeta { reached: Some(reached), ..meta() };
    let found = judge(Some(&quick(&clean)), &meta, &[Use::Audio], true);
    assert_eq!(found.verdict.overall, State::Degraded);
    assert_eq!(found.verdict.place, Some(Place::Relay));
    let lead = &found.verdict.causes[0];
    assert_eq!((lead.code.as_str(), lead.state), ("udp_blocked", State::Degraded));
    let evidence = lead.evidence.join("; ");
    assert!(evidence.contains("tls/7443") && evidence.contains("UDP"), "{evidence}");
    assert!(evidence.contains("websocket"), "{evidence}");
    let target = &found.targets[0];
    assert!(target.rtt_ms.measured().is_some() && target.up.pdv_ms.measured().is_some());
    for way in [&target.up, &target.down] {
        assert!(way.counts.on_time > 0);
        assert_eq!(way.loss_ratio.measured(), None, "TCP hides it");
        assert_eq!(way.reordering.measured(), None, "TCP hides it");
    }

    // A run that is cut short on the detour says both.
    let died = TargetMeta { failure: Some(TargetFailure::Died), ..meta };
    let found = judge(Some(&quick(&clean)), &died, &[Use::Audio], true).verdict;
    let codes: Vec<_> = found.causes.iter().map(|cause| cause.code.as_str()).collect();
    assert!(codes.contains(&"udp_blocked") && codes.contains(&"endpoint_died"), "{codes:?}");
    assert_ne!(found.overall, State::Ready);
}

#[test]
fn a_silent_server_beside_an_endpoint_that_went_around_udp_is_blocked_udp_too() {
    let around = Reached {
        transport: "websocket".into(),
        address: None,
        setup_ms: None,
        instead_of_udp: Some(TargetFailure::UdpBlocked { works: Some("tls/7443".into()) }),
    };
    let silent = TargetMeta {
        url: "stun:192.0.2.7".into(),
        kind: "stun".into(),
        reached: None,
        failure: Some(TargetFailure::Silent),
        ..meta()
    };
    let (profile, asked) = (Profile::default(), asked(&[Use::Audio]));
    let question = Question { profile: &profile, asked: &asked, mode: Mode::Quick, at_cap: true };
    let trace = quick(&clean);
    let led_by = |endpoint: &TargetMeta| {
        let probed = [Probed { meta: endpoint, trace: Some(&trace) }, Probed { meta: &silent, trace: None }];
        let verdict = assess(&probed, &question).verdict;
        (verdict.causes[0].code.clone(), verdict.place)
    };
    let detour = TargetMeta { reached: Some(around), ..meta() };
    assert_eq!(led_by(&detour), ("udp_blocked".to_owned(), Some(Place::Relay)));
    assert_eq!(led_by(&meta()), ("endpoint_unreachable".to_owned(), Some(Place::Unknown)));
}

#[test]
fn no_endpoint_and_this_computer_as_endpoint_test_no_network() {
    let (profile, asked) = (Profile::default(), asked(&[Use::Audio]));
    let question = Question { profile: &profile, asked: &asked, mode: Mode::Quick, at_cap: true };
    let none = assess(&[], &question).verdict;
    assert_eq!((none.overall, none.uses[&Use::Audio].state), (State::NotTested, State::NotTested));

    let meta = TargetMeta { in_process: true, ..meta() };
    let found = judge(Some(&quick(&clean)), &meta, &[Use::Audio], true);
    assert_eq!(found.verdict.overall, State::NotTested);
    assert!(found.verdict.say.contains("nothing about the internet path"));
    assert!(found.targets[0].rtt_ms.measured().is_some());
}

#[test]
fn a_use_that_the_profile_does_not_judge_is_not_tested() {
    let (profile, asked) = (Profile::named("meet").unwrap(), asked(&[Use::Video1080p]));
    let question = Question { profile: &profile, asked: &asked, mode: Mode::Quick, at_cap: true };
    let (trace, meta) = (quick(&clean), meta());
    let found = assess(&[Probed { meta: &meta, trace: Some(&trace) }], &question).verdict;
    assert_eq!(found.overall, State::NotTested);
    assert_eq!(found.uses[&Use::Video1080p].reason.as_deref(), Some("profile meet/1 does not judge it"));
}

#[test]
fn a_report_computes_its_own_summary_again() {
    let report = report();
    assert_eq!(recompute(&report).unwrap(), Agreement::Agrees);
    let text = serde_json::to_string(&report).unwrap();
    let again = read(&text).unwrap();
    assert_eq!(recompute(&again).unwrap(), Agreement::Agrees, "also after a trip through JSON");
    let validator = jsonschema::validator_for(&greenroom_reports::schema::json_schema()).unwrap();
    let errors: Vec<_> =
        validator.iter_errors(&serde_json::to_value(&report).unwrap()).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");

    let mut forged = again;
    forged.verdict.overall = State::Ready;
    forged.targets[0].up.counts.lost = 0;
    let Agreement::Differs(paths) = recompute(&forged).unwrap() else {
        panic!("a forged report must not agree")
    };
    assert_eq!(paths, ["/targets/0/up/lost", "/verdict/overall"]);
    forged.trace = None;
    assert!(recompute(&forged).unwrap_err().to_string().contains("no trace"));
}

fn report() -> Report {
    let link = |_: Direction, _: Media, seq: u32, _: Micros| {
        (!lost(20, 3, seq)).then_some(BASE + Micros::new(i64::from(seq % 7) * 333))
    };
    let encoded = encoding::encode(&quick(&link)).expect("a small trace");
    let trace = encoding::decode(&encoded).expect("what was just encoded");
    let uses = [Use::Audio, Use::Video720p];
    let assessment = judge(Some(&trace), &meta(), &uses, true);
    assert_eq!(assessment.verdict.overall, State::Blocked);
    let frame = Frame {
        id: "019384a1-2c4d-7e80-9abc-1d2e3f405162".parse().expect("a UUID"),
        kind: Kind::Check,
        parent: None,
        complete: true,
        started: "2026-11-22T14:03:11.204Z".parse().expect("a time"),
        duration_ms: 5_310.0,
        bytes_used: 1_000_000,
        labels: [("site".to_owned(), "Utrecht".to_owned())].into(),
        agent: AgentRef::default(),
        tool: Tool { name: "greenroom".into(), version: "0.1.0".into(), source: Source::Cli },
        environment: Environment::default(),
        profile: Profile::default(),
        settings: Settings {
            judged: Judged { uses: uses.to_vec(), mode: Mode::Quick, at_cap: true, ..Judged::default() },
            ..Settings::default()
        },
        devices: Devices::default(),
        traces: vec![(0, encoded)],
    };
    assemble(frame, assessment)
}
