//! The rules of trading: what a portfolio does with an order.

pub mod actions;
pub mod preview;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use thiserror::Error;

use crate::matching::{Execution, LiquidityWindow, meets, react};
use crate::money::ExactAmount;
use crate::order::IllegalTransition;
use crate::order_group::is_over;
use crate::position::PositionError;
use crate::{
    Attached, Fill, FillRule, Freshness, JournalEntry, Money, Order, OrderClass, OrderField, OrderGroup,
    OrderId, OrderIssue, OrderSize, OrderStatus, OrderTerms, PlaceOrder, PortfolioId, Position, PriceMove,
    PriceStanding, Quantity, Quote, Receipt, ReplaceOrder, Rounding, Side, StockId, TimeInForce, Timestamp,
    TradingMode, TradingRules, TransactionType,
};

/// Cash and positions, with at least the positions that a command touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portfolio {
    pub id: PortfolioId,
    pub cash_balance: Money,
    pub positions: BTreeMap<StockId, Position>,
    pub reserved: Reserved,
}

/// What open orders keep for their fills. Buying power is cash less this, sellable are shares less these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    pub cash: Money,
    pub shares: BTreeMap<StockId, Quantity>,
}

impl Default for Reserved {
    fn default() -> Self {
        Self { cash: Money::zero(), shares: BTreeMap::new() }
    }
}

/// What placing or replacing an order did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub group: OrderGroup,
    /// One entry per fill, to be appended to the journal.
    pub entries: Vec<JournalEntry>,
}

/// The newest price at the moment of an order.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The quote, with what was traded in the minute before.
    pub newest: &'a PriceMove,
    /// The market time for which it was asked.
    pub asked_at: Timestamp,
}

/// How far a sell by money may exceed the value of the shares and still sell all of them: prices move while a person
/// reads the value.
const SHOWN_VALUE_PERCENT: u32 = 1;

/// How far the time of a price may lie ahead of ours: an answer takes a while, and two clocks differ a little.
pub const PRICE_AHEAD: TimeDelta = TimeDelta::seconds(60);

impl Look<'_> {
    fn is_from_future(&self) -> bool {
        self.newest.quote.as_of - self.asked_at > PRICE_AHEAD
    }

    fn standing(&self, rules: &TradingRules) -> PriceStanding {
        match self.is_from_future() {
            true => PriceStanding::Old,
            false => rules.standing(&self.newest.quote, self.asked_at),
        }
    }

    /// The price that an order meets when it is placed: of a past close the last price alone.
    fn price_to_meet(&self, standing: PriceStanding) -> PriceMove {
        let mut newest = self.newest.clone();
        if standing == PriceStanding::PastClose {
            (newest.quote.bid, newest.quote.ask) = (None, None);
        }
        newest
    }
}

/// Why an order was refused. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrderRejected {
    #[error("the order costs {required} and {available} is available")]
    InsufficientBuyingPower { required: Money, available: Money },
    #[error("{available} shares can be sold, the order asks for {required}")]
    InsufficientShares { required: Quantity, available: Quantity },
    /// A part of a position is to be sold that there is not.
    #[error("no shares of this stock are held")]
    NothingHeld,
    #[error("the order is worth less than a cent: make it larger")]
    TooSmall,
    #[error("the order is larger than an account can hold")]
    TooLarge,
    #[error("the newest price is of {as_of}, too old to trade on: try again when there is a newer one")]
    NoFreshPrice { as_of: Timestamp },
    /// The price is later than the time at which it was asked for: the server's clock is behind.
    #[error(
        "the newest price is of {as_of}, after the server's time {asked_at}: the server's clock is behind"
    )]
    PriceFromFuture { as_of: Timestamp, asked_at: Timestamp },
    #[error("the trail is wider than the price: make it narrower")]
    TrailTooWide,
    /// Only an open order can be canceled or replaced.
    #[error("the order is {status} already")]
    NotOpen { status: OrderStatus },
    /// What an order or a replacement asks for does not go together.
    #[error("some fields do not fit the order")]
    Unfit(Vec<OrderIssue>),
    #[error("the order's state does not allow that")]
    Transition(#[from] IllegalTransition),
}

/// What one price has done to one order.
#[expect(clippy::large_enum_variant, reason = "it lives for a moment, and most are fills")]
enum Advance {
    Quiet,
    /// With the journal entry of a fill.
    Stirred(Option<JournalEntry>),
}

impl Portfolio {
    pub fn new(id: PortfolioId, cash_balance: Money) -> Self {
        Self { id, cash_balance, positions: BTreeMap::new(), reserved: Reserved::default() }
    }

    /// Cash that a new order may spend.
    pub fn buying_power(&self) -> Money {
        self.cash_balance.clone() - &self.reserved.cash
    }

