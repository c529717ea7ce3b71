//! The concentration limits that users have set for their portfolios.

use diesel::prelude::*;
use domain::PortfolioId;
use domain::concentration_limits::{ConcentrationLimits, LimitPercent};

use crate::connection::each;
use crate::schema::concentration_limits::dsl;
use crate::{StoreError, Tx};

type Percentages = (Option<i32>, Option<i32>, Option<i32>);

fn percentages(limits: ConcentrationLimits) -> Percentages {
    let percent = |limit: Option<LimitPercent>| limit.map(|limit| i32::from(limit.get()));
    (percent(limits.stock), percent(limits.sector), percent(limits.cash))
}

/// Returns the limits of a portfolio; `None` if it has the default limits.
pub fn of_portfolio(tx: &mut Tx<'_>, id: PortfolioId) -> Result<Option<ConcentrationLimits>, StoreError> {
    let row: Option<Percentages> = dsl::concentration_limits
        .filter(dsl::portfolio_id.eq(id))
        .select((dsl::stock_percent, dsl::sector_percent, dsl::cash_percent))
        .first(tx.conn)
        .optional()?;
    let limit = |percent: Option<i32>| percent.and_then(|percent| LimitPercent::new(percent.into()));
    Ok(row.map(|(stock, sector, cash)| ConcentrationLimits {
        stock: limit(stock),
        sector: limit(sector),
        cash: limit(cash),
    }))
}

/// Sets all limits of a portfolio.
pub fn save(tx: &mut Tx<'_>, id: PortfolioId, limits: ConcentrationLimits) -> Result<(), StoreError> {
    let (stock, sector, cash) = percentages(limits);
    each!(&mut *tx.conn, c => diesel::insert_into(dsl::concentration_limits)
        .values((
            dsl::portfolio_id.eq(id),
            dsl::stock_percent.eq(stock),
            dsl::sector_percent.eq(sector),
            dsl::cash_percent.eq(cash),
        ))
        .on_conflict(dsl::portfolio_id)
        .do_update()
        .set((dsl::stock_percent.eq(stock), dsl::sector_percent.eq(sector), dsl::cash_percent.eq(cash)))
        .execute(c))?;
    Ok(())
}
