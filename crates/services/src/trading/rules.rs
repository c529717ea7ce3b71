//! The trading rules of portfolios.

use std::sync::Arc;

use domain::{PortfolioId, TradingRules};

/// The trading rules of every portfolio. All portfolios of a deployment share one set of rules.
#[derive(Debug, Clone)]
pub struct RuleBook(Arc<TradingRules>);

impl RuleBook {
    pub(crate) fn new(rules: TradingRules) -> Self {
        Self(Arc::new(rules))
    }

    /// The rules by which the orders of a portfolio are placed and filled.
    pub fn of_portfolio(&self, _: PortfolioId) -> &TradingRules {
        &self.0
    }

    /// The rules of the deployment, for the market clock and for work on all portfolios at once.
    pub fn of_deployment(&self) -> &TradingRules {
        &self.0
    }
}
