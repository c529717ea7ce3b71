//! What an order would do: the same decision as placing it, and an estimate of what has not filled.

use uuid::Uuid;

use crate::calendar::exchange_date;
use crate::money::AveragePrice;
use crate::{
    FillRule, JournalEntry, Look, Money, Order, OrderId, OrderIds, OrderRejected, OrderSize, OrderStatus,
    OrderTerms, OrderWarning, PlaceOrder, Placed, Portfolio, Price, Quantity, Quote, Side, Stock, Timestamp,
    TradingHold, TradingMode, TradingRules, Valuation,
};

/// What an order would do if it were placed at this moment. Nothing is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderPreview {
    pub stock: Stock,
    /// As it would be in the books, legs included.
    pub order: Order,
    pub legs: Vec<Order>,
    /// The newest price, which the estimate is made from.
    pub quote: Quote,
    /// What fills at once.
    pub fill: Option<JournalEntry>,
    /// What the estimate is made at: the fill's price, the limit, the stop, or the newest price.
    pub price: Price,
    /// The shares of the whole order, filled or not, and what they cost or bring: at the fill's price, the limit, the
    /// stop or the newest price. Without commission; positive.
    pub quantity: Quantity,
    pub gross: Money,
    /// Of the whole order.
    pub commission: Money,
    /// The signed effect of the whole order on cash.
    pub amount: Money,
    pub cash_before: Money,
    /// When all of it has filled.
    pub cash_after: Money,
    pub buying_power_before: Money,
    /// At once, with what the order reserves.
    pub buying_power_after: Money,
    pub quantity_before: Quantity,
    pub quantity_after: Quantity,
    /// Per share after the order; `None` when nothing is held then.
    pub average_buy_price_after: Option<AveragePrice>,
    /// The result a sell would realise.
    pub realized_pnl: Option<Money>,
    /// Share of the position in total value after the order: a ratio.
    pub weight_after: f64,
    /// Whether the exchange, whose hours hold, is closed.
    pub waits_for_open: bool,
    /// Why the order cannot fill for the time being, where its caller knows of a reason.
    pub hold: Option<TradingHold>,
}

/// More of a portfolio than this in one stock is worth a remark.
const HEAVY: f64 = 0.5;

impl OrderPreview {
    /// What the owner should know before the order is placed, the most important first.
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
            buys && self.weight_after > HEAVY,
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
    /// What [`Portfolio::place`] would do with the order now. It is placed in a copy of the portfolio, so a preview and an
    /// order that follows it at the same price agree to the cent. `valuation` is the portfolio's before the order.
    ///
    /// What has not filled is estimated at the price that is the least favorable for a limit, else the likely one: the
    /// stop, or the newest price, with slippage.
    ///
    /// # Errors
    /// Those of [`Portfolio::place`].
    pub fn preview(
        &self,
        stock: Stock,
        command: PlaceOrder,
        look: Look<'_>,
        now: Timestamp,
        rules: &TradingRules,
        valuation: &Valuation,
    ) -> Result<OrderPreview, OrderRejected> {
        let command = PlaceOrder { symbol: stock.listing.symbol.clone(), ..command };
        let mut after = self.clone();
        let Placed { mut group, entries } =
            after.place(OrderIds::from_fn(|| OrderId(Uuid::nil())), stock.id, command, look, now, rules)?;
        let legs = group.orders.split_off(1);
        let order = group.orders.swap_remove(0);
        let fill = entries.into_iter().next();
        let newest = &look.newest.quote;

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
        let commission = rules.commission.of(&quantity, &gross);
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
        // What the rest of the portfolio is worth does not change; the position is valued at the last price.
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
