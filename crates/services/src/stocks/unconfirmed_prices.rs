//! Prices that are not confirmed: which there are, and administrators who confirm one.

use domain::plausibility::UnconfirmedPrice;
use domain::{Freshness, PriceSource, Symbol};
use persistence::providers;

use crate::accounts::actor::Administrator;
use crate::error::{Error, Result};
use crate::log_target::SECURITY;
use crate::stocks::Stocks;

/// A price that its source tells and that is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPrice {
    pub symbol: Symbol,
    pub source: PriceSource,
    pub freshness: Freshness,
    pub price: UnconfirmedPrice,
}

impl From<providers::Unconfirmed> for HeldPrice {
    fn from(held: providers::Unconfirmed) -> Self {
        Self { symbol: held.symbol, source: held.source, freshness: held.freshness, price: held.price }
    }
}

/// The longest reason for a confirmation, in characters.
const LONGEST_REASON: usize = 500;

impl Stocks {
    /// The prices of this deployment's source that are not confirmed, in order of symbol.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn unconfirmed_prices(&self) -> Result<Vec<HeldPrice>> {
        let source = self.market.quotes.source();
        self.store
            .read(move |tx| {
                let held = providers::unconfirmed(tx, source.as_str(), None)?;
                Ok::<_, Error>(held.into_iter().map(HeldPrice::from).collect())
            })
            .await
    }

    /// The unconfirmed price of a symbol, if there is one.
    pub(crate) async fn unconfirmed_price(&self, symbol: &Symbol) -> Result<Option<HeldPrice>> {
        let (source, symbols) = (self.market.quotes.source(), [symbol.clone()]);
        self.store
            .read(move |tx| {
                Ok(providers::unconfirmed(tx, source.as_str(), Some(&symbols))?.pop().map(HeldPrice::from))
            })
            .await
    }

    /// Makes the unconfirmed price of a symbol the accepted one, for a reason that is logged. Later prices are compared with
    /// it. Answers it; `None` when no price of the symbol waits, as after somebody else has confirmed it.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a reason.
    pub async fn confirm_price(
        &self,
        by: &Administrator,
        symbol: &Symbol,
        reason: &str,
    ) -> Result<Option<HeldPrice>> {
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
            return Err(Error::invalid("reason", "Enter a reason of up to 500 characters."));
        }
        let (source, symbols, wall) =
            (self.market.quotes.source(), [symbol.clone()], self.market.clock.wall());
        let confirmed = self
            .store
            .write(move |tx| {
                let found = providers::unconfirmed(tx, source.as_str(), Some(&symbols))?.pop();
                if let Some(found) = &found {
                    providers::accept(tx, found, wall)?;
                }
                Ok::<_, Error>(found)
            })
            .await?;
        if let Some(found) = &confirmed {
            tracing::info!(
                target: SECURITY,
                event = "price_confirmed",
                %symbol,
                price = %found.price.price,
                as_of = %found.price.as_of,
                accepted_before = %found.price.accepted,
                reason,
                administrator = by.name(),
                "an administrator confirmed a price"
            );
        }
        Ok(confirmed.map(HeldPrice::from))
    }
}
