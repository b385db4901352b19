//! Why an endpoint could not be measured, or not to the end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{Place, State};

/// Why an endpoint could not be measured, or not to the end. Each reason has its words in [`crate::verdict::words`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case", deny_unknown_fields)]
pub enum TargetFailure {
    /// The name does not resolve.
    UnknownHost {
        /// What the resolver said.
        detail: String,
    },
    /// The host answers, and nothing listens there.
    PortClosed,
    /// Nothing answered, over UDP or TCP.
    Silent,
    /// Nothing came back over UDP while TCP got through.
    UdpBlocked {
        /// What carries media instead: `tls/443`. `None` when nothing was tried.
        works: Option<String>,
    },
    /// Nothing came back over UDP from the port that media use, while the endpoint answered on another one.
    UdpPortBlocked {
        /// The port that nothing came back from.
        port: u16,
        /// What answered: `quic/7443`.
        works: String,
    },
    /// A firewall on this computer does not let this program send UDP.
    UdpBlockedHere {
        /// The port that could not be sent to.
        port: u16,
        /// What gets through all the same: `tls/443`. `None` when nothing does.
        works: Option<String>,
    },
    /// A firewall on the way says that it lets nothing through to there (ICMP "administratively prohibited").
    FirewallOnTheWay {
        /// The address that said so.
        by: String,
    },
    /// A router on the way knows no way to there (ICMP "network" or "host unreachable").
    NoWay {
        /// The address that said so.
        by: String,
    },
    /// The next hop does not answer on its own link: this computer's router, or the endpoint itself where no router is between.
    NextHopSilent,
    /// The endpoint wants a token, and none was given.
    TokenRequired,
    /// The endpoint does not take this token.
    WrongToken,
    /// A token was given, but the endpoint did not prove who it is; it was not sent.
    TokenWithheld,
    /// No protocol version in common.
    ProtocolVersion {
        /// The versions that the endpoint speaks, where it said so.
        theirs: Option<String>,
        /// The versions that this program speaks.
        ours: String,
    },
    /// What answers is not what was asked for.
    NotThisKind {
        /// What it said instead.
        detail: String,
    },
    /// What answers does not speak the protocol that it was asked in.
    WrongProtocol {
        /// The protocol: `STUN`.
        protocol: String,
        /// What it said instead.
        detail: String,
    },
    /// The web server asks who publishes (401, 403), and no token was given.
    BearerRequired {
        /// The status.
        status: u16,
    },
    /// The web server does not take this token to publish (401, 403).
    BearerRefused {
        /// The status.
        status: u16,
    },
    /// The web server does not take the media.
    PublishRefused {
        /// The status.
        status: u16,
        /// What to do about it.
        advice: String,
    },
    /// The answer to an offer of media leads nowhere.
    UnusableAnswer {
        /// What is wrong with it.
        detail: String,
    },
    /// Nothing came back from the addresses that the server named for media.
    MediaUnreachable {
        /// These addresses.
        addresses: String,
    },
    /// The keys of the media were not agreed on, though packets got through.
    MediaKeys {
        /// What DTLS said.
        detail: String,
    },
    /// The relay asks for a user name, and none was given.
    RelayUserRequired,
    /// The relay does not take this user name and password.
    RelayUserRefused,
    /// The relay gives no address.
    RelayRefused {
        /// What it said.
        detail: String,
        /// What to do about it.
        advice: String,
    },
    /// The relay gives an address, and nothing comes through it.
    RelayForwardsNothing,
    /// Answers come from another address than the one asked, which programs do not take.
    AnswersFromElsewhere {
        /// That address.
        from: String,
    },
    /// The endpoint proved to be somebody else: wrong pin or certificate.
    TlsUnverified {
        /// What TLS said.
        detail: String,
    },
    /// The endpoint is full, or the client's quota is used up.
    Quota {
        /// When to try again, where it said so.
        retry_after_s: Option<u64>,
    },
    /// The endpoint refused for another reason.
    Refused {
        /// The reason it gave.
        detail: String,
    },
    /// The connection is broken off as soon as it is made, or in the middle of the handshake.
    Reset,
    /// The connection is taken, and then nothing comes over it.
    Mute {
        /// The protocol that it was asked in: `TLS`.
        protocol: String,
    },
    /// An encrypted connection is refused.
    TlsRefused {
        /// What TLS said.
        detail: String,
    },
    /// The proxy does not let the connection through.
    Proxy {
        /// The proxy.
        proxy: String,
        /// What it said.
        detail: String,
    },
    /// This computer knows no name server.
    NoNameServer,
    /// None of this computer's name servers answers.
    NameServersSilent {
        /// Their addresses.
        servers: String,
    },
    /// The endpoint stopped answering while the run was on.
    Died,
    /// The address of one end changed while the run was on: what is genuine comes from another one.
    AddressChanged,
    /// The endpoint has IPv4 only, and this computer has no IPv4.
    NoIpv4,
    /// The endpoint has IPv6 only, and this computer has no IPv6.
    NoIpv6,
    /// This computer has no route to anywhere.
    NoNetwork,
    /// This computer, or the browser, held the measurement up so much that its figures say nothing of the network.
    Disturbed {
        /// What happened: "the page was in the background".
        detail: String,
    },
    /// Somebody ended the run before the endpoint was reached.
    Interrupted,
    /// This computer refused a system call that the measurement needs.
    Local {
        /// What was tried and what the system said.
        detail: String,
    },
}

