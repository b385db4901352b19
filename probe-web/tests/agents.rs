//! Agents as they, admins and attackers ask: enrollment, bearers, what is told, and what is known of the fleet.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "house/mod.rs"]
mod house;
#[path = "../src/testing.rs"]
mod testing;

use axum::body::Body;
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use greenroom_reports::fleet::{RunFacts, Skipped, enrollment, new_key, token_request};
use greenroom_reports::schema::{Kind, Report, Source};
use greenroom_web::store::*;
use house::{Answer, House, now};
use jiff::SignedDuration;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use uuid::Uuid;

/// A computer that is, or wants to be, an agent.
struct Computer {
    pair: Ed25519KeyPair,
    agent: Uuid,
}

impl Computer {
    fn new(seed: u8) -> Self {
        Self { pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(), agent: Uuid::nil() }
    }

    fn public(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.sign(message).as_ref())
    }

    async fn enroll(&mut self, house: &House, token: &str) -> Answer {
        let asked = json!({
            "public_key": URL_SAFE_NO_PAD.encode(self.public()),
            "name": "laptop-7",
            "version": "0.1.0",
            "signature": self.sign(&enrollment(token, &self.public())),
        });
        let answer = post(house, "/api/v1/agents", Some(token), &asked).await;
        if answer.status == 201 {
            self.agent = answer.json()["agent"].as_str().unwrap().parse().unwrap();
        }
        answer
    }

    async fn challenge(&self, house: &House) -> String {
        let answer = post(house, "/api/v1/agents/challenge", None, &json!({ "agent": self.agent })).await;
        answer.json()["challenge"].as_str().unwrap().to_owned()
    }

    async fn answer(&self, house: &House, challenge: &str) -> Answer {
        let signature = self.sign(&token_request(self.agent, challenge));
        let asked = json!({ "agent": self.agent, "challenge": challenge, "signature": signature });
        post(house, "/api/v1/agents/bearer", None, &asked).await
    }

    async fn bearer(&self, house: &House) -> String {
        let challenge = self.challenge(house).await;
        let answer = self.answer(house, &challenge).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["bearer"].as_str().unwrap().to_owned()
    }

    /// The nth report of a start.
    fn report(&self, n: u64, boot: &str, seq: u64) -> Report {
        let mut report = testing::report(n);
        report.kind = Kind::Agent;
        report.tool.source = Source::Agent;
        report.agent.id = Some(self.agent.to_string());
        report.agent.boot = Some(boot.into());
        report.agent.seq = Some(seq);
        let facts = RunFacts {
            schedule: "calls".into(),
            due: Some(report.started),
            skipped: Skipped { call: 1, missed: 5, ..Skipped::default() },
            ..RunFacts::default()
        };
        report.settings.run.insert("agent".into(), serde_json::to_value(facts).unwrap());
        report
    }
}

