//! Stocks whose symbol now belongs to another company, and the operations that are possible with them.

use domain::HistoryRange;
use domain::portfolio::actions::LISTING_ENDED;
use domain::{Calendar, Freshness, OrderId, OrderStatus, Side, StockId};
use services::accounts::actor::Administrator;
use services::corporate_actions::close_outs::CloseOutTerms;
use services::corporate_actions::delistings::DelistingResolution;
use services::corporate_actions::renames::RenameRequest;
use services::idempotency::DecisionAuthor;
use services::testing::FixedPrices;
use services::{Error, Result, Services};

use super::harness::{Exchange, Investor, day, gtc, limit, moment, order, price, shares, symbol};
use super::reused_symbols::on_limited_market;

const OLD: &str = "Xylophone Zither Corp";
const NEW: &str = "Xyon Bio Inc";

/// Sam holds 100 XYZ that cost 300.00 each, and has an order to sell 10. On Monday, 23 November, the symbol belongs to
/// another company.
struct Archived {
    exchange: Exchange,
    process: Services,
    sam: Investor,
    old: StockId,
    order: OrderId,
}

impl Archived {
    async fn new() -> Self {
        let world = Self::before().await;
        world.replace().await;
        world
    }

    async fn before() -> Self {
        let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
        prices.list("XYZ", OLD, "Technology", "300.00");
        prices.set_company("XYZ", OLD, Some(day("1999-03-01")));
        for date in ["2026-11-18", "2026-11-19", "2026-11-20"] {
            prices.set_close("XYZ", day(date), "300.00");
        }
        let exchange = Exchange::with(prices).await;
        let process = on_limited_market(&exchange);
        let sam = exchange.investor("sam", "50000").await;
        let buy = order(Side::Buy, "XYZ", shares("100"));
        process.trading().place_order(sam.control(), buy).await.unwrap();
        let sell = gtc(Side::Sell, "XYZ", "10", limit("350.00"));
        let order = process.trading().place_order(sam.control(), sell).await.unwrap().order.order.id;
        let old = process.instruments().stored_stock(&symbol("XYZ")).await.unwrap().id;
        let world = Self { exchange, process, sam, old, order };
        world.work().await;
        world
    }

    async fn replace(&self) {
        self.exchange.at("2026-11-23T15:30:00Z");
        self.exchange.prices.set("XYZ", "200.00");
        self.exchange.prices.set_company("XYZ", NEW, Some(day("2026-11-23")));
        self.work().await;
        let archived = self.process.instruments().stored_stock(&symbol("XYZ-202611")).await.unwrap();
        assert_eq!(archived.id, self.old);
    }

    async fn work(&self) {
        for run in self.process.jobs().due_runs().await.unwrap() {
            assert!(self.process.jobs().run_job(run.id, "worker").await.unwrap(), "{run:?}");
        }
    }