    /// Shares that a new order may sell.
    pub fn sellable(&self, stock: StockId) -> Quantity {
        let held = self.positions.get(&stock).map_or_else(Quantity::zero, |held| held.quantity.clone());
        match self.reserved.shares.get(&stock) {
            Some(reserved) => held.checked_sub(reserved).unwrap_or_else(Quantity::zero),
            None => held,
        }
    }

    /// Takes an order in. In practice mode it meets the newest price at once: a buy fills at the ask and a sell at
    /// the bid, or at the last price when the source gives no bid and ask. What does not fill works on, with cash or
    /// shares reserved for it; of `ioc` and `fok` it is canceled. In realistic mode every order waits for a later
    /// price.
    ///
    /// `ids` are those of the order and of up to two legs, `now` is the time of the order and of its first fill.
    ///
    /// # Errors
    /// [`OrderRejected`]; the portfolio is unchanged then.
    pub fn place(
        &mut self,
        ids: [OrderId; 3],
        stock_id: StockId,
        command: PlaceOrder,
        look: Look<'_>,
        now: Timestamp,
        rules: &TradingRules,
    ) -> Result<Placed, OrderRejected> {
        let newest = &look.newest.quote;
        let mut issues = command.issues();
        if command.terms.entry_price().is_none() {
            issues.extend(command.attached.issues_around(&newest.price));
        }
        issues.extend(auction_issue(command.time_in_force, newest));
        if !issues.is_empty() {
            return Err(OrderRejected::Unfit(issues));
        }
        let size = self.size_to_place(stock_id, &command, &look.newest.quote, rules)?;
        let root = Order {
            id: ids[0],
            portfolio_id: self.id,
            stock_id,
            symbol: command.symbol,
            client_order_id: command.client_order_id,
            side: command.side,
            size,
            terms: command.terms,
            time_in_force: command.time_in_force,
            order_class: command.attached.class(),
            parent_order_id: None,
            replaces: None,
            status: OrderStatus::Accepted,
            triggered_at: None,
            high_water_price: None,
            reserved_cash: Money::zero(),
            reserved_quantity: Quantity::zero(),
            filled_quantity: Quantity::zero(),
            filled_amount: ExactAmount::zero(),
            filled_price: None,
            commission: Money::zero(),
            submitted_at: now,
            last_matched_at: now,
            filled_at: None,
            canceled_at: None,
            expires_at: end_of(command.time_in_force, now, rules),
            reject_reason: None,
        };
        let leg_status = match command.attached {
            Attached::Oco { .. } => OrderStatus::Accepted,
            _ => OrderStatus::Held,
        };
        let legs = command.attached.legs().into_iter().zip(ids.into_iter().skip(1));
        let legs = legs.map(|(terms, id)| Order {
            id,
            client_order_id: None,
            side: Side::Sell,
            terms,
            parent_order_id: Some(root.id),
            status: leg_status,
            ..root.clone()
        });
        let mut group = OrderGroup { orders: legs.collect() };
        group.orders.insert(0, root);
        let mut draft = self.clone();
        let entries = draft.enter(&mut group, 0, look, now, rules)?;
        *self = draft;
        Ok(Placed { group, entries })
    }

    /// The size with which an order is placed.
    ///
    /// A part of a position becomes a quantity. A sell by money that is worth all of the shares that can be sold is for
    /// exactly these: no rest worth less than a cent stays, and a value that was shown moments ago, up to
    /// [`SHOWN_VALUE_PERCENT`] above today's, still sells all.
    fn size_to_place(
        &self,
        stock: StockId,
        command: &PlaceOrder,
        newest: &Quote,
        rules: &TradingRules,
    ) -> Result<OrderSize, OrderRejected> {
        match &command.size {
            OrderSize::OfPosition(percent) => {
                let held = self.positions.get(&stock).map(|held| &held.quantity);
                let held = held.filter(|held| !held.is_zero()).ok_or(OrderRejected::NothingHeld)?;
                let (required, available) = (held.part(percent), self.sellable(stock));
                if required.is_zero() {
                    return Err(OrderRejected::TooSmall);
                }
                if required > available {
                    return Err(OrderRejected::InsufficientShares { required, available });
                }
                Ok(OrderSize::Quantity(required))
            }
            OrderSize::Notional(notional) if command.side == Side::Sell => {
                let price = command
                    .terms
                    .limit_price()
                    .cloned()
                    .unwrap_or_else(|| rules.slipped(Side::Sell, newest.touch(Side::Sell).0));
                let (wanted, sellable) = (notional.buys(&price), self.sellable(stock));
                let sells_all = match sellable.checked_sub(&wanted) {
                    Some(rest) => price.times(&rest).is_zero(),
                    None => {
                        let shown = newest.price.times(&sellable).max(price.times(&sellable));
                        notional.is_at_most_percent_above(&shown, SHOWN_VALUE_PERCENT)
                    }
                };
                let all = sells_all && !sellable.is_zero();
                Ok(if all { OrderSize::Quantity(sellable) } else { command.size.clone() })
            }
            size => Ok(size.clone()),
        }
    }

