//! Contributions of holdings to the gain of a window.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::performance::dietz::average_capital;
use crate::performance::{BookSums, Figure, Formula, Series, Table, UndefinedReason, Value, Workings, gain};
use crate::{JournalEntry, Money, StockId};

pub(super) const FORMULA: Formula = Formula {
    words: "The gain of a stock is its realized gain, plus the change of its unrealized gain, plus its dividends. \
            The rest of the portfolio's gain, such as fees, is the contribution of cash. Divided by the average capital, \
            all gains add up to the modified Dietz return.",
    symbols: "gain = realized + unrealized_change + dividends; contribution = gain / average_capital",
    source: "Identity of the average-cost books; Dietz, Pension funds, 1966",
};

pub(super) const REALIZED: Formula = Formula {
    words: "The proceeds of all sells of the window less the cost of the shares sold, both after commissions.",
    symbols: "realized_pnl = Σ realized",
    source: "Average-cost method",
};

pub(super) const UNREALIZED: Formula = Formula {
    words: "The market value at the end less the cost basis, commissions included.",
    symbols: "unrealized_pnl = Σ (market_value − cost_basis)",
    source: "Average-cost method",
};

pub(super) const DIVIDENDS: Formula = Formula {
    words: "The dividends whose ex-date is in the window: the dividends paid in it, plus the dividends receivable at \
            its end, less the dividends receivable at its start.",
    symbols: "dividends = Σ (paid + receivable_end − receivable_start)",
    source: "Accrual on the ex-date",
};

/// A stock's position at a close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedHolding {
    pub stock_id: StockId,
    /// Zero if no shares are held.
    pub market_value: Money,
    /// The cost of the held shares, including commissions. Zero if no shares are held.
    pub cost_basis: Money,
    /// The stock's dividends that are owed and not paid yet.
    pub receivable: Money,
}

/// The books of a window. A stock that is missing at the start or the end has no shares and no dividends receivable
/// then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowBooks {
    /// At the close before the window; empty if the portfolio is younger.
    pub start: Arc<[BookedHolding]>,
    /// The holdings at the last close.
    pub end: Vec<BookedHolding>,
    /// All journal lines between the two closes, ordered by id. Only explanations need them.
    pub entries: Vec<JournalEntry>,
    /// What these lines add up to.
    pub sums: Arc<BookSums>,
}

impl WindowBooks {
    /// Creates the books of a window with these journal lines.
    pub fn new(start: Vec<BookedHolding>, end: Vec<BookedHolding>, entries: Vec<JournalEntry>) -> Self {
        let sums = Arc::new(BookSums::of(&entries));
        Self { start: start.into(), end, entries, sums }
    }
}

/// A stock's part in the gain of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    pub stock_id: StockId,
    /// `realized + unrealized_change + dividends`, exact. Positive is a profit.
    pub gain: Money,
    /// The realized results of sells in the window, after commissions.
    pub realized: Money,
    /// The unrealized profit at the end less the one at the start.
    pub unrealized_change: Money,
    /// Dividends, counted on their ex-dates.
    pub dividends: Money,
    /// `gain / average capital`, a ratio: 0.01 is one percentage point of the portfolio's return. `None` without
    /// capital.
    pub contribution: Option<f64>,
}

/// The gain of a window by its origin. `gain = Σ holdings + cash`, exact to the cent.
#[derive(Debug, Clone, PartialEq)]
pub struct Contributions {
    /// Every stock that was held, traded or paid a dividend in the window, including sold stocks. The largest gain
    /// comes first; equal gains are ordered by id.
    pub holdings: Vec<Contribution>,
    /// The gain that belongs to no stock, without deposits and withdrawals; fees are negative.
    pub cash: Money,
    /// `cash / average capital`, a ratio. `None` without capital.
    pub cash_contribution: Option<f64>,
    /// The sum of all gains and of cash: the gain of the window.
    pub gain: Money,
    pub realized_pnl: Money,
    /// At the end of the window.
    pub unrealized_pnl: Money,
    pub unrealized_change: Money,
    pub dividends: Money,
}

/// The books of a stock while they are added up.
struct Part {
    realized: Money,
    unrealized_change: Money,
    dividends: Money,
}

impl Default for Part {
    fn default() -> Self {
        Self { realized: Money::zero(), unrealized_change: Money::zero(), dividends: Money::zero() }
    }
}

