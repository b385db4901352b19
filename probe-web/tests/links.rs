//! Links that are given away, and a report beside others, asked as browsers, programs and attackers ask them.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "house/mod.rs"]
mod house;
#[path = "../src/testing.rs"]
mod testing;

use greenroom_reports::schema::State as Verdict;
use greenroom_web::store::*;
use house::{House, SAID, report};
use jiff::SignedDuration;
use serde_json::json;

/// The secret that a page shows this once.
fn secret(page: &str) -> String {
    page.split("<code class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned()
}

/// A check link for ticket T-77 and Ada, made on the page: its token.
async fn check_link(house: &House, cookie: &str, most: &str) -> String {
    let form =
        [("ticket", "T-77"), ("person", "Ada"), ("target", "probe.example"), ("days", "7"), ("most", most)];
    let page = house.form("/links", cookie, &form).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let link = secret(&page.text);
    link.strip_prefix("http://127.0.0.1:8080/c/").unwrap().to_owned()
}

#[tokio::test]
async fn what_comes_by_a_check_link_lands_on_its_ticket() {
    let house = House::new().await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Support).await;
    let token = check_link(&house, &cookie, "2").await;
    assert!(!house.get("/links", &cookie).await.text.contains(&token), "shown once");
    let mut sent = report(1, "Eve");
    sent.labels.insert("ticket".into(), "T-1".into());
    let answer = house.send(&token, &sent).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("accepted")), "{}", answer.text);
    let kept = house.store.summary(Tenant::FIRST, sent.id).await.unwrap().unwrap();
    assert_eq!((kept.ticket.as_deref(), kept.person.as_deref()), (Some("T-77"), Some("Ada")));
    let page = house.get(&format!("/reports/{}", sent.id), &cookie).await.text;
    assert!(page.contains("Sent through a check link") && page.contains("T-77"));
    assert!(!page.contains("Eve") && !page.contains("T-1<"), "not what it says of itself");
}

#[tokio::test]
async fn a_check_link_is_used_up_by_what_is_accepted_alone() {
    let house = House::new().await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Support).await;
    let token = check_link(&house, &cookie, "2").await;
    assert_eq!(house.post(&token, "no report", None).await.status, 400);
    for _ in 0..3 {
        assert_eq!(house.send(&token, &report(1, "Ada")).await.status, 202);
    }
    assert_eq!(house.send(&token, &report(2, "Ada")).await.status, 202);
    // The answer to the last one may have been lost.
    let again = house.send(&token, &report(2, "Ada")).await;
    assert_eq!((again.status, &again.json()["status"]), (202, &json!("duplicate")));
    let third = house.send(&token, &report(3, "Ada")).await;
    assert_eq!((third.status, &third.json()["type"]), (403, &json!("urn:greenroom:problem:used-up")));
    assert_eq!(house.store.list(Tenant::FIRST, &Filter::default(), None, 9).await.unwrap().len(), 2);
    assert_eq!(house.store.check_links(Tenant::FIRST, 9).await.unwrap()[0].used, 2);
    assert_eq!(house.get(&format!("/c/{token}"), "").await.status, 410);
}

#[tokio::test]
async fn many_at_once_use_a_check_link_up_no_further_than_it_goes() {
    let house = House::new().await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Support).await;
    let token = check_link(&house, &cookie, "5").await;
    let senders = (0..12).map(|n| {
        let (house, token) = (house.clone(), token.clone());
        tokio::spawn(async move { house.send(&token, &report(n, "Ada")).await.status })
    });
    let mut accepted = 0;
    for sender in senders.collect::<Vec<_>>() {
        let status = sender.await.unwrap();
        assert!(matches!(status, 202 | 403), "{status}");
        accepted += u32::from(status == 202);
    }
    assert_eq!(accepted, 5);
    assert_eq!(house.store.list(Tenant::FIRST, &Filter::default(), None, 99).await.unwrap().len(), 5);
}

#[tokio::test]
async fn the_page_of_a_check_link_tells_what_to_do_and_nothing_of_the_ticket() {
    let house = House::new().await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Support).await;
    let token = check_link(&house, &cookie, "5").await;
    for _ in 0..9 {
        let page = house.get(&format!("/c/{token}"), "").await;
        assert_eq!(page.status, 200);
        for part in [
            format!("greenroom diagnose probe.example --ticket http://127.0.0.1:8080/c/{token}"),
            "for 5 more checks".into(),
        ] {
            assert!(page.text.contains(&part), "{part}: {}", page.text);
        }
        assert!(!page.text.contains("T-77") && !page.text.contains("Ada"));
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        assert_eq!(page.headers["x-robots-tag"], "noindex, nofollow");
    }
    for wrong in ["gc_", "gc_x", "x", "gs_x", &token[..40]] {
        assert_eq!(house.get(&format!("/c/{wrong}"), "").await.status, 404, "{wrong}");
    }
}

