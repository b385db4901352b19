//! The OpenAPI 3.1 document, made from the code. Reports are described by their own JSON Schema.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{Modify, OpenApi, PartialSchema, ToSchema};

use super::described;

/// What stands above the paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Greenroom",
        description = "Reports of checks before and after calls: sent, found, added up and followed as they come.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    modifiers(&Keys),
    tags(
        (name = "reports", description = "Sending and finding reports"),
        (name = "fleet", description = "What many reports say together"),
        (name = "incidents", description = "What got worse, for whom, since when, why; and who is told of it"),
        (name = "agents", description = "What agents ask, and what is known of them"),
        (name = "check", description = "What the check page asks"),
        (name = "process", description = "For what watches the server"),
    )
)]
pub(super) struct Head;

/// How programs show who they are.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = |words: &str| {
            SecurityScheme::Http(
                HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(words)).build(),
            )
        };
        for (name, words) in [
            ("send_key", "A key that is good to send reports, `gr_…`, or what a check link holds, `gc_…`"),
            ("read_key", "A key that is good to read reports, with or without what is personal"),
            ("enroll_token", "A token that enrolls agents, `ge_…`"),
            ("agent_bearer", "What an agent got for a signed challenge, `ga_…`"),
            ("metrics_key", "A key that is good to read metrics"),
        ] {
            components.add_security_scheme(name, bearer(words));
        }
        let cookie =
            ApiKeyValue::with_description("__Host-greenroom", "The session of somebody who signed in");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// A report, as [`greenroom_reports::schema::json_schema`] describes it.
pub(crate) struct ReportBody;

impl PartialSchema for ReportBody {
    fn schema() -> RefOr<Schema> {
        Ref::from_schema_name(report_schema_name()).into()
    }
}

impl ToSchema for ReportBody {
    fn name() -> std::borrow::Cow<'static, str> {
        report_schema_name().into()
    }
}

/// What a report is called among the document's schemas.
const fn report_schema_name() -> &'static str {
    "Report"
}

/// A part of the report's schema, by its name there.
pub(super) fn of_report(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", json()));

/// `GET /api/v1/openapi.json`.
pub(super) async fn serve() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The document.
///
/// # Panics
/// When two schemas have the same name, which a test would have found.
pub fn json() -> Value {
    let (_, document) = described().split_for_parts();
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let mut report = greenroom_reports::schema::json_schema();
    let mut parts = report.as_object_mut().map(std::mem::take).unwrap_or_default();
    parts.remove("$schema");
    parts.remove("$id");
    let definitions = match parts.remove("$defs") {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    if let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") {
        // What the macros put there of it is a reference to itself.
        schemas.remove(report_schema_name());
        let all = definitions.into_iter().chain([(report_schema_name().to_owned(), Value::Object(parts))]);
        for (name, mut schema) in all {
            point_to_components(&mut schema);
            assert!(schemas.insert(name.clone(), schema).is_none(), "two schemas are called {name}");
        }
    }
    document
}

/// References within a JSON Schema become references within the document.
fn point_to_components(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(to) if name == "$ref" => {
                        *to = to.replace("#/$defs/", "#/components/schemas/");
                    }
                    value => point_to_components(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(point_to_components),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_that_is_checked_in_is_that_of_the_code() {
        let kept = include_str!("../../openapi.json");
        assert!(
            *kept == *DOCUMENT,
            "make it anew: cargo run -p greenroom-web --example openapi > probe-web/openapi.json"
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = json();
        let mut names = BTreeSet::new();
        references(&document, &mut names);
        assert!(names.len() > 100, "{}", names.len());
        for name in names {
            assert!(document.pointer(name.trim_start_matches('#')).is_some(), "{name}");
        }
    }

    fn references(value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(name)) = fields.get("$ref") {
                    names.insert(name.clone());
                }
                fields.values().for_each(|value| references(value, names));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, names)),
            _ => {}
        }
    }

    #[test]
    fn every_refusal_is_a_problem() {
        let document = json();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    if status.starts_with('4') || status.starts_with('5') {
                        assert!(
                            answer["content"]["application/problem+json"].is_object(),
                            "{method} {path} {status}"
                        );
                    }
                }
            }
        }
    }
}
