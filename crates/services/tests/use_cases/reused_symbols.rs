//! A symbol that now belongs to another company: the old stock keeps its holders and its price, its orders are
//! canceled, and the symbol finds a new stock.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::portfolio::actions::LISTING_ENDED;
use domain::{Calendar, Freshness, OrderId, OrderStatus, Side, StockId};
use market_data::{ListedStock, Rules};
use persistence::stocks;
use services::testing::FixedPrices;
use services::{Error, Market, Services};

use super::harness::{Exchange, Investor, day, gtc, limit, price, symbol};

const OLD: &str = "Xylophone Zither Corp";
const NEW: &str = "Xyon Bio Inc";

/// Sam has 50,000.00, of which 30,000.00 are 100 shares of XYZ, and two orders, a sell and a buy, that would fill at
/// the other company's price.
struct World {
    exchange: Exchange,
    process: Services,
    sam: Investor,
    old: StockId,
    orders: [OrderId; 2],
}

impl World {
    async fn new(freshness: Freshness) -> Self {
        let prices = FixedPrices::of(freshness, Calendar::Xnys);
        prices.list("XYZ", OLD, "Technology", "300.00");
        for date in ["2026-11-18", "2026-11-19", "2026-11-20"] {
            prices.set_close("XYZ", day(date), "300.00");
        }
        let exchange = Exchange::with(prices).await;
        let process = on_limited_market(&exchange);
        let sam = exchange.investor("sam", "50000").await;
        let buy = super::harness::order(Side::Buy, "XYZ", super::harness::shares("100"));
        if freshness == Freshness::EndOfDay {
            process.stocks().keep_listings(table(OLD, "1999-03-01")).await.unwrap();
        } else {
            exchange.prices.set_company("XYZ", OLD, Some(day("1999-03-01")));
        }
        let bought = process.trading().place_order(sam.control(), buy).await.unwrap();
        assert_eq!(bought.order.order.status, OrderStatus::Filled);
        let mut orders = Vec::new();
        for order in
            [gtc(Side::Sell, "XYZ", "10", limit("350.00")), gtc(Side::Buy, "XYZ", "10", limit("250.00"))]
        {
            orders.push(process.trading().place_order(sam.control(), order).await.unwrap().order.order.id);
        }
        let old = process.instruments().stored_stock(&symbol("XYZ")).await.unwrap().id;
        let world = Self { exchange, process, sam, old, orders: [orders[0], orders[1]] };
        world.work().await;
        world
    }

    async fn work(&self) {
        for run in self.process.jobs().due_runs().await.unwrap() {
            assert!(self.process.jobs().run_job(run.id, "worker").await.unwrap(), "{run:?}");
        }
        self.process.trading().match_orders().await.unwrap();
    }

    async fn total(&self) -> String {
        let valued = self.process.books().valuation(self.sam.reference()).await.unwrap();
        valued.valuation.total_value.to_string()
    }

    async fn held(&self) -> Vec<(String, String)> {
        let valued = self.process.books().valuation(self.sam.reference()).await.unwrap();
        let mut held: Vec<(String, String)> = valued
            .valuation
            .holdings
            .iter()
            .map(|holding| (holding.listing.symbol.to_string(), holding.position.quantity.to_string()))
            .collect();
        held.sort();
        held
    }

