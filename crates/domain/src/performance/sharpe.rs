//! Sharpe and Sortino ratio: return above the risk-free rate per unit of risk.

use crate::performance::statistics::enough;
use crate::performance::volatility::{Downside, Returns};
use crate::performance::{Figure, Formula, Series, Settings, UndefinedReason, Workings};

pub(super) const SHARPE: Formula = Formula {
    words: "The average daily return above the risk-free rate, divided by the sample standard deviation of those \
            excess returns, times the square root of the sessions of a year.",
    symbols: "sharpe = mean_excess / deviation × √periods_per_year, of r − daily_risk_free",
    source: "Sharpe, The Sharpe Ratio, 1994; quantstats' sharpe; empyrical's sharpe_ratio",
};

pub(super) const SORTINO: Formula = Formula {
    words: "The average daily return above the risk-free rate, divided by the downside deviation, times the square \
            root of the sessions of a year. Only days below the rate count as risk, and all days are counted.",
    symbols: "sortino = mean_excess / √(Σ min(r − daily_risk_free, 0)² / n) × √periods_per_year",
    source: "Red Rock Capital, Sortino: A Sharper Ratio, 2012; quantstats' sortino; empyrical's sortino_ratio",
};

/// Annualized Sharpe ratio, a number: `mean(e) / stdev(e; n − 1) × √P`, where `e` are the daily returns less the daily
/// risk-free rate. Negative if the average return is below the risk-free rate.
///
/// # Errors
/// [`UndefinedReason::TooFewReturns`] for fewer than 20, [`UndefinedReason::ZeroDeviation`] when they do not vary.
pub fn sharpe(series: &Series, settings: &Settings, work: &mut Workings) -> Figure {
    series.note_with(settings, work);
    let risk_free = settings.daily_risk_free(work);
    let Returns(returns) = series.fold(Returns::default);
    enough(returns.n)?;
    let mean = work.ratio("mean_excess", "Average daily excess return", returns.mean - risk_free);
    // The rate is the same each day, so the returns above it deviate as the returns do.
    let deviation = work.ratio("deviation", "Standard deviation of excess returns", returns.deviation());
    if deviation == 0.0 {
        return Err(UndefinedReason::ZeroDeviation);
    }
    Ok(mean / deviation * settings.periods().sqrt())
}

/// Annualized Sortino ratio, a number: `mean(e) / √(Σ min(e, 0)² / n) × √P`, where `e` are the daily returns less the
/// daily risk-free rate.
///
/// # Errors
/// [`UndefinedReason::TooFewReturns`] for fewer than 20, [`UndefinedReason::NoLosingDays`] when none is below the rate.
pub fn sortino(series: &Series, settings: &Settings, work: &mut Workings) -> Figure {
    series.note_with(settings, work);
    let risk_free = settings.daily_risk_free(work);
    let Returns(returns) = series.fold(Returns::default);
    enough(returns.n)?;
    let mean = work.ratio("mean_excess", "Average daily excess return", returns.mean - risk_free);
    let downside = series.fold(|| Downside::new(settings)).deviation();
    let downside = work.ratio("deviation", "Downside deviation of daily returns", downside);
    if downside == 0.0 {
        return Err(UndefinedReason::NoLosingDays);
    }
    Ok(mean / downside * settings.periods().sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Calendar;
    use crate::performance::series::tests::growing;

    #[test]
    fn ratios_by_hand() {
        let settings = Settings::new(Calendar::AroundTheClock, 0.0);
        // Ten days of +2 % and ten of −1 %: mean 0.005, deviations of ±0.015 each, downside √(0.001/20).
        let series = growing(&[0.02, -0.01].repeat(10));
        let root = 365_f64.sqrt();
        let sharpe = sharpe(&series, &settings, &mut Workings::off()).unwrap();
        assert!((sharpe - 0.005 / (0.0045_f64 / 19.0).sqrt() * root).abs() < 1e-5, "{sharpe}");
        let sortino = sortino(&series, &settings, &mut Workings::off()).unwrap();
        assert!((sortino - 0.005 / (0.001_f64 / 20.0).sqrt() * root).abs() < 1e-5, "{sortino}");
    }

    #[test]
    fn ratios_are_undefined_without_variation_or_losses() {
        let settings = Settings::new(Calendar::Xnys, 0.0);
        let off = || Workings::off();
        let flat = growing(&[0.0; 25]);
        assert_eq!(sharpe(&flat, &settings, &mut off()), Err(UndefinedReason::ZeroDeviation));
        assert_eq!(sortino(&flat, &settings, &mut off()), Err(UndefinedReason::NoLosingDays));
        let rising = growing(&[0.01, 0.02].repeat(10));
        assert!(sharpe(&rising, &settings, &mut off()).unwrap() > 0.0);
        assert_eq!(sortino(&rising, &settings, &mut off()), Err(UndefinedReason::NoLosingDays));
    }

    #[test]
    fn a_return_below_the_risk_free_rate_is_negative() {
        let settings = Settings::new(Calendar::Xnys, 0.9);
        let series = growing(&[0.001, -0.0005].repeat(15));
        assert!(sharpe(&series, &settings, &mut Workings::off()).unwrap() < 0.0);
        assert!(sortino(&series, &settings, &mut Workings::off()).unwrap() < 0.0);
    }
}
