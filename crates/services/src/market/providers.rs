//! The provider of real prices as an operator sees it, its table of listings, and which source a deployment has.

use chrono::{Datelike, NaiveDate};
use domain::calendar::exchange_date;
use domain::{Freshness, PriceSource, Quantity, Timestamp};
use market_data::{BreakerState, ListedStock, Pot, Purpose, QuoteError};
use persistence::listings::{self, Listed};
use persistence::{
    Store, StoreError, Tx, installation, orders, portfolios, positions, providers, stocks, transactions,
};
use thiserror::Error;

use crate::Services;
use crate::books::book_calendar;
use crate::error::{Error, Result};
use crate::log_target::SECURITY;
use crate::market::key_features::KeyFeatureState;
use crate::market::price_pace::{PriceIntervals, Wanted};

/// What an operator wants to know of where prices come from.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderState {
    pub source: PriceSource,
    pub freshness: Freshness,
    /// Stocks that somebody holds, watches or has an open order for.
    pub stocks_in_use: usize,
    /// What the source is set up to use that its provider may refuse to the key.
    pub features: Vec<KeyFeatureState>,
    /// How often prices come in a session; `None` where calls are not counted, and for a source with one price a session.
    pub intervals: Option<PriceIntervals>,
    /// `None` for the simulated market.
    pub limits: Option<LimitsState>,
    /// When the table of listings was taken over, and how many it has; `None` before that, or where there is none.
    pub listings: Option<(Timestamp, i64)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsState {
    /// New York's day, which the counts are of.
    pub day: NaiveDate,
    pub pots: Vec<PotState>,
    /// Until when no call is sent, because the provider refuses or keeps failing; `None` when calls are sent.
    pub parked_until: Option<Timestamp>,
    pub breaker: Breaker,
    pub last_answered_at: Option<Timestamp>,
    pub last_failed_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PotState {
    pub name: &'static str,
    pub used: u32,
    pub limit: u32,
}

/// What is done with the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// It is sent.
    Closed,
    /// It is refused.
    Open,
    /// It is sent, alone, to see whether the provider is back.
    HalfOpen,
}

impl Breaker {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl LimitsState {
    pub fn used(&self) -> u32 {
        self.pots.iter().map(|pot| pot.used).sum()
    }

