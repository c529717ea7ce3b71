//! Tables of the performance page: which holdings the gain came from, and dividends by year.

use std::collections::BTreeMap;

use domain::performance::{Contributions, Measures, WindowBooks};
use domain::{Money, StockId, Symbol};
use serde::Serialize;

use crate::shell::format;
use crate::shell::format::Delta;

/// The gain of the window, by holding and cash.
#[derive(Debug, Serialize)]
pub struct ContributionTable {
    rows: Vec<ContributionRow>,
    /// The contribution of cash; `None` if it is zero.
    cash: Option<ContributionRow>,
    total: ContributionRow,
    note: String,
}

#[derive(Debug, Serialize)]
pub struct ContributionRow {
    /// `None` for cash and the total.
    symbol: Option<Symbol>,
    realized: Delta,
    unrealized: Delta,
    dividends: String,
    gain: Delta,
    /// In percentage points.
    contribution: Option<Delta>,
}

impl ContributionTable {
    /// `None` when nothing was held or traded.
    pub fn new(measures: &Measures, symbols: &BTreeMap<StockId, Symbol>) -> Option<Self> {
        let gains = measures.contributions.as_ref().filter(|gains| !gains.holdings.is_empty())?;
        let rows = gains.holdings.iter().map(|part| ContributionRow {
            symbol: symbols.get(&part.stock_id).cloned(),
            realized: format::gain(&part.realized),
            unrealized: format::gain(&part.unrealized_change),
            dividends: format::money(&part.dividends),
            gain: format::gain(&part.gain),
            contribution: part.contribution.map(format::percent_gain),
        });
        Some(Self {
            rows: rows.collect(),
            cash: (!gains.cash.is_zero()).then(|| cash_row(gains)),
            total: ContributionRow {
                symbol: None,
                realized: format::gain(&gains.realized_pnl),
                unrealized: format::gain(&gains.unrealized_change),
                dividends: format::money(&gains.dividends),
                gain: format::gain(&gains.gain),
                contribution: measures.modified_dietz.map(format::percent_gain),
            },
            note: note(measures),
        })
    }
}

fn cash_row(gains: &Contributions) -> ContributionRow {
    let zero = Money::zero();
    ContributionRow {
        symbol: None,
        realized: format::gain(&zero),
        unrealized: format::gain(&zero),
        dividends: format::money(&zero),
        gain: format::gain(&gains.cash),
        contribution: gains.cash_contribution.map(format::percent_gain),
    }
}

fn note(measures: &Measures) -> String {
    match (measures.modified_dietz, measures.twr) {
        (Some(dietz), Some(twr)) => format!(
            "Gains add up to the gain of the period to the cent. Contributions are in percentage points and add up \
             to the modified Dietz return, {}: the gain divided by the average capital. The time-weighted return, {}, \
             does not depend on when money was paid in, and therefore differs.",
            format::percent(dietz),
            format::percent(twr)
        ),
        _ => "Gains add up to the gain of the period to the cent.".to_owned(),
    }
}

/// Dividends that were paid in the window.
#[derive(Debug, Serialize)]
pub struct DividendTable {
    /// The newest year first.
    rows: Vec<DividendRow>,
    paid: String,
    /// How these payments differ from the dividends of the window, as a sentence.
    note: String,
}

#[derive(Debug, Serialize)]
pub struct DividendRow {
    year: i32,
    symbol: Option<Symbol>,
    amount: String,
}

impl DividendTable {
    /// `None` when nothing was paid.
    pub fn new(books: &WindowBooks, symbols: &BTreeMap<StockId, Symbol>) -> Option<Self> {
        let years = &books.sums.dividends_by_year;
        if years.is_empty() {
            return None;
        }
        let paid: Money = years.values().sum();
        let owed = |holdings: &[domain::performance::BookedHolding]| -> Money {
            holdings.iter().map(|holding| &holding.receivable).sum()
        };
        let (start, end) = (owed(&books.start), owed(&books.end));
        let note = match (start.is_zero(), end.is_zero()) {
            (true, true) => String::new(),
            _ => format!(
                "Dividends count from their ex-date: {} paid, plus {} receivable at the end, less {} receivable at \
                 the start.",
                format::money(&paid),
                format::money(&end),
                format::money(&start)
            ),
        };
        let row = |((year, stock), amount): (&(i32, StockId), &Money)| DividendRow {
            year: *year,
            symbol: symbols.get(stock).cloned(),
            amount: format::money(amount),
        };
        Some(Self { rows: years.iter().rev().map(row).collect(), paid: format::money(&paid), note })
    }
}
