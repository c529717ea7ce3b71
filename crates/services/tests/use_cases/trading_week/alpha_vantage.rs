//! The trading weeks with a free key of Alpha Vantage. The stand-in counts the calls as the provider would.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{NaiveDate, TimeDelta, Timelike};
use domain::calendar::exchange_date;
use domain::{Calendar, Side, Timestamp, TradingMode};
use market_data::{AlphaVantage, AlphaVantageConfig, Rules};
use serde_json::{Map, Value, json};
use services::{Clock, Error, Market, Services};
use wiremock::{MockServer, Request, Respond, ResponseTemplate};

use super::{
    Asked, BEGIN, DIVIDEND, EACH, END, Provider, SPLIT, STEP, STOCKS, USERS, Week, close, in_new_york,
    number, ticker,
};
use crate::harness::{Exchange, day, moment, order, shares, symbol};

/// The calls per day of a free key.
const A_DAY: usize = 25;

pub(super) fn stand_in(clock: Clock, asked: Arc<Mutex<Asked>>) -> impl Respond + 'static {
    StandIn { clock, asked }
}

#[derive(Clone)]
struct StandIn {
    clock: Clock,
    asked: Arc<Mutex<Asked>>,
}

/// The session of the newest published close: a close is published two and a half hours after it.
fn newest_told(now: Timestamp) -> NaiveDate {
    Calendar::Xnys.last_closed(now - TimeDelta::minutes(150)).date
}

impl Respond for StandIn {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let now = self.clock.wall();
        let parameter = |name: &str| {
            let found = request.url.query_pairs().find(|(key, _)| key == name);
            found.map_or_else(String::new, |(_, value)| value.into_owned())
        };
        let (function, of) = (parameter("function"), parameter("symbol"));
        let ok = |body: Value| ResponseTemplate::new(200).set_body_json(body);
        let mut asked = self.asked.lock().unwrap();
        let today = asked.calls.entry(exchange_date(now)).or_default();
        today.push(format!("{function} {of}").trim().to_owned());
        if now >= moment(BEGIN) && today.len() > A_DAY {
            asked.refused += 1;
            return ok(
                json!({"Information": "We have detected your API key and our standard API rate limit is 25 requests per day."}),
            );
        }
        match function.as_str() {
            "TIME_SERIES_DAILY" => {
                let last = newest_told(now);
                let mut days = Map::new();
                for session in Calendar::Xnys.sessions(day("2026-11-30"), last) {
                    let close = close(number(&of), session.date);
                    let bar = json!({"1. open": close, "2. high": close, "3. low": close, "4. close": close, "5. volume": "1000"});
                    days.insert(session.date.to_string(), bar);
                }
                ok(json!({ "Meta Data": { "2. Symbol": of }, "Time Series (Daily)": days }))
            }
            "LISTING_STATUS" => {
                let rows: String = (0..STOCKS)
                    .map(|n| {
                        format!("{},Number {n} Corporation,NYSE,Stock,2000-01-03,null,Active\r\n", ticker(n))
                    })
                    .collect();
                let head = "symbol,name,exchange,assetType,ipoDate,delistingDate,status\r\n";
                ResponseTemplate::new(200).set_body_string(format!("{head}{rows}"))
            }
            "OVERVIEW" => {
                ok(json!({"Symbol": of, "AssetType": "Common Stock", "Name": format!("{of} Corporation"),
                "Exchange": "NYSE", "Currency": "USD", "Country": "USA", "Sector": "TECHNOLOGY"}))
            }
            "SPLITS" if of == ticker(SPLIT.0) => ok(json!({"symbol": of, "data": [
                {"effective_date": SPLIT.1, "split_factor": "2.0000"}]})),
            "DIVIDENDS" if of == ticker(DIVIDEND.0) => ok(json!({"symbol": of, "data": [
                {"ex_dividend_date": DIVIDEND.1, "declaration_date": "2026-11-02", "record_date": DIVIDEND.1,
                 "payment_date": "2026-12-28", "amount": DIVIDEND.2}]})),
            "SPLITS" | "DIVIDENDS" => ok(json!({"symbol": of, "data": []})),
            _ => ok(json!({})),
        }
    }
}

/// The limits of the key, without the minimum gap: the clock stands still between two steps.
fn free_key() -> Rules {
    Rules { min_gap: TimeDelta::zero(), ..Rules::ALPHA_VANTAGE_FREE }
}

pub(super) fn process(exchange: &Exchange, server: &MockServer, has_limits: bool) -> Services {
    let rules = match has_limits {
        true => free_key(),
        false => Rules { per_minute: None, per_day: None, first_sights_per_user: None, ..free_key() },
    };
    exchange.process_on_market(|store, clock| {
        let now = clock.clone();
        let source = AlphaVantage::new(AlphaVantageConfig {
            api_key: "TESTKEY0000".to_owned().into(),
            base_url: server.uri().parse().unwrap(),
            min_gap: Duration::ZERO,
            now: Arc::new(move || now.wall().utc()),
        });
        Market::limited(Arc::new(source.unwrap()), rules, store, clock)
    })
}

