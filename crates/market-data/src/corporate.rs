//! Splits and dividends as a source reports them.

use std::num::NonZeroU32;

use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive};
use chrono::{Days, NaiveDate};
use domain::{CorporateAction, CorporateActionKind, PerShare, Symbol};

/// How long after the ex-date a dividend is assumed to be paid if its payment day is unknown.
const UNTIL_PAYMENT: Days = Days::new(20);

/// The largest valid ratio of a split. Larger ratios are mistakes of the source.
const LARGEST_RATIO: u64 = 100_000;

/// From the opening of `effective_on`, each `denominator` shares become `numerator` shares: 10 and 1 for a ten-for-one
/// split, 1 and 20 for a reverse split. In lowest terms, both above zero, and not equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    pub effective_on: NaiveDate,
    pub numerator: u32,
    pub denominator: u32,
}

/// A cash dividend per share held at the close of the session before `ex_on`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dividend {
    pub ex_on: NaiveDate,
    /// The payment day. Unknown for some dividends, and for all dividends of some sources.
    pub pays_on: Option<NaiveDate>,
    /// US dollars per share, exactly as reported; above zero.
    pub amount: BigDecimal,
}

impl Split {
    /// Creates a split. `None` for an invalid ratio: zero on one side, equal sides, or an impossible size.
    pub(crate) fn new(effective_on: NaiveDate, numerator: u64, denominator: u64) -> Option<Self> {
        if numerator == 0 || denominator == 0 || numerator == denominator {
            return None;
        }
        let shared = greatest_common_divisor(numerator, denominator);
        let (numerator, denominator) = (numerator / shared, denominator / shared);
        if numerator > LARGEST_RATIO || denominator > LARGEST_RATIO {
            return None;
        }
        let part = |part: u64| u32::try_from(part).ok();
        Some(Self { effective_on, numerator: part(numerator)?, denominator: part(denominator)? })
    }

    /// Converts a factor that was rounded to four decimals, such as `0.3333` for one for three, to the fraction with
    /// the smallest denominator that rounds to it. Of equally good ratios, such as 1:149 and 1:150, the rounder one is
    /// chosen.
    pub(crate) fn of_factor(effective_on: NaiveDate, factor: &BigDecimal) -> Option<Self> {
        let scaled =
            (factor * BigDecimal::from(10_000)).with_scale_round(0, RoundingMode::HalfUp).to_u64()?;
        if scaled == 0 || scaled > 10_000 * LARGEST_RATIO {
            return None;
        }
        let half_up = |dividend: u64, divisor: u64| (dividend * 2 + divisor) / (divisor * 2);
        let numerator_of = |denominator: u64| {
            let numerator = half_up(scaled * denominator, 10_000);
            (half_up(numerator * 10_000, denominator) == scaled).then_some(numerator)
        };
        let smallest = (1..=10_000_u64).find(|denominator| numerator_of(*denominator).is_some())?;
        if numerator_of(smallest) != Some(1) {
            return Self::new(effective_on, numerator_of(smallest)?, smallest);
        }
        let equal = (smallest..).take_while(|denominator| numerator_of(*denominator) == Some(1));
        let roundness = |denominator: &u64| {
            [1000, 500, 100, 50, 10, 5]
                .into_iter()
                .find(|unit| denominator.is_multiple_of(*unit))
                .unwrap_or(1)
        };
        Self::new(effective_on, 1, equal.max_by_key(roundness)?)
    }
}

impl Split {
    pub(crate) fn action(&self, of: &Symbol) -> Option<CorporateAction> {
        let (numerator, denominator) = (NonZeroU32::new(self.numerator)?, NonZeroU32::new(self.denominator)?);
        let kind = CorporateActionKind::Split { numerator, denominator };
        Some(CorporateAction::new(of.clone(), self.effective_on, kind))
    }
}

impl Dividend {
    /// Converts to a corporate action. `None` if the amount is less than a millionth of a dollar.
    pub(crate) fn action(&self, of: &Symbol) -> Option<CorporateAction> {
        let amount = PerShare::rounded(&self.amount)?;
        let later = self.ex_on.checked_add_days(UNTIL_PAYMENT).unwrap_or(self.ex_on);
        // A payment day before the ex-date is a mistake of the source.
        let pays_on = self.pays_on.filter(|on| *on >= self.ex_on).unwrap_or(later);
        Some(CorporateAction::new(
            of.clone(),
            self.ex_on,
            CorporateActionKind::CashDividend { amount, pays_on },
        ))
    }

    /// Creates a dividend. `None` if the amount is not above zero or is larger than any price.
    pub(crate) fn new(ex_on: NaiveDate, pays_on: Option<NaiveDate>, amount: BigDecimal) -> Option<Self> {
        let plausible = amount > 0 && amount <= 1_000_000;
        plausible.then(|| Self { ex_on, pays_on, amount: amount.normalized() })
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day() -> NaiveDate {
        "2024-06-10".parse().unwrap()
    }

    fn ratio(split: Option<Split>) -> Option<(u32, u32)> {
        split.map(|split| (split.numerator, split.denominator))
    }

    #[test]
    fn fractions_are_recovered_from_four_decimals() {
        for (factor, expected) in [
            ("10.0000", (10, 1)),
            ("4.0000", (4, 1)),
            ("1.5000", (3, 2)),
            ("0.3333", (1, 3)),
            ("0.6667", (2, 3)),
            ("0.0500", (1, 20)),
            ("0.0667", (1, 15)),
            ("0.0333", (1, 30)),
            ("1.0500", (21, 20)),
            ("1.3333", (4, 3)),
            ("0.0010", (1, 1000)),
            ("0.0050", (1, 200)),
            ("0.0067", (1, 150)),
            ("0.0029", (1, 350)),
            ("0.0111", (1, 90)),
            ("7", (7, 1)),
        ] {
            assert_eq!(ratio(Split::of_factor(day(), &factor.parse().unwrap())), Some(expected), "{factor}");
        }
    }

    #[test]
    fn ratios_without_effect_and_impossible_ratios_are_not_splits() {
        for factor in ["1.0000", "0", "0.00001", "-2", "1000000000000", "100001"] {
            assert_eq!(Split::of_factor(day(), &factor.parse().unwrap()), None, "{factor}");
        }
        assert_eq!(ratio(Split::new(day(), 20, 2)), Some((10, 1)));
        for (numerator, denominator) in [(0, 1), (1, 0), (3, 3), (u64::MAX, 1)] {
            assert_eq!(Split::new(day(), numerator, denominator), None);
        }
    }

    #[test]
    fn a_dividend_is_positive_and_keeps_its_decimals() {
        let dividend = |amount: &str| Dividend::new(day(), None, amount.parse().unwrap());
        assert_eq!(dividend("1.78420").unwrap().amount.to_string(), "1.7842");
        for amount in ["0", "-0.25", "1000000000000"] {
            assert_eq!(dividend(amount), None, "{amount}");
        }
    }
}
