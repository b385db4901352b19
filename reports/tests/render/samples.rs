//! Sample reports: made up, labeled so, and deterministic. Figures follow from the synthetic series where there is one.

use std::collections::BTreeMap;

use greenroom_reports::assess::{Equipment, Probed, Question, TargetMeta, assess, with_devices};
use greenroom_reports::render::terminal::{Detail, Options, render};
use greenroom_reports::schema::*;
use greenroom_reports::trace::{Direction, PhaseKind, StampSource, encoding};
use greenroom_reports::verdict::{Profile, TargetFailure};
use serde_json::json;

/// A home whose upload queue fills under video: delay while sending, loss on the highest rung.
pub(crate) fn bufferbloat() -> Report {
    let link = Link::bufferbloated();
    let mut report = base();
    report.verdict = Verdict {
        overall: State::Degraded,
        certain: true,
        place: Some(Place::Path),
        direction: Some(FaultDirection::Up),
        say: "Video in 720p fills your upload, and everything you send then arrives late.".into(),
        fix: Some("Stop other uploads (backups, photo sync), or send 360p video.".into()),
        uses: BTreeMap::from([
            (Use::Audio, use_verdict(State::Ready, true, true)),
            (Use::Video360p, use_verdict(State::Ready, false, false)),
            (Use::Video720p, use_verdict(State::Degraded, true, true)),
            (Use::Video1080p, use_verdict(State::Blocked, true, false)),
        ]),
        causes: vec![
            Cause {
                code: "load_delay_up".into(),
                params: BTreeMap::from([("increase_ms".into(), json!(212.0))]),
                state: State::Degraded,
                place: Place::Path,
                direction: Some(FaultDirection::Up),
                uses: vec![Use::Video720p],
                target: None,
                metric: Some("loaded.rtt_increase_ms.video_720p".into()),
                measured: Some(212.0),
                good: Some(150.0),
                limit: Some(400.0),
                margin: Some(1.41),
                say: "Video in 720p fills your upload, and everything you send then arrives late.".into(),
                fix: Some("Stop other uploads (backups, photo sync), or send 360p video.".into()),
                evidence: vec![
                    "Delay upward grows from 0.3 ms to 210 ms within a second of 1.5 Mbit/s being sent, and falls back when it stops.".into(),
                    "Delay downward stays within 4 ms all the while.".into(),
                ],
                ruled_out: vec![
                    "This computer: its own queue adds 0.02 ms and kernel to program takes 0.05 ms (p95).".into(),
                    "The service: it held packets for 0.03 ms (p95).".into(),
                ],
            },
            Cause {
                code: "loss_up".into(),
                params: BTreeMap::new(),
                state: State::Blocked,
                place: Place::Path,
                direction: Some(FaultDirection::Up),
                uses: vec![Use::Video1080p],
                target: None,
                metric: Some("streams.video_1080p.up.loss_ratio".into()),
                measured: Some(0.114),
                good: Some(0.01),
                limit: Some(0.04),
                margin: Some(11.4),
                say: "Your upload cannot carry 1080p video: about 11 % of it is lost.".into(),
                fix: None,
                evidence: vec!["2.1 Mbit/s of 3.0 Mbit/s arrived.".into()],
                ruled_out: vec![],
            },
        ],
    };
    report.targets = vec![link.target()];
    report
}

/// A real run, judged as this version judges it: 15 % lost each way on an emulated link.
pub(crate) fn loss_15() -> Report {
    judged_again(include_str!("../data/loss_15.json"))
}

/// A real run, judged as this version judges it: an emulated upload of 1.2 Mbit/s with a queue of 450 ms.
pub(crate) fn narrow_upload() -> Report {
    judged_again(include_str!("../data/bufferbloat.json"))
}

fn judged_again(text: &str) -> Report {
    let mut report = read(text).expect("a report");
    let trace = encoding::decode(report.trace.as_ref().expect("with its samples")).expect("whole");
    let target = &report.targets[0];
    let meta = TargetMeta {
        url: target.url.clone(),
        kind: target.kind.clone(),
        reached: target.state.measured().cloned(),
        identity: target.identity,
        failure: target.failure.clone(),
        details: target.details.clone(),
        in_process: target.in_process,
    };
    let judged = &report.settings.judged;
    let question = Question {
        profile: &report.profile,
        asked: &judged.uses.iter().copied().collect(),
        mode: judged.mode,
        at_cap: judged.at_cap,
    };
    let found = assess(&[Probed { meta: &meta, trace: Some(&trace) }], &question);
    report.verdict = found.verdict;
    report.targets = found.targets;
    report
}

