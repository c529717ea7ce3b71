//! The examples of the API's description are recorded from a session that uses every operation. This test repeats the
//! session: every example matches its schema, and the server still responds in the same form.
//!
//! To record them again: `STOCKYARD_RECORD_EXAMPLES=1 cargo nextest run --workspace --test api -E 'test(examples)'`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::contract::{self, DOCUMENT};
use crate::harness::{Answer, Caller, PASSWORD, TestApp, day};
use crate::{close_outs, delistings, renames, splits};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/openapi/examples.json");

#[derive(Default)]
struct Recorder(BTreeMap<String, Value>);

impl Recorder {
    /// Sends a request that succeeds. The first request of each operation becomes its example.
    async fn send(&mut self, caller: &Caller, method: &str, path: &str, body: Option<Value>) -> Answer {
        let verb = method.parse().unwrap();
        let answer = match &body {
            Some(body) => caller.tell(verb, path, "application/json", body.to_string()).await,
            None => caller.ask(verb, path).await,
        };
        assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text());
        let response = match answer.header("content-type") {
            Some(kind) if kind.starts_with("application/json") => answer.json().0,
            Some(_) => answer.text().into(),
            None => Value::Null,
        };
        self.keep(method, path, body, response);
        answer
    }

    fn keep(&mut self, method: &str, path: &str, request: Option<Value>, response: Value) {
        let operation = contract::operation(method, path).unwrap_or_else(|| panic!("{method} {path}"));
        let id = operation["operationId"].as_str().unwrap().to_owned();
        let mut example = json!({"response": without_secret(response)});
        if let Some(request) = request {
            example["request"] = request;
        }
        self.0.entry(id).or_insert(example);
    }

    async fn get(&mut self, caller: &Caller, path: &str) -> Answer {
        self.send(caller, "GET", path, None).await
    }

    async fn post(&mut self, caller: &Caller, path: &str, body: Value) -> Answer {
        self.send(caller, "POST", path, Some(body)).await
    }

    async fn patch(&mut self, caller: &Caller, path: &str, body: Value) -> Answer {
        self.send(caller, "PATCH", path, Some(body)).await
    }

    async fn delete(&mut self, caller: &Caller, path: &str) -> Answer {
        self.send(caller, "DELETE", path, None).await
    }
}

/// Replaces the secret of a token, so that no reader tries to use it.
fn without_secret(mut response: Value) -> Value {
    if let Some(token) = response.get_mut("token") {
        *token = "sy_shown_once".into();
    }
    response
}

async fn account(recorder: &mut Recorder, app: &TestApp) {
    let credentials = json!({"username": "mara", "password": PASSWORD});
    let new = json!({
        "username": "mara", "email": "mara@example.org", "password": PASSWORD, "first_name": "Mara", "last_name": "Lindt",
    });
    recorder.post(&app.anonymous(), "/api/v1/auth/register", new).await;
    let token = json!({"name": "rebalancing", "scope": "trade", "username": "mara", "password": PASSWORD});
    recorder.post(&app.anonymous(), "/api/v1/auth/tokens", token).await;
    let browser = app.browser();
    recorder.post(&browser, "/api/v1/auth/login", credentials).await;
    recorder.get(&browser, "/api/v1/users/me").await;
    recorder.patch(&browser, "/api/v1/users/me", json!({"email": "mara.lindt@example.org"})).await;
    let tokens = recorder.get(&browser, "/api/v1/auth/tokens").await.items();
    let id = tokens[0]["id"].as_str().unwrap();
    recorder.delete(&browser, &format!("/api/v1/auth/tokens/{id}")).await;
    let password = json!({"current_password": PASSWORD, "new_password": "two fences around the yard"});
    recorder.post(&browser, "/api/v1/users/me/password", password).await;
    recorder.send(&browser, "POST", "/api/v1/auth/logout", None).await;
    app.register("leaver").await;
    let leaver = app.log_in("leaver").await;
    let sure = json!({"current_password": PASSWORD});
    recorder.send(&leaver, "DELETE", "/api/v1/users/me", Some(sure)).await;
}

