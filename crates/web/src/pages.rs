//! The pages: HTML over the same use cases as the API. Every form is answered with a redirect. If the form was refused,
//! the next page shows it again with its errors. Only errors that the user cannot correct in the form are shown
//! directly.

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};

use crate::http::problem::{PageError, Problem};
use crate::shell::render::Shell;
use crate::{accounts, admin, openapi, portfolios, shell, stocks, trading, watchlists};

/// Registers every page and every form's target.
pub fn configure(config: &mut ServiceConfig) {
    let page = web::resource::<&'static str>;
    config
        .service(page("/").get(shell::home::index))
        .service(page("/register").get(accounts::pages::register_form).post(accounts::pages::register))
        .service(page("/login").get(accounts::pages::log_in_form).post(accounts::pages::log_in))
        .service(page("/logout").get(accounts::pages::log_out_form).post(accounts::pages::log_out))
        .service(page("/portfolios").get(portfolios::pages::list).post(portfolios::pages::open))
        .service(page("/portfolios/explain/twr").get(portfolios::explain_page::show_of_all))
        .service(page("/portfolios/explain/twr/days.csv").get(portfolios::explain_page::csv_of_all))
        .service(page("/portfolios/{id}").get(portfolios::overview::show))
        .service(
            page("/portfolios/{id}/settings")
                .get(portfolios::settings::settings)
                .post(portfolios::settings::rename),
        )
        .service(page("/portfolios/{id}/visibility").post(portfolios::sharing::set))
        .service(page("/portfolios/{id}/cash").post(portfolios::settings::move_cash))
        .service(page("/portfolios/{id}/reset").post(portfolios::settings::reset))
        .service(page("/portfolios/{id}/delete").post(portfolios::settings::delete))
        .service(page("/portfolios/{id}/orders").get(trading::pages::list).post(trading::pages::place))
        .service(
            page("/portfolios/{id}/orders/preview")
                .get(trading::pages::show_preview)
                .post(trading::pages::preview),
        )
        .service(page("/portfolios/{id}/orders/cancel").post(trading::pages::cancel))
        .service(page("/portfolios/{id}/orders/{order_id}").get(trading::pages::show))
        .service(page("/portfolios/{id}/orders/{order_id}/replace").post(trading::pages::replace))
        .service(page("/portfolios/{id}/transactions").get(portfolios::transactions::list))
        .service(page("/portfolios/{id}/transactions.csv").get(portfolios::tables_api::transactions_page))
        .service(page("/portfolios/{id}/snapshots.csv").get(portfolios::tables_api::snapshots_page))
        .service(page("/portfolios/{id}/performance.csv").get(portfolios::tables_api::performance_page))
        .service(page("/portfolios/{id}/positions.csv").get(portfolios::tables_api::positions_page))
        .service(
            page("/portfolios/{id}/import")
                .get(portfolios::import_page::show)
                .post(portfolios::import_page::upload),
        )
        .service(page("/portfolios/{id}/import/confirm").post(portfolios::import_page::confirm))
        .service(page("/portfolios/{id}/performance").get(portfolios::performance::show))
        .service(page("/portfolios/{id}/benchmark").post(portfolios::benchmark_page::choose))
        .service(page("/portfolios/{id}/explain/{figure}").get(portfolios::explain_page::show))
        .service(page("/portfolios/{id}/explain/{figure}/{table}.csv").get(portfolios::explain_page::csv))
        .service(page("/portfolios/{id}/composition").get(portfolios::composition::show))
        .service(page("/portfolios/{id}/composition/limits").post(portfolios::concentration::save))
        .service(page("/watchlist").get(watchlists::pages::show).post(watchlists::pages::create))
        .service(page("/watchlist/{id}").post(watchlists::pages::rename))
        .service(page("/watchlist/{id}/add").post(watchlists::pages::add))
        .service(page("/watchlist/{id}/remove").post(watchlists::pages::remove))
        .service(page("/watchlist/{id}/delete").post(watchlists::pages::delete))
        .service(page("/stocks").get(stocks::search_page::search))
        .service(page("/stocks/{symbol}").get(stocks::pages::show))
        .service(page("/stocks/{symbol}/watch").post(watchlists::pages::watch))
        .service(page("/settings").get(accounts::settings::show))
        .service(page("/settings/profile").post(accounts::settings::update_profile))
        .service(page("/settings/display").post(accounts::settings::update_display))
        .service(page("/settings/password").post(accounts::settings::change_password))
        .service(page("/settings/sessions").post(accounts::settings::end_session))
        .service(page("/settings/tokens").post(accounts::settings::create_token))
        .service(page("/settings/tokens/revoke").post(accounts::settings::revoke_token))
        .service(page("/settings/delete").post(accounts::settings::delete_account))
        .service(page("/docs/").get(openapi::page::index))
        .service(page("/docs/{part}").get(openapi::page::part))
        .service(page("/admin").get(admin::pages::overview))
        .service(page("/admin/users").get(admin::pages::users))
        .service(page("/admin/users/{id}").get(admin::pages::user).post(admin::pages::update_user))
        .service(page("/admin/users/{id}/delete").post(admin::pages::delete_user))
        .service(page("/admin/portfolios").get(admin::pages::portfolios))
        .service(page("/admin/stocks").get(admin::pages::stocks))
        .service(page("/admin/stocks/{symbol}").get(admin::stock_page::show))
        .service(page("/admin/stocks/{symbol}/split").post(admin::stock_page::resolve_split))
        .service(page("/admin/stocks/{symbol}/delisting").post(admin::delisting_page::resolve))
        .service(page("/admin/stocks/{symbol}/rename").post(admin::rename_page::rename))
        .service(page("/admin/stocks/{symbol}/close-out").post(admin::close_out_page::close_out))
        .service(page("/admin/transactions").get(admin::pages::transactions))
        .service(page("/admin/snapshots").get(admin::pages::snapshots))
        .service(page("/admin/jobs").get(admin::pages::jobs).post(admin::pages::run_job))
        .service(page("/admin/providers").get(admin::pages::providers))
        .service(page("/admin/prices").post(admin::pages::confirm_price))
        // The page for unknown addresses has the navigation of the logged-in user.
        .default_service(web::to(not_found));
}

async fn not_found(_: Shell) -> Result<HttpResponse, PageError> {
    Err(Problem::not_found().into())
}
