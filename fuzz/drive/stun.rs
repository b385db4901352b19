use std::net::SocketAddr;

use greenroom::proto::machine::{Arrival, Machine as _};
use greenroom::proto::stun::prober::{Prober, ProberConfig};
use greenroom::proto::stun::{Message, TransactionId};
use greenroom_reports::units::Micros;

/// Reads the input as a STUN message, and hands it to a prober as an answer to a question of its own.
pub(crate) fn drive(data: &[u8]) {
    if let Ok(message) = Message::parse(data) {
        let _ = (message.mapped_address(), message.error_code(), message.software());
        let _ = (message.fingerprint(), message.integrity(b"key"), message.is_binding_answer());
    }
    let server = SocketAddr::from(([192, 0, 2, 1], 3478));
    // The transaction of the input, so that it gets as far as an answer can.
    let id = data.get(8..20).and_then(|id| id.try_into().ok()).map_or(TransactionId([0; 12]), TransactionId);
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
