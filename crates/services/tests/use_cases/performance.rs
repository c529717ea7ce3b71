use std::num::NonZeroU32;

use chrono::NaiveDate;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::performance::{Performance, Period};
use domain::{Calendar, Freshness};
use services::books::performance::Window;
use services::testing::FixedPrices;

use crate::harness::{Exchange, Investor, close_to, day, fields, moment, money, symbol};

/// Ten shares at 50.00 and 500.00 in cash on Friday. Closes at 55.00, 52.80, 60.00, 57.00; 200.00 deposited on Sunday,
/// 300.00 withdrawn on Monday. It is Tuesday noon, and the price is 62.00:
///
/// | day | value | flow | return |
/// |---|---|---|---|
/// | Friday 20 | 1050 | 1000 | 1050/1000 |
/// | Saturday 21 | 1028 | | 1028/1050 |
/// | Sunday 22 | 1300 | 200 | 1300/1228 |
/// | Monday 23 | 970 | −300 | 1270/1300 |
/// | Tuesday 24 | 1020 | | 1020/970 |
async fn five_days(exchange: &Exchange) -> Investor {
    exchange.prices.set("AAPL", "50.00");
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    for (date, close) in
        [("2026-11-20", "55.00"), ("2026-11-21", "52.80"), ("2026-11-22", "60.00"), ("2026-11-23", "57.00")]
    {
        exchange.prices.set_close("AAPL", day(date), close);
    }
    exchange.at("2026-11-22T12:00:00Z");
    exchange.deposit(sam, "200.00").await.unwrap();
    exchange.at("2026-11-23T12:00:00Z");
    exchange.withdraw(sam, "300.00").await.unwrap();
    exchange.at("2026-11-24T17:00:00Z");
    exchange.work().await;
    exchange.prices.set("AAPL", "62.00");
    sam
}

fn dates(from: Option<&str>, to: Option<&str>) -> Window {
    Window::Dates { from: from.map(day), to: to.map(day) }
}

fn series(performance: &Performance) -> Vec<(String, String, String)> {
    performance
        .points
        .iter()
        .map(|point| {
            let close = &point.close;
            (close.date.to_string(), close.total_value.to_string(), close.net_flow.to_string())
        })
        .collect()
}

fn points(rows: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    rows.iter().map(|(date, value, flow)| (date.to_string(), value.to_string(), flow.to_string())).collect()
}

#[tokio::test]
async fn the_performance_since_opening_matches_a_hand_calculation() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    let performance = exchange.measured(sam, Window::default()).await;
    assert_eq!(
        series(&performance),
        points(&[
            ("2026-11-20", "1050.00", "1000.00"),
            ("2026-11-21", "1028.00", "0.00"),
            ("2026-11-22", "1300.00", "200.00"),
            ("2026-11-23", "970.00", "-300.00"),
            ("2026-11-24", "1020.00", "0.00"),
        ])
    );
    assert_eq!((performance.start_value, performance.net_flow), (money("0"), money("900")));
    assert_eq!(performance.gain, money("120"));
    let growth = [1050.0 / 1000.0, 1028.0 / 1050.0, 1300.0 / 1228.0, 1270.0 / 1300.0, 1020.0 / 970.0];
    let mut index = 1.0;
    for (point, day) in performance.points.iter().zip(growth) {
        index *= day;
        assert!(close_to(point.twr, index - 1.0), "{point:?}");
    }
    assert!(close_to(performance.twr.unwrap(), index - 1.0));
    // Without counting the withdrawal as a loss, Monday's drawdown is deeper than Saturday's.
    let drawdown = performance.max_drawdown.unwrap();
    assert!(close_to(drawdown.depth, 1270.0 / 1300.0 - 1.0), "{drawdown:?}");
    assert_eq!(drawdown.peak_on, Some(day("2026-11-22")));
    assert_eq!((drawdown.trough_on, drawdown.recovered_on), (day("2026-11-23"), Some(day("2026-11-24"))));
}

