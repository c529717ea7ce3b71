//! Stocks that are not listed any more: evidence, the delistings that come of it, and administrators who decide.
//!
//! A source with a table of listings gives evidence by that table, a source without one by "not found" answers. Evidence is
//! kept in the database, so it survives restarts and every process adds to it. With enough of it the stock gets the
//! corporate action `Delisting`, which is applied like any other. When the stock has a price again, the delisting is taken
//! back.

use std::collections::{BTreeMap, HashSet};

use chrono::{Days, NaiveDate, TimeDelta};
use domain::calendar::exchange_date;
use domain::company::is_same_name;
use domain::delisting::{
    DelistingEvidence, DelistingEvidenceKind, is_no_outage, is_whole_table, judge_delisting,
};
use domain::{AsTraded, Freshness, KnownAction, Quote, Stock, StockId, Symbol, Timestamp};
use market_data::{ListedStock, Purpose, QuoteError};
use persistence::corporate_actions as actions;
use persistence::delistings::{self, NewDelisting};
use persistence::{Tx, close_outs, former_symbols, installation, listings, reused_symbols, stocks};

pub use persistence::delistings::{Delisting, Refusal};

use crate::accounts::actor::Administrator;
use crate::corporate_actions::CorporateActions;
use crate::corporate_actions::splits::checked_reason;
use crate::corporate_actions::{Stored, mark_snapshots};
use crate::error::{Error, FieldError, NotFound, Result};
use crate::idempotency::{self, DecisionAuthor, Once, OnceRequest};
use crate::log_target::SECURITY;

/// The day of a table of listings that was not taken over because it lacks too many rows; in `installation`.
const HALF_TABLE: &str = "half_table_of_listings_on";
/// "Not found" answers are kept for up to an hour: from so long after the opening on they are of this session.
const AFTER_OPENING: TimeDelta = TimeDelta::hours(1);
/// A table so old is no measure for a new one: it is replaced whatever it has, and nothing follows from the difference.
const COMPARABLE: TimeDelta = TimeDelta::days(28);
/// An administrator's delisting lies so far ahead at most.
const AHEAD: Days = Days::new(60);
/// Asked for when no other stock of the deployment tells whether the source works.
const WITNESS: &str = "SPY";

/// How an administrator decides on a delisting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelistingResolution {
    /// The stock is not traded any more from that day on; without one from the day that evidence tells, or the first
    /// session after its last price.
    Confirm { on: Option<NaiveDate> },
    /// The stock is traded: evidence does not count, and a delisting is taken back.
    Refuse,
}

impl DelistingResolution {
    /// Reads `confirm`, with a day like `2026-11-23` or without one, or `refuse`.
    ///
    /// # Errors
    /// What is wrong with which of the two fields.
    pub fn parse(word: &str, on: Option<&str>) -> std::result::Result<Self, FieldError> {
        let on = on.map(str::trim).filter(|on| !on.is_empty());
        match (word, on) {
            ("confirm", on) => match on.map(str::parse).transpose() {
                Ok(on) => Ok(Self::Confirm { on }),
                Err(_) => Err(FieldError::new("on", "enter a day like 2026-11-23, or leave it out")),
            },
            ("refuse", None) => Ok(Self::Refuse),
            ("refuse", Some(_)) => Err(FieldError::new("on", "leave it out, or choose to confirm")),
            _ => Err(FieldError::new("resolution", "must be confirm or refuse")),
        }
    }
}

