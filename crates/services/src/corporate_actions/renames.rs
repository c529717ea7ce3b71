//! Stocks that get a new symbol. Administrators record renames, because real sources know only the new symbol.

use chrono::{Days, NaiveDate};
use domain::calendar::exchange_date;
use domain::{Freshness, Stock, StockId, Symbol, UserId};
use market_data::{Purpose, QuoteError};
use persistence::renames::{self, NewRename};
use persistence::{Tx, close_outs, delistings, installation, reused_symbols, stocks};

use crate::accounts::actor::Administrator;
use crate::corporate_actions::CorporateActions;
use crate::corporate_actions::mark_snapshots;
use crate::corporate_actions::splits::checked_reason;
use crate::error::{Error, NotFound, Result};
use crate::idempotency::{self, IdempotencyKey, Once, OnceRequest};
use crate::log_target::SECURITY;

/// A rename that an administrator records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameRequest {
    pub symbol: Symbol,
    pub to: Symbol,
    /// The new name of the company; without it, the name that the source reports.
    pub company_name: Option<String>,
    /// The first day of the new symbol; without it, today.
    pub on: Option<NaiveDate>,
    pub reason: String,
    pub administrator: Administrator,
}

/// The longest name of a company, in characters.
const LONGEST_NAME: usize = 200;

impl CorporateActions {
    /// Renames a stock as [`CorporateActions::rename_stock_once`] does, without an idempotency key.
    ///
    /// # Errors
    /// The same as [`CorporateActions::rename_stock_once`].
    pub async fn rename_stock(&self, request: RenameRequest) -> Result<Stock> {
        self.rename_stock_once(request, None).await.map(|renamed| renamed.value)
    }

    /// Gives a stock its new symbol and name from a day on. Holdings, average prices, journals and open orders stay,
    /// and the old symbol still finds the stock. A delisting that followed from evidence is withdrawn, because the
    /// stock is traded under its new symbol. The same holds for the delisting of a stock whose symbol passed to another
    /// company: the stock has a symbol of its own again.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`]; [`Error::Invalid`] without a reason, for a day in the future, for a symbol that the
    /// source does not know or that another stock in use has, and for a stock that was closed out;
    /// [`Error::IdempotencyKeyReused`].
    pub async fn rename_stock_once(
        &self,
        rename: RenameRequest,
        key: Option<IdempotencyKey>,
    ) -> Result<Once<Stock>> {
        let line = {
            let RenameRequest { symbol, to, company_name, on, reason, .. } = &rename;
            format!("rename {symbol} {to} {company_name:?} {on:?} {}", reason.trim())
        };
        let user = rename.administrator.user().unwrap_or(UserId(0));
        let request = OnceRequest { user, key, line };
        if let Some(replayed) = idempotency::replay(&self.store, &request, renamed_stock).await? {
            return Ok(replayed);
        }
        let renamed = self.rename_by(rename, request.clone()).await;
        idempotency::or_replay(&self.store, renamed, &request, renamed_stock).await
    }

