//! Prices after splits and dividends: all readers agree, and the total value is continuous.
//!
//! The reference model is one number: the value of the portfolio, which never changes. The market changes the price of
//! a share only at splits and dividends. Splits, dividends, late closes, late news, a delisting, its close-out, and the
//! order of jobs and readers move value between shares, receivables and cash, and change nothing else.

use chrono::{Days, NaiveDate, TimeDelta};
use domain::HistoryRange;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{
    Calendar, Freshness, OrderId, OrderStatus, PerShare, PortfolioRef, Session, Side, SplitRatio, Timestamp,
};
use market_data::QuoteError;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use services::accounts::actor::{Administrator, Trader};
use services::accounts::tokens::Scope;
use services::corporate_actions::close_outs::CloseOutTerms;
use services::idempotency::DecisionAuthor;
use services::live::{Proof, StreamRequest, Update};
use services::testing::FixedPrices;

use super::harness::{Exchange, Investor, day, gtc, limit, moment, money, order, price, shares, symbol};

/// Divisible by the ratios below, so that prices are on the tick.
const BASE_CENTS: i64 = 3_600_000;
const CASH: &str = "100000000";
const TICKER: &str = "AAPL";

/// The events of one session.
#[derive(Debug, Clone, Default)]
struct Day {
    /// A split that takes effect at the opening.
    split: Option<&'static str>,
    /// A dividend with its ex-date on this day, in percent of the price after the split.
    dividend: Option<i64>,
    /// Whether the dividend is announced after the opening, when there was already a trade at the earlier close.
    news_is_late: bool,
    /// Whether the close is published one session later.
    close_is_late: bool,
    /// Whether the job runs before the readers after the opening.
    job_runs_first: bool,
}

impl Day {
    fn ratio(&self) -> (i64, i64) {
        let Some(ratio) = self.split else { return (1, 1) };
        let ratio: SplitRatio = ratio.parse().unwrap();
        (ratio.numerator.get().into(), ratio.denominator.get().into())
    }

    /// The price after the split and the dividend, in cents; `None` if they are not whole cents.
    fn terms(&self, price: i64) -> Option<(i64, i64)> {
        let (new, old) = self.ratio();
        let split = (price * old % new == 0).then_some(price * old / new)?;
        let percent = self.dividend.unwrap_or(0);
        (split * percent % 100 == 0).then_some((split, split * percent / 100))
    }

    fn actions(&self, ex_on: NaiveDate, price: i64) -> (Option<CorporateAction>, Option<CorporateAction>) {
        let (_, dividend) = self.terms(price).unwrap();
        let split = self.split.map(|ratio| split(ex_on, ratio.parse().unwrap()));
        let dividend = PerShare::from_scaled(dividend, 2).map(|amount| {
            let kind = CorporateActionKind::CashDividend { amount, pays_on: ex_on + Days::new(3) };
            CorporateAction::new(symbol(TICKER), ex_on, kind)
        });
        (split, dividend)
    }
}

/// What happens to the shares after the last day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Listed,
    Delisted,
    ClosedOutForCash,
    ExchangedForShares,
}

struct World {
    exchange: Exchange,
    sam: Investor,
    calendar: Calendar,
    working: Vec<OrderId>,
    /// The price of a share now, in cents.
    price: i64,
    /// The numbers of new and old shares since the first day.
    shares: (i64, i64),
    /// The closes of earlier days, in the shares of each day.
    closes: Vec<(NaiveDate, i64, (i64, i64))>,
    token: String,
}

