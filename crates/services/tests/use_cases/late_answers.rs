//! Answers that arrive after the stock was renamed, or after its symbol passed to another company: they are stored for
//! no stock.

use std::sync::Arc;

use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{Calendar, Freshness, Quantity, StockId};
use market_data::{ListedStock, QuoteError};
use persistence::{delistings, stocks};
use services::Services;
use services::accounts::actor::Administrator;
use services::books::snapshots::IdRange;
use services::corporate_actions::renames::RenameRequest;
use services::jobs::JobKind;
use services::testing::FixedPrices;

use super::harness::{Exchange, Investor, day, moment, order, price, shares, symbol};
use super::reused_symbols::on_limited_market;

const OLD: &str = "Xylophone Zither Corp";
const NEW: &str = "Xyon Bio Inc";

/// An event that happens to XYZ while a request about it is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// An administrator records that XYZ is now called ABC.
    Renamed,
    /// The symbol passes to another company.
    Replaced,
}

/// Sam holds 10 XYZ, bought at 300.00 on Friday. On Monday the source's answers about XYZ are about another company.
struct World {
    exchange: Exchange,
    process: Services,
    sam: Investor,
    old: StockId,
}

fn table(company_name: &str, listed_on: &str) -> Vec<ListedStock> {
    vec![ListedStock {
        symbol: symbol("XYZ"),
        company_name: company_name.to_owned(),
        exchange: "NYSE".to_owned(),
        is_fund: false,
        listed_on: Some(day(listed_on)),
        delisted_on: None,
    }]
}

impl World {
    async fn new(freshness: Freshness) -> Self {
        let prices = FixedPrices::of(freshness, Calendar::Xnys);
        prices.list("XYZ", OLD, "", "300.00");
        for of in ["XYZ", "SPY"] {
            for date in ["2026-11-18", "2026-11-19", "2026-11-20"] {
                prices.set_close(of, day(date), "300.00");
            }
        }
        let exchange = Exchange::with(prices).await;
        let process = on_limited_market(&exchange);
        process.stocks().keep_listings(table(OLD, "1999-03-01")).await.unwrap();
        let sam = exchange.investor("sam", "10000.00").await;
        let buy = order(domain::Side::Buy, "XYZ", shares("10"));
        process.trading().place_order(sam.control(), buy).await.unwrap();
        let old = process.instruments().stored_stock(&symbol("XYZ")).await.unwrap().id;
        exchange.at("2026-11-24T16:00:00Z");
        exchange.prices.list("ABC", OLD, "", "300.00");
        exchange.prices.list("XYZ", NEW, "Health", "280.00");
        exchange.prices.set_close("XYZ", day("2026-11-23"), "280.00");
        Self { exchange, process, sam, old }
    }

    /// Another process learns of the event while the next request about XYZ is in progress.
    fn meanwhile(&self, event: Event) {
        let other = Arc::new(on_limited_market(&self.exchange));
        self.exchange.prices.meanwhile("XYZ", move || async move {
            match event {
                Event::Renamed => {
                    let request = RenameRequest {
                        symbol: symbol("XYZ"),
                        to: symbol("ABC"),
                        company_name: Some(OLD.to_owned()),
                        on: Some(day("2026-11-23")),
                        reason: "Filing.".to_owned(),
                        administrator: Administrator::operator("ada"),
                    };
                    other.corporate_actions().rename_stock(request).await.unwrap();
                }
                Event::Replaced => {
                    other.stocks().keep_listings(table(NEW, "2026-11-23")).await.unwrap();
                }
            }
        });
    }

    /// Asserts that the old stock has its own price, bars and actions, and that the symbol finds no stock, or a stock
    /// of the new company without data of the old one.
    async fn assert_unharmed(&self, event: Event, question: &str) {
        assert!(self.exchange.prices.has_happened(), "{question}: XYZ was not asked about");
        let old = self.old;
        let (stock, bars, evidence, xyz) = self
            .exchange
            .read(move |tx| {
                let stock = stocks::by_ids(tx, &[old])?.pop().unwrap();
                let bars = stocks::bars(tx, old, day("2026-11-01"), day("2026-12-31"))?;
                let evidence = delistings::evidence(tx, "fixed")?.remove(&old).unwrap_or_default();
                Ok((stock, bars, evidence, stocks::with_symbol(tx, &symbol("XYZ"))?))
            })
            .await;
        let told = format!("{question}, {event:?}");
        let new_symbol = if event == Event::Renamed { "ABC" } else { "XYZ-202611" };
        let listing = &stock.listing;
        assert_eq!((listing.symbol.as_str(), listing.company_name.as_str()), (new_symbol, OLD), "{told}");
        if let Some(last) = stock.last {
            assert_eq!(last.price, price("300.00"), "{told}");
        }
        assert!(bars.iter().all(|bar| bar.close == price("300.00")), "{told}: {bars:?}");
        assert_eq!(evidence, [], "{told}");
        match (event, xyz) {
            (Event::Renamed, None) => {}
            (Event::Replaced, Some(new)) => {
                assert_ne!(new.id, old, "{told}");
                assert_eq!(new.listing.company_name, NEW, "{told}");
            }
            (_, found) => panic!("{told}: {found:?}"),
        }
        let positions = self.process.books().valuation(self.sam.reference()).await.unwrap();
        let quantity = &positions.valuation.holdings[0].position.quantity;
        assert_eq!(*quantity, "10".parse::<Quantity>().unwrap(), "{told}");
    }

