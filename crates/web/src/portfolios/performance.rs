//! The page about a portfolio's performance: growth, drawdown, gain and returns over a window of days.

use std::collections::HashMap;

use actix_web::web::{Data, Query};
use chrono::NaiveDate;
use domain::performance::{Analysis, Close, Drawdown, Measure, Performance, Period};
use domain::{Money, Snapshot, Symbol};
use serde::{Deserialize, Serialize};
use services::FieldError;
use services::books::analysis::WindowAnalysis;
use services::books::performance::Window;
use services::books::sharing::PortfolioAccess;

use super::benchmark_page;
use super::contributions::{ContributionTable, DividendTable};
use super::flow_marks::FlowMarks;
use super::heat_map;
use super::heat_map::HeatRow;
use super::pages::Named;
use super::risk::{Comparison, FigureRow, Figures, refused_benchmark};
use crate::AppState;
use crate::http::portfolio_access::PageAccess;
use crate::http::problem::Problem;
use crate::shell::chart;
use crate::shell::chart::{Chart, Line};
use crate::shell::form::{FormView, refusal};
use crate::shell::format;
use crate::shell::format::Delta;
use crate::shell::layout::Nav;
use crate::shell::links::{Choice, query, range_choices};
use crate::shell::render::{PageResult, Shell};

/// The maximum number of days in the table.
const MAX_DAYS: usize = 30;

#[derive(Debug, Default, Deserialize)]
pub struct PerformanceQuery {
    #[serde(default)]
    pub range: String,
    #[serde(default)]
    pub from: String,
    #[serde(default)]
    pub to: String,
    /// The symbol to compare with; empty for the portfolio's own benchmark.
    #[serde(default)]
    pub benchmark: String,
    /// Only for an explanation: the symbol of the holding.
    #[serde(default)]
    pub symbol: String,
}

#[derive(Serialize)]
struct PerformanceView {
    portfolio: Named,
    /// The window as a query, for the links to CSV.
    csv_query: String,
    period: String,
    ranges: Vec<Choice>,
    form: FormView,
    measured: bool,
    twr: Option<Delta>,
    gain: Option<Delta>,
    gain_note: String,
    max_drawdown: Option<Delta>,
    drawdown_note: String,
    growth: Option<Chart>,
    growth_end: String,
    /// Whether the chart has marks of deposits and withdrawals.
    has_flows: bool,
    /// The address from which the script loads the data of both charts.
    chart_source: String,
    /// The value at the end of the benchmark's line; empty without a benchmark.
    benchmark_end: String,
    drawdown: Option<Chart>,
    drawdown_caption: String,
    figures: Vec<FigureRow>,
    comparison: Option<Comparison>,
    /// The form that sets the portfolio's benchmark; `None` when the portfolio is archived.
    benchmark_form: Option<FormView>,
    contributions: Option<ContributionTable>,
    contributions_href: String,
    results: Vec<FigureRow>,
    dividends: Option<DividendTable>,
    months_href: String,
    years: Vec<HeatRow>,
    years_href: String,
    days: Vec<Day>,
    /// The number of all days, if not all are shown.
    more_days: Option<String>,
}

#[derive(Serialize)]
struct Day {
    date: String,
    /// `now`, `provisional`, or empty.
    note: &'static str,
    value: String,
    cash: String,
    positions: String,
    flow: String,
    twr: Delta,
}

/// Reads the window of a page: two days, or a period.
///
/// # Errors
/// 422 for a day that cannot be read.
pub fn window(asked: &PerformanceQuery) -> Result<(Window, Option<Period>), Problem> {
    let mut wrong = Vec::new();
    let mut day = |field: &'static str, text: &str| -> Option<NaiveDate> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        text.parse().map_err(|_| wrong.push(FieldError::new(field, "write a day like 2026-11-20"))).ok()
    };
    let (from, to) = (day("from", &asked.from), day("to", &asked.to));
    if !wrong.is_empty() {
        return Err(Problem::invalid(wrong));
    }
    if from.is_some() || to.is_some() {
        return Ok((Window::Dates { from, to }, None));
    }
    let range = asked.range.parse().unwrap_or(Period::All);
    Ok((Window::Period(range), Some(range)))
}