impl World {
    /// All events are announced before the first day.
    async fn new(freshness: Freshness, calendar: Calendar, days: &[(Session, Day)]) -> Self {
        let prices = FixedPrices::of(freshness, calendar);
        prices.set(TICKER, &cents(BASE_CENTS));
        let before = calendar.before(days[0].0.date);
        for session in [calendar.before(before.date), before] {
            prices.set_close(TICKER, session.date, &cents(BASE_CENTS));
        }
        let mut price = BASE_CENTS;
        for (session, today) in days {
            let (split, dividend) = today.actions(session.date, price);
            let in_time = dividend.filter(|_| !today.news_is_late);
            for action in split.into_iter().chain(in_time) {
                prices.announce(moment("2026-11-01T00:00:00Z"), action);
            }
            let (split, dividend) = today.terms(price).unwrap();
            price = split - dividend;
            prices.set_from(session.opens_at, TICKER, &cents(price));
        }
        let exchange = Exchange::with(prices).await;
        exchange.clock.set(days[0].0.opens_at - TimeDelta::hours(1));
        let sam = exchange.investor("sam", CASH).await;
        exchange.work().await;
        exchange.buy(sam, TICKER, "8").await.unwrap();
        exchange.corporate_actions().learn_corporate_actions().await.unwrap();
        let mut working = Vec::new();
        for (side, terms) in [(Side::Sell, "71999.99"), (Side::Buy, "18000.01")] {
            working.push(exchange.accepted(sam, gtc(side, TICKER, "1", limit(terms))).await);
        }
        let closes = vec![(before.date, BASE_CENTS, (1, 1))];
        let token = exchange.accounts().create_token(sam.user, "test", Scope::Read, None).await.unwrap().1;
        Self { exchange, sam, calendar, working, price: BASE_CENTS, shares: (1, 1), closes, token }
    }

    fn price(&self) -> String {
        cents(self.price)
    }

    /// Passes through the days, and lets every reader look at each stage.
    async fn live(&mut self, days: &[(Session, Day)]) {
        let prices = self.exchange.prices.clone();
        let mut late: Option<(Session, String)> = None;
        for (session, today) in days {
            let (_, dividend) = today.actions(session.date, self.price);
            let ((new, old), (split, without)) = (today.ratio(), today.terms(self.price).unwrap());
            self.shares = (self.shares.0 * new, self.shares.1 * old);
            self.price = if today.news_is_late { split } else { split - without };
            let label = format!("{} {today:?}", session.date);
            self.exchange.clock.set(session.opens_at + TimeDelta::minutes(1));
            if today.job_runs_first {
                self.exchange.work().await;
            }
            self.check(&format!("{label}, open")).await;
            if let Some(dividend) = dividend.filter(|_| today.news_is_late) {
                prices.announce(self.exchange.now(), dividend);
                self.exchange.clock.set(self.exchange.now() + TimeDelta::seconds(1));
                self.exchange.corporate_actions().learn_corporate_actions().await.unwrap();
                self.price -= without;
            }
            self.exchange.work().await;
            self.check(&format!("{label}, after the job")).await;

            if let Some((missing, close)) = late.take() {
                prices.set_close(TICKER, missing.date, &close);
            }
            if today.close_is_late {
                prices.set_as_of(TICKER, Some(self.newest_close(session.opens_at)));
                late = Some((*session, self.price()));
                self.closes.push((session.date, self.price, self.shares));
            } else {
                prices.set_as_of(TICKER, None);
                prices.set_close(TICKER, session.date, &self.price());
                self.closes.push((session.date, self.price, self.shares));
            }
            self.exchange.clock.set(match self.calendar {
                Calendar::Xnys => session.closes_at + TimeDelta::hours(3),
                // The next session begins immediately.
                Calendar::AroundTheClock => session.closes_at - TimeDelta::minutes(1),
            });
            self.check(&format!("{label}, closed")).await;
            self.exchange.work().await;
            self.check(&format!("{label}, after the snapshot")).await;
        }
        if let Some((missing, close)) = late {
            prices.set_as_of(TICKER, None);
            prices.set_close(TICKER, missing.date, &close);
        }
    }

