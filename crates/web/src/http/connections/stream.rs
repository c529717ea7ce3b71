//! A client's connection with deadlines for the head of each request, and for responses that are not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::ResponseError as _;
use actix_web::http::StatusCode;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::registry::{Connection, Place, Registry};
use crate::http::problem::Problem;

/// actix answers 400 to addresses of 64 KiB and more instead of 414. Longer request lines are cut, so that the
/// request still reaches the application, which answers 414.
const LONGEST_REQUEST_LINE: usize = 60_000;
/// How much of an unsent response the system buffers. Its default is some megabytes per client that does not read.
const UNSENT: u32 = 128 * 1024;
/// How many bytes are delivered before the application polls them. actix parses requests from all delivered bytes,
/// however many are queued: a client that sends many and reads no response would fill the memory.
const AT_ONCE: usize = 2048;
/// The longest time for refusing a connection.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A TCP connection that ends if its client lets the server wait too long, or if it has to make room for a new one.
pub struct ClientStream {
    io: TcpStream,
    place: Place,
    head: Option<Head>,
    blocked: Option<Blocked>,
    /// Bytes delivered since the application last polled.
    handed_over: usize,
}

/// A request's head that is arriving.
struct Head {
    /// The number of requests that had begun when the first byte of this head arrived.
    requests: u64,
    timer: Pin<Box<Sleep>>,
    /// Length of the request line so far; `None` when it is complete.
    line: Option<usize>,
}

/// A response that the client reads too slowly for the socket to accept all of it.
struct Blocked {
    since: Instant,
    sent: u64,
    timer: Pin<Box<Sleep>>,
}

impl ClientStream {
    /// Registers the connection. If there is no place for it, answers 503 and closes it.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn admit(registry: &Arc<Registry>, io: TcpStream) -> io::Result<Self> {
        let peer = io.peer_addr()?;
        let Some(place) = registry.admit(peer.ip()) else {
            tracing::debug!(%peer, "connection refused: too many are open");
            let _ = timeout(REFUSAL_TIMEOUT, refuse(&io)).await;
            return Err(io::Error::other("too many connections"));
        };
        if let Err(error) = SockRef::from(&io).set_tcp_notsent_lowat(UNSENT) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "cannot limit the system's buffer for responses"
            );
        }
        // actix writes a longer response in parts of 32 KiB. Without this the last part waits until the client has
        // acknowledged the others, which clients delay by 40 ms.
        if let Err(error) = io.set_nodelay(true) {
            tracing::debug!(error = &error as &dyn std::error::Error, "parts of responses are sent late");
        }
        Ok(Self { io, place, head: None, blocked: None, handed_over: 0 })
    }

    pub fn connection(&self) -> Arc<Connection> {
        self.place.connection().clone()
    }

    /// Called for received bytes, which are in `buffer` from `start` on.
    fn watch_head(&mut self, buffer: &mut ReadBuf<'_>, start: usize) -> io::Result<()> {
        let connection = self.place.connection();
        let requests = connection.requests();
        if !connection.is_between_requests() {
            self.head = None;
            return Ok(());
        }
        if buffer.filled().len() == start {
            return Ok(());
        }
        let head = match &mut self.head {
            Some(head) if head.requests == requests => head,
            head => {
                let now = Instant::now();
                connection.client_has_to_send(Some(now));
                head.insert(Head {
                    requests,
                    timer: Box::pin(sleep_until(now + self.place.limits().header_timeout)),
                    line: Some(0),
                })
            }
        };
        head.cut_request_line(buffer, start)
    }

    fn is_head_late(&mut self, context: &mut Context<'_>) -> bool {
        let connection = self.place.connection();
        match &mut self.head {
            Some(head) if connection.is_between_requests() && head.requests == connection.requests() => {
                head.timer.as_mut().poll(context).is_ready()
            }
            _ => false,
        }
    }

    /// Called when the socket accepts no more bytes.
    fn is_reader_too_slow(&mut self, context: &mut Context<'_>) -> bool {
        let limits = self.place.limits();
        let connection = self.place.connection();
        let blocked = self.blocked.get_or_insert_with(|| {
            let since = Instant::now();
            connection.client_has_to_read(Some(since));
            Blocked { since, sent: 0, timer: Box::pin(sleep_until(since + limits.send_deadline(0))) }
        });
        while blocked.timer.as_mut().poll(context).is_ready() {
            let deadline = blocked.since + limits.send_deadline(blocked.sent);
            if deadline <= Instant::now() {
                return true;
            }
            blocked.timer.as_mut().reset(deadline);
        }
        false
    }
}