/// Reads the symbol of the benchmark, if one is given.
///
/// # Errors
/// 422 if it is not a valid symbol.
pub fn benchmark(asked: &PerformanceQuery) -> Result<Option<Symbol>, Problem> {
    let text = asked.benchmark.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| Problem::invalid(vec![FieldError::new("benchmark", "enter a symbol such as SPY")]);
    text.parse().map(Some).map_err(wrong)
}

/// The figures of a window that need only its closes.
fn performance_of(analysis: &Analysis) -> Performance {
    let days = analysis.series.days().iter().map(|day| Close {
        date: day.date,
        total_value: day.end_value.clone(),
        net_flow: day.net_flow.clone(),
    });
    Performance::measure(analysis.series.before.as_ref(), days.collect())
}

pub async fn show(
    shell: Shell,
    access: PageAccess,
    asked: Query<PerformanceQuery>,
    state: Data<AppState>,
) -> PageResult {
    let services = &state.services;
    let portfolio = services.books().portfolio(access.portfolio).await?;
    let mut form = FormView::new("dates")
        .with("from", asked.from.trim())
        .with("to", asked.to.trim())
        .with("benchmark", asked.benchmark.trim());
    let mut refused = None;
    let mut analyzed = None;
    let mut current = None;
    match window(&asked).and_then(|window| Ok((window, benchmark(&asked)?))) {
        Ok(((window, range), benchmark)) => {
            current = range;
            match services.books().analysis(access.portfolio, window, benchmark.as_ref()).await {
                Ok(analysis) => analyzed = Some(analysis),
                Err(error) => {
                    refused = Some(match refused_benchmark(error, benchmark.as_ref()) {
                        Ok(problem) => problem,
                        Err(error) => refusal(error)?,
                    });
                }
            }
        }
        Err(problem) => refused = Some(problem),
    }
    let measured = analyzed.as_ref().map(|window| performance_of(&window.analysis));
    let mut snapshots = HashMap::new();
    if let Some((first, last)) = measured.as_ref().and_then(days_of) {
        let rows = services.books().snapshots(access.portfolio, Some(first), Some(last)).await?;
        snapshots.extend(rows.into_iter().map(|row| (row.date, row)));
    }
    if let Some(problem) = &refused {
        form = form.refused(problem);
    }
    let today = services.market().booking_session().date;
    let compared = match benchmark(&asked) {
        Ok(Some(symbol)) => format!("&benchmark={symbol}"),
        _ => String::new(),
    };
    let ranges = range_choices(Period::ALL, current, |name| {
        format!("/portfolios/{}/performance?range={name}{compared}", access.address)
    });
    let measured = measured.unwrap_or_else(|| Performance::measure(None, Vec::new()));
    let now = (today, &portfolio.cash_balance);
    let compared = analyzed.as_ref().map(|window| benchmark_growth(&window.analysis)).unwrap_or_default();
    let lines = Lines { measured: &measured, benchmark: &compared, snapshots: &snapshots };
    let mut view = view(Named::to_reader(&portfolio, &access), ranges, form, lines, now);
    let window_query = window_query(&asked, current);
    view.chart_source = format!("/api/v1/portfolios/{}/performance{window_query}", access.address);
    if let Some(window) = &analyzed {
        view.analyze(window, &access, &asked.query_string());
        view.csv_query = window_query;
    }
    if access.is_owner && portfolio.archived_at.is_none() {
        let shown = benchmark(&asked).ok().flatten().unwrap_or_else(|| portfolio.benchmark.clone());
        let fresh = FormView::new(benchmark_page::FORM).with("benchmark", shown.to_string());
        view.benchmark_form = Some(shell.form(fresh));
    }
    let title = format!("Performance of {}", view.portfolio.name);
    match refused {
        None => shell.with_charts().show("performance.html", Nav::Performance, title, &view),
        Some(problem) => shell.show_refused(&problem, "performance.html", Nav::Performance, title, &view),
    }
}

impl PerformanceView {
    /// Adds the results of the analysis. `query_string` is the query of the page.
    fn analyze(&mut self, window: &WindowAnalysis, access: &PortfolioAccess, query_string: &str) {
        let WindowAnalysis { analysis, symbols } = window;
        let measures = analysis.measures();
        let shown = Figures { analysis, measures: &measures, portfolio: &access.address, query_string };
        self.figures = shown.measures();
        self.results = shown.results();
        self.comparison = shown.comparison();
        self.months_href = shown.address(Measure::MonthlyReturns);
        self.years = heat_map::rows(&measures);
        self.years_href = shown.address(Measure::YearlyReturns);
        self.contributions = ContributionTable::new(&measures, symbols);
        self.contributions_href = shown.address(Measure::Contributions);
        self.dividends = analysis.books.as_ref().and_then(|books| DividendTable::new(books, symbols));
    }
}

