//! The shared state of a provider's gateway in the database, for all processes and across restarts.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{NaiveDate, TimeDelta};
use domain::plausibility::UnconfirmedPrice;
use domain::{PriceSource, Quote, SplitHistory, Symbol, Timestamp};
use market_data::{
    BudgetStore, ListedStock, Published, QuoteError, Series, Slot, StoreFailed, UnconfirmedQuote, Window,
};
use persistence::providers::Unconfirmed;
use persistence::{Store, StoreError, Tx, corporate_actions, providers, stocks};

use crate::market::companies::CompanyComparison;
use crate::market::stock_memory::StockChanges;

/// The store of the provider's state. Each method is one short transaction.
#[derive(Clone)]
pub(crate) struct ProviderStore {
    pub store: Store,
    pub stock_changes: StockChanges,
}

impl ProviderStore {
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreFailed> {
        self.store.write(work).await.map_err(failed)
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreFailed> {
        self.store.read(work).await.map_err(failed)
    }
}

fn failed(error: StoreError) -> StoreFailed {
    tracing::error!(error = &error as &dyn std::error::Error, "the counters of provider calls");
    StoreFailed(error.to_string())
}

fn row(published: &Published) -> (Quote, Timestamp) {
    (published.quote.clone(), published.fetched_at)
}

#[async_trait]
impl BudgetStore for ProviderStore {
    async fn try_spend(&self, window: &Window, limit: u32) -> Result<bool, StoreFailed> {
        let window = window.clone();
        self.write(move |tx| providers::try_spend(tx, &window.key, window.ends_at, limit)).await
    }

    async fn spent(&self, window: &Window) -> Result<u32, StoreFailed> {
        let key = window.key.clone();
        self.read(move |tx| providers::spent(tx, &key)).await
    }

    async fn take_slot(
        &self,
        provider: &str,
        now: Timestamp,
        gap: TimeDelta,
        latest: Timestamp,
    ) -> Result<Slot, StoreFailed> {
        let provider = provider.to_owned();
        self.write(move |tx| {
            let next = providers::lock_queue(tx, &provider, now)?.max(now);
            if next > latest {
                return Ok(Slot::NotBefore(next));
            }
            providers::set_next_call(tx, &provider, next + gap)?;
            Ok(Slot::At(next))
        })
        .await
    }

    async fn next_slot(&self, provider: &str) -> Result<Option<Timestamp>, StoreFailed> {
        let provider = provider.to_owned();
        let record = self.read(move |tx| providers::record(tx, &provider)).await?;
        Ok(record.map(|record| record.next_call_at))
    }

    async fn hold(&self, provider: &str, until: Timestamp) -> Result<(), StoreFailed> {
        let provider = provider.to_owned();
        self.write(move |tx| {
            let next = providers::lock_queue(tx, &provider, until)?;
            providers::park(tx, &provider, next.max(until))
        })
        .await
    }

    async fn note(
        &self,
        provider: &str,
        at: Timestamp,
        failure: Option<&QuoteError>,
    ) -> Result<(), StoreFailed> {
        let (provider, failure) = (provider.to_owned(), failure.map(ToString::to_string));
        self.write(move |tx| {
            providers::lock_queue(tx, &provider, at)?;
            match failure {
                Some(failure) => providers::note_failure(tx, &provider, &failure, at),
                None => providers::note_answer(tx, &provider, at),
            }
        })
        .await
    }

    async fn try_lease(
        &self,
        name: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreFailed> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(move |tx| providers::try_lease(tx, &name, &holder, now, until)).await
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreFailed> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(move |tx| providers::release(tx, &name, &holder)).await
    }

    async fn release_all(&self, holder: &str) -> Result<(), StoreFailed> {
        let holder = holder.to_owned();
        self.write(move |tx| providers::release_all(tx, &holder)).await
    }

    async fn publish(&self, quotes: &[Published]) -> Result<(), StoreFailed> {
        let rows: Vec<_> = quotes.iter().map(row).collect();
        self.write(move |tx| providers::publish(tx, &rows)).await?;
        self.stock_changes.record();
        Ok(())
    }

