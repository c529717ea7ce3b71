//! Portfolios that their owners share: readers can read everything in them, learn nothing else, and change nothing. The
//! routes come from the API's description and from the source of the pages, so that new ones are included.

use std::collections::BTreeSet;

use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::contract::DOCUMENT;
use crate::harness::{Answer, Caller, PASSWORD, TestApp, csrf_token, trade, with};

const PAGES: &str = include_str!("../../src/pages.rs");
/// Pages of a portfolio that only its owner may read.
const FOR_THE_OWNER: [&str; 3] =
    ["/portfolios/{id}/settings", "/portfolios/{id}/orders/preview", "/portfolios/{id}/import"];
/// Texts about the owner that no reader may see.
const SECRETS: [&str; 4] = ["mara", "example.org", "Secret plan", PASSWORD];

struct Shared {
    app: TestApp,
    id: i64,
    order: String,
}

impl Shared {
    /// Creates a portfolio with positions, transactions, snapshots and a working order, and another portfolio of the
    /// same owner.
    async fn new() -> Self {
        let app = TestApp::spawn().await;
        let owner = app.register("mara").await;
        let id = owner.open("10000").await;
        owner.buy(id, "AAPL", "10").await.is(201);
        owner.post("/api/v1/portfolios", json!({"name": "Secret plan"})).await.is(201);
        let waits = json!({"type": "limit", "limit_price": "100", "time_in_force": "gtc"});
        let order = owner.place(id, with(trade("buy", "AAPL", "1"), waits)).await;
        let order = order["id"].as_str().unwrap().to_owned();
        Self { app, id, order }
    }

    /// An API client of the owner.
    async fn owner(&self) -> Caller {
        self.app.log_in("mara").await
    }

    async fn share(&self, visibility: &str) -> Option<String> {
        let own = format!("/api/v1/portfolios/{}", self.id);
        let changed = self.owner().await.patch(&own, json!({"visibility": visibility})).await.is(200).json();
        assert_eq!(changed["visibility"], visibility);
        changed["link_key"].as_str().map(str::to_owned)
    }

    fn address(&self, route: &str, portfolio: &str) -> String {
        let path = route
            .replace("{id}", portfolio)
            .replace("{order_id}", &self.order)
            .replace("{symbol}", "AAPL")
            .replace("{figure}", "total_value")
            .replace("{table}", "positions");
        assert!(!path.contains('{'), "say here what stands for the rest of {path}");
        path
    }

    async fn state(&self) -> Vec<Value> {
        let (owner, own) = (self.owner().await, format!("/api/v1/portfolios/{}", self.id));
        let mut state = Vec::new();
        for part in ["", "/orders", "/transactions"] {
            state.push(owner.get(&format!("{own}{part}")).await.is(200).json().0);
        }
        state
    }
}

fn tells_nothing_else(answer: &Answer) {
    let text = answer.text();
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

/// Method and path of all operations on a portfolio.
fn operations() -> Vec<(Method, String)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let of_portfolios = paths.iter().filter(|(path, _)| path.starts_with("/api/v1/portfolios/{id}"));
    let operations: Vec<_> = of_portfolios
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase().parse().unwrap(), path.clone()))
        })
        .collect();
    assert!(operations.len() >= 20, "{operations:?}");
    operations
}

/// Checks that others can read the path if `is_admitted`, and only then.
async fn may_read(shared: &Shared, path: &str, is_admitted: bool) {
    let eve = shared.app.log_in("eve").await;
    for (reader, refused) in [(shared.app.anonymous(), 401), (eve, 404)] {
        let answer = reader.get(path).await;
        if is_admitted {
            tells_nothing_else(&answer.is(200));
        } else {
            answer.is(refused);
        }
    }
    // Wrong credentials are refused even where no credentials are needed.
    shared.app.with_token("sy_x").get(path).await.is_refused(401, "unauthorized");
}

#[tokio::test]
async fn api_reads_follow_the_visibility() {
    let shared = Shared::new().await;
    shared.app.register("eve").await;
    let mut key = "0".repeat(32);
    for visibility in ["private", "link", "public"] {
        key = shared.share(visibility).await.unwrap_or(key);
        let mut reads = 0;
        for (_, route) in operations().iter().filter(|(method, _)| *method == Method::GET) {
            may_read(&shared, &shared.address(route, &shared.id.to_string()), visibility == "public").await;
            may_read(&shared, &shared.address(route, &key), visibility == "link").await;
            reads += 1;
        }
        assert!(reads >= 10, "{reads} reads");
    }
    // Only readers with access learn that the query is invalid.
    let wrong = |portfolio: &str| format!("/api/v1/portfolios/{portfolio}/orders?limit=x");
    shared.app.anonymous().get(&wrong(&shared.id.to_string())).await.is_about("limit");
    shared.app.anonymous().get(&wrong(&key)).await.is_refused(401, "unauthorized");
}