/// The picture in `docs/verdict.svg`: a real run's verdict and reasons as a terminal shows them, without the figures.
pub(crate) fn picture() -> String {
    let options = Options { width: 84, color: true, ascii: false, detail: Detail::Normal };
    let text = render(&narrow_upload(), options);
    let verdict = text.split("greenroom://").next().expect("what stands before the endpoint's figures");
    let verdict = verdict.rsplit_once('\n').map_or(verdict, |(verdict, _)| verdict);
    // Plain terminal colors on black are too dark to read: the dimmed text is at 1.9 : 1.
    let lighter = [
        ("#000000", "#14171a"),
        ("#AAAAAA", "#e6e8ea"),
        ("#AA0000", "#ff8a80"),
        ("#00AAAA", "#8ab8f5"),
        ("opacity: 0.4", "opacity: 0.7"),
    ];
    let picture = anstyle_svg::Term::new().render_svg(verdict);
    lighter.iter().fold(picture, |picture, (from, to)| picture.replace(from, to))
}

/// Everything well, and the endpoint cannot tell its half.
pub(crate) fn ready() -> Report {
    let link = Link::clean();
    let mut report = base();
    report.verdict = Verdict {
        overall: State::Ready,
        certain: true,
        place: None,
        direction: None,
        say: "Audio and 720p video will work on this connection.".into(),
        fix: None,
        uses: BTreeMap::from([
            (Use::Audio, use_verdict(State::Ready, true, true)),
            (Use::Video720p, use_verdict(State::Ready, true, true)),
        ]),
        causes: vec![],
    };
    report.targets = vec![link.target()];
    report
}

/// Nothing answers over UDP: figures are missing, each with its reason.
pub(crate) fn blocked() -> Report {
    let mut report = base();
    report.complete = false;
    report.duration_ms = 2_940.0;
    report.bytes_used = 9_120;
    let say = "Nothing sent to probe.example over UDP was answered, so a call cannot carry sound or video.";
    let fix = "Ask whoever runs the firewall to let UDP through to port 7443.";
    report.verdict = Verdict {
        overall: State::Blocked,
        certain: true,
        place: Some(Place::Relay),
        direction: Some(FaultDirection::Both),
        say: say.into(),
        fix: Some(fix.into()),
        uses: BTreeMap::from([
            (
                Use::Audio,
                UseVerdict {
                    reason: Some("no media transport".into()),
                    ..use_verdict(State::Blocked, true, true)
                },
            ),
            (
                Use::Video720p,
                UseVerdict {
                    reason: Some("no media transport".into()),
                    ..use_verdict(State::Blocked, true, true)
                },
            ),
            (
                Use::Screen,
                UseVerdict {
                    reason: Some("the run ended before".into()),
                    ..use_verdict(State::NotTested, false, false)
                },
            ),
        ]),
        causes: vec![Cause {
            code: "udp_blocked".into(),
            params: BTreeMap::new(),
            state: State::Blocked,
            place: Place::Relay,
            direction: Some(FaultDirection::Both),
            uses: vec![Use::Audio, Use::Video720p],
            target: None,
            metric: None,
            measured: None,
            good: None,
            limit: None,
            margin: None,
            say: say.into(),
            fix: Some(fix.into()),
            evidence: vec![
                "12 packets to UDP 7443 went unanswered.".into(),
                "TCP 7443 answered after 24 ms.".into(),
            ],
            ruled_out: vec!["The service is up: it answers over TCP.".into()],
        }],
    };
    report.targets = vec![Target {
        state: Value::failed("no answer over UDP within 3 s"),
        failure: Some(TargetFailure::UdpBlocked { works: Some("tls/443".into()) }),
        identity: None,
        ..untested_target("no answer over UDP")
    }];
    report.host = Host {
        delay_ms: Value::not_tested("no packet came back"),
        cpu_busy_ratio: Value::failed("/proc/stat cannot be read"),
        cpu_steal_ratio: Value::not_tested("not a virtual machine"),
        machine: Machine::not_tested("the computer was not looked at"),
    };
    report
}

