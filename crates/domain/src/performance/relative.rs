//! Measures against a benchmark.

use crate::performance::statistics::{Moments, PairMoments, enough};
use crate::performance::{
    Benchmark, Day, Figure, Formula, Series, Settings, Table, UndefinedReason, Value, Workings,
    benchmark_twr, twr,
};

pub(super) const EXCESS_RETURN: Formula = Formula {
    words: "The portfolio's time-weighted return less the benchmark's total return over the window.",
    symbols: "excess_return = twr − benchmark_twr",
    source: "GIPS 2020, glossary: excess return (arithmetic)",
};

pub(super) const BETA: Formula = Formula {
    words: "How much the portfolio's daily return changes on average when the benchmark's daily return changes by \
            one percentage point: the covariance of both, divided by the variance of the benchmark.",
    symbols: "beta = cov(r, b) / var(b)",
    source: "Sharpe, Capital asset prices, 1964; quantstats' greeks; empyrical's beta",
};

pub(super) const ALPHA: Formula = Formula {
    words: "The part of the average daily excess return that beta does not explain, times the sessions of a year. An \
            excess return is a return less the risk-free rate.",
    symbols: "alpha = (mean_excess − beta × mean_benchmark_excess) × periods_per_year",
    source: "Jensen, The performance of mutual funds, 1968; quantstats' greeks (arithmetic)",
};

pub(super) const TRACKING_ERROR: Formula = Formula {
    words: "The sample standard deviation of the daily differences between the portfolio's and the benchmark's \
            return, times the square root of the sessions of a year.",
    symbols: "tracking_error = √(Σ (d − mean_difference)² / (n − 1)) × √periods_per_year, with d = r − b",
    source: "Grinold and Kahn, Active portfolio management; the divisor of empyrical's excess_sharpe",
};

pub(super) const CORRELATION: Formula = Formula {
    words: "The correlation of the portfolio's and the benchmark's daily returns: at 1 they move together, at 0 they \
            are unrelated, at −1 they move in opposite directions.",
    symbols: "correlation = cov(r, b) / √(var(r) × var(b))",
    source: "Pearson's correlation coefficient; numpy's corrcoef",
};

pub(super) const INFORMATION_RATIO: Formula = Formula {
    words: "The average daily difference between the portfolio's and the benchmark's return, times the sessions of a \
            year, divided by the tracking error.",
    symbols: "information_ratio = mean_difference × periods_per_year / tracking_error",
    source: "Goodwin, The information ratio, 1998; quantstats' information_ratio × √periods_per_year",
};

/// The portfolio's time-weighted return less the benchmark's, a ratio: 0.02 is two percentage points better.
///
/// # Errors
/// The same as [`twr()`] and [`benchmark_twr`].
pub fn excess_return(series: &Series, benchmark: Option<&Benchmark>, work: &mut Workings) -> Figure {
    let benchmark_twr = benchmark_twr(series, benchmark, work)?;
    work.ratio("benchmark_twr", "Total return of the benchmark", benchmark_twr);
    let twr = twr(series, work)?;
    work.ratio("twr", "Time-weighted return", twr);
    Ok(twr - benchmark_twr)
}

/// The portfolio and the benchmark, with the parameters for annualizing.
#[derive(Debug, Clone, Copy)]
pub struct Against<'a> {
    pub series: &'a Series,
    pub benchmark: Option<&'a Benchmark>,
    pub settings: &'a Settings,
}

/// The measures of [`Against`].
pub(super) struct RelativeFigures {
    pub beta: Figure,
    pub alpha: Figure,
    pub tracking_error: Figure,
    pub correlation: Figure,
    pub information_ratio: Figure,
}

