//! This computer: what it is, how it was doing, and what it can encode.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Estimate, Exact, Use, Value};

/// What this computer is, how it was doing while the test ran, and what it can encode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Processor.
    pub processor: Value<Processor>,
    /// Runnable programs per core, mean of the last minute.
    pub load_per_core: Value<Estimate>,
    /// Memory.
    pub memory: Value<Memory>,
    /// Whether heat slows the processor down.
    pub throttling: Value<Throttling>,
    /// Where its power comes from.
    pub power: Value<Power>,
    /// Graphics processors.
    pub graphics: Value<Exact<Vec<Graphics>>>,
    /// Codecs in hardware.
    pub hardware_codecs: Value<Exact<Vec<HardwareCodec>>>,
    /// How many times faster than real time it encodes.
    pub encode: Vec<EncodeHeadroom>,
    /// Whether the screen can be captured.
    pub screen_capture: Value<ScreenCapture>,
    /// What programs may use.
    pub permissions: Value<Exact<Vec<Granted>>>,
    /// The computer's clock less true time.
    pub clock_offset_ms: Value<Estimate>,
}

impl Machine {
    /// It was not looked at, for `reason`.
    pub fn not_tested(reason: &str) -> Self {
        Self {
            processor: Value::not_tested(reason),
            load_per_core: Value::not_tested(reason),
            memory: Value::not_tested(reason),
            throttling: Value::not_tested(reason),
            power: Value::not_tested(reason),
            graphics: Value::not_tested(reason),
            hardware_codecs: Value::not_tested(reason),
            encode: Vec::new(),
            screen_capture: Value::not_tested(reason),
            permissions: Value::not_tested(reason),
            clock_offset_ms: Value::not_tested(reason),
        }
    }
}

/// A processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Processor {
    /// As it names itself.
    pub model: Option<String>,
    /// Cores.
    pub cores: Option<u32>,
    /// Threads that run at once.
    pub threads: u32,
    /// Whether a hypervisor runs this system.
    pub virtual_machine: Option<bool>,
}

/// Memory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// What programs can still have.
    pub available_bytes: u64,
    /// Share of the last ten seconds in which some program waited for memory (Linux PSI).
    pub pressure_ratio: Option<f64>,
}

/// Whether heat slows the processor down.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Throttling {
    /// Whether it did while the test ran.
    pub now: bool,
    /// Times it did since the system started, where it counts them.
    pub events: Option<u64>,
    /// Hottest sensor of the processor.
    pub temperature_c: Option<f64>,
    /// Clock frequency while the test ran, of the greatest.
    pub frequency_ratio: Option<f64>,
}

/// Where power comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// Whether it runs on its battery.
    pub on_battery: bool,
    /// Charge of the battery, 0..1; `None` without battery.
    pub charge_ratio: Option<f64>,
    /// Whether it saves power at the cost of speed; `None`: not told.
    pub saver: Option<bool>,
}

/// A graphics processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Graphics {
    /// As the system names it.
    pub name: String,
    /// Its driver.
    pub driver: Option<String>,
}

/// A codec in hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HardwareCodec {
    /// `h264`, `vp8`, `vp9`, `av1`, `hevc`.
    pub codec: String,
    /// Whether it encodes.
    pub encodes: bool,
    /// Whether it decodes.
    pub decodes: bool,
    /// Who says so: `vaapi`, `v4l2`, `videotoolbox`, …
    pub source: String,
}

/// How many times faster than real time this computer encodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncodeHeadroom {
    /// What for: speech, or video at 30 frames per second of that size.
    #[serde(rename = "use")]
    pub use_: Use,
    /// `opus`, `h264`, `vp8`, …
    pub codec: String,
    /// The encoder: `libopus 1.6.1`, `openh264 2.6`, …
    pub encoder: String,
    /// Real time over the time that encoding took, on one core unless the encoder uses more by itself.
    pub times_real_time: Value<Estimate>,
}

/// Whether the screen can be captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScreenCapture {
    /// Whether it can.
    pub possible: bool,
    /// How, or why not: `xdg-desktop-portal`, `X11`, `no display`, …
    pub how: String,
}

/// What programs may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Granted {
    /// `microphone`, `camera`, `screen`.
    pub what: String,
    /// Whether they may; `None`: the system asks when it comes to it.
    pub granted: Option<bool>,
    /// Who says so: `group audio`, `portal`, `privacy setting`, …
    pub source: String,
}