/// A stock that is delisted or may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelistingCase {
    pub stock: Stock,
    /// In force, or going to be on its day.
    pub delisting: Option<Delisting>,
    /// What was seen, oldest first; kept after the delisting too.
    pub evidence: Vec<DelistingEvidence>,
    /// An administrator's decision that it is traded.
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
    /// Stocks that are delisted or of which something says that they are, in order of symbol: for administrators.
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

    /// What is known of the delisting of one stock.
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

    /// When and why a stock was delisted; `None` while it is traded.
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

    /// [`CorporateActions::resolve_delisting_once`] without a key.
    ///
    /// # Errors
    /// As there.
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

    /// Decides on a delisting, for a reason that is kept with the administrator's name. A delisting of today or before is
    /// applied before the answer.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`]; [`Error::Invalid`] without a reason, for a day that cannot be, and when there is nothing to
    /// decide; [`Error::IdempotencyKeyReused`].
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
                    let message = "the simulated market ends the listings of its stocks itself";
                    return Err(Error::invalid("resolution", message));
                }
                let case = self.delisting_case(&stock).await?;
                let delisting = self.administrators_delisting(&case, on, kept, name)?;
                let (now, wall) = (self.market.now(), self.market.clock.wall());
                let id = stock.id;
                let act = move |tx: &mut Tx<'_>| {
                    let symbol = &delisting.symbol;
                    let holder = stocks::called(tx, symbol)?;
                    if holder.is_none_or(|holder| holder.id != id) {
                        let message = format!("{symbol} has got another symbol just now: look it up again");
                        return Err(Error::invalid("symbol", message));
                    }
                    delistings::clear_refusal(tx, id)?;
                    if !delistings::note(tx, &delisting, now, wall)? {
                        return Err(Error::invalid("resolution", format!("{symbol} is delisted already")));
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
        self.noted.increase();
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
        let told = grounds.map(|grounds| grounds.first_session_without(last_price_at, calendar));
        let day = on.or(told).or(last_priced_on.map(|last| last + Days::new(1))).unwrap_or(today);
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
                "{symbol} has no symbol at the exchange, because another company has it: record its new symbol instead, if it \
                 is traded under one"
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
                        let message = format!("{symbol} was closed out: that cannot be taken back");
                        return Err(Error::invalid("resolution", message));
                    }
                    let told = (reason.as_str(), Some(administrator.as_str()));
                    if delistings::take_back(tx, id, delisting.action_id, told, wall)? {
                        mark_snapshots(tx, delisting.effective_at, calendar, now)?;
                    }
                    // The evidence that is still to come does not count.
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
                let message = format!("nothing says that {symbol} is delisted");
                Err(Error::invalid("resolution", message))
            }
        }
    }

    /// The market time of the last accepted price of this deployment's source.
    fn last_price_at(&self, stock: &Stock) -> Option<Timestamp> {
        let source = self.market.quotes.source();
        stock.last.as_ref().filter(|last| last.source == source.as_str()).map(|last| last.as_of)
    }

    /// Delists the stocks of which there is enough evidence, and cancels orders that were placed while a delisting was
    /// being applied. Safe to repeat and to do in several processes at once. Answers how many were delisted.
    ///
    /// # Errors
    /// Only when the database fails.
    pub(crate) async fn settle_delistings(&self) -> Result<usize> {
        let new = self.weigh_evidence().await?;
        if new > 0 {
            self.noted.increase();
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

    async fn weigh_evidence(&self) -> Result<usize> {
        let source = self.market.quotes.source();
        let (cases, refusals) = self
            .store
            .read(move |tx| {
                let evidence = delistings::evidence(tx, source.as_str())?;
                let refusals: BTreeMap<StockId, Timestamp> = delistings::refusals(tx)?
                    .into_iter()
                    .map(|refusal| (refusal.stock_id, refusal.refused_at))
                    .collect();
                let mut ids: Vec<StockId> = evidence.keys().chain(refusals.keys()).copied().collect();
                ids.sort_unstable();
                ids.dedup();
                let mut cases = Vec::new();
                for stock in stocks::by_ids(tx, &ids)? {
                    let seen = evidence.get(&stock.id).cloned().unwrap_or_default();
                    if stock.delisted_on.is_none() {
                        cases.push((stock, seen));
                    }
                }
                Ok::<_, Error>((cases, refusals))
            })
            .await?;
        // What was seen or refused before the last price is over.
        let is_over = |(stock, evidence): &(Stock, Vec<DelistingEvidence>)| {
            let newest = evidence.iter().map(|seen| seen.seen_at).max().max(refusals.get(&stock.id).copied());
            self.last_price_at(stock).is_some_and(|at| newest.is_some_and(|newest| newest < at))
        };
        let (over, cases): (Vec<_>, Vec<_>) = cases.into_iter().partition(is_over);
        if !over.is_empty() {
            let over: Vec<StockId> = over.iter().map(|(stock, _)| stock.id).collect();
            self.store.write(move |tx| delistings::forget(tx, &over).map_err(Error::from)).await?;
        }
        let cases = cases.into_iter().filter(|(stock, _)| !refusals.contains_key(&stock.id));
        let (now, wall, calendar) = (self.market.now(), self.market.clock.wall(), self.market.calendar);
        let mut decided = Vec::new();
        for (stock, evidence) in cases {
            let last_price_at = self.last_price_at(&stock);
            if let Some(grounds) = judge_delisting(&evidence, last_price_at) {
                let day = grounds.first_session_without(last_price_at, calendar);
                decided.push(self.new_delisting(&stock, day, grounds.to_string(), None));
            }
        }
        if decided.is_empty() {
            return Ok(0);
        }
        let noted = self.store.write(move |tx| {
            let refused: HashSet<StockId> =
                delistings::refusals(tx)?.into_iter().map(|refusal| refusal.stock_id).collect();
            // The evidence is about a symbol that the stock may have given up.
            let asked: Vec<(StockId, Symbol)> =
                decided.iter().map(|new| (new.stock_id, new.symbol.clone())).collect();
            let unchanged = former_symbols::unchanged(tx, &asked)?;
            let mut noted = Vec::new();
            for delisting in decided.into_iter().filter(|new| unchanged.contains(&new.stock_id)) {
                if !refused.contains(&delisting.stock_id) && delistings::note(tx, &delisting, now, wall)? {
                    noted.push(delisting);
                }
            }
            Ok::<_, Error>(noted)
        });
        let noted = noted.await?;
        for NewDelisting { symbol, on, reason, .. } in &noted {
            tracing::warn!(event = "stock_delisted", %symbol, %on, reason, "a stock is not traded any more");
        }
        Ok(noted.len())
    }

    /// Notes which of these stocks the source does not know, and takes delistings back of those that it prices again.
    /// `answers` are those to the stocks, in their order.
    pub(crate) async fn note_answers(
        &self,
        stocks: &[Stock],
        answers: &[std::result::Result<AsTraded<Quote>, QuoteError>],
        now: Timestamp,
    ) -> Result<()> {
        let asked = || stocks.iter().zip(answers);
        for (stock, answer) in asked().filter(|(stock, _)| stock.delisted_on.is_some()) {
            if let Ok(quote) = answer {
                self.take_back_if_traded(stock, quote, now).await?;
            }
        }
        let living = || asked().filter(|(stock, _)| stock.delisted_on.is_none());
        let not_found: Vec<&Stock> = living()
            .filter(|(stock, answer)| {
                matches!(answer, Err(QuoteError::UnknownSymbol(_))) && self.last_price_at(stock).is_some()
            })
            .map(|(stock, _)| stock)
            .collect();
        let is_late_enough = |session: domain::Session| now >= session.opens_at + AFTER_OPENING;
        let Some(session) = self.market.calendar.session_at(now).filter(|session| is_late_enough(*session))
        else {
            return Ok(());
        };
        if not_found.is_empty() {
            return Ok(());
        }
        let (source, kind) = (self.market.quotes.source(), DelistingEvidenceKind::NotFound);
        let (name, ids) = (source.to_string(), not_found.iter().map(|stock| stock.id).collect::<Vec<_>>());
        let (has_table, known) = self
            .store
            .read(move |tx| {
                let known = delistings::evidence(tx, &name)?;
                let is_noted = |id: &StockId| {
                    let seen = known.get(id).map_or(&[][..], Vec::as_slice);
                    seen.iter().any(|seen| seen.kind == kind && seen.seen_on == session.date)
                };
                Ok::<_, Error>((listings::state(tx, &name)?.is_some(), ids.iter().all(is_noted)))
            })
            .await?;
        // A table of listings is better evidence.
        if has_table || known {
            return Ok(());
        }
        let mut answered = living().filter(|(_, answer)| answer.is_ok()).count();
        if answered == 0 && living().all(|(_, answer)| matches!(answer, Err(QuoteError::UnknownSymbol(_)))) {
            let witness: Symbol = WITNESS.parse().map_err(|_| Error::NotFound(NotFound::Stock))?;
            let found = self.market.quotes.quotes(Purpose::Scheduled, &[witness], now).await;
            answered += found.iter().filter(|answer| answer.is_ok()).count();
        }
        if !is_no_outage(living().count(), answered, not_found.len()) {
            tracing::debug!(
                not_found = not_found.len(),
                answered,
                "the source knows too few stocks: that is no evidence of delistings"
            );
            return Ok(());
        }
        let wall = self.market.clock.wall();
        let seen: Vec<(StockId, DelistingEvidence)> = not_found
            .iter()
            .map(|stock| {
                let seen =
                    DelistingEvidence { kind, seen_on: session.date, seen_at: wall, delisted_on: None };
                (stock.id, seen)
            })
            .collect();
        self.note_evidence(&not_found, seen).await
    }

    /// Keeps evidence about these stocks, but for those that have another symbol than the source was asked by.
    async fn note_evidence(&self, asked: &[&Stock], seen: Vec<(StockId, DelistingEvidence)>) -> Result<()> {
        let source = self.market.quotes.source();
        let asked: Vec<(StockId, Symbol)> =
            asked.iter().map(|stock| (stock.id, stock.listing.symbol.clone())).collect();
        self.store
            .write(move |tx| {
                let unchanged = former_symbols::unchanged(tx, &asked)?;
                let seen: Vec<_> = seen.into_iter().filter(|(id, _)| unchanged.contains(id)).collect();
                delistings::note_evidence(tx, source.as_str(), &seen)?;
                Ok(())
            })
            .await
    }

    /// A delisted stock that has a price of after its delisting is traded again, if it is the same company's. What
    /// administrators or the source itself have decided stays.
    async fn take_back_if_traded(
        &self,
        stock: &Stock,
        quote: &AsTraded<Quote>,
        now: Timestamp,
    ) -> Result<()> {
        let Some(delisting) = self.delisting_of(stock).await? else { return Ok(()) };
        let is_by_evidence = !delisting.is_announced && delisting.administrator.is_none();
        if !is_by_evidence || quote.as_traded().stale || quote.at() < delisting.effective_at {
            return Ok(());
        }
        let symbol = stock.listing.symbol.clone();
        let found = match self.market.quotes.listing_for(Purpose::Scheduled, &symbol, now).await {
            Ok(found) => found.company_name,
            Err(error) => {
                tracing::debug!(%symbol, error = &error as &dyn std::error::Error, "whose price it is is not known");
                return Ok(());
            }
        };
        if !is_same_name(&found, &stock.listing.company_name) {
            tracing::debug!(%symbol, found, "another company has the symbol of a delisted stock");
            return Ok(());
        }
        self.take_back_for_price(stock, &delisting, quote.as_traded()).await
    }

    async fn take_back_for_price(&self, stock: &Stock, delisting: &Delisting, quote: &Quote) -> Result<()> {
        let (id, delisting, quote) = (stock.id, delisting.clone(), quote.clone());
        let (wall, now, calendar) = (self.market.clock.wall(), self.market.now(), self.market.calendar);
        let reason = format!("traded again: a price of {} as of {}", quote.price, quote.as_of);
        let taken_back = self
            .store
            .write(move |tx| {
                let taken = delistings::take_back(tx, id, delisting.action_id, (&reason, None), wall)?;
                if taken {
                    stocks::save_last_price(tx, id, &quote)?;
                    mark_snapshots(tx, delisting.effective_at, calendar, now)?;
                }
                Ok::<_, Error>(taken)
            })
            .await?;
        if taken_back {
            self.noted.increase();
            self.market.stock_changes.record();
            let symbol = &stock.listing.symbol;
            tracing::warn!(event = "delisting_taken_back", %symbol, "a delisted stock is traded again");
        }
        Ok(())
    }

    /// Of delisted stocks those that a table of listings has again, under the same company's name: their series are worth a
    /// call.
    pub(crate) async fn listed_again(&self, stocks: &[Stock]) -> Result<Vec<Stock>> {
        let delisted: HashSet<StockId> =
            stocks.iter().filter(|stock| stock.delisted_on.is_some()).map(|stock| stock.id).collect();
        if delisted.is_empty() {
            return Ok(Vec::new());
        }
        let source = self.market.quotes.source();
        let found = self.store.read(move |tx| delistings::in_table(tx, source.as_str()).map_err(Error::from));
        let again = found.await?.listed.into_iter().filter(|(stock, name)| {
            delisted.contains(&stock.id) && is_same_name(&stock.listing.company_name, name)
        });
        Ok(again.map(|(stock, _)| stock).collect())
    }

    /// Takes delistings back of stocks that have got a price of after it, which a series has brought.
    pub(crate) async fn take_back_priced(&self, stocks: &[Stock], now: Timestamp) -> Result<()> {
        for stock in stocks.iter().filter(|stock| stock.delisted_on.is_some()) {
            if let Some(quote) = crate::market::instruments::last_known(stock)
                && quote.as_traded().source == self.market.quotes.source()
            {
                let quote = quote.map(|quote| Quote { stale: false, ..quote });
                self.take_back_if_traded(stock, &quote, now).await?;
            }
        }
        Ok(())
    }

    /// Asks for the table of former listings when a table lacks stocks that were listed: it tells since when.
    pub(crate) async fn learn_former_listings(&self) -> Result<()> {
        let (name, wall) = (self.market.quotes.source().to_string(), self.market.clock.wall());
        let missing = self.store.read(move |tx| missing_stocks(tx, &name).map_err(Error::from)).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let table = match self.market.quotes.delisted(Purpose::Scheduled).await {
            Ok(table) => table.unwrap_or_default(),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no table of former listings");
                return Ok(());
            }
        };
        let today = exchange_date(wall);
        let newest_of = |stock: &Stock| {
            let of = table.iter().filter(|row| row.symbol == stock.listing.symbol);
            of.filter_map(|row| row.delisted_on).filter(|on| *on <= today).max()
        };
        let seen: Vec<(StockId, DelistingEvidence)> = missing
            .iter()
            .filter_map(|stock| {
                let kind = DelistingEvidenceKind::ListedAsDelisted;
                let delisted_on = Some(newest_of(stock)?);
                Some((stock.id, DelistingEvidence { kind, seen_on: today, seen_at: wall, delisted_on }))
            })
            .collect();
        self.note_evidence(&missing.iter().collect::<Vec<_>>(), seen).await
    }
}

