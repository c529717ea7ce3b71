//! The rules of trading: what a portfolio does with an order.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::position::PositionError;
use crate::{
    Fill, JournalEntry, Money, Order, OrderId, OrderSize, OrderStatus, PlaceOrder, PortfolioId, Position,
    Quantity, Quote, Receipt, Side, StockId, Timestamp, TransactionType,
};

/// Cash and positions, with at least the positions that a command touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portfolio {
    pub id: PortfolioId,
    pub cash_balance: Money,
    pub positions: BTreeMap<StockId, Position>,
}

/// What placing an order did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub order: Order,
    pub fills: Vec<Fill>,
    /// One entry per fill, to be appended to the journal.
    pub entries: Vec<JournalEntry>,
}

/// Why an order was refused. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrderRejected {
    #[error("the order costs {required} and {available} is available")]
    InsufficientBuyingPower { required: Money, available: Money },
    #[error("{available} shares can be sold, the order asks for {required}")]
    InsufficientShares { required: Quantity, available: Quantity },
    #[error("the order is worth less than a cent: make it larger")]
    TooSmall,
    #[error("the order is larger than an account can hold")]
    TooLarge,
    #[error("the newest price is of {as_of}, too old to trade on: try again when there is a newer one")]
    NoFreshPrice { as_of: Timestamp },
}

impl Portfolio {
    /// Decides a market order at the touch of `quote` and carries it out: cash and position are changed, and
    /// the answer says what to write down. A buy fills at the ask and a sell at the bid, or at the last price
    /// when the source gives no bid and ask.
    ///
    /// `asked_at` is the market time for which the quote was asked, `now` the time of the fill.
    ///
    /// # Errors
    /// [`OrderRejected`]; the portfolio is unchanged then.
    pub fn place(
        &mut self,
        id: OrderId,
        stock_id: StockId,
        command: PlaceOrder,
        quote: &Quote,
        asked_at: Timestamp,
        now: Timestamp,
    ) -> Result<Placed, OrderRejected> {
        if quote.stale || asked_at - quote.as_of > quote.freshness.fill_limit() {
            return Err(OrderRejected::NoFreshPrice { as_of: quote.as_of });
        }
        let (price, rule) = quote.touch(command.side);
        let quantity = match &command.size {
            OrderSize::Quantity(quantity) => quantity.clone(),
            OrderSize::Notional(notional) => notional.buys(price),
        };
        let receipt = Receipt { source: quote.source.clone(), quoted_at: quote.as_of, rule };
        let fill = Fill { side: command.side, quantity, price: price.clone(), at: now, receipt };
        let entry = self.apply(id, stock_id, &fill)?;
        let order = Order {
            id,
            portfolio_id: self.id,
            stock_id,
            symbol: command.symbol,
            client_order_id: command.client_order_id,
            side: command.side,
            size: command.size,
            order_type: command.order_type,
            time_in_force: command.time_in_force,
            status: OrderStatus::Filled,
            filled_quantity: fill.quantity.clone(),
            filled_price: fill.price.clone(),
            submitted_at: now,
            filled_at: now,
        };
        Ok(Placed { order, fills: vec![fill], entries: vec![entry] })
    }

