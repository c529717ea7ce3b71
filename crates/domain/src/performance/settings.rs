//! Parameters of annualized figures.

use crate::Calendar;
use crate::performance::{Value, Workings};

/// The sessions of a year and the risk-free rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The number of sessions per year, for annualizing daily figures.
    pub periods_per_year: u32,
    /// The risk-free rate, as a ratio per year above −1: 0.03 is 3 % per year.
    pub risk_free: f64,
}

impl Settings {
    /// 365 sessions per year for a market that is open around the clock, 252 for the exchange's calendar, which has
    /// 250 to 253.
    pub fn new(calendar: Calendar, risk_free: f64) -> Self {
        debug_assert!(risk_free > -1.0, "Invariant: no rate takes more than all");
        let periods_per_year = match calendar {
            Calendar::AroundTheClock => 365,
            Calendar::Xnys => 252,
        };
        Self { periods_per_year, risk_free }
    }

    /// The number of sessions per year as an `f64`.
    pub(super) fn periods(&self) -> f64 {
        f64::from(self.periods_per_year)
    }

    pub(super) fn note_sessions(&self, work: &mut Workings) {
        work.input("periods_per_year", "Sessions of a year", || Value::Number(self.periods()));
    }

    /// The risk-free rate of one session, `(1 + risk_free)^(1/P) − 1`, a ratio.
    pub(super) fn daily_risk_free(&self, work: &mut Workings) -> f64 {
        work.input("risk_free", "Risk-free rate per year", || Value::Ratio(self.risk_free));
        let daily = (self.risk_free.ln_1p() / self.periods()).exp_m1();
        work.ratio("daily_risk_free", "Risk-free rate per session", daily)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daily_rate_compounds_to_the_yearly_one() {
        for calendar in [Calendar::AroundTheClock, Calendar::Xnys] {
            let settings = Settings::new(calendar, 0.03);
            let daily = settings.daily_risk_free(&mut Workings::off());
            assert!(((1.0 + daily).powf(settings.periods()) - 1.03).abs() < 1e-12);
        }
        assert_eq!(Settings::new(Calendar::Xnys, 0.0).daily_risk_free(&mut Workings::off()), 0.0);
    }
}
