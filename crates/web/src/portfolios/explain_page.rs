//! The page that shows how a figure was computed, and the rows of its tables as CSV.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use domain::performance::{Explanation, Measure, Step, Table, Value};
use domain::valuation::BookFigure;
use domain::{StockId, Symbol, UserId};
use serde::Serialize;
use services::FieldError;
use services::books::sharing::{PortfolioAccess, PortfolioAddress};

use super::csv_table;
use super::csv_table::TableFormat;
use super::pages::Named;
use super::performance::{PerformanceQuery, benchmark, window};
use super::performance_words;
use super::risk::refused_benchmark;
use crate::AppState;
use crate::http::extract::LoggedIn;
use crate::http::portfolio_access::PageAccess;
use crate::http::problem::{PageError, Problem};
use crate::shell::format;
use crate::shell::layout::Nav;
use crate::shell::links::query;
use crate::shell::render::{PageResult, Shell};

/// The maximum number of rows of a table on the page. The CSV has all rows.
const MAX_ROWS: usize = 40;

/// The address of the page that explains the return of all portfolios together.
const OF_ALL: &str = "/portfolios/explain";
const OF_ALL_NOTE: &str = "All portfolios are treated as one: the values and the net deposits of each day are added. \
    A portfolio that was opened later counts from its first deposit. A transfer between two portfolios on the same \
    day is neither a deposit nor a withdrawal. Archived portfolios are left out, as in the total.";

#[derive(Serialize)]
struct ExplanationView {
    portfolio: Option<Named>,
    title: &'static str,
    words: &'static str,
    /// A note about the figure; empty if the formula is enough.
    note: &'static str,
    symbols: &'static str,
    source: &'static str,
    result: Option<String>,
    /// Why the figure has no value.
    undefined: Option<String>,
    /// The result, if it is a table.
    rows: Option<TableView>,
    inputs: Vec<Scalar>,
    steps: Vec<Scalar>,
    tables: Vec<TableView>,
    back: String,
    back_to: String,
}

/// A single value with the name that formulas use for it.
#[derive(Serialize)]
struct Scalar {
    label: &'static str,
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
struct TableView {
    label: &'static str,
    columns: Vec<Heading>,
    rows: Vec<Vec<Cell>>,
    /// The number of all rows, if not all are shown.
    total: Option<String>,
    csv: String,
}

#[derive(Serialize)]
struct Heading {
    label: &'static str,
    name: &'static str,
    is_number: bool,
}

#[derive(Serialize)]
struct Cell {
    text: String,
    is_number: bool,
}

/// An explanation with everything that its page shows.
struct ShownExplanation {
    name: &'static str,
    title: &'static str,
    formula: domain::performance::Formula,
    note: &'static str,
    inputs: Vec<Step>,
    steps: Vec<Step>,
    result: Result<Value, String>,
    symbols: Arc<BTreeMap<StockId, Symbol>>,
    /// The address under which the explanations of the portfolio are; links to CSV begin with it.
    base: String,
    back: String,
    back_to: &'static str,
    /// The query of the page, for the links to CSV.
    query_string: String,
}

/// The addresses of an explanation.
struct ExplanationAddresses {
    base: String,
    back: String,
    back_to: &'static str,
    query_string: String,
}

/// The name of a figure on pages, with a capital letter.
pub fn title(measure: Measure) -> &'static str {
    match measure {
        Measure::StartValue => "Value at the start",
        Measure::EndValue => "Value at the end",
        Measure::NetFlow => "Net deposits",
        Measure::Gain => "Gain",
        Measure::Twr => "Time-weighted return",
        Measure::AnnualizedReturn => "Annualized return",
        Measure::Xirr => "Money-weighted return per year",
        Measure::Mwr => "Money-weighted return",
        Measure::ModifiedDietz => "Modified Dietz return",
        Measure::Volatility => "Volatility",
        Measure::DownsideDeviation => "Downside deviation",
        Measure::Sharpe => "Sharpe ratio",
        Measure::Sortino => "Sortino ratio",
        Measure::MaxDrawdown => "Maximum drawdown",
        Measure::LongestUnderWater => "Longest time below a high",
        Measure::Calmar => "Calmar ratio",
        Measure::BestDay => "Best day",
        Measure::WorstDay => "Worst day",
        Measure::PositiveDays => "Days with a gain",
        Measure::MonthlyReturns => "Monthly returns",
        Measure::YearlyReturns => "Yearly returns",
        Measure::BenchmarkTwr => "Return of the benchmark",
        Measure::ExcessReturn => "Excess return",
        Measure::Beta => "Beta",
        Measure::Alpha => "Alpha",
        Measure::TrackingError => "Tracking error",
        Measure::Correlation => "Correlation",
        Measure::InformationRatio => "Information ratio",
        Measure::WhatIf => "The same deposits in the benchmark",
        Measure::Contributions => "Contributions",
        Measure::RealizedPnl => "Realized P&L",
        Measure::UnrealizedPnl => "Unrealized P&L",
        Measure::Dividends => "Dividends",
        Measure::Commissions => "Commissions",
        Measure::Turnover => "Turnover",
    }
}

