//! The pages: logins and forms as a browser without scripts uses them, and a walk through all pages.

use std::collections::{BTreeSet, HashSet, VecDeque};

use serde_json::json;

use crate::harness::{Answer, Caller, PASSWORD, TestApp, csrf_token, page_of, trade, with};

fn location(answer: &Answer) -> &str {
    answer.header("location").expect("a redirect")
}

fn is_page(answer: &Answer) -> bool {
    answer.header("content-type") == Some("text/html; charset=utf-8")
}

/// Returns the id of a portfolio and a browser of its owner.
async fn mara(app: &TestApp) -> (Caller, i64) {
    let portfolio = app.register("mara").await.open("10000.00").await;
    (app.log_in("mara").await, portfolio)
}

#[tokio::test]
async fn anonymous_visitors_are_redirected_to_the_login_and_back() {
    let app = TestApp::spawn().await;
    let (_, portfolio) = mara(&app).await;
    let browser = app.browser();
    for (page, login) in [
        ("/portfolios", "/login?next=%2Fportfolios"),
        ("/settings", "/login?next=%2Fsettings"),
        ("/admin", "/login?next=%2Fadmin"),
        ("/stocks?search=a%26b&x=1", "/login?next=%2Fstocks%3Fsearch%3Da%2526b%26x%3D1"),
    ] {
        assert_eq!(location(&browser.get(page).await.is(303)), login);
    }
    let wanted = format!("/portfolios/{portfolio}?range=1M");
    let to_login = browser.get(&wanted).await.is(303);
    let login = location(&to_login).to_owned();
    let form = browser.get(&login).await.is(200);
    // The form keeps the address.
    assert!(form.text().contains(&format!("name=\"next\" value=\"{wanted}\"")), "{}", form.text());
    let fields = [("username", "mara"), ("password", PASSWORD), ("next", &wanted)];
    let logged_in = browser.submit(&login, "/login", &fields).await.is(303);
    assert_eq!(location(&logged_in), wanted);
    browser.get(&wanted).await.is(200);
}

#[tokio::test]
async fn a_form_sent_after_the_session_ended_redirects_to_the_login() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let token = csrf_token(&browser.get("/settings").await.is(200).text());
    app.pass(chrono::TimeDelta::days(31));
    let fields = [("csrf", &*token), ("type", "deposit"), ("amount", "1")];
    let late = browser.post_form(&format!("/portfolios/{portfolio}/cash"), &fields).await.is(303);
    // The login then leads to the start page, because the target of a form is not a page.
    assert_eq!(location(&late), "/login");
}

#[tokio::test]
async fn a_login_never_redirects_to_another_site() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    for next in [
        "//evil.example",
        "///evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/a\r\nSet-Cookie: x=y",
        "",
    ] {
        let browser = app.browser();
        let fields = [("username", "mara"), ("password", PASSWORD), ("next", next)];
        let logged_in = browser.submit("/login", "/login", &fields).await.is(303);
        assert_eq!(location(&logged_in), "/portfolios", "{next}");
        assert_eq!(logged_in.set_cookie("x"), None);
        // A logged-in user is redirected at once, by the same rule.
        let encoded: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let again = browser.get(&format!("/login?next={encoded}")).await.is(303);
        assert_eq!(location(&again), "/portfolios", "{next}");
    }
}

#[tokio::test]
async fn a_refused_login_keeps_the_name_and_not_the_password() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.browser();
    let fields = [("username", "mara"), ("password", "not her password"), ("next", "/settings")];
    let refused = browser.refused("/login", "/login", &fields).await;
    let html = refused.text();
    assert!(
        is_page(&refused) && html.contains("value=\"mara\"") && html.contains("value=\"/settings\""),
        "{html}"
    );
    assert!(!html.contains("not her password"));
    assert_eq!(refused.set_cookie("session"), None);
    for _ in 0..4 {
        browser.refused("/login", "/login", &fields).await;
    }
    let slowed = browser.submit("/login", "/login", &fields).await.is(429);
    assert!(is_page(&slowed) && slowed.header("retry-after").is_some());
}

