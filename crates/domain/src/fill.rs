//! Fills, and the receipt of how the price of a fill came about.

use std::str::FromStr;

use bigdecimal::RoundingMode;
use serde::{Deserialize, Serialize};

use crate::money::{AveragePrice, ExactAmount, PriceChange};
use crate::order::keywords;
use crate::{Money, Price, PriceSource, Quantity, Side, SplitRatio, Timestamp};

keywords! {
    /// The price of the quote at which a fill was made.
    FillRule {
        /// The ask, for a buy.
        Ask = "ask",
        /// The bid, for a sell.
        Bid = "bid",
        /// The last trade, because the source has no bid and ask.
        Last = "last",
        /// The close of a past session: the newest price while the exchange is closed, and always if the source
        /// publishes only closing prices.
        PastClose = "past_close",
        /// The first price of a session, for an order at the opening.
        Open = "open",
        /// The last price of a session, for an order at the close.
        Close = "close",
        /// A trade made elsewhere, at the price that its owner stated.
        Imported = "imported",
    }
}

/// How the amounts of an order's fills are rounded to cents. Each receipt contains the version of the rule, so that old
/// fills are checked by the rule that was used for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Version 1, for fills without a version: each fill is rounded separately, half-even to the cent.
    PerFill,
    /// Version 2: the order's exact sum is rounded half-even to the cent, and each fill books the difference. Many
    /// small fills cost the same as one.
    Cumulative,
}

impl Rounding {
    pub fn version(self) -> i32 {
        match self {
            Self::PerFill => 1,
            Self::Cumulative => 2,
        }
    }

    /// The rule of a stored version. Fills without a version were booked by the first rule.
    pub fn of_version(version: Option<i32>) -> Self {
        match version {
            Some(2) => Self::Cumulative,
            _ => Self::PerFill,
        }
    }
}

/// How the price of a fill was determined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub source: PriceSource,
    /// Market time of the quote.
    pub quoted_at: Timestamp,
    pub rule: FillRule,
    /// The price from the quote that the rule chose, before slippage.
    pub quoted_price: Price,
    /// How the fill's amount was rounded.
    pub rounding: Rounding,
}

impl Receipt {
    /// The slippage per share from the quoted price. A positive value is worse for the owner, for buys and for sells.
    pub fn slippage(&self, side: Side, price: &Price) -> PriceChange {
        match side {
            Side::Buy => price.minus(&self.quoted_price),
            Side::Sell => self.quoted_price.minus(price),
        }
    }
}

/// One execution of an order: quantity, price and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    pub side: Side,
    pub quantity: Quantity,
    pub price: Price,
    pub at: Timestamp,
    pub receipt: Receipt,
}

/// The totals of all fills of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FillTotals {
    /// In current shares.
    pub quantity: Quantity,
    /// The sum of quantity × price, not rounded. For fills that were rounded separately: the sum of the booked amounts.
    pub exact: ExactAmount,
    /// The booked amount without commission; positive for buys and sells.
    pub amount: Money,
    /// The average price per share, in current shares; `None` before the first fill.
    pub price: Option<AveragePrice>,
}

impl Default for FillTotals {
    fn default() -> Self {
        Self { quantity: Quantity::zero(), exact: ExactAmount::zero(), amount: Money::zero(), price: None }
    }
}

impl FillTotals {
    /// Adds a fill and returns its booked amount: without commission, positive for buys and sells, and zero if the
    /// fill does not change the rounded sum.
    ///
    /// The average price is rounded to six decimals toward a limit: up for a buy, down for a sell.
    ///
    /// ```
    /// use domain::{FillTotals, Rounding, Side};
    ///
    /// let mut totals = FillTotals::default();
    /// let fill = |totals: &mut FillTotals| {
    ///     totals.add(Rounding::Cumulative, Side::Buy, &"0.3565".parse().unwrap(), &"1".parse().unwrap())
    /// };
    /// // 0.3565, 0.7130 and 1.0695 are booked as 0.36, 0.71 and 1.07 in total.
    /// let booked: Vec<String> = (0..3).map(|_| fill(&mut totals).to_string()).collect();
    /// assert_eq!(booked, ["0.36", "0.35", "0.36"]);
    /// ```
    pub fn add(&mut self, rounding: Rounding, side: Side, price: &Price, quantity: &Quantity) -> Money {
        let before = self.amount.clone();
        self.exact = match rounding {
            Rounding::PerFill => (before.clone() + price.times(quantity)).into(),
            Rounding::Cumulative => self.exact.plus(price, quantity),
        };
        self.amount = self.exact.rounded();
        let filled = self.quantity.clone() + quantity;
        self.price = match (rounding, &self.price) {
            (Rounding::PerFill, Some(average)) => Some(average.with(&self.quantity, price, quantity)),
            (Rounding::PerFill, None) => Some(price.clone().into()),
            (Rounding::Cumulative, _) => self.exact.average(&filled, toward_limit(side)),
        };
        self.quantity = filled;
        self.amount.clone() - &before
    }

    /// Converts the totals to the shares after a split. Returns `false` and changes nothing if the quantity is too
    /// small to be expressed.
    #[must_use]
    pub fn split(&mut self, side: Side, ratio: SplitRatio) -> bool {
        let filled = ratio.shares(&self.quantity);
        if filled.is_zero() && !self.quantity.is_zero() {
            return false;
        }
        self.restate(side, filled);
        true
    }

    /// Sets the filled quantity after a change of the share basis, and adjusts the average price.
    pub(crate) fn restate(&mut self, side: Side, filled: Quantity) {
        if filled != self.quantity {
            self.price = self.exact.average(&filled, toward_limit(side));
            self.quantity = filled;
        }
    }
}

