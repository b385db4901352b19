//! What keeps an agent from its work.

use std::fs;

use super::identity::{Enrolled, Key};
use super::metered::is_metered;
use super::run::{Local, plan_of};
use super::server::{Keys, ServerError, Session};
use super::spool::{Folder, Limits, Spool};
use super::status::Status;
use super::{Place, kept_config};
use crate::devices::in_use::InUse;
use crate::net::clock::Clock;
use crate::net::upload::UploadUrl;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Good,
    Note,
    Bad,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    weight: Weight,
    /// What was found, and what to do about it.
    pub words: String,
}

impl Finding {
    /// It keeps the agent from its work.
    pub fn bad(words: impl Into<String>) -> Self {
        Self { weight: Weight::Bad, words: words.into() }
    }

    fn good(words: impl Into<String>) -> Self {
        Self { weight: Weight::Good, words: words.into() }
    }

    fn note(words: impl Into<String>) -> Self {
        Self { weight: Weight::Note, words: words.into() }
    }

    /// Whether it keeps the agent from its work.
    pub fn is_bad(&self) -> bool {
        self.weight == Weight::Bad
    }

    /// What stands before it.
    pub const fn mark(&self) -> &'static str {
        match self.weight {
            Weight::Good => "✓",
            Weight::Note => "–",
            Weight::Bad => "✗",
        }
    }
}

/// Looks at all of it. Nothing is changed, and nothing is sent but the question for a bearer.
pub async fn look(place: &Place) -> Vec<Finding> {
    let mut found = Vec::new();
    let running = match place.lock() {
        Ok(lock) => lock.is_none(),
        Err(error) => {
            found.push(Finding::bad(format!("{} cannot be written to: {error}", place.folder().display())));
            return found;
        }
    };
    found.push(match running {
        true => Finding::good("an agent runs"),
        false => Finding::note(
            "no agent runs; start it with greenroom agent run, or systemctl start greenroom-agent",
        ),
    });
    let enrolled = match Enrolled::read(&place.enrolled()) {
        Ok(Some(enrolled)) => enrolled,
        Ok(None) => {
            found.push(Finding::bad(
                "this computer is not enrolled: greenroom agent enroll --server URL --token-file FILE",
            ));
            return found;
        }
        Err(error) => {
            found.push(Finding::bad(error.to_string()));
            return found;
        }
    };
    match Key::read(&place.key()) {
        Ok(Some(_)) => {
            found.push(Finding::good(format!("enrolled at {} as {}", enrolled.server, enrolled.agent)));
        }
        Ok(None) => found.push(Finding::bad(
            "the key is gone; enroll this computer again: greenroom agent enroll --again",
        )),
        Err(error) => found.push(Finding::bad(error.to_string())),
    }
    found.extend(server(place, &enrolled, running).await);
    found.extend(schedules(place));
    found.push(spool(place, running));
    found.push(calls());
    found.push(match is_metered().await {
        Some(true) => {
            Finding::note("this link is metered: schedules that are not for metered links are left out")
        }
        Some(false) => Finding::good("this link is not metered"),
        None => Finding::note("nobody tells whether this link is metered; it is taken as not metered"),
    });
    found
}

/// Whether the server lets this agent in. A running agent is not asked in the place of: a second bearer would end its own.
async fn server(place: &Place, enrolled: &Enrolled, running: bool) -> Vec<Finding> {
    if running {
        return match Status::read(&place.status()) {
            Ok(Some(status)) => match status.last_error {
                Some(why) => vec![Finding::bad(format!("the running agent says: {why}"))],
                None if status.standing == "active" => {
                    vec![Finding::good("the running agent reaches the server")]
                }
                None => vec![Finding::note(format!("the running agent is {}", status.standing))],
            },
            _ => vec![Finding::note("the running agent has not said yet how it is doing")],
        };
    }
    let Ok(url) = enrolled.server.parse::<UploadUrl>() else {
        return vec![Finding::bad(format!(
            "{} is no server's address; enroll this computer again",
            enrolled.server
        ))];
    };
    let keys = match Keys::read(&place.key()) {
        Ok(Some(keys)) => keys,
        _ => return Vec::new(),
    };
    let mut session = Session::new(url, enrolled, keys, Clock::start());
    match session.try_bearer().await {
        Ok(()) => {
            let behind = session.behind_ms().unwrap_or(0);
            let clock = match behind.abs() {
                ..2_000 => Finding::good("the clock agrees with the server's"),
                _ => Finding::note(format!(
                    "the clock is {:.0} s {} the server's; times in reports are corrected by that",
                    (behind.abs() / 1_000),
                    if behind > 0 { "behind" } else { "ahead of" }
                )),
            };
            vec![Finding::good("the server lets this agent in"), clock]
        }
        Err(error @ ServerError::Pending) => vec![Finding::note(error.to_string())],
        Err(error) => vec![Finding::bad(error.to_string())],
    }
}

fn schedules(place: &Place) -> Vec<Finding> {
    let config = kept_config(&place.config());
    if config.version < 0 {
        return vec![Finding::note("the server has not told yet what to run")];
    }
    if config.schedules.is_empty() {
        return vec![Finding::note(
            "there is no schedule; an admin makes them on the page Schedules of the server",
        )];
    }
    let look = |schedule| match plan_of(schedule, &Local::default()) {
        Ok(_) => Finding::good(format!("schedule {} every {} s", schedule.id, schedule.every_s)),
        Err(why) => Finding::bad(why),
    };
    config.schedules.iter().map(look).collect()
}

fn spool(place: &Place, running: bool) -> Finding {
    if running {
        let bytes: u64 = fs::read_dir(place.spool())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .sum();
        return Finding::good(format!("reports take {} kB on the disk", bytes / 1_000));
    }
    let opened = Folder::open(&place.spool()).and_then(|disk| Spool::open(disk, Limits::default()));
    match opened {
        Ok(spool) if spool.damaged() > 0 => Finding::bad(format!(
            "{} stretches of {} are damaged; {} reports wait and are whole. Look after the disk",
            spool.damaged(),
            place.spool().display(),
            spool.len()
        )),
        Ok(spool) => Finding::good(format!("{} reports wait to be sent", spool.len())),
        Err(error) => Finding::bad(format!("{}: {error}", place.spool().display())),
    }
}

fn calls() -> Finding {
    let found = InUse::now();
    match (found.microphone, found.camera) {
        _ if found.is_call() => {
            Finding::note("a microphone or camera is in use now: scheduled runs are left out meanwhile")
        }
        (None, None) => Finding::note(
            "this system does not tell whether a microphone or camera is in use; runs are made also during calls",
        ),
        (Some(_), None) => Finding::good("microphones in use are seen; cameras of other users are not"),
        _ => Finding::good("no microphone and no camera is in use"),
    }
}
