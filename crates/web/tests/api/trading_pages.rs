//! Trading with forms, as a browser without scripts does: the ticket, the preview, orders and their changes, and a
//! reset.

use domain::{Commission, TradingMode};
use serde_json::{Value, json};

use crate::harness::{Answer, Caller, TestApp, csrf_token, line, page_of, trade, with};

const LIMIT: [(&str, &str); 7] = [
    ("symbol", "aapl"),
    ("side", "buy"),
    ("quantity", "10"),
    ("unit", "shares"),
    ("type", "limit"),
    ("time_in_force", "gtc"),
    ("limit_price", "140.00"),
];

fn location(answer: &Answer) -> String {
    answer.header("location").expect("a redirect").to_owned()
}

/// A browser of a user with 10,000.00 in a portfolio.
async fn mara(app: &TestApp) -> (Caller, i64) {
    let portfolio = app.register("mara").await.open("10000.00").await;
    (app.log_in("mara").await, portfolio)
}

/// The text of a page without markup, with single spaces.
fn text(html: &str) -> String {
    let mut text = String::new();
    for part in html.split('<').skip(1) {
        text.push(' ');
        text.push_str(part.split_once('>').map_or("", |(_, text)| text));
    }
    let plain = text.replace("&#39;", "'").replace("&quot;", "\"").replace("&amp;", "&");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn assert_says(html: &str, expected: &str) {
    assert!(text(html).contains(expected), "{expected:?} is not in: {}", text(html));
}

/// The hidden fields of the form that posts to `target`.
fn hidden(html: &str, target: &str) -> Vec<(String, String)> {
    let (_, form) = html.split_once(&format!("action=\"{target}\"")).expect("the form");
    let form = form.split("</form>").next().unwrap();
    let part = |input: &str, name: &str| {
        let (_, rest) = input.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    form.split("<input type=\"hidden\" ")
        .skip(1)
        .map(|input| (part(input, "name"), part(input, "value")))
        .collect()
}

async fn preview(browser: &Caller, portfolio: i64, ticket: &[(&str, &str)]) -> Answer {
    let page = format!("/portfolios/{portfolio}");
    let answer = browser.submit(&page, &format!("{page}/orders/preview"), ticket).await.is(303);
    browser.follow(&answer).await.is(200)
}

/// Previews and confirms a ticket, and returns the address of the order's page.
async fn trade_by_form(browser: &Caller, portfolio: i64, ticket: &[(&str, &str)]) -> String {
    let shown = preview(browser, portfolio, ticket).await.is(200).text();
    let target = format!("/portfolios/{portfolio}/orders");
    let fields = hidden(&shown, &target);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    location(&browser.post_form(&target, &fields).await.is(303))
}

/// The order of a page, as the API returns it.
async fn order_at(browser: &Caller, page: &str) -> Value {
    browser.get(&format!("/api/v1{page}")).await.is(200).json().0
}

#[tokio::test]
async fn a_limit_order_goes_from_the_ticket_over_its_preview_to_its_page() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let shown = preview(&browser, portfolio, &LIMIT).await.is(200).text();
    for says in [
        "The order would wait for a price of 140.00 or less until it is canceled. It would reserve 1,400.00 of your \
         cash; you would still have 8,600.00 of buying power.",
        "10 × 140.00 1,400.00",
        "Buying power now 10,000.00 → 8,600.00",
        "Type Limit Limit 140.00 Time in force Good till canceled",
    ] {
        assert_says(&shown, says);
    }
    assert_eq!(browser.get(&format!("/api/v1/portfolios/{portfolio}/orders")).await.items().len(), 0);

    let page = trade_by_form(&browser, portfolio, &LIMIT).await;
    let order = order_at(&browser, &page).await;
    assert_eq!(
        line(&order, &["type", "time_in_force", "limit_price", "quantity", "status"]),
        "limit gtc 140.00 10 accepted"
    );
    let shown = browser.get(&page).await.is(200).text();
    assert_says(
        &shown,
        "It waits for a price of 140.00 or less until it is canceled. 1,400.00 of your cash is reserved",
    );
    let portfolio_page = browser.get(&format!("/portfolios/{portfolio}")).await.is(200).text();
    assert_says(&portfolio_page, "1 open · reserved: 1,400.00");
    assert_says(&portfolio_page, "Buying power 8,600.00 1,400.00 reserved");
    assert_says(&portfolio_page, "Buy AAPL limit 10 140.00 150.00 −6.67% good till canceled 1,400.00");

    app.trades_at("AAPL", "139.50").await;
    let shown = browser.get(&page).await.is(200).text();
    assert_says(
        &shown,
        "Bought 10 AAPL at 139.50: last price 139.50 at 14:12:01 New York, 0.0 s old, no slippage. 1,395.00 was debited from your cash.",
    );
    assert!(!shown.contains("id=\"change\""), "what has ended cannot be changed");
}

#[tokio::test]
async fn every_order_type_can_be_placed_with_the_ticket() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    browser.buy(portfolio, "AAPL", "20").await.is(201);
    let basis = [("symbol", "AAPL"), ("side", "sell"), ("quantity", "1"), ("unit", "shares")];
    for (kind, prices, says, terms) in [
        (
            "market",
            vec![],
            "You would sell 1 AAPL at about 150.00, the last price of 14:12:00 New York",
            "- -",
        ),
        (
            "stop",
            vec![("stop_price", "140")],
            "wait for the market to fall to 140.00 until 24:00 today",
            "140.00 -",
        ),
        (
            "stop_limit",
            vec![("stop_price", "140"), ("limit_price", "138")],
            "wait for the market to fall to 140.00, and then for a price of 138.00 or more until 24:00 today",
            "140.00 138.00",
        ),
        (
            "trailing_stop",
            vec![("trail", "10"), ("trail_unit", "percent")],
            "wait for the market to fall to 135.00, 10% from its highest price until 24:00 today",
            "135.00 -",
        ),
        (
            "trailing_stop",
            vec![("trail", "5"), ("trail_unit", "amount")],
            "wait for the market to fall to 145.00, 5.00 from its highest price until 24:00 today",
            "145.00 -",
        ),
    ] {
        let ticket = [&basis[..], &[("type", kind), ("time_in_force", "day")], &prices].concat();
        let shown = preview(&browser, portfolio, &ticket).await.is(200).text();
        assert_says(&shown, says);
        let page = trade_by_form(&browser, portfolio, &ticket).await;
        let order = order_at(&browser, &page).await;
        assert_eq!(line(&order, &["type"]), kind);
        assert_eq!(line(&order, &["stop_price", "limit_price"]), terms, "{kind}");
        browser.get(&page).await.is(200);
    }
}

