//! Former symbols of stocks. A former symbol finds its stock until another company is listed under it. From then on it
//! finds a new stock, and the renamed one keeps its new symbol.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::NaiveDate;
use domain::calendar::exchange_date;
use domain::company::{ReportedCompany, is_successor};
use domain::{Freshness, Listing, Stock, StockId, Symbol, UserId};
use market_data::{Purpose, QuoteError};
use persistence::listings::{self, Listed};
use persistence::{StoreError, Tx, former_symbols, reused_symbols, stocks};

use crate::error::{Error, Result};
use crate::market::instruments::Instruments;

/// The stock that this process last priced under each symbol. If the symbol now belongs to another stock, cached prices
/// are of the former one.
#[derive(Debug, Default)]
pub(crate) struct PricedStocks(Mutex<HashMap<Symbol, StockId>>);

impl PricedStocks {
    /// Whether the symbol belonged to another stock when it was last priced.
    fn is_another(&self, stock: &Stock) -> bool {
        let mut priced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match priced.get(&stock.listing.symbol) {
            Some(id) if *id == stock.id => false,
            _ => priced.insert(stock.listing.symbol.clone(), stock.id).is_some(),
        }
    }
}

/// A company as a source reports it, with the day of the report.
struct CompanyReport {
    listing: Listing,
    company: ReportedCompany,
    on: NaiveDate,
}

impl Instruments {
    /// Removes the cached prices of symbols that belonged to another stock when they were last priced.
    pub(crate) async fn forget_prices_of_others(&self, stocks: impl Iterator<Item = &Stock>) {
        if self.market.quotes.limits().is_none() {
            return;
        }
        for stock in stocks.filter(|stock| self.priced.is_another(stock)) {
            self.market.quotes.forget(&stock.listing.symbol).await;
        }
    }

    /// Finds the stock of a former symbol of `former`: the stock of another company if one is now listed under it,
    /// otherwise `former`. If no table of listings names the company, the source is called, which counts against the
    /// user's calls for new symbols.
    pub(crate) async fn stock_by_former_symbol(
        &self,
        user: Option<UserId>,
        symbol: &Symbol,
        former: Stock,
    ) -> Result<Stock> {
        let Some(reported) = self.company_listed_as(user, symbol).await? else { return Ok(former) };
        let (asked, id) = (symbol.clone(), former.id);
        let is_other = self
            .store
            .read(move |tx| {
                is_other(tx, &asked, id, &reported).map(|is| is.then_some(reported)).map_err(Error::from)
            })
            .await?;
        let Some(reported) = is_other else { return Ok(former) };
        let stock = self
            .store
            .write(move |tx| {
                let stock = stocks::add(tx, &reported.listing)?;
                if let Some(listed_on) = reported.company.listed_on {
                    reused_symbols::keep_listed_on(tx, stock.id, listed_on)?;
                }
                Ok::<_, Error>(stock)
            })
            .await?;
        tracing::warn!(
            event = "former_symbol_reused",
            %symbol,
            of = %former.listing.symbol,
            company = stock.listing.company_name,
            "another company is listed under the former symbol of a stock"
        );
        self.forget(symbol);
        Ok(stock)
    }

    /// Returns the company that is listed under the symbol; `None` if none is known.
    async fn company_listed_as(
        &self,
        user: Option<UserId>,
        symbol: &Symbol,
    ) -> Result<Option<CompanyReport>> {
        let quotes = &self.market.quotes;
        if quotes.freshness() == Freshness::Simulated {
            // This source has already reported all its stocks at the start.
            return Ok(None);
        }
        if quotes.limits().is_some() {
            let (source, asked) = (quotes.source(), symbol.clone());
            let table = self.store.read(move |tx| {
                let is_there = listings::state(tx, source.as_str())?.is_some();
                let row = listings::details_by_symbol(tx, source.as_str(), &asked)?;
                Ok::<_, Error>(is_there.then_some((row, listings::by_symbol(tx, source.as_str(), &asked)?)))
            });
            if let Some((row, listing)) = table.await? {
                return Ok(row.zip(listing).map(|((row, at), listing)| {
                    let Listed { company_name: name, is_fund, listed_on, .. } = row;
                    CompanyReport {
                        listing,
                        company: ReportedCompany { name, is_fund, listed_on },
                        on: exchange_date(at),
                    }
                }));
            }
        }
        let (purpose, now) = (Purpose::FirstSight { user }, self.market.now());
        let listing = match quotes.listing(purpose, symbol, now).await {
            Ok(listing) => listing,
            Err(error) => {
                tracing::debug!(%symbol, error = &error as &dyn std::error::Error, "no company is listed under a former symbol");
                return Ok(None);
            }
        };
        if quotes.observed_company(symbol).is_none() && !quotes.is_scarce() {
            // The answer about the price contains the listing date.
            let answer = quotes.quotes(purpose, std::slice::from_ref(symbol), now).await.pop();
            if let Some(Err(QuoteError::UnknownSymbol(_))) = answer {
                return Ok(None);
            }
        }
        let seen = quotes.observed_company(symbol);
        let company = ReportedCompany {
            name: listing.company_name.clone(),
            is_fund: listing.sector == listings::FUND,
            listed_on: seen.and_then(|seen| seen.listed_on),
        };
        Ok(Some(CompanyReport { listing, company, on: exchange_date(now) }))
    }
}

fn is_other(
    tx: &mut Tx<'_>,
    symbol: &Symbol,
    former: StockId,
    reported: &CompanyReport,
) -> std::result::Result<bool, StoreError> {
    let Some((holder, given_up_on)) = former_symbols::last_holder(tx, symbol)? else { return Ok(false) };
    let Some(stock) = stocks::by_ids(tx, &[former])?.pop().filter(|stock| stock.id == holder) else {
        return Ok(false);
    };
    let now = stock.listing.symbol.clone();
    let known = reused_symbols::companies(tx, std::slice::from_ref(&now))?;
    let is_named = reported.company.name.trim() != symbol.as_str();
    Ok(is_named
        && known
            .get(&now)
            .is_some_and(|(_, known)| is_successor(known, given_up_on, &reported.company, reported.on)))
}