    async fn assert_replaced(&self) {
        for id in self.orders {
            let order = self.exchange.look(self.sam, id).await;
            assert_eq!(order.status, OrderStatus::Canceled);
            assert_eq!(order.reject_reason.as_deref(), Some(LISTING_ENDED));
        }
        assert_eq!(self.held().await, [("XYZ-202611".to_owned(), "100".to_owned())]);
        assert_eq!(self.total().await, "50000.00");
        let old = self.process.instruments().stored_stock(&symbol("XYZ-202611")).await.unwrap();
        assert_eq!((old.id, old.listing.company_name.as_str()), (self.old, OLD));
        assert!(old.delisted_on.is_some());
        let new = self.process.instruments().stored_stock(&symbol("XYZ")).await.unwrap();
        assert_ne!(new.id, self.old);
        assert_eq!((new.listing.company_name.as_str(), new.delisted_on), (NEW, None));
        let quote = self.process.stocks().quote(&symbol("XYZ-202611")).await.unwrap();
        assert_eq!((quote.price, quote.stale), (price("300.00"), true));
        let sell = super::harness::order(Side::Sell, "XYZ-202611", super::harness::shares("1"));
        let refused = self.process.trading().place_order(self.sam.control(), sell).await;
        assert!(matches!(refused, Err(Error::NotTradable { .. })), "{refused:?}");
        self.exchange.assert_books_balance().await;
    }
}

pub fn on_limited_market(exchange: &Exchange) -> Services {
    let prices = exchange.prices.clone();
    exchange.process_on_market(|store, clock| {
        let rules = Rules { min_gap: TimeDelta::zero(), per_minute: None, ..Rules::YAHOO };
        Market::limited(Arc::new(prices), rules, store, clock)
    })
}

fn table(company_name: &str, listed_on: &str) -> Vec<ListedStock> {
    let row = |of: &str, company_name: &str, listed_on: &str| ListedStock {
        symbol: symbol(of),
        company_name: company_name.to_owned(),
        exchange: "NYSE".to_owned(),
        is_fund: false,
        listed_on: Some(day(listed_on)),
        delisted_on: None,
    };
    vec![row("AAPL", "Apple Inc", "1980-12-12"), row("XYZ", company_name, listed_on)]
}

