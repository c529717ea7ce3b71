use chrono::{NaiveDate, TimeDelta};
use domain::{Calendar, Freshness, JournalEntry, Money, PortfolioId, Snapshot};
use market_data::QuoteError;
use persistence::{portfolios, transactions};
use services::accounts::actor::Administrator;
use services::books::performance::Window;
use services::books::snapshots::IdRange;
use services::books::snapshots::SnapshotCount;
use services::jobs::{JobKind, RunStatus};
use services::testing::FixedPrices;
use services::{Error, Result};

use crate::harness::{Exchange, Investor, amounts, day, fields, moment, money};

/// Prices of a live source with the calendar of the New York exchanges.
fn new_york() -> FixedPrices {
    FixedPrices::of(Freshness::Realtime, Calendar::Xnys)
}

async fn take(exchange: &Exchange, date: &str) -> Result<SnapshotCount> {
    exchange.books().take_snapshots(day(date), IdRange::ALL, |_| true).await
}

async fn only_row(exchange: &Exchange, who: Investor) -> Snapshot {
    let mut rows = exchange.rows(who).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

fn dates(rows: &[Snapshot]) -> Vec<String> {
    rows.iter().map(|row| row.date.to_string()).collect()
}

/// A user with 1000.00 buys two shares at 150.00 on Friday afternoon; at midnight they are worth 155.00 each.
async fn two_shares(exchange: &Exchange) -> Investor {
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "2").await.unwrap();
    exchange.prices.set_close("AAPL", day("2026-11-20"), "155.00");
    sam
}

#[tokio::test]
async fn a_session_is_due_a_quarter_of_an_hour_after_its_close() {
    let exchange = Exchange::new().await;
    two_shares(&exchange).await;
    exchange.at("2026-11-21T05:14:59.999999Z");
    exchange.work().await;
    assert_eq!(exchange.keys(JobKind::SnapshotPortfolios).await, [""; 0]);
    exchange.at("2026-11-21T05:15:00Z");
    exchange.work().await;
    assert_eq!(exchange.keys(JobKind::SnapshotPortfolios).await, ["2026-11-20"]);
}

#[tokio::test]
async fn a_row_is_the_portfolio_at_the_close_despite_later_changes() {
    let exchange = Exchange::new().await;
    let sam = two_shares(&exchange).await;
    exchange.at("2026-11-21T05:00:00Z");
    exchange.prices.set("AAPL", "170.00");
    exchange.sell(sam, "AAPL", "2").await.unwrap();
    exchange.at("2026-11-21T05:05:00Z");
    exchange.buy(sam, "MSFT", "1").await.unwrap();
    exchange.deposit(sam, "77.00").await.unwrap();
    exchange.open(sam.user, "5.00").await;
    exchange.at("2026-11-21T05:15:00Z");
    exchange.work().await;

    let row = only_row(&exchange, sam).await;
    assert_eq!((row.date, row.provisional), (day("2026-11-20"), false));
    assert_eq!(amounts(&row), ["1010.00", "700.00", "310.00", "1000.00"]);
    assert_eq!(
        exchange.read(persistence::snapshots::count).await,
        1,
        "the other portfolio was not there yet"
    );
    exchange.assert_books_balance().await;
}

