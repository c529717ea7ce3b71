//! Unconfirmed prices, and their confirmation by administrators.

use domain::plausibility::UnconfirmedPrice;
use domain::{Freshness, Price, PriceSource, Symbol, Timestamp};
use persistence::{StoreError, Tx, providers};

use crate::accounts::actor::Administrator;
use crate::error::{Error, Result};
use crate::idempotency::{self, DecisionAuthor, Once, OnceRequest};
use crate::log_target::SECURITY;
use crate::stocks::Stocks;

/// A price that the source reports and that is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnconfirmedQuote {
    pub symbol: Symbol,
    pub source: PriceSource,
    pub freshness: Freshness,
    pub price: UnconfirmedPrice,
}

impl From<providers::Unconfirmed> for UnconfirmedQuote {
    fn from(held: providers::Unconfirmed) -> Self {
        Self { symbol: held.symbol, source: held.source, freshness: held.freshness, price: held.price }
    }
}

/// The form in which a confirmed price is stored with an idempotency key: symbol, source, freshness, price, its market
/// time, when it was first and last seen, the doubt, and the accepted price.
type StoredPrice = (Symbol, PriceSource, Freshness, Price, Timestamp, (Timestamp, Timestamp), String, Price);

fn to_text(held: Option<&UnconfirmedQuote>) -> String {
    let stored = held.map(|held| {
        let UnconfirmedPrice { price, as_of, first_seen_at, last_seen_at, doubt, accepted } =
            held.price.clone();
        let (symbol, source, seen) =
            (held.symbol.clone(), held.source.clone(), (first_seen_at, last_seen_at));
        let stored: StoredPrice =
            (symbol, source, held.freshness, price, as_of, seen, doubt.as_str().to_owned(), accepted);
        stored
    });
    serde_json::to_string(&stored).expect("Invariant: a price can be written as JSON")
}

fn from_text(text: &str) -> Result<Option<UnconfirmedQuote>> {
    let corrupt = |fault: String| Error::from(StoreError::Corrupt(fault));
    let stored: Option<StoredPrice> =
        serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))?;
    let Some(stored) = stored else { return Ok(None) };
    let (symbol, source, freshness, price, as_of, (first_seen_at, last_seen_at), doubt, accepted) = stored;
    let doubt = doubt.parse().map_err(|_| corrupt(format!("unknown doubt about a price: {doubt}")))?;
    let price = UnconfirmedPrice { price, as_of, first_seen_at, last_seen_at, doubt, accepted };
    Ok(Some(UnconfirmedQuote { symbol, source, freshness, price }))
}

/// The longest reason for a confirmation, in characters.
const LONGEST_REASON: usize = 500;

impl Stocks {
    /// Returns the unconfirmed prices of this deployment's source, ordered by symbol.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn unconfirmed_prices(&self) -> Result<Vec<UnconfirmedQuote>> {
        let source = self.market.quotes.source();
        self.store
            .read(move |tx| {
                let held = providers::unconfirmed(tx, source.as_str(), None)?;
                Ok::<_, Error>(held.into_iter().map(UnconfirmedQuote::from).collect())
            })
            .await
    }

    /// The unconfirmed price of a symbol, if there is one.
    pub(crate) async fn unconfirmed_price(&self, symbol: &Symbol) -> Result<Option<UnconfirmedQuote>> {
        let (source, symbols) = (self.market.quotes.source(), [symbol.clone()]);
        self.store
            .read(move |tx| {
                Ok(providers::unconfirmed(tx, source.as_str(), Some(&symbols))?
                    .pop()
                    .map(UnconfirmedQuote::from))
            })
            .await
    }

    /// Confirms a price as [`Stocks::confirm_price_once`] does, without an idempotency key.
    ///
    /// # Errors
    /// The same as [`Stocks::confirm_price_once`].
    pub async fn confirm_price(
        &self,
        by: &Administrator,
        symbol: &Symbol,
        reason: &str,
    ) -> Result<Option<UnconfirmedQuote>> {
        let author = DecisionAuthor { administrator: by.clone(), key: None };
        self.confirm_price_once(symbol, reason, author).await.map(|confirmed| confirmed.value)
    }

    /// Makes the unconfirmed price of a symbol the accepted one; later prices are compared with it. The reason is
    /// logged. Returns the price; `None` when the symbol has no unconfirmed price, for example because another
    /// administrator has confirmed it.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a reason; [`Error::IdempotencyKeyReused`].
    pub async fn confirm_price_once(
        &self,
        symbol: &Symbol,
        reason: &str,
        author: DecisionAuthor,
    ) -> Result<Once<Option<UnconfirmedQuote>>> {
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
            return Err(Error::invalid("reason", "Enter a reason of up to 500 characters."));
        }
        let (source, symbols, wall) =
            (self.market.quotes.source(), [symbol.clone()], self.market.clock.wall());
        let request = OnceRequest::by(&author, format!("confirm price {symbol} {reason}"));
        let act = move |tx: &mut Tx<'_>| {
            let found = providers::unconfirmed(tx, source.as_str(), Some(&symbols))?.pop();
            if let Some(found) = &found {
                providers::accept(tx, found, wall)?;
            }
            let found = found.map(UnconfirmedQuote::from);
            let answer = to_text(found.as_ref());
            Ok((found, answer))
        };
        let confirmed = idempotency::write_once(&self.store, move |tx| {
            request.carry_out_with_answer(tx, wall, act, from_text)
        })
        .await?;
        if let Some(found) = confirmed.value.as_ref().filter(|_| !confirmed.replayed) {
            tracing::info!(
                target: SECURITY,
                event = "price_confirmed",
                %symbol,
                price = %found.price.price,
                as_of = %found.price.as_of,
                accepted_before = %found.price.accepted,
                reason,
                administrator = author.administrator.name(),
                "an administrator confirmed a price"
            );
        }
        Ok(confirmed)
    }
}
