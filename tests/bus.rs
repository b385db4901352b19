//! Reports through NATS JetStream: servers, nodes and the database killed while reports come in.
//!
//! What was acknowledged is there in the end, and counted once. Seeds are printed.
#![cfg(all(unix, feature = "nats"))]
#![expect(clippy::disallowed_methods, reason = "a test sends over sockets and threads of its own")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/disk.rs"]
mod disk;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/load.rs"]
mod load;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/nats.rs"]
mod nats;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "../probe-web/src/testing.rs"]
mod testing;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use disk::Disk;
use greenroom_web::auth::key;
use greenroom_web::clock::Clock;
use greenroom_web::store::{KeyUse, Tenant};
use load::{Place, Reports, Serve, runtime, seeded, under_load};
use nats::Servers;
use nix::sys::signal::Signal;
use postgres::Cluster;
use rand::RngExt as _;
use support::greenroom;

/// Over a bus, what is sent again is called a duplicate within two minutes alone, and not at all once its servers were restarted.
fn reports() -> Reports {
    Reports { knows_again: false, ..Reports::new() }
}

/// The status and the body of an answer.
fn get(at: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).expect("it listens");
    let head = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("UTF-8");
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, text)
}

/// Waits until the database has everything that was acknowledged, and looks it over.
fn check_once_kept(runtime: &tokio::runtime::Runtime, place: &Place<'_>, reports: &Reports) {
    runtime.block_on(async {
        let store = place.open().await;
        reports.wait_until_kept(&*store).await;
        reports.check(&*store).await;
    });
}

#[test]
fn one_server_keeps_reports_until_the_database_has_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cluster, servers) = (postgres::shared(), Servers::start(1));
    let url = cluster.database();
    let place = Place::Database(&url, folder.path());
    let (runtime, reports) = (runtime(), reports());
    let key = runtime.block_on(place.key());
    let server = Serve::with(&place, &["--bus", &servers.url()]);
    under_load(&reports, server.at, &key, || reports.wait_for(100));
    check_once_kept(&runtime, &place, &reports);
}

#[test]
fn one_of_three_servers_may_be_killed_at_any_time() {
    one_of_three_is_away(Servers::kill, Servers::begin);
}

/// As behind a network that is down: nobody hears that it is gone.
#[test]
fn one_of_three_servers_may_fall_silent() {
    one_of_three_is_away(Servers::silence, Servers::wake);
}

/// Each of three servers in turn goes and comes back while reports come in.
fn one_of_three_is_away(go: fn(&Servers, usize), come_back: fn(&Servers, usize)) {
    let folder = tempfile::tempdir().expect("a folder");
    let (cluster, servers) = (postgres::shared(), Servers::start(3));
    let url = cluster.database();
    let place = Place::Database(&url, folder.path());
    let (mut random, runtime, reports) = (seeded(), runtime(), reports());
    let key = runtime.block_on(place.key());
    let server = Serve::with(&place, &["--bus", &servers.url()]);
    under_load(&reports, server.at, &key, || {
        for away in 0..3 {
            reports.wait_for(random.random_range(1..30));
            go(&servers, away);
            reports.wait_for(random.random_range(1..30));
            come_back(&servers, away);
        }
        reports.wait_for(10);
    });
    check_once_kept(&runtime, &place, &reports);
}

/// A server without room for its streams goes on without them until it is started anew.
#[test]
fn the_disk_of_one_of_three_servers_may_be_full() {
    on_full_disks(&[1]);
}

#[test]
fn while_the_disks_of_all_servers_are_full_reports_are_refused_and_none_is_lost() {
    on_full_disks(&[0, 1, 2]);
}

/// Fills the disks of some of three servers while reports come in, and makes room again.
fn on_full_disks(full: &[usize]) {
    let folder = tempfile::tempdir().expect("a folder");
    let disks: Vec<Disk> = (0..3).map(|_| Disk::of("16m")).collect();
    let cluster = postgres::shared();
    let servers = Servers::start_on(3, |index| Some(disks[index].path().join("data")));
    let url = cluster.database();
    let place = Place::Database(&url, folder.path());
    let (mut random, runtime, reports) = (seeded(), runtime(), reports());
    let key = runtime.block_on(place.key());
    let server = Serve::with(&place, &["--bus", &servers.url()]);
    under_load(&reports, server.at, &key, || {
        reports.wait_for(random.random_range(1..30));
        let refused = *reports.refused.lock().expect("no panic");
        full.iter().for_each(|index| disks[*index].fill());
        if full.len() == disks.len() {
            reports.wait_for_refusal(refused);
        } else {
            reports.wait_for(30);
        }
        for index in full {
            disks[*index].empty();
            servers.kill(*index);
            servers.begin(*index);
        }
        reports.wait_for(30);
    });
    check_once_kept(&runtime, &place, &reports);
}

