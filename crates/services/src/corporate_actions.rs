//! Splits, dividends, new symbols and ends of listings: learning of them, and giving everybody what is theirs.
//!
//! An action is applied to portfolios in batches, each in one transaction, and once to each: the database keeps a row
//! for every portfolio that has had it. So applying can be done again, late, by several processes and beside orders.
//! The desk applies what is due to the portfolios of a batch before it decides on their orders.

pub mod close_outs;
pub mod delistings;
pub(crate) mod listing_changes;
pub(crate) mod noted;
pub(crate) mod recorded_splits;
pub mod renames;
pub(crate) mod seen_actions;
pub mod splits;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{Days, NaiveDate, TimeDelta};
use domain::action_history::LessDividends;
use domain::calendar::exchange_date;
use domain::journal::{JournalEntry, booked_after, in_new_shares};
use domain::portfolio::actions::{Booking, LISTING_ENDED};
use domain::share_remainder::ShareRemainder;
use domain::{
    ActionHistory, ActionId, AsTraded, Calendar, CorporateAction, CorporateActionKind, KnownAction, Listing,
    Money, Order, OrderGroup, PortfolioId, Quantity, Quote, SplitConfirmation, Stock, StockId, Symbol,
    Timestamp,
};
use market_data::{Catalogue, QuoteError};
use persistence::corporate_actions::{self as actions, Applied, Told};
use persistence::portfolios::LockedPortfolio;
use persistence::{
    Store, StoreError, Tx, former_symbols, installation, orders, portfolios, positions, stocks, transactions,
};

use crate::Market;
use crate::corporate_actions::listing_changes::ReviewedCompanies;
use crate::corporate_actions::noted::Noted;
use crate::corporate_actions::seen_actions::NotedActions;
use crate::corporate_actions::seen_actions::confirmation_of_news;
use crate::corporate_actions::splits::{note_told, reverse_in};
use crate::error::{Error, Result};
use crate::events::{Change, Events};
use crate::market::book_calendar::BookCalendar;
use crate::market::instruments::Instruments;

/// What only the database can make fail.
pub(crate) type Stored<T> = std::result::Result<T, StoreError>;

/// News of actions is taken for as long after they took effect.
pub(crate) const LATEST_NEWS: Days = Days::new(45);
/// News are asked for from so long before the last time on: they may be published late.
const NEWS_OVERLAP: Days = Days::new(10);
/// So far ahead announcements are asked for.
pub(crate) const AHEAD: Days = Days::new(60);
/// Portfolios that are locked and written in one transaction.
pub(crate) const BATCH: i64 = 300;
/// Why a stock whose listing has ended is not traded.
pub(crate) const ENDED: &str = "its listing has ended";

/// When a source was last asked about everything, market time.
const ASKED: &str = "corporate_actions_asked";
/// When a source whose calls are few was last asked about each stock, by id.
const ASKED_OF_STOCKS: &str = "corporate_actions_asked_of_stocks";

/// Since which session snapshots were taken without knowing all.
const SNAPSHOTS_SINCE: &str = "snapshots_to_take_again";

/// What applying due actions came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppliedCount {
    /// Actions that everybody has had now.
    pub actions: usize,
    /// Portfolios that have had one of them now.
    pub portfolios: usize,
    /// Dividends paid.
    pub payments: usize,
}

/// The use cases of corporate actions. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct CorporateActions {
    store: Store,
    market: Arc<Market>,
    instruments: Arc<Instruments>,
    events: Arc<Events>,
    noted: Noted,
    pending_splits: Arc<PendingSplits>,
    seen_actions: Arc<NotedActions>,
    reviewed: Arc<ReviewedCompanies>,
}

impl CorporateActions {
    pub(crate) fn new(
        store: Store,
        market: Arc<Market>,
        instruments: Arc<Instruments>,
        events: Arc<Events>,
        noted: Noted,
    ) -> Self {
        Self {
            store,
            market,
            instruments,
            events,
            noted,
            pending_splits: Arc::default(),
            seen_actions: Arc::default(),
            reviewed: Arc::default(),
        }
    }

