//! The API for snapshots and performance.

use std::collections::BTreeMap;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{Datelike, NaiveDate};
use domain::performance::{
    Contributions, Day, DayReturn as MeasuredDay, Measure, Measures, Period, Undefined,
};
use domain::{Money, Snapshot as Stored, StockId, Symbol};
use serde::{Deserialize, Serialize};
use services::FieldError;
use services::books::analysis::{MeasuredWindow, WindowAnalysis};
use services::books::performance::Window;
use utoipa::{IntoParams, ToSchema};

use super::explanation::Explanation;
use crate::AppState;
use crate::http::api::{Items, parse};
use crate::http::input::Query;
use crate::http::portfolio_access::ReadAccess;
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::portfolios::performance_body::{self, points};
use crate::portfolios::performance_words;
use crate::portfolios::risk::refused_benchmark;

/// The portfolio at the close of a session.
#[derive(Serialize, ToSchema)]
pub struct Snapshot {
    date: NaiveDate,
    total_value: Money,
    cash_balance: Money,
    positions_value: Money,
    /// Dividends receivable at the close.
    dividends_receivable: Money,
    /// Deposits less withdrawals since the previous session's close.
    net_flow: Money,
    /// Whether the snapshot was taken before the close or with older prices. A later run replaces it.
    provisional: bool,
}

impl From<Stored> for Snapshot {
    fn from(stored: Stored) -> Self {
        Self {
            date: stored.date,
            total_value: stored.total_value,
            cash_balance: stored.cash_balance,
            positions_value: stored.positions_value,
            dividends_receivable: stored.dividends_receivable,
            net_flow: stored.net_flow,
            provisional: stored.provisional,
        }
    }
}

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Dates {
    /// The first day.
    #[param(value_type = Option<NaiveDate>)]
    from: Option<String>,
    /// The last day.
    #[param(value_type = Option<NaiveDate>)]
    to: Option<String>,
}

pub const DAY: &str = "write a day like 2026-11-20";

/// List the daily snapshots of a portfolio, oldest first.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/snapshots", tag = "performance", operation_id = "listSnapshots",
    params(("id" = i64, Path), Dates),
    responses((status = 200, description = "The snapshots", body = Items<Snapshot>)),
)]
pub async fn snapshots(
    access: ReadAccess,
    dates: Query<Dates>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (from, to) = (parse("from", dates.from.as_deref(), DAY)?, parse("to", dates.to.as_deref(), DAY)?);
    let rows = state.services.books().snapshots(access.portfolio, from, to).await?;
    Ok(HttpResponse::Ok().json(Items::all(rows.into_iter().map(Snapshot::from).collect())))
}

