//! Explanations of figures of the books: total value, day change, average buy price and concentration.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::calendar::exchange_date;
use crate::composition::Concentration;
use crate::journal::cost_taken;
use crate::order::keywords;
use crate::performance::{Explanation, Formula, Table, UndefinedReason, Value, Workings};
use crate::valuation::{Cash, Priced};
use crate::{Holding, JournalEntry, Position, Quantity, Valuation};

keywords! {
    /// A figure of the current books that can be explained.
    BookFigure {
        TotalValue = "total_value",
        DayChange = "day_change",
        AverageBuyPrice = "average_buy_price",
        Herfindahl = "herfindahl",
    }
}

const TOTAL_VALUE: Formula = Formula {
    words: "Cash, plus the market value of all shares held at their last prices, plus dividends receivable. Each \
            market value is rounded half-even to the cent before it is added.",
    symbols: "total_value = cash_balance + dividends_receivable + Σ market_value, with market_value = quantity × price",
    source: "The portfolio's positions and quotes",
};

const DAY_CHANGE: Formula = Formula {
    words: "For each stock: its value now, less the value at the previous close of the shares held then, plus the \
            cash from trades since then (negative for buys), plus dividends with an ex-date since then. Stocks without a \
            known previous close are left out.",
    symbols: "day_change = Σ change, with change = value_now − value_before + traded + dividends",
    source: "The portfolio's positions, quotes and transactions since the previous close",
};

const AVERAGE_BUY_PRICE: Formula = Formula {
    words: "The cost of the shares held, commissions included, divided by their number. A sell reduces cost and \
            shares in the same proportion, so the average stays the same. A split changes the number of shares, not the \
            cost.",
    symbols: "average_buy_price = cost_basis / quantity, with cost_basis = Σ cost and quantity = Σ shares",
    source: "Average-cost method",
};

const HERFINDAHL: Formula = Formula {
    words: "The sum of the squared shares of the positions, cash left out: 1 for a single stock, 1/n for n equal ones.",
    symbols: "herfindahl = Σ weight², with weight = market_value / positions_value",
    source: "Hirschman, The paternity of an index, 1964; US Department of Justice, Horizontal Merger Guidelines, 2010",
};

pub(super) const DAY_CHANGE_COLUMNS: [(&str, &str); 6] = [
    ("symbol", "Symbol"),
    ("value_before", "Value at the previous close"),
    ("value_now", "Value now"),
    ("traded", "Cash from trades since"),
    ("dividends", "Dividends since"),
    ("change", "Change"),
];

impl Valuation {
    /// Explains the total value.
    pub fn explain_total_value(&self) -> Explanation<BookFigure> {
        let mut work = Workings::on();
        work.input("cash_balance", "Cash", || Value::Money(self.cash_balance.clone()));
        let receivable = || Value::Money(self.dividends_receivable.clone());
        work.input("dividends_receivable", "Dividends receivable", receivable);
        work.input("positions", "Positions", || {
            let columns = [
                ("symbol", "Symbol"),
                ("quantity", "Shares"),
                ("price", "Price"),
                ("market_value", "Market value"),
            ];
            let row = |holding: &Holding| {
                vec![
                    Value::Symbol(holding.listing.symbol.clone()),
                    Value::Quantity(holding.position.quantity.clone()),
                    Value::Price(holding.quote.price.clone()),
                    Value::Money(holding.market_value.clone()),
                ]
            };
            Value::Table(Table::new(&columns, self.holdings.iter().map(row)))
        });
        work.step("positions_value", "All market values", || Value::Money(self.positions_value.clone()));
        let result = Ok(Value::Money(self.total_value.clone()));
        work.explain(BookFigure::TotalValue, TOTAL_VALUE, result)
    }

    /// Explains the day change, from the arguments of [`Valuation::new`] by the same computation.
    pub fn explain_day_change(
        cash: impl Into<Cash>,
        positions: impl IntoIterator<Item = Priced>,
        today: &[JournalEntry],
    ) -> Explanation<BookFigure> {
        let mut work = Workings::on();
        let valuation = Self::with_steps(cash, positions, today, &mut work);
        let result = Ok(Value::Money(valuation.day_change));
        work.explain(BookFigure::DayChange, DAY_CHANGE, result)
    }

