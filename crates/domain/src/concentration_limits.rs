//! Limits on the share of one stock, one sector or cash in a portfolio, and the parts above them.

use crate::Symbol;
use crate::composition::Composition;

/// A limit as a share of total value: whole percent from 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LimitPercent(u8);

impl LimitPercent {
    /// Creates a limit; `None` outside of 1 to 100.
    pub fn new(percent: i64) -> Option<Self> {
        u8::try_from(percent).ok().filter(|percent| (1..=100).contains(percent)).map(Self)
    }

    pub fn get(self) -> u8 {
        self.0
    }

    /// Whether a weight (a ratio) is above the limit.
    fn is_exceeded_by(self, weight: f64) -> bool {
        weight > f64::from(self.0) / 100.0
    }
}

/// The limits of a portfolio; `None` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConcentrationLimits {
    /// The limit for each stock or fund.
    pub stock: Option<LimitPercent>,
    /// The limit for each sector, except funds and stocks of an unknown sector.
    pub sector: Option<LimitPercent>,
    pub cash: Option<LimitPercent>,
}

impl Default for ConcentrationLimits {
    /// 25 % for a stock, 40 % for a sector, no limit for cash.
    fn default() -> Self {
        Self { stock: Some(LimitPercent(25)), sector: Some(LimitPercent(40)), cash: None }
    }
}

/// A part of a portfolio that has a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitedPart {
    Stock(Symbol),
    Sector(String),
    Cash,
}

/// A part whose weight exceeds its limit.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitExceeded {
    pub part: LimitedPart,
    /// The share of total value, a ratio.
    pub weight: f64,
    pub limit: LimitPercent,
}

/// The names that price sources and [`Composition`] use for funds and for stocks without a sector.
const NO_SECTOR: [&str; 2] = ["Fund", "Other"];

impl ConcentrationLimits {
    /// Returns the parts above their limits: stocks, then sectors, each with the largest first, then cash. A part
    /// exactly at its limit is not included.
    pub fn exceeded(&self, composition: &Composition) -> Vec<LimitExceeded> {
        let above = |limit: Option<LimitPercent>, part, weight| {
            let limit = limit.filter(|limit| limit.is_exceeded_by(weight))?;
            Some(LimitExceeded { part, weight, limit })
        };
        let stocks = composition.stocks.iter();
        let stocks =
            stocks.filter_map(|slice| above(self.stock, LimitedPart::Stock(slice.of.clone()), slice.weight));
        let sectors = composition.sectors.iter().filter(|slice| !NO_SECTOR.contains(&slice.of.as_str()));
        let sectors = sectors
            .filter_map(|slice| above(self.sector, LimitedPart::Sector(slice.of.clone()), slice.weight));
        let cash = above(self.cash, LimitedPart::Cash, composition.cash.weight);
        stocks.chain(sectors).chain(cash).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Money;
    use crate::composition::Slice;

    fn slice<K>(of: K, percent: u32) -> Slice<K> {
        Slice {
            of,
            market_value: Money::from_cents(i64::from(percent) * 100),
            weight: f64::from(percent) / 100.0,
        }
    }

    fn composition() -> Composition {
        let symbol = |text: &str| text.parse().unwrap();
        Composition {
            total_value: Money::from_cents(10_000),
            cash: slice((), 12),
            dividends_receivable: slice((), 1),
            stocks: vec![slice(symbol("AAPL"), 30), slice(symbol("VTI"), 26), slice(symbol("MSFT"), 25)],
            sectors: vec![
                slice("Technology".to_owned(), 55),
                slice("Fund".to_owned(), 50),
                slice("Other".to_owned(), 45),
            ],
            concentration: None,
        }
    }

    fn limits(stock: i64, sector: i64, cash: i64) -> ConcentrationLimits {
        ConcentrationLimits {
            stock: LimitPercent::new(stock),
            sector: LimitPercent::new(sector),
            cash: LimitPercent::new(cash),
        }
    }

    #[test]
    fn a_part_exactly_at_its_limit_does_not_exceed_it() {
        let parts = |limits: ConcentrationLimits| {
            let exceeded = limits.exceeded(&composition());
            exceeded.into_iter().map(|exceeded| (exceeded.part, exceeded.limit.get())).collect::<Vec<_>>()
        };
        let stock = |text: &str| LimitedPart::Stock(text.parse().unwrap());
        let technology = || LimitedPart::Sector("Technology".to_owned());
        assert_eq!(
            parts(ConcentrationLimits::default()),
            [(stock("AAPL"), 25), (stock("VTI"), 25), (technology(), 40)],
            "MSFT is exactly at its limit; funds and others are no sectors; cash has no limit"
        );
        assert_eq!(parts(limits(30, 55, 12)), []);
        assert_eq!(
            parts(limits(29, 54, 11)),
            [(stock("AAPL"), 29), (technology(), 54), (LimitedPart::Cash, 11)]
        );
        assert_eq!(parts(limits(0, 0, 0)), [], "no limits");
    }

    #[test]
    fn a_limit_is_from_1_to_100() {
        let valid = [-1, 0, 1, 100, 101, 256, i64::MAX].map(|percent| LimitPercent::new(percent).is_some());
        assert_eq!(valid, [false, false, true, true, false, false, false]);
    }
}
