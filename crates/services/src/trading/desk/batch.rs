//! One transaction of the desk: what it loads, decides and writes.

mod changes;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::TimeDelta;
use domain::{
    CorporateActionKind, JournalEntry, KnownAction, NewestPrice, Order, OrderGroup, OrderId, OrderRejected,
    OrderStatus, PlaceOrder, Placed, PortfolioId, PortfolioRef, Quote, StockId, Symbol, Timestamp,
    TradingHold, TradingRules,
};
use persistence::portfolios::LockedPortfolio;
use persistence::{StoreError, Tx, books, orders, portfolios, positions, stocks, transactions};

use super::action_cache::ActionCache;
use super::{Attempt, Command, PricedStock};
use crate::Clock;
use crate::error::{Error, NotFound, Result};
use crate::trading::{OpenOrders, OrderWithFills, PlacedOrder, RuleBook};

/// An order stores a new price with its stock when the stored price is older than this.
const KEEP_PRICE_AFTER: TimeDelta = TimeDelta::seconds(60);

/// The result of an operation that only a database error can make fail.
type Stored<T> = std::result::Result<T, StoreError>;

/// The result of a command before it is written.
#[derive(Debug)]
pub(super) struct Outcome {
    order: OrderId,
    replayed: bool,
}

/// Whether a split or a dividend makes prices that were converted at `at` outdated.
fn changes_prices(known: &KnownAction, at: Timestamp) -> bool {
    let is_dividend = matches!(known.action.kind, CorporateActionKind::CashDividend { .. });
    (known.effective_at > at || known.known_at > at) && (is_dividend || known.action.ratio().is_some())
}

/// The rows of a batch. The portfolios are locked.
pub(super) struct Batch {
    /// The time of the decisions. All corporate actions that take effect by then have been applied to the portfolios.
    now: Timestamp,
    /// The time of this process's clock, followed by the latest time that other processes' clocks may have given to
    /// portfolios.
    clock: Timestamp,
    latest_plausible: Timestamp,
    /// Corporate actions since the prices of the batch were read.
    actions: Vec<KnownAction>,
    portfolios: BTreeMap<PortfolioId, LockedPortfolio>,
    groups: HashMap<OrderId, OrderGroup>,
    /// The group of each order, named by the id of its root.
    root_of: HashMap<OrderId, OrderId>,
    /// Orders by their `client_order_id`, with the canonical text of the request.
    named: HashMap<(PortfolioId, String), (OrderId, String)>,
    /// Orders that existed before the batch, in their earlier state. Some belong to no group any more because other
    /// orders replaced them.
    before: HashMap<OrderId, Order>,
    /// Whether the commands run again and may have been executed before.
    again: bool,
    /// The fills of orders that existed before the batch.
    fills: Vec<JournalEntry>,
    /// The ids of new orders with the canonical text of the request, in the order in which they are written.
    new: Vec<(OrderId, String)>,
    /// The roots of groups that existed before the batch and have changed.
    changed: BTreeSet<OrderId>,
    /// Legs that existed before the batch and were triggered, filled or have ended.
    changed_legs: BTreeSet<OrderId>,
    /// Orders that were replaced by others.
    retired: Vec<Order>,
    entries: Vec<JournalEntry>,
    touched: BTreeSet<(PortfolioId, StockId)>,
    /// Positions that have a row in the database.
    held: BTreeSet<(PortfolioId, StockId)>,
    /// Prices of accepted orders, to be stored with their stocks. They are ordered by symbol: all writers lock stocks
    /// in this order.
    prices: BTreeMap<Symbol, (StockId, Quote)>,
}

