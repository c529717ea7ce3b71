//! A portfolio whose value is streamed: its books as last read, valued again at each new price.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{PortfolioRef, Quote, StockId, Timestamp};

use super::shared::Slot;
use crate::books::valuation::{Loaded, ValuedPortfolio};

/// A followed portfolio, shared by all its streams.
pub(super) struct Followed {
    pub portfolio: PortfolioRef,
    pub value: Slot<ValuedPortfolio>,
    /// Whether the portfolio has changed since its books were read.
    moved: AtomicBool,
    /// Whether the database has newer books although no process has announced the change.
    never_sent: AtomicBool,
    /// Whether the portfolio was deleted.
    gone: AtomicBool,
    books: Mutex<Option<Books>>,
}

/// The result of [`Followed::compare`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BooksComparison {
    /// Whether the books are older than those in the database.
    pub outdated: bool,
    /// Whether the last comparison found newer books, and no process has announced the change since.
    pub never_told: bool,
}

/// The books, and the prices for their valuation.
struct Books {
    loaded: Loaded,
    prices: HashMap<StockId, Arc<Slot<Quote>>>,
    /// The last prices of stocks without a newer price; see [`crate::stocks::Stocks::valuation_quotes`].
    last: HashMap<StockId, Quote>,
    /// The close from which the day change of these books counts.
    since: Timestamp,
    read_at: u64,
    /// Whether these books have not been valued yet.
    fresh: bool,
}

impl Followed {
    pub fn new(portfolio: PortfolioRef) -> Self {
        let (value, books) = (Slot::default(), Mutex::default());
        let flag = || AtomicBool::new(false);
        Self { portfolio, value, moved: flag(), never_sent: flag(), gone: flag(), books }
    }

    /// Marks the books as outdated.
    pub fn move_on(&self) {
        self.moved.store(true, Ordering::Release);
    }

    /// Records that a process has announced a change.
    pub fn record_change(&self) {
        self.never_sent.store(false, Ordering::Release);
        self.move_on();
    }

    /// The version of the portfolio's current books.
    pub fn version(&self) -> Option<i64> {
        self.books().as_ref().map(|books| books.loaded.version())
    }

    /// Compares the books with the portfolio's version in the database (`None` if the portfolio does not exist). Older
    /// books are marked as outdated.
    pub fn compare(&self, newest: Option<i64>) -> BooksComparison {
        let never_told = self.never_sent.swap(false, Ordering::AcqRel);
        let outdated = match (self.version(), newest) {
            (Some(kept), Some(newest)) => kept < newest,
            (Some(_), None) => !self.gone.load(Ordering::Acquire),
            (None, _) => false,
        };
        if outdated && !self.moved.swap(true, Ordering::AcqRel) {
            self.never_sent.store(true, Ordering::Release);
        }
        BooksComparison { outdated, never_told }
    }

    /// Stops reading and valuing the portfolio.
    pub fn give_up(&self) {
        self.gone.store(true, Ordering::Release);
        *self.books() = None;
    }

    /// Whether the books must be read: after a change, on a new day, or after a long time, because an announcement may
    /// have been lost. The caller must then read them, because the mark is cleared.
    pub fn wants_books(&self, since: Timestamp, second: u64, longest: u64) -> bool {
        if self.gone.load(Ordering::Acquire) {
            return false;
        }
        let moved = self.moved.swap(false, Ordering::AcqRel);
        let old = |books: &Books| books.since != since || second.saturating_sub(books.read_at) >= longest;
        moved || self.books().as_ref().is_none_or(old)
    }

    /// Stores books that were read, unless newer ones are already stored.
    pub fn keep(
        &self,
        loaded: Loaded,
        prices: HashMap<StockId, Arc<Slot<Quote>>>,
        last: HashMap<StockId, Quote>,
        (since, read_at): (Timestamp, u64),
    ) {
        let mut books = self.books();
        if books.as_ref().is_none_or(|kept| kept.loaded.version() <= loaded.version()) {
            *books = Some(Books { loaded, prices, last, since, read_at, fresh: true });
        }
    }

    /// Values the portfolio if it has new books or a price newer than `version`. An unchanged value is not sent, even
    /// though its time is new.
    pub fn value(&self, version: u64, next: impl Fn() -> u64, now: Timestamp) {
        let mut books = self.books();
        let Some(books) = books.as_mut() else { return };
        let moved = books.prices.values().any(|slot| slot.version() > version);
        if !(moved || books.fresh) {
            return;
        }
        let quote_of = |id: StockId| {
            let newest = books.prices.get(&id)?.newest().map(|newest| newest.value.clone());
            newest.or_else(|| books.last.get(&id).cloned())
        };
        match books.loaded.value(quote_of, now) {
            Ok(valued) => {
                let told = self.value.newest();
                if told.is_none_or(|told| {
                    (&told.value.valuation, &told.value.portfolio) != (&valued.valuation, &valued.portfolio)
                }) {
                    self.value.set(valued, next());
                }
                books.fresh = false;
            }
            // A position has no price yet; one may come later.
            Err(error) => {
                tracing::debug!(portfolio.id = %self.portfolio.id, error = &error as &dyn std::error::Error, "a followed portfolio has no value")
            }
        }
    }

    fn books(&self) -> MutexGuard<'_, Option<Books>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
