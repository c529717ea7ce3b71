//! All measures of a window at once, and the explanation of each.

use chrono::NaiveDate;

use crate::performance::{
    Against, Benchmark, Close, Contributions, DayReturn, Drawdown, Explanation, Figure, Formula, Measure,
    PeriodReturn, Series, Settings, Undefined, UnderWater, Value, WhatIf, WindowBooks, Workings, annualized,
    annualized_return, benchmark, benchmark_twr, best_day, calendar_returns, calmar, commissions,
    contributions, daily_extremes, dietz, drawdown, end_value, excess_return, gain, longest_under_water,
    max_drawdown, modified_dietz, monthly_returns, mwr, net_flow, positive_days, relative, sharpe, sortino,
    start_value, turnover, twr, volatility, what_if, worst_day, xirr, yearly_returns,
};
use crate::{Money, Symbol};

/// A window of a portfolio, ready to be measured and explained.
///
/// ```
/// use domain::Calendar;
/// use domain::performance::{Analysis, Close, Measure, Settings};
///
/// let close = |date: &str, value: &str, flow: &str| Close {
///     date: date.parse().unwrap(),
///     total_value: value.parse().unwrap(),
///     net_flow: flow.parse().unwrap(),
/// };
/// let window = [close("2026-01-01", "1000", "1000"), close("2026-01-02", "1100", "0")];
/// let analysis = Analysis::new(None, &window, Settings::new(Calendar::Xnys, 0.0));
/// let measures = analysis.measures();
/// assert!((measures.twr.unwrap() - 0.1).abs() < 1e-12);
/// // Two returns are too few for a ratio.
/// assert_eq!(measures.sharpe, None);
/// assert!(measures.undefined.iter().any(|undefined| undefined.measure == Measure::Sharpe));
/// assert_eq!(analysis.explain(Measure::Gain).value("end_value").unwrap().to_f64(), Some(1100.0));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    pub series: Series,
    pub settings: Settings,
    pub benchmark: Option<Benchmark>,
    pub books: Option<WindowBooks>,
}

/// Measures against a benchmark. Units and signs are those of the functions with the same names.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchmarkMeasures {
    /// `None` when there is no benchmark.
    pub symbol: Option<Symbol>,
    pub twr: Option<f64>,
    pub excess_return: Option<f64>,
    pub beta: Option<f64>,
    pub alpha: Option<f64>,
    pub tracking_error: Option<f64>,
    pub correlation: Option<f64>,
    pub information_ratio: Option<f64>,
}

/// All measures of a window. Units and signs are those of the functions with the same names. For each measure that is
/// `None`, `undefined` contains the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Measures {
    /// The close from which the window grows.
    pub start_on: Option<NaiveDate>,
    pub end_on: Option<NaiveDate>,
    pub start_value: Money,
    pub end_value: Money,
    pub net_flow: Money,
    pub gain: Money,
    pub twr: Option<f64>,
    pub annualized_return: Option<f64>,
    pub mwr: Option<f64>,
    pub xirr: Option<f64>,
    pub modified_dietz: Option<f64>,
    pub volatility: Option<f64>,
    pub downside_deviation: Option<f64>,
    pub sharpe: Option<f64>,
    pub sortino: Option<f64>,
    pub calmar: Option<f64>,
    pub max_drawdown: Option<Drawdown>,
    pub longest_under_water: Option<UnderWater>,
    pub best_day: Option<DayReturn>,
    pub worst_day: Option<DayReturn>,
    pub positive_days: Option<f64>,
    /// Oldest first; empty if undefined.
    pub monthly_returns: Vec<PeriodReturn>,
    /// Oldest first; empty if undefined.
    pub yearly_returns: Vec<PeriodReturn>,
    pub benchmark: BenchmarkMeasures,
    pub what_if: Option<WhatIf>,
    pub contributions: Option<Contributions>,
    pub realized_pnl: Option<Money>,
    pub unrealized_pnl: Option<Money>,
    pub dividends: Option<Money>,
    pub commissions: Option<Money>,
    pub turnover: Option<f64>,
    /// The undefined measures, in the order of [`Measure::ALL`].
    pub undefined: Vec<Undefined>,
}

/// Collects the reasons of undefined measures.
#[derive(Default)]
struct Sorter(Vec<Undefined>);

impl Sorter {
    fn defined<T>(&mut self, measure: Measure, figure: Figure<T>) -> Option<T> {
        figure.map_err(|reason| self.0.push(Undefined { measure, reason })).ok()
    }
}

/// [`xirr()`] for windows of at least a year. For a shorter window, a rate per year would be mostly extrapolation.
fn annual_xirr(series: &Series, work: &mut Workings) -> Figure {
    annual_rate(xirr::solve(series, work), series, work)
}

fn annual_rate(solved: Figure<xirr::Solution>, series: &Series, work: &mut Workings) -> Figure {
    let rate = solved?.rate;
    annualized::at_least_a_year(series, work)?;
    Ok(rate)
}

impl Analysis {
    /// Creates the analysis of these closes, which are ordered by date; `before` is the last earlier close, if there is
    /// one.
    pub fn new(before: Option<&Close>, window: &[Close], settings: Settings) -> Self {
        Self { series: Series::new(before, window), settings, benchmark: None, books: None }
    }