#[tokio::test]
async fn a_form_without_its_token_does_nothing() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let token = csrf_token(&browser.get("/settings").await.is(200).text());
    let stranger = csrf_token(&app.browser().get("/login").await.is(200).text());
    let wrong = format!("{:0>64}", "");
    let cash = format!("/portfolios/{portfolio}/cash");
    let fields = [("type", "deposit"), ("amount", "1")];
    for bad in [None, Some(""), Some("x"), Some("é"), Some(&*wrong), Some(&*stranger), Some(&token[..62])] {
        let mut sent = fields.to_vec();
        sent.extend(bad.map(|token| ("csrf", token)));
        let refused = browser.post_form(&cash, &sent).await.is(403);
        assert!(is_page(&refused) && refused.text().contains("reload"), "{bad:?}");
    }
    // The right token, but posted from another site's page.
    let sent = [&fields[..], &[("csrf", &*token)]].concat();
    browser.with("origin", "https://evil.example").post_form(&cash, &sent).await.is(403);
    browser.with("sec-fetch-site", "cross-site").post_form(&cash, &sent).await.is(403);
    // The right token, but without its cookie.
    let session = app.anonymous().log_in("mara", PASSWORD).await.cookie("session").unwrap();
    app.anonymous().with_cookie("session", &session).post_form(&cash, &sent).await.is(403);
    assert_eq!(browser.cash(portfolio).await, "10000.00");

    let moved = browser.with("origin", app.origin()).with("sec-fetch-site", "same-origin");
    let answer = moved.post_form(&cash, &sent).await.is(303);
    assert_eq!(page_of(location(&answer)), format!("/portfolios/{portfolio}"));
    assert_eq!(browser.cash(portfolio).await, "10001.00");
}

#[tokio::test]
async fn login_and_registration_need_their_token_too() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.browser();
    browser.get("/login").await.is(200);
    let refused = browser.post_form("/login", &[("username", "mara"), ("password", PASSWORD)]).await.is(403);
    assert_eq!(refused.set_cookie("session"), None);
    let fields = [("username", "sam"), ("email", "sam@example.org"), ("password", PASSWORD)];
    browser.post_form("/register", &fields).await.is(403);
    assert_eq!(app.services.operations().totals().await.unwrap().users, 1);
}

#[tokio::test]
async fn a_form_accepts_only_form_data() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let token = csrf_token(&browser.get("/settings").await.is(200).text());
    let body = json!({"csrf": token, "type": "deposit", "amount": "1"});
    let refused = browser.post(&format!("/portfolios/{portfolio}/cash"), body).await.is(400);
    assert!(is_page(&refused));
    let large = [("csrf", &*token), ("type", "deposit"), ("amount", &"1".repeat(100_000))];
    let refused = browser.post_form(&format!("/portfolios/{portfolio}/cash"), &large).await.is(413);
    assert!(is_page(&refused));
    assert_eq!(browser.cash(portfolio).await, "10000.00");
}

#[tokio::test]
async fn a_new_user_is_logged_in_and_opens_the_first_portfolio() {
    let app = TestApp::spawn().await;
    let browser = app.browser();
    let short = [("username", "mara"), ("email", "mara@example.org"), ("password", "short")];
    let refused = browser.refused("/register", "/register", &short).await;
    assert!(
        refused.text().contains("value=\"mara@example.org\"") && !refused.text().contains("value=\"short\"")
    );
    let fields = [("username", "mara"), ("email", "mara@example.org"), ("password", PASSWORD)];
    let registered = browser.submit("/register", "/register", &fields).await.is(303);
    assert_eq!(location(&registered), "/portfolios");
    assert!(registered.set_cookie("session").is_some());

    let refused =
        browser.refused("/portfolios", "/portfolios", &[("name", ""), ("cash_balance", "7,5")]).await;
    assert!(refused.text().contains("value=\"7,5\""));
    let fields = [("name", "Growth"), ("cash_balance", "12,500.50")];
    let opened = browser.submit("/portfolios", "/portfolios", &fields).await.is(303);
    let page = browser.get(location(&opened)).await.is(200).text();
    assert!(page.contains("<h1>Growth</h1>"), "{page}");
    let listed = browser.get("/api/v1/portfolios").await.is(200).items();
    assert_eq!(listed[0]["cash_balance"], "12500.50");

    // A logged-in user is redirected from both pages.
    assert_eq!(location(&browser.get("/register").await.is(303)), "/portfolios");
    assert_eq!(location(&browser.get("/login").await.is(303)), "/portfolios");
}

#[tokio::test]
async fn a_logout_ends_the_session() {
    let app = TestApp::spawn().await;
    let (browser, _) = mara(&app).await;
    browser.get("/logout").await.is(200);
    browser.get("/portfolios").await.is(200);
    browser.submit("/portfolios", "/logout", &[]).await.is(303);
    assert_eq!(location(&browser.get("/portfolios").await.is(303)), "/login?next=%2Fportfolios");
    browser.get("/api/v1/users/me").await.is_refused(401, "unauthorized");
}

