//! Signing in by a provider: one that is right, and one that lies in every way. tests/sign_in.rs of the program asks a real one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64URL};
use greenroom_web::Gate;
use greenroom_web::oidc::{Oidc, OidcConfig};
use greenroom_web::outbound::Outbound;
use greenroom_web::store::*;
use jiff::SignedDuration;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use ring::{digest, hmac};
use serde_json::{Value, json};

use super::house::{Answer, House, PASSWORD, now};

/// What the provider does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    Nothing,
    Nonce,
    NoNonce,
    Audience,
    Issuer,
    AlgNone,
    /// Signed with its public key as a shared secret.
    AlgConfused,
    Expired,
    Future,
    UnknownKey,
    Signature,
    NoIdToken,
    RefusesCode,
    OthersInfo,
    Slow,
    Huge,
    Redirects,
    CallsItselfOtherwise,
    LeadsInside,
    NotJson,
}

/// A signing key and its name.
struct Key {
    name: String,
    pair: EcdsaKeyPair,
}

impl Key {
    fn make(name: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { name: name.to_owned(), pair }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (BASE64URL.encode(&point[1..33]), BASE64URL.encode(&point[33..]));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.name, "x": x, "y": y})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let text =
            format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", BASE64URL.encode(signature))
    }
}

/// What a code was given for.
#[derive(Clone)]
struct Given {
    nonce: String,
    challenge: String,
    back_to: String,
}

struct Inside {
    lie: Lie,
    key: Key,
    subject: &'static str,
    name: &'static str,
    groups: Value,
    /// Whether the groups stand in userinfo alone.
    in_userinfo: bool,
    codes: HashMap<String, Given>,
    asked: HashMap<&'static str, u32>,
}

#[derive(Clone)]
struct Provider {
    issuer: String,
    inside: Arc<Mutex<Inside>>,
}

impl Provider {
    async fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test is a server, too")]
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let inside = Inside {
            lie: Lie::Nothing,
            key: Key::make("k1"),
            subject: "7",
            name: "grace",
            groups: json!(["helpdesk"]),
            in_userinfo: false,
            codes: HashMap::new(),
            asked: HashMap::new(),
        };
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let provider = Self { issuer, inside: Arc::new(Mutex::new(inside)) };
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        provider
    }

    fn change(&self, change: impl FnOnce(&mut Inside)) {
        change(&mut self.inside.lock().unwrap());
    }

    fn note(&self, what: &'static str) -> Lie {
        let mut inside = self.inside.lock().unwrap();
        *inside.asked.entry(what).or_default() += 1;
        inside.lie
    }

    fn asked(&self, what: &str) -> u32 {
        self.inside.lock().unwrap().asked.get(what).copied().unwrap_or(0)
    }

    fn oidc(&self, rules: &[&str]) -> Oidc {
        let config = OidcConfig {
            issuer: self.issuer.clone(),
            client_id: "us".into(),
            secret: Some("hunter 2".into()),
            name: "Example ID".into(),
            scopes: vec!["profile".into()],
            groups_claim: "groups".into(),
            rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
            allow_private: true,
        };
        Oidc::new(config, Outbound::system()).unwrap()
    }

    async fn house(&self, rules: &[&str]) -> House {
        House::behind(Gate { oidc: Some(self.oidc(rules)), ..Gate::default() }).await
    }
}

async fn metadata(State(provider): State<Provider>) -> Response {
    let lie = provider.note("metadata");
    let base = &provider.issuer;
    match lie {
        Lie::Huge => return vec![b' '; 4 << 20].into_response(),
        Lie::Redirects => {
            return (StatusCode::FOUND, [(header::LOCATION, format!("{base}/elsewhere"))]).into_response();
        }
        Lie::NotJson => return "<html>".into_response(),
        // Longer than anybody waits here.
        Lie::Slow => return std::future::pending().await,
        _ => {}
    }
    let issuer = if lie == Lie::CallsItselfOtherwise { format!("{base}/") } else { base.clone() };
    let token = if lie == Lie::LeadsInside { "file:///etc/passwd".into() } else { format!("{base}/token") };
    Json(json!({
        "issuer": issuer, "authorization_endpoint": format!("{base}/authorize"), "token_endpoint": token,
        "jwks_uri": format!("{base}/keys"), "userinfo_endpoint": format!("{base}/userinfo"),
        "end_session_endpoint": format!("{base}/out"),
    }))
    .into_response()
}

