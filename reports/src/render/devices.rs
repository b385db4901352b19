//! Devices and computer in words, the same in every renderer.

use super::number::{self, GLUE};
use super::words::{clean, prose};
use crate::schema::{
    AcousticLoop, Camera, DeviceInfo, DeviceKind, Devices, Estimate, Heard, LoopChannel, Machine, Microphone,
    Seen, Speaker, Value,
};

/// Each device and what came of its test; `full` has every figure, and why one is missing.
pub(super) fn devices(devices: &Devices, full: bool) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for microphone in &devices.microphones {
        lines.push((
            titled("Microphone", &microphone.device, DeviceKind::Microphone),
            self::microphone(microphone, full),
        ));
    }
    for speaker in &devices.speakers {
        lines.push((titled("Speaker", &speaker.device, DeviceKind::Speaker), self::speaker(speaker, full)));
    }
    // Where nobody asked for devices there is nothing to be heard by.
    lines.extend(acoustic_loop(&devices.acoustic_loop, full && !lines.is_empty()));
    for camera in &devices.cameras {
        lines.push((titled("Camera", &camera.device, DeviceKind::Camera), self::camera(camera, full)));
    }
    lines.into_iter().map(|(title, parts)| (title, parts.join(" · "))).collect()
}

/// What is known of the computer.
pub(super) fn machine(machine: &Machine) -> Vec<(String, String)> {
    let processor = machine.processor.measured().map(|processor| {
        let model = processor.model.as_deref().map_or_else(|| "unnamed".to_owned(), prose);
        format!("{model}, {} threads", processor.threads)
    });
    let memory = machine.memory.measured().map(|memory| {
        format!("{} free of {}", number::size(memory.available_bytes), number::size(memory.total_bytes))
    });
    let power = machine.power.measured().map(|power| match (power.on_battery, power.charge_ratio) {
        (true, Some(charge)) => format!("battery, {} left", number::percent(charge)),
        (true, None) => "battery".to_owned(),
        (false, _) => "mains".to_owned(),
    });
    let heat = machine.throttling.measured().map(|heat| {
        let slowed = if heat.now { "slowed down by heat" } else { "not slowed down by heat" };
        match heat.temperature_c {
            Some(celsius) => format!("{slowed}, {}{GLUE}°C", number::plain(celsius, 0)),
            None => slowed.to_owned(),
        }
    });
    let told = [("processor model", processor), ("memory", memory), ("power", power), ("heat", heat)];
    let encode = machine.encode.iter().map(|headroom| {
        let times = |estimate: &Estimate| format!("{} times real time", number::plain(estimate.value, 1));
        let name = format!("encodes {} ({})", headroom.use_.short(), clean(&headroom.encoder));
        (name, shown(&headroom.times_real_time, times))
    });
    told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).chain(encode).collect()
}

fn titled(kind: &str, info: &DeviceInfo, of: DeviceKind) -> String {
    match &info.name {
        Some(_) => format!("{kind} {}", clean(info.shown(of))),
        None => kind.to_owned(),
    }
}

fn microphone(microphone: &Microphone, full: bool) -> Vec<String> {
    let sound = &microphone.sound;
    let mut parts = vec![tested(&microphone.state, |stream| {
        format!("{}{GLUE}kHz", number::plain(f64::from(stream.rate_hz) / 1e3, 1))
    })];
    if microphone.state.measured().is_none() && !full {
        return parts;
    }
    let heard = shown(&sound.heard, |heard| heard_word(heard.value).to_owned());
    parts.push(heard);
    let mut figure = |name: &str, value: &Value<Estimate>, unit: &str, decimals: usize, always: bool| {
        if always && value.measured().is_some() || full {
            parts.push(format!("{name} {}", shown(value, |e| quantity(e.value, unit, decimals))));
        }
    };
    figure("speech", &sound.speech_level_dbfs, "dBFS", 0, true);
    figure("noise", &sound.noise_floor_dbfs, "dBFS", 0, true);
    figure("above the noise", &sound.snr_db, "dB", 0, true);
    figure("peak", &sound.peak_dbfs, "dBFS", 1, false);
    figure("overall", &sound.rms_dbfs, "dBFS", 1, false);
    figure("sound up to", &sound.bandwidth_hz, "Hz", 0, false);
    figure("clock drift", &sound.clock_drift_ppm, "ppm", 0, false);
    if full {
        parts.push(format!(
            "off center {}",
            shown(&sound.dc_offset_ratio, |e| number::percent(e.value.abs()))
        ));
        parts.push(format!("cut off {}", shown(&sound.clipping, |c| number::percent(c.ratio))));
        parts.push(format!("missing {}", shown(&sound.dropouts, |d| number::percent(d.ratio))));
        let hum = shown(&sound.hum, |hum| match (hum.mains_hz, hum.level_dbfs) {
            (Some(mains), Some(level)) => format!("of {mains}{GLUE}Hz, {}", quantity(level, "dBFS", 0)),
            _ => "none".to_owned(),
        });
        parts.push(format!("hum {hum}"));
    }
    parts
}

