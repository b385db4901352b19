//! Bodies within bounds: so many bytes sent, so many unpacked, so deep.

use std::io::{self, Read};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::problem::Problem;

/// Most bytes of a request's body. A quick check has some 60 kB, a deep one some hundred.
pub const MAX_BODY: usize = 2 << 20;

/// How long a body may take to come.
const DEADLINE: Duration = Duration::from_secs(30);

/// Most bytes of JSON.
pub const MAX_JSON: usize = 4 << 20;

/// Most objects and arrays within each other. A report has about ten.
pub const MAX_DEPTH: usize = 32;

/// log2 of the largest window that a zstd frame may ask for: 8 MiB, what its highest usual level uses.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// How a body is packed, by its headers.
///
/// # Errors
/// 415 when it is not JSON, or packed otherwise.
pub fn packing(headers: &HeaderMap) -> Result<Packing, Problem> {
    fn text(value: Option<&HeaderValue>) -> &str {
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
    let kind = text(headers.get(CONTENT_TYPE)).split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Problem::unsupported("send the report as Content-Type: application/json"));
    }
    if headers.get_all(CONTENT_ENCODING).iter().count() > 1 {
        return Err(Problem::unsupported("send one Content-Encoding: gzip, zstd or none"));
    }
    match text(headers.get(CONTENT_ENCODING)).trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Packing::Plain),
        "gzip" | "x-gzip" => Ok(Packing::Gzip),
        "zstd" => Ok(Packing::Zstd),
        _ => Err(Problem::unsupported("this Content-Encoding is not understood: gzip, zstd or none")),
    }
}

/// A body, if it is not too long and does not take too long.
///
/// # Errors
/// 413, 408, or 400 where it broke off.
pub async fn whole(body: Body) -> Result<Bytes, Problem> {
    let collected = tokio::time::timeout(DEADLINE, Limited::new(body, MAX_BODY).collect()).await;
    match collected {
        Err(_) => Err(Problem::too_slow(format!("the body did not come within {} s", DEADLINE.as_secs()))),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(format!(
            "the body has more than {} MiB; pack it with gzip or zstd",
            MAX_BODY >> 20
        ))),
        Ok(Err(error)) => Err(Problem::bad_request(format!("the body broke off: {error}"))),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// Unpacks a body into JSON text and looks at its depth.
///
/// # Errors
/// 413 for more than [`MAX_JSON`], 400 for what cannot be unpacked, 422 for what is nested too deep.
pub fn unpack(packing: Packing, body: &[u8]) -> Result<Vec<u8>, Problem> {
    let json = match packing {
        Packing::Plain => bounded(body),
        Packing::Gzip => bounded(MultiGzDecoder::new(body)),
        Packing::Zstd => zstd_decoder(body).and_then(bounded),
    };
    let json = json.map_err(|error| {
        Problem::bad_request(format!("the body cannot be unpacked ({error}); was it cut off on the way?"))
    })?;
    if json.len() > MAX_JSON {
        return Err(Problem::too_large(format!(
            "unpacked it has more than {} MiB, which no report has",
            MAX_JSON >> 20
        )));
    }
    if depth(&json) > MAX_DEPTH {
        return Err(Problem::invalid(
            format!("it is nested more than {MAX_DEPTH} deep, which no report is"),
            Vec::new(),
        ));
    }
    Ok(json)
}

fn zstd_decoder(body: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// Reads at most one byte more than is allowed.
fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_JSON + 1).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    from.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How deep objects and arrays are nested. Of what is no JSON, any number.
fn depth(json: &[u8]) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    let mut rest = json;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            // Most of a report is in strings.
            b'"' => rest = behind_string(rest),
            b'{' | b'[' => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// What follows a string that has begun.
fn behind_string(mut text: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', text) {
        let is_end = text.get(at) == Some(&b'"');
        // What is escaped is no end.
        text = text.get(at + if is_end { 1 } else { 2 }..).unwrap_or_default();
        if is_end {
            return text;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_was_packed_comes_out() {
        let json = br#"{"a": [1, 2]}"#;
        assert_eq!(unpack(Packing::Plain, json).unwrap(), json);
        assert_eq!(unpack(Packing::Gzip, &gzip(json)).unwrap(), json);
        let packed = zstd::bulk::compress(json, 19).unwrap();
        assert_eq!(unpack(Packing::Zstd, &packed).unwrap(), json);
    }

    #[test]
    fn bombs_stop_at_the_limit() {
        let zeros = vec![b' '; 64 << 20];
        let bombs =
            [(Packing::Gzip, gzip(&zeros)), (Packing::Zstd, zstd::bulk::compress(&zeros, 19).unwrap())];
        for (packing, bomb) in bombs {
            assert!(bomb.len() < MAX_BODY, "{packing:?}: it would get in: {}", bomb.len());
            let refused = unpack(packing, &bomb).unwrap_err();
            assert_eq!(refused.status(), 413, "{packing:?}");
        }
    }

    #[test]
    fn a_zstd_frame_with_a_huge_window_is_refused() {
        // Magic, a descriptor without sizes, a window of 2^31 bytes, one empty last block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        assert_eq!(unpack(Packing::Zstd, &frame).unwrap_err().status(), 400);
    }

    #[test]
    fn rubbish_and_cut_off_bodies_are_refused() {
        let whole = gzip(br#"{"a": [1, 2, 3, 4]}"#);
        for (packing, bytes) in
            [(Packing::Gzip, &whole[..whole.len() - 9]), (Packing::Gzip, b"{}"), (Packing::Zstd, b"{}")]
        {
            assert_eq!(unpack(packing, bytes).unwrap_err().status(), 400);
        }
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        assert_eq!(depth(br#"{"a": "[[[[", "b\"[": [[1]]}"#), 3);
        assert_eq!(depth(br#""\\" [ "#), 1);
        let deep = "[".repeat(100_000);
        assert_eq!(unpack(Packing::Plain, deep.as_bytes()).unwrap_err().status(), 422);
    }

    #[test]
    fn only_json_in_known_packings() {
        let headers = |kind: &'static str, packed: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.extend(packed.map(|packed| (CONTENT_ENCODING, HeaderValue::from_static(packed))));
            packing(&headers)
        };
        assert_eq!(headers("application/json; charset=utf-8", None), Ok(Packing::Plain));
        assert_eq!(headers("Application/JSON", Some("GZIP")), Ok(Packing::Gzip));
        assert_eq!(headers("application/json", Some("zstd")), Ok(Packing::Zstd));
        assert_eq!(headers("application/json", Some("gzip, zstd")).unwrap_err().status(), 415);
        assert_eq!(headers("text/plain", None).unwrap_err().status(), 415);
        assert_eq!(packing(&HeaderMap::new()).unwrap_err().status(), 415);
    }
}