    /// Delists the stock at the opening of the next session, and closes it out a session later.
    async fn end(&self, end: End) {
        if end == End::Listed {
            return;
        }
        let Self { exchange, sam, calendar, .. } = self;
        let last = self.closes.last().unwrap().0;
        let mut sessions = calendar.sessions(last + Days::new(1), day("2027-01-31"));
        let ends_on = sessions.next().unwrap();
        let last_traded_at = ends_on.opens_at - TimeDelta::microseconds(1);
        let gone = CorporateAction::new(symbol(TICKER), ends_on.date, CorporateActionKind::Delisting);
        exchange.prices.announce(exchange.now(), gone);
        exchange.corporate_actions().learn_corporate_actions().await.unwrap();
        for (session, is_closed_out) in [(ends_on, false), (sessions.next().unwrap(), true)] {
            exchange.clock.set(session.opens_at + TimeDelta::minutes(1));
            exchange.work().await;
            match calendar {
                Calendar::Xnys => {
                    exchange.prices.fail_for(TICKER, QuoteError::UnknownSymbol(symbol(TICKER)));
                }
                // The simulated market still knows its last prices.
                Calendar::AroundTheClock => exchange.prices.set_as_of(TICKER, Some(last_traded_at)),
            }
            let label = format!("{}, {end:?}", session.date);
            if is_closed_out {
                self.close_out(end).await;
            }
            self.check_values(&label).await;
            for id in &self.working {
                let order = exchange.look(*sam, *id).await;
                assert_eq!(order.status, OrderStatus::Canceled, "working order, {label}");
            }
            exchange.clock.set(session.closes_at + TimeDelta::hours(3));
            exchange.work().await;
            self.check_values(&format!("{label}, closed")).await;
        }
    }

    async fn close_out(&self, end: End) {
        let terms = match end {
            End::Listed | End::Delisted => return,
            End::ClosedOutForCash => CloseOutTerms::Cash { per_share: self.price().parse().unwrap() },
            End::ExchangedForShares => {
                let prices = &self.exchange.prices;
                prices.set("MSFT", &self.price());
                for session in self.calendar.sessions(day("2026-11-18"), day("2027-01-31")) {
                    prices.set_close("MSFT", session.date, &self.price());
                }
                CloseOutTerms::Exchange { into: symbol("MSFT"), ratio: "1:1".parse().unwrap(), cash: None }
            }
        };
        let by = DecisionAuthor { administrator: Administrator::operator("ada"), key: None };
        self.exchange
            .corporate_actions()
            .close_out(&symbol(TICKER), &terms, None, "Merged.", by)
            .await
            .unwrap();
        let holdings = self.exchange.books().valuation(self.sam.reference()).await.unwrap();
        let held = holdings.valuation.holdings.iter().any(|one| one.listing.symbol == symbol(TICKER));
        assert!(!held, "{end:?}");
    }

    fn newest_close(&self, at: Timestamp) -> Timestamp {
        self.calendar.last_closed(at).closes_at - TimeDelta::microseconds(1)
    }

    async fn check(&self, label: &str) {
        self.check_trading(label).await;
        self.check_values(label).await;
        self.check_stream(label).await;
    }

    async fn check_values(&self, label: &str) {
        let Self { exchange, sam, .. } = self;
        let (user, portfolio, ticker) = (sam.user, sam.portfolio, symbol(TICKER));
        let quote = exchange.stocks().quote(&ticker).await.unwrap();
        assert_eq!(quote.price, price(&self.price()), "quote, {label}");

        let valued = exchange.books().valuation(PortfolioRef::new(user, portfolio)).await.unwrap().valuation;
        self.assert_total(&valued.total_value, &format!("valuation, {label}"));
        self.assert_cents(valued.day_change.to_f64(), 0.0, &format!("day change, {label}"));
        let all = exchange.books().valuations(user).await.unwrap();
        self.assert_total(&all[0].valuation.total_value, &format!("valuations, {label}"));
        let composed = exchange.books().composition(PortfolioRef::new(user, portfolio)).await.unwrap();
        self.assert_total(&composed.total_value, &format!("composition, {label}"));
        let measured = exchange.measured(*sam, services::books::performance::Window::default()).await;
        let newest = measured.points.last().unwrap();
        self.assert_total(&newest.close.total_value, &format!("performance, {label}"));
        self.assert_cents(newest.twr * 1e6, 0.0, &format!("time-weighted return, {label}"));
        for row in exchange.rows(*sam).await {
            self.assert_total(&row.total_value, &format!("snapshot of {}, {label}", row.date));
        }

        // History is adjusted for splits but not for dividends.
        let bars = exchange.stocks().history(&ticker, HistoryRange::Month).await.unwrap();
        assert!(!bars.is_empty(), "{label}");
        for bar in bars {
            let before = self.closes.iter().rev().find(|(date, ..)| *date <= bar.date);
            let (_, close, (new, old)) = before.unwrap_or(&self.closes[0]);
            let expected = (close * new * self.shares.1) as f64 / (old * self.shares.0) as f64;
            self.assert_cents(bar.close.to_f64() * 100.0 / expected, 1.0, &format!("{bar:?}, {label}"));
        }
    }

