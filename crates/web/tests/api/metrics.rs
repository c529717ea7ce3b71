//! `/metrics`: its content, who may read it, and that `deploy/` and `docs/operations.md` name the same metrics.

use std::collections::BTreeSet;
use std::path::Path;

use market_data::QuoteError;
use services::operations::{WorkerIdentity, WorkerMode};

use crate::harness::{Caller, TestApp};

const METRICS: &str = "/metrics";
const TOKEN: &str = "a token for the scraper";

async fn heartbeat(app: &TestApp) {
    let worker =
        WorkerIdentity { name: "worker".to_owned(), mode: WorkerMode::Redis, started_at: app.clock.wall() };
    app.services.operations().worker_heartbeat(&worker).await.unwrap();
}

/// All names of samples, including the suffixes of histograms.
fn names(scrape: &str) -> BTreeSet<String> {
    let samples = scrape.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// The value of the first sample whose line begins with `sample`.
fn value(scrape: &str, sample: &str) -> f64 {
    let line = scrape.lines().find(|line| line.starts_with(sample));
    let line = line.unwrap_or_else(|| panic!("no {sample} in {scrape}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn repository_file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The metric names in a text: words that begin with our prefix.
fn mentioned(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_name = |word: &&str| word.starts_with("stockyard_") || word.starts_with("process_");
    words.filter(is_name).map(str::to_owned).filter(|word| word != "process_").collect()
}

/// A scrape of an installation on which every metric has a sample.
async fn busy_scrape() -> String {
    let app = TestApp::spawn_with_provider().await;
    heartbeat(&app).await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    mara.buy(portfolio, "AAPL", "1").await;
    // A call of a test's source is counted only if it fails; otherwise the price is already known.
    app.prices.fail_with(QuoteError::Unreachable);
    mara.get("/api/v1/stocks/MSFT/quote").await;
    app.prices.recover();
    app.at("2026-11-24T15:00:00Z");
    app.work().await;
    app.sql("INSERT INTO installation (key, value) VALUES ('last_backup_at', '2026-11-20T01:00:00Z')");
    app.sql(
        "INSERT INTO installation (key, value) VALUES ('last_final_snapshot', \
         '{\"session\": \"2026-11-20\", \"taken_at\": \"2026-11-21T01:00:00Z\"}') \
         ON CONFLICT (key) DO NOTHING",
    );
    app.anonymous().get(METRICS).await.is(200).text()
}

#[tokio::test]
async fn alerts_dashboard_and_operations_page_name_existing_metrics_and_the_page_names_all() {
    let scrape = busy_scrape().await;
    let names = names(&scrape);
    for file in ["deploy/prometheus/alerts.yml", "deploy/grafana/dashboard.json"] {
        let used = mentioned(&repository_file(file));
        assert!(used.len() > 10, "{file}: {used:?}");
        let unknown: Vec<_> = used.iter().filter(|name| !names.contains(*name)).collect();
        assert!(unknown.is_empty(), "{file} uses metrics that no scrape has: {unknown:?}\n{scrape}");
    }
    // The page has the name of a histogram without suffix.
    let base = |name: &String| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    let bases: BTreeSet<String> =
        names.iter().map(base).filter(|name| name.starts_with("stockyard_")).collect();
    let page: BTreeSet<String> = mentioned(&repository_file("docs/operations.md"))
        .into_iter()
        .filter(|name| name.starts_with("stockyard_"))
        .collect();
    let missing: Vec<_> = bases.difference(&page).collect();
    assert!(missing.is_empty(), "docs/operations.md does not explain {missing:?}");
    let unknown: Vec<_> = page.difference(&bases).collect();
    assert!(unknown.is_empty(), "docs/operations.md explains metrics that no scrape has: {unknown:?}");
}

#[test]
fn every_alert_has_a_section_on_the_operations_page_and_no_section_is_unused() {
    let rules = repository_file("deploy/prometheus/alerts.yml");
    let alerts: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::trim).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let page = repository_file("docs/operations.md");
    let sections: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|title| title.starts_with("Stockyard"))
        .collect();
    assert_eq!(sections, alerts);
}

#[test]
fn the_dashboard_is_valid_json_with_an_expression_in_each_panel() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&repository_file("deploy/grafana/dashboard.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && targets.iter().all(|target| target["expr"].is_string()), "{panel}");
    }
}

#[tokio::test]
async fn names_follow_the_conventions() {
    let scrape = busy_scrape().await;
    let mut described = BTreeSet::new();
    for line in scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(name.starts_with("stockyard_") || name.starts_with("process_"), "{line}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        for unit in ["_ms", "_milliseconds", "_minutes", "_hours", "_kb", "_mb", "_percent"] {
            assert!(!name.contains(unit), "{line} has no base unit");
        }
        assert!(described.insert(name.to_owned()), "{name} is described twice");
    }
    for line in scrape.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        assert!(line.split(' ').count() > 3, "{line}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_client_input() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara-the-trader").await;
    let portfolio = mara.open("10000").await;
    mara.buy(portfolio, "AAPL", "1").await.is(201);
    mara.get(&format!("/api/v1/portfolios/{portfolio}")).await.is(200);
    mara.get("/api/v1/portfolios/987654").await.is(404);
    mara.get("/api/v1/stocks/MADEUP/quote").await.is(404);
    mara.get("/api/v1/made-up-address?secret=1").await.is(404);
    mara.get("/another/made-up-address").await.is(404);
    mara.ask(reqwest::Method::from_bytes(b"MADEUPMETHOD").unwrap(), "/login").await;
    let scrape = app.anonymous().get(METRICS).await.is(200).text();
    for (sample, count) in [
        (
            "stockyard_http_requests_total{method=\"GET\",route=\"/api/v1/portfolios/{id}\",status=\"200\"}",
            1.0,
        ),
        (
            "stockyard_http_requests_total{method=\"GET\",route=\"/api/v1/portfolios/{id}\",status=\"404\"}",
            1.0,
        ),
        (
            "stockyard_http_requests_total{method=\"POST\",route=\"/api/v1/portfolios/{id}/orders\",status=\"201\"}",
            1.0,
        ),
        ("stockyard_http_requests_total{method=\"GET\",route=\"unknown\",status=\"404\"}", 2.0),
        ("stockyard_order_desk_commands_total{command=\"place\",outcome=\"done\"}", 1.0),
        (
            "stockyard_http_request_duration_seconds_count{method=\"GET\",route=\"/api/v1/portfolios/{id}\"}",
            2.0,
        ),
    ] {
        assert!((value(&scrape, sample) - count).abs() < f64::EPSILON, "{sample}: {scrape}");
    }
    for sent in ["mara", "987654", "MADEUP", "made-up", "secret", "AAPL", "127.0.0.1"] {
        assert!(!scrape.contains(sent), "{sent} is in the scrape");
    }
}

