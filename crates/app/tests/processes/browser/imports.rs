//! Import of transactions: a file is chosen, its problems are corrected, and it is booked, with and without scripts.

use super::accessibility::axe;
use super::*;

const HEADER: &str = "date,action,symbol,quantity,price,fee,amount\n";
const ROWS: &str = "2026-10-05,deposit,,,,,5000\n2026-10-06,buy,AAPL,10,149.50,1.25,\n";

impl Browser {
    async fn choose_file(&self, path: &Path) {
        let input = self.page.wait().at_most(PATIENCE).for_element(Locator::Css("#import [type=file]")).await;
        input.unwrap().send_keys(path.to_str().unwrap()).await.unwrap();
        self.button("Show a preview").await;
    }

    async fn assert_fits_and_is_accessible(&self, axe: &str, page: &str) {
        self.assert_fits(page).await;
        self.assert_accessible(axe, page).await;
    }

    /// The same file once more has nothing to import.
    async fn choose_again(&self, portfolio: &str, file: &Path) {
        self.go(&format!("{portfolio}/import")).await;
        self.choose_file(file).await;
        let page = self.says("Nothing to import").await;
        assert!(page.contains("3 rows imported before and left out"), "{page}");
    }
}

#[tokio::test]
async fn a_file_is_imported_on_the_page_after_its_problems_are_corrected() {
    let stack = Stack::of(Installation::embedded(), 1, 0).await;
    let (axe, folder) = (axe(), stack.installation().folder().to_owned());
    let (wrong, right) = (folder.join("wrong.csv"), folder.join("right.csv"));
    std::fs::write(&wrong, format!("{HEADER}{ROWS}2026-10-07,sell,AAPL,11,150,0,\n")).unwrap();
    std::fs::write(&right, format!("{HEADER}{ROWS}2026-10-07,sell,AAPL,4,150,0,\n")).unwrap();
    for (name, size, javascript) in [("mara", DESKTOP, true), ("omar", PHONE, true), ("nina", PHONE, false)] {
        let browser = Browser::open(&stack, size, javascript).await;
        browser.register(name).await;
        browser.go("/portfolios").await;
        browser.fill("main form [name=name]", "At my broker").await;
        browser.press(Locator::Css("#new-kind option[value=record]")).await;
        browser.button("Open portfolio").await;
        browser.says("Trade").await;
        let portfolio = browser.path().await;
        browser.go(&format!("{portfolio}/transactions")).await;
        browser.press(Locator::XPath("//main//a[normalize-space()='Import']")).await;
        browser.says("Choose a file").await;
        browser.assert_fits_and_is_accessible(&axe, "the choice of a file").await;

        browser.choose_file(&wrong).await;
        let page = browser.says("One problem").await;
        assert!(page.contains("Line 4") && page.contains("Only 10 shares of AAPL are held"), "{page}");
        assert!(!page.contains("Cash afterwards"), "{page}");
        browser.assert_fits_and_is_accessible(&axe, "the problems").await;

        browser.choose_file(&right).await;
        let page = browser.says("3 rows to import").await;
        // Later dividends are part of the cash.
        assert!(page.contains("Cash afterwards") && page.contains("+1.50"), "{page}");
        browser.assert_fits_and_is_accessible(&axe, "the preview").await;
        browser.button("Import").await;
        browser.says("3 rows are imported").await;
        assert_eq!(browser.path().await, portfolio);
        browser.choose_again(&portfolio, &right).await;
        assert_eq!(browser.complaints().await, Vec::<String>::new());
        browser.close().await;
    }
}
