//! Price sources: one trait, one file per source, and the gateway in front of them.

mod alpha_vantage;
mod breaker;
mod budget;
mod cache;
mod capability;
mod corporate;
mod error;
mod gateway;
mod http;
mod key_plan;
mod limits;
pub mod metrics;
mod observed_actions;
mod pace;
mod plausible;
mod search;
mod simulated;
mod source;
mod yahoo;

pub use alpha_vantage::SOURCE as ALPHA_VANTAGE_SOURCE;
pub use alpha_vantage::{
    AlphaVantage, AlphaVantageConfig, CompanyProfile, Entitlement, ListedStock, ListingState,
};
pub use breaker::{Breaker, BreakerRules, BreakerState};
pub use budget::{
    Budget, BudgetStatus, BudgetStore, CallLimit, InMemoryBudget, Pace, Pacing, Pot, Published, Purpose,
    Rules, Series, Slot, StoreFailed, UnconfirmedQuote, Window,
};
pub use corporate::{Dividend, Split};
pub use error::QuoteError;
pub use gateway::Gateway;
pub use key_plan::{AlphaVantagePlan, FeatureState, KeyFeature};
pub use limits::{Limits, Payer};
pub use observed_actions::ObservedActions;
pub use simulated::{DEFAULT_SEED, Simulated, SimulatedModel};
pub use source::{Catalogue, DailySeries, InvalidSetup, Now, QuoteSource};
pub use yahoo::SOURCE as YAHOO_SOURCE;
pub use yahoo::{History, Yahoo, YahooConfig};
