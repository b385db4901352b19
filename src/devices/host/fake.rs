//! A machine that says what a test wants it to.

use std::cell::Cell;

use greenroom_reports::schema::{
    Estimate, Exact, Granted, Graphics, HardwareCodec, Machine, Memory, Power, Processor, ScreenCapture,
    Value,
};

use super::{Heat, Host};
use crate::system::CpuTicks;

/// A machine that says what a test wants it to.
#[derive(Debug, Clone)]
pub struct FakeHost {
    /// What it says of itself, apart from heat.
    pub machine: Machine,
    /// Its readings of heat, one after the other; the last one stays.
    pub heat: Vec<Heat>,
    /// What its cores have done, likewise.
    pub ticks: Vec<Option<CpuTicks>>,
    heat_read: Cell<usize>,
    ticks_read: Cell<usize>,
}

impl FakeHost {
    /// A machine of which nothing is known, for `reason`.
    pub fn unknown(reason: &str) -> Self {
        Self {
            machine: Machine::not_tested(reason),
            heat: vec![Heat::default()],
            ticks: vec![None],
            heat_read: Cell::new(0),
            ticks_read: Cell::new(0),
        }
    }

    /// A healthy laptop on its charger.
    pub fn laptop() -> Self {
        const GIB: u64 = 1 << 30;
        let processor = Processor {
            model: Some("Fake Core i5 at 2.40 GHz".to_owned()),
            cores: Some(4),
            threads: 8,
            virtual_machine: Some(false),
        };
        let memory = Memory { total_bytes: 16 * GIB, available_bytes: 9 * GIB, pressure_ratio: Some(0.0) };
        let power = Power { on_battery: false, charge_ratio: Some(0.8), saver: Some(false) };
        let codec = HardwareCodec {
            codec: "h264".to_owned(),
            encodes: true,
            decodes: true,
            source: "vaapi".to_owned(),
        };
        let capture = ScreenCapture { possible: true, how: "X11".to_owned() };
        let graphics = Graphics { name: "Fake Graphics".to_owned(), driver: Some("fake".to_owned()) };
        let granted = |what: &str| Granted {
            what: what.to_owned(),
            granted: Some(true),
            source: format!("group {what}"),
        };
        let machine = Machine {
            processor: Value::Measured(processor),
            load_per_core: Value::estimate(0.2, 1),
            memory: Value::Measured(memory),
            power: Value::Measured(power),
            graphics: Value::exact(vec![graphics]),
            hardware_codecs: Value::exact(vec![codec]),
            screen_capture: Value::Measured(capture),
            permissions: Value::exact(vec![granted("microphone"), granted("camera")]),
            clock_offset_ms: Value::estimate(0.4, 1),
            ..Machine::not_tested("made up")
        };
        let heat = Heat { events: Some(0), temperature_c: Some(55.0), ..Heat::default() };
        Self { machine, heat: vec![heat], ..Self::unknown("made up") }
    }
}

/// The next of a row of readings; the last one again and again.
fn next<T: Copy + Default>(readings: &[T], read: &Cell<usize>) -> T {
    let at = read.replace(read.get() + 1);
    readings.get(at).or(readings.last()).copied().unwrap_or_default()
}

impl Host for FakeHost {
    fn processor(&self) -> Value<Processor> {
        self.machine.processor.clone()
    }

    fn load_per_core(&self) -> Value<Estimate> {
        self.machine.load_per_core.clone()
    }

    fn ticks(&self) -> Option<CpuTicks> {
        next(&self.ticks, &self.ticks_read)
    }

    fn memory(&self) -> Value<Memory> {
        self.machine.memory.clone()
    }

    fn heat(&self) -> Heat {
        next(&self.heat, &self.heat_read)
    }

    fn power(&self) -> Value<Power> {
        self.machine.power.clone()
    }

    fn graphics(&self) -> Value<Exact<Vec<Graphics>>> {
        self.machine.graphics.clone()
    }

    fn hardware_codecs(&self) -> Value<Exact<Vec<HardwareCodec>>> {
        self.machine.hardware_codecs.clone()
    }

    fn screen_capture(&self) -> Value<ScreenCapture> {
        self.machine.screen_capture.clone()
    }

    fn permissions(&self) -> Value<Exact<Vec<Granted>>> {
        self.machine.permissions.clone()
    }

    fn clock_offset_ms(&self) -> Value<Estimate> {
        self.machine.clock_offset_ms.clone()
    }
}
