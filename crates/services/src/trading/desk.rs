//! The order desk: threads that write orders to the database, many in one transaction.
//!
//! Orders that arrive while a transaction commits form the next batch; an idle desk begins immediately. For each batch,
//! the desk locks the rows of all its portfolios, makes the pure decisions in the order of arrival, and writes the
//! results with a few statements. A rejected order writes nothing and does not affect the others. If the database
//! rejects a batch, the batch is rolled back and its orders run again one by one. If the connection is lost, the batch
//! runs again on a new connection and first looks for orders that were already committed. Every caller gets an answer
//! before a deadline, even if the database hangs: a connection that does not answer is abandoned (`persistence::Lane`).
//!
//! A clerk is a worker thread of the desk. It computes while the database waits, and waits while the database writes.
//! Where the database can write two transactions at once, there are therefore two clerks, each for half of the
//! portfolios.

mod action_cache;
mod batch;
pub(crate) mod metrics;

use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::{
    OrderId, OrderIds, PlaceOrder, PortfolioId, PortfolioRef, PriceMove, ReplaceOrder, Stock, StockId,
    Timestamp,
};
use persistence::{Lane, Store, StoreError, Tx};
use tokio::sync::{mpsc, oneshot};

use crate::corporate_actions::action_counter::ActionCounter;
use crate::error::{Error, Result};
use crate::events::{Change, Events};
use crate::trading::Trading;
use crate::trading::{OpenOrders, PlacedOrder, RuleBook};
use crate::{Clock, TradingConfig};

use action_cache::ActionCache;
use batch::Batch;

/// Queue limit of a clerk. Orders beyond it are rejected as [`Error::Busy`].
const QUEUE_LIMIT: usize = 4096;

/// The newest price of a stock, as it was read before the order reached the desk.
#[derive(Debug)]
pub(crate) struct PricedStock {
    pub stock: Stock,
    /// The newest price, with the volume of the minute before if fills depend on it.
    pub newest: PriceMove,
    pub requested_at: Timestamp,
    /// By how much the source's clock is ahead of this server's, if that is the reason why there is no newer price.
    pub clock_behind: Option<TimeDelta>,
    /// Whether the price was converted from the shares before a split. A converted price is not stored with the stock.
    pub is_converted: bool,
}

/// A command that the desk executes.
#[derive(Debug)]
pub(crate) enum Command {
    Place {
        portfolio: PortfolioRef,
        order: PlaceOrder,
        ids: OrderIds,
        /// What happens to the portfolio's open orders in the same stock.
        open_orders: OpenOrders,
        priced: PricedStock,
    },
    Replace {
        portfolio: PortfolioRef,
        order: OrderId,
        new: OrderId,
        changes: ReplaceOrder,
        priced: PricedStock,
    },
    Cancel {
        portfolio: PortfolioRef,
        order: OrderId,
    },
    /// Applies new prices to a working order.
    Work {
        portfolio: PortfolioId,
        order: OrderId,
        moves: Arc<[PriceMove]>,
        until: Timestamp,
        /// Market time at which the prices were converted to current shares, less the dividends known at that time.
        converted_at: Timestamp,
    },
}

impl Command {
    /// The time up to which the command's prices reflect splits and delistings. `None` for a cancellation, which has no
    /// prices.
    fn priced_at(&self) -> Option<Timestamp> {
        match self {
            Self::Place { priced, .. } | Self::Replace { priced, .. } => Some(priced.requested_at),
            Self::Work { converted_at, .. } => Some(*converted_at),
            Self::Cancel { .. } => None,
        }
    }

    fn portfolio(&self) -> PortfolioId {
        match self {
            Self::Place { portfolio, .. }
            | Self::Replace { portfolio, .. }
            | Self::Cancel { portfolio, .. } => portfolio.id,
            Self::Work { portfolio, .. } => *portfolio,
        }
    }

    /// The kind of command, as a label of a metric.
    fn kind(&self) -> &'static str {
        match self {
            Self::Place { .. } => "place",
            Self::Replace { .. } => "replace",
            Self::Cancel { .. } => "cancel",
            Self::Work { .. } => "work",
        }
    }

    /// The portfolio and the `client_order_id` that the client chose. `None` if the order is named after its own id.
    fn name(&self) -> Option<(PortfolioId, &str)> {
        let (name, id) = match self {
            Self::Place { order, ids, .. } => (order.client_order_id.as_deref()?, ids.entry),
            Self::Replace { changes, new, .. } => (changes.client_order_id.as_deref()?, *new),
            Self::Cancel { .. } | Self::Work { .. } => return None,
        };
        (name != id.to_string()).then_some((self.portfolio(), name))
    }
}

struct QueuedCommand {
    command: Command,
    answer: oneshot::Sender<Result<PlacedOrder>>,
    claim: Claim,
}

/// Whether a clerk has taken the command or its caller has withdrawn it; the first to claim it wins.
#[derive(Clone, Default)]
struct Claim(Arc<AtomicBool>);

