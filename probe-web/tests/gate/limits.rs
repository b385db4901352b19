//! So many requests by one key and by one address, and who an address is behind proxies.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, header};
use greenroom_web::Gate;
use greenroom_web::limits::Rates;
use greenroom_web::store::*;
use jiff::SignedDuration;

use super::house::{Answer, House};

async fn house(trusted: &[&str]) -> House {
    let trusted_proxies = trusted.iter().map(|net| net.parse().unwrap()).collect();
    House::behind(Gate { rates: Rates { key: 2, address: 1 }, trusted_proxies, ..Gate::default() }).await
}

async fn get(house: &House, path: &str, peer: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let peer: SocketAddr = peer.parse().unwrap();
    house.ask(request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn an_address_may_ask_so_often_and_others_are_not_held_up() {
    let house = house(&[]).await;
    for _ in 0..10 {
        assert_eq!(get(&house, "/login", "192.0.2.1:1", &[]).await.status, 200);
    }
    let refused = get(&house, "/login", "192.0.2.1:2", &[]).await;
    assert_eq!((refused.status, refused.headers[header::RETRY_AFTER].to_str().unwrap()), (429, "1"));
    assert!(refused.text.contains("Too many requests"));
    let problem = get(&house, "/api/v1/session", "192.0.2.1:2", &[]).await;
    assert_eq!(
        (problem.status, &problem.headers[header::CONTENT_TYPE]),
        (429, &"application/problem+json".parse().unwrap())
    );
    let spoofed = get(&house, "/login", "192.0.2.1:2", &[("x-forwarded-for", "198.51.100.9")]).await;
    assert_eq!(spoofed.status, 429, "nobody says who they are");
    assert_eq!(get(&house, "/login", "192.0.2.2:1", &[]).await.status, 200);
    for free in ["/healthz", "/readyz", "/assets/greenroom.css"] {
        assert_eq!(get(&house, free, "192.0.2.1:1", &[]).await.status, 200, "{free}");
    }
    house.pass(SignedDuration::from_secs(1));
    assert_eq!(get(&house, "/login", "192.0.2.1:1", &[]).await.status, 200);
    assert_eq!(get(&house, "/login", "192.0.2.1:1", &[]).await.status, 429);
}

#[tokio::test]
async fn behind_a_proxy_the_right_most_hop_counts() {
    let house = house(&["10.0.0.0/8"]).await;
    for proxy in ["10.0.0.1:1", "127.0.0.1:1"] {
        let client = if proxy.starts_with("10.") { "198.51.100.7" } else { "198.51.100.8" };
        let left = |n: u32| format!("203.0.113.{n}, {client}");
        for n in 0..10 {
            assert_eq!(get(&house, "/login", proxy, &[("x-forwarded-for", &left(n))]).await.status, 200);
        }
        let refused = get(&house, "/login", proxy, &[("x-forwarded-for", &left(99))]).await;
        assert_eq!(refused.status, 429, "what stands left of it changes nothing");
        assert_eq!(get(&house, "/login", proxy, &[("x-forwarded-for", "198.51.100.99")]).await.status, 200);
    }
}

#[tokio::test]
async fn a_key_may_ask_so_often_from_wherever() {
    let house = house(&[]).await;
    let (one, two) =
        (house.key_for(Tenant::FIRST, KeyUse::Read).await, house.key_for(Tenant::FIRST, KeyUse::Read).await);
    let bearer = |key: &str| format!("Bearer {key}");
    for n in 0..4 {
        let asked =
            get(&house, "/api/v1/reports", &format!("192.0.2.{n}:1"), &[("authorization", &bearer(&one))])
                .await;
        assert_eq!(asked.status, 200, "{}", asked.text);
    }
    let refused = get(&house, "/api/v1/reports", "192.0.2.9:1", &[("authorization", &bearer(&one))]).await;
    assert_eq!(refused.status, 429);
    assert_eq!(
        get(&house, "/api/v1/reports", "192.0.2.9:1", &[("authorization", &bearer(&two))]).await.status,
        200
    );
}

#[tokio::test]
async fn who_tries_keys_out_is_counted_by_address() {
    let house = house(&[]).await;
    let mut told = Vec::new();
    for n in 0..12 {
        let guess = format!("Bearer gr_{n:012}_x");
        told.push(get(&house, "/api/v1/reports", "192.0.2.1:1", &[("authorization", &guess)]).await.status);
    }
    assert_eq!(told.iter().filter(|status| **status == 401).count(), 10, "{told:?}");
    assert_eq!(told.last(), Some(&429));
}

#[tokio::test]
async fn passwords_are_tried_slowly() {
    let house = House::behind(Gate::default()).await;
    let attempt = async |n: u32| {
        let body = format!("name=somebody{n}&password=wrong+wrong+wrong");
        let request = Request::post("/login")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .extension(ConnectInfo("192.0.2.1:1".parse::<SocketAddr>().unwrap()));
        house.ask(request.body(Body::from(body)).unwrap()).await.status
    };
    for n in 0..20 {
        assert_eq!(attempt(n).await, 401);
    }
    assert_eq!(attempt(20).await, 429, "whatever name");
    house.pass(SignedDuration::from_secs(3));
    assert_eq!(attempt(21).await, 401);
}
