//! Repairs the differences that `verify` finds, with reversal lines in the journal: existing lines are neither changed
//! nor deleted.

use std::collections::{BTreeMap, BTreeSet};

use domain::journal::{BookedTerms, Reversal, without_reversed};
use domain::{
    ActionId, JournalEntry, Money, PortfolioId, Position, Quantity, SplitConfirmation, StockId, Timestamp,
    TransactionId, TransactionType,
};
use persistence::corporate_actions::{self as actions, SplitDecisionReason};
use persistence::{Tx, orders, portfolios, positions, transactions};

use crate::books::Books;
use crate::books::verify::{Concern, Report};
use crate::corporate_actions::{Stored, corrupt, mark_snapshots};
use crate::error::{Error, Result};
use crate::log_target::SECURITY;

/// The result of a repair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Splits that were suspended until an administrator resolves them.
    pub splits: usize,
    /// Reversed fills, including later sales of their shares.
    pub fills: usize,
    /// Sessions whose snapshots were taken again.
    pub sessions: usize,
    /// Differences that could not be repaired, with the reason.
    pub left: Vec<(PortfolioId, String)>,
}

/// The reason given for canceled open orders of a corrected position.
const CORRECTED: &str = "the books of this stock were corrected: place the order again";

impl Books {
    /// Repairs the differences of a report where possible. Contradicted splits are suspended, which reverses them.
    /// Wrong fills are reversed, together with later sales of shares that never existed. Wrong snapshots are taken
    /// again. Each step can be repeated safely.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn repair(&self, report: &Report) -> Result<Repaired> {
        let mut repaired = Repaired::default();
        let (now, wall) = (self.market.now(), self.market.clock.wall());
        let mut fills: BTreeMap<PortfolioId, BTreeSet<TransactionId>> = BTreeMap::new();
        let mut splits: BTreeMap<ActionId, SplitDecisionReason> = BTreeMap::new();
        let mut first_snapshot = None;
        for difference in &report.differences {
            match &difference.concern {
                Concern::Books => {
                    let what = format!("{}: this cannot be repaired; restore a backup", difference.what);
                    repaired.left.push((difference.portfolio_id, what));
                }
                Concern::Fill(id) => {
                    fills.entry(difference.portfolio_id).or_default().insert(*id);
                }
                Concern::Split(id, expected, found) => {
                    splits.insert(*id, SplitDecisionReason::Price(expected.clone(), found.clone()));
                }
                Concern::Snapshot(date) => {
                    first_snapshot =
                        Some(first_snapshot.map_or(*date, |first: chrono::NaiveDate| first.min(*date)));
                }
            }
        }
        // Fills are reversed first, because the reversal of a split depends on the fills that still count.
        for (portfolio, ids) in fills {
            let done = self
                .store
                .write(move |tx| reverse_fills(tx, portfolio, &ids, now).map_err(Error::from))
                .await?;
            match done {
                Ok(reversed) => repaired.fills += reversed,
                Err(why) => repaired.left.push((portfolio, why)),
            }
        }
        for (id, by) in splits {
            let states = (SplitConfirmation::Confirmed, SplitConfirmation::Suspended);
            let decided = self
                .store
                .write(move |tx| actions::decide(tx, id, states, &by, wall).map_err(Error::from))
                .await?;
            repaired.splits += usize::from(decided);
        }
        self.corporate_actions.action_counter().increase();
        self.corporate_actions.reverse_splits().await?;
        let calendar = self.market.calendar;
        let books = self.market.book_calendar(&self.store).await?;
        if let Some(session) = first_snapshot.and_then(|date| books.session(date)) {
            self.store
                .write(move |tx| mark_snapshots(tx, session.opens_at, calendar, now).map_err(Error::from))
                .await?;
        }
        repaired.sessions = self.take_snapshots_again(&mut || true).await?;
        tracing::info!(
            target: SECURITY,
            event = "books_repaired",
            splits = repaired.splits,
            fills = repaired.fills,
            sessions = repaired.sessions,
            left = repaired.left.len(),
            "the books were repaired by reversal lines"
        );
        Ok(repaired)
    }
}