    /// Calls that the day has left; `None` where it has no limit.
    pub fn left(&self) -> Option<u32> {
        (!self.pots.is_empty()).then(|| self.pots.iter().map(|pot| pot.limit.saturating_sub(pot.used)).sum())
    }
}

impl ProviderState {
    /// How many days it takes until each stock in use has a new close, where that is more than one: the operator
    /// should know that prices are going to be old.
    pub fn days_for_all(&self) -> Option<usize> {
        let pots = &self.limits.as_ref().filter(|_| self.freshness == Freshness::EndOfDay)?.pots;
        let scheduled = pots.iter().find(|pot| pot.name == Pot::Scheduled.as_str())?.limit;
        let days = self.stocks_in_use.div_ceil(usize::try_from(scheduled).ok().filter(|n| *n > 0)?);
        (days > 1).then_some(days)
    }
}

/// The name of the record, in `installation`.
const PRICE_SOURCE: &str = "price_source";

#[derive(Debug, Error)]
pub enum PriceSourceError {
    #[error(
        "this deployment's prices come from {recorded}, and there are positions or working orders at them; MARKET_DATA and \
         TRADING now ask for {configured}, whose prices are others. Set them back, or start once with \
         --accept-price-source-change to go on at the new source's prices; open orders are canceled then"
    )]
    Changed { recorded: String, configured: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Records whose prices a deployment has. Another source than before is refused while anything is held or on order,
/// unless that is accepted: positions would be worth something else from one moment to the next. With an accepted change all
/// open orders are canceled, at the market time `now`: their owners chose their prices by the old source's. Answers how
/// many.
///
/// # Errors
/// [`PriceSourceError::Changed`].
pub async fn claim_price_source(
    store: &Store,
    source: &PriceSource,
    accept_change: bool,
    now: Timestamp,
) -> std::result::Result<usize, PriceSourceError> {
    let configured = source.to_string();
    let (before, canceled) = store
        .write(move |tx| {
            // Processes that start together agree on one.
            installation::lock(tx)?;
            let before = check(tx, &configured, accept_change)?;
            let canceled = match &before {
                Some(before) => {
                    let reason = format!(
                        "the price source was changed from {before} to {configured}, whose prices are others: order again"
                    );
                    book_calendar::record_former_source(tx, before)?;
                    cancel_open_orders(tx, &reason, now)?
                }
                None => 0,
            };
            installation::set(tx, PRICE_SOURCE, &configured).map_err(PriceSourceError::from)?;
            Ok::<_, PriceSourceError>((before, canceled))
        })
        .await?;
    if let Some(before) = before {
        tracing::warn!(
            target: SECURITY,
            event = "price_source_changed",
            before,
            after = %source,
            accepted = accept_change,
            canceled_orders = canceled,
            "prices come from another source from now on"
        );
    }
    Ok(canceled)
}

/// Cancels all open orders, each with the reason. Answers how many.
pub(crate) fn cancel_open_orders(
    tx: &mut Tx<'_>,
    reason: &str,
    now: Timestamp,
) -> std::result::Result<usize, StoreError> {
    let owners = orders::portfolios_with_open(tx)?;
    let mut canceled = 0;
    for mut locked in portfolios::lock(tx, &owners)? {
        let portfolio = &mut locked.portfolio;
        let open = orders::open_ids(tx, portfolio.id)?;
        let mut groups = orders::groups(tx, &open)?;
        let pairs: Vec<_> = groups.iter().map(|group| (portfolio.id, group.root().stock_id)).collect();
        for ((_, stock), (position, reserved)) in positions::of_pairs(tx, &pairs)? {
            portfolio.positions.insert(stock, position);
            portfolio.reserved.shares.insert(stock, reserved);
        }
        let at = locked.last.max(now);
        for group in &mut groups {
            canceled += group.orders.iter().filter(|order| order.status.is_open()).count();
            portfolio
                .cancel_for(group, reason, at)
                .map_err(|fault| StoreError::Corrupt(fault.to_string()))?;
        }
        let changed: Vec<_> = groups.iter().flat_map(|group| &group.orders).collect();
        orders::update(tx, &changed)?;
        let none = Quantity::zero();
        let held: Vec<positions::Changed<'_>> = portfolio
            .positions
            .iter()
            .map(|(stock, position)| positions::Changed {
                portfolio: portfolio.id,
                stock: *stock,
                position,
                reserved: portfolio.reserved.shares.get(stock).unwrap_or(&none),
            })
            .collect();
        positions::save(tx, &held)?;
        portfolios::save_cash(tx, &[(portfolio, at)])?;
    }
    Ok(canceled)
}

/// As [`claim_price_source`] for commands that write prices beside the servers: nothing is recorded.
///
/// # Errors
/// [`PriceSourceError::Changed`].
pub async fn check_price_source(
    store: &Store,
    source: &PriceSource,
) -> std::result::Result<(), PriceSourceError> {
    let configured = source.to_string();
    store.read(move |tx| check(tx, &configured, false).map(drop)).await
}

/// Returns the recorded source when it is another one.
fn check(
    tx: &mut Tx<'_>,
    configured: &str,
    accept_change: bool,
) -> std::result::Result<Option<String>, PriceSourceError> {
    let recorded = recorded_price_source(tx)?;
    let Some(recorded) = recorded.filter(|recorded| recorded != configured) else { return Ok(None) };
    match !accept_change && has_priced_books(tx)? {
        true => Err(PriceSourceError::Changed { recorded, configured: configured.to_owned() }),
        false => Ok(Some(recorded)),
    }
}

/// The source whose prices the deployment has; `None` before the first.
pub(crate) fn recorded_price_source(tx: &mut Tx<'_>) -> std::result::Result<Option<String>, StoreError> {
    match installation::get(tx, PRICE_SOURCE)? {
        Some(recorded) => Ok(Some(recorded)),
        // Databases from before it was recorded tell by their newest fill.
        None => transactions::newest_quote_source(tx),
    }
}

/// Whether anything is held or on order, which another source's prices would change.
pub(crate) fn has_priced_books(tx: &mut Tx<'_>) -> std::result::Result<bool, StoreError> {
    Ok(!positions::holders(tx)?.is_empty() || !orders::stocks_with_open(tx)?.is_empty())
}

impl Services {
    /// Where prices come from, and how that is going.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn provider_state(&self) -> Result<ProviderState> {
        let quotes = &self.market.quotes;
        let source = quotes.source();
        let name = source.to_string();
        let (record, listings, stocks_in_use) = self
            .store
            .read(move |tx| {
                let in_use = stocks_in_use(tx)?.len();
                Ok::<_, Error>((providers::record(tx, &name)?, listings::state(tx, &name)?, in_use))
            })
            .await?;
        let limits = match quotes.limits() {
            None => None,
            Some(limits) => {
                let now = self.market.clock.wall();
                let budget = limits.budget().await.map_err(Error::internal)?;
                let parked_until = record.as_ref().and_then(|record| record.parked_until);
                let parked_until = parked_until.filter(|until| *until > now);
                let pots = budget.pots.iter();
                Some(LimitsState {
                    day: budget.day,
                    pots: pots
                        .map(|(pot, used, limit)| PotState { name: pot.as_str(), used: *used, limit: *limit })
                        .collect(),
                    breaker: match limits.breaker() {
                        BreakerState::Closed if parked_until.is_none() => Breaker::Closed,
                        BreakerState::HalfOpen => Breaker::HalfOpen,
                        BreakerState::Closed | BreakerState::Open { .. } => Breaker::Open,
                    },
                    parked_until,
                    last_answered_at: record.as_ref().and_then(|record| record.last_answered_at),
                    last_failed_at: record.as_ref().and_then(|record| record.last_failed_at),
                    last_error: record.and_then(|record| record.last_error),
                })
            }
        };
        let (freshness, intervals) = (quotes.freshness(), self.price_intervals().await?);
        let features = self.features().await?;
        Ok(ProviderState { source, freshness, stocks_in_use, features, intervals, limits, listings })
    }

    /// Takes over the source's table of listings, unless that of this week is there and will do. `Err` in the answer:
    /// the source does not have it now, and why.
    pub(crate) async fn refresh_listings(
        &self,
        this_weeks_will_do: bool,
    ) -> Result<std::result::Result<String, QuoteError>> {
        let source = self.market.quotes.source();
        let name = source.to_string();
        let state = self.store.read(move |tx| {
            let wants_todays = crate::corporate_actions::delistings::wants_table_of_today(tx, &name)?;
            Ok::<_, Error>((listings::state(tx, &name)?, wants_todays))
        });
        let (there, wants_todays) = state.await?;
        let wall = self.market.clock.wall();
        let will_do = |at: Timestamp| match wants_todays {
            true => exchange_date(at) == exchange_date(wall),
            false => listings_key(&source, at) == listings_key(&source, wall),
        };
        if this_weeks_will_do && there.is_some_and(|(at, _)| will_do(at)) {
            let which = if wants_todays { "today" } else { "this week" };
            return Ok(Ok(format!("the table of {which} is there")));
        }
        let table = match self.market.quotes.listed(Purpose::Scheduled).await {
            Ok(Some(table)) => table,
            Ok(None) => {
                return Ok(Ok("the source has no table of listings: it is asked for each search".into()));
            }
            Err(error) => return Ok(Err(error)),
        };
        let outcome = self.keep_listings(table).await?;
        self.learn_former_listings().await?;
        Ok(Ok(outcome))
    }

    /// Makes the table the one that searches run on, and notes which stocks it lacks. A table that lacks too much of the
    /// last one is not taken over.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn keep_listings(&self, table: Vec<ListedStock>) -> Result<String> {
        let (source, now, count) = (self.market.quotes.source(), self.market.clock.wall(), table.len());
        let (of, told) = (source.clone(), table.clone());
        let loss = self.store.write(move |tx| {
            crate::corporate_actions::delistings::check_table(tx, of.as_str(), &told, now)
                .map_err(Error::from)
        });
        if let Some((listed, lost)) = loss.await? {
            tracing::warn!(listed, lost, "a table of listings lacks too much: the last one is kept");
            return Ok(format!(
                "the table was not taken over: it lacks {lost} of {listed} symbols that were listed"
            ));
        }
        // A symbol of another company is that before anything is looked up in the new table.
        self.review_companies(&table).await?;
        let kept = self.store.write(move |tx| {
            let older = listings::state(tx, source.as_str())?.map(|(at, _)| at);
            let rows: Vec<Listed> = table
                .into_iter()
                .map(|row| Listed {
                    symbol: row.symbol,
                    company_name: row.company_name,
                    exchange: row.exchange,
                    is_fund: row.is_fund,
                    listed_on: row.listed_on,
                })
                .collect();
            listings::replace(tx, source.as_str(), &rows, now)?;
            crate::corporate_actions::delistings::note_table(tx, source.as_str(), older, now)
                .map_err(Error::from)
        });
        kept.await?;
        Ok(format!("{count} stocks and funds are listed"))
    }
}