    async fn rename_by(&self, rename: RenameRequest, request: OnceRequest) -> Result<Once<Stock>> {
        let RenameRequest { symbol, to, company_name, on, reason, administrator } = rename;
        let administrator = administrator.name().to_owned();
        let reason = checked_reason(&reason)?;
        let company_name = company_name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        if company_name.as_ref().is_some_and(|name| name.chars().count() > LONGEST_NAME) {
            return Err(Error::invalid("company_name", format!("use up to {LONGEST_NAME} characters")));
        }
        if self.market.quotes.freshness() == Freshness::Simulated {
            return Err(Error::invalid("symbol", "the simulated market renames its stocks itself"));
        }
        let stock = self.instruments.stored_stock(&symbol).await?;
        let old = stock.listing.symbol.clone();
        if old == to {
            return Err(Error::invalid("to", format!("the stock already has the symbol {to}")));
        }
        let (now, wall, calendar) = (self.market.now(), self.market.clock.wall(), self.market.calendar);
        let day = on.unwrap_or_else(|| exchange_date(now));
        if day > exchange_date(now) {
            return Err(Error::invalid("on", "is in the future: record it on that day"));
        }
        let company_name = match (
            company_name,
            self.market.quotes.listing(Purpose::FirstSight { user: None }, &to, now).await,
        ) {
            (Some(name), _) => Some(name),
            (None, Ok(found)) => Some(found.company_name),
            (None, Err(QuoteError::UnknownSymbol(_) | QuoteError::NotTradable { .. })) => {
                let message = format!(
                    "the price source does not know {to}: enter the company's name to continue anyway"
                );
                return Err(Error::invalid("to", message));
            }
            // The source cannot be called now: the name stays.
            (None, Err(_)) => None,
        };
        let session = calendar.sessions(day, day + Days::new(30)).next();
        let effective_at = session.map_or(now, |session| session.opens_at).min(now);
        let new = NewRename {
            stock_id: stock.id,
            from: old.clone(),
            to: to.clone(),
            company_name,
            on: day,
            effective_at,
            reason: reason.clone(),
            administrator: administrator.clone(),
        };
        let id = stock.id;
        let act = move |tx: &mut Tx<'_>| {
            installation::lock(tx)?;
            let holder = stocks::with_symbol(tx, &new.from)?;
            if holder.is_none_or(|holder| holder.id != id) {
                let message =
                    format!("{} has just received another symbol: search for the stock again", new.from);
                return Err(Error::invalid("symbol", message));
            }
            if close_outs::of_stock(tx, id)?.is_some() {
                return Err(Error::invalid("symbol", format!("{} was closed out", new.from)));
            }
            let delisting = delistings::of_stock(tx, id)?;
            let is_delisted = delisting.is_some();
            if let Some(delisting) = delisting {
                if delisting.is_announced {
                    let message = format!("the price source announced the delisting of {} itself", new.from);
                    return Err(Error::invalid("symbol", message));
                }
                let why = format!("renamed to {}", new.to);
                let reported = (why.as_str(), Some(new.administrator.as_str()));
                delistings::withdraw(tx, id, delisting.action_id, reported, wall)?;
            }
            let name = new.company_name.as_deref();
            if !stocks::rename(tx, id, (&new.from, &new.to), name, new.on)? {
                return Err(Error::invalid("to", how_to_merge(&new.from, &new.to, is_delisted)));
            }
            reused_symbols::restore(tx, id)?;
            delistings::forget(tx, &[id])?;
            renames::note(tx, &new, now, wall)?;
            mark_snapshots(tx, new.effective_at, calendar, now)?;
            let renamed = stocks::by_ids(tx, &[id])?.pop();
            Ok((renamed.ok_or(Error::NotFound(NotFound::Stock))?, id.0))
        };
        let renamed =
            idempotency::write_once(&self.store, move |tx| request.carry_out(tx, wall, act, renamed_stock))
                .await?;
        self.action_counter.increase();
        for symbol in [&old, &to] {
            self.instruments.forget(symbol);
            self.market.quotes.forget(symbol).await;
        }
        tracing::info!(
            target: SECURITY,
            event = "stock_renamed",
            %old,
            new = %to,
            on = %day,
            reason,
            administrator,
            "an administrator recorded a stock's new symbol"
        );
        Ok(renamed)
    }
}

/// The stock of a rename that an earlier request carried out.
fn renamed_stock(tx: &mut Tx<'_>, id: i64) -> Result<Stock> {
    stocks::by_ids(tx, &[StockId(id)])?.pop().ok_or(Error::NotFound(NotFound::Stock))
}

/// The error when both symbols belong to stocks in use: why the rename is impossible, and what to do instead.
fn how_to_merge(from: &Symbol, to: &Symbol, is_delisted: bool) -> String {
    let first = match is_delisted {
        true => format!("To merge the two, close {from} out"),
        false => format!("To merge the two, confirm the delisting of {from}, then close it out"),
    };
    format!(
        "{to} is another stock, which users hold, held or ordered. {first}: in an exchange into {to} at 1:1, all \
         holders keep their shares and cost basis"
    )
}
