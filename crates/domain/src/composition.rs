//! The composition of a portfolio: weights by stock and by sector, and the concentration.

use std::collections::BTreeMap;

use crate::performance::{Figure, Table, UndefinedReason, Value, Workings};
use crate::{Holding, Money, Symbol, Valuation};

/// A part of the total value.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice<K> {
    pub of: K,
    pub market_value: Money,
    /// The share of total value, which includes cash; a ratio.
    pub weight: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Composition {
    pub total_value: Money,
    pub cash: Slice<()>,
    /// Dividends that are owed and not paid yet.
    pub dividends_receivable: Slice<()>,
    /// Largest first.
    pub stocks: Vec<Slice<Symbol>>,
    /// Largest first; the sector is `Other` if it is unknown.
    pub sectors: Vec<Slice<String>>,
    /// `None` if nothing is held.
    pub concentration: Option<Concentration>,
}

/// Over the positions only, without cash.
#[derive(Debug, Clone, PartialEq)]
pub struct Concentration {
    /// Herfindahl–Hirschman index: Σ w², from 1/n (even) to 1 (a single stock).
    pub herfindahl: f64,
    /// 1 / HHI: the number of equal positions with the same concentration.
    pub effective_positions: f64,
    pub level: ConcentrationLevel,
    /// Weight of the largest position, and of the five largest.
    pub top_1: f64,
    pub top_5: f64,
}

/// The level of concentration: an HHI below 0.10 is broad, up to 0.18 moderate, above it concentrated. These are the
/// bounds that United States antitrust guidelines used for markets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConcentrationLevel {
    Broad,
    Moderate,
    Concentrated,
}

impl ConcentrationLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broad => "broad",
            Self::Moderate => "moderate",
            Self::Concentrated => "concentrated",
        }
    }
}

impl Composition {
    pub fn from_valuation(valuation: &Valuation) -> Self {
        let mut by_sector: BTreeMap<&str, Money> = BTreeMap::new();
        for holding in &valuation.holdings {
            *by_sector.entry(known_sector(&holding.listing.sector)).or_insert_with(Money::zero) +=
                &holding.market_value;
        }
        let mut sectors: Vec<Slice<String>> =
            by_sector.into_iter().map(|(sector, value)| slice(valuation, sector.to_owned(), value)).collect();
        sectors.sort_by(|a, b| b.market_value.cmp(&a.market_value).then_with(|| a.of.cmp(&b.of)));
        let stocks = valuation
            .holdings
            .iter()
            .map(|holding| slice(valuation, holding.listing.symbol.clone(), holding.market_value.clone()))
            .collect();
        Self {
            total_value: valuation.total_value.clone(),
            cash: slice(valuation, (), valuation.cash_balance.clone()),
            dividends_receivable: slice(valuation, (), valuation.dividends_receivable.clone()),
            stocks,
            sectors,
            concentration: Concentration::from_valuation(valuation, &mut Workings::off()).ok(),
        }
    }
}

fn slice<K>(valuation: &Valuation, of: K, market_value: Money) -> Slice<K> {
    let weight = valuation.weight(&market_value);
    Slice { of, market_value, weight }
}

impl Concentration {
    /// Computes the concentration of the positions of a valuation.
    ///
    /// # Errors
    /// [`UndefinedReason::NothingInvested`] when there are no positions, or their value is zero.
    pub(crate) fn from_valuation(valuation: &Valuation, work: &mut Workings) -> Figure<Self> {
        work.input("positions", "Positions", || {
            let columns = [("symbol", "Symbol"), ("market_value", "Market value")];
            let row = |holding: &Holding| {
                vec![
                    Value::Symbol(holding.listing.symbol.clone()),
                    Value::Money(holding.market_value.clone()),
                ]
            };
            Value::Table(Table::new(&columns, valuation.holdings.iter().map(row)))
        });
        let invested = valuation.positions_value.to_f64();
        work.step("positions_value", "All market values", || Value::Money(valuation.positions_value.clone()));
        if invested <= 0.0 {
            return Err(UndefinedReason::NothingInvested);
        }
        // The largest come first: the valuation is sorted.
        let weights: Vec<f64> =
            valuation.holdings.iter().map(|holding| holding.market_value.to_f64() / invested).collect();
        work.step("weights", "Share of each position", || {
            let rows =
                weights.iter().map(|weight| vec![Value::Ratio(*weight), Value::Number(weight * weight)]);
            Value::Table(Table::new(&[("weight", "Share"), ("square", "Share squared")], rows))
        });
        let herfindahl = weights.iter().map(|weight| weight * weight).sum();
        Ok(Self {
            herfindahl,
            effective_positions: 1.0 / herfindahl,
            level: match herfindahl {
                index if index < 0.10 => ConcentrationLevel::Broad,
                index if index <= 0.18 => ConcentrationLevel::Moderate,
                _ => ConcentrationLevel::Concentrated,
            },
            top_1: weights.iter().take(1).sum(),
            top_5: weights.iter().take(5).sum(),
        })
    }
}

/// Rounds ratios to tenths of a percent whose sum is the rounded total, by the largest-remainder method: three thirds
/// become 33.4, 33.3 and 33.3.
pub fn tenths_of_percent(ratios: &[f64]) -> Vec<i64> {
    let exact: Vec<f64> = ratios.iter().map(|ratio| ratio.max(0.0) * 1000.0).collect();
    #[expect(clippy::cast_possible_truncation, reason = "a share of a whole: 0 to 1000")]
    let whole = |value: f64| value as i64;
    let mut tenths: Vec<i64> = exact.iter().map(|value| whole(value.floor())).collect();
    let missing = whole(exact.iter().sum::<f64>().round()) - tenths.iter().sum::<i64>();
    let mut by_remainder: Vec<usize> = (0..exact.len()).collect();
    by_remainder.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()).then(a.cmp(&b)));
    for &index in by_remainder.iter().take(usize::try_from(missing).unwrap_or(0)) {
        tenths[index] += 1;
    }
    tenths
}

/// The name of a sector, `Other` if it is empty.
pub(crate) fn known_sector(sector: &str) -> &str {
    if sector.is_empty() { "Other" } else { sector }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_add_up_to_the_whole() {
        assert_eq!(tenths_of_percent(&[1.0 / 3.0; 3]), [334, 333, 333]);
        assert_eq!(tenths_of_percent(&[0.5, 0.25, 0.25]), [500, 250, 250]);
        assert_eq!(tenths_of_percent(&[]), [0; 0]);
        let uneven: Vec<f64> = (1..=7).map(|n| f64::from(n) / 28.0).collect();
        assert_eq!(tenths_of_percent(&uneven).iter().sum::<i64>(), 1000);
    }
}