/// The week whose table is wanted: it begins on Sunday, when nobody trades.
pub(crate) fn listings_key(source: &PriceSource, wall: Timestamp) -> String {
    let today = exchange_date(wall);
    let sunday = today - chrono::Days::new(u64::from(today.weekday().num_days_from_sunday()));
    format!("{sunday} {source}")
}

/// Stocks that somebody holds, held or watches, or has an open order for, those first that wait most urgently for a
/// price: open orders, then what is held by most, then what is watched; of equals the one whose price is oldest.
pub(crate) fn stocks_in_use(tx: &mut Tx<'_>) -> Result<Vec<domain::Stock>> {
    stocks_by_urgency(tx, chrono::DateTime::UNIX_EPOCH.into())
}

/// [`stocks_in_use`], but what somebody holds or has an order for comes first when its price is of before `neglected`:
/// many stocks with open orders do not keep the others waiting for ever.
pub(crate) fn stocks_by_urgency(tx: &mut Tx<'_>, neglected: Timestamp) -> Result<Vec<domain::Stock>> {
    Ok(by_urgency(tx, neglected)?.into_iter().map(|(_, stock)| stock).collect())
}

pub(crate) fn count_in_use(tx: &mut Tx<'_>) -> std::result::Result<usize, StoreError> {
    Ok(demand(tx)?.len())
}

