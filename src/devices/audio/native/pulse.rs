//! What the sound server knows of its devices and `cpal` does not pass on: muted, volume, how attached, monitor of what.

use std::ffi::{CStr, CString};
use std::sync::Mutex;

use greenroom_reports::schema::Connection;
use pulseaudio::protocol::{
    ChannelVolume, Prop, Props, SampleSpec, SinkFlags, SinkState, SourceFlags, SourceState, Volume,
};
use pulseaudio::{Client, ClientError};

use super::bounded::{LISTING, bounded};
use crate::devices::audio::{AudioDevice, Format, Role};
use crate::devices::error::{DeviceError, Fault, Permission};

const SERVER: &str = "PulseAudio";
/// How a server is called in an error, in place of a device.
const DEVICES: &str = "the sound devices";

/// A connection that is kept: the client library never ends the thread of one that is dropped.
#[derive(Debug, Default)]
pub(super) struct Server {
    client: Mutex<Option<Client>>,
}

/// A device of the server, and the card of the kernel that it is.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) device: AudioDevice,
    /// ALSA's card number and device, for what is a card of the kernel.
    pub(super) card: Option<(u32, u32)>,
}

/// What the server lists.
#[derive(Debug, Default)]
pub(super) struct ServedList {
    pub(super) devices: Vec<Served>,
    /// What it shows when it has no sound card at all, so that programs do not fail: left out.
    pub(super) stand_ins: u64,
}

