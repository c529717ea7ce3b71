//! Every form is answered with a redirect to a page (POST, 303, GET), whether it was accepted or refused, so that Back
//! and Reload do not send it again.

use std::collections::BTreeSet;

use domain::OrderId;
use serde_json::json;

use crate::harness::{Answer, Caller, PASSWORD, TestApp, csrf_token, page_of, trade, with};

/// The source of the routes, so that this test includes every form.
const ROUTES: &str = include_str!("../../src/pages.rs");

/// All addresses that accept forms.
fn form_routes() -> BTreeSet<String> {
    let services = ROUTES.split(".service(").skip(1);
    let posts = services.filter(|service| service.contains(".post("));
    posts.map(|service| service.split('"').nth(1).unwrap().to_owned()).collect()
}

fn location(answer: &Answer) -> String {
    answer.header("location").expect("a redirect").to_owned()
}

/// Sends forms, follows their redirects, and records the addresses that accepted forms.
struct Sweep {
    browser: Caller,
    seen: BTreeSet<String>,
}

impl Sweep {
    /// Follows the redirect after a form and returns the page.
    async fn follow(&mut self, route: &str, answer: Answer) -> String {
        self.seen.insert(route.to_owned());
        assert_eq!(answer.status, 303, "{route}: {}", answer.text());
        let location = location(&answer);
        assert!(!location.contains(&PASSWORD.replace(' ', "+")), "{route} puts the password into {location}");
        let page = self.browser.get(&location).await;
        assert_eq!(page.status, 200, "{route} leads to {location}");
        let page = page.text();
        assert!(!page.contains(PASSWORD), "{route} repeats the password");
        page
    }

    async fn accepted(&mut self, route: &str, page: &str, target: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.browser.submit(page, target, fields).await;
        let page = self.follow(route, answer).await;
        assert!(!page.contains("notice bad"), "{route} was refused: {page}");
        page
    }

    /// Checks that the page after the redirect shows the errors and keeps the entered values.
    async fn refused(&mut self, route: &str, page: &str, target: &str, fields: &[(&str, &str)], kept: &str) {
        let answer = self.browser.submit(page, target, fields).await;
        let address = answer.header("location").map(str::to_owned);
        let page = self.follow(route, answer).await;
        assert!(page.contains("notice bad"), "{route} says nothing: {page}");
        assert!(page.contains(kept), "{route} does not keep {kept}: {page}");
        let again = self.browser.get(&address.unwrap()).await.is(200).text();
        // The page of a refused preview shows the errors each time it is loaded.
        assert_eq!(again.contains("notice bad"), route.ends_with("/preview"), "{route}: {again}");
    }
}