impl Against<'_> {
    fn pairs(&self, work: &mut Workings) -> Figure<PairSums> {
        self.settings.note_sessions(work);
        let benchmark = self.benchmark.ok_or(UndefinedReason::NoBenchmark)?;
        work.input("benchmark", "Benchmark", || Value::Symbol(benchmark.symbol.clone()));
        benchmark.covers(self.series)?;
        work.input("returns", "Daily returns", || daily_returns(self.series, benchmark));
        let pairs = PairSums::of(self.series, benchmark);
        enough(pairs.both.x.n)?;
        Ok(pairs)
    }

    /// Beta, a number: `cov(r, b) / var(b)`, both with n − 1.
    ///
    /// # Errors
    /// [`UndefinedReason::TooFewReturns`] for fewer than 20 common days, [`UndefinedReason::ZeroBenchmarkDeviation`],
    /// and the errors of [`benchmark_twr`].
    pub fn beta(&self, work: &mut Workings) -> Figure {
        beta_of(&self.pairs(work)?, work)
    }

    /// Computes all measures of this kind from one list of pairs.
    pub(super) fn all(&self, work: &mut Workings) -> RelativeFigures {
        let pairs = self.pairs(work);
        let mut of = |measure: fn(&Self, &PairSums, &mut Workings) -> Figure| {
            pairs.as_ref().map_err(Clone::clone).and_then(|pairs| measure(self, pairs, work))
        };
        RelativeFigures {
            beta: of(|_, pairs, work| beta_of(pairs, work)),
            alpha: of(Self::alpha_of),
            tracking_error: of(|against, pairs, work| Ok(against.tracking_error_of(pairs, work))),
            correlation: of(Self::correlation_of),
            information_ratio: of(Self::information_ratio_of),
        }
    }

    /// Jensen's alpha, a ratio per year: `(mean(e) − β mean(e_b)) × P`, with `e` and `e_b` the daily returns less the
    /// daily risk-free rate. Arithmetic: empyrical compounds it instead.
    ///
    /// # Errors
    /// The same as [`Against::beta`].
    pub fn alpha(&self, work: &mut Workings) -> Figure {
        self.alpha_of(&self.pairs(work)?, work)
    }

    fn alpha_of(&self, pairs: &PairSums, work: &mut Workings) -> Figure {
        let beta = beta_of(pairs, work)?;
        work.number("beta", "Beta", beta);
        let risk_free = self.settings.daily_risk_free(work);
        let mean_excess = pairs.both.x.mean - risk_free;
        work.ratio("mean_excess", "Average daily excess return", mean_excess);
        let mean_benchmark = pairs.both.y.mean - risk_free;
        work.ratio("mean_benchmark_excess", "Average daily excess return of the benchmark", mean_benchmark);
        Ok((mean_excess - beta * mean_benchmark) * self.settings.periods())
    }

    /// Tracking error, a ratio per year, never negative: `stdev(r − b; n − 1) × √P`. Zero if the portfolio moves like
    /// the benchmark.
    ///
    /// # Errors
    /// [`UndefinedReason::TooFewReturns`] for fewer than 20 common days, and the errors of [`benchmark_twr`].
    pub fn tracking_error(&self, work: &mut Workings) -> Figure {
        let pairs = self.pairs(work)?;
        Ok(self.tracking_error_of(&pairs, work))
    }

    fn tracking_error_of(&self, pairs: &PairSums, work: &mut Workings) -> f64 {
        let daily = pairs.differences.deviation();
        work.ratio("deviation", "Standard deviation of the differences", daily);
        daily * self.settings.periods().sqrt()
    }

    /// Pearson's correlation, a number from −1 to 1.
    ///
    /// # Errors
    /// The same as [`Against::beta`]; [`UndefinedReason::ZeroDeviation`] when the portfolio's returns do not vary.
    pub fn correlation(&self, work: &mut Workings) -> Figure {
        self.correlation_of(&self.pairs(work)?, work)
    }

    fn correlation_of(&self, pairs: &PairSums, work: &mut Workings) -> Figure {
        let both = &pairs.both;
        let deviations = (both.x.deviation(), both.y.deviation());
        work.ratio("deviation", "Standard deviation of daily returns", deviations.0);
        work.ratio("benchmark_deviation", "Standard deviation of the benchmark's", deviations.1);
        let covariance = work.number("covariance", "Covariance", both.covariance());
        match deviations {
            (_, 0.0) => Err(UndefinedReason::ZeroBenchmarkDeviation),
            (0.0, _) => Err(UndefinedReason::ZeroDeviation),
            (own, other) => Ok((covariance / (own * other)).clamp(-1.0, 1.0)),
        }
    }

    /// Information ratio, a number: `mean(r − b) × P / tracking_error`. Negative if the benchmark did better.
    ///
    /// # Errors
    /// The same as [`Against::tracking_error`]; [`UndefinedReason::ZeroDeviation`] when the tracking error is zero.
    pub fn information_ratio(&self, work: &mut Workings) -> Figure {
        self.information_ratio_of(&self.pairs(work)?, work)
    }

    fn information_ratio_of(&self, pairs: &PairSums, work: &mut Workings) -> Figure {
        let mean = work.ratio("mean_difference", "Average difference", pairs.differences.mean);
        let error = self.tracking_error_of(pairs, work);
        work.ratio("tracking_error", "Tracking error", error);
        if error == 0.0 {
            return Err(UndefinedReason::ZeroDeviation);
        }
        Ok(mean * self.settings.periods() / error)
    }
}