    /// Books one execution: moves cash and shares, and answers the journal entry.
    ///
    /// # Errors
    /// When cash or shares do not suffice or the result is beyond what the books hold; nothing changes then.
    pub fn apply(
        &mut self,
        order: OrderId,
        stock_id: StockId,
        fill: &Fill,
    ) -> Result<JournalEntry, OrderRejected> {
        if fill.quantity.is_zero() {
            return Err(OrderRejected::TooSmall);
        }
        let gross = fill.gross();
        let mut position = self.positions.get(&stock_id).cloned().unwrap_or_default();
        let (transaction_type, amount, realized_pnl) = match fill.side {
            Side::Buy => {
                if gross.is_zero() {
                    return Err(OrderRejected::TooSmall);
                }
                if gross > self.cash_balance {
                    let available = self.cash_balance.clone();
                    return Err(OrderRejected::InsufficientBuyingPower { required: gross, available });
                }
                position.buy(&fill.quantity, &gross);
                (TransactionType::Buy, -gross, None)
            }
            Side::Sell => {
                let realized =
                    position.sell(&fill.quantity, &gross).map_err(|PositionError::NotHeld { held }| {
                        OrderRejected::InsufficientShares { required: fill.quantity.clone(), available: held }
                    })?;
                (TransactionType::Sell, gross, Some(realized))
            }
        };
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
            commission: Money::zero(),
            amount,
            realized_pnl,
            timestamp: fill.at,
            receipt: Some(fill.receipt.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Books;
    use crate::{FillRule, Freshness, OrderType, PriceSource, Symbol, TimeInForce};
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
            source: PriceSource("test".into()),
            freshness: Freshness::Simulated,
            stale: false,
        }
    }

    fn order(side: Side, size: OrderSize) -> PlaceOrder {
        PlaceOrder {
            symbol: symbol(),
            side,
            size,
            order_type: OrderType::Market,
            time_in_force: TimeInForce::Day,
            client_order_id: None,
        }
    }

    fn shares(text: &str) -> OrderSize {
        OrderSize::Quantity(text.parse().unwrap())
    }

    fn with_cash(cash: &str) -> Portfolio {
        Portfolio { id: PortfolioId(1), cash_balance: cash.parse().unwrap(), positions: BTreeMap::new() }
    }

    fn place(
        portfolio: &mut Portfolio,
        side: Side,
        size: OrderSize,
        quote: &Quote,
    ) -> Result<Placed, OrderRejected> {
        portfolio.place(OrderId(Uuid::nil()), STOCK, order(side, size), quote, now(), now())
    }

    #[test]
    fn a_buy_fills_at_the_ask_and_a_sell_at_the_bid() {
        let mut portfolio = with_cash("10000");
        let quote = quote("100.00", Some("99.98"), Some("100.02"));
        let bought = place(&mut portfolio, Side::Buy, shares("10"), &quote).unwrap();
        assert_eq!(bought.order.filled_price.to_string(), "100.02");
        assert_eq!(bought.fills[0].receipt.rule, FillRule::Ask);
        assert_eq!(portfolio.cash_balance.to_string(), "8999.80");
        let sold = place(&mut portfolio, Side::Sell, shares("4"), &quote).unwrap();
        assert_eq!(sold.fills[0].receipt.rule, FillRule::Bid);
        assert_eq!(sold.entries[0].realized_pnl.as_ref().unwrap().to_string(), "-0.16");
        assert_eq!(portfolio.positions[&STOCK].quantity.to_string(), "6");
    }

    #[test]
    fn the_last_price_serves_where_there_is_no_bid_and_ask() {
        let placed =
            place(&mut with_cash("100"), Side::Buy, shares("1"), &quote("99.00", None, None)).unwrap();
        assert_eq!(
            (placed.fills[0].receipt.rule, placed.order.filled_price.to_string()),
            (FillRule::Last, "99.00".into())
        );
    }

    #[test]
    fn a_notional_order_never_costs_more_than_asked() {
        let mut portfolio = with_cash("100");
        let size = OrderSize::Notional("100".parse().unwrap());
        let placed = place(&mut portfolio, Side::Buy, size, &quote("3.00", None, None)).unwrap();
        assert_eq!(placed.order.filled_quantity.to_string(), "33.333333333");
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
        let stale = Quote { stale: true, ..fresh.clone() };
        assert!(matches!(
            place(&mut portfolio, Side::Buy, shares("1"), &stale),
            Err(OrderRejected::NoFreshPrice { .. })
        ));
        let old = Quote { as_of: now() - TimeDelta::seconds(61), ..fresh };
        assert!(matches!(
            place(&mut portfolio, Side::Buy, shares("1"), &old),
            Err(OrderRejected::NoFreshPrice { .. })
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
        /// Realised + unrealised = market value + signed flows of the stock, cash moves only by the flows, and
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
