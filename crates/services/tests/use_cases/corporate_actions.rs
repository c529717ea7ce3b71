//! Splits, dividends, new symbols and delistings, from the source to the books.

use services::accounts::actor::Trader;
use std::sync::Arc;

use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{
    Attached, OrderSize, OrderStatus, OrderTerms, PerShare, PlaceOrder, PortfolioRef, Side, SplitRatio,
    StopLoss, Symbol, TimeInForce, TradingMode, TransactionType, UserId,
};
use market_data::{DEFAULT_SEED, Simulated, SimulatedModel};
use persistence::users::{self, NewUser};
use services::books::portfolios::OpenPortfolio;
use services::testing::{FixedPrices, TestServices};
use services::{Error, ServicesConfig, TradingConfig};

use super::harness::{
    Exchange, Investor, day, gtc, limit, moment, money, order, price, quantity, rejection, shares, stop,
    symbol,
};

const NEWS: &str = "2026-11-20T00:00:00Z";
/// Midnight in New York: the session of that day opens, and the previous one has closed.
const OPEN: &str = "2026-11-23T05:00:00Z";

fn split(ticker: &str, ratio: &str, ex_on: &str) -> CorporateAction {
    let SplitRatio { numerator, denominator } = ratio.parse().unwrap();
    CorporateAction::new(symbol(ticker), day(ex_on), CorporateActionKind::Split { numerator, denominator })
}

fn dividend(ticker: &str, cents: i64, ex_on: &str, pays_on: &str) -> CorporateAction {
    let amount = PerShare::from_scaled(cents, 2).unwrap();
    let kind = CorporateActionKind::CashDividend { amount, pays_on: day(pays_on) };
    CorporateAction::new(symbol(ticker), day(ex_on), kind)
}

impl Exchange {
    /// Runs the job, as a worker does.
    async fn act(&self) {
        self.corporate_actions().learn_corporate_actions().await.unwrap();
        self.corporate_actions().apply_corporate_actions().await.unwrap();
    }

    async fn total(&self, who: Investor) -> String {
        self.books().valuation(who.reference()).await.unwrap().valuation.total_value.to_string()
    }

    /// Quantity and cost of a holding.
    async fn held(&self, who: Investor, ticker: &str) -> (String, String) {
        let valued = self.books().valuation(who.reference()).await.unwrap();
        let ticker = symbol(ticker);
        let holding = valued.valuation.holdings.iter().find(|holding| holding.listing.symbol == ticker);
        let position = &holding.unwrap().position;
        (position.quantity.to_string(), position.cost_basis.to_string())
    }
}

/// AAPL is split 10 for 1 on Monday, and then trades at a tenth of its price.
async fn before_a_split() -> (Exchange, Investor) {
    let prices = FixedPrices::new();
    prices.announce(moment(NEWS), split("AAPL", "10:1", "2026-11-23"));
    prices.set_from(moment(OPEN), "AAPL", "15.00");
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "10000").await;
    (exchange, sam)
}

