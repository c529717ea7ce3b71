//! Completes the generated description with parts that all operations share or that follow from an operation's inputs.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use services::idempotency::LONGEST_NAME;
use services::trading::closing::LONGEST_CLOSING_KEY;

use super::{enums, problems};

type Members = Map<String, Value>;

/// Recorded requests and responses, by operation.
static EXAMPLES: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("examples.json")).expect("Invariant: recorded examples are JSON")
});

/// Members of responses that are left out instead of being null.
const OPTIONAL: [(&str, &str); 2] = [("Quote", "stale_reason"), ("Quote", "unconfirmed")];

/// The key under which an operation lists its own problem codes; removed from the finished description.
const CODES: &str = "x-problem-codes";

pub fn finish(document: &mut Value) {
    let Some(document) = document.as_object_mut() else { return };
    document.insert("servers".into(), json!([{"url": "/", "description": "This installation"}]));
    document.insert("tags".into(), tags());
    if let Some(info) = document.get_mut("info") {
        info["contact"] = json!({"name": "The operators of this installation"});
        info["license"] = json!({"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"});
    }
    let components = document.entry("components").or_insert_with(|| json!({}));
    components["headers"] = headers();
    if let Some(schemas) = components["schemas"].as_object_mut() {
        schemas.extend(problems::schemas());
        for (name, schema) in enums::all() {
            schemas.insert(name.to_owned(), json!(schema));
        }
        schemas.iter_mut().for_each(|(name, schema)| finish_schema(name, schema));
        split_orders_by_type(schemas);
        discriminate_events(schemas);
    }
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else { return };
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            if let Some(operation) = operation.as_object_mut() {
                finish_operation(method, path, operation);
            }
        }
    }
}

/// Names the schema of a page after its items: `OrderPage`.
pub fn name_pages(value: Value) -> Value {
    let renamed = |name: &str| match name.rsplit_once("Items_") {
        Some((before, listed)) => format!("{before}{listed}Page"),
        None => name.to_owned(),
    };
    match value {
        Value::Object(members) => {
            let renamed = members.into_iter().map(|(name, member)| (renamed(&name), name_pages(member)));
            Value::Object(renamed.collect())
        }
        Value::Array(values) => values.into_iter().map(name_pages).collect(),
        Value::String(text) if text.starts_with("#/components/schemas/Items_") => renamed(&text).into(),
        other => other,
    }
}

fn tags() -> Value {
    json!([
        {"name": "account", "description": "Registration, logins, API tokens and the account itself."},
        {"name": "portfolios", "description": "Portfolios, their cash, positions and transactions."},
        {"name": "orders", "description": "Placing, previewing, changing and canceling orders."},
        {"name": "performance", "description": "Snapshots of portfolios and returns over time."},
        {"name": "market", "description": "The market's time and its trading sessions."},
        {"name": "stocks", "description": "Stocks, their prices and histories."},
        {"name": "watchlists", "description": "Lists of stocks with quotes."},
        {"name": "stream", "description": "Prices, orders and valuations as Server-Sent Events."},
        {"name": "admin", "description": "For administrators: with a session, or a token with the scope `admin`."},
    ])
}

fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "description": "Identifies the request in the server's log.",
            "schema": {"type": "string", "format": "uuid"},
        },
        "Location": {
            "description": "The address of the new object.",
            "schema": {"type": "string", "format": "uri-reference"},
        },
        "Idempotent-Replayed": {
            "description": "Present if the request was carried out before; the response is its result.",
            "schema": {"type": "string", "const": "true"},
        },
        "RateLimit-Policy": {
            "description": "The rate limits that this request counts against: `q` requests, which are available again after `w` seconds.",
            "schema": {"type": "string"},
            "example": "\"account\";q=300;w=6",
        },
        "RateLimit": {
            "description": "The rest of each rate limit: `r` requests. More become available within `t` seconds.",
            "schema": {"type": "string"},
            "example": "\"account\";r=299;t=1",
        },
        "ETag": {
            "description": "Identifies this content. Send it as `If-None-Match` to ask whether it has changed.",
            "schema": {"type": "string"},
        },
        "Cache-Control": {
            "description": "Who may cache the response. It must be revalidated before each use.",
            "schema": {"type": "string"},
        },
        "Retry-After": {
            "description": "Seconds to wait before the next attempt.",
            "schema": {"type": "integer", "format": "int32", "minimum": 1},
        },
        "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string", "const": "Bearer"}},
        "Content-Disposition": {"description": "The suggested name of the file.", "schema": {"type": "string"}},
    })
}

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