/// [`stocks_in_use`] with what each price is wanted for.
pub(crate) fn demand(tx: &mut Tx<'_>) -> std::result::Result<Vec<(Wanted, domain::Stock)>, StoreError> {
    by_urgency(tx, chrono::DateTime::UNIX_EPOCH.into())
}

fn by_urgency(
    tx: &mut Tx<'_>,
    neglected: Timestamp,
) -> std::result::Result<Vec<(Wanted, domain::Stock)>, StoreError> {
    let ordered = orders::stocks_with_open(tx)?;
    let holders: std::collections::HashMap<_, _> = positions::holders(tx)?.into_iter().collect();
    let mut found = stocks::in_use(tx)?;
    let missing: Vec<_> =
        ordered.iter().filter(|id| found.iter().all(|stock| stock.id != **id)).copied().collect();
    found.extend(stocks::by_ids(tx, &missing)?);
    found.sort_by_key(|stock| {
        let waits = ordered.binary_search(&stock.id).is_ok();
        let held_by = holders.get(&stock.id).copied().unwrap_or(0);
        let is_neglected = stock.last.as_ref().is_some_and(|last| last.as_of < neglected);
        (
            !(is_neglected && (waits || held_by > 0)),
            !waits,
            held_by == 0,
            stock.last.as_ref().map(|last| last.as_of),
            -held_by,
            stock.listing.symbol.clone(),
        )
    });
    let wanted = |stock: &domain::Stock| match ordered.binary_search(&stock.id) {
        Ok(_) => Wanted::ForOrders,
        Err(_) if holders.contains_key(&stock.id) => Wanted::ForPositions,
        Err(_) => Wanted::ForLists,
    };
    Ok(found.into_iter().map(|stock| (wanted(&stock), stock)).collect())
}