async fn trading(recorder: &mut Recorder, app: &TestApp, sam: &Caller) {
    let new = json!({"name": "Growth", "description": "Large companies", "cash_balance": "10000.00"});
    let id = recorder.post(sam, "/api/v1/portfolios", new).await.json()["id"].as_i64().unwrap();
    let own = format!("/api/v1/portfolios/{id}");
    recorder.get(sam, "/api/v1/portfolios").await;
    recorder.get(sam, &own).await;
    recorder.patch(sam, &own, json!({"name": "Growth and income"})).await;
    recorder.post(sam, &format!("{own}/cash"), json!({"type": "deposit", "amount": "500.00"})).await;

    recorder.get(sam, "/api/v1/stocks?search=app&limit=5").await;
    recorder.get(sam, "/api/v1/stocks/AAPL").await;
    recorder.get(sam, "/api/v1/stocks/AAPL/quote").await;
    recorder.get(sam, "/api/v1/stocks/quotes?symbols=AAPL,NOPE").await;
    recorder.get(sam, "/api/v1/market/clock").await;
    recorder.get(sam, "/api/v1/market/calendar?from=2026-11-20&to=2026-11-21").await;

    let orders = format!("{own}/orders");
    let bracket = json!({
        "symbol": "AAPL", "side": "buy", "type": "market", "quantity": "10", "time_in_force": "gtc", "order_class": "bracket",
        "take_profit": {"limit_price": "180.00"}, "stop_loss": {"stop_price": "130.00"},
        "client_order_id": "rebalance-2026-11-20-AAPL",
    });
    recorder.post(sam, &format!("{orders}/preview"), bracket.clone()).await;
    let bought = recorder.post(sam, &orders, bracket).await.json();
    recorder.get(sam, &format!("{orders}/{}", bought["id"].as_str().unwrap())).await;
    let limit = json!({
        "symbol": "MSFT", "side": "buy", "type": "limit", "quantity": "2", "limit_price": "1.00", "time_in_force": "gtc",
    });
    let waiting = sam.place(id, limit).await;
    let address = format!("{orders}/{}", waiting["id"].as_str().unwrap());
    let replaced = recorder.patch(sam, &address, json!({"limit_price": "2.00"})).await.json();
    recorder.get(sam, &format!("{orders}?status=open&limit=2")).await;
    recorder.delete(sam, &format!("{orders}/{}", replaced["id"].as_str().unwrap())).await;
    for order in bought["legs"].as_array().unwrap() {
        sam.cancel(id, order).await;
    }

    recorder.get(sam, &format!("{own}/positions")).await;
    recorder.get(sam, &format!("{own}/positions/AAPL")).await;
    recorder.delete(sam, &format!("{own}/positions/AAPL?percentage=50")).await;
    recorder.get(sam, &format!("{own}/valuation")).await;
    recorder.get(sam, &format!("{own}/composition")).await;
    let limits = json!({"stock_percent": 10, "sector_percent": 40, "cash_percent": null});
    recorder.send(sam, "PUT", &format!("{own}/composition/limits"), Some(limits)).await;
    recorder.get(sam, "/api/v1/portfolios/overview").await;
    let record = json!({"name": "At my broker", "kind": "record"});
    let record = sam.post("/api/v1/portfolios", record).await.is(201).json()["id"].as_i64().unwrap();
    let csv = "date,action,symbol,quantity,price,fee,amount\n\
               2026-11-02,deposit,,,,,2000\n2026-11-03,buy,AAPL,10,149.50,1.00,\n";
    let file = json!({"csv": csv, "dry_run": false});
    recorder.post(sam, &format!("/api/v1/portfolios/{record}/transactions/import"), file).await;
    closing(recorder, sam).await;
    recorder.get(sam, &format!("{own}/transactions?limit=2")).await;
    recorder.get(sam, &format!("{own}/transactions.csv?type=buy")).await;
    for table in ["snapshots", "performance", "positions"] {
        recorder.get(sam, &format!("{own}/{table}.csv")).await;
    }
    stream(recorder, sam, id).await;
    watchlists(recorder, sam).await;

    app.close("AAPL", "2026-11-19", "148.00");
    app.at("2026-11-21T06:00:00Z");
    app.work().await;
    recorder.get(sam, "/api/v1/stocks/AAPL/history?range=1W").await;
    recorder.get(sam, &format!("{own}/snapshots")).await;
    recorder.get(sam, &format!("{own}/performance?period=1M")).await;
    recorder.get(sam, &format!("{own}/explanations/total_value")).await;
    let again = recorder.post(sam, &format!("{own}/reset"), json!({"cash_balance": "20000.00"})).await.json();
    recorder.delete(sam, &format!("/api/v1/portfolios/{}", again["id"])).await;
}

