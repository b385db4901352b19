//! Machines made out of files.

use std::fs;
use std::os::unix::net::UnixListener;

use tempfile::TempDir;

use super::*;

/// A machine out of these files.
fn machine(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("room");
        fs::write(path, text).expect("room");
    }
    root
}

fn linux(root: &TempDir) -> Linux {
    Linux::at(root.path(), Session::default())
}

const CPUINFO: &str = "processor\t: 0\nmodel name\t: Fake CPU @ 2.40GHz\nflags\t\t: fpu sse2 hypervisor\n\n\
                       processor\t: 1\nmodel name\t: Fake CPU @ 2.40GHz\nflags\t\t: fpu sse2 hypervisor\n";

#[test]
fn a_processor_is_read_with_its_cores_and_threads() {
    let place = |cpu: u32, core: &'static str| {
        let folder = format!("sys/devices/system/cpu/cpu{cpu}/topology");
        [(format!("{folder}/physical_package_id"), "0\n"), (format!("{folder}/core_id"), core)]
    };
    let files: Vec<_> = [place(0, "0\n"), place(1, "0\n")].concat();
    let mut all = vec![("proc/cpuinfo", CPUINFO)];
    all.extend(files.iter().map(|(path, text)| (path.as_str(), *text)));
    // A folder that is no processor.
    all.push(("sys/devices/system/cpu/cpufreq/boost", "1\n"));
    let root = machine(&all);
    let expected = Processor {
        model: Some("Fake CPU @ 2.40GHz".to_owned()),
        cores: Some(1),
        threads: 2,
        virtual_machine: Some(true),
    };
    assert_eq!(linux(&root).processor(), Value::Measured(expected));

    let arm = machine(&[("proc/cpuinfo", "processor\t: 0\nModel\t\t: Raspberry Pi 4\n")]);
    let Value::Measured(pi) = linux(&arm).processor() else { panic!("it is told") };
    assert_eq!((pi.model.as_deref(), pi.cores, pi.virtual_machine), (Some("Raspberry Pi 4"), None, None));
    assert!(linux(&machine(&[])).processor().measured().is_none());
}

#[test]
fn load_and_memory_are_read_with_their_units() {
    let root = machine(&[
        ("proc/loadavg", "3.00 2.00 1.00 4/130 5414\n"),
        ("proc/stat", "cpu  1 2 3 4 5 6 7 8\ncpu0 1\ncpu1 1\nintr 1\n"),
        ("proc/meminfo", "MemTotal:        8000 kB\nMemFree: 1 kB\nMemAvailable:    2000 kB\n"),
        (
            "proc/pressure/memory",
            "some avg10=12.50 avg60=1.00 avg300=0.10 total=5\nfull avg10=3.00 total=1\n",
        ),
    ]);
    let linux = linux(&root);
    assert_eq!(linux.load_per_core(), Value::estimate(1.5, 1));
    let expected = Memory { total_bytes: 8_192_000, available_bytes: 2_048_000, pressure_ratio: Some(0.125) };
    assert_eq!(linux.memory(), Value::Measured(expected));
    for text in ["", "some avg10=x", "some avg60=1.0", "some avg10=101.0", "full avg10=1.0"] {
        assert_eq!(pressure(text), None, "{text}");
    }
}

