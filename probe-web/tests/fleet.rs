//! The fleet, asked as an operator asks it.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "house/mod.rs"]
mod house;
#[path = "../src/testing.rs"]
mod testing;

use greenroom_reports::schema::State as Verdict;
use greenroom_web::store::*;
use house::{House, now, report};
use jiff::SignedDuration;

/// Sends a report of a site that began so long ago.
async fn sent(house: &House, key: &str, n: u64, site: &str, overall: Verdict, ago: SignedDuration) {
    let mut report = report(n, "Ada Lovelace");
    report.started = now().checked_sub(ago).unwrap();
    report.labels.insert("site".into(), site.into());
    report.verdict.overall = overall;
    let answer = house.send(key, &report).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

#[tokio::test]
async fn the_fleet_says_what_all_reports_say_together() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let cookie = house.sign_in(Tenant::FIRST, "lin", Role::SupportNoPii).await;
    let empty = house.get("/fleet", &cookie).await;
    assert_eq!(empty.status, 200);
    assert!(empty.text.contains("No report in this time"), "{}", empty.text);
    let hours = SignedDuration::from_hours;
    for n in 0..20 {
        sent(&house, &key, n, "Lyon", Verdict::Ready, hours(30)).await;
        sent(&house, &key, 100 + n, "Lyon", Verdict::Blocked, hours(3)).await;
    }
    sent(&house, &key, 200, "Oslo", Verdict::Ready, hours(2)).await;
    let day = house.get("/fleet?range=24h", &cookie).await.text;
    for part in ["20 blocked", "1 good", "Lyon", "Oslo", "What got worse", "with trouble</b>, 0", "20/20"] {
        assert!(day.contains(part), "{part}: {day}");
    }
    assert!(!day.contains("Ada"), "nothing personal is in sums");
    let narrow = house.get("/fleet?range=24h&site=Oslo", &cookie).await.text;
    assert!(narrow.contains("Only site") && !narrow.contains("Lyon"), "{narrow}");
    let hour = house.get("/fleet?range=1h", &cookie).await.text;
    assert!(hour.contains("No report in this time"));
    for range in ["7d", "30d", "nonsense"] {
        assert_eq!(house.get(&format!("/fleet?range={range}"), &cookie).await.status, 200, "{range}");
    }
}

#[tokio::test]
async fn behind_every_time_are_its_reports() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Support).await;
    sent(&house, &key, 1, "Lyon", Verdict::Blocked, SignedDuration::from_hours(3)).await;
    sent(&house, &key, 2, "Lyon", Verdict::Ready, SignedDuration::from_hours(5)).await;
    let page = house.get("/fleet?range=24h", &cookie).await.text;
    // The table behind the plots has one row for each time, which leads to its reports.
    let table = page.split("As a table").nth(1).unwrap();
    let paths: Vec<_> = table
        .split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("&amp;", "&"))
        .take_while(|path| path.starts_with("/reports?"))
        .collect();
    assert!(paths.len() >= 2, "{paths:?}");
    let found = async |path: &str| {
        let text = house.get(path, &cookie).await.text;
        [1, 2].map(|n| text.contains(&testing::report(n).code))
    };
    assert_eq!(found(&paths[0]).await, [false, true], "{}", paths[0]);
    assert_eq!(found(&paths[1]).await, [true, false], "{}", paths[1]);
}

#[tokio::test]
async fn other_tenants_are_not_part_of_it() {
    let house = House::new().await;
    let other = house.store.add_tenant("other", now()).await.unwrap();
    let key = house.key(other).await;
    sent(&house, &key, 1, "Lyon", Verdict::Blocked, SignedDuration::from_hours(3)).await;
    let cookie = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let page = house.get("/fleet", &cookie).await.text;
    assert!(page.contains("No report in this time") && !page.contains("Lyon"));
    let signed_out = house.get("/fleet", "").await;
    assert_eq!(signed_out.status, 303);
}

#[tokio::test]
async fn prometheus_reads_the_last_hour_with_a_key_for_that() {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    let reads = house.key_for(Tenant::FIRST, KeyUse::Metrics).await;
    sent(&house, &key, 1, "Lyon", Verdict::Blocked, SignedDuration::from_mins(20)).await;
    sent(&house, &key, 1, "Lyon", Verdict::Blocked, SignedDuration::from_mins(20)).await;
    sent(&house, &key, 2, "Lyon", Verdict::Ready, SignedDuration::from_hours(5)).await;
    let ask = async |key: &str| {
        let request = axum::http::Request::get("/metrics").header("authorization", format!("Bearer {key}"));
        house.ask(request.body(axum::body::Body::empty()).unwrap()).await
    };
    for wrong in ["", "gr_x_y", key.as_str()] {
        assert_eq!(ask(wrong).await.status, 401, "{wrong}");
    }
    assert_eq!(house.send(&reads, &report(3, "Ada")).await.status, 401, "it is good for nothing else");
    let told = ask(&reads).await;
    assert_eq!(told.status, 200);
    for line in [
        "verdict=\"blocked\"} 1\n",
        "verdict=\"ready\"} 0\n",
        "greenroom_ingest_reports_total{outcome=\"accepted\"} 2\n",
        "greenroom_ingest_reports_total{outcome=\"duplicate\"} 1\n",
        "greenroom_ingest_reports_total{outcome=\"refused\"} 1\n",
        "greenroom_http_responses_total{class=\"4xx\"} 4\n",
    ] {
        assert!(told.text.contains(line), "{line}: {}", told.text);
    }
    assert!(!told.text.contains("Ada") && !told.text.contains("agent="), "no persons");
    for asked in asked_for_by_the_dashboard() {
        let found = told.text.lines().any(|line| {
            line.starts_with(&format!("{}{{", asked.metric))
                && asked.labels.iter().all(|label| line.contains(&format!("{label}=\"")))
        });
        assert!(found, "{asked:?}: {}", told.text);
    }
}

/// A series that the dashboard for Grafana asks for.
#[derive(Debug)]
struct Asked {
    metric: String,
    labels: Vec<String>,
}

/// Everything that the file for Grafana asks for: a metric with the labels that it is picked by.
fn asked_for_by_the_dashboard() -> Vec<Asked> {
    let file =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/grafana/greenroom-fleet.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let panels = file["panels"].as_array().unwrap().iter();
    let queries = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let texts: Vec<String> = queries.map(|query| query["expr"].as_str().unwrap().to_owned()).collect();
    let mut asked = Vec::new();
    for text in &texts {
        let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for (at, _) in text.match_indices("greenroom_") {
            let rest = &text[at..];
            let end = rest.find(|c| !name(c)).unwrap_or(rest.len());
            let (metric, rest) = rest.split_at(end);
            let picked = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
            let mut labels: Vec<String> = picked
                .split(',')
                .filter_map(|part| part.split(['=', '!']).next())
                .map(str::to_owned)
                .collect();
            let by = text.split_once("by (").and_then(|(_, rest)| rest.split(')').next()).unwrap_or_default();
            labels.extend(by.split(',').map(|label| label.trim().to_owned()));
            labels.retain(|label| !label.is_empty());
            asked.push(Asked { metric: metric.to_owned(), labels });
        }
    }
    assert!(asked.len() > 10 && asked.iter().any(|asked| asked.labels.len() > 2), "{texts:?}");
    asked
}