/// Devices without a network: a noisy, humming headset in its call mode, a speaker with one silent channel, a camera that is
/// slow in the dark and another one in use.
pub(crate) fn devices() -> Report {
    let mut report = base();
    report.kind = Kind::Devices;
    report.devices = sample_devices();
    report.host.machine.processor = Value::Measured(Processor {
        model: Some("AMD Ryzen 5 7640U".into()),
        cores: Some(6),
        threads: 12,
        virtual_machine: Some(false),
    });
    report.host.machine.encode = vec![EncodeHeadroom {
        use_: Use::Video720p,
        codec: "h264".into(),
        encoder: "openh264 2.6".into(),
        times_real_time: measured(6.1, 5.8, 6.4, 3),
    }];
    let asked = [Use::Audio, Use::Video720p].into();
    let question = Question { profile: &report.profile, asked: &asked, mode: Mode::Quick, at_cap: true };
    let equipment = Equipment { devices: &report.devices, machine: &report.host.machine, asked: &[] };
    report.verdict = with_devices(assess(&[], &question), equipment, &question).verdict;
    report
}

fn sample_devices() -> Devices {
    let of = |value: f64| Value::estimate(value, 144_000);
    let stream = SoundStream {
        backend: "pulseaudio".into(),
        rate_hz: 48_000,
        channels: 1,
        format: "f32".into(),
        buffer_frames: Some(1_920),
        first_ms: Some(140.0),
        ran_ms: 3_000.0,
        xruns: 0,
    };
    let headset = || DeviceInfo {
        id: Some("pulseaudio:bluez_input.headset".into()),
        name: Some("Headset".into()),
        default: true,
        connection: Value::exact(Connection::Bluetooth),
    };
    let sound = SoundFigures {
        heard: Value::exact(Heard::Speech),
        peak_dbfs: of(-9.4),
        rms_dbfs: of(-31.0),
        speech_level_dbfs: of(-28.2),
        speech_ratio: of(0.55),
        noise_floor_dbfs: of(-41.0),
        snr_db: of(12.8),
        dc_offset_ratio: of(0.0004),
        clipping: Value::Measured(Clipping { ratio: 0.0, runs: 0, runs_per_s: 0.0 }),
        hum: Value::Measured(Hum { mains_hz: Some(50), level_dbfs: Some(-45.2) }),
        bandwidth_hz: of(4_000.0),
        dropouts: Value::Measured(Dropouts { gaps: 0, repeats: 0, lost_ms: 0.0, ratio: 0.0, damaged: 0 }),
        channels: Value::exact(vec![]),
        clock_drift_ppm: Value::not_tested("it ran too short to tell"),
    };
    let channel = |channel: u16, heard: bool| LoopChannel {
        channel,
        heard: Value::exact(heard),
        heard_on: Value::not_tested("there is one channel"),
        confidence_db: Value::exact(if heard { 61.0 } else { 12.0 }),
        delay_ms: if heard {
            measured(212.4, 212.3, 212.5, 1)
        } else {
            Value::not_tested("it was not heard")
        },
        return_db: if heard {
            measured(-21.5, -22.0, -21.0, 1)
        } else {
            Value::not_tested("it was not heard")
        },
        response: Value::not_tested("it was not heard"),
        distortion_ratio: Value::not_tested("it was not heard"),
    };
    let format = CameraFormat { fourcc: "YUYV".into(), width: 1_280, height: 720, fps: Some(30.0) };
    let webcam = |name: &str| DeviceInfo {
        id: Some("/dev/video0".into()),
        name: Some(name.into()),
        default: name == "Webcam",
        connection: Value::exact(Connection::Usb),
    };
    let seen = |value: f64| Value::estimate(value, 20);
    Devices {
        system: System::Linux,
        sound: Listing {
            state: Value::Measured(Listed { backend: "pulseaudio".into(), left_out: 9 }),
            failure: None,
        },
        pictures: Listing {
            state: Value::Measured(Listed { backend: "v4l2".into(), left_out: 1 }),
            failure: None,
        },
        microphones: vec![Microphone {
            state: Value::Measured(stream.clone()),
            muted: Value::exact(false),
            volume_ratio: Value::exact(0.8),
            sound,
            ..Microphone::not_tested(headset(), "")
        }],
        speakers: vec![Speaker {
            state: Value::Measured(SoundStream { channels: 2, ran_ms: 2_500.0, ..stream }),
            volume_ratio: Value::exact(0.6),
            ..Speaker::not_tested(headset(), "it ran too short to tell")
        }],
        cameras: vec![
            Camera {
                state: Value::Measured(CameraStream {
                    backend: "v4l2".into(),
                    asked: format.clone(),
                    given: format,
                    ran_ms: 2_000.0,
                }),
                frames: FrameFigures {
                    count: Value::exact(20),
                    rate_fps: measured(10.0, 9.9, 10.1, 20),
                    rate_ratio: measured(0.333, 0.33, 0.337, 20),
                    interval_ms: Value::Measured(distribution(&spread(20, 98.0, 102.0))),
                    interval_spread_ratio: measured(0.02, 0.02, 0.02, 19),
                    lost_ratio: measured(0.0, 0.0, 0.16, 20),
                    damaged_ratio: measured(0.0, 0.0, 0.16, 20),
                    first_ms: Value::exact(412.0),
                    stalls: Value::exact(0),
                    longest_wait_ms: Value::exact(102.0),
                },
                picture: PictureFigures {
                    seen: Value::exact(Seen::Dark),
                    luma_mean_ratio: seen(0.11),
                    luma_spread_ratio: seen(0.08),
                    overexposed_ratio: seen(0.0),
                    sharpness: seen(0.04),
                    identical_run: Value::exact(1),
                },
                ..Camera::not_tested(webcam("Webcam"), "")
            },
            Camera::failed(webcam("Capture card"), DeviceFailure::Busy { by: Some("obs (4711)".into()) }),
        ],
        acoustic_loop: AcousticLoop {
            state: Value::Measured(LoopPair { speaker: 0, microphone: 0 }),
            failure: None,
            channels: vec![channel(0, true), channel(1, false)],
        },
    }
}

