//! What is kept stays kept: the server and its database killed while reports come in, copied meanwhile, moved to another store.
//!
//! What was acknowledged is there, and counted once. Each kill comes after a number of answers and a while that a seed says, in the middle of whatever is going on then; the seed is printed.
#![cfg(all(unix, feature = "web"))]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/disk.rs"]
mod disk;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/load.rs"]
mod load;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "../probe-web/src/testing.rs"]
mod testing;
#[path = "support/wire.rs"]
mod wire;

use std::path::Path;
use std::process::Command;

use greenroom_web::auth::password;
use greenroom_web::clock::{Clock, new_id};
use greenroom_web::store::{NewUser, Role, Tenant, User};
use load::{Place, Reports, Serve, runtime, seeded, under_load};
use nix::sys::signal::Signal;
use rand::RngExt as _;
use support::greenroom;

/// Kills the server again and again while reports come in.
fn killed_again_and_again(place: &Place<'_>, kills: u32) {
    let (mut random, runtime, reports) = (seeded(), runtime(), Reports::new());
    let key = runtime.block_on(place.key());
    for _ in 0..kills {
        let server = Serve::on(place);
        let answers = random.random_range(1..40);
        let turns = random.random_range(0..2_000_000_u32);
        under_load(&reports, server.at, &key, || {
            reports.wait_for(answers);
            (0..turns).for_each(|_| std::hint::spin_loop());
            server.signal(Signal::SIGKILL);
        });
        drop(server);
        runtime.block_on(async { reports.check(&*place.open().await).await });
    }
    // It starts once more, takes what was not acknowledged, and ends in order.
    let mut server = Serve::on(place);
    let left =
        reports.made.lock().expect("no panic").len() - reports.acknowledged.lock().expect("no panic").len();
    under_load(&reports, server.at, &key, || reports.wait_for(left + 1));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.child.wait().expect("a child").code(), Some(0));
    runtime.block_on(async { reports.check(&*place.open().await).await });
}

#[test]
fn a_server_on_sqlite_may_be_killed_at_any_time() {
    let folder = tempfile::tempdir().expect("a folder");
    killed_again_and_again(&Place::Folder(&folder.path().join("data")), 8);
}

#[test]
fn a_server_on_postgres_may_be_killed_at_any_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = postgres::shared();
    let url = cluster.database();
    killed_again_and_again(&Place::Database(&url, folder.path()), 6);
}

#[test]
fn the_database_may_be_killed_at_any_time_and_the_server_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = postgres::Cluster::start();
    let url = cluster.database();
    let place = Place::Database(&url, folder.path());
    let (mut random, runtime, reports) = (seeded(), runtime(), Reports::new());
    let key = runtime.block_on(place.key());
    let server = Serve::on(&place);
    under_load(&reports, server.at, &key, || {
        for round in 0..4 {
            reports.wait_for(random.random_range(1..40));
            (0..random.random_range(0..2_000_000_u32)).for_each(|_| std::hint::spin_loop());
            let refused = *reports.refused.lock().expect("no panic");
            if round % 2 == 0 {
                cluster.crash();
                reports.wait_for_refusal(refused);
                cluster.begin();
            } else {
                // The database ends all connections, and goes through its log before it takes others.
                let asked = "SELECT pid FROM pg_stat_activity WHERE application_name = 'greenroom' LIMIT 1";
                let pid = cluster.ask(&url, asked);
                let killed = Command::new("kill").args(["-KILL", &pid]).status().expect("kill runs");
                assert!(killed.success(), "a connection of the server: {pid}");
            }
        }
        reports.wait_for(10);
    });
    drop(server);
    runtime.block_on(async { reports.check(&*place.open().await).await });
}

#[test]
fn the_disk_of_the_database_may_be_full_and_the_server_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = disk::Disk::of("160m");
    let cluster = postgres::Cluster::start_on(disk.path());
    let url = cluster.database();
    let place = Place::Database(&url, folder.path());
    let (mut random, runtime, reports) = (seeded(), runtime(), Reports::new());
    let key = runtime.block_on(place.key());
    let server = Serve::on(&place);
    under_load(&reports, server.at, &key, || {
        for _ in 0..3 {
            reports.wait_for(random.random_range(1..40));
            let refused = *reports.refused.lock().expect("no panic");
            disk.fill();
            reports.wait_for_refusal(refused);
            disk.empty();
            // Without room for its log it ends; whoever runs it starts it again.
            if cluster.has_ended() {
                cluster.begin();
            }
        }
        reports.wait_for(10);
    });
    drop(server);
    runtime.block_on(async { reports.check(&*place.open().await).await });
}

/// A firewall in between that forgets its connections: neither side hears of it, and nothing is answered that was not kept.
#[test]
fn the_wire_to_the_database_may_be_cut_and_the_server_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = postgres::Cluster::start();
    let url = cluster.database();
    let wire = wire::Wire::to(&cluster.socket());
    let over_the_wire = format!("postgres://postgres@{}/{}", wire.at, postgres::name(&url));
    let (place, seen) =
        (Place::Database(&url, folder.path()), Place::Database(&over_the_wire, folder.path()));
    let (mut random, runtime, reports) = (seeded(), runtime(), Reports::new());
    let key = runtime.block_on(place.key());
    let server = Serve::on(&seen);
    under_load(&reports, server.at, &key, || {
        for _ in 0..2 {
            reports.wait_for(random.random_range(1..40));
            let refused = *reports.refused.lock().expect("no panic");
            wire.cut();
            reports.wait_for_refusal(refused);
            wire.mend();
        }
        reports.wait_for(10);
    });
    drop(server);
    runtime.block_on(async { reports.check(&*place.open().await).await });
}

