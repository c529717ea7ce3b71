//! The pages in a real headless Chromium, used as a person would use them.

mod accessibility;
mod charts;
mod explanations;
mod imports;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client as Page, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::client::PASSWORD;
use crate::installation::{Installation, free_port};
use crate::process::{Process, eventually};
use crate::stack::Stack;

const PATIENCE: Duration = Duration::from_secs(20);
pub const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

/// Chromium with an empty profile, and its driver.
pub struct Browser {
    pub page: Page,
    base: String,
    _driver: Process,
}

/// A command of Chromium's own protocol.
#[derive(Debug)]
struct Chromium(&'static str, Value);

impl WebDriverCompatibleCommand for Chromium {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({"cmd": self.0, "params": self.1}).to_string()))
    }
}

/// Reads the browser's log: blocked scripts and styles, and errors in our scripts.
#[derive(Debug)]
struct ReadLog;

impl WebDriverCompatibleCommand for ReadLog {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}

impl Browser {
    pub async fn open(stack: &Stack, (width, height): (u32, u32), javascript: bool) -> Self {
        let folder = stack.installation().folder();
        let port = free_port();
        let driver = start_driver(folder, port);
        let profile = folder.join(format!("profile-{port}"));
        let mut capabilities = Capabilities::new();
        let options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--hide-scrollbars",
                format!("--user-data-dir={}", profile.display()),
            ],
            // A real window cannot be as narrow as a phone.
            "mobileEmulation": {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 1.0, "mobile": width < 600}},
        });
        capabilities.insert("goog:chromeOptions".into(), options);
        capabilities.insert("goog:loggingPrefs".into(), json!({"browser": "ALL"}));
        let address = format!("http://127.0.0.1:{port}");
        let page = eventually("a browser", Duration::from_secs(60), async || {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities.clone()).connect(&address).await.ok()
        })
        .await;
        if !javascript {
            // The driver needs scripts, so only the page's scripts are blocked.
            page.issue_cmd(Chromium("Network.enable", json!({}))).await.unwrap();
            page.issue_cmd(Chromium("Network.setBlockedURLs", json!({"urls": ["*.js*"]}))).await.unwrap();
        }
        Self { page, base: stack.urls[0].clone(), _driver: driver }
    }

    async fn go(&self, path: &str) {
        self.page.goto(&format!("{}{path}", self.base)).await.unwrap();
    }

    /// The total gain on a portfolio's page: the amount, and its percentage of the deposits.
    async fn total_gain(&self) -> (f64, f64) {
        const READ: &str = r#"
            const shown = (name) => Number(document.querySelector(`[data-part=stats] [data-value=${name}]`)
                .textContent.replace("\u2212", "-").replace(/[^0-9.-]/g, ""));
            return [shown("total_gain"), shown("gain_percent")];"#;
        serde_json::from_value(self.page.execute(READ, Vec::new()).await.unwrap()).unwrap()
    }

    async fn path(&self) -> String {
        self.page.current_url().await.unwrap().path().to_owned()
    }

    async fn fill(&self, selector: &str, text: &str) {
        let field = self.page.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await;
        let field = field.unwrap_or_else(|error| panic!("no {selector}: {error}"));
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    async fn press(&self, locator: Locator<'_>) {
        let element = self.page.wait().at_most(PATIENCE).for_element(locator).await;
        let element = element.unwrap_or_else(|error| panic!("no {locator:?}: {error}"));
        // Scrolls the element away from the bar at the bottom, as a user would.
        let place = vec![serde_json::to_value(&element).unwrap()];
        self.page.execute("arguments[0].scrollIntoView({block: 'center'});", place).await.unwrap();
        element.click().await.unwrap();
    }

    /// Presses the button with this text. Uses XPath, because CSS cannot select by text.
    async fn button(&self, text: &str) {
        self.press(Locator::XPath(&format!("//main//button[normalize-space()='{text}']"))).await;
    }

    /// Waits until the page contains `needle`, and returns its text.
    async fn says(&self, needle: &str) -> String {
        eventually(&format!("the page says {needle:?}"), PATIENCE, async || {
            let main = self.page.find(Locator::Css("main")).await.ok()?;
            let text = main.text().await.ok()?;
            text.contains(needle).then_some(text)
        })
        .await
    }

    async fn text(&self, selector: &str) -> String {
        let element = self.page.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await;
        element.unwrap_or_else(|error| panic!("no {selector}: {error}")).text().await.unwrap()
    }

    /// Checks that the page was not reloaded since a script marked it.
    async fn is_the_same_page(&self) {
        let marked = self.page.execute("return window.unchanged === true;", Vec::new()).await.unwrap();
        assert_eq!(marked, true, "the page was loaded anew");
    }

    async fn register(&self, name: &str) {
        self.go("/register").await;
        self.fill("main [name=username]", name).await;
        self.fill("main [name=email]", &format!("{name}@example.org")).await;
        self.fill("main [name=password]", PASSWORD).await;
        self.button("Open account").await;
        self.says("Open your first portfolio").await;
    }

    /// Creates a portfolio and returns the path of its page.
    async fn open_portfolio(&self, name: &str) -> String {
        self.go("/portfolios").await;
        self.fill("main form [name=name]", name).await;
        self.fill("main form [name=cash_balance]", "100000.00").await;
        self.button("Open portfolio").await;
        self.says("Trade").await;
        self.path().await
    }

    /// Buys with the ticket, its preview and the confirmation. Returns the receipt.
    async fn buy(&self, portfolio: &str, symbol: &str, quantity: &str) -> String {
        self.go(portfolio).await;
        self.fill("#ticket [name=symbol]", symbol).await;
        self.fill("#ticket [name=quantity]", quantity).await;
        self.button("Preview order").await;
        self.says("the order is not placed yet").await;
        self.press(Locator::Css("main form.ticket button")).await;
        self.says("Bought").await
    }

    /// The number of orders in the portfolio's list.
    async fn orders(&self, portfolio: &str) -> usize {
        self.go(&format!("{portfolio}/orders")).await;
        self.says("Orders").await;
        self.page.find_all(Locator::Css("main table tbody tr")).await.unwrap().len()
    }

    /// Problems that the browser had with our pages, except missing pages, which the test requests on purpose.
    pub async fn complaints(&self) -> Vec<String> {
        let log: Value = self.page.issue_cmd(ReadLog).await.unwrap();
        let lines = log.as_array().cloned().unwrap_or_default();
        let severe = lines.iter().filter(|line| line["level"] == "SEVERE");
        severe.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Runs a script in the page and returns its result.
    async fn run(&self, script: &str) -> Value {
        let ran = self.page.execute(script, Vec::new()).await;
        ran.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Emulates a media type (`print`, or empty for the screen) and a preferred color scheme.
    async fn emulate(&self, media: &str, scheme: &str) {
        // Without animations, so that no color is measured in the middle of a transition.
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        let emulated = Chromium("Emulation.setEmulatedMedia", json!({"media": media, "features": features}));
        self.page.issue_cmd(emulated).await.unwrap();
    }

    pub async fn close(self) {
        self.page.clone().close().await.unwrap();
    }
}

fn start_driver(folder: &Path, port: u16) -> Process {
    let mut command = Command::new("chromedriver");
    command.arg(format!("--port={port}"));
    Process::start(&format!("chromedriver-{port}"), folder, command)
}

#[tokio::test]
async fn a_person_registers_buys_and_sees_the_position() {
    // A minute per second, so that even a quiet stock's price moves during the test.
    let stack = Stack::of(Installation::embedded().with("CLOCK_SPEED", "60"), 1, 0).await;
    let browser = Browser::open(&stack, DESKTOP, true).await;
    browser.register("mara").await;
    let portfolio = browser.open_portfolio("Long run").await;
    browser.says("100,000").await;

    // The search, sent with the Enter key, finds Apple, whose price updates by itself.
    browser.fill("header [name=search]", "app\u{e007}").await;
    browser.says("AAPL").await;
    browser.press(Locator::XPath("//main//a[normalize-space()='AAPL']")).await;
    browser.says("Apple").await;
    let price = browser.text("main .price").await;
    eventually("the price moves on the open page", Duration::from_secs(60), async || {
        let now = browser.page.find(Locator::Css("main .price")).await.ok()?.text().await.ok()?;
        (now != price && !now.is_empty()).then_some(())
    })
    .await;

    let receipt = browser.buy(&portfolio, "AAPL", "10").await;
    assert!(receipt.contains("Bought 10 AAPL at "), "{receipt}");
    assert!(receipt.contains(": ask ") && receipt.contains(" slippage."), "{receipt}");

    browser.go(&portfolio).await;
    let page = browser.says("Holdings").await;
    assert!(page.contains("AAPL"), "{page}");
    let row = browser.text("main table tbody tr").await;
    assert!(row.contains("AAPL") && row.contains("10"), "{row}");

    for (part, expected) in [
        ("transactions", "Deposit"),
        ("performance", "Time-weighted return"),
        ("composition", "Technology"),
        ("settings", "Long run"),
    ] {
        browser.go(&format!("{portfolio}/{part}")).await;
        browser.says(expected).await;
    }
    browser.go("/watchlist").await;
    browser.says("Watchlist").await;

    // The page refuses to sell more than is held, and keeps what was typed.
    browser.go(&portfolio).await;
    browser.press(Locator::Css("#ticket label:has([value=sell])")).await;
    browser.fill("#ticket [name=symbol]", "AAPL").await;
    browser.fill("#ticket [name=quantity]", "11").await;
    browser.button("Preview order").await;
    browser.says("the order sells 11").await;
    let typed = browser.page.find(Locator::Css("#ticket [name=quantity]")).await.unwrap();
    assert_eq!(typed.prop("value").await.unwrap().as_deref(), Some("11"));

    assert_eq!(browser.complaints().await, Vec::<String>::new());

    browser.press(Locator::Css("details.menu summary")).await;
    browser.press(Locator::XPath("//header//button[normalize-space()='Log out']")).await;
    eventually("logged out", PATIENCE, async || {
        browser.go(&portfolio).await;
        (browser.path().await == "/login").then_some(())
    })
    .await;
    browser.close().await;
    stack.ends_well().await;
}

#[tokio::test]
async fn open_pages_follow_prices_and_orders_without_a_reload() {
    let stack = Stack::of(Installation::embedded().with("CLOCK_SPEED", "60"), 1, 0).await;
    let browser = Browser::open(&stack, DESKTOP, true).await;
    browser.register("mara").await;
    let portfolio = browser.open_portfolio("Long run").await;
    browser.go("/watchlist?list=new").await;
    browser.fill("main [name=name]", "Main").await;
    browser.button("Create list").await;
    browser.fill("main [name=symbols]", "AAPL, MSFT").await;
    browser.button("Add").await;
    let price = browser.text("[data-symbol=AAPL] [data-value=price]").await;
    let says_live = async || browser.text(".live").await == "live";
    eventually("the page is live", PATIENCE, async || says_live().await.then_some(())).await;
    // The mark would not survive a reload.
    browser.page.execute("window.unchanged = true;", Vec::new()).await.unwrap();
    eventually("the price on the watchlist moves", Duration::from_secs(60), async || {
        (browser.text("[data-symbol=AAPL] [data-value=price]").await != price).then_some(())
    })
    .await;
    browser.is_the_same_page().await;

    browser.go(&portfolio).await;
    eventually("the page is live", PATIENCE, async || says_live().await.then_some(())).await;
    browser.page.execute("window.unchanged = true;", Vec::new()).await.unwrap();
    let sam = stack.visitor();
    let body = json!({"name": "elsewhere", "username": "mara", "password": PASSWORD});
    let made = sam.post("/api/v1/auth/tokens", &body).await.expect(201);
    let elsewhere = sam.with_token(made["token"].as_str().unwrap());
    let order = |symbol: &str, more: Value| {
        let mut order = json!({"symbol": symbol, "side": "buy", "type": "market", "quantity": "1"});
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };
    let orders = format!("/api/v1{portfolio}/orders");
    let waiting = order("KO", json!({"type": "limit", "limit_price": "1.00", "time_in_force": "gtc"}));
    elsewhere.post(&orders, &waiting).await.expect(201);
    let page = browser.says("1 open").await;
    assert!(page.contains("Buy KO"), "{page}");
    elsewhere.post(&orders, &order("JPM", json!({"quantity": "300"}))).await.expect(201);
    browser.says("JPMorgan").await;
    // The percentage changes together with the amount beside it.
    let before = browser.total_gain().await.0;
    eventually("the gain moves", Duration::from_secs(60), async || {
        let (gain, percent) = browser.total_gain().await;
        assert!((gain / 1000.0 - percent).abs() < 0.006, "{gain} of 100 000 is not {percent} %");
        ((gain - before).abs() > 15.0).then_some(())
    })
    .await;
    browser.is_the_same_page().await;
    // The replaced part of the page works, and its buttons have the page's token.
    browser.press(Locator::Css("[data-part=open] button[name=cancel]")).await;
    browser.says("is canceled").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    stack.ends_well().await;
}

/// Records each amount of cash that a page shows from its start.
const NOTE_CASH: &str = r#"
    window.cash = [];
    new MutationObserver(() => {
        const shown = document.querySelector("[data-part=stats] [data-value=cash_balance]");
        const text = shown?.textContent.trim();
        if (text && window.cash.at(-1) !== text) window.cash.push(text);
    }).observe(document, {childList: true, subtree: true, characterData: true});"#;

#[tokio::test]
async fn the_portfolio_page_after_a_buy_shows_the_new_cash_at_once_and_never_the_old_one() {
    let stack = Stack::of(Installation::embedded().with("CLOCK_SPEED", "60"), 1, 0).await;
    let browser = Browser::open(&stack, DESKTOP, true).await;
    browser.register("mara").await;
    let portfolio = browser.open_portfolio("Long run").await;
    let is_live = async || {
        eventually("the page is live", PATIENCE, async || {
            (browser.text(".live").await == "live").then_some(())
        })
        .await;
    };
    // The server streams this portfolio to the page.
    is_live().await;
    let source = Chromium("Page.addScriptToEvaluateOnNewDocument", json!({"source": NOTE_CASH}));
    browser.page.issue_cmd(source).await.unwrap();
    let cash = async || {
        let noted = browser.page.execute("return window.cash;", Vec::new()).await.unwrap();
        serde_json::from_value::<Vec<String>>(noted).unwrap()
    };
    let mut before = "100,000.00".to_owned();
    for symbol in ["AAPL", "MSFT"] {
        browser.buy(&portfolio, symbol, "10").await;
        browser.press(Locator::XPath("//main//a[normalize-space()='Back to Long run']")).await;
        is_live().await;
        // By then the stream has sent several valuations.
        let value = browser.text(".figure").await;
        eventually("the value moves", Duration::from_secs(60), async || {
            (browser.text(".figure").await != value).then_some(())
        })
        .await;
        let shown = cash().await;
        assert_eq!(shown.len(), 1, "one amount of cash after one order: {shown:?}");
        assert_ne!(shown[0], before);
        before = shown[0].clone();
    }
    browser.close().await;
    stack.ends_well().await;
}

#[tokio::test]
async fn back_and_reload_after_a_receipt_do_not_repeat_the_order() {
    let stack = Stack::embedded().await;
    for javascript in [true, false] {
        let browser = Browser::open(&stack, DESKTOP, javascript).await;
        browser.register(if javascript { "mara" } else { "ines" }).await;
        let portfolio = browser.open_portfolio("Long run").await;
        browser.buy(&portfolio, "AAPL", "10").await;
        let receipt = browser.path().await;
        let preview = format!("{portfolio}/orders/preview");
        browser.page.back().await.unwrap();
        assert_eq!(browser.path().await, preview);
        browser.page.refresh().await.unwrap();
        browser.says("This order was already placed.").await;
        assert_eq!(browser.path().await, preview);
        browser.page.back().await.unwrap();
        browser.says("Holdings").await;
        browser.page.forward().await.unwrap();
        browser.page.forward().await.unwrap();
        browser.page.refresh().await.unwrap();
        browser.says("Bought 10").await;
        assert_eq!(browser.path().await, receipt);
        assert_eq!(browser.orders(&portfolio).await, 1);

        // A reloaded preview is still to be confirmed, and a double click on its button buys once.
        browser.go(&portfolio).await;
        browser.fill("#ticket [name=symbol]", "KO").await;
        browser.fill("#ticket [name=quantity]", "1").await;
        browser.button("Preview order").await;
        browser.says("the order is not placed yet").await;
        for _ in 0..2 {
            browser.page.refresh().await.unwrap();
            browser.says("the order is not placed yet").await;
        }
        let button = browser.page.find(Locator::Css("main form.ticket button")).await.unwrap();
        let twice = "arguments[0].click(); arguments[0].click();";
        browser.page.execute(twice, vec![serde_json::to_value(&button).unwrap()]).await.unwrap();
        browser.says("Bought 1 KO").await;
        assert_eq!(browser.orders(&portfolio).await, 2);

        // A refused form also redirects to a page.
        browser.go(&format!("{portfolio}/settings")).await;
        browser.fill("main [name=amount]", "much").await;
        browser.press(Locator::XPath("//main//form[contains(@action, '/cash')]//button")).await;
        browser.says("Amount:").await;
        browser.page.refresh().await.unwrap();
        browser.says("USD now").await;
        assert_eq!(browser.complaints().await, Vec::<String>::new());
        browser.close().await;
    }
    stack.ends_well().await;
}

#[tokio::test]
async fn a_page_says_when_its_connection_is_lost() {
    let installation = Installation::embedded();
    let mut stack = Stack::of(installation, 1, 0).await;
    let browser = Browser::open(&stack, PHONE, true).await;
    browser.register("mara").await;
    browser.open_portfolio("Long run").await;
    let says = async |text: &str| {
        eventually(&format!("the page says {text}"), PATIENCE, async || {
            (browser.text(".live").await == text).then_some(())
        })
        .await;
    };
    says("live").await;
    stack.servers[0].process.ends_well().await;
    says("reconnecting").await;
    stack.restarted(0).await;
    says("live").await;
    browser.close().await;
}

#[tokio::test]
async fn everything_works_without_scripts() {
    let stack = Stack::embedded().await;
    let browser = Browser::open(&stack, PHONE, false).await;
    browser.register("ines").await;
    let portfolio = browser.open_portfolio("No scripts").await;
    let receipt = browser.buy(&portfolio, "KO", "2.5").await;
    assert!(receipt.contains("Bought 2.5 KO at "), "{receipt}");
    browser.close().await;
}