#[tokio::test]
async fn other_users_cannot_write_through_the_api_at_any_visibility() {
    let shared = Shared::new().await;
    let eve = shared.app.register("eve").await;
    for visibility in ["link", "public"] {
        let key = shared.share(visibility).await;
        let before = shared.state().await;
        for portfolio in key.into_iter().chain([shared.id.to_string()]) {
            for (method, route) in operations().iter().filter(|(method, _)| *method != Method::GET) {
                let body = match route.rsplit('/').next().unwrap() {
                    "cash" => json!({"type": "deposit", "amount": "1.00"}),
                    "orders" | "preview" => trade("buy", "AAPL", "1"),
                    "{order_id}" => json!({"limit_price": "101.00"}),
                    "limits" => json!({"stock_percent": 30}),
                    "reset" => json!({}),
                    "import" => json!({"csv": "date,action,amount\n2026-11-02,deposit,5\n"}),
                    _ => json!({"name": "Taken", "visibility": "public"}),
                };
                let path = shared.address(route, &portfolio);
                let json = "application/json";
                for (caller, status) in [(shared.app.anonymous(), 401), ((*eve).clone(), 404)] {
                    caller.tell(method.clone(), &path, json, body.to_string()).await.is(status);
                }
            }
        }
        assert_eq!(shared.state().await, before, "{visibility}");
    }
}

struct Page {
    route: &'static str,
    reads: bool,
    takes_forms: bool,
}

fn pages() -> Vec<Page> {
    let services = PAGES.split(".service(").skip(1);
    let pages = services.map(|service| Page {
        route: service.split('"').nth(1).unwrap(),
        reads: service.contains(".get("),
        takes_forms: service.contains(".post("),
    });
    let pages: Vec<Page> = pages.filter(|page| page.route.starts_with("/portfolios/{id}")).collect();
    assert!(pages.len() >= 14, "{} pages", pages.len());
    pages
}

/// The addresses of portfolios that a page links to.
fn links(page: &str) -> BTreeSet<String> {
    let links = Regex::new("(?:href|src|action|data-[a-z]+)=\"(/(?:api/v1/)?portfolios/[^\"#]*)").unwrap();
    links.captures_iter(page).map(|link| link[1].replace("&amp;", "&").replace("&#x2F;", "/")).collect()
}

#[tokio::test]
async fn pages_follow_the_visibility_and_link_only_to_readable_pages() {
    let shared = Shared::new().await;
    shared.app.register("eve").await;
    let (visitor, eve) = (shared.app.browser(), shared.app.log_in("eve").await);
    let id = shared.id.to_string();
    for visibility in ["private", "link", "public"] {
        let key = shared.share(visibility).await.unwrap_or("0".repeat(32));
        let (mut led_to, mut linked_stocks) = (BTreeSet::new(), false);
        for page in pages().iter().filter(|page| page.reads) {
            for (portfolio, admitted) in [(&id, visibility == "public"), (&key, visibility == "link")] {
                let address = shared.address(page.route, portfolio);
                let readable = admitted && !FOR_THE_OWNER.contains(&page.route);
                let (theirs, visited) = (eve.get(&address).await, visitor.get(&address).await);
                if !readable {
                    assert_eq!((theirs.status, visited.status), (404, 303), "{visibility}: {address}");
                    assert!(visited.header("location").unwrap().starts_with("/login?next="), "{address}");
                    continue;
                }
                assert_eq!((theirs.status, visited.status), (200, 200), "{visibility}: {address}");
                tells_nothing_else(&visited);
                tells_nothing_else(&theirs);
                assert!(!visited.text().contains("method=\"post\""), "{address} shows a form");
                let has_stock_link = |answer: &Answer| answer.text().contains("href=\"/stocks/");
                assert!(!has_stock_link(&visited), "{address} has a link that leads to the login");
                linked_stocks |= has_stock_link(&theirs);
                led_to.extend(links(&visited.text()));
            }
        }
        for address in &led_to {
            visitor.get(address).await.is(200);
        }
        assert_eq!(linked_stocks, visibility != "private", "users can open the pages of stocks");
        assert_eq!(led_to.len() > 10, visibility != "private", "{visibility}: {led_to:?}");
    }
}