fn beta_of(pairs: &PairSums, work: &mut Workings) -> Figure {
    let covariance = work.number("covariance", "Covariance with the benchmark", pairs.both.covariance());
    let variance = work.number("benchmark_variance", "Variance of the benchmark", pairs.both.y.variance());
    if pairs.both.y.deviation() == 0.0 {
        return Err(UndefinedReason::ZeroBenchmarkDeviation);
    }
    Ok(covariance / variance)
}

/// The daily returns of portfolio and benchmark over the same days: each day with a return and a close before it in the
/// series, with the benchmark's return between the same two closes. Over a gap in its bars the last close is carried
/// forward, so its return is zero there. A portfolio's very first day is omitted, because the benchmark is bought at its
/// close.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PairSums {
    /// The benchmark's level at the last close.
    level_before: Option<f64>,
    /// The portfolio's returns and the benchmark's.
    both: PairMoments,
    /// Portfolio minus benchmark, day by day.
    differences: Moments,
}

impl PairSums {
    /// Goes over the days of the series, or over those since the closed ones.
    pub fn of(series: &Series, benchmark: &Benchmark) -> Self {
        Self::each(series, benchmark, |_, _| ())
    }

    fn each(series: &Series, benchmark: &Benchmark, mut note: impl FnMut(&Day, (f64, f64))) -> Self {
        let after_closed = series.closed().and_then(|closed| Some((closed.end_on()?, closed.pairs?)));
        let (mut sums, mut levels) = match after_closed {
            Some((end_on, sums)) => (sums, benchmark.in_order_from(end_on)),
            None => {
                let mut levels = benchmark.in_order();
                let level_before = series.before.as_ref().and_then(|close| levels.level_on(close.date));
                let (both, differences) = (PairMoments::default(), Moments::default());
                (Self { level_before, both, differences }, levels)
            }
        };
        for day in &series.days {
            if let Some(pair) = sums.add(day, levels.level_on(day.date)) {
                note(day, pair);
            }
        }
        sums
    }

    /// Adds a day with the benchmark's level at its close, and returns both returns.
    fn add(&mut self, day: &Day, level: Option<f64>) -> Option<(f64, f64)> {
        let both = std::mem::replace(&mut self.level_before, level).zip(level);
        let (portfolio, (before, level)) = day.daily_return.zip(both)?;
        let benchmark = level / before - 1.0;
        self.both.add(portfolio, benchmark);
        self.differences.add(portfolio - benchmark);
        Some((portfolio, benchmark))
    }
}