    /// Adds a benchmark to compare with.
    #[must_use]
    pub fn with_benchmark(self, benchmark: Benchmark) -> Self {
        Self { benchmark: Some(benchmark), ..self }
    }

    /// Adds positions and journal lines, for contributions, results, commissions and turnover.
    #[must_use]
    pub fn with_books(self, books: WindowBooks) -> Self {
        Self { books: Some(books), ..self }
    }

    fn against(&self) -> Against<'_> {
        Against { series: &self.series, benchmark: self.benchmark.as_ref(), settings: &self.settings }
    }

    /// Computes every measure.
    pub fn measures(&self) -> Measures {
        let (series, settings, books) = (&self.series, &self.settings, self.books.as_ref());
        let (benchmark, against) = (self.benchmark.as_ref(), self.against());
        let work = &mut Workings::off();
        let mut sort = Sorter::default();
        let relative = against.all(work);
        let compared = BenchmarkMeasures {
            symbol: benchmark.map(|benchmark| benchmark.symbol.clone()),
            twr: sort.defined(Measure::BenchmarkTwr, benchmark_twr(series, benchmark, work)),
            excess_return: sort.defined(Measure::ExcessReturn, excess_return(series, benchmark, work)),
            beta: sort.defined(Measure::Beta, relative.beta),
            alpha: sort.defined(Measure::Alpha, relative.alpha),
            tracking_error: sort.defined(Measure::TrackingError, relative.tracking_error),
            correlation: sort.defined(Measure::Correlation, relative.correlation),
            information_ratio: sort.defined(Measure::InformationRatio, relative.information_ratio),
        };
        let gains = contributions(series, books, work);
        let of_gains = |part: fn(&Contributions) -> &Money| match &gains {
            Ok(gains) => Ok(part(gains).clone()),
            Err(reason) => Err(reason.clone()),
        };
        let solved = xirr::solve(series, work);
        let mut measures = Measures {
            start_on: series.start_on(),
            end_on: series.end_on(),
            start_value: start_value(series, work),
            end_value: end_value(series, work),
            net_flow: net_flow(series, work),
            gain: gain(series, work),
            twr: sort.defined(Measure::Twr, twr(series, work)),
            annualized_return: sort.defined(Measure::AnnualizedReturn, annualized_return(series, work)),
            mwr: sort.defined(Measure::Mwr, solved.clone().map(|solution| solution.mwr(work))),
            xirr: sort.defined(Measure::Xirr, annual_rate(solved, series, work)),
            modified_dietz: sort.defined(Measure::ModifiedDietz, modified_dietz(series, work)),
            volatility: sort.defined(Measure::Volatility, volatility(series, settings, work)),
            downside_deviation: sort
                .defined(Measure::DownsideDeviation, volatility::downside_deviation(series, settings, work)),
            sharpe: sort.defined(Measure::Sharpe, sharpe(series, settings, work)),
            sortino: sort.defined(Measure::Sortino, sortino(series, settings, work)),
            calmar: sort.defined(Measure::Calmar, calmar(series, work)),
            max_drawdown: sort.defined(Measure::MaxDrawdown, max_drawdown(series, work)),
            longest_under_water: sort.defined(Measure::LongestUnderWater, longest_under_water(series, work)),
            best_day: sort.defined(Measure::BestDay, best_day(series, work)),
            worst_day: sort.defined(Measure::WorstDay, worst_day(series, work)),
            positive_days: sort.defined(Measure::PositiveDays, positive_days(series, work)),
            monthly_returns: sort
                .defined(Measure::MonthlyReturns, monthly_returns(series, work))
                .unwrap_or_default(),
            yearly_returns: sort
                .defined(Measure::YearlyReturns, yearly_returns(series, work))
                .unwrap_or_default(),
            benchmark: compared,
            what_if: sort.defined(Measure::WhatIf, what_if(series, benchmark, work)),
            realized_pnl: sort.defined(Measure::RealizedPnl, of_gains(|gains| &gains.realized_pnl)),
            unrealized_pnl: sort.defined(Measure::UnrealizedPnl, of_gains(|gains| &gains.unrealized_pnl)),
            dividends: sort.defined(Measure::Dividends, of_gains(|gains| &gains.dividends)),
            commissions: sort.defined(Measure::Commissions, commissions(books, work)),
            turnover: sort.defined(Measure::Turnover, turnover(series, books, work)),
            contributions: sort.defined(Measure::Contributions, gains),
            undefined: Vec::new(),
        };
        let place = |measure: Measure| Measure::ALL.iter().position(|other| *other == measure);
        sort.0.sort_by_key(|undefined| place(undefined.measure));
        measures.undefined = sort.0;
        measures
    }

    /// Explains a measure: the same computation as in [`Analysis::measures`], with its inputs and steps. If the measure
    /// is undefined, the explanation contains the steps up to that point.
    pub fn explain(&self, measure: Measure) -> Explanation {
        let mut work = Workings::on();
        let (formula, result) = self.derive(measure, &mut work);
        work.explain(measure, formula, result)
    }

    /// The definition of a measure.
    pub fn formula(&self, measure: Measure) -> Formula {
        self.derive(measure, &mut Workings::off()).0
    }

    fn derive(&self, measure: Measure, work: &mut Workings) -> (Formula, Figure<Value>) {
        let (series, settings, books) = (&self.series, &self.settings, self.books.as_ref());
        let (benchmark, against) = (self.benchmark.as_ref(), self.against());
        let ratio = |figure: Figure| figure.map(Value::Ratio);
        let number = |figure: Figure| figure.map(Value::Number);
        let amount = |amount: Money| Ok(Value::Money(amount));
        let day = |figure: Figure<DayReturn>| figure.map(|day| Value::Ratio(day.daily_return));
        let periods = |figure: Figure<Vec<PeriodReturn>>| figure.map(|all| calendar_returns::table(&all));
        let of_gains = |gains: Figure<Contributions>, part: fn(&Contributions) -> &Money| {
            gains.map(|gains| Value::Money(part(&gains).clone()))
        };
        match measure {
            Measure::StartValue => (gain::START_VALUE, amount(start_value(series, work))),
            Measure::EndValue => (gain::END_VALUE, amount(end_value(series, work))),
            Measure::NetFlow => (gain::NET_FLOW, amount(net_flow(series, work))),
            Measure::Gain => (gain::GAIN, amount(gain(series, work))),
            Measure::Twr => (twr::FORMULA, ratio(twr(series, work))),
            Measure::AnnualizedReturn => (annualized::FORMULA, ratio(annualized_return(series, work))),
            Measure::Xirr => (xirr::XIRR, ratio(annual_xirr(series, work))),
            Measure::Mwr => (xirr::MWR, ratio(mwr(series, work))),
            Measure::ModifiedDietz => (dietz::FORMULA, ratio(modified_dietz(series, work))),
            Measure::Volatility => (volatility::VOLATILITY, ratio(volatility(series, settings, work))),
            Measure::DownsideDeviation => (
                volatility::DOWNSIDE_DEVIATION,
                ratio(volatility::downside_deviation(series, settings, work)),
            ),
            Measure::Sharpe => (sharpe::SHARPE, number(sharpe(series, settings, work))),
            Measure::Sortino => (sharpe::SORTINO, number(sortino(series, settings, work))),
            Measure::MaxDrawdown => {
                let depth = max_drawdown(series, work).map(|drawdown| Value::Ratio(drawdown.depth));
                (drawdown::MAX_DRAWDOWN, depth)
            }
            Measure::LongestUnderWater => {
                let days = longest_under_water(series, work).map(|longest| Value::Days(longest.days));
                (drawdown::LONGEST_UNDER_WATER, days)
            }
            Measure::Calmar => (calmar::FORMULA, number(calmar(series, work))),
            Measure::BestDay => (daily_extremes::BEST_DAY, day(best_day(series, work))),
            Measure::WorstDay => (daily_extremes::WORST_DAY, day(worst_day(series, work))),
            Measure::PositiveDays => (daily_extremes::POSITIVE_DAYS, ratio(positive_days(series, work))),
            Measure::MonthlyReturns => (calendar_returns::MONTHLY, periods(monthly_returns(series, work))),
            Measure::YearlyReturns => (calendar_returns::YEARLY, periods(yearly_returns(series, work))),
            Measure::BenchmarkTwr => (benchmark::TWR, ratio(benchmark_twr(series, benchmark, work))),
            Measure::ExcessReturn => (relative::EXCESS_RETURN, ratio(excess_return(series, benchmark, work))),
            Measure::Beta => (relative::BETA, number(against.beta(work))),
            Measure::Alpha => (relative::ALPHA, ratio(against.alpha(work))),
            Measure::TrackingError => (relative::TRACKING_ERROR, ratio(against.tracking_error(work))),
            Measure::Correlation => (relative::CORRELATION, number(against.correlation(work))),
            Measure::InformationRatio => {
                (relative::INFORMATION_RATIO, number(against.information_ratio(work)))
            }
            Measure::WhatIf => {
                let twin = what_if(series, benchmark, work).map(|twin| Value::Money(twin.difference));
                (what_if::FORMULA, twin)
            }
            Measure::Contributions => {
                let table = contributions(series, books, work).map(|gains| gains.table());
                (contributions::FORMULA, table)
            }
            Measure::RealizedPnl => {
                let gains = contributions(series, books, work);
                (contributions::REALIZED, of_gains(gains, |gains| &gains.realized_pnl))
            }
            Measure::UnrealizedPnl => {
                let gains = contributions(series, books, work);
                (contributions::UNREALIZED, of_gains(gains, |gains| &gains.unrealized_pnl))
            }
            Measure::Dividends => {
                let gains = contributions(series, books, work);
                (contributions::DIVIDENDS, of_gains(gains, |gains| &gains.dividends))
            }
            Measure::Commissions => (turnover::COMMISSIONS, commissions(books, work).map(Value::Money)),
            Measure::Turnover => (turnover::TURNOVER, ratio(turnover(series, books, work))),
        }
    }
}
