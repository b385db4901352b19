use super::*;

const ALL: [Use; 5] = [Use::Audio, Use::Video360p, Use::Video720p, Use::Video1080p, Use::Screen];

fn request(uses: &[Use], mode: Mode) -> Request {
    wish(Traffic::Uses(uses.iter().copied().collect(), mode))
}

fn chosen(media: Vec<ChosenMedia>, seconds: i64) -> Request {
    wish(Traffic::Chosen { media, duration: Micros::from_secs(seconds) })
}

fn wish(traffic: Traffic) -> Request {
    Request { against: Against::default(), traffic, profile: Profile::default(), max_bytes: None }
}

/// Every set of uses that can be asked for.
fn every_set() -> impl Iterator<Item = Vec<Use>> {
    (1..1_usize << ALL.len())
        .map(|bits| (0..ALL.len()).filter(|i| bits >> i & 1 == 1).map(|i| ALL[i]).collect())
}

fn phases(plan: &Plan) -> Vec<(PhaseKind, i64, i64, u64)> {
    plan.phases
        .iter()
        .map(|p| {
            assert!(p.kind == PhaseKind::Capacity || p.offered_up == p.offered_down);
            (p.kind, p.from.get() / 1_000, p.to.get() / 1_000, p.offered_up.bps() / 1_000)
        })
        .collect()
}

#[test]
fn tables() {
    use PhaseKind::{Capacity, Idle, Media, Settle};
    struct Case {
        name: &'static str,
        uses: &'static [Use],
        mode: Mode,
        /// Kind, from and to in ms, media in kbit/s.
        phases: &'static [(PhaseKind, i64, i64, u64)],
    }
    let cases = [
        Case { name: "audio", uses: &[Use::Audio], mode: Mode::Quick, phases: &[(Idle, 0, 18_000, 0)] },
        Case {
            name: "the default",
            uses: &[Use::Audio, Use::Video720p],
            mode: Mode::Quick,
            phases: &[(Idle, 0, 1_500, 0), (Media, 1_500, 18_000, 1_500)],
        },
        Case {
            name: "video without audio has the floor all the same",
            uses: &[Use::Video720p],
            mode: Mode::Quick,
            phases: &[(Idle, 0, 1_500, 0), (Media, 1_500, 18_000, 1_500)],
        },
        Case {
            name: "all: the rungs share the time and climb",
            uses: &ALL,
            mode: Mode::Quick,
            phases: &[
                (Idle, 0, 1_500, 0),
                (Media, 1_500, 2_250, 600),
                (Media, 2_250, 3_000, 600),
                (Media, 3_000, 3_750, 1_500),
                (Media, 3_750, 15_600, 3_000),
            ],
        },
        Case {
            name: "deep shows the floor at both ends",
            uses: &[Use::Audio, Use::Video720p],
            mode: Mode::Deep,
            phases: &[
                (Idle, 0, 4_000, 0),
                (Media, 4_000, 9_000, 1_500),
                (Capacity, 9_000, 13_000, 1_000_000),
                (Capacity, 13_000, 17_000, 0),
                (Settle, 17_000, 18_500, 0),
            ],
        },
    ];
    for case in cases {
        let plan = plan(&request(case.uses, case.mode)).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        assert_eq!(phases(&plan), case.phases, "{}", case.name);
    }
}

#[test]
fn quick_usually_takes_6_s_and_never_more_than_20_s_and_10_mb_whatever_is_asked() {
    for uses in every_set() {
        let plan = plan(&request(&uses, Mode::Quick)).expect("fits the default cap");
        assert!(plan.usual() <= Micros::from_secs(6), "{uses:?}: {}", plan.usual());
        assert!(plan.longest() >= Micros::from_secs(10), "{uses:?}: {}", plan.longest());
        assert!(plan.longest() <= Micros::from_secs(20), "{uses:?}: {}", plan.longest());
        assert!(plan.bytes <= QUICK_MAX_BYTES);
    }
}

#[test]
fn quick_goes_on_for_as_long_as_the_bytes_allow() {
    let capped = |bytes| {
        let max_bytes = Some(DataSize::from_bytes(bytes));
        let request = Request { max_bytes, ..request(&[Use::Audio, Use::Video1080p], Mode::Quick) };
        plan(&request).map(|plan| (plan.longest() - plan.usual(), plan.bytes))
    };
    // 3 s of 3 Mbit/s each way and 4.5 s of audio are 2.55 MB; a second more is 0.77 MB.
    let (more, bytes) = capped(5_000_000).expect("fits");
    assert_eq!(more, Micros::from_millis(3_100));
    assert!(bytes <= DataSize::from_bytes(5_000_000) && bytes > DataSize::from_bytes(4_900_000), "{bytes}");
    assert_eq!(capped(2_600_000).expect("just fits").0, Micros::ZERO);
    assert!(matches!(capped(2_400_000), Err(PlanError::OverCap { .. })));
}

#[test]
fn deep_takes_30_s_and_100_mb_at_most_whatever_is_asked() {
    for uses in every_set() {
        let plan = plan(&request(&uses, Mode::Deep)).expect("fits the default cap");
        assert!(plan.longest() >= Micros::from_secs(15), "{uses:?}: {}", plan.longest());
        assert!(plan.longest() <= Micros::from_secs(30), "{uses:?}: {}", plan.longest());
        assert!(plan.bytes <= DEEP_MAX_BYTES);
    }
}