/// Sends the order ticket and returns the hidden fields of the preview.
async fn preview(browser: &Caller, portfolio: i64, ticket: &[(&str, &str)]) -> Vec<(String, String)> {
    let page = format!("/portfolios/{portfolio}");
    let answer = browser.submit(&page, &format!("{page}/orders/preview"), ticket).await.is(303);
    let preview = browser.follow(&answer).await.is(200).text();
    let (_, form) = preview.split_once(&format!("action=\"{page}/orders")).expect("a form to confirm");
    let (form, _) = form.split_once("</form>").unwrap();
    form.split("<input type=\"hidden\" ")
        .skip(1)
        .map(|input| {
            let part = |name: &str| {
                let (_, rest) = input.split_once(&format!("{name}=\"")).unwrap();
                rest.split('"').next().unwrap().to_owned()
            };
            (part("name"), part("value"))
        })
        .collect()
}

#[tokio::test]
async fn an_order_is_previewed_and_confirmed_and_has_a_receipt() {
    let app = TestApp::spawn().await;
    app.prices.set_bid_and_ask("AAPL", "149.95", "150.05");
    let (browser, portfolio) = mara(&app).await;
    let ticket = [("symbol", "aapl"), ("side", "buy"), ("quantity", "10"), ("unit", "shares")];
    let hidden = preview(&browser, portfolio, &ticket).await;
    assert_eq!(browser.cash(portfolio).await, "10000.00");

    let confirmed: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
    let page = format!("/portfolios/{portfolio}/orders");
    let placed = browser.post_form(&page, &confirmed).await.is(303);
    let receipt = browser.get(location(&placed)).await.is(200).text();
    assert!(receipt.contains("Bought 10 Apple Inc.") && receipt.contains("150.05"), "{receipt}");
    assert_eq!(browser.cash(portfolio).await, "8499.50");

    // Pressing the button twice buys once.
    let again = browser.post_form(&page, &confirmed).await.is(303);
    assert_eq!(page_of(location(&again)), location(&placed));
    assert_eq!(browser.cash(portfolio).await, "8499.50");
}

#[tokio::test]
async fn an_order_by_money_and_a_sell_go_through_the_same_form() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let page = format!("/portfolios/{portfolio}/orders");
    for (ticket, cash) in [
        ([("symbol", "AAPL"), ("side", "buy"), ("quantity", "1,500.00"), ("unit", "notional")], "8500.00"),
        ([("symbol", "AAPL"), ("side", "sell"), ("quantity", "4"), ("unit", "shares")], "9100.00"),
    ] {
        let hidden = preview(&browser, portfolio, &ticket).await;
        let confirmed: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
        browser.post_form(&page, &confirmed).await.is(303);
        assert_eq!(browser.cash(portfolio).await, cash);
    }
}

#[tokio::test]
async fn a_refused_ticket_keeps_what_was_filled_in() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let page = format!("/portfolios/{portfolio}");
    for (symbol, side, quantity) in [
        ("AAPL", "buy", "1000"),
        ("AAPL", "sell", "3"),
        ("NOPE", "buy", "5"),
        ("A B", "buy", "7"),
        ("AAPL", "buy", "ten"),
        ("AAPL", "buy", "-1"),
    ] {
        let ticket = [("symbol", symbol), ("side", side), ("quantity", quantity), ("unit", "shares")];
        let refused = browser.refused(&page, &format!("{page}/orders/preview"), &ticket).await;
        let html = refused.text();
        assert!(is_page(&refused) && html.contains("role=\"alert\""), "{ticket:?}");
        for value in [symbol, quantity] {
            assert!(html.contains(&format!("value=\"{value}\"")), "{value}: {html}");
        }
        assert!(html.contains(&format!("value=\"{side}\" checked")), "{ticket:?}");
        // Confirming an invalid order is refused in the same way.
        let token = csrf_token(&html);
        let confirmed = [&ticket[..], &[("csrf", &*token), ("client_order_id", "a-1")]].concat();
        let answer = browser.post_form(&format!("{page}/orders"), &confirmed).await.is(303);
        let html = browser.follow(&answer).await.is(200).text();
        assert!(html.contains("role=\"alert\"") && html.contains(&format!("value=\"{quantity}\"")), "{html}");
    }
    assert_eq!(browser.cash(portfolio).await, "10000.00");
}

#[tokio::test]
async fn a_page_without_its_price_source_shows_the_last_price() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    browser.buy(portfolio, "AAPL", "1").await.is(201);
    app.prices.fail_with(market_data::QuoteError::Unreachable);
    for page in ["", "/composition", "/performance", "/transactions"]
        .map(|page| format!("/portfolios/{portfolio}{page}"))
    {
        browser.get(&page).await.is(200);
    }
    for page in ["/", "/portfolios", "/stocks/AAPL", "/stocks/MSFT", "/stocks?search=app", "/watchlist"] {
        browser.get(page).await.is(200);
    }
}

