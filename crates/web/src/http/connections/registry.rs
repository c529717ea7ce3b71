//! The open connections of the process, and the choice of one to close for a new one.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use futures::task::AtomicWaker;
use ipnet::IpNet;
use tokio::time::Instant;

use super::ConnectionLimits;

/// How many connections may be open beyond a limit while older ones are closing.
pub const CLOSING: usize = 32;

/// Counts open connections, in total and by address.
///
/// A new connection beyond a limit replaces the one that has waited longest for its client: one without a request, with
/// an incomplete request, or with a response that is not read. Requests in progress are never interrupted. So a client
/// that holds all connections of its address open does not lock out other clients behind that address.
pub struct Registry {
    pub limits: ConnectionLimits,
    trusted_proxies: Vec<IpNet>,
    started: Instant,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_network: HashMap<IpNet, HashMap<u64, Arc<Connection>>>,
    total: usize,
    /// The number of connections that have been asked to close.
    closing: usize,
    last_id: u64,
}

impl Registry {
    pub fn new(limits: ConnectionLimits, trusted_proxies: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { limits, trusted_proxies, started: Instant::now(), open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a place for a connection from `peer`; `None` if all other connections are busy.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let network = network_of(peer);
        let mut open = self.open();
        if !self.trusted_proxies.iter().any(|proxies| proxies.contains(&peer.to_canonical()))
            && let Some(own) = open.by_network.get(&network)
            && own.len() >= self.limits.per_address
        {
            let closing = own.values().filter(|connection| connection.is_closing()).count();
            if own.len() - closing >= self.limits.per_address {
                if own.len() >= self.limits.per_address + CLOSING || !close_longest_waiting(own.values()) {
                    return None;
                }
                open.closing += 1;
            }
        }
        if open.total - open.closing >= self.limits.total {
            let all = open.by_network.values().flat_map(HashMap::values);
            if open.total >= self.limits.total + CLOSING || !close_longest_waiting(all) {
                return None;
            }
            open.closing += 1;
        }
        open.last_id += 1;
        open.total += 1;
        let connection = Arc::new(Connection::new(self.started));
        let id = open.last_id;
        open.by_network.entry(network).or_default().insert(id, connection.clone());
        Some(Place { registry: self.clone(), network, id, connection })
    }
}

/// Asks the connection that has waited longest for its client to close. Returns `false` if none is waiting.
fn close_longest_waiting<'a>(among: impl Iterator<Item = &'a Arc<Connection>>) -> bool {
    let waiting = among.filter(|connection| !connection.is_closing());
    let waiting = waiting.filter_map(|connection| Some((connection.waiting_since()?, connection)));
    let Some((_, longest)) = waiting.min_by_key(|(since, _)| *since) else { return false };
    longest.closing.store(true, Ordering::Release);
    longest.waker.wake();
    true
}

/// The network that shares the limit per address: an IPv4 address, or the IPv6 network of 64 bits that a subscriber
/// usually has.
pub fn network_of(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    match IpNet::new(address, 64) {
        Ok(network @ IpNet::V6(_)) => network.trunc(),
        _ => address.into(),
    }
}

/// A connection's place in the registry, which is released when dropped.
pub struct Place {
    registry: Arc<Registry>,
    network: IpNet,
    id: u64,
    connection: Arc<Connection>,
}

impl Place {
    pub fn limits(&self) -> &ConnectionLimits {
        &self.registry.limits
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Fails if the connection has to close for another one, and wakes the task when that changes.
    ///
    /// # Errors
    /// `ConnectionAborted`.
    pub fn check(&self, context: &Context<'_>) -> io::Result<()> {
        self.connection.waker.register(context.waker());
        if !self.connection.is_closing() {
            return Ok(());
        }
        if self.connection.waiting_since().is_some() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed to make room for another"));
        }
        // The client has acted in the meantime, so another connection has to close.
        let mut open = self.registry.open();
        if self.connection.closing.swap(false, Ordering::AcqRel) {
            open.closing -= 1;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.registry.open();
        open.total -= 1;
        if self.connection.is_closing() {
            open.closing -= 1;
        }
        if let Some(own) = open.by_network.get_mut(&self.network) {
            own.remove(&self.id);
            if own.is_empty() {
                open.by_network.remove(&self.network);
            }
        }
    }
}

/// Whether a connection waits for its client, as reported by its stream and its requests.
pub struct Connection {
    /// All times below are milliseconds since this instant.
    started: Instant,
    /// Requests that have begun.
    requests: AtomicU64,
    /// Requests whose response is not complete.
    in_progress: AtomicU32,
    /// When the server began to wait for bytes from the client; 0 while it does not wait for any.
    to_send: AtomicU64,
    /// When the server began to wait for the client to read; 0 while it does not wait.
    to_read: AtomicU64,
    closing: AtomicBool,
    waker: AtomicWaker,
}

impl Connection {
    fn new(started: Instant) -> Self {
        let connection = Self {
            started,
            requests: AtomicU64::new(0),
            in_progress: AtomicU32::new(0),
            to_send: AtomicU64::new(0),
            to_read: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        };
        connection.client_has_to_send(Some(Instant::now()));
        connection
    }

    fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX).max(1)
    }

    pub fn client_has_to_send(&self, since: Option<Instant>) {
        self.to_send.store(since.map_or(0, |since| self.ms(since)), Ordering::Relaxed);
    }

    pub fn client_has_to_read(&self, since: Option<Instant>) {
        self.to_read.store(since.map_or(0, |since| self.ms(since)), Ordering::Relaxed);
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// When the connection began to wait for the client, as a duration since the registry's start; `None` if it does
    /// not wait.
    fn waiting_since(&self) -> Option<Duration> {
        let since = [&self.to_send, &self.to_read].map(|since| since.load(Ordering::Relaxed));
        since.into_iter().filter(|since| *since > 0).min().map(Duration::from_millis)
    }

    /// The number of requests that have begun.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn is_between_requests(&self) -> bool {
        self.in_progress.load(Ordering::Relaxed) == 0
    }

    /// Called when a request's head is complete. The request is in progress until the guard is dropped.
    pub fn begin_request(self: &Arc<Self>) -> InProgress {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        self.client_has_to_send(None);
        InProgress(self.clone())
    }
}

/// A request whose response is not complete.
pub struct InProgress(Arc<Connection>);

impl Drop for InProgress {
    fn drop(&mut self) {
        if self.0.in_progress.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.client_has_to_send(Some(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(total: usize, per_address: usize) -> Arc<Registry> {
        let limits = ConnectionLimits { total, per_address, ..ConnectionLimits::default() };
        Registry::new(limits, vec!["10.0.0.0/8".parse().unwrap()])
    }

    fn from(registry: &Arc<Registry>, address: &str) -> Option<Place> {
        let place = registry.admit(address.parse().unwrap())?;
        // The connection counts as waiting for its client longer than every later one.
        place.connection.to_send.store(place.id, Ordering::Relaxed);
        Some(place)
    }

    fn has_to_close(place: &Place) -> bool {
        place.check(&Context::from_waker(std::task::Waker::noop())).is_err()
    }

    #[test]
    fn a_connection_beyond_the_limit_of_its_address_replaces_the_one_that_waits_longest() {
        let registry = registry(100, 2);
        let [first, second] = [0, 1].map(|_| from(&registry, "192.0.2.1").unwrap());
        let other = from(&registry, "192.0.2.2").unwrap();
        assert!(![&first, &second, &other].into_iter().any(has_to_close));
        let third = from(&registry, "192.0.2.1").unwrap();
        assert!(has_to_close(&first) && !has_to_close(&second) && !has_to_close(&other));
        drop(first);
        let _fourth = from(&registry, "192.0.2.1").unwrap();
        assert!(has_to_close(&second) && !has_to_close(&third));
    }

    #[test]
    fn a_request_in_progress_is_never_interrupted() {
        let registry = registry(100, 1);
        let busy = from(&registry, "192.0.2.1").unwrap();
        let request = busy.connection.begin_request();
        assert!(from(&registry, "192.0.2.1").is_none(), "nothing can close");
        drop(request);
        assert!(from(&registry, "192.0.2.1").is_some());
        assert!(has_to_close(&busy));

        // The connection received its request after it was asked to close.
        let request = busy.connection.begin_request();
        assert!(!has_to_close(&busy));
        drop(request);
        assert!(!has_to_close(&busy), "it is asked once");
        assert_eq!(registry.open().closing, 0);
    }

    #[test]
    fn closing_connections_are_limited_too() {
        let registry = registry(1000, 5);
        let open: Vec<_> = (0..100).filter_map(|_| from(&registry, "192.0.2.1")).collect();
        assert_eq!(open.len(), 5 + CLOSING);
        drop(open);
        let open = registry.open();
        assert_eq!((open.total, open.closing, open.by_network.len()), (0, 0, 0));
    }

    #[test]
    fn proxies_count_towards_the_total_only() {
        let registry = registry(3, 1);
        let proxies: Vec<_> = (0..3).map(|_| from(&registry, "10.1.1.1").unwrap()).collect();
        assert!(!proxies.iter().any(has_to_close));
        let _other = from(&registry, "192.0.2.1").unwrap();
        assert!(has_to_close(&proxies[0]) && !has_to_close(&proxies[1]));
    }

    #[test]
    fn addresses_of_one_subscriber_count_as_one() {
        let network = |address: &str| network_of(address.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.1"), "192.0.2.1/32");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1/32");
        assert_eq!(network("2001:db8:1:2:3::4"), "2001:db8:1:2::/64");
    }
}