/// Stocks that are traded as far as is known, and that the newest table lacks.
fn missing_stocks(tx: &mut Tx<'_>, source: &str) -> Stored<Vec<Stock>> {
    let missing = delistings::in_table(tx, source)?.missing;
    Ok(missing.into_iter().filter(|stock| stock.delisted_on.is_none()).collect())
}

/// Whether a new table of listings is the whole of it. One that lacks too many rows is not taken over, and asked for again
/// the next day. Answers how many are listed by the older one and how many of them it lacks, when it is not.
pub(crate) fn check_table(
    tx: &mut Tx<'_>,
    source: &str,
    table: &[ListedStock],
    wall: Timestamp,
) -> Stored<Option<(usize, usize)>> {
    if listings::state(tx, source)?.is_none_or(|(at, _)| wall - at >= COMPARABLE) {
        installation::set(tx, HALF_TABLE, "")?;
        return Ok(None);
    }
    let symbols: HashSet<Symbol> = table.iter().map(|row| row.symbol.clone()).collect();
    let (listed, lost) = delistings::table_loss(tx, source, &symbols)?;
    let is_whole = is_whole_table(listed, lost);
    installation::set(
        tx,
        HALF_TABLE,
        &if is_whole { String::new() } else { exchange_date(wall).to_string() },
    )?;
    Ok((!is_whole).then_some((listed, lost)))
}