    /// Puts another order into the place of an open one; that one is answered first in the group's stead, replaced.
    ///
    /// # Errors
    /// [`OrderRejected`]; nothing has changed then.
    pub fn replace(
        &mut self,
        group: &mut OrderGroup,
        (old, new): (OrderId, OrderId),
        changes: &ReplaceOrder,
        look: Look<'_>,
        now: Timestamp,
        rules: &TradingRules,
    ) -> Result<(Order, Vec<JournalEntry>), OrderRejected> {
        let (mut draft, mut changed) = (self.clone(), group.clone());
        let index = changed.position_of(old).expect("Invariant: an order is part of its group");
        draft.release(&changed);
        let order = &mut changed.orders[index];
        if order.status.is_open() && is_over(order, now, rules) {
            return Err(OrderRejected::NotOpen { status: OrderStatus::Expired });
        }
        let terms = changes.terms(&order.terms).map_err(OrderRejected::Unfit)?;
        let unfilled = order.unfilled();
        let size = match (&changes.quantity, &order.size) {
            (Some(quantity), _) => OrderSize::Quantity(quantity.clone()),
            (None, OrderSize::Notional(notional)) => {
                OrderSize::Notional(notional.clone() - &order.filled_amount.rounded())
            }
            (None, OrderSize::Quantity(_) | OrderSize::OfPosition(_)) => {
                OrderSize::Quantity(unfilled.clone())
            }
        };
        let time_in_force = changes.time_in_force.unwrap_or(order.time_in_force);
        let same_trigger =
            (terms.stop_price(), terms.trail()) == (order.terms.stop_price(), order.terms.trail());
        let mut retired = order.clone();
        let held = order.status == OrderStatus::Held;
        retired
            .become_status(OrderStatus::Replaced, now)
            .map_err(|refused| OrderRejected::NotOpen { status: refused.from })?;
        *order = Order {
            id: new,
            client_order_id: changes.client_order_id.clone(),
            replaces: Some(old),
            triggered_at: order.triggered_at.filter(|_| same_trigger),
            status: if held { OrderStatus::Held } else { OrderStatus::Accepted },
            reserved_cash: Money::zero(),
            reserved_quantity: Quantity::zero(),
            filled_quantity: Quantity::zero(),
            filled_amount: ExactAmount::zero(),
            filled_price: None,
            commission: Money::zero(),
            submitted_at: now,
            last_matched_at: now,
            expires_at: end_of(time_in_force, now, rules),
            size: size.clone(),
            terms: terms.clone(),
            time_in_force,
            ..order.clone()
        };
        let as_placed = PlaceOrder {
            symbol: order.symbol.clone(),
            side: order.side,
            size: size.clone(),
            terms,
            time_in_force,
            attached: Attached::Nothing,
            client_order_id: None,
        };
        let mut issues = as_placed.issues();
        issues.extend(changes.time_in_force.and_then(|new| auction_issue(new, &look.newest.quote)));
        if held && changes.quantity.is_some() {
            issues.push(OrderIssue::HeldExitQuantity);
        }
        if changed.orders.len() > 1 && time_in_force != retired.time_in_force {
            issues.push(OrderIssue::LinkedTimeInForceChanged { ends: retired.time_in_force });
        }
        let field = match changes.stop_price {
            Some(_) => OrderField::StopPrice,
            None => OrderField::LimitPrice,
        };
        if let Some((take_profit, stop_loss)) = changed.crossed_exits() {
            let (take_profit, stop_loss) = (take_profit.clone(), stop_loss.clone());
            issues.push(OrderIssue::ExitsCrossed { field, take_profit, stop_loss });
        }
        let has_new_price = changes.limit_price.is_some() || changes.stop_price.is_some();
        if has_new_price && let Some(entry) = changed.entry_outside_exits(&look.newest.quote.price) {
            issues.push(OrderIssue::EntryOutsideExits { field, entry: entry.clone() });
        }
        if !issues.is_empty() {
            return Err(OrderRejected::Unfit(issues));
        }
        if index == 0 {
            changed.orders[1..].iter_mut().for_each(|leg| leg.parent_order_id = Some(new));
        }
        if let OrderSize::Quantity(quantity) = &size {
            changed.resize_siblings(index, &unfilled, quantity);
        }
        let entries = match held {
            true => {
                draft.hold(&changed);
                Vec::new()
            }
            false => draft.enter(&mut changed, index, look, now, rules)?,
        };
        (*self, *group) = (draft, changed);
        Ok((retired, entries))
    }

