//! Selling a whole position: by its displayed value, by percentage, and in one call; and the symbol in the answers.

use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{OrderRejected, OrderSize, OrderStatus, Side};
use services::accounts::actor::Trader;
use services::testing::FixedPrices;

use services::trading::closing::ClosePosition;
use services::{Error, NotFound};

use super::harness::{
    Exchange, Investor, assert_not_found, called, day, gtc, limit, moment, money, notional, order, quantity,
    rejection, shares, symbol,
};

pub fn percent(text: &str) -> OrderSize {
    OrderSize::OfPosition(text.parse().unwrap())
}

pub fn closing(ticker: &str, size: OrderSize) -> ClosePosition {
    ClosePosition { symbol: symbol(ticker), size, cancel_orders: false, client_order_id: None }
}

pub async fn held(exchange: &Exchange, who: Investor) -> String {
    let valued = exchange.books().valuation(who.reference()).await.unwrap();
    valued.valuation.holdings.first().map_or("0".into(), |holding| holding.position.quantity.to_string())
}

async fn shown_value(exchange: &Exchange, who: Investor) -> String {
    let valued = exchange.books().valuation(who.reference()).await.unwrap();
    valued.valuation.holdings[0].market_value.to_string()
}

#[tokio::test]
async fn selling_the_shown_value_sells_all_shares() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100000.00").await;
    // With a spread, with a last price between bid and ask, and with prices below one dollar.
    for (last, bid, ask, spent) in [
        ("236.40", "236.38", "236.42", "450.00"),
        ("10.00", "9.99", "10.01", "100.00"),
        ("0.3565", "0.3561", "0.3569", "2107.70"),
        ("5000.00", "4999.00", "5001.00", "0.07"),
        ("1.01", "1.00", "1.01", "33.33"),
    ] {
        exchange.prices.set("AAPL", last);
        exchange.prices.set_bid_and_ask("AAPL", bid, ask);
        exchange.place(sam, order(Side::Buy, "AAPL", notional(spent))).await.unwrap();
        let shown = shown_value(&exchange, sam).await;
        let sold = exchange.place(sam, order(Side::Sell, "AAPL", notional(&shown))).await.unwrap();
        assert_eq!(sold.order.order.status, OrderStatus::Filled, "{bid} {ask} {spent}");
        assert_eq!(held(&exchange, sam).await, "0", "{bid} {ask} {spent}");
    }
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_sell_by_money_leaves_no_remainder_and_is_rejected_far_above_the_value() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100000.00").await;
    exchange.prices.set("AAPL", "100.00");
    exchange.prices.set_bid_and_ask("AAPL", "99.00", "101.00");
    exchange.buy(sam, "AAPL", "3").await.unwrap();
    // The position is worth 300.00 at the last price and 297.00 at the bid.
    let sell = |money: &str| order(Side::Sell, "AAPL", notional(money));
    let refused = rejection(exchange.place(sam, sell("303.01")).await);
    assert!(matches!(refused, OrderRejected::InsufficientShares { .. }), "{refused:?}");
    let part = exchange.place(sam, sell("99.00")).await.unwrap();
    assert_eq!(part.order.order.filled_quantity, quantity("1"));
    assert_eq!(part.order.order.size, notional("99.00"));
    // The value that was displayed before the price fell by less than one percent still sells all shares.
    let all = exchange.place(sam, sell("202.00")).await.unwrap();
    assert_eq!(all.order.order.size, shares("2"));
    assert_eq!(held(&exchange, sam).await, "0");
    // The remaining shares would be worth less than a cent.
    exchange.prices.set("AAPL", "1000.00");
    exchange.prices.set_bid_and_ask("AAPL", "1000.00", "1000.00");
    exchange.buy(sam, "AAPL", "1.000004").await.unwrap();
    exchange.place(sam, sell("1000.00")).await.unwrap();
    assert_eq!(held(&exchange, sam).await, "0");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_position_is_closed_in_full_or_in_part_without_remainders() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100000.00").await;
    exchange.buy(sam, "AAPL", "7.000000001").await.unwrap();
    let close =
        async |size: OrderSize| exchange.trading().close_position(sam.control(), closing("AAPL", size)).await;
    let third = close(percent("33.3333")).await.unwrap().order.order;
    assert_eq!(third.size, shares("2.333331"));
    close(shares("0.666669001")).await.unwrap();
    assert_eq!(held(&exchange, sam).await, "4");
    // Shares that an open order reserves are not sold again.
    let open = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "1", limit("900"))).await;
    match close(percent("100")).await {
        Err(Error::SharesReserved { required, available, .. }) => {
            assert_eq!((required, available), (quantity("4"), quantity("3")));
        }
        other => panic!("{other:?}"),
    }
    let refused = rejection(close(shares("5")).await);
    assert!(matches!(refused, OrderRejected::InsufficientShares { .. }), "{refused:?}");
    close(percent("50")).await.unwrap();
    exchange.trading().cancel_order(sam.control(), open).await.unwrap();
    close(percent("100")).await.unwrap();
    assert_eq!(held(&exchange, sam).await, "0");
    assert_not_found(NotFound::Position, close(percent("100")).await);
    let unknown = exchange.trading().close_position(sam.control(), closing("NONESUCH", percent("100"))).await;
    assert_not_found(NotFound::Position, unknown);
    assert_eq!(exchange.cash(sam).await, "100000.00");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn closing_a_position_twice_with_one_key_sells_once() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100000.00").await;
    exchange.buy(sam, "AAPL", "5").await.unwrap();
    let close = async || {
        let close =
            ClosePosition { client_order_id: Some("close-1".to_owned()), ..closing("AAPL", percent("100")) };
        exchange.trading().close_position(sam.control(), close).await.unwrap()
    };
    let first = close().await;
    exchange.buy(sam, "AAPL", "2").await.unwrap();
    let again = close().await;
    assert_eq!((again.replayed, again.order.order.id), (true, first.order.order.id));
    assert_eq!(held(&exchange, sam).await, "2");
    exchange.assert_books_balance().await;
}