/// Reads a window: a period, two days, or neither for the whole history.
pub fn window(period: Option<&str>, from: Option<&str>, to: Option<&str>) -> Result<Window, Problem> {
    let (from, to) = (parse("from", from, DAY)?, parse("to", to, DAY)?);
    let refused = |message: String| Problem::invalid(vec![FieldError::new("period", message)]);
    match period {
        Some(_) if from.is_some() || to.is_some() => {
            Err(refused("send period, or from and to, not both".to_owned()))
        }
        Some(name) => name.parse::<Period>().map(Window::Period).map_err(refused),
        None if from.is_none() && to.is_none() => Ok(Window::default()),
        None => Ok(Window::Dates { from, to }),
    }
}

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PerformanceQuery {
    /// A period, instead of `from` and `to`. Default: `ALL`.
    #[param(value_type = Option<enums::PerformancePeriod>)]
    period: Option<String>,
    /// The first day.
    #[param(value_type = Option<NaiveDate>)]
    from: Option<String>,
    /// The last day.
    #[param(value_type = Option<NaiveDate>)]
    to: Option<String>,
    /// The symbol of the stock or fund to compare with. Default: the benchmark of the portfolio, which is `SPY` until
    /// you change it.
    #[param(value_type = Option<Symbol>)]
    benchmark: Option<String>,
    /// The name of a measure whose computation is returned as `explanation`, such as `twr` or `sharpe`.
    explain: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct PerformancePoint {
    pub date: NaiveDate,
    pub total_value: Money,
    pub net_flow: Money,
    /// Time-weighted return since the start of the window: a ratio.
    pub twr: f64,
    /// Total return of the benchmark since the start of the window: a ratio. Null if its prices begin later than the
    /// window, because this would be the return of another window.
    pub benchmark: Option<f64>,
}

impl PerformancePoint {
    pub fn new(day: &Day, twr: f64, benchmark: Option<f64>) -> Self {
        let (total_value, net_flow) = (day.end_value.clone(), day.net_flow.clone());
        Self { date: day.date, total_value, net_flow, twr, benchmark }
    }
}

/// The return of a day, a ratio.
#[derive(Serialize, ToSchema)]
pub struct DayReturn {
    date: NaiveDate,
    #[serde(rename = "return")]
    daily_return: f64,
}

/// The time-weighted return of a calendar month, a ratio.
#[derive(Serialize, ToSchema)]
pub struct MonthReturn {
    /// The month, such as `2026-11`.
    month: String,
    #[serde(rename = "return")]
    monthly_return: f64,
}

/// The time-weighted return of a calendar year, a ratio.
#[derive(Serialize, ToSchema)]
pub struct YearReturn {
    year: i32,
    #[serde(rename = "return")]
    yearly_return: f64,
}

/// The portfolio compared with a benchmark whose dividends are reinvested. If the benchmark's prices begin later than
/// the window, the measures are null, with the reason `benchmark_starts_late` in `undefined`.
#[derive(Serialize, ToSchema)]
pub struct BenchmarkComparison {
    symbol: Symbol,
    /// Total return of the benchmark over the window, a ratio.
    twr: Option<f64>,
    /// `twr` of the portfolio less that of the benchmark.
    excess_return: Option<f64>,
    /// How strongly the portfolio moved with the benchmark; 1 means equally.
    beta: Option<f64>,
    /// Return per year that beta does not explain, a ratio.
    alpha: Option<f64>,
    /// Standard deviation of the daily differences, annualized, a ratio.
    tracking_error: Option<f64>,
    /// From −1 to 1.
    correlation: Option<f64>,
    /// Average daily difference, annualized, divided by the tracking error.
    information_ratio: Option<f64>,
}

/// What the same deposits and withdrawals would be worth in the benchmark, bought and sold at the closes of their days.
#[derive(Serialize, ToSchema)]
pub struct WhatIf {
    symbol: Symbol,
    end_value: Money,
    /// The portfolio's value less `end_value`: positive when the portfolio did better.
    difference: Money,
}

/// The contribution of a stock to the gain of a window.
#[derive(Serialize, ToSchema)]
pub struct HoldingContribution {
    symbol: Symbol,
    /// `realized_pnl` + `unrealized_change` + `dividends`.
    gain: Money,
    /// `gain` divided by the average capital, a ratio: 0.01 is one percentage point. Null without capital.
    contribution: Option<f64>,
    realized_pnl: Money,
    unrealized_change: Money,
    dividends: Money,
}

/// The contribution of cash to the gain of a window.
#[derive(Serialize, ToSchema)]
pub struct CashContribution {
    gain: Money,
    contribution: Option<f64>,
}

/// Dividends of a stock that were paid in a calendar year (New York).
#[derive(Serialize, ToSchema)]
pub struct YearDividends {
    year: i32,
    symbol: Symbol,
    amount: Money,
}

/// A measure that has no value in this window.
#[derive(Serialize, ToSchema)]
pub struct UndefinedMeasure {
    measure: &'static str,
    /// The name of the reason, such as `too_few_returns` or `shorter_than_a_year`.
    reason: &'static str,
    /// The reason as a sentence, with its numbers.
    message: String,
}

/// Performance over a window. Ratios are fractions: 0.05 is 5 %. A measure that is null is listed in `undefined` with
/// the reason.
#[derive(Serialize, ToSchema)]
pub struct Performance {
    /// One point per session. If the window reaches today, the last point is the current value.
    series: Vec<PerformancePoint>,
    /// Value at the last close before the window; 0.00 if the portfolio is younger.
    start_value: Money,
    end_value: Money,
    /// Deposits less withdrawals within the window.
    net_flow: Money,
    /// `end_value` − `start_value` − `net_flow`.
    gain: Money,
    /// Time-weighted return of the window.
    twr: Option<f64>,
    /// Time-weighted return per year of 365 days; null for less than a year.
    annualized_return: Option<f64>,
    /// Money-weighted return of the window.
    mwr: Option<f64>,
    /// Money-weighted return per year; null for less than a year.
    xirr: Option<f64>,
    /// Standard deviation of daily returns, annualized.
    volatility: Option<f64>,
    /// Deviation of the daily returns below the risk-free rate, annualized.
    downside_deviation: Option<f64>,
    /// Return above the risk-free rate, divided by the volatility.
    sharpe: Option<f64>,
    /// Return above the risk-free rate, divided by the downside deviation.
    sortino: Option<f64>,
    /// Annualized return divided by the maximum drawdown.
    calmar: Option<f64>,
    /// The largest loss since an earlier high: negative or zero.
    max_drawdown: Option<f64>,
    /// The day of that high; null if it was before the first point.
    max_drawdown_peak_on: Option<NaiveDate>,
    max_drawdown_trough_on: Option<NaiveDate>,
    /// The day on which the value reached that high again; null if it has not.
    max_drawdown_recovered_on: Option<NaiveDate>,
    /// The longest time below an earlier high, in calendar days.
    longest_under_water_days: Option<i64>,
    best_day: Option<DayReturn>,
    worst_day: Option<DayReturn>,
    /// The share of days with a positive return.
    positive_days: Option<f64>,
    /// Calendar months in New York, oldest first. The first and the last may be incomplete.
    monthly_returns: Vec<MonthReturn>,
    /// Calendar years in New York, oldest first. The first and the last may be incomplete.
    yearly_returns: Vec<YearReturn>,
    benchmark: Option<BenchmarkComparison>,
    what_if: Option<WhatIf>,
    /// The gain divided by the average capital: the value at the start, and each flow weighted by its time in the
    /// window.
    modified_dietz: Option<f64>,
    /// Gain by stock, largest first, including sold stocks. Together with `cash_contribution` they add up to `gain` and
    /// `modified_dietz`.
    contributions: Option<Vec<HoldingContribution>>,
    /// The gain that belongs to no stock; fees make it negative.
    cash_contribution: Option<CashContribution>,
    /// Realized gain of the window's sells, after commissions. `gain` = `realized_pnl` + `unrealized_change` +
    /// `dividends` + `cash_contribution.gain`.
    realized_pnl: Option<Money>,
    /// Market value less cost basis of the positions at the end.
    unrealized_pnl: Option<Money>,
    /// `unrealized_pnl` less its value at the start of the window.
    unrealized_change: Option<Money>,
    /// Dividends whose ex-date is in the window, paid or not.
    dividends: Option<Money>,
    /// Dividends paid in the window, by year and stock, oldest first.
    dividends_by_year: Vec<YearDividends>,
    /// Commissions of all trades of the window. The gains above already include them.
    commissions: Option<Money>,
    /// The smaller of purchases and sales, divided by the average value; not annualized.
    turnover: Option<f64>,
    /// Sessions per year by which daily figures are annualized: 252, or 365 for a market without closing hours.
    periods_per_year: u32,
    /// Risk-free return per year.
    risk_free: f64,
    undefined: Vec<UndefinedMeasure>,
    /// Null unless the request has `explain`.
    explanation: Option<Explanation>,
}

impl Performance {
    /// The answer of a window with these points.
    pub fn new(window: &WindowAnalysis, series: Vec<PerformancePoint>, explain: Option<Measure>) -> Self {
        let WindowAnalysis { analysis, symbols } = window;
        let measures = analysis.measures();
        let Measures { max_drawdown: drawdown, what_if, benchmark: compared, contributions: gains, .. } =
            measures;
        let day = |day: MeasuredDay| DayReturn { date: day.date, daily_return: day.daily_return };
        let undefined = |undefined: Undefined| UndefinedMeasure {
            measure: undefined.measure.as_str(),
            reason: undefined.reason.code(),
            message: performance_words::undefined(&undefined.reason),
        };
        let symbol = compared.symbol.clone();
        Self {
            series,
            start_value: measures.start_value,
            end_value: measures.end_value,
            net_flow: measures.net_flow,
            gain: measures.gain,
            twr: measures.twr,
            annualized_return: measures.annualized_return,
            mwr: measures.mwr,
            xirr: measures.xirr,
            volatility: measures.volatility,
            downside_deviation: measures.downside_deviation,
            sharpe: measures.sharpe,
            sortino: measures.sortino,
            calmar: measures.calmar,
            max_drawdown: drawdown.as_ref().map(|drawdown| drawdown.depth),
            max_drawdown_peak_on: drawdown.as_ref().and_then(|drawdown| drawdown.peak_on),
            max_drawdown_trough_on: drawdown.as_ref().map(|drawdown| drawdown.trough_on),
            max_drawdown_recovered_on: drawdown.and_then(|drawdown| drawdown.recovered_on),
            longest_under_water_days: measures.longest_under_water.map(|longest| longest.days),
            best_day: measures.best_day.map(day),
            worst_day: measures.worst_day.map(day),
            positive_days: measures.positive_days,
            monthly_returns: measures
                .monthly_returns
                .iter()
                .map(|of| MonthReturn {
                    month: format!("{:04}-{:02}", of.first.year(), of.first.month()),
                    monthly_return: of.period_return,
                })
                .collect(),
            yearly_returns: measures
                .yearly_returns
                .iter()
                .map(|of| YearReturn { year: of.first.year(), yearly_return: of.period_return })
                .collect(),
            modified_dietz: measures.modified_dietz,
            contributions: gains.as_ref().map(|gains| contributions(gains, symbols)),
            cash_contribution: gains.as_ref().map(|gains| CashContribution {
                gain: gains.cash.clone(),
                contribution: gains.cash_contribution,
            }),
            realized_pnl: measures.realized_pnl,
            unrealized_pnl: measures.unrealized_pnl,
            unrealized_change: gains.map(|gains| gains.unrealized_change),
            dividends: measures.dividends,
            dividends_by_year: analysis
                .books
                .as_ref()
                .map_or_else(Vec::new, |books| year_dividends(&books.sums.dividends_by_year, symbols)),
            commissions: measures.commissions,
            turnover: measures.turnover,
            what_if: symbol.clone().zip(what_if).map(|(symbol, twin)| WhatIf {
                symbol,
                end_value: twin.end_value,
                difference: twin.difference,
            }),
            benchmark: symbol.map(|symbol| BenchmarkComparison {
                symbol,
                twr: compared.twr,
                excess_return: compared.excess_return,
                beta: compared.beta,
                alpha: compared.alpha,
                tracking_error: compared.tracking_error,
                correlation: compared.correlation,
                information_ratio: compared.information_ratio,
            }),
            periods_per_year: analysis.settings.periods_per_year,
            risk_free: analysis.settings.risk_free,
            undefined: measures.undefined.into_iter().map(undefined).collect(),
            explanation: explain.map(|measure| Explanation::new(analysis.explain(measure), symbols)),
        }
    }
}

/// The symbol of a stock of the books.
fn symbol_of(symbols: &BTreeMap<StockId, Symbol>, stock: StockId) -> Option<Symbol> {
    let symbol = symbols.get(&stock).cloned();
    debug_assert!(symbol.is_some(), "Invariant: the stocks of the books are read with their symbols");
    symbol
}

fn contributions(gains: &Contributions, symbols: &BTreeMap<StockId, Symbol>) -> Vec<HoldingContribution> {
    let part = |part: &domain::performance::Contribution| {
        Some(HoldingContribution {
            symbol: symbol_of(symbols, part.stock_id)?,
            gain: part.gain.clone(),
            contribution: part.contribution,
            realized_pnl: part.realized.clone(),
            unrealized_change: part.unrealized_change.clone(),
            dividends: part.dividends.clone(),
        })
    };
    gains.holdings.iter().filter_map(part).collect()
}

fn year_dividends(
    paid: &BTreeMap<(i32, StockId), Money>,
    symbols: &BTreeMap<StockId, Symbol>,
) -> Vec<YearDividends> {
    let row = |(&(year, stock), amount): (&(i32, StockId), &Money)| {
        Some(YearDividends { year, symbol: symbol_of(symbols, stock)?, amount: amount.clone() })
    };
    paid.iter().filter_map(row).collect()
}

/// Get the performance of a portfolio over a window, compared with a benchmark.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/performance", tag = "performance", operation_id = "getPerformance",
    params(("id" = i64, Path), PerformanceQuery),
    responses((status = 200, description = "One point per session, and the measures of the window", body = Performance)),
    extensions(("x-problem-codes" = json!(["source_unavailable", "no_price", "price_unconfirmed"]))),
)]
pub async fn show(
    access: ReadAccess,
    asked: Query<PerformanceQuery>,
    state: Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let PerformanceQuery { period, from, to, benchmark, explain } = asked.into_inner();
    let window = window(period.as_deref(), from.as_deref(), to.as_deref())?;
    let benchmark: Option<Symbol> = parse("benchmark", benchmark.as_deref(), "send a symbol such as SPY")?;
    let explain: Option<Measure> = parse("explain", explain.as_deref(), EXPLAINED)?;
    let books = state.services.books();
    let refused = |error| refused_benchmark(error, benchmark.as_ref()).unwrap_or_else(Problem::from);
    if let Some(measure) = explain {
        let window = books.analysis(access.portfolio, window, benchmark.as_ref()).await.map_err(refused)?;
        return Ok(HttpResponse::Ok().json(Performance::new(
            &window,
            points(&window.analysis),
            Some(measure),
        )));
    }
    let form = performance_body::form(&request);
    let measured = books.measured_window(access.portfolio, window, benchmark.as_ref(), form.writer()).await;
    let MeasuredWindow { analyzed, closed_points } = measured.map_err(refused)?;
    let Some(closed) = closed_points else {
        return Ok(HttpResponse::Ok().json(Performance::new(&analyzed, points(&analyzed.analysis), None)));
    };
    performance_body::respond(form, closed, &analyzed)
}

const EXPLAINED: &str = "send the name of a measure in this response, such as twr, xirr, contributions or sharpe; the twr of the \
                         benchmark is benchmark_twr";
