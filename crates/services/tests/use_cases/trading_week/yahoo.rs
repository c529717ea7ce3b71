//! The trading weeks with Yahoo without its bulk endpoint: each price needs one call.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use domain::calendar::exchange_date;
use domain::{Calendar, Timestamp, TradingMode};
use market_data::{Rules, Yahoo, YahooConfig};
use serde_json::{Map, Value, json};
use services::{Clock, Market, Services};
use wiremock::{MockServer, Request, Respond, ResponseTemplate};

use super::{Asked, CRASH, DIVIDEND, Provider, SPLIT, USERS, Week, close_in_cents, number};
use crate::harness::{Exchange, day};

/// The most calls to Yahoo per day, of which jobs have a part.
const A_DAY: usize = 2000;
const SCHEDULED: u32 = 600;
/// The delay of published prices.
const LATE: TimeDelta = TimeDelta::minutes(15);

/// The price of a stock within a session: it moves in equal steps from the last close to the next, with small
/// fluctuations. The stock that loses half of its value falls overnight.
pub(super) fn price_in_cents(stock: usize, at: Timestamp) -> u64 {
    let Some(session) = Calendar::Xnys.session_at(at) else {
        return close_in_cents(stock, Calendar::Xnys.last_closed(at).date);
    };
    let close = close_in_cents(stock, session.date);
    let mut before = close_in_cents(stock, Calendar::Xnys.before(session.date).date);
    if (stock, session.date) == (SPLIT.0, day(SPLIT.1)) {
        before /= 2;
    }
    if (stock, session.date) == (CRASH.0, day(CRASH.1)) {
        before = close;
    }
    let (passed, all) =
        ((at - session.opens_at).num_minutes(), (session.closes_at - session.opens_at).num_minutes());
    let (passed, all) = (passed.unsigned_abs(), all.unsigned_abs());
    let even = (before * (all - passed) + close * passed) / all;
    let wobble = (stock as u64 * 31 + passed * 17) % 21;
    even * (9_990 + wobble) / 10_000
}

#[derive(Clone)]
struct StandIn {
    clock: Clock,
    asked: Arc<Mutex<Asked>>,
}

pub(super) fn stand_in(clock: Clock, asked: Arc<Mutex<Asked>>) -> impl Respond + 'static {
    StandIn { clock, asked }
}

/// The time of the newest published price, rounded to the minute.
fn newest(now: Timestamp) -> Timestamp {
    let late = now - LATE;
    match Calendar::Xnys.session_at(late) {
        Some(session) => session.opens_at + TimeDelta::minutes((late - session.opens_at).num_minutes()),
        None => Calendar::Xnys.last_closed(late).closes_at,
    }
}

fn dollars(cents: u64) -> f64 {
    f64::from(u32::try_from(cents).unwrap()) / 100.0
}

/// A price in today's shares, as Yahoo reports past prices.
fn told(stock: usize, cents: u64, of: Timestamp, now: Timestamp) -> f64 {
    let split = Calendar::Xnys.session(day(SPLIT.1)).unwrap().opens_at;
    dollars(cents) / if stock == SPLIT.0 && of < split && split <= now { 2.0 } else { 1.0 }
}

fn events(stock: usize, now: Timestamp) -> Value {
    let (mut splits, mut dividends) = (Map::new(), Map::new());
    let opening = |on: &str| Calendar::Xnys.session(day(on)).unwrap().opens_at;
    let (split, ex) = (opening(SPLIT.1), opening(DIVIDEND.1));
    if stock == SPLIT.0 && split <= now {
        let at = split.utc().timestamp();
        let event = json!({"date": at, "numerator": 2.0, "denominator": 1.0, "splitRatio": "2:1"});
        splits.insert(at.to_string(), event);
    }
    if stock == DIVIDEND.0 && ex <= now {
        let at = ex.utc().timestamp();
        dividends.insert(at.to_string(), json!({"date": at, "amount": DIVIDEND.2.parse::<f64>().unwrap()}));
    }
    json!({ "splits": splits, "dividends": dividends })
}