async fn post(house: &House, path: &str, bearer: Option<&str>, body: &Value) -> Answer {
    let mut request = Request::post(path).header(CONTENT_TYPE, "application/json");
    if let Some(bearer) = bearer {
        request = request.header(AUTHORIZATION, format!("Bearer {bearer}"));
    }
    house.ask(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn token(house: &House, cookie: &str, most: &str, approve: &str) -> String {
    let form = [("name", "laptops"), ("site", "Lyon"), ("days", "7"), ("most", most), ("approve", approve)];
    let page = house.form("/agents/tokens", cookie, &form).await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.text.split("<code class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned()
}

/// An admin's session, and an agent that is in.
async fn enrolled(house: &House) -> (String, Computer) {
    let cookie = house.sign_in(Tenant::FIRST, "ada", Role::Admin).await;
    let token = token(house, &cookie, "5", "no").await;
    let mut computer = Computer::new(1);
    assert_eq!(computer.enroll(house, &token).await.status, 201);
    (cookie, computer)
}

fn kind(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned())
}

fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

async fn check_in(house: &House, bearer: &str, config: i64, ran: Option<Uuid>) -> Answer {
    let said = json!({ "config": config, "version": "0.1.0", "waiting": 3, "oldest": null, "dropped": 0, "ran": ran, "trouble": null });
    post(house, "/api/v1/agents/check-in", Some(bearer), &said).await
}

#[tokio::test]
async fn a_token_enrolls_as_many_as_it_may_and_is_kept_as_a_hash() {
    let house = House::new().await;
    let cookie = house.sign_in(Tenant::FIRST, "ada", Role::Admin).await;
    let token = token(&house, &cookie, "2", "no").await;
    assert!(token.starts_with("ge_"));
    assert!(!house.get("/agents", &cookie).await.text.contains(&token), "shown once");
    let (mut one, mut two, mut three) = (Computer::new(1), Computer::new(2), Computer::new(3));
    assert_eq!(one.enroll(&house, &token).await.json()["state"], "active");
    let first = one.agent;
    // The answer may have been lost: the same key is the same agent, and uses nothing up.
    assert_eq!((one.enroll(&house, &token).await.status, one.agent), (201, first));
    assert_eq!(two.enroll(&house, &token).await.status, 201);
    assert_eq!(kind(&three.enroll(&house, &token).await), problem(403, "used-up"));
    assert_eq!(two.enroll(&house, &token).await.status, 201, "who is in may ask again");
    let kept = &house.store.enroll_tokens(Tenant::FIRST, 9).await.unwrap()[0];
    assert_eq!((kept.used, kept.standing(now())), (2, Standing::UsedUp));
}

#[tokio::test]
async fn tokens_that_are_not_good_enroll_nobody() {
    let house = House::new().await;
    let cookie = house.sign_in(Tenant::FIRST, "ada", Role::Admin).await;
    let mut computer = Computer::new(1);
    for shown in ["ge_nothing", "gr_x_y", "", "ga_x"] {
        assert_eq!(computer.enroll(&house, shown).await.status, 401, "{shown}");
    }
    let revoked = token(&house, &cookie, "2", "no").await;
    let id = house.store.enroll_tokens(Tenant::FIRST, 9).await.unwrap()[0].id.clone();
    assert_eq!(house.form(&format!("/agents/tokens/{id}/revoke"), &cookie, &[]).await.status, 303);
    assert_eq!(computer.enroll(&house, &revoked).await.status, 401);
    let old = token(&house, &cookie, "2", "no").await;
    house.pass(SignedDuration::from_hours(8 * 24));
    assert_eq!(computer.enroll(&house, &old).await.status, 401);
    // A signature of another key, or over another token.
    let cookie = house.sign_in(Tenant::FIRST, "bea", Role::Admin).await;
    let good = token(&house, &cookie, "2", "no").await;
    let stranger = Computer::new(2);
    for signature in [stranger.sign(&enrollment(&good, &computer.public())), computer.sign(b"x"), "AA".into()]
    {
        let public_key = URL_SAFE_NO_PAD.encode(computer.public());
        let asked = json!({ "public_key": public_key, "name": "x", "version": "1", "signature": signature });
        assert_eq!(post(&house, "/api/v1/agents", Some(&good), &asked).await.status, 401);
    }
    let odd = json!({ "public_key": "AA", "name": "x", "version": "1", "signature": "" });
    assert_eq!(post(&house, "/api/v1/agents", Some(&good), &odd).await.status, 422);
    assert!(house.store.agents(Tenant::FIRST, None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_challenge_is_answered_once_in_time_and_by_the_right_key() {
    let house = House::new().await;
    let (_, computer) = enrolled(&house).await;
    let challenge = computer.challenge(&house).await;
    // Another key, another agent's challenge, a changed one.
    let stranger = Computer { agent: computer.agent, ..Computer::new(9) };
    assert_eq!(stranger.answer(&house, &challenge).await.status, 401);
    let other = Computer { agent: Uuid::from_u128(7), ..Computer::new(1) };
    let others = other.challenge(&house).await;
    assert_eq!(computer.answer(&house, &others).await.status, 401);
    assert_eq!(other.answer(&house, &others).await.status, 401, "no such agent");
    assert_eq!(computer.answer(&house, &challenge.replace(&challenge[..1], "_")).await.status, 401);
    assert_eq!(computer.answer(&house, &challenge).await.status, 200);
    assert_eq!(computer.answer(&house, &challenge).await.status, 401, "replayed");
    // One that was given before that and was not answered is good no more either.
    house.pass(SignedDuration::from_secs(1));
    let (early, late) = (computer.challenge(&house).await, {
        house.pass(SignedDuration::from_secs(1));
        computer.challenge(&house).await
    });
    assert_eq!(computer.answer(&house, &late).await.status, 200);
    assert_eq!(computer.answer(&house, &early).await.status, 401);
    let slow = computer.challenge(&house).await;
    house.pass(SignedDuration::from_secs(61));
    assert_eq!(computer.answer(&house, &slow).await.status, 401);
}

#[tokio::test]
async fn a_bearer_lets_in_for_a_quarter_of_an_hour_until_the_next_one() {
    let house = House::new().await;
    let (_, computer) = enrolled(&house).await;
    let first = computer.bearer(&house).await;
    assert_eq!(check_in(&house, &first, 0, None).await.status, 200);
    house.pass(SignedDuration::from_secs(60));
    let second = computer.bearer(&house).await;
    assert_eq!(check_in(&house, &first, 0, None).await.status, 401);
    assert_eq!(check_in(&house, &second, 0, None).await.status, 200);
    house.pass(SignedDuration::from_mins(15));
    assert_eq!(check_in(&house, &second, 0, None).await.status, 401);
    for odd in ["ga_", "ga_x_y", &second[..second.len() - 1], &format!("{second}x")] {
        assert_eq!(check_in(&house, odd, 0, None).await.status, 401, "{odd}");
    }
    // It is good for nothing else.
    let bearer = computer.bearer(&house).await;
    let asked = Request::get("/api/v1/reports").header(AUTHORIZATION, format!("Bearer {bearer}"));
    assert_eq!(house.ask(asked.body(Body::empty()).unwrap()).await.status, 401);
    let asked = Request::get("/metrics").header(AUTHORIZATION, format!("Bearer {bearer}"));
    assert_eq!(house.ask(asked.body(Body::empty()).unwrap()).await.status, 401);
}

#[tokio::test]
async fn who_was_revoked_is_out_at_once() {
    let house = House::new().await;
    let (cookie, computer) = enrolled(&house).await;
    let bearer = computer.bearer(&house).await;
    let path = format!("/agents/{}", computer.agent);
    assert_eq!(house.form(&path, &cookie, &[("act", "revoke")]).await.status, 303);
    assert_eq!(check_in(&house, &bearer, 0, None).await.status, 401);
    assert_eq!(house.send(&bearer, &computer.report(1, "b", 1)).await.status, 401);
    house.pass(SignedDuration::from_secs(1));
    let challenge = computer.challenge(&house).await;
    assert_eq!(kind(&computer.answer(&house, &challenge).await), problem(403, "agent-revoked"));
    let stranger = Computer { agent: computer.agent, ..Computer::new(9) };
    let challenge = computer.challenge(&house).await;
    assert_eq!(stranger.answer(&house, &challenge).await.status, 401, "told to its own key alone");
    let actions: Vec<String> =
        house.store.audit_log(Tenant::FIRST, None, 99).await.unwrap().into_iter().map(|e| e.action).collect();
    for action in ["enroll_token.add", "agent.enroll", "agent.revoke"] {
        assert!(actions.iter().any(|found| found == action), "{action}: {actions:?}");
    }
}

#[tokio::test]
async fn where_approval_is_needed_an_agent_waits_for_it() {
    let house = House::new().await;
    let cookie = house.sign_in(Tenant::FIRST, "ada", Role::Admin).await;
    let token = token(&house, &cookie, "1", "yes").await;
    let mut computer = Computer::new(1);
    assert_eq!(computer.enroll(&house, &token).await.json()["state"], "pending");
    let challenge = computer.challenge(&house).await;
    assert_eq!(kind(&computer.answer(&house, &challenge).await), problem(403, "agent-pending"));
    let path = format!("/agents/{}", computer.agent);
    assert!(house.get(&path, &cookie).await.text.contains("waits for approval"));
    let support = house.sign_in(Tenant::FIRST, "sam", Role::Support).await;
    assert_eq!(house.form(&path, &support, &[("act", "approve")]).await.status, 403);
    assert_eq!(house.form(&path, &cookie, &[("act", "approve")]).await.status, 303);
    assert_eq!(computer.answer(&house, &challenge).await.status, 200);
}

#[tokio::test]
async fn a_key_is_changed_with_both_signatures_and_the_old_one_is_worth_nothing() {
    let house = House::new().await;
    let (_, computer) = enrolled(&house).await;
    let bearer = computer.bearer(&house).await;
    let new = Computer { agent: computer.agent, ..Computer::new(2) };
    let statement = new_key(computer.agent, &new.public());
    let asked = |old: String, of_new: String| json!({ "public_key": URL_SAFE_NO_PAD.encode(new.public()), "old_signature": old, "new_signature": of_new });
    for wrong in [
        asked(new.sign(&statement), new.sign(&statement)),
        asked(computer.sign(&statement), computer.sign(&statement)),
    ] {
        assert_eq!(post(&house, "/api/v1/agents/key", Some(&bearer), &wrong).await.status, 401);
    }
    let right = asked(computer.sign(&statement), new.sign(&statement));
    assert_eq!(post(&house, "/api/v1/agents/key", Some(&bearer), &right).await.status, 204);
    // The answer may have been lost.
    assert_eq!(post(&house, "/api/v1/agents/key", Some(&bearer), &right).await.status, 204);
    house.pass(SignedDuration::from_secs(1));
    let challenge = computer.challenge(&house).await;
    assert_eq!(computer.answer(&house, &challenge).await.status, 401);
    assert_eq!(new.answer(&house, &challenge).await.status, 200);
}

#[tokio::test]
async fn reports_of_an_agent_are_its_own_and_count_once() {
    let house = House::new().await;
    let (cookie, computer) = enrolled(&house).await;
    let bearer = computer.bearer(&house).await;
    for (n, seq) in [(1, 1), (2, 2), (4, 4)] {
        for _ in 0..3 {
            let answer = house.send(&bearer, &computer.report(n, "boot-1", seq)).await;
            assert_eq!(answer.status, 202, "{}", answer.text);
            assert!(answer.json()["told"]["server_time"].is_string());
        }
    }
    house.send(&bearer, &computer.report(5, "boot-2", 1)).await;
    let boots = house.store.boots(Tenant::FIRST, computer.agent, 9).await.unwrap();
    let mut found: Vec<_> =
        boots.iter().map(|b| (b.boot.as_str(), b.last_seq, b.received, b.missing())).collect();
    found.sort_unstable();
    assert_eq!(found, [("boot-1", 4, 3, 1), ("boot-2", 1, 1, 0)]);
    // What was missing came late.
    house.send(&bearer, &computer.report(3, "boot-1", 3)).await;
    let boots = house.store.boots(Tenant::FIRST, computer.agent, 9).await.unwrap();
    assert!(boots.iter().all(|boot| boot.missing() == 0));
    let page = house.get(&format!("/agents/{}", computer.agent), &cookie).await;
    assert!(page.status == 200 && page.text.contains("laptop-7"), "{}", page.text);
    let strange = Report { agent: testing::report(9).agent, ..computer.report(9, "b", 1) };
    assert_eq!(house.send(&bearer, &strange).await.status, 403);
    let mut numberless = computer.report(9, "b", 1);
    numberless.agent.seq = None;
    assert_eq!(house.send(&bearer, &numberless).await.json()["errors"][0]["pointer"], "/agent/seq");
    let check = Report { kind: Kind::Check, ..computer.report(9, "b", 1) };
    assert_eq!(house.send(&bearer, &check).await.json()["errors"][0]["pointer"], "/kind");
}

async fn targets(house: &House, cookie: &str, targets: &str) -> Answer {
    house.form("/schedules/targets", cookie, &[("targets", targets), ("check_in", "60")]).await
}

async fn schedule(house: &House, cookie: &str, target: &str) -> Answer {
    let form =
        [("id", "calls"), ("targets", target), ("uses", "audio,720p"), ("mode", "quick"), ("every", "300")];
    house.form("/schedules", cookie, &form).await
}

#[tokio::test]
async fn an_agent_is_told_what_to_run_and_targets_of_the_list_alone() {
    let house = House::new().await;
    let (cookie, computer) = enrolled(&house).await;
    let bearer = computer.bearer(&house).await;
    let refused = schedule(&house, &cookie, "greenroom://probe.example").await;
    assert!(refused.status == 422 && refused.text.contains("not among the targets"), "{}", refused.text);
    assert_eq!(targets(&house, &cookie, "https://user:pw@x.example").await.status, 422);
    assert_eq!(targets(&house, &cookie, "greenroom://probe.example stun:stun.example").await.status, 303);
    assert_eq!(schedule(&house, &cookie, "greenroom://probe.example").await.status, 303);
    let told = check_in(&house, &bearer, -1, None).await.json();
    assert_eq!(told["config"]["version"], 2);
    assert_eq!(told["config"]["site"], "Lyon");
    assert_eq!(told["config"]["schedules"][0]["targets"][0], "greenroom://probe.example");
    assert!(check_in(&house, &bearer, 2, None).await.json().get("config").is_none(), "it has that one");
    // With a report, too.
    let answer = house.send(&bearer, &computer.report(1, "b", 1)).await.json();
    assert_eq!(answer["told"]["config"]["version"], 2);
    // What is taken off the list is not told any more, though the schedule still names it.
    assert_eq!(targets(&house, &cookie, "stun:stun.example").await.status, 303);
    let told = check_in(&house, &bearer, 2, None).await.json();
    assert_eq!(told["config"]["schedules"], json!([]));
    // A switch that stops all.
    assert_eq!(
        house.form("/schedules/pauses", &cookie, &[("schedule", ""), ("hours", "0")]).await.status,
        303
    );
    let told = check_in(&house, &bearer, 3, None).await.json();
    assert!(told["config"]["suppressions"][0]["until"].is_null());
    assert_eq!(house.form("/schedules/pauses/0/remove", &cookie, &[]).await.status, 303);
    assert_eq!(house.form("/schedules/calls/remove", &cookie, &[]).await.status, 303);
    assert_eq!(house.form("/schedules/calls/remove", &cookie, &[]).await.status, 404);
    let page = house.get("/schedules", &cookie).await;
    assert!(page.text.contains("No schedule yet"), "{}", page.text);
}

#[tokio::test]
async fn a_run_that_is_wanted_is_told_until_it_was_made() {
    let house = House::new().await;
    let (cookie, computer) = enrolled(&house).await;
    let bearer = computer.bearer(&house).await;
    let path = format!("/agents/{}", computer.agent);
    assert_eq!(house.form(&path, &cookie, &[("act", "run"), ("schedule", "calls")]).await.status, 303);
    let told = check_in(&house, &bearer, 0, None).await.json();
    assert_eq!(told["run_now"]["schedule"], "calls");
    let run: Uuid = told["run_now"]["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        check_in(&house, &bearer, 0, None).await.json()["run_now"]["id"],
        json!(run),
        "the answer was lost"
    );
    assert!(check_in(&house, &bearer, 0, Some(run)).await.json().get("run_now").is_none());
    assert!(check_in(&house, &bearer, 0, None).await.json().get("run_now").is_none());
    assert!(house.form(&path, &cookie, &[("act", "dance")]).await.status == 404);
}

#[tokio::test]
async fn how_complete_a_fleet_is_is_known_without_naming_anybody() {
    let house = House::new().await;
    let (cookie, computer) = enrolled(&house).await;
    assert_eq!(targets(&house, &cookie, "greenroom://probe.example").await.status, 303);
    assert_eq!(schedule(&house, &cookie, "greenroom://probe.example").await.status, 303);
    // Two hours later: 12 runs were due in the hour that is over, give or take the edges; 3 are here, and 3 were left out.
    house.pass(SignedDuration::from_hours(2));
    let bearer = computer.bearer(&house).await;
    for n in 0..3_u64 {
        let mut report = computer.report(n, "boot-1", n + 1);
        let ago = SignedDuration::from_mins(30 + 5 * i64::try_from(n).unwrap());
        report.started = house.state.clock.now().checked_sub(ago).unwrap();
        for _ in 0..3 {
            assert_eq!(house.send(&bearer, &report).await.status, 202);
        }
    }
    let found = house.get("/api/v1/fleet/completeness", &cookie).await.json();
    assert_eq!((&found["received"], &found["skipped"], &found["active"]), (&json!(3), &json!(3), &json!(1)));
    let due = found["due"].as_u64().unwrap();
    assert!((11..=13).contains(&due), "{found}");
    let expected = 3.0 / f64::from(u32::try_from(due - 3).unwrap());
    assert!((found["ratio"].as_f64().unwrap() - expected).abs() < 1e-9, "{found}");
    let key = house.key_for(Tenant::FIRST, KeyUse::Metrics).await;
    let asked = Request::get("/metrics").header(AUTHORIZATION, format!("Bearer {key}"));
    let metrics = house.ask(asked.body(Body::empty()).unwrap()).await.text;
    assert!(metrics.contains("greenroom_agents{state=\"active\"} 1\n"), "{metrics}");
    assert!(metrics.contains("greenroom_agent_runs{of=\"received\"} 3\n"), "{metrics}");
    assert!(!metrics.contains(&computer.agent.to_string()) && !metrics.contains("laptop-7"));
    // Nothing was heard for long: it is silent, and no run of the last hour is here.
    house.pass(SignedDuration::from_hours(3));
    let found = house.get("/api/v1/fleet/completeness", &cookie).await.json();
    assert_eq!((&found["received"], &found["silent"], &found["ratio"]), (&json!(0), &json!(1), &json!(0.0)));
}

#[tokio::test]
async fn tenants_and_roles_see_what_they_may() {
    let house = House::new().await;
    let (cookie, computer) = enrolled(&house).await;
    let other = house.store.add_tenant("other", now()).await.unwrap();
    let stranger = house.sign_in(other, "eve", Role::Admin).await;
    let path = format!("/agents/{}", computer.agent);
    assert_eq!(house.get(&path, &stranger).await.status, 404);
    assert_eq!(house.form(&path, &stranger, &[("act", "revoke")]).await.status, 404);
    assert!(!house.get("/agents", &stranger).await.text.contains("laptop-7"));
    let without = house.sign_in(Tenant::FIRST, "kim", Role::SupportNoPii).await;
    let support = house.sign_in(Tenant::FIRST, "sam", Role::Support).await;
    assert_eq!(house.get("/agents", &without).await.status, 403);
    assert_eq!(house.get("/api/v1/agents", &without).await.status, 403);
    let page = house.get("/agents", &support).await;
    assert!(page.status == 200 && page.text.contains("laptop-7") && !page.text.contains("Enrollment tokens"));
    assert_eq!(house.get("/schedules", &support).await.status, 403);
    assert_eq!(house.form("/agents/tokens", &support, &[("name", "x")]).await.status, 403);
    assert_eq!(
        house.form("/agents/tokens", &cookie, &[("name", "x"), ("days", "7"), ("most", "0")]).await.status,
        422
    );
    let listed = house.get("/api/v1/agents", &support).await.json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["name"]), (1, &json!("laptop-7")));
    let agent = house.store.agent(computer.agent).await.unwrap().unwrap();
    assert_eq!((agent.tenant, agent.site.as_deref()), (Tenant::FIRST, Some("Lyon")));
}

#[tokio::test]
async fn who_asks_without_end_is_told_to_wait() {
    let house = House::new().await;
    let (_, computer) = enrolled(&house).await;
    let bearer = computer.bearer(&house).await;
    let mut told = Vec::new();
    for _ in 0..70 {
        told.push(check_in(&house, &bearer, 0, None).await);
    }
    let refused = told.iter().find(|answer| answer.status == 429).expect("after some");
    assert!(refused.headers.contains_key("retry-after"));
    house.pass(SignedDuration::from_secs(60));
    assert_eq!(check_in(&house, &bearer, 0, None).await.status, 200);
    let mut computers: Vec<u16> = Vec::new();
    for seed in 0..150_u8 {
        computers.push(Computer::new(seed).enroll(&house, "ge_guess").await.status);
    }
    assert!(computers.contains(&429) && computers[0] == 401);
}