#[tokio::test]
async fn every_form_is_answered_with_a_redirect_to_a_page() {
    let app = TestApp::spawn().await;
    let mut forms = Sweep { browser: app.browser(), seen: BTreeSet::new() };

    let account =
        |name: &'static str| [("username", name), ("email", "mara@example.org"), ("password", PASSWORD)];
    forms.refused("/register", "/register", "/register", &account("m"), "value=\"mara@example.org\"").await;
    forms.accepted("/register", "/register", "/register", &account("mara")).await;
    forms.accepted("/logout", "/logout", "/logout", &[]).await;
    let login = |password: &'static str| [("username", "mara"), ("password", password)];
    forms.refused("/login", "/login", "/login", &login("a guess or two"), "value=\"mara\"").await;
    forms.accepted("/login", "/login", "/login", &login(PASSWORD)).await;

    let cash = [("name", "Long run"), ("cash_balance", "x")];
    forms.refused("/portfolios", "/portfolios", "/portfolios", &cash, "value=\"Long run\"").await;
    let long = "long ".repeat(2_500);
    let fields = [("name", "n"), ("cash_balance", "100"), ("description", &*long)];
    forms.refused("/portfolios", "/portfolios", "/portfolios", &fields, "long long").await;
    let cash = [("name", "Long run"), ("cash_balance", "10,000.00")];
    forms.accepted("/portfolios", "/portfolios", "/portfolios", &cash).await;
    let id = forms.browser.get("/api/v1/portfolios").await.items()[0]["id"].as_i64().unwrap();
    let own = format!("/portfolios/{id}");
    let settings = format!("{own}/settings");
    let rename = "/portfolios/{id}/settings";
    forms.refused(rename, &settings, &settings, &[("name", "")], "name=\"name\"").await;
    forms.accepted(rename, &settings, &settings, &[("name", "Renamed")]).await;
    let (benchmark, target) = ("/portfolios/{id}/benchmark", format!("{own}/benchmark"));
    let page = format!("{own}/performance?benchmark=MSFT");
    let to = |symbol: &'static str| [("benchmark", symbol)];
    forms.refused(benchmark, &page, &target, &to("NOSUCH"), "There is no stock or fund NOSUCH").await;
    forms.accepted(benchmark, &page, &target, &to("MSFT")).await;
    let (share, target) = ("/portfolios/{id}/visibility", format!("{own}/visibility"));
    let wrong = [("visibility", "nobody")];
    forms.refused(share, &settings, &target, &wrong, "Choose who may read the portfolio").await;
    for visibility in ["link", "public", "private"] {
        forms.accepted(share, &settings, &target, &[("visibility", visibility)]).await;
    }
    let (move_cash, target) = ("/portfolios/{id}/cash", format!("{own}/cash"));
    for (kind, amount) in [("deposit", "much"), ("withdrawal", "1,000,000"), ("withdrawal", "-1")] {
        let kept = format!("value=\"{kind}\" checked");
        let fields = [("type", kind), ("amount", amount)];
        forms.refused(move_cash, &settings, &target, &fields, &format!("value=\"{amount}\"")).await;
        let page = forms.browser.submit(&settings, &target, &fields).await;
        assert!(forms.follow(move_cash, page).await.contains(&kept), "{kind}");
    }
    forms.accepted(move_cash, &settings, &target, &[("type", "deposit"), ("amount", "100")]).await;
    let record = json!({"name": "At my broker", "kind": "record"});
    let record =
        forms.browser.post("/api/v1/portfolios", record).await.is(201).json()["id"].as_i64().unwrap();
    let (upload, page) = ("/portfolios/{id}/import", format!("/portfolios/{record}/import"));
    forms.refused(upload, &page, &page, &[("file", "")], "Choose a file").await;
    let file = "date,action,amount\n2026-11-02,deposit,5\n";
    let preview = forms.browser.submit(&page, &page, &[("file", file)]).await;
    let address = location(&preview);
    assert!(forms.follow(upload, preview).await.contains("1 row to import"));
    let (confirm, target) = ("/portfolios/{id}/import/confirm", format!("{page}/confirm"));
    let hash = address.split("file=").nth(1).unwrap().to_owned();
    forms.accepted(confirm, &address, &target, &[("file", &hash)]).await;
    let limits = "/portfolios/{id}/composition/limits";
    let limits_target = format!("{own}/composition/limits");

    let preview = "/portfolios/{id}/orders/preview";
    let target = format!("{own}/orders/preview");
    let ticket = |quantity: &'static str| {
        [("symbol", "AAPL"), ("side", "buy"), ("quantity", quantity), ("unit", "shares"), ("type", "market")]
    };
    forms.refused(preview, &own, &target, &ticket("ten"), "value=\"ten\"").await;
    let endless = "1".repeat(7_000);
    let fields = [("symbol", &*endless), ("side", "buy"), ("quantity", &*endless), ("unit", "shares")];
    forms.refused(preview, &own, &target, &fields, "1111").await;
    let shown = forms.accepted(preview, &own, &target, &ticket("10")).await;
    assert!(shown.contains("the order is not placed yet"), "{shown}");
    let (place, target) = ("/portfolios/{id}/orders", format!("{own}/orders"));
    let token = csrf_token(&shown);
    for (quantity, key, refused) in [("ten", "a", true), ("9999", "b", true), ("10", "c", false)] {
        let mut fields = vec![("csrf", &*token), ("client_order_id", key)];
        fields.extend(ticket(quantity));
        let answer = forms.browser.post_form(&target, &fields).await;
        let page = forms.follow(place, answer).await;
        assert_eq!(page.contains("notice bad"), refused, "{quantity}: {page}");
        assert!(
            !refused || page.contains(&format!("value=\"{quantity}\"")),
            "{quantity} is not kept: {page}"
        );
    }
    // The composition page shows the limits once something is held.
    let page = format!("{own}/composition");
    forms
        .refused(
            limits,
            &page,
            &limits_target,
            &[("stock_percent", "0"), ("cash_percent", "7")],
            "value=\"7\"",
        )
        .await;
    let shown = forms.accepted(limits, &page, &limits_target, &[("stock_percent", "1")]).await;
    assert!(shown.contains("above your limit of 1%"), "{shown}");
    let waits = json!({"type": "limit", "limit_price": "100", "time_in_force": "gtc"});
    let order = forms.browser.place(id, with(trade("buy", "AAPL", "1"), waits.clone())).await;
    let page = format!("{own}/orders/{}", order["id"].as_str().unwrap());
    let (replace, target) = ("/portfolios/{id}/orders/{order_id}/replace", format!("{page}/replace"));
    let fields = [("quantity", "ten"), ("limit_price", "100"), ("time_in_force", "gtc")];
    forms.refused(replace, &page, &target, &fields, "value=\"ten\"").await;
    let fields = [("quantity", "2"), ("limit_price", "101"), ("time_in_force", "gtc")];
    forms.accepted(replace, &page, &target, &fields).await;
    let order = forms.browser.place(id, with(trade("buy", "AAPL", "1"), waits)).await;
    let order = order["id"].as_str().unwrap();
    let (page, cancel) = (format!("{own}/orders/{order}"), "/portfolios/{id}/orders/cancel");
    let target = format!("{own}/orders/cancel");
    forms.accepted(cancel, &page, &target, &[("cancel", order)]).await;
    let answer = forms.browser.post_form(&target, &[("csrf", &*token), ("cancel", order)]).await;
    assert!(forms.follow(cancel, answer).await.contains("notice flash bad"));

    forms.refused("/watchlist", "/watchlist", "/watchlist", &[("name", " ")], "name=\"name\"").await;
    forms.accepted("/watchlist", "/watchlist", "/watchlist", &[("name", "Tech")]).await;
    let list = forms.browser.get("/api/v1/watchlists").await.json()["items"][0]["id"].clone();
    let (page, list) = (format!("/watchlist?list={list}"), format!("/watchlist/{list}"));
    forms.refused("/watchlist/{id}", &page, &list, &[("name", "")], "name=\"name\"").await;
    forms.accepted("/watchlist/{id}", &page, &list, &[("name", "Renamed")]).await;
    let add = format!("{list}/add");
    forms.refused("/watchlist/{id}/add", &page, &add, &[("symbols", "AAPL, NOPE")], "value=\"NOPE\"").await;
    forms.accepted("/watchlist/{id}/add", &page, &add, &[("symbols", "MSFT")]).await;
    let remove = format!("{list}/remove");
    forms.accepted("/watchlist/{id}/remove", &page, &remove, &[("symbol", "AAPL")]).await;
    forms.accepted("/stocks/{symbol}/watch", "/stocks/JPM", "/stocks/JPM/watch", &[("list", "")]).await;
    forms.accepted("/watchlist/{id}/delete", &page, &format!("{list}/delete"), &[]).await;

    let (profile, target) = ("/settings/profile", "/settings/profile");
    let fields = [("username", "mara"), ("email", "nowhere"), ("first_name", "Mara")];
    forms.refused(profile, "/settings", target, &fields, "value=\"nowhere\"").await;
    let fields = [("username", "mara"), ("email", "m@example.org"), ("first_name", "Mara")];
    forms.accepted(profile, "/settings", target, &fields).await;
    let fields = [("theme", "dark"), ("gain", "green")];
    forms.accepted("/settings/display", "/settings", "/settings/display", &fields).await;
    let (passwords, new) = ("/settings/password", "another fence around the yard");
    let fields = [("current_password", "a guess or two"), ("new_password", new)];
    forms.refused(passwords, "/settings", passwords, &fields, "current_password").await;
    let fields = [("current_password", PASSWORD), ("new_password", new)];
    forms.accepted(passwords, "/settings", passwords, &fields).await;
    forms.browser.log_in("mara", new).await.is(200);
    let shown = forms.browser.get("/settings").await.is(200).text();
    let (_, session) = shown.split_once("name=\"end\" value=\"").unwrap_or(("", "0\""));
    let session = session.split('"').next().unwrap();
    forms.accepted("/settings/sessions", "/settings", "/settings/sessions", &[("end", session)]).await;
    let tokens = "/settings/tokens";
    let fields = [("name", "script"), ("scope", "read"), ("expires_on", "soon")];
    forms.refused(tokens, "/settings", tokens, &fields, "value=\"soon\"").await;
    forms.refused(tokens, "/settings", tokens, &[("name", "")], "name=\"name\"").await;
    let shown = forms.accepted(tokens, "/settings", tokens, &[("name", "script"), ("scope", "read")]).await;
    assert!(shown.contains("class=\"secret\""), "{shown}");
    let token = forms.browser.get("/api/v1/auth/tokens").await.items()[0]["id"].clone();
    let token = token.as_str().unwrap();
    let revoke = "/settings/tokens/revoke";
    forms.accepted(revoke, "/settings", revoke, &[("revoke", token)]).await;

    let eve = app.register("eve").await.id;
    let mut admin = Sweep { browser: app.admin().await, seen: std::mem::take(&mut forms.seen) };
    let page = format!("/admin/users/{eve}");
    admin.accepted("/admin/users/{id}", &page, &page, &[("is_active", "false")]).await;
    let delete = format!("{page}/delete");
    admin.refused("/admin/users/{id}/delete", &page, &delete, &[("confirm", "eva")], "value=\"eva\"").await;
    admin.accepted("/admin/users/{id}/delete", &page, &delete, &[("confirm", "eve")]).await;
    admin.accepted("/admin/jobs", "/admin/jobs", "/admin/jobs", &[("run", "prune")]).await;
    // No price and no split is in doubt here; `splits.rs` and `providers.rs` test such prices and splits.
    let token = csrf_token(&admin.browser.get("/admin/jobs").await.is(200).text());
    let fields =
        [("csrf", &*token), ("symbol", "AAPL"), ("resolution", "withdraw"), ("reason", "It is right.")];
    for (route, target) in [
        ("/admin/prices", "/admin/prices"),
        ("/admin/stocks/{symbol}/split", "/admin/stocks/AAPL/split"),
        ("/admin/stocks/{symbol}/close-out", "/admin/stocks/AAPL/close-out"),
    ] {
        let answer = admin.browser.post_form(target, &fields).await;
        assert!(admin.follow(route, answer).await.contains("notice flash bad"), "{route}");
    }
    let (page, target) = ("/admin/stocks/AAPL", "/admin/stocks/AAPL/delisting");
    let fields = [("resolution", "confirm"), ("on", ""), ("reason", "It is gone.")];
    admin.refused("/admin/stocks/{symbol}/delisting", page, target, &fields, "value=\"It is gone.\"").await;
    let (page, target) = ("/admin/stocks/AAPL", "/admin/stocks/AAPL/rename");
    let fields = [("to", "APPL"), ("company_name", ""), ("on", ""), ("reason", "It is called so.")];
    admin.refused("/admin/stocks/{symbol}/rename", page, target, &fields, "value=\"It is called so.\"").await;
    forms.seen = std::mem::take(&mut admin.seen);

    // Last, because these end the portfolio and the account.
    let (reset, target) = ("/portfolios/{id}/reset", format!("{own}/reset"));
    forms.refused(reset, &settings, &target, &[("cash_balance", "x")], "value=\"x\"").await;
    forms.accepted(reset, &settings, &target, &[("cash_balance", "500")]).await;
    let delete = format!("{own}/delete");
    forms.refused("/portfolios/{id}/delete", &settings, &delete, &[("confirm", "no")], "value=\"no\"").await;
    forms.accepted("/portfolios/{id}/delete", &settings, &delete, &[("confirm", "Renamed")]).await;
    let delete = "/settings/delete";
    forms.refused(delete, "/settings", delete, &[("password", "a guess or two")], "type=\"password\"").await;
    forms.accepted(delete, "/settings", delete, &[("password", new)]).await;

    assert_eq!(forms.seen, form_routes(), "every form has its case here");
}

