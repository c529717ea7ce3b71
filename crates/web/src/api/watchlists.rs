//! Watchlists with live quotes.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path};
use domain::{Symbol, Timestamp, WatchlistId};
use serde::{Deserialize, Serialize};
use services::watchlists::WatchedList;
use utoipa::ToSchema;

use super::Items;
use super::stocks::{Quote, symbol};
use crate::AppState;
use crate::extract::CurrentUser;
use crate::problem::{Problem, ProblemBody};

#[derive(Serialize, ToSchema)]
pub struct Watchlist {
    id: i64,
    name: String,
    created_at: Timestamp,
    /// In the order they were added.
    items: Vec<WatchedStock>,
}

#[derive(Serialize, ToSchema)]
pub struct WatchedStock {
    symbol: Symbol,
    company_name: String,
    /// Null when there has never been a price.
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

/// All lists of the user.
#[utoipa::path(get, path = "/api/v1/watchlists", tag = "watchlists", responses((status = 200, body = Items<Watchlist>)))]
pub async fn list(user: CurrentUser, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let lists = state.services.watchlists(user.account.id).await?;
    Ok(HttpResponse::Ok().json(Items::all(lists.into_iter().map(Watchlist::from).collect())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchlistName {
    name: String,
}

/// Make a list.
#[utoipa::path(post, path = "/api/v1/watchlists", tag = "watchlists", request_body = WatchlistName, responses(
    (status = 201, body = Watchlist), (status = 422, body = ProblemBody)))]
pub async fn create(
    user: CurrentUser,
    body: Json<WatchlistName>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let list = state.services.create_watchlist(user.account.id, &body.name).await?;
    Ok(HttpResponse::Created()
        .insert_header(("Location", format!("/api/v1/watchlists/{}", list.id)))
        .json(Watchlist::from(list)))
}

/// One list.
#[utoipa::path(get, path = "/api/v1/watchlists/{id}", tag = "watchlists", params(("id" = i64, Path)), responses(
    (status = 200, body = Watchlist), (status = 404, body = ProblemBody)))]
pub async fn show(user: CurrentUser, id: Path<i64>, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let list = state.services.watchlist(user.account.id, WatchlistId(*id)).await?;
    Ok(HttpResponse::Ok().json(Watchlist::from(list)))
}

/// Rename a list.
#[utoipa::path(patch, path = "/api/v1/watchlists/{id}", tag = "watchlists", params(("id" = i64, Path)),
    request_body = WatchlistName, responses(
    (status = 200, body = Watchlist), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn rename(
    user: CurrentUser,
    id: Path<i64>,
    body: Json<WatchlistName>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let list = state.services.rename_watchlist(user.account.id, WatchlistId(*id), &body.name).await?;
    Ok(HttpResponse::Ok().json(Watchlist::from(list)))
}

/// Delete a list.
#[utoipa::path(delete, path = "/api/v1/watchlists/{id}", tag = "watchlists", params(("id" = i64, Path)), responses(
    (status = 204), (status = 404, body = ProblemBody)))]
pub async fn delete(
    user: CurrentUser,
    id: Path<i64>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    state.services.delete_watchlist(user.account.id, WatchlistId(*id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Put a stock on the list. One that is there already stays where it is.
#[utoipa::path(put, path = "/api/v1/watchlists/{id}/items/{symbol}", tag = "watchlists",
    params(("id" = i64, Path), ("symbol" = String, Path)), responses(
    (status = 204), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn add(
    user: CurrentUser,
    path: Path<(i64, String)>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (id, text) = path.into_inner();
    state.services.watch(user.account.id, WatchlistId(id), &symbol(&text)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Take a stock off the list.
#[utoipa::path(delete, path = "/api/v1/watchlists/{id}/items/{symbol}", tag = "watchlists",
    params(("id" = i64, Path), ("symbol" = String, Path)), responses(
    (status = 204), (status = 404, body = ProblemBody)))]
pub async fn remove(
    user: CurrentUser,
    path: Path<(i64, String)>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (id, text) = path.into_inner();
    state.services.unwatch(user.account.id, WatchlistId(id), &symbol(&text)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
