//! Interactive charts. `scripts/assets` must have installed the chart library before the build.

use super::*;

/// A day takes nine seconds, so that a portfolio soon has values of several days.
const FAST: &str = "10000";
const READOUT: &str = ".live-chart .readout";

impl Browser {
    /// Waits until the text above an interactive chart satisfies `fits`, and returns it.
    async fn readout(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        eventually(&format!("the readout shows {what}"), PATIENCE, async || {
            let text = self.page.find(Locator::Css(READOUT)).await.ok()?.text().await.ok()?;
            fits(&text).then_some(text)
        })
        .await
    }

    /// Whether the page shows the server's chart, and whether it shows the script's.
    async fn shown_charts(&self) -> (bool, bool) {
        const READ: &str = r#"
            const seen = (element) => element !== null && getComputedStyle(element).display !== "none";
            return [seen(document.querySelector("[data-chart] svg[role=img]")), seen(document.querySelector(".live-chart"))];"#;
        serde_json::from_value(self.run(READ).await).unwrap()
    }

    /// Moves, presses or releases the mouse at a fraction of the chart's width, in the middle of its height.
    async fn mouse(&self, kind: &str, fraction: f64) {
        const PLACE: &str = r#"
            const chart = document.querySelector(".live-chart .canvas");
            chart.scrollIntoView({block: "center"});
            const box = chart.getBoundingClientRect();
            return [box.left, box.width * 0.85, box.top + box.height * 0.4];"#;
        let [left, width, y]: [f64; 3] = serde_json::from_value(self.run(PLACE).await).unwrap();
        let pressed = i32::from(kind != "mouseReleased");
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let event = json!({
            "type": kind, "x": left + width * fraction, "y": y, "button": button, "buttons": pressed, "clickCount": 1,
        });
        self.page.issue_cmd(Chromium("Input.dispatchMouseEvent", event)).await.unwrap();
    }

    async fn hover(&self, fraction: f64) {
        self.mouse("mouseMoved", fraction).await;
    }

    /// Points at the left end until the text above satisfies `fits`, because a zoom is drawn a moment later.
    async fn hovers_at_the_left(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        eventually(&format!("the left end shows {what}"), PATIENCE, async || {
            self.hover(0.03).await;
            self.hover(0.02).await;
            let text = self.text(READOUT).await;
            (text.contains("open") && fits(&text)).then_some(text)
        })
        .await
    }

    async fn drag(&self, from: f64, to: f64) {
        self.hover(from).await;
        self.mouse("mousePressed", from).await;
        for step in 1..=4 {
            self.hover(from + (to - from) * f64::from(step) / 4.0).await;
        }
        self.mouse("mouseReleased", to).await;
    }
}

#[tokio::test]
async fn the_chart_of_a_price_has_a_crosshair_candles_a_zoom_and_own_trades() {
    let stack = Stack::embedded().await;
    let browser = Browser::open(&stack, DESKTOP, true).await;
    browser.register("mara").await;
    let portfolio = browser.open_portfolio("Long run").await;
    browser.buy(&portfolio, "AAPL", "10").await;

    browser.go("/stocks/AAPL?range=1y").await;
    let newest = browser.readout("the day of the trade", |text| text.contains("Bought 10 at ")).await;
    assert_eq!(browser.shown_charts().await, (false, true));
    browser.hover(0.3).await;
    let earlier = browser.readout("another day", |text| text != newest && text.contains("volume")).await;
    assert!(!earlier.contains("Bought") && !earlier.contains("open"), "{earlier}");

    browser.button("Candles").await;
    browser.hover(0.3).await;
    browser
        .readout("all prices of the day", |text| {
            ["open", "high", "low", "close"].iter().all(|part| text.contains(part))
        })
        .await;
    // The next chart keeps the choice.
    browser.go("/stocks/MSFT").await;
    browser.readout("all prices of the day", |text| text.contains("open")).await;
    browser.go("/stocks/AAPL?range=1y").await;
    browser.readout("all prices of the day", |text| text.contains("open")).await;

    let first = browser.hovers_at_the_left("the first days", |_| true).await;
    browser.drag(0.2, 0.6).await;
    browser.readout("a range with its change", |text| text.contains(" to ") && text.contains('%')).await;
    browser.hovers_at_the_left("the first days of the range", |text| text != first).await;
    browser.button("Reset").await;
    browser.hovers_at_the_left("the first days again", |text| text == first).await;

    // With the keyboard, from day to day.
    browser.run("document.querySelector('.live-chart .canvas').focus();").await;
    let canvas = browser.page.find(Locator::Css(".live-chart .canvas")).await.unwrap();
    canvas.send_keys("\u{e012}").await.unwrap();
    let one = browser.readout("the day before", |text| text.contains("volume")).await;
    canvas.send_keys("\u{e012}").await.unwrap();
    browser.readout("the day before that", |text| text.contains("volume") && *text != *one).await;

    browser.emulate("print", "light").await;
    assert_eq!(browser.shown_charts().await, (true, false), "in print");
    assert!(browser.text("footer").await.contains("TradingView"));
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    stack.ends_well().await;
}

