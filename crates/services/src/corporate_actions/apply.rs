//! Applying corporate actions to portfolios, in batches.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use domain::journal::{JournalEntry, booked_after, in_new_shares};
use domain::portfolio::actions::{Booking, LISTING_ENDED};
use domain::share_remainder::ShareRemainder;
use domain::{
    Calendar, CorporateAction, CorporateActionKind, KnownAction, Listing, Money, Order, OrderGroup,
    PortfolioId, Quantity, SplitConfirmation, StockId, Timestamp,
};
use market_data::{Catalogue, Purpose};
use persistence::corporate_actions::{self as actions, Applied};
use persistence::portfolios::LockedPortfolio;
use persistence::{StoreError, Tx, orders, portfolios, positions, stocks, transactions};

use super::learn::last_request_at;
use super::stale_snapshots::mark_snapshots;
use super::{BATCH, CorporateActions, Stored};
use crate::corporate_actions::splits::reverse_in;
use crate::error::{Error, Result};
use crate::events::{Change, orders_to_announce};

/// The result of applying due actions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppliedCount {
    /// Actions that are now applied to all portfolios.
    pub actions: usize,
    /// Portfolios to which an action was applied in this call.
    pub portfolios: usize,
    /// Dividends paid.
    pub payments: usize,
}

/// Applies due splits, delistings and close-outs to these portfolios before their orders are decided, so that shares
/// and orders are in the share basis of today. Returns whether any action was due; the caller must then read the rows
/// again.
pub(crate) fn apply_before_orders(
    tx: &mut Tx<'_>,
    at_hand: &[KnownAction],
    ids: &[PortfolioId],
    calendar: Calendar,
    now: Timestamp,
) -> Stored<bool> {
    let mut any = false;
    for known in at_hand.iter().filter(|known| known.needs_reversal()) {
        reverse_in(tx, known, ids, calendar, now)?;
        any = true;
    }
    for known in at_hand.iter().filter(|known| known.is_in_force() && known.applied_at.is_none()) {
        if matches!(
            known.action.kind,
            CorporateActionKind::Split { .. }
                | CorporateActionKind::Delisting
                | CorporateActionKind::CloseOut(_)
        ) {
            apply_to(tx, known, ids, calendar, now)?;
            any = true;
        }
    }
    Ok(any)
}

/// Applies an action to those of the portfolios that have not had it yet. Returns the changes to announce.
fn apply_to(
    tx: &mut Tx<'_>,
    known: &KnownAction,
    ids: &[PortfolioId],
    calendar: Calendar,
    now: Timestamp,
) -> Stored<Vec<Change>> {
    let (changes, is_any_applied) = apply_once(tx, known, ids, now)?;
    if is_any_applied {
        mark_snapshots(tx, known.effective_at, calendar, now)?;
    }
    Ok(changes)
}

/// Applies an action to a portfolio that is being filled with transactions of the past, unless it has had it. Its
/// snapshots are taken afterwards in any case.
pub(crate) fn apply_in_books(
    tx: &mut Tx<'_>,
    known: &KnownAction,
    id: PortfolioId,
    now: Timestamp,
) -> Stored<()> {
    apply_once(tx, known, &[id], now).map(drop)
}

