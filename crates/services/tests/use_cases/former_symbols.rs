//! A former symbol of a stock that now belongs to another company: each of them is a separate stock.

use domain::HistoryRange;
use domain::{Calendar, Freshness, OrderStatus, Side, StockId};
use market_data::ListedStock;
use market_data::QuoteError;
use services::accounts::actor::Administrator;
use services::corporate_actions::renames::RenameRequest;
use services::testing::FixedPrices;
use services::{Error, Services};

use super::harness::{Exchange, Investor, day, order, price, shares, symbol};
use super::reused_symbols::on_limited_market;

const OLD: &str = "Facebook, Inc.";
const RENAMED: &str = "Meta Platforms, Inc.";
const NEW: &str = "Fresh Brands Inc";
const SOURCES: [Freshness; 3] = [Freshness::Realtime, Freshness::Delayed, Freshness::EndOfDay];

/// Sam holds 10 FB that cost 150.00 each. On Monday, 23 November, FB became META, which an administrator has recorded.
/// The source with prices of the current session has no table of listings; the source with closing prices has one.
struct Renamed {
    exchange: Exchange,
    process: Services,
    sam: Investor,
    meta: StockId,
}

fn row(of: &str, company_name: &str, listed_on: Option<&str>) -> ListedStock {
    ListedStock {
        symbol: symbol(of),
        company_name: company_name.to_owned(),
        exchange: "NASDAQ".to_owned(),
        is_fund: false,
        listed_on: listed_on.map(day),
        delisted_on: None,
    }
}

impl Renamed {
    async fn new(freshness: Freshness) -> Self {
        let prices = FixedPrices::of(freshness, Calendar::Xnys);
        prices.list("FB", OLD, "Technology", "150.00");
        prices.set_company("FB", OLD, Some(day("2012-05-18")));
        for date in ["2026-11-18", "2026-11-19", "2026-11-20"] {
            prices.set_close("FB", day(date), "150.00");
        }
        let exchange = Exchange::with(prices).await;
        let process = on_limited_market(&exchange);
        let sam = exchange.investor("sam", "10000.00").await;
        if freshness == Freshness::EndOfDay {
            process.stocks().keep_listings(vec![row("FB", OLD, Some("2012-05-18"))]).await.unwrap();
        }
        let buy = order(Side::Buy, "FB", shares("10"));
        let bought = process.trading().place_order(sam.control(), buy).await.unwrap();
        assert_eq!(bought.order.order.status, OrderStatus::Filled, "{freshness:?}");
        exchange.at("2026-11-23T16:00:00Z");
        exchange.prices.fail_for("FB", QuoteError::UnknownSymbol(symbol("FB")));
        exchange.prices.forget_closes("FB");
        exchange.prices.list("META", RENAMED, "Technology", "160.00");
        exchange.prices.set_company("META", RENAMED, Some(day("2012-05-18")));
        for date in ["2026-11-18", "2026-11-19", "2026-11-20"] {
            exchange.prices.set_close("META", day(date), "150.00");
        }
        let request = RenameRequest {
            symbol: symbol("FB"),
            to: symbol("META"),
            company_name: Some(RENAMED.to_owned()),
            on: Some(day("2026-11-23")),
            reason: "Press release.".to_owned(),
            administrator: Administrator::operator("ada"),
        };
        let meta = process.corporate_actions().rename_stock(request).await.unwrap().id;
        Self { exchange, process, sam, meta }
    }

    /// From 7 December on, another company is listed as FB.
    async fn list_another(&self, freshness: Freshness) {
        let prices = &self.exchange.prices;
        self.exchange.at("2026-12-08T16:00:00Z");
        prices.recover_for("FB");
        prices.list("FB", NEW, "Consumer", "20.00");
        prices.set_company("FB", NEW, Some(day("2026-12-07")));
        prices.set_close("FB", day("2026-12-07"), "20.00");
        prices.set_close("META", day("2026-12-07"), "160.00");
        if freshness == Freshness::EndOfDay {
            let table = vec![
                row("META", RENAMED, Some("2012-05-18")),
                row("FB", NEW, Some("2026-12-07")),
                row("JPM", "JPMorgan Chase & Co.", None),
            ];
            self.process.stocks().keep_listings(table).await.unwrap();
        }
    }

    async fn held(&self) -> Vec<String> {
        let valued = self.process.books().valuation(self.sam.reference()).await.unwrap().valuation;
        let mut held: Vec<String> = valued
            .holdings
            .iter()
            .map(|holding| {
                format!("{} {} {}", holding.listing.symbol, holding.position.quantity, holding.quote.price)
            })
            .collect();
        held.sort();
        held
    }
}

