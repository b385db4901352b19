//! What a computer is and can do, in a few lines of plain words.

use super::number;
use crate::schema::{
    EncodeHeadroom, Estimate, Exact, Granted, Graphics, HardwareCodec, Host, Machine, Memory, Power,
    Processor, Throttling, Use, Value,
};

/// The lines of a machine: what each is about, and what was found. What is not known says why. A number is tied to its unit
/// by a space that does not break (U+00A0).
pub fn lines(host: &Host) -> Vec<(&'static str, String)> {
    let Host { delay_ms: _, cpu_busy_ratio, cpu_steal_ratio, machine } = host;
    let Machine {
        processor,
        load_per_core,
        memory,
        throttling,
        power,
        graphics,
        hardware_codecs,
        encode,
        screen_capture,
        permissions,
        clock_offset_ms,
    } = machine;
    let mut lines = vec![
        ("Processor", told(processor, of_processor)),
        ("Load", told(load_per_core, of_load)),
        (
            "Busy",
            told(cpu_busy_ratio, |it| format!("{} of all cores while this ran", number::percent(it.value))),
        ),
        (
            "Taken away",
            told(cpu_steal_ratio, |it| {
                format!("{} by the machine that hosts this one", number::percent(it.value))
            }),
        ),
        ("Memory", told(memory, of_memory)),
        ("Heat", told(throttling, of_heat)),
        ("Power", told(power, of_power)),
        ("Graphics", told(graphics, of_graphics)),
        ("Codecs in hardware", told(hardware_codecs, of_codecs)),
    ];
    lines.extend(
        encode.iter().map(|it| (encodes(it.use_), told(&it.times_real_time, |times| of_encoder(it, times)))),
    );
    lines.extend([
        ("Screen sharing", told(screen_capture, |it| format!("{} · {}", possible(it.possible), it.how))),
        ("Programs may use", told(permissions, of_permissions)),
        ("Clock", told(clock_offset_ms, of_clock)),
    ]);
    lines
}

/// The words of a value; of one that is missing, why.
fn told<T>(value: &Value<T>, words: impl FnOnce(&T) -> String) -> String {
    match value {
        Value::Measured(found) => words(found),
        Value::Failed { reason } => format!("failed: {reason}"),
        Value::NotTested { reason } => format!("not known: {reason}"),
    }
}

fn of_processor(it: &Processor) -> String {
    let model = it.model.clone().unwrap_or_else(|| "model not told".to_owned());
    let mut text = format!("{model} · ");
    if let Some(cores) = it.cores {
        text += &format!("{}, ", counted(cores, "core"));
    }
    text += &counted(it.threads, "thread");
    if it.virtual_machine == Some(true) {
        text += " · a virtual machine";
    }
    text
}

fn of_load(it: &Estimate) -> String {
    format!("{} programs want each core (mean of the last minute)", number::plain(it.value, 1))
}

fn of_memory(it: &Memory) -> String {
    let mut text = format!("{} free of {}", number::size(it.available_bytes), number::size(it.total_bytes));
    if let Some(share) = it.pressure_ratio {
        text += &format!(" · programs waited for it {} of the time", number::percent(share));
    }
    text
}

fn of_heat(it: &Throttling) -> String {
    let mut parts =
        vec![if it.now { "heat slowed the processor down" } else { "did not slow it down" }.to_owned()];
    parts.extend(it.temperature_c.map(|degrees| format!("{} °C", number::plain(degrees, 0))));
    parts.extend(
        it.frequency_ratio.map(|ratio| format!("clock at {} of the fastest", number::percent(ratio))),
    );
    parts.extend(it.events.map(|events| format!("{} times since the system started", number::count(events))));
    parts.join(" · ")
}

fn of_power(it: &Power) -> String {
    let mut parts = vec![if it.on_battery { "on its battery" } else { "plugged in" }.to_owned()];
    parts.extend(it.charge_ratio.map(|charge| format!("charged to {}", number::percent(charge))));
    if it.saver == Some(true) {
        parts.push("saves power at the cost of speed".to_owned());
    }
    parts.join(" · ")
}

fn of_graphics(list: &Exact<Vec<Graphics>>) -> String {
    let one = |it: &Graphics| match &it.driver {
        Some(driver) => format!("{} ({driver})", it.name),
        None => it.name.clone(),
    };
    listed(list.value.iter().map(one))
}

fn of_codecs(list: &Exact<Vec<HardwareCodec>>) -> String {
    let one = |it: &HardwareCodec| {
        let does = match (it.encodes, it.decodes) {
            (true, true) => "encodes and decodes",
            (true, false) => "encodes",
            _ => "decodes",
        };
        format!("{} {does} ({})", it.codec, it.source)
    };
    listed(list.value.iter().map(one))
}