impl Batch {
    pub fn load(
        tx: &mut Tx<'_>,
        commands: &[Command],
        attempt: Attempt,
        (clock, rules): (&Clock, &RuleBook),
        action_cache: &mut ActionCache,
    ) -> Stored<Self> {
        let again = attempt == Attempt::AfterError;
        let ids: BTreeSet<PortfolioId> = commands.iter().map(Command::portfolio).collect();
        let ids: Vec<PortfolioId> = ids.into_iter().collect();
        let mut locked = portfolios::lock(tx, &ids)?;
        // The clocks of two machines differ a little, and a portfolio's journal must not run backwards. A portfolio far
        // ahead of this clock does not affect the other portfolios of the batch.
        let clock_now = clock.now();
        let latest_plausible = clock.latest_plausible(clock_now);
        let last = locked.iter().map(|locked| locked.last).filter(|last| *last <= latest_plausible);
        let now = last.fold(clock_now, Timestamp::max);
        let priced_at = commands.iter().filter_map(Command::priced_at).min().unwrap_or(now);
        let actions = action_cache.relevant(tx, priced_at, now)?;
        // Orders and the shares they sell are converted to the shares after a split before they meet prices in those
        // shares.
        if crate::corporate_actions::apply_before_orders(
            tx,
            &actions,
            &ids,
            rules.of_deployment().calendar,
            now,
        )? {
            locked = portfolios::lock(tx, &ids)?;
        }
        let mut batch = Self { clock: clock_now, latest_plausible, ..Self::at(now, actions, again) };
        batch.portfolios = locked.into_iter().map(|locked| (locked.portfolio.id, locked)).collect();

        let names: Vec<_> = match attempt {
            Attempt::First => Vec::new(),
            Attempt::Repeated | Attempt::AfterError => commands.iter().filter_map(Command::name).collect(),
        };
        let mut wanted: Vec<OrderId> = Vec::new();
        for (order, request) in orders::by_client_order_ids(tx, &names)? {
            wanted.push(order.id);
            if let Some(name) = order.client_order_id.clone() {
                batch.named.insert((order.portfolio_id, name), (order.id, request));
            }
            batch.before.insert(order.id, order);
        }
        for command in commands {
            match command {
                Command::Place {
                    portfolio: PortfolioRef { id: portfolio, .. },
                    ids,
                    open_orders,
                    priced,
                    ..
                } => {
                    wanted.extend(again.then_some(ids.entry));
                    if *open_orders == OpenOrders::Cancel {
                        wanted.extend(orders::open_ids_of_stock(tx, &[*portfolio], priced.stock.id)?);
                    }
                }
                Command::Replace { order, new, .. } => {
                    wanted.push(*order);
                    wanted.extend(again.then_some(*new));
                }
                Command::Cancel { order, .. } | Command::Work { order, .. } => wanted.push(*order),
            }
        }
        for group in orders::groups(tx, &wanted)? {
            batch.add(group);
        }
        wanted.retain(|id| !batch.root_of.contains_key(id) && !batch.before.contains_key(id));
        batch.before.extend(orders::of_ids(tx, &wanted)?.into_iter().map(|order| (order.id, order)));
        let known: BTreeSet<OrderId> = batch.root_of.keys().chain(batch.before.keys()).copied().collect();
        if !known.is_empty() {
            batch.fills = transactions::of_orders(tx, &known.into_iter().collect::<Vec<_>>())?;
        }

        let placed = commands.iter().filter_map(|command| match command {
            Command::Place { portfolio, priced, .. } => Some((portfolio.id, priced.stock.id)),
            _ => None,
        });
        let known = batch.groups.values().map(|group| (group.root().portfolio_id, group.root().stock_id));
        let pairs: BTreeSet<(PortfolioId, StockId)> = placed.chain(known).collect();
        let pairs: Vec<(PortfolioId, StockId)> = pairs.into_iter().collect();
        for ((portfolio, stock), (position, reserved)) in positions::of_pairs(tx, &pairs)? {
            batch.held.insert((portfolio, stock));
            if let Some(locked) = batch.portfolios.get_mut(&portfolio) {
                locked.portfolio.positions.insert(stock, position);
                locked.portfolio.reserved.shares.insert(stock, reserved);
            }
        }
        Ok(batch)
    }

