//! The API for administrators: the stocks that are known.

use actix_web::HttpResponse;
use actix_web::web::Data;
use domain::{Price, Symbol, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::AppState;
use crate::admin::listing::{CURSOR, Listing};
use crate::http::api::{Items, limit, parse};
use crate::http::extract::AdminUser;
use crate::http::input::Query;
use crate::http::problem::Problem;

#[derive(Serialize, ToSchema)]
pub struct KnownStock {
    symbol: Symbol,
    company_name: String,
    exchange: String,
    sector: String,
    last_price: Option<Price>,
    /// Market time of the price.
    last_updated: Option<Timestamp>,
    price_source: Option<String>,
}

/// List the stocks of the installation, by symbol.
#[utoipa::path(
    get, path = "/api/v1/admin/stocks", tag = "admin", operation_id = "adminListStocks",
    params(Listing),
    responses((status = 200, description = "A page of stocks with their last price", body = Items<KnownStock>)),
)]
pub async fn stocks(
    _: AdminUser,
    wanted: Query<Listing>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let after: Option<Symbol> = parse("cursor", wanted.cursor.as_deref(), CURSOR)?;
    let page = state
        .services
        .operations()
        .all_stocks(&wanted.search, after, limit(wanted.limit.as_deref())?)
        .await?;
    let items = page.items.into_iter().map(|stock| KnownStock {
        symbol: stock.listing.symbol.clone(),
        company_name: stock.listing.company_name.clone(),
        exchange: stock.listing.exchange.clone(),
        sector: stock.listing.sector.clone(),
        last_updated: stock.last.as_ref().map(|last| last.as_of),
        price_source: stock.last.as_ref().map(|last| last.source.clone()),
        last_price: stock.last.map(|last| last.price),
    });
    Ok(HttpResponse::Ok()
        .json(Items { items: items.collect(), next_cursor: page.next.map(|symbol| symbol.to_string()) }))
}