#[tokio::test]
async fn a_check_link_ends_by_time_by_hand_and_for_its_tenant() {
    let house = House::new().await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Support).await;
    let other = house.store.add_tenant("other", house::now()).await.unwrap();
    let theirs = house.sign_in(other, "eve", Role::Admin).await;
    let token = check_link(&house, &cookie, "5").await;
    let id = house.store.check_links(Tenant::FIRST, 9).await.unwrap()[0].id.clone();
    assert!(house.store.check_links(other, 9).await.unwrap().is_empty());
    assert!(!house.get("/links", &theirs).await.text.contains("T-77"));
    let revoke = format!("/links/{id}/revoke");
    assert_eq!(house.form(&revoke, &theirs, &[]).await.status, 404);
    assert_eq!(house.send(&token, &report(1, "Ada")).await.status, 202);
    house.pass(SignedDuration::from_hours(7 * 24 - 1));
    assert_eq!(house.send(&token, &report(2, "Ada")).await.status, 202);
    house.pass(SignedDuration::from_hours(1));
    let late = house.send(&token, &report(3, "Ada")).await;
    assert_eq!(late.status, 401);
    assert!(late.text.contains("time of this link is over"), "{}", late.text);
    let cookie = house.sign_in(Tenant::FIRST, "bob", Role::Support).await;
    let token = check_link(&house, &cookie, "5").await;
    let links = house.store.check_links(Tenant::FIRST, 9).await.unwrap();
    assert_eq!(house.form(&format!("/links/{}/revoke", links[0].id), &cookie, &[]).await.status, 303);
    let revoked = house.send(&token, &report(3, "Ada")).await;
    assert_eq!(revoked.status, 401);
    assert!(revoked.text.contains("revoked"), "{}", revoked.text);
    assert_eq!(house.get(&format!("/c/{token}"), "").await.status, 410);
}

#[tokio::test]
async fn links_are_for_roles_that_see_persons() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    house.send(&key, &report(1, "Ada")).await;
    let lin = house.sign_in(Tenant::FIRST, "lin", Role::SupportNoPii).await;
    assert_eq!(house.get("/links", &lin).await.status, 403);
    assert_eq!(
        house.form("/links", &lin, &[("ticket", "T"), ("days", "7"), ("most", "5")]).await.status,
        403
    );
    assert_eq!(house.form("/links/x/revoke", &lin, &[]).await.status, 403);
    let shares = format!("/reports/{}/shares", report(1, "Ada").id);
    assert_eq!(house.form(&shares, &lin, &[("days", "7")]).await.status, 403);
    assert_eq!(house.form("/shares/x/revoke", &lin, &[]).await.status, 403);
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Support).await;
    for form in [[("ticket", ""), ("days", "7")], [("ticket", "T"), ("days", "365")]] {
        assert_eq!(house.form("/links", &cookie, &form).await.status, 422);
    }
}

/// A share link of a report, made on its page: its path and its id.
async fn share_link(house: &House, cookie: &str, days: &str) -> (String, String) {
    let id = report(1, "Ada").id;
    let page = house.form(&format!("/reports/{id}/shares"), cookie, &[("days", days)]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let link = secret(&page.text);
    let kept = house.store.share_links(Tenant::FIRST, id).await.unwrap();
    (link.strip_prefix("http://127.0.0.1:8080").unwrap().to_owned(), kept[0].id.clone())
}

#[tokio::test]
async fn a_share_link_shows_one_report_without_the_person_and_counts_who_pressed_the_button() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let mut sent = report(1, "Ada Lovelace");
    sent.labels.insert("ticket".into(), "T-4711".into());
    sent.verdict.causes[0].evidence.push("on the laptop of Ada Lovelace".into());
    house.send(&key, &sent).await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Support).await;
    let (path, id) = share_link(&house, &cookie, "7").await;
    for _ in 0..5 {
        let landing = house.get(&path, "").await;
        assert_eq!(landing.status, 200);
        assert!(!landing.text.contains(SAID) && !landing.text.contains(&sent.code), "{}", landing.text);
    }
    let views = async || house.store.share_links(Tenant::FIRST, sent.id).await.unwrap()[0].views;
    assert_eq!(views().await, 0, "what only looks at links uses nothing up");
    let shown = house.form(&path, "", &[]).await;
    assert_eq!(shown.status, 200);
    assert!(shown.text.contains(SAID), "{}", shown.text);
    for personal in ["Ada", "Lovelace", "T-4711", "Add a note", "/reports"] {
        assert!(!shown.text.contains(personal), "{personal}");
    }
    assert_eq!(views().await, 1);
    let log = house.store.audit_log(Tenant::FIRST, None, 100).await.unwrap();
    let viewed = log.iter().find(|entry| entry.action == "share.view").unwrap();
    assert_eq!(
        (viewed.actor.clone(), viewed.subject.clone()),
        (format!("share link {id}"), sent.id.to_string())
    );
    assert!(log.iter().any(|entry| entry.action == "share.add"));
    let head = axum::http::Request::head(&path).body(axum::body::Body::empty()).unwrap();
    assert_eq!(house.ask(head).await.status, 200);
    assert_eq!(views().await, 1);
}

