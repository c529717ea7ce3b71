//! How a measure was computed, as JSON.

use std::collections::BTreeMap;

use domain::performance::{Column, Explanation as Explained, Measure, Step, Table, Value};
use domain::valuation::BookFigure;
use domain::{StockId, Symbol};
use serde::Serialize;
use serde_json::{Value as Json, json};
use utoipa::ToSchema;

use crate::portfolios::performance_words;

/// How a measure was computed: its formula, its inputs and the intermediate values. Recomputing the steps from the
/// inputs gives the result.
#[derive(Serialize, ToSchema)]
pub struct Explanation {
    /// The name of the measure.
    measure: &'static str,
    /// The formula as a sentence.
    formula: &'static str,
    /// The formula in symbols, which are the names of inputs, steps and columns.
    symbols: &'static str,
    /// The source of the definition.
    source: &'static str,
    inputs: Vec<ExplainedValue>,
    /// In the order of the computation.
    steps: Vec<ExplainedValue>,
    /// Null when the measure is undefined.
    result: Option<ExplainedValue>,
    /// Why the measure is undefined; null when it has a value.
    undefined: Option<String>,
}

/// A named value.
#[derive(Serialize, ToSchema)]
pub struct ExplainedValue {
    /// For programs and formulas, such as `mean_return`.
    name: &'static str,
    /// For people, such as `Average daily return`.
    label: &'static str,
    /// The kind of `value`: `money`, `price`, `quantity` and `average_price` (decimals as strings), `ratio` and
    /// `number` (0.05 is 5 % as a ratio), `count`, `days`, `date`, `symbol`, `word`, `table`, or `missing` (null).
    unit: &'static str,
    /// For a table an object: `columns` with name and label, and `rows` of values in the order of the columns.
    value: Json,
}

impl Explanation {
    /// Converts an explanation. `symbols` has to contain every stock that the explanation mentions.
    pub fn new<M: Named>(explained: Explained<M>, symbols: &BTreeMap<StockId, Symbol>) -> Self {
        let Explained { measure, formula, inputs, steps, result } = explained;
        let writer = Writer { symbols };
        let values = |steps: Vec<Step>| {
            steps.into_iter().map(|step| writer.value(step.name, step.label, &step.value)).collect()
        };
        let (result, undefined) = match result {
            Ok(value) => (Some(writer.value(measure.name(), "Result", &value)), None),
            Err(reason) => (None, Some(performance_words::undefined(&reason))),
        };
        Self {
            measure: measure.name(),
            formula: formula.words,
            symbols: formula.symbols,
            source: formula.source,
            inputs: values(inputs),
            steps: values(steps),
            result,
            undefined,
        }
    }
}

/// A figure that has a name in the API.
pub trait Named {
    fn name(&self) -> &'static str;
}

impl Named for Measure {
    fn name(&self) -> &'static str {
        self.as_str()
    }
}

impl Named for BookFigure {
    fn name(&self) -> &'static str {
        self.as_str()
    }
}

/// Writes values as JSON.
struct Writer<'a> {
    symbols: &'a BTreeMap<StockId, Symbol>,
}

impl Writer<'_> {
    fn value(&self, name: &'static str, label: &'static str, value: &Value) -> ExplainedValue {
        let (unit, value) = self.unit_and_value(value);
        ExplainedValue { name, label, unit, value }
    }

    fn unit_and_value(&self, value: &Value) -> (&'static str, Json) {
        match value {
            Value::Money(amount) => ("money", json!(amount)),
            Value::Ratio(ratio) => ("ratio", json!(ratio)),
            Value::Number(number) => ("number", json!(number)),
            Value::Count(count) => ("count", json!(count)),
            Value::Days(days) => ("days", json!(days)),
            Value::Date(date) => ("date", json!(date)),
            Value::Price(price) => ("price", json!(price)),
            Value::AveragePrice(price) => ("average_price", json!(price.to_string())),
            Value::Quantity(quantity) => ("quantity", json!(quantity)),
            Value::Shares(sign, quantity) => {
                let minus = if *sign < 0 { "-" } else { "" };
                ("quantity", json!(format!("{minus}{quantity}")))
            }
            Value::Stock(stock) => ("symbol", json!(self.symbols.get(stock))),
            Value::Symbol(symbol) => ("symbol", json!(symbol)),
            Value::Word(word) => ("word", json!(word)),
            Value::Missing => ("missing", Json::Null),
            Value::Table(table) => ("table", self.table(table)),
        }
    }

    fn table(&self, table: &Table) -> Json {
        let column = |column: &Column| json!({ "name": column.name, "label": column.label });
        let row = |row: &Vec<Value>| row.iter().map(|value| self.unit_and_value(value).1).collect::<Vec<_>>();
        json!({
            "columns": table.columns.iter().map(column).collect::<Vec<_>>(),
            "rows": table.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}
