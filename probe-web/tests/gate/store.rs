//! What every store must do for webhooks, providers, grants and tenants, run against each backend.

use std::any::Any;
use std::sync::Arc;

use greenroom_web::ingest::read::record;
use greenroom_web::store::postgres::{PostgresStore, PostgresUrl};
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::*;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::house::postgres;
use super::testing;

/// What must live as long as a store.
type Kept = Box<dyn Any + Send + Sync>;

async fn backends() -> Vec<(&'static str, Arc<dyn Store>, Kept)> {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(folder.path()).await.unwrap();
    let cluster = postgres::shared();
    let postgres = PostgresStore::open(&PostgresUrl::read(&cluster.database()).unwrap()).await.unwrap();
    vec![("sqlite", Arc::new(sqlite), Box::new(folder)), ("postgres", Arc::new(postgres), Box::new(cluster))]
}

fn after(seconds: i64) -> Timestamp {
    testing::start().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

fn hook(tenant: Tenant, id: &str) -> Webhook {
    Webhook {
        kind: WebhookKind::Verdicts,
        tenant,
        id: id.into(),
        name: format!("hook {id}"),
        url: "https://hooks.example/x".into(),
        secret: WebhookSecret(vec![1, 2, 3]),
        personal: true,
        author: "ann".into(),
        created: after(0),
        paused: None,
    }
}

fn message(webhook: &Webhook, n: u128, due: i64) -> Delivery {
    Delivery {
        tenant: webhook.tenant,
        id: Uuid::from_u128(n),
        webhook: webhook.id.clone(),
        report: (n % 2 == 1).then(|| Uuid::from_u128(n)),
        what: "ready → blocked".into(),
        body: "{}".into(),
        state: DeliveryState::Waiting,
        created: after(due),
        due: after(due),
        tries: 0,
        answer: None,
        done: None,
    }
}

#[tokio::test]
async fn webhooks_are_kept_by_tenant() {
    for (name, store, _kept) in backends().await {
        let other = store.add_tenant("other", after(0)).await.unwrap();
        let (mine, theirs) = (hook(Tenant::FIRST, "a"), hook(other, "a"));
        for hook in [&mine, &theirs] {
            store.add_webhook(hook).await.unwrap();
        }
        assert_eq!(store.webhooks(Tenant::FIRST).await.unwrap(), std::slice::from_ref(&mine), "{name}");
        assert_eq!(store.webhook(other, "a").await.unwrap(), Some(theirs.clone()), "{name}");
        assert_eq!(store.webhook(other, "b").await.unwrap(), None, "{name}");
        assert!(store.pause_webhook(other, "a", Some(after(5))).await.unwrap(), "{name}");
        assert!(!store.pause_webhook(other, "b", Some(after(5))).await.unwrap(), "{name}");
        assert_eq!(store.webhooks_in_use().await.unwrap(), std::slice::from_ref(&mine), "{name}");
        assert_eq!(store.webhook(other, "a").await.unwrap().unwrap().paused, Some(after(5)), "{name}");
        assert!(store.pause_webhook(other, "a", None).await.unwrap(), "{name}");
        assert!(store.set_webhook_secret(other, "a", &WebhookSecret(vec![9])).await.unwrap(), "{name}");
        assert_eq!(store.webhook(Tenant::FIRST, "a").await.unwrap().unwrap().secret.0, [1, 2, 3], "{name}");
        store.enqueue(&[message(&mine, 1, 0), message(&theirs, 1, 0)]).await.unwrap();
        assert!(store.remove_webhook(other, "a").await.unwrap(), "{name}");
        assert!(!store.remove_webhook(other, "a").await.unwrap(), "{name}");
        assert_eq!(store.deliveries(Tenant::FIRST, "a", 9).await.unwrap().len(), 1, "{name}");
        assert!(store.deliveries(other, "a", 9).await.unwrap().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_message_is_sent_by_one_and_waits_until_it_is_taken() {
    for (name, store, _kept) in backends().await {
        let hook = hook(Tenant::FIRST, "a");
        store.add_webhook(&hook).await.unwrap();
        let (first, second) = (message(&hook, 1, 10), message(&hook, 2, 20));
        store.enqueue(&[second.clone(), first.clone()]).await.unwrap();
        store.enqueue(std::slice::from_ref(&first)).await.unwrap();
        assert!(store.webhooks_due(after(9), 9).await.unwrap().is_empty(), "{name}");
        assert_eq!(store.webhooks_due(after(10), 9).await.unwrap(), std::slice::from_ref(&hook), "{name}");
        assert_eq!(
            store.due(Tenant::FIRST, "a", after(10), 9).await.unwrap(),
            std::slice::from_ref(&first),
            "{name}"
        );
        assert_eq!(
            store.due(Tenant::FIRST, "a", after(99), 9).await.unwrap(),
            [first.clone(), second.clone()],
            "{name}"
        );
        let (one, two) =
            tokio::join!(store.take_delivery(&first, after(40)), store.take_delivery(&first, after(41)));
        assert_eq!(
            [one.unwrap(), two.unwrap()].iter().filter(|took| **took).count(),
            1,
            "{name}: one sends it"
        );
        assert!(store.due(Tenant::FIRST, "a", after(15), 9).await.unwrap().is_empty(), "{name}: taken");
        // Whoever took it ended before it was sent.
        let again = store.due(Tenant::FIRST, "a", after(41), 9).await.unwrap().remove(1);
        assert_eq!((again.id, again.tries), (first.id, 1), "{name}");
        assert!(store.take_delivery(&again, after(80)).await.unwrap(), "{name}");
        store.settle_delivery(&again, DeliveryState::Waiting, "503", after(90)).await.unwrap();
        assert!(store.due(Tenant::FIRST, "a", after(89), 1).await.unwrap()[0].id == second.id, "{name}");
        store.settle_delivery(&again, DeliveryState::Delivered, "200", after(91)).await.unwrap();
        let log = store.deliveries(Tenant::FIRST, "a", 9).await.unwrap();
        let kept = log.iter().find(|kept| kept.id == first.id).unwrap();
        assert_eq!(
            (kept.state, kept.tries, kept.answer.as_deref()),
            (DeliveryState::Delivered, 2, Some("200")),
            "{name}"
        );
        assert_eq!((kept.done, kept.report, log[0].report), (Some(after(91)), first.report, None), "{name}");
        assert!(!store.take_delivery(kept, after(200)).await.unwrap(), "{name}: delivered");
        assert!(!store.send_again(Tenant::FIRST, "b", first.id, after(100)).await.unwrap(), "{name}");
        assert!(
            !store.send_again(Tenant::FIRST, "a", second.id, after(100)).await.unwrap(),
            "{name}: it waits"
        );
        assert!(store.send_again(Tenant::FIRST, "a", first.id, after(100)).await.unwrap(), "{name}");
        let due = store.due(Tenant::FIRST, "a", after(100), 9).await.unwrap();
        assert_eq!(
            due.iter().map(|due| (due.id, due.tries)).collect::<Vec<_>>(),
            [(second.id, 0), (first.id, 0)],
            "{name}"
        );
        store.pause_webhook(Tenant::FIRST, "a", Some(after(0))).await.unwrap();
        assert!(store.webhooks_due(after(999), 9).await.unwrap().is_empty(), "{name}: paused");
        // Messages go with the reports that they tell of.
        store.retire(after(86_400 * 2), after(86_400 * 2)).await.unwrap();
        assert!(store.deliveries(Tenant::FIRST, "a", 9).await.unwrap().is_empty(), "{name}");
    }
}

/// A report: its number, minute, agent, person, site and endpoint.
fn kept(
    n: u64,
    agent: Option<&str>,
    person: Option<&str>,
    site: Option<&str>,
    endpoint: Option<&str>,
) -> Record {
    let report = testing::report(n);
    let raw = serde_json::to_vec(&report).unwrap();
    let mut record = record(Tenant::FIRST, &report, raw, after(86_400)).unwrap();
    let text = |text: Option<&str>| text.map(str::to_owned);
    (record.summary.agent, record.summary.person) = (text(agent), text(person));
    (record.summary.site, record.summary.endpoint) = (text(site), text(endpoint));
    record
}

#[tokio::test]
async fn a_series_is_of_one_agent_else_person_else_site_and_of_one_endpoint() {
    for (name, store, _kept) in backends().await {
        let (ada, lyon, oslo, e) = (Some("Ada"), Some("Lyon"), Some("Oslo"), Some("e"));
        let records = [
            kept(1, None, ada, lyon, e),
            kept(2, Some("a1"), ada, lyon, e),
            kept(3, None, ada, oslo, e),
            kept(4, None, ada, lyon, None),
            kept(5, None, None, lyon, e),
            kept(6, None, ada, lyon, e),
            kept(7, Some("a1"), Some("Bob"), lyon, e),
            kept(8, None, None, lyon, e),
            kept(9, None, None, None, e),
            kept(10, None, None, None, e),
            kept(11, None, ada, lyon, e),
        ];
        store.ingest(records.to_vec()).await.unwrap();
        for (of, before) in [
            (6, Some(1)),
            (11, Some(6)),
            (1, None),
            (7, Some(2)),
            (3, None),
            (4, None),
            (8, Some(5)),
            (10, None),
        ] {
            let of = store.summary(Tenant::FIRST, testing::id(of)).await.unwrap().unwrap();
            let found = store.previous_in_series(Tenant::FIRST, &of).await.unwrap();
            assert_eq!(found.map(|found| found.id), before.map(testing::id), "{name}: before {}", of.id);
            assert_eq!(store.previous_in_series(Tenant(9), &of).await.unwrap(), None, "{name}");
        }
    }
}

fn person(n: u128, name: &str, tenant: Tenant, role: Role) -> NewUser {
    let user =
        User { tenant, id: Uuid::from_u128(n), name: name.into(), role: Some(role), created: after(0) };
    NewUser { user, password_hash: String::new() }
}

#[tokio::test]
async fn whom_a_provider_knows_has_one_account_a_tenant() {
    for (name, store, _kept) in backends().await {
        let other = store.add_tenant("other", after(0)).await.unwrap();
        let ann = person(1, "ann", Tenant::FIRST, Role::Support);
        let made = store.sign_in_by("i", "7", &ann).await.unwrap().unwrap();
        let again =
            store.sign_in_by("i", "7", &person(2, "ann", Tenant::FIRST, Role::Admin)).await.unwrap().unwrap();
        assert_eq!((again.id, again.role), (made.id, Some(Role::Admin)), "{name}");
        for (issuer, subject, next) in [("i", "8", 31), ("j", "7", 32)] {
            let else_ = store
                .sign_in_by(issuer, subject, &person(next, "ann", Tenant::FIRST, Role::Support))
                .await
                .unwrap()
                .unwrap();
            assert_ne!(else_.id, made.id, "{name}: {issuer} {subject}");
            assert!(else_.name.starts_with("ann (provider"), "{name}: {}", else_.name);
        }
        let session =
            Session { token: TokenHash([1; 32]), tenant: Tenant::FIRST, user: made.id, expires: after(999) };
        store.add_session(&session).await.unwrap();
        let there =
            store.sign_in_by("i", "7", &person(5, "ann", other, Role::Support)).await.unwrap().unwrap();
        assert_eq!(there.tenant, other, "{name}");
        assert_eq!(store.session_user(&session.token, after(1)).await.unwrap(), None, "{name}: ended");
        assert_eq!(
            store.by_provider(other).await.unwrap().into_iter().collect::<Vec<_>>(),
            [there.id],
            "{name}"
        );
        assert!(store.set_role(Tenant::FIRST, made.id, None).await.unwrap());
        let shut_out =
            store.sign_in_by("i", "7", &person(6, "ann", Tenant::FIRST, Role::Admin)).await.unwrap();
        assert_eq!(shut_out, None, "{name}");
        assert_eq!(
            store.sign_in_by("i", "9", &person(7, "x", Tenant(77), Role::Admin)).await.unwrap(),
            None,
            "{name}"
        );
        assert!(store.user_by_name("x").await.unwrap().is_none(), "{name}");
    }
}

#[tokio::test]
async fn grants_are_spent_once_and_the_key_stays() {
    for (name, store, _kept) in backends().await {
        assert_eq!(store.grant_key(b"one", after(0)).await.unwrap(), b"one", "{name}");
        assert_eq!(store.grant_key(b"two", after(0)).await.unwrap(), b"one", "{name}");
        assert!(store.spend_grant(&[7; 16], after(60)).await.unwrap(), "{name}");
        assert!(!store.spend_grant(&[7; 16], after(60)).await.unwrap(), "{name}");
        assert!(store.spend_grant(&[8; 16], after(60)).await.unwrap(), "{name}");
        store.note_media("https://a", after(0)).await.unwrap();
        store.note_media("https://b", after(50)).await.unwrap();
        store.note_media("https://a", after(10)).await.unwrap();
        assert_eq!(store.media_urls(after(10)).await.unwrap(), ["https://a", "https://b"], "{name}");
        assert_eq!(store.media_urls(after(11)).await.unwrap(), ["https://b"], "{name}");
    }
}

#[tokio::test]
async fn a_tenant_is_made_with_its_first_admin_or_not_at_all() {
    for (name, store, _kept) in backends().await {
        let zed = |n| person(n, "zed", Tenant::FIRST, Role::Admin);
        let made = store.make_tenant("Acme", "c0de", &zed(1), after(7)).await.unwrap();
        assert_eq!(store.user_by_name("zed").await.unwrap().unwrap().0.tenant, made, "{name}");
        for (tenant, code, admin) in [
            ("Acme", "c1", person(2, "new", Tenant::FIRST, Role::Admin)),
            ("Other", "c2", zed(3)),
            ("Third", "c0de", person(4, "new", Tenant::FIRST, Role::Admin)),
        ] {
            let refused = store.make_tenant(tenant, code, &admin, after(8)).await;
            assert!(matches!(refused, Err(StoreError::Taken(_))), "{name}: {tenant} {refused:?}");
        }
        let list = store.tenant_list().await.unwrap();
        assert_eq!(
            list.iter().map(|info| (info.name.as_str(), info.people)).collect::<Vec<_>>(),
            [("first", 0), ("Acme", 1)],
            "{name}"
        );
        assert_eq!(
            (list[1].tenant, list[1].created, list[1].code.as_deref()),
            (made, after(7), Some("c0de")),
            "{name}"
        );
        assert_eq!(store.tenant_by_code("c0de").await.unwrap(), Some(made), "{name}");
        assert_eq!(store.tenant_by_code("").await.unwrap(), None, "{name}");
        assert_eq!(store.tenant_info(Tenant(99)).await.unwrap(), None, "{name}");
    }
}
