//! `greenroom devices host`.

use clap::Args;
use greenroom_reports::render::machine;
use greenroom_reports::schema::{Devices, Report};
use tokio_util::sync::CancellationToken;

use crate::check::devices::{Found, report_of, this_system};
use crate::cli::args::{Global, OutputArgs};
use crate::cli::exit::{CliError, Exit};
use crate::devices::host::encode::{self, Limit};
use crate::devices::host::{self, Watch};

#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// Leave out how fast it encodes, which keeps one core busy for about a second
    #[arg(long)]
    no_encode: bool,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &HostArgs, _global: &Global) -> Result<Exit, CliError> {
    args.output.check_writable()?;
    let from = crate::net::clock::Clock::start();
    let watch = Watch::start(host::here());
    let limit = Limit::new(encode::LONGEST, CancellationToken::new());
    let times = if args.no_encode { Vec::new() } else { encode::headroom(&limit) };
    let mut seen = watch.end();
    seen.machine.encode = times;
    let devices = Devices { system: this_system(), ..Devices::not_tested("only the computer was asked for") };
    let report = report_of(from, Found { devices, machine: Some(seen) }, &[], true);
    args.output.write_with(&report, || text_of(&report))?;
    Ok(Exit::Ready)
}

fn text_of(report: &Report) -> String {
    let lines = machine::lines(&report.host);
    let width = lines.iter().map(|(about, _)| about.len()).max().unwrap_or(0);
    lines.iter().map(|(about, text)| format!("{about:width$}  {}\n", text.replace('\u{a0}', " "))).collect()
}