/// As [`apply_to`] without marking snapshots. Also answers whether the action concerns one of the portfolios.
fn apply_once(
    tx: &mut Tx<'_>,
    known: &KnownAction,
    ids: &[PortfolioId],
    now: Timestamp,
) -> Stored<(Vec<Change>, bool)> {
    let locked = portfolios::lock(tx, ids)?;
    let had = actions::portfolios_with_applied(tx, known.id, ids)?;
    let open: Vec<PortfolioId> =
        locked.iter().map(|locked| locked.portfolio.id).filter(|id| !had.contains(id)).collect();
    if open.is_empty() {
        return Ok((Vec::new(), false));
    }
    let stock = known.stock_id;
    if known.check.is_some() {
        // The shared lock keeps the action from being suspended until this transaction ends.
        match actions::lock_shared(tx, known.id)? {
            Some(known) if known.is_in_force() => {}
            _ => return Ok((Vec::new(), false)),
        }
    }
    let mut batch = Affected::load(tx, known, locked, &open)?;
    let mut remainders = match known.action.ratio() {
        Some(_) => share_remainders(tx, stock, &open)?,
        None => HashMap::new(),
    };
    let is_awaiting =
        known.check.as_ref().is_some_and(|check| check.confirmation == SplitConfirmation::Awaiting);
    let mut applied = Vec::new();
    for (id, one) in &mut batch.portfolios {
        let since = batch.since.get(id).map_or(&[][..], Vec::as_slice);
        let groups = batch.groups.get_mut(id);
        let booking = Booking {
            id: known.id,
            stock_id: stock,
            effective_at: known.effective_at,
            at: one.last.max(known.effective_at),
        };
        let mut none = Vec::new();
        let groups = groups.unwrap_or(&mut none);
        let portfolio = &mut one.portfolio;
        let quantity = portfolio.entitled(stock, since);
        let mut amount = Money::zero();
        match &known.action.kind {
            CorporateActionKind::Split { .. } => {
                let Some(ratio) = known.action.ratio() else { continue };
                if is_awaiting {
                    let orders = groups.iter().flat_map(|group| &group.orders);
                    let before: Vec<&Order> = orders
                        .filter(|order| order.status.is_open() && order.submitted_at < known.effective_at)
                        .collect();
                    actions::keep_orders(tx, known.id, &before)?;
                }
                let remainder = &mut remainders.remove(id).unwrap_or_default();
                let since = in_new_shares(known.effective_at, since);
                let entry = portfolio.split(booking, ratio, &since, remainder, groups).map_err(corrupt)?;
                if entry.is_none() && groups.is_empty() {
                    continue;
                }
                batch.entries.extend(entry);
                batch.written.insert(*id);
                one.last = booking.at;
            }
            CorporateActionKind::CashDividend { amount: per_share, .. } => {
                amount = per_share.times(&quantity);
                if quantity.is_zero() {
                    continue;
                }
            }
            CorporateActionKind::Delisting => {
                if groups.is_empty() {
                    continue;
                }
                for group in groups.iter_mut() {
                    portfolio.cancel_for(group, LISTING_ENDED, booking.at).map_err(corrupt)?;
                }
                batch.written.insert(*id);
                one.last = booking.at;
                // No row marks the portfolio as done: orders that are placed until the delisting is applied everywhere
                // must be canceled too.
                continue;
            }
            CorporateActionKind::CloseOut(terms) => {
                let quantity = portfolio.positions.get(&stock).map(|position| position.quantity.clone());
                let lines = portfolio.close_out(booking, terms, groups).map_err(corrupt)?;
                if lines.is_empty() && groups.is_empty() {
                    continue;
                }
                batch.written.insert(*id);
                one.last = booking.at;
                let Some(given) = quantity.filter(|_| !lines.is_empty()) else { continue };
                batch.entries.extend(lines);
                applied.push(Applied {
                    portfolio_id: *id,
                    action_id: known.id,
                    quantity: given,
                    amount,
                    booked_at: now,
                    paid_at: Some(now),
                    reversed_at: None,
                });
                continue;
            }
            CorporateActionKind::SymbolChange { .. } => continue,
        }
        // A dividend of less than a cent counts as paid immediately.
        let paid_at = amount.is_zero().then_some(now);
        let (portfolio_id, action_id) = (*id, known.id);
        applied.push(Applied {
            portfolio_id,
            action_id,
            quantity,
            amount,
            booked_at: now,
            paid_at,
            reversed_at: None,
        });
    }
    let touched: BTreeSet<PortfolioId> =
        applied.iter().map(|row| row.portfolio_id).chain(batch.written.iter().copied()).collect();
    let changes = touched.into_iter().filter_map(|id| batch.change(id)).collect();
    batch.save(tx)?;
    actions::insert_applied(tx, &applied)?;
    owe(tx, &applied)?;
    Ok((changes, !applied.is_empty()))
}

