//! The page's files, as they are in the binary. Each is asked for again on every load and answered with "not changed" (RFC 9110 §13.1.2).

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::app::AppState;
use crate::auth::secret;
use crate::pages;

/// Name, media type, content.
const FILES: &[(&str, &str, &str)] = &[
    ("page.css", CSS, include_str!("../../page/page.css")),
    ("check.css", CSS, include_str!("../../page/check.css")),
    ("greenroom-check.js", SCRIPT, include_str!("../../page/greenroom-check.js")),
    ("camera.js", SCRIPT, include_str!("../../page/camera.js")),
    ("devices.js", SCRIPT, include_str!("../../page/devices.js")),
    ("meter-worklet.js", SCRIPT, include_str!("../../page/meter-worklet.js")),
    ("microphone.js", SCRIPT, include_str!("../../page/microphone.js")),
    ("network.js", SCRIPT, include_str!("../../page/network.js")),
    ("network-worker.js", SCRIPT, include_str!("../../page/network-worker.js")),
    ("server.js", SCRIPT, include_str!("../../page/server.js")),
    ("speaker.js", SCRIPT, include_str!("../../page/speaker.js")),
    ("stamp.js", SCRIPT, include_str!("../../page/stamp.js")),
    ("time.js", SCRIPT, include_str!("../../page/time.js")),
    ("words.js", SCRIPT, include_str!("../../page/words.js")),
];
const PAGE: &str = include_str!("../../page/index.html");
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| FILES.iter().map(|(.., text)| tag(text)).collect());
static PAGE_TAG: LazyLock<String> = LazyLock::new(|| tag(PAGE));

fn tag(text: &str) -> String {
    let hash = secret::hash(text).0;
    format!("\"{}\"", hash[..12].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// `GET /check`.
pub(super) async fn page(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let mut response = isolated(&state, answer(&headers, HTML, &PAGE_TAG, PAGE));
    let allowed = HeaderValue::from_static("camera=(self), microphone=(self), speaker-selection=(self)");
    response.headers_mut().insert(HeaderName::from_static("permissions-policy"), allowed);
    response
}

/// `GET /check/…`.
pub(super) async fn file(
    State(state): State<AppState>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(at) = FILES.iter().position(|(known, ..)| *known == name) else { return pages::not_found() };
    let (_, kind, text) = FILES[at];
    isolated(&state, answer(&headers, kind, &TAGS[at], text))
}

/// Isolates an answer, so that its clock is fine enough to measure by, and says what it may do. A worker has both from its own file, not
/// from the page that starts it.
fn isolated(state: &AppState, mut response: Response) -> Response {
    let set = response.headers_mut();
    let embedder = HeaderName::from_static("cross-origin-embedder-policy");
    set.insert(embedder, HeaderValue::from_static("require-corp"));
    let own = state.media.as_ref().map(|media| media.url.clone());
    let policy = policy(own.into_iter().chain(state.other_media.now()));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        set.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// What the page may do: run its own scripts, talk to this server and to media endpoints of its nodes, and nothing else.
fn policy(media: impl Iterator<Item = String>) -> String {
    let origins: BTreeSet<String> =
        media.map(|url| url.split('/').take(3).collect::<Vec<_>>().join("/")).collect();
    let origins = origins.into_iter().collect::<Vec<_>>().join(" ");
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' {origins}; \
         worker-src 'self'; media-src 'self' blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
}

fn answer(headers: &HeaderMap, kind: &'static str, tag: &str, text: &'static str) -> Response {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let same = known.flat_map(|line| line.split(',')).any(|one| one.trim().trim_start_matches("W/") == tag);
    let caching = [(header::ETAG, tag), (header::CACHE_CONTROL, "no-cache")];
    match same {
        true => (StatusCode::NOT_MODIFIED, caching).into_response(),
        false => (caching, [(header::CONTENT_TYPE, kind)], text).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_endpoint_and_nothing_else() {
        let policy = policy(["https://192.0.2.1:7443/media".to_owned()].into_iter());
        assert!(policy.contains("connect-src 'self' https://192.0.2.1:7443;"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    }

    #[test]
    fn every_file_of_the_page_is_served_and_every_import_is_one() {
        let mut on_disk: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/page"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "index.html")
            .collect();
        on_disk.sort();
        let mut served: Vec<&str> = FILES.iter().map(|(name, ..)| *name).collect();
        served.sort_unstable();
        assert_eq!(served, on_disk);
        for (name, _, text) in FILES {
            for import in text.split("'./").skip(1).filter_map(|rest| rest.split('\'').next()) {
                assert!(served.contains(&import), "{name} imports {import}");
            }
        }
    }
}