/// Marks all members of a response as required, because a member without a value is null. In requests, members that may
/// be null may be left out.
fn finish_schema(name: &str, schema: &mut Value) {
    for part in schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
        finish_schema(name, part);
    }
    unwrap_description(schema);
    if let (Some(listed), Some(items)) =
        (name.strip_prefix("Items_"), schema.pointer_mut("/properties/items/items"))
    {
        *items = json!({"$ref": format!("#/components/schemas/{listed}")});
    }
    let is_request = schema["additionalProperties"] == false;
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (property, described) in properties.iter_mut() {
        if OPTIONAL.contains(&(name, property)) {
            not_null(described);
        }
        move_description(described);
        unwrap_description(described);
    }
    if !is_request && !name.starts_with("Problem") {
        let all: Vec<&String> =
            properties.keys().filter(|property| !OPTIONAL.contains(&(name, property.as_str()))).collect();
        let all = json!(all);
        schema["required"] = all;
    }
}

fn not_null(schema: &mut Value) {
    if let Some(types) = schema["type"].as_array() {
        let types: Vec<&Value> = types.iter().filter(|kind| *kind != "null").collect();
        schema["type"] = types.first().copied().cloned().unwrap_or_default();
    }
    let option = schema["oneOf"].as_array().filter(|options| options.iter().any(|one| one["type"] == "null"));
    if let Some(mut option) = option.and_then(|options| options.first().cloned()) {
        if schema["description"].is_string() {
            option["description"] = schema["description"].clone();
        }
        *schema = option;
    }
}

/// Moves a description from the reference within `oneOf` to the member.
fn move_description(schema: &mut Value) {
    let inner = schema.pointer_mut("/oneOf/0").and_then(Value::as_object_mut);
    let inner = inner.and_then(|reference| reference.remove("description"));
    if let Some(description) = inner {
        schema["description"] = description;
    }
}

fn unwrap_description(schema: &mut Value) {
    if let Some(unwrapped) = schema["description"].as_str().map(unwrap_lines) {
        schema["description"] = unwrapped.into();
    }
}

/// Joins the lines of a comment; blank lines still separate paragraphs.
fn unwrap_lines(text: &str) -> String {
    let paragraphs =
        text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// Per schema: its name, the order type, the required fields, and the optional fields beside those of all orders.
const ORDERS: [(&str, &str, &[&str], &[&str]); 5] = [
    ("NewMarketOrder", "market", &[], &["notional"]),
    ("NewLimitOrder", "limit", &["limit_price"], &["notional"]),
    ("NewStopOrder", "stop", &["stop_price"], &[]),
    ("NewStopLimitOrder", "stop_limit", &["stop_price", "limit_price"], &[]),
    ("NewTrailingStopOrder", "trailing_stop", &[], &["trail_price", "trail_percent"]),
];
const OF_SOME_ORDERS: [&str; 5] = ["notional", "limit_price", "stop_price", "trail_price", "trail_percent"];

/// Makes `NewOrder` a union: each order type has a schema with the fields that it accepts.
fn split_orders_by_type(schemas: &mut Members) {
    let Some(whole) = schemas.get("NewOrder").cloned() else { return };
    let mut mapping = Members::new();
    let mut options = Vec::new();
    for (name, order_type, needed, allowed) in ORDERS {
        let mut order = whole.clone();
        if let Some(properties) = order["properties"].as_object_mut() {
            properties.retain(|property, _| {
                !OF_SOME_ORDERS.contains(&property.as_str())
                    || needed.contains(&property.as_str())
                    || allowed.contains(&property.as_str())
            });
            for property in needed {
                properties.entry(*property).and_modify(not_null);
            }
            properties.insert("type".into(), json!({"type": "string", "const": order_type}));
        }
        if let Some(required) = order["required"].as_array_mut() {
            required.extend(needed.iter().map(|property| json!(property)));
        }
        order["description"] =
            json!(format!("A new order of the type `{order_type}`. {}", sizes(order_type)));
        let reference = format!("#/components/schemas/{name}");
        options.push(json!({"$ref": reference}));
        mapping.insert(order_type.into(), reference.into());
        schemas.insert(name.into(), order);
    }
    schemas.insert(
        "NewOrder".into(),
        json!({
            "description": "A new order; `type` decides which fields it takes.",
            "oneOf": options,
            "discriminator": {"propertyName": "type", "mapping": mapping},
        }),
    );
}

fn sizes(order_type: &str) -> &'static str {
    match order_type {
        "market" | "limit" => "Send either `quantity` or `notional`.",
        "trailing_stop" => "Send `quantity`, and either `trail_price` or `trail_percent`.",
        _ => "Send `quantity`.",
    }
}