fn toward_limit(side: Side) -> RoundingMode {
    if side == Side::Buy { RoundingMode::Up } else { RoundingMode::Down }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn totals(side: Side, fills: &[(&str, &str)]) -> (FillTotals, Vec<String>) {
        let mut totals = FillTotals::default();
        let booked = fills.iter().map(|(price, quantity)| {
            let (price, quantity) = (price.parse().unwrap(), quantity.parse().unwrap());
            totals.add(Rounding::Cumulative, side, &price, &quantity).to_string()
        });
        let booked = booked.collect();
        (totals, booked)
    }

    /// 5,912 fills of one share at 0.3565: rounded separately, each would be 0.36.
    #[test]
    fn a_stored_rounding_version_is_read_as_the_rule_that_wrote_it() {
        for rule in [Rounding::PerFill, Rounding::Cumulative] {
            assert_eq!(Rounding::of_version(Some(rule.version())), rule);
        }
        assert_eq!((Rounding::PerFill.version(), Rounding::Cumulative.version()), (1, 2));
        assert_eq!(Rounding::of_version(None), Rounding::PerFill, "fills from before versions were stored");
    }

    #[test]
    fn many_small_fills_cost_the_same_as_one() {
        let one = totals(Side::Buy, &[("0.3565", "5912")]).0;
        let many = totals(Side::Buy, &[("0.3565", "1"); 5912]).0;
        assert_eq!((one.amount.to_string(), many.amount.to_string()), ("2107.63".into(), "2107.63".into()));
        assert_eq!(many.price.unwrap().to_string(), "0.356500");
    }

    #[test]
    fn each_fill_books_the_difference_to_the_rounded_sum() {
        // 0.125, 0.25, 0.375 and 0.50 are rounded half-even to 0.12, 0.25, 0.38 and 0.50.
        let (sum, booked) = totals(Side::Sell, &[("1.25", "0.1"); 4]);
        assert_eq!(booked, ["0.12", "0.13", "0.13", "0.12"]);
        assert_eq!((sum.amount.to_string(), sum.exact.to_string()), ("0.50".into(), "0.50".into()));
        let (_, booked) = totals(Side::Buy, &[("0.0010", "1"), ("0.0010", "3"), ("0.0010", "2")]);
        assert_eq!(booked, ["0.00", "0.00", "0.01"]);
    }

    #[test]
    fn the_average_is_rounded_toward_the_limit() {
        let fills = [("0.3565", "1"), ("0.3564", "1"), ("0.3564", "1")];
        // 1.0693 / 3 = 0.35643333…
        assert_eq!(totals(Side::Buy, &fills).0.price.unwrap().to_string(), "0.356434");
        assert_eq!(totals(Side::Sell, &fills).0.price.unwrap().to_string(), "0.356433");
    }

    #[test]
    fn fills_without_a_version_keep_the_first_rule() {
        let mut totals = FillTotals::default();
        let (price, one) = ("0.3565".parse().unwrap(), Quantity::one());
        for _ in 0..10 {
            assert_eq!(totals.add(Rounding::PerFill, Side::Buy, &price, &one).to_string(), "0.36");
        }
        assert_eq!(totals.amount.to_string(), "3.60");
        // The order continues from the booked amount: 3.60 + 0.3565 × 3 = 4.6695.
        let booked: Money = (0..3).map(|_| totals.add(Rounding::Cumulative, Side::Buy, &price, &one)).sum();
        assert_eq!((booked.to_string(), totals.amount.to_string()), ("1.07".into(), "4.67".into()));
    }

    #[test]
    fn a_split_puts_the_average_into_new_shares() {
        let (mut sum, _) = totals(Side::Buy, &[("90.00", "40")]);
        assert!(sum.split(Side::Buy, "10:1".parse().unwrap()));
        sum.add(Rounding::Cumulative, Side::Buy, &"9.10".parse().unwrap(), &"600".parse().unwrap());
        // (90.00 × 40 + 9.10 × 600) / 1000
        assert_eq!(sum.price.unwrap().to_string(), "9.060000");
        assert_eq!(sum.quantity.to_string(), "1000");
        let (mut tiny, _) = totals(Side::Buy, &[("9000.00", "0.000000001")]);
        assert!(
            !tiny.split(Side::Buy, "1:10".parse().unwrap()) && tiny.quantity.to_string() == "0.000000001"
        );
    }

    proptest! {
        /// For any division of a quantity into fills: the booked amount is the same, no step is negative, and the sum
        /// is within half a cent of the exact sum and, with the average, on the right side of the limit.
        #[test]
        fn splitting_an_order_into_fills_changes_nothing(
            parts in prop::collection::vec(1_i64..2_000_000_000, 1..40),
            price in 1_i64..2_000_000,
            buys in any::<bool>(),
        ) {
            let side = if buys { Side::Buy } else { Side::Sell };
            let price = Price::from_scaled(price, 4);
            let billionths = |n: i64| Quantity(crate::decimal::Decimal::new(n.into(), 9));
            let (mut one, mut many) = (FillTotals::default(), FillTotals::default());
            one.add(Rounding::Cumulative, side, &price, &billionths(parts.iter().sum()));
            for part in &parts {
                let booked = many.add(Rounding::Cumulative, side, &price, &billionths(*part));
                prop_assert!(!booked.is_negative());
            }
            prop_assert_eq!(&one, &many);
            prop_assert_eq!(many.price, Some(AveragePrice::from(price)));
        }
    }
}
