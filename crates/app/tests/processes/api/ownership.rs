//! Access to other users' objects. The routes come from the API's description, so that new ones are included.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::stack::Stack;

struct Route {
    method: Method,
    path: String,
    /// Whether the description requires credentials.
    guarded: bool,
}

async fn routes(stack: &Stack) -> Vec<Route> {
    let document = stack.visitor().get("/api/v1/openapi.json").await.expect(200);
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // Credentials are not needed, or are in the body instead.
            let security = operation["security"].as_array();
            let open = security.is_some_and(|needs| needs.is_empty() || needs.contains(&json!({})));
            let method = method.to_uppercase().parse().unwrap();
            routes.push(Route { method, path: path.clone(), guarded: !open });
        }
    }
    assert!(routes.len() > 40, "{} routes", routes.len());
    routes
}

/// A valid body, so that only the address can be refused.
fn body_for(path: &str) -> Value {
    match path {
        "/api/v1/portfolios/{id}/cash" => json!({"type": "deposit", "amount": "1.00"}),
        "/api/v1/portfolios/{id}/orders" | "/api/v1/portfolios/{id}/orders/preview" => {
            json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market"})
        }
        "/api/v1/portfolios/{id}/orders/{order_id}" => json!({"limit_price": "1.00"}),
        "/api/v1/portfolios/{id}/transactions/import" => json!({"csv": "date,action,amount\n"}),
        "/api/v1/portfolios/{id}/composition/limits" => json!({"stock_percent": 30}),
        "/api/v1/portfolios/{id}/reset" => json!({}),
        "/api/v1/portfolios/{id}"
        | "/api/v1/portfolios"
        | "/api/v1/watchlists/{id}"
        | "/api/v1/watchlists" => {
            json!({"name": "Taken"})
        }
        "/api/v1/auth/tokens" => json!({"name": "x"}),
        "/api/v1/auth/logout" => json!({}),
        "/api/v1/users/me" => json!({"first_name": "Taken"}),
        "/api/v1/users/me/password" => {
            json!({"current_password": "a long enough secret", "new_password": "another long secret"})
        }
        "/api/v1/admin/users/{id}" => json!({"is_admin": true}),
        "/api/v1/admin/jobs" => json!({"kind": "prune"}),
        "/api/v1/admin/close-outs" | "/api/v1/admin/close-outs/preview" => {
            json!({"symbol": "AAPL", "kind": "write_off", "reason": "It is worthless."})
        }
        "/api/v1/admin/renames" => json!({"symbol": "AAPL", "to": "APPL", "reason": "It is called so."}),
        "/api/v1/admin/delistings" => {
            json!({"symbol": "AAPL", "resolution": "refuse", "reason": "It is traded."})
        }
        "/api/v1/admin/prices" => json!({"symbol": "AAPL", "reason": "It is right."}),
        "/api/v1/admin/splits" => {
            json!({"symbol": "AAPL", "resolution": "withdraw", "reason": "There was no split."})
        }
        other => panic!("say here what a request to {other} looks like"),
    }
}

async fn ask(client: &Client, route: &Route, path: &str) -> Answer {
    let sends_body =
        matches!(route.method, Method::POST | Method::PATCH) || route.path.ends_with("/composition/limits");
    let body = sends_body.then(|| body_for(&route.path));
    client
        .ask(route.method.clone(), path, |request| match &body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
}

pub async fn objects_of_other_users_are_not_found(stack: &Stack) {
    let (sam, eve) = (stack.trader().await, stack.trader().await);
    let id = sam.open_portfolio("5000.00").await;
    let order = sam.buy(id, "AAPL", "1").await;
    let list = sam.client.post("/api/v1/watchlists", &json!({"name": "Mine"})).await.expect(201);
    sam.client.put(&format!("/api/v1/watchlists/{}/items/AAPL", list["id"])).await.expect(204);
    let before = (sam.portfolio(id, "").await, sam.portfolio(id, "/transactions").await);

    let mut tried = 0;
    for route in routes(stack).await {
        let number = if route.path.starts_with("/api/v1/portfolios/{id}") {
            id.to_string()
        } else if route.path.starts_with("/api/v1/watchlists/{id}") {
            list["id"].to_string()
        } else {
            continue;
        };
        let path = route
            .path
            .replace("{id}", &number)
            .replace("{order_id}", order["id"].as_str().unwrap())
            .replace("{symbol}", "AAPL")
            .replace("{figure}", "total_value");
        assert!(!path.contains('{'), "{path}");
        ask(&eve.client, &route, &path).await.problem(404, "not_found");
        tried += 1;
    }
    assert!(tried >= 20, "{tried} routes");
    // Another user's order cannot be reached through one's own portfolio, and another user's token cannot be revoked.
    let own = eve.open_portfolio("1.00").await;
    let path = format!("/api/v1/portfolios/{own}/orders/{}", order["id"].as_str().unwrap());
    eve.client.get(&path).await.problem(404, "not_found");
    let browser = stack.visitor();
    browser.log_in(&eve.username, crate::client::PASSWORD).await.expect(200);
    let tokens = sam.client.get("/api/v1/auth/tokens").await.expect(200);
    let path = format!("/api/v1/auth/tokens/{}", tokens["items"][0]["id"].as_str().unwrap());
    browser.delete(&path).await.problem(404, "not_found");

    assert_eq!((sam.portfolio(id, "").await, sam.portfolio(id, "/transactions").await), before);
    let kept = sam.client.get(&format!("/api/v1/watchlists/{}", list["id"])).await.expect(200);
    assert_eq!((&kept["name"], kept["items"].as_array().unwrap().len()), (&json!("Mine"), 1));
}

pub async fn requests_without_credentials_are_refused(stack: &Stack) {
    let visitor = stack.visitor();
    for route in routes(stack).await.iter().filter(|route| route.guarded) {
        let path = route
            .path
            .replace("{id}", "1")
            .replace("{order_id}", "01932f5e-7e4b-7c3a-8f3e-111111111111")
            .replace("{symbol}", "AAPL")
            .replace("{figure}", "total_value");
        // The ids of tokens are not numbers.
        let path = path.replace("/tokens/1", "/tokens/01932f5e-7e4b-7c3a-8f3e-111111111111");
        let query = if path == "/api/v1/stocks" { "?search=a" } else { "" };
        ask(&visitor, route, &format!("{path}{query}")).await.problem(401, "unauthorized");
    }
}

pub async fn admin_addresses_are_not_found_for_other_users(stack: &Stack) {
    let sam = stack.trader().await;
    let mut tried = 0;
    for route in routes(stack).await {
        if route.path.starts_with("/api/v1/admin/") {
            ask(&sam.client, &route, &route.path.replace("{id}", "1")).await.problem(404, "not_found");
            tried += 1;
        }
    }
    assert!(tried >= 6, "{tried} routes");
}
