//! Checks an endpoint from a program of your own: `cargo run --example check -- greenroom://probe.example`.
//!
//! Without an argument it checks this computer against itself, which says nothing about the internet.

use greenroom::plan::{Against, Request, Traffic, plan};
use greenroom_reports::render::terminal;
use greenroom_reports::schema::{Mode, Use};
use greenroom_reports::verdict::Profile;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args().nth(1).map(|text| text.parse()).transpose()?;
    let request = Request {
        against: Against { endpoint, ..Against::default() },
        traffic: Traffic::Uses([Use::Audio, Use::Video1080p].into(), Mode::Quick),
        profile: Profile::default(),
        max_bytes: None,
    };
    let plan = plan(&request)?;
    println!(
        "This takes {} to {} s and up to {}.",
        plan.usual().as_secs(),
        plan.longest().as_secs(),
        plan.bytes
    );

    let report = greenroom::check(plan).await;
    print!("{}", terminal::render(&report, terminal::Options::default()));
    Ok(())
}
