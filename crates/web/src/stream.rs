//! Events as they happen, over Server-Sent Events.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::http::header::{self, HeaderName};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use domain::{PortfolioId, Symbol, Timestamp};
use futures::Stream;
use serde::{Deserialize, Serialize};
use services::FieldError;
use services::books::valuation::ValuedPortfolio;
use services::live::{
    MAX_PORTFOLIOS, MAX_SYMBOLS, OrderChanged, StreamRequest, Subscription, Update, event_id,
};
use tokio::time::Instant;
use tracing::Span;
use utoipa::{IntoParams, ToSchema};

use crate::AppState;
use crate::http::extract::CurrentUser;
use crate::http::headers::HeadRequest;
use crate::http::input::Query;
use crate::http::problem::Problem;
use crate::portfolios::valuation_api::Valuation;
use crate::stocks::api::Quote;
use crate::trading::order_json::Order;

/// Tells browsers to reconnect after 2 seconds.
const RETRY: &[u8] = b"retry: 2000\n\n";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Following {
    /// Up to 200 symbols, separated by commas. The stream has their quotes.
    #[param(example = "AAPL,MSFT")]
    symbols: Option<String>,
    /// Up to 20 ids of portfolios, separated by commas. The stream has their valuations, and only their orders. Without
    /// it, the stream has the orders of all portfolios.
    portfolio: Option<String>,
}

/// `order`: an order as `GET /api/v1/portfolios/{id}/orders/{order_id}` returns it, with the id of its portfolio. It
/// includes its legs. A leg that was triggered, filled, canceled or has expired also has an event of its own.
#[derive(Serialize, ToSchema)]
pub struct OrderEvent {
    #[schema(value_type = i64)]
    portfolio_id: PortfolioId,
    #[serde(flatten)]
    order: Order,
}

/// `valuation`: a valuation as `GET /api/v1/portfolios/{id}/valuation` returns it, with the id of the portfolio.
#[derive(Serialize, ToSchema)]
pub struct ValuationEvent<'a> {
    #[schema(value_type = i64)]
    portfolio_id: PortfolioId,
    #[serde(flatten)]
    valuation: Valuation<'a>,
}

/// `heartbeat`: the connection is alive. `reset`: events were missed, so reload everything.
#[derive(Serialize, ToSchema)]
#[schema(as = StreamSign)]
pub struct Sign {
    /// Market time.
    at: Timestamp,
}