#[tokio::test]
async fn prices_typed_for_another_type_are_not_sent() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let ticket = [
        ("symbol", "AAPL"),
        ("side", "buy"),
        ("quantity", "1"),
        ("unit", "shares"),
        ("type", "market"),
        ("time_in_force", "day"),
        ("limit_price", "140"),
        ("stop_price", "160"),
        ("trail", "nonsense"),
        ("trail_unit", "percent"),
        ("take_profit", ""),
        ("stop_loss", ""),
        ("stop_loss_limit", ""),
    ];
    let page = trade_by_form(&browser, portfolio, &ticket).await;
    let order = order_at(&browser, &page).await;
    assert_eq!(line(&order, &["type", "status", "limit_price", "order_class"]), "market filled - simple");
}

#[tokio::test]
async fn a_refused_ticket_keeps_every_field_and_marks_the_wrong_ones() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let basis = [("symbol", "AAPL"), ("side", "buy"), ("quantity", "1"), ("unit", "shares")];
    for (more, marked) in [
        (vec![("type", "limit"), ("limit_price", "cheap")], vec!["limit_price"]),
        (vec![("type", "limit"), ("limit_price", "")], vec!["limit_price"]),
        (vec![("type", "limit"), ("limit_price", "10,000.00"), ("quantity", "x")], vec!["quantity"]),
        (
            vec![("type", "stop_limit"), ("stop_price", "0"), ("limit_price", "1.234")],
            vec!["stop_price", "limit_price"],
        ),
        (vec![("type", "stop"), ("stop_price", "160"), ("time_in_force", "ioc")], vec!["time_in_force"]),
        (vec![("type", "trailing_stop"), ("trail", "101"), ("trail_unit", "percent")], vec!["trail"]),
        (vec![("type", "market"), ("take_profit", "high")], vec!["take_profit"]),
        (vec![("type", "market"), ("take_profit", "140"), ("stop_loss", "145")], vec!["stop_loss"]),
        (vec![("type", "market"), ("stop_loss", "130"), ("stop_loss_limit", "x")], vec!["stop_loss_limit"]),
        (vec![("type", "market"), ("stop_loss", "130"), ("time_in_force", "fok")], vec!["time_in_force"]),
    ] {
        let mut ticket: Vec<(&str, &str)> =
            basis.into_iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name)).collect();
        ticket.extend(&more);
        let refused = preview(&browser, portfolio, &ticket).await;
        let html = refused.text();
        let found: Vec<&str> = html
            .split('<')
            .filter(|tag| tag.split('>').next().unwrap().contains("aria-invalid=\"true\""))
            .map(|tag| tag.split(" name=\"").nth(1).unwrap().split('"').next().unwrap())
            .collect();
        for field in &marked {
            assert!(found.contains(field), "{ticket:?} marks {found:?}");
            assert!(html.contains(&format!("href=\"#ticket-{field}\"")), "{field} is not in the summary");
        }
        assert_eq!(found.len(), marked.len(), "{ticket:?} marks {found:?}");
        for (name, value) in &ticket {
            let kept = match *name {
                "side" | "unit" | "trail_unit" => format!("value=\"{value}\" checked"),
                "type" | "time_in_force" => format!("value=\"{value}\" selected"),
                _ => format!("value=\"{value}\""),
            };
            assert!(html.contains(&kept), "{name}={value} is not kept");
        }
    }
    assert!(browser.get(&format!("/api/v1/portfolios/{portfolio}/orders")).await.items().is_empty());
}

