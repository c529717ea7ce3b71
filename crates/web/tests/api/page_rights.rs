//! Access to pages and forms, taken from the routes themselves: other users find nothing at the address of a user's
//! object, users find nothing at an administrator's address, and anonymous visitors are redirected to the login.

use serde_json::{Value, json};

use crate::harness::{Answer, Caller, TestApp, csrf_token, trade, with};

/// The source of the routes, so that this test includes every page.
const ROUTES: &str = include_str!("../../src/pages.rs");

/// The address of a page, whether it can be read, and whether it accepts forms.
struct Page {
    path: &'static str,
    reads: bool,
    takes_forms: bool,
}

fn pages() -> Vec<Page> {
    let pages: Vec<Page> = ROUTES
        .split(".service(")
        .skip(1)
        .map(|service| Page {
            path: service.split('"').nth(1).unwrap(),
            reads: service.contains(".get("),
            takes_forms: service.contains(".post("),
        })
        .collect();
    assert!(pages.len() > 45, "{} pages", pages.len());
    assert!(pages.iter().all(|page| page.reads || page.takes_forms));
    pages
}

/// Pages that need no login.
const OPEN: [&str; 6] = ["/", "/register", "/login", "/logout", "/docs/", "/docs/{part}"];

/// Objects of one user, whose ids other users try.
struct Objects {
    portfolio: i64,
    order: String,
    watchlist: i64,
}

impl Objects {
    fn address(&self, path: &str) -> String {
        let id = if path.starts_with("/watchlist/") { self.watchlist } else { self.portfolio };
        path.replace("{id}", &id.to_string())
            .replace("{order_id}", &self.order)
            .replace("{symbol}", "AAPL")
            .replace("{figure}", "total_value")
            .replace("{table}", "positions")
    }

    /// A valid form, so that only the address can be refused.
    fn form(&self, path: &str) -> Vec<(&'static str, String)> {
        let fields = match path {
            "/portfolios/{id}/settings" | "/watchlist/{id}" => vec![("name", "Taken")],
            "/portfolios/{id}/visibility" => vec![("visibility", "public")],
            "/portfolios/{id}/cash" => vec![("type", "deposit"), ("amount", "1.00")],
            "/portfolios/{id}/composition/limits" => vec![("stock_percent", "5")],
            "/portfolios/{id}/import" => vec![("file", "date,action,amount\n2026-11-02,deposit,5\n")],
            "/portfolios/{id}/import/confirm" => vec![("file", "5")],
            "/portfolios/{id}/benchmark" => vec![("benchmark", "MSFT")],
            "/portfolios/{id}/reset" => vec![("cash_balance", "1.00")],
            "/portfolios/{id}/delete" => vec![("confirm", "Growth")],
            "/portfolios/{id}/orders" | "/portfolios/{id}/orders/preview" => vec![
                ("symbol", "AAPL"),
                ("side", "buy"),
                ("quantity", "1"),
                ("unit", "shares"),
                ("type", "market"),
                ("client_order_id", "01932f5e-7e4b-7c3a-8f3e-111111111111"),
            ],
            "/portfolios/{id}/orders/cancel" => vec![("cancel", &*self.order)],
            "/portfolios/{id}/orders/{order_id}/replace" => vec![("limit_price", "101.00")],
            "/watchlist/{id}/add" => vec![("symbols", "MSFT")],
            "/watchlist/{id}/remove" => vec![("symbol", "AAPL")],
            "/watchlist/{id}/delete" => vec![],
            other => panic!("say here what a form sent to {other} looks like"),
        };
        fields.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
    }
}