#[tokio::test]
async fn an_unknown_page_is_a_page() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    for caller in [&browser, &app.browser()] {
        for path in ["/nothing", "/portfolios/1/nothing", "/static/nothing.css", "/.env", "/portfolios/"] {
            let answer = caller.get(path).await.is(404);
            assert!(is_page(&answer) && answer.text().contains("There is nothing at this address"), "{path}");
        }
    }
    for path in [
        format!("/portfolios/{}", portfolio + 1000),
        "/portfolios/nonsense".to_owned(),
        format!("/portfolios/{portfolio}/orders/nonsense"),
        "/stocks/NOPE".to_owned(),
        "/stocks/A%20B".to_owned(),
        "/watchlist?list=77".to_owned(),
    ] {
        assert!(is_page(&browser.get(&path).await.is(404)), "{path}");
    }
}

#[tokio::test]
async fn pages_of_a_portfolio_are_not_found_for_other_users() {
    let app = TestApp::spawn().await;
    let (owner, portfolio) = mara(&app).await;
    let order = owner.buy(portfolio, "AAPL", "1").await.is(201).json()["id"].as_str().unwrap().to_owned();
    app.register("mallory").await;
    let mallory = app.log_in("mallory").await;
    let own = format!("/portfolios/{portfolio}");
    for rest in [
        "",
        "/settings",
        "/transactions",
        "/transactions.csv",
        "/snapshots.csv",
        "/performance.csv",
        "/positions.csv",
        "/orders",
        "/performance",
        "/composition",
        &format!("/orders/{order}"),
    ] {
        let answer = mallory.get(&format!("{own}{rest}")).await.is(404);
        assert!(!answer.text().contains("Growth"), "{rest}");
    }
    let token = csrf_token(&mallory.get("/settings").await.is(200).text());
    let csrf = ("csrf", &*token);
    for (rest, fields) in [
        ("/cash", vec![csrf, ("type", "withdrawal"), ("amount", "1")]),
        ("/settings", vec![csrf, ("name", "Mine")]),
        ("/delete", vec![csrf, ("confirm", "Growth")]),
        (
            "/orders",
            vec![csrf, ("symbol", "AAPL"), ("side", "sell"), ("quantity", "1"), ("client_order_id", "a")],
        ),
        ("/orders/preview", vec![csrf, ("symbol", "AAPL"), ("side", "sell"), ("quantity", "1")]),
    ] {
        mallory.post_form(&format!("{own}{rest}"), &fields).await.is(404);
    }
    assert_eq!(owner.cash(portfolio).await, "9850.00");
}

#[tokio::test]
async fn names_are_escaped_on_every_page() {
    let app = TestApp::spawn().await;
    let (browser, _) = mara(&app).await;
    let evil = "<script>alert(1)</script>\"><b>'&amp;{{ 'zw' ~ 'ölf' }}";
    let body = json!({"name": evil, "description": evil, "cash_balance": "5000"});
    let portfolio = browser.post("/api/v1/portfolios", body).await.is(201).json()["id"].as_i64().unwrap();
    browser.buy(portfolio, "AAPL", "1").await.is(201);
    let list = browser.post("/api/v1/watchlists", json!({"name": evil})).await.is(201).json()["id"].clone();
    browser.put(&format!("/api/v1/watchlists/{list}/items/AAPL")).await.is(204);
    browser.patch("/api/v1/users/me", json!({"first_name": evil, "last_name": evil})).await.is(200);
    let own = format!("/portfolios/{portfolio}");
    for page in [
        "/portfolios".to_owned(),
        own.clone(),
        format!("{own}/settings"),
        format!("{own}/transactions"),
        format!("{own}/performance"),
        format!("{own}/composition"),
        "/watchlist".to_owned(),
        "/stocks/AAPL".to_owned(),
        "/stocks?search=%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/settings".to_owned(),
    ] {
        let html = browser.get(&page).await.is(200).text();
        assert!(!html.contains("<script>") && !html.contains("<b>'"), "{page}");
        assert!(html.contains("&lt;script&gt;"), "{page} does not show the name");
        // A word that no random id or token can contain.
        assert!(!html.contains("zwölf"), "{page}");
    }
    let deleted = [("confirm", evil)];
    let gone = browser.submit(&format!("{own}/settings"), &format!("{own}/delete"), &deleted).await.is(303);
    let html = browser.get(location(&gone)).await.is(200).text();
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"), "{html}");
}

#[tokio::test]
async fn a_success_message_is_shown_once() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let own = format!("/portfolios/{portfolio}");
    let fields = [("type", "withdrawal"), ("amount", "1,000")];
    let done = browser.submit(&format!("{own}/settings"), &format!("{own}/cash"), &fields).await.is(303);
    let said = "1,000.00 was withdrawn.";
    assert!(browser.get(location(&done)).await.is(200).text().contains(said));
    assert!(!browser.get(location(&done)).await.is(200).text().contains(said));
    let fields = [("type", "withdrawal"), ("amount", "99,000")];
    let refused = browser.refused(&format!("{own}/settings"), &format!("{own}/cash"), &fields).await;
    assert!(refused.text().contains("value=\"99,000\""));
}

