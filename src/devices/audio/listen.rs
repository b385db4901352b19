//! Listening to a microphone for a while, whatever happens to it meanwhile.

use std::ops::ControlFlow;

use greenroom_reports::schema::{DeviceInfo, SoundStream, Value};
use greenroom_reports::units::Micros;

use super::{AudioDevice, AudioInput, AudioSystem, Block, Opened};
use crate::devices::error::{DeviceError, Fault};

/// How long the first block may take: a device that sleeps, or a Bluetooth headset that changes its mode, takes two seconds.
pub const FIRST_BLOCK: Micros = Micros::from_secs(3);
/// How long any later one may take.
pub const NEXT_BLOCK: Micros = Micros::from_secs(2);
/// What a device delivers first is not judged: converters settle, servers fill their buffers.
pub const SETTLING: Micros = Micros::from_millis(100);

/// Somebody who hears what a microphone delivers, while it does.
pub trait Ear {
    /// The microphone is open.
    fn opened(&mut self, opened: Opened);

    /// It delivered. `Break` ends the listening.
    fn hear(&mut self, block: &Block) -> ControlFlow<()>;
}

/// Nobody listens live.
impl Ear for () {
    fn opened(&mut self, _opened: Opened) {}

    fn hear(&mut self, _block: &Block) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// How the listening went.
#[derive(Debug, Clone, PartialEq)]
pub struct Listened {
    /// As what it was opened.
    pub opened: Opened,
    /// From being opened to the first block. `None`: none came.
    pub first_after: Option<Micros>,
    /// How long it ran.
    pub ran: Micros,
    /// Losses that the driver reported.
    pub overruns: u64,
    /// What ended it before its time.
    pub failure: Option<DeviceError>,
}

/// Opens a microphone that delivers, listens for `lasting` from its first block, and closes it.
///
/// # Errors
///
/// It could not be opened. What happens later stands in [`Listened::failure`].
pub fn listen(
    system: &dyn AudioSystem,
    device: &AudioDevice,
    lasting: Micros,
    ears: &mut [&mut dyn Ear],
) -> Result<Listened, DeviceError> {
    let asked_at = system.now();
    let mut input = system.open_input(device, super::Want::default())?;
    let opened = input.opened();
    for ear in ears.iter_mut() {
        ear.opened(opened);
    }
    let mut listened =
        Listened { opened, first_after: None, ran: Micros::default(), overruns: 0, failure: None };
    if let Err(error) = follow(system, input.as_mut(), lasting, asked_at, ears, &mut listened) {
        listened.failure = Some(error);
    }
    input.stop();
    listened.ran = system.now() - asked_at;
    // Sound servers move a stream elsewhere when its device is pulled out, and say nothing.
    if listened.failure.is_none() {
        listened.failure = went_away(system, device);
    }
    Ok(listened)
}

fn follow(
    system: &dyn AudioSystem,
    input: &mut dyn AudioInput,
    lasting: Micros,
    asked_at: Micros,
    ears: &mut [&mut dyn Ear],
    listened: &mut Listened,
) -> Result<(), DeviceError> {
    let mut wait = FIRST_BLOCK;
    let mut until = None;
    while until.is_none_or(|until| system.now() < until) {
        let block = input.next(wait)?;
        wait = NEXT_BLOCK;
        listened.overruns += u64::from(block.overruns);
        listened.first_after.get_or_insert(block.arrived - asked_at);
        until.get_or_insert(block.arrived + lasting);
        for ear in ears.iter_mut() {
            if ear.hear(&block).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Whether a device that was in use is not listed any more.
pub(super) fn went_away(system: &dyn AudioSystem, device: &AudioDevice) -> Option<DeviceError> {
    match system.devices() {
        Ok(devices) if devices.iter().any(|other| other.id == device.id && other.role == device.role) => None,
        Ok(_) => Some(DeviceError::new(Fault::Disconnected, device.title())),
        Err(error) => Some(error),
    }
}

impl AudioDevice {
    /// What a report says of it.
    pub fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: Some(self.id.clone()),
            name: Some(self.name.clone()),
            default: self.is_default,
            connection: fact(self.attached, "the system does not tell how it is connected"),
        }
    }

    /// The system that it was found by.
    pub fn backend(&self) -> String {
        self.id.split_once(':').map_or("unknown", |(backend, _)| backend).to_owned()
    }

    /// As what it was open, for a report.
    pub(super) fn stream(
        &self,
        opened: Opened,
        first_after: Option<Micros>,
        ran: Micros,
        xruns: u64,
    ) -> SoundStream {
        SoundStream {
            backend: self.backend(),
            rate_hz: opened.format.rate_hz,
            channels: opened.format.channels,
            format: opened.form.to_owned(),
            buffer_frames: (opened.block_frames > 0).then_some(opened.block_frames),
            first_ms: first_after.map(Micros::as_ms),
            ran_ms: ran.as_ms(),
            xruns,
        }
    }
}

/// A fact that the system may not tell.
pub(super) fn fact<T>(value: Option<T>, why_not: &str) -> Value<greenroom_reports::schema::Exact<T>> {
    value.map_or_else(|| Value::not_tested(why_not), Value::exact)
}
