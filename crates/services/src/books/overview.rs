//! All portfolios of a user together.

use domain::allocation::Allocation;
use domain::{Money, Timestamp, UserId, Valuation};

use crate::books::Books;
use crate::books::valuation::ValuedPortfolio;
use crate::error::Result;

/// A portfolio with what was paid into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortfolioResult {
    pub valued: ValuedPortfolio,
    /// The sum of all deposits, whatever was withdrawn later.
    pub deposits: Money,
}

impl PortfolioResult {
    /// Gain since the portfolio was opened as a share of its deposits, a ratio; `None` without deposits.
    pub fn gain_ratio(&self) -> Option<f64> {
        ratio(&self.valued.valuation.total_gain(), &self.deposits)
    }
}

/// The portfolios of a user that are not archived, and their sums. Amounts add rounded parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// In the order they were opened.
    pub portfolios: Vec<PortfolioResult>,
    /// Of everything that is held.
    pub allocation: Allocation,
    /// Gain since the previous close, deposits and withdrawals left out.
    pub day_change: Money,
    /// Realized, unrealized and dividends.
    pub total_gain: Money,
    pub deposits: Money,
    /// The market time of the prices.
    pub valued_at: Timestamp,
}

impl Overview {
    /// `day_change` against what today's result was earned on, a ratio; `None` when that was nothing.
    pub fn day_change_ratio(&self) -> Option<f64> {
        ratio(&self.day_change, &(self.allocation.total_value.clone() - &self.day_change))
    }

    /// `total_gain` as a share of all deposits, a ratio; `None` without deposits.
    pub fn gain_ratio(&self) -> Option<f64> {
        ratio(&self.total_gain, &self.deposits)
    }
}

fn ratio(part: &Money, whole: &Money) -> Option<f64> {
    whole.is_positive().then(|| part.to_f64() / whole.to_f64())
}

impl Books {
    /// All portfolios of a user that are not archived, at the newest prices.
    ///
    /// # Errors
    /// [`crate::Error::NoPrice`] for a stock without any price.
    pub async fn overview(&self, user: UserId) -> Result<Overview> {
        let mut portfolios = Vec::new();
        for valued in self.valuations(user).await? {
            let flows = self.external_flows(user, valued.portfolio.id).await?;
            let deposits = flows.iter().map(|(_, amount)| amount).filter(|amount| amount.is_positive()).sum();
            portfolios.push(PortfolioResult { valued, deposits });
        }
        let valuations = || portfolios.iter().map(|portfolio| &portfolio.valued.valuation);
        Ok(Overview {
            allocation: Allocation::of(valuations()),
            day_change: valuations().map(|valuation| &valuation.day_change).sum(),
            total_gain: valuations().map(Valuation::total_gain).sum(),
            deposits: portfolios.iter().map(|portfolio| &portfolio.deposits).sum(),
            valued_at: self.market.now(),
            portfolios,
        })
    }
}