    /// Cancels an open order, and those that cannot be without it.
    ///
    /// # Errors
    /// [`OrderRejected::NotOpen`].
    pub fn cancel(
        &mut self,
        group: &mut OrderGroup,
        id: OrderId,
        now: Timestamp,
    ) -> Result<(), OrderRejected> {
        let index = group.position_of(id).expect("Invariant: an order is part of its group");
        let status = group.orders[index].status;
        if !status.is_open() {
            return Err(OrderRejected::NotOpen { status });
        }
        self.release(group);
        group.orders[index].become_status(OrderStatus::Canceled, now)?;
        self.settle(group, now)
    }

    /// Lets the prices up to `until`, oldest first, meet the working orders of a group: triggers, fills, expires.
    /// An order that cannot be filled for want of cash or shares is rejected. Answers the journal entries.
    ///
    /// Fills are booked at `now`, whenever their price was, so that the journal does not run backwards; the receipt
    /// tells the price's time.
    ///
    /// # Errors
    /// Only a fault of the program: a status that may not follow.
    pub fn work(
        &mut self,
        group: &mut OrderGroup,
        moves: &[PriceMove],
        until: Timestamp,
        now: Timestamp,
        rules: &TradingRules,
    ) -> Result<Vec<JournalEntry>, OrderRejected> {
        self.release(group);
        let mut entries = Vec::new();
        let mut windows = vec![LiquidityWindow::opened(); group.orders.len()];
        for (at_move, price_move) in moves.iter().enumerate().filter(|(_, one)| !one.quote.stale) {
            let at = price_move.quote.as_of;
            for (index, window) in windows.iter_mut().enumerate() {
                let order = &group.orders[index];
                if !order.status.is_working() || !meets(order, at, rules) {
                    continue;
                }
                window.look_at(order, moves, at_move, until);
                match self.advance(group, index, price_move, window, now, rules) {
                    Ok(Advance::Quiet) => continue,
                    Ok(Advance::Stirred(entry)) => entries.extend(entry),
                    Err(OrderRejected::Transition(fault)) => return Err(fault.into()),
                    Err(refused) => {
                        let order = &mut group.orders[index];
                        order.reject_reason = Some(refused.to_string());
                        order.become_status(OrderStatus::Rejected, now)?;
                    }
                }
                group.orders[index].last_matched_at = at;
                group.settle(now)?;
            }
        }
        for order in group.orders.iter_mut().filter(|order| order.status.is_working()) {
            order.last_matched_at = order.last_matched_at.max(until);
        }
        group.expire(until, now, rules)?;
        self.settle(group, now)?;
        Ok(entries)
    }

    /// A fresh order, or one that takes another's place, meets the newest price and gets its reservation.
    fn enter(
        &mut self,
        group: &mut OrderGroup,
        index: usize,
        look: Look<'_>,
        now: Timestamp,
        rules: &TradingRules,
    ) -> Result<Vec<JournalEntry>, OrderRejected> {
        let quote = &look.newest.quote;
        let order = &group.orders[index];
        let standing = look.standing(rules);
        let fresh = standing != PriceStanding::Old;
        let auction = matches!(order.time_in_force, TimeInForce::Opg | TimeInForce::Cls);
        let at_once = rules.mode == TradingMode::Practice && !auction;
        let immediate = matches!(order.time_in_force, TimeInForce::Ioc | TimeInForce::Fok);
        let impatient = immediate || matches!(order.terms, OrderTerms::Market);
        if at_once && impatient && look.is_from_future() {
            return Err(OrderRejected::PriceFromFuture { as_of: quote.as_of, asked_at: look.asked_at });
        }
        if at_once && immediate && !fresh {
            return Err(OrderRejected::NoFreshPrice { as_of: quote.as_of });
        }
        if order.terms.trail().is_some() {
            let best = order.high_water_price.clone().or_else(|| Some(quote.price.clone()));
            let stop = Order { high_water_price: best, ..order.clone() }.stop_price();
            if stop.is_none() {
                return Err(OrderRejected::TrailTooWide);
            }
        }
        let mut entries = Vec::new();
        if at_once && fresh {
            // The legs of an entry begin with the next price; those of a new pair meet this one together.
            let together = group.root().order_class == OrderClass::Oco && order.replaces.is_none();
            let last = if together { group.orders.len() - 1 } else { index };
            let newest = look.price_to_meet(standing);
            for index in index..=last {
                if group.orders[index].status.is_working() {
                    let mut window = LiquidityWindow::of_a_minute();
                    let advanced = self.advance(group, index, &newest, &mut window, now, rules)?;
                    if let Advance::Stirred(mut entry) = advanced {
                        let receipt = entry.as_mut().and_then(|entry| entry.receipt.as_mut());
                        if let (Some(receipt), PriceStanding::PastClose) = (receipt, standing) {
                            receipt.rule = FillRule::PastClose;
                        }
                        entries.extend(entry);
                    }
                    group.settle(now)?;
                }
            }
        }
        let order = &mut group.orders[index];
        if order.status.is_working() && immediate && is_over(order, now, rules) {
            // The exchange is closed: the one chance of the order has gone.
            order.become_status(OrderStatus::Canceled, now)?;
        }
        if order.status.is_working() {
            let (cash, shares) = reservation(order, look.newest, rules)?;
            match order.side {
                Side::Buy => order.reserved_cash = cash,
                Side::Sell => order.reserved_quantity = shares,
            }
        }
        group.settle(now)?;
        let cash: Money = group.orders.iter().map(|order| &order.reserved_cash).sum();
        if cash > self.buying_power() {
            return Err(OrderRejected::InsufficientBuyingPower {
                required: cash,
                available: self.buying_power(),
            });
        }
        let sellable = self.sellable(group.root().stock_id);
        if index == 0 && group.root().side == Side::Buy {
            // Of what an entry bought before it was replaced, some may be sold already.
            self.settle(group, now)?;
            return Ok(entries);
        }
        let shares = reserved_shares(group);
        if shares > sellable {
            return Err(OrderRejected::InsufficientShares { required: shares, available: sellable });
        }
        self.hold(group);
        Ok(entries)
    }

