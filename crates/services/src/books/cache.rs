//! Caches of portfolio data.
//!
//! Every change of a portfolio increments its version in the same transaction. A cached value is used only if the
//! database confirms its version, so callers never get outdated data, even if another process made the change. Reading
//! a portfolio again costs only reading its version. Simultaneous requests for versions share one statement.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use domain::{PortfolioId, PortfolioRef, UserId};
use moka::future::Cache;
use persistence::{Lane, Store, portfolios};
use tokio::sync::{mpsc, oneshot};

use crate::books::sweeper::Sweeper;

/// The most bytes of one kind of values.
const MAX_BYTES: u64 = 16 << 20;
/// How long a value is cached. Company names are not part of a portfolio and change without a new version.
const CACHE_TTL: Duration = Duration::from_secs(60);

/// A value that is kept in memory.
pub(crate) trait CachedValue: Clone + Send + Sync + 'static {
    /// The bytes that the value takes, estimated for texts.
    fn size(&self) -> usize;
}

/// A version of a user's portfolio and of its snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    owner: UserId,
    number: i64,
    /// The version of the snapshots.
    snapshots: i64,
}

impl Version {
    /// Creates the version. Both numbers must be read in the same transaction as the data they stand for.
    pub fn new(owner: UserId, number: i64, snapshots: i64) -> Self {
        Self { owner, number, snapshots }
    }

    /// The version number of the portfolio; every change increases it.
    pub fn number(self) -> i64 {
        self.number
    }
}

/// A cache of one kind of portfolio data.
pub(crate) struct CacheEntry<T> {
    values: Cache<PortfolioId, (Version, T)>,
    sweeper: Sweeper,
}

impl<T: CachedValue> CacheEntry<T> {
    pub fn new() -> Self {
        /// The entry itself, with its place in the queues of the cache.
        const ENTRY: usize = 300;
        let weight = |_: &PortfolioId, (_, value): &(Version, T)| {
            u32::try_from(value.size() + ENTRY).unwrap_or(u32::MAX)
        };
        let values = Cache::builder().max_capacity(MAX_BYTES).weigher(weight).time_to_live(CACHE_TTL).build();
        Self { values, sweeper: Sweeper::default() }
    }

    /// Returns the cached value if it is of this version.
    pub async fn get(&self, portfolio: PortfolioId, version: Version) -> Option<T> {
        self.values.get(&portfolio).await.filter(|(of, _)| *of == version).map(|(_, value)| value)
    }

    pub fn len(&self) -> u64 {
        self.values.entry_count()
    }

    /// The bytes of all values.
    pub fn bytes(&self) -> u64 {
        self.values.weighted_size()
    }

    /// Caches a value that was read after its version: it may be newer, but never older.
    pub async fn insert(&self, portfolio: PortfolioId, version: Version, value: T) {
        self.values.insert(portfolio, (version, value)).await;
        self.sweeper.sweep(&self.values);
    }
}

/// Queue limit. Callers beyond it read the data directly.
const QUEUE_LIMIT: usize = 4096;
const MAX_AT_ONCE: usize = 512;
/// Under load, a request for a version waits this long after the previous statement, so that more requests share the
/// next one. A single request never waits.
const BATCH_DELAY: Duration = Duration::from_micros(250);
/// Give up after this long; the caller then reads the data and reports the error.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

struct VersionRequest {
    portfolio: PortfolioId,
    answer: oneshot::Sender<Option<Version>>,
}

/// Reads versions from the database on a separate thread, which starts with the first question.
pub(crate) struct Versions {
    store: Store,
    requests: OnceLock<mpsc::Sender<VersionRequest>>,
}

impl Versions {
    pub fn new(store: Store) -> Self {
        Self { store, requests: OnceLock::new() }
    }

    /// Returns the current version of a user's portfolio. `None` if it belongs to another user or cannot be read.
    pub async fn version_of(&self, portfolio: PortfolioRef) -> Option<Version> {
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.get_or_init(|| open(self.store.lane()));
        requests.try_send(VersionRequest { portfolio: portfolio.id, answer }).ok()?;
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, answered).await.ok()?;
        answered.ok().flatten().filter(|version| version.owner == portfolio.user)
    }
}

fn open(lane: Lane) -> mpsc::Sender<VersionRequest> {
    let (sender, receiver) = mpsc::channel(QUEUE_LIMIT);
    std::thread::Builder::new()
        .name("versions".to_owned())
        .spawn(move || answer(lane, receiver))
        .expect("the system can start a thread");
    sender
}

/// Answers requests until the last sender is dropped.
fn answer(mut lane: Lane, mut receiver: mpsc::Receiver<VersionRequest>) {
    let mut requests = Vec::with_capacity(MAX_AT_ONCE);
    while receiver.blocking_recv_many(&mut requests, MAX_AT_ONCE) > 0 {
        let (requested_at, many_ask) = (Instant::now(), requests.len() > 1);
        let mut ids: Vec<PortfolioId> = requests.iter().map(|request| request.portfolio).collect();
        ids.sort_unstable();
        ids.dedup();
        let found: HashMap<PortfolioId, Version> =
            match lane.query(move |statement| portfolios::versions(statement, &ids)) {
                Ok(rows) => rows
                    .into_iter()
                    .map(|(id, owner, number, snapshots)| (id, Version::new(owner, number, snapshots)))
                    .collect(),
                Err(error) => {
                    // The callers then read the data themselves and report the database error.
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "versions of portfolios cannot be read"
                    );
                    HashMap::new()
                }
            };
        for VersionRequest { portfolio, answer } in requests.drain(..) {
            // The caller may have given up.
            let _ = answer.send(found.get(&portfolio).copied());
        }
        if many_ask {
            std::thread::sleep(BATCH_DELAY.saturating_sub(requested_at.elapsed()));
        }
    }
}
