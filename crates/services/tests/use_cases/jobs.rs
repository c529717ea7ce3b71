use chrono::TimeDelta;
use domain::{Calendar, Freshness, Position};
use market_data::QuoteError;
use persistence::{jobs, login_attempts, sessions, stocks};
use services::accounts::actor::{Administrator, Trader};
use services::accounts::logins::LoginClient;
use services::jobs::{JobKind, JobRun, RunStatus};
use services::testing::FixedPrices;
use services::{Error, Services};

use crate::harness::{Exchange, Investor, day, money, quantity, save_position, symbol};

const SILENCE: TimeDelta = TimeDelta::seconds(30);

fn kinds(runs: &[JobRun]) -> Vec<&str> {
    runs.iter().map(|run| run.kind.as_str()).collect()
}

async fn run(exchange: &Exchange, id: i64) -> JobRun {
    let runs = exchange.jobs().job_runs(None, None, 1000).await.unwrap().items;
    runs.into_iter().find(|run| run.id == id).unwrap()
}

/// Adds shares of a stock that never had a price to the books, which no use case does.
pub async fn hold_without_a_price(exchange: &Exchange, who: Investor) {
    let stock = exchange.instruments().stock(&symbol("SPY")).await.unwrap();
    let position =
        Position { quantity: quantity("1"), cost_basis: money("1.00"), realized_pnl: money("0.00") };
    exchange.write(move |tx| save_position(tx, who.portfolio, stock.id, &position)).await;
}

#[tokio::test]
async fn each_due_run_is_handed_out_once() {
    let exchange = Exchange::new().await;
    let first = exchange.jobs().due_runs().await.unwrap();
    assert_eq!(kinds(&first), ["corporate_actions", "refresh_quotes", "prune"]);
    assert_eq!(
        first.iter().map(|run| run.key.as_str()).collect::<Vec<_>>(),
        ["2026-11-20", "2026-11-20T19:12", "2026-11-20"]
    );
    assert_eq!(exchange.jobs().due_runs().await.unwrap(), []);
    // No worker has started the runs, so they are due again.
    exchange.pass(SILENCE + TimeDelta::seconds(1));
    let again: Vec<i64> = exchange.jobs().due_runs().await.unwrap().iter().map(|run| run.id).collect();
    assert_eq!(again, first.iter().map(|run| run.id).collect::<Vec<_>>());
    for id in again {
        assert!(exchange.jobs().run_job(id, "worker").await.unwrap());
        assert!(!exchange.jobs().run_job(id, "worker").await.unwrap(), "done is done");
    }
    exchange.pass(SILENCE + TimeDelta::seconds(1));
    assert_eq!(kinds(&exchange.jobs().due_runs().await.unwrap()), ["refresh_quotes"], "of the next minute");
    assert!(!exchange.jobs().run_job(999, "worker").await.unwrap());
}

/// A newer version of Stockyard may have planned the run.
#[tokio::test]
async fn a_run_of_an_unknown_kind_is_left_to_other_versions() {
    let exchange = Exchange::new().await;
    let wall = exchange.market().wall_time();
    exchange.write(move |tx| jobs::plan(tx, "of_the_future", "2026-11-20", 0, wall)).await;
    assert_eq!(
        kinds(&exchange.jobs().due_runs().await.unwrap()),
        ["corporate_actions", "refresh_quotes", "prune"]
    );
    assert_eq!(kinds(&exchange.jobs().job_runs(None, None, 10).await.unwrap().items).len(), 3);
    let row = exchange.read(|tx| jobs::page(tx, Some("of_the_future"), None, 1)).await.remove(0);
    let refused = exchange.jobs().run_job(row.id, "worker").await;
    assert!(matches!(refused, Err(Error::Internal(_))), "{refused:?}");
    let row = exchange.read(|tx| jobs::page(tx, Some("of_the_future"), None, 1)).await.remove(0);
    assert_eq!((row.status, row.attempts), (jobs::JobStatus::Queued, 1));
}