#[tokio::test]
async fn a_link_fills_the_ticket_in() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let page = format!(
        "/portfolios/{portfolio}?symbol=AAPL&side=sell&quantity=3&type=stop_limit&stop_price=140&limit_price=138\
         &time_in_force=gtc&stop_loss=1"
    );
    let html = browser.get(&page).await.is(200).text();
    for kept in [
        "value=\"stop_limit\" selected",
        "value=\"gtc\" selected",
        "value=\"sell\" checked",
        "name=\"stop_price\" value=\"140\"",
        "name=\"limit_price\" value=\"138\"",
        "class=\"exits\" open",
    ] {
        assert!(html.contains(kept), "{kept}");
    }
    // The preview links back to the ticket with its values.
    let shown = preview(&browser, portfolio, &LIMIT).await.is(200).text();
    let back = format!(
        "/portfolios/{portfolio}?symbol=aapl&amp;side=buy&amp;quantity=10&amp;unit=shares&amp;type=limit\
         &amp;time_in_force=gtc&amp;limit_price=140.00#ticket"
    );
    assert!(shown.replace("&#x2F;", "/").contains(&back), "{shown}");
}

#[tokio::test]
async fn an_order_is_canceled_by_form_from_its_page_and_from_the_lists() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let own = format!("/portfolios/{portfolio}");
    let cancel = format!("{own}/orders/cancel");
    for (from, back, then) in [
        (own.clone(), "portfolio", own.clone()),
        (format!("{own}/orders?status=open"), "orders", format!("{own}/orders?status=open")),
        (String::new(), "", String::new()),
    ] {
        let page = trade_by_form(&browser, portfolio, &LIMIT).await;
        let id = page.rsplit('/').next().unwrap().to_owned();
        let from = if from.is_empty() { page.clone() } else { from };
        let html = browser.get(&from).await.is(200).text();
        assert!(html.contains(&format!("name=\"cancel\" value=\"{id}\"")), "{from} has no button");
        let fields = [("cancel", &*id), ("back", back)];
        let answer = browser.submit(&from, &cancel, &fields).await.is(303);
        assert_eq!(page_of(&location(&answer)), if then.is_empty() { page.clone() } else { then });
        assert_says(&browser.get(&location(&answer)).await.is(200).text(), "Buy 10 AAPL is canceled.");
        assert_eq!(order_at(&browser, &page).await["status"], "canceled");
        // A cancellation that comes too late gets a message, not an error page.
        let token = csrf_token(&html);
        let again = browser.post_form(&cancel, &[("csrf", &*token), fields[0], fields[1]]).await.is(303);
        assert_says(&browser.get(&location(&again)).await.is(200).text(), "The order is already canceled.");
    }
    assert_eq!(browser.buying_power(portfolio).await, "10000.00");
}