impl Claim {
    fn is_won(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// When the clerk began the current batch; shared with the monitoring of the desk.
type BatchBegan = Arc<Mutex<Option<Instant>>>;

/// How busy the desk is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DeskLoad {
    /// Commands that wait for a batch.
    pub queued: usize,
    /// How long the oldest current batch has been running; zero when the desk is idle.
    pub busy_for: Duration,
    /// Whether a clerk's thread has ended.
    pub is_closed: bool,
}

/// The queue of a clerk, and what monitoring can see of its work.
struct Counter {
    queue: mpsc::Sender<QueuedCommand>,
    batch_began: BatchBegan,
}

/// The handle that submits commands to the desk. A clerk's thread starts with its first order and ends when the last
/// handle is dropped.
pub(crate) struct Desk {
    store: Store,
    clock: Clock,
    rules: RuleBook,
    events: Arc<Events>,
    action_counter: ActionCounter,
    /// The maximum number of orders in one transaction; with 1, every order has a transaction to itself.
    max_batch: usize,
    clerks: Vec<OnceLock<Counter>>,
}

impl Desk {
    pub fn new(
        store: Store,
        clock: Clock,
        rules: RuleBook,
        trading: &TradingConfig,
        (events, action_counter): (Arc<Events>, ActionCounter),
    ) -> Self {
        let clerks = if store.has_one_writer() { 1 } else { trading.order_clerks.max(1) };
        let clerks = std::iter::repeat_with(OnceLock::new).take(clerks).collect();
        Self { store, clock, rules, events, action_counter, max_batch: trading.order_batch.max(1), clerks }
    }

    /// Submits a command to the desk and waits for its result. The command is executed even if the caller goes away.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full or no clerk was free in time, [`StoreError::OutcomeUnknown`] when the
    /// result did not arrive in time, otherwise the reason why the order was rejected.
    pub async fn submit(&self, command: Command) -> Result<PlacedOrder> {
        let (answer, mut answered) = oneshot::channel();
        let claim = Claim::default();
        let clerk = command.portfolio().0.unsigned_abs() % self.clerks.len() as u64;
        let clerk = &self.clerks[usize::try_from(clerk).unwrap_or(0)];
        clerk
            .get_or_init(|| self.open())
            .queue
            .try_send(QueuedCommand { command, answer, claim: claim.clone() })
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => Error::Busy,
                mpsc::error::TrySendError::Closed(_) => Error::internal("the order desk has ended"),
            })?;
        match tokio::time::timeout(self.store.longest_call(), &mut answered).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(Error::internal("the order desk lost an order"))),
            Err(_) if claim.is_won() => Err(Error::Busy),
            Err(late) => Err(StoreError::OutcomeUnknown(late.into()).into()),
        }
    }

    pub fn load(&self) -> DeskLoad {
        let mut load = DeskLoad::default();
        for counter in self.clerks.iter().filter_map(OnceLock::get) {
            load.queued += counter.queue.max_capacity() - counter.queue.capacity();
            load.is_closed |= counter.queue.is_closed();
            let began = *counter.batch_began.lock().unwrap_or_else(PoisonError::into_inner);
            load.busy_for = load.busy_for.max(began.map_or(Duration::ZERO, |began| began.elapsed()));
        }
        load
    }

    fn open(&self) -> Counter {
        let (sender, receiver) = mpsc::channel(QUEUE_LIMIT);
        let clerk = Clerk {
            lane: self.store.lane(),
            clock: self.clock.clone(),
            rules: self.rules.clone(),
            events: self.events.clone(),
            memory: Memory::new(&self.action_counter),
            action_counter: self.action_counter.clone(),
            timeout: self.store.timeout(),
        };
        let max_batch = self.max_batch;
        let batch_began = BatchBegan::default();
        let began = batch_began.clone();
        std::thread::Builder::new()
            .name("order-desk".to_owned())
            .spawn(move || clerk.work(receiver, max_batch, &began))
            .expect("the system can start a thread");
        Counter { queue: sender, batch_began }
    }
}

/// The outcome as a label of a metric; rejections by a trading rule are counted apart from failures.
fn outcome_label(result: &Result<PlacedOrder>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(Error::Store(_) | Error::Internal(_)) => "failed",
        Err(_) => "refused",
    }
}

fn set_began(began: &Mutex<Option<Instant>>, at: Option<Instant>) {
    *began.lock().unwrap_or_else(PoisonError::into_inner) = at;
}

/// Whether the commands of a batch may have been executed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// The commands are assumed to be new. If the name of an order exists already, either the database rejects the
    /// transaction, or the desk rejects the order because of its own first execution. In both cases the batch is
    /// retried as `Repeated`.
    First,
    /// Some commands may have been executed before, so the names of the orders are looked up first.
    Repeated,
    /// Like `Repeated`, after an error that leaves it unknown whether the previous transaction was committed.
    AfterError,
}

/// The worker thread that carries out order commands.
struct Clerk {
    lane: Lane,
    clock: Clock,
    rules: RuleBook,
    events: Arc<Events>,
    memory: Arc<Mutex<Memory>>,
    action_counter: ActionCounter,
    /// The timeout of a database statement.
    timeout: Duration,
}

