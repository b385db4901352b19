//! Refusals that several requests have in common, for `responses(…)` in their descriptions. None of these types is ever made.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};

/// Of what the store is asked for.
pub(crate) enum NoStore {}

/// Of what is let in so often.
pub(crate) enum NotNow {}

/// Of a body of JSON, whose 400 is told beside it.
pub(crate) enum NotJson {}

/// Of a body that may be packed, as samples and reports are.
pub(crate) enum NotPacked {}

/// Of what is told to who has a key or signed in.
pub(crate) enum NoReader {}

/// Of what an admin changes.
pub(crate) enum NoAdmin {}

impl IntoResponses for NoStore {
    fn responses() -> Refusals {
        refusals([(503, "The store does not answer")])
    }
}

impl IntoResponses for NotNow {
    fn responses() -> Refusals {
        const WORDS: &str = "Not now; `Retry-After` says when";
        refusals([(429, WORDS), (503, WORDS)])
    }
}

impl IntoResponses for NotJson {
    fn responses() -> Refusals {
        refusals([
            TOO_SLOW,
            (413, "The body is too large"),
            (415, "The body is not JSON"),
            (422, "A field is not as it should be"),
        ])
    }
}

impl IntoResponses for NotPacked {
    fn responses() -> Refusals {
        refusals([
            (400, "The body is not as its headers say, or no JSON"),
            TOO_SLOW,
            (413, "More than 2 MiB, or more than 4 MiB unpacked"),
            (415, "Not JSON, or packed in a way that is not known"),
        ])
    }
}

impl IntoResponses for NoReader {
    fn responses() -> Refusals {
        refusals([(401, "No good key and no session")])
    }
}

impl IntoResponses for NoAdmin {
    fn responses() -> Refusals {
        refusals([(401, "Nobody signed in"), (403, "Not an admin")])
    }
}

/// What both kinds of body have.
const TOO_SLOW: (u16, &str) = (408, "The body took longer than 30 s");

type Refusals = BTreeMap<String, RefOr<Response>>;

fn refusals<const N: usize>(all: [(u16, &str); N]) -> Refusals {
    let one = |(status, words): (u16, &str)| {
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new().description(words).content("application/problem+json", content);
        (status.to_string(), RefOr::T(response.build()))
    };
    all.into_iter().map(one).collect()
}