/// Errors that the user cannot correct in the form have a page of their own.
#[tokio::test]
async fn errors_that_a_form_cannot_correct_have_an_error_page() {
    let app = TestApp::spawn().await;
    let portfolio = app.register("mara").await.open("1000").await;
    let theirs = app.register("eve").await.open("1000").await;
    let browser = app.log_in("mara").await;
    let token = csrf_token(&browser.get("/settings").await.is(200).text());
    let csrf = ("csrf", &*token);
    let own = format!("/portfolios/{portfolio}");
    browser.post_form("/portfolios", &[("csrf", "0"), ("name", "a")]).await.is(403);
    browser.post_form("/portfolios", &[csrf, ("description", "no name")]).await.is(400);
    let unknown = OrderId(uuid::Uuid::now_v7()).to_string();
    browser.post_form(&format!("{own}/orders/cancel"), &[csrf, ("cancel", &unknown)]).await.is(404);
    // The same with fields that would be invalid in the user's own portfolio.
    for (part, field) in [
        ("settings", ("name", "")),
        ("cash", ("amount", "x")),
        ("reset", ("cash_balance", "x")),
        ("delete", ("confirm", "")),
        ("orders/preview", ("quantity", "x")),
        ("orders", ("client_order_id", "x")),
        ("composition/limits", ("stock_percent", "x")),
        ("import", ("file", "")),
        ("import/confirm", ("file", "x")),
    ] {
        let fields = [csrf, field, ("type", "deposit")];
        browser.post_form(&format!("/portfolios/{theirs}/{part}"), &fields).await.is(404);
    }
}

