//! The API for administrators: the accounts of users.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use domain::UserId;
use serde::{Deserialize, Serialize};
use services::accounts::admin::AccountRow;
use utoipa::ToSchema;

use crate::AppState;
use crate::accounts::users_api::User;
use crate::admin::listing::{CURSOR, Listing};
use crate::http::api::{Items, limit, parse};
use crate::http::extract::AdminUser;
use crate::http::input::{Json, Query};
use crate::http::problem::Problem;

#[derive(Serialize, ToSchema)]
#[schema(as = AdminUser)]
pub struct AdminView {
    #[serde(flatten)]
    user: User,
    is_active: bool,
    portfolios: i64,
}

impl From<AccountRow> for AdminView {
    fn from(row: AccountRow) -> Self {
        Self { is_active: row.account.is_active, portfolios: row.portfolios, user: row.account.into() }
    }
}

/// List all users, newest first.
#[utoipa::path(
    get, path = "/api/v1/admin/users", tag = "admin", operation_id = "adminListUsers",
    params(Listing),
    responses((status = 200, description = "A page of users", body = Items<AdminView>)),
)]
pub async fn users(
    AdminUser(admin): AdminUser,
    wanted: Query<Listing>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let before = parse("cursor", wanted.cursor.as_deref(), CURSOR)?.map(UserId);
    let page = state
        .services
        .accounts()
        .all_users(&admin, &wanted.search, before, limit(wanted.limit.as_deref())?)
        .await?;
    Ok(HttpResponse::Ok().json(Items {
        next_cursor: page.next.map(|id| id.to_string()),
        items: page.items.into_iter().map(AdminView::from).collect(),
    }))
}

/// Get a user.
#[utoipa::path(
    get, path = "/api/v1/admin/users/{id}", tag = "admin", operation_id = "adminGetUser",
    params(("id" = i64, Path)),
    responses((status = 200, description = "The user", body = AdminView)),
)]
pub async fn user(
    AdminUser(admin): AdminUser,
    id: Path<i64>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let row = state.services.accounts().any_user_with_portfolios(&admin, UserId(*id)).await?;
    Ok(HttpResponse::Ok().json(AdminView::from(row)))
}

/// Changes to the user. A field that is left out keeps its value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserFlags)]
pub struct Flags {
    /// A closed account cannot log in; its sessions and tokens end.
    is_active: Option<bool>,
    is_admin: Option<bool>,
}

/// Close or open an account, or grant or revoke administrator rights.
///
/// A closed account cannot log in; its sessions and tokens end.
#[utoipa::path(
    patch, path = "/api/v1/admin/users/{id}", tag = "admin", operation_id = "adminUpdateUser",
    params(("id" = i64, Path)),
    request_body = Flags,
    responses((status = 200, description = "The changed user", body = AdminView)),
    extensions(("x-problem-codes" = json!(["last_admin"]))),
)]
pub async fn update_user(
    AdminUser(admin): AdminUser,
    id: Path<i64>,
    body: Json<Flags>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let id = UserId(*id);
    state.services.accounts().set_user_flags(&admin, id, body.is_active, body.is_admin).await?;
    let row = state.services.accounts().any_user_with_portfolios(&admin, id).await?;
    Ok(HttpResponse::Ok().json(AdminView::from(row)))
}

/// Delete a user with all their data.
#[utoipa::path(
    delete, path = "/api/v1/admin/users/{id}", tag = "admin", operation_id = "adminDeleteUser",
    params(("id" = i64, Path)),
    responses((status = 204, description = "The user is deleted")),
    extensions(("x-problem-codes" = json!(["last_admin"]))),
)]
pub async fn delete_user(
    AdminUser(admin): AdminUser,
    id: Path<i64>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    state.services.accounts().remove_user(&admin, UserId(*id)).await?;
    Ok(HttpResponse::NoContent().finish())
}