#[tokio::test]
async fn all_open_orders_are_canceled_with_one_button() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let own = format!("/portfolios/{portfolio}");
    let button = "name=\"cancel\" value=\"all\"";
    trade_by_form(&browser, portfolio, &LIMIT).await;
    assert!(!browser.get(&own).await.is(200).text().contains(button), "one order has a button of its own");
    trade_by_form(&browser, portfolio, &LIMIT).await;
    assert!(browser.get(&own).await.is(200).text().contains(button));
    let all = [("cancel", "all"), ("back", "portfolio")];
    let answer = browser.submit(&own, &format!("{own}/orders/cancel"), &all).await.is(303);
    assert_eq!(page_of(&location(&answer)), own);
    assert_says(&browser.get(&location(&answer)).await.is(200).text(), "2 orders canceled.");
    assert_eq!(browser.buying_power(portfolio).await, "10000.00");
    app.register("eve").await;
    let other = app.log_in("eve").await;
    let token = csrf_token(&other.get("/portfolios").await.is(200).text());
    let fields = [("csrf", &*token), ("cancel", "all")];
    other.post_form(&format!("{own}/orders/cancel"), &fields).await.is(404);
}

#[tokio::test]
async fn an_order_is_changed_by_form() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let page = trade_by_form(&browser, portfolio, &LIMIT).await;
    let target = format!("{page}/replace");
    let html = browser.get(&page).await.is(200).text();
    for filled_in in
        ["name=\"quantity\" value=\"10\"", "name=\"limit_price\" value=\"140.00\"", "value=\"gtc\" selected"]
    {
        assert!(html.contains(filled_in), "{filled_in}");
    }
    let key = hidden(&html, &target).into_iter().find(|(name, _)| name == "client_order_id");
    let key = key.unwrap().1;
    let as_it_is = [("quantity", "10"), ("limit_price", "140.00"), ("time_in_force", "gtc")];
    let unchanged = browser.refused(&page, &target, &as_it_is).await;
    assert_says(&unchanged.text(), "Change at least one field.");
    let wrong = [("quantity", "ten"), ("limit_price", "145"), ("time_in_force", "gtc")];
    let refused = browser.refused(&page, &target, &wrong).await.text();
    assert!(
        refused.contains("name=\"quantity\" value=\"ten\"")
            && refused.contains("id=\"change-quantity-error\"")
    );
    let dear = [("quantity", "100"), ("limit_price", "145"), ("time_in_force", "gtc")];
    assert_says(
        &browser.refused(&page, &target, &dear).await.text(),
        "The order costs 14,500.00 and your buying power is 10,000.00",
    );

    let changes =
        [("quantity", "12"), ("limit_price", "145"), ("time_in_force", "day"), ("client_order_id", &*key)];
    let changed = browser.submit(&page, &target, &changes).await.is(303);
    let new = page_of(&location(&changed)).to_owned();
    assert_ne!(new, page);
    let order = order_at(&browser, &new).await;
    assert_eq!(line(&order, &["quantity", "limit_price", "time_in_force"]), "12 145.00 day");
    let shown = browser.get(&new).await.is(200).text();
    assert_says(&shown, "It replaced an earlier order");
    assert!(shown.contains(&format!("href=\"{page}\"")));
    let old = browser.get(&page).await.is(200).text();
    assert_says(&old, "It was replaced by another order");
    assert!(old.contains(&format!("href=\"{new}\"")) && !old.contains("id=\"change\""));

    // Pressing the button twice changes the order once, and an order that has ended cannot be changed.
    let token = csrf_token(&shown);
    let twice = [&changes[..], &[("csrf", &*token)]].concat();
    assert_eq!(page_of(&location(&browser.post_form(&target, &twice).await.is(303))), new);
    let other = [("csrf", &*token), ("limit_price", "146")];
    let late = browser.post_form(&target, &other).await.is(303);
    assert_says(&browser.get(&location(&late)).await.is(200).text(), "The order is already replaced.");
    let open = browser.get(&format!("/api/v1/portfolios/{portfolio}/orders?status=open")).await.items();
    assert_eq!(open.len(), 1);
}