/// The fractions of shares that earlier splits have cut off in these portfolios.
fn share_remainders(
    tx: &mut Tx<'_>,
    stock: StockId,
    ids: &[PortfolioId],
) -> Stored<HashMap<PortfolioId, ShareRemainder>> {
    let with_splits = transactions::with_splits_of(tx, ids, stock)?;
    let mut journals: HashMap<PortfolioId, Vec<JournalEntry>> = HashMap::new();
    for entry in transactions::of_stock(tx, &with_splits, stock)? {
        journals.entry(entry.portfolio_id).or_default().push(entry);
    }
    Ok(journals.into_iter().map(|(id, entries)| (id, ShareRemainder::of_journal(&entries))).collect())
}

/// The portfolios of a batch that an action is applied to, with their orders, positions and journal lines in its stock.
pub(crate) struct Affected {
    pub portfolios: BTreeMap<PortfolioId, LockedPortfolio>,
    pub groups: HashMap<PortfolioId, Vec<OrderGroup>>,
    /// Journal lines booked since the action took effect.
    since: HashMap<PortfolioId, Vec<JournalEntry>>,
    pub entries: Vec<JournalEntry>,
    pub written: BTreeSet<PortfolioId>,
}

impl Affected {
    pub fn load(
        tx: &mut Tx<'_>,
        known: &KnownAction,
        locked: Vec<LockedPortfolio>,
        ids: &[PortfolioId],
    ) -> Stored<Self> {
        let stock = known.stock_id;
        let wanted: HashSet<PortfolioId> = ids.iter().copied().collect();
        let mut portfolios: BTreeMap<PortfolioId, LockedPortfolio> = locked
            .into_iter()
            .map(|locked| (locked.portfolio.id, locked))
            .filter(|(id, _)| wanted.contains(id))
            .collect();
        let into = match &known.action.kind {
            CorporateActionKind::CloseOut(terms) => terms.into_stock().map(|(into, _)| into),
            _ => None,
        };
        let mut pairs: Vec<_> = ids.iter().map(|id| (*id, stock)).collect();
        pairs.extend(into.iter().flat_map(|into| ids.iter().map(|id| (*id, *into))));
        for ((id, stock), (position, reserved)) in positions::of_pairs(tx, &pairs)? {
            if let Some(one) = portfolios.get_mut(&id) {
                one.portfolio.positions.insert(stock, position);
                one.portfolio.reserved.shares.insert(stock, reserved);
            }
        }
        let mut groups: HashMap<PortfolioId, Vec<OrderGroup>> = HashMap::new();
        if !matches!(known.action.kind, CorporateActionKind::CashDividend { .. }) {
            let open = orders::open_ids_of_stock(tx, ids, stock)?;
            for group in orders::groups(tx, &open)? {
                groups.entry(group.root().portfolio_id).or_default().push(group);
            }
        }
        let mut since: HashMap<PortfolioId, Vec<JournalEntry>> = HashMap::new();
        for entry in transactions::of_stock_since(tx, ids, stock, known.effective_at)? {
            since.entry(entry.portfolio_id).or_default().push(entry);
        }
        let is_dividend = matches!(known.action.kind, CorporateActionKind::CashDividend { .. });
        for entries in since.values_mut() {
            *entries = booked_after(stock, known.effective_at, entries);
            entries.retain(|entry| !(is_dividend && entry.includes_dividend(known)));
        }
        Ok(Self { portfolios, groups, since, entries: Vec::new(), written: BTreeSet::new() })
    }

    pub fn change(&self, id: PortfolioId) -> Option<Change> {
        let groups = self.groups.get(&id).filter(|_| self.written.contains(&id));
        let LockedPortfolio { user_id, last, .. } = self.portfolios.get(&id)?;
        let groups = groups.map_or(&[][..], Vec::as_slice);
        let orders = groups.iter().flat_map(|group| orders_to_announce(group, *last)).collect();
        Some(Change { user: *user_id, portfolio: id, orders })
    }

