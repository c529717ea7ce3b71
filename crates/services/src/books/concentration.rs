//! The limits on concentration that a user sets for a portfolio.

use domain::concentration_limits::ConcentrationLimits;
use domain::{PortfolioId, UserId};
use persistence::concentration_limits;

use crate::books::Books;
use crate::books::portfolios::owned;
use crate::error::{Error, Result};

impl Books {
    /// Returns the limits that the user has set for a portfolio, or the default limits.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another user's portfolio.
    pub async fn concentration_limits(&self, user: UserId, id: PortfolioId) -> Result<ConcentrationLimits> {
        self.store
            .read(move |tx| {
                owned(tx, id, user)?;
                Ok::<_, Error>(concentration_limits::of_portfolio(tx, id)?.unwrap_or_default())
            })
            .await
    }

    /// Sets all limits of a portfolio, which may be archived.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another user's portfolio.
    pub async fn set_concentration_limits(
        &self,
        user: UserId,
        id: PortfolioId,
        limits: ConcentrationLimits,
    ) -> Result<()> {
        self.store
            .write(move |tx| {
                owned(tx, id, user)?;
                Ok::<_, Error>(concentration_limits::save(tx, id, limits)?)
            })
            .await
    }
}