#[tokio::test]
async fn a_triggered_stop_stays_triggered_after_another_change() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    browser.buy(portfolio, "AAPL", "10").await.is(201);
    let terms =
        json!({"type": "stop_limit", "stop_price": "140", "limit_price": "138", "time_in_force": "gtc"});
    let order = browser.place(portfolio, with(trade("sell", "AAPL", "10"), terms)).await;
    app.trades_at("AAPL", "137.00").await;
    let page = format!("/portfolios/{portfolio}/orders/{}", order["id"].as_str().unwrap());
    assert_says(
        &browser.get(&page).await.is(200).text(),
        "The market reached its stop at 14:12:01 New York.",
    );
    let fields =
        [("quantity", "10"), ("stop_price", "140.00"), ("limit_price", "137.50"), ("time_in_force", "gtc")];
    let changed = browser.submit(&page, &format!("{page}/replace"), &fields).await.is(303);
    app.trades_at("AAPL", "137.60").await;
    assert_eq!(order_at(&browser, page_of(&location(&changed))).await["filled_price"], "137.60");
}

#[tokio::test]
async fn a_bracket_is_ordered_on_the_ticket_and_its_exits_are_on_its_page() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    let exits = [("take_profit", "170"), ("stop_loss", "130"), ("stop_loss_limit", "129.50")];
    let ticket = [&LIMIT[..], &exits].concat();
    let shown = preview(&browser, portfolio, &ticket).await.is(200).text();
    assert_says(
        &shown,
        "Exits, active after the fill Take-profit, limit limit 170.00 Stop-loss, stop limit stop 130.00, limit 129.50",
    );
    let page = trade_by_form(&browser, portfolio, &ticket).await;
    let order = order_at(&browser, &page).await;
    assert_eq!(line(&order, &["order_class", "status"]), "bracket accepted");
    let legs = order["legs"].as_array().unwrap();
    let shown = browser.get(&page).await.is(200).text();
    for leg in legs {
        let leg_page = format!("/portfolios/{portfolio}/orders/{}", leg["id"].as_str().unwrap());
        assert!(shown.contains(&format!("href=\"{leg_page}\"")));
        let leg_shown = browser.get(&leg_page).await.is(200).text();
        assert_says(&leg_shown, "It waits for its entry to fill until it is canceled.");
        assert!(leg_shown.contains(&format!("href=\"{page}\"")), "no way back to the entry");
    }
    // On the portfolio's page the exits are listed below their entry and nowhere else.
    let html = browser.get(&format!("/portfolios/{portfolio}")).await.is(200).text();
    assert_eq!(html.matches("<tr class=\"leg\">").count(), 2);
    assert_says(&html, "Buy AAPL limit 10 140.00");
    assert_says(&html, "Sell AAPL take-profit, limit 10 170.00");
    assert_eq!(html.matches("name=\"cancel\"").count(), 4, "one each, and one for all");
    app.trades_at("AAPL", "139.00").await;
    let html = browser.get(&format!("/portfolios/{portfolio}")).await.is(200).text();
    assert_says(&html, "2 open · reserved: 10 AAPL");
    assert_says(&html, "10 0 to sell");
    assert!(html.contains(&format!("href=\"{page}\"")), "the exits lead to their entry");
}

#[tokio::test]
async fn a_pair_of_exits_is_ordered_on_the_ticket() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    browser.buy(portfolio, "AAPL", "10").await.is(201);
    let ticket = [
        ("symbol", "AAPL"),
        ("side", "sell"),
        ("quantity", "10"),
        ("unit", "shares"),
        ("type", "limit"),
        ("time_in_force", "gtc"),
        ("limit_price", "160"),
        ("take_profit", "999"),
        ("stop_loss", "140"),
    ];
    let page = trade_by_form(&browser, portfolio, &ticket).await;
    let order = order_at(&browser, &page).await;
    assert_eq!(line(&order, &["order_class", "limit_price"]), "oco 160.00");
    assert_eq!(line(&order["legs"][0], &["type", "stop_price"]), "stop 140.00");
    let market: Vec<(&str, &str)> = ticket
        .into_iter()
        .map(|(name, value)| (name, if name == "type" { "market" } else { value }))
        .collect();
    let refused = preview(&browser, portfolio, &market).await.text();
    assert_says(
        &refused,
        "A sell with a stop-loss is the take-profit itself and cannot be of type Market: choose Limit.",
    );
}

