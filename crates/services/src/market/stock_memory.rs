//! A cache of stocks, so that a quote does not read its stock from the database.
//!
//! The database is authoritative. Once per second, and only while quotes are requested, one statement reads all stocks
//! in use again. An entry that was not read within the last two seconds is not used. If any process renames or delists
//! a stock, every process therefore shows the new state within two seconds, and the process that made the change
//! immediately.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{Listing, Stock, Symbol, Timestamp};

use crate::confirmed_rows::{ConfirmedRow, ConfirmedRows, DueRead, ReadStart};

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

impl ConfirmedRow for Arc<Stock> {
    fn size(&self) -> usize {
        /// The entry with its symbol, and the allocations of the texts.
        const FIXED: usize = 200;
        let Listing { company_name, exchange, sector, .. } = &*self.listing;
        let texts = company_name.len() + exchange.len() + sector.len();
        FIXED + size_of::<Stock>() + size_of::<Listing>() + texts
    }
}

/// Stocks by their current symbols, with their last prices.
pub(crate) struct StockMemory {
    changes: StockChanges,
    stocks: ConfirmedRows<Symbol, Arc<Stock>>,
}

impl StockMemory {
    pub fn new(changes: StockChanges) -> Self {
        Self { changes, stocks: ConfirmedRows::default() }
    }

    /// The stock with that symbol, if it was read within the last two seconds. `wall` is the wall time.
    pub fn get(&self, symbol: &Symbol, wall: Timestamp) -> Option<Arc<Stock>> {
        self.current().get(symbol, wall)
    }

    /// Records the start of a read. Call it before reading from the database for [`StockMemory::insert`].
    pub fn start_read(&self, wall: Timestamp) -> ReadStart {
        self.current().start_read(wall)
    }

    /// Adds a stock under its current symbol, unless a stock has changed since the read began.
    pub fn insert(&self, stock: Stock, start: ReadStart) {
        self.current().insert(stock.listing.symbol.clone(), Arc::new(stock), start);
    }

    /// The read that is due now; `None` if none is.
    pub fn due_read(&self, wall: Timestamp) -> Option<DueRead<Symbol>> {
        self.current().due_read(wall)
    }

    /// Replaces the stocks that were read again, and removes those whose symbol no stock has now.
    pub fn renew(&self, read: DueRead<Symbol>, stocks: Vec<Stock>) {
        let by_symbol = |stock: Stock| (stock.listing.symbol.clone(), Arc::new(stock));
        let found: HashMap<Symbol, Arc<Stock>> = stocks.into_iter().map(by_symbol).collect();
        self.current().renew(read, found);
    }

    pub fn len(&self) -> usize {
        self.current().len()
    }

    pub fn bytes(&self) -> usize {
        self.current().bytes()
    }

    /// The stocks, without those from before the last change.
    fn current(&self) -> &ConfirmedRows<Symbol, Arc<Stock>> {
        self.stocks.forget_before(self.changes.count());
        &self.stocks
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::{Currency, StockId};

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
    fn a_change_of_this_process_counts_at_once_and_against_reads_under_way() {
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
}
