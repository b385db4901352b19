//! Entity tags (RFC 9110 section 8.8.3): who has an answer already is told so, and not sent it again.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use ring::digest;

/// Adds a tag to what was found, and answers 304 where the asker has it.
pub(super) async fn entity_tags(request: Request, next: Next) -> Response {
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let asks = matches!(*request.method(), Method::GET | Method::HEAD);
    let response = next.run(request).await;
    if !asks || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Bodies here are whole in memory already.
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let hash = digest::digest(&digest::SHA256, &body);
    let tag = format!(
        "\"{}\"",
        hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>()
    );
    let same = known.is_some_and(|known| names(known.as_bytes(), &tag));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    // To be kept by whoever asked, and asked for again each time.
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if same {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(body))
}

/// Whether `If-None-Match` names the tag. Weak tags are compared as strong ones are (section 13.1.2).
fn names(known: &[u8], tag: &str) -> bool {
    let Ok(known) = std::str::from_utf8(known) else { return false };
    known.trim() == "*" || known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn tags_are_compared_one_by_one_and_weakly() {
        for known in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "\"b\",W/\"a\" ", "*"] {
            assert!(names(known.as_bytes(), "\"a\""), "{known}");
        }
        for known in ["", "\"b\"", "a", "\"aa\"", "W/"] {
            assert!(!names(known.as_bytes(), "\"a\""), "{known}");
        }
        assert!(!names(&[0xff], "\"a\""));
    }
}
