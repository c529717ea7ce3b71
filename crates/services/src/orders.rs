//! Placing orders, previewing them, looking at them.

use domain::money::AveragePrice;
use domain::{
    Fill, JournalEntry, Money, Order, OrderId, PlaceOrder, Placed, PortfolioId, Quantity, Quote, Stock,
    Timestamp, UserId,
};
use persistence::{Tx, orders, portfolios, positions, stocks, transactions};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::{Page, Services, one_more};

/// An order with the journal entries of its fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderWithFills {
    pub order: Order,
    pub fills: Vec<JournalEntry>,
}

/// The answer to placing an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedOrder {
    pub order: OrderWithFills,
    /// It had been placed before, under the same `client_order_id`; nothing was done now.
    pub replayed: bool,
}

/// What an order would do if it were placed at this moment. Nothing is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderPreview {
    pub stock: Stock,
    pub fill: Fill,
    /// The signed effect on cash.
    pub amount: Money,
    pub commission: Money,
    pub cash_before: Money,
    pub cash_after: Money,
    pub quantity_before: Quantity,
    pub quantity_after: Quantity,
    /// Per share after the order; `None` when nothing is held then.
    pub average_buy_price_after: Option<AveragePrice>,
    /// The result a sell would realise.
    pub realized_pnl: Option<Money>,
    /// Share of the position in total value after the order: a ratio.
    pub weight_after: f64,
}

/// `client_order_id`s are 1 to 64 printable ASCII characters.
fn check(command: &PlaceOrder) -> Result<()> {
    match &command.client_order_id {
        Some(id) if !(1..=64).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_graphic()) => {
            Err(Error::invalid(
                "client_order_id",
                "use 1 to 64 letters, digits or punctuation marks, without blanks",
            ))
        }
        _ => Ok(()),
    }
}

fn replay(tx: &mut Tx<'_>, id: PortfolioId, command: &PlaceOrder) -> Result<Option<PlacedOrder>> {
    let Some(client_order_id) = &command.client_order_id else { return Ok(None) };
    let Some((order, request)) = orders::by_client_order_id(tx, id, client_order_id)? else {
        return Ok(None);
    };
    if request != command.canonical() {
        return Err(Error::ClientOrderIdReused);
    }
    let fills = transactions::of_orders(tx, &[order.id])?;
    Ok(Some(PlacedOrder { order: OrderWithFills { order, fills }, replayed: true }))
}

impl Services {
    /// Places an order. A command with a `client_order_id` that was used before for the same order answers
    /// that order.
    ///
    /// # Errors
    /// [`Error::OrderRejected`], [`Error::ClientOrderIdReused`], [`Error::NotFound`] for the portfolio, and
    /// those of [`Services::quote`]. A refused order leaves nothing behind.
    pub async fn place_order(
        &self,
        user: UserId,
        id: PortfolioId,
        command: PlaceOrder,
    ) -> Result<PlacedOrder> {
        check(&command)?;
        // Before the network, so that a stranger's portfolio costs no request and a retry needs no price.
        let earlier = command.clone();
        let replayed = self
            .store
            .read(move |tx| {
                crate::portfolios::owned(tx, id, user)?;
                replay(tx, id, &earlier)
            })
            .await?;
        if let Some(placed) = replayed {
            return Ok(placed);
        }
        let (stock, quote, asked_at) = self.stock_and_quote(&command).await?;
        let order_id = OrderId(Uuid::now_v7());
        let clock = self.market.clock.clone();
        self.store
            .write(move |tx| {
                let (mut portfolio, last) =
                    portfolios::lock_owned(tx, id, user)?.ok_or(Error::NotFound("portfolio"))?;
                if let Some(placed) = replay(tx, id, &command)? {
                    return Ok(placed);
                }
                if let Some(position) = positions::of_stock(tx, id, stock.id)? {
                    portfolio.positions.insert(stock.id, position);
                }
                let request = command.canonical();
                // Clocks of two machines differ a little; a portfolio's journal does not run backwards.
                let now = clock.now().max(last);
                let Placed { order, entries, .. } =
                    portfolio.place(order_id, stock.id, command, &quote, asked_at, now)?;
                orders::insert(tx, &order, &request)?;
                let fills: Result<Vec<JournalEntry>> =
                    entries.iter().map(|entry| Ok(transactions::append(tx, entry)?)).collect();
                positions::save(tx, id, stock.id, &portfolio.positions[&stock.id])?;
                portfolios::save_cash(tx, id, &portfolio.cash_balance, order.submitted_at)?;
                stocks::save_last_price(tx, stock.id, &quote)?;
                Ok(PlacedOrder { order: OrderWithFills { order, fills: fills? }, replayed: false })
            })
            .await
    }

