use greenroom_reports::schema::{State, Use};

use super::*;
use crate::link::Loss;

const PLAIN: &str = "why = 'w'\nsource = 's'\nduration_ms = 1000\n";
const EXPECT: &str = "\n[expect]\nbecause = 'b'\n";

fn problem(body: &str) -> String {
    let text = format!("{PLAIN}{body}{EXPECT}");
    Scenario::parse("it", &text).expect_err("must be refused").to_string()
}

#[test]
fn every_scenario_that_comes_with_the_lab_loads() {
    let all = Scenario::all().expect("scenarios load");
    let names: Vec<_> = all.iter().map(|scenario| scenario.name.as_str()).collect();
    for wanted in ["clean", "tail_loss", "ramp_bufferbloat", "cpu_saturated", "rfc8867_variable", "very_bad"]
    {
        assert!(names.contains(&wanted), "{wanted} is missing from {names:?}");
    }
    for scenario in &all {
        assert!(!scenario.why.is_empty() && !scenario.source.is_empty(), "{}", scenario.name);
        assert!(!scenario.expect.because.is_empty(), "{}", scenario.name);
        assert!(scenario.duration > Duration::ZERO, "{}", scenario.name);
    }
}

#[test]
fn both_holds_for_each_direction_unless_it_says_otherwise() {
    let text = format!(
        "{PLAIN}[both]\ndelay_ms = 10\nloss = {{ kind = 'random', ratio = 0.1 }}\n[up]\ndelay_ms = 25\n{EXPECT}"
    );
    let scenario = Scenario::parse("it", &text).expect("valid");
    let (up, down) = (scenario.up.at(Duration::ZERO), scenario.down.at(Duration::ZERO));
    assert_eq!((up.delay, down.delay), (Duration::from_millis(25), Duration::from_millis(10)));
    assert_eq!((up.loss, down.loss), (Loss::Random { ratio: 0.1 }, Loss::Random { ratio: 0.1 }));
}

#[test]
fn changes_build_on_what_was_there() {
    let scenario = Scenario::named("rfc8867_congested_feedback").expect("comes with the lab");
    let kbps = |direction, at| {
        let conditions = scenario.schedule(direction).at(Duration::from_secs(at));
        assert_eq!(conditions.delay, Duration::from_millis(50));
        conditions.bottleneck.expect("has a rate").rate.bps() / 1000
    };
    let up: Vec<_> = [0, 19, 20, 40, 60].map(|at| kbps(Direction::Up, at)).into();
    let down: Vec<_> = [0, 34, 35, 69, 70].map(|at| kbps(Direction::Down, at)).into();
    assert_eq!(up, [2000, 2000, 1000, 500, 2000]);
    assert_eq!(down, [2000, 2000, 800, 800, 2000]);
}

#[test]
fn expectations_are_told_per_use() {
    let scenario = Scenario::named("rate_1m").expect("comes with the lab");
    assert_eq!(scenario.expect.states(Use::Audio), [State::Ready]);
    assert_eq!(scenario.expect.states(Use::Video1080p), [State::Blocked]);
}

#[test]
fn nonsense_is_refused_by_name() {
    assert!(problem("[both]\ndelay = 10").contains("unknown field `delay`"));
    assert!(
        problem("[both]\nloss = { kind = 'random', ratio = 0.1, burst = 2 }")
            .contains("unknown field `burst`")
    );
    assert!(problem("[both]\nloss = { kind = 'random', ratio = 1.5 }").contains("loss.ratio = 1.5"));
    assert!(problem("[both]\ndelay_ms = -1").contains("delay_ms = -1"));
    assert!(problem("[both]\ndelay_ms = nan").contains("delay_ms"));
    assert!(problem("[both]\nqueue_ms = 300").contains("a queue needs rate_kbps"));
    assert!(problem("[both]\nrate_kbps = 0").contains("cut it"));
    assert!(problem("[[changes]]\nat_ms = 0\ndirection = 'up'\nset = {}").contains("in order of time"));
    assert!(Scenario::parse("it", PLAIN).expect_err("no label").to_string().contains("expect"));
    assert!(Scenario::named("no_such").expect_err("no such file").to_string().contains("no_such.toml"));
}
