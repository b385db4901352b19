use std::net::SocketAddr;

use greenroom::address::Credentials;
use greenroom::proto::machine::{Arrival, Machine as _};
use greenroom::proto::stun::prober::{Prober, ProberConfig};
use greenroom::proto::stun::{Message, TransactionId};
use greenroom::proto::turn::{Ask, Client, Deframer, channel_data};
use greenroom_reports::units::Micros;

/// Reads the input as a STUN message, as what a TURN server sends, and hands it to a prober as an answer to a question of its own.
pub(crate) fn drive(data: &[u8]) {
    if let Ok(message) = Message::parse(data) {
        let _ = (message.mapped_address(), message.error_code(), message.software());
        let _ = (message.fingerprint(), message.integrity(b"key"), message.is_binding_answer());
    }
    let server = SocketAddr::from(([192, 0, 2, 1], 3478));
    // The transaction of the input, so that it gets as far as an answer can.
    let id = data.get(8..20).and_then(|id| id.try_into().ok()).map_or(TransactionId([0; 12]), TransactionId);
    relay(id, data);
    let mut prober = Prober::new(ProberConfig {
        server,
        ids: vec![id],
        start: Micros::ZERO,
        interval: Micros::from_millis(50),
        patience: Micros::from_secs(3),
        give_up: Micros::from_secs(3),
    });
    let mut payload = Vec::new();
    assert!(prober.poll_transmit(Micros::ZERO, &mut payload).is_some());
    let at = Micros::from_millis(1);
    let arrival = Arrival { from: server, at, kernel: true, tos: None, ttl: None };
    prober.handle_datagram(at, &arrival, data);
    assert_eq!(prober.exchanges().len(), 1);
    assert!(prober.seen().software.as_ref().is_none_or(|name| name.chars().count() <= 127));
}

/// As what a TURN server sends, in datagrams and in a stream.
fn relay(id: TransactionId, data: &[u8]) {
    let mut client = Client::new(Credentials::new("user", "password"));
    for ask in [Ask::Allocate, Ask::Refresh(0), Ask::CreatePermission(([192, 0, 2, 1], 1).into())] {
        if let Ok(message) = Message::parse(data) {
            let _ = client.answer(ask, id, &message);
        }
        assert!(Message::parse(&client.request(ask, id)).is_ok());
    }
    let _ = channel_data(data);
    let mut deframer = Deframer::default();
    deframer.push(data);
    while let Ok(Some(_)) = deframer.pop() {}
}
