//! Snapshots and what they say about how a portfolio did.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use chrono::NaiveDate;
use domain::HistoryRange;
use domain::performance::{Drawdown, Performance as Measured};
use domain::{Money, PortfolioId, Snapshot as Stored};
use serde::{Deserialize, Serialize};
use services::performance::Window;
use utoipa::{IntoParams, ToSchema};

use super::{Items, parse};
use crate::AppState;
use crate::extract::CurrentUser;
use crate::problem::{Problem, ProblemBody};

/// The portfolio at the close of a session.
#[derive(Serialize, ToSchema)]
pub struct Snapshot {
    date: NaiveDate,
    total_value: Money,
    cash_balance: Money,
    positions_value: Money,
    /// Dividends owed at the close and paid later.
    dividends_receivable: Money,
    /// Deposits less withdrawals since the previous session's close.
    net_flow: Money,
    /// Taken before the close or at older prices; a later run replaces it.
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
    /// The first day wanted.
    from: Option<String>,
    /// The last day wanted.
    to: Option<String>,
}

const DAY: &str = "write a day like 2026-11-20";

/// The daily rows, oldest first.
#[utoipa::path(get, path = "/api/v1/portfolios/{id}/snapshots", tag = "performance",
    params(("id" = i64, Path), Dates), responses(
    (status = 200, body = Items<Snapshot>), (status = 404, body = ProblemBody)))]
pub async fn snapshots(
    user: CurrentUser,
    id: Path<i64>,
    dates: Query<Dates>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (from, to) = (parse("from", dates.from.as_deref(), DAY)?, parse("to", dates.to.as_deref(), DAY)?);
    let rows = state.services.snapshots(user.account.id, PortfolioId(*id), from, to).await?;
    Ok(HttpResponse::Ok().json(Items::all(rows.into_iter().map(Snapshot::from).collect())))
}

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Period {
    /// `1W 1M 3M YTD 1Y 5Y ALL` (unless said otherwise ALL); not together with `from` and `to`.
    period: Option<String>,
    /// The first day.
    from: Option<String>,
    /// The last day.
    to: Option<String>,
}

impl Period {
    fn window(&self) -> Result<Window, Problem> {
        let (from, to) = (parse("from", self.from.as_deref(), DAY)?, parse("to", self.to.as_deref(), DAY)?);
        let refused = |message: &str| Problem::invalid(vec![services::FieldError::new("period", message)]);
        match &self.period {
            Some(_) if from.is_some() || to.is_some() => {
                Err(refused("send period, or from and to, not both"))
            }
            Some(name) => HistoryRange::parse(name)
                .map(Window::Range)
                .ok_or_else(|| refused("must be 1W, 1M, 3M, YTD, 1Y, 5Y or ALL")),
            None if from.is_none() && to.is_none() => Ok(Window::default()),
            None => Ok(Window::Dates { from, to }),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct PerformancePoint {
    date: NaiveDate,
    total_value: Money,
    net_flow: Money,
    /// Time-weighted return since the start of the window: a ratio.
    twr: f64,
}

#[derive(Serialize, ToSchema)]
pub struct Performance {
    /// One point per session; the last is this moment when the window reaches today.
    series: Vec<PerformancePoint>,
    /// Time-weighted return of the window, a ratio; null when it has no points.
    twr: Option<f64>,
    /// Value at the end − value at the start − net flows.
    gain: Money,
    /// Value at the last close before the window; 0.00 when the portfolio is younger.
    start_value: Money,
    /// Deposits less withdrawals within the window.
    net_flow: Money,
    /// The deepest fall below the last high: a ratio, negative or zero.
    max_drawdown: Option<f64>,
    /// The day of the high it fell from; null when that was before the first point.
    max_drawdown_peak_on: Option<NaiveDate>,
    max_drawdown_trough_on: Option<NaiveDate>,
    /// Null while the high is not reached again.
    max_drawdown_recovered_on: Option<NaiveDate>,
}

impl From<Measured> for Performance {
    fn from(measured: Measured) -> Self {
        let drawdown: Option<Drawdown> = measured.max_drawdown;
        let series = measured.points.into_iter().map(|point| PerformancePoint {
            date: point.close.date,
            total_value: point.close.total_value,
            net_flow: point.close.net_flow,
            twr: point.twr,
        });
        Self {
            series: series.collect(),
            twr: measured.twr,
            gain: measured.gain,
            start_value: measured.start_value,
            net_flow: measured.net_flow,
            max_drawdown: drawdown.as_ref().map(|drawdown| drawdown.depth),
            max_drawdown_peak_on: drawdown.as_ref().and_then(|drawdown| drawdown.peak_on),
            max_drawdown_trough_on: drawdown.as_ref().map(|drawdown| drawdown.trough_on),
            max_drawdown_recovered_on: drawdown.and_then(|drawdown| drawdown.recovered_on),
        }
    }
}

/// Growth over time.
#[utoipa::path(get, path = "/api/v1/portfolios/{id}/performance", tag = "performance",
    params(("id" = i64, Path), Period), responses(
    (status = 200, body = Performance), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn show(
    user: CurrentUser,
    id: Path<i64>,
    period: Query<Period>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let measured = state.services.performance(user.account.id, PortfolioId(*id), period.window()?).await?;
    Ok(HttpResponse::Ok().json(Performance::from(measured)))
}