async fn is_hidden(caller: &Caller) {
    let refused = caller.get(METRICS).await;
    refused.is_refused(404, "not_found");
    assert!(!refused.text().contains("stockyard_"));
}

#[tokio::test]
async fn metrics_are_readable_only_on_this_machine_or_with_the_token() {
    let app = TestApp::spawn().await;
    app.anonymous().get(METRICS).await.is(200);
    for header in ["x-forwarded-for", "forwarded", "x-real-ip", "via"] {
        is_hidden(&app.anonymous().with(header, "127.0.0.1")).await;
    }
    // Without the setting no token gives access.
    is_hidden(&app.with_token("").with("x-forwarded-for", "192.0.2.1")).await;
    let ada = app.register_admin("ada").await;
    is_hidden(&ada.with("x-forwarded-for", "192.0.2.1")).await;

    let app = TestApp::spawn_with(|config| config.metrics_token = Some(TOKEN.into())).await;
    let remote = |token: &str| app.with_token(token).with("x-forwarded-for", "192.0.2.1");
    remote(TOKEN).get(METRICS).await.is(200);
    app.anonymous().get(METRICS).await.is(200);
    is_hidden(&app.anonymous().with("x-forwarded-for", "192.0.2.1")).await;
    is_hidden(&remote("")).await;
    for wrong in ["a", "a token for the scrape", "a token for the scraper2"] {
        is_hidden(&remote(wrong)).await;
        is_hidden(&app.with_token(wrong)).await;
    }
}

#[tokio::test]
async fn without_the_database_a_scrape_has_only_the_metrics_of_the_process() {
    let app = TestApp::spawn().await;
    app.anonymous().get("/health/live").await.is(200);
    app.sql("ALTER TABLE workers RENAME TO workers_away");
    let scrape = app.anonymous().get(METRICS).await.is(200).text();
    assert!(value(&scrape, "stockyard_database_up").abs() < f64::EPSILON);
    assert!(value(&scrape, "stockyard_http_requests_total{method=\"GET\",route=\"/health/live\"") > 0.0);
    assert!(value(&scrape, "stockyard_database_connections_max") > 0.0);
    assert!(!names(&scrape).contains("stockyard_workers"));
}
