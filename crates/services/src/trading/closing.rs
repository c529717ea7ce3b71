//! Canceling all open orders of a portfolio and closing its positions.

use domain::{
    Attached, OrderId, OrderRejected, OrderSize, OrderStatus, OrderTerms, Percent, PlaceOrder, PortfolioId,
    PortfolioRef, Quantity, Side, StockId, Symbol, TimeInForce,
};
use futures::StreamExt;
use persistence::{Tx, orders, positions};

use crate::accounts::actor::PortfolioControl;
use crate::error::{Error, NotFound, Result};
use crate::idempotency::{LONGEST_NAME, Once, is_name};
use crate::trading::{OpenOrders, OrderWithFills, PlacedOrder, Trading, with_fills};

/// How many commands one request submits at once. The order desk combines them in its transactions.
const COMMANDS_AT_ONCE: usize = 256;
/// The longest symbol, in characters.
const LONGEST_SYMBOL: usize = 12;
/// The longest key of a request that closes all positions, in characters. The `client_order_id` of each order consists
/// of the key, a dash and the symbol.
pub const LONGEST_CLOSING_KEY: usize = LONGEST_NAME - LONGEST_SYMBOL - 1;

/// How to close one position.
#[derive(Debug, Clone)]
pub struct ClosePosition {
    /// The current symbol of the stock or a former one.
    pub symbol: Symbol,
    /// All shares held, a percentage of them, or a number.
    pub size: OrderSize,
    /// Whether to cancel the open orders in the stock, in the same transaction.
    pub cancel_orders: bool,
    pub client_order_id: Option<String>,
}

/// How to close all positions.
#[derive(Debug, Clone, Default)]
pub struct CloseAllPositions {
    /// Whether to cancel the open orders of the portfolio.
    pub cancel_orders: bool,
    /// The key under which a repeated request returns the orders of the first one.
    pub key: Option<String>,
}

/// The result of trying to cancel an open order.
#[derive(Debug)]
pub struct CancelAttempt {
    /// The order after the attempt.
    pub order: OrderWithFills,
    /// Why the order was not canceled.
    pub failure: Option<Error>,
}

/// The result of trying to close a position.
#[derive(Debug)]
pub struct CloseAttempt {
    pub symbol: Symbol,
    pub outcome: Result<PlacedOrder>,
}

/// A position to close, and the order that an earlier request under the same key has placed for it.
struct ClosablePosition {
    stock: StockId,
    symbol: Symbol,
    is_held: bool,
    placed_before: Option<OrderId>,
}

fn sell(symbol: Symbol, size: OrderSize, client_order_id: Option<String>) -> PlaceOrder {
    PlaceOrder {
        symbol,
        side: Side::Sell,
        size,
        terms: OrderTerms::Market,
        time_in_force: TimeInForce::Day,
        attached: Attached::Nothing,
        client_order_id,
    }
}

/// Rejects portfolios of other users and archived ones.
fn check_active(tx: &mut Tx<'_>, portfolio: PortfolioRef) -> Result<()> {
    let record = crate::books::portfolios::owned(tx, portfolio)?;
    if record.archived_at.is_some() { Err(Error::Archived) } else { Ok(()) }
}

impl Trading {
    /// Cancels the open orders of a portfolio, in one stock if `symbol` names it, otherwise all. Returns one result per
    /// order, oldest first. Orders that are placed during the call stay open.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio, [`Error::Archived`]; if no order could be canceled, the failure of the
    /// first one.
    pub async fn cancel_orders(
        &self,
        portfolio: PortfolioControl,
        symbol: Option<Symbol>,
    ) -> Result<Vec<CancelAttempt>> {
        let open = self.store.read(move |tx| {
            check_active(tx, portfolio.reference())?;
            let Some(symbol) = symbol else {
                return Ok::<_, Error>(orders::open_ids(tx, portfolio.reference().id)?);
            };
            match persistence::stocks::by_symbol(tx, &symbol)? {
                Some(stock) => Ok(orders::open_ids_of_stock(tx, &[portfolio.reference().id], stock.id)?),
                None => Ok(Vec::new()),
            }
        });
        self.cancel_each(portfolio, open.await?).await
    }

