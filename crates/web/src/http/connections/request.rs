//! Deadlines of request bodies, whether handlers read them or not.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{HttpMessage, HttpResponse};
use futures::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::ConnectionLimits;
use super::registry::{Connection, InProgress};
use crate::http::problem::Problem;

/// Responses are passed to the connection in parts of this size, so that it copies only a little at a time.
const PART: usize = 32 * 1024;
/// How much of an unread body is skipped so that the connection can be reused.
const PASSED_OVER: usize = 64 * 1024;

/// Marks the connection as busy with a request, and gives the request's body its deadline. Must be the outermost
/// layer.
pub async fn watch(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<WatchedBody>, actix_web::Error> {
    let connection = request.request().conn_data::<Arc<Connection>>().cloned();
    let in_progress = connection.as_ref().map(Connection::begin_request);
    let body = match request.take_payload() {
        Payload::None => None,
        payload => {
            let limits = state(&request).config.connections.clone();
            let body = RequestBody::new(payload, limits, connection);
            request.set_payload(Payload::Stream { payload: Box::pin(body.clone()) });
            request.extensions_mut().insert(body.clone());
            Some(body)
        }
    };
    let response = next.call(request).await?;
    let unread = match body {
        Some(body) if !body.is_complete_after_passing_over().await => Some(body),
        _ => None,
    };
    Ok(response.map_body(|_, body| WatchedBody {
        inner: body.boxed(),
        rest: Bytes::new(),
        _in_progress: in_progress,
        _unread: unread,
    }))
}

/// Answers 408 if the body took too long, whatever the handler answered. The connection is then closed.
pub async fn refuse_slow_body(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let body = request.extensions().get::<RequestBody>().cloned();
    let response = next.call(request).await?.map_into_boxed_body();
    Ok(match body {
        Some(body) if body.is_late() => {
            let problem = Problem::request_timeout("The body of the request took too long. Send it again.");
            response.into_response(HttpResponse::from_error(problem))
        }
        _ => response,
    })
}

/// A body that is arriving. Clones are the same body.
#[derive(Clone)]
struct RequestBody(Rc<RefCell<Arriving>>);

struct Arriving {
    payload: Payload,
    limits: ConnectionLimits,
    connection: Option<Arc<Connection>>,
    since: Instant,
    received: u64,
    /// Runs while a task waits for the body.
    timer: Option<Pin<Box<Sleep>>>,
    is_complete: bool,
    /// The body cannot be read completely.
    is_broken: bool,
    is_late: bool,
}

impl RequestBody {
    fn new(payload: Payload, limits: ConnectionLimits, connection: Option<Arc<Connection>>) -> Self {
        Self(Rc::new(RefCell::new(Arriving {
            payload,
            limits,
            connection,
            since: Instant::now(),
            received: 0,
            timer: None,
            is_complete: false,
            is_broken: false,
            is_late: false,
        })))
    }

    fn is_late(&self) -> bool {
        self.0.borrow().is_late
    }

    /// Skips the received part of an unread body without waiting for more, and returns whether the body is now
    /// complete.
    async fn is_complete_after_passing_over(&self) -> bool {
        let mut passed_over = 0;
        // Bytes that came with the head are delivered after the first poll.
        let mut has_waited = false;
        std::future::poll_fn(|context| {
            let mut body = self.0.borrow_mut();
            while !body.is_complete && !body.is_broken && passed_over <= PASSED_OVER {
                match Pin::new(&mut body.payload).poll_next(context) {
                    Poll::Ready(Some(Ok(bytes))) => passed_over += bytes.len(),
                    Poll::Ready(None) => body.is_complete = true,
                    Poll::Pending if !has_waited => {
                        has_waited = true;
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(Err(_))) | Poll::Pending => break,
                }
            }
            Poll::Ready(body.is_complete)
        })
        .await
    }
}

impl Arriving {
    fn client_has_to_send(&self, since: Option<Instant>) {
        if let Some(connection) = &self.connection {
            connection.client_has_to_send(since);
        }
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.since + self.limits.body_deadline(self.received);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context)
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut body = self.0.borrow_mut();
        if body.is_complete {
            return Poll::Ready(None);
        }
        match Pin::new(&mut body.payload).poll_next(context) {
            Poll::Ready(part) => {
                match &part {
                    Some(Ok(bytes)) => body.received += bytes.len() as u64,
                    // actix closes the connection at the next poll, so this poll has to return the response.
                    Some(Err(_)) => body.is_broken = true,
                    None => body.is_complete = true,
                }
                body.client_has_to_send(None);
                Poll::Ready(part)
            }
            Poll::Pending if body.poll_deadline(context).is_ready() => {
                body.is_late = true;
                body.client_has_to_send(None);
                Poll::Ready(Some(Err(PayloadError::Io(std::io::ErrorKind::TimedOut.into()))))
            }
            Poll::Pending => {
                body.client_has_to_send(Some(body.since));
                Poll::Pending
            }
        }
    }
}

/// The body of a response. Its request is in progress as long as this value exists.
pub struct WatchedBody {
    inner: BoxBody,
    /// Bytes taken from `inner` and not yet passed on.
    rest: Bytes,
    _in_progress: Option<InProgress>,
    /// The request's body, if it was not read. actix waits without a deadline for the rest of a chunked body that is
    /// dropped; while the body is held here, actix closes the connection after the response instead.
    _unread: Option<RequestBody>,
}

impl MessageBody for WatchedBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.inner.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        // An empty part would end a chunked response.
        while self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.inner).poll_next(context)) {
                Some(Ok(bytes)) => self.rest = bytes,
                other => return Poll::Ready(other),
            }
        }
        let part = self.rest.len().min(PART);
        Poll::Ready(Some(Ok(self.rest.split_to(part))))
    }
}

fn state(request: &ServiceRequest) -> &crate::AppState {
    request
        .app_data::<actix_web::web::Data<crate::AppState>>()
        .expect("Invariant: the state is part of every app")
}
