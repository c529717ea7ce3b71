//! Commissions and turnover.

use crate::journal::without_reversed;
use crate::performance::series::ValueSums;
use crate::performance::statistics::count;
use crate::performance::{
    BookSums, Figure, Formula, Series, Table, UndefinedReason, Value, WindowBooks, Workings,
};
use crate::{JournalEntry, Money, TransactionType};

pub(super) const COMMISSIONS: Formula = Formula {
    words: "The commissions of all trades of the window. They raise the cost of buys and lower the proceeds of \
            sells, so the gain is after commissions.",
    symbols: "commissions = Σ commission",
    source: "The portfolio's transactions",
};

pub(super) const TURNOVER: Formula = Formula {
    words: "The smaller of all purchases and all sales of the window, without commissions, divided by the average \
            total value at its closes. It is not annualized.",
    symbols: "turnover = min(purchases, sales) / average_value",
    source: "US SEC, Form N-1A, item 13, instruction 4(d): portfolio turnover rate",
};

/// All commissions of the window, positive. Exact. Trades that were reversed in the window are omitted.
///
/// # Errors
/// [`UndefinedReason::NoBooks`].
pub fn commissions(books: Option<&WindowBooks>, work: &mut Workings) -> Figure<Money> {
    let books = books.ok_or(UndefinedReason::NoBooks)?;
    note_trades(books, work);
    Ok(books.sums.commissions.clone())
}

/// Portfolio turnover over the window, a ratio from 0; with 1, everything was replaced once. Trades that were reversed
/// in the window are omitted, and so are exchanges and close-outs, which are not the owner's decisions.
///
/// # Errors
/// [`UndefinedReason::NoBooks`]; [`UndefinedReason::NothingInvested`] when the average value is zero.
pub fn turnover(series: &Series, books: Option<&WindowBooks>, work: &mut Workings) -> Figure {
    let books = books.ok_or(UndefinedReason::NoBooks)?;
    note_trades(books, work);
    series.note_days(work);
    let BookSums { purchases, sales, .. } = &*books.sums;
    work.step("purchases", "Purchases without commissions", || Value::Money(purchases.clone()));
    work.step("sales", "Sales without commissions", || Value::Money(sales.clone()));
    let ValueSums { days, end_values, .. } = series.fold(ValueSums::default);
    if !end_values.is_positive() {
        return Err(UndefinedReason::NothingInvested);
    }
    let average = end_values.to_f64() / count(days);
    work.number("average_value", "Average total value", average);
    Ok(purchases.min(sales).to_f64() / average)
}

fn note_trades(books: &WindowBooks, work: &mut Workings) {
    work.input("trades", "Trades", || {
        let entries = without_reversed(books.entries.clone());
        let columns = [
            ("type", "Type"),
            ("stock", "Stock"),
            ("amount", "Effect on cash"),
            ("commission", "Commission"),
        ];
        let is_trade = |entry: &&JournalEntry| {
            matches!(entry.transaction_type, TransactionType::Buy | TransactionType::Sell)
                || !entry.commission.is_zero()
        };
        let row = |entry: &JournalEntry| {
            vec![
                Value::Word(entry.transaction_type.as_str()),
                entry.stock_id.map_or(Value::Missing, Value::Stock),
                Value::Money(entry.amount.clone()),
                Value::Money(entry.commission.clone()),
            ]
        };
        Value::Table(Table::new(&columns, entries.iter().filter(is_trade).map(row)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::series::tests::series;
    use crate::{PortfolioId, StockId, Timestamp};
    use chrono::{TimeZone, Utc};

    fn trade(kind: TransactionType, amount: &str, commission: &str) -> JournalEntry {
        let at: Timestamp = Utc.with_ymd_and_hms(2026, 1, 2, 15, 0, 0).unwrap().into();
        JournalEntry {
            transaction_type: kind,
            stock_id: Some(StockId(1)),
            commission: commission.parse().unwrap(),
            ..JournalEntry::cash(PortfolioId(1), amount.parse().unwrap(), at)
        }
    }

    #[test]
    fn the_smaller_side_counts_against_the_average_value() {
        let series = series(&[("1000", "1000"), ("2000", "1000")]);
        let entries = vec![
            trade(TransactionType::Buy, "-601", "1"),
            trade(TransactionType::Sell, "299", "1"),
            trade(TransactionType::Dividend, "50", "0"),
        ];
        let books = WindowBooks::new(Vec::new(), Vec::new(), entries);
        let work = &mut Workings::off();
        assert!((turnover(&series, Some(&books), work).unwrap() - 300.0 / 1500.0).abs() < 1e-15);
        assert_eq!(commissions(Some(&books), work), Ok("2".parse().unwrap()));
        assert_eq!(turnover(&series, None, work), Err(UndefinedReason::NoBooks));
    }

    #[test]
    fn turnover_is_undefined_without_value_and_zero_without_trades() {
        let work = &mut Workings::off();
        let books = WindowBooks::default();
        assert_eq!(turnover(&series(&[]), Some(&books), work), Err(UndefinedReason::NothingInvested));
        assert_eq!(turnover(&series(&[("10", "10")]), Some(&books), work), Ok(0.0));
    }
}