    /// Runs only the job that requests prices: other jobs would request XYZ before it.
    async fn refresh(&self, of: &Services) {
        let due = of.jobs().due_runs().await.unwrap();
        let mut refreshed = 0;
        for run in due.iter().filter(|run| run.kind == JobKind::RefreshQuotes) {
            assert!(of.jobs().run_job(run.id, "worker").await.unwrap(), "{run:?}");
            refreshed += 1;
        }
        assert_eq!(refreshed, 1, "{due:?}");
    }
}

const EVENTS: [Event; 2] = [Event::Renamed, Event::Replaced];

#[tokio::test]
async fn a_late_price_is_not_stored_for_the_stock() {
    for event in EVENTS {
        let world = World::new(Freshness::Delayed).await;
        world.meanwhile(event);
        // On a market without limits, only the database prevents the answer from being stored.
        world.refresh(&world.exchange).await;
        world.assert_unharmed(event, "the job's prices").await;
    }
}

#[tokio::test]
async fn a_late_close_is_not_stored_for_the_stock() {
    for event in EVENTS {
        let world = World::new(Freshness::Delayed).await;
        world.meanwhile(event);
        world.exchange.books().take_snapshots(day("2026-11-23"), IdRange::ALL, |_| true).await.unwrap();
        world.assert_unharmed(event, "the close of a session").await;
    }
}

#[tokio::test]
async fn late_actions_are_not_stored_for_the_stock() {
    for event in EVENTS {
        let world = World::new(Freshness::Delayed).await;
        let domain::SplitRatio { numerator, denominator } = "2:1".parse().unwrap();
        let split = CorporateActionKind::Split { numerator, denominator };
        let split = CorporateAction::new(symbol("XYZ"), day("2026-11-23"), split);
        world.exchange.prices.announce(moment("2026-11-20T00:00:00Z"), split);
        world.meanwhile(event);
        world.exchange.corporate_actions().learn_corporate_actions().await.unwrap();
        world.exchange.corporate_actions().apply_corporate_actions().await.unwrap();
        world.assert_unharmed(event, "news of actions").await;
        let old = world.old;
        let known = world.exchange.read(move |tx| persistence::corporate_actions::of_stock(tx, old)).await;
        assert!(known.iter().all(|known| known.action.ratio().is_none()), "{event:?}: {known:?}");
    }
}

#[tokio::test]
async fn a_late_sector_is_not_stored_for_the_stock() {
    for event in EVENTS {
        let world = World::new(Freshness::EndOfDay).await;
        // The series is requested first.
        world.exchange.prices.set_close("XYZ", day("2026-11-23"), "300.00");
        world.process.stocks().quote(&symbol("XYZ")).await.unwrap();
        world.meanwhile(event);
        world.refresh(&world.process).await;
        world.assert_unharmed(event, "the sector").await;
    }
}

#[tokio::test]
async fn a_late_answer_not_found_is_not_evidence() {
    for is_renamed in [true, false] {
        let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
        prices.list("XYZ", OLD, "", "300.00");
        let exchange = Exchange::with(prices).await;
        let sam = exchange.investor("sam", "10000.00").await;
        exchange.buy(sam, "XYZ", "10").await.unwrap();
        exchange.work().await;
        let old = exchange.instruments().stored_stock(&symbol("XYZ")).await.unwrap().id;
        exchange.at("2026-11-24T16:00:00Z");
        exchange.prices.list("ABC", OLD, "", "300.00");
        exchange.prices.fail_for("XYZ", QuoteError::UnknownSymbol(symbol("XYZ")));
        let world = World { process: on_limited_market(&exchange), exchange, sam, old };
        if is_renamed {
            world.meanwhile(Event::Renamed);
        }
        world.refresh(&world.exchange).await;
        assert!(world.exchange.prices.has_happened());
        let noted = world.exchange.read(move |tx| delistings::evidence(tx, "fixed")).await;
        assert_eq!(noted.contains_key(&old), !is_renamed, "{noted:?}");
    }
}
