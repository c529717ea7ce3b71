//! The books of a batch of portfolios just before an instant.

use chrono::NaiveDate;
use domain::past_books::LaterLines;
use domain::{Money, PortfolioId, Quantity, Snapshot, StockId, Timestamp};
use persistence::positions::HeldShares;
use persistence::{Tx, corporate_actions, portfolios, positions, transactions};

use super::{IdRange, Prices};
use crate::error::Result;

/// The most journal lines that are in memory at the same time. A line takes about half a kilobyte.
const MAX_LINES: i64 = 20_000;

/// The instant at which books are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct BooksWanted {
    /// Lines at or after this instant are undone.
    pub until: Timestamp,
    /// Deposits and withdrawals from this instant on are the session's.
    pub flows_from: Timestamp,
}

/// The books of consecutive portfolios.
pub(super) struct Batch {
    /// In order of id.
    portfolios: Vec<PastPortfolio>,
    /// In order of portfolio and stock; also of portfolios that are not among these.
    held: Vec<HeldShares>,
}

struct PastPortfolio {
    id: PortfolioId,
    cash_balance: Money,
    net_flow: Money,
    dividends_receivable: Money,
}

impl Batch {
    /// Reads up to `limit` portfolios of the range.
    pub fn read(tx: &mut Tx<'_>, range: IdRange, wanted: BooksWanted, limit: i64) -> Result<Self> {
        let rows = portfolios::active_cash(tx, range.after, range.last, wanted.until, limit)?;
        let ids: Vec<PortfolioId> = rows.iter().map(|row| row.id).collect();
        if ids.is_empty() {
            return Ok(Self { portfolios: Vec::new(), held: Vec::new() });
        }
        let held = positions::shares_of(tx, &ids)?;
        // Every change of a portfolio moves this time.
        let changed_since = |since| {
            let changed = rows.iter().filter(|row| row.updated_at >= since);
            changed.map(|row| row.id).collect::<Vec<PortfolioId>>()
        };
        let (with_lines, with_flows) = (changed_since(wanted.until), changed_since(wanted.flows_from));
        let portfolios = rows.into_iter().map(|row| PastPortfolio {
            id: row.id,
            cash_balance: row.cash_balance,
            net_flow: Money::zero(),
            dividends_receivable: Money::zero(),
        });
        let mut batch = Self { portfolios: portfolios.collect(), held };
        batch.undo_lines(tx, &with_lines, wanted.until)?;
        if !with_flows.is_empty() {
            for (id, amount) in transactions::flows_between(tx, &with_flows, wanted.flows_from, wanted.until)?
            {
                batch.change(id, |portfolio| portfolio.net_flow += &amount);
            }
        }
        for owed in corporate_actions::owed_by_many_since(tx, &ids, wanted.until)? {
            if owed.at(wanted.until) {
                batch.change(owed.portfolio_id, |portfolio| portfolio.dividends_receivable += &owed.amount);
            }
        }
        Ok(batch)
    }

    /// The highest id; `None` without any portfolio.
    pub fn last(&self) -> Option<PortfolioId> {
        self.portfolios.last().map(|portfolio| portfolio.id)
    }

    /// The stocks that are held, in order of their ids.
    pub fn stocks(&self) -> Vec<StockId> {
        let mut stocks: Vec<StockId> = Vec::new();
        for held in self.held.iter().filter(|held| !held.quantity.is_zero()) {
            if let Err(place) = stocks.binary_search(&held.stock_id) {
                stocks.insert(place, held.stock_id);
            }
        }
        stocks
    }