/// Runs a command that has to end with this code; what it says.
fn run(code: i32, args: &[&str], paths: &[&Path]) -> String {
    let ran = greenroom(args).args(paths).output().expect("the binary runs");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(ran.status.code(), Some(code), "{args:?}: {out}{err}");
    assert!(!err.contains("panicked"), "{err}");
    if code > 3 { err.into_owned() } else { out.into_owned() }
}

/// Everything that an export holds, without the line that says when it was written.
fn lines_of(file: &Path) -> Vec<String> {
    let packed = std::fs::read(file).expect("it was written");
    let text = zstd::decode_all(&packed[..]).expect("zstd");
    String::from_utf8(text).expect("text").lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn a_copy_made_under_load_is_sound_starts_and_moves_to_another_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let data = path("data");
    let place = Place::Folder(&data);
    let (runtime, reports) = (runtime(), Reports::new());
    let key = runtime.block_on(place.key());
    let server = Serve::on(&place);
    under_load(&reports, server.at, &key, || {
        reports.wait_for(40);
        let said = run(0, &["serve", "backup", "--data"], &[&data, &path("copy")]);
        assert!(said.contains("Copy") && said.contains("Reports"), "{said}");
        reports.wait_for(10);
    });
    // The server is in nobody's way, and what is there is not written over.
    run(69, &["serve", "export", "--data"], &[&data, &path("x")]);
    run(73, &["serve", "backup", "--data"], &[&data, &path("copy")]);
    drop(server);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(path("copy")).expect("there").permissions(),
    );
    assert_eq!(mode & 0o077, 0, "for this user alone");
    assert!(run(0, &["serve", "verify", "--data"], &[&path("copy")]).contains("nothing is wrong"));

    // From the copy to PostgreSQL and back.
    run(0, &["serve", "export", "--data"], &[&path("copy"), &path("one")]);
    let cluster = postgres::shared();
    let url = cluster.database();
    let said = run(0, &["serve", "import", "--store", &url], &[&path("one")]);
    assert!(said.contains("0 were there already"), "{said}");
    assert!(run(0, &["serve", "import", "--store", &url], &[&path("one")]).contains("0 new"));
    run(0, &["serve", "export", "--store", &url], &[&path("two")]);
    run(0, &["serve", "import", "--data"], &[&path("back"), &path("two")]);
    run(0, &["serve", "export", "--data"], &[&path("back"), &path("three")]);
    let lines = lines_of(&path("one"));
    assert!(lines.len() >= 42, "{}", lines.len());
    assert_eq!(lines_of(&path("two")), lines);
    assert_eq!(lines_of(&path("three")), lines);
    assert!(run(64, &["serve", "backup", "--store", &url], &[&path("x")]).contains("pg_dump"));

    // Wrong input is said, and leaves nothing behind.
    run(73, &["serve", "export", "--data"], &[&path("copy"), &path("one")]);
    run(66, &["serve", "export", "--data"], &[&path("nothing"), &path("x")]);
    run(66, &["serve", "backup", "--data"], &[&path("nothing"), &path("x")]);
    let whole = std::fs::read(path("one")).expect("it was written");
    std::fs::write(path("cut"), &whole[..whole.len() / 2]).expect("writable");
    run(66, &["serve", "import", "--data"], &[&path("none"), &path("cut")]);
    run(66, &["serve", "import", "--data"], &[&path("none"), &path("no such file")]);
    for left in ["x", "x.part", "nothing", "none", "copy.part", "one.part"] {
        assert!(!path(left).exists(), "{left}");
    }

    // The copy is a store like any other: a server goes on with it.
    let copy = path("copy");
    let again = Serve::on(&Place::Folder(&copy));
    under_load(&reports, again.at, &key, || reports.wait_for(3));
}

#[test]
fn an_admin_who_forgot_the_password_gets_a_new_one_on_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (data, new, flag) = (path("data"), path("new"), Path::new("--password-file"));
    let runtime = runtime();
    let place = Place::Folder(&data);
    let now = Clock::system().now();
    let user = User {
        tenant: Tenant::FIRST,
        id: new_id(now),
        name: "ann".into(),
        role: Some(Role::Admin),
        created: now,
    };
    runtime.block_on(async {
        let password_hash = password::hash("the old password".into()).await.expect("hashed");
        place.open().await.add_user(&NewUser { user, password_hash }).await.expect("kept");
    });
    let set = |code, name| run(code, &["serve", "password", name, "--data"], &[&data, flag, &new]);
    std::fs::write(&new, "short\n").expect("writable");
    assert!(set(64, "ann").contains("12 to 200 characters"));
    std::fs::write(&new, "another long password\n").expect("writable");
    assert!(set(66, "bob").contains("nobody signs in as"));
    let said = set(0, "ann");
    assert!(said.contains("set for ann") && !said.contains("another long"), "{said}");
    let (is_old, is_new, log) = runtime.block_on(async {
        let store = place.open().await;
        let (_, hash) = store.user_by_name("ann").await.expect("read").expect("there");
        let is_old = password::verify("the old password".into(), Some(hash.clone())).await;
        let is_new = password::verify("another long password".into(), Some(hash)).await;
        (is_old, is_new, store.audit_log(Tenant::FIRST, None, 10).await.expect("read"))
    });
    assert!(!is_old && is_new);
    assert_eq!((log[0].action.as_str(), log[0].actor.as_str()), ("user.password", "command line"));
}