/// The gain of the window by stock, computed only from the books; `series` provides the average capital to divide by.
///
/// A line that moves a position changes its cost and its result by the line's amount, so market values, cost and
/// journal determine each stock's gain to the cent, with any splits, exchanges or reversals.
///
/// # Errors
/// [`UndefinedReason::NoBooks`]; [`UndefinedReason::BooksDiffer`] when the books and the series have different gains.
pub fn contributions(
    series: &Series,
    books: Option<&WindowBooks>,
    work: &mut Workings,
) -> Figure<Contributions> {
    let books = books.ok_or(UndefinedReason::NoBooks)?;
    let mut parts: BTreeMap<StockId, Part> = BTreeMap::new();
    let mut unrealized_pnl = Money::zero();
    for holding in books.start.iter() {
        let part = parts.entry(holding.stock_id).or_default();
        part.unrealized_change += &(holding.cost_basis.clone() - &holding.market_value);
        part.dividends -= &holding.receivable;
    }
    for holding in &books.end {
        let part = parts.entry(holding.stock_id).or_default();
        let unrealized = holding.market_value.clone() - &holding.cost_basis;
        part.unrealized_change += &unrealized;
        part.dividends += &holding.receivable;
        unrealized_pnl += &unrealized;
    }
    for (stock, sums) in &books.sums.stocks {
        let part = parts.entry(*stock).or_default();
        part.realized += &sums.realized;
        part.dividends += &sums.dividends;
    }
    let cash = books.sums.cash.clone();
    let capital = average_capital(series, work).ok();
    let share = |gain: &Money| capital.map(|capital| gain.to_f64() / capital);
    let mut holdings: Vec<Contribution> = parts
        .into_iter()
        .map(|(stock_id, Part { realized, unrealized_change, dividends })| {
            let gain = realized.clone() + &unrealized_change + &dividends;
            let contribution = share(&gain);
            Contribution { stock_id, gain, realized, unrealized_change, dividends, contribution }
        })
        .collect();
    holdings.sort_by(|a, b| b.gain.cmp(&a.gain).then(a.stock_id.cmp(&b.stock_id)));
    let total = |part: fn(&Contribution) -> &Money| holdings.iter().map(part).sum::<Money>();
    let contributions = Contributions {
        gain: total(|holding| &holding.gain) + &cash,
        realized_pnl: total(|holding| &holding.realized),
        unrealized_change: total(|holding| &holding.unrealized_change),
        dividends: total(|holding| &holding.dividends),
        cash_contribution: share(&cash),
        unrealized_pnl,
        cash,
        holdings,
    };
    contributions.note(books, work);
    let of_series = gain(series, &mut Workings::off());
    match of_series == contributions.gain {
        true => Ok(contributions),
        false => Err(UndefinedReason::BooksDiffer { books: contributions.gain, series: of_series }),
    }
}

impl Contributions {
    fn note(&self, books: &WindowBooks, work: &mut Workings) {
        for (name, label, holdings) in
            [("start", "Holdings at the start", &*books.start), ("end", "Holdings at the end", &books.end)]
        {
            work.input(name, label, || {
                let columns = [
                    ("stock", "Stock"),
                    ("market_value", "Market value"),
                    ("cost_basis", "Cost"),
                    ("receivable", "Dividends receivable"),
                ];
                let row = |holding: &BookedHolding| {
                    vec![
                        Value::Stock(holding.stock_id),
                        Value::Money(holding.market_value.clone()),
                        Value::Money(holding.cost_basis.clone()),
                        Value::Money(holding.receivable.clone()),
                    ]
                };
                Value::Table(Table::new(&columns, holdings.iter().map(row)))
            });
        }
        work.input("entries", "Transactions", || {
            let columns = [
                ("type", "Type"),
                ("stock", "Stock"),
                ("amount", "Effect on cash"),
                ("realized", "Realized result"),
            ];
            let row = |entry: &JournalEntry| {
                let money = |amount: Option<&Money>| amount.cloned().map_or(Value::Missing, Value::Money);
                vec![
                    Value::Word(entry.transaction_type.as_str()),
                    entry.stock_id.map_or(Value::Missing, Value::Stock),
                    Value::Money(entry.amount.clone()),
                    money(entry.realized_pnl.as_ref()),
                ]
            };
            Value::Table(Table::new(&columns, books.entries.iter().map(row)))
        });
        work.step("holdings", "Gain by stock", || self.table());
        work.step("cash", "Part of cash", || Value::Money(self.cash.clone()));
        work.step("gain", "Gain", || Value::Money(self.gain.clone()));
    }

