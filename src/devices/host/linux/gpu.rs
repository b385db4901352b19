//! Graphics processors, from the kernel's list, and what they encode and decode, from `vainfo`.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use greenroom_reports::schema::{Exact, Graphics, HardwareCodec, Value};

use super::{Linux, numbered};

/// How long `vainfo` may take; a driver that hangs is not waited for.
const PATIENCE: Duration = Duration::from_millis(900);
/// Where distributions keep the names of PCI devices.
const PCI_NAMES: [&str; 2] = ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"];

/// The graphics processors of a machine.
pub(super) fn list(linux: &Linux) -> Vec<Graphics> {
    let cards = linux.list("sys/class/drm");
    cards.iter().filter(|card| numbered(card, "card").is_some()).map(|card| of_card(linux, card)).collect()
}

fn of_card(linux: &Linux, card: &str) -> Graphics {
    let event = linux.text(&format!("{card}/device/uevent")).unwrap_or_default();
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let driver = field("DRIVER").map(str::to_owned);
    let pci = field("PCI_ID").and_then(|id| id.split_once(':'));
    let name = match (pci, field("OF_COMPATIBLE_0")) {
        (Some((vendor, device)), _) => pci_name(linux, vendor, device),
        (None, Some(compatible)) => compatible.to_owned(),
        (None, None) => driver.clone().unwrap_or_else(|| "unknown".to_owned()),
    };
    Graphics { name, driver }
}

/// The name of a PCI device as its maker gives it; its numbers where nobody knows it.
fn pci_name(linux: &Linux, vendor: &str, device: &str) -> String {
    let (vendor, device) = (vendor.to_ascii_lowercase(), device.to_ascii_lowercase());
    let known = PCI_NAMES.iter().find_map(|path| linux.text(path));
    known.and_then(|names| named(&names, &vendor, &device)).unwrap_or_else(|| {
        let maker = match vendor.as_str() {
            "8086" => "Intel",
            "1002" => "AMD",
            "10de" => "NVIDIA",
            "1af4" => "Virtio",
            "15ad" => "VMware",
            _ => "PCI",
        };
        format!("{maker} {vendor}:{device}")
    })
}

/// Looks a device up in `pci.ids`: vendors stand at the beginning of a line, their devices behind a tab.
fn named(names: &str, vendor: &str, device: &str) -> Option<String> {
    let mut lines = names.lines().skip_while(|line| !line.starts_with(vendor));
    let maker = lines.next()?.strip_prefix(vendor)?.trim();
    let model = lines
        .take_while(|line| line.starts_with(['\t', '#']))
        .find_map(|line| line.strip_prefix('\t')?.strip_prefix(device))?;
    Some(format!("{maker} {}", model.trim()))
}

/// What the graphics processors encode and decode.
pub(super) fn codecs(linux: &Linux) -> Value<Exact<Vec<HardwareCodec>>> {
    let nodes = linux.list("dev/dri");
    let Some(node) = nodes.iter().find(|node| numbered(node, "renderD").is_some()) else {
        return Value::exact(Vec::new());
    };
    let mut command = Command::new("vainfo");
    command.args(["--display", "drm", "--device"]).arg(linux.root.join(node));
    match run(command) {
        Ok(Some(text)) => Value::exact(of_vainfo(&text)),
        Ok(None) => Value::failed(format!("vainfo gave no answer within {} ms", PATIENCE.as_millis())),
        Err(_) => Value::not_tested("the program vainfo, which lists them, is not installed"),
    }
}

/// What a program prints; `None` when it takes too long.
#[expect(clippy::disallowed_methods, reason = "the thread that may hang with a driver")]
fn run(mut command: Command) -> std::io::Result<Option<String>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (told, hear) = mpsc::channel();
    if let Some(mut output) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            // What it printed before it broke off counts as well.
            let _ = output.read_to_end(&mut text);
            // Nobody listens when it took too long.
            let _ = told.send(String::from_utf8_lossy(&text).into_owned());
        });
    }
    let text = hear.recv_timeout(PATIENCE).ok();
    // It may have ended by itself.
    let _ = child.kill();
    child.wait()?;
    Ok(text)
}

/// Reads the profiles and entry points that `vainfo` lists: `VAProfileH264Main : VAEntrypointEncSlice`.
fn of_vainfo(text: &str) -> Vec<HardwareCodec> {
    let names = [("H264", "h264"), ("HEVC", "hevc"), ("VP8", "vp8"), ("VP9", "vp9"), ("AV1", "av1")];
    let entries: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let (profile, entry) = line.split_once(':')?;
            Some((profile.trim().strip_prefix("VAProfile")?, entry.trim()))
        })
        .collect();
    let codec = |(prefix, name): (&str, &str)| {
        let can = |kind: &str| {
            entries.iter().any(|(profile, entry)| profile.starts_with(prefix) && entry.starts_with(kind))
        };
        let (encodes, decodes) = (can("VAEntrypointEnc"), can("VAEntrypointVLD"));
        (encodes || decodes).then(|| HardwareCodec {
            codec: name.to_owned(),
            encodes,
            decodes,
            source: "vaapi".to_owned(),
        })
    };
    names.into_iter().filter_map(codec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_read_from_what_vainfo_prints() {
        let text = "libva info: VA-API version 1.17.0\nvainfo: Supported profile and entrypoints\n      \
            VAProfileH264Main               :\tVAEntrypointVLD\n      \
            VAProfileH264Main               :\tVAEntrypointEncSliceLP\n      \
            VAProfileVP9Profile0            :\tVAEntrypointVLD\n      \
            VAProfileJPEGBaseline           :\tVAEntrypointEncPicture\n";
        let found: Vec<_> =
            of_vainfo(text).into_iter().map(|it| (it.codec, it.encodes, it.decodes)).collect();
        assert_eq!(found, [("h264".to_owned(), true, true), ("vp9".to_owned(), false, true)]);
        assert!(of_vainfo("error: can't connect to X server!\n").is_empty());
    }

    #[test]
    fn a_device_is_named_by_its_maker() {
        let names = "# comment\n1002  AMD\n\t46a6  Wrong maker\n8086  Intel Corporation\n\t1234  Other\n\
                     \t46a6  Alder Lake-P GT2 [Iris Xe Graphics]\n\t\t1028 0b19  Subsystem\n8087  Next\n\t46a7  Not here\n";
        let name = named(names, "8086", "46a6");
        assert_eq!(name.as_deref(), Some("Intel Corporation Alder Lake-P GT2 [Iris Xe Graphics]"));
        assert_eq!(named(names, "8086", "46a7"), None);
        assert_eq!(named(names, "9999", "46a6"), None);
    }

    #[test]
    fn a_program_that_hangs_is_not_waited_for() {
        let mut sleep = Command::new("sleep");
        sleep.arg("30");
        assert_eq!(run(sleep).expect("coreutils"), None);
        let mut echo = Command::new("echo");
        echo.arg("done");
        assert_eq!(run(echo).expect("coreutils").as_deref(), Some("done\n"));
        assert!(run(Command::new("/nonexistent/vainfo")).is_err());
    }
}
