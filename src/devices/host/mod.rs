//! The machine itself: what it is, how it was doing while a test ran, whether it keeps up with encoding a call.
//!
//! | module | what |
//! |---|---|
//! | [`linux`] | a [`Host`] that reads what Linux tells in `/proc` and `/sys` |
//! | [`fake`] | a [`Host`] that says what a test wants it to |
//! | [`encode`] | how many times real time this machine encodes |
//!
//! A [`Watch`] is started with the test and ended after it; what it saw is the report's [`Machine`].

pub mod encode;
pub mod fake;
#[cfg(target_os = "linux")]
pub mod linux;

use greenroom_reports::schema::{
    Estimate, Exact, Granted, Graphics, HardwareCodec, Machine, Memory, Power, Processor, ScreenCapture,
    Throttling, Value,
};
use greenroom_reports::trace::HostLoad;

use crate::system::CpuTicks;

/// A machine that can be asked what it is and how it is doing.
///
/// Every answer is a reading of the moment and comes within a second at most. What a system does not tell is `not_tested`
/// with the reason.
pub trait Host: Send {
    /// Its processor.
    fn processor(&self) -> Value<Processor>;
    /// Runnable programs per core, mean of the last minute.
    fn load_per_core(&self) -> Value<Estimate>;
    /// What its cores have done since it started; `None` where the system does not count.
    fn ticks(&self) -> Option<CpuTicks>;
    /// Its memory.
    fn memory(&self) -> Value<Memory>;
    /// How hot it is, and what it does about it.
    fn heat(&self) -> Heat;
    /// Where its power comes from.
    fn power(&self) -> Value<Power>;
    /// Its graphics processors.
    fn graphics(&self) -> Value<Exact<Vec<Graphics>>>;
    /// Codecs that it has in hardware.
    fn hardware_codecs(&self) -> Value<Exact<Vec<HardwareCodec>>>;
    /// Whether a program of this session can capture the screen.
    fn screen_capture(&self) -> Value<ScreenCapture>;
    /// What a program of this session may use.
    fn permissions(&self) -> Value<Exact<Vec<Granted>>>;
    /// Its clock less true time.
    fn clock_offset_ms(&self) -> Value<Estimate>;
}

/// A reading of how hot a machine is, and of what it does about it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Heat {
    /// How often heat has slowed a core down since the start of the system; `None` where nobody counts.
    pub events: Option<u64>,
    /// Whether the system holds the processor back at this moment; `None` where it does not tell.
    pub held_back: Option<bool>,
    /// The hottest sensor of the processor, in degrees Celsius.
    pub temperature_c: Option<f64>,
    /// The fastest core's clock of the fastest that it can be.
    pub frequency_ratio: Option<f64>,
}

impl Heat {
    /// What two readings say of the time between them.
    fn throttling(&self, earlier: &Self) -> Value<Throttling> {
        let risen = self.events.zip(earlier.events).map(|(now, before)| now > before);
        let held = [risen, earlier.held_back, self.held_back];
        if held.iter().all(Option::is_none) {
            return Value::not_tested("this system does not tell whether heat slows the processor down");
        }
        Value::Measured(Throttling {
            now: held.contains(&Some(true)),
            events: self.events,
            temperature_c: self.temperature_c,
            frequency_ratio: self.frequency_ratio,
        })
    }
}

/// This machine.
#[cfg(target_os = "linux")]
pub fn here() -> Box<dyn Host> {
    Box::new(linux::Linux::here())
}

/// This machine, of which nothing can be said yet.
#[cfg(not(target_os = "linux"))]
pub fn here() -> Box<dyn Host> {
    Box::new(fake::FakeHost::unknown("there is no support for this system yet"))
}

/// Watches a machine while a test runs.
pub struct Watch {
    host: Box<dyn Host>,
    machine: Machine,
    heat: Heat,
    ticks: Option<CpuTicks>,
}

/// What a watch saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// The machine. What it encodes is [`encode`]'s to say and left empty.
    pub machine: Machine,
    /// How busy it was meanwhile, this program included; `None` where the system does not count.
    pub load: Option<HostLoad>,
}

impl Watch {
    /// Begins to watch, and asks for all that stays as it is. May take a second where a driver is slow to answer.
    pub fn start(host: Box<dyn Host>) -> Self {
        let (heat, ticks) = (host.heat(), host.ticks());
        let machine = Machine {
            processor: host.processor(),
            // Of the minute before: what the test itself adds is not meant.
            load_per_core: host.load_per_core(),
            power: host.power(),
            graphics: host.graphics(),
            hardware_codecs: host.hardware_codecs(),
            screen_capture: host.screen_capture(),
            permissions: host.permissions(),
            clock_offset_ms: host.clock_offset_ms(),
            ..Machine::not_tested("the test has not ended")
        };
        Self { host, machine, heat, ticks }
    }

    /// Ends at once, and tells what was seen.
    pub fn end(self) -> Watched {
        let Self { host, machine, heat, ticks } = self;
        let load = ticks.and_then(|before| host.ticks()?.since(&before));
        let throttling = host.heat().throttling(&heat);
        Watched { machine: Machine { memory: host.memory(), throttling, ..machine }, load }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::FakeHost;
    use super::*;

    #[test]
    fn heat_that_came_during_the_test_is_seen() {
        let cool = Heat { events: Some(3), temperature_c: Some(60.0), ..Heat::default() };
        let hot = Heat { events: Some(5), temperature_c: Some(97.0), ..cool };
        let told = |before: Heat, after: Heat| after.throttling(&before).measured().copied();
        assert_eq!(told(cool, cool).map(|it| it.now), Some(false));
        let throttled = told(cool, hot).unwrap();
        assert_eq!((throttled.now, throttled.events, throttled.temperature_c), (true, Some(5), Some(97.0)));
        // A system that does not count, but says when it holds back.
        let held = Heat { held_back: Some(true), ..Heat::default() };
        assert_eq!(told(held, Heat { held_back: Some(false), ..held }).map(|it| it.now), Some(true));
        assert_eq!(told(Heat::default(), Heat::default()), None, "a temperature alone decides nothing");
    }

    #[test]
    fn a_watch_tells_the_load_between_its_ends() {
        let mut host = FakeHost::laptop();
        host.ticks = vec![
            CpuTicks::parse("cpu  100 0 0 900 0 0 0 0\ncpu0 0\ncpu1 0\n"),
            CpuTicks::parse("cpu  160 0 0 930 0 0 0 10\ncpu0 0\ncpu1 0\n"),
        ];
        let seen = Watch::start(Box::new(host)).end();
        // By hand: busy 60, idle 30, stolen 10 of 100 ticks.
        assert_eq!(seen.load, Some(HostLoad { busy_ratio: 0.6, steal_ratio: 0.1, cores: 2 }));
        assert_eq!(seen.machine.processor.measured().map(|it| it.threads), Some(8));
        assert!(seen.machine.encode.is_empty());
    }

    #[test]
    fn what_a_system_does_not_tell_is_not_tested() {
        let seen = Watch::start(Box::new(FakeHost::unknown("not here"))).end();
        assert_eq!(
            seen.machine,
            Machine { throttling: seen.machine.throttling.clone(), ..Machine::not_tested("not here") }
        );
        assert!(seen.machine.throttling.measured().is_none());
        assert_eq!(seen.load, None);
    }
}
