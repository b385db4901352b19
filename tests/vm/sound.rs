//! Sound cards of the kernel without a sound server between, and one that is unplugged while it plays.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::machine::{Faults, Guest, Said, command, near, place};

/// Level of the noise that the guest plays, of full scale.
const LEVEL: f64 = 0.1;
const RATE: u32 = 48_000;
const CHANNELS: u16 = 2;
/// What `default/1` calls a good clock.
const GOOD_DRIFT_PPM: f64 = 300.0;

#[test]
fn sound_cards_by_the_kernels_own_interface() {
    let said = boot();
    let mut faults = Faults::default();

    faults.check("list", || {
        let listed = said.scenario("list").report();
        let devices = listed["sound"].as_array().expect("a list");
        let has = |id: &str, role: &str, attached: &str| {
            devices.iter().any(|d| d["id"] == id && d["role"] == role && d["attached"] == attached)
        };
        assert!(has("alsa:hw:CARD=Loopback,DEV=1", "microphone", "virtual"), "{listed}");
        assert!(has("alsa:hw:CARD=Usb,DEV=0", "speaker", "usb"), "{listed}");
        let mut once: Vec<_> = devices.iter().map(|d| (d["id"].to_string(), d["role"].to_string())).collect();
        once.dedup();
        assert_eq!(once.len(), devices.len(), "each device once: {listed}");
    });
    faults.check("clean", || {
        let microphone = first(&said, "clean");
        assert_eq!(microphone["failure"], Value::Null);
        assert_eq!(microphone["state"]["backend"], "alsa");
        let sound = &microphone["sound"];
        assert_eq!(
            (&sound["dropouts"]["gaps"], &sound["dropouts"]["repeats"]),
            (&json!(0), &json!(0)),
            "{sound}"
        );
        near(&sound["rms_dbfs"]["value"], 20.0 * LEVEL.log10(), 0.1);
        // An emulated processor that is late now and then is no clock that is off. One interval in twenty leaves out the
        // truth (reports' own tests count them), so what is asked here is what a person is told.
        near(&sound["clock_drift_ppm"]["value"], 0.0, GOOD_DRIFT_PPM);
        assert_eq!(cause(&said, "clean", "clock_drift"), None);
        assert_eq!(sound["channels"]["value"].as_array().map(Vec::len), Some(usize::from(CHANNELS)));
    });
    faults.check("loop", || {
        let acoustic = said.scenario("loop").report()["devices"]["acoustic_loop"].clone();
        assert_eq!(acoustic["failure"], Value::Null, "{acoustic}");
        let channels = acoustic["channels"].as_array().expect("it was played on each channel");
        assert_eq!(channels.len(), usize::from(CHANNELS), "{acoustic}");
        for (number, channel) in channels.iter().enumerate() {
            let number = json!(number);
            assert_eq!((&channel["channel"], &channel["heard_on"]["value"]), (&number, &number), "{channel}");
            near(&channel["return_db"]["value"], 0.0, 0.1);
        }
    });
    faults.check("drift", || {
        let microphone = first(&said, "drift");
        assert_eq!(microphone["failure"], Value::Null);
        // The kernel divides what the card has moved by 1.001: it is slow.
        near(&microphone["sound"]["clock_drift_ppm"]["value"], -999.0, 350.0);
        assert!(cause(&said, "drift", "clock_drift").is_some(), "{}", microphone["sound"]["clock_drift_ppm"]);
    });
    faults.check("busy, and by whom", || {
        let failure = first(&said, "busy")["failure"].clone();
        assert_eq!(failure["code"], "busy", "{failure}");
        assert!(failure["by"].as_str().is_some_and(|by| by.starts_with("arecord (")), "{failure}");
        assert_eq!(said.scenario("busy").code, Some(2));
    });
    faults.check("permission, and of which group", || {
        let report = said.scenario("permission").report();
        let failure = &report["devices"]["sound"]["failure"];
        assert_eq!(*failure, json!({ "code": "permission", "which": "group", "detail": "audio" }));
        assert_eq!(report["verdict"]["overall"], "permission_denied");
        assert_eq!(said.scenario("permission").code, Some(2));
    });
    faults.check("USB unplugged while it plays", || {
        let report = said.scenario("unplugged").report();
        let acoustic = &report["devices"]["acoustic_loop"];
        assert_eq!(acoustic["failure"]["code"], "disconnected", "{acoustic}");
        assert_eq!(report["devices"]["speakers"][0]["failure"]["code"], "disconnected", "{acoustic}");
        assert_eq!(said.scenario("unplugged").code, Some(2), "{}", report["verdict"]);
    });
    faults.report();
}

