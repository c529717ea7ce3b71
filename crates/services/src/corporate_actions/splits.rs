//! Splits that prices confirm or contradict.
//!
//! A reported split is booked when it takes effect. Until the first price after it confirms the split, no order in the
//! stock fills. A price that contradicts the split suspends it: the split is reversed in every portfolio, and trading
//! in the stock is halted until corrected news or an administrator resolves it. Every step can be repeated, late and by
//! several processes: the database stores which portfolios the split was applied to and reversed in.

mod resolution;

use std::collections::HashMap;

use chrono::Days;
use domain::journal::without_reversed;
use domain::portfolio::actions::SplitReversal;
use domain::share_basis::session_basis;
use domain::split_check::{SplitVerdict, judge_split};
use domain::{
    AsTraded, Calendar, Freshness, JournalEntry, KnownAction, PortfolioId, Price, PriceSource, Quote,
    SplitConfirmation, SplitHistory, Stock, StockId, Symbol, Timestamp, TradingHold,
};
use market_data::Purpose;
use persistence::corporate_actions::{ReportedAction, SplitDecisionReason};
use persistence::{Tx, corporate_actions as actions, portfolios, stocks, transactions};

use crate::corporate_actions::{Affected, BATCH, CorporateActions, Stored, corrupt, mark_snapshots};
use crate::error::{Error, NotFound, Result};
use crate::events::Change;

pub use resolution::SplitResolution;
pub(crate) use resolution::checked_reason;

/// A split that holds trading in its stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldSplit {
    pub symbol: Symbol,
    pub known: KnownAction,
    pub hold: TradingHold,
}

impl CorporateActions {
    /// The stocks in which no order fills, with the reason.
    pub(crate) async fn trading_holds(&self) -> Result<HashMap<StockId, TradingHold>> {
        let now = self.market.now();
        let pending = self.undecided_splits().await?;
        Ok(pending.iter().filter_map(|known| Some((known.stock_id, known.hold(now)?))).collect())
    }

    /// Returns why no order fills in a stock, after checking for a new price that confirms its split.
    ///
    /// # Errors
    /// [`Error::TradingHalted`] when no order is accepted either.
    pub(crate) async fn hold_for_order(&self, stock: &Stock) -> Result<Option<TradingHold>> {
        let now = self.market.now();
        for known in self.undecided_splits().await?.iter().filter(|known| known.stock_id == stock.id) {
            if known.hold(now).is_some_and(|hold| !hold.is_halt()) {
                self.judge_split(known, now).await?;
            }
        }
        match self.trading_holds().await?.remove(&stock.id) {
            Some(hold) if hold.is_halt() => Err(halted(&stock.listing.symbol, hold)),
            hold => Ok(hold),
        }
    }

