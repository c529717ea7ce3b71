//! Responses that clients may cache: unchanged ones are not sent again after `If-None-Match`.

use crate::harness::TestApp;

#[tokio::test]
async fn an_unchanged_description_is_not_sent_again() {
    let app = TestApp::spawn().await;
    let path = "/api/v1/openapi.json";
    let first = app.anonymous().get(path).await.is(200);
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.header("cache-control"), Some("public, no-cache"));
    let not_this = format!("\"other\", {tag}");
    for known in [tag.as_str(), "*", &not_this] {
        let again = app.anonymous().with("if-none-match", known).get(path).await.is(304);
        assert_eq!((again.text().as_str(), again.header("etag")), ("", Some(tag.as_str())));
        assert_eq!(again.header("cache-control"), Some("public, no-cache"));
    }
    for unknown in ["W/\"other\"", "nonsense"] {
        app.anonymous().with("if-none-match", unknown).get(path).await.is(200);
    }
}

#[tokio::test]
async fn a_history_is_sent_again_only_when_it_has_changed() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let path = "/api/v1/stocks/AAPL/history?range=1M";
    app.close("AAPL", "2026-11-18", "149.00");
    let first = mara.get(path).await.is(200);
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.header("cache-control"), Some("private, no-cache"));
    let known = mara.with("if-none-match", &tag);
    let again = known.get(path).await.is(304);
    assert_eq!((again.text().as_str(), again.header("etag")), ("", Some(tag.as_str())));
    let other = mara.get("/api/v1/stocks/AAPL/history?range=1W").await.is(200);
    let is_same = other.text() == first.text();
    assert_eq!(other.header("etag") == Some(tag.as_str()), is_same);
    // Without a login there is nothing to revalidate.
    app.anonymous().with("if-none-match", &tag).get(path).await.is_refused(401, "unauthorized");
}

/// No cache may store amounts of money.
#[tokio::test]
async fn responses_with_money_are_not_cached() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let id = mara.open("100").await;
    for part in [
        "",
        "/valuation",
        "/positions",
        "/orders",
        "/transactions",
        "/performance",
        "/snapshots",
        "/composition",
    ] {
        let answer = mara.get(&format!("/api/v1/portfolios/{id}{part}")).await.is(200);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{part}");
        assert_eq!(answer.header("etag"), None, "{part}");
    }
    let answer = mara.get("/api/v1/portfolios").await.is(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}