    async fn cancel_each(
        &self,
        portfolio: PortfolioControl,
        open: Vec<OrderId>,
    ) -> Result<Vec<CancelAttempt>> {
        let cancel = async |id: &OrderId| self.cancel_order(portfolio, *id).await.err();
        let failures: Vec<Option<Error>> =
            futures::stream::iter(&open).map(cancel).buffered(COMMANDS_AT_ONCE).collect().await;
        // A leg may have been canceled together with the order before it in the list.
        let mut failures: Vec<Option<Error>> = failures
            .into_iter()
            .map(|failure| {
                failure
                    .filter(|error| !matches!(error, Error::OrderNotOpen { status: OrderStatus::Canceled }))
            })
            .collect();
        let is_outage = |failure: &Option<Error>| {
            matches!(failure, Some(Error::Busy | Error::Store(_) | Error::Internal(_) | Error::Archived))
        };
        if !failures.is_empty() && failures.iter().all(is_outage) {
            return failures.swap_remove(0).map_or(Ok(Vec::new()), Err);
        }
        let ids = open.clone();
        let found = self.store.read(move |tx| {
            let found = orders::of_ids(tx, &ids)?;
            with_fills(tx, found)
        });
        let found = found.await?;
        let mut attempts: Vec<CancelAttempt> = open
            .into_iter()
            .zip(failures)
            .filter_map(|(id, failure)| {
                let order = found.iter().find(|order| order.order.id == id)?.clone();
                Some(CancelAttempt { order, failure })
            })
            .collect();
        attempts.sort_by_key(|attempt| (attempt.order.order.submitted_at, attempt.order.order.id));
        Ok(attempts)
    }

    /// Sells held shares of one stock with a market order.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the position, [`Error::SharesReserved`] when open orders reserve the shares, and the
    /// errors of [`Trading::place_order`].
    pub async fn close_position(
        &self,
        portfolio: PortfolioControl,
        close: ClosePosition,
    ) -> Result<PlacedOrder> {
        let ClosePosition { symbol, size, cancel_orders, client_order_id } = close;
        let open_orders = if cancel_orders { OpenOrders::Cancel } else { OpenOrders::Keep };
        let order = sell(symbol.clone(), size, client_order_id);
        match self.place_and_cancel_others(portfolio, order, open_orders).await {
            Err(Error::OrderRejected(OrderRejected::NothingHeld) | Error::UnknownSymbol(_)) => {
                Err(Error::NotFound(NotFound::Position))
            }
            Err(Error::OrderRejected(OrderRejected::InsufficientShares { required, available })) => {
                match self.held(portfolio.reference(), symbol.clone()).await? {
                    held if held.is_zero() => Err(Error::NotFound(NotFound::Position)),
                    held if required <= held => Err(Error::SharesReserved { symbol, required, available }),
                    _ => Err(OrderRejected::InsufficientShares { required, available }.into()),
                }
            }
            placed => placed,
        }
    }

    /// The shares of a stock that a portfolio holds, including reserved ones.
    async fn held(&self, portfolio: PortfolioRef, symbol: Symbol) -> Result<Quantity> {
        self.store
            .read(move |tx| {
                crate::books::portfolios::owned(tx, portfolio)?;
                let stock = persistence::stocks::by_symbol(tx, &symbol)?;
                let Some(pair) = stock.map(|stock| (portfolio.id, stock.id)) else {
                    return Ok(Quantity::zero());
                };
                let held = positions::of_pairs(tx, &[pair])?.remove(&pair);
                Ok(held.map_or_else(Quantity::zero, |(position, _)| position.quantity))
            })
            .await
    }

