//! The body of a performance is the same however it is written, and whether its points come from memory.

use crate::harness::{Answer, TestApp};
use crate::performance::thirty_days;

fn varies(answer: &Answer) -> bool {
    answer.headers.get_all("vary").iter().any(|field| field.to_str().unwrap().contains("accept-encoding"))
}

#[tokio::test]
async fn compressed_and_plain_bodies_are_the_same_also_from_memory() {
    let app = TestApp::spawn().await;
    let (mara, own) = thirty_days(&app).await;
    let plain = mara.with("accept-encoding", "identity");
    for query in ["", "?period=1W", "?period=1M&benchmark=MSFT", "?from=2026-12-20", "?from=2026-12-19"] {
        let path = format!("{own}/performance{query}");
        let bodies =
            [plain.get(&path).await, mara.get(&path).await, plain.get(&path).await, mara.get(&path).await];
        let texts = bodies.each_ref().map(|body| body.text());
        assert!(texts.iter().all(|text| *text == texts[0]), "{query}: {texts:?}");
        // The client unpacks the body and takes the header away; what is left says whether it was compressed.
        assert_eq!(bodies.each_ref().map(varies), [false, true, false, true], "{query}");
        assert_eq!(bodies[2].header("content-length"), Some(texts[0].len().to_string().as_str()), "{query}");
        let last: serde_json::Value = serde_json::from_str(&texts[3]).unwrap();
        let points = last["series"].as_array().unwrap().len();
        assert!(bodies[3].status == 200 && points > 0, "{query}");
    }
    // A price that moves changes both in the same way.
    app.prices.set("AAPL", "166.66");
    let path = format!("{own}/performance");
    let before = app.services.books().windows_from_memory();
    assert_eq!(plain.get(&path).await.text(), mara.get(&path).await.text());
    assert_eq!(app.services.books().windows_from_memory() - before, 2);
}
