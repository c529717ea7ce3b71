//! Placing, changing, canceling, previewing and reading orders.

use chrono::TimeDelta;
use domain::{
    NewestPrice, Order, OrderFilter, OrderId, OrderIds, OrderRejected, OrderTerms, PlaceOrder, PortfolioId,
    PortfolioRef, PriceMove, PriceStanding, ReplaceOrder, Stock, Symbol, Timestamp, TradingMode, UserId,
};
use persistence::{Tx, order_list, orders, positions};

pub use domain::OrderPreview;

use crate::accounts::actor::PortfolioControl;
use crate::corporate_actions::ActionHistories;
use crate::error::{Error, NotFound, Result};
use crate::idempotency::{LONGEST_NAME, is_name};
use crate::stocks::LatestQuote;
use crate::trading::Trading;
use crate::trading::desk::{Command, PricedStock};
use crate::trading::{OpenOrders, OrderWithFills, PlacedOrder, with_fills};
use crate::{Page, one_more};

/// Rejects a `client_order_id` that is not 1 to 128 printable ASCII characters.
fn check_name(name: Option<&str>) -> Result<()> {
    match name {
        Some(id) if !is_name(id, LONGEST_NAME) => Err(Error::invalid(
            "client_order_id",
            "use 1 to 128 letters, digits or punctuation marks, without blanks",
        )),
        _ => Ok(()),
    }
}

fn check(command: &PlaceOrder) -> Result<()> {
    check_name(command.client_order_id.as_deref())?;
    let issues = command.issues();
    if issues.is_empty() { Ok(()) } else { Err(OrderRejected::Unfit(issues).into()) }
}

/// Returns the order that was placed before under the same name.
fn replay(
    tx: &mut Tx<'_>,
    id: PortfolioId,
    name: Option<&str>,
    request: &str,
) -> Result<Option<PlacedOrder>> {
    let Some(name) = name else { return Ok(None) };
    let Some((order, earlier)) = orders::by_client_order_ids(tx, &[(id, name)])?.pop() else {
        return Ok(None);
    };
    if earlier != request {
        return Err(Error::ClientOrderIdReused);
    }
    let order = with_fills(tx, vec![order])?.swap_remove(0);
    Ok(Some(PlacedOrder { order, replayed: true }))
}

impl Trading {
    /// Places an order. A command with a `client_order_id` that was already used for the same order returns that order.
    /// Without a `client_order_id`, the order gets its id as its name.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::OrderRejected`], [`Error::ClientOrderIdReused`], [`Error::NotFound`] for the
    /// portfolio, [`Error::Archived`], [`Error::Busy`], and the errors of
    /// [`Stocks::quote`](crate::stocks::Stocks::quote). A rejected order changes nothing.
    pub async fn place_order(&self, portfolio: PortfolioControl, order: PlaceOrder) -> Result<PlacedOrder> {
        self.place_and_cancel_others(portfolio, order, OpenOrders::Keep).await
    }

    /// Places an order like [`Trading::place_order`], and cancels the portfolio's open orders in the same stock if
    /// `open_orders` says so.
    pub(super) async fn place_and_cancel_others(
        &self,
        portfolio: PortfolioControl,
        mut order: PlaceOrder,
        open_orders: OpenOrders,
    ) -> Result<PlacedOrder> {
        check(&order)?;
        let ids = OrderIds::from_fn(|| OrderId(self.market.clock.new_id()));
        let name = order.client_order_id.get_or_insert_with(|| ids.entry.to_string()).clone();
        let placed = self.place_named(portfolio.reference(), order, ids, open_orders).await;
        let placed = placed.map_err(|error| error.about_order(name))?;
        Ok(PlacedOrder { order: self.with_hold(placed.order).await, ..placed })
    }

    async fn place_named(
        &self,
        portfolio: PortfolioRef,
        order: PlaceOrder,
        ids: OrderIds,
        open_orders: OpenOrders,
    ) -> Result<PlacedOrder> {
        // The network comes first, so that no lock is held while waiting for it.
        let priced = self.price_stock(portfolio, &order.symbol).await;
        let priced = match priced.and_then(|priced| self.check_clock(portfolio, &order.terms, priced)) {
            Ok(priced) => priced,
            Err(refused) => {
                // The order may have been placed before: a retry needs no price. Another user's portfolio is not found.
                let (name, request) = (order.client_order_id.clone(), order.canonical());
                return self.replayed_or(refused, portfolio, name, request).await;
            }
        };
        let behind = priced.clock_behind;
        let command = Command::Place { portfolio, order, ids, open_orders, priced };
        let placed = self.desk().submit(command).await;
        placed.map_err(|error| self.explain_by_clock(error, behind))
    }