/// Every free text holds what a terminal or a browser would obey.
pub(crate) fn hostile() -> Report {
    let bad = "<script>alert(1)</script>\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}\"' onload=\"alert(2)\r\nx";
    let mut report = bufferbloat();
    report.code = bad.into();
    report.labels = BTreeMap::from([(bad.into(), bad.into())]);
    report.tool.name = bad.into();
    report.tool.version = bad.into();
    report.profile.name = bad.into();
    report.environment.os = Some(bad.into());
    report.environment.network = BTreeMap::from([(bad.into(), json!({ bad: [bad] }))]);
    report.devices.microphones = vec![Microphone::failed(
        DeviceInfo {
            id: Some(bad.into()),
            name: Some(bad.into()),
            default: true,
            connection: Value::not_tested(bad),
        },
        DeviceFailure::Busy { by: Some(bad.into()) },
    )];
    let verdict = &mut report.verdict;
    verdict.say = bad.into();
    verdict.fix = Some(bad.into());
    for use_ in verdict.uses.values_mut() {
        use_.reason = Some(bad.into());
    }
    for cause in &mut verdict.causes {
        cause.code = bad.into();
        cause.metric = Some(bad.into());
        cause.say = format!("{bad}.");
        cause.fix = Some(format!("{bad}."));
        cause.evidence = vec![bad.into()];
        cause.ruled_out = vec![bad.into()];
    }
    let target = &mut report.targets[0];
    target.url = bad.into();
    target.kind = bad.into();
    target.state = Value::Measured(Reached {
        transport: bad.into(),
        address: Some(bad.into()),
        setup_ms: Some(1.0),
        instead_of_udp: None,
    });
    target.rtt_ms = Value::failed(bad);
    target.up.pdv_ms = Value::not_tested(bad);
    target.quality.model = bad.into();
    target.quality.codec = bad.into();
    target.quality.codec_source = bad.into();
    target.self_error.unusable = vec![bad.into()];
    for series in &mut target.series {
        series.unit = bad.into();
    }
    target.series.push(Series {
        name: bad.into(),
        unit: bad.into(),
        at_ms: vec![0.0],
        values: vec![Some(1.0)],
    });
    report
}

