//! What a portfolio is worth now, and what it is made of.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use domain::composition::{Composition as Made, Slice};
use domain::money::AveragePrice;
use domain::{Holding, Money, PortfolioId, Price, Quantity, Symbol, Timestamp, Valuation as Valued};
use serde::Serialize;
use services::valuation::ValuedPortfolio;
use utoipa::ToSchema;

use super::Items;
use crate::AppState;
use crate::extract::CurrentUser;
use crate::problem::{Problem, ProblemBody};

/// A holding at the newest price.
#[derive(Serialize, ToSchema)]
pub struct Position {
    symbol: Symbol,
    company_name: String,
    sector: String,
    quantity: Quantity,
    average_buy_price: Option<AveragePrice>,
    cost_basis: Money,
    last_price: Price,
    /// Market time of the price.
    as_of: Timestamp,
    /// The price's source.
    source: String,
    /// No newer price could be had although one was due.
    stale: bool,
    market_value: Money,
    unrealized_pnl: Money,
    realized_pnl: Money,
    /// Gain since the previous close; null when that is not known.
    day_change: Option<Money>,
    /// Share of total value, cash included: a ratio.
    weight: f64,
}

impl Position {
    fn of(holding: &Holding, valuation: &Valued) -> Self {
        Self {
            symbol: holding.listing.symbol.clone(),
            company_name: holding.listing.company_name.clone(),
            sector: holding.listing.sector.clone(),
            quantity: holding.position.quantity.clone(),
            average_buy_price: holding.average_buy_price(),
            cost_basis: holding.position.cost_basis.clone(),
            last_price: holding.quote.price.clone(),
            as_of: holding.quote.as_of,
            source: holding.quote.source.0.clone(),
            stale: holding.quote.stale,
            market_value: holding.market_value.clone(),
            unrealized_pnl: holding.unrealized_pnl.clone(),
            realized_pnl: holding.position.realized_pnl.clone(),
            day_change: holding.day_change.clone(),
            weight: valuation.weight(&holding.market_value),
        }
    }
}

fn positions_of(valuation: &Valued) -> Vec<Position> {
    valuation.holdings.iter().map(|holding| Position::of(holding, valuation)).collect()
}

#[derive(Serialize, ToSchema)]
pub struct Valuation {
    cash_balance: Money,
    buying_power: Money,
    positions_value: Money,
    total_value: Money,
    /// Gain since the previous close, deposits and withdrawals left out.
    day_change: Money,
    unrealized_pnl: Money,
    realized_pnl: Money,
    /// Of the portfolio's life, paid or receivable.
    dividends: Money,
    /// Owed from the day a stock trades without it until it is paid; part of the total value.
    dividends_receivable: Money,
    /// Realised, unrealised and dividends. Commissions are in the cost of shares and in what they brought.
    total_gain: Money,
    /// The market time for which prices were asked.
    valued_at: Timestamp,
    /// Largest market value first.
    positions: Vec<Position>,
}

impl From<ValuedPortfolio> for Valuation {
    fn from(valued: ValuedPortfolio) -> Self {
        let valuation = valued.valuation;
        Self {
            positions: positions_of(&valuation),
            total_gain: valuation.total_gain(),
            dividends: valuation.dividends,
            dividends_receivable: valuation.dividends_receivable,
            buying_power: valuation.buying_power,
            cash_balance: valuation.cash_balance,
            positions_value: valuation.positions_value,
            total_value: valuation.total_value,
            day_change: valuation.day_change,
            unrealized_pnl: valuation.unrealized_pnl,
            realized_pnl: valuation.realized_pnl,
            valued_at: valued.valued_at,
        }
    }
}

/// Value, cash, gains and positions at the newest prices.
#[utoipa::path(get, path = "/api/v1/portfolios/{id}/valuation", tag = "portfolios", params(("id" = i64, Path)),
    responses((status = 200, body = Valuation), (status = 404, body = ProblemBody)))]
pub async fn show(user: CurrentUser, id: Path<i64>, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let valued = state.services.valuation(user.account.id, PortfolioId(*id)).await?;
    Ok(HttpResponse::Ok().json(Valuation::from(valued)))
}