fn book_title(figure: BookFigure) -> &'static str {
    match figure {
        BookFigure::TotalValue => "Total value",
        BookFigure::DayChange => "Day change",
        BookFigure::AverageBuyPrice => "Average buy price",
        BookFigure::Herfindahl => "Concentration (HHI)",
    }
}

impl ShownExplanation {
    fn new<M>(
        (name, title): (&'static str, &'static str),
        explained: Explanation<M>,
        symbols: Arc<BTreeMap<StockId, Symbol>>,
        place: ExplanationAddresses,
    ) -> Self {
        let Explanation { formula, inputs, steps, result, .. } = explained;
        let ExplanationAddresses { base, back, back_to, query_string } = place;
        let result = result.map_err(|reason| performance_words::undefined(&reason));
        let note = "";
        Self { name, title, formula, note, inputs, steps, result, symbols, base, back, back_to, query_string }
    }

    /// The table with this name; it may be the result.
    fn table(&self, name: &str) -> Option<&Table> {
        let steps = self.inputs.iter().chain(&self.steps).map(|step| (step.name, &step.value));
        let all = steps.chain(self.result.as_ref().ok().map(|value| (self.name, value)));
        all.filter(|(of, _)| *of == name).find_map(|(_, value)| match value {
            Value::Table(table) => Some(table),
            _ => None,
        })
    }

    fn text(&self, value: &Value) -> String {
        match value {
            Value::Money(amount) => format::money(amount),
            Value::Ratio(ratio) => format!("{}%", format::count(trimmed(ratio * 100.0, 8))),
            Value::Number(number) => format::count(trimmed(*number, 8)),
            Value::Count(count) => format::count(count),
            Value::Days(days) => format!("{} days", format::count(days)),
            Value::Date(date) => format::date(*date),
            Value::Price(price) => format::price(price),
            Value::AveragePrice(price) => format::average_exact(price),
            Value::Quantity(quantity) => format::quantity(quantity),
            Value::Shares(sign, quantity) => {
                let minus = if *sign < 0 { "−" } else { "" };
                format!("{minus}{}", format::quantity(quantity))
            }
            Value::Stock(stock) => {
                self.symbols.get(stock).map_or_else(|| "—".to_owned(), ToString::to_string)
            }
            Value::Symbol(symbol) => symbol.to_string(),
            Value::Word(word) => format::label(word),
            Value::Missing | Value::Table(_) => "—".to_owned(),
        }
    }

    fn cell(&self, value: &Value) -> Cell {
        Cell { text: self.text(value), is_number: is_number(value) }
    }

    fn scalars(&self, steps: &[Step]) -> Vec<Scalar> {
        let scalars = steps.iter().filter(|step| !matches!(step.value, Value::Table(_)));
        let scalar =
            |step: &Step| Scalar { label: step.label, name: step.name, value: self.text(&step.value) };
        scalars.map(scalar).collect()
    }

