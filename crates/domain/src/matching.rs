//! Does this price fill this order, and at what price. A pure function of order and price; cash and shares are
//! `portfolio.rs`'s business.

use crate::{
    FillRule, Order, OrderTerms, Price, PriceMove, Quantity, Side, TimeInForce, Timestamp, TradingRules,
};

/// What one price does to a working order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reaction {
    /// The market has reached the stop.
    pub triggers: bool,
    /// A new best price for a trailing stop.
    pub high_water: Option<Price>,
    pub execution: Option<Execution>,
    /// The one chance of an `ioc`, `fok`, `opg` or `cls` order is over, whatever has filled.
    pub ends: bool,
}

/// The price at which an order fills, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    pub price: Price,
    /// Before slippage.
    pub quoted_price: Price,
    pub rule: FillRule,
    /// What the traded volume leaves for this order; `None` for all of it.
    pub at_most: Option<Quantity>,
}

/// Lets one price meet a working order.
///
/// A limit order fills at the quote's price for its side when that is the limit or better, so a market that jumps
/// through the limit fills it at the better price. A stop triggers on the last trade and fills at the price of the
/// same quote, however far beyond the stop. A trailing stop first follows a new best price, then triggers.
/// `opg` and `cls` orders meet the first price at or after the auction they are for, at the last trade; a first price
/// that belongs to the next auction already is too late for them.
pub fn react(order: &Order, price_move: &PriceMove, rules: &TradingRules) -> Reaction {
    let quote = &price_move.quote;
    let mut reaction = Reaction::default();
    let auction = match order.time_in_force {
        TimeInForce::Opg => Some(FillRule::Open),
        TimeInForce::Cls => Some(FillRule::Close),
        TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok => None,
    };
    if let Some(rule) = auction {
        if order.expires_at.is_some_and(|auction| quote.as_of < auction) {
            return reaction;
        }
        reaction.ends = true;
        let next = order.expires_at.map(|auction| match rule {
            FillRule::Open => rules.calendar.booking_session(auction).closes_at,
            _ => rules.calendar.next_open(auction).opens_at,
        });
        if next.is_none_or(|next| quote.as_of < next) && within_limit(order, &quote.price) {
            let (price, quoted_price) = (quote.price.clone(), quote.price.clone());
            reaction.execution = Some(Execution { price, quoted_price, rule, at_most: None });
        }
        return reaction;
    }
    if order.terms.is_stop() && order.triggered_at.is_none() {
        let mut order = order.clone();
        if order.terms.trail().is_some()
            && is_better(order.side, &quote.price, order.high_water_price.as_ref())
        {
            order.high_water_price = Some(quote.price.clone());
            reaction.high_water = Some(quote.price.clone());
        }
        let reached = order.stop_price().is_some_and(|stop| match order.side {
            Side::Sell => quote.price <= stop,
            Side::Buy => quote.price >= stop,
        });
        if !reached {
            return reaction;
        }
        reaction.triggers = true;
    }
    reaction.ends = matches!(order.time_in_force, TimeInForce::Ioc | TimeInForce::Fok);
    let (touch, rule) = quote.touch(order.side);
    if !within_limit(order, touch) {
        return reaction;
    }
    let price = match order.terms {
        OrderTerms::Limit { .. } | OrderTerms::StopLimit { .. } => touch.clone(),
        OrderTerms::Market | OrderTerms::Stop { .. } | OrderTerms::TrailingStop { .. } => {
            rules.slipped(order.side, touch)
        }
    };
    let at_most = match (&rules.liquidity, price_move.volume) {
        (Some(share), Some(volume)) => Some(Quantity::share_of(volume, share)),
        _ => None,
    };
    let enough = |at_most: &Quantity| *at_most >= order.remaining(&price);
    if order.time_in_force == TimeInForce::Fok && !at_most.as_ref().is_none_or(enough) {
        return reaction;
    }
    reaction.execution = Some(Execution { price, quoted_price: touch.clone(), rule, at_most });
    reaction
}

/// Whether a price of that instant concerns the order: later than all it has met, within trading hours and not after
/// the order's end. The price of the close itself is the session's last. An auction looks at the hour on its own.
pub fn meets(order: &Order, at: Timestamp, rules: &TradingRules) -> bool {
    let auction = matches!(order.time_in_force, TimeInForce::Opg | TimeInForce::Cls);
    let in_time = order.expires_at.is_none_or(|end| at <= end);
    at > order.last_matched_at && (auction || (in_time && rules.is_open(at)))
}

fn within_limit(order: &Order, price: &Price) -> bool {
    order.terms.limit_price().is_none_or(|limit| match order.side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    })
}

/// Whether a trailing stop has something new to follow: up for a sell, down for a buy.
fn is_better(side: Side, price: &Price, best: Option<&Price>) -> bool {
    best.is_none_or(|best| match side {
        Side::Sell => price > best,
        Side::Buy => price < best,
    })
}