#[tokio::test]
async fn a_run_records_whether_an_administrator_requested_it() {
    let exchange = Exchange::new().await;
    exchange.jobs().due_runs().await.unwrap();
    exchange.jobs().request_run(&Administrator::operator("ada"), JobKind::Prune).await.unwrap();
    let runs = exchange.jobs().job_runs(Some(JobKind::Prune), None, 10).await.unwrap().items;
    assert_eq!(runs.iter().map(|run| run.requested).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_several_processes_execute_each_run_once() {
    let exchange = Exchange::new().await;
    exchange.investor("sam", "1.00").await;
    exchange.at("2026-11-25T12:00:00Z");
    let work = async |services: Services, name: &'static str| {
        let mut done = Vec::new();
        for run in services.jobs().due_runs().await.unwrap() {
            if services.jobs().run_job(run.id, name).await.unwrap() {
                done.push(run.id);
            }
        }
        done
    };
    let other = exchange.another_process();
    let (mut done, others) = tokio::join!(work((*exchange).clone(), "one"), work(other, "two"));
    done.extend(others);
    done.sort_unstable();
    let runs = exchange.jobs().job_runs(None, None, 100).await.unwrap().items;
    assert_eq!(done.len(), 8, "five sessions, one refresh, one look for actions, one prune");
    done.dedup();
    assert_eq!((done.len(), runs.len()), (8, 8));
    assert!(runs.iter().all(|run| run.status == RunStatus::Done && run.attempts == 1), "{runs:?}");
}

#[tokio::test]
async fn a_run_without_heartbeats_is_taken_over() {
    let exchange = Exchange::new().await;
    let id = exchange.jobs().due_runs().await.unwrap()[0].id;
    let now = exchange.clock.wall();
    exchange.write(move |tx| jobs::claim(tx, id, "dead", now - SILENCE, now)).await.unwrap();
    exchange.pass(SILENCE - TimeDelta::microseconds(1));
    assert!(exchange.jobs().due_runs().await.unwrap().iter().all(|run| run.id != id));
    assert!(!exchange.jobs().run_job(id, "alive").await.unwrap());
    exchange.pass(TimeDelta::microseconds(1));
    assert!(exchange.jobs().due_runs().await.unwrap().iter().any(|run| run.id == id));
    assert!(exchange.jobs().run_job(id, "alive").await.unwrap());
    let run = run(&exchange, id).await;
    assert_eq!((run.status, run.worker.as_deref(), run.attempts), (RunStatus::Done, Some("alive"), 2));
    assert_eq!(run.finished_at, Some(exchange.clock.wall()));
}

#[tokio::test]
async fn a_failing_run_is_abandoned_after_five_attempts() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1.00").await;
    hold_without_a_price(&exchange, sam).await;
    exchange.prices.fail_with(QuoteError::Unreachable);
    exchange.at("2026-11-21T05:15:00Z");
    let snapshot = async || {
        let due = exchange.jobs().due_runs().await.unwrap();
        due.into_iter().find(|run| run.kind == JobKind::SnapshotPortfolios)
    };
    for attempt in 1..=5 {
        let id = snapshot().await.unwrap().id;
        exchange.pass(TimeDelta::seconds(1));
        assert!(matches!(exchange.jobs().run_job(id, "worker").await, Err(Error::NoPrice { .. })));
        let run = run(&exchange, id).await;
        let status = if attempt < 5 { RunStatus::Queued } else { RunStatus::Failed };
        assert_eq!((run.attempts, run.status), (attempt, status));
        assert_eq!(run.outcome.as_deref(), Some("there is no price for SPY at the moment"));
        assert_eq!(run.finished_at.is_some(), attempt == 5);
        assert!(snapshot().await.is_none(), "not again at once");
        exchange.pass(SILENCE + TimeDelta::seconds(1));
    }
    assert!(snapshot().await.is_none(), "given up");
}

#[tokio::test]
async fn a_run_that_crashes_its_workers_is_abandoned_too() {
    let exchange = Exchange::new().await;
    let id = exchange.jobs().due_runs().await.unwrap()[0].id;
    for _ in 0..5 {
        let now = exchange.clock.wall();
        exchange.write(move |tx| jobs::claim(tx, id, "dead", now - SILENCE, now)).await.unwrap();
        exchange.pass(SILENCE);
    }
    assert!(exchange.jobs().run_job(id, "worker").await.unwrap());
    let run = run(&exchange, id).await;
    assert_eq!(run.status, RunStatus::Failed);
    assert_eq!(run.outcome.as_deref(), Some("given up after 5 attempts that never ended"));
    assert!(exchange.jobs().due_runs().await.unwrap().iter().all(|run| run.id != id));
}