    /// Lets one price meet one order. The group's reservations are released while this runs.
    fn advance(
        &mut self,
        group: &mut OrderGroup,
        index: usize,
        price_move: &PriceMove,
        window: &mut LiquidityWindow,
        now: Timestamp,
        rules: &TradingRules,
    ) -> Result<Advance, OrderRejected> {
        let order = &mut group.orders[index];
        let reaction = react(order, price_move, window, rules);
        let is_quiet = reaction.is_quiet();
        window.kept = reaction.kept_liquidity.unwrap_or_else(Quantity::zero);
        if is_quiet {
            return Ok(Advance::Quiet);
        }
        if reaction.high_water.is_some() {
            order.high_water_price = reaction.high_water;
        }
        if reaction.triggers {
            order.triggered_at = Some(price_move.quote.as_of);
        }
        let entry = match reaction.execution {
            Some(execution) => self.execute(order, execution, price_move, now, rules)?,
            None => None,
        };
        if reaction.ends && order.status.is_open() {
            let auction = matches!(order.time_in_force, TimeInForce::Opg | TimeInForce::Cls);
            order.become_status(if auction { OrderStatus::Expired } else { OrderStatus::Canceled }, now)?;
        }
        if let Some(sold) = entry.as_ref().and_then(|entry| entry.quantity.as_ref()) {
            group.share_fill(index, sold);
        }
        Ok(Advance::Stirred(entry))
    }

    fn execute(
        &mut self,
        order: &mut Order,
        execution: Execution,
        price_move: &PriceMove,
        now: Timestamp,
        rules: &TradingRules,
    ) -> Result<Option<JournalEntry>, OrderRejected> {
        let Execution { price, quoted_price, rule, at_most } = execution;
        let wanted = order.remaining(&price);
        // A rest worth less than a cent could not be traded alone: it goes with the part before it.
        let is_part = |most: &Quantity| {
            *most < wanted && (most.is_zero() || !price.times(&(wanted.clone() - most)).is_zero())
        };
        let (quantity, whole) = match at_most {
            Some(most) if is_part(&most) => (most, false),
            _ => (wanted.clone(), true),
        };
        if !whole && price.times(&quantity).is_zero() {
            return Ok(None);
        }
        let quote = &price_move.quote;
        let rounding = Rounding::Cumulative;
        let receipt =
            Receipt { source: quote.source.clone(), quoted_at: quote.as_of, rule, quoted_price, rounding };
        let fill = Fill { side: order.side, quantity, price, at: now, receipt };
        let mut totals = order.fill_totals();
        let gross = totals.add(rounding, fill.side, &fill.price, &fill.quantity);
        if fill.side == Side::Buy && totals.amount.is_zero() {
            return Err(OrderRejected::TooSmall);
        }
        let commission = still_due(order, &totals.quantity, &totals.amount, rules);
        let entry = self.apply(order.id, order.stock_id, &fill, &gross, &commission)?;
        // What is kept shrinks with what is left to fill.
        match &order.size {
            OrderSize::Quantity(_) | OrderSize::OfPosition(_) => {
                let left = wanted - &fill.quantity;
                order.reserved_cash = match left.is_zero() {
                    true => Money::zero(),
                    false => order.reserved_cash.prorate(&left, &(left.clone() + &fill.quantity)),
                };
            }
            OrderSize::Notional(_) => {
                let spent = gross + &commission;
                order.reserved_cash = (order.reserved_cash.clone() - &spent).max(Money::zero());
                order.reserved_quantity =
                    order.reserved_quantity.checked_sub(&fill.quantity).unwrap_or_else(Quantity::zero);
            }
        }
        order.set_fill_totals(totals);
        order.commission += &commission;
        order.become_status(if whole { OrderStatus::Filled } else { OrderStatus::PartiallyFilled }, now)?;
        Ok(Some(entry))
    }