    /// Bars of a symbol without a stock are skipped: they come again with the next series.
    async fn keep_series(&self, series: &Series) -> Result<(), StoreFailed> {
        let series = series.clone();
        self.write(move |tx| {
            let quote = &series.close.quote;
            if let Some(stock) = stocks::with_symbol(tx, &quote.symbol)? {
                stocks::save_bars(tx, stock.id, quote.source.as_str(), &series.bars)?;
            }
            providers::publish(tx, &[row(&series.close)])
        })
        .await?;
        self.stock_changes.record();
        Ok(())
    }

    async fn unconfirmed_quotes(
        &self,
        source: &PriceSource,
        symbols: &[Symbol],
    ) -> Result<HashMap<Symbol, UnconfirmedPrice>, StoreFailed> {
        let (source, symbols) = (source.clone(), symbols.to_vec());
        let found = self.read(move |tx| providers::unconfirmed(tx, source.as_str(), Some(&symbols))).await?;
        Ok(found.into_iter().map(|held| (held.symbol, held.price)).collect())
    }

    async fn record_unconfirmed_quotes(
        &self,
        held: &[UnconfirmedQuote],
        settled: &[Symbol],
    ) -> Result<(), StoreFailed> {
        let rows: Vec<Unconfirmed> = held
            .iter()
            .map(|held| Unconfirmed {
                symbol: held.symbol.clone(),
                source: held.source.clone(),
                freshness: held.freshness,
                price: held.price.clone(),
            })
            .collect();
        let settled = settled.to_vec();
        self.write(move |tx| {
            providers::delete_unconfirmed(tx, &settled)?;
            providers::save_unconfirmed(tx, &rows)
        })
        .await
    }

    async fn splits(&self, symbol: &Symbol) -> Result<SplitHistory, StoreFailed> {
        let symbol = symbol.clone();
        self.read(move |tx| {
            let Some(stock) = stocks::with_symbol(tx, &symbol)? else { return Ok(SplitHistory::default()) };
            Ok(SplitHistory::of_known(&corporate_actions::of_stock(tx, stock.id)?))
        })
        .await
    }

    async fn split_days(&self, symbol: &Symbol) -> Result<Vec<NaiveDate>, StoreFailed> {
        let symbol = symbol.clone();
        self.read(move |tx| {
            let Some(stock) = stocks::with_symbol(tx, &symbol)? else { return Ok(Vec::new()) };
            let known = corporate_actions::of_stock(tx, stock.id)?;
            Ok(known
                .iter()
                .filter(|known| known.action.ratio().is_some())
                .map(|known| known.action.ex_on)
                .collect())
        })
        .await
    }

    async fn stocks_in_use(&self) -> Result<u32, StoreFailed> {
        let in_use = self.read(crate::market::demand::count_in_use).await?;
        Ok(u32::try_from(in_use).unwrap_or(u32::MAX))
    }

    async fn is_another_company(&self, reported: &ListedStock) -> Result<bool, StoreFailed> {
        let reported = reported.clone();
        let known = {
            let reported = reported.clone();
            self.read(move |tx| crate::market::companies::compare_company(tx, &reported)).await?
        };
        if known == CompanyComparison::SameWithoutDate {
            // The listing date is stored with the first price, so that a later company can be distinguished from this
            // one.
            self.write(move |tx| crate::market::companies::keep_date(tx, &reported)).await?;
        }
        Ok(known == CompanyComparison::Another)
    }

    async fn published(&self, symbols: &[Symbol]) -> Result<HashMap<Symbol, Published>, StoreFailed> {
        let symbols = symbols.to_vec();
        let found = self.read(move |tx| providers::published(tx, &symbols)).await?;
        Ok(found
            .into_iter()
            .map(|(quote, fetched_at)| (quote.symbol.clone(), Published { quote, fetched_at }))
            .collect())
    }
}