    fn at(now: Timestamp, actions: Vec<KnownAction>, again: bool) -> Self {
        Self {
            now,
            clock: now,
            latest_plausible: now,
            actions,
            portfolios: BTreeMap::new(),
            groups: HashMap::new(),
            root_of: HashMap::new(),
            named: HashMap::new(),
            before: HashMap::new(),
            again,
            fills: Vec::new(),
            new: Vec::new(),
            changed: BTreeSet::new(),
            changed_legs: BTreeSet::new(),
            retired: Vec::new(),
            entries: Vec::new(),
            touched: BTreeSet::new(),
            held: BTreeSet::new(),
            prices: BTreeMap::new(),
        }
    }

    /// Rejects fills in a portfolio whose latest change lies far ahead of this process's clock: current prices would be
    /// booked at a later time.
    fn check_clock(&self, last: Timestamp) -> Result<()> {
        match last <= self.latest_plausible {
            true => Ok(()),
            false => Err(Error::ClockBehind { by: last - self.clock }),
        }
    }

    /// Rejects an order if a split of its stock took effect or became known after its price was read, or a dividend
    /// that the price still includes; also every order in a delisted stock. After a split the shares and prices of the
    /// order itself are outdated too. A price from the ex-date or later does not include the dividend, even if the
    /// dividend became known after that.
    fn check_stock(&self, priced: &PricedStock) -> Result<()> {
        let since = |known: &&KnownAction| {
            let is_delisting = known.is_in_force() && known.action.kind == CorporateActionKind::Delisting;
            known.stock_id == priced.stock.id && (changes_prices(known, priced.requested_at) || is_delisting)
        };
        for known in self.actions.iter().filter(since) {
            match known.action.kind {
                CorporateActionKind::CashDividend { .. }
                    if priced.newest.quote.as_of >= known.effective_at => {}
                CorporateActionKind::Split { .. } | CorporateActionKind::CashDividend { .. } => {
                    return Err(OrderRejected::NoFreshPrice { as_of: priced.newest.quote.as_of }.into());
                }
                // The delisting was withdrawn.
                CorporateActionKind::Delisting if !known.is_in_force() => {}
                CorporateActionKind::Delisting => {
                    let symbol = priced.stock.listing.symbol.clone();
                    return Err(Error::NotTradable { symbol, reason: crate::corporate_actions::ENDED });
                }
                CorporateActionKind::SymbolChange { .. } | CorporateActionKind::CloseOut(_) => {}
            }
        }
        Ok(())
    }

    /// Why no order in a stock can fill now. No order meets a price until the split of its stock is confirmed.
    fn hold(&self, stock: StockId) -> Option<TradingHold> {
        self.actions.iter().filter(|known| known.stock_id == stock).find_map(|known| known.hold(self.now))
    }

    /// The rules for an order in the stock. While no order in the stock can fill, a new order waits for a later price.
    ///
    /// # Errors
    /// [`Error::TradingHalted`].
    fn rules_for(&self, stock: StockId, symbol: &Symbol, rules: &TradingRules) -> Result<TradingRules> {
        match self.hold(stock) {
            Some(hold) if hold.is_halt() => Err(crate::corporate_actions::splits::halted(symbol, hold)),
            Some(_) => Ok(rules.until_next_price()),
            None => Ok(rules.clone()),
        }
    }