async fn keys(State(provider): State<Provider>) -> Json<Value> {
    provider.note("keys");
    let odd = json!({"kty": "XYZ", "kid": "odd", "x": 7});
    let jwk = provider.inside.lock().unwrap().key.jwk();
    Json(json!({"keys": [odd, jwk]}))
}

async fn token(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    let lie = provider.note("token");
    let form: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let mut inside = provider.inside.lock().unwrap();
    let given = inside.codes.remove(&form["code"]);
    let verifier = BASE64URL.encode(digest::digest(&digest::SHA256, form["code_verifier"].as_bytes()));
    // Form-encoded before it is packed (RFC 6749 section 2.3.1).
    let expected = format!("Basic {}", STANDARD.encode("us:hunter+2"));
    let is_good = given
        .as_ref()
        .is_some_and(|given| given.challenge == verifier && given.back_to == form["redirect_uri"]);
    if lie == Lie::RefusesCode
        || !is_good
        || headers[header::AUTHORIZATION] != expected
        || form["grant_type"] != "authorization_code"
    {
        let refusal = json!({"error": "invalid_grant", "error_description": "no\nsuch code"});
        return (StatusCode::BAD_REQUEST, Json(refusal)).into_response();
    }
    if lie == Lie::NoIdToken {
        return Json(json!({"access_token": "x"})).into_response();
    }
    let at = now().as_second();
    let (mut header, given) = (json!({"alg": "ES256", "kid": inside.key.name}), given.unwrap());
    let mut claims = json!({"iss": provider.issuer, "aud": "us", "sub": inside.subject, "nonce": given.nonce, "iat": at, "exp": at + 300});
    claims["preferred_username"] = json!(inside.name);
    if !inside.in_userinfo {
        claims["groups"] = inside.groups.clone();
    }
    match lie {
        Lie::Nonce => claims["nonce"] = json!("another"),
        Lie::NoNonce => drop(claims.as_object_mut().unwrap().remove("nonce")),
        Lie::Audience => claims["aud"] = json!("them"),
        Lie::Issuer => claims["iss"] = json!("https://evil.example"),
        Lie::Expired => claims["exp"] = json!(at - 120),
        Lie::Future => claims["iat"] = json!(at + 3_600),
        Lie::AlgNone => header = json!({"alg": "none"}),
        Lie::AlgConfused => header = json!({"alg": "HS256", "kid": "k1"}),
        Lie::UnknownKey => header["kid"] = json!("k9"),
        _ => {}
    }
    let mut token = inside.key.sign(&header, &claims);
    let (text, _) = token.rsplit_once('.').unwrap();
    match lie {
        Lie::AlgNone => token = format!("{text}."),
        Lie::AlgConfused => {
            let shared = hmac::Key::new(hmac::HMAC_SHA256, inside.key.pair.public_key().as_ref());
            token = format!("{text}.{}", BASE64URL.encode(hmac::sign(&shared, text.as_bytes())));
        }
        Lie::Signature => token = Key::make("k1").sign(&header, &claims),
        _ => {}
    }
    Json(json!({"access_token": "let me in", "token_type": "Bearer", "id_token": token})).into_response()
}

