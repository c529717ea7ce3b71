//! Decides whether a price fills an order, and at what price. A pure function of order and price; `portfolio.rs`
//! moves cash and shares.

use chrono::TimeDelta;

use crate::order_group::next_auction;
use crate::{
    FillRule, Order, OrderTerms, Price, PriceMove, Quantity, Side, TimeInForce, Timestamp, TradingRules,
};

/// How long volume accumulates for an order. Then the order takes it, even if it is less than the minimum fill.
pub const LIQUIDITY_WINDOW: TimeDelta = TimeDelta::minutes(5);

/// The volume from earlier price moves that is left for an order with limited liquidity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiquidityWindow {
    /// The accumulated shares, not rounded.
    pub kept: Quantity,
    /// Whether the window has ended: the order then takes the volume, even if it is less than its minimum fill.
    pub is_over: bool,
}

impl LiquidityWindow {
    /// The window of an order that is being placed: its first price includes the volume of the last minute.
    pub(crate) fn of_a_minute() -> Self {
        Self { kept: Quantity::zero(), is_over: true }
    }

    pub(crate) fn opened() -> Self {
        Self { kept: Quantity::zero(), is_over: false }
    }

    /// Decides whether the window ends with the move at `index`: when [`LIQUIDITY_WINDOW`] has passed since the order
    /// was matched and before the next move, or before `until` if there is no next move.
    pub(crate) fn check_end(&mut self, order: &Order, moves: &[PriceMove], index: usize, until: Timestamp) {
        let next = moves.get(index + 1).map_or(until, |next| next.quote.as_of);
        self.is_over = next - order.last_matched_at >= LIQUIDITY_WINDOW;
    }
}

impl Reaction {
    /// Whether the price changes nothing about the order except the accumulated volume.
    pub(crate) fn is_quiet(&self) -> bool {
        *self == Self { kept_liquidity: self.kept_liquidity.clone(), ..Self::default() }
    }
}

/// The effect of one price on a working order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reaction {
    /// Whether the market has reached the stop.
    pub triggers: bool,
    /// A new best price for a trailing stop.
    pub high_water: Option<Price>,
    /// Shares accumulated for the order that are too few for a fill yet.
    pub kept_liquidity: Option<Quantity>,
    pub execution: Option<Execution>,
    /// Whether the order ends, filled or not: an `ioc`, `fok`, `opg` or `cls` order meets only one price.
    pub ends: bool,
}

/// The price at which an order fills, and the largest quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    pub price: Price,
    /// The price before slippage.
    pub quoted_price: Price,
    pub rule: FillRule,
    /// The order's share of the traded volume; `None` if it is not limited.
    pub at_most: Option<Quantity>,
}

/// Computes the effect of one price on a working order.
///
/// A limit order fills at the quote's price for its side if that price is at the limit or better: if the market jumps
/// through the limit, the order gets the better price. A stop triggers on the last trade and fills at the price of the
/// same quote, however far that is beyond the stop. A trailing stop first follows a new best price, then triggers. With
/// limited liquidity, an order takes its share of the traded volume, in whole shares. A share below the order's minimum
/// fill accumulates for up to [`LIQUIDITY_WINDOW`], so that an order has few fills; `ioc` and `fok` orders take it
/// immediately. `opg` and `cls` orders meet the first price at or after their auction, at the last trade; a price that
/// already belongs to the next auction is too late.
pub fn react(
    order: &Order,
    price_move: &PriceMove,
    window: &LiquidityWindow,
    rules: &TradingRules,
) -> Reaction {
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
        let next = order.expires_at.map(|auction| next_auction(order.time_in_force, auction, rules));
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
        (Some(share), Some(volume)) => {
            let left = window.kept.clone() + &Quantity::share_of(volume, share);
            let (remaining, whole) = (order.remaining(&price), left.whole());
            let is_enough = left >= remaining;
            match order.time_in_force {
                _ if is_enough => {}
                TimeInForce::Fok => return reaction,
                TimeInForce::Ioc => {}
                _ if whole >= order.minimum_fill(&price) => {}
                _ if window.is_over && !whole.is_zero() => {}
                _ => {
                    reaction.kept_liquidity = (left != window.kept).then_some(left);
                    return reaction;
                }
            }
            Some(if is_enough && whole < remaining { remaining } else { whole })
        }
        _ => None,
    };
    reaction.execution = Some(Execution { price, quoted_price: touch.clone(), rule, at_most });
    reaction
}

/// Whether the order meets a price of time `at`: later than all its earlier prices, within trading hours, and not after
/// the order's end. The price of the close belongs to the session. Auction orders check the hours themselves, and
/// accept a closing price that arrives after later prices were matched.
pub fn meets(order: &Order, at: Timestamp, rules: &TradingRules) -> bool {
    let auction = matches!(order.time_in_force, TimeInForce::Opg | TimeInForce::Cls);
    let in_time = order.expires_at.is_none_or(|end| at <= end);
    let is_close = order.time_in_force == TimeInForce::Cls && order.expires_at == Some(at);
    is_close || (at > order.last_matched_at && (auction || (in_time && rules.is_open(at))))
}

fn within_limit(order: &Order, price: &Price) -> bool {
    order.terms.limit_price().is_none_or(|limit| match order.side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    })
}

/// Whether a trailing stop has a new best price: higher for a sell, lower for a buy.
fn is_better(side: Side, price: &Price, best: Option<&Price>) -> bool {
    best.is_none_or(|best| match side {
        Side::Sell => price > best,
        Side::Buy => price < best,
    })
}
