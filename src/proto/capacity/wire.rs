//! The packets of a capacity stage: load one way, reports the other.

use super::load::LoadPacket;
use crate::proto::stamp::{
    CapacityReport, MacKey, MediaKind, MediaTlv, Mode, SenderPacket, TlvWriter, tlv::HEADER_LEN,
};

/// UDP payload of the longest report: fixed part, capacity TLV, HMAC TLV.
pub(super) const REPORT_PAYLOAD: u16 = 112 + 4 + 128 + 4 + 16;
const _: () = assert!(CapacityReport::MAX_LEN == 128 && HEADER_LEN == 4);

/// Writes a packet of load, `headers` octets of IP and UDP less than its size at the IP layer.
pub(crate) fn write_load(
    base: SenderPacket,
    packet: LoadPacket,
    headers: u16,
    key: &MacKey,
    out: &mut Vec<u8>,
) {
    out.clear();
    base.write(Mode::Authenticated, out);
    let mut tlvs = TlvWriter::new(out);
    tlvs.media(MediaTlv {
        stream: packet.stream,
        kind: MediaKind::Capacity,
        key_frame: false,
        frame: 0,
        rate: packet.offered,
    });
    tlvs.hmac();
    tlvs.pad_to(usize::from(packet.ip_bytes.saturating_sub(headers)));
    key.sign(out);
}

/// Writes a report.
pub(crate) fn write_report(base: SenderPacket, report: &CapacityReport, key: &MacKey, out: &mut Vec<u8>) {
    out.clear();
    base.write(Mode::Authenticated, out);
    let mut tlvs = TlvWriter::new(out);
    tlvs.capacity(report);
    tlvs.hmac();
    key.sign(out);
}