    /// Books one execution: moves cash and shares, and answers the journal entry. `gross` is the amount that the order's
    /// rounding gives the fill, without commission.
    ///
    /// # Errors
    /// When cash or shares do not suffice or the result is beyond what the books hold; nothing changes then.
    fn apply(
        &mut self,
        order: OrderId,
        stock_id: StockId,
        fill: &Fill,
        gross: &Money,
        commission: &Money,
    ) -> Result<JournalEntry, OrderRejected> {
        if fill.quantity.is_zero() {
            return Err(OrderRejected::TooSmall);
        }
        let mut position = self.positions.get(&stock_id).cloned().unwrap_or_default();
        let (transaction_type, amount, realized_pnl) = match fill.side {
            Side::Buy => {
                let cost = gross.clone() + commission;
                position.buy(&fill.quantity, &cost);
                (TransactionType::Buy, -cost, None)
            }
            Side::Sell => {
                let available = self.sellable(stock_id);
                let short = |available| OrderRejected::InsufficientShares {
                    required: fill.quantity.clone(),
                    available,
                };
                if fill.quantity > available {
                    return Err(short(available));
                }
                let proceeds = gross.clone() - commission;
                let realized = position
                    .sell(&fill.quantity, &proceeds)
                    .map_err(|PositionError::NotHeld { held }| short(held))?;
                (TransactionType::Sell, proceeds, Some(realized))
            }
        };
        if amount.is_negative() && -amount.clone() > self.buying_power() {
            return Err(OrderRejected::InsufficientBuyingPower {
                required: -amount,
                available: self.buying_power(),
            });
        }
        let cash_balance = self.cash_balance.clone() + &amount;
        if !cash_balance.in_bounds() || !position.quantity.in_bounds() || !position.cost_basis.in_bounds() {
            return Err(OrderRejected::TooLarge);
        }
        self.cash_balance = cash_balance;
        self.positions.insert(stock_id, position);
        Ok(JournalEntry {
            id: None,
            portfolio_id: self.id,
            stock_id: Some(stock_id),
            order_id: Some(order),
            transaction_type,
            quantity: Some(fill.quantity.clone()),
            price: Some(fill.price.clone()),
            commission: commission.clone(),
            amount,
            realized_pnl,
            timestamp: fill.at,
            receipt: Some(fill.receipt.clone()),
            action: None,
            reverses: None,
        })
    }

    /// Gives back what a group keeps, while it is worked on.
    fn release(&mut self, group: &OrderGroup) {
        for order in &group.orders {
            self.reserved.cash -= &order.reserved_cash;
        }
        if let Some(shares) = self.reserved.shares.get_mut(&group.root().stock_id) {
            *shares = shares.checked_sub(&reserved_shares(group)).unwrap_or_else(Quantity::zero);
        }
    }

    fn hold(&mut self, group: &OrderGroup) {
        for order in &group.orders {
            self.reserved.cash += &order.reserved_cash;
        }
        let shares = reserved_shares(group);
        let reserved = self.reserved.shares.entry(group.root().stock_id).or_insert_with(Quantity::zero);
        *reserved = reserved.clone() + &shares;
    }

    /// The consequences within the group, and its reservation, which shares sold otherwise, or a part that was dearer
    /// than estimated, may have made smaller.
    fn settle(&mut self, group: &mut OrderGroup, now: Timestamp) -> Result<(), OrderRejected> {
        group.settle(now)?;
        for order in &mut group.orders {
            order.reserved_cash = order.reserved_cash.clone().min(self.buying_power());
        }
        let sellable = self.sellable(group.root().stock_id);
        if reserved_shares(group) > sellable {
            group.limit_exits(&sellable, now)?;
        }
        self.hold(group);
        Ok(())
    }
}

/// A source that publishes closing prices only has no opening price to fill at.
fn auction_issue(time_in_force: TimeInForce, newest: &Quote) -> Option<OrderIssue> {
    let has_no_opening = time_in_force == TimeInForce::Opg && newest.freshness == Freshness::EndOfDay;
    has_no_opening.then_some(OrderIssue::NoOpeningPrices)
}

fn reserved_shares(group: &OrderGroup) -> Quantity {
    group.orders.iter().fold(Quantity::zero(), |sum, order| sum + &order.reserved_quantity)
}

