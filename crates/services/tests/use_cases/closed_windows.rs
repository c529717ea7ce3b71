//! The cache of closed days: an answer from the cache equals the one that another process reads from the database.

use domain::performance::{Analysis, Measures, Period};
use domain::{Side, UserId};
use futures::future::join_all;
use persistence::snapshots;
use services::books::analysis::{MeasuredWindow, PointsForm, PointsWriter, WindowAnalysis};
use services::books::performance::Window;
use services::books::portfolios::PortfolioUpdate;
use services::books::snapshots::IdRange;
use services::testing::FixedPrices;
use services::{NotFound, Result, Services, ServicesConfig};

use crate::harness::{Exchange, Investor, assert_not_found, day, gtc, limit, money, symbol};

const WINDOW: Window = Window::Period(Period::All);
const DAYS: [(&str, &str, &str); 5] = [
    ("2026-11-20", "55.00", "500.00"),
    ("2026-11-21", "52.80", "501.00"),
    ("2026-11-22", "60.00", "499.00"),
    ("2026-11-23", "57.00", "505.00"),
    ("2026-11-24", "61.00", "508.00"),
];

/// Ten AAPL bought at 50.00 on Friday, and SPY. It is Wednesday noon, and all earlier sessions have their snapshots.
async fn five_days(exchange: &Exchange) -> Investor {
    exchange.prices.set("AAPL", "50.00");
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    for (date, close, of_benchmark) in DAYS {
        exchange.prices.set_close("AAPL", day(date), close);
        exchange.prices.set_close("SPY", day(date), of_benchmark);
    }
    exchange.at("2026-11-25T17:00:00Z");
    exchange.work().await;
    exchange.prices.set("AAPL", "62.00");
    sam
}

/// The days of a window but the last, and their returns, as text.
fn written(analysis: &Analysis) -> String {
    let series = &analysis.series;
    let of_benchmark = analysis.benchmark.as_ref().unwrap().cumulative(series).unwrap_or_default();
    let (_, days) = series.days().split_last().unwrap();
    days.iter()
        .map(|day| {
            let returns = of_benchmark.iter().find(|(date, _)| *date == day.date);
            format!("{} {} {} {:?} {returns:?}\n", day.date, day.end_value, day.net_flow, day.daily_return)
        })
        .collect()
}

fn last_day(analysis: &Analysis) -> String {
    let returns = analysis.benchmark.as_ref().unwrap().until_last_day(&analysis.series);
    format!("{:?} {returns:?}\n", analysis.series.last_day().unwrap())
}

fn named(window: &WindowAnalysis) -> String {
    window.symbols.values().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

const PLAIN: PointsWriter =
    PointsWriter { form: PointsForm::Plain, write: |analysis| written(analysis).into_bytes() };

/// Days, closed points and measures from the cache, if it has them.
async fn seen(services: &Services, who: Investor, window: Window) -> Result<(String, Measures)> {
    let found = services.books().measured_window(who.reference(), window, None, PLAIN).await?;
    let MeasuredWindow { analyzed, closed_points } = found;
    let closed = match closed_points {
        Some(closed) => String::from_utf8_lossy(&closed).into_owned(),
        None => written(&analyzed.analysis),
    };
    let days = format!("{closed}{}{}", last_day(&analyzed.analysis), named(&analyzed));
    Ok((days, analyzed.analysis.measures()))
}

/// The answer that a process with an empty cache reads for explanations, with the journal.
async fn read(exchange: &Exchange, who: Investor, window: Window) -> (String, Measures) {
    let fresh = exchange.another_process();
    let found = fresh.books().analysis(who.reference(), window, None).await.unwrap();
    let days = format!("{}{}{}", written(&found.analysis), last_day(&found.analysis), named(&found));
    (days, found.analysis.measures())
}

fn hits(services: &Services) -> u64 {
    services.books().windows_from_memory()
}

/// Asserts that two answers, the second one from the cache, equal the content of the database.
async fn assert_current(exchange: &Exchange, process: &Services, who: Investor) -> (String, Measures) {
    let expected = read(exchange, who, WINDOW).await;
    for _ in 0..2 {
        let before = hits(process);
        assert_eq!(
            seen(process, who, WINDOW).await.unwrap(),
            expected,
            "{} from memory",
            hits(process) - before
        );
    }
    expected
}

#[tokio::test]
async fn the_second_answer_is_cached_and_reads_only_versions() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    let first = seen(&exchange, sam, WINDOW).await.unwrap();
    seen(&exchange, sam, WINDOW).await.unwrap();
    let (before, from_memory) = (exchange.statements(), hits(&exchange));
    assert_eq!(seen(&exchange, sam, WINDOW).await.unwrap(), first);
    // On PostgreSQL, the statement for the versions is counted too.
    assert!(exchange.statements() - before <= 1);
    assert_eq!(hits(&exchange) - from_memory, 1);
    assert_eq!(first.1.end_value, money("1120.00"));
    // The last point is valued at the current price.
    exchange.prices.set("AAPL", "70.00");
    let later = seen(&exchange, sam, WINDOW).await.unwrap();
    assert_eq!((later.1.end_value.clone(), hits(&exchange) - from_memory), (money("1200.00"), 2));
    assert_eq!(later, read(&exchange, sam, WINDOW).await);
}