    /// The holdings as a table.
    pub(super) fn table(&self) -> Value {
        let columns = [
            ("stock", "Stock"),
            ("realized", "Realized"),
            ("unrealized_change", "Change of unrealized"),
            ("dividends", "Dividends"),
            ("gain", "Gain"),
            ("contribution", "Contribution"),
        ];
        let row = |holding: &Contribution| {
            vec![
                Value::Stock(holding.stock_id),
                Value::Money(holding.realized.clone()),
                Value::Money(holding.unrealized_change.clone()),
                Value::Money(holding.dividends.clone()),
                Value::Money(holding.gain.clone()),
                holding.contribution.map_or(Value::Missing, Value::Ratio),
            ]
        };
        Value::Table(Table::new(&columns, self.holdings.iter().map(row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransactionType;
    use crate::performance::series::tests::{closes, series};
    use crate::{PortfolioId, Timestamp};
    use chrono::{DateTime, Utc};

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    fn line(kind: TransactionType, stock: Option<i64>, amount: &str, realized: Option<&str>) -> JournalEntry {
        JournalEntry {
            transaction_type: kind,
            stock_id: stock.map(StockId),
            realized_pnl: realized.map(money),
            ..JournalEntry::cash(PortfolioId(1), money(amount), at("2026-01-02T15:00:00Z"))
        }
    }

    fn holding(stock: i64, [value, cost, owed]: [&str; 3]) -> BookedHolding {
        BookedHolding {
            stock_id: StockId(stock),
            market_value: money(value),
            cost_basis: money(cost),
            receivable: money(owed),
        }
    }

    /// Cash of 500, and stock 1 with a value of 300, a cost of 250 and a dividend of 5 owed. Stock 1 is sold for 310
    /// and its dividend is paid. Stock 2 is bought for 200 and ends at 190 with a dividend of 2 owed. A fee of 1.50; a
    /// deposit of 100.
    #[test]
    fn gains_by_stock_add_up_to_the_gain_of_the_window() {
        use TransactionType::{Buy, Deposit, Dividend, Fee, Sell};
        let all = closes(&[("805", "805"), ("905", "100"), ("905.50", "0")]);
        let series = Series::new(Some(&all[0]), &all[1..]);
        let books = WindowBooks::new(
            vec![holding(1, ["300", "250", "5"])],
            vec![holding(2, ["190", "200", "2"])],
            vec![
                line(Deposit, None, "100", None),
                line(Sell, Some(1), "310", Some("60")),
                line(Dividend, Some(1), "5", None),
                line(Buy, Some(2), "-200", None),
                line(Fee, None, "-1.50", None),
            ],
        );
        let found = contributions(&series, Some(&books), &mut Workings::off()).unwrap();
        let gains: Vec<_> = found.holdings.iter().map(|part| (part.stock_id.0, part.gain.clone())).collect();
        assert_eq!(gains, [(1, money("10")), (2, money("-8"))]);
        assert_eq!((found.cash.clone(), found.gain.clone()), (money("-1.50"), money("0.50")));
        assert_eq!(found.gain, gain(&series, &mut Workings::off()));
        assert_eq!((found.realized_pnl, found.unrealized_pnl), (money("60"), money("-10")));
        assert_eq!((found.unrealized_change, found.dividends), (money("-60"), money("2")));
        // 805 + 100 × 1/2.
        assert!((found.holdings[0].contribution.unwrap() - 10.0 / 855.0).abs() < 1e-15);
    }

    #[test]
    fn without_books_it_is_undefined() {
        let none = contributions(&series(&[]), None, &mut Workings::off());
        assert_eq!(none, Err(UndefinedReason::NoBooks));
        let empty = contributions(&series(&[]), Some(&WindowBooks::default()), &mut Workings::off()).unwrap();
        assert_eq!((empty.holdings.len(), empty.cash_contribution), (0, None));
    }

    #[test]
    fn books_of_another_gain_than_the_daily_values_are_undefined() {
        let all = closes(&[("805", "805"), ("905", "0")]);
        let series = Series::new(Some(&all[0]), &all[1..]);
        let books = WindowBooks::new(Vec::new(), vec![holding(1, ["99", "0", "0"])], Vec::new());
        let found = contributions(&series, Some(&books), &mut Workings::off());
        let differ = UndefinedReason::BooksDiffer { books: money("99"), series: money("100") };
        assert_eq!(found, Err(differ));
    }

    #[test]
    fn dividends_are_counted_in_the_year_of_new_york() {
        use TransactionType::{Buy, Dividend};
        let paid = |when: &str, stock, amount| JournalEntry {
            timestamp: at(when),
            ..line(Dividend, Some(stock), amount, None)
        };
        let entries = [
            paid("2026-01-01T03:00:00Z", 1, "1.00"),
            paid("2026-03-01T15:00:00Z", 1, "2.00"),
            paid("2026-06-01T15:00:00Z", 1, "0.50"),
            paid("2026-06-01T15:00:00Z", 2, "4.00"),
            JournalEntry {
                transaction_type: TransactionType::Reversal,
                ..paid("2026-07-01T15:00:00Z", 1, "-0.25")
            },
            line(Buy, Some(1), "-9", None),
        ];
        let years: Vec<_> = BookSums::of(&entries).dividends_by_year.into_iter().collect();
        let expected =
            [((2025, StockId(1)), "1.00"), ((2026, StockId(1)), "2.25"), ((2026, StockId(2)), "4.00")];
        assert_eq!(years, expected.map(|(key, amount)| (key, money(amount))));
    }
}
