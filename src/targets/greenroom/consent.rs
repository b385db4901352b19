//! Asking an endpoint for a session: what is asked for, and every way to be turned away.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use greenroom_reports::schema::Identity;
use greenroom_reports::trace::PhaseKind;
use greenroom_reports::units::{Bitrate, Micros};
use greenroom_reports::verdict::TargetFailure;

use super::link::Link;
use crate::address::Token;
use crate::net::link;
use crate::plan::{Against, Plan};
use crate::proto::capacity::packets_for;
use crate::proto::control::{
    Accept, ClientInfo, Frame, Hello, Limits, ProbeCarrier, Refuse, RefuseCode, SearchWish, VERSION,
};

/// How long the endpoint may take to answer.
const CONSENT: Duration = Duration::from_millis(1_500);

/// Asks for a session. The token goes along if there is one and the endpoint may have it.
pub(super) async fn ask(
    carrier: link::Link,
    plan: &Plan,
    identity: Identity,
    probes: ProbeCarrier,
) -> Result<(Accept, Link), TargetFailure> {
    let token = token_for(&plan.against, identity)?;
    let mut link = Link::new(carrier);
    let asked = async {
        link.tell(&Frame::Hello(Hello { probes, ..hello(plan, token) })).await;
        link.next().await
    };
    let answer = tokio::time::timeout(CONSENT, asked).await.map_err(|_| TargetFailure::Died)?;
    match answer {
        Some(Frame::Accept(accept)) if accept.version == VERSION => Ok((*accept, link)),
        Some(Frame::Accept(accept)) => Err(TargetFailure::ProtocolVersion {
            theirs: Some(accept.version.to_string()),
            ours: VERSION.to_string(),
        }),
        Some(Frame::Refuse(refuse)) => Err(refusal(refuse)),
        Some(_) => Err(TargetFailure::NotThisKind { detail: "it spoke out of turn".to_owned() }),
        None => Err(link.failure.unwrap_or(TargetFailure::Died)),
    }
}

/// Where probes go: to where control went, unless an endpoint that proved who it is names another address.
///
/// A stranger could otherwise have this computer send to whomever it names. A verified one cannot either, beyond the
/// few validation probes that go unanswered.
pub(super) fn reflector_of(accept: &Accept, control: SocketAddr, identity: Identity) -> SocketAddr {
    let named = accept.stamp_addr.filter(|named| *named != control.ip());
    let ip = match named {
        Some(named) if identity == Identity::Verified && is_a_host(named) => named,
        Some(named) => {
            tracing::warn!(%named, "probes go to the endpoint's own address, not to the one it names");
            control.ip()
        }
        None => control.ip(),
    };
    SocketAddr::new(ip, accept.stamp_port)
}

/// Whether an address can be one single host on a network.
fn is_a_host(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || broadcast)
}

/// The token, if there is one and the endpoint may have it.
fn token_for(against: &Against, identity: Identity) -> Result<Option<Token>, TargetFailure> {
    match (&against.token, identity) {
        (None, _) => Ok(None),
        (Some(token), Identity::Verified) => Ok(Some(token.clone())),
        (Some(_), Identity::Unverified) => Err(TargetFailure::TokenWithheld),
    }
}

/// What is asked for: what the plan sends at most, each way, and half as much again for bursts and key frames.
fn hello(plan: &Plan, token: Option<Token>) -> Hello {
    let media = plan.phases.iter().filter(|phase| phase.kind != PhaseKind::Capacity);
    let media = media.map(|phase| phase.offered_up.max(phase.offered_down)).max();
    let audio: Bitrate =
        plan.streams.iter().filter(|s| s.spec.direction.is_none()).map(|s| s.spec.rate).sum();
    let bps = (media.unwrap_or_default() + audio).bps() * 3 / 2;
    Hello {
        versions: vec![VERSION],
        token,
        client: ClientInfo {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        wants: Limits {
            max_bitrate_bps: Bitrate::from_bps(bps),
            // Packets of 500 bytes on average at least, and room for audio.
            max_pps: u32::try_from(bps / 4_000 + 100).unwrap_or(u32::MAX),
            max_duration_us: plan.longest() + Micros::from_secs(5),
        },
        search: plan.search.map(|search| SearchWish {
            max_bitrate_bps: search.ceiling,
            max_pps: packets_for(search.ceiling),
        }),
        probes: ProbeCarrier::OwnPort,
    }
}

fn refusal(refuse: Refuse) -> TargetFailure {
    let retry_after_s = refuse.retry_after_us.and_then(|after| u64::try_from(after.get() / 1_000_000).ok());
    match refuse.code {
        RefuseCode::TokenRequired => TargetFailure::TokenRequired,
        RefuseCode::WrongToken => TargetFailure::WrongToken,
        RefuseCode::Version => {
            TargetFailure::ProtocolVersion { theirs: Some(refuse.say), ours: VERSION.to_string() }
        }
        RefuseCode::Busy | RefuseCode::Quota | RefuseCode::Rate => TargetFailure::Quota { retry_after_s },
        RefuseCode::Draining | RefuseCode::Expired | RefuseCode::BadRequest | RefuseCode::Other => {
            TargetFailure::Refused { detail: refuse.say }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::control::{EndpointInfo, StampSources};
    use crate::proto::stamp::{SessionKey, TimestampFormat, WallAnchor};

    fn accept(stamp_addr: Option<&str>) -> Accept {
        Accept {
            version: VERSION,
            session: String::new(),
            ssid: 1,
            key: SessionKey::new([0; 32]),
            stamp_addr: stamp_addr.map(|ip| ip.parse().expect("an address")),
            stamp_port: 7444,
            validated: false,
            limits: Limits {
                max_bitrate_bps: Bitrate::default(),
                max_pps: 1,
                max_duration_us: Micros::from_secs(1),
            },
            anchor_unix_us: WallAnchor::from_unix_micros(0),
            timestamps: TimestampFormat::Ntp,
            stamps: StampSources::default(),
            endpoint: EndpointInfo { name: String::new(), version: String::new() },
        }
    }

    #[test]
    fn only_an_endpoint_that_proved_who_it_is_may_name_another_host_for_probes() {
        let control: SocketAddr = "198.51.100.1:7443".parse().expect("an address");
        let to = |named, identity| reflector_of(&accept(named), control, identity).to_string();
        let (own, other) = ("198.51.100.1:7444", "203.0.113.9:7444");
        assert_eq!(to(None, Identity::Unverified), own);
        assert_eq!(to(Some("198.51.100.1"), Identity::Unverified), own);
        assert_eq!(to(Some("203.0.113.9"), Identity::Unverified), own);
        assert_eq!(to(Some("203.0.113.9"), Identity::Verified), other);
        for nobody in ["224.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.1", "::1", "ff02::1"] {
            assert_eq!(to(Some(nobody), Identity::Verified), own, "{nobody}");
        }
    }
}