/// Everything that users and administrators do with the symbol concerns the new company, in each process.
#[tokio::test]
async fn another_company_under_a_former_symbol_is_a_separate_stock() {
    for freshness in SOURCES {
        let world = Renamed::new(freshness).await;
        let (exchange, process, sam) = (&world.exchange, &world.process, world.sam);
        assert_eq!(process.instruments().stock(&symbol("FB")).await.unwrap().id, world.meta, "{freshness:?}");
        world.list_another(freshness).await;

        let found = process.stocks().search_stocks("FB", 10).await.unwrap();
        assert_eq!((found[0].symbol.as_str(), found[0].company_name.as_str()), ("FB", NEW), "{freshness:?}");
        let other = on_limited_market(exchange);
        for of in [process, &other] {
            let stock = of.instruments().stock_for(Some(sam.user), &symbol("FB")).await.unwrap();
            assert_ne!(stock.id, world.meta, "{freshness:?}");
            assert_eq!((stock.listing.symbol.as_str(), stock.listing.company_name.as_str()), ("FB", NEW));
            let quote = of.stocks().quote_for(Some(sam.user), &symbol("FB")).await.unwrap().quote;
            assert_eq!((quote.symbol, quote.price), (symbol("FB"), price("20.00")), "{freshness:?}");
            let quote = of.stocks().quote_for(Some(sam.user), &symbol("META")).await.unwrap().quote;
            assert_eq!((quote.symbol, quote.price), (symbol("META"), price("160.00")), "{freshness:?}");
            assert_eq!(of.instruments().symbol_now(&symbol("FB")).await.unwrap(), symbol("FB"));
        }
        let new = process.instruments().stored_stock(&symbol("FB")).await.unwrap();
        let history =
            process.stocks().history_for(Some(sam.user), &symbol("FB"), HistoryRange::Month).await.unwrap();
        let closes: Vec<_> = history.iter().map(|bar| (bar.date, bar.close.clone())).collect();
        assert_eq!(closes, [(day("2026-12-07"), price("20.00"))], "{freshness:?}");
        let list = process.watchlists().create_watchlist(sam.trader(), "New ones").await.unwrap();
        process.watchlists().watch(sam.trader(), list.id, &symbol("FB")).await.unwrap();
        let list = process.watchlists().watchlist(sam.user, list.id).await.unwrap();
        assert_eq!(list.items[0].stock.id, new.id, "{freshness:?}");
        for (side, quantity) in [(Side::Buy, "5"), (Side::Sell, "1")] {
            let traded = process.trading().place_order(sam.control(), order(side, "FB", shares(quantity)));
            let fills = traded.await.unwrap().order.fills;
            assert_eq!((fills[0].stock_id, fills[0].price.clone()), (Some(new.id), Some(price("20.00"))));
        }
        let sold = order(Side::Sell, "META", shares("3"));
        process.trading().place_order(sam.control(), sold).await.unwrap();
        assert_eq!(world.held().await, ["FB 4 20.00", "META 7 160.00"], "{freshness:?}");
        for run in process.jobs().due_runs().await.unwrap() {
            assert!(process.jobs().run_job(run.id, "worker").await.unwrap(), "{run:?}");
        }
        assert_eq!(world.held().await, ["FB 4 20.00", "META 7 160.00"], "{freshness:?}");
        exchange.assert_books_balance().await;
    }
}

/// While no other company is listed under it, the old symbol finds the renamed stock, even if a late source still names
/// the old company.
#[tokio::test]
async fn a_former_symbol_finds_the_renamed_stock_despite_a_late_source() {
    for freshness in SOURCES {
        for (name, listed_on) in
            [(OLD, Some("2012-05-18")), ("Meta Platforms Inc", Some("2026-12-07")), (OLD, None), ("FB", None)]
        {
            let world = Renamed::new(freshness).await;
            world.exchange.at("2026-12-08T16:00:00Z");
            world.exchange.prices.recover_for("FB");
            world.exchange.prices.list("FB", name, "Technology", "160.00");
            world.exchange.prices.set_company("FB", name, listed_on.map(day));
            if freshness == Freshness::EndOfDay {
                world.process.stocks().keep_listings(vec![row("FB", name, listed_on)]).await.unwrap();
            }
            for of in [&world.process, &on_limited_market(&world.exchange)] {
                let found = of.instruments().stock_for(Some(world.sam.user), &symbol("FB")).await.unwrap();
                assert_eq!(found.id, world.meta, "{freshness:?} {name} {listed_on:?}");
            }
        }
    }
}

/// A former symbol causes at most a few calls per day, and none for users whose calls are used up.
#[tokio::test]
async fn a_former_symbol_costs_few_calls() {
    let world = Renamed::new(Freshness::Delayed).await;
    world.exchange.at("2026-12-08T16:00:00Z");
    world.process.instruments().stock(&symbol("FB")).await.unwrap();
    let before = world.exchange.prices.calls();
    for _ in 0..20 {
        assert_eq!(world.process.instruments().stock(&symbol("FB")).await.unwrap().id, world.meta);
    }
    assert_eq!(world.exchange.prices.calls(), before);
    world.exchange.prices.fail_with(QuoteError::Unreachable);
    let other = on_limited_market(&world.exchange);
    assert_eq!(other.instruments().stock(&symbol("FB")).await.unwrap().id, world.meta);
    let unknown = other.instruments().stock(&symbol("NEVER")).await;
    assert!(matches!(unknown, Err(Error::NoPrice { .. } | Error::SourceUnavailable { .. })), "{unknown:?}");
}

/// The first price of the new company is not compared with a price of the old one.
#[tokio::test]
async fn accepted_prices_move_with_a_stock_to_its_new_symbol() {
    let world = Renamed::new(Freshness::Delayed).await;
    let symbols = [symbol("FB"), symbol("META")];
    let published = move |tx: &mut persistence::Tx<'_>| persistence::providers::published(tx, &symbols);
    let kept = world.exchange.read(published).await;
    let kept: Vec<_> =
        kept.iter().map(|(quote, _)| (quote.symbol.as_str(), quote.price.to_string())).collect();
    assert_eq!(kept, [("META", "150.00".to_owned())]);
}
