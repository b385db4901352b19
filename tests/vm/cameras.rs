//! Cameras: the kernel's test camera `vivid` with every fault it can be switched to, and a webcam that sends JPEG.

use serde_json::{Value, json};

use super::feed::{DAMAGED_ONE_IN, FEED_FPS};
use super::machine::{Faults, Guest, Said, command, near, number, place};

#[test]
fn cameras_by_the_kernels_own_interface() {
    let said = guest("cameras.sh").run(|_| {});
    let mut faults = Faults::default();

    faults.check("list", || {
        let cameras = said.scenario("list").report();
        let vivid = find(&cameras, "/dev/video0");
        assert_eq!(vivid["device"]["name"], "vivid");
        let formats = vivid["formats"]["value"].as_array().expect("it offers formats");
        let offered = |fourcc: &str, width: u32, height: u32| {
            formats.iter().any(|f| f["fourcc"] == fourcc && f["width"] == width && f["height"] == height)
        };
        assert!(offered("YUYV", 320, 180) && offered("YUYV", 1920, 1080) && offered("NV12", 640, 480));
        assert_eq!(find(&cameras, "/dev/video8")["device"]["name"], "Empty");
    });
    faults.check("normal", || {
        let camera = first(&said, "normal");
        assert_eq!(camera["failure"], Value::Null);
        assert_eq!(camera["state"]["backend"], "v4l2");
        assert_eq!(
            camera["state"]["given"],
            json!({ "fourcc": "YUYV", "width": 320, "height": 180, "fps": 30.0 })
        );
        let frames = &camera["frames"];
        assert_eq!(
            (&frames["count"]["value"], &frames["lost_ratio"]["value"]),
            (&json!(60), &json!(0.0)),
            "{frames}"
        );
        assert_eq!(frames["damaged_ratio"]["value"], 0.0);
        // It paces its frames in jiffies of 4 ms: 32 or 36.
        near(&frames["interval_ms"]["p50"], 33.33, 4.0);
        assert_eq!(camera["picture"]["seen"]["value"], "picture", "{}", camera["picture"]);
        let verdict = &said.scenario("normal").report()["verdict"];
        assert_eq!(
            (&verdict["overall"], said.scenario("normal").code),
            (&json!("ready"), Some(0)),
            "{verdict}"
        );
    });
    faults.check("steady", || {
        // Over so many frames that one which an emulated processor stamps an interval late does not show.
        let frames = &first(&said, "steady")["frames"];
        assert!(number(&frames["count"]["value"]) >= 230.0, "{frames}");
        near(&frames["rate_fps"]["value"], 30.0, 0.3);
    });
    faults.check("preview", || {
        let text = &said.scenario("preview").text;
        let last = text.rsplit("\x1b[H").next().expect("the last picture");
        let shown = last
            .split_once(" pictures shown")
            .and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok());
        assert!(shown >= Some(10), "{shown:?} pictures in three seconds");
        // The test camera's bars: white, yellow, cyan, green, magenta, red, blue, black.
        let row = cells(last.lines().nth(2).expect("a row in the middle"));
        assert_eq!(row.len(), 16, "as wide as the terminal");
        let bars: Vec<[bool; 3]> = (0..8).map(|bar| row[bar * 2].map(|part| part > 128)).collect();
        let (on, off) = (true, false);
        let expected = [
            [on, on, on],
            [on, on, off],
            [off, on, on],
            [off, on, off],
            [on, off, on],
            [on, off, off],
            [off, off, on],
            [off, off, off],
        ];
        assert_eq!(bars, expected, "{row:?}");
    });
    for (scenario, seen, code) in [("black", "black", 2), ("frozen", "frozen", 2), ("dark", "dark", 1)] {
        faults.check(scenario, || {
            let camera = first(&said, scenario);
            assert_eq!(camera["frames"]["count"]["value"], 60);
            assert_eq!(camera["picture"]["seen"]["value"], seen, "{}", camera["picture"]);
            let verdict = &said.scenario(scenario).report()["verdict"];
            assert_eq!(verdict["causes"][0]["code"], format!("camera_{seen}"), "{verdict}");
            assert_eq!(said.scenario(scenario).code, Some(code), "{verdict}");
        });
    }
    faults.check("dropped", || {
        let frames = first(&said, "dropped")["frames"].clone();
        // Each frame is dropped with a chance of 1 in 5. Of about 75: mean 15, six deviations of 3.5 to either side.
        near(&frames["lost_ratio"]["value"], 0.20, 0.28);
        assert!(number(&frames["lost_ratio"]["value"]) > 0.02, "{frames}");
        near(&frames["rate_ratio"]["value"], 1.0 - number(&frames["lost_ratio"]["value"]), 0.03);
    });
    faults.check("flagged", || {
        let camera = first(&said, "flagged");
        // A single frame was marked by the driver.
        let frames = &camera["frames"];
        near(&frames["damaged_ratio"]["value"], 1.0 / number(&frames["count"]["value"]), 1e-5);
        assert_eq!(camera["failure"], Value::Null);
    });
    faults.check("left at 12.5 frames per second by another program", || {
        let camera = first(&said, "left_at_12.5");
        near(&camera["frames"]["rate_fps"]["value"], 30.0, 0.3);
    });
    faults.check("asked for 12.5 frames per second", || {
        let camera = first(&said, "at_12.5");
        assert_eq!(camera["state"]["given"]["fps"], 12.5);
        near(&camera["frames"]["rate_fps"]["value"], 12.5, 0.2);
    });
    faults.check("busy, and by whom", || {
        let failure = first(&said, "busy")["failure"].clone();
        assert_eq!(failure["code"], "busy");
        assert!(failure["by"].as_str().is_some_and(|by| by.starts_with("v4l2-ctl (")), "{failure}");
        assert_eq!(said.scenario("busy").code, Some(2));
    });
    faults.check("permission, and of which group", || {
        let failure = first(&said, "permission")["failure"].clone();
        assert_eq!(failure, json!({ "code": "permission", "which": "group", "detail": "video" }));
        assert_eq!(said.scenario("permission").code, Some(2));
    });
    faults.check("missing", || {
        let failure = first(&said, "missing")["failure"].clone();
        assert_eq!(failure, json!({ "code": "not_found", "wanted": "/dev/video77" }));
        assert_eq!(said.scenario("missing").code, Some(2));
    });
    faults.check("offers nothing", || {
        assert_eq!(first(&said, "offers_nothing")["failure"]["code"], "unsupported_format");
    });
    faults.check("never delivers", || {
        let camera = first(&said, "never_delivers");
        assert_eq!(camera["failure"]["code"], "stalled");
        let waited = number(&camera["failure"]["after_ms"]);
        assert!((1000.0..=5000.0).contains(&waited), "{waited}");
    });
    faults.check("damaged JPEG", || {
        let camera = first(&said, "jpeg");
        assert_eq!(camera["state"]["given"]["fourcc"], "MJPG");
        let frames = &camera["frames"];
        assert_eq!(frames["count"]["value"], 60, "{frames}");
        assert_eq!(frames["damaged_ratio"]["n"], 60, "every one is looked at: {frames}");
        // The loopback device numbers frames as they are written to it. Where the first one stood is not known, and it skips
        // some when buffers are mapped.
        let log = &said.scenario("jpeg_log").text;
        let damaged: Vec<usize> = log.split("number=").skip(1).map(number_before_space).collect();
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let share = damaged.len() as f64 / 60.0;
        // The buffer it hands over first may be one that was not written yet, or is being written: numbered 0, and torn.
        let written = damaged.strip_prefix(&[0]).unwrap_or(&damaged);
        assert!((5..=7).contains(&written.len()), "six of sixty, one more or less at the ends: {log}");
        assert!(written.iter().all(|number| number % DAMAGED_ONE_IN == DAMAGED_ONE_IN - 1), "{damaged:?}");
        assert!(
            written.windows(2).all(|pair| pair[1] - pair[0] == DAMAGED_ONE_IN),
            "none is missed: {damaged:?}"
        );
        near(&frames["damaged_ratio"]["value"], share, 1e-5);
        near(&frames["rate_fps"]["value"], f64::from(FEED_FPS), 0.5);
        assert_eq!(camera["picture"]["seen"]["value"], "picture", "{}", camera["picture"]);
    });
    faults.check("a driver that breaks off", || {
        let camera = first(&said, "broken");
        assert_eq!(camera["failure"]["code"], "unknown");
        assert!(number(&camera["frames"]["count"]["value"]) > 10.0);
    });
    faults.check("disconnected", || {
        let camera = first(&said, "disconnected");
        assert_eq!(camera["failure"]["code"], "disconnected", "{}", camera["failure"]);
        assert!(number(&camera["frames"]["count"]["value"]) > 10.0);
        assert_eq!(said.scenario("disconnected").code, Some(2));
    });
    faults.check("no camera at all", || {
        let none = said.scenario("none");
        let devices = &none.report()["devices"];
        assert_eq!(devices["cameras"], json!([]));
        assert_eq!(devices["pictures"]["state"]["state"], "measured", "it was looked for, and there is none");
        assert_eq!(none.report()["verdict"]["overall"], "blocked");
        assert_eq!(none.code, Some(2));
    });
    faults.report();
}