impl Server {
    /// The devices of the server; `None` without a server.
    ///
    /// # Errors
    ///
    /// There is a server, and it does not answer or turned us away.
    pub(super) fn devices(&self) -> Result<Option<ServedList>, DeviceError> {
        if pulseaudio::socket_path_from_env().is_none() {
            return match server_is_asked_for() {
                true => Err(server_down("there is nothing at the address in PULSE_SERVER")),
                false => Ok(None),
            };
        }
        let known = self.lock().clone();
        let kept = known.is_some();
        match ask(known) {
            Ok((client, devices)) => {
                *self.lock() = Some(client);
                Ok(Some(devices))
            }
            Err(Silence::Ended(_)) if kept => {
                // The server may have been restarted since.
                *self.lock() = None;
                self.devices()
            }
            Err(silence) => {
                *self.lock() = None;
                Err(silence.into_error())
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Client>> {
        self.client.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn server_is_asked_for() -> bool {
    std::env::var_os("PULSE_SERVER").is_some_and(|server| !server.is_empty())
}

fn server_down(detail: &str) -> DeviceError {
    DeviceError::new(Fault::ServerDown { server: SERVER.to_owned() }, DEVICES).with_detail(detail)
}

/// Why there was no answer.
enum Silence {
    /// The connection ended, or the server said no.
    Ended(DeviceError),
    /// Nothing came in time: asking again would only take as long again.
    Hung(DeviceError),
}

impl Silence {
    fn into_error(self) -> DeviceError {
        match self {
            Self::Ended(error) | Self::Hung(error) => error,
        }
    }
}

fn ask(client: Option<Client>) -> Result<(Client, ServedList), Silence> {
    let asked = bounded(DEVICES, LISTING, move || {
        let client = client.map_or_else(|| Client::from_env(c"greenroom"), Ok)?;
        let devices = fetch(&client)?;
        Ok((client, devices))
    });
    match asked {
        Ok(answer) => answer.map_err(|error: ClientError| Silence::Ended(said(&error))),
        Err(DeviceError { fault: Fault::Stalled { after }, .. }) => {
            Err(Silence::Hung(server_down(&format!("no answer for {after}"))))
        }
        Err(crashed) => Err(Silence::Hung(crashed)),
    }
}

fn fetch(client: &Client) -> Result<ServedList, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (server, sources, sinks) = runtime.block_on(async {
        Ok::<_, ClientError>((
            client.server_info().await?,
            client.list_sources().await?,
            client.list_sinks().await?,
        ))
    })?;
    let is_default = |name: &CString, default: &Option<CString>| default.as_ref() == Some(name);
    let microphones = sources.iter().map(|source| Served {
        device: AudioDevice {
            id: format!("pulseaudio:{}", text(&source.name)),
            name: source.description.as_deref().map_or_else(|| text(&source.name), text),
            role: Role::Microphone,
            is_default: is_default(&source.name, &server.default_source_name),
            is_monitor: source.monitor_of_sink_index.is_some(),
            attached: attached(
                &source.props,
                source.flags.contains(SourceFlags::HARDWARE),
                source.flags.contains(SourceFlags::NETWORK),
            ),
            format: Some(format_of(&source.sample_spec)),
            muted: Some(source.muted),
            volume_ratio: volume_ratio(&source.cvolume),
            suspended: Some(source.state == SourceState::Suspended),
        },
        card: card(&source.props),
    });
    let speakers = sinks.iter().map(|sink| Served {
        device: AudioDevice {
            id: format!("pulseaudio:{}", text(&sink.name)),
            name: sink.description.as_deref().map_or_else(|| text(&sink.name), text),
            role: Role::Speaker,
            is_default: is_default(&sink.name, &server.default_sink_name),
            is_monitor: false,
            attached: attached(
                &sink.props,
                sink.flags.contains(SinkFlags::HARDWARE),
                sink.flags.contains(SinkFlags::NETWORK),
            ),
            format: Some(format_of(&sink.sample_spec)),
            muted: Some(sink.muted),
            volume_ratio: volume_ratio(&sink.cvolume),
            suspended: Some(sink.state == SinkState::Suspended),
        },
        card: card(&sink.props),
    });
    let is_stand_in = |served: &Served| {
        let id = served.device.id.as_str();
        id == "pulseaudio:auto_null" || id == "pulseaudio:auto_null.monitor"
    };
    let (stand_ins, devices): (Vec<Served>, Vec<Served>) = microphones.chain(speakers).partition(is_stand_in);
    Ok(ServedList { devices, stand_ins: u64::try_from(stand_ins.len()).unwrap_or(u64::MAX) })
}

fn said(error: &ClientError) -> DeviceError {
    use pulseaudio::protocol::PulseError;
    let fault = match error {
        ClientError::ServerError(PulseError::AccessDenied | PulseError::AuthKey) => {
            Fault::Permission(Permission::Server { server: SERVER.to_owned() })
        }
        ClientError::Io(io) if io.kind() == std::io::ErrorKind::PermissionDenied => {
            Fault::Permission(Permission::Server { server: SERVER.to_owned() })
        }
        _ => Fault::ServerDown { server: SERVER.to_owned() },
    };
    let detail = match error {
        ClientError::Io(io) => io.to_string(),
        ClientError::Protocol(protocol) => protocol.to_string(),
        other => other.to_string(),
    };
    DeviceError::new(fault, DEVICES).with_detail(detail)
}

fn text(name: &(impl AsRef<CStr> + ?Sized)) -> String {
    name.as_ref().to_string_lossy().into_owned()
}

fn format_of(spec: &SampleSpec) -> Format {
    Format { rate_hz: spec.sample_rate, channels: u16::from(spec.channels) }
}

/// The mixer's slider, as mixers show it: 1 is 100 %.
fn volume_ratio(volume: &ChannelVolume) -> Option<f64> {
    let loudest = volume.channels().iter().map(Volume::as_u32).max()?;
    Some(f64::from(loudest) / f64::from(Volume::NORM.as_u32()))
}

fn attached(props: &Props, is_hardware: bool, is_network: bool) -> Option<Connection> {
    match (property(props, Prop::DeviceBus.to_c_str()).as_deref(), is_hardware, is_network) {
        (Some("usb"), ..) => Some(Connection::Usb),
        (Some("bluetooth"), ..) => Some(Connection::Bluetooth),
        (Some(_), ..) => Some(Connection::BuiltIn),
        (None, _, true) => Some(Connection::Network),
        (None, false, false) => Some(Connection::Virtual),
        (None, true, false) => None,
    }
}

fn card(props: &Props) -> Option<(u32, u32)> {
    let number = |key: &CStr| property(props, key)?.parse().ok();
    Some((number(c"alsa.card")?, number(c"alsa.device")?))
}

fn property(props: &Props, key: &CStr) -> Option<String> {
    let value = props.get_bytes(key)?;
    let value = value.strip_suffix(&[0]).unwrap_or(value);
    Some(String::from_utf8_lossy(value).into_owned())
}
