//! Order previews: the result of placing an order, and an estimate for its unfilled rest.

use uuid::Uuid;

use crate::calendar::exchange_date;
use crate::money::AveragePrice;
use crate::{
    FillRule, JournalEntry, Money, NewestPrice, Order, OrderId, OrderIds, OrderRejected, OrderSize,
    OrderStatus, OrderTerms, OrderWarning, PlaceOrder, Placed, Portfolio, Price, Quantity, Quote, RulesAt,
    Side, Stock, TradingHold, TradingMode, Valuation,
};

/// The effects of an order if it were placed now. Nothing is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderPreview {
    pub stock: Stock,
    /// The order as it would be in the books, legs included.
    pub order: Order,
    pub legs: Vec<Order>,
    /// The newest price, on which the estimate is based.
    pub quote: Quote,
    /// The fill that would happen immediately.
    pub fill: Option<JournalEntry>,
    /// The price of the estimate: the fill's price, the limit, the stop, or the newest price.
    pub price: Price,
    /// The shares of the whole order, filled or not, and their value at `price`. Without commission; positive.
    pub quantity: Quantity,
    pub gross: Money,
    /// The commission of the whole order.
    pub commission: Money,
    /// The signed effect of the whole order on cash.
    pub amount: Money,
    pub cash_before: Money,
    /// Cash when the whole order has filled.
    pub cash_after: Money,
    pub buying_power_before: Money,
    /// Buying power after the order is placed and its reservation is made.
    pub buying_power_after: Money,
    pub quantity_before: Quantity,
    pub quantity_after: Quantity,
    /// The average price per share after the order; `None` if no shares are held then.
    pub average_buy_price_after: Option<AveragePrice>,
    /// The realized result of a sell.
    pub realized_pnl: Option<Money>,
    /// The position's part of the total value after the order: a ratio.
    pub weight_after: f64,
    /// Whether the order waits because the exchange is closed.
    pub waits_for_open: bool,
    /// Why the order cannot fill now, if the caller knows of a reason.
    pub hold: Option<TradingHold>,
}

/// The share of a portfolio above which a position causes a warning.
const WARNING_WEIGHT: f64 = 0.5;

impl OrderPreview {
    /// The warnings for the user, the most important first.
    pub fn warnings(&self) -> Vec<OrderWarning> {
        let mut warnings = Vec::new();
        let mut warn = |when: bool, warning| {
            if when {
                warnings.push(warning);
            }
        };
        let (order, symbol) = (&self.order, &self.stock.listing.symbol);
        let filled = !order.filled_quantity.is_zero();
        let buys = order.side == Side::Buy;
        warn(
            buys && self.weight_after > WARNING_WEIGHT,
            OrderWarning::Concentrated { symbol: symbol.clone(), weight: self.weight_after },
        );
        warn(
            !buys && self.quantity_after.is_zero(),
            OrderWarning::SellsWholePosition { symbol: symbol.clone() },
        );
        warn(order.terms.limit_price().is_some() && filled, OrderWarning::LimitReached);
        warn(order.triggered_at.is_some(), OrderWarning::StopReached);
        warn(
            filled && order.status.is_open(),
            OrderWarning::FillsInPart { filled: order.filled_quantity.clone() },
        );
        warn(order.status == OrderStatus::Canceled, OrderWarning::RestCanceled);
        if let Some(hold) = &self.hold {
            warn(true, OrderWarning::OnHold { symbol: symbol.clone(), hold: hold.clone() });
        }
        warn(self.waits_for_open && order.status.is_open(), OrderWarning::ExchangeClosed);
        let receipt = self.fill.as_ref().and_then(|fill| fill.receipt.as_ref());
        let past_close = receipt.filter(|receipt| receipt.rule == FillRule::PastClose);
        if let Some(receipt) = past_close {
            warn(true, OrderWarning::PastClose { session: exchange_date(receipt.quoted_at) });
        }
        warn(self.quote.bid.is_none() && past_close.is_none(), OrderWarning::NoBidAndAsk);
        for leg in &self.legs {
            let at_once = match (&leg.terms, leg.stop_price()) {
                (OrderTerms::Limit { limit }, _) => *limit <= self.quote.price,
                (_, Some(stop)) => stop >= self.quote.price,
                (_, None) => false,
            };
            warn(at_once, OrderWarning::ExitReached { exit: leg.order_type() });
        }
        warnings
    }
}

