//! Tests whether `sim-v2` resembles a real market: medians over twenty seeds of ten years of daily returns, in both
//! views.

use std::fmt;

use chrono::NaiveDate;

use super::ANCHOR_DATE;
use super::catalogue::{Follows, INSTRUMENTS, Instrument};
use super::model::SimulatedModel;
use super::path::Ends;
use super::paths::Paths;

const SEEDS: u64 = 20;
const FIRST_YEAR: i32 = 2017;
const YEARS: i32 = 10;

/// The symbols of companies, or of funds.
fn symbols(companies: bool) -> impl Iterator<Item = &'static str> {
    let is_company = |row: &Instrument| matches!(row.follows, Follows::Company(_));
    INSTRUMENTS.iter().filter(move |row| is_company(row) == companies).map(|row| row.symbol)
}

/// The figures of one series of daily returns.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    /// Standard deviation per year divided by that of the catalog.
    volatility: f64,
    excess_kurtosis: f64,
    skew: f64,
    /// The correlation of a session's return with the size of the next session's return.
    leverage: f64,
    /// The autocorrelation of the size of returns one session apart.
    memory_1: f64,
    /// The autocorrelation of the size of returns fifty sessions apart.
    memory_50: f64,
    /// The autocorrelation of the returns of successive sessions.
    autocorrelation: f64,
    worst: f64,
    /// The deepest fall from one close to another 10 to 120 sessions later.
    deepest_fall: f64,
}

impl Figures {
    fn of(log_returns: &[f64], session_volatility: f64) -> Self {
        let returns: Vec<f64> = log_returns.iter().map(|log| log.exp() - 1.0).collect();
        let sizes: Vec<f64> = returns.iter().map(|value| value.abs()).collect();
        let last = returns.len() - 1;
        let moment =
            |power: i32| mean(&centered(&returns).map(|value| value.powi(power)).collect::<Vec<_>>());
        let deviation = moment(2).sqrt();
        Self {
            volatility: deviation / session_volatility,
            excess_kurtosis: moment(4) / deviation.powi(4) - 3.0,
            skew: moment(3) / deviation.powi(3),
            leverage: correlation(&returns[..last], &sizes[1..]),
            memory_1: correlation(&sizes[..last], &sizes[1..]),
            memory_50: correlation(&sizes[..sizes.len() - 50], &sizes[50..]),
            autocorrelation: correlation(&returns[..last], &returns[1..]),
            worst: returns.iter().copied().fold(f64::INFINITY, f64::min),
            deepest_fall: deepest_fall(log_returns),
        }
    }