/// More lines after the close than are read at a time, among portfolios with few or none.
#[tokio::test]
async fn a_long_journal_is_taken_back_in_parts() {
    const LINES: i64 = 20_050;
    let exchange = Exchange::new().await;
    let sam = two_shares(&exchange).await;
    let mia = exchange.investor("mia", "500.00").await;
    let eve = exchange.investor("eve", "800.00").await;
    exchange.at("2026-11-21T05:05:00Z");
    exchange.sell(sam, "AAPL", "1").await.unwrap();
    exchange.deposit(mia, "5.00").await.unwrap();
    exchange.deposit(eve, "6.00").await.unwrap();
    let now = exchange.now();
    exchange
        .write(move |tx| {
            let line = JournalEntry::cash(sam.portfolio, money("0.01"), now);
            transactions::append(tx, &vec![line; usize::try_from(LINES).unwrap()])?;
            let mut locked = portfolios::lock(tx, &[sam.portfolio])?;
            let portfolio = &mut locked[0].portfolio;
            portfolio.cash_balance += &Money::from_cents(LINES);
            portfolios::save_cash(tx, &[(portfolio, now)])
        })
        .await;
    exchange.at("2026-11-21T05:15:00Z");
    exchange.work().await;
    let [of_sam, of_mia, of_eve] =
        [only_row(&exchange, sam).await, only_row(&exchange, mia).await, only_row(&exchange, eve).await];
    assert_eq!(amounts(&of_sam), ["1010.00", "700.00", "310.00", "1000.00"]);
    assert_eq!(amounts(&of_mia), ["500.00", "500.00", "0.00", "500.00"]);
    assert_eq!(amounts(&of_eve), ["800.00", "800.00", "0.00", "800.00"]);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn net_flow_counts_deposits_and_withdrawals_since_the_previous_close() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.at("2026-11-21T04:59:59.999999Z");
    exchange.withdraw(sam, "100.00").await.unwrap();
    exchange.at("2026-11-21T05:00:00Z");
    exchange.deposit(sam, "30.00").await.unwrap();
    exchange.at("2026-11-21T05:15:00Z");
    exchange.work().await;
    exchange.deposit(sam, "7.00").await.unwrap();
    exchange.at("2026-11-22T05:15:00Z");
    exchange.work().await;
    exchange.at("2026-11-23T05:15:00Z");
    exchange.work().await;
    let rows: Vec<_> = exchange.rows(sam).await.iter().map(amounts).collect();
    assert_eq!(
        rows,
        [
            ["900.00", "900.00", "0.00", "900.00"],
            ["937.00", "937.00", "0.00", "37.00"],
            ["937.00", "937.00", "0.00", "0.00"]
        ]
    );
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn taking_a_snapshot_again_changes_nothing() {
    let exchange = Exchange::new().await;
    let sam = two_shares(&exchange).await;
    exchange.at("2026-11-21T05:15:00Z");
    assert_eq!(take(&exchange, "2026-11-20").await.unwrap(), SnapshotCount { portfolios: 1, provisional: 0 });
    let rows = exchange.rows(sam).await;
    exchange.at("2026-11-25T12:00:00Z");
    exchange.sell(sam, "AAPL", "1").await.unwrap();
    exchange.withdraw(sam, "800.00").await.unwrap();
    // Neither a source that changes its answer nor one that does not answer changes a final row.
    exchange.prices.set_close("AAPL", day("2026-11-20"), "99.00");
    take(&exchange, "2026-11-20").await.unwrap();
    exchange.prices.fail_with(QuoteError::Unreachable);
    take(&exchange, "2026-11-20").await.unwrap();
    assert_eq!(exchange.rows(sam).await, rows);
    exchange.assert_books_balance().await;
}

/// Five days of trading; `each_day` is called a quarter of an hour after each close.
async fn five_days(exchange: &Exchange, each_day: impl AsyncFn()) -> Investor {
    let sam = exchange.investor("sam", "1000.00").await;
    for (number, (price, close)) in [
        ("150.00", "151.11"),
        ("149.90", "148.00"),
        ("152.50", "153.33"),
        ("140.00", "139.99"),
        ("141.00", "160.00"),
    ]
    .into_iter()
    .enumerate()
    {
        let date = day("2026-11-20") + TimeDelta::days(i64::try_from(number).unwrap());
        exchange.prices.set("AAPL", price);
        exchange.prices.set_close("AAPL", date, close);
        match number {
            0 | 2 => drop(exchange.buy(sam, "AAPL", "1.5").await.unwrap()),
            1 => drop(exchange.deposit(sam, "250.00").await.unwrap()),
            3 => drop(exchange.sell(sam, "AAPL", "3").await.unwrap()),
            _ => drop(exchange.withdraw(sam, "33.33").await.unwrap()),
        }
        let midnight = Calendar::AroundTheClock.session(date).unwrap().closes_at;
        exchange.clock.set(midnight + TimeDelta::minutes(15));
        each_day().await;
        exchange.clock.set(midnight + TimeDelta::hours(14));
    }
    sam
}

#[tokio::test]
async fn missed_sessions_are_caught_up_with_the_same_rows_as_on_time() {
    let punctual = Exchange::new().await;
    let sam = five_days(&punctual, async || drop(punctual.work().await)).await;
    let on_time = punctual.rows(sam).await;
    assert_eq!(dates(&on_time), ["2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24"]);
    // 1000.00 − 225.00 + 1.5 × 151.11
    assert_eq!(amounts(&on_time[0]), ["1001.66", "775.00", "226.66", "1000.00"]);

    let late = Exchange::new().await;
    let same_sam = five_days(&late, async || ()).await;
    assert_eq!(late.rows(same_sam).await, []);
    late.work().await;
    assert_eq!(late.rows(same_sam).await, on_time);
    for exchange in [punctual, late] {
        assert_eq!(exchange.rows(sam).await.iter().filter(|row| row.provisional).count(), 0);
        exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn a_portfolio_opened_on_a_sunday_begins_with_mondays_row() {
    let exchange = Exchange::with(new_york()).await;
    exchange.at("2026-11-22T17:00:00Z");
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.at("2026-11-23T15:00:00Z");
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    exchange.prices.set_close("AAPL", day("2026-11-23"), "152.00");
    exchange.at("2026-11-23T21:14:59Z");
    exchange.work().await;
    assert_eq!(exchange.rows(sam).await, []);
    exchange.at("2026-11-23T21:15:00Z");
    exchange.work().await;
    let row = only_row(&exchange, sam).await;
    assert_eq!(row.date, day("2026-11-23"));
    assert_eq!(amounts(&row), ["1002.00", "850.00", "152.00", "1000.00"]);
    assert_eq!(exchange.keys(JobKind::SnapshotPortfolios).await, ["2026-11-23"]);
    exchange.assert_books_balance().await;
}

/// Thanksgiving 2026 is Thursday, 26 November; the market closes at 13:00 on the Friday after it.
#[tokio::test]
async fn holidays_have_no_row_and_early_closes_are_due_early() {
    let exchange = Exchange::with(new_york()).await;
    exchange.at("2026-11-25T19:00:00Z");
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.at("2026-11-27T18:14:59Z");
    exchange.work().await;
    assert_eq!(dates(&exchange.rows(sam).await), ["2026-11-25"]);
    exchange.at("2026-11-27T18:15:00Z");
    exchange.work().await;
    exchange.at("2026-11-30T21:00:00Z");
    exchange.work().await;
    assert_eq!(dates(&exchange.rows(sam).await), ["2026-11-25", "2026-11-27"]);
    // A deposit on the weekend belongs to Monday.
    exchange.at("2026-11-28T12:00:00Z");
    exchange.deposit(sam, "5.00").await.unwrap();
    exchange.at("2026-11-30T21:15:00Z");
    exchange.work().await;
    assert_eq!(amounts(&exchange.rows(sam).await[2])[3], "5.00");
}

#[tokio::test]
async fn the_current_session_is_provisional_until_its_close() {
    let exchange = Exchange::new().await;
    let sam = two_shares(&exchange).await;
    // A snapshot is also stored for a portfolio that was opened at the current moment.
    exchange.prices.set("AAPL", "152.00");
    exchange.jobs().request_run(&Administrator::operator("ada"), JobKind::SnapshotPortfolios).await.unwrap();
    exchange.work().await;
    let row = only_row(&exchange, sam).await;
    assert_eq!((row.date, row.provisional), (day("2026-11-20"), true));
    assert_eq!(amounts(&row), ["1004.00", "700.00", "304.00", "1000.00"]);
    assert_eq!(exchange.keys(JobKind::SnapshotPortfolios).await, [""; 0]);

    exchange.pass(TimeDelta::hours(1));
    exchange.prices.set("AAPL", "153.00");
    exchange.deposit(sam, "1.00").await.unwrap();
    assert_eq!(take(&exchange, "2026-11-20").await.unwrap(), SnapshotCount { portfolios: 1, provisional: 1 });
    assert_eq!(amounts(&only_row(&exchange, sam).await), ["1007.00", "701.00", "306.00", "1001.00"]);

    exchange.at("2026-11-21T05:15:00Z");
    exchange.work().await;
    let row = only_row(&exchange, sam).await;
    assert!(!row.provisional);
    assert_eq!(amounts(&row), ["1011.00", "701.00", "310.00", "1001.00"]);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn closed_days_and_future_days_have_no_snapshot() {
    let exchange = Exchange::with(new_york()).await;
    exchange.investor("sam", "1000.00").await;
    assert_eq!(fields(take(&exchange, "2026-11-21").await), ["date"]);
    assert_eq!(fields(take(&exchange, "2026-11-23").await), ["date"]);
    assert_eq!(fields(take(&exchange, "2999-01-02").await), ["date"]);
    // On Saturday, events are booked to Monday's session.
    exchange.at("2026-11-21T12:00:00Z");
    assert_eq!(take(&exchange, "2026-11-23").await.unwrap().provisional, 1);
    // A portfolio has no snapshot of a session before it was opened.
    assert_eq!(take(&exchange, "2026-11-19").await.unwrap(), SnapshotCount::default());
}

/// An end-of-day source on Friday, 20 November, and two shares at 150.00.
async fn end_of_day() -> (Exchange, Investor) {
    let exchange = Exchange::with(FixedPrices::of(Freshness::EndOfDay, Calendar::Xnys)).await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "2").await.unwrap();
    exchange.at("2026-11-20T21:29:59Z");
    exchange.work().await;
    assert_eq!(
        exchange.keys(JobKind::SnapshotPortfolios).await,
        [""; 0],
        "its prices are due half an hour later"
    );
    exchange.at("2026-11-20T21:30:00Z");
    (exchange, sam)
}

async fn snapshot_status(exchange: &Exchange) -> Vec<RunStatus> {
    let runs = exchange.jobs().job_runs(Some(JobKind::SnapshotPortfolios), None, 50).await.unwrap().items;
    runs.iter().map(|run| run.status).collect()
}

#[tokio::test]
async fn a_missing_close_is_requested_again() {
    let (exchange, sam) = end_of_day().await;
    exchange.work().await;
    let row = only_row(&exchange, sam).await;
    assert!(row.provisional, "valued at the last price before");
    assert_eq!(amounts(&row), ["1000.00", "700.00", "300.00", "1000.00"]);
    assert_eq!(snapshot_status(&exchange).await, [RunStatus::Queued]);
    exchange.assert_books_balance().await;

    exchange.prices.set_close("AAPL", day("2026-11-20"), "151.00");
    exchange.pass(TimeDelta::minutes(30));
    let snapshot =
        |runs: &[services::jobs::JobRun]| runs.iter().any(|run| run.kind == JobKind::SnapshotPortfolios);
    assert!(!snapshot(&exchange.work().await), "half an hour has to pass");
    // The gateway calls a late source every two hours.
    exchange.at("2026-11-20T23:30:00Z");
    assert!(snapshot(&exchange.work().await));
    let row = only_row(&exchange, sam).await;
    assert!(!row.provisional);
    assert_eq!(amounts(&row), ["1002.00", "700.00", "302.00", "1000.00"]);
    assert_eq!(snapshot_status(&exchange).await, [RunStatus::Done]);
    exchange.assert_books_balance().await;
}

/// Two shares bought at 150.00 on Friday afternoon, from a source of this kind; then Friday's close is due.
async fn two_shares_of(freshness: Freshness) -> (Exchange, Investor) {
    let exchange = Exchange::with(FixedPrices::of(freshness, Calendar::Xnys)).await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "2").await.unwrap();
    exchange.at("2026-11-20T21:30:00Z");
    exchange.work().await;
    assert!(only_row(&exchange, sam).await.provisional, "{freshness:?}");
    assert_eq!(snapshot_status(&exchange).await, [RunStatus::Queued]);
    (exchange, sam)
}

const REAL_SOURCES: [Freshness; 3] = [Freshness::Realtime, Freshness::Delayed, Freshness::EndOfDay];

/// Advances the clock to that time, with a worker every six hours.
async fn work_until(exchange: &Exchange, instant: &str) {
    while exchange.now() + TimeDelta::hours(6) < moment(instant) {
        exchange.pass(TimeDelta::hours(6));
        exchange.work().await;
    }
    exchange.at(instant);
    exchange.work().await;
}

async fn friday(exchange: &Exchange, who: Investor) -> Snapshot {
    exchange.rows(who).await.into_iter().find(|row| row.date == day("2026-11-20")).unwrap()
}

#[tokio::test]
async fn a_close_published_overnight_makes_the_row_final() {
    for freshness in REAL_SOURCES {
        let (exchange, sam) = two_shares_of(freshness).await;
        work_until(&exchange, "2026-11-21T09:00:00Z").await;
        assert!(only_row(&exchange, sam).await.provisional);
        exchange.prices.set_close("AAPL", day("2026-11-20"), "151.00");
        work_until(&exchange, "2026-11-21T15:00:00Z").await;
        let row = only_row(&exchange, sam).await;
        assert!(!row.provisional, "{freshness:?}");
        assert_eq!(amounts(&row), ["1002.00", "700.00", "302.00", "1000.00"]);
        assert_eq!(snapshot_status(&exchange).await, [RunStatus::Done]);
        exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn a_close_later_than_ten_sessions_still_makes_the_row_final() {
    for freshness in REAL_SOURCES {
        let (exchange, sam) = two_shares_of(freshness).await;
        // The tenth session after it closes on 7 December.
        work_until(&exchange, "2026-12-07T18:00:00Z").await;
        let status = async || *snapshot_status(&exchange).await.last().unwrap();
        assert_eq!(status().await, RunStatus::Queued, "{freshness:?}");
        work_until(&exchange, "2026-12-08T12:00:00Z").await;
        assert_eq!(status().await, RunStatus::Done, "{freshness:?}");
        assert!(friday(&exchange, sam).await.provisional);
        exchange.prices.set_close("AAPL", day("2026-11-20"), "151.00");
        work_until(&exchange, "2026-12-10T12:00:00Z").await;
        let row = friday(&exchange, sam).await;
        assert!(!row.provisional, "{freshness:?}");
        assert_eq!(amounts(&row), ["1002.00", "700.00", "302.00", "1000.00"]);
        exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn a_session_without_a_trade_is_final_at_the_previous_close() {
    for freshness in REAL_SOURCES {
        let (exchange, sam) = two_shares_of(freshness).await;
        exchange.prices.set_close("AAPL", day("2026-11-19"), "149.00");
        exchange.prices.set_close("AAPL", day("2026-11-23"), "152.00");
        work_until(&exchange, "2026-11-24T15:00:00Z").await;
        assert!(
            friday(&exchange, sam).await.provisional,
            "{freshness:?}: it may have been left out by mistake"
        );
        exchange.prices.set_close("AAPL", day("2026-11-24"), "153.00");
        work_until(&exchange, "2026-11-25T15:00:00Z").await;
        let row = friday(&exchange, sam).await;
        assert!(!row.provisional, "{freshness:?}");
        assert_eq!(amounts(&row), ["998.00", "700.00", "298.00", "1000.00"]);
        exchange.assert_books_balance().await;
        // A bar that comes later changes nothing.
        exchange.prices.set_close("AAPL", day("2026-11-20"), "151.00");
        work_until(&exchange, "2026-11-27T15:00:00Z").await;
        assert_eq!(friday(&exchange, sam).await, row);
        exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn a_close_published_after_the_weekend_makes_the_row_final() {
    let (exchange, sam) = end_of_day().await;
    exchange.work().await;
    for hours in 0..60 {
        exchange.at("2026-11-20T22:00:00Z");
        exchange.pass(TimeDelta::hours(hours));
        exchange.work().await;
    }
    assert!(only_row(&exchange, sam).await.provisional, "valued at the last price before");
    exchange.prices.set_close("AAPL", day("2026-11-20"), "151.00");
    exchange.at("2026-11-23T12:00:00Z");
    exchange.work().await;
    let row = only_row(&exchange, sam).await;
    assert!(!row.provisional);
    assert_eq!(amounts(&row), ["1002.00", "700.00", "302.00", "1000.00"]);
    assert_eq!(snapshot_status(&exchange).await, [RunStatus::Done]);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_final_row_is_not_replaced_by_a_provisional_one() {
    let (exchange, sam) = end_of_day().await;
    exchange.prices.set_close("AAPL", day("2026-11-20"), "151.00");
    exchange.work().await;
    let rows = exchange.rows(sam).await;
    assert!(!rows[0].provisional);
    // Another portfolio holds a stock whose close is missing; the session is provisional only for that portfolio.
    exchange.prices.fail_with(QuoteError::Unreachable);
    take(&exchange, "2026-11-20").await.unwrap();
    assert_eq!(exchange.rows(sam).await, rows);
}

#[tokio::test]
async fn a_missing_close_affects_only_holders_of_the_stock() {
    let exchange = Exchange::new().await;
    let sam = two_shares(&exchange).await;
    let mia = exchange.investor("mia", "1000.00").await;
    exchange.buy(mia, "MSFT", "1").await.unwrap();
    exchange.at("2026-11-21T05:15:00Z");
    assert_eq!(take(&exchange, "2026-11-20").await.unwrap(), SnapshotCount { portfolios: 2, provisional: 1 });
    assert!(!only_row(&exchange, sam).await.provisional);
    assert!(only_row(&exchange, mia).await.provisional);
    exchange.prices.set_close("MSFT", day("2026-11-20"), "401.00");
    assert_eq!(take(&exchange, "2026-11-20").await.unwrap(), SnapshotCount { portfolios: 2, provisional: 0 });
    assert_eq!(amounts(&only_row(&exchange, mia).await)[0], "1001.00");
}

/// New York's clocks go back on 1 November 2026, when the session lasts 25 hours, and forward on 14 March 2027, when it
/// lasts 23.
#[tokio::test]
async fn sessions_on_days_of_clock_changes_are_due_after_their_close() {
    for (opened, early, closed) in [
        ("2026-11-01T12:00:00Z", "2026-11-02T04:15:00Z", "2026-11-02T05:15:00Z"),
        ("2027-03-14T12:00:00Z", "2027-03-15T04:14:59Z", "2027-03-15T04:15:00Z"),
    ] {
        let exchange = Exchange::new().await;
        exchange.at(opened);
        let sam = exchange.investor("sam", "1000.00").await;
        exchange.at(early);
        exchange.work().await;
        assert_eq!(exchange.rows(sam).await, [], "{opened}");
        exchange.at(closed);
        exchange.work().await;
        assert_eq!(only_row(&exchange, sam).await.date.to_string(), opened[..10], "{opened}");
    }
}

#[tokio::test]
async fn the_repeated_hour_of_a_clock_change_belongs_to_its_day() {
    let exchange = Exchange::new().await;
    exchange.at("2026-11-01T03:00:00Z");
    let sam = exchange.investor("sam", "1000.00").await;
    // 23:30 in New York on 1 November; in summer it would be half past midnight.
    exchange.at("2026-11-02T04:30:00Z");
    exchange.deposit(sam, "10.00").await.unwrap();
    exchange.at("2026-11-02T05:30:00Z");
    exchange.deposit(sam, "20.00").await.unwrap();
    exchange.at("2026-11-03T06:00:00Z");
    exchange.work().await;
    let rows = exchange.rows(sam).await;
    assert_eq!(dates(&rows), ["2026-10-31", "2026-11-01", "2026-11-02"]);
    assert_eq!(
        [&rows[0], &rows[1], &rows[2]].map(|row| row.net_flow.to_string()),
        ["1000.00", "10.00", "20.00"]
    );
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn snapshots_of_some_portfolios_can_be_taken_and_stopped() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1.00").await;
    let mia = exchange.investor("mia", "2.00").await;
    exchange.at("2026-11-21T05:15:00Z");
    let range = IdRange { after: sam.portfolio, last: mia.portfolio };
    let mut told = Vec::new();
    let progress = |done| {
        told.push(done);
        false
    };
    let count = exchange.books().take_snapshots(day("2026-11-20"), range, progress).await.unwrap();
    assert_eq!((count.portfolios, told), (1, vec![1]));
    assert_eq!((exchange.rows(sam).await.len(), exchange.rows(mia).await.len()), (0, 1));
    let nobody = IdRange { after: mia.portfolio, last: PortfolioId(i64::MAX) };
    let count = exchange.books().take_snapshots(day("2026-11-20"), nobody, |_| true).await.unwrap();
    assert_eq!(count, SnapshotCount::default());
}

#[tokio::test]
async fn rows_are_selected_by_date() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1.00").await;
    exchange.at("2026-11-24T12:00:00Z");
    exchange.work().await;
    let asked = async |from: Option<&str>, to: Option<&str>| {
        let (from, to): (Option<NaiveDate>, Option<NaiveDate>) = (from.map(day), to.map(day));
        dates(&exchange.books().snapshots(sam.reference(), from, to).await.unwrap())
    };
    assert_eq!(asked(None, None).await.len(), 4);
    assert_eq!(asked(Some("2026-11-21"), Some("2026-11-22")).await, ["2026-11-21", "2026-11-22"]);
    assert_eq!(asked(Some("2026-11-23"), None).await, ["2026-11-23"]);
    assert_eq!(asked(None, Some("2026-11-20")).await, ["2026-11-20"]);
    assert_eq!(asked(Some("2026-11-22"), Some("2026-11-21")).await, [""; 0]);
    let all = exchange.books().snapshots(sam.reference(), Some(NaiveDate::MIN), Some(NaiveDate::MAX)).await;
    assert_eq!(all.unwrap().len(), 4);
}

#[tokio::test]
async fn without_any_price_the_snapshot_fails_and_writes_no_row() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1.00").await;
    crate::jobs::hold_without_a_price(&exchange, sam).await;
    exchange.prices.fail_with(QuoteError::Unreachable);
    exchange.pass(TimeDelta::seconds(1));
    assert!(matches!(take(&exchange, "2026-11-20").await, Err(Error::NoPrice { .. })));
    assert_eq!(exchange.rows(sam).await, []);
    let window = exchange.books().performance(sam.reference(), Window::default()).await;
    assert!(matches!(window, Err(Error::NoPrice { .. })));
}