impl Head {
    /// Removes the excess of the request line from the bytes from `start` on.
    fn cut_request_line(&mut self, buffer: &mut ReadBuf<'_>, start: usize) -> io::Result<()> {
        let Some(length) = self.line else { return Ok(()) };
        let new = &buffer.filled()[start..];
        let end = new.iter().position(|byte| *byte == b'\n');
        let part = end.unwrap_or(new.len());
        self.line = end.is_none().then_some(length + part);
        if length + part <= LONGEST_REQUEST_LINE {
            return Ok(());
        }
        let rest = end.map(|end| [b" HTTP/1.1\r\n", &new[end + 1..]].concat()).unwrap_or_default();
        buffer.set_filled(start + LONGEST_REQUEST_LINE.saturating_sub(length));
        if buffer.remaining() < rest.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the request line is too long"));
        }
        buffer.put_slice(&rest);
        Ok(())
    }
}

fn too_slow(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// The whole text of a response that closes the connection.
fn closing_response(problem: &Problem) -> Vec<u8> {
    let (status, body) = (problem.status_code(), problem.document());
    let reason = status.canonical_reason().unwrap_or_default();
    let code = status.as_u16();
    let length = body.len();
    format!(
        "HTTP/1.1 {code} {reason}\r\ncontent-type: application/problem+json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn refuse(io: &TcpStream) -> io::Result<()> {
    let problem = Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too_many_connections",
        "Too many connections",
        "Too many connections are open. Close some of yours, or try again later.",
    );
    io.writable().await?;
    io.try_write(&closing_response(&problem))?;
    // Closing a connection with unread bytes would discard the response.
    let _ = io.try_read(&mut [0; 4096]);
    Ok(())
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.place.check(context)?;
        loop {
            if this.handed_over >= AT_ONCE {
                this.handed_over = 0;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let start = buffer.filled().len();
            let room = buffer.remaining().min(AT_ONCE - this.handed_over);
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
            let polled = Pin::new(&mut this.io).poll_read(context, &mut part)?;
            let received = part.filled().len();
            buffer.advance(received);
            this.handed_over += received;
            match polled {
                Poll::Ready(()) => {
                    let is_end = buffer.filled().len() == start;
                    this.watch_head(buffer, start)?;
                    // Zero bytes would mean the end of the stream.
                    if is_end || buffer.filled().len() > start {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Pending => {
                    this.handed_over = 0;
                    if this.is_head_late(context) {
                        let problem = Problem::request_timeout("The head of the request took too long.");
                        let _ = this.io.try_write(&closing_response(&problem));
                        return Poll::Ready(Err(too_slow("the head of a request took too long")));
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_write(context, bytes)? {
            Poll::Ready(written) => {
                if let Some(blocked) = &mut this.blocked {
                    blocked.sent += written as u64;
                }
                Poll::Ready(Ok(written))
            }
            Poll::Pending => {
                this.place.check(context)?;
                if this.is_reader_too_slow(context) {
                    return Poll::Ready(Err(too_slow("the client does not read the response")));
                }
                Poll::Pending
            }
        }
    }

    /// actix calls it when all bytes are written.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.blocked.take().is_some() {
            this.place.connection().client_has_to_read(None);
        }
        Pin::new(&mut this.io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}