/// When an order of that kind, placed now, ends or meets its auction. In realistic mode `ioc` and `fok` have until the
/// close of the session under way to meet a price; while the exchange is closed they end at once.
fn end_of(time_in_force: TimeInForce, now: Timestamp, rules: &TradingRules) -> Option<Timestamp> {
    match time_in_force {
        TimeInForce::Day | TimeInForce::Cls => Some(rules.calendar.booking_session(now).closes_at),
        TimeInForce::Opg => Some(rules.calendar.next_open(now).opens_at),
        TimeInForce::Ioc | TimeInForce::Fok if rules.mode == TradingMode::Realistic => {
            Some(rules.calendar.session_at(now).map_or(now, |session| session.closes_at))
        }
        TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok => None,
    }
}

/// What a working order has to keep: cash for a buy, shares for a sell. A limit is the most a buy can cost; of a
/// market order and a stop the cost is an estimate, the quote's price or the stop, with slippage. Commission is
/// part of it.
fn reservation(
    order: &Order,
    newest: &PriceMove,
    rules: &TradingRules,
) -> Result<(Money, Quantity), OrderRejected> {
    let stop = order.stop_price().filter(|_| order.triggered_at.is_none());
    let price = match (order.terms.limit_price(), stop) {
        (Some(limit), _) => limit.clone(),
        (None, Some(stop)) => rules.slipped(order.side, &stop),
        (None, None) => rules.slipped(order.side, newest.quote.touch(order.side).0),
    };
    let quantity = order.remaining(&price);
    let amount = match &order.size {
        OrderSize::Quantity(_) | OrderSize::OfPosition(_) => price.times(&quantity),
        OrderSize::Notional(notional) => notional.clone() - &order.filled_amount.rounded(),
    };
    if quantity.is_zero() || (order.side == Side::Buy && amount.is_zero()) {
        return Err(OrderRejected::TooSmall);
    }
    let total = (order.filled_quantity.clone() + &quantity, order.filled_amount.rounded() + &amount);
    let commission = still_due(order, &total.0, &total.1, rules);
    Ok((amount + commission, quantity))
}

