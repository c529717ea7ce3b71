//! Explanations of the current figures: total value, day change, average buy price, concentration.

use domain::performance::Explanation;
use domain::valuation::BookFigure;
use domain::{PortfolioRef, Symbol};
use persistence::{stocks, transactions};

use crate::books::Books;
use crate::error::{Error, NotFound, Result};

impl Books {
    /// Explains a current figure with all inputs that are needed to recompute it. `symbol` names the holding of an
    /// average buy price; the other figures concern the whole portfolio.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio or the holding; [`Error::Invalid`] for an average buy price without a
    /// symbol; the errors of a valuation.
    pub async fn explain_figure(
        &self,
        portfolio: PortfolioRef,
        figure: BookFigure,
        symbol: Option<&Symbol>,
    ) -> Result<Explanation<BookFigure>> {
        match (figure, symbol) {
            (BookFigure::TotalValue, _) => {
                Ok(self.valuation(portfolio).await?.valuation.explain_total_value())
            }
            (BookFigure::Herfindahl, _) => {
                Ok(self.valuation(portfolio).await?.valuation.explain_herfindahl())
            }
            (BookFigure::DayChange, _) => self.explain_day_change(portfolio).await,
            (BookFigure::AverageBuyPrice, Some(symbol)) => {
                self.explain_average_buy_price(portfolio, symbol.clone()).await
            }
            (BookFigure::AverageBuyPrice, None) => {
                Err(Error::invalid("symbol", "name the holding, such as AAPL"))
            }
        }
    }

    async fn explain_average_buy_price(
        &self,
        portfolio: PortfolioRef,
        symbol: Symbol,
    ) -> Result<Explanation<BookFigure>> {
        self.corporate_actions.apply_splits_before_reading(&[portfolio.id]).await?;
        self.store
            .read(move |tx| {
                crate::books::portfolios::owned(tx, portfolio)?;
                let not_held = || Error::NotFound(NotFound::Position);
                let stock = stocks::by_symbol(tx, &symbol)?.ok_or_else(not_held)?.id;
                let held = persistence::positions::of_portfolios(tx, &[portfolio.id])?
                    .remove(&portfolio.id)
                    .unwrap_or_default();
                let position = held.into_iter().find(|(of, _)| *of == stock).map(|(_, position)| position);
                let entries = transactions::of_stock(tx, &[portfolio.id], stock)?;
                Ok(position.ok_or_else(not_held)?.explain_average_buy_price(&entries))
            })
            .await
    }
}
