use chrono::TimeDelta;
use domain::{
    Attached, Commission, JournalEntry, Order, OrderRejected, OrderTerms, OrderWarning, PlaceOrder, Side,
    StopLoss, Trail,
};
use market_data::QuoteError;
use services::testing::FixedPrices;
use services::{Error, TradingConfig};

use crate::harness::{
    Exchange, Investor, close_to, gtc, limit, money, notional, order, price, rejection, shares, stop, symbol,
};

/// Previews an order, places it, and compares the result with the preview.
async fn assert_foretold(exchange: &Exchange, who: Investor, command: PlaceOrder) {
    let foretold = exchange.trading().preview_order(who.reference(), command.clone()).await.unwrap();
    let before = exchange.books().valuation(who.reference()).await.unwrap().valuation;
    assert_eq!(foretold.cash_before, before.cash_balance);
    assert_eq!(
        exchange.trading().preview_order(who.reference(), command.clone()).await.unwrap(),
        foretold,
        "looking changes nothing"
    );

    let placed = exchange.trading().place_order(who.control(), command).await.unwrap().order;
    let fill = &placed.fills[0];
    let foretold_fill = foretold.fill.as_ref().unwrap();
    assert_eq!(foretold_fill, &JournalEntry { id: None, order_id: foretold_fill.order_id, ..fill.clone() });
    assert_eq!(
        (&foretold.quantity, &foretold.gross),
        (&placed.order.filled_quantity, &placed.order.filled_amount.rounded())
    );
    assert_eq!(Some(&foretold.price), fill.price.as_ref());
    assert_eq!((&foretold.amount, &foretold.commission), (&fill.amount, &fill.commission));
    assert_eq!(foretold.realized_pnl, fill.realized_pnl);
    let after = exchange.books().valuation(who.reference()).await.unwrap().valuation;
    assert_eq!(foretold.cash_after, after.cash_balance);
    let held = after.holdings.iter().find(|holding| holding.stock_id == foretold.stock.id);
    let average = held.and_then(|holding| holding.average_buy_price());
    assert_eq!(foretold.average_buy_price_after, average);
    match held {
        Some(holding) => {
            assert_eq!(foretold.quantity_after, holding.position.quantity);
            assert!(close_to(foretold.weight_after, after.weight(&holding.market_value)), "{foretold:?}");
        }
        None => assert!(foretold.quantity_after.is_zero() && foretold.weight_after == 0.0),
    }
}

#[tokio::test]
async fn a_preview_equals_the_result_of_placing() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.prices.set_bid_and_ask("AAPL", "149.97", "150.03");
    for command in [
        order(Side::Buy, "AAPL", shares("10")),
        order(Side::Buy, "MSFT", notional("1234.56")),
        order(Side::Buy, "AAPL", shares("0.333333333")),
        order(Side::Sell, "AAPL", shares("4.2")),
        order(Side::Sell, "AAPL", notional("100.00")),
        order(Side::Sell, "MSFT", shares("3.0864")),
    ] {
        exchange.pass(TimeDelta::seconds(1));
        assert_foretold(&exchange, sam, command).await;
    }
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_preview_matches_a_hand_calculation() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "MSFT", "1").await.unwrap();
    let buy = order(Side::Buy, "AAPL", shares("2"));
    let preview = exchange.trading().preview_order(sam.reference(), buy).await.unwrap();
    assert_eq!((preview.cash_before, preview.cash_after), (money("600.00"), money("300.00")));
    assert_eq!(preview.amount, money("-300.00"));
    assert!(close_to(preview.weight_after, 0.3), "{}", preview.weight_after);
    // No row is stored.
    assert_eq!(exchange.cash(sam).await, "600.00");
    assert_eq!(exchange.all_orders(sam).await.len(), 1);
    assert_eq!(exchange.journal(sam).await.len(), 2);
    assert_eq!(exchange.instruments().stock(&symbol("AAPL")).await.unwrap().last, None);
}

#[tokio::test]
async fn a_preview_is_rejected_for_the_same_reason_as_the_order() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100.00").await;
    let preview = async |command| exchange.trading().preview_order(sam.reference(), command).await;
    assert!(matches!(
        rejection(preview(order(Side::Buy, "AAPL", shares("1"))).await),
        OrderRejected::InsufficientBuyingPower { .. }
    ));
    assert!(matches!(
        rejection(preview(order(Side::Sell, "AAPL", shares("1"))).await),
        OrderRejected::InsufficientShares { .. }
    ));
    let unknown = preview(order(Side::Buy, "NOSUCH", shares("1"))).await;
    assert!(matches!(unknown, Err(Error::UnknownSymbol(_))));
    exchange.prices.fail_with(QuoteError::Unreachable);
    let silent = preview(order(Side::Buy, "AAPL", shares("1"))).await;
    assert!(matches!(silent, Err(Error::NoPrice { .. })));
}

