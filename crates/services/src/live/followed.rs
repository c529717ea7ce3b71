//! A portfolio whose value is followed: its books as they were last read, valued anew with each price.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{PortfolioId, Quote, StockId, Timestamp, UserId};

use super::shared::Slot;
use crate::valuation::{Loaded, ValuedPortfolio};

/// Shared by all streams that follow it.
pub(super) struct Followed {
    pub user: UserId,
    pub id: PortfolioId,
    pub value: Slot<ValuedPortfolio>,
    /// Something happened in the portfolio since its books were read.
    moved: AtomicBool,
    /// It does not exist any more.
    gone: AtomicBool,
    books: Mutex<Option<Books>>,
}

/// What was read, and the prices that it takes to value it.
struct Books {
    loaded: Loaded,
    prices: HashMap<StockId, Arc<Slot<Quote>>>,
    /// The close from which "today" counts in them.
    since: Timestamp,
    read_at: u64,
    /// They have not been valued yet.
    fresh: bool,
}

impl Followed {
    pub fn new(user: UserId, id: PortfolioId) -> Self {
        let (value, books) = (Slot::default(), Mutex::default());
        Self { user, id, value, moved: AtomicBool::new(false), gone: AtomicBool::new(false), books }
    }

    pub fn move_on(&self) {
        self.moved.store(true, Ordering::Release);
    }

    /// From now on it is neither read nor valued.
    pub fn give_up(&self) {
        self.gone.store(true, Ordering::Release);
        *self.books() = None;
    }

    /// Whether the books have to be read: something happened, another day began, or it was long ago, in case that a
    /// word of another process got lost. Who asks is expected to read them.
    pub fn wants_books(&self, since: Timestamp, second: u64, longest: u64) -> bool {
        if self.gone.load(Ordering::Acquire) {
            return false;
        }
        let moved = self.moved.swap(false, Ordering::AcqRel);
        let old = |books: &Books| books.since != since || second.saturating_sub(books.read_at) >= longest;
        moved || self.books().as_ref().is_none_or(old)
    }

    pub fn keep(
        &self,
        loaded: Loaded,
        prices: HashMap<StockId, Arc<Slot<Quote>>>,
        (since, read_at): (Timestamp, u64),
    ) {
        *self.books() = Some(Books { loaded, prices, since, read_at, fresh: true });
    }

    /// Values the portfolio when its books or a price are newer than `version`. What has not changed is not set: a
    /// new time of valuation alone is none.
    pub fn value(&self, version: u64, next: impl Fn() -> u64, now: Timestamp) {
        let mut books = self.books();
        let Some(books) = books.as_mut() else { return };
        let moved = books.prices.values().any(|slot| slot.version() > version);
        if !(moved || books.fresh) {
            return;
        }
        let quote_of = |id: StockId| Some(books.prices.get(&id)?.newest()?.value.clone());
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
            // A position without any price: one may come.
            Err(error) => {
                tracing::debug!(portfolio.id = %self.id, %error, "a followed portfolio has no value")
            }
        }
    }

    fn books(&self) -> MutexGuard<'_, Option<Books>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