/// What is held.
#[utoipa::path(get, path = "/api/v1/portfolios/{id}/positions", tag = "portfolios", params(("id" = i64, Path)),
    responses((status = 200, body = Items<Position>), (status = 404, body = ProblemBody)))]
pub async fn positions(
    user: CurrentUser,
    id: Path<i64>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let valued = state.services.valuation(user.account.id, PortfolioId(*id)).await?;
    Ok(HttpResponse::Ok().json(Items::all(positions_of(&valued.valuation))))
}

/// What is held of one stock.
#[utoipa::path(get, path = "/api/v1/portfolios/{id}/positions/{symbol}", tag = "portfolios",
    params(("id" = i64, Path), ("symbol" = String, Path)), responses(
    (status = 200, body = Position), (status = 404, body = ProblemBody)))]
pub async fn position(
    user: CurrentUser,
    path: Path<(i64, String)>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (id, symbol) = path.into_inner();
    let valuation = state.services.valuation(user.account.id, PortfolioId(id)).await?.valuation;
    let of = |symbol: &str| {
        let mut holdings = valuation.holdings.iter();
        holdings.find(|holding| holding.listing.symbol.as_str().eq_ignore_ascii_case(symbol))
    };
    let held = match of(&symbol) {
        Some(held) => Some(held),
        // It may be one that the stock had before.
        None => match symbol.parse() {
            Ok(symbol) => of(state.services.symbol_now(&symbol).await?.as_str()),
            Err(_) => None,
        },
    };
    let position = held.map(|holding| Position::of(holding, &valuation)).ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok().json(position))
}

#[derive(Serialize, ToSchema)]
pub struct StockWeight {
    symbol: Symbol,
    market_value: Money,
    /// A ratio; all weights and the cash's add up to 1.
    weight: f64,
}

#[derive(Serialize, ToSchema)]
pub struct SectorWeight {
    sector: String,
    market_value: Money,
    weight: f64,
}

#[derive(Serialize, ToSchema)]
pub struct CashWeight {
    market_value: Money,
    weight: f64,
}

/// Over the positions alone, cash left out.
#[derive(Serialize, ToSchema)]
pub struct Concentration {
    /// Herfindahl–Hirschman index: the sum of squared weights.
    herfindahl: f64,
    effective_positions: f64,
    /// `broad` below 0.10, `moderate` up to 0.18, else `concentrated`.
    level: &'static str,
    top_1: f64,
    top_5: f64,
}

#[derive(Serialize, ToSchema)]
pub struct Composition {
    total_value: Money,
    cash: CashWeight,
    stocks: Vec<StockWeight>,
    sectors: Vec<SectorWeight>,
    /// Null when nothing is held.
    concentration: Option<Concentration>,
}

impl From<Made> for Composition {
    fn from(made: Made) -> Self {
        let stock = |Slice { of, market_value, weight }| StockWeight { symbol: of, market_value, weight };
        let sector = |Slice { of, market_value, weight }| SectorWeight { sector: of, market_value, weight };
        Self {
            total_value: made.total_value,
            cash: CashWeight { market_value: made.cash.market_value, weight: made.cash.weight },
            stocks: made.stocks.into_iter().map(stock).collect(),
            sectors: made.sectors.into_iter().map(sector).collect(),
            concentration: made.concentration.map(|measured| Concentration {
                herfindahl: measured.herfindahl,
                effective_positions: measured.effective_positions,
                level: measured.level.as_str(),
                top_1: measured.top_1,
                top_5: measured.top_5,
            }),
        }
    }
}

/// Weights by stock and by sector.
#[utoipa::path(get, path = "/api/v1/portfolios/{id}/composition", tag = "portfolios", params(("id" = i64, Path)),
    responses((status = 200, body = Composition), (status = 404, body = ProblemBody)))]
pub async fn composition(
    user: CurrentUser,
    id: Path<i64>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let composition = state.services.composition(user.account.id, PortfolioId(*id)).await?;
    Ok(HttpResponse::Ok().json(Composition::from(composition)))
}