    /// Explains the concentration of the positions. Undefined if there are none.
    pub fn explain_herfindahl(&self) -> Explanation<BookFigure> {
        let mut work = Workings::on();
        let concentration = Concentration::from_valuation(self, &mut work);
        let result = concentration.map(|concentration| Value::Number(concentration.herfindahl));
        work.explain(BookFigure::Herfindahl, HERFINDAHL, result)
    }
}

impl Position {
    /// Explains the average buy price from all journal lines of the stock, ordered by id: each adds or removes shares
    /// and cost, including reversals and late splits. Undefined if no shares are held.
    pub fn explain_average_buy_price(&self, entries: &[JournalEntry]) -> Explanation<BookFigure> {
        let mut work = Workings::on();
        work.input("lines", "Transactions", || {
            let columns = [("date", "Date"), ("type", "Type"), ("shares", "Shares"), ("cost", "Cost")];
            let row = |entry: &JournalEntry| {
                let (added, taken) = entry.shares();
                let shares = match added.checked_sub(&taken) {
                    Some(more) => Value::Shares(1, more),
                    None => Value::Shares(-1, taken.checked_sub(&added).unwrap_or_else(Quantity::zero)),
                };
                vec![
                    Value::Date(exchange_date(entry.timestamp)),
                    Value::Word(entry.transaction_type.as_str()),
                    shares,
                    Value::Money(-cost_taken(entry)),
                ]
            };
            let moves = entries.iter().filter(|entry| entry.moves_position());
            Value::Table(Table::new(&columns, moves.map(row)))
        });
        work.step("quantity", "Shares held", || Value::Quantity(self.quantity.clone()));
        work.step("cost_basis", "Cost basis of the shares", || Value::Money(self.cost_basis.clone()));
        let result = self.average_buy_price().map(Value::AveragePrice);
        let result = result.ok_or(UndefinedReason::NothingInvested);
        work.explain(BookFigure::AverageBuyPrice, AVERAGE_BUY_PRICE, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{BookedAction, BookedTerms};
    use crate::valuation::tests::{at, money, priced, trade};
    use crate::valuation::{Cash, Dividends};
    use crate::{ActionId, Money, StockId, TransactionType};

    /// The numbers of a column. A missing one fails the test.
    fn column(explanation: &Explanation<BookFigure>, table: &str, column: &str) -> Vec<f64> {
        let Some(Value::Table(table)) = explanation.value(table) else { panic!("no table {table}") };
        table.column(column).unwrap().into_iter().map(|cell| cell.to_f64().unwrap()).collect()
    }

    fn number(explanation: &Explanation<BookFigure>, name: &str) -> f64 {
        explanation.value(name).and_then(Value::to_f64).unwrap_or_else(|| panic!("no {name}"))
    }

    fn result(explanation: &Explanation<BookFigure>) -> f64 {
        explanation.result.as_ref().unwrap().to_f64().unwrap()
    }

    fn assert_close(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-6, "{one} instead of {other}");
    }

    fn cash() -> Cash {
        let today = vec![(StockId(1), money("2.40"))];
        let dividends = Dividends { total: money("7.40"), receivable: money("5.00"), today };
        Cash { dividends, ..Cash::from(money("1000.10")) }
    }

    fn positions() -> Vec<Priced> {
        vec![
            priced(1, "AAPL", "12", "1900", "160.00", Some("155.00")),
            priced(2, "MSFT", "0.333333333", "100", "400.00", None),
            priced(3, "INTC", "0", "0", "21.00", Some("20.00")),
        ]
    }

    fn today() -> Vec<JournalEntry> {
        vec![
            trade(1, TransactionType::Buy, "5", "-790"),
            trade(1, TransactionType::Sell, "3", "483"),
            trade(3, TransactionType::Sell, "10", "208"),
        ]
    }

    #[test]
    fn total_value_adds_up_from_what_is_shown() {
        let valuation = Valuation::new(cash(), positions(), &today());
        let shown = valuation.explain_total_value();
        let (quantities, prices) =
            (column(&shown, "positions", "quantity"), column(&shown, "positions", "price"));
        let values = column(&shown, "positions", "market_value");
        for (value, product) in values.iter().zip(quantities.iter().zip(prices).map(|(q, p)| q * p)) {
            assert!((value - product).abs() <= 0.005);
        }
        let sum: f64 = values.iter().sum();
        assert_close(sum, number(&shown, "positions_value"));
        let total = sum + number(&shown, "cash_balance") + number(&shown, "dividends_receivable");
        assert_close(total, result(&shown));
        assert_close(result(&shown), valuation.total_value.to_f64());
    }

    #[test]
    fn day_change_adds_up_with_stocks_that_were_sold_out_and_dividends() {
        let valuation = Valuation::new(cash(), positions(), &today());
        let shown = Valuation::explain_day_change(cash(), positions(), &today());
        let part = |name| column(&shown, "stocks", name);
        // The stock without a previous close is omitted.
        assert_eq!(part("change").len(), 2);
        let rows = part("value_now").into_iter().zip(part("value_before"));
        let brought = part("traded").into_iter().zip(part("dividends"));
        for (((now, before), (traded, dividends)), change) in rows.zip(brought).zip(part("change")) {
            assert_close(now - before + traded + dividends, change);
        }
        assert_close(part("change").iter().sum(), result(&shown));
        assert_close(result(&shown), valuation.day_change.to_f64());
        // 63 from trades and prices, 2.40 from the dividend; 208 − 10 × 20.
        assert_eq!(valuation.day_change, money("73.40"));
    }

    #[test]
    fn average_buy_price_adds_up_over_sells_and_splits() {
        let mut position = Position::default();
        let mut lines = vec![
            trade(1, TransactionType::Buy, "10", "-1000.99"),
            trade(1, TransactionType::Buy, "5", "-600.99"),
        ];
        for line in &lines {
            position.buy(line.quantity.as_ref().unwrap(), &-line.amount.clone());
        }
        let mut sell = trade(1, TransactionType::Sell, "4", "500");
        sell.realized_pnl = Some(position.sell(&"4".parse().unwrap(), &money("500")).unwrap());
        lines.push(sell);
        let ratio = "3:1".parse().unwrap();
        let terms = BookedTerms::Split { ratio, before: position.quantity.clone() };
        position = position.split(ratio, &[], &mut crate::share_remainder::ShareRemainder::default());
        let mut split = trade(1, TransactionType::Split, "33", "0");
        split.action = Some(BookedAction { id: ActionId(1), effective_at: at(), terms });
        lines.push(split);
        lines.push(trade(1, TransactionType::Dividend, "33", "9.99"));
        let shown = position.explain_average_buy_price(&lines);
        assert_close(column(&shown, "lines", "shares").iter().sum(), number(&shown, "quantity"));
        assert_close(column(&shown, "lines", "cost").iter().sum(), number(&shown, "cost_basis"));
        assert_close(number(&shown, "cost_basis") / number(&shown, "quantity"), result(&shown));
        assert_eq!(number(&shown, "quantity"), 33.0);
        let nothing = Position::default().explain_average_buy_price(&[]);
        assert_eq!(nothing.result, Err(UndefinedReason::NothingInvested));
    }

    #[test]
    fn herfindahl_adds_up_from_what_is_shown() {
        let valuation = Valuation::new(cash(), positions(), &today());
        let shown = valuation.explain_herfindahl();
        let values = column(&shown, "positions", "market_value");
        let total: f64 = values.iter().sum();
        assert_close(values.iter().map(|value| (value / total).powi(2)).sum(), result(&shown));
        assert_close(column(&shown, "weights", "square").iter().sum(), result(&shown));
        assert_close(number(&shown, "positions_value"), total);
        let empty = Valuation::new(Money::zero(), Vec::new(), &[]).explain_herfindahl();
        assert_eq!(empty.result, Err(UndefinedReason::NothingInvested));
    }
}
