use domain::PortfolioRef;
use domain::composition::ConcentrationLevel;
use domain::concentration_limits::{ConcentrationLimits, LimitPercent};
use services::NotFound;

use crate::harness::{Exchange, assert_not_found, close_to, money};

/// AAPL at 1600.00 and MSFT at 975.00 in Technology, JPM at 200.50 in Financials, cash of 7300.00: 10 075.50 in total.
#[tokio::test]
async fn weights_by_stock_and_sector_match_a_hand_calculation() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    for (symbol, quantity, price) in
        [("JPM", "1", "200.50"), ("MSFT", "2.5", "390.00"), ("AAPL", "10", "160.00")]
    {
        exchange.buy(sam, symbol, quantity).await.unwrap();
        exchange.prices.set(symbol, price);
    }
    let composition = exchange.books().composition(sam.reference()).await.unwrap();
    let total = 10075.5;
    assert_eq!(composition.total_value, money("10075.50"));
    assert!(close_to(composition.cash.weight, 7300.0 / total));
    let stocks: Vec<_> = composition.stocks.iter().map(|slice| slice.of.as_str()).collect();
    assert_eq!(stocks, ["AAPL", "MSFT", "JPM"]);
    assert!(close_to(composition.stocks[1].weight, 975.0 / total));
    let sectors: Vec<_> =
        composition.sectors.iter().map(|slice| (slice.of.as_str(), slice.market_value.to_string())).collect();
    assert_eq!(sectors, [("Technology", "2575.00".to_owned()), ("Financials", "200.50".to_owned())]);
    assert!(close_to(composition.sectors[0].weight, 2575.0 / total));
    let whole: f64 = composition.stocks.iter().map(|slice| slice.weight).sum();
    assert!(close_to(whole + composition.cash.weight, 1.0));

    let invested: f64 = 2775.5;
    let herfindahl = [1600.0, 975.0, 200.5].iter().map(|value: &f64| (value / invested).powi(2)).sum();
    let concentration = composition.concentration.unwrap();
    assert!(close_to(concentration.herfindahl, herfindahl));
    assert!(close_to(concentration.effective_positions, 1.0 / herfindahl));
    assert_eq!(concentration.level, ConcentrationLevel::Concentrated);
    assert!(close_to(concentration.top_1, 1600.0 / invested) && close_to(concentration.top_5, 1.0));
}

#[tokio::test]
async fn cash_alone_is_not_concentrated() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10.00").await;
    let composition = exchange.books().composition(sam.reference()).await.unwrap();
    assert!(close_to(composition.cash.weight, 1.0));
    assert!(composition.stocks.is_empty() && composition.sectors.is_empty());
    assert_eq!(composition.concentration, None);

    let empty = exchange.investor("mia", "0").await;
    let nothing = exchange.books().composition(empty.reference()).await.unwrap();
    assert!(close_to(nothing.cash.weight, 0.0));
}

#[tokio::test]
async fn limits_belong_to_a_portfolio_and_survive_its_reset() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.investor("sam", "10.00").await, exchange.investor("mia", "10.00").await);
    let limits_of =
        async |id| exchange.books().concentration_limits(PortfolioRef::new(sam.user, id)).await.unwrap();
    assert_eq!(limits_of(sam.portfolio).await, ConcentrationLimits::default());
    let limits =
        ConcentrationLimits { stock: LimitPercent::new(10), sector: None, cash: LimitPercent::new(100) };
    exchange.books().set_concentration_limits(sam.control(), ConcentrationLimits::default()).await.unwrap();
    exchange.books().set_concentration_limits(sam.control(), limits).await.unwrap();
    assert_eq!(limits_of(sam.portfolio).await, limits);

    let again = exchange.books().reset_portfolio(sam.control(), None).await.unwrap();
    assert_eq!(limits_of(again.id).await, limits);
    // The archived portfolio keeps its limits, and they can still be changed.
    exchange.books().set_concentration_limits(sam.control(), ConcentrationLimits::default()).await.unwrap();
    assert_eq!(limits_of(sam.portfolio).await, ConcentrationLimits::default());
    assert_eq!(limits_of(again.id).await, limits);

    assert_not_found(
        NotFound::Portfolio,
        exchange.books().concentration_limits(PortfolioRef::new(mia.user, again.id)).await,
    );
    assert_not_found(
        NotFound::Portfolio,
        exchange.books().set_concentration_limits(mia.trader().portfolio(again.id), limits).await,
    );
    assert_eq!(limits_of(again.id).await, limits);
    exchange.books().delete_portfolio(sam.trader().portfolio(again.id)).await.unwrap();
    assert_not_found(
        NotFound::Portfolio,
        exchange.books().concentration_limits(PortfolioRef::new(sam.user, again.id)).await,
    );
}
