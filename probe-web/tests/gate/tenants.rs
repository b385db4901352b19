//! Tenants beyond the first: made by who runs the server, and kept apart from each other.

use axum::body::Body;
use axum::http::{Request, header};
use greenroom_web::store::*;
use serde_json::{Value, json};

use super::house::{House, PASSWORD, report};

/// A house with two tenants: the admin of the first, the admin of the other one, and the other one's number.
async fn two() -> (House, String, String, Tenant) {
    let house = House::new().await;
    let ann = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let made = house
        .form("/tenants", &ann, &[("tenant", "Acme Ltd"), ("name", "zed"), ("password", PASSWORD)])
        .await;
    assert_eq!(made.status, 303, "{}", made.text);
    let zed = house.form("/login", "", &[("name", "zed"), ("password", PASSWORD)]).await.cookie();
    let acme =
        house.store.tenant_list().await.unwrap().into_iter().find(|info| info.name == "Acme Ltd").unwrap();
    (house, ann, zed, acme.tenant)
}

#[tokio::test]
async fn who_runs_the_server_makes_tenants_and_nobody_else_does() {
    let (house, ann, zed, acme) = two().await;
    let page = house.get("/tenants", &ann).await;
    assert!(page.text.contains("Acme Ltd") && page.text.contains("/check?tenant="), "{}", page.text);
    assert_ne!(acme, Tenant::FIRST);
    let support = house.sign_in(Tenant::FIRST, "sam", Role::Support).await;
    for cookie in [&zed, &support] {
        assert_eq!(house.get("/tenants", cookie).await.status, 403);
        let form = [("tenant", "Evil"), ("name", "eve"), ("password", PASSWORD)];
        assert_eq!(house.form("/tenants", cookie, &form).await.status, 403);
        assert!(!house.get("/account", cookie).await.text.contains("href=\"/tenants\""));
    }
    for form in [
        [("tenant", "Acme Ltd"), ("name", "new"), ("password", PASSWORD)],
        [("tenant", "Other"), ("name", "zed"), ("password", PASSWORD)],
        [("tenant", ""), ("name", "new"), ("password", PASSWORD)],
        [("tenant", "Other"), ("name", "new"), ("password", "short")],
    ] {
        let refused = house.form("/tenants", &ann, &form).await;
        assert_eq!(refused.status, 422, "{form:?}: {}", refused.text);
    }
    assert_eq!(house.store.tenant_list().await.unwrap().len(), 2, "both or neither");
    let account = house.get("/account", &zed).await.text;
    assert!(account.contains("Acme Ltd"), "{account}");
    let log = house.store.audit_log(Tenant::FIRST, None, 50).await.unwrap();
    assert!(log.iter().any(|entry| entry.action == "tenant.add" && entry.subject.contains("Acme")));
}

#[tokio::test]
async fn the_admin_of_a_tenant_adds_people_of_that_tenant() {
    let (house, ann, zed, acme) = two().await;
    let added =
        house.form("/users", &zed, &[("name", "yvonne"), ("password", PASSWORD), ("role", "support")]).await;
    assert_eq!(added.status, 303);
    let (user, _) = house.store.user_by_name("yvonne").await.unwrap().unwrap();
    assert_eq!(user.tenant, acme);
    assert!(!house.get("/users", &ann).await.text.contains("yvonne"), "the other tenant's people");
    assert_eq!(house.form(&format!("/users/{}", user.id), &ann, &[("role", "")]).await.status, 404);
}

#[tokio::test]
async fn nothing_of_one_tenant_is_seen_in_the_other() {
    let (house, ann, zed, acme) = two().await;
    let key =
        |page: &str| page.split("class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let theirs = key(&house.form("/keys", &zed, &[("name", "k"), ("good_for", "send")]).await.text);
    let reads = key(&house.form("/keys", &zed, &[("name", "k"), ("good_for", "read_personal")]).await.text);
    let metrics = key(&house.form("/keys", &zed, &[("name", "k"), ("good_for", "metrics")]).await.text);
    let mine = house.key(Tenant::FIRST).await;
    let mut at = report(1, "Zenobia");
    at.labels.insert("site".into(), "Zagreb".into());
    assert_eq!(house.send(&theirs, &at).await.status, 202);
    assert_eq!(house.send(&mine, &report(2, "Ada")).await.status, 202);
    let link = house.form("/links", &zed, &[("ticket", "Z-1"), ("days", "7"), ("most", "5")]).await;
    assert_eq!(link.status, 200, "{}", link.text);
    for path in [
        "/reports",
        "/reports?q=Zenobia",
        "/fleet?range=7d",
        "/links",
        "/users",
        "/keys",
        "/audit",
        "/webhooks",
    ] {
        let page = house.get(path, &ann).await;
        assert_eq!(page.status, 200, "{path}");
        let id = at.id.to_string();
        for word in ["Zagreb", "Z-1", "zed", id.as_str()] {
            assert!(!page.text.contains(word), "{path} shows {word}");
        }
    }
    assert_eq!(house.get(&format!("/reports/{}", at.id), &ann).await.status, 404);
    assert_eq!(house.get(&format!("/reports/{}", at.id), &zed).await.status, 200);
    let ask = async |path: &str, key: &str| {
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {key}"));
        house.ask(request.body(Body::empty()).unwrap()).await
    };
    let list = ask("/api/v1/reports", &reads).await;
    assert!(list.text.contains("Zenobia") && !list.text.contains("Ada"), "{}", list.text);
    let told = ask("/metrics", &metrics).await.text;
    assert!(
        !told.contains("process_") && !told.contains("greenroom_http"),
        "the process is not theirs to watch: {told}"
    );
    assert!(house.store.summary(acme, at.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_check_page_of_a_tenant_makes_its_reports() {
    let (house, ann, zed, acme) = two().await;
    let code = house.store.tenant_info(acme).await.unwrap().unwrap().code.unwrap();
    let begun = house.get(&format!("/api/v1/session?tenant={code}"), "").await.json();
    let mut run: Value = serde_json::from_str(include_str!("../data/run.json")).unwrap();
    run["run"] = json!(begun["run"]);
    let request = Request::post("/api/v1/runs").header(header::CONTENT_TYPE, "application/json");
    let kept = house.ask(request.body(Body::from(run.to_string())).unwrap()).await;
    assert_eq!(kept.status, 201, "{}", kept.text);
    let path = format!("/reports/{}", kept.json()["id"].as_str().unwrap());
    assert_eq!((house.get(&path, &zed).await.status, house.get(&path, &ann).await.status), (200, 404));
    for wrong in ["", "x", "1", "000000000000"] {
        assert_eq!(house.get(&format!("/api/v1/session?tenant={wrong}"), "").await.status, 404, "{wrong}");
    }
}
