//! The books of a window: gains by stock, dividends, commissions.

use chrono::Days;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::performance::{Contributions, Measures, UndefinedReason};
use domain::{Commission, Money, PerShare, SplitRatio, TransactionType};
use services::TradingConfig;
use services::books::performance::Window;
use services::testing::FixedPrices;

use super::harness::{Exchange, Investor, day, moment, money, symbol};

const SYMBOLS: [&str; 2] = ["AAPL", "MSFT"];
const SESSIONS: u64 = 12;
/// The first session.
const FRIDAY: &str = "2026-11-20";

/// A linear congruential generator (Knuth, MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn date(session: u64) -> String {
    (day(FRIDAY) + Days::new(session)).to_string()
}

fn dividend(ticker: &str, cents: i64, ex: u64, pays: u64) -> CorporateAction {
    let amount = PerShare::from_scaled(cents, 2).unwrap();
    let kind = CorporateActionKind::CashDividend { amount, pays_on: day(&date(pays)) };
    CorporateAction::new(symbol(ticker), day(&date(ex)), kind)
}

fn cents(amount: u64) -> String {
    format!("{}.{:02}", amount / 100, amount % 100)
}

async fn measured(exchange: &Exchange, who: Investor, from: Option<&str>, to: Option<&str>) -> Measures {
    let window = Window::Dates { from: from.map(day), to: to.map(day) };
    exchange.books().analysis(who.reference(), window, None).await.unwrap().analysis.measures()
}

fn gains(measures: &Measures) -> &Contributions {
    measures.contributions.as_ref().unwrap_or_else(|| panic!("{:?}", measures.undefined))
}

/// Twelve sessions with purchases, sales, deposits, withdrawals, a split of AAPL and dividends of both stocks. It is
/// the day after the last session.
async fn history(seed: u64) -> (Exchange, Investor) {
    let mut random = Random(seed);
    let prices = FixedPrices::new();
    let SplitRatio { numerator, denominator } = "3:2".parse().unwrap();
    let split = CorporateActionKind::Split { numerator, denominator };
    let news = moment("2026-11-01T00:00:00Z");
    prices.announce(news, CorporateAction::new(symbol("AAPL"), day(&date(4)), split));
    prices.announce(news, dividend("MSFT", 83, 2, 6));
    prices.announce(news, dividend("AAPL", 26, 7, 9));
    prices.announce(news, dividend("MSFT", 83, 10, 20));
    let commission = Commission { per_order: money("1.00"), ..Commission::default() };
    let trading = TradingConfig { commission, ..TradingConfig::default() };
    let exchange = Exchange::trading(prices, trading).await;
    let sam = exchange.investor("sam", "10000.00").await;
    let mut quoted = [15_000_u64, 40_000];
    for session in 0..SESSIONS {
        if session == 4 {
            quoted[0] = quoted[0] * 2 / 3;
            exchange.prices.set_from(moment(&format!("{}T05:00:00Z", date(4))), "AAPL", &cents(quoted[0]));
        }
        exchange.at(&format!("{}T19:30:00Z", date(session)));
        exchange.work().await;
        for (ticker, price) in SYMBOLS.iter().zip(&mut quoted) {
            *price = *price * (9_600 + random.below(801)) / 10_000;
            exchange.prices.set_from(exchange.now(), ticker, &cents(*price));
        }
        for _ in 0..random.below(3) {
            let place = usize::try_from(random.below(2)).unwrap();
            let (ticker, size) = (SYMBOLS[place], cents(100 + random.below(500)));
            // Impossible operations, such as selling more than the held shares, change nothing.
            match random.below(5) {
                0 | 1 => drop(exchange.sell(sam, ticker, &size).await),
                _ => drop(exchange.buy(sam, ticker, &size).await),
            }
        }
        match random.below(4) {
            0 => drop(exchange.deposit(sam, &cents(1 + random.below(100_000))).await),
            1 => drop(exchange.withdraw(sam, &cents(1 + random.below(50_000))).await),
            _ => {}
        }
        for (ticker, price) in SYMBOLS.iter().zip(&mut quoted) {
            *price = *price * (9_900 + random.below(201)) / 10_000;
            exchange.prices.set_close(ticker, day(&date(session)), &cents(*price));
            exchange.prices.set_from(exchange.now(), ticker, &cents(*price));
        }
    }
    exchange.at(&format!("{}T17:00:00Z", date(SESSIONS)));
    exchange.work().await;
    exchange.work().await;
    (exchange, sam)
}

/// Asserts that the gain equals realized + change of unrealized + dividends − commissions that are not in the cost, and
/// also contributions + cash.
fn assert_adds_up(measures: &Measures, window: &str) {
    let found = gains(measures);
    let by_kind = found.realized_pnl.clone() + &found.unrealized_change + &found.dividends + &found.cash;
    assert_eq!(by_kind, measures.gain, "{window}");
    let by_stock: Money = found.holdings.iter().map(|holding| &holding.gain).sum();
    assert_eq!(by_stock + &found.cash, measures.gain, "{window}");
    if let Some(dietz) = measures.modified_dietz {
        let parts = found.holdings.iter().map(|holding| holding.contribution.unwrap());
        let sum = parts.sum::<f64>() + found.cash_contribution.unwrap();
        assert!((sum - dietz).abs() < 1e-9, "{window}: {sum} instead of {dietz}");
    }
}

