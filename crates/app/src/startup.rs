//! The start of a process: reserves its port, and waits for the database and Redis.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::net::TcpSocket;
use tokio::sync::watch;

/// The first pause between attempts. It doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The maximum number of connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// Becomes true when the process has to stop.
pub type Stop = watch::Receiver<bool>;

/// Returns when the process has to stop.
pub async fn stopped(mut stop: Stop) {
    // An error would mean that the sender is gone, but it lives as long as the process.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The result of one attempt to reach another program.
pub enum Attempt<T> {
    Reached(T),
    /// Not available now for this reason, but perhaps later.
    NotYet(anyhow::Error),
}

/// Waits at the start of a process, at most for `limit`, until another program is available.
#[derive(Debug)]
pub struct Waiting {
    limit: Duration,
    began: Instant,
    stop: Stop,
}

impl Waiting {
    pub fn new(limit: Duration, stop: Stop) -> Self {
        Self { limit, began: Instant::now(), stop }
    }

    /// Tries repeatedly, with growing pauses, and logs the beginning and the end of the wait. Returns `None` if the
    /// process was told to stop in the meantime.
    ///
    /// # Errors
    /// At once the error of an attempt that can never succeed; after `limit` the reason of the last attempt.
    pub async fn until<T>(
        &self,
        what: &'static str,
        mut attempt: impl AsyncFnMut() -> Result<Attempt<T>>,
    ) -> Result<Option<T>> {
        let mut pause = FIRST_PAUSE;
        let mut is_waiting = false;
        loop {
            let outcome = tokio::select! {
                outcome = attempt() => outcome?,
                () = stopped(self.stop.clone()) => return Ok(None),
            };
            let reason = match outcome {
                Attempt::Reached(found) => {
                    if is_waiting {
                        let waited_s = self.began.elapsed().as_secs();
                        tracing::info!(waited_s, "the wait for {what} is over");
                    }
                    return Ok(Some(found));
                }
                Attempt::NotYet(reason) => reason,
            };
            let left = self.limit.saturating_sub(self.began.elapsed());
            if left.is_zero() {
                let waited = self.limit.as_secs();
                return Err(match waited {
                    0 => reason,
                    _ => reason.context(format!("gave up after {waited} s (STARTUP_TIMEOUT_S)")),
                });
            }
            if !is_waiting {
                is_waiting = true;
                let (reason, up_to_s) = (format!("{reason:#}"), left.as_secs());
                tracing::warn!(reason, up_to_s, "waiting for {what}");
            }
            tokio::select! {
                () = tokio::time::sleep(pause.min(left)) => {}
                () = stopped(self.stop.clone()) => return Ok(None),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// A port that is reserved, but refuses connections until the process listens. Until then neither health checks nor
/// proxies consider the process ready.
pub struct ReservedPort(TcpSocket);

impl ReservedPort {
    /// Reserves a port.
    ///
    /// # Errors
    /// If the address is in use or does not belong to this machine.
    pub fn reserve(host: &str, port: u16) -> io::Result<Self> {
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in (host, port).to_socket_addrs()? {
            match Self::bind(address) {
                Ok(socket) => return Ok(Self(socket)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Like `std::net::TcpListener`: connections that are still closing do not delay a restart.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    }

    /// Starts accepting connections.
    ///
    /// # Errors
    /// If another process has started to listen on the port.
    pub fn listen(self) -> io::Result<std::net::TcpListener> {
        self.0.listen(BACKLOG)?.into_std()
    }
}
