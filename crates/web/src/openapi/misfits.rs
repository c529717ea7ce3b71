//! Explains which parts of a request's body or query do not match the description.

use std::fmt;

use actix_web::HttpRequest;
use domain::Symbol;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::DOCUMENT;

/// An invalid field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The name of the field or parameter; `body` for the body itself.
    pub field: String,
    /// The JSON pointer of the field in the body.
    pub pointer: Option<String>,
    pub message: String,
}

fn operation(request: &HttpRequest) -> Option<&'static Value> {
    let method = request.method().as_str().to_lowercase();
    DOCUMENT.get("paths")?.get(request.match_pattern()?)?.get(method)
}

/// The schema of the request's body.
fn body_schema(request: &HttpRequest) -> Option<&'static Value> {
    operation(request)?.pointer("/requestBody/content/application~1json/schema")
}

/// The JSON pointer of a field in the request's body, if the description of the body has such a field.
pub fn pointer(request: &HttpRequest, field: &str) -> Option<String> {
    let ObjectSchema { properties, .. } = ObjectSchema::from_schema(body_schema(request)?);
    properties.contains_key(field).then(|| format!("/{field}"))
}

/// The errors of a body that is valid JSON and could not be read as the described object.
pub fn of_body(request: &HttpRequest, body: &RawValue) -> Vec<Misfit> {
    let mut found = Vec::new();
    if let (Some(schema), Ok(value)) = (body_schema(request), serde_json::from_str::<Value>(body.get())) {
        check(schema, &value, "", &mut found);
    }
    let names = serde_json::from_str::<Names>(body.get()).map(|Names(names)| names).unwrap_or_default();
    found.extend(repeated(&names).map(|name| Misfit {
        field: name.clone(),
        pointer: Some(format!("/{}", escape(name))),
        message: "is given twice".into(),
    }));
    if found.is_empty() {
        found.push(misfit("", UNFIT.into()));
    }
    found
}

