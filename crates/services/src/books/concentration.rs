//! The limits on concentration that a user sets for a portfolio.

use domain::PortfolioRef;
use domain::concentration_limits::ConcentrationLimits;
use persistence::concentration_limits;

use crate::accounts::actor::PortfolioControl;
use crate::books::Books;
use crate::books::portfolios::owned;
use crate::error::{Error, Result};

impl Books {
    /// Returns the limits that the user has set for a portfolio, or the default limits.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another user's portfolio.
    pub async fn concentration_limits(&self, portfolio: PortfolioRef) -> Result<ConcentrationLimits> {
        self.store
            .read(move |tx| {
                owned(tx, portfolio)?;
                Ok::<_, Error>(concentration_limits::of_portfolio(tx, portfolio.id)?.unwrap_or_default())
            })
            .await
    }

    /// Sets all limits of a portfolio, which may be archived.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another user's portfolio.
    pub async fn set_concentration_limits(
        &self,
        control: PortfolioControl,
        limits: ConcentrationLimits,
    ) -> Result<()> {
        let portfolio = control.reference();
        self.store
            .write(move |tx| {
                owned(tx, portfolio)?;
                Ok::<_, Error>(concentration_limits::save(tx, portfolio.id, limits)?)
            })
            .await
    }
}
