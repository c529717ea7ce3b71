//! The rule of snapshots: quantities times closing prices.

use std::collections::{BTreeSet, HashMap};

use chrono::NaiveDate;
use domain::journal::Books;
use domain::{ActionHistory, AsTraded, Money, Price, Quantity, Snapshot, StockId};
use persistence::{Tx, corporate_actions, stocks};

use super::actions::amount_differs;
use super::load::MAX_HOLDINGS;
use super::report::{Concern, Difference};
use crate::error::Result;
use crate::market::book_calendar::BookCalendar;

type Holdings = Vec<(StockId, Quantity)>;

/// Snapshots whose cash is already checked, and whose positions wait for the closing prices of their days.
#[derive(Default)]
pub(super) struct Unpriced {
    pub(super) snapshots: Vec<(Snapshot, Money, Holdings)>,
    holdings: usize,
}

impl Unpriced {
    /// Adds a snapshot. `late` returns the shares that splits had added and removed by the snapshot's close, but that
    /// the books contain only later.
    pub(super) fn add(
        &mut self,
        snapshot: &Snapshot,
        books: &Books,
        late: impl Fn(StockId) -> (Quantity, Quantity),
    ) {
        let held = books.positions.iter().map(|(stock, position)| {
            let (added, taken) = late(*stock);
            let quantity = position.quantity.clone() + &added;
            (*stock, quantity.checked_sub(&taken).unwrap_or_else(Quantity::zero))
        });
        let held: Vec<_> = held.filter(|(_, quantity)| !quantity.is_zero()).collect();
        self.holdings += 1 + held.len();
        self.snapshots.push((snapshot.clone(), books.cash_balance.clone(), held));
    }

    pub(super) fn is_full(&self) -> bool {
        self.holdings > MAX_HOLDINGS
    }

    pub(super) fn price(&mut self, tx: &mut Tx<'_>, calendar: &BookCalendar) -> Result<Vec<Difference>> {
        let wanted: BTreeSet<(StockId, NaiveDate)> = self
            .snapshots
            .iter()
            .flat_map(|(snapshot, _, held)| held.iter().map(|(stock, _)| (*stock, snapshot.date)))
            .collect();
        let wanted: Vec<_> = wanted.into_iter().collect();
        let closes = stocks::closes(tx, &wanted)?.into_iter();
        let mut closes: HashMap<(StockId, NaiveDate), Price> =
            closes.map(|(stock, date, close)| ((stock, date), close)).collect();
        // A delisted stock keeps its last price.
        let missing: BTreeSet<StockId> =
            wanted.iter().filter(|of| !closes.contains_key(of)).map(|(stock, _)| *stock).collect();
        for stock in stocks::by_ids(tx, &missing.into_iter().collect::<Vec<_>>())? {
            let Some(on) = stock.delisted_on else { continue };
            if let Some((_, day, last)) = stocks::closes_on(tx, &[stock.id], on)?.pop() {
                let history = ActionHistory::of_known(&corporate_actions::of_stock(tx, stock.id)?);
                let last = AsTraded::new(last, calendar.basis(day));
                let dates = wanted.iter().filter(|(id, date)| *id == stock.id && *date >= on);
                closes.extend(dates.map(|of| (*of, history.convert(last.clone(), calendar.basis(of.1)))));
            }
        }
        let mut differences = Vec::new();
        for (snapshot, cash, held) in std::mem::take(self).snapshots {
            let (id, date) = (snapshot.portfolio_id, snapshot.date);
            let mut value = Money::zero();
            let mut missing = 0;
            for (stock, quantity) in &held {
                match closes.get(&(*stock, date)) {
                    Some(close) => value += &close.times(quantity),
                    None => missing += 1,
                }
            }
            let total = value.clone() + &cash + &snapshot.dividends_receivable;
            differences.extend(amount_differs(
                id,
                date,
                "positions_value",
                &snapshot.positions_value,
                &value,
            ));
            differences.extend(amount_differs(id, date, "total_value", &snapshot.total_value, &total));
            if missing > 0 {
                let what = format!("snapshot of {date}: {missing} closing prices are missing");
                differences.push(Difference { portfolio_id: id, what, concern: Concern::Snapshot(date) });
            }
        }
        Ok(differences)
    }
}
