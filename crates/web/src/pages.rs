//! The pages: HTML over the same use cases as the API. Every form is answered with a redirect, also one that is refused: the
//! page that follows shows it again with what is wrong. Only errors that no form can mend are answered at once.

mod accounts;
mod admin;
mod admin_close_out;
mod admin_delisting;
mod admin_rename;
mod admin_stock;
mod composition;
mod coverage;
mod home;
mod key_features;
mod orders;
mod performance;
mod portfolio;
mod portfolio_settings;
mod portfolios;
mod price_pace;
mod settings;
mod sparks;
mod stocks;
mod ticket;
mod transactions;
mod watchlists;

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};

use crate::problem::{PageError, Problem};
use crate::render::Shell;

/// Every page and every form's target.
pub fn configure(config: &mut ServiceConfig) {
    let page = web::resource::<&'static str>;
    config
        .service(page("/").get(home::index))
        .service(page("/register").get(accounts::register_form).post(accounts::register))
        .service(page("/login").get(accounts::log_in_form).post(accounts::log_in))
        .service(page("/logout").get(accounts::log_out_form).post(accounts::log_out))
        .service(page("/portfolios").get(portfolios::list).post(portfolios::open))
        .service(page("/portfolios/{id}").get(portfolio::show))
        .service(
            page("/portfolios/{id}/settings")
                .get(portfolio_settings::settings)
                .post(portfolio_settings::rename),
        )
        .service(page("/portfolios/{id}/cash").post(portfolio_settings::move_cash))
        .service(page("/portfolios/{id}/reset").post(portfolio_settings::reset))
        .service(page("/portfolios/{id}/delete").post(portfolio_settings::delete))
        .service(page("/portfolios/{id}/orders").get(orders::list).post(orders::place))
        .service(page("/portfolios/{id}/orders/preview").get(orders::show_preview).post(orders::preview))
        .service(page("/portfolios/{id}/orders/cancel").post(orders::cancel))
        .service(page("/portfolios/{id}/orders/{order_id}").get(orders::show))
        .service(page("/portfolios/{id}/orders/{order_id}/replace").post(orders::replace))
        .service(page("/portfolios/{id}/transactions").get(transactions::list))
        .service(page("/portfolios/{id}/transactions.csv").get(transactions::csv))
        .service(page("/portfolios/{id}/performance").get(performance::show))
        .service(page("/portfolios/{id}/composition").get(composition::show))
        .service(page("/watchlist").get(watchlists::show).post(watchlists::create))
        .service(page("/watchlist/{id}").post(watchlists::rename))
        .service(page("/watchlist/{id}/add").post(watchlists::add))
        .service(page("/watchlist/{id}/remove").post(watchlists::remove))
        .service(page("/watchlist/{id}/delete").post(watchlists::delete))
        .service(page("/stocks").get(stocks::search))
        .service(page("/stocks/{symbol}").get(stocks::show))
        .service(page("/stocks/{symbol}/watch").post(watchlists::watch))
        .service(page("/settings").get(settings::show))
        .service(page("/settings/profile").post(settings::update_profile))
        .service(page("/settings/display").post(settings::update_display))
        .service(page("/settings/password").post(settings::change_password))
        .service(page("/settings/sessions").post(settings::end_session))
        .service(page("/settings/tokens").post(settings::create_token))
        .service(page("/settings/tokens/revoke").post(settings::revoke_token))
        .service(page("/settings/delete").post(settings::delete_account))
        .service(page("/admin").get(admin::overview))
        .service(page("/admin/users").get(admin::users))
        .service(page("/admin/users/{id}").get(admin::user).post(admin::update_user))
        .service(page("/admin/users/{id}/delete").post(admin::delete_user))
        .service(page("/admin/portfolios").get(admin::portfolios))
        .service(page("/admin/stocks").get(admin::stocks))
        .service(page("/admin/stocks/{symbol}").get(admin_stock::show))
        .service(page("/admin/stocks/{symbol}/split").post(admin_stock::resolve_split))
        .service(page("/admin/stocks/{symbol}/delisting").post(admin_delisting::resolve))
        .service(page("/admin/stocks/{symbol}/rename").post(admin_rename::rename))
        .service(page("/admin/stocks/{symbol}/close-out").post(admin_close_out::close_out))
        .service(page("/admin/transactions").get(admin::transactions))
        .service(page("/admin/snapshots").get(admin::snapshots))
        .service(page("/admin/jobs").get(admin::jobs).post(admin::run_job))
        .service(page("/admin/providers").get(admin::providers))
        .service(page("/admin/prices").post(admin::confirm_price))
        // In the frame of whoever looks for it.
        .default_service(web::to(not_found));
}

async fn not_found(_: Shell) -> Result<HttpResponse, PageError> {
    Err(Problem::not_found().into())
}