fn base() -> Report {
    Report {
        schema: SCHEMA.into(),
        id: "019aab1c-6d14-7c3e-9f00-5a4d2f6b8c01".parse().expect("a UUID"),
        kind: Kind::Check,
        parent: None,
        code: "K7Q4-M2XP".into(),
        complete: true,
        started: "2026-11-22T14:03:11.204Z".parse().expect("a timestamp"),
        duration_ms: 5_310.0,
        bytes_used: 3_120_331,
        labels: BTreeMap::from([
            ("sample".into(), "synthetic figures".into()),
            ("site".into(), "home office".into()),
        ]),
        agent: AgentRef::default(),
        tool: Tool { name: "greenroom".into(), version: "0.1.0".into(), source: Source::Cli },
        environment: Environment {
            os: Some("Linux 6.12".into()),
            arch: Some("x86_64".into()),
            network: BTreeMap::from([("interface".into(), json!("wlan0")), ("kind".into(), json!("Wi-Fi"))]),
            surroundings: None,
        },
        profile: Profile::default(),
        settings: Settings {
            asked: BTreeMap::from([("for".into(), json!(["audio", "video_720p"]))]),
            run: BTreeMap::new(),
            judged: Judged { uses: vec![Use::Audio, Use::Video720p], ..Judged::default() },
        },
        verdict: Verdict {
            overall: State::Inconclusive,
            certain: false,
            place: None,
            direction: None,
            say: String::new(),
            fix: None,
            uses: BTreeMap::new(),
            causes: vec![],
        },
        targets: vec![],
        devices: Devices::default(),
        host: Host {
            delay_ms: Value::Measured(distribution(&spread(265, 0.03, 0.05))),
            cpu_busy_ratio: measured(0.12, 0.1, 0.15, 53),
            cpu_steal_ratio: measured(0.0, 0.0, 0.0, 53),
            machine: Machine::not_tested("the computer was not looked at"),
        },
        join: BTreeMap::new(),
        trace: None,
        further_traces: Vec::new(),
        sketches: BTreeMap::new(),
        redaction: None,
    }
}

/// What a synthetic link did to each audio packet, 50 a second: delay over the least in milliseconds, `None` for lost.
struct Link {
    up: Vec<Option<f64>>,
    down: Vec<Option<f64>>,
}

const PACKETS: usize = 265;

impl Link {
    fn bufferbloated() -> Self {
        let noise = spread(PACKETS, 0.1, 0.9);
        let mut queue: f64 = 0.0;
        let up = (0..PACKETS).map(|index| {
            let rise: f64 = match index {
                50..120 if queue < 200.0 => 4.6,
                120..220 if queue < 310.0 => 7.5,
                220.. => -12.0,
                _ => -3.0,
            };
            queue = (queue + rise).max(0.0);
            let lost = (140..220).contains(&index) && index * 7 % 61 < 7;
            (!lost).then_some(queue + noise[index])
        });
        let down = spread(PACKETS, 0.1, 3.6);
        Self { up: up.collect(), down: down.into_iter().map(Some).collect() }
    }

    fn clean() -> Self {
        let some = |values: Vec<f64>| values.into_iter().map(Some).collect();
        Self { up: some(spread(PACKETS, 0.05, 0.6)), down: some(spread(PACKETS, 0.05, 1.1)) }
    }

    fn target(&self) -> Target {
        let rtt: Vec<Option<f64>> =
            self.up.iter().zip(&self.down).map(|(up, down)| Some(21.4 + (*up)? + (*down)?)).collect();
        let received: Vec<f64> = rtt.iter().copied().flatten().collect();
        let idle: Vec<f64> = rtt[..50].iter().copied().flatten().collect();
        let idle = distribution(&idle);
        Target {
            rtt_ms: Value::Measured(distribution(&received)),
            reflector_hold_ms: Value::Measured(distribution(&spread(PACKETS, 0.02, 0.03))),
            up: direction(&self.up),
            down: direction(&self.down),
            streams: vec![
                stream(Use::Video720p, Direction::Up, 1_500_000, 1_490_000.0, &self.up[50..120]),
                stream(Use::Video720p, Direction::Down, 1_500_000, 1_500_000.0, &self.down[50..120]),
                stream(Use::Video1080p, Direction::Up, 3_000_000, 2_110_000.0, &self.up[120..220]),
            ],
            loaded: Loaded {
                idle_rtt_p50_ms: measured(idle.p50, idle.p50 - 0.2, idle.p50 + 0.3, 50),
                saturated_up_ms: Value::not_tested("only a deep check searches for it"),
                saturated_down_ms: Value::not_tested("only a deep check searches for it"),
                rtt_increase_ms: BTreeMap::from([
                    (Use::Audio, measured(3.1, 2.6, 3.9, 50)),
                    (Use::Video720p, increase(&rtt[50..120], idle.p50)),
                ]),
            },
            quality: Quality {
                mos: measured(4.02, 3.9, 4.1, 265),
                r: measured(93.0, 90.0, 95.0, 265),
                model: "G.107.2".into(),
                codec: "opus".into(),
                codec_source: "academic (TOMM)".into(),
            },
            self_error: SelfError {
                send_lateness_ms: Value::Measured(distribution(&spread(PACKETS, 0.01, 0.09))),
                late_sends: 0,
                host_delay_ms: Value::Measured(distribution(&spread(PACKETS, 0.03, 0.05))),
                unusable: vec![],
            },
            skew_ppm: Value::not_tested("runs under 10 s are too short for it"),
            phases: phases(),
            series: vec![
                series("rtt", "ms", rtt),
                series("delay_up", "ms", self.up.clone()),
                series("delay_down", "ms", self.down.clone()),
                series("loss_up", "ratio", lost(&self.up)),
                series("loss_down", "ratio", lost(&self.down)),
            ],
            ..untested_target("")
        }
    }
}

