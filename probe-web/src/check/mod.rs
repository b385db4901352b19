//! The pre-session check page: its files, what a run begins with, and what comes of it. The page sends figures and raw samples; what they
//! are called and worth is said here, by `greenroom-reports`, as it is for every other report.

mod application;
mod assets;
pub(crate) mod call;
mod connection;
mod devices;
mod echo;
mod embed;
mod extras;
mod fallback;
mod grant;
mod load;
mod machine;
pub(crate) mod nodes;
mod read;
mod relays;
mod rtc;
pub(crate) mod run;
mod sound;
mod turn;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::routing::{delete, get, post};
use greenroom_reports::schema::Use;
use greenroom_reports::signals::limits;
use greenroom_reports::trace::Media as Medium;
use greenroom_reports::verdict::{DeviceFigure, Profile};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::api::params::Params;
use crate::api::refusals::NoStore;
use crate::app::AppState;
use crate::auth::secret;
use crate::limits::{Network, client};
use crate::problem::Problem;
use crate::store::Tenant;

pub(crate) use embed::cors;
pub use embed::{EmbedOrigin, OriginError};
pub use fallback::{Duplex, Fallback};
pub(crate) use grant::ForResult;
pub use grant::Grants;
pub use rtc::{Answer, Offer, Unanswered, WebRtc};
pub use turn::Turn;

/// How long a page may take from its beginning to its result: a person reads, thinks and plugs things in meanwhile.
const RUN_LASTS: SignedDuration = SignedDuration::from_mins(30);
/// How long a grant for the media endpoint is good: it is fetched right before it is used.
const GRANT_LASTS: SignedDuration = SignedDuration::from_secs(60);
/// The same for the session with sound and picture: it comes behind the person's answer to the browser's question.
const ECHO_GRANT_LASTS: SignedDuration = SignedDuration::from_mins(5);

/// The media endpoint that pages measure against.
#[derive(Clone)]
pub struct Media {
    /// What a page connects to: `https://192.0.2.1:7443/media`.
    pub url: String,
    /// The SHA-256 of the certificate that it shows now.
    pub certificate: Arc<dyn Fn() -> [u8; 32] + Send + Sync>,
    /// What takes the WebSockets of pages whose UDP gets nowhere. `None`: nothing does.
    pub fallback: Option<Fallback>,
    /// What answers pages that come by WebRTC. `None`: nothing does.
    pub web_rtc: Option<WebRtc>,
    /// Relays for pages that come by WebRTC and do not get here straight. `None`: there are none.
    pub turn: Option<Turn>,
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The routes of the page.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/check", get(assets::page))
        .route("/check/media", get(fallback::open))
        .route("/check/rtc", post(rtc::offer))
        .route("/check/rtc/{id}", delete(rtc::end))
        .route("/check/{file}", get(assets::file))
        .route("/check/words/{file}", get(assets::words))
}

/// What a run begins with.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    /// Lets one result in.
    run: String,
    /// Where to measure. Nothing where this server has no endpoint.
    #[schema(value_type = Option<Object>)]
    media: Option<Value>,
    /// Relays to try where the direct way fails, with what lets this page in for some minutes.
    ice_servers: Vec<turn::IceServer>,
    /// By what sounds and pictures are named, so that the page can say something at once.
    #[schema(value_type = Object)]
    limits: Value,
    /// Stands for the network that the visitor comes from, so that the page knows it again. Not told where it is not known.
    network: Option<String>,
    /// The sites to whose pages a result may be handed.
    #[schema(value_type = Vec<String>)]
    embedders: Vec<String>,
}

/// Whose page asks.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Of {
    /// What the address of a tenant's check page holds; not there for the first tenant's.
    tenant: Option<String>,
}

/// What a run of the check page begins with.
#[utoipa::path(
    get, path = "/api/v1/session", tag = "check", params(Of),
    responses(
        (status = 200, description = "A grant for one result, where to measure, and by what sounds and pictures are named", body = Session),
        (status = 400, description = "The query cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "A page of a site that the operator did not name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such tenant", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many begin at this moment", body = Problem, content_type = "application/problem+json"),
        NoStore,
    )
)]
pub(crate) async fn session(
    State(state): State<AppState>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    Params(of): Params<Of>,
    headers: HeaderMap,
) -> Result<Json<Session>, Problem> {
    let tenant = match &of.tenant {
        Some(code) => state.store.tenant_by_code(code).await?,
        None => Some(Tenant::FIRST),
    };
    let tenant = tenant.ok_or_else(|| Problem::not_found("there is no tenant with this check page"))?;
    if !state.grants.may_begin(state.clock.now()) {
        return Err(Problem::too_often("too many checks begin at this moment; try again in a minute"));
    }
    // Who comes by nothing but WebTransport and the WebSocket has no use for a relay.
    let turn =
        state.media.as_ref().filter(|media| media.web_rtc.is_some()).and_then(|media| media.turn.as_ref());
    let media = state.media.as_ref().map(|media| {
        let grant = || state.grants.for_media(state.later(GRANT_LASTS));
        let hash = (media.certificate)().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        json!({
            "url": media.url,
            "certificate_sha256": hash,
            "grant": grant(),
            "grants": turn.iter().flat_map(|turn| (0..turn.len() + 2).map(|_| grant())).collect::<Vec<_>>(),
            "echo_grant": media.web_rtc.as_ref().map(|_| state.grants.for_media(state.later(ECHO_GRANT_LASTS))),
            "web_rtc": media.web_rtc.is_some(),
            "web_socket": media.fallback.is_some(),
        })
    });
    let url = state.media.as_ref().map_or("", |media| media.url.as_str());
    Ok(Json(Session {
        run: state.grants.for_result(state.later(RUN_LASTS), tenant, url),
        media,
        ice_servers: turn.map_or_else(Vec::new, |turn| turn.ice_servers(state.clock.now())),
        limits: named_by(),
        network: peer
            .and_then(|Extension(ConnectInfo(peer))| network(peer.ip(), &headers, &state.trusted_proxies)),
        embedders: state.embedders.iter().map(ToString::to_string).collect(),
    }))
}