    /// Cancels an open order, and the orders that depend on it: the other exit of a pair, or the exits of an entry that
    /// has bought nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio or the order, [`Error::OrderNotOpen`], [`Error::Archived`],
    /// [`Error::Busy`].
    pub async fn cancel_order(&self, portfolio: PortfolioControl, order: OrderId) -> Result<OrderWithFills> {
        Ok(self.desk().submit(Command::Cancel { portfolio: portfolio.reference(), order }).await?.order)
    }

    /// Replaces an open order with another one. The shares that the replaced order has filled stay with it.
    ///
    /// # Errors
    /// The errors of [`Trading::place_order`] and [`Trading::cancel_order`].
    pub async fn replace_order(
        &self,
        portfolio: PortfolioControl,
        order: OrderId,
        mut changes: ReplaceOrder,
    ) -> Result<PlacedOrder> {
        check_name(changes.client_order_id.as_deref())?;
        let new = OrderId(self.market.clock.new_id());
        let name = changes.client_order_id.get_or_insert_with(|| new.to_string()).clone();
        let replaced = self.replace_named(portfolio.reference(), order, new, changes).await;
        let replaced = replaced.map_err(|error| error.about_order(name))?;
        Ok(PlacedOrder { order: self.with_hold(replaced.order).await, ..replaced })
    }

    async fn replace_named(
        &self,
        portfolio: PortfolioRef,
        order: OrderId,
        new: OrderId,
        changes: ReplaceOrder,
    ) -> Result<PlacedOrder> {
        let symbol = self.order(portfolio, order).await?.order.symbol;
        let priced = match self.price_stock(portfolio, &symbol).await {
            Ok(priced) => priced,
            Err(refused) => {
                let (name, request) = (changes.client_order_id.clone(), changes.canonical(order));
                return self.replayed_or(refused, portfolio, name, request).await;
            }
        };
        let behind = priced.clock_behind;
        let replaced = self.desk().submit(Command::Replace { portfolio, order, new, changes, priced }).await;
        replaced.map_err(|error| self.explain_by_clock(error, behind))
    }

    /// Rejects a market order that would wait for a price only because the system's clock was set back: market time
    /// does not go back with it, so the newest prices of real sources look old.
    fn check_clock(
        &self,
        portfolio: PortfolioRef,
        terms: &OrderTerms,
        priced: PricedStock,
    ) -> Result<PricedStock> {
        let rules = self.rules().of_portfolio(portfolio.id);
        let fills_at_once = rules.mode == TradingMode::Practice && *terms == OrderTerms::Market;
        match priced.clock_behind.or_else(|| self.market.clock.behind()) {
            Some(by)
                if fills_at_once
                    && rules.standing(&priced.newest.quote, priced.requested_at) == PriceStanding::Old =>
            {
                Err(Error::ClockBehind { by })
            }
            _ => Ok(priced),
        }
    }

    /// Replaces the error "no fresh price" if a clock is the cause: the system's clock was set back, so market time is
    /// ahead and the newest prices look old, or the source's clock is ahead by `behind`.
    fn explain_by_clock(&self, error: Error, behind: Option<TimeDelta>) -> Error {
        match (&error, behind.or_else(|| self.market.clock.behind())) {
            (Error::OrderRejected(OrderRejected::NoFreshPrice { .. }), Some(by)) => Error::ClockBehind { by },
            _ => error,
        }
    }

    async fn replayed_or(
        &self,
        refused: Error,
        portfolio: PortfolioRef,
        name: Option<String>,
        request: String,
    ) -> Result<PlacedOrder> {
        if matches!(&refused, Error::Store(cause) if cause.is_outage()) {
            // The database could not return an earlier order either.
            return Err(refused);
        }
        let replayed = self.store.read(move |tx| {
            crate::books::portfolios::owned(tx, portfolio)?;
            replay(tx, portfolio.id, name.as_deref(), &request)
        });
        replayed.await?.ok_or(refused)
    }