#[tokio::test]
async fn a_failed_run_succeeds_when_its_cause_is_gone() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1.00").await;
    hold_without_a_price(&exchange, sam).await;
    exchange.at("2026-11-21T05:15:00Z");
    let due = exchange.jobs().due_runs().await.unwrap();
    let id = due.iter().find(|run| run.kind == JobKind::SnapshotPortfolios).unwrap().id;
    assert!(exchange.jobs().run_job(id, "worker").await.is_err());
    exchange.prices.set_close("SPY", day("2026-11-20"), "500.00");
    assert!(exchange.jobs().run_job(id, "worker").await.unwrap());
    assert_eq!(run(&exchange, id).await.outcome.as_deref(), Some("1 portfolios, 0 of them provisional"));
}

#[tokio::test]
async fn many_missed_sessions_are_planned_fifty_at_a_time() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1.00").await;
    exchange.at("2027-01-19T12:00:00Z");
    exchange.work().await;
    assert_eq!(exchange.rows(sam).await.len(), 50);
    exchange.work().await;
    let rows = exchange.rows(sam).await;
    assert_eq!((rows.len(), rows[59].date), (60, day("2027-01-18")));
    assert_eq!(exchange.keys(JobKind::SnapshotPortfolios).await.len(), 60);
}

#[tokio::test]
async fn without_portfolios_no_snapshots_are_planned() {
    let exchange = Exchange::new().await;
    exchange.at("2026-12-24T12:00:00Z");
    assert_eq!(kinds(&exchange.work().await), ["corporate_actions", "refresh_quotes", "prune"]);
    // The first portfolio does not cause runs for earlier days.
    exchange.investor("sam", "1.00").await;
    exchange.at("2026-12-25T12:00:00Z");
    exchange.work().await;
    assert_eq!(exchange.keys(JobKind::SnapshotPortfolios).await, ["2026-12-24"]);
}

#[tokio::test]
async fn a_requested_run_does_not_change_the_schedule() {
    let exchange = Exchange::new().await;
    exchange.work().await;
    exchange.jobs().request_run(&Administrator::operator("ada"), JobKind::RefreshQuotes).await.unwrap();
    exchange.jobs().request_run(&Administrator::operator("ada"), JobKind::Prune).await.unwrap();
    assert_eq!(kinds(&exchange.work().await), ["refresh_quotes", "prune"]);
    exchange.pass(TimeDelta::days(1));
    assert_eq!(
        kinds(&exchange.work().await),
        ["corporate_actions", "refresh_quotes", "prune"],
        "as every day"
    );
}

#[tokio::test]
async fn a_refresh_stores_the_prices_of_held_and_watched_stocks() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let list = exchange.watchlists().create_watchlist(sam.trader(), "Later").await.unwrap().id;
    exchange.watchlists().watch(sam.trader(), list, &symbol("MSFT")).await.unwrap();
    exchange.pass(TimeDelta::seconds(1));
    exchange.prices.set("AAPL", "151.00");
    exchange.work().await;
    let last = async |ticker: &str| {
        let stock = exchange.instruments().stock(&symbol(ticker)).await.unwrap();
        stock.last.map(|last| (last.price.to_string(), last.as_of))
    };
    let now = exchange.now();
    assert_eq!(last("AAPL").await, Some(("151.00".into(), now)));
    assert_eq!(last("MSFT").await, Some(("400.00".into(), now)));
    assert_eq!(last("JPM").await, None);
    let runs = exchange.jobs().job_runs(Some(JobKind::RefreshQuotes), None, 10).await.unwrap().items;
    assert_eq!(runs[0].outcome.as_deref(), Some("2 of 2 stocks refreshed"));
    // A failing source is not a failure of the job, which runs again the next minute.
    exchange.prices.fail_with(QuoteError::Unreachable);
    exchange.pass(TimeDelta::minutes(1));
    exchange.work().await;
    assert_eq!(last("AAPL").await, Some(("151.00".into(), now)));
}

