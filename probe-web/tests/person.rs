//! What is kept on somebody, handed out and erased.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "house/mod.rs"]
mod house;
#[path = "../src/testing.rs"]
mod testing;

use greenroom_web::auth::link;
use greenroom_web::store::*;
use greenroom_web::transfer;
use greenroom_web::verify::verify;
use house::{House, now};
use jiff::SignedDuration;

/// Whose.
const NAME: &str = "Ada L_velace";

/// A report of somebody, with an agent and a device that say so, too.
fn report_of(n: u64, person: &str) -> greenroom_reports::schema::Report {
    let mut report = house::report(n, person);
    report.labels.insert("site".into(), "Lyon".into());
    report.labels.insert("ticket".into(), format!("T-{n}"));
    report.agent.id = Some(format!("laptop of {person}"));
    report.verdict.say = format!("The headset of {person} is silent.");
    report
}

async fn sums(store: &dyn Store) -> Vec<Rollups> {
    let mut sums = Vec::new();
    for resolution in Resolution::ALL {
        let (from, to) = (jiff::Timestamp::MIN, jiff::Timestamp::MAX);
        let query = RollupQuery { resolution, from, to, site: None, endpoint: None };
        sums.push(store.rollups(Tenant::FIRST, &query).await.unwrap());
    }
    sums
}

/// Everything that a store holds of reports, as text.
async fn everything(store: &dyn Store) -> String {
    let mut file = Vec::new();
    transfer::export(store, transfer::Settings::Included, now(), &mut file, &mut |_| {}).await.unwrap();
    String::from_utf8(zstd::decode_all(&file[..]).unwrap()).unwrap()
}

async fn filled() -> (House, String) {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    for n in 0..6 {
        let person = if n % 2 == 0 { NAME } else { "Ada Lovelace" };
        assert_eq!(house.send(&key, &report_of(n, person)).await.status, 202);
    }
    let admin = house.sign_in(Tenant::FIRST, "root", Role::Admin).await;
    let note = Note { at: now(), by: "root".into(), text: format!("{NAME} called.") };
    for n in [0, 1] {
        house.store.add_note(Tenant::FIRST, testing::id(n), &note).await.unwrap();
    }
    let new = link::NewCheckLink {
        ticket: "T-9".into(),
        person: Some(NAME.into()),
        target: None,
        author: "root".into(),
        expires: now() + SignedDuration::from_hours(24),
        most: 5,
    };
    house.store.add_check_link(&link::mint_check(Tenant::FIRST, new, now()).1).await.unwrap();
    for path in
        ["/reports?q=Ada+L_velace", "/reports?person=Ada+L_velace&site=Lyon", "/reports?q=Ada+Lovelace"]
    {
        assert_eq!(house.get(path, &admin).await.status, 200);
    }
    (house, admin)
}

#[tokio::test]
async fn who_is_erased_is_in_nothing_that_is_kept_and_the_figures_stay() {
    let (house, admin) = filled().await;
    let before = sums(&*house.store).await;
    let say = [("person", NAME), ("again", "Ada Lovelace")];
    let refused = house.form("/people/erase", &admin, &say).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(everything(&*house.store).await.contains(NAME));

    let done = house.form("/people/erase", &admin, &[("person", NAME), ("again", NAME)]).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert!(done.text.contains("3 reports, 1 check links, 2 entries"), "{}", done.text);
    let left = everything(&*house.store).await;
    // What another person's note says is that person's.
    assert_eq!(left.matches(NAME).count(), 1, "the other one's note: {left}");
    assert!(left.contains("Ada Lovelace"), "others stay");
    assert_eq!(sums(&*house.store).await, before);
    let found = verify(&*house.store, now()).await.unwrap();
    assert!(found.is_sound(), "{found:?}");
    assert_eq!((found.reports, found.headers_alone, found.buckets_open), (6, 0, 0), "{found:?}");
    for n in [0, 2, 4] {
        let header = house.store.summary(Tenant::FIRST, testing::id(n)).await.unwrap().unwrap();
        assert_eq!((header.person, header.agent), (None, None));
        assert_eq!((header.site.as_deref(), header.ticket), (Some("Lyon"), Some(format!("T-{n}"))));
        let page = house.get(&format!("/reports/{}", testing::id(n)), &admin).await;
        assert_eq!(page.status, 200);
        assert!(!page.text.contains("L_velace"), "{}", page.text);
    }
    let log = house.store.audit_log(Tenant::FIRST, None, 50).await.unwrap();
    assert!(log.iter().all(|entry| !entry.subject.contains("L_velace")), "{log:?}");
    assert!(log.iter().any(|entry| entry.subject == "Ada Lovelace"), "searches for others stay");
    let erased: Vec<_> = log.iter().filter(|entry| entry.action == "person.erase").collect();
    assert_eq!(erased.len(), 2, "begun, and done");
    assert!(erased.iter().all(|entry| entry.actor == "root"));
    // Sent once more by a client that missed the answer, the report is the one that was erased.
    let key = house.key(Tenant::FIRST).await;
    let again = house.send(&key, &report_of(0, NAME)).await;
    assert_eq!((again.status, again.json()["status"].as_str()), (202, Some("duplicate")));
    assert_eq!(everything(&*house.store).await.matches(NAME).count(), 1);
    let none = house.form("/people/erase", &admin, &[("person", NAME), ("again", NAME)]).await;
    assert!(none.text.contains("0 reports, 0 check links"), "{}", none.text);
    house.state.stop().await;
}