#[tokio::test]
async fn other_users_cannot_send_forms_of_a_portfolio_at_any_visibility() {
    let shared = Shared::new().await;
    shared.app.register("eve").await;
    let (visitor, eve) = (shared.app.browser(), shared.app.log_in("eve").await);
    let token = csrf_token(&eve.get("/settings").await.is(200).text());
    let visitors_token = csrf_token(&visitor.get("/login").await.is(200).text());
    for visibility in ["link", "public"] {
        let key = shared.share(visibility).await;
        let before = shared.state().await;
        for portfolio in key.into_iter().chain([shared.id.to_string()]) {
            for page in pages().iter().filter(|page| page.takes_forms) {
                let address = shared.address(page.route, &portfolio);
                let fields = [
                    ("name", "Taken"),
                    ("visibility", "private"),
                    ("type", "deposit"),
                    ("amount", "1.00"),
                    ("confirm", "Growth"),
                    ("cancel", &*shared.order),
                    ("limit_price", "101.00"),
                    ("cash_balance", "1.00"),
                ];
                let with_token = |token| [&[("csrf", token)], &fields[..]].concat();
                let answer = eve.post_form(&address, &with_token(&*token)).await;
                assert!(matches!(answer.status, 400 | 404), "{address}: {}", answer.status);
                let answer = visitor.post_form(&address, &with_token(&*visitors_token)).await;
                assert!(matches!(answer.status, 303 | 400 | 404), "{address}: {}", answer.status);
                assert!(answer.status != 303 || answer.header("location") == Some("/login"), "{address}");
            }
        }
        assert_eq!(shared.state().await, before, "{visibility}");
    }
}

#[tokio::test]
async fn the_owner_shares_a_portfolio_on_its_page_and_sees_the_address() {
    let shared = Shared::new().await;
    let owner = shared.owner().await;
    let settings = format!("/portfolios/{}/settings", shared.id);
    let target = format!("/portfolios/{}/visibility", shared.id);
    let answer = owner.submit(&settings, &target, &[("visibility", "link")]).await.is(303);
    let shown = owner.follow(&answer).await.is(200).text();
    let listed = owner.get(&format!("/api/v1/portfolios/{}", shared.id)).await.json();
    let key = listed["link_key"].as_str().unwrap().to_owned();
    assert!(shown.contains(&format!("/portfolios/{key}")), "{shown}");
    // At the address with the link key the owner has working forms.
    let page = format!("/portfolios/{key}");
    let ticket =
        [("symbol", "AAPL"), ("side", "buy"), ("quantity", "1"), ("unit", "shares"), ("type", "market")];
    owner.submit(&page, &format!("/portfolios/{}/orders/preview", shared.id), &ticket).await.is(303);
    let reader = shared.app.browser().get(&page).await.is(200).text();
    assert!(reader.contains("that its owner shares"), "{reader}");
}

#[tokio::test]
async fn a_wrong_visibility_is_refused() {
    let shared = Shared::new().await;
    let own = format!("/api/v1/portfolios/{}", shared.id);
    let owner = shared.owner().await;
    owner.patch(&own, json!({"visibility": "friends"})).await.is_about("visibility");
    assert_eq!(owner.get(&own).await.json()["visibility"], "private");
}

#[tokio::test]
async fn a_shared_portfolio_is_in_no_list_of_others_and_in_no_cache() {
    let shared = Shared::new().await;
    let eve = shared.app.register("eve").await;
    let program = shared.app.log_in("eve").await;
    for visibility in ["link", "public"] {
        let key = shared.share(visibility).await;
        let address = key.clone().unwrap_or(shared.id.to_string());
        for list in ["/api/v1/portfolios", "/api/v1/portfolios?archived=true", "/api/v1/portfolios/overview"]
        {
            let found = eve.get(list).await;
            let text = found.text();
            assert!(!text.contains("Growth") && key.iter().all(|key| !text.contains(key)), "{list}: {text}");
        }
        for page in ["/", "/portfolios", "/stocks/AAPL"] {
            let text = program.get(page).await.is(200).text();
            assert!(!text.contains(&format!("/portfolios/{address}")), "{page}: {text}");
        }
        for path in [
            format!("/portfolios/{address}"),
            format!("/portfolios/{address}/transactions.csv"),
            format!("/api/v1/portfolios/{address}"),
            format!("/api/v1/portfolios/{address}/valuation"),
        ] {
            for reader in [shared.app.browser(), shared.app.log_in("eve").await] {
                let answer = reader.get(&path).await.is(200);
                assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn the_home_page_links_to_the_public_portfolios_of_the_demonstration() {
    let shared = Shared::new().await;
    let visitor = shared.app.browser();
    let link = format!("href=\"/portfolios/{}\"", shared.id);
    let owner = shared.owner().await.get("/api/v1/users/me").await.json()["id"].as_i64().unwrap();
    shared.app.sql(&format!("INSERT INTO installation (key, value) VALUES ('demonstration', '{owner}')"));
    assert!(!visitor.get("/").await.is(200).text().contains(&link), "a private portfolio is not shown");
    shared.share("public").await;
    let home = visitor.get("/").await.is(200).text();
    assert!(home.contains(&link), "{home}");
    assert!(!home.contains("Secret plan"));
}