/// Finds arrays where the description has objects, which serde would read as the object's members in order. Only bodies
/// with an array are checked.
pub fn arrays_for_objects(request: &HttpRequest, body: &RawValue) -> Vec<Misfit> {
    if !body.get().contains('[') {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let (Some(schema), Ok(value)) = (body_schema(request), serde_json::from_str::<Value>(body.get())) {
        check(schema, &value, "", &mut found);
    }
    found.retain(|misfit| misfit.message == NO_OBJECT);
    found
}

const NO_OBJECT: &str = "must be a JSON object";
const UNFIT: &str = "does not match the description of this operation";

/// The errors of a query that could not be read.
pub fn of_query(request: &HttpRequest) -> Vec<Misfit> {
    let parameters = operation(request).and_then(|operation| operation["parameters"].as_array());
    let parameters: Vec<&Value> =
        parameters.into_iter().flatten().filter(|parameter| parameter["in"] == "query").collect();
    let known: Vec<&str> = parameters.iter().filter_map(|parameter| parameter["name"].as_str()).collect();
    let sent: Vec<String> = url::form_urlencoded::parse(request.query_string().as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect();
    let misfit = |name: &str, message: String| Misfit { field: name.to_owned(), pointer: None, message };
    let unknown = sent.iter().filter(|name| !known.contains(&name.as_str()));
    let mut found: Vec<Misfit> = unknown
        .map(|name| misfit(name, format!("is unknown: {}", choice("the parameters are", &known, "and"))))
        .collect();
    found.extend(repeated(&sent).map(|name| misfit(name, "is given twice".into())));
    let required = parameters.iter().filter(|parameter| parameter["required"] == true);
    let missing = required
        .filter_map(|parameter| parameter["name"].as_str())
        .filter(|name| !sent.iter().any(|sent| sent == name));
    found.extend(missing.map(|name| misfit(name, "is missing".into())));
    if found.is_empty() {
        found.push(misfit("query", UNFIT.into()));
    }
    found
}

/// Lists the allowed words, such as `use buy or sell`.
fn choice(verb: &str, words: &[&str], conjunction: &str) -> String {
    match words {
        [] => format!("{verb} none"),
        [only] => format!("{verb} {only}"),
        [first @ .., last] => format!("{verb} {} {conjunction} {last}", first.join(", ")),
    }
}

fn repeated(names: &[String]) -> impl Iterator<Item = &String> {
    names.iter().enumerate().filter(|(index, name)| names[..*index].contains(name)).map(|(_, name)| name)
}

/// The names of an object's members, including repeated ones.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Names;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn resolve(mut schema: &'static Value) -> &'static Value {
    while let Some(target) =
        schema["$ref"].as_str().and_then(|path| DOCUMENT.pointer(path.trim_start_matches('#')))
    {
        schema = target;
    }
    schema
}

/// The known and the required members of an object. For a union: the members of any option, and those that every option
/// requires.
struct ObjectSchema {
    properties: Map<String, Value>,
    required: Vec<String>,
}

impl ObjectSchema {
    fn from_schema(schema: &'static Value) -> Self {
        let schema = resolve(schema);
        let Some(options) = schema["oneOf"].as_array() else {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            return Self {
                properties: schema["properties"].as_object().cloned().unwrap_or_default(),
                required: required.map(str::to_owned).collect(),
            };
        };
        let mut options = options.iter().map(Self::from_schema);
        let Some(mut whole) = options.next() else {
            return Self { properties: Map::new(), required: Vec::new() };
        };
        for option in options {
            whole.properties.extend(option.properties);
            whole.required.retain(|name| option.required.contains(name));
        }
        if let (Some(name), Some(mapping)) =
            (schema["discriminator"]["propertyName"].as_str(), schema["discriminator"]["mapping"].as_object())
        {
            // The values of the discriminator, in the order of the union.
            let named = |option: &Value| {
                mapping.iter().find(|(_, path)| **path == option["$ref"]).map(|(word, _)| word.clone())
            };
            let words: Vec<String> =
                schema["oneOf"].as_array().into_iter().flatten().filter_map(named).collect();
            whole.properties.insert(name.into(), serde_json::json!({"type": "string", "enum": words}));
        }
        whole
    }
}

/// The other option of a nullable schema; any other schema is returned as it is.
fn without_null(schema: &'static Value) -> &'static Value {
    let schema = resolve(schema);
    let options = schema["oneOf"].as_array();
    match options.map(Vec::as_slice) {
        Some([option, null]) | Some([null, option]) if null["type"] == "null" => resolve(option),
        _ => schema,
    }
}

fn check(schema: &'static Value, value: &Value, at: &str, found: &mut Vec<Misfit>) {
    let Value::Object(object) = value else {
        found.push(misfit(at, NO_OBJECT.into()));
        return;
    };
    let ObjectSchema { properties, required } = ObjectSchema::from_schema(schema);
    for name in &required {
        if object.get(name).is_none_or(Value::is_null) {
            let hint =
                properties.get(name).and_then(hint).map_or_else(String::new, |hint| format!(": {hint}"));
            found.push(misfit(&format!("{at}/{}", escape(name)), format!("is missing{hint}")));
        }
    }
    for (name, member) in object {
        let place = format!("{at}/{}", escape(name));
        match properties.get(name) {
            None => {
                let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                found
                    .push(misfit(&place, format!("is unknown: {}", choice("the fields are", &known, "and"))));
            }
            Some(_) if member.is_null() && required.contains(name) => {}
            Some(property) if member.is_null() => {
                if !is_nullable(property) {
                    found.push(misfit(&place, "must not be null: leave it out".into()));
                }
            }
            Some(property) => check_member(property, member, &place, found),
        }
    }
}

fn check_member(property: &Value, value: &Value, at: &str, found: &mut Vec<Misfit>) {
    // Looked up again in the static document, because `property` may be a copy.
    let schema = match reference(property) {
        Some(path) => match DOCUMENT.pointer(path) {
            Some(target) => without_null(target),
            None => return,
        },
        None => {
            if let Some(message) = wrong_text(property, value) {
                found.push(misfit(at, message));
            }
            return;
        }
    };
    if schema["type"] == "object" {
        return check(schema, value, at, found);
    }
    if let Some(message) = wrong_text(schema, value) {
        found.push(misfit(at, message));
    }
}

/// The path of a member's schema, if the member is a reference or a nullable reference.
fn reference(property: &Value) -> Option<&str> {
    let path = property["$ref"].as_str().or_else(|| property["oneOf"][0]["$ref"].as_str())?;
    Some(path.trim_start_matches('#'))
}

fn is_nullable(property: &Value) -> bool {
    let options = property["oneOf"].as_array();
    has_type(property, "null")
        || options.is_some_and(|options| options.iter().any(|one| one["type"] == "null"))
}

fn has_type(schema: &Value, kind: &str) -> bool {
    schema["type"] == kind
        || schema["type"].as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind))
}

fn wrong_text(schema: &Value, value: &Value) -> Option<String> {
    let format = schema["format"].as_str().unwrap_or_default();
    let fits = match value {
        Value::String(text) if has_type(schema, "string") => match format {
            "date-time" => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
            "symbol" => text.parse::<Symbol>().is_ok(),
            _ => true,
        },
        Value::Number(_) => format == "decimal",
        Value::Bool(_) => has_type(schema, "boolean"),
        _ => false,
    };
    (!fits).then(|| match format {
        "decimal" => "must be a decimal in quotes, like \"12.50\"".into(),
        "date-time" => "must be an instant like 2026-11-20T15:00:00Z".into(),
        "date" => "must be a day like 2026-11-20".into(),
        "symbol" => "must be a symbol like AAPL".into(),
        _ if has_type(schema, "boolean") => "must be true or false".into(),
        _ => hint(schema).unwrap_or_else(|| "must be a text in quotes".into()),
    })
}

/// A hint about accepted values: `use buy or sell`.
fn hint(schema: &Value) -> Option<String> {
    let schema = match reference(schema) {
        Some(path) => DOCUMENT.pointer(path)?,
        None => schema,
    };
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return Some(choice("use", &words, "or"));
    }
    match schema["format"].as_str() {
        Some("decimal") => Some("send a decimal like \"12.50\"".into()),
        Some("symbol") => Some("send a symbol like AAPL".into()),
        _ => None,
    }
}

fn misfit(pointer: &str, message: String) -> Misfit {
    let field = pointer.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("body");
    Misfit { field: field.replace("~1", "/").replace("~0", "~"), pointer: Some(pointer.to_owned()), message }
}

/// Escapes a name for a JSON pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
