//! Splits and the shares that prices are expressed in: every reader agrees, and the total value is continuous.
//!
//! The reference model is one number: what a share of the first day is worth, which never changes. Splits, late closes
//! and the order in which jobs and readers come change what one share is, and nothing else.

use chrono::{NaiveDate, TimeDelta};
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{Calendar, Freshness, OrderId, OrderStatus, Session, Side, SplitRatio, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use services::live::{Proof, Update, Wanted};
use services::stocks::HistoryRange;
use services::testing::FixedPrices;
use services::tokens::Scope;

use super::harness::{Exchange, Investor, day, gtc, limit, moment, money, order, price, shares, symbol};

/// Divisible by the ratios below, so that prices lie on the tick.
const BASE_CENTS: i64 = 3_600_000;
const CASH: &str = "100000000";
const TICKER: &str = "AAPL";

/// What happens in one session.
#[derive(Debug, Clone, Default)]
struct Day {
    /// Takes effect at its opening.
    split: Option<&'static str>,
    /// Its close is published one session later.
    close_is_late: bool,
    /// The job runs after its opening; otherwise readers come first.
    job_runs_first: bool,
}

struct World {
    exchange: Exchange,
    sam: Investor,
    calendar: Calendar,
    working: Vec<OrderId>,
    /// Old and new shares of one share of the first day.
    shares: (i64, i64),
    token: String,
}

impl World {
    /// Everything is announced before the first of the days.
    async fn new(freshness: Freshness, calendar: Calendar, days: &[(Session, Day)]) -> Self {
        let prices = FixedPrices::of(freshness, calendar);
        prices.set(TICKER, &cents(BASE_CENTS));
        let before = calendar.before(days[0].0.date);
        for session in [calendar.before(before.date), before] {
            prices.set_close(TICKER, session.date, &cents(BASE_CENTS));
        }
        let (mut old, mut new) = (1, 1);
        for (session, today) in days {
            let Some(ratio) = today.split else { continue };
            let ratio: SplitRatio = ratio.parse().unwrap();
            prices.announce(moment("2026-11-01T00:00:00Z"), split(session.date, ratio));
            (old, new) = (old * i64::from(ratio.denominator.get()), new * i64::from(ratio.numerator.get()));
            prices.set_from(session.opens_at, TICKER, &cents(BASE_CENTS * old / new));
        }
        let exchange = Exchange::with(prices).await;
        exchange.clock.set(days[0].0.opens_at - TimeDelta::hours(1));
        let sam = exchange.investor("sam", CASH).await;
        exchange.work().await;
        exchange.buy(sam, TICKER, "8").await.unwrap();
        exchange.learn_corporate_actions().await.unwrap();
        let mut working = Vec::new();
        for (side, terms) in [(Side::Sell, "71999.99"), (Side::Buy, "18000.01")] {
            working.push(exchange.accepted(sam, gtc(side, TICKER, "1", limit(terms))).await);
        }
        let token = exchange.create_token(sam.user, "test", Scope::Read, None).await.unwrap().1;
        Self { exchange, sam, calendar, working, shares: (1, 1), token }
    }

    fn price(&self) -> String {
        cents(BASE_CENTS * self.shares.0 / self.shares.1)
    }

    /// Goes through the days and lets every reader look at each stage of them.
    async fn live(&mut self, days: &[(Session, Day)]) {
        let prices = self.exchange.prices.clone();
        let mut late: Option<(Session, String)> = None;
        for (session, today) in days {
            if let Some(ratio) = today.split {
                let ratio: SplitRatio = ratio.parse().unwrap();
                self.shares.0 *= i64::from(ratio.denominator.get());
                self.shares.1 *= i64::from(ratio.numerator.get());
            }
            let label = format!("{} {today:?}", session.date);
            self.exchange.clock.set(session.opens_at + TimeDelta::minutes(1));
            if today.job_runs_first {
                self.exchange.work().await;
            }
            self.check(&format!("{label}, open")).await;
            self.exchange.work().await;
            self.check(&format!("{label}, after the job")).await;

            if let Some((missing, close)) = late.take() {
                prices.set_close(TICKER, missing.date, &close);
            }
            if today.close_is_late {
                prices.set_as_of(TICKER, Some(self.newest_close(session.opens_at)));
                late = Some((*session, self.price()));
            } else {
                prices.set_as_of(TICKER, None);
                prices.set_close(TICKER, session.date, &self.price());
            }
            self.exchange.clock.set(match self.calendar {
                Calendar::Xnys => session.closes_at + TimeDelta::hours(3),
                // The next session begins at once.
                Calendar::AroundTheClock => session.closes_at - TimeDelta::minutes(1),
            });
            self.check(&format!("{label}, closed")).await;
            self.exchange.work().await;
            self.check(&format!("{label}, after the snapshot")).await;
        }
    }

    fn newest_close(&self, at: Timestamp) -> Timestamp {
        self.calendar.last_closed(at).closes_at - TimeDelta::microseconds(1)
    }

    async fn check(&self, label: &str) {
        let Self { exchange, sam, .. } = self;
        let (user, portfolio, ticker) = (sam.user, sam.portfolio, symbol(TICKER));
        let expected = self.price();
        let quote = exchange.quote(&ticker).await.unwrap();
        assert_eq!(quote.price, price(&expected), "quote, {label}");

        let valued = exchange.valuation(user, portfolio).await.unwrap().valuation;
        self.assert_total(&valued.total_value, &format!("valuation, {label}"));
        self.assert_cents(valued.day_change.to_f64(), 0.0, &format!("day change, {label}"));
        let all = exchange.valuations(user).await.unwrap();
        self.assert_total(&all[0].valuation.total_value, &format!("valuations, {label}"));
        let composed = exchange.composition(user, portfolio).await.unwrap();
        self.assert_total(&composed.total_value, &format!("composition, {label}"));
        let measured = exchange.measured(*sam, services::performance::Window::default()).await;
        let newest = measured.points.last().unwrap();
        self.assert_total(&newest.close.total_value, &format!("performance, {label}"));
        self.assert_cents(newest.twr * 1e6, 0.0, &format!("time-weighted return, {label}"));

        let previewed = exchange.preview_order(user, portfolio, order(Side::Buy, TICKER, shares("1"))).await;
        let placed = exchange.buy(*sam, TICKER, "0.5").await;
        let stock = exchange.stored_stock(&ticker).await.unwrap();
        let waits = exchange.trading_hold(&stock).await.unwrap().is_some();
        if waits {
            let previewed = previewed.unwrap_or_else(|error| panic!("preview, {label}: {error}"));
            assert_eq!(previewed.quote.price, price(&expected), "preview, {label}");
            assert!(previewed.fill.is_none(), "{label}");
            let placed = placed.unwrap_or_else(|error| panic!("order, {label}: {error}")).order.order;
            assert_eq!(placed.status, OrderStatus::Accepted, "{label}");
            exchange.match_orders().await.unwrap();
            assert_eq!(exchange.look(*sam, placed.id).await.status, OrderStatus::Accepted, "{label}");
            exchange.cancel_order(user, portfolio, placed.id).await.unwrap();
        } else if quote.stale {
            // The orders wait for the first price.
            assert_eq!(previewed.unwrap().order.status, OrderStatus::Accepted, "preview, {label}");
            let placed = placed.unwrap().order.order;
            assert_eq!(placed.status, OrderStatus::Accepted, "order, {label}");
            exchange.cancel_order(user, portfolio, placed.id).await.unwrap();
        } else {
            let previewed = previewed.unwrap_or_else(|error| panic!("preview, {label}: {error}"));
            assert_eq!(previewed.quote.price, price(&expected), "preview, {label}");
            let placed = placed.unwrap_or_else(|error| panic!("order, {label}: {error}")).order;
            match placed.order.status {
                OrderStatus::Filled => {
                    assert_eq!(placed.fills[0].price, Some(price(&expected)), "fill, {label}");
                }
                // A session has opened whose first price is still to come.
                status => {
                    assert_eq!(status, OrderStatus::Accepted, "order, {label}");
                    assert!(quote.as_of < exchange.market().opened_at(exchange.now()), "order, {label}");
                    exchange.cancel_order(user, portfolio, placed.order.id).await.unwrap();
                }
            }
        }

        let bars = exchange.history(&ticker, HistoryRange::Month).await.unwrap();
        assert!(
            !bars.is_empty() && bars.iter().all(|bar| bar.close == price(&expected)),
            "{label}: {bars:?}"
        );

        exchange.match_orders().await.unwrap();
        for id in &self.working {
            assert_eq!(
                exchange.look(*sam, *id).await.status,
                OrderStatus::Accepted,
                "working order, {label}"
            );
        }
        self.check_stream(label).await;
        for row in exchange.rows(*sam).await {
            self.assert_total(&row.total_value, &format!("snapshot of {}, {label}", row.date));
        }
    }

    async fn check_stream(&self, label: &str) {
        let wanted = Wanted {
            symbols: vec![symbol(TICKER)],
            portfolios: vec![self.sam.portfolio],
            ..Wanted::default()
        };
        self.exchange.tick_streams().await;
        let proof = Proof::token(&self.token);
        let mut stream = self.exchange.follow(self.sam.user, proof, wanted).await.unwrap();
        let (mut quote, mut total) = (None, None);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = stream.poll_updates(&mut context, |update| match update {
            Update::Quote(told) => quote = Some(told.value.price.clone()),
            Update::Valuation(told) => total = Some(told.value.valuation.total_value.clone()),
            _ => {}
        });
        assert_eq!(quote, Some(price(&self.price())), "quote on the stream, {label}");
        self.assert_total(&total.unwrap(), &format!("valuation on the stream, {label}"));
    }

    /// Shares are rounded down to nine decimals at each split, which is less than a cent at these prices.
    fn assert_total(&self, total: &domain::Money, label: &str) {
        self.assert_cents(total.to_f64(), money(CASH).to_f64(), label);
    }

    fn assert_cents(&self, found: f64, expected: f64, label: &str) {
        assert!((found - expected).abs() < 0.05, "{label}: {found}, not {expected}");
    }
}

fn cents(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn split(ex_on: NaiveDate, ratio: SplitRatio) -> CorporateAction {
    let SplitRatio { numerator, denominator } = ratio;
    CorporateAction::new(symbol(TICKER), ex_on, CorporateActionKind::Split { numerator, denominator })
}

fn sessions(calendar: Calendar, days: Vec<Day>) -> Vec<(Session, Day)> {
    let sessions = calendar.sessions(day("2026-11-23"), day("2026-12-31"));
    sessions.zip(days).collect()
}

async fn live_through(freshness: Freshness, calendar: Calendar, days: Vec<Day>) {
    let mut days = sessions(calendar, days);
    // Only a source of closing prices publishes a close late.
    days.iter_mut().for_each(|(_, day)| day.close_is_late &= freshness == Freshness::EndOfDay);
    let mut world = World::new(freshness, calendar, &days).await;
    world.live(&days).await;
    world.exchange.assert_books_balance().await;
}

const MARKETS: [(Freshness, Calendar); 3] = [
    (Freshness::EndOfDay, Calendar::Xnys),
    (Freshness::Delayed, Calendar::Xnys),
    (Freshness::Simulated, Calendar::AroundTheClock),
];

#[tokio::test]
async fn a_split_before_its_first_close_is_converted_once_by_every_reader() {
    for (freshness, calendar) in MARKETS {
        for ratio in ["10:1", "1:10", "3:2"] {
            let ex_day = Day { split: Some(ratio), ..Day::default() };
            live_through(freshness, calendar, vec![Day::default(), ex_day, Day::default()]).await;
        }
    }
}

#[tokio::test]
async fn a_late_close_on_the_ex_day_changes_no_value() {
    for ratio in ["10:1", "1:10"] {
        let late = Day { split: Some(ratio), close_is_late: true, ..Day::default() };
        live_through(Freshness::EndOfDay, Calendar::Xnys, vec![Day::default(), late, Day::default()]).await;
    }
}

fn any_day() -> impl Strategy<Value = Day> {
    let split = prop_oneof![
        3 => Just(None),
        2 => prop::sample::select(vec!["2:1", "10:1", "1:10", "3:2", "2:3", "1:2", "5:1", "1:5"]).prop_map(Some),
    ];
    (split, any::<bool>(), any::<bool>()).prop_map(|(split, close_is_late, job_runs_first)| Day {
        split,
        close_is_late,
        job_runs_first,
    })
}

#[test]
fn random_splits_and_late_closes_leave_the_total_value_continuous() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    let histories = (0..MARKETS.len(), prop::collection::vec(any_day(), 3..6));
    let keeps_prices_on_the_tick = |(_, days): &(usize, Vec<Day>)| {
        let mut price = BASE_CENTS;
        days.iter().filter_map(|day| day.split).all(|ratio| {
            let ratio: SplitRatio = ratio.parse().unwrap();
            let scaled = price * i64::from(ratio.denominator.get());
            price = scaled / i64::from(ratio.numerator.get());
            scaled % i64::from(ratio.numerator.get()) == 0 && (1_000..100_000_000).contains(&price)
        })
    };
    let histories = histories.prop_filter("prices on the tick", keeps_prices_on_the_tick);
    TestRunner::new(config)
        .run(&histories, |(market, days)| {
            let (freshness, calendar) = MARKETS[market];
            runtime.block_on(live_through(freshness, calendar, days));
            Ok(())
        })
        .unwrap();
}
