//! Sends unexpected values to every address, parameter, field and form: the response has the right form and is never an
//! internal error.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Caller, Json, PASSWORD, TestApp};
use crate::pages::walk;

/// Encoded as in an address.
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

/// Encoded as JSON.
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
/// If the response is an internal error, or an error in a format that does not belong to the address.
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

/// The path with the value in each of its variable segments in turn, and with existing values in the others.
fn with_odd_segments(path: &str, portfolio: i64, value: Option<&str>) -> Vec<String> {
    let known = |name: &str| match name {
        "{symbol}" => "AAPL".to_owned(),
        "{figure}" => "total_value".to_owned(),
        "{table}.csv" => "positions.csv".to_owned(),
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

/// The names of a schema's properties, at any depth.
fn properties(document: &Value, schema: &Value) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return properties(document, document.pointer(reference.trim_start_matches('#')).unwrap());
    }
    let own = schema["properties"].as_object().into_iter().flat_map(|members| members.keys().cloned());
    let parts =
        ["allOf", "oneOf", "anyOf"].iter().flat_map(|kind| schema[*kind].as_array().into_iter().flatten());
    own.chain(parts.flat_map(|part| properties(document, part))).collect()
}

/// An administrator, who may call every address.
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
        // A stream never ends, but the response to HEAD does.
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
        // Larger than the bodies that the operation reads; a file to import may be longer than others.
        let too_large = if path.ends_with("/import") { 600_000 } else { 20_000 };
        for content_type in ["application/json", "text/plain", "application/json; charset=utf-16", "x"] {
            let answer = ada.tell(method.clone(), &path, content_type, "\u{1f4a9}".repeat(too_large)).await;
            is_orderly(&answer, &path);
            assert!(matches!(answer.status, 401 | 404 | 413 | 415), "{path}: {}", answer.text());
        }
    }
}

async fn with_a_watchlist(ada: &Caller) {
    let list = ada.post("/api/v1/watchlists", json!({"name": "Odd"})).await.is(201).json();
    ada.put(&format!("/api/v1/watchlists/{}/items/AAPL", list["id"])).await.is(204);
}

