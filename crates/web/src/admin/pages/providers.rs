//! The price source, and prices that wait for confirmation.

use actix_web::web::Data;
use domain::plausibility::Doubt;
use domain::{Symbol, Timestamp};
use serde::{Deserialize, Serialize};
use services::Error;
use services::stocks::providers::{Breaker, PotState, ProviderState};
use services::stocks::unconfirmed_prices::UnconfirmedQuote;

use super::super::key_features::FeatureRow;
use super::{Tab, show, tabs};
use crate::AppState;
use crate::http::extract::{Admin, AdminForm};
use crate::http::problem::Problem;
use crate::shell::badge::{Badge, source_name};
use crate::shell::format;
use crate::shell::format::Moment;
use crate::shell::links::Choice;
use crate::shell::render::{PageResult, Shell};
use crate::stocks::price_pace::PaceView;

#[derive(Serialize)]
struct ProvidersView {
    tabs: Vec<Choice>,
    pub(super) source: String,
    badge: Badge,
    /// Whether the source is a provider with a limit on calls.
    limited: bool,
    state: Badge,
    parked_until: Option<Moment>,
    day: String,
    used: String,
    left: String,
    pots: Vec<PotRow>,
    last_answer: Option<Moment>,
    last_failure: Option<Moment>,
    last_error: String,
    listings: String,
    listings_of: Option<Moment>,
    in_use: String,
    days_for_all: String,
    pace: Option<PaceView>,
    features: Vec<FeatureRow>,
    unconfirmed: Vec<WaitingRow>,
}

/// A price that is not confirmed.
#[derive(Serialize)]
struct WaitingRow {
    pub(super) symbol: String,
    pub(super) price: String,
    pub(super) as_of: Moment,
    accepted: String,
    why: &'static str,
    seen: Moment,
}

impl From<UnconfirmedQuote> for WaitingRow {
    fn from(waiting: UnconfirmedQuote) -> Self {
        Self {
            symbol: waiting.symbol.to_string(),
            price: waiting.price.price.to_string(),
            as_of: format::day_and_minute(waiting.price.as_of),
            accepted: waiting.price.accepted.to_string(),
            why: match waiting.price.doubt {
                Doubt::UnitSlip => "Off by about a power of ten, for example cents instead of dollars",
                Doubt::LargeMove => "Moved more than 40 %",
                Doubt::SplitNotBooked => "Matches a split that is not booked yet",
                Doubt::PossibleSplit => "Possibly after a split that was not announced",
            },
            seen: format::day_and_minute(waiting.price.first_seen_at),
        }
    }
}

#[derive(Serialize)]
struct PotRow {
    label: &'static str,
    meant_for: &'static str,
    used: String,
    limit: String,
    left: String,
}

impl ProvidersView {
    pub(super) fn new(state: &ProviderState, unconfirmed: Vec<UnconfirmedQuote>) -> Self {
        let limits = state.limits.as_ref();
        let known = |at: Option<Timestamp>| at.map(format::day_and_minute);
        let (tone, text) = match limits.map(|limits| limits.breaker) {
            None | Some(Breaker::Closed) => ("live", "Asked"),
            Some(Breaker::HalfOpen) => ("stale", "Testing recovery"),
            Some(Breaker::Open) => ("stale", "Paused after errors"),
        };
        let pot = |pot: &PotState| {
            let (label, meant_for) = match pot.name {
                "scheduled" => {
                    ("Scheduled", "jobs: prices of stocks that are held, watched or have open orders")
                }
                "first_sight" => ("First sight", "symbols that are new to this installation"),
                _ => ("Reserve", "requests of users"),
            };
            PotRow {
                label,
                meant_for,
                used: format::count(pot.used),
                limit: format::count(pot.limit),
                left: format::count(pot.limit.saturating_sub(pot.used)),
            }
        };
        Self {
            tabs: tabs(Tab::Providers),
            source: format::capitalized(&source_name(state.source.as_str())),
            badge: Badge::for_freshness(state.freshness),
            limited: limits.is_some(),
            state: Badge { tone, text: text.to_owned() },
            parked_until: known(limits.and_then(|limits| limits.parked_until)),
            day: limits.map_or_else(String::new, |limits| format::date(limits.day)),
            used: limits.map_or_else(String::new, |limits| format::count(limits.used())),
            left: limits
                .and_then(|limits| limits.left())
                .map_or_else(|| "no limit".to_owned(), format::count),
            pots: limits.map_or_else(Vec::new, |limits| limits.pots.iter().map(pot).collect()),
            last_answer: known(limits.and_then(|limits| limits.last_answered_at)),
            last_failure: known(limits.and_then(|limits| limits.last_failed_at)),
            last_error: limits
                .and_then(|limits| limits.last_error.as_deref())
                .map_or_else(String::new, format::sentence),
            listings: state.listings.map_or_else(String::new, |(_, count)| format::count(count)),
            listings_of: known(state.listings.map(|(at, _)| at)),
            in_use: format::plural(state.stocks_in_use, "stock", "stocks"),
            days_for_all: state.days_for_all().map_or_else(String::new, |days| days.to_string()),
            pace: state.intervals.as_ref().map(PaceView::from),
            features: state.features.iter().map(FeatureRow::from).collect(),
            unconfirmed: unconfirmed.into_iter().map(WaitingRow::from).collect(),
        }
    }
}

pub async fn providers(shell: Shell, _: Admin, state: Data<AppState>) -> PageResult {
    let unconfirmed = state.services.stocks().unconfirmed_prices().await?;
    let view = ProvidersView::new(&state.services.stocks().provider_state().await?, unconfirmed);
    show(shell, "admin/providers.html", "prices", &view)
}

#[derive(Deserialize)]
pub struct Confirmed {
    pub(super) symbol: String,
    reason: String,
}

pub async fn confirm_price(
    shell: Shell,
    Admin(admin): Admin,
    state: Data<AppState>,
    AdminForm(posted): AdminForm<Confirmed>,
) -> PageResult {
    let symbol: Symbol = posted.symbol.parse().map_err(|_| Problem::not_found())?;
    let page = "/admin/providers";
    match state.services.stocks().confirm_price(&admin, &symbol, &posted.reason).await {
        Ok(Some(confirmed)) => {
            let text = format!("Confirmed {} as the price of {symbol}.", confirmed.price.price);
            Ok(shell.redirect_with_success(page, text).await)
        }
        Ok(None) => Ok(shell
            .redirect_with_error(page, format!("No price of {symbol} is waiting for confirmation."))
            .await),
        Err(Error::Invalid(errors)) => {
            let text = errors.first().map_or("Enter a reason.", |error| error.message.as_str());
            Ok(shell.redirect_with_error(page, text).await)
        }
        Err(error) => Err(error.into()),
    }
}
