//! The API for the valuation, the positions and the composition of a portfolio.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use domain::composition::{Composition as Made, Slice};
use domain::concentration_limits::ConcentrationLimits as Limits;
use domain::money::AveragePrice;
use domain::{Holding, Money, Price, Quantity, Symbol, Timestamp, Valuation as Valued};
use serde::Serialize;
use services::books::valuation::ValuedPortfolio;
use utoipa::ToSchema;

use super::concentration::{ConcentrationLimits, ConcentrationNote};
use crate::AppState;
use crate::http::api::Items;
use crate::http::portfolio_access::ReadAccess;
use crate::http::problem::Problem;
use crate::openapi::enums;

/// A position at the newest price.
#[derive(Serialize, ToSchema)]
pub struct Position<'a> {
    symbol: &'a Symbol,
    company_name: &'a str,
    sector: &'a str,
    quantity: &'a Quantity,
    average_buy_price: Option<AveragePrice>,
    cost_basis: &'a Money,
    last_price: &'a Price,
    /// Market time of the price.
    as_of: Timestamp,
    /// The source of the price.
    source: &'a str,
    /// Whether a newer price was due but not available.
    stale: bool,
    market_value: &'a Money,
    unrealized_pnl: &'a Money,
    realized_pnl: &'a Money,
    /// Gain since the previous close; null if that close is not known.
    day_change: Option<&'a Money>,
    /// Share of the total value, cash included: a ratio.
    weight: f64,
}

impl<'a> Position<'a> {
    fn from_holding(holding: &'a Holding, valuation: &Valued) -> Self {
        Self {
            symbol: &holding.listing.symbol,
            company_name: &holding.listing.company_name,
            sector: &holding.listing.sector,
            quantity: &holding.position.quantity,
            average_buy_price: holding.average_buy_price(),
            cost_basis: &holding.position.cost_basis,
            last_price: &holding.quote.price,
            as_of: holding.quote.as_of,
            source: holding.quote.source.as_str(),
            stale: holding.quote.stale,
            market_value: &holding.market_value,
            unrealized_pnl: &holding.unrealized_pnl,
            realized_pnl: &holding.position.realized_pnl,
            day_change: holding.day_change.as_ref(),
            weight: valuation.weight(&holding.market_value),
        }
    }
}

fn positions_of(valuation: &Valued) -> Vec<Position<'_>> {
    valuation.holdings.iter().map(|holding| Position::from_holding(holding, valuation)).collect()
}

#[derive(Serialize, ToSchema)]
pub struct Valuation<'a> {
    cash_balance: &'a Money,
    buying_power: &'a Money,
    positions_value: &'a Money,
    total_value: &'a Money,
    /// Gain since the previous close, without deposits and withdrawals.
    day_change: &'a Money,
    unrealized_pnl: &'a Money,
    realized_pnl: &'a Money,
    /// All dividends since the portfolio was opened, paid or receivable.
    dividends: &'a Money,
    /// Dividends from their ex-date until their payment; part of the total value.
    dividends_receivable: &'a Money,
    /// Realized and unrealized gains, and dividends. Commissions are included: they raise the cost of buys and lower
    /// the proceeds of sells.
    total_gain: Money,
    /// The market time of the valuation.
    valued_at: Timestamp,
    /// Increases with every change of the portfolio: of two valuations, the one with the smaller version is older.
    version: i64,
    /// Largest market value first.
    positions: Vec<Position<'a>>,
}

impl<'a> From<&'a ValuedPortfolio> for Valuation<'a> {
    fn from(valued: &'a ValuedPortfolio) -> Self {
        let valuation = &valued.valuation;
        Self {
            positions: positions_of(valuation),
            buying_power: &valuation.buying_power,
            cash_balance: &valuation.cash_balance,
            positions_value: &valuation.positions_value,
            total_value: &valuation.total_value,
            day_change: &valuation.day_change,
            unrealized_pnl: &valuation.unrealized_pnl,
            realized_pnl: &valuation.realized_pnl,
            total_gain: valuation.total_gain(),
            dividends: &valuation.dividends,
            dividends_receivable: &valuation.dividends_receivable,
            valued_at: valued.valued_at,
            version: valued.portfolio.version,
        }
    }
}

/// Get the value of a portfolio at the newest prices.
///
/// Cash, gains and positions.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/valuation", tag = "portfolios", operation_id = "getValuation",
    params(("id" = i64, Path)),
    responses((status = 200, description = "The valuation", body = Valuation)),
    extensions(("x-problem-codes" = json!(["source_unavailable", "no_price", "price_unconfirmed"]))),
)]
pub async fn show(access: ReadAccess, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let valued = state.services.books().valuation(access.portfolio).await?;
    Ok(HttpResponse::Ok().json(Valuation::from(&valued)))
}

/// List the positions of a portfolio, largest first.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/positions", tag = "portfolios", operation_id = "listPositions",
    params(("id" = i64, Path)),
    responses((status = 200, description = "The positions", body = Items<Position>)),
    extensions(("x-problem-codes" = json!(["source_unavailable", "no_price", "price_unconfirmed"]))),
)]
pub async fn positions(access: ReadAccess, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let valued = state.services.books().valuation(access.portfolio).await?;
    Ok(HttpResponse::Ok().json(Items::all(positions_of(&valued.valuation))))
}