impl TargetFailure {
    /// The stable code of the cause: `unknown_host`, `udp_blocked`, `endpoint_died`, …
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownHost { .. } => "unknown_host",
            Self::PortClosed => "endpoint_refused",
            Self::Silent => "endpoint_unreachable",
            Self::UdpBlocked { .. } => "udp_blocked",
            Self::UdpPortBlocked { .. } => "udp_port_blocked",
            Self::UdpBlockedHere { .. } => "udp_blocked_here",
            Self::FirewallOnTheWay { .. } => "firewall_on_the_way",
            Self::NoWay { .. } => "no_way",
            Self::NextHopSilent => "next_hop_silent",
            Self::TokenRequired => "token_required",
            Self::WrongToken => "wrong_token",
            Self::TokenWithheld => "token_withheld",
            Self::ProtocolVersion { .. } => "protocol_version",
            Self::NotThisKind { .. } => "not_this_kind",
            Self::WrongProtocol { .. } => "wrong_protocol",
            Self::BearerRequired { .. } => "bearer_required",
            Self::BearerRefused { .. } => "bearer_refused",
            Self::PublishRefused { .. } => "publish_refused",
            Self::UnusableAnswer { .. } => "unusable_answer",
            Self::MediaUnreachable { .. } => "media_unreachable",
            Self::MediaKeys { .. } => "media_keys",
            Self::RelayUserRequired => "relay_user_required",
            Self::RelayUserRefused => "relay_user_refused",
            Self::RelayRefused { .. } => "relay_refused",
            Self::RelayForwardsNothing => "relay_forwards_nothing",
            Self::AnswersFromElsewhere { .. } => "answers_from_elsewhere",
            Self::TlsUnverified { .. } => "tls_unverified",
            Self::Quota { .. } => "endpoint_full",
            Self::Refused { .. } => "endpoint_said_no",
            Self::Reset => "connection_reset",
            Self::Mute { .. } => "connection_mute",
            Self::TlsRefused { .. } => "tls_refused",
            Self::Proxy { .. } => "proxy_failed",
            Self::NoNameServer => "no_name_server",
            Self::NameServersSilent { .. } => "name_servers_silent",
            Self::Died => "endpoint_died",
            Self::AddressChanged => "address_changed",
            Self::NoIpv4 => "no_ipv4",
            Self::NoIpv6 => "no_ipv6",
            Self::NoNetwork => "no_network",
            Self::Disturbed { .. } => "disturbed",
            Self::Interrupted => "interrupted",
            Self::Local { .. } => "local_error",
        }
    }

    /// Where the fault is, as far as this reason alone tells.
    pub fn place(&self) -> Place {
        match self {
            Self::PortClosed
            | Self::TokenRequired
            | Self::WrongToken
            | Self::TokenWithheld
            | Self::ProtocolVersion { .. }
            | Self::NotThisKind { .. }
            | Self::WrongProtocol { .. }
            | Self::Quota { .. }
            | Self::TlsRefused { .. }
            | Self::BearerRequired { .. }
            | Self::BearerRefused { .. }
            | Self::PublishRefused { .. }
            | Self::UnusableAnswer { .. }
            | Self::RelayUserRequired
            | Self::RelayUserRefused
            | Self::RelayRefused { .. }
            | Self::RelayForwardsNothing
            | Self::Refused { .. } => Place::Service,
            Self::UdpBlocked { .. }
            | Self::UdpPortBlocked { .. }
            | Self::FirewallOnTheWay { .. }
            | Self::Proxy { .. } => Place::Relay,
            Self::NoWay { .. } => Place::Path,
            Self::NextHopSilent | Self::NoIpv4 | Self::NoIpv6 | Self::NoNetwork | Self::NoNameServer => {
                Place::LocalNetwork
            }
            Self::UdpBlockedHere { .. } | Self::Disturbed { .. } | Self::Local { .. } => Place::Computer,
            Self::UnknownHost { .. }
            | Self::Silent
            | Self::AnswersFromElsewhere { .. }
            | Self::TlsUnverified { .. }
            | Self::Reset
            | Self::Mute { .. }
            | Self::MediaUnreachable { .. }
            | Self::MediaKeys { .. }
            | Self::NameServersSilent { .. }
            | Self::Died
            | Self::AddressChanged
            | Self::Interrupted => Place::Unknown,
        }
    }

    /// What it makes of the uses that depend on the endpoint.
    ///
    /// Where the network or a firewall stops media, they are blocked. Where the endpoint turned us away (token, version,
    /// quota) or the run broke off, the network was not measured: inconclusive.
    pub fn state(&self) -> State {
        match self {
            Self::UnknownHost { .. }
            | Self::PortClosed
            | Self::Silent
            | Self::UdpBlocked { .. }
            | Self::UdpPortBlocked { .. }
            | Self::UdpBlockedHere { .. }
            | Self::FirewallOnTheWay { .. }
            | Self::NoWay { .. }
            | Self::NextHopSilent
            | Self::Reset
            | Self::Mute { .. }
            | Self::TlsRefused { .. }
            | Self::MediaUnreachable { .. }
            | Self::MediaKeys { .. }
            | Self::RelayRefused { .. }
            | Self::RelayForwardsNothing
            | Self::Proxy { .. }
            | Self::NoNameServer
            | Self::NameServersSilent { .. }
            | Self::NoIpv4
            | Self::NoIpv6
            | Self::NoNetwork => State::Blocked,
            Self::BearerRequired { .. }
            | Self::BearerRefused { .. }
            | Self::PublishRefused { .. }
            | Self::UnusableAnswer { .. }
            | Self::RelayUserRequired
            | Self::RelayUserRefused
            | Self::TokenRequired
            | Self::WrongToken
            | Self::TokenWithheld
            | Self::ProtocolVersion { .. }
            | Self::NotThisKind { .. }
            | Self::WrongProtocol { .. }
            | Self::AnswersFromElsewhere { .. }
            | Self::TlsUnverified { .. }
            | Self::Quota { .. }
            | Self::Refused { .. }
            | Self::Died
            | Self::AddressChanged
            | Self::Disturbed { .. }
            | Self::Interrupted
            | Self::Local { .. } => State::Inconclusive,
        }
    }
}