/// Boots a machine with a USB speaker, and pulls it out when the guest wants that.
fn boot() -> Said {
    let noise = place().join("noise.wav");
    write_noise(&noise);
    let monitor = place().join("monitor");
    let _ = std::fs::remove_file(&monitor);
    let hardware = [
        "-audiodev",
        "none,id=nowhere",
        "-device",
        "qemu-xhci",
        "-device",
        "usb-audio,audiodev=nowhere,id=speaker",
        "-qmp",
        &format!("unix:{},server=on,wait=off", monitor.display()),
    ];
    let guest = Guest {
        script: "sound.sh",
        programs: vec![command("aplay"), command("arecord"), command("amixer"), noise],
        hardware: hardware.map(str::to_owned).to_vec(),
    };
    guest.run(|line| {
        if line == ">>> unplug" {
            unplug(&monitor);
        }
    })
}

/// Tells QEMU over its monitor (QMP) to pull the speaker out.
fn unplug(monitor: &PathBuf) {
    let mut monitor = UnixStream::connect(monitor).expect("QEMU has a monitor");
    let mut answer = [0; 4096];
    // It greets, and takes one command at a time.
    for order in
        ["", r#"{"execute":"qmp_capabilities"}"#, r#"{"execute":"device_del","arguments":{"id":"speaker"}}"#]
    {
        monitor.write_all(order.as_bytes()).expect("QEMU listens");
        let length = monitor.read(&mut answer).expect("QEMU answers");
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(!answer.contains("\"error\""), "{order}: {answer}");
    }
}

/// Twenty seconds of white noise, another on each channel: nothing in it repeats.
fn write_noise(path: &Path) {
    let spec = hound::WavSpec {
        channels: CHANNELS,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(path, spec).expect("the target directory can be written");
    // xorshift64* (Vigna 2016); uniform from -a to a has a standard deviation of a/√3.
    let mut state = 1_u64;
    let peak = LEVEL * 3_f64.sqrt() * 32_767.0;
    for _ in 0..RATE * 20 * u32::from(CHANNELS) {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let drawn = state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        let uniform = f64::from(u32::try_from(drawn).expect("32 bits")) / f64::from(u32::MAX) * 2.0 - 1.0;
        #[expect(clippy::cast_possible_truncation, reason = "below full scale")]
        file.write_sample((uniform * peak) as i16).expect("the target directory can be written");
    }
    file.finalize().expect("the target directory can be written");
}

/// The tested microphone of a scenario.
fn first(said: &Said, scenario: &str) -> Value {
    let microphones = said.scenario(scenario).report()["devices"]["microphones"].clone();
    let tested = microphones
        .as_array()
        .expect("a list")
        .iter()
        .find(|microphone| microphone["device"]["id"] == "alsa:hw:CARD=Loopback,DEV=1");
    tested.unwrap_or_else(|| panic!("no such microphone in {microphones}")).clone()
}

/// The cause of that name which a scenario's verdict lists.
fn cause(said: &Said, scenario: &str, code: &str) -> Option<Value> {
    let report = said.scenario(scenario).report();
    report["verdict"]["causes"].as_array()?.iter().find(|cause| cause["code"] == code).cloned()
}
