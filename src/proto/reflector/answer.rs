//! Turns a request's TLVs into the reply's, in place (RFC 8972 §4).

use crate::proto::stamp::auth::TAG_LEN;
use crate::proto::stamp::tlv::HEADER_LEN;
use crate::proto::stamp::{
    ClassOfService, FollowUp, NonceKind, NonceTlv, TimestampInfo, TlvFlags, TlvKind, octets,
};

/// What the reflector has to say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers {
    /// DSCP and ECN with which the request arrived.
    pub(super) tos: Option<u8>,
    /// When the reply before this one left, and who says so.
    pub(super) follow_up: FollowUp,
    /// Clock and stamping method of T2 and T3.
    pub(super) info: TimestampInfo,
    /// Address validation; `None` leaves the TLV unrecognized.
    pub(super) nonce: Option<NonceTlv>,
    /// Whether HMAC TLVs are understood.
    pub(super) authenticated: bool,
}

/// Fills in every TLV that is understood and sets the flags of each. Returns the TOS octet that the reply is to carry.
pub(super) fn answer(tlvs: &mut [u8], answers: &Answers) -> u8 {
    let mut tos = 0;
    let mut at = 0;
    while at < tlvs.len() {
        let value = octets::<HEADER_LEN>(tlvs, at).and_then(|[_, kind, high, low]| {
            let from = at + HEADER_LEN;
            let to = from + usize::from(u16::from_be_bytes([high, low]));
            (to <= tlvs.len()).then_some((TlvKind(kind), from, to))
        });
        let Some((kind, from, to)) = value else {
            // It reaches past the end: nothing after it can be read either.
            tlvs[at] = TlvFlags { unrecognized: false, malformed: true, integrity: false }.to_octet();
            return tos;
        };
        let outcome = fill(kind, &mut tlvs[from..to], answers, &mut tos);
        tlvs[at] = outcome.to_octet();
        at = to;
    }
    tos
}

fn fill(kind: TlvKind, value: &mut [u8], answers: &Answers, reply: &mut u8) -> TlvFlags {
    let understood = TlvFlags::default();
    let malformed = TlvFlags { malformed: true, ..understood };
    let unrecognized = TlvFlags { unrecognized: true, ..understood };
    let written = match kind {
        TlvKind::EXTRA_PADDING => true,
        TlvKind::CLASS_OF_SERVICE => {
            let Some(asked) = ClassOfService::parse(value) else {
                return malformed;
            };
            *reply = asked.wanted_dscp << 2 | *reply & 3;
            let tos = answers.tos.unwrap_or(0);
            let told =
                ClassOfService { received_dscp: tos >> 2, received_ecn: tos & 3, reverse_path: 0, ..asked };
            // Without the system's word on DSCP and ECN, zeros would be a lie: the TLV goes back unrecognized.
            if answers.tos.is_none() {
                return unrecognized;
            }
            put(value, told.to_octets())
        }
        TlvKind::REPLY_ECN => {
            let [asked, 0, 0, 0] = *value else { return malformed };
            *reply = *reply & !3 | asked & 3;
            true
        }
        TlvKind::FOLLOW_UP => put(value, answers.follow_up.to_octets()),
        TlvKind::TIMESTAMP_INFO => put(value, answers.info.to_octets()),
        TlvKind::HMAC if answers.authenticated => value.len() == TAG_LEN,
        TlvKind::NONCE => match answers.nonce {
            Some(nonce) => put(value, nonce.to_octets()),
            None => return unrecognized,
        },
        _ => return unrecognized,
    };
    if written { understood } else { malformed }
}

fn put<const N: usize>(value: &mut [u8], new: [u8; N]) -> bool {
    let fits = value.len() == N;
    if fits {
        value.copy_from_slice(&new);
    }
    fits
}

/// The nonce TLV of a reply.
pub(super) const fn nonce_reply(validated: bool, nonce: [u8; 16]) -> NonceTlv {
    NonceTlv { kind: if validated { NonceKind::Validated } else { NonceKind::Challenge }, nonce }
}
