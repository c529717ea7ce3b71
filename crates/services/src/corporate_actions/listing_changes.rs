//! Reused symbols: stocks whose symbol now belongs to another company.
//!
//! The stock of the old company keeps its holders and its last price under another symbol, is delisted, and its orders
//! are canceled. The symbol then names a new stock. Such a change is found in a table of listings or in answers about
//! prices. The gateway holds back the other company's prices until the books have the change.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{Days, NaiveDate, TimeDelta};
use domain::calendar::exchange_date;
use domain::company::{KnownCompany, is_another_company, is_same_name};
use domain::{Calendar, Currency, Listing, Session, Stock, StockId, Symbol, Timestamp};
use market_data::ListedStock;
use persistence::delistings::{self, NewDelisting};
use persistence::{Tx, reused_symbols, stocks};

use crate::corporate_actions::CorporateActions;
use crate::corporate_actions::{Stored, mark_snapshots};
use crate::error::{Error, Result};
use crate::market::companies::company_of;

/// The most symbols that may change companies at the same time, unless they are less than a twentieth of the known
/// ones. A larger number indicates a faulty table.
const FEW_AT_ONCE: usize = 2;

/// How long a comparison is valid: bars that are stored later may change it.
const REVIEW_TTL: TimeDelta = TimeDelta::minutes(10);

/// The companies that this process has compared with the books, so that an unchanged answer needs no database access.
#[derive(Debug, Default)]
pub(crate) struct ReviewedCompanies(Mutex<HashMap<Symbol, Reviewed>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Reviewed {
    reported: ListedStock,
    stock_id: StockId,
    company_name: String,
    delisted_on: Option<NaiveDate>,
    reviewing: Reviewing,
    at: Timestamp,
}

impl Reviewed {
    fn new(reported: ListedStock, stock: &Stock, reviewing: Reviewing, at: Timestamp) -> Self {
        let company_name = stock.listing.company_name.clone();
        Self { reported, stock_id: stock.id, company_name, delisted_on: stock.delisted_on, reviewing, at }
    }
}

impl ReviewedCompanies {
    /// Whether the same company was compared within the validity time.
    fn has(&self, new: &Reviewed) -> bool {
        let reviewed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reviewed.get(&new.reported.symbol).is_some_and(|before| {
            let is_good = (new.at - before.at).abs() < REVIEW_TTL && before.reviewing >= new.reviewing;
            is_good && *before == Reviewed { at: before.at, reviewing: before.reviewing, ..new.clone() }
        })
    }

    fn insert(&self, new: Reviewed) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(new.reported.symbol.clone(), new);
    }
}

/// The stocks that a review may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reviewing {
    /// Only stocks that the jobs do not request.
    NotInDemand,
    All,
}

impl CorporateActions {
    /// Runs [`CorporateActions::review_companies`] with the companies that recent answers about these stocks' prices
    /// named.
    pub(crate) async fn review_seen_companies(&self, stocks: &[Stock]) -> Result<usize> {
        let now = self.market.now();
        let seen = stocks.iter().filter_map(|stock| {
            let reported = self.market.quotes.observed_company(&stock.listing.symbol)?;
            Some(Reviewed::new(reported, stock, Reviewing::All, now))
        });
        let new: Vec<Reviewed> = seen.filter(|new| !self.reviewed.has(new)).collect();
        let reported: Vec<ListedStock> = new.iter().map(|new| new.reported.clone()).collect();
        let replaced = self.review(&reported, Reviewing::All).await?;
        for new in new {
            self.reviewed.insert(new);
        }
        Ok(replaced)
    }

    /// Whether [`CorporateActions::review_asked_company`] has a company to compare.
    pub(crate) fn is_review_due(&self, stock: &Stock) -> bool {
        let Some(reported) = self.market.quotes.observed_company(&stock.listing.symbol) else { return false };
        !is_same_name(&reported.company_name, &stock.listing.company_name)
            && !self.reviewed.has(&Reviewed::new(reported, stock, Reviewing::NotInDemand, self.market.now()))
    }

    /// Reviews the company of a stock whose price a user requested and that the jobs do not request. `is_denied` means
    /// that the source has no price for it. Makes no calls. Returns whether the symbol now names another stock.
    pub(crate) async fn review_asked_company(&self, stock: &Stock, is_denied: bool) -> Result<bool> {
        let Some(reported) = self.market.quotes.observed_company(&stock.listing.symbol) else {
            return Ok(false);
        };
        if is_same_name(&reported.company_name, &stock.listing.company_name) {
            return Ok(false);
        }
        let new = Reviewed::new(reported, stock, Reviewing::NotInDemand, self.market.now());
        if !is_denied && self.reviewed.has(&new) {
            return Ok(false);
        }
        let replaced = self.review(std::slice::from_ref(&new.reported), Reviewing::NotInDemand).await?;
        self.reviewed.insert(new);
        Ok(replaced > 0)
    }