fn phases() -> Vec<PhaseReport> {
    let phase = |kind, from_ms, to_ms, offered| PhaseReport {
        kind,
        from_ms,
        to_ms,
        offered_up_bps: offered,
        offered_down_bps: offered,
    };
    vec![
        phase(PhaseKind::Idle, 0.0, 1_000.0, 0),
        phase(PhaseKind::Media, 1_000.0, 2_400.0, 1_500_000),
        phase(PhaseKind::Media, 2_400.0, 4_400.0, 3_000_000),
        phase(PhaseKind::Settle, 4_400.0, 5_300.0, 0),
    ]
}

fn untested_target(reason: &str) -> Target {
    Target {
        url: "greenroom://probe.example".into(),
        kind: "greenroom".into(),
        state: Value::Measured(Reached {
            transport: "udp".into(),
            address: Some("203.0.113.7:7444".into()),
            setup_ms: Some(46.2),
            instead_of_udp: None,
        }),
        failure: None,
        details: None,
        in_process: false,
        identity: Some(Identity::Verified),
        timestamps: Timestamps { here: StampSource::Kernel, there: StampSource::Kernel },
        rtt_ms: Value::not_tested(reason),
        reflector_hold_ms: Value::not_tested(reason),
        up: DirectionReport::not_tested(reason),
        down: DirectionReport::not_tested(reason),
        streams: vec![],
        loaded: Loaded {
            idle_rtt_p50_ms: Value::not_tested(reason),
            saturated_up_ms: Value::not_tested("only a deep check searches for it"),
            saturated_down_ms: Value::not_tested("only a deep check searches for it"),
            rtt_increase_ms: BTreeMap::new(),
        },
        quality: Quality {
            mos: Value::not_tested(reason),
            r: Value::not_tested(reason),
            model: "G.107.2".into(),
            codec: "opus".into(),
            codec_source: "academic (TOMM)".into(),
        },
        self_error: SelfError {
            send_lateness_ms: Value::not_tested(reason),
            late_sends: 0,
            host_delay_ms: Value::not_tested(reason),
            unusable: vec![],
        },
        skew_ppm: Value::not_tested(reason),
        phases: vec![],
        series: vec![],
    }
}

fn direction(delays: &[Option<f64>]) -> DirectionReport {
    let received: Vec<f64> = delays.iter().copied().flatten().collect();
    let (n, lost) = (count(delays.len()), count(delays.len() - received.len()));
    let late = |depth: f64| {
        let bad = delays.iter().filter(|delay| delay.is_none_or(|delay| delay > depth)).count();
        share(count(bad), n)
    };
    DirectionReport {
        counts: Counts { planned: n, sent: n, on_time: n - lost, lost, ..Counts::default() },
        loss_ratio: share(lost, n),
        host_loss_ratio: share(0, n),
        pdv_ms: Value::Measured(distribution(&received)),
        ipdv_mean_abs_ms: measured(0.9, 0.8, 1.1, n),
        jitter_rfc3550_ms: Value::Measured(SmoothedJitter { n, last: 0.7, p95: 1.4, max: 2.1 }),
        burst: Value::Measured(Burst {
            bursts: u64::from(lost > 0),
            burst_density_ratio: 0.33,
            gap_density_ratio: 0.0,
            burst_duration_ms: 120.0,
            gap_duration_ms: 2_000.0,
            burst_ratio: (lost > 0).then_some(1.3),
        }),
        burst_loss_200ms_ratio: share(u64::from(lost > 0), 10),
        late_loss_ratio: LateLoss {
            fixed_40ms: late(40.0),
            fixed_60ms: late(60.0),
            fixed_100ms: late(100.0),
            fixed_200ms: late(200.0),
            adaptive: late(320.0),
            adaptive_delay_ms: measured(64.0, 60.0, 71.0, n),
        },
        reordering: Value::Measured(Reordering {
            ratio: 0.0,
            extent_max: 0,
            n_reordering_max: 0,
            late_time_max_ms: 0.0,
        }),
        duplicate_ratio: share(0, n - lost),
        host_delay_ms: Value::Measured(distribution(&spread(PACKETS, 0.03, 0.05))),
        local_queue_ms: Value::Measured(distribution(&spread(PACKETS, 0.01, 0.02))),
        capacity_bps: Value::not_tested("only a deep check searches for it"),
    }
}