#[tokio::test]
async fn a_portfolio_is_deleted_only_by_its_name() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let (page, target) =
        (format!("/portfolios/{portfolio}/settings"), format!("/portfolios/{portfolio}/delete"));
    for wrong in ["", "growth", "Grow"] {
        browser.refused(&page, &target, &[("confirm", wrong)]).await;
    }
    browser.submit(&page, &target, &[("confirm", "Growth")]).await.is(303);
    browser.get(&page).await.is(404);
}

#[tokio::test]
async fn a_watchlist_works_without_scripts() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await;
    browser.submit("/watchlist", "/watchlist", &[("name", "Tech")]).await.is(303);
    let id = browser.get("/api/v1/watchlists").await.items()[0]["id"].clone();
    let add = format!("/watchlist/{id}/add");
    browser.submit("/watchlist", &add, &[("symbols", "aapl")]).await.is(303);
    app.pass(chrono::TimeDelta::seconds(1));
    let refused = browser.refused("/watchlist", &add, &[("symbols", "NOPE, jpm A_B")]).await;
    assert!(refused.text().contains("value=\"NOPE, A_B\""), "{}", refused.text());
    let items = browser.get(&format!("/api/v1/watchlists/{id}")).await.items();
    let symbols: Vec<&str> = items.iter().map(|row| row["symbol"].as_str().unwrap()).collect();
    assert_eq!(symbols, ["AAPL", "JPM"]);
    browser.submit("/watchlist", &format!("/watchlist/{id}/remove"), &[("symbol", "AAPL")]).await.is(303);
    assert_eq!(browser.get(&format!("/api/v1/watchlists/{id}")).await.items().len(), 1);
}

#[tokio::test]
async fn settings_change_the_password_and_end_other_sessions() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let (here, elsewhere) = (app.log_in("mara").await, app.log_in("mara").await);
    let fields = [("current_password", "a guess or two"), ("new_password", "another fence entirely")];
    let refused = here.refused("/settings", "/settings/password", &fields).await;
    assert!(!refused.text().contains("another fence entirely"));
    let fields = [("current_password", PASSWORD), ("new_password", "another fence entirely")];
    here.submit("/settings", "/settings/password", &fields).await.is(303);
    here.get("/settings").await.is(200);
    elsewhere.get("/settings").await.is(303);
}

#[tokio::test]
async fn a_changed_password_ends_the_old_cookie_of_the_same_login_too() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let new = "another fence entirely";
    for (from_a_page, current, next) in [(true, PASSWORD, new), (false, new, PASSWORD)] {
        let browser = app.browser();
        let cookie = browser.log_in("mara", current).await.is(200).cookie("session").unwrap();
        let fields = [("current_password", current), ("new_password", next)];
        if from_a_page {
            browser.submit("/settings", "/settings/password", &fields).await.is(303);
        } else {
            let body = json!({"current_password": current, "new_password": next});
            browser.post("/api/v1/users/me/password", body).await.is(204);
        }
        browser.get("/settings").await.is(200);
        app.anonymous().with_cookie("session", &cookie).get("/settings").await.is(303);
    }
}

#[tokio::test]
async fn settings_create_a_token_that_is_shown_once() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await;
    let fields = [("name", "notebook"), ("scope", "read"), ("expires_on", "2026-12-24")];
    let made = browser.submit("/settings", "/settings/tokens", &fields).await;
    let page = browser.follow(&made.is(303)).await.is(200).text();
    let (_, rest) = page.split_once("<code class=\"secret\">").expect("the token is shown");
    let token = rest.split('<').next().unwrap().to_owned();
    app.with_token(&token).get("/api/v1/portfolios").await.is(200);
    let refused = app.with_token(&token).post("/api/v1/portfolios", json!({"name": "a"})).await;
    refused.is_refused(403, "read_only_token");
    assert!(!browser.get("/settings").await.is(200).text().contains(&token));
}

#[tokio::test]
async fn an_account_is_deleted_with_its_password() {
    let app = TestApp::spawn().await;
    let (browser, _) = mara(&app).await;
    browser.refused("/settings", "/settings/delete", &[("password", "a guess or two")]).await;
    browser.submit("/settings", "/settings/delete", &[("password", PASSWORD)]).await.is(303);
    browser.get("/portfolios").await.is(303);
    assert_eq!(app.services.operations().totals().await.unwrap().users, 0);
}

