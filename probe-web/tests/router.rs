//! The whole application, asked as browsers, programs and attackers ask it.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "house/mod.rs"]
mod house;
#[path = "../src/testing.rs"]
mod testing;

use std::io::Write as _;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::{Request, StatusCode};
use flate2::Compression;
use flate2::write::GzEncoder;
use greenroom_web::rollup::{Contribution, Sums};
use greenroom_web::store::*;
use house::{House, PASSWORD, SAID, now, report};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use tower::ServiceExt as _;
use uuid::Uuid;

/// A name, a body, its packing, the status that is expected and the field that is named.
type Refused = (&'static str, Vec<u8>, Option<&'static str>, u16, Option<&'static str>);

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_report_is_durable_once_it_is_accepted_and_counts_once() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let sent = report(1, "Ada");
    let json = serde_json::to_vec(&sent).unwrap();
    let first = house.post(&key, json.clone(), None).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let url = format!("http://127.0.0.1:8080/reports/{}", sent.id);
    assert_eq!(first.json(), json!({"id": sent.id, "code": sent.code, "status": "accepted", "url": url}));
    assert_eq!(house.store.raw(Tenant::FIRST, sent.id).await.unwrap(), Some(json.clone()));
    for (body, encoding) in [
        (json.clone(), None),
        (gzip(&json), Some("gzip")),
        (zstd::bulk::compress(&json, 3).unwrap(), Some("zstd")),
    ] {
        let again = house.post(&key, body, encoding).await;
        assert_eq!((again.status, &again.json()["status"]), (202, &json!("duplicate")), "{encoding:?}");
    }
    assert_eq!(house.store.list(Tenant::FIRST, &Filter::default(), None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_no_report_is_refused_in_words_that_name_the_field() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let good = String::from_utf8(serde_json::to_vec(&report(1, "Ada")).unwrap()).unwrap();
    let deep = format!("{{\"schema\": {}", "[".repeat(100_000));
    let mut many = report(1, "Ada");
    many.sketches = (0..17).map(|n| (format!("s{n}"), String::new())).collect();
    let many = serde_json::to_vec(&many).unwrap();
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let zstd_bomb = zstd::bulk::compress(&vec![b' '; 64 << 20], 19).unwrap();
    let cases: Vec<Refused> = vec![
        ("nothing", Vec::new(), None, 400, None),
        ("no JSON", b"hello".to_vec(), None, 400, None),
        ("cut off", good.as_bytes()[..good.len() / 2].to_vec(), None, 400, None),
        ("not UTF-8", vec![b'"', 0xff, b'"'], None, 422, Some("/schema")),
        ("another thing", b"{\"a\": 1}".to_vec(), None, 422, Some("/schema")),
        ("a later schema", good.replace("report/1", "report/9").into_bytes(), None, 422, Some("/schema")),
        (
            "a wrong type",
            good.replace("\"complete\":true", "\"complete\":7").into_bytes(),
            None,
            422,
            Some("/complete"),
        ),
        (
            "another's code",
            good.replace(&testing::report(1).code, "AAAA-AAAA").into_bytes(),
            None,
            422,
            Some("/code"),
        ),
        ("too deep", deep.into_bytes(), None, 422, None),
        ("too many histograms", many, None, 422, Some("/sketches")),
        ("too long", vec![b' '; (2 << 20) + 1], None, 413, None),
        ("a bomb", bomb, Some("gzip"), 413, None),
        ("another bomb", zstd_bomb, Some("zstd"), 413, None),
        ("no gzip", good.clone().into_bytes(), Some("gzip"), 400, None),
        ("no zstd", good.clone().into_bytes(), Some("zstd"), 400, None),
        ("packed otherwise", good.clone().into_bytes(), Some("br"), 415, None),
    ];
    for (name, body, encoding, status, pointer) in cases {
        let refused = house.post(&key, body, encoding).await;
        assert_eq!(refused.status, status, "{name}: {}", refused.text);
        assert_eq!(refused.headers[CONTENT_TYPE], "application/problem+json", "{name}");
        let problem = refused.json();
        assert_eq!(problem["status"], status, "{name}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{name}");
        if let Some(pointer) = pointer {
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{name}: {problem}");
        }
    }
    assert!(house.store.list(Tenant::FIRST, &Filter::default(), None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_a_good_key_lets_reports_in() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let (id, secret) = key.strip_prefix("gr_").unwrap().split_once('_').unwrap();
    let wrong = [
        "".to_owned(),
        "gr_".into(),
        format!("gr_{id}_"),
        format!("gr_{id}_{secret}x"),
        format!("gr_000_{secret}"),
    ];
    for wrong in wrong {
        let refused = house.send(&wrong, &report(1, "Ada")).await;
        assert_eq!(refused.status, 401, "{wrong}");
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
        assert!(!refused.text.contains(secret));
    }
    let by_cookie = Request::post("/api/v1/reports").header(COOKIE, &cookie).body(Body::empty()).unwrap();
    assert_eq!(house.ask(by_cookie).await.status, 401, "a session is no key");
    let revoked = house.form(&format!("/keys/{id}/revoke"), &cookie, &[]).await;
    assert_eq!(revoked.status, 303);
    assert_eq!(house.send(&key, &report(1, "Ada")).await.status, 401, "revoked");
}

#[tokio::test]
async fn the_first_admin_comes_by_a_link_that_is_good_once() {
    let house = House::new().await;
    let link = house.state.bootstrap().await.unwrap().unwrap();
    let path = link.strip_prefix("http://127.0.0.1:8080").unwrap();
    assert_eq!(house.get("/first/else", "").await.status, 410);
    assert_eq!(house.get(path, "").await.status, 200);
    let short = house.form(path, "", &[("name", "ann"), ("password", "short")]).await;
    assert_eq!(short.status, 422);
    assert!(short.text.contains("A password has 12 to 200 characters"), "{}", short.text);
    let made = house.form(path, "", &[("name", "ann"), ("password", PASSWORD)]).await;
    assert_eq!((made.status, made.location()), (303, "/keys"));
    let cookie = made.cookie();
    assert_eq!(house.get("/keys", &cookie).await.status, 200);
    let again = house.form(path, "", &[("name", "eve"), ("password", PASSWORD)]).await;
    assert_eq!(again.status, 410);
    assert_eq!(house.state.bootstrap().await.unwrap(), None);
    // A key made on the page works.
    let page = house.form("/keys", &cookie, &[("name", "laptops")]).await;
    let key = page.text.split("<code class=\"secret\">").nth(1).unwrap().split('<').next().unwrap();
    assert_eq!(house.send(key, &report(1, "Ada")).await.status, 202);
    assert!(!house.get("/keys", &cookie).await.text.contains(key), "shown once");
}

#[tokio::test]
async fn who_did_not_sign_in_sees_nothing_and_comes_back_to_where_they_wanted() {
    let house = House::new().await;
    for path in ["/", "/reports?q=a%20b", "/users", "/keys", "/audit", "/account", "/reports/x/json"] {
        let answer = house.get(path, "greenroom=forged").await;
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.location().starts_with("/login?next=%2F"), "{path}: {}", answer.location());
    }
    house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let login = async |next| {
        house.form("/login", "", &[("name", "ann"), ("password", PASSWORD), ("next", next)]).await
    };
    assert_eq!(login("/reports?q=a%20b").await.location(), "/reports?q=a%20b");
    assert_eq!(login("//evil.example").await.location(), "/");
    let out = house.form("/logout", &login("/").await.cookie(), &[]).await;
    assert!(out.headers[SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn passwords_are_not_guessed() {
    let house = House::new().await;
    house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let guess =
        async |name, password| house.form("/login", "", &[("name", name), ("password", password)]).await;
    for n in 0..8 {
        assert_eq!(guess("ann", "wrong wrong wrong").await.status, 401, "{n}");
    }
    assert_eq!(guess("ann", PASSWORD).await.status, 429, "even the right one waits");
    let unknown = guess("nobody", "wrong wrong wrong").await;
    assert_eq!(unknown.status, 401);
    assert!(unknown.text.contains("Name or password is wrong"));
}

#[tokio::test]
async fn forms_of_other_sites_do_not_act_here() {
    let house = House::new().await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let request = Request::post("/keys")
            .header(COOKIE, &cookie)
            .header("host", "127.0.0.1:8080")
            .header(name, value)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = house.ask(request.body(Body::from("name=evil")).unwrap()).await;
        assert_eq!(answer.status, 403, "{name}");
    }
    assert!(house.store.keys(Tenant::FIRST).await.unwrap().is_empty());
}

#[tokio::test]
async fn reports_are_found_by_code_ticket_and_person() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Support).await;
    let (mut ada, bob) = (report(1, "Ada Lovelace"), report(2, "Bob"));
    ada.labels.insert("ticket".into(), "T-77".into());
    for report in [&ada, &bob] {
        assert_eq!(house.send(&key, report).await.status, 202);
    }
    let said = ada.code.to_lowercase().replace('-', " ");
    for words in [said.as_str(), "T-77", "Ada Lovelace", " Ada Lovelace "] {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", words);
        let page = house.get(&format!("/reports?{}", query.finish()), &cookie).await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains(&ada.code), "{words}");
        assert!(!page.text.contains(&bob.code), "{words}");
    }
    let none = house.get("/reports?q=nobody", &cookie).await;
    assert!(none.text.contains("Nothing found"), "{}", none.text);
    let odd = house.get("/reports?q=%27+OR+1%3D1+--", &cookie).await;
    assert!(odd.text.contains("Nothing found"));
    let page = house.get(&format!("/reports/{}", ada.id), &cookie).await;
    assert_eq!(page.status, 200);
    for part in ["Ada Lovelace", "T-77", SAID, "Add a note"] {
        assert!(page.text.contains(part), "{part}");
    }
    let noted =
        house.form(&format!("/reports/{}/notes", ada.id), &cookie, &[("words", "called <back>")]).await;
    assert_eq!(noted.status, 303);
    assert!(house.get(&format!("/reports/{}", ada.id), &cookie).await.text.contains("called &lt;back&gt;"));
    let log = house.store.audit_log(Tenant::FIRST, None, 100).await.unwrap();
    let did = |action: &str, subject: &str| log.iter().any(|e| e.action == action && e.subject == subject);
    assert!(did("report.search", "Ada Lovelace") && did("report.view", &ada.id.to_string()), "{log:?}");
}

#[tokio::test]
async fn another_tenants_reports_are_not_there() {
    let house = House::new().await;
    let other = house.store.add_tenant("other", now()).await.unwrap();
    let key = house.key(Tenant::FIRST).await;
    let ours = report(1, "Ada");
    assert_eq!(house.send(&key, &ours).await.status, 202);
    let theirs = house.sign_in(other, "eve", Role::Admin).await;
    let missing = Uuid::from_u128(7);
    for path in ["", "/json"] {
        let found = house.get(&format!("/reports/{}{path}", ours.id), &theirs).await;
        let nothing = house.get(&format!("/reports/{missing}{path}"), &theirs).await;
        assert_eq!((found.status, nothing.status), (404, 404), "{path}");
        assert_eq!(found.text, nothing.text, "what is somebody else's looks like what is not");
    }
    let noted = house.form(&format!("/reports/{}/notes", ours.id), &theirs, &[("words", "x")]).await;
    assert_eq!(noted.status, 404);
    for path in ["/reports".to_owned(), format!("/reports?q={}", ours.code)] {
        assert!(!house.get(&path, &theirs).await.text.contains(&ours.id.to_string()), "{path}");
    }
    let id = key.strip_prefix("gr_").unwrap().split('_').next().unwrap();
    assert_eq!(house.form(&format!("/keys/{id}/revoke"), &theirs, &[]).await.status, 404);
    // The same id is another report there.
    let their_key = house.key(other).await;
    let same = house.send(&their_key, &report(1, "Eve")).await;
    assert_eq!(same.json()["status"], "accepted");
    let kept = house.store.summary(Tenant::FIRST, ours.id).await.unwrap().unwrap();
    assert_eq!(kept.person.as_deref(), Some("Ada"));
}

#[tokio::test]
async fn what_is_personal_is_for_the_roles_that_include_it() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let sent = report(1, "Ada Lovelace");
    house.send(&key, &sent).await;
    let cookie = house.sign_in(Tenant::FIRST, "lin", Role::SupportNoPii).await;
    let page = format!("/reports/{}", sent.id);
    for path in ["/reports", &page] {
        let shown = house.get(path, &cookie).await;
        assert_eq!(shown.status, 200);
        assert!(!shown.text.contains("Ada Lovelace"), "{path}");
    }
    assert!(house.get(&page, &cookie).await.text.contains(SAID));
    let search = house.get("/reports?q=Ada+Lovelace", &cookie).await;
    assert!(search.text.contains("Nothing found"), "nor can people be looked up");
    for path in [format!("{page}/json"), "/users".into(), "/keys".into(), "/audit".into()] {
        assert_eq!(house.get(&path, &cookie).await.status, 403, "{path}");
    }
    assert_eq!(house.form(&format!("{page}/notes"), &cookie, &[("words", "x")]).await.status, 403);
    let more = [("name", "mal"), ("password", PASSWORD), ("role", "admin")];
    assert_eq!(house.form("/users", &cookie, &more).await.status, 403);
}

#[tokio::test]
async fn a_role_that_is_taken_away_ends_what_it_allowed() {
    let house = House::new().await;
    let admin = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let bob = house.sign_in(Tenant::FIRST, "bob", Role::Admin).await;
    let user = |name: &str| Uuid::from_u128(u128::from(name.as_bytes()[0]));
    let own = house.form(&format!("/users/{}", user("ann")), &admin, &[("role", "")]).await;
    assert_eq!(own.status, 422, "an admin is left");
    assert_eq!(house.form(&format!("/users/{}", user("bob")), &admin, &[("role", "")]).await.status, 303);
    assert_eq!(house.get("/keys", &bob).await.status, 303, "to the sign-in");
    let in_again = house.form("/login", "", &[("name", "bob"), ("password", PASSWORD)]).await;
    assert_eq!(in_again.status, 401);
    let changed =
        house.form("/account", &admin, &[("old", PASSWORD), ("new", "another long password")]).await;
    assert_eq!(changed.status, 303);
    assert_eq!(house.get("/keys", &admin).await.status, 303, "a new password ends old sessions");
    assert_eq!(house.get("/keys", &changed.cookie()).await.status, 200);
}

#[tokio::test]
async fn who_forgot_a_password_gets_a_new_one_from_an_admin() {
    let house = House::new().await;
    let admin = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let bob = house.sign_in(Tenant::FIRST, "bob", Role::Support).await;
    let other = house.store.add_tenant("other", now()).await.unwrap();
    house.sign_in(other, "zoe", Role::Admin).await;
    let path = |name: &str| format!("/users/{}/password", Uuid::from_u128(u128::from(name.as_bytes()[0])));
    let new = [("password", "another long password")];
    assert_eq!(house.form(&path("ann"), &bob, &new).await.status, 403, "not a colleague's, not as support");
    assert_eq!(house.form(&path("ann"), &admin, &new).await.status, 422, "one's own needs the old one");
    assert_eq!(house.form(&path("zoe"), &admin, &new).await.status, 404, "of another tenant");
    assert_eq!(house.form(&path("bob"), &admin, &[("password", "short")]).await.status, 422);
    assert_eq!(house.get("/reports", &bob).await.status, 200, "nothing has changed");
    assert_eq!(house.form(&path("bob"), &admin, &new).await.status, 303);
    assert_eq!(house.get("/reports", &bob).await.status, 303, "sessions have ended");
    let with = |password| [("name", "bob"), ("password", password)];
    assert_eq!(house.form("/login", "", &with(PASSWORD)).await.status, 401);
    assert_eq!(house.form("/login", "", &with(new[0].1)).await.status, 303);
    assert!(house.get("/audit", &admin).await.text.contains("user.password"));
}

#[tokio::test]
async fn what_senders_write_is_shown_and_never_obeyed() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let mut sent = report(1, evil);
    for label in ["ticket", "site", "other"] {
        sent.labels.insert(label.into(), evil.into());
    }
    sent.verdict.say = evil.into();
    sent.verdict.causes[0].say = evil.into();
    sent.verdict.causes[0].evidence = vec![evil.into()];
    sent.targets[0].url = evil.into();
    sent.agent.id = Some(evil.into());
    sent.environment.os = Some(evil.into());
    let answer = house.send(&key, &sent).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("q", evil);
    let search = format!("/reports?{}", query.finish());
    house.form("/keys", &cookie, &[("name", "<script>alert(1)</script>")]).await;
    for path in
        ["/reports".to_owned(), search, format!("/reports/{}", sent.id), "/keys".into(), "/audit".into()]
    {
        let page = house.get(&path, &cookie).await;
        assert_eq!(page.status, 200, "{path}");
        for tag in ["<script>", "<img", "onerror=alert(1)>"] {
            assert!(!page.text.contains(tag), "{path}: {tag}");
        }
        // The one of a live page is of this server's own.
        let scripts = page.text.matches("<script").count();
        assert_eq!(
            scripts,
            page.text.matches("<script type=\"module\" src=\"/assets/live.js?").count(),
            "{path}"
        );
        assert!(page.text.contains("&lt;script&gt;"), "{path}: it is shown");
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(page.headers[name], value, "{path}");
        }
    }
}

