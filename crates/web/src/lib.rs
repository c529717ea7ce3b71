//! HTTP: pages and the JSON API over the use cases of `services`.

mod accounts;
mod admin;
mod http;
mod openapi;
mod pages;
mod portfolios;
mod routes;
#[cfg(test)]
mod samples;
mod shell;
mod stocks;
mod stream;
mod trading;
mod watchlists;

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{Extensions, HttpService, Protocol};
use actix_server::Server;
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::App;
use actix_web::dev::AppConfig;
use actix_web::middleware::{Compress, from_fn};
use actix_web::rt::net::TcpStream;
use actix_web::web::Data;
use http::connections::{CLOSING, ClientStream, Registry};
use ipnet::IpNet;
use secrecy::SecretString;
use services::Services;
use tracing_actix_web::TracingLogger;
use url::Url;

pub use http::connections::ConnectionLimits;
pub use openapi::document as openapi_document;

/// The settings of the web server.
#[derive(Debug, Clone)]
pub struct WebConfig {
    /// The address at which browsers reach the installation; with `https` cookies are secure.
    pub public_url: Url,
    /// At least 64 characters; signs CSRF tokens.
    pub secret_key: SecretString,
    /// Origins whose scripts may use the API with a token.
    pub cors_allowed_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
    pub rate_limits: bool,
    /// Lets clients on other machines read `/metrics`.
    pub metrics_token: Option<SecretString>,
    pub connections: ConnectionLimits,
    /// Counts the log lines of this process that could not be written.
    pub dropped_log_lines: Arc<AtomicU64>,
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

/// The state that handlers share.
pub struct AppState {
    pub services: Services,
    pub config: WebConfig,
    pub pages: shell::render::Pages,
    pub limits: http::limits::Limits,
}

/// How long requests in progress may take after the start of a shutdown.
const SHUTDOWN_TIMEOUT_S: u64 = 8;
/// How long a connection that the server closes stays open for reading, so that the client gets the whole response.
const LINGER: Duration = Duration::from_secs(1);

/// Serves on `listener` until `shutdown` is ready, then waits for the requests in progress.
///
/// # Errors
/// If the listener cannot be used.
pub async fn run(
    services: Services,
    config: WebConfig,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let cors_config = config.clone();
    let limits = http::limits::Limits::new(config.rate_limits);
    let registry = Registry::new(config.connections.clone(), config.trusted_proxies.clone());
    let streams = tokio::spawn({
        let services = services.clone();
        async move { services.live().keep_streams().await }
    });
    let live = services.clone();
    let state = Data::new(AppState { services, config, pages: shell::render::Pages::new(), limits });
    // `HttpServer` combines the same parts, but does not accept connections of a type of our own.
    let workers = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    let builder = Server::build();
    let draining = builder.graceful_shutdown_signal();
    let server = builder
        .workers(workers)
        // The registry refuses connections; this limit bounds the connections that have not reached it yet.
        .max_concurrent_connections((registry.limits.total + CLOSING).div_ceil(workers))
        .shutdown_timeout(SHUTDOWN_TIMEOUT_S)
        .disable_signals()
        .listen("stockyard", listener, move || {
            let (state, registry, draining) = (state.clone(), registry.clone(), draining.clone());
            let limits = &registry.limits;
            let http = HttpService::build()
                .keep_alive(limits.keep_alive)
                .client_request_timeout(limits.header_timeout)
                .client_disconnect_timeout(LINGER)
                .graceful_shutdown_signal(move || {
                    let draining = draining.clone();
                    async move { draining.notified().await }
                })
                .on_connect_ext(|stream: &ClientStream, data: &mut Extensions| {
                    data.insert(stream.connection());
                });
            let app = App::new()
                .app_data(state.clone())
                .configure(http::extract::configure)
                .configure(|routed| routes::configure(routed, &state))
                .wrap(from_fn(http::connections::refuse_slow_body))
                .wrap(from_fn(http::limits::limit))
                .wrap(from_fn(http::request_size::limit_head))
                .wrap(from_fn(http::problem::shape_errors))
                .wrap(http::headers::cors(&cors_config))
                .wrap(from_fn(http::headers::security))
                .wrap(from_fn(http::headers::head_as_get))
                .wrap(from_fn(http::headers::compress_large_bodies))
                .wrap(Compress::default())
                .wrap(from_fn(http::headers::leave_streams_uncompressed))
                .wrap(from_fn(http::metrics::measure))
                .wrap(from_fn(http::access_log::log_request))
                .wrap(TracingLogger::<http::access_log::RequestSpan>::new())
                .wrap(from_fn(http::connections::watch));
            fn_service(move |io: TcpStream| {
                let registry = registry.clone();
                async move {
                    let peer = io.peer_addr().ok();
                    let stream = ClientStream::admit(&registry, io).await.map_err(DispatchError::Io)?;
                    Ok((stream, Protocol::Http1, peer))
                }
            })
            .and_then(http.finish(map_config(app, |()| AppConfig::default())))
        })?
        .run();
    let handle = server.handle();
    let mut server = std::pin::pin!(server);
    let mut shutdown = std::pin::pin!(shutdown);
    let ended = tokio::select! {
        ended = &mut server => ended,
        () = &mut shutdown => {
            // Otherwise streams would stay open until their clients disconnect.
            live.live().end_streams();
            let (_, ended) = tokio::join!(handle.stop(true), server);
            ended
        }
    };
    streams.abort();
    ended
}
