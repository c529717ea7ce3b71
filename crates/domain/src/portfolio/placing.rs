//! Placing an order: determines its size, fills it at the newest price if possible, and reserves cash or shares.

use super::reservation::{reservation, reserved_shares};
use super::working::Advance;
use super::{NewestPrice, OrderRejected, Placed, Portfolio};
use crate::matching::LiquidityWindow;
use crate::money::ExactAmount;
use crate::order_group::is_over;
use crate::{
    Attached, FillRule, Freshness, JournalEntry, Money, Order, OrderClass, OrderGroup, OrderIds, OrderIssue,
    OrderSize, OrderStatus, OrderTerms, PlaceOrder, PriceStanding, Quantity, Quote, RulesAt, Side, StockId,
    TimeInForce, Timestamp, TradingMode, TradingRules,
};

/// How far the amount of a sell may exceed the value of the shares and still sell all of them, in percent: prices move
/// while the user reads the value.
const SHOWN_VALUE_PERCENT: u32 = 1;

impl Portfolio {
    /// Places an order. In practice mode it meets the newest price immediately: a buy fills at the ask and a sell at
    /// the bid, or at the last price if the source has no bid and ask. The rest becomes a working order, with cash or
    /// shares reserved for it; for an `ioc` or `fok` order the rest is canceled. In realistic mode every order waits
    /// for a later price.
    ///
    /// `now` is the time of the order and of its first fill.
    ///
    /// # Errors
    /// [`OrderRejected`]; the portfolio is then unchanged.
    pub fn place(
        &mut self,
        ids: OrderIds,
        stock_id: StockId,
        command: PlaceOrder,
        newest_price: NewestPrice<'_>,
        RulesAt { rules, now }: RulesAt<'_>,
    ) -> Result<Placed, OrderRejected> {
        let newest = &newest_price.newest.quote;
        let mut issues = command.issues();
        if command.terms.entry_price().is_none() {
            issues.extend(command.attached.issues_around(&newest.price));
        }
        issues.extend(auction_issue(command.time_in_force, newest));
        if !issues.is_empty() {
            return Err(OrderRejected::Unfit(issues));
        }
        let size = self.size_to_place(stock_id, &command, &newest_price.newest.quote, rules)?;
        let root = Order {
            id: ids.entry,
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
        let legs = command.attached.legs().into_iter().map(|terms| Order {
            id: match terms {
                OrderTerms::Limit { .. } => ids.take_profit,
                _ => ids.stop_loss,
            },
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
        let entries = draft.enter(&mut group, 0, newest_price, rules.at(now))?;
        *self = draft;
        Ok(Placed { group, entries })
    }

    /// The size with which an order is placed.
    ///
    /// A part of a position becomes a quantity. A sell by money for the value of all sellable shares becomes a sell of
    /// exactly these shares, so that no fraction worth less than a cent is left over. An amount up to
    /// [`SHOWN_VALUE_PERCENT`] above the value also sells all shares, because the user saw a slightly older value.
    pub(super) fn size_to_place(
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

    /// Matches a new or replacing order with the newest price, and reserves cash or shares for the rest.
    pub(super) fn enter(
        &mut self,
        group: &mut OrderGroup,
        index: usize,
        newest_price: NewestPrice<'_>,
        RulesAt { rules, now }: RulesAt<'_>,
    ) -> Result<Vec<JournalEntry>, OrderRejected> {
        let quote = &newest_price.newest.quote;
        let order = &group.orders[index];
        let standing = newest_price.standing(rules);
        let fresh = standing != PriceStanding::Old;
        let auction = matches!(order.time_in_force, TimeInForce::Opg | TimeInForce::Cls);
        let at_once = rules.mode == TradingMode::Practice && !auction;
        let immediate = matches!(order.time_in_force, TimeInForce::Ioc | TimeInForce::Fok);
        let impatient = immediate || matches!(order.terms, OrderTerms::Market);
        if at_once && impatient && newest_price.is_from_future() {
            return Err(OrderRejected::PriceFromFuture {
                as_of: quote.as_of,
                requested_at: newest_price.requested_at,
            });
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
            // The exits of an entry meet only later prices; both orders of a new OCO pair meet this one.
            let together = group.root().order_class == OrderClass::Oco && order.replaces.is_none();
            let last = if together { group.orders.len() - 1 } else { index };
            let newest = newest_price.price_to_meet(standing);
            for index in index..=last {
                if group.orders[index].status.is_working() {
                    let mut window = LiquidityWindow::of_a_minute();
                    let advanced = self.advance(group, index, &newest, &mut window, rules.at(now))?;
                    if let Advance::Affected(mut entry) = advanced {
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
            // The exchange is closed, and the order had only this chance to fill.
            order.become_status(OrderStatus::Canceled, now)?;
        }
        if order.status.is_working() {
            let (cash, shares) = reservation(order, newest_price.newest, rules)?;
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
            // Some of the shares that a replaced entry bought may already be sold.
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
}

/// The issue of an `opg` order if the source publishes only closing prices.
pub(super) fn auction_issue(time_in_force: TimeInForce, newest: &Quote) -> Option<OrderIssue> {
    let has_no_opening = time_in_force == TimeInForce::Opg && newest.freshness == Freshness::EndOfDay;
    has_no_opening.then_some(OrderIssue::NoOpeningPrices)
}

/// When an order that is placed now expires or meets its auction. In realistic mode `ioc` and `fok` orders have until
/// the close of the current session to meet a price; while the exchange is closed they end immediately.
pub(super) fn end_of(time_in_force: TimeInForce, now: Timestamp, rules: &TradingRules) -> Option<Timestamp> {
    match time_in_force {
        TimeInForce::Day | TimeInForce::Cls => Some(rules.calendar.booking_session(now).closes_at),
        TimeInForce::Opg => Some(rules.calendar.next_open(now).opens_at),
        TimeInForce::Ioc | TimeInForce::Fok if rules.mode == TradingMode::Realistic => {
            Some(rules.calendar.session_at(now).map_or(now, |session| session.closes_at))
        }
        TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok => None,
    }
}
