//! The price source of a deployment, as recorded in its database.

use domain::{PriceSource, Quantity, Timestamp};
use persistence::{Store, StoreError, Tx, installation, orders, portfolios, positions, transactions};
use thiserror::Error;

use crate::log_target::SECURITY;
use crate::market::book_calendar;

/// The key of the price source in `installation`.
const PRICE_SOURCE: &str = "price_source";

#[derive(Debug, Error)]
pub enum PriceSourceError {
    #[error(
        "this installation's prices come from {recorded}, and there are positions or working orders at these prices. \
         MARKET_DATA and TRADING now select {configured}, which has other prices. Restore these settings, or start \
         once with --accept-price-source-change to continue with the new prices; open orders are canceled"
    )]
    Changed { recorded: String, configured: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Records an installation's price source. Another source is rejected while any stock is held or ordered, because
/// positions would suddenly have other values, unless the change is accepted. An accepted change cancels all open
/// orders at market time `now`, because their prices were chosen for the old source. Returns the number of canceled
/// orders.
///
/// # Errors
/// [`PriceSourceError::Changed`].
pub async fn claim_price_source(
    store: &Store,
    source: &PriceSource,
    accept_change: bool,
    now: Timestamp,
) -> std::result::Result<usize, PriceSourceError> {
    let configured = source.to_string();
    let (before, canceled) = store
        .write(move |tx| {
            // Processes that start at the same time agree on one source.
            installation::lock(tx)?;
            let before = check(tx, &configured, accept_change)?;
            let canceled = match &before {
                Some(before) => {
                    let reason = format!(
                        "the price source was changed from {before} to {configured}, which has other prices: place \
                         the order again"
                    );
                    book_calendar::record_former_source(tx, before)?;
                    cancel_open_orders(tx, &reason, now)?
                }
                None => 0,
            };
            installation::set(tx, PRICE_SOURCE, &configured).map_err(PriceSourceError::from)?;
            Ok::<_, PriceSourceError>((before, canceled))
        })
        .await?;
    if let Some(before) = before {
        tracing::warn!(
            target: SECURITY,
            event = "price_source_changed",
            before,
            after = %source,
            accepted = accept_change,
            canceled_orders = canceled,
            "the price source was changed"
        );
    }
    Ok(canceled)
}

/// Cancels all open orders for this reason. Returns their number.
pub(crate) fn cancel_open_orders(
    tx: &mut Tx<'_>,
    reason: &str,
    now: Timestamp,
) -> std::result::Result<usize, StoreError> {
    let owners = orders::portfolios_with_open(tx)?;
    let mut canceled = 0;
    for mut locked in portfolios::lock(tx, &owners)? {
        let portfolio = &mut locked.portfolio;
        let open = orders::open_ids(tx, portfolio.id)?;
        let mut groups = orders::groups(tx, &open)?;
        let pairs: Vec<_> = groups.iter().map(|group| (portfolio.id, group.root().stock_id)).collect();
        for ((_, stock), (position, reserved)) in positions::of_pairs(tx, &pairs)? {
            portfolio.positions.insert(stock, position);
            portfolio.reserved.shares.insert(stock, reserved);
        }
        let at = locked.last.max(now);
        for group in &mut groups {
            canceled += group.orders.iter().filter(|order| order.status.is_open()).count();
            portfolio
                .cancel_for(group, reason, at)
                .map_err(|fault| StoreError::Corrupt(fault.to_string()))?;
        }
        let changed: Vec<_> = groups.iter().flat_map(|group| &group.orders).collect();
        orders::update(tx, &changed)?;
        let none = Quantity::zero();
        let held: Vec<positions::ChangedPosition<'_>> = portfolio
            .positions
            .iter()
            .map(|(stock, position)| positions::ChangedPosition {
                portfolio: portfolio.id,
                stock: *stock,
                position,
                reserved: portfolio.reserved.shares.get(stock).unwrap_or(&none),
            })
            .collect();
        positions::save(tx, &held)?;
        portfolios::save_cash(tx, &[(portfolio, at)])?;
    }
    Ok(canceled)
}

/// Checks the source like [`claim_price_source`], without recording it; for commands that write prices beside the
/// servers.
///
/// # Errors
/// [`PriceSourceError::Changed`].
pub async fn check_price_source(
    store: &Store,
    source: &PriceSource,
) -> std::result::Result<(), PriceSourceError> {
    let configured = source.to_string();
    store.read(move |tx| check(tx, &configured, false).map(drop)).await
}

/// Returns the recorded source if it is another one.
fn check(
    tx: &mut Tx<'_>,
    configured: &str,
    accept_change: bool,
) -> std::result::Result<Option<String>, PriceSourceError> {
    let recorded = recorded_price_source(tx)?;
    let Some(recorded) = recorded.filter(|recorded| recorded != configured) else { return Ok(None) };
    match !accept_change && has_priced_books(tx)? {
        true => Err(PriceSourceError::Changed { recorded, configured: configured.to_owned() }),
        false => Ok(Some(recorded)),
    }
}

/// Returns the installation's price source; `None` if none was recorded yet.
pub(crate) fn recorded_price_source(tx: &mut Tx<'_>) -> std::result::Result<Option<String>, StoreError> {
    match installation::get(tx, PRICE_SOURCE)? {
        Some(recorded) => Ok(Some(recorded)),
        // Older databases have no record: the source of the newest fill counts.
        None => transactions::newest_quote_source(tx),
    }
}

/// Whether any stock is held or ordered, so that another source would change values.
pub(crate) fn has_priced_books(tx: &mut Tx<'_>) -> std::result::Result<bool, StoreError> {
    Ok(!positions::holders(tx)?.is_empty() || !orders::stocks_with_open(tx)?.is_empty())
}
