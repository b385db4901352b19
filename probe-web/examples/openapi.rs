//! Writes the OpenAPI document to standard output: `cargo run -p greenroom-web --example openapi > probe-web/openapi.json`

fn main() {
    println!("{:#}", greenroom_web::api::document());
}
