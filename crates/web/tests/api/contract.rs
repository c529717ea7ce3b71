//! Compares every response that a test receives with the API's description.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use chrono::{DateTime, NaiveDate};
use regex::Regex;
use reqwest::header::HeaderMap;
use serde_json::Value;

pub static DOCUMENT: LazyLock<Value> = LazyLock::new(web::openapi_document);
static PATTERNS: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Default::default);

/// The operation of a request in the description, if there is one.
pub fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |template: &str| {
        let (mut asked, mut described) = (path.split('/'), template.split('/'));
        loop {
            match (asked.next(), described.next()) {
                (None, None) => return true,
                (Some(asked), Some(part))
                    if part == asked || (part.starts_with('{') && !asked.is_empty()) => {}
                _ => return false,
            }
        }
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let mut fitting: Vec<(&String, &Value)> = paths.iter().filter(|(template, _)| fits(template)).collect();
    // A literal path comes first: `/orders/preview` also matches `/orders/{order_id}`.
    fitting.sort_by_key(|(template, _)| template.matches('{').count());
    fitting.first()?.1.get(method.to_lowercase())
}

/// # Panics
/// If the description lacks something in the response (the status, the code, a member of the body) or the response
/// lacks a required header or member.
#[track_caller]
pub fn check(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) {
    let Some(operation) = operation(method, path) else { return };
    let at = format!("{method} {path}: {status} {}", String::from_utf8_lossy(body));
    let response = &operation["responses"][status.to_string()];
    assert!(response.is_object(), "the status is not described: {at}");
    assert!(headers.contains_key("x-request-id"), "{at}");
    for name in [
        "location",
        "retry-after",
        "idempotent-replayed",
        "www-authenticate",
        "etag",
        "ratelimit",
        "ratelimit-policy",
    ] {
        let described = response["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .any(|(known, _)| known.eq_ignore_ascii_case(name));
        assert!(described || !headers.contains_key(name), "{name} is not described: {at}");
    }
    let Some((kind, content)) = response["content"].as_object().and_then(|kinds| kinds.iter().next()) else {
        assert!(body.is_empty(), "{at}");
        return;
    };
    let sent = headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
    assert_eq!(sent.split(';').next(), Some(kind.as_str()), "{at}");
    if !kind.ends_with("json") {
        return;
    }
    let body: Value = serde_json::from_slice(body).unwrap();
    validate(&content["schema"], &body, "").unwrap_or_else(|error| panic!("{error} in {at}"));
    if status >= 400 {
        let codes = response["x-problem-codes"].as_array().unwrap();
        assert!(codes.contains(&body["code"]), "the code is not described: {at}");
    }
}

fn resolve(mut schema: &Value) -> &Value {
    while let Some(reference) = schema["$ref"].as_str() {
        schema = DOCUMENT.pointer(&reference[1..]).unwrap();
    }
    schema
}

/// The object schemas that a schema consists of: itself, and the parts of its `allOf`.
fn parts<'a>(schema: &'a Value, found: &mut Vec<&'a Value>) {
    let schema = resolve(schema);
    found.push(schema);
    schema["allOf"].as_array().into_iter().flatten().for_each(|part| parts(part, found));
}

/// Compares a value with a schema. Members that the schema does not name are errors too.
pub fn validate(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = resolve(schema);
    for union in ["oneOf", "anyOf"] {
        if let Some(options) = schema[union].as_array() {
            let errors: Vec<String> =
                options.iter().filter_map(|option| validate(option, value, at).err()).collect();
            return if errors.len() < options.len() { Ok(()) } else { Err(errors.join("; ")) };
        }
    }
    let wrong = |why: String| Err(format!("{at}: {value} {why}"));
    if schema.get("const").is_some_and(|only| only != value) {
        return wrong(format!("is not {}", schema["const"]));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return wrong(format!("is not one of {}", schema["enum"]));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ if schema.get("allOf").is_some() => vec!["object"],
        _ => return Ok(()),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if kinds.contains(&"integer") && (number.is_i64() || number.is_u64()) => {
            "integer"
        }
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        return wrong(format!("is not of type {}", kinds.join(" or ")));
    }
    match value {
        Value::String(text) => {
            if let Some(pattern) = schema["pattern"].as_str() {
                let mut patterns = PATTERNS.lock().unwrap();
                let pattern =
                    patterns.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).unwrap());
                if !pattern.is_match(text) {
                    return wrong(format!("does not match {pattern}"));
                }
            }
            let is_well_formed = match schema["format"].as_str() {
                Some("date") => text.parse::<NaiveDate>().is_ok(),
                Some("date-time") => DateTime::parse_from_rfc3339(text).is_ok(),
                Some("uuid") => text.len() == 36,
                _ => true,
            };
            if is_well_formed { Ok(()) } else { wrong(format!("is not a {}", schema["format"])) }
        }
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(index, item)| validate(&schema["items"], item, &format!("{at}/{index}")))
        }
        Value::Object(object) => {
            let mut all = Vec::new();
            parts(schema, &mut all);
            let mut required = all.iter().filter_map(|part| part["required"].as_array()).flatten();
            if let Some(missing) = required.find(|name| !object.contains_key(name.as_str().unwrap())) {
                return wrong(format!("lacks {missing}"));
            }
            object.iter().try_for_each(|(name, member)| {
                match all.iter().find_map(|part| part["properties"].get(name)) {
                    Some(schema) => validate(schema, member, &format!("{at}/{name}")),
                    None => wrong(format!("has {name}, which is not described")),
                }
            })
        }
        _ => Ok(()),
    }
}