/// The problem for a stock that the portfolio does not hold, or for an invalid symbol.
pub fn no_position(symbol: &str) -> Problem {
    match symbol.parse::<Symbol>() {
        Ok(symbol) => Problem::not_found().with_detail(format!("The portfolio has no position in {symbol}.")),
        Err(_) => Problem::not_found(),
    }
}

/// Get the position in a stock.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/positions/{symbol}", tag = "portfolios", operation_id = "getPosition",
    params(("id" = i64, Path), ("symbol" = Symbol, Path)),
    responses((status = 200, description = "The position", body = Position)),
    extensions(("x-problem-codes" = json!(["source_unavailable", "no_price", "price_unconfirmed"]))),
)]
pub async fn position(
    access: ReadAccess,
    path: Path<(String, String)>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (_, symbol) = path.into_inner();
    let valuation = state.services.books().valuation(access.portfolio).await?.valuation;
    let of = |symbol: &str| {
        let mut holdings = valuation.holdings.iter();
        holdings.find(|holding| holding.listing.symbol.as_str().eq_ignore_ascii_case(symbol))
    };
    let held = match of(&symbol) {
        Some(held) => Some(held),
        // The symbol may be a former one of the stock.
        None => match symbol.parse() {
            Ok(symbol) => of(state.services.instruments().symbol_now(&symbol).await?.as_str()),
            Err(_) => None,
        },
    };
    let position = held
        .map(|holding| Position::from_holding(holding, &valuation))
        .ok_or_else(|| no_position(&symbol))?;
    Ok(HttpResponse::Ok().json(position))
}

#[derive(Serialize, ToSchema)]
pub struct StockWeight {
    symbol: Symbol,
    market_value: Money,
    /// A ratio. All weights, including cash and dividends receivable, add up to 1.
    weight: f64,
}

impl From<Slice<Symbol>> for StockWeight {
    fn from(slice: Slice<Symbol>) -> Self {
        Self { symbol: slice.of, market_value: slice.market_value, weight: slice.weight }
    }
}

#[derive(Serialize, ToSchema)]
pub struct SectorWeight {
    sector: String,
    market_value: Money,
    weight: f64,
}

impl From<Slice<String>> for SectorWeight {
    fn from(slice: Slice<String>) -> Self {
        Self { sector: slice.of, market_value: slice.market_value, weight: slice.weight }
    }
}

#[derive(Serialize, ToSchema)]
pub struct CashWeight {
    market_value: Money,
    weight: f64,
}

impl From<Slice<()>> for CashWeight {
    fn from(slice: Slice<()>) -> Self {
        Self { market_value: slice.market_value, weight: slice.weight }
    }
}

/// The concentration of the positions, without cash.
#[derive(Serialize, ToSchema)]
pub struct Concentration {
    /// Herfindahl–Hirschman index: the sum of squared weights.
    herfindahl: f64,
    effective_positions: f64,
    /// `broad` below 0.10, `moderate` up to 0.18, else `concentrated`.
    #[schema(value_type = enums::ConcentrationLevel)]
    level: &'static str,
    top_1: f64,
    top_5: f64,
}

#[derive(Serialize, ToSchema)]
pub struct Composition {
    total_value: Money,
    cash: CashWeight,
    /// Dividends from their ex-date until their payment.
    dividends_receivable: CashWeight,
    stocks: Vec<StockWeight>,
    sectors: Vec<SectorWeight>,
    /// Null when nothing is held.
    concentration: Option<Concentration>,
    limits: ConcentrationLimits,
    /// The parts above their limits: stocks, sectors, cash, each largest first.
    notes: Vec<ConcentrationNote>,
}

impl Composition {
    fn new(made: Made, limits: Limits) -> Self {
        Self {
            limits: limits.into(),
            notes: limits.exceeded(&made).into_iter().map(ConcentrationNote::from).collect(),
            total_value: made.total_value,
            cash: CashWeight::from(made.cash),
            dividends_receivable: CashWeight::from(made.dividends_receivable),
            stocks: made.stocks.into_iter().map(StockWeight::from).collect(),
            sectors: made.sectors.into_iter().map(SectorWeight::from).collect(),
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

/// Get the weights of a portfolio by stock and by sector.
///
/// `notes` lists the parts above the portfolio's concentration limits.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/composition", tag = "portfolios", operation_id = "getComposition",
    params(("id" = i64, Path)),
    responses((status = 200, description = "The weights", body = Composition)),
    extensions(("x-problem-codes" = json!(["source_unavailable", "no_price", "price_unconfirmed"]))),
)]
pub async fn composition(access: ReadAccess, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let composition = state.services.books().composition(access.portfolio).await?;
    let limits = state.services.books().concentration_limits(access.portfolio).await?;
    Ok(HttpResponse::Ok().json(Composition::new(composition, limits)))
}