    pub fn save(&self, tx: &mut Tx<'_>) -> Stored<()> {
        let groups = self.groups.iter().filter(|(id, _)| self.written.contains(id));
        let changed: Vec<_> = groups.flat_map(|(_, groups)| groups).flat_map(|group| &group.orders).collect();
        orders::update(tx, &changed)?;
        transactions::append(tx, &self.entries)?;
        let books = || self.written.iter().filter_map(|id| self.portfolios.get(id));
        let none = Quantity::zero();
        let changed: Vec<positions::ChangedPosition<'_>> = books()
            .flat_map(|one| {
                one.portfolio.positions.iter().map(|(stock, position)| {
                    let reserved = one.portfolio.reserved.shares.get(stock).unwrap_or(&none);
                    positions::ChangedPosition {
                        portfolio: one.portfolio.id,
                        stock: *stock,
                        position,
                        reserved,
                    }
                })
            })
            .collect();
        positions::save(tx, &changed)?;
        let cash: Vec<_> = books().map(|one| (&one.portfolio, one.last)).collect();
        portfolios::save_cash(tx, &cash)
    }
}

/// Adds the newly owed dividends to the portfolios' totals.
fn owe(tx: &mut Tx<'_>, applied: &[Applied]) -> Stored<()> {
    let owed: HashMap<PortfolioId, &Money> = applied
        .iter()
        .filter(|row| !row.amount.is_zero())
        .map(|row| (row.portfolio_id, &row.amount))
        .collect();
    let ids: Vec<PortfolioId> = owed.keys().copied().collect();
    for row in portfolios::by_ids(tx, &ids)? {
        let amount = owed[&row.id];
        portfolios::save_dividends(
            tx,
            row.id,
            &(row.dividends + amount),
            &(row.dividends_receivable + amount),
        )?;
    }
    Ok(())
}

/// Gives a stock its new symbol, unless the stock has it already.
pub(crate) fn rename(
    tx: &mut Tx<'_>,
    stock: StockId,
    action: &CorporateAction,
    listing: Option<&Listing>,
) -> Stored<()> {
    let CorporateActionKind::SymbolChange { to } = &action.kind else { return Ok(()) };
    let company_name = listing.map(|listing| listing.company_name.as_str());
    if !stocks::rename(tx, stock, (&action.symbol, to), company_name, action.ex_on)? {
        tracing::error!(old = %action.symbol, new = %to, "another stock in use has the new symbol: not renamed");
    }
    Ok(())
}

pub(crate) fn corrupt(fault: domain::order::IllegalTransition) -> StoreError {
    StoreError::Corrupt(fault.to_string())
}