const fn encodes(use_: Use) -> &'static str {
    match use_ {
        Use::Audio => "Encodes speech",
        Use::Video360p => "Encodes 360p",
        Use::Video720p => "Encodes 720p",
        Use::Video1080p => "Encodes 1080p",
        Use::Screen => "Encodes a screen",
    }
}

fn of_encoder(it: &EncodeHeadroom, times: &Estimate) -> String {
    // Below ten times, tenths matter.
    let decimals = usize::from(times.value < 10.0);
    format!("{} times real time ({} by {})", number::plain(times.value, decimals), it.codec, it.encoder)
}

fn of_permissions(list: &Exact<Vec<Granted>>) -> String {
    let one = |it: &Granted| {
        let may = match it.granted {
            Some(true) => "",
            Some(false) => "not the ",
            None => "perhaps the ",
        };
        format!("{may}{} ({})", it.what, it.source)
    };
    listed(list.value.iter().map(one))
}

fn of_clock(it: &Estimate) -> String {
    let way = if it.value < 0.0 { "behind" } else { "ahead" };
    let bound = it.high.map(|high| format!(", ± {}", number::ms(high - it.value)));
    format!("{} {way}{}", number::ms(it.value.abs()), bound.unwrap_or_default())
}

const fn possible(yes: bool) -> &'static str {
    if yes { "possible" } else { "not possible" }
}

fn counted(n: u32, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ScreenCapture;

    fn host(machine: Machine) -> Host {
        Host {
            delay_ms: Value::not_tested("nobody asked"),
            cpu_busy_ratio: Value::not_tested("nobody asked"),
            cpu_steal_ratio: Value::not_tested("nobody asked"),
            machine,
        }
    }

    #[test]
    fn every_line_says_what_was_found_or_why_not() {
        let unknown = lines(&host(Machine::not_tested("nobody asked")));
        assert_eq!(unknown.len(), 12);
        assert!(unknown.iter().all(|(_, text)| text == "not known: nobody asked"), "{unknown:?}");
    }

    #[test]
    fn figures_are_told_in_words() {
        let times = |use_, value| EncodeHeadroom {
            use_,
            codec: "h264".into(),
            encoder: "openh264".into(),
            times_real_time: Value::estimate(value, 30),
        };
        let machine = Machine {
            processor: Value::Measured(Processor {
                model: Some("Core i5".into()),
                cores: Some(1),
                threads: 2,
                virtual_machine: Some(true),
            }),
            memory: Value::Measured(Memory {
                total_bytes: 8_000_000,
                available_bytes: 1_500_000,
                pressure_ratio: Some(0.125),
            }),
            throttling: Value::Measured(Throttling {
                now: true,
                events: Some(1_204),
                temperature_c: Some(97.2),
                frequency_ratio: Some(0.25),
            }),
            power: Value::Measured(Power { on_battery: true, charge_ratio: Some(0.43), saver: Some(true) }),
            graphics: Value::exact(vec![]),
            encode: vec![times(Use::Video360p, 41.26), times(Use::Video1080p, 0.94)],
            screen_capture: Value::Measured(ScreenCapture { possible: false, how: "no display".into() }),
            clock_offset_ms: Value::Measured(Estimate {
                value: -1.5,
                low: Some(-21.5),
                high: Some(18.5),
                n: 1,
            }),
            ..Machine::not_tested("-")
        };
        let lines = lines(&host(machine));
        let line = |about: &str| {
            lines.iter().find(|(it, _)| *it == about).map(|(_, text)| text.replace('\u{a0}', " "))
        };
        for (about, text) in [
            ("Processor", "Core i5 · 1 core, 2 threads · a virtual machine"),
            ("Memory", "1.5 MB free of 8.0 MB · programs waited for it 12 % of the time"),
            (
                "Heat",
                "heat slowed the processor down · 97 °C · clock at 25 % of the fastest · 1,204 times since the system started",
            ),
            ("Power", "on its battery · charged to 43 % · saves power at the cost of speed"),
            ("Graphics", "none"),
            ("Encodes 360p", "41 times real time (h264 by openh264)"),
            ("Encodes 1080p", "0.9 times real time (h264 by openh264)"),
            ("Screen sharing", "not possible · no display"),
            ("Clock", "1.5 ms behind, ± 20 ms"),
        ] {
            assert_eq!(line(about).as_deref(), Some(text));
        }
    }
}
