//! Every address and its handler.

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Resource};
use utoipa::OpenApi;

use crate::openapi::Security;
use crate::problem::Problem;
use crate::{AppState, api, assets, csrf, extract, metrics, openapi, pages, session};

/// One list makes the routes, their description and the list that tests walk through.
macro_rules! api {
    ($($path:literal { $($method:ident: $($handler:ident)::+),+ $(,)? })+) => {
        /// Below `/api/v1`.
        fn api_routes(config: &mut ServiceConfig) {
            $(
                let resource = web::resource($path);
                $(let resource = resource.route(web::$method().to($($handler)::+));)+
                config.service(or_method_not_allowed(resource, &[$(stringify!($method)),+]));
            )+
        }

        /// (method, path) of the whole API.
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
    // One after the other is compared with a request's path: first what is asked most.
    "/portfolios/{id}/orders" { get: api::orders::list, post: api::orders::place }
    "/portfolios/{id}/valuation" { get: api::valuation::show }
    "/portfolios/{id}/transactions" { get: api::transactions::list }
    "/auth/register" { post: api::auth::register }
    "/auth/login" { post: api::auth::log_in }
    "/auth/logout" { post: api::auth::log_out }
    "/auth/tokens" { get: api::auth::tokens, post: api::auth::create_token }
    "/auth/tokens/{id}" { delete: api::auth::revoke_token }
    "/users/me" { get: api::users::me, patch: api::users::update, delete: api::users::delete }
    "/users/me/password" { post: api::users::change_password }
    "/portfolios" { get: api::portfolios::list, post: api::portfolios::open }
    "/portfolios/{id}" { get: api::portfolios::show, patch: api::portfolios::update, delete: api::portfolios::delete }
    "/portfolios/{id}/cash" { post: api::portfolios::move_cash }
    "/portfolios/{id}/reset" { post: api::portfolios::reset }
    "/portfolios/{id}/orders/preview" { post: api::orders::preview }
    "/portfolios/{id}/orders/{order_id}" {
        get: api::orders::show, patch: api::orders::replace, delete: api::orders::cancel
    }
    "/portfolios/{id}/positions" { get: api::valuation::positions }
    "/portfolios/{id}/positions/{symbol}" { get: api::valuation::position, delete: api::orders::close_position }
    "/portfolios/{id}/composition" { get: api::valuation::composition }
    "/portfolios/{id}/transactions.csv" { get: api::transactions::csv }
    "/portfolios/{id}/snapshots" { get: api::performance::snapshots }
    "/portfolios/{id}/performance" { get: api::performance::show }
    "/stocks" { get: api::stocks::search }
    "/stocks/{symbol}" { get: api::stocks::show }
    "/stocks/{symbol}/quote" { get: api::stocks::quote }
    "/stocks/{symbol}/history" { get: api::stocks::history }
    "/stream" { get: api::stream::follow }
    "/watchlists" { get: api::watchlists::list, post: api::watchlists::create }
    "/watchlists/{id}" { get: api::watchlists::show, patch: api::watchlists::rename, delete: api::watchlists::delete }
    "/watchlists/{id}/items/{symbol}" { put: api::watchlists::add, delete: api::watchlists::remove }
    "/admin/status" { get: api::admin::status }
    "/admin/users" { get: api::admin::users }
    "/admin/users/{id}" { get: api::admin::user, patch: api::admin::update_user, delete: api::admin::delete_user }
    "/admin/stocks" { get: api::admin::stocks }
    "/admin/splits" { get: api::admin::splits, post: api::admin::resolve_split }
    "/admin/close-outs" { post: api::admin_close_outs::close_out }
    "/admin/close-outs/preview" { post: api::admin_close_outs::preview }
    "/admin/delistings" { get: api::admin_delistings::list, post: api::admin_delistings::resolve }
    "/admin/renames" { post: api::admin_renames::rename }
    "/admin/providers" { get: api::admin::providers }
    "/admin/prices" { get: api::admin_prices::list, post: api::admin_prices::confirm }
    "/admin/jobs" { get: api::admin::jobs, post: api::admin::run_job }
}

/// 405 with the methods there are, where actix-web would say 404.
fn or_method_not_allowed(resource: Resource, methods: &[&'static str]) -> Resource {
    let allowed: Vec<String> = methods.iter().map(|method| method.to_uppercase()).collect();
    let allowed = allowed.join(", ");
    resource.default_service(web::to(move || {
        let allowed = allowed.clone();
        async move { HttpResponse::MethodNotAllowed().insert_header(("Allow", allowed)).finish() }
    }))
}

/// Only what belongs to a user looks at the session: files and health checks stay free of cookies.
pub fn configure(config: &mut ServiceConfig, state: &AppState) {
    let sessions = || session::middleware(state.services.clone(), &state.config);
    let not_found = || web::to(async || Err::<HttpResponse, _>(Problem::not_found()));
    let live = web::resource("/health/live").route(web::get().to(api::health::live));
    let ready = web::resource("/health/ready").route(web::get().to(api::health::ready));
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
        .service(openapi::page())
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
