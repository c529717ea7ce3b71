//! How this deployment trades: the house's rules, which configuration sets.

pub(crate) mod desk;
pub mod matching;
pub mod orders;

mod types;

use domain::{Calendar, Commission, Percent, TradingMode, TradingRules};

pub(crate) use types::with_fills;
pub use types::{OrderWithFills, PlacedOrder};

use crate::Services;

/// The default is practice, without commission and slippage, with unlimited liquidity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradingConfig {
    pub mode: TradingMode,
    pub commission: Commission,
    /// How much worse than the quote a market order fills.
    pub slippage: Option<Percent>,
    /// The share of the traded volume that a fill may take.
    pub liquidity: Option<Percent>,
    /// The most orders in one transaction.
    pub order_batch: usize,
    /// How many such transactions there may be at once, where the database can write side by side.
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
    /// Realistic hours are those of New York's exchanges, whatever the market's prices follow.
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

impl Services {
    pub fn rules(&self) -> &TradingRules {
        &self.rules
    }
}