#[tokio::test]
async fn a_report_whose_figures_are_not_its_own_is_kept_and_marked() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let sent = report(1, "Ada");
    assert!(sent.trace.is_some(), "the golden report carries its samples");
    house.send(&key, &sent).await;
    // The second look goes on behind the routes and tells nobody when it is done.
    let deadline = tokio::time::Duration::from_secs(60);
    let settled = tokio::time::timeout(deadline, async {
        loop {
            let found = house.store.summary(Tenant::FIRST, sent.id).await.unwrap().unwrap();
            if found.agreement != Agreement::Pending {
                return found;
            }
            tokio::task::yield_now().await;
        }
    });
    let found = settled.await.expect("it is looked at");
    let expected = greenroom_web::ingest::recheck::judge(&serde_json::to_vec(&sent).unwrap());
    assert_eq!((found.agreement, found.differs), expected);
}

#[tokio::test]
async fn what_is_not_there_is_told_in_the_asker_s_form() {
    let house = House::new().await;
    let page = Request::get("/nowhere").header("accept", "text/html").body(Body::empty()).unwrap();
    let page = house.ask(page).await;
    assert_eq!(page.status, 404);
    assert!(page.text.contains("<h1>Nothing here</h1>"));
    let api = house.get("/api/v1/nowhere", "").await;
    assert_eq!((api.status, &api.headers[CONTENT_TYPE]), (404, &"application/problem+json".parse().unwrap()));
    assert_eq!(house.get("/healthz", "").await.text, "ok\n");
    assert_eq!(house.get("/readyz", "").await.text, "ok\n");
    let method = house.ask(Request::delete("/reports").body(Body::empty()).unwrap()).await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED.as_u16());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Reports in any order, each any number of times, by senders at the same time: the same roll-ups.
    #[test]
    fn roll_ups_do_not_depend_on_order_or_repetition(sent in prop::collection::vec(0_u64..8, 1..24)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let distinct: std::collections::BTreeSet<u64> = sent.iter().copied().collect();
        let mut expected = Sums::default();
        for n in &distinct {
            let report = report(*n, "Ada");
            let site = report.labels.get("site").cloned();
            expected.add(Tenant::FIRST, &Contribution::of(&report, site.as_deref()).unwrap());
        }
        let found = runtime.block_on(async {
            let house = House::new().await;
            let key = house.key(Tenant::FIRST).await;
            let mut tasks = tokio::task::JoinSet::new();
            for n in sent {
                let (app, key) = (house.app.clone(), key.clone());
                tasks.spawn(async move {
                    let request = Request::post("/api/v1/reports")
                        .header(AUTHORIZATION, format!("Bearer {key}"))
                        .header(CONTENT_TYPE, "application/json")
                        .body(Body::from(serde_json::to_vec(&report(n, "Ada")).unwrap()));
                    app.oneshot(request.unwrap()).await.unwrap().status()
                });
            }
            for status in tasks.join_all().await {
                assert_eq!(status, StatusCode::ACCEPTED);
            }
            let mut sums = Sums::default();
            for resolution in Resolution::ALL {
                let query = RollupQuery { resolution, from: Timestamp::UNIX_EPOCH, to: Timestamp::MAX, site: None, endpoint: None };
                let found = house.store.rollups(Tenant::FIRST, &query).await.unwrap();
                sums.sketches.extend(found.sketches.into_iter().map(|((b, name), s)| ((Tenant::FIRST, resolution, b, name), s)));
                sums.tallies.extend(found.tallies.into_iter().map(|((b, name), n)| ((Tenant::FIRST, resolution, b, name), n)));
            }
            sums
        });
        prop_assert_eq!(found, expected);
    }
}