    /// Returns the expected result of the order at current prices, without placing it.
    ///
    /// # Errors
    /// The errors of [`Trading::place_order`].
    pub async fn preview_order(&self, portfolio: PortfolioRef, command: PlaceOrder) -> Result<OrderPreview> {
        check(&command)?;
        let before = self.books.valuation(portfolio).await?.valuation;
        let priced = self.price_stock(portfolio, &command.symbol).await?;
        let priced = self.check_clock(portfolio, &command.terms, priced)?;
        let PricedStock { stock, newest, requested_at, clock_behind, .. } = priced;
        let stock_id = stock.id;
        let hold = self.corporate_actions.trading_hold(&stock).await?;
        let id = portfolio.id;
        let portfolio = self
            .store
            .read(move |tx| {
                let record = crate::books::portfolios::owned(tx, portfolio)?;
                if record.archived_at.is_some() {
                    return Err(Error::Archived);
                }
                let mut portfolio = domain::Portfolio::new(id, record.cash_balance);
                portfolio.reserved.cash = record.reserved_cash;
                if let Some((position, reserved)) =
                    positions::of_pairs(tx, &[(id, stock_id)])?.remove(&(id, stock_id))
                {
                    portfolio.positions.insert(stock_id, position);
                    portfolio.reserved.shares.insert(stock_id, reserved);
                }
                Ok(portfolio)
            })
            .await?;
        let own = self.rules().of_portfolio(id);
        let waiting = hold.as_ref().map(|_| own.until_next_price());
        let rules = waiting.as_ref().unwrap_or(own);
        let (newest_price, now) = (NewestPrice { newest: &newest, requested_at }, self.market.now());
        let preview = portfolio.preview(stock, command, newest_price, rules.at(now), &before);
        let preview = preview.map_err(|refused| self.explain_by_clock(refused.into(), clock_behind))?;
        let waits_for_open = preview.waits_for_open && own.mode == TradingMode::Realistic;
        Ok(OrderPreview { hold, waits_for_open, ..preview })
    }

    /// The stock with its newest price, and the volume of the minute before if fills depend on it.
    async fn price_stock(&self, portfolio: PortfolioRef, symbol: &Symbol) -> Result<PricedStock> {
        let user = portfolio.user;
        let requested_at;
        let (mut stock, LatestQuote { quote, why_stale }) = match self.market.quotes.limits() {
            // The symbol of a real stock may have passed to another company since the stock was looked up.
            Some(_) => {
                self.corporate_actions
                    .hold_for_order(&self.instruments.stock_for(Some(user), symbol).await?)
                    .await?;
                requested_at = self.market.now();
                self.stocks.priced_stock(Some(user), symbol).await?
            }
            None => {
                let stock = self.instruments.known_stock(user, symbol).await?;
                self.corporate_actions.hold_for_order(&stock).await?;
                requested_at = self.market.now();
                match self.market.quotes.quote(symbol, requested_at).await {
                    Ok(quote) => {
                        let quote =
                            self.corporate_actions.one_in_shares_at(stock.id, quote, requested_at).await?;
                        (stock, LatestQuote { quote, why_stale: None })
                    }
                    Err(_) => {
                        let latest = self.stocks.quote_for(None, symbol).await?;
                        (stock, latest)
                    }
                }
            }
        };
        let clock_behind = why_stale.and_then(|why| why.clock_behind());
        // A cached stock may be outdated: its prices show that it was renamed or delisted.
        let old = quote.stale || quote.as_of < self.market.opened_at(requested_at);
        let is_from_memory = self.market.quotes.limits().is_none();
        if is_from_memory && (old || quote.symbol != stock.listing.symbol) {
            stock = self.instruments.known_anew(symbol).await?;
        }
        if stock.delisted_on.is_some() {
            let symbol = stock.listing.symbol.clone();
            return Err(Error::NotTradable { symbol, reason: crate::corporate_actions::ENDED });
        }
        let volume = match self.rules().of_portfolio(portfolio.id).liquidity {
            Some(_) => self.volume_before(&stock, requested_at).await,
            None => None,
        };
        let is_converted = quote.as_of < self.market.opened_at(requested_at)
            && self.corporate_actions.actions_between(quote.as_of, requested_at).await?.has(stock.id);
        Ok(PricedStock {
            stock,
            newest: PriceMove { quote, volume },
            requested_at,
            clock_behind,
            is_converted,
        })
    }

    /// The number of shares traded in the minute before `at`; `None` if the source does not provide it.
    async fn volume_before(&self, stock: &Stock, at: Timestamp) -> Option<u64> {
        let after = at - chrono::TimeDelta::minutes(1);
        let moves = self.market.quotes.moves(&stock.listing.symbol, after, at).await.ok()?;
        let histories = match self.market.opened_at(at) > after {
            true => self.corporate_actions.actions_between(after, at).await.ok()?,
            false => ActionHistories::default(),
        };
        moves.into_iter().map(|price_move| histories.convert(stock.id, price_move, at).volume).sum()
    }

    /// Returns an order with its fills and legs.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio or the order.
    pub async fn order(&self, portfolio: PortfolioRef, id: OrderId) -> Result<OrderWithFills> {
        let found = self
            .store
            .read(move |tx| {
                crate::books::portfolios::owned(tx, portfolio)?;
                let order =
                    orders::of_portfolio(tx, portfolio.id, id)?.ok_or(Error::NotFound(NotFound::Order))?;
                Ok::<_, Error>(with_fills(tx, vec![order])?.swap_remove(0))
            })
            .await?;
        Ok(self.with_hold(found).await)
    }

