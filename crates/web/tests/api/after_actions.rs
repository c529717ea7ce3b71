//! A page, API response or stream that is requested after an action shows the books after the action, on every server.

use serde_json::json;

use crate::harness::{AnotherServer, Caller, TestApp, trade, with};

/// Sorts the words of each line, because attributes may come in any order, and removes hidden keys, which always
/// differ.
fn in_order(text: &str) -> String {
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split([' ', '>']).collect();
        words.sort_unstable();
        words.join(" ")
    };
    text.lines()
        .filter(|line| !line.contains("name=\"idempotency_key\"") && !line.contains("name=\"csrf\""))
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

/// All pages and API responses that show a portfolio, by address.
async fn show(browser: &Caller, portfolio: i64) -> Vec<(String, String)> {
    let own = format!("/portfolios/{portfolio}");
    let pages = ["", "/orders", "/transactions", "/performance", "/composition", "/settings"];
    let reads = ["", "/valuation", "/positions", "/composition", "/orders", "/transactions", "/performance"];
    let addresses = pages
        .map(|part| format!("{own}{part}"))
        .into_iter()
        .chain(["/portfolios", "/watchlist", "/stocks/AAPL"].map(str::to_owned))
        .chain(reads.map(|part| format!("/api/v1{own}{part}")))
        .chain(["/api/v1/portfolios", "/api/v1/watchlists"].map(str::to_owned));
    let mut shown = Vec::new();
    for address in addresses {
        let answer = browser.get(&address).await;
        let text = answer.text().replace(answer.header("x-request-id").unwrap_or_default(), "");
        shown.push((address, format!("{} {}", answer.status, in_order(&text))));
    }
    let stream = format!("/api/v1/stream?portfolio={portfolio}");
    let exists = browser.get(&format!("/api/v1{own}")).await.status == 200;
    let first = match exists {
        true => browser.listen(&stream).await.next_of("valuation").await.data.to_string(),
        false => browser.get(&stream).await.status.to_string(),
    };
    shown.push((stream, first));
    shown
}

struct Servers {
    app: TestApp,
    other: AnotherServer,
    browser: Caller,
    portfolio: i64,
    before: Vec<(String, String)>,
}

impl Servers {
    async fn warm(&mut self) {
        for caller in [self.browser.clone(), self.browser.at(&self.other)] {
            self.before = show(&caller, self.portfolio).await;
        }
    }

    async fn after(&mut self, action: &str, seen_in: &[&str]) {
        let here = show(&self.browser, self.portfolio).await;
        let there = show(&self.browser.at(&self.other), self.portfolio).await;
        let new = self.app.another_server();
        let expected = show(&self.browser.at(&new), self.portfolio).await;
        for (server, shown) in [("acting", here), ("other", there)] {
            for ((address, text), (_, newest)) in shown.iter().zip(&expected) {
                assert!(
                    text == newest,
                    "after {action}, the {server} server shows old books at {address}:\n{text}\n---\n{newest}"
                );
            }
        }
        for part in seen_in {
            let of = |shown: &[(String, String)]| {
                let found = shown.iter().find(|(address, _)| address.ends_with(part));
                found.unwrap_or_else(|| panic!("no {part}")).1.clone()
            };
            assert_ne!(of(&self.before), of(&expected), "{action} is not seen in {part}");
        }
        self.warm().await;
    }
}

#[tokio::test]
async fn pages_reads_and_streams_show_an_action_at_once_on_every_server() {
    let app = TestApp::spawn().await;
    let portfolio = app.register("mara").await.open("10000.00").await;
    let browser = app.log_in("mara").await;
    let other = app.another_server();
    let mut all = Servers { app, other, browser, portfolio, before: Vec::new() };
    all.warm().await;
    let own = format!("/portfolios/{portfolio}");
    let (page, stream) = (own.as_str(), format!("/api/v1/stream?portfolio={portfolio}"));
    let stream = stream.as_str();

    all.browser.buy(portfolio, "AAPL", "10").await.is(201);
    all.after("a buy", &[page, "/orders", "/transactions", "/stocks/AAPL", "/portfolios", stream]).await;
    all.browser.sell(portfolio, "AAPL", "4").await.is(201);
    all.after("a sell", &[page, "/orders", "/transactions", "/stocks/AAPL", "/portfolios", stream]).await;
    let waits = json!({"type": "limit", "limit_price": "140.00", "time_in_force": "gtc"});
    let order = all.browser.place(portfolio, with(trade("buy", "AAPL", "1"), waits)).await;
    all.after("an order that waits", &[page, "/orders", stream]).await;
    all.browser.cancel(portfolio, &order).await.is(200);
    all.after("a cancellation", &[page, "/orders", stream]).await;
    all.browser.deposit(portfolio, "250.00").await.is(201);
    all.after("a deposit", &[page, "/transactions", "/portfolios", stream]).await;
    all.browser.withdraw(portfolio, "50.00").await.is(201);
    all.after("a withdrawal", &[page, "/transactions", "/portfolios", stream]).await;
    let name = json!({"name": "Renamed"});
    all.browser.patch(&format!("/api/v1{own}"), name.clone()).await.is(200);
    all.after("a new name", &[page, "/portfolios"]).await;
    all.browser.post("/api/v1/watchlists", json!({"name": "Tech"})).await.is(201);
    all.after("a new watchlist", &["/watchlist", "/api/v1/watchlists"]).await;
    all.browser.post(&format!("/api/v1{own}/reset"), json!({})).await.is(201);
    all.after("a reset", &[page, "/api/v1/portfolios"]).await;
    all.browser.delete(&format!("/api/v1{own}")).await.is(204);
    all.after("a deletion", &[page, "/portfolios", stream]).await;
}
