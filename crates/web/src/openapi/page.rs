//! The API's description as pages: one for each tag, one for the objects, one for the problems.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::web::Path;
use serde::Serialize;
use serde_json::Value;

use super::DOCUMENT;
use super::problems::KINDS;
use crate::http::problem::Problem;
use crate::shell::layout::Nav;
use crate::shell::render::{PageResult, Shell};

/// Text with parts that are code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    text: String,
    code: bool,
}

/// Splits text at its backticks.
fn runs(text: &str) -> Vec<Run> {
    let parts = text.split('`').enumerate();
    parts
        .filter(|(_, part)| !part.is_empty())
        .map(|(index, part)| Run { text: part.to_owned(), code: index % 2 == 1 })
        .collect()
}

/// The type of a value in words, with the object that they name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Kind {
    text: String,
    /// The name of a described object.
    object: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Field {
    name: String,
    kind: Kind,
    /// Only for a parameter: `path`, `query` or `header`.
    place: Option<String>,
    required: bool,
    description: Vec<Run>,
}

#[derive(Debug, Clone, Serialize)]
struct Object {
    name: String,
    description: Vec<Run>,
    /// Only for a union: its objects.
    options: Vec<String>,
    /// Only for an enum: its values.
    values: Vec<String>,
    fields: Vec<Field>,
}

#[derive(Debug, Clone, Serialize)]
struct Success {
    status: String,
    description: Vec<Run>,
    kind: Option<Kind>,
    headers: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Failure {
    status: String,
    codes: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    description: Vec<Vec<Run>>,
    /// Whether the operation needs neither a login nor a token.
    open: bool,
    parameters: Vec<Field>,
    body: Option<Object>,
    request_example: Option<String>,
    successes: Vec<Success>,
    response_example: Option<String>,
    failures: Vec<Failure>,
}

#[derive(Debug, Clone, Serialize)]
struct Tag {
    name: String,
    description: String,
    operations: Vec<Operation>,
}

#[derive(Debug, Clone, Serialize)]
struct ProblemRow {
    code: &'static str,
    status: u16,
    meaning: Vec<Run>,
    members: &'static [&'static str],
}

/// Longer examples are cut.
const EXAMPLE_LINES: usize = 60;

static TAGS: LazyLock<Vec<Tag>> = LazyLock::new(tags);
static OBJECTS: LazyLock<Vec<Object>> = LazyLock::new(objects);

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn named(reference: &Value) -> Option<String> {
    Some(reference.as_str()?.rsplit('/').next()?.to_owned())
}

fn schema(name: &str) -> &'static Value {
    &DOCUMENT["components"]["schemas"][name]
}

