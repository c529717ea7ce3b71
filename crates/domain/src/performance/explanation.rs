//! Explanations of figures: formula, inputs and intermediate values.
//!
//! Each measure is one function that writes its steps into [`Workings`] while it computes. The figure and its
//! explanation therefore cannot differ, and recomputing the steps from the inputs gives the figure.

use chrono::NaiveDate;

use crate::money::AveragePrice;
use crate::performance::{Figure, Measure, statistics};
use crate::{Money, Price, Quantity, StockId, Symbol};

/// The formula of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Formula {
    /// The formula in words.
    pub words: &'static str,
    /// The formula in mathematical notation, with the names of steps and columns.
    pub symbols: &'static str,
    /// The source of the definition.
    pub source: &'static str,
}

/// A value with its unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An exact amount in the account's currency.
    Money(Money),
    /// A ratio: 0.05 is +5 %.
    Ratio(f64),
    /// A number without a unit, such as a Sharpe ratio.
    Number(f64),
    /// A count.
    Count(usize),
    /// Calendar days.
    Days(i64),
    Date(NaiveDate),
    Price(Price),
    AveragePrice(AveragePrice),
    Quantity(Quantity),
    /// A signed number of shares: negative for shares that left.
    Shares(i8, Quantity),
    Stock(StockId),
    Symbol(Symbol),
    Word(&'static str),
    /// Undefined or unknown, such as the return of a day without investment.
    Missing,
    Table(Table),
}

impl Value {
    /// The value as a number, for charts and recomputation. `None` for dates, names and tables.
    pub fn to_f64(&self) -> Option<f64> {
        // Amounts are parsed from decimal notation, as a reader of the explanation would do.
        let read = |text: String| text.parse().ok();
        match self {
            Self::Money(amount) => Some(amount.to_f64()),
            Self::Ratio(number) | Self::Number(number) => Some(*number),
            Self::Count(count) => Some(statistics::count(*count)),
            Self::Days(days) => Some(statistics::days(*days)),
            Self::Price(price) => Some(price.to_f64()),
            Self::AveragePrice(price) => read(price.to_string()),
            Self::Quantity(quantity) => read(quantity.to_string()),
            Self::Shares(sign, quantity) => {
                read(quantity.to_string()).map(|shares: f64| f64::from(*sign) * shares)
            }
            Self::Date(_)
            | Self::Stock(_)
            | Self::Symbol(_)
            | Self::Word(_)
            | Self::Missing
            | Self::Table(_) => None,
        }
    }
}

/// A column of a [`Table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The name for programs and formulas, such as `end_value`.
    pub name: &'static str,
    /// The label for people, such as `Value at the close`.
    pub label: &'static str,
}

/// Rows of values, such as the days of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    /// A table from pairs of a column's name and label, and the rows.
    pub fn new(columns: &[(&'static str, &'static str)], rows: impl IntoIterator<Item = Vec<Value>>) -> Self {
        let columns: Vec<Column> = columns.iter().map(|(name, label)| Column { name, label }).collect();
        let rows: Vec<Vec<Value>> = rows.into_iter().collect();
        debug_assert!(
            rows.iter().all(|row| row.len() == columns.len()),
            "Invariant: a row has as many values as columns"
        );
        Self { columns, rows }
    }

    /// The values of a column from the first row to the last. `None` if there is no such column.
    pub fn column(&self, name: &str) -> Option<Vec<&Value>> {
        let place = self.columns.iter().position(|column| column.name == name)?;
        Some(self.rows.iter().filter_map(|row| row.get(place)).collect())
    }
}

/// A named value of a derivation.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The name for programs and formulas, such as `mean_return`.
    pub name: &'static str,
    /// The label for people, such as `Average daily return`.
    pub label: &'static str,
    pub value: Value,
}

/// A figure with all data that is needed to recompute it. `M` is the type that names the figure: a measure of a window,
/// or a [`crate::valuation::BookFigure`].
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation<M = Measure> {
    pub measure: M,
    pub formula: Formula,
    /// The inputs of the computation.
    pub inputs: Vec<Step>,
    /// Values between the inputs and the result, in the order of the computation. If the result is undefined, the
    /// last step shows why.
    pub steps: Vec<Step>,
    pub result: Figure<Value>,
}

