use std::net::SocketAddr;

use greenroom::proto::nat::{Discovery, NatConfig, Socket};
use greenroom_reports::units::Micros;

/// Hands the input to a run as the server's answer to each question that it has by then, as it is and with the question's transaction.
/// Nobody must be sent more than 20 packets a second, nor to where no server can be.
pub(crate) fn drive(data: &[u8]) {
    let server = SocketAddr::from(([192, 0, 2, 1], 3478));
    let mut run = Discovery::new(NatConfig {
        server,
        second: None,
        local: Some(SocketAddr::from(([10, 0, 0, 2], 40_000))),
        start: Micros::ZERO,
        lifetime: Some(Micros::from_secs(10)),
        secret: [1; 16],
    });
    let (mut now, mut sent) = (Micros::ZERO, 0_i64);
    while now < Micros::from_secs(2) && !run.is_finished() {
        if let Some(out) = run.next(now) {
            sent += 1;
            let strange = out.to.ip().is_multicast() || out.to.ip().is_unspecified() || out.to.port() == 0;
            assert!(!strange, "{}", out.to);
            let mut answer = data.to_vec();
            if let Some((own, id)) = answer.get_mut(8..20).zip(out.octets.get(8..20)) {
                own.copy_from_slice(id);
            }
            run.take(now, out.socket, out.to, &answer);
            run.take(now, Socket::Neighbor, server, data);
        }
        now += Micros::from_millis(10);
    }
    assert!(sent <= 41, "{sent}");
    let _ = (run.mapping(), run.filtering(), run.hairpinning(), run.lifetime(), run.exchanges());
    assert!(run.software().is_none_or(|name| name.chars().count() <= 127));
}
