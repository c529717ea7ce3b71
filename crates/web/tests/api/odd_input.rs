//! Every address, parameter, field and form with values that nobody expects: an answer in the right form, and never a
//! fault of the server.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Caller, Json, PASSWORD, TestApp};

/// As they stand in an address.
fn odd_parameters() -> Vec<String> {
    let mut values: Vec<String> = [
        "",
        "%00",
        "a%00b",
        "%FF%FE",
        "%C3%28",
        // A lone surrogate, in UTF-8 and escaped.
        "%ED%A0%80",
        "%5Cud800",
        "-1",
        "0",
        "9223372036854775807",
        "-9223372036854775808",
        "99999999999999999999999999999999999999999",
        "1e400",
        "NaN",
        "%F0%9F%92%A9",
        "%25%5F%5C%27%22%3C%3E",
        "%E2%80%AE%CC%81",
        "%0D%0Aa:%20b",
        "..%2F..%2Fetc%2Fpasswd",
        "0000-00-00",
        "+262142-12-31",
        "2026-11-20T19:12:00.999999999999Z",
        ",,,,",
    ]
    .map(str::to_owned)
    .into();
    values.push("a".repeat(10_000));
    values.push("a".repeat(7_000));
    values.push("%F0%9F%92%A9".repeat(600));
    values.push("9".repeat(3_000));
    values.push("A,".repeat(3_000));
    values
}

/// As JSON.
fn odd_values() -> Vec<String> {
    let mut values: Vec<String> = [
        "null",
        "true",
        "\"\"",
        "\"\\u0000\"",
        "\"a\\u0000b\"",
        "\"\\ud800\"",
        "\"\u{1f4a9}\"",
        "\"\u{202e}\\r\\n\"",
        "-1",
        "0",
        "1e400",
        "-1e-400",
        "\"1e999999999\"",
        "9223372036854775808",
        "\"NaN\"",
        "[]",
        "{}",
        "{\"a\": 1, \"a\": 2}",
        "\"2026-13-45\"",
        "\"+262142-12-31\"",
    ]
    .map(str::to_owned)
    .into();
    values.push(format!("\"{}\"", "a".repeat(10_000)));
    values.push(format!("\"{}\"", "9".repeat(10_000)));
    values.push("9".repeat(10_000));
    values.push("[".repeat(10_000));
    values.push(format!("{}{}", "[".repeat(100), "]".repeat(100)));
    values.push(format!("[{}1]", "1,".repeat(20_000)));
    values.push(format!("{{{}\"z\":1}}", "\"a\":{".repeat(200)));
    values
}

/// # Panics
/// When it is a fault of the server, or a refusal in another form than that of its address.
#[track_caller]
fn is_orderly(answer: &Answer, path: &str) {
    let start: String = path.chars().take(200).collect();
    let text: String = answer.text().chars().take(300).collect();
    assert!(answer.status < 500, "{start}: {} {text}", answer.status);
    if answer.status >= 400 {
        let content_type = answer.header("content-type").unwrap_or_default();
        let expected = if path.starts_with("/api") { "application/problem+json" } else { "text/html" };
        assert!(content_type.starts_with(expected), "{start}: {} {content_type} {text}", answer.status);
    }
}

/// The path with that value in one of its places, and with values that exist in the others.
fn with_odd_segments(path: &str, portfolio: i64, value: Option<&str>) -> Vec<String> {
    let known = |name: &str| match name {
        "{symbol}" => "AAPL".to_owned(),
        "{order_id}" => "00000000-0000-0000-0000-000000000000".to_owned(),
        _ => portfolio.to_string(),
    };
    let segments: Vec<&str> = path.split('/').collect();
    let is_variable = |segment: &&str| segment.starts_with('{');
    let count = segments.iter().filter(|segment| is_variable(segment)).count();
    (0..value.map_or(1, |_| count))
        .map(|odd| {
            let mut variable = 0;
            let filled = segments.iter().map(|segment| {
                if !is_variable(segment) {
                    return (*segment).to_owned();
                }
                variable += 1;
                match value {
                    Some(value) if variable == odd + 1 => value.to_owned(),
                    _ => known(segment),
                }
            });
            filled.collect::<Vec<_>>().join("/")
        })
        .collect()
}

struct Operation {
    method: Method,
    path: String,
    parameters: Vec<String>,
    fields: Vec<String>,
}