#[tokio::test]
async fn a_split_changes_the_number_of_shares_but_not_their_value() {
    let (exchange, sam) = before_a_split().await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.act().await;
    assert_eq!(exchange.held(sam, "AAPL").await, ("10".into(), "1500.00".into()), "not yet");
    exchange.at("2026-11-23T05:00:01Z");
    for _ in 0..2 {
        exchange.act().await;
        assert_eq!(exchange.held(sam, "AAPL").await, ("100".into(), "1500.00".into()));
        assert_eq!(exchange.total(sam).await, "10000.00");
    }
    let journal = exchange.journal(sam).await;
    let splits: Vec<_> =
        journal.iter().filter(|entry| entry.transaction_type == TransactionType::Split).collect();
    assert_eq!(splits.len(), 1);
    assert_eq!((splits[0].timestamp, &splits[0].amount), (moment(OPEN), &money("0")));
    let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
    assert_eq!(valued.total_gain(), money("0"));
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn open_orders_are_converted_to_new_shares_and_do_not_fill_at_old_prices() {
    let (exchange, sam) = before_a_split().await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    let protect = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "4", stop("140.05"))).await;
    let profit = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "3", limit("170.01"))).await;
    let more = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "2", limit("100.09"))).await;
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    exchange.at("2026-11-23T05:00:30Z");
    // The split is not applied yet when orders are matched: prices of 150.00 and 15.00 are in the same interval.
    exchange.trading().match_orders().await.unwrap();
    for (id, size, terms) in
        [(protect, "40", stop("14.00")), (profit, "30", limit("17.01")), (more, "20", limit("10.00"))]
    {
        let order = exchange.look(sam, id).await;
        assert_eq!(order.status, OrderStatus::Accepted, "{order:?}");
        assert_eq!((order.size, order.terms), (shares(size), terms));
    }
    assert_eq!(exchange.buying_power(sam).await, "8299.82", "as much is kept as before");
    assert_eq!(exchange.held(sam, "AAPL").await.0, "100");
    exchange.prices.set_from(moment("2026-11-23T06:00:00Z"), "AAPL", "17.02");
    exchange.at("2026-11-23T06:00:01Z");
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(exchange.look(sam, profit).await.status, OrderStatus::Filled);
    assert_eq!(exchange.held(sam, "AAPL").await, ("70".into(), "1050.00".into()));
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn exits_of_a_bracket_are_split_with_their_entry() {
    let (exchange, sam) = before_a_split().await;
    let attached = Attached::Bracket {
        take_profit: price("180.00"),
        stop_loss: StopLoss { stop: price("120.00"), limit: Some(price("119.99")) },
    };
    let placed = exchange.place(sam, PlaceOrder { attached, ..gtc(Side::Buy, "AAPL", "5", limit("145")) });
    let placed = placed.await.unwrap().order;
    exchange.act().await;
    exchange.at("2026-11-23T05:00:01Z");
    exchange.act().await;
    let entry = exchange.look(sam, placed.order.id).await;
    assert_eq!((entry.size, entry.terms), (shares("50"), limit("14.50")));
    let legs = [
        exchange.look(sam, placed.legs[0].order.id).await,
        exchange.look(sam, placed.legs[1].order.id).await,
    ];
    assert!(legs.iter().all(|leg| leg.status == OrderStatus::Held && leg.size == shares("50")));
    assert_eq!(legs[0].terms, limit("18.00"));
    assert_eq!(legs[1].terms, OrderTerms::StopLimit { stop: price("12.00"), limit: price("12.00") });
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn an_order_placed_before_the_worker_runs_meets_new_shares() {
    let (exchange, sam) = before_a_split().await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    exchange.at("2026-11-23T05:00:01Z");
    exchange.sell(sam, "AAPL", "50").await.unwrap();
    assert_eq!(exchange.held(sam, "AAPL").await, ("50".into(), "750.00".into()));
    exchange.act().await;
    assert_eq!(exchange.held(sam, "AAPL").await, ("50".into(), "750.00".into()));
    assert_eq!(exchange.total(sam).await, "10000.00");
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_does_not_fill_after_a_split_at_a_price_read_before() {
    let (exchange, sam) = before_a_split().await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    exchange.at("2026-11-23T04:59:59Z");
    let hold = exchange.hold(sam.portfolio).await;
    let (services, asked) = (exchange.another_process(), exchange.prices.calls().quotes);
    let selling = tokio::spawn(async move {
        services.trading().place_order(sam.control(), order(Side::Sell, "AAPL", shares("10"))).await
    });
    while exchange.prices.calls().quotes == asked {
        tokio::task::yield_now().await;
    }
    // The process has read its price, and the desk is blocked.
    exchange.at("2026-11-23T05:00:01Z");
    hold.end().await;
    let refused = rejection(selling.await.unwrap());
    assert!(refused.to_string().contains("too old to trade on"), "{refused}");
    assert_eq!(exchange.held(sam, "AAPL").await, ("100".into(), "1500.00".into()));
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_split_known_a_week_late_is_booked_as_if_in_time() {
    let prices = FixedPrices::new();
    prices.announce(moment("2026-11-30T12:00:00Z"), split("AAPL", "10:1", "2026-11-23"));
    prices.set_from(moment(OPEN), "AAPL", "15.00");
    for date in ["2026-11-20", "2026-11-21", "2026-11-22"] {
        prices.set_close("AAPL", day(date), "150.00");
    }
    for date in 23..=30 {
        prices.set_close("AAPL", day(&format!("2026-11-{date}")), "15.00");
    }
    let exchange = Exchange::with(prices).await;
    let (sam, mia) = (exchange.investor("sam", "10000").await, exchange.investor("mia", "10000").await);
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.buy(mia, "AAPL", "10").await.unwrap();
    exchange.at("2026-11-25T12:00:00Z");
    exchange.work().await;
    // In the meantime Sam sells half of the shares he sees, which are new shares, and buys a few.
    exchange.sell(sam, "AAPL", "5").await.unwrap();
    exchange.buy(sam, "AAPL", "2").await.unwrap();
    exchange.at("2026-11-30T11:00:00Z");
    exchange.work().await;
    assert_eq!(exchange.total(mia).await, "8650.00", "nobody knows yet");
    exchange.at("2026-12-01T12:00:00Z");
    exchange.work().await;
    exchange.work().await;
    // 10 shares became 100; 5 of them were sold and 2 bought at 15.00: 1500 × 95/100 + 30.
    assert_eq!(exchange.held(sam, "AAPL").await, ("97".into(), "1455.00".into()));
    assert_eq!(exchange.held(mia, "AAPL").await, ("100".into(), "1500.00".into()));
    for who in [sam, mia] {
        assert_eq!(exchange.total(who).await, "10000.00");
        let valued = exchange.books().valuation(who.reference()).await.unwrap().valuation;
        assert_eq!((valued.realized_pnl, valued.unrealized_pnl), (money("0"), money("0")));
        // Snapshots that were valued without the split are valued again.
        let rows = exchange.rows(who).await;
        assert!(rows.iter().all(|row| row.total_value == money("10000") && !row.provisional), "{rows:?}");
    }
    let correction = exchange.journal(sam).await.into_iter().find(|entry| entry.action.is_some()).unwrap();
    // He sold 5 of 10 shares for 75.00 that had cost 750.00; in fact they were 5 of 100 and had cost 75.00.
    assert_eq!((correction.quantity, correction.realized_pnl), (Some(quantity("97")), Some(money("675"))));
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_late_reverse_split_limits_earlier_sells_to_existing_shares() {
    let prices = FixedPrices::new();
    prices.announce(moment("2026-11-24T12:00:00Z"), split("AAPL", "1:10", "2026-11-23"));
    prices.set_from(moment(OPEN), "AAPL", "1500.00");
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "10000").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.at("2026-11-23T12:00:00Z");
    exchange.sell(sam, "AAPL", "4").await.unwrap();
    exchange.at("2026-11-24T12:00:00Z");
    exchange.act().await;
    let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
    assert!(valued.holdings.is_empty());
    // The sale brought 6000.00 for a share that had cost 1500.00.
    assert_eq!((valued.total_value, valued.realized_pnl), (money("14500"), money("4500")));
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_dividend_is_owed_from_the_ex_date_and_paid_on_its_day() {
    let prices = FixedPrices::new();
    prices.announce(moment(OPEN), dividend("AAPL", 26, "2026-11-23", "2026-12-08"));
    prices.set_close("AAPL", day("2026-11-22"), "150.00");
    prices.set_from(moment(OPEN), "AAPL", "149.74");
    let exchange = Exchange::with(prices).await;
    let (sam, late) = (exchange.investor("sam", "10000").await, exchange.investor("late", "10000").await);
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.at("2026-11-23T05:00:10Z");
    exchange.buy(late, "AAPL", "10").await.unwrap();
    exchange.sell(sam, "AAPL", "10").await.unwrap();
    for _ in 0..2 {
        exchange.act().await;
        let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
        assert_eq!((valued.cash_balance, valued.dividends_receivable), (money("9997.40"), money("2.60")));
        assert_eq!(valued.total_value, money("10000.00"));
        assert_eq!(valued.day_change, money("0"), "the price has fallen by what is owed");
    }
    let nothing = exchange.books().valuation(late.reference()).await.unwrap().valuation;
    assert_eq!(nothing.dividends, money("0"), "who bought on the ex-date gets none");
    assert!(
        exchange.journal(sam).await.iter().all(|entry| entry.transaction_type != TransactionType::Dividend)
    );
    exchange.assert_books_balance().await;

    exchange.at("2026-12-08T05:00:10Z");
    for _ in 0..2 {
        exchange.act().await;
        let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
        assert_eq!(
            (valued.cash_balance.clone(), valued.dividends_receivable.clone()),
            (money("10000"), money("0"))
        );
        assert_eq!((valued.dividends.clone(), valued.total_gain()), (money("2.60"), money("0.00")));
    }
    let journal = exchange.journal(sam).await;
    assert_eq!(journal[0].transaction_type, TransactionType::Dividend);
    assert_eq!(
        (journal[0].amount.to_string(), journal[0].quantity.clone()),
        ("2.60".into(), Some(quantity("10")))
    );
    // No money was deposited: the dividend is a return.
    assert_eq!(exchange.books().external_flows(sam.reference()).await.unwrap().len(), 1);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_late_dividend_on_the_day_of_a_split_is_for_the_new_shares() {
    let prices = FixedPrices::new();
    let news = moment("2026-11-26T12:00:00Z");
    prices.announce(news, dividend("AAPL", 10, "2026-11-23", "2026-11-24"));
    prices.announce(news, split("AAPL", "3:2", "2026-11-23"));
    prices.set_from(moment(OPEN), "AAPL", "99.90");
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "10000").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.at("2026-11-24T12:00:00Z");
    exchange.act().await;
    exchange.sell(sam, "AAPL", "1").await.unwrap();
    exchange.at("2026-11-26T12:00:00Z");
    exchange.act().await;
    exchange.act().await;
    // 15 shares received 0.10 each; 14 are left.
    assert_eq!(exchange.held(sam, "AAPL").await, ("14".into(), "1400.00".into()));
    let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
    assert_eq!((valued.dividends.clone(), valued.dividends_receivable.clone()), (money("1.50"), money("0")));
    assert_eq!((valued.total_value.clone(), valued.total_gain()), (money("10000.00"), money("0.00")));
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_receivable_is_part_of_daily_values_and_the_return_does_not_dip() {
    let prices = FixedPrices::new();
    prices.announce(moment(OPEN), dividend("AAPL", 200, "2026-11-23", "2026-11-25"));
    for date in ["2026-11-20", "2026-11-21", "2026-11-22"] {
        prices.set_close("AAPL", day(date), "150.00");
    }
    for date in 23..=26 {
        prices.set_close("AAPL", day(&format!("2026-11-{date}")), "148.00");
    }
    prices.set_from(moment(OPEN), "AAPL", "148.00");
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "10000").await;
    exchange.buy(sam, "AAPL", "50").await.unwrap();
    for date in 23..=27 {
        exchange.at(&format!("2026-11-{date}T12:00:00Z"));
        exchange.work().await;
        exchange.work().await;
    }
    let rows = exchange.rows(sam).await;
    assert!(rows.iter().all(|row| row.total_value == money("10000")), "{rows:?}");
    let owed: Vec<String> = rows.iter().map(|row| row.dividends_receivable.to_string()).collect();
    assert_eq!(owed, ["0.00", "0.00", "0.00", "100.00", "100.00", "0.00", "0.00"]);
    let measured = exchange.measured(sam, services::books::performance::Window::default()).await;
    assert_eq!(measured.gain, money("0"));
    assert_eq!(measured.max_drawdown.as_ref().map(|fall| fall.depth).unwrap_or(0.0), 0.0);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_renamed_stock_keeps_its_books_and_is_found_by_the_old_symbol() {
    let prices = FixedPrices::new();
    let to: Symbol = symbol("APPL");
    prices.list("APPL", "Apple Again Inc.", "Technology", "150.00");
    let kind = CorporateActionKind::SymbolChange { to: to.clone() };
    prices.announce(moment(NEWS), CorporateAction::new(symbol("AAPL"), day("2026-11-23"), kind));
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "10000").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    let before = exchange.instruments().stock(&symbol("AAPL")).await.unwrap();
    exchange.at("2026-11-23T05:00:01Z");
    exchange.act().await;
    exchange.act().await;
    for name in ["AAPL", "APPL"] {
        let stock = exchange.instruments().stock(&symbol(name)).await.unwrap();
        assert_eq!((stock.id, &stock.listing.symbol), (before.id, &to));
        assert_eq!(stock.listing.company_name, "Apple Again Inc.");
        let filter = domain::TransactionFilter { symbol: Some(symbol(name)), ..Default::default() };
        let found = exchange.books().transactions(sam.reference(), filter, None, 10).await.unwrap();
        assert_eq!(found.items.len(), 1, "{name}");
    }
    exchange.stocks().import_catalogue().await.unwrap();
    exchange.sell(sam, "APPL", "4").await.unwrap();
    assert_eq!(exchange.held(sam, "APPL").await.0, "6");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_delisted_stock_keeps_its_last_price_and_its_orders_end() {
    let prices = FixedPrices::new();
    let gone = CorporateAction::new(symbol("AAPL"), day("2026-11-23"), CorporateActionKind::Delisting);
    prices.announce(moment(NEWS), gone);
    prices.set_close("AAPL", day("2026-11-22"), "150.00");
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "10000").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    let open = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "10", limit("200"))).await;
    exchange.at("2026-11-23T06:00:00Z");
    exchange.work().await;
    exchange.prices.set_as_of("AAPL", Some(moment("2026-11-23T04:59:59Z")));
    let order_now = exchange.look(sam, open).await;
    assert_eq!(order_now.status, OrderStatus::Canceled);
    assert!(order_now.reject_reason.unwrap().contains("the stock is delisted"));
    let refused = exchange.sell(sam, "AAPL", "10").await.unwrap_err();
    assert!(matches!(refused, Error::NotTradable { .. }), "{refused:?}");
    assert_eq!(exchange.held(sam, "AAPL").await, ("10".into(), "1500.00".into()));
    assert_eq!(exchange.total(sam).await, "10000.00");
    exchange.at("2026-11-25T12:00:00Z");
    exchange.work().await;
    let rows = exchange.rows(sam).await;
    assert_eq!(rows.last().unwrap().total_value, money("10000"));
    assert!(!rows.last().unwrap().provisional, "nothing newer will come");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_price_from_before_a_split_is_shown_in_new_shares() {
    let prices = FixedPrices::of(domain::Freshness::EndOfDay, domain::Calendar::Xnys);
    prices.announce(moment(NEWS), split("AAPL", "10:1", "2026-11-23"));
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "10000").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.at("2026-11-23T15:00:00Z");
    exchange.act().await;
    // The newest price is Friday's close.
    let quote = exchange.stocks().quote(&symbol("AAPL")).await.unwrap();
    assert_eq!(quote.price, price("15.00"));
    assert_eq!(exchange.total(sam).await, "10000.00");
    // No price from after the split has confirmed it yet.
    let sold = exchange.accepted(sam, order(Side::Sell, "AAPL", shares("100"))).await;
    exchange.prices.set_from(moment("2026-11-23T14:30:00Z"), "AAPL", "15.00");
    exchange.at("2026-11-23T21:30:00Z");
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(exchange.look(sam, sold).await.status, OrderStatus::Filled);
    assert_eq!(exchange.cash(sam).await, "10000.00");
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_several_workers_apply_a_split_only_once() {
    let (exchange, first) = before_a_split().await;
    let mut people = vec![first];
    for number in 0..9 {
        people.push(exchange.investor(&format!("person{number}"), "10000").await);
    }
    for who in &people {
        exchange.buy(*who, "AAPL", "10").await.unwrap();
    }
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    exchange.at("2026-11-23T05:00:01Z");
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let services = exchange.another_process();
        tasks.push(tokio::spawn(async move {
            services.corporate_actions().apply_corporate_actions().await.map(drop)
        }));
    }
    for who in people.clone() {
        let services = exchange.another_process();
        let sell = PlaceOrder {
            time_in_force: TimeInForce::Day,
            ..order(Side::Sell, "AAPL", OrderSize::Quantity(quantity("30")))
        };
        tasks.push(tokio::spawn(async move {
            services.trading().place_order(who.control(), sell).await.map(drop)
        }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    for who in people {
        assert_eq!(exchange.held(who, "AAPL").await, ("70".into(), "1050.00".into()));
        assert_eq!(exchange.total(who).await, "10000.00");
    }
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn verify_detects_missing_and_wrong_applications_of_actions() {
    let (exchange, sam) = before_a_split().await;
    exchange.prices.announce(moment(NEWS), dividend("AAPL", 26, "2026-11-24", "2026-12-08"));
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.act().await;
    exchange.at("2026-11-24T12:00:00Z");
    exchange.act().await;
    exchange.assert_books_balance().await;
    let found = async |sql: &str| {
        exchange.database().sql(sql).unwrap();
        let report = exchange.books().verify(|_, _| ()).await.unwrap();
        report.differences.into_iter().map(|difference| difference.what).collect::<Vec<_>>()
    };
    let missed = found("UPDATE portfolio_actions SET quantity = '99' WHERE amount = '26.00'").await;
    assert_eq!(missed, ["AAPL/2026-11-24/cash_dividend was applied to 99 shares, 100 were held"]);
    let less =
        found("UPDATE portfolio_actions SET quantity = '100', amount = '25.00' WHERE amount = '26.00'");
    assert_eq!(
        less.await,
        [
            "AAPL/2026-11-24/cash_dividend pays 25.00, computed 26.00",
            "dividends is 26.00, its actions give 25.00",
            "dividends_receivable is 26.00, its actions give 25.00"
        ]
    );
    let gone = found("DELETE FROM portfolio_actions WHERE amount = '25.00'").await;
    assert!(gone.iter().any(|what| what.contains("was not applied to the 100 shares held")), "{gone:?}");
    let gone = found("DELETE FROM portfolio_actions").await;
    assert!(
        gone.iter().any(|what| what.contains("AAPL/2026-11-23/split was not applied to the 10 shares")),
        "{gone:?}"
    );
}

/// The built-in market with its planned events: XWATT splits 3:2 on 2 December, NFLX 10:1 on the 7th, XCOAX becomes
/// XFIBR on the 14th, XLAST is delisted on 11 January, and most stocks pay quarterly dividends.
#[tokio::test]
async fn a_portfolio_passes_all_events_of_the_built_in_market() {
    walk_over_everything(SimulatedModel::V2, TradingMode::Practice).await;
}

#[tokio::test]
async fn a_portfolio_passes_all_events_of_the_exchange_view() {
    walk_over_everything(SimulatedModel::V2Xnys, TradingMode::Realistic).await;
}

async fn walk_over_everything(model: SimulatedModel, mode: TradingMode) {
    let config = ServicesConfig {
        trading: TradingConfig { mode, ..TradingConfig::default() },
        ..ServicesConfig::default()
    };
    let market = TestServices::with(Arc::new(Simulated::with_seed(model, DEFAULT_SEED)), config).await;
    let (services, clock) = (&market.services, &market.clock);
    clock.set(moment("2026-11-30T15:00:00Z"));
    let user = person(&market).await;
    let open = OpenPortfolio {
        name: "All".into(),
        description: String::new(),
        cash_balance: Some(money("1000000")),
    };
    let portfolio = services.books().open_portfolio(Trader::on_behalf_of(user), open).await.unwrap().id;
    let buy = async |ticker: &str, size: &str| {
        services
            .trading()
            .place_order(
                Trader::on_behalf_of(user).portfolio(portfolio),
                order(Side::Buy, ticker, shares(size)),
            )
            .await
            .unwrap();
    };
    for (ticker, size) in [("XWATT", "10"), ("NFLX", "10"), ("XCOAX", "10"), ("XLAST", "10"), ("KO", "1000")]
    {
        buy(ticker, size).await;
    }
    // In realistic mode, orders fill at the next price.
    clock.set(moment("2026-11-30T15:01:00Z"));
    services.trading().match_orders().await.unwrap();
    let never = gtc(Side::Sell, "NFLX", "3", limit("99999"));
    let open = services
        .trading()
        .place_order(Trader::on_behalf_of(user).portfolio(portfolio), never)
        .await
        .unwrap()
        .order
        .order
        .id;
    let work = async || {
        for run in services.jobs().due_runs().await.unwrap() {
            services.jobs().run_job(run.id, "worker").await.unwrap();
        }
    };
    // The worker runs every third day and catches up on the days in between.
    for date in day("2026-12-02").iter_days().step_by(3).take_while(|date| *date <= day("2027-03-02")) {
        clock.set(moment(&format!("{date}T06:00:00Z")));
        services.trading().match_orders().await.unwrap();
        work().await;
        work().await;
        if date == day("2026-12-08") {
            let exit = services
                .trading()
                .cancel_order(Trader::on_behalf_of(user).portfolio(portfolio), open)
                .await
                .unwrap()
                .order;
            assert_eq!((exit.size, exit.terms), (shares("30"), limit("9999.90")));
        }
    }
    let valued = services.books().valuation(PortfolioRef::new(user, portfolio)).await.unwrap().valuation;
    let held: Vec<(String, String)> = valued
        .holdings
        .iter()
        .map(|holding| (holding.listing.symbol.to_string(), holding.position.quantity.to_string()))
        .collect();
    for (ticker, size) in [("XWATT", "15"), ("NFLX", "100"), ("XFIBR", "10"), ("XLAST", "10"), ("KO", "1000")]
    {
        assert!(held.contains(&(ticker.into(), size.into())), "{ticker}: {held:?}");
    }
    let last = valued.holdings.iter().find(|holding| holding.listing.symbol.as_str() == "XLAST").unwrap();
    assert!(last.quote.stale && last.quote.as_of < moment("2027-01-11T05:00:00Z"));
    assert!(valued.dividends > money("400"), "Coca-Cola pays 3.1 % a year: {}", valued.dividends);
    let refused = services
        .trading()
        .place_order(Trader::on_behalf_of(user).portfolio(portfolio), order(Side::Buy, "XLAST", shares("1")))
        .await;
    assert!(matches!(refused, Err(Error::NotTradable { .. })), "{refused:?}");
    let flows = valued.total_value.clone() - &money("1000000");
    assert_eq!(valued.total_gain(), flows);
    // No day has a fall as large as a split.
    let rows = services.books().snapshots(PortfolioRef::new(user, portfolio), None, None).await.unwrap();
    let sessions = model.calendar().sessions(day("2026-11-30"), day("2027-02-28")).count();
    assert!(rows.len() >= sessions && rows.iter().all(|row| !row.provisional), "{}", rows.len());
    assert!(rows.iter().all(|row| model.calendar().session(row.date).is_some()));
    let values: Vec<f64> = rows.iter().map(|row| row.total_value.to_f64()).collect();
    assert!(values.windows(2).all(|pair| (pair[1] / pair[0] - 1.0).abs() < 0.02), "{values:?}");
    let report = services.books().verify(|_, _| ()).await.unwrap();
    assert_eq!(report.differences, []);
}

async fn person(market: &TestServices) -> UserId {
    let now = market.clock.wall();
    let new = NewUser {
        username: "sam".into(),
        email: "sam@example.org".into(),
        password_hash: String::new(),
        first_name: String::new(),
        last_name: String::new(),
        date_joined: now,
        is_active: true,
        is_admin: false,
        password_changed_at: now,
    };
    market.store.store.write(move |tx| users::insert(tx, new)).await.unwrap().id
}