    /// What the order would do now.
    ///
    /// # Errors
    /// Those of [`Services::place_order`].
    pub async fn preview_order(
        &self,
        user: UserId,
        id: PortfolioId,
        command: PlaceOrder,
    ) -> Result<OrderPreview> {
        check(&command)?;
        let before = self.valuation(user, id).await?.valuation;
        let (stock, quote, asked_at) = self.stock_and_quote(&command).await?;
        let stock_id = stock.id;
        let mut portfolio = self
            .store
            .read(move |tx| {
                let record = crate::portfolios::owned(tx, id, user)?;
                let position = positions::of_stock(tx, id, stock_id)?;
                let positions = position.map(|position| (stock_id, position)).into_iter().collect();
                Ok::<_, Error>(domain::Portfolio { id, cash_balance: record.cash_balance, positions })
            })
            .await?;
        let cash_before = portfolio.cash_balance.clone();
        let quantity_before =
            portfolio.positions.get(&stock_id).map_or_else(Quantity::zero, |held| held.quantity.clone());
        let placed =
            portfolio.place(OrderId(Uuid::nil()), stock_id, command, &quote, asked_at, self.market.now())?;
        let (Some(fill), Some(entry)) = (placed.fills.into_iter().next(), placed.entries.into_iter().next())
        else {
            return Err(Error::internal("a market order without a fill"));
        };
        let position = &portfolio.positions[&stock_id];
        // What the rest of the portfolio is worth does not change; the position is valued at the last price.
        let value_before = before
            .holdings
            .iter()
            .find(|holding| holding.stock_id == stock_id)
            .map_or_else(Money::zero, |holding| holding.market_value.clone());
        let value_after = quote.price.times(&position.quantity);
        let total_after = before.total_value - &value_before + &value_after + &entry.amount;
        let weight_after =
            if total_after.is_zero() { 0.0 } else { value_after.to_f64() / total_after.to_f64() };
        Ok(OrderPreview {
            stock,
            fill,
            amount: entry.amount,
            commission: entry.commission,
            cash_before,
            cash_after: portfolio.cash_balance.clone(),
            quantity_before,
            quantity_after: position.quantity.clone(),
            average_buy_price_after: position.average_buy_price(),
            realized_pnl: entry.realized_pnl,
            weight_after,
        })
    }

    async fn stock_and_quote(&self, command: &PlaceOrder) -> Result<(Stock, Quote, Timestamp)> {
        let stock = self.stock(&command.symbol).await?;
        let asked_at = self.market.now();
        let found = self.quotes_of(std::slice::from_ref(&stock), asked_at).await.remove(&stock.id);
        let quote = found
            .unwrap_or_else(|| Err(Error::NoPrice { symbol: command.symbol.clone(), retry_at: None }))?;
        Ok((stock, quote, asked_at))
    }

    /// # Errors
    /// [`Error::NotFound`] for the portfolio or the order.
    pub async fn order(&self, user: UserId, portfolio: PortfolioId, id: OrderId) -> Result<OrderWithFills> {
        self.store
            .read(move |tx| {
                crate::portfolios::owned(tx, portfolio, user)?;
                let order = orders::of_portfolio(tx, portfolio, id)?.ok_or(Error::NotFound("order"))?;
                let fills = transactions::of_orders(tx, &[id])?;
                Ok(OrderWithFills { order, fills })
            })
            .await
    }

    /// Newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio.
    pub async fn orders(
        &self,
        user: UserId,
        portfolio: PortfolioId,
        before: Option<OrderId>,
        limit: usize,
    ) -> Result<Page<OrderWithFills, OrderId>> {
        self.store
            .read(move |tx| {
                crate::portfolios::owned(tx, portfolio, user)?;
                let found = orders::page(tx, portfolio, before, one_more(limit))?;
                let page = Page::of(found, limit, |order| order.id);
                let ids: Vec<OrderId> = page.items.iter().map(|order| order.id).collect();
                let mut fills = transactions::of_orders(tx, &ids)?;
                Ok(page.map(|order| {
                    let own = fills.extract_if(.., |fill| fill.order_id == Some(order.id)).collect();
                    OrderWithFills { order, fills: own }
                }))
            })
            .await
    }
}