/// What nokhwa does on the same cameras. Should a release of it number frames or refuse damaged ones, this test says so.
#[test]
fn cameras_by_way_of_nokhwa() {
    let said = guest("nokhwa.sh").run(|_| {});
    let mut faults = Faults::default();

    faults.check("normal", || {
        let camera = first(&said, "normal");
        assert_eq!(camera["failure"], Value::Null);
        assert_eq!(camera["state"]["backend"], "nokhwa");
        assert_eq!(camera["frames"]["count"]["value"], 60);
        assert_eq!(
            camera["frames"]["lost_ratio"]["state"], "not_tested",
            "it has no numbers: nothing is known to be lost"
        );
        near(&camera["frames"]["rate_fps"]["value"], 30.0, 1.0);
        assert_eq!(camera["picture"]["seen"]["value"], "picture", "{}", camera["picture"]);
    });
    faults.check("black", || assert_eq!(first(&said, "black")["picture"]["seen"]["value"], "black"));
    faults.check("busy", || assert_eq!(first(&said, "busy")["failure"]["code"], "busy"));
    faults.check("JPEG", || {
        let camera = first(&said, "jpeg");
        assert_eq!(camera["failure"], Value::Null);
        near(&camera["frames"]["rate_fps"]["value"], f64::from(FEED_FPS), 0.5);
        // It hands over what earlier frames left behind a torn one, so that not every one of them can be told.
        assert!(number(&camera["frames"]["damaged_ratio"]["value"]) > 0.0);
    });
    faults.check("a camera that stops is given up in time", || {
        let failure = first(&said, "stalled")["failure"].clone();
        assert_eq!(failure["code"], "stalled");
        assert!(number(&failure["after_ms"]) <= 5000.0);
    });
    faults.check("disconnected", || {
        assert_eq!(first(&said, "disconnected")["failure"]["code"], "disconnected");
    });
    faults.report();
}

