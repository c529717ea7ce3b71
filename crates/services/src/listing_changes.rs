//! Symbols that are used again: a stock whose symbol belongs to another company now.
//!
//! The stock of the old company keeps its holders and its last price under another symbol, is delisted, and its orders are
//! canceled. The symbol leads to a new stock. A table of listings tells of it, or a source's answers about prices; prices
//! of the other company are refused by the gateway until the books know.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{Days, NaiveDate};
use domain::calendar::exchange_date;
use domain::company::{KnownCompany, ToldCompany, is_another_company};
use domain::{
    Calendar, CorporateAction, CorporateActionKind, Currency, Listing, Session, SplitConfirmation, Stock,
    StockId, Symbol, Timestamp,
};
use market_data::ListedStock;
use persistence::corporate_actions::{self as actions, Told};
use persistence::{Tx, reused_symbols, stocks};

use crate::Services;
use crate::corporate_actions::{Stored, mark_snapshots};
use crate::error::{Error, Result};

/// Symbols that may change hands at once without being more than a twentieth of those that are known here. More are a table
/// with a fault.
const FEW_AT_ONCE: usize = 2;

/// The companies that this process has compared with the books, so that the same answer costs the database nothing.
#[derive(Debug, Default)]
pub(crate) struct ReviewedCompanies(Mutex<HashMap<Symbol, ListedStock>>);

impl ReviewedCompanies {
    fn has(&self, told: &ListedStock) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&told.symbol) == Some(told)
    }

    fn insert(&self, told: ListedStock) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(told.symbol.clone(), told);
    }
}

impl Services {
    /// [`Services::review_companies`] with what answers about the prices of these stocks have told.
    pub(crate) async fn review_seen_companies(&self, stocks: &[Stock]) -> Result<usize> {
        let seen = stocks.iter().filter_map(|stock| self.market.quotes.company_seen(&stock.listing.symbol));
        let new: Vec<ListedStock> = seen.filter(|told| !self.reviewed.has(told)).collect();
        let replaced = self.review_companies(&new).await?;
        for told in new {
            self.reviewed.insert(told);
        }
        Ok(replaced)
    }

    /// Compares what a source tells of companies with what is known of them, and replaces the stocks whose symbol belongs to
    /// another company. Answers how many were replaced.
    pub(crate) async fn review_companies(&self, told: &[ListedStock]) -> Result<usize> {
        if told.is_empty() {
            return Ok(0);
        }
        let (told, calendar, now) = (told.to_vec(), self.market.calendar, self.market.now());
        let replaced = self
            .store
            .write(move |tx| {
                let symbols: Vec<Symbol> = told.iter().map(|told| told.symbol.clone()).collect();
                let known = reused_symbols::companies(tx, &symbols)?;
                let mut replaced: Vec<Symbol> = Vec::new();
                let is_another = |told: &&ListedStock| {
                    let known = known.get(&told.symbol);
                    known.is_some_and(|(_, company)| is_another_company(company, &company_of(told)))
                };
                let others = told.iter().filter(is_another).count();
                if others > FEW_AT_ONCE && others * 20 > known.len() {
                    tracing::warn!(
                        others,
                        of = known.len(),
                        "so many symbols do not change hands at once: nothing is replaced"
                    );
                    return Ok(replaced);
                }
                for told in &told {
                    let Some((id, company)) = known.get(&told.symbol) else { continue };
                    if is_another_company(company, &company_of(told)) {
                        replace(tx, (*id, company), told, calendar, now)?;
                        replaced.push(told.symbol.clone());
                    } else if let Some(listed_on) = company.listed_on.or(told.listed_on) {
                        reused_symbols::keep_listed_on(tx, *id, listed_on)?;
                    }
                }
                Ok::<_, Error>(replaced)
            })
            .await?;
        for symbol in &replaced {
            tracing::warn!(event = "symbol_reused", %symbol, "a symbol belongs to another company: its old stock is delisted");
            self.known_stocks.forget(symbol);
            self.market.quotes.forget(symbol).await;
        }
        if !replaced.is_empty() {
            self.noted.increase();
            // Cancels the orders in the old stocks.
            self.apply_corporate_actions().await?;
        }
        Ok(replaced.len())
    }
}

