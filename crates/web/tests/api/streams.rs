//! Events over HTTP: their content, who receives them, and when a stream is refused or ends.

use serde_json::json;
use services::accounts::tokens::Scope;
use services::live::StreamLimits;

use crate::harness::{PASSWORD, TestApp, with};

const APPLE: &str = "/api/v1/stream?symbols=AAPL";

fn limit_order(symbol: &str) -> serde_json::Value {
    json!({"symbol": symbol, "side": "buy", "type": "limit", "quantity": "1", "limit_price": "1.00"})
}

#[tokio::test]
async fn stream_events_match_api_responses() {
    let app = TestApp::spawn().await;
    let sam = app.register("sam").await;
    let id = sam.open("10000.00").await;
    sam.buy(id, "AAPL", "2").await.is(201);
    let reader = app.with_token(&app.token(sam.id, Scope::Read).await).with("accept-encoding", "gzip, br");
    let mut stream = reader.listen(&format!("/api/v1/stream?symbols=msft,AAPL&portfolio={id}")).await;
    let header = |name: &str| stream.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("content-type").as_deref(), Some("text/event-stream"));
    assert_eq!(header("cache-control").as_deref(), Some("no-store"));
    assert_eq!(header("x-accel-buffering").as_deref(), Some("no"));
    assert_eq!(header("content-encoding"), None);

    let valued = stream.next_of("valuation").await;
    let expected = sam.get(&format!("/api/v1/portfolios/{id}/valuation")).await.json().0;
    assert_eq!(valued.data, with(json!({"portfolio_id": id}), expected));
    for symbol in ["AAPL", "MSFT"] {
        let quote = stream.next_of("quote").await;
        assert_eq!(quote.data, sam.get(&format!("/api/v1/stocks/{symbol}/quote")).await.json().0);
        assert_eq!(quote.id, None);
    }
    let alive = stream.next().await.unwrap();
    assert_eq!((alive.kind.as_str(), &alive.data["at"]), ("heartbeat", &json!(app.now())));
    assert!(alive.id.is_some());

    app.prices.set("AAPL", "151.00");
    assert_eq!(stream.next_of("valuation").await.data["total_value"], "10002.00");
    assert_eq!(stream.next_of("quote").await.data["price"], "151.00");
}

#[tokio::test]
async fn order_events_match_the_api_and_reach_only_the_owner() {
    let app = TestApp::spawn().await;
    let (sam, eve) = (app.register("sam").await, app.register("eve").await);
    let id = sam.open("10000.00").await;
    let mut stream = sam.listen("/api/v1/stream").await;
    let mut strange = eve.listen("/api/v1/stream").await;
    let placed = sam.buy(id, "AAPL", "2").await.is(201).json().0;
    let told = stream.next_of("order").await;
    assert_eq!(told.data, with(json!({"portfolio_id": id}), placed));
    assert!(told.id.is_some());

    let working = sam.place(id, limit_order("AAPL")).await;
    assert_eq!(stream.next_of("order").await.data["status"], "accepted");
    app.trades_at("AAPL", "0.90").await;
    let filled = stream.next_of("order").await.data;
    assert_eq!((&filled["id"], &filled["status"]), (&working["id"], &json!("filled")));

    let own = eve.open("1.00").await;
    eve.place(own, limit_order("JPM")).await;
    assert_eq!(strange.next_of("order").await.data["symbol"], "JPM", "the first that she hears of");
}

#[tokio::test]
async fn a_reconnecting_client_receives_missed_orders() {
    let app = TestApp::spawn().await;
    let sam = app.register("sam").await;
    let id = sam.open("10000.00").await;
    let mut stream = sam.listen("/api/v1/stream").await;
    let last = stream.next_of("heartbeat").await.id.unwrap();
    drop(stream);
    let placed = sam.place(id, limit_order("AAPL")).await;
    sam.cancel(id, &placed).await.is(200);
    let again = sam.with("last-event-id", &last);
    let mut stream = again.listen("/api/v1/stream").await;
    let mut told = stream.next().await.unwrap();
    if told.data["status"] == "accepted" {
        // The event of the placed order was still on its way.
        told = stream.next().await.unwrap();
    }
    assert_eq!((told.kind.as_str(), &told.data["status"]), ("order", &json!("canceled")));
}