#[tokio::test]
async fn orders_are_filtered_by_tab_and_paged() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    browser.buy(portfolio, "MSFT", "1").await.is(201);
    let open = json!({"type": "limit", "limit_price": "10", "time_in_force": "gtc"});
    for _ in 0..55 {
        browser.place(portfolio, with(trade("buy", "AAPL", "1"), open.clone())).await;
    }
    let base = format!("/portfolios/{portfolio}/orders");
    let shown = async |query: &str| browser.get(&format!("{base}{query}")).await.is(200).text();
    let rows = |html: &str| html.matches("<th scope=\"row\">").count();
    assert_eq!(rows(&shown("").await), 50);
    let closed = shown("?status=closed").await;
    assert_eq!((rows(&closed), closed.matches("name=\"cancel\"").count()), (1, 0));
    assert_says(&closed, "Buy MSFT market Filled 1 400.00 −400.00");
    let first = shown("?status=open").await;
    assert_eq!((rows(&first), first.matches("name=\"cancel\"").count()), (50, 50));
    let (_, more) = first.split_once("rel=\"next\" href=\"").expect("a next page");
    let more = more.split('"').next().unwrap().replace("&amp;", "&").replace("&#x2F;", "/");
    let second = browser.get(&more).await.is(200).text();
    assert_eq!(rows(&second), 5);
    assert!(second.contains("First page") && !second.contains("rel=\"next\""));
    assert_says(&shown("?symbol=msft").await, "Only MSFT.");
    assert_eq!(rows(&shown("?symbol=MSFT&status=open").await), 0);
    assert_says(&shown("?symbol=MSFT&status=open").await, "No orders match this filter.");
    // Invalid parameters are ignored.
    assert_eq!(rows(&shown("?status=nonsense&cursor=nonsense&symbol=%20").await), 50);
}

#[tokio::test]
async fn commission_and_slippage_are_on_every_page_of_a_trade() {
    let app = TestApp::spawn_trading(|rules| {
        rules.commission = Commission { per_order: "1.00".parse().unwrap(), ..Commission::default() };
        rules.slippage = Some("0.1".parse().unwrap());
    })
    .await;
    let (browser, portfolio) = mara(&app).await;
    let ticket =
        [("symbol", "AAPL"), ("side", "buy"), ("quantity", "10"), ("unit", "shares"), ("type", "market")];
    let shown = preview(&browser, portfolio, &ticket).await.is(200).text();
    assert_says(&shown, "for 1,502.50 with the commission. You would still have 8,497.50 of buying power.");
    assert_says(&shown, "10 × 150.15 1,501.50 Commission 1.00 Slippage +0.15 a share To pay, USD 1,502.50");
    let page = trade_by_form(&browser, portfolio, &ticket).await;
    let sentence = "Bought 10 AAPL at 150.15: last price 150.00 at 14:12:00 New York, 0.0 s old, +0.15 slippage. \
                    1,502.50 was debited from your cash, including 1.00 of commission.";
    assert_says(&browser.get(&page).await.is(200).text(), sentence);
    let journal = browser.get(&format!("/portfolios/{portfolio}/transactions")).await.is(200).text();
    assert_says(&journal, sentence);
    let table = browser.get(&format!("/portfolios/{portfolio}/transactions.csv")).await.is(200).text();
    assert!(table.lines().nth(1).unwrap().contains(",last,150.00,0.15,,2,"), "{table}");
    let stop =
        [("symbol", "AAPL"), ("side", "buy"), ("quantity", "1"), ("type", "stop"), ("stop_price", "160")];
    let shown = preview(&browser, portfolio, &stop).await.is(200).text();
    assert_says(&shown, "1 × 160.16 160.16 Commission 1.00 Slippage 0.1%, included");
}