#[tokio::test]
async fn everything_on_a_person_is_one_file() {
    let (house, admin) = filled().await;
    let file = house.form("/people/export", &admin, &[("person", NAME)]).await;
    assert_eq!(file.status, 200);
    let file = file.json();
    assert_eq!((file["format"].as_str(), file["person"].as_str()), (Some("greenroom.person/1"), Some(NAME)));
    let reports = file["reports"].as_array().unwrap();
    let ids: Vec<_> = reports.iter().map(|held| held["header"]["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [4, 2, 0].map(|n| testing::id(n).to_string()));
    let sent = serde_json::to_value(report_of(2, NAME)).unwrap();
    assert_eq!(reports[1]["report"], sent);
    assert_eq!(reports[2]["notes"][0]["text"].as_str(), Some("Ada L_velace called."));
    assert_eq!(file["check_links"].as_array().unwrap().len(), 1);
    assert_eq!(file["looked_for"].as_array().unwrap().len(), 2, "the search, and this");
    assert!(!file.to_string().contains("Lovelace"), "others are in no file of hers");
    let log = house.store.audit_log(Tenant::FIRST, None, 5).await.unwrap();
    assert_eq!((log[0].action.as_str(), log[0].subject.as_str()), ("person.export", NAME));
    let nobody = house.form("/people/export", &admin, &[("person", "Eve")]).await.json();
    assert_eq!(nobody["reports"].as_array().unwrap().len(), 0);
    house.state.stop().await;
}

#[tokio::test]
async fn people_are_for_admins_and_of_their_own_tenant() {
    let (house, _) = filled().await;
    let support = house.sign_in(Tenant::FIRST, "sue", Role::Support).await;
    let say = [("person", NAME), ("again", NAME)];
    for path in ["/people/export", "/people/erase"] {
        assert_eq!(house.form(path, &support, &say).await.status, 403, "{path}");
        assert_eq!(house.form(path, "", &say).await.status, 303, "{path}");
    }
    assert_eq!(house.get("/people", &support).await.status, 403);
    let other = house.store.add_tenant("other", now()).await.unwrap();
    let theirs = house.sign_in(other, "mallory", Role::Admin).await;
    assert_eq!(house.get("/people", &theirs).await.status, 200);
    let file = house.form("/people/export", &theirs, &say[..1]).await.json();
    assert_eq!(file["reports"].as_array().unwrap().len(), 0);
    let done = house.form("/people/erase", &theirs, &say).await;
    assert!(done.text.contains("0 reports"), "{}", done.text);
    assert!(everything(&*house.store).await.contains(NAME));
    for wrong in ["", "  ", "a\nb", &"x".repeat(257)] {
        let refused = house.form("/people/erase", &theirs, &[("person", wrong), ("again", wrong)]).await;
        assert_eq!(refused.status, 422, "{wrong:?}");
    }
    house.state.stop().await;
}

#[tokio::test]
async fn after_thirty_days_what_is_personal_goes_by_itself() {
    let (house, admin) = filled().await;
    house.pass(SignedDuration::from_hours(24 * 32));
    let retired = house
        .store
        .retire(house.state.clock.now() - SignedDuration::from_hours(24 * 30), house.state.clock.now());
    assert_eq!(retired.await.unwrap(), 6);
    assert!(!everything(&*house.store).await.contains(NAME));
    let admin_again =
        house.form("/login", "", &[("name", "root"), ("password", house::PASSWORD)]).await.cookie();
    assert_ne!(admin, admin_again);
    let file = house.form("/people/export", &admin_again, &[("person", NAME)]).await.json();
    assert_eq!(file["reports"].as_array().unwrap().len(), 0);
    house.state.stop().await;
}
