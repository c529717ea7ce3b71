//! Every address and its handler.

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Resource};
use utoipa::OpenApi;

use crate::http::problem::Problem;
use crate::http::{csrf, extract, metrics, session};
use crate::openapi::Security;
use crate::shell::assets;
use crate::{
    AppState, accounts, admin, http, openapi, pages, portfolios, stocks, stream, trading, watchlists,
};

/// Generates the routes, their description, and the list for tests from one table.
macro_rules! api {
    ($($path:literal { $($method:ident: $($handler:ident)::+),+ $(,)? })+) => {
        /// Registers the routes below `/api/v1`.
        fn api_routes(config: &mut ServiceConfig) {
            $(
                let resource = web::resource($path);
                $(let resource = resource.route(web::$method().to($($handler)::+));)+
                let resource = if $path.ends_with("/import") { extract::with_file_limit(resource) } else { resource };
                config.service(or_method_not_allowed(resource, &[$(stringify!($method)),+]));
            )+
        }

        /// The method and path of each route, for tests.
        #[cfg(test)]
        const API: &[(&str, &str)] = &[$($((stringify!($method), concat!("/api/v1", $path))),+),+];

        #[derive(OpenApi)]
        #[openapi(
            info(
                title = "Stockyard",
                description = "Practice trading: portfolios with virtual cash, orders, valuation and performance. \
                    Decimals are strings in plain notation, instants RFC 3339 in UTC.",
            ),
            paths($($($($handler)::+),+),+),
            modifiers(&Security),
            security(("token" = []), ("session" = [])),
        )]
        pub struct ApiDoc;
    };
}

api! {
    // actix-web compares paths in this order, so frequent ones come first.
    "/portfolios/{id}/orders" {
        get: trading::list_api::list, post: trading::api::place, delete: trading::closing_api::cancel_all
    }
    "/portfolios/{id}/valuation" { get: portfolios::valuation_api::show }
    "/portfolios/{id}/transactions" { get: portfolios::transactions_api::list }
    "/portfolios/{id}/transactions/import" { post: portfolios::import_api::import }
    "/auth/register" { post: accounts::auth_api::register }
    "/auth/login" { post: accounts::auth_api::log_in }
    "/auth/logout" { post: accounts::auth_api::log_out }
    "/auth/tokens" { get: accounts::auth_api::tokens, post: accounts::auth_api::create_token }
    "/auth/tokens/{id}" { delete: accounts::auth_api::revoke_token }
    "/users/me" { get: accounts::users_api::me, patch: accounts::users_api::update, delete: accounts::users_api::delete }
    "/users/me/password" { post: accounts::users_api::change_password }
    "/portfolios" { get: portfolios::api::list, post: portfolios::api::open }
    "/portfolios/overview" { get: portfolios::all_api::show }
    "/portfolios/{id}" { get: portfolios::api::show, patch: portfolios::api::update, delete: portfolios::api::delete }
    "/portfolios/{id}/cash" { post: portfolios::api::move_cash }
    "/portfolios/{id}/reset" { post: portfolios::api::reset }
    "/portfolios/{id}/orders/preview" { post: trading::preview_api::preview }
    "/portfolios/{id}/orders/{order_id}" {
        get: trading::api::show, patch: trading::api::replace, delete: trading::api::cancel
    }
    "/portfolios/{id}/positions" {
        get: portfolios::valuation_api::positions, delete: trading::closing_api::close_all_positions
    }
    "/portfolios/{id}/positions/{symbol}" {
        get: portfolios::valuation_api::position, delete: trading::closing_api::close_position
    }
    "/portfolios/{id}/composition" { get: portfolios::valuation_api::composition }
    "/portfolios/{id}/composition/limits" { put: portfolios::concentration::set }
    "/portfolios/{id}/transactions.csv" { get: portfolios::tables_api::transactions }
    "/portfolios/{id}/snapshots.csv" { get: portfolios::tables_api::snapshots }
    "/portfolios/{id}/performance.csv" { get: portfolios::tables_api::performance }
    "/portfolios/{id}/positions.csv" { get: portfolios::tables_api::positions }
    "/portfolios/{id}/snapshots" { get: portfolios::performance_api::snapshots }
    "/portfolios/{id}/explanations/{figure}" { get: portfolios::explanations_api::show }
    "/portfolios/{id}/performance" { get: portfolios::performance_api::show }
    "/market/clock" { get: stocks::market_api::clock }
    "/market/calendar" { get: stocks::market_api::calendar }
    "/stocks" { get: stocks::list_api::list }
    // Must be before the address of a stock, whose pattern it matches too.
    "/stocks/quotes" { get: stocks::list_api::quotes }
    "/stocks/{symbol}" { get: stocks::api::show }
    "/stocks/{symbol}/quote" { get: stocks::api::quote }
    "/stocks/{symbol}/history" { get: stocks::api::history }
    "/stream" { get: stream::follow }
    "/watchlists" { get: watchlists::api::list, post: watchlists::api::create }
    "/watchlists/{id}" { get: watchlists::api::show, patch: watchlists::api::rename, delete: watchlists::api::delete }
    "/watchlists/{id}/items/{symbol}" { put: watchlists::api::add, delete: watchlists::api::remove }
    "/admin/status" { get: admin::status_api::status }
    "/admin/users" { get: admin::users_api::users }
    "/admin/users/{id}" { get: admin::users_api::user, patch: admin::users_api::update_user, delete: admin::users_api::delete_user }
    "/admin/stocks" { get: admin::stocks_api::stocks }
    "/admin/splits" { get: admin::splits_api::splits, post: admin::splits_api::resolve_split }
    "/admin/close-outs" { post: admin::close_outs_api::close_out }
    "/admin/close-outs/preview" { post: admin::close_outs_api::preview }
    "/admin/delistings" { get: admin::delistings_api::list, post: admin::delistings_api::resolve }
    "/admin/renames" { post: admin::renames_api::rename }
    "/admin/providers" { get: admin::providers_api::providers }
    "/admin/prices" { get: admin::prices_api::list, post: admin::prices_api::confirm }
    "/admin/jobs" { get: admin::status_api::jobs, post: admin::status_api::run_job }
}

