//! The combined holdings of several portfolios.

use std::collections::BTreeMap;

use crate::composition::{Slice, known_sector};
use crate::{Money, Symbol, Valuation};

/// The parts of several portfolios together. Weights are shares of the total value.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    pub total_value: Money,
    pub cash: Slice<()>,
    /// Dividends that are owed and not paid yet.
    pub dividends_receivable: Slice<()>,
    /// The largest first. A stock that several portfolios hold appears once.
    pub stocks: Vec<Slice<Symbol>>,
    /// The largest first. The sector is `Other` if it is unknown.
    pub sectors: Vec<Slice<String>>,
}

impl Allocation {
    pub fn of<'a>(valuations: impl Iterator<Item = &'a Valuation> + Clone) -> Self {
        let sum = |part: fn(&Valuation) -> &Money| -> Money { valuations.clone().map(part).sum() };
        let total_value = sum(|valuation| &valuation.total_value);
        let mut by_stock: BTreeMap<&Symbol, Money> = BTreeMap::new();
        let mut by_sector: BTreeMap<&str, Money> = BTreeMap::new();
        for holding in valuations.clone().flat_map(|valuation| &valuation.holdings) {
            let listing = &holding.listing;
            *by_stock.entry(&listing.symbol).or_insert_with(Money::zero) += &holding.market_value;
            *by_sector.entry(known_sector(&listing.sector)).or_insert_with(Money::zero) +=
                &holding.market_value;
        }
        Self {
            cash: slice(&total_value, (), sum(|valuation| &valuation.cash_balance)),
            dividends_receivable: slice(&total_value, (), sum(|valuation| &valuation.dividends_receivable)),
            stocks: largest_first(
                by_stock.into_iter().map(|(symbol, value)| slice(&total_value, symbol.clone(), value)),
            ),
            sectors: largest_first(
                by_sector.into_iter().map(|(sector, value)| slice(&total_value, sector.to_owned(), value)),
            ),
            total_value,
        }
    }
}

fn slice<K>(total: &Money, of: K, market_value: Money) -> Slice<K> {
    let weight = if total.is_zero() { 0.0 } else { market_value.to_f64() / total.to_f64() };
    Slice { of, market_value, weight }
}

/// Parts of equal size are ordered by name.
fn largest_first<K>(slices: impl Iterator<Item = Slice<K>>) -> Vec<Slice<K>> {
    let mut slices: Vec<_> = slices.collect();
    slices.sort_by(|a, b| b.market_value.cmp(&a.market_value));
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_allocation_has_no_weights() {
        let nothing = Allocation::of(std::iter::empty());
        assert_eq!((nothing.cash.weight, nothing.total_value), (0.0, Money::zero()));
        assert!(nothing.stocks.is_empty() && nothing.sectors.is_empty());
    }
}
