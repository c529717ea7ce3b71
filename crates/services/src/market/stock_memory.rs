//! A cache of stocks, so that a quote does not read its stock from the database.
//!
//! The database is authoritative. Once per second, and only while quotes are requested, one statement reads all stocks
//! in use again. An entry that was not read within the last two seconds is not used. If any process renames or delists
//! a stock, every process therefore shows the new state within two seconds, and the process that made the change
//! immediately.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use domain::{Stock, Symbol, Timestamp};
use tokio::sync::OwnedMutexGuard;

/// How long an entry is valid after it was read.
const TRUSTED_FOR: TimeDelta = TimeDelta::seconds(2);
/// How often the stocks in use are read again. The remaining time leaves room for the database to answer.
const READ_EVERY: TimeDelta = TimeDelta::seconds(1);
/// A stock that no request used within this time is removed.
const IN_USE: TimeDelta = TimeDelta::seconds(10);
/// The most cached stocks, about 5 MB.
const CAPACITY: usize = 10_000;

/// Counts the changes of stocks and last prices that this process has made. A change invalidates everything that was
/// read before it.
#[derive(Debug, Clone, Default)]
pub(crate) struct StockChanges(Arc<AtomicU64>);

impl StockChanges {
    /// Records a change, after its commit.
    pub fn record(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct Entry {
    stock: Arc<Stock>,
    /// The wall time at which the read began.
    read_at: Timestamp,
    used_at: Timestamp,
}

/// Stocks by their current symbols, with their last prices.
pub(crate) struct StockMemory {
    changes: StockChanges,
    entries: Mutex<Entries>,
    reading: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Entries {
    by_symbol: HashMap<Symbol, Entry>,
    /// The count of changes when the entries were valid.
    changes: u64,
    read_at: Option<Timestamp>,
}

/// The start of a read: its result is valid from this moment, and only if no stock has changed since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadStart {
    at: Timestamp,
    changes: u64,
}

/// A read of all stocks in use. While one exists, no second one is started.
pub(crate) struct DueRead {
    pub symbols: Vec<Symbol>,
    start: ReadStart,
    _turn: OwnedMutexGuard<()>,
}

impl StockMemory {
    pub fn new(changes: StockChanges) -> Self {
        Self { changes, entries: Mutex::default(), reading: Arc::default() }
    }

    /// The stock with that symbol, if it was read within the last two seconds. `wall` is the wall time.
    pub fn get(&self, symbol: &Symbol, wall: Timestamp) -> Option<Arc<Stock>> {
        let mut entries = self.current();
        let entry = entries.by_symbol.get_mut(symbol)?;
        if !is_within(TRUSTED_FOR, entry.read_at, wall) {
            return None;
        }
        entry.used_at = wall;
        Some(entry.stock.clone())
    }

    /// Records the start of a read. Call it before reading from the database for [`StockMemory::insert`].
    pub fn start_read(&self, wall: Timestamp) -> ReadStart {
        ReadStart { at: wall, changes: self.changes.count() }
    }

    /// Adds a stock under its current symbol, unless a stock has changed since the read began.
    pub fn insert(&self, stock: Stock, start: ReadStart) {
        let mut entries = self.current();
        if entries.changes != start.changes {
            return;
        }
        if entries.by_symbol.len() >= CAPACITY {
            // Stocks in use are then read again one by one.
            entries.by_symbol.clear();
        }
        let symbol = stock.listing.symbol.clone();
        let entry = Entry { stock: Arc::new(stock), read_at: start.at, used_at: start.at };
        entries.by_symbol.insert(symbol, entry);
    }

    /// Returns the read that is due now, if one is.
    pub fn due_read(&self, wall: Timestamp) -> Option<DueRead> {
        let mut entries = self.current();
        if entries.read_at.is_some_and(|at| is_within(READ_EVERY, at, wall)) {
            return None;
        }
        let turn = self.reading.clone().try_lock_owned().ok()?;
        entries.read_at = Some(wall);
        entries.by_symbol.retain(|_, entry| is_within(IN_USE, entry.used_at, wall));
        let start = ReadStart { at: wall, changes: entries.changes };
        Some(DueRead { symbols: entries.by_symbol.keys().cloned().collect(), start, _turn: turn })
    }

    /// Replaces the entries that were read again, and removes those whose symbol no stock has any more.
    pub fn renew(&self, read: DueRead, stocks: Vec<Stock>) {
        let DueRead { symbols, start, _turn } = read;
        let mut entries = self.current();
        if entries.changes != start.changes {
            return;
        }
        let mut found: HashMap<Symbol, Stock> =
            stocks.into_iter().map(|stock| (stock.listing.symbol.clone(), stock)).collect();
        for symbol in symbols {
            let Some(entry) = entries.by_symbol.get_mut(&symbol) else { continue };
            match found.remove(&symbol) {
                // A separate read found this stock later.
                _ if entry.read_at > start.at => {}
                Some(stock) => (entry.stock, entry.read_at) = (Arc::new(stock), start.at),
                None => drop(entries.by_symbol.remove(&symbol)),
            }
        }
    }

    pub fn len(&self) -> usize {
        self.current().by_symbol.len()
    }

    /// The entries, cleared if a stock has changed since they were read.
    fn current(&self) -> MutexGuard<'_, Entries> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = self.changes.count();
        if entries.changes != changes {
            entries.by_symbol.clear();
            entries.changes = changes;
        }
        entries
    }
}

/// Whether `then` is less than `span` ago. A time in the future does not count, because the clock was set back.
fn is_within(span: TimeDelta, then: Timestamp, now: Timestamp) -> bool {
    (TimeDelta::zero()..span).contains(&(now - then))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::{Currency, Listing, StockId};

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        DateTime::from_timestamp_millis(1_795_201_920_000 + milliseconds).unwrap().into()
    }