async fn closing(recorder: &mut Recorder, sam: &Caller) {
    let id = sam.open("10000.00").await;
    let own = format!("/api/v1/portfolios/{id}");
    sam.buy(id, "AAPL", "2").await.is(201);
    let limit = json!({
        "symbol": "MSFT", "side": "buy", "type": "limit", "quantity": "2", "limit_price": "1.00", "time_in_force": "gtc",
    });
    sam.place(id, limit).await;
    recorder.delete(sam, &format!("{own}/orders")).await;
    recorder.delete(sam, &format!("{own}/positions?cancel_orders=true")).await;
}

async fn stream(recorder: &mut Recorder, sam: &Caller, portfolio: i64) {
    let address = format!("/api/v1/stream?symbols=AAPL&portfolio={portfolio}");
    let quote = sam.listen(&address).await.next_of("quote").await;
    recorder.keep("GET", &address, None, quote.data);
}

async fn watchlists(recorder: &mut Recorder, sam: &Caller) {
    let lists = "/api/v1/watchlists";
    let id = recorder.post(sam, lists, json!({"name": "Technology"})).await.json()["id"].clone();
    let own = format!("{lists}/{id}");
    recorder.send(sam, "PUT", &format!("{own}/items/AAPL"), None).await;
    recorder.get(sam, &own).await;
    recorder.get(sam, lists).await;
    recorder.patch(sam, &own, json!({"name": "Hardware"})).await;
    recorder.delete(sam, &format!("{own}/items/AAPL")).await;
    recorder.delete(sam, &own).await;
}

async fn administration(recorder: &mut Recorder) {
    let app = TestApp::spawn_with_provider().await;
    let (sam, ada) = (app.register("sam").await, app.admin().await);
    let portfolio = sam.open("1000.00").await;
    sam.buy(portfolio, "AAPL", "2").await.is(201);
    recorder.get(&ada, "/api/v1/admin/users?limit=10").await;
    let user = format!("/api/v1/admin/users/{}", sam.id);
    recorder.get(&ada, &user).await;
    recorder.get(&ada, "/api/v1/admin/stocks?search=aapl").await;
    recorder.get(&ada, "/api/v1/admin/providers").await;
    recorder.post(&ada, "/api/v1/admin/jobs", json!({"kind": "refresh_quotes"})).await;
    recorder.get(&ada, "/api/v1/admin/jobs?limit=1").await;

    app.at("2026-11-20T22:00:00Z");
    for (date, close) in [("2026-11-18", "1480.00"), ("2026-11-19", "1500.00"), ("2026-11-20", "1510.00")] {
        app.prices.set_close("AAPL", day(date), close);
    }
    sam.get("/api/v1/stocks/AAPL/quote").await.is(200);
    recorder.get(&ada, "/api/v1/admin/prices").await;
    let confirm = json!({"symbol": "AAPL", "reason": "Checked with the exchange."});
    recorder.post(&ada, "/api/v1/admin/prices", confirm).await;
    app.at("2026-11-21T06:00:00Z");
    app.work().await;
    recorder.get(&ada, "/api/v1/admin/status").await;
    recorder.patch(&ada, &user, json!({"is_active": false})).await;
    recorder.delete(&ada, &user).await;
}