#[tokio::test]
async fn gains_by_stock_add_up_in_every_window_of_a_random_history() {
    for seed in [1, 2, 3] {
        let (exchange, sam) = history(seed).await;
        let kinds: Vec<TransactionType> =
            exchange.journal(sam).await.iter().map(|entry| entry.transaction_type).collect();
        for kind in [TransactionType::Buy, TransactionType::Sell, TransactionType::Dividend] {
            assert!(kinds.contains(&kind), "seed {seed} has no {kind}");
        }
        assert!(kinds.contains(&TransactionType::Split), "seed {seed}");
        for first in 0..=SESSIONS {
            for last in first..=SESSIONS {
                let window = [date(first), date(last)];
                let measures = measured(&exchange, sam, Some(&window[0]), Some(&window[1])).await;
                assert_adds_up(&measures, &format!("seed {seed}, {window:?}"));
            }
        }
        exchange.assert_books_balance().await;
    }
}

/// The results, dividends and commissions of adjacent windows add up.
#[tokio::test]
async fn books_of_adjacent_windows_add_up() {
    let (exchange, sam) = history(2).await;
    let whole = measured(&exchange, sam, None, None).await;
    for middle in 0..SESSIONS {
        let first = measured(&exchange, sam, None, Some(&date(middle))).await;
        let rest = measured(&exchange, sam, Some(&date(middle + 1)), None).await;
        for part in [
            |measures: &Measures| measures.realized_pnl.clone(),
            |measures: &Measures| measures.dividends.clone(),
            |measures: &Measures| measures.commissions.clone(),
            |measures: &Measures| Some(gains(measures).unrealized_change.clone()),
        ] {
            assert_eq!(Some(part(&first).unwrap() + &part(&rest).unwrap()), part(&whole), "{middle}");
        }
    }
}

/// Ten AAPL bought at 50.00 with a commission of 1.00; a close at 55.00; sold at 60.00 with a commission of 1.00 on
/// Saturday.
#[tokio::test]
async fn a_sold_stock_is_among_the_contributions() {
    let prices = FixedPrices::new();
    prices.set("AAPL", "50.00");
    let commission = Commission { per_order: money("1.00"), ..Commission::default() };
    let exchange = Exchange::trading(prices, TradingConfig { commission, ..TradingConfig::default() }).await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.prices.set_close("AAPL", day(FRIDAY), "55.00");
    exchange.at("2026-11-21T12:00:00Z");
    exchange.work().await;
    exchange.prices.set("AAPL", "60.00");
    exchange.sell(sam, "AAPL", "10").await.unwrap();
    let all = measured(&exchange, sam, None, None).await;
    let found = gains(&all);
    assert_eq!((found.holdings.len(), &found.holdings[0].gain), (1, &money("98")));
    assert_eq!((all.realized_pnl, all.unrealized_pnl), (Some(money("98")), Some(money("0"))));
    assert_eq!(all.commissions, Some(money("2.00")));
    // Only Saturday: proceeds of 599 against 550 at Friday's close.
    let saturday = measured(&exchange, sam, Some("2026-11-21"), None).await;
    assert_eq!((&gains(&saturday).holdings[0].gain, &saturday.gain), (&money("49"), &money("49")));
    assert_eq!(saturday.realized_pnl, Some(money("98")));
    assert_eq!(gains(&saturday).unrealized_change, money("-49"));
    let friday = measured(&exchange, sam, None, Some(FRIDAY)).await;
    assert_eq!((friday.unrealized_pnl, friday.gain), (Some(money("49")), money("49")));
    // Bought for 501, sold for 600; purchases without commission are 500, values 1049 and 1098.
    let turnover = all.turnover.unwrap();
    assert!((turnover - 500.0 / 1073.5).abs() < 1e-12, "{turnover}");
}

/// A snapshot was taken at prices other than the closes that are known now.
#[tokio::test]
async fn contributions_are_undefined_for_values_at_other_prices() {
    let (exchange, sam) = history(1).await;
    let (portfolio, last) = (sam.portfolio, day(&date(5)));
    exchange
        .write(move |tx| {
            let mut rows = persistence::snapshots::window(tx, portfolio, last, last)?;
            for row in &mut rows {
                row.positions_value += &money("7.00");
                row.total_value += &money("7.00");
            }
            persistence::snapshots::save(tx, &rows)
        })
        .await;
    let measures = measured(&exchange, sam, None, Some(&date(5))).await;
    assert_eq!((measures.contributions, measures.realized_pnl), (None, None));
    let differ = |reason: &UndefinedReason| match reason {
        UndefinedReason::BooksDiffer { books, series } => *series == books.clone() + &money("7.00"),
        _ => false,
    };
    assert!(measures.undefined.iter().any(|undefined| differ(&undefined.reason)), "{:?}", measures.undefined);
    assert!(measures.commissions.is_some(), "commissions need no values");
}

#[tokio::test]
async fn a_window_before_the_portfolio_has_no_contributions() {
    let (exchange, sam) = history(1).await;
    let measures = measured(&exchange, sam, Some("2025-01-01"), Some("2025-12-31")).await;
    assert_eq!((gains(&measures).holdings.len(), measures.realized_pnl), (0, Some(money("0"))));
}