    /// The same with more time for each call of the database.
    pub(crate) fn for_jobs(&self) -> Self {
        Self {
            store: self.store.for_jobs(),
            instruments: Arc::new(self.instruments.for_jobs()),
            ..self.clone()
        }
    }

    /// How often this process has noted something new.
    pub(crate) fn noted(&self) -> &Noted {
        &self.noted
    }
}

impl CorporateActions {
    /// Asks the source what happens to the stocks that concern somebody, and notes what is new. A source that lists
    /// all its instruments is asked about each of them, one whose calls are few each day about the one that has waited longest.
    ///
    /// # Errors
    /// Only when the database fails. A source that does not answer is asked again next time.
    pub async fn learn_corporate_actions(&self) -> Result<usize> {
        let now = self.market.now();
        let today = exchange_date(now);
        let all = matches!(self.market.quotes.catalogue(now), Catalogue::Complete(_));
        let asked = self.store.read(move |tx| {
            let found = if all { stocks::all(tx)? } else { stocks::concerning(tx)? };
            Ok::<_, Error>(found)
        });
        let mut asked = asked.await?;
        if self.market.quotes.is_scarce() {
            let times = self.store.read(times_asked).await?;
            let is_limited = self.market.quotes.limits().is_some_and(|limits| limits.per_day().is_some());
            let is_of_today =
                |stock: &Stock| times.get(&stock.id.0).is_some_and(|asked| exchange_date(*asked) == today);
            // One a day; none when one has been asked about already. Without a limit for the day, each once a day.
            match times.values().any(|asked| exchange_date(*asked) == today) {
                _ if !is_limited => asked.retain(|stock| !is_of_today(stock)),
                true => asked.clear(),
                false => keep_longest_not_asked(&mut asked, &times, 1),
            }
        }
        self.learn_about(asked).await
    }

    /// With calls of a source whose calls are few that nobody needs any more: asks about so many stocks that have waited longest.
    pub(crate) async fn learn_with_leftover_calls(&self, most: usize) -> Result<()> {
        let (mut asked, times) =
            self.store.read(|tx| Ok::<_, Error>((stocks::concerning(tx)?, times_asked(tx)?))).await?;
        keep_longest_not_asked(&mut asked, &times, most);
        self.learn_after_jumps(asked).await
    }

    /// Of prices that went up or down so much that shares may have been split: what the source tells of these stocks is
    /// noted and applied at once.
    pub(crate) async fn learn_after_jumps(&self, stocks: Vec<Stock>) -> Result<()> {
        if !stocks.is_empty() && self.learn_about(stocks).await? > 0 {
            self.apply_corporate_actions().await?;
        }
        Ok(())
    }

    async fn learn_about(&self, asked: Vec<Stock>) -> Result<usize> {
        let now = self.market.now();
        let today = exchange_date(now);
        let (first, last) = (
            today.checked_sub_days(LATEST_NEWS).unwrap_or(today),
            today.checked_add_days(AHEAD).unwrap_or(today),
        );
        let scarce = self.market.quotes.is_scarce();
        let times = self.store.read(times_asked).await?;
        let mut answered: Vec<StockId> = Vec::new();
        let calendar = self.market.calendar;
        let confirmation = confirmation_of_news(self.market.quotes.freshness());
        let wall = self.market.clock.wall();
        let mut told: Vec<Told> = Vec::new();
        let symbols: Vec<(StockId, Symbol)> =
            asked.iter().map(|stock| (stock.id, stock.listing.symbol.clone())).collect();
        let mut complete = true;
        for stock in asked {
            let symbol = &stock.listing.symbol;
            let first = news_since(times.get(&stock.id.0).copied(), first);
            let quotes = &self.market.quotes;
            let mut found = quotes.corporate_actions(symbol, first, last, now).await;
            while self.market.may_ask_again(found.as_ref().err()).await {
                found = quotes.corporate_actions(symbol, first, last, now).await;
            }
            // A call that was not allowed was not sent: the stock keeps its turn.
            if !matches!(found, Err(QuoteError::RateLimited { .. })) {
                answered.push(stock.id);
            }
            match found {
                Ok(found) => told.extend(found.into_iter().map(|action| Told {
                    stock_id: stock.id,
                    effective_at: action.effective_at(calendar),
                    pays_at: action.pays_at(calendar),
                    confirmation,
                    action,
                })),
                Err(error) => {
                    complete = false;
                    tracing::debug!(%symbol, error = &error as &dyn std::error::Error, "no news of corporate actions");
                }
            }
        }
        let new = self
            .store
            .write(move |tx| {
                let mut new = 0;
                // What happened to another company that has the symbol now is none of the stock's.
                let unchanged = former_symbols::unchanged(tx, &symbols)?;
                for told in told.iter().filter(|told| unchanged.contains(&told.stock_id)) {
                    new += usize::from(note_told(tx, told, now, wall)?);
                }
                if scarce {
                    // Also those that nothing was told of: the others are to have their turn.
                    let mut times = times_asked(tx)?;
                    times.extend(answered.iter().map(|id| (id.0, now)));
                    let times = serde_json::to_string(&times).map_err(Error::internal)?;
                    installation::set(tx, ASKED_OF_STOCKS, &times)?;
                } else if complete {
                    installation::set(tx, ASKED, &serde_json::to_string(&now).map_err(Error::internal)?)?;
                }
                Ok(new)
            })
            .await;
        self.noted.increase();
        new
    }