#[tokio::test]
async fn a_share_link_ends_by_time_and_by_hand() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    house.send(&key, &report(1, "Ada")).await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Support).await;
    let other = house.store.add_tenant("other", house::now()).await.unwrap();
    let theirs = house.sign_in(other, "eve", Role::Admin).await;
    let (path, id) = share_link(&house, &cookie, "1").await;
    assert_eq!(house.form(&format!("/shares/{id}/revoke"), &theirs, &[]).await.status, 404);
    let shares = format!("/reports/{}/shares", report(1, "Ada").id);
    assert_eq!(house.form(&shares, &theirs, &[("days", "7")]).await.status, 404);
    assert_eq!(house.form(&shares, &cookie, &[("days", "31")]).await.status, 422);
    assert_eq!(house.form(&format!("/shares/{id}/revoke"), &cookie, &[]).await.status, 303);
    for answer in [house.get(&path, "").await, house.form(&path, "", &[]).await] {
        assert_eq!(answer.status, 404);
        assert!(!answer.text.contains(SAID));
    }
    let (path, _) = share_link(&house, &cookie, "1").await;
    assert_eq!(house.form(&path, "", &[]).await.status, 200);
    house.pass(SignedDuration::from_hours(24));
    assert_eq!(house.form(&path, "", &[]).await.status, 404);
    // The tokens of links are good for nothing else.
    let token = path.strip_prefix("/s/").unwrap();
    assert_eq!(house.send(token, &report(2, "Ada")).await.status, 401);
    assert_eq!(house.get(&format!("/s/{key}"), "").await.status, 404);
}

#[tokio::test]
async fn a_report_stands_beside_the_person_s_earlier_ones_and_those_of_others_there() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Support).await;
    let mut earlier = report(1, "Ada");
    earlier.verdict.overall = Verdict::Ready;
    earlier.verdict.causes.remove(0);
    let (this, other, elsewhere) = (report(5, "Ada"), report(6, "Bob"), report(70, "Cem"));
    for mut sent in [earlier.clone(), this.clone(), other.clone(), elsewhere.clone()] {
        sent.labels.insert("site".into(), "Lyon".into());
        assert_eq!(house.send(&key, &sent).await.status, 202);
    }
    let page = house.get(&format!("/reports/{}", this.id), &cookie).await.text;
    let (_, beside) = page.split_once("Before, of this person").unwrap();
    let (before, others) = beside.split_once("Others at Lyon at that time").unwrap();
    assert!(before.contains(&earlier.code) && before.contains("new: "), "{before}");
    assert!(others.contains(&other.code), "{others}");
    for absent in [&this.code, &elsewhere.code, &earlier.code] {
        assert!(!others.contains(absent.as_str()), "{absent}: {others}");
    }
    let compared = house.get(&format!("/reports/{}/compare/{}", this.id, earlier.id), &cookie).await;
    assert_eq!(compared.status, 200);
    assert!(compared.text.contains("New causes") && compared.text.contains("Figures"), "{}", compared.text);
    let other_tenant = house.store.add_tenant("other", house::now()).await.unwrap();
    let theirs = house.sign_in(other_tenant, "eve", Role::Admin).await;
    assert_eq!(house.get(&format!("/reports/{}/compare/{}", this.id, earlier.id), &theirs).await.status, 404);
    // Who may not see persons is not told which reports are of the same one.
    let lin = house.sign_in(Tenant::FIRST, "lin", Role::SupportNoPii).await;
    let page = house.get(&format!("/reports/{}", this.id), &lin).await.text;
    assert!(!page.contains("Before, of this person") && page.contains("Others at Lyon"));
    assert_eq!(house.get("/reports?person=Ada", &lin).await.status, 403);
}

#[tokio::test]
async fn reports_are_found_by_time_and_place() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Support).await;
    for n in 0..4 {
        let mut sent = report(n, "Ada");
        match n {
            0 => drop(sent.labels.remove("site")),
            _ => drop(sent.labels.insert("site".into(), if n == 1 { "Oslo" } else { "Lyon" }.into())),
        }
        sent.agent.id = Some(format!("agent-{n}"));
        assert_eq!(house.send(&key, &sent).await.status, 202);
    }
    let found = async |query: &str| {
        let page = house.get(&format!("/reports?{query}"), &cookie).await;
        assert_eq!(page.status, 200, "{query}");
        (0..4).filter(|n| page.text.contains(&testing::report(*n).code)).collect::<Vec<_>>()
    };
    assert_eq!(found("site=Lyon").await, [2, 3]);
    assert_eq!(found("site=(none)").await, [0]);
    assert_eq!(found("site=Lyon&from=2026-11-22T14:03").await, [3]);
    assert_eq!(found("from=2026-11-22T14:01:00Z&to=2026-11-22T14:03:00Z").await, [1, 2]);
    assert_eq!(found("agent=agent-1").await, [1]);
    assert_eq!(found("site=Lyon&verdict=ready").await, Vec::<u64>::new());
    assert_eq!(house.get("/reports?from=yesterday", &cookie).await.status, 400);
}