const ADMIN_PAGES: [&str; 8] = [
    "/admin",
    "/admin/users",
    "/admin/portfolios",
    "/admin/stocks",
    "/admin/transactions",
    "/admin/snapshots",
    "/admin/jobs",
    "/admin/providers",
];

#[tokio::test]
async fn admin_pages_are_not_found_for_other_users() {
    let app = TestApp::spawn().await;
    let (browser, _) = mara(&app).await;
    let id = browser.get("/api/v1/users/me").await.json()["id"].clone();
    for page in ADMIN_PAGES.into_iter().map(str::to_owned).chain([format!("/admin/users/{id}")]) {
        let answer = browser.get(&page).await.is(404);
        assert!(is_page(&answer) && answer.text().contains("There is nothing at this address"), "{page}");
    }
    let token = csrf_token(&browser.get("/settings").await.is(200).text());
    for (page, field) in [
        (format!("/admin/users/{id}"), ("is_admin", "true")),
        (format!("/admin/users/{id}/delete"), ("confirm", "mara")),
        ("/admin/jobs".to_owned(), ("run", "prune")),
    ] {
        browser.post_form(&page, &[("csrf", &*token), field]).await.is(404);
    }
    assert_eq!(browser.get("/api/v1/users/me").await.json()["is_admin"], false);
}

#[tokio::test]
async fn administrators_close_accounts_and_run_jobs() {
    let app = TestApp::spawn().await;
    app.register_admin("ada").await;
    let mara = app.register("mara").await;
    let browser = app.log_in("ada").await;
    let page = format!("/admin/users/{}", mara.id);
    browser.submit(&page, &page, &[("is_active", "false")]).await.is(303);
    mara.get("/api/v1/users/me").await.is_refused(401, "unauthorized");
    browser.submit("/admin/jobs", "/admin/jobs", &[("run", "prune")]).await.is(303);
    assert!(!browser.get("/api/v1/admin/jobs?kind=prune").await.items().is_empty());
    let delete = format!("{page}/delete");
    browser.refused(&page, &delete, &[("confirm", "maria")]).await;
    browser.submit(&page, &delete, &[("confirm", "mara")]).await.is(303);
    browser.get(&page).await.is(404);
}

/// All links of a page to pages of this installation.
fn links(html: &str) -> BTreeSet<String> {
    html.split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("&amp;", "&").replace("&#x2F;", "/"))
        .filter(|address| address.starts_with('/') && !address.starts_with("//"))
        .map(|address| address.split('#').next().unwrap().to_owned())
        .collect()
}

fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    html.split(&format!(" {name}=\"")).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Checks the rules that every page has to follow.
fn assert_well_made(address: &str, html: &str) {
    for unresolved in ["{{", "}}", "{%", "%}", "{#", "[object", "NaN", "Some(", "None,", "Undefined"] {
        assert!(!html.contains(unresolved), "{address} holds {unresolved}");
    }
    assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"), "{address}");
    assert_eq!(html.matches("<h1").count(), 1, "{address}: headings");
    let title = html.split("<title>").nth(1).and_then(|rest| rest.split(" · Stockyard</title>").next());
    assert!(title.is_some_and(|title| !title.trim().is_empty() && title.len() < 120), "{address}: {title:?}");

    // The content security policy forbids these.
    assert!(!html.contains(" style=\"") && !html.contains("<style"), "{address}: inline style");
    for script in html.split("<script").skip(1) {
        assert!(
            script.starts_with(" src=\"/static/") && script.contains("></script>"),
            "{address}: inline script"
        );
    }
    for tag in html.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
        assert!(
            !tag.contains(" on") || !tag.split(" on").nth(1).unwrap().contains("=\""),
            "{address}: <{tag}>"
        );
    }

    // Every form that posts has the token.
    for form in html.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap()) {
        let posts = form.split('>').next().unwrap().contains("method=\"post\"");
        assert_eq!(form.contains("name=\"csrf\""), posts, "{address}: <form{form}");
    }

    let ids = attributes(html, "id");
    let known: HashSet<&str> = ids.iter().copied().collect();
    let twice: Vec<&&str> =
        ids.iter().filter(|id| ids.iter().filter(|other| other == id).count() > 1).collect();
    assert!(twice.is_empty(), "{address}: ids {twice:?} are there twice");
    let named = ["for", "aria-labelledby", "aria-describedby", "form", "list"]
        .iter()
        .flat_map(|name| attributes(html, name))
        .flat_map(str::split_whitespace);
    let anchors = attributes(html, "href").into_iter().filter_map(|link| link.strip_prefix('#'));
    for id in named.chain(anchors) {
        assert!(known.contains(id), "{address} refers to #{id}, which it does not have");
    }
}