    /// Applies what has taken effect to everybody who has not had it, and pays the dividends that are to be paid. Safe to
    /// repeat and to do in several processes at once.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn apply_corporate_actions(&self) -> Result<AppliedCount> {
        let mut count = AppliedCount::default();
        let now = self.market.now();
        // A split that a price contradicts already is not booked at all.
        self.judge_splits().await?;
        count.portfolios += self.reverse_splits().await?;
        for known in self.store.read(move |tx| actions::due(tx, now).map_err(Error::from)).await? {
            count.portfolios += self.apply_action(known, now).await?;
            count.actions += 1;
        }
        count.payments = self.pay_dividends(now).await?;
        Ok(count)
    }

    /// [`CorporateActions::apply_corporate_actions`] where something is due to be applied.
    pub(crate) async fn apply_due_actions(&self) -> Result<()> {
        let now = self.market.now();
        let due = self.store.read(move |tx| actions::due(tx, now).map_err(Error::from)).await?;
        let is_undecided = |known: &KnownAction| known.hold(now).is_some() || known.is_to_be_reversed();
        if !due.is_empty() || self.undecided_splits().await?.iter().any(is_undecided) {
            self.apply_corporate_actions().await?;
        }
        Ok(())
    }

    /// Before a session is settled: what has happened up to its close has been applied.
    pub(crate) async fn catch_up_actions(&self, opened_at: Timestamp) -> Result<()> {
        let asked = self.store.read(|tx| last_asked(tx).map_err(Error::from)).await?;
        let complete = matches!(self.market.quotes.catalogue(opened_at), Catalogue::Complete(_));
        if complete && asked.is_none_or(|asked| asked < opened_at) {
            self.learn_corporate_actions().await?;
        }
        self.apply_corporate_actions().await?;
        Ok(())
    }

    /// Applies the splits that are in effect to portfolios that are about to be read, so that their shares and the prices
    /// they are valued at are in one share basis, also before the job has applied the splits to everyone.
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
                    changes.extend(match known.is_to_be_reversed() {
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

    /// The splits that have taken effect and are not applied to everyone yet, and those not yet taken back everywhere.
    pub(crate) async fn splits_in_effect(&self) -> Result<Vec<KnownAction>> {
        let now = self.market.now();
        let is_due = |known: &&KnownAction| {
            let is_to_be_applied = known.is_in_force() && known.applied_at.is_none();
            known.effective_at <= now && (is_to_be_applied || known.is_to_be_reversed())
        };
        Ok(self.undecided_splits().await?.iter().filter(is_due).cloned().collect())
    }

    /// The splits that are announced, are not applied to everyone, hold trading, or are to be taken back.
    pub(crate) async fn undecided_splits(&self) -> Result<Arc<[KnownAction]>> {
        self.pending_splits.list(&self.store, &self.noted, self.market.clock.wall()).await
    }

    pub(crate) async fn apply_action(&self, known: KnownAction, now: Timestamp) -> Result<usize> {
        let calendar = self.market.calendar;
        match &known.action.kind {
            CorporateActionKind::SymbolChange { to } => {
                let listing = self.market.quotes.listing(to, now).await.ok();
                let known = known.clone();
                self.store
                    .write(move |tx| {
                        rename(tx, known.stock_id, &known.action, listing.as_ref())?;
                        actions::set_applied(tx, known.id, now).map_err(Error::from)
                    })
                    .await?;
                return Ok(0);
            }
            CorporateActionKind::Delisting => {
                let (id, stock, on) = (known.id, known.stock_id, known.action.ex_on);
                self.store
                    .write(move |tx| match actions::lock_shared(tx, id)? {
                        // It may have been taken back meanwhile.
                        Some(known) if known.is_in_force() => {
                            stocks::delist(tx, stock, on).map_err(Error::from)
                        }
                        _ => Ok(()),
                    })
                    .await?;
            }
            CorporateActionKind::Split { .. }
            | CorporateActionKind::CashDividend { .. }
            | CorporateActionKind::CloseOut(_) => {}
        }
        let (mut after, mut applied) = (PortfolioId(0), 0);
        loop {
            let known = known.clone();
            let (last, changes) = self
                .store
                .write(move |tx| {
                    let ids = actions::concerned(tx, known.stock_id, after, BATCH)?;
                    let changes = apply_to(tx, &known, &ids, calendar, now)?;
                    if ids.is_empty() {
                        actions::set_applied(tx, known.id, now)?;
                    }
                    Ok::<_, Error>((ids.last().copied(), changes))
                })
                .await?;
            applied += changes.len();
            self.events.announce(&changes);
            match last {
                Some(last) => after = last,
                None => return Ok(applied),
            }
        }
    }

    async fn pay_dividends(&self, now: Timestamp) -> Result<usize> {
        let calendar = self.market.calendar;
        let (mut after, mut paid) = ((ActionId(0), PortfolioId(0)), 0);
        loop {
            let (last, changes) = self.store.write(move |tx| pay_batch(tx, after, calendar, now)).await?;
            paid += changes.len();
            self.events.announce(&changes);
            match last {
                Some(last) => after = last,
                None => return Ok(paid),
            }
        }
    }

    pub(crate) async fn actions_of(&self, stock: &Stock, now: Timestamp) -> Result<Vec<CorporateAction>> {
        let id = stock.id;
        let known = self.store.read(move |tx| actions::of_stock(tx, id).map_err(Error::from)).await?;
        let today = exchange_date(now);
        let last = today.checked_add_days(AHEAD).unwrap_or(today);
        let told = match self.market.quotes.limits() {
            // Its calls are the jobs': what they have learned is in the database.
            Some(_) => Vec::new(),
            None => {
                let (symbol, first) = (&stock.listing.symbol, domain::period::EARLIEST);
                self.market.quotes.corporate_actions(symbol, first, last, now).await.unwrap_or_default()
            }
        };
        // What was applied counts, should the source tell it otherwise today.
        let mut all: BTreeMap<String, CorporateAction> = BTreeMap::new();
        for action in told.into_iter().chain(known.iter().map(|known| known.action.clone())) {
            all.insert(action.id.as_str().to_owned(), action);
        }
        for known in known.iter().filter(|known| !known.is_in_force()) {
            all.remove(known.action.id.as_str());
        }
        let mut all: Vec<CorporateAction> = all.into_values().collect();
        all.sort_by_key(|action| (action.ex_on, action.precedence()));
        Ok(all)
    }

    /// Converts quotes to the shares that exist at `at`, less dividends since; see [`ActionHistory::convert_quote`]. When all
    /// quotes are from the session under way, which is the usual case, this reads nothing from the database.
    ///
    /// # Errors
    /// Only when the database fails: an unconverted price would be wrong.
    pub(crate) async fn in_shares_at(
        &self,
        quotes: Vec<(StockId, AsTraded<Quote>)>,
        at: Timestamp,
    ) -> Result<Vec<Quote>> {
        let opened_at = self.market.opened_at(at);
        let oldest = quotes.iter().map(|(_, quote)| quote.at()).min();
        let Some(oldest) = oldest.filter(|oldest| *oldest < opened_at) else {
            return Ok(quotes.into_iter().map(|(_, quote)| quote.into_as_traded()).collect());
        };
        let histories = self.actions_between(self.market.previous_close_at(oldest), at).await?;
        let today = self.market.previous_close_at(at);
        let none = ActionHistory::default();
        let convert = |(stock, quote): (StockId, AsTraded<Quote>)| {
            let history = histories.0.get(&stock).unwrap_or(&none);
            let previous_close_at = self.market.previous_close_at(quote.at());
            history.convert_quote(quote, at, previous_close_at, today)
        };
        Ok(quotes.into_iter().map(convert).collect())
    }

    /// [`CorporateActions::in_shares_at`] for one quote.
    pub(crate) async fn one_in_shares_at(
        &self,
        stock: StockId,
        quote: AsTraded<Quote>,
        at: Timestamp,
    ) -> Result<Quote> {
        let mut converted = self.in_shares_at(vec![(stock, quote)], at).await?;
        Ok(converted.swap_remove(0))
    }

    /// Returns the splits and dividends of all stocks that took effect after `after` and until `until`.
    pub(crate) async fn actions_between(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<ActionHistories> {
        self.store.read(move |tx| ActionHistories::between(tx, after, until).map_err(Error::from)).await
    }
}

/// The splits that are not applied to everyone yet, including announced ones: a list that is read at most once a second.
#[derive(Default)]
pub(crate) struct PendingSplits(Mutex<Option<ReadSplits>>);

#[derive(Clone)]
struct ReadSplits {
    at: Timestamp,
    noted: u64,
    splits: Arc<[KnownAction]>,
}

impl PendingSplits {
    /// How long the list is used. A split that another process learns of late may be missed for as long.
    const GOOD_FOR: TimeDelta = TimeDelta::seconds(1);

    /// `wall` is the wall time.
    async fn list(&self, store: &Store, noted: &Noted, wall: Timestamp) -> Result<Arc<[KnownAction]>> {
        let version = noted.count();
        let read = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_good = |read: &ReadSplits| read.noted == version && (wall - read.at).abs() < Self::GOOD_FOR;
        if let Some(read) = read.filter(is_good) {
            return Ok(read.splits);
        }
        let pending =
            store.query(|statement| actions::pending_splits(statement).map_err(Error::from)).await?;
        let splits: Arc<[KnownAction]> = pending.into();
        let read = ReadSplits { at: wall, noted: version, splits: splits.clone() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(splits)
    }
}

/// The splits and dividends of each stock within a span of market time.
#[derive(Debug, Default)]
pub(crate) struct ActionHistories(HashMap<StockId, ActionHistory>);

impl ActionHistories {
    /// Reads the splits and dividends that took effect after `after` and until `until`.
    pub fn between(tx: &mut Tx<'_>, after: Timestamp, until: Timestamp) -> Stored<Self> {
        Ok(Self::of_known(&actions::taken_effect(tx, after, until)?))
    }

    pub fn of_known(actions: &[KnownAction]) -> Self {
        let mut histories: HashMap<StockId, ActionHistory> = HashMap::new();
        for known in actions {
            histories.entry(known.stock_id).or_default().push(known);
        }
        Self(histories)
    }

    /// Whether the stock has a split or a dividend.
    pub fn has(&self, stock: StockId) -> bool {
        self.0.get(&stock).is_some_and(|history| !history.is_empty())
    }

    /// Converts a price of the stock as [`ActionHistory::convert`] does.
    pub fn convert<T: LessDividends>(&self, stock: StockId, traded: AsTraded<T>, at: Timestamp) -> T {
        match self.0.get(&stock) {
            Some(history) => history.convert(traded, at),
            None => traded.into_as_traded(),
        }
    }
}

fn times_asked(tx: &mut Tx<'_>) -> Result<BTreeMap<i64, Timestamp>> {
    let kept = installation::get(tx, ASKED_OF_STOCKS)?;
    Ok(kept.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default())
}

/// What has to be done before orders of these portfolios are decided on: shares and orders after splits, and no orders
/// for what is traded no more. Answers whether anything was due; the rows are to be read again then.
pub(crate) fn apply_before_orders(
    tx: &mut Tx<'_>,
    at_hand: &[KnownAction],
    ids: &[PortfolioId],
    calendar: Calendar,
    now: Timestamp,
) -> Stored<bool> {
    let mut any = false;
    for known in at_hand.iter().filter(|known| known.is_to_be_reversed()) {
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

/// Applies an action to those of the portfolios that have not had it. Answers what has changed, to be announced.
fn apply_to(
    tx: &mut Tx<'_>,
    known: &KnownAction,
    ids: &[PortfolioId],
    calendar: Calendar,
    now: Timestamp,
) -> Stored<Vec<Change>> {
    let locked = portfolios::lock(tx, ids)?;
    let had = actions::have_had(tx, known.id, ids)?;
    let open: Vec<PortfolioId> =
        locked.iter().map(|locked| locked.portfolio.id).filter(|id| !had.contains(id)).collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let stock = known.stock_id;
    if known.check.is_some() {
        // Nobody suspends it until this transaction ends.
        match actions::lock_shared(tx, known.id)? {
            Some(known) if known.is_in_force() => {}
            _ => return Ok(Vec::new()),
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
                // Whoever comes later, between the others and the end of applying it, is to lose his orders too.
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
        // A dividend of less than a cent is over with that.
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
    if !applied.is_empty() {
        mark_snapshots(tx, known.effective_at, calendar, now)?;
    }
    Ok(changes)
}

/// What earlier splits have cut off the shares of those portfolios.
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

/// The portfolios of a batch that an action is applied to, with what they have of its stock.
pub(crate) struct Affected {
    pub portfolios: BTreeMap<PortfolioId, LockedPortfolio>,
    pub groups: HashMap<PortfolioId, Vec<OrderGroup>>,
    /// What was booked since it took effect.
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
        let orders = groups.map_or(&[][..], Vec::as_slice).iter().map(|group| group.root().id).collect();
        Some(Change { user: self.portfolios.get(&id)?.user_id, portfolio: id, orders })
    }

    pub fn save(&self, tx: &mut Tx<'_>) -> Stored<()> {
        let groups = self.groups.iter().filter(|(id, _)| self.written.contains(id));
        let changed: Vec<_> = groups.flat_map(|(_, groups)| groups).flat_map(|group| &group.orders).collect();
        orders::update(tx, &changed)?;
        transactions::append(tx, &self.entries)?;
        let books = || self.written.iter().filter_map(|id| self.portfolios.get(id));
        let none = Quantity::zero();
        let changed: Vec<positions::Changed<'_>> = books()
            .flat_map(|one| {
                one.portfolio.positions.iter().map(|(stock, position)| {
                    let reserved = one.portfolio.reserved.shares.get(stock).unwrap_or(&none);
                    positions::Changed { portfolio: one.portfolio.id, stock: *stock, position, reserved }
                })
            })
            .collect();
        positions::save(tx, &changed)?;
        let cash: Vec<_> = books().map(|one| (&one.portfolio, one.last)).collect();
        portfolios::save_cash(tx, &cash)
    }
}

/// Adds what is owed now to the portfolios' totals.
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

/// The last dividend that was looked at, and what has changed.
type PaidBatch = (Option<(ActionId, PortfolioId)>, Vec<Change>);

/// Pays up to [`BATCH`] dividends of one action. Returns the last one looked at and the changes to announce, one for each
/// dividend paid.
fn pay_batch(
    tx: &mut Tx<'_>,
    after: (ActionId, PortfolioId),
    calendar: Calendar,
    now: Timestamp,
) -> Result<PaidBatch> {
    let mut due = actions::unpaid(tx, now, after, BATCH)?;
    let Some(known) = due.first().map(|(known, _)| known.clone()) else { return Ok((None, Vec::new())) };
    due.retain(|(other, _)| other.id == known.id);
    let rows: Vec<Applied> = due.into_iter().map(|(_, row)| row).collect();
    let last = rows.last().map(|row| (row.action_id, row.portfolio_id));
    let ids: Vec<PortfolioId> = rows.iter().map(|row| row.portfolio_id).collect();
    let mut locked: HashMap<PortfolioId, LockedPortfolio> =
        portfolios::lock(tx, &ids)?.into_iter().map(|one| (one.portfolio.id, one)).collect();
    // Somebody else may have paid them until they were locked.
    let unpaid = actions::still_unpaid(tx, known.id, &ids)?;
    let records: HashMap<PortfolioId, _> =
        portfolios::by_ids(tx, &ids)?.into_iter().map(|row| (row.id, row)).collect();
    let (CorporateActionKind::CashDividend { amount: per_share, .. }, Some(pays_at)) =
        (&known.action.kind, known.pays_at)
    else {
        return Ok((last, Vec::new()));
    };
    let mut changes = Vec::new();
    for row in rows.iter().filter(|row| unpaid.contains(&row.portfolio_id)) {
        let Some(one) = locked.get_mut(&row.portfolio_id) else { continue };
        let at = one.last.max(pays_at);
        let booking =
            Booking { id: known.id, stock_id: known.stock_id, effective_at: known.effective_at, at };
        let entry = one.portfolio.receive(booking, per_share, &row.quantity, &row.amount);
        transactions::append(tx, &[entry])?;
        portfolios::save_cash(tx, &[(&one.portfolio, at)])?;
        let record = &records[&row.portfolio_id];
        let receivable = record.dividends_receivable.clone() - &row.amount;
        portfolios::save_dividends(tx, row.portfolio_id, &record.dividends, &receivable)?;
        actions::set_paid(tx, row.portfolio_id, known.id, at)?;
        mark_snapshots(tx, at, calendar, now)?;
        changes.push(Change::of_books(one.user_id, row.portfolio_id));
    }
    Ok((last, changes))
}

/// What is booked for a session that has closed changes its snapshot, and the later ones.
pub(crate) fn mark_snapshots(
    tx: &mut Tx<'_>,
    at: Timestamp,
    calendar: Calendar,
    now: Timestamp,
) -> Stored<()> {
    let session = BookCalendar::load(tx, calendar)?.on(exchange_date(at)).booking_session(at);
    if session.closes_at > now || stale_since(tx)?.is_some_and(|since| since <= session.date) {
        return Ok(());
    }
    installation::lock(tx)?;
    let since = stale_since(tx)?.map_or(session.date, |since| since.min(session.date));
    installation::set(tx, SNAPSHOTS_SINCE, &since.to_string())
}

/// The first session whose snapshot is to be taken again, because something older became known.
pub(crate) fn stale_since(tx: &mut Tx<'_>) -> Stored<Option<NaiveDate>> {
    Ok(installation::get(tx, SNAPSHOTS_SINCE)?.and_then(|day| day.parse().ok()))
}

/// Forgets the first session to be taken again, unless an older one has been marked meanwhile.
pub(crate) fn clear_stale(tx: &mut Tx<'_>, since: NaiveDate) -> Stored<()> {
    installation::lock(tx)?;
    match stale_since(tx)? == Some(since) {
        true => installation::set(tx, SNAPSHOTS_SINCE, ""),
        false => Ok(()),
    }
}

fn keep_longest_not_asked(stocks: &mut Vec<Stock>, times: &BTreeMap<i64, Timestamp>, most: usize) {
    stocks.sort_by_key(|stock| (times.get(&stock.id.0).copied(), stock.id));
    stocks.truncate(most);
}

/// The first day whose news are asked for: `first`, or some days before the stock was last asked about, where its turn
/// comes less often.
fn news_since(asked: Option<Timestamp>, first: NaiveDate) -> NaiveDate {
    let before = asked.and_then(|asked| exchange_date(asked).checked_sub_days(NEWS_OVERLAP));
    before.map_or(first, |before| before.min(first))
}

/// What cannot be read counts as never.
fn last_asked(tx: &mut Tx<'_>) -> Stored<Option<Timestamp>> {
    Ok(installation::get(tx, ASKED)?.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Gives a stock its new symbol, unless it has it already.
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