    /// Sells all positions of a portfolio with market orders. Returns one result per position, ordered by symbol. If a
    /// position cannot be closed, its open orders stay and the other positions are closed nevertheless.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio, [`Error::Archived`], [`Error::Invalid`] for the key.
    pub async fn close_all_positions(
        &self,
        portfolio: PortfolioControl,
        close: CloseAllPositions,
    ) -> Result<Once<Vec<CloseAttempt>>> {
        let CloseAllPositions { cancel_orders, key } = close;
        if key.as_deref().is_some_and(|key| !is_name(key, LONGEST_CLOSING_KEY)) {
            return Err(Error::invalid(
                "Idempotency-Key",
                format!(
                    "use 1 to {LONGEST_CLOSING_KEY} letters, digits or punctuation marks, without blanks"
                ),
            ));
        }
        let name = |symbol: &Symbol| key.as_ref().map(|key| format!("{key}-{symbol}"));
        let named = key.clone();
        let found = self.store.read(move |tx| {
            check_active(tx, portfolio.reference())?;
            closable(tx, portfolio.reference().id, named.as_deref())
        });
        let mut wanted = found.await?;
        let replayed = wanted.iter().any(|position| position.placed_before.is_some());
        if replayed {
            wanted.retain(|position| position.placed_before.is_some());
            return Ok(Once { value: self.placed_before(portfolio.reference(), wanted).await?, replayed });
        }
        wanted.retain(|position| position.is_held);
        let close = async |position: &ClosablePosition| {
            let close = ClosePosition {
                symbol: position.symbol.clone(),
                size: OrderSize::OfPosition(Percent::hundred()),
                cancel_orders,
                client_order_id: name(&position.symbol),
            };
            let outcome = self.close_position(portfolio, close).await;
            CloseAttempt { symbol: position.symbol.clone(), outcome }
        };
        let mut attempts: Vec<CloseAttempt> =
            futures::stream::iter(&wanted).map(close).buffered(COMMANDS_AT_ONCE).collect().await;
        // Another request sold it in the meantime.
        attempts.retain(|attempt| !matches!(attempt.outcome, Err(Error::NotFound(NotFound::Position))));
        if cancel_orders {
            self.cancel_orders_except(portfolio, wanted.iter().map(|one| one.stock).collect()).await?;
        }
        Ok(Once { value: attempts, replayed })
    }

    async fn placed_before(
        &self,
        portfolio: PortfolioRef,
        wanted: Vec<ClosablePosition>,
    ) -> Result<Vec<CloseAttempt>> {
        let mut attempts = Vec::with_capacity(wanted.len());
        for ClosablePosition { symbol, placed_before, .. } in wanted {
            let Some(id) = placed_before else { continue };
            let order = self.order(portfolio, id).await?;
            attempts.push(CloseAttempt { symbol, outcome: Ok(PlacedOrder { order, replayed: true }) });
        }
        Ok(attempts)
    }

    /// Cancels the open orders in stocks that are not held. Orders in held stocks were canceled when the position was
    /// closed.
    async fn cancel_orders_except(
        &self,
        portfolio: PortfolioControl,
        held: Vec<StockId>,
    ) -> Result<Vec<CancelAttempt>> {
        let others = self.store.read(move |tx| {
            let ids = orders::open_ids(tx, portfolio.reference().id)?;
            let open = orders::of_ids(tx, &ids)?;
            let others = open.into_iter().filter(|order| !held.contains(&order.stock_id));
            Ok::<_, Error>(others.map(|order| order.id).collect())
        });
        self.cancel_each(portfolio, others.await?).await
    }
}

/// The positions of a portfolio, sold ones included, with the orders that were placed for them under a key.
fn closable(tx: &mut Tx<'_>, portfolio: PortfolioId, key: Option<&str>) -> Result<Vec<ClosablePosition>> {
    let mut found: Vec<ClosablePosition> = positions::of_portfolio(tx, portfolio)?
        .into_iter()
        .map(|(stock, position, _)| ClosablePosition {
            stock: stock.id,
            symbol: stock.listing.symbol.clone(),
            is_held: !position.quantity.is_zero(),
            placed_before: None,
        })
        .collect();
    let Some(key) = key else { return Ok(found) };
    let names: Vec<String> = found.iter().map(|position| format!("{key}-{}", position.symbol)).collect();
    let names: Vec<(PortfolioId, &str)> = names.iter().map(|name| (portfolio, name.as_str())).collect();
    for (order, _) in orders::by_client_order_ids(tx, &names)? {
        for position in found.iter_mut().filter(|position| position.stock == order.stock_id) {
            position.placed_before = Some(order.id);
        }
    }
    Ok(found)
}
