//! The API for watchlists, with quotes.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use domain::{Symbol, Timestamp, WatchlistId};
use serde::{Deserialize, Serialize};
use services::watchlists::WatchedList;
use utoipa::ToSchema;

use crate::AppState;
use crate::http::api::Items;
use crate::http::extract::CurrentUser;
use crate::http::input::Json;
use crate::http::problem::Problem;
use crate::stocks::api::{Quote, symbol};

#[derive(Serialize, ToSchema)]
pub struct Watchlist {
    id: i64,
    name: String,
    created_at: Timestamp,
    /// In the order in which they were added.
    items: Vec<WatchedStock>,
}

#[derive(Serialize, ToSchema)]
pub struct WatchedStock {
    symbol: Symbol,
    company_name: String,
    /// Null if the stock has never had a price.
    quote: Option<Quote>,
}

impl From<WatchedList> for Watchlist {
    fn from(list: WatchedList) -> Self {
        let item = |watched: services::watchlists::WatchedStock| WatchedStock {
            symbol: watched.stock.listing.symbol.clone(),
            company_name: watched.stock.listing.company_name.clone(),
            quote: watched.quote.map(Quote::from),
        };
        Self {
            id: list.id.0,
            name: list.name,
            created_at: list.created_at,
            items: list.items.into_iter().map(item).collect(),
        }
    }
}

/// List your watchlists with quotes.
#[utoipa::path(
    get, path = "/api/v1/watchlists", tag = "watchlists", operation_id = "listWatchlists",
    responses((status = 200, description = "The watchlists", body = Items<Watchlist>)),
)]
pub async fn list(user: CurrentUser, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let lists = state.services.watchlists().all(user.account.id).await?;
    Ok(HttpResponse::Ok().json(Items::all(lists.into_iter().map(Watchlist::from).collect())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchlistName {
    name: String,
}

/// Create a watchlist.
#[utoipa::path(
    post, path = "/api/v1/watchlists", tag = "watchlists", operation_id = "createWatchlist",
    request_body = WatchlistName,
    responses((status = 201, description = "The new watchlist", body = Watchlist)),
)]
pub async fn create(
    user: CurrentUser,
    body: Json<WatchlistName>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let list = state.services.watchlists().create_watchlist(user.trader()?, &body.name).await?;
    Ok(HttpResponse::Created()
        .insert_header(("Location", format!("/api/v1/watchlists/{}", list.id)))
        .json(Watchlist::from(list)))
}

/// Get a watchlist with quotes.
#[utoipa::path(
    get, path = "/api/v1/watchlists/{id}", tag = "watchlists", operation_id = "getWatchlist",
    params(("id" = i64, Path)),
    responses((status = 200, description = "The watchlist", body = Watchlist)),
)]
pub async fn show(user: CurrentUser, id: Path<i64>, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let list = state.services.watchlists().watchlist(user.account.id, WatchlistId(*id)).await?;
    Ok(HttpResponse::Ok().json(Watchlist::from(list)))
}

/// Rename a watchlist.
#[utoipa::path(
    patch, path = "/api/v1/watchlists/{id}", tag = "watchlists", operation_id = "renameWatchlist",
    params(("id" = i64, Path)),
    request_body = WatchlistName,
    responses((status = 200, description = "The changed watchlist", body = Watchlist)),
)]
pub async fn rename(
    user: CurrentUser,
    id: Path<i64>,
    body: Json<WatchlistName>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let list =
        state.services.watchlists().rename_watchlist(user.trader()?, WatchlistId(*id), &body.name).await?;
    Ok(HttpResponse::Ok().json(Watchlist::from(list)))
}

/// Delete a watchlist.
#[utoipa::path(
    delete, path = "/api/v1/watchlists/{id}", tag = "watchlists", operation_id = "deleteWatchlist",
    params(("id" = i64, Path)),
    responses((status = 204, description = "The watchlist is deleted")),
)]
pub async fn delete(
    user: CurrentUser,
    id: Path<i64>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    state.services.watchlists().delete_watchlist(user.trader()?, WatchlistId(*id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Add a stock to a watchlist.
///
/// A stock that is already on the list keeps its place.
#[utoipa::path(
    put, path = "/api/v1/watchlists/{id}/items/{symbol}", tag = "watchlists", operation_id = "addToWatchlist",
    params(("id" = i64, Path), ("symbol" = Symbol, Path)),
    responses((status = 204, description = "The stock is on the list")),
    extensions(("x-problem-codes" = json!(["unknown_symbol", "source_unavailable"]))),
)]
pub async fn add(
    user: CurrentUser,
    path: Path<(i64, String)>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (id, text) = path.into_inner();
    state.services.watchlists().watch(user.trader()?, WatchlistId(id), &symbol(&text)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Remove a stock from a watchlist.
#[utoipa::path(
    delete, path = "/api/v1/watchlists/{id}/items/{symbol}", tag = "watchlists", operation_id = "removeFromWatchlist",
    params(("id" = i64, Path), ("symbol" = Symbol, Path)),
    responses((status = 204, description = "The stock is not on the list")),
)]
pub async fn remove(
    user: CurrentUser,
    path: Path<(i64, String)>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (id, text) = path.into_inner();
    state.services.watchlists().unwatch(user.trader()?, WatchlistId(id), &symbol(&text)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
