//! The splits and dividends of stocks within an interval of time, and the conversion of prices across them.

use std::collections::{BTreeMap, HashMap};

use domain::action_history::LessDividends;
use domain::calendar::exchange_date;
use domain::{ActionHistory, AsTraded, CorporateAction, KnownAction, Quote, Stock, StockId, Timestamp};
use persistence::Tx;
use persistence::corporate_actions::{self as actions};

use super::{AHEAD, CorporateActions, Stored};
use crate::error::{Error, Result};

/// The splits and dividends of each stock within an interval of market time.
#[derive(Debug, Default)]
pub(crate) struct ActionHistories(HashMap<StockId, ActionHistory>);

impl ActionHistories {
    /// Reads the splits and dividends that took effect after `after` and until `until`.
    pub fn between(tx: &mut Tx<'_>, after: Timestamp, until: Timestamp) -> Stored<Self> {
        Ok(Self::of_known(&actions::taken_effect(tx, after, until)?))
    }

    pub fn of_known(actions: &[KnownAction]) -> Self {
        let mut histories: HashMap<StockId, ActionHistory> = HashMap::new();
        for known in actions {
            histories.entry(known.stock_id).or_default().push(known);
        }
        Self(histories)
    }

    /// Whether the stock has a split or a dividend.
    pub fn has(&self, stock: StockId) -> bool {
        self.0.get(&stock).is_some_and(|history| !history.is_empty())
    }

    /// Converts a price of the stock as [`ActionHistory::convert`] does.
    pub fn convert<T: LessDividends>(&self, stock: StockId, traded: AsTraded<T>, at: Timestamp) -> T {
        match self.0.get(&stock) {
            Some(history) => history.convert(traded, at),
            None => traded.into_as_traded(),
        }
    }
}

impl CorporateActions {
    pub(crate) async fn actions_of(&self, stock: &Stock, now: Timestamp) -> Result<Vec<CorporateAction>> {
        let id = stock.id;
        let known = self.store.read(move |tx| actions::of_stock(tx, id).map_err(Error::from)).await?;
        let today = exchange_date(now);
        let last = today.checked_add_days(AHEAD).unwrap_or(today);
        let reported = match self.market.quotes.limits() {
            // Calls to this source are reserved for the jobs, which store their results in the database.
            Some(_) => Vec::new(),
            None => {
                let (symbol, first) = (&stock.listing.symbol, domain::period::EARLIEST);
                self.market.quotes.corporate_actions(symbol, first, last, now).await.unwrap_or_default()
            }
        };
        // A stored action replaces the version of the source, even if the source now reports it differently.
        let mut all: BTreeMap<String, CorporateAction> = BTreeMap::new();
        for action in reported.into_iter().chain(known.iter().map(|known| known.action.clone())) {
            all.insert(action.id.as_str().to_owned(), action);
        }
        for known in known.iter().filter(|known| !known.is_in_force()) {
            all.remove(known.action.id.as_str());
        }
        let mut all: Vec<CorporateAction> = all.into_values().collect();
        all.sort_by_key(|action| (action.ex_on, action.precedence()));
        Ok(all)
    }

    /// Converts quotes to the shares that exist at `at`, and subtracts dividends since the quote; see
    /// [`ActionHistory::convert_quote`]. If all quotes are from the current session, as usual, this does not read from
    /// the database.
    ///
    /// # Errors
    /// Only if the database fails: an unconverted price would be wrong.
    pub(crate) async fn in_shares_at(
        &self,
        quotes: Vec<(StockId, AsTraded<Quote>)>,
        at: Timestamp,
    ) -> Result<Vec<Quote>> {
        let opened_at = self.market.opened_at(at);
        let oldest = quotes.iter().map(|(_, quote)| quote.at()).min();
        let Some(oldest) = oldest.filter(|oldest| *oldest < opened_at) else {
            return Ok(quotes.into_iter().map(|(_, quote)| quote.into_as_traded()).collect());
        };
        let histories = self.actions_between(self.market.previous_close_at(oldest), at).await?;
        let today = self.market.previous_close_at(at);
        let none = ActionHistory::default();
        let convert = |(stock, quote): (StockId, AsTraded<Quote>)| {
            let history = histories.0.get(&stock).unwrap_or(&none);
            let previous_close_at = self.market.previous_close_at(quote.at());
            history.convert_quote(quote, at, previous_close_at, today)
        };
        Ok(quotes.into_iter().map(convert).collect())
    }

    /// Converts one quote as [`CorporateActions::in_shares_at`] does.
    pub(crate) async fn one_in_shares_at(
        &self,
        stock: StockId,
        quote: AsTraded<Quote>,
        at: Timestamp,
    ) -> Result<Quote> {
        let mut converted = self.in_shares_at(vec![(stock, quote)], at).await?;
        Ok(converted.swap_remove(0))
    }

    /// The splits and dividends of all stocks that took effect after `after` and until `until`.
    pub(crate) async fn actions_between(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<ActionHistories> {
        self.store.read(move |tx| ActionHistories::between(tx, after, until).map_err(Error::from)).await
    }
}