/// The type of a described value: `decimal`, `list of Order`, `buy or sell`.
fn kind(described: &Value) -> Kind {
    let plain = |text: &str| Kind { text: text.to_owned(), object: None };
    if let Some(name) = named(&described["$ref"]) {
        let target = schema(&name);
        return match target["enum"].is_array() || !is_object(target) {
            true => kind(target),
            false => Kind { text: name.clone(), object: Some(name) },
        };
    }
    for union in ["oneOf", "anyOf", "allOf"] {
        let Some(options) = described[union].as_array() else { continue };
        let is_nullable = options.iter().any(|option| option["type"] == "null");
        let mut kinds: Vec<Kind> =
            options.iter().filter(|option| option["type"] != "null").map(kind).collect();
        let object = if kinds.len() == 1 {
            kinds.swap_remove(0)
        } else {
            plain(&kinds.iter().map(|kind| kind.text.as_str()).collect::<Vec<_>>().join(" or "))
        };
        return if is_nullable {
            Kind { text: format!("{} or null", object.text), ..object }
        } else {
            object
        };
    }
    if let Some(values) = described["enum"].as_array() {
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        return plain(&values.join(" · "));
    }
    if let Some(value) = described.get("const") {
        return plain(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    let types: Vec<&str> = match &described["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let format = described["format"].as_str();
    let words: Vec<String> = types
        .iter()
        .map(|one| match (*one, format) {
            ("string", Some("date-time")) => "instant".into(),
            ("string", Some(format)) => format.to_owned(),
            ("string", None) => "text".into(),
            ("array", _) => format!("list of {}", kind(&described["items"]).text),
            (other, _) => other.to_owned(),
        })
        .collect();
    let object = described["items"].is_object().then(|| kind(&described["items"]).object).flatten();
    Kind { text: if words.is_empty() { "any".into() } else { words.join(" or ") }, object }
}

fn is_object(schema: &Value) -> bool {
    ["properties", "oneOf", "anyOf", "allOf"].iter().any(|member| schema.get(*member).is_some())
}

/// Collects the fields of an object, including those of the objects that it is composed of.
fn fields(schema_of: &Value, found: &mut Vec<Field>) {
    if let Some(name) = named(&schema_of["$ref"]) {
        return fields(schema(&name), found);
    }
    schema_of["allOf"].as_array().into_iter().flatten().for_each(|part| fields(part, found));
    let required: Vec<&str> =
        schema_of["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, described) in schema_of["properties"].as_object().into_iter().flatten() {
        found.push(Field {
            name: name.clone(),
            kind: kind(described),
            place: None,
            required: required.contains(&name.as_str()),
            description: runs(described["description"].as_str().unwrap_or_default()),
        });
    }
}

fn object(name: &str, described: &Value) -> Object {
    let mut found = Vec::new();
    fields(described, &mut found);
    let options = ["oneOf", "anyOf"].iter().filter_map(|union| described[*union].as_array()).flatten();
    let values = described["enum"].as_array().into_iter().flatten();
    Object {
        name: name.to_owned(),
        description: runs(described["description"].as_str().unwrap_or_default()),
        options: options.filter_map(|option| named(&option["$ref"])).collect(),
        values: values.filter_map(Value::as_str).map(str::to_owned).collect(),
        fields: found,
    }
}

fn objects() -> Vec<Object> {
    let schemas = DOCUMENT["components"]["schemas"].as_object().into_iter().flatten();
    schemas
        .filter(|(_, described)| is_object(described) || described["enum"].is_array())
        .map(|(name, described)| object(name, described))
        .collect()
}

fn example(value: Option<&Value>) -> Option<String> {
    let value = value.filter(|value| !value.is_null())?;
    let text = match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).ok()?,
    };
    let lines: Vec<&str> = text.lines().collect();
    Some(match lines.len() > EXAMPLE_LINES {
        true => format!("{}\n…", lines[..EXAMPLE_LINES].join("\n")),
        false => text,
    })
}

/// The only content of a request or response.
fn content(described: &Value) -> Option<&Value> {
    described["content"].as_object()?.values().next()
}

fn operation(path: &str, method: &str, described: &Value) -> Operation {
    let parameters = described["parameters"].as_array().into_iter().flatten().map(|parameter| Field {
        name: text(&parameter["name"]),
        kind: kind(&parameter["schema"]),
        place: parameter["in"].as_str().map(str::to_owned),
        required: parameter["required"] == true,
        description: runs(parameter["description"].as_str().unwrap_or_default()),
    });
    let body = content(&described["requestBody"]);
    let body_object = body.map(|body| {
        let name = named(&body["schema"]["$ref"]).unwrap_or_default();
        object(&name, schema(&name))
    });
    let (mut successes, mut failures, mut response_example) = (Vec::new(), Vec::new(), None);
    for (status, response) in described["responses"].as_object().into_iter().flatten() {
        if let Some(codes) = response["x-problem-codes"].as_array() {
            let codes = codes.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            failures.push(Failure { status: status.clone(), codes });
            continue;
        }
        let found = content(response);
        response_example = response_example.or_else(|| example(found.and_then(|found| found.get("example"))));
        let headers = response["headers"].as_object().into_iter().flatten();
        successes.push(Success {
            status: status.clone(),
            description: runs(response["description"].as_str().unwrap_or_default()),
            kind: found.map(|found| kind(&found["schema"])),
            headers: headers.map(|(name, _)| name.clone()).filter(|name| is_notable(name)).collect(),
        });
    }
    let summary = text(&described["summary"]);
    let description = text(&described["description"]);
    let paragraphs = description.split("\n\n").filter(|paragraph| paragraph.trim_end_matches('.') != summary);
    let security = described["security"].as_array();
    Operation {
        id: text(&described["operationId"]),
        method: method.to_uppercase(),
        path: path.to_owned(),
        description: paragraphs.filter(|text| !text.is_empty()).map(runs).collect(),
        summary,
        open: security.is_some_and(|needs| needs.is_empty() || needs.contains(&serde_json::json!({}))),
        parameters: parameters.collect(),
        body: body_object,
        request_example: body.and_then(|body| example(body.get("example"))),
        successes,
        response_example,
        failures,
    }
}

/// Whether a header is shown: headers that every response has are not.
fn is_notable(name: &str) -> bool {
    !matches!(name, "X-Request-Id" | "RateLimit" | "RateLimit-Policy")
}

fn tags() -> Vec<Tag> {
    let mut by_tag: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for (path, item) in DOCUMENT["paths"].as_object().into_iter().flatten() {
        for (method, described) in item.as_object().into_iter().flatten() {
            by_tag.entry(text(&described["tags"][0])).or_default().push(operation(path, method, described));
        }
    }
    let described = DOCUMENT["tags"].as_array().into_iter().flatten();
    described
        .map(|tag| {
            let name = text(&tag["name"]);
            let operations = by_tag.remove(&name).unwrap_or_default();
            Tag { description: text(&tag["description"]), name, operations }
        })
        .collect()
}

fn problems() -> Vec<ProblemRow> {
    let rows = KINDS.iter().map(|kind| ProblemRow {
        code: kind.code,
        status: kind.status,
        meaning: runs(kind.meaning),
        members: kind.members,
    });
    rows.collect()
}

#[derive(Serialize)]
struct IndexView {
    tags: &'static [Tag],
    server: String,
}

#[derive(Serialize)]
struct TagView {
    tags: Vec<&'static str>,
    tag: &'static Tag,
}

#[derive(Serialize)]
struct ObjectsView {
    tags: Vec<&'static str>,
    objects: &'static [Object],
}

#[derive(Serialize)]
struct ProblemsView {
    tags: Vec<&'static str>,
    problems: Vec<ProblemRow>,
}

fn names() -> Vec<&'static str> {
    TAGS.iter().map(|tag| tag.name.as_str()).collect()
}