    fn median(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(all.iter().map(figure).collect());
        Self {
            volatility: of(|f| f.volatility),
            excess_kurtosis: of(|f| f.excess_kurtosis),
            skew: of(|f| f.skew),
            leverage: of(|f| f.leverage),
            memory_1: of(|f| f.memory_1),
            memory_50: of(|f| f.memory_50),
            autocorrelation: of(|f| f.autocorrelation),
            worst: of(|f| f.worst),
            deepest_fall: of(|f| f.deepest_fall),
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn centered(values: &[f64]) -> impl Iterator<Item = f64> {
    let mean = mean(values);
    values.iter().map(move |value| value - mean)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len().is_multiple_of(2) { f64::midpoint(values[half - 1], values[half]) } else { values[half] }
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let product: f64 = centered(a).zip(centered(b)).map(|(x, y)| x * y).sum();
    let square = |values: &[f64]| centered(values).map(|value| value * value).sum::<f64>();
    product / (square(a) * square(b)).sqrt()
}

fn deepest_fall(log_returns: &[f64]) -> f64 {
    let mut logs = vec![0.0];
    logs.extend(log_returns.iter().scan(0.0, |sum, value| {
        *sum += value;
        Some(*sum)
    }));
    let falls = (10..=120)
        .flat_map(|length| logs.windows(length + 1).map(|window| window[window.len() - 1] - window[0]));
    falls.fold(0.0, f64::min).exp() - 1.0
}

/// Ten years of the market of one seed.
struct Decade {
    paths: Paths,
    sessions: std::ops::Range<u16>,
    model: SimulatedModel,
}

impl Decade {
    fn of(model: SimulatedModel, seed: u64) -> Self {
        let begins = |year| model.sessions().from(NaiveDate::from_ymd_opt(year, 1, 1).unwrap()).unwrap();
        let anchor = model.sessions().from(ANCHOR_DATE).unwrap();
        Self {
            paths: Paths::new(model, seed, anchor),
            sessions: begins(FIRST_YEAR)..begins(FIRST_YEAR + YEARS),
            model,
        }
    }

    /// Log returns including dividends, from close to close.
    fn returns(&self, symbol: &str) -> Vec<f64> {
        let index = index_of(symbol);
        let logs: Vec<f64> = (self.sessions.start..=self.sessions.end)
            .map(|session| self.paths.log_before(index, session))
            .collect();
        logs.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn figures(&self, symbol: &str) -> Figures {
        let volatility = INSTRUMENTS[index_of(symbol)].volatility / self.model.sessions_per_year().sqrt();
        Figures::of(&self.returns(symbol), volatility)
    }
}

fn index_of(symbol: &str) -> usize {
    INSTRUMENTS.iter().position(|row| row.symbol == symbol).unwrap()
}

/// The figures of both views, for an error message that shows all of them.
struct Report {
    model: SimulatedModel,
    spy: Figures,
    stocks: Vec<(&'static str, Figures)>,
    funds: Vec<(&'static str, Figures)>,
    worst_of_funds: f64,
    decades_with_a_crisis: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:?}: worst session of a fund {:.3}, decades with a crisis {}",
            self.model, self.worst_of_funds, self.decades_with_a_crisis
        )?;
        for (symbol, figures) in self.funds.iter().chain(&self.stocks) {
            let Figures {
                volatility,
                excess_kurtosis,
                skew,
                leverage,
                memory_1,
                memory_50,
                autocorrelation,
                worst,
                deepest_fall,
            } = figures;
            writeln!(
                f,
                "{symbol:6} volatility {volatility:5.3} kurtosis {excess_kurtosis:6.2} skew {skew:6.2} leverage {leverage:6.3} \
                 memory {memory_1:5.3} {memory_50:5.3} autocorrelation {autocorrelation:6.3} worst {worst:6.3} fall {deepest_fall:6.3}"
            )?;
        }
        Ok(())
    }
}

impl Report {
    fn of(model: SimulatedModel) -> Self {
        let decades: Vec<Decade> = (1..=SEEDS).map(|seed| Decade::of(model, seed)).collect();
        let all =
            |symbol: &str| -> Vec<Figures> { decades.iter().map(|decade| decade.figures(symbol)).collect() };
        let spy = all("SPY");
        let in_crisis = spy.iter().filter(|figures| (-0.5..=-0.2).contains(&figures.deepest_fall)).count();
        let funds: Vec<(&str, Vec<Figures>)> = symbols(false).map(|symbol| (symbol, all(symbol))).collect();
        Self {
            model,
            worst_of_funds: funds
                .iter()
                .flat_map(|(_, all)| all)
                .map(|figures| figures.worst)
                .fold(0.0, f64::min),
            spy: Figures::median(&spy),
            stocks: symbols(true).map(|symbol| (symbol, Figures::median(&all(symbol)))).collect(),
            funds: funds.into_iter().map(|(symbol, all)| (symbol, Figures::median(&all))).collect(),
            decades_with_a_crisis: in_crisis as f64 / decades.len() as f64,
        }
    }
}

#[test]
fn daily_returns_resemble_those_of_the_real_market() {
    for model in [SimulatedModel::V2, SimulatedModel::V2Xnys] {
        let report = Report::of(model);
        let spy = &report.spy;
        assert!((5.0..=12.0).contains(&spy.excess_kurtosis), "excess kurtosis of SPY\n{report}");
        assert!((-0.8..=-0.1).contains(&spy.skew), "skew of SPY\n{report}");
        assert!((-0.2..=-0.03).contains(&spy.leverage), "leverage effect of SPY\n{report}");
        assert!(spy.memory_50 >= 0.10, "volatility memory of SPY\n{report}");
        assert!((1.0 / 3.0..=1.0).contains(&report.decades_with_a_crisis), "crises\n{report}");
        assert!(report.worst_of_funds > -0.12, "worst session of a fund\n{report}");
        for (symbol, figures) in &report.stocks {
            assert!((4.0..=12.0).contains(&figures.excess_kurtosis), "excess kurtosis of {symbol}\n{report}");
            assert!(figures.memory_50 >= 0.05, "volatility memory of {symbol}\n{report}");
        }
        for (symbol, figures) in report.funds.iter().chain(&report.stocks) {
            assert!(figures.autocorrelation.abs() < 0.05, "autocorrelation of {symbol}\n{report}");
            assert!((0.93..1.07).contains(&figures.volatility), "volatility of {symbol}\n{report}");
        }
    }
}

#[test]
fn no_session_of_a_fund_falls_beyond_the_limit_in_all_of_time() {
    for model in [SimulatedModel::V2, SimulatedModel::V2Xnys] {
        let anchor = model.sessions().from(ANCHOR_DATE).unwrap();
        for seed in 1..=SEEDS {
            let paths = Paths::new(model, seed, anchor);
            for symbol in symbols(false) {
                let index = index_of(symbol);
                let mut before = paths.log_before(index, 0);
                for session in 1..model.sessions().count() {
                    let close = paths.log_before(index, session);
                    let change = (close - before).exp() - 1.0;
                    assert!(
                        change > -0.12,
                        "{model:?}: {symbol} changes by {change} in {session}, seed {seed}"
                    );
                    before = close;
                }
            }
        }
    }
}

#[test]
fn an_exchange_session_opens_with_a_gap_of_a_realistic_width() {
    let decades: Vec<Decade> = (1..=SEEDS).map(|seed| Decade::of(SimulatedModel::V2Xnys, seed)).collect();
    let sessions = SimulatedModel::V2Xnys.sessions();
    let variance =
        |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
    for symbol in ["SPY", "QQQ", "AAPL", "KO", "TSLA", "LLY"] {
        let index = index_of(symbol);
        let (mut shares, mut widths) = (Vec::new(), Vec::new());
        for decade in &decades {
            let at = |session: u16, end: fn(Ends) -> f64, published| {
                decade.paths.log_in(index, session, end, published)
            };
            let (mut nights, mut weekends, mut all, mut whole) =
                (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for session in decade.sessions.clone() {
                let before = at(session, |ends| ends.before, session - 1);
                let gap = at(session, |ends| ends.open, session) - before;
                let days = (sessions.date(session) - sessions.date(session - 1)).num_days();
                if days > 1 {
                    weekends.push(gap)
                } else {
                    nights.push(gap)
                }
                all.push(gap);
                whole.push(at(session, |ends| ends.close, session) - before);
            }
            shares.push(variance(&all) / variance(&whole));
            widths.push((variance(&weekends) / variance(&nights)).sqrt());
        }
        let (share, width) = (median(shares), median(widths));
        assert!((0.2..=0.3).contains(&share), "{symbol}: {share} of a session's variance is overnight");
        assert!(
            (0.7..=1.3).contains(&width),
            "{symbol}: weekend gaps are {width} times as wide as overnight ones"
        );
    }
}

/// Values with mean 0 whose squares add up to 1: the product of two such lists is their correlation.
struct Standardized {
    values: Vec<f64>,
    deviation: f64,
}

impl Standardized {
    fn of(values: &[f64]) -> Self {
        let deviation = centered(values).map(|value| value * value).sum::<f64>().sqrt();
        Self { values: centered(values).map(|value| value / deviation).collect(), deviation }
    }

    fn correlation(&self, other: &Self) -> f64 {
        self.values.iter().zip(&other.values).map(|(a, b)| a * b).sum()
    }

    fn beta(&self, market: &Self) -> f64 {
        self.correlation(market) * self.deviation / market.deviation
    }
}

#[test]
fn betas_and_correlations_are_those_of_the_catalog() {
    for model in [SimulatedModel::V2, SimulatedModel::V2Xnys] {
        let decades: Vec<Decade> = (1..=SEEDS).map(|seed| Decade::of(model, seed)).collect();
        let returns = |symbol: &str| -> Vec<Standardized> {
            decades.iter().map(|decade| Standardized::of(&decade.returns(symbol))).collect()
        };
        let spy = returns("SPY");
        let companies: Vec<(&Instrument, Vec<Standardized>)> =
            symbols(true).map(|symbol| (&INSTRUMENTS[index_of(symbol)], returns(symbol))).collect();
        // At most 0.85 of a company's movement comes from the market, and 0.35 of the rest of its variance from its
        // sector.
        let market_share = |row: &Instrument| (row.beta * 0.16 / row.volatility).min(0.85);
        let sector_share = |row: &Instrument| (0.35 * (1.0 - market_share(row).powi(2))).sqrt();
        for (row, all) in &companies {
            let measured = median(all.iter().zip(&spy).map(|(one, spy)| one.beta(spy)).collect());
            let expected = market_share(row) * row.volatility / 0.16;
            assert!(
                (measured - expected).abs() < 0.07 * expected.max(1.0),
                "{model:?}: beta of {} is {measured}, not {expected}",
                row.symbol
            );
        }
        for (place, (row, all)) in companies.iter().enumerate() {
            for (other_row, other) in &companies[..place] {
                let measured = median(all.iter().zip(other).map(|(a, b)| a.correlation(b)).collect());
                let together = matches!(
                    (row.follows, other_row.follows),
                    (Follows::Company(one), Follows::Company(other)) if one == other
                );
                let of_sector = if together { sector_share(row) * sector_share(other_row) } else { 0.0 };
                let expected = market_share(row) * market_share(other_row) + of_sector;
                assert!(
                    (measured - expected).abs() < 0.08,
                    "{model:?}: {} and {}: {measured}, not {expected}",
                    row.symbol,
                    other_row.symbol
                );
            }
        }
    }
}