#[test]
fn heat_is_read_where_it_is_told() {
    let cpu0 = "sys/devices/system/cpu/cpu0";
    let files = [
        (format!("{cpu0}/thermal_throttle/core_throttle_count"), "4\n"),
        (format!("{cpu0}/thermal_throttle/package_throttle_count"), "2\n"),
        (format!("{cpu0}/cpufreq/scaling_cur_freq"), "1200000\n"),
        (format!("{cpu0}/cpufreq/cpuinfo_max_freq"), "4800000\n"),
        ("sys/class/thermal/thermal_zone0/type".to_owned(), "x86_pkg_temp\n"),
        ("sys/class/thermal/thermal_zone0/temp".to_owned(), "71500\n"),
        ("sys/class/thermal/thermal_zone1/type".to_owned(), "iwlwifi_1\n"),
        ("sys/class/thermal/thermal_zone1/temp".to_owned(), "90000\n"),
        ("sys/class/thermal/cooling_device0/type".to_owned(), "Processor\n"),
        ("sys/class/thermal/cooling_device0/cur_state".to_owned(), "0\n"),
        ("sys/class/thermal/cooling_device1/type".to_owned(), "Fan\n"),
        ("sys/class/thermal/cooling_device1/cur_state".to_owned(), "3\n"),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let expected = Heat {
        events: Some(6),
        held_back: Some(false),
        temperature_c: Some(71.5),
        frequency_ratio: Some(0.25),
    };
    assert_eq!(linux(&machine(&files)).heat(), expected);
    assert_eq!(linux(&machine(&[])).heat(), Heat::default(), "a system that tells nothing");
}

#[test]
fn power_comes_from_the_battery_only_when_it_discharges() {
    let battery = |status: &'static str| {
        machine(&[
            ("sys/class/power_supply/AC/type", "Mains\n"),
            ("sys/class/power_supply/BAT0/type", "Battery\n"),
            ("sys/class/power_supply/BAT0/status", status),
            ("sys/class/power_supply/BAT0/capacity", "43\n"),
            ("sys/class/power_supply/hidpp_battery_0/type", "Battery\n"),
            ("sys/class/power_supply/hidpp_battery_0/scope", "Device\n"),
            ("sys/class/power_supply/hidpp_battery_0/status", "Discharging\n"),
            ("sys/firmware/acpi/platform_profile", "low-power\n"),
        ])
    };
    for (status, on_battery) in [("Discharging\n", true), ("Charging\n", false), ("Full\n", false)] {
        let power = linux(&battery(status)).power();
        let expected = Power { on_battery, charge_ratio: Some(0.43), saver: Some(true) };
        assert_eq!(power, Value::Measured(expected), "{status}");
    }
    // A desktop, and one that tells nothing of power at all.
    let desktop = machine(&[("sys/class/power_supply/AC/type", "Mains\n")]);
    let expected = Power { on_battery: false, charge_ratio: None, saver: None };
    assert_eq!(linux(&desktop).power(), Value::Measured(expected));
    assert!(linux(&machine(&[])).power().measured().is_none());
}

#[test]
fn the_governor_says_something_only_where_there_is_no_preference() {
    let with = |files: &[(&str, &str)]| linux(&machine(files)).saver();
    let governor = ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
    let preference = "sys/devices/system/cpu/cpu0/cpufreq/energy_performance_preference";
    assert_eq!(with(&[governor]), Some(true));
    assert_eq!(with(&[governor, (preference, "balance_performance\n")]), Some(false));
    assert_eq!(with(&[governor, (preference, "power\n")]), Some(true));
}

#[test]
fn graphics_are_named_with_their_driver() {
    let root = machine(&[
        ("sys/class/drm/card0/device/uevent", "DRIVER=i915\nPCI_ID=8086:46A6\n"),
        ("sys/class/drm/card0-HDMI-A-1/status", "connected\n"),
        ("sys/class/drm/card1/device/uevent", "DRIVER=vc4\nOF_COMPATIBLE_0=brcm,bcm2711-vc5\n"),
        ("sys/class/drm/version", "drm 1.1.0\n"),
    ]);
    let found = linux(&root).graphics();
    let found = found.fact().expect("a list");
    let names: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.driver.as_deref())).collect();
    assert_eq!(names, [("Intel 8086:46a6", Some("i915")), ("brcm,bcm2711-vc5", Some("vc4"))]);
    assert_eq!(linux(&machine(&[])).hardware_codecs(), Value::exact(Vec::new()), "nothing to decode with");
}

fn capture(root: &TempDir, session: Session) -> (bool, String) {
    let told = Linux::at(root.path(), session).screen_capture();
    let told = told.measured().expect("it is always known").clone();
    (told.possible, told.how)
}