#[tokio::test]
async fn a_reconnecting_client_with_an_unknown_event_id_receives_one_reset() {
    let app = TestApp::spawn().await;
    let sam = app.register("sam").await;
    let future = i64::MAX.to_string();
    for id in ["a week ago", "0", "-1", "7", "1e9", future.as_str(), "99999999999999999999"] {
        let mut stream = sam.with("last-event-id", id).listen("/api/v1/stream").await;
        let kinds = [stream.next().await.unwrap().kind, stream.next().await.unwrap().kind];
        assert_eq!(kinds, ["reset", "heartbeat"], "{id}");
    }
}

#[tokio::test]
async fn invalid_stream_requests_are_refused() {
    let app = TestApp::spawn().await;
    let (sam, eve) = (app.register("sam").await, app.register("eve").await);
    let id = sam.open("10000.00").await;
    app.anonymous().get(APPLE).await.is_refused(401, "unauthorized");
    app.with_token("sy_made_up").get(APPLE).await.is_refused(401, "unauthorized");
    let unknown = sam.get("/api/v1/stream?symbols=AAPL,NOPE").await.is_refused(404, "unknown_symbol");
    assert_eq!(unknown["symbol"], "NOPE");
    eve.get(&format!("/api/v1/stream?portfolio={id}")).await.is_refused(404, "not_found");
    sam.get("/api/v1/stream?symbols=A!,AAPL").await.is_about("symbols");
    let wrong = sam.get("/api/v1/stream?portfolio=mine").await.fields();
    assert_eq!(wrong, ["portfolio: mine: not the id of a portfolio"]);
    sam.get("/api/v1/stream?symbol=AAPL").await.is_about("symbol");
    let many: Vec<String> = (0..201).map(|number| format!("S{number}")).collect();
    sam.get(&format!("/api/v1/stream?symbols={}", many.join(","))).await.is_about("symbols");
    assert_eq!(app.services.live().open_streams(), 0);
}

#[tokio::test]
async fn streams_per_user_are_limited() {
    let app = TestApp::spawn_streaming(StreamLimits { per_user: 2, in_all: 3 }).await;
    let (sam, eve) = (app.register("sam").await, app.register("eve").await);
    let mut first = sam.listen(APPLE).await;
    let _second = sam.listen(APPLE).await;
    let refused = sam.get(APPLE).await;
    let problem = refused.is_refused(429, "too_many_streams");
    assert_eq!(problem["detail"], "You have 2 open streams, which is the limit: close one first.");
    assert_eq!(refused.header("retry-after"), Some("30"));
    let _hers = eve.listen(APPLE).await;
    eve.get(APPLE).await.is_refused(503, "streams_full");

    // A closed stream makes room at once.
    first.next().await.unwrap();
    drop(first);
    let _third = sam.listen(APPLE).await;
}

#[tokio::test]
async fn a_stream_ends_with_the_session() {
    let app = TestApp::spawn().await;
    app.register("sam").await;
    let browser = app.log_in("sam").await;
    let other = app.log_in("sam").await;
    let stream = browser.listen(APPLE).await;
    let mut kept = other.listen(APPLE).await;
    browser.post("/api/v1/auth/logout", json!({})).await.is(204);
    stream.ended().await;
    browser.get(APPLE).await.is_refused(401, "unauthorized");
    app.prices.set("AAPL", "151.00");
    while kept.next_of("quote").await.data["price"] != "151.00" {}

    let third = app.log_in("sam").await;
    let change = json!({"current_password": PASSWORD, "new_password": "quite another fence"});
    third.post("/api/v1/users/me/password", change).await.is(204);
    kept.ended().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_token_and_with_the_account() {
    let app = TestApp::spawn().await;
    let sam = app.register("sam").await;
    let browser = app.log_in("sam").await;
    let made = browser.post("/api/v1/auth/tokens", json!({"name": "phone"})).await.is(201).json();
    let phone = app.with_token(made["token"].as_str().unwrap()).listen(APPLE).await;
    let mut kept = sam.listen(APPLE).await;
    browser.delete(&format!("/api/v1/auth/tokens/{}", made["id"].as_str().unwrap())).await.is(204);
    phone.ended().await;
    kept.next_of("quote").await;
    let admin = app.admin().await;
    admin.patch(&format!("/api/v1/admin/users/{}", sam.id), json!({"is_active": false})).await.is(200);
    kept.ended().await;
}

#[tokio::test]
async fn head_answers_without_opening_a_stream() {
    let app = TestApp::spawn().await;
    let sam = app.register("sam").await;
    let answer = sam.head(APPLE).await.is(200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(app.services.live().open_streams(), 0);
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let app = TestApp::spawn().await;
    let sam = app.register("sam").await;
    let stream = sam.listen(APPLE).await;
    drop(app);
    stream.ended().await;
}
