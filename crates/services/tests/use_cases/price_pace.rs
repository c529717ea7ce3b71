//! A source whose calls are limited and whose prices move: its calls last for the whole session, and working orders
//! meet every price that was received for any purpose.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use chrono::TimeDelta;
use domain::{Calendar, Freshness, OrderStatus, Side, Symbol, Timestamp};
use market_data::{Purpose, QuoteError, Rules};
use services::accounts::actor::Administrator;
use services::jobs::JobKind;
use services::testing::FixedPrices;
use services::{Market, Services};

use super::harness::{Exchange, Investor, day, gtc, limit, moment, symbol};

/// A process with Yahoo's limits, and a source with prices delayed by 15 minutes.
struct Deployment {
    exchange: Exchange,
    rules: Rules,
    process: Services,
}

impl Deref for Deployment {
    type Target = Services;
    fn deref(&self) -> &Services {
        &self.process
    }
}

impl Deployment {
    /// The deployment on Thursday, 19 November 2026, 15:00 in New York.
    async fn new(prices_per_call: usize, rules: Rules) -> Self {
        let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys).with_paid_calls(prices_per_call);
        for n in 0..30 {
            prices.list(&name(n), "A Company", "Technology", "100.00");
            for session in ["2026-11-18", "2026-11-19", "2026-11-20"] {
                prices.set_close(&name(n), day(session), "100.00");
            }
        }
        let rules = Rules { min_gap: TimeDelta::zero(), ..rules };
        let exchange = Exchange::with(prices).await;
        exchange.at("2026-11-19T20:00:00Z");
        let process = limited(&exchange, &rules);
        Self { exchange, rules, process }
    }

    fn another_process(&self) -> Services {
        limited(&self.exchange, &self.rules)
    }

    async fn holding(&self, stocks: usize, with_orders: usize) -> Investor {
        let sam = self.exchange.investor("sam", "100000.00").await;
        for n in 0..stocks {
            let bought = super::harness::order(Side::Buy, &name(n), super::harness::shares("1"));
            let placed = self.trading().place_order(sam.control(), bought).await.unwrap();
            assert_eq!(placed.order.order.status, OrderStatus::Filled, "{n}");
        }
        for n in 0..with_orders {
            let waits = gtc(Side::Buy, &name(n), "1", limit("50.00"));
            let placed = self.trading().place_order(sam.control(), waits).await.unwrap();
            assert_eq!(placed.order.order.status, OrderStatus::Accepted);
        }
        sam
    }

    async fn run_refresh(&self) {
        self.jobs().request_run(&Administrator::operator("ada"), JobKind::RefreshQuotes).await.unwrap();
        for run in self.jobs().due_runs().await.unwrap() {
            if run.kind == JobKind::RefreshQuotes {
                assert!(self.jobs().run_job(run.id, "worker").await.unwrap());
            }
        }
    }

    async fn scheduled(&self) -> (u32, u32) {
        let limits = self.stocks().provider_state().await.unwrap().limits.unwrap();
        let pot = limits.pots.into_iter().find(|pot| pot.name == "scheduled").unwrap();
        (pot.used, pot.limit)
    }

    /// The time of the last request for each stock.
    async fn requested_at(&self) -> HashMap<Symbol, Timestamp> {
        let symbols: Vec<Symbol> = (0..30).map(|n| symbol(&name(n))).collect();
        let found = self.exchange.read(move |tx| persistence::providers::published(tx, &symbols)).await;
        found.into_iter().map(|(quote, requested_at)| (quote.symbol, requested_at)).collect()
    }
}

fn limited(exchange: &Exchange, rules: &Rules) -> Services {
    let source = Arc::new(exchange.prices.clone());
    exchange.process_on_market(|store, clock| Market::limited(source, rules.clone(), store, clock))
}

fn name(n: usize) -> String {
    format!("S{n}")
}

