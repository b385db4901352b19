//! The half of an agent that sends reports and hears what is to be done.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use greenroom_reports::fleet::{AgentConfig, CheckIn, Told};
use greenroom_reports::units::Micros;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::desk::{Office, Standing};
use super::identity::replace;
use super::pace::{Pace, Step};
use super::server::{Said, ServerError, Session};
use super::spool::Key;
use super::status::Status;
use crate::net::clock::Clock;

/// The longest an agent that starts waits before it first asks.
const FIRST_ASK: f64 = 3.0;

/// Keys are changed after so long.
const KEY_LASTS: Duration = Duration::from_secs(90 * 86_400);

/// How often to look whether something changed that nobody tells of.
const LONGEST_SLEEP: Micros = Micros::from_secs(60);

pub(super) struct Sender {
    pub(super) office: Arc<Office>,
    pub(super) session: Session,
    pub(super) clock: Clock,
    pub(super) config_file: PathBuf,
    pub(super) status_file: PathBuf,
    pub(super) key_file: PathBuf,
    pub(super) status: Status,
}

impl Sender {
    /// Sends and asks until it is stopped.
    pub(super) async fn work(mut self, stop: CancellationToken) {
        let mut pace = Pace::begin(self.clock.now(), self.every(), chance());
        let mut ask_at = self.clock.now() + seconds(FIRST_ASK * chance());
        while !stop.is_cancelled() {
            self.tell_status();
            pace.asked_every(self.every());
            let now = self.clock.now();
            let (fresh, waiting) = {
                let mut desk = self.office.desk();
                desk.keep_held();
                (desk.fresh.is_some() || !desk.held.is_empty(), desk.next(false).is_some())
            };
            let wait = match pace.step(fresh, waiting, now) {
                // An agent that does not know whether it may report asks that first.
                _ if now >= ask_at && pace.may(now) => {
                    let ended = tokio::select! {
                        () = stop.cancelled() => return,
                        ended = self.check_in() => ended,
                    };
                    // One that failed is made up for as soon as the pace allows.
                    if ended.is_ok() {
                        ask_at = self.next_ask();
                    }
                    self.note(&mut pace, &ended);
                    continue;
                }
                step @ (Step::Newest | Step::Oldest) => {
                    let ended = tokio::select! {
                        () = stop.cancelled() => return,
                        ended = self.send(step == Step::Newest) => ended,
                    };
                    if ended.is_ok() {
                        ask_at = self.next_ask();
                    }
                    self.note(&mut pace, &ended);
                    continue;
                }
                Step::Wait(until) => until.min(ask_at.max(pace.not_before())),
                Step::Idle => ask_at.max(pace.not_before()),
            };
            let sleep = (wait - now).min(LONGEST_SLEEP).to_duration();
            self.office.rest();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.office.to_send.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    fn next_ask(&self) -> Micros {
        // A quarter either way, so that agents which were told the same do not come together.
        self.clock.now() + seconds(self.every().as_secs_f64() * (0.75 + 0.5 * chance()))
    }

    /// After how long the server wants to be asked.
    fn every(&self) -> Duration {
        Duration::from_secs(u64::from(self.office.desk().config.check_in_s.max(5)))
    }

    fn note(&self, pace: &mut Pace, ended: &Result<(), ServerError>) {
        let now = self.clock.now();
        let mut desk = self.office.desk();
        match ended {
            Ok(()) => {
                pace.succeeded(now);
                desk.last_error = None;
            }
            Err(error) => {
                if desk.last_error.as_deref() != Some(error.to_string().as_str()) {
                    tracing::warn!("{error}");
                }
                pace.failed(now, error.retry_after(), chance());
                desk.last_error = Some(error.to_string());
                // It is one of the old ones now: whatever is newest is tried first anyway.
                desk.fresh = None;
                match error {
                    ServerError::Pending => desk.standing = Standing::Pending,
                    ServerError::Revoked => desk.standing = Standing::Revoked,
                    _ => {}
                }
            }
        }
    }

    /// Sends one report. `Ok` also when there was none after all, or the server will never take it.
    async fn send(&mut self, newest: bool) -> Result<(), ServerError> {
        let taken = {
            let mut desk = self.office.desk();
            let said = Said { config: desk.config.version, ran: desk.ran };
            match desk.held.front().filter(|_| newest).cloned() {
                Some(held) => Some((None, held.packed, said)),
                None => self.read(&mut desk, newest)?.map(|(key, packed)| (Some(key), packed, said)),
            }
        };
        let Some((key, packed, said)) = taken else { return Ok(()) };
        let ended = self.session.send(packed, said).await;
        let mut desk = self.office.desk();
        desk.behind_ms = self.session.behind_ms().or(desk.behind_ms);
        match ended {
            Ok(told) => {
                match key {
                    Some(key) => desk.spool.sent(key),
                    None => drop(desk.held.pop_front()),
                }
                if desk.fresh == key {
                    desk.fresh = None;
                }
                desk.last_sent = Some(self.clock.wall());
                drop(desk);
                self.hear(told);
                Ok(())
            }
            Err(ServerError::Refused(why)) => {
                tracing::error!("the server will never take a report: {why}");
                desk.last_error = Some(format!("the server refused a report: {why}"));
                match key {
                    Some(key) => drop(desk.refused.insert(key)),
                    None => drop(desk.held.pop_front()),
                }
                if desk.fresh == key {
                    desk.fresh = None;
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn read(
        &self,
        desk: &mut super::desk::Desk,
        newest: bool,
    ) -> Result<Option<(Key, Vec<u8>)>, ServerError> {
        let Some((key, id)) = desk.next(newest) else {
            desk.fresh = None;
            return Ok(None);
        };
        match desk.spool.read(key) {
            Ok(Some(packed)) => Ok(Some((key, packed))),
            Ok(None) => {
                tracing::error!(%id, "a report is damaged on the disk and is lost");
                Ok(None)
            }
            Err(error) => {
                Err(ServerError::Unreachable(format!("a report cannot be read from the disk: {error}")))
            }
        }
    }

    async fn check_in(&mut self) -> Result<(), ServerError> {
        let said = {
            let desk = self.office.desk();
            CheckIn {
                config: desk.config.version,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                waiting: (desk.spool.len() + desk.held.len()) as u64,
                oldest: desk.spool.waiting().next().map(|(_, waiting)| waiting.made),
                dropped: desk.spool.lost(),
                ran: desk.ran,
                trouble: desk.trouble.clone(),
            }
        };
        let told = self.session.check_in(&said).await?;
        self.office.desk().behind_ms = self.session.behind_ms();
        self.hear(told);
        self.change_key_in_time().await;
        Ok(())
    }

    /// Takes what the server said, and keeps a new configuration for the next start.
    fn hear(&self, told: Told) {
        let server_time = told.server_time;
        let mut desk = self.office.desk();
        desk.spool.expire(server_time);
        let before = (desk.config.version, desk.standing, desk.wanted.clone());
        let kept: Option<AgentConfig> = desk.hear(told);
        let is_new = before != (desk.config.version, desk.standing, desk.wanted.clone());
        drop(desk);
        if let Some(config) = kept {
            tracing::info!(
                version = config.version,
                schedules = config.schedules.len(),
                "a new configuration"
            );
            let text = serde_json::to_string_pretty(&config).unwrap_or_default();
            if let Err(error) = replace(&self.config_file, &text) {
                tracing::warn!("the configuration cannot be kept: {error}");
            }
        }
        if is_new {
            self.office.to_run.notify_one();
        }
    }

    async fn change_key_in_time(&mut self) {
        let age = std::fs::metadata(&self.key_file).and_then(|it| it.modified()).ok();
        let age = age.and_then(|at| jiff::Timestamp::try_from(at).ok());
        let is_old = age.is_some_and(|at| {
            let lasts = SignedDuration::try_from(KEY_LASTS).unwrap_or(SignedDuration::MAX);
            self.clock.wall().duration_since(at) > lasts
        });
        if !is_old {
            return;
        }
        match self.session.change_key().await {
            Ok(()) => tracing::info!("the key was changed"),
            Err(error) => tracing::warn!("the key cannot be changed now: {error}"),
        }
    }

    fn tell_status(&mut self) {
        let now = self.status.of(&self.office.desk(), &self.clock);
        if now != self.status {
            self.status = now;
            if let Err(error) = self.status.keep(&self.status_file) {
                tracing::debug!(%error, "the status cannot be told");
            }
        }
    }
}

fn seconds(seconds: f64) -> Micros {
    Micros::from_duration(Duration::from_secs_f64(seconds.max(0.0)))
}

/// Evenly from 0 to 1.
fn chance() -> f64 {
    rand::random()
}
