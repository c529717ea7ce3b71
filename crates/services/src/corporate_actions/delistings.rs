//! Delisted stocks: the evidence, the delistings that follow from it, and the decisions of administrators.
//!
//! A source with a table of listings gives evidence through this table, other sources through "not found" answers.
//! Evidence is stored in the database, so it survives restarts, and every process adds to it. With enough evidence a
//! stock gets the corporate action `Delisting`, which is applied like any other. If the stock has a price again later,
//! the delisting is withdrawn.

mod evidence;

use std::collections::{BTreeMap, HashSet};

use chrono::{Days, NaiveDate, TimeDelta};
use domain::calendar::exchange_date;
use domain::delisting::{DelistingEvidence, judge_delisting};
use domain::{Freshness, KnownAction, Stock, StockId, Symbol, Timestamp};
use persistence::delistings::{self, NewDelisting};
use persistence::{Tx, close_outs, corporate_actions as actions, reused_symbols, stocks};

use crate::accounts::actor::Administrator;
use crate::corporate_actions::splits::checked_reason;
use crate::corporate_actions::{CorporateActions, mark_snapshots};
use crate::error::{Error, FieldError, Result};
use crate::idempotency::{self, DecisionAuthor, Once, OnceRequest};
use crate::log_target::SECURITY;

pub(crate) use evidence::{check_table, note_table, wants_table_of_today};
pub use persistence::delistings::{Delisting, Refusal};

/// The key in `installation` of the day on which a table of listings was rejected because it lacks too many rows.
const HALF_TABLE: &str = "half_table_of_listings_on";
/// "Not found" answers are cached for up to an hour. An answer that comes later than this after the opening is
/// therefore from the current session.
const AFTER_OPENING: TimeDelta = TimeDelta::hours(1);
/// A table older than this is not compared with a new one: the new table replaces it without a check, and missing rows
/// are not evidence.
const COMPARABLE: TimeDelta = TimeDelta::days(28);
/// How many days ahead an administrator can delist a stock.
const AHEAD: Days = Days::new(60);
/// The symbol that is requested to check whether the source works, if no other stock of this deployment shows it.
const WITNESS: &str = "SPY";

/// How an administrator decides on a delisting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelistingResolution {
    /// The stock is delisted from `on`. Without `on`, the delisting takes effect on the day that the evidence gives, or
    /// in the first session after the last price.
    Confirm { on: Option<NaiveDate> },
    /// The stock is still traded: the evidence does not count, and a delisting is withdrawn.
    Refuse,
}

impl DelistingResolution {
    /// Parses `confirm`, with or without a day like `2026-11-23`, or `refuse`.
    ///
    /// # Errors
    /// The error of the invalid field.
    pub fn parse(word: &str, on: Option<&str>) -> std::result::Result<Self, FieldError> {
        let on = on.map(str::trim).filter(|on| !on.is_empty());
        match (word, on) {
            ("confirm", on) => match on.map(str::parse).transpose() {
                Ok(on) => Ok(Self::Confirm { on }),
                Err(_) => Err(FieldError::new("on", "enter a day like 2026-11-23, or leave the field empty")),
            },
            ("refuse", None) => Ok(Self::Refuse),
            ("refuse", Some(_)) => Err(FieldError::new("on", "leave the field empty, or choose to confirm")),
            _ => Err(FieldError::new("resolution", "must be confirm or refuse")),
        }
    }
}

/// A stock that is delisted, or about which there is evidence or a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelistingCase {
    pub stock: Stock,
    /// The delisting, which may take effect in the future.
    pub delisting: Option<Delisting>,
    /// The evidence, oldest first; it is kept after the delisting.
    pub evidence: Vec<DelistingEvidence>,
    /// An administrator's decision that the stock is still traded.
    pub refusal: Option<Refusal>,
}