#[tokio::test]
async fn changes_by_any_process_take_effect_immediately() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    let other = exchange.another_process();
    let mut before = assert_current(&exchange, &other, sam).await;
    for step in 0..6 {
        match step {
            0 => drop(exchange.deposit(sam, "250.00").await.unwrap()),
            1 => drop(exchange.withdraw(sam, "100.00").await.unwrap()),
            2 => drop(exchange.sell(sam, "AAPL", "4").await.unwrap()),
            3 => drop(exchange.buy(sam, "MSFT", "1").await.unwrap()),
            4 => {
                let compared =
                    PortfolioUpdate { benchmark: Some(symbol("JPM")), ..PortfolioUpdate::default() };
                let updated = exchange.books().change_portfolio(sam.control(), compared);
                updated.await.unwrap();
            }
            _ => drop(exchange.accepted(sam, gtc(Side::Buy, "MSFT", "1", limit("1.00"))).await),
        }
        let now = assert_current(&exchange, &other, sam).await;
        // An open order reserves cash but changes no value.
        assert_eq!(now != before, step != 5, "step {step}");
        before = now;
    }
    exchange.books().reset_portfolio(sam.control(), None).await.unwrap();
    exchange.books().delete_portfolio(sam.control()).await.unwrap();
    assert_not_found(NotFound::Portfolio, seen(&other, sam, WINDOW).await);
}

#[tokio::test]
async fn late_and_corrected_snapshots_take_effect_immediately() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    let other = exchange.another_process();
    let complete = assert_current(&exchange, &other, sam).await;
    // A row is deleted, and taken again later.
    let id = sam.portfolio;
    exchange
        .database()
        .sql(&format!("DELETE FROM portfolio_snapshots WHERE portfolio_id = {id} AND date = '2026-11-22'"))
        .unwrap();
    let late = exchange.another_process();
    let without = assert_current(&exchange, &late, sam).await;
    assert_ne!(without, complete);
    exchange.books().take_snapshots(day("2026-11-22"), IdRange::ALL, |_| true).await.unwrap();
    assert_eq!(assert_current(&exchange, &late, sam).await, complete);
    // A row is corrected.
    let mut rows = exchange.rows(sam).await;
    rows[1].total_value = money("1111.11");
    exchange.write(move |tx| snapshots::save(tx, &rows[1..2])).await;
    let corrected = assert_current(&exchange, &other, sam).await;
    assert!(corrected.0.contains("1111.11") && corrected != complete, "{corrected:?}");
}

#[tokio::test]
async fn the_close_of_a_session_begins_a_new_entry() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    assert_current(&exchange, &exchange, sam).await;
    exchange.prices.set_close("AAPL", day("2026-11-25"), "63.00");
    exchange.prices.set_close("SPY", day("2026-11-25"), "511.00");
    exchange.at("2026-11-26T17:00:00Z");
    let without = assert_current(&exchange, &exchange, sam).await;
    exchange.work().await;
    let with = assert_current(&exchange, &exchange, sam).await;
    assert!(!without.0.contains("2026-11-25") && with.0.contains("2026-11-25 1130.00"), "{with:?}");
}

#[tokio::test]
async fn late_closes_of_the_benchmark_appear_within_two_seconds() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    assert_current(&exchange, &exchange, sam).await;
    exchange.prices.set_close("SPY", day("2026-11-23"), "400.00");
    exchange.pass(chrono::TimeDelta::seconds(2));
    // The first call reads the bars again; then every call shows them.
    seen(&exchange, sam, WINDOW).await.unwrap();
    assert_current(&exchange, &exchange, sam).await;
}

#[tokio::test]
async fn windows_are_cached_separately_and_past_ones_are_read() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    let dates = |from: &str, to: Option<&str>| Window::Dates { from: Some(day(from)), to: to.map(day) };
    let windows = [
        dates("2026-11-22", None),
        WINDOW,
        dates("2026-11-24", None),
        dates("2026-11-25", None),
        dates("2026-11-21", Some("2026-11-23")),
    ];
    for _ in 0..2 {
        for window in windows {
            assert_eq!(
                seen(&exchange, sam, window).await.unwrap(),
                read(&exchange, sam, window).await,
                "{window:?}"
            );
        }
    }
    assert_eq!(hits(&exchange), 4, "the window of the past is not kept");
}

#[tokio::test]
async fn cached_windows_are_shown_only_to_their_owner() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    let mia: UserId = exchange.user("mia").await;
    for _ in 0..2 {
        seen(&exchange, sam, WINDOW).await.unwrap();
        let stranger = Investor { user: mia, ..sam };
        assert_not_found(NotFound::Portfolio, seen(&exchange, stranger, WINDOW).await);
    }
}

#[tokio::test]
async fn callers_that_wait_for_their_turn_find_the_window_in_memory() {
    let exchange = Exchange::new().await;
    let sam = five_days(&exchange).await;
    let expected = read(&exchange, sam, WINDOW).await;
    let all = join_all((0..12).map(|_| seen(&exchange, sam, WINDOW))).await;
    assert!(all.into_iter().all(|found| found.unwrap() == expected));
    // Four read the database at a time.
    assert!((8..12).contains(&hits(&exchange)), "{} from memory", hits(&exchange));
}

#[tokio::test]
async fn the_cache_is_limited_in_bytes() {
    for (most, kept) in [(0, 0), (1 << 20, 1)] {
        let config = ServicesConfig { performance_cache_bytes: most, ..ServicesConfig::default() };
        let exchange = Exchange::configured(FixedPrices::new(), config).await;
        let sam = five_days(&exchange).await;
        for _ in 0..2 {
            seen(&exchange, sam, WINDOW).await.unwrap();
        }
        assert_eq!(hits(&exchange), kept, "{most}");
    }
}