#[tokio::test]
async fn a_window_begins_with_the_value_before_it() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    let performance = exchange.measured(sam, dates(Some("2026-11-22"), Some("2026-11-23"))).await;
    assert_eq!(
        series(&performance),
        points(&[("2026-11-22", "1300.00", "200.00"), ("2026-11-23", "970.00", "-300.00")])
    );
    assert_eq!((performance.start_value, performance.net_flow), (money("1028"), money("-100")));
    // 970 − 1028 + 100
    assert_eq!(performance.gain, money("42"));
    assert!(close_to(performance.twr.unwrap(), 1300.0 / 1228.0 * (1270.0 / 1300.0) - 1.0));
}

#[tokio::test]
async fn gains_of_adjacent_windows_add_up() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    let gain = async |from, to| exchange.measured(sam, dates(from, to)).await.gain;
    let first = gain(None, Some("2026-11-21")).await;
    let rest = gain(Some("2026-11-22"), None).await;
    assert_eq!((first.clone(), rest.clone()), (money("28"), money("92")));
    assert_eq!(first + rest, gain(None, None).await);
}

#[tokio::test]
async fn the_last_point_is_the_current_value() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    exchange.deposit(sam, "50.00").await.unwrap();
    exchange.prices.set("AAPL", "61.00");
    // A provisional row of the day is older than the current value.
    exchange
        .books()
        .take_snapshots(day("2026-11-24"), services::books::snapshots::IdRange::ALL, |_| true)
        .await
        .unwrap();
    exchange.prices.set("AAPL", "63.00");
    let performance = exchange.measured(sam, Window::default()).await;
    assert_eq!(series(&performance)[4..], points(&[("2026-11-24", "1080.00", "50.00")]));
    // A window into the future ends today; a window that ends earlier has no current value.
    let ahead = exchange.measured(sam, dates(None, Some("2027-01-01"))).await;
    assert_eq!(ahead, performance);
    let before = exchange.measured(sam, dates(None, Some("2026-11-23"))).await;
    assert_eq!(series(&before), series(&performance)[..4]);
}

#[tokio::test]
async fn periods_reach_back_from_today() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    for date in day("2026-11-24").iter_days().take(40) {
        exchange.prices.set_close("AAPL", date, "57.00");
    }
    exchange.at("2026-11-29T17:00:00Z");
    exchange.work().await;
    let first = async |range| {
        let performance = exchange.measured(sam, Window::Period(range)).await;
        (performance.points[0].close.date.to_string(), performance.start_value.to_string())
    };
    assert_eq!(first(Period::Week).await, ("2026-11-23".into(), "1300.00".into()));
    for range in [Period::Month, Period::YearToDate, Period::FiveYears, Period::All] {
        assert_eq!(first(range).await, ("2026-11-20".into(), "0.00".into()), "{range:?}");
    }
    exchange.at("2027-01-02T17:00:00Z");
    exchange.work().await;
    assert_eq!(first(Period::YearToDate).await, ("2027-01-01".into(), "970.00".into()));
    assert_eq!(first(Period::Month).await, ("2026-12-03".into(), "970.00".into()));
}

#[tokio::test]
async fn windows_that_end_before_they_begin_are_rejected() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    for (from, to) in [("2026-11-23", Some("2026-11-22")), ("2026-11-25", None)] {
        let refused = exchange.books().performance(sam.reference(), dates(Some(from), to)).await;
        assert_eq!(fields(refused), ["from"]);
    }
}

#[tokio::test]
async fn a_window_before_the_portfolio_is_empty() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    for window in [
        dates(Some("2025-01-01"), Some("2025-12-31")),
        dates(None, Some("1850-01-01")),
        Window::Dates { from: Some(NaiveDate::MIN), to: Some(day("2025-12-31")) },
        Window::Dates { from: NaiveDate::from_ymd_opt(-500, 1, 1), to: Some(day("2025-12-31")) },
    ] {
        let performance = exchange.measured(sam, window).await;
        assert_eq!((performance.points.len(), performance.gain), (0, money("0")));
        assert_eq!((performance.twr, performance.max_drawdown), (None, None));
    }
}