/// Responds 405 with the allowed methods; actix-web would respond 404.
fn or_method_not_allowed(resource: Resource, methods: &[&'static str]) -> Resource {
    let allowed: Vec<String> = methods.iter().map(|method| method.to_uppercase()).collect();
    let allowed = allowed.join(", ");
    resource.default_service(web::to(move || {
        let allowed = allowed.clone();
        async move { HttpResponse::MethodNotAllowed().insert_header(("Allow", allowed)).finish() }
    }))
}

/// Registers all routes. Only addresses with users read the session: files and health checks work without cookies.
pub fn configure(config: &mut ServiceConfig, state: &AppState) {
    let sessions = || session::middleware(state.services.clone(), &state.config);
    let not_found = || web::to(async || Err::<HttpResponse, _>(Problem::not_found()));
    let live = web::resource("/health/live").route(web::get().to(http::health::live));
    let ready = web::resource("/health/ready").route(web::get().to(http::health::ready));
    let figures = web::resource("/metrics").route(web::get().to(metrics::show));
    let files = web::resource("/static/{path:.*}").route(web::get().to(assets::serve));
    let description = web::resource(openapi::PATH).route(web::get().to(openapi::json));
    config
        .service(or_method_not_allowed(live, &["get"]))
        .service(or_method_not_allowed(ready, &["get"]))
        .service(or_method_not_allowed(figures, &["get"]))
        .service(or_method_not_allowed(files, &["get"]))
        .service(or_method_not_allowed(description, &["get"]))
        .service(
            web::scope("/api/v1")
                .wrap(from_fn(extract::authenticate))
                .wrap(session::identity())
                .wrap(sessions())
                .wrap(from_fn(extract::authorization_alone))
                .configure(api_routes)
                .default_service(not_found()),
        )
        .service(web::scope("/api").default_service(not_found()))
        .service(web::redirect("/docs", "/docs/").see_other())
        .service(
            web::scope("")
                .wrap(from_fn(csrf::seed))
                .wrap(session::identity())
                .wrap(sessions())
                .configure(pages::configure)
                .default_service(not_found()),
        );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_in_the_description_and_nothing_else() {
        let document = openapi::document();
        let mut described: Vec<(String, String)> = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            described.extend(item.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())));
        }
        let mut routed: Vec<(String, String)> =
            API.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
        described.sort();
        routed.sort();
        assert_eq!(described, routed);
    }
}