#[tokio::test]
async fn the_chart_of_a_portfolio_compares_it_and_shows_its_drawdown() {
    let stack = Stack::of(Installation::embedded().with("CLOCK_SPEED", FAST), 1, 0).await;
    let browser = Browser::open(&stack, DESKTOP, true).await;
    browser.register("mara").await;
    let portfolio = browser.open_portfolio("Long run").await;
    browser.buy(&portfolio, "AAPL", "300").await;
    eventually("values of several days", Duration::from_secs(90), async || {
        browser.go(&portfolio).await;
        let text = browser.page.find(Locator::Css(READOUT)).await.ok()?.text().await.ok()?;
        text.contains(',').then_some(())
    })
    .await;
    assert_eq!(browser.shown_charts().await, (false, true));
    browser.button("Compare with SPY").await;
    browser.readout("the benchmark", |text| text.contains("SPY")).await;
    browser.button("Value").await;
    browser.readout("the value", |text| !text.contains("SPY") && text.contains(',')).await;

    browser.go(&format!("{portfolio}/performance?benchmark=SPY")).await;
    browser.readout("benchmark and drawdown", |text| text.contains("SPY") && text.contains("drawdown")).await;
    assert_eq!(browser.shown_charts().await, (false, true));

    // A deposit is marked on its day, which is the last day of the chart or one shortly before it.
    browser.go(&format!("{portfolio}/settings")).await;
    browser.fill("main [name=amount]", "1234.50").await;
    browser.press(Locator::XPath("//main//form[contains(@action, '/cash')]//button")).await;
    browser.says("1,234.50").await;
    browser.go(&format!("{portfolio}/performance")).await;
    browser.readout("the drawdown", |text| text.contains("drawdown")).await;
    let spoken = browser.run("return document.querySelector('.live-chart .canvas').ariaLabel;").await;
    assert!(spoken.as_str().unwrap().contains("Marked: deposit 1,234.50 on "), "{spoken}");
    browser.run("document.querySelector('.live-chart .canvas').focus();").await;
    let canvas = browser.page.find(Locator::Css(".live-chart .canvas")).await.unwrap();
    eventually("a day with the deposit", PATIENCE, async || {
        let text = browser.text(READOUT).await;
        let found = text.contains("Deposit 1,234.50").then_some(());
        if found.is_none() {
            canvas.send_keys("\u{e012}").await.unwrap();
        }
        found
    })
    .await;
    // In the dark theme the colors of the canvas change too.
    browser.emulate("", "dark").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;

    let browser = Browser::open(&stack, PHONE, false).await;
    browser.go("/login").await;
    browser.fill("main [name=username]", "mara").await;
    browser.fill("main [name=password]", PASSWORD).await;
    browser.button("Log in").await;
    browser.says("Long run").await;
    for page in
        ["/stocks/AAPL".to_owned(), portfolio.clone(), format!("{portfolio}/performance?benchmark=SPY")]
    {
        browser.go(&page).await;
        assert_eq!(browser.shown_charts().await, (true, false), "{page} without scripts");
    }
    // The server's chart has the benchmark too.
    let drawn = "return ['path.ghost', 'line.flow'].map((each) => document.querySelectorAll(`.chart ${each}`).length);";
    assert_eq!(browser.run(drawn).await, json!([1, 1]));
    browser.close().await;
    stack.ends_well().await;
}
