//! Trading: placing, reading and matching orders, and the trading rules that configuration sets.

pub mod closing;
pub(crate) mod desk;
pub mod matching;
pub mod orders;
pub mod schedule;

mod rules;
mod types;

use std::sync::Arc;

use domain::{Calendar, Commission, Percent, TradingMode, TradingRules};

use persistence::Store;

pub use rules::RuleBook;
pub(crate) use types::{OpenOrders, with_fills};
pub use types::{OrderWithFills, PlacedOrder};

use crate::Market;
use crate::books::Books;
use crate::corporate_actions::CorporateActions;
use crate::events::Events;
use crate::market::instruments::Instruments;
use crate::stocks::Stocks;
use desk::Desk;

/// The trading settings. The default is practice mode, without commission and slippage, with unlimited liquidity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradingConfig {
    pub mode: TradingMode,
    pub commission: Commission,
    /// How much worse than the quote a market order fills.
    pub slippage: Option<Percent>,
    /// The share of the traded volume that a fill may take.
    pub liquidity: Option<Percent>,
    /// The maximum number of orders in one transaction.
    pub order_batch: usize,
    /// How many of these transactions run at once, where the database supports concurrent writes.
    pub order_clerks: usize,
}

impl Default for TradingConfig {
    fn default() -> Self {
        Self {
            mode: TradingMode::Practice,
            commission: Commission::default(),
            slippage: None,
            liquidity: None,
            order_batch: 256,
            order_clerks: 2,
        }
    }
}

impl TradingConfig {
    /// The trading rules of this deployment. Realistic hours are those of the New York exchanges, even if `market` has
    /// other hours.
    pub(crate) fn rules(&self, market: Calendar) -> TradingRules {
        TradingRules {
            mode: self.mode,
            calendar: match self.mode {
                TradingMode::Practice => market,
                TradingMode::Realistic => Calendar::Xnys,
            },
            commission: self.commission.clone(),
            slippage: self.slippage.clone(),
            liquidity: self.liquidity.clone(),
        }
    }
}

/// The use cases of trading. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Trading {
    store: Store,
    market: Arc<Market>,
    instruments: Arc<Instruments>,
    stocks: Arc<Stocks>,
    corporate_actions: Arc<CorporateActions>,
    books: Arc<Books>,
    rules: RuleBook,
    desk: Arc<Desk>,
}

impl Trading {
    pub(crate) fn new(
        (store, market, instruments): (Store, Arc<Market>, Arc<Instruments>),
        (stocks, corporate_actions, books): (Arc<Stocks>, Arc<CorporateActions>, Arc<Books>),
        events: Arc<Events>,
        config: &TradingConfig,
    ) -> Self {
        let rules = RuleBook::new(config.rules(market.calendar));
        let action_counter = corporate_actions.action_counter().clone();
        let desk =
            Desk::new(store.clone(), market.clock.clone(), rules.clone(), config, (events, action_counter));
        let desk = Arc::new(desk);
        Self { store, market, instruments, stocks, corporate_actions, books, rules, desk }
    }

    /// The trading rules of all portfolios.
    pub fn rules(&self) -> &RuleBook {
        &self.rules
    }
}
