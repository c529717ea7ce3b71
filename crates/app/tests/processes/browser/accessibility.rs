//! All pages: they fit the screen, the browser reports no problem, and axe-core finds no violation.

use super::*;

/// The script of axe-core, which `scripts/assets --with-tests` installs.
const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../node_modules/axe-core/axe.min.js");

const RUN_AXE: &str = r#"
    const [rules, done] = arguments;
    const options = rules ? {runOnly: {type: "rule", values: rules}} : {};
    axe.run(document, options).then(
        ({violations}) => done(violations.map(({id, help, nodes}) =>
            `${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join("  ")}`)),
        (error) => done([String(error)]),
    );"#;

/// The rows of tables that are shown as cards and are wider than the screen.
const WIDE_CARDS: &str = r#"
    const texts = (row) => {
        const nodes = document.createTreeWalker(row, NodeFilter.SHOW_TEXT), found = [];
        while (nodes.nextNode()) if (!nodes.currentNode.parentElement.closest(".vh")) found.push(nodes.currentNode);
        return found;
    };
    const right = (text) => {
        const range = document.createRange();
        range.selectNode(text);
        return range.getBoundingClientRect().right;
    };
    return [...document.querySelectorAll(".cards :is(tbody, tfoot) tr")]
        .filter((row) => getComputedStyle(row).display === "grid")
        .filter((row) => texts(row).some((text) => right(text) > row.getBoundingClientRect().right + 1))
        .map((row) => row.innerText);"#;

impl Browser {
    /// Fails if axe finds a violation: of all rules in the light theme, and of color contrast in the dark theme.
    pub(super) async fn assert_accessible(&self, axe: &str, page: &str) {
        for (scheme, rules) in [("light", Value::Null), ("dark", json!(["color-contrast"]))] {
            self.emulate("", scheme).await;
            self.run(axe).await;
            let found = self.page.execute_async(RUN_AXE, vec![rules]).await.unwrap();
            assert_eq!(found, json!([]), "{page} in the {scheme} theme");
        }
    }

    pub(super) async fn assert_fits(&self, page: &str) {
        let measured =
            self.run("const e = document.documentElement; return [e.scrollWidth, e.clientWidth];").await;
        assert!(measured[0].as_i64() <= measured[1].as_i64(), "{page} scrolls sideways: {measured}");
        assert_eq!(self.run(WIDE_CARDS).await, json!([]), "{page} has cards that are cut off");
    }
}

/// The source of axe-core.
pub(super) fn axe() -> String {
    std::fs::read_to_string(AXE)
        .unwrap_or_else(|error| panic!("{AXE}: {error}; run scripts/assets --with-tests"))
}

/// Every page of a user with data, in the light and the dark theme, on a phone and on a desktop.
#[tokio::test]
async fn pages_fit_phones_and_desks_and_are_accessible() {
    let axe = axe();
    let stack = Stack::of(Installation::embedded(), 1, 0).await;
    let made = stack.installation();
    let admin = ["user", "create", "--username", "root", "--email", "root@example.org", "--admin"];
    made.run_with_input(&admin, PASSWORD).await.succeeded();
    for size in [PHONE, DESKTOP] {
        let browser = Browser::open(&stack, size, true).await;
        for path in ["/", "/login", "/register", "/nothing-here"] {
            browser.go(path).await;
            browser.assert_fits(path).await;
            browser.assert_accessible(&axe, path).await;
        }
        browser.go("/login").await;
        browser.fill("main [name=username]", "root").await;
        browser.fill("main [name=password]", PASSWORD).await;
        browser.button("Log in").await;
        browser.says("ortfolio").await;
        let portfolio = browser
            .open_portfolio(&format!("A portfolio with a long name, as people give them, {}", size.0))
            .await;
        browser.buy(&portfolio, "BRK.B", "12.345678901").await;
        browser.buy(&portfolio, "XPENY", "12345").await;
        let receipt = browser.path().await;
        browser.assert_accessible(&axe, &receipt).await;
        browser.go(&portfolio).await;
        browser.fill("#ticket [name=symbol]", "KO").await;
        browser.fill("#ticket [name=quantity]", "1").await;
        browser.button("Preview order").await;
        browser.says("the order is not placed yet").await;
        browser.assert_accessible(&axe, "the preview").await;
        made.run(&["snapshot"]).await.succeeded();
        // A missing page was requested on purpose.
        browser.complaints().await;
        let own = ["", "/orders", "/transactions", "/performance", "/composition", "/settings"]
            .map(|part| format!("{portfolio}{part}"));
        let others = [
            "/",
            "/portfolios",
            "/watchlist",
            "/stocks?search=a",
            "/stocks/AAPL",
            "/stocks/XPENY",
            "/settings",
            "/admin",
            "/admin/users",
            "/admin/users/1",
            "/admin/stocks",
            "/admin/stocks/XPENY",
            "/admin/portfolios",
            "/admin/transactions",
            "/admin/snapshots",
            "/admin/jobs",
            "/admin/providers",
        ];
        for path in own.iter().map(String::as_str).chain(others) {
            browser.go(path).await;
            browser.assert_fits(path).await;
            browser.assert_accessible(&axe, path).await;
            assert_eq!(browser.complaints().await, Vec::<String>::new(), "{path}");
        }
        browser.close().await;
    }
}