/// The longest time between two prices during the session of the 20th, for stocks with orders and for the others.
async fn longest_intervals(deployment: &Deployment, with_orders: usize) -> [TimeDelta; 2] {
    let (open, close) = (moment("2026-11-20T14:30:00Z"), moment("2026-11-20T21:00:00Z"));
    let mut last: HashMap<Symbol, Timestamp> = HashMap::new();
    let mut longest = [TimeDelta::zero(); 2];
    let mut now = open;
    while now < close + TimeDelta::minutes(45) {
        deployment.exchange.clock.set(now);
        for run in deployment.jobs().due_runs().await.unwrap() {
            assert!(deployment.jobs().run_job(run.id, "worker").await.unwrap(), "{run:?}");
        }
        for (of, requested_at) in deployment.requested_at().await {
            let since = last.insert(of.clone(), requested_at).unwrap_or(open).max(open);
            let group = usize::from((0..with_orders).all(|n| symbol(&name(n)) != of));
            // The request after the close fetches the closing price and does not count.
            if requested_at < close {
                longest[group] = longest[group].max(requested_at - since);
            }
        }
        now = now + TimeDelta::minutes(1);
    }
    for (of, requested_at) in last {
        assert!(requested_at >= close + TimeDelta::minutes(15), "{of} has no last price: {requested_at}");
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_calls_of_a_day_last_for_the_session_without_bulk_quotes() {
    let deployment = Deployment::new(1, Rules::YAHOO).await;
    let sam = deployment.holding(30, 3).await;
    let [ordered, held] = longest_intervals(&deployment, 3).await;
    assert!(ordered <= TimeDelta::minutes(6), "stocks with orders: {ordered}");
    assert!(held <= TimeDelta::minutes(90), "others: {held}");
    let (used, most) = deployment.scheduled().await;
    assert!(used <= most && used > 500, "{used} of {most}");
    // Each stock has its close, and the snapshot is final.
    let rows = deployment.exchange.rows(sam).await;
    let friday = rows.iter().find(|row| row.date == day("2026-11-20")).unwrap();
    assert!(!friday.provisional);
    deployment.exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_stocks_have_prices_until_the_close() {
    let deployment = Deployment::new(1, Rules::YAHOO).await;
    let sam = deployment.holding(3, 3).await;
    let [ordered, _] = longest_intervals(&deployment, 3).await;
    assert!(ordered <= TimeDelta::minutes(4), "{ordered}");
    assert!(deployment.exchange.rows(sam).await.iter().all(|row| !row.provisional));
}

/// Rules without calls for jobs, so that only calls for users bring prices.
fn without_scheduled_calls() -> Rules {
    Rules { first_sight_percent: 20, reserve_percent: 80, ..Rules::YAHOO }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn working_orders_meet_prices_received_for_any_purpose() {
    let deployment = Deployment::new(1, without_scheduled_calls()).await;
    let sam = deployment.exchange.investor("sam", "100000.00").await;
    let one = super::harness::order(Side::Buy, "S0", super::harness::shares("1"));
    deployment.trading().place_order(sam.control(), one).await.unwrap();
    let list = deployment.watchlists().create_watchlist(sam.trader(), "Mine").await.unwrap().id;
    deployment.watchlists().watch(sam.trader(), list, &symbol("S0")).await.unwrap();
    let other = deployment.another_process();
    let mut now = moment("2026-11-20T15:00:00Z");
    for (path, at) in
        [("page", "97.00"), ("list", "95.00"), ("valuation", "93.00"), ("other process", "91.00")]
    {
        let waits = gtc(Side::Buy, "S0", "1", limit(at));
        let id = deployment.trading().place_order(sam.control(), waits).await.unwrap().order.order.id;
        now = now + TimeDelta::minutes(30);
        deployment.exchange.clock.set(now);
        deployment.exchange.prices.set("S0", at);
        for services in [&deployment.process, &other] {
            services.trading().match_orders().await.unwrap();
        }
        deployment.run_refresh().await;
        assert!(deployment.exchange.look(sam, id).await.status.is_open(), "nobody has seen it: {path}");
        let calls = deployment.exchange.prices.calls().quotes;
        match path {
            "page" => drop(deployment.stocks().quote_for(Some(sam.user), &symbol("S0")).await.unwrap()),
            "list" => drop(deployment.watchlists().all(sam.user).await.unwrap()),
            "valuation" => drop(deployment.books().valuation(sam.reference()).await.unwrap()),
            _ => drop(other.stocks().quote_for(None, &symbol("S0")).await.unwrap()),
        }
        assert_eq!(deployment.exchange.prices.calls().quotes, calls + 1, "{path}");
        deployment.trading().match_orders().await.unwrap();
        let order = deployment.exchange.look(sam, id).await;
        assert_eq!(order.status, OrderStatus::Filled, "{path}");
        assert_eq!(order.filled_price.unwrap().to_string(), format!("{at}0000"), "{path}");
        assert_eq!(deployment.exchange.prices.calls().quotes, calls + 1, "matching makes no calls");
    }
    deployment.exchange.assert_books_balance().await;
}

#[tokio::test]
async fn an_open_page_shows_prices_received_for_other_purposes() {
    let deployment = Deployment::new(1, without_scheduled_calls()).await;
    deployment.exchange.at("2026-11-20T15:00:00Z");
    let aapl = [symbol("S0")];
    let quotes = &deployment.market().quotes;
    let followed = async || quotes.followed_quotes(&aapl, deployment.exchange.now()).await.remove(0);
    assert!(matches!(followed().await, Err(QuoteError::RateLimited { .. } | QuoteError::Upstream(_))));
    let other = deployment.another_process();
    other.stocks().quote(&aapl[0]).await.unwrap();
    for (minutes, stale) in [(0, false), (3, false), (10, true)] {
        deployment.exchange.pass(TimeDelta::minutes(minutes));
        let quote = followed().await.unwrap().into_as_traded();
        assert_eq!((quote.as_of, quote.stale), (moment("2026-11-20T14:45:00Z"), stale));
    }
    assert_eq!(deployment.exchange.prices.calls().quotes, 1);
}

#[tokio::test]
async fn open_pages_use_only_a_part_of_the_paced_calls() {
    let deployment = Deployment::new(1, Rules::YAHOO).await;
    deployment.holding(3, 3).await;
    deployment.exchange.at("2026-11-20T15:00:00Z");
    let quotes = &deployment.market().quotes;
    let pages: Vec<Symbol> = (10..30).map(|n| symbol(&name(n))).collect();
    let before = deployment.scheduled().await.0;
    for second in 0..50 {
        deployment.exchange.clock.set(moment("2026-11-20T15:00:00Z") + TimeDelta::seconds(second));
        quotes.followed_quotes(&pages, deployment.exchange.now()).await;
    }
    let followed = deployment.scheduled().await.0 - before;
    // The whole pace would be nine calls: one every 38 seconds, and up to five minutes ahead.
    assert!((1..=4).contains(&followed), "{followed}");
    let ordered: Vec<Symbol> = (0..3).map(|n| symbol(&name(n))).collect();
    let found = quotes.quotes(Purpose::Scheduled, &ordered, deployment.exchange.now()).await;
    assert!(found.iter().all(Result::is_ok), "{found:?}");
}

#[tokio::test]
async fn an_administrator_sees_how_often_prices_come() {
    let deployment = Deployment::new(1, Rules::YAHOO).await;
    deployment.holding(30, 3).await;
    deployment.exchange.at("2026-11-20T12:00:00Z");
    let intervals = deployment.stocks().provider_state().await.unwrap().intervals.unwrap();
    assert_eq!((intervals.calls_left, intervals.calls_kept), (Some(450), 150));
    let told =
        [intervals.ordered, intervals.held, intervals.watched].map(|group| (group.stocks, group.minutes));
    assert_eq!(told, [(3, Some(5)), (27, Some(74)), (0, None)]);
    assert!(intervals.is_slow(), "those that are held have old prices");
    let with_bulk = Deployment::new(50, Rules::YAHOO).await;
    with_bulk.holding(30, 3).await;
    let intervals = with_bulk.stocks().provider_state().await.unwrap().intervals.unwrap();
    assert_eq!((intervals.ordered.minutes, intervals.held.minutes), (Some(1), Some(1)));
    assert!(!intervals.is_slow());
    // A source with one price per session has no pace.
    let closes = FixedPrices::of(Freshness::EndOfDay, Calendar::Xnys);
    let exchange = Exchange::with(closes).await;
    let process = limited(&exchange, &Rules::ALPHA_VANTAGE_FREE);
    assert_eq!(process.stocks().provider_state().await.unwrap().intervals, None);
}
