//! The OpenAPI document is consistent. (A test beside the routes checks that it contains all of them.)

use serde_json::{Value, json};

use crate::harness::TestApp;

fn walk<'a>(value: &'a Value, visit: &mut impl FnMut(&'a str, &'a Value)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                visit(name, member);
                walk(member, visit);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

async fn document(app: &TestApp) -> Value {
    app.anonymous().get("/api/v1/openapi.json").await.is(200).json().0.clone()
}

#[tokio::test]
async fn every_reference_has_a_target() {
    let app = TestApp::spawn().await;
    let document = document(&app).await;
    let mut count = 0;
    walk(&document, &mut |name, value| {
        if let ("$ref", Some(reference)) = (name, value.as_str()) {
            let pointer = reference.strip_prefix('#').expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
            count += 1;
        }
    });
    assert!(count > 50, "{count}");
}

#[tokio::test]
async fn every_operation_describes_its_request_and_its_responses() {
    let app = TestApp::spawn().await;
    let document = document(&app).await;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{at}");
            let declared: Vec<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let named: Vec<&str> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(declared, named, "{at}");
            assert_eq!(operation.get("requestBody").is_some(), needs_body(method, path), "{at}");

            let responses = operation["responses"].as_object().unwrap();
            let statuses: Vec<u16> = responses.keys().map(|status| status.parse().unwrap()).collect();
            assert_eq!(statuses.iter().filter(|status| (200..300).contains(*status)).count(), 1, "{at}");
            for (status, response) in responses {
                assert!((200..=507).contains(&status.parse::<u16>().unwrap()), "{at} {status}");
                let has_body = response.get("content").is_some();
                assert_eq!(has_body, !matches!(status.as_str(), "202" | "204" | "304"), "{at} {status}");
            }
        }
    }
}

fn needs_body(method: &str, path: &str) -> bool {
    // To delete an account, the user sends the password.
    (matches!(method, "post" | "patch") && !path.ends_with("/logout"))
        || (method == "put" && path.ends_with("/limits"))
        || (method == "delete" && path == "/api/v1/users/me")
}

#[tokio::test]
async fn decimals_are_described_as_strings() {
    let app = TestApp::spawn().await;
    let document = document(&app).await;
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (schema, field) in
        [("Order", "amount"), ("Order", "filled_price"), ("Position", "quantity"), ("Quote", "price")]
    {
        let mut described = &schemas[schema]["properties"][field];
        if let Some(reference) = described["$ref"].as_str().or(described["oneOf"][0]["$ref"].as_str()) {
            described = document.pointer(&reference[1..]).unwrap();
        }
        let kind = &described["type"];
        assert!(*kind == "string" || *kind == json!(["string", "null"]), "{schema}.{field}: {described}");
    }
    assert_eq!(schemas["Position"]["properties"]["weight"]["type"], "number");
}

#[tokio::test]
async fn the_description_is_readable_as_pages() {
    let app = TestApp::spawn().await;
    let document = document(&app).await;
    let index = app.anonymous().get("/docs/").await.is(200).text();
    let mut pages = std::collections::BTreeMap::new();
    for tag in document["tags"].as_array().unwrap() {
        let name = tag["name"].as_str().unwrap();
        pages.insert(name.to_owned(), app.anonymous().get(&format!("/docs/{name}")).await.is(200).text());
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let (id, tag) =
                (operation["operationId"].as_str().unwrap(), operation["tags"][0].as_str().unwrap());
            assert!(index.contains(&format!("href=\"/docs/{tag}#{id}\"")), "{id}");
            let page = &pages[tag];
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
            let escaped = path.replace('/', "&#x2F;");
            assert!([path, &escaped].iter().any(|path| page.contains(&format!("</b> {path}<"))), "{path}");
        }
    }
    for page in ["objects", "errors"] {
        pages.insert(page.to_owned(), app.anonymous().get(&format!("/docs/{page}")).await.is(200).text());
    }
    // Every link within the description has a target.
    for (name, page) in &pages {
        assert!(!page.contains("style=\""), "{name}");
        for link in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let (address, anchor) = match link.split_once('#') {
                Some((address, anchor)) => (address, anchor),
                None => continue,
            };
            let target = if address.is_empty() { name } else { address.trim_start_matches("/docs/") };
            let Some(target) = pages.get(target) else { continue };
            assert!(target.contains(&format!("id=\"{anchor}\"")), "{name} leads to {link}");
        }
    }
    app.anonymous().get("/docs/nothing").await.is(404);
}