#[tokio::test]
async fn an_empty_portfolio_has_no_gain() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "0").await;
    let performance = exchange.measured(sam, Window::default()).await;
    assert_eq!(series(&performance), points(&[("2026-11-20", "0.00", "0.00")]));
    assert_eq!((performance.gain, performance.twr), (money("0"), Some(0.0)));
}

#[tokio::test]
async fn a_portfolio_opened_today_has_no_gain() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let performance = exchange.measured(sam, Window::default()).await;
    assert_eq!(series(&performance), points(&[("2026-11-20", "1000.00", "1000.00")]));
    assert_eq!((performance.gain, performance.twr), (money("0"), Some(0.0)));
}

#[tokio::test]
async fn a_deposit_before_a_missing_snapshot_is_not_a_gain() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.at("2026-11-21T05:05:00Z");
    let performance = exchange.measured(sam, Window::default()).await;
    assert_eq!(series(&performance), points(&[("2026-11-21", "1000.00", "1000.00")]));
    assert_eq!((performance.gain, performance.twr), (money("0"), Some(0.0)));

    exchange.at("2026-11-21T05:15:00Z");
    exchange.work().await;
    exchange.deposit(sam, "500.00").await.unwrap();
    // No snapshots were taken for three days.
    exchange.at("2026-11-24T12:00:00Z");
    let performance = exchange.measured(sam, Window::default()).await;
    assert_eq!(
        series(&performance),
        points(&[("2026-11-20", "1000.00", "1000.00"), ("2026-11-24", "1500.00", "500.00")])
    );
    assert_eq!((performance.gain, performance.twr), (money("0"), Some(0.0)));
    let week = exchange.measured(sam, dates(Some("2026-11-23"), None)).await;
    assert_eq!((week.gain, week.start_value), (money("0"), money("1000")));
}

/// 1000.00 becomes 1100.00, and all of it is withdrawn.
#[tokio::test]
async fn withdrawing_everything_is_not_a_loss() {
    let exchange = Exchange::new().await;
    exchange.prices.set("AAPL", "100.00");
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.prices.set_close("AAPL", day("2026-11-20"), "100.00");
    exchange.at("2026-11-21T12:00:00Z");
    exchange.prices.set("AAPL", "110.00");
    exchange.sell(sam, "AAPL", "10").await.unwrap();
    exchange.withdraw(sam, "1100.00").await.unwrap();
    exchange.at("2026-11-23T12:00:00Z");
    exchange.work().await;
    let performance = exchange.measured(sam, Window::default()).await;
    assert_eq!(performance.gain, money("100"));
    assert!(close_to(performance.twr.unwrap(), 0.1), "{performance:?}");
    assert!(close_to(performance.max_drawdown.unwrap().depth, 0.0));
}

/// MSFT splits 10:1 on Monday, and its newest price is from Friday.
#[tokio::test]
async fn a_price_from_before_a_split_is_not_a_fall_of_the_benchmark() {
    let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
    prices.set("MSFT", "400.00");
    for date in ["2026-11-18", "2026-11-19"] {
        prices.set_close("MSFT", day(date), "400.00");
    }
    let [numerator, denominator] = [10, 1].map(|number| NonZeroU32::new(number).unwrap());
    let split = CorporateActionKind::Split { numerator, denominator };
    let split = CorporateAction::new(symbol("MSFT"), day("2026-11-23"), split);
    prices.announce(moment("2026-11-01T00:00:00Z"), split);
    let exchange = Exchange::with(prices).await;
    exchange.at("2026-11-19T16:00:00Z");
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "MSFT", "1").await.unwrap();
    exchange.at("2026-11-19T23:00:00Z");
    exchange.work().await;
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    exchange.prices.set_as_of("MSFT", Some(moment("2026-11-20T20:59:00Z")));
    exchange.at("2026-11-23T14:35:00Z");
    let benchmark = symbol("MSFT");
    let analysis = exchange.books().analysis(sam.reference(), Window::default(), Some(&benchmark)).await;
    let measures = analysis.unwrap().analysis.measures();
    assert_eq!(measures.benchmark.symbol, Some(benchmark));
    let twr = measures.benchmark.twr.unwrap();
    assert!(close_to(twr, 0.0), "{twr}");
}