/// The page's window as a query of the API and of tables.
fn window_query(asked: &PerformanceQuery, range: Option<Period>) -> String {
    let period = range.map_or("", Period::as_str);
    let (from, to) = if range.is_some() { ("", "") } else { (asked.from.trim(), asked.to.trim()) };
    query(&[("period", period), ("from", from), ("to", to), ("benchmark", asked.benchmark.trim())])
}

/// The growth of 100 in the benchmark since the start of the window, for each day with a price.
fn benchmark_growth(analysis: &Analysis) -> Vec<(NaiveDate, f64)> {
    let returns = analysis.benchmark.as_ref().map(|benchmark| benchmark.cumulative(&analysis.series));
    let returns = returns.and_then(Result::ok).unwrap_or_default();
    returns.into_iter().map(|(date, ratio)| (date, 100.0 * (1.0 + ratio))).collect()
}

fn days_of(measured: &Performance) -> Option<(NaiveDate, NaiveDate)> {
    Some((measured.points.first()?.close.date, measured.points.last()?.close.date))
}

/// The days of the charts and tables.
#[derive(Clone, Copy)]
struct Lines<'a> {
    measured: &'a Performance,
    /// Growth of 100 in the benchmark; empty without one.
    benchmark: &'a [(NaiveDate, f64)],
    snapshots: &'a HashMap<NaiveDate, Snapshot>,
}

fn view(
    portfolio: Named,
    ranges: Vec<Choice>,
    form: FormView,
    Lines { measured, benchmark, snapshots }: Lines<'_>,
    (today, cash_now): (NaiveDate, &Money),
) -> PerformanceView {
    let twr: Vec<(NaiveDate, f64)> =
        measured.points.iter().map(|point| (point.close.date, point.twr)).collect();
    let growth: Vec<(NaiveDate, f64)> = twr.iter().map(|(date, twr)| (*date, 100.0 * (1.0 + twr))).collect();
    let end = growth.last().map_or(100.0, |(_, value)| *value);
    let end = format::count(format!("{end:.2}"));
    let period = days_of(measured).map_or_else(String::new, |(first, last)| {
        let days = usize::try_from((last - first).num_days()).unwrap_or(0) + 1;
        match days {
            1 => format::date(first),
            _ => format!("{} to {}, {} days", format::date(first), format::date(last), format::count(days)),
        }
    });
    let flows = FlowMarks::new(&measured.points);
    let drawdown = measured.max_drawdown.as_ref();
    let caption = drawdown.map_or_else(String::new, drawdown_caption);
    let days: Vec<Day> = measured
        .points
        .iter()
        .rev()
        .take(MAX_DAYS)
        .map(|point| {
            let close = &point.close;
            let stored = snapshots.get(&close.date).filter(|_| close.date != today);
            Day {
                date: format::date(close.date),
                note: match stored {
                    None => "now",
                    Some(row) if row.provisional => "provisional",
                    Some(_) => "",
                },
                value: format::money(&close.total_value),
                cash: format::money(stored.map_or(cash_now, |row| &row.cash_balance)),
                positions: match stored {
                    Some(row) => format::money(&row.positions_value),
                    None => format::money(&(close.total_value.clone() - cash_now)),
                },
                flow: if close.net_flow.is_zero() { String::new() } else { format::money(&close.net_flow) },
                twr: format::percent_gain(point.twr),
            }
        })
        .collect();
    PerformanceView {
        measured: !measured.points.is_empty(),
        period: period.clone(),
        ranges,
        form,
        twr: measured.twr.map(format::percent_gain),
        gain: (!measured.points.is_empty()).then(|| format::gain(&measured.gain)),
        gain_note: gain_note(measured),
        max_drawdown: drawdown.map(|drawdown| format::percent_gain(drawdown.depth)),
        drawdown_note: drawdown.map_or_else(String::new, drawdown_note),
        growth: chart::line(Line {
            id: "growth-chart",
            title: format!("Growth of 100 in {}", portfolio.name),
            desc: format!("{} {end}, {period}.{}", portfolio.name, flows.sentence()),
            points: &growth,
            ghost: benchmark,
            flows: flows.marks(),
            ..Line::default()
        }),
        growth_end: end,
        has_flows: !flows.is_empty(),
        chart_source: String::new(),
        benchmark_end: benchmark
            .last()
            .map_or_else(String::new, |(_, end)| format::count(format!("{end:.2}"))),
        drawdown: drawdown
            .filter(|drawdown| drawdown.depth < 0.0)
            .and_then(|_| chart::drawdown("drawdown-chart", caption.clone(), &twr)),
        drawdown_caption: caption,
        more_days: (measured.points.len() > days.len()).then(|| format::count(measured.points.len())),
        csv_query: String::new(),
        figures: Vec::new(),
        comparison: None,
        benchmark_form: None,
        contributions: None,
        contributions_href: String::new(),
        results: Vec::new(),
        dividends: None,
        months_href: String::new(),
        years: Vec::new(),
        years_href: String::new(),
        days,
        portfolio,
    }
}