#[tokio::test]
async fn partial_fills_are_listed_one_by_one() {
    let app = TestApp::spawn_trading(|rules| rules.liquidity = Some("10".parse().unwrap())).await;
    app.prices.set_volume("AAPL", Some(40));
    let (browser, portfolio) = mara(&app).await;
    let shown =
        preview(&browser, portfolio, &[("symbol", "AAPL"), ("side", "buy"), ("quantity", "10")]).await;
    assert_says(&shown.is(200).text(), "You would buy 4 of 10 AAPL at once");
    let page =
        trade_by_form(&browser, portfolio, &[("symbol", "AAPL"), ("side", "buy"), ("quantity", "10")]).await;
    let shown = browser.get(&page).await.is(200).text();
    assert_says(&shown, "Bought 4 of 10 Apple Inc.");
    assert_says(
        &shown,
        "The rest waits for the next price until 24:00 today. 900.00 of your cash is reserved for it.",
    );
    assert!(shown.contains("name=\"quantity\" value=\"6\""), "what is left can be changed");
    app.trades_at("AAPL", "151.00").await;
    let shown = browser.get(&page).await.is(200).text();
    assert_says(&shown, "Bought 4 AAPL at 150.00");
    assert_says(&shown, "Bought 4 AAPL at 151.00");
    assert_says(&shown, "Average price 150.50");
}

#[tokio::test]
async fn with_real_hours_the_ticket_says_when_the_exchange_opens() {
    let app = TestApp::spawn_trading(|rules| rules.mode = TradingMode::Realistic).await;
    let (browser, portfolio) = mara(&app).await;
    let page = format!("/portfolios/{portfolio}");
    let open = browser.get(&page).await.is(200).text();
    assert!(!text(&open).contains("The exchange is closed"), "it is Friday afternoon");
    assert_says(&open, "New York open until 16:00");
    app.at("2026-11-21T15:00:00Z");
    let closed = browser.get(&page).await.is(200).text();
    assert_says(&closed, "The exchange is closed. It opens 09:30 on Mon, 23 Nov; until then orders wait.");
    let order =
        trade_by_form(&browser, portfolio, &[("symbol", "AAPL"), ("side", "buy"), ("quantity", "1")]).await;
    let shown = browser.get(&order).await.is(200).text();
    assert_says(&shown, "It waits for the next price until 16:00 on Mon, 23 Nov.");
    assert_says(&shown, "The exchange is closed; it opens 09:30 on Mon, 23 Nov.");
}

#[tokio::test]
async fn a_reset_opens_a_new_portfolio_and_the_old_one_stays_readable() {
    let app = TestApp::spawn().await;
    let (browser, old) = mara(&app).await;
    browser.buy(old, "AAPL", "10").await.is(201);
    trade_by_form(&browser, old, &LIMIT).await;
    let settings = format!("/portfolios/{old}/settings");
    let target = format!("/portfolios/{old}/reset");
    let refused = browser.refused(&settings, &target, &[("cash_balance", "-5")]).await.text();
    assert!(refused.contains("name=\"cash_balance\" value=\"-5\"") && refused.contains("role=\"alert\""));
    let begun = browser.submit(&settings, &target, &[("cash_balance", "25,000.00")]).await.is(303);
    let new = page_of(&location(&begun)).to_owned();
    assert_ne!(new, format!("/portfolios/{old}"));
    let said = browser.follow(&begun).await.is(200).text();
    assert_says(&said, "Growth was reset to 25,000.00.");
    assert_eq!(browser.get(&format!("/api/v1{new}")).await.json()["cash_balance"], "25000.00");

    let overview = browser.get("/portfolios").await.is(200).text();
    assert_says(&overview, "Archived 1 from before a reset");
    assert!(overview.contains(&format!("href=\"/portfolios/{old}\"")));
    for rest in ["", "/orders", "/transactions", "/performance", "/composition", "/settings"] {
        let html = browser.get(&format!("/portfolios/{old}{rest}")).await.is(200).text();
        assert_says(&html, "Archived on 20 Nov 2026");
        for form in ["id=\"ticket\"", "/orders/cancel", "/cash\"", "/reset"] {
            assert!(!html.contains(form), "{rest} has {form}");
        }
    }
    let ended = browser.get(&format!("/portfolios/{old}")).await.is(200).text();
    assert_says(&ended, "Buy AAPL limit Canceled 10 140.00");
    // Forms of the archived portfolio are refused, no matter which page they are sent from.
    let token = csrf_token(&browser.get("/settings").await.is(200).text());
    let csrf = ("csrf", &*token);
    let order = [csrf, ("symbol", "AAPL"), ("side", "buy"), ("quantity", "1"), ("client_order_id", "a")];
    for (rest, fields) in [
        ("orders", &order[..]),
        ("orders/preview", &order[..4]),
        ("reset", &[csrf, ("cash_balance", "1")]),
        ("cash", &[csrf, ("type", "deposit"), ("amount", "1")]),
    ] {
        let refused = browser.post_form(&format!("/portfolios/{old}/{rest}"), fields).await.is(303);
        let html = browser.get(&location(&refused)).await.is(200).text();
        assert_says(&html, "The portfolio is archived and read-only.");
    }
    // On other pages the navigation leads to the new portfolio.
    let elsewhere = browser.get("/watchlist").await.is(200).text();
    assert!(elsewhere.contains(&format!("href=\"{new}/performance\"")), "{elsewhere}");
}