/// Reverses fills of a portfolio, newest first. Returns their number, or the reason why it is impossible.
fn reverse_fills(
    tx: &mut Tx<'_>,
    id: PortfolioId,
    odd: &BTreeSet<TransactionId>,
    now: Timestamp,
) -> Stored<std::result::Result<usize, String>> {
    let Some(mut locked) = portfolios::lock(tx, &[id])?.pop() else { return Ok(Ok(0)) };
    let at = locked.last.max(now);
    let all = transactions::of_range(tx, PortfolioId(id.0 - 1), id)?;
    let stocks: BTreeSet<StockId> = all
        .iter()
        .filter(|entry| entry.id.is_some_and(|id| odd.contains(&id)))
        .filter_map(|entry| entry.stock_id)
        .collect();
    let mut lines = Vec::new();
    let mut canceled = Vec::new();
    for stock in stocks {
        let own: Vec<JournalEntry> =
            all.iter().filter(|entry| entry.stock_id == Some(stock)).cloned().collect();
        let own = without_reversed(own);
        let mut gone: BTreeSet<TransactionId> =
            own.iter().filter_map(|entry| entry.id).filter(|id| odd.contains(id)).collect();
        while let Some(sale) = oversold(&own, &gone) {
            gone.insert(sale);
        }
        let portfolio = &mut locked.portfolio;
        let (position, reserved) = positions::of_pairs(tx, &[(id, stock)])?
            .remove(&(id, stock))
            .unwrap_or_else(|| (Position::default(), Quantity::zero()));
        portfolio.positions.insert(stock, position);
        portfolio.reserved.shares.insert(stock, reserved);
        let open = orders::open_ids_of_stock(tx, &[id], stock)?;
        let mut groups = orders::groups(tx, &open)?;
        for group in &mut groups {
            portfolio.cancel_for(group, CORRECTED, at).map_err(corrupt)?;
        }
        canceled.extend(groups);
        for (index, entry) in own.iter().enumerate().rev() {
            let Some(of) = entry.id.filter(|id| gone.contains(id)) else { continue };
            let later = own[index + 1..].iter().filter(|later| later.id.is_none_or(|id| !gone.contains(&id)));
            let later: Vec<JournalEntry> = later.cloned().collect();
            let old = portfolio.positions.get(&stock).cloned().unwrap_or_default();
            let restored = old.without(entry, &later);
            let realized = restored.realized_pnl.clone() - &old.realized_pnl;
            portfolio.cash_balance -= &entry.amount;
            if portfolio.cash_balance.is_negative() {
                return Ok(Err(short_of_cash(&portfolio.cash_balance)));
            }
            lines.push(JournalEntry {
                stock_id: Some(stock),
                transaction_type: TransactionType::Reversal,
                quantity: Some(restored.quantity.clone()),
                realized_pnl: (!realized.is_zero()).then_some(realized),
                reverses: Some(Reversal { of, before: old.quantity, effective_at: at, ratio: None }),
                ..JournalEntry::cash(id, -entry.amount.clone(), at)
            });
            portfolio.positions.insert(stock, restored);
        }
    }
    let portfolio = &locked.portfolio;
    if portfolio.buying_power().is_negative() {
        return Ok(Err(short_of_cash(&portfolio.buying_power())));
    }
    let orders: Vec<_> = canceled.iter().flat_map(|group| &group.orders).collect();
    orders::update(tx, &orders)?;
    transactions::append(tx, &lines)?;
    let none = Quantity::zero();
    let changed: Vec<positions::ChangedPosition<'_>> = portfolio
        .positions
        .iter()
        .map(|(stock, position)| positions::ChangedPosition {
            portfolio: id,
            stock: *stock,
            position,
            reserved: portfolio.reserved.shares.get(stock).unwrap_or(&none),
        })
        .collect();
    positions::save(tx, &changed)?;
    portfolios::save_cash(tx, &[(portfolio, at)])?;
    Ok(Ok(lines.len()))
}

fn short_of_cash(left: &Money) -> String {
    let missing = -left.clone();
    format!(
        "{missing} more cash is needed to reverse its wrong fills: its owner must deposit cash or cancel orders; then repair again"
    )
}

/// Returns the first sale of more shares than exist when the lines in `gone` do not count.
fn oversold(entries: &[JournalEntry], gone: &BTreeSet<TransactionId>) -> Option<TransactionId> {
    let mut held = Quantity::zero();
    for entry in entries.iter().filter(|entry| entry.id.is_none_or(|id| !gone.contains(&id))) {
        let quantity = entry.quantity.clone().unwrap_or_else(Quantity::zero);
        match (entry.transaction_type, entry.action.as_ref().map(|action| &action.terms)) {
            (TransactionType::Buy, _) => held = held + &quantity,
            (TransactionType::Sell, _) => match held.checked_sub(&quantity) {
                Some(rest) => held = rest,
                None => return entry.id,
            },
            (_, Some(BookedTerms::Split { ratio, .. })) => held = ratio.shares(&held),
            _ => {}
        }
    }
    None
}
