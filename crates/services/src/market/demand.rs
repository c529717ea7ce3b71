//! The stocks whose prices are needed, and their use.

use chrono::DateTime;
use domain::{Stock, Timestamp};
use persistence::{StoreError, Tx, orders, positions, stocks};

use crate::error::Result;

/// The use of a stock's price, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PriceDemand {
    Orders,
    Positions,
    Lists,
}

/// Returns stocks that are or were held, are watched, or have open orders, the most urgent first: stocks with open
/// orders, then those held by the most portfolios, then watched ones. Among equals, the one with the oldest price comes
/// first.
pub(crate) fn stocks_in_use(tx: &mut Tx<'_>) -> Result<Vec<Stock>> {
    stocks_by_urgency(tx, DateTime::UNIX_EPOCH.into())
}

/// Like [`stocks_in_use`], but held and ordered stocks whose price is older than `neglected` come first, so that many
/// stocks with open orders do not block the others forever.
pub(crate) fn stocks_by_urgency(tx: &mut Tx<'_>, neglected: Timestamp) -> Result<Vec<Stock>> {
    Ok(by_urgency(tx, neglected)?.into_iter().map(|(_, stock)| stock).collect())
}

pub(crate) fn count_in_use(tx: &mut Tx<'_>) -> std::result::Result<usize, StoreError> {
    Ok(demand(tx)?.len())
}

/// Like [`stocks_in_use`], with the use of each price.
pub(crate) fn demand(tx: &mut Tx<'_>) -> std::result::Result<Vec<(PriceDemand, Stock)>, StoreError> {
    by_urgency(tx, DateTime::UNIX_EPOCH.into())
}

fn by_urgency(
    tx: &mut Tx<'_>,
    neglected: Timestamp,
) -> std::result::Result<Vec<(PriceDemand, Stock)>, StoreError> {
    let ordered = orders::stocks_with_open(tx)?;
    let holders: std::collections::HashMap<_, _> = positions::holders(tx)?.into_iter().collect();
    let mut found = stocks::in_use(tx)?;
    let missing: Vec<_> =
        ordered.iter().filter(|id| found.iter().all(|stock| stock.id != **id)).copied().collect();
    found.extend(stocks::by_ids(tx, &missing)?);
    found.sort_by_key(|stock| {
        let waits = ordered.binary_search(&stock.id).is_ok();
        let held_by = holders.get(&stock.id).copied().unwrap_or(0);
        let is_neglected = stock.last.as_ref().is_some_and(|last| last.as_of < neglected);
        (
            !(is_neglected && (waits || held_by > 0)),
            !waits,
            held_by == 0,
            stock.last.as_ref().map(|last| last.as_of),
            -held_by,
            stock.listing.symbol.clone(),
        )
    });
    let wanted = |stock: &Stock| match ordered.binary_search(&stock.id) {
        Ok(_) => PriceDemand::Orders,
        Err(_) if holders.contains_key(&stock.id) => PriceDemand::Positions,
        Err(_) => PriceDemand::Lists,
    };
    Ok(found.into_iter().map(|stock| (wanted(&stock), stock)).collect())
}