#[test]
fn phases_join_and_climb_and_carry_their_streams() {
    for uses in every_set() {
        for mode in [Mode::Quick, Mode::Deep] {
            let plan = plan(&request(&uses, mode)).expect("fits the default cap");
            assert_eq!(plan.phases[0].kind, PhaseKind::Idle);
            assert_eq!(plan.phases[0].from, Micros::ZERO);
            for pair in plan.phases.windows(2) {
                assert_eq!(pair[0].to, pair[1].from);
                if pair[1].kind == PhaseKind::Media {
                    assert!(pair[0].offered_up <= pair[1].offered_up, "the load climbs");
                }
            }
            for phase in plan.phases.iter().filter(|phase| phase.kind != PhaseKind::Capacity) {
                for (direction, offered) in
                    [(Direction::Up, phase.offered_up), (Direction::Down, phase.offered_down)]
                {
                    let sent: Bitrate = plan
                        .streams
                        .iter()
                        .filter(|s| s.spec.direction == Some(direction))
                        .filter(|s| s.from < phase.to && s.to > phase.from)
                        .map(|s| s.spec.rate)
                        .sum();
                    assert_eq!(sent, offered, "what a phase says is what its streams offer");
                }
            }
            let asked: BTreeSet<Use> = uses.iter().copied().filter(|u| *u != Use::Audio).collect();
            let sent: BTreeSet<Use> =
                plan.streams.iter().filter(|s| s.spec.direction.is_some()).filter_map(|s| s.rung).collect();
            assert_eq!(sent, asked, "no rung beyond those asked for");
            let ids: Vec<u16> = plan.streams.iter().map(|s| s.id.0).collect();
            assert_eq!(ids, (0..u16::try_from(plan.streams.len()).expect("few")).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_deep_check_searches_each_way_once_with_what_the_cap_leaves() {
    for uses in every_set() {
        let plan = plan(&request(&uses, Mode::Deep)).expect("fits the default cap");
        let search = plan.search.expect("there is room");
        let phases: Vec<_> = plan.phases.iter().filter(|p| p.kind == PhaseKind::Capacity).collect();
        assert_eq!(phases.iter().map(|p| PlannedSearch::direction(p)).collect::<Vec<_>>(), Direction::BOTH);
        assert!(phases.iter().all(|p| p.to - p.from > search.lasting));
        assert!(plan.streams.iter().all(|s| s.id < search.up && search.up < search.down));
        let media: DataSize = plan.streams.iter().map(PlannedStream::bytes).sum();
        let spent = media + search.budget + search.budget + CONTROL_BYTES;
        assert_eq!(spent, plan.bytes);
        assert!(DEEP_MAX_BYTES.bytes() - spent.bytes() <= 1, "the cap is used up");
    }
    assert_eq!(plan(&request(&ALL, Mode::Quick)).expect("fits").search, None);
}

#[test]
fn a_cap_that_leaves_no_room_leaves_the_search_out() {
    let mut wish = request(&[Use::Audio, Use::Video720p], Mode::Deep);
    wish.max_bytes = Some(DataSize::from_bytes(4_000_000));
    let plan = plan(&wish).expect("2.5 MB");
    assert_eq!(plan.search, None);
    assert!(plan.phases.iter().all(|phase| phase.kind != PhaseKind::Capacity));
}

#[test]
fn audio_stays_within_its_own_rung() {
    for mode in [Mode::Quick, Mode::Deep] {
        let plan = plan(&request(&[Use::Audio], mode)).expect("fits the default cap");
        assert!(plan.streams[0].spec.rate <= rung(Use::Audio));
    }
}

#[test]
fn bytes_are_counted_both_ways() {
    let plan = plan(&chosen(vec![], 10)).expect("small");
    // 50 packets of 232 bytes for 10 s, and their replies, and control.
    assert_eq!(plan.bytes, DataSize::from_bytes(2 * 50 * 232 * 10 + 200_000));
}

#[test]
fn a_plan_over_the_cap_is_refused_with_what_to_do() {
    let mut wish = request(&[Use::Audio, Use::Video1080p], Mode::Quick);
    wish.max_bytes = Some(DataSize::from_bytes(1_000_000));
    let error = plan(&wish).expect_err("3 Mbit/s both ways for 3.5 s is 2.6 MB");
    assert!(matches!(error, PlanError::OverCap { cap, .. } if cap == DataSize::from_bytes(1_000_000)));
    let text = error.to_string();
    assert!(text.contains("--max-bytes 3MB"), "{text}");
    assert!(text.contains("leave 1080p out of --for"), "{text}");
}

#[test]
fn chosen_traffic_is_bounded() {
    let fast =
        ChosenMedia { media: Media::Video, direction: Direction::Up, rate: Bitrate::from_kbps(60_000) };
    assert_eq!(plan(&chosen(vec![], 0)), Err(PlanError::Duration));
    assert_eq!(plan(&chosen(vec![], 601)), Err(PlanError::Duration));
    assert_eq!(plan(&chosen(vec![fast], 5)), Err(PlanError::Rate(fast.rate)));
    assert_eq!(plan(&request(&[], Mode::Quick)), Err(PlanError::Nothing));
}

#[test]
fn chosen_traffic_runs_all_at_once() {
    let up = ChosenMedia { media: Media::Video, direction: Direction::Up, rate: Bitrate::from_kbps(1_500) };
    let down = ChosenMedia { media: Media::Video, direction: Direction::Down, rate: Bitrate::from_kbps(700) };
    let plan = plan(&chosen(vec![up, down], 20)).expect("5.6 MB");
    assert_eq!(plan.phases.len(), 1);
    assert_eq!(plan.phases[0].offered_up, up.rate);
    assert_eq!(plan.phases[0].offered_down, down.rate);
    assert_eq!(plan.streams[1].rung, Some(Use::Video720p));
    assert_eq!(plan.streams[2].rung, None, "700 kbit/s is nobody's rung");
    assert!(!plan.stop_early);
}
