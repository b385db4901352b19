//! Renders a sample report: `cargo run -p greenroom-reports --example render_sample -- terminal bufferbloat 80`.
//! Writes `docs/verdict.svg`: `cargo run -p greenroom-reports --example render_sample -- picture > docs/verdict.svg`.

#[path = "../tests/render/samples.rs"]
mod samples;

use greenroom_reports::render::terminal::{self, Detail, Options};
use greenroom_reports::render::{html, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let report = match args.next().as_deref() {
        Some("ready") => samples::ready(),
        Some("blocked") => samples::blocked(),
        Some("hostile") => samples::hostile(),
        Some("loss") => samples::loss_15(),
        Some("devices") => samples::devices(),
        Some("narrow") => samples::narrow_upload(),
        _ => samples::bufferbloat(),
    };
    let width = args.next().map_or(Ok(80), |width| width.parse())?;
    let detail = if args.any(|arg| arg == "full") { Detail::Full } else { Detail::Normal };
    let options = Options { width, color: true, ascii: false, detail };
    match what.as_str() {
        "terminal" => print!("{}", terminal::render(&report, options)),
        "ascii" => print!("{}", terminal::render(&report, Options { color: false, ascii: true, ..options })),
        "html" => print!("{}", html::render(&report)),
        "json" => print!("{}", json::pretty(&report)?),
        "picture" => print!("{}", samples::picture()),
        _ => return Err("say one of: terminal, ascii, html, json, picture".into()),
    }
    Ok(())
}