    /// Whether an order with the name of the rejected command exists already. That earlier execution may be the reason
    /// for the rejection.
    pub fn was_placed_before(
        tx: &mut Tx<'_>,
        commands: &[Command],
        outcomes: &[Result<Outcome>],
    ) -> Stored<bool> {
        let refused = commands.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_err());
        let names: Vec<_> = refused.filter_map(|(command, _)| command.name()).collect();
        Ok(!orders::by_client_order_ids(tx, &names)?.is_empty())
    }

    fn add(&mut self, group: OrderGroup) -> OrderId {
        let root = group.root().id;
        self.root_of.extend(group.orders.iter().map(|order| (order.id, root)));
        self.groups.insert(root, group);
        root
    }

    /// Executes a command in memory. A rejected command changes nothing.
    pub fn decide(&mut self, command: &Command, rules: &RuleBook) -> Result<Outcome> {
        let id = command.portfolio();
        let rules = rules.of_portfolio(id);
        let locked = self.portfolios.get(&id).ok_or(Error::NotFound(NotFound::Portfolio))?;
        let last = locked.last;
        let now = self.now.max(last);
        match command {
            Command::Place { portfolio, order, ids, open_orders, priced } => {
                self.check_owner(*portfolio)?;
                if self.find(ids.entry).is_some() {
                    // The earlier transaction was committed, and only its answer was lost.
                    return Ok(Outcome { order: ids.entry, replayed: false });
                }
                let request = order.canonical();
                if let Some(outcome) = self.replay(id, order.client_order_id.as_deref(), &request)? {
                    return Ok(outcome);
                }
                self.check_clock(last)?;
                self.check_stock(priced)?;
                let rules = &self.rules_for(priced.stock.id, &priced.stock.listing.symbol, rules)?;
                let mut draft = self.active(id)?.portfolio.clone();
                let canceled = match open_orders {
                    OpenOrders::Keep => Vec::new(),
                    OpenOrders::Cancel => self.cancel_open(&mut draft, priced.stock.id, now)?,
                };
                let newest_price = NewestPrice { newest: &priced.newest, requested_at: priced.requested_at };
                // The answer contains the current symbol, even if the order was placed under a former one.
                let symbol = priced.stock.listing.symbol.clone();
                let order_as_listed = PlaceOrder { symbol, ..order.clone() };
                let Placed { group, entries } =
                    draft.place(*ids, priced.stock.id, order_as_listed, newest_price, rules.at(now))?;
                let locked = self.active(id)?;
                locked.portfolio = draft;
                locked.last = now;
                for group in canceled {
                    self.save_group(group, Vec::new());
                }
                for placed in &group.orders {
                    // A leg is not a request of its own: it refers to the order it came with.
                    let line = if placed.id == ids.entry {
                        request.clone()
                    } else {
                        format!("leg of {}", ids.entry)
                    };
                    self.new.push((placed.id, line));
                }
                self.remember(id, order.client_order_id.as_deref(), ids.entry, request);
                self.touched.insert((id, priced.stock.id));
                if !priced.is_converted {
                    let quote = priced.newest.quote.clone();
                    self.prices.insert(quote.symbol.clone(), (priced.stock.id, quote));
                }
                self.add(group);
                self.entries.extend(entries);
                Ok(Outcome { order: ids.entry, replayed: false })
            }
            Command::Replace { portfolio, order, new, changes, priced } => {
                self.check_owner(*portfolio)?;
                if self.find(*new).is_some() {
                    return Ok(Outcome { order: *new, replayed: false });
                }
                let request = changes.canonical(*order);
                if let Some(outcome) = self.replay(id, changes.client_order_id.as_deref(), &request)? {
                    return Ok(outcome);
                }
                let mut group = self.group_of(id, *order)?;
                self.check_clock(last)?;
                self.check_stock(priced)?;
                let rules = &self.rules_for(priced.stock.id, &priced.stock.listing.symbol, rules)?;
                let locked = self.active(id)?;
                let newest_price = NewestPrice { newest: &priced.newest, requested_at: priced.requested_at };
                let (retired, entries) = locked.portfolio.replace(
                    &mut group,
                    (*order, *new),
                    changes,
                    newest_price,
                    rules.at(now),
                )?;
                locked.last = now;
                self.note_changed_legs(&group);
                let root = self.root_of.get(order).copied().unwrap_or(*order);
                self.groups.remove(&root);
                self.changed.remove(&root);
                self.retired.push(retired);
                self.new.push((*new, request.clone()));
                self.remember(id, changes.client_order_id.as_deref(), *new, request);
                self.save_group(group, entries);
                Ok(Outcome { order: *new, replayed: false })
            }
            Command::Cancel { portfolio, order } => {
                self.check_owner(*portfolio)?;
                let mut group = self.group_of(id, *order)?;
                let canceled = |order: &Order| order.status == OrderStatus::Canceled;
                if self.again && group.orders.iter().any(|one| one.id == *order && canceled(one)) {
                    return Ok(Outcome { order: *order, replayed: false });
                }
                let locked = self.active(id)?;
                locked.portfolio.cancel(&mut group, *order, now)?;
                locked.last = now;
                self.save_group(group, Vec::new());
                Ok(Outcome { order: *order, replayed: false })
            }
            Command::Work { order, moves, until, converted_at, .. } => {
                let mut group = self.group_of(id, *order)?;
                let outcome = Outcome { order: *order, replayed: false };
                let stock = group.root().stock_id;
                // A split or dividend makes these prices outdated: the next pass reads prices and orders again.
                let is_outdated = self
                    .actions
                    .iter()
                    .any(|known| known.stock_id == stock && changes_prices(known, *converted_at));
                // Without prices, time still passes: a day order expires.
                let moves = if self.hold(stock).is_some() { &[][..] } else { moves };
                if is_outdated || !group.is_affected_by(moves, *until, rules) {
                    return Ok(outcome);
                }
                self.check_clock(last)?;
                let locked = self.active(id)?;
                let mut draft = locked.portfolio.clone();
                let entries = draft.work(&mut group, moves, *until, rules.at(now))?;
                locked.portfolio = draft;
                locked.last = now;
                self.save_group(group, entries);
                Ok(outcome)
            }
        }
    }

    fn check_owner(&self, portfolio: PortfolioRef) -> Result<()> {
        let owner = self.portfolios.get(&portfolio.id).map(|locked| locked.user_id);
        if owner == Some(portfolio.user) { Ok(()) } else { Err(Error::NotFound(NotFound::Portfolio)) }
    }

    /// Returns a portfolio that is not archived.
    fn active(&mut self, id: PortfolioId) -> Result<&mut LockedPortfolio> {
        let locked = self.portfolios.get_mut(&id).ok_or(Error::NotFound(NotFound::Portfolio))?;
        if locked.archived { Err(Error::Archived) } else { Ok(locked) }
    }

    fn replay(&self, id: PortfolioId, name: Option<&str>, request: &str) -> Result<Option<Outcome>> {
        let Some((order, earlier)) = name.and_then(|name| self.named.get(&(id, name.to_owned()))) else {
            return Ok(None);
        };
        match earlier == request {
            true => Ok(Some(Outcome { order: *order, replayed: true })),
            false => Err(Error::ClientOrderIdReused),
        }
    }

    fn remember(&mut self, id: PortfolioId, name: Option<&str>, order: OrderId, request: String) {
        if let Some(name) = name {
            self.named.insert((id, name.to_owned()), (order, request));
        }
    }

    /// Returns a copy of the group of an order in the portfolio. A replaced order belongs to no group.
    fn group_of(&self, id: PortfolioId, order: OrderId) -> Result<OrderGroup> {
        let found = self
            .find(order)
            .filter(|found| found.portfolio_id == id)
            .ok_or(Error::NotFound(NotFound::Order))?;
        let group = self.root_of.get(&order).and_then(|root| self.groups.get(root));
        let group = group.filter(|group| group.position_of(order).is_some());
        group.cloned().ok_or(Error::OrderNotOpen { status: found.status })
    }

    /// Returns the current state of an order.
    fn find(&self, id: OrderId) -> Option<&Order> {
        let group = self.root_of.get(&id).and_then(|root| self.groups.get(root));
        let grouped = group.and_then(|group| group.orders.iter().find(|order| order.id == id));
        grouped.or_else(|| self.retired.iter().find(|order| order.id == id)).or_else(|| self.before.get(&id))
    }

    fn save_group(&mut self, group: OrderGroup, entries: Vec<JournalEntry>) {
        self.note_changed_legs(&group);
        self.touched.insert((group.root().portfolio_id, group.root().stock_id));
        self.entries.extend(entries);
        let root = self.add(group);
        self.changed.insert(root);
    }

    /// Writes the decisions and returns the orders in their current state.
    pub fn save(
        self,
        tx: &mut Tx<'_>,
        outcomes: Vec<Result<Outcome>>,
        kept: &mut HashMap<StockId, Timestamp>,
    ) -> Stored<Vec<Result<PlacedOrder>>> {
        let new: Vec<(&Order, &str)> =
            self.new.iter().filter_map(|(id, request)| Some((self.find(*id)?, request.as_str()))).collect();
        let is_new = |order: &Order| self.new.iter().any(|(id, _)| *id == order.id);
        let changed: Vec<&Order> = self
            .changed
            .iter()
            .filter_map(|root| self.groups.get(root))
            .flat_map(|group| &group.orders)
            .chain(&self.retired)
            .filter(|order| !is_new(order))
            .collect();
        let (positions, new_positions) = self
            .touched
            .iter()
            .filter_map(|(portfolio, stock)| {
                let books = &self.portfolios.get(portfolio)?.portfolio;
                Some(positions::ChangedPosition {
                    portfolio: *portfolio,
                    stock: *stock,
                    position: books.positions.get(stock)?,
                    reserved: books.reserved.shares.get(stock)?,
                })
            })
            .partition(|changed| self.held.contains(&(changed.portfolio, changed.stock)));
        let touched: BTreeSet<PortfolioId> = self.touched.iter().map(|(portfolio, _)| *portfolio).collect();
        let portfolios = touched
            .iter()
            .filter_map(|id| self.portfolios.get(id))
            .map(|locked| (&locked.portfolio, locked.last))
            .collect();
        let changes =
            books::Changes { new_orders: new, entries: &self.entries, positions, new_positions, portfolios };
        let entries = books::save(tx, &changes)?;
        orders::update(tx, &changed)?;
        for (stock, quote) in self.prices.values() {
            if kept.get(stock).is_none_or(|at| quote.as_of - *at > KEEP_PRICE_AFTER) {
                stocks::save_last_price(tx, *stock, quote)?;
                kept.insert(*stock, quote.as_of);
            }
        }

        let mut fills: HashMap<OrderId, Vec<JournalEntry>> = HashMap::new();
        for entry in self.fills.iter().cloned().chain(entries) {
            if let Some(order) = entry.order_id {
                fills.entry(order).or_default().push(entry);
            }
        }
        let with_fills = |order: &Order| OrderWithFills {
            order: order.clone(),
            fills: fills.get(&order.id).cloned().unwrap_or_default(),
            legs: Vec::new(),
            hold: None,
        };
        let answer = |outcome: Outcome| {
            let order = self.find(outcome.order).ok_or(Error::NotFound(NotFound::Order))?;
            let legs = match order.parent_order_id {
                None => self.groups.get(&order.id).map_or(&[][..], |group| &group.orders[1..]),
                Some(_) => &[],
            };
            let legs =
                legs.iter().filter(|leg| leg.status != OrderStatus::Replaced).map(with_fills).collect();
            let order = OrderWithFills { legs, ..with_fills(order) };
            Ok(PlacedOrder { order, replayed: outcome.replayed })
        };
        Ok(outcomes.into_iter().map(|outcome| outcome.and_then(answer)).collect())
    }
}
