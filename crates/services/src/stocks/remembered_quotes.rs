//! Quotes without database access: the stock, the recent corporate actions and the splits in effect are cached.

use domain::{Symbol, UserId};

use super::Stocks;
use super::quotes::{LatestAsTraded, QuoteReader};
use crate::error::Result;
use crate::stocks::LatestQuote;

impl Stocks {
    /// Returns the newest price of a cached stock, whose data may be two seconds behind the database. `None` if the
    /// stock is not cached or the database must be read: because the source has no price, a provider's price is stale,
    /// or the price may be of another company.
    pub(super) async fn quote_from_memory(
        &self,
        user: Option<UserId>,
        symbol: &Symbol,
    ) -> Result<Option<LatestQuote>> {
        let Some(stock) = self.instruments.remembered(symbol) else { return Ok(None) };
        let (now, one) = (self.market.now(), std::slice::from_ref(&stock));
        let mut found = self.latest_as_traded(QuoteReader::Waiting(user), one, now).await;
        self.show_prices_before_splits(one, &mut found).await?;
        let Some(Ok(LatestAsTraded { quote, why_stale })) = found.pop() else { return Ok(None) };
        if self.market.quotes.limits().is_some() {
            // The symbol may have passed to another company while the source was called.
            let is_same = self.instruments.remembered(symbol).is_some_and(|now| now.id == stock.id);
            if !is_same || why_stale.is_some() || self.corporate_actions.is_review_due(&stock) {
                return Ok(None);
            }
        }
        let quote = self.corporate_actions.in_recent_shares_at(stock.id, quote, now).await?;
        Ok(quote.map(|quote| LatestQuote { quote, why_stale }))
    }
}