/// A name for the network of an address: not the address, and the same whenever somebody comes from there. IPv6 hosts change the rest of
/// theirs by themselves. Behind a proxy that nobody named as trusted, nobody's address is known.
fn network(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Option<String> {
    let is_proxied = headers.contains_key("forwarded") || headers.contains_key("x-forwarded-for");
    let client = client(peer, headers, trusted);
    if is_proxied && client == peer.to_canonical() {
        return None;
    }
    let text = match client {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("{:x?}", &ip.segments()[..4]),
    };
    let hash = secret::hash(&format!("greenroom check network/1\n{text}")).0;
    Some(hash[..8].iter().map(|byte| format!("{byte:02x}")).collect())
}

fn named_by() -> Value {
    let (sound, picture) = (&limits().sound, &limits().picture);
    let (clipping, dropouts) = (&limits().clipping, &limits().dropouts);
    let worth = Profile::default().device_limits();
    let good = |figure: DeviceFigure| worth.get(&figure).map(|edge| edge.good);
    let audio = Profile::default().uses.remove(&Use::Audio);
    let video = Profile::default().uses.into_iter().filter(|(use_, _)| use_.media() == Medium::Video);
    let rungs: BTreeMap<&str, u64> =
        video.map(|(use_, limits)| (use_.short(), limits.rate_bps.bps())).collect();
    let (rtt, loss) = audio.map_or((None, None), |audio| (audio.rtt_p50_ms, audio.loss_ratio));
    json!({
        "connection": {
            "rtt_good_ms": rtt.as_ref().map(|band| band.good),
            "rtt_limit_ms": rtt.and_then(|band| band.limit),
            "loss_good_ratio": loss.as_ref().map(|band| band.good),
            "loss_limit_ratio": loss.and_then(|band| band.limit),
        },
        "sound": {
            "zeros_within": sound.zeros_within.value,
            "dead_dbfs": sound.dead_dbfs.value,
            "too_quiet_dbfs": sound.too_quiet_dbfs.value,
            "active_above_floor_db": sound.active_above_floor_db.value,
            "least_active_frames": sound.least_active_frames.value,
            "least_spread_db": sound.least_spread_db.value,
            "voice_alike": sound.voice_alike.value,
            "voice_even_ratio": sound.voice_even_ratio.value,
            "voice_windows_in_a_row": sound.voice_windows_in_a_row.value,
            "least_voiced_windows": sound.least_voiced_windows.value,
            "stuck_ratio": sound.stuck_ratio.value,
            "noisy_dbfs": good(DeviceFigure::NoiseFloorDbfs),
            "clipped_ratio": good(DeviceFigure::ClippedRatio),
        },
        "clipping": {
            "run_samples": clipping.run_samples.value,
            "top_ratio": clipping.top_ratio.value,
            "least_peak_ratio": clipping.least_peak_ratio.value,
        },
        "dropouts": {
            "gap_least_ms": dropouts.gap_least_ms.value,
            "gap_least_samples": dropouts.gap_least_samples.value,
            "gap_cut_ratio": dropouts.gap_cut_ratio.value,
            "repeat_shortest_ms": dropouts.repeat_shortest_ms.value,
            "repeat_longest_ms": dropouts.repeat_longest_ms.value,
            "repeat_whole_ratio": dropouts.repeat_whole_ratio.value,
        },
        "rungs_bps": rungs,
        "encode_times_real_time": good(DeviceFigure::EncodeTimesRealTime),
        "sweep": { "sure_db": limits().sweep.sure_db.value, "nothing_db": limits().sweep.nothing_db.value },
        "picture": {
            "black_mean_ratio": picture.black_mean_ratio.value,
            "black_spread_ratio": picture.black_spread_ratio.value,
            "covered_mean_ratio": picture.covered_mean_ratio.value,
            "covered_spread_ratio": picture.covered_spread_ratio.value,
            "covered_structure_ratio": picture.covered_structure_ratio.value,
            "dark_mean_ratio": picture.dark_mean_ratio.value,
            "overexposed_ratio": picture.overexposed_ratio.value,
            "blurred_sharpness": picture.blurred_sharpness.value,
            "blurred_spread_ratio": picture.blurred_spread_ratio.value,
            "frozen_frames": picture.frozen_frames.value,
        },
    })
}
