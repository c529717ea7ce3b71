//! Recomputes the books from the journal and reports every difference.
//!
//! Portfolios are read by ranges of ids, several ranges in parallel. Each range is read in one transaction, so that a
//! portfolio is seen at one moment. Memory is bounded: portfolios of a range are checked together up to a number of
//! rows, and a larger portfolio is read in pages.

mod actions;
mod load;
mod report;
mod rules;
mod valuations;

use domain::PortfolioId;
use futures::stream::{self, StreamExt, TryStreamExt};
use persistence::portfolios;

use crate::error::{Error, Result};
use load::check_range;
pub use report::{Concern, Difference, Report};

/// Portfolios per range.
const MAX_PORTFOLIOS: usize = 500;

/// Ranges per parallel task: several, so that all tasks stay busy until the end.
const RANGES_EACH: usize = 8;

impl super::Books {
    /// Checks all portfolios: cash, positions, cost basis, realized results, reservations of orders, orders against
    /// their fills, and final snapshots. `progress` receives the number of portfolios done and their total. Portfolios
    /// that are opened during the check are left out.
    ///
    /// # Errors
    /// Only when the database fails; a difference is not an error.
    pub async fn verify(&self, mut progress: impl FnMut(usize, usize) + Send) -> Result<Report> {
        let (total, extent) =
            self.store.read(|tx| Ok::<_, Error>((portfolios::count(tx)?, portfolios::extent(tx)?))).await?;
        let total = usize::try_from(total).unwrap_or(0);
        let Some((last, _)) = extent else { return Ok(Report::default()) };
        // One connection is left for other work.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let at_once = (self.store.connections() - 1).clamp(1, 2 * cores);
        let size = (total / (at_once * RANGES_EACH)).clamp(1, MAX_PORTFOLIOS);
        let mut checks = stream::try_unfold(PortfolioId(0), move |after| self.next_range(after, last, size))
            .map_ok(|(after, last)| self.check_range(after, last))
            .try_buffer_unordered(at_once)
            .boxed();
        let mut report = Report::default();
        while let Some(range) = checks.try_next().await? {
            report.add(range);
            progress(report.portfolios.min(total), total);
        }
        drop(checks);
        report.differences.sort_by_key(|difference| difference.portfolio_id);
        Ok(report)
    }

    /// The next range of ids `(after, end]`, with up to `size` portfolios.
    async fn next_range(
        &self,
        after: PortfolioId,
        last: PortfolioId,
        size: usize,
    ) -> Result<Option<((PortfolioId, PortfolioId), PortfolioId)>> {
        let limit = i64::try_from(size).unwrap_or(i64::MAX);
        let rows =
            self.store.read(move |tx| portfolios::range(tx, after, last, limit).map_err(Error::from)).await?;
        Ok(rows.last().map(|row| ((after, row.id), row.id)))
    }

    async fn check_range(&self, after: PortfolioId, last: PortfolioId) -> Result<Report> {
        let calendar = self.market.calendar;
        self.store.read(move |tx| check_range(tx, after, last, calendar)).await
    }
}
