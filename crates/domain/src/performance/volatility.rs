//! Volatility and downside deviation: the variation of daily returns.

use crate::performance::closed_days::ClosedDays;
use crate::performance::series::Fold;
use crate::performance::statistics::{Moments, count, enough};
use crate::performance::{Day, Figure, Formula, Series, Settings, Workings};

pub(super) const VOLATILITY: Formula = Formula {
    words: "The sample standard deviation of the daily returns, times the square root of the sessions of a year.",
    symbols: "volatility = √(Σ (r − mean_return)² / (n − 1)) × √periods_per_year",
    source: "quantstats' volatility; empyrical's annual_volatility",
};

pub(super) const DOWNSIDE_DEVIATION: Formula = Formula {
    words: "The square root of the average squared shortfall of the daily returns below the risk-free rate, times \
            the square root of the sessions of a year. Days above the rate are included with a shortfall of zero.",
    symbols: "downside_deviation = √(Σ min(r − daily_risk_free, 0)² / n) × √periods_per_year",
    source: "Sortino and van der Meer, Downside risk, 1991; empyrical's downside_risk",
};

/// Annualized volatility, a ratio per year, never negative: `stdev(r; n − 1) × √P` over the defined daily returns.
/// Zero when the returns do not vary.
///
/// # Errors
/// [`crate::performance::UndefinedReason::TooFewReturns`] for fewer than 20.
pub fn volatility(series: &Series, settings: &Settings, work: &mut Workings) -> Figure {
    series.note_with(settings, work);
    let Returns(returns) = series.fold(Returns::default);
    enough(returns.n)?;
    let daily = work.ratio("deviation", "Standard deviation of daily returns", returns.deviation());
    Ok(daily * settings.periods().sqrt())
}

/// Annualized downside deviation, a ratio per year, never negative: `√(Σ min(e, 0)² / n) × √P`, where `e` are the daily
/// returns less the daily risk-free rate. Zero when no return is below that rate.
///
/// # Errors
/// [`crate::performance::UndefinedReason::TooFewReturns`] for fewer than 20.
pub fn downside_deviation(series: &Series, settings: &Settings, work: &mut Workings) -> Figure {
    series.note_with(settings, work);
    settings.daily_risk_free(work);
    let below = series.fold(|| Downside::new(settings));
    enough(below.n)?;
    let daily = work.ratio("deviation", "Downside deviation of daily returns", below.deviation());
    Ok(daily * settings.periods().sqrt())
}

/// The defined daily returns.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Returns(pub Moments);

impl Fold for Returns {
    fn add(&mut self, day: &Day) {
        if let Some(daily) = day.daily_return {
            self.0.add(daily);
        }
    }

    fn after(closed: &ClosedDays) -> &Self {
        &closed.returns
    }
}

/// The daily returns below the daily risk-free rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Downside {
    daily_risk_free: f64,
    /// The number of all returns.
    pub n: usize,
    /// `Σ min(e, 0)²`, with `e` the returns less the rate.
    squares: f64,
}

impl Downside {
    pub fn new(settings: &Settings) -> Self {
        let daily_risk_free = settings.daily_risk_free(&mut Workings::off());
        Self { daily_risk_free, n: 0, squares: 0.0 }
    }

    /// `√(Σ min(e, 0)² / n)`, with all n.
    pub fn deviation(&self) -> f64 {
        (self.squares / count(self.n)).sqrt()
    }
}

impl Fold for Downside {
    fn add(&mut self, day: &Day) {
        if let Some(daily) = day.daily_return {
            self.n += 1;
            self.squares += (daily - self.daily_risk_free).min(0.0).powi(2);
        }
    }

    fn after(closed: &ClosedDays) -> &Self {
        &closed.downside
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Calendar;
    use crate::performance::UndefinedReason;
    use crate::performance::series::tests::growing;

    fn settings() -> Settings {
        Settings::new(Calendar::Xnys, 0.0)
    }

    /// Ten days of +1 % and ten of −1 %: mean 0, squares 20 × 0.0001, deviation √(0.002/19).
    #[test]
    fn volatility_is_the_annualized_deviation_of_daily_returns() {
        let series = growing(&[0.01, -0.01].repeat(10));
        let measured = volatility(&series, &settings(), &mut Workings::off()).unwrap();
        // The values are rounded to cents.
        assert!((measured - (0.002_f64 / 19.0 * 252.0).sqrt()).abs() < 1e-7, "{measured}");
        let downward = downside_deviation(&series, &settings(), &mut Workings::off()).unwrap();
        assert!((downward - (0.001_f64 / 20.0 * 252.0).sqrt()).abs() < 1e-7, "{downward}");
    }

    #[test]
    fn a_flat_series_has_no_volatility_and_a_short_one_is_undefined() {
        let flat = growing(&[0.0; 20]);
        assert_eq!(volatility(&flat, &settings(), &mut Workings::off()), Ok(0.0));
        assert_eq!(downside_deviation(&flat, &settings(), &mut Workings::off()), Ok(0.0));
        let short = growing(&[0.01; 19]);
        let reason = Err(UndefinedReason::TooFewReturns { have: 19, need: 20 });
        assert_eq!(volatility(&short, &settings(), &mut Workings::off()), reason);
        assert_eq!(downside_deviation(&short, &settings(), &mut Workings::off()), reason);
    }

    #[test]
    fn a_flat_series_is_below_the_risk_free_rate() {
        let settings = Settings::new(Calendar::Xnys, 0.05);
        let short = downside_deviation(&growing(&[0.0; 20]), &settings, &mut Workings::off()).unwrap();
        assert!((short - (1.05_f64.powf(1.0 / 252.0) - 1.0) * 252_f64.sqrt()).abs() < 1e-12);
    }
}
