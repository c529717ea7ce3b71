//! The API for administrators: the price sources, with their limits and call intervals.

use actix_web::HttpResponse;
use actix_web::web::Data;
use domain::Timestamp;
use serde::Serialize;
use services::stocks::providers::{LimitsState, ProviderState};
use utoipa::ToSchema;

use crate::AppState;
use crate::http::api::Items;
use crate::http::extract::AdminUser;
use crate::http::problem::Problem;
use crate::openapi::enums;

/// The price source and its state.
#[derive(Serialize, ToSchema)]
pub struct Provider {
    /// `simulated/sim-v2`, `alpha_vantage`, `yahoo`
    source: String,
    #[schema(value_type = enums::Freshness)]
    freshness: &'static str,
    /// The number of stocks that users hold, watch or have open orders in.
    stocks_in_use: usize,
    /// How many days it takes until each of these stocks has a new close; null if it is one day.
    days_for_all: Option<usize>,
    /// The features that the key is configured for, and those that the provider refuses; empty for a free key and for
    /// other sources.
    key_features: Vec<ProviderFeature>,
    /// How often prices are updated in a session; null if calls are not counted, and for a source with one price per
    /// session.
    price_intervals: Option<PriceIntervals>,
    /// Null for the built-in market, which has no limits.
    limits: Option<ProviderLimits>,
    /// The table that searches use; null before it is fetched, and for sources without one.
    listings: Option<ListingsTable>,
}

/// A feature that a provider grants only to some keys.
#[derive(Serialize, ToSchema)]
pub struct ProviderFeature {
    /// `delayed_prices`, `realtime_prices`, `bulk_quotes` or `full_history`
    name: &'static str,
    /// Until when the refused feature is not tried again. Closes, single quotes or the last 100 sessions are used
    /// instead.
    refused_until: Option<Timestamp>,
}

impl From<&services::stocks::key_features::KeyFeatureState> for ProviderFeature {
    fn from(state: &services::stocks::key_features::KeyFeatureState) -> Self {
        Self { name: state.name, refused_until: state.refused_until }
    }
}

/// How often the jobs fetch prices in a session. The remaining scheduled calls are spread over the remaining time.
#[derive(Serialize, ToSchema)]
pub struct PriceIntervals {
    /// Calls for prices, on average.
    calls_per_minute: f64,
    /// Calls that are left for the prices of the session, or of the next session while the market is closed; null if
    /// there is no daily limit.
    calls_left: Option<u32>,
    /// Calls of the day that are reserved for closes and corporate actions.
    calls_kept: u32,
    /// Whether updates are slower than every 5 minutes for stocks with open orders, or every 20 minutes for others.
    is_slow: bool,
    /// Stocks with open orders. They are matched with these prices, and with prices that were fetched for pages.
    ordered: PriceInterval,
    /// Other stocks that are held.
    held: PriceInterval,
    /// Other stocks that are on watchlists, or were held.
    watched: PriceInterval,
}

#[derive(Serialize, ToSchema)]
pub struct PriceInterval {
    stocks: usize,
    /// Minutes between two prices of a stock, rounded up; null if no calls are left for it.
    minutes: Option<u32>,
}

impl From<&services::stocks::price_pace::PriceIntervals> for PriceIntervals {
    fn from(intervals: &services::stocks::price_pace::PriceIntervals) -> Self {
        let group = |group: services::stocks::price_pace::PriceInterval| PriceInterval {
            stocks: group.stocks,
            minutes: group.minutes,
        };
        Self {
            calls_per_minute: intervals.calls_per_minute,
            calls_left: intervals.calls_left,
            calls_kept: intervals.calls_kept,
            is_slow: intervals.is_slow(),
            ordered: group(intervals.ordered),
            held: group(intervals.held),
            watched: group(intervals.watched),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct ProviderLimits {
    /// The day in New York for which the calls are counted.
    day: chrono::NaiveDate,
    calls_used: u32,
    /// Null if there is no daily limit.
    calls_left: Option<u32>,
    pots: Vec<CallPot>,
    /// `closed` (calls are sent), `open` (no calls are sent) or `half_open` (one call is sent, to test whether the
    /// provider works again)
    #[schema(value_type = enums::CircuitBreaker)]
    breaker: &'static str,
    /// Until when no call is sent.
    parked_until: Option<Timestamp>,
    last_answered_at: Option<Timestamp>,
    last_failed_at: Option<Timestamp>,
    last_error: Option<String>,
}

/// The calls of a day are divided by purpose, so that one purpose cannot use up the calls of another.
#[derive(Serialize, ToSchema)]
pub struct CallPot {
    /// `scheduled`, `first_sight` or `reserve`
    name: &'static str,
    used: u32,
    limit: u32,
}

#[derive(Serialize, ToSchema)]
pub struct ListingsTable {
    count: i64,
    refreshed_at: Timestamp,
}

impl From<ProviderState> for Provider {
    fn from(state: ProviderState) -> Self {
        Self {
            days_for_all: state.days_for_all(),
            source: state.source.to_string(),
            freshness: state.freshness.as_str(),
            stocks_in_use: state.stocks_in_use,
            key_features: state.features.iter().map(ProviderFeature::from).collect(),
            price_intervals: state.intervals.as_ref().map(PriceIntervals::from),
            limits: state.limits.map(ProviderLimits::from),
            listings: state.listings.map(|(refreshed_at, count)| ListingsTable { count, refreshed_at }),
        }
    }
}

impl From<LimitsState> for ProviderLimits {
    fn from(state: LimitsState) -> Self {
        let pot = |pot: &services::stocks::providers::PotState| CallPot {
            name: pot.name,
            used: pot.used,
            limit: pot.limit,
        };
        Self {
            day: state.day,
            calls_used: state.used(),
            calls_left: state.left(),
            pots: state.pots.iter().map(pot).collect(),
            breaker: state.breaker.as_str(),
            parked_until: state.parked_until,
            last_answered_at: state.last_answered_at,
            last_failed_at: state.last_failed_at,
            last_error: state.last_error,
        }
    }
}

/// Get the state of the price source.
///
/// Calls used and left today, pauses, and the last error.
#[utoipa::path(
    get, path = "/api/v1/admin/providers", tag = "admin", operation_id = "adminListProviders",
    responses((status = 200, description = "The price sources", body = Items<Provider>)),
)]
pub async fn providers(_: AdminUser, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let provider = Provider::from(state.services.stocks().provider_state().await?);
    Ok(HttpResponse::Ok().json(Items::all(vec![provider])))
}