/// Describes `data` of an event as one of several objects. The kind of the event decides which.
fn discriminate_events(schemas: &mut Members) {
    if let Some(event) = schemas.get_mut("StreamEvent")
        && let Some(options) = event.as_object_mut().and_then(|event| event.remove("oneOf"))
    {
        event["anyOf"] = options;
    }
}

fn finish_operation(method: &str, path: &str, operation: &mut Members) {
    let summary = text(operation, "summary");
    let description = unwrap_lines(&text(operation, "description"));
    operation.insert("summary".into(), unwrap_lines(&summary).trim_end_matches('.').into());
    let description = if description.is_empty() { unwrap_lines(&summary) } else { description };
    operation.insert("description".into(), description.into());

    let mut parameters = operation.remove("parameters").unwrap_or_else(|| json!([]));
    parameters.as_array_mut().into_iter().flatten().for_each(|parameter| finish_parameter(path, parameter));
    let takes =
        |place: &str| parameters.as_array().is_some_and(|all| all.iter().any(|one| one["in"] == place));
    let has_parameter =
        |name: &str| parameters.as_array().is_some_and(|all| all.iter().any(|one| one["name"] == name));
    let (replays, is_kept) = (has_parameter("Idempotency-Key"), has_parameter("If-None-Match"));
    let taken = Taken {
        is_write: !matches!(method, "get"),
        is_admin: path.starts_with("/api/v1/admin/"),
        is_open: operation.get("security").is_some_and(|security| *security == json!([{}])),
        has_body: operation.contains_key("requestBody"),
        has_path: takes("path"),
        has_query: takes("query"),
        replays,
        is_kept,
    };
    if parameters.as_array().is_some_and(|all| !all.is_empty()) {
        operation.insert("parameters".into(), parameters);
    }
    let id = text(operation, "operationId");
    if let Some(body) = operation.get_mut("requestBody") {
        body["required"] = true.into();
        if let Some(content) = body.pointer_mut("/content/application~1json") {
            content["example"] = EXAMPLES[&id]["request"].clone();
        }
    }
    let own = operation.remove(CODES).unwrap_or_else(|| json!([]));
    let own: Vec<&str> = own.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if taken.is_open {
        // An empty list: generators would read a list with an empty alternative as a requirement.
        operation.insert("security".into(), json!([]));
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    if taken.is_kept {
        responses.insert(
            "304".into(),
            json!({"description": "Nothing has changed since the content of `If-None-Match`"}),
        );
    }
    for (status, response) in responses.iter_mut() {
        finish_response(status, &taken, path, response);
    }
    if let Some(example) = EXAMPLES.get(&id) {
        add_example(responses, &example["response"]);
    }
    for (status, kinds) in by_status(&taken, &own) {
        responses.insert(status.to_string(), problem_response(status, &kinds));
    }
}

fn text(operation: &Members, name: &str) -> String {
    operation.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The properties of an operation that decide which problems it may return.
struct Taken {
    is_write: bool,
    is_admin: bool,
    is_open: bool,
    has_body: bool,
    has_path: bool,
    has_query: bool,
    replays: bool,
    /// Whether clients may cache the response.
    is_kept: bool,
}

impl Taken {
    fn codes(&self) -> Vec<&'static str> {
        let mut codes = vec![
            "rate_limited",
            "uri_too_long",
            "header_too_large",
            "internal",
            "database_unavailable",
            "database_busy",
        ];
        let mut add = |applies: bool, more: &[&'static str]| {
            if applies {
                codes.extend_from_slice(more);
            }
        };
        add(self.is_write, &["database_read_only", "outcome_unknown", "storage_full"]);
        add(!self.is_open, &["unauthorized"]);
        add(self.is_write && !self.is_open, &["cross_origin"]);
        add(self.is_write && !self.is_open && !self.is_admin, &["read_only_token", "admin_token"]);
        add(self.is_admin, &["admin_token_required", "not_found"]);
        add(self.has_path, &["not_found"]);
        add(self.has_query || self.replays || self.has_body, &["invalid_fields"]);
        add(
            self.has_body,
            &[
                "malformed_json",
                "unreadable_body",
                "request_timeout",
                "payload_too_large",
                "unsupported_media_type",
            ],
        );
        codes
    }
}

type Kinds = Vec<&'static problems::ProblemKind>;

fn by_status(taken: &Taken, own: &[&str]) -> BTreeMap<u16, Kinds> {
    let common = taken.codes();
    let mut statuses: BTreeMap<u16, Kinds> = BTreeMap::new();
    for kind in problems::KINDS {
        if common.contains(&kind.code) || own.contains(&kind.code) {
            statuses.entry(kind.status).or_default().push(kind);
        }
    }
    statuses
}

/// The headers of every response. The rate limit headers are missing where an operator has turned the limits off.
fn common_headers() -> Value {
    let names = ["X-Request-Id", "RateLimit", "RateLimit-Policy"];
    names.iter().map(|name| ((*name).to_owned(), header(name))).collect::<Members>().into()
}

fn problem_response(status: u16, kinds: &Kinds) -> Value {
    let meaning = kinds.iter().map(|kind| {
        let members: Vec<String> = kind.members.iter().map(|member| format!("`{member}`")).collect();
        let with =
            if members.is_empty() { String::new() } else { format!(" With {}.", members.join(" and ")) };
        format!("- `{}`: {}{with}", kind.code, kind.meaning)
    });
    let mut headers = common_headers();
    if matches!(status, 429 | 503 | 507) {
        headers["Retry-After"] = header("Retry-After");
    }
    if status == 401 {
        headers["WWW-Authenticate"] = header("WWW-Authenticate");
    }
    let codes: Vec<&str> = kinds.iter().map(|kind| kind.code).collect();
    json!({
        "description": meaning.collect::<Vec<_>>().join("\n"),
        "headers": headers,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "x-problem-codes": codes,
    })
}

fn finish_response(status: &str, taken: &Taken, path: &str, response: &mut Value) {
    let mut headers = common_headers();
    if taken.is_kept {
        headers["ETag"] = header("ETag");
        headers["Cache-Control"] = header("Cache-Control");
    }
    if status == "201" {
        let has_address = !path.ends_with("/cash") && !path.ends_with("/close-outs");
        if has_address {
            headers["Location"] = header("Location");
        }
    }
    if taken.replays {
        headers["Idempotent-Replayed"] = header("Idempotent-Replayed");
    }
    if path.ends_with(".csv") {
        headers["Content-Disposition"] = header("Content-Disposition");
        response["content"] = json!({"text/csv": {"schema": {"type": "string"}}});
    }
    response["headers"] = headers;
}

fn add_example(responses: &mut Members, example: &Value) {
    for response in responses.values_mut() {
        let contents = response.get_mut("content").and_then(Value::as_object_mut);
        contents
            .into_iter()
            .flat_map(Members::values_mut)
            .for_each(|content| content["example"] = example.clone());
    }
}

fn finish_parameter(path: &str, parameter: &mut Value) {
    let name = parameter["name"].as_str().unwrap_or_default().to_owned();
    if parameter["in"] == "query" {
        not_null(&mut parameter["schema"]);
    }
    if name == "Idempotency-Key" {
        // The key becomes the beginning of the client order ids there.
        let longest = if path.ends_with("/positions") { LONGEST_CLOSING_KEY } else { LONGEST_NAME };
        parameter["schema"] =
            json!({"type": "string", "minLength": 1, "maxLength": longest, "pattern": "^[!-~]+$"});
    } else if parameter["in"] == "header" {
        parameter["schema"] = json!({"type": "string"});
    }
    unwrap_description(parameter);
    if parameter["in"] == "path" {
        parameter["example"] = match name.as_str() {
            "symbol" => "AAPL".into(),
            "figure" => "total_value".into(),
            "id" if parameter["schema"]["type"] == "integer" => 7.into(),
            _ => "01a0b0c0-5f3e-7a11-9c3d-2f6a4e8b1d20".into(),
        };
    }
    if !parameter["description"].is_string() {
        let of = match name.as_str() {
            "id" if path.starts_with("/api/v1/portfolios/") => "The portfolio's id.",
            "id" if path.starts_with("/api/v1/watchlists/") => "The watchlist's id.",
            "id" if path.starts_with("/api/v1/admin/users/") => "The user's id.",
            "id" => "The token's id.",
            "order_id" => "The order's id.",
            "symbol" => "The stock's symbol.",
            "figure" => "The figure to explain.",
            "If-None-Match" => {
                "The `ETag` of an earlier response. If nothing has changed since then, the response is 304 without a \
                 body."
            }
            "Idempotency-Key" => {
                "A name that you choose for the request. A request that is repeated with the same name is carried \
                 out only once."
            }
            _ => return,
        };
        parameter["description"] = of.into();
    }
}