/// Notes which stocks the table that was just taken over lacks, and forgets the evidence against those it has. After a pause
/// in which tables were not compared nothing is noted.
pub(crate) fn note_table(
    tx: &mut Tx<'_>,
    source: &str,
    older: Option<Timestamp>,
    wall: Timestamp,
) -> Stored<()> {
    let found = delistings::in_table(tx, source)?;
    let listed: Vec<StockId> = found
        .listed
        .iter()
        .filter(|(stock, name)| is_same_name(&stock.listing.company_name, name))
        .map(|(stock, _)| stock.id)
        .collect();
    delistings::forget(tx, &listed)?;
    if older.is_none_or(|at| wall - at >= COMPARABLE) {
        return Ok(());
    }
    let (kind, seen_on) = (DelistingEvidenceKind::NotListed, exchange_date(wall));
    let missing = found.missing.iter().filter(|stock| stock.delisted_on.is_none());
    let seen: Vec<(StockId, DelistingEvidence)> = missing
        .map(|stock| (stock.id, DelistingEvidence { kind, seen_on, seen_at: wall, delisted_on: None }))
        .collect();
    delistings::note_evidence(tx, source, &seen)?;
    Ok(())
}

/// Whether a table of today is wanted: the last one was not whole, or lacks stocks of which nobody has decided yet whether
/// they are delisted.
pub(crate) fn wants_table_of_today(tx: &mut Tx<'_>, source: &str) -> Stored<bool> {
    if installation::get(tx, HALF_TABLE)?.is_some_and(|day| !day.is_empty()) {
        return Ok(true);
    }
    let evidence = delistings::evidence(tx, source)?;
    if evidence.is_empty() {
        return Ok(false);
    }
    let refused: HashSet<StockId> =
        delistings::refusals(tx)?.into_iter().map(|refusal| refusal.stock_id).collect();
    let has_table_evidence =
        |seen: &[DelistingEvidence]| seen.iter().any(|seen| seen.kind != DelistingEvidenceKind::NotFound);
    let open: Vec<StockId> = evidence
        .iter()
        .filter(|(id, seen)| !refused.contains(id) && has_table_evidence(seen))
        .map(|(id, _)| *id)
        .collect();
    Ok(stocks::by_ids(tx, &open)?.iter().any(|stock| stock.delisted_on.is_none()))
}