/// The address with its ids and symbols replaced, to recognize addresses of the same kind.
fn shape(address: &str) -> String {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let is_variable =
        |segment: &str| segment.bytes().any(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let path: Vec<&str> =
        path.split('/').map(|segment| if is_variable(segment) { "{}" } else { segment }).collect();
    let mut names: Vec<&str> = query.split('&').map(|pair| pair.split('=').next().unwrap()).collect();
    names.sort_unstable();
    format!("{}?{}", path.join("/"), names.join("&"))
}

/// The addresses that pages link to, one of each kind.
async fn page_addresses(browser: &Caller) -> Vec<String> {
    let addresses =
        walk(browser, &["/", "/portfolios", "/stocks", "/watchlist", "/settings", "/admin"]).await;
    let of_pages = addresses.into_iter().filter(|address| {
        !["/static/", "/docs", "/api/", "/health", "/metrics"].iter().any(|start| address.starts_with(start))
    });
    let by_shape: BTreeMap<String, String> = of_pages.map(|address| (shape(&address), address)).collect();
    assert!(by_shape.len() > 30, "{by_shape:#?}");
    by_shape.into_values().collect()
}

#[tokio::test]
async fn odd_addresses_and_parameters_of_pages_are_answered() {
    let app = TestApp::spawn().await;
    let (ada, _) = ada(&app).await;
    with_a_watchlist(&ada).await;
    for (number, address) in page_addresses(&ada).await.into_iter().enumerate() {
        let (path, query) = address.split_once('?').unwrap_or((&address, ""));
        let segments: Vec<&str> = path.split('/').collect();
        let pairs: Vec<(&str, &str)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .filter_map(|pair| pair.split_once('='))
            .collect();
        // Only half of the values per page, to save time.
        for value in odd_parameters().into_iter().skip(number % 2).step_by(2) {
            for place in 1..segments.len() {
                let mut odd = segments.clone();
                odd[place] = &value;
                is_orderly(&ada.get(&odd.join("/")).await, &address);
            }
            for (name, _) in &pairs {
                let others = pairs.iter().filter(|(other, _)| other != name);
                let others: String = others.map(|(name, value)| format!("&{name}={value}")).collect();
                is_orderly(&ada.get(&format!("{path}?{name}={value}{others}")).await, &address);
            }
        }
        // Parameters that a page may accept although no link has them.
        for query in ["cursor=%00", "range=%00", "from=0000-00-00", "symbol=%00", "search=%00&search=%00"] {
            is_orderly(&ada.get(&format!("{path}?{query}")).await, &address);
        }
        for query in ["%", "&&&==&", "%00=%00", "%FF=1", "=", "?", &"a=b&".repeat(1_500)] {
            is_orderly(&ada.get(&format!("{path}?{query}")).await, &address);
        }
    }
}

struct PageForm {
    page: String,
    target: String,
    is_get: bool,
    fields: Vec<(String, String)>,
}

impl PageForm {
    async fn send(&self, browser: &Caller, fields: &[(String, String)]) -> Answer {
        if self.is_get {
            let mut address = url::form_urlencoded::Serializer::new(format!("{}?", self.target));
            browser.get(&address.extend_pairs(fields).finish()).await
        } else {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            browser.post_form(&self.target, &fields).await
        }
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let text = rest.split('"').next()?;
    Some(
        text.replace("&#x2F;", "/")
            .replace("&#x27;", "'")
            .replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    )
}

fn forms(page: &str, html: &str) -> Vec<PageForm> {
    html.split("<form")
        .skip(1)
        .map(|rest| {
            let form = rest.split("</form>").next().unwrap();
            let head = form.split('>').next().unwrap();
            let named = form.split('<').skip(1).filter_map(|tag| {
                let tag = tag.split('>').next().unwrap();
                Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
            });
            // One of several buttons or options with the same name.
            let fields: BTreeMap<String, String> = named.collect();
            PageForm {
                page: page.to_owned(),
                target: attribute(head, "action")
                    .map_or(page.to_owned(), |action| action.split('#').next().unwrap().to_owned()),
                is_get: !head.contains("method=\"post\""),
                fields: fields.into_iter().collect(),
            }
        })
        .collect()
}

/// The forms of all pages, one of each kind.
async fn page_forms(browser: &Caller) -> Vec<PageForm> {
    let mut kinds = BTreeSet::new();
    let mut found = Vec::new();
    for address in page_addresses(browser).await {
        let answer = browser.get(&address).await.is(200);
        if !answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            continue;
        }
        for form in forms(&address, &answer.text()) {
            let names: Vec<String> = form.fields.iter().map(|(name, _)| name.clone()).collect();
            if kinds.insert((shape(&form.target), names)) {
                found.push(form);
            }
        }
    }
    assert!(found.len() > 20, "{kinds:#?}");
    found
}

#[tokio::test]
async fn odd_forms_are_answered() {
    let app = TestApp::spawn().await;
    let (ada, _) = ada(&app).await;
    with_a_watchlist(&ada).await;
    let long = "a".repeat(9_000);
    let odd = [
        "",
        " ",
        "\0",
        "a\0b",
        "-1",
        "0",
        "9223372036854775808",
        "1e400",
        "1e-400",
        "NaN",
        "\u{1f4a9}",
        "\u{202e}\r\n",
        "<script>",
        "../../etc/passwd",
        "0000-00-00",
        "+262142-12-31",
        "\u{fffd}",
        &long,
    ];
    for (number, form) in page_forms(&ada).await.into_iter().enumerate() {
        let PageForm { page, target, is_get, fields } = &form;
        for (field, _) in fields {
            let others = fields.iter().filter(|(name, _)| name != field);
            let others: Vec<(String, String)> = others.cloned().collect();
            // In a form with a token and one other field only the token gets odd values: with the right token the form
            // would be accepted, and log her out, for example.
            let is_harmless = field == "csrf" || fields.len() > 2;
            if !is_harmless {
                continue;
            }
            let with = |values: &[&str]| {
                let mut sent = others.clone();
                sent.extend(values.iter().map(|value| (field.clone(), (*value).to_owned())));
                sent
            };
            let values = odd.iter().skip(number % 2).step_by(2);
            for sent in values.map(|value| with(&[value])).chain([with(&[]), with(&["1", "2"])]) {
                let answer = form.send(&ada, &sent).await;
                is_orderly(&answer, &format!("{page}: {target}"));
            }
        }
        if !is_get {
            for body in ["csrf=%FF%FE", "%", "&&&==&", "csrf", &"a=b&".repeat(20_000), "{\"csrf\": 1}"] {
                for kind in
                    ["application/x-www-form-urlencoded", "application/json", "multipart/form-data", "x"]
                {
                    let answer = ada.tell(Method::POST, target, kind, body.to_owned()).await;
                    is_orderly(&answer, &format!("{page}: {target}"));
                    assert!(answer.status >= 400, "{page}: {target}: {}", answer.status);
                }
            }
        }
    }
    // None of these forms has logged her out or changed her password.
    ada.get("/api/v1/users/me").await.is(200);
}