#[test]
fn a_node_may_be_killed_at_any_time_and_another_takes_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cluster, servers) = (postgres::shared(), Servers::start(3));
    let url = cluster.database();
    let place = Place::Database(&url, folder.path());
    let (mut random, runtime, reports) = (seeded(), runtime(), reports());
    let key = runtime.block_on(place.key());
    for _ in 0..4 {
        let server = Serve::with(&place, &["--bus", &servers.url()]);
        let (answers, turns) = (random.random_range(1..40), random.random_range(0..2_000_000_u32));
        under_load(&reports, server.at, &key, || {
            reports.wait_for(answers);
            (0..turns).for_each(|_| std::hint::spin_loop());
            server.signal(Signal::SIGKILL);
        });
    }
    // What the dead had taken and not acknowledged is delivered again.
    let server = Serve::with(&place, &["--bus", &servers.url()]);
    under_load(&reports, server.at, &key, || reports.wait_for(10));
    check_once_kept(&runtime, &place, &reports);
}

#[test]
fn while_the_database_is_away_reports_are_taken_and_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cluster, servers) = (Cluster::start(), Servers::start(1));
    let url = cluster.database();
    let place = Place::Database(&url, folder.path());
    let (mut random, runtime, reports) = (seeded(), runtime(), reports());
    let key = runtime.block_on(place.key());
    let server = Serve::with(&place, &["--bus", &servers.url()]);
    under_load(&reports, server.at, &key, || {
        for _ in 0..2 {
            reports.wait_for(random.random_range(1..40));
            cluster.crash();
            // A sender that the store knew is let in without it.
            reports.wait_for(40);
            let (status, page) = get(server.at, "/fleet", "Cookie: session=x\r\n");
            assert!(status == 503 || status == 303, "{page}");
            let (status, ready) = get(server.at, "/readyz", "");
            assert_eq!(status, 200, "{ready}");
            cluster.begin();
        }
        reports.wait_for(10);
    });
    // A store that was not away for a moment refuses nothing.
    check_once_kept(&runtime, &place, &reports);
}

#[test]
fn nodes_tell_each_other_what_is_new() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cluster, servers) = (postgres::shared(), Servers::start(1));
    let url = cluster.database();
    let place = Place::Database(&url, folder.path());
    let (runtime, reports) = (runtime(), reports());
    let send = runtime.block_on(place.key());
    let (read, kept) = key::mint(Tenant::FIRST, "screen".into(), KeyUse::Read, Clock::system().now());
    runtime.block_on(async { place.open().await.add_key(&kept).await.expect("it is kept") });
    let nodes = [0, 1].map(|_| Serve::with(&place, &["--bus", &servers.url()]));
    let mut heard: Vec<_> = nodes
        .iter()
        .map(|node| {
            let mut stream = TcpStream::connect(node.at).expect("it listens");
            let head = format!(
                "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {read}\r\n\r\n",
                node.at
            );
            stream.write_all(head.as_bytes()).expect("it reads");
            let mut lines = BufReader::new(stream).lines();
            let said = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("listening")));
            assert!(said.is_some(), "nobody is told anything");
            lines
        })
        .collect();
    under_load(&reports, nodes[0].at, &send, || reports.wait_for(5));
    // Whichever node took a report to the store, both tell of it.
    for lines in &mut heard {
        let told = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("event: report")));
        assert!(told.is_some());
    }
}

#[test]
fn a_bus_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |bus: &str| {
        let ran =
            greenroom(["serve", "--listen", "127.0.0.1:0", "--endpoint", "off", "--bus", bus, "--data"])
                .arg(folder.path())
                .output()
                .expect("the binary runs");
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let (code, err) = run("nats://127.0.0.1:1");
    assert_eq!(code, Some(69), "{err}");
    assert!(err.contains("cannot be reached"), "{err}");
    let (code, err) = run("kafka://127.0.0.1:1");
    assert_eq!(code, Some(64), "{err}");
    let (code, err) = run("nats://user:hunter2@127.0.0.1:1");
    assert_eq!(code, Some(64), "{err}");
    assert!(!err.contains("hunter2"), "{err}");
}
