//! New symbols of stocks, for administrators.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::NaiveDate;
use domain::Symbol;
use serde::Deserialize;
use services::Fields;
use services::corporate_actions::renames::RenameRequest;
use services::stocks::stock_list::TradableStock;
use utoipa::ToSchema;

use crate::AppState;
use crate::http::extract::AdminUser;
use crate::http::input::Json;
use crate::http::problem::Problem;
use crate::portfolios::api::{done_once, idempotency_key};
use crate::stocks::api::Stock;

/// A stock's new symbol.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StockRename)]
pub struct Rename {
    #[schema(value_type = Symbol)]
    symbol: String,
    /// The new symbol.
    #[schema(value_type = Symbol)]
    to: String,
    /// The company's name from then on. Default: the name that the price source reports.
    company_name: Option<String>,
    /// The first day of the new symbol. Default: today.
    #[schema(value_type = Option<NaiveDate>)]
    on: Option<String>,
    /// Stored with the decision; up to 500 characters.
    reason: String,
}

/// Record a stock's new symbol.
///
/// Holdings, average prices and open orders stay. The old symbol leads to the stock.
#[utoipa::path(
    post, path = "/api/v1/admin/renames", tag = "admin", operation_id = "adminRenameStock",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = Rename,
    responses((status = 200, description = "The stock under its new symbol", body = Stock)),
    extensions(("x-problem-codes" = json!(["unknown_symbol", "idempotency_key_reused", "busy"]))),
)]
pub async fn rename(
    request: HttpRequest,
    AdminUser(admin): AdminUser,
    body: Json<Rename>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let Json(Rename { symbol, to, company_name, on, reason }) = body;
    let mut reader = Fields::default();
    let symbol: Option<Symbol> = reader.read("symbol", &symbol);
    let to: Option<Symbol> = reader.read("to", &to);
    let on: Option<NaiveDate> = on.and_then(|on| match on.parse() {
        Ok(on) => Some(on),
        Err(_) => {
            reader.refuse("on", "enter a day like 2026-11-23, or leave the field empty");
            None
        }
    });
    let (symbol, to) = reader.finish(symbol.zip(to))?;
    let key = idempotency_key(&request)?;
    let rename = RenameRequest { symbol, to, company_name, on, reason, administrator: admin };
    let renamed = state.services.corporate_actions().rename_stock_once(rename, key).await?;
    let restriction = state.services.stocks().trading_restriction(&renamed.value).await?;
    let listing = (*renamed.value.listing).clone();
    Ok(done_once(HttpResponse::Ok(), &renamed).json(Stock::from(TradableStock { listing, restriction })))
}