/// If the order names a former symbol, or the symbol in another case, the answer contains the current symbol.
#[tokio::test]
async fn answers_about_orders_contain_the_current_symbol() {
    let prices = FixedPrices::new();
    prices.list("XFIBR", "Fiber Inc.", "Technology", "50.00");
    let kind = CorporateActionKind::SymbolChange { to: symbol("XFIBR") };
    let renamed = CorporateAction::new(symbol("AAPL"), day("2026-11-23"), kind);
    prices.announce(moment("2026-11-20T00:00:00Z"), renamed);
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "100000.00").await;
    let before = exchange.place(sam, called("early", order(Side::Buy, "AAPL", shares("1")))).await.unwrap();
    exchange.at("2026-11-23T05:00:01Z");
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    exchange.corporate_actions().apply_corporate_actions().await.unwrap();

    // A process that has never seen the stock under its old symbol.
    let later = exchange.another_process();
    let place = async |command| later.trading().place_order(sam.control(), command).await;
    let old = order(Side::Buy, "AAPL", shares("1"));
    let preview = later.trading().preview_order(sam.reference(), old.clone()).await.unwrap();
    assert_eq!(preview.order.symbol, symbol("XFIBR"));
    let placed = place(called("late", old.clone())).await.unwrap();
    assert_eq!(placed.order.order.symbol, symbol("XFIBR"));
    assert_eq!(exchange.look(sam, placed.order.order.id).await, placed.order.order);
    // Retries of requests from before and after the change are still recognized.
    let again = place(called("early", old.clone())).await.unwrap();
    assert!(again.replayed && again.order.order.id == before.order.order.id);
    assert!(place(called("late", old)).await.unwrap().replayed);
    let (user, portfolio) = (sam.user, sam.portfolio);
    let closed = later
        .trading()
        .close_position(Trader::on_behalf_of(user).portfolio(portfolio), closing("AAPL", percent("100")))
        .await
        .unwrap();
    assert_eq!((&closed.order.order.symbol, &closed.order.order.size), (&symbol("XFIBR"), &shares("2")));
    assert_eq!(exchange.cash(sam).await, money("100000.00").to_string());
    exchange.assert_books_balance().await;
}