    /// Returns why no order fills in a stock; `None` when it trades.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn trading_hold(&self, stock: &Stock) -> Result<Option<TradingHold>> {
        Ok(self.trading_holds().await?.remove(&stock.id))
    }

    /// Returns the splits that hold trading, oldest first, for administrators.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn held_splits(&self) -> Result<Vec<HeldSplit>> {
        let now = self.market.now();
        let pending = self.undecided_splits().await?;
        let ids: Vec<StockId> = pending.iter().map(|known| known.stock_id).collect();
        let named = self.store.read(move |tx| stocks::by_ids(tx, &ids).map_err(Error::from)).await?;
        let symbols: HashMap<StockId, Symbol> =
            named.into_iter().map(|stock| (stock.id, stock.listing.symbol.clone())).collect();
        let held = pending.iter().filter_map(|known| {
            let symbol = symbols.get(&known.stock_id)?.clone();
            Some(HeldSplit { symbol, hold: known.hold(now)?, known: known.clone() })
        });
        Ok(held.collect())
    }

    /// The symbols in which a split holds trading. Empty when the database fails: the callers use them only as a hint.
    pub(crate) async fn held_symbols(&self) -> Vec<Symbol> {
        let now = self.market.now();
        match self.undecided_splits().await {
            Ok(splits) if splits.iter().any(|known| known.hold(now).is_some()) => {
                let held = self.held_splits().await.unwrap_or_default();
                held.into_iter().map(|held| held.symbol).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Looks for the first price after each split in effect, and confirms or suspends the split. Can be repeated.
    ///
    /// # Errors
    /// Only when the database fails.
    pub(crate) async fn judge_splits(&self) -> Result<()> {
        let now = self.market.now();
        for known in self.undecided_splits().await?.iter() {
            if known.hold(now).is_some_and(|hold| !hold.is_halt()) {
                self.judge_split(known, now).await?;
            }
        }
        Ok(())
    }

    async fn judge_split(&self, known: &KnownAction, now: Timestamp) -> Result<()> {
        if self.market.quotes.freshness() == Freshness::Simulated {
            // This source computes prices and splits together, so there is nothing to compare.
            return self.decide_split(known, SplitConfirmation::Confirmed, SplitDecisionReason::News).await;
        }
        let (split, source, calendar) = (known.clone(), self.market.quotes.source(), self.market.calendar);
        let (stock, history, reference, stored) = self
            .store
            .read(move |tx| {
                let Some(stock) = stocks::by_ids(tx, &[split.stock_id])?.pop() else { return Ok(None) };
                let history = SplitHistory::of_known(&actions::of_stock(tx, split.stock_id)?);
                let reference = reference_price(tx, &split, &stock, &source, calendar)?;
                let found = first_price_after(tx, &split, &stock, &source, calendar)?;
                Ok::<_, Error>(Some((stock, history, reference, found)))
            })
            .await?
            .ok_or(Error::NotFound(NotFound::Stock))?;
        let found = match stored {
            Some(found) => Some(found),
            None => self.newest_price_after(known, &stock, now).await,
        };
        let Some(found) = found else {
            return self.keep_reference(known, reference).await;
        };
        let at = found.at();
        let found = history.convert(found, at);
        let Some(reference) = reference else {
            // No price from before the split is known, so there is nothing to compare.
            return self.decide_split(known, SplitConfirmation::Confirmed, SplitDecisionReason::News).await;
        };
        self.keep_reference(known, Some(reference.clone())).await?;
        let expected = history.convert(AsTraded::new(reference.0, reference.1), at);
        let verdict = judge_split(&expected, &found);
        let to = match verdict {
            SplitVerdict::Confirmed => SplitConfirmation::Confirmed,
            SplitVerdict::Contradicted => SplitConfirmation::Suspended,
        };
        self.decide_split(known, to, SplitDecisionReason::Price(expected, found)).await
    }

    async fn keep_reference(&self, known: &KnownAction, reference: Option<(Price, Timestamp)>) -> Result<()> {
        let kept = known.check.as_ref().and_then(|check| check.reference.as_ref());
        let Some((price, at)) = reference.filter(|found| Some(found) != kept) else { return Ok(()) };
        let id = known.id;
        self.store.write(move |tx| actions::set_reference(tx, id, (&price, at)).map_err(Error::from)).await?;
        self.action_counter.increase();
        Ok(())
    }

    async fn decide_split(
        &self,
        known: &KnownAction,
        to: SplitConfirmation,
        by: SplitDecisionReason,
    ) -> Result<()> {
        let (id, now) = (known.id, self.market.clock.wall());
        let decided = self
            .store
            .write(move |tx| {
                actions::decide(tx, id, (SplitConfirmation::Awaiting, to), &by, now).map_err(Error::from)
            })
            .await?;
        self.action_counter.increase();
        if decided && to == SplitConfirmation::Suspended {
            let split = &known.action.id;
            tracing::warn!(event = "split_suspended", %split, "a price contradicts a split: trading in the stock is halted");
            self.reverse_splits().await?;
        }
        Ok(())
    }

    /// Returns the source's newest price if it is from after the split.
    async fn newest_price_after(
        &self,
        known: &KnownAction,
        stock: &Stock,
        now: Timestamp,
    ) -> Option<AsTraded<Price>> {
        if self.market.quotes.is_scarce() {
            return None;
        }
        let symbols = [stock.listing.symbol.clone()];
        // Another process may have received it, for any purpose.
        let seen = self.market.quotes.published_quotes(&symbols).await.ok()?;
        if let Some(seen) = seen.into_values().find(|seen| seen.quote.as_of >= known.effective_at) {
            return Some(price_of(seen.quote.into()));
        }
        let answers = self.market.quotes.quotes(Purpose::Scheduled, &symbols, now).await;
        let quote = answers.into_iter().next()?.ok()?;
        (quote.at() >= known.effective_at).then(|| price_of(quote))
    }

    /// Reverses the splits that are no longer in force in every portfolio that still has them. Can be repeated, and run
    /// in several processes at the same time.
    ///
    /// # Errors
    /// Only when the database fails.
    pub(crate) async fn reverse_splits(&self) -> Result<usize> {
        let mut reversed = 0;
        for known in self.undecided_splits().await?.iter().filter(|known| known.needs_reversal()) {
            let (calendar, now) = (self.market.calendar, self.market.now());
            let known = known.clone();
            let reverse = move |tx: &mut Tx<'_>, after| {
                let ids = actions::portfolios_to_reverse(tx, known.id, after, BATCH)?;
                let changes = reverse_in(tx, &known, &ids, calendar, now)?;
                if ids.is_empty() {
                    actions::set_all_reversed(tx, known.id, now)?;
                }
                Ok::<_, Error>((ids.last().copied(), changes))
            };
            reversed += self.in_batches(PortfolioId(0), reverse).await?;
            self.action_counter.increase();
        }
        Ok(reversed)
    }
}

pub(crate) fn halted(symbol: &Symbol, hold: TradingHold) -> Error {
    Error::TradingHalted { symbol: symbol.clone(), hold: Box::new(hold) }
}

/// The price that is shown for a stock while its split is suspended: the last one before the split, marked as stale.
pub(crate) fn price_before_split(
    stock: &Stock,
    known: &KnownAction,
    source: PriceSource,
) -> Option<AsTraded<Quote>> {
    let (price, as_of) = known.check.as_ref()?.reference.clone()?;
    let freshness = stock.last.as_ref().map_or(Freshness::EndOfDay, |last| last.freshness);
    let quote = Quote {
        symbol: stock.listing.symbol.clone(),
        price,
        bid: None,
        ask: None,
        previous_close: None,
        volume: None,
        as_of,
        source,
        freshness,
        stale: true,
    };
    Some(quote.into())
}

/// Whether a price from after a split contradicts it. `history` contains all splits of the stock.
pub(crate) fn is_contradicted(known: &KnownAction, history: &SplitHistory, quote: &AsTraded<Quote>) -> bool {
    let reference = known.check.as_ref().and_then(|check| check.reference.clone());
    let Some((price, at)) = reference.filter(|_| quote.at() >= known.effective_at) else { return false };
    let expected = history.convert(AsTraded::new(price, at), quote.at());
    judge_split(&expected, &quote.as_traded().price) == SplitVerdict::Contradicted
}

/// Stores an action that a source reports. A split on the same day as a split in doubt is corrected news, and replaces
/// it. Returns whether the action is new.
pub(crate) fn record_reported_action(
    tx: &mut Tx<'_>,
    reported: &ReportedAction,
    now: Timestamp,
    wall: Timestamp,
) -> Stored<bool> {
    let (stock, ex_on) = (reported.stock_id, reported.action.ex_on);
    if let Some(ratio) = reported.action.ratio()
        && let Some(known) = actions::split_on(tx, stock, ex_on)?.into_iter().next_back()
        && known.action.ratio() != Some(ratio)
        && let Some(check) = known.check.as_ref().filter(|_| known.hold(now).is_some())
        && !actions::is_decided_by_administrator(tx, stock, ex_on)?
    {
        let to = (check.confirmation, SplitConfirmation::Withdrawn);
        if !actions::decide(tx, known.id, to, &SplitDecisionReason::News, wall)? {
            return Ok(false);
        }
        actions::replace_split(tx, &known, ratio, &SplitDecisionReason::News, wall)?;
        return Ok(true);
    }
    // The same action is reported under another id after the stock got another symbol.
    if is_recorded_by_other_name(tx, reported)? {
        return Ok(false);
    }
    actions::note(tx, reported, now)
}

fn is_recorded_by_other_name(tx: &mut Tx<'_>, reported: &ReportedAction) -> Stored<bool> {
    let known = actions::of_stock(tx, reported.stock_id)?;
    let is_of_day = |known: &&KnownAction| {
        known.action.ex_on == reported.action.ex_on
            && known.action.kind.as_str() == reported.action.kind.as_str()
    };
    let mut of_day = known.iter().filter(is_of_day).peekable();
    Ok(of_day.peek().is_some() && of_day.all(|known| known.action.id != reported.action.id))
}

/// Reverses a split in those of the portfolios that still have it. Returns the changes to announce.
pub(crate) fn reverse_in(
    tx: &mut Tx<'_>,
    known: &KnownAction,
    ids: &[PortfolioId],
    calendar: Calendar,
    now: Timestamp,
) -> Stored<Vec<Change>> {
    let Some(ratio) = known.action.ratio() else { return Ok(Vec::new()) };
    let locked = portfolios::lock(tx, ids)?;
    let still: Vec<PortfolioId> = {
        let still = actions::portfolios_with_unreversed(tx, known.id, ids)?;
        locked.iter().map(|one| one.portfolio.id).filter(|id| still.contains(id)).collect()
    };
    if still.is_empty() {
        return Ok(Vec::new());
    }
    let stock = known.stock_id;
    let journal = transactions::of_stock_since(tx, &still, stock, known.effective_at)?;
    let mut batch = Affected::load(tx, known, locked, &still)?;
    for (id, one) in &mut batch.portfolios {
        let own: Vec<JournalEntry> =
            journal.iter().filter(|entry| entry.portfolio_id == *id).cloned().collect();
        let split = own.iter().position(|entry| {
            entry.action.as_ref().is_some_and(|action| action.id == known.id && entry.split().is_some())
        });
        let since = split.map_or_else(Vec::new, |split| without_reversed(own[split + 1..].to_vec()));
        let mut none = Vec::new();
        let groups = batch.groups.get_mut(id).unwrap_or(&mut none);
        let open: Vec<_> = groups.iter().flat_map(|group| &group.orders).collect();
        let before = actions::orders_before(tx, known.id, &open)?;
        let before = before.into_iter().map(|order| (order.id, order)).collect();
        let at = one.last.max(now);
        let reversal = SplitReversal {
            stock_id: stock,
            ratio,
            effective_at: known.effective_at,
            at,
            entry: split.map(|split| &own[split]),
            since: &since,
            orders: &before,
        };
        batch.entries.extend(one.portfolio.reverse_split(reversal, groups).map_err(corrupt)?);
        batch.written.insert(*id);
        one.last = at;
    }
    let changes = still.iter().filter_map(|id| batch.change(*id)).collect();
    batch.save(tx)?;
    actions::set_reversed(tx, known.id, &still, now)?;
    mark_snapshots(tx, known.effective_at, calendar, now)?;
    Ok(changes)
}

/// The newest accepted price from before a split.
fn reference_price(
    tx: &mut Tx<'_>,
    split: &KnownAction,
    stock: &Stock,
    source: &PriceSource,
    calendar: Calendar,
) -> Stored<Option<(Price, Timestamp)>> {
    let kept = split.check.as_ref().and_then(|check| check.reference.clone());
    let last = stock.last.as_ref().filter(|last| last.source == source.as_str());
    let last = last.map(|last| (last.price.clone(), last.as_of)).filter(|(_, at)| *at < split.effective_at);
    let day_before = split.action.ex_on - Days::new(1);
    let bar = stocks::closes_on(tx, &[stock.id], day_before)?.pop();
    let bar = bar.map(|(_, day, close)| (close, session_basis(calendar, day)));
    Ok([kept, bar, last].into_iter().flatten().max_by_key(|(_, at)| *at))
}

/// The first stored price from after a split.
fn first_price_after(
    tx: &mut Tx<'_>,
    split: &KnownAction,
    stock: &Stock,
    source: &PriceSource,
    calendar: Calendar,
) -> Stored<Option<AsTraded<Price>>> {
    let ex_on = split.action.ex_on;
    let bars = stocks::bars_from(tx, stock.id, source.as_str(), ex_on, ex_on + Days::new(400))?;
    if let Some(first) = bars.into_iter().next() {
        return Ok(Some(AsTraded::new(first.close, session_basis(calendar, first.date))));
    }
    let last = stock.last.as_ref().filter(|last| last.source == source.as_str());
    let last = last.filter(|last| last.as_of >= split.effective_at);
    Ok(last.map(|last| AsTraded::new(last.price.clone(), last.as_of)))
}

fn price_of(quote: AsTraded<Quote>) -> AsTraded<Price> {
    let at = quote.at();
    AsTraded::new(quote.into_as_traded().price, at)
}