impl Portfolio {
    /// Returns the effects of [`Portfolio::place`]. The order is placed in a copy of the portfolio, so a preview and an
    /// order at the same price agree to the cent. `valuation` is the valuation of the portfolio before the order.
    ///
    /// The unfilled rest is estimated at the limit, which is the least favorable price; without a limit at the likely
    /// price: the stop, or the newest price, with slippage.
    ///
    /// # Errors
    /// The errors of [`Portfolio::place`].
    pub fn preview(
        &self,
        stock: Stock,
        command: PlaceOrder,
        newest_price: NewestPrice<'_>,
        RulesAt { rules, now }: RulesAt<'_>,
        valuation: &Valuation,
    ) -> Result<OrderPreview, OrderRejected> {
        let command = PlaceOrder { symbol: stock.listing.symbol.clone(), ..command };
        let mut after = self.clone();
        let Placed { mut group, entries } = after.place(
            OrderIds::from_fn(|| OrderId(Uuid::nil())),
            stock.id,
            command,
            newest_price,
            rules.at(now),
        )?;
        let legs = group.orders.split_off(1);
        let order = group.orders.swap_remove(0);
        let fill = entries.into_iter().next();
        let newest = &newest_price.newest.quote;

        let likely = match (order.terms.limit_price(), order.stop_price()) {
            (Some(limit), _) => limit.clone(),
            (None, Some(stop)) => rules.slipped(order.side, &stop),
            (None, None) => rules.slipped(order.side, newest.touch(order.side).0),
        };
        let (rest, booked) = (order.remaining(&likely), order.filled_amount.rounded());
        let gross = match &order.size {
            OrderSize::Notional(notional) if order.side == Side::Buy && !rest.is_zero() => notional.clone(),
            _ => order.filled_amount.plus(&likely, &rest).rounded(),
        };
        let rest_gross = gross.clone() - &booked;
        let quantity = order.filled_quantity.clone() + &rest;
        let commission = rules.commission.charged_for(&quantity, &gross);
        let held = self.positions.get(&stock.id).cloned().unwrap_or_default();
        let mut position = after.positions.get(&stock.id).cloned().unwrap_or_default();
        let rest_commission = commission.clone() - &order.commission;
        let (amount, realized_pnl) = match order.side {
            Side::Buy => {
                position.buy(&rest, &(rest_gross + rest_commission));
                (-(gross.clone() + &commission), None)
            }
            Side::Sell => {
                let earlier = position.realized_pnl.clone() - &held.realized_pnl;
                let later = position.sell(&rest, &(rest_gross - rest_commission)).ok();
                (gross.clone() - &commission, later.map(|later| later + earlier))
            }
        };
        // The value of the other positions does not change; this position is valued at the last price.
        let value_before = valuation
            .holdings
            .iter()
            .find(|holding| holding.stock_id == stock.id)
            .map_or_else(Money::zero, |holding| holding.market_value.clone());
        let value_after = newest.price.times(&position.quantity);
        let total_after = valuation.total_value.clone() - &value_before + &value_after + &amount;
        let weight_after =
            if total_after.is_zero() { 0.0 } else { value_after.to_f64() / total_after.to_f64() };
        Ok(OrderPreview {
            stock,
            price: fill.as_ref().and_then(|fill| fill.price.clone()).unwrap_or(likely),
            legs,
            quote: newest.clone(),
            fill,
            quantity,
            gross,
            commission,
            cash_before: self.cash_balance.clone(),
            cash_after: self.cash_balance.clone() + &amount,
            amount,
            buying_power_before: self.buying_power(),
            buying_power_after: after.buying_power(),
            quantity_before: held.quantity,
            quantity_after: position.quantity.clone(),
            average_buy_price_after: position.average_buy_price(),
            realized_pnl,
            weight_after,
            waits_for_open: rules.mode == TradingMode::Realistic && !rules.is_open(now),
            hold: None,
            order,
        })
    }
}