    fn table_view(&self, (name, label): (&str, &'static str), table: &Table) -> TableView {
        let columns = table.columns.iter().enumerate().map(|(place, column)| Heading {
            label: column.label,
            name: column.name,
            is_number: table.rows.iter().filter_map(|row| row.get(place)).any(is_number),
        });
        let hidden = table.rows.len().saturating_sub(MAX_ROWS);
        TableView {
            label,
            columns: columns.collect(),
            rows: table.rows[hidden..]
                .iter()
                .map(|row| row.iter().map(|value| self.cell(value)).collect())
                .collect(),
            total: (hidden > 0).then(|| format::count(table.rows.len())),
            csv: format!("{}/{}/{name}.csv{}", self.base, self.name, self.query_string),
        }
    }

    /// The data of the page: of `portfolio`, or of all portfolios together.
    fn view(&self, portfolio: Option<Named>) -> ExplanationView {
        let tables = self.inputs.iter().chain(&self.steps).filter_map(|step| match &step.value {
            Value::Table(table) => Some(self.table_view((step.name, step.label), table)),
            _ => None,
        });
        ExplanationView {
            title: self.title,
            words: self.formula.words,
            note: self.note,
            symbols: self.formula.symbols,
            source: self.formula.source,
            rows: match &self.result {
                Ok(Value::Table(table)) => Some(self.table_view((self.name, "Result"), table)),
                _ => None,
            },
            result: match &self.result {
                Ok(Value::Table(_)) | Err(_) => None,
                Ok(value) => Some(self.text(value)),
            },
            undefined: self.result.as_ref().err().cloned(),
            inputs: self.scalars(&self.inputs),
            steps: self.scalars(&self.steps),
            tables: tables.collect(),
            back: self.back.clone(),
            back_to: match &portfolio {
                Some(portfolio) => format!("{}: {}", portfolio.name, self.back_to),
                None => self.back_to.to_owned(),
            },
            portfolio,
        }
    }
}

fn is_number(value: &Value) -> bool {
    match value {
        Value::Money(_)
        | Value::Ratio(_)
        | Value::Number(_)
        | Value::Count(_)
        | Value::Days(_)
        | Value::Price(_)
        | Value::AveragePrice(_)
        | Value::Quantity(_)
        | Value::Shares(..) => true,
        Value::Date(_)
        | Value::Stock(_)
        | Value::Symbol(_)
        | Value::Word(_)
        | Value::Missing
        | Value::Table(_) => false,
    }
}

/// Formats a number with up to `decimals` decimals, without trailing zeros and without a minus before zero.
fn trimmed(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// The address of an explanation; `query_string` is the query of the performance page.
pub fn address(portfolio: &PortfolioAddress, measure: Measure, query_string: &str) -> String {
    format!("/portfolios/{portfolio}/explain/{measure}{query_string}")
}

async fn shown(
    state: &AppState,
    access: &PortfolioAccess,
    figure: &str,
    asked: &PerformanceQuery,
) -> Result<ShownExplanation, PageError> {
    let books = state.services.books();
    let portfolio = &access.address;
    let query_string = asked.query_string();
    let base = format!("/portfolios/{portfolio}/explain");
    if let Ok(figure) = figure.parse::<BookFigure>() {
        let (back, back_to) = match figure {
            BookFigure::Herfindahl => (format!("/portfolios/{portfolio}/composition"), "Composition"),
            BookFigure::TotalValue | BookFigure::DayChange | BookFigure::AverageBuyPrice => {
                (format!("/portfolios/{portfolio}"), "Portfolio")
            }
        };
        let symbol = match asked.symbol.trim() {
            "" => None,
            text => Some(text.parse::<Symbol>().map_err(|_| {
                Problem::invalid(vec![FieldError::new("symbol", "enter a symbol such as AAPL")])
            })?),
        };
        let explained = books.explain_figure(access.portfolio, figure, symbol.as_ref()).await?;
        let names = (figure.as_str(), book_title(figure));
        return Ok(ShownExplanation::new(
            names,
            explained,
            Arc::default(),
            ExplanationAddresses { base, back, back_to, query_string },
        ));
    }
    let measure: Measure = figure.parse().map_err(|_| Problem::not_found())?;
    let (window, _) = window(asked)?;
    let benchmark = benchmark(asked)?;
    let window = books.analysis(access.portfolio, window, benchmark.as_ref()).await.map_err(|error| {
        PageError(refused_benchmark(error, benchmark.as_ref()).unwrap_or_else(Problem::from))
    })?;
    let explained = window.analysis.explain(measure);
    let back = format!("/portfolios/{portfolio}/performance{query_string}");
    let names = (measure.as_str(), title(measure));
    let place = ExplanationAddresses { base, back, back_to: "Performance", query_string };
    Ok(ShownExplanation::new(names, explained, window.symbols, place))
}

pub async fn show(
    shell: Shell,
    access: PageAccess,
    path: Path<(String, String)>,
    asked: Query<PerformanceQuery>,
    state: Data<AppState>,
) -> PageResult {
    let (_, figure) = path.into_inner();
    let portfolio = state.services.books().portfolio(access.portfolio).await?;
    let shown = shown(&state, &access, &figure, &asked).await?;
    let view = shown.view(Some(Named::to_reader(&portfolio, &access)));
    shell.show("explain.html", Nav::Elsewhere, format!("How {} is computed", shown.title), &view)
}

/// The explanation of the return of all portfolios together.
async fn shown_of_all(state: &AppState, user: UserId) -> Result<ShownExplanation, PageError> {
    let explained = state.services.books().overview(user).await?.together.explain(Measure::Twr);
    let place = ExplanationAddresses {
        base: OF_ALL.to_owned(),
        back: "/portfolios".to_owned(),
        back_to: "Portfolios",
        query_string: String::new(),
    };
    let names = (Measure::Twr.as_str(), "Time-weighted return of all portfolios");
    let shown = ShownExplanation::new(names, explained, Arc::default(), place);
    Ok(ShownExplanation { note: OF_ALL_NOTE, ..shown })
}

pub async fn show_of_all(shell: Shell, signed: LoggedIn, state: Data<AppState>) -> PageResult {
    let shown = shown_of_all(&state, signed.account.id).await?;
    shell.show("explain.html", Nav::Portfolios, format!("How {} is computed", shown.title), &shown.view(None))
}

/// The daily values behind the return of all portfolios, as CSV.
pub async fn csv_of_all(
    _: Shell,
    signed: LoggedIn,
    state: Data<AppState>,
) -> Result<HttpResponse, PageError> {
    csv_of(&shown_of_all(&state, signed.account.id).await?, "days")
}

/// One table of an explanation, as CSV.
pub async fn csv(
    _: Shell,
    access: PageAccess,
    path: Path<(String, String, String)>,
    asked: Query<PerformanceQuery>,
    state: Data<AppState>,
) -> Result<HttpResponse, PageError> {
    let (_, figure, table) = path.into_inner();
    csv_of(&shown(&state, &access, &figure, &asked).await?, &table)
}

fn csv_of(shown: &ShownExplanation, table: &str) -> Result<HttpResponse, PageError> {
    let table = shown.table(table).ok_or_else(Problem::not_found)?;
    let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let rows = table.rows.iter().map(|row| row.iter().map(|value| plain(value, &shown.symbols)).collect());
    Ok(csv_table::whole(shown.name, &columns, rows, TableFormat::Standard)?)
}

/// A value for programs: all digits, without separators.
fn plain(value: &Value, symbols: &BTreeMap<StockId, Symbol>) -> csv_table::Cell {
    use csv_table::Cell;
    match value {
        Value::Money(amount) => Cell::number(amount),
        Value::Ratio(number) | Value::Number(number) => Cell::number(number),
        Value::Count(count) => Cell::number(count),
        Value::Days(days) => Cell::number(days),
        Value::Date(date) => Cell::text(date),
        Value::Price(price) => Cell::number(price),
        Value::AveragePrice(price) => Cell::number(price),
        Value::Quantity(quantity) => Cell::number(quantity),
        Value::Shares(sign, quantity) => {
            let minus = if *sign < 0 { "-" } else { "" };
            Cell::number(format!("{minus}{quantity}"))
        }
        Value::Stock(stock) => Cell::text_of(symbols.get(stock)),
        Value::Symbol(symbol) => Cell::text(symbol),
        Value::Word(word) => Cell::text(word),
        Value::Missing | Value::Table(_) => Cell::Empty,
    }
}

impl PerformanceQuery {
    /// The query that leads to the same page.
    pub fn query_string(&self) -> String {
        query(&[
            ("range", self.range.trim()),
            ("from", self.from.trim()),
            ("to", self.to.trim()),
            ("benchmark", self.benchmark.trim()),
            ("symbol", self.symbol.trim()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_a_reader_needs() {
        for (number, text) in [(0.029_807_692_307, "0.02980769"), (-0.0, "0"), (-1.5, "-1.5"), (365.0, "365")]
        {
            assert_eq!(trimmed(number, 8), text);
        }
    }
}
