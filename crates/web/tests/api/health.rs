//! The addresses for load balancers.

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

#[tokio::test]
async fn an_unknown_health_address_is_a_problem_document() {
    let app = TestApp::spawn().await;
    app.anonymous().get("/health/nothing").await.is_refused(404, "not_found");
}