impl StandIn {
    fn chart(&self, of: &str, is_one_day: bool) -> Value {
        let (now, stock) = (self.clock.now(), number(of));
        let newest = newest(now);
        let price = |cents: u64, at: Timestamp| told(stock, cents, at, now);
        let first = if is_one_day { exchange_date(newest) } else { day("2026-11-30") };
        let sessions: Vec<_> = Calendar::Xnys
            .sessions(first, exchange_date(newest))
            .filter(|session| session.closes_at + TimeDelta::minutes(20) <= now)
            .collect();
        let closes: Vec<f64> = sessions
            .iter()
            .map(|session| price(close_in_cents(stock, session.date), session.opens_at))
            .collect();
        let starts: Vec<i64> = sessions.iter().map(|session| session.opens_at.utc().timestamp()).collect();
        let before = Calendar::Xnys.before(first);
        json!({ "chart": { "result": [{
            "meta": {
                "currency": "USD", "symbol": of, "fullExchangeName": "NYSE", "exchangeName": "NYQ",
                "instrumentType": "EQUITY", "exchangeTimezoneName": "America/New_York",
                "longName": format!("Number {stock} Corporation"),
                "regularMarketTime": newest.utc().timestamp(),
                "regularMarketPrice": price(price_in_cents(stock, newest), newest),
                "chartPreviousClose": price(close_in_cents(stock, before.date), before.opens_at),
                "dataGranularity": "1d", "range": if is_one_day { "1d" } else { "" },
            },
            "timestamp": starts,
            "indicators": { "quote": [{
                "open": closes, "high": closes, "low": closes, "close": closes, "volume": vec![1000; closes.len()],
            }] },
            "events": events(stock, now),
        }], "error": null } })
    }
}

impl Respond for StandIn {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let path = request.url.path().to_owned();
        let mut asked = self.asked.lock().unwrap();
        asked.calls.entry(exchange_date(self.clock.now())).or_default().push(path.clone());
        drop(asked);
        let Some(of) = path.strip_prefix("/v8/finance/chart/") else {
            // There are no cookies, crumbs or bulk quotes.
            return ResponseTemplate::new(401).set_body_string("Unauthorized");
        };
        let is_one_day = request.url.query_pairs().any(|(key, value)| key == "range" && value == "1d");
        ResponseTemplate::new(200).set_body_json(self.chart(of, is_one_day))
    }
}

pub(super) fn process(exchange: &Exchange, server: &MockServer, has_limits: bool) -> Services {
    let rules = Rules { min_gap: TimeDelta::zero(), ..Rules::YAHOO };
    let rules = match has_limits {
        true => rules,
        false => Rules { per_minute: None, per_day: None, first_sights_per_user: None, ..rules },
    };
    exchange.process_on_market(|store, clock| {
        let now = clock.clone();
        let source = Yahoo::new(YahooConfig {
            base_url: server.uri().parse().unwrap(),
            cookie_url: format!("{}/cookie", server.uri()).parse().unwrap(),
            min_gap: Duration::ZERO,
            now: Arc::new(move || now.wall().utc()),
        });
        Market::limited(Arc::new(source.unwrap()), rules, store, clock)
    })
}

async fn week_of(mode: TradingMode) -> Week {
    let week = Week::lived(Provider::Yahoo, mode).await;
    for (date, calls) in &week.asked.lock().unwrap().calls {
        assert!(calls.len() <= A_DAY, "{date}: {}", calls.len());
    }
    // The calls last for the session and are used in it: at 15:30, some are left for the last half hour, and for the
    // closes and the news of thirty stocks.
    assert_eq!(week.used_by_close.len(), 5);
    for (date, used) in &week.used_by_close {
        assert!((SCHEDULED / 2..=SCHEDULED - 2 * 30).contains(used), "{date}: {:?}", week.used_by_close);
    }
    // All closes are stored in the evening, so that every session's rows are final when the next session opens.
    for session in Calendar::Xnys.sessions(day("2026-12-07"), day("2026-12-11")) {
        let next =
            Calendar::Xnys.sessions(session.date.succ_opt().unwrap(), day("2026-12-20")).next().unwrap();
        let final_at = week.final_at.get(&session.date);
        assert!(final_at.is_some_and(|at| *at <= next.opens_at), "{}: final {final_at:?}", session.date);
    }
    week
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_stocks_on_yahoo_with_trading_at_any_time() {
    let week = week_of(TradingMode::Practice).await;
    let unfilled = week.assert_fills_are_allowed().await;
    assert!(unfilled <= USERS, "{unfilled}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_stocks_on_yahoo_with_trading_by_the_hours_of_the_exchange() {
    let week = week_of(TradingMode::Realistic).await;
    let unfilled = week.assert_fills_are_allowed().await;
    assert!(unfilled <= USERS, "{unfilled}");
}
