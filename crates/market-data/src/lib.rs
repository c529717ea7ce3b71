//! Where prices come from: one trait, one file per source, and the gateway in front of them.

mod alpha_vantage;
mod cache;
mod error;
mod gateway;
mod search;
mod simulated;
mod source;

pub use alpha_vantage::{AlphaVantage, AlphaVantageConfig, InvalidSetup, Now};
pub use error::QuoteError;
pub use gateway::Gateway;
pub use simulated::{DEFAULT_SEED, Simulated};
pub use source::{Catalogue, QuoteSource};
