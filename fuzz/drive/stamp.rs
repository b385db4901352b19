use greenroom::proto::stamp::tlv::{ClassOfService, FollowUp, MediaTlv, NonceTlv, TimestampInfo, Tlvs};
use greenroom::proto::stamp::{Mode, ReflectorPacket, SenderPacket, SessionKey, WallAnchor};

/// Reads the input as every kind of STAMP packet; what reads must write back to the same octets.
pub(crate) fn drive(data: &[u8]) {
    let key = SessionKey::new([0x5a; 32]);
    let _ = key.up().verify(data);
    for mode in [Mode::Open, Mode::Authenticated] {
        if let Ok((packet, tlvs)) = SenderPacket::parse(mode, data) {
            let mut again = Vec::new();
            packet.write(mode, &mut again);
            assert_eq!(SenderPacket::parse(mode, &again), Ok((packet, &[][..])));
            let _ = packet.timestamp.decode(WallAnchor::default(), packet.error.format);
            let _ = packet.error.error();
            walk(tlvs);
        }
        if let Ok((packet, _)) = ReflectorPacket::parse(mode, data) {
            let mut again = data.to_vec();
            packet.overwrite(mode, &mut again).expect("as long as before");
            assert_eq!(ReflectorPacket::parse(mode, &again).map(|(it, _)| it), Ok(packet));
        }
    }
    let mut signed = data.to_vec();
    key.up().sign(&mut signed);
    assert_eq!(signed.len(), data.len());
}

fn walk(tlvs: &[u8]) {
    for tlv in Tlvs::new(tlvs).map_while(Result::ok) {
        if let Some(it) = ClassOfService::parse(tlv.value) {
            assert_eq!(ClassOfService::parse(&it.to_octets()), Some(it));
        }
        if let Some(it) = FollowUp::parse(tlv.value) {
            assert_eq!(FollowUp::parse(&it.to_octets()), Some(it));
        }
        if let Some(it) = TimestampInfo::parse(tlv.value) {
            assert_eq!(TimestampInfo::parse(&it.to_octets()), Some(it));
        }
        if let Some(it) = NonceTlv::parse(tlv.value) {
            assert_eq!(NonceTlv::parse(&it.to_octets()), Some(it));
        }
        if let Some(it) = MediaTlv::parse(tlv.value) {
            assert_eq!(MediaTlv::parse(&it.to_octets()), Some(it));
        }
    }
}
