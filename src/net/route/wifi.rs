//! The Wi-Fi that an interface is connected to, by nl80211: the kernel's own figures, which anybody may read.

use std::io;

use netlink_packet_core::{
    Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, ParseableParametrized,
};
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use wl_nl80211::{
    Nl80211Attr, Nl80211ChannelWidth, Nl80211Command, Nl80211Message, Nl80211RateInfo, Nl80211StationInfo,
};

use super::Wifi;

/// As long as any part of an answer.
const ANSWER: usize = 32_768;
/// A dump of what one interface is connected to has one part and its end.
const PARTS: usize = 16;

/// Reads what the interface with this number is connected to. `None`: it is no Wi-Fi, or the system does not tell.
pub(super) fn read(index: u32) -> Option<Wifi> {
    match ask(index) {
        Ok(wifi) => wifi,
        Err(error) => {
            tracing::debug!(%error, "the Wi-Fi is not told");
            None
        }
    }
}

fn ask(index: u32) -> io::Result<Option<Wifi>> {
    let socket = Socket::new(NETLINK_GENERIC)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // The kernel answers within the call that asks: there is nothing to wait for.
    socket.set_non_blocking(true)?;
    let Some(family) = family(&socket)? else { return Ok(None) };
    let of = |cmd, flags| {
        let message = Nl80211Message { cmd, attributes: vec![Nl80211Attr::IfIndex(index)] };
        let mut question = GenlMessage::from_payload(message);
        question.set_resolved_family_id(family);
        exchange(&socket, question, flags)
    };
    let interface = of(Nl80211Command::GetInterface, NLM_F_REQUEST)?;
    let station = of(Nl80211Command::GetStation, NLM_F_REQUEST | NLM_F_DUMP)?;
    let attributes = |answers: Vec<GenlMessage<Nl80211Message>>| {
        answers.into_iter().next().map(|answer| answer.payload.attributes).unwrap_or_default()
    };
    let (interface, station) = (attributes(interface), attributes(station));
    Ok((!interface.is_empty()).then(|| wifi(&interface, &station)))
}

/// The number that this kernel gave to nl80211. `None`: it has no Wi-Fi at all.
fn family(socket: &Socket) -> io::Result<Option<u16>> {
    let name = GenlCtrlAttrs::FamilyName("nl80211".to_owned());
    let question = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] });
    let answers = match exchange(socket, question, NLM_F_REQUEST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        answers => answers?,
    };
    let attributes = answers.into_iter().flat_map(|answer| answer.payload.nlas);
    Ok(attributes.into_iter().find_map(|attribute| match attribute {
        GenlCtrlAttrs::FamilyId(id) => Some(id),
        _ => None,
    }))
}

/// Asks, and gives every answer up to the end.
fn exchange<F>(socket: &Socket, mut question: GenlMessage<F>, flags: u16) -> io::Result<Vec<GenlMessage<F>>>
where
    F: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + std::fmt::Debug,
{
    question.finalize();
    let mut message = NetlinkMessage::from(question);
    message.header.flags = flags;
    message.finalize();
    let mut octets = vec![0; message.buffer_len()];
    message.serialize(&mut octets);
    socket.send(&octets, 0)?;
    let mut answers = Vec::new();
    for _ in 0..PARTS {
        let mut part = Vec::with_capacity(ANSWER);
        socket.recv(&mut part, 0)?;
        let mut rest = part.as_slice();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<GenlMessage<F>>::deserialize(rest).map_err(io::Error::other)?;
            let length = usize::try_from(answer.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
            rest = rest.get(length.max(4)..).unwrap_or_default();
            match answer.payload {
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Done(_) => return Ok(answers),
                _ => {}
            }
        }
        if flags & NLM_F_DUMP != NLM_F_DUMP {
            return Ok(answers);
        }
    }
    Err(io::Error::other("its answer has no end"))
}

