//! The API for the market's clock and calendar. All users may read it.

use actix_web::HttpResponse;
use actix_web::web::Data;
use chrono::{Days, NaiveDate};
use domain::calendar::exchange_date;
use domain::{Calendar, Timestamp, TradingMode};
use serde::{Deserialize, Serialize};
use services::trading::schedule::{MarketClock, TradingDay};
use services::{FieldError, Fields};
use utoipa::{IntoParams, ToSchema};

use crate::AppState;
use crate::http::api::Items;
use crate::http::extract::CurrentUser;
use crate::http::input::Query;
use crate::http::problem::Problem;
use crate::openapi::enums;

/// The range of days for which the exchange's rules are known.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(1995, 1, 1).expect("a date");
const LAST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2199, 12, 31).expect("a date");
/// The maximum number of days in one response.
const MAX_DAYS: u64 = 366;
/// The default range: this many days after `from`.
const USUAL_DAYS: Days = Days::new(30);

/// The market's time, and when it opens and closes next.
#[derive(Serialize, ToSchema)]
pub struct MarketClockStatus {
    /// Market time, which quotes, orders, transactions and snapshots use.
    now: Timestamp,
    /// Whether a session is under way.
    is_open: bool,
    /// When the next session opens. A market that is always open begins a new session at midnight in New York.
    next_open: Timestamp,
    /// When the current session closes, or the next one if the market is closed.
    next_close: Timestamp,
    /// Seconds of market time per second of wall time; 1 for a normal clock.
    speed: f64,
    #[schema(value_type = enums::MarketCalendar)]
    calendar: &'static str,
    #[schema(value_type = enums::TradingMode)]
    trading_mode: &'static str,
}

fn calendar_name(calendar: Calendar) -> &'static str {
    match calendar {
        Calendar::AroundTheClock => "always_open",
        Calendar::Xnys => "xnys",
    }
}

impl From<MarketClock> for MarketClockStatus {
    fn from(clock: MarketClock) -> Self {
        Self {
            now: clock.now,
            is_open: clock.is_open,
            next_open: clock.next_open,
            next_close: clock.next_close,
            speed: clock.speed,
            calendar: calendar_name(clock.calendar),
            trading_mode: match clock.mode {
                TradingMode::Practice => "practice",
                TradingMode::Realistic => "realistic",
            },
        }
    }
}

/// Get the market's time and whether it is open.
///
/// With `trading_mode` `practice`, orders are also accepted while the market is closed and may fill at the last close.
/// With `realistic`, they wait for the next session.
#[utoipa::path(
    get, path = "/api/v1/market/clock", tag = "market", operation_id = "getMarketClock",
    responses((status = 200, description = "The market's clock", body = MarketClockStatus)),
)]
pub async fn clock(_: CurrentUser, state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(MarketClockStatus::from(state.services.trading().market_clock()))
}

/// Selects a range of days.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WantedDays {
    /// The first day in New York, from 1995 on. Default: today.
    #[param(value_type = Option<NaiveDate>)]
    from: Option<String>,
    /// The last day, at most 366 days after `from`. Default: 30 days after `from`.
    #[param(value_type = Option<NaiveDate>)]
    to: Option<String>,
}

/// A trading session.
#[derive(Serialize, ToSchema)]
pub struct MarketSession {
    /// The exchange's day.
    date: NaiveDate,
    opens_at: Timestamp,
    closes_at: Timestamp,
    /// Whether the session ends before the usual time, as on the day after Thanksgiving.
    closes_early: bool,
}

impl From<TradingDay> for MarketSession {
    fn from(TradingDay { session, closes_early }: TradingDay) -> Self {
        Self { date: session.date, opens_at: session.opens_at, closes_at: session.closes_at, closes_early }
    }
}

impl WantedDays {
    fn days(&self, today: NaiveDate) -> Result<(NaiveDate, NaiveDate), Problem> {
        let mut reader = Fields::default();
        let mut day = |field, text: Option<&str>| -> Option<NaiveDate> {
            let text = text?;
            // Checked by length, because chrono also accepts years of six digits and parts without leading zeros.
            let day: Option<NaiveDate> = (text.len() == 10).then(|| text.parse().ok()).flatten();
            match day.filter(|day| (FIRST_DAY..=LAST_DAY).contains(day)) {
                Some(day) => Some(day),
                None => {
                    reader.refuse(field, "write a day from 1995-01-01 to 2199-12-31, like 2026-11-20");
                    None
                }
            }
        };
        let (from, to) = (day("from", self.from.as_deref()), day("to", self.to.as_deref()));
        reader.finish(Some(()))?;
        let from = from.unwrap_or(today);
        let to = to.or_else(|| from.checked_add_days(USUAL_DAYS)).unwrap_or(from);
        let refused = |message: &str| Err(Problem::invalid(vec![FieldError::new("to", message)]));
        match to.signed_duration_since(from).num_days() {
            days if days < 0 => refused("must not be before from"),
            days if days.unsigned_abs() >= MAX_DAYS => {
                refused("is too far from `from`: 366 days can be listed at a time")
            }
            _ => Ok((from, to)),
        }
    }
}

/// List the trading sessions from one day to another.
///
/// Days without trading are left out. The market that is always open has a session on every day, from midnight to
/// midnight in New York.
#[utoipa::path(
    get, path = "/api/v1/market/calendar", tag = "market", operation_id = "getMarketCalendar",
    params(WantedDays),
    responses((status = 200, description = "The sessions, oldest first", body = Items<MarketSession>)),
)]
pub async fn calendar(
    _: CurrentUser,
    wanted: Query<WantedDays>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (from, to) = wanted.days(exchange_date(state.services.market().now()))?;
    let sessions = state.services.trading().trading_days(from, to);
    Ok(HttpResponse::Ok().json(Items::all(sessions.into_iter().map(MarketSession::from).collect())))
}
