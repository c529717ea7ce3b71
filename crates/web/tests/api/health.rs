//! Health checks for load balancers.

use crate::harness::TestApp;

#[tokio::test]
async fn health_needs_no_login() {
    let app = TestApp::spawn().await;
    for path in ["/health/live", "/health/ready"] {
        let answer = app.anonymous().get(path).await.is(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.text(), r#"{"status":"ok"}"#);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

/// The database answers, but its tables are missing.
#[tokio::test]
async fn a_process_without_its_tables_is_alive_and_not_ready() {
    let app = TestApp::spawn().await;
    app.sql("ALTER TABLE installation RENAME TO lost");
    let refused = app.anonymous().get("/health/ready").await;
    let problem = refused.is_refused(503, "not_ready");
    assert_eq!(problem["detail"], "The database does not answer.");
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    app.anonymous().get("/health/live").await.is(200);
    app.sql("ALTER TABLE lost RENAME TO installation");
    app.anonymous().get("/health/ready").await.is(200);
}

#[tokio::test]
async fn an_unknown_health_address_is_a_problem_document() {
    let app = TestApp::spawn().await;
    app.anonymous().get("/health/nothing").await.is_refused(404, "not_found");
}
