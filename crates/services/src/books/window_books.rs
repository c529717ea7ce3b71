//! The books of a window: the holdings and dividends owed at its first and last close, and the journal in between.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::past_books::PastBooks;
use domain::performance::{BookedHolding, WindowBooks};
use domain::{
    Calendar, JournalEntry, Money, PortfolioRef, Position, Session, StockId, Symbol, Timestamp, Valuation,
};
use persistence::corporate_actions::Owed;
use persistence::{Tx, corporate_actions, positions, stocks, transactions};

use crate::books::Books;
use crate::books::portfolios::owned;
use crate::error::{Error, Result};
use crate::market::book_calendar::BookCalendar;

/// The books of a portfolio as they were read: its current state, and the journal lines since the start of the window.
pub(super) struct BookRows {
    cash_balance: Money,
    positions: Vec<(StockId, Position)>,
    /// The journal lines, ordered by id.
    entries: Vec<JournalEntry>,
    owed: Vec<Owed>,
}

/// The last close of a window.
pub(super) enum WindowEnd<'a> {
    /// The current moment, with the valuation at it.
    Now(&'a Valuation),
    /// The close of the session on that day.
    Close(NaiveDate),
}

impl BookRows {
    /// Reads the books with all lines since `start`, the close from which the window grows; with all lines if `None`.
    pub(super) fn load(tx: &mut Tx<'_>, portfolio: PortfolioRef, start: Option<Timestamp>) -> Result<Self> {
        let portfolio = owned(tx, portfolio)?;
        Ok(Self {
            positions: positions::of_portfolios(tx, &[portfolio.id])?
                .remove(&portfolio.id)
                .unwrap_or_default(),
            entries: transactions::of_portfolio(tx, portfolio.id, start)?,
            owed: corporate_actions::owed_since(tx, &[portfolio.id], start.unwrap_or(portfolio.created_at))?,
            cash_balance: portfolio.cash_balance,
        })
    }

    /// The dividends owed per stock, of those for which `is_owed` holds.
    fn receivable(&self, is_owed: impl Fn(&Owed) -> bool) -> BTreeMap<StockId, Money> {
        let mut receivable = BTreeMap::new();
        for owed in self.owed.iter().filter(|owed| is_owed(owed)) {
            *receivable.entry(owed.stock_id).or_insert_with(Money::zero) += &owed.amount;
        }
        receivable
    }

    /// The dividends owed per stock now.
    pub(super) fn receivable_now(&self) -> BTreeMap<StockId, Money> {
        self.receivable(|owed| owed.paid_at.is_none())
    }
}

/// Returns the holdings of the valuation with the dividends owed on them, and on stocks that were sold.
pub(super) fn holdings_now(
    valuation: &Valuation,
    mut receivable: BTreeMap<StockId, Money>,
) -> Vec<BookedHolding> {
    let mut holdings: Vec<BookedHolding> = valuation
        .holdings
        .iter()
        .map(|holding| BookedHolding {
            stock_id: holding.stock_id,
            market_value: holding.market_value.clone(),
            cost_basis: holding.position.cost_basis.clone(),
            receivable: receivable.remove(&holding.stock_id).unwrap_or_else(Money::zero),
        })
        .collect();
    let sold = receivable.into_iter().map(|(stock_id, receivable)| BookedHolding {
        stock_id,
        market_value: Money::zero(),
        cost_basis: Money::zero(),
        receivable,
    });
    holdings.extend(sold);
    holdings
}

/// The session of a row of the books. A row on a day without a session comes from a market that was open around the
/// clock.
pub(super) fn session_of(calendar: &BookCalendar, date: NaiveDate) -> Option<(Calendar, Session)> {
    let own = calendar.on(date);
    let around_the_clock = || Some((Calendar::AroundTheClock, Calendar::AroundTheClock.session(date)?));
    own.session(date).map(|session| (own, session)).or_else(around_the_clock)
}

impl Books {
    /// Assembles the books of a window. It uses stored closing prices, as snapshots do.
    pub(super) async fn window_books(
        &self,
        rows: BookRows,
        calendar: &BookCalendar,
        start: Option<NaiveDate>,
        end: WindowEnd<'_>,
    ) -> Result<WindowBooks> {
        let begins_at = start.and_then(|date| session_of(calendar, date)).map(|(_, day)| day.closes_at);
        let ends_at = match end {
            WindowEnd::Now(_) => None,
            WindowEnd::Close(date) => session_of(calendar, date).map(|(_, day)| day.closes_at),
        };
        let start = match start {
            Some(date) => self.holdings_at_close(&rows, calendar, date).await?,
            None => Vec::new(),
        };
        let end = match end {
            WindowEnd::Now(valuation) => holdings_now(valuation, rows.receivable_now()),
            WindowEnd::Close(date) => self.holdings_at_close(&rows, calendar, date).await?,
        };
        let mut entries = rows.entries;
        entries.retain(|entry| {
            begins_at.is_none_or(|begins_at| entry.timestamp >= begins_at)
                && ends_at.is_none_or(|ends_at| entry.timestamp < ends_at)
        });
        Ok(WindowBooks::new(start, end, entries))
    }

    async fn holdings_at_close(
        &self,
        rows: &BookRows,
        calendar: &BookCalendar,
        date: NaiveDate,
    ) -> Result<Vec<BookedHolding>> {
        let Some((calendar, session)) = session_of(calendar, date) else { return Ok(Vec::new()) };
        let until = session.closes_at;
        let past = PastBooks::at(until, rows.cash_balance.clone(), rows.positions.clone(), &rows.entries);
        let mut held: Vec<StockId> = past.positions.keys().copied().collect();
        held.sort_unstable();
        let closes = self.stored_closes(calendar, session, held).await?;
        Ok(past.holdings(&closes, &rows.receivable(|owed| owed.at(until))))
    }

    /// Returns the symbols of all stocks in the books of a window.
    pub(super) async fn symbols_in(&self, books: &WindowBooks) -> Result<BTreeMap<StockId, Symbol>> {
        let held = books.start.iter().chain(&books.end).map(|holding| holding.stock_id);
        let mut ids: Vec<StockId> =
            held.chain(books.entries.iter().filter_map(|entry| entry.stock_id)).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found = self.store.read(move |tx| stocks::by_ids(tx, &ids).map_err(Error::from)).await?;
        Ok(found.into_iter().map(|stock| (stock.id, stock.listing.symbol.clone())).collect())
    }
}
