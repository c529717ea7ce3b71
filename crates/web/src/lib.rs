//! HTTP: pages and the JSON API over the use cases of `services`.

mod access_log;
mod api;
mod assets;
mod chart;
mod corporate_actions;
mod csrf;
mod extract;
mod flash;
mod form;
mod format;
mod headers;
mod limits;
mod metrics;
mod openapi;
mod order_fields;
mod pages;
mod problem;
mod render;
mod routes;
mod session;

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::middleware::{Compress, from_fn};
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use ipnet::IpNet;
use secrecy::SecretString;
use services::Services;
use tracing_actix_web::TracingLogger;
use url::Url;

pub use openapi::document as openapi_document;

/// What the web server needs to know of the deployment.
#[derive(Debug, Clone)]
pub struct WebConfig {
    /// Where browsers reach the installation; `https` makes cookies secure.
    pub public_url: Url,
    /// At least 64 characters; signs CSRF tokens.
    pub secret_key: SecretString,
    /// Origins whose scripts may use the API with a token.
    pub cors_allowed_origins: Vec<String>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    pub rate_limits: bool,
    /// Lets clients on other machines read `/metrics`.
    pub metrics_token: Option<SecretString>,
}

impl WebConfig {
    pub fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// Scheme, host and port, as browsers send it in `Origin`.
    pub fn origin(&self) -> String {
        self.public_url.origin().ascii_serialization()
    }
}

/// What handlers share.
pub struct AppState {
    pub services: Services,
    pub config: WebConfig,
    pub pages: render::Pages,
    pub limits: limits::Limits,
}

/// How long running requests may take to end after a shutdown was asked for.
const SHUTDOWN_TIMEOUT_S: u64 = 8;
/// Kept below what load balancers use, so that they and not we close idle connections.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves on `listener` until `shutdown` is ready; then running requests end and it returns.
///
/// # Errors
/// When the listener cannot be used.
pub async fn run(
    services: Services,
    config: WebConfig,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let cors_config = config.clone();
    let limits = limits::Limits::new(config.rate_limits);
    let streams = tokio::spawn({
        let services = services.clone();
        async move { services.keep_streams().await }
    });
    let live = services.clone();
    let state = Data::new(AppState { services, config, pages: render::Pages::new(), limits });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .configure(extract::configure)
            .configure(|routed| routes::configure(routed, &state))
            .wrap(from_fn(limits::limit))
            .wrap(from_fn(problem::shape_errors))
            .wrap(headers::cors(&cors_config))
            .wrap(from_fn(headers::security))
            .wrap(from_fn(headers::head_as_get))
            .wrap(Compress::default())
            .wrap(from_fn(headers::events_as_they_come))
            .wrap(from_fn(metrics::measure))
            .wrap(TracingLogger::<access_log::AccessLog>::new())
    })
    .listen(listener)?
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEADERS_TIMEOUT)
    .shutdown_timeout(SHUTDOWN_TIMEOUT_S)
    .disable_signals()
    .run();
    let handle = server.handle();
    let mut server = std::pin::pin!(server);
    let mut shutdown = std::pin::pin!(shutdown);
    let ended = tokio::select! {
        ended = &mut server => ended,
        () = &mut shutdown => {
            // They would last for as long as somebody listens.
            live.end_streams();
            let (_, ended) = tokio::join!(handle.stop(true), server);
            ended
        }
    };
    streams.abort();
    ended
}