fn wifi(interface: &[Nl80211Attr], station: &[Nl80211Attr]) -> Wifi {
    let mut found = Wifi::default();
    for attribute in interface {
        match attribute {
            Nl80211Attr::Ssid(name) => found.ssid = Some(name.clone()),
            Nl80211Attr::WiphyFreq(mhz) => found.frequency_mhz = Some(*mhz),
            Nl80211Attr::ChannelWidth(width) => found.width_mhz = width_mhz(*width),
            _ => {}
        }
    }
    let facts = station.iter().filter_map(|attribute| match attribute {
        Nl80211Attr::StationInfo(facts) => Some(facts),
        _ => None,
    });
    for fact in facts.flatten() {
        match fact {
            Nl80211StationInfo::Signal(dbm) if found.signal_dbm.is_none() => found.signal_dbm = Some(*dbm),
            // One frame's strength jumps about by several dB.
            Nl80211StationInfo::SignalAvg(dbm) => found.signal_dbm = Some(*dbm),
            Nl80211StationInfo::TxBitrate(rate) => found.tx_rate_kbps = kbps(rate),
            Nl80211StationInfo::RxBitrate(rate) => found.rx_rate_kbps = kbps(rate),
            Nl80211StationInfo::TxPackets(n) => found.tx_packets = Some(*n),
            Nl80211StationInfo::TxRetries(n) => found.tx_retries = Some(*n),
            Nl80211StationInfo::TxFailed(n) => found.tx_failed = Some(*n),
            _ => {}
        }
    }
    found
}

/// A rate stands there in two widths, each in units of 100 kbit/s; the wider one says all.
fn kbps(rate: &[Nl80211RateInfo]) -> Option<u32> {
    let wide = rate.iter().find_map(|part| match part {
        Nl80211RateInfo::Bitrate32(n) => Some(*n),
        _ => None,
    });
    let narrow = rate.iter().find_map(|part| match part {
        Nl80211RateInfo::Bitrate(n) => Some(u32::from(*n)),
        _ => None,
    });
    wide.or(narrow)?.checked_mul(100)
}

const fn width_mhz(width: Nl80211ChannelWidth) -> Option<u32> {
    match width {
        Nl80211ChannelWidth::NoHt20 => Some(20),
        Nl80211ChannelWidth::Mhz80Plus80 => Some(160),
        Nl80211ChannelWidth::Mhz(mhz) => Some(mhz),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_counts_and_the_wider_rate() {
        let interface = [
            Nl80211Attr::SsidRaw(b"home".to_vec()),
            Nl80211Attr::Ssid("home".to_owned()),
            Nl80211Attr::WiphyFreq(5_180),
            Nl80211Attr::ChannelWidth(Nl80211ChannelWidth::Mhz(80)),
        ];
        let station = [Nl80211Attr::StationInfo(vec![
            Nl80211StationInfo::SignalAvg(-61),
            Nl80211StationInfo::Signal(-55),
            Nl80211StationInfo::TxBitrate(vec![
                Nl80211RateInfo::Bitrate(1),
                Nl80211RateInfo::Bitrate32(8_667),
            ]),
            Nl80211StationInfo::RxBitrate(vec![Nl80211RateInfo::Bitrate(60)]),
            Nl80211StationInfo::TxRetries(7),
        ])];
        let expected = Wifi {
            ssid: Some("home".to_owned()),
            frequency_mhz: Some(5_180),
            width_mhz: Some(80),
            signal_dbm: Some(-61),
            tx_rate_kbps: Some(866_700),
            rx_rate_kbps: Some(6_000),
            tx_packets: None,
            tx_retries: Some(7),
            tx_failed: None,
        };
        assert_eq!(wifi(&interface, &station), expected);
        assert_eq!(wifi(&interface[..1], &[]), Wifi::default());
    }

    #[test]
    fn an_interface_that_is_no_wifi_has_none() {
        let loopback = nix::net::if_::if_nametoindex("lo").unwrap();
        assert_eq!(read(loopback), None);
        assert_eq!(read(u32::MAX), None);
    }
}