/// A note that names the capital on which the gain was made.
fn gain_note(measured: &Performance) -> String {
    let flow = &measured.net_flow;
    let start = (!measured.start_value.is_zero())
        .then(|| format!("on {} at the start", format::money(&measured.start_value)));
    let paid = match flow {
        flow if flow.is_positive() => Some(format!("net deposits of {}", format::money(flow))),
        flow if flow.is_negative() => Some(format!("net withdrawals of {}", format::money(&flow.abs()))),
        _ => None,
    };
    match (start, paid) {
        (Some(start), Some(paid)) => format!("{start}, {paid}"),
        (Some(start), None) => start,
        (None, Some(paid)) => format!("on {paid}"),
        (None, None) => "without deposits".to_owned(),
    }
}

fn drawdown_note(drawdown: &Drawdown) -> String {
    match drawdown.depth {
        depth if depth < 0.0 => format!("below an earlier high, on {}", format::date(drawdown.trough_on)),
        _ => "never below an earlier high".to_owned(),
    }
}

fn drawdown_caption(drawdown: &Drawdown) -> String {
    let mut text =
        format!("Deepest {} on {}", format::percent(drawdown.depth), format::date(drawdown.trough_on));
    match drawdown.peak_on {
        Some(peak) => {
            let days = usize::try_from((drawdown.trough_on - peak).num_days()).unwrap_or(0);
            text.push_str(&format!(
                ", {} after the high of {}",
                format::plural(days, "day", "days"),
                format::date(peak)
            ));
        }
        None => text.push_str(", from the start of the window"),
    }
    match drawdown.recovered_on {
        Some(day) => text.push_str(&format!("; back above it on {}.", format::date(day))),
        None => text.push_str("; not back above it yet."),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str, from: &str, to: &str) -> PerformanceQuery {
        PerformanceQuery {
            range: range.into(),
            from: from.into(),
            to: to.into(),
            ..PerformanceQuery::default()
        }
    }

    #[test]
    fn dates_take_precedence_over_a_range() {
        let day = NaiveDate::from_ymd_opt(2026, 1, 2);
        let (window, current) = window(&asked("1y", " 2026-01-02 ", "")).unwrap();
        assert_eq!((window, current), (Window::Dates { from: day, to: None }, None));
        let (window, current) = super::window(&asked("3m", "", "")).unwrap();
        assert_eq!((window, current), (Window::Period(Period::ThreeMonths), Some(Period::ThreeMonths)));
        assert_eq!(super::window(&asked("", "yesterday", "x")).unwrap_err().fields().len(), 2);
    }

    #[test]
    fn a_drawdown_note_has_its_dates() {
        let day = |n| NaiveDate::from_ymd_opt(2026, 11, n).unwrap();
        let mut drawdown =
            Drawdown { depth: -0.088, peak_on: Some(day(2)), trough_on: day(5), recovered_on: None };
        assert_eq!(
            drawdown_caption(&drawdown),
            "Deepest −8.80% on 5 Nov 2026, 3 days after the high of 2 Nov 2026; not back above it yet."
        );
        (drawdown.peak_on, drawdown.recovered_on) = (None, Some(day(9)));
        assert_eq!(
            drawdown_caption(&drawdown),
            "Deepest −8.80% on 5 Nov 2026, from the start of the window; back above it on 9 Nov 2026."
        );
    }
}
