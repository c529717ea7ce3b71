//! Prices that are not confirmed: which there are, and administrators who confirm one.

use domain::Symbol;
use persistence::providers;

pub use persistence::providers::Unconfirmed;

use crate::Services;
use crate::error::{Error, Result};
use crate::log_target::SECURITY;

/// The longest reason for a confirmation, in characters.
const LONGEST_REASON: usize = 500;

impl Services {
    /// The prices of this deployment's source that are not confirmed, in order of symbol.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn unconfirmed_prices(&self) -> Result<Vec<Unconfirmed>> {
        let source = self.market.quotes.source();
        self.store
            .read(move |tx| providers::unconfirmed(tx, source.as_str(), None).map_err(Error::from))
            .await
    }

    /// The unconfirmed price of a symbol, if there is one.
    pub(crate) async fn unconfirmed_price(&self, symbol: &Symbol) -> Result<Option<Unconfirmed>> {
        let (source, symbols) = (self.market.quotes.source(), [symbol.clone()]);
        self.store
            .read(move |tx| Ok(providers::unconfirmed(tx, source.as_str(), Some(&symbols))?.pop()))
            .await
    }

    /// Makes the unconfirmed price of a symbol the accepted one, for a reason that is logged. Later prices are compared with
    /// it. Answers it; `None` when no price of the symbol waits, as after somebody else has confirmed it.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a reason.
    pub async fn confirm_price(&self, symbol: &Symbol, reason: &str) -> Result<Option<Unconfirmed>> {
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
                "an administrator confirmed a price"
            );
        }
        Ok(confirmed)
    }
}
