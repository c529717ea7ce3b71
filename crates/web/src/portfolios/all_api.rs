//! All portfolios of a user together.

use actix_web::HttpResponse;
use actix_web::web::Data;
use chrono::NaiveDate;
use domain::{Money, Timestamp};
use serde::Serialize;
use services::books::overview::{Overview, PortfolioResult};
use utoipa::ToSchema;

use super::valuation_api::{CashWeight, SectorWeight, StockWeight};
use crate::AppState;
use crate::http::extract::CurrentUser;
use crate::http::problem::Problem;

/// One portfolio in the overview of all.
#[derive(Serialize, ToSchema)]
pub struct PortfolioShare {
    id: i64,
    name: String,
    total_value: Money,
    /// Share of the total value of all portfolios: a ratio.
    weight: f64,
    /// Gain since the previous close, without deposits and withdrawals.
    day_change: Money,
    /// A ratio; null without a value to compute it from.
    day_change_ratio: Option<f64>,
    /// The sum of all deposits. Withdrawals are not subtracted.
    deposits: Money,
    /// Realized and unrealized gains, and dividends.
    total_gain: Money,
    /// `total_gain` as a share of `deposits`; null without deposits.
    total_gain_ratio: Option<f64>,
}

/// All portfolios that are not archived, taken as one. Ratios are fractions: 0.05 is 5 %.
#[derive(Serialize, ToSchema)]
pub struct PortfoliosOverview {
    total_value: Money,
    /// Gain since the previous close, without deposits and withdrawals.
    day_change: Money,
    /// Null without a value to compute it from.
    day_change_ratio: Option<f64>,
    /// The sum of all deposits. Withdrawals are not subtracted.
    deposits: Money,
    /// Realized and unrealized gains, and dividends.
    total_gain: Money,
    /// `total_gain` as a share of `deposits`; null without deposits.
    total_gain_ratio: Option<f64>,
    /// Time-weighted return of all portfolios as one. The growths of all days are multiplied, less 1; a day's growth is
    /// the total value at its close plus withdrawals, divided by the total value at the close before plus deposits.
    /// Null when nothing was ever invested.
    twr: Option<f64>,
    /// The first day of `twr`: the day of the first deposit in any of the portfolios. Null without `twr`.
    twr_since: Option<NaiveDate>,
    /// In the order in which they were opened.
    portfolios: Vec<PortfolioShare>,
    cash: CashWeight,
    /// Dividends from their ex-date until their payment.
    dividends_receivable: CashWeight,
    /// Largest first. A stock in several portfolios is one item.
    stocks: Vec<StockWeight>,
    /// Largest first; `Other` where the sector is not known.
    sectors: Vec<SectorWeight>,
    /// The market time of the valuation.
    valued_at: Timestamp,
}

fn share(total: &Money, result: &PortfolioResult) -> PortfolioShare {
    let (portfolio, valuation) = (&result.valued.portfolio, &result.valued.valuation);
    let value = &valuation.total_value;
    PortfolioShare {
        id: portfolio.id.0,
        name: portfolio.name.clone(),
        weight: if total.is_zero() { 0.0 } else { value.to_f64() / total.to_f64() },
        total_value: value.clone(),
        day_change: valuation.day_change.clone(),
        day_change_ratio: valuation.day_change_ratio(),
        deposits: result.deposits.clone(),
        total_gain: valuation.total_gain(),
        total_gain_ratio: result.gain_ratio(),
    }
}

impl From<Overview> for PortfoliosOverview {
    fn from(overview: Overview) -> Self {
        let total = &overview.allocation.total_value;
        Self {
            total_value: total.clone(),
            day_change_ratio: overview.day_change_ratio(),
            total_gain_ratio: overview.gain_ratio(),
            twr: overview.twr(),
            twr_since: overview.twr_since(),
            portfolios: overview.portfolios.iter().map(|result| share(total, result)).collect(),
            day_change: overview.day_change,
            deposits: overview.deposits,
            total_gain: overview.total_gain,
            cash: overview.allocation.cash.into(),
            dividends_receivable: overview.allocation.dividends_receivable.into(),
            stocks: overview.allocation.stocks.into_iter().map(StockWeight::from).collect(),
            sectors: overview.allocation.sectors.into_iter().map(SectorWeight::from).collect(),
            valued_at: overview.valued_at,
        }
    }
}

/// Get all your portfolios as one.
///
/// Total value, day change, gain, time-weighted return and weights. Archived portfolios are left out.
#[utoipa::path(
    get, path = "/api/v1/portfolios/overview", tag = "portfolios", operation_id = "getPortfoliosOverview",
    responses((status = 200, description = "The overview", body = PortfoliosOverview)),
    extensions(("x-problem-codes" = json!(["source_unavailable", "no_price", "price_unconfirmed"]))),
)]
pub async fn show(user: CurrentUser, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let overview = state.services.books().overview(user.account.id).await?;
    Ok(HttpResponse::Ok().json(PortfoliosOverview::from(overview)))
}
