//! Payment of dividends.

use std::collections::HashMap;

use domain::portfolio::actions::Booking;
use domain::{Calendar, CorporateActionKind, KnownAction, PortfolioId, PortfolioRef, Timestamp};
use persistence::corporate_actions::{self as actions, Applied};
use persistence::portfolios::LockedPortfolio;
use persistence::{Tx, portfolios, transactions};

use super::stale_snapshots::mark_snapshots;
use super::{BATCH, CorporateActions};
use crate::error::{Error, Result};
use crate::events::Change;

/// The last portfolio processed, and the changes.
type PaidBatch = (Option<PortfolioId>, Vec<Change>);

/// Pays a dividend to up to [`BATCH`] portfolios. Returns the last portfolio processed and the changes to announce, one
/// for each payment.
fn pay_batch(
    tx: &mut Tx<'_>,
    known: &KnownAction,
    after: PortfolioId,
    (calendar, now): (Calendar, Timestamp),
) -> Result<PaidBatch> {
    let rows = actions::unpaid(tx, known.id, after, BATCH)?;
    let last = rows.last().map(|row| row.portfolio_id);
    let paid = pay(tx, known, &rows)?;
    for (at, _) in &paid {
        mark_snapshots(tx, *at, calendar, now)?;
    }
    Ok((last, paid.into_iter().map(|(_, change)| change).collect()))
}

/// Pays the dividends that a portfolio is owed at an instant of the past, while it is filled with transactions of then.
pub(crate) fn pay_in_books(tx: &mut Tx<'_>, id: PortfolioId, at: Timestamp) -> Result<()> {
    for (known, row) in actions::unpaid_of(tx, id, at)? {
        pay(tx, &known, &[row])?;
    }
    Ok(())
}

/// Pays one dividend to portfolios. Returns when each was paid, and the changes.
fn pay(tx: &mut Tx<'_>, known: &KnownAction, rows: &[Applied]) -> Result<Vec<(Timestamp, Change)>> {
    let ids: Vec<PortfolioId> = rows.iter().map(|row| row.portfolio_id).collect();
    let mut locked: HashMap<PortfolioId, LockedPortfolio> =
        portfolios::lock(tx, &ids)?.into_iter().map(|one| (one.portfolio.id, one)).collect();
    // Another process may have paid them before this transaction locked them.
    let unpaid = actions::portfolios_with_unpaid(tx, known.id, &ids)?;
    let records: HashMap<PortfolioId, _> =
        portfolios::by_ids(tx, &ids)?.into_iter().map(|row| (row.id, row)).collect();
    let (CorporateActionKind::CashDividend { amount: per_share, .. }, Some(pays_at)) =
        (&known.action.kind, known.pays_at)
    else {
        return Ok(Vec::new());
    };
    let mut changes = Vec::new();
    for row in rows.iter().filter(|row| unpaid.contains(&row.portfolio_id)) {
        let Some(one) = locked.get_mut(&row.portfolio_id) else { continue };
        let at = one.last.max(pays_at);
        let booking =
            Booking { id: known.id, stock_id: known.stock_id, effective_at: known.effective_at, at };
        let entry = one.portfolio.receive(booking, per_share, &row.quantity, &row.amount);
        transactions::append(tx, &[entry])?;
        portfolios::save_cash(tx, &[(&one.portfolio, at)])?;
        let record = &records[&row.portfolio_id];
        let receivable = record.dividends_receivable.clone() - &row.amount;
        portfolios::save_dividends(tx, row.portfolio_id, &record.dividends, &receivable)?;
        actions::set_paid(tx, row.portfolio_id, known.id, at)?;
        changes.push((at, Change::of_books(PortfolioRef::new(one.user_id, row.portfolio_id))));
    }
    Ok(changes)
}

impl CorporateActions {
    /// Pays all dividends that are due, one after the other in the order of payment: a journal is in the order of time, so
    /// a payment that is made late would be booked at the time of a later one.
    pub(super) async fn pay_dividends(&self, now: Timestamp) -> Result<usize> {
        let calendar = self.market.calendar;
        let due = self.store.read(move |tx| actions::with_unpaid(tx, now).map_err(Error::from)).await?;
        let mut paid = 0;
        for known in due {
            let pay = move |tx: &mut Tx<'_>, after| pay_batch(tx, &known, after, (calendar, now));
            paid += self.in_batches(PortfolioId(0), pay).await?;
        }
        Ok(paid)
    }
}