    async fn trade(&self, side: Side, of: &str, quantity: &str) -> Result<OrderStatus> {
        let order = order(side, of, shares(quantity));
        let placed = self.process.trading().place_order(self.sam.control(), order).await?;
        Ok(placed.order.order.status)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<domain::Stock> {
        let request = RenameRequest {
            symbol: symbol(from),
            to: symbol(to),
            company_name: Some(OLD.to_owned()),
            on: None,
            reason: "The company has a new symbol.".to_owned(),
            administrator: Administrator::operator("ada"),
        };
        self.process.corporate_actions().rename_stock(request).await
    }

    async fn resolve(&self, resolution: DelistingResolution) -> Result<()> {
        self.process
            .corporate_actions()
            .resolve_delisting(
                &symbol("XYZ-202611"),
                resolution,
                "I looked it up.",
                &Administrator::operator("ada"),
            )
            .await
    }

    async fn close_out(&self, of: &str, terms: &CloseOutTerms) -> Result<()> {
        let author = DecisionAuthor { administrator: Administrator::operator("ada"), key: None };
        self.process
            .corporate_actions()
            .close_out(&symbol(of), terms, None, "The filing says so.", author)
            .await
            .map(drop)
    }

    async fn held(&self) -> Vec<String> {
        let valued = self.process.books().valuation(self.sam.reference()).await.unwrap().valuation;
        let mut held: Vec<String> = valued
            .holdings
            .iter()
            .map(|holding| format!("{} {}", holding.listing.symbol, holding.position.quantity))
            .collect();
        held.sort();
        held
    }
}

/// The message of an error about one field.
fn refusal<T: std::fmt::Debug>(field: &str, refused: Result<T>) -> String {
    match refused {
        Err(Error::Invalid(errors)) if errors[0].field == field => errors[0].message.clone(),
        other => panic!("not refused for {field}: {other:?}"),
    }
}

#[tokio::test]
async fn an_archived_stock_is_traded_under_its_new_symbol() {
    let world = Archived::new().await;
    world.exchange.prices.list("XYL", OLD, "Technology", "310.00");
    world.exchange.prices.set_company("XYL", OLD, Some(day("1999-03-01")));
    let renamed = world.rename("XYZ-202611", "XYL").await.unwrap();
    assert_eq!((renamed.id, renamed.delisted_on), (world.old, None));
    // The stock is found by its own symbols, but not by the symbol that now belongs to the other company.
    for (of, is_old) in [("XYL", true), ("XYZ-202611", true), ("XYZ", false)] {
        let found = world.process.instruments().stock(&symbol(of)).await.unwrap();
        assert_eq!(found.id == world.old, is_old, "{of}");
    }
    // The renamed stock is priced and traded like any other stock, also after the jobs and in another process.
    for process in [&world.process, &on_limited_market(&world.exchange)] {
        assert_eq!(process.stocks().quote(&symbol("XYL")).await.unwrap().price, price("310.00"));
        assert_eq!(process.stocks().quote(&symbol("XYZ")).await.unwrap().price, price("200.00"));
    }
    assert_eq!(world.trade(Side::Sell, "XYL", "1").await.unwrap(), OrderStatus::Filled);
    world.exchange.prices.set("XYL", "320.00");
    world.exchange.prices.set_close("XYL", day("2026-11-23"), "320.00");
    world.exchange.prices.set_close("XYZ", day("2026-11-23"), "200.00");
    world.exchange.at("2026-11-24T16:00:00Z");
    world.work().await;
    let stock = world.process.instruments().stored_stock(&symbol("XYL")).await.unwrap();
    assert_eq!((stock.delisted_on, stock.last.unwrap().price), (None, price("320.00")));
    assert_eq!(world.held().await, ["XYL 99"]);
    // Canceled orders stay canceled.
    assert_eq!(world.exchange.look(world.sam, world.order).await.status, OrderStatus::Canceled);
    world.exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_wrong_replacement_is_undone_while_the_new_stock_is_unused() {
    let world = Archived::new().await;
    let new = world.process.instruments().stored_stock(&symbol("XYZ")).await.unwrap().id;
    world.exchange.prices.set("XYZ", "300.00");
    world.exchange.prices.set_company("XYZ", OLD, Some(day("1999-03-01")));
    let back = world.rename("XYZ-202611", "XYZ").await.unwrap();
    assert_eq!((back.id, back.delisted_on), (world.old, None));
    assert!(world.exchange.read(move |tx| persistence::stocks::by_ids(tx, &[new])).await.is_empty());
    world.exchange.at("2026-11-24T16:00:00Z");
    world.exchange.prices.set_close("XYZ", day("2026-11-23"), "300.00");
    world.work().await;
    assert_eq!(world.process.instruments().stored_stock(&symbol("XYZ")).await.unwrap().id, world.old);
    assert_eq!(world.trade(Side::Sell, "XYZ", "1").await.unwrap(), OrderStatus::Filled);
    assert_eq!(world.held().await, ["XYZ 99"]);
    world.exchange.assert_books_balance().await;

    let world = Archived::new().await;
    world.exchange.pass(chrono::TimeDelta::minutes(1));
    world.trade(Side::Buy, "XYZ", "1").await.unwrap();
    let told = refusal("to", world.rename("XYZ-202611", "XYZ").await);
    assert!(told.contains("close XYZ-202611 out: in an exchange into XYZ at 1:1"), "{told}");
    assert_eq!(world.held().await, ["XYZ 1", "XYZ-202611 100"]);
}

#[tokio::test]
async fn an_archived_stock_cannot_be_traded_under_its_archived_symbol() {
    let world = Archived::new().await;
    let told = refusal("resolution", world.resolve(DelistingResolution::Refuse).await);
    assert!(told.contains("record that symbol"), "{told}");
    let told = refusal("resolution", world.resolve(DelistingResolution::Confirm { on: None }).await);
    assert!(told.contains("already delisted"), "{told}");
    for side in [Side::Buy, Side::Sell] {
        let refused = world.trade(side, "XYZ-202611", "1").await;
        assert!(matches!(refused, Err(Error::NotTradable { .. })), "{refused:?}");
    }
    let archived = world.process.instruments().stored_stock(&symbol("XYZ-202611")).await.unwrap();
    assert_eq!(archived.delisted_on, Some(day("2026-11-23")));
    let case = world.process.corporate_actions().delisting_case(&archived).await.unwrap();
    let reason = case.delisting.unwrap().reason.unwrap();
    assert_eq!(reason, "the symbol XYZ belongs to Xyon Bio Inc now, another company");
}

#[tokio::test]
async fn an_archived_stock_is_closed_out_like_any_delisted_one() {
    let world = Archived::new().await;
    let into =
        |of: &str| CloseOutTerms::Exchange { into: symbol(of), ratio: "1:1".parse().unwrap(), cash: None };
    // No one gets shares of it.
    world.exchange.prices.list("AAPL", "Apple Inc.", "Technology", "150.00");
    world.trade(Side::Buy, "AAPL", "1").await.unwrap();
    world
        .process
        .corporate_actions()
        .resolve_delisting(
            &symbol("AAPL"),
            DelistingResolution::Confirm { on: None },
            "Merged.",
            &Administrator::operator("ada"),
        )
        .await
        .unwrap();
    world.exchange.at("2026-11-24T16:00:00Z");
    world.work().await;
    refusal("into", world.close_out("AAPL", &into("XYZ-202611")).await);
    world.close_out("XYZ-202611", &CloseOutTerms::Cash { per_share: "310".parse().unwrap() }).await.unwrap();
    assert_eq!(world.held().await, ["AAPL 1"]);
    let told = refusal("symbol", world.rename("XYZ-202611", "XYL").await);
    assert!(told.contains("closed out"), "{told}");
    world.exchange.assert_books_balance().await;
}

/// If a delisting was in the future, the stock is not traded until then, and the delisting does not change its end
/// later.
#[tokio::test]
async fn a_later_delisting_does_not_keep_a_stock_without_its_symbol() {
    let world = Archived::before().await;
    let later = DelistingResolution::Confirm { on: Some(day("2026-12-01")) };
    world
        .process
        .corporate_actions()
        .resolve_delisting(&symbol("XYZ"), later, "Announced.", &Administrator::operator("ada"))
        .await
        .unwrap();
    assert_eq!(world.exchange.look(world.sam, world.order).await.status, OrderStatus::Accepted);
    world.replace().await;
    let ended =
        async || world.process.instruments().stored_stock(&symbol("XYZ-202611")).await.unwrap().delisted_on;
    assert_eq!(ended().await, Some(day("2026-11-23")));
    let order = world.exchange.look(world.sam, world.order).await;
    assert_eq!((order.status, order.reject_reason.as_deref()), (OrderStatus::Canceled, Some(LISTING_ENDED)));
    world.exchange.at("2026-12-02T16:00:00Z");
    world.work().await;
    assert_eq!(ended().await, Some(day("2026-11-23")));
    let known = world.exchange.read({
        let old = world.old;
        move |tx| persistence::delistings::of_stock(tx, old)
    });
    assert_eq!(known.await.unwrap().effective_at, moment("2026-11-23T14:30:00Z"));
    world.exchange.assert_books_balance().await;
}

/// The history of a delisted stock is the stored one: the source is not called, because its answer may be about another
/// company.
#[tokio::test]
async fn charts_of_delisted_stocks_cost_no_calls() {
    let world = Archived::new().await;
    world.exchange.at("2026-11-24T16:00:00Z");
    let of_old = "XYZ-202611";
    world.exchange.prices.set_close(of_old, day("2026-11-23"), "1.00");
    let other = on_limited_market(&world.exchange);
    let before = world.exchange.prices.calls();
    for range in [HistoryRange::Month, HistoryRange::Year, HistoryRange::All] {
        for process in [&world.process, &other] {
            let (bars, _) = process.stocks().covered_history(None, &symbol(of_old), range).await.unwrap();
            assert!(bars.iter().all(|bar| bar.close == price("300.00")), "{bars:?}");
        }
    }
    assert_eq!(world.exchange.prices.calls(), before);
    // A stock that is delisted under its own symbol needs no call either.
    world.exchange.prices.list("AAPL", "Apple Inc.", "Technology", "150.00");
    world.trade(Side::Buy, "AAPL", "1").await.unwrap();
    let confirm = DelistingResolution::Confirm { on: None };
    world
        .process
        .corporate_actions()
        .resolve_delisting(&symbol("AAPL"), confirm, "Merged.", &Administrator::operator("ada"))
        .await
        .unwrap();
    world.exchange.at("2026-11-25T16:00:00Z");
    world.process.corporate_actions().apply_corporate_actions().await.unwrap();
    let before = world.exchange.prices.calls();
    world.process.stocks().covered_history(None, &symbol("AAPL"), HistoryRange::Month).await.unwrap();
    assert_eq!(world.exchange.prices.calls(), before);
}
