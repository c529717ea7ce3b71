//! Requests that do not match the description: the error names each field and says what to send.

use serde_json::{Value, json};

use crate::harness::TestApp;

fn errors(problem: &Value) -> Vec<(String, Option<String>, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let errors = problem["errors"].as_array().unwrap().iter();
    errors
        .map(|error| {
            (text(&error["field"]).unwrap(), text(&error["pointer"]), text(&error["message"]).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn an_invalid_body_is_reported_field_by_field() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let id = mara.open("10000").await;
    let orders = format!("/api/v1/portfolios/{id}/orders");
    let cases = [
        (
            json!({"symbol": "AAPL", "type": "market", "quantity": "1"}),
            "side",
            "/side",
            "is missing: use buy or sell",
        ),
        (
            json!({"symbol": "AAPL", "side": "buy", "quantity": "1"}),
            "type",
            "/type",
            "is missing: use market, limit, stop, stop_limit or trailing_stop",
        ),
        (
            json!({"side": "buy", "type": "market", "quantity": "1"}),
            "symbol",
            "/symbol",
            "is missing: send a symbol like AAPL",
        ),
        (
            json!({"symbol": "AAPL", "side": "buy", "type": "market", "quantity": true}),
            "quantity",
            "/quantity",
            "must be a decimal in quotes, like \"12.50\"",
        ),
        (
            json!({"symbol": "AAPL", "side": 1, "type": "market", "quantity": "1"}),
            "side",
            "/side",
            "use buy or sell",
        ),
        (
            json!({"symbol": "AAPL", "side": "buy", "type": "limit", "quantity": "1", "limit_price": "1",
                "order_class": "oto", "stop_loss": {"limit_price": "1"}}),
            "stop_price",
            "/stop_loss/stop_price",
            "is missing: send a decimal like \"12.50\"",
        ),
        (
            json!({"symbol": "AAPL", "side": null, "type": "market", "quantity": "1"}),
            "side",
            "/side",
            "is missing: use buy or sell",
        ),
        (json!([]), "body", "", "must be a JSON object"),
    ];
    for (body, field, pointer, message) in cases {
        let answer = mara.post(&orders, body).await;
        let problem = answer.is_refused(422, "invalid_fields");
        assert_eq!(errors(&problem), [(field.to_owned(), Some(pointer.to_owned()), message.to_owned())]);
        assert_eq!(problem["detail"], format!("`{field}` {message}."));
    }
    let wrong = json!({"symbol": "AAPL", "sied": "buy", "type": "market"});
    let problem = mara.post(&orders, wrong).await.is_refused(422, "invalid_fields");
    let told = errors(&problem);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0].1.as_deref(), Some("/side"));
    assert_eq!(told[1].1.as_deref(), Some("/sied"));
    assert!(told[1].2.starts_with("is unknown: the fields are "), "{told:?}");
    // Null is a value only for fields that may be null.
    for (body, pointer) in [
        (json!({"name": "Growth", "surprise": null}), "/surprise"),
        (json!({"name": "Growth", "description": null}), "/description"),
        (json!({"name": null}), "/name"),
    ] {
        let problem = mara.post("/api/v1/portfolios", body).await.is_refused(422, "invalid_fields");
        let pointers: Vec<Option<String>> =
            errors(&problem).into_iter().map(|(_, pointer, _)| pointer).collect();
        assert_eq!(pointers, [Some(pointer.to_owned())]);
    }
    mara.post("/api/v1/portfolios", json!({"name": "Growth", "cash_balance": null})).await.is(201);
    let twice = r#"{"symbol": "AAPL", "symbol": "MSFT", "side": "buy", "type": "market", "quantity": "1"}"#;
    let problem = mara.post_text(&orders, twice).await.is_refused(422, "invalid_fields");
    assert_eq!(
        errors(&problem),
        [("symbol".to_owned(), Some("/symbol".to_owned()), "is given twice".to_owned())]
    );
}

#[tokio::test]
async fn fields_with_wrong_values_are_found_in_the_body_by_pointer() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let id = mara.open("10000").await;
    let wrong = json!({"symbol": "AAPL", "side": "hold", "type": "market", "quantity": "1"});
    let answer = mara.order(id, wrong).await;
    let problem = answer.is_refused(422, "invalid_fields");
    assert_eq!(errors(&problem)[0].1.as_deref(), Some("/side"));
    assert_eq!(answer.json()["request_id"].as_str(), answer.header("x-request-id"));
    let query = mara.get("/api/v1/portfolios?archived=perhaps").await.is_refused(422, "invalid_fields");
    assert_eq!(errors(&query)[0].1, None);
}