/// For working orders of every type, with commission and slippage: the previewed order and buying power equal those
/// after placing.
#[tokio::test]
async fn a_preview_of_a_working_order_equals_the_result_of_placing() {
    let trading = TradingConfig {
        commission: Commission { per_order: money("1.00"), ..Commission::default() },
        slippage: Some("0.1".parse().unwrap()),
        ..TradingConfig::default()
    };
    let exchange = Exchange::trading(FixedPrices::new(), trading).await;
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    let trail = OrderTerms::TrailingStop { trail: Trail::Price(price("5")) };
    let stop_limit = OrderTerms::StopLimit { stop: price("160"), limit: price("161") };
    let stop_loss = StopLoss { stop: price("120"), limit: None };
    let bracket = Attached::Bracket { take_profit: price("180"), stop_loss: stop_loss.clone() };
    for (command, cost) in [
        (gtc(Side::Buy, "AAPL", "1", limit("140")), "-141.00"),
        (PlaceOrder { size: notional("70"), ..gtc(Side::Buy, "AAPL", "1", limit("140")) }, "-71.00"),
        // 160 plus 0.1 %.
        (gtc(Side::Buy, "AAPL", "2", stop("160")), "-321.32"),
        (gtc(Side::Buy, "AAPL", "1", stop_limit), "-162.00"),
        (gtc(Side::Sell, "AAPL", "1", limit("170")), "169.00"),
        (gtc(Side::Sell, "AAPL", "1", stop("140")), "138.86"),
        (gtc(Side::Sell, "AAPL", "1", trail), "143.86"),
        (PlaceOrder { attached: bracket, ..gtc(Side::Buy, "AAPL", "1", limit("130")) }, "-131.00"),
        (
            PlaceOrder {
                attached: Attached::Oco { stop_loss },
                ..gtc(Side::Sell, "AAPL", "1", limit("175"))
            },
            "174.00",
        ),
    ] {
        let foretold = exchange.trading().preview_order(sam.reference(), command.clone()).await.unwrap();
        assert_eq!(foretold.amount, money(cost), "{command:?}");
        assert_eq!(foretold.commission, money("1.00"));
        assert_eq!(foretold.cash_after, foretold.cash_before.clone() + &foretold.amount);
        assert_eq!(foretold.buying_power_before.to_string(), exchange.buying_power(sam).await);
        let placed = exchange.place(sam, command).await.unwrap().order;
        assert_eq!(foretold.buying_power_after.to_string(), exchange.buying_power(sam).await);
        let unnamed = |order: &Order| Order {
            id: foretold.order.id,
            parent_order_id: order.parent_order_id.map(|_| foretold.order.id),
            client_order_id: None,
            ..order.clone()
        };
        assert_eq!(foretold.order, unnamed(&placed.order));
        let legs: Vec<Order> = placed.legs.iter().map(|leg| unnamed(&leg.order)).collect();
        assert_eq!(foretold.legs, legs);
        assert_eq!((foretold.fill, placed.fills.len()), (None, 0));
    }
    exchange.assert_books_balance().await;
}

/// Reservations of other orders are considered, and there are warnings.
#[tokio::test]
async fn a_preview_contains_warnings() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.prices.set_bid_and_ask("AAPL", "149.90", "150.10");
    let warnings =
        async |command| exchange.trading().preview_order(sam.reference(), command).await.unwrap().warnings();
    let at_once = warnings(gtc(Side::Buy, "AAPL", "1", limit("151"))).await;
    assert_eq!(at_once, [OrderWarning::LimitReached]);
    let heavy = warnings(order(Side::Buy, "AAPL", shares("6"))).await;
    let [OrderWarning::Concentrated { symbol: heavy, weight }] = &heavy[..] else { panic!("{heavy:?}") };
    // 6 shares at the last price of 150.00, and the rest of the cash: 1000.00 - 6 × 150.10.
    assert_eq!((heavy.as_str(), format!("{weight:.4}")), ("AAPL", "0.9005".to_owned()));
    assert_eq!(warnings(gtc(Side::Buy, "AAPL", "1", stop("150"))).await.len(), 1);
    assert_eq!(warnings(gtc(Side::Buy, "AAPL", "1", limit("140"))).await, []);
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let sells_all = [OrderWarning::SellsWholePosition { symbol: symbol("AAPL") }];
    assert_eq!(warnings(order(Side::Sell, "AAPL", shares("1"))).await, sells_all);

    exchange.accepted(sam, gtc(Side::Buy, "AAPL", "5", limit("140"))).await;
    let too_much =
        exchange.trading().preview_order(sam.reference(), gtc(Side::Buy, "AAPL", "2", limit("100"))).await;
    assert!(matches!(rejection(too_much), OrderRejected::InsufficientBuyingPower { available, .. }
        if available == money("149.90")));
}
