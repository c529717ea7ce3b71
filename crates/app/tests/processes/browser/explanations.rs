//! Explanations of figures: loaded into the page when they are opened, and separate pages without JavaScript.

use super::*;

/// The details of a figure on the performance page.
const TWR: &str = "//details[@data-explain][summary/span[normalize-space()='Time-weighted return']]";
/// The details of the return of all portfolios.
const TWR_OF_ALL: &str = "//details[@data-explain][summary[contains(., 'Explain the time-weighted return')]]";
const WORDS: &str = "The growth of all days multiplied, less one.";

/// Counts the requests of the page that fail.
const COUNT_FAILED: &str = r#"
    window.unchanged = true;
    window.failed = 0;
    const ask = window.fetch;
    window.fetch = (...all) => ask(...all).catch((error) => {
        window.failed += 1;
        throw error;
    });"#;

impl Browser {
    async fn press_summary(&self, details: &str) {
        self.press(Locator::XPath(&format!("{details}/summary"))).await;
    }

    /// The number of explanations in the details, and of links to the explanation's page.
    async fn loaded(&self, details: &str) -> (usize, usize) {
        let count = async |part: &str| {
            let path = format!("{details}{part}");
            self.page.find_all(Locator::XPath(&path)).await.unwrap().len()
        };
        let explanations = count("/div[contains(@class, 'explanation')]").await;
        (explanations, count("/p/a[contains(@href, '/explain/')]").await)
    }

    async fn is_loaded(&self, details: &str) {
        eventually("the explanation is loaded", PATIENCE, async || {
            (self.loaded(details).await == (1, 0)).then_some(())
        })
        .await;
    }

    async fn block(&self, urls: Value) {
        self.page.issue_cmd(Chromium("Network.enable", json!({}))).await.unwrap();
        self.page.issue_cmd(Chromium("Network.setBlockedURLs", json!({ "urls": urls }))).await.unwrap();
    }
}

#[tokio::test]
async fn an_explanation_is_loaded_into_the_open_figure_once() {
    let stack = Stack::embedded().await;
    let browser = Browser::open(&stack, PHONE, true).await;
    browser.register("mara").await;
    let portfolio = browser.open_portfolio("Long run").await;
    browser.buy(&portfolio, "AAPL", "10").await;
    browser.go(&format!("{portfolio}/performance")).await;
    browser.run(COUNT_FAILED).await;
    assert_eq!(browser.loaded(TWR).await, (0, 1), "nothing is loaded before it is opened");

    // While the explanation cannot be loaded, the definition and the link stay.
    browser.block(json!(["*/explain/*"])).await;
    browser.press_summary(TWR).await;
    browser.says(WORDS).await;
    eventually("the request has failed", PATIENCE, async || {
        (browser.run("return window.failed;").await == json!(1)).then_some(())
    })
    .await;
    assert_eq!(browser.loaded(TWR).await, (0, 1));
    // The browser may have reported the blocked request.
    browser.complaints().await;
    browser.press_summary(TWR).await;
    browser.block(json!([])).await;

    browser.press_summary(TWR).await;
    browser.is_loaded(TWR).await;
    let shown = browser.page.find(Locator::XPath(TWR)).await.unwrap().text().await.unwrap();
    for words in [WORDS, "twr = Π (1 + r) − 1", "Growth of 1", "100,000.00", "GIPS"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(shown.matches(WORDS).count(), 1, "the definition is shown once: {shown}");
    // It is loaded only once, even if it is closed and opened again.
    for _ in 0..2 {
        browser.press_summary(TWR).await;
    }
    browser.is_loaded(TWR).await;
    browser.is_the_same_page().await;

    browser.go("/portfolios").await;
    browser.press_summary(TWR_OF_ALL).await;
    browser.is_loaded(TWR_OF_ALL).await;
    browser.says("Archived portfolios are left out").await;
    browser.assert_fits("/portfolios with an explanation").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    stack.ends_well().await;
}

#[tokio::test]
async fn without_scripts_the_link_in_a_figure_leads_to_its_explanation() {
    let stack = Stack::embedded().await;
    let browser = Browser::open(&stack, PHONE, false).await;
    browser.register("ines").await;
    let portfolio = browser.open_portfolio("No scripts").await;
    browser.buy(&portfolio, "KO", "2").await;
    browser.go(&format!("{portfolio}/performance")).await;
    browser.press_summary(TWR).await;
    browser.says(WORDS).await;
    assert_eq!(browser.loaded(TWR).await, (0, 1));
    browser.press(Locator::XPath(&format!("{TWR}//a"))).await;
    let shown = browser.says("GIPS").await;
    assert_eq!(browser.path().await, format!("{portfolio}/explain/twr"));
    assert!(shown.contains(WORDS) && shown.contains("100,000.00"), "{shown}");
    browser.press(Locator::XPath("//main//a[normalize-space()='No scripts: Performance']")).await;
    browser.says("Risk and return").await;

    browser.go("/portfolios").await;
    browser.press_summary(TWR_OF_ALL).await;
    browser.press(Locator::XPath(&format!("{TWR_OF_ALL}//a"))).await;
    browser.says("Archived portfolios are left out").await;
    assert_eq!(browser.path().await, "/portfolios/explain/twr");
    browser.press(Locator::XPath("//main//a[normalize-space()='Portfolios']")).await;
    browser.says("No scripts").await;
    browser.close().await;
    stack.ends_well().await;
}
