//! Search for stocks, and import of the instruments of a source.

use std::sync::Arc;

use domain::calendar::exchange_date;
use domain::{CorporateAction, CorporateActionKind, Listing, StockId, Symbol};
use market_data::Catalogue;
use persistence::{listings as stored_listings, stocks};

use super::Stocks;
use crate::error::{Error, Result};
use crate::market::search_text::search_text;

impl Stocks {
    /// Stores the instruments of a source that lists them all. Can be repeated.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn import_catalogue(&self) -> Result<()> {
        let Catalogue::Complete(mut listings) = self.market.quotes.catalogue(self.market.now()) else {
            return Ok(());
        };
        let renamed = self.renamed(&listings).await?;
        // Rows of several stocks are always written in the order of their symbols, to avoid deadlocks.
        listings.sort_by(|a, b| a.symbol.cmp(&b.symbol));
        self.store
            .write(move |tx| {
                for (stock, action, listing) in &renamed {
                    crate::corporate_actions::rename(tx, *stock, action, Some(listing))?;
                }
                let symbols: Vec<Symbol> = listings.iter().map(|listing| listing.symbol.clone()).collect();
                let known = stocks::by_symbols(tx, &symbols)?;
                for listing in
                    listings.iter().filter(|listing| known.iter().all(|stock| *stock.listing != **listing))
                {
                    stocks::upsert(tx, listing)?;
                }
                Ok::<_, Error>(())
            })
            .await?;
        self.market.stock_changes.record();
        Ok(())
    }

    /// Finds renamed stocks: known stocks that a listing with an unknown symbol belongs to, with the rename.
    async fn renamed(&self, listings: &[Listing]) -> Result<Vec<(StockId, CorporateAction, Listing)>> {
        let now = self.market.now();
        let known = self.store.read(|tx| stocks::all(tx).map_err(Error::from)).await?;
        let id_of = |symbol: &Symbol| {
            known.iter().find(|stock| stock.listing.symbol == *symbol).map(|stock| stock.id)
        };
        let mut renamed = Vec::new();
        if known.is_empty() {
            return Ok(renamed);
        }
        for listing in listings.iter().filter(|listing| id_of(&listing.symbol).is_none()) {
            let first = domain::period::EARLIEST;
            let actions = self
                .market
                .quotes
                .corporate_actions(&listing.symbol, first, exchange_date(now), now)
                .await
                .unwrap_or_default();
            renamed.extend(actions.into_iter().filter_map(|action| match &action.kind {
                CorporateActionKind::SymbolChange { to } if *to == listing.symbol => {
                    Some((id_of(&action.symbol)?, action, listing.clone()))
                }
                _ => None,
            }));
        }
        Ok(renamed)
    }

    /// Returns instruments whose symbol or name matches, best match first.
    ///
    /// # Errors
    /// [`Error::SourceUnavailable`] if the source must be called and does not answer; [`Error::Invalid`] for a text
    /// that is too long.
    pub async fn search_stocks(&self, query: &str, limit: usize) -> Result<Vec<Listing>> {
        let query = search_text(query)?;
        if query.is_empty() {
            return Ok(Vec::new());
        }
        if self.market.quotes.limits().is_some()
            && let Some(found) = self.search_locally(query.clone(), limit).await?
        {
            // A user who searches for a symbol will probably open it, so it gets its price with the next idle call.
            if let Some(exact) =
                found.iter().find(|listing| listing.symbol.as_str().eq_ignore_ascii_case(&query))
                && self.market.quotes.is_scarce()
            {
                self.instruments.stock(&exact.symbol).await?;
            }
            return Ok(found);
        }
        self.market.quotes.search(&query, limit, self.market.now()).await.map_err(Error::from_search)
    }

    /// Searches the table of listings, or the known stocks if no table is stored and calls are few. `None` if the
    /// source must be called.
    async fn search_locally(&self, query: String, limit: usize) -> Result<Option<Vec<Listing>>> {
        let (source, most) = (self.market.quotes.source(), i64::try_from(limit).unwrap_or(i64::MAX));
        let is_scarce = self.market.quotes.is_scarce();
        self.store
            .read(move |tx| {
                if stored_listings::state(tx, source.as_str())?.is_some() {
                    return Ok(Some(stored_listings::search(tx, source.as_str(), &query, most)?));
                }
                if !is_scarce {
                    return Ok(None);
                }
                match stocks::page(tx, &query, None, most)? {
                    // An empty result is not an answer, because the table is not stored yet.
                    none if none.is_empty() => Err(Error::SourceUnavailable { retry_at: None }),
                    known => {
                        Ok(Some(known.into_iter().map(|stock| Arc::unwrap_or_clone(stock.listing)).collect()))
                    }
                }
            })
            .await
    }
}
