//! What corporate actions do to a portfolio: shares and orders after a split, dividends, the end of a listing.

use bigdecimal::RoundingMode;

use crate::journal::{BookedAction, BookedTerms};
use crate::order::IllegalTransition;
use crate::{
    JournalEntry, Money, Order, OrderGroup, OrderSize, OrderStatus, OrderTerms, PerShare, Portfolio, Price,
    Quantity, Side, SplitRatio, StockId, Timestamp, Trail, TransactionType,
};

/// What an order is told that ends with its stock's listing.
pub const LISTING_ENDED: &str = "the listing has ended: the stock is traded no more";
const BEYOND_SPLIT: &str = "after the split its price or its shares cannot be expressed";

/// When an action takes effect, and in the books of which portfolio it is written when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booking {
    pub id: crate::ActionId,
    pub stock_id: StockId,
    pub effective_at: Timestamp,
    /// The time of the journal's line: not before the action took effect, nor before anything else in the journal.
    pub at: Timestamp,
}

impl Portfolio {
    /// Splits the shares of a stock and its orders that were placed before. `since` are the journal's entries of the
    /// stock from the moment on when the split took effect, see [`crate::Position::split`]. Answers the journal's line,
    /// unless nothing was held then.
    ///
    /// # Errors
    /// Only a fault of the program: a status that may not follow.
    pub fn split(
        &mut self,
        booking: Booking,
        ratio: SplitRatio,
        since: &[JournalEntry],
        groups: &mut [OrderGroup],
    ) -> Result<Option<JournalEntry>, IllegalTransition> {
        let old = self.positions.get(&booking.stock_id).cloned().unwrap_or_default();
        let new = old.split(ratio, since);
        for group in groups.iter() {
            self.release(group);
        }
        let realized = new.realized_pnl.clone() - &old.realized_pnl;
        let changed = !old.before(since).quantity.is_zero();
        let entry = changed.then(|| JournalEntry {
            stock_id: Some(booking.stock_id),
            transaction_type: TransactionType::Split,
            quantity: Some(new.quantity.clone()),
            realized_pnl: (!realized.is_zero()).then_some(realized),
            action: Some(BookedAction {
                id: booking.id,
                effective_at: booking.effective_at,
                terms: BookedTerms::Split { ratio, before: old.quantity.clone() },
            }),
            ..JournalEntry::cash(self.id, Money::zero(), booking.at)
        });
        if changed {
            self.positions.insert(booking.stock_id, new);
        }
        for group in groups {
            for order in &mut group.orders {
                // One that was placed afterwards is in new shares already.
                if order.status.is_open() && order.submitted_at < booking.effective_at {
                    split_order(order, ratio, booking.at)?;
                }
            }
            self.settle_again(group, booking.at)?;
        }
        Ok(entry)
    }

    /// Cancels what is open of a group, for a reason.
    ///
    /// # Errors
    /// Only a fault of the program: a status that may not follow.
    pub fn cancel_for(
        &mut self,
        group: &mut OrderGroup,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), IllegalTransition> {
        self.release(group);
        for order in group.orders.iter_mut().filter(|order| order.status.is_open()) {
            order.reject_reason = Some(reason.to_owned());
            order.become_status(OrderStatus::Canceled, now)?;
        }
        self.settle_again(group, now)
    }

    /// Shares that a dividend is for: what was held when the stock began to trade without it. `since` are the journal's
    /// entries of the stock from then on.
    pub fn entitled(&self, stock: StockId, since: &[JournalEntry]) -> Quantity {
        let now = self.positions.get(&stock).cloned().unwrap_or_default();
        now.before(since).quantity
    }

    /// Pays a dividend out: the journal's line.
    pub fn receive(
        &mut self,
        booking: Booking,
        per_share: &PerShare,
        quantity: &Quantity,
        amount: &Money,
    ) -> JournalEntry {
        self.cash_balance += amount;
        JournalEntry {
            stock_id: Some(booking.stock_id),
            transaction_type: TransactionType::Dividend,
            quantity: Some(quantity.clone()),
            action: Some(BookedAction {
                id: booking.id,
                effective_at: booking.effective_at,
                terms: BookedTerms::Dividend { per_share: per_share.clone() },
            }),
            ..JournalEntry::cash(self.id, amount.clone(), booking.at)
        }
    }

    fn settle_again(&mut self, group: &mut OrderGroup, now: Timestamp) -> Result<(), IllegalTransition> {
        match self.settle(group, now) {
            Err(crate::OrderRejected::Transition(fault)) => Err(fault),
            _ => Ok(()),
        }
    }
}

/// Puts an order into the shares of after a split: what is still to be traded is multiplied and prices are divided.
///
/// Where a price does not lie on the tick then, it is rounded so that its owner does not pay more, get less, or trade
/// earlier than was said: the limit of a buy and the stop of a sell down, the limit of a sell and the stop of a buy up,
/// the distance of a trailing stop up. An order by money stays for the same money. Cash that it keeps stays.
/// What cannot be expressed is canceled.
fn split_order(order: &mut Order, ratio: SplitRatio, now: Timestamp) -> Result<(), IllegalTransition> {
    let size = match &order.size {
        OrderSize::Quantity(_) => {
            let rest = ratio.shares(&order.unfilled());
            (!rest.is_zero()).then(|| OrderSize::Quantity(order.filled_quantity.clone() + &rest))
        }
        OrderSize::Notional(notional) => Some(OrderSize::Notional(notional.clone())),
    };
    let terms = split_terms(&order.terms, order.side, ratio);
    let stop = stop_rounding(order.side);
    let water = order.high_water_price.as_ref().map(|water| ratio.price(water, stop));
    let (has_water, water) = (water.is_some(), water.flatten());
    match (size, terms) {
        (Some(size), Some(terms)) if has_water == water.is_some() => {
            order.size = size;
            order.terms = terms;
            order.high_water_price = water;
            if matches!(order.size, OrderSize::Notional(_)) {
                order.reserved_quantity = ratio.shares(&order.reserved_quantity);
            }
            Ok(())
        }
        _ => {
            order.reject_reason = Some(BEYOND_SPLIT.to_owned());
            order.become_status(OrderStatus::Canceled, now)
        }
    }
}

fn split_terms(terms: &OrderTerms, side: Side, ratio: SplitRatio) -> Option<OrderTerms> {
    let limit = |price: &Price| {
        ratio.price(price, if side == Side::Buy { RoundingMode::Down } else { RoundingMode::Up })
    };
    let stop = |price: &Price| ratio.price(price, stop_rounding(side));
    Some(match terms {
        OrderTerms::Market => OrderTerms::Market,
        OrderTerms::Limit { limit: price } => OrderTerms::Limit { limit: limit(price)? },
        OrderTerms::Stop { stop: price } => OrderTerms::Stop { stop: stop(price)? },
        OrderTerms::StopLimit { stop: at, limit: price } => {
            OrderTerms::StopLimit { stop: stop(at)?, limit: limit(price)? }
        }
        OrderTerms::TrailingStop { trail: Trail::Price(distance) } => {
            OrderTerms::TrailingStop { trail: Trail::Price(ratio.price(distance, RoundingMode::Up)?) }
        }
        OrderTerms::TrailingStop { trail: Trail::Percent(percent) } => {
            OrderTerms::TrailingStop { trail: Trail::Percent(percent.clone()) }
        }
    })
}

fn stop_rounding(side: Side) -> RoundingMode {
    if side == Side::Buy { RoundingMode::Up } else { RoundingMode::Down }
}