impl Week {
    /// Asserts that the calls of a day are within the limit of the key, and that few of them are wasted.
    fn assert_calls_are_well_used(&self) {
        let asked = self.asked.lock().unwrap();
        assert_eq!(asked.refused, 0, "the provider refused none");
        let week = asked.calls.range(day("2026-12-07")..=day("2026-12-13"));
        let series = week.flat_map(|(_, calls)| calls).filter(|call| call.starts_with("TIME_SERIES"));
        let gained = self.had_close.keys().filter(|(_, session)| *session >= day("2026-12-07")).count();
        // One answer may bring two closes, but an answer that brings none is rare: three per evening, before the closes
        // are published.
        assert!(series.count() <= gained + 15, "{gained} closes: {:?}", asked.calls);
    }

    /// Asserts that at least twenty of the thirty closes of a session are there when the next one opens. They come from
    /// the fifteen calls of the jobs after six in the morning, and at night from the calls that users have left of
    /// their ten, which is five here. With 25 calls per day, less those for news and profiles, each stock is requested
    /// at least every second day, and two days without a session are enough to catch up completely.
    fn assert_closes_come_in_time(&self) {
        for session in Calendar::Xnys.sessions(day("2026-12-07"), day("2026-12-11")) {
            let later = session.date.succ_opt().unwrap();
            let next: Vec<_> = Calendar::Xnys.sessions(later, day("2026-12-20")).take(2).collect();
            let there = |by: Timestamp| {
                (0..STOCKS)
                    .filter(|n| self.had_close.get(&(*n, session.date)).is_some_and(|at| *at <= by))
                    .count()
            };
            let friday = session.date == day("2026-12-11");
            let expected = if friday { STOCKS } else { 20 };
            assert!(there(next[0].opens_at) >= expected, "{}: {}", session.date, there(next[0].opens_at));
            assert!(
                friday || there(next[1].opens_at) == STOCKS,
                "{}: {}",
                session.date,
                there(next[1].opens_at)
            );
            let by = if friday { next[0].opens_at } else { next[1].opens_at };
            let final_at = self.final_at.get(&session.date);
            assert!(final_at.is_some_and(|at| *at <= by), "{}: final {final_at:?}", session.date);
        }
    }
}

async fn week_of(mode: TradingMode) -> Week {
    let week = Week::lived(Provider::AlphaVantage, mode).await;
    week.assert_calls_are_well_used();
    week.assert_closes_come_in_time();
    week
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_installation_gets_thirty_stocks_within_a_week() {
    let week = Week::new_installation(Provider::AlphaVantage, TradingMode::Practice).await;
    let mut held = BTreeMap::new();
    let mut at = moment(BEGIN);
    while at <= moment(END) {
        if week.exchange.now() < at {
            week.exchange.clock.set(at);
        }
        let local = in_new_york(at);
        // All users look for missing prices, once per hour while they are awake.
        if (9..22).contains(&local.hour()) && local.minute() == 0 {
            for (user, who) in week.users.iter().enumerate() {
                for n in user * EACH..(user + 1) * EACH {
                    let ten = order(Side::Buy, &ticker(n), shares("10"));
                    let has = week.exchange.journal(*who).await;
                    let stock = week.process.instruments().stored_stock(&symbol(&ticker(n))).await;
                    if stock.is_ok_and(|stock| has.iter().any(|entry| entry.stock_id == Some(stock.id))) {
                        continue;
                    }
                    let refused = week.process.trading().place_order(who.control(), ten).await.err();
                    let is_told = |error: &Error| {
                        matches!(error, Error::NoPrice { retry_at: Some(_), .. } | Error::CallsUsedUp { .. })
                    };
                    assert!(refused.as_ref().is_none_or(is_told), "{refused:?}");
                }
            }
        }
        week.work().await;
        held.insert(local.date(), week.held().await);
        at = at + STEP;
    }
    for (date, least) in [("2026-12-07", 10), ("2026-12-08", 18), ("2026-12-10", STOCKS)] {
        assert!(held[&day(date)] >= least, "{date}: {held:?}");
    }
    assert_eq!(week.asked.lock().unwrap().refused, 0);
    week.exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_stocks_and_a_free_key_with_trading_at_any_time() {
    let week = week_of(TradingMode::Practice).await;
    // Nearly all orders fill immediately at the newest close; the others wait for a close that is due.
    let unfilled = week.assert_fills_are_allowed().await;
    assert!(unfilled <= USERS, "{unfilled}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_stocks_and_a_free_key_with_trading_by_the_hours_of_the_exchange() {
    let week = week_of(TradingMode::Realistic).await;
    // Five stocks per session are ordered at the market at 10:00 and at 22:00, and ten stocks wait for their turn.
    let unfilled = week.assert_fills_are_allowed().await;
    assert!(unfilled <= 30, "{unfilled}");
}