    fn symbol(number: i64) -> Symbol {
        format!("S{number}").parse().unwrap()
    }

    fn stock(number: i64, company_name: &str) -> Stock {
        let listing = Listing {
            symbol: symbol(number),
            company_name: company_name.to_owned(),
            exchange: "NYSE".to_owned(),
            sector: "Energy".to_owned(),
            currency: Currency::Usd,
        };
        Stock { id: StockId(number), listing: listing.into(), last: None, delisted_on: None }
    }

    fn with(numbers: impl IntoIterator<Item = i64>) -> StockMemory {
        let memory = StockMemory::new(StockChanges::default());
        for number in numbers {
            memory.insert(stock(number, "First"), memory.start_read(at(0)));
        }
        memory
    }

    #[test]
    fn an_entry_is_valid_for_less_than_two_seconds() {
        let memory = with([1]);
        assert!(memory.get(&symbol(2), at(0)).is_none());
        for (milliseconds, counts) in [(0, true), (1_999, true), (2_000, false), (-1, false)] {
            assert_eq!(memory.get(&symbol(1), at(milliseconds)).is_some(), counts, "{milliseconds}");
        }
    }

    #[test]
    fn one_read_per_second_is_due_and_never_two_at_once() {
        let memory = with([1]);
        let first = memory.due_read(at(0)).unwrap();
        assert!(memory.due_read(at(999)).is_none() && memory.due_read(at(1_000)).is_none());
        drop(first);
        assert!(memory.due_read(at(1_000)).is_some());
        // The clock was set back.
        assert!(memory.due_read(at(0)).is_some());
    }

    #[test]
    fn a_read_renews_changes_and_removes_entries() {
        let memory = with([1, 2, 3]);
        let read = memory.due_read(at(1_000)).unwrap();
        assert_eq!(read.symbols.len(), 3);
        memory.renew(read, vec![stock(1, "First"), stock(2, "Second")]);
        assert_eq!(*memory.get(&symbol(1), at(2_999)).unwrap(), stock(1, "First"));
        assert_eq!(*memory.get(&symbol(2), at(2_999)).unwrap(), stock(2, "Second"));
        assert!(memory.get(&symbol(3), at(1_001)).is_none());
        assert!(memory.get(&symbol(1), at(3_000)).is_none());
    }

    #[test]
    fn stocks_without_requests_are_not_read_again() {
        let memory = with([1, 2]);
        for second in 1..10 {
            let read = memory.due_read(at(second * 1_000)).unwrap();
            memory.renew(read, vec![stock(1, "First"), stock(2, "Second")]);
            memory.get(&symbol(1), at(second * 1_000)).unwrap();
        }
        assert_eq!(memory.due_read(at(10_000)).unwrap().symbols, [symbol(1)]);
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn a_change_by_this_process_invalidates_entries_and_running_reads() {
        let memory = with([1]);
        let (start, read) = (memory.start_read(at(500)), memory.due_read(at(1_000)).unwrap());
        memory.changes.record();
        assert!(memory.get(&symbol(1), at(1_000)).is_none());
        memory.insert(stock(1, "First"), start);
        assert!(memory.get(&symbol(1), at(1_000)).is_none());
        memory.insert(stock(1, "Second"), memory.start_read(at(1_000)));
        memory.renew(read, vec![stock(1, "First")]);
        assert_eq!(*memory.get(&symbol(1), at(1_000)).unwrap(), stock(1, "Second"));
    }

    #[test]
    fn the_cache_size_is_limited() {
        let most = i64::try_from(CAPACITY).unwrap();
        let memory = with(0..most + 5);
        assert!(memory.len() <= CAPACITY);
        assert!(memory.get(&symbol(most + 4), at(0)).is_some());
    }
}