#[tokio::test]
async fn a_message_is_shown_once_and_to_the_browser_that_caused_it() {
    let app = TestApp::spawn().await;
    let portfolio = app.register("mara").await.open("1000").await;
    let (here, elsewhere) = (app.log_in("mara").await, app.log_in("mara").await);
    let page = format!("/portfolios/{portfolio}/settings");
    let done = location(&here.submit(&page, &page, &[("name", "Renamed")]).await.is(303));
    let says = async |browser: &Caller| browser.get(&done).await.is(200).text().contains("Renamed is saved.");
    elsewhere.get("/settings").await.is(200);
    assert!(!says(&elsewhere).await, "another browser of the same user");
    assert!(!app.browser().get(&done).await.text().contains("is saved"), "a visitor");
    here.head(&done).await.is(200);
    assert!(says(&here).await);
    assert!(!says(&here).await, "a second time");
}

#[tokio::test]
async fn tabs_do_not_take_each_others_messages() {
    let app = TestApp::spawn().await;
    let portfolio = app.register("mara").await.open("1000").await;
    let browser = app.log_in("mara").await;
    let page = format!("/portfolios/{portfolio}/settings");
    let mut tabs = Vec::new();
    for name in ["First", "", "Third"] {
        tabs.push((name, location(&browser.submit(&page, &page, &[("name", name)]).await.is(303))));
    }
    // In between, another tab loads a page.
    browser.get(&page).await.is(200);
    for (name, address) in tabs.into_iter().rev() {
        let shown = browser.get(&address).await.is(200).text();
        match name {
            "" => assert!(shown.contains("id=\"rename-name-error\""), "{shown}"),
            name => assert!(shown.contains(&format!("{name} is saved.")), "{shown}"),
        }
    }
}