async fn corporate_actions(recorder: &mut Recorder) {
    let (app, ..) = splits::in_doubt().await;
    app.at("2026-11-23T14:50:00Z");
    app.work().await;
    let ada = app.admin().await;
    recorder.get(&ada, "/api/v1/admin/splits").await;
    let correct = json!({"symbol": "AAPL", "resolution": "correct", "ratio": "2:1", "reason": "As the company announced."});
    recorder.post(&ada, "/api/v1/admin/splits", correct).await;

    let (app, ..) = delistings::unknown_on_monday().await;
    let ada = app.admin().await;
    recorder.get(&ada, "/api/v1/admin/delistings").await;
    let confirm = json!({"symbol": "AAPL", "resolution": "confirm", "reason": "Merger closed."});
    recorder.post(&ada, "/api/v1/admin/delistings", confirm).await;

    let (_app, _, _, ada) = close_outs::delisted().await;
    let terms =
        json!({"symbol": "AAPL", "kind": "cash", "cash": "54.20", "reason": "Merger, 8-K of 23 Nov 2026"});
    recorder.post(&ada, "/api/v1/admin/close-outs/preview", terms.clone()).await;
    recorder.post(&ada, "/api/v1/admin/close-outs", terms).await;

    let app = renames::renamed().await;
    let ada = app.admin().await;
    let rename = json!({"symbol": "AAPL", "to": "APPL", "reason": "Press release."});
    recorder.post(&ada, "/api/v1/admin/renames", rename).await;
}

/// Reduces a JSON value to its names and types.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), shape(member))).collect()
        }
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Null => Value::Null,
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a developer asks for a new recording")]
async fn examples_are_recorded_from_a_session_that_uses_every_operation() {
    let mut recorder = Recorder::default();
    let app = TestApp::spawn().await;
    account(&mut recorder, &app).await;
    let sam = app.register("sam").await;
    trading(&mut recorder, &app, &sam).await;
    administration(&mut recorder).await;
    corporate_actions(&mut recorder).await;

    if std::env::var_os("STOCKYARD_RECORD_EXAMPLES").is_some() {
        let text = serde_json::to_string_pretty(&recorder.0).unwrap();
        std::fs::write(FILE, text + "\n").unwrap();
        return;
    }
    let kept: BTreeMap<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    for (id, example) in &recorder.0 {
        let kept = kept.get(id).unwrap_or_else(|| panic!("{id} has no example: record them anew"));
        assert_eq!(shape(kept), shape(example), "{id} has another form now: record the examples anew");
    }
}

#[test]
fn every_operation_has_an_example_that_fits_its_schemas() {
    let mut count = 0;
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] == "path" {
                    contract::validate(&parameter["schema"], &parameter["example"], "").unwrap();
                }
            }
            if let Some(body) = operation.pointer("/requestBody/content/application~1json") {
                let fits = contract::validate(&body["schema"], &body["example"], "");
                fits.unwrap_or_else(|error| panic!("{at}: {error}"));
            }
            let responses = operation["responses"].as_object().unwrap();
            let (_, response) = responses.iter().find(|(status, _)| status.starts_with('2')).unwrap();
            for content in response["content"].as_object().into_iter().flatten().map(|(_, content)| content) {
                let fits = contract::validate(&content["schema"], &content["example"], "");
                fits.unwrap_or_else(|error| panic!("{at}: {error}"));
                assert_ne!(content["example"], Value::Null, "{at}");
            }
            count += 1;
        }
    }
    assert!(count >= 62, "{count}");
}
