use greenroom::proto::machine::{Arrival, Machine};
use greenroom::proto::reflector::{OpenStamp, Reflector, ReflectorConfig, SessionConfig};
use greenroom::proto::sender::{AudioPlan, Sender, SenderConfig};
use greenroom::proto::stamp::{SessionKey, TimestampFormat, WallAnchor};
use greenroom_reports::trace::ClockInfo;
use greenroom_reports::units::{Bitrate, Micros};

/// SSID of the session that both have.
const SSID: u16 = 0x0102;

/// Hands the input to a reflector and a sender, as it is and signed with the session's key. The reflector must never send
/// more than it received.
pub(crate) fn drive(data: &[u8]) {
    let key = SessionKey::new([0x5a; 32]);
    let (client, endpoint) = ("192.0.2.1:40000", "198.51.100.1:7444");
    let parse = |text: &str| text.parse().expect("an address");
    let mut reflector = Reflector::new(ReflectorConfig {
        anchor: WallAnchor::default(),
        timestamps: TimestampFormat::Ntp,
        clock: ClockInfo::default(),
        secret: [9; 32],
        open: OpenStamp::Stateful,
        log_cap: 1_000,
    });
    let session = SessionConfig {
        ssid: SSID,
        key: key.clone(),
        expires: Micros::from_secs(10),
        max_pps: 1_000,
        max_bitrate: Bitrate::from_kbps(8_000),
    };
    reflector.open_session(Micros::ZERO, &session).expect("the first");
    let mut sender = Sender::new(
        SenderConfig {
            reflector: parse(endpoint),
            ssid: SSID,
            key: key.clone(),
            anchor_here: WallAnchor::default(),
            anchor_there: WallAnchor::default(),
            timestamps_there: TimestampFormat::Ntp,
            clock: ClockInfo::default(),
            validate_until: Micros::from_secs(2),
            audio: AudioPlan { start_phase: Micros::ZERO, duration: Micros::from_secs(1), tos: 0 },
            straggler_wait: Micros::from_secs(1),
        },
        Micros::ZERO,
    );
    let mut out = Vec::new();
    while sender.poll_transmit(Micros::ZERO, &mut out).is_some() {}
    let (mut up, mut down) = (data.to_vec(), data.to_vec());
    for packet in [&mut up, &mut down] {
        if let Some(ssid) = packet.get_mut(26..28) {
            ssid.copy_from_slice(&SSID.to_be_bytes());
        }
    }
    key.up().sign(&mut up);
    key.down().sign(&mut down);
    let arrival = Arrival { from: parse(client), at: Micros::ZERO, kernel: true, tos: Some(3), ttl: Some(9) };
    for packet in [data, &up] {
        reflector.handle_datagram(Micros::ZERO, &arrival, packet);
        let mut sent = 0;
        while reflector.poll_transmit(Micros::ZERO, &mut out).is_some() {
            sent += out.len();
        }
        assert!(sent <= packet.len(), "{sent} octets for {}", packet.len());
    }
    let arrival = Arrival { from: parse(endpoint), ..arrival };
    for packet in [data, &down] {
        sender.handle_datagram(Micros::ZERO, &arrival, packet);
        while sender.poll_transmit(Micros::ZERO, &mut out).is_some() {}
    }
    let _ = reflector.drain_log(Micros::from_secs(1), SSID, true);
}