/// A guest with the tools that switch the cameras' faults, and the program that feeds one of them: this one.
fn guest(script: &'static str) -> Guest {
    let feeder = place().join("feeder");
    let this = std::env::current_exe().expect("a program knows where it lies");
    std::fs::copy(this, &feeder).expect("the target directory can be written");
    Guest { script, programs: vec![command("v4l2-ctl"), feeder], hardware: Vec::new() }
}

/// The color of the upper half of each cell of a painted row.
fn cells(row: &str) -> Vec<[u8; 3]> {
    let mut color = [0; 3];
    let mut cells = Vec::new();
    for piece in row.split_inclusive('▀') {
        if let Some((_, colors)) = piece.split_once("\x1b[38;2;") {
            let parts: Vec<u8> = colors.split(';').take(3).filter_map(|part| part.parse().ok()).collect();
            color = parts.try_into().expect("three parts of a color");
        }
        if piece.ends_with('▀') {
            cells.push(color);
        }
    }
    cells
}

/// The number that a line of a log goes on with.
fn number_before_space(text: &str) -> usize {
    let digits = text.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The tested camera of a scenario.
fn first(said: &Said, scenario: &str) -> Value {
    said.scenario(scenario).report()["devices"]["cameras"][0].clone()
}

fn find<'a>(report: &'a Value, id: &str) -> &'a Value {
    let cameras = report["devices"]["cameras"].as_array().expect("a list of cameras");
    cameras
        .iter()
        .find(|camera| camera["device"]["id"] == id)
        .unwrap_or_else(|| panic!("no {id} in {cameras:?}"))
}