#[tokio::test]
async fn field_errors_do_not_mention_the_parser() {
    let app = TestApp::spawn().await;
    let ada = app.register_admin("ada").await;
    let id = ada.open("10000").await;
    let mut checked = 0;
    for (path, item) in crate::contract::DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation.get("requestBody").is_none() {
                continue;
            }
            let address = path.replace("{id}", &id.to_string()).replace("{order_id}", &uuid());
            for body in ["{}", "[]", "7", "\"x\"", "{\"x\": 1}", "{\"symbol\": 7}", "{\"reason\": []}"] {
                let method = method.to_uppercase().parse().unwrap();
                let answer = ada.tell(method, &address, "application/json", body.to_owned()).await;
                assert!(
                    (400..500).contains(&answer.status) || body == "{}",
                    "{path} {body}: {}",
                    answer.text()
                );
                let text = answer.text();
                for word in ["invalid type", "expected", "unknown field", "missing field", "line 1"] {
                    assert!(!text.contains(word), "{path} {body}: {text}");
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 100, "{checked}");
}

fn uuid() -> String {
    "00000000-0000-7000-8000-000000000000".to_owned()
}

#[tokio::test]
async fn unknown_addresses_below_api_are_answered_with_a_problem() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    for path in [
        "/api",
        "/api/",
        "/api/v2",
        "/api/v2/portfolios",
        "/api/v1x",
        "/api/nothing?a=1",
        "/api/.env",
        "/api/v1//x",
    ] {
        for caller in [&app.anonymous(), &*mara] {
            for method in ["GET", "POST", "DELETE", "PATCH", "PUT"] {
                let answer = caller.ask(method.parse().unwrap(), path).await;
                let (status, code) = match path.starts_with("/api/v1/") && answer.status == 401 {
                    true => (401, "unauthorized"),
                    false => (404, "not_found"),
                };
                answer.is_refused(status, code);
            }
        }
    }
}

#[tokio::test]
async fn unknown_and_repeated_parameters_are_named() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let problem = mara.get("/api/v1/stocks/quotes?symbol=A").await.is_refused(422, "invalid_fields");
    assert_eq!(
        errors(&problem),
        [
            ("symbol".to_owned(), None, "is unknown: the parameters are symbols".to_owned()),
            ("symbols".to_owned(), None, "is missing".to_owned()),
        ]
    );
    let problem = mara.get("/api/v1/stocks?serch=A").await.is_refused(422, "invalid_fields");
    let known = "search, sector, exchange, sort, direction, limit and cursor";
    assert_eq!(
        errors(&problem),
        [("serch".to_owned(), None, format!("is unknown: the parameters are {known}"))]
    );
    let problem = mara.get("/api/v1/stocks?search=A&search=B").await.is_refused(422, "invalid_fields");
    assert_eq!(errors(&problem), [("search".to_owned(), None, "is given twice".to_owned())]);
}

/// serde would read an array as the members of an object in order, but the description requires objects.
#[tokio::test]
async fn an_array_is_not_accepted_as_an_object() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let ada = app.admin().await;
    let id = mara.open("10000").await;
    let own = format!("/api/v1/portfolios/{id}");
    let user = format!("/api/v1/admin/users/{}", mara.id);
    for (caller, method, path, body) in [
        (&*mara, "PATCH", own.clone(), json!([null, null])),
        (&*mara, "PATCH", own.clone(), json!([])),
        (&*mara, "POST", format!("{own}/cash"), json!(["deposit", "5"])),
        (&*mara, "POST", format!("{own}/reset"), json!(["5"])),
        (&*mara, "POST", "/api/v1/portfolios".to_owned(), json!(["Growth", "", null])),
        (&*mara, "POST", "/api/v1/watchlists".to_owned(), json!(["Technology"])),
        (&ada, "PATCH", user, json!([null, null])),
        (&ada, "POST", "/api/v1/admin/jobs".to_owned(), json!(["prune"])),
    ] {
        let answer = caller.tell(method.parse().unwrap(), &path, "application/json", body.to_string()).await;
        let problem = answer.is_refused(422, "invalid_fields");
        assert!(answer.text().contains("must be a JSON object"), "{method} {path}: {}", *problem);
    }
    // The same within an object.
    let order = json!({"symbol": "AAPL", "side": "buy", "type": "limit", "quantity": "1", "limit_price": "1",
        "order_class": "oto", "stop_loss": ["0.5", null]});
    let refused = mara.post(&format!("{own}/orders"), order).await;
    assert_eq!(errors(&refused.is_refused(422, "invalid_fields"))[0].1.as_deref(), Some("/stop_loss"));
    // A bracket within a string is not an array.
    mara.post("/api/v1/portfolios", json!({"name": "[Growth]"})).await.is(201);
}

/// An empty parameter is an error, and not the same as a missing one.
#[tokio::test]
async fn an_empty_parameter_is_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let id = mara.open("10000").await;
    for list in ["transactions", "transactions.csv"] {
        for parameter in ["symbol", "type", "from", "to", "cursor", "limit"] {
            let answer = mara.get(&format!("/api/v1/portfolios/{id}/{list}?{parameter}=")).await;
            answer.is_about(parameter);
        }
        let answer = mara.get(&format!("/api/v1/portfolios/{id}/{list}?limit=-3364447331")).await;
        answer.is_about("limit");
    }
}