    async fn check_trading(&self, label: &str) {
        let Self { exchange, sam, .. } = self;
        let (user, portfolio, ticker) = (sam.user, sam.portfolio, symbol(TICKER));
        let expected = self.price();
        let quote = exchange.stocks().quote(&ticker).await.unwrap();
        let previewed = exchange
            .trading()
            .preview_order(PortfolioRef::new(user, portfolio), order(Side::Buy, TICKER, shares("1")))
            .await;
        let placed = exchange.buy(*sam, TICKER, "1").await;
        let stock = exchange.instruments().stored_stock(&ticker).await.unwrap();
        let waits = exchange.corporate_actions().trading_hold(&stock).await.unwrap().is_some();
        if waits {
            let previewed = previewed.unwrap_or_else(|error| panic!("preview, {label}: {error}"));
            assert_eq!(previewed.quote.price, price(&expected), "preview, {label}");
            assert!(previewed.fill.is_none(), "{label}");
            let placed = placed.unwrap_or_else(|error| panic!("order, {label}: {error}")).order.order;
            assert_eq!(placed.status, OrderStatus::Accepted, "{label}");
            exchange.trading().match_orders().await.unwrap();
            assert_eq!(exchange.look(*sam, placed.id).await.status, OrderStatus::Accepted, "{label}");
            exchange
                .trading()
                .cancel_order(Trader::on_behalf_of(user).portfolio(portfolio), placed.id)
                .await
                .unwrap();
        } else if quote.stale {
            // The orders wait for the first price.
            assert_eq!(previewed.unwrap().order.status, OrderStatus::Accepted, "preview, {label}");
            let placed = placed.unwrap().order.order;
            assert_eq!(placed.status, OrderStatus::Accepted, "order, {label}");
            exchange
                .trading()
                .cancel_order(Trader::on_behalf_of(user).portfolio(portfolio), placed.id)
                .await
                .unwrap();
        } else {
            let previewed = previewed.unwrap_or_else(|error| panic!("preview, {label}: {error}"));
            assert_eq!(previewed.quote.price, price(&expected), "preview, {label}");
            let placed = placed.unwrap_or_else(|error| panic!("order, {label}: {error}")).order;
            match placed.order.status {
                OrderStatus::Filled => {
                    assert_eq!(placed.fills[0].price, Some(price(&expected)), "fill, {label}");
                }
                // A session has opened, and its first price has not come yet.
                status => {
                    assert_eq!(status, OrderStatus::Accepted, "order, {label}");
                    assert!(quote.as_of < exchange.market().opened_at(exchange.now()), "order, {label}");
                    exchange
                        .trading()
                        .cancel_order(Trader::on_behalf_of(user).portfolio(portfolio), placed.order.id)
                        .await
                        .unwrap();
                }
            }
        }

        exchange.trading().match_orders().await.unwrap();
        for id in &self.working {
            assert_eq!(
                exchange.look(*sam, *id).await.status,
                OrderStatus::Accepted,
                "working order, {label}"
            );
        }
    }