async fn operations(app: &TestApp) -> Vec<Operation> {
    let Json(document) = app.anonymous().get("/api/v1/openapi.json").await.is(200).json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let in_query = parameters.filter(|parameter| parameter["in"] == "query");
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                parameters: in_query
                    .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                    .collect(),
                fields: properties(&document, body),
            });
        }
    }
    assert!(operations.len() > 40);
    assert!(operations.iter().flat_map(|operation| &operation.fields).count() > 40);
    operations
}

/// The names of a schema's properties, wherever they stand.
fn properties(document: &Value, schema: &Value) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return properties(document, document.pointer(reference.trim_start_matches('#')).unwrap());
    }
    let own = schema["properties"].as_object().into_iter().flat_map(|members| members.keys().cloned());
    let parts =
        ["allOf", "oneOf", "anyOf"].iter().flat_map(|kind| schema[*kind].as_array().into_iter().flatten());
    own.chain(parts.flat_map(|part| properties(document, part))).collect()
}

/// An administrator may call every address.
async fn ada(app: &TestApp) -> (Caller, i64) {
    let ada = app.register_admin("ada").await;
    let portfolio = ada.open("100000").await;
    ada.buy(portfolio, "AAPL", "1").await.is(201);
    (app.log_in("ada").await, portfolio)
}

#[tokio::test]
async fn odd_addresses_and_parameters_of_the_api_are_answered() {
    let app = TestApp::spawn().await;
    let (ada, portfolio) = ada(&app).await;
    for Operation { method, path, parameters, .. } in operations(&app).await {
        // A stream has no end, but its HEAD does.
        let asked = if path == "/api/v1/stream" { Method::HEAD } else { method.clone() };
        for value in odd_parameters() {
            for path in with_odd_segments(&path, portfolio, Some(&value)) {
                is_orderly(&ada.ask(asked.clone(), &path).await, &path);
            }
            for name in parameters.iter().filter(|_| method == Method::GET) {
                let path = with_odd_segments(&path, portfolio, None).remove(0);
                for query in [
                    format!("{name}={value}"),
                    format!("{name}[]={value}"),
                    format!("{name}={value}&{name}={value}"),
                ] {
                    let path = format!("{path}?{query}");
                    is_orderly(&ada.ask(asked.clone(), &path).await, &path);
                }
            }
        }
        if method == Method::GET {
            for query in ["%", "&&&==&", "%00=%00", "%FF=1", "=", "?", &"a=b&".repeat(2_000)] {
                let path = format!("{}?{query}", with_odd_segments(&path, portfolio, None)[0]);
                is_orderly(&ada.ask(asked.clone(), &path).await, &path);
            }
        }
    }
}

#[tokio::test]
async fn odd_bodies_of_the_api_are_answered() {
    let app = TestApp::spawn().await;
    let (ada, portfolio) = ada(&app).await;
    let usual = [
        ("symbol", json!("AAPL")),
        ("side", json!("buy")),
        ("type", json!("limit")),
        ("quantity", json!("1")),
        ("limit_price", json!("1.00")),
        ("name", json!("odd")),
        ("amount", json!("1")),
        ("username", json!("ada")),
        ("password", json!(PASSWORD)),
        ("email", json!("ada@example.org")),
    ];
    for Operation { method, path, fields, .. } in operations(&app).await {
        if fields.is_empty() {
            continue;
        }
        let path = with_odd_segments(&path, portfolio, None).remove(0);
        for value in odd_values() {
            let mut bodies = vec![value.clone()];
            for field in &fields {
                let others =
                    usual.iter().filter(|(name, _)| *name != field && fields.contains(&(*name).to_owned()));
                let others: String = others.map(|(name, value)| format!("\"{name}\": {value}, ")).collect();
                bodies.push(format!("{{{others}\"{field}\": {value}}}"));
            }
            for body in bodies {
                let answer = ada.tell(method.clone(), &path, "application/json", body.clone()).await;
                is_orderly(&answer, &path);
            }
        }
        for content_type in ["application/json", "text/plain", "application/json; charset=utf-16", "x"] {
            let answer = ada.tell(method.clone(), &path, content_type, "\u{1f4a9}".repeat(20_000)).await;
            is_orderly(&answer, &path);
            assert!(matches!(answer.status, 401 | 404 | 413 | 415), "{path}: {}", answer.text());
        }
    }
}