    /// The portfolios' rows of that day. All prices are known.
    pub fn snapshots(self, date: NaiveDate, prices: &Prices) -> Vec<Snapshot> {
        let mut held = self.held.into_iter().filter(|held| !held.quantity.is_zero()).peekable();
        let row = |portfolio: PastPortfolio| {
            while held.next_if(|held| held.portfolio_id < portfolio.id).is_some() {}
            let mut positions_value = Money::zero();
            let mut provisional = prices.in_progress;
            while let Some(held) = held.next_if(|held| held.portfolio_id == portfolio.id) {
                let (price, is_older) = &prices.known[&held.stock_id];
                positions_value += &price.times(&held.quantity);
                provisional |= is_older;
            }
            Snapshot {
                portfolio_id: portfolio.id,
                date,
                total_value: positions_value.clone()
                    + &portfolio.cash_balance
                    + &portfolio.dividends_receivable,
                cash_balance: portfolio.cash_balance,
                positions_value,
                dividends_receivable: portfolio.dividends_receivable,
                net_flow: portfolio.net_flow,
                provisional,
            }
        };
        self.portfolios.into_iter().map(row).collect()
    }

    fn change(&mut self, id: PortfolioId, change: impl FnOnce(&mut PastPortfolio)) {
        if let Ok(place) = self.portfolios.binary_search_by_key(&id, |portfolio| portfolio.id) {
            change(&mut self.portfolios[place]);
        }
    }

    /// Undoes the lines of these portfolios at or after `until`: those of several portfolios together while they are few,
    /// and those of one portfolio in parts when they are many.
    fn undo_lines(&mut self, tx: &mut Tx<'_>, ids: &[PortfolioId], until: Timestamp) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let counts = transactions::counts_since(tx, ids, until)?;
        let mut few = Vec::new();
        let mut lines = 0;
        // In the order of their ids.
        for (id, count) in ids.iter().filter_map(|id| Some((*id, *counts.get(id)?))) {
            if count > MAX_LINES {
                let later = read_in_parts(tx, id, until, MAX_LINES)?;
                self.undo(id, &later);
                continue;
            }
            if lines + count > MAX_LINES {
                self.undo_together(tx, &std::mem::take(&mut few), until)?;
                lines = 0;
            }
            few.push(id);
            lines += count;
        }
        self.undo_together(tx, &few, until)
    }

    fn undo_together(&mut self, tx: &mut Tx<'_>, ids: &[PortfolioId], until: Timestamp) -> Result<()> {
        let mut entries = transactions::since(tx, ids, until)?;
        entries.sort_by_key(|entry| entry.portfolio_id);
        for of_one in entries.chunk_by(|one, next| one.portfolio_id == next.portfolio_id) {
            let mut later = LaterLines::default();
            of_one.iter().for_each(|entry| later.add(entry, until));
            self.undo(of_one[0].portfolio_id, &later);
        }
        Ok(())
    }

    fn undo(&mut self, id: PortfolioId, later: &LaterLines) {
        self.change(id, |portfolio| {
            portfolio.cash_balance = later.cash_before(portfolio.cash_balance.clone());
        });
        for (stock, change) in later.stocks() {
            let place =
                self.held.binary_search_by_key(&(id, stock), |held| (held.portfolio_id, held.stock_id));
            match place {
                Ok(place) => {
                    let held = &mut self.held[place];
                    held.quantity = change.undo(&held.quantity);
                }
                // The row of a closed position stays, so this happens only in damaged books.
                Err(place) => {
                    let quantity = change.undo(&Quantity::zero());
                    self.held.insert(place, HeldShares { portfolio_id: id, stock_id: stock, quantity });
                }
            }
        }
    }
}

/// Adds up the lines of one portfolio at or after `until`, reading up to `most` at a time.
fn read_in_parts(tx: &mut Tx<'_>, id: PortfolioId, until: Timestamp, most: i64) -> Result<LaterLines> {
    let mut later = LaterLines::default();
    let mut before = None;
    loop {
        let part = transactions::page_since(tx, id, until, before, most)?;
        part.iter().for_each(|entry| later.add(entry, until));
        let Some(oldest) = part.last().filter(|_| i64::try_from(part.len()) == Ok(most)) else {
            return Ok(later);
        };
        before = oldest.id.map(|id| (oldest.timestamp, id));
    }
}