/// The page that a link leads to. The query of an explanation is dropped, because its page is the same for every
/// window.
fn page_behind(link: &str) -> String {
    let path = link.split('?').next().unwrap_or(link);
    let is_holding = link.contains("average_buy_price");
    if link.contains("/explain/") && !is_holding { path.to_owned() } else { link.to_owned() }
}

/// Follows every link from `start` on and returns the pages that were found.
pub async fn walk(browser: &Caller, start: &[&str]) -> BTreeSet<String> {
    let mut seen: BTreeSet<String> = start.iter().map(|&page| page.to_owned()).collect();
    let mut queue: VecDeque<String> = seen.iter().cloned().collect();
    while let Some(address) = queue.pop_front() {
        assert!(seen.len() < 1000, "there is no end of pages: {seen:#?}");
        let answer = browser.get(&address).await.is(200);
        if !is_page(&answer) || address.starts_with("/docs") {
            continue;
        }
        let html = answer.text();
        assert_well_made(&address, &html);
        for link in links(&html) {
            if seen.insert(page_behind(&link)) {
                queue.push_back(link);
            }
        }
    }
    seen
}

#[tokio::test]
async fn every_page_that_a_visitor_can_reach_is_well_formed() {
    let app = TestApp::spawn().await;
    let browser = app.browser();
    let seen = walk(&browser, &["/", "/login", "/register"]).await;
    assert!(seen.contains("/docs/"), "{seen:?}");
    assert_well_made("/nothing", &browser.get("/nothing").await.text());
}

#[tokio::test]
async fn every_page_that_a_new_user_can_reach_is_well_formed() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await;
    let pages = ["/", "/portfolios", "/watchlist", "/settings", "/stocks", "/stocks/AAPL", "/logout"];
    walk(&browser, &pages).await;
    browser.open("0").await;
    browser.open("100").await;
    let seen = walk(&browser, &pages).await;
    for page in ["/performance", "/composition", "/transactions", "/settings"] {
        assert!(
            seen.iter().any(|seen| seen.starts_with("/portfolios/") && seen.ends_with(page)),
            "{seen:#?}"
        );
    }
}

#[tokio::test]
async fn every_page_that_an_investor_or_administrator_can_reach_is_well_formed() {
    let app = TestApp::spawn().await;
    app.prices.list("BRK.B", "Berkshire Hathaway Inc. Class B", "Financials", "480.25");
    app.prices.list("PENNY", "Penny <Mills> & \"Sons\"", "Materials", "0.0125");
    for (symbol, price) in [("AAPL", "148.00"), ("JPM", "205.00"), ("BRK.B", "470.00"), ("PENNY", "0.0100")] {
        for date in ["2026-10-25", "2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21"] {
            app.close(symbol, date, price);
        }
    }
    app.register_admin("ada").await;
    let ada = app.log_in("ada").await;
    let portfolio = ada.open("100000").await;
    for (symbol, quantity) in
        [("AAPL", "10"), ("JPM", "20.5"), ("BRK.B", "5"), ("PENNY", "1000"), ("MSFT", "1")]
    {
        ada.buy(portfolio, symbol, quantity).await.is(201);
    }
    app.prices.set("AAPL", "155.10");
    ada.sell(portfolio, "AAPL", "4").await.is(201);
    ada.sell(portfolio, "MSFT", "1").await.is(201);
    let limit = json!({"type": "limit", "limit_price": "100", "time_in_force": "gtc"});
    let exits = json!({"order_class": "bracket", "take_profit": {"limit_price": "200"}, "stop_loss": {"stop_price": "90"}});
    ada.place(portfolio, with(with(trade("buy", "AAPL", "2"), limit.clone()), exits)).await;
    let order = ada.place(portfolio, with(trade("buy", "AAPL", "1"), limit.clone())).await;
    ada.replace(portfolio, &order, json!({"limit_price": "101"})).await.is(201);
    let order = ada.place(portfolio, with(trade("buy", "JPM", "1"), limit)).await;
    ada.cancel(portfolio, &order).await.is(200);
    let before = ada.open("1000").await;
    ada.buy(before, "AAPL", "1").await.is(201);
    ada.post(&format!("/api/v1/portfolios/{before}/reset"), json!({})).await.is(201);
    app.at("2026-11-21T19:00:00Z");
    ada.withdraw(portfolio, "500").await.is(201);
    app.at("2026-11-22T19:00:00Z");
    app.work().await;
    app.prices.set("AAPL", "139.90");
    ada.deposit(portfolio, "250.25").await.is(201);
    for _ in 0..60 {
        ada.deposit(portfolio, "1").await.is(201);
    }
    let list = ada.post("/api/v1/watchlists", json!({"name": "Tech"})).await.is(201).json()["id"].clone();
    for symbol in ["AAPL", "PENNY", "SPY"] {
        ada.put(&format!("/api/v1/watchlists/{list}/items/{symbol}")).await.is(204);
    }
    ada.post("/api/v1/watchlists", json!({"name": "Empty"})).await.is(201);

    let own = format!("/portfolios/{portfolio}");
    let filtered = format!("{own}/transactions?symbol=AAPL&type=buy&from=2026-11-01&to=2026-11-30");
    let dates = format!("{own}/performance?from=2026-11-20&to=2026-11-21");
    let start =
        ["/", "/portfolios", "/stocks?search=a", "/stocks?search=zzz", "/stocks/PENNY", &filtered, &dates];
    let seen = walk(&ada, &start).await;
    let expected = ["", "/performance", "/composition", "/transactions", "/orders", "/settings"]
        .map(|page| format!("{own}{page}"));
    for page in expected.iter().map(String::as_str).chain(ADMIN_PAGES).chain(["/watchlist", "/settings"]) {
        assert!(seen.contains(page), "no link leads to {page}: {seen:#?}");
    }
    assert!(seen.iter().any(|page| page.contains("/orders/")), "{seen:#?}");
    assert!(seen.iter().any(|page| page.contains("transactions.csv")), "{seen:#?}");
    assert!(seen.iter().any(|page| page.contains("cursor=")), "{seen:#?}");
}

