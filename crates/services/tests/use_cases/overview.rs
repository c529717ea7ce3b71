//! All portfolios of a user together.

use domain::performance::{Measure, Value};

use crate::harness::{Exchange, Investor, close_to, day, money};

/// Growth holds ten shares bought at 50.00 and 500.00 in cash, from Friday on. On Sunday, Income is opened with 500.00
/// and buys five shares at 60.00. On Monday, 100.00 are moved from Growth to Income. A third portfolio was reset on
/// Friday. It is Tuesday noon, and the price is 62.00:
///
/// | day | close | Growth | Income | all | flow | growth of the day |
/// |---|---|---|---|---|---|---|
/// | Friday 20 | 55.00 | 1050 | | 1050 | 1000 | 1050/1000 |
/// | Saturday 21 | 52.80 | 1028 | | 1028 | | 1028/1050 |
/// | Sunday 22 | 60.00 | 1100 | 500 | 1600 | 500 | 1600/1528 |
/// | Monday 23 | 57.00 | 970 | 585 | 1555 | | 1555/1600 |
/// | Tuesday 24 | 62.00 | 1020 | 610 | 1630 | | 1630/1555 |
async fn two_portfolios(exchange: &Exchange) -> (Investor, Investor) {
    exchange.prices.set("AAPL", "50.00");
    let growth = exchange.investor("sam", "1000.00").await;
    exchange.buy(growth, "AAPL", "10").await.unwrap();
    let over = exchange.open(growth.user, "700.00").await;
    exchange.books().reset_portfolio(growth.trader().portfolio(over), Some(money("0"))).await.unwrap();
    for (date, close) in
        [("2026-11-20", "55.00"), ("2026-11-21", "52.80"), ("2026-11-22", "60.00"), ("2026-11-23", "57.00")]
    {
        exchange.prices.set_close("AAPL", day(date), close);
    }
    exchange.at("2026-11-22T12:00:00Z");
    exchange.prices.set("AAPL", "60.00");
    let income = Investor { portfolio: exchange.open(growth.user, "500.00").await, ..growth };
    exchange.buy(income, "AAPL", "5").await.unwrap();
    exchange.at("2026-11-23T12:00:00Z");
    exchange.withdraw(growth, "100.00").await.unwrap();
    exchange.deposit(income, "100.00").await.unwrap();
    exchange.at("2026-11-24T17:00:00Z");
    exchange.work().await;
    exchange.prices.set("AAPL", "62.00");
    (growth, income)
}

fn by_hand() -> f64 {
    1050.0 / 1000.0 * (1028.0 / 1050.0) * (1600.0 / 1528.0) * (1555.0 / 1600.0) * (1630.0 / 1555.0) - 1.0
}

#[tokio::test]
async fn the_combined_return_matches_a_hand_calculation() {
    let exchange = Exchange::new().await;
    let (growth, _) = two_portfolios(&exchange).await;
    let overview = exchange.books().overview(growth.user).await.unwrap();
    let days: Vec<_> = overview.together.series.days().iter().collect();
    let values: Vec<String> = days.iter().map(|day| day.end_value.to_string()).collect();
    let flows: Vec<String> = days.iter().map(|day| day.net_flow.to_string()).collect();
    assert_eq!(values, ["1050.00", "1028.00", "1600.00", "1555.00", "1630.00"]);
    assert_eq!(flows, ["1000.00", "0.00", "500.00", "0.00", "0.00"]);
    assert!(close_to(overview.twr().unwrap(), by_hand()), "{:?}", overview.twr());
    assert_eq!(overview.twr_since(), Some(day("2026-11-20")));
    // The last day has the total value of the overview.
    assert_eq!(days[4].end_value, overview.allocation.total_value);
    // Income was opened on Sunday, and its own return is different.
    let own = exchange.measured(growth, services::books::performance::Window::default()).await;
    assert!(!close_to(own.twr.unwrap(), by_hand()));
}

#[tokio::test]
async fn a_deposit_does_not_change_the_combined_return() {
    let exchange = Exchange::new().await;
    let (growth, income) = two_portfolios(&exchange).await;
    exchange.deposit(income, "100000.00").await.unwrap();
    let overview = exchange.books().overview(growth.user).await.unwrap();
    // The deposit counts from the start of the day.
    let tuesday = 101_630.0 / 101_555.0;
    let before = (1.0 + by_hand()) / (1630.0 / 1555.0);
    assert!(close_to(overview.twr().unwrap(), before * tuesday - 1.0), "{:?}", overview.twr());
}

#[tokio::test]
async fn an_archived_portfolio_is_not_in_the_combined_return() {
    let exchange = Exchange::new().await;
    let (growth, income) = two_portfolios(&exchange).await;
    exchange
        .books()
        .reset_portfolio(growth.trader().portfolio(income.portfolio), Some(money("0")))
        .await
        .unwrap();
    let overview = exchange.books().overview(growth.user).await.unwrap();
    let own = exchange.measured(growth, services::books::performance::Window::default()).await;
    assert!(close_to(overview.twr().unwrap(), own.twr.unwrap()));
}

#[tokio::test]
async fn the_combined_return_can_be_recomputed_from_its_explanation() {
    let exchange = Exchange::new().await;
    let (growth, _) = two_portfolios(&exchange).await;
    let overview = exchange.books().overview(growth.user).await.unwrap();
    let shown = overview.together.explain(Measure::Twr);
    let Some(Value::Table(days)) = shown.value("days") else { panic!("no days") };
    let column = |name: &str| -> Vec<f64> {
        days.column(name).unwrap().into_iter().map(|cell| cell.to_f64().unwrap()).collect()
    };
    let (starts, flows, ends) = (column("start_value"), column("net_flow"), column("end_value"));
    let growths = starts
        .iter()
        .zip(&flows)
        .zip(&ends)
        .map(|((start, flow), end)| (end + (-flow).max(0.0)) / (start + flow.max(0.0)));
    assert!(close_to(growths.product::<f64>() - 1.0, overview.twr().unwrap()));
}

#[tokio::test]
async fn the_combined_return_is_undefined_without_money() {
    let exchange = Exchange::new().await;
    let user = exchange.user("sam").await;
    let returns = async || {
        let overview = exchange.books().overview(user).await.unwrap();
        (overview.twr(), overview.twr_since())
    };
    assert_eq!(returns().await, (None, None));
    exchange.open(user, "0").await;
    assert_eq!(returns().await, (None, None));
}