/// The pairs of returns as a table.
fn daily_returns(series: &Series, benchmark: &Benchmark) -> Value {
    let columns = [("date", "Date"), ("daily_return", "Portfolio"), ("benchmark_return", "Benchmark")];
    let mut rows = Vec::new();
    PairSums::each(series, benchmark, |day, (portfolio, benchmark)| {
        rows.push(vec![Value::Date(day.date), Value::Ratio(portfolio), Value::Ratio(benchmark)]);
    });
    Value::Table(Table::new(&columns, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::benchmark::tests::{bar, benchmark};
    use crate::performance::series::tests::growing;
    use crate::{Bar, Calendar};

    /// Bars of a benchmark with these daily returns, from 2026-01-01 on.
    fn bars(returns: &[f64]) -> Vec<Bar> {
        let first: chrono::NaiveDate = "2026-01-01".parse().unwrap();
        let mut close = 100_000.0;
        let mut bars = vec![bar("2026-01-01", "100000")];
        for (daily, day) in returns.iter().zip(1..) {
            close *= 1.0 + daily;
            let date = (first + chrono::Days::new(day)).to_string();
            bars.push(bar(&date, &format!("{close:.2}")));
        }
        bars
    }

    fn off() -> Workings {
        Workings::off()
    }

    #[test]
    fn twice_the_benchmark_has_beta_two_and_no_alpha() {
        let daily = [0.01, -0.004, 0.002, -0.01].repeat(6);
        let twice: Vec<f64> = daily.iter().map(|r| 2.0 * r).collect();
        let (series, benchmark) = (growing(&twice), benchmark(&bars(&daily), &[]));
        let settings = Settings::new(Calendar::Xnys, 0.0);
        let against = Against { series: &series, benchmark: Some(&benchmark), settings: &settings };
        assert!((against.beta(&mut off()).unwrap() - 2.0).abs() < 1e-5);
        assert!(against.alpha(&mut off()).unwrap().abs() < 1e-5);
        assert!((against.correlation(&mut off()).unwrap() - 1.0).abs() < 1e-9);
        let same = growing(&daily);
        let same = Against { series: &same, ..against };
        assert!(same.tracking_error(&mut off()).unwrap() < 1e-5);
    }

    #[test]
    fn a_constant_benchmark_has_no_beta() {
        let series = growing(&[0.01, -0.01].repeat(12));
        let benchmark = benchmark(&[bar("2026-01-01", "100")], &[]);
        let settings = Settings::new(Calendar::Xnys, 0.0);
        let against = Against { series: &series, benchmark: Some(&benchmark), settings: &settings };
        let constant = Err(UndefinedReason::ZeroBenchmarkDeviation);
        assert_eq!(against.beta(&mut off()), constant);
        assert_eq!(against.alpha(&mut off()), constant);
        assert_eq!(against.correlation(&mut off()), constant);
        // Against a constant, the tracking error is the volatility.
        assert!(against.tracking_error(&mut off()).unwrap() > 0.0);
        let flat = growing(&[0.0; 24]);
        let flat = Against { series: &flat, ..against };
        assert_eq!(flat.information_ratio(&mut off()), Err(UndefinedReason::ZeroDeviation));
    }

    #[test]
    fn nineteen_common_days_are_too_few() {
        let daily = [0.01; 19];
        let (series, benchmark) = (growing(&daily), benchmark(&bars(&daily), &[]));
        let settings = Settings::new(Calendar::Xnys, 0.0);
        let against = Against { series: &series, benchmark: Some(&benchmark), settings: &settings };
        let few = Err(UndefinedReason::TooFewReturns { have: 19, need: 20 });
        assert_eq!(against.beta(&mut off()), few);
        assert_eq!(against.tracking_error(&mut off()), few);
        assert!(excess_return(&series, Some(&benchmark), &mut off()).unwrap().abs() < 1e-6);
    }
}