fn company_of(told: &ListedStock) -> ToldCompany {
    ToldCompany { name: told.company_name.clone(), is_fund: told.is_fund, listed_on: told.listed_on }
}

/// What a told company is to the one whose stock the books have under its symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    Another,
    /// The same, or there is no such stock.
    Same,
    /// The same, and its listing date is not kept yet.
    SameWithoutDate,
}

pub(crate) fn compared(tx: &mut Tx<'_>, told: &ListedStock) -> Stored<Compared> {
    let known = reused_symbols::companies(tx, std::slice::from_ref(&told.symbol))?;
    Ok(match known.get(&told.symbol) {
        Some((_, company)) if is_another_company(company, &company_of(told)) => Compared::Another,
        Some((_, company)) if company.listed_on.is_none() && told.listed_on.is_some() => {
            Compared::SameWithoutDate
        }
        Some(_) | None => Compared::Same,
    })
}

/// Keeps the listing date of the company that has a symbol, where none is kept yet.
pub(crate) fn keep_date(tx: &mut Tx<'_>, told: &ListedStock) -> Stored<()> {
    let known = reused_symbols::companies(tx, std::slice::from_ref(&told.symbol))?;
    match (known.get(&told.symbol), told.listed_on) {
        (Some((id, _)), Some(listed_on)) => reused_symbols::keep_listed_on(tx, *id, listed_on),
        _ => Ok(()),
    }
}

fn replace(
    tx: &mut Tx<'_>,
    (id, old): (StockId, &KnownCompany),
    told: &ListedStock,
    calendar: Calendar,
    now: Timestamp,
) -> Stored<()> {
    let ends = first_session_without(told.listed_on, calendar, now);
    let archived = reused_symbols::archive(tx, id, &told.symbol, ends.date, told.listed_on)?;
    // Sessions since then may have been valued at the other company's prices.
    mark_snapshots(tx, ends.opens_at, calendar, now)?;
    if !old.is_delisted {
        let action = CorporateAction::new(archived, ends.date, CorporateActionKind::Delisting);
        let delisting = Told {
            stock_id: id,
            effective_at: ends.opens_at,
            pays_at: None,
            confirmation: SplitConfirmation::Confirmed,
            action: action.clone(),
        };
        actions::note(tx, &delisting, now)?;
        let reason =
            format!("the symbol {} belongs to {} now, another company", told.symbol, told.company_name);
        reused_symbols::set_reason(tx, &action.id, &reason)?;
    }
    let sector = if told.is_fund { persistence::listings::FUND } else { "" };
    let listing = Listing {
        symbol: told.symbol.clone(),
        company_name: told.company_name.clone(),
        exchange: told.exchange.clone(),
        sector: sector.to_owned(),
        currency: Currency::Usd,
    };
    let new = stocks::upsert(tx, &listing)?;
    if let Some(listed_on) = told.listed_on {
        reused_symbols::set_listed_on(tx, new, listed_on)?;
    }
    Ok(())
}

/// The session from which on the symbol is the other company's: the one of its listing date, or the last that has opened.
fn first_session_without(listed_on: Option<NaiveDate>, calendar: Calendar, now: Timestamp) -> Session {
    let today = exchange_date(now);
    let opened = calendar.sessions(today, today).next().filter(|session| session.opens_at <= now);
    let newest = opened.unwrap_or_else(|| calendar.before(today));
    let of_listing = listed_on.and_then(|day| calendar.sessions(day, day + Days::new(30)).next());
    of_listing.filter(|session| session.opens_at <= newest.opens_at).unwrap_or(newest)
}
