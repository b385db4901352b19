//! What programs ask: all of it under `/api/v1`, described by the OpenAPI document that is served beside it.
//!
//! Answers that may be asked again have an ETag (RFC 9110 section 8.8.3), refusals are `application/problem+json` (RFC 9457).

pub(crate) mod agents;
mod alerts;
mod document;
mod events;
mod fleet;
mod incidents;
pub(crate) mod params;
mod reader;
pub(crate) mod refusals;
mod reports;
mod tag;

use axum::Router;
use axum::middleware;
use axum::routing::get;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{self, AppState};
use crate::check;
use crate::routes as pages;

pub(crate) use document::ReportBody;
pub use document::json as document;
pub use events::{Listeners, News};

/// Routes for programs, without the document that describes them.
fn described() -> OpenApiRouter<AppState> {
    let tagged = OpenApiRouter::new()
        .routes(routes!(reports::list))
        .routes(routes!(reports::one))
        .routes(routes!(fleet::figures))
        .layer(middleware::from_fn(tag::entity_tags));
    OpenApiRouter::with_openapi(document::Head::openapi())
        .merge(tagged)
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::one))
        .routes(routes!(incidents::rules))
        .routes(routes!(alerts::put_rule, alerts::remove_rule))
        .routes(routes!(alerts::put_silence, alerts::remove_silence))
        .routes(routes!(agents::list))
        .routes(routes!(agents::completeness))
        .routes(routes!(agents::enroll))
        .routes(routes!(agents::challenge))
        .routes(routes!(agents::bearer))
        .routes(routes!(agents::new_key))
        .routes(routes!(agents::check_in))
        .routes(routes!(pages::ingest::ingest))
        .routes(routes!(events::listen))
        .routes(routes!(check::session))
        .routes(routes!(check::run::take))
        .routes(routes!(check::run::look))
        .routes(routes!(pages::metrics::page))
        .routes(routes!(app::alive))
        .routes(routes!(app::ready))
}

/// Routes for programs.
pub(crate) fn routes() -> Router<AppState> {
    let (router, _) = described().split_for_parts();
    router.route("/api/v1/openapi.json", get(document::serve).layer(middleware::from_fn(tag::entity_tags)))
}