#[tokio::test]
async fn the_ticket_sells_all_of_a_position() {
    let app = TestApp::spawn().await;
    let (browser, portfolio) = mara(&app).await;
    app.prices.set_bid_and_ask("AAPL", "149.99", "150.01");
    let buy =
        [("symbol", "AAPL"), ("side", "buy"), ("quantity", "450"), ("unit", "notional"), ("type", "market")];
    trade_by_form(&browser, portfolio, &buy).await;
    let page = format!("/portfolios/{portfolio}?symbol=AAPL&side=sell");
    let shown = browser.get(&page).await.is(200).text();
    assert!(shown.contains("quantity=all"), "the link next to the quantity sells all: {shown}");
    let all =
        [("symbol", "AAPL"), ("side", "sell"), ("quantity", "All"), ("unit", "shares"), ("type", "market")];
    let order = order_at(&browser, &trade_by_form(&browser, portfolio, &all).await).await;
    assert_eq!(
        (order["status"].as_str(), order["filled_quantity"].as_str()),
        (Some("filled"), Some("2.999800013"))
    );
    let held = browser.get(&format!("/api/v1/portfolios/{portfolio}/positions")).await.items();
    assert!(held.is_empty(), "{held:?}");
    let refused = preview(&browser, portfolio, &all).await.text();
    assert!(refused.contains("ou hold no shares of this stock"), "{refused}");
    let buy_all =
        [("symbol", "AAPL"), ("side", "buy"), ("quantity", "all"), ("unit", "shares"), ("type", "market")];
    let refused = preview(&browser, portfolio, &buy_all).await.text();
    assert!(refused.contains("rite a plain decimal"), "{refused}");
}

#[tokio::test]
async fn orders_and_their_forms_are_not_found_for_other_users() {
    let app = TestApp::spawn().await;
    let (owner, portfolio) = mara(&app).await;
    let page = trade_by_form(&owner, portfolio, &LIMIT).await;
    app.register("mallory").await;
    let mallory = app.log_in("mallory").await;
    mallory.get(&page).await.is(404);
    mallory.get(&format!("/portfolios/{portfolio}/orders")).await.is(404);
    let token = csrf_token(&mallory.get("/settings").await.is(200).text());
    let id = page.rsplit('/').next().unwrap();
    for (target, fields) in [
        (format!("/portfolios/{portfolio}/orders/cancel"), vec![("cancel", id)]),
        (format!("{page}/replace"), vec![("limit_price", "1")]),
        (format!("/portfolios/{portfolio}/reset"), vec![("cash_balance", "1")]),
    ] {
        let fields = [&fields[..], &[("csrf", &*token)]].concat();
        mallory.post_form(&target, &fields).await.is(404);
    }
    for nonsense in ["nonsense", ""] {
        let fields = [("csrf", &*csrf_token(&owner.get("/settings").await.text())), ("cancel", nonsense)];
        owner.post_form(&format!("/portfolios/{portfolio}/orders/cancel"), &fields).await.is(404);
    }
    assert_eq!(order_at(&owner, &page).await["status"], "accepted");
}