impl DelistingCase {
    /// `delisted`, `refused` or `pending`.
    pub fn status(&self) -> &'static str {
        match (&self.delisting, &self.refusal) {
            (Some(_), _) => "delisted",
            (None, Some(_)) => "refused",
            (None, None) => "pending",
        }
    }
}

impl CorporateActions {
    /// Returns all stocks that are delisted or about which there is evidence, ordered by symbol, for administrators.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn delisting_cases(&self) -> Result<Vec<DelistingCase>> {
        let source = self.market.quotes.source();
        self.store
            .read(move |tx| {
                let mut evidence = delistings::evidence(tx, source.as_str())?;
                let mut refusals: BTreeMap<StockId, Refusal> = delistings::refusals(tx)?
                    .into_iter()
                    .map(|refusal| (refusal.stock_id, refusal))
                    .collect();
                let decided: HashSet<StockId> = delistings::decided(tx)?.into_iter().collect();
                let mut cases = Vec::new();
                for stock in stocks::all(tx)? {
                    let (evidence, refusal) =
                        (evidence.remove(&stock.id).unwrap_or_default(), refusals.remove(&stock.id));
                    let is_delisted = stock.delisted_on.is_some() || decided.contains(&stock.id);
                    if evidence.is_empty() && refusal.is_none() && !is_delisted {
                        continue;
                    }
                    let delisting = if is_delisted { delistings::of_stock(tx, stock.id)? } else { None };
                    cases.push(DelistingCase { stock, delisting, evidence, refusal });
                }
                Ok::<_, Error>(cases)
            })
            .await
    }

    /// Returns the delisting of one stock, the evidence and the decision.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn delisting_case(&self, stock: &Stock) -> Result<DelistingCase> {
        let (stock, source) = (stock.clone(), self.market.quotes.source());
        self.store
            .read(move |tx| {
                let id = stock.id;
                Ok::<_, Error>(DelistingCase {
                    stock,
                    delisting: delistings::of_stock(tx, id)?,
                    evidence: delistings::evidence(tx, source.as_str())?.remove(&id).unwrap_or_default(),
                    refusal: delistings::refusals(tx)?.into_iter().find(|refusal| refusal.stock_id == id),
                })
            })
            .await
    }

    /// Returns when and why a stock was delisted; `None` while it is traded.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn delisting_of(&self, stock: &Stock) -> Result<Option<Delisting>> {
        if stock.delisted_on.is_none() {
            return Ok(None);
        }
        let id = stock.id;
        self.store.read(move |tx| delistings::of_stock(tx, id).map_err(Error::from)).await
    }

    /// Decides on a delisting as [`CorporateActions::resolve_delisting_once`] does, without an idempotency key.
    ///
    /// # Errors
    /// The same as [`CorporateActions::resolve_delisting_once`].
    pub async fn resolve_delisting(
        &self,
        symbol: &Symbol,
        resolution: DelistingResolution,
        reason: &str,
        administrator: &Administrator,
    ) -> Result<()> {
        let author = DecisionAuthor { administrator: administrator.clone(), key: None };
        self.resolve_delisting_once(symbol, resolution, reason, author).await.map(|done| done.value)
    }

    /// Decides on a delisting. The reason is stored with the administrator's name. A delisting that takes effect today
    /// or earlier is applied before this returns.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`]; [`Error::Invalid`] without a reason, for an impossible day, and when there is nothing
    /// to decide; [`Error::IdempotencyKeyReused`].
    pub async fn resolve_delisting_once(
        &self,
        symbol: &Symbol,
        resolution: DelistingResolution,
        reason: &str,
        author: DecisionAuthor,
    ) -> Result<Once<()>> {
        let reason = checked_reason(reason)?;
        let line = format!("resolve delisting {symbol} {resolution:?} {reason}");
        let request = OnceRequest::by(&author, line);
        let decided = (reason, author.administrator);
        let done = self.decide_delisting(symbol, resolution, decided, request.clone()).await;
        idempotency::or_replay(&self.store, done, &request, |_, _| Ok(())).await
    }

    async fn decide_delisting(
        &self,
        symbol: &Symbol,
        resolution: DelistingResolution,
        (reason, administrator): (String, Administrator),
        request: OnceRequest,
    ) -> Result<Once<()>> {
        let stock = self.instruments.stored_stock(symbol).await?;
        let (symbol, kept, name) =
            (stock.listing.symbol.clone(), reason.clone(), administrator.name().to_owned());
        let done = match resolution {
            DelistingResolution::Confirm { on } => {
                if self.market.quotes.freshness() == Freshness::Simulated {
                    let message = "the simulated market delists its stocks itself";
                    return Err(Error::invalid("resolution", message));
                }
                let case = self.delisting_case(&stock).await?;
                let delisting = self.administrators_delisting(&case, on, kept, name)?;
                let (now, wall) = (self.market.now(), self.market.clock.wall());
                let id = stock.id;
                let act = move |tx: &mut Tx<'_>| {
                    let symbol = &delisting.symbol;
                    let holder = stocks::with_symbol(tx, symbol)?;
                    if holder.is_none_or(|holder| holder.id != id) {
                        let message =
                            format!("{symbol} has just received another symbol: search for the stock again");
                        return Err(Error::invalid("symbol", message));
                    }
                    delistings::clear_refusal(tx, id)?;
                    if !delistings::note(tx, &delisting, now, wall)? {
                        return Err(Error::invalid("resolution", format!("{symbol} is already delisted")));
                    }
                    Ok(((), id.0))
                };
                idempotency::write_once(&self.store, move |tx| {
                    request.carry_out(tx, wall, act, |_, _| Ok(()))
                })
                .await?
            }
            DelistingResolution::Refuse => self.refuse_delisting(&stock, kept, name, request).await?,
        };
        self.action_counter.increase();
        self.instruments.forget(&symbol);
        if !done.replayed {
            tracing::info!(
                target: SECURITY,
                event = "delisting_resolved",
                %symbol,
                ?resolution,
                reason,
                administrator = administrator.name(),
                "an administrator decided whether a stock is delisted"
            );
        }
        self.apply_corporate_actions().await?;
        Ok(done)
    }

    fn administrators_delisting(
        &self,
        case: &DelistingCase,
        on: Option<NaiveDate>,
        reason: String,
        administrator: String,
    ) -> Result<NewDelisting> {
        let (stock, calendar) = (&case.stock, self.market.calendar);
        let symbol = stock.listing.symbol.clone();
        let today = exchange_date(self.market.now());
        let last_price_at = self.last_price_at(stock);
        let last_priced_on = last_price_at.map(exchange_date);
        if let Some(day) = on.filter(|on| last_priced_on.is_some_and(|last| *on <= last)) {
            let last = last_priced_on.unwrap_or(day);
            let message = format!("{symbol} had a price on {last}: enter a later day");
            return Err(Error::invalid("on", message));
        }
        if on.is_some_and(|on| on > today + AHEAD) {
            return Err(Error::invalid("on", "enter a day within the next 60 days"));
        }
        let grounds = judge_delisting(&case.evidence, last_price_at);
        let reported = grounds.map(|grounds| grounds.first_session_without(last_price_at, calendar));
        let day = on.or(reported).or(last_priced_on.map(|last| last + Days::new(1))).unwrap_or(today);
        Ok(self.new_delisting(stock, day, reason, Some(administrator)))
    }

    fn new_delisting(
        &self,
        stock: &Stock,
        day: NaiveDate,
        reason: String,
        administrator: Option<String>,
    ) -> NewDelisting {
        let session = self.market.calendar.sessions(day, day + Days::new(30)).next();
        let (on, effective_at) =
            session.map_or_else(|| (day, self.market.now()), |session| (session.date, session.opens_at));
        NewDelisting {
            stock_id: stock.id,
            symbol: stock.listing.symbol.clone(),
            on,
            effective_at,
            reason,
            administrator,
        }
    }

    async fn refuse_delisting(
        &self,
        stock: &Stock,
        reason: String,
        administrator: String,
        request: OnceRequest,
    ) -> Result<Once<()>> {
        let case = self.delisting_case(stock).await?;
        let symbol = stock.listing.symbol.clone();
        let (id, wall, now, calendar) =
            (stock.id, self.market.clock.wall(), self.market.now(), self.market.calendar);
        let replaced_on =
            self.store.read(move |tx| reused_symbols::replaced_on(tx, id).map_err(Error::from)).await?;
        if replaced_on.is_some() {
            let message = format!(
                "the symbol of {symbol} now belongs to another company: if the stock is traded under a new symbol, \
                 record that symbol instead"
            );
            return Err(Error::invalid("resolution", message));
        }
        match case.delisting {
            Some(delisting) if delisting.is_announced => {
                let message = format!("the price source announced the delisting of {symbol} itself");
                Err(Error::invalid("resolution", message))
            }
            Some(delisting) => {
                let act = move |tx: &mut Tx<'_>| {
                    if close_outs::of_stock(tx, id)?.is_some() {
                        let message = format!("{symbol} was closed out: that cannot be undone");
                        return Err(Error::invalid("resolution", message));
                    }
                    let reported = (reason.as_str(), Some(administrator.as_str()));
                    if delistings::withdraw(tx, id, delisting.action_id, reported, wall)? {
                        mark_snapshots(tx, delisting.effective_at, calendar, now)?;
                    }
                    // Later evidence does not count either.
                    let refusal = Refusal { stock_id: id, refused_at: wall, administrator, reason };
                    delistings::refuse(tx, &refusal)?;
                    Ok(((), id.0))
                };
                idempotency::write_once(&self.store, move |tx| {
                    request.carry_out(tx, wall, act, |_, _| Ok(()))
                })
                .await
            }
            None if !case.evidence.is_empty() => {
                let refusal = Refusal { stock_id: id, refused_at: wall, administrator, reason };
                let act = move |tx: &mut Tx<'_>| {
                    delistings::refuse(tx, &refusal)?;
                    Ok(((), id.0))
                };
                idempotency::write_once(&self.store, move |tx| {
                    request.carry_out(tx, wall, act, |_, _| Ok(()))
                })
                .await
            }
            None => {
                let message = format!("there is no evidence that {symbol} is delisted");
                Err(Error::invalid("resolution", message))
            }
        }
    }

    /// The market time of the last accepted price that came from this deployment's source.
    fn last_price_at(&self, stock: &Stock) -> Option<Timestamp> {
        let source = self.market.quotes.source();
        stock.last.as_ref().filter(|last| last.source == source.as_str()).map(|last| last.as_of)
    }

    /// Delists the stocks with enough evidence, and cancels orders that were placed while a delisting was being
    /// applied. Can be repeated, and run in several processes at the same time. Returns the number of delisted stocks.
    ///
    /// # Errors
    /// Only when the database fails.
    pub(crate) async fn settle_delistings(&self) -> Result<usize> {
        let new = self.weigh_evidence().await?;
        if new > 0 {
            self.action_counter.increase();
            self.apply_corporate_actions().await?;
        }
        let left = self
            .store
            .read(|tx| {
                let mut left: Vec<KnownAction> = Vec::new();
                for stock in delistings::with_open_orders(tx)? {
                    if let Some(delisting) = delistings::of_stock(tx, stock)? {
                        left.extend(actions::by_id(tx, delisting.action_id)?);
                    }
                }
                Ok::<_, Error>(left)
            })
            .await?;
        let now = self.market.now();
        for known in left.into_iter().filter(|known| known.effective_at <= now) {
            self.apply_action(known, now).await?;
        }
        Ok(new)
    }
}