/// The commission of an order that will have filled `quantity` for `amount`, less what it has been charged. Nothing is
/// given back when the house has become cheaper meanwhile.
fn still_due(order: &Order, quantity: &Quantity, amount: &Money, rules: &TradingRules) -> Money {
    (rules.commission.of(quantity, amount) - &order.commission).max(Money::zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Books;
    use crate::{Calendar, PriceSource, Symbol};
    use chrono::{TimeDelta, TimeZone, Utc};
    use proptest::prelude::*;
    use uuid::Uuid;

    const STOCK: StockId = StockId(7);

    fn now() -> Timestamp {
        Utc.with_ymd_and_hms(2026, 11, 20, 19, 0, 0).unwrap().into()
    }

    fn symbol() -> Symbol {
        "AAPL".parse().unwrap()
    }

    fn quote(last: &str, bid: Option<&str>, ask: Option<&str>) -> Quote {
        Quote {
            symbol: symbol(),
            price: last.parse().unwrap(),
            bid: bid.map(|text| text.parse().unwrap()),
            ask: ask.map(|text| text.parse().unwrap()),
            previous_close: None,
            volume: None,
            as_of: now(),
            source: PriceSource::from("test"),
            freshness: Freshness::Simulated,
            stale: false,
        }
    }

    fn order(side: Side, size: OrderSize) -> PlaceOrder {
        PlaceOrder {
            symbol: symbol(),
            side,
            size,
            terms: OrderTerms::Market,
            time_in_force: TimeInForce::Day,
            attached: Attached::Nothing,
            client_order_id: None,
        }
    }

    fn shares(text: &str) -> OrderSize {
        OrderSize::Quantity(text.parse().unwrap())
    }

    fn with_cash(cash: &str) -> Portfolio {
        Portfolio::new(PortfolioId(1), cash.parse().unwrap())
    }

    fn place(
        portfolio: &mut Portfolio,
        side: Side,
        size: OrderSize,
        quote: &Quote,
    ) -> Result<Placed, OrderRejected> {
        let newest = PriceMove { quote: quote.clone(), volume: None };
        let look = Look { newest: &newest, asked_at: now() };
        let rules = TradingRules::practice(Calendar::AroundTheClock);
        portfolio.place([OrderId(Uuid::nil()); 3], STOCK, order(side, size), look, now(), &rules)
    }

    fn receipt(placed: &Placed) -> &Receipt {
        placed.entries[0].receipt.as_ref().unwrap()
    }

    #[test]
    fn a_buy_fills_at_the_ask_and_a_sell_at_the_bid() {
        let mut portfolio = with_cash("10000");
        let quote = quote("100.00", Some("99.98"), Some("100.02"));
        let bought = place(&mut portfolio, Side::Buy, shares("10"), &quote).unwrap();
        assert_eq!(bought.group.root().filled_price.as_ref().unwrap().to_shortest(), "100.02");
        assert_eq!(receipt(&bought).rule, FillRule::Ask);
        assert_eq!(portfolio.cash_balance.to_string(), "8999.80");
        let sold = place(&mut portfolio, Side::Sell, shares("4"), &quote).unwrap();
        assert_eq!(receipt(&sold).rule, FillRule::Bid);
        assert_eq!(sold.entries[0].realized_pnl.as_ref().unwrap().to_string(), "-0.16");
        assert_eq!(portfolio.positions[&STOCK].quantity.to_string(), "6");
    }

    #[test]
    fn the_last_price_serves_where_there_is_no_bid_and_ask() {
        let placed =
            place(&mut with_cash("100"), Side::Buy, shares("1"), &quote("99.00", None, None)).unwrap();
        assert_eq!(
            (receipt(&placed).rule, placed.entries[0].price.as_ref().unwrap().to_string()),
            (FillRule::Last, "99.00".into())
        );
    }

    #[test]
    fn a_notional_order_never_costs_more_than_asked() {
        let mut portfolio = with_cash("100");
        let size = OrderSize::Notional("100".parse().unwrap());
        let placed = place(&mut portfolio, Side::Buy, size, &quote("3.00", None, None)).unwrap();
        assert_eq!(placed.group.root().filled_quantity.to_string(), "33.333333333");
        assert_eq!(portfolio.cash_balance.to_string(), "0.00");
    }

    #[test]
    fn refusals_say_why_and_change_nothing() {
        let fresh = quote("100.00", None, None);
        let mut portfolio = with_cash("999.99");
        let before = portfolio.clone();
        assert_eq!(
            place(&mut portfolio, Side::Buy, shares("10"), &fresh).unwrap_err().to_string(),
            "the order costs 1000.00 and 999.99 is available"
        );
        assert_eq!(
            place(&mut portfolio, Side::Sell, shares("1"), &fresh).unwrap_err(),
            OrderRejected::InsufficientShares { required: "1".parse().unwrap(), available: Quantity::zero() }
        );
        assert_eq!(
            place(&mut portfolio, Side::Buy, shares("0.00001"), &fresh).unwrap_err(),
            OrderRejected::TooSmall
        );
        let ahead = Quote { as_of: now() + TimeDelta::seconds(61), ..fresh };
        assert!(matches!(
            place(&mut portfolio, Side::Buy, shares("1"), &ahead),
            Err(OrderRejected::PriceFromFuture { .. })
        ));
        assert_eq!(portfolio, before);
    }

    #[test]
    fn what_the_books_cannot_hold_is_refused() {
        let mut portfolio = with_cash("1000000000000000");
        let penny = quote("0.0001", None, None);
        place(&mut portfolio, Side::Buy, shares("1000000000"), &penny).unwrap();
        assert_eq!(
            place(&mut portfolio, Side::Buy, shares("1000"), &penny).unwrap_err(),
            OrderRejected::TooLarge
        );
    }

    /// (buy?, quantity in millionths, price in cents)
    fn trades() -> impl Strategy<Value = Vec<(bool, i64, i64)>> {
        prop::collection::vec((any::<bool>(), 1_i64..50_000_000, 1_i64..200_000), 1..60)
    }

    proptest! {
        /// Realized + unrealized = market value + signed flows of the stock, cash moves only by the flows, and
        /// the journal alone gives the same books.
        #[test]
        fn profit_and_loss_add_up(trades in trades(), mark in 1_i64..200_000) {
            let deposit: Money = "250000.00".parse().unwrap();
            let mut portfolio = with_cash("250000.00");
            let mut journal = vec![JournalEntry::cash(portfolio.id, deposit.clone(), now())];
            for (buy, millionths, cents) in trades {
                let quote = Quote { price: crate::Price::from_scaled(cents, 2), ..quote("1.00", None, None) };
                let quantity = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
                let side = if buy { Side::Buy } else { Side::Sell };
                if let Ok(placed) = place(&mut portfolio, side, shares(&quantity), &quote) {
                    journal.extend(placed.entries);
                }
                prop_assert!(!portfolio.cash_balance.is_negative());
            }
            let position = portfolio.positions.get(&STOCK).cloned().unwrap_or_default();
            let market_value = crate::Price::from_scaled(mark, 2).times(&position.quantity);
            let unrealized = market_value.clone() - &position.cost_basis;
            let flows: Money = journal.iter().skip(1).map(|entry| &entry.amount).sum();
            prop_assert_eq!(position.realized_pnl.clone() + unrealized, market_value + &flows);
            prop_assert_eq!(portfolio.cash_balance.clone(), deposit + &flows);

            let mut books = Books::default();
            for entry in &journal {
                prop_assert_eq!(books.apply(entry), Ok(()));
            }
            prop_assert_eq!(books.cash_balance, portfolio.cash_balance);
            prop_assert_eq!(books.positions, portfolio.positions);
        }
    }
}