fn stream(
    use_: Use,
    direction: Direction,
    rung_bps: u64,
    received: f64,
    delays: &[Option<f64>],
) -> StreamReport {
    StreamReport {
        use_,
        direction,
        rung_bps,
        received_bps: measured(received, received * 0.99, received * 1.01, 28),
        figures: self::direction(delays),
    }
}

fn increase(rtt: &[Option<f64>], idle: f64) -> Value<Estimate> {
    let received: Vec<f64> = rtt.iter().copied().flatten().collect();
    let mut sorted = received.clone();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| rank(&sorted, share) - idle;
    measured(at(0.95), at(0.9), at(0.99), count(received.len()))
}

fn series(name: &str, unit: &str, values: Vec<Option<f64>>) -> Series {
    let at_ms = (0..values.len()).map(|index| f64::from(u32::try_from(index).expect("few")) * 20.0).collect();
    Series { name: name.into(), unit: unit.into(), at_ms, values }
}

fn lost(delays: &[Option<f64>]) -> Vec<Option<f64>> {
    delays.iter().map(|delay| Some(if delay.is_none() { 1.0 } else { 0.0 })).collect()
}

fn use_verdict(state: State, certain: bool, asked: bool) -> UseVerdict {
    UseVerdict { state, certain, asked, reason: None }
}

fn measured(value: f64, low: f64, high: f64, n: u64) -> Value<Estimate> {
    Value::Measured(Estimate { value, low: Some(low), high: Some(high), n })
}

/// A share with its Wilson interval.
fn share(part: u64, whole: u64) -> Value<Estimate> {
    let float = |count: u64| f64::from(u32::try_from(count).expect("few"));
    let (p, n, z) = (float(part) / float(whole), float(whole), 1.959_964);
    let center = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / (1.0 + z * z / n);
    measured(p, (center - half).max(0.0), (center + half).min(1.0), whole)
}

fn distribution(values: &[f64]) -> Distribution {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let high = |share| Some(rank(&sorted, share));
    Distribution {
        n: count(n),
        min: sorted[0],
        p50: rank(&sorted, 0.5),
        p95: (n >= 72).then(|| rank(&sorted, 0.95)),
        p99: (n >= 368).then(|| rank(&sorted, 0.99)),
        max: sorted[n - 1],
        p50_bounds: Some(Bounds { low: rank(&sorted, 0.44), high: high(0.56) }),
        p95_bounds: (n >= 72).then(|| Bounds { low: rank(&sorted, 0.92), high: high(0.975) }),
    }
}

/// Nearest rank.
fn rank(sorted: &[f64], share: f64) -> f64 {
    let position = (0..sorted.len()).find(|index| {
        f64::from(u32::try_from(index + 1).expect("few"))
            >= share * f64::from(u32::try_from(sorted.len()).expect("few"))
    });
    sorted[position.expect("a share is at most 1")]
}

/// `n` values from `least` to `greatest`, most of them low, in a fixed disorder.
fn spread(n: usize, least: f64, greatest: f64) -> Vec<f64> {
    let mut state: u32 = 0x9e37_79b9;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1_u32 << 24)
    };
    (0..n).map(|_| least + (greatest - least) * next().powi(3)).collect()
}

fn count(n: usize) -> u64 {
    u64::try_from(n).expect("few")
}
