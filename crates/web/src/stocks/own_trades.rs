//! A user's position and trades in a stock, as its page shows them.

use chrono::NaiveDate;
use domain::calendar::exchange_date;
use domain::corporate_action::CorporateAction;
use domain::{PortfolioId, PortfolioRef, Quote, Symbol, TransactionFilter, TransactionType, UserId};
use serde::Serialize;
use services::books::portfolios::PortfolioSummary;
use services::books::transactions::NamedEntry;
use services::books::valuation::ValuedPortfolio;
use services::{Error, Services};

use crate::shell::chart::Deal;
use crate::shell::format;
use crate::shell::format::{Delta, Moment};
use crate::stocks::corporate_actions::{price_factor, sentence};

/// The maximum number of transactions in this stock that are read per portfolio.
const MAX_TRADES: usize = 50;

#[derive(Serialize)]
pub(super) struct OwnPosition {
    pub(super) id: PortfolioId,
    /// The version of the portfolio's books, for the script.
    pub(super) version: i64,
    pub(super) portfolio: String,
    pub(super) quantity: String,
    pub(super) average: String,
    pub(super) cost: String,
    pub(super) value: String,
    pub(super) today: Option<Delta>,
    pub(super) gain: Delta,
    pub(super) gain_percent: Option<Delta>,
    pub(super) realized: Delta,
    pub(super) together: Delta,
    pub(super) weight: String,
}

#[derive(Serialize)]
pub(super) struct OwnTradeRow {
    pub(super) kind: String,
    pub(super) at: Moment,
    pub(super) portfolio_id: PortfolioId,
    pub(super) portfolio: String,
    pub(super) quantity: String,
    pub(super) price: String,
    pub(super) since: Option<Delta>,
    pub(super) amount: String,
    /// A sentence about a dividend, a split or another corporate action.
    pub(super) action: Option<String>,
}

pub(super) fn holding<'a>(valued: &'a ValuedPortfolio, symbol: &Symbol) -> Option<&'a domain::Holding> {
    valued.valuation.holdings.iter().find(|holding| holding.listing.symbol == *symbol)
}

pub(super) fn held(valued: &ValuedPortfolio, symbol: &Symbol) -> Option<OwnPosition> {
    let holding = holding(valued, symbol)?;
    let realized = &holding.position.realized_pnl;
    Some(OwnPosition {
        id: valued.portfolio.id,
        version: valued.portfolio.version,
        portfolio: valued.portfolio.name.clone(),
        quantity: format::quantity(&holding.position.quantity),
        average: holding.average_buy_price().as_ref().map_or_else(String::new, format::average_exact),
        cost: format::money(&holding.position.cost_basis),
        value: format::money(&holding.market_value),
        today: holding.day_change.as_ref().map(format::gain),
        gain: format::gain(&holding.unrealized_pnl),
        gain_percent: holding.unrealized_ratio().map(format::percent_gain),
        realized: format::gain(realized),
        together: format::gain(&(holding.unrealized_pnl.clone() + realized)),
        weight: format::share(valued.valuation.weight(&holding.market_value)),
    })
}

pub(super) struct OwnTrade<'a> {
    pub(super) portfolio: &'a PortfolioSummary,
    pub(super) line: NamedEntry,
}

/// The user's transactions in the stock in all portfolios, newest first.
pub(super) async fn own_trades<'a>(
    services: &Services,
    user: UserId,
    valued: &'a [ValuedPortfolio],
    symbol: &Symbol,
) -> Result<Vec<OwnTrade<'a>>, Error> {
    let mut trades = Vec::new();
    for ValuedPortfolio { portfolio, .. } in valued {
        let filter = TransactionFilter { symbol: Some(symbol.clone()), ..TransactionFilter::default() };
        let page = services
            .books()
            .transactions(PortfolioRef::new(user, portfolio.id), filter, None, MAX_TRADES)
            .await?;
        trades.extend(page.items.into_iter().map(|line| OwnTrade { portfolio, line }));
    }
    trades.sort_by_key(|trade| std::cmp::Reverse((trade.line.entry.timestamp, trade.line.entry.id)));
    Ok(trades)
}

/// The mark of a transaction on the chart, in today's shares.
pub(crate) fn deal(
    NamedEntry { entry, .. }: &NamedEntry,
    actions: &[CorporateAction],
    today: NaiveDate,
) -> Option<Deal> {
    let (price, quantity) = (entry.price.as_ref()?, entry.quantity.as_ref()?);
    let bought = entry.transaction_type == TransactionType::Buy;
    Some(Deal {
        date: exchange_date(entry.timestamp),
        price: price.to_f64() * price_factor(actions, exchange_date(entry.timestamp), today),
        bought,
        title: format!(
            "{} {} at {}, {}",
            if bought { "Bought" } else { "Sold" },
            format::quantity(quantity),
            format::price(price),
            format::day(entry.timestamp).text
        ),
    })
}

pub(super) fn row(
    OwnTrade { portfolio, line }: &OwnTrade<'_>,
    quote: Option<&Quote>,
    actions: &[CorporateAction],
    today: NaiveDate,
) -> OwnTradeRow {
    let entry = &line.entry;
    // The change of the price since a buy. After a sell the user no longer holds the shares.
    let since = match (entry.transaction_type, quote, &entry.price) {
        (TransactionType::Buy, Some(quote), Some(price)) => {
            let then = price.to_f64() * price_factor(actions, exchange_date(entry.timestamp), today);
            (then > 0.0).then(|| quote.price.to_f64() / then - 1.0)
        }
        _ => None,
    };
    OwnTradeRow {
        kind: format::label(entry.transaction_type.as_str()),
        at: format::day_and_minute(entry.timestamp),
        portfolio_id: portfolio.id,
        portfolio: portfolio.name.clone(),
        quantity: entry.quantity.as_ref().map(format::quantity).unwrap_or_default(),
        price: entry.price.as_ref().map(format::price).unwrap_or_default(),
        since: since.map(format::percent_gain),
        amount: format::money(&entry.amount),
        action: sentence(entry),
    }
}
