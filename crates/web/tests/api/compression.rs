//! Large bodies are compressed, small ones and events are not.

use crate::harness::{Answer, TestApp};

#[tokio::test]
async fn large_bodies_are_compressed_and_small_ones_and_events_are_not() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let id = mara.open("100").await;
    let browser = app.log_in("mara").await;
    let portfolio = format!("/api/v1/portfolios/{id}");
    for (caller, path, is_compressed) in [
        (&*mara, "/api/v1/openapi.json", true),
        (&browser, "/settings", true),
        (&browser, "/static/style.css", true),
        (&browser, "/static/app.js", true),
        (&browser, "/docs/orders", true),
        (&*mara, &portfolio, false),
        (&*mara, "/api/v1/portfolios/999", false),
        (&browser, "/health/live", false),
    ] {
        // The client decompresses the body and removes its header, so the test looks at `Vary`.
        let varies = |answer: &Answer| {
            let mut fields = answer.headers.get_all("vary").iter().map(|field| field.to_str().unwrap());
            fields.any(|field| field.to_lowercase().contains("accept-encoding"))
        };
        let answer = caller.get(path).await;
        assert_eq!(varies(&answer), is_compressed, "{path}");
        assert_eq!(answer.header("content-length").is_none(), is_compressed, "{path}");
        let plain = caller.with("accept-encoding", "identity").get(path).await;
        assert!(!varies(&plain), "{path}");
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        assert_eq!(plain.header("content-length"), Some(plain.text().len().to_string().as_str()), "{path}");
    }
    let events = mara.with("accept-encoding", "gzip").listen("/api/v1/stream?symbols=AAPL").await;
    assert_eq!(events.headers.get("content-encoding"), None);
}