    async fn with_hold(&self, mut order: OrderWithFills) -> OrderWithFills {
        self.add_holds(std::slice::from_mut(&mut order)).await;
        order
    }

    /// Adds to open orders the reason why they cannot fill. The reasons are usually cached; if the database fails, none
    /// are added.
    async fn add_holds(&self, orders: &mut [OrderWithFills]) {
        let holds = self.corporate_actions.trading_holds().await.unwrap_or_default();
        if holds.is_empty() {
            return;
        }
        for order in orders {
            let legs = std::iter::once(&mut order.hold).map(|hold| (hold, &order.order));
            let legs = legs.chain(order.legs.iter_mut().map(|leg| (&mut leg.hold, &leg.order)));
            for (hold, order) in legs.filter(|(_, order)| order.status.is_open()) {
                *hold = holds.get(&order.stock_id).cloned();
            }
        }
    }

    /// Returns the order with this `client_order_id`, if it exists.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio.
    pub async fn order_by_client_id(
        &self,
        portfolio: PortfolioRef,
        client_order_id: &str,
    ) -> Result<Option<Order>> {
        check_name(Some(client_order_id))?;
        let name = client_order_id.to_owned();
        self.store
            .read(move |tx| {
                crate::books::portfolios::owned(tx, portfolio)?;
                let found = orders::by_client_order_ids(tx, &[(portfolio.id, &name)])?;
                Ok(found.into_iter().next().map(|(order, _)| order))
            })
            .await
    }

    /// Returns orders of any user by their ids; deleted orders are left out.
    pub(crate) async fn orders_of_ids(&self, ids: Vec<OrderId>) -> Result<Vec<OrderWithFills>> {
        let found = self.store.read(move |tx| {
            let found = orders::of_ids(tx, &ids)?;
            with_fills(tx, found)
        });
        let mut found = found.await?;
        self.add_holds(&mut found).await;
        Ok(found)
    }

    /// Returns a user's orders that changed at or after `since`, together with the orders they were placed with, in all
    /// portfolios or in the given ones. `None` when there are more than `most`.
    pub(crate) async fn orders_changed_since(
        &self,
        user: UserId,
        only: Option<Box<[PortfolioId]>>,
        since: Timestamp,
        most: usize,
    ) -> Result<Option<Vec<OrderWithFills>>> {
        self.store
            .read(move |tx| {
                // Every change in a portfolio updates `updated_at`.
                let portfolios: Vec<PortfolioId> = persistence::portfolios::of_user(tx, user)?
                    .into_iter()
                    .filter(|portfolio| portfolio.updated_at >= since)
                    .map(|portfolio| portfolio.id)
                    .filter(|id| only.as_ref().is_none_or(|only| only.contains(id)))
                    .collect();
                if portfolios.is_empty() {
                    return Ok(Some(Vec::new()));
                }
                let ids = orders::changed_since(tx, &portfolios, since, one_more(most))?;
                if ids.len() > most {
                    return Ok(None);
                }
                let found = orders::of_ids(tx, &ids)?;
                with_fills(tx, found).map(Some)
            })
            .await
    }

    /// Returns the order that replaced this one.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio.
    pub async fn successor(&self, portfolio: PortfolioRef, id: OrderId) -> Result<Option<OrderId>> {
        self.store
            .read(move |tx| {
                crate::books::portfolios::owned(tx, portfolio)?;
                Ok(orders::successor(tx, portfolio.id, id)?)
            })
            .await
    }

    /// Returns a page of orders by the time of submission, in the direction of the filter. `last` is the last order of
    /// the previous page. Every order contains its legs; without `filter.nested` the legs are also listed as separate
    /// orders.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio, [`Error::Invalid`] if `last` is not an order of the portfolio.
    pub async fn orders(
        &self,
        portfolio: PortfolioRef,
        mut filter: OrderFilter,
        last: Option<OrderId>,
        limit: usize,
    ) -> Result<Page<OrderWithFills, OrderId>> {
        check_name(filter.client_order_id.as_deref())?;
        let mut page = self
            .store
            .read(move |tx| {
                crate::books::portfolios::owned(tx, portfolio)?;
                filter.symbol = crate::market::instruments::symbol_now(tx, filter.symbol)?;
                let last = match last {
                    Some(id) => Some(order_list::place_of(tx, portfolio.id, id)?.ok_or_else(|| {
                        Error::invalid("cursor", "send `next_cursor` of the previous page")
                    })?),
                    None => None,
                };
                let found = order_list::page(tx, portfolio.id, &filter, last, one_more(limit))?;
                let page = Page::from_items(found, limit, |order| order.id);
                Ok::<_, Error>(Page { items: with_fills(tx, page.items)?, next: page.next })
            })
            .await?;
        self.add_holds(&mut page.items).await;
        Ok(page)
    }
}