/// Data that a clerk keeps between batches.
struct Memory {
    action_cache: ActionCache,
    /// The market time of the last price stored with each stock.
    kept: HashMap<StockId, Timestamp>,
}

impl Memory {
    fn new(action_counter: &ActionCounter) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            action_cache: ActionCache::new(action_counter.clone()),
            kept: HashMap::new(),
        }))
    }
}

impl Clerk {
    fn work(
        mut self,
        mut receiver: mpsc::Receiver<QueuedCommand>,
        max_batch: usize,
        began: &Mutex<Option<Instant>>,
    ) {
        let mut waiting = Vec::with_capacity(max_batch);
        while receiver.blocking_recv_many(&mut waiting, max_batch) > 0 {
            let claimed = waiting.drain(..).filter(|waiting| waiting.claim.is_won());
            let (commands, answers): (Vec<_>, Vec<_>) =
                claimed.map(|QueuedCommand { command, answer, .. }| (command, answer)).unzip();
            if commands.is_empty() {
                continue;
            }
            let commands: Arc<[Command]> = commands.into();
            let start = Instant::now();
            set_began(began, Some(start));
            let results = self.serve(&commands);
            set_began(began, None);
            metrics::count_batch(commands.len(), start.elapsed());
            for ((command, answer), result) in commands.iter().zip(answers).zip(results) {
                metrics::count_command(command.kind(), outcome_label(&result));
                // The caller may have gone away.
                let _ = answer.send(result);
            }
        }
    }

    /// An answer for each command.
    fn serve(&mut self, commands: &Arc<[Command]>) -> Vec<Result<PlacedOrder>> {
        let begun = Instant::now();
        let all = 0..commands.len();
        let mut served = self.transact(commands, all.clone(), Attempt::First);
        if matches!(served, Err(StoreError::Duplicate(_))) {
            served = self.transact(commands, all.clone(), Attempt::Repeated);
        }
        let lost =
            |error: &StoreError| matches!(error, StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_));
        if let Err(error) = &served
            && lost(error)
            && begun.elapsed() < self.timeout
        {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                orders = commands.len(),
                "orders run again on a new connection"
            );
            served = match (self.transact(commands, all, Attempt::AfterError), served) {
                // It is still unknown whether the first transaction was committed.
                (Err(again), Err(unknown @ StoreError::OutcomeUnknown(_))) if again.is_outage() => {
                    Err(unknown)
                }
                (again, _) => again,
            };
        }
        match served {
            Ok(answers) => answers,
            Err(error) if error.is_outage() && !matches!(error, StoreError::Busy(_)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    orders = commands.len(),
                    "orders cannot be carried out"
                );
                commands.iter().map(|_| Err(error.repeated().into())).collect()
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    orders = commands.len(),
                    "orders run again one by one"
                );
                (0..commands.len()).map(|one| self.serve_alone(commands, one, begun)).collect()
            }
        }
    }

    /// Executes one command of a failed batch, unless its caller has given up.
    fn serve_alone(&mut self, commands: &Arc<[Command]>, one: usize, begun: Instant) -> Result<PlacedOrder> {
        if begun.elapsed() >= self.timeout * 2 {
            return Err(StoreError::Busy("the orders before it took too long".into()).into());
        }
        let mut answers = self.transact(commands, one..one + 1, Attempt::AfterError)?;
        answers.swap_remove(0)
    }

    /// Executes some of the commands in one transaction.
    fn transact(
        &mut self,
        commands: &Arc<[Command]>,
        some: Range<usize>,
        attempt: Attempt,
    ) -> std::result::Result<Vec<Result<PlacedOrder>>, StoreError> {
        let (commands, memory) = (commands.clone(), self.memory.clone());
        let (clock, rules) = (self.clock.clone(), self.rules.clone());
        let work = move |tx: &mut Tx<'_>| {
            let commands = &commands[some];
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let Memory { action_cache, kept } = &mut *memory;
            let mut load =
                |tx: &mut Tx<'_>, attempt| Batch::load(tx, commands, attempt, (&clock, &rules), action_cache);
            let decide = |batch: &mut Batch| -> Vec<_> {
                commands.iter().map(|command| batch.decide(command, &rules)).collect()
            };
            let mut batch = load(tx, attempt)?;
            let mut outcomes = decide(&mut batch);
            if attempt == Attempt::First && Batch::was_placed_before(tx, commands, &outcomes)? {
                batch = load(tx, Attempt::Repeated)?;
                outcomes = decide(&mut batch);
            }
            let changes = batch.changes();
            Ok((batch.save(tx, outcomes, kept)?, changes))
        };
        let served: std::result::Result<(_, Vec<Change>), StoreError> =
            catch_unwind(AssertUnwindSafe(|| self.lane.write(work)))
                .unwrap_or_else(|_| Err(StoreError::Corrupt("an order could not be decided".into())));
        if served.is_err() {
            // The memory may name prices as stored that were rolled back. An abandoned thread keeps the old memory.
            self.memory = Memory::new(&self.action_counter);
        }
        let (answers, changes) = served?;
        self.events.announce(&changes);
        Ok(answers)
    }
}

impl Trading {
    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }
}