impl<M> Explanation<M> {
    /// The input or step with that name.
    pub fn value(&self, name: &str) -> Option<&Value> {
        let mut all = self.inputs.iter().chain(&self.steps);
        all.find(|step| step.name == name).map(|step| &step.value)
    }
}

/// Records the steps of a computation if requested.
#[derive(Debug, Default)]
pub struct Workings(Option<Notes>);

#[derive(Debug, Default)]
struct Notes {
    inputs: Vec<Step>,
    steps: Vec<Step>,
}

impl Workings {
    /// Records nothing, at no cost.
    pub fn off() -> Self {
        Self(None)
    }

    /// Records steps for [`Workings::explain`].
    pub fn on() -> Self {
        Self(Some(Notes::default()))
    }

    /// Whether steps are recorded. Check it before preparing values that are expensive to compute.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records an input. An input that is recorded twice appears only once.
    pub fn input(&mut self, name: &'static str, label: &'static str, value: impl FnOnce() -> Value) {
        if let Some(notes) = &mut self.0 {
            note(&mut notes.inputs, name, label, value);
        }
    }

    /// Records a computed value.
    pub fn step(&mut self, name: &'static str, label: &'static str, value: impl FnOnce() -> Value) {
        if let Some(notes) = &mut self.0 {
            note(&mut notes.steps, name, label, value);
        }
    }

    /// Records a ratio and returns it.
    pub fn ratio(&mut self, name: &'static str, label: &'static str, value: f64) -> f64 {
        self.step(name, label, || Value::Ratio(value));
        value
    }

    /// Records a number without a unit and returns it.
    pub fn number(&mut self, name: &'static str, label: &'static str, value: f64) -> f64 {
        self.step(name, label, || Value::Number(value));
        value
    }

    /// The recorded steps with the formula and the result.
    pub fn explain<M>(self, measure: M, formula: Formula, result: Figure<Value>) -> Explanation<M> {
        let Notes { inputs, steps } = self.0.unwrap_or_default();
        debug_assert!(
            steps.iter().all(|step| inputs.iter().all(|input| input.name != step.name)),
            "Invariant: a name stands for one value"
        );
        Explanation { measure, formula, inputs, steps, result }
    }
}

fn note(steps: &mut Vec<Step>, name: &'static str, label: &'static str, value: impl FnOnce() -> Value) {
    if steps.iter().all(|step| step.name != name) {
        steps.push(Step { name, label, value: value() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::UndefinedReason;

    const FORMULA: Formula = Formula { words: "", symbols: "", source: "" };

    #[test]
    fn workings_that_are_off_compute_nothing_for_the_notes() {
        let mut work = Workings::off();
        work.input("days", "Days", || unreachable!("steps are not recorded"));
        assert_eq!(work.ratio("mean", "Mean", 0.5), 0.5);
        let explanation = work.explain(Measure::Twr, FORMULA, Err(UndefinedReason::NothingInvested));
        assert!(explanation.inputs.is_empty() && explanation.steps.is_empty());
    }

    #[test]
    fn a_step_is_found_by_name_and_noted_once() {
        let mut work = Workings::on();
        work.number("n", "Count", 3.0);
        work.number("n", "Count", 4.0);
        let explanation = work.explain(Measure::Twr, FORMULA, Ok(Value::Ratio(0.0)));
        assert_eq!(explanation.value("n"), Some(&Value::Number(3.0)));
        assert_eq!((explanation.steps.len(), explanation.value("m")), (1, None));
    }

    #[test]
    fn a_column_is_found_by_name() {
        let table = Table::new(&[("a", "A"), ("b", "B")], [vec![Value::Count(1), Value::Days(2)]]);
        assert_eq!(table.column("b"), Some(vec![&Value::Days(2)]));
        assert_eq!(table.column("c"), None);
        let shares = Value::Shares(-1, "1.5".parse().unwrap());
        assert_eq!((shares.to_f64(), Value::Missing.to_f64()), (Some(-1.5), None));
    }
}
