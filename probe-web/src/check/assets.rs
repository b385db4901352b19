//! The page's files, as they are in the binary. Each is asked for again on every load and answered with "not changed" (RFC 9110 §13.1.2).

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::embed::EmbedOrigin;
use crate::app::AppState;
use crate::auth::secret;
use crate::pages;

/// A script as the build has made it small.
macro_rules! script {
    ($name:literal $(, $folder:literal)?) => {
        ($name, SCRIPT, include_str!(concat!(env!("OUT_DIR"), "/page/", $($folder,)? $name)))
    };
}

/// Name, media type, content.
type Source = (&'static str, &'static str, &'static str);

const FILES: &[Source] = &[
    ("page.css", CSS, include_str!("../../page/page.css")),
    script!("camera.js"),
    script!("carriers.js"),
    script!("check.js"),
    script!("dom.js"),
    script!("drawing.js"),
    script!("devices.js"),
    script!("greenroom-check.js"),
    script!("handoff.js"),
    script!("hearing.js"),
    script!("language.js"),
    script!("machine.js"),
    script!("media-path.js"),
    script!("memory.js"),
    script!("meter-worklet.js"),
    script!("microphone.js"),
    script!("monitor.js"),
    script!("monitor-figures.js"),
    script!("monitor-report.js"),
    script!("monitor-sound.js"),
    script!("monitor-words.js"),
    script!("network-worker.js"),
    script!("network.js"),
    script!("load.js"),
    script!("peer.js"),
    script!("playback.js"),
    script!("preview.js"),
    script!("recording.js"),
    script!("relays.js"),
    script!("page.js"),
    script!("screen.js"),
    script!("server.js"),
    script!("socket.js"),
    script!("speaker.js"),
    script!("stamp.js"),
    script!("strength.js"),
    script!("style.js"),
    script!("sweep.js"),
    script!("telling.js"),
    script!("time.js"),
    script!("warm-up.js"),
];
/// One per language, and one for the reasons of a running call; a page loads one.
const WORDS: &[Source] = &[
    script!("ar.js", "words/"),
    script!("call-ar.js", "words/"),
    script!("call-de.js", "words/"),
    script!("call-en.js", "words/"),
    script!("call-es.js", "words/"),
    script!("call-ja.js", "words/"),
    script!("de.js", "words/"),
    script!("en.js", "words/"),
    script!("es.js", "words/"),
    script!("ja.js", "words/"),
];
const PAGE: Source = ("index.html", HTML, include_str!("../../page/index.html"));
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

static FILES_SERVED: LazyLock<Vec<Served>> = LazyLock::new(|| FILES.iter().map(Served::of).collect());
static WORDS_SERVED: LazyLock<Vec<Served>> = LazyLock::new(|| WORDS.iter().map(Served::of).collect());
static PAGE_SERVED: LazyLock<Served> = LazyLock::new(|| Served::of(&PAGE));

/// A file as it travels.
struct Served {
    name: &'static str,
    kind: &'static str,
    tag: String,
    plain: Bytes,
    packed: Bytes,
}

impl Served {
    fn of(&(name, kind, text): &Source) -> Self {
        let hash = secret::hash(text).0;
        let tag = hash[..12].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let plain = Bytes::from_static(text.as_bytes());
        Self { name, kind, tag: format!("\"{tag}\""), packed: gzip(&plain, Compression::best()), plain }
    }
}

/// Content in less octets; none where that fails.
pub(super) fn gzip(content: &[u8], level: Compression) -> Bytes {
    let mut writer = GzEncoder::new(Vec::new(), level);
    // Into memory it cannot fail; what did would be served as it is.
    let packed = writer.write_all(content).and_then(|()| writer.finish());
    packed.map(Bytes::from).unwrap_or_default()
}

/// `GET /check`.
pub(super) async fn page(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let mut response = isolated(&state, answer(&headers, &PAGE_SERVED));
    let set = response.headers_mut();
    let allowed = "camera=(self), microphone=(self), display-capture=(self), speaker-selection=(self), screen-wake-lock=(self)";
    set.insert(HeaderName::from_static("permissions-policy"), HeaderValue::from_static(allowed));
    // Whoever may embed the element may embed the page: the policy above says who. Browsers let it go before this header.
    if !state.embedders.is_empty() {
        let name = HeaderName::from_static("cross-origin-resource-policy");
        set.insert(name, HeaderValue::from_static("cross-origin"));
    }
    response
}

/// `GET /check/…`.
pub(super) async fn file(
    State(state): State<AppState>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    one_of(&state, &FILES_SERVED, &name, &headers)
}

/// `GET /check/words/…`.
pub(super) async fn words(
    State(state): State<AppState>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    one_of(&state, &WORDS_SERVED, &name, &headers)
}

fn one_of(state: &AppState, files: &'static [Served], name: &str, headers: &HeaderMap) -> Response {
    match files.iter().find(|file| file.name == name) {
        Some(file) => isolated(state, answer(headers, file)),
        None => pages::not_found(),
    }
}

/// Isolates an answer, so that its clock is fine enough to measure by, and says what it may do. A worker has both from its own file, not
/// from the page that starts it.
fn isolated(state: &AppState, mut response: Response) -> Response {
    let set = response.headers_mut();
    let embedder = HeaderName::from_static("cross-origin-embedder-policy");
    set.insert(embedder, HeaderValue::from_static("require-corp"));
    let own = state.media.as_ref().map(|media| media.url.clone());
    let policy = policy(own.into_iter().chain(state.other_media.now()), &state.embedders);
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        set.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// What the page may do: run its own scripts, talk to this server and to media endpoints of its nodes, be shown by the sites that were
/// named, and nothing else.
fn policy(media: impl Iterator<Item = String>, embedders: &[EmbedOrigin]) -> String {
    let origins: BTreeSet<String> =
        media.map(|url| url.split('/').take(3).collect::<Vec<_>>().join("/")).collect();
    let origins = origins.into_iter().collect::<Vec<_>>().join(" ");
    let around = match embedders {
        [] => "'none'".to_owned(),
        named => named.iter().map(EmbedOrigin::as_str).collect::<Vec<_>>().join(" "),
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' {origins}; \
         worker-src 'self'; media-src 'self' blob:; form-action 'none'; base-uri 'none'; frame-ancestors {around}"
    )
}

fn answer(headers: &HeaderMap, file: &'static Served) -> Response {
    let same = listed(headers, header::IF_NONE_MATCH).any(|one| one.trim_start_matches("W/") == file.tag);
    let vary = (header::VARY, "accept-encoding");
    let caching = [(header::ETAG, file.tag.as_str()), (header::CACHE_CONTROL, "no-cache"), vary];
    if same {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let kind = [(header::CONTENT_TYPE, file.kind)];
    match takes_gzip(headers) && !file.packed.is_empty() {
        true => (caching, kind, [(header::CONTENT_ENCODING, "gzip")], file.packed.clone()).into_response(),
        false => (caching, kind, file.plain.clone()).into_response(),
    }
}

/// Whether who asks takes an answer packed by gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    listed(headers, header::ACCEPT_ENCODING).any(|one| one == "gzip" || one.starts_with("gzip;q=1"))
}

/// The words of a header that has a list of them.
fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_endpoint_who_may_embed_and_nothing_else() {
        let alone = policy(["https://192.0.2.1:7443/media".to_owned()].into_iter(), &[]);
        assert!(alone.contains("connect-src 'self' https://192.0.2.1:7443;"), "{alone}");
        assert!(alone.ends_with("frame-ancestors 'none'"), "{alone}");
        let embedded = policy(std::iter::empty(), &[EmbedOrigin::parse("https://app.example").unwrap()]);
        assert!(embedded.ends_with("frame-ancestors https://app.example"), "{embedded}");
        for policy in [alone, embedded] {
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        }
    }

    #[test]
    fn a_call_finds_the_check_that_the_page_has_kept() {
        let holds = |name: &str| {
            let file = FILES_SERVED.iter().find(|file| file.name == name).expect("it is served");
            String::from_utf8_lossy(&file.plain).contains("greenroom-check-last")
        };
        assert!(holds("memory.js") && holds("monitor-report.js"));
    }

    fn on_disk(folder: &str, kind: &str) -> Vec<String> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let names =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(kind)).collect();
        names.sort();
        names
    }

    #[test]
    fn every_file_of_the_page_is_served_and_every_import_is_one() {
        let names = |files: &[Source], wanted| {
            let mut names: Vec<String> = files
                .iter()
                .filter(|(_, kind, _)| *kind == wanted)
                .map(|(name, ..)| (*name).to_owned())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(FILES, SCRIPT), on_disk("page", ".js"));
        assert_eq!(names(FILES, CSS), on_disk("page", ".css"));
        assert_eq!(names(WORDS, SCRIPT), on_disk("page/words", ".js"));
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        for (name, ..) in FILES {
            let text = std::fs::read_to_string(page.join(name)).unwrap();
            let imports = text.split("'./").skip(1).filter_map(|rest| rest.split('\'').next());
            for import in imports.filter(|import| !import.starts_with("words/")) {
                assert!(FILES.iter().any(|(known, ..)| *known == import), "{name} imports {import}");
            }
        }
    }

    /// What travels to begin a check, to look at devices as well, and for the page in one language: docs/CHECK-PAGE.md has the table.
    #[test]
    fn the_scripts_stay_small() {
        let size = |names: &[&str]| -> usize {
            let all = || FILES_SERVED.iter().chain(WORDS_SERVED.iter());
            names.iter().map(|name| all().find(|file| file.name == *name).unwrap().packed.len()).sum()
        };
        let core = size(&[
            "check.js",
            "carriers.js",
            "devices.js",
            "network.js",
            "network-worker.js",
            "server.js",
            "stamp.js",
            "strength.js",
            "time.js",
        ]);
        let devices = size(&[
            "camera.js",
            "microphone.js",
            "meter-worklet.js",
            "recording.js",
            "speaker.js",
            "sweep.js",
        ]);
        let drawing = size(&["drawing.js", "preview.js"]);
        // The page never loads what watches a call; an application does.
        let page = |file: &&Served| !file.name.starts_with("monitor") && !file.name.starts_with("call-");
        let all: usize = FILES_SERVED.iter().filter(page).map(|file| file.packed.len()).sum();
        let languages: Vec<usize> = WORDS_SERVED.iter().filter(page).map(|file| file.packed.len()).collect();
        let watching = size(&["monitor.js", "monitor-figures.js"]);
        let report =
            size(&["monitor-report.js", "monitor-words.js", "call-en.js", "language.js", "memory.js"]);
        let (sound, sending) = (size(&["monitor-sound.js"]), size(&["server.js"]));
        let most = languages.iter().max().unwrap();
        let (peer, relays, load, media) = (
            size(&["peer.js"]),
            size(&["relays.js", "socket.js"]),
            size(&["load.js"]),
            size(&["media-path.js"]),
        );
        println!(
            "core {core}, WebRTC {peer}, relays and the WebSocket {relays}, load {load}, media {media}, devices {devices}, drawing {drawing}, page {} to {}; a call: watching {watching}, its report {report}, a track's sound {sound}, \
             sending {sending}",
            all + languages.iter().min().unwrap(),
            all + most
        );
        assert!(watching <= 8_000, "{watching}");
        assert!(report <= 8_500, "{report}");
        assert!(core <= 15_000, "{core}");
        assert!(peer <= 2_000, "{peer}");
        assert!(load <= 4_000, "{load}");
        assert!(media <= 3_500, "{media}");
        assert!(drawing <= 5_500, "{drawing}");
        assert!(devices <= 10_000, "{devices}");
        assert!(relays <= 2_000, "{relays}");
        assert!(all + most <= 60_000, "{all} and {most}");
    }
}