    /// Compares reported companies with the known ones, and replaces stocks whose symbol belongs to another company.
    /// Returns the number of replaced stocks.
    pub(crate) async fn review_companies(&self, reported: &[ListedStock]) -> Result<usize> {
        self.review(reported, Reviewing::All).await
    }

    async fn review(&self, reported: &[ListedStock], reviewing: Reviewing) -> Result<usize> {
        if reported.is_empty() {
            return Ok(0);
        }
        let (reported, calendar, now) = (reported.to_vec(), self.market.calendar, self.market.now());
        let wall = self.market.clock.wall();
        let replaced = self
            .store
            .write(move |tx| {
                let symbols: Vec<Symbol> = reported.iter().map(|reported| reported.symbol.clone()).collect();
                let mut known = reused_symbols::companies(tx, &symbols)?;
                if reviewing == Reviewing::NotInDemand {
                    let ids: Vec<StockId> = known.values().map(|(id, _)| *id).collect();
                    for id in ids {
                        if stocks::is_in_demand(tx, id)? {
                            known.retain(|_, (of, _)| *of != id);
                        }
                    }
                }
                let mut replaced: Vec<Symbol> = Vec::new();
                let is_another = |reported: &&ListedStock| {
                    let known = known.get(&reported.symbol);
                    known.is_some_and(|(_, company)| is_another_company(company, &company_of(reported)))
                };
                let others = reported.iter().filter(is_another).count();
                if others > FEW_AT_ONCE && others * 20 > known.len() {
                    tracing::warn!(
                        others,
                        of = known.len(),
                        "too many symbols would change companies at once: nothing is replaced"
                    );
                    return Ok(replaced);
                }
                for reported in &reported {
                    let Some((id, company)) = known.get(&reported.symbol) else { continue };
                    if is_another_company(company, &company_of(reported)) {
                        replace(tx, (*id, company), reported, calendar, (now, wall))?;
                        replaced.push(reported.symbol.clone());
                    } else if let Some(listed_on) = company.listed_on.or(reported.listed_on) {
                        reused_symbols::keep_listed_on(tx, *id, listed_on)?;
                    }
                }
                Ok::<_, Error>(replaced)
            })
            .await?;
        for symbol in &replaced {
            tracing::warn!(event = "symbol_reused", %symbol, "a symbol belongs to another company: its old stock is delisted");
            self.instruments.forget(symbol);
            self.market.quotes.forget(symbol).await;
        }
        if !replaced.is_empty() {
            self.action_counter.increase();
            // Cancels the orders in the old stocks.
            self.apply_corporate_actions().await?;
        }
        Ok(replaced.len())
    }
}

fn replace(
    tx: &mut Tx<'_>,
    (id, old): (StockId, &KnownCompany),
    reported: &ListedStock,
    calendar: Calendar,
    (now, wall): (Timestamp, Timestamp),
) -> Stored<()> {
    let ends = first_session_without(reported.listed_on, calendar, now);
    let archived = reused_symbols::archive(tx, id, &reported.symbol, ends.date, reported.listed_on)?;
    // Later sessions may have been valued at the other company's prices.
    mark_snapshots(tx, ends.opens_at, calendar, now)?;
    if !old.is_delisted {
        let reason = format!(
            "the symbol {} belongs to {} now, another company",
            reported.symbol, reported.company_name
        );
        // With a delisting in the future, the stock would remain tradable until then.
        delistings::withdraw_later(tx, id, ends.opens_at, &reason, wall)?;
        let delisting = NewDelisting {
            stock_id: id,
            symbol: archived,
            on: ends.date,
            effective_at: ends.opens_at,
            reason,
            administrator: None,
        };
        delistings::note(tx, &delisting, now, wall)?;
    }
    let sector = if reported.is_fund { persistence::listings::FUND } else { "" };
    let listing = Listing {
        symbol: reported.symbol.clone(),
        company_name: reported.company_name.clone(),
        exchange: reported.exchange.clone(),
        sector: sector.to_owned(),
        currency: Currency::Usd,
    };
    let new = stocks::add(tx, &listing)?.id;
    if let Some(listed_on) = reported.listed_on {
        reused_symbols::set_listed_on(tx, new, listed_on)?;
    }
    Ok(())
}

/// The session from which the symbol belongs to the other company: the session of its listing date, or the last one
/// that has opened.
fn first_session_without(listed_on: Option<NaiveDate>, calendar: Calendar, now: Timestamp) -> Session {
    let today = exchange_date(now);
    let opened = calendar.sessions(today, today).next().filter(|session| session.opens_at <= now);
    let newest = opened.unwrap_or_else(|| calendar.before(today));
    let of_listing = listed_on.and_then(|day| calendar.sessions(day, day + Days::new(30)).next());
    of_listing.filter(|session| session.opens_at <= newest.opens_at).unwrap_or(newest)
}