async fn send(caller: &Caller, token: &str, path: &str, fields: &[(&'static str, String)]) -> Answer {
    let mut all = vec![("csrf", token)];
    all.extend(fields.iter().map(|(name, value)| (*name, value.as_str())));
    caller.post_form(path, &all).await
}

async fn objects_of(owner: &Caller) -> Objects {
    let portfolio = owner.open("10000").await;
    let waits = json!({"type": "limit", "limit_price": "100", "time_in_force": "gtc"});
    let order = owner.place(portfolio, with(trade("buy", "AAPL", "1"), waits)).await;
    let list = owner.post("/api/v1/watchlists", json!({"name": "Mine"})).await.is(201).json()["id"].as_i64();
    owner.put(&format!("/api/v1/watchlists/{}/items/AAPL", list.unwrap())).await.is(204);
    Objects { portfolio, order: order["id"].as_str().unwrap().to_owned(), watchlist: list.unwrap() }
}

/// Everything that belongs to the owner, to compare it afterwards.
async fn state_of(owner: &Caller, objects: &Objects) -> Vec<Value> {
    let own = format!("/api/v1/portfolios/{}", objects.portfolio);
    let list = format!("/api/v1/watchlists/{}", objects.watchlist);
    let mut state = Vec::new();
    for path in [
        own.clone(),
        format!("{own}/composition"),
        format!("{own}/orders"),
        format!("{own}/transactions"),
        list,
    ] {
        state.push(owner.get(&path).await.is(200).json().0);
    }
    state
}

/// Whether the address names an object of one user.
fn is_of_one_user(path: &str) -> bool {
    path.starts_with("/portfolios/{id}") || path.starts_with("/watchlist/{id}")
}

#[tokio::test]
async fn pages_and_forms_of_other_users_objects_are_not_found() {
    let app = TestApp::spawn().await;
    let owner = app.register("mara").await;
    let objects = objects_of(&owner).await;
    let before = state_of(&owner, &objects).await;
    app.register("mallory").await;
    let mallory = app.log_in("mallory").await;
    let token = csrf_token(&mallory.get("/settings").await.is(200).text());
    // Objects that no user has: for Mallory the others' objects look the same.
    let none = Objects {
        portfolio: objects.portfolio + 1000,
        order: "01932f5e-7e4b-7c3a-8f3e-111111111111".to_owned(),
        watchlist: objects.watchlist + 1000,
    };
    let (mut read, mut sent) = (0, 0);
    for page in pages().iter().filter(|page| is_of_one_user(page.path)) {
        let address = objects.address(page.path);
        if page.reads {
            mallory.get(&address).await.is(404);
            read += 1;
        }
        if page.takes_forms {
            send(&mallory, &token, &address, &objects.form(page.path)).await.is(404);
            // An invalid form does not reveal either whether the object exists.
            let (theirs, nobodys) = (
                send(&mallory, &token, &address, &[]).await,
                send(&mallory, &token, &none.address(page.path), &[]).await,
            );
            assert_eq!(theirs.status, nobodys.status, "{address}");
            sent += 1;
        }
    }
    assert!(read >= 8 && sent >= 10, "{read} pages, {sent} forms");
    // Ids inside forms: an order of another portfolio, a watchlist, a token.
    let own = mallory.open("100").await;
    let cancel = format!("/portfolios/{own}/orders/cancel");
    send(&mallory, &token, &cancel, &[("cancel", objects.order.clone())]).await.is(404);
    send(&mallory, &token, "/stocks/MSFT/watch", &[("list", objects.watchlist.to_string())]).await.is(404);
    let tokens = app.log_in("mara").await.get("/api/v1/auth/tokens").await.items();
    let theirs = tokens[0]["id"].as_str().unwrap().to_owned();
    send(&mallory, &token, "/settings/tokens/revoke", &[("revoke", theirs)]).await.is(303);
    assert_eq!(
        state_of(&owner, &objects).await,
        before,
        "the owner's token still works, and nothing has changed"
    );
}

#[tokio::test]
async fn pages_of_administrators_are_not_found_for_other_users() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let mara = app.log_in("mara").await;
    let token = csrf_token(&mara.get("/settings").await.is(200).text());
    let mut tried = 0;
    for page in pages().iter().filter(|page| page.path.starts_with("/admin")) {
        let address = page.path.replace("{id}", "1").replace("{symbol}", "AAPL");
        if page.reads {
            mara.get(&address).await.is(404);
        }
        if page.takes_forms {
            send(&mara, &token, &address, &[]).await.is(404);
        }
        tried += 1;
    }
    assert!(tried >= 15, "{tried} pages");
}

#[tokio::test]
async fn anonymous_visitors_are_sent_to_the_login_from_every_page_but_the_open_ones() {
    let app = TestApp::spawn().await;
    let owner = app.register("mara").await;
    let objects = objects_of(&owner).await;
    let before = state_of(&owner, &objects).await;
    let visitor = app.browser();
    let token = csrf_token(&visitor.get("/login").await.is(200).text());
    let mut tried = 0;
    for page in pages().iter().filter(|page| !OPEN.contains(&page.path)) {
        let address = objects.address(page.path);
        if page.reads {
            let answer = visitor.get(&address).await.is(303);
            let location = answer.header("location").unwrap_or_default();
            assert!(location.starts_with("/login?next="), "{address} leads to {location}");
        }
        if page.takes_forms {
            let fields = if is_of_one_user(page.path) { objects.form(page.path) } else { Vec::new() };
            let answer = send(&visitor, &token, &address, &fields).await.is(303);
            assert_eq!(answer.header("location"), Some("/login"), "{address}");
        }
        tried += 1;
    }
    assert!(tried > 40, "{tried} pages");
    assert_eq!(state_of(&owner, &objects).await, before);
}