/// The possible objects in `data`. The kind of the event decides which one it is.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, clippy::large_enum_variant, reason = "used only in the description")]
pub enum StreamEvent {
    Quote(Quote),
    Order(OrderEvent),
    Valuation(ValuationEvent<'static>),
    Sign(Sign),
}

fn frame(event: &str, at: Option<Timestamp>, data: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    if let Some(at) = at {
        text.extend_from_slice(format!("id: {}\n", event_id(at)).as_bytes());
    }
    text.extend_from_slice(format!("event: {event}\ndata: ").as_bytes());
    if let Err(error) = serde_json::to_writer(&mut text, data) {
        // Cannot happen: all values can be written as JSON.
        tracing::error!(error = &error as &dyn std::error::Error, event, "an event cannot be written");
        return Vec::new();
    }
    text.extend_from_slice(b"\n\n");
    text
}

fn order_frame(changed: &OrderChanged) -> Vec<u8> {
    let portfolio_id = changed.order.order.portfolio_id;
    let event = OrderEvent { portfolio_id, order: Order::from(changed.order.clone()) };
    frame("order", Some(changed.at), &event)
}

fn valuation_frame(valued: &ValuedPortfolio) -> Vec<u8> {
    let event = ValuationEvent { portfolio_id: valued.portfolio.id, valuation: Valuation::from(valued) };
    frame("valuation", None, &event)
}

/// A heartbeat event, and a comment for clients that only watch for bytes.
fn heartbeat_frame(at: &Timestamp) -> Vec<u8> {
    [b": heartbeat\n".to_vec(), frame("heartbeat", Some(*at), &Sign { at: *at })].concat()
}

fn write(chunk: &mut Vec<u8>, update: Update<'_>) {
    chunk.extend_from_slice(match update {
        Update::Quote(quote) => quote.wire(|quote| frame("quote", None, &Quote::from(quote.clone()))),
        Update::Order(changed) => changed.wire(order_frame),
        Update::Valuation(valued) => valued.wire(valuation_frame),
        Update::Heartbeat(at) => at.wire(heartbeat_frame),
        Update::Reset(at) => at.wire(|at| frame("reset", Some(*at), &Sign { at: *at })),
    });
}

/// The body of the response. All pending events are written at once.
struct Events {
    subscription: Subscription,
    begun: bool,
    /// The size of the last write, in bytes, as an estimate for the next one.
    usual: usize,
    span: Span,
    since: Instant,
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let events = &mut *self;
        let mut chunk = Vec::new();
        if !events.begun {
            chunk.extend_from_slice(RETRY);
        }
        let usual = events.usual;
        let polled = events.subscription.poll_updates(context, |update| {
            if chunk.is_empty() {
                chunk.reserve_exact(usual);
            }
            write(&mut chunk, update);
        });
        match polled {
            Poll::Ready(false) => Poll::Ready(None),
            Poll::Ready(true) => {
                events.begun = true;
                events.usual = chunk.len();
                Poll::Ready(Some(Ok(chunk.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let duration_s = self.since.elapsed().as_secs();
        self.span.in_scope(|| tracing::info!(duration_s, "stream ended"));
    }
}

/// Reads values that are separated by commas, or reports all invalid ones.
fn list<T>(
    field: &'static str,
    text: Option<&str>,
    most: usize,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Problem> {
    let parts = text.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty());
    let parts: Vec<&str> = parts.collect();
    if parts.len() > most {
        return Err(Problem::invalid(vec![FieldError::new(field, format!("send {most} at most"))]));
    }
    let parts = parts.into_iter();
    let (read, wrong): (Vec<_>, Vec<_>) =
        parts.map(|part| read(part).map_err(|why| format!("{part}: {why}"))).partition(Result::is_ok);
    match wrong.is_empty() {
        true => Ok(read.into_iter().flatten().collect()),
        false => {
            let wrong = wrong.into_iter().filter_map(Result::err);
            Err(Problem::invalid(wrong.map(|message| FieldError::new(field, message)).collect()))
        }
    }
}

/// Stream prices, orders and valuations as they change (Server-Sent Events).
///
/// Each event has a kind (`quote`, `order`, `valuation`, `heartbeat`, `reset`) and a JSON object. The stream begins
/// with the newest prices and valuations. After that, each symbol's newest price is sent at most once a second. A
/// valuation is sent at most once a second, after a price or the portfolio has changed. Orders are always your own, and
/// may be sent more than once. An order includes its `legs`; a leg that was triggered, filled, canceled or has expired
/// also has an event of its own. `order`, `heartbeat` and `reset` carry an `id`. After reconnecting with
/// `Last-Event-ID` you receive the orders that have changed since then, or a `reset` if that was more than an hour ago
/// or too many have changed. A heartbeat is sent every 15 seconds. The stream ends when its session, token or account
/// ends, and when the server stops: reconnect then.
#[utoipa::path(
    get, path = "/api/v1/stream", tag = "stream", operation_id = "streamEvents",
    params(Following, ("Last-Event-ID" = Option<String>, Header, description = "The last `id` of an earlier stream.")),
    responses((status = 200, description = "Events, each with a kind and a JSON object", body = StreamEvent, content_type = "text/event-stream")),
    extensions(("x-problem-codes" = json!(["not_found", "too_many_streams", "streams_full", "unknown_symbol"]))),
)]
pub async fn follow(
    request: HttpRequest,
    user: CurrentUser,
    following: Query<Following>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let symbols = list("symbols", following.symbols.as_deref(), MAX_SYMBOLS, |text| {
        text.parse::<Symbol>().map_err(|error| error.to_string())
    })?;
    let portfolios = list("portfolio", following.portfolio.as_deref(), MAX_PORTFOLIOS, |text| {
        text.parse().map(PortfolioId).map_err(|_| "not the id of a portfolio".to_owned())
    })?;
    let last_event_id = request.headers().get("last-event-id");
    let wanted = StreamRequest {
        symbols,
        portfolios,
        last_event_id: last_event_id.and_then(|id| id.to_str().ok()).map(str::to_owned),
    };
    let proof = user.proof_of(&request)?;
    let subscription = state.services.live().follow(user.account.id, proof, wanted).await?;
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Tells nginx not to buffer the stream.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"));
    if request.extensions().get::<HeadRequest>().is_some() {
        return Ok(response.finish());
    }
    Ok(response.streaming(Events {
        subscription,
        begun: false,
        usual: 0,
        span: Span::current(),
        since: Instant::now(),
    }))
}