async fn userinfo(State(provider): State<Provider>, headers: HeaderMap) -> Response {
    let lie = provider.note("userinfo");
    if headers[header::AUTHORIZATION] != "Bearer let me in" {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let inside = provider.inside.lock().unwrap();
    let subject = if lie == Lie::OthersInfo { "8" } else { inside.subject };
    Json(json!({"sub": subject, "groups": inside.groups, "preferred_username": "mallory"})).into_response()
}

/// What a browser does: begins, is known to the provider, and comes back with the code.
struct Trip {
    cookie: String,
    state: String,
    code: String,
}

async fn set_out(house: &House, provider: &Provider, next: &str) -> Trip {
    let begun = house.get(&format!("/login/oidc?next={next}"), "").await;
    assert_eq!(begun.status, 303, "{}", begun.text);
    let place = begun.location().to_owned();
    let (to, query) = place.split_once('?').unwrap();
    assert_eq!(to, format!("{}/authorize", provider.issuer));
    let asked: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!((asked["response_type"].as_str(), asked["client_id"].as_str()), ("code", "us"));
    assert_eq!(
        (asked["scope"].as_str(), asked["code_challenge_method"].as_str()),
        ("openid profile", "S256")
    );
    assert_eq!(asked["redirect_uri"], "http://127.0.0.1:8080/login/oidc/callback");
    let code = format!("code {}", asked["state"]);
    let given = Given {
        nonce: asked["nonce"].clone(),
        challenge: asked["code_challenge"].clone(),
        back_to: asked["redirect_uri"].clone(),
    };
    provider.change(|inside| drop(inside.codes.insert(code.clone(), given)));
    Trip { cookie: begun.cookie(), state: asked["state"].clone(), code }
}

async fn come_back(house: &House, trip: &Trip) -> Answer {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("state", &trip.state).append_pair("code", &trip.code);
    house.get(&format!("/login/oidc/callback?{}", query.finish()), &trip.cookie).await
}

async fn sign_in(house: &House, provider: &Provider) -> Answer {
    let trip = set_out(house, provider, "/reports").await;
    come_back(house, &trip).await
}

#[tokio::test]
async fn who_is_of_a_group_comes_in_with_its_role_and_is_the_same_next_time() {
    let provider = Provider::start().await;
    let house = provider.house(&["ops=admin", "helpdesk=support_no_pii"]).await;
    let page = house.get("/login?next=/fleet", "").await;
    assert!(
        page.text.contains("Sign in with Example ID") && page.text.contains("/login/oidc?next=%2Ffleet"),
        "{}",
        page.text
    );
    assert!(page.text.contains("type=\"password\""), "local sign-in stays");
    let trip = set_out(&house, &provider, "/fleet?range=24h").await;
    let answer = come_back(&house, &trip).await;
    assert_eq!((answer.status, answer.location()), (303, "/fleet?range=24h"), "{}", answer.text);
    let cookie = answer.cookie();
    assert_eq!(house.get("/fleet", &cookie).await.status, 200);
    assert_eq!(house.get("/users", &cookie).await.status, 403, "a role without that");
    let account = house.get("/account", &cookie).await;
    assert!(
        account.text.contains("grace") && account.text.contains("You sign in by a provider"),
        "{}",
        account.text
    );
    assert!(!account.text.contains("type=\"password\""));
    let again = come_back(&house, &trip).await;
    assert_eq!(again.status, 403, "a code is good once: {}", again.text);

    // Another group, under the same account.
    provider.change(|inside| inside.groups = json!(["x", "helpdesk", "ops"]));
    let admin = sign_in(&house, &provider).await.cookie();
    assert_eq!(house.get("/users", &admin).await.status, 200, "the first rule that fits counts");
    let users = house.store.users(Tenant::FIRST).await.unwrap();
    assert_eq!(users.len(), 1, "{users:?}");
    assert!(house.get("/users", &admin).await.text.contains("by the sign-in provider"));
    let log = house.store.audit_log(Tenant::FIRST, None, 9).await.unwrap();
    assert_eq!(log.iter().filter(|entry| entry.action == "login" && entry.actor == "grace").count(), 2);

    let out = house.form("/logout", &admin, &[]).await;
    assert_eq!(out.location(), "/login?out=1");
    assert!(house.get("/login?out=1", "").await.text.contains("/login/oidc/out"));
    let there = house.get("/login/oidc/out", "").await;
    assert!(
        there
            .location()
            .starts_with(&format!("{}/out?client_id=us&post_logout_redirect_uri=", provider.issuer))
    );
    assert_eq!(house.get("/users", &admin).await.status, 303, "signed out here");
    assert_eq!(provider.asked("metadata"), 1, "what it told is kept for a while");
}

#[tokio::test]
async fn groups_may_stand_in_userinfo_alone_if_it_is_of_the_same_person() {
    let provider = Provider::start().await;
    let house = provider.house(&["helpdesk=support"]).await;
    provider.change(|inside| inside.in_userinfo = true);
    let answer = sign_in(&house, &provider).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let account = house.get("/account", &answer.cookie()).await.text;
    assert!(account.contains("grace") && !account.contains("mallory"), "the signed name counts: {account}");
    provider.change(|inside| inside.lie = Lie::OthersInfo);
    let refused = sign_in(&house, &provider).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
}

#[tokio::test]
async fn whom_no_rule_lets_in_stays_out() {
    let provider = Provider::start().await;
    let house = provider.house(&["helpdesk=support"]).await;
    for groups in [
        json!([]),
        json!(null),
        json!(["helpdesk2"]),
        json!("help"),
        json!({"helpdesk": true}),
        json!([["helpdesk"]]),
    ] {
        provider.change(|inside| inside.groups = groups.clone());
        let refused = sign_in(&house, &provider).await;
        assert_eq!(refused.status, 403, "{groups}: {}", refused.text);
        assert!(refused.text.contains("none of your groups"), "{}", refused.text);
    }
    assert!(house.store.users(Tenant::FIRST).await.unwrap().is_empty());
}

#[tokio::test]
async fn no_lie_lets_anybody_in() {
    let provider = Provider::start().await;
    for lie in [
        Lie::Nonce,
        Lie::NoNonce,
        Lie::Audience,
        Lie::Issuer,
        Lie::AlgNone,
        Lie::AlgConfused,
        Lie::Expired,
        Lie::Future,
        Lie::UnknownKey,
        Lie::Signature,
        Lie::NoIdToken,
        Lie::RefusesCode,
    ] {
        let house = provider.house(&["helpdesk=admin"]).await;
        provider.change(|inside| inside.lie = lie);
        let refused = sign_in(&house, &provider).await;
        let status = if lie == Lie::NoIdToken { 502 } else { 403 };
        assert_eq!(refused.status, status, "{lie:?}: {}", refused.text);
        let cookies: Vec<_> = refused.headers.get_all(header::SET_COOKIE).iter().collect();
        assert!(
            cookies.iter().all(|cookie| cookie.to_str().unwrap().starts_with("greenroom-oidc=;")),
            "{lie:?}: {cookies:?}"
        );
        assert!(house.store.users(Tenant::FIRST).await.unwrap().is_empty(), "{lie:?}");
        assert!(
            !refused.text.contains("hunter") && !refused.text.contains(&provider.issuer),
            "{lie:?}: {}",
            refused.text
        );
        assert!(refused.text.contains("/login"), "a way on");
    }
}

#[tokio::test]
async fn a_provider_that_does_not_tell_of_itself_as_it_should_is_not_gone_to() {
    let provider = Provider::start().await;
    for lie in [Lie::Huge, Lie::Redirects, Lie::CallsItselfOtherwise, Lie::LeadsInside, Lie::NotJson] {
        let house = provider.house(&["helpdesk=admin"]).await;
        provider.change(|inside| inside.lie = lie);
        let refused = house.get("/login/oidc", "").await;
        assert!(matches!(refused.status, 403 | 502), "{lie:?}: {}", refused.text);
        assert!(!refused.headers.contains_key(header::SET_COOKIE), "{lie:?}");
    }
    assert_eq!(provider.asked("elsewhere"), 0);
}

#[tokio::test]
async fn a_provider_that_hangs_is_waited_for_so_long() {
    let provider = Provider::start().await;
    let oidc = provider.oidc(&["helpdesk=admin"]);
    provider.change(|inside| inside.lie = Lie::Slow);
    let attempt = greenroom_web::oidc::Attempt::begin("/");
    let refused = oidc.begin(&attempt, "http://127.0.0.1:8080/x", now()).await.unwrap_err();
    assert!(refused.to_string().contains("within 10 s"), "{refused}");
}

#[tokio::test]
async fn an_answer_is_this_browser_s_or_nobody_s() {
    let provider = Provider::start().await;
    let house = provider.house(&["helpdesk=admin"]).await;
    let (mine, theirs) = (set_out(&house, &provider, "/").await, set_out(&house, &provider, "/").await);
    for (cookie, state) in [
        ("", mine.state.as_str()),
        (mine.cookie.as_str(), theirs.state.as_str()),
        (mine.cookie.as_str(), ""),
        ("greenroom-oidc=x.Lw", mine.state.as_str()),
    ] {
        let trip = Trip { cookie: cookie.to_owned(), state: state.to_owned(), code: mine.code.clone() };
        let refused = come_back(&house, &trip).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(refused.text.contains("not begun in this browser"));
    }
    assert_eq!(provider.asked("token"), 0, "nobody was asked");
    let mixed = house
        .get(
            &format!("/login/oidc/callback?state={}&code=x&iss=https://evil.example", mine.state),
            &mine.cookie,
        )
        .await;
    assert_eq!(mixed.status, 403, "one provider does not answer for another");
    let said_no =
        format!("/login/oidc/callback?state={}&error=access_denied&error_description=%3Cb%3E", mine.state);
    let refused = house.get(&said_no, &mine.cookie).await;
    assert_eq!(refused.status, 403);
    assert!(!refused.text.contains("<b>"));
    let away = set_out(&house, &provider, "//evil.example").await;
    assert_eq!(come_back(&house, &away).await.location(), "/", "no way off this server");
}

#[tokio::test]
async fn keys_that_the_provider_changed_are_asked_for_and_not_all_the_time() {
    let provider = Provider::start().await;
    let house = provider.house(&["helpdesk=support"]).await;
    assert_eq!(sign_in(&house, &provider).await.status, 303);
    provider.change(|inside| inside.key = Key::make("k2"));
    house.pass(SignedDuration::from_secs(31));
    assert_eq!(sign_in(&house, &provider).await.status, 303, "the new key");
    assert_eq!(provider.asked("keys"), 2);
    provider.change(|inside| inside.lie = Lie::UnknownKey);
    for _ in 0..5 {
        assert_eq!(sign_in(&house, &provider).await.status, 403);
    }
    assert_eq!(provider.asked("keys"), 2, "within half a minute it is not asked again");
}

#[tokio::test]
async fn who_was_shut_out_stays_out_and_no_name_is_taken_over() {
    let provider = Provider::start().await;
    let house = provider.house(&["helpdesk=support"]).await;
    let local = house.sign_in(Tenant::FIRST, "grace", Role::Admin).await;
    assert_eq!(sign_in(&house, &provider).await.status, 303);
    let users = house.store.users(Tenant::FIRST).await.unwrap();
    let other = users.iter().find(|user| user.name == "grace (provider)").expect("a name of their own");
    assert_eq!(other.role, Some(Role::Support));
    let by_password = house.form("/login", "", &[("name", "grace (provider)"), ("password", "")]).await;
    assert_eq!(by_password.status, 401, "no password is theirs");
    let out = house.form(&format!("/users/{}", other.id), &local, &[("role", "")]).await;
    assert_eq!(out.status, 303);
    let refused = sign_in(&house, &provider).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text.contains("Shut out"), "{}", refused.text);
}

