//! Explains how figures of a portfolio's books are computed.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use domain::Symbol;
use domain::valuation::BookFigure;
use serde::Deserialize;
use services::{Error, NotFound};
use utoipa::IntoParams;

use super::explanation::Explanation;
use super::valuation_api::no_position;
use crate::AppState;
use crate::http::api::parse;
use crate::http::input::Query;
use crate::http::portfolio_access::ReadAccess;
use crate::http::problem::Problem;
use crate::openapi::enums;

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Holding {
    /// Required for `average_buy_price`: the holding. The other figures are about the whole portfolio.
    #[param(value_type = Option<Symbol>)]
    symbol: Option<String>,
}

/// Explain a figure of the valuation or the composition.
///
/// The response has the formula and all values that the figure is currently computed from: `total_value` and
/// `day_change` of the valuation, `average_buy_price` of a position, `herfindahl` of the composition. Measures of
/// performance are explained by the parameter `explain` of `/performance`.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/explanations/{figure}", tag = "portfolios", operation_id = "explainFigure",
    params(("id" = i64, Path), ("figure" = enums::BookFigure, Path), Holding),
    responses((status = 200, description = "The computation", body = Explanation)),
    extensions(("x-problem-codes" = json!(["source_unavailable", "no_price", "price_unconfirmed"]))),
)]
pub async fn show(
    access: ReadAccess,
    path: Path<(String, String)>,
    holding: Query<Holding>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (_, figure) = path.into_inner();
    let figure: BookFigure = figure.parse().map_err(|_| Problem::not_found())?;
    let symbol: Option<Symbol> = parse("symbol", holding.symbol.as_deref(), "send a symbol such as AAPL")?;
    let explained = state.services.books().explain_figure(access.portfolio, figure, symbol.as_ref());
    let explained = explained.await.map_err(|error| match (error, &symbol) {
        (Error::NotFound(NotFound::Position), Some(symbol)) => no_position(symbol.as_str()),
        (error, _) => Problem::from(error),
    })?;
    Ok(HttpResponse::Ok().json(Explanation::new(explained, &BTreeMap::new())))
}