fn speaker(speaker: &Speaker, full: bool) -> Vec<String> {
    let mut parts = vec![tested(&speaker.state, |stream| format!("played {}", number::ms(stream.ran_ms)))];
    if speaker.muted.fact() == Some(&true) {
        parts.push("muted".to_owned());
    }
    if let Some(volume) = speaker.volume_ratio.fact() {
        parts.push(format!("volume {}", number::percent(*volume)));
    }
    if full {
        let drift = shown(&speaker.clock_drift_ppm, |e| quantity(e.value, "ppm", 0));
        parts.push(format!("clock drift {drift}"));
    }
    parts
}

fn acoustic_loop(acoustic: &AcousticLoop, full: bool) -> Option<(String, Vec<String>)> {
    if acoustic.channels.is_empty() {
        let reason = match &acoustic.state {
            Value::NotTested { .. } if !full => return None,
            state => tested(state, |_| "nothing was played".to_owned()),
        };
        return Some(("Speaker heard by microphone".to_owned(), vec![reason]));
    }
    let channel = |channel: &LoopChannel| {
        let heard = shown(&channel.heard, |heard| if heard.value { "heard" } else { "not heard" }.to_owned());
        let mut parts = vec![format!("channel {}: {heard}", channel.channel + 1)];
        parts.extend(channel.delay_ms.measured().map(|e| format!("after {}", number::ms(e.value))));
        parts.extend(channel.return_db.measured().map(|e| quantity(e.value, "dB", 0)));
        if full {
            let response = channel.response.measured().map(|response| {
                format!("{} to {}", quantity(response.low_hz, "Hz", 0), quantity(response.high_hz, "Hz", 0))
            });
            parts.extend(response);
            parts.extend(
                channel
                    .distortion_ratio
                    .measured()
                    .map(|e| format!("distortion {}", number::percent(e.value))),
            );
        }
        parts.join(", ")
    };
    Some(("Speaker heard by microphone".to_owned(), acoustic.channels.iter().map(channel).collect()))
}

fn camera(camera: &Camera, full: bool) -> Vec<String> {
    let opened = |stream: &crate::schema::CameraStream| {
        let given = &stream.given;
        format!("{}×{} {}", given.width, given.height, clean(&given.fourcc))
    };
    let mut parts = vec![tested(&camera.state, opened)];
    if camera.state.measured().is_none() && !full {
        return parts;
    }
    parts.push(shown(&camera.picture.seen, |seen| seen_word(seen.value).to_owned()));
    let frames = &camera.frames;
    let claimed = camera.state.measured().and_then(|stream| stream.given.fps);
    let of_claimed = claimed.map(|fps| format!(" of {}", number::plain(fps, 0))).unwrap_or_default();
    parts.push(shown(&frames.rate_fps, |e| {
        format!("{}{of_claimed} pictures a second", number::plain(e.value, 1))
    }));
    if full {
        let share = |value: &Value<Estimate>| shown(value, |e| number::percent(e.value));
        parts.push(format!("lost {}", share(&frames.lost_ratio)));
        parts.push(format!("damaged {}", share(&frames.damaged_ratio)));
        parts.push(format!("first after {}", shown(&frames.first_ms, |ms| number::ms(ms.value))));
        parts.push(format!("unevenness {}", share(&frames.interval_spread_ratio)));
        parts.push(format!("brightness {}", share(&camera.picture.luma_mean_ratio)));
        parts.push(format!("contrast {}", share(&camera.picture.luma_spread_ratio)));
    }
    parts
}

/// As what a device was opened, or why it was not tested.
fn tested<T>(state: &Value<T>, show: impl FnOnce(&T) -> String) -> String {
    match state {
        Value::Measured(opened) => show(opened),
        Value::Failed { reason } => format!("failed: {}", prose(reason)),
        Value::NotTested { reason } => format!("not tested: {}", prose(reason)),
    }
}

/// A figure, or why there is none.
fn shown<T>(value: &Value<T>, show: impl FnOnce(&T) -> String) -> String {
    match value {
        Value::Measured(value) => show(value),
        Value::Failed { reason } => format!("failed ({})", prose(reason)),
        Value::NotTested { reason } => format!("not tested ({})", prose(reason)),
    }
}

fn quantity(value: f64, unit: &str, decimals: usize) -> String {
    format!("{}{GLUE}{unit}", number::plain(value, decimals))
}

fn heard_word(heard: Heard) -> &'static str {
    match heard {
        Heard::Speech => "hears you",
        Heard::NoPermission => "no permission",
        Heard::MutedInSoftware => "muted in software",
        Heard::MutedInHardware => "muted at the device",
        Heard::Stuck => "hangs",
        Heard::TooQuiet => "hears you too quietly",
        Heard::NobodySpoke => "hears the room; nobody spoke",
    }
}

fn seen_word(seen: Seen) -> &'static str {
    match seen {
        Seen::Picture => "shows a picture",
        Seen::Black => "black",
        Seen::Frozen => "frozen",
        Seen::Covered => "covered",
        Seen::Dark => "too dark",
        Seen::Overexposed => "too bright",
        Seen::Blurred => "blurred",
    }
}