#[tokio::test]
async fn a_group_may_lead_to_another_tenant_and_ends_what_was_open_in_the_one_before() {
    let provider = Provider::start().await;
    let house = provider.house(&["acme=admin@2", "lost=admin@77", "helpdesk=admin"]).await;
    let acme = house.store.add_tenant("Acme", now()).await.unwrap();
    assert_eq!(acme, Tenant(2));
    let first = sign_in(&house, &provider).await.cookie();
    assert!(house.get("/tenants", &first).await.status == 200);
    provider.change(|inside| inside.groups = json!(["acme", "helpdesk"]));
    let second = sign_in(&house, &provider).await.cookie();
    assert_eq!(house.get("/tenants", &second).await.status, 403, "admin of another tenant");
    assert_eq!(house.get("/users", &second).await.status, 200);
    assert_eq!(house.get("/users", &first).await.status, 303, "ended");
    provider.change(|inside| inside.groups = json!(["lost"]));
    assert_eq!(sign_in(&house, &provider).await.status, 403, "there is no such tenant");
}

#[tokio::test]
async fn passwords_can_be_switched_off() {
    let provider = Provider::start().await;
    let gate =
        Gate { oidc: Some(provider.oidc(&["helpdesk=admin"])), local_sign_in: false, ..Gate::default() };
    let house = House::behind(gate).await;
    assert_eq!(house.state.bootstrap().await.unwrap(), None, "no link for a first admin with a password");
    let page = house.get("/login", "").await;
    assert!(page.text.contains("Example ID") && !page.text.contains("type=\"password\""));
    assert_eq!(house.form("/login", "", &[("name", "ann"), ("password", PASSWORD)]).await.status, 403);
    assert_eq!(sign_in(&house, &provider).await.status, 303);
}

#[test]
fn a_provider_within_the_network_is_asked_only_when_that_is_said() {
    let config = |issuer: &str, allow_private| OidcConfig {
        issuer: issuer.into(),
        client_id: "us".into(),
        secret: Some("hunter2".into()),
        name: "x".into(),
        scopes: Vec::new(),
        groups_claim: "groups".into(),
        rules: vec!["a=admin".parse().unwrap()],
        allow_private,
    };
    for issuer in ["http://127.0.0.1:1", "https://10.0.0.1", "http://id.example", "id.example"] {
        assert!(Oidc::new(config(issuer, false), Outbound::system()).is_err(), "{issuer}");
    }
    let oidc = Oidc::new(config("https://10.0.0.1", true), Outbound::system()).unwrap();
    assert!(!format!("{oidc:?}").contains("hunter2"));
    let nobody = OidcConfig { rules: Vec::new(), ..config("https://id.example", false) };
    assert!(Oidc::new(nobody, Outbound::system()).is_err());
}