/// The page with a list of all operations and what they have in common.
pub async fn index(shell: Shell) -> PageResult {
    let server = shell.config().origin();
    shell.show("docs/index.html", Nav::Elsewhere, "API", &IndexView { tags: &TAGS, server })
}

/// The page with the operations of a tag, the objects, or the problems.
pub async fn part(shell: Shell, part: Path<String>) -> PageResult {
    match part.as_str() {
        "objects" => {
            let view = ObjectsView { tags: names(), objects: &OBJECTS };
            shell.show("docs/objects.html", Nav::Elsewhere, "API: objects", &view)
        }
        "errors" => {
            let view = ProblemsView { tags: names(), problems: problems() };
            shell.show("docs/errors.html", Nav::Elsewhere, "API: errors", &view)
        }
        name => {
            let tag = TAGS.iter().find(|tag| tag.name == name).ok_or_else(Problem::not_found)?;
            let view = TagView { tags: names(), tag };
            shell.show("docs/operations.html", Nav::Elsewhere, format!("API: {name}"), &view)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_mark_code() {
        let parts = runs("Send `a` or `b`.");
        let code: Vec<&str> = parts.iter().filter(|run| run.code).map(|run| run.text.as_str()).collect();
        assert_eq!(code, ["a", "b"]);
        assert_eq!(parts.iter().map(|run| run.text.as_str()).collect::<String>(), "Send a or b.");
    }

    #[test]
    fn types_are_described_in_words() {
        let order = OBJECTS.iter().find(|object| object.name == "Position").unwrap();
        let told = |name: &str| &order.fields.iter().find(|field| field.name == name).unwrap().kind.text;
        assert_eq!((told("quantity").as_str(), told("symbol").as_str()), ("decimal", "symbol"));
        let page = OBJECTS.iter().find(|object| object.name == "PortfolioPage").unwrap();
        let items = &page.fields.iter().find(|field| field.name == "items").unwrap().kind;
        assert_eq!((items.text.as_str(), items.object.as_deref()), ("list of Portfolio", Some("Portfolio")));
    }

    #[test]
    fn every_operation_is_on_a_page_and_every_object_that_it_names() {
        let described: usize =
            DOCUMENT["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
        assert_eq!(TAGS.iter().map(|tag| tag.operations.len()).sum::<usize>(), described);
        let known: Vec<&str> = OBJECTS.iter().map(|object| object.name.as_str()).collect();
        let of_objects = OBJECTS.iter().flat_map(|object| &object.fields).map(|field| &field.kind);
        let operations = TAGS.iter().flat_map(|tag| &tag.operations);
        let of_operations =
            operations.flat_map(|operation| &operation.successes).filter_map(|one| one.kind.as_ref());
        for kind in of_objects.chain(of_operations) {
            assert!(kind.object.as_ref().is_none_or(|name| known.contains(&name.as_str())), "{kind:?}");
        }
    }
}