    async fn check_stream(&self, label: &str) {
        let wanted = StreamRequest {
            symbols: vec![symbol(TICKER)],
            portfolios: vec![self.sam.portfolio],
            ..StreamRequest::default()
        };
        self.exchange.live().tick_streams().await;
        let proof = Proof::token(&self.token);
        let mut stream = self.exchange.live().follow(self.sam.user, proof, wanted).await.unwrap();
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

async fn live_through(freshness: Freshness, calendar: Calendar, days: Vec<Day>, end: End) {
    let mut days = sessions(calendar, days);
    // Only a source of closing prices publishes a close late, and still has prices from before a dividend on its day.
    for (_, day) in &mut days {
        day.close_is_late &= freshness == Freshness::EndOfDay;
        day.news_is_late &= freshness == Freshness::EndOfDay;
    }
    let mut world = World::new(freshness, calendar, &days).await;
    world.live(&days).await;
    world.end(end).await;
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
            live_through(freshness, calendar, vec![Day::default(), ex_day, Day::default()], End::Listed)
                .await;
        }
    }
}

#[tokio::test]
async fn a_late_close_on_the_ex_day_changes_no_value() {
    for ratio in ["10:1", "1:10"] {
        let late = Day { split: Some(ratio), close_is_late: true, ..Day::default() };
        let days = vec![Day::default(), late, Day::default()];
        live_through(Freshness::EndOfDay, Calendar::Xnys, days, End::Listed).await;
    }
}

#[tokio::test]
async fn a_dividend_before_its_first_close_is_counted_once_by_every_reader() {
    for (freshness, calendar) in MARKETS {
        for news_is_late in [false, true] {
            let ex_day = Day { dividend: Some(2), news_is_late, close_is_late: true, ..Day::default() };
            let days = vec![Day::default(), ex_day, Day::default(), Day::default(), Day::default()];
            live_through(freshness, calendar, days, End::Listed).await;
        }
    }
}

#[tokio::test]
async fn a_delisting_and_a_close_out_change_no_value() {
    for (freshness, calendar) in MARKETS {
        for end in [End::Delisted, End::ClosedOutForCash, End::ExchangedForShares] {
            let ex_day = Day { dividend: Some(1), close_is_late: true, ..Day::default() };
            live_through(freshness, calendar, vec![Day::default(), ex_day], end).await;
        }
    }
}

fn any_day() -> impl Strategy<Value = Day> {
    let split = prop_oneof![
        3 => Just(None),
        2 => prop::sample::select(vec!["2:1", "10:1", "1:10", "3:2", "2:3", "1:2", "5:1", "1:5"]).prop_map(Some),
    ];
    let dividend = prop_oneof![3 => Just(None), 1 => Just(Some(1)), 1 => Just(Some(2))];
    (split, dividend, any::<[bool; 3]>()).prop_map(
        |(split, dividend, [news_is_late, close_is_late, job_runs_first])| Day {
            split,
            dividend,
            news_is_late,
            close_is_late,
            job_runs_first,
        },
    )
}

#[test]
fn random_actions_and_late_closes_leave_the_total_value_continuous() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() };
    let ends = [End::Listed, End::Delisted, End::ClosedOutForCash, End::ExchangedForShares];
    let histories =
        (0..MARKETS.len(), prop::collection::vec(any_day(), 3..6), prop::sample::select(ends.to_vec()));
    let keeps_prices_on_the_tick = |(_, days, _): &(usize, Vec<Day>, End)| {
        let mut price = BASE_CENTS;
        days.iter().all(|day| match day.terms(price) {
            Some((split, dividend)) => {
                price = split - dividend;
                (1_000..100_000_000).contains(&price)
            }
            None => false,
        })
    };
    let histories = histories.prop_filter("prices on the tick", keeps_prices_on_the_tick);
    TestRunner::new(config)
        .run(&histories, |(market, days, end)| {
            let (freshness, calendar) = MARKETS[market];
            runtime.block_on(live_through(freshness, calendar, days, end));
            Ok(())
        })
        .unwrap();
}