impl CorporateActions {
    /// Applies actions in effect to all portfolios that have not had them, and pays due dividends. Can be repeated, and
    /// run in several processes at the same time.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn apply_corporate_actions(&self) -> Result<AppliedCount> {
        let mut count = AppliedCount::default();
        let now = self.market.now();
        // A split that a price already contradicts is not booked.
        self.judge_splits().await?;
        count.portfolios += self.reverse_splits().await?;
        for known in self.store.read(move |tx| actions::due(tx, now).map_err(Error::from)).await? {
            count.portfolios += self.apply_action(known, now).await?;
            count.actions += 1;
        }
        count.payments = self.pay_dividends(now).await?;
        Ok(count)
    }

    /// Calls [`CorporateActions::apply_corporate_actions`] if an action is due.
    pub(crate) async fn apply_due_actions(&self) -> Result<()> {
        let now = self.market.now();
        let due = self.store.read(move |tx| actions::due(tx, now).map_err(Error::from)).await?;
        let is_undecided = |known: &KnownAction| known.hold(now).is_some() || known.needs_reversal();
        if !due.is_empty() || self.undecided_splits().await?.iter().any(is_undecided) {
            self.apply_corporate_actions().await?;
        }
        Ok(())
    }

    /// Prepares the snapshots of a session: learns and applies the actions that took effect up to its close.
    pub(crate) async fn catch_up_actions(&self, opened_at: Timestamp) -> Result<()> {
        let asked = self.store.read(|tx| last_request_at(tx).map_err(Error::from)).await?;
        let complete = matches!(self.market.quotes.catalogue(opened_at), Catalogue::Complete(_));
        if complete && asked.is_none_or(|asked| asked < opened_at) {
            self.learn_corporate_actions().await?;
        }
        self.apply_corporate_actions().await?;
        Ok(())
    }

    /// Applies splits in effect to portfolios that are about to be read, before the job has applied them to all
    /// portfolios. The shares and the prices they are valued at are then in the same share basis.
    ///
    /// # Errors
    /// Only when the database fails.
    pub(crate) async fn apply_splits_before_reading(&self, ids: &[PortfolioId]) -> Result<()> {
        let in_effect = self.splits_in_effect().await?;
        if in_effect.is_empty() || ids.is_empty() {
            return Ok(());
        }
        let now = self.market.now();
        let (ids, calendar) = (ids.to_vec(), self.market.calendar);
        let changes = self
            .store
            .write(move |tx| {
                let mut changes = Vec::new();
                for known in &in_effect {
                    changes.extend(match known.needs_reversal() {
                        true => reverse_in(tx, known, &ids, calendar, now)?,
                        false => apply_to(tx, known, &ids, calendar, now)?,
                    });
                }
                Ok::<_, Error>(changes)
            })
            .await?;
        self.events.announce(&changes);
        Ok(())
    }

    pub(crate) async fn apply_action(&self, known: KnownAction, now: Timestamp) -> Result<usize> {
        let calendar = self.market.calendar;
        match &known.action.kind {
            CorporateActionKind::SymbolChange { to } => {
                let listing =
                    self.market.quotes.listing(Purpose::FirstSight { user: None }, to, now).await.ok();
                let known = known.clone();
                self.store
                    .write(move |tx| {
                        rename(tx, known.stock_id, &known.action, listing.as_ref())?;
                        actions::set_applied(tx, known.id, now).map_err(Error::from)
                    })
                    .await?;
                self.market.stock_changes.record();
                return Ok(0);
            }
            CorporateActionKind::Delisting => {
                let (id, stock, on) = (known.id, known.stock_id, known.action.ex_on);
                self.store
                    .write(move |tx| match actions::lock_shared(tx, id)? {
                        // The delisting may have been withdrawn since it was read.
                        Some(known) if known.is_in_force() => {
                            stocks::delist(tx, stock, on).map_err(Error::from)
                        }
                        _ => Ok(()),
                    })
                    .await?;
                self.market.stock_changes.record();
            }
            CorporateActionKind::Split { .. }
            | CorporateActionKind::CashDividend { .. }
            | CorporateActionKind::CloseOut(_) => {}
        }
        let apply = move |tx: &mut Tx<'_>, after| {
            let ids = actions::portfolios_concerned(tx, known.stock_id, after, BATCH)?;
            let changes = apply_to(tx, &known, &ids, calendar, now)?;
            if ids.is_empty() {
                actions::set_applied(tx, known.id, now)?;
            }
            Ok::<_, Error>((ids.last().copied(), changes))
        };
        self.in_batches(PortfolioId(0), apply).await
    }

    /// Runs `batch` in successive transactions, each starting after the last item of the previous one, until `batch`
    /// returns no last item. Announces the changes of each transaction. Returns the number of changes.
    pub(super) async fn in_batches<K: Copy + Send + 'static>(
        &self,
        first: K,
        batch: impl Fn(&mut Tx<'_>, K) -> Result<(Option<K>, Vec<Change>)> + Clone + Send + 'static,
    ) -> Result<usize> {
        let (mut after, mut changed) = (first, 0);
        loop {
            let batch = batch.clone();
            let (last, changes) = self.store.write(move |tx| batch(tx, after)).await?;
            changed += changes.len();
            self.events.announce(&changes);
            match last {
                Some(last) => after = last,
                None => return Ok(changed),
            }
        }
    }
}