#[test]
fn a_screen_is_captured_by_x11_or_the_portal() {
    let bare = machine(&[]);
    assert!(!capture(&bare, Session::default()).0);
    let x11 = Session { display: Some(":7.0".to_owned()), ..Session::default() };
    let (possible, how) = capture(&bare, x11.clone());
    assert!(!possible && how.contains(":7.0"), "{how}");
    let root = machine(&[("tmp/.X11-unix/nothing", "")]);
    let _server = UnixListener::bind(root.path().join("tmp/.X11-unix/X7")).expect("a socket");
    assert_eq!(capture(&root, x11), (true, "X11 display :7.0".to_owned()));
}

#[test]
fn what_the_portal_lacks_is_named_step_by_step() {
    let service = ("usr/share/dbus-1/services/org.freedesktop.portal.Desktop.service", "[D-BUS Service]\n");
    let backend = |use_in: &str| {
        format!("[portal]\nInterfaces=org.freedesktop.impl.portal.ScreenCast;\nUseIn={use_in}\n")
    };
    let path = "usr/share/xdg-desktop-portal/portals/gnome.portal";
    let session = |root: &TempDir| Session {
        wayland: Some("wayland-0".to_owned()),
        desktop: Some("ubuntu:GNOME".to_owned()),
        runtime: Some(root.path().join("run")),
        ..Session::default()
    };
    let (kde, gnome) = (backend("KDE"), backend("gnome"));
    let table = [
        (vec![], "not installed"),
        (vec![service], "no xdg-desktop-portal backend"),
        (vec![service, (path, kde.as_str())], "no xdg-desktop-portal backend"),
        (vec![service, (path, gnome.as_str())], "PipeWire does not run"),
    ];
    for (files, missing) in table {
        let root = machine(&files);
        let (possible, how) = capture(&root, session(&root));
        assert!(!possible && how.contains(missing), "{missing}: {how}");
    }
    let root = machine(&[service, (path, &gnome), ("run/nothing", "")]);
    let _pipewire = UnixListener::bind(root.path().join("run/pipewire-0")).expect("a socket");
    let (possible, how) = capture(&root, session(&root));
    assert!(possible && how.contains("gnome"), "{how}");
}

#[test]
fn permissions_are_told_of_devices_that_are_there() {
    let granted = |linux: &Linux| linux.permissions().fact().expect("a list").clone();
    let root = machine(&[("dev/snd/pcmC0D0p", ""), ("dev/null", "")]);
    assert!(granted(&linux(&root)).is_empty(), "a speaker is no microphone");
    let root = machine(&[("dev/snd/pcmC0D0c", ""), ("dev/video0", "")]);
    let found = granted(&linux(&root));
    let told: Vec<_> = found.iter().map(|it| (it.what.as_str(), it.granted, it.source.as_str())).collect();
    assert_eq!(told, [("microphone", Some(true), "group audio"), ("camera", Some(true), "group video")]);
    let sandboxed = Linux::at(root.path(), Session { sandboxed: true, ..Session::default() });
    assert!(granted(&sandboxed).iter().all(|it| it.granted.is_none() && it.source.contains("portal")));
}

#[test]
fn a_clock_is_known_only_where_something_keeps_it() {
    // Worked by hand: 1,500 µs are still to be added, so that the clock is 1.5 ms behind; it may be 20 ms off.
    let told = clock_offset(0, 0, 1_500.0, 20_000.0);
    assert_eq!(told, Value::Measured(Estimate { value: -1.5, low: Some(-21.5), high: Some(18.5), n: 1 }));
    let nano = clock_offset(0, libc::STA_NANO, 1_500_000.0, 20_000.0);
    assert_eq!(nano, told);
    for (state, status) in [(libc::TIME_ERROR, 0), (0, libc::STA_UNSYNC), (-1, 0)] {
        assert!(clock_offset(state, status, 0.0, 0.0).measured().is_none());
    }
}

#[test]
fn this_machine_tells() {
    let here = Linux::here();
    assert!(here.processor().measured().is_some_and(|it| it.threads > 0));
    assert!(here.memory().measured().is_some_and(|it| it.available_bytes <= it.total_bytes));
    assert!(here.load_per_core().measured().is_some());
    assert!(here.graphics().fact().is_some());
}