#[tokio::test]
async fn a_live_source_never_fills_at_the_price_of_another_company() {
    let world = World::new(Freshness::Delayed).await;
    // Another process has looked the symbol up too.
    let other = on_limited_market(&world.exchange);
    other.stocks().quote(&symbol("XYZ")).await.unwrap();
    world.exchange.at("2026-11-23T15:30:00Z");
    world.exchange.prices.set("XYZ", "200.00");
    world.exchange.prices.set_company("XYZ", NEW, Some(day("2026-11-23")));
    // Before the job has run: no process shows the other company's price, and no order fills at it.
    for process in [&world.process, &other] {
        let quote = process.stocks().quote(&symbol("XYZ")).await.unwrap();
        assert_eq!((quote.price, quote.stale), (price("300.00"), true));
        process.trading().match_orders().await.unwrap();
    }
    for id in world.orders {
        assert_eq!(world.exchange.look(world.sam, id).await.status, OrderStatus::Accepted);
    }
    assert_eq!(world.total().await, "50000.00");

    world.exchange.pass(TimeDelta::minutes(1));
    world.work().await;
    world.assert_replaced().await;

    world.exchange.pass(TimeDelta::minutes(1));
    for process in [&world.process, &other] {
        assert_eq!(process.stocks().quote(&symbol("XYZ")).await.unwrap().price, price("200.00"));
        let buy = super::harness::order(Side::Buy, "XYZ", super::harness::shares("5"));
        let bought = process.trading().place_order(world.sam.control(), buy).await.unwrap();
        assert_eq!(bought.order.order.status, OrderStatus::Filled);
        assert_eq!(bought.order.fills[0].price, Some(price("200.00")));
    }
    let held = [("XYZ".to_owned(), "10".to_owned()), ("XYZ-202611".to_owned(), "100".to_owned())];
    assert_eq!(world.held().await, held);
    assert_eq!(world.total().await, "50000.00");
    // The close of the day, and a month in which the symbol changes hands again.
    world.exchange.prices.set_close("XYZ", day("2026-11-23"), "200.00");
    world.exchange.at("2026-11-23T21:40:00Z");
    world.work().await;
    for row in world.process.books().snapshots(world.sam.reference(), None, None).await.unwrap() {
        assert_eq!(row.total_value.to_string(), "50000.00", "{}", row.date);
    }
    world.exchange.at("2026-11-27T15:30:00Z");
    world.exchange.prices.set_company("XYZ", "Zebra Yards Ltd", Some(day("2026-12-31")));
    world.work().await;
    let symbols: Vec<String> = world.held().await.into_iter().map(|(symbol, _)| symbol).collect();
    assert_eq!(symbols, ["XYZ-202611", "XYZ-2611"]);
    world.exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_table_of_listings_shows_that_a_symbol_was_reused() {
    let world = World::new(Freshness::EndOfDay).await;
    // A close of the other company was stored before the table showed the change.
    let (id, bar) = (world.old, {
        let [open, high, low, close] = [price("280.00"), price("280.00"), price("280.00"), price("280.00")];
        domain::Bar { date: day("2026-11-23"), open, high, low, close, volume: 1 }
    });
    world.exchange.at("2026-11-24T15:00:00Z");
    let mut quote = world.process.stocks().quote(&symbol("XYZ")).await.unwrap();
    quote.price = price("280.00");
    quote.as_of = super::harness::moment("2026-11-23T21:00:00Z");
    world
        .exchange
        .write(move |tx| {
            stocks::save_bars(tx, id, "fixed", &[bar])?;
            stocks::save_last_price(tx, id, &quote)
        })
        .await;
    assert_eq!(world.total().await, "48000.00");
    world.process.stocks().keep_listings(table(NEW, "2026-11-23")).await.unwrap();
    world.assert_replaced().await;
}

#[tokio::test]
async fn a_new_name_or_a_new_date_alone_means_the_same_company() {
    for (name, listed_on) in [
        ("XYLOPHONE ZITHER CORPORATION", "2026-11-23"),
        ("Xylophone Zither, Inc.", "1999-03-01"),
        (NEW, "1999-03-01"),
        (NEW, "1999-03-20"),
    ] {
        let world = World::new(Freshness::EndOfDay).await;
        world.exchange.at("2026-11-24T15:00:00Z");
        world.process.stocks().keep_listings(table(name, listed_on)).await.unwrap();
        assert_eq!(
            world.process.instruments().stored_stock(&symbol("XYZ")).await.unwrap().id,
            world.old,
            "{name} {listed_on}"
        );
        for id in world.orders {
            assert_eq!(world.exchange.look(world.sam, id).await.status, OrderStatus::Accepted, "{name}");
        }
    }
}

#[tokio::test]
async fn another_company_can_take_the_symbol_of_a_delisted_stock() {
    let world = World::new(Freshness::EndOfDay).await;
    let id = world.old;
    world.exchange.at("2026-11-24T15:00:00Z");
    world.exchange.write(move |tx| stocks::delist(tx, id, day("2026-11-23"))).await;
    // The same company returns.
    world.process.stocks().keep_listings(table("Xylophone Zither Inc", "1999-03-01")).await.unwrap();
    assert_eq!(world.process.instruments().stored_stock(&symbol("XYZ")).await.unwrap().id, id);
    // No date is needed when another date differs.
    let mut returned = table(NEW, "2026-11-24");
    returned[1].listed_on = None;
    world.process.stocks().keep_listings(returned).await.unwrap();
    let new = world.process.instruments().stored_stock(&symbol("XYZ")).await.unwrap();
    assert_ne!(new.id, id);
    assert_eq!(new.delisted_on, None);
    assert_eq!(world.process.instruments().stored_stock(&symbol("XYZ-202611")).await.unwrap().id, id);
    assert_eq!(world.total().await, "50000.00");
}

/// A faulty table is not evidence: one that lacks a part of the last table, and one in which many companies differ.
#[tokio::test]
async fn a_faulty_table_replaces_no_stock() {
    let world = World::new(Freshness::EndOfDay).await;
    let (process, old) = (&world.process, world.old);
    let numbered = |company_name: &'static str, listed_on: &'static str| {
        (0..40).map(move |n| ListedStock {
            symbol: symbol(&format!("N{n}")),
            company_name: format!("{company_name} {n}"),
            listed_on: Some(day(listed_on)),
            ..table(OLD, listed_on).swap_remove(0)
        })
    };
    let whole: Vec<_> = table(OLD, "1999-03-01").into_iter().chain(numbered("Early", "2001-02-01")).collect();
    process.stocks().keep_listings(whole).await.unwrap();
    for n in 0..4 {
        process.instruments().stock(&symbol(&format!("N{n}"))).await.unwrap();
    }
    // A truncated table, with another company.
    let told = process.stocks().keep_listings(table(NEW, "2026-11-02")).await.unwrap();
    assert!(told.contains("rejected"), "{told}");
    assert_eq!(process.instruments().stored_stock(&symbol("XYZ")).await.unwrap().id, old);
    // Names and dates of other rows: four of six known stocks would be different companies.
    let shifted: Vec<_> =
        table(OLD, "1999-03-01").into_iter().chain(numbered("Later", "2026-10-01")).collect();
    process.stocks().keep_listings(shifted).await.unwrap();
    for n in 0..4 {
        let stock = process.instruments().stored_stock(&symbol(&format!("N{n}"))).await.unwrap();
        assert_eq!(stock.delisted_on, None, "{stock:?}");
        assert!(process.instruments().stored_stock(&symbol(&format!("N{n}-202611"))).await.is_err());
    }
}

/// XYZ is not held, ordered or watched: the jobs do not request it, and a user who requests its price sees the new
/// company's.
#[tokio::test]
async fn a_reused_symbol_of_an_unused_stock_is_priced_on_request() {
    for had_price in [true, false] {
        let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
        prices.list("XYZ", OLD, "Technology", "300.00");
        prices.set_company("XYZ", OLD, Some(day("1999-03-01")));
        let exchange = Exchange::with(prices).await;
        let (process, other) = (on_limited_market(&exchange), on_limited_market(&exchange));
        let old = process.instruments().stock(&symbol("XYZ")).await.unwrap().id;
        if had_price {
            process.stocks().quote(&symbol("XYZ")).await.unwrap();
        } else {
            // The date that a table of listings would contain.
            exchange
                .write(move |tx| persistence::reused_symbols::keep_listed_on(tx, old, day("1999-03-01")))
                .await;
        }
        exchange.at("2026-11-23T15:30:00Z");
        exchange.prices.list("XYZ", NEW, "Health", "200.00");
        exchange.prices.set_company("XYZ", NEW, Some(day("2026-11-23")));
        let before = exchange.prices.calls().quotes;
        for process in [&process, &other, &process] {
            let quote = process.stocks().quote(&symbol("XYZ")).await.unwrap();
            assert_eq!((quote.price, quote.stale), (price("200.00"), false), "{had_price}");
            let stock = process.instruments().stock(&symbol("XYZ")).await.unwrap();
            assert_eq!((stock.id == old, stock.listing.company_name.as_str()), (false, NEW), "{had_price}");
        }
        let asked = exchange.prices.calls().quotes - before;
        assert!(asked <= 3, "one denied call, and one for the new company in each process: {asked}");
        let archived = process.instruments().stored_stock(&symbol("XYZ-202611")).await.unwrap();
        assert_eq!((archived.id, archived.delisted_on.is_some()), (old, true));
        // A request for a chart shows the change too.
        exchange.at("2026-11-24T16:00:00Z");
        exchange.prices.set_close("XYZ", day("2026-11-23"), "90.00");
        exchange.prices.set_company("XYZ", "Zebra Yards Ltd", Some(day("2026-12-31")));
        let third = on_limited_market(&exchange);
        third.stocks().covered_history(None, &symbol("XYZ"), domain::HistoryRange::Month).await.unwrap();
        let stock = third.instruments().stored_stock(&symbol("XYZ")).await.unwrap();
        assert_eq!(stock.listing.company_name, "Zebra Yards Ltd", "{had_price}");
    }
}

/// A page must not replace a stock that is held: only the job sees how many symbols change hands at the same time.
#[tokio::test]
async fn requesting_the_price_of_a_held_stock_does_not_replace_it() {
    let world = World::new(Freshness::Delayed).await;
    world.exchange.at("2026-11-23T15:30:00Z");
    world.exchange.prices.set_company("XYZ", NEW, Some(day("2026-11-23")));
    for _ in 0..3 {
        let quote = world.process.stocks().quote(&symbol("XYZ")).await.unwrap();
        assert_eq!((quote.price, quote.stale), (price("300.00"), true));
    }
    assert_eq!(world.process.instruments().stored_stock(&symbol("XYZ")).await.unwrap().id, world.old);
    world.exchange.pass(TimeDelta::minutes(1));
    world.work().await;
    world.assert_replaced().await;
}

/// The same answer has another meaning after the row was changed.
#[tokio::test]
async fn a_company_is_reviewed_again_when_its_stock_has_changed() {
    let world = World::new(Freshness::Delayed).await;
    world.exchange.at("2026-11-23T15:30:00Z");
    // A new name alone means that the company has renamed itself.
    world.exchange.prices.set_company("XYZ", NEW, None);
    world.work().await;
    assert_eq!(world.process.instruments().stored_stock(&symbol("XYZ")).await.unwrap().id, world.old);
    let id = world.old;
    world.exchange.write(move |tx| stocks::delist(tx, id, day("2026-11-23"))).await;
    world.exchange.pass(TimeDelta::minutes(1));
    world.work().await;
    assert_eq!(world.process.instruments().stored_stock(&symbol("XYZ-202611")).await.unwrap().id, world.old);
    assert_eq!(
        world.process.instruments().stored_stock(&symbol("XYZ")).await.unwrap().listing.company_name,
        NEW
    );
}

/// Splits and dividends that a source reports for the symbol belong to the other company, even before the books know of
/// it.
#[tokio::test]
async fn actions_of_another_company_are_not_stored_for_the_old_stock() {
    let world = World::new(Freshness::Delayed).await;
    world.exchange.at("2026-11-23T15:30:00Z");
    let domain::SplitRatio { numerator, denominator } = "2:1".parse().unwrap();
    let split = CorporateActionKind::Split { numerator, denominator };
    let split = CorporateAction::new(symbol("XYZ"), day("2026-11-23"), split);
    world.exchange.prices.announce(super::harness::moment("2026-11-20T00:00:00Z"), split);
    world.exchange.prices.set_company("XYZ", NEW, Some(day("2026-11-23")));
    assert_eq!(world.process.corporate_actions().learn_corporate_actions().await.unwrap(), 0);
    world.process.corporate_actions().apply_corporate_actions().await.unwrap();
    assert_eq!(world.held().await, [("XYZ".to_owned(), "100".to_owned())]);
    // Actions of the stock's own company are accepted.
    world.exchange.prices.set_company("XYZ", OLD, Some(day("1999-03-01")));
    assert_eq!(world.process.corporate_actions().learn_corporate_actions().await.unwrap(), 1);
}

/// Another process has cached that it has the newest series of the symbol, which is the old company's.
#[tokio::test]
async fn a_process_drops_cached_prices_of_the_old_company() {
    let world = World::new(Freshness::EndOfDay).await;
    world.exchange.at("2026-11-24T15:00:00Z");
    world.exchange.prices.set_close("XYZ", day("2026-11-23"), "300.00");
    let other = on_limited_market(&world.exchange);
    assert_eq!(other.stocks().quote(&symbol("XYZ")).await.unwrap().price, price("300.00"));
    world.exchange.prices.forget_closes("XYZ");
    world.exchange.prices.set_close("XYZ", day("2026-11-23"), "200.00");
    world.process.stocks().keep_listings(table(NEW, "2026-11-23")).await.unwrap();
    for process in [&other, &world.process] {
        assert_eq!(process.stocks().quote(&symbol("XYZ")).await.unwrap().price, price("200.00"));
        assert_eq!(process.stocks().quote(&symbol("XYZ-202611")).await.unwrap().price, price("300.00"));
    }
}