#[tokio::test]
async fn an_unread_message_expires() {
    let app = TestApp::spawn().await;
    let portfolio = app.register("mara").await.open("1000").await;
    let browser = app.log_in("mara").await;
    let page = format!("/portfolios/{portfolio}/settings");
    let done = location(&browser.submit(&page, &page, &[("name", "Renamed")]).await.is(303));
    app.pass(chrono::TimeDelta::minutes(11));
    assert!(!browser.get(&done).await.is(200).text().contains("is saved"));
}

#[tokio::test]
async fn a_reloaded_preview_is_of_the_same_order_which_is_placed_once() {
    let app = TestApp::spawn().await;
    let portfolio = app.register("mara").await.open("10000").await;
    let browser = app.log_in("mara").await;
    let own = format!("/portfolios/{portfolio}");
    let ticket = [("symbol", "AAPL"), ("side", "buy"), ("quantity", "60"), ("unit", "shares")];
    let preview =
        async || location(&browser.submit(&own, &format!("{own}/orders/preview"), &ticket).await.is(303));
    let key = |html: &str| {
        let (_, rest) = html.split_once("name=\"client_order_id\" value=\"").expect("a key");
        rest.split('"').next().unwrap().to_owned()
    };
    let address = preview().await;
    let shown = browser.get(&address).await.is(200).text();
    assert_eq!(key(&shown), key(&browser.get(&address).await.is(200).text()));
    assert_ne!(key(&shown), key(&browser.get(&preview().await).await.is(200).text()), "another order");

    let (token, name) = (csrf_token(&shown), key(&shown));
    let mut fields = vec![("csrf", &*token), ("client_order_id", &*name)];
    fields.extend(ticket);
    let orders = format!("{own}/orders");
    // A double click sends the form twice.
    let [first, second] = [browser.post_form(&orders, &fields), browser.post_form(&orders, &fields)];
    let (first, second) = tokio::join!(first, second);
    let receipts = [location(&first.is(303)), location(&second.is(303))];
    let page = |address: &str| page_of(address).to_owned();
    assert_eq!(page(&receipts[0]), page(&receipts[1]));
    // The user goes back and confirms once more.
    let again = location(&browser.post_form(&orders, &fields).await.is(303));
    assert_eq!(page(&again), page(&receipts[0]));
    assert!(browser.get(&again).await.is(200).text().contains("This order was already placed."));
    assert_eq!(browser.get(&format!("/api/v1{orders}")).await.items().len(), 1);
    assert_eq!(browser.cash(portfolio).await, "1000.00");

    // The user goes back and reloads: the page says that the order is placed, although the cash would not pay for
    // another.
    let shown = browser.get(&address).await.is(200).text();
    assert!(shown.contains("This order was already placed."), "{shown}");
    assert!(shown.contains(&format!("href=\"{}\"", page(&receipts[0]))), "{shown}");
    assert!(!shown.contains("name=\"client_order_id\""), "{shown}");
}

#[tokio::test]
async fn a_preview_without_a_client_order_id_gets_one() {
    let app = TestApp::spawn().await;
    let portfolio = app.register("mara").await.open("10000").await;
    let browser = app.log_in("mara").await;
    let own = format!("/portfolios/{portfolio}/orders/preview?symbol=AAPL&side=buy&quantity=1&unit=shares");
    for address in [own.clone(), format!("{own}&client_order_id=nonsense")] {
        let named = location(&browser.get(&address).await.is(303));
        assert!(browser.get(&named).await.is(200).text().contains("the order is not placed yet"), "{named}");
    }
}