#[tokio::test]
async fn an_end_of_day_source_is_called_a_few_times_after_each_close() {
    let exchange = Exchange::with(FixedPrices::of(Freshness::EndOfDay, Calendar::Xnys)).await;
    let user = exchange.user("sam").await;
    let list = exchange.watchlists().create_watchlist(Trader::on_behalf_of(user), "All").await.unwrap().id;
    for number in 0..20 {
        let ticker = format!("S{number:02}");
        exchange.prices.list(&ticker, &ticker, "Other", "10.00");
        exchange.watchlists().watch(Trader::on_behalf_of(user), list, &symbol(&ticker)).await.unwrap();
    }
    let outcomes = async || {
        let runs = exchange.jobs().job_runs(Some(JobKind::RefreshQuotes), None, 10).await.unwrap().items;
        runs.into_iter().map(|run| (run.key, run.outcome.unwrap())).collect::<Vec<_>>()
    };
    exchange.work().await;
    exchange.pass(TimeDelta::hours(1));
    exchange.work().await;
    let thursday = ("2026-11-19, morning of 2026-11-20".to_owned(), "15 of 20 stocks refreshed".to_owned());
    assert_eq!(outcomes().await, [thursday]);
    // The next time, the stocks that had to wait come first.
    exchange.at("2026-11-20T21:30:00Z");
    exchange.work().await;
    assert_eq!(outcomes().await[0].0, "2026-11-20");
    // Closes that are published later are requested in the evening, and every morning until there is a newer session.
    for (at, key) in [
        ("2026-11-21T01:30:00Z", "2026-11-20, evening"),
        ("2026-11-21T11:00:00Z", "2026-11-20, morning of 2026-11-21"),
        ("2026-11-22T10:59:00Z", "2026-11-20, morning of 2026-11-21"),
        ("2026-11-22T11:00:00Z", "2026-11-20, morning of 2026-11-22"),
    ] {
        exchange.at(at);
        exchange.work().await;
        assert_eq!(outcomes().await[0].0, key, "{at}");
    }
    let all = exchange.read(stocks::in_use).await;
    assert!(all.iter().all(|stock| stock.last.is_some()));
}

#[tokio::test]
async fn pruning_deletes_old_records() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1.00").await.user;
    exchange.accounts().create_session(Some(sam), "{}".into(), TimeDelta::hours(1)).await.unwrap();
    let lasting =
        exchange.accounts().create_session(Some(sam), "{}".into(), TimeDelta::days(3)).await.unwrap();
    let _ =
        exchange.accounts().authenticate("nobody", "a wrong one".into(), &LoginClient::at("192.0.2.1")).await;
    exchange.work().await;
    exchange.at("2026-11-22T12:00:00Z");
    exchange.work().await;

    let now = exchange.clock.wall();
    let far_back = now - TimeDelta::days(100);
    let kept = exchange.read(move |tx| sessions::of_user(tx, sam, far_back)).await;
    assert_eq!(kept.len(), 1);
    assert!(exchange.accounts().load_session(&lasting).await.unwrap().is_some());
    let failures = exchange.read(|tx| login_attempts::get(tx, "address 192.0.2.1")).await;
    assert_eq!(failures, None);
    // The run of a minute two days ago is deleted; runs of sessions are kept for a year.
    assert_eq!(exchange.keys(JobKind::RefreshQuotes).await, ["2026-11-22T12:00"]);
    assert_eq!(exchange.keys(JobKind::SnapshotPortfolios).await, ["2026-11-20", "2026-11-21"]);
    let runs = exchange.jobs().job_runs(Some(JobKind::Prune), None, 10).await.unwrap().items;
    assert_eq!(runs[0].outcome.as_deref(), Some("1 logins and 1 runs deleted"));
}

#[tokio::test]
async fn a_session_is_not_planned_again_after_its_record_was_pruned() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1.00").await;
    exchange.at("2026-11-21T05:15:00Z");
    exchange.work().await;
    let rows = exchange.rows(sam).await;
    exchange.at("2028-06-01T12:00:00Z");
    exchange.jobs().request_run(&Administrator::operator("ada"), JobKind::Prune).await.unwrap();
    exchange.work().await;
    exchange.work().await;
    // The record of the old run is deleted but its snapshots are not, and later sessions are caught up.
    assert_eq!(exchange.keys(JobKind::SnapshotPortfolios).await[0], "2026-11-21");
    let later = exchange.rows(sam).await;
    assert_eq!((&later[0], later.len()), (&rows[0], 101));
}

#[tokio::test]
async fn runs_are_listed_newest_first_by_kind() {
    let exchange = Exchange::new().await;
    exchange.work().await;
    exchange.pass(TimeDelta::minutes(1));
    exchange.work().await;
    let all = exchange.jobs().job_runs(None, None, 2).await.unwrap();
    assert_eq!(kinds(&all.items), ["refresh_quotes", "prune"]);
    let rest = exchange.jobs().job_runs(None, all.next, 2).await.unwrap();
    assert_eq!((kinds(&rest.items), rest.next), (vec!["refresh_quotes", "corporate_actions"], None));
    assert_eq!(exchange.jobs().job_runs(Some(JobKind::Prune), None, 10).await.unwrap().items.len(), 1);
    for kind in JobKind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
    assert!("something".parse::<JobKind>().is_err());
}
