//! Limits on open connections, and on clients that send or read slowly.
//!
//! actix has deadlines for the head of a connection's first request and for idle connections. The rest is here:
//! `registry.rs` counts connections and decides which one is closed for a new one, `stream.rs` limits the time of
//! request heads and of responses that are not read, `request.rs` limits the time of request bodies.

mod registry;
mod request;
mod stream;

use std::num::NonZeroU32;
use std::time::Duration;

pub use registry::{CLOSING, Registry};
pub use request::{refuse_slow_body, watch};
pub use stream::ClientStream;

/// Limits on connections. Each is a setting; `docs/deployment.md` lists them under "Limits".
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Open connections of this process.
    pub total: usize,
    /// Open connections from one address, or from one IPv6 network of 64 bits. Trusted proxies have no such limit.
    pub per_address: usize,
    /// The longest time that the head of a request may take.
    pub header_timeout: Duration,
    /// The longest time that the body of a request may take. A third of it is allowed before `min_rate` counts.
    pub body_timeout: Duration,
    /// How long a client may leave a response unread. Reading at `min_rate` extends it.
    pub send_timeout: Duration,
    /// Bytes per second that a client has to send of a body, or read of a response.
    pub min_rate: NonZeroU32,
    /// How long a connection without a request stays open.
    pub keep_alive: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: 20_000,
            per_address: 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(30),
            min_rate: NonZeroU32::new(500).unwrap_or(NonZeroU32::MIN),
            // Shorter than the timeout of common proxies, so that usually the client closes.
            keep_alive: Duration::from_secs(75),
        }
    }
}

impl ConnectionLimits {
    /// How long transferring `bytes` takes at the minimum rate.
    fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / u64::from(self.min_rate.get()))
    }

    /// The deadline of a body of which `received` bytes have arrived, from the start of the request.
    fn body_deadline(&self, received: u64) -> Duration {
        (self.body_timeout / 3).saturating_add(self.time_for(received)).min(self.body_timeout)
    }

    /// How long a response may stay blocked, if `sent` bytes of it have been written since the client fell behind.
    /// After that the response is aborted.
    fn send_deadline(&self, sent: u64) -> Duration {
        self.send_timeout.saturating_add(self.time_for(sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_to_keep_the_minimum_rate_and_the_deadline() {
        let limits = ConnectionLimits::default();
        assert_eq!(limits.body_deadline(0), Duration::from_secs(10));
        assert_eq!(limits.body_deadline(5_000), Duration::from_secs(20));
        assert_eq!(limits.body_deadline(64_000), Duration::from_secs(30));
    }

    #[test]
    fn a_response_may_take_as_long_as_the_client_reads_at_the_minimum_rate() {
        let limits = ConnectionLimits::default();
        assert_eq!(limits.send_deadline(0), Duration::from_secs(30));
        assert_eq!(limits.send_deadline(5_000_000), Duration::from_secs(10_030));
    }
}