#[tokio::test]
async fn invalid_query_parameters_are_answered_with_a_page() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    app.register_admin("ada").await;
    let ada = app.log_in("ada").await;
    let own = format!("/portfolios/{portfolio}");
    for page in [
        format!("{own}?range=10Y"),
        format!("{own}?symbol=%3Cb%3E&quantity=x&side=z&unit=y"),
        format!("{own}/performance?range=nonsense"),
        format!("{own}/performance?from=nonsense"),
        format!("{own}/performance?from=2026-11-21&to=2026-11-20"),
        format!("{own}/transactions?from=nonsense"),
        format!("{own}/transactions?cursor=nonsense"),
        format!("{own}/orders?cursor=nonsense&status=x&symbol=%3Cb%3E"),
        format!("{own}?type=x&time_in_force=y&trail_unit=z&limit_price=%3Cb%3E"),
        format!("{own}/transactions?type=nonsense&symbol=%20x%20y"),
        format!("{own}/composition?color=nonsense"),
        "/stocks/AAPL?range=nonsense".to_owned(),
        "/stocks?search=%25".to_owned(),
        "/watchlist?list=nonsense".to_owned(),
        "/admin/users?cursor=nonsense".to_owned(),
        "/admin/users/nonsense".to_owned(),
        "/admin/users?search=%25".to_owned(),
        "/admin/jobs?kind=nonsense".to_owned(),
        "/admin/snapshots?cursor=99999999999999999999".to_owned(),
    ] {
        let caller = if page.starts_with("/admin") { &ada } else { &browser };
        let answer = caller.get(&page).await;
        assert!(answer.status < 500 && is_page(&answer), "{page}: {} {}", answer.status, answer.text());
    }
}

#[tokio::test]
async fn files_are_cached_forever_under_their_hashed_address() {
    let app = TestApp::spawn().await;
    let html = app.anonymous().get("/login").await.is(200).text();
    let files: BTreeSet<String> = attributes(&html, "href")
        .into_iter()
        .chain(attributes(&html, "src"))
        .filter(|address| address.starts_with("/static/"))
        .map(str::to_owned)
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let answer = app.anonymous().get(&file).await.is(200);
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"), "{file}");
        let tag = answer.header("etag").unwrap();
        let unchanged = app.anonymous().with("if-none-match", tag).get(&file).await.is(304);
        assert_eq!(unchanged.text(), "");
        // An outdated address returns the new content and must not be cached.
        let old = app.anonymous().get(&format!("{}?v=old", file.split('?').next().unwrap())).await.is(200);
        assert_eq!(old.header("cache-control"), Some("no-cache"));
    }
    for outside in ["/static/../Cargo.toml", "/static/%2e%2e/Cargo.toml", "/static//etc/passwd", "/static/"] {
        assert_ne!(app.anonymous().get(outside).await.status, 200, "{outside}");
    }
}

#[tokio::test]
async fn a_saved_name_is_shown_exactly_as_it_was_typed() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let page = format!("/portfolios/{portfolio}/settings");
    for name in ["Größe", "a; Domain=evil.example", "100%41"] {
        let done = browser.submit(&page, &page, &[("name", name)]).await.is(303);
        assert!(browser.get(location(&done)).await.is(200).text().contains(&format!("{name} is saved.")));
    }
}
