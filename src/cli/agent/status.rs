//! `greenroom agent status`.

use clap::Args;
use jiff::Timestamp;

use super::super::exit::{CliError, Exit};
use super::super::output;
use super::{StateArgs, agent_error};
use crate::agent::identity::Enrolled;
use crate::agent::status::Status;
use crate::agent::{AgentError, Place};

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    state: StateArgs,

    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &StatusArgs) -> Result<Exit, CliError> {
    let place = Place::at(&args.state.folder()?);
    let enrolled = Enrolled::read(&place.enrolled()).map_err(|error| agent_error(&place, error.into()))?;
    let Some(enrolled) = enrolled else { return Err(agent_error(&place, AgentError::NotEnrolled)) };
    let status = Status::read(&place.status()).map_err(|error| CliError::input(&place.status(), &error))?;
    let running = place.folder().join("lock").exists() && matches!(place.lock(), Ok(None));
    if args.json {
        let told = serde_json::json!({ "enrolled": enrolled, "running": running, "status": status });
        output::to_stdout(&format!("{told:#}\n"))?;
    } else {
        output::to_stdout(&text(&enrolled, status.as_ref(), running))?;
    }
    Ok(Exit::Ready)
}

fn text(enrolled: &Enrolled, status: Option<&Status>, running: bool) -> String {
    let mut text = format!("Server    {}\nAgent     {}\n", enrolled.server, enrolled.agent);
    let Some(status) = status else {
        return text + "State     it never ran; start it with greenroom agent run\n";
    };
    let state = match (running, status.standing.as_str()) {
        (false, _) => "not running; what follows is what it last said".to_owned(),
        (true, "active") => format!("running (process {})", status.pid),
        (true, "pending") => "running, and waits for an admin to approve it on the page Agents".to_owned(),
        (true, "revoked") => "running, but revoked: enroll it again with a new token".to_owned(),
        (true, _) => "running; the server was not reached yet".to_owned(),
    };
    text += &format!("State     {state}\n");
    let schedules = if status.schedules.is_empty() { "none".to_owned() } else { status.schedules.join(", ") };
    text += &format!("Schedules {schedules} (configuration {})\n", status.config.max(0));
    let skipped = &status.skipped;
    text += &format!(
        "Runs      {} since {}; left out: {} in a call, {} on a metered link; missed {}, refused {}\n",
        status.runs,
        when(status.began),
        skipped.call,
        skipped.metered,
        skipped.missed,
        skipped.refused
    );
    text += &format!("Last run  {}\nLast sent {}\n", when(status.last_run), when(status.last_sent));
    text += &format!("Waiting   {} reports, {} kB on the disk\n", status.waiting, status.spool_bytes / 1_000);
    if status.lost > 0 {
        text += &format!("Lost      {} reports: too old, too many, or damaged on the disk\n", status.lost);
    }
    for words in status.trouble.iter().chain(&status.last_error) {
        text += &format!("Trouble   {words}\n");
    }
    text
}

fn when(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "–".to_owned(), |at| format!("{}", at.round(jiff::Unit::Second).unwrap_or(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_in_words() {
        let enrolled = Enrolled { server: "https://x.example".into(), agent: uuid::Uuid::from_u128(1) };
        assert!(text(&enrolled, None, false).contains("it never ran"));
        let status =
            Status { standing: "revoked".into(), last_error: Some("no".into()), ..Status::default() };
        let told = text(&enrolled, Some(&status), true);
        assert!(told.contains("revoked: enroll") && told.contains("Trouble   no"), "{told}");
    }
}
